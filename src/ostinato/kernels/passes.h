// The passes of a layer, whatever its cell, as kernels.h offers them.
#pragma once

#include "backward.h"
#include "forward.h"
#include "forward_narrow.h"

namespace OSTINATO_ISA {
namespace passes {

inline size_t forward_bytes(const Layer& layer, const Inputs& in, bool keeps) {
  return with_form(layer, [&](auto form) {
    if (NarrowPass<decltype(form)>::takes(layer, in, keeps)) return NarrowPass<decltype(form)>(layer, in, {}, nullptr).bytes();
    return ForwardPass<decltype(form)>(layer, in, {}, nullptr, keeps).bytes();
  });
}
inline size_t backward_bytes(const Layer& layer, const Inputs& in) {
  return with_form(layer, [&](auto form) { return BackwardPass<decltype(form)>(layer, in, {}, nullptr).bytes(); });
}
inline void forward(const Layer& layer, const Inputs& in, const Outputs& out, void* workspace) {
  with_form(layer, [&](auto form) {
    const bool keeps = out.history != nullptr;
    if (NarrowPass<decltype(form)>::takes(layer, in, keeps))
      NarrowPass<decltype(form)>(layer, in, out, workspace).run();
    else
      ForwardPass<decltype(form)>(layer, in, out, workspace, keeps).run();
  });
}
inline void backward(const Layer& layer, const Inputs& in, const Gradients& gradients, void* workspace) {
  with_form(layer, [&](auto form) { BackwardPass<decltype(form)>(layer, in, gradients, workspace).run(); });
}

}  // namespace passes
}  // namespace OSTINATO_ISA
