// The activations: their names and, where OSTINATO_ISA is given, value and slope of each.
//
// A form of a cell's equations is a template over how its activations are computed:
//
//   Classic   the textbook's, fixed when compiled: tanh, and sigmoid at the gates. Values are kept for the backward pass,
//             which the slopes follow from.
//   Chosen    the layer's, whichever they are: a switch for each vector, or for all gates of a lane at once. Sums are kept,
//             since not every activation has an inverse, and the backward pass computes values and slopes from them.
#pragma once

#include <array>
#include <cstring>
#include <string>

#include "engine.h"

namespace ostinato {

// In the order of `Activation`; "silu" is also called swish. Attributes of TensorFlow's ops have these names.
constexpr const char* kActivationNames[] = {"tanh",     "relu", "linear", "sigmoid", "hard_sigmoid", "keras2_hard_sigmoid",
                                            "softsign", "elu",  "selu",   "silu"};
static_assert(sizeof kActivationNames / sizeof *kActivationNames == static_cast<size_t>(Activation::kSilu) + 1, "");

// Sets `found` to the activation of a name; false where there is none.
inline bool find_activation(const char* name, Activation* found) {
  int32_t number = 0;
  for (const char* known : kActivationNames) {
    if (name != nullptr && std::strcmp(name, known) == 0) return *found = static_cast<Activation>(number), true;
    ++number;
  }
  return false;
}
inline std::string activation_names() {
  std::string names;
  for (const char* name : kActivationNames) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

// Whether a layer has the activations of `Classic`.
inline bool is_classic(const Layer& layer) {
  return layer.activation == Activation::kTanh && layer.recurrent_activation == Activation::kSigmoid;
}

}  // namespace ostinato

#ifdef OSTINATO_ISA
#ifdef OSTINATO_DOUBLE
#include "plain/number.h"
#else
#include "vector.h"
#endif

namespace OSTINATO_ISA {

using ostinato::Activation;
using ostinato::Layer;

// value(x), and slope(x, y), where y is the value at x. NaN stays NaN, and slopes at kinks are TensorFlow's.
struct Tanh {
  static OSTINATO_INLINE vfloat value(vfloat x) { return tanh(x); }
  static OSTINATO_INLINE vfloat slope(vfloat, vfloat y) { return 1.0f - y * y; }
};
struct Relu {
  static OSTINATO_INLINE vfloat value(vfloat x) { return select(x < 0.0f, vfloat{}, x); }
  static OSTINATO_INLINE vfloat slope(vfloat x, vfloat) { return select(x > 0.0f, broadcast(1.0f), vfloat{}); }
};
struct Linear {
  static OSTINATO_INLINE vfloat value(vfloat x) { return x; }
  static OSTINATO_INLINE vfloat slope(vfloat, vfloat) { return broadcast(1.0f); }
};
struct Sigmoid {
  static OSTINATO_INLINE vfloat value(vfloat x) { return sigmoid(x); }
  static OSTINATO_INLINE vfloat slope(vfloat, vfloat y) { return y * (1.0f - y); }
};
// Keras 3's: relu6(x + 3) / 6.
struct HardSigmoid {
  static OSTINATO_INLINE vfloat value(vfloat x) {
    return min(broadcast(6.0f), max(vfloat{}, x + 3.0f)) * (real(1) / 6);
  }
  static OSTINATO_INLINE vfloat slope(vfloat x, vfloat) {
    const vfloat moved = x + 3.0f;
    return select((moved > 0.0f) & (moved < 6.0f), broadcast(real(1) / 6), vfloat{});
  }
};
// Keras 2's: 0.2 x + 0.5, clipped to [0, 1].
struct Keras2HardSigmoid {
  static OSTINATO_INLINE vfloat value(vfloat x) { return min(broadcast(1.0f), max(vfloat{}, line(x))); }
  static OSTINATO_INLINE vfloat slope(vfloat x, vfloat) {
    return select((line(x) >= 0.0f) & (line(x) <= 1.0f), broadcast(real(0.2)), vfloat{});
  }
  static OSTINATO_INLINE vfloat line(vfloat x) { return x * real(0.2) + 0.5f; }
};
struct Softsign {
  static OSTINATO_INLINE vfloat value(vfloat x) { return x / (1.0f + max(x, -x)); }
  static OSTINATO_INLINE vfloat slope(vfloat x, vfloat) {
    const vfloat root = 1.0f / (1.0f + max(x, -x));
    return root * root;
  }
};
// Clevert et al. 2015, arXiv:1511.07289, with alpha = 1.
struct Elu {
  static OSTINATO_INLINE vfloat value(vfloat x) { return select(x > 0.0f, x, exp_less_one(x)); }
  static OSTINATO_INLINE vfloat slope(vfloat x, vfloat y) { return select(x < 0.0f, y + 1.0f, broadcast(1.0f)); }
};
// Klambauer et al. 2017, arXiv:1706.02515.
struct Selu {
  static constexpr real kScale = real(1.0507009873554805), kScaleAlpha = real(1.7580993408473769);
  static OSTINATO_INLINE vfloat value(vfloat x) {
    return select(x > 0.0f, x * kScale, exp_less_one(x) * kScaleAlpha);
  }
  static OSTINATO_INLINE vfloat slope(vfloat x, vfloat y) {
    return select(x < 0.0f, y + kScaleAlpha, broadcast(kScale));
  }
};
// x σ(x), also called swish. Where x is far below zero, σ is not quite 0: x is cut where x σ(x) is nothing.
struct Silu {
  static OSTINATO_INLINE vfloat value(vfloat x) { return max(broadcast(kLeastExponent), x) * sigmoid(x); }
  static OSTINATO_INLINE vfloat slope(vfloat x, vfloat y) {
    const vfloat s = sigmoid(x);
    return s + y * (1.0f - s);
  }
};

// Calls f with an activation.
template <class F>
OSTINATO_INLINE auto with_activation(Activation activation, const F& f) {
  switch (activation) {
    case Activation::kTanh: return f(Tanh{});
    case Activation::kRelu: return f(Relu{});
    case Activation::kSigmoid: return f(Sigmoid{});
    case Activation::kHardSigmoid: return f(HardSigmoid{});
    case Activation::kKeras2HardSigmoid: return f(Keras2HardSigmoid{});
    case Activation::kSoftsign: return f(Softsign{});
    case Activation::kElu: return f(Elu{});
    case Activation::kSelu: return f(Selu{});
    case Activation::kSilu: return f(Silu{});
    default: return f(Linear{});
  }
}

struct Classic {
  // A value, and how the gradient of its sum follows from its own.
  struct Gate {
    vfloat value;
    OSTINATO_INLINE vfloat through(vfloat gradient) const { return gradient * value * (1.0f - value); }
  };
  struct Activated {
    vfloat value;
    OSTINATO_INLINE vfloat through(vfloat gradient) const { return gradient * (1.0f - value * value); }
  };

  // Forward: values of sums, and what is kept of both. One call for all gates, which take the same way.
  template <class... Sums>
  static OSTINATO_INLINE auto gates(const Layer&, Sums... sums) {
    return std::array<vfloat, sizeof...(sums)>{sigmoid(sums)...};
  }
  static OSTINATO_INLINE vfloat activated(const Layer&, vfloat sum) { return tanh(sum); }
  static OSTINATO_INLINE vfloat kept(vfloat, vfloat value) { return value; }

  // Backward: from what is kept; and from the sum where that is at hand, as the LSTM's cell state is.
  template <class... Kept>
  static OSTINATO_INLINE auto gates_of(const Layer&, Kept... kept) {
    return std::array<Gate, sizeof...(kept)>{Gate{kept}...};
  }
  static OSTINATO_INLINE Activated activated_of(const Layer&, vfloat kept) { return {kept}; }
  static OSTINATO_INLINE Activated activated_of_sum(const Layer&, vfloat sum) { return {tanh(sum)}; }
};

struct Chosen {
  struct Gate {
    vfloat value, slope;
    OSTINATO_INLINE vfloat through(vfloat gradient) const { return gradient * slope; }
  };
  using Activated = Gate;

  template <class... Sums>
  static OSTINATO_INLINE auto gates(const Layer& layer, Sums... sums) {
    return with_activation(layer.recurrent_activation, [&](auto f) {
      return std::array<vfloat, sizeof...(sums)>{f.value(sums)...};
    });
  }
  static OSTINATO_INLINE vfloat activated(const Layer& layer, vfloat sum) {
    return with_activation(layer.activation, [&](auto f) { return f.value(sum); });
  }
  static OSTINATO_INLINE vfloat kept(vfloat sum, vfloat) { return sum; }

  template <class... Sums>
  static OSTINATO_INLINE auto gates_of(const Layer& layer, Sums... sums) {
    return with_activation(layer.recurrent_activation, [&](auto f) {
      return std::array<Gate, sizeof...(sums)>{at(f, sums)...};
    });
  }
  static OSTINATO_INLINE Activated activated_of(const Layer& layer, vfloat sum) {
    return with_activation(layer.activation, [&](auto f) { return at(f, sum); });
  }
  static OSTINATO_INLINE Activated activated_of_sum(const Layer& layer, vfloat sum) { return activated_of(layer, sum); }

 private:
  template <class Function>
  static OSTINATO_INLINE Gate at(Function f, vfloat sum) {
    const vfloat value = f.value(sum);
    return {value, f.slope(sum, value)};
  }
};

}  // namespace OSTINATO_ISA
#endif
