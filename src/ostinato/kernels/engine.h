// The native engine: a recurrent layer over a whole sequence, forward and backward, without any framework.
//
// Everything is batch-major and of one kind of number: float32, or float64 in the plain kernels. Weights have Keras' fused
// layout: kernel (features, gates × units), recurrent (units, gates × units), gate order i, f, c, o (LSTM) and z, r, h (GRU).
// Pointers marked "or null" may be null.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ostinato {

enum class Cell : int32_t { kRnn = 0, kGru = 1, kLstm = 2 };
enum class Activation : int32_t {  // activations.h has their names and equations
  kTanh, kRelu, kLinear, kSigmoid, kHardSigmoid, kKeras2HardSigmoid, kSoftsign, kElu, kSelu, kSilu
};

struct Layer {
  Cell cell = Cell::kLstm;
  Activation activation = Activation::kTanh;
  Activation recurrent_activation = Activation::kSigmoid;  // GRU and LSTM: of the gates
  bool reset_after = true;           // GRU: where the reset gate acts
  bool go_backwards = false;         // reads x from its end; y is then in the order of reading, as in Keras
  bool return_sequences = true;      // y holds every step, else the last one
  bool zero_output_for_mask = false; // y is zero at masked steps, else it repeats the step before (zeros at first)
  bool bfloat16 = false;             // products may read numbers rounded to bfloat16, where that is faster; sums are float32
  int64_t batch = 0, time = 0, features = 0, units = 0;
  int threads = 1;  // how many may work on it; results do not depend on them
  // Token ids instead of x: `features` is then the number of symbols, and the kernel's rows are gathered.
};

// Inputs shared by forward and backward.
template <class Number>
struct InputsOf {
  const Number* x = nullptr;          // (batch, time, features), or null with ids
  const int32_t* ids = nullptr;       // (batch, time), or null
  const Number* h0 = nullptr;         // (batch, units), or null for zeros, whose gradient nobody wants
  const Number* c0 = nullptr;         // (batch, units), LSTM only; null where h0 is
  const Number* kernel = nullptr;     // (features, gates × units)
  const Number* recurrent = nullptr;  // (units, gates × units)
  const Number* packed = nullptr;     // float32: of kernel and recurrent, by pack_weights(), which the forward pass reads instead
  const Number* bias = nullptr;       // (gates × units); GRU reset-after: (2, 3 × units); or null
  const bool* mask = nullptr;         // (batch, time), false where a step is skipped; or null
  const Number* input_dropout = nullptr;  // (gates, batch, features), or null; not with ids
  const Number* recurrent_dropout = nullptr;  // (gates, batch, units), or null
};
using Inputs = InputsOf<float>;

template <class Number>
struct OutputsOf {
  Number* y = nullptr;              // (batch, time, units), or (batch, units) without return_sequences
  Number* h = nullptr;              // (batch, units)
  Number* c = nullptr;              // (batch, units), LSTM only
  Number* history = nullptr;        // history_floats or history_doubles, written for the backward pass; or null
};
using Outputs = OutputsOf<float>;

template <class Number>
struct GradientsOf {
  // Given:
  const Number* history = nullptr;  // from the forward pass
  const Number* y = nullptr;        // the forward pass' y
  const Number* dy = nullptr;       // of y
  const Number* dh = nullptr;       // of the final h; or null for zeros
  const Number* dc = nullptr;       // of the final c; or null for zeros
  // Wanted:
  Number* dx = nullptr;     // or null; with ids always null
  Number* dh0 = nullptr;    // like dc0 not touched where h0 is null
  Number* dc0 = nullptr;    // LSTM only
  Number* dkernel = nullptr;
  Number* drecurrent = nullptr;
  Number* dbias = nullptr;  // or null without bias
};
using Gradients = GradientsOf<float>;

// Floats that the forward pass keeps for the backward pass; more with a mask.
int64_t history_floats(const Layer& layer, bool masked);

// Scratch memory that a pass needs, in bytes. The caller allocates it (64-byte aligned) and passes it in.
size_t forward_workspace_bytes(const Layer& layer, const Inputs& in, bool keeps_history);
size_t backward_workspace_bytes(const Layer& layer, const Inputs& in);

// Weights packed once for forward passes of a layer at every batch and time: bytes, 64-byte aligned, and how they get there.
size_t packed_weights_bytes(const Layer& layer);
void pack_weights(const Layer& layer, const float* kernel, const float* recurrent, float* packed);

void forward(const Layer& layer, const Inputs& in, const Outputs& out, void* workspace);
void backward(const Layer& layer, const Inputs& in, const Gradients& gradients, void* workspace);

// The same in float64. These allocate what they need by themselves; plain/ has their kernels.
int64_t history_doubles(const Layer& layer);
void forward(const Layer& layer, const InputsOf<double>& in, const OutputsOf<double>& out);
void backward(const Layer& layer, const InputsOf<double>& in, const GradientsOf<double>& gradients);

// What runs: "avx512bf16", "avx512", "avx2", "sse2", "neon", "portable"; chosen at load by the processor, or by OSTINATO_ISA.
const char* instruction_set();

// How many threads: OSTINATO_THREADS, else what set_threads was told, else the smaller of CPU affinity and cgroup quota.
int threads();
void set_threads(int count);

}  // namespace ostinato
