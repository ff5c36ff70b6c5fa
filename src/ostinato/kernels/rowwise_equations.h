// The equations of rowwise.h for one row at one step, forward and backward.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "rowwise.h"
#include "vector.h"

namespace OSTINATO_ISA {

using ostinato::Rowwise;
using ostinato::RowwiseCell;
using ostinato::RowwiseInputs;

constexpr float kNormEpsilon = 1e-5f;

// Calls f(at, left) for vectors that cover [0, count).
template <class F>
OSTINATO_INLINE void for_row(int64_t count, const F& f) {
  for (int64_t at = 0; at < count; at += kVec) f(at, static_cast<int>(std::min<int64_t>(kVec, count - at)));
}

// n(v) = (v − mean) · root.
struct Norm {
  float mean = 0, root = 1;
};
inline Norm norm_of(const float* v, int64_t count) {
  vfloat sum = {};
  for_row(count, [&](int64_t at, int left) { sum += load_first(v + at, left); });
  const float mean = sum_of(sum) / static_cast<float>(count);
  vfloat squares = {};
  for_row(count, [&](int64_t at, int left) {
    const vfloat distance = load_first(v + at, left) - mean;
    squares += left < kVec ? load_first(reinterpret_cast<const float*>(&distance), left) * distance : distance * distance;
  });
  return {mean, 1.0f / __builtin_sqrtf(sum_of(squares) / static_cast<float>(count) + kNormEpsilon)};
}

// What is kept of a step of a row, besides the states: the gates and, of the GRU, its candidate's part of the recurrent product;
// with layer normalisation n(x W), n(h R), and means and roots, from which the gates follow again.
struct KeptOf {
  int64_t product, normal_h, norms, floats;
  explicit KeptOf(const Rowwise& l) : product(l.width()), normal_h(l.width()), norms(2 * l.width()) {
    floats = l.layer_norm ? norms + 8 : product + (l.cell == RowwiseCell::kGru ? l.units : 0);
  }
};

// What zoneout keeps of some units: by the half of their bits that begins at `shift`, or the rate where there are none.
OSTINATO_INLINE vfloat kept_part(const int32_t* bits, int shift, float rate, int64_t unit, int left) {
  if (bits == nullptr) return broadcast(rate);
  const vfloat given = load_first(reinterpret_cast<const float*>(bits) + unit, left);
  vint number;
  std::memcpy(&number, &given, sizeof number);
  number = (number >> shift) & 0xffff;
  return select(number < static_cast<int32_t>(rate * 65536.0f), broadcast(1.0f), vfloat{});
}

class Equations {
 public:
  Equations(const Rowwise& layer, const RowwiseInputs& in) : l_(layer), in_(in), kept_(layer), U(layer.units), W(layer.width()) {
    const float* next = in.vectors;
    const auto take = [&](bool given, int64_t count) {
      const float* here = given ? next : nullptr;
      if (given) next += count;
      return here;
    };
    gain_x_ = take(l_.layer_norm, W), gain_h_ = take(l_.layer_norm, W);
    gain_c_ = take(l_.layer_norm && l_.has_c(), U), shift_c_ = take(l_.layer_norm && l_.has_c(), U);
    peep_i_ = take(l_.peephole && !l_.coupled, U), peep_f_ = take(l_.peephole, U), peep_o_ = take(l_.peephole, U);
  }
  const KeptOf& kept() const { return kept_; }

  // A row at a step. `fresh` gets m, or h* where nothing is projected; `c` has the cell state before, and gets the one after.
  struct Step {
    const float *x, *product, *h;
    float *fresh, *c;
    const int32_t* bits;
    float* kept;
  };
  void forward(const Step& at, float* scratch) const {
    const Norm of_x = l_.layer_norm ? norm_of(at.x, W) : Norm{}, of_h = l_.layer_norm ? norm_of(at.product, W) : Norm{};
    if (at.kept != nullptr && l_.layer_norm) {
      float* norms = at.kept + kept_.norms;
      norms[0] = of_x.root, norms[1] = of_h.root;
    }
    const auto x = [&](int64_t column, int left) {
      const vfloat sum = load_first(at.x + column, left);
      if (!l_.layer_norm) return sum;
      const vfloat normal = (sum - of_x.mean) * of_x.root;
      if (at.kept != nullptr) store_first(at.kept + column, normal, left);
      return normal * load_first(gain_x_ + column, left);
    };
    const auto h = [&](int64_t column, int left) {
      const vfloat sum = load_first(at.product + column, left);
      if (!l_.layer_norm) return sum;
      const vfloat normal = (sum - of_h.mean) * of_h.root;
      if (at.kept != nullptr) store_first(at.kept + kept_.normal_h + column, normal, left);
      return normal * load_first(gain_h_ + column, left);
    };
    const auto bias = [&](int64_t column, int left) {
      return in_.bias == nullptr ? vfloat{} : load_first(in_.bias + column, left);
    };
    const auto keep = [&](int64_t column, vfloat value, int left) {
      if (at.kept != nullptr && !l_.layer_norm) store_first(at.kept + column, value, left);
    };
    if (l_.cell == RowwiseCell::kRnn) {
      for_row(U, [&](int64_t unit, int left) {
        const vfloat value = tanh(x(unit, left) + h(unit, left) + bias(unit, left));
        keep(unit, value, left);
        store_first(at.fresh + unit, value, left);
      });
    } else if (l_.cell == RowwiseCell::kGru) {
      for_row(U, [&](int64_t unit, int left) {
        const auto sum = [&](int64_t column) {
          return x(column, left) + h(column, left) + bias(column, left) + bias(W + column, left);
        };
        const vfloat z = sigmoid(sum(unit)), r = sigmoid(sum(U + unit)), product = h(2 * U + unit, left) + bias(W + 2 * U + unit, left);
        const vfloat g = tanh(x(2 * U + unit, left) + bias(2 * U + unit, left) + r * product);
        keep(unit, z, left), keep(U + unit, r, left), keep(2 * U + unit, g, left);
        keep(kept_.product + unit, product, left);
        const vfloat before = load_first(at.h + unit, left);
        store_first(at.fresh + unit, g + z * (before - g), left);
      });
    } else {
      lstm(at, x, h, bias, keep, scratch);
    }
  }

  // The gradients of a row at a step.
  struct BackwardStep {
    const float *h, *c, *kept;  // h and c: the states before
    const float* dfresh;
    float* dc;                      // of the cell state after; becomes that of the one before
    const int32_t* bits;
    float* dh;                      // is added what the equations give h directly
    float *dx, *dproduct;           // may be the same where the layer has no deltas of its own
    float *dvectors, *dbias;        // are added to; dbias may be null
  };
  // `scratch` has room for scratch_floats().
  void backward(BackwardStep at, float* scratch) const {
    float *dx = at.dx, *dproduct = at.dproduct;
    const float* const normals = at.kept;
    if (l_.layer_norm) gates_again(at, scratch + 2 * U), at.kept = scratch + 2 * U;
    if (l_.cell == RowwiseCell::kRnn) {
      for_row(U, [&](int64_t unit, int left) {
        const vfloat value = load_first(at.kept + unit, left);
        const vfloat delta = load_first(at.dfresh + unit, left) * (1.0f - value * value);
        store_first(dx + unit, delta, left);
        if (dproduct != dx) store_first(dproduct + unit, delta, left);
      });
    } else if (l_.cell == RowwiseCell::kGru) {
      gru_back(at);
    } else {
      lstm_back(at, normals + kept_.norms, scratch);
    }
    if (at.dbias != nullptr) {
      add_row(at.dbias, dx, W);
      if (l_.cell == RowwiseCell::kGru) add_row(at.dbias + W, dproduct, W);
    }
    if (!l_.layer_norm) return;
    const float* norms = normals + kept_.norms;
    back_through_norm(dproduct, normals + kept_.normal_h, norms[1], gain_h_, at.dvectors + W);
    back_through_norm(dx, normals, norms[0], gain_x_, at.dvectors);
  }
  int64_t scratch_floats() const { return 3 * U + W; }

 private:
  template <class X, class H, class Bias, class Keep>
  OSTINATO_INLINE void lstm(const Step& at, const X& x, const H& h, const Bias& bias, const Keep& keep, float* s) const {
    const int64_t f_at = l_.coupled ? 0 : U, g_at = f_at + U, o_at = g_at + U;
    float* const of_o = s + U;
    for_row(U, [&](int64_t unit, int left) {
      const auto sum = [&](int64_t column) { return x(column, left) + h(column, left) + bias(column, left); };
      const vfloat c = load_first(at.c + unit, left);
      vfloat sum_f = sum(f_at + unit);
      if (l_.peephole) sum_f += load_first(peep_f_ + unit, left) * c;
      const vfloat f = sigmoid(sum_f), g = tanh(sum(g_at + unit));
      vfloat i = 1.0f - f;
      if (!l_.coupled) {
        vfloat sum_i = sum(unit);
        if (l_.peephole) sum_i += load_first(peep_i_ + unit, left) * c;
        i = sigmoid(sum_i);
        keep(unit, i, left);
      }
      const vfloat after = f * c + i * g;
      vfloat sum_o = sum(o_at + unit);
      if (l_.peephole) sum_o += load_first(peep_o_ + unit, left) * after;
      const vfloat o = sigmoid(sum_o);
      keep(f_at + unit, f, left), keep(g_at + unit, g, left), keep(o_at + unit, o, left);
      store_first(s + unit, after, left);
      store_first(of_o + unit, o, left);
      const vfloat k = kept_part(at.bits, 16, l_.zoneout_c, unit, left);
      store_first(at.c + unit, k * c + (1.0f - k) * after, left);
    });
    Norm of_c;
    if (l_.layer_norm) {
      of_c = norm_of(s, U);
      if (at.kept != nullptr) at.kept[kept_.norms + 2] = of_c.mean, at.kept[kept_.norms + 3] = of_c.root;
    }
    for_row(U, [&](int64_t unit, int left) {
      vfloat shown = load_first(s + unit, left);
      if (l_.layer_norm)
        shown = (shown - of_c.mean) * of_c.root * load_first(gain_c_ + unit, left) + load_first(shift_c_ + unit, left);
      store_first(at.fresh + unit, load_first(of_o + unit, left) * tanh(shown), left);
    });
  }

  // The gates of a step from what is kept with layer normalisation; of the GRU also its candidate's part of the product.
  void gates_again(const BackwardStep& at, float* gates) const {
    const auto part = [&](const float* normal, const float* gain, int64_t column, int64_t bias, int left) {
      const vfloat value = load_first(normal + column, left) * load_first(gain + column, left);
      return in_.bias == nullptr ? value : value + load_first(in_.bias + bias, left);
    };
    const auto x = [&](int64_t column, int left) { return part(at.kept, gain_x_, column, column, left); };
    const auto h = [&](int64_t column, int left) {
      return load_first(at.kept + kept_.normal_h + column, left) * load_first(gain_h_ + column, left);
    };
    const auto put = [&](int64_t column, vfloat value, int left) { store_first(gates + column, value, left); };
    for_row(U, [&](int64_t unit, int left) {
      if (l_.cell == RowwiseCell::kRnn) return put(unit, tanh(x(unit, left) + h(unit, left)), left);
      if (l_.cell == RowwiseCell::kGru) {
        const auto product = [&](int64_t column) {
          return part(at.kept + kept_.normal_h, gain_h_, column, W + column, left);
        };
        const vfloat r = sigmoid(x(U + unit, left) + product(U + unit)), of_h = product(2 * U + unit);
        put(unit, sigmoid(x(unit, left) + product(unit)), left);
        put(U + unit, r, left);
        put(2 * U + unit, tanh(x(2 * U + unit, left) + r * of_h), left);
        return put(kept_.product + unit, of_h, left);
      }
      const int64_t f_at = l_.coupled ? 0 : U, g_at = f_at + U, o_at = g_at + U;
      const auto sum = [&](int64_t column) { return x(column, left) + h(column, left); };
      const vfloat c = load_first(at.c + unit, left);
      const auto peep = [&](const float* p, vfloat state) { return l_.peephole ? load_first(p + unit, left) * state : vfloat{}; };
      const vfloat f = sigmoid(sum(f_at + unit) + peep(peep_f_, c)), g = tanh(sum(g_at + unit));
      vfloat i = 1.0f - f;
      if (!l_.coupled) i = sigmoid(sum(unit) + peep(peep_i_, c)), put(unit, i, left);
      put(f_at + unit, f, left), put(g_at + unit, g, left);
      put(o_at + unit, sigmoid(sum(o_at + unit) + peep(peep_o_, f * c + i * g)), left);
    });
  }

  void gru_back(const BackwardStep& at) const {
    for_row(U, [&](int64_t unit, int left) {
      const auto kept = [&](int64_t column) { return load_first(at.kept + column, left); };
      const vfloat z = kept(unit), r = kept(U + unit), g = kept(2 * U + unit), product = kept(kept_.product + unit);
      const vfloat d = load_first(at.dfresh + unit, left), before = load_first(at.h + unit, left);
      const vfloat dg = d * (1.0f - z) * (1.0f - g * g), dz = d * (before - g) * z * (1.0f - z);
      const vfloat dr = dg * product * r * (1.0f - r);
      for (float* to : {at.dx, at.dproduct}) {
        store_first(to + unit, dz, left);
        store_first(to + U + unit, dr, left);
      }
      store_first(at.dx + 2 * U + unit, dg, left);
      store_first(at.dproduct + 2 * U + unit, dg * r, left);
      store_first(at.dh + unit, load_first(at.dh + unit, left) + d * z, left);
    });
  }

  void lstm_back(const BackwardStep& at, const float* norms, float* ds) const {
    const int64_t f_at = l_.coupled ? 0 : U, g_at = f_at + U, o_at = g_at + U;
    float* const dgate_o = ds + U;
    const auto kept = [&](int64_t column, int left) { return load_first(at.kept + column, left); };
    const auto parts = [&](int64_t unit, int left) {
      const vfloat f = kept(f_at + unit, left), i = l_.coupled ? 1.0f - f : kept(unit, left);
      return std::array<vfloat, 4>{i, f, kept(g_at + unit, left), load_first(at.c + unit, left)};
    };
    const Norm of_c = l_.layer_norm ? Norm{norms[2], norms[3]} : Norm{};
    float* const dgain = at.dvectors + 2 * W;
    vfloat sums = {}, products = {};  // of the normalised cell state's gradient, and of both
    for_row(U, [&](int64_t unit, int left) {
      const auto [i, f, g, c] = parts(unit, left);
      const vfloat after = f * c + i * g, o = kept(o_at + unit, left), d = load_first(at.dfresh + unit, left);
      const vfloat normal = (after - of_c.mean) * of_c.root;
      const vfloat shown = tanh(l_.layer_norm ? normal * load_first(gain_c_ + unit, left) + load_first(shift_c_ + unit, left) : after);
      vfloat dshown = d * o * (1.0f - shown * shown);
      store_first(dgate_o + unit, d * shown * o * (1.0f - o), left);
      if (l_.layer_norm) {
        add(dgain + unit, dshown * normal, left);
        add(dgain + U + unit, dshown, left);
        dshown *= load_first(gain_c_ + unit, left);
        sums += dshown;
        products += dshown * normal;
      }
      store_first(ds + unit, dshown, left);
    });
    const float mean = sum_of(sums) / static_cast<float>(U), slope = sum_of(products) / static_cast<float>(U);
    float* const dpeep = at.dvectors + (l_.layer_norm ? 2 * W + 2 * U : 0);
    for_row(U, [&](int64_t unit, int left) {
      const auto [i, f, g, c] = parts(unit, left);
      const vfloat after = f * c + i * g, k = kept_part(at.bits, 16, l_.zoneout_c, unit, left), dc = load_first(at.dc + unit, left);
      vfloat d = load_first(ds + unit, left);
      if (l_.layer_norm) d = of_c.root * (d - mean - (after - of_c.mean) * of_c.root * slope);
      d += dc - dc * k;
      const vfloat dgate = load_first(dgate_o + unit, left);
      if (l_.peephole) d += dgate * load_first(peep_o_ + unit, left);
      const vfloat df = d * (l_.coupled ? c - g : c) * f * (1.0f - f), di = l_.coupled ? vfloat{} : d * g * i * (1.0f - i);
      vfloat before = dc * k + d * f;
      if (l_.peephole) {
        float* next = dpeep + unit;
        if (!l_.coupled) add(next, di * c, left), next += U, before += di * load_first(peep_i_ + unit, left);
        add(next, df * c, left);
        add(next + U, dgate * after, left);
        before += df * load_first(peep_f_ + unit, left);
      }
      store_first(at.dc + unit, before, left);
      for (float* to : {at.dx, at.dproduct}) {
        if (!l_.coupled) store_first(to + unit, di, left);
        store_first(to + f_at + unit, df, left);
        store_first(to + g_at + unit, d * i * (1.0f - g * g), left);
        store_first(to + o_at + unit, dgate, left);
        if (at.dx == at.dproduct) break;
      }
    });
  }

  // From the gradient of γ ⊙ n(v) to that of v, in place; dgain is added to.
  void back_through_norm(float* d, const float* normal_v, float root, const float* gain, float* dgain) const {
    vfloat sums = {}, products = {};
    for_row(W, [&](int64_t at, int left) {
      const vfloat normal = load_first(normal_v + at, left), given = load_first(d + at, left);
      add(dgain + at, given * normal, left);
      const vfloat dnormal = given * load_first(gain + at, left);
      sums += dnormal;
      products += dnormal * normal;
    });
    const float mean = sum_of(sums) / static_cast<float>(W), slope = sum_of(products) / static_cast<float>(W);
    for_row(W, [&](int64_t at, int left) {
      const vfloat normal = load_first(normal_v + at, left);
      const vfloat dnormal = load_first(d + at, left) * load_first(gain + at, left);
      store_first(d + at, root * (dnormal - mean - normal * slope), left);
    });
  }
  static OSTINATO_INLINE void add(float* to, vfloat value, int left) { store_first(to, load_first(to, left) + value, left); }
  static void add_row(float* to, const float* from, int64_t count) {
    for_row(count, [&](int64_t at, int left) { add(to + at, load_first(from + at, left), left); });
  }

  const Rowwise& l_;
  const RowwiseInputs& in_;
  const KeptOf kept_;
  const int64_t U, W;
  const float *gain_x_, *gain_h_, *gain_c_, *shift_c_, *peep_i_, *peep_f_, *peep_o_;
};

}  // namespace OSTINATO_ISA
