// Cases for the tests of the passes, drawn at random, and a naive copy of the equations in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "activations.h"
#include "engine.h"

namespace {

using namespace ostinato;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr int kActivations = static_cast<int>(Activation::kSilu) + 1;

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (holds) return;
  ++failures;
  std::printf("failed: %s\n", what.c_str());
}

Doubles widen(const Floats& values) { return Doubles(values.begin(), values.end()); }

struct Case {
  Layer layer;
  bool bias = true, masked = false, ids = false, has_state = true;
  Floats x, h0, c0, kernel, recurrent, biases, input_dropout, recurrent_dropout;
  std::vector<int32_t> tokens;
  std::vector<char> mask;

  int gates() const { return layer.cell == Cell::kLstm ? 4 : layer.cell == Cell::kGru ? 3 : 1; }
  Inputs inputs() const {
    Inputs in;
    in.x = ids ? nullptr : x.data();
    in.ids = ids ? tokens.data() : nullptr;
    if (has_state) in.h0 = h0.data(), in.c0 = c0.data();
    in.kernel = kernel.data(), in.recurrent = recurrent.data();
    in.bias = bias ? biases.data() : nullptr;
    in.input_dropout = input_dropout.empty() ? nullptr : input_dropout.data();
    in.recurrent_dropout = recurrent_dropout.empty() ? nullptr : recurrent_dropout.data();
    in.mask = masked ? reinterpret_cast<const bool*>(mask.data()) : nullptr;
    return in;
  }
  // Whether a slope jumps somewhere, which differences should not reach across.
  bool has_kinks() const {
    for (const Activation each : {layer.activation, layer.recurrent_activation})
      for (const Activation kinked : {Activation::kRelu, Activation::kHardSigmoid, Activation::kKeras2HardSigmoid, Activation::kSelu})
        if (each == kinked) return true;
    return false;
  }
  std::string name() const {
    char text[250];
    std::snprintf(text, sizeof text, "cell %d %s %s after %d back %d seq %d zero %d bias %d mask %d ids %d dropout %d %d: %ldx%ldx%ld->%ld",
                  static_cast<int>(layer.cell), kActivationNames[static_cast<int>(layer.activation)],
                  kActivationNames[static_cast<int>(layer.recurrent_activation)], layer.reset_after, layer.go_backwards, layer.return_sequences,
                  layer.zero_output_for_mask, bias, masked, ids, !input_dropout.empty(), !recurrent_dropout.empty(),
                  static_cast<long>(layer.batch), static_cast<long>(layer.time), static_cast<long>(layer.features), static_cast<long>(layer.units));
    return text;
  }
};

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kTanh: return std::tanh(x);
    case Activation::kRelu: return std::fmax(x, 0);
    case Activation::kSigmoid: return 1 / (1 + std::exp(-x));
    case Activation::kHardSigmoid: return std::fmin(std::fmax(x / 6 + 0.5, 0), 1);
    case Activation::kKeras2HardSigmoid: return std::fmin(std::fmax(x / 5 + 0.5, 0), 1);
    case Activation::kSoftsign: return x / (1 + std::fabs(x));
    case Activation::kElu: return x > 0 ? x : std::expm1(x);
    case Activation::kSelu: return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * std::expm1(x));
    case Activation::kSilu: return x / (1 + std::exp(-x));
    default: return x;
  }
}
// The sum of all outputs and final states, weighted by the gradients given; also fills y and h.
struct Naive {
  Doubles x, h0, c0, kernel, recurrent, biases, y, h;

  void take(const Case& t) {
    x = widen(t.x), h0 = widen(t.h0), c0 = widen(t.c0);
    kernel = widen(t.kernel), recurrent = widen(t.recurrent), biases = widen(t.biases);
  }
  double run(const Case& t, const Floats& dy, const Floats& dh, const Floats& dc) {
    const Layer& l = t.layer;
    const auto value = [&](double sum) { return activated(l.activation, sum); };
    const auto gate = [&](double sum) { return activated(l.recurrent_activation, sum); };
    const int64_t U = l.units, W = t.gates() * U;
    y.assign(dy.size(), 0), h = h0;
    Doubles c = c0;
    const auto kept = [](const Floats& masks, int64_t i) { return masks.empty() ? 1.0 : static_cast<double>(masks[i]); };
    for (int64_t b = 0; b < l.batch; ++b) {
      Doubles out(U, 0);
      for (int64_t s = 0; s < l.time; ++s) {
        const int64_t at = b * l.time + (l.go_backwards ? l.time - 1 - s : s);
        double* hb = &h[b * U];
        if (t.masked && !t.mask[at]) {
          if (l.zero_output_for_mask) out.assign(U, 0);
        } else {
          Doubles in(W, 0), re(W, 0), next(U);
          for (int64_t j = 0; j < W; ++j) {
            const int64_t row = j / U * l.batch + b;  // of the gate's dropout masks
            if (t.ids) in[j] = kernel[t.tokens[at] * W + j];
            else for (int64_t k = 0; k < l.features; ++k) 
              in[j] += x[at * l.features + k] * kept(t.input_dropout, row * l.features + k) * kernel[k * W + j];
            if (t.bias) in[j] += biases[j];
            for (int64_t k = 0; k < U; ++k)
              re[j] += hb[k] * kept(t.recurrent_dropout, row * U + k) * recurrent[k * W + j];
          }
          if (l.cell == Cell::kGru && l.reset_after && t.bias)
            for (int64_t j = 0; j < W; ++j) re[j] += biases[W + j];
          if (l.cell == Cell::kGru && !l.reset_after)
            for (int64_t u = 0; u < U; ++u) {
              re[2 * U + u] = 0;
              for (int64_t k = 0; k < U; ++k)
                re[2 * U + u] += hb[k] * kept(t.recurrent_dropout, (2 * l.batch + b) * U + k) *
                                 gate(in[U + k] + re[U + k]) * recurrent[k * W + 2 * U + u];
            }
          for (int64_t u = 0; u < U; ++u) {
            if (l.cell == Cell::kLstm) {
              const double i = gate(in[u] + re[u]), f = gate(in[U + u] + re[U + u]);
              const double g = value(in[2 * U + u] + re[2 * U + u]), o = gate(in[3 * U + u] + re[3 * U + u]);
              c[b * U + u] = f * c[b * U + u] + i * g;
              next[u] = o * value(c[b * U + u]);
            } else if (l.cell == Cell::kGru) {
              const double z = gate(in[u] + re[u]), r = gate(in[U + u] + re[U + u]);
              const double candidate = value(in[2 * U + u] + (l.reset_after ? r : 1) * re[2 * U + u]);
              next[u] = z * hb[u] + (1 - z) * candidate;
            } else {
              next[u] = value(in[u] + re[u]);
            }
          }
          for (int64_t u = 0; u < U; ++u) hb[u] = out[u] = next[u];
        }
        if (l.return_sequences)
          for (int64_t u = 0; u < U; ++u) y[(b * l.time + s) * U + u] = out[u];
      }
      if (!l.return_sequences)
        for (int64_t u = 0; u < U; ++u) y[b * U + u] = out[u];
    }
    double sum = 0;
    for (size_t i = 0; i < dy.size(); ++i) sum += y[i] * dy[i];
    for (size_t i = 0; i < dh.size(); ++i) sum += h[i] * dh[i];
    if (l.cell == Cell::kLstm)
      for (size_t i = 0; i < dc.size(); ++i) sum += c[i] * dc[i];
    return sum;
  }
};

std::mt19937 random_numbers(1);
int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_numbers); }
Floats normal(int64_t count, float deviation) {
  Floats values(count);
  std::normal_distribution<float> distribution(0, deviation);
  for (float& value : values) value = distribution(random_numbers);
  return values;
}

Floats dropout(int64_t count) {
  Floats masks(count);
  for (float& mask : masks) mask = draw(0, 2) ? 1.5f : 0.0f;
  return masks;
}

// A case of a form of a cell. Where nothing bounds the values they grow from step to step, so that it is small.
Case drawn(Cell cell, bool reset_after, Activation activation, Activation recurrent_activation) {
  Case t;
  Layer& l = t.layer;
  l.cell = cell, l.reset_after = reset_after;
  l.activation = activation, l.recurrent_activation = recurrent_activation;
  l.go_backwards = draw(0, 1), l.return_sequences = draw(0, 1), l.zero_output_for_mask = draw(0, 1);
  const int widths[] = {1, 2, 3, 7, 15, 16, 17, 31, 33, 65};
  const bool small = !is_classic(l);
  l.batch = small ? draw(1, 5) : draw(0, 3) ? draw(1, 9) : draw(16, 20), l.time = draw(1, small ? 4 : 6);
  l.features = widths[draw(0, small ? 3 : 8)], l.units = widths[draw(0, small ? 6 : 9)];
  t.bias = draw(0, 1), t.masked = draw(0, 1), t.ids = draw(0, 3) == 0;
  const int64_t width = t.gates() * l.units;
  t.x = normal(l.batch * l.time * l.features, 1);
  t.h0 = normal(l.batch * l.units, 1), t.c0 = normal(l.batch * l.units, 1);
  if (draw(0, 3) == 0) std::fill(t.h0.begin(), t.h0.end(), 0.0f);
  t.kernel = normal(l.features * width, small ? 0.2f : 0.5f), t.recurrent = normal(l.units * width, small ? 0.1f : 0.3f);
  t.biases = normal(width * (l.cell == Cell::kGru && l.reset_after ? 2 : 1), 0.5f);
  if (!t.ids && draw(0, 2) == 0) t.input_dropout = dropout(t.gates() * l.batch * l.features);
  if (draw(0, 2) == 0) t.recurrent_dropout = dropout(t.gates() * l.batch * l.units);
  for (int64_t i = 0; i < l.batch * l.time; ++i) {
    t.tokens.push_back(draw(0, static_cast<int>(l.features) - 1));
    t.mask.push_back(draw(0, 3) != 0);
  }
  return t;
}

Activation any() { return static_cast<Activation>(draw(0, kActivations - 1)); }

// Any cell, half of the time with the activations of the textbook.
Case drawn() {
  const Cell cell = static_cast<Cell>(draw(0, 2));
  if (draw(0, 1)) return drawn(cell, draw(0, 1), any(), any());
  const Activation activation = cell == Cell::kRnn ? static_cast<Activation>(draw(0, 2)) : Activation::kTanh;
  return drawn(cell, draw(0, 1), activation, Activation::kSigmoid);
}

}  // namespace
