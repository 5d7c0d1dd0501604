"""What the tests of all Triton backends do: do the programs compile, and are their numbers right?

Numbers are checked by a file of its own, in a process of its own: Triton decides once per process, when it is first
imported, whether it interprets programs or compiles them, and neither may leak into other tests. Without a GPU only the
interpreter can run them; but it forgives what the compiler does not, so here every program is compiled as well, down to
machine code for a GPU that need not be there.
"""

import contextlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bestpapers.kernels import dispatch

HERE = Path(__file__).parent
MISSING = dispatch.unavailable("triton", "cuda")
TYPES = {
    torch.float32: "*fp32", torch.int8: "*i8", torch.int16: "*i16", torch.int32: "*i32", torch.int64: "*i64",
}  # fmt: skip

in_both = pytest.mark.parametrize("where", ["interpreter", "cuda"])
needs_compiler = pytest.mark.skipif(
    MISSING is not None or dispatch.interpreting(), reason=MISSING or "TRITON_INTERPRET=1 is set: nothing is compiled"
)


def assert_passes(file, where):
    """The tests of `file` pass in a process of their own."""
    if MISSING:
        pytest.skip(MISSING)
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TRITON_INTERPRET"))}
    if where == "interpreter":
        env["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "pytest", str(HERE / file), "--tb=short"]
    run = subprocess.run(command, env=env, cwd=HERE.parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr[-2000:]
    assert re.search(r"^\d+ passed", run.stdout.splitlines()[-1]), "all tests pass, and none is skipped"


def assert_imports_without_triton(module):
    code = f"import sys; import {module}; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@contextlib.contextmanager
def compiling(modules, capability, monkeypatch):
    """The functions of the `modules` run up to the launch, which here compiles the kernel for its arguments and drops it. As a
    launch on a GPU does, it makes a kernel of its own for whole numbers that are 1 or a multiple of 16, unless told not to.

    Yields {name of the kernel: what was compiled}; at the end every launch in the modules' sources must be there.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    compiled = {}

    def launch(kernel, grid, *arguments, **options):
        values = dict(zip(kernel.arg_names[: len(arguments)], arguments, strict=True))
        values |= {k: v for k, v in options.items() if k in kernel.arg_names}
        assert list(values) == kernel.arg_names, f"{kernel.__name__} is called with the wrong number of arguments"
        signature, constants, attributes = {}, {}, {}
        plain = {p.name for p in kernel.params if p.do_not_specialize}
        for k, (name, value) in enumerate(values.items()):
            special = isinstance(value, int) and name not in plain
            if name in options or (special and value == 1):
                signature[name], constants[name] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[name] = TYPES[value.dtype]
                attributes[(k,)] = [["tt.divisibility", 16]]  # where torch's memory begins
            else:
                signature[name] = "i32" if isinstance(value, int) else "fp32"
                if special and value % 16 == 0:
                    attributes[(k,)] = [["tt.divisibility", 16]]
        settings = dict(enable_fp_fusion=True) | {k: v for k, v in options.items() if k not in values}
        source = ASTSource(kernel, signature, constants, attrs=attributes)
        compiled[kernel.__name__] = compile(source, target=GPUTarget("cuda", capability, 32), options=settings)

    for module in modules:
        monkeypatch.setattr(module, "launch", launch)
    yield compiled
    source = "".join(map(inspect.getsource, modules))
    assert set(compiled) == set(re.findall(r"\blaunch\(\s*(_\w+)", source)), "every launch is tried here"
