"""The Triton backend of `softsplat`: does it compile, and are its numbers right? See `programs.py`."""

import pytest
import torch

from bestpapers.kernels.softsplat import MODES

from . import programs


@programs.in_both
def test_agrees_with_the_reference(where):
    programs.assert_passes("triton_softsplat.py", where)


def test_import_does_not_need_triton():
    programs.assert_imports_without_triton("bestpapers.kernels.softsplat")


@programs.needs_compiler
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("capability", "shape"), [(80, (2, 32, 288, 512)), (90, (1, 3, 5, 7)), (100, (1, 1, 1, 1))])
def test_every_launch_compiles(capability, shape, mode, monkeypatch):
    from bestpapers.kernels.softsplat import gpu

    B, C, H, W = shape
    x, flow, weight = torch.zeros(B, C, H, W), torch.zeros(B, 2, H, W), torch.zeros(B, 1, H, W)
    with programs.compiling([gpu], capability, monkeypatch) as compiled:
        output, top, total = gpu.forward(x, flow, weight, mode)
        for wants in ((True, True), (True, False), (False, True)):
            gpu.backward(x, flow, weight, output, top, total, x, mode, *wants)
    for name, kernel in compiled.items():
        assert "atom" not in kernel.asm["ptx"], f"{name} adds by atomics, in an order that differs from run to run"
