"""The Triton backend of `rasterization`: does it compile, and are its numbers right? See `programs.py`."""

import pytest
import torch

from bestpapers.kernels import dispatch
from bestpapers.kernels.rasterize import rasterization, rules

from . import programs
from .scenes import random_scene


@programs.in_both
def test_agrees_with_the_reference(where):
    programs.assert_passes("triton_rasterize.py", where)


def test_import_does_not_need_triton():
    programs.assert_imports_without_triton("bestpapers.kernels.rasterize")


def test_says_why_it_cannot_run():
    if dispatch.interpreting():
        pytest.skip("TRITON_INTERPRET=1 is set: here it can")
    scene = random_scene(3)
    scene = {k: v.float() if isinstance(v, torch.Tensor) else v for k, v in scene.items()}
    with pytest.raises(RuntimeError, match=r"backend='triton'.*(needs CUDA tensors, got cpu|not installed)"):
        rasterization(**scene, backend="triton")


# Triton makes a kernel of its own for whole numbers that are 1 or multiples of 16, so such sizes are tried besides others.
SIZES = [
    (90, dict(C=2, N=40, D=3, width=48, height=20)),
    (75, dict(C=1, N=48, D=4, width=800, height=800)),
    (90, dict(C=1, N=1, D=1, width=1, height=1)),
    (80, dict(C=1, N=7, D=37, width=9, height=33)),
]


@programs.needs_compiler
@pytest.mark.parametrize(("capability", "size"), SIZES, ids=["common", "sixteens", "ones", "many-channels"])
def test_every_launch_compiles(capability, size, monkeypatch):
    from bestpapers.kernels.rasterize.composite import gpu as composite
    from bestpapers.kernels.rasterize.harmonics import gpu as harmonics
    from bestpapers.kernels.rasterize.project import gpu as project
    from bestpapers.kernels.rasterize.tiles import gpu as tiles

    for name in ("empty", "empty_like"):  # memory that nobody writes: zeros, so that what follows stays sane
        monkeypatch.setattr(torch, name, getattr(torch, name.replace("empty", "zeros")))
    C, N, D, width, height = size.values()
    settings = (width, height, 0.3, rules.NEAR_PLANE, rules.FAR_PLANE)
    inputs = [torch.zeros(*shape) for shape in ((N, 3), (N, 4), (N, 3), (C, 4, 4), (C, 3, 3))]
    with programs.compiling([project, harmonics, tiles, composite], capability, monkeypatch) as compiled:
        means2d, depths, conics, rhos, _ = project.forward(*inputs, *settings)
        for cameras in (False, True):
            project.backward(*inputs, *settings, means2d, depths, conics, rhos, cameras=cameras)
        dirs, seen = torch.zeros(C, N, 3), torch.ones(C, N, dtype=torch.bool)
        for degree in (0, 3):
            coeffs = torch.zeros(N, 16, D)
            grad = harmonics.forward(degree, dirs, coeffs, seen)
            harmonics.backward(degree, dirs, coeffs, seen, grad)
        colors = torch.zeros(C, N, D)
        lists = tiles.bin_tiles(means2d, conics, depths, depths, width, height)
        image, alpha, *kept = composite.forward(means2d, conics, colors, depths, lists, width, height)
        composite.backward(means2d, conics, colors, depths, lists, width, height, *kept, image, alpha)
    for name, kernel in compiled.items():
        assert len(kernel.asm["cubin"]) > 1000, name
    if D in (3, 4):  # what the docstrings promise about the two loops that take the time
        for name in ("_composite_forward", "_composite_backward"):
            assert "ttg.convert_layout" not in compiled[name].asm["ttgir"], f"{name} reshuffles vectors between threads"
        assert "bar.sync" not in compiled["_composite_backward"].asm["ptx"]
