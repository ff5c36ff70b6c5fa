// The large products of the backward pass: the gradients of the weights and of x.
//
// The backward pass writes the deltas of a stretch of steps; here blocks of their rows meet what the forward pass read:
// dkernel += xᵀ · delta, drecurrent += hᵀ · delta, dbias += Σ delta, dx = delta · kernelᵀ. Nothing here depends on a cell
// but by its sizes.
#pragma once

#include "sequence.h"

namespace OSTINATO_ISA {

class Products : protected Pass {
  static constexpr int64_t kDepth = 128;                 // rows of a block of the large products
  static constexpr int64_t kColumns = 4 * kVec;          // of a panel of deltas, at most
  static constexpr int64_t kLeft = 16;                   // columns that lie together on the left of these products
  static constexpr int64_t kStretchFloats = 1048576;     // deltas that are kept: 4 MB

 protected:
  Products(const Layer& layer, const Inputs& in, const Gradients& out, Arena& arena)
      : Pass(layer, in), out_(out) {
    const bool masked = in.mask != nullptr;
    const History history(const_cast<float*>(out.history), layer, masked);
    gates_ = history.gates, cells_ = history.cells;
    states_ = y_lacks_states(layer, masked) ? history.states : out.y;
    const int64_t states = z_.batch * z_.units;
    const int64_t rows = division_.groups > 0 ? (z_.batch + division_.groups - 1) / division_.groups : z_.batch;
    const int64_t kept = division_.groups > 0 ? kDepth : std::max(kDepth, kStretchFloats / (z_.deltas * z_.units));
    stretch_ = std::max<int64_t>(1, std::min<int64_t>(z_.time, kept / rows));
    deltas_ = arena.floats(states * stretch_ * z_.deltas);
    if (in.ids == nullptr) packed_kernel_ = arena.floats(packed_floats(z_.width, z_.features));
    if (z_.between) between_ = arena.floats(states * stretch_);
    for (int i = 0; i < division_.threads; ++i) {
      sums_[i] = arena.floats(kChunkRows * 4 * kVec);
      panels_[i] = arena.floats(kDepth * kColumns);
      if (kPairs) rooms_[i] = arena.floats(std::max(rows, kDepth) * places(z_.width));
      if (in.ids == nullptr) left_x_[i] = arena.floats(kDepth * up(z_.features, kLeft));
      left_h_[i] = arena.floats(kDepth * up(z_.units, kLeft));
    }
    weights_ = {out.dkernel, out.drecurrent, out.dbias};
    sizes_ = {z_.features * z_.width, z_.units * z_.width, z_.width * z_.bias_rows};
    if (division_.groups > 0) {
      partial_stride_ = up(sizes_[0], kAlign) + up(sizes_[1], kAlign) + up(sizes_[2], kAlign);
      partial_ = arena.floats(division_.groups * partial_stride_);
    }
  }

  // Whether the recurrent weights matter to no gradient: of a single step from zeros.
  bool without_recurrent() const { return start_.without_state && z_.time == 1; }

  // The gradients of the weights, or a group's part of them.
  struct Weights {
    float *kernel, *recurrent, *bias;
  };

  // A thread on its rows.
  struct Worker {
    int index;
    int of;  // threads that share the products of these rows
    Weights sums;
    Span rows;
    ActiveRows active;
    std::vector<const float*> from, factors;
    std::vector<float*> to;
  };

  // Where things lie.
  const float* state(int64_t b, int64_t step) const {
    return step < 0 ? in_.h0 + b * z_.units : states_ + (b * z_.time + step) * z_.units;
  }
  int64_t kept_row(int64_t b, int64_t step, int64_t first) const { return b * stretch_ + step - first; }
  float* deltas(int64_t b, int64_t step, int64_t first) const {
    return deltas_ + kept_row(b, step, first) * z_.deltas * z_.units;
  }
  float* between(int64_t b, int64_t step, int64_t first) const { return between_ + kept_row(b, step, first) * z_.units; }

  // The second row of the biases belongs to the recurrent product; its first two gates are those of the first row.
  void repeat_bias(const Weights& sums) const {
    if (z_.bias_rows > 1 && sums.bias != nullptr)
      std::memcpy(sums.bias + z_.width, sums.bias, sizeof(float) * static_cast<size_t>(2 * z_.units));
  }

  Weights part(int64_t group) const {
    float* at = partial_ + group * partial_stride_;
    return {at, at + up(sizes_[0], kAlign), out_.dbias == nullptr ? nullptr : at + partial_stride_ - up(sizes_[2], kAlign)};
  }
  void add_partial_sums() {
    const auto add = [&](float* to, float* Weights::*which, int64_t count) {
      if (to == nullptr) return;
      std::memcpy(to, part(0).*which, sizeof(float) * static_cast<size_t>(count));
      for (int64_t group = 1; group < division_.groups; ++group) {
        const float* from = part(group).*which;
        for (int64_t i = 0; i < count; ++i) to[i] += from[i];
      }
    };
    add(out_.dkernel, &Weights::kernel, sizes_[0]);
    add(out_.drecurrent, &Weights::recurrent, sizes_[1]);
    add(out_.dbias, &Weights::bias, sizes_[2]);
    repeat_bias(weights_);
  }
  void clear(const Weights& sums, int index, int of) const {
    const auto zero = [&](float* values, int64_t count) {
      if (values == nullptr) return;
      const Span mine = share(count, index, of);
      std::memset(values + mine.first, 0, sizeof(float) * static_cast<size_t>(mine.count()));
    };
    zero(sums.kernel, sizes_[0]);
    zero(sums.recurrent, sizes_[1]);
    zero(sums.bias, sizes_[2]);
  }

  // Rows of a stretch, for the large products.
  struct Block {
    int64_t count = 0;
    int64_t batch[kDepth], ids[kDepth];
    const float *x[kDepth], *h[kDepth], *between[kDepth], *deltas[kDepth];
    float* dx[kDepth];
  };

  // The large products over a stretch.
  void sum_up(Worker& w, Span rows, Span steps) {
    Block block;
    const auto flush = [&] {
      products(w, block);
      if (out_.dx != nullptr) input_gradient(w, block);
      block.count = 0;
    };
    for (int64_t i = rows.first; i < rows.last; ++i)
      for (int64_t step = steps.first; step < steps.last; ++step) {
        const int64_t b = order_[i], at = place(b, step), k = block.count;
        if (in_.mask != nullptr && !in_.mask[at]) continue;
        block.batch[k] = b;
        if (in_.ids != nullptr) block.ids[k] = in_.ids[at];
        block.x[k] = in_.ids == nullptr ? in_.x + at * z_.features : nullptr;
        block.dx[k] = out_.dx == nullptr ? nullptr : out_.dx + at * z_.features;
        block.h[k] = state(b, step - 1);
        block.between[k] = z_.between ? between(b, step, steps.first) : nullptr;
        block.deltas[k] = deltas(b, step, steps.first);
        if (++block.count == kDepth) flush();
      }
    if (block.count > 0) flush();
  }

  void input_gradient(Worker& w, const Block& block) {
    const int64_t panels = panels_of(z_.features);
    const bool by_panels = panels >= w.of;  // else by rows
    const Span mine = by_panels ? share(panels, w.index % w.of, w.of) : Span{0, panels};
    const Span rows = by_panels ? Span{0, block.count} : share(block.count, w.index % w.of, w.of);
    const float *from[kDepth], *delta[kDepth], *factors[kDepth];
    float* const* to = block.dx + rows.first;
    std::copy_n(block.deltas + rows.first, rows.count(), from);
    as_read(from, rows.count(), z_.width, rooms_[w.index]);
    if (in_.input_dropout == nullptr)
      return multiply({from, to, rows.count(), places(z_.width), z_.features, packed_kernel_}, sums_[w.index], mine);
    const int64_t wide = vectors_for(z_.features) * kVec;
    for (int gate = 0; gate < z_.gates; ++gate) {
      for (int64_t i = 0; i < rows.count(); ++i) {
        delta[i] = from[i] + gate * z_.units;
        factors[i] = input_mask(gate, block.batch[rows.first + i]);
      }
      for (int64_t panel = mine.first; panel < mine.last; ++panel) {
        // A panel of kernelᵀ has `width` rows, of which these are the gate's.
        const float* packed = packed_kernel_ + (panel * (z_.width - z_.units) + gate * z_.units) * wide;
        multiply({delta, to, rows.count(), z_.units, z_.features, packed, nullptr, gate > 0, factors}, sums_[w.index],
                 {panel, panel + 1});
      }
    }
  }

  void products(Worker& w, const Block& block) {
    const bool drops = in_.input_dropout != nullptr || in_.recurrent_dropout != nullptr;
    const int64_t units = z_.units;
    float* bias = w.sums.bias;
    // Which deltas meet which left-hand sides. Under dropout every gate has its own.
    const int gates = drops ? 1 : z_.alike;
    for (int gate = 0; gate < z_.gates; gate += gates) {
      const bool last = gate >= z_.alike;
      const int here = last ? 1 : gates;
      const bool own = last && z_.deltas > z_.gates;  // deltas of its own for the recurrent product
      if (gate == 0 || in_.input_dropout != nullptr) pack_left(w, block, block.x, z_.features, in_.input_dropout, gate, left_x_);
      if (last && z_.between)
        pack_left(w, block, block.between, units, nullptr, gate, left_h_);
      else if (gate == 0 || in_.recurrent_dropout != nullptr)
        pack_left(w, block, block.h, units, in_.recurrent_dropout, gate, left_h_);
      sum_columns(w, block, {gate * units, here * units, gate * units, true, !own, bias});
      if (own) sum_columns(w, block, {z_.gates * units, units, gate * units, false, true, bias == nullptr ? nullptr : bias + z_.width});
    }
  }

  // Left-hand sides, kLeft columns together: packed[columns / kLeft][k][kLeft], by places; under dropout times a gate's masks.
  void pack_left(const Worker& w, const Block& block, const float* const* rows, int64_t columns, const float* masks, int gate,
                 float* const* to) {
    if (in_.ids != nullptr && to == left_x_) return;
    const Span mine = left_blocks(w, columns);
    for (int64_t i = mine.first; i < mine.last; ++i) {
      const int64_t first = i * kLeft, count = std::min(kLeft, columns - first);
      float* packed = to[w.index] + i * kLeft * kDepth;
      for (int64_t k = 0; k < block.count; k += kNumbers, packed += kLeft) {
        const float* row = rows[k] + first;
        if (masks != nullptr) {
          const float* mask = masks + (gate * z_.batch + block.batch[k]) * columns + first;
          for (int64_t j = 0; j < count; ++j) packed[j] = row[j] * mask[j];
        } else if (kPairs) {
          const bool alone = k + 1 == block.count;
          for (int64_t j = 0; j < kLeft; j += kVec) {
            const int here = static_cast<int>(count - j);
            store(packed + j, pair(load_first(row + j, here), alone ? vfloat{} : load_first(rows[k + 1] + first + j, here)));
          }
        } else if (count == kLeft) {
          std::memcpy(packed, row, sizeof(float) * kLeft);
        } else {
          for (int64_t j = 0; j < count; ++j) packed[j] = row[j];
        }
      }
    }
  }
  // Threads share the panels of deltas, or where these are fewer the rows of the weights.
  bool by_panels(const Worker& w) const { return panels_of(z_.units) >= w.of; }
  Span left_blocks(const Worker& w, int64_t columns) const {
    const int64_t blocks = (columns + kLeft - 1) / kLeft;
    return by_panels(w) ? Span{0, blocks} : share(blocks, w.index, w.of);
  }

  // `count` columns of the deltas, from `from` on, and the column of the weights' gradients that they are added to.
  struct Columns {
    int64_t from, count, to;
    bool for_kernel, for_recurrent;
    float* bias;
  };
  void sum_columns(Worker& w, const Block& block, const Columns& c) {
    with_vectors(c.count, [&](auto vectors) {
      constexpr int N = decltype(vectors)::count;
      constexpr int64_t wide = N * kVec;
      const int64_t panels = panels_of(c.count);
      const Span mine = by_panels(w) ? share(panels, w.index % w.of, w.of) : Span{0, panels};
      const bool first_thread = by_panels(w) || w.index == 0;
      float* packed = panels_[w.index];
      for (int64_t panel = mine.first; panel < mine.last; ++panel) {
        const int64_t first = panel * wide, to = c.to + first;
        const int here = static_cast<int>(std::min<int64_t>(wide, c.count - first));
        vfloat sums[N] = {};
        const auto delta = [&](int64_t k, int n) {
          return k == block.count ? vfloat{} : load_first(block.deltas[k] + c.from + first + n * kVec, here - n * kVec);
        };
        for (int64_t k = 0; k < block.count; k += kNumbers)
          for (int n = 0; n < N; ++n) {
            const vfloat low = delta(k, n), high = kPairs ? delta(k + 1, n) : vfloat{};
            store(packed + (places(k) * N + n) * kVec, kPairs ? pair(low, high) : low);
            sums[n] += low;
            if (kPairs) sums[n] += high;
          }
        if (c.bias != nullptr && first_thread) add_row<N>(c.bias + to, sums, here);
        if (c.for_recurrent && !without_recurrent()) add_products<N>(w, left_h_, z_.units, packed, places(block.count), w.sums.recurrent + to, here);
        if (!c.for_kernel) continue;
        if (in_.ids == nullptr) {
          add_products<N>(w, left_x_, z_.features, packed, places(block.count), w.sums.kernel + to, here);
        } else if (first_thread) {
          for (int64_t k = 0; k < block.count; ++k) {
            vfloat row[N];
            for (int n = 0; n < N; ++n) row[n] = delta(k, n);
            add_row<N>(w.sums.kernel + block.ids[k] * z_.width + to, row, here);
          }
        }
      }
    });
  }
  template <int N>
  OSTINATO_INLINE void add_row(float* to, const vfloat (&row)[N], int here) const {
    for (int n = 0; n < N; ++n)
      store_first(to + n * kVec, load_first(to + n * kVec, here - n * kVec) + row[n], here - n * kVec);
  }

  // to[j][column] += Σ_k left[k][j] · packed[k][column], rows j of the weights' gradient `width` apart.
  template <int N>
  void add_products(const Worker& w, float* const* left, int64_t rows, const float* packed, int64_t depth, float* to,
                    int here) {
    const Span blocks = left_blocks(w, rows);
    for (int64_t i = blocks.first; i < blocks.last; ++i) {
      const float* from = left[w.index] + i * kLeft * kDepth;
      for_tiles<N>(std::min(kLeft, rows - i * kLeft), [&](int64_t first, auto tile) {
        add_transposed_tile<decltype(tile)::count, N>(from + first, kLeft, depth, packed,
                                                      to + (i * kLeft + first) * z_.width, z_.width, here);
      });
    }
  }

  const Gradients out_;
  Weights weights_;
  int64_t stretch_ = 1;
  const float *gates_ = nullptr, *cells_ = nullptr, *states_ = nullptr;
  float *deltas_ = nullptr, *packed_kernel_ = nullptr;
  float* between_ = nullptr;  // what gathered gates put between, of the steps of a stretch
  float *sums_[ostinato::kMostThreads] = {}, *rooms_[ostinato::kMostThreads] = {};  // rooms: for deltas as products read them

 private:
  int64_t partial_stride_ = 0;
  std::array<int64_t, 3> sizes_{};
  float* partial_ = nullptr;
  float *panels_[ostinato::kMostThreads] = {}, *left_x_[ostinato::kMostThreads] = {}, *left_h_[ostinato::kMostThreads] = {};
};

}  // namespace OSTINATO_ISA
