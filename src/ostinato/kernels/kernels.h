// What each instruction set offers; see engine.h, elementwise.h and update.h for what the functions do.
#pragma once

#include "elementwise.h"
#include "engine.h"
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
};

// In float64.
struct PlainKernels {
  int64_t (*history_doubles)(const Layer&);
  void (*forward)(const Layer&, const InputsOf<double>&, const OutputsOf<double>&);
  void (*backward)(const Layer&, const InputsOf<double>&, const GradientsOf<double>&);
};

}  // namespace ostinato
