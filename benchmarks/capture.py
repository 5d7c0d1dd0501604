"""What training on a capture costs: time and memory of an iteration from a laptop's size to Mip-NeRF 360's, and a whole run.

    python benchmarks/capture.py              # about a quarter of an hour on two cores, most of it the whole run
    python benchmarks/capture.py --quick      # small sizes, and a run of 60 iterations: does it work at all

An iteration is everything that one does: render, L1 and D-SSIM, backward, what density control gathers, Adam. The scene: N
Gaussians at uniform random places of a cube, as wide as the distance to their neighbours, opacity 0.1, seen by four cameras
that have the cube fill the picture; colours by spherical harmonics of degree 3 from the start. `peak_gb` is the most memory
that the process held during these iterations, everything included; `densify` is an iteration that also clones, splits and
removes, the most that one asks for.

The whole run is the command line's: 50 photographs of a made-up meadow, 480 x 270 px, its own defaults, six in seven learned
from, the rest held out.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the libraries below are loaded

import torch
from _memory import peak, start_peak
from _results import machine, write

from bestpapers.splatting import __main__ as program
from bestpapers.splatting.data import Camera, Views, camera_ring
from bestpapers.splatting.density import DensityConfig
from bestpapers.splatting.model import GaussianConfig, Gaussians
from bestpapers.splatting.train import TrainConfig, Trainer

SIZES = [(10_000, 480, 270), (30_000, 480, 270), (100_000, 480, 270), (100_000, 960, 540), (1_000_000, 1200, 800)]
QUICK = [(500, 48, 27)]
STEPS, WARM_UP = 12, 2


def trainer(n: int, width: int, height: int, device: torch.device) -> Trainer:
    """A run on noise images: what they show does not change what an iteration costs."""
    g = torch.Generator().manual_seed(0)
    points, colors = 2 * torch.rand(n, 3, generator=g) - 1, torch.rand(n, 3, generator=g)
    K = [[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]]
    cameras = tuple(Camera(c.viewmat, K, width, height) for c in camera_ring(4))
    images = torch.randint(0, 256, (4, height, width, 3), dtype=torch.uint8, generator=g)
    model = Gaussians.from_points(points, colors, GaussianConfig("mip", 3)).to(device)
    # the last of the steps densifies
    density = DensityConfig(start=0, every=STEPS, stop=STEPS + 1, max_gaussians=n + n // 10)
    run = Trainer(model, {width: Views(cameras, images)}, TrainConfig(iterations=1000, density=density))
    model.sh_active = 3
    return run


def iterations(n: int, width: int, height: int, device: torch.device) -> dict:
    run = trainer(n, width, height, device)
    seconds, before = [], None
    for step in range(STEPS):
        if step == WARM_UP:
            before = start_peak(device.type)
        begin = time.perf_counter()
        run.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    ordinary = sorted(seconds[WARM_UP:-1])
    return dict(
        gaussians=n,
        width=width,
        height=height,
        ms=1e3 * ordinary[len(ordinary) // 2],
        ms_least=1e3 * ordinary[0],
        ms_most=1e3 * ordinary[-1],
        densify_ms=1e3 * seconds[-1],
        after_densifying=len(run.model),
        peak_gb=None if before is None else peak(device.type) / 1e3,
    )


def whole_run(extra: list[str]) -> dict:
    """Capture, train and evaluate by the command line; what its reports say."""
    with tempfile.TemporaryDirectory() as folder:
        capture, scene, card = (str(Path(folder, name)) for name in ("capture", "scene.ply", "card.json"))
        small = ["--width", "64", "--height", "36", "--photos", "9"] if extra else []
        for words in (
            ["capture", "--out", capture, *small],
            ["train", "--data", capture, "--out", scene, *extra],
            ["evaluate", scene, "--data", capture, "--out", card],
        ):
            if program.main(words):
                raise SystemExit(f"the command failed: {' '.join(words)}")
        report = json.loads(Path(scene).with_suffix(".json").read_text())
        (row,) = json.loads(Path(card).read_text())
    keep = ("gaussians", "iterations", "minutes", "device", "photographs", "size")
    scores = {
        f"{metric}_at_1_{scale}": row[f"1/{scale}"][metric] for scale in program.SCALES for metric in ("psnr", "ssim")
    }
    return {key: report[key] for key in keep} | scores


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small size and a short run")
    parser.add_argument("--out", type=Path, help="where to write the results (default: benchmarks/results/)")
    options = parser.parse_args(words)
    about, device = machine(), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for n, width, height in QUICK if options.quick else SIZES:
        rows.append(row := iterations(n, width, height, device))
        memory = "" if row["peak_gb"] is None else f", peak {row['peak_gb']:.2f} GB"
        print(f"{n:>9,} Gaussians, {width} x {height} px: {row['ms']:6.0f} ms an iteration{memory}", flush=True)
    run = whole_run(["--iterations", "60"] if options.quick else [])
    print(
        f"50 photographs: {run['minutes']:.1f} min, held-out PSNR {run['psnr_at_1_1']:.2f} dB, {run['gaussians']:,} Gaussians"
    )
    write("capture", about, dict(iterations=rows, run=run), options.out)


if __name__ == "__main__":
    main()
