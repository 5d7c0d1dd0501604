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
        scores = []
        for i, camera in enumerate(test.cameras):  # one by one: photographs may differ in size, and many are large
            image = to_8bit(model.render([camera]).colors[0])
            truth = to_8bit(test.image(i).to(image))
            scores.append(torch.stack([psnr(image, truth), ssim(image, truth)]))
        mean_psnr, mean_ssim = torch.stack(scores).mean(0).tolist()
        table[width] = dict(psnr=mean_psnr, ssim=mean_ssim)
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
    return numba.get_num_threads() if numba.threading_layer() in ("omp", "tbb") else 1


def mean_range(runs: Sequence[Run], metric: str = "psnr") -> dict[str, dict[int, tuple[float, float, float]]]:
    """Mean, lowest and highest value over the seeds: {method: {width: (mean, low, high)}}."""
    table: dict[str, dict[int, tuple[float, float, float]]] = {}
    for method in dict.fromkeys(run.method for run in runs):
        mine = [run for run in runs if run.method == method]
        values = {w: [run.scores[w][metric] for run in mine] for w in mine[0].scores}
        table[method] = {w: (sum(v) / len(v), min(v), max(v)) for w, v in values.items()}
    return table


class Table:
    """Runs in the form of the paper's tables: a row per method; ours as mean and range over the seeds; the paper's beside.

    columns: heading of each test width. paper: {method: figures, one per column and their mean}, in columns of their own,
    since they come from other data and a far longer training and are to be compared in order and shape only; None: not printed.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        columns: Mapping[int, str],
        paper: Mapping[str, Sequence[float | None]] | None = None,
        metric: str = "psnr",
        digits: int = 2,
    ):
        self.heads = [*columns.values(), "mean"]
        self.paper = dict(paper or {})
        self.digits = digits
        self.rows: dict[str, list[tuple[float, float, float]]] = {}  # method -> (mean, low, high) per column
        for method, row in mean_range(runs, metric).items():
            each = [[run.scores[w][metric] for w in columns] for run in runs if run.method == method]
            means = [sum(values) / len(values) for values in each]  # of one seed, over the columns
            self.rows[method] = [row[w] for w in columns] + [(sum(means) / len(means), min(means), max(means))]

    def _figure(self, value: float | None) -> str:
        return "\N{EN DASH}" if value is None else f"{value:.{self.digits}f}"

    def __str__(self) -> str:
        lines = [f"{'ours':<28}" + "".join(f"{head:>8}" for head in self.heads)]
        for method, cells in self.rows.items():
            lines.append(f"{METHODS[method].label:<28}" + "".join(f"{self._figure(c[0]):>8}" for c in cells))
        if self.paper:
            lines.append(f"{'paper':<28}" + "".join(f"{head:>8}" for head in self.heads))
        for method, figures in self.paper.items():
            lines.append(f"{METHODS[method].label:<28}" + "".join(f"{self._figure(v):>8}" for v in figures))
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        right = "style='text-align:right;white-space:nowrap;padding:0.2em 0.4em'"

        def cell(value: tuple[float, float, float]) -> str:
            short = max(0, self.digits - 1)  # of a range, one digit less is enough
            span = f"{value[1]:.{short}f}\N{EN DASH}{value[2]:.{short}f}"
            return f"<td {right}>{self._figure(value[0])}<br><small>{span}</small></td>"

        blank = [None] * len(self.heads)
        heads = "".join(f"<th scope='col' {right}>{head}</th>" for head in self.heads)
        groups = f"<th></th><th colspan='{len(self.heads)}' style='text-align:center'>ours, mean and range</th>"
        if self.paper:
            groups += f"<th colspan='{len(self.heads)}' style='text-align:center'>paper (other data)</th>"
        body = ""
        for method, cells in self.rows.items():
            body += f"<tr><th scope='row' style='text-align:left'>{METHODS[method].label}</th>" + "".join(
                map(cell, cells)
            )
            if self.paper:
                printed = self.paper.get(method, blank)
                body += "".join(f"<td {right}>{self._figure(value)}</td>" for value in printed)
            body += "</tr>"
        table = f"<tr>{groups}</tr><tr><th></th>{heads}{heads if self.paper else ''}</tr>{body}"
        return f"<div style='overflow-x:auto'><table class='results'>{table}</table></div>"
