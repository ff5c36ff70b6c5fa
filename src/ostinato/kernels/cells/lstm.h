// The long short-term memory (Hochreiter & Schmidhuber 1997).
//
//   i = σ(x W_i + h U_i + b_i)   f = σ(x W_f + h U_f + b_f)   g = tanh(x W_c + h U_c + b_c)   o = σ(x W_o + h U_o + b_o)
//   c' = f ⊙ c + i ⊙ g           h' = o ⊙ tanh(c')
//
// With other activations, one takes the place of σ, and one that of both tanh.
#pragma once

#include "engine.h"

namespace ostinato {

struct LstmOp {
  static constexpr Cell cell = Cell::kLstm;
  static constexpr const char *name = "Lstm", *key = "lstm";
  static constexpr int gates = 4, states = 2;
  static constexpr const char *attribute = nullptr, *first_activation = nullptr;
  template <class Attributes>
  static void read(const Attributes&, Layer&) {}
  static int bias_rows(const Layer&) { return 1; }
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
#include "activations.h"

namespace OSTINATO_ISA {

template <class Activations>
struct Lstm {
  static constexpr int gates = 4, states = 2, bias_rows = 1;
  static constexpr int gathered = 4;
  static constexpr bool separate = false;
  static constexpr int kept = 4, deltas = 4, alike = 4;
  static constexpr bool direct = false;
  using A = Activations;

  template <class Lane>
  static OSTINATO_INLINE void forward(const Lane& lane) {
    const vfloat sum_i = lane.x(0) + lane.product(0), sum_f = lane.x(1) + lane.product(1);
    const vfloat sum_g = lane.x(2) + lane.product(2), sum_o = lane.x(3) + lane.product(3);
    const auto [i, f, o] = A::gates(lane.layer(), sum_i, sum_f, sum_o);
    const vfloat g = A::activated(lane.layer(), sum_g);
    const vfloat c = f * lane.c() + i * g;
    lane.keep({A::kept(sum_i, i), A::kept(sum_f, f), A::kept(sum_g, g), A::kept(sum_o, o)});
    lane.put_c(c);
    lane.leave(0, o);
    lane.leave(1, c);
  }
  template <class Lane>
  static OSTINATO_INLINE void finish(const Lane& lane) {
    lane.put_h(lane.product(0) * A::activated(lane.layer(), lane.product(1)));
  }

  template <class Lane>
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh) {
    const auto [i, f, o] = A::gates_of(lane.layer(), lane.kept(0), lane.kept(1), lane.kept(3));
    const auto g = A::activated_of(lane.layer(), lane.kept(2));
    const auto c = A::activated_of_sum(lane.layer(), lane.c());
    const vfloat dc = lane.dc() + c.through(dh * o.value);
    lane.put_delta(0, i.through(dc * g.value));
    lane.put_delta(1, f.through(dc * lane.c_before()));
    lane.put_delta(2, g.through(dc * i.value));
    lane.put_delta(3, o.through(dh * c.value));
    lane.put_dc(dc * f.value);
  }
};

}  // namespace OSTINATO_ISA
#endif
