// The long short-term memory (Hochreiter & Schmidhuber 1997).
//
//   i = σ(x W_i + h U_i + b_i)   f = σ(x W_f + h U_f + b_f)   g = tanh(x W_c + h U_c + b_c)   o = σ(x W_o + h U_o + b_o)
//   c' = f ⊙ c + i ⊙ g           h' = o ⊙ tanh(c')
#pragma once

#include "engine.h"

namespace ostinato {

struct LstmOp {
  static constexpr Cell cell = Cell::kLstm;
  static constexpr const char *name = "Lstm", *key = "lstm";
  static constexpr int gates = 4, states = 2;
  static constexpr const char* attribute = nullptr;
  template <class Attributes>
  static void read(const Attributes&, Layer&) {}
  static int bias_rows(const Layer&) { return 1; }
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
#include "vector.h"

namespace OSTINATO_ISA {

struct Lstm {
  static constexpr int gates = 4, states = 2, bias_rows = 1;
  static constexpr int gathered = 4;
  static constexpr bool separate = false;
  static constexpr int kept = 4, deltas = 4, alike = 4;
  static constexpr bool direct = false;

  template <class Lane>
  static OSTINATO_INLINE void forward(const Lane& lane) {
    const vfloat i = sigmoid(lane.x(0) + lane.product(0));
    const vfloat f = sigmoid(lane.x(1) + lane.product(1));
    const vfloat g = tanh(lane.x(2) + lane.product(2));
    const vfloat o = sigmoid(lane.x(3) + lane.product(3));
    const vfloat c = f * lane.c() + i * g;
    lane.keep({i, f, g, o});
    lane.put_c(c);
    lane.put_h(o * tanh(c));
  }

  template <class Lane>
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh) {
    const vfloat i = lane.kept(0), f = lane.kept(1), g = lane.kept(2), o = lane.kept(3);
    const vfloat c = tanh(lane.c());
    const vfloat dc = lane.dc() + dh * o * (1.0f - c * c);
    lane.put_delta(0, dc * g * i * (1.0f - i));
    lane.put_delta(1, dc * lane.c_before() * f * (1.0f - f));
    lane.put_delta(2, dc * i * (1.0f - g * g));
    lane.put_delta(3, dh * c * o * (1.0f - o));
    lane.put_dc(dc * f);
  }
};

}  // namespace OSTINATO_ISA
#endif
