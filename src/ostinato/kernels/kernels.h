// What each instruction set offers; see engine.h, elementwise.h, rowwise.h and update.h for what the functions do.
#pragma once

#include "elementwise.h"
#include "engine.h"
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
};

// In float64.
struct PlainKernels {
  int64_t (*history_doubles)(const Layer&);
  void (*forward)(const Layer&, const InputsOf<double>&, const OutputsOf<double>&);
  void (*backward)(const Layer&, const InputsOf<double>&, const GradientsOf<double>&);
};

}  // namespace ostinato
