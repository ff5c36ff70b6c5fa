// The real-gated linear recurrent unit of Griffin (De et al. 2024, arXiv:2402.19427).
//
//   r = σ(x W_a + b_a)   i = σ(x W_x + b_x)   a = e^(−s ⊙ r)   h' = a ⊙ h + √(1 − a²) ⊙ (i ⊙ x)
//
// The constant s is 8 softplus(Λ), so that a = σ(−Λ)^(8 r).
#pragma once

#include "cells/elementwise_lane.h"

namespace ostinato {

struct RgLruForm {
  static constexpr const char* name = "rg-lru";
  static constexpr int sums = 2, states = 1, constants = 1;
  static constexpr bool takes_x = true, y_is_state = true;
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
namespace OSTINATO_ISA {

struct RgLru : ostinato::RgLruForm {
  using Lane = ElementwiseLane<RgLru>;
  struct Values {
    vfloat r, i, a, scale;  // scale = √(1 − a²)
  };
  static OSTINATO_INLINE Values values(const Lane& lane) {
    const vfloat r = sigmoid(lane.sum[0]), log_a = -lane.constant[0] * r;
    const vfloat less_one = exp_less_one(log_a);  // a − 1, and 1 − a² = (1 − a) (1 + a), right where a is almost 1
    return {r, sigmoid(lane.sum[1]), 1.0f + less_one, sqrt(-less_one * (2.0f + less_one))};
  }
  static OSTINATO_INLINE vfloat forward(const Lane& lane, vfloat* state) {
    const auto [r, i, a, scale] = values(lane);
    return state[0] = a * lane.before[0] + scale * (i * lane.x);
  }
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat, ElementwiseGradient<RgLru>& g) {
    const auto [r, i, a, scale] = values(lane);
    const vfloat s = lane.constant[0], dh = g.state[0], dscaled = dh * scale;
    // The slope of the root is infinite at a = 1, where r is 0: r / scale goes to 0 there, and is taken together.
    const vfloat r_by_scale = r / max(scale, broadcast(1e-30f));
    const vfloat dlog_a_times_r = dh * a * (lane.before[0] * r - i * lane.x * a * r_by_scale);
    g.sum[0] = -s * (1.0f - r) * dlog_a_times_r;
    g.constant[0] = -dlog_a_times_r;
    g.sum[1] = dscaled * lane.x * i * (1.0f - i);
    g.x = dscaled * i;
    g.state[0] = dh * a;
  }
};

}  // namespace OSTINATO_ISA
#endif
