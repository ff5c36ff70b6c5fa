// TensorFlow ops around the engine: OstinatoRnnV1, OstinatoGruV1, OstinatoLstmV1 and their gradients ...GradV1; and
// OstinatoElementwiseV1, OstinatoGateV1, OstinatoHeadwiseV1, OstinatoMemoryV1, OstinatoProductV1, OstinatoRowwiseV1 and
// OstinatoUpdateV1, which elementwise_op.h and so on describe.
//
// One op is a whole layer over a whole sequence. SavedModels keep its name and signature: neither changes once it
// was in a release, a new signature is a V2. The V2 of an op has attributes for its activations, by their names in activations.h; the V3 has one
// more, which lets products read numbers rounded to bfloat16. What an op is not given comes as a tensor without elements
// (bias, mask, dropout masks). So does the state of a layer that begins with zeros; the gradient of that has no elements
// either.
// In float64 the ops are OstinatoRnnDoubleV1 and so on, with the attributes of a V2.
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
#include "binding/elementwise_op.h"
#include "binding/gate_op.h"
#include "binding/headwise_op.h"
#include "binding/memory_op.h"
#include "binding/product_op.h"
#include "binding/rowwise_op.h"
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

// The ops in float64 came later, with what a V2 has.
template <class Number, int version>
constexpr bool kHasActivations = version > 1 || std::is_same_v<Number, double>;

template <class Op, class Number, int version, bool gradient>
void* create(TF_OpKernelConstruction* construction) {
  constexpr bool kAny = kHasActivations<Number, version>;
  auto kernel = std::make_unique<Kernel>();
  guarded(
      [&] {
        const Attributes attributes(construction);
        kernel->takes_ids = attributes.type("Tin") == TF_INT32;
        Layer& layer = kernel->layer;
        layer.cell = Op::cell;
        Op::read(attributes, layer);
        if (kAny || Op::first_activation != nullptr) layer.activation = attributes.activation("activation");
        if (kAny && Op::gates > 1) {
          layer.recurrent_activation = attributes.activation("recurrent_activation");
        }
        if (version > 2) layer.bfloat16 = attributes.boolean("bfloat16_products");
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
template <class Number>
struct Arguments {
  Layer layer;
  int64_t gates;  // of its cell
  bool has_c;
  InputsOf<Number> in;
  Shape x_shape, bias_shape;
  std::vector<Input> held;  // keeps the tensors that `in` points into

  bool without_steps() const { return layer.batch == 0 || layer.time == 0; }
  Shape state_shape() const { return {layer.batch, layer.units}; }
  Shape y_shape() const { return {layer.batch, layer.return_sequences ? layer.time : 1, layer.units}; }
  Shape kernel_shape() const { return {layer.features, gates * layer.units}; }
  Shape recurrent_shape() const { return {layer.units, gates * layer.units}; }
};

template <class Number>
Arguments<Number> read_arguments(const Kernel& kernel, InputReader& reader) {
  Arguments<Number> arguments = with_op(kernel.layer.cell, [&](auto op) {
    return Arguments<Number>{kernel.layer, op.gates, op.states > 1, {}, {}, {}, {}};
  });
  Layer& layer = arguments.layer;
  InputsOf<Number>& in = arguments.in;
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
  const bool begins_with_zeros = h0.absent() && (!has_c || c0.absent());
  if (!begins_with_zeros) {
    h0.needs_shape(arguments.state_shape(), "(batch, units)");
    if (has_c) c0.needs_shape(arguments.state_shape(), "(batch, units)");
  }

  const int64_t gates = arguments.gates, width = gates * layer.units;
  const bool two_biases = with_op(layer.cell, [&](auto op) { return op.bias_rows(layer); }) == 2;
  arguments.bias_shape = bias.shape();
  in.bias = bias.optional<Number>(two_biases ? Shape{2, width} : Shape{width},
                                 two_biases ? "(2, gates × units)" : "(gates × units)");
  in.mask = mask.optional<bool>({layer.batch, layer.time}, "(batch, time)");
  in.input_dropout = input_dropout.optional<Number>({gates, layer.batch, layer.features},
                                                   "(gates, batch, features)");
  in.recurrent_dropout = recurrent_dropout.optional<Number>({gates, layer.batch, layer.units},
                                                           "(gates, batch, units)");
  if (kernel.takes_ids && in.input_dropout != nullptr) refuse("input_dropout is for x, but ids are given");
  (kernel.takes_ids ? (void)(in.ids = x.data<int32_t>()) : (void)(in.x = x.data<Number>()));
  if (in.ids != nullptr) check_ids(in.ids, layer.batch, layer.time, layer.features);
  if (!begins_with_zeros) {
    in.h0 = h0.data<Number>();
    if (has_c) in.c0 = c0.data<Number>();
  }
  in.kernel = weights.data<Number>();
  in.recurrent = recurrent.data<Number>();

  for (Input* input : {&x, &h0, &c0, &weights, &recurrent, &bias, &mask, &input_dropout, &recurrent_dropout}) {
    if (input->tensor) held.push_back(std::move(*input));
  }
  return arguments;
}

// The passes: in float32 with memory of TensorFlow's, in float64 with their own.
int64_t history_size(const Arguments<float>& given) { return history_floats(given.layer, given.in.mask != nullptr); }
int64_t history_size(const Arguments<double>& given) { return history_doubles(given.layer); }
void run_forward(TF_OpKernelContext* context, const Arguments<float>& given, const Outputs& out) {
  const Tensor memory = workspace(context, forward_workspace_bytes(given.layer, given.in, out.history != nullptr));
  forward(given.layer, given.in, out, TF_TensorData(memory.get()));
}
void run_forward(TF_OpKernelContext*, const Arguments<double>& given, const OutputsOf<double>& out) {
  forward(given.layer, given.in, out);
}
void run_backward(TF_OpKernelContext* context, const Arguments<float>& given, const Gradients& gradients) {
  const Tensor memory = workspace(context, backward_workspace_bytes(given.layer, given.in));
  backward(given.layer, given.in, gradients, TF_TensorData(memory.get()));
}
void run_backward(TF_OpKernelContext*, const Arguments<double>& given, const GradientsOf<double>& gradients) {
  backward(given.layer, given.in, gradients);
}

// Reads what an op and its gradient are both given, and runs `body` on it: body(kernel, arguments, reader, writer).
template <class Number, class Body>
void compute(void* opaque, TF_OpKernelContext* context, const Body& body) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const Kernel*>(opaque);
        InputReader reader(context);
        const Arguments<Number> arguments = read_arguments<Number>(kernel, reader);
        OutputWriter<Number> writer(context);
        body(kernel, arguments, reader, writer);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

template <class Number>
void compute_forward(void* opaque, TF_OpKernelContext* context) {
  compute<Number>(opaque, context, [&](const Kernel& kernel, const auto& arguments, InputReader&, auto& writer) {
    const bool has_c = arguments.has_c;
    const bool keeps_history = kernel.keep_history && !arguments.without_steps();
    const Shape state = arguments.state_shape();

    OutputsOf<Number> out;
    out.y = writer.next(arguments.y_shape());
    out.h = writer.next(state);
    if (has_c) out.c = writer.next(state);
    Number* history = writer.next({keeps_history ? history_size(arguments) : 0});
    if (keeps_history) out.history = history;

    if (arguments.without_steps()) {
      zero(out.y, elements(arguments.y_shape()));
      copy_or_zero(arguments.in.h0, elements(state), out.h);
      if (has_c) copy_or_zero(arguments.in.c0, elements(state), out.c);
      return;
    }
    run_forward(context, arguments, out);
  });
}

template <class Number>
void compute_backward(void* opaque, TF_OpKernelContext* context) {
  compute<Number>(opaque, context, [&](const Kernel& kernel, const auto& arguments, InputReader& reader, auto& writer) {
    const bool has_c = arguments.has_c;
    const bool wants_dx = kernel.wants_dx && !kernel.takes_ids;
    const Shape state = arguments.state_shape();
    const Input y = reader.next("y");
    const Input history = reader.next("history");
    const Input dy = reader.next("dy");
    const Input dh = reader.next("dh");
    const Input dc = has_c ? reader.next("dc") : Input{};
    y.needs_shape(arguments.y_shape(), "(batch, time or 1, units)");
    history.needs_shape({arguments.without_steps() ? 0 : history_size(arguments)},
                        "as the op with keep_history gives");
    dy.needs_shape(arguments.y_shape(), "(batch, time or 1, units)");
    dh.needs_shape(state, "(batch, units)");
    if (has_c) dc.needs_shape(state, "(batch, units)");

    GradientsOf<Number> gradients;
    Number* dx = writer.next(wants_dx ? arguments.x_shape : Shape{0});
    if (wants_dx) gradients.dx = dx;
    const Shape first_state = arguments.in.h0 == nullptr ? Shape{0} : state;
    gradients.dh0 = writer.next(first_state);
    if (has_c) gradients.dc0 = writer.next(first_state);
    gradients.dkernel = writer.next(arguments.kernel_shape());
    gradients.drecurrent = writer.next(arguments.recurrent_shape());
    Number* dbias = writer.next(arguments.bias_shape);
    if (arguments.in.bias != nullptr) gradients.dbias = dbias;

    if (arguments.without_steps()) {
      copy_or_zero(dh.data<Number>(), elements(first_state), gradients.dh0);
      if (has_c) copy_or_zero(dc.data<Number>(), elements(first_state), gradients.dc0);
      zero(gradients.dkernel, elements(arguments.kernel_shape()));
      zero(gradients.drecurrent, elements(arguments.recurrent_shape()));
      zero(dbias, elements(arguments.bias_shape));
      return;
    }
    gradients.history = history.data<Number>();
    gradients.y = y.data<Number>();
    gradients.dy = dy.data<Number>();
    gradients.dh = dh.data<Number>();
    if (has_c) gradients.dc = dc.data<Number>();
    run_backward(context, arguments, gradients);
  });
}

// ---- Registration ----

template <class Op, class Number, int version, bool gradient>
void register_op() {
  constexpr bool kAny = kHasActivations<Number, version>, kDouble = std::is_same_v<Number, double>;
  constexpr bool kHasC = Op::states > 1;
  const std::string name = std::string("Ostinato") + Op::name + (kDouble ? "Double" : "") +
                           (gradient ? "GradV" : "V") + std::to_string(version);
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name.c_str());
  const auto inputs = [op](std::initializer_list<const char*> specs) {
    for (const char* spec : specs) TF_OpDefinitionBuilderAddInput(op, spec);
  };
  const auto outputs = [op](std::initializer_list<const char*> specs) {
    for (const char* spec : specs) TF_OpDefinitionBuilderAddOutput(op, spec);
  };
  TF_OpDefinitionBuilderAddAttr(op, kDouble ? "T: {double} = DT_DOUBLE" : "T: {float} = DT_FLOAT");
  TF_OpDefinitionBuilderAddAttr(op, kDouble ? "Tin: {double, int32}" : "Tin: {float, int32}");
  if (Op::attribute != nullptr) TF_OpDefinitionBuilderAddAttr(op, Op::attribute);
  const char* activation = kAny ? "activation: string = 'tanh'" : Op::first_activation;
  if (activation != nullptr) TF_OpDefinitionBuilderAddAttr(op, activation);
  if (kAny && Op::gates > 1) TF_OpDefinitionBuilderAddAttr(op, "recurrent_activation: string = 'sigmoid'");
  if (version > 2) TF_OpDefinitionBuilderAddAttr(op, "bfloat16_products: bool = false");
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
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(name.c_str(), "CPU", create<Op, Number, version, gradient>,
                                                 gradient ? compute_backward<Number> : compute_forward<Number>, destroy);
  TF_KernelBuilder_TypeConstraint(kernel, "T", kType<Number>, status.get());
  TF_RegisterKernelBuilder(name.c_str(), kernel, status.get());
}

// tf.load_op_library takes the ops that a library registers while it is being loaded.
const char* const missing = [] {
  const char* const name = find_tensorflow();
  if (name != nullptr) return name;
  for_each_op([](auto op) {
    using Op = decltype(op);
    register_op<Op, float, 1, false>();
    register_op<Op, float, 1, true>();
    register_op<Op, float, 2, false>();
    register_op<Op, float, 2, true>();
    register_op<Op, float, 3, false>();
    register_op<Op, float, 3, true>();
    register_op<Op, double, 1, false>();
    register_op<Op, double, 1, true>();
  });
  register_elementwise<false>();
  register_elementwise<true>();
  register_gate<false>();
  register_gate<true>();
  register_headwise<false>();
  register_headwise<true>();
  register_memory<false>();
  register_memory<true>();
  register_rowwise<false>();
  register_rowwise<true>();
  register_product<false>();
  register_product<true>();
  register_update();
  return name;
}();

}  // namespace
}  // namespace ostinato

// A function that the binding needs and TensorFlow lacks; there are then no ops. Null when TensorFlow has them all.
extern "C" __attribute__((visibility("default"))) const char* ostinato_missing_function() { return ostinato::missing; }
