// The shapes of an op's outputs, when a graph is built: any size may be unknown.
#pragma once

#include "binding/tensors.h"
#include "cells/list.h"

namespace ostinato {
namespace {

class Shapes {
 public:
  explicit Shapes(TF_ShapeInferenceContext* context) : context_(context), status_(TF_NewStatus()) {}

  bool takes_ids() const {
    TF_DataType type = TF_FLOAT;
    TF_ShapeInferenceContext_GetAttrType(context_, "Tin", &type, status_.get());
    check(status_);
    return type == TF_INT32;
  }

  int inputs() const { return static_cast<int>(TF_ShapeInferenceContextNumInputs(context_)); }

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

template <class Op>
void forward_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        constexpr int states = Op::states;
        const Handle x = shapes.input(0, shapes.takes_ids() ? 2 : 3);
        shapes.input(1 + states, 2);
        const Handle recurrent = shapes.input(2 + states, 2);
        const Handle batch = shapes.axis(x, 0);
        const Handle units = shapes.axis(recurrent, 0);
        const Handle unknown = shapes.vector(-1);
        shapes.output(0, shapes.joined(shapes.joined(batch, unknown), units));
        for (int state = 1; state <= states; ++state) shapes.output(state, shapes.joined(batch, units));
        shapes.output(1 + states, unknown);
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

template <class Op>
void backward_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded(
      [&] {
        const Shapes shapes(context);
        constexpr int states = Op::states;
        shapes.all_unknown();  // dx may be empty: a shape function cannot see the attribute wants_dx
        if (shapes.takes_ids()) shapes.output(0, shapes.vector(0));
        constexpr int weights = 1 + states;  // after x and the state come kernel, recurrent and bias
        for (int i = 1; i < weights; ++i) shapes.output(i, shapes.input(i));
        for (int i = weights; i < weights + 2; ++i) shapes.output(i, shapes.input(i, 2));
        shapes.output(weights + 2, shapes.input(weights + 2));
      },
      [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

}  // namespace
}  // namespace ostinato
