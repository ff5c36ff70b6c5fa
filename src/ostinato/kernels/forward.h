// The forward pass.
//
// For a stretch of steps, the products x · kernel of all rows are written where the gates will be; then, step by step,
// panels of units gather h · recurrent for all their gates in registers, add what is there, and go through the
// activations before anything is stored. Loop order of a step: panels (their weights pass from L2), row tiles, k.
#pragma once

#include "sequence.h"

namespace OSTINATO_ISA {

class ForwardPass {
 public:
  ForwardPass(const Layer& layer, const Inputs& in, const Outputs& out, void* workspace, bool keeps_history)
      : l_(layer), in_(in), out_(out), z_(layer), keeps_(keeps_history) {
    Arena arena(workspace == nullptr ? nullptr : aligned(workspace));
    stretch_ = std::max<int64_t>(1, std::min<int64_t>(z_.time, keeps_ && z_.gates > 1 ? z_.time : 64));
    if (in.ids == nullptr) packed_kernel_ = arena.floats(packed_floats(z_.features, z_.width));
    const int64_t unit_panels = (z_.units + kVec - 1) / kVec;
    if (z_.gates > 1)
      packed_recurrent_ = arena.floats(unit_panels * z_.units * (z_.resets_before ? 2 : z_.gates) * kVec);
    if (z_.gates == 1 || z_.resets_before) packed_columns_ = arena.floats(packed_floats(z_.units, z_.units));
    if (z_.resets_before) reset_ = arena.floats(z_.batch * z_.units);
    if (keeps_) {
      const History history(out.history, z_);
      gates_ = history.gates, cells_ = history.cells, states_ = history.states;
    } else {
      cells_ = z_.lstm ? arena.floats(z_.batch * z_.units) : nullptr;
      states_ = arena.floats(2 * z_.batch * z_.units);
    }
    if (gates_ == nullptr) gates_ = arena.floats(z_.batch * stretch_ * z_.width);
    bytes_ = arena.bytes() + 64;
  }
  size_t bytes() const { return bytes_; }

  void run() {
    const Division division = divide(z_, ostinato::threads());
    ostinato::Team team(division.threads);
    threads_ = team.size();
    by_rows_ = division.by_rows || threads_ == 1;
    Barrier barrier(threads_);
    barrier_ = &barrier;
    team.run([this](int index) { walk(index); });
  }

 private:
  // What one thread does.
  void walk(int index) {
    pack(index);
    if (!l_.return_sequences && in_.mask != nullptr && index == 0)
      std::memset(out_.y, 0, sizeof(float) * static_cast<size_t>(z_.batch * z_.units));
    meet();
    const Span rows = by_rows_ ? share(z_.batch, index, threads_) : Span{0, z_.batch};
    ActiveRows active(l_, in_.mask, rows);
    for (int64_t first = 0; first < z_.time; first += stretch_) {
      const Span steps{first, std::min(z_.time, first + stretch_)};
      project(rows, steps, index);
      if (!by_rows_) meet();
      for (int64_t step = steps.first; step < steps.last; ++step) {
        active.at(step);
        one_step(active, step, index);
        if (!by_rows_) meet();
      }
    }
    for (int64_t b = rows.first; b < rows.last; ++b) {
      if (!by_rows_ && index != 0) break;
      std::memcpy(out_.h + b * z_.units, state(b, z_.time - 1), row_bytes());
      if (z_.lstm) std::memcpy(out_.c + b * z_.units, cell(b, z_.time - 1), row_bytes());
    }
  }
  void meet() {
    if (threads_ > 1) barrier_->wait();
  }
  size_t row_bytes() const { return sizeof(float) * static_cast<size_t>(z_.units); }

  void pack(int index) {
    if (packed_kernel_ != nullptr) {
      const Span panels = share(panels_of(z_.width), index, threads_);
      for (int64_t p = panels.first; p < panels.last; ++p)
        pack_panel(in_.kernel, z_.width, 1, z_.features, z_.width, p, packed_kernel_);
    }
    if (packed_recurrent_ != nullptr) {
      const Span panels = share((z_.units + kVec - 1) / kVec, index, threads_);
      for (int64_t p = panels.first; p < panels.last; ++p)
        pack_gates(in_.recurrent, z_.width, z_.units, z_.units, 0, z_.resets_before ? 2 : z_.gates, p, packed_recurrent_);
    }
    if (packed_columns_ != nullptr) {
      const Span panels = share(panels_of(z_.units), index, threads_);
      for (int64_t p = panels.first; p < panels.last; ++p)
        pack_panel(in_.recurrent + (z_.gates - 1) * z_.units, z_.width, 1, z_.units, z_.units, p, packed_columns_);
    }
  }

  // Where things lie.
  float* gates(int64_t b, int64_t step) const {
    const int vectors = keeps_ && z_.gates > 1 ? z_.saved : z_.gates;
    return gates_ + (b * stretch_ + step % stretch_) * vectors * z_.units;
  }
  const float* state(int64_t b, int64_t step) const {
    return step < 0 ? in_.h0 + b * z_.units : const_cast<ForwardPass*>(this)->new_state(b, step);
  }
  float* new_state(int64_t b, int64_t step) {
    return states_ + (keeps_ ? b * z_.time + step : (step & 1) * z_.batch + b) * z_.units;
  }
  const float* cell(int64_t b, int64_t step) const {
    return step < 0 ? in_.c0 + b * z_.units : const_cast<ForwardPass*>(this)->new_cell(b, step);
  }
  float* new_cell(int64_t b, int64_t step) { return cells_ + (keeps_ ? b * z_.time + step : b) * z_.units; }
  float* y(int64_t b, int64_t step) const {
    return out_.y + (l_.return_sequences ? b * z_.time + step : b) * z_.units;
  }

  // x · kernel + bias of the steps' rows, into the gates.
  void project(Span rows, Span steps, int index) {
    const Span mine = by_rows_ ? Span{0, rows.count() * steps.count()} : share(rows.count() * steps.count(), index, threads_);
    const float* from[kProjectionRows];
    float* to[kProjectionRows];
    int64_t count = 0;
    const auto flush = [&] {
      multiply_rows(from, to, count, z_.features, z_.width, packed_kernel_, in_.bias, {0, panels_of(z_.width)});
      count = 0;
    };
    for (int64_t i = mine.first; i < mine.last; ++i) {
      const int64_t b = rows.first + i / steps.count(), step = steps.first + i % steps.count();
      const int64_t place = b * z_.time + (l_.go_backwards ? z_.time - 1 - step : step);
      if (in_.mask != nullptr && !in_.mask[place]) continue;
      if (in_.ids != nullptr) {
        look_up(in_.ids[place], gates(b, step));
        continue;
      }
      from[count] = in_.x + place * z_.features;
      to[count++] = gates(b, step);
      if (count == kProjectionRows) flush();
    }
    if (count > 0) flush();
  }
  void look_up(int32_t id, float* to) const {
    const float* row = in_.kernel + id * z_.width;
    for (int64_t j = 0; j < z_.width; ++j) to[j] = row[j] + (in_.bias == nullptr ? 0.0f : in_.bias[j]);
  }

  void one_step(const ActiveRows& rows, int64_t step, int index) {
    const Span panels = by_rows_ ? Span{0, (z_.units + kVec - 1) / kVec} : share((z_.units + kVec - 1) / kVec, index, threads_);
    const Span units{panels.first * kVec, std::min(z_.units, panels.last * kVec)};
    const std::vector<int64_t>& b = rows.active();
    if (z_.lstm)
      gated<4>(b, step, panels, [&](auto m) { return Lstm<decltype(m)::count>{}; });
    else if (z_.resets_after)
      gated<3>(b, step, panels, [&](auto m) { return GruAfter<decltype(m)::count>{}; });
    else if (z_.resets_before) {
      gated<2>(b, step, panels, [&](auto m) { return GruGates<decltype(m)::count>{}; });
      if (!by_rows_) meet();
      plain(b, step, index);
    } else {
      plain(b, step, index);
    }
    skip(rows.skipped(), step, by_rows_ ? units : plain_units(units, index));
  }
  // The units a thread owns when panels are plain columns; those of gated panels otherwise.
  Span plain_units(Span gated, int index) const {
    if (z_.gates > 1 && !z_.resets_before) return gated;
    const Span panels = share(panels_of(z_.units), index, threads_);
    const int64_t width = vectors_for(z_.units) * kVec;
    return {panels.first * width, std::min(z_.units, panels.last * width)};
  }

  // Masked rows: the state stays, the output repeats or is zero.
  void skip(const std::vector<int64_t>& rows, int64_t step, Span units) {
    if (units.count() <= 0) return;
    const size_t bytes = sizeof(float) * static_cast<size_t>(units.count());
    for (const int64_t b : rows) {
      std::memcpy(new_state(b, step) + units.first, state(b, step - 1) + units.first, bytes);
      if (z_.lstm && cell(b, step - 1) != cell(b, step))
        std::memcpy(new_cell(b, step) + units.first, cell(b, step - 1) + units.first, bytes);
      float* out = y(b, step) + units.first;
      if (l_.zero_output_for_mask || (l_.return_sequences && step == 0))
        std::memset(out, 0, bytes);
      else if (l_.return_sequences)
        std::memcpy(out, y(b, step - 1) + units.first, bytes);
    }
  }

  // Panels of kVec units with G gates side by side.
  template <int G, class Make>
  void gated(const std::vector<int64_t>& rows, int64_t step, Span panels, const Make& make) {
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      const int64_t unit = panel * kVec;
      const int left = static_cast<int>(std::min<int64_t>(kVec, z_.units - unit));
      const float* packed = packed_recurrent_ + panel * z_.units * G * kVec;
      for_tiles<G>(static_cast<int64_t>(rows.size()), [&](int64_t first, auto count) {
        make(count)(*this, rows.data() + first, step, unit, left, packed);
      });
    }
  }

  template <int M, int G>
  OSTINATO_INLINE void gather(const int64_t* rows, int64_t step, const float* packed, vfloat (&acc)[M][G]) const {
    const float* h[M];
    for (int m = 0; m < M; ++m) h[m] = state(rows[m], step - 1);
    accumulate<M, G>(h, z_.units, packed, acc);
  }
  OSTINATO_INLINE void put_state(int64_t b, int64_t step, int64_t unit, int left, vfloat h) {
    store_first(new_state(b, step) + unit, h, left);
    store_first(y(b, step) + unit, h, left);
  }

  template <int M>
  struct Lstm {
    OSTINATO_INLINE void operator()(ForwardPass& p, const int64_t* rows, int64_t step, int64_t unit, int left,
                                    const float* packed) const {
      const int64_t units = p.z_.units;
      vfloat acc[M][4];
      for (int m = 0; m < M; ++m)
        for (int g = 0; g < 4; ++g) acc[m][g] = load_first(p.gates(rows[m], step) + g * units + unit, left);
      p.gather<M, 4>(rows, step, packed, acc);
      for (int m = 0; m < M; ++m) {
        const vfloat i = sigmoid(acc[m][0]), f = sigmoid(acc[m][1]), g = tanh(acc[m][2]), o = sigmoid(acc[m][3]);
        const vfloat c = f * load_first(p.cell(rows[m], step - 1) + unit, left) + i * g;
        if (p.keeps_) {
          float* to = p.gates(rows[m], step) + unit;
          store_first(to, i, left);
          store_first(to + units, f, left);
          store_first(to + 2 * units, g, left);
          store_first(to + 3 * units, o, left);
        }
        store_first(p.new_cell(rows[m], step) + unit, c, left);
        p.put_state(rows[m], step, unit, left, o * tanh(c));
      }
    }
  };

  template <int M>
  struct GruAfter {
    OSTINATO_INLINE void operator()(ForwardPass& p, const int64_t* rows, int64_t step, int64_t unit, int left,
                                    const float* packed) const {
      const int64_t units = p.z_.units;
      const float* bias = p.in_.bias == nullptr ? nullptr : p.in_.bias + 3 * units + unit;
      vfloat acc[M][3];
      for (int g = 0; g < 3; ++g) {
        const vfloat start = bias == nullptr ? vfloat{} : load_first(bias + g * units, left);
        for (int m = 0; m < M; ++m) acc[m][g] = start;
      }
      p.gather<M, 3>(rows, step, packed, acc);
      for (int m = 0; m < M; ++m) {
        float* at = p.gates(rows[m], step) + unit;
        const vfloat z = sigmoid(load_first(at, left) + acc[m][0]);
        const vfloat r = sigmoid(load_first(at + units, left) + acc[m][1]);
        const vfloat candidate = tanh(load_first(at + 2 * units, left) + r * acc[m][2]);
        const vfloat h = load_first(p.state(rows[m], step - 1) + unit, left);
        if (p.keeps_) {
          store_first(at, z, left);
          store_first(at + units, r, left);
          store_first(at + 2 * units, candidate, left);
          store_first(at + 3 * units, acc[m][2], left);
        }
        p.put_state(rows[m], step, unit, left, z * h + (1.0f - z) * candidate);
      }
    }
  };

  // The update and reset gates of the GRU that resets before the product, and the reset state r ⊙ h.
  template <int M>
  struct GruGates {
    OSTINATO_INLINE void operator()(ForwardPass& p, const int64_t* rows, int64_t step, int64_t unit, int left,
                                    const float* packed) const {
      const int64_t units = p.z_.units;
      vfloat acc[M][2];
      for (int m = 0; m < M; ++m)
        for (int g = 0; g < 2; ++g) acc[m][g] = load_first(p.gates(rows[m], step) + g * units + unit, left);
      p.gather<M, 2>(rows, step, packed, acc);
      for (int m = 0; m < M; ++m) {
        float* at = p.gates(rows[m], step) + unit;
        const vfloat r = sigmoid(acc[m][1]);
        store_first(at, sigmoid(acc[m][0]), left);
        store_first(at + units, r, left);
        store_first(p.reset_ + rows[m] * units + unit, r * load_first(p.state(rows[m], step - 1) + unit, left), left);
      }
    }
  };

  // Panels of plain columns: the RNN's only product, and the candidate of the GRU that resets before it.
  void plain(const std::vector<int64_t>& rows, int64_t step, int index) {
    const Span panels = by_rows_ ? Span{0, panels_of(z_.units)} : share(panels_of(z_.units), index, threads_);
    with_vectors(z_.units, [&](auto vectors) {
      constexpr int N = decltype(vectors)::count;
      for (int64_t panel = panels.first; panel < panels.last; ++panel)
        for_tiles<N>(static_cast<int64_t>(rows.size()), [&](int64_t first, auto count) {
          plain_tile<decltype(count)::count, N>(rows.data() + first, step, panel);
        });
    });
  }
  template <int M, int N>
  OSTINATO_INLINE void plain_tile(const int64_t* rows, int64_t step, int64_t panel) {
    const int64_t units = z_.units, unit = panel * N * kVec, last = (z_.gates - 1) * units;
    const int left = static_cast<int>(std::min<int64_t>(N * kVec, units - unit));
    vfloat acc[M][N];
    const float* from[M];
    for (int m = 0; m < M; ++m) {
      from[m] = z_.resets_before ? reset_ + rows[m] * units : state(rows[m], step - 1);
      for (int n = 0; n < N; ++n)
        acc[m][n] = load_first(gates(rows[m], step) + last + unit + n * kVec, left - n * kVec);
    }
    accumulate<M, N>(from, units, packed_columns_ + panel * units * N * kVec, acc);
    for (int m = 0; m < M; ++m)
      for (int n = 0; n < N; ++n) {
        const int here = left - n * kVec;
        const int64_t at = unit + n * kVec;
        if (here <= 0) break;
        if (z_.resets_before) {
          float* gate = gates(rows[m], step) + at;
          const vfloat candidate = tanh(acc[m][n]), z = load_first(gate, here);
          const vfloat h = load_first(state(rows[m], step - 1) + at, here);
          if (keeps_) store_first(gate + 2 * units, candidate, here);
          put_state(rows[m], step, at, here, z * h + (1.0f - z) * candidate);
        } else {
          put_state(rows[m], step, at, here, activate(acc[m][n]));
        }
      }
  }
  OSTINATO_INLINE vfloat activate(vfloat x) const {
    if (l_.activation == Activation::kTanh) return tanh(x);
    if (l_.activation == Activation::kRelu) return select(x < 0.0f, vfloat{}, x);  // keeps NaN
    return x;
  }

  const Layer l_;
  const Inputs in_;
  const Outputs out_;
  const Sizes z_;
  const bool keeps_;
  int64_t stretch_ = 1;
  float *packed_kernel_ = nullptr, *packed_recurrent_ = nullptr, *packed_columns_ = nullptr, *reset_ = nullptr;
  float *gates_ = nullptr, *cells_ = nullptr, *states_ = nullptr;
  size_t bytes_ = 0;
  int threads_ = 1;
  bool by_rows_ = true;
  Barrier* barrier_ = nullptr;
};

}  // namespace OSTINATO_ISA
