// Weights in the order in which the forward pass reads them: panels of columns, packed from Keras' fused layout.
//
// A pass packs what it reads into its workspace. Who runs a layer many times packs once, for passes of every batch and time.
#pragma once

#include "sequence.h"

namespace OSTINATO_ISA {

constexpr int64_t kFewFeatures = 64;  // for which panels may compute x · kernel beside the recurrent products

template <class Cell>
class PackedWeights {
 public:
  // Whether panels gather products of several gates, which stand side by side, and whether a last gate reads these.
  static constexpr bool kGathers = Cell::gathered > 0;
  static constexpr bool kBetween = Cell::separate && kGathers;

  // How the kernel is packed: not at all, by columns, or by the panels that also gather the recurrent products.
  enum class Kernel { kNone, kColumns, kPanels };

  PackedWeights() = default;
  // Places in `arena` for what a pass reads. Under dropout of x every gate's part of the kernel is packed apart.
  PackedWeights(Arena& arena, const Sizes& z, Kernel packed, int parts, bool recurrent_too) : parts_(parts) {
    if (packed == Kernel::kPanels) place_panels(arena, z);
    if (packed == Kernel::kColumns) kernel = arena.floats(parts * packed_floats(z.features, z.width / parts));
    if (!recurrent_too) return;
    if (kGathers) recurrent = arena.floats(panel_floats(z) * places(z.units));
    if (Cell::separate) last = arena.floats(packed_floats(z.units, z.units));
  }
  // Places for whatever a pass may read.
  PackedWeights(Arena& arena, const Sizes& z) : PackedWeights(arena, z, Kernel::kColumns, 1, true) {
    if (z.features <= kFewFeatures) place_panels(arena, z);
  }

  // Packs share `index` of `of`.
  void pack(const Sizes& z, const float* from_kernel, const float* from_recurrent, int index, int of) const {
    if (panels != nullptr) pack_gathered(z, from_kernel, z.features, index, of, panels);
    if (kernel != nullptr) {
      const int64_t columns = z.width / parts_, each = panels_of(columns);
      for_parts(z.features, share(parts_ * each, index, of), [&](Part k, int64_t p) {
        pack_columns(from_kernel + p / each * columns, z.width, k, columns, p % each,
                     kernel + (p * places(z.features) + places(k.first)) * vectors_for(columns) * kVec);
      });
    }
    if (recurrent != nullptr) pack_gathered(z, from_recurrent, z.units, index, of, recurrent);
    if (last_kernel != nullptr) pack_last(z, from_kernel, z.features, index, of, last_kernel);
    if (last != nullptr) pack_last(z, from_recurrent, z.units, index, of, last);
  }

  // Where a panel of kVec units begins among what is packed by panels, with `depth` rows.
  static float* panel_of(float* packed, int64_t panel, int64_t depth) {
    return packed + panel * places(depth) * Cell::gathered * kVec;
  }

  float* kernel = nullptr;     // by columns, one part after the other
  // Of the gates whose products are gathered by panels; of a last gate whose product stands alone by columns.
  float *panels = nullptr, *last_kernel = nullptr;  // the kernel
  float *recurrent = nullptr, *last = nullptr;      // the recurrent weights

 private:
  void place_panels(Arena& arena, const Sizes& z) {
    if (kGathers) panels = arena.floats(panel_floats(z) * places(z.features));
    if (Cell::separate) last_kernel = arena.floats(packed_floats(z.features, z.units));
  }
  static int64_t panel_floats(const Sizes& z) { return (z.units + kVec - 1) / kVec * Cell::gathered * kVec; }
  static void pack_gathered(const Sizes& z, const float* from, int64_t depth, int index, int of, float* to) {
    for_parts(depth, share((z.units + kVec - 1) / kVec, index, of), [&](Part k, int64_t p) {
      pack_gates(from, z.width, k, z.units, Cell::gathered, p, panel_of(to, p, depth) + places(k.first) * Cell::gathered * kVec);
    });
  }
  static void pack_last(const Sizes& z, const float* from, int64_t depth, int index, int of, float* to) {
    for_parts(depth, share(panels_of(z.units), index, of), [&](Part k, int64_t p) {
      pack_columns(from + (z.gates - 1) * z.units, z.width, k, z.units, p,
                   to + (p * places(depth) + places(k.first)) * vectors_for(z.units) * kVec);
    });
  }
  // Some rows at a time for all panels: their cache lines are then read once, and each page of a large matrix.
  template <class F>
  static void for_parts(int64_t depth, Span panels, const F& f) {
    constexpr int64_t kRows = 8;
    for (int64_t k = 0; k < depth; k += kRows)
      for (int64_t p = panels.first; p < panels.last; ++p) f(Part{k, std::min(kRows, depth - k)}, p);
  }

  int parts_ = 1;
};

}  // namespace OSTINATO_ISA
