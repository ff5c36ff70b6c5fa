// The element-wise recurrences. A new one is a header beside this and its lines here.
//
// A header describes a recurrence by a structure for the bindings:
//
//   name                  as in the attribute `cell` of the op
//   sums, states          blocks of `units` that the products of x have; tensors (batch, units) that the state has
//   constants             vectors of `units` that the equations read besides
//   takes_x               whether they also read x itself
//   y_is_state            whether y is the state, with all its tensors side by side; else y is one block
//
// and, where OSTINATO_ISA is given, by a structure with its equations for kVec units of one row at one step:
//
//   forward(lane, state)      sets the state after the step; returns y
//   backward(lane, dy, g)     from the gradients of y and, in g.state, of the state after the step, to those of the sums,
//                             the constants, x and, in g.state, of the state before. Where y is the state, g.state has both.
#pragma once

#include "cells/indrnn.h"
#include "cells/lru.h"
#include "cells/mingru.h"
#include "cells/minlstm.h"
#include "cells/rg_lru.h"
#include "cells/sru.h"

namespace ostinato {

// Calls f with each recurrence, in the order of their numbers.
template <class F>
void for_each_elementwise(const F& f) {
  f(IndRnnForm<0>{});
  f(IndRnnForm<1>{});
  f(IndRnnForm<2>{});
  f(IndRnnForm<3>{});
  f(MinGruForm<false>{});
  f(MinGruForm<true>{});
  f(MinLstmForm<false>{});
  f(MinLstmForm<true>{});
  f(SruForm{});
  f(LruForm{});
  f(RgLruForm{});
}

}  // namespace ostinato

#ifdef OSTINATO_ISA
namespace OSTINATO_ISA {

// Calls f with the equations of the recurrence of a number.
template <class F>
void with_elementwise(int number, const F& f) {
  switch (number) {
    case 0: return f(IndRnn<Relu, 0>{});
    case 1: return f(IndRnn<Tanh, 1>{});
    case 2: return f(IndRnn<Sigmoid, 2>{});
    case 3: return f(IndRnn<Linear, 3>{});
    case 4: return f(MinGru<false>{});
    case 5: return f(MinGru<true>{});
    case 6: return f(MinLstm<false>{});
    case 7: return f(MinLstm<true>{});
    case 8: return f(Sru{});
    case 9: return f(Lru{});
    default: return f(RgLru{});
  }
}

}  // namespace OSTINATO_ISA
#endif
