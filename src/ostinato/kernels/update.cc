// The optimizer's step for one instruction set; CMake compiles this file once for each, without contraction.
//
// Two walks over blocks of weights, each by whichever thread is free. The first adds up the squares of the gradients, and the
// rows of tables; the second updates, so that a weight, its slots and its gradient pass through the caches once.
#include "update.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels.h"
#include "threads.h"
#include "vector.h"

#if defined(__clang__)
#define OSTINATO_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define OSTINATO_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace OSTINATO_ISA {
namespace {

using ostinato::Rule;
using ostinato::Step;
using ostinato::Weight;

constexpr int64_t kBlock = 8192;            // floats: a block of Adam's is 7 × 32 KiB, in L2
constexpr int64_t kLeastShared = 4 * kBlock;  // below it, waking a thread takes longer than the work

double squares(const float* g, int64_t count) {
  constexpr int kSums = 4;
  vfloat sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kVec <= count; i += kSums * kVec) {
    OSTINATO_UNROLL
    for (int k = 0; k < kSums; ++k) {
      const vfloat x = load(g + i + k * kVec);
      sums[k] += x * x;
    }
  }
  double total = 0;
  for (; i < count; ++i) total += static_cast<double>(g[i]) * g[i];
  const vfloat all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  for (int lane = 0; lane < kVec; ++lane) total += all[lane];
  return total;
}

// Where a part of a weight is: pointers to its first float.
struct Part {
  const float *value, *first, *second, *gradient;
  float *new_value, *new_first, *new_second;
};

template <Rule rule, bool decays, bool has_gradient>
void apply(const Step& step, float scale, const Part& part, int64_t count) {
  const auto [value, first, second, gradient, new_value, new_first, new_second] = part;
  const float rate = step.rate, step_size = step.step_size, momentum = step.momentum, epsilon = step.epsilon;
  const float first_share = step.first_share, second_share = step.second_share, decay = step.decay;
  OSTINATO_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float g = has_gradient ? gradient[i] * scale : 0.0f;
    float w = value[i];
    if (decays) w -= w * decay * rate;
    if constexpr (rule == Rule::kSgd) {
      new_value[i] = w - g * rate;
    } else if constexpr (rule == Rule::kAdam) {
      const float m = first[i] + (g - first[i]) * first_share;
      const float v = second[i] + (g * g - second[i]) * second_share;
      new_first[i] = m;
      new_second[i] = v;
      new_value[i] = w - m * step_size / (std::sqrt(v) + epsilon);
    } else {
      const float m = first[i] * momentum - g * rate;
      new_first[i] = m;
      new_value[i] = w + (rule == Rule::kNesterov ? m * momentum - g * rate : m);
    }
  }
}

using Apply = void (*)(const Step&, float scale, const Part&, int64_t count);

template <Rule rule>
Apply of_rule(bool decays, bool has_gradient) {
  if (decays) return has_gradient ? apply<rule, true, true> : apply<rule, true, false>;
  return has_gradient ? apply<rule, false, true> : apply<rule, false, false>;
}

Apply chosen(Rule rule, bool decays, bool has_gradient) {
  switch (rule) {
    case Rule::kSgd: return of_rule<Rule::kSgd>(decays, has_gradient);
    case Rule::kMomentum: return of_rule<Rule::kMomentum>(decays, has_gradient);
    case Rule::kNesterov: return of_rule<Rule::kNesterov>(decays, has_gradient);
    default: return of_rule<Rule::kAdam>(decays, has_gradient);
  }
}

// The rows of a table's gradient, in the table's order, each once.
struct Rows {
  std::vector<int32_t> before;  // how many rows of the gradient come before each row of the table, and in all
  std::vector<int32_t> found;   // which rows of the table have a gradient
  std::vector<int32_t> starts;  // where the entries of each of them begin in `entries`, and in all
  std::vector<int32_t> entries;
  std::vector<float> sums;      // (found, width)

  explicit Rows(const Weight& weight) : before(weight.size / weight.width + 1) {
    const int64_t table = weight.size / weight.width;
    std::vector<int32_t> at(table);
    for (int64_t i = 0; i < weight.count; ++i) ++at[weight.rows[i]];
    int32_t entry = 0;
    for (int64_t row = 0; row < table; ++row) {
      before[row] = static_cast<int32_t>(found.size());
      if (at[row] == 0) continue;
      found.push_back(static_cast<int32_t>(row));
      starts.push_back(entry);
      entry += at[row];
      at[row] = starts.back();
    }
    before[table] = static_cast<int32_t>(found.size());
    starts.push_back(entry);
    entries.resize(weight.count);
    for (int64_t i = 0; i < weight.count; ++i) entries[at[weight.rows[i]]++] = static_cast<int32_t>(i);
    sums.resize(found.size() * weight.width);
  }

  // Adds up the entries of some of the rows that have any, in the order in which they are given.
  void add_up(const Weight& weight, int64_t begin, int64_t end) {
    const int64_t width = weight.width;
    for (int64_t place = begin; place < end; ++place) {
      float* sum = sums.data() + place * width;
      for (int32_t entry = starts[place]; entry < starts[place + 1]; ++entry) {
        const float* from = weight.gradient + entries[entry] * width;
        const bool adds = entry > starts[place];
        for (int64_t i = 0; i < width; ++i) sum[i] = adds ? sum[i] + from[i] : from[i];
      }
    }
  }
};

struct Block {
  const Weight* weight;
  Rows* rows;          // or null
  int64_t begin, end;  // floats; of a table whole rows
};

void update_part(const Step& step, float scale, const Weight& weight, int64_t begin, int64_t end, const float* gradient) {
  const auto at = [begin](auto* data) { return data == nullptr ? nullptr : data + begin; };
  const Part part = {at(weight.value),     at(weight.slots[0]),     at(weight.slots[1]),    gradient,
                     at(weight.new_value), at(weight.new_slots[0]), at(weight.new_slots[1])};
  chosen(step.rule, weight.decays, gradient != nullptr)(step, scale, part, end - begin);
}

// Rows with a gradient and rows without take turns.
void update_rows(const Step& step, float scale, const Block& block) {
  const Weight& weight = *block.weight;
  const Rows& rows = *block.rows;
  const int64_t width = weight.width, end = block.end / width;
  int64_t row = block.begin / width;
  while (row < end) {
    const int64_t place = rows.before[row];
    const bool has_gradient = rows.before[row + 1] > place;
    int64_t next = row + 1;
    while (next < end && (rows.before[next + 1] > rows.before[next]) == has_gradient) ++next;
    update_part(step, scale, weight, row * width, next * width,
                has_gradient ? rows.sums.data() + place * width : nullptr);
    row = next;
  }
}

void cut(const Weight& weight, Rows* rows, int64_t size, std::vector<Block>& blocks) {
  const int64_t width = rows == nullptr ? 1 : weight.width;
  const int64_t most = std::max<int64_t>(1, kBlock / width) * width;
  for (int64_t begin = 0; begin < size; begin += most) {
    blocks.push_back({&weight, rows, begin, std::min(size, begin + most)});
  }
}

template <class Work>
void walk(ostinato::Team& team, size_t count, const Work& work) {
  std::atomic<size_t> next{0};
  team.run([&](int) {
    for (size_t i = next++; i < count; i = next++) work(i);
  });
}

}  // namespace

float update(const Step& step, const std::vector<Weight>& weights, int threads) {
  std::vector<Rows> tables;
  tables.reserve(weights.size());
  std::vector<Block> first_walk, second_walk;
  int64_t floats = 0;
  for (const Weight& weight : weights) {
    if (weight.size == 0) continue;
    floats += weight.size;
    Rows* rows = weight.rows == nullptr ? nullptr : &tables.emplace_back(weight);
    if (rows != nullptr) cut(weight, rows, static_cast<int64_t>(rows->sums.size()), first_walk);
    if (rows == nullptr && step.wants_norm) cut(weight, rows, weight.size, first_walk);
    cut(weight, rows, weight.size, second_walk);
  }
  ostinato::Team team(floats < kLeastShared ? 1 : threads, 10.0 * static_cast<double>(floats));

  std::vector<double> sums(first_walk.size());
  walk(team, first_walk.size(), [&](size_t i) {
    const auto [weight, rows, begin, end] = first_walk[i];
    if (rows != nullptr) rows->add_up(*weight, begin / weight->width, end / weight->width);
    if (step.wants_norm) sums[i] = squares((rows != nullptr ? rows->sums.data() : weight->gradient) + begin, end - begin);
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  // In float32, so that a gradient whose squares overflow shows, whatever the sizes of the weights.
  const float norm = std::sqrt(static_cast<float>(sum)) / step.divisor;
  float scale = 1.0f / step.divisor;
  if (step.wants_norm && norm > step.clip) scale *= step.clip / norm;

  walk(team, second_walk.size(), [&](size_t i) {
    const Block& block = second_walk[i];
    if (block.rows != nullptr) return update_rows(step, scale, block);
    update_part(step, scale, *block.weight, block.begin, block.end, block.weight->gradient + block.begin);
  });
  return step.wants_norm ? norm : 0.0f;
}

}  // namespace OSTINATO_ISA
