// TensorFlow ops around the engine: OstinatoRnnV1, OstinatoGruV1, OstinatoLstmV1 and their gradients ...GradV1.
//
// One op is a whole layer over a whole sequence. SavedModels keep its name and signature: neither ever changes, a new
// signature is a V2. What an op is not given comes as a tensor without elements (bias, mask, dropout masks).
//
//   inputs of an op        x | ids, h0, [c0], kernel, recurrent, bias, mask, input_dropout, recurrent_dropout
//   its outputs            y, h, [c], history
//   inputs of a gradient   the op's inputs, then y, history, dy, dh, [dc]
//   its outputs            dx, dh0, [dc0], dkernel, drecurrent, dbias
//
// [c] is the LSTM's. y is (batch, time, units), or (batch, 1, units) without return_sequences. history has no elements
// unless keep_history, nor has dx unless wants_dx.

#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "engine.h"
#include "tensorflow_c_api.h"

namespace ostinato {
namespace {

using Shape = std::vector<int64_t>;

struct Deleter {
  void operator()(TF_Status* status) const { TF_DeleteStatus(status); }
  void operator()(TF_Tensor* tensor) const { TF_DeleteTensor(tensor); }
  void operator()(TF_ShapeHandle* handle) const { TF_DeleteShapeHandle(handle); }
};
using Status = std::unique_ptr<TF_Status, Deleter>;
using Tensor = std::unique_ptr<TF_Tensor, Deleter>;
using Handle = std::unique_ptr<TF_ShapeHandle, Deleter>;

// Thrown inside a kernel or shape function, and handed to TensorFlow as a status where that was called from.
struct Failure {
  TF_Code code;
  std::string message;
};

[[noreturn]] void refuse(const std::string& message) { throw Failure{TF_INVALID_ARGUMENT, message}; }

void check(const Status& status) {
  if (TF_GetCode(status.get()) != TF_OK) throw Failure{TF_GetCode(status.get()), TF_Message(status.get())};
}

// Runs `body` and gives what it throws to `fail`, which takes a TF_Status*.
template <class Body, class Fail>
void guarded(Body body, Fail fail) {
  Failure failure{TF_OK, ""};
  try {
    body();
    return;
  } catch (const Failure& thrown) {
    failure = thrown;
  } catch (const std::bad_alloc&) {
    failure = {TF_RESOURCE_EXHAUSTED, "ostinato's native engine is out of memory"};
  }
  const Status status(TF_NewStatus());
  TF_SetStatus(status.get(), failure.code, failure.message.c_str());
  fail(status.get());
}

int64_t gates(Cell cell) { return cell == Cell::kLstm ? 4 : cell == Cell::kGru ? 3 : 1; }

// ---- Tensors ----

int64_t elements(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

std::string in_words(const Shape& shape) {
  std::string words = "(";
  for (size_t i = 0; i < shape.size(); ++i) words += (i ? ", " : "") + std::to_string(shape[i]);
  return words + (shape.size() == 1 ? ",)" : ")");
}

struct Input {
  Tensor tensor;
  const char* name;

  Shape shape() const {
    Shape shape(TF_NumDims(tensor.get()));
    for (size_t i = 0; i < shape.size(); ++i) shape[i] = TF_Dim(tensor.get(), static_cast<int>(i));
    return shape;
  }

  template <class T>
  const T* data() const {
    return static_cast<const T*>(TF_TensorData(tensor.get()));
  }

  bool empty() const { return TF_TensorElementCount(tensor.get()) == 0; }

  void needs_rank(size_t rank, const char* axes) const {
    if (shape().size() != rank) {
      refuse(std::string(name) + " has shape " + in_words(shape()) + ", but rank " + std::to_string(rank) + " " + axes +
             " is needed");
    }
  }

  void needs_shape(const Shape& needed, const char* axes) const {
    if (shape() != needed) {
      refuse(std::string(name) + " has shape " + in_words(shape()) + ", but " + in_words(needed) + " " + axes +
             " is needed");
    }
  }

  // The data, or null for a tensor without elements.
  template <class T>
  const T* optional(const Shape& needed, const char* axes) const {
    if (empty()) return nullptr;
    needs_shape(needed, axes);
    return data<T>();
  }
};

// Hands out a kernel's inputs in order.
class InputReader {
 public:
  explicit InputReader(TF_OpKernelContext* context) : context_(context) {}

  Input next(const char* name) {
    const Status status(TF_NewStatus());
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context_, index_++, &tensor, status.get());
    Input input{Tensor(tensor), name};
    check(status);
    return input;
  }

 private:
  TF_OpKernelContext* context_;
  int index_ = 0;
};

// Allocates a kernel's outputs in order; TensorFlow keeps them.
class OutputWriter {
 public:
  explicit OutputWriter(TF_OpKernelContext* context) : context_(context) {}

  float* next(const Shape& shape) {
    const Status status(TF_NewStatus());
    const Tensor tensor(TF_AllocateOutput(context_, index_++, TF_FLOAT, shape.data(), static_cast<int>(shape.size()),
                                          elements(shape) * sizeof(float), status.get()));
    check(status);
    return static_cast<float*>(TF_TensorData(tensor.get()));
  }

 private:
  TF_OpKernelContext* context_;
  int index_ = 0;
};

Tensor workspace(TF_OpKernelContext* context, size_t bytes) {
  const Status status(TF_NewStatus());
  const int64_t dims[] = {static_cast<int64_t>(bytes)};
  TF_AllocatorAttributes attributes{offsetof(TF_AllocatorAttributes, on_host) + 1, 1};
  Tensor tensor(TF_AllocateTemp(context, TF_UINT8, dims, 1, &attributes, status.get()));
  check(status);
  return tensor;
}

void copy(const float* from, int64_t count, float* to) {
  if (count > 0) std::memcpy(to, from, count * sizeof(float));
}

void zero(float* data, int64_t count) {
  if (count > 0) std::memset(data, 0, count * sizeof(float));
}

// ---- Kernels ----

// An op's attributes.
struct Kernel {
  Layer layer;  // its sizes are the inputs'
  bool takes_ids = false;
  bool keep_history = false;  // of an op
  bool wants_dx = false;      // of a gradient
};

bool attribute(TF_OpKernelConstruction* construction, const char* name) {
  const Status status(TF_NewStatus());
  unsigned char value = 0;
  TF_OpKernelConstruction_GetAttrBool(construction, name, &value, status.get());
  check(status);
  return value != 0;
}

Activation activation(TF_OpKernelConstruction* construction) {
  const Status status(TF_NewStatus());
  char name[16] = {};
  TF_OpKernelConstruction_GetAttrString(construction, "activation", name, sizeof(name) - 1, status.get());
  check(status);
  return std::strcmp(name, "relu") == 0     ? Activation::kRelu
         : std::strcmp(name, "linear") == 0 ? Activation::kLinear
                                            : Activation::kTanh;
}

template <Cell cell, bool gradient>
void* create(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<Kernel>();
  guarded(
      [&] {
        const Status status(TF_NewStatus());
        TF_DataType input = TF_FLOAT;
        TF_OpKernelConstruction_GetAttrType(construction, "Tin", &input, status.get());
        check(status);
        kernel->takes_ids = input == TF_INT32;
        Layer& layer = kernel->layer;
        layer.cell = cell;
        if (cell == Cell::kRnn) layer.activation = activation(construction);
        if (cell == Cell::kGru) layer.reset_after = attribute(construction, "reset_after");
        layer.go_backwards = attribute(construction, "go_backwards");
        layer.return_sequences = attribute(construction, "return_sequences");
        layer.zero_output_for_mask = attribute(construction, "zero_output_for_mask");
        (gradient ? kernel->wants_dx : kernel->keep_history) =
            attribute(construction, gradient ? "wants_dx" : "keep_history");
      },
      [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}

void destroy(void* kernel) { delete static_cast<Kernel*>(kernel); }

// What an op and its gradient are both given, checked.
struct Arguments {
  Layer layer;
  Inputs in;
  Shape x_shape, bias_shape;
  std::vector<Input> held;  // keeps the tensors that `in` points into

  bool without_steps() const { return layer.batch == 0 || layer.time == 0; }
  Shape state_shape() const { return {layer.batch, layer.units}; }
  Shape y_shape() const { return {layer.batch, layer.return_sequences ? layer.time : 1, layer.units}; }
  Shape kernel_shape() const { return {layer.features, gates(layer.cell) * layer.units}; }
  Shape recurrent_shape() const { return {layer.units, gates(layer.cell) * layer.units}; }
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
  Arguments arguments{kernel.layer, {}, {}, {}, {}};
  Layer& layer = arguments.layer;
  Inputs& in = arguments.in;
  auto& held = arguments.held;
  const bool has_c = layer.cell == Cell::kLstm;

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
  layer.crowded = crowded();
  if (layer.features < 1 || layer.units < 1) {
    refuse("kernel has shape " + in_words(weights.shape()) + " and recurrent " + in_words(recurrent.shape()) +
           ", but a layer has at least one feature and one unit");
  }
  weights.needs_shape(arguments.kernel_shape(), "(features, gates × units)");
  recurrent.needs_shape(arguments.recurrent_shape(), "(units, gates × units)");
  if (!kernel.takes_ids) x.needs_shape({layer.batch, layer.time, layer.features}, "(batch, time, features)");
  h0.needs_shape(arguments.state_shape(), "(batch, units)");
  if (has_c) c0.needs_shape(arguments.state_shape(), "(batch, units)");

  const int64_t width = gates(layer.cell) * layer.units;
  const bool two_biases = layer.cell == Cell::kGru && layer.reset_after;
  arguments.bias_shape = bias.shape();
  in.bias = bias.optional<float>(two_biases ? Shape{2, width} : Shape{width},
                                 two_biases ? "(2, gates × units)" : "(gates × units)");
  in.mask = mask.optional<bool>({layer.batch, layer.time}, "(batch, time)");
  in.input_dropout = input_dropout.optional<float>({gates(layer.cell), layer.batch, layer.features},
                                                   "(gates, batch, features)");
  in.recurrent_dropout = recurrent_dropout.optional<float>({gates(layer.cell), layer.batch, layer.units},
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

void compute_forward(void* opaque, TF_OpKernelContext* context) {
  const auto& kernel = *static_cast<const Kernel*>(opaque);
  guarded(
      [&] {
        InputReader reader(context);
        const Arguments arguments = read_arguments(kernel, reader);
        const Layer& layer = arguments.layer;
        const bool has_c = layer.cell == Cell::kLstm;
        const bool keeps_history = kernel.keep_history && !arguments.without_steps();
        const Shape state = arguments.state_shape();

        OutputWriter writer(context);
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
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void compute_backward(void* opaque, TF_OpKernelContext* context) {
  const auto& kernel = *static_cast<const Kernel*>(opaque);
  guarded(
      [&] {
        InputReader reader(context);
        const Arguments arguments = read_arguments(kernel, reader);
        const Layer& layer = arguments.layer;
        const bool has_c = layer.cell == Cell::kLstm;
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

        OutputWriter writer(context);
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
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

// ---- Shapes, when a graph is built: any size may be unknown ----

class Shapes {
 public:
  explicit Shapes(TF_ShapeInferenceContext* context) : context_(context), status_(TF_NewStatus()) {}

  bool takes_ids() const {
    TF_DataType type = TF_FLOAT;
    TF_ShapeInferenceContext_GetAttrType(context_, "Tin", &type, status_.get());
    check(status_);
    return type == TF_INT32;
  }

  Handle input(int index) const {
    Handle result(TF_NewShapeHandle());
    TF_ShapeInferenceContextGetInput(context_, index, result.get(), status_.get());
    check(status_);
    return result;
  }

  Handle input(int index, int64_t rank) const {
    const Handle any = input(index);
    Handle result(TF_NewShapeHandle());
    TF_ShapeInferenceContextWithRank(context_, any.get(), rank, result.get(), status_.get());
    check(status_);
    return result;
  }

  Handle axis(const Handle& shape, int64_t index) const {
    Handle result(TF_NewShapeHandle());
    TF_ShapeInferenceContextSubshape(context_, shape.get(), index, index + 1, result.get(), status_.get());
    check(status_);
    return result;
  }

  Handle joined(const Handle& first, const Handle& second) const {
    Handle result(TF_NewShapeHandle());
    TF_ShapeInferenceContextConcatenateShapes(context_, first.get(), second.get(), result.get(), status_.get());
    check(status_);
    return result;
  }

  // TensorFlow's own mark for a size it does not know is -1.
  Handle vector(int64_t size) const {
    return Handle(TF_ShapeInferenceContextVectorFromSize(context_, static_cast<size_t>(size)));
  }

  void all_unknown() const {
    TF_ShapeInferenceContextSetUnknownShape(context_, status_.get());
    check(status_);
  }

  void output(int index, const Handle& shape) const {
    TF_ShapeInferenceContextSetOutput(context_, index, shape.get(), status_.get());
    check(status_);
  }

 private:
  TF_ShapeInferenceContext* context_;
  Status status_;
};

template <Cell cell>
void forward_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        const int has_c = cell == Cell::kLstm;
        const Handle x = shapes.input(0, shapes.takes_ids() ? 2 : 3);
        for (int state = 1; state <= 1 + has_c; ++state) shapes.input(state, 2);
        shapes.input(2 + has_c, 2);
        const Handle recurrent = shapes.input(3 + has_c, 2);
        const Handle batch = shapes.axis(x, 0);
        const Handle units = shapes.axis(recurrent, 0);
        const Handle unknown = shapes.vector(-1);
        shapes.output(0, shapes.joined(shapes.joined(batch, unknown), units));
        for (int state = 1; state <= 1 + has_c; ++state) shapes.output(state, shapes.joined(batch, units));
        shapes.output(2 + has_c, unknown);
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <Cell cell>
void backward_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        const int has_c = cell == Cell::kLstm;
        shapes.all_unknown();  // dx may be empty: a shape function cannot see the attribute wants_dx
        if (shapes.takes_ids()) shapes.output(0, shapes.vector(0));
        const int weights = 2 + has_c;  // after x and the state come kernel, recurrent and bias
        for (int i = 1; i < weights + 2; ++i) shapes.output(i, shapes.input(i, 2));
        shapes.output(weights + 2, shapes.input(weights + 2));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

// ---- Registration ----

template <Cell cell, bool gradient>
void register_op(const char* name) {
  constexpr bool kHasC = cell == Cell::kLstm;
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  const auto inputs = [op](std::initializer_list<const char*> specs) {
    for (const char* spec : specs) TF_OpDefinitionBuilderAddInput(op, spec);
  };
  const auto outputs = [op](std::initializer_list<const char*> specs) {
    for (const char* spec : specs) TF_OpDefinitionBuilderAddOutput(op, spec);
  };
  TF_OpDefinitionBuilderAddAttr(op, "T: {float} = DT_FLOAT");
  TF_OpDefinitionBuilderAddAttr(op, "Tin: {float, int32}");
  if (cell == Cell::kRnn) TF_OpDefinitionBuilderAddAttr(op, "activation: {'tanh', 'relu', 'linear'} = 'tanh'");
  if (cell == Cell::kGru) TF_OpDefinitionBuilderAddAttr(op, "reset_after: bool = true");
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
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, gradient ? backward_shapes<cell> : forward_shapes<cell>);

  // A failure shows in what tf.load_op_library returns: the op is missing there.
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(name, "CPU", create<cell, gradient>,
                                                 gradient ? compute_backward : compute_forward, destroy);
  TF_KernelBuilder_TypeConstraint(kernel, "T", TF_FLOAT, status.get());
  TF_RegisterKernelBuilder(name, kernel, status.get());
}

// tf.load_op_library takes the ops that a library registers while it is being loaded.
const char* const missing = [] {
  const char* const name = find_tensorflow();
  if (name != nullptr) return name;
  register_op<Cell::kRnn, false>("OstinatoRnnV1");
  register_op<Cell::kRnn, true>("OstinatoRnnGradV1");
  register_op<Cell::kGru, false>("OstinatoGruV1");
  register_op<Cell::kGru, true>("OstinatoGruGradV1");
  register_op<Cell::kLstm, false>("OstinatoLstmV1");
  register_op<Cell::kLstm, true>("OstinatoLstmGradV1");
  return name;
}();

}  // namespace
}  // namespace ostinato

// ---- Functions that are no ops, for ctypes ----

#define OSTINATO_EXPORT extern "C" __attribute__((visibility("default")))

// A function that the binding needs and TensorFlow lacks; there are then no ops. Null when TensorFlow has them all.
OSTINATO_EXPORT const char* ostinato_missing_function() { return ostinato::missing; }
OSTINATO_EXPORT const char* ostinato_instruction_set() { return ostinato::instruction_set(); }
OSTINATO_EXPORT int ostinato_threads() { return ostinato::threads(); }
OSTINATO_EXPORT void ostinato_set_threads(int count) { ostinato::set_threads(count); }
