"""What keeps a compiled loop from becoming vector instructions: one loop of the rasterizer, written five ways.

    python benchmarks/vectorise.py

The loop lets one Gaussian meet 160 pixels: distance, alpha, what is left of the light. All versions compute the same, which is
checked before they are timed; they differ in what the compiler can know. The page "How the kernels work" takes its figures from
the file that this writes.
"""

from __future__ import annotations

import math
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from _results import machine, write
from numba import njit

from bestpapers.kernels.loops import exp_neg

F = np.float32
FAST = dict(error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
ROUNDS, REPEATS = 4000, 15
FIRST, LAST = 48, 208  # ten of a tile's sixteen rows


@njit(**FAST)
def good(px, py, T, weight, first, last):
    """Slices from 0 to their length, loads before selections, an exponential made of arithmetic."""
    px, py, T, weight = px[first:last], py[first:last], T[first:last], weight[first:last]
    for k in range(len(px)):
        before = T[k]
        s = F(0.05) * (px[k] * px[k] + py[k] * py[k])
        a = F(0.02) * exp_neg(min(s, F(80.0)))
        a = a if a >= F(0.004) else F(0.0)
        weight[k] = a * before
        T[k] = before * (F(1.0) - a)


@njit(**FAST)
def may_be_negative(px, py, T, weight, first, last):
    """From `first` to `last`: an index below 0 would mean "from the end", and the compiler must ask at every pixel."""
    for k in range(first, last):
        before = T[k]
        s = F(0.05) * (px[k] * px[k] + py[k] * py[k])
        a = F(0.02) * exp_neg(min(s, F(80.0)))
        a = a if a >= F(0.004) else F(0.0)
        weight[k] = a * before
        T[k] = before * (F(1.0) - a)


@njit(**FAST)
def load_under_condition(px, py, T, weight, first, last):
    """T is read only where the Gaussian is seen: the compiler may not read it anyway, so it must branch."""
    px, py, T, weight = px[first:last], py[first:last], T[first:last], weight[first:last]
    for k in range(len(px)):
        s = F(0.05) * (px[k] * px[k] + py[k] * py[k])
        a = F(0.02) * exp_neg(min(s, F(80.0)))
        if a >= F(0.004):
            weight[k] = a * T[k]
            T[k] = T[k] * (F(1.0) - a)
        else:
            weight[k] = F(0.0)


@njit(**FAST)
def library_exp(px, py, T, weight, first, last):
    """exp() of the C library is a call, one number at a time."""
    px, py, T, weight = px[first:last], py[first:last], T[first:last], weight[first:last]
    for k in range(len(px)):
        before = T[k]
        s = F(0.05) * (px[k] * px[k] + py[k] * py[k])
        a = F(0.02) * math.exp(-min(s, F(80.0)))
        a = a if a >= F(0.004) else F(0.0)
        weight[k] = a * before
        T[k] = before * (F(1.0) - a)


def bench(loop, shared: bool) -> float:
    """Nanoseconds per pixel. shared: T and weight are rows of one array, which for all the compiler knows could overlap."""

    @njit(**FAST)
    def many(px, py, T, weight, first, last, rounds):
        for _ in range(rounds):
            loop(px, py, T, weight, first, last)

    @njit(**FAST)
    def many_shared(first, last, rounds):
        px, py, T, weight = np.ones((4, 256), np.float32)
        for _ in range(rounds):
            loop(px, py, T, weight, first, last)
        return weight

    px, py = (np.full(256, v, np.float32) for v in (2.0, 1.0))
    best = math.inf
    for _ in range(REPEATS + 1):  # the first one compiles
        T, weight = np.ones(256, np.float32), np.zeros(256, np.float32)
        start = time.perf_counter()
        if shared:
            many_shared(FIRST, LAST, ROUNDS)
        else:
            many(px, py, T, weight, FIRST, LAST, ROUNDS)
        best = min(best, time.perf_counter() - start)
    return best / ROUNDS / (LAST - FIRST) * 1e9


def main() -> None:
    loops = dict(
        good=good, may_be_negative=may_be_negative, load_under_condition=load_under_condition, library_exp=library_exp
    )
    px = np.linspace(-12, 12, 256, dtype=np.float32)
    results = {}
    for name, loop in loops.items():
        T, weight = np.ones(256, np.float32), np.zeros(256, np.float32)
        loop(px, px[::-1].copy(), T, weight, FIRST, LAST)
        results[name] = np.concatenate([T, weight])
        assert np.allclose(results[name], results["good"], rtol=1e-5), name
        assert (results[name][:FIRST] == 1).all()
        assert weight[FIRST:LAST].max() > 0
    figures = {name: bench(loop, shared=False) for name, loop in loops.items()}
    figures["rows_of_one_array"] = bench(good, shared=True)
    for name, ns in figures.items():
        print(f"{name:22s}{ns:7.2f} ns per pixel, {ns / figures['good']:5.1f} x")
    write("vectorise", machine(), dict(ns_per_pixel=figures))


if __name__ == "__main__":
    main()
