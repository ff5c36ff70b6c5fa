// The passes with products in bfloat16: where all numbers are small and whole, no rounding changes any, and results must be
// those of float32 bit for bit. With other numbers they must be within a few roundings. Compiled with OSTINATO_PAIRS and the
// name of the kernels in test; on processors without AVX512-BF16 its instruction is imitated. Prints one line per failure and
// a closing line; exits with 1 if anything failed.
#include "pairs.h"

#include "cases.h"
#include "kernels.h"
#include "threads.h"

namespace OSTINATO_ISA {
extern const ostinato::PairKernels kernels;
}

namespace {

struct Results {
  Floats y, h, c, dx, dh0, dc0, dkernel, drecurrent, dbias;
  std::vector<const Floats*> all() const { return {&y, &h, &c, &dx, &dh0, &dc0, &dkernel, &drecurrent, &dbias}; }
  bool operator==(const Results& other) const {
    for (size_t i = 0; i < all().size(); ++i)
      if (*all()[i] != *other.all()[i]) return false;
    return true;
  }
};
const char* const kNames[] = {"y", "h", "c", "dx", "dh0", "dc0", "dkernel", "drecurrent", "dbias"};

Results run(const Case& t, const Floats& dy, const Floats& dh, const Floats& dc, bool pairs, int count = 1) {
  const PairKernels& with = OSTINATO_ISA::kernels;
  forget_pauses();
  Layer l = t.layer;
  l.threads = count;
  Results r;
  r.y.resize(dy.size()), r.h.resize(dh.size()), r.c.resize(dc.size());
  Floats history(history_floats(l, t.masked));
  const Inputs in = t.inputs();
  const Outputs out{r.y.data(), r.h.data(), r.c.data(), history.data()};
  std::vector<char> work(pairs ? with.forward_bytes(l, in, true) : forward_workspace_bytes(l, in, true));
  pairs ? with.forward(l, in, out, work.data()) : forward(l, in, out, work.data());
  r.dx.resize(t.x.size()), r.dh0.resize(t.h0.size()), r.dc0.resize(t.c0.size());
  r.dkernel.resize(t.kernel.size()), r.drecurrent.resize(t.recurrent.size()), r.dbias.resize(t.biases.size());
  Gradients g;
  g.history = history.data(), g.y = r.y.data(), g.dy = dy.data(), g.dh = dh.data(), g.dc = dc.data();
  g.dx = t.ids ? nullptr : r.dx.data();
  g.dh0 = r.dh0.data(), g.dc0 = r.dc0.data(), g.dkernel = r.dkernel.data(), g.drecurrent = r.drecurrent.data();
  g.dbias = t.bias ? r.dbias.data() : nullptr;
  work.assign(pairs ? with.backward_bytes(l, in) : backward_workspace_bytes(l, in), 0);
  pairs ? with.backward(l, in, g, work.data()) : backward(l, in, g, work.data());
  return r;
}

// -1, 0 and 1, of which about `many` in a hundred are not 0.
Floats whole(int64_t count, int many) {
  Floats values(count);
  for (float& value : values) value = draw(1, 100) > many ? 0.0f : draw(0, 1) ? 1.0f : -1.0f;
  return values;
}
Floats numbers(int64_t count, float size, bool exact) {
  if (exact) return whole(count, size > 0.5f ? 30 : 2);
  Floats values = normal(count, size);
  for (float& value : values) value = OSTINATO_ISA::of_bits(OSTINATO_ISA::to_bfloat16(OSTINATO_ISA::broadcast(value)) << 16)[0];
  return values;
}

Case sized(Cell cell, bool reset_after, int64_t batch, int64_t time, int64_t features, int64_t units, bool exact) {
  Case t;
  Layer& l = t.layer;
  l.cell = cell, l.reset_after = reset_after;
  if (exact) l.activation = l.recurrent_activation = Activation::kLinear;
  l.batch = batch, l.time = time, l.features = features, l.units = units;
  l.go_backwards = draw(0, 1), l.return_sequences = draw(0, 1);
  t.bias = draw(0, 1), t.masked = draw(0, 1), t.ids = draw(0, 3) == 0;
  const int64_t width = t.gates() * units;
  t.x = numbers(batch * time * features, 1, exact), t.h0 = numbers(batch * units, 1, exact), t.c0 = t.h0;
  t.kernel = numbers(features * width, 0.3f, exact), t.recurrent = numbers(units * width, 0.1f, exact);
  t.biases = numbers(width * (cell == Cell::kGru && reset_after ? 2 : 1), 0.3f, exact);
  if (draw(0, 3) == 0) std::fill(t.h0.begin(), t.h0.end(), 0.0f);
  t.has_state = draw(0, 4) != 0;
  for (int64_t i = 0; i < batch * time; ++i) {
    t.tokens.push_back(draw(0, static_cast<int>(features) - 1));
    t.mask.push_back(draw(0, 3) != 0);
  }
  return t;
}

double size_of(const Floats& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum / std::max<size_t>(1, values.size()));
}

void check(const Case& t, bool exact) {
  const Layer& l = t.layer;
  const int64_t outputs = l.return_sequences ? l.batch * l.time * l.units : l.batch * l.units;
  const Floats dy = numbers(outputs, 1, exact), dh = numbers(l.batch * l.units, 1, exact), dc = numbers(l.batch * l.units, 1, exact);
  const Results wanted = run(t, dy, dh, dc, false), found = run(t, dy, dh, dc, true);
  bool differs = false;
  for (size_t i = 0; i < found.all().size(); ++i) {
    const Floats &a = *found.all()[i], &b = *wanted.all()[i];
    if (exact) {
      for (const float value : b) expect(std::fabs(value) <= 1 << 24, t.name() + " is too large to be exact");
      expect(a == b, t.name() + " " + kNames[i] + " is not exact");
      continue;
    }
    Floats errors(a.size());
    for (size_t k = 0; k < a.size(); ++k) errors[k] = a[k] - b[k];
    expect(size_of(errors) <= 0.01 * size_of(b), t.name() + " " + kNames[i] + " is wrong by " +
                                                     std::to_string(size_of(errors) / size_of(b)) + " of its size");
    differs |= size_of(errors) > 0;
  }
  expect(exact || differs || l.time == 1, t.name() + " was not rounded");
  for (const int threads : {2, 3, 8})
    expect(found == run(t, dy, dh, dc, true, threads), t.name() + " differs with " + std::to_string(threads) + " threads");
}

void check_rounding() {
  using namespace OSTINATO_ISA;
  for (int trial = 0; trial < 200000; ++trial) {
    uint32_t bits = random_numbers();
    if (trial % 4 == 0) bits = (bits & 0xFFFF0000) | 0x8000;  // halfway
    if (trial % 16 == 1) bits |= 0x7F800000;                  // infinite or not a number
    if ((bits & 0x7F800000) == 0) continue;                   // the instruction makes denormal numbers 0
    float x, row[2 * kVec], places[kVec];
    std::memcpy(&x, &bits, sizeof x);
    for (float& value : row) value = x;
    round_row(row, 2 * kVec, places);
    uint32_t lane;
    std::memcpy(&lane, places + kVec - 1, sizeof lane);
    uint32_t wanted = bits >> 16;
    const uint32_t rest = bits & 0xFFFF;
    if (x != x)
      wanted |= 0x40;
    else if (rest > 0x8000 || (rest == 0x8000 && wanted % 2 == 1))
      ++wanted;
    expect(to_bfloat16(x) == wanted && to_bfloat16(broadcast(x))[0] == wanted && lane == (wanted << 16 | wanted),
           "rounding of " + std::to_string(bits));
  }
}

}  // namespace

int main(int, char** arguments) {
  const int cases = std::atoi(arguments[1]);
  check_rounding();
  const int64_t batches[] = {1, 2, 3, 5, 16, 41}, features[] = {1, 7, 33, 64, 65, 130}, units[] = {32, 34, 48, 66, 130};
  for (int i = 0; i < cases; ++i)
    for (const bool exact : {true, false}) {
      const Cell cell = static_cast<Cell>(draw(0, 2));
      check(sized(cell, draw(0, 1), batches[draw(0, 5)], draw(1, exact ? 2 : 5), features[draw(0, 5)], units[draw(0, 4)], exact), exact);
    }
  check(sized(Cell::kLstm, true, 40, 4, 100, 256, false), false);  // divided by rows, and by units
  check(sized(Cell::kGru, true, 4, 4, 100, 700, false), false);
  check(sized(Cell::kGru, false, 4, 4, 100, 700, false), false);
  std::printf("%s: %d cases, %d failures\n", instruction_set(), cases, failures);
  return failures == 0 ? 0 : 1;
}
