// The kernels: one block fills and stores tiles (psa_phases.h); no torch header, so nvcc is quick.
#include <cuda_runtime.h>

#include "psa_launch.h"
#include "psa_phases.h"

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

}  // namespace

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

}  // namespace segkit
