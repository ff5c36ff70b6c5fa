// Heads of a row, and what they read of a stretch of steps: part of memory.cc.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "memory.h"
#include "sequence.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::kMemoryStretch;
using ostinato::Memory;
using ostinato::MemoryInputs;

constexpr float kMostExponent = 87.0f, kOfLength = 1e-6f, kOfMean = 1e-5f;

// A head's numbers at one step, of which the gates are computed.
struct Step {
  const float *q, *k, *v;
  float alpha, write;  // how much of the memory stays, and β or w
  float m, bound;      // mlstm: m', and max(|n' · q|, e^−m')
  float along;         // mlstm: n' · q
  float q_times_k;
  bool skipped;
};

inline float dot(const float* a, const float* b, int64_t count) {
  vfloat sum = {};
  int64_t i = 0;
  for (; i + kVec <= count; i += kVec) sum += load(a + i) * load(b + i);
  if (i < count) sum += load_first(a + i, static_cast<int>(count - i)) * load_first(b + i, static_cast<int>(count - i));
  return sum_of(sum);
}

// 1 / √(mean of a² + 1e-5)
inline float root_of_mean(const float* a, int64_t count) {
  return 1.0f / std::sqrt(dot(a, a, count) / static_cast<float>(count) + kOfMean);
}

// Some heads of a row, and what they read of a stretch of steps: q, k and v, side by side.
class Group {
 public:
  Group(const Memory& layer, const MemoryInputs& in, int64_t b, int64_t first, int64_t count)
      : l_(layer), in_(in), b_(b), first_(first), heads_(count), D(layer.width), W(count * layer.width),
        qkv_(static_cast<size_t>(3 * kMemoryStretch * W)), roots_(static_cast<size_t>(2 * kMemoryStretch * count)) {}

  // Where things lie, of the group's first head; and where those of head `h` of the group begin.
  int64_t at(int64_t t) const { return ((b_ * l_.time + t) * l_.heads + first_) * D; }
  int64_t qkv_at(int64_t t, int which) const { return (((b_ * l_.time + t) * 3 + which) * l_.heads + first_) * D; }
  int64_t gates_at(int64_t t, int64_t h) const { return ((b_ * l_.time + t) * l_.heads + first_ + h) * 2; }
  int64_t m_at(int64_t h) const { return b_ * l_.heads + first_ + h; }
  int64_t normaliser_at(int64_t h) const { return m_at(h) * D; }
  int64_t memory_at(int64_t h) const { return m_at(h) * D * D; }
  // Of the state before step t, the first of a stretch, in the history.
  int64_t kept_at(int64_t t, int64_t h) const {
    const int64_t stretches = (l_.time + kMemoryStretch - 1) / kMemoryStretch;
    return (m_at(h) * stretches + t / kMemoryStretch) * kept_floats(l_);
  }
  // S, and behind it n and m, or what each step of the stretch multiplied its output by.
  static int64_t kept_floats(const Memory& l) { return l.width * l.width + (l.normalises() ? l.width + 1 : kMemoryStretch); }

  // Reads the steps from `first` on, and makes q, k and v of what is given.
  void read(int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      for (int which = 0; which < 3; ++which) {
        const float* const from = in_.qkv + qkv_at(first + i, which);
        float* const to = made(which, i, 0);
        if (l_.normalises()) {
          std::copy_n(from, W, to);
          continue;
        }
        for (int64_t d = 0; d < W; d += kVec) {
          const int left = static_cast<int>(std::min<int64_t>(kVec, W - d));
          const vfloat x = load_first(from + d, left);
          store_first(to + d, x * sigmoid(x), left);
        }
        for (int64_t h = 0; which < 2 && h < heads_; ++h) {
          float *const of_head = made(which, i, h), root = length(which) / std::sqrt(dot(of_head, of_head, D) + kOfLength);
          roots_[(2 * i + which) * heads_ + h] = root;
          for (int64_t d = 0; d < D; ++d) of_head[d] *= root;
        }
      }
    }
  }
  // q, k or v of a step.
  float* made(int which, int64_t i, int64_t h) { return qkv_.data() + (3 * i + which) * W + h * D; }

  // Of gated-delta, from the gradients of q, k and v at step first + i, which lie side by side, to those of what they are made of.
  void back(int64_t t, int64_t i, float* gradients) {
    for (int which = 0; which < 3; ++which) {
      const float* const from = in_.qkv + qkv_at(t, which);
      float* const gradient = gradients + which * W;
      for (int64_t h = 0; which < 2 && h < heads_; ++h) {
        const float *const of_head = made(which, i, h), root = roots_[(2 * i + which) * heads_ + h];
        float* const g = gradient + h * D;
        const float along = dot(of_head, g, D) / (length(which) * length(which));
        for (int64_t d = 0; d < D; ++d) g[d] = root * (g[d] - along * of_head[d]);
      }
      for (int64_t d = 0; d < W; d += kVec) {
        const int left = static_cast<int>(std::min<int64_t>(kVec, W - d));
        const vfloat x = load_first(from + d, left), s = sigmoid(x);
        store_first(gradient + d, load_first(gradient + d, left) * s * (1.0f + x * (1.0f - s)), left);
      }
    }
  }

  // A head's steps from `first` on; the normaliser n and m move on with them, and n is left for each step in `normalisers`, if
  // given.
  void steps(int64_t h, int64_t first, int64_t count, float* n, float* m, Step* steps, float* normalisers) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t t = first + i;
      Step& s = steps[i];
      s = {made(0, i, h), made(1, i, h), made(2, i, h), 1, 0, l_.normalises() ? *m : 0, 1, 0, 0,
           in_.mask != nullptr && !in_.mask[b_ * l_.time + t]};
      const float* gates = in_.gates + gates_at(t, h);
      if (!s.skipped && !l_.normalises()) s.alpha = std::exp(gates[0]), s.write = gates[1];
      if (!s.skipped && l_.normalises()) {
        const float carried = gates[1] + *m;
        s.m = std::max(carried, gates[0]);
        s.alpha = std::exp(carried - s.m), s.write = std::exp(gates[0] - s.m);
        for (int64_t d = 0; d < D; ++d) n[d] = s.alpha * n[d] + s.write * s.k[d];
        s.along = dot(n, s.q, D);
        s.bound = std::max(std::fabs(s.along), floor_of(s.m));
        *m = s.m;
      }
      if (!s.skipped) s.q_times_k = dot(s.q, s.k, D);
      if (normalisers != nullptr && l_.normalises()) std::copy_n(n, D, normalisers + i * D);
    }
  }
  // e^−m, kept from overflowing.
  static float floor_of(float m) { return std::exp(std::min(-m, kMostExponent)); }

  const Memory& l_;
  const MemoryInputs& in_;
  const int64_t b_, first_, heads_, D, W;

 private:
  float length(int which) const { return which == 0 ? 1.0f / std::sqrt(static_cast<float>(D)) : 1.0f; }

  std::vector<float> qkv_, roots_;  // of each step; roots: by what q and k were multiplied
};

}  // namespace
}  // namespace OSTINATO_ISA
