// What a pass begins with: its inputs, with zeros in place of a first state that is not given.
#pragma once

#include <vector>

#include "engine.h"

namespace OSTINATO_ISA {

template <class Number>
struct Start {
  const bool without_state;
  const std::vector<Number> zeros;
  const ostinato::InputsOf<Number> in;

  Start(const ostinato::Layer& layer, const ostinato::InputsOf<Number>& given)
      : without_state(given.h0 == nullptr), zeros(without_state ? static_cast<size_t>(layer.batch * layer.units) : 0),
        in(filled(given, zeros)) {}
  Start(const Start&) = delete;

 private:
  static ostinato::InputsOf<Number> filled(ostinato::InputsOf<Number> in, const std::vector<Number>& zeros) {
    if (in.h0 == nullptr) in.h0 = in.c0 = zeros.data();
    return in;
  }
};

}  // namespace OSTINATO_ISA
