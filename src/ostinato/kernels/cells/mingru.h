// The minimal GRU (Feng et al. 2024, arXiv:2410.01201).
//
//   z = σ(x W_z + b_z)   h̃ = x W_h + b_h, or g of it   h' = (1 − z) ⊙ h + z ⊙ h̃
#pragma once

#include "cells/elementwise_lane.h"

namespace ostinato {

template <bool positive>
struct MinGruForm {
  static constexpr const char* name = positive ? "mingru_positive" : "mingru";
  static constexpr int sums = 2, states = 1, constants = 0;
  static constexpr bool takes_x = false, y_is_state = true;
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
namespace OSTINATO_ISA {

template <bool positive>
struct MinGru : ostinato::MinGruForm<positive> {
  using Lane = ElementwiseLane<MinGru>;
  static OSTINATO_INLINE vfloat forward(const Lane& lane, vfloat* state) {
    const vfloat z = sigmoid(lane.sum[0]), c = candidate<positive>(lane.sum[1]).value;
    return state[0] = lane.before[0] + z * (c - lane.before[0]);
  }
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat, ElementwiseGradient<MinGru>& g) {
    const vfloat z = sigmoid(lane.sum[0]), dh = g.state[0];
    const Candidate c = candidate<positive>(lane.sum[1]);
    g.sum[0] = dh * (c.value - lane.before[0]) * z * (1.0f - z);
    g.sum[1] = dh * z * c.slope;
    g.state[0] = dh - dh * z;
  }
};

}  // namespace OSTINATO_ISA
#endif
