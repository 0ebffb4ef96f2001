// The PSA mask op without a GPU: how it is cut into tiles, and what a thread does to one. Plain
// arithmetic, run by the kernels (psa_mask.cu) and by a loop on the host (tests/ops).
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

// The two steps of a tile, fill and store, as functions of a thread number without any barrier: the
// kernel runs them with a barrier between, and a host loop over thread numbers runs the very same
// arithmetic on a machine without a GPU.
//
// T is an unsigned integer as wide as the element: nothing is computed, so float16 and bfloat16
// share code, and every bit pattern, NaN payloads included, arrives unchanged.
struct __attribute__((may_alias, aligned(16))) Cell {
  uint32_t word[4];
};

// One tile of one image: where it starts and how much of it lies inside the output.
struct Tile {
  int64_t image, out_base;  // out_base: element of the output that its corner is written to
  int32_t outer, plane0, row0, col0;  // first plane, row, column
  int32_t planes, rows, cols;         // extent
};

// `index` counts the tiles of one (image, outer) pair.
PSA_HD Tile locate(const Plan& plan, int64_t image, int32_t outer, int32_t index) {
  Tile tile;
  const int32_t column_tile = index % plan.col_tiles, rest = index / plan.col_tiles;
  tile.image = image, tile.outer = outer;
  tile.col0 = column_tile * plan.tile_cols;
  tile.plane0 = rest % plan.groups * plan.group;
  tile.row0 = rest / plan.groups * plan.tile_rows;
  tile.planes = plan.h - tile.plane0 < plan.group ? plan.h - tile.plane0 : plan.group;
  tile.rows = plan.rows - tile.row0 < plan.tile_rows ? plan.rows - tile.row0 : plan.tile_rows;
  tile.cols = plan.w - tile.col0 < plan.tile_cols ? plan.w - tile.col0 : plan.tile_cols;
  const int64_t row = (image * plan.outer + outer) * plan.rows + tile.row0;
  tile.out_base = row * (int64_t(plan.h) * plan.w) + int64_t(tile.plane0) * plan.w + tile.col0;
  return tile;
}

// Walks fast x slow slots, `step` apart, without a division a slot. `fast` runs along the input's
// contiguous axis; `slow` is bent by `slope` so that a row of slots follows a diagonal of the tile:
// slow = (start + slope * fast) modulo its extent. Every slot of the tile is met exactly once.
struct Walk {
  int32_t fast, slow, left, fasts, slows, fast_step, plain_step, carry_step, step;

  PSA_HD Walk(int32_t first, int32_t stride, int32_t fast_extent, int32_t slow_extent,
              int32_t slope)
      : fasts(fast_extent), slows(slow_extent), step(stride) {
    fast = first % fasts;
    slow = wrap(first / fasts + slope * fast);
    left = fasts * slows - first;
    fast_step = stride % fasts;
    plain_step = wrap(stride / fasts + slope * fast_step);
    carry_step = wrap(stride / fasts + 1 + slope * (fast_step - fasts));
  }

  PSA_HD int32_t wrap(int32_t x) const { return (x % slows + slows) % slows; }

  PSA_HD void advance() {
    fast += fast_step;
    const bool carry = fast >= fasts;
    if (carry) fast -= fasts;
    slow += carry ? carry_step : plain_step;
    if (slow >= slows) slow -= slows;
    left -= step;
  }
};

// Start of the input that plane `plane` of the tile reads, or -1 where the whole plane is zero.
template <int kKind>
PSA_HD int64_t plane_base(const Plan& plan, const Tile& tile, int32_t plane) {
  const int64_t hw = int64_t(plan.h) * plan.w;
  if (kKind == kForwardCollect || kKind == kForwardDistribute) {
    const int32_t k = kKind == kForwardCollect ? plane : tile.outer;
    const int32_t p = (kKind == kForwardCollect ? tile.outer : plane) - k + plan.half_h;
    if (p < 0 || p >= plan.mask_h) return -1;
    return ((tile.image * plan.mask_h + p) * plan.mask_w) * hw + int64_t(k) * plan.w;
  }
  const int32_t s = plane + tile.outer - plan.half_h;
  if (s < 0 || s >= plan.h) return -1;
  if (kKind == kBackwardCollect) {
    return (tile.image * plan.h + s) * plan.w * hw + int64_t(plane) * plan.w;
  }
  return (tile.image * plan.h + plane) * plan.w * hw + int64_t(s) * plan.w;
}

// The input of slot (row, col) is at plane_base + far * hw + near; false where the output is zero.
template <int kKind>
PSA_HD bool slot_source(const Plan& plan, int32_t row, int32_t col, int32_t* far, int32_t* near) {
  if (kKind == kForwardCollect || kKind == kForwardDistribute) {
    *near = kKind == kForwardCollect ? col : row;
    *far = (kKind == kForwardCollect ? row : col) - *near + plan.half_w;  // q
    return static_cast<uint32_t>(*far) < static_cast<uint32_t>(plan.mask_w);
  }
  const int32_t t = col + row - plan.half_w;
  *near = kKind == kBackwardCollect ? col : t;
  *far = kKind == kBackwardCollect ? t : col;
  return static_cast<uint32_t>(t) < static_cast<uint32_t>(plan.w);
}

template <typename T>
PSA_HD T read_only(const T* address) {
#ifdef __CUDA_ARCH__
  return __ldg(address);
#else
  return *address;
#endif
}

// Step 1: input -> shared. Four loads are in flight before the first is used.
template <int kKind, typename T>
PSA_HD void fill(const Plan& plan, const Tile& tile, const T* in, T* shared, int32_t thread,
                 int32_t threads) {
  constexpr int32_t kInFlight = 4;
  constexpr bool kRowsFast = kKind == kForwardDistribute || kKind == kBackwardDistribute;
  constexpr int32_t kSlope =
      kKind == kBackwardDistribute ? 0 : (kKind == kBackwardCollect ? -1 : 1);
  const int32_t hw = plan.h * plan.w;
  const int32_t lead = static_cast<int32_t>(tile.out_base % (kVectorBytes / int64_t(sizeof(T))));
  const Walk start(thread, threads, kRowsFast ? tile.rows : tile.cols,
                   kRowsFast ? tile.cols : tile.rows, kSlope);
  for (int32_t plane = 0; plane < tile.planes; ++plane) {
    const int64_t base = plane_base<kKind>(plan, tile, tile.plane0 + plane);
    const T* source = in + base;
    T* target = shared + lead + plane * plan.w;
    for (Walk walk = start; walk.left > 0;) {
      T value[kInFlight];
      int32_t place[kInFlight];
#pragma unroll
      for (int32_t i = 0; i < kInFlight; ++i) {
        const int32_t row = kRowsFast ? walk.fast : walk.slow,
                      col = kRowsFast ? walk.slow : walk.fast;
        int32_t far, near;
        const bool inside = slot_source<kKind>(plan, tile.row0 + row, tile.col0 + col, &far, &near);
        place[i] = walk.left > 0 ? row * plan.pitch + col : -1;
        value[i] = 0;
        if (inside && base >= 0 && walk.left > 0)
          value[i] = read_only(source + int64_t(far) * hw + near);
        walk.advance();
      }
#pragma unroll
      for (int32_t i = 0; i < kInFlight; ++i) {
        if (place[i] >= 0) target[place[i]] = value[i];
      }
    }
  }
}

// Step 2: shared -> output, row by row: whole 16-byte cells, then the ragged ends one by one. The
// ends are a pass of their own, for one lane at an end would hold up the 31 others.
template <typename T>
PSA_HD void store(const Plan& plan, const Tile& tile, const T* shared, T* out, int32_t thread,
                  int32_t threads) {
  constexpr int32_t kCell = static_cast<int32_t>(kVectorBytes / sizeof(T));
  const int64_t hw = int64_t(plan.h) * plan.w;
  const int32_t lead = static_cast<int32_t>(tile.out_base % kCell);
  const int32_t width = (tile.planes - 1) * plan.w + tile.cols;
  const int32_t most = width < kCell ? 1 : width / kCell;  // no row holds more whole cells
  T* corner = out + tile.out_base - lead;
  for (Walk walk(thread, threads, most, tile.rows, 0); walk.left > 0; walk.advance()) {
    const int32_t begin = lead + walk.slow * plan.pitch;
    const int32_t cell = (begin + kCell - 1) / kCell * kCell + walk.fast * kCell;
    if (cell + kCell > begin + width) continue;
    T* target = corner + walk.slow * hw + (cell - walk.slow * plan.pitch);
    *reinterpret_cast<Cell*>(target) = *reinterpret_cast<const Cell*>(shared + cell);
  }
  if (lead == 0 && width % kCell == 0 && hw % kCell == 0) return;
  for (Walk walk(thread, threads, 2 * kCell, tile.rows, 0); walk.left > 0; walk.advance()) {
    const int32_t begin = lead + walk.slow * plan.pitch, end = begin + width;
    const int32_t first = (begin + kCell - 1) / kCell * kCell, last = end / kCell * kCell;
    int32_t at = walk.fast < kCell ? begin + walk.fast : last + walk.fast - kCell;
    const bool ragged = walk.fast < kCell ? at < first && at < end : at >= first && at < end;
    if (ragged) corner[walk.slow * hw + (at - walk.slow * plan.pitch)] = shared[at];
  }
}

}  // namespace segkit
