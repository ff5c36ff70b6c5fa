// Matrix products over packed panels.
//
// The right-hand matrix is packed into panels of N vectors of columns: for each row k of the matrix a panel holds N
// vectors ([k][N][kVec]), with zeros where the matrix has no column. The left-hand matrix is read through row pointers.
// A tile of M rows × N vectors is accumulated in registers: M·N accumulators, N weights, one broadcast. Panels are walked
// in blocks that fit into L1: all tiles of rows pass over a block before the next, and leave their sums in a small buffer
// in between.
//
// Every element is summed over k in increasing order, whatever tile it falls into, so that results do not depend on how
// rows or panels are divided among threads.
#pragma once

#include <algorithm>

#include "pairs.h"

namespace OSTINATO_ISA {

#if OSTINATO_VEC == 16 || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// The most rows a tile of N vectors has: its accumulators, weights and a broadcast fill the register file.
template <int N>
constexpr int most_rows() {
  return kRegisters == 32 ? (N >= 4 ? 6 : 8) : (N >= 4 ? 3 : N == 3 ? 4 : 6);
}

constexpr int64_t kBlockFloats = 8192;  // of a panel: 32 KB
constexpr int64_t kChunkRows = 96;      // whose sums stay in L1 or L2 from block to block

// acc[m][n] += x(m) · b[n]. Of x and b the fewer are held in registers and the others pass through one: 12 accumulators, 3
// and 1 fill 16 registers. One too many would send an accumulator through memory for each k, and its latency would be twice
// the time of the products.
template <int M, int N, class X>
OSTINATO_INLINE void add_outer(vfloat (&acc)[M][N], const X& x, const float* b) {
  if constexpr (M < N) {
    vfloat held[M];
    for (int m = 0; m < M; ++m) held[m] = x(m);
    for (int n = 0; n < N; ++n) {
      const vfloat w = load(b + n * kVec);
      for (int m = 0; m < M; ++m) acc[m][n] = add_product(acc[m][n], held[m], w);
    }
  } else {
    vfloat held[N];
    for (int n = 0; n < N; ++n) held[n] = load(b + n * kVec);
    for (int m = 0; m < M; ++m) {
      const vfloat once = x(m);
      for (int n = 0; n < N; ++n) acc[m][n] = add_product(acc[m][n], once, held[n]);
    }
  }
}

// Accumulators start from a buffer, or from zero where it is null. Written out: the compiler makes of `= {}` a call of memset,
// which takes as long as 40 products.
template <int M, int N>
OSTINATO_INLINE void start(vfloat (&acc)[M][N], const float* from) {
  if (from == nullptr) {
    OSTINATO_UNROLL for (int m = 0; m < M; ++m) OSTINATO_UNROLL for (int n = 0; n < N; ++n) acc[m][n] = vfloat{};
  } else {
    OSTINATO_UNROLL for (int m = 0; m < M; ++m)
      OSTINATO_UNROLL for (int n = 0; n < N; ++n) acc[m][n] = load(from + (m * N + n) * kVec);
  }
}

// sums[m][n] = Σ_k a[m][k] · b[k][n] for a tile of M rows, k from `first` to `first + depth`; added to what is there unless
// `first` is 0. If it streams, a vector from `ahead` on is prefetched for each k: one, for a number that is only known here
// costs a loop in the loop, which takes as long as a third of the products where two threads share a core. A function of its
// own: inlined into others, its accumulators do not stay in registers.
template <int M, int N, bool streams>
__attribute__((noinline)) void multiply_tile(const float* const* a, int64_t first, int64_t depth, const float* b,
                                             float* sums, const float* ahead) {
  const float* rows[M];
  OSTINATO_UNROLL for (int m = 0; m < M; ++m) rows[m] = a[m] + first;
  vfloat acc[M][N];
  start(acc, first > 0 ? sums : nullptr);
  _Pragma("GCC unroll 4") for (int64_t k = 0; k < depth; ++k, b += N * kVec) {
    if (streams) __builtin_prefetch(ahead + k * kVec);
    add_outer<M, N>(acc, [&](int m) { return spread(rows[m][k]); }, b);
  }
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) store(sums + (m * N + n) * kVec, acc[m][n]);
}

// The same for P panels at once, `apart` floats from each other: sums[m][panel][n].
template <int M, int N, int P>
__attribute__((noinline)) void multiply_panels(const float* const* a, int64_t depth, const float* b, int64_t apart,
                                               float* sums) {
  const float* rows[M];
  OSTINATO_UNROLL for (int m = 0; m < M; ++m) rows[m] = a[m];
  vfloat acc[M][P * N];
  start(acc, nullptr);
  _Pragma("GCC unroll 2") for (int64_t k = 0; k < depth; ++k, b += N * kVec) {
    vfloat x[M];
    OSTINATO_UNROLL for (int m = 0; m < M; ++m) x[m] = spread(rows[m][k]);
    OSTINATO_UNROLL for (int p = 0; p < P; ++p)
      OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
        const vfloat w = load(b + p * apart + n * kVec);
        OSTINATO_UNROLL for (int m = 0; m < M; ++m) acc[m][p * N + n] = add_product(acc[m][p * N + n], x[m], w);
      }
  }
  OSTINATO_UNROLL for (int m = 0; m < M; ++m)
    OSTINATO_UNROLL for (int n = 0; n < P * N; ++n) store(sums + (m * P * N + n) * kVec, acc[m][n]);
}

// The same with a left-hand side for each of the N vectors: sums[m][n] = Σ_k a[n · stride + m][k] · b[k][n].
template <int M, int N>
__attribute__((noinline)) void multiply_tile_each(const float* const* a, int64_t stride, int64_t depth, const float* b,
                                                  float* sums) {
  vfloat acc[M][N];
  start(acc, nullptr);
  for (int64_t k = 0; k < depth; ++k, b += N * kVec)
    for (int n = 0; n < N; ++n) {
      const vfloat w = load(b + n * kVec);
      for (int m = 0; m < M; ++m) acc[m][n] = add_product(acc[m][n], spread(a[n * stride + m][k]), w);
    }
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) store(sums + (m * N + n) * kVec, acc[m][n]);
}

// to[m][n] += Σ_k a[k · stride + m] · b[k][n], rows `leading` apart, the last vectors cut at `columns`: the left-hand matrix
// transposed, for sums over the rows of a batch.
template <int M, int N>
__attribute__((noinline)) void add_transposed_tile(const float* a, int64_t stride, int64_t depth, const float* b, float* to,
                                                   int64_t leading, int columns) {
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) __builtin_prefetch(to + m * leading + n * kVec, 1);
  vfloat acc[M][N];
  start(acc, nullptr);
  for (int64_t k = 0; k < depth; ++k, a += stride, b += N * kVec) {
    add_outer<M, N>(acc, [&](int m) { return spread(a[m]); }, b);
  }
  OSTINATO_UNROLL for (int m = 0; m < M; ++m)
    OSTINATO_UNROLL for (int n = 0; n < N; ++n) {
      float* at = to + m * leading + n * kVec;
      const int left = columns - n * kVec;
      store_first(at, load_first(at, left) + acc[m][n], left);
    }
}

template <int M>
struct Rows {
  static constexpr int count = M;
};

// Calls f(first, Rows<M>{}) for tiles that cover [0, count) as evenly as tiles of N vectors can.
template <int N, int M = most_rows<N>(), class F>
OSTINATO_INLINE void for_tiles(int64_t count, const F& f) {
  if (count <= 0) return;
  const uint32_t tiles = static_cast<uint32_t>((count + M - 1) / M), all = static_cast<uint32_t>(count);
  const uint32_t rows_each = all / tiles, larger = all % tiles;  // so many tiles have one row more
  int64_t first = 0;
  for (uint32_t tile = 0; tile < tiles; ++tile) {
    const uint32_t rows = rows_each + (tile < larger);
    switch (rows) {
      case 1: f(first, Rows<1>{}); break;
      case 2: f(first, Rows<2>{}); break;
      case 3: f(first, Rows<3>{}); break;
      case 4: if constexpr (M >= 4) f(first, Rows<4>{}); break;
      case 5: if constexpr (M >= 5) f(first, Rows<5>{}); break;
      case 6: if constexpr (M >= 6) f(first, Rows<6>{}); break;
      case 7: if constexpr (M >= 7) f(first, Rows<7>{}); break;
      case 8: if constexpr (M >= 8) f(first, Rows<8>{}); break;
    }
    first += rows;
  }
}
// The product of `count` rows, a[row][k], with one panel; take(first, rows, sums, sums beside) is given the N vectors of each
// of some rows, from row `first` on. `sums` has room for kChunkRows × N vectors. With `streams`, for weights that no cache
// keeps, each tile of rows fetches an N-th of the next block while one is used. Without depth the product is zero.
// With a product beside it, of the same rows with another panel, take is given those sums, too. block(k, depth) gives
// `depth` rows of the panel from k on: where they were packed, or packs them now.
struct Beside {
  const float* const* a = nullptr;
  int64_t depth = 0;
  const float* packed = nullptr;
  float* sums = nullptr;
};
template <int N, class Block, class Take>
OSTINATO_INLINE void multiply_panel(const float* const* a, int64_t count, int64_t depth, const Block& block_at, float* sums,
                                    bool streams, const Beside& beside, const Take& take) {
  constexpr int64_t kWide = N * kVec, kDepth = kBlockFloats / kWide;
  for (int64_t top = 0; top < count; top += kChunkRows) {
    const int64_t rows = std::min(kChunkRows, count - top);
    if (depth == 0) std::fill_n(sums, rows * kWide, 0.0f);
    if (beside.a != nullptr)
      for_tiles<N>(rows, [&](int64_t first, auto tile) {
        multiply_tile<decltype(tile)::count, N, false>(beside.a + top + first, 0, beside.depth, beside.packed,
                                                       beside.sums + first * kWide, nullptr);
      });
    for (int64_t k = 0; k < depth; k += kDepth) {
      const int64_t here = std::min(kDepth, depth - k);
      const float* block = block_at(k, here);
      const float* ahead = block + here * kWide;
      for_tiles<N>(rows, [&](int64_t first, auto tile) {
        constexpr int M = decltype(tile)::count;
        if (streams)
          multiply_tile<M, N, true>(a + top + first, k, here, block, sums + first * kWide, ahead);
        else
          multiply_tile<M, N, false>(a + top + first, k, here, block, sums + first * kWide, nullptr);
        ahead += here * kVec;
      });
    }
    take(top, rows, sums, beside.sums);
  }
}

// The product where each of the panel's vectors has a left-hand side of its own, from(vector, row).
template <int N, class From, class Take>
OSTINATO_INLINE void multiply_panel_each(const From& from, int64_t count, int64_t depth, const float* packed, float* sums,
                                         const Take& take) {
  for_tiles<N>(count, [&](int64_t first, auto tile) {
    constexpr int M = decltype(tile)::count;
    const float* a[N * M];
    for (int n = 0; n < N; ++n)
      for (int m = 0; m < M; ++m) a[n * M + m] = from(n, first + m);
    multiply_tile_each<M, N>(a, M, depth, packed, sums);
    take(first, M, sums, nullptr);
  });
}

// The products of up to three rows with as many panels together as the latency of an addition needs: with fewer than eight
// sums each would wait for itself. take(panel, panels, sums) is given sums[row][panel][N vectors].
constexpr int64_t kFewRows = 3;
template <int N, int M, int P, class Take>
OSTINATO_INLINE void multiply_few_rows(const float* const* a, int64_t depth, const float* packed, int64_t first,
                                       int64_t last, float* sums, const Take& take) {
  const int64_t apart = depth * N * kVec;
  for (; first + P <= last; first += P) {
    multiply_panels<M, N, P>(a, depth, packed + first * apart, apart, sums);
    take(first, P, sums);
  }
  if constexpr (P > 1) multiply_few_rows<N, M, P / 2>(a, depth, packed, first, last, sums, take);
}
template <int N, class Take>
OSTINATO_INLINE void multiply_few_rows(const float* const* a, int64_t count, int64_t depth, const float* packed,
                                       int64_t first, int64_t last, float* sums, const Take& take) {
  if (count == 1) return multiply_few_rows<N, 1, (7 + N) / N>(a, depth, packed, first, last, sums, take);
  if (count == 2) return multiply_few_rows<N, 2, (7 + 2 * N) / (2 * N)>(a, depth, packed, first, last, sums, take);
  if (count == 3) return multiply_few_rows<N, 3, (7 + 3 * N) / (3 * N)>(a, depth, packed, first, last, sums, take);
}

constexpr int64_t up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// How many vectors a panel of plain columns has: four, three where that leaves fewer columns empty, fewer for narrow matrices.
inline int vectors_for(int64_t columns) {
  if (columns <= 2 * kVec) return columns <= kVec ? 1 : 2;
  return up(columns, 3 * kVec) < up(columns, 4 * kVec) ? 3 : 4;
}

// Calls f(Rows<N>{}) with N = vectors_for(columns).
template <class F>
OSTINATO_INLINE void with_vectors(int64_t columns, const F& f) {
  switch (vectors_for(columns)) {
    case 1: f(Rows<1>{}); break;
    case 2: f(Rows<2>{}); break;
    case 3: f(Rows<3>{}); break;
    default: f(Rows<4>{}); break;
  }
}

inline int64_t panels_of(int64_t columns) {
  const int64_t width = vectors_for(columns) * kVec;
  return (columns + width - 1) / width;
}
inline int64_t packed_floats(int64_t depth, int64_t columns) {
  return panels_of(columns) * places(depth) * vectors_for(columns) * kVec;
}

// Rows of a matrix, or of a panel: `count` from `first` on.
struct Part {
  int64_t first, count;
};
constexpr int64_t kRowsAhead = 8;  // that packing fetches: rows are too far apart for the processor to see them coming

// Rows k to k + depth of panel p of plain columns of a matrix with rows `leading` apart: packed[k][column], by places.
inline void pack_columns(const float* matrix, int64_t leading, Part k, int64_t columns, int64_t panel, float* packed) {
  const int vectors = vectors_for(columns);
  const int64_t width = vectors * kVec, first = panel * width;
  const float* row = matrix + k.first * leading + first;
  for (int64_t i = 0; i < k.count; i += kNumbers, row += kNumbers * leading, packed += width) {
    __builtin_prefetch(row + kRowsAhead * leading);
    __builtin_prefetch(row + kRowsAhead * leading + width - 1);
    for (int n = 0; n < vectors; ++n) {
      const int count = static_cast<int>(std::min<int64_t>(kVec, columns - first - n * kVec));
      store(packed + n * kVec, first_places(row + n * kVec, leading, k.count - i, count));
    }
  }
}

// The same for panel p of `gates` × `units` columns, gate beside gate: packed[k][gate][unit], kVec units.
inline void pack_gates(const float* matrix, int64_t leading, Part k, int64_t units, int gates, int64_t panel, float* packed) {
  const int64_t first = panel * kVec;
  const int count = static_cast<int>(std::min<int64_t>(kVec, units - first));
  const float* row = matrix + k.first * leading + first;
  for (int64_t i = 0; i < k.count; i += kNumbers, row += kNumbers * leading)
    for (int gate = 0; gate < gates; ++gate, packed += kVec) {
      __builtin_prefetch(row + kRowsAhead * leading + gate * units);
      store(packed, first_places(row + gate * units, leading, k.count - i, count));
    }
}

// Transposed packing reads down columns; blocks of rows keep the cache lines it touches in L1.
inline void pack_panel_transposed(const float* matrix, int64_t leading, int64_t depth, int64_t columns, int64_t panel,
                                  float* packed) {
  const int64_t width = vectors_for(columns) * kVec, first = panel * width;
  const int64_t count = std::min(width, columns - first);
  packed += panel * places(depth) * width;
  constexpr int64_t kBlock = 16;
  for (int64_t k0 = 0; k0 < depth; k0 += kBlock) {
    const int64_t k1 = std::min(depth, k0 + kBlock);
    for (int64_t j = 0; j < width; ++j) {
      const float* row = matrix + (first + j) * leading;
      if (j < count) __builtin_prefetch(row + k0 + 2 * kBlock);
      for (int64_t k = k0; k < k1; k += kNumbers)
        packed[places(k) * width + j] = j < count ? first_place(row + k, k1 - k) : 0.0f;
    }
  }
}

}  // namespace OSTINATO_ISA
