"""What the Triton programs of all ops share: how they are launched, and rows of three numbers.

A Triton kernel is written like vectorised torch for *one program*; the launch says how many programs run side by side.
Capitals (MEANS, OUT) are pointers to tensors, `tl.arange` makes the vector on which a program works, and a mask keeps the lanes
that overrun a tensor from touching memory. Kernels may only use global names that are marked as compile-time constants.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 128  # lanes of a program that has an item (a Gaussian, a pair) for each: one per thread, in four warps


def launch(kernel, grid: int | tuple[int, ...], *arguments, **options) -> None:
    """Run `kernel` on a grid of so many programs: a number, or a tuple of them. The first argument is a tensor."""
    grid = grid if isinstance(grid, tuple) else (grid,)
    options.setdefault("enable_fp_fusion", True)  # a * b + c in one instruction; from Triton 3.10 on not the default
    if all(grid):  # CUDA refuses an empty launch
        with torch.cuda.device_of(arguments[0]):  # Triton launches on the current device, which may be another one
            kernel[grid](*arguments, **options)


@triton.jit
def load3(P, n, live):
    """Row n of [N, 3], as three vectors."""
    return (
        tl.load(P + n * 3, mask=live, other=1.0),
        tl.load(P + n * 3 + 1, mask=live, other=1.0),
        tl.load(P + n * 3 + 2, mask=live, other=1.0),
    )


@triton.jit
def store3(P, n, live, a, b, c):
    tl.store(P + n * 3, a, mask=live)
    tl.store(P + n * 3 + 1, b, mask=live)
    tl.store(P + n * 3 + 2, c, mask=live)
