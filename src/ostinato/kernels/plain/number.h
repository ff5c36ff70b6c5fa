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

// tanh within a few ulp, in less than half the time of std::tanh: near 0 the rational approximation of Cephes' tanh,
// elsewhere from an exponential that is at most a third.
OSTINATO_INLINE vfloat tanh(vfloat x) {
  const double size = std::fabs(x);
  if (size < 0.625) {
    const double square = x * x;
    const double p = (-9.64399179425052238628e-1 * square - 9.92877231001918586564e1) * square - 1.61468768441708447952e3;
    const double q = ((square + 1.12811678491632931402e2) * square + 2.23548839060100448583e3) * square +
                     4.84406305325125486048e3;
    return x + x * (square * p / q);
  }
  const double e = std::exp(-2.0 * size);
  return std::copysign((1.0 - e) / (1.0 + e), x);
}

}  // namespace OSTINATO_ISA
