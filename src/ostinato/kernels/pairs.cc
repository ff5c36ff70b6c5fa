// The passes with products in bfloat16, see pairs.h; CMake compiles this file with OSTINATO_PAIRS.
#include "pairs.h"

#include "kernels.h"
#include "passes.h"

namespace OSTINATO_ISA {

extern const ostinato::PairKernels kernels;
const ostinato::PairKernels kernels = {passes::forward_bytes, passes::backward_bytes, passes::forward, passes::backward};

}  // namespace OSTINATO_ISA
