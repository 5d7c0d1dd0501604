"""The Triton backend of `softsplat` against the float64 reference, through the public function.

Not collected by itself: `test_softsplat_triton.py` runs this file in a process of its own, because Triton decides once
per process, when it is first imported, whether it interprets or compiles. By hand, on a machine without a GPU:

    TRITON_INTERPRET=1 python -m pytest tests/kernels/triton_softsplat.py
"""

from __future__ import annotations

import math

import pytest
import torch

from bestpapers.kernels import dispatch
from bestpapers.kernels.softsplat import MODES, softsplat

from .poison import poisoned_memory
from .splats import F32, NAMES, WEIGHTED, pull, scene, upstream

DEVICE = "cpu" if dispatch.interpreting() else "cuda"
LARGE = DEVICE == "cuda"
KINDS = ("rough", "smooth", "integer", "still", "away", "crowd", "steep", "faint")
SHAPES = [(1, 1, 1, 1), (1, 3, 1, 9), (2, 2, 13, 1), (2, 9, 9, 11)] + [(2, 33, 129, 255), (1, 3, 720, 1280)] * LARGE
EACH = pytest.mark.parametrize("mode", MODES)


def compare(tensors, mode):
    """As for Numba; the exponential of a GPU is good to 2 units in the last place."""
    (want, holes), (got, found) = pull(tensors, mode, "reference"), pull(tensors, mode, "triton", F32, DEVICE)
    assert torch.equal(found, holes)
    for name, a, b in zip(NAMES, got, want):
        size = max(b.square().mean().sqrt().item(), 1e-6)
        assert (a - b).square().mean().sqrt().item() <= 2e-5 * size, name
        assert (a - b).abs().max().item() <= (5e-3 if LARGE else 2e-3) * size, name


@EACH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(shape, mode):
    compare(scene(shape, mode), mode)


@EACH
@pytest.mark.parametrize("kind", KINDS)
def test_hard_cases(kind, mode):
    compare(scene((1, 3, 9, 15), mode, kind), mode)


@EACH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype, mode):
    """Against float64 of the rounded tensors: as near as one rounding of the result allows."""
    tensors = [t.to(dtype) for t in scene((2, 5, 9, 15), mode)]
    want, _ = pull([t.double() for t in tensors], mode, "reference")
    got, _ = pull(tensors, mode, "triton", dtype, DEVICE)
    for name, a, b in zip(NAMES, got, want):
        size = max(b.square().mean().sqrt().item(), 1e-6)
        assert (a - b).square().mean().sqrt().item() <= 5e-3 * size, name
        assert (a - b).abs().max().item() <= 2e-2 * max(b.abs().max().item(), 1e-6), name


@EACH
def test_equal_runs_give_equal_bits(mode):
    tensors = scene((1, 3, 300, 400) if LARGE else (1, 2, 9, 15), mode, "crowd")
    one, two = (pull(tensors, mode, "triton", F32, DEVICE)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@EACH
def test_every_cell_is_written(mode):
    tensors = scene((2, 3, 7, 9), mode, "away")
    clean, _ = pull(tensors, mode, "triton", F32, DEVICE)
    with poisoned_memory():
        again, _ = pull(tensors, mode, "triton", F32, DEVICE)
    assert all(torch.equal(a, b) for a, b in zip(clean, again, strict=True))


@EACH
def test_only_some_gradients_are_wanted(mode):
    tensors = [t.to(DEVICE, F32) for t in scene((1, 2, 5, 6), mode)]
    (_, *full), _ = pull(tensors, mode, "triton", F32, DEVICE)
    for wanted in ((0,), (1,), (0, 1)) + ((2,), (1, 2)) * (mode in WEIGHTED):
        inputs = [t.clone().requires_grad_(k in wanted) for k, t in enumerate(tensors)]
        output, _ = softsplat(*inputs, mode=mode, backend="triton")
        output.backward(upstream(output.detach().cpu()).to(output))
        for t, g in zip(inputs, full, strict=True):
            assert (t.grad is not None) == t.requires_grad
            assert t.grad is None or torch.allclose(t.grad.cpu().double(), g, rtol=1e-5, atol=1e-6)


@EACH
def test_what_is_not_finite_lands_nowhere(mode):
    tensors = scene((1, 3, 9, 8), mode, "smooth")
    gone = [t.clone() for t in tensors]
    gone[0][..., 2:5, 3:6], gone[1][..., 2:5, 3:6] = 0, 1000.0
    want, holes = pull(gone, mode, "triton", F32, DEVICE)
    for value in (math.nan, math.inf, -math.inf):
        bad = [t.clone() for t in tensors]
        bad[0][..., 2:5, 3:6], bad[1][:, :1, 2:5, 3:6] = math.nan, value
        got, found = pull(bad, mode, "triton", F32, DEVICE)
        assert torch.equal(found, holes)
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@EACH
@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (1, 0, 4, 5)], ids=str)
def test_nothing_to_do(shape, mode):
    tensors = scene(shape, mode)
    (output, *grads), _ = pull(tensors, mode, "triton", F32, DEVICE)
    assert output.shape == shape
    assert all((g == 0).all() for g in grads)
