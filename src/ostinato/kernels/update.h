// One step of an optimizer for all weights of a network: SGD, with momentum or Nesterov's, and Adam, each with decoupled
// weight decay and clipping by the global norm.
//
//   ĝ = g / divisor · min(1, clip / ‖g / divisor‖)        the norm is that of all gradients together
//   w ← w − (w · decay) · rate                            of a weight that decays
//   SGD        w ← w − ĝ · rate
//   momentum   m ← m · momentum − ĝ · rate                w ← w + m
//   Nesterov   m as above                                 w ← w + (m · momentum − ĝ · rate)
//   Adam       m ← m + (ĝ − m) · (1 − β₁)                 v ← v + (ĝ² − v) · (1 − β₂)
//              w ← w − (m · step_size) / (√v + ε)         step_size = rate · √(1 − β₂ᵗ) / (1 − β₁ᵗ)
//
// These are Keras' operations in Keras' order, none contracted: an update without clipping has its bits. The gradient of a
// table may come as rows; rows that are given more than once are added up first, and the others have a gradient of zero.
#pragma once

#include <cstdint>
#include <vector>

namespace ostinato {

enum class Rule : int32_t { kSgd, kMomentum, kNesterov, kAdam };

struct Step {
  Rule rule = Rule::kSgd;
  float rate = 0, step_size = 0;
  float momentum = 0;
  float first_share = 0, second_share = 0;  // 1 − β₁ and 1 − β₂
  float epsilon = 0;
  float decay = 0;
  float divisor = 1;
  float clip = 0;          // infinity never clips
  bool wants_norm = true;  // else nothing clips
};

struct Weight {
  int64_t size = 0;
  const float* value = nullptr;
  const float* slots[2] = {};  // m and v, where the rule has them
  float* new_value = nullptr;  // may be the gradient's memory, unless that has rows
  float* new_slots[2] = {};
  const float* gradient = nullptr;   // (size,), or (count, width) with rows
  const int32_t* rows = nullptr;     // (count,), each below size / width; or null
  int64_t count = 0, width = 1;
  bool decays = false;
};

// Returns ‖g / divisor‖, or zero where it is not wanted. Results do not depend on the number of threads.
float update(const Step& step, const std::vector<Weight>& weights, int threads);

}  // namespace ostinato
