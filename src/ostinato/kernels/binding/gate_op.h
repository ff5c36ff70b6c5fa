// The op OstinatoGateV1: numbers times gates; gate.h has the kernels.
//
//   inputs of the op        x, gates, of one shape
//   its output              y, of that shape
//   inputs of its gradient  x, gates, dy
//   its outputs             dx, dgates
//
// The attribute `activation` is a name of activations.h.
#pragma once

#include "activations.h"
#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "engine.h"
#include "gate.h"

namespace ostinato {
namespace {

void* create_gate(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<Gate>();
  guarded([&] { kernel->activation = Attributes(construction).activation("activation"); },
          [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}
void destroy_gate(void* kernel) { delete static_cast<Gate*>(kernel); }

template <bool gradient>
void compute_gate(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        Gate layer = *static_cast<const Gate*>(opaque);
        InputReader reader(context);
        const Input x = reader.next("x"), gates = reader.next("gates");
        gates.needs_shape(x.shape(), "that of x");
        layer.count = elements(x.shape()), layer.threads = threads();
        OutputWriter<float> writer(context);
        if (!gradient) return gate(layer, x.data<float>(), gates.data<float>(), writer.next(x.shape()));
        const Input dy = reader.next("dy");
        dy.needs_shape(x.shape(), "that of x");
        float *const dx = writer.next(x.shape()), *const dgates = writer.next(x.shape());
        gate_back(layer, x.data<float>(), gates.data<float>(), dy.data<float>(), dx, dgates);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

template <bool gradient>
void gate_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        for (int i = 0; i <= gradient; ++i) shapes.output(i, shapes.input(0));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <bool gradient>
void register_gate() {
  constexpr const char* name = gradient ? "OstinatoGateGradV1" : "OstinatoGateV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(op, "activation: string");
  for (const char* input : {"x: float", "gates: float"}) TF_OpDefinitionBuilderAddInput(op, input);
  if (gradient) {
    TF_OpDefinitionBuilderAddInput(op, "dy: float");
    for (const char* output : {"dx: float", "dgates: float"}) TF_OpDefinitionBuilderAddOutput(op, output);
  } else {
    TF_OpDefinitionBuilderAddOutput(op, "y: float");
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, gate_shapes<gradient>);
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(name, "CPU", create_gate, compute_gate<gradient>, destroy_gate);
  TF_RegisterKernelBuilder(name, kernel, status.get());
}

}  // namespace
}  // namespace ostinato
