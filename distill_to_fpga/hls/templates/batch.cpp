// Runs many vectors quickly: reads 64-bit integers from argv[1] (all inputs of one vector after another), writes those
// of the outputs to argv[2], or with -DDETFM_TRACE those of every wire.
#include <cstdio>
#include <vector>

#include "run.h"

int main(int argc, char **argv) {
  FILE *in = argc > 2 ? std::fopen(argv[1], "rb") : nullptr;
  FILE *out = argc > 2 ? std::fopen(argv[2], "wb") : nullptr;
  if (!in || !out) return 2;
  std::vector<long long> input(@{input_words});
  while (std::fread(input.data(), sizeof(long long), input.size(), in) == input.size()) {
    std::vector<long long> result = @{namespace}::run_words(input);
#ifdef DETFM_TRACE
    result.swap(words::traced());
    words::traced().clear();
#endif
    if (std::fwrite(result.data(), sizeof(long long), result.size(), out) != result.size()) return 2;
  }
  return std::fclose(out) != 0;
}
