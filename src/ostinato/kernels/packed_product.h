// Products with a whole matrix of weights, for passes that compute them by rows: the matrix packed, and the gradient of it.
#pragma once

#include <vector>

#include "sequence.h"

namespace OSTINATO_ISA {

// A matrix, or its transpose, packed for products with rows.
struct Packed {
  std::vector<float> floats;
  int64_t depth = 0, columns = 0;
  void make(int64_t rows, int64_t width) {
    depth = rows, columns = width;
    floats.resize(static_cast<size_t>(packed_floats(rows, width)));
  }
  int64_t panels() const { return panels_of(columns); }
  // Of the panels, a share. `matrix` is (depth, columns), or (columns, depth) if it is to be transposed.
  void pack(const float* matrix, bool transposed, int index, int of) {
    const Span mine = share(panels(), index, of);
    const int64_t panel_floats = depth * vectors_for(columns) * kVec;
    for (int64_t panel = mine.first; panel < mine.last; ++panel)
      if (transposed)
        pack_panel_transposed(matrix, depth, depth, columns, panel, floats.data());
      else
        pack_columns(matrix, columns, {0, depth}, columns, panel, floats.data() + panel * panel_floats);
  }
};

// The gradient of a matrix of weights: sums over rows, a block of kDepth rows at a time.
class TransposedProduct {
  static constexpr int64_t kLeft = 16;  // columns that lie together

 public:
  static constexpr int64_t kDepth = 128;

  // `most`: columns of the left-hand side, at most.
  void make(int64_t most) {
    panel_.resize(static_cast<size_t>(kDepth * 4 * kVec));
    left_.resize(static_cast<size_t>(kDepth * up(most, kLeft)));
  }
  // to[j][column] += Σ left[row][j] · right[row][column] for `count` rows, at most kDepth, and panels of the columns.
  void add(const float* const* left, int64_t rows, const float* const* right, int64_t columns, int64_t count, Span panels,
           float* to) {
    if (panels.count() == 0) return;
    for (int64_t block = 0; block * kLeft < rows; ++block) {
      const size_t floats = static_cast<size_t>(std::min(kLeft, rows - block * kLeft));
      float* packed = left_.data() + block * kDepth * kLeft;
      for (int64_t k = 0; k < count; ++k, packed += kLeft)
        std::memcpy(packed, left[k] + block * kLeft, sizeof(float) * (floats == kLeft ? kLeft : floats));
    }
    with_vectors(columns, [&](auto vectors) {
      constexpr int N = decltype(vectors)::count;
      float* const packed = panel_.data();
      for (int64_t panel = panels.first; panel < panels.last; ++panel) {
        const int64_t column = panel * N * kVec;
        const int here = static_cast<int>(std::min<int64_t>(N * kVec, columns - column));
        for (int64_t k = 0; k < count; ++k)
          for (int n = 0; n < N; ++n)
            store(packed + (k * N + n) * kVec, load_first(right[k] + column + n * kVec, here - n * kVec));
        for (int64_t block = 0; block * kLeft < rows; ++block)
          for_tiles<N>(std::min(kLeft, rows - block * kLeft), [&](int64_t first, auto tile) {
            add_transposed_tile<decltype(tile)::count, N>(left_.data() + block * kDepth * kLeft + first, kLeft, count, packed,
                                                          to + (block * kLeft + first) * columns + column, columns, here);
          });
      }
    });
  }

 private:
  std::vector<float> panel_, left_;
};

}  // namespace OSTINATO_ISA
