// The forward pass of a layer that has fewer units than a vector: a vector holds the same unit of kVec rows of the batch.
//
// ForwardPass would leave most of each vector empty. Sums are its sums, in the same order, so that both give the same bits.
// Layers with a history, a mask or dropout are left to it.
#pragma once

#include "packed.h"
#include "sequence.h"

namespace OSTINATO_ISA {

template <class Cell>
class NarrowPass : Pass {
  static constexpr bool kHasC = Cell::states > 1;
  static constexpr int kGathered = Cell::gathered, kGates = Cell::gates;
  using Weights = PackedWeights<Cell>;

 public:
  // Whether a layer is worth it: vectors of rows are at most half as many as those of units would be.
  static bool takes(const Layer& layer, const Inputs& in, bool keeps_history) {
    if (kPairs || keeps_history || in.mask != nullptr || in.input_dropout != nullptr || in.recurrent_dropout != nullptr) return false;
    if (layer.units > kVec || (in.ids == nullptr && layer.features > kFewFeatures)) return false;
    return 2 * ((layer.batch + kVec - 1) / kVec) * layer.units <= layer.batch;
  }

  NarrowPass(const Layer& layer, const Inputs& in, const Outputs& out, void* workspace) : Pass(layer, in), out_(out) {
    Arena arena(workspace == nullptr ? nullptr : aligned(workspace));
    kept_packed_ = in.packed != nullptr;
    if (kept_packed_) {
      Arena kept(const_cast<float*>(in.packed));  // only read
      weights_ = Weights(kept, z_);
    } else {
      weights_ = Weights(arena, z_, Weights::Kernel::kNone, 1, true);
    }
    bytes_ = arena.bytes() + 64;
  }
  size_t bytes() const { return bytes_; }

  void run() {
    run_all(
        packed_weights(),
        [this](int index, int of) {
          if (!kept_packed_) weights_.pack(z_, in_.kernel, in_.recurrent, index, of);
        },
        [this](int, int64_t walk) { this->walk(rows_of(walk)); });
  }

 private:
  // kVec rows, or fewer at the end of a thread's, with a vector for each unit.
  struct Tile {
    int64_t first;
    int count;
    vfloat h[kVec], next[kVec], c[kVec], between[kVec], carried[kVec];
  };

  // A unit of a tile's rows at a step, as a cell sees it; see ForwardLane.
  struct Lane {
    const NarrowPass& pass;
    Tile& tile;
    const int64_t unit;
    const vfloat* inputs;  // x · kernel + bias of each gate
    vfloat* products;      // h · recurrent of the gathered gates

    OSTINATO_INLINE const Layer& layer() const { return pass.l_; }
    OSTINATO_INLINE vfloat x(int gate) const { return inputs[gate]; }
    OSTINATO_INLINE vfloat product(int gate) const { return products[gate]; }
    OSTINATO_INLINE void leave(int gate, vfloat value) const { products[gate] = value; }
    OSTINATO_INLINE bool has_bias() const { return pass.in_.bias != nullptr; }
    OSTINATO_INLINE vfloat bias(int block) const { return broadcast(pass.in_.bias[block * pass.z_.units + unit]); }
    OSTINATO_INLINE vfloat h() const { return tile.h[unit]; }
    OSTINATO_INLINE vfloat c() const { return tile.c[unit]; }
    OSTINATO_INLINE vfloat dropped_h(int) const { return h(); }
    OSTINATO_INLINE void keep(std::initializer_list<vfloat>, int = 0) const {}
    OSTINATO_INLINE void put_between(vfloat value) const { tile.between[unit] = value; }
    OSTINATO_INLINE void carry(vfloat value) const { tile.carried[unit] = value; }
    OSTINATO_INLINE vfloat carried() const { return tile.carried[unit]; }
    OSTINATO_INLINE void put_c(vfloat c) const { tile.c[unit] = c; }
    OSTINATO_INLINE void put_h(vfloat h) const { tile.next[unit] = h; }
  };

  void walk(Span rows) {
    std::vector<Tile> tiles;
    for (int64_t first = rows.first; first < rows.last; first += kVec) {
      Tile tile{first, static_cast<int>(std::min<int64_t>(kVec, rows.last - first)), {}, {}, {}, {}, {}};
      for (int64_t unit = 0; unit < z_.units; ++unit) {
        tile.h[unit] = gathered(tile, [&](int64_t b) { return in_.h0[b * z_.units + unit]; });
        if (kHasC) tile.c[unit] = gathered(tile, [&](int64_t b) { return in_.c0[b * z_.units + unit]; });
      }
      tiles.push_back(tile);
    }
    for (int64_t step = 0; step < z_.time; ++step)
      for (Tile& tile : tiles) one_step(tile, step);
    for (const Tile& tile : tiles) {
      put(tile, tile.h, out_.h, z_.units);
      if (kHasC) put(tile, tile.c, out_.c, z_.units);
    }
  }

  void one_step(Tile& tile, int64_t step) {
    vfloat inputs[kVec][kGates];
    read(tile, step, inputs);
    for (int64_t unit = 0; unit < z_.units; ++unit) {
      if constexpr (kGathered > 0) {
        vfloat products[kGathered] = {};
        const float* weights = weights_.recurrent + unit;
        for (int64_t k = 0; k < z_.units; ++k)
          for (int g = 0; g < kGathered; ++g, weights += kVec) products[g] += tile.h[k] * broadcast(*weights);
        const Lane lane{*this, tile, unit, inputs[unit], products};
        Cell::forward(lane);
        if constexpr (!Cell::separate) Cell::finish(lane);
      }
    }
    if constexpr (Cell::separate) {
      const vfloat* from = kGathered > 0 ? tile.between : tile.h;
      for (int64_t unit = 0; unit < z_.units; ++unit) {
        vfloat sum = {};
        for (int64_t k = 0; k < z_.units; ++k) sum += from[k] * broadcast(weights_.last[k * kVec + unit]);
        Cell::forward_separate(Lane{*this, tile, unit, inputs[unit], nullptr}, sum + inputs[unit][kGates - 1]);
      }
    }
    std::copy(tile.next, tile.next + z_.units, tile.h);
    if (l_.return_sequences)
      put(tile, tile.h, out_.y + step * z_.units, z_.time * z_.units);
    else if (step == z_.time - 1)
      put(tile, tile.h, out_.y, z_.units);
  }

  // x · kernel + bias of a step.
  void read(const Tile& tile, int64_t step, vfloat (&inputs)[kVec][kGates]) const {
    vfloat x[kFewFeatures];
    if (in_.ids == nullptr)
      for (int64_t f = 0; f < z_.features; ++f)
        x[f] = gathered(tile, [&](int64_t b) { return in_.x[place(b, step) * z_.features + f]; });
    for (int64_t unit = 0; unit < z_.units; ++unit) {
      vfloat sums[kGates] = {};
      if (in_.ids != nullptr) {
        for (int g = 0; g < kGates; ++g)
          sums[g] = gathered(tile, [&](int64_t b) {
            return in_.kernel[in_.ids[place(b, step)] * z_.width + g * z_.units + unit];
          });
      } else {
        const float* weights = in_.kernel + unit;
        for (int64_t f = 0; f < z_.features; ++f)
          for (int g = 0; g < kGates; ++g, weights += z_.units) sums[g] += x[f] * broadcast(*weights);
      }
      for (int g = 0; g < kGates; ++g)
        inputs[unit][g] = in_.bias == nullptr ? sums[g] : sums[g] + broadcast(in_.bias[g * z_.units + unit]);
    }
  }

  // of(b) of a tile's rows b; of the last one again where there are fewer than kVec.
  template <class Of>
  static OSTINATO_INLINE vfloat gathered(const Tile& tile, const Of& of) {
    alignas(kVec * sizeof(float)) float values[kVec];
    for (int row = 0; row < kVec; ++row) values[row] = of(tile.first + std::min(row, tile.count - 1));
    return load(values);
  }
  // Units of a tile's rows, which lie `apart`.
  void put(const Tile& tile, const vfloat* units, float* to, int64_t apart) const {
    to += tile.first * apart;
    for (int64_t unit = 0; unit < z_.units; ++unit) {
      alignas(kVec * sizeof(float)) float values[kVec];
      store(values, units[unit]);
      for (int row = 0; row < tile.count; ++row) to[row * apart + unit] = values[row];
    }
  }

  const Outputs out_;
  Weights weights_;
  bool kept_packed_ = false;  // weights_ are the caller's
  size_t bytes_ = 0;
};

}  // namespace OSTINATO_ISA
