// Numbers times gates, y = x ⊙ f(g), and the gradients of it. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "engine.h"

namespace ostinato {

struct Gate {
  int64_t count = 0;  // of x, g and y
  Activation activation = Activation::kSigmoid;
  int threads = 1;
};

void gate(const Gate& layer, const float* x, const float* g, float* y);
void gate_back(const Gate& layer, const float* x, const float* g, const float* dy, float* dx, float* dg);

}  // namespace ostinato
