// The op OstinatoProductV1: the products of rows and some matrices of weights, one after the other, for each of which all threads
// work together; product.h has the kernels.
//
//   inputs of the op        x, weights of each
//   its outputs             y of each
//   inputs of its gradient  x, weights of each, dy of each
//   its outputs             dx, dweights of each
//
// The attribute N says how many there are. dx has no elements unless wants_dx.
#pragma once

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "engine.h"
#include "product.h"

namespace ostinato {
namespace {

struct ProductKernel {
  int count = 1;
  bool wants_dx = true;
};

template <bool gradient>
void* create_product(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<ProductKernel>();
  guarded(
      [&] {
        const Attributes attributes(construction);
        kernel->count = attributes.integer("N");
        if (gradient) kernel->wants_dx = attributes.boolean("wants_dx");
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
        const Input x = reader.next("x");
        x.needs_rank(2, "(rows, inputs)");
        std::vector<Input> weights, dy;
        std::vector<Product> products;
        for (int i = 0; i < kernel.count; ++i) {
          weights.push_back(reader.next("weights"));
          weights[i].needs_rank(2, "(inputs, outputs)");
          products.push_back({x.shape()[0], x.shape()[1], weights[i].shape()[1], threads(), i > 0});
          weights[i].needs_shape({products[i].inputs, products[i].outputs}, "(inputs, outputs)");
        }
        OutputWriter<float> writer(context);
        for (int i = 0; !gradient && i < kernel.count; ++i) {
          const Shape y_shape{products[i].rows, products[i].outputs};
          float* const y = writer.next(y_shape);
          if (x.empty() || weights[i].empty()) zero(y, elements(y_shape));
          else multiply(products[i], x.data<float>(), weights[i].data<float>(), y);
        }
        if (!gradient) return;
        for (const Product& p : products) {
          dy.push_back(reader.next("dy"));
          dy.back().needs_shape({p.rows, p.outputs}, "(rows, outputs)");
        }
        const Shape dx_shape = kernel.wants_dx ? x.shape() : Shape{0};
        float* const dx = writer.next(dx_shape);
        if (x.empty() || weights[0].empty()) zero(dx, elements(dx_shape));
        for (int i = 0; i < kernel.count; ++i) {
          float* const dweights = writer.next(weights[i].shape());
          if (x.empty() || weights[i].empty()) zero(dweights, elements(weights[i].shape()));
          else multiply_back(products[i], x.data<float>(), weights[i].data<float>(), dy[i].data<float>(), kernel.wants_dx ? dx : nullptr, dweights);
        }
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

template <bool gradient>
void product_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        if (gradient) return shapes.all_unknown();  // which attributes there are a shape function cannot see
        const Handle rows = shapes.axis(shapes.input(0, 2), 0);
        for (int i = 0; i + 1 < shapes.inputs(); ++i) shapes.output(i, shapes.joined(rows, shapes.axis(shapes.input(1 + i, 2), 1)));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <bool gradient>
void register_product() {
  constexpr const char* name = gradient ? "OstinatoProductGradV1" : "OstinatoProductV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  if (gradient) TF_OpDefinitionBuilderAddAttr(op, "wants_dx: bool = true");
  TF_OpDefinitionBuilderAddAttr(op, "N: int >= 1");
  for (const char* input : {"x: float", "weights: N * float"}) TF_OpDefinitionBuilderAddInput(op, input);
  if (gradient) {
    TF_OpDefinitionBuilderAddInput(op, "dys: N * float");
    for (const char* output : {"dx: float", "dweights: N * float"}) TF_OpDefinitionBuilderAddOutput(op, output);
  } else {
    TF_OpDefinitionBuilderAddOutput(op, "ys: N * float");
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
