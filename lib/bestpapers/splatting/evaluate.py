"""Scoring a model, and the experiment arms of the paper's tables.

Images are rounded to 8 bits before they are compared, as in the authors' code, where both come from PNG files.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numba
import torch

from ..course.progress import progress
from ..lab.images import psnr, ssim, to_8bit
from .data import Dataset, Views
from .filters import METHODS
from .model import GaussianConfig, Gaussians
from .train import TrainConfig, Trainer

MOST_WORKERS = 2  # processes of `compare`: each needs some 300 MB, and a session on Binder has 2 GB for all


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
    """One trained arm: which method and seed, its scores {width: {"psnr", "ssim"}}, and what training left behind.

    along: the same scores on the way, {iteration: scores}, where they were asked for.
    """

    method: str
    seed: int
    scores: dict[int, dict[str, float]]
    model: Gaussians
    seconds: float
    along: dict[int, dict[int, dict[str, float]]] = field(default_factory=dict)


def compare(
    make: Callable[[int], Dataset],
    methods: Iterable[str],
    seeds: Sequence[int],
    config: TrainConfig,
    *,
    sh_degree: int = 0,
    score_every: int | None = None,
    device: torch.device | str = "cpu",
    desc: str = "arms",
) -> list[Run]:
    """Train every method on every seed under equal conditions and score each on the data's test views: at the end, and with
    `score_every` also on the way, every so many iterations.

    `make(seed)` gives the data of a seed: all methods of one seed share images, noise, starting points and order of views.
    On the CPU, runs go side by side, each on a core in a process of its own, and come out the same as one after the other.
    (Threads would wait for each other: small images leave more time in Python, which lets one thread run, than in the
    kernels.) A script that calls this needs `if __name__ == "__main__":`, as for all processes of Python.
    """
    jobs = [(method, seed) for seed in seeds for method in methods]
    data = {seed: make(seed) for seed in seeds}
    settings = (config, sh_degree, score_every, torch.device(device))
    done: dict[tuple[str, int], Run] = {}
    workers = _workers(torch.device(device))
    if workers == 1:
        for method, seed in progress(jobs, desc=desc):
            done[method, seed] = _train(method, seed, data[seed], *settings)
        return [done[job] for job in jobs]
    # plain bytes, not torch's way of passing tensors on, which needs more shared memory than many containers have
    packed = {seed: pickle.dumps((data[seed], *settings)) for seed in seeds}
    pool, stop = _pool(workers)
    try:
        with _environment(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1"):  # processes start at the first job, with these
            pending = {pool.submit(_train_packed, *job, packed[job[1]]): job for job in jobs}
        for future in progress(as_completed(pending), desc=desc, total=len(jobs)):
            done[pending[future]] = pickle.loads(future.result())
    except BaseException:
        stop.set()
        pool.shutdown(cancel_futures=True)
        _pool.cache_clear()
        raise
    return [done[job] for job in jobs]


def _train(
    method: str,
    seed: int,
    data: Dataset,
    config: TrainConfig,
    sh_degree: int,
    score_every: int | None,
    device: torch.device,
    after: Callable[[Trainer], None] | None = None,
) -> Run:
    started = time.perf_counter()
    model = Gaussians.from_points(data.points.to(device), data.colors.to(device), GaussianConfig(method, sh_degree))
    trainer = Trainer(model, data.train, replace(config, seed=seed))
    along = {}
    for step in range(score_every or config.iterations, config.iterations, score_every or config.iterations):
        trainer.run(step, quiet=True, after=after)
        along[step] = evaluate(model, data.test)
    trainer.run(quiet=True, after=after)
    return Run(method, seed, evaluate(model, data.test), model, time.perf_counter() - started, along)


# ---- side by side ---------------------------------------------------------------------------------------------------------


def _workers(device: torch.device) -> int:
    """How many runs go side by side: one per core, within bounds."""
    return min(MOST_WORKERS, numba.get_num_threads()) if device.type == "cpu" else 1


@functools.cache  # kept for the next call: importing torch and loading the kernels takes seconds
def _pool(workers: int) -> tuple[ProcessPoolExecutor, Any]:
    """The processes, and the event that stops what they are at."""
    if sys.platform == "win32":
        context: Any = multiprocessing.get_context("spawn")
    else:  # fork would copy locks that other threads hold; the server that forks here has imported and started nothing
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
    stop = context.Event()
    return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(stop,)), stop


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name)
        os.environ.update({name: before[name] for name in values if name in before})


_stop: Any = None  # in each of the processes


def _start(stop: Any) -> None:
    """Ctrl-C reaches all processes of a terminal or notebook: it is the parent's to hear, which then sets `stop`."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _train_packed(method: str, seed: int, packed: bytes) -> bytes:
    def check(_: Trainer) -> None:
        if _stop.is_set():
            raise RuntimeError("stopped")

    data, config, sh_degree, score_every, device = pickle.loads(packed)
    return pickle.dumps(_train(method, seed, data, config, sh_degree, score_every, device, check))


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
