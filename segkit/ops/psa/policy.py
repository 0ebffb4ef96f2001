"""How large patches and chunks are: measured choices, kept apart from the method.

A patch of Kb x T own pixels multiplies its features with (S + Kb - 1)(U + T - 1) window offsets
for S * U useful ones, so small patches waste less arithmetic and large ones run closer to peak.
"""

from segkit.ops.psa.window import Reach

PATCH_ROWS = 200  # of the matrix product, over the batch: N * Kb * T
CHUNK_BYTES = 64 * 2**20  # logits that distribute holds at once
NARROW = 0.7  # share of the columns that a narrow chunk may look at


def patch_lengths(n: int, h: int, w: int) -> tuple[int, int]:
    """(Kb, T), own rows and columns of a patch."""
    side = max(1, round((PATCH_ROWS / max(1, n)) ** 0.5))
    return min(side, h), min(side, w)


def chunk_lengths(n: int, h: int, w: int, columns: Reach, itemsize: int) -> tuple[int, int]:
    """Rows and columns of others whose logits from all own pixels in reach fit in the budget.

    A chunk takes all columns unless the mask reaches so few that narrow chunks skip most pairs.
    """
    narrow = max(8, w // 4)
    width = narrow if columns.span + narrow < NARROW * w else w
    height = CHUNK_BYTES // (max(1, n) * h * min(w, width + columns.span) * width * itemsize)
    return max(1, min(h, height)), width
