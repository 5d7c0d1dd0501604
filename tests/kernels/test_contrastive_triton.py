"""The Triton backend of `contrastive_loss`: does it compile, and are its numbers right? See `programs.py`."""

import pytest
import torch

from bestpapers.kernels.contrastive import Sums

from . import programs


@programs.in_both
def test_agrees_with_the_reference(where):
    programs.assert_passes("triton_contrastive.py", where)


def test_import_does_not_need_triton():
    programs.assert_imports_without_triton("bestpapers.kernels.contrastive")


@programs.needs_compiler
@pytest.mark.parametrize("precision", ["tf32", "tf32x3"])
@pytest.mark.parametrize(("capability", "B", "d"), [(80, 4096, 512), (90, 1000, 300), (90, 1, 1), (100, 4096, 512)])
def test_every_launch_compiles(capability, B, d, precision, monkeypatch):
    from bestpapers.kernels.contrastive import gpu

    monkeypatch.setattr(gpu, "_precision", lambda: precision)
    images, scale = torch.zeros(B, d), torch.tensor(1.0)
    with programs.compiling([gpu], capability, monkeypatch) as compiled:
        sums = Sums(*gpu.forward(images, images, scale, 0, True))
        gpu.backward(images[:1], images[:1], scale, 0, True, Sums(*(t[:1] for t in sums)), (True, True))
        gpu.backward(images, images, scale, 7, True, sums, (False, False))
    for name, kernel in compiled.items():
        assert "mma" in kernel.asm["ptx"], f"{name} does not use tensor cores"
        assert kernel.metadata.shared <= 99 * 1024, f"{name} wants more shared memory than small GPUs have"
