"""Time and memory of softmax splatting: each backend, plain `index_add_`, a backward warp, and the floor that memory sets.

    python benchmarks/softsplat.py            # everything that can run here, some five minutes on two cores
    python benchmarks/softsplat.py --quick    # small shapes: does it run at all

Compared are

    reference    the definition in torch
    index_add    what one writes first in torch: e^Z as it is, and four `index_add_` into an image of all channels and of e^Z
    numba, triton
    grid_sample  `torch.nn.functional.grid_sample`, bilinear: a warp backwards along the same flow. It is another
                 operation, with nobody to share a pixel with, but what many take in its place
    copy         reads as many bytes as the forward pass has to read (input, flow, weight), and writes as many as it has
                 to write. Where all of it fits into a cache, so does the copy

The floor that memory sets, in `floor_ms`, is the same number of bytes over the bandwidth of memory, which is measured
first: one array copied to another, each of 512 MB, too large for most caches.

Timed is the whole call: `forward` without a graph; `training` = forward and backward to input, flow and weight. All but
the last two are checked before they are timed, against the reference in float64 on two of the channels, and one that is
wrong gets no time. They work by turns, so that whatever else the machine does hits them alike: trust the ratios within
one run before the times. A turn is one call that is not timed and three that are: a rented machine can take its time to
hand out a page of memory that nobody has asked for in a while (a copy of 20 MB: 1.5 ms, and 180 ms after a second's
rest), and that wait belongs to none of the ways.

The scene: random channels; a wave of some 3 px over all of the image, and on it a disc that moves 12 px over the rest,
as a flow has it; the weight is the length of the flow. `rough`: every pixel goes its own way, by 3 px (standard
deviation) in each direction, so that neither caches nor lists find any order.

Threads that wait, sleep (OMP_WAIT_POLICY=passive, unless you set it), as in the other benchmarks.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the libraries below are loaded

import numba
import torch
from _memory import peak_memory
from _results import machine, write
from torch import Tensor
from torch.nn import functional as F

from bestpapers.kernels import dispatch
from bestpapers.kernels.softsplat import softsplat

TARGET = (512, 288, 32, "smooth")  # width, height, channels; there, on two threads: what FASTER and FLOOR say
FASTER, FLOOR = 8.0, 4.0  # training against the reference; forward against the floor
BANDWIDTH_MB, QUICK_MB = 512, 8  # of each of the two arrays
GROWTH = [(128, 72, 32, "smooth"), (256, 144, 32, "smooth"), TARGET, (1024, 576, 32, "smooth")]
SHAPES = [(256, 160, 3, "smooth"), (256, 160, 64, "smooth"), (512, 288, 3, "smooth"), (512, 288, 32, "rough"), *GROWTH]
QUICK = [(40, 24, 3, "smooth"), (33, 50, 5, "rough")]
WAYS = dict(
    cpu=("reference", "index_add", "numba", "grid_sample", "copy"),
    cuda=("reference", "index_add", "triton", "grid_sample", "copy"),
)
UNCHECKED = ("grid_sample", "copy")
SECONDS, REPEATS = 12.0, (2, 11)  # per shape: stop after so long, but not before 2 rounds nor after 11
BURST = 3  # timed calls of a turn


def make_scene(width: int, height: int, channels: int, kind: str, device: str) -> list[Tensor]:
    """input [1, C, H, W], flow and weight."""
    g = torch.Generator().manual_seed(width + channels)
    x = torch.randn(1, channels, height, width, generator=g)
    row, column = torch.arange(height)[:, None], torch.arange(width)
    if kind == "rough":
        flow = 3 * torch.randn(1, 2, height, width, generator=g)
    else:
        wave_x = 3 * torch.sin(row / 20) + 2 * torch.cos(column / 30) + 0.1  # on whole pixels there is no derivative
        wave_y = 3 * torch.sin(column / 25) + 0.1 + 0 * row
        flow = torch.stack([wave_x, wave_y])[None]
        disc = (row - height / 2) ** 2 + (column - width / 2) ** 2 < (height / 4) ** 2
        flow = torch.where(disc, torch.tensor([12.3, 0.2])[:, None, None], flow)
    return [t.contiguous().to(device) for t in (x, flow, flow.norm(dim=1, keepdim=True))]


# ---- the ways -------------------------------------------------------------------------------------------------------------


def index_add(input: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
    B, C, H, W = input.shape
    e = weight.exp()
    values = torch.cat([input * e, e], dim=1).flatten(2)
    x = flow[:, 0] + torch.arange(W, device=flow.device)
    y = flow[:, 1] + torch.arange(H, device=flow.device)[:, None]
    out = torch.zeros_like(values)
    for i in range(2):
        for j in range(2):
            u, v = x.detach().floor() + i, y.detach().floor() + j
            inside = (u >= 0) & (u < W) & (v >= 0) & (v < H)
            share = (1 - (x - u).abs()) * (1 - (y - v).abs()) * inside
            target = (v.clamp(0, H - 1) * W + u.clamp(0, W - 1)).long()
            for b in range(B):
                out[b].index_add_(1, target[b].flatten(), values[b] * share[b].flatten())
    total = out[:, C:]
    return (out[:, :C] / total.where(total > 0, 1)).unflatten(2, (H, W))


def grid_sample(input: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
    """Reads at p - flow(p). The weight has no part in it, but for a gradient to ask for."""
    _, _, H, W = input.shape
    row, column = torch.arange(H, device=flow.device)[:, None], torch.arange(W, device=flow.device)
    x, y = column - flow[:, 0], row - flow[:, 1]
    grid = torch.stack([2 * x / max(W - 1, 1) - 1, 2 * y / max(H - 1, 1) - 1], dim=-1)
    return F.grid_sample(input, grid, align_corners=True) + 0 * weight.sum()


def call(way: str) -> Callable[..., Tensor]:
    """The way as a function of input, flow and weight."""
    if way in ("index_add", "grid_sample"):
        return globals()[way]
    return lambda *tensors: softsplat(*tensors, backend=way).output


def jobs(way: str, tensors: list[Tensor]) -> dict[str, Callable[[], object]]:
    """What is timed: forward and training."""
    device = tensors[0].device.type

    def finish(result):
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    if way == "copy":
        source = torch.cat([t.flatten() for t in tensors])
        target = torch.empty_like(tensors[0]).flatten()

        def copy():
            target.copy_(source[: target.numel()])
            source[target.numel() :].sum()  # flow and weight are read, and nothing is written for them
            return finish(target)

        return dict(forward=copy)
    function = call(way)
    leaves = [t.clone().requires_grad_() for t in tensors]
    up = torch.ones_like(tensors[0])

    def forward():
        with torch.no_grad():
            return finish(function(*tensors))

    return dict(forward=forward, training=lambda: finish(torch.autograd.grad(function(*leaves), leaves, up)))


# ---- correctness ----------------------------------------------------------------------------------------------------------


def errors(way: str, tensors: list[Tensor]) -> dict:
    """Against float64, relative (L2): of the output, and of the worst gradient. The loss looks at two channels."""
    few = [tensors[0][:, :2], *tensors[1:]]
    up = torch.randn(few[0].shape, generator=torch.Generator().manual_seed(1))
    exact = [t.double().cpu().requires_grad_() for t in few]
    output = softsplat(*exact, backend="reference").output
    want = [output.detach(), *torch.autograd.grad(output, exact, up.double())]
    leaves = [t.clone().requires_grad_() for t in tensors]
    output = call(way)(*leaves)
    wide = torch.zeros_like(output)
    wide[:, :2] = up.to(wide)
    got = [output.detach(), *torch.autograd.grad(output, leaves, wide)]
    got[0], got[1] = got[0][:, :2], got[1][:, :2]
    off = [((a.double().cpu() - b).norm() / b.norm()).item() for a, b in zip(got, want, strict=True)]
    return dict(output_error=off[0], gradient_error=max(off[1:]))


def is_right(row: dict) -> bool:
    """Float32. A target that is barely reached has a large gradient, and one that a rounded position just misses has
    none: plain torch, which adds positions to columns, is off by some thousandths there."""
    return row["output_error"] < 1e-2 and row["gradient_error"] < 1e-1


# ---- memory ---------------------------------------------------------------------------------------------------------------


def bandwidth(device: str, threads: int, mb: int) -> float:
    """Bytes read and written in a second, the best of seven copies."""
    set_threads(threads)
    # ones, not zeros: memory that was never written is one page of zeros, over and over, and comes from the cache
    source, target = (torch.ones(mb * 250_000, device=device) for _ in range(2))
    best = math.inf
    for _ in range(7):
        start = time.perf_counter()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * target.nbytes / best


def moved(shape: tuple[int, int, int, str]) -> int:
    """Bytes that a forward pass has to read and write at the least."""
    width, height, channels, _ = shape
    return 4 * width * height * (2 * channels + 3)


# ---- time and memory ------------------------------------------------------------------------------------------------------


def set_threads(n: int) -> None:
    numba.set_num_threads(n)
    torch.set_num_threads(n)


def thread_counts() -> list[int]:
    """One, two, and all that there are."""
    most = numba.config.NUMBA_NUM_THREADS
    return sorted({1, min(2, most), most})


def measure(shape: tuple[int, int, int, str], device: str, threads: int, seconds: float, most: int) -> list[dict]:
    """A row for each way."""
    width, height, channels, kind = shape
    about = dict(width=width, height=height, channels=channels, kind=kind, device=device, threads=threads)
    rows = [about | dict(way=way) for way in WAYS[device]]
    if device == "cuda" and not torch.cuda.is_available():
        return [row | dict(skipped="no CUDA device here") for row in rows]
    set_threads(threads)
    tensors, todo = make_scene(*shape, device), {}
    for row in rows:
        way = row["way"]
        if way in dispatch.BACKENDS and (reason := dispatch.unavailable(way, device, torch.float32)):
            row["skipped"] = reason
            continue
        if way not in UNCHECKED:
            row |= errors(way, tensors)
            if not is_right(row):
                row["skipped"] = "wrong, so no time is given"
                continue
        todo[way] = jobs(way, tensors)
        for job in todo[way].values():
            job()  # compiles, and starts the threads
        if "training" in todo[way]:
            row["peak_mb"] = peak_memory(todo[way]["training"], device)
    times: dict = {(way, name): [] for way, own in todo.items() for name in own}
    start = time.perf_counter()
    for done in range(most):
        if done >= min(REPEATS[0], most) and time.perf_counter() - start > seconds:
            break
        for way, own in todo.items():
            for name, job in own.items():
                job()
                for _ in range(BURST):
                    begin = time.perf_counter()
                    job()
                    times[way, name].append(1e3 * (time.perf_counter() - begin))
    for row in rows:
        for name in todo.get(row["way"], {}):
            q = torch.tensor(times[row["way"], name]).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
            row[name] = dict(ms=q[1], ms_25=q[0], ms_75=q[2], repeats=len(times[row["way"], name]))
    return rows


# ---- report ---------------------------------------------------------------------------------------------------------------


def compared(rows: list[dict], bytes_per_second: float | None) -> dict:
    """How our fast form of a shape fares: against the others, and forward in units of the copy and of the floor."""
    by = {row["way"]: row for row in rows if "skipped" not in row}
    ours = by.get("numba") or by.get("triton")
    if ours is None:
        return {}
    out = {}
    for way in ("reference", "index_add", "grid_sample"):
        if way in by:
            out[f"faster_than_{way}"] = {k: by[way][k]["ms"] / ours[k]["ms"] for k in ("forward", "training")}
    if bytes_per_second:
        shape = ours["width"], ours["height"], ours["channels"], ours["kind"]
        out["floor_ms"] = 1e3 * moved(shape) / bytes_per_second
        out["forward_over_floor"] = ours["forward"]["ms"] / out["floor_ms"]
    if "copy" in by:
        out["forward_over_copy"] = ours["forward"]["ms"] / by["copy"]["forward"]["ms"]
    return out


def exponent(points: list[tuple[float, float]]) -> float | None:
    """The slope of log time over log pixels, by least squares."""
    if len(points) < 2:
        return None
    xs, ys = ([math.log(p[i]) for p in points] for i in range(2))
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True)) / sum((x - mx) ** 2 for x in xs)


def growth(rows: list[dict]) -> list[dict]:
    """With which power of the number of pixels time grows, over the shapes of GROWTH."""
    out = []
    for device, way in (("cpu", "numba"), ("cuda", "triton")):
        for threads in thread_counts():
            chosen = [
                row
                for row in rows
                if (row["device"], row["way"], row["threads"]) == (device, way, threads)
                and (row["width"], row["height"], row["channels"], row["kind"]) in GROWTH
                and "forward" in row
            ]
            powers = {
                k: exponent([(r["width"] * r["height"], r[k]["ms"]) for r in chosen]) for k in ("forward", "training")
            }
            if len(chosen) == len(GROWTH):
                out.append(dict(device=device, threads=threads) | powers)
    return out


def line(row: dict) -> str:
    name = f"  {row['way']:<12}{row['device']:<6}{row['threads']} threads  "
    if "skipped" in row:
        return name + f"skipped: {row['skipped']}"
    parts = [
        f"{k} {row[k]['ms']:8.2f} ms ({row[k]['ms_25']:.2f} to {row[k]['ms_75']:.2f})"
        for k in ("forward", "training")
        if k in row
    ]
    if row.get("peak_mb") is not None:
        parts.append(f"peak {row['peak_mb']:.0f} MB")
    return name + ", ".join(parts)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small shapes, a turn each")
    parser.add_argument("--out", type=Path, help="where to write the results (default: benchmarks/results/)")
    options = parser.parse_args(words)
    about = machine()
    gpu = f", {about['gpu']}" if about["gpu"] else ""
    print(f"{about['cpu']}, {about['cores']} cores{gpu}; torch {about['torch']}; load {about['load']}")
    rows, ratios = [], []
    speeds: dict = {}
    before = torch.get_num_threads(), numba.get_num_threads()
    try:
        for device in WAYS:
            for threads in thread_counts() if device == "cpu" else [1]:
                if device == "cpu" or torch.cuda.is_available():
                    speeds[device, threads] = bandwidth(device, threads, QUICK_MB if options.quick else BANDWIDTH_MB)
                    print(f"memory, {device}, {threads} threads: {speeds[device, threads] / 1e9:.1f} GB/s")
        for shape in QUICK if options.quick else SHAPES:
            width, height, channels, kind = shape
            print(f"\n{width} x {height} px, {channels} channels, {kind}")
            for device in WAYS:
                for threads in thread_counts() if device == "cpu" else [1]:
                    new = measure(
                        shape, device, threads, 0.0 if options.quick else SECONDS, 1 if options.quick else REPEATS[1]
                    )
                    rows += new
                    for row in new:
                        print(line(row), flush=True)
                    if ratio := compared(new, speeds.get((device, threads))):
                        ratios.append({k: v for k, v in new[0].items() if k in SAME} | ratio)
    finally:
        numba.set_num_threads(before[1])  # both may have the same pool: the last word is torch's
        torch.set_num_threads(before[0])
    powers = growth(rows)
    for power in powers:
        print(
            f"\n{power['device']}, {power['threads']} threads: time grows with pixels to the power of "
            f"{power['forward']:.2f} forward, {power['training']:.2f} training"
        )
    at_target = {}
    for ratio in ratios:
        if tuple(ratio[k] for k in SAME[:4]) == TARGET and ratio["device"] == "cpu":
            at_target[f"threads_{ratio['threads']}"] = ratio
            faster, floor = ratio["faster_than_reference"]["training"], ratio["forward_over_floor"]
            print(
                f"\n{ratio['threads']} threads, {TARGET[0]} x {TARGET[1]} x {TARGET[2]}: training {faster:.1f} x faster "
                f"than the reference (asked: {FASTER:.0f}), forward {floor:.1f} x the floor (asked: {FLOOR:.0f}), "
                f"{ratio['forward_over_copy']:.1f} x the copy"
            )
    memory = [dict(device=k[0], threads=k[1], gb_per_s=v / 1e9) for k, v in speeds.items()]
    figures = dict(target=TARGET, at_target=at_target, memory=memory, rows=rows, ratios=ratios, growth=powers)
    write("softsplat", about, figures, options.out)


SAME = ("width", "height", "channels", "kind", "device", "threads")

if __name__ == "__main__":
    sys.exit(main())
