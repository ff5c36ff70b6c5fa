// The op OstinatoElementwiseV1: an element-wise recurrence over a whole sequence; elementwise.h says what it computes.
//
//   inputs of the op       sums, x, state, bias, constants, mask
//   its outputs            y, new_state, history
//   inputs of its gradient the op's inputs, then y, history, dy, dstate
//   its outputs            dsums, dx, dstate0, dbias, dconstants
//
// The attribute `cell` is a name in cells/elementwise_list.h. What is not given comes as a tensor without elements (x of a
// cell that does not read it, bias, constants, mask). The state has the cell's tensors side by side. y is
// (batch, time, outputs × units), or (batch, 1, outputs × units) without return_sequences. history has no elements unless
// keep_history, nor where y is the same.
#pragma once

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "cells/elementwise_list.h"
#include "elementwise.h"
#include "engine.h"

namespace ostinato {
namespace {

struct ElementwiseKernel {
  Elementwise layer;  // its sizes are the inputs'
  bool keep_history = false;
};

template <bool gradient>
void* create_elementwise(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<ElementwiseKernel>();
  guarded(
      [&] {
        const Attributes attributes(construction);
        const std::string cell = attributes.string("cell");
        int number = 0;
        kernel->layer.form = -1;
        for_each_elementwise([&](auto form) {
          if (cell == decltype(form)::name) kernel->layer.form = number;
          ++number;
        });
        if (kernel->layer.form < 0) refuse("cell must be an element-wise recurrence, got '" + cell + "'");
        kernel->layer.go_backwards = attributes.boolean("go_backwards");
        kernel->layer.return_sequences = attributes.boolean("return_sequences");
        kernel->layer.zero_output_for_mask = attributes.boolean("zero_output_for_mask");
        if (!gradient) kernel->keep_history = attributes.boolean("keep_history");
      },
      [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}

void destroy_elementwise(void* kernel) { delete static_cast<ElementwiseKernel*>(kernel); }

// What the op and its gradient are both given, checked.
struct ElementwiseArguments {
  Elementwise layer;
  ElementwiseSizes sizes;
  ElementwiseInputs in;
  Shape sums_shape, x_shape, bias_shape, constants_shape;
  std::vector<Input> held;  // keeps the tensors that `in` points into

  bool without_steps() const { return layer.batch == 0 || layer.time == 0; }
  Shape state_shape() const { return {layer.batch, sizes.states * layer.units}; }
  Shape y_shape() const { return {layer.batch, layer.return_sequences ? layer.time : 1, sizes.outputs * layer.units}; }
  Shape history_shape() const { return {layer.batch, layer.time, sizes.states * layer.units}; }
};

ElementwiseArguments read_elementwise(const ElementwiseKernel& kernel, InputReader& reader) {
  ElementwiseArguments given{kernel.layer, sizes_of(kernel.layer), {}, {}, {}, {}, {}, {}};
  Elementwise& layer = given.layer;
  const ElementwiseSizes& sizes = given.sizes;
  for (const char* name : {"sums", "x", "state", "bias", "constants", "mask"}) given.held.push_back(reader.next(name));
  const Input &sums = given.held[0], &x = given.held[1], &state = given.held[2], &bias = given.held[3];
  const Input &constants = given.held[4], &mask = given.held[5];
  sums.needs_rank(3, "(batch, time, sums × units)");
  state.needs_rank(2, "(batch, states × units)");
  given.sums_shape = sums.shape(), given.x_shape = x.shape(), given.bias_shape = bias.shape();
  given.constants_shape = constants.shape();
  layer.batch = given.sums_shape[0], layer.time = given.sums_shape[1], layer.units = given.sums_shape[2] / sizes.sums;
  layer.threads = threads();
  if (layer.units < 1) refuse("sums has shape " + in_words(given.sums_shape) + ", but a layer has at least one unit");
  sums.needs_shape({layer.batch, layer.time, sizes.sums * layer.units}, "(batch, time, sums × units)");
  state.needs_shape(given.state_shape(), "(batch, states × units)");
  if (sizes.takes_x) x.needs_shape({layer.batch, layer.time, layer.units}, "(batch, time, units)");
  if (sizes.constants > 0) constants.needs_shape({sizes.constants * layer.units}, "(constants × units)");
  given.in.bias = bias.optional<float>({sizes.sums * layer.units}, "(sums × units)");
  given.in.mask = mask.optional<bool>({layer.batch, layer.time}, "(batch, time)");
  given.in.sums = sums.data<float>();
  if (sizes.takes_x) given.in.x = x.data<float>();
  given.in.state = state.data<float>();
  if (sizes.constants > 0) given.in.constants = constants.data<float>();
  return given;
}

void compute_elementwise(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const ElementwiseKernel*>(opaque);
        InputReader reader(context);
        const ElementwiseArguments given = read_elementwise(kernel, reader);
        OutputWriter<float> writer(context);
        ElementwiseOutputs out;
        out.y = writer.next(given.y_shape());
        out.state = writer.next(given.state_shape());
        const bool keeps = kernel.keep_history && y_lacks_states(given.layer, given.in.mask != nullptr);
        float* const history = writer.next(keeps ? given.history_shape() : Shape{0, 0, 0});
        if (keeps) out.history = history;
        if (given.without_steps()) {
          zero(out.y, elements(given.y_shape()));
          return copy_or_zero(given.in.state, elements(given.state_shape()), out.state);
        }
        forward(given.layer, given.in, out);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void compute_elementwise_gradient(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const ElementwiseKernel*>(opaque);
        InputReader reader(context);
        const ElementwiseArguments given = read_elementwise(kernel, reader);
        const Input y = reader.next("y"), history = reader.next("history"), dy = reader.next("dy"), dstate = reader.next("dstate");
        const bool lacks = y_lacks_states(given.layer, given.in.mask != nullptr);
        y.needs_shape(given.y_shape(), "(batch, time or 1, outputs × units)");
        if (lacks) history.needs_shape(given.history_shape(), "as the op with keep_history gives");
        dy.needs_shape(given.y_shape(), "(batch, time or 1, outputs × units)");
        dstate.needs_shape(given.state_shape(), "(batch, states × units)");
        OutputWriter<float> writer(context);
        ElementwiseGradients gradients;
        gradients.dsums = writer.next(given.sums_shape);
        gradients.dx = writer.next(given.x_shape);
        gradients.dstate0 = writer.next(given.state_shape());
        float* const dbias = writer.next(given.bias_shape);
        float* const dconstants = writer.next(given.constants_shape);
        if (given.in.bias != nullptr) gradients.dbias = dbias;
        if (given.in.constants != nullptr) gradients.dconstants = dconstants;
        if (given.without_steps()) {
          zero(dbias, elements(given.bias_shape));
          zero(dconstants, elements(given.constants_shape));
          return copy_or_zero(dstate.data<float>(), elements(given.state_shape()), gradients.dstate0);
        }
        gradients.history = (lacks ? history : y).data<float>();
        gradients.dy = dy.data<float>();
        gradients.dstate = dstate.data<float>();
        backward(given.layer, given.in, gradients);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void elementwise_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        const Handle sums = shapes.input(0, 3), state = shapes.input(2, 2);
        const Handle unknown = shapes.vector(-1);
        shapes.output(0, shapes.joined(shapes.joined(shapes.axis(sums, 0), unknown), unknown));
        shapes.output(1, state);
        shapes.output(2, shapes.joined(shapes.joined(unknown, unknown), unknown));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

void elementwise_gradient_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        for (int i = 0; i < 5; ++i) shapes.output(i, shapes.input(i));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <bool gradient>
void register_elementwise() {
  constexpr const char* name = gradient ? "OstinatoElementwiseGradV1" : "OstinatoElementwiseV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute : {"cell: string", "go_backwards: bool = false", "return_sequences: bool = true",
                                "zero_output_for_mask: bool = false"}) {
    TF_OpDefinitionBuilderAddAttr(op, attribute);
  }
  if (!gradient) TF_OpDefinitionBuilderAddAttr(op, "keep_history: bool = false");
  for (const char* input : {"sums: float", "x: float", "state: float", "bias: float", "constants: float", "mask: bool"}) {
    TF_OpDefinitionBuilderAddInput(op, input);
  }
  if (gradient) {
    for (const char* input : {"y: float", "history: float", "dy: float", "dstate: float"}) TF_OpDefinitionBuilderAddInput(op, input);
    for (const char* output : {"dsums: float", "dx: float", "dstate0: float", "dbias: float", "dconstants: float"}) {
      TF_OpDefinitionBuilderAddOutput(op, output);
    }
  } else {
    for (const char* output : {"y: float", "new_state: float", "history: float"}) TF_OpDefinitionBuilderAddOutput(op, output);
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, gradient ? elementwise_gradient_shapes : elementwise_shapes);
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel =
      TF_NewKernelBuilder(name, "CPU", create_elementwise<gradient>,
                          gradient ? compute_elementwise_gradient : compute_elementwise, destroy_elementwise);
  TF_RegisterKernelBuilder(name, kernel, status.get());
}

}  // namespace
}  // namespace ostinato
