// The passes in float64: against the same equations and differences, to float64's own rounding where there are no differences.
#pragma once

#include "cases.h"
#include "threads.h"

namespace {

struct DoubleResults {
  Doubles y, h, c, dx, dh0, dc0, dkernel, drecurrent, dbias;
  bool operator==(const DoubleResults& other) const {
    return y == other.y && h == other.h && c == other.c && dx == other.dx && dh0 == other.dh0 && dc0 == other.dc0 &&
           dkernel == other.dkernel && drecurrent == other.drecurrent && dbias == other.dbias;
  }
};

DoubleResults run_double(const Case& t, const Floats& dy, const Floats& dh, const Floats& dc, bool keeps = true) {
  forget_pauses();
  Layer l = t.layer;
  l.threads = threads();
  const Doubles x = widen(t.x), h0 = widen(t.h0), c0 = widen(t.c0), kernel = widen(t.kernel), recurrent = widen(t.recurrent);
  const Doubles biases = widen(t.biases), input_dropout = widen(t.input_dropout), recurrent_dropout = widen(t.recurrent_dropout);
  const Doubles given_dy = widen(dy), given_dh = widen(dh), given_dc = widen(dc);
  InputsOf<double> in;
  in.x = t.ids ? nullptr : x.data(), in.ids = t.ids ? t.tokens.data() : nullptr;
  if (t.has_state) in.h0 = h0.data(), in.c0 = c0.data();
  in.kernel = kernel.data(), in.recurrent = recurrent.data();
  in.bias = t.bias ? biases.data() : nullptr;
  in.input_dropout = input_dropout.empty() ? nullptr : input_dropout.data();
  in.recurrent_dropout = recurrent_dropout.empty() ? nullptr : recurrent_dropout.data();
  in.mask = t.masked ? reinterpret_cast<const bool*>(t.mask.data()) : nullptr;
  DoubleResults r;
  r.y.resize(dy.size()), r.h.resize(h0.size()), r.c.resize(c0.size());
  Doubles history(keeps ? static_cast<size_t>(history_doubles(l)) : 0);
  forward(l, in, {r.y.data(), r.h.data(), r.c.data(), keeps ? history.data() : nullptr});
  if (!keeps) return r;
  r.dx.resize(x.size()), r.dh0.resize(h0.size()), r.dc0.resize(c0.size());
  r.dkernel.resize(kernel.size()), r.drecurrent.resize(recurrent.size()), r.dbias.resize(biases.size());
  GradientsOf<double> g;
  g.history = history.data(), g.y = r.y.data(), g.dy = given_dy.data(), g.dh = given_dh.data(), g.dc = given_dc.data();
  g.dx = t.ids ? nullptr : r.dx.data();
  g.dh0 = r.dh0.data(), g.dc0 = r.dc0.data(), g.dkernel = r.dkernel.data(), g.drecurrent = r.drecurrent.data();
  g.dbias = t.bias ? r.dbias.data() : nullptr;
  backward(l, in, g);
  return r;
}

void check_double(const Case& t) {
  const Layer& l = t.layer;
  const Floats dy = normal(l.return_sequences ? l.batch * l.time * l.units : l.batch * l.units, 1);
  const Floats dh = normal(l.batch * l.units, 1), dc = normal(l.batch * l.units, 1);
  const DoubleResults r = run_double(t, dy, dh, dc), without = run_double(t, dy, dh, dc, false);
  Naive naive;
  naive.take(t);
  naive.run(t, dy, dh, dc);
  double worst = 0;
  const auto compare = [&](double found, double wanted) {
    worst = std::max(worst, std::fabs(found - wanted) / std::max(1.0, std::fabs(wanted)));
  };
  for (size_t i = 0; i < r.y.size(); ++i) compare(r.y[i], naive.y[i]);
  for (size_t i = 0; i < r.h.size(); ++i) compare(r.h[i], naive.h[i]);
  expect(worst < 1e-13, "float64 " + t.name() + " outputs differ by " + std::to_string(worst * 1e13) + "e-13");
  expect(r.y == without.y && r.h == without.h && r.c == without.c, "float64 " + t.name() + " differs without history");

  const auto gradient = [&](Doubles& values, const Doubles& found, const char* of) {
    for (int trial = 0; trial < 4 && !values.empty(); ++trial) {
      const size_t i = draw(0, static_cast<int>(values.size()) - 1);
      const double before = values[i], step = t.has_kinks() ? 1e-8 : 1e-5;
      values[i] = before + step;
      const double above = naive.run(t, dy, dh, dc);
      values[i] = before - step;
      const double below = naive.run(t, dy, dh, dc);
      values[i] = before;
      const double wanted = (above - below) / (2 * step);
      const double tolerance = t.has_kinks() ? 1e-4 : 1e-7;
      expect(std::fabs(found[i] - wanted) <= tolerance * (1 + std::fabs(wanted)),
             "float64 " + t.name() + " gradient of " + of + ": " + std::to_string(found[i]) + " for " + std::to_string(wanted));
    }
  };
  if (!t.ids) gradient(naive.x, r.dx, "x");
  gradient(naive.h0, r.dh0, "h0");
  if (l.cell == Cell::kLstm) gradient(naive.c0, r.dc0, "c0");
  gradient(naive.kernel, r.dkernel, "kernel");
  gradient(naive.recurrent, r.drecurrent, "recurrent");
  if (t.bias) gradient(naive.biases, r.dbias, "bias");
}

// A state that is not given is zeros.
void check_double_without_state(Case t) {
  std::fill(t.h0.begin(), t.h0.end(), 0.0f), std::fill(t.c0.begin(), t.c0.end(), 0.0f);
  const Layer& l = t.layer;
  const Floats dy = normal(l.return_sequences ? l.batch * l.time * l.units : l.batch * l.units, 1);
  const Floats dh = normal(l.batch * l.units, 1), dc = normal(l.batch * l.units, 1);
  DoubleResults given = run_double(t, dy, dh, dc);
  t.has_state = false;
  const DoubleResults absent = run_double(t, dy, dh, dc);
  given.dh0.assign(t.h0.size(), 0), given.dc0.assign(t.c0.size(), 0);
  expect(given == absent, "float64 " + t.name() + " differs without a state");
}

// Large enough that threads share the work.
void check_double_threads(Cell cell, bool reset_after) {
  Case t = drawn(cell, reset_after, Activation::kTanh, Activation::kSigmoid);
  Layer& l = t.layer;
  l.batch = draw(1, 70), l.time = 4, l.features = 20, l.units = 70;
  const int64_t width = t.gates() * l.units;
  t.ids = false;
  t.x = normal(l.batch * l.time * l.features, 1), t.h0 = normal(l.batch * l.units, 1), t.c0 = normal(l.batch * l.units, 1);
  t.kernel = normal(l.features * width, 0.3f), t.recurrent = normal(l.units * width, 0.1f), t.biases = normal(2 * width, 0.3f);
  if (!t.input_dropout.empty()) t.input_dropout = dropout(t.gates() * l.batch * l.features);
  if (!t.recurrent_dropout.empty()) t.recurrent_dropout = dropout(t.gates() * l.batch * l.units);
  t.mask.resize(static_cast<size_t>(l.batch * l.time));
  for (char& given : t.mask) given = draw(0, 3) != 0;
  const Floats dy = normal(l.return_sequences ? l.batch * l.time * l.units : l.batch * l.units, 1);
  const Floats dh = normal(l.batch * l.units, 1), dc = normal(l.batch * l.units, 1);
  set_threads(1);
  const DoubleResults one = run_double(t, dy, dh, dc);
  for (const int count : {2, 3, 8}) {
    set_threads(count);
    expect(one == run_double(t, dy, dh, dc), "float64 " + t.name() + " differs with " + std::to_string(count) + " threads");
  }
  set_threads(1);
}

void check_doubles(int cases, bool all) {
  set_threads(1);
  for (int i = 0; i < cases; ++i) check_double(drawn());
  for (int i = 0; i < kActivations; ++i)
    for (int j = 0; j < kActivations; ++j) {
      if (!all && j != (i + 4) % kActivations) continue;
      const Activation activation = static_cast<Activation>(i), recurrent = static_cast<Activation>(j);
      check_double(drawn(Cell::kRnn, true, activation, recurrent));
      check_double(drawn(Cell::kGru, true, activation, recurrent));
      check_double(drawn(Cell::kGru, false, activation, recurrent));
      check_double(drawn(Cell::kLstm, true, activation, recurrent));
    }
  for (int i = 0; i < (all ? 6 : 2); ++i) {
    check_double_threads(Cell::kRnn, true);
    check_double_threads(Cell::kGru, true);
    check_double_threads(Cell::kGru, false);
    check_double_threads(Cell::kLstm, true);
  }
}

}  // namespace
