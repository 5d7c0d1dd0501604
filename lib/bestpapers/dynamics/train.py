"""Train the models on plants: the codec, the network for single slices, attention across them. The loop is `lab.training`'s.

    python -m bestpapers.dynamics train --folder FOLDER           all stages; run it again after an interruption, and it goes on
    torchrun --nproc_per_node 8 -m bestpapers.dynamics train ...  on several GPUs, with BESTPAPERS_PRESET=gpu

What a step draws follows from the seed and the number of the step alone. So a resumed run goes on as if never interrupted, all
processes agree without talking, and arms that are compared see the same plants, winds and noise in the same order.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..course import presets
from ..course.progress import progress
from ..lab import cli, diffusion
from ..lab.averaging import AveragingConfig, AveragingTraining
from ..lab.files import FormatError
from ..lab.runs import fingerprint
from ..lab.tensors import read_tensors, write_tensors
from ..lab.training import processes
from . import worlds
from .data import SOURCE
from .model import CHANNELS, GPU, LAPTOP, Animator, Codec, Config, codec_loss, coordinated, freeze
from .spectral import Normalizer

PLANT = ("pixels", "modes", "shapes", "winds")
WHITENING = ("mean", "whiten", "colour")
JITTER = 0.15  # of the brightness of each colour, in the condition only: motion does not hang on the hour of the day


@dataclass(frozen=True)
class TrainConfig(AveragingConfig):
    """Settings of one run; `batch` counts pictures. The paper says nothing of an average of the weights (ours)."""

    slices: int = 4  # of each picture, drawn at random; a coordinated or volume network takes all
    objective: str = "noise"  # or "velocity" (flow matching)
    frozen: bool = True  # of a coordinated network: only attention across slices learns (paper); else all does
    crop: int = 0  # pixels along a side of what the codec sees of a picture; 0: all of it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in diffusion.OBJECTIVES or self.slices < 1 or self.crop < 0:
            raise ValueError("TrainConfig: objective must be one of noise, velocity; slices at least 1, crop 0 or more")


@dataclass(frozen=True)
class Plants:
    """P plants to learn from, each with some winds. Motion is linear in the modes, so that no volume need be kept."""

    pictures: Tensor  # (P, 3, H, W) uint8
    pixels: tuple[Tensor, ...]  # (n,) int64: those that move, as numbers in a row-by-row picture
    modes: tuple[Tensor, ...]  # (m, n) int16: the m modes that move each pixel most; of many flowers, only one's own
    shapes: tuple[Tensor, ...]  # (m, 2, n) float16: px of motion per unit of these modes: 1 px where it moves most
    winds: tuple[Tensor, ...]  # (N, K, J) complex64: the spectrum of all modes under N winds

    def moving(
        self, plant: int, winds: Tensor | slice = slice(None), which: Tensor | slice = slice(None),
        some: Tensor | slice = slice(None),
    ) -> Tensor:  # fmt: skip
        """Volumes at the pixels that move alone: (N, K, 2, n) complex64 of these winds and slices, and of some of `pixels`."""
        spectra = self.winds[plant][winds][:, which]
        found = spectra.new_zeros(*spectra.shape[:2], 2, len(self.pixels[plant][some]))
        for modes, shapes in zip(self.modes[plant][:, some].long(), self.shapes[plant][..., some].float()):
            found += spectra[..., None, modes] * shapes
        return found

    def volumes(
        self, plant: int, winds: Tensor | slice = slice(None), which: Tensor | slice = slice(None),
        cut: tuple[int, int, int, int] | None = None,
    ) -> Tensor:  # fmt: skip
        """Spectral volumes (N, K, 2, H, W) complex64 of one plant: these of its winds, these slices; of all of the picture, or
        of a crop (top, left, height, width)."""
        top, left, high, wide = cut or (0, 0, *self.pictures.shape[-2:])
        y, x = self.pixels[plant] // self.pictures.shape[-1] - top, self.pixels[plant] % self.pictures.shape[-1] - left
        some = ((y >= 0) & (y < high) & (x >= 0) & (x < wide)).nonzero()[:, 0]
        moving = self.moving(plant, winds, which, some)
        out = moving.new_zeros(*moving.shape[:3], high * wide)
        out[..., (y * wide + x)[some]] = moving
        return out.unflatten(-1, (high, wide))

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a file."""
        many = {f"{name}.{i:05d}": t for name in PLANT for i, t in enumerate(getattr(self, name))}
        return dict(pictures=self.pictures, **many)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Plants:
        """Made again from `tensors()`."""
        many = {name: tuple(tensors[key] for key in sorted(tensors) if key.startswith(f"{name}.")) for name in PLANT}
        return cls(tensors["pictures"], **many)


def collect(scenes: Iterable[worlds.Scene], winds: int, config: Config, seed: int = 0, quiet: bool = False) -> Plants:
    """Pictures and motion of scenes under `winds` winds each. Scenes that are made as they are asked for take no memory."""
    pictures, pixels, modes, shapes, spectra = [], [], [], [], []
    for number, scene in enumerate(progress(scenes, desc="plants", disable=quiet)):
        rng = np.random.default_rng((seed, number))
        pictures.append(torch.from_numpy(scene.picture(config.height, config.width)).permute(2, 0, 1).contiguous())
        field = torch.from_numpy(scene.shapes(config.height, config.width)).flatten(2)
        pixels.append((field != 0).any(0).any(0).nonzero()[:, 0])
        field = field[..., pixels[-1]]
        peak = field.abs().amax((1, 2)).clamp_min(1e-12)  # each mode's unit is its own: 1 px at most, for float16
        field = field / peak[:, None, None]
        most = int((field != 0).any(1).sum(0).max())
        modes.append(field.abs().amax(1).topk(most, 0).indices.short())
        shapes.append(field.gather(0, modes[-1].long()[:, None].expand(-1, 2, -1)).half())
        curves = np.stack([scene.motion(worlds.Wind.draw(rng)) for _ in range(winds)])
        modal = np.fft.rfft(curves, axis=1)[:, : config.slices] * peak.numpy()
        spectra.append(torch.from_numpy(modal.astype(np.complex64)))
    return Plants(torch.stack(pictures), tuple(pixels), tuple(modes), tuple(shapes), tuple(spectra))


def fit_normalizer(plants: Plants, pixels: int = 64) -> Normalizer:
    """s_k from moving pixels of all plants and winds, `pixels` of each: a few million numbers say as much as all."""
    rows = []
    for plant in range(len(plants.winds)):
        moving, generator = plants.moving(plant), torch.Generator().manual_seed(plant)
        some = moving[..., torch.randint(moving.shape[-1], (pixels,), generator=generator)]
        rows.append(some.permute(1, 2, 0, 3).flatten(2))
    return Normalizer.fit([torch.cat(rows, -1)[..., None, :]])  # as one picture of one row, (K, 2, 1, all)


@dataclass(frozen=True)
class Latents:
    """What denoisers learn from."""

    pictures: Tensor | None  # (P, 3, H, W) uint8
    values: Tensor  # latents of their volumes (P, 2, N, K, 4, h, w) float16: [:, 1] of plants in a mirror; (P, 1, ...): none


def mirror(volumes: Tensor) -> Tensor:
    """Volumes (..., 2, H, W) of the scene in a mirror: left is right, and motion to the left is motion to the right."""
    return volumes.flip(-1) * volumes.real.new_tensor([-1.0, 1.0])[:, None, None]


@torch.no_grad()
def encode(codec: Codec, normalizer: Normalizer, plants: Plants, config: TrainConfig, quiet: bool = False) -> Latents:
    """The latents of all plants and winds, straight and mirrored; sets the codec's whitening on the way."""
    device, raw, (H, W) = codec.mean.device, [], plants.pictures.shape[-2:]
    for plant in progress(range(len(plants.winds)), desc="latents", disable=quiet):
        moving, pixels = plants.moving(plant)[..., None, :], plants.pixels[plant]
        both = []
        for flow, at in ((moving, pixels), (mirror(moving).flip(-1), pixels + W - 1 - 2 * (pixels % W))):
            slices = torch.zeros(*flow.shape[:2], CHANNELS, H * W)  # what is still is 0, and need not be normalised
            slices[..., at] = normalizer(flow)[..., 0, :]
            with config.autocast(device):
                both.append(codec.moments(slices.unflatten(-1, (H, W)).to(device))[0].cpu())
        raw.append(torch.stack(both))
    values = torch.stack(raw)
    codec.set_whitening(values[:: max(1, len(values) // 100)].to(device))
    return Latents(plants.pictures, codec.whitened(values).half())


class CodecTraining(AveragingTraining):
    """The codec on random slices of random plants and winds, half of them in a mirror; of crops around what moves, if so
    configured. run: checkpoint, group."""

    def __init__(self, codec: Codec, plants: Plants, normalizer: Normalizer, config: TrainConfig, *run: Any) -> None:
        super().__init__(codec, config, *run)
        self.codec, self.plants, self.normalizer = codec, plants, normalizer
        self.resume()

    def digest(self) -> str:
        return fingerprint(*self.plants.tensors().values())

    def loss(self, generator: torch.Generator) -> Tensor:
        codec, plants, B, (height, width) = self.codec, self.plants, self.config.batch, self.plants.pictures.shape[-2:]
        high, wide = min(self.config.crop or height, height), min(self.config.crop or width, width)
        which = torch.rand(B, codec.config.slices, generator=generator).argsort(1)[:, : self.config.slices]
        plant, wind, flip = _draw(B, [len(w) for w in plants.winds], generator)
        down, at = codec.config.down, torch.rand(B, 3, generator=generator)
        noise = torch.randn(*which.shape, CHANNELS, high // down, wide // down, generator=generator)
        pictures, volumes = [], []
        for i in self.own(torch.arange(B)).tolist():
            some, pixels = replace(self.normalizer, scale=self.normalizer.scale[which[i]]), plants.pixels[plant[i]]
            y, x = divmod(int(pixels[int(at[i, 0] * len(pixels))]), width)  # it lies in the crop, anywhere
            top, left = (
                min(max(p - int(share * part), 0), whole - part) // down * down
                for p, share, part, whole in ((y, at[i, 1], high, height), (x, at[i, 2], wide, width))
            )
            found = plants.volumes(int(plant[i]), wind[i : i + 1], which[i], (top, left, high, wide))[0]
            picture = plants.pictures[plant[i], :, top : top + high, left : left + wide].float() / 255
            volumes.append(some(mirror(found) if flip[i] else found))
            pictures.append(picture.flip(-1) if flip[i] else picture)
        seen = torch.stack(volumes).to(self.device), torch.stack(pictures).to(self.device)
        return codec_loss(codec, *seen, self.own(noise))


class DenoiserTraining(AveragingTraining):
    """A denoiser and, unless it is frozen, its eye, on latents. model: ModuleDict of `net` and, for latents with pictures,
    `eye`; run: checkpoint, group. An independent network learns from single slices, the others from whole volumes."""

    def __init__(self, model: nn.ModuleDict, latents: Latents, config: TrainConfig, *run: Any) -> None:
        self.net: Any = model["net"]
        self.eye = model["eye"] if latents.pictures is not None else None
        frozen = self.net.arm == "coordinated" and config.frozen
        model.requires_grad_(not frozen)
        freeze(self.net, frozen)
        super().__init__(model, config, *run)
        self.latents = latents
        self.resume()

    def digest(self) -> str:
        return fingerprint(*(t for t in (self.latents.pictures, self.latents.values) if t is not None))

    def loss(self, generator: torch.Generator) -> Tensor:
        config, values, B = self.config, self.latents.values, self.config.batch
        plant, wind, flip = _draw(B, [values.shape[2]] * len(values), generator)
        z = values[plant, flip.long() % values.shape[1], wind].float()
        which = None
        if self.net.arm == "independent":
            which = torch.rand(z.shape[:2], generator=generator).argsort(1)[:, : config.slices]
            z = z[torch.arange(B)[:, None], which]
        time = torch.rand((B,) if which is None else which.shape, generator=generator)  # slices of a volume share one
        noise = torch.randn(z.shape, generator=generator)
        given: list[Tensor | None] = []
        if self.eye is not None and self.latents.pictures is not None:
            light = 1 + JITTER * torch.randn(B, 3, 1, 1, generator=generator)
            keep = torch.rand(B, generator=generator) >= diffusion.DROPOUT
            pictures = self.latents.pictures[plant].float() / 255
            pictures = torch.where(flip[:, None, None, None], pictures.flip(-1), pictures)
            pictures = (pictures * light).clamp(0, 1)
            given.append(self.eye(self.own(pictures)) * self.own(keep)[:, None, None, None])
        given.append(None if which is None else self.own(which))
        noisy = self.own(z), self.own(time), self.own(noise)
        return diffusion.loss(config.objective, lambda z, step: self.net(z, step, *given), *noisy)


def _draw(batch: int, winds: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A plant, one of its winds, and whether it is in a mirror: (batch,) each."""
    plant = torch.randint(len(winds), (batch,), generator=generator)
    wind = (torch.rand(batch, generator=generator) * torch.tensor(winds)[plant]).long()
    return plant, wind, torch.rand(batch, generator=generator) < 0.5


@dataclass(frozen=True)
class Material:
    """Data of an experiment."""

    latents: Latents  # to learn from
    forward: Callable[[Tensor], Tensor]  # volumes (N, K, 2, h, w) -> latents (N, K, ...)
    back: Callable[[Tensor], Tensor]
    # pictures (3, H, W) uint8, if any, with volumes (M, L, 2, h, w) of fresh winds, and masks (h, w) if not all moves
    tests: tuple[tuple[Tensor | None, Tensor, Tensor | None], ...]


def train_arm(
    arm: str, network: Callable[[str], nn.ModuleDict], latents: Latents, config: TrainConfig, quiet: bool = True
) -> tuple[nn.ModuleDict, list[float], float]:
    """Train one of `model.ARMS`, or "unfrozen", whose second stage lets all weights learn, at a third of the rate. All take
    2 `config.steps`, with as many slices in each: what draws whole volumes, draws fewer. `network` makes an untrained arm.
    Returns the model, the losses of all its steps, and seconds."""
    share = max(1, config.batch * config.slices // latents.values.shape[3])
    stages = [replace(config, steps=2 * config.steps, batch=share if arm == "volume" else config.batch)]
    if arm in ("coordinated", "unfrozen"):
        second = replace(config, batch=share, frozen=arm == "coordinated", seed=config.seed + 1000)
        stages = [config, second if second.frozen else replace(second, lr=config.lr / 3)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = network("volume" if arm == "volume" else "independent")
    losses, seconds = list[float](), 0.0
    for number, stage in enumerate(stages):
        if number:
            model["net"] = coordinated(model["net"], config.seed)
        trainer = DenoiserTraining(model, latents, stage)
        trainer.run(desc=f"{arm} {config.seed}", quiet=quiet)
        model, losses, seconds = trainer.averaged, losses + trainer.losses, seconds + trainer.seconds
    return model, losses, seconds


@dataclass(frozen=True)
class Recipe:
    """How the shipped weights are made: the data, and the stages one after the other. `finish` comes after the paper's second
    stage, with all weights learning (ours): at our scale attention alone learns too little."""

    model: Config = LAPTOP
    plants: int = 128  # of each kind
    winds: int = 8  # of each plant
    seed: int = 0
    codec: TrainConfig = TrainConfig(steps=4000, batch=16, lr=2e-3, precision="bfloat16", average=0.995, crop=96)
    single: TrainConfig = TrainConfig(steps=5000, batch=8, slices=4, precision="bfloat16")
    across: TrainConfig = TrainConfig(steps=800, batch=2, precision="bfloat16", average=0.998)
    finish: TrainConfig = TrainConfig(steps=9000, batch=2, lr=6e-4, frozen=False, precision="bfloat16")


RECIPES = dict(
    laptop=Recipe(),
    gpu=Recipe(
        GPU, plants=2000, winds=16,
        codec=TrainConfig(steps=30_000, batch=64, precision="bfloat16", crop=128),
        single=TrainConfig(steps=100_000, batch=96, lr=3e-4, precision="bfloat16", average=0.9999),
        across=TrainConfig(steps=20_000, batch=32, lr=3e-4, precision="bfloat16"),
        finish=TrainConfig(steps=50_000, batch=32, lr=1e-4, frozen=False, precision="bfloat16", average=0.9999),
    ),
)  # fmt: skip
STAGES = ("codec", "single", "across", "finish")


def scenes(kinds: Sequence[str], split: str, count: int) -> Iterator[worlds.Scene]:
    """`count` plants of each kind, made as they are asked for."""
    return (worlds.make_scene(kind, seed) for kind in kinds for seed in worlds.plant_seeds(kind, split, count))


def make(
    recipe: Recipe, folder: Path, kinds: Sequence[str] = worlds.KINDS, group: Any = None, quiet: bool = False
) -> Animator:
    """Train all stages, each from its checkpoint in `folder` if it has begun, and write `animator.safetensors` after each."""
    first = group is None or torch.distributed.get_rank(group) == 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        animator = Animator(recipe.model, "independent", recipe.single.objective).to(presets.device())

    def kept(name: str, mark: str, made: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        path = folder / f"{name}.safetensors"
        with suppress(FormatError):  # not made yet, or damaged
            tensors, about = read_tensors(path)
            if about.get("mark") == mark:
                return tensors
        tensors = made()
        if first:
            write_tensors(path, tensors, mark=mark)
        return tensors

    def stage(name: str, trainer: Callable[..., AveragingTraining], *on: Any) -> Any:
        run = trainer(*on, getattr(recipe, name), folder / f"{name}.safetensors", group)
        if run.iteration < run.steps:
            run.run(desc=name, quiet=quiet)
        return run.averaged

    def grown() -> dict[str, Tensor]:
        some = scenes(kinds, "train", recipe.plants)
        return collect(some, recipe.winds, recipe.model, recipe.seed, quiet).tensors()

    def whitened() -> dict[str, Tensor]:
        made = encode(animator.codec, animator.normalizer, plants, recipe.codec, quiet)
        return dict(values=made.values, **{name: getattr(animator.codec, name).cpu() for name in WHITENING})

    said = json.dumps([SOURCE, asdict(recipe.model), recipe.plants, recipe.winds, recipe.seed, list(kinds)])
    plants = Plants.of(kept("plants", said, grown))
    animator.normalizer = fit_normalizer(plants)
    animator.codec = stage("codec", CodecTraining, animator.codec, plants, animator.normalizer)
    mark = fingerprint(plants.pictures, *plants.winds, *animator.codec.parameters())
    found = kept("latents", mark, whitened)
    for name in WHITENING:
        getattr(animator.codec, name).copy_(found[name])
    latents = Latents(plants.pictures, found["values"])
    model = nn.ModuleDict(dict(eye=animator.eye, net=animator.net))
    for name in STAGES[1:]:
        if name == "across":
            model["net"] = coordinated(model["net"], recipe.seed)
        model = stage(name, DenoiserTraining, model, latents)
        animator.eye, animator.net = model["eye"], model["net"]  # type: ignore[assignment]
        if first:
            animator.save(folder / "animator.safetensors", stage=name)
    return animator


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, required=True, help="of checkpoints and weights; it goes on from these")
    parser.add_argument("--kinds", nargs="+", choices=worlds.KINDS, default=worlds.KINDS, help="of plants")
    parser.add_argument("--plants", type=cli.positive_int, help="of each kind")
    parser.add_argument("--steps", type=cli.positive_int, help="of every stage, to try it out")


def run(options: argparse.Namespace) -> int:
    """Train everything that `animate` needs, on plants of the simulator."""
    recipe = RECIPES[presets.active()]
    changes: dict[str, Any] = dict(plants=options.plants or recipe.plants)
    if options.steps:
        changes |= {name: replace(getattr(recipe, name), steps=options.steps, warmup=0) for name in STAGES}
    with processes() as group:
        make(replace(recipe, **changes), options.folder, options.kinds, group)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=run.__doc__)
    arguments(parser)
    raise SystemExit(run(parser.parse_args()))
