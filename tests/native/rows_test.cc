// Element-wise recurrences, row-wise layers and products without TensorFlow: gradients against differences of the outputs, and
// bit for bit the same for every number of threads, at sizes that fill no vector and no tile. Their equations are compared with
// the papers' in tests/cells. Prints one line per failure and a closing line; exits with 1 if anything failed.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "activations.h"
#include "cells/elementwise_list.h"
#include "elementwise.h"
#include "engine.h"
#include "gate.h"
#include "headwise.h"
#include "memory.h"
#include "product.h"
#include "rowwise.h"
#include "threads.h"

namespace {

using namespace ostinato;
using Floats = std::vector<float>;

int failures = 0;
std::mt19937 random_numbers(1);

void expect(bool holds, const std::string& what) {
  if (!holds) ++failures, std::printf("%s\n", what.c_str());
}
Floats normal(int64_t count, float size) {
  std::normal_distribution<float> draw(0, size);
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = draw(random_numbers);
  return values;
}
std::unique_ptr<bool[]> a_mask(bool masked, int64_t count) {
  if (!masked) return nullptr;
  auto mask = std::make_unique<bool[]>(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) mask[i] = random_numbers() % 3 != 0;
  return mask;
}
double dot(const Floats& a, const Floats& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// A call with given inputs: the total of its outputs, weighted, and the gradients of that by its inputs.
struct Call {
  std::vector<Floats*> inputs;
  std::function<double()> total;
  std::function<std::vector<Floats>(int threads)> gradients;  // and outputs behind them
};

void check(const std::string& name, const Call& call, bool smooth = true) {
  std::vector<Floats> one;
  for (const int threads : {1, 2, 3, 8}) {
    forget_pauses();
    const std::vector<Floats> found = call.gradients(threads);
    if (threads == 1) one = found;
    expect(found == one, name + " differs with " + std::to_string(threads) + " threads");
  }
  for (size_t input = 0; smooth && input < call.inputs.size(); ++input) {
    Floats& values = *call.inputs[input];
    if (values.empty()) continue;
    const Floats direction = normal(static_cast<int64_t>(values.size()), 1), before = values;
    double sides[2];
    const float small = 2e-3f;
    for (int side = 0; side < 2; ++side) {
      for (size_t i = 0; i < values.size(); ++i) values[i] = before[i] + (side ? small : -small) * direction[i];
      sides[side] = call.total();
    }
    values = before;
    const double difference = (sides[1] - sides[0]) / (2.0 * small), found = dot(one[input], direction);
    expect(std::fabs(found - difference) < 0.02 * (1 + std::fabs(difference)),
           name + " input " + std::to_string(input) + ": " + std::to_string(found) + ", by differences " + std::to_string(difference));
  }
}

void elementwise(int form, int64_t batch, int64_t time, int64_t units, int options) {
  Elementwise l;
  l.form = form, l.batch = batch, l.time = time, l.units = units;
  l.go_backwards = options & 1, l.return_sequences = !(options & 2), l.zero_output_for_mask = options & 4;
  const bool masked = options & 8;
  const ElementwiseSizes z = sizes_of(l);
  std::string name;
  int number = 0;
  for_each_elementwise([&](auto each) { name = number++ == form ? decltype(each)::name : name; });
  // Differences across a kink are no gradients.
  const bool smooth = name.find("relu") == std::string::npos && name.find("positive") == std::string::npos;
  const int64_t steps = batch * time, ys = l.return_sequences ? time : 1;
  Floats sums = normal(steps * z.sums * units, 0.5f), x = normal(z.takes_x ? steps * units : 0, 0.5f);
  Floats state = normal(batch * z.states * units, 0.5f), bias = normal(z.sums * units, 0.5f);
  Floats constants(static_cast<size_t>(z.constants * units));
  for (float& value : constants) value = 0.1f + 0.05f * static_cast<float>(random_numbers() % 10);
  const auto mask = a_mask(masked, steps);
  const Floats dy = normal(batch * ys * z.outputs * units, 1), dstate = normal(batch * z.states * units, 1);
  Floats y(dy.size()), after(dstate.size()), history(static_cast<size_t>(y_lacks_states(l, masked) ? steps * z.states * units : 0));
  const auto inputs = [&] {
    return ElementwiseInputs{sums.data(), x.data(), state.data(), bias.data(), constants.data(), mask.get()};
  };
  const auto run = [&](int threads) {
    l.threads = threads;
    forward(l, inputs(), {y.data(), after.data(), history.empty() ? nullptr : history.data()});
  };
  check(name + " options " + std::to_string(options),
        {{&sums, &x, &state, &bias, &constants},
         [&] { run(2); return dot(y, dy) + dot(after, dstate); },
         [&](int threads) {
           run(threads);
           std::vector<Floats> g = {Floats(sums.size()), Floats(x.size()), Floats(state.size()), Floats(bias.size()),
                                    Floats(constants.size())};
           ElementwiseGradients out{history.empty() ? y.data() : history.data(), dy.data(), dstate.data()};
           out.dsums = g[0].data(), out.dx = g[1].data(), out.dstate0 = g[2].data(), out.dbias = g[3].data();
           out.dconstants = g[4].empty() ? nullptr : g[4].data();
           backward(l, inputs(), out);
           g.push_back(y), g.push_back(after);
           return g;
         }},
        smooth);
}

void rowwise(Rowwise l, bool masked, bool with_bits, bool ids) {
  const int64_t steps = l.batch * l.time, ys = l.return_sequences ? l.time : 1, c = l.has_c() ? l.units : 0;
  Floats x = normal(ids ? 0 : steps * l.features, 0.7f), h0 = normal(l.batch * l.outputs, 0.5f), c0 = normal(l.batch * c, 0.5f);
  Floats kernel = normal(l.features * l.width(), 0.5f), recurrent = normal(l.outputs * l.width(), 0.3f);
  Floats projection = normal(l.projects ? l.units * l.outputs : 0, 0.4f), bias = normal(l.biases(), 0.3f);
  Floats vectors = normal(l.vectors(), 0.3f);
  for (float& value : vectors) value += 0.7f;
  std::vector<int32_t> tokens(static_cast<size_t>(steps)), bits;
  for (int32_t& token : tokens) token = static_cast<int32_t>(random_numbers() % static_cast<unsigned>(l.features));
  if (with_bits) bits.resize(static_cast<size_t>(steps * std::max(l.outputs, l.units)));
  for (int32_t& each : bits) each = static_cast<int32_t>(random_numbers());
  const auto mask = a_mask(masked, steps);
  const Floats dy = normal(l.batch * ys * l.outputs, 1), dh = normal(l.batch * l.outputs, 1), dc = normal(l.batch * c, 1);
  Floats y(dy.size()), h(dh.size()), end(dc.size()), history(static_cast<size_t>(rowwise_history(l, masked)));
  const auto inputs = [&] {
    RowwiseInputs in;
    ids ? (void)(in.ids = tokens.data()) : (void)(in.x = x.data());
    in.h0 = h0.data(), in.c0 = c0.data(), in.kernel = kernel.data(), in.recurrent = recurrent.data();
    in.projection = l.projects ? projection.data() : nullptr, in.bias = bias.data(), in.vectors = vectors.data();
    in.bits = with_bits ? bits.data() : nullptr, in.mask = mask.get();
    return in;
  };
  const auto run = [&](int threads) {
    l.threads = threads;
    forward(l, inputs(), {y.data(), h.data(), end.data(), history.data()});
  };
  check("rowwise cell " + std::to_string(static_cast<int>(l.cell)) + " norm " + std::to_string(l.layer_norm) + " batch " +
            std::to_string(l.batch) + " units " + std::to_string(l.units),
        {{&x, &h0, &c0, &kernel, &recurrent, &projection, &bias, &vectors},
         [&] { run(2); return dot(y, dy) + dot(h, dh) + dot(end, dc); },
         [&](int threads) {
           run(threads);
           std::vector<Floats> g;
           for (const Floats* each : {&x, &h0, &c0, &kernel, &recurrent, &projection, &bias, &vectors}) g.emplace_back(each->size());
           RowwiseGradients out;
           out.history = history.data(), out.y = y.data(), out.dy = dy.data(), out.dh = dh.data(), out.dc = dc.data();
           out.dx = ids ? nullptr : g[0].data(), out.dh0 = g[1].data(), out.dc0 = g[2].data(), out.dkernel = g[3].data();
           out.drecurrent = g[4].data(), out.dprojection = g[5].data(), out.dbias = g[6].data(), out.dvectors = g[7].data();
           backward(l, inputs(), out);
           g.push_back(y), g.push_back(h), g.push_back(end);
           return g;
         }});
}

void memory(MemoryForm form, int64_t batch, int64_t time, int64_t heads, int64_t width, bool masked) {
  Memory l;
  l.form = form, l.batch = batch, l.time = time, l.heads = heads, l.width = width;
  const int64_t rows = batch * time * heads, states = batch * heads, n_size = l.normalises() ? width : 0;
  Floats qkv = normal(3 * rows * width, 0.5f), gates = normal(rows * 2, 0.5f);
  Floats s = normal(states * width * width, 0.3f), n = normal(states * n_size, 0.3f), m = normal(l.normalises() ? states : 0, 0.5f);
  // Numbers of one sign: a normaliser near 0 has no difference that is worth its name.
  for (float& value : qkv) value = 0.3f + std::fabs(value);
  for (float& value : n) value = 1 + std::fabs(value);
  for (size_t i = 0; i < gates.size(); ++i)
    if (form == MemoryForm::kGatedDelta) gates[i] = i % 2 ? 0.5f + 0.1f * gates[i] : -std::fabs(gates[i]);
    else if (i % 2) gates[i] = -0.3f - std::fabs(gates[i]);
  const auto mask = a_mask(masked, batch * time);
  const Floats dy = normal(rows * width, 1), ds = normal(s.size(), 1), dn = normal(n.size(), 1), dm = normal(m.size(), 1);
  Floats y(dy.size()), after(s.size()), n_after(n.size()), m_after(m.size()), history(static_cast<size_t>(memory_history(l)));
  const auto inputs = [&] {
    return MemoryInputs{qkv.data(), gates.data(), s.data(), n.data(), m.data(), mask.get()};
  };
  const auto run = [&](int threads, bool keeps) {
    l.threads = threads;
    forward(l, inputs(), {y.data(), after.data(), n_after.data(), m_after.data(), keeps ? history.data() : nullptr});
  };
  check("memory " + std::to_string(static_cast<int>(form)) + " " + std::to_string(time) + " " + std::to_string(width),
        {{&qkv, &gates, &s, &n, &m},
         [&] { run(2, false); return dot(y, dy) + dot(after, ds) + dot(n_after, dn) + dot(m_after, dm); },
         [&](int threads) {
           run(threads, true);
           std::vector<Floats> g;
           for (const Floats* each : {&qkv, &gates, &s, &n, &m}) g.emplace_back(each->size());
           MemoryGradients out{history.data(), y.data(), dy.data(), ds.data(), dn.data(), dm.data()};
           out.dqkv = g[0].data(), out.dgates = g[1].data();
           out.dmemory0 = g[2].data(), out.dnormaliser0 = g[3].data(), out.dm0 = g[4].data();
           backward(l, inputs(), out);
           g.push_back(y), g.push_back(after), g.push_back(n_after), g.push_back(m_after);
           return g;
         }},
        form == MemoryForm::kGatedDelta || time < 4);
}

void headwise(int64_t batch, int64_t time, int64_t heads, int64_t width, bool exponential, bool masked) {
  Headwise l;
  l.exponential_forget = exponential, l.batch = batch, l.time = time, l.heads = heads, l.width = width;
  const int64_t units = l.units();
  Floats sums = normal(batch * time * 4 * units, 0.5f), bias = normal(4 * units, 0.3f), recurrent = normal(heads * width * 4 * width, 0.2f);
  Floats state = normal(batch * 4 * units, 0.3f);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t unit = 0; unit < units; ++unit) {
      float& n = state[static_cast<size_t>((b * 4 + 2) * units + unit)];
      n = 1 + std::fabs(n);
    }
  const auto mask = a_mask(masked, batch * time);
  const Floats dy = normal(batch * time * units, 1), dstate = normal(state.size(), 1);
  Floats y(dy.size()), after(state.size()), history(static_cast<size_t>(headwise_history(l)));
  const auto inputs = [&] { return HeadwiseInputs{sums.data(), bias.data(), recurrent.data(), state.data(), mask.get()}; };
  const auto run = [&](int threads, bool keeps) {
    l.threads = threads;
    forward(l, inputs(), {y.data(), after.data(), keeps ? history.data() : nullptr});
  };
  check("headwise " + std::to_string(batch) + " " + std::to_string(heads) + " " + std::to_string(width),
        {{&sums, &bias, &recurrent, &state},
         [&] { run(2, false); return dot(y, dy) + dot(after, dstate); },
         [&](int threads) {
           run(threads, true);
           std::vector<Floats> g = {Floats(sums.size()), Floats(bias.size()), Floats(recurrent.size()), Floats(state.size())};
           HeadwiseGradients out{history.data(), dy.data(), dstate.data()};
           out.dsums = g[0].data(), out.dbias = g[1].data(), out.drecurrent = g[2].data(), out.dstate0 = g[3].data();
           backward(l, inputs(), out);
           g.push_back(y), g.push_back(after);
           return g;
         }},
        batch < 4);  // m is the larger of two numbers, and among many some are nearly the same: there is its kink
}

void product(int64_t rows, int64_t inputs, int64_t outputs) {
  Product p{rows, inputs, outputs, 1};
  Floats x = normal(rows * inputs, 1), weights = normal(inputs * outputs, 1), y(static_cast<size_t>(rows * outputs));
  const Floats dy = normal(rows * outputs, 1);
  check("product " + std::to_string(rows) + " " + std::to_string(inputs) + " " + std::to_string(outputs),
        {{&x, &weights},
         [&] { multiply(p, x.data(), weights.data(), y.data()); return dot(y, dy); },
         [&](int threads) {
           p.threads = threads;
           std::vector<Floats> g = {Floats(x.size()), Floats(weights.size()), Floats(y.size())};
           multiply(p, x.data(), weights.data(), g[2].data());
           multiply_back(p, x.data(), weights.data(), dy.data(), g[0].data(), g[1].data());
           return g;
         }});
}

void gated(Activation activation, int64_t count) {
  Gate layer{count, activation, 1};
  Floats x = normal(count, 1), g = normal(count, 1), y(static_cast<size_t>(count));
  const Floats dy = normal(count, 1);
  check("gate " + std::string(kActivationNames[static_cast<int>(activation)]) + " " + std::to_string(count),
        {{&x, &g},
         [&] { gate(layer, x.data(), g.data(), y.data()); return dot(y, dy); },
         [&](int threads) {
           layer.threads = threads;
           std::vector<Floats> found = {Floats(x.size()), Floats(g.size()), Floats(y.size())};
           gate(layer, x.data(), g.data(), found[2].data());
           gate_back(layer, x.data(), g.data(), dy.data(), found[0].data(), found[1].data());
           return found;
         }});
}

}  // namespace

int main(int, char** arguments) {
  const int cases = std::atoi(arguments[1]);
  int forms = 0;
  for_each_elementwise([&](auto) { ++forms; });
  for (int form = 0; form < forms; ++form)
    for (int options = 0; options < 16; ++options)
      if (cases > 3 || options == 0 || options == 11) elementwise(form, 5, 6, form % 2 ? 37 : 3, options);
  elementwise(4, 40, 30, 100, 8);  // work for several threads
  int number = 0;
  for (const RowwiseCell cell : {RowwiseCell::kLstm, RowwiseCell::kGru, RowwiseCell::kRnn})
    for (int options = 0; options < 8; ++options, ++number) {
      if (cases <= 3 && options % 3) continue;
      Rowwise l;
      l.cell = cell, l.layer_norm = options & 1, l.peephole = (options & 2) && l.has_c(), l.coupled = (options & 4) && l.has_c();
      l.batch = number % 2 ? 3 : 19, l.time = 5, l.features = number % 3 ? 7 : 1, l.units = l.outputs = number % 4 ? 13 : 33;
      l.projects = options > 4 && l.has_c();
      if (l.projects) l.outputs = 6;
      l.go_backwards = options & 2, l.return_sequences = !(options & 4), l.zero_output_for_mask = options & 1;
      l.zoneout_h = options & 4 ? 0.3f : 0.0f, l.zoneout_c = options & 4 ? 0.2f : 0.0f;
      rowwise(l, options & 1, options & 4, options == 3);
    }
  Rowwise wide;  // by units, and over several stretches
  wide.layer_norm = true, wide.batch = 4, wide.time = 40, wide.features = 20, wide.units = wide.outputs = cases > 3 ? 200 : 90;
  rowwise(wide, true, false, false);
  for (const MemoryForm form : {MemoryForm::kGatedDelta, MemoryForm::kMlstm})
    for (const int64_t width : {1, 5, 8, 33, 70})
      for (const int64_t time : {1, 3, 37}) memory(form, 2, time, 3, width, width == 5 || width == 70);
  memory(MemoryForm::kGatedDelta, 8, 20, 4, 32, false);  // work for several threads
  for (const bool option : {false, true}) {
    headwise(3, 3, 2, 5, option, !option), headwise(1, 1, 1, 9, option, option), headwise(19, 3, 3, 17, option, option);
    headwise(40, 12, 2, 40, option, option);
  }
  product(1, 1, 1), product(300, 17, 45), product(500, 40, 130);
  for (const Activation activation : {Activation::kSigmoid, Activation::kSilu, Activation::kTanh})
    gated(activation, 1), gated(activation, 37), gated(activation, 50001);
  std::printf("%s: %d failures\n", instruction_set(), failures);
  return failures == 0 ? 0 : 1;
}
