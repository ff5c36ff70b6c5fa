// Element-wise recurrences: layers whose state meets no matrix, each unit its own chain over time. The products of x come
// from outside; here gates and states pass through registers, and every tensor through memory once.
//
// Everything is batch-major and float32. `cells/elementwise_list.h` lists the recurrences.
#pragma once

#include <cstdint>

namespace ostinato {

struct Elementwise {
  int form = 0;  // its place in cells/elementwise_list.h
  bool go_backwards = false;          // reads from the end; y is then in the order of reading, as in Keras
  bool return_sequences = true;       // y holds every step, else the last one
  bool zero_output_for_mask = false;  // y is zero at masked steps, else it repeats the step before (zeros at first)
  int64_t batch = 0, time = 0, units = 0;
  int threads = 1;  // how many may work on it; results do not depend on them
};

struct ElementwiseInputs {
  const float* sums = nullptr;       // (batch, time, sums × units): the products of x that the equations read
  const float* x = nullptr;          // (batch, time, units), where the equations read it besides; else null
  const float* state = nullptr;      // (batch, states × units)
  const float* bias = nullptr;       // (sums × units), added to `sums`; or null
  const float* constants = nullptr;  // (constants × units)
  const bool* mask = nullptr;        // (batch, time), false where a step is skipped; or null
};

struct ElementwiseOutputs {
  float* y = nullptr;        // (batch, time, outputs × units), or without `time`
  float* state = nullptr;    // (batch, states × units)
  float* history = nullptr;  // (batch, time, states × units): the state after each step; or null
};

struct ElementwiseGradients {
  // Given:
  const float* history = nullptr;  // the state after each step: the forward pass' history, or y where that is the same
  const float* dy = nullptr;
  const float* dstate = nullptr;   // of the final state
  // Wanted:
  float* dsums = nullptr;
  float* dx = nullptr;  // where there is x
  float* dstate0 = nullptr;
  float* dbias = nullptr;       // or null without bias
  float* dconstants = nullptr;  // or null without constants
};

// What a recurrence is, for all instruction sets.
struct ElementwiseSizes {
  int sums, states, constants, outputs;
  bool takes_x, y_is_state;
};
ElementwiseSizes sizes_of(const Elementwise& layer);

// Whether the states after each step have to be kept beside y.
inline bool y_lacks_states(const Elementwise& layer, bool masked) {
  return masked || !layer.return_sequences || !sizes_of(layer).y_is_state;
}

void forward(const Elementwise& layer, const ElementwiseInputs& in, const ElementwiseOutputs& out);
void backward(const Elementwise& layer, const ElementwiseInputs& in, const ElementwiseGradients& gradients);

}  // namespace ostinato
