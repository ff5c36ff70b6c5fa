// The op OstinatoMemoryV1: matrix memories over a whole sequence; memory.h says what it computes.
//
//   inputs of the op       qkv, gates, memory, normaliser, m, mask
//   its outputs            y, new_memory, new_normaliser, new_m, history
//   inputs of its gradient the op's inputs, then y, history, dy, dmemory, dnormaliser, dm
//   its outputs            dqkv, dgates, dmemory0, dnormaliser0, dm0
//
// The attribute `cell` is gated-delta or mlstm. qkv is (batch, time, 3, heads, width), y (batch, time, heads, width), gates
// (batch, time, heads, 2), memory (batch, heads × width × width), normaliser (batch, heads × width) and m (batch, heads).
// What is not given comes as a tensor without elements (mask; normaliser and m of gated-delta). history has no elements
// unless keep_history.
#pragma once

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "engine.h"
#include "memory.h"

namespace ostinato {
namespace {

struct MemoryKernel {
  Memory layer;  // its sizes are the inputs'
  bool keep_history = false;
};

template <bool gradient>
void* create_memory(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<MemoryKernel>();
  guarded(
      [&] {
        const Attributes attributes(construction);
        const std::string cell = attributes.string("cell");
        if (cell != "gated-delta" && cell != "mlstm") refuse("cell must be gated-delta or mlstm, got '" + cell + "'");
        kernel->layer.form = cell == "mlstm" ? MemoryForm::kMlstm : MemoryForm::kGatedDelta;
        if (!gradient) kernel->keep_history = attributes.boolean("keep_history");
      },
      [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}

void destroy_memory(void* kernel) { delete static_cast<MemoryKernel*>(kernel); }

// What the op and its gradient are both given, checked.
struct MemoryArguments {
  Memory layer;
  MemoryInputs in;
  std::vector<Input> held;  // keeps the tensors that `in` points into

  bool without_steps() const { return layer.batch == 0 || layer.time == 0; }
  Shape sequence() const { return {layer.batch, layer.time, layer.heads, layer.width}; }
  Shape read() const { return {layer.batch, layer.time, 3, layer.heads, layer.width}; }
  Shape gates() const { return {layer.batch, layer.time, layer.heads, 2}; }
  Shape memory() const { return {layer.batch, layer.heads * layer.width * layer.width}; }
  // Of a form without them these have no elements.
  Shape normaliser() const { return layer.normalises() ? Shape{layer.batch, layer.heads * layer.width} : Shape{0}; }
  Shape m() const { return layer.normalises() ? Shape{layer.batch, layer.heads} : Shape{0}; }
};

MemoryArguments read_memory(const MemoryKernel& kernel, InputReader& reader) {
  MemoryArguments given{kernel.layer, {}, {}};
  Memory& layer = given.layer;
  for (const char* name : {"qkv", "gates", "memory", "normaliser", "m", "mask"}) given.held.push_back(reader.next(name));
  const std::vector<Input>& held = given.held;
  held[0].needs_rank(5, "(batch, time, 3, heads, width)");
  const Shape shape = held[0].shape();
  layer.batch = shape[0], layer.time = shape[1], layer.heads = shape[3], layer.width = shape[4];
  layer.threads = threads();
  if (layer.heads < 1 || layer.width < 1) refuse("qkv has shape " + in_words(shape) + ", but a layer has at least one head and one unit");
  held[0].needs_shape(given.read(), "(batch, time, 3, heads, width)");
  held[1].needs_shape(given.gates(), "(batch, time, heads, 2)");
  held[2].needs_shape(given.memory(), "(batch, heads × width × width)");
  held[3].needs_shape(given.normaliser(), "(batch, heads × width)");
  held[4].needs_shape(given.m(), "(batch, heads)");
  given.in = {held[0].data<float>(), held[1].data<float>(), held[2].data<float>(), held[3].data<float>(), held[4].data<float>(),
              held[5].optional<bool>({layer.batch, layer.time}, "(batch, time)")};
  return given;
}

void compute_memory(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const MemoryKernel*>(opaque);
        InputReader reader(context);
        const MemoryArguments given = read_memory(kernel, reader);
        OutputWriter<float> writer(context);
        MemoryOutputs out;
        out.y = writer.next(given.sequence());
        out.memory = writer.next(given.memory());
        out.normaliser = writer.next(given.normaliser());
        out.m = writer.next(given.m());
        const bool keeps = kernel.keep_history && !given.without_steps();
        float* const history = writer.next({keeps ? memory_history(given.layer) : 0});
        if (keeps) out.history = history;
        if (!given.without_steps()) return forward(given.layer, given.in, out);
        copy_or_zero(given.in.memory, elements(given.memory()), out.memory);
        copy_or_zero(given.in.normaliser, elements(given.normaliser()), out.normaliser);
        copy_or_zero(given.in.m, elements(given.m()), out.m);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void compute_memory_gradient(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const MemoryKernel*>(opaque);
        InputReader reader(context);
        const MemoryArguments given = read_memory(kernel, reader);
        const Input y = reader.next("y"), history = reader.next("history"), dy = reader.next("dy");
        const Input dmemory = reader.next("dmemory"), dnormaliser = reader.next("dnormaliser"), dm = reader.next("dm");
        y.needs_shape(given.sequence(), "(batch, time, heads, width)");
        dy.needs_shape(given.sequence(), "(batch, time, heads, width)");
        history.needs_shape({given.without_steps() ? 0 : memory_history(given.layer)}, "as the op with keep_history gives");
        dmemory.needs_shape(given.memory(), "(batch, heads × width × width)");
        dnormaliser.needs_shape(given.normaliser(), "(batch, heads × width)");
        dm.needs_shape(given.m(), "(batch, heads)");
        OutputWriter<float> writer(context);
        MemoryGradients gradients;
        gradients.dqkv = writer.next(given.read());
        gradients.dgates = writer.next(given.gates());
        gradients.dmemory0 = writer.next(given.memory());
        gradients.dnormaliser0 = writer.next(given.normaliser());
        gradients.dm0 = writer.next(given.m());
        if (given.without_steps()) {
          copy_or_zero(dmemory.data<float>(), elements(given.memory()), gradients.dmemory0);
          copy_or_zero(dnormaliser.data<float>(), elements(given.normaliser()), gradients.dnormaliser0);
          return copy_or_zero(dm.data<float>(), elements(given.m()), gradients.dm0);
        }
        gradients.y = y.data<float>(), gradients.history = history.data<float>(), gradients.dy = dy.data<float>();
        gradients.dmemory = dmemory.data<float>(), gradients.dnormaliser = dnormaliser.data<float>(), gradients.dm = dm.data<float>();
        backward(given.layer, given.in, gradients);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void memory_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        const Handle read = shapes.input(0, 5);
        const auto axis = [&](int64_t at) { return shapes.axis(read, at); };
        shapes.output(0, shapes.joined(shapes.joined(axis(0), axis(1)), shapes.joined(axis(3), axis(4))));
        for (int i = 1; i < 4; ++i) shapes.output(i, shapes.input(1 + i));
        shapes.output(4, shapes.vector(-1));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

void memory_gradient_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        for (int i = 0; i < 5; ++i) shapes.output(i, shapes.input(i));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <bool gradient>
void register_memory() {
  constexpr const char* name = gradient ? "OstinatoMemoryGradV1" : "OstinatoMemoryV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(op, "cell: string");
  if (!gradient) TF_OpDefinitionBuilderAddAttr(op, "keep_history: bool = false");
  for (const char* input : {"qkv: float", "gates: float", "memory: float", "normaliser: float", "m: float", "mask: bool"}) {
    TF_OpDefinitionBuilderAddInput(op, input);
  }
  if (gradient) {
    for (const char* input : {"y: float", "history: float", "dy: float", "dmemory: float", "dnormaliser: float", "dm: float"}) {
      TF_OpDefinitionBuilderAddInput(op, input);
    }
    for (const char* output : {"dqkv: float", "dgates: float", "dmemory0: float", "dnormaliser0: float", "dm0: float"}) {
      TF_OpDefinitionBuilderAddOutput(op, output);
    }
  } else {
    for (const char* output : {"y: float", "new_memory: float", "new_normaliser: float", "new_m: float", "history: float"}) {
      TF_OpDefinitionBuilderAddOutput(op, output);
    }
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, gradient ? memory_gradient_shapes : memory_shapes);
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(name, "CPU", create_memory<gradient>,
                                                 gradient ? compute_memory_gradient : compute_memory, destroy_memory);
  TF_RegisterKernelBuilder(name, kernel, status.get());
}

}  // namespace
}  // namespace ostinato
