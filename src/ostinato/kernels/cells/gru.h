// The gated recurrent unit (Cho et al. 2014), in its two published forms.
//
//   z = σ(x W_z + h U_z + b_z)   r = σ(x W_r + h U_r + b_r)   h' = z ⊙ h + (1 - z) ⊙ h̃
//   reset after the product:     h̃ = tanh(x W_h + b_h + r ⊙ (h U_h + b'_h)), as in cuDNN
//   reset before the product:    h̃ = tanh(x W_h + b_h + (r ⊙ h) U_h), as in the paper
//
// With other activations, one takes the place of σ, and one that of tanh.
#pragma once

#include "engine.h"

namespace ostinato {

struct GruOp {
  static constexpr Cell cell = Cell::kGru;
  static constexpr const char *name = "Gru", *key = "gru";
  static constexpr int gates = 3, states = 1;
  static constexpr const char *attribute = "reset_after: bool = true", *first_activation = nullptr;
  template <class Attributes>
  static void read(const Attributes& attributes, Layer& layer) {
    layer.reset_after = attributes.boolean("reset_after");
  }
  static int bias_rows(const Layer& layer) { return layer.reset_after ? 2 : 1; }
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
#include "activations.h"

namespace OSTINATO_ISA {

// What both forms share.
template <class Activations>
struct Gru {
  static constexpr int gates = 3, states = 1, alike = 2;
  static constexpr bool direct = true;
  using A = Activations;

  template <class Lane>
  static OSTINATO_INLINE void put_state(const Lane& lane, vfloat z, vfloat candidate) {
    lane.put_h(z * lane.h() + (1.0f - z) * candidate);
  }

  // The deltas of z and of the candidate, which is returned, and the part of dh that z lets through.
  template <class Lane>
  static OSTINATO_INLINE vfloat put_deltas(const Lane& lane, vfloat dh, const typename A::Gate& z) {
    const auto candidate = A::activated_of(lane.layer(), lane.kept(2));
    const vfloat h = lane.h_before();
    const vfloat dcandidate = candidate.through(dh * (1.0f - z.value));
    lane.put_delta(0, z.through(dh * (h - candidate.value)));
    lane.put_delta(2, dcandidate);
    lane.put_dh(dh * z.value);
    return dcandidate;
  }
};

template <class Activations>
struct GruAfter : Gru<Activations> {
  static constexpr int bias_rows = 2, gathered = 3, kept = 4, deltas = 4;
  static constexpr bool separate = false;
  using A = Activations;

  template <class Lane>
  static OSTINATO_INLINE void forward(const Lane& lane) {
    vfloat p[3];
    OSTINATO_UNROLL for (int g = 0; g < 3; ++g) {
      p[g] = lane.product(g);
      if (lane.has_bias()) p[g] += lane.bias(3 + g);
    }
    const vfloat sum_z = lane.x(0) + p[0], sum_r = lane.x(1) + p[1];
    const auto [z, r] = A::gates(lane.layer(), sum_z, sum_r);
    lane.keep({A::kept(sum_z, z), A::kept(sum_r, r)});
    lane.leave(0, z);
    lane.leave(1, lane.x(2) + r * p[2]);
    lane.leave(2, p[2]);
  }
  template <class Lane>
  static OSTINATO_INLINE void finish(const Lane& lane) {
    const vfloat sum = lane.product(1), candidate = A::activated(lane.layer(), sum);
    lane.keep({A::kept(sum, candidate), lane.product(2)}, 2);
    Gru<A>::put_state(lane, lane.product(0), candidate);
  }

  template <class Lane>
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh) {
    const auto [z, r] = A::gates_of(lane.layer(), lane.kept(0), lane.kept(1));
    const vfloat dcandidate = Gru<A>::put_deltas(lane, dh, z);
    lane.put_delta(1, r.through(dcandidate * lane.kept(3)));
    lane.put_delta(3, dcandidate * r.value);
  }
};

template <class Activations>
struct GruBefore : Gru<Activations> {
  static constexpr int bias_rows = 1, gathered = 2, kept = 3, deltas = 3;
  static constexpr bool separate = true;
  using A = Activations;

  template <class Lane>
  static OSTINATO_INLINE void forward(const Lane& lane) {
    const vfloat sum_z = lane.x(0) + lane.product(0), sum_r = lane.x(1) + lane.product(1);
    const auto [z, r] = A::gates(lane.layer(), sum_z, sum_r);
    lane.keep({A::kept(sum_z, z), A::kept(sum_r, r)});
    lane.carry(z);
    lane.put_between(r * lane.dropped_h(2));
  }
  template <class Lane>
  static OSTINATO_INLINE void forward_separate(const Lane& lane, vfloat sum) {
    const vfloat candidate = A::activated(lane.layer(), sum);
    lane.keep({A::kept(sum, candidate)}, 2);
    Gru<A>::put_state(lane, lane.carried(), candidate);
  }

  template <class Lane>
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh) {
    const auto [z, r] = A::gates_of(lane.layer(), lane.kept(0), lane.kept(1));
    Gru<A>::put_deltas(lane, dh, z);
    lane.put_between(r.value * lane.dropped_h_before(2));
  }
  // From the gradient of r ⊙ h to those of r and of h.
  template <class Lane>
  static OSTINATO_INLINE void backward_between(const Lane& lane, vfloat given) {
    const auto [r] = A::gates_of(lane.layer(), lane.kept(1));
    lane.put_delta(1, r.through(given * lane.dropped_h_before(2)));
    lane.put_dh(lane.dh() + lane.times_dropout(2, given) * r.value);
  }
};

}  // namespace OSTINATO_ISA
#endif
