// The passes of headwise.h for one instruction set; CMake compiles this file once for each.
//
// A head of some rows walks over all steps by itself, with its block of the recurrent weights in the first caches; whoever is
// free takes the next.
#include "headwise.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "packed_product.h"
#include "threads.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::Headwise;
using ostinato::HeadwiseGradients;
using ostinato::HeadwiseInputs;
using ostinato::HeadwiseOutputs;

constexpr double kLeastShared = 2e5;  // flops; below it, waking a thread takes longer than the work
constexpr int64_t kMostRows = 16;     // of a batch, that one thread takes at a time
constexpr int64_t kPieces = 8;        // at least, where there are as many rows

// What is kept of each unit at a step: activated gates, σ(−f), and h, c and n after it.
enum Kept { kZ, kOut, kIn, kForget, kSlope, kH, kC, kN, kKept };

class HeadwisePass {
 protected:
  HeadwisePass(const Headwise& layer, const HeadwiseInputs& in) : l_(layer), in_(in), D(layer.width), W(4 * layer.width) {
    together_ = std::max<int64_t>(1, std::min(kMostRows, l_.batch * l_.heads / kPieces));
    groups_ = (l_.batch + together_ - 1) / together_;
  }

  // A head of some rows; the weights packed for its product.
  struct Piece {
    int64_t head, group, first, count;
  };
  template <class Walk>
  void run(double flops, const Walk& walk) const {
    const int64_t pieces = groups_ * l_.heads;
    ostinato::Team team(flops < kLeastShared ? 1 : static_cast<int>(std::min<int64_t>(l_.threads, pieces)), flops);
    std::atomic<int64_t> next{0};
    team.run([&](int) {
      for (int64_t piece = next++; piece < pieces; piece = next++) {
        const int64_t group = piece / l_.heads, first = group * together_;
        walk(Piece{piece % l_.heads, group, first, std::min(together_, l_.batch - first)});
      }
    });
  }
  double flops() const { return 2.0 * l_.batch * l_.time * l_.units() * (W + 40.0); }

  bool skips(int64_t b, int64_t t) const { return in_.mask != nullptr && !in_.mask[b * l_.time + t]; }
  int64_t sums_at(int64_t b, int64_t t, int64_t head) const { return ((b * l_.time + t) * l_.heads + head) * W; }
  int64_t y_at(int64_t b, int64_t t, int64_t head) const { return ((b * l_.time + t) * l_.heads + head) * D; }
  int64_t history_at(int64_t b, int64_t t, int64_t head) const { return y_at(b, t, head) * kKept; }
  int64_t state_at(int64_t b, int state, int64_t head) const { return ((b * 4 + state) * l_.heads + head) * D; }
  const float* block(int64_t head) const { return in_.recurrent + head * D * W; }

  const Headwise l_;
  const HeadwiseInputs in_;
  const int64_t D, W;
  int64_t together_, groups_;
};

class HeadwiseForward : HeadwisePass {
 public:
  HeadwiseForward(const Headwise& layer, const HeadwiseInputs& in, const HeadwiseOutputs& out) : HeadwisePass(layer, in), out_(out) {}
  void run() {
    HeadwisePass::run(flops(), [this](const Piece& piece) { walk(piece); });
  }

 private:
  void walk(const Piece& p) const {
    Packed weights;
    weights.make(D, W);
    weights.pack(block(p.head), false, 0, 1);
    std::vector<float> products(static_cast<size_t>(p.count * W)), sums(static_cast<size_t>(kChunkRows * 4 * kVec));
    const float* from[kMostRows];
    float* to[kMostRows];
    int64_t rows[kMostRows];
    for (int64_t b = p.first; b < p.first + p.count; ++b)
      for (int state = 0; state < 4; ++state)
        std::copy_n(in_.state + state_at(b, state, p.head), D, out_.state + state_at(b, state, p.head));
    for (int64_t t = 0; t < l_.time; ++t) {
      int64_t count = 0;
      for (int64_t b = p.first; b < p.first + p.count; ++b) {
        if (skips(b, t)) {
          skip(b, t, p.head);
          continue;
        }
        from[count] = out_.state + state_at(b, 0, p.head);
        to[count] = products.data() + count * W;
        rows[count++] = b;
      }
      multiply({from, to, count, D, W, weights.floats.data()}, sums.data());
      for (int64_t i = 0; i < count; ++i) one_step(rows[i], t, p.head, to[i]);
    }
  }

  void one_step(int64_t b, int64_t t, int64_t head, const float* product) const {
    const float *of_x = in_.sums + sums_at(b, t, head), *bias = in_.bias == nullptr ? nullptr : in_.bias + head * W;
    float *const h = out_.state + state_at(b, 0, head), *const c = out_.state + state_at(b, 1, head);
    float *const n = out_.state + state_at(b, 2, head), *const m = out_.state + state_at(b, 3, head);
    float *const y = out_.y + y_at(b, t, head), *const kept = out_.history == nullptr ? nullptr : out_.history + history_at(b, t, head);
    for (int64_t unit = 0; unit < D; unit += kVec) {
      const int left = static_cast<int>(std::min<int64_t>(kVec, D - unit));
      const auto sum = [&](int gate) {
        const int64_t at = gate * D + unit;
        const vfloat both = load_first(of_x + at, left) + load_first(product + at, left);
        return bias == nullptr ? both : both + load_first(bias + at, left);
      };
      const vfloat z = tanh(sum(0)), i = sum(1), f = sum(2), o = sigmoid(sum(3));
      const vfloat l = l_.exponential_forget ? f : log_sigmoid(f);
      const vfloat carried = l + load_first(m + unit, left), now = max(carried, i);
      const vfloat keep = exp_of_difference(carried, now), write = exp_of_difference(i, now);
      const vfloat c_after = keep * load_first(c + unit, left) + write * z, n_after = keep * load_first(n + unit, left) + write;
      const vfloat shown = o * c_after / n_after;
      store_first(c + unit, c_after, left), store_first(n + unit, n_after, left), store_first(m + unit, now, left);
      store_first(h + unit, shown, left), store_first(y + unit, shown, left);
      if (kept == nullptr) continue;
      const vfloat slope = l_.exponential_forget ? broadcast(1.0f) : sigmoid(-f);
      const vfloat values[kKept] = {z, o, write, keep, slope, shown, c_after, n_after};
      for (int each = 0; each < kKept; ++each) store_first(kept + each * D + unit, values[each], left);
    }
  }
  // min(f, 0) − log(1 + u), u = e^−|f|, and log(1 + u) = 2 artanh(s), s = u / (2 + u) ≤ 1/3, by its series.
  static OSTINATO_INLINE vfloat log_sigmoid(vfloat f) {
    const vfloat u = exp(min(f, -f)), s = u / (2.0f + u), square = s * s;
    vfloat series = broadcast(1.0f / 15);
    for (const float term : {1.0f / 13, 1.0f / 11, 1.0f / 9, 1.0f / 7, 1.0f / 5, 1.0f / 3, 1.0f}) series = series * square + term;
    return min(f, vfloat{}) - 2.0f * s * series;
  }
  // e^(a − b) for b ≥ a: 1 to the last bit where they are the same, 0 where a is −∞.
  static OSTINATO_INLINE vfloat exp_of_difference(vfloat a, vfloat b) {
    const vfloat difference = a - b;
    return select(difference > kLeastExponent, exp(difference), vfloat{});
  }

  void skip(int64_t b, int64_t t, int64_t head) const {
    std::fill_n(out_.y + y_at(b, t, head), D, 0.0f);
    if (out_.history == nullptr) return;
    float* const kept = out_.history + history_at(b, t, head);
    for (int state = 0; state < 3; ++state) std::copy_n(out_.state + state_at(b, state, head), D, kept + (kH + state) * D);
  }

  const HeadwiseOutputs out_;
};

class HeadwiseBackward : HeadwisePass {
  static constexpr int64_t kDepth = TransposedProduct::kDepth;

 public:
  HeadwiseBackward(const Headwise& layer, const HeadwiseInputs& in, const HeadwiseGradients& out)
      : HeadwisePass(layer, in), out_(out), of_groups_(static_cast<size_t>(groups_ * l_.heads * (D + 1) * W)) {}
  void run() {
    HeadwisePass::run(3 * flops(), [this](const Piece& piece) { walk(piece); });
    // In the order of the groups.
    add_groups(out_.drecurrent, 0, D * W);
    if (out_.dbias != nullptr) add_groups(out_.dbias, D * W, W);
  }

 private:
  // A piece's part of the gradients of its head's weights and biases.
  float* part(int64_t group, int64_t head) { return of_groups_.data() + (group * l_.heads + head) * (D + 1) * W; }

  void walk(const Piece& p) {
    Packed weights;
    weights.make(W, D);
    weights.pack(block(p.head), true, 0, 1);
    TransposedProduct transposed;
    transposed.make(D);
    std::vector<float> sums(static_cast<size_t>(kChunkRows * 4 * kVec)), dh(static_cast<size_t>(p.count * D));
    float *const drecurrent = part(p.group, p.head), *const dbias = drecurrent + D * W;
    const float *left[kDepth], *right[kDepth], *from[kMostRows];
    float* to[kMostRows];
    int64_t pairs = 0;
    const auto flush = [&] {
      transposed.add(left, D, right, W, pairs, {0, panels_of(W)}, drecurrent);
      pairs = 0;
    };
    for (int64_t b = p.first; b < p.first + p.count; ++b)
      for (int state = 0; state < 4; ++state)
        std::copy_n(out_.dstate + state_at(b, state, p.head), D, out_.dstate0 + state_at(b, state, p.head));
    for (int64_t t = l_.time - 1; t >= 0; --t) {
      int64_t count = 0;
      for (int64_t b = p.first; b < p.first + p.count; ++b) {
        float* const deltas = out_.dsums + sums_at(b, t, p.head);
        if (skips(b, t)) {
          std::fill_n(deltas, W, 0.0f);
          continue;
        }
        one_step(b, t, p.head, deltas);
        for (int64_t i = 0; i < W; ++i) dbias[i] += deltas[i];
        left[pairs] = state(b, t - 1, kH, p.head), right[pairs] = deltas;
        if (++pairs == kDepth) flush();
        from[count] = deltas, to[count++] = out_.dstate0 + state_at(b, 0, p.head);
      }
      multiply({from, to, count, W, D, weights.floats.data()}, sums.data());
    }
    if (pairs > 0) flush();
  }

  // A state, of kH, kC and kN, after step t.
  const float* state(int64_t b, int64_t t, Kept which, int64_t head) const {
    return t < 0 ? in_.state + state_at(b, which - kH, head) : out_.history + history_at(b, t, head) + which * D;
  }

  void one_step(int64_t b, int64_t t, int64_t head, float* deltas) const {
    const float *const kept = out_.history + history_at(b, t, head), *const dy = out_.dy + y_at(b, t, head);
    const float *const c_before = state(b, t - 1, kC, head), *const n_before = state(b, t - 1, kN, head);
    float* d[4];  // of h, c, n and m after the step; then of those before
    for (int each = 0; each < 4; ++each) d[each] = out_.dstate0 + state_at(b, each, head);
    for (int64_t unit = 0; unit < D; unit += kVec) {
      const int left = static_cast<int>(std::min<int64_t>(kVec, D - unit));
      const auto of = [&](Kept which) { return load_first(kept + which * D + unit, left); };
      const vfloat z = of(kZ), o = of(kOut), write = of(kIn), keep = of(kForget), c = of(kC);
      vfloat n = of(kN);
      if (left < kVec) n = select(n == 0.0f, broadcast(1.0f), n);  // of the units that there are not
      const vfloat dh = load_first(d[0] + unit, left) + load_first(dy + unit, left), ratio = c / n;
      const vfloat dratio = dh * o / n, dc = load_first(d[1] + unit, left) + dratio, dn = load_first(d[2] + unit, left) - dratio * ratio;
      const vfloat through_write = (dc * z + dn) * write;
      const vfloat through_keep = (dc * load_first(c_before + unit, left) + dn * load_first(n_before + unit, left)) * keep;
      const vfloat dm = load_first(d[3] + unit, left) - through_write - through_keep;
      const vint carried = keep == 1.0f;  // m' is l + m there, else i
      const vfloat of_carried = through_keep + select(carried, dm, vfloat{});
      const vfloat values[4] = {dc * write * (1.0f - z * z), through_write + select(carried, vfloat{}, dm), of_carried * of(kSlope),
                                dh * ratio * o * (1.0f - o)};
      for (int gate = 0; gate < 4; ++gate) store_first(deltas + gate * D + unit, values[gate], left);
      store_first(d[1] + unit, dc * keep, left), store_first(d[2] + unit, dn * keep, left), store_first(d[3] + unit, of_carried, left);
    }
  }

  void add_groups(float* to, int64_t first, int64_t count) {
    for (int64_t head = 0; head < l_.heads; ++head) {
      float* const sum = to + head * count;
      std::copy_n(part(0, head) + first, count, sum);
      for (int64_t group = 1; group < groups_; ++group)
        for (int64_t i = 0; i < count; ++i) sum[i] += part(group, head)[first + i];
    }
  }

  const HeadwiseGradients out_;
  std::vector<float> of_groups_;  // (groups, heads, width + 1, 4 × width)
};

}  // namespace

int64_t headwise_history(const Headwise& layer) { return layer.batch * layer.time * layer.units() * kKept; }
void headwise_forward(const Headwise& layer, const HeadwiseInputs& in, const HeadwiseOutputs& out) {
  HeadwiseForward(layer, in, out).run();
}
void headwise_backward(const Headwise& layer, const HeadwiseInputs& in, const HeadwiseGradients& out) {
  HeadwiseBackward(layer, in, out).run();
}

}  // namespace OSTINATO_ISA
