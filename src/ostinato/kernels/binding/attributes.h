// The attributes of an op, as its kernel reads them when it is made.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "activations.h"
#include "binding/tensors.h"

namespace ostinato {
namespace {

class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction) : construction_(construction), status_(TF_NewStatus()) {}

  bool boolean(const char* name) const {
    unsigned char value = 0;
    TF_OpKernelConstruction_GetAttrBool(construction_, name, &value, status_.get());
    check(status_);
    return value != 0;
  }
  // Longer ones are cut: no name is as long.
  std::string string(const char* name) const {
    char given[32] = {};
    TF_OpKernelConstruction_GetAttrString(construction_, name, given, sizeof(given) - 1, status_.get());
    check(status_);
    return given;
  }
  Activation activation(const char* name) const {
    const std::string given = string(name);
    Activation found = Activation::kTanh;
    if (!find_activation(given.c_str(), &found)) {
      refuse(std::string(name) + " must be one of " + activation_names() + ", got '" + given + "'");
    }
    return found;
  }
  int32_t integer(const char* name) const {
    int32_t value = 0;
    TF_OpKernelConstruction_GetAttrInt32(construction_, name, &value, status_.get());
    check(status_);
    return value;
  }
  float number(const char* name) const {
    float value = 0;
    TF_OpKernelConstruction_GetAttrFloat(construction_, name, &value, status_.get());
    check(status_);
    return value;
  }
  // As many as there must be.
  std::vector<unsigned char> booleans(const char* name, int32_t count) const {
    int32_t length = 0, total = 0;
    TF_OpKernelConstruction_GetAttrSize(construction_, name, &length, &total, status_.get());
    check(status_);
    if (length != count) {
      refuse(std::string(name) + " must have " + std::to_string(count) + " values, got " + std::to_string(length));
    }
    std::vector<unsigned char> values(count);
    TF_OpKernelConstruction_GetAttrBoolList(construction_, name, values.data(), count, status_.get());
    check(status_);
    return values;
  }
  TF_DataType type(const char* name) const {
    TF_DataType value = TF_FLOAT;
    TF_OpKernelConstruction_GetAttrType(construction_, name, &value, status_.get());
    check(status_);
    return value;
  }

 private:
  TF_OpKernelConstruction* construction_;
  Status status_;
};

}  // namespace
}  // namespace ostinato
