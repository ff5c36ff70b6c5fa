// Chooses the instruction set at load.
#include <cstdlib>
#include <cstring>

#include "cells/elementwise_list.h"
#include "kernels.h"

#if defined(__x86_64__)
namespace sse2 { extern const ostinato::Kernels kernels; }
namespace sse2_double { extern const ostinato::PlainKernels kernels; }
namespace avx2 { extern const ostinato::Kernels kernels; }
namespace avx2_double { extern const ostinato::PlainKernels kernels; }
namespace avx512 { extern const ostinato::Kernels kernels; }
namespace avx512_double { extern const ostinato::PlainKernels kernels; }
#ifdef OSTINATO_BFLOAT16
namespace avx512bf16 { extern const ostinato::PairKernels kernels; }
#endif
#elif defined(__aarch64__)
namespace neon { extern const ostinato::Kernels kernels; }
namespace neon_double { extern const ostinato::PlainKernels kernels; }
#else
namespace portable { extern const ostinato::Kernels kernels; }
namespace portable_double { extern const ostinato::PlainKernels kernels; }
#endif

namespace ostinato {
namespace {

struct Choice {
  const char* name;
  const Kernels* kernels;
  const PlainKernels* plain;
  const PairKernels* pairs = nullptr;  // where the processor multiplies numbers of bfloat16
};

Choice choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  const char* wanted = std::getenv("OSTINATO_ISA");
  const auto allowed = [&](const char* name) { return wanted == nullptr || *wanted == 0 || !std::strcmp(wanted, name); };
#ifdef OSTINATO_BFLOAT16
  if (has_avx512 && __builtin_cpu_supports("avx512bf16") && allowed("avx512bf16")) {
    return {"avx512bf16", &avx512::kernels, &avx512_double::kernels, &avx512bf16::kernels};
  }
#endif
  if (has_avx512 && (allowed("avx512") || allowed("avx512bf16"))) return {"avx512", &avx512::kernels, &avx512_double::kernels};
  if (has_avx2 && (allowed("avx2") || allowed("avx512") || allowed("avx512bf16"))) return {"avx2", &avx2::kernels, &avx2_double::kernels};
  return {"sse2", &sse2::kernels, &sse2_double::kernels};
#elif defined(__aarch64__)
  return {"neon", &neon::kernels, &neon_double::kernels};
#else
  return {"portable", &portable::kernels, &portable_double::kernels};
#endif
}

const Choice& chosen() {
  static const Choice choice = choose();
  return choice;
}

// Whether a layer's products are those of bfloat16. Its few units, or dropout's masks in them, are left to float32.
const PairKernels* pairs_for(const Layer& layer, const Inputs& in) {
  constexpr int64_t kLeastUnits = 32;
  const bool fits = layer.bfloat16 && layer.units % 2 == 0 && layer.units >= kLeastUnits && in.packed == nullptr &&
                    in.input_dropout == nullptr && in.recurrent_dropout == nullptr;
  return fits ? chosen().pairs : nullptr;
}

}  // namespace

int64_t history_floats(const Layer& layer, bool masked) { return chosen().kernels->history_floats(layer, masked); }
size_t forward_workspace_bytes(const Layer& layer, const Inputs& in, bool keeps_history) {
  if (const PairKernels* pairs = pairs_for(layer, in)) return pairs->forward_bytes(layer, in, keeps_history);
  return chosen().kernels->forward_bytes(layer, in, keeps_history);
}
size_t backward_workspace_bytes(const Layer& layer, const Inputs& in) {
  if (const PairKernels* pairs = pairs_for(layer, in)) return pairs->backward_bytes(layer, in);
  return chosen().kernels->backward_bytes(layer, in);
}
size_t packed_weights_bytes(const Layer& layer) { return chosen().kernels->packed_bytes(layer); }
void pack_weights(const Layer& layer, const float* kernel, const float* recurrent, float* packed) {
  chosen().kernels->pack(layer, kernel, recurrent, packed);
}
void forward(const Layer& layer, const Inputs& in, const Outputs& out, void* workspace) {
  if (const PairKernels* pairs = pairs_for(layer, in)) return pairs->forward(layer, in, out, workspace);
  chosen().kernels->forward(layer, in, out, workspace);
}
void backward(const Layer& layer, const Inputs& in, const Gradients& gradients, void* workspace) {
  if (const PairKernels* pairs = pairs_for(layer, in)) return pairs->backward(layer, in, gradients, workspace);
  chosen().kernels->backward(layer, in, gradients, workspace);
}
float update(const Step& step, const std::vector<Weight>& weights, int threads) {
  return chosen().kernels->update(step, weights, threads);
}

ElementwiseSizes sizes_of(const Elementwise& layer) {
  ElementwiseSizes sizes{};
  int number = 0;
  for_each_elementwise([&](auto form) {
    using Form = decltype(form);
    if (number++ == layer.form)
      sizes = {Form::sums, Form::states, Form::constants, Form::y_is_state ? Form::states : 1, Form::takes_x, Form::y_is_state};
  });
  return sizes;
}
void forward(const Elementwise& layer, const ElementwiseInputs& in, const ElementwiseOutputs& out) {
  chosen().kernels->elementwise_forward(layer, in, out);
}
void backward(const Elementwise& layer, const ElementwiseInputs& in, const ElementwiseGradients& gradients) {
  chosen().kernels->elementwise_backward(layer, in, gradients);
}

int64_t rowwise_history(const Rowwise& layer, bool masked) { return chosen().kernels->rowwise_history(layer, masked); }
void forward(const Rowwise& layer, const RowwiseInputs& in, const RowwiseOutputs& out) {
  chosen().kernels->rowwise_forward(layer, in, out);
}
void backward(const Rowwise& layer, const RowwiseInputs& in, const RowwiseGradients& gradients) {
  chosen().kernels->rowwise_backward(layer, in, gradients);
}

void multiply(const Product& p, const float* x, const float* weights, float* y) {
  chosen().kernels->product(p, x, weights, y);
}
void multiply_back(const Product& p, const float* x, const float* weights, const float* dy, float* dx, float* dweights) {
  chosen().kernels->product_back(p, x, weights, dy, dx, dweights);
}

void gate(const Gate& layer, const float* x, const float* g, float* y) { chosen().kernels->gate(layer, x, g, y); }
void gate_back(const Gate& layer, const float* x, const float* g, const float* dy, float* dx, float* dg) {
  chosen().kernels->gate_back(layer, x, g, dy, dx, dg);
}

int64_t memory_history(const Memory& layer) { return chosen().kernels->memory_history(layer); }
void forward(const Memory& layer, const MemoryInputs& in, const MemoryOutputs& out) {
  chosen().kernels->memory_forward(layer, in, out);
}
void backward(const Memory& layer, const MemoryInputs& in, const MemoryGradients& gradients) {
  chosen().kernels->memory_backward(layer, in, gradients);
}

int64_t headwise_history(const Headwise& layer) { return chosen().kernels->headwise_history(layer); }
void forward(const Headwise& layer, const HeadwiseInputs& in, const HeadwiseOutputs& out) {
  chosen().kernels->headwise_forward(layer, in, out);
}
void backward(const Headwise& layer, const HeadwiseInputs& in, const HeadwiseGradients& gradients) {
  chosen().kernels->headwise_backward(layer, in, gradients);
}

int64_t history_doubles(const Layer& layer) { return chosen().plain->history_doubles(layer); }
void forward(const Layer& layer, const InputsOf<double>& in, const OutputsOf<double>& out) {
  chosen().plain->forward(layer, in, out);
}
void backward(const Layer& layer, const InputsOf<double>& in, const GradientsOf<double>& gradients) {
  chosen().plain->backward(layer, in, gradients);
}

const char* instruction_set() { return chosen().name; }

}  // namespace ostinato
