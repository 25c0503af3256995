// Written by detfm. Drives the Verilated payload clock by clock: reads from argv[1], for every clock, a 64-bit word for
// each input link and one of flags; writes to argv[2], after every clock edge, those of the output links.
//   flags in: 0 valid, 1 start, 2 last, 3 start of orbit, 4 strobe (of all links), 5 reset, 6 the last link's valid differs
//   flags out: 0 valid, 1 start, 2 last, 3 start of orbit
#include <cstdint>
#include <cstdio>
#include <vector>

#include "V@{module}.h"
#include "verilated.h"

// A port of one link is an integer, of several an array of 32-bit words.
template <class Port> void put(Port &port, int, std::uint64_t word) { port = word; }

template <std::size_t N> void put(VlWide<N> &port, int link, std::uint64_t word) {
  port[2 * link] = (std::uint32_t)word;
  port[2 * link + 1] = (std::uint32_t)(word >> 32);
}

template <class Port> std::uint64_t get(const Port &port, int) { return port; }

template <std::size_t N> std::uint64_t get(const VlWide<N> &port, int link) {
  return port[2 * link] | (std::uint64_t)port[2 * link + 1] << 32;
}

template <class Port> void flag(Port &port, int link, std::uint64_t bit) {
  port = (port & ~(1ULL << link)) | (bit & 1) << link;
}

template <std::size_t N> void flag(VlWide<N> &port, int link, std::uint64_t bit) {
  port[link / 32] = (port[link / 32] & ~(1U << link % 32)) | (std::uint32_t)(bit & 1) << link % 32;
}

int main(int argc, char **argv) {
  std::FILE *in = argc > 2 ? std::fopen(argv[1], "rb") : nullptr;
  std::FILE *out = argc > 2 ? std::fopen(argv[2], "wb") : nullptr;
  if (!in || !out) return 2;
  V@{module} top;
  std::vector<std::uint64_t> given(@{in_links} + 1), made(@{out_links} + 1);
  while (std::fread(given.data(), 8, given.size(), in) == given.size()) {
    const std::uint64_t flags = given.back();
    for (int link = 0; link < @{in_links}; link++) {
      put(top.d_data, link, given[link]);
      flag(top.d_valid, link, flags ^ (link == @{in_links} - 1 ? flags >> 6 : 0));
      flag(top.d_start, link, flags >> 1);
      flag(top.d_last, link, flags >> 2);
      flag(top.d_start_of_orbit, link, flags >> 3);
      flag(top.d_strobe, link, flags >> 4);
    }
    top.rst = flags >> 5 & 1;
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
    for (int link = 0; link < @{out_links}; link++) made[link] = get(top.q_data, link);
    made.back() = top.q_valid | top.q_start << 1 | top.q_last << 2 | top.q_start_of_orbit << 3;
    if (std::fwrite(made.data(), 8, made.size(), out) != made.size()) return 2;
  }
  top.final();
  return std::fclose(out) != 0;
}
