"""The contrastive loss on the GPU, in Triton. As `reference.py`, without its memory; the same idea as `cpu.py`.

Forward, a program has a tile of rows (queries) and loops over the tiles of columns (keys): it makes a tile of logits in
registers, adds it to the running maximum and sum of exponentials of its rows, and forgets it. The columns get theirs from the
same kernel with queries and keys exchanged. That makes each tile twice, but no two programs write to the same place, so nothing
is added up in an order that changes from run to run, and no logit travels to memory.

Backward, a program per tile makes its logits once more and writes dL/dlogits, for as many rows at a time as fit into
`STRIP_CELLS`; two ordinary products with the features follow. (A program that kept its rows' gradients to itself would need
more registers than there are: 64 rows of 512 numbers fill half of a processor's.) Five products in all; the definition under
autograd takes six, and passes over B x B cells in memory a dozen times.

Products run on tensor cores. `torch.backends.cuda.matmul.allow_tf32 = True` (off by default, here as for torch's own products)
rounds features to the 11 bits of tf32: fast, and at a scale of 100 logits are off by some hundredths. Without it each product
of the kernels is made of three tf32 ones (Triton's tf32x3), which comes close to float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..programs import launch

if TYPE_CHECKING:
    from . import Sums

TILE = tl.constexpr(64)  # rows and columns of a tile
DEPTH = tl.constexpr(32)  # terms of a dot product that are loaded at a time
WARPS = 4  # groups of 32 threads that share a tile
STRIP_CELLS = 2**25  # cells of dL/dlogits that exist at a time: 134 MB


def forward(queries: Tensor, keys: Tensor, scale: Tensor, first: int, both: bool) -> tuple[Tensor, ...]:
    """The five tensors of `Sums`; the columns' are infinite unless `both`."""
    row_max, row_sum, label = _sum_rows(queries, keys, scale, first)
    if both:
        col_max, col_sum, _ = _sum_rows(keys, queries, scale, -first)
    else:
        col_max = col_sum = torch.full_like(keys[:, 0], torch.inf)
    return row_max, row_sum, col_max, col_sum, label


def backward(
    queries: Tensor, keys: Tensor, scale: Tensor, first: int, both: bool, sums: Sums, need: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """G keys and G^t queries with G = dL/dlogits, those of the two that are needed."""
    (m, d), n = queries.shape, len(keys)
    sides = 2 if both else 1
    weight = 1 / (sides * m)
    row_factor, col_factor = weight / sums.row_sum, weight / sums.col_sum
    g_queries = torch.empty_like(queries) if need[0] else None
    g_keys = torch.zeros_like(keys) if need[1] else None
    height = min(m, max(1, STRIP_CELLS // n))
    memory = queries.new_empty(height, n)
    for start in range(0, m, height):
        rows = slice(start, min(start + height, m))
        part, strip = queries[rows], memory[: rows.stop - start]
        row_sums, col_sums = (sums.row_max[rows], row_factor[rows]), (sums.col_max, col_factor)
        arguments = (part, keys, scale, *row_sums, *col_sums, strip, len(part), n, d, first + start, sides * weight)
        launch(_gradient_tile, (_tiles(len(part)), _tiles(n)), *arguments, PRECISION=_precision(), num_warps=WARPS)
        if g_queries is not None:
            torch.mm(strip, keys, out=g_queries[rows])
        if g_keys is not None:
            g_keys.addmm_(strip.T, part)
    return g_queries, g_keys


def _sum_rows(queries: Tensor, keys: Tensor, scale: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
    (m, d), n = queries.shape, len(keys)
    largest, total, label = (queries.new_empty(m) for _ in range(3))
    arguments = (queries, keys, scale, largest, total, label, m, n, d, first)
    launch(_sum_rows_kernel, _tiles(m), *arguments, PRECISION=_precision(), num_warps=WARPS)
    return largest, total, label


def _precision() -> str:
    matmul = torch.backends.cuda.matmul
    # torch 2.9 has a new name for the switch, and refuses to read the old one after the new one was set
    allowed = matmul.fp32_precision == "tf32" if hasattr(matmul, "fp32_precision") else matmul.allow_tf32
    return "tf32" if allowed else "tf32x3"


def _tiles(length: int) -> int:
    return -(-length // TILE.value)


@triton.jit
def _logits(Q, K, SCALE, rows, cols, m, n, d, PRECISION: tl.constexpr):
    """scale * queries keys^t for a tile [rows, columns]; zeros outside of the matrix."""
    tile = tl.zeros([TILE, TILE], tl.float32)
    for start in range(0, d, DEPTH):
        k = start + tl.arange(0, DEPTH)
        q = tl.load(Q + rows[:, None] * d + k[None, :], mask=(rows < m)[:, None] & (k < d)[None, :], other=0.0)
        kt = tl.load(K + cols[None, :] * d + k[:, None], mask=(cols < n)[None, :] & (k < d)[:, None], other=0.0)
        tile = tl.dot(q, kt, tile, input_precision=PRECISION)
    return tl.load(SCALE) * tile


@triton.jit
def _sum_rows_kernel(Q, K, SCALE, MAX, SUM, LABEL, m, n, d, first, PRECISION: tl.constexpr):
    """A program per tile of rows, a loop over the tiles of columns."""
    rows = (tl.program_id(0) * TILE + tl.arange(0, TILE)).to(tl.int64)
    largest, total = tl.full([TILE], -float("inf"), tl.float32), tl.zeros([TILE], tl.float32)
    label = tl.zeros([TILE], tl.float32)
    for start in range(0, n, TILE):
        cols = (start + tl.arange(0, TILE)).to(tl.int64)
        logits = _logits(Q, K, SCALE, rows, cols, m, n, d, PRECISION)
        logits = tl.where((cols < n)[None, :], logits, -float("inf"))
        higher = tl.maximum(largest, tl.max(logits, 1))
        total = total * tl.exp(largest - higher) + tl.sum(tl.exp(logits - higher[:, None]), 1)
        label += tl.sum(tl.where(cols[None, :] == rows[:, None] + first, logits, 0.0), 1)
        largest = higher
    tl.store(MAX + rows, largest, mask=rows < m)
    tl.store(SUM + rows, total, mask=rows < m)
    tl.store(LABEL + rows, label, mask=rows < m)


@triton.jit
def _gradient_tile(
    Q, K, SCALE, ROW_MAX, ROW_FACTOR, COL_MAX, COL_FACTOR, OUT, m, n, d, first, label, PRECISION: tl.constexpr
):  # fmt: skip
    """A program per tile: exp(logit - max) * factor of its row plus the same of its column, and `label` off for own keys."""
    rows = (tl.program_id(0) * TILE + tl.arange(0, TILE)).to(tl.int64)
    cols = (tl.program_id(1) * TILE + tl.arange(0, TILE)).to(tl.int64)
    inside = (rows < m)[:, None] & (cols < n)[None, :]
    row_max, row_factor = tl.load(ROW_MAX + rows, mask=rows < m), tl.load(ROW_FACTOR + rows, mask=rows < m)
    col_max, col_factor = tl.load(COL_MAX + cols, mask=cols < n), tl.load(COL_FACTOR + cols, mask=cols < n)
    logits = _logits(Q, K, SCALE, rows, cols, m, n, d, PRECISION)
    by_row = tl.exp(logits - row_max[:, None]) * row_factor[:, None]
    by_col = tl.exp(logits - col_max[None, :]) * col_factor[None, :]
    own = tl.where(cols[None, :] == rows[:, None] + first, label, 0.0)
    tl.store(OUT + rows[:, None] * n + cols[None, :], by_row + by_col - own, mask=inside)
