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
from . import diffusion, evaluate, toy, worlds
from .data import SOURCE
from .model import ARMS, Animator, Config, Denoiser, Eye, coordinated
from .spectral import KINDS, Normalizer, from_channels, to_channels
from .train import DenoiserTraining, Latents, TrainConfig, collect, fit_normalizer, mirror, scenes

FOLDER = Path(__file__).parent / "results"
PROGRAM = "python -m bestpapers.dynamics experiments"
CALLS = (1, 2, 4, 8, 16, 50)  # of the network per sample, where samplers are compared
NORMALIZE: tuple[str, ...] = tuple(
    kind for kind in KINDS if kind != "adaptive"
)  # arms by the name of their normalisation
SLICES = {f"K{k}": k for k in (4, 8, 24)}


@dataclass(frozen=True)
class Spatial:
    """Many plants in coarse pictures: what a slice holds of a plant, averaged over cells, is diffused as it is.

    plants, winds          to learn from, of each kind; held_out, fresh: to be scored on
    steps                  of each of two stages; arms of one stage take twice as many
    """

    kinds: tuple[str, ...] = ("tree",)
    plants: int = 200
    winds: int = 8
    held_out: int = 8
    fresh: int = 24
    model: Config = field(default_factory=lambda: Config(80, 128, down=8, base=32))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=1500))
    calls: int = 50


@dataclass(frozen=True)
class Setting:
    """One row of conditions: everything about a run but the arm and the seed. One of the two regimes."""

    name: str
    tokens: toy.Setting | None = None
    spatial: Spatial | None = None


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("tokens", tokens=toy.Setting()),
        Setting("long", tokens=toy.Setting(steps=5 * toy.Setting.steps)),
        Setting("spatial", spatial=Spatial()),
    )
}
SEEDS = (1, 2, 3, 4, 5)
GRID: dict[str, tuple[str, ...]] = {
    "tokens": (*ARMS, "velocity", *NORMALIZE, *SLICES),
    "long": (*ARMS, "velocity"),
    "spatial": (*ARMS, "unfrozen", "resolution"),
}


# ---------------------------------------------------------------------------------------------------------- token arms


def token_setting(arm: str, setting: toy.Setting) -> tuple[str, toy.Setting]:
    """What an arm of the toy is: one of the three ways to draw slices, and a setting. All but these three are coordinated."""
    if arm in ARMS:
        return arm, setting
    if arm in NORMALIZE:
        return "coordinated", replace(setting, normalize=arm)  # type: ignore[arg-type]
    if arm in SLICES:
        return "coordinated", replace(setting, slices=SLICES[arm])
    if arm == "velocity":
        return "coordinated", replace(setting, objective="velocity")
    raise ValueError(f"arm {arm!r}: expected one of {', '.join((*ARMS, 'velocity', *NORMALIZE, *SLICES))}")


def run_tokens(arm: str, seed: int, setting: toy.Setting) -> tuple[toy.Run, dict[str, float], toy.Tokens]:
    """Train and score an arm of the toy; `distance.<calls>` is M4 with fewer calls of the network."""
    base, changed = token_setting(arm, setting)
    data = _tokens(changed, seed)
    run = toy.train_arm(base, seed, changed, data, quiet=True)
    scores = toy.score(run.net, changed, data, seed)
    if arm in ("coordinated", "velocity"):
        for calls in CALLS:
            few = toy.score(run.net, changed, data, seed, calls)
            scores |= {f"{name}.{calls}": few[name] for name in ("distance", "correlation")}
    return run, scores, data


@lru_cache(maxsize=2)
def _tokens(setting: toy.Setting, seed: int) -> toy.Tokens:
    return toy.material(setting, seed)


# -------------------------------------------------------------------------------------------------------- spatial arms


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


def field_of(
    setting: Spatial, seed: int, normalize: Any = "adaptive", known: Iterable[worlds.Scene] | None = None,
    unknown: Iterable[worlds.Scene] | None = None,
) -> Field:  # fmt: skip
    """Plants as coarse pictures. known, unknown: plants to take in the place of the setting's own."""
    plants = collect(known or scenes(setting.kinds, "train", setting.plants), setting.winds, setting.model, seed, True)
    held_out = unknown or scenes(setting.kinds, "held-out", setting.held_out)
    tests = collect(held_out, setting.fresh, setting.model, 1_000_000 + seed, True)
    normalizer = fit_normalizer(plants, normalize)

    def coarse(volumes: Tensor) -> Tensor:
        pooled = F.avg_pool2d(to_channels(volumes).flatten(0, 1), setting.model.down)
        return from_channels(pooled.unflatten(0, volumes.shape[:2]))

    values = []
    for plant in range(len(plants.winds)):
        one = coarse(plants.volumes(plant))
        values.append(torch.stack([normalizer(one), normalizer(mirror(one))]))
    size = float(torch.stack(values).std())
    truth = [coarse(tests.volumes(plant)) for plant in range(len(tests.winds))]
    masks = [volumes.abs().amax((0, 1, 2)) > 0 for volumes in truth]
    return Field(
        Latents(plants.pictures, (torch.stack(values) / size).half()), normalizer, size,
        tuple(zip(tests.pictures, truth, masks)),
    )  # fmt: skip


def run_spatial(
    arm: str, seed: int, setting: Spatial, data: Field | None = None
) -> tuple[nn.ModuleDict, list[float], float, dict[str, float], Field]:
    """Train and score an arm on coarse pictures: the model, its losses, seconds, scores, data."""
    if arm not in (*ARMS, "unfrozen", "resolution"):
        raise ValueError(f"arm {arm!r}: expected one of {', '.join((*ARMS, 'unfrozen', 'resolution'))}")
    data = data or _field(setting, seed, "resolution" if arm == "resolution" else "adaptive")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        eye = Eye(setting.model)
        net = Denoiser(setting.model, "volume" if arm == "volume" else "independent")
    losses: list[float] = []
    seconds = 0.0

    def train(model: nn.ModuleDict, config: TrainConfig) -> nn.ModuleDict:
        nonlocal losses, seconds
        trainer = DenoiserTraining(model, data.latents, config)
        trainer.run(quiet=True)
        losses, seconds = losses + trainer.losses, seconds + trainer.seconds
        found: nn.ModuleDict = trainer.averaged
        return found

    config, whole = replace(setting.train, seed=seed), setting.model.slices
    share = max(1, config.batch * config.slices // whole)  # volumes in a batch of as many slices
    two = arm in ("coordinated", "unfrozen")
    first = replace(config, batch=share) if arm == "volume" else config
    model = train(nn.ModuleDict(dict(eye=eye, net=net)), first if two else replace(first, steps=2 * config.steps))
    if two:
        model["net"] = coordinated(model["net"], seed)  # type: ignore[arg-type]
        rate = config.lr if arm == "coordinated" else config.lr / 3
        again = replace(config, batch=share, frozen=arm == "coordinated", seed=seed + 1000, lr=rate)
        model = train(model, again)
    return model, losses, seconds, score_spatial(model, setting, data, seed), data


@torch.no_grad()
def score_spatial(model: nn.ModuleDict, setting: Spatial, data: Field, seed: int) -> dict[str, float]:
    """M3, M4, M6, M7, M8 and M14 on held-out plants, as many samples of each as there are fresh winds."""
    shape = (setting.model.slices, *setting.model.latent)
    together = []
    for number, (picture, truth, mask) in enumerate(data.tests):
        generator = torch.Generator().manual_seed(seed * 1000 + number)
        noise = torch.randn(len(truth), *shape, generator=generator)
        condition = model["eye"](picture[None].float() / 255).expand(len(truth), -1, -1, -1)
        drawn = diffusion.ddim(diffusion.guided(model["net"], condition), noise, setting.calls)
        together.append((data.spectra(drawn), truth, mask))
    return evaluate.scores_of(together)


@lru_cache(maxsize=2)
def _field(setting: Spatial, seed: int, normalize: str) -> Field:
    return field_of(setting, seed, normalize)


# --------------------------------------------------------------------------------------------------- the shipped model


def score_animator(
    animator: Animator, known: Iterable[worlds.Scene], samples: int = 16, calls: int = 50, seed: int = 0, **kw: Any
) -> dict[str, dict[str, float]]:
    """What an animator scores on scenes, such as held-out ones: M3, M4, M6, M7, M8 and M14 of as many motions of each as winds
    they are compared with; and of other truth against that truth ("floor"). kw goes to `Animator.draw`."""
    plants = collect(known, 2 * samples, animator.config, seed, True)
    ours, others = [], []
    for plant, picture in enumerate(plants.pictures):
        truth, mask = plants.volumes(plant), torch.zeros(picture.shape[1:], dtype=torch.bool)
        mask.view(-1)[plants.pixels[plant]] = True
        there, other = truth[:samples], truth[samples:]
        seeds = range(seed + 1000 * plant, seed + 1000 * plant + samples)
        parts = [animator.draw(picture.float() / 255, [s], calls, first=False, **kw) for s in seeds]
        ours.append((torch.cat(parts).cpu(), there, mask))
        others.append((other, there, mask))
    return dict(model=evaluate.scores_of(ours), floor=evaluate.scores_of(others))  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------- series


def _row(arm: str, seed: int, setting: Setting) -> dict[str, Any]:
    if setting.tokens is not None:
        run, scores, data = run_tokens(arm, seed, setting.tokens)
        losses, seconds, mark = run.losses, run.seconds, runs.fingerprint(data.tokens, data.truth)
    else:
        assert setting.spatial is not None
        _, losses, seconds, scores, there = run_spatial(arm, seed, setting.spatial)
        mark = there.latents.digest()
    return dict(scores=scores, loss=round(float(np.mean(losses[-50:])), 5), seconds=round(seconds, 1), data=mark)


def compare(
    setting: Setting,
    arms: Sequence[str],
    seeds: Sequence[int],
    path: str | Path | None = None,
    workers: int | None = None,
) -> runs.Results:
    """Train every arm with every seed, and keep the scores in a JSON file, if a path is given; what it holds already is not run
    again. Runs go side by side in `workers` processes, or in those of torchrun, see `lab.runs.side_by_side`."""
    results = runs.Results(path, SOURCE)
    results.expect(setting.name, asdict(setting), SOURCE)
    jobs = [(a, s, setting) for s in seeds for a in arms if f"{setting.name}/{a}/{s}" not in results.rows]
    for number, row in runs.side_by_side(_row, jobs, workers=workers, desc=setting.name):
        arm, seed, _ = jobs[number]
        results.add(setting.name, arm, seed, **row)
    return results


def record(name: str, folder: Path = FOLDER, workers: int | None = 1) -> None:
    """Run one setting of the grid with all its arms and seeds, and note what truth scores against truth."""
    setting = SETTINGS[name]
    results = compare(setting, GRID[name], SEEDS, folder / f"{name}.json", workers)
    about: dict[str, Any] = dict(command=f"{PROGRAM} --record {name}", made_with=machine.record("torch", "numpy"))
    about["bounds"] = {str(seed): bounds(setting, seed) for seed in SEEDS}
    results.about = about | results.about
    results.save()


def bounds(setting: Setting, seed: int) -> dict[str, dict[str, float]]:
    """Scores of truth against other truth ("floor") and of stills ("ceiling")."""
    if setting.tokens is not None:
        found = toy.bounds(_tokens(setting.tokens, seed))
    else:
        assert setting.spatial is not None
        tests = _field(setting.spatial, seed, "adaptive").tests
        halves = [(truth[: len(truth) // 2], truth[len(truth) // 2 :], mask) for _, truth, mask in tests]
        still = [(torch.zeros_like(truth), truth, mask) for _, truth, mask in tests]
        found = dict(floor=evaluate.scores_of(halves), ceiling=evaluate.scores_of(still))  # type: ignore[arg-type]
    return {name: {what: round(value, 5) for what, value in row.items()} for name, row in found.items()}


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
