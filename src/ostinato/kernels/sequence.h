// What the forward and the backward pass of every cell share: sizes, where things lie in memory, how work is divided.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine.h"
#include "matmul.h"
#include "threads.h"

namespace OSTINATO_ISA {

using ostinato::Activation;
using ostinato::Barrier;
using ostinato::Cell;
using ostinato::Gradients;
using ostinato::Inputs;
using ostinato::Layer;
using ostinato::Outputs;

constexpr int64_t kAlign = 16;           // floats; every block of memory starts on a cache line
constexpr int64_t kProjectionRows = 192; // rows of x that stay in L2 while all panels of the kernel pass over them

struct Sizes {
  int64_t batch, time, features, units;
  int gates;     // of the kernel: 4 (LSTM), 3 (GRU), 1 (RNN)
  int saved;     // vectors of `units` a row of the gates has: the GRU that resets after the product keeps a fourth
  int64_t width; // gates × units: columns of the kernel
  bool lstm, resets_after, resets_before;

  explicit Sizes(const Layer& layer)
      : batch(layer.batch), time(layer.time), features(layer.features), units(layer.units) {
    lstm = layer.cell == Cell::kLstm;
    resets_after = layer.cell == Cell::kGru && layer.reset_after;
    resets_before = layer.cell == Cell::kGru && !layer.reset_after;
    gates = lstm ? 4 : layer.cell == Cell::kGru ? 3 : 1;
    saved = resets_after ? 4 : gates;
    width = gates * units;
  }
};

// Gives out pieces of one block of memory; with a null block it only counts.
class Arena {
 public:
  explicit Arena(void* block) : base_(static_cast<float*>(block)) {}
  float* floats(int64_t count) {
    float* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += up(count, kAlign);
    return piece;
  }
  size_t bytes() const { return static_cast<size_t>(used_) * sizeof(float) + 64; }

 private:
  float* base_;
  int64_t used_ = 0;
};

inline void* aligned(void* block) {
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(block) + 63) & ~static_cast<uintptr_t>(63));
}

// The history: activated gates, cell states (LSTM) and hidden states of every step.
struct History {
  float *gates, *cells, *states;
  History(float* block, const Sizes& z) {
    const int64_t steps = z.batch * z.time * z.units;
    Arena arena(block);
    gates = z.gates > 1 ? arena.floats(steps * z.saved) : nullptr;
    cells = z.lstm ? arena.floats(steps) : nullptr;
    states = arena.floats(steps);
    floats = static_cast<int64_t>(arena.bytes() / sizeof(float));
  }
  int64_t floats;
};

// How a call is divided among threads. By rows, every thread walks all steps of its own rows and waits for nobody; by
// units, every thread computes its own units of all rows, and all meet after each step. The second is for few rows, or
// for weights that are too large to pass through every core's cache at every step.
struct Division {
  int threads;
  bool by_rows;
};

inline Division divide(const Sizes& z, int available) {
  const int64_t weights = z.units * z.width;
  const double step = 2.0 * z.batch * weights + 40.0 * z.batch * z.width;  // flops, about
  const double work = step * z.time + 2.0 * z.batch * z.time * z.features * z.width;
  if (available <= 1 || work < 2e5) return {1, true};
  const bool enough_rows = z.batch >= 6 * available;
  const bool large_weights = weights * 4 > (int64_t{3} << 19);  // 1.5 MB: more than its share of L2
  const bool worth_meeting = step > 6e4;
  const int64_t panels = (z.units + kVec - 1) / kVec;
  if (worth_meeting && panels >= available && (!enough_rows || large_weights)) return {available, false};
  return {static_cast<int>(std::min<int64_t>(available, z.batch)), true};
}

struct Span {
  int64_t first, last;
  int64_t count() const { return last - first; }
};
inline Span share(int64_t count, int index, int threads) {
  return {count * index / threads, count * (index + 1) / threads};
}

// The rows of a step that are not masked, among those of a thread.
class ActiveRows {
 public:
  ActiveRows(const Layer& layer, const bool* mask, Span rows) : layer_(layer), mask_(mask), rows_(rows) {
    if (mask_ == nullptr)
      for (int64_t b = rows.first; b < rows.last; ++b) active_.push_back(b);
  }
  void at(int64_t step) {
    if (mask_ == nullptr) return;
    active_.clear();
    skipped_.clear();
    const int64_t t = layer_.go_backwards ? layer_.time - 1 - step : step;
    for (int64_t b = rows_.first; b < rows_.last; ++b) (mask_[b * layer_.time + t] ? active_ : skipped_).push_back(b);
  }
  const std::vector<int64_t>& active() const { return active_; }
  const std::vector<int64_t>& skipped() const { return skipped_; }

 private:
  const Layer& layer_;
  const bool* mask_;
  Span rows_;
  std::vector<int64_t> active_, skipped_;
};

// out[row][column] = add[column] + Σ_k a[row][k] · packed[k][column] for `count` rows; columns as in pack_panel. Loop
// order: panels, then row tiles. With `onto`, the product is added to what out holds, after it.
template <bool onto = false>
inline void multiply_rows(const float* const* a, float* const* out, int64_t count, int64_t depth, int64_t columns,
                          const float* packed, const float* add, Span panels) {
  with_vectors(columns, [&](auto vectors) {
    constexpr int N = decltype(vectors)::count;
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      const int64_t first = panel * N * kVec;
      const int left = static_cast<int>(std::min<int64_t>(N * kVec, columns - first));
      vfloat start[N] = {};
      if (add != nullptr)
        for (int n = 0; n < N; ++n) start[n] = load_first(add + first + n * kVec, left - n * kVec);
      for_tiles<N>(count, [&](int64_t row, auto rows) {
        constexpr int M = decltype(rows)::count;
        vfloat acc[M][N];
        for (int m = 0; m < M; ++m)
          for (int n = 0; n < N; ++n)
            acc[m][n] = onto ? load_first(out[row + m] + first + n * kVec, left - n * kVec) : start[n];
        accumulate<M, N>(a + row, depth, packed + panel * depth * N * kVec, acc);
        for (int m = 0; m < M; ++m)
          for (int n = 0; n < N; ++n) store_first(out[row + m] + first + n * kVec, acc[m][n], left - n * kVec);
      });
    }
  });
}

}  // namespace OSTINATO_ISA
