// The passes without TensorFlow: against a naive copy of the equations in double precision, gradients against central
// differences of that copy, and bit for bit the same for every number of threads. Prints one line per failure and a
// closing line; exits with 1 if anything failed.
#include <cstdlib>
#include <thread>

#include "cases.h"
#include "double_test.h"
#include "threads.h"

namespace {

struct Results {
  Floats y, h, c, history;
  Floats dx, dh0, dc0, dkernel, drecurrent, dbias;
};

Results run(const Case& t, const Floats& dy, const Floats& dh, const Floats& dc, bool keeps = true) {
  forget_pauses();  // after helpers that came late, too, the next call has some
  Layer l = t.layer;
  l.threads = threads();
  Results r;
  r.y.resize(l.return_sequences ? l.batch * l.time * l.units : l.batch * l.units);
  r.h.resize(l.batch * l.units), r.c.resize(l.batch * l.units);
  if (keeps) r.history.resize(history_floats(l, t.masked));
  const Inputs in = t.inputs();
  std::vector<char> work(forward_workspace_bytes(l, in, keeps));
  forward(l, in, {r.y.data(), r.h.data(), r.c.data(), keeps ? r.history.data() : nullptr}, work.data());
  if (!keeps) return r;
  r.dx.resize(t.x.size()), r.dh0.resize(t.h0.size()), r.dc0.resize(t.c0.size());
  r.dkernel.resize(t.kernel.size()), r.drecurrent.resize(t.recurrent.size()), r.dbias.resize(t.biases.size());
  Gradients g;
  g.history = r.history.data(), g.y = r.y.data(), g.dy = dy.data(), g.dh = dh.data(), g.dc = dc.data();
  g.dx = t.ids ? nullptr : r.dx.data();
  g.dh0 = r.dh0.data(), g.dc0 = r.dc0.data(), g.dkernel = r.dkernel.data(), g.drecurrent = r.drecurrent.data();
  g.dbias = t.bias ? r.dbias.data() : nullptr;
  work.assign(backward_workspace_bytes(l, in), 0);
  backward(l, in, g, work.data());
  return r;
}

void check_against_naive(const Case& t) {
  const Layer& l = t.layer;
  const Floats dy = normal(l.return_sequences ? l.batch * l.time * l.units : l.batch * l.units, 1);
  const Floats dh = normal(l.batch * l.units, 1), dc = normal(l.batch * l.units, 1);
  const Results r = run(t, dy, dh, dc);
  const Results without = run(t, dy, dh, dc, false);
  Naive naive;
  naive.take(t);
  naive.run(t, dy, dh, dc);
  double worst = 0;
  const auto compare = [&](double found, double wanted) {
    worst = std::max(worst, std::fabs(found - wanted) / std::max(1.0, std::fabs(wanted)));
  };
  for (size_t i = 0; i < r.y.size(); ++i) compare(r.y[i], naive.y[i]);
  for (size_t i = 0; i < r.h.size(); ++i) compare(r.h[i], naive.h[i]);
  expect(worst < 1e-5, t.name() + " outputs differ by " + std::to_string(worst));
  expect(r.y == without.y && r.h == without.h, t.name() + " differs when no history is kept");

  const auto gradient = [&](Doubles& values, const Floats& found, const char* of) {
    for (int trial = 0; trial < 4 && !values.empty(); ++trial) {
      const size_t i = draw(0, static_cast<int>(values.size()) - 1);
      const double before = values[i], step = t.has_kinks() ? 1e-8 : 1e-5;
      values[i] = before + step;
      const double above = naive.run(t, dy, dh, dc);
      values[i] = before - step;
      const double below = naive.run(t, dy, dh, dc);
      values[i] = before;
      const double wanted = (above - below) / (2 * step);
      expect(std::fabs(found[i] - wanted) <= 1e-3 + 1e-3 * std::fabs(wanted),
             t.name() + " gradient of " + of + ": " + std::to_string(found[i]) + " for " + std::to_string(wanted));
    }
  };
  if (!t.ids) gradient(naive.x, r.dx, "x");
  gradient(naive.h0, r.dh0, "h0");
  if (l.cell == Cell::kLstm) gradient(naive.c0, r.dc0, "c0");
  gradient(naive.kernel, r.dkernel, "kernel");
  gradient(naive.recurrent, r.drecurrent, "recurrent");
  if (t.bias) gradient(naive.biases, r.dbias, "bias");
}

// A state that is not given is zeros, bit for bit; without its gradient.
void check_without_state(Case t) {
  std::fill(t.h0.begin(), t.h0.end(), 0.0f), std::fill(t.c0.begin(), t.c0.end(), 0.0f);
  const Layer& l = t.layer;
  const Floats dy = normal(l.return_sequences ? l.batch * l.time * l.units : l.batch * l.units, 1);
  const Floats dh = normal(l.batch * l.units, 1), dc = normal(l.batch * l.units, 1);
  const Results given = run(t, dy, dh, dc);
  t.has_state = false;
  const Results absent = run(t, dy, dh, dc);
  expect(given.y == absent.y && given.h == absent.h && given.dx == absent.dx && given.dkernel == absent.dkernel &&
             given.drecurrent == absent.drecurrent && given.dbias == absent.dbias,
         t.name() + " differs without a state");
  const Floats nothing(t.h0.size());
  expect(absent.dh0 == nothing && absent.dc0 == nothing, t.name() + " wrote the gradient of a state that is not given");
}

bool same(const Results& a, const Results& b) {
  return a.y == b.y && a.h == b.h && a.dx == b.dx && a.dh0 == b.dh0 && a.dkernel == b.dkernel &&
         a.drecurrent == b.drecurrent && a.dbias == b.dbias;
}

// Large enough that the work is divided: by groups of rows, by rows and by units.
void check_threads(Cell cell, bool reset_after, bool classic, int64_t batch, int64_t units, bool drops, bool alone) {
  Case t;
  Layer& l = t.layer;
  l.cell = cell, l.reset_after = reset_after;
  if (!classic) l.activation = Activation::kSilu, l.recurrent_activation = Activation::kHardSigmoid;
  l.batch = batch, l.time = 4, l.features = 20, l.units = units;
  const int64_t width = t.gates() * units;
  t.x = normal(batch * l.time * l.features, 1);
  t.h0 = normal(batch * units, 1), t.c0 = normal(batch * units, 1);
  t.kernel = normal(l.features * width, 0.3f), t.recurrent = normal(units * width, 0.1f);
  t.biases = normal(width * 2, 0.3f);
  if (drops) {
    t.input_dropout = dropout(t.gates() * batch * l.features);
    t.recurrent_dropout = dropout(t.gates() * batch * units);
  }
  t.masked = true;
  for (int64_t i = 0; i < batch * l.time; ++i) t.mask.push_back(draw(0, 3) != 0);
  const Floats dy = normal(batch * l.time * units, 1), dh = normal(batch * units, 1), dc = normal(batch * units, 1);
  set_threads(1);
  const Results one = run(t, dy, dh, dc);
  for (const int count : {2, 3, 8}) {
    set_threads(count);
    expect(same(one, run(t, dy, dh, dc)), t.name() + " differs with " + std::to_string(count) + " threads");
  }
  if (alone) return;
  set_threads(2);
  std::vector<std::thread> callers;
  std::vector<char> equal(4, 0);
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&, caller] { equal[caller] = same(one, run(t, dy, dh, dc)); });
  for (std::thread& caller : callers) caller.join();
  for (const char e : equal) expect(e, t.name() + " differs when several call at once");
}

// A helper that comes to the barrier late is dismissed: every meeting of the caller ends, and so does the helper's work.
void check_late_helper() {
  for (const bool patient : {true, false}) {
    forget_pauses();
    Team team(2, 1e9);
    Barrier barrier(team.size());
    bool dismissed = false;
    int here = 0, meetings = 0;
    team.run([&](int index) {
      if (index == 0) barrier.expect(here = team.gather());
      try {
        for (int step = 0; step < 50; ++step) {
          volatile double spent = 0;
          if (index == 1 && !barrier.dismissed())
            for (int i = 0; i < 300000; ++i) spent = spent + i;
          barrier.wait(patient ? Clock::duration::max() : Clock::duration(0));
          if (index == 0) ++meetings;
        }
      } catch (const Barrier::Dismissed&) {
        dismissed = true;
      }
    });
    expect(meetings == 50, "the caller did not pass every meeting");
    expect(dismissed == (!patient && here == 2), "a late helper was not dismissed, or a patient caller dismissed one");
    if (dismissed) team.regret();
  }
}

// Results with helpers that are dismissed at any meeting: more threads than processors, again and again.
void check_crowded() {
  Case t = drawn(Cell::kGru, false, Activation::kTanh, Activation::kSigmoid);
  Layer& l = t.layer;
  l.batch = 2, l.time = 40, l.features = 20, l.units = 160, l.return_sequences = true;
  t.ids = t.masked = false, t.bias = true;
  t.input_dropout.clear(), t.recurrent_dropout.clear();
  t.x = normal(l.batch * l.time * l.features, 1), t.h0 = normal(l.batch * l.units, 1), t.c0 = t.h0;
  t.kernel = normal(l.features * 3 * l.units, 0.3f), t.recurrent = normal(l.units * 3 * l.units, 0.1f);
  t.biases = normal(3 * l.units, 0.3f);
  const Floats dy = normal(l.batch * l.time * l.units, 1), dh = normal(l.batch * l.units, 1), dc = dh;
  set_threads(1);
  const Results one = run(t, dy, dh, dc);
  set_threads(16);
  for (int trial = 0; trial < 20; ++trial)
    expect(same(one, run(t, dy, dh, dc)), t.name() + " differs where helpers come late");
}

// TensorFlow's threads flush denormal numbers to zero: helpers must as well.
void check_denormals() {
#if defined(__x86_64__)
  Case t;
  Layer& l = t.layer;
  l.cell = Cell::kRnn, l.activation = Activation::kLinear;
  l.batch = 64, l.time = 50, l.features = 8, l.units = 32;
  t.x = Floats(l.batch * l.time * l.features, 1e-39f);
  t.h0 = Floats(l.batch * l.units), t.c0 = t.h0;
  t.kernel = normal(l.features * l.units, 1), t.recurrent = normal(l.units * l.units, 0.1f), t.biases = Floats(l.units);
  const Floats dy = normal(l.batch * l.time * l.units, 1e-38f), dh(l.batch * l.units), dc = dh;
  const unsigned flush = 0x8040, before = __builtin_ia32_stmxcsr();
  for (const unsigned mode : {before, before | flush}) {
    __builtin_ia32_ldmxcsr(mode);
    set_threads(1);
    const Results one = run(t, dy, dh, dc);
    set_threads(2);
    for (int trial = 0; trial < 20; ++trial)
      expect(same(one, run(t, dy, dh, dc)), "denormal numbers: two threads differ from one");
  }
  __builtin_ia32_ldmxcsr(before);
#endif
}

// Every activation in every place; every pair of them with `all`.
void check_activations(bool all) {
  set_threads(1);
  for (int i = 0; i < kActivations; ++i) {
    const Activation activation = static_cast<Activation>(i);
    check_against_naive(drawn(Cell::kRnn, true, activation, Activation::kSigmoid));
    for (int j = 0; j < kActivations; ++j) {
      if (!all && j != (i + 4) % kActivations) continue;
      for (const bool reset_after : {true, false})
        check_against_naive(drawn(Cell::kGru, reset_after, activation, static_cast<Activation>(j)));
      check_against_naive(drawn(Cell::kLstm, true, activation, static_cast<Activation>(j)));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 200;
  const std::string how = argc > 2 ? argv[2] : "";
  const bool all = how == "all", alone = how == "alone";  // alone: where no thread can be started
  set_threads(1);
  for (int i = 0; i < cases; ++i) check_against_naive(drawn());
  for (const int64_t batch : {1, 5, 64})
    for (const int64_t units : {70, 160})
      for (const bool drops : {false, true}) {
        if (!all && drops != ((batch == 5) != (units == 160))) continue;
        for (const bool classic : {true, false}) {
          // Of each cell one form at a size; each comes with dropout and without it, at one size or another.
          const bool first = all || classic == (units == 70), second = all || !first;
          if (first) check_threads(Cell::kLstm, true, classic, batch, units, drops, alone);
          if (second) check_threads(Cell::kGru, true, classic, batch, units, drops, alone);
          if (first) check_threads(Cell::kGru, false, classic, batch, units, drops, alone);
          if (second) check_threads(Cell::kRnn, true, classic, batch, units, drops, alone);
        }
      }
  check_late_helper();
  check_crowded();
  check_denormals();
  check_activations(all);
  check_doubles(cases, all);
  for (int i = 0; i < cases / 2; ++i) check_without_state(drawn());
  for (int i = 0; i < cases / 4; ++i) check_double_without_state(drawn());
  std::printf("%s: %d cases, %d failures\n", instruction_set(), cases, failures);
  return failures == 0 ? 0 : 1;
}
