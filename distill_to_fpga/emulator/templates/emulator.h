// The interface behind which CMS software keeps the models of the trigger's firmware: this declaration stands in for that
// of hls4mlEmulatorExtras, has the same order of virtual functions and so the same binary interface.
//   make EMULATOR_INTERFACE=FOLDER      takes FOLDER/hls4ml/emulator.h instead.
#ifndef DETFM_HLS4ML_EMULATOR_H
#define DETFM_HLS4ML_EMULATOR_H

#include <any>

namespace hls4mlEmulator {

class Model {
public:
  virtual void prepare_input(std::any input) = 0;
  virtual void predict() = 0;
  virtual void read_result(std::any result) = 0;
  virtual ~Model() = default;
};

} // namespace hls4mlEmulator

#endif
