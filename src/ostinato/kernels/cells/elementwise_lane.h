// What an element-wise recurrence sees: kVec units of one row at one step.
#pragma once

#ifdef OSTINATO_ISA
#include "activations.h"

namespace OSTINATO_ISA {

// Arrays have at least one element.
constexpr int some(int count) { return count > 0 ? count : 1; }

template <class Cell>
struct ElementwiseLane {
  vfloat sum[Cell::sums], before[Cell::states], constant[some(Cell::constants)], x;
};
template <class Cell>
struct ElementwiseGradient {
  vfloat sum[Cell::sums], state[Cell::states], constant[some(Cell::constants)], x;
};

// minGRU's and minLSTM's candidate is positive in the form that the papers' parallel scan in log space needs:
// g(x) = x + 1/2 for x ≥ 0, else σ(x).
struct Candidate {
  vfloat value, slope;
};
template <bool positive>
OSTINATO_INLINE Candidate candidate(vfloat sum) {
  if (!positive) return {sum, broadcast(1.0f)};
  const vfloat s = sigmoid(sum);
  return {select(sum >= 0.0f, sum + 0.5f, s), select(sum >= 0.0f, broadcast(1.0f), s * (1.0f - s))};
}

}  // namespace OSTINATO_ISA
#endif
