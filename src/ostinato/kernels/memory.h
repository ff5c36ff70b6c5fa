// Matrix memories: recurrences whose state is a matrix for each head, which keys address and queries read.
//
//   gated-delta   S' = α S + k (β (v − α Sᵀ k))ᵀ                        y = r(S'ᵀ q)
//                 q = n(silu(q̂)) / √width,  k = n(silu(k̂)),  v = silu(v̂),  n(a) = a / √(a · a + 1e-6)
//                 r(a) = a / √(mean of a² + 1e-5)
//   mlstm         S' = α S + w k vᵀ,  n' = α n + w k                     y = S'ᵀ q / max(|n' · q|, e^−m')
//                 m' = max(log f + m, i),  α = e^(log f + m − m'),  w = e^(i − m')
//
// gated-delta is given q̂, k̂ and v̂, of which it makes q, k and v. Numbers are float32. A head has `width` keys and as many values. The backward pass is given the state before every kStretch
// steps, and computes those in between again.
#pragma once

#include <cstdint>

namespace ostinato {

enum class MemoryForm : int32_t { kGatedDelta, kMlstm };

struct Memory {
  MemoryForm form = MemoryForm::kGatedDelta;
  int64_t batch = 0, time = 0, heads = 0, width = 0;
  int threads = 1;  // how many may work on it; results do not depend on them

  bool normalises() const { return form == MemoryForm::kMlstm; }
};

struct MemoryInputs {
  const float* qkv = nullptr;         // (batch, time, 3, heads, width)
  const float* gates = nullptr;       // (batch, time, heads, 2): log α and β; of mlstm i and log f
  const float* memory = nullptr;      // (batch, heads, width, width): S, a row for each key
  const float* normaliser = nullptr;  // (batch, heads, width), mlstm: n
  const float* m = nullptr;           // (batch, heads), mlstm; −∞ where nothing was written
  const bool* mask = nullptr;         // (batch, time), false at steps that leave the state and give zeros; or null
};

struct MemoryOutputs {
  float* y = nullptr;  // (batch, time, heads, width)
  float *memory = nullptr, *normaliser = nullptr, *m = nullptr;
  float* history = nullptr;  // memory_history() floats; or null
};

struct MemoryGradients {
  // Given:
  const float *history = nullptr, *y = nullptr, *dy = nullptr;
  const float *dmemory = nullptr, *dnormaliser = nullptr, *dm = nullptr;  // of the final state
  // Wanted:
  float *dqkv = nullptr, *dgates = nullptr;
  float *dmemory0 = nullptr, *dnormaliser0 = nullptr, *dm0 = nullptr;
};

constexpr int64_t kMemoryStretch = 16;  // steps from one state that is kept to the next

int64_t memory_history(const Memory& layer);
void forward(const Memory& layer, const MemoryInputs& in, const MemoryOutputs& out);
void backward(const Memory& layer, const MemoryInputs& in, const MemoryGradients& gradients);

}  // namespace ostinato
