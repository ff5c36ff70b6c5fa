// The op OstinatoRowwiseV1: LSTM, GRU and SimpleRNN with layer normalisation, peepholes, coupled gates, a projection or
// zoneout, over a whole sequence; rowwise.h says what it computes.
//
//   inputs of the op        sums, h0, c0, recurrent, projection, bias, vectors, keep_h, keep_c, mask
//   its outputs             y, h, c, history
//   inputs of its gradient  the op's inputs, then y, history, dy, dh, dc
//   its outputs             dsums, dh0, dc0, drecurrent, dprojection, dbias, dvectors
//
// What is not given comes as a tensor without elements, as c0 does of a GRU and a SimpleRNN. y is (batch, time, outputs), or
// (batch, 1, outputs) without return_sequences. history has no elements unless keep_history.
#pragma once

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "engine.h"
#include "rowwise.h"

namespace ostinato {
namespace {

struct RowwiseKernel {
  Rowwise layer;  // its sizes are the inputs'
  bool keep_history = false;
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
        if (!gradient) kernel->keep_history = attributes.boolean("keep_history");
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
  for (const char* name : {"sums", "h0", "c0", "recurrent", "projection", "bias", "vectors", "keep_h", "keep_c", "mask"})
    given.held.push_back(reader.next(name));
  const auto& held = given.held;
  held[0].needs_rank(3, "(batch, time, gates × units)");
  held[3].needs_rank(2, "(outputs, gates × units)");
  const Shape sums = held[0].shape();
  layer.batch = sums[0], layer.time = sums[1], layer.units = sums[2] / layer.gates(), layer.outputs = held[3].shape()[0];
  layer.projects = !held[4].empty();
  layer.threads = threads();
  if (layer.units < 1 || layer.outputs < 1) refuse("sums has shape " + in_words(sums) + ", but a layer has at least one unit");
  held[0].needs_shape({layer.batch, layer.time, layer.width()}, "(batch, time, gates × units)");
  held[1].needs_shape(given.h_shape(), "(batch, outputs)");
  if (layer.has_c()) held[2].needs_shape(given.c_shape(), "(batch, units)");
  held[3].needs_shape({layer.outputs, layer.width()}, "(outputs, gates × units)");
  if (layer.projects)
    held[4].needs_shape({layer.units, layer.outputs}, "(units, outputs)");
  else if (layer.outputs != layer.units)
    refuse("recurrent has " + std::to_string(layer.outputs) + " rows, but there are " + std::to_string(layer.units) + " units");
  if (layer.vectors() > 0) held[6].needs_shape({layer.vectors()}, "(vectors)");
  RowwiseInputs& in = given.in;
  in.sums = held[0].data<float>();
  in.h0 = held[1].data<float>();
  if (layer.has_c()) in.c0 = held[2].data<float>();
  in.recurrent = held[3].data<float>();
  if (layer.projects) in.projection = held[4].data<float>();
  in.bias = held[5].optional<float>({layer.biases()}, "(gates × units, twice for a GRU)");
  if (layer.vectors() > 0) in.vectors = held[6].data<float>();
  in.keep_h = held[7].optional<float>({layer.batch, layer.time, layer.outputs}, "(batch, time, outputs)");
  in.keep_c = held[8].optional<float>({layer.batch, layer.time, layer.units}, "(batch, time, units)");
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
        out.dsums = writer.next(given.shape(0));
        out.dh0 = writer.next(given.shape(1));
        out.dc0 = writer.next(given.shape(2));
        out.drecurrent = writer.next(given.shape(3));
        out.dprojection = writer.next(given.shape(4));
        out.dbias = writer.next(given.shape(5));
        out.dvectors = writer.next(given.shape(6));
        if (given.without_steps()) {
          copy_or_zero(dh.data<float>(), elements(given.h_shape()), out.dh0);
          copy_or_zero(dc.data<float>(), elements(given.c_shape()), out.dc0);
          float* const weights[] = {out.drecurrent, out.dprojection, out.dbias, out.dvectors};
          for (int i = 0; i < 4; ++i) zero(weights[i], elements(given.shape(3 + i)));
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
        const Handle sums = shapes.input(0, 3), h = shapes.input(1, 2), recurrent = shapes.input(3, 2);
        const Handle unknown = shapes.vector(-1);
        shapes.output(0, shapes.joined(shapes.joined(shapes.axis(sums, 0), unknown), shapes.axis(recurrent, 0)));
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
        for (int i = 0; i < 7; ++i) shapes.output(i, shapes.input(i));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <bool gradient>
void register_rowwise() {
  constexpr const char* name = gradient ? "OstinatoRowwiseGradV1" : "OstinatoRowwiseV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute :
       {"cell: string", "layer_norm: bool = false", "peephole: bool = false", "coupled: bool = false", "zoneout_h: float = 0.0",
        "zoneout_c: float = 0.0", "go_backwards: bool = false", "return_sequences: bool = true", "zero_output_for_mask: bool = false"}) {
    TF_OpDefinitionBuilderAddAttr(op, attribute);
  }
  if (!gradient) TF_OpDefinitionBuilderAddAttr(op, "keep_history: bool = false");
  for (const char* input : {"sums: float", "h0: float", "c0: float", "recurrent: float", "projection: float", "bias: float",
                            "vectors: float", "keep_h: float", "keep_c: float", "mask: bool"}) {
    TF_OpDefinitionBuilderAddInput(op, input);
  }
  if (gradient) {
    for (const char* input : {"y: float", "history: float", "dy: float", "dh: float", "dc: float"}) TF_OpDefinitionBuilderAddInput(op, input);
    for (const char* output : {"dsums: float", "dh0: float", "dc0: float", "drecurrent: float", "dprojection: float", "dbias: float",
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
