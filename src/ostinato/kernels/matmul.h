// Matrix products over packed panels.
//
// The right-hand matrix is packed into panels of N vectors of columns: for each row k of the matrix a panel holds N
// vectors ([k][N][kVec]), with zeros where the matrix has no column. The left-hand matrix is read through row pointers.
// A tile of M rows × N vectors is accumulated in registers: M·N accumulators, N weights, one broadcast.
//
// Every element is summed over k in increasing order, whatever tile it falls into, so that results do not depend on how
// rows or panels are divided among threads.
#pragma once

#include <algorithm>

#include "vector.h"

namespace OSTINATO_ISA {

#if OSTINATO_VEC == 16 || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// The most rows a tile of N vectors has: its accumulators, weights and a broadcast fill the register file.
template <int N>
constexpr int most_rows() {
  return kRegisters == 32 ? 6 : (N >= 4 ? 3 : N == 3 ? 4 : 6);
}

// acc[m][n] += Σ_k a[m][k] · b[k][n], k from 0 to depth.
template <int M, int N>
OSTINATO_INLINE void accumulate(const float* const* a, int64_t depth, const float* b, vfloat (&acc)[M][N]) {
  for (int64_t k = 0; k < depth; ++k, b += N * kVec) {
    vfloat w[N];
    for (int n = 0; n < N; ++n) w[n] = load(b + n * kVec);
    for (int m = 0; m < M; ++m) {
      const vfloat x = broadcast(a[m][k]);
      for (int n = 0; n < N; ++n) acc[m][n] += x * w[n];
    }
  }
}

// acc[m][n] += Σ_k a[k][m] · b[k][n]: the left-hand matrix transposed, for sums over the rows of a batch.
template <int M, int N>
OSTINATO_INLINE void accumulate_transposed(const float* const* a, int64_t offset, int64_t depth, const float* b,
                                           vfloat (&acc)[M][N]) {
  for (int64_t k = 0; k < depth; ++k, b += N * kVec) {
    vfloat w[N];
    for (int n = 0; n < N; ++n) w[n] = load(b + n * kVec);
    const float* row = a[k] + offset;
    for (int m = 0; m < M; ++m) {
      const vfloat x = broadcast(row[m]);
      for (int n = 0; n < N; ++n) acc[m][n] += x * w[n];
    }
  }
}

template <int M>
struct Rows {
  static constexpr int count = M;
};

// Calls f(first, Rows<M>{}) for tiles that cover [0, count) as evenly as tiles of N vectors can.
template <int N, int M = most_rows<N>(), class F>
OSTINATO_INLINE void for_tiles(int64_t count, const F& f) {
  const int64_t tiles = (count + M - 1) / M;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t first = count * tile / tiles, rows = count * (tile + 1) / tiles - first;
    switch (rows) {
      case 1: f(first, Rows<1>{}); break;
      case 2: f(first, Rows<2>{}); break;
      case 3: f(first, Rows<3>{}); break;
      case 4: if constexpr (M >= 4) f(first, Rows<4>{}); break;
      case 5: if constexpr (M >= 5) f(first, Rows<5>{}); break;
      case 6: if constexpr (M >= 6) f(first, Rows<6>{}); break;
    }
  }
}

constexpr int64_t up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// How many vectors a panel of plain columns has: four, fewer for narrow matrices.
inline int vectors_for(int64_t columns) { return columns <= kVec ? 1 : columns <= 2 * kVec ? 2 : 4; }

// Calls f(Rows<N>{}) with N = vectors_for(columns).
template <class F>
OSTINATO_INLINE void with_vectors(int64_t columns, const F& f) {
  switch (vectors_for(columns)) {
    case 1: f(Rows<1>{}); break;
    case 2: f(Rows<2>{}); break;
    default: f(Rows<4>{}); break;
  }
}

inline int64_t panels_of(int64_t columns) {
  const int64_t width = vectors_for(columns) * kVec;
  return (columns + width - 1) / width;
}
inline int64_t packed_floats(int64_t depth, int64_t columns) {
  return panels_of(columns) * depth * vectors_for(columns) * kVec;
}

// Panel p of `columns` plain columns: packed[k][column], k from 0 to depth, element (k, column) at
// matrix[k · row_stride + column · column_stride].
inline void pack_panel(const float* matrix, int64_t row_stride, int64_t column_stride, int64_t depth, int64_t columns,
                       int64_t panel, float* packed) {
  const int64_t width = vectors_for(columns) * kVec, first = panel * width;
  const int64_t count = std::min(width, columns - first);
  packed += panel * depth * width;
  for (int64_t k = 0; k < depth; ++k, packed += width) {
    const float* row = matrix + k * row_stride + first * column_stride;
    for (int64_t j = 0; j < count; ++j) packed[j] = row[j * column_stride];
    for (int64_t j = count; j < width; ++j) packed[j] = 0.0f;
  }
}

// Transposed packing reads down columns; blocks of rows keep the cache lines it touches in L1.
inline void pack_panel_transposed(const float* matrix, int64_t leading, int64_t depth, int64_t columns, int64_t panel,
                                  float* packed) {
  const int64_t width = vectors_for(columns) * kVec, first = panel * width;
  const int64_t count = std::min(width, columns - first);
  packed += panel * depth * width;
  constexpr int64_t kBlock = 16;
  for (int64_t k0 = 0; k0 < depth; k0 += kBlock) {
    const int64_t k1 = std::min(depth, k0 + kBlock);
    for (int64_t j = 0; j < width; ++j)
      for (int64_t k = k0; k < k1; ++k) packed[k * width + j] = j < count ? matrix[(first + j) * leading + k] : 0.0f;
  }
}

// Panel p of `gates` × `units` columns, gate beside gate: packed[k][gate][unit], kVec units.
inline void pack_gates(const float* matrix, int64_t leading, int64_t depth, int64_t units, int first_gate, int gates,
                       int64_t panel, float* packed) {
  const int64_t first = panel * kVec, count = std::min<int64_t>(kVec, units - first);
  packed += panel * depth * gates * kVec;
  for (int64_t k = 0; k < depth; ++k)
    for (int gate = 0; gate < gates; ++gate, packed += kVec) {
      const float* row = matrix + k * leading + (first_gate + gate) * units + first;
      for (int64_t j = 0; j < count; ++j) packed[j] = row[j];
      for (int64_t j = count; j < kVec; ++j) packed[j] = 0.0f;
    }
}

}  // namespace OSTINATO_ISA
