// The passes in float64, for one instruction set; CMake compiles this file once for each.
#include "kernels.h"

#include "plain/backward.h"
#include "plain/forward.h"

namespace OSTINATO_ISA {

extern const ostinato::PlainKernels kernels;
const ostinato::PlainKernels kernels = {
    [](const Layer& layer) {
      return with_form(layer, [&](auto form) { return History::of(layer, form).count; });
    },
    [](const Layer& layer, const Inputs& in, const Outputs& out) {
      with_form(layer, [&](auto form) { ForwardPass<decltype(form)>(layer, in, out).run(); });
    },
    [](const Layer& layer, const Inputs& in, const Gradients& gradients) {
      with_form(layer, [&](auto form) { BackwardPass<decltype(form)>(layer, in, gradients).run(); });
    },
};

}  // namespace OSTINATO_ISA
