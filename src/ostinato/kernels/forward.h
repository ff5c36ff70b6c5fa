// The forward pass.
//
// For a stretch of steps, the products x · kernel of all rows are written where the gates will be; then, step by step,
// panels of units gather h · recurrent for all their gates in registers, add what is there, and go through the
// activations before anything is stored. Loop order of a step: panels (their weights pass from L2), row tiles, k.
#pragma once

#include <initializer_list>

#include "sequence.h"

namespace OSTINATO_ISA {

template <class Cell>
class ForwardPass : Pass {
  static constexpr bool kHasC = Cell::states > 1;
  static constexpr bool kBetween = Cell::separate && Cell::gathered > 0;

 public:
  ForwardPass(const Layer& layer, const Inputs& in, const Outputs& out, void* workspace, bool keeps_history)
      : Pass(layer, in), out_(out), keeps_(keeps_history) {
    Arena arena(workspace == nullptr ? nullptr : aligned(workspace));
    parts_ = in.input_dropout == nullptr ? 1 : z_.gates;
    if (in.ids == nullptr) packed_kernel_ = arena.floats(parts_ * packed_floats(z_.features, z_.width / parts_));
    const int64_t unit_panels = (z_.units + kVec - 1) / kVec;
    if (Cell::gathered > 0) packed_recurrent_ = arena.floats(unit_panels * z_.units * Cell::gathered * kVec);
    if (Cell::separate) packed_columns_ = arena.floats(packed_floats(z_.units, z_.units));
    const int64_t states = z_.batch * z_.units;
    if (kBetween) between_ = arena.floats(states);
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
    const int64_t rows = division_.groups > 0 ? (z_.batch + division_.groups - 1) / division_.groups : z_.batch;
    const bool large_kernel = z_.features * z_.width > 4 * kStretchFloats;
    const int64_t wanted = large_kernel ? kProjectionRows : kStretchFloats / z_.width;  // rows, for each thread
    stretch_ = std::max<int64_t>(1, std::min<int64_t>(z_.time, wanted * division_.threads / rows));
    gates_ = arena.floats(z_.batch * stretch_ * z_.width);
    for (int i = 0; i < division_.threads; ++i) {
      sums_[i] = arena.floats(kChunkRows * 4 * kVec);
      if (in.input_dropout != nullptr) dropped_x_[i] = arena.floats(kProjectionRows * z_.features);
    }
    bytes_ = arena.bytes() + 64;
  }
  size_t bytes() const { return bytes_; }

  void run() {
    run_all([this](int index, int of) { prepare(index, of); }, [this](int index, int64_t walk) { this->walk(index, walk); });
  }

 private:
  static constexpr int64_t kStretchFloats = 65536;  // projected ahead, for each thread: they stay in L2

  static constexpr int64_t kCachedFloats = 12 << 20;  // of a history

  // A thread on its rows at one step.
  struct Worker {
    int index;
    Span rows;
    ActiveRows active;
    std::vector<const float*> from;  // states of the active rows
    float* sums;
  };

  void walk(int index, int64_t walk) {
    const Span rows = rows_of(walk);
    Worker w{index, rows, ActiveRows(l_, in_.mask, order_.data() + rows.first, rows.count()), {}, sums_[index]};
    w.from.resize(static_cast<size_t>(rows.count()));
    for (int64_t first = 0; first < z_.time; first += stretch_) {
      const Span steps{first, std::min(z_.time, first + stretch_)};
      project(w, steps);
      meet_if_by_units();
      for (int64_t step = steps.first; step < steps.last; ++step) {
        w.active.at(step);
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
    if (packed_kernel_ != nullptr) {
      const int64_t columns = z_.width / parts_, each = panels_of(columns);
      const Span panels = share(parts_ * each, index, of);
      for (int64_t p = panels.first; p < panels.last; ++p)
        pack_panel(in_.kernel + p / each * columns, z_.width, 1, z_.features, columns, p % each,
                   packed_kernel_ + p / each * packed_floats(z_.features, columns));
    }
    if (packed_recurrent_ != nullptr) {
      const Span panels = share((z_.units + kVec - 1) / kVec, index, of);
      for (int64_t p = panels.first; p < panels.last; ++p)
        pack_gates(in_.recurrent, z_.width, z_.units, z_.units, 0, Cell::gathered, p, packed_recurrent_);
    }
    if (packed_columns_ != nullptr) {
      const Span panels = share(panels_of(z_.units), index, of);
      for (int64_t p = panels.first; p < panels.last; ++p)
        pack_panel(in_.recurrent + (z_.gates - 1) * z_.units, z_.width, 1, z_.units, z_.units, p, packed_columns_);
    }
    const Span rows = share(z_.batch, index, of);
    if (dropped_ != nullptr)
      for (int64_t b = rows.first; b < rows.last; ++b)
        for (int gate = 0; gate < z_.gates; ++gate)
          for (int64_t j = 0; j < z_.units; ++j)
            dropped(gate, b, -1)[j] = in_.h0[b * z_.units + j] * recurrent_mask(gate, b)[j];
    if (!l_.return_sequences && in_.mask != nullptr)
      std::memset(out_.y + rows.first * z_.units, 0, row_bytes() * static_cast<size_t>(rows.count()));
  }

  // Where things lie. Steps alternate between two places for the state of a row.
  float* gates(int64_t b, int64_t step) const {
    return gates_ + (b * stretch_ + step % stretch_) * z_.width;
  }
  const float* state(int64_t b, int64_t step) const {
    return step < 0 ? in_.h0 + b * z_.units : states_ + ((step & 1) * z_.batch + b) * z_.units;
  }
  const float* cell(int64_t b, int64_t step) const {
    return step < 0 ? in_.c0 + b * z_.units : cells_ + (keeps_ ? b * z_.time + step : b) * z_.units;
  }
  float* new_cell(int64_t b, int64_t step) { return cells_ + (keeps_ ? b * z_.time + step : b) * z_.units; }
  // What a gate's recurrent product reads under dropout.
  float* dropped(int gate, int64_t b, int64_t step) const {
    return dropped_ + (((step & 1) * z_.gates + gate) * z_.batch + b) * z_.units;
  }
  float* y(int64_t b, int64_t step) const {
    return out_.y + (l_.return_sequences ? b * z_.time + step : b) * z_.units;
  }

  // x · kernel + bias of the steps' rows, into the gates. By units, threads share the columns, or the lookups of ids.
  void project(Worker& w, Span steps) {
    const int64_t all = w.rows.count() * steps.count();
    const Span mine = by_units_ && in_.ids != nullptr ? share(all, w.index, threads_) : Span{0, all};
    const float* from[kProjectionRows];
    float* to[kProjectionRows];
    int64_t rows[kProjectionRows];
    int64_t count = 0;
    const auto flush = [&] {
      if (in_.input_dropout == nullptr)
        multiply({from, to, count, z_.features, z_.width, packed_kernel_, in_.bias}, w.sums,
                 panels_at_step(panels_of(z_.width), w.index));
      else
        project_dropped(w, from, to, rows, count);
      count = 0;
    };
    for (int64_t i = mine.first; i < mine.last; ++i) {
      const int64_t b = order_[w.rows.first + i / steps.count()], step = steps.first + i % steps.count();
      const int64_t at = place(b, step);
      if (in_.mask != nullptr && !in_.mask[at]) continue;
      if (in_.ids != nullptr) {
        look_up(in_.ids[at], gates(b, step));
        continue;
      }
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
      multiply({from, to, count, z_.features, z_.units, packed_kernel_ + gate * packed_floats(z_.features, z_.units),
                in_.bias == nullptr ? nullptr : in_.bias + gate * z_.units},
               w.sums, panels_at_step(panels_of(z_.units), w.index));
      for (int64_t i = 0; i < count; ++i) to[i] += z_.units;
    }
  }
  void look_up(int32_t id, float* to) const {
    const float* row = in_.kernel + id * z_.width;
    for (int64_t j = 0; j < z_.width; ++j) to[j] = row[j] + (in_.bias == nullptr ? 0.0f : in_.bias[j]);
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
  float* new_state(int64_t b, int64_t step) { return states_ + ((step & 1) * z_.batch + b) * z_.units; }
  float* kept_state(int64_t b, int64_t step) { return kept_states_ + (b * z_.time + step) * z_.units; }

  OSTINATO_INLINE void put_state(int64_t b, int64_t step, int64_t unit, int left, vfloat h) {
    store_first(new_state(b, step) + unit, h, left);
    store_first(y(b, step) + unit, h, left);
    if (kept_states_ != nullptr) store_first(kept_state(b, step) + unit, h, left);
    if (dropped_ != nullptr)
      for (int gate = 0; gate < z_.gates; ++gate)
        store_first(dropped(gate, b, step) + unit, h * load_first(recurrent_mask(gate, b) + unit, left), left);
  }

  // kVec units of a row at a step, as a cell sees them.
  struct Lane {
    ForwardPass& pass;
    const int64_t b, step, unit;
    const int left;        // units that there are
    const float* products; // h · recurrent of the gathered gates, one beside the other
    float* at;             // x · kernel + bias

    OSTINATO_INLINE const Layer& layer() const { return pass.l_; }
    OSTINATO_INLINE vfloat x(int gate) const { return load_first(at + gate * pass.z_.units, left); }
    OSTINATO_INLINE void put_x(int gate, vfloat value) const { store_first(at + gate * pass.z_.units, value, left); }
    OSTINATO_INLINE vfloat product(int gate) const { return load(products + gate * kVec); }
    OSTINATO_INLINE bool has_bias() const { return pass.in_.bias != nullptr; }
    OSTINATO_INLINE vfloat bias(int block) const { return load_first(pass.in_.bias + block * pass.z_.units + unit, left); }
    OSTINATO_INLINE vfloat h() const { return load_first(pass.state(b, step - 1) + unit, left); }
    OSTINATO_INLINE vfloat c() const { return load_first(pass.cell(b, step - 1) + unit, left); }
    OSTINATO_INLINE vfloat dropped_h(int gate) const {
      const float* h = pass.dropped_ == nullptr ? pass.state(b, step - 1) : pass.dropped(gate, b, step - 1);
      return load_first(h + unit, left);
    }
    OSTINATO_INLINE void keep(std::initializer_list<vfloat> values) const {
      if (pass.keeps_) pass.keep(b, step, unit, left, values);
    }
    OSTINATO_INLINE void put_between(vfloat value) const {
      store_first(pass.between_ + b * pass.z_.units + unit, value, left);
    }
    OSTINATO_INLINE void put_c(vfloat c) const { store_first(pass.new_cell(b, step) + unit, c, left); }
    OSTINATO_INLINE void put_h(vfloat h) const { pass.put_state(b, step, unit, left, h); }
  };

  // Panels of kVec units with the products of the gathered gates side by side.
  void gathered(Worker& w, int64_t step) {
    constexpr int G = Cell::gathered;
    const std::vector<int64_t>& rows = w.active.active();
    const int64_t count = static_cast<int64_t>(rows.size());
    const Span panels = panels_at_step((z_.units + kVec - 1) / kVec, w.index);
    for (int64_t i = 0; i < count; ++i) w.from[i] = state(rows[i], step - 1);
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      const int64_t unit = panel * kVec;
      const int left = static_cast<int>(std::min<int64_t>(kVec, z_.units - unit));
      const float* packed = packed_recurrent_ + panel * z_.units * G * kVec;
      const auto take = [&](int64_t row, const float* products) {
        Cell::forward(Lane{*this, rows[row], step, unit, left, products, gates(rows[row], step) + unit});
      };
      if (dropped_ == nullptr)
        multiply_panel<G>(w.from.data(), count, z_.units, packed, w.sums, streams(), take);
      else
        multiply_dropped<G>(w, rows, step, packed, take);
    }
  }
  template <int G, class Take>
  void multiply_dropped(Worker& w, const std::vector<int64_t>& rows, int64_t step, const float* packed, const Take& take) {
    for_tiles<G>(static_cast<int64_t>(rows.size()), [&](int64_t first, auto tile) {
      constexpr int M = decltype(tile)::count;
      const float* from[G * M];
      for (int g = 0; g < G; ++g)
        for (int m = 0; m < M; ++m) from[g * M + m] = dropped(g, rows[first + m], step - 1);
      multiply_tile_each<M, G>(from, M, z_.units, packed, w.sums);
      for (int m = 0; m < M; ++m) take(first + m, w.sums + m * G * kVec);
    });
  }

  // Writes a row of the history.
  OSTINATO_INLINE void keep(int64_t b, int64_t step, int64_t unit, int left, std::initializer_list<vfloat> gates) {
    float* to = kept_gates_ + (b * z_.time + step) * Cell::kept * z_.units + unit;
    for (const vfloat gate : gates) {
      if (through_)
        store_through(to, gate);
      else
        store_first(to, gate, left);
      to += z_.units;
    }
  }

  // Panels of plain columns, for the product of the last gate alone.
  void separate(Worker& w, int64_t step) {
    const std::vector<int64_t>& rows = w.active.active();
    const int64_t count = static_cast<int64_t>(rows.size());
    for (int64_t i = 0; i < count; ++i)
      w.from[i] = kBetween ? between_ + rows[i] * z_.units
                  : dropped_ == nullptr ? state(rows[i], step - 1) : dropped(0, rows[i], step - 1);
    const Span panels = panels_at_step(panels_of(z_.units), w.index);
    with_vectors(z_.units, [&](auto vectors) {
      constexpr int N = decltype(vectors)::count;
      for (int64_t panel = panels.first; panel < panels.last; ++panel) {
        const int64_t unit = panel * N * kVec;
        const int left = static_cast<int>(std::min<int64_t>(N * kVec, z_.units - unit));
        multiply_panel<N>(w.from.data(), count, z_.units, packed_columns_ + panel * z_.units * N * kVec, w.sums, streams(),
                          [&](int64_t row, const float* product) {
                            for (int at = 0; at < left; at += kVec)
                              finish(rows[row], step, unit + at, std::min(kVec, left - at), load(product + at));
                          });
      }
    });
  }
  OSTINATO_INLINE void finish(int64_t b, int64_t step, int64_t unit, int left, vfloat product) {
    const Lane lane{*this, b, step, unit, left, nullptr, gates(b, step) + unit};
    product += lane.x(Cell::gates - 1);
    Cell::forward_separate(lane, product);
  }

  const Outputs out_;
  const bool keeps_;
  int parts_ = 1;         // that the kernel is packed in: one, or one for each gate
  int64_t stretch_ = 1;
  bool through_ = false;  // the history is too long for the caches to keep
  float *packed_kernel_ = nullptr, *packed_recurrent_ = nullptr, *packed_columns_ = nullptr, *between_ = nullptr;
  float *gates_ = nullptr, *cells_ = nullptr, *states_ = nullptr, *kept_gates_ = nullptr, *kept_states_ = nullptr, *dropped_ = nullptr;
  float *sums_[ostinato::kMostThreads] = {}, *dropped_x_[ostinato::kMostThreads] = {};
  size_t bytes_ = 0;
};

}  // namespace OSTINATO_ISA
