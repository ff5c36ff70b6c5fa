// The passes of memory.h for one instruction set; CMake compiles this file once for each.
//
// Heads are independent; whoever is free takes some of a row. A stretch of steps is read for all of these at once, in the order
// of memory. A column of a memory, too, depends on no other: some vectors of them at a time pass over the stretch, so that these
// and their gradient stay in the first cache.
#include "memory.h"

#include <atomic>

#include "memory_columns.h"
#include "threads.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::MemoryGradients;
using ostinato::MemoryOutputs;

constexpr double kLeastShared = 2e5;  // flops; below it, waking a thread takes longer than the work

// Calls f with groups of heads. How many there are in a group makes no difference to any bit.
template <class F>
void for_groups(const Memory& layer, const MemoryInputs& in, double flops, const F& f) {
  const int threads = flops < kLeastShared ? 1 : layer.threads;
  const int64_t wanted = threads == 1 ? layer.batch : std::max<int64_t>(layer.batch, 2 * threads);
  const int64_t each = std::max<int64_t>(1, layer.heads * layer.batch / wanted), groups = (layer.heads + each - 1) / each;
  const int64_t pieces = layer.batch * groups;
  ostinato::Team team(static_cast<int>(std::min<int64_t>(threads, pieces)), flops);
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t piece = next++; piece < pieces; piece = next++) {
      const int64_t first = piece % groups * each;
      Group group(layer, in, piece / groups, first, std::min(each, layer.heads - first));
      f(group);
    }
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

void forward_group(Group& group, const MemoryOutputs& out) {
  const Memory& l = group.l_;
  const MemoryInputs& in = group.in_;
  const int64_t D = group.D, W = group.W;
  std::vector<float> rows(static_cast<size_t>(D * 4 * kVec)), y(static_cast<size_t>(kMemoryStretch * W));
  Step steps[kMemoryStretch];
  float* of_head[kMemoryStretch];
  for (int64_t h = 0; h < group.heads_; ++h) {
    std::copy_n(in.memory + group.memory_at(h), D * D, out.memory + group.memory_at(h));
    if (!l.normalises()) continue;
    std::copy_n(in.normaliser + group.normaliser_at(h), D, out.normaliser + group.normaliser_at(h));
    out.m[group.m_at(h)] = in.m[group.m_at(h)];
  }
  for (int64_t first = 0; first < l.time; first += kMemoryStretch) {
    const int64_t count = std::min(kMemoryStretch, l.time - first);
    group.read(first, count);
    for (int64_t h = 0; h < group.heads_; ++h) {
      float* const memory = out.memory + group.memory_at(h);
      float *const n = l.normalises() ? out.normaliser + group.normaliser_at(h) : nullptr, *const m = n == nullptr ? nullptr : out.m + group.m_at(h);
      if (out.history != nullptr) {
        float* const kept = out.history + group.kept_at(first, h);
        std::copy_n(memory, D * D, kept);
        if (n != nullptr) std::copy_n(n, D, kept + D * D), kept[D * D + D] = *m;
      }
      group.steps(h, first, count, n, m, steps, nullptr);
      for (int64_t i = 0; i < count; ++i) of_head[i] = y.data() + i * W + h * D;
      for_columns(D, [&](auto c) {
        constexpr int N = decltype(c)::kWide / kVec;
        const auto nothing = [](int64_t, const auto&, const auto&) {};
        c.load_from(memory, D, rows.data());
        if (l.normalises()) over_steps<N, false, true>(c, steps, count, D, rows.data(), 0, of_head, nothing);
        else over_steps<N, true, true>(c, steps, count, D, rows.data(), 0, of_head, nothing);
        c.store_to(rows.data(), D, memory);
      });
    }
    for (int64_t i = 0; i < count; ++i) {
      float *const from = y.data() + i * W, *const to = out.y + group.at(first + i);
      std::copy_n(from, W, to);
      for (int64_t h = 0; !l.normalises() && h < group.heads_; ++h) {
        const float root = root_of_mean(from + h * D, D);
        if (out.history != nullptr) out.history[group.kept_at(first, h) + D * D + i] = root;
        for (int64_t d = 0; d < D; ++d) to[h * D + d] *= root;
      }
    }
  }
}

// The gradients of a group, stretch by stretch from the last.
class BackwardGroup {
 public:
  BackwardGroup(Group& group, const MemoryGradients& out)
      : g_(group), l_(group.l_), out_(out), D(group.D), W(group.W), n_(static_cast<size_t>(D)),
        normalisers_(static_cast<size_t>((kMemoryStretch + 1) * D)), rows_(static_cast<size_t>((kMemoryStretch + 1) * D * 4 * kVec)),
        gradient_(static_cast<size_t>(D * 4 * kVec)), lookups_(static_cast<size_t>(2 * kMemoryStretch * 4 * kVec)),
        gradients_(static_cast<size_t>(3 * kMemoryStretch * W)), dy_(static_cast<size_t>(kMemoryStretch * W)),
        along_(static_cast<size_t>(kMemoryStretch * group.heads_)) {}

  void run() {
    for (int64_t h = 0; h < g_.heads_; ++h) {
      std::copy_n(out_.dmemory + g_.memory_at(h), D * D, out_.dmemory0 + g_.memory_at(h));
      if (!l_.normalises()) continue;
      std::copy_n(out_.dnormaliser + g_.normaliser_at(h), D, out_.dnormaliser0 + g_.normaliser_at(h));
      out_.dm0[g_.m_at(h)] = out_.dm[g_.m_at(h)];
    }
    for (int64_t first = (l_.time - 1) / kMemoryStretch * kMemoryStretch; first >= 0; first -= kMemoryStretch)
      stretch(first, std::min(kMemoryStretch, l_.time - first));
  }

 private:
  void stretch(int64_t first, int64_t count) {
    g_.read(first, count);
    std::fill(gradients_.begin(), gradients_.end(), 0.0f);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t place = g_.at(first + i);
      std::copy_n(out_.dy + place, W, dy_.data() + i * W);
      for (int64_t h = 0; h < g_.heads_; ++h) {
        const float* const y = out_.y + place + h * D;
        float* const dy = dy_.data() + i * W + h * D;
        const float along = along_[i * g_.heads_ + h] = dot(dy, y, D), mean = along / static_cast<float>(D);
        if (l_.normalises()) continue;
        const float root = out_.history[g_.kept_at(first, h) + D * D + i];
        for (int64_t d = 0; d < D; ++d) dy[d] = root * (dy[d] - y[d] * mean);
      }
    }
    for (int64_t h = 0; h < g_.heads_; ++h) one_head(h, first, count);
    for (int64_t i = 0; i < count; ++i) {
      float* const made = gradients_.data() + 3 * i * W;
      if (!l_.normalises()) g_.back(first + i, i, made);
      for (int which = 0; which < 3; ++which) std::copy_n(made + which * W, W, out_.dqkv + g_.qkv_at(first + i, which));
    }
  }

  void one_head(int64_t h, int64_t first, int64_t count) {
    h_ = h;
    const float* const kept = out_.history + g_.kept_at(first, h);
    float m = 0, *const dmemory = out_.dmemory0 + g_.memory_at(h);
    if (l_.normalises()) {
      m = kept[D * D + D];
      std::copy_n(kept + D * D, D, n_.data());
      std::copy_n(kept + D * D, D, normalisers_.data());
    }
    g_.steps(h, first, count, n_.data(), &m, steps_, normalisers_.data() + D);
    for (int64_t i = 0; i < count; ++i) {
      dalpha_[i] = dwrite_[i] = 0;
      dbound_[i] = l_.normalises() ? -along_[i * g_.heads_ + h] / steps_[i].bound : 0;
    }
    for_columns(D, [&](auto c) {
      constexpr int N = decltype(c)::kWide / kVec;
      c.load_from(kept, D, rows_.data());
      c.load_from(dmemory, D, gradient_.data());
      if (l_.normalises()) columns<N, false>(c, count);
      else columns<N, true>(c, count);
      c.store_to(gradient_.data(), D, dmemory);
    });
    for (int64_t i = count - 1; i >= 0; --i) {
      float* const gates = out_.dgates + g_.gates_at(first + i, h);
      gates[0] = gates[1] = 0;
      if (steps_[i].skipped) continue;
      if (l_.normalises()) normaliser(i, out_.dnormaliser0 + g_.normaliser_at(h), out_.dm0 + g_.m_at(h), gates);
      else gates[0] = dalpha_[i] * steps_[i].alpha, gates[1] = dwrite_[i];
    }
  }
  // The gradient of q, k or v of the present head at a step.
  float* of(int which, int64_t i) { return gradients_.data() + (3 * i + which) * W + h_ * D; }

  // Some columns over a stretch: the memories forward, then the gradients backward.
  template <int N, bool delta>
  void columns(const Columns<N>& c, int64_t count) {
    constexpr int64_t kWide = N * kVec;
    over_steps<N, delta, false>(c, steps_, count, D, rows_.data(), D * kWide, nullptr,
                         [&](int64_t i, const vfloat(&of_k)[N], const vfloat(&u)[N]) {
                           for (int n = 0; n < N; ++n) store(lookups_.data() + (2 * i * N + n) * kVec, of_k[n]);
                           for (int n = 0; n < N; ++n) store(lookups_.data() + ((2 * i + 1) * N + n) * kVec, u[n]);
                         });
    float* const gradient = gradient_.data();
    vfloat found[N];  // what a step's key finds in the gradient of the memory behind the step
    bool known = false;
    for (int64_t i = count - 1; i >= 0; --i) {
      const Step& s = steps_[i];
      if (s.skipped) continue;
      const float* const before = rows_.data() + i * D * kWide;
      vfloat dy[N], of_k[N], u[N], du[N], v[N], of_alpha = {}, of_write = {}, along = {};
      c.read(dy_.data() + i * W + h_ * D, dy), c.read(s.v, v);
      if (!known) look_up<N, true, false>(gradient, s, D, found, found);
      OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
        of_k[n] = load(lookups_.data() + (2 * i * N + n) * kVec), u[n] = load(lookups_.data() + ((2 * i + 1) * N + n) * kVec);
        if (!delta) dy[n] /= s.bound;
        along += u[n] * dy[n];
        du[n] = found[n] + s.q_times_k * dy[n];
        of_write += du[n] * (delta ? v[n] - s.alpha * of_k[n] : v[n]);
        du[n] *= s.write;  // now of v, or of what the key finds
        if (delta) of_alpha -= du[n] * of_k[n];
      }
      c.write(of(2, i), du);
      int64_t next = i - 1;
      while (next >= 0 && steps_[next].skipped) --next;
      known = next >= 0;
      const vfloat of_memory = move_back<N, delta>(before, gradient, s, steps_[known ? next : i].k, dy, u, du, of(0, i), of(1, i), found);
      add_times(sum_of(along), s.k, D, of(0, i));
      dalpha_[i] += sum_of(of_alpha + of_memory);
      dwrite_[i] += sum_of(of_write);
    }
  }
  // The gradient of a memory, from behind a step to before it; dq, without what the step itself wrote, and dk are added to. It
  // returns the gradient of alpha, but for its part in what the key finds; `found` becomes what the next key finds.
  template <int N, bool delta>
  OSTINATO_INLINE vfloat move_back(const float* before, float* gradient, const Step& s, const float* next_key, const vfloat (&dy)[N],
                                   const vfloat (&u)[N], const vfloat (&du)[N], float* dq, float* dk, vfloat (&found)[N]) {
    Sums of_query(dq, s.alpha), of_key(dk);
    vfloat of_alpha[N], du_kept[N];
    clear(of_alpha), clear(found);
    OSTINATO_UNROLL for (int n = 0; n < N; ++n) du_kept[n] = s.alpha * du[n];
    for (int64_t d = 0; d < D; ++d) {
      const vfloat q = spread_lane(s.q + d), k = spread_lane(s.k + d), next = spread_lane(next_key + d);
      vfloat to_query = {}, to_key = {};
      OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
        const int64_t place = (d * N + n) * kVec;
        const vfloat row = load(before + place), g = load(gradient + place) + q * dy[n];
        to_query += row * dy[n];
        to_key += g * u[n];
        if (delta) to_key -= row * du_kept[n];
        of_alpha[n] += g * row;
        const vfloat after = delta ? s.alpha * g - k * du_kept[n] : s.alpha * g;
        store(gradient + place, after);
        found[n] += next * after;
      }
      of_query.add(to_query), of_key.add(to_key);
    }
    of_query.rest(), of_key.rest();
    vfloat sum = of_alpha[0];
    OSTINATO_UNROLL for (int n = 1; n < N; ++n) sum += of_alpha[n];
    return sum;
  }
  static void add_times(float factor, const float* from, int64_t count, float* to) {
    for (int64_t d = 0; d < count; ++d) to[d] += factor * from[d];
  }

  // Back through the normaliser, the bound, m and the gates of a step.
  void normaliser(int64_t i, float* dn, float* dm, float* gates) {
    const Step& s = steps_[i];
    const float *n = normalisers_.data() + (i + 1) * D, *before = n - D, floor = Group::floor_of(s.m);
    float *dq = of(0, i), *dk = of(1, i);
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

  Group& g_;
  const Memory& l_;
  const MemoryGradients& out_;
  const int64_t D, W;
  int64_t h_ = 0;  // the present head
  Step steps_[kMemoryStretch];
  float dalpha_[kMemoryStretch], dwrite_[kMemoryStretch], dbound_[kMemoryStretch];
  std::vector<float> n_, normalisers_;  // n before the first step, and after each
  std::vector<float> rows_, gradient_;  // memories before the first step and after each; the gradient of one
  std::vector<float> lookups_;          // of each step Sᵀ k and what is written
  std::vector<float> gradients_, dy_;   // of all heads: of q, k and v side by side; of y
  std::vector<float> along_;            // dy · y
};

}  // namespace

int64_t memory_history(const Memory& layer) {
  const int64_t stretches = (layer.time + kMemoryStretch - 1) / kMemoryStretch;
  return layer.batch * layer.heads * stretches * Group::kept_floats(layer);
}
void memory_forward(const Memory& layer, const MemoryInputs& in, const MemoryOutputs& out) {
  for_groups(layer, in, flops_of(layer), [&](Group& group) { forward_group(group, out); });
}
void memory_backward(const Memory& layer, const MemoryInputs& in, const MemoryGradients& out) {
  for_groups(layer, in, 4 * flops_of(layer), [&](Group& group) { BackwardGroup(group, out).run(); });
}

}  // namespace OSTINATO_ISA
