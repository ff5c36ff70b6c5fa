// The plain recurrent network (Elman 1990).
//
//   h' = a(x W + h U + b), where a is tanh, relu or nothing
#pragma once

#include "engine.h"

namespace ostinato {

struct RnnOp {
  static constexpr Cell cell = Cell::kRnn;
  static constexpr const char *name = "Rnn", *key = "rnn";
  static constexpr int gates = 1, states = 1;
  static constexpr const char* attribute = "activation: {'tanh', 'relu', 'linear'} = 'tanh'";
  template <class Attributes>
  static void read(const Attributes& attributes, Layer& layer) {
    layer.activation = attributes.is("activation", "relu")     ? Activation::kRelu
                       : attributes.is("activation", "linear") ? Activation::kLinear
                                                               : Activation::kTanh;
  }
  static int bias_rows(const Layer&) { return 1; }
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
#include "vector.h"

namespace OSTINATO_ISA {

struct Rnn {
  static constexpr int gates = 1, states = 1, bias_rows = 1;
  static constexpr int gathered = 0;
  static constexpr bool separate = true;
  static constexpr int kept = 0, deltas = 1, alike = 1;
  static constexpr bool direct = false;

  template <class Lane>
  static OSTINATO_INLINE void forward_separate(const Lane& lane, vfloat sum) {
    switch (lane.layer().activation) {
      case ostinato::Activation::kTanh: return lane.put_h(tanh(sum));
      case ostinato::Activation::kRelu: return lane.put_h(select(sum < 0.0f, vfloat{}, sum));  // keeps NaN
      case ostinato::Activation::kLinear: return lane.put_h(sum);
    }
  }

  template <class Lane>
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh) {
    lane.put_delta(0, dh * slope(lane.layer().activation, lane.h()));
  }

 private:
  // The derivative of the activation, from its result.
  static OSTINATO_INLINE vfloat slope(ostinato::Activation activation, vfloat h) {
    if (activation == ostinato::Activation::kTanh) return 1.0f - h * h;
    if (activation == ostinato::Activation::kRelu) return select(h > 0.0f, broadcast(1.0f), vfloat{});
    return broadcast(1.0f);
  }
};

}  // namespace OSTINATO_ISA
#endif
