// The passes of gate.h for one instruction set; CMake compiles this file once for each.
#include "gate.h"

#include <algorithm>
#include <atomic>

#include "activations.h"
#include "threads.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::Gate;

constexpr int64_t kPiece = 16384;  // numbers that a thread takes at a time: a multiple of every vector
constexpr double kLeastShared = 2e5, kFlops = 20;

// Calls f(activation, first, count) for vectors of the numbers, of which the last is `count` long.
template <class F>
void for_vectors(const Gate& layer, const F& f) {
  const double flops = kFlops * static_cast<double>(layer.count);
  const int64_t pieces = (layer.count + kPiece - 1) / kPiece;
  const int wanted = flops < kLeastShared ? 1 : static_cast<int>(std::min<int64_t>(layer.threads, pieces));
  ostinato::Team team(wanted, flops);
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t piece = next++; piece < pieces; piece = next++) {
      const int64_t end = std::min(layer.count, (piece + 1) * kPiece);
      with_activation(layer.activation, [&](auto activation) {
        for (int64_t i = piece * kPiece; i < end; i += kVec) f(activation, i, static_cast<int>(std::min<int64_t>(kVec, end - i)));
      });
    }
  });
}

}  // namespace

void gate(const Gate& layer, const float* x, const float* g, float* y) {
  for_vectors(layer, [&](auto activation, int64_t at, int count) {
    store_first(y + at, load_first(x + at, count) * activation.value(load_first(g + at, count)), count);
  });
}

void gate_back(const Gate& layer, const float* x, const float* g, const float* dy, float* dx, float* dg) {
  for_vectors(layer, [&](auto activation, int64_t at, int count) {
    const vfloat of_g = load_first(g + at, count), of_y = load_first(dy + at, count), value = activation.value(of_g);
    store_first(dg + at, of_y * load_first(x + at, count) * activation.slope(of_g, value), count);
    store_first(dx + at, of_y * value, count);
  });
}

}  // namespace OSTINATO_ISA
