// The simple recurrent unit (Lei et al. 2018, arXiv:1709.02755v5), whose gates see the state before.
//
//   x̃ = x W   f = σ(x W_f + v_f ⊙ c + b_f)   r = σ(x W_r + v_r ⊙ c + b_r)
//   c' = f ⊙ c + (1 − f) ⊙ x̃                 h = r ⊙ c' + (1 − r) ⊙ x
#pragma once

#include "cells/elementwise_lane.h"

namespace ostinato {

struct SruForm {
  static constexpr const char* name = "sru";
  static constexpr int sums = 3, states = 1, constants = 2;
  static constexpr bool takes_x = true, y_is_state = false;
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
namespace OSTINATO_ISA {

struct Sru : ostinato::SruForm {
  using Lane = ElementwiseLane<Sru>;
  static OSTINATO_INLINE vfloat forward(const Lane& lane, vfloat* state) {
    const vfloat c = lane.before[0];
    const vfloat f = sigmoid(lane.sum[1] + lane.constant[0] * c), r = sigmoid(lane.sum[2] + lane.constant[1] * c);
    state[0] = f * c + (1.0f - f) * lane.sum[0];
    return r * state[0] + (1.0f - r) * lane.x;
  }
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh, ElementwiseGradient<Sru>& g) {
    const vfloat c = lane.before[0], given = lane.sum[0];
    const vfloat f = sigmoid(lane.sum[1] + lane.constant[0] * c), r = sigmoid(lane.sum[2] + lane.constant[1] * c);
    const vfloat after = f * c + (1.0f - f) * given, dafter = g.state[0] + dh * r;
    g.sum[0] = dafter * (1.0f - f);
    g.sum[1] = dafter * (c - given) * f * (1.0f - f);
    g.sum[2] = dh * (after - lane.x) * r * (1.0f - r);
    g.x = dh * (1.0f - r);
    g.constant[0] = g.sum[1] * c;
    g.constant[1] = g.sum[2] * c;
    g.state[0] = dafter * f + g.sum[1] * lane.constant[0] + g.sum[2] * lane.constant[1];
  }
};

}  // namespace OSTINATO_ISA
#endif
