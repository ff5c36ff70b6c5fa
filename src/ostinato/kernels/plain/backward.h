// The plain backward pass.
//
// First every thread walks its own rows from the last step to the first: the cell's equations give the gradients of the
// gates' inputs, called deltas here, and delta · recurrentᵀ the gradient of the state before. The deltas of all steps are
// kept. From them follow dx, whose steps the threads share, and the gradients of the weights, whose columns they share. No
// sum is divided among threads.
#pragma once

#include "plain/sequence.h"

namespace OSTINATO_ISA {

template <class Cell>
class BackwardPass : Pass<Cell> {
  using Base = Pass<Cell>;
  using Base::l_, Base::in_, Base::history_, Base::start_;
  static constexpr bool kHasC = Cell::states > 1;
  static constexpr bool kBetween = Cell::separate && Cell::gathered > 0;
  static constexpr int kGates = Cell::gates, kLast = Cell::gates - 1;

 public:
  BackwardPass(const Layer& layer, const Inputs& in, const Gradients& out)
      : Base(layer, in), out_(out), unwanted_(start_.without_state ? static_cast<size_t>(2 * layer.batch * layer.units) : 0),
        dh0_(start_.without_state ? unwanted_.data() : out.dh0),
        dc0_(start_.without_state ? unwanted_.data() + layer.batch * layer.units : out.dc0) {}

  void run() {
    const int64_t units = l_.units, width = this->width(), steps = l_.batch * l_.time;
    for (int gate = 0; gate < kGates; ++gate) {
      recurrent_[gate].pack({in_.recurrent + gate * units, 1, width}, units, units);
      if (out_.dx != nullptr) kernel_[gate].pack({in_.kernel + gate * units, 1, width}, units, l_.features);
    }
    deltas_.resize(static_cast<size_t>(steps * Cell::deltas * units));
    if (kBetween) between_.resize(static_cast<size_t>(steps * units));
    const int threads = this->wanted_threads();
    const int64_t shares = std::min<int64_t>(threads, l_.batch), panels = kGates * panels_of(units);
    std::vector<Worker> workers;
    for (int64_t i = 0; i < threads; ++i) workers.emplace_back(l_, share(l_.batch, std::min(i, shares - 1), shares));
    ostinato::Team team(threads, 2 * this->work());
    this->share_out(team, shares, [&](int64_t i) { walk(workers[static_cast<size_t>(i)]); });
    const int64_t blocks = (steps + kBlockRows - 1) / kBlockRows;
    if (out_.dx != nullptr) this->share_out(team, blocks, [&](int64_t i) { put_dx(i * kBlockRows); });
    this->share_out(team, threads, [&](int64_t i) { sum_up(workers[static_cast<size_t>(i)], share(panels, i, threads)); });
  }

 private:
  // A thread's rows, and its memory.
  struct Worker {
    Span rows;
    std::vector<Slot> slots;
    std::vector<double> left;      // rows that a product reads
    std::vector<double> dy, dbetween;  // (rows, units); dy is what masked steps hand back to the output that they repeat
    Panels deltas;
    Worker(const Layer& l, Span rows) : rows(rows) {
      const int64_t count = rows.count();
      slots.reserve(static_cast<size_t>(count));
      left.resize(static_cast<size_t>(std::max(kBlockRows * std::max(l.features, l.units), count * l.units)));
      dy.resize(static_cast<size_t>(count * l.units));
      if (kBetween) dbetween.resize(static_cast<size_t>(count * l.units));
      deltas.reserve(kBlockRows, l.units);
    }
  };

  double* deltas(Slot slot) const {
    return const_cast<double*>(deltas_.data()) + this->index(slot) * Cell::deltas * l_.units;
  }
  double* between(Slot slot) const { return const_cast<double*>(between_.data()) + this->index(slot) * l_.units; }
  // Which delta is that of a gate's h · recurrent.
  static constexpr int recurrent_delta(int gate) { return gate < Cell::alike || Cell::deltas == kGates ? gate : kGates; }
  const double* states(Slot slot) const { return out_.history + history_.states + this->index_of_state(slot) * l_.units; }
  const double* cells(Slot slot) const { return out_.history + history_.cells + this->index_of_state(slot) * l_.units; }

  void walk(Worker& w) const {
    for (int64_t i = w.rows.first * l_.units; i < w.rows.last * l_.units; ++i) {
      dh0_[i] = out_.dh == nullptr ? 0.0 : out_.dh[i];
      if (kHasC) dc0_[i] = out_.dc == nullptr ? 0.0 : out_.dc[i];
    }
    for (int64_t step = l_.time - 1; step >= 0; --step) one_step(w, step);
  }

  // One unit of a row at a step, as a cell sees it. dh0 and dc0 hold the gradients of the states that the walk has come to.
  struct Lane {
    const BackwardPass& pass;
    const Slot slot;
    const int64_t unit;

    int64_t state() const { return slot.b * pass.l_.units + unit; }
    const Layer& layer() const { return pass.l_; }
    double kept(int vector) const {
      return pass.out_.history[pass.history_.kept + (pass.index(slot) * Cell::kept + vector) * pass.l_.units + unit];
    }
    double h() const { return pass.states({slot.b, slot.step + 1})[unit]; }
    double c() const { return pass.cells({slot.b, slot.step + 1})[unit]; }
    double h_before() const { return pass.states(slot)[unit]; }
    double c_before() const { return pass.cells(slot)[unit]; }
    double times_dropout(int gate, double value) const { return pass.times_dropout(gate, slot.b, unit, value); }
    double dropped_h_before(int gate) const { return times_dropout(gate, h_before()); }
    double dh() const { return pass.dh0_[state()]; }
    double dc() const { return pass.dc0_[state()]; }
    void put_dh(double value) const { pass.dh0_[state()] = value; }
    void put_dc(double value) const { pass.dc0_[state()] = value; }
    void put_delta(int delta, double value) const { pass.deltas(slot)[delta * pass.l_.units + unit] = value; }
    void put_between(double value) const { pass.between(slot)[unit] = value; }
  };

  void one_step(Worker& w, int64_t step) const {
    w.slots.clear();
    for (int64_t b = w.rows.first; b < w.rows.last; ++b) {
      const Slot slot{b, step};
      double* handed = w.dy.data() + (b - w.rows.first) * l_.units;
      if (this->given(slot)) {
        w.slots.push_back(slot);
        for (int64_t unit = 0; unit < l_.units; ++unit) {
          const double dh = dh0_[b * l_.units + unit] + handed[unit] + output_gradient(slot, unit);
          handed[unit] = 0.0;
          Cell::backward(Lane{*this, slot, unit}, dh);
        }
      } else {
        for (int64_t unit = 0; unit < l_.units; ++unit)
          handed[unit] = l_.zero_output_for_mask ? 0.0 : handed[unit] + output_gradient(slot, unit);
      }
    }
    if constexpr (kBetween) {
      through_recurrent(w, kLast, kLast, [&](int64_t row, Span units, const double* sums) {
        double* to = w.dbetween.data() + row * l_.units;
        for (int64_t unit = units.first; unit < units.last; ++unit) to[unit] = sums[unit];
      });
      for (size_t i = 0; i < w.slots.size(); ++i)
        for (int64_t unit = 0; unit < l_.units; ++unit)
          Cell::backward_between(Lane{*this, w.slots[i], unit},
                                 w.dbetween[i * static_cast<size_t>(l_.units) + static_cast<size_t>(unit)]);
    }
    for (int gate = 0; gate < (kBetween ? kLast : kGates); ++gate)
      through_recurrent(w, recurrent_delta(gate), gate, [&](int64_t row, Span units, const double* sums) {
        const int64_t b = w.slots[static_cast<size_t>(row)].b;
        put(units, sums, this->recurrent_mask(gate, b), Cell::direct || gate > 0, dh0_ + b * l_.units);
      });
  }
  // What the caller gives for the output of a step.
  double output_gradient(Slot slot, int64_t unit) const {
    if (l_.return_sequences) return out_.dy[this->index(slot) * l_.units + unit];
    return slot.step == l_.time - 1 ? out_.dy[slot.b * l_.units + unit] : 0.0;
  }
  // A delta · recurrentᵀ of a gate.
  template <class Put>
  void through_recurrent(Worker& w, int delta, int gate, const Put& put) const {
    for (size_t i = 0; i < w.slots.size(); ++i)
      this->copy(deltas(w.slots[i]) + delta * l_.units, nullptr, l_.units, w.left.data() + static_cast<int64_t>(i) * l_.units);
    recurrent_[gate].multiply({w.left.data(), l_.units, 1}, static_cast<int64_t>(w.slots.size()), put);
  }

  // Sums, multiplied by a dropout mask if there is one, in the place of what stands at `to`, or added to it.
  static void put(Span columns, const double* sums, const double* mask, bool onto, double* to) {
    for (int64_t i = columns.first; i < columns.last; ++i) {
      const double sum = mask == nullptr ? sums[i] : sums[i] * mask[i];
      to[i] = onto ? to[i] + sum : sum;
    }
  }

  Slot slot_at(int64_t index) const { return {index / l_.time, index % l_.time}; }

  // dx of a block of steps. Masked ones have no deltas, and zeros here.
  void put_dx(int64_t first) const {
    const int64_t count = std::min(kBlockRows, l_.batch * l_.time - first);
    const double* from = deltas_.data() + first * Cell::deltas * l_.units;
    for (int gate = 0; gate < kGates; ++gate)
      kernel_[gate].multiply({from + gate * l_.units, Cell::deltas * l_.units, 1}, count,
                             [&](int64_t row, Span features, const double* sums) {
                               const Slot slot = slot_at(first + row);
                               double* dx = out_.dx + this->place(slot) * l_.features;
                               put(features, sums, this->input_mask(gate, slot.b), gate > 0, dx);
                             });
  }

  // The columns of the weights' gradients that are in some panels of units, counted over all gates.
  void sum_up(Worker& w, Span panels) const {
    const int64_t each = panels_of(l_.units);
    for (int gate = 0; gate < kGates; ++gate) {
      const Span mine{std::max(panels.first - gate * each, int64_t{0}), std::min(panels.last - gate * each, each)};
      if (mine.count() <= 0) continue;
      const Span units{mine.first * kColumns, std::min(mine.last * kColumns, l_.units)};
      clear(out_.dkernel, l_.features, gate, units), clear(out_.drecurrent, l_.units, gate, units);
      sum_up_kernel(w, gate, mine, units);
      sum_up_product(w, recurrent_delta(gate), gate, mine, l_.units, out_.drecurrent, [&](Slot slot, double* to) {
        if (kBetween && gate == kLast)
          this->copy(between(slot), nullptr, l_.units, to);
        else
          this->copy(states(slot), this->recurrent_mask(gate, slot.b), l_.units, to);
      });
      if (out_.dbias == nullptr) continue;
      for (int row = 0; row < Cell::bias_rows; ++row)
        sum_up_bias(row == 0 ? gate : recurrent_delta(gate), units, out_.dbias + row * this->width() + gate * l_.units);
    }
  }
  void clear(double* matrix, int64_t rows, int gate, Span units) const {
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t unit = units.first; unit < units.last; ++unit) matrix[row * this->width() + gate * l_.units + unit] = 0.0;
  }
  void sum_up_kernel(Worker& w, int gate, Span panels, Span units) const {
    if (in_.ids == nullptr)
      return sum_up_product(w, gate, gate, panels, l_.features, out_.dkernel, [&](Slot slot, double* to) {
        this->copy(in_.x + this->place(slot) * l_.features, this->input_mask(gate, slot.b), l_.features, to);
      });
    for_given({0, l_.batch * l_.time}, [&](Slot slot, int64_t) {
      double* to = out_.dkernel + in_.ids[this->place(slot)] * this->width() + gate * l_.units;
      for (int64_t unit = units.first; unit < units.last; ++unit) to[unit] += deltas(slot)[gate * l_.units + unit];
    });
  }
  void sum_up_bias(int delta, Span units, double* to) const {
    std::fill(to + units.first, to + units.last, 0.0);
    for_given({0, l_.batch * l_.time}, [&](Slot slot, int64_t) {
      for (int64_t unit = units.first; unit < units.last; ++unit) to[unit] += deltas(slot)[delta * l_.units + unit];
    });
  }
  // matrix += leftᵀ · delta for a gate's columns in `panels`; copy_left(slot, to) copies a row of left.
  template <class CopyLeft>
  void sum_up_product(Worker& w, int delta, int gate, Span panels, int64_t rows, double* matrix,
                      const CopyLeft& copy_left) const {
    const int64_t units = l_.units, all = l_.batch * l_.time;
    for (int64_t first = 0; first < all; first += kBlockRows) {
      const int64_t count = std::min(kBlockRows, all - first);
      if (in_.mask != nullptr) std::fill(w.left.begin(), w.left.end(), 0.0);  // of masked steps
      for_given({first, first + count}, [&](Slot slot, int64_t i) { copy_left(slot, w.left.data() + i * rows); });
      w.deltas.pack({deltas_.data() + (first * Cell::deltas + delta) * units, Cell::deltas * units, 1}, count, units, panels);
      w.deltas.multiply({w.left.data(), 1, rows}, rows, [&](int64_t row, Span columns, const double* sums) {
        put(columns, sums, nullptr, true, matrix + row * this->width() + gate * units);
      });
    }
  }
  // Calls f(slot, i) for those of some steps that are not masked; i counts from the first.
  template <class F>
  void for_given(Span indices, const F& f) const {
    for (int64_t at = indices.first; at < indices.last; ++at)
      if (this->given(slot_at(at))) f(slot_at(at), at - indices.first);
  }

  const Gradients out_;
  std::vector<double> unwanted_;  // where the gradients of a state go that is not given
  double *dh0_, *dc0_;
  Panels recurrent_[kGates], kernel_[kGates];
  std::vector<double> deltas_;   // (batch, time, deltas, units), zeros at masked steps
  std::vector<double> between_;  // (batch, time, units)
};

}  // namespace OSTINATO_ISA
