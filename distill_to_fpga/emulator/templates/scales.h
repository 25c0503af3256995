// What the numbers at the ports of @{name} mean, all inputs one after another. scales.json says the same, with names.
#ifndef DETFM_@{GUARD}_SCALES_H
#define DETFM_@{GUARD}_SCALES_H

namespace @{namespace} {
namespace scales {

// Hardware integers: smallest and largest; the physical value of one count.
constexpr int inputs = @{inputs};
constexpr long long low[inputs] = {@{low}};
constexpr long long high[inputs] = {@{high}};
constexpr double lsb[inputs] = {@{lsb}};

// The firmware itself scales its inputs: (integer - offset) * 2^shift.
constexpr long long offset[inputs] = {@{offset}};
constexpr int shift[inputs] = {@{shift}};

// Outputs: value = integer * 2^-fraction, exact.
constexpr int outputs = @{outputs};
constexpr int fraction[outputs] = {@{fraction}};

} // namespace scales
} // namespace @{namespace}

#endif
