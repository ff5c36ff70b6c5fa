// The plain forward pass: every thread walks all steps of its own rows.
//
// For a stretch of steps x · kernel + bias is computed ahead. Then, step by step, h · recurrent, gate by gate, and the
// cell's equations, unit by unit.
#pragma once

#include <initializer_list>

#include "plain/sequence.h"

namespace OSTINATO_ISA {

template <class Cell>
class ForwardPass : Pass<Cell> {
  using Base = Pass<Cell>;
  using Base::l_, Base::in_, Base::history_;
  static constexpr bool kHasC = Cell::states > 1;
  static constexpr bool kBetween = Cell::separate && Cell::gathered > 0;
  static constexpr int kGates = Cell::gates, kLast = Cell::gates - 1;

 public:
  ForwardPass(const Layer& layer, const Inputs& in, const Outputs& out) : Base(layer, in), out_(out) {}

  void run() {
    const int64_t units = l_.units, width = this->width();
    for (int gate = 0; gate < kGates; ++gate) {
      if (in_.ids == nullptr) kernel_[gate].pack({in_.kernel + gate * units, width, 1}, l_.features, units);
      recurrent_[gate].pack({in_.recurrent + gate * units, width, 1}, units, units);
    }
    const int threads = this->wanted_threads();
    const int64_t shares = std::min<int64_t>(threads, l_.batch);
    std::vector<Worker> workers;
    for (int64_t i = 0; i < shares; ++i) workers.emplace_back(l_, share(l_.batch, i, shares));
    ostinato::Team team(threads, this->work());
    this->share_out(team, shares, [&](int64_t i) { walk(workers[static_cast<size_t>(i)]); });
  }

 private:
  static constexpr int64_t kStretchDoubles = 32768;  // of x · kernel that are computed ahead

  // A thread's rows, and its memory.
  struct Worker {
    Span rows;
    int64_t stretch;
    std::vector<Slot> slots, skipped;
    std::vector<double> x_products;  // (rows, stretch, gates × units), with the bias
    std::vector<double> left;        // rows that a product reads
    std::vector<double> products;    // (rows, gates × units)
    std::vector<double> between;     // (rows, units)
    Worker(const Layer& l, Span rows) : rows(rows) {
      const int64_t count = rows.count(), width = kGates * l.units;
      stretch = std::max<int64_t>(1, std::min(l.time, kStretchDoubles / (count * width)));
      slots.reserve(static_cast<size_t>(count * stretch)), skipped.reserve(static_cast<size_t>(count));
      x_products.resize(static_cast<size_t>(count * stretch * width));
      left.resize(static_cast<size_t>(std::max(kBlockRows * l.features, count * l.units)));
      products.resize(static_cast<size_t>(count * width));
      if (kBetween) between.resize(static_cast<size_t>(count * l.units));
    }
  };

  void walk(Worker& w) {
    const int64_t units = l_.units;
    for (int64_t b = w.rows.first; b < w.rows.last; ++b) {
      std::memcpy(out_.h + b * units, in_.h0 + b * units, bytes());
      if (kHasC) std::memcpy(out_.c + b * units, in_.c0 + b * units, bytes());
      if (!l_.return_sequences) std::memset(out_.y + b * units, 0, bytes());
      keep_states({b, 0});
    }
    for (int64_t first = 0; first < l_.time; first += w.stretch) {
      const Span steps{first, std::min(l_.time, first + w.stretch)};
      project(w, steps);
      for (int64_t step = steps.first; step < steps.last; ++step) one_step(w, step);
    }
  }
  size_t bytes() const { return sizeof(double) * static_cast<size_t>(l_.units); }
  // The states before a step, of a row that now has them.
  void keep_states(Slot slot) const {
    if (out_.history == nullptr) return;
    const int64_t to = this->index_of_state(slot) * l_.units;
    std::memcpy(out_.history + history_.states + to, out_.h + slot.b * l_.units, bytes());
    if (kHasC) std::memcpy(out_.history + history_.cells + to, out_.c + slot.b * l_.units, bytes());
  }
  double* x_product(Worker& w, Slot slot) const {
    return &w.x_products[static_cast<size_t>(((slot.b - w.rows.first) * w.stretch + slot.step % w.stretch) * this->width())];
  }

  void project(Worker& w, Span steps) const {
    w.slots.clear();
    for (int64_t b = w.rows.first; b < w.rows.last; ++b)
      for (int64_t step = steps.first; step < steps.last; ++step)
        if (this->given({b, step})) w.slots.push_back({b, step});
    const int64_t all = static_cast<int64_t>(w.slots.size());
    if (in_.ids != nullptr) {
      for (const Slot slot : w.slots) look_up(in_.ids[this->place(slot)], x_product(w, slot));
      return;
    }
    for (int64_t first = 0; first < all; first += kBlockRows) {
      const Slot* slots = w.slots.data() + first;
      const int64_t count = std::min(kBlockRows, all - first);
      for (int gate = 0; gate < kGates; ++gate) {
        if (gate == 0 || in_.input_dropout != nullptr)
          for (int64_t i = 0; i < count; ++i)
            this->copy(in_.x + this->place(slots[i]) * l_.features, this->input_mask(gate, slots[i].b), l_.features,
                       w.left.data() + i * l_.features);
        kernel_[gate].multiply({w.left.data(), l_.features, 1}, count, [&](int64_t row, Span units, const double* sums) {
          double* to = x_product(w, slots[row]) + gate * l_.units;
          const double* bias = in_.bias + (in_.bias == nullptr ? 0 : gate * l_.units);
          for (int64_t unit = units.first; unit < units.last; ++unit)
            to[unit] = bias == nullptr ? sums[unit] : sums[unit] + bias[unit];
        });
      }
    }
  }
  void look_up(int32_t id, double* to) const {
    const double* row = in_.kernel + id * this->width();
    for (int64_t j = 0; j < this->width(); ++j) to[j] = in_.bias == nullptr ? row[j] : row[j] + in_.bias[j];
  }

  // One unit of a row at a step, as a cell sees it.
  struct Lane {
    const ForwardPass& pass;
    const Slot slot;
    const int64_t unit;
    const double* at;  // x · kernel of all gates
    double* products;  // h · recurrent of the gathered gates
    double* between;

    int64_t state() const { return slot.b * pass.l_.units + unit; }
    const Layer& layer() const { return pass.l_; }
    double x(int gate) const { return at[gate * pass.l_.units + unit]; }
    double product(int gate) const { return products[gate * pass.l_.units + unit]; }
    void leave(int gate, double value) const { products[gate * pass.l_.units + unit] = value; }
    void carry(double value) const { leave(0, value); }
    double carried() const { return product(0); }
    bool has_bias() const { return pass.in_.bias != nullptr; }
    double bias(int block) const { return pass.in_.bias[block * pass.l_.units + unit]; }
    double h() const { return pass.out_.h[state()]; }
    double c() const { return pass.out_.c[state()]; }
    double dropped_h(int gate) const { return pass.times_dropout(gate, slot.b, unit, h()); }
    void keep(std::initializer_list<double> values, int first = 0) const {
      if (pass.out_.history == nullptr) return;
      double* to = pass.out_.history + pass.history_.kept + (pass.index(slot) * Cell::kept + first) * pass.l_.units + unit;
      for (const double value : values) *to = value, to += pass.l_.units;
    }
    void put_between(double value) const { between[unit] = value; }
    void put_c(double c) const { pass.out_.c[state()] = c; }
    void put_h(double h) const { pass.out_.h[state()] = pass.y(slot)[unit] = h; }
  };
  double* y(Slot slot) const { return out_.y + (l_.return_sequences ? this->index(slot) : slot.b) * l_.units; }

  void one_step(Worker& w, int64_t step) const {
    w.slots.clear(), w.skipped.clear();
    for (int64_t b = w.rows.first; b < w.rows.last; ++b) (this->given({b, step}) ? w.slots : w.skipped).push_back({b, step});
    const auto for_lanes = [&](const auto& f) {
      for (size_t i = 0; i < w.slots.size(); ++i) {
        const double* at = x_product(w, w.slots[i]);
        double* products = w.products.data() + static_cast<int64_t>(i) * this->width();
        double* between = w.between.data() + (kBetween ? static_cast<int64_t>(i) * l_.units : 0);
        for (int64_t unit = 0; unit < l_.units; ++unit) f(Lane{*this, w.slots[i], unit, at, products, between});
      }
    };
    if constexpr (Cell::gathered > 0) {
      for (int gate = 0; gate < Cell::gathered; ++gate) multiply_states(w, gate);
      for_lanes([](const Lane& lane) {
        Cell::forward(lane);
        if constexpr (!Cell::separate) Cell::finish(lane);
      });
    }
    if constexpr (Cell::separate) {
      if constexpr (kBetween)
        multiply(w, kLast, w.between.data());
      else
        multiply_states(w, kLast);
      for_lanes([](const Lane& lane) { Cell::forward_separate(lane, lane.product(kLast) + lane.x(kLast)); });
    }
    for (const Slot slot : w.slots) keep_states({slot.b, step + 1});
    for (const Slot slot : w.skipped) skip(slot);
  }
  void multiply_states(Worker& w, int gate) const {
    if (gate == 0 || in_.recurrent_dropout != nullptr)
      for (size_t i = 0; i < w.slots.size(); ++i)
        this->copy(out_.h + w.slots[i].b * l_.units, this->recurrent_mask(gate, w.slots[i].b), l_.units,
                   w.left.data() + static_cast<int64_t>(i) * l_.units);
    multiply(w, gate, w.left.data());
  }
  void multiply(Worker& w, int gate, const double* left) const {
    recurrent_[gate].multiply({left, l_.units, 1}, static_cast<int64_t>(w.slots.size()),
                              [&](int64_t row, Span units, const double* sums) {
                                double* to = w.products.data() + row * this->width() + gate * l_.units;
                                for (int64_t unit = units.first; unit < units.last; ++unit) to[unit] = sums[unit];
                              });
  }

  // A masked step: the state stays, the output repeats or is zero.
  void skip(Slot slot) const {
    keep_states({slot.b, slot.step + 1});
    if (l_.zero_output_for_mask || (l_.return_sequences && slot.step == 0))
      std::memset(y(slot), 0, bytes());
    else if (l_.return_sequences)
      std::memcpy(y(slot), y({slot.b, slot.step - 1}), bytes());
  }

  const Outputs out_;
  Panels kernel_[kGates], recurrent_[kGates];
};

}  // namespace OSTINATO_ISA
