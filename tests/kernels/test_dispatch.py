"""Which backend runs: named ones never fall back, reasons are sentences, and nothing but torch is needed to import."""

import os
import subprocess
import sys

import pytest
import torch

from bestpapers.kernels import dispatch

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
F32, F64 = torch.float32, torch.float64


@pytest.fixture(autouse=True)
def _everything_installed(monkeypatch):
    monkeypatch.setattr(dispatch, "_installed", lambda module: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def _without(module, monkeypatch):
    monkeypatch.setattr(dispatch, "_installed", lambda name: name != module)


@pytest.mark.parametrize(
    ("device", "dtype", "want"),
    [(CPU, F32, "numba"), (CUDA, F32, "triton"), (CPU, F64, "reference"), (CUDA, F64, "reference"),
     (CPU, torch.float16, "reference"), (torch.device("meta"), F32, "reference")],
)  # fmt: skip
def test_auto_takes_the_fastest_that_can_run(device, dtype, want):
    assert dispatch.choose("op", "auto", device, dtype) == want


def test_auto_passes_over_what_is_not_installed(monkeypatch):
    _without("numba", monkeypatch)
    assert dispatch.choose("op", "auto", CPU, F32) == "reference"
    _without("triton", monkeypatch)
    assert dispatch.choose("op", "auto", CUDA, F32) == "reference"


def test_auto_never_takes_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert dispatch.unavailable("triton", CPU, F32) is None
    assert dispatch.choose("op", "auto", CPU, F32) == "numba"
    assert dispatch.choose("op", "triton", CPU, F32) == "triton"


@pytest.mark.parametrize(
    ("backend", "device", "dtype", "reason"),
    [
        ("triton", CPU, F32, "triton needs CUDA tensors, got cpu"),
        ("numba", CUDA, F32, "numba needs CPU tensors, got cuda"),
        ("numba", CPU, F64, "numba computes in float32, got float64"),
        ("triton", CUDA, torch.bfloat16, "triton computes in float32, got bfloat16"),
        ("cuda", CPU, F32, "there is no backend 'cuda'; choose one of triton, numba, reference or auto"),
    ],
)
def test_a_named_backend_runs_or_says_why_not(backend, device, dtype, reason):
    assert dispatch.unavailable(backend, device, dtype) == reason
    with pytest.raises(RuntimeError) as error:
        dispatch.choose("op", backend, device, dtype)
    assert str(error.value) == f"op(backend={backend!r}): {reason}"


@pytest.mark.parametrize("backend", ["numba", "triton"])
def test_what_is_not_installed_is_named(backend, monkeypatch):
    _without(backend, monkeypatch)
    with pytest.raises(RuntimeError, match=f"{backend} is not installed"):
        dispatch.choose("op", backend, CPU, F32)


def test_the_reference_runs_everywhere():
    assert all(dispatch.unavailable("reference", d, t) is None for d in (CPU, CUDA) for t in (F32, F64))


def test_report_is_one_line():
    line = dispatch.report("cpu")
    assert line == "kernels on cpu: numba · reference: ok · triton: needs CUDA tensors, got cpu"


IMPORTS = """
import sys
import bestpapers.kernels
assert not {"torch", "numba", "triton"} & set(sys.modules), "importing the package must stay quick"

blocked = sys.argv[1]
sys.modules[blocked] = None  # from here on `import` of it fails, as if it were not installed
import torch
from bestpapers.kernels import dispatch
from bestpapers.kernels.rasterize import rasterization

want = {"numba": "reference", "triton": "numba"}[blocked]
scene = dict(
    means=torch.tensor([[0.0, 0.0, 2.0]]), quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]), scales=torch.full((1, 3), 0.1),
    opacities=torch.ones(1), colors=torch.ones(1, 3), viewmats=torch.eye(4)[None],
    Ks=torch.tensor([[[8.0, 0.0, 4.0], [0.0, 8.0, 4.0], [0.0, 0.0, 1.0]]]), width=8, height=8,
)
out = rasterization(**scene)
assert out.meta["backend"] == want, out.meta["backend"]
assert out.alphas.max() > 0.1
try:
    rasterization(**scene, backend=blocked)
except RuntimeError as error:
    assert f"{blocked} is not installed" in str(error), error
else:
    raise AssertionError("a backend that is not installed ran")
"""


@pytest.mark.parametrize("module", ["numba", "triton"])
def test_imports_and_runs_without(module):
    done = subprocess.run([sys.executable, "-c", IMPORTS, module], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


FORK = """
import multiprocessing, sys
import torch
from bestpapers.kernels.softsplat import softsplat

def work():
    return softsplat(torch.ones(1, 1, 4, 4), torch.zeros(1, 2, 4, 4), mode="average").output.sum().item()

if __name__ == "__main__":
    before, method = sys.argv[1] == "before", sys.argv[2]
    if before:
        work()
    with multiprocessing.get_context(method).Pool(1) as pool:
        try:
            print(pool.apply(work))
        except RuntimeError as error:
            print(error)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize(
    ("when", "method", "said"),
    [("before", "fork", "forked from one whose threads"), ("after", "fork", "16.0"), ("before", "spawn", "16.0")],
)
def test_a_forked_child_says_why_it_cannot_compute(when, method, said, tmp_path):
    """If threads had computed before: without a word it would be ended by OpenMP, or wait for ever."""
    (tmp_path / "work.py").write_text(FORK)
    command = [sys.executable, str(tmp_path / "work.py"), when, method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert said in done.stdout, done.stdout + done.stderr
