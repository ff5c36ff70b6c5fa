// The backward pass.
//
// Step by step from the last, the gradients of the gates' inputs (called deltas here) follow from the gradient of the
// hidden state by elementwise work on the history; delta · recurrentᵀ then gives the gradient of the state before. After
// each stretch of steps the three large products over its rows are added up: dkernel, drecurrent and dx.
#pragma once

#include "sequence.h"

namespace OSTINATO_ISA {

class BackwardPass {
 public:
  BackwardPass(const Layer& layer, const Inputs& in, const Gradients& out, void* workspace)
      : l_(layer), in_(in), out_(out), z_(layer) {
    Arena arena(workspace == nullptr ? nullptr : aligned(workspace));
    const History history(const_cast<float*>(out.history), z_);
    gates_ = history.gates, cells_ = history.cells, states_ = history.states;
    const int64_t rows = z_.batch * z_.units;
    stretch_ = std::max<int64_t>(1, std::min<int64_t>(z_.time, up(2048, z_.batch) / z_.batch));
    deltas_ = arena.floats(rows * stretch_ * z_.saved);
    packed_recurrent_ = arena.floats(packed_floats(z_.width, z_.units));
    if (in.ids == nullptr) packed_kernel_ = arena.floats(packed_floats(z_.width, z_.features));
    dh_ = arena.floats(rows);
    dc_ = z_.lstm ? arena.floats(rows) : nullptr;
    dy_ = arena.floats(rows);  // what masked steps hand back to the output they repeat
    if (z_.resets_before) reset_ = arena.floats(rows * stretch_), dreset_ = arena.floats(rows);
    const int64_t most = 64;  // threads
    for (int64_t i = 0; i < most; ++i) {
      float* piece = arena.floats(kDepth * 4 * kVec);
      if (i == 0) panels_ = piece;
    }
    panel_stride_ = up(kDepth * 4 * kVec, kAlign);
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
  static constexpr int64_t kDepth = 256;  // rows of a block of the large products: 64 KB of deltas, in L2

  void walk(int index) {
    prepare(index);
    meet();
    const Span rows = by_rows_ ? share(z_.batch, index, threads_) : Span{0, z_.batch};
    ActiveRows active(l_, in_.mask, rows);
    for (int64_t last = z_.time; last > 0; last -= std::min(last, stretch_)) {
      const int64_t first = std::max<int64_t>(0, last - stretch_);
      first_ = first;  // the same value from every thread
      for (int64_t step = last - 1; step >= first; --step) {
        active.at(step);
        one_step(active, step, index);
      }
      meet();
      sum_up({first, last}, index);
      meet();
    }
    finish(index);
  }
  void meet() {
    if (threads_ > 1) barrier_->wait();
  }
  void meet_if_by_units() {
    if (!by_rows_) meet();
  }

  void prepare(int index) {
    const Span panels = share(panels_of(z_.units), index, threads_);
    for (int64_t p = panels.first; p < panels.last; ++p)
      pack_panel_transposed(in_.recurrent, z_.width, z_.width, z_.units, p, packed_recurrent_);
    if (packed_kernel_ != nullptr && out_.dx != nullptr) {
      const Span mine = share(panels_of(z_.features), index, threads_);
      for (int64_t p = mine.first; p < mine.last; ++p)
        pack_panel_transposed(in_.kernel, z_.width, z_.width, z_.features, p, packed_kernel_);
    }
    const Span rows = share(z_.batch * z_.units, index, threads_);
    for (int64_t i = rows.first; i < rows.last; ++i) {
      dh_[i] = out_.dh == nullptr ? 0.0f : out_.dh[i];
      dy_[i] = 0.0f;
      if (z_.lstm) dc_[i] = out_.dc == nullptr ? 0.0f : out_.dc[i];
    }
    const auto clear = [&](float* values, int64_t count) {
      if (values == nullptr) return;
      const Span mine = share(count, index, threads_);
      std::memset(values + mine.first, 0, sizeof(float) * static_cast<size_t>(mine.count()));
    };
    clear(out_.dkernel, z_.features * z_.width);
    clear(out_.drecurrent, z_.units * z_.width);
    clear(out_.dbias, z_.width * (z_.resets_after ? 2 : 1));
    if (in_.mask != nullptr) clear(out_.dx, z_.batch * z_.time * z_.features);
  }

  void finish(int index) {
    if (z_.resets_after && out_.dbias != nullptr && index == 0)
      std::memcpy(out_.dbias + z_.width, out_.dbias, 2 * row_bytes());
    const Span mine = share(z_.batch * z_.units, index, threads_);
    const size_t bytes = sizeof(float) * static_cast<size_t>(mine.count());
    std::memcpy(out_.dh0 + mine.first, dh_ + mine.first, bytes);
    if (z_.lstm) std::memcpy(out_.dc0 + mine.first, dc_ + mine.first, bytes);
  }

  size_t row_bytes() const { return sizeof(float) * static_cast<size_t>(z_.units); }

  // Where things lie.
  const float* gates(int64_t b, int64_t step) const { return gates_ + (b * z_.time + step) * z_.saved * z_.units; }
  const float* state(int64_t b, int64_t step) const {
    return step < 0 ? in_.h0 + b * z_.units : states_ + (b * z_.time + step) * z_.units;
  }
  const float* cell(int64_t b, int64_t step) const {
    return step < 0 ? in_.c0 + b * z_.units : cells_ + (b * z_.time + step) * z_.units;
  }
  float* deltas(int64_t b, int64_t step) const {
    return deltas_ + (b * stretch_ + step - first_) * z_.saved * z_.units;
  }
  float* reset(int64_t b, int64_t step) const { return reset_ + (b * stretch_ + step - first_) * z_.units; }
  int64_t place(int64_t b, int64_t step) const {
    return b * z_.time + (l_.go_backwards ? z_.time - 1 - step : step);
  }

  // The units whose elementwise work and whose panels of recurrentᵀ a thread does.
  Span panels(int index) const {
    return by_rows_ ? Span{0, panels_of(z_.units)} : share(panels_of(z_.units), index, threads_);
  }

  void one_step(const ActiveRows& rows, int64_t step, int index) {
    const Span mine = panels(index);
    const int64_t wide = vectors_for(z_.units) * kVec;
    const Span units{mine.first * wide, std::min(z_.units, mine.last * wide)};
    for (const int64_t b : rows.skipped()) hand_back(b, step, units);
    for (const int64_t b : rows.active())
      for (int64_t unit = units.first; unit < units.last; unit += kVec)
        elementwise(b, step, unit, static_cast<int>(std::min<int64_t>(kVec, units.last - unit)));
    meet_if_by_units();
    if (z_.resets_before) {
      through_recurrent(rows.active(), step, mine, 2 * z_.units, z_.units, dreset_, false);
      for (const int64_t b : rows.active())
        for (int64_t unit = units.first; unit < units.last; unit += kVec)
          through_reset(b, step, unit, static_cast<int>(std::min<int64_t>(kVec, units.last - unit)));
      meet_if_by_units();
      through_recurrent(rows.active(), step, mine, 0, 2 * z_.units, dh_, true);
    } else if (z_.resets_after) {
      through_recurrent(rows.active(), step, mine, 0, 2 * z_.units, dh_, true);
      through_recurrent(rows.active(), step, mine, 3 * z_.units, z_.units, dh_, true, 2 * z_.units);
    } else {
      through_recurrent(rows.active(), step, mine, 0, z_.width, dh_, false);
    }
  }

  // The gradient that a step's output has, from the caller and from masked steps that repeat it.
  OSTINATO_INLINE vfloat output_gradient(int64_t b, int64_t step, int64_t unit, int left) const {
    vfloat given = {};
    if (l_.return_sequences)
      given = load_first(out_.dy + (b * z_.time + step) * z_.units + unit, left);
    else if (step == z_.time - 1)
      given = load_first(out_.dy + b * z_.units + unit, left);
    if (in_.mask == nullptr) return given;
    float* handed = dy_ + b * z_.units + unit;
    given += load_first(handed, left);
    store_first(handed, vfloat{}, left);
    return given;
  }
  void hand_back(int64_t b, int64_t step, Span units) {
    for (int64_t unit = units.first; unit < units.last; unit += kVec) {
      const int left = static_cast<int>(std::min<int64_t>(kVec, units.last - unit));
      const vfloat given = output_gradient(b, step, unit, left);
      if (!l_.zero_output_for_mask) store_first(dy_ + b * z_.units + unit, given, left);
    }
  }

  OSTINATO_INLINE void elementwise(int64_t b, int64_t step, int64_t unit, int left) {
    const int64_t units = z_.units;
    float* dh_at = dh_ + b * units + unit;
    float* to = deltas(b, step) + unit;
    const vfloat dh = load_first(dh_at, left) + output_gradient(b, step, unit, left);
    if (z_.gates == 1) {
      const vfloat h = load_first(state(b, step) + unit, left);
      store_first(to, dh * slope(h), left);
      return;
    }
    const float* from = gates(b, step) + unit;
    if (z_.lstm) {
      const vfloat i = load_first(from, left), f = load_first(from + units, left);
      const vfloat g = load_first(from + 2 * units, left), o = load_first(from + 3 * units, left);
      const vfloat c = tanh(load_first(cell(b, step) + unit, left));
      float* dc_at = dc_ + b * units + unit;
      const vfloat dc = load_first(dc_at, left) + dh * o * (1.0f - c * c);
      store_first(to, dc * g * i * (1.0f - i), left);
      store_first(to + units, dc * load_first(cell(b, step - 1) + unit, left) * f * (1.0f - f), left);
      store_first(to + 2 * units, dc * i * (1.0f - g * g), left);
      store_first(to + 3 * units, dh * c * o * (1.0f - o), left);
      store_first(dc_at, dc * f, left);
      return;
    }
    const vfloat z = load_first(from, left), r = load_first(from + units, left);
    const vfloat candidate = load_first(from + 2 * units, left);
    const vfloat h = load_first(state(b, step - 1) + unit, left);
    const vfloat dcandidate = dh * (1.0f - z) * (1.0f - candidate * candidate);
    store_first(to, dh * (h - candidate) * z * (1.0f - z), left);
    store_first(to + 2 * units, dcandidate, left);
    store_first(dh_at, dh * z, left);
    if (z_.resets_after) {
      store_first(to + units, dcandidate * load_first(from + 3 * units, left) * r * (1.0f - r), left);
      store_first(to + 3 * units, dcandidate * r, left);
    } else {
      store_first(reset(b, step) + unit, r * h, left);
    }
  }
  OSTINATO_INLINE vfloat slope(vfloat h) const {
    if (l_.activation == Activation::kTanh) return 1.0f - h * h;
    if (l_.activation == Activation::kRelu) return select(h > 0.0f, broadcast(1.0f), vfloat{});
    return broadcast(1.0f);
  }
  // GRU, reset before the product: from the gradient of r ⊙ h to those of r and of h.
  OSTINATO_INLINE void through_reset(int64_t b, int64_t step, int64_t unit, int left) {
    const int64_t units = z_.units;
    const vfloat given = load_first(dreset_ + b * units + unit, left);
    const vfloat r = load_first(gates(b, step) + units + unit, left);
    const vfloat h = load_first(state(b, step - 1) + unit, left);
    float* dh_at = dh_ + b * units + unit;
    store_first(deltas(b, step) + units + unit, given * h * r * (1.0f - r), left);
    store_first(dh_at, load_first(dh_at, left) + given * r, left);
  }

  // out += (or =) deltas[offset, offset + depth) · recurrentᵀ for the thread's panels; `row` is where these gates begin in
  // recurrentᵀ, the same place unless the deltas have a vector of their own for the recurrent product.
  void through_recurrent(const std::vector<int64_t>& rows, int64_t step, Span panels, int64_t offset, int64_t depth,
                         float* out, bool onto, int64_t row = -1) {
    if (row < 0) row = offset;
    with_vectors(z_.units, [&](auto vectors) {
      constexpr int N = decltype(vectors)::count;
      for (int64_t panel = panels.first; panel < panels.last; ++panel) {
        const int64_t unit = panel * N * kVec;
        const int left = static_cast<int>(std::min<int64_t>(N * kVec, z_.units - unit));
        const float* packed = packed_recurrent_ + (panel * z_.width + row) * N * kVec;
        for_tiles<N>(static_cast<int64_t>(rows.size()), [&](int64_t first, auto count) {
          constexpr int M = decltype(count)::count;
          const float* from[M];
          vfloat acc[M][N];
          for (int m = 0; m < M; ++m) {
            const int64_t b = rows[first + m];
            from[m] = deltas(b, step) + offset;
            for (int n = 0; n < N; ++n)
              acc[m][n] = onto ? load_first(out + b * z_.units + unit + n * kVec, left - n * kVec) : vfloat{};
          }
          accumulate<M, N>(from, depth, packed, acc);
          for (int m = 0; m < M; ++m)
            for (int n = 0; n < N; ++n)
              store_first(out + rows[first + m] * z_.units + unit + n * kVec, acc[m][n], left - n * kVec);
        });
      }
    });
  }

  // The large products over a stretch. Rows are taken in blocks; for each, a panel of deltas is packed once and passed
  // over all tiles of x and h, whose sums stay in registers over the block.
  void sum_up(Span steps, int index) {
    const float *x[kDepth], *h[kDepth], *r[kDepth], *d[kDepth];
    float* dx[kDepth];
    int64_t ids[kDepth];
    int64_t count = 0;
    const auto flush = [&] {
      products(x, ids, h, r, d, count, index);
      if (out_.dx != nullptr) {
        const Span mine = share(count, index, threads_);
        multiply_rows(d + mine.first, dx + mine.first, mine.count(), z_.width, z_.features, packed_kernel_, nullptr,
                      {0, panels_of(z_.features)});
      }
      count = 0;
    };
    for (int64_t b = 0; b < z_.batch; ++b)
      for (int64_t step = steps.first; step < steps.last; ++step) {
        const int64_t at = place(b, step);
        if (in_.mask != nullptr && !in_.mask[at]) continue;
        if (in_.ids != nullptr) ids[count] = in_.ids[at];
        x[count] = in_.ids == nullptr ? in_.x + at * z_.features : nullptr;
        dx[count] = out_.dx == nullptr ? nullptr : out_.dx + at * z_.features;
        h[count] = state(b, step - 1);
        r[count] = z_.resets_before ? reset(b, step) : nullptr;
        d[count++] = deltas(b, step);
        if (count == kDepth) flush();
      }
    if (count > 0) flush();
  }

  void products(const float* const* x, const int64_t* ids, const float* const* h, const float* const* r,
                const float* const* d, int64_t count, int index) {
    const Block block{x, ids, d, count, index};
    const int64_t units = z_.units;
    float* bias = out_.dbias;
    if (z_.resets_after) {
      sum_columns(block, 0, 2 * units, 0, true, h, bias);
      sum_columns(block, 2 * units, units, 2 * units, true, nullptr, bias);
      // The second row of the biases belongs to the recurrent product; its first two gates are those of the first row.
      sum_columns(block, 3 * units, units, 2 * units, false, h, bias == nullptr ? nullptr : bias + z_.width);
    } else if (z_.resets_before) {
      sum_columns(block, 0, 2 * units, 0, true, h, bias);
      sum_columns(block, 2 * units, units, 2 * units, true, r, bias);
    } else {
      sum_columns(block, 0, z_.width, 0, true, h, bias);
    }
  }

  struct Block {
    const float* const* x;
    const int64_t* ids;
    const float* const* deltas;
    int64_t count;
    int index;
  };

  // Adds what `columns` of the deltas, from `from` on, contribute to the weights' gradients at column `to`: for the
  // kernel if asked, and for the recurrent kernel where its left-hand side is given. Threads share the panels or, where
  // these are fewer, the rows of the weights.
  void sum_columns(const Block& block, int64_t from, int64_t columns, int64_t to, bool for_kernel,
                   const float* const* left, float* dbias) {
    with_vectors(columns, [&](auto vectors) {
      constexpr int N = decltype(vectors)::count;
      constexpr int64_t wide = N * kVec;
      const int64_t panels = panels_of(columns);
      const bool by_panels = panels >= threads_;
      const Span mine = by_panels ? share(panels, block.index, threads_) : Span{0, panels};
      const auto rows = [&](int64_t all) { return by_panels ? Span{0, all} : share(all, block.index, threads_); };
      const bool first_thread = by_panels || block.index == 0;
      float* packed = panels_ + block.index * panel_stride_;
      for (int64_t panel = mine.first; panel < mine.last; ++panel) {
        const int64_t first = panel * wide;
        const int here = static_cast<int>(std::min<int64_t>(wide, columns - first));
        vfloat sums[N] = {};
        for (int64_t k = 0; k < block.count; ++k)
          for (int n = 0; n < N; ++n) {
            const vfloat v = load_first(block.deltas[k] + from + first + n * kVec, here - n * kVec);
            store(packed + (k * N + n) * kVec, v);
            sums[n] += v;
          }
        if (dbias != nullptr && first_thread)
          for (int n = 0; n < N; ++n) {
            float* at = dbias + to + first + n * kVec;
            store_first(at, load_first(at, here - n * kVec) + sums[n], here - n * kVec);
          }
        if (left != nullptr)
          add_products<N>(left, rows(z_.units), packed, block.count, out_.drecurrent + to + first, here);
        if (!for_kernel) continue;
        if (in_.ids == nullptr)
          add_products<N>(block.x, rows(z_.features), packed, block.count, out_.dkernel + to + first, here);
        else if (first_thread)
          for (int64_t k = 0; k < block.count; ++k) {
            float* row = out_.dkernel + block.ids[k] * z_.width + to + first;
            for (int n = 0; n < N; ++n)
              store_first(row + n * kVec,
                          load_first(row + n * kVec, here - n * kVec) + load(packed + (k * N + n) * kVec),
                          here - n * kVec);
          }
      }
    });
  }

  // to[j][column] += Σ_k left[k][j] · packed[k][column], rows j of the weights' gradient `width` apart.
  template <int N>
  void add_products(const float* const* left, Span rows, const float* packed, int64_t depth, float* to, int here) {
    for_tiles<N>(rows.count(), [&](int64_t tile_first, auto tile) {
      constexpr int M = decltype(tile)::count;
      const int64_t first = rows.first + tile_first;
      vfloat acc[M][N] = {};
      accumulate_transposed<M, N>(left, first, depth, packed, acc);
      for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) {
          if (here - n * kVec <= 0) break;
          float* at = to + (first + m) * z_.width + n * kVec;
          store_first(at, load_first(at, here - n * kVec) + acc[m][n], here - n * kVec);
        }
    });
  }

  const Layer l_;
  const Inputs in_;
  const Gradients out_;
  const Sizes z_;
  int64_t stretch_ = 1, panel_stride_ = 0;
  std::atomic<int64_t> first_{0};
  const float *gates_ = nullptr, *cells_ = nullptr, *states_ = nullptr;
  float *deltas_ = nullptr, *packed_recurrent_ = nullptr, *packed_kernel_ = nullptr, *panels_ = nullptr;
  float *dh_ = nullptr, *dc_ = nullptr, *dy_ = nullptr, *reset_ = nullptr, *dreset_ = nullptr;
  size_t bytes_ = 0;
  int threads_ = 1;
  bool by_rows_ = true;
  Barrier* barrier_ = nullptr;
};

}  // namespace OSTINATO_ISA
