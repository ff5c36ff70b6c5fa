// The passes for one instruction set; CMake compiles this file once for each.
#include "kernels.h"

#include "backward.h"
#include "forward.h"

namespace OSTINATO_ISA {

extern const ostinato::Kernels kernels;
const ostinato::Kernels kernels = {
    [](const Layer& layer, bool masked) { return History(nullptr, layer, masked).floats; },
    [](const Layer& layer, const Inputs& in, bool keeps) { return ForwardPass(layer, in, {}, nullptr, keeps).bytes(); },
    [](const Layer& layer, const Inputs& in) { return BackwardPass(layer, in, {}, nullptr).bytes(); },
    [](const Layer& layer, const Inputs& in, const Outputs& out, void* workspace) {
      ForwardPass(layer, in, out, workspace, out.history != nullptr).run();
    },
    [](const Layer& layer, const Inputs& in, const Gradients& gradients, void* workspace) {
      BackwardPass(layer, in, gradients, workspace).run();
    },
};

}  // namespace OSTINATO_ISA
