// The plain recurrent network (Elman 1990).
//
//   h' = a(x W + h U + b), where a is the layer's activation
#pragma once

#include "engine.h"

namespace ostinato {

struct RnnOp {
  static constexpr Cell cell = Cell::kRnn;
  static constexpr const char *name = "Rnn", *key = "rnn";
  static constexpr int gates = 1, states = 1;
  static constexpr const char* attribute = nullptr;
  static constexpr const char* first_activation = "activation: {'tanh', 'relu', 'linear'} = 'tanh'";
  template <class Attributes>
  static void read(const Attributes&, Layer&) {}
  static int bias_rows(const Layer&) { return 1; }
};

}  // namespace ostinato

#ifdef OSTINATO_ISA
#include "activations.h"

namespace OSTINATO_ISA {

// tanh, relu and nothing: their slopes follow from h, so that nothing is kept beside it.
struct RnnFromResult {
  static constexpr int kept = 0;
  static bool has(Activation activation) {
    return activation == Activation::kTanh || activation == Activation::kRelu || activation == Activation::kLinear;
  }
  static OSTINATO_INLINE vfloat value(const Layer& layer, vfloat sum) {
    switch (layer.activation) {
      case Activation::kTanh: return Tanh::value(sum);
      case Activation::kRelu: return Relu::value(sum);
      default: return sum;
    }
  }
  template <class Lane>
  static OSTINATO_INLINE vfloat slope(const Lane& lane) {
    const vfloat h = lane.h();
    if (lane.layer().activation == Activation::kTanh) return Tanh::slope(h, h);
    if (lane.layer().activation == Activation::kRelu) return Relu::slope(h, h);
    return broadcast(1.0f);
  }
};
struct RnnFromSum {
  static constexpr int kept = 1;
  static OSTINATO_INLINE vfloat value(const Layer& layer, vfloat sum) { return Chosen::activated(layer, sum); }
  template <class Lane>
  static OSTINATO_INLINE vfloat slope(const Lane& lane) {
    return Chosen::activated_of(lane.layer(), lane.kept(0)).slope;
  }
};

template <class Activations>
struct Rnn {
  static constexpr int gates = 1, states = 1, bias_rows = 1;
  static constexpr int gathered = 0;
  static constexpr bool separate = true;
  static constexpr int kept = Activations::kept, deltas = 1, alike = 1;
  static constexpr bool direct = false;

  template <class Lane>
  static OSTINATO_INLINE void forward_separate(const Lane& lane, vfloat sum) {
    if constexpr (kept > 0) lane.keep({sum});
    lane.put_h(Activations::value(lane.layer(), sum));
  }

  template <class Lane>
  static OSTINATO_INLINE void backward(const Lane& lane, vfloat dh) {
    lane.put_delta(0, dh * Activations::slope(lane));
  }
};

}  // namespace OSTINATO_ISA
#endif
