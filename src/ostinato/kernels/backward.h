// The backward pass.
//
// Step by step from the last, the gradients of the gates' inputs (called deltas here) follow from the gradient of the
// hidden state by elementwise work on the history; delta · recurrentᵀ then gives the gradient of the state before. After
// each stretch of steps the three large products over its rows are added up: dkernel, drecurrent and dx.
#pragma once

#include "products.h"

namespace OSTINATO_ISA {

template <class Cell>
class BackwardPass : Products {
  static constexpr bool kHasC = Cell::states > 1;
  static constexpr bool kBetween = Cell::separate && Cell::gathered > 0;

 public:
  BackwardPass(const Layer& layer, const Inputs& in, const Gradients& out, void* workspace)
      : BackwardPass(layer, in, out, Arena(workspace == nullptr ? nullptr : aligned(workspace))) {}
  size_t bytes() const { return bytes_; }

  void run() {
    run_all(packed_weights(), [this](int index, int of) { prepare(index, of); }, [this](int index, int64_t walk) { this->walk(index, walk); });
    if (division_.groups > 0) add_partial_sums();
  }

 private:
  BackwardPass(const Layer& layer, const Inputs& in, const Gradients& out, Arena arena) : Products(layer, in, out, arena) {
    const int64_t states = z_.batch * z_.units;
    if (!without_recurrent()) packed_recurrent_ = arena.floats(packed_floats(z_.width, z_.units));
    dh_ = arena.floats(states);
    if (kHasC) dc_ = arena.floats(states);
    if (in.mask != nullptr) dy_ = arena.floats(states);
    if (kBetween) dbetween_ = arena.floats(states);
    bytes_ = arena.bytes() + 64;
  }

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
      if (!alone) {
        meet(division_.step);
        w.of = threads_;
      }
      sum_up(w, alone ? rows : Span{0, z_.batch}, {first, last});
      const int64_t steps = last - first;  // the products of two weights, and of x
      if (!alone) meet(2 * input_flops(steps) + division_.step * static_cast<double>(steps));
    }
    const Span mine = alone ? rows : share(z_.batch, index, threads_);
    const size_t bytes = sizeof(float) * static_cast<size_t>(z_.units);
    for (int64_t i = mine.first; i < mine.last; ++i) {
      const int64_t at = order_[i] * z_.units;
      if (start_.without_state) continue;
      std::memcpy(out_.dh0 + at, dh_ + at, bytes);
      if (kHasC) std::memcpy(out_.dc0 + at, dc_ + at, bytes);
    }
    if (!alone && index == 0) repeat_bias(w.sums);
  }

  void prepare(int index, int of) {
    const Span panels = share(packed_recurrent_ == nullptr ? 0 : panels_of(z_.units), index, of);
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
      if (kHasC) dc_[i] = out_.dc == nullptr ? 0.0f : out_.dc[i];
    }
    if (division_.groups == 0) clear(weights_, index, of);
    if (in_.mask == nullptr || out_.dx == nullptr) return;
    const Span mine = share(z_.batch * z_.time * z_.features, index, of);  // masked steps keep these zeros
    std::memset(out_.dx + mine.first, 0, sizeof(float) * static_cast<size_t>(mine.count()));
  }

  // Where things lie.
  const float* gates(int64_t b, int64_t step) const { return gates_ + (b * z_.time + step) * Cell::kept * z_.units; }
  const float* cell(int64_t b, int64_t step) const {
    return step < 0 ? in_.c0 + b * z_.units : cells_ + (b * z_.time + step) * z_.units;
  }
  void one_step(Worker& w, int64_t step, int64_t first) {
    const int64_t wide = vectors_for(z_.units) * kVec, units = z_.units;
    const auto mine = [&] { return panels_at_step(panels_of(units), w.index); };  // another share after each meeting
    const auto its_units = [&] { return Span{mine().first * wide, std::min(units, mine().last * wide)}; };
    const auto each = [&](const auto& f) {
      const Span span = its_units();
      for (const int64_t b : w.active.active())
        for (int64_t unit = span.first; unit < span.last; unit += kVec)
          f(b, unit, static_cast<int>(std::min<int64_t>(kVec, span.last - unit)));
    };
    for (const int64_t b : w.active.skipped()) hand_back(b, step, its_units());
    each([&](int64_t b, int64_t unit, int left) { elementwise({*this, b, step, first, unit, left}); });
    meet_if_by_units();
    constexpr int last = Cell::gates - 1;
    if constexpr (kBetween) {
      through_recurrent(w, step, first, mine(), {last, last, 1, nullptr, dbetween_, false});
      each([&](int64_t b, int64_t unit, int left) {
        Cell::backward_between(Lane{*this, b, step, first, unit, left}, load_first(dbetween_ + b * units + unit, left));
      });
      meet_if_by_units();
    }
    through_gates(w, step, first, mine(), Cell::alike, Cell::direct);
    if constexpr (Cell::deltas > Cell::gates)
      through_recurrent(w, step, first, mine(), {Cell::gates, last, 1, in_.recurrent_dropout, dh_, true});
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

  // kVec units of a row at a step, as a cell sees them.
  struct Lane {
    BackwardPass& pass;
    const int64_t b, step, first;  // the stretch begins at step `first`
    const int64_t unit;
    const int left;  // units that there are

    OSTINATO_INLINE const Layer& layer() const { return pass.l_; }
    OSTINATO_INLINE vfloat kept(int vector) const {
      return load_first(pass.gates(b, step) + unit + vector * pass.z_.units, left);
    }
    OSTINATO_INLINE vfloat h() const { return load_first(pass.state(b, step) + unit, left); }
    OSTINATO_INLINE vfloat c() const { return load_first(pass.cell(b, step) + unit, left); }
    OSTINATO_INLINE vfloat h_before() const { return load_first(pass.state(b, step - 1) + unit, left); }
    OSTINATO_INLINE vfloat c_before() const { return load_first(pass.cell(b, step - 1) + unit, left); }
    OSTINATO_INLINE vfloat times_dropout(int gate, vfloat value) const {
      if (pass.in_.recurrent_dropout == nullptr) return value;
      return value * load_first(pass.recurrent_mask(gate, b) + unit, left);
    }
    OSTINATO_INLINE vfloat dropped_h_before(int gate) const { return times_dropout(gate, h_before()); }
    // Gradients of the state before this step, as far as they do not pass through a recurrent product.
    OSTINATO_INLINE vfloat dh() const { return load_first(pass.dh_ + b * pass.z_.units + unit, left); }
    OSTINATO_INLINE vfloat dc() const { return load_first(pass.dc_ + b * pass.z_.units + unit, left); }
    OSTINATO_INLINE void put_dh(vfloat value) const { store_first(pass.dh_ + b * pass.z_.units + unit, value, left); }
    OSTINATO_INLINE void put_dc(vfloat value) const { store_first(pass.dc_ + b * pass.z_.units + unit, value, left); }
    OSTINATO_INLINE void put_delta(int delta, vfloat value) const {
      store_first(pass.deltas(b, step, first) + unit + delta * pass.z_.units, value, left);
    }
    OSTINATO_INLINE void put_between(vfloat value) const { store_first(pass.between(b, step, first) + unit, value, left); }
  };

  OSTINATO_INLINE void elementwise(const Lane& lane) {
    const auto& [pass, b, step, first, unit, left] = lane;
    const vfloat dh = lane.dh() + output_gradient(b, step, unit, left);
    if constexpr (Cell::kept > 0) {
      const int64_t units = z_.units;
      const float* from = gates(b, step) + unit;
      // What the next step reads lies a row before: beyond what the processor sees coming.
      for (int vector = 0; vector < Cell::kept; ++vector) __builtin_prefetch(from + (vector - Cell::kept) * units);
      __builtin_prefetch(out_.dy + (b * z_.time + step - 1) * units + unit);
      __builtin_prefetch((kHasC ? cells_ : states_) + (b * z_.time + step - 2) * units + unit);
    }
    Cell::backward(lane, dh);
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
    const int64_t wide = vectors_for(units) * kVec, depth = places(p.gates * units);
    if (step == 0 && start_.without_state) {  // what it gives is wanted by nobody, or is multiplied by the state
      const int64_t from = panels.first * wide, left = std::min(units, panels.last * wide) - from;
      for (int64_t i = 0; i < count && left > 0 && !p.onto; ++i) std::fill_n(w.to[i] + from, left, 0.0f);
      return;
    }
    as_read(w.from.data(), count, p.gates * units, rooms_[w.index]);
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
      // A panel of recurrentᵀ has `width` rows, of which these gates' are a part.
      const float* packed = packed_recurrent_ + (panel * (places(z_.width) - depth) + places(p.gate * units)) * wide;
      multiply({w.from.data(), w.to.data(), count, depth, units, packed, nullptr, p.onto,
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

  float *packed_recurrent_ = nullptr, *dh_ = nullptr, *dc_ = nullptr, *dbetween_ = nullptr;
  float* dy_ = nullptr;  // with a mask: what masked steps hand back to the output they repeat
  size_t bytes_ = 0;
};

}  // namespace OSTINATO_ISA
