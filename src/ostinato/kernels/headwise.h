// A recurrence whose heads do not see each other: the sLSTM (Beck et al. 2024, arXiv:2405.04517). Its recurrent product is
// block-diagonal, a block for each head.
//
//   z, i, f, o = x W + b + h R, a head's own      z = tanh, o = σ, l = log σ(f), or f itself with exponential forgetting
//   m' = max(l + m, i)     c' = e^(l + m − m') c + e^(i − m') z     n' = e^(l + m − m') n + e^(i − m')     h' = o c' / n'
//
// Numbers are float32.
#pragma once

#include <cstdint>

namespace ostinato {

struct Headwise {
  bool exponential_forget = false;
  int64_t batch = 0, time = 0, heads = 0, width = 0;
  int threads = 1;  // how many may work on it; results do not depend on them

  static constexpr int kGates = 4, kStates = 4;  // z, i, f, o; h, c, n, m
  int64_t units() const { return heads * width; }
};

struct HeadwiseInputs {
  const float* sums = nullptr;       // (batch, time, heads, 4, width): x W
  const float* bias = nullptr;       // (heads, 4, width), or null
  const float* recurrent = nullptr;  // (heads, width, 4 × width): R
  const float* state = nullptr;      // (batch, 4, units): h, c, n, m; m is −∞ where nothing was
  const bool* mask = nullptr;        // (batch, time), false at steps that leave the state and give zeros; or null
};

struct HeadwiseOutputs {
  float* y = nullptr;        // (batch, time, units)
  float* state = nullptr;    // (batch, 4, units)
  float* history = nullptr;  // headwise_history() floats; or null
};

struct HeadwiseGradients {
  // Given:
  const float *history = nullptr, *dy = nullptr, *dstate = nullptr;
  // Wanted:
  float *dsums = nullptr, *drecurrent = nullptr, *dstate0 = nullptr;
  float* dbias = nullptr;  // or null without bias
};

int64_t headwise_history(const Headwise& layer);
void forward(const Headwise& layer, const HeadwiseInputs& in, const HeadwiseOutputs& out);
void backward(const Headwise& layer, const HeadwiseInputs& in, const HeadwiseGradients& gradients);

}  // namespace ostinato
