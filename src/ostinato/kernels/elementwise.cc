// The passes of element-wise recurrences for one instruction set; CMake compiles this file once for each.
//
// A piece of work is some rows and some units over all steps; whoever is free takes the next. Within a step the units of a row
// follow each other, so that memory is read in order, and no vector waits for the one before.
#include "elementwise.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>
#include <vector>

#include "cells/elementwise_list.h"
#include "sequence.h"
#include "threads.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::Elementwise;
using ostinato::ElementwiseGradients;
using ostinato::ElementwiseInputs;
using ostinato::ElementwiseOutputs;

constexpr double kFlopsOfAUnit = 60;   // at a step, about
constexpr double kLeastShared = 2e5;   // flops; below it, waking a thread takes longer than the work

template <class Cell>
class ElementwisePass {
 protected:
  static constexpr int kSums = Cell::sums, kStates = Cell::states, kConstants = Cell::constants;
  static constexpr int kOutputs = Cell::y_is_state ? kStates : 1;

  ElementwisePass(const Elementwise& layer, const ElementwiseInputs& in) : l_(layer), in_(in) {
    const int64_t vectors = (l_.units + kVec - 1) / kVec;
    rows_together_ = std::max<int64_t>(1, std::min<int64_t>(8, 8 / vectors));
    const int64_t groups = (l_.batch + rows_together_ - 1) / rows_together_;
    const int64_t wanted = 4 * static_cast<int64_t>(l_.threads);
    const int64_t spans = std::max<int64_t>(1, std::min((vectors + 3) / 4, (wanted + groups - 1) / groups));
    units_together_ = (vectors + spans - 1) / spans * kVec;
    spans_ = (l_.units + units_together_ - 1) / units_together_;
    pieces_ = groups * spans_;
  }

  // Calls walk(rows, units) for all pieces.
  template <class Walk>
  void run(const Walk& walk) const {
    const double work = kFlopsOfAUnit * static_cast<double>(l_.batch * l_.time * l_.units);
    ostinato::Team team(work < kLeastShared ? 1 : static_cast<int>(std::min<int64_t>(l_.threads, pieces_)), work);
    std::atomic<int64_t> next{0};
    team.run([&](int) {
      for (int64_t piece = next++; piece < pieces_; piece = next++) {
        const int64_t row = piece / spans_ * rows_together_, unit = piece % spans_ * units_together_;
        walk(Span{row, std::min(l_.batch, row + rows_together_)}, Span{unit, std::min(l_.units, unit + units_together_)});
      }
    });
  }

  // Calls f(unit, left) with each vector of units; `left` is a constant where all of a vector's units are there.
  template <class F>
  static OSTINATO_INLINE void for_vectors(Span units, const F& f) {
    int64_t unit = units.first;
    for (; unit + kVec <= units.last; unit += kVec) f(unit, std::integral_constant<int, kVec>{});
    if (unit < units.last) f(unit, static_cast<int>(units.last - unit));
  }

  // Where a step of a row is in time.
  int64_t place(int64_t b, int64_t step) const { return b * l_.time + (l_.go_backwards ? l_.time - 1 - step : step); }
  bool skips(int64_t b, int64_t step) const { return in_.mask != nullptr && !in_.mask[place(b, step)]; }
  int64_t y_row(int64_t b, int64_t step) const { return l_.return_sequences ? b * l_.time + step : b; }

  // What the equations read at a step of a row. Held in registers: the compiler must take it that a store of floats may change
  // a member of the pass, and would read that again each time.
  struct Read {
    const float *sums, *x, *before, *bias, *constants;
    int64_t units;
  };
  Read read(int64_t at, const float* before) const {
    return {in_.sums + at * kSums * l_.units, Cell::takes_x ? in_.x + at * l_.units : nullptr, before, in_.bias, in_.constants,
            l_.units};
  }
  template <class Left>
  static OSTINATO_INLINE ElementwiseLane<Cell> lane(const Read& r, int64_t unit, Left left) {
    ElementwiseLane<Cell> lane;
    OSTINATO_UNROLL for (int i = 0; i < kSums; ++i) {
      lane.sum[i] = load_first(r.sums + i * r.units + unit, left);
      if (r.bias != nullptr) lane.sum[i] += load_first(r.bias + i * r.units + unit, left);
    }
    OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) lane.before[i] = load_first(r.before + i * r.units + unit, left);
    OSTINATO_UNROLL for (int i = 0; i < kConstants; ++i)
      lane.constant[i] = load_first(r.constants + i * r.units + unit, left);
    if constexpr (Cell::takes_x) lane.x = load_first(r.x + unit, left);
    return lane;
  }

  // Asks for the units of the step that is read next, `next` steps on. Between two loads from memory the equations have so many
  // instructions that the processor would not come to the later one in time.
  static OSTINATO_INLINE void fetch(const Read& r, int64_t unit, int64_t next) {
    OSTINATO_UNROLL for (int i = 0; i < kSums; ++i) __builtin_prefetch(r.sums + (next * kSums + i) * r.units + unit);
    if constexpr (Cell::takes_x) __builtin_prefetch(r.x + next * r.units + unit);
  }

  const Elementwise l_;
  const ElementwiseInputs in_;
  int64_t rows_together_, units_together_, spans_, pieces_;
};

template <class Cell>
class ElementwiseForward : ElementwisePass<Cell> {
  using Pass = ElementwisePass<Cell>;
  using Pass::in_, Pass::kOutputs, Pass::kStates, Pass::l_;

 public:
  ElementwiseForward(const Elementwise& layer, const ElementwiseInputs& in, const ElementwiseOutputs& out)
      : Pass(layer, in), out_(out) {}
  void run() {
    Pass::run([this](Span rows, Span units) { walk(rows, units); });
  }

 private:
  void walk(Span rows, Span units) {
    // The final state's place holds the state of the present step.
    for (int64_t b = rows.first; b < rows.last; ++b) {
      for (int i = 0; i < kStates; ++i)
        std::copy_n(in_.state + (b * kStates + i) * l_.units + units.first, units.count(), state(b) + i * l_.units + units.first);
      if (!l_.return_sequences) clear(b, 0, units);
    }
    for (int64_t step = 0; step < l_.time; ++step)
      for (int64_t b = rows.first; b < rows.last; ++b) Pass::skips(b, step) ? skip(b, step, units) : one_step(b, step, units);
  }

  void one_step(int64_t b, int64_t step, Span units) {
    float* const state = this->state(b);
    write(Pass::read(Pass::place(b, step), state), state, out_.y + Pass::y_row(b, step) * kOutputs * l_.units,
          out_.history == nullptr ? nullptr : history(b, step), l_.go_backwards ? -1 : 1, units);
  }
  static void write(typename Pass::Read r, float* state, float* y, float* kept, int64_t next, Span units) {
    Pass::for_vectors(units, [&](int64_t unit, auto left) {
      Pass::fetch(r, unit, next);
      OSTINATO_UNROLL for (int i = 0; i < kOutputs; ++i) __builtin_prefetch(y + (kOutputs + i) * r.units + unit, 1);
      vfloat after[kStates];
      const vfloat output = Cell::forward(Pass::lane(r, unit, left), after);
      OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) {
        const int64_t at = i * r.units + unit;
        store_first(state + at, after[i], left);
        if (kept != nullptr) store_first(kept + at, after[i], left);
        if (Cell::y_is_state) store_first(y + at, after[i], left);
      }
      if (!Cell::y_is_state) store_first(y + unit, output, left);
    });
  }

  // A masked step keeps the state; its output repeats the one before, or is zero.
  void skip(int64_t b, int64_t step, Span units) {
    if (out_.history != nullptr)
      for (int i = 0; i < kStates; ++i)
        std::copy_n(state(b) + i * l_.units + units.first, units.count(), history(b, step) + i * l_.units + units.first);
    if (l_.zero_output_for_mask || (l_.return_sequences && step == 0)) return clear(b, step, units);
    if (!l_.return_sequences) return;
    float* const y = out_.y + Pass::y_row(b, step) * kOutputs * l_.units + units.first;
    for (int i = 0; i < kOutputs; ++i)
      std::copy_n(y + (i - kOutputs) * l_.units, units.count(), y + i * l_.units);
  }
  void clear(int64_t b, int64_t step, Span units) {
    float* const y = out_.y + Pass::y_row(b, step) * kOutputs * l_.units + units.first;
    for (int i = 0; i < kOutputs; ++i) std::fill_n(y + i * l_.units, units.count(), 0.0f);
  }

  float* state(int64_t b) const { return out_.state + b * kStates * l_.units; }
  float* history(int64_t b, int64_t step) const { return out_.history + (b * l_.time + step) * kStates * l_.units; }

  const ElementwiseOutputs out_;
};

template <class Cell>
class ElementwiseBackward : ElementwisePass<Cell> {
  using Pass = ElementwisePass<Cell>;
  using Pass::in_, Pass::kConstants, Pass::kOutputs, Pass::kStates, Pass::kSums, Pass::l_;

 public:
  ElementwiseBackward(const Elementwise& layer, const ElementwiseInputs& in, const ElementwiseGradients& out)
      : Pass(layer, in), out_(out), with_bias_(out.dbias != nullptr),
        parts_((with_bias_ ? kSums : 0) + kConstants), of_rows_(static_cast<size_t>(layer.batch * parts_ * layer.units)) {
    if (in.mask != nullptr && !layer.zero_output_for_mask) handed_.resize(static_cast<size_t>(layer.batch * kOutputs * layer.units));
  }
  void run() {
    Pass::run([this](Span rows, Span units) { walk(rows, units); });
    // Of each weight, in the order of the rows.
    if (with_bias_) add_rows(out_.dbias, 0, kSums);
    if (kConstants > 0) add_rows(out_.dconstants, parts_ - kConstants, kConstants);
  }

 private:
  void walk(Span rows, Span units) {
    for (int64_t b = rows.first; b < rows.last; ++b)
      for (int i = 0; i < kStates; ++i) {
        const int64_t at = (b * kStates + i) * l_.units + units.first;
        std::copy_n(out_.dstate + at, units.count(), out_.dstate0 + at);
      }
    for (int64_t step = l_.time - 1; step >= 0; --step)
      for (int64_t b = rows.first; b < rows.last; ++b) Pass::skips(b, step) ? skip(b, step, units) : one_step(b, step, units);
  }

  // The gradient of a step's output: from the caller, and from masked steps that repeat it. Either may be null.
  struct Output {
    const float* given;
    float* handed;
    int64_t units;
    template <class Left>
    OSTINATO_INLINE vfloat gradient(int block, int64_t unit, Left left) const {
      const int64_t at = block * units + unit;
      vfloat value = {};
      if (given != nullptr) value = load_first(given + at, left);
      if (handed == nullptr) return value;
      value += load_first(handed + at, left);
      store_first(handed + at, vfloat{}, left);
      return value;
    }
  };
  Output output(int64_t b, int64_t step) {
    return {l_.return_sequences || step == l_.time - 1 ? out_.dy + Pass::y_row(b, step) * kOutputs * l_.units : nullptr,
            handed_.empty() ? nullptr : handed_.data() + b * kOutputs * l_.units, l_.units};
  }

  // Where the gradients of a step of a row go.
  struct Write {
    float *dstate, *dsums, *dx, *of_bias, *of_constants;
  };
  void one_step(int64_t b, int64_t step, Span units) {
    const int64_t at = Pass::place(b, step), width = l_.units;
    const float* const before =
        step == 0 ? in_.state + b * kStates * width : out_.history + (b * l_.time + step - 1) * kStates * width;
    float* const of_row = of_rows_.data() + b * parts_ * width;
    write(Pass::read(at, before), output(b, step),
          {out_.dstate0 + b * kStates * width, out_.dsums + at * kSums * width, Cell::takes_x ? out_.dx + at * width : nullptr,
           with_bias_ ? of_row : nullptr, of_row + (parts_ - kConstants) * width},
          l_.go_backwards ? 1 : -1, units);
  }
  static void write(typename Pass::Read r, Output output, Write to, int64_t next, Span units) {
    const int64_t width = r.units;
    Pass::for_vectors(units, [&](int64_t unit, auto left) {
      Pass::fetch(r, unit, next);
      OSTINATO_UNROLL for (int i = 0; i < kSums; ++i) __builtin_prefetch(to.dsums + (next * kSums + i) * width + unit, 1);
      OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) __builtin_prefetch(r.before + (i - kStates) * width + unit);
      if (output.given != nullptr)
        OSTINATO_UNROLL for (int i = 0; i < kOutputs; ++i) __builtin_prefetch(output.given + (i - kOutputs) * width + unit);
      if constexpr (Cell::takes_x) __builtin_prefetch(to.dx + next * width + unit, 1);
      ElementwiseGradient<Cell> g;
      OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) {
        g.state[i] = load_first(to.dstate + i * width + unit, left);
        if (Cell::y_is_state) g.state[i] += output.gradient(i, unit, left);
      }
      const vfloat dy = Cell::y_is_state ? vfloat{} : output.gradient(0, unit, left);
      Cell::backward(Pass::lane(r, unit, left), dy, g);
      OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) store_first(to.dstate + i * width + unit, g.state[i], left);
      OSTINATO_UNROLL for (int i = 0; i < kSums; ++i) {
        store_first(to.dsums + i * width + unit, g.sum[i], left);
        if (to.of_bias != nullptr) add(to.of_bias + i * width + unit, g.sum[i], left);
      }
      OSTINATO_UNROLL for (int i = 0; i < kConstants; ++i) add(to.of_constants + i * width + unit, g.constant[i], left);
      if constexpr (Cell::takes_x) store_first(to.dx + unit, g.x, left);
    });
  }
  template <class Left>
  static OSTINATO_INLINE void add(float* to, vfloat value, Left left) { store_first(to, load_first(to, left) + value, left); }

  void skip(int64_t b, int64_t step, Span units) {
    const int64_t at = Pass::place(b, step);
    for (int i = 0; i < kSums; ++i) std::fill_n(out_.dsums + (at * kSums + i) * l_.units + units.first, units.count(), 0.0f);
    if (Cell::takes_x) std::fill_n(out_.dx + at * l_.units + units.first, units.count(), 0.0f);
    const Output out = output(b, step);
    if (out.handed == nullptr) return;
    for (int i = 0; i < kOutputs; ++i)
      Pass::for_vectors(units, [&](int64_t unit, auto left) {
        const vfloat gradient = out.gradient(i, unit, left);
        store_first(out.handed + i * l_.units + unit, gradient, left);
      });
  }

  void add_rows(float* to, int first, int count) const {
    const int64_t floats = count * l_.units;
    std::fill_n(to, floats, 0.0f);
    for (int64_t b = 0; b < l_.batch; ++b) {
      const float* const from = of_rows_.data() + (b * parts_ + first) * l_.units;
      for (int64_t i = 0; i < floats; ++i) to[i] += from[i];
    }
  }

  const ElementwiseGradients out_;
  const bool with_bias_;
  const int parts_;               // vectors of `units` that each row's sums have: of the bias, and of the constants
  std::vector<float> of_rows_;    // (batch, parts, units)
  std::vector<float> handed_;     // what masked steps hand back to the output that they repeat
};

}  // namespace

void elementwise_forward(const Elementwise& layer, const ElementwiseInputs& in, const ElementwiseOutputs& out) {
  with_elementwise(layer.form, [&](auto cell) { ElementwiseForward<decltype(cell)>(layer, in, out).run(); });
}
void elementwise_backward(const Elementwise& layer, const ElementwiseInputs& in, const ElementwiseGradients& out) {
  with_elementwise(layer.form, [&](auto cell) { ElementwiseBackward<decltype(cell)>(layer, in, out).run(); });
}

}  // namespace OSTINATO_ISA
