"""Experiments: settings, arms, series of runs, and the recorded runs behind `3_reproduce`.

    python -m bestpapers.dynamics experiments --record                    all recorded runs
    python -m bestpapers.dynamics experiments --record tokens             of this setting

Two regimes, since each effect needs its own (ours): `tokens`, one plant as tokens of eight numbers, where coordination shows
in a minute (`long`: trained three times as long); `spatial`, many plants in coarse pictures without a codec, where
normalisation shows. Both are scored against winds, and `spatial` against plants, that no arm has seen. `renderers` paint true
motion of plants that they have not seen.

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

from ..lab import diffusion, machine, runs
from ..lab.cli import positive_int
from . import evaluate, measured, render, spectral, toy, train, worlds
from .data import SOURCE, Clip
from .measured import Measured
from .model import ARMS, Animator, Config, Denoiser, Eye
from .spectral import KINDS, Kind, Normalizer, first_frame, from_channels, motion, to_channels
from .train import Latents, Material, TrainConfig

FOLDER = Path(__file__).parent / "results"
PROGRAM = "python -m bestpapers.dynamics experiments"
CALLS = (1, 2, 4, 8, 16, 50)  # of the network per sample, where samplers are compared
NORMALIZE = tuple(kind for kind in KINDS if kind != "adaptive")  # arms by the name of their normalisation
SLICES = {f"K{k}": k for k in (4, 8, 24)}


@dataclass(frozen=True)
class Spatial:
    """Many plants in coarse pictures: what a slice holds of a plant, averaged over cells, is diffused as it is."""

    kinds: tuple[str, ...] = ("tree",)
    plants: int = 160  # of each kind, to learn from, with `winds` each
    winds: int = 8
    held_out: int = 8  # to be scored on, with `fresh` winds each
    fresh: int = 16
    model: Config = field(default_factory=lambda: Config(64, 96, base=32))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=2500, batch=8))  # of one stage of two
    normalize: Kind = "adaptive"
    calls: int = 50
    objective: str = "noise"

    def network(self, arm: str) -> nn.ModuleDict:
        return nn.ModuleDict(dict(eye=Eye(self.model), net=Denoiser(self.model, arm)))

    def training(self, arm: str, seed: int) -> TrainConfig:
        return replace(self.train, seed=seed, objective=self.objective)

    def material(self, seed: int) -> Material:
        """Plants as coarse pictures."""
        pictures, known = _coarse(self.kinds, "train", self.plants, self.winds, self.model, seed)
        unknown, truth = _coarse(self.kinds, "held-out", self.held_out, self.fresh, self.model, 1_000_000 + seed)
        normalizer = Normalizer.fit(torch.cat(known), self.normalize)
        values = torch.stack([torch.stack([normalizer(v), normalizer(train.mirror(v))]) for v in known])
        size = float(values.std())
        tests = tuple((picture, v, v.abs().amax((0, 1, 2)) > 0) for picture, v in zip(unknown, truth))
        latents = Latents(pictures, (values / size).half())
        return Material(latents, lambda v: normalizer(v) / size, lambda z: normalizer.inverse(z.float() * size), tests)


@lru_cache(maxsize=2)
def _coarse(
    kinds: tuple[str, ...], split: str, count: int, winds: int, model: Config, seed: int
) -> tuple[Tensor, list[Tensor]]:
    """Pictures of plants, and their volumes (winds, K, 2, h, w) averaged over cells: what all arms of a seed share."""
    plants = train.collect(train.scenes(kinds, split, count), winds, model, seed, quiet=True)
    cells = []
    for plant in range(count * len(kinds)):
        volumes = to_channels(plants.volumes(plant))
        cells.append(from_channels(F.avg_pool2d(volumes.flatten(0, 1), model.down).unflatten(0, volumes.shape[:2])))
    return plants.pictures, cells


@dataclass(frozen=True)
class Painted:
    """Renderers on true motion: see `RENDERERS`. Scored on every `every`-th frame of held-out plants of each kind."""

    scenes: int = 6  # of each kind, to learn from; `render.train` says what else
    held_out: int = 2
    every: int = 10
    size: tuple[int, int] = (160, 256)
    train: render.TrainConfig = field(default_factory=lambda: render.TrainConfig(steps=500))


Trained = toy.Setting | Spatial
Setting = Trained | Painted | Measured  # one row of conditions: everything about a run but the arm and the seed
SETTINGS: dict[str, Setting] = dict(
    tokens=toy.Setting(), long=toy.Setting(steps=3 * toy.Setting.steps), spatial=Spatial(), renderers=Painted(),
    **measured.SETTINGS,
)  # fmt: skip
RIVALS = dict(steps=True, positions=False)  # arms that predict frame by frame: whether what they predict is added up
RENDERERS = dict(  # the paper's form and its baseline, both without our help in holes
    features=render.RendererConfig(look_back=False),
    baseline=render.RendererConfig(multi_scale=False, weight="learned", look_back=False),
)
SEEDS: tuple[int, ...] = (1, 2, 3, 4, 5)
GRID: dict[str, tuple[str, ...]] = dict(
    tokens=(*ARMS, "velocity", *NORMALIZE, *SLICES, *RIVALS),
    long=ARMS,
    spatial=("independent", "coordinated", "unfrozen", "resolution"),
    renderers=tuple(RENDERERS),
    plants=worlds.KINDS,  # these two: see `measured`
    shipped=worlds.KINDS,
)


def arm_of(arm: str, setting: Trained) -> tuple[str, Trained]:
    """What an arm is: a way to draw slices, and a setting. Where the setting is what differs, tokens are drawn coordinated, and
    spatial slices, so that nothing else plays a part, independent."""
    ways, base = ((*ARMS, "unfrozen"), "independent") if isinstance(setting, Spatial) else (ARMS, "coordinated")
    changes: dict[str, dict[str, Any]] = {kind: dict(normalize=kind) for kind in NORMALIZE}
    if isinstance(setting, toy.Setting):
        changes |= dict(velocity=dict(objective="velocity")) | {name: dict(slices=k) for name, k in SLICES.items()}
    if arm not in (*ways, *changes):
        raise ValueError(f"arm {arm!r}: expected one of {', '.join((*ways, *changes))}")
    return (arm, setting) if arm in ways else (base, replace(setting, **changes[arm]))


def run_arm(arm: str, seed: int, setting: Trained) -> tuple[nn.ModuleDict, dict[str, float], dict[str, Any]]:
    """Train and score an arm: the model, its scores, and what else there is to say of the run. Of the toy, `distance.<calls>`
    is M4 with fewer calls of the network, and `window.<first frame>` M12."""
    base, changed = arm_of(arm, setting)
    data = changed.material(seed)
    model, losses, seconds = train.train_arm(base, changed.network, data.latents, changed.training(base, seed))
    drawn = draw(model, changed, data, seed)
    scores = evaluate.scores(drawn)
    if isinstance(setting, toy.Setting) and arm in ("coordinated", "velocity"):
        for calls in CALLS:
            few = evaluate.scores(draw(model, changed, data, seed, calls))
            scores |= {f"{name}.{calls}": few[name] for name in ("distance", "correlation")}
        scores |= over_time(*(motion(first_frame(spectra)) for spectra in drawn[0][:2]))
    mark = runs.fingerprint(data.latents.values, *(truth for _, truth, _ in data.tests))
    return model, scores, dict(loss=round(float(np.mean(losses[-50:])), 5), seconds=round(seconds, 1), data=mark)


def over_time(clips: Tensor, truth: Tensor) -> dict[str, float]:
    """M12 as scores of a row: `window.<first frame>`."""
    return {f"window.{n}": value for n, value in evaluate.windows(clips, truth).items()}


def run_rival(arm: str, seed: int, setting: toy.Setting) -> dict[str, float]:
    """The scores of one of `RIVALS`, which need no training to speak of."""
    clips, truth = toy.frame_by_frame(setting, seed, RIVALS[arm])
    volumes = spectral.volume(clips, setting.slices), spectral.volume(truth, setting.truth)
    return evaluate.scores([(*volumes, None)]) | over_time(clips, truth)


def run_renderer(arm: str, seed: int, setting: Painted) -> tuple[render.Renderer, dict[str, float], dict[str, Any]]:
    """Train one of `RENDERERS`, and paint held-out plants: `render.score`, the mean over plants."""
    config = replace(setting.train, seed=seed)
    trainer = render.train(config, RENDERERS[arm], scenes=setting.scenes, size=setting.size, quiet=True)
    renderer = trainer.model.eval()
    rows = []
    for kind in worlds.KINDS:
        for plant in worlds.plant_seeds(kind, "held-out", setting.held_out):
            clip = Clip(kind, plant, seed, *setting.size)
            rows.append(render.score_clip(clip, setting.every, "network", renderer))
    scores = {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}
    return renderer, scores, dict(seconds=round(trainer.seconds, 1), data=trainer.digest())


@torch.no_grad()
def draw(
    model: nn.ModuleDict, setting: Trained, data: Material, seed: int, calls: int | None = None
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
        found.append((data.back(drawn), truth, mask))
    return found


def bounds(setting: Trained, seed: int) -> dict[str, dict[str, float]]:
    """Scores of truth against other truth ("floor"), of stills ("ceiling"), and of what latents keep of the truth ("latents"),
    which no arm can pass."""
    data = setting.material(seed)
    truths, slices = [test[1:] for test in data.tests], data.latents.values.shape[3]
    found = evaluate.bounds(truths, latents=lambda volumes: data.back(data.forward(volumes[:, :slices])))
    if isinstance(setting, toy.Setting):
        known, other = motion(first_frame(data.tests[0][1])).chunk(2)
        found["floor"] |= over_time(other, known)
        found["ceiling"] |= over_time(torch.zeros_like(other), known)
    return {name: {what: round(value, 5) for what, value in row.items()} for name, row in found.items()}


def score_animator(
    animator: Animator, known: Iterable[worlds.Scene], samples: int = 16, calls: int = 50, seed: int = 0, **kw: Any
) -> dict[str, dict[str, float]]:
    """What an animator scores on scenes, such as held-out ones: M3, M4, M6, M7, M8 and M14 of as many motions of each as winds
    they are compared with; and of other truth against that truth ("floor"). kw goes to `Animator.draw`."""
    plants = train.collect(known, 2 * samples, animator.config, seed, quiet=True)
    ours, others = list[Any](), list[Any]()
    for plant, picture in enumerate(plants.pictures.permute(0, 2, 3, 1).numpy()):
        mask = torch.zeros(picture.shape[:2], dtype=torch.bool)
        mask.view(-1)[plants.pixels[plant]] = True
        truth, other = plants.volumes(plant).split(samples)
        seeds = range(seed + 1000 * plant, seed + 1000 * plant + samples)
        drawn = [animator.draw(picture, [s], calls, first=False, **kw).cpu() for s in seeds]
        ours.append((torch.cat(drawn), truth, mask))
        others.append((other, truth, mask))
    return dict(model=evaluate.scores(ours), floor=evaluate.scores(others))


def _row(arm: str, seed: int, setting: Setting) -> dict[str, Any]:
    if isinstance(setting, Measured):
        return measured.any_row(arm, seed, setting)
    if isinstance(setting, toy.Setting) and arm in RIVALS:
        return dict(scores=run_rival(arm, seed, setting))
    ran = run_renderer(arm, seed, setting) if isinstance(setting, Painted) else run_arm(arm, seed, setting)
    return dict(scores=ran[1], **ran[2])


def record(name: str, folder: Path = FOLDER, workers: int | None = 1) -> None:
    """Run one setting of the grid with all its arms and seeds, and note what truth scores against truth. What the file holds
    already is not run again. Runs go side by side in `workers` processes, or in torchrun's, see `lab.runs.side_by_side`."""
    setting, seeds, results = SETTINGS[name], SEEDS, runs.Results(folder / f"{name}.json", SOURCE)
    about: dict[str, Any] = dict(command=f"{PROGRAM} --record {name}", made_with=machine.record("torch", "numpy"))
    if isinstance(setting, Measured):
        setting, more = measured.prepared(setting)
        seeds, about = measured.SEEDS, about | more
    results.expect(name, asdict(setting), SOURCE)
    jobs = [(a, s, setting) for s in seeds for a in GRID[name] if f"{name}/{a}/{s}" not in results.rows]
    for number, row in runs.side_by_side(_row, jobs, workers=workers, desc=name):
        results.add(name, *jobs[number][:2], **row)
    if isinstance(setting, Trained):
        about["bounds"] = {str(seed): bounds(setting, seed) for seed in SEEDS}
    results.about = about | results.about
    results.save()


def load(names: Sequence[str] = tuple(GRID), folder: Path = FOLDER) -> runs.Results:
    """The recorded rows of these settings, together. Raises FormatError for a file that is missing or damaged."""
    return runs.gathered(runs.Results(source=SOURCE), folder, names, PROGRAM)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", nargs="*", choices=GRID, required=True, help="settings to run; none named: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the JSON files")
    parser.add_argument("--workers", type=positive_int, default=1, help="runs at a time")


def run(options: argparse.Namespace) -> int:
    """Run the recorded series; what is there already is not run again."""
    for name in options.record or GRID:
        record(name, options.folder, options.workers)
    return 0
