// Products of matrices of doubles.
//
//   product[row, column] = Σ_k left[row, k] · right[k, column]
//
// The right-hand matrix is packed: panels of a few columns, in which all k follow one another, with zeros behind the last
// column. A tile, some rows of one panel, keeps its sums in registers while it passes over all k. Loop order: panels, tiles,
// k. Every sum adds its terms in the order of k, in any tile.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "plain/number.h"

namespace OSTINATO_ISA {

constexpr int kLanes = OSTINATO_VEC / 2;  // doubles in a register
constexpr int kColumns = 2 * kLanes;      // of a panel
constexpr int kRows = 6;                  // of a tile
typedef double Register __attribute__((vector_size(8 * OSTINATO_VEC / 2)));

OSTINATO_INLINE Register load(const double* p) { Register r; std::memcpy(&r, p, sizeof r); return r; }
OSTINATO_INLINE void store(double* p, Register r) { std::memcpy(p, &r, sizeof r); }

struct Span {
  int64_t first, last;
  int64_t count() const { return last - first; }
};
inline Span share(int64_t count, int64_t index, int64_t shares) {
  return {count * index / shares, count * (index + 1) / shares};
}

// A matrix anywhere: element (i, j) is at data[i · row + j · column].
struct Strided {
  const double* data;
  int64_t row, column;
};

inline int64_t panels_of(int64_t columns) { return (columns + kColumns - 1) / kColumns; }

// Some panels of a right-hand matrix.
class Panels {
 public:
  // Room for what is packed later, so that packing needs no memory then.
  void reserve(int64_t depth, int64_t columns) {
    packed_.reserve(static_cast<size_t>(panels_of(columns) * depth * kColumns));
  }
  // Packs those panels in `which` of a matrix of depth × columns.
  void pack(const Strided& matrix, int64_t depth, int64_t columns, Span which) {
    depth_ = depth, columns_ = columns, which_ = which;
    packed_.resize(static_cast<size_t>(which.count() * depth * kColumns));
    double* to = packed_.data();
    for (int64_t panel = which.first; panel < which.last; ++panel)
      for (int64_t k = 0; k < depth; ++k, to += kColumns) {
        const double* from = matrix.data + k * matrix.row + panel * kColumns * matrix.column;
        const int64_t count = std::min<int64_t>(kColumns, columns - panel * kColumns);
        for (int64_t j = 0; j < kColumns; ++j) to[j] = j < count ? from[j * matrix.column] : 0.0;
      }
  }
  void pack(const Strided& matrix, int64_t depth, int64_t columns) {
    pack(matrix, depth, columns, {0, panels_of(columns)});
  }

  // Calls put(row, columns, sums) for the columns of each panel and every row of the product with a left-hand matrix of
  // `rows` rows; sums[column] is then the element of the row.
  template <class Put>
  void multiply(const Strided& left, int64_t rows, const Put& put) const {
    for (int64_t panel = which_.first; panel < which_.last; ++panel) {
      const double* packed = packed_.data() + (panel - which_.first) * depth_ * kColumns;
      const Span columns{panel * kColumns, std::min((panel + 1) * kColumns, columns_)};
      double sums[kRows * kColumns];
      const int64_t tiles = (rows + kRows - 1) / kRows;
      for (int64_t i = 0; i < tiles; ++i) {  // as even as can be: a small tile takes about as long as a large one
        const auto [first, last] = share(rows, i, tiles);
        tile(last - first, {left.data + first * left.row, left.row, left.column}, packed, sums);
        for (int64_t row = 0; row < last - first; ++row) put(first + row, columns, sums + row * kColumns - columns.first);
      }
    }
  }

 private:
  void tile(int64_t rows, const Strided& left, const double* packed, double* sums) const {
    switch (rows) {
      case 1: return tile_of<1>(left, packed, sums);
      case 2: return tile_of<2>(left, packed, sums);
      case 3: return tile_of<3>(left, packed, sums);
      case 4: return tile_of<4>(left, packed, sums);
      case 5: return tile_of<5>(left, packed, sums);
      default: return tile_of<kRows>(left, packed, sums);
    }
  }
  // Apart, so that its sums stay in registers.
  template <int rows>
  __attribute__((noinline)) void tile_of(Strided left, const double* packed, double* sums) const {
    Register sum[rows][2] = {};
    for (int64_t k = 0; k < depth_; ++k, packed += kColumns) {
      const Register first = load(packed), second = load(packed + kLanes);
      OSTINATO_UNROLL for (int row = 0; row < rows; ++row) {
        const double a = left.data[row * left.row + k * left.column];
        sum[row][0] += a * first;
        sum[row][1] += a * second;
      }
    }
    OSTINATO_UNROLL for (int row = 0; row < rows; ++row) {
      store(sums + row * kColumns, sum[row][0]);
      store(sums + row * kColumns + kLanes, sum[row][1]);
    }
  }

  int64_t depth_ = 0, columns_ = 0;
  Span which_{0, 0};
  std::vector<double> packed_;
};

}  // namespace OSTINATO_ISA
