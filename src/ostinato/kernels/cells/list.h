// All cells. A new one is a header beside this, an entry of `Cell` in engine.h, and its lines here.
//
// A header describes a cell twice. Its op, for the bindings:
//
//   cell                  its entry of `Cell`
//   name                  of its TensorFlow ops, between "Ostinato" and "V1"
//   key                   its name in Python and in the C interface
//   gates, states         blocks of `units` columns that the kernel has; tensors (batch, units) that the state has
//   attribute             an attribute that only this op has, as TensorFlow writes it; or null
//   first_activation      the attribute for the activation that its first version has; null where that is tanh alone
//   read(attributes, layer)   sets the fields of the layer that only this cell has, with attributes.boolean(name)
//   bias_rows(layer)      rows of the bias
//
// Every op has two versions. The first has the activations of the textbook, the second any of activations.h, and a
// recurrent_activation where there is more than one gate.
//
// And, where OSTINATO_ISA is given, one structure for each form of its equations, for the passes, a template over how its
// activations are computed:
//
//   gates, states, bias_rows   as above
//   gathered              gates, from the first on, whose recurrent products are gathered side by side in registers
//   separate              whether the last gate's recurrent product follows on its own; it reads the state or, when there
//                         are gathered gates, what these put between
//   kept                  vectors of `units` that a step of the forward pass keeps for the backward pass
//   deltas                vectors of `units` that a step of the backward pass writes: gradients of the gates' inputs, and
//                         one more where the last gate's recurrent product has another gradient than its sum
//   alike                 gates, from the first on, whose deltas are those of x · kernel and of h · recurrent alike
//   direct                whether the new state also takes from the old one directly, not only through the products
//   forward(lane)         from the gathered products to what is put between, or to what is left for
//   finish(lane)          which goes on to the new state, where no gate is separate
//   forward_separate(lane, sum)   from the last gate's sum to the new state
//   backward(lane, dh)    from the new state's gradient to the deltas
//   backward_between(lane, given)   from the gradient of what was put between
//
// A lane is kVec units of one row at one step; forward.h and backward.h define what it offers.
#pragma once

#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/rnn.h"

namespace ostinato {

template <class F>
void for_each_op(const F& f) {
  f(RnnOp{});
  f(GruOp{});
  f(LstmOp{});
}

template <class F>
auto with_op(Cell cell, const F& f) {
  switch (cell) {
    case Cell::kRnn: return f(RnnOp{});
    case Cell::kGru: return f(GruOp{});
    default: return f(LstmOp{});
  }
}

}  // namespace ostinato

#ifdef OSTINATO_ISA
namespace OSTINATO_ISA {

// Calls f with the form of the equations that a layer has.
template <class F>
auto with_form(const ostinato::Layer& layer, const F& f) {
  const auto gated = [&](auto activations) {
    using A = decltype(activations);
    if (layer.cell == ostinato::Cell::kLstm) return f(Lstm<A>{});
    return layer.reset_after ? f(GruAfter<A>{}) : f(GruBefore<A>{});
  };
  if (layer.cell == ostinato::Cell::kRnn)
    return RnnFromResult::has(layer.activation) ? f(Rnn<RnnFromResult>{}) : f(Rnn<RnnFromSum>{});
  return ostinato::is_classic(layer) ? gated(Classic{}) : gated(Chosen{});
}

}  // namespace OSTINATO_ISA
#endif
