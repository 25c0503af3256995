// Written by detfm. Drives the Verilated stream with pauses on both sides: reads beats from argv[1] (their words, then
// tlast), writes to argv[2] those that come (their words, tlast, the number of the clock). Arguments 3 and 4: of 100
// clocks, how many offer a beat and how many take one; 5: seed.
// Exit status 3: the stream took back or changed a beat that it had offered; 4: it stands still.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "V@{module}.h"
#include "verilated.h"

typedef std::vector<std::uint64_t> Beat;

template <class Port> void put(Port &port, const Beat &beat) { port = beat[0]; }

template <std::size_t N> void put(VlWide<N> &port, const Beat &beat) {
  for (std::size_t i = 0; i < N; i++) port[i] = (std::uint32_t)(beat[i / 2] >> 32 * (i % 2));
}

template <class Port> Beat get(const Port &port) { return Beat(1, port); }

template <std::size_t N> Beat get(const VlWide<N> &port) {
  Beat beat(N / 2);
  for (std::size_t i = 0; i < N; i++) beat[i / 2] |= (std::uint64_t)port[i] << 32 * (i % 2);
  return beat;
}

int main(int argc, char **argv) {
  std::FILE *in = argc > 5 ? std::fopen(argv[1], "rb") : nullptr;
  std::FILE *out = argc > 5 ? std::fopen(argv[2], "wb") : nullptr;
  if (!in || !out) return 2;
  const unsigned offers = std::atoi(argv[3]), takes = std::atoi(argv[4]);
  std::mt19937 random(std::atoi(argv[5]));
  V@{module} top;
  Beat given(get(top.s_axis_tdata).size() + 1), kept;
  bool offered = false, more = true, held = false;
  std::uint64_t clock = 0;
  for (unsigned quiet = 0, still = 0; more || quiet < 1000; clock++) {
    top.aresetn = clock >= 4;
    if (top.aresetn && !offered && more && random() % 100 < offers)
      offered = more = std::fread(given.data(), 8, given.size(), in) == given.size();
    put(top.s_axis_tdata, given);
    top.s_axis_tvalid = offered;
    top.s_axis_tlast = given.back() & 1;
    top.m_axis_tready = random() % 100 < takes;
    top.aclk = 0;
    top.eval();
    Beat made = get(top.m_axis_tdata);
    made.push_back(top.m_axis_tlast);
    if (held && (!top.m_axis_tvalid || made != kept)) return 3;
    held = top.m_axis_tvalid && !top.m_axis_tready;
    kept = made;
    const bool taken = offered && top.s_axis_tready && top.aresetn;
    if (top.m_axis_tvalid && top.m_axis_tready) {
      made.push_back(clock);
      if (std::fwrite(made.data(), 8, made.size(), out) != made.size()) return 2;
    }
    quiet = top.m_axis_tvalid || taken ? 0 : quiet + 1;
    still = taken || (top.m_axis_tvalid && top.m_axis_tready) ? 0 : still + 1;
    if (still > 100000) return 4;
    offered = offered && !taken;
    top.aclk = 1;
    top.eval();
  }
  top.final();
  return std::fclose(out) != 0;
}
