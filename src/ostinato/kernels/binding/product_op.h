// The op OstinatoProductV1: the product of rows and a matrix of weights; product.h has the kernels.
//
//   inputs of the op        x, weights
//   its output              y
//   inputs of its gradient  x, weights, dy
//   its outputs             dx, dweights
//
// dx has no elements unless wants_dx.
#pragma once

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "engine.h"
#include "product.h"

namespace ostinato {
namespace {

struct ProductKernel {
  bool wants_dx = true;
};

template <bool gradient>
void* create_product(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<ProductKernel>();
  guarded(
      [&] {
        if (gradient) kernel->wants_dx = Attributes(construction).boolean("wants_dx");
      },
      [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}
void destroy_product(void* kernel) { delete static_cast<ProductKernel*>(kernel); }

template <bool gradient>
void compute_product(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const ProductKernel*>(opaque);
        InputReader reader(context);
        const Input x = reader.next("x"), weights = reader.next("weights");
        x.needs_rank(2, "(rows, inputs)");
        weights.needs_rank(2, "(inputs, outputs)");
        const Product p{x.shape()[0], x.shape()[1], weights.shape()[1], threads()};
        weights.needs_shape({p.inputs, p.outputs}, "(inputs, outputs)");
        OutputWriter<float> writer(context);
        const Shape y_shape{p.rows, p.outputs};
        if (!gradient) {
          float* const y = writer.next(y_shape);
          if (x.empty() || weights.empty()) return zero(y, elements(y_shape));
          return multiply(p, x.data<float>(), weights.data<float>(), y);
        }
        const Input dy = reader.next("dy");
        dy.needs_shape(y_shape, "(rows, outputs)");
        const Shape dx_shape = kernel.wants_dx ? x.shape() : Shape{0};
        float *const dx = writer.next(dx_shape), *const dweights = writer.next(weights.shape());
        if (x.empty() || weights.empty()) {
          zero(dx, elements(dx_shape));
          return zero(dweights, elements(weights.shape()));
        }
        multiply_back(p, x.data<float>(), weights.data<float>(), dy.data<float>(), kernel.wants_dx ? dx : nullptr, dweights);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

template <bool gradient>
void product_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        const Handle x = shapes.input(0, 2), weights = shapes.input(1, 2);
        if (!gradient) return shapes.output(0, shapes.joined(shapes.axis(x, 0), shapes.axis(weights, 1)));
        shapes.all_unknown();  // dx may be empty: a shape function cannot see the attribute wants_dx
        shapes.output(1, weights);
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <bool gradient>
void register_product() {
  constexpr const char* name = gradient ? "OstinatoProductGradV1" : "OstinatoProductV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  if (gradient) TF_OpDefinitionBuilderAddAttr(op, "wants_dx: bool = true");
  for (const char* input : {"x: float", "weights: float"}) TF_OpDefinitionBuilderAddInput(op, input);
  if (gradient) {
    TF_OpDefinitionBuilderAddInput(op, "dy: float");
    for (const char* output : {"dx: float", "dweights: float"}) TF_OpDefinitionBuilderAddOutput(op, output);
  } else {
    TF_OpDefinitionBuilderAddOutput(op, "y: float");
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, product_shapes<gradient>);
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel =
      TF_NewKernelBuilder(name, "CPU", create_product<gradient>, compute_product<gradient>, destroy_product);
  TF_RegisterKernelBuilder(name, kernel, status.get());
}

}  // namespace
}  // namespace ostinato
