"""Scoring a model, and the experiment arms of the paper's tables.

Images are rounded to 8 bits before they are compared, as in the authors' code, where both come from PNG files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

import numba
import torch

from ..course.progress import progress
from ..kernels.rasterize import rasterization
from .data import Dataset, Views
from .filters import METHODS
from .metrics import psnr, ssim, to_8bit
from .model import GaussianConfig, Gaussians
from .train import TrainConfig, Trainer


@torch.no_grad()
def evaluate(model: Gaussians, views: Mapping[int, Views]) -> dict[int, dict[str, float]]:
    """Mean PSNR (dB) and SSIM over the test images of each width: {width: {"psnr": ..., "ssim": ...}}."""
    table = {}
    for width, test in views.items():
        images = to_8bit(model.render(test.cameras).colors)
        truth = to_8bit(test.images.to(images))
        scores = [ssim(a, b) for a, b in zip(images, truth, strict=True)]
        table[width] = dict(psnr=psnr(images, truth).mean().item(), ssim=torch.stack(scores).mean().item())
    return table


@dataclass(frozen=True)
class Run:
    """One trained arm: which method and seed, its scores {width: {"psnr", "ssim"}}, and what training left behind."""

    method: str
    seed: int
    scores: dict[int, dict[str, float]]
    model: Gaussians
    seconds: float


def compare(
    make: Callable[[int], Dataset],
    methods: Iterable[str],
    seeds: Sequence[int],
    config: TrainConfig,
    *,
    sh_degree: int = 0,
    device: torch.device | str = "cpu",
    desc: str = "arms",
) -> list[Run]:
    """Train every method on every seed under equal conditions and score each on the data's test views.

    `make(seed)` gives the data of a seed: all methods of one seed share images, noise, starting points and order of views.
    On the CPU, runs go side by side, one to a core, and come out the same as one after the other.
    """
    jobs = [(method, seed) for seed in seeds for method in methods]
    data = {seed: make(seed) for seed in seeds}
    device = torch.device(device)

    def train(method: str, seed: int) -> Run:
        if device.type == "cpu":
            numba.set_num_threads(1)  # of this Python thread
        started = time.perf_counter()
        points, colors = (t.to(device) for t in (data[seed].points, data[seed].colors))
        model = Gaussians.from_points(points, colors, GaussianConfig(method, sh_degree))
        Trainer(model, data[seed].train, replace(config, seed=seed)).run(quiet=True)
        return Run(method, seed, evaluate(model, data[seed].test), model, time.perf_counter() - started)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small images: a second thread costs more than it brings
    done: dict[tuple[str, int], Run] = {}
    try:
        with ThreadPoolExecutor(_workers(device)) as pool:
            pending = {pool.submit(train, *job): job for job in jobs}
            try:
                for future in progress(as_completed(pending), desc=desc, total=len(jobs)):
                    done[pending[future]] = future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads)
    return [done[job] for job in jobs]


def _workers(device: torch.device) -> int:
    """How many runs may go side by side: one per core, if Numba's threads allow calls from several Python threads."""
    if device.type != "cpu":
        return 1
    one, zero = torch.ones(1), torch.zeros(1, 3)
    rasterization(
        zero, torch.ones(1, 4), zero + 1, one, zero, torch.eye(4)[None], torch.eye(3)[None], 1, 1, backend="numba"
    )
    return numba.config.NUMBA_NUM_THREADS if numba.threading_layer() in ("omp", "tbb") else 1


def mean_range(runs: Sequence[Run], metric: str = "psnr") -> dict[str, dict[int, tuple[float, float, float]]]:
    """Mean, lowest and highest value over the seeds: {method: {width: (mean, low, high)}}."""
    table: dict[str, dict[int, tuple[float, float, float]]] = {}
    for method in dict.fromkeys(run.method for run in runs):
        mine = [run for run in runs if run.method == method]
        values = {w: [run.scores[w][metric] for run in mine] for w in mine[0].scores}
        table[method] = {w: (sum(v) / len(v), min(v), max(v)) for w, v in values.items()}
    return table


def format_table(runs: Sequence[Run], columns: Mapping[int, str], metric: str = "psnr", digits: int = 2) -> str:
    """The runs in the form of the paper's tables: a row per method, a column per width, mean over seeds and (range) below it.

    columns: heading of each width. The last column is the mean over all widths.
    """
    lines = [f"{'':<28}" + "".join(f"{head:>14}" for head in [*columns.values(), "mean"])]
    for method, row in mean_range(runs, metric).items():
        cells = [row[w] for w in columns]
        mean = sum(c[0] for c in cells) / len(cells)
        lines.append(
            f"{METHODS[method].label:<28}" + "".join(f"{c[0]:>14.{digits}f}" for c in cells) + f"{mean:>14.{digits}f}"
        )
        span = (f"{low:.{digits}f}-{high:.{digits}f}" for _, low, high in cells)
        lines.append(f"{'':<28}" + "".join(f"{text:>14}" for text in span))
    return "\n".join(lines)
