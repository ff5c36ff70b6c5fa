// The op OstinatoRowwiseV1: LSTM, GRU and SimpleRNN with layer normalisation, peepholes, coupled gates, a projection or
// zoneout, over a whole sequence; rowwise.h says what it computes.
//
//   inputs of the op        x | ids, h0, c0, kernel, recurrent, projection, bias, vectors, bits, mask
//   its outputs             y, h, c, history
//   inputs of its gradient  the op's inputs, then y, history, dy, dh, dc
//   its outputs             dx, dh0, dc0, dkernel, drecurrent, dprojection, dbias, dvectors
//
// What is not given comes as a tensor without elements, as c0 does of a GRU and a SimpleRNN. y is (batch, time, outputs), or
// (batch, 1, outputs) without return_sequences. history has no elements unless keep_history, nor has dx unless wants_dx.
#pragma once

#include <algorithm>

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "engine.h"
#include "rowwise.h"

namespace ostinato {
namespace {

struct RowwiseKernel {
  Rowwise layer;  // its sizes are the inputs'
  bool takes_ids = false;
  bool keep_history = false;  // of the op
  bool wants_dx = false;      // of its gradient
};

template <bool gradient>
void* create_rowwise(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<RowwiseKernel>();
  guarded(
      [&] {
        const Attributes attributes(construction);
        Rowwise& layer = kernel->layer;
        const std::string cell = attributes.string("cell");
        if (cell != "lstm" && cell != "gru" && cell != "rnn") refuse("cell must be lstm, gru or rnn, got '" + cell + "'");
        layer.cell = cell == "lstm" ? RowwiseCell::kLstm : cell == "gru" ? RowwiseCell::kGru : RowwiseCell::kRnn;
        layer.layer_norm = attributes.boolean("layer_norm");
        layer.peephole = attributes.boolean("peephole");
        layer.coupled = attributes.boolean("coupled");
        layer.zoneout_h = attributes.number("zoneout_h");
        layer.zoneout_c = attributes.number("zoneout_c");
        layer.go_backwards = attributes.boolean("go_backwards");
        layer.return_sequences = attributes.boolean("return_sequences");
        layer.zero_output_for_mask = attributes.boolean("zero_output_for_mask");
        kernel->takes_ids = attributes.type("Tin") == TF_INT32;
        (gradient ? kernel->wants_dx : kernel->keep_history) = attributes.boolean(gradient ? "wants_dx" : "keep_history");
      },
      [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}

void destroy_rowwise(void* kernel) { delete static_cast<RowwiseKernel*>(kernel); }

// What the op and its gradient are both given, checked.
struct RowwiseArguments {
  Rowwise layer;
  RowwiseInputs in;
  std::vector<Input> held;  // keeps the tensors that `in` points into

  bool without_steps() const { return layer.batch == 0 || layer.time == 0; }
  Shape h_shape() const { return {layer.batch, layer.outputs}; }
  Shape c_shape() const { return layer.has_c() ? Shape{layer.batch, layer.units} : Shape{0}; }
  Shape y_shape() const { return {layer.batch, layer.return_sequences ? layer.time : 1, layer.outputs}; }
  Shape shape(int input) const { return held[static_cast<size_t>(input)].shape(); }
  int64_t history() const { return without_steps() ? 0 : rowwise_history(layer, in.mask != nullptr); }
};

RowwiseArguments read_rowwise(const RowwiseKernel& kernel, InputReader& reader) {
  RowwiseArguments given{kernel.layer, {}, {}};
  Rowwise& layer = given.layer;
  for (const char* name : {kernel.takes_ids ? "ids" : "x", "h0", "c0", "kernel", "recurrent", "projection", "bias", "vectors", "bits", "mask"})
    given.held.push_back(reader.next(name));
  const auto& held = given.held;
  held[0].needs_rank(kernel.takes_ids ? 2 : 3, kernel.takes_ids ? "(batch, time)" : "(batch, time, features)");
  held[3].needs_rank(2, "(features, gates × units)");
  held[4].needs_rank(2, "(outputs, gates × units)");
  const Shape x = held[0].shape(), weights = held[3].shape();
  layer.batch = x[0], layer.time = x[1], layer.features = weights[0];
  layer.units = weights[1] / layer.gates(), layer.outputs = held[4].shape()[0];
  layer.projects = !held[5].empty();
  layer.threads = threads();
  if (layer.units < 1 || layer.outputs < 1 || layer.features < 1) {
    refuse("kernel has shape " + in_words(weights) + ", but a layer has at least one feature and one unit");
  }
  if (!kernel.takes_ids) held[0].needs_shape({layer.batch, layer.time, layer.features}, "(batch, time, features)");
  held[1].needs_shape(given.h_shape(), "(batch, outputs)");
  if (layer.has_c()) held[2].needs_shape(given.c_shape(), "(batch, units)");
  held[3].needs_shape({layer.features, layer.width()}, "(features, gates × units)");
  held[4].needs_shape({layer.outputs, layer.width()}, "(outputs, gates × units)");
  if (layer.projects)
    held[5].needs_shape({layer.units, layer.outputs}, "(units, outputs)");
  else if (layer.outputs != layer.units)
    refuse("recurrent has " + std::to_string(layer.outputs) + " rows, but there are " + std::to_string(layer.units) + " units");
  if (layer.vectors() > 0) held[7].needs_shape({layer.vectors()}, "(vectors)");
  RowwiseInputs& in = given.in;
  (kernel.takes_ids ? (void)(in.ids = held[0].data<int32_t>()) : (void)(in.x = held[0].data<float>()));
  if (in.ids != nullptr) check_ids(in.ids, layer.batch, layer.time, layer.features);
  in.h0 = held[1].data<float>();
  if (layer.has_c()) in.c0 = held[2].data<float>();
  in.kernel = held[3].data<float>();
  in.recurrent = held[4].data<float>();
  if (layer.projects) in.projection = held[5].data<float>();
  in.bias = held[6].optional<float>({layer.biases()}, "(gates × units, twice for a GRU)");
  if (layer.vectors() > 0) in.vectors = held[7].data<float>();
  in.bits = held[8].optional<int32_t>({layer.batch, layer.time, std::max(layer.outputs, layer.units)},
                                      "(batch, time, the larger of outputs and units)");
  in.mask = held[9].optional<bool>({layer.batch, layer.time}, "(batch, time)");
  return given;
}

void compute_rowwise(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const RowwiseKernel*>(opaque);
        InputReader reader(context);
        const RowwiseArguments given = read_rowwise(kernel, reader);
        OutputWriter<float> writer(context);
        RowwiseOutputs out;
        out.y = writer.next(given.y_shape());
        out.h = writer.next(given.h_shape());
        out.c = writer.next(given.c_shape());
        const int64_t history = kernel.keep_history ? given.history() : 0;
        float* const kept = writer.next({history});
        if (history > 0) out.history = kept;
        if (!given.without_steps()) return forward(given.layer, given.in, out);
        zero(out.y, elements(given.y_shape()));
        copy_or_zero(given.in.h0, elements(given.h_shape()), out.h);
        copy_or_zero(given.in.c0, elements(given.c_shape()), out.c);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void compute_rowwise_gradient(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const RowwiseKernel*>(opaque);
        InputReader reader(context);
        const RowwiseArguments given = read_rowwise(kernel, reader);
        const Input y = reader.next("y"), history = reader.next("history"), dy = reader.next("dy"), dh = reader.next("dh"),
                    dc = reader.next("dc");
        y.needs_shape(given.y_shape(), "(batch, time or 1, outputs)");
        history.needs_shape({given.history()}, "as the op with keep_history gives");
        dy.needs_shape(given.y_shape(), "(batch, time or 1, outputs)");
        dh.needs_shape(given.h_shape(), "(batch, outputs)");
        if (given.layer.has_c()) dc.needs_shape(given.c_shape(), "(batch, units)");
        OutputWriter<float> writer(context);
        RowwiseGradients out;
        const bool wants_dx = kernel.wants_dx && !kernel.takes_ids;
        float* const dx = writer.next(wants_dx ? given.shape(0) : Shape{0});
        if (wants_dx) out.dx = dx;
        out.dh0 = writer.next(given.shape(1));
        out.dc0 = writer.next(given.shape(2));
        float** const weights[] = {&out.dkernel, &out.drecurrent, &out.dprojection, &out.dbias, &out.dvectors};
        for (int i = 0; i < 5; ++i) *weights[i] = writer.next(given.shape(3 + i));
        if (given.without_steps()) {
          copy_or_zero(dh.data<float>(), elements(given.h_shape()), out.dh0);
          copy_or_zero(dc.data<float>(), elements(given.c_shape()), out.dc0);
          for (int i = 0; i < 5; ++i) zero(*weights[i], elements(given.shape(3 + i)));
          return;
        }
        out.history = history.data<float>(), out.y = y.data<float>();
        out.dy = dy.data<float>(), out.dh = dh.data<float>(), out.dc = dc.data<float>();
        backward(given.layer, given.in, out);
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void rowwise_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        const Handle x = shapes.input(0, shapes.takes_ids() ? 2 : 3), h = shapes.input(1, 2), recurrent = shapes.input(4, 2);
        const Handle unknown = shapes.vector(-1);
        shapes.output(0, shapes.joined(shapes.joined(shapes.axis(x, 0), unknown), shapes.axis(recurrent, 0)));
        shapes.output(1, h);
        shapes.output(2, shapes.input(2));
        shapes.output(3, unknown);
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

void rowwise_gradient_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        shapes.all_unknown();  // dx may be empty: a shape function cannot see the attribute wants_dx
        for (int i = 1; i < 8; ++i) shapes.output(i, shapes.input(i));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <bool gradient>
void register_rowwise() {
  constexpr const char* name = gradient ? "OstinatoRowwiseGradV1" : "OstinatoRowwiseV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute :
       {"Tin: {float, int32}", "cell: string", "layer_norm: bool = false", "peephole: bool = false", "coupled: bool = false", "zoneout_h: float = 0.0",
        "zoneout_c: float = 0.0", "go_backwards: bool = false", "return_sequences: bool = true", "zero_output_for_mask: bool = false"}) {
    TF_OpDefinitionBuilderAddAttr(op, attribute);
  }
  TF_OpDefinitionBuilderAddAttr(op, gradient ? "wants_dx: bool = true" : "keep_history: bool = false");
  for (const char* input : {"x: Tin", "h0: float", "c0: float", "kernel: float", "recurrent: float", "projection: float", "bias: float",
                            "vectors: float", "bits: int32", "mask: bool"}) {
    TF_OpDefinitionBuilderAddInput(op, input);
  }
  if (gradient) {
    for (const char* input : {"y: float", "history: float", "dy: float", "dh: float", "dc: float"}) TF_OpDefinitionBuilderAddInput(op, input);
    for (const char* output : {"dx: float", "dh0: float", "dc0: float", "dkernel: float", "drecurrent: float", "dprojection: float", "dbias: float",
                               "dvectors: float"}) {
      TF_OpDefinitionBuilderAddOutput(op, output);
    }
  } else {
    for (const char* output : {"y: float", "h: float", "c: float", "history: float"}) TF_OpDefinitionBuilderAddOutput(op, output);
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, gradient ? rowwise_gradient_shapes : rowwise_shapes);
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(name, "CPU", create_rowwise<gradient>,
                                                 gradient ? compute_rowwise_gradient : compute_rowwise, destroy_rowwise);
  TF_RegisterKernelBuilder(name, kernel, status.get());
}

}  // namespace
}  // namespace ostinato
