// Products of numbers in bfloat16, with sums in float32.
//
// With OSTINATO_PAIRS every matrix product of a pass reads its numbers rounded to bfloat16, two in the place of a float:
// number k of a row in its lower half, number k + 1 in its upper half. Sums over n numbers then have ⌈n / 2⌉ places, and one
// instruction of AVX512-BF16 multiplies both numbers of a place and adds both products to a float32. Without OSTINATO_PAIRS
// a place is a number. Only this file knows the difference between the two.
#pragma once

#include "vector.h"

namespace OSTINATO_ISA {

#ifdef OSTINATO_PAIRS
constexpr bool kPairs = true;
#else
constexpr bool kPairs = false;
#endif

constexpr int kNumbers = kPairs ? 2 : 1;  // in a place
constexpr int64_t places(int64_t numbers) { return (numbers + kNumbers - 1) / kNumbers; }

typedef uint32_t vbits __attribute__((vector_size(4 * OSTINATO_VEC)));
OSTINATO_INLINE vbits bits_of(vfloat x) { vbits bits; std::memcpy(&bits, &x, sizeof bits); return bits; }
OSTINATO_INLINE vfloat of_bits(vbits bits) { vfloat x; std::memcpy(&x, &bits, sizeof x); return x; }

// The nearest bfloat16, of two as near the even one. NaN stays NaN.
OSTINATO_INLINE uint32_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return (x != x ? bits | 0x400000 : bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
}
OSTINATO_INLINE vbits to_bfloat16(vfloat x) {
  const vbits bits = bits_of(x), nearest = bits + 0x7FFF + ((bits >> 16) & 1);
  return ((x != x) ? (bits | 0x400000) : nearest) >> 16;
}
OSTINATO_INLINE vfloat pair(vfloat low, vfloat high) { return of_bits(to_bfloat16(high) << 16 | to_bfloat16(low)); }

// sum + a · b, of one number or of both numbers of a place.
OSTINATO_INLINE vfloat add_product(vfloat sum, vfloat a, vfloat b) {
#if !defined(OSTINATO_PAIRS)
  return sum + a * b;
#elif defined(__AVX512BF16__)
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
#else  // what the instruction does, for tests on other processors
  sum += of_bits(bits_of(a) << 16) * of_bits(bits_of(b) << 16);
  sum += of_bits(bits_of(a) & 0xFFFF0000) * of_bits(bits_of(b) & 0xFFFF0000);
  return sum;
#endif
}

// A place in all lanes.
OSTINATO_INLINE vfloat spread(const float& place) {
  if constexpr (!kPairs) return broadcast(place);
  uint32_t bits;
  std::memcpy(&bits, &place, sizeof bits);
  return of_bits(bits - vbits{});
}

// A row of `count` numbers in places(count) places.
inline void round_row(const float* from, int64_t count, float* to) {
  int64_t k = 0;
#ifdef __AVX512BF16__
  for (; k + kVec <= count; k += kVec) {
    const __m256bh rounded = _mm512_cvtneps_pbh(load(from + k));
    std::memcpy(to + k / 2, &rounded, sizeof rounded);
  }
#endif
  for (; k < count; k += 2) {
    const uint32_t bits = to_bfloat16(from[k]) | (k + 1 < count ? to_bfloat16(from[k + 1]) << 16 : 0);
    std::memcpy(to + k / 2, &bits, sizeof bits);
  }
}
// What lies at the beginning of a row that has `left` numbers, and the same of a column whose numbers are `leading` apart, for
// the first `count` of kVec columns.
OSTINATO_INLINE float first_place(const float* row, int64_t left) {
  if constexpr (!kPairs) return *row;
  float place;
  round_row(row, left < 2 ? left : 2, &place);
  return place;
}
OSTINATO_INLINE vfloat first_places(const float* column, int64_t leading, int64_t left, int count) {
  const vfloat low = load_first(column, count);
  if constexpr (!kPairs) return low;
  return pair(low, left > 1 ? load_first(column + leading, count) : vfloat{});
}

// The left-hand rows of a product, as it reads them: they are rounded into `room`, and the pointers moved there.
inline void as_read(const float** rows, int64_t count, int64_t depth, float* room) {
  if constexpr (!kPairs) return;
  for (int64_t i = 0; i < count; ++i, room += places(depth)) {
    round_row(rows[i], depth, room);
    rows[i] = room;
  }
}

}  // namespace OSTINATO_ISA
