"""What the Numba loops of all ops share: the compiler's options, and an exponential that becomes vector instructions."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher
from torch import Tensor

F = np.float32
FAR = F(80.0)  # the largest s of `exp_neg`: e^-80 is still a normal float32

# "numpy" division (x/0 = inf) has no error branch, which would keep loops from being vectorised. The fast-math flags let the
# compiler fuse and reorder sums; they do not assume away NaN or infinity.
# nogil: while a kernel runs, another Python thread may run another one (several small models trained side by side).
SERIAL: dict[str, Any] = dict(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
PARALLEL: dict[str, Any] = dict(SERIAL, parallel=True)
EXACT: dict[str, Any] = dict(SERIAL, fastmath=False)  # as written: the same bits in every loop that it is compiled into


def arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """The tensors as arrays, which share their memory."""
    return tuple(t.detach().numpy() for t in tensors)


def renew(name: str, *sources: ModuleType) -> None:
    """Drop what Numba has cached of a module's loops if it is older than a file from which they take something.

    Numba compiles anew when a loop's own file changes, but not when a constant or a function changes that was imported: old
    machine code would run on. So a module of loops ends with `renew(__name__, rules)`: its constants are from `rules`.
    """
    changed = max(Path(str(file)).stat().st_mtime for file in (__file__, *(source.__file__ for source in sources)))
    module = sys.modules[name]
    stem = Path(str(module.__file__)).stem
    for loop in vars(module).values():
        if isinstance(loop, Dispatcher) and loop.__module__ == name and loop.stats.cache_path:
            for index in Path(loop.stats.cache_path).glob(f"{stem}.{loop.py_func.__name__}-*.nbi"):
                if index.stat().st_mtime < changed:
                    index.unlink(missing_ok=True)


@njit(inline="always", **SERIAL)
def exp_neg(s):
    """e^-s for 0 <= s <= 80 in float32, as arithmetic that the compiler can vectorise.

    Relative error below 7e-7 up to s = 6 and below 4e-6 up to 80, where s itself is known to no better than that.
    e^-s = 2^t with t = k + f: 2^f for |f| <= 1/2 is a polynomial, and 2^k is written straight into a float's exponent bits.
    """
    t = s * F(-1.4426950408889634)
    k = np.floor(t + F(0.5))
    f = t - k
    p = F(1.5403530e-4) * f + F(1.33335581e-3)
    p = p * f + F(9.61812911e-3)
    p = p * f + F(5.55041087e-2)
    p = p * f + F(2.40226507e-1)
    p = p * f + F(6.93147181e-1)
    p = p * f + F(1.0)
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
