// The passes for one instruction set; CMake compiles this file once for each.
#include "kernels.h"

#include "passes.h"

namespace OSTINATO_ISA {

float update(const ostinato::Step&, const std::vector<ostinato::Weight>&, int threads);  // update.cc
void elementwise_forward(const ostinato::Elementwise&, const ostinato::ElementwiseInputs&,
                         const ostinato::ElementwiseOutputs&);  // elementwise.cc
void elementwise_backward(const ostinato::Elementwise&, const ostinato::ElementwiseInputs&,
                          const ostinato::ElementwiseGradients&);

int64_t rowwise_history(const ostinato::Rowwise&, bool masked);  // rowwise.cc
void rowwise_forward(const ostinato::Rowwise&, const ostinato::RowwiseInputs&, const ostinato::RowwiseOutputs&);
void rowwise_backward(const ostinato::Rowwise&, const ostinato::RowwiseInputs&, const ostinato::RowwiseGradients&);

void product(const ostinato::Product&, const float* x, const float* weights, float* y);  // product.cc
void product_back(const ostinato::Product&, const float* x, const float* weights, const float* dy, float* dx, float* dweights);

void gate(const ostinato::Gate&, const float* x, const float* g, float* y);  // gate.cc
void gate_back(const ostinato::Gate&, const float* x, const float* g, const float* dy, float* dx, float* dg);

int64_t memory_history(const ostinato::Memory&);  // memory.cc
void memory_forward(const ostinato::Memory&, const ostinato::MemoryInputs&, const ostinato::MemoryOutputs&);
void memory_backward(const ostinato::Memory&, const ostinato::MemoryInputs&, const ostinato::MemoryGradients&);

int64_t headwise_history(const ostinato::Headwise&);  // headwise.cc
void headwise_forward(const ostinato::Headwise&, const ostinato::HeadwiseInputs&, const ostinato::HeadwiseOutputs&);
void headwise_backward(const ostinato::Headwise&, const ostinato::HeadwiseInputs&, const ostinato::HeadwiseGradients&);

extern const ostinato::Kernels kernels;
const ostinato::Kernels kernels = {
    [](const Layer& layer, bool masked) { return History(nullptr, layer, masked).floats; },
    passes::forward_bytes,
    passes::backward_bytes,
    [](const Layer& layer) {
      return with_form(layer, [&](auto form) {
        Arena arena(nullptr);
        PackedWeights<decltype(form)>(arena, Sizes(layer));
        return arena.bytes();
      });
    },
    [](const Layer& layer, const float* kernel, const float* recurrent, float* packed) {
      with_form(layer, [&](auto form) {
        Arena arena(packed);
        PackedWeights<decltype(form)>(arena, Sizes(layer)).pack(Sizes(layer), kernel, recurrent, 0, 1);
      });
    },
    passes::forward,
    passes::backward,
    update,
    elementwise_forward,
    elementwise_backward,
    rowwise_history,
    rowwise_forward,
    rowwise_backward,
    product,
    product_back,
    gate,
    gate_back,
    memory_history,
    memory_forward,
    memory_backward,
    headwise_history,
    headwise_forward,
    headwise_backward,
};

}  // namespace OSTINATO_ISA
