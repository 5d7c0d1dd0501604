"""Which backend of an op runs, and the sentence why another one does not.

Every op of this package has up to three backends:

* ``reference``: the definition in torch. Readable, differentiable, any float type, any device. The oracle of the tests.
* ``numba``: compiled loops for the CPU, float32.
* ``triton``: compiled programs for CUDA, float32. With the environment variable ``TRITON_INTERPRET=1`` set before the
  first import, Triton runs the same programs step by step on CPU tensors: slow, meant for tests and for reading.

``backend="auto"`` takes the fastest one that can run on the tensors at hand. A backend asked for by name runs or raises
with the reason; it never falls back in silence.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BACKENDS = ("triton", "numba", "reference")  # the order in which "auto" tries them
FORKED = (
    "this process was forked from one whose threads had computed, which they do not survive (they would hang or end it); start "
    'workers afresh instead: multiprocessing.get_context("spawn"), or DataLoader(multiprocessing_context="spawn")'
)
PASSES = dict(numba="cpu", triton="gpu")  # the module of an op with the hand-written passes of a backend


class _Process:
    """What this process has been through: whether a compiled loop has run here, and in the one that it was forked from."""

    computed = forked = False

    @classmethod
    def in_child(cls) -> None:
        cls.computed, cls.forked = False, cls.computed or cls.forked


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_Process.in_child)


def interpreting() -> bool:
    """True if Triton programs run in the interpreter (TRITON_INTERPRET=1)."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


@functools.cache
def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def unavailable(backend: str, device: str | torch.device, dtype: torch.dtype | None = None) -> str | None:
    """Say why `backend` cannot run on tensors of this device and dtype, or return None if it can.

    The same sentence serves error messages, skipped tests and the line that a notebook prints.
    """
    import torch

    if backend not in BACKENDS:
        return f"there is no backend {backend!r}; choose one of {', '.join(BACKENDS)} or auto"
    if backend == "reference":
        return None
    kind = torch.device(device).type
    if backend == "numba":
        if not _installed("numba"):
            return "numba is not installed (pip install numba)"
        if kind != "cpu":
            return f"numba needs CPU tensors, got {kind}"
    if backend == "triton":
        if not _installed("triton"):
            return "triton is not installed (it comes with torch's CUDA builds for Linux)"
        if kind != "cuda" and not (kind == "cpu" and interpreting()):
            return f"triton needs CUDA tensors, got {kind}"
    if dtype is not None and dtype != torch.float32:
        return f"{backend} computes in float32, got {str(dtype).removeprefix('torch.')}"
    return None


def _fastest(device: torch.device, dtype: torch.dtype) -> str:
    # the interpreter is for reading and testing: nobody wants it by surprise
    names = [b for b in BACKENDS if not (b == "triton" and device.type == "cpu")]
    return next(b for b in names if unavailable(b, device, dtype) is None)


def choose(op: str, backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """Resolve `backend` ("auto" or a name) for tensors of this device and dtype.

    Raises:
        RuntimeError: a backend asked for by name cannot run here, or none can in this process; the message says why.
    """
    if backend == "auto":
        backend = _fastest(device, dtype)
    elif reason := unavailable(backend, device, dtype):
        raise RuntimeError(f"{op}(backend={backend!r}): {reason}")
    if backend == "numba":
        if _Process.forked:
            raise RuntimeError(f"{op}: {FORKED}")
        _Process.computed = True
    return backend


def report(device: str | torch.device = "cpu") -> str:
    """One line on what runs here: ``kernels on cpu: numba · reference: ok · triton: needs CUDA tensors, got cpu``."""
    import torch

    dev = torch.device(device)
    chosen = _fastest(dev, torch.float32)
    why = {b: (unavailable(b, dev) or "ok").removeprefix(f"{b} ") for b in reversed(BACKENDS) if b != chosen}
    others = [f"{b}: {reason}" for b, reason in why.items()]
    return f"kernels on {dev.type}: {chosen} · " + " · ".join(others)
