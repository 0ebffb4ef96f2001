// How the PSA mask op is cut into tiles: plain arithmetic, shared by the kernels and by host code.
//
// The op moves numbers and computes nothing (PSANet, ECCV 2018, section 3.3). With own = (k, l) the
// position that predicts a mask, other = (s, t) the position a logit is about, and
// (p, q) = (s - k + half_h, t - l + half_w) the place of that offset in the mask:
//
//   forward   collect     y [n, (s, t), (k, l)] = x[n, (p, q), (k, l)], 0 where (p, q) is outside
//             distribute  y [n, (k, l), (s, t)] = the same
//   backward  both        dx[n, (p, q), (k, l)] = dy at that place,     0 where (s, t) is outside
//
// All four write a tensor [n, outer, row, H * W] whose last axis is cut into planes of W columns:
//
//             outer  row  plane  column
//   collect     s     t     k      l
//   distribute  k     l     s      t
//   backward    p     q     k      l
//
// A tile is `tile_rows` rows by `group` planes of `tile_cols` columns. It is filled in shared
// memory from runs of the input that are contiguous in memory, then written as whole rows, zeros
// included, so the output needs no memset and every global access is coalesced.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PSA_HD __host__ __device__ __forceinline__
#else
#define PSA_HD inline
#endif

namespace segkit {

enum Kind : int32_t {
  kForwardCollect = 0,
  kForwardDistribute = 1,
  kBackwardCollect = 2,
  kBackwardDistribute = 3
};

constexpr int32_t kThreads = 256;
constexpr int64_t kVectorBytes = 16;
// Six blocks of this size live on one multiprocessor of an A100 (164 KiB), eight on an H100, and it
// stays under the 48 KiB that need no opt-in.
constexpr int64_t kTileBytes = 24 * 1024;

struct Plan {
  int64_t batch;
  int32_t h, w, mask_h, mask_w, half_h, half_w;
  int32_t outer, rows;                   // (H, W) forward, (mask_h, mask_w) backward
  int32_t tile_rows, tile_cols, group;   // extent of a tile
  int32_t row_tiles, col_tiles, groups;  // how many of them
  int32_t pitch;                         // elements from one tile row to the next in shared memory
  int64_t shared_elems;
};

PSA_HD int32_t ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }

// The largest part, at most `most`, that cuts `total` into equal parts up to rounding.
PSA_HD int32_t balanced(int32_t total, int32_t most) {
  return ceil_div(total, ceil_div(total, most < 1 ? 1 : most));
}

PSA_HD int32_t lowest_bit(int32_t x) { return x == 0 ? 1 << 30 : x & -x; }

// Two constraints choose the pitch. A shared row must sit in its 16-byte cell as the output row
// does in global memory (pitch = H * W modulo the cell), so that whole cells can be copied. And
// lanes of the fill step, which walk a diagonal or a column, should meet different banks: of the
// two smallest candidates take the one whose step has fewer factors of two.
PSA_HD int32_t choose_pitch(int32_t kind, int32_t width, int64_t hw, int32_t cell) {
  const int32_t lead = static_cast<int32_t>(hw % cell);
  int32_t pitch = width + (lead - width % cell + cell) % cell;
  const int32_t slope = kind == kBackwardDistribute ? 0 : (kind == kBackwardCollect ? -1 : 1);
  if (lowest_bit(pitch + slope) > lowest_bit(pitch + cell + slope)) pitch += cell;
  return pitch;
}

inline Plan make_plan(int32_t kind, int64_t batch, int32_t h, int32_t w, int32_t mask_h,
                      int32_t mask_w, int32_t elem_bytes, int64_t tile_bytes = kTileBytes) {
  const bool backward = kind >= kBackwardCollect;
  const int32_t cell = static_cast<int32_t>(kVectorBytes / elem_bytes);
  const int64_t room = tile_bytes / elem_bytes, slack = 2 * cell;  // elements; what a pitch may add
  Plan plan{};
  plan.batch = batch;
  plan.h = h, plan.w = w, plan.mask_h = mask_h, plan.mask_w = mask_w;
  plan.half_h = (mask_h - 1) / 2, plan.half_w = (mask_w - 1) / 2;
  plan.outer = backward ? mask_h : h, plan.rows = backward ? mask_w : w;
  plan.tile_cols = balanced(w, room >= 4096 ? 128 : 64);
  plan.tile_rows = balanced(plan.rows, static_cast<int32_t>(room / (plan.tile_cols + slack)));
  plan.group = 1;
  if (plan.tile_cols == w && plan.tile_rows == plan.rows) {
    plan.group = balanced(h, static_cast<int32_t>((room / plan.rows - slack) / w));
  }
  plan.row_tiles = ceil_div(plan.rows, plan.tile_rows);
  plan.col_tiles = ceil_div(w, plan.tile_cols);
  plan.groups = ceil_div(h, plan.group);
  const int32_t width = plan.group * plan.tile_cols;
  plan.pitch = choose_pitch(kind, width, int64_t(h) * w, cell);
  // One cell more: the first row starts where its place in global memory says, not at zero.
  plan.shared_elems = int64_t(plan.tile_rows) * plan.pitch + cell;
  return plan;
}

}  // namespace segkit
