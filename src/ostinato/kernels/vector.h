// One SIMD register of floats, through the compiler's vector extensions.
//
// The same source is compiled once per instruction set; OSTINATO_VEC is the width in floats: 4 (SSE2, NEON), 8 (AVX2) or
// 16 (AVX-512), OSTINATO_ISA the namespace its code goes to.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef OSTINATO_VEC
#define OSTINATO_VEC 4
#endif

#define OSTINATO_INLINE inline __attribute__((always_inline))
#define OSTINATO_UNROLL _Pragma("GCC unroll 8")  // loops over vectors that are to stay in registers

namespace OSTINATO_ISA {

constexpr int kVec = OSTINATO_VEC;
using real = float;
typedef float vfloat __attribute__((vector_size(4 * OSTINATO_VEC)));
typedef int32_t vint __attribute__((vector_size(4 * OSTINATO_VEC)));

OSTINATO_INLINE vfloat load(const float* p) { vfloat v; std::memcpy(&v, p, sizeof v); return v; }
OSTINATO_INLINE void store(float* p, vfloat v) { std::memcpy(p, &v, sizeof v); }
OSTINATO_INLINE vfloat broadcast(float x) { return x - vfloat{}; }
OSTINATO_INLINE vfloat select(vint mask, vfloat yes, vfloat no) { return mask ? yes : no; }

// The first `count` floats of p; zeros behind them. For the last, incomplete vector of a row. With AVX no byte behind them is
// touched, and no loop is needed.
#if OSTINATO_VEC == 16
OSTINATO_INLINE __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1); }
#elif OSTINATO_VEC == 8
OSTINATO_INLINE __m256i first_lanes(int count) {
  alignas(32) static constexpr int32_t kLanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLanes + 8 - count));
}
#endif
OSTINATO_INLINE vfloat load_first(const float* p, int count) {
  if (count >= kVec) return load(p);
  if (count <= 0) return vfloat{};
#if OSTINATO_VEC == 16
  return _mm512_maskz_loadu_ps(first_lanes(count), p);
#elif OSTINATO_VEC == 8
  return _mm256_maskload_ps(p, first_lanes(count));
#else
  vfloat v = {};
  std::memcpy(&v, p, sizeof(float) * static_cast<size_t>(count));
  return v;
#endif
}
OSTINATO_INLINE void store_first(float* p, vfloat v, int count) {
  if (count >= kVec) return store(p, v);
  if (count <= 0) return;
#if OSTINATO_VEC == 16
  _mm512_mask_storeu_ps(p, first_lanes(count), v);
#elif OSTINATO_VEC == 8
  __m128 half = _mm256_castps256_ps128(v);  // AMD's processors take long for a masked store
  if (count & 4) {
    _mm_storeu_ps(p, half);
    half = _mm256_extractf128_ps(v, 1), p += 4;
  }
  if (count & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), half);
    half = _mm_movehl_ps(half, half), p += 2;
  }
  if (count & 1) _mm_store_ss(p, half);
#else
  std::memcpy(p, &v, sizeof(float) * static_cast<size_t>(count));
#endif
}

// Stores past the caches, for what is read again only when they have long forgotten it; p is on a vector's boundary.
OSTINATO_INLINE void store_through(float* p, vfloat v) {
#if OSTINATO_VEC == 16
  _mm512_stream_ps(p, v);
#elif OSTINATO_VEC == 8
  _mm256_stream_ps(p, v);
#else
  store(p, v);
#endif
}
// Before other threads may read what store_through wrote.
OSTINATO_INLINE void fence_stores() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// The larger and the smaller of two, and b where either is NaN: what the processors' own instructions do.
OSTINATO_INLINE vfloat max(vfloat a, vfloat b) {
#if OSTINATO_VEC == 16
  return _mm512_max_ps(a, b);
#elif OSTINATO_VEC == 8
  return _mm256_max_ps(a, b);
#else
  return select(a > b, a, b);
#endif
}
OSTINATO_INLINE vfloat min(vfloat a, vfloat b) {
#if OSTINATO_VEC == 16
  return _mm512_min_ps(a, b);
#elif OSTINATO_VEC == 8
  return _mm256_min_ps(a, b);
#else
  return select(a < b, a, b);
#endif
}

OSTINATO_INLINE vfloat sqrt(vfloat x) {
#if OSTINATO_VEC == 16
  return _mm512_sqrt_ps(x);
#elif OSTINATO_VEC == 8
  return _mm256_sqrt_ps(x);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(x);
#else
  for (int lane = 0; lane < kVec; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
#endif
}

// The sum of a vector's lanes.
OSTINATO_INLINE float sum_of(vfloat v) {
#if OSTINATO_VEC == 16
  return _mm512_reduce_add_ps(v);
#elif OSTINATO_VEC == 8
  __m128 four = _mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1);
  four += _mm_movehl_ps(four, four);
  return _mm_cvtss_f32(four) + _mm_cvtss_f32(_mm_movehdup_ps(four));
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

// The sums of kVec vectors, a lane for each.
OSTINATO_INLINE vfloat sums_of(const vfloat (&v)[kVec]) {
#if OSTINATO_VEC == 8
  const vfloat a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  const vfloat b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
  return _mm256_permute2f128_ps(a, b, 0x20) + _mm256_permute2f128_ps(a, b, 0x31);
#else
  vfloat sums;
  for (int lane = 0; lane < kVec; ++lane) sums[lane] = sum_of(v[lane]);
  return sums;
#endif
}

// 1 / x within 2 ulp, for x between 1e-4 and 1e38. With AVX-512 a division takes four times as long as an estimate of 14
// bits and one step of Newton's method.
OSTINATO_INLINE vfloat reciprocal(vfloat x) {
#if OSTINATO_VEC == 16
  const vfloat estimate = _mm512_rcp14_ps(x);
  return estimate * (2.0f - x * estimate);
#else
  return 1.0f / x;
#endif
}

constexpr real kLeastExponent = -87.0f;  // e^x is as good as zero from here on down

// e^x = (1 + less_one) · scale, with a power of two as the scale, for x in [-87, 88], clamped outside; NaN stays NaN. The
// polynomial on [-ln 2 / 2, ln 2 / 2] has the coefficients of Cephes' expf.
struct Exponential {
  vfloat less_one, scale;
};
OSTINATO_INLINE Exponential exponential(vfloat x) {
  x = min(broadcast(88.0f), max(broadcast(kLeastExponent), x));
  const vfloat magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vfloat shifted = x * 1.44269504088896341f + magic;
  const vfloat n = shifted - magic;
  vfloat r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  vfloat p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  vint bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits - (0x4B400000 - 127)) << 23;
  vfloat scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return {p * (r * r) + r, scale};
}

// e^x and e^x - 1 within 2 ulp, the latter for x up to 1 and for tiny x too.
OSTINATO_INLINE vfloat exp(vfloat x) {
  const auto [less_one, scale] = exponential(x);
  return (less_one + 1.0f) * scale;
}
OSTINATO_INLINE vfloat exp_less_one(vfloat x) {
  const auto [less_one, scale] = exponential(x);
  return less_one * scale + (scale - 1.0f);
}

OSTINATO_INLINE vfloat sigmoid(vfloat x) { return reciprocal(1.0f + exp(-x)); }

// tanh within a few ulp: a rational approximation on [-7.9, 7.9] (the coefficients that Eigen's ptanh uses); outside it
// is 1 to the last bit. Tiny x, whose square vanishes beside the constants, come out right as well.
OSTINATO_INLINE vfloat tanh(vfloat x) {
  const vfloat bound = broadcast(7.90531110763549805f);
  x = min(bound, max(-bound, x));
  const vfloat square = x * x;
  vfloat p = broadcast(-2.76076847742355e-16f);
  p = p * square + 2.00018790482477e-13f;
  p = p * square - 8.60467152213735e-11f;
  p = p * square + 5.12229709037114e-08f;
  p = p * square + 1.48572235717979e-05f;
  p = p * square + 6.37261928875436e-04f;
  p = p * square + 4.89352455891786e-03f;
  vfloat q = broadcast(1.19825839466702e-06f);
  q = q * square + 1.18534705686654e-04f;
  q = q * square + 2.26843463243900e-03f;
  q = q * square + 4.89352518554385e-03f;
  return x * p * reciprocal(q);
}

}  // namespace OSTINATO_ISA
