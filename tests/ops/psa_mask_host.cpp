// The index arithmetic of the CUDA kernels, run as host code: threads in a loop instead of a grid.
//
// As a shared library it is compared with the reference op from Python. As a program (-DPSA_MAIN,
// compiled with the address and undefined-behaviour sanitizers) it shows that no thread leaves its
// tile, its tensors or a 16-byte boundary.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "psa_mask.h"

namespace {

using namespace segkit;

// A negative number of threads takes them from the last to the first: two that write different
// values to one place, a race on a GPU, give another result then.
template <int kKind, typename T>
void run_tile(const Plan& plan, const Tile& tile, int32_t threads, const T* in, T* shared, T* out) {
  const int32_t count = std::abs(threads), last = threads < 0 ? count - 1 : 0;
  std::memset(shared, 0xAB, plan.shared_elems * sizeof(T));  // poison: every slot must be written
  for (int32_t i = 0; i < count; ++i)
    fill<kKind>(plan, tile, in, shared, std::abs(last - i), count);
  for (int32_t i = 0; i < count; ++i) store(plan, tile, shared, out, std::abs(last - i), count);
}

template <int kKind, typename T>
void run_kind(const Plan& plan, int32_t threads, const T* in, T* out) {
  const size_t bytes = (plan.shared_elems * sizeof(T) + 15) / 16 * 16;
  auto* shared = static_cast<T*>(std::aligned_alloc(16, bytes));
  const int32_t tiles = plan.row_tiles * plan.groups * plan.col_tiles;
  for (int64_t image = 0; image < plan.batch; ++image)
    for (int32_t outer = 0; outer < plan.outer; ++outer)
      for (int32_t index = 0; index < tiles; ++index)
        run_tile<kKind>(plan, locate(plan, image, outer, index), threads, in, shared, out);
  std::free(shared);
}

template <typename T>
void run_width(int32_t kind, const Plan& plan, int32_t threads, const void* in, void* out) {
  const T* source = static_cast<const T*>(in);
  T* target = static_cast<T*>(out);
  if (kind == kForwardCollect) run_kind<kForwardCollect>(plan, threads, source, target);
  if (kind == kForwardDistribute) run_kind<kForwardDistribute>(plan, threads, source, target);
  if (kind == kBackwardCollect) run_kind<kBackwardCollect>(plan, threads, source, target);
  if (kind == kBackwardDistribute) run_kind<kBackwardDistribute>(plan, threads, source, target);
}

}  // namespace

// Returns the bytes of shared memory a block takes.
extern "C" int64_t psa_mask_host(int32_t kind, int32_t elem_bytes, int64_t n, int32_t h, int32_t w,
                                 int32_t mask_h, int32_t mask_w, int64_t tile_bytes,
                                 int32_t threads, const void* in, void* out) {
  const Plan plan =
      make_plan(kind, n, h, w, mask_h, mask_w, elem_bytes, tile_bytes ? tile_bytes : kTileBytes);
  if (elem_bytes == 2) run_width<uint16_t>(kind, plan, threads, in, out);
  if (elem_bytes == 4) run_width<uint32_t>(kind, plan, threads, in, out);
  if (elem_bytes == 8) run_width<uint64_t>(kind, plan, threads, in, out);
  return plan.shared_elems * elem_bytes;
}

#ifdef PSA_MAIN
int main() {
  const int32_t shapes[][4] = {{1, 1, 1, 1},  {3, 5, 5, 9},   {4, 4, 4, 4},  {5, 3, 1, 5},
                               {2, 9, 3, 25}, {7, 8, 13, 15}, {1, 40, 1, 41}};
  int runs = 0;
  for (const auto& s : shapes)
    for (int32_t elem_bytes : {2, 4, 8})
      for (int32_t kind = 0; kind < 4; ++kind)
        for (int64_t tile_bytes : {0, 600}) {
          const int64_t hw = s[0] * s[1], map = s[2] * s[3] * hw * 2 * elem_bytes,
                        pairs = hw * hw * 2 * elem_bytes;
          const bool backward = kind >= kBackwardCollect;
          std::vector<uint8_t> in(backward ? pairs : map, 1);
          auto* out = static_cast<uint8_t*>(
              std::aligned_alloc(16, ((backward ? map : pairs) + 15) / 16 * 16));
          psa_mask_host(kind, elem_bytes, 2, s[0], s[1], s[2], s[3], tile_bytes, 32, in.data(),
                        out);
          std::free(out);
          ++runs;
        }
  std::printf("%d runs\n", runs);
}
#endif
