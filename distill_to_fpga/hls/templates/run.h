// One inference on plain integers: all inputs one after another in, bit patterns of all outputs out.
#ifndef DETFM_@{GUARD}_RUN_H
#define DETFM_@{GUARD}_RUN_H

#include <vector>

#include "../src/@{name}.h"
#include "words.h"

namespace @{namespace} {

inline std::vector<long long> run_words(const std::vector<long long> &input_) {
  std::vector<long long> output_;
@{body}
  return output_;
}

} // namespace @{namespace}

#endif
