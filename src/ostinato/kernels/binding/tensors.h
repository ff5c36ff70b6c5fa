// TensorFlow's tensors, as a kernel reads and writes them, and failures as statuses.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "binding/tensorflow_c_api.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ostinato {
namespace {

using Shape = std::vector<int64_t>;

struct Deleter {
  void operator()(TF_Status* status) const { TF_DeleteStatus(status); }
  void operator()(TF_Tensor* tensor) const { TF_DeleteTensor(tensor); }
  void operator()(TF_ShapeHandle* handle) const { TF_DeleteShapeHandle(handle); }
};
using Status = std::unique_ptr<TF_Status, Deleter>;
using Tensor = std::unique_ptr<TF_Tensor, Deleter>;
using Handle = std::unique_ptr<TF_ShapeHandle, Deleter>;

// Thrown inside a kernel or shape function, and handed to TensorFlow as a status where that was called from.
struct Failure {
  TF_Code code;
  std::string message;
};

[[noreturn]] void refuse(const std::string& message) { throw Failure{TF_INVALID_ARGUMENT, message}; }

void check(const Status& status) {
  if (TF_GetCode(status.get()) != TF_OK) throw Failure{TF_GetCode(status.get()), TF_Message(status.get())};
}

// Runs `body` and gives what it throws to `fail`, which takes a TF_Status*.
template <class Body, class Fail>
void guarded(Body body, Fail fail) {
  Failure failure{TF_OK, ""};
  try {
    body();
    return;
  } catch (const Failure& thrown) {
    failure = thrown;
  } catch (const std::bad_alloc&) {
    failure = {TF_RESOURCE_EXHAUSTED, "ostinato's native engine is out of memory"};
  }
  const Status status(TF_NewStatus());
  TF_SetStatus(status.get(), failure.code, failure.message.c_str());
  fail(status.get());
}

int64_t elements(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

std::string in_words(const Shape& shape) {
  std::string words = "(";
  for (size_t i = 0; i < shape.size(); ++i) words += (i ? ", " : "") + std::to_string(shape[i]);
  return words + (shape.size() == 1 ? ",)" : ")");
}

struct Input {
  Tensor tensor;
  const char* name;

  Shape shape() const {
    Shape shape(TF_NumDims(tensor.get()));
    for (size_t i = 0; i < shape.size(); ++i) shape[i] = TF_Dim(tensor.get(), static_cast<int>(i));
    return shape;
  }

  template <class T>
  const T* data() const {
    return static_cast<const T*>(TF_TensorData(tensor.get()));
  }

  bool empty() const { return TF_TensorElementCount(tensor.get()) == 0; }
  // Not given, unlike a state of a batch without rows.
  bool absent() const { return empty() && TF_NumDims(tensor.get()) == 1; }

  void needs_rank(size_t rank, const char* axes) const {
    if (shape().size() != rank) {
      refuse(std::string(name) + " has shape " + in_words(shape()) + ", but rank " + std::to_string(rank) + " " + axes +
             " is needed");
    }
  }

  void needs_shape(const Shape& needed, const char* axes) const {
    if (shape() != needed) {
      refuse(std::string(name) + " has shape " + in_words(shape()) + ", but " + in_words(needed) + " " + axes +
             " is needed");
    }
  }

  // The data, or null for a tensor without elements.
  template <class T>
  const T* optional(const Shape& needed, const char* axes) const {
    if (empty()) return nullptr;
    needs_shape(needed, axes);
    return data<T>();
  }
};

// Refuses ids (batch, time) that a kernel with so many rows has no row for.
void check_ids(const int32_t* ids, int64_t batch, int64_t time, int64_t rows) {
  for (int64_t i = 0; i < batch * time; ++i) {
    if (ids[i] < 0 || ids[i] >= rows) {
      refuse("ids[" + std::to_string(i / time) + ", " + std::to_string(i % time) + "] is " +
             std::to_string(ids[i]) + ", but the kernel has rows for the ids from 0 to " +
             std::to_string(rows - 1));
    }
  }
}

// Hands out a kernel's inputs in order.
class InputReader {
 public:
  explicit InputReader(TF_OpKernelContext* context) : context_(context) {}

  Input next(const char* name) {
    const Status status(TF_NewStatus());
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context_, index_++, &tensor, status.get());
    Input input{Tensor(tensor), name};
    check(status);
    return input;
  }

 private:
  TF_OpKernelContext* context_;
  int index_ = 0;
};

template <class Number>
constexpr TF_DataType kType = std::is_same_v<Number, double> ? TF_DOUBLE : TF_FLOAT;

// Asks for pages of 2 MB for memory that malloc maps anew at each call, as it does from 32 MB on: a history of 36 MB would
// otherwise be 9,000 page faults, which take longer than a pass.
void prefer_large_pages(void* data, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr size_t kMapped = size_t{32} << 20;
  constexpr uintptr_t kPage = uintptr_t{2} << 20;
  if (bytes < kMapped) return;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(data) + bytes) / kPage * kPage;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);  // without it only the time differs
#else
  (void)data, (void)bytes;
#endif
}

// Allocates a kernel's outputs in order; TensorFlow keeps them.
template <class Number>
class OutputWriter {
 public:
  explicit OutputWriter(TF_OpKernelContext* context) : context_(context) {}

  Number* next(const Shape& shape) {
    const Status status(TF_NewStatus());
    const Tensor tensor(TF_AllocateOutput(context_, index_++, kType<Number>, shape.data(), static_cast<int>(shape.size()),
                                          elements(shape) * sizeof(Number), status.get()));
    check(status);
    prefer_large_pages(TF_TensorData(tensor.get()), elements(shape) * sizeof(Number));
    return static_cast<Number*>(TF_TensorData(tensor.get()));
  }

  // In the memory of an input of the same shape, where nobody else needs that. Its tensor must not have been read yet.
  Number* next_in_place_of(int input, const Shape& shape) {
    const Status status(TF_NewStatus());
    int forwarded = -1;
    const Tensor tensor(TF_ForwardInputOrAllocateOutput(context_, &input, 1, index_++, shape.data(),
                                                        static_cast<int>(shape.size()), &forwarded, status.get()));
    check(status);
    return static_cast<Number*>(TF_TensorData(tensor.get()));
  }

 private:
  TF_OpKernelContext* context_;
  int index_ = 0;
};

Tensor workspace(TF_OpKernelContext* context, size_t bytes) {
  const Status status(TF_NewStatus());
  const int64_t dims[] = {static_cast<int64_t>(bytes)};
  TF_AllocatorAttributes attributes{offsetof(TF_AllocatorAttributes, on_host) + 1, 1};
  Tensor tensor(TF_AllocateTemp(context, TF_UINT8, dims, 1, &attributes, status.get()));
  check(status);
  return tensor;
}

template <class Number>
void zero(Number* data, int64_t count) {
  if (count > 0) std::memset(data, 0, count * sizeof(Number));
}

template <class Number>
void copy_or_zero(const Number* from, int64_t count, Number* to) {
  if (from == nullptr) return zero(to, count);
  if (count > 0) std::memcpy(to, from, count * sizeof(Number));
}

}  // namespace
}  // namespace ostinato
