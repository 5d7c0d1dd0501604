"""Speed and memory of Gaussian rasterisation: each backend, the textbook loop, and gsplat, on one documented scene.

    python benchmarks/rasterize.py            # everything that can run here, a few minutes
    python benchmarks/rasterize.py --quick    # small shapes: does it run at all

Each backend is checked against the float64 reference before it is timed, and one that is wrong gets no time. Timed is the
whole call, projection, sorting and tile lists included: `forward` without a graph, as one renders; `training` = forward and
backward to means, quats, scales, opacities and colors. The runs of all backends take turns, so that whatever else the machine
does hits them alike: trust the ratios within one run before the times.

The scene: N Gaussians in the view of one pinhole camera (f = 0.8 x width), uniform over the picture and 5 % beyond it, depths
uniform in 2..6. Standard deviations log-normal (sigma 0.5) around width / sqrt(N) pixels along each axis, random rotations;
opacity sigmoid(1.5 x normal); colours uniform. eps2d 0.3, "antialiased". That makes some four tiles per Gaussian and pixels
that are 99 % opaque, as in a trained scene. The number of (tile, Gaussian) pairs of each shape is in the results.

Threads that wait, sleep (OMP_WAIT_POLICY=passive, unless you set it): torch and Numba have a pool of threads each, and the one
whose turn it is not would otherwise keep the cores busy with waiting.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the libraries below are loaded

import torch
from _memory import peak_memory
from _results import machine, write
from textbook import rasterization as textbook

from bestpapers.kernels import dispatch
from bestpapers.kernels.rasterize import rasterization, reference, rules
from bestpapers.kernels.rasterize.tiles.cpu import bin_tiles
from bestpapers.splatting.train import loss_fn

SHAPES = [(1_000, 128), (2_000, 96), (20_000, 256), (100_000, 800), (200_000, 1024)]  # Gaussians, pixels per side
TRAINING_SHAPE = (2_000, 96)
GROWTH = [
    (6_250, 200),
    (25_000, 400),
    (100_000, 800),
    (156_250, 1000),
]  # equally dense: only the picture grows
QUICK = [(300, 40), (500, 64)]
BACKENDS = dict(cpu=("reference", "textbook", "numba"), cuda=("reference", "triton", "gsplat"))
INPUTS = ("means", "quats", "scales", "opacities", "colors")
SECONDS, REPEATS = 20.0, (5, 21)  # per shape and device: stop after so long, but not before 5 rounds nor after 21
# pixels x Gaussians that the reference still does in a minute; on one core it takes about 80 ns for each, with its backward
REFERENCE_LIMIT = dict(cpu=2e8, cuda=2e10)
SETTINGS = dict(eps2d=0.3, rasterize_mode="antialiased", render_mode="RGB")


def make_scene(n: int, size: int, device: str) -> dict:
    g = torch.Generator().manual_seed(0)
    focal = 0.8 * size
    z = 2 + 4 * torch.rand(n, 1, generator=g)
    xy = (2 * torch.rand(n, 2, generator=g) - 1) * 1.05 * z * (size / 2) / focal
    scene = dict(
        means=torch.cat([xy, z], dim=1),
        quats=torch.randn(n, 4, generator=g),
        scales=torch.exp(0.5 * torch.randn(n, 3, generator=g)) * size / math.sqrt(n) * z / focal,
        opacities=torch.sigmoid(1.5 * torch.randn(n, generator=g)),
        colors=torch.rand(n, 3, generator=g),
        viewmats=torch.eye(4)[None],
        Ks=torch.tensor([[[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]]),
    )
    return {k: v.to(device) for k, v in scene.items()} | dict(width=size, height=size)


def render(backend: str, scene: dict) -> torch.Tensor:
    """The picture [size, size, 3]."""
    if backend == "gsplat":
        from gsplat import rasterization as gsplat

        return gsplat(**scene, **SETTINGS, packed=False)[0][0]
    if backend == "textbook":
        return textbook(**scene, **SETTINGS).colors[0]
    return rasterization(**scene, **SETTINGS, backend=backend).colors[0]


def why_not(backend: str, device: str, n: int, size: int) -> str | None:
    """The reason why a backend is left out, or None."""
    if device == "cuda" and not torch.cuda.is_available():
        return "no CUDA device here"
    if backend == "gsplat":
        return None if importlib.util.find_spec("gsplat") else "gsplat is not installed"
    if backend == "reference" and n * size**2 > REFERENCE_LIMIT[device]:
        return f"every pixel looks at every Gaussian: {n * size**2:.0e} pairs take more than a minute"
    return dispatch.unavailable("numba" if backend == "textbook" else backend, device, torch.float32)


# ---- correctness ----------------------------------------------------------------------------------------------------------


def windows(size: int) -> list[tuple[int, int]]:
    """Corners of windows of 16 x 16 px in which the picture is checked: all of a small one, 64 of a large one."""
    corners = [(x, y) for y in range(0, size, 16) for x in range(0, size, 16)]
    return corners[:: max(1, len(corners) // 64)]


def truth(scene: dict) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """By the float64 reference: which pixels are checked (mask), the picture there, and the gradients of its sum there."""
    size = scene["width"]
    exact = {k: v.double().cpu() if isinstance(v, torch.Tensor) else v for k, v in scene.items()}
    inputs = [exact[k].requires_grad_() for k in INPUTS]
    means2d, depths, conics, rho, radii = reference.project(
        exact["means"], exact["quats"], exact["scales"], exact["viewmats"], exact["Ks"], size, size, eps2d=0.3
    )
    opacities = torch.where(radii[..., 0] > 0, exact["opacities"] * rho, 0.0)
    picture, mask = torch.zeros(size, size, 3, dtype=torch.float64), torch.zeros(size, size, dtype=torch.bool)
    total = 0.0
    for x, y in windows(size):
        w, h = min(16, size - x), min(16, size - y)
        low, high = torch.tensor([x, y]), torch.tensor([x + w, y + h])
        near = ((means2d[0] + radii[0] > low) & (means2d[0] - radii[0] < high)).all(-1)  # outside, alpha is below 1/255
        part, _ = reference.composite(
            means2d[:, near] - low,
            conics[:, near],
            exact["colors"][None, near],
            opacities[:, near],
            depths[:, near],
            w,
            h,
        )
        picture[y : y + h, x : x + w], mask[y : y + h, x : x + w] = part[0].detach(), True
        total = total + part.sum()
    return mask, picture, list(torch.autograd.grad(total, inputs))


def errors(backend: str, scene: dict, mask, picture, grads) -> dict:
    """Largest pixel error, share of pixels off by more than 1e-4, and the gradients' relative L2 error (the worst input)."""
    args = scene | {k: scene[k].clone().requires_grad_() for k in INPUTS}
    image = render(backend, args)
    got = torch.autograd.grad(image[mask.to(image.device)].sum(), [args[k] for k in INPUTS])
    difference = (image.detach().double().cpu() - picture)[mask].abs()
    relative = [((a.double().cpu() - b).norm() / b.norm()).item() for a, b in zip(got, grads, strict=True)]
    return dict(
        pixel_error=difference.max().item(),
        pixels_off=(difference.amax(-1) > 1e-4).double().mean().item(),
        gradient_error=max(relative),
    )


def is_right(e: dict) -> bool:
    """A pixel may stand on either side of a jump (alpha = 1/255, the end of light); more is an error. gsplat 1.5.3 clamps alpha
    at 0.999 instead of 0.99, which moves a pixel by a hundredth."""
    return e["pixel_error"] < 0.02 and e["pixels_off"] < 0.05 and e["gradient_error"] < 0.05


# ---- time and memory ------------------------------------------------------------------------------------------------------


def take_turns(runs: dict, device: str, seconds: float = SECONDS) -> dict:
    """Time all `runs` in rounds, after a warm-up round: {key: dict(ms, ms_25, ms_75, repeats)}."""
    times: dict = {key: [] for key in runs}
    for run in runs.values():
        run()
    start, (least, most) = time.perf_counter(), REPEATS
    for done in range(most):
        if done >= least and time.perf_counter() - start > seconds:
            break
        for key, run in runs.items():
            _wait(device)
            t = time.perf_counter()
            run()
            _wait(device)
            times[key].append(1e3 * (time.perf_counter() - t))
    return {key: _summary(ms) for key, ms in times.items()}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _summary(ms: list[float]) -> dict:
    q = torch.tensor(ms).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return dict(ms=q[1], ms_25=q[0], ms_75=q[2], repeats=len(ms))


def passes(backend: str, scene: dict) -> dict:
    """The two timed calls."""
    leaves = scene | {k: scene[k].clone().requires_grad_() for k in INPUTS}
    g = torch.rand(scene["height"], scene["width"], 3, generator=torch.Generator().manual_seed(1))
    g = g.to(scene["means"].device)

    def forward():
        with torch.no_grad():
            render(backend, scene)

    def training():
        torch.autograd.grad(render(backend, leaves), [leaves[k] for k in INPUTS], g)

    return dict(forward=forward, training=training)


def iteration(backend: str, scene: dict):
    """One whole iteration of training as a function: render, 0.8 L1 + 0.2 (1 - SSIM), backward, Adam."""
    p = {k: scene[k].clone() for k in INPUTS}
    p |= dict(scales=p["scales"].log(), opacities=torch.logit(p["opacities"]))
    for t in p.values():
        t.requires_grad_()
    adam = torch.optim.Adam(list(p.values()), lr=1e-4, eps=1e-15, fused=True)
    image = torch.rand(scene["height"], scene["width"], 3, generator=torch.Generator().manual_seed(2))
    image = image.to(scene["means"].device)

    def step():
        drawn = render(backend, scene | p | dict(scales=p["scales"].exp(), opacities=p["opacities"].sigmoid()))
        adam.zero_grad()
        loss_fn(drawn, image, 0.2).backward()
        adam.step()

    return step


def count_pairs(scene: dict) -> int:
    scene = {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in scene.items()}
    meta = rasterization(**scene, **SETTINGS, backend="numba").meta
    arrays = (meta[k] for k in ("means2d", "conics", "opacities", "depths"))
    return len(bin_tiles(*arrays, scene["width"], scene["height"]).owner)


def measure(shapes: list[tuple[int, int]], training_shape: tuple[int, int], seconds: float) -> list[dict]:
    """All rows; each shape is printed when it is done."""
    rows = []
    for n, size in shapes:
        pairs = count_pairs(make_scene(n, size, "cpu"))
        print(f"\n{n:,} Gaussians, {size} x {size} px, {pairs:,} pairs of tile and Gaussian")
        for device, backends in BACKENDS.items():
            runs, done = {}, {}
            scene = make_scene(n, size, device) if device == "cpu" or torch.cuda.is_available() else {}
            right = truth(scene) if scene else ()
            for backend in backends:
                row = dict(gaussians=n, size=size, pairs=pairs, device=device, backend=backend)
                rows.append(row)
                if reason := why_not(backend, device, n, size):
                    row["skipped"] = reason
                    continue
                row |= errors(backend, scene, *right)
                if not is_right(row):
                    row["skipped"] = "wrong, so no time is given"
                    continue
                both = passes(backend, scene)
                if (n, size) == training_shape:
                    both["iteration"] = iteration(backend, scene)
                row["peak_mb"] = peak_memory(both["training"], device)
                runs |= {(backend, name): run for name, run in both.items()}
                done[backend] = row
            for (backend, name), result in take_turns(runs, device, seconds).items() if runs else ():
                done[backend][name] = result
        for row in rows:
            if (row["gaussians"], row["size"]) == (n, size):
                print(line(row))
    return rows


def growth(shapes: list[tuple[int, int]], seconds: float) -> dict:
    """Numba's time over the number of pairs, with the same density of Gaussians in pictures of growing size.

    `exponent` is the slope in log-log axes: 1 if time grows as the pairs do.
    """
    scenes = {shape: make_scene(*shape, "cpu") for shape in shapes}
    runs = {(shape, name): run for shape, scene in scenes.items() for name, run in passes("numba", scene).items()}
    times = take_turns(runs, "cpu", seconds)
    rows, out = [], {}
    for (n, size), scene in scenes.items():
        row: dict = dict(gaussians=n, size=size, pairs=count_pairs(scene))
        rows.append(row | {name: times[(n, size), name] for name in ("forward", "training")})
    x = torch.tensor([r["pairs"] for r in rows]).double().log()
    for name in ("forward", "training"):
        y = torch.tensor([r[name]["ms"] for r in rows]).double().log()
        out[name] = (((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()).item()
    return dict(rows=rows, exponent=out)


# ---- report ---------------------------------------------------------------------------------------------------------------


def line(row: dict) -> str:
    name = f"  {row['backend']:<10}{row['device']:<6}"
    if "skipped" in row:
        return name + f"skipped: {row['skipped']}"
    parts = [
        f"{key} {row[key]['ms']:8.2f} ms ({row[key]['ms_25']:.2f} to {row[key]['ms_75']:.2f}, {row[key]['repeats']} runs)"
        for key in ("forward", "training", "iteration")
        if key in row
    ]
    memory = "" if row["peak_mb"] is None else f", peak {row['peak_mb']:.0f} MB"
    return name + ", ".join(parts) + memory + f", pixel error {row['pixel_error']:.0e}"


def _ms(rows: list[dict], shape: tuple[int, int], backend: str, name: str) -> float | None:
    for row in rows:
        if (row["gaussians"], row["size"]) == shape and row["backend"] == backend and row["device"] == "cpu":
            return row.get(name, {}).get("ms")
    return None


def ratios(rows: list[dict]) -> list[dict]:
    """The factors that we promise, each from one run: what, how many times faster, and how many are asked for."""
    asked = [
        ("forward, Numba against the textbook loop", SHAPES[3], "textbook", "forward", 6),
        ("forward and backward, Numba against the textbook loop", SHAPES[3], "textbook", "training", 5),
        ("a whole training iteration, Numba against the reference", TRAINING_SHAPE, "reference", "iteration", 25),
    ]
    out = []
    for what, shape, other, name, at_least in asked:
        slow, fast = _ms(rows, shape, other, name), _ms(rows, shape, "numba", name)
        if slow and fast:
            text = f"{what} at ({shape[0]:,}, {shape[1]} x {shape[1]})"
            out.append(dict(what=text, factor=slow / fast, asked=at_least))
    return out


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small shapes, three runs each")
    parser.add_argument("--out", type=Path, help="where to write the results (default: benchmarks/results/)")
    options = parser.parse_args(words)
    shapes, training_shape = (QUICK, QUICK[0]) if options.quick else (SHAPES, TRAINING_SHAPE)

    about = machine()
    gpu = f", {about['gpu']}" if about["gpu"] else ""
    print(
        f"{about['cpu']}, {about['cores']} cores{gpu}; torch {about['torch']}, Numba {about['numba']}; load {about['load']}"
    )
    rows = measure(shapes, training_shape, 0.0 if options.quick else SECONDS)

    grown = growth(QUICK if options.quick else GROWTH, 0.0 if options.quick else SECONDS)
    result = dict(settings=SETTINGS, tile=rules.TILE, rows=rows, growth=grown, ratios=ratios(rows))
    print("\nNumba, time per pair of tile and Gaussian, at one density of Gaussians")
    for g in grown["rows"]:
        forward, training = (1e6 * g[name]["ms"] / g["pairs"] for name in ("forward", "training"))
        print(f"  {g['pairs']:>9,} pairs: forward {forward:7.0f} ns, forward and backward {training:7.0f} ns")
    print(
        "Time grows as pairs^{forward:.2f} forward, pairs^{training:.2f} forward and backward.".format(
            **grown["exponent"]
        )
    )
    for r in result["ratios"]:
        verdict = "reached" if r["factor"] >= r["asked"] else "missed"
        print(f"{r['what']}: {r['factor']:.1f} x faster (asked: {r['asked']} x, {verdict})")

    write("rasterize", about, result, options.out)


if __name__ == "__main__":
    sys.exit(main())
