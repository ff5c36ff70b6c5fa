// The backward pass.
//
// Step by step from the last, the gradients of the gates' inputs (called deltas here) follow from the gradient of the
// hidden state by elementwise work on the history; delta · recurrentᵀ then gives the gradient of the state before. After
// each stretch of steps the three large products over its rows are added up: dkernel, drecurrent and dx.
#pragma once

#include "sequence.h"

namespace OSTINATO_ISA {

class BackwardPass : Pass {
 public:
  BackwardPass(const Layer& layer, const Inputs& in, const Gradients& out, void* workspace)
      : Pass(layer, in), out_(out) {
    Arena arena(workspace == nullptr ? nullptr : aligned(workspace));
    const bool masked = in.mask != nullptr;
    const History history(const_cast<float*>(out.history), layer, masked);
    gates_ = history.gates, cells_ = history.cells;
    states_ = y_lacks_states(layer, masked) ? history.states : out.y;
    const int64_t states = z_.batch * z_.units;
    const int64_t rows = division_.groups > 0 ? (z_.batch + division_.groups - 1) / division_.groups : z_.batch;
    const int64_t kept = division_.groups > 0 ? kDepth : std::max(kDepth, kStretchFloats / (z_.saved * z_.units));
    stretch_ = std::max<int64_t>(1, std::min<int64_t>(z_.time, kept / rows));
    deltas_ = arena.floats(states * stretch_ * z_.saved);
    packed_recurrent_ = arena.floats(packed_floats(z_.width, z_.units));
    if (in.ids == nullptr) packed_kernel_ = arena.floats(packed_floats(z_.width, z_.features));
    dh_ = arena.floats(states);
    dc_ = z_.lstm ? arena.floats(states) : nullptr;
    dy_ = masked ? arena.floats(states) : nullptr;
    if (z_.resets_before) reset_ = arena.floats(states * stretch_), dreset_ = arena.floats(states);
    for (int i = 0; i < division_.threads; ++i) {
      sums_[i] = arena.floats(kChunkRows * 4 * kVec);
      panels_[i] = arena.floats(kDepth * kColumns);
      if (in.ids == nullptr) left_x_[i] = arena.floats(kDepth * up(z_.features, kLeft));
      left_h_[i] = arena.floats(kDepth * up(z_.units, kLeft));
    }
    weights_ = {out.dkernel, out.drecurrent, out.dbias};
    if (division_.groups > 0) {
      sizes_ = {z_.features * z_.width, z_.units * z_.width, z_.width * (z_.resets_after ? 2 : 1)};
      partial_stride_ = up(sizes_[0], kAlign) + up(sizes_[1], kAlign) + up(sizes_[2], kAlign);
      partial_ = arena.floats(division_.groups * partial_stride_);
    }
    bytes_ = arena.bytes() + 64;
  }
  size_t bytes() const { return bytes_; }

  void run() {
    run_all([this](int index, int of) { prepare(index, of); }, [this](int index, int64_t walk) { this->walk(index, walk); });
    if (division_.groups > 0) add_partial_sums();
  }

 private:
  static constexpr int64_t kDepth = 128;                 // rows of a block of the large products
  static constexpr int64_t kColumns = 4 * kVec;          // of a panel of deltas, at most
  static constexpr int64_t kLeft = 16;                   // columns that lie together on the left of these products
  static constexpr int64_t kStretchFloats = 1048576;     // deltas that are kept: 4 MB

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

  void walk(int index, int64_t walk) {
    const Span rows = rows_of(walk);
    const bool alone = division_.groups > 0;
    Worker w{index, alone ? 1 : threads_, alone ? part(walk) : weights_, rows,
             ActiveRows(l_, in_.mask, order_.data() + rows.first, rows.count()), {}, {}, {}};
    for (auto* pointers : {&w.from, &w.factors}) pointers->resize(static_cast<size_t>(rows.count()));
    w.to.resize(static_cast<size_t>(rows.count()));
    if (alone) clear(w.sums, 0, 1);
    for (int64_t last = z_.time; last > 0; last -= std::min(last, stretch_)) {
      const int64_t first = std::max<int64_t>(0, last - stretch_);
      for (int64_t step = last - 1; step >= first; --step) {
        w.active.at(step);
        one_step(w, step, first);
      }
      if (!alone) meet();
      sum_up(w, alone ? rows : Span{0, z_.batch}, {first, last});
      if (!alone) meet();
    }
    const Span mine = alone ? rows : share(z_.batch, index, threads_);
    const size_t bytes = sizeof(float) * static_cast<size_t>(z_.units);
    for (int64_t i = mine.first; i < mine.last; ++i) {
      const int64_t at = order_[i] * z_.units;
      std::memcpy(out_.dh0 + at, dh_ + at, bytes);
      if (z_.lstm) std::memcpy(out_.dc0 + at, dc_ + at, bytes);
    }
    if (!alone && index == 0) repeat_bias(w.sums);
  }

  // The second row of the biases belongs to the recurrent product; its first two gates are those of the first row.
  void repeat_bias(const Weights& sums) const {
    if (z_.resets_after && sums.bias != nullptr)
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
    zero(sums.kernel, z_.features * z_.width);
    zero(sums.recurrent, z_.units * z_.width);
    zero(sums.bias, z_.width * (z_.resets_after ? 2 : 1));
  }

  void prepare(int index, int of) {
    const Span panels = share(panels_of(z_.units), index, of);
    for (int64_t p = panels.first; p < panels.last; ++p)
      pack_panel_transposed(in_.recurrent, z_.width, z_.width, z_.units, p, packed_recurrent_);
    if (packed_kernel_ != nullptr && out_.dx != nullptr) {
      const Span mine = share(panels_of(z_.features), index, of);
      for (int64_t p = mine.first; p < mine.last; ++p)
        pack_panel_transposed(in_.kernel, z_.width, z_.width, z_.features, p, packed_kernel_);
    }
    const Span states = share(z_.batch * z_.units, index, of);
    for (int64_t i = states.first; i < states.last; ++i) {
      dh_[i] = out_.dh == nullptr ? 0.0f : out_.dh[i];
      if (dy_ != nullptr) dy_[i] = 0.0f;
      if (z_.lstm) dc_[i] = out_.dc == nullptr ? 0.0f : out_.dc[i];
    }
    if (division_.groups == 0) clear(weights_, index, of);
    if (in_.mask == nullptr || out_.dx == nullptr) return;
    const Span mine = share(z_.batch * z_.time * z_.features, index, of);  // masked steps keep these zeros
    std::memset(out_.dx + mine.first, 0, sizeof(float) * static_cast<size_t>(mine.count()));
  }

  // Where things lie.
  const float* gates(int64_t b, int64_t step) const { return gates_ + (b * z_.time + step) * z_.saved * z_.units; }
  const float* state(int64_t b, int64_t step) const {
    return step < 0 ? in_.h0 + b * z_.units : states_ + (b * z_.time + step) * z_.units;
  }
  const float* cell(int64_t b, int64_t step) const {
    return step < 0 ? in_.c0 + b * z_.units : cells_ + (b * z_.time + step) * z_.units;
  }
  int64_t kept_row(int64_t b, int64_t step, int64_t first) const { return b * stretch_ + step - first; }
  float* deltas(int64_t b, int64_t step, int64_t first) const {
    return deltas_ + kept_row(b, step, first) * z_.saved * z_.units;
  }
  float* reset(int64_t b, int64_t step, int64_t first) const { return reset_ + kept_row(b, step, first) * z_.units; }

  void one_step(Worker& w, int64_t step, int64_t first) {
    const Span mine = panels_at_step(panels_of(z_.units), w.index);
    const int64_t wide = vectors_for(z_.units) * kVec, units = z_.units;
    const Span span{mine.first * wide, std::min(units, mine.last * wide)};
    const auto each = [&](const auto& f) {
      for (const int64_t b : w.active.active())
        for (int64_t unit = span.first; unit < span.last; unit += kVec)
          f(b, unit, static_cast<int>(std::min<int64_t>(kVec, span.last - unit)));
    };
    for (const int64_t b : w.active.skipped()) hand_back(b, step, span);
    each([&](int64_t b, int64_t unit, int left) { elementwise(b, step, unit, left, deltas(b, step, first) + unit, first); });
    meet_if_by_units();
    if (z_.resets_before) {
      through_recurrent(w, step, first, mine, {2, 2, 1, nullptr, dreset_, false});
      each([&](int64_t b, int64_t unit, int left) { through_reset(b, step, unit, left, first); });
      meet_if_by_units();
      through_gates(w, step, first, mine, 2, true);
    } else if (z_.resets_after) {
      through_gates(w, step, first, mine, 2, true);
      through_recurrent(w, step, first, mine, {3, 2, 1, in_.recurrent_dropout, dh_, true});
    } else {
      through_gates(w, step, first, mine, z_.gates, false);
    }
  }

  // The gradient that a step's output has, from the caller and from masked steps that repeat it.
  OSTINATO_INLINE vfloat output_gradient(int64_t b, int64_t step, int64_t unit, int left) const {
    vfloat given = {};
    if (l_.return_sequences)
      given = load_first(out_.dy + (b * z_.time + step) * z_.units + unit, left);
    else if (step == z_.time - 1)
      given = load_first(out_.dy + b * z_.units + unit, left);
    if (dy_ == nullptr) return given;
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

  OSTINATO_INLINE void elementwise(int64_t b, int64_t step, int64_t unit, int left, float* to, int64_t first) {
    const int64_t units = z_.units;
    float* dh_at = dh_ + b * units + unit;
    const vfloat dh = load_first(dh_at, left) + output_gradient(b, step, unit, left);
    if (z_.gates == 1) {
      const vfloat h = load_first(state(b, step) + unit, left);
      store_first(to, dh * slope(h), left);
      return;
    }
    const float* from = gates(b, step) + unit;
    // What the next step reads lies a row before: beyond what the processor sees coming.
    for (int vector = 0; vector < z_.saved; ++vector) __builtin_prefetch(from + (vector - z_.saved) * units);
    __builtin_prefetch(out_.dy + (b * z_.time + step - 1) * units + unit);
    __builtin_prefetch((z_.lstm ? cells_ : states_) + (b * z_.time + step - 2) * units + unit);
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
      store_first(reset(b, step, first) + unit, r * dropped_state(b, step, unit, left), left);
    }
  }
  OSTINATO_INLINE vfloat slope(vfloat h) const {
    if (l_.activation == Activation::kTanh) return 1.0f - h * h;
    if (l_.activation == Activation::kRelu) return select(h > 0.0f, broadcast(1.0f), vfloat{});
    return broadcast(1.0f);
  }
  // GRU, reset before the product: the state that the reset gate acts on, and from the gradient of r ⊙ h to those of r
  // and of h.
  OSTINATO_INLINE vfloat dropped_state(int64_t b, int64_t step, int64_t unit, int left) const {
    const vfloat h = load_first(state(b, step - 1) + unit, left);
    return in_.recurrent_dropout == nullptr ? h : h * load_first(recurrent_mask(2, b) + unit, left);
  }
  OSTINATO_INLINE void through_reset(int64_t b, int64_t step, int64_t unit, int left, int64_t first) {
    const int64_t units = z_.units;
    vfloat given = load_first(dreset_ + b * units + unit, left);
    const vfloat r = load_first(gates(b, step) + units + unit, left);
    float* dh_at = dh_ + b * units + unit;
    store_first(deltas(b, step, first) + units + unit, given * dropped_state(b, step, unit, left) * r * (1.0f - r), left);
    if (in_.recurrent_dropout != nullptr) given *= load_first(recurrent_mask(2, b) + unit, left);
    store_first(dh_at, load_first(dh_at, left) + given * r, left);
  }

  // A product deltas · recurrentᵀ: over the `gates` deltas from `delta` on, and the columns of recurrent from gate `gate` on.
  struct Through {
    int delta, gate, gates;
    const float* masks;  // dropout of the states, or null
    float* out;
    bool onto;
  };
  void through_recurrent(Worker& w, int64_t step, int64_t first, Span panels, const Through& p) {
    const std::vector<int64_t>& rows = w.active.active();
    const int64_t count = static_cast<int64_t>(rows.size()), units = z_.units;
    for (int64_t i = 0; i < count; ++i) {
      w.from[i] = deltas(rows[i], step, first) + p.delta * units;
      w.to[i] = p.out + rows[i] * units;
      if (p.masks != nullptr) w.factors[i] = recurrent_mask(p.gate, rows[i]);
    }
    const int64_t wide = vectors_for(units) * kVec;
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      // A panel of recurrentᵀ has `width` rows, of which these gates' are a part.
      const float* packed = packed_recurrent_ + (panel * (z_.width - p.gates * units) + p.gate * units) * wide;
      multiply({w.from.data(), w.to.data(), count, p.gates * units, units, packed, nullptr, p.onto,
                p.masks == nullptr ? nullptr : w.factors.data(), streams()},
               sums_[w.index], {panel, panel + 1});
    }
  }
  // The same for the first gates, whose deltas lie as their columns do: at once or, under dropout, gate by gate.
  void through_gates(Worker& w, int64_t step, int64_t first, Span panels, int gates, bool onto) {
    if (in_.recurrent_dropout == nullptr) return through_recurrent(w, step, first, panels, {0, 0, gates, nullptr, dh_, onto});
    for (int gate = 0; gate < gates; ++gate)
      through_recurrent(w, step, first, panels, {gate, gate, 1, in_.recurrent_dropout, dh_, onto || gate > 0});
  }

  // Rows of a stretch, for the large products.
  struct Block {
    int64_t count = 0;
    int64_t batch[kDepth], ids[kDepth];
    const float *x[kDepth], *h[kDepth], *reset[kDepth], *deltas[kDepth];
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
        block.reset[k] = z_.resets_before ? reset(b, step, steps.first) : nullptr;
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
    const float* const* from = block.deltas + rows.first;
    float* const* to = block.dx + rows.first;
    if (in_.input_dropout == nullptr)
      return multiply({from, to, rows.count(), z_.width, z_.features, packed_kernel_}, sums_[w.index], mine);
    const float *delta[kDepth], *factors[kDepth];
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
    const int gates = drops ? 1 : z_.gates > 1 && !z_.lstm ? 2 : z_.gates;
    for (int gate = 0; gate < z_.gates; gate += gates) {
      const bool candidate = !z_.lstm && gate == 2;
      const int here = candidate ? 1 : gates;
      const bool own = candidate && z_.resets_after;  // deltas of its own for the recurrent product
      if (gate == 0 || in_.input_dropout != nullptr) pack_left(w, block, block.x, z_.features, in_.input_dropout, gate, left_x_);
      if (candidate && z_.resets_before)
        pack_left(w, block, block.reset, units, nullptr, gate, left_h_);
      else if (gate == 0 || in_.recurrent_dropout != nullptr)
        pack_left(w, block, block.h, units, in_.recurrent_dropout, gate, left_h_);
      sum_columns(w, block, {gate * units, here * units, gate * units, true, !own, bias});
      if (own) sum_columns(w, block, {3 * units, units, 2 * units, false, true, bias == nullptr ? nullptr : bias + z_.width});
    }
  }

  // Left-hand sides, kLeft columns together: packed[columns / kLeft][k][kLeft]; under dropout times a gate's masks.
  void pack_left(const Worker& w, const Block& block, const float* const* rows, int64_t columns, const float* masks, int gate,
                 float* const* to) {
    if (in_.ids != nullptr && to == left_x_) return;
    const Span mine = left_blocks(w, columns);
    for (int64_t i = mine.first; i < mine.last; ++i) {
      const int64_t first = i * kLeft, count = std::min(kLeft, columns - first);
      float* packed = to[w.index] + i * kLeft * kDepth;
      for (int64_t k = 0; k < block.count; ++k, packed += kLeft) {
        const float* row = rows[k] + first;
        if (masks != nullptr) {
          const float* mask = masks + (gate * z_.batch + block.batch[k]) * columns + first;
          for (int64_t j = 0; j < count; ++j) packed[j] = row[j] * mask[j];
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
        for (int64_t k = 0; k < block.count; ++k)
          for (int n = 0; n < N; ++n) {
            const vfloat v = load_first(block.deltas[k] + c.from + first + n * kVec, here - n * kVec);
            store(packed + (k * N + n) * kVec, v);
            sums[n] += v;
          }
        if (c.bias != nullptr && first_thread) add_row<N>(c.bias + to, sums, here);
        if (c.for_recurrent) add_products<N>(w, left_h_, z_.units, packed, block.count, w.sums.recurrent + to, here);
        if (!c.for_kernel) continue;
        if (in_.ids == nullptr) {
          add_products<N>(w, left_x_, z_.features, packed, block.count, w.sums.kernel + to, here);
        } else if (first_thread) {
          for (int64_t k = 0; k < block.count; ++k) {
            vfloat row[N];
            for (int n = 0; n < N; ++n) row[n] = load(packed + (k * N + n) * kVec);
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
  int64_t stretch_ = 1, partial_stride_ = 0;
  std::array<int64_t, 3> sizes_{};
  const float *gates_ = nullptr, *cells_ = nullptr, *states_ = nullptr;
  float *deltas_ = nullptr, *packed_recurrent_ = nullptr, *packed_kernel_ = nullptr, *partial_ = nullptr;
  float *dh_ = nullptr, *dc_ = nullptr, *dreset_ = nullptr, *reset_ = nullptr;
  float* dy_ = nullptr;  // with a mask: what masked steps hand back to the output they repeat
  float *sums_[ostinato::kMostThreads] = {}, *panels_[ostinato::kMostThreads] = {};
  float *left_x_[ostinato::kMostThreads] = {}, *left_h_[ostinato::kMostThreads] = {};
  size_t bytes_ = 0;
};

}  // namespace OSTINATO_ISA
