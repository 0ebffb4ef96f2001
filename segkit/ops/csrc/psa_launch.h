// The one call between the torch side and the kernels.
#pragma once

#include "psa_plan.h"

namespace segkit {

// Queues the kernel on `stream` (a cudaStream_t) of the current device. `in` and `out` are
// contiguous device memory with elements of `elem_bytes` (2, 4 or 8), `out` 16-byte aligned.
// Returns nullptr, or CUDA's description of why the launch was refused.
const char* launch_psa_mask(int32_t kind, const Plan& plan, int32_t elem_bytes, const void* in,
                            void* out, void* stream);

}  // namespace segkit
