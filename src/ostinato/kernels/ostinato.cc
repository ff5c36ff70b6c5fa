// The plain C interface, see ostinato.h.
#include "ostinato.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "activations.h"
#include "cells/list.h"
#include "engine.h"

using ostinato::Layer;

// Memory that begins on a cache line. Nothing is written there.
class Aligned {
 public:
  explicit Aligned(size_t bytes) : block_(new char[bytes + kLine]) {}
  float* floats() const {
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(block_.get()) + kLine - 1) & ~uintptr_t{kLine - 1});
  }

 private:
  static constexpr size_t kLine = 64;
  std::unique_ptr<char[]> block_;
};

// Weights, and what to compute with them.
struct ostinato_layer {
  Layer layer;  // without batch and time
  int states = 1;
  std::vector<float> kernel, bias;
  Aligned packed;  // kernel and recurrent, as the engine reads them
};

namespace {

thread_local std::string last_error;

struct Refused {
  std::string why;
};

void require(bool condition, const std::string& why) {
  if (!condition) throw Refused{why};
}

// The result of `body`, which may throw, as a status.
template <class Body>
ostinato_status guarded(const Body& body) {
  try {
    try {
      body();
      return OSTINATO_OK;
    } catch (const Refused& refused) {
      last_error = refused.why;
      return OSTINATO_INVALID_ARGUMENT;
    } catch (const std::bad_alloc&) {
      last_error = "there is not enough memory";
      return OSTINATO_OUT_OF_MEMORY;
    }
  } catch (...) {  // not even the message fits
    return OSTINATO_OUT_OF_MEMORY;
  }
}

std::string quoted(const char* text) { return text == nullptr ? "NULL" : "'" + std::string(text) + "'"; }

// The attributes of an op, from options.
struct Attributes {
  const ostinato_options& options;
  bool boolean(const char*) const { return options.reset_after != 0; }
};

// The size of the options before there was `recurrent_activation`.
constexpr size_t kFirstSize = offsetof(ostinato_options, recurrent_activation);

// A copy of options, which may be those of an older header, with what they lack.
ostinato_options completed(const ostinato_options* given) {
  require(given != nullptr, "options must not be NULL");
  ostinato_options options = OSTINATO_OPTIONS;
  require(given->size == sizeof options || given->size == kFirstSize,
          "options.size must be sizeof(ostinato_options), " + std::to_string(sizeof options) + ", got " +
              std::to_string(given->size));
  std::memcpy(&options, given, given->size);
  return options;
}

ostinato::Activation named(const char* option, const char* name) {
  ostinato::Activation found = ostinato::Activation::kTanh;
  require(ostinato::find_activation(name, &found),
          std::string(option) + " must be one of " + ostinato::activation_names() + ", got " + quoted(name));
  return found;
}

Layer described(const ostinato_options& options, int* states, int64_t* width, int* bias_rows) {
  Layer layer;
  require(options.features > 0, "features must be at least 1, got " + std::to_string(options.features));
  require(options.units > 0, "units must be at least 1, got " + std::to_string(options.units));
  require(options.features < (int64_t{1} << 31) && options.units < (int64_t{1} << 28),
          "features and units must be below 2^31 and 2^28");
  const ostinato::Activation activation = named("activation", options.activation);
  const ostinato::Activation recurrent_activation = named("recurrent_activation", options.recurrent_activation);
  std::string names;
  bool found = false;
  ostinato::for_each_op([&](auto op) {
    names += (names.empty() ? "" : ", ") + std::string(op.key);
    if (options.cell == nullptr || std::strcmp(options.cell, op.key) != 0) return;
    found = true;
    layer.cell = op.cell;
    op.read(Attributes{options}, layer);
    // In the first options `activation` was the RNN's alone.
    if (options.size != kFirstSize || op.gates == 1) layer.activation = activation;
    layer.recurrent_activation = recurrent_activation;
    *states = op.states, *width = op.gates * options.units, *bias_rows = op.bias_rows(layer);
  });
  require(found, "cell must be one of " + names + ", got " + quoted(options.cell));
  layer.features = options.features, layer.units = options.units;
  layer.go_backwards = options.go_backwards != 0;
  layer.return_sequences = options.return_sequences != 0;
  return layer;
}

// `in` has x or ids, whose name is `read`.
void run(const ostinato_layer* made, int64_t batch, int64_t time, ostinato::Inputs in, const char* read,
         const unsigned char* mask, float* const* state, float* y) {
  require(made != nullptr, "layer must not be NULL");
  require(batch > 0, "batch must be at least 1, got " + std::to_string(batch));
  require(time > 0, "time must be at least 1, got " + std::to_string(time));
  require((in.x != nullptr || in.ids != nullptr) && y != nullptr, std::string(read) + " and y must not be NULL");
  Layer layer = made->layer;
  layer.batch = batch, layer.time = time;
  const int64_t widest = std::max(layer.features, 8 * layer.units);
  require(batch <= std::numeric_limits<int64_t>::max() / 64 / time / widest, "batch and time are too large");
  for (int i = 0; i < made->states && state != nullptr; ++i)
    require(state[i] != nullptr, "state[" + std::to_string(i) + "] must not be NULL");
  layer.threads = ostinato::threads();

  std::unique_ptr<char[]> given;  // a mask of true and false alone
  if (mask != nullptr) {
    given.reset(new char[static_cast<size_t>(batch * time)]);
    for (int64_t i = 0; i < batch * time; ++i) given[i] = mask[i] != 0;
  }
  if (in.ids != nullptr)
    for (int64_t i = 0; i < batch * time; ++i)
      require((mask != nullptr && !given[i]) || (in.ids[i] >= 0 && in.ids[i] < layer.features),
              "ids must be from 0 to " + std::to_string(layer.features - 1) + ", got " + std::to_string(in.ids[i]));
  in.mask = reinterpret_cast<const bool*>(given.get());

  // The engine reads the first state for as long as it runs; the caller's last one may be written over it.
  const size_t floats = static_cast<size_t>(batch * layer.units), bytes = floats * sizeof(float);
  const Aligned first(state == nullptr ? 0 : bytes * made->states), unwanted(state == nullptr ? bytes * made->states : 0);
  const auto array = [&](const Aligned& of, int i) { return of.floats() + i * floats; };
  if (state != nullptr) {
    for (int i = 0; i < made->states; ++i) std::memcpy(array(first, i), state[i], bytes);
    in.h0 = array(first, 0);
    if (made->states > 1) in.c0 = array(first, 1);
  }
  in.kernel = made->kernel.data(), in.packed = made->packed.floats();
  if (!made->bias.empty()) in.bias = made->bias.data();
  ostinato::Outputs out;
  out.y = y, out.h = state == nullptr ? array(unwanted, 0) : state[0];
  if (made->states > 1) out.c = state == nullptr ? array(unwanted, 1) : state[1];
  const Aligned workspace(ostinato::forward_workspace_bytes(layer, in, false));
  ostinato::forward(layer, in, out, workspace.floats());
}

std::vector<float> copied(const float* values, int64_t count) { return {values, values + count}; }

}  // namespace

ostinato_status ostinato_create(const ostinato_options* given, const float* kernel, const float* recurrent,
                                const float* bias, ostinato_layer** result) {
  return guarded([&] {
    require(result != nullptr, "layer must not be NULL");
    *result = nullptr;
    const ostinato_options options = completed(given);
    require(kernel != nullptr && recurrent != nullptr, "kernel and recurrent must not be NULL");
    int states = 1, bias_rows = 1;
    int64_t width = 0;
    const Layer layer = described(options, &states, &width, &bias_rows);
    Aligned packed(ostinato::packed_weights_bytes(layer));
    ostinato::pack_weights(layer, kernel, recurrent, packed.floats());
    *result = new ostinato_layer{layer, states, copied(kernel, layer.features * width),
                                 bias == nullptr ? std::vector<float>{} : copied(bias, bias_rows * width), std::move(packed)};
  });
}

int ostinato_state_count(const ostinato_layer* layer) { return layer == nullptr ? 0 : layer->states; }

int64_t ostinato_state_size(const ostinato_layer* layer, int index) {
  return layer == nullptr || index < 0 || index >= layer->states ? 0 : layer->layer.units;
}

ostinato_status ostinato_forward(const ostinato_layer* layer, int64_t batch, int64_t time, const float* x,
                                 const unsigned char* mask, float* const* state, float* y) {
  return guarded([&] {
    ostinato::Inputs in;
    in.x = x;
    run(layer, batch, time, in, "x", mask, state, y);
  });
}

ostinato_status ostinato_forward_ids(const ostinato_layer* layer, int64_t batch, int64_t time, const int32_t* ids,
                                     const unsigned char* mask, float* const* state, float* y) {
  return guarded([&] {
    ostinato::Inputs in;
    in.ids = ids;
    run(layer, batch, time, in, "ids", mask, state, y);
  });
}

void ostinato_destroy(ostinato_layer* layer) { delete layer; }

const char* ostinato_error(void) { return last_error.c_str(); }
const char* ostinato_instruction_set(void) { return ostinato::instruction_set(); }
int ostinato_threads(void) { return ostinato::threads(); }
void ostinato_set_threads(int count) { ostinato::set_threads(count); }
