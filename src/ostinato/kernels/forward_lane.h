// What a cell sees of the forward pass: some units of one row at one step.
#pragma once

#include <initializer_list>

#include "engine.h"
#include "vector.h"

namespace OSTINATO_ISA {

using ostinato::Layer;

// An active row at one step: where its vectors lie.
struct ForwardRow {
  int64_t b;
  const float *h_before, *c_before;
  float *h, *c, *y, *kept, *kept_state;
  const float* x;  // x · kernel of all gates; of token ids the kernel's row. Null where a panel computes it
};

// kVec units of a row at a step, as a cell sees them. `whole`: all of them are there.
template <class Pass, bool whole>
struct ForwardLane {
  Pass& pass;
  const ForwardRow& row;
  const int64_t step, unit;
  const int units;        // that there are
  float* products;  // h · recurrent of the gathered gates, one beside the other
  const float* at;  // x · kernel, gates `stride` apart; with `bias`, that is still to be added
  const int64_t stride;
  const float* input_bias;

  OSTINATO_INLINE int left() const { return whole ? kVec : units; }
  OSTINATO_INLINE const Layer& layer() const { return pass.l_; }
  OSTINATO_INLINE vfloat x(int gate) const {
    const vfloat value = load_first(at + gate * stride, left());
    return input_bias == nullptr ? value : value + load_first(input_bias + gate * pass.z_.units, left());
  }
  OSTINATO_INLINE vfloat product(int gate) const { return load(products + gate * kVec); }
  // For finish(), in the place of a product.
  OSTINATO_INLINE void leave(int gate, vfloat value) const { store(products + gate * kVec, value); }
  OSTINATO_INLINE bool has_bias() const { return pass.in_.bias != nullptr; }
  OSTINATO_INLINE vfloat bias(int block) const {
    return load_first(pass.in_.bias + block * pass.z_.units + unit, left());
  }
  OSTINATO_INLINE vfloat h() const { return load_first(row.h_before + unit, left()); }
  OSTINATO_INLINE vfloat c() const { return load_first(row.c_before + unit, left()); }
  OSTINATO_INLINE vfloat dropped_h(int gate) const {
    const float* h = pass.dropped_ == nullptr ? row.h_before : pass.dropped(gate, row.b, step - 1);
    return load_first(h + unit, left());
  }
  // Keeps vectors for the backward pass, from vector `first` on.
  OSTINATO_INLINE void keep(std::initializer_list<vfloat> values, int first = 0) const {
    if (!pass.keeps_) return;
    float* to = row.kept + unit + first * pass.z_.units;
    for (const vfloat value : values) {
      if (pass.through_)
        store_through(to, value);
      else
        store_first(to, value, left());
      to += pass.z_.units;
    }
  }
  OSTINATO_INLINE void put_between(vfloat value) const {
    store_first(pass.between_ + row.b * pass.z_.units + unit, value, left());
  }
  // From the gathered gates to the separate one, for the same units.
  OSTINATO_INLINE void carry(vfloat value) const {
    store_first(pass.carried_ + row.b * pass.z_.units + unit, value, left());
  }
  OSTINATO_INLINE vfloat carried() const { return load_first(pass.carried_ + row.b * pass.z_.units + unit, left()); }
  OSTINATO_INLINE void put_c(vfloat c) const { store_first(row.c + unit, c, left()); }
  OSTINATO_INLINE void put_h(vfloat h) const {
    store_first(row.h + unit, h, left());
    store_first(row.y + unit, h, left());
    if (row.kept_state != nullptr) store_first(row.kept_state + unit, h, left());
    if (pass.dropped_ == nullptr) return;
    for (int gate = 0; gate < pass.z_.gates; ++gate)
      store_first(pass.dropped(gate, row.b, step) + unit,
                  h * load_first(pass.recurrent_mask(gate, row.b) + unit, left()), left());
  }
};

}  // namespace OSTINATO_ISA
