// The op OstinatoHeadwiseV1: the sLSTM over a whole sequence; headwise.h says what it computes.
//
//   inputs of the op       sums, bias, recurrent, state, mask
//   its outputs            y, new_state, history
//   inputs of its gradient the op's inputs, then history, dy, dstate
//   its outputs            dsums, dbias, drecurrent, dstate0
//
// sums is (batch, time, heads × 4 × width), recurrent (heads, width, 4 × width), bias (heads × 4 × width), or without
// elements, state (batch, 4 × units). mask has no elements where all steps are given, nor has history unless keep_history.
#pragma once

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "engine.h"
#include "headwise.h"

namespace ostinato {
namespace {

struct HeadwiseKernel {
  Headwise layer;  // its sizes are the inputs'
  bool keep_history = false;
};

template <bool gradient>
void* create_headwise(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<HeadwiseKernel>();
  guarded(
      [&] {
        const Attributes attributes(construction);
        kernel->layer.exponential_forget = attributes.boolean("exponential_forget");
        if (!gradient) kernel->keep_history = attributes.boolean("keep_history");
      },
      [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}

void destroy_headwise(void* kernel) { delete static_cast<HeadwiseKernel*>(kernel); }

// What the op and its gradient are both given, checked.
struct HeadwiseArguments {
  Headwise layer;
  HeadwiseInputs in;
  Shape bias;
  std::vector<Input> held;  // keeps the tensors that `in` points into

  bool without_steps() const { return layer.batch == 0 || layer.time == 0; }
  Shape sums() const { return {layer.batch, layer.time, 4 * layer.units()}; }
  Shape y() const { return {layer.batch, layer.time, layer.units()}; }
  Shape recurrent() const { return {layer.heads, layer.width, 4 * layer.width}; }
  Shape state() const { return {layer.batch, 4 * layer.units()}; }
};

HeadwiseArguments read_headwise(const HeadwiseKernel& kernel, InputReader& reader) {
  HeadwiseArguments given{kernel.layer, {}, {}, {}};
  Headwise& layer = given.layer;
  for (const char* name : {"sums", "bias", "recurrent", "state", "mask"}) given.held.push_back(reader.next(name));
  const Input &sums = given.held[0], &bias = given.held[1], &recurrent = given.held[2], &state = given.held[3];
  sums.needs_rank(3, "(batch, time, heads × 4 × width)");
  recurrent.needs_rank(3, "(heads, width, 4 × width)");
  layer.batch = sums.shape()[0], layer.time = sums.shape()[1];
  layer.heads = recurrent.shape()[0], layer.width = recurrent.shape()[1];
  layer.threads = threads();
  if (layer.units() < 1) refuse("recurrent has shape " + in_words(recurrent.shape()) + ", but a layer has at least one unit");
  recurrent.needs_shape(given.recurrent(), "(heads, width, 4 × width)");
  sums.needs_shape(given.sums(), "(batch, time, heads × 4 × width)");
  state.needs_shape(given.state(), "(batch, 4 × units)");
  given.bias = bias.shape();
  given.in = {sums.data<float>(), bias.optional<float>({4 * layer.units()}, "(heads × 4 × width)"), recurrent.data<float>(),
              state.data<float>(), given.held[4].optional<bool>({layer.batch, layer.time}, "(batch, time)")};
  return given;
}

void compute_headwise(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const HeadwiseKernel*>(opaque);
        InputReader reader(context);
        const HeadwiseArguments given = read_headwise(kernel, reader);
        OutputWriter<float> writer(context);
        HeadwiseOutputs out;
        out.y = writer.next(given.y());
        out.state = writer.next(given.state());
        const bool keeps = kernel.keep_history && !given.without_steps();
        float* const history = writer.next({keeps ? headwise_history(given.layer) : 0});
        if (keeps) out.history = history;
        if (given.without_steps()) return copy_or_zero(given.in.state, elements(given.state()), out.state);
        forward(given.layer, given.in, out);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void compute_headwise_gradient(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const HeadwiseKernel*>(opaque);
        InputReader reader(context);
        const HeadwiseArguments given = read_headwise(kernel, reader);
        const Input history = reader.next("history"), dy = reader.next("dy"), dstate = reader.next("dstate");
        history.needs_shape({given.without_steps() ? 0 : headwise_history(given.layer)}, "as the op with keep_history gives");
        dy.needs_shape(given.y(), "(batch, time, units)");
        dstate.needs_shape(given.state(), "(batch, 4 × units)");
        OutputWriter<float> writer(context);
        HeadwiseGradients gradients;
        gradients.dsums = writer.next(given.sums());
        float* const dbias = writer.next(given.bias);
        if (given.in.bias != nullptr) gradients.dbias = dbias;
        gradients.drecurrent = writer.next(given.recurrent());
        gradients.dstate0 = writer.next(given.state());
        if (given.without_steps()) {
          zero(dbias, elements(given.bias));
          zero(gradients.drecurrent, elements(given.recurrent()));
          return copy_or_zero(dstate.data<float>(), elements(given.state()), gradients.dstate0);
        }
        gradients.history = history.data<float>(), gradients.dy = dy.data<float>(), gradients.dstate = dstate.data<float>();
        backward(given.layer, given.in, gradients);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void headwise_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        const Handle sums = shapes.input(0, 3);
        shapes.output(0, shapes.joined(shapes.joined(shapes.axis(sums, 0), shapes.axis(sums, 1)), shapes.vector(-1)));
        shapes.output(1, shapes.input(3, 2));
        shapes.output(2, shapes.vector(-1));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

void headwise_gradient_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        for (int i = 0; i < 4; ++i) shapes.output(i, shapes.input(i));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <bool gradient>
void register_headwise() {
  constexpr const char* name = gradient ? "OstinatoHeadwiseGradV1" : "OstinatoHeadwiseV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(op, "exponential_forget: bool = false");
  if (!gradient) TF_OpDefinitionBuilderAddAttr(op, "keep_history: bool = false");
  for (const char* input : {"sums: float", "bias: float", "recurrent: float", "state: float", "mask: bool"}) {
    TF_OpDefinitionBuilderAddInput(op, input);
  }
  if (gradient) {
    for (const char* input : {"history: float", "dy: float", "dstate: float"}) TF_OpDefinitionBuilderAddInput(op, input);
    for (const char* output : {"dsums: float", "dbias: float", "drecurrent: float", "dstate0: float"}) {
      TF_OpDefinitionBuilderAddOutput(op, output);
    }
  } else {
    for (const char* output : {"y: float", "new_state: float", "history: float"}) TF_OpDefinitionBuilderAddOutput(op, output);
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, gradient ? headwise_gradient_shapes : headwise_shapes);
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel =
      TF_NewKernelBuilder(name, "CPU", create_headwise<gradient>,
                          gradient ? compute_headwise_gradient : compute_headwise, destroy_headwise);
  TF_RegisterKernelBuilder(name, kernel, status.get());
}

}  // namespace
}  // namespace ostinato
