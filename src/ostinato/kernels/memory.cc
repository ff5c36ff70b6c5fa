// The passes of memory.h for one instruction set; CMake compiles this file once for each.
//
// Heads of rows are independent; whoever is free takes the next. A column of a memory, too, depends on no other: its values
// are taken some vectors at a time, so that these columns and their gradient stay in the first cache over a stretch of steps.
#include "memory.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "sequence.h"
#include "threads.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::kMemoryStretch;
using ostinato::Memory;
using ostinato::MemoryGradients;
using ostinato::MemoryInputs;
using ostinato::MemoryOutputs;

constexpr double kLeastShared = 2e5;  // flops; below it, waking a thread takes longer than the work
constexpr float kMostExponent = 87.0f, kOfLength = 1e-6f;

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

// One head of one row.
class Head {
 public:
  Head(const Memory& layer, const MemoryInputs& in, int64_t b, int64_t head)
      : l_(layer), in_(in), b_(b), head_(head), D(layer.width), state_((b * layer.heads + head) * layer.width) {}

  int64_t at(int64_t t) const { return ((b_ * l_.time + t) * l_.heads + head_) * D; }
  int64_t gates_at(int64_t t) const { return ((b_ * l_.time + t) * l_.heads + head_) * 2; }
  int64_t normaliser_at() const { return state_; }
  int64_t memory_at() const { return state_ * D; }
  int64_t m_at() const { return b_ * l_.heads + head_; }
  // Of the state before step t, the first of a stretch, in the history.
  int64_t kept_at(int64_t t) const {
    const int64_t stretches = (l_.time + kMemoryStretch - 1) / kMemoryStretch;
    return (m_at() * stretches + t / kMemoryStretch) * kept_floats();
  }
  int64_t kept_floats() const { return D * D + (l_.normalises() ? D + 1 : 0); }

  // The steps from `first` on; the normaliser n and m move on with them, and n is left for each step in `normalisers`, if given.
  // `room` is for what the form makes of q, k and v: 3 × width for each step.
  void steps(int64_t first, int64_t count, float* n, float* m, Step* steps, float* normalisers, float* room) const {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t t = first + i, place = at(t);
      Step& s = steps[i];
      s = {in_.q + place, in_.k + place, in_.v + place, 1, 0, *m, 1, 0, 0, in_.mask != nullptr && !in_.mask[b_ * l_.time + t]};
      const float* gates = in_.gates + gates_at(t);
      if (!s.skipped && !l_.normalises()) {
        s.alpha = std::exp(gates[0]), s.write = gates[1];
        float *const q = room + 3 * i * D, *const k = q + D, *const v = k + D;
        activate(s.q, query_scale(), q), activate(s.k, 1, k), activate(s.v, 0, v);
        s.q = q, s.k = k, s.v = v;
      }
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
      if (normalisers != nullptr) std::copy_n(n, D, normalisers + i * D);
    }
  }
  float query_scale() const { return 1.0f / std::sqrt(static_cast<float>(D)); }
  // silu(x), of the length `scale` unless that is 0.
  void activate(const float* x, float scale, float* to) const {
    for (int64_t d = 0; d < D; d += kVec) {
      const int left = static_cast<int>(std::min<int64_t>(kVec, D - d));
      const vfloat value = load_first(x + d, left);
      store_first(to + d, value * sigmoid(value), left);
    }
    if (scale == 0) return;
    const float root = scale / std::sqrt(dot(to, to, D) + kOfLength);
    for (int64_t d = 0; d < D; ++d) to[d] *= root;
  }
  // Back through that: from the gradient of `made` to that of x, in place.
  void deactivate(const float* x, float scale, const float* made, float* gradient) const {
    float root = 1, along = 0;
    if (scale != 0) {
      float squares = 0;
      for (int64_t d = 0; d < D; d += kVec) {
        const int left = static_cast<int>(std::min<int64_t>(kVec, D - d));
        const vfloat value = load_first(x + d, left), activated = value * sigmoid(value);
        squares += sum_of(activated * activated);
      }
      root = scale / std::sqrt(squares + kOfLength);
      along = dot(made, gradient, D) / (scale * scale);
    }
    for (int64_t d = 0; d < D; d += kVec) {
      const int left = static_cast<int>(std::min<int64_t>(kVec, D - d));
      const vfloat value = load_first(x + d, left), s = sigmoid(value), of_made = load_first(gradient + d, left);
      const vfloat of_silu = root * (of_made - load_first(made + d, left) * along);
      store_first(gradient + d, of_silu * s * (1.0f + value * (1.0f - s)), left);
    }
  }
  // e^−m, kept from overflowing.
  static float floor_of(float m) { return std::exp(std::min(-m, kMostExponent)); }

  const Memory& l_;
  const MemoryInputs& in_;
  const int64_t b_, head_, D;

 private:
  const int64_t state_;
};

// N vectors of a memory's columns, from `column` on: rows[d][N vectors], and the numbers behind the last column are zero.
template <int N>
struct Columns {
  static constexpr int64_t kWide = N * kVec;
  int64_t column;
  int here;  // columns that there are

  void load_from(const float* memory, int64_t D, float* rows) const {
    for (int64_t d = 0; d < D; ++d)
      for (int n = 0; n < N; ++n)
        store(rows + d * kWide + n * kVec, load_first(memory + d * D + column + n * kVec, here - n * kVec));
  }
  void store_to(const float* rows, int64_t D, float* memory) const {
    for (int64_t d = 0; d < D; ++d)
      for (int n = 0; n < N; ++n)
        store_first(memory + d * D + column + n * kVec, load(rows + d * kWide + n * kVec), here - n * kVec);
  }
  OSTINATO_INLINE void read(const float* p, vfloat (&v)[N]) const {
    OSTINATO_UNROLL for (int n = 0; n < N; ++n) v[n] = load_first(p + column + n * kVec, here - n * kVec);
  }
  OSTINATO_INLINE void write(float* p, const vfloat (&v)[N]) const {
    OSTINATO_UNROLL for (int n = 0; n < N; ++n) store_first(p + column + n * kVec, v[n], here - n * kVec);
  }
};

template <int N>
OSTINATO_INLINE void clear(vfloat (&values)[N]) {
  OSTINATO_UNROLL for (int n = 0; n < N; ++n) values[n] = vfloat{};
}

// What a step makes of the memory before it: Sᵀ k, which of gated-delta is needed, and Sᵀ q.
template <int N, bool delta>
OSTINATO_INLINE void look_up(const float* rows, const Step& s, int64_t D, vfloat (&of_k)[N], vfloat (&of_q)[N]) {
  clear(of_k), clear(of_q);
  for (int64_t d = 0; d < D; ++d) {
    const vfloat k = broadcast(s.k[d]), q = broadcast(s.q[d]);
    OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
      const vfloat row = load(rows + d * N * kVec + n * kVec);
      if (delta) of_k[n] += k * row;
      of_q[n] += q * row;
    }
  }
}
// Runs steps over some columns. The memory after each goes from `rows` to rows + apart, so that with 0 it is overwritten.
// left(i, p, u) is told Sᵀ k of the memory before step i and what is written by its key.
template <int N, bool delta, class Left>
void over_steps(const Columns<N>& c, const Step* steps, int64_t count, int64_t D, float* rows, int64_t apart, float* const* y,
                const Left& left) {
  vfloat of_k[N], of_q[N];
  bool known = false;  // whether of_k and of_q are the next step's
  for (int64_t i = 0; i < count; ++i) {
    const Step& s = steps[i];
    float* const after = rows + apart;
    if (s.skipped) {
      if (apart != 0) std::copy_n(rows, D * N * kVec, after);
      if (y != nullptr) { vfloat zero[N]; clear(zero); c.write(y[i], zero); }
      rows = after;
      known = false;
      continue;
    }
    if (!known) look_up<N, delta>(rows, s, D, of_k, of_q);
    vfloat u[N];
    c.read(s.v, u);
    OSTINATO_UNROLL for (int n = 0; n < N; ++n) u[n] = s.write * (delta ? u[n] - s.alpha * of_k[n] : u[n]);
    left(i, of_k, u);
    if (y != nullptr) {
      vfloat out[N];
      OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
        out[n] = s.alpha * of_q[n] + s.q_times_k * u[n];
        if (!delta) out[n] /= s.bound;
      }
      c.write(y[i], out);
    }
    // The new memory, and what the next step looks up in it.
    known = i + 1 < count && !steps[i + 1].skipped;
    const Step& next = known ? steps[i + 1] : s;
    clear(of_k), clear(of_q);
    for (int64_t d = 0; d < D; ++d) {
      const vfloat k = broadcast(s.k[d]), next_k = broadcast(next.k[d]), next_q = broadcast(next.q[d]);
      OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
        const int64_t place = d * N * kVec + n * kVec;
        const vfloat row = s.alpha * load(rows + place) + k * u[n];
        store(after + place, row);
        if (delta) of_k[n] += next_k * row;
        of_q[n] += next_q * row;
      }
    }
    rows = after;
  }
}

template <class F>
void for_heads(const Memory& layer, double flops, const F& f) {
  const int64_t pieces = layer.batch * layer.heads;
  ostinato::Team team(flops < kLeastShared ? 1 : static_cast<int>(std::min<int64_t>(layer.threads, pieces)), flops);
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t piece = next++; piece < pieces; piece = next++) f(piece / layer.heads, piece % layer.heads);
  });
}
double flops_of(const Memory& l) { return 8.0 * l.batch * l.time * l.heads * l.width * l.width; }

// Calls f(Columns<N>) for all columns of a memory.
template <class F>
void for_columns(int64_t D, const F& f) {
  with_vectors(D, [&](auto vectors) {
    constexpr int N = decltype(vectors)::count;
    for (int64_t column = 0; column < D; column += N * kVec)
      f(Columns<N>{column, static_cast<int>(std::min<int64_t>(N * kVec, D - column))});
  });
}

void forward_head(const Head& head, const MemoryOutputs& out) {
  const Memory& l = head.l_;
  const int64_t D = head.D, stretch = out.history == nullptr ? 4 * kMemoryStretch : kMemoryStretch;
  std::vector<float> n(static_cast<size_t>(D)), rows(static_cast<size_t>(D * 4 * kVec));
  std::vector<float> room(static_cast<size_t>(l.normalises() ? 0 : 3 * stretch * D));
  std::vector<Step> steps(static_cast<size_t>(stretch));
  std::vector<float*> y(steps.size());
  float m = 0;
  float* const memory = out.memory + head.memory_at();
  std::copy_n(head.in_.memory + head.memory_at(), D * D, memory);
  if (l.normalises()) std::copy_n(head.in_.normaliser + head.normaliser_at(), D, n.data()), m = head.in_.m[head.m_at()];
  for (int64_t first = 0; first < l.time; first += stretch) {
    const int64_t count = std::min(stretch, l.time - first);
    if (out.history != nullptr) {
      float* const kept = out.history + head.kept_at(first);
      std::copy_n(memory, D * D, kept);
      if (l.normalises()) std::copy_n(n.data(), D, kept + D * D), kept[D * D + D] = m;
    }
    head.steps(first, count, n.data(), &m, steps.data(), nullptr, room.data());
    for (int64_t i = 0; i < count; ++i) y[i] = out.y + head.at(first + i);
    for_columns(D, [&](auto c) {
      const auto nothing = [](int64_t, const auto&, const auto&) {};
      c.load_from(memory, D, rows.data());
      if (l.normalises())
        over_steps<decltype(c)::kWide / kVec, false>(c, steps.data(), count, D, rows.data(), 0, y.data(), nothing);
      else
        over_steps<decltype(c)::kWide / kVec, true>(c, steps.data(), count, D, rows.data(), 0, y.data(), nothing);
      c.store_to(rows.data(), D, memory);
    });
  }
  if (l.normalises()) std::copy_n(n.data(), D, out.normaliser + head.normaliser_at()), out.m[head.m_at()] = m;
}

// The gradients of a head, stretch by stretch from the last.
class BackwardHead {
 public:
  BackwardHead(const Head& head, const MemoryGradients& out)
      : h_(head), l_(head.l_), out_(out), D(head.D), steps_(kMemoryStretch), dalpha_(kMemoryStretch), dwrite_(kMemoryStretch),
        dbound_(kMemoryStretch), n_(static_cast<size_t>(D)), normalisers_(static_cast<size_t>((kMemoryStretch + 1) * D)),
        rows_(static_cast<size_t>((kMemoryStretch + 1) * D * 4 * kVec)), gradient_(static_cast<size_t>(D * 4 * kVec)),
        lookups_(static_cast<size_t>(2 * kMemoryStretch * 4 * kVec)),
        room_(static_cast<size_t>(l_.normalises() ? 0 : 3 * kMemoryStretch * D)) {}

  void run() {
    float* const dmemory = out_.dmemory0 + h_.memory_at();
    std::copy_n(out_.dmemory + h_.memory_at(), D * D, dmemory);
    float dm = 0, *dn = nullptr;
    if (l_.normalises()) {
      dm = out_.dm[h_.m_at()], dn = out_.dnormaliser0 + h_.normaliser_at();
      std::copy_n(out_.dnormaliser + h_.normaliser_at(), D, dn);
    }
    for (int64_t first = (l_.time - 1) / kMemoryStretch * kMemoryStretch; first >= 0; first -= kMemoryStretch)
      stretch(first, std::min(kMemoryStretch, l_.time - first), dmemory, dn, &dm);
    if (l_.normalises()) out_.dm0[h_.m_at()] = dm;
  }

 private:
  void stretch(int64_t first, int64_t count, float* dmemory, float* dn, float* dm) {
    const float* const kept = out_.history + h_.kept_at(first);
    float m = 0;
    if (l_.normalises()) {
      m = kept[D * D + D];
      std::copy_n(kept + D * D, D, n_.data());
      std::copy_n(kept + D * D, D, normalisers_.data());
    }
    h_.steps(first, count, n_.data(), &m, steps_.data(), normalisers_.data() + D, room_.data());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t place = h_.at(first + i);
      std::fill_n(out_.dq + place, D, 0.0f), std::fill_n(out_.dk + place, D, 0.0f), std::fill_n(out_.dv + place, D, 0.0f);
      dalpha_[i] = dwrite_[i] = 0;
      if (l_.normalises()) dbound_[i] = -dot(out_.dy + place, out_.y + place, D) / steps_[i].bound;
    }
    for_columns(D, [&](auto c) {
      c.load_from(kept, D, rows_.data());
      c.load_from(dmemory, D, gradient_.data());
      if (l_.normalises()) columns<decltype(c)::kWide / kVec, false>(c, first, count);
      else columns<decltype(c)::kWide / kVec, true>(c, first, count);
      c.store_to(gradient_.data(), D, dmemory);
    });
    for (int64_t i = count - 1; i >= 0; --i) {
      float* const gates = out_.dgates + h_.gates_at(first + i);
      const Step& s = steps_[i];
      gates[0] = gates[1] = 0;
      if (s.skipped) continue;
      if (l_.normalises()) {
        normaliser(first + i, i, dn, dm, gates);
      } else {
        gates[0] = dalpha_[i] * s.alpha, gates[1] = dwrite_[i];
        const int64_t place = h_.at(first + i);
        h_.deactivate(h_.in_.q + place, h_.query_scale(), s.q, out_.dq + place);
        h_.deactivate(h_.in_.k + place, 1, s.k, out_.dk + place);
        h_.deactivate(h_.in_.v + place, 0, s.v, out_.dv + place);
      }
    }
  }

  // Some columns over a stretch: the memories forward, then the gradients backward.
  template <int N, bool delta>
  void columns(const Columns<N>& c, int64_t first, int64_t count) {
    constexpr int64_t kWide = N * kVec;
    over_steps<N, delta>(c, steps_.data(), count, D, rows_.data(), D * kWide, nullptr,
                         [&](int64_t i, const vfloat(&of_k)[N], const vfloat(&u)[N]) {
                           for (int n = 0; n < N; ++n) store(lookups_.data() + (2 * i * N + n) * kVec, of_k[n]);
                           for (int n = 0; n < N; ++n) store(lookups_.data() + ((2 * i + 1) * N + n) * kVec, u[n]);
                         });
    float* const gradient = gradient_.data();
    for (int64_t i = count - 1; i >= 0; --i) {
      const Step& s = steps_[i];
      if (s.skipped) continue;
      const int64_t place = h_.at(first + i);
      const float *before = rows_.data() + i * D * kWide, *after = before + D * kWide;
      float *dq = out_.dq + place, *dk = out_.dk + place;
      vfloat dy[N], of_k[N], u[N], du[N], dalpha[N], v[N];
      c.read(out_.dy + place, dy), c.read(s.v, v);
      clear(du), clear(dalpha);
      OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
        of_k[n] = load(lookups_.data() + (2 * i * N + n) * kVec), u[n] = load(lookups_.data() + ((2 * i + 1) * N + n) * kVec);
        if (!delta) dy[n] /= s.bound;
      }
      for (int64_t d = 0; d < D; ++d) {
        const vfloat q = broadcast(s.q[d]), k = broadcast(s.k[d]);
        vfloat of_q = {}, of_key = {};
        OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
          const int64_t at = d * kWide + n * kVec;
          const vfloat g = load(gradient + at) + q * dy[n];
          of_q += load(after + at) * dy[n];
          of_key += g * u[n];
          du[n] += k * g;
          dalpha[n] += g * load(before + at);
          store(gradient + at, delta ? g : g * s.alpha);
        }
        dq[d] += sum_of(of_q);
        dk[d] += sum_of(of_key);
      }
      vfloat of_alpha = {}, of_write = {};
      OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
        of_write += du[n] * (delta ? v[n] - s.alpha * of_k[n] : v[n]);
        du[n] *= s.write;  // now of v, or of what the key finds
        of_alpha += delta ? dalpha[n] - du[n] * of_k[n] : dalpha[n];
      }
      c.write(out_.dv + place, du);
      dalpha_[i] += sum_of(of_alpha);
      dwrite_[i] += sum_of(of_write);
      if (!delta) continue;
      for (int64_t d = 0; d < D; ++d) {
        const vfloat k = broadcast(s.k[d]);
        vfloat found = {};
        OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
          const int64_t at = d * kWide + n * kVec;
          found += load(before + at) * du[n];
          store(gradient + at, s.alpha * (load(gradient + at) - k * du[n]));
        }
        dk[d] -= s.alpha * sum_of(found);
      }
    }
  }

  // Back through the normaliser, the bound, m and the gates of a step.
  void normaliser(int64_t t, int64_t i, float* dn, float* dm, float* gates) {
    const Step& s = steps_[i];
    const int64_t place = h_.at(t);
    const float *n = normalisers_.data() + (i + 1) * D, *before = n - D, floor = Head::floor_of(s.m);
    float *dq = out_.dq + place, *dk = out_.dk + place;
    float dalong = 0, of_alpha = dalpha_[i], of_write = dwrite_[i];
    if (std::fabs(s.along) >= floor) dalong = s.along < 0 ? -dbound_[i] : dbound_[i];
    else if (-s.m < kMostExponent) *dm -= dbound_[i] * floor;
    for (int64_t d = 0; d < D; ++d) {
      dq[d] += n[d] * dalong;
      dn[d] += s.q[d] * dalong;
      dk[d] += s.write * dn[d];
      of_write += dn[d] * s.k[d];
      of_alpha += dn[d] * before[d];
      dn[d] *= s.alpha;
    }
    const float through_alpha = of_alpha * s.alpha, through_write = of_write * s.write;
    const float of_m = *dm - through_alpha - through_write;
    // m' is log f + m where α is 1, and i where w is.
    const bool carried = s.alpha == 1.0f;
    gates[0] = through_write + (carried ? 0 : of_m);
    gates[1] = through_alpha + (carried ? of_m : 0);
    *dm = gates[1];
  }

  const Head& h_;
  const Memory& l_;
  const MemoryGradients& out_;
  const int64_t D;
  std::vector<Step> steps_;
  std::vector<float> dalpha_, dwrite_, dbound_;  // of each step
  std::vector<float> n_, normalisers_;           // n before the first step, and after each
  std::vector<float> rows_, gradient_;           // memories before the first step and after each; the gradient of one
  std::vector<float> lookups_;                   // of each step Sᵀ k and what is written
  std::vector<float> room_;                      // of each step q, k and v, where the form makes them
};

}  // namespace

int64_t memory_history(const Memory& layer) {
  const MemoryInputs none;
  const int64_t stretches = (layer.time + kMemoryStretch - 1) / kMemoryStretch;
  return layer.batch * layer.heads * stretches * Head(layer, none, 0, 0).kept_floats();
}
void memory_forward(const Memory& layer, const MemoryInputs& in, const MemoryOutputs& out) {
  for_heads(layer, flops_of(layer), [&](int64_t b, int64_t head) { forward_head(Head(layer, in, b, head), out); });
}
void memory_backward(const Memory& layer, const MemoryInputs& in, const MemoryGradients& out) {
  for_heads(layer, 4 * flops_of(layer), [&](int64_t b, int64_t head) {
    const Head of(layer, in, b, head);
    BackwardHead(of, out).run();
  });
}

}  // namespace OSTINATO_ISA
