// Where the numbers of a forward pass lie: outputs, states, gates that were projected ahead, and the history.
#pragma once

#include "sequence.h"

namespace OSTINATO_ISA {

class ForwardPlaces : protected Pass {
 protected:
  ForwardPlaces(const Layer& layer, const Inputs& in, const Outputs& out, bool keeps_history)
      : Pass(layer, in), out_(out), keeps_(keeps_history) {}

  // Steps alternate between two places for the state of a row.
  float* gates(int64_t b, int64_t step) const {
    return gates_ + (b * stretch_ + step % stretch_) * z_.width;
  }
  const float* state(int64_t b, int64_t step) const {
    return step < 0 ? in_.h0 + b * z_.units : states_ + ((step & 1) * z_.batch + b) * z_.units;
  }
  const float* cell(int64_t b, int64_t step) const {
    return step < 0 ? in_.c0 + b * z_.units : cells_ + (keeps_ ? b * z_.time + step : b) * z_.units;
  }
  float* new_cell(int64_t b, int64_t step) { return cells_ + (keeps_ ? b * z_.time + step : b) * z_.units; }
  // What a gate's recurrent product reads under dropout.
  float* dropped(int gate, int64_t b, int64_t step) const {
    return dropped_ + (((step & 1) * z_.gates + gate) * z_.batch + b) * z_.units;
  }
  float* y(int64_t b, int64_t step) const {
    return out_.y + (l_.return_sequences ? b * z_.time + step : b) * z_.units;
  }
  float* new_state(int64_t b, int64_t step) { return states_ + ((step & 1) * z_.batch + b) * z_.units; }
  float* kept_state(int64_t b, int64_t step) { return kept_states_ + (b * z_.time + step) * z_.units; }

  const Outputs out_;
  const bool keeps_;
  int64_t stretch_ = 1;  // steps that are projected ahead
  float *gates_ = nullptr, *cells_ = nullptr, *states_ = nullptr, *dropped_ = nullptr;
  float *kept_gates_ = nullptr, *kept_states_ = nullptr;
};

}  // namespace OSTINATO_ISA
