// The largest errors of the engine's exp, sigmoid and tanh, over floats of every sign and exponent.
//
//   bounds_test STEP        every STEP-th bit pattern from 0 to 2^32 - 1: with 1 all floats there are
//
// Prints for each function the largest error in units of the last place of the true result, the largest error itself, and
// the inputs where they are. The truth is the C library's, in double precision.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "vector.h"

using namespace OSTINATO_ISA;

namespace {

struct Worst {
  double ulp = 0, error = 0;
  float at_ulp = 0, at_error = 0;

  void take(const Worst& other) {
    if (other.ulp > ulp) ulp = other.ulp, at_ulp = other.at_ulp;
    if (other.error > error) error = other.error, at_error = other.at_error;
  }
};

// Not below that of 2^-100: what vanishes beside any sum may be less exact.
double unit_in_the_last_place(double value) {
  const float rounded = std::fmax(std::fabs(static_cast<float>(value)), 0x1p-100f);
  return std::nextafter(rounded, INFINITY) - static_cast<double>(rounded);
}

struct Function {
  const char* name;
  vfloat (*ours)(vfloat);
  double (*truth)(double);
  double least, most;  // of the inputs whose results are compared
};

const Function kFunctions[] = {
    {"exp", [](vfloat x) { return exp(x); }, [](double x) { return std::exp(x); }, kLeastExponent, 88},
    {"expm1", [](vfloat x) { return exp_less_one(x); }, [](double x) { return std::expm1(x); }, -INFINITY, 1},
    {"sigmoid", [](vfloat x) { return sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, -87, INFINITY},
    {"tanh", [](vfloat x) { return tanh(x); }, [](double x) { return std::tanh(x); }, -INFINITY, INFINITY},
};

Worst worst_of(const Function& function, uint64_t first, uint64_t last, uint64_t step) {
  Worst worst;
  float inputs[kVec], outputs[kVec];
  for (uint64_t bits = first; bits < last;) {
    int count = 0;
    for (; count < kVec && bits < last; bits += step) {
      const uint32_t pattern = static_cast<uint32_t>(bits);
      float x;
      std::memcpy(&x, &pattern, sizeof x);
      if (x >= function.least && x <= function.most) inputs[count++] = x;  // and no NaN
    }
    for (int i = count; i < kVec; ++i) inputs[i] = 0;
    store(outputs, function.ours(load(inputs)));
    for (int i = 0; i < count; ++i) {
      const double truth = function.truth(inputs[i]), error = std::fabs(outputs[i] - truth);
      const double ulp = error / unit_in_the_last_place(truth);
      if (!(ulp <= worst.ulp)) worst.ulp = ulp, worst.at_ulp = inputs[i];
      if (!(error <= worst.error) && truth <= 1) worst.error = error, worst.at_error = inputs[i];
    }
  }
  return worst;
}

}  // namespace

int main(int count, char** given) {
  const uint64_t step = count > 1 ? std::strtoull(given[1], nullptr, 10) : 1, all = uint64_t{1} << 32;
  const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  for (const Function& function : kFunctions) {
    std::vector<Worst> found(threads);
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i)
      workers.emplace_back([&, i] {
        const uint64_t steps = (all + step - 1) / step;
        found[i] = worst_of(function, steps * i / threads * step, steps * (i + 1) / threads * step, step);
      });
    for (std::thread& worker : workers) worker.join();
    Worst worst;
    for (const Worst& each : found) worst.take(each);
    std::printf("%s %.4f %.9g %.4g %.9g\n", function.name, worst.ulp, worst.at_ulp, worst.error, worst.at_error);
  }
}
