"""The Triton backend of `contrastive_loss` against the float64 reference, through the public function.

Not collected by itself: `test_contrastive_triton.py` runs this file in a process of its own, because Triton decides once per
process, when it is first imported, whether it interprets or compiles. By hand, on a machine without a GPU:

    TRITON_INTERPRET=1 python -m pytest tests/kernels/triton_contrastive.py
"""

from __future__ import annotations

import pytest
import torch

from bestpapers.kernels import contrastive, dispatch
from bestpapers.kernels.contrastive import contrastive_loss, gpu, reference

from .features import Largest, distance, pairs, pull
from .poison import poisoned_memory

DEVICE = "cpu" if dispatch.interpreting() else "cuda"
LARGE = DEVICE == "cuda"
SHAPES = [(1, 1), (2, 3), (17, 33), (64, 64), (65, 7), (130, 40)] + [(1000, 512), (4099, 768)] * LARGE


def triton_loss(*tensors):
    return contrastive_loss(*tensors, backend="triton")


def compare(tensors, rounding, **options):
    """`rounding`: what a gradient may be off by, in units of scale / B, see `test_contrastive.py`."""
    B, scale = len(tensors[0]), tensors[2].abs().clamp(min=1)
    want, got = pull(contrastive_loss, tensors), pull(triton_loss, tensors, torch.float32, DEVICE)
    assert got[0].item() == pytest.approx(want[0].item(), rel=1e-5, abs=2e-6)
    for a, b in zip(got[1:3], want[1:3]):
        assert (a - b).norm() <= 1e-5 * b.norm() + rounding * 1.7 * scale * B**-0.5
    assert abs(got[3] - want[3]) <= 1e-5 * abs(want[3]) + 1e-5


@pytest.mark.parametrize("scale", [0.0, 14.3, 100.0])
@pytest.mark.parametrize(("B", "d"), SHAPES)
def test_agrees_with_the_reference(B, d, scale):
    compare(pairs(B, d, scale), rounding=5e-6)


@pytest.mark.parametrize("scale", [-5.0, 100.0])
@pytest.mark.parametrize("kind", ["random", "same", "twins", "opposed", "large"])
def test_hard_cases(kind, scale):
    compare(pairs(70, 5, scale, kind), rounding=3e-5 if kind == "large" else 5e-6)


@pytest.mark.parametrize("first", [0, 30, 65])
def test_one_way(first):
    images, texts, scale = pairs(135, 9, 20.0)
    queries = images[first : first + 70]
    ops = contrastive._compiled("triton")
    want = pull(lambda *t: reference.one_way(*t, first), (queries, texts, scale))
    got = pull(lambda *t: ops.one_way(*t, first), (queries, texts, scale), torch.float32, DEVICE)
    assert max(distance(a, b) for a, b in zip(got, want, strict=True)) < 1e-5


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (1, 2)])
def test_only_some_gradients_are_wanted(wanted):
    tensors = pairs(40, 6, 20.0)
    full = pull(contrastive_loss, tensors)
    inputs = [t.to(DEVICE, torch.float32).requires_grad_(k in wanted) for k, t in enumerate(tensors)]
    (1.7 * triton_loss(*inputs)).backward()
    for k, t in enumerate(inputs):
        assert (t.grad is None) == (k not in wanted)
        if t.grad is not None:
            assert distance(t.grad.double().cpu(), full[1 + k]) < 1e-5


def test_strips(monkeypatch):
    """dL/dlogits in strips of 50 rows, not a multiple of a tile, and no larger tensor."""
    monkeypatch.setattr(gpu, "STRIP_CELLS", 50 * 170 + 9)
    tensors = pairs(170, 6, 20.0)
    compare(tensors, rounding=5e-6)
    with Largest() as mode:
        pull(triton_loss, tensors, torch.float32, DEVICE)
    assert mode.bytes == 4 * 50 * 170


def test_every_cell_is_written(monkeypatch):
    monkeypatch.setattr(gpu, "STRIP_CELLS", 50 * 90)
    tensors = pairs(90, 6, 20.0)
    clean = pull(triton_loss, tensors, torch.float32, DEVICE)

    with poisoned_memory():
        again = pull(triton_loss, tensors, torch.float32, DEVICE)
    assert all(torch.equal(a, b) for a, b in zip(clean, again, strict=True))


def test_tf32_is_torchs_switch():
    """Off by default; on, results are rounded, but still near."""
    assert gpu._precision() == "tf32x3"
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        assert gpu._precision() == "tf32"
        tensors = pairs(130, 40, 14.3)
        want, got = pull(contrastive_loss, tensors), pull(triton_loss, tensors, torch.float32, DEVICE)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert got[0].item() == pytest.approx(want[0].item(), rel=1e-2)
