// The gated recurrent unit (Cho et al. 2014), in its two published forms.
//
//   z = σ(x W_z + h U_z + b_z)   r = σ(x W_r + h U_r + b_r)   h' = z ⊙ h + (1 - z) ⊙ h̃
//   reset after the product:     h̃ = tanh(x W_h + b_h + r ⊙ (h U_h + b'_h)), as in cuDNN
//   reset before the product:    h̃ = tanh(x W_h + b_h + (r ⊙ h) U_h), as in the paper
#pragma once

#include "engine.h"

namespace ostinato {

struct GruOp {
  static constexpr Cell cell = Cell::kGru;
  static constexpr const char *name = "Gru", *key = "gru";
  static constexpr int gates = 3, states = 1;
  static constexpr const char* attribute = "reset_after: bool = true";
  template <class Attributes>
  static void read(const Attributes& attributes, Layer& layer) {
    layer.reset_after = attributes.boolean("reset_after");
  }
  static int bias_rows(const Layer& layer) { return layer.reset_after ? 2 : 1; }
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
#include "vector.h"

namespace OSTINATO_ISA {

struct GruAfter {
  static constexpr int gates = 3, states = 1, bias_rows = 2;
  static constexpr int gathered = 3;
  static constexpr bool separate = false;
  static constexpr int kept = 4, deltas = 4, alike = 2;
  static constexpr bool direct = true;

  template <class Lane>
  static OSTINATO_INLINE void forward(const Lane& lane) {
    vfloat p[3];
    OSTINATO_UNROLL for (int g = 0; g < 3; ++g) {
      p[g] = lane.product(g);
      if (lane.has_bias()) p[g] += lane.bias(3 + g);
    }
    const vfloat z = sigmoid(lane.x(0) + p[0]);
    const vfloat r = sigmoid(lane.x(1) + p[1]);
    const vfloat candidate = tanh(lane.x(2) + r * p[2]);
    const vfloat h = lane.h();
    lane.keep({z, r, candidate, p[2]});
    lane.put_h(z * h + (1.0f - z) * candidate);
  }

  template <class Lane>
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh) {
    const vfloat z = lane.kept(0), r = lane.kept(1), candidate = lane.kept(2);
    const vfloat h = lane.h_before();
    const vfloat dcandidate = dh * (1.0f - z) * (1.0f - candidate * candidate);
    lane.put_delta(0, dh * (h - candidate) * z * (1.0f - z));
    lane.put_delta(2, dcandidate);
    lane.put_dh(dh * z);
    lane.put_delta(1, dcandidate * lane.kept(3) * r * (1.0f - r));
    lane.put_delta(3, dcandidate * r);
  }
};

struct GruBefore {
  static constexpr int gates = 3, states = 1, bias_rows = 1;
  static constexpr int gathered = 2;
  static constexpr bool separate = true;
  static constexpr int kept = 3, deltas = 3, alike = 2;
  static constexpr bool direct = true;

  template <class Lane>
  static OSTINATO_INLINE void forward(const Lane& lane) {
    const vfloat r = sigmoid(lane.x(1) + lane.product(1));
    lane.put_x(0, sigmoid(lane.x(0) + lane.product(0)));
    lane.put_x(1, r);
    lane.put_between(r * lane.dropped_h(2));
  }
  template <class Lane>
  static OSTINATO_INLINE void forward_separate(const Lane& lane, vfloat sum) {
    const vfloat candidate = tanh(sum), z = lane.x(0);
    const vfloat h = lane.h();
    lane.keep({z, lane.x(1), candidate});
    lane.put_h(z * h + (1.0f - z) * candidate);
  }

  template <class Lane>
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh) {
    const vfloat z = lane.kept(0), r = lane.kept(1), candidate = lane.kept(2);
    const vfloat h = lane.h_before();
    const vfloat dcandidate = dh * (1.0f - z) * (1.0f - candidate * candidate);
    lane.put_delta(0, dh * (h - candidate) * z * (1.0f - z));
    lane.put_delta(2, dcandidate);
    lane.put_dh(dh * z);
    lane.put_between(r * lane.dropped_h_before(2));
  }
  // From the gradient of r ⊙ h to those of r and of h.
  template <class Lane>
  static OSTINATO_INLINE void backward_between(const Lane& lane, vfloat given) {
    const vfloat r = lane.kept(1);
    lane.put_delta(1, given * lane.dropped_h_before(2) * r * (1.0f - r));
    lane.put_dh(lane.dh() + lane.times_dropout(2, given) * r);
  }
};

}  // namespace OSTINATO_ISA
#endif
