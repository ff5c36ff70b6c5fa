// The passes of rowwise.h for one instruction set; CMake compiles this file once for each.
//
// A step is the recurrent product of all rows, which threads share by columns or by rows, and then the equations, row by row.
// Rows belong to groups that depend on the batch alone; each has its own sums of the gradients that rows share.
#include "rowwise.h"

#include <array>
#include <vector>

#include "packed_product.h"
#include "rowwise_equations.h"

namespace OSTINATO_ISA {
namespace {

using ostinato::RowwiseGradients;
using ostinato::RowwiseOutputs;

constexpr int64_t kMostRowGroups = 8;
constexpr int64_t kSumsFloats = 262144;  // products of x that are made at a time: 1 MB
constexpr int64_t kLargeWeights = int64_t{3} << 19;  // bytes; beyond, each thread keeps a part of them

Division divide(const Rowwise& l) {
  const double weights = static_cast<double>((l.outputs * l.width() + (l.projects ? l.units * l.outputs : 0)));
  const double step = 2.0 * l.batch * weights + 60.0 * l.batch * l.width();
  const double work = step * l.time + 2.0 * l.batch * l.time * l.features * l.width();
  if (work < 2e5 || l.threads <= 1) return {1, 0, true, work, step};
  const int64_t groups = std::min(kMostRowGroups, l.batch);
  if (step > 6e4 && panels_of(l.width()) >= l.threads && (l.batch < 6 * l.threads || weights * 4 > kLargeWeights))
    return {l.threads, 0, false, work, step};
  return {static_cast<int>(std::min<int64_t>(l.threads, groups)), 0, true, work, step};
}

class RowwisePass : protected Meeting {
 protected:
  RowwisePass(const Rowwise& layer, const RowwiseInputs& in)
      : Meeting(divide(layer)), l_(layer), in_(in), equations_(l_, in_), groups_(std::min(kMostRowGroups, layer.batch)) {
    for (int i = 0; i < division_.threads; ++i) {
      sums_[i].resize(static_cast<size_t>(kChunkRows * 4 * kVec));
      scratch_[i].resize(static_cast<size_t>(equations_.scratch_floats()));
    }
  }

  int64_t place(int64_t b, int64_t step) const { return b * l_.time + (l_.go_backwards ? l_.time - 1 - step : step); }
  bool skips(int64_t b, int64_t step) const { return in_.mask != nullptr && !in_.mask[place(b, step)]; }
  int64_t y_row(int64_t b, int64_t step) const { return l_.return_sequences ? b * l_.time + step : b; }

  // The rows of a group; the groups of a thread.
  Span rows_of(int64_t group) const { return share(l_.batch, group, groups_); }
  Span groups_of(int index) const { return share(groups_, index, threads_); }
  template <class F>
  void for_rows(int index, const F& f) const {
    const Span groups = groups_of(index);
    for (int64_t group = groups.first; group < groups.last; ++group)
      for (int64_t b = rows_of(group).first; b < rows_of(group).last; ++b) f(b, group);
  }
  // Of a product with all rows that the steps do not skip, what a thread computes: some columns, or its own rows.
  template <class From, class To>
  void multiply_rows(int index, Span steps, const Packed& right, bool onto, const From& from, const To& to) {
    std::vector<const float*>& a = from_[index];
    std::vector<float*>& out = to_[index];
    a.clear(), out.clear();
    const Span groups = by_units_ ? Span{0, groups_} : groups_of(index);
    if (groups.count() == 0) return;
    for (int64_t b = rows_of(groups.first).first; b < rows_of(groups.last - 1).last; ++b)
      for (int64_t step = steps.first; step < steps.last; ++step)
        if (!skips(b, step)) a.push_back(from(b, step)), out.push_back(to(b, step));
    Multiplication p{a.data(), out.data(), static_cast<int64_t>(a.size()), right.depth, right.columns, right.floats.data()};
    p.onto = onto;
    p.streams = right.depth * right.columns * 4 / (by_units_ ? threads_ : 1) > (int64_t{5} << 18);
    multiply(p, sums_[index].data(), panels_at_step(right.panels(), index));
  }
  const int32_t* bits(int64_t b, int64_t step) const {
    return in_.bits == nullptr ? nullptr : in_.bits + place(b, step) * std::max(l_.outputs, l_.units);
  }
  OSTINATO_INLINE vfloat kept_h(int64_t b, int64_t step, int64_t unit, int left) const {
    return kept_part(bits(b, step), 0, l_.zoneout_h, unit, left);
  }

  const Rowwise l_;
  const RowwiseInputs in_;
  const Equations equations_;
  const int64_t groups_;
  std::vector<float> sums_[ostinato::kMostThreads], scratch_[ostinato::kMostThreads];
  std::vector<const float*> from_[ostinato::kMostThreads];
  std::vector<float*> to_[ostinato::kMostThreads];
};

// What the forward pass keeps: of each step of each row the floats of KeptOf, the cell state after it, m where that is
// projected, and h where y lacks it.
struct RowwiseHistory {
  float *gates, *cells, *inner, *states;
  int64_t floats = 0;
  RowwiseHistory(float* block, const Rowwise& l, bool masked) {
    const int64_t steps = l.batch * l.time;
    const auto take = [&](bool wanted, int64_t count) -> float* {
      if (!wanted) return nullptr;
      float* piece = block == nullptr ? nullptr : block + floats;
      floats += up(count, kAlign);
      return piece;
    };
    gates = take(true, steps * KeptOf(l).floats);
    cells = take(l.has_c(), steps * l.units);
    inner = take(l.projects, steps * l.units);
    states = take(masked || !l.return_sequences, steps * l.outputs);
  }
};

class RowwiseForward : RowwisePass {
 public:
  RowwiseForward(const Rowwise& layer, const RowwiseInputs& in, const RowwiseOutputs& out)
      : RowwisePass(layer, in), out_(out), history_(out.history, layer, in.mask != nullptr), keeps_(out.history != nullptr),
        products_(static_cast<size_t>(l_.batch * l_.width())), fresh_(static_cast<size_t>(l_.batch * l_.units)) {
    recurrent_.make(l_.outputs, l_.width());
    if (in.ids == nullptr) {
      kernel_.make(l_.features, l_.width());
      stretch_ = std::max<int64_t>(1, std::min(l_.time, kSumsFloats / std::max<int64_t>(1, l_.batch * l_.width())));
      products_of_x_.resize(static_cast<size_t>(l_.batch * stretch_ * l_.width()));
    }
    if (l_.projects) projection_.make(l_.units, l_.outputs), projected_.resize(static_cast<size_t>(l_.batch * l_.outputs));
  }
  void run() {
    run_all(
        static_cast<double>(recurrent_.floats.size() + kernel_.floats.size()),
        [this](int index, int of) {
          recurrent_.pack(in_.recurrent, false, index, of);
          if (in_.ids == nullptr) kernel_.pack(in_.kernel, false, index, of);
          if (l_.projects) projection_.pack(in_.projection, false, index, of);
          const Span rows = share(l_.batch, index, of);
          std::copy_n(in_.h0 + rows.first * l_.outputs, rows.count() * l_.outputs, out_.h + rows.first * l_.outputs);
          if (l_.has_c()) std::copy_n(in_.c0 + rows.first * l_.units, rows.count() * l_.units, out_.c + rows.first * l_.units);
          if (!l_.return_sequences) std::fill_n(out_.y + rows.first * l_.outputs, rows.count() * l_.outputs, 0.0f);
        },
        [this](int index, int64_t) {
          for (int64_t step = 0; step < l_.time; ++step) one_step(index, step);
        });
  }

 private:
  void one_step(int index, int64_t step) {
    if (in_.ids == nullptr && step % stretch_ == 0)
      multiply_rows(index, {step, std::min(l_.time, step + stretch_)}, kernel_, false,
                    [&](int64_t b, int64_t at) { return in_.x + place(b, at) * l_.features; },
                    [&](int64_t b, int64_t at) { return const_cast<float*>(of_x(b, at)); });
    multiply_rows(index, {step, step + 1}, recurrent_, false, [&](int64_t b, int64_t) { return h(b); },
                  [&](int64_t b, int64_t) { return products_.data() + b * l_.width(); });
    meet_if_by_units();
    for_rows(index, [&](int64_t b, int64_t) {
      if (skips(b, step)) return skip(b, step);
      float* const kept = keeps_ ? history_.gates + (b * l_.time + step) * equations_.kept().floats : nullptr;
      equations_.forward({of_x(b, step), products_.data() + b * l_.width(), h(b), fresh(b), c(b),
                          bits(b, step), kept},
                         scratch_[index].data());
      if (keeps_ && l_.has_c()) copy_row(c(b), history_.cells, b, step, l_.units);
      if (keeps_ && l_.projects) copy_row(fresh(b), history_.inner, b, step, l_.units);
      if (!l_.projects) finish(b, step, fresh(b));
    });
    if (l_.projects) {
      meet_if_by_units();
      multiply_rows(index, {step, step + 1}, projection_, false, [&](int64_t b, int64_t) { return fresh(b); },
                    [&](int64_t b, int64_t) { return projected_.data() + b * l_.outputs; });
      meet_if_by_units();
      for_rows(index, [&](int64_t b, int64_t) {
        if (!skips(b, step)) finish(b, step, projected_.data() + b * l_.outputs);
      });
    }
    meet_if_by_units();
  }
  // From h* to h.
  void finish(int64_t b, int64_t step, const float* fresh) {
    float *const h = this->h(b), *const y = out_.y + y_row(b, step) * l_.outputs;
    for_row(l_.outputs, [&](int64_t unit, int left) {
      const vfloat kept = kept_h(b, step, unit, left);  // what is kept whole keeps its bits
      const vfloat value = kept * load_first(h + unit, left) + (1.0f - kept) * load_first(fresh + unit, left);
      store_first(h + unit, value, left);
      store_first(y + unit, value, left);
    });
    if (keeps_ && history_.states != nullptr) copy_row(h, history_.states, b, step, l_.outputs);
  }
  void skip(int64_t b, int64_t step) {
    if (keeps_ && l_.has_c()) copy_row(c(b), history_.cells, b, step, l_.units);
    if (keeps_) copy_row(h(b), history_.states, b, step, l_.outputs);
    float* const y = out_.y + y_row(b, step) * l_.outputs;
    if (l_.zero_output_for_mask || (l_.return_sequences && step == 0)) std::fill_n(y, l_.outputs, 0.0f);
    else if (l_.return_sequences) std::copy_n(y - l_.outputs, l_.outputs, y);
  }
  void copy_row(const float* from, float* to, int64_t b, int64_t step, int64_t count) const {
    std::copy_n(from, count, to + (b * l_.time + step) * count);
  }
  const float* of_x(int64_t b, int64_t step) const {
    if (in_.ids != nullptr) return in_.kernel + in_.ids[place(b, step)] * l_.width();
    return products_of_x_.data() + (b * stretch_ + step % stretch_) * l_.width();
  }
  float* h(int64_t b) const { return out_.h + b * l_.outputs; }
  float* c(int64_t b) const { return l_.has_c() ? out_.c + b * l_.units : nullptr; }
  float* fresh(int64_t b) { return fresh_.data() + b * l_.units; }

  const RowwiseOutputs out_;
  const RowwiseHistory history_;
  const bool keeps_;
  Packed kernel_, recurrent_, projection_;
  int64_t stretch_ = 1;  // steps whose products of x are made together
  std::vector<float> products_of_x_, products_, fresh_, projected_;
};

class RowwiseBackward : RowwisePass {
  static constexpr int64_t kDepth = TransposedProduct::kDepth;
  static constexpr int64_t kStretchFloats = 1048576;     // deltas that are kept: 4 MB

 public:
  RowwiseBackward(const Rowwise& layer, const RowwiseInputs& in, const RowwiseGradients& out)
      : RowwisePass(layer, in), out_(out), history_(const_cast<float*>(out.history), layer, in.mask != nullptr),
        of_groups_(static_cast<size_t>(groups_ * parts())), dh_(static_cast<size_t>(l_.batch * l_.outputs)) {
    stretch_ = std::max<int64_t>(1, std::min<int64_t>(l_.time, kStretchFloats / std::max<int64_t>(1, l_.batch * l_.width())));
    recurrent_.make(l_.width(), l_.outputs);
    if (out.dx != nullptr) kernel_.make(l_.width(), l_.features);
    dsums_.resize(static_cast<size_t>(l_.batch * stretch_ * l_.width()));
    if (l_.own_deltas()) dproducts_.resize(static_cast<size_t>(l_.batch * stretch_ * l_.width()));
    if (l_.projects) {
      projection_.make(l_.outputs, l_.units);
      dstars_.resize(static_cast<size_t>(l_.batch * stretch_ * l_.outputs));
      dfresh_.resize(static_cast<size_t>(l_.batch * l_.units));
    } else {
      dstars_.resize(dh_.size());
    }
    if (in.mask != nullptr && !l_.zero_output_for_mask) handed_.resize(dh_.size());
    for (int i = 0; i < division_.threads; ++i) transposed_[i].make(std::max({l_.outputs, l_.units, l_.features}));
  }
  void run() {
    run_all(
        static_cast<double>(recurrent_.floats.size() + kernel_.floats.size()),
        [this](int index, int of) {
          recurrent_.pack(in_.recurrent, true, index, of);
          if (out_.dx != nullptr) kernel_.pack(in_.kernel, true, index, of);
          clear(out_.dkernel, l_.features * l_.width(), index, of);
          if (l_.projects) projection_.pack(in_.projection, true, index, of);
          const Span rows = share(l_.batch, index, of);
          std::copy_n(out_.dh + rows.first * l_.outputs, rows.count() * l_.outputs, dh_.data() + rows.first * l_.outputs);
          if (l_.has_c()) std::copy_n(out_.dc + rows.first * l_.units, rows.count() * l_.units, out_.dc0 + rows.first * l_.units);
          clear(out_.drecurrent, l_.outputs * l_.width(), index, of);
          if (l_.projects) clear(out_.dprojection, l_.units * l_.outputs, index, of);
        },
        [this](int index, int64_t) { walk(index); });
    std::copy(dh_.begin(), dh_.end(), out_.dh0);
    add_groups(out_.dvectors, 0, l_.vectors());
    if (in_.bias != nullptr) add_groups(out_.dbias, l_.vectors(), l_.biases());
  }

 private:
  int64_t parts() const { return l_.vectors() + l_.biases(); }
  static void clear(float* values, int64_t count, int index, int of) {
    const Span mine = share(count, index, of);
    std::fill_n(values + mine.first, mine.count(), 0.0f);
  }

  void walk(int index) {
    for (int64_t last = l_.time; last > 0; last -= std::min(last, stretch_)) {
      const int64_t first = std::max<int64_t>(0, last - stretch_);
      for (int64_t step = last - 1; step >= first; --step) one_step(index, step, first);
      meet(division_.step);
      sum_up(index, {first, last});
      meet(division_.step * static_cast<double>(last - first));
    }
  }

  void one_step(int index, int64_t step, int64_t first) {
    for_rows(index, [&](int64_t b, int64_t group) {
      if (skips(b, step)) return skip(b, step);
      star_gradient(b, step, first);
      if (!l_.projects) equations(index, b, step, first, group, dstar(b, step, first));
    });
    if (l_.projects) {
      meet_if_by_units();
      multiply_rows(index, {step, step + 1}, projection_, false, [&](int64_t b, int64_t) { return dstar(b, step, first); },
                    [&](int64_t b, int64_t) { return dfresh_.data() + b * l_.units; });
      meet_if_by_units();
      for_rows(index, [&](int64_t b, int64_t group) {
        if (!skips(b, step)) equations(index, b, step, first, group, dfresh_.data() + b * l_.units);
      });
    }
    meet_if_by_units();
    multiply_rows(index, {step, step + 1}, recurrent_, true, [&](int64_t b, int64_t) { return dproduct(b, step, first); },
                  [&](int64_t b, int64_t) { return dh_.data() + b * l_.outputs; });
    meet_if_by_units();
  }

  // From the gradients of h and of the output to that of h*; dh_ is left with what h takes from the state before it directly.
  void star_gradient(int64_t b, int64_t step, int64_t first) {
    const float* const given = l_.return_sequences || step == l_.time - 1 ? out_.dy + y_row(b, step) * l_.outputs : nullptr;
    float *const dh = dh_.data() + b * l_.outputs, *const star = dstar(b, step, first), *const handed = handed_of(b);
    for_row(l_.outputs, [&](int64_t unit, int left) {
      vfloat d = load_first(dh + unit, left);
      if (given != nullptr) d += load_first(given + unit, left);
      if (handed != nullptr) d += load_first(handed + unit, left), store_first(handed + unit, vfloat{}, left);
      const vfloat kept = d * kept_h(b, step, unit, left);
      store_first(star + unit, d - kept, left);
      store_first(dh + unit, kept, left);
    });
  }
  void equations(int index, int64_t b, int64_t step, int64_t first, int64_t group, const float* dfresh) {
    float* const shared = of_groups_.data() + group * parts();
    equations_.backward(
        {state(b, step - 1), cell(b, step - 1),
         history_.gates + (b * l_.time + step) * equations_.kept().floats, dfresh, l_.has_c() ? out_.dc0 + b * l_.units : nullptr,
         bits(b, step), dh_.data() + b * l_.outputs, dsum(b, step, first), dproduct(b, step, first), shared,
         in_.bias == nullptr ? nullptr : shared + l_.vectors()},
        scratch_[index].data());
  }
  void skip(int64_t b, int64_t step) {
    if (out_.dx != nullptr) std::fill_n(out_.dx + place(b, step) * l_.features, l_.features, 0.0f);
    float* const handed = handed_of(b);
    if (handed == nullptr || !(l_.return_sequences || step == l_.time - 1)) return;
    const float* const given = out_.dy + y_row(b, step) * l_.outputs;
    for_row(l_.outputs, [&](int64_t unit, int left) {
      store_first(handed + unit, load_first(handed + unit, left) + load_first(given + unit, left), left);
    });
  }

  // Where things lie.
  const float* state(int64_t b, int64_t step) const {
    if (step < 0) return in_.h0 + b * l_.outputs;
    return (history_.states != nullptr ? history_.states : out_.y) + (b * l_.time + step) * l_.outputs;
  }
  const float* cell(int64_t b, int64_t step) const {
    if (!l_.has_c()) return nullptr;
    return step < 0 ? in_.c0 + b * l_.units : history_.cells + (b * l_.time + step) * l_.units;
  }
  float* dsum(int64_t b, int64_t step, int64_t first) { return dsums_.data() + (b * stretch_ + step - first) * l_.width(); }
  float* dproduct(int64_t b, int64_t step, int64_t first) {
    if (!l_.own_deltas()) return dsum(b, step, first);
    return dproducts_.data() + (b * stretch_ + step - first) * l_.width();
  }
  float* dstar(int64_t b, int64_t step, int64_t first) {
    return dstars_.data() + (l_.projects ? b * stretch_ + step - first : b) * l_.outputs;
  }
  float* handed_of(int64_t b) { return handed_.empty() ? nullptr : handed_.data() + b * l_.outputs; }

  // The gradients of the matrices and of x, over the steps of a stretch: threads share the columns of those, and the rows of x.
  void sum_up(int index, Span steps) {
    const float *x[kDepth], *dsums[kDepth], *left[kDepth], *right[kDepth], *inner[kDepth], *star[kDepth];
    float* dx[kDepth];
    int64_t count = 0;
    const auto mine = [&](int64_t columns) { return share(panels_of(columns), index, threads_); };
    const auto flush = [&] {
      TransposedProduct& product = transposed_[index];
      if (in_.ids == nullptr) product.add(x, l_.features, dsums, l_.width(), count, mine(l_.width()), out_.dkernel);
      if (out_.dx != nullptr) {
        const Span rows = share(count, index, threads_);
        multiply({dsums + rows.first, dx + rows.first, rows.count(), l_.width(), l_.features, kernel_.floats.data()},
                 sums_[index].data());
      }
      product.add(left, l_.outputs, right, l_.width(), count, mine(l_.width()), out_.drecurrent);
      if (l_.projects) product.add(inner, l_.units, star, l_.outputs, count, mine(l_.outputs), out_.dprojection);
      count = 0;
    };
    for (int64_t b = 0; b < l_.batch; ++b)
      for (int64_t step = steps.first; step < steps.last; ++step) {
        if (skips(b, step)) continue;
        const int64_t at = place(b, step);
        dsums[count] = dsum(b, step, steps.first);
        if (in_.ids != nullptr) add_row(index, in_.ids[at], dsums[count]);
        else x[count] = in_.x + at * l_.features;
        if (out_.dx != nullptr) dx[count] = out_.dx + at * l_.features;
        left[count] = state(b, step - 1), right[count] = dproduct(b, step, steps.first);
        if (l_.projects) inner[count] = history_.inner + (b * l_.time + step) * l_.units, star[count] = dstar(b, step, steps.first);
        if (++count == kDepth) flush();
      }
    if (count > 0) flush();
  }
  void add_row(int index, int64_t id, const float* dsums) {
    const Span columns = share(l_.width(), index, threads_);
    float* const to = out_.dkernel + id * l_.width();
    for (int64_t j = columns.first; j < columns.last; ++j) to[j] += dsums[j];
  }
  void add_groups(float* to, int64_t first, int64_t count) const {
    std::fill_n(to, count, 0.0f);
    for (int64_t group = 0; group < groups_; ++group)
      for (int64_t i = 0; i < count; ++i) to[i] += of_groups_[static_cast<size_t>(group * parts() + first + i)];
  }

  const RowwiseGradients out_;
  const RowwiseHistory history_;
  int64_t stretch_ = 1;
  Packed kernel_, recurrent_, projection_;  // transposed
  std::vector<float> of_groups_;   // (groups, parts): sums of the gradients of vectors and biases
  std::vector<float> dh_, dsums_, dproducts_, dstars_, dfresh_, handed_;
  TransposedProduct transposed_[ostinato::kMostThreads];
};

}  // namespace

int64_t rowwise_history(const Rowwise& layer, bool masked) { return RowwiseHistory(nullptr, layer, masked).floats; }
void rowwise_forward(const Rowwise& layer, const RowwiseInputs& in, const RowwiseOutputs& out) {
  RowwiseForward(layer, in, out).run();
}
void rowwise_backward(const Rowwise& layer, const RowwiseInputs& in, const RowwiseGradients& out) {
  RowwiseBackward(layer, in, out).run();
}

}  // namespace OSTINATO_ISA
