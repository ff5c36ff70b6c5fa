// What the two plain passes share: sizes, where the history lies, the rows and steps that are not masked, and threads.
#pragma once

#include <atomic>

#define OSTINATO_DOUBLE  // for activations.h, which cells/ includes
#include "cells/list.h"
#include "engine.h"
#include "plain/product.h"
#include "start.h"
#include "threads.h"

namespace OSTINATO_ISA {

using ostinato::Layer;
using Inputs = ostinato::InputsOf<double>;
using Outputs = ostinato::OutputsOf<double>;
using Gradients = ostinato::GradientsOf<double>;

constexpr int64_t kBlockRows = 64;  // of a left-hand matrix that is copied together before a product

// Where the history has what, in doubles from its start. States are those before each step, and after the last one.
struct History {
  int64_t kept, cells, states, count;
  template <class Cell>
  static History of(const Layer& layer, Cell) {
    const int64_t steps = layer.batch * layer.time * layer.units, states = layer.batch * (layer.time + 1) * layer.units;
    const int64_t cells = Cell::kept * steps, first_state = cells + (Cell::states > 1 ? states : 0);
    return {0, cells, first_state, first_state + states};
  }
};

// A row of the batch at a step, in the order of reading.
struct Slot {
  int64_t b, step;
};

template <class Cell>
class Pass {
 protected:
  Pass(const Layer& layer, const Inputs& in)
      : l_(layer), start_(layer, in), history_(History::of(layer, Cell{})) {}

  int64_t width() const { return Cell::gates * l_.units; }
  // Of x, mask and ids; and of what is in the order of reading.
  int64_t place(Slot slot) const {
    return slot.b * l_.time + (l_.go_backwards ? l_.time - 1 - slot.step : slot.step);
  }
  int64_t index(Slot slot) const { return slot.b * l_.time + slot.step; }
  int64_t index_of_state(Slot slot) const { return slot.b * (l_.time + 1) + slot.step; }
  bool given(Slot slot) const { return in_.mask == nullptr || in_.mask[place(slot)]; }

  const double* input_mask(int gate, int64_t b) const {
    return in_.input_dropout == nullptr ? nullptr : in_.input_dropout + (gate * l_.batch + b) * l_.features;
  }
  const double* recurrent_mask(int gate, int64_t b) const {
    return in_.recurrent_dropout == nullptr ? nullptr : in_.recurrent_dropout + (gate * l_.batch + b) * l_.units;
  }
  double times_dropout(int gate, int64_t b, int64_t unit, double value) const {
    return in_.recurrent_dropout == nullptr ? value : value * recurrent_mask(gate, b)[unit];
  }
  // to = from, multiplied by a dropout mask if there is one.
  static void copy(const double* from, const double* mask, int64_t count, double* to) {
    for (int64_t i = 0; i < count; ++i) to[i] = mask == nullptr ? from[i] : from[i] * mask[i];
  }

  // About how many floating-point operations the products of the forward pass have.
  double work() const { return 2.0 * l_.batch * l_.time * (l_.features + l_.units) * width(); }
  int wanted_threads() const { return work() < 2e5 ? 1 : l_.threads; }
  // Calls f(share) for each of `shares`; whoever is free takes the next.
  template <class F>
  static void share_out(ostinato::Team& team, int64_t shares, const F& f) {
    std::atomic<int64_t> next{0};
    team.run([&](int) {
      for (int64_t mine = next++; mine < shares; mine = next++) f(mine);
    });
  }

  const Layer l_;
  const Start<double> start_;
  const Inputs& in_ = start_.in;
  const History history_;
};

}  // namespace OSTINATO_ISA
