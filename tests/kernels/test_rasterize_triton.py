"""The Triton backend of `rasterization`: does it compile, and are its numbers right?

Numbers are checked by `triton_rasterize.py`, in a process of its own: Triton decides once per process, when it is first
imported, whether it interprets programs or compiles them, and neither may leak into other tests. Without a GPU only the
interpreter can run them; but it forgives what the compiler does not, so here every program is compiled as well, down to
machine code for a GPU that need not be there.
"""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bestpapers.kernels import dispatch
from bestpapers.kernels.rasterize import rasterization, rules

from .scenes import random_scene

HERE = Path(__file__).parent
MISSING = dispatch.unavailable("triton", "cuda")
needs_compiler = pytest.mark.skipif(
    MISSING is not None or dispatch.interpreting(), reason=MISSING or "TRITON_INTERPRET=1 is set: nothing is compiled"
)


@pytest.mark.parametrize("where", ["interpreter", "cuda"])
def test_agrees_with_the_reference(where):
    if MISSING:
        pytest.skip(MISSING)
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TRITON_INTERPRET"))}
    if where == "interpreter":
        env["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "pytest", str(HERE / "triton_rasterize.py"), "--tb=short"]
    run = subprocess.run(command, env=env, cwd=HERE.parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr[-2000:]
    assert re.search(r"^\d+ passed", run.stdout.splitlines()[-1]), "all tests pass, and none is skipped"


def test_import_does_not_need_triton():
    code = "import sys; import bestpapers.kernels.rasterize; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_says_why_it_cannot_run():
    if dispatch.interpreting():
        pytest.skip("TRITON_INTERPRET=1 is set: here it can")
    scene = random_scene(3)
    scene = {k: v.float() if isinstance(v, torch.Tensor) else v for k, v in scene.items()}
    with pytest.raises(RuntimeError, match=r"backend='triton'.*(needs CUDA tensors, got cpu|not installed)"):
        rasterization(**scene, backend="triton")


TYPES = {torch.float32: "*fp32", torch.int16: "*i16", torch.int32: "*i32", torch.int64: "*i64"}

# Triton makes a kernel of its own for every whole number that is 1, so the smallest sizes are tried besides ordinary ones.
SIZES = [
    (90, dict(C=2, N=40, D=3, width=48, height=20)),
    (90, dict(C=1, N=1, D=1, width=1, height=1)),
    (80, dict(C=1, N=7, D=37, width=9, height=33)),
]


@needs_compiler
@pytest.mark.parametrize(("capability", "size"), SIZES, ids=["common", "ones", "many-channels"])
def test_every_launch_compiles(capability, size, monkeypatch):
    """The module's own functions run up to the launch, which here compiles the kernel for the arguments and drops it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from bestpapers.kernels.rasterize import gpu

    compiled = {}

    def launch(kernel, grid, *arguments, **options):
        names = [*kernel.arg_names[: len(arguments)]]
        values = dict(zip(names, arguments)) | {k: v for k, v in options.items() if k in kernel.arg_names}
        assert list(values) == kernel.arg_names, f"{kernel.__name__} is called with the wrong number of arguments"
        signature, constants = {}, {}
        for name, value in values.items():
            if name in options or (isinstance(value, int) and value == 1):
                signature[name], constants[name] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[name] = TYPES[value.dtype]
            else:
                signature[name] = "i32" if isinstance(value, int) else "fp32"
        settings = dict(enable_fp_fusion=True) | {k: v for k, v in options.items() if k not in kernel.arg_names}
        source = ASTSource(kernel, signature, constants)
        compiled[kernel.__name__] = compile(source, target=GPUTarget("cuda", capability, 32), options=settings)

    monkeypatch.setattr(gpu, "_launch", launch)
    for name in ("empty", "empty_like"):  # memory that nobody writes: zeros, so that what follows stays sane
        monkeypatch.setattr(torch, name, getattr(torch, name.replace("empty", "zeros")))
    C, N, D, width, height = size.values()
    settings = (width, height, 0.3, rules.NEAR_PLANE, rules.FAR_PLANE)
    inputs = [torch.zeros(*shape) for shape in ((N, 3), (N, 4), (N, 3), (C, 4, 4), (C, 3, 3))]
    means2d, depths, conics, rhos, _ = gpu.project_forward(*inputs, *settings)
    gpu.project_backward(*inputs, *settings, means2d, depths, conics, rhos)
    dirs = torch.zeros(C, N, 3)
    for degree in (0, 3):
        coeffs = torch.zeros(N, 16, D)
        grad = gpu.harmonics_forward(degree, dirs, coeffs)
        gpu.harmonics_backward(degree, dirs, coeffs, grad)
    colors = torch.zeros(C, N, D)
    tiles = gpu.bin_tiles(means2d, conics, depths, depths, width, height)
    image, alpha = gpu.composite_forward(means2d, conics, colors, depths, tiles, width, height)
    gpu.composite_backward(means2d, conics, colors, depths, tiles, width, height, image, alpha, image, alpha)

    assert set(compiled) == set(re.findall(r"_launch\(\s*(_\w+)", inspect.getsource(gpu))), "every launch is tried here"
    for name, kernel in compiled.items():
        assert len(kernel.asm["cubin"]) > 1000, name
    if D == 3:  # what the docstrings promise about the two loops that take the time
        for name in ("_composite_forward", "_composite_backward"):
            assert "ttg.convert_layout" not in compiled[name].asm["ttgir"], f"{name} reshuffles vectors between threads"
        assert "bar.sync" not in compiled["_composite_backward"].asm["ptx"]
