"""The experiment arms of the paper's tables, the recorded runs behind `3_reproduce`, and the tables themselves.

    python -m bestpapers.splatting experiments --record                   all recorded runs
    python -m bestpapers.splatting experiments --record outward multi     of these settings
    python -m bestpapers.splatting experiments --verify                   are their pictures still the same?

Five seeds of every arm take longer than a class can wait, so their scores are kept in `results/`, a JSON file to a setting.
The notebook trains some of them anew and compares. A seed makes the whole experiment anew: the scene, the cameras of
training and test, noise and starting points, the order of the views. `SETTINGS`, `GRID` and the seeds were fixed before the
first recorded run. Seed 0 is not among them, since sizes and lengths of training were chosen on one fixed scene.

In `CAPTURES` a row is worth something on photographs as cameras take them: see `Photographed`. The rule for that table: a
condition makes the 3D filter pay (or cost) if the 95 % interval of its worth lies above (or below) 0; all are printed.

The `seconds` of a row are wall time on a machine that did other work as well, so they are no benchmark.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..lab import machine, runs, stats
from ..lab.cli import positive_int
from .data import Dataset, Views, band_limit, make_capture, make_dataset, make_scene, render_truth
from .evaluate import evaluate, narrow_axes
from .filters import METHODS
from .model import GaussianConfig, Gaussians
from .train import TrainConfig, Trainer

FOLDER = Path(__file__).parent / "results"
PROGRAM = "python -m bestpapers.splatting experiments"
SOURCE = runs.source_hash(Path(__file__).with_name(name) for name in ("worlds.py", "cameras.py"))
COLLAPSE = (0.3 - 1 / 12) ** 0.5  # px: under dilation, blobs narrower than this collapse to points


# ----------------------------------------------------------------------------------------------------------------- arms


@dataclass(frozen=True)
class Run:
    """One trained arm: which method and seed, its scores {width: {"psnr", "ssim"}}, and what training left behind.

    along: the same scores on the way, {iteration: scores}, where they were asked for. measures: what else was measured.
    The model of a recorded run is None.
    """

    method: str
    seed: int
    scores: dict[int, dict[str, float]]
    model: Gaussians
    seconds: float
    along: dict[int, dict[int, dict[str, float]]] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)


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


# ------------------------------------------------------------------------------------------------------- recorded runs

FEW = (1, 2, 3, 4, 5)
MANY = tuple(range(1, 11))
OFTEN = "mip-every-10"  # Mip-Splatting whose 3D filter is computed again every 10 steps


@dataclass(frozen=True)
class Setting:
    """One row of conditions: everything about a run but the arm and the seed.

    size         px of the training pictures; train_sizes: of training on several sizes
    score_every  also score on the way, every so many steps
    limited      also score against the truth that is limited to what pictures of the training size can hold
    """

    scene: str = "wheel"
    detail: str = "thin"
    size: int = 96
    test_sizes: tuple[int, ...] = (96, 48, 24, 12)
    train_sizes: tuple[int, ...] | None = None
    noise_std: float = 0.0
    points: int = 1500
    steps: int = 500
    score_every: int | None = None
    limited: bool = False
    n_test: int = 12
    seeds: tuple[int, ...] = FEW

    def data(self, seed: int) -> Dataset:
        """Scene, cameras, pictures and points of a seed."""
        return make_dataset(
            self.scene, self.detail, self.size, n_test=self.n_test, noise_std=self.noise_std, seed=seed, variant=seed,
            test_sizes=self.test_sizes, train_sizes=self.train_sizes, n_points=self.points,
        )  # fmt: skip

    def training(self, arm: str) -> TrainConfig:
        return TrainConfig(iterations=self.steps, density=None, filter_every=10 if arm == OFTEN else 100)


CONDITIONS: dict[str, dict[str, Any]] = dict(  # of a camera: arguments of `make_capture`
    clean=dict(noise_std=0.0),
    blur=dict(noise_std=0.0, blur_px=1.0),
    noise=dict(noise_std=0.03),
    jpeg=dict(noise_std=0.0, jpeg=75),
    exposure=dict(noise_std=0.0, exposure_stops=0.5),
    all=dict(noise_std=0.03, blur_px=1.0, jpeg=75, exposure_stops=0.5),
)


@dataclass(frozen=True)
class Photographed:
    """A meadow, photographed under one of CONDITIONS, and scored against what a perfect camera would see, at the size of the
    photographs and at two and four times as many pixels. Every eighth photograph is held out. An arm is
    "<condition>:<method>"."""

    scene: str = "foliage"
    photographs: int = 32
    width: int = 128
    height: int = 72
    zooms: tuple[int, ...] = (1, 2, 4)
    points: int = 3000
    steps: int = 1000
    lr_scale: float = 2.0
    seeds: tuple[int, ...] = FEW

    def data(self, seed: int, condition: str) -> Dataset:
        views, points, colors = make_capture(
            self.scene, self.photographs, width=self.width, height=self.height, n_points=self.points, seed=seed, variant=seed,
            **CONDITIONS[condition],
        )  # fmt: skip
        kept = [i for i in range(len(views)) if i % 8]
        train = Views(tuple(views.cameras[i] for i in kept), views.images[kept])
        scene = make_scene(self.scene, "thin", seed)
        return Dataset(scene, {self.width: train}, _perfect(self, seed), points, colors)

    def training(self, arm: str) -> TrainConfig:
        return TrainConfig(iterations=self.steps, density=None, lr_scale=self.lr_scale)


@lru_cache(maxsize=1)  # conditions of one seed follow each other, and share cameras
def _perfect(setting: Photographed, seed: int) -> dict[int, Views]:
    """What a perfect camera would see of the held-out views, {width: views}."""
    size = dict(width=setting.width, height=setting.height, n_points=1)
    cameras = make_capture(setting.scene, setting.photographs, **size, seed=seed, variant=seed)[0].cameras[::8]
    scene, found = make_scene(setting.scene, "thin", seed), {}
    for zoom in setting.zooms:
        eyes = tuple(camera.scaled(zoom) for camera in cameras)
        found[zoom * setting.width] = Views(eyes, torch.stack([render_truth(scene, eye) for eye in eyes]))
    return found


_INWARD = Setting(size=32, test_sizes=(32, 64, 128, 256), points=2000, steps=1000, score_every=200, limited=True)
_NATURAL = replace(_INWARD, detail="natural", noise_std=0.03)
SETTINGS: dict[str, Setting | Photographed] = dict(
    outward=Setting(),
    outward_natural=Setting(detail="natural"),
    outward_foliage=Setting(scene="foliage"),
    multi=Setting(train_sizes=(96, 48, 24, 12)),
    inward_natural=_NATURAL,
    inward_thin=_INWARD,
    inward_long=replace(_NATURAL, points=3000, steps=5000, score_every=1000, seeds=MANY),
    capture=Photographed(),
)
_THREE, _PAIR = ("3dgs", "ewa", "mip"), ("mip", "mip-no-3d")
GRID: dict[str, tuple[str, ...]] = dict(
    outward=tuple(METHODS),
    outward_natural=tuple(METHODS),
    outward_foliage=tuple(METHODS),
    multi=_THREE,
    inward_natural=(*METHODS, OFTEN),
    inward_thin=tuple(METHODS),
    inward_long=_PAIR,
    capture=tuple(f"{condition}:{method}" for condition in CONDITIONS for method in _PAIR),
)


def material(setting: Setting | Photographed, seed: int, arm: str) -> Dataset:
    """What an arm of a seed learns from and is scored on: the same for all methods."""
    return setting.data(seed, arm.split(":")[0]) if isinstance(setting, Photographed) else setting.data(seed)


def fingerprint(data: Dataset) -> str:
    """A hash of the pictures of training and test, and of the points, as 8-bit values and in thousandths."""
    views = [*data.train.values(), *data.test.values()]
    bytes_ = [v.images if v.images.dtype == torch.uint8 else (v.images.clamp(0, 1) * 255).round().byte() for v in views]
    return runs.fingerprint(*bytes_, (1000 * data.points).round().int())


def train_arm(arm: str, seed: int, setting: Setting | Photographed, data: Dataset | None = None) -> Run:
    """Train one arm and score it, as the recorded runs were. The method of the run is the arm's name."""
    data = data or material(setting, seed, arm)
    method = arm.split(":")[-1].removesuffix("-every-10")
    every = setting.score_every if isinstance(setting, Setting) else None
    run = _train(method, seed, data, setting.training(arm), 0, every, torch.device("cpu"))
    measures = {}
    if isinstance(setting, Setting) and setting.limited:
        larger = {w: v for w, v in data.test.items() if w > setting.size}
        known = {w: Views(v.cameras, band_limit(v.images, setting.size)) for w, v in larger.items()}
        measures = {f"limited.{w}": score["psnr"] for w, score in evaluate(run.model, known).items()}
    if isinstance(setting, Setting):
        narrow = narrow_axes(run.model, data.train[max(data.train)].cameras)
        measures["scale"] = float(run.model.log_scales.detach().mean().exp())
        measures["narrow.median"] = float(np.median(narrow))
        measures["narrow.share"] = float((narrow < COLLAPSE).mean())
    return replace(run, method=arm, measures=measures)


def live(setting: str, arms: Sequence[str], seed: int) -> list[Run]:
    """Train some arms of a recorded setting now, side by side."""
    jobs = [(arm, seed, SETTINGS[setting]) for arm in arms]
    done = dict(runs.side_by_side(_cached, jobs, desc=setting))
    return [done[number] for number in range(len(jobs))]


_at_hand = lru_cache(maxsize=1)(material)  # jobs of one seed and condition follow each other


def _cached(arm: str, seed: int, setting: Setting | Photographed) -> Run:
    shared = f"{arm.split(':')[0]}:" if isinstance(setting, Photographed) else ""  # all that the data hang on
    return train_arm(arm, seed, setting, _at_hand(setting, seed, shared))


def scores_of(run: Run) -> dict[str, float]:
    """The scores of a run as those of a row: "psnr.<width>", "ssim.<width>", on the way "psnr.<width>@<step>", and measures."""
    row = {f"{metric}.{width}": value for width, score in run.scores.items() for metric, value in score.items()}
    for step, scores in run.along.items():
        row |= {f"psnr.{width}@{step}": score["psnr"] for width, score in scores.items()}
    return row | run.measures


def runs_of(results: runs.Results, setting: str) -> list[Run]:
    """The recorded rows of a setting as runs, in the order of its arms, for `Table` and `mean_range`."""
    found = []
    for arm in GRID[setting]:
        for seed in results.values(setting, arm, next(iter(_first(results, setting, arm)))):
            row = results.rows[f"{setting}/{arm}/{seed}"]
            scores, along, measures = dict[int, Any](), dict[int, Any](), dict[str, float]()
            for name, value in row["scores"].items():
                metric, _, rest = name.partition(".")
                width, _, step = rest.partition("@")
                if metric not in ("psnr", "ssim"):
                    measures[name] = value
                elif step:
                    along.setdefault(int(step), {}).setdefault(int(width), {})[metric] = value
                else:
                    scores.setdefault(int(width), {})[metric] = value
            path: dict[int, Any] = dict(sorted(along.items()))
            found.append(Run(arm, seed, scores, None, row["seconds"], path, measures))  # type: ignore[arg-type]
    return found


def path(found: Sequence[Run], arm: str) -> NDArray[np.float64]:
    """Mean PSNR over the widths in dB of an arm, on the way and at the end: [seeds, scored steps]."""
    stops = [[*run.along.values(), run.scores] for run in found if run.method == arm]
    return np.array([[np.mean([score["psnr"] for score in scores.values()]) for scores in run] for run in stops])


def worth(found: Sequence[Run]) -> NDArray[np.float64]:
    """What the 3D filter adds, mean PSNR over the widths in dB, on the way and at the end: [seeds, scored steps]."""
    return path(found, "mip") - path(found, "mip-no-3d")


def _first(results: runs.Results, setting: str, arm: str) -> Mapping[str, float]:
    rows = [row["scores"] for key, row in results.rows.items() if key.startswith(f"{setting}/{arm}/")]
    if not rows:
        raise ValueError(f"results: there are no rows of setting {setting!r} and arm {arm!r}")
    return rows[0]


def _row(arm: str, seed: int, setting: Setting | Photographed) -> dict[str, Any]:
    run = _cached(arm, seed, setting)
    shared = f"{arm.split(':')[0]}:" if isinstance(setting, Photographed) else ""
    data = fingerprint(_at_hand(setting, seed, shared))
    return dict(scores=scores_of(run), seconds=round(run.seconds, 1), data=data)


def record(name: str, folder: Path = FOLDER, workers: int | None = 1) -> None:
    """Run one setting of the grid with all its arms and seeds. What its file holds already is not run again, and each row is
    written as soon as its run ends. Runs go side by side in `workers` processes, or in torchrun's. The file keeps the rules of
    the claims as they stood before its first row."""
    setting, results = SETTINGS[name], runs.Results(folder / f"{name}.json", SOURCE)
    results.expect(name, asdict(setting), SOURCE)
    about: dict[str, Any] = dict(
        command=f"{PROGRAM} --record {name}", made_with=machine.record("torch", "numpy", "numba")
    )
    claims = tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))
    about["rules"] = {key: claim["rule"] for key, claim in claims.items() if "rule" in claim}
    results.about = about | results.about  # what stood there when the first row was made stays
    jobs = [(arm, s, setting) for s in setting.seeds for arm in GRID[name] if f"{name}/{arm}/{s}" not in results.rows]
    for number, row in runs.side_by_side(_row, jobs, workers=workers, desc=name):
        results.add(name, *jobs[number][:2], **row)


def load(names: Sequence[str] = tuple(GRID), folder: Path = FOLDER) -> runs.Results:
    """The recorded rows of these settings, together. Raises FormatError for a file that is missing or damaged."""
    return runs.gathered(runs.Results(source=SOURCE), folder, names, PROGRAM)


def verify(name: str, folder: Path = FOLDER) -> None:
    """Make the pictures of recorded runs again. If each row was made of these very ones, sign its file with the present source;
    else raise ValueError naming the rows that have to be recorded anew."""
    setting, results = SETTINGS[name], runs.Results(folder / f"{name}.json", SOURCE)
    results.expect(name, asdict(setting), results.source)
    shared = {arm.split(":")[0] if isinstance(setting, Photographed) else "": arm for arm in GRID[name]}
    wrong = []
    for seed in setting.seeds:
        for part, arm in shared.items():
            found = fingerprint(material(setting, seed, arm))
            start = f"{name}/{part}:" if part else f"{name}/"
            mine = {k: row for k, row in results.rows.items() if k.startswith(start) and k.endswith(f"/{seed}")}
            wrong += [key for key, row in mine.items() if row["data"] != found] or (
                [] if mine else [f"{start}*/{seed}"]
            )
    if wrong:
        command = f"delete {results.path} and run {PROGRAM} --record {name}"
        raise ValueError(f"{results.path}: of other pictures than the code makes now: {', '.join(wrong)}; {command}")
    results.source = SOURCE
    results.save()


def arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    for flag, words in (("--record", "make the recorded runs"), ("--verify", "make the pictures again, and compare")):
        what.add_argument(flag, nargs="*", choices=GRID, help=f"{words} of these settings; none named: of all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the JSON files")
    parser.add_argument("--workers", type=positive_int, default=1, help="runs at a time")


def run(options: argparse.Namespace) -> int:
    """Make or verify the recorded runs; what is there already is not run again."""
    if options.record is not None:
        for name in options.record or GRID:
            record(name, options.folder, options.workers)
    else:
        for name in options.verify or GRID:
            verify(name, options.folder)
            print(f"{name}: the pictures are those of the rows", flush=True)
    return 0


# --------------------------------------------------------------------------------------------------------------- tables


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
    With a single seed there is no range, and none is shown.

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
        self.one_seed = len({run.seed for run in runs}) == 1
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
            span = "" if self.one_seed else f"<br><small>{value[1]:.{short}f}\N{EN DASH}{value[2]:.{short}f}</small>"
            return f"<td {right}>{self._figure(value[0])}{span}</td>"

        blank = [None] * len(self.heads)
        heads = "".join(f"<th scope='col' {right}>{head}</th>" for head in self.heads)
        ours = "ours, one run" if self.one_seed else "ours, mean and range"
        groups = f"<th></th><th colspan='{len(self.heads)}' style='text-align:center'>{ours}</th>"
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
