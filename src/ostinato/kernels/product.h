// The product of rows and a matrix of weights, and its gradients, with the tiles of the recurrent passes. Results do not depend
// on the number of threads.
#pragma once

#include <cstdint>

namespace ostinato {

struct Product {
  int64_t rows = 0, inputs = 0, outputs = 0;
  int threads = 1;
  bool adds = false;  // dx is added to what is there
};

// y (rows, outputs) = x (rows, inputs) · weights (inputs, outputs)
void multiply(const Product& p, const float* x, const float* weights, float* y);
// dx = dy · weightsᵀ, which may be null, and dweights = xᵀ · dy
void multiply_back(const Product& p, const float* x, const float* weights, const float* dy, float* dx, float* dweights);

}  // namespace ostinato
