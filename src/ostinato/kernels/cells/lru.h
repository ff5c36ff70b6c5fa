// The linear recurrent unit (Orvieto et al. 2023, arXiv:2303.06349): a complex diagonal, as real and imaginary parts.
//
//   s' = λ ⊙ s + γ ⊙ (x B)     the sums are the two parts of x B, the constants λ's two parts and γ
#pragma once

#include "cells/elementwise_lane.h"

namespace ostinato {

struct LruForm {
  static constexpr const char* name = "lru";
  static constexpr int sums = 2, states = 2, constants = 3;
  static constexpr bool takes_x = false, y_is_state = true;
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
namespace OSTINATO_ISA {

struct Lru : ostinato::LruForm {
  using Lane = ElementwiseLane<Lru>;
  static OSTINATO_INLINE vfloat forward(const Lane& lane, vfloat* state) {
    const auto& [sum, before, constant, x] = lane;
    state[0] = constant[0] * before[0] - constant[1] * before[1] + constant[2] * sum[0];
    state[1] = constant[0] * before[1] + constant[1] * before[0] + constant[2] * sum[1];
    return state[0];
  }
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat, ElementwiseGradient<Lru>& g) {
    const auto& [sum, before, constant, x] = lane;
    const vfloat re = g.state[0], im = g.state[1];
    g.sum[0] = constant[2] * re;
    g.sum[1] = constant[2] * im;
    g.constant[0] = re * before[0] + im * before[1];
    g.constant[1] = im * before[0] - re * before[1];
    g.constant[2] = re * sum[0] + im * sum[1];
    g.state[0] = constant[0] * re + constant[1] * im;
    g.state[1] = constant[0] * im - constant[1] * re;
  }
};

}  // namespace OSTINATO_ISA
#endif
