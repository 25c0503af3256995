// One inference of @{library}'s C++ on plain integers: all inputs one after another in, bit patterns of all outputs out.
#ifndef DETFM_@{GUARD}_RUN_H
#define DETFM_@{GUARD}_RUN_H

#include <vector>

#include "@{name}.h"
@{includes}
#include "words.h"

namespace @{namespace} {

@{types}
inline std::vector<long long> run_words(const std::vector<long long> &input_) {
  std::vector<long long> output_;
@{body}
  return output_;
}

} // namespace @{namespace}

#endif
