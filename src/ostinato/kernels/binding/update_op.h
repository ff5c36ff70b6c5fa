// The op OstinatoUpdateV1: one step of an optimizer for all weights of a network; update.h has the rules.
//
//   inputs    weights (N), first (A) and second slots (B), gradients (N), rows (K), rate, step_size, divisor, clip
//   outputs   new_weights (N), new_first (A), new_second (B), norm
//
// A slot list has N tensors, or none where the rule has no such slot. A gradient has the shape of its weight; where `sparse`
// says so, it has some rows of it, (count, ...), and one of `rows` their numbers, (count,). The new weights and slots are
// values: whoever calls the op assigns them.
#pragma once

#include "binding/attributes.h"
#include "binding/shapes.h"
#include "binding/tensors.h"
#include "update.h"

namespace ostinato {
namespace {

struct UpdateKernel {
  Step step;
  int slot_lists = 0;
  std::vector<unsigned char> sparse, decays;  // of each weight
};

void* create_update(TF_OpKernelConstruction* construction) {
  auto kernel = std::make_unique<UpdateKernel>();
  guarded(
      [&] {
        const Attributes attributes(construction);
        const int32_t rule = attributes.integer("rule"), count = attributes.integer("N");
        if (rule < 0 || rule > static_cast<int32_t>(Rule::kAdam)) {
          refuse("rule must be from 0 to 3, got " + std::to_string(rule));
        }
        Step& step = kernel->step;
        step.rule = static_cast<Rule>(rule);
        step.momentum = attributes.number("momentum");
        step.first_share = attributes.number("first_share");
        step.second_share = attributes.number("second_share");
        step.epsilon = attributes.number("epsilon");
        step.decay = attributes.number("decay");
        step.wants_norm = attributes.boolean("wants_norm");
        kernel->sparse = attributes.booleans("sparse", count);
        kernel->decays = attributes.booleans("decays", count);
        kernel->slot_lists = step.rule == Rule::kSgd ? 0 : step.rule == Rule::kAdam ? 2 : 1;
        int32_t tables = 0;
        for (const unsigned char sparse : kernel->sparse) tables += sparse;
        const int32_t first = attributes.integer("A"), second = attributes.integer("B");
        if (first != (kernel->slot_lists > 0 ? count : 0) || second != (kernel->slot_lists > 1 ? count : 0)) {
          refuse("a rule with " + std::to_string(kernel->slot_lists) + " slots of " + std::to_string(count) +
                 " weights was given " + std::to_string(first) + " and " + std::to_string(second));
        }
        if (attributes.integer("K") != tables) {
          refuse("rows must be given for " + std::to_string(tables) + " sparse gradients, got " +
                 std::to_string(attributes.integer("K")));
        }
      },
      [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return kernel.release();
}

void destroy_update(void* kernel) { delete static_cast<UpdateKernel*>(kernel); }

// Sets a weight's gradient, given the shape of the weight.
void read_gradient(Weight& weight, const Shape& shape, const Input& gradient, const Input* rows) {
  weight.gradient = gradient.data<float>();
  if (rows == nullptr) return gradient.needs_shape(shape, "of its weight");
  if (shape.empty()) refuse("a gradient has rows, but its weight is a scalar");
  rows->needs_rank(1, "(count,)");
  weight.count = rows->shape()[0];
  Shape needed = shape;
  needed[0] = weight.count;
  gradient.needs_shape(needed, "(count, ...) of its weight");
  weight.rows = rows->data<int32_t>();
  weight.width = shape[0] > 0 ? weight.size / shape[0] : 0;
  for (int64_t i = 0; i < weight.count; ++i) {
    if (weight.rows[i] < 0 || weight.rows[i] >= shape[0]) {
      refuse("rows[" + std::to_string(i) + "] is " + std::to_string(weight.rows[i]) +
             ", but the weight has rows from 0 to " + std::to_string(shape[0] - 1));
    }
  }
}

void compute_update(void* opaque, TF_OpKernelContext* context) {
  guarded(
      [&] {
        const auto& kernel = *static_cast<const UpdateKernel*>(opaque);
        const int count = static_cast<int>(kernel.sparse.size()), lists = 1 + kernel.slot_lists;
        InputReader reader(context);
        OutputWriter<float> writer(context);
        std::vector<Weight> weights(count);
        std::vector<Shape> shapes(count);
        std::vector<Input> held;  // keeps the tensors that `weights` points into
        for (int i = 0; i < count; ++i) {
          const Input& value = held.emplace_back(reader.next("a weight"));
          Weight& weight = weights[i];
          shapes[i] = value.shape();
          weight.size = elements(shapes[i]);
          weight.value = value.data<float>();
          weight.decays = kernel.decays[i] != 0;
          // A gradient that nobody else needs gives its memory to the new weight.
          weight.new_value = kernel.sparse[i] ? writer.next(shapes[i]) : writer.next_in_place_of(lists * count + i, shapes[i]);
        }
        for (int list = 0; list < kernel.slot_lists; ++list) {
          for (int i = 0; i < count; ++i) {
            const Input& slot = held.emplace_back(reader.next("a slot"));
            slot.needs_shape(shapes[i], "of its weight");
            weights[i].slots[list] = slot.data<float>();
            weights[i].new_slots[list] = writer.next(shapes[i]);
          }
        }
        std::vector<Input> gradients, rows;
        for (int i = 0; i < count; ++i) gradients.push_back(reader.next("a gradient"));
        for (int i = 0; i < count; ++i) {
          if (kernel.sparse[i]) rows.push_back(reader.next("rows"));
        }
        auto its_rows = rows.begin();
        for (int i = 0; i < count; ++i) {
          read_gradient(weights[i], shapes[i], gradients[i], kernel.sparse[i] ? &*its_rows++ : nullptr);
        }
        Step step = kernel.step;
        for (float* scalar : {&step.rate, &step.step_size, &step.divisor, &step.clip}) {
          const Input given = reader.next("a scalar");
          given.needs_shape({}, "of a scalar");
          *scalar = *given.data<float>();
        }
        *writer.next({}) = update(step, weights, threads());
      },
      [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

// The shapes of the outputs are those of the variables that they are assigned to.
void update_shapes(TF_ShapeInferenceContext* context, TF_Status* result) {
  guarded([&] { Shapes(context).all_unknown(); },
          [&](TF_Status* status) { TF_SetStatus(result, TF_GetCode(status), TF_Message(status)); });
}

void register_update() {
  constexpr char name[] = "OstinatoUpdateV1";
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute :
       {"N: int >= 1", "A: int >= 0", "B: int >= 0", "K: int >= 0", "rule: int", "sparse: list(bool)", "decays: list(bool)",
        "momentum: float = 0.0", "first_share: float = 0.0", "second_share: float = 0.0", "epsilon: float = 0.0",
        "decay: float = 0.0", "wants_norm: bool = true"}) {
    TF_OpDefinitionBuilderAddAttr(op, attribute);
  }
  for (const char* input : {"weights: N * float", "first: A * float", "second: B * float", "gradients: N * float",
                            "rows: K * int32", "rate: float", "step_size: float", "divisor: float", "clip: float"}) {
    TF_OpDefinitionBuilderAddInput(op, input);
  }
  for (const char* output : {"new_weights: N * float", "new_first: A * float", "new_second: B * float", "norm: float"}) {
    TF_OpDefinitionBuilderAddOutput(op, output);
  }
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, update_shapes);
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(op, status.get());
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(name, "CPU", create_update, compute_update, destroy_update);
  TF_RegisterKernelBuilder(name, kernel, status.get());
}

}  // namespace
}  // namespace ostinato
