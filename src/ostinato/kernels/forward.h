// The forward pass.
//
// Step by step, panels of units gather h · recurrent for all their gates in registers, add x · kernel, and go through the
// activations before anything is stored. Loop order of a step: panels (their weights pass from L2), row tiles, k.
//
// x · kernel comes from one of three places. With few features each panel of a step computes it into a buffer in L1. Of token
// ids the kernel has the row. Otherwise a stretch of steps is computed at once, where the gates will be.
#pragma once

#include "forward_lane.h"
#include "forward_places.h"
#include "packed.h"

namespace OSTINATO_ISA {

template <class Cell>
class ForwardPass : ForwardPlaces {
  static constexpr bool kHasC = Cell::states > 1;
  using Weights = PackedWeights<Cell>;
  static constexpr bool kBetween = Weights::kBetween;
  template <class Pass, bool whole> friend struct ForwardLane;

 public:
  ForwardPass(const Layer& layer, const Inputs& in, const Outputs& out, void* workspace, bool keeps_history)
      : ForwardPlaces(layer, in, out, keeps_history) {
    Arena arena(workspace == nullptr ? nullptr : aligned(workspace));
    parts_ = in.input_dropout == nullptr ? 1 : z_.gates;
    const int64_t rows = division_.groups > 0 ? (z_.batch + division_.groups - 1) / division_.groups : z_.batch;
    if (in.ids != nullptr)
      from_ = Source::kRow;
    else if (in.input_dropout == nullptr && in.recurrent_dropout == nullptr && z_.features <= kFewFeatures &&
             rows >= kTileRows)
      from_ = Source::kPanel;
    begins_with_zeros_ = in.recurrent_dropout == nullptr && (start_.without_state || all_zero(in_.h0, z_.batch * z_.units));
    kept_packed_ = in.packed != nullptr && parts_ == 1;
    const bool once = z_.time <= (begins_with_zeros_ ? 2 : 1);  // that the recurrent weights are read, at most
    packs_blocks_ = !kPairs && once && z_.batch <= kChunkRows && division_.groups == 0 && in.recurrent_dropout == nullptr && !kept_packed_;
    if (kept_packed_) {
      Arena kept(const_cast<float*>(in.packed));  // only read
      weights_ = Weights(kept, z_);
    } else {
      const auto kernel = in.ids != nullptr || packs_kernel_blocks() ? Weights::Kernel::kNone
                          : from_ == Source::kPanel                  ? Weights::Kernel::kPanels
                                                                     : Weights::Kernel::kColumns;
      weights_ = Weights(arena, z_, kernel, parts_, !packs_blocks_ && depth_at(z_.time - 1) > 0);
    }
    const int64_t states = z_.batch * z_.units;
    if (kBetween) between_ = arena.floats(states), carried_ = arena.floats(states);
    states_ = arena.floats(2 * states);
    if (in.recurrent_dropout != nullptr) dropped_ = arena.floats(2 * z_.gates * states);
    if (keeps_) {
      const History history(out.history, layer, in.mask != nullptr);
      kept_gates_ = history.gates, cells_ = history.cells, kept_states_ = history.states;
      through_ = history.floats > kCachedFloats && z_.units % kVec == 0 &&
                 reinterpret_cast<uintptr_t>(out.history) % (kVec * sizeof(float)) == 0;
    } else if (kHasC) {
      cells_ = arena.floats(states);
    }
    const bool large_kernel = z_.features * z_.width > 4 * kStretchFloats;
    const int64_t wanted = large_kernel ? kProjectionRows : kStretchFloats / z_.width;  // rows, for each thread
    stretch_ = std::max<int64_t>(1, std::min<int64_t>(z_.time, wanted * division_.threads / rows));
    if (from_ != Source::kStretch) stretch_ = z_.time;
    if (from_ == Source::kStretch) gates_ = arena.floats(z_.batch * stretch_ * z_.width);
    for (int i = 0; i < division_.threads; ++i) {
      sums_[i] = arena.floats(kChunkRows * 4 * kVec);
      if (packs_blocks_) blocks_[i] = arena.floats(kBlockFloats);
      if (from_ == Source::kPanel) sums_x_[i] = arena.floats(kChunkRows * 4 * kVec);
      if (kPairs) rooms_[i] = arena.floats(rows * places(z_.units));
      if (kPairs && in.ids == nullptr) rooms_x_[i] = arena.floats(std::max(rows, kProjectionRows) * places(z_.features));
      if (in.input_dropout != nullptr) dropped_x_[i] = arena.floats(kProjectionRows * z_.features);
    }
    bytes_ = arena.bytes() + 64;
  }
  size_t bytes() const { return bytes_; }

  void run() {
    run_all(packed_weights(), [this](int index, int of) { prepare(index, of); }, [this](int index, int64_t walk) { this->walk(index, walk); });
  }

 private:
  static constexpr int64_t kStretchFloats = 65536;  // projected ahead, for each thread: they stay in L2
  static constexpr int64_t kCachedFloats = 12 << 20;  // of a history
  static constexpr int64_t kTileRows = 6;

  // Where x · kernel comes from, see above.
  enum class Source { kStretch, kRow, kPanel };

  // A thread on its rows at one step.
  struct Worker {
    int index;
    Span rows;
    ActiveRows active;
    std::vector<ForwardRow> at;              // the active rows
    std::vector<const float*> from, from_x;  // their states, or what else is multiplied; their x
    float *sums, *sums_x;
  };

  void walk(int index, int64_t walk) {
    const Span rows = rows_of(walk);
    Worker w{index, rows, ActiveRows(l_, in_.mask, order_.data() + rows.first, rows.count()), {}, {}, {}, sums_[index],
             sums_x_[index]};
    for (auto* pointers : {&w.from, &w.from_x}) pointers->resize(static_cast<size_t>(rows.count()));
    w.at.resize(static_cast<size_t>(rows.count()));
    for (int64_t first = 0; first < z_.time; first += stretch_) {
      const Span steps{first, std::min(z_.time, first + stretch_)};
      if (from_ == Source::kStretch) {
        project(w, steps);
        meet_if_by_units(input_flops(steps.count()));
      }
      for (int64_t step = steps.first; step < steps.last; ++step) {
        w.active.at(step);
        place_rows(w, step);
        one_step(w, step);
        meet_if_by_units();
      }
    }
    if (through_) fence_stores();
    if (by_units_ && index != 0) return;
    for (int64_t i = rows.first; i < rows.last; ++i)
      if (ends_[order_[i]] == z_.time) put_final_state(order_[i], z_.time - 1, 0, row_bytes());
  }
  void put_final_state(int64_t b, int64_t step, int64_t unit, size_t bytes) {
    std::memcpy(out_.h + b * z_.units + unit, state(b, step) + unit, bytes);
    if (kHasC) std::memcpy(out_.c + b * z_.units + unit, cell(b, step) + unit, bytes);
  }
  size_t row_bytes() const { return sizeof(float) * static_cast<size_t>(z_.units); }

  // A share of: packing, the first states under dropout, and zeros where no step may write.
  void prepare(int index, int of) {
    if (!kept_packed_) weights_.pack(z_, in_.kernel, in_.recurrent, index, of);
    const Span rows = share(z_.batch, index, of);
    if (dropped_ != nullptr)
      for (int64_t b = rows.first; b < rows.last; ++b)
        for (int gate = 0; gate < z_.gates; ++gate)
          for (int64_t j = 0; j < z_.units; ++j)
            dropped(gate, b, -1)[j] = in_.h0[b * z_.units + j] * recurrent_mask(gate, b)[j];
    if (!l_.return_sequences && in_.mask != nullptr)
      std::memset(out_.y + rows.first * z_.units, 0, row_bytes() * static_cast<size_t>(rows.count()));
  }

  // Places of the recurrent product, which is zero where all states are. At the first step they usually are.
  int64_t depth_at(int64_t step) const { return step == 0 && begins_with_zeros_ ? 0 : places(z_.units); }
  const float* last_gate() const { return in_.recurrent + (z_.gates - 1) * z_.units; }
  bool packs_kernel_blocks() const {
    return packs_blocks_ && from_ == Source::kStretch && in_.input_dropout == nullptr &&
           z_.batch * z_.time <= kProjectionRows;
  }

  void place_rows(Worker& w, int64_t step) {
    const std::vector<int64_t>& rows = w.active.active();
    const float* of_states = states_ + (step & 1) * z_.batch * z_.units;
    for (size_t i = 0; i < rows.size(); ++i) {
      const int64_t b = rows[i], at = b * z_.time + step;
      ForwardRow& row = w.at[i];
      row.b = b;
      row.h_before = state(b, step - 1);
      row.h = const_cast<float*>(of_states) + b * z_.units;
      if (kHasC) row.c_before = cell(b, step - 1), row.c = new_cell(b, step);
      row.y = y(b, step);
      if (keeps_ && Cell::kept > 0) row.kept = kept_gates_ + at * Cell::kept * z_.units;
      row.kept_state = kept_states_ == nullptr ? nullptr : kept_states_ + at * z_.units;
      if (from_ == Source::kStretch)
        row.x = gates(b, step);
      else if (from_ == Source::kRow)
        row.x = in_.kernel + in_.ids[place(b, step)] * z_.width;
      else
        w.from_x[i] = in_.x + place(b, step) * z_.features;
    }
    if (from_ == Source::kPanel) as_read(w.from_x.data(), static_cast<int64_t>(rows.size()), z_.features, rooms_x_[w.index]);
  }

  // x · kernel + bias of the steps' rows, into the gates. By units, threads share the columns.
  void project(Worker& w, Span steps) {
    const int64_t all = w.rows.count() * steps.count();
    const float* from[kProjectionRows];
    float* to[kProjectionRows];
    int64_t rows[kProjectionRows];
    int64_t count = 0;
    const auto flush = [&] {
      as_read(from, count, z_.features, rooms_x_[w.index]);
      if (in_.input_dropout == nullptr)
        multiply({from, to, count, places(z_.features), z_.width, weights_.kernel, in_.bias, false, nullptr, false,
                  packs_kernel_blocks() ? in_.kernel : nullptr, z_.width, blocks_[w.index]},
                 w.sums, panels_at_step(panels_of(z_.width), w.index));
      else
        project_dropped(w, from, to, rows, count);
      count = 0;
    };
    for (int64_t i = 0; i < all; ++i) {
      const int64_t b = order_[w.rows.first + i / steps.count()], step = steps.first + i % steps.count();
      const int64_t at = place(b, step);
      if (in_.mask != nullptr && !in_.mask[at]) continue;
      rows[count] = b;
      from[count] = in_.x + at * z_.features;
      to[count++] = gates(b, step);
      if (count == kProjectionRows) flush();
    }
    if (count > 0) flush();
  }
  // The same with dropout of x: each gate has a mask of its own.
  void project_dropped(Worker& w, const float* const* x, float** to, const int64_t* rows, int64_t count) {
    const float* from[kProjectionRows];
    float* dropped = dropped_x_[w.index];
    for (int gate = 0; gate < z_.gates; ++gate) {
      for (int64_t i = 0; i < count; ++i) {
        float* product = dropped + i * z_.features;
        for (int64_t j = 0; j < z_.features; ++j) product[j] = x[i][j] * input_mask(gate, rows[i])[j];
        from[i] = product;
      }
      multiply({from, to, count, z_.features, z_.units, weights_.kernel + gate * packed_floats(z_.features, z_.units),
                in_.bias == nullptr ? nullptr : in_.bias + gate * z_.units},
               w.sums, panels_at_step(panels_of(z_.units), w.index));
      for (int64_t i = 0; i < count; ++i) to[i] += z_.units;
    }
  }

  void one_step(Worker& w, int64_t step) {
    if constexpr (Cell::gathered > 0) gathered(w, step);
    if constexpr (kBetween) meet_if_by_units();
    if constexpr (Cell::separate) separate(w, step);
    skip(w, step);
  }

  // Masked rows: the state stays, the output repeats or is zero. After a row's end only the output is left to write.
  void skip(Worker& w, int64_t step) {
    if (w.active.skipped().empty()) return;
    const int64_t wide = (Cell::separate ? vectors_for(z_.units) : 1) * kVec;
    const Span panels = panels_at_step((z_.units + wide - 1) / wide, w.index);
    const int64_t first = panels.first * wide, count = std::min(z_.units, panels.last * wide) - first;
    if (count <= 0) return;
    const size_t bytes = sizeof(float) * static_cast<size_t>(count);
    for (const int64_t b : w.active.skipped()) {
      if (step == ends_[b]) put_final_state(b, step - 1, first, bytes);
      if (step < ends_[b]) keep_state(b, step, first, bytes);
      float* out = y(b, step) + first;
      if (l_.zero_output_for_mask || (l_.return_sequences && step == 0))
        std::memset(out, 0, bytes);
      else if (l_.return_sequences)
        std::memcpy(out, y(b, step - 1) + first, bytes);
    }
  }
  void keep_state(int64_t b, int64_t step, int64_t unit, size_t bytes) {
    const float* h = state(b, step - 1) + unit;
    std::memcpy(new_state(b, step) + unit, h, bytes);
    if (kept_states_ != nullptr) std::memcpy(kept_state(b, step) + unit, h, bytes);
    if (dropped_ != nullptr)
      for (int gate = 0; gate < z_.gates; ++gate)
        std::memcpy(dropped(gate, b, step) + unit, dropped(gate, b, step - 1) + unit, bytes);
    if (kHasC && cell(b, step - 1) != cell(b, step))
      std::memcpy(new_cell(b, step) + unit, cell(b, step - 1) + unit, bytes);
  }

  template <bool whole>
  using Lane = ForwardLane<ForwardPass, whole>;

  // Calls f with the lane of some units of a row, whose products are those of gates from `gate` on. `sums_x` has the panel's
  // x · kernel, where a panel computes it.
  template <int gate, class F>
  OSTINATO_INLINE void with_lane(const ForwardRow& row, int64_t step, int64_t unit, float* products, const float* sums_x,
                                 const F& f) {
    const int64_t left = z_.units - unit, column = gate * z_.units + unit;
    const float* at = from_ == Source::kPanel ? sums_x : row.x + column;
    const int64_t stride = from_ == Source::kPanel ? kVec : z_.units;
    const float* bias = from_ == Source::kStretch || in_.bias == nullptr ? nullptr : in_.bias + column;
    if (left >= kVec)
      f(Lane<true>{*this, row, step, unit, kVec, products, at, stride, bias});
    else
      f(Lane<false>{*this, row, step, unit, static_cast<int>(left), products, at, stride, bias});
  }

  // Panels of kVec units with the products of the gathered gates side by side.
  void gathered(Worker& w, int64_t step) {
    constexpr int G = Cell::gathered;
    const int64_t count = static_cast<int64_t>(w.active.active().size());
    const Span panels = panels_at_step((z_.units + kVec - 1) / kVec, w.index);
    for (int64_t i = 0; i < count; ++i) w.from[i] = w.at[i].h_before;
    const int64_t depth = depth_at(step);
    if (depth > 0) as_read(w.from.data(), count, z_.units, rooms_[w.index]);
    if (few_rows(count))
      return multiply_few_rows<G>(w.from.data(), count, depth, weights_.recurrent, panels.first, panels.last, w.sums,
                                  [&](int64_t panel, int64_t here, float* products) {
                                    activate(w.at.data(), count, step, panel, here, products, nullptr);
                                  });
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      const auto block_at = [&](int64_t k, int64_t here) -> const float* {
        if (!packs_blocks_) return Weights::panel_of(weights_.recurrent, panel, z_.units) + k * G * kVec;
        pack_gates(in_.recurrent, z_.width, {k, here}, z_.units, G, panel, blocks_[w.index]);
        return blocks_[w.index];
      };
      const auto take = [&](int64_t first, int64_t rows, float* products, const float* sums_x) {
        activate(w.at.data() + first, rows, step, panel, 1, products, sums_x);
      };
      if (dropped_ == nullptr)
        multiply_panel<G>(w.from.data(), count, depth, block_at, w.sums, streams() && !packs_blocks_,
                          beside(w, weights_.panels, panel * places(z_.features) * G * kVec), take);
      else
        multiply_panel_each<G>([&](int g, int64_t row) { return dropped(g, w.at[row].b, step - 1); }, count, z_.units,
                               block_at(0, z_.units), w.sums, take);
    }
  }
  // From products[row][panel] on. What follows from other activations waits until they are there for some rows: the
  // processor then overlaps the rows, which it cannot while each is one long chain.
  void activate(const ForwardRow* rows, int64_t count, int64_t step, int64_t panel, int64_t panels, float* products,
                const float* sums_x) {
    constexpr int64_t kTogether = 8, kWide = Cell::gathered * kVec;
    for (int64_t top = 0; top < count; top += kTogether) {
      const int64_t last = std::min(count, top + kTogether);
      for (int64_t row = top; row < last; ++row) __builtin_prefetch(rows[row].y + panel * kVec, 1);
      const auto each = [&](const auto& f) {
        for (int64_t row = top; row < last; ++row)
          for (int64_t p = 0; p < panels; ++p)
            with_lane<0>(rows[row], step, (panel + p) * kVec, products + (row * panels + p) * kWide, sums_x + row * kWide, f);
      };
      each([](const auto& lane) { Cell::forward(lane); });
      if constexpr (!Cell::separate) each([](const auto& lane) { Cell::finish(lane); });
    }
  }
  // Whether rows are so few that several panels are taken at once.
  bool few_rows(int64_t count) const {
    return count <= kFewRows && from_ != Source::kPanel && !packs_blocks_ && dropped_ == nullptr;
  }
  // What a panel computes beside its recurrent products: x · kernel, if it does.
  Beside beside(const Worker& w, const float* packed, int64_t from) const {
    if (from_ != Source::kPanel) return {};
    return {w.from_x.data(), places(z_.features), packed + from, w.sums_x};
  }

  // Panels of plain columns, for the product of the last gate alone.
  void separate(Worker& w, int64_t step) {
    const int64_t count = static_cast<int64_t>(w.active.active().size());
    for (int64_t i = 0; i < count; ++i) {
      const ForwardRow& row = w.at[i];
      w.from[i] = kBetween ? between_ + row.b * z_.units : dropped_ == nullptr ? row.h_before : dropped(0, row.b, step - 1);
    }
    if (depth_at(step) > 0) as_read(w.from.data(), count, z_.units, rooms_[w.index]);
    const Span panels = panels_at_step(panels_of(z_.units), w.index);
    with_vectors(z_.units, [&](auto vectors) {
      constexpr int N = decltype(vectors)::count;
      // Of products[row][panel].
      const auto take = [&](int64_t first, int64_t rows, int64_t panel, int64_t here, const float* product, const float* sums_x) {
        const int64_t unit = panel * N * kVec, left = std::min<int64_t>(here * N * kVec, z_.units - unit);
        for (int64_t row = 0; row < rows; ++row, product += here * N * kVec, sums_x += N * kVec)
          for (int64_t at = 0; at < left; at += kVec)
            with_lane<Cell::gates - 1>(w.at[first + row], step, unit + at, nullptr, sums_x + at, [&](const auto& lane) {
              Cell::forward_separate(lane, load(product + at) + lane.x(0));
            });
      };
      if (few_rows(count))
        return multiply_few_rows<N>(
            w.from.data(), count, depth_at(step), weights_.last, panels.first, panels.last, w.sums,
            [&](int64_t panel, int64_t here, const float* product) { take(0, count, panel, here, product, w.sums_x); });
      for (int64_t panel = panels.first; panel < panels.last; ++panel) {
        const auto block_at = [&](int64_t k, int64_t here) -> const float* {
          if (!packs_blocks_) return weights_.last + (panel * places(z_.units) + k) * N * kVec;
          pack_columns(last_gate(), z_.width, {k, here}, z_.units, panel, blocks_[w.index]);
          return blocks_[w.index];
        };
        multiply_panel<N>(w.from.data(), count, depth_at(step), block_at, w.sums, streams() && !packs_blocks_,
                          beside(w, weights_.last_kernel, panel * places(z_.features) * N * kVec),
                          [&](int64_t first, int64_t rows, const float* product, const float* sums_x) {
                            take(first, rows, panel, 1, product, sums_x);
                          });
      }
    });
  }

  int parts_ = 1;         // that the kernel is packed in: one, or one for each gate
  Source from_ = Source::kStretch;
  bool begins_with_zeros_ = false;  // in all hidden states
  bool packs_blocks_ = false;  // of the weights, each just before it is used: for a single product of not too many rows
  bool through_ = false;  // the history is too long for the caches to keep
  Weights weights_;
  bool kept_packed_ = false;  // by the caller
  float *between_ = nullptr, *carried_ = nullptr;  // what gathered gates leave for the last gate's product, and beside it
  float *sums_[ostinato::kMostThreads] = {}, *sums_x_[ostinato::kMostThreads] = {}, *dropped_x_[ostinato::kMostThreads] = {},
        *blocks_[ostinato::kMostThreads] = {};
  float *rooms_[ostinato::kMostThreads] = {}, *rooms_x_[ostinato::kMostThreads] = {};  // for states and x as products read them
  size_t bytes_ = 0;
};

}  // namespace OSTINATO_ISA
