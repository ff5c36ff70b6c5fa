// The few functions of TensorFlow's C API that the binding uses.
//
// Declared here, so that building needs no TensorFlow, and looked up when the library is loaded, so that nothing is
// linked: one binary serves every TensorFlow that has them (2.18 and later), whether or not TensorFlow made its symbols
// global. The signatures are those of tensorflow/c/{ops,kernels,tf_tensor,tf_status,tf_datatype}.h.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>

namespace ostinato {

struct TF_Status;
struct TF_Tensor;
struct TF_OpDefinitionBuilder;
struct TF_ShapeHandle;
struct TF_ShapeInferenceContext;
struct TF_KernelBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;

enum TF_Code { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8 };
enum TF_DataType { TF_FLOAT = 1, TF_DOUBLE = 2, TF_INT32 = 3, TF_UINT8 = 4, TF_BOOL = 10 };

struct TF_AllocatorAttributes {
  size_t struct_size;
  unsigned char on_host;
};

// FUNCTION(result, name, arguments...)
#define OSTINATO_TENSORFLOW_FUNCTIONS(FUNCTION)                                                                         \
  /* Status */                                                                                                          \
  FUNCTION(TF_Status*, TF_NewStatus, void)                                                                              \
  FUNCTION(void, TF_DeleteStatus, TF_Status*)                                                                           \
  FUNCTION(void, TF_SetStatus, TF_Status*, TF_Code, const char* message)                                                \
  FUNCTION(TF_Code, TF_GetCode, const TF_Status*)                                                                       \
  FUNCTION(const char*, TF_Message, const TF_Status*)                                                                   \
  /* Tensors */                                                                                                         \
  FUNCTION(void, TF_DeleteTensor, TF_Tensor*)                                                                           \
  FUNCTION(int, TF_NumDims, const TF_Tensor*)                                                                           \
  FUNCTION(int64_t, TF_Dim, const TF_Tensor*, int index)                                                                \
  FUNCTION(int64_t, TF_TensorElementCount, const TF_Tensor*)                                                            \
  FUNCTION(void*, TF_TensorData, const TF_Tensor*)                                                                      \
  /* Defining an op */                                                                                                  \
  FUNCTION(TF_OpDefinitionBuilder*, TF_NewOpDefinitionBuilder, const char* name)                                        \
  FUNCTION(void, TF_OpDefinitionBuilderAddInput, TF_OpDefinitionBuilder*, const char* spec)                             \
  FUNCTION(void, TF_OpDefinitionBuilderAddOutput, TF_OpDefinitionBuilder*, const char* spec)                            \
  FUNCTION(void, TF_OpDefinitionBuilderAddAttr, TF_OpDefinitionBuilder*, const char* spec)                              \
  FUNCTION(void, TF_OpDefinitionBuilderSetShapeInferenceFunction, TF_OpDefinitionBuilder*,                              \
           void (*)(TF_ShapeInferenceContext*, TF_Status*))                                                             \
  FUNCTION(void, TF_RegisterOpDefinition, TF_OpDefinitionBuilder*, TF_Status*)                                          \
  /* Shape functions */                                                                                                 \
  FUNCTION(TF_ShapeHandle*, TF_NewShapeHandle, void)                                                                    \
  FUNCTION(void, TF_DeleteShapeHandle, TF_ShapeHandle*)                                                                 \
  FUNCTION(int64_t, TF_ShapeInferenceContextNumInputs, TF_ShapeInferenceContext*)                                        \
  FUNCTION(void, TF_ShapeInferenceContextGetInput, TF_ShapeInferenceContext*, int, TF_ShapeHandle*, TF_Status*)         \
  FUNCTION(void, TF_ShapeInferenceContextSetOutput, TF_ShapeInferenceContext*, int, TF_ShapeHandle*, TF_Status*)        \
  FUNCTION(void, TF_ShapeInferenceContextSetUnknownShape, TF_ShapeInferenceContext*, TF_Status*) /* every output's */   \
  FUNCTION(void, TF_ShapeInferenceContext_GetAttrType, TF_ShapeInferenceContext*, const char* name, TF_DataType*,       \
           TF_Status*)                                                                                                  \
  FUNCTION(void, TF_ShapeInferenceContextWithRank, TF_ShapeInferenceContext*, TF_ShapeHandle*, int64_t rank,            \
           TF_ShapeHandle* result, TF_Status*)                                                                          \
  FUNCTION(void, TF_ShapeInferenceContextSubshape, TF_ShapeInferenceContext*, TF_ShapeHandle*, int64_t start,           \
           int64_t end, TF_ShapeHandle* result, TF_Status*)                                                             \
  FUNCTION(void, TF_ShapeInferenceContextConcatenateShapes, TF_ShapeInferenceContext*, TF_ShapeHandle* first,           \
           TF_ShapeHandle* second, TF_ShapeHandle* result, TF_Status*)                                                  \
  FUNCTION(TF_ShapeHandle*, TF_ShapeInferenceContextVectorFromSize, TF_ShapeInferenceContext*, size_t size)             \
  /* Kernels */                                                                                                         \
  FUNCTION(TF_KernelBuilder*, TF_NewKernelBuilder, const char* op, const char* device,                                  \
           void* (*create)(TF_OpKernelConstruction*), void (*compute)(void* kernel, TF_OpKernelContext*),               \
           void (*destroy)(void* kernel))                                                                               \
  FUNCTION(void, TF_KernelBuilder_TypeConstraint, TF_KernelBuilder*, const char* attribute, TF_DataType, TF_Status*)    \
  FUNCTION(void, TF_RegisterKernelBuilder, const char* name, TF_KernelBuilder*, TF_Status*)                             \
  FUNCTION(void, TF_OpKernelConstruction_GetAttrBool, TF_OpKernelConstruction*, const char* name,                       \
           unsigned char* value, TF_Status*)                                                                            \
  FUNCTION(void, TF_OpKernelConstruction_GetAttrType, TF_OpKernelConstruction*, const char* name, TF_DataType* value,   \
           TF_Status*)                                                                                                  \
  FUNCTION(void, TF_OpKernelConstruction_GetAttrString, TF_OpKernelConstruction*, const char* name, char* value,        \
           size_t max_length, TF_Status*)                                                                               \
  FUNCTION(void, TF_OpKernelConstruction_GetAttrSize, TF_OpKernelConstruction*, const char* name, int32_t* length,      \
           int32_t* total, TF_Status*)                                                                                  \
  FUNCTION(void, TF_OpKernelConstruction_GetAttrInt32, TF_OpKernelConstruction*, const char* name, int32_t* value,      \
           TF_Status*)                                                                                                  \
  FUNCTION(void, TF_OpKernelConstruction_GetAttrFloat, TF_OpKernelConstruction*, const char* name, float* value,        \
           TF_Status*)                                                                                                  \
  FUNCTION(void, TF_OpKernelConstruction_GetAttrBoolList, TF_OpKernelConstruction*, const char* name,                   \
           unsigned char* values, int most, TF_Status*)                                                                 \
  FUNCTION(void, TF_OpKernelConstruction_Failure, TF_OpKernelConstruction*, TF_Status*)                                 \
  FUNCTION(void, TF_OpKernelContext_Failure, TF_OpKernelContext*, TF_Status*)                                           \
  FUNCTION(void, TF_GetInput, TF_OpKernelContext*, int index, TF_Tensor**, TF_Status*)                                  \
  FUNCTION(TF_Tensor*, TF_AllocateOutput, TF_OpKernelContext*, int index, TF_DataType, const int64_t* dims, int rank,   \
           size_t bytes, TF_Status*)                                                                                    \
  FUNCTION(TF_Tensor*, TF_ForwardInputOrAllocateOutput, TF_OpKernelContext*, const int* inputs, int input_count,        \
           int output, const int64_t* dims, int rank, int* forwarded, TF_Status*)                                       \
  FUNCTION(TF_Tensor*, TF_AllocateTemp, TF_OpKernelContext*, TF_DataType, const int64_t* dims, int rank,                \
           TF_AllocatorAttributes*, TF_Status*)

#define OSTINATO_DECLARE(result, name, ...) inline result (*name)(__VA_ARGS__) = nullptr;
OSTINATO_TENSORFLOW_FUNCTIONS(OSTINATO_DECLARE)
#undef OSTINATO_DECLARE

// Finds the functions in the TensorFlow that this process has loaded. Returns the name of one it lacks, or null.
inline const char* find_tensorflow() {
#ifdef __APPLE__
  const char* framework = "libtensorflow_framework.2.dylib";
#else
  const char* framework = "libtensorflow_framework.so.2";
#endif
  void* library = dlopen(framework, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) library = RTLD_DEFAULT;
#define OSTINATO_FIND(result, name, ...)                                   \
  name = reinterpret_cast<result (*)(__VA_ARGS__)>(dlsym(library, #name)); \
  if (name == nullptr) return #name;
  OSTINATO_TENSORFLOW_FUNCTIONS(OSTINATO_FIND)
#undef OSTINATO_FIND
  return nullptr;
}

}  // namespace ostinato
