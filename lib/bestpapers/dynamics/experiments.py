"""Experiments: settings, arms, series of runs, and the recorded runs behind `3_reproduce`.

    python -m bestpapers.dynamics experiments --record                    all recorded runs
    python -m bestpapers.dynamics experiments --record tokens             of this setting

Two regimes, since each effect needs its own (ours): `tokens`, one plant as tokens of eight numbers, where coordination shows
in a minute; `spatial`, many plants in coarse pictures without a codec, where normalisation shows. Both are scored against
winds, and `spatial` against plants, that no arm has seen.

`GRID` and `SEEDS` were fixed before the first run; seed 0 is not among them, since sizes and rates were chosen on it. A seed
is the experiment made anew: winds, start, batches, noise of the samples. The `seconds` of a row are no benchmark.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..lab import machine, runs
from ..lab.cli import positive_int
from ..lab.files import FormatError
from . import diffusion, evaluate, toy, train, worlds
from .data import SOURCE
from .model import ARMS, Animator, Config, Denoiser, Eye
from .spectral import KINDS, Kind, Normalizer, from_channels, to_channels
from .train import Latents, TrainConfig

FOLDER = Path(__file__).parent / "results"
PROGRAM = "python -m bestpapers.dynamics experiments"
CALLS = (1, 2, 4, 8, 16, 50)  # of the network per sample, where samplers are compared
NORMALIZE = tuple(kind for kind in KINDS if kind != "adaptive")  # arms by the name of their normalisation
SLICES = {f"K{k}": k for k in (4, 8, 24)}


@dataclass(frozen=True)
class Spatial:
    """Many plants in coarse pictures: what a slice holds of a plant, averaged over cells, is diffused as it is.

    plants, winds          to learn from, of each kind; held_out, fresh: to be scored on
    train                  of each of two stages; arms of one stage take twice as many steps
    """

    kinds: tuple[str, ...] = ("tree",)
    plants: int = 200
    winds: int = 8
    held_out: int = 8
    fresh: int = 24
    model: Config = field(default_factory=lambda: Config(80, 128, down=8, base=32))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=1500))
    normalize: Kind = "adaptive"
    calls: int = 50

    objective = "noise"

    def network(self, arm: str) -> nn.ModuleDict:
        return nn.ModuleDict(dict(eye=Eye(self.model), net=Denoiser(self.model, arm)))

    def training(self, arm: str, seed: int) -> TrainConfig:
        return replace(self.train, seed=seed)

    def material(self, seed: int) -> Field:
        """Plants as coarse pictures."""

        def coarse(split: str, count: int, winds: int, seed: int) -> tuple[Tensor, list[Tensor]]:
            plants = train.collect(train.scenes(self.kinds, split, count), winds, self.model, seed, quiet=True)
            return plants.pictures, [self._pooled(plants.volumes(n)) for n in range(len(plants.winds))]

        pictures, known = coarse("train", self.plants, self.winds, seed)
        unknown, truth = coarse("held-out", self.held_out, self.fresh, 1_000_000 + seed)
        normalizer = Normalizer.fit(torch.cat(known), self.normalize)
        values = torch.stack([torch.stack([normalizer(v), normalizer(train.mirror(v))]) for v in known])
        size = float(values.std())
        masks = [volumes.abs().amax((0, 1, 2)) > 0 for volumes in truth]
        return Field(Latents(pictures, (values / size).half()), normalizer, size, tuple(zip(unknown, truth, masks)))

    def _pooled(self, volumes: Tensor) -> Tensor:
        pooled = F.avg_pool2d(to_channels(volumes).flatten(0, 1), self.model.down)
        return from_channels(pooled.unflatten(0, volumes.shape[:2]))


@dataclass(frozen=True)
class Field:
    """Data of the spatial regime: latents to learn from, and what goes back from them; truth of held-out plants.

    tests  of each held-out plant: picture (3, H, W) uint8, volumes (fresh, K, 2, h, w), mask (h, w) of cells that move
    """

    latents: Latents
    normalizer: Normalizer
    size: float
    tests: tuple[tuple[Tensor, Tensor, Tensor], ...]

    def spectra(self, latents: Tensor) -> Tensor:
        return self.normalizer.inverse(latents.float() * self.size)


Setting = toy.Setting | Spatial  # one row of conditions: everything about a run but the arm and the seed
SETTINGS: dict[str, Setting] = dict(
    tokens=toy.Setting(), long=toy.Setting(steps=5 * toy.Setting.steps), spatial=Spatial()
)
SEEDS = (1, 2, 3, 4, 5)
GRID: dict[str, tuple[str, ...]] = dict(
    tokens=(*ARMS, "velocity", *NORMALIZE, *SLICES),
    long=(*ARMS, "velocity"),
    spatial=(*ARMS, "unfrozen", "resolution"),
)


def arm_of(arm: str, setting: Setting) -> tuple[str, Setting]:
    """What an arm is: a way to draw slices, and a setting. All of the toy but three are coordinated; spatial ones, so that
    nothing else differs, independent."""
    ways: tuple[str, ...] = (*ARMS, "unfrozen") if isinstance(setting, Spatial) else ARMS
    changes: dict[str, dict[str, Any]] = {kind: dict(normalize=kind) for kind in NORMALIZE}
    if isinstance(setting, toy.Setting):
        changes |= dict(velocity=dict(objective="velocity"), **{name: dict(slices=k) for name, k in SLICES.items()})
    if arm not in (*ways, *changes):
        raise ValueError(f"arm {arm!r}: expected one of {', '.join((*ways, *changes))}")
    base = "independent" if isinstance(setting, Spatial) else "coordinated"
    return (arm, setting) if arm in ways else (base, replace(setting, **changes[arm]))


@lru_cache(maxsize=2)
def material(setting: Setting, seed: int) -> Any:
    """Data of a setting: `toy.Tokens` or a `Field`."""
    return setting.material(seed)


def run_arm(arm: str, seed: int, setting: Setting) -> tuple[train.Run, dict[str, float], Any]:
    """Train and score an arm: the run, its scores and its data. Of the toy, `distance.<calls>` is M4 with fewer calls of the
    network."""
    base, changed = arm_of(arm, setting)
    data = material(changed, seed)
    made = train.train_arm(base, changed.network, data.latents, changed.training(base, seed))
    scores = evaluate.scores(draw(made.model, changed, data, seed))
    if isinstance(setting, toy.Setting) and arm in ("coordinated", "velocity"):
        for calls in CALLS:
            few = evaluate.scores(draw(made.model, changed, data, seed, calls))
            scores |= {f"{name}.{calls}": few[name] for name in ("distance", "correlation")}
    return made, scores, data


@torch.no_grad()
def draw(
    model: nn.ModuleDict, setting: Setting, data: Any, seed: int, calls: int | None = None
) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Samples of a trained arm, as many of each picture as there are fresh winds, with the truth and the mask, as
    `evaluate.scores` takes them. The same seed gives all arms the same noise."""
    found = []
    for number, (picture, truth, mask) in enumerate(data.tests):
        generator = torch.Generator().manual_seed(1 + seed * 1000 + number)
        noise = torch.randn(len(truth), *data.latents.values.shape[3:], generator=generator)
        predict: Any = model["net"]
        if picture is not None:
            seen = model["eye"](picture[None].float() / 255)
            predict = diffusion.guided(predict, seen.expand(len(truth), -1, -1, -1))
        drawn = diffusion.sample(setting.objective, predict, noise, calls or setting.calls)
        found.append((data.spectra(drawn), truth, mask))
    return found


def bounds(setting: Setting, seed: int) -> dict[str, dict[str, float]]:
    """Scores of truth against other truth ("floor") and of stills ("ceiling"); of the toy also of tokens against the volumes
    that they are made of, which no arm can pass."""
    data = material(setting, seed)
    found = evaluate.bounds([(truth, mask) for _, truth, mask in data.tests])
    if isinstance(data, toy.Tokens):
        first, second = data.truth.tensor_split(2)
        again = data.spectra(data.tokens(second[:, : data.known.shape[1]]))
        found["tokens"] = evaluate.scores([(again, first, None)])
    return {name: {what: round(value, 5) for what, value in row.items()} for name, row in found.items()}


def score_animator(
    animator: Animator, known: Iterable[worlds.Scene], samples: int = 16, calls: int = 50, seed: int = 0, **kw: Any
) -> dict[str, dict[str, float]]:
    """What an animator scores on scenes, such as held-out ones: M3, M4, M6, M7, M8 and M14 of as many motions of each as winds
    they are compared with; and of other truth against that truth ("floor"). kw goes to `Animator.draw`."""
    plants = train.collect(known, 2 * samples, animator.config, seed, True)
    ours: list[Any] = []
    others: list[Any] = []
    for plant, picture in enumerate(plants.pictures):
        truth, mask = plants.volumes(plant), torch.zeros(picture.shape[1:], dtype=torch.bool)
        mask.view(-1)[plants.pixels[plant]] = True
        there, other = truth[:samples], truth[samples:]
        seeds = range(seed + 1000 * plant, seed + 1000 * plant + samples)
        parts = [animator.draw(picture.float() / 255, [s], calls, first=False, **kw) for s in seeds]
        ours.append((torch.cat(parts).cpu(), there, mask))
        others.append((other, there, mask))
    return dict(model=evaluate.scores(ours), floor=evaluate.scores(others))


def _row(arm: str, seed: int, setting: Setting) -> dict[str, Any]:
    made, scores, data = run_arm(arm, seed, setting)
    mark = runs.fingerprint(data.latents.values, *(truth for _, truth, _ in data.tests))
    loss, seconds = round(float(np.mean(made.losses[-50:])), 5), round(made.seconds, 1)
    return dict(scores=scores, loss=loss, seconds=seconds, data=mark)


def compare(
    name: str, setting: Setting, arms: Sequence[str], seeds: Sequence[int],
    path: str | Path | None = None, workers: int | None = None,
) -> runs.Results:  # fmt: skip
    """Train every arm with every seed, and keep the scores in a JSON file, if a path is given; what it holds already is not run
    again. Runs go side by side in `workers` processes, or in those of torchrun, see `lab.runs.side_by_side`."""
    results = runs.Results(path, SOURCE)
    results.expect(name, asdict(setting), SOURCE)
    jobs = [(a, s, setting) for s in seeds for a in arms if f"{name}/{a}/{s}" not in results.rows]
    for number, row in runs.side_by_side(_row, jobs, workers=workers, desc=name):
        results.add(name, *jobs[number][:2], **row)
    return results


def record(name: str, folder: Path = FOLDER, workers: int | None = 1) -> None:
    """Run one setting of the grid with all its arms and seeds, and note what truth scores against truth."""
    results = compare(name, SETTINGS[name], GRID[name], SEEDS, folder / f"{name}.json", workers)
    about: dict[str, Any] = dict(command=f"{PROGRAM} --record {name}", made_with=machine.record("torch", "numpy"))
    about["bounds"] = {str(seed): bounds(SETTINGS[name], seed) for seed in SEEDS}
    results.about = about | results.about
    results.save()


def load(names: Sequence[str] = tuple(GRID), folder: Path = FOLDER) -> runs.Results:
    """The recorded rows of these settings, together. Raises FormatError for a file that is missing or damaged."""
    together = runs.Results(source=SOURCE)
    for name in names:
        path = folder / f"{name}.json"
        if not path.exists():
            advice = f"make them with {PROGRAM} --record {name}"
            raise FormatError(path, "file", "recorded runs", "nothing of that name", advice)
        part = runs.Results(path)
        together.settings |= part.settings
        together.rows |= part.rows
        together.about |= {name: part.about}
    return together


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", nargs="*", choices=GRID, required=True, help="settings to run; none named: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the JSON files")
    parser.add_argument("--workers", type=positive_int, default=1, help="runs at a time")


def run(options: argparse.Namespace) -> int:
    """Run the recorded series; what is there already is not run again."""
    for name in options.record or GRID:
        record(name, options.folder, options.workers)
    return 0
