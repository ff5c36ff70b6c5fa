// TensorFlow ops around the engine: OstinatoRnnV1, OstinatoGruV1, OstinatoLstmV1 and their gradients ...GradV1; and
// OstinatoUpdateV1, which update_op.h describes.
//
// One op is a whole layer over a whole sequence. SavedModels keep its name and signature: neither ever changes, a new
// signature is a V2. The V2 of an op has attributes for its activations, by their names in activations.h. What an op is not
// given comes as a tensor without elements (bias, mask, dropout masks).
//
//   inputs of an op        x | ids, h0, [c0], kernel, recurrent, bias, mask, input_dropout, recurrent_dropout
//   its outputs            y, h, [c], history
//   inputs of a gradient   the op's inputs, then y, history, dy, dh, [dc]
//   its outputs            dx, dh0, [dc0], dkernel, drecurrent, dbias
//
// [c] is the LSTM's. y is (batch, time, units), or (batch, 1, units) without return_sequences. history has no elements
// unless keep_history, nor has dx unless wants_dx.

#include <initializer_list>

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "binding/update_op.h"
#include "cells/list.h"
#include "engine.h"

namespace ostinato {
namespace {

// ---- Kernels ----

// An op's attributes.
struct Kernel {
  Layer layer;  // its sizes are the inputs'
  bool takes_ids = false;
  bool keep_history = false;  // of an op
  bool wants_dx = false;      // of a gradient
};

template <class Op, int version, bool gradient>
void* create(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<Kernel>();
  guarded(
      [&] {
        const Attributes attributes(construction);
        kernel->takes_ids = attributes.type("Tin") == TF_INT32;
        Layer& layer = kernel->layer;
        layer.cell = Op::cell;
        Op::read(attributes, layer);
        if (version > 1 || Op::first_activation != nullptr) layer.activation = attributes.activation("activation");
        if (version > 1 && Op::gates > 1) {
          layer.recurrent_activation = attributes.activation("recurrent_activation");
        }
        layer.go_backwards = attributes.boolean("go_backwards");
        layer.return_sequences = attributes.boolean("return_sequences");
        layer.zero_output_for_mask = attributes.boolean("zero_output_for_mask");
        (gradient ? kernel->wants_dx : kernel->keep_history) =
            attributes.boolean(gradient ? "wants_dx" : "keep_history");
      },
      [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}

void destroy(void* kernel) { delete static_cast<Kernel*>(kernel); }

// What an op and its gradient are both given, checked.
struct Arguments {
  Layer layer;
  int64_t gates;  // of its cell
  bool has_c;
  Inputs in;
  Shape x_shape, bias_shape;
  std::vector<Input> held;  // keeps the tensors that `in` points into

  bool without_steps() const { return layer.batch == 0 || layer.time == 0; }
  Shape state_shape() const { return {layer.batch, layer.units}; }
  Shape y_shape() const { return {layer.batch, layer.return_sequences ? layer.time : 1, layer.units}; }
  Shape kernel_shape() const { return {layer.features, gates * layer.units}; }
  Shape recurrent_shape() const { return {layer.units, gates * layer.units}; }
};

void check_ids(const int32_t* ids, const Layer& layer) {
  for (int64_t i = 0; i < layer.batch * layer.time; ++i) {
    if (ids[i] < 0 || ids[i] >= layer.features) {
      refuse("ids[" + std::to_string(i / layer.time) + ", " + std::to_string(i % layer.time) + "] is " +
             std::to_string(ids[i]) + ", but the kernel has rows for the ids from 0 to " +
             std::to_string(layer.features - 1));
    }
  }
}

Arguments read_arguments(const Kernel& kernel, InputReader& reader) {
  Arguments arguments = with_op(kernel.layer.cell, [&](auto op) {
    return Arguments{kernel.layer, op.gates, op.states > 1, {}, {}, {}, {}};
  });
  Layer& layer = arguments.layer;
  Inputs& in = arguments.in;
  auto& held = arguments.held;
  const bool has_c = arguments.has_c;

  Input x = reader.next(kernel.takes_ids ? "ids" : "x");
  Input h0 = reader.next("h0");
  Input c0 = has_c ? reader.next("c0") : Input{};
  Input weights = reader.next("kernel");
  Input recurrent = reader.next("recurrent");
  Input bias = reader.next("bias");
  Input mask = reader.next("mask");
  Input input_dropout = reader.next("input_dropout");
  Input recurrent_dropout = reader.next("recurrent_dropout");

  if (kernel.takes_ids) {
    x.needs_rank(2, "(batch, time)");
  } else {
    x.needs_rank(3, "(batch, time, features)");
  }
  weights.needs_rank(2, "(features, gates × units)");
  recurrent.needs_rank(2, "(units, gates × units)");
  arguments.x_shape = x.shape();
  layer.batch = arguments.x_shape[0];
  layer.time = arguments.x_shape[1];
  layer.features = weights.shape()[0];
  layer.units = recurrent.shape()[0];
  layer.threads = threads();
  if (layer.features < 1 || layer.units < 1) {
    refuse("kernel has shape " + in_words(weights.shape()) + " and recurrent " + in_words(recurrent.shape()) +
           ", but a layer has at least one feature and one unit");
  }
  weights.needs_shape(arguments.kernel_shape(), "(features, gates × units)");
  recurrent.needs_shape(arguments.recurrent_shape(), "(units, gates × units)");
  if (!kernel.takes_ids) x.needs_shape({layer.batch, layer.time, layer.features}, "(batch, time, features)");
  h0.needs_shape(arguments.state_shape(), "(batch, units)");
  if (has_c) c0.needs_shape(arguments.state_shape(), "(batch, units)");

  const int64_t gates = arguments.gates, width = gates * layer.units;
  const bool two_biases = with_op(layer.cell, [&](auto op) { return op.bias_rows(layer); }) == 2;
  arguments.bias_shape = bias.shape();
  in.bias = bias.optional<float>(two_biases ? Shape{2, width} : Shape{width},
                                 two_biases ? "(2, gates × units)" : "(gates × units)");
  in.mask = mask.optional<bool>({layer.batch, layer.time}, "(batch, time)");
  in.input_dropout = input_dropout.optional<float>({gates, layer.batch, layer.features},
                                                   "(gates, batch, features)");
  in.recurrent_dropout = recurrent_dropout.optional<float>({gates, layer.batch, layer.units},
                                                           "(gates, batch, units)");
  if (kernel.takes_ids && in.input_dropout != nullptr) refuse("input_dropout is for x, but ids are given");
  (kernel.takes_ids ? (void)(in.ids = x.data<int32_t>()) : (void)(in.x = x.data<float>()));
  if (in.ids != nullptr) check_ids(in.ids, layer);
  in.h0 = h0.data<float>();
  if (has_c) in.c0 = c0.data<float>();
  in.kernel = weights.data<float>();
  in.recurrent = recurrent.data<float>();

  for (Input* input : {&x, &h0, &c0, &weights, &recurrent, &bias, &mask, &input_dropout, &recurrent_dropout}) {
    if (input->tensor) held.push_back(std::move(*input));
  }
  return arguments;
}

// Reads what an op and its gradient are both given, and runs `body` on it: body(kernel, arguments, reader, writer).
template <class Body>
void compute(void* opaque, TF_OpKernelContext* context, const Body& body) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const Kernel*>(opaque);
        InputReader reader(context);
        const Arguments arguments = read_arguments(kernel, reader);
        OutputWriter writer(context);
        body(kernel, arguments, reader, writer);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void compute_forward(void* opaque, TF_OpKernelContext* context) {
  compute(opaque, context, [&](const Kernel& kernel, const Arguments& arguments, InputReader&, OutputWriter& writer) {
    const Layer& layer = arguments.layer;
    const bool has_c = arguments.has_c;
    const bool keeps_history = kernel.keep_history && !arguments.without_steps();
    const Shape state = arguments.state_shape();

    Outputs out;
    out.y = writer.next(arguments.y_shape());
    out.h = writer.next(state);
    if (has_c) out.c = writer.next(state);
    float* history = writer.next({keeps_history ? history_floats(layer, arguments.in.mask != nullptr) : 0});
    if (keeps_history) out.history = history;

    if (arguments.without_steps()) {
      zero(out.y, elements(arguments.y_shape()));
      copy(arguments.in.h0, elements(state), out.h);
      if (has_c) copy(arguments.in.c0, elements(state), out.c);
      return;
    }
    const Tensor memory = workspace(context, forward_workspace_bytes(layer, arguments.in, keeps_history));
    forward(layer, arguments.in, out, TF_TensorData(memory.get()));
  });
}

void compute_backward(void* opaque, TF_OpKernelContext* context) {
  compute(opaque, context, [&](const Kernel& kernel, const Arguments& arguments, InputReader& reader, OutputWriter& writer) {
    const Layer& layer = arguments.layer;
    const bool has_c = arguments.has_c;
    const bool wants_dx = kernel.wants_dx && !kernel.takes_ids;
    const Shape state = arguments.state_shape();
    const Input y = reader.next("y");
    const Input history = reader.next("history");
    const Input dy = reader.next("dy");
    const Input dh = reader.next("dh");
    const Input dc = has_c ? reader.next("dc") : Input{};
    y.needs_shape(arguments.y_shape(), "(batch, time or 1, units)");
    history.needs_shape({arguments.without_steps() ? 0 : history_floats(layer, arguments.in.mask != nullptr)},
                        "as the op with keep_history gives");
    dy.needs_shape(arguments.y_shape(), "(batch, time or 1, units)");
    dh.needs_shape(state, "(batch, units)");
    if (has_c) dc.needs_shape(state, "(batch, units)");

    Gradients gradients;
    float* dx = writer.next(wants_dx ? arguments.x_shape : Shape{0});
    if (wants_dx) gradients.dx = dx;
    gradients.dh0 = writer.next(state);
    if (has_c) gradients.dc0 = writer.next(state);
    gradients.dkernel = writer.next(arguments.kernel_shape());
    gradients.drecurrent = writer.next(arguments.recurrent_shape());
    float* dbias = writer.next(arguments.bias_shape);
    if (arguments.in.bias != nullptr) gradients.dbias = dbias;

    if (arguments.without_steps()) {
      copy(dh.data<float>(), elements(state), gradients.dh0);
      if (has_c) copy(dc.data<float>(), elements(state), gradients.dc0);
      zero(gradients.dkernel, elements(arguments.kernel_shape()));
      zero(gradients.drecurrent, elements(arguments.recurrent_shape()));
      zero(dbias, elements(arguments.bias_shape));
      return;
    }
    gradients.history = history.data<float>();
    gradients.y = y.data<float>();
    gradients.dy = dy.data<float>();
    gradients.dh = dh.data<float>();
    if (has_c) gradients.dc = dc.data<float>();
    const Tensor memory = workspace(context, backward_workspace_bytes(layer, arguments.in));
    backward(layer, arguments.in, gradients, TF_TensorData(memory.get()));
  });
}

// ---- Registration ----

template <class Op, int version, bool gradient>
void register_op() {
  constexpr bool kHasC = Op::states > 1;
  const std::string name = std::string("Ostinato") + Op::name + (gradient ? "GradV" : "V") + std::to_string(version);
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name.c_str());
  const auto inputs = [op](std::initializer_list<const char*> specs) {
    for (const char* spec : specs) TF_OpDefinitionBuilderAddInput(op, spec);
  };
  const auto outputs = [op](std::initializer_list<const char*> specs) {
    for (const char* spec : specs) TF_OpDefinitionBuilderAddOutput(op, spec);
  };
  TF_OpDefinitionBuilderAddAttr(op, "T: {float} = DT_FLOAT");
  TF_OpDefinitionBuilderAddAttr(op, "Tin: {float, int32}");
  if (Op::attribute != nullptr) TF_OpDefinitionBuilderAddAttr(op, Op::attribute);
  const char* activation = version > 1 ? "activation: string = 'tanh'" : Op::first_activation;
  if (activation != nullptr) TF_OpDefinitionBuilderAddAttr(op, activation);
  if (version > 1 && Op::gates > 1) TF_OpDefinitionBuilderAddAttr(op, "recurrent_activation: string = 'sigmoid'");
  TF_OpDefinitionBuilderAddAttr(op, "go_backwards: bool = false");
  TF_OpDefinitionBuilderAddAttr(op, "return_sequences: bool = true");
  TF_OpDefinitionBuilderAddAttr(op, "zero_output_for_mask: bool = false");
  TF_OpDefinitionBuilderAddAttr(op, gradient ? "wants_dx: bool = true" : "keep_history: bool = false");

  inputs({"x: Tin", "h0: T"});
  if (kHasC) inputs({"c0: T"});
  inputs({"kernel: T", "recurrent: T", "bias: T", "mask: bool", "input_dropout: T", "recurrent_dropout: T"});
  if (gradient) {
    inputs({"y: T", "history: T", "dy: T", "dh: T"});
    if (kHasC) inputs({"dc: T"});
    outputs({"dx: T", "dh0: T"});
    if (kHasC) outputs({"dc0: T"});
    outputs({"dkernel: T", "drecurrent: T", "dbias: T"});
  } else {
    outputs({"y: T", "h: T"});
    if (kHasC) outputs({"c: T"});
    outputs({"history: T"});
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, gradient ? backward_shapes<Op> : forward_shapes<Op>);

  // A failure shows in what tf.load_op_library returns: the op is missing there.
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(name.c_str(), "CPU", create<Op, version, gradient>,
                                                 gradient ? compute_backward : compute_forward, destroy);
  TF_KernelBuilder_TypeConstraint(kernel, "T", TF_FLOAT, status.get());
  TF_RegisterKernelBuilder(name.c_str(), kernel, status.get());
}

// tf.load_op_library takes the ops that a library registers while it is being loaded.
const char* const missing = [] {
  const char* const name = find_tensorflow();
  if (name != nullptr) return name;
  for_each_op([](auto op) {
    using Op = decltype(op);
    register_op<Op, 1, false>();
    register_op<Op, 1, true>();
    register_op<Op, 2, false>();
    register_op<Op, 2, true>();
  });
  register_update();
  return name;
}();

}  // namespace
}  // namespace ostinato

// A function that the binding needs and TensorFlow lacks; there are then no ops. Null when TensorFlow has them all.
extern "C" __attribute__((visibility("default"))) const char* ostinato_missing_function() { return ostinato::missing; }
