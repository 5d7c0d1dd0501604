"""The Triton backend of `contrastive_loss`: does it compile, and are its numbers right?

Numbers are checked by `triton_contrastive.py`, in a process of its own: Triton decides once per process, when it is first
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
from bestpapers.kernels.contrastive import Sums

HERE = Path(__file__).parent
MISSING = dispatch.unavailable("triton", "cuda")


@pytest.mark.parametrize("where", ["interpreter", "cuda"])
def test_agrees_with_the_reference(where):
    if MISSING:
        pytest.skip(MISSING)
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TRITON_INTERPRET"))}
    if where == "interpreter":
        env["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "pytest", str(HERE / "triton_contrastive.py"), "--tb=short"]
    run = subprocess.run(command, env=env, cwd=HERE.parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr[-2000:]
    assert re.search(r"^\d+ passed", run.stdout.splitlines()[-1]), "all tests pass, and none is skipped"


def test_import_does_not_need_triton():
    code = "import sys; import bestpapers.kernels.contrastive; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(
    MISSING is not None or dispatch.interpreting(), reason=MISSING or "TRITON_INTERPRET=1 is set: nothing is compiled"
)
@pytest.mark.parametrize("precision", ["tf32", "tf32x3"])
@pytest.mark.parametrize(("capability", "B", "d"), [(80, 4096, 512), (90, 1000, 300), (90, 1, 1), (100, 4096, 512)])
def test_every_launch_compiles(capability, B, d, precision, monkeypatch):
    """The module's own functions run up to the launch, which here compiles the kernel for the arguments and drops it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from bestpapers.kernels.contrastive import gpu

    compiled = {}

    def launch(kernel, grid, *arguments, PRECISION):
        assert all(grid)
        signature, constants, aligned = {}, {}, {}
        for k, (name, value) in enumerate(zip(kernel.arg_names, (*arguments, PRECISION), strict=True)):
            if name == "PRECISION" or (isinstance(value, int) and value == 1):
                signature[name], constants[name] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[name] = {torch.float32: "*fp32"}[value.dtype]
                aligned[(k,)] = [["tt.divisibility", 16]]
            else:
                signature[name] = "i32" if isinstance(value, int) else "fp32"
        source = ASTSource(kernel, signature, constants, attrs=aligned)
        options = dict(enable_fp_fusion=True, num_warps=gpu.WARPS)
        compiled[kernel.__name__] = compile(source, target=GPUTarget("cuda", capability, 32), options=options)

    monkeypatch.setattr(gpu, "_launch", launch)
    monkeypatch.setattr(gpu, "_precision", lambda: precision)
    images, scale = torch.zeros(B, d), torch.tensor(1.0)
    sums = Sums(*gpu.forward(images, images, scale, 0, True))
    gpu.backward(images[:1], images[:1], scale, 0, True, Sums(*(t[:1] for t in sums)), (True, True))
    gpu.backward(images, images, scale, 7, True, sums, (False, False))

    assert set(compiled) == set(re.findall(r"_launch\(\s*(_\w+)", inspect.getsource(gpu))), "every launch is tried here"
    for name, kernel in compiled.items():
        assert re.search(r"mma", kernel.asm["ptx"]), f"{name} does not use tensor cores"
        assert kernel.metadata.shared <= 99 * 1024, f"{name} wants more shared memory than small GPUs have"
