// Runs the vectors in tb/data through the firmware and compares with the golden model's outputs, bit for bit.
// Exit status: 0 if all agree, 1 if not, 2 if a file is missing or cut short.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "run.h"

// One port's file: one vector per line, integers separated by blanks.
struct Port {
  Port(const std::string &path, int words) : file(path), words(words) {
    if (file) return;
    std::cerr << "cannot read " << path << std::endl;
    std::exit(2);
  }
  bool append_line(std::vector<long long> &vector) {
    long long word;
    for (int i = 0; i < words; i++) {
      if (!(file >> word)) return false;
      vector.push_back(word);
    }
    return true;
  }
  std::ifstream file;
  int words;
};

int main(int argc, char **argv) {
  const std::string data = argc > 1 ? argv[1] : "tb/data";
  std::vector<Port> inputs, outputs;
@{ports}
  std::ofstream written(argc > 2 ? argv[2] : "csim_output.txt");
  long vectors = 0, mismatches = 0;
  while (true) {
    std::vector<long long> input, expected;
    bool complete = true;
    for (Port &port : inputs) complete = complete && port.append_line(input);
    if (!complete) break;
    for (Port &port : outputs) complete = complete && port.append_line(expected);
    if (!complete) {
      std::cerr << data << " holds fewer outputs than inputs" << std::endl;
      return 2;
    }
    const std::vector<long long> got = @{namespace}::run_words(input);
    for (size_t i = 0; i < got.size(); i++) {
      written << got[i] << (i + 1 < got.size() ? ' ' : '\n');
      if (got[i] != expected[i] && mismatches++ < 10)
        std::cout << "vector " << vectors << ", output word " << i << ": firmware " << got[i] << ", golden model "
                  << expected[i] << std::endl;
    }
    vectors++;
  }
  std::cout << vectors << " vectors, " << mismatches << " mismatching words" << std::endl;
  return vectors == 0 ? 2 : mismatches != 0;
}
