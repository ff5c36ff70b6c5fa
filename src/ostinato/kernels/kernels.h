// What each instruction set offers; see engine.h and the headers below it for what the functions do.
#pragma once

#include "elementwise.h"
#include "engine.h"
#include "gate.h"
#include "headwise.h"
#include "memory.h"
#include "product.h"
#include "rowwise.h"
#include "update.h"

namespace ostinato {

struct Kernels {
  int64_t (*history_floats)(const Layer&, bool masked);
  size_t (*forward_bytes)(const Layer&, const Inputs&, bool keeps_history);
  size_t (*backward_bytes)(const Layer&, const Inputs&);
  size_t (*packed_bytes)(const Layer&);
  void (*pack)(const Layer&, const float* kernel, const float* recurrent, float* packed);
  void (*forward)(const Layer&, const Inputs&, const Outputs&, void* workspace);
  void (*backward)(const Layer&, const Inputs&, const Gradients&, void* workspace);
  float (*update)(const Step&, const std::vector<Weight>&, int threads);
  void (*elementwise_forward)(const Elementwise&, const ElementwiseInputs&, const ElementwiseOutputs&);
  void (*elementwise_backward)(const Elementwise&, const ElementwiseInputs&, const ElementwiseGradients&);
  int64_t (*rowwise_history)(const Rowwise&, bool masked);
  void (*rowwise_forward)(const Rowwise&, const RowwiseInputs&, const RowwiseOutputs&);
  void (*rowwise_backward)(const Rowwise&, const RowwiseInputs&, const RowwiseGradients&);
  void (*product)(const Product&, const float* x, const float* weights, float* y);
  void (*product_back)(const Product&, const float* x, const float* weights, const float* dy, float* dx, float* dweights);
  void (*gate)(const Gate&, const float* x, const float* g, float* y);
  void (*gate_back)(const Gate&, const float* x, const float* g, const float* dy, float* dx, float* dg);
  int64_t (*memory_history)(const Memory&);
  void (*memory_forward)(const Memory&, const MemoryInputs&, const MemoryOutputs&);
  void (*memory_backward)(const Memory&, const MemoryInputs&, const MemoryGradients&);
  int64_t (*headwise_history)(const Headwise&);
  void (*headwise_forward)(const Headwise&, const HeadwiseInputs&, const HeadwiseOutputs&);
  void (*headwise_backward)(const Headwise&, const HeadwiseInputs&, const HeadwiseGradients&);
};

// With products in bfloat16, see pairs.h. Their histories are those of Kernels.
struct PairKernels {
  size_t (*forward_bytes)(const Layer&, const Inputs&, bool keeps_history);
  size_t (*backward_bytes)(const Layer&, const Inputs&);
  void (*forward)(const Layer&, const Inputs&, const Outputs&, void* workspace);
  void (*backward)(const Layer&, const Inputs&, const Gradients&, void* workspace);
};

// In float64.
struct PlainKernels {
  int64_t (*history_doubles)(const Layer&);
  void (*forward)(const Layer&, const InputsOf<double>&, const OutputsOf<double>&);
  void (*backward)(const Layer&, const InputsOf<double>&, const GradientsOf<double>&);
};

}  // namespace ostinato
