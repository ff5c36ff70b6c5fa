// The products of product.h for one instruction set; CMake compiles this file once for each.
#include "product.h"

#include <atomic>

#include "packed_product.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::Product;

constexpr int64_t kRowsTogether = 192;    // that a thread takes at a time
constexpr double kLeastShared = 2e5;      // flops; below it, waking a thread takes longer than the work

template <class Work>
void walk(ostinato::Team& team, int64_t count, const Work& work) {
  std::atomic<int64_t> next{0};
  team.run([&](int index) {
    for (int64_t i = next++; i < count; i = next++) work(index, i);
  });
}

// y (rows, packed.columns) = x (rows, packed.depth) · packed, or is added to y
void multiply_rows(ostinato::Team& team, const Packed& packed, int64_t rows, const float* x, float* y, bool adds) {
  std::vector<float> sums[ostinato::kMostThreads], found[ostinato::kMostThreads];
  walk(team, (rows + kRowsTogether - 1) / kRowsTogether, [&](int index, int64_t piece) {
    sums[index].resize(static_cast<size_t>(kChunkRows * 4 * kVec));
    if (adds) found[index].resize(static_cast<size_t>(kRowsTogether * packed.columns));
    const float* from[kRowsTogether];
    float* to[kRowsTogether];
    const int64_t first = piece * kRowsTogether, count = std::min(kRowsTogether, rows - first);
    for (int64_t i = 0; i < count; ++i) {
      from[i] = x + (first + i) * packed.depth;
      to[i] = adds ? found[index].data() + i * packed.columns : y + (first + i) * packed.columns;
    }
    multiply({from, to, count, packed.depth, packed.columns, packed.floats.data()}, sums[index].data());
    float* const mine = y + first * packed.columns;
    for (int64_t i = 0; adds && i < count * packed.columns; ++i) mine[i] += found[index][static_cast<size_t>(i)];
  });
}

void pack(ostinato::Team& team, Packed& packed, const float* matrix, bool transposed) {
  const int parts = static_cast<int>(std::min<int64_t>(packed.panels(), 4 * team.size()));
  walk(team, parts, [&](int, int64_t part) { packed.pack(matrix, transposed, static_cast<int>(part), parts); });
}

int team_of(const Product& p, double flops) { return flops < kLeastShared ? 1 : p.threads; }

}  // namespace

void product(const Product& p, const float* x, const float* weights, float* y) {
  const double flops = 2.0 * p.rows * p.inputs * p.outputs;
  ostinato::Team team(team_of(p, flops), flops);
  Packed packed;
  packed.make(p.inputs, p.outputs);
  pack(team, packed, weights, false);
  multiply_rows(team, packed, p.rows, x, y, false);
}

void product_back(const Product& p, const float* x, const float* weights, const float* dy, float* dx, float* dweights) {
  const double flops = 2.0 * p.rows * p.inputs * p.outputs * (dx == nullptr ? 1 : 2);
  ostinato::Team team(team_of(p, flops), flops);
  if (dx != nullptr) {
    Packed packed;
    packed.make(p.outputs, p.inputs);
    pack(team, packed, weights, true);
    multiply_rows(team, packed, p.rows, dy, dx, p.adds);
  }
  TransposedProduct of_thread[ostinato::kMostThreads];
  const int64_t panels = panels_of(p.outputs), wide = vectors_for(p.outputs) * kVec;
  // A piece for each thread: the rows are packed for each piece.
  const int64_t together = (panels + team.size() - 1) / team.size();
  walk(team, (panels + together - 1) / together, [&](int index, int64_t piece) {
    of_thread[index].make(p.inputs);
    const Span mine{piece * together, std::min(panels, (piece + 1) * together)};
    const int64_t first = mine.first * wide, count = std::min(p.outputs, mine.last * wide) - first;
    for (int64_t j = 0; j < p.inputs; ++j) std::fill_n(dweights + j * p.outputs + first, count, 0.0f);
    const float *left[TransposedProduct::kDepth], *right[TransposedProduct::kDepth];
    for (int64_t row = 0; row < p.rows; row += TransposedProduct::kDepth) {
      const int64_t here = std::min(TransposedProduct::kDepth, p.rows - row);
      for (int64_t k = 0; k < here; ++k) left[k] = x + (row + k) * p.inputs, right[k] = dy + (row + k) * p.outputs;
      of_thread[index].add(left, p.inputs, right, p.outputs, here, mine, dweights);
    }
  });
}

}  // namespace OSTINATO_ISA
