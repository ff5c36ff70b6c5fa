// The independently recurrent network (Li et al. 2018, arXiv:1803.04831).
//
//   h' = a(x W + b + u ⊙ h), where a is relu, tanh, sigmoid or nothing
#pragma once

#include "cells/elementwise_lane.h"

namespace ostinato {

template <int activation>
struct IndRnnForm {
  static constexpr const char* kNames[] = {"indrnn_relu", "indrnn_tanh", "indrnn_sigmoid", "indrnn_linear"};
  static constexpr const char* name = kNames[activation];
  static constexpr int sums = 1, states = 1, constants = 1;
  static constexpr bool takes_x = false, y_is_state = true;
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
namespace OSTINATO_ISA {

template <class Activation, int number>
struct IndRnn : ostinato::IndRnnForm<number> {
  using Lane = ElementwiseLane<IndRnn>;
  static OSTINATO_INLINE vfloat forward(const Lane& lane, vfloat* state) {
    return state[0] = Activation::value(lane.sum[0] + lane.constant[0] * lane.before[0]);
  }
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat, ElementwiseGradient<IndRnn>& g) {
    const vfloat u = lane.constant[0], sum = lane.sum[0] + u * lane.before[0];
    const vfloat delta = g.state[0] * Activation::slope(sum, Activation::value(sum));
    g.sum[0] = delta;
    g.constant[0] = delta * lane.before[0];
    g.state[0] = delta * u;
  }
};

}  // namespace OSTINATO_ISA
#endif
