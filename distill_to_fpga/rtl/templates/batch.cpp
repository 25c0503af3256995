// Written by detfm. Runs many vectors, one per clock: reads 64-bit integers from argv[1] (all inputs of one vector after
// another); writes to argv[2], for every clock edge, valid_out and the integers of the outputs. argv[3] clocks follow
// the last vector; then the pipeline is filled once more and reset, and as many clocks again are noted.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "V@{module}.h"
#include "verilated.h"

typedef V@{module} Top;

template <typename Port>
void set(Port &port, int base, int width, long long value) {
  const unsigned long long mask = (1ULL << width) - 1;
  port = (port & ~(mask << base)) | ((unsigned long long)value & mask) << base;
}

template <std::size_t N>
void set(VlWide<N> &port, int base, int width, long long value) {
  for (int i = 0; i < width; i++) {
    EData &word = port[(base + i) / 32];
    const unsigned at = (base + i) % 32;
    word = (word & ~(1U << at)) | ((unsigned)(value >> i) & 1U) << at;
  }
}

long long extended(unsigned long long bits, int width, bool is_signed) {
  return is_signed && bits >> (width - 1) & 1 ? (long long)(bits | ~0ULL << (width - 1)) : (long long)bits;
}

template <typename Port>
long long get(const Port &port, int base, int width, bool is_signed) {
  return extended((unsigned long long)port >> base & ((1ULL << width) - 1), width, is_signed);
}

template <std::size_t N>
long long get(const VlWide<N> &port, int base, int width, bool is_signed) {
  unsigned long long bits = 0;
  for (int i = 0; i < width; i++) bits |= (unsigned long long)(port[(base + i) / 32] >> (base + i) % 32 & 1U) << i;
  return extended(bits, width, is_signed);
}

void write_inputs(Top &top, const long long *word) {
@{write}
}

void clock_edge(Top &top, FILE *out) {
  top.clk = 0;
  top.eval();
  top.clk = 1;
  top.eval();
  if (!out) return;
  std::vector<long long> found(1, top.valid_out);
@{read}
  if (std::fwrite(found.data(), sizeof(long long), found.size(), out) != found.size()) std::exit(2);
}

int main(int argc, char **argv) {
  FILE *in = argc > 3 ? std::fopen(argv[1], "rb") : nullptr;
  FILE *out = argc > 3 ? std::fopen(argv[2], "wb") : nullptr;
  if (!in || !out) return 2;
  const int after = std::atoi(argv[3]);
  Top top;
  std::vector<long long> input(@{input_words});
  top.rst = 1;
  top.valid_in = 0;
  write_inputs(top, input.data());
  for (int i = 0; i < 3; i++) clock_edge(top, nullptr);
  top.rst = 0;
  top.valid_in = 1;
  while (std::fread(input.data(), sizeof(long long), input.size(), in) == input.size()) {
    write_inputs(top, input.data());
    clock_edge(top, out);
  }
  top.valid_in = 0;
  for (int i = 0; i < after; i++) clock_edge(top, out);
  top.valid_in = 1;
  for (int i = 0; i < after; i++) clock_edge(top, nullptr);
  top.valid_in = 0;
  top.rst = 1;
  clock_edge(top, nullptr);
  top.rst = 0;
  for (int i = 0; i < after; i++) clock_edge(top, out);
  top.final();
  return std::fclose(out) != 0;
}
