// The minimal LSTM (Feng et al. 2024, arXiv:2410.01201), whose gates sum to one.
//
//   f = σ(x W_f + b_f)   i = σ(x W_i + b_i)   h̃ = x W_h + b_h, or g of it
//   h' = f / (f + i) ⊙ h + i / (f + i) ⊙ h̃
#pragma once

#include "cells/elementwise_lane.h"

namespace ostinato {

template <bool positive>
struct MinLstmForm {
  static constexpr const char* name = positive ? "minlstm_positive" : "minlstm";
  static constexpr int sums = 3, states = 1, constants = 0;
  static constexpr bool takes_x = false, y_is_state = true;
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
namespace OSTINATO_ISA {

template <bool positive>
struct MinLstm : ostinato::MinLstmForm<positive> {
  using Lane = ElementwiseLane<MinLstm>;

  // With σ(s) = 1 / (1 + e^−s), f / (f + i) = (1 + e^−s_i) / (2 + e^−s_f + e^−s_i). All terms are divided by the largest,
  // so that none overflows and one is 1.
  struct Shares {
    vfloat f, i;            // f / (f + i) and i / (f + i)
    vfloat slope_f, slope_i;  // of f / (f + i), by s_f and, negated, by s_i
  };
  static OSTINATO_INLINE Shares shares(vfloat sum_f, vfloat sum_i) {
    const vfloat most = max(vfloat{}, max(-sum_f, -sum_i));
    const vfloat one = exp(-most), of_f = exp(-sum_f - most), of_i = exp(-sum_i - most);
    const vfloat root = reciprocal(2.0f * one + of_f + of_i);
    const vfloat f = (one + of_i) * root, i = (one + of_f) * root;
    return {f, i, f * of_f * root, i * of_i * root};
  }

  static OSTINATO_INLINE vfloat forward(const Lane& lane, vfloat* state) {
    const Shares s = shares(lane.sum[0], lane.sum[1]);
    return state[0] = s.f * lane.before[0] + s.i * candidate<positive>(lane.sum[2]).value;
  }
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat, ElementwiseGradient<MinLstm>& g) {
    const Shares s = shares(lane.sum[0], lane.sum[1]);
    const Candidate c = candidate<positive>(lane.sum[2]);
    const vfloat dh = g.state[0], df = dh * (lane.before[0] - c.value);
    g.sum[0] = df * s.slope_f;
    g.sum[1] = -df * s.slope_i;
    g.sum[2] = dh * s.i * c.slope;
    g.state[0] = dh * s.f;
  }
};

}  // namespace OSTINATO_ISA
#endif
