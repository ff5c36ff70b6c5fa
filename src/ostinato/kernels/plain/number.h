// One double in the place of vector.h's register of floats: what activations.h and cells/ compute with in float64.
#pragma once

#include <cmath>
#include <cstdint>

#define OSTINATO_INLINE inline __attribute__((always_inline))
#define OSTINATO_UNROLL _Pragma("GCC unroll 8")

namespace OSTINATO_ISA {

using real = double;
using vfloat = double;

constexpr real kLeastExponent = -708.0;  // e^x is as good as zero from here on down

OSTINATO_INLINE vfloat broadcast(double x) { return x; }
OSTINATO_INLINE vfloat select(bool mask, vfloat yes, vfloat no) { return mask ? yes : no; }

// The larger and the smaller of two, and b where either is NaN.
OSTINATO_INLINE vfloat max(vfloat a, vfloat b) { return a > b ? a : b; }
OSTINATO_INLINE vfloat min(vfloat a, vfloat b) { return a < b ? a : b; }

OSTINATO_INLINE vfloat exp_less_one(vfloat x) { return std::expm1(x); }
OSTINATO_INLINE vfloat sigmoid(vfloat x) { return 1.0 / (1.0 + std::exp(-x)); }
OSTINATO_INLINE vfloat tanh(vfloat x) { return std::tanh(x); }

}  // namespace OSTINATO_ISA
