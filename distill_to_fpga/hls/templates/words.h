// Numbers of the firmware as plain integers: the bit pattern, sign-extended. For the test bench, not for synthesis.
#ifndef DETFM_WORDS_H
#define DETFM_WORDS_H

#include <vector>

namespace words {

template <class T> long long of(const T &value) {
  unsigned long long bits = value.range(T::width - 1, 0).to_uint64();
  if (T::width < 64 && value < 0) bits |= ~0ULL << (T::width % 64);
  return (long long)bits;
}

template <class T> void append(const T *values, int count, std::vector<long long> &words) {
  for (int i = 0; i < count; i++) words.push_back(of(values[i]));
}

// All wires of the calls so far, in the order of the network.
inline std::vector<long long> &traced() {
  static std::vector<long long> words;
  return words;
}

template <class T, int SIZE> void trace(const T (&values)[SIZE]) { append(values, SIZE, traced()); }

} // namespace words

#endif
