// Columns of a memory over a stretch of steps: part of memory.cc.
#pragma once

#include "memory_group.h"

namespace OSTINATO_ISA {
namespace {

// Adds the sums of vectors' lanes, times a factor, to the entries of an array in turn: kVec vectors are added up together.
class Sums {
 public:
  explicit Sums(float* to, float factor = 1) : to_(to), factor_(factor) {}
  OSTINATO_INLINE void add(vfloat v) {
    waiting_[count_++] = v;
    if (count_ < kVec) return;
    store(to_, load(to_) + factor_ * sums_of(waiting_));
    to_ += kVec, count_ = 0;
  }
  void rest() {
    for (int i = 0; i < count_; ++i) to_[i] += factor_ * sum_of(waiting_[i]);
  }

 private:
  float* to_;
  const float factor_;
  vfloat waiting_[kVec];
  int count_ = 0;
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

// A number in all lanes, by a load.
OSTINATO_INLINE vfloat spread_lane(const float* p) {
#if OSTINATO_VEC == 8
  return _mm256_broadcast_ss(p);
#else
  return broadcast(*p);
#endif
}
template <int N>
OSTINATO_INLINE void clear(vfloat (&values)[N]) {
  OSTINATO_UNROLL for (int n = 0; n < N; ++n) values[n] = vfloat{};
}

// What a step's key and query find in a memory: Sᵀ k and Sᵀ q, where these are wanted.
template <int N, bool keys, bool queries>
OSTINATO_INLINE void look_up(const float* rows, const Step& s, int64_t D, vfloat (&of_k)[N], vfloat (&of_q)[N]) {
  clear(of_k), clear(of_q);
  for (int64_t d = 0; d < D; ++d) {
    const vfloat k = broadcast(s.k[d]), q = broadcast(s.q[d]);
    OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
      const vfloat row = load(rows + d * N * kVec + n * kVec);
      if (keys) of_k[n] += k * row;
      if (queries) of_q[n] += q * row;
    }
  }
}
// The memory after a step, α S + k uᵀ, and what the next step's key and query find in it. Two vectors at a time: more would not
// stay in registers.
template <int N, bool keys, bool queries>
OSTINATO_INLINE void move_on(const float* rows, float* after, int64_t D, float alpha, const float* key, const float* next_key,
                             const float* next_query, const vfloat (&u)[N], vfloat (&of_k)[N], vfloat (&of_q)[N]) {
  constexpr int kPart = kRegisters == 32 ? 4 : 2;
  const vfloat kept = broadcast(alpha);
  OSTINATO_UNROLL for (int first = 0; first < N; first += kPart) {
    vfloat found_k[kPart] = {}, found_q[kPart] = {}, written[kPart];
    OSTINATO_UNROLL for (int n = 0; n < kPart; ++n) written[n] = first + n < N ? u[first + n] : vfloat{};
    for (int64_t d = 0; d < D; ++d) {
      const vfloat k = spread_lane(key + d), next_k = spread_lane(next_key + d), next_q = spread_lane(next_query + d);
      OSTINATO_UNROLL for (int n = 0; n < kPart; ++n) {
        if (first + n >= N) continue;
        const int64_t place = (d * N + first + n) * kVec;
        const vfloat row = kept * load(rows + place) + k * written[n];
        store(after + place, row);
        if (keys) found_k[n] += next_k * row;
        if (queries) found_q[n] += next_q * row;
      }
    }
    OSTINATO_UNROLL for (int n = 0; n < kPart; ++n)
      if (first + n < N) of_k[first + n] = found_k[n], of_q[first + n] = found_q[n];
  }
}

// Runs steps over some columns. The memory after each goes from `rows` to rows + apart, so that with 0 it is overwritten.
// At each step i it calls left(i, found, u): `found` is Sᵀ k of the memory before the step, u is what its key writes.
template <int N, bool delta, bool queries, class Left>
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
    if (!known) look_up<N, delta, queries>(rows, s, D, of_k, of_q);
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
    move_on<N, delta, queries>(rows, after, D, s.alpha, s.k, next.k, next.q, u, of_k, of_q);
    rows = after;
  }
}

}  // namespace
}  // namespace OSTINATO_ISA
