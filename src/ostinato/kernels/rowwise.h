// Layers whose recurrent products are complete before their equations: layer normalisation needs sums over the whole row, a
// projection comes behind it, and peepholes, coupled gates and zoneout are at home in the same place.
//
// Everything is batch-major and float32. Gates lie in Keras' order: i, f, c, o, or f, c, o
// where i = 1 − f (LSTM); z, r, h (GRU, which resets after the product); h (SimpleRNN). Activations are the textbook's.
//
//   a_x = x W, a_h = h R                with layer normalisation γ_x ⊙ n(x W) and γ_h ⊙ n(h R), over all gates together
//   LSTM   i = σ(a_i + p_i ⊙ c)         a = a_x + a_h + b; peepholes p read the cell state before, that of o the one after
//          f = σ(a_f + p_f ⊙ c)   g = tanh(a_c)   s = f ⊙ c + i ⊙ g   o = σ(a_o + p_o ⊙ s)
//          m = o ⊙ tanh(s)              with layer normalisation o ⊙ tanh(γ_c ⊙ n(s) + β_c)
//          h* = m, or m P               c' = k_c ⊙ c + (1 − k_c) ⊙ s
//   GRU    z = σ(a_z)   r = σ(a_r)   g = tanh(a_xh + b_h + r ⊙ (a_hh + b'_h))   h* = z ⊙ h + (1 − z) ⊙ g
//   RNN    h* = tanh(a_h)
//   h' = k_h ⊙ h + (1 − k_h) ⊙ h*      zoneout keeps parts k of the old state: 0 or 1 in training, else the rates
//
// Of a unit's random bits the lower half says whether its h is kept, the upper half its c: a number below 65536 times the rate.
//
// n(v) = (v − mean v) / √(variance of v + 1e-5).
#pragma once

#include <cstdint>

namespace ostinato {

enum class RowwiseCell : int32_t { kLstm, kGru, kRnn };

struct Rowwise {
  RowwiseCell cell = RowwiseCell::kLstm;
  bool layer_norm = false, peephole = false, coupled = false;
  bool go_backwards = false, return_sequences = true, zero_output_for_mask = false;  // as in engine.h
  float zoneout_h = 0, zoneout_c = 0;  // the rates
  int64_t batch = 0, time = 0, features = 0, units = 0;
  int64_t outputs = 0;  // width of h; another than units with a projection alone
  bool projects = false;
  int threads = 1;  // how many may work on it; results do not depend on them

  bool has_c() const { return cell == RowwiseCell::kLstm; }
  int64_t gates() const { return cell == RowwiseCell::kLstm ? (coupled ? 3 : 4) : cell == RowwiseCell::kGru ? 3 : 1; }
  int64_t width() const { return gates() * units; }
  int64_t biases() const { return cell == RowwiseCell::kGru ? 2 * width() : width(); }
  // Of γ_x, γ_h (width), γ_c, β_c (units; LSTM), then p_i (not where it is coupled), p_f, p_o (units).
  int64_t vectors() const {
    const int64_t norms = layer_norm ? 2 * width() + (has_c() ? 2 * units : 0) : 0;
    return norms + (peephole ? (coupled ? 2 : 3) * units : 0);
  }
  // Whether the products of h have other gradients than those of x.
  bool own_deltas() const { return layer_norm || cell == RowwiseCell::kGru; }
};

struct RowwiseInputs {
  const float* x = nullptr;           // (batch, time, features), or null with ids
  const int32_t* ids = nullptr;       // (batch, time): rows of the kernel, of which there are `features`; or null
  const float* kernel = nullptr;      // (features, width)
  const float* h0 = nullptr;          // (batch, outputs)
  const float* c0 = nullptr;          // (batch, units), LSTM alone
  const float* recurrent = nullptr;   // (outputs, width)
  const float* projection = nullptr;  // (units, outputs), or null
  const float* bias = nullptr;        // (biases), or null
  const float* vectors = nullptr;     // (vectors), or null without
  const int32_t* bits = nullptr;      // (batch, time, the larger of outputs and units): random bits for zoneout; or null
  const bool* mask = nullptr;         // (batch, time), or null
};

struct RowwiseOutputs {
  float* y = nullptr;        // (batch, time, outputs), or (batch, outputs) without return_sequences
  float* h = nullptr;        // (batch, outputs)
  float* c = nullptr;        // (batch, units), LSTM alone
  float* history = nullptr;  // (rowwise_history); or null
};

struct RowwiseGradients {
  // Given:
  const float *history = nullptr, *y = nullptr, *dy = nullptr, *dh = nullptr, *dc = nullptr;
  // Wanted:
  float* dx = nullptr;  // or null; with ids always null
  float *dh0 = nullptr, *dc0 = nullptr, *dkernel = nullptr, *drecurrent = nullptr, *dprojection = nullptr, *dbias = nullptr,
        *dvectors = nullptr;
};

// Floats that the forward pass keeps for the backward pass.
int64_t rowwise_history(const Rowwise& layer, bool masked);
void forward(const Rowwise& layer, const RowwiseInputs& in, const RowwiseOutputs& out);
void backward(const Rowwise& layer, const RowwiseInputs& in, const RowwiseGradients& gradients);

}  // namespace ostinato
