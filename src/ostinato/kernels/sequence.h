// What the forward and the backward pass of every cell share: sizes, where things lie in memory, how work is divided.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <vector>

#include "cells/list.h"
#include "engine.h"
#include "matmul.h"
#include "start.h"
#include "threads.h"

namespace OSTINATO_ISA {

using ostinato::Barrier;
using ostinato::Gradients;
using ostinato::Inputs;
using ostinato::Layer;
using ostinato::Outputs;

constexpr int64_t kAlign = 16;           // floats; every block of memory starts on a cache line
constexpr int64_t kProjectionRows = 384; // of x at a time: a panel of the kernel stays in L2 while they pass
constexpr int64_t kSmallWeights = 32768;  // floats: every thread's L2 keeps them beside a partial sum of their gradient
constexpr int64_t kGroupRows = 8;         // of a batch, at least, that one thread takes at a time
constexpr int64_t kMostGroups = 16;

// Of a layer, and of the form of its cell; cells/list.h says what the latter mean.
struct Sizes {
  int64_t batch, time, features, units;
  int gates, states, bias_rows, kept, deltas, alike;
  bool between;   // whether gathered gates put something between, which the last gate's product reads
  int64_t width;  // gates × units: columns of the kernel

  explicit Sizes(const Layer& layer)
      : batch(layer.batch), time(layer.time), features(layer.features), units(layer.units) {
    with_form(layer, [this](auto form) {
      using Cell = decltype(form);
      gates = Cell::gates, states = Cell::states, bias_rows = Cell::bias_rows;
      kept = Cell::kept, deltas = Cell::deltas, alike = Cell::alike;
      between = Cell::separate && Cell::gathered > 0;
    });
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

// Whether the hidden states are kept beside y: where y is not the state, or not all of it.
inline bool y_lacks_states(const Layer& layer, bool masked) { return masked || !layer.return_sequences; }

// The history: what a cell keeps, cell states (LSTM) and, where y lacks them, hidden states of every step.
struct History {
  float *gates, *cells, *states;
  History(float* block, const Layer& layer, bool masked) {
    const Sizes z(layer);
    const int64_t steps = z.batch * z.time * z.units;
    Arena arena(block);
    gates = z.kept > 0 ? arena.floats(steps * z.kept) : nullptr;
    cells = z.states > 1 ? arena.floats(steps) : nullptr;
    states = y_lacks_states(layer, masked) ? arena.floats(steps) : nullptr;
    floats = static_cast<int64_t>(arena.bytes() / sizeof(float));
  }
  int64_t floats;
};

// How a call is divided among threads. By groups of rows, for small weights: whoever is free takes the next group, and
// nobody waits for anybody. By rows, every thread walks all steps of its own rows. By units, every thread computes its own
// units of all rows, and all meet after each step: for few rows, or for weights that are too large to pass through every
// core's cache at every step. Groups depend on the layer alone, as does the order of every sum.
struct Division {
  int threads = 1;
  int64_t groups = 0;  // of rows; 0 where threads do not take groups
  bool by_rows = true;
  double work = 0, step = 0;  // flops, about, of all and of a step's recurrence
};

inline Division divide(const Layer& layer) {
  const Sizes z(layer);
  const int64_t weights = z.units * z.width;
  const double step = 2.0 * z.batch * weights + 40.0 * z.batch * z.width;  // flops, about
  const double work = step * z.time + 2.0 * z.batch * z.time * z.features * z.width;
  const int available = work < 2e5 ? 1 : layer.threads;
  if ((z.features + z.units) * z.width <= kSmallWeights && z.batch >= 2 * kGroupRows) {
    const int64_t groups = std::min(kMostGroups, (z.batch + kGroupRows - 1) / kGroupRows);
    return {static_cast<int>(std::min<int64_t>(available, groups)), groups, true, work, step};
  }
  if (available <= 1) return {};
  const bool enough_rows = z.batch >= 6 * available;
  const bool large_weights = weights * 4 > (int64_t{3} << 19);  // 1.5 MB: more than its share of L2
  const bool worth_meeting = step > 6e4;
  const int64_t panels = (z.units + kVec - 1) / kVec;
  if (worth_meeting && panels >= available && (!enough_rows || large_weights)) return {available, 0, false, work, step};
  return {static_cast<int>(std::min<int64_t>(available, z.batch)), 0, true, work, step};
}

struct Span {
  int64_t first, last;
  int64_t count() const { return last - first; }
};
inline bool all_zero(const float* values, int64_t count) {
  return values != nullptr && std::all_of(values, values + count, [](float value) { return value == 0; });
}
inline Span share(int64_t count, int64_t index, int64_t shares) {
  return {count * index / shares, count * (index + 1) / shares};
}

// Whether a row of the batch has a step, in the order of reading, that is not masked.
inline bool given(const Layer& layer, const bool* mask, int64_t b, int64_t step) {
  return mask[b * layer.time + (layer.go_backwards ? layer.time - 1 - step : step)];
}

// The rows of a step that are not masked, among `count` rows of a thread, and those that are.
class ActiveRows {
 public:
  ActiveRows(const Layer& layer, const bool* mask, const int64_t* rows, int64_t count)
      : layer_(layer), mask_(mask), rows_(rows, rows + count) {
    if (mask_ == nullptr) active_ = rows_;
  }
  void at(int64_t step) {
    if (mask_ == nullptr) return;
    active_.clear();
    skipped_.clear();
    for (const int64_t b : rows_) (given(layer_, mask_, b, step) ? active_ : skipped_).push_back(b);
  }
  const std::vector<int64_t>& active() const { return active_; }
  const std::vector<int64_t>& skipped() const { return skipped_; }

 private:
  const Layer& layer_;
  const bool* mask_;
  std::vector<int64_t> rows_, active_, skipped_;
};

// out[row][column] = Σ_k a[row][k] · packed[k][column], k over `depth` places, for `count` rows and panels of columns as in pack_columns, plus, where
// given, add[column], or what out holds before with `onto`. With `factors` the product is multiplied by them first, element
// by element.
struct Multiplication {
  const float* const* a;
  float* const* out;
  int64_t count, depth, columns;
  const float* packed;
  const float* add = nullptr;
  bool onto = false;
  const float* const* factors = nullptr;
  bool streams = false;
  // Where nothing is packed: the right-hand matrix, with rows `leading` apart, and room for a block of it.
  const float* matrix = nullptr;
  int64_t leading = 0;
  float* block = nullptr;
};
inline void multiply(const Multiplication& p, float* sums, Span panels) {
  with_vectors(p.columns, [&](auto vectors) {
    constexpr int N = decltype(vectors)::count;
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      const int64_t column = panel * N * kVec;
      const int left = static_cast<int>(std::min<int64_t>(N * kVec, p.columns - column));
      const auto block_at = [&](int64_t k, int64_t depth) -> const float* {
        if (p.matrix == nullptr) return p.packed + (panel * p.depth + k) * N * kVec;
        pack_columns(p.matrix, p.leading, {k, depth}, p.columns, panel, p.block);
        return p.block;
      };
      multiply_panel<N>(p.a, p.count, p.depth, block_at, sums, p.streams && p.matrix == nullptr, {},
                        [&](int64_t first, int64_t rows, const float* product, float*) {
                          for (int64_t row = first; row < first + rows; ++row, product += N * kVec) {
                            float* to = p.out[row] + column;
                            OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
                              const int at = n * kVec, here = left - at;
                              vfloat value = load(product + at);
                              if (p.factors != nullptr) value *= load_first(p.factors[row] + column + at, here);
                              if (p.add != nullptr) value += load_first(p.add + column + at, here);
                              if (p.onto) value += load_first(to + at, here);
                              store_first(to + at, value, here);
                            }
                          }
                        });
    }
  });
}
inline void multiply(const Multiplication& p, float* sums) { multiply(p, sums, {0, panels_of(p.columns)}); }

// Threads that run a call together and, where they divide its units, meet after each step.
class Meeting {
 protected:
  explicit Meeting(const Division& division) : division_(division), threads_(division.threads) {}

  // With groups, prepares alone, and then whoever is free calls walk(thread, group). Without, every thread calls
  // walk(thread, thread) and prepares its share there; the caller prepares those of helpers that do not come.
  // `packed`: floats that are packed.
  template <class Prepare, class Walk>
  void run_all(double packed, const Prepare& prepare, const Walk& walk) {
    ostinato::Team team(threads_, division_.work);
    if (division_.groups > 0) {
      prepare(0, 1);
      std::atomic<int64_t> next{0};
      team.run([&](int index) {
        for (int64_t group = next++; group < division_.groups; group = next++) walk(index, group);
      });
      return;
    }
    const int shares = team.size();
    Barrier barrier(shares);
    barrier_ = &barrier;
    team.run([&](int index) {
      prepare(index, shares);
      if (index == 0) {
        threads_ = team.gather();
        for (int absent = threads_; absent < shares; ++absent) prepare(absent, shares);
        by_units_ = !division_.by_rows && threads_ > 1;
        barrier.expect(threads_);
      }
      try {
        barrier.wait(patience(kFlopsOfAFloat * packed, ostinato::kWakingUp));
        if (barrier.dismissed()) threads_ = 1;
        walk(index, index);
      } catch (const Barrier::Dismissed&) {
        fence_stores();
      }
    });
    if (barrier.dismissed()) team.regret();
  }
  // How long threads wait for each other after so much work of all: its own time on a slow processor, and some microseconds.
  // By rows, for as long as it takes.
  ostinato::Clock::duration patience(double flops, ostinato::Clock::duration more = {}) const {
    if (division_.by_rows) return ostinato::Clock::duration::max();
    return std::chrono::nanoseconds(20000 + static_cast<int64_t>(flops / division_.threads / 8)) + more;
  }
  // After this the caller may be alone. By units, it then computes all units, not a share of them. `flops`: since they met.
  void meet(double flops) {
    if (threads_ == 1) return;
    barrier_->wait(patience(flops));
    if (barrier_->dismissed()) threads_ = 1;
  }
  void meet_if_by_units(double flops) {
    if (by_units_) meet(flops);
  }
  void meet_if_by_units() { meet_if_by_units(division_.step); }
  // Of `panels`, those that a thread computes at a step.
  Span panels_at_step(int64_t panels, int index) const {
    return by_units_ ? share(panels, index, threads_) : Span{0, panels};
  }
  static constexpr double kFlopsOfAFloat = 32;  // about as many take as long as packing one

  const Division division_;
  int threads_;
  bool by_units_ = false;
  Barrier* barrier_ = nullptr;
};

// What the two passes have in common: a layer, its division, and threads that meet.
class Pass : protected Meeting {
 protected:
  Pass(const Layer& layer, const Inputs& in) : Meeting(divide(layer)), l_(layer), start_(layer, in), z_(layer) {
    order_.resize(static_cast<size_t>(z_.batch));
    std::iota(order_.begin(), order_.end(), 0);
    ends_.assign(order_.size(), z_.time);
    if (in.mask == nullptr) return;
    for (const int64_t b : order_)
      while (ends_[b] > 0 && !given(layer, in.mask, b, ends_[b] - 1)) --ends_[b];
    // Rows of a like length walk together, the longest first.
    if (division_.groups > 0)
      std::stable_sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) { return ends_[a] > ends_[b]; });
  }

  // Floats of the weights, all of which are packed.
  double packed_weights() const { return static_cast<double>((z_.features + z_.units) * z_.width); }
  // Of x · kernel, for all rows.
  double input_flops(int64_t steps) const { return 2.0 * z_.batch * steps * z_.features * z_.width; }
  // The rows of the batch that a walk covers, as places in order_.
  Span rows_of(int64_t walk) const {
    if (division_.groups > 0) return share(z_.batch, walk, division_.groups);
    return by_units_ ? Span{0, z_.batch} : share(z_.batch, walk, threads_);
  }
  int64_t place(int64_t b, int64_t step) const { return b * z_.time + (l_.go_backwards ? z_.time - 1 - step : step); }
  const float* input_mask(int gate, int64_t b) const {
    return in_.input_dropout + (gate * z_.batch + b) * z_.features;
  }
  const float* recurrent_mask(int gate, int64_t b) const {
    return in_.recurrent_dropout + (gate * z_.batch + b) * z_.units;
  }
  // Whether the recurrent weights of a thread pass from beyond its caches at every step.
  bool streams() const { return places(z_.units) * z_.width * 4 / (by_units_ ? threads_ : 1) > (int64_t{5} << 18); }

  const Layer l_;
  const Start<float> start_;
  const Inputs& in_ = start_.in;
  const Sizes z_;
  std::vector<int64_t> order_;  // the rows of the batch, as walks take them
  std::vector<int64_t> ends_;   // where the sequence of each row ends: after its last step that is not masked
};

}  // namespace OSTINATO_ISA
