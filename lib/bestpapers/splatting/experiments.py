"""The experiment arms of the paper's tables: every method on every seed under equal conditions, and the tables themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from ..lab import runs, stats
from .data import Dataset
from .evaluate import evaluate
from .filters import METHODS
from .model import GaussianConfig, Gaussians
from .train import TrainConfig, Trainer


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
    Runs go side by side, see `lab.runs.side_by_side`, and come out the same as one after the other. A script that calls this
    needs `if __name__ == "__main__":`, as for all processes of Python.
    """
    pairs = [(method, seed) for seed in seeds for method in methods]
    data = {seed: make(seed) for seed in seeds}
    settings = (config, sh_degree, score_every, torch.device(device))
    jobs = [(method, seed, data[seed], *settings) for method, seed in pairs]
    done = dict(runs.side_by_side(_train, jobs, device=device, desc=desc))
    return [done[number] for number in range(len(jobs))]


def _train(
    method: str,
    seed: int,
    data: Dataset,
    config: TrainConfig,
    sh_degree: int,
    score_every: int | None,
    device: torch.device,
) -> Run:
    started = time.perf_counter()
    model = Gaussians.from_points(data.points.to(device), data.colors.to(device), GaussianConfig(method, sh_degree))
    trainer = Trainer(model, data.train, replace(config, seed=seed))
    along = {}
    for step in range(score_every or config.iterations, config.iterations, score_every or config.iterations):
        trainer.run(step, quiet=True)
        along[step] = evaluate(model, data.test)
    trainer.run(quiet=True)
    return Run(method, seed, evaluate(model, data.test), model, time.perf_counter() - started, along)


def mean_range(arms: Sequence[Run], metric: str = "psnr") -> dict[str, dict[int, stats.Interval]]:
    """Mean, lowest and highest value over the seeds: {method: {width: (mean, low, high)}}."""
    table: dict[str, dict[int, stats.Interval]] = {}
    for method in dict.fromkeys(run.method for run in arms):
        mine = [run for run in arms if run.method == method]
        values = {w: [run.scores[w][metric] for run in mine] for w in mine[0].scores}
        table[method] = {w: stats.mean_range(v) for w, v in values.items()}
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
        self.rows: dict[str, list[stats.Interval]] = {}  # method -> (mean, low, high) per column
        for method, row in mean_range(runs, metric).items():
            each = [[run.scores[w][metric] for w in columns] for run in runs if run.method == method]
            means = [sum(values) / len(values) for values in each]  # of one seed, over the columns
            self.rows[method] = [row[w] for w in columns] + [stats.mean_range(means)]

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

        def cell(value: stats.Interval) -> str:
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
