// @{name}, version @{version}, behind the interface that CMS software knows. README.md says what the std::any hold.
#include <algorithm>
#include <any>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "hls4ml/emulator.h"

#include "../tb/words.h"
#include "@{name}.h"
#include "scales.h"

namespace @{namespace} {
namespace {

class Emulator final : public hls4mlEmulator::Model {
public:
  void prepare_input(std::any any_) override {
@{prepare}
    if (const auto *given_ = std::any_cast<std::vector<long long>>(&any_)) return take(*given_);
    if (const auto *given_ = std::any_cast<std::vector<double>>(&any_)) return take(counts(*given_));
    throw unknown(any_, "prepare_input takes "
@{accepted});
  }

  void predict() override { @{call} }

  void read_result(std::any any_) override {
@{read}
    if (auto *const *to_ = std::any_cast<std::vector<long long> *>(&any_)) {
      (*to_)->clear();
@{append}
      return;
    }
    throw unknown(any_, "read_result takes "
@{filled});
  }

private:
  static std::invalid_argument unknown(const std::any &any_, const std::string &known_) {
    return std::invalid_argument("@{library}: " + known_ + "; got " + (any_.has_value() ? any_.type().name() : "nothing"));
  }

  static void expect(std::size_t size_) {
    if (size_ != std::size_t(scales::inputs))
      throw std::invalid_argument("@{library}: prepare_input takes " + std::to_string(scales::inputs) + " numbers; got " +
                                  std::to_string(size_));
  }

  // Integers of all inputs. Each is cut to the width of its port, and the firmware reads no more than its own bits.
  void take(const std::vector<long long> &integers_) {
    expect(integers_.size());
@{copy}
  }

  // Physical values in counts: rounded half up, saturated.
  static std::vector<long long> counts(const std::vector<double> &values_) {
    expect(values_.size());
    std::vector<long long> integers_;
    for (int i_ = 0; i_ < scales::inputs; i_++) {
      const double counts_ = std::floor(values_[i_] / scales::lsb[i_] + 0.5);
      if (std::isnan(counts_)) throw std::invalid_argument("@{library}: input " + std::to_string(i_) + " is NaN");
      integers_.push_back((long long)std::clamp(counts_, double(scales::low[i_]), double(scales::high[i_])));
    }
    return integers_;
  }

@{members}
};

} // namespace
} // namespace @{namespace}

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED hls4mlEmulator::Model *create_model() { return new @{namespace}::Emulator; }

EXPORTED void destroy_model(hls4mlEmulator::Model *model) { delete model; }
