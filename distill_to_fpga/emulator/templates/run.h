// One inference as CMS software makes it: the shared object opened by its name, its model created and asked through
// std::any. Nothing of the model is included, only types of ap_types; the programs that include this know it no better.
#ifndef DETFM_@{GUARD}_RUN_H
#define DETFM_@{GUARD}_RUN_H

#include <any>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <tuple>
#include <utility>
#include <vector>

#include "ap_fixed.h"
#include "ap_int.h"
#include "hls4ml/emulator.h"

#include "words.h"

namespace @{namespace} {

inline void *symbol(void *library, const char *name) {
  void *found = library ? dlsym(library, name) : nullptr;
  if (!found) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::exit(2);
  }
  return found;
}

struct Loaded {
  void *library = dlopen("@{library}.so", RTLD_LAZY | RTLD_LOCAL);
  hls4mlEmulator::Model *model = reinterpret_cast<hls4mlEmulator::Model *(*)()>(symbol(library, "create_model"))();
  ~Loaded() {
    reinterpret_cast<void (*)(hls4mlEmulator::Model *)>(symbol(library, "destroy_model"))(model);
    dlclose(library);
  }
};

inline std::vector<long long> run_words(const std::vector<long long> &input_) {
  static const Loaded loaded_;
  std::vector<long long> output_;
@{body}
  return output_;
}

} // namespace @{namespace}

#endif
