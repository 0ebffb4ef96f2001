// segkit_ext::psa_mask_forward and psa_mask_backward: the kernels, in which one block fills and
// stores tiles (psa_mask.h), and their registration through PyTorch's stable ABI.
//
// The ABI needs only the C shims of libtorch_cpu, so one binary loads in every PyTorch from the
// version in TORCH_TARGET_VERSION on. The one thing that differs between versions is how to ask
// for the current stream: it is looked up when first needed.
#ifndef TORCH_TARGET_VERSION
#define TORCH_TARGET_VERSION 0x020a000000000000  // 2.10
#endif
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include "psa_mask.h"

namespace segkit {
namespace {

constexpr int64_t kMostBlocksYZ = 65535;  // CUDA's limit on gridDim.y and gridDim.z

template <int kKind, typename T>
__global__ void __launch_bounds__(kThreads, 6)
    psa_mask_kernel(const __grid_constant__ Plan plan, const T* __restrict__ in,
                    T* __restrict__ out) {
  extern __shared__ __align__(16) unsigned char memory[];
  T* shared = reinterpret_cast<T*>(memory);
  for (int64_t image = blockIdx.z; image < plan.batch; image += gridDim.z) {
    for (int32_t outer = blockIdx.y; outer < plan.outer; outer += gridDim.y) {
      const Tile tile = locate(plan, image, outer, static_cast<int32_t>(blockIdx.x));
      fill<kKind>(plan, tile, in, shared, threadIdx.x, kThreads);
      __syncthreads();
      store(plan, tile, shared, out, threadIdx.x, kThreads);
      __syncthreads();  // the next tile overwrites what slower threads still read
    }
  }
}

template <int kKind, typename T>
cudaError_t launch(const Plan& plan, const void* in, void* out, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(plan.row_tiles) * plan.groups * plan.col_tiles,
                  static_cast<unsigned>(plan.outer < kMostBlocksYZ ? plan.outer : kMostBlocksYZ),
                  static_cast<unsigned>(plan.batch < kMostBlocksYZ ? plan.batch : kMostBlocksYZ));
  const size_t bytes = static_cast<size_t>(plan.shared_elems) * sizeof(T);
  psa_mask_kernel<kKind, T>
      <<<grid, kThreads, bytes, stream>>>(plan, static_cast<const T*>(in), static_cast<T*>(out));
  return cudaGetLastError();
}

template <int kKind>
cudaError_t launch_width(const Plan& plan, int32_t elem_bytes, const void* in, void* out,
                         cudaStream_t stream) {
  switch (elem_bytes) {
    case 2:
      return launch<kKind, uint16_t>(plan, in, out, stream);
    case 4:
      return launch<kKind, uint32_t>(plan, in, out, stream);
    case 8:
      return launch<kKind, uint64_t>(plan, in, out, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

// `in` and `out` are contiguous device memory with elements of `elem_bytes` (2, 4 or 8), `out`
// 16-byte aligned. Returns nullptr, or CUDA's description of why the launch was refused.
const char* launch_psa_mask(int32_t kind, const Plan& plan, int32_t elem_bytes, const void* in,
                            void* out, void* stream_handle) {
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  cudaError_t status = cudaErrorInvalidValue;
  switch (kind) {
    case kForwardCollect:
      status = launch_width<kForwardCollect>(plan, elem_bytes, in, out, stream);
      break;
    case kForwardDistribute:
      status = launch_width<kForwardDistribute>(plan, elem_bytes, in, out, stream);
      break;
    case kBackwardCollect:
      status = launch_width<kBackwardCollect>(plan, elem_bytes, in, out, stream);
      break;
    case kBackwardDistribute:
      status = launch_width<kBackwardDistribute>(plan, elem_bytes, in, out, stream);
      break;
    default:
      break;
  }
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kDistribute = 1;

// aoti_torch_get_current_cuda_stream lives in libtorch_cuda, which a CPU-only build does not have.
void* current_stream(int32_t device) {
  using Getter = int32_t (*)(int32_t, void**);
  static const Getter getter = [] {
    void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    void* symbol = library ? dlsym(library, "aoti_torch_get_current_cuda_stream") : nullptr;
    return reinterpret_cast<Getter>(symbol);
  }();
  STD_TORCH_CHECK(getter != nullptr,
                  "segkit_ext: this PyTorch has no CUDA, or hides its current stream");
  void* stream = nullptr;
  STD_TORCH_CHECK(getter(device, &stream) == 0, "segkit_ext: no current stream on device ", device);
  return stream;
}

int32_t checked_int(int64_t value, const char* name) {
  STD_TORCH_CHECK(value >= 1 && value <= INT32_MAX / 4, "segkit_ext: ", name, " is ", value,
                  ", out of range");
  return static_cast<int32_t>(value);
}

void check(const Tensor& tensor, int64_t mode, int64_t channels, const char* what) {
  const auto dtype = tensor.scalar_type();
  STD_TORCH_CHECK(tensor.is_cuda(), "segkit_ext: ", what, " must be a CUDA tensor");
  STD_TORCH_CHECK(mode == 0 || mode == kDistribute, "segkit_ext: mode is ", mode,
                  "; 0 is collect, 1 distribute");
  STD_TORCH_CHECK(tensor.dim() == 4, "segkit_ext: ", what, " must have 4 dimensions, got ",
                  tensor.dim());
  STD_TORCH_CHECK(dtype == ScalarType::Half || dtype == ScalarType::BFloat16 ||
                      dtype == ScalarType::Float || dtype == ScalarType::Double,
                  "segkit_ext: ", what, " must be float16, bfloat16, float32 or float64");
  STD_TORCH_CHECK(tensor.size(1) == channels, "segkit_ext: ", what, " must have ", channels,
                  " channels, got ", tensor.size(1));
}

Tensor run(const Tensor& input, int64_t mode, int64_t mask_h, int64_t mask_w, bool backward) {
  const int64_t batch = input.size(0), h = input.size(2), w = input.size(3);
  const Tensor source = torch::stable::contiguous(input);
  Tensor output =
      torch::stable::new_empty(source, {batch, backward ? mask_h * mask_w : h * w, h, w});
  if (output.numel() == 0) return output;
  const auto elem_bytes = static_cast<int32_t>(input.element_size());
  const auto kind = static_cast<int32_t>(mode + (backward ? kBackwardCollect : kForwardCollect));
  const Plan plan = make_plan(kind, batch, checked_int(h, "height"), checked_int(w, "width"),
                              checked_int(mask_h, "mask height"), checked_int(mask_w, "mask width"),
                              elem_bytes);
  const int32_t device = input.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  const char* error = launch_psa_mask(kind, plan, elem_bytes, source.data_ptr(), output.data_ptr(),
                                      current_stream(device));
  STD_TORCH_CHECK(error == nullptr,
                  "segkit_ext: the psa_mask kernel could not be launched: ", error);
  return output;
}

Tensor psa_mask_forward(Tensor input, int64_t mode, int64_t mask_h, int64_t mask_w) {
  check(input, mode, mask_h * mask_w, "input");
  return run(input, mode, mask_h, mask_w, false);
}

Tensor psa_mask_backward(Tensor grad, int64_t mode, int64_t mask_h, int64_t mask_w) {
  check(grad, mode, grad.size(2) * grad.size(3), "grad");
  return run(grad, mode, mask_h, mask_w, true);
}

}  // namespace
}  // namespace segkit

STABLE_TORCH_LIBRARY(segkit_ext, m) {
  m.def("psa_mask_forward(Tensor input, int mode, int mask_h, int mask_w) -> Tensor");
  m.def("psa_mask_backward(Tensor grad, int mode, int mask_h, int mask_w) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(segkit_ext, CUDA, m) {
  m.impl("psa_mask_forward", TORCH_BOX(&segkit::psa_mask_forward));
  m.impl("psa_mask_backward", TORCH_BOX(&segkit::psa_mask_backward));
}
