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
#include "threads.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::Elementwise;
using ostinato::ElementwiseGradients;
using ostinato::ElementwiseInputs;
using ostinato::ElementwiseOutputs;

constexpr double kFlopsOfAUnit = 60;   // at a step, about
constexpr double kLeastShared = 2e5;   // flops; below it, waking a thread takes longer than the work

struct Span {
  int64_t first, last;
  int64_t count() const { return last - first; }
};

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

  template <class Left>
  OSTINATO_INLINE ElementwiseLane<Cell> lane(int64_t at, const float* before, int64_t stride, int64_t unit, Left left) const {
    ElementwiseLane<Cell> lane;
    const float* sums = in_.sums + at * kSums * l_.units + unit;
    OSTINATO_UNROLL for (int i = 0; i < kSums; ++i) {
      lane.sum[i] = load_first(sums + i * l_.units, left);
      if (in_.bias != nullptr) lane.sum[i] += load_first(in_.bias + i * l_.units + unit, left);
    }
    OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) lane.before[i] = load_first(before + i * stride, left);
    OSTINATO_UNROLL for (int i = 0; i < kConstants; ++i)
      lane.constant[i] = load_first(in_.constants + i * l_.units + unit, left);
    if constexpr (Cell::takes_x) lane.x = load_first(in_.x + at * l_.units + unit, left);
    return lane;
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
    float* const y = out_.y + Pass::y_row(b, step) * kOutputs * l_.units;
    float* const kept = out_.history == nullptr ? nullptr : history(b, step);
    Pass::for_vectors(units, [&](int64_t unit, auto left) {
      vfloat after[kStates];
      const vfloat output = Cell::forward(Pass::lane(Pass::place(b, step), state(b) + unit, l_.units, unit, left), after);
      OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) {
        store_first(state(b) + i * l_.units + unit, after[i], left);
        if (kept != nullptr) store_first(kept + i * l_.units + unit, after[i], left);
        if (Cell::y_is_state) store_first(y + i * l_.units + unit, after[i], left);
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

  // The gradient of a step's output, from the caller and from masked steps that repeat it.
  template <class Left>
  OSTINATO_INLINE vfloat output_gradient(int64_t b, int64_t step, int block, int64_t unit, Left left) {
    vfloat given = {};
    if (l_.return_sequences || step == l_.time - 1)
      given = load_first(out_.dy + (Pass::y_row(b, step) * kOutputs + block) * l_.units + unit, left);
    if (handed_.empty()) return given;
    float* const handed = handed_.data() + (b * kOutputs + block) * l_.units + unit;
    given += load_first(handed, left);
    store_first(handed, vfloat{}, left);
    return given;
  }

  void one_step(int64_t b, int64_t step, Span units) {
    const int64_t at = Pass::place(b, step), width = l_.units;
    const float* const before = (step == 0 ? in_.state + b * kStates * width : out_.history + (b * l_.time + step - 1) * kStates * width);
    float* const dstate = out_.dstate0 + b * kStates * width;
    float* const dsums = out_.dsums + at * kSums * width;
    float* const of_row = of_rows_.data() + b * parts_ * width;
    const int64_t back = l_.go_backwards ? 1 : -1;  // where the next step that is read lies
    Pass::for_vectors(units, [&](int64_t unit, auto left) {
      const float* const next = in_.sums + (at + back) * kSums * width + unit;
      OSTINATO_UNROLL for (int i = 0; i < kSums; ++i) __builtin_prefetch(next + i * width);
      ElementwiseGradient<Cell> g;
      OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) {
        g.state[i] = load_first(dstate + i * width + unit, left);
        if (Cell::y_is_state) g.state[i] += output_gradient(b, step, i, unit, left);
      }
      const vfloat dy = Cell::y_is_state ? vfloat{} : output_gradient(b, step, 0, unit, left);
      Cell::backward(Pass::lane(at, before + unit, width, unit, left), dy, g);
      OSTINATO_UNROLL for (int i = 0; i < kStates; ++i) store_first(dstate + i * width + unit, g.state[i], left);
      OSTINATO_UNROLL for (int i = 0; i < kSums; ++i) {
        store_first(dsums + i * width + unit, g.sum[i], left);
        if (with_bias_) add(of_row + i * width + unit, g.sum[i], left);
      }
      OSTINATO_UNROLL for (int i = 0; i < kConstants; ++i)
        add(of_row + (parts_ - kConstants + i) * width + unit, g.constant[i], left);
      if constexpr (Cell::takes_x) store_first(out_.dx + at * width + unit, g.x, left);
    });
  }
  template <class Left>
  static OSTINATO_INLINE void add(float* to, vfloat value, Left left) { store_first(to, load_first(to, left) + value, left); }

  void skip(int64_t b, int64_t step, Span units) {
    const int64_t at = Pass::place(b, step);
    for (int i = 0; i < kSums; ++i) std::fill_n(out_.dsums + (at * kSums + i) * l_.units + units.first, units.count(), 0.0f);
    if (Cell::takes_x) std::fill_n(out_.dx + at * l_.units + units.first, units.count(), 0.0f);
    if (handed_.empty()) return;
    for (int i = 0; i < kOutputs; ++i)
      Pass::for_vectors(units, [&](int64_t unit, auto left) {
        store_first(handed_.data() + (b * kOutputs + i) * l_.units + unit, output_gradient(b, step, i, unit, left), left);
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
