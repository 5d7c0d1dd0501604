"""Train a model on photographs: a plain loop, resumable, on one process or several, with the settings of the paper's code.

    python -m bestpapers.bioclip.train --arm taxon --steps 600 --out my_model
    torchrun --nproc_per_node 2 -m bestpapers.bioclip.train --arm taxon --steps 600 --out my_model

What a step draws follows from the seed and the number of the step alone. So a resumed run goes on as if never interrupted,
all processes agree without talking, and models that are compared see the same photographs in the same order.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

from ..course.interrupts import interrupts_wait
from ..course.presets import device
from ..course.progress import progress
from ..kernels.contrastive import contrastive_loss
from ..lab.files import atomic_write
from .data import World, collection, observe
from .formats import text_type
from .model import Classifier, image_features, text_features
from .taxa import Taxon
from .taxonomy import TEXT_TYPES, captions

if TYPE_CHECKING:
    from .model import Tokenizer

BETAS, EPS = (0.9, 0.98), 1e-6  # open_clip's for a ViT
MAX_SCALE = math.log(100)
STRIDE = 1_000_003  # between the streams of random numbers of two seeds; runs are shorter


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run. The learning rate is for our small models; the rest of the recipe is the paper's.

    text     what captions say: a type of TEXT_TYPES, or "mixed"; a `Classifier` does not ask
    mixing   "batch": one type per step for the whole batch, as the authors' code does; "sample": each caption by itself
    sampler  "species": a batch holds at most one photograph of a species, so that no caption is there twice and the loss
             takes no true match for a wrong one; "random": photographs as they come, so that a species with many is there
             often
    batch    photographs per step, of all processes together; None: as many as there are species
    """

    text: str = "mixed"
    mixing: str = "batch"
    sampler: str = "species"
    steps: int = 300
    batch: int | None = None
    seed: int = 0
    lr: float = 2e-3
    warmup: int = 50
    weight_decay: float = 0.2
    checkpoint_every: int = 200
    backend: str = "auto"  # of the contrastive loss

    def __post_init__(self) -> None:
        for name, known in (
            ("text", ("mixed", *TEXT_TYPES)),
            ("mixing", ("batch", "sample")),
            ("sampler", ("species", "random")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"TrainConfig: {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("steps", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainConfig: {name} must be at least 1, got {getattr(self, name)}")
        if self.lr <= 0 or self.warmup < 0 or self.weight_decay < 0 or (self.batch is not None and self.batch < 1):
            raise ValueError("TrainConfig: lr and batch must be above 0, warmup and weight_decay at least 0")


@dataclass(frozen=True)
class Photos:
    """Photographs with their labels.

    images   [N, H, W, 3] uint8
    species  [N] int64, which of them show the same species, in ascending order
    labels   N taxa as training sees them: with the faults that the world's labels have
    """

    images: Tensor
    species: Tensor
    labels: tuple[Taxon, ...]

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.species) == len(self.labels) or not self.labels:
            raise ValueError(
                f"Photos: {len(self.images)} images, {len(self.species)} species, {len(self.labels)} labels; "
                "need the same number of each, at least 1"
            )
        if (self.species.diff() < 0).any():
            raise ValueError("Photos: species must be in ascending order")


def photos(
    taxa: Sequence[Taxon], counts: int | Sequence[int], world: World | None = None, size: int = 32, start: int = 0
) -> Photos:
    """`counts[i]` photographs of species i (or as many of each), numbers from `start` on, labelled as the world labels."""
    world = world or World()
    counts = [counts] * len(taxa) if isinstance(counts, int) else [int(n) for n in counts]
    images, species = collection(taxa, counts, world, size, start)
    numbers = [start + i for n in counts for i in range(n)]
    return Photos(images, species, observe([taxa[i] for i in species.tolist()], world, numbers))


class Trainer:
    """One training run: the model, the photographs, and everything that a resumed run needs.

    model       a CLIP of `model.tiny`, or a `model.Classifier` over `distinct(photos.labels)`
    tokenizer   for a CLIP: that of its vocabulary
    checkpoint  a file to write to every `checkpoint_every` steps, when interrupted, and at the end; if it exists, the run
                goes on from there
    group       processes that share each batch, such as torch.distributed.group.WORLD; every one makes the same Trainer.
                Features are gathered, gradients averaged: the loss curve is that of one process
    """

    def __init__(
        self,
        model: Any,
        photos: Photos,
        config: TrainConfig,
        tokenizer: Tokenizer | None = None,
        checkpoint: str | Path | None = None,
        group: Any = None,
    ):
        self.model, self.config, self.group = model, config, group
        self.device = next(model.parameters()).device
        self.images = photos.images.to(self.device)
        self.counts = torch.bincount(photos.species)
        self.counts = self.counts[self.counts > 0]
        self.firsts = self.counts.cumsum(0) - self.counts
        labels = distinct(photos.labels)
        number = {label: i for i, label in enumerate(labels)}
        self.label = torch.tensor([number[label] for label in photos.labels])  # of each photograph
        self.tokens: dict[str, Tensor] = {}  # of each label, by text type
        if not isinstance(model, Classifier):
            if tokenizer is None:
                raise ValueError("Trainer: a CLIP needs the tokenizer of its vocabulary")
            texts = [captions(label) for label in labels]
            types = TEXT_TYPES if config.text == "mixed" else (config.text,)
            self.tokens = {kind: tokenizer([t[kind] for t in texts]).to(self.device) for kind in types}
        self.rank, self.ranks = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))
        self.batch = config.batch or len(self.counts)
        if config.sampler == "species" and self.batch > len(self.counts):
            raise ValueError(
                f"Trainer: one photograph per species of {len(self.counts)} makes no batch of {self.batch}"
            )
        if self.batch % self.ranks:
            raise ValueError(f"Trainer: a batch of {self.batch} cannot be shared evenly by {self.ranks} processes")
        self.named = dict(model.named_parameters())
        matrices = [p for p in self.named.values() if p.ndim > 1]
        vectors = [p for p in self.named.values() if p.ndim < 2]  # biases, norms and the scale do not decay
        groups = [dict(params=matrices, weight_decay=config.weight_decay), dict(params=vectors, weight_decay=0.0)]
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=BETAS, eps=EPS, fused=True)
        self.losses: list[float] = []  # of each step
        self.seconds = 0.0
        self.checkpoint = Path(checkpoint) if checkpoint else None
        self.data = _digest(photos) if checkpoint else ""
        if self.checkpoint and self.checkpoint.exists():
            self.load(self.checkpoint)

    def run(
        self,
        until: int | None = None,
        desc: str = "train",
        quiet: bool = False,
        after: Callable[[Trainer], None] | None = None,
    ) -> list[float]:
        """Train up to step `until` (default: the configured number). Returns the losses of all steps so far. `after` is
        called at the end of each step, to show a preview for example.

        Ctrl-C lets the step end, saves the checkpoint, if there is one, and raises KeyboardInterrupt; the model stays
        usable. A second Ctrl-C stops at once, without saving.
        """
        until = until or self.config.steps
        bar = progress(range(len(self.losses), until), desc=desc, disable=quiet or self.rank > 0)
        stop = False
        with interrupts_wait() as interrupted:
            for _ in bar:
                started = time.perf_counter()
                self.step()
                self.seconds += time.perf_counter() - started
                if len(self.losses) % 50 == 0:
                    bar.set_postfix(loss=f"{sum(self.losses[-50:]) / 50:.3f}")
                if after:
                    after(self)
                stop = self._any(interrupted())
                if stop:
                    break
                if self.checkpoint and len(self.losses) % self.config.checkpoint_every == 0:
                    self.save(self.checkpoint)
            if self.checkpoint:
                self.save(self.checkpoint)
        if stop:
            raise KeyboardInterrupt
        return self.losses

    def step(self) -> float:
        """One step. Returns the loss of the whole batch."""
        number = len(self.losses)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, number)
        which = self.draw(number)
        own = which.chunk(self.ranks)[self.rank]
        labels, images = self.label[own], self.images[own.to(self.device)]
        if isinstance(self.model, Classifier):
            loss = self.model.loss(images, labels, self.label[which])
        else:
            text = self._tokens(number, labels, self.rank * len(own))
            loss = self.contrast(images, text)
        self.optimizer.zero_grad()
        loss.backward()
        value = self._average(loss.detach())
        self.optimizer.step()
        if not isinstance(self.model, Classifier):
            with torch.no_grad():
                self.model.logit_scale.clamp_(0, MAX_SCALE)
        self.losses.append(value)
        return value

    def contrast(self, images: Tensor, tokens: Tensor) -> Tensor:
        """The loss of CLIP on images [b, H, W, 3] and their captions' tokens [b, L], among those of all processes."""
        model, together = self.model, self.group is not None
        return contrastive_loss(
            F.normalize(image_features(model.visual, images), dim=-1),
            F.normalize(text_features(model, tokens), dim=-1),
            model.logit_scale.exp(),
            backend=self.config.backend,
            group=self.group,
            local_loss=together,
            gather_with_grad=together,
        )

    def draw(self, number: int) -> Tensor:
        """The photographs of step `number` (from 0 on): their numbers [batch]."""
        generator = torch.Generator().manual_seed(self.config.seed * STRIDE + number)
        if self.config.sampler == "random":
            return torch.randint(len(self.label), (self.batch,), generator=generator)
        species = torch.randperm(len(self.counts), generator=generator)[: self.batch]
        chance = torch.rand(self.batch, generator=generator)
        return self.firsts[species] + (chance * self.counts[species]).long()

    def types(self, number: int) -> list[str]:
        """The text types of the captions of step `number`: one for all, or with mixing="sample" one for each."""
        if self.config.text != "mixed":
            return [self.config.text]
        stream = self.config.seed * STRIDE + number
        if self.config.mixing == "batch":
            return [text_type(stream)]
        return random.Random(stream).choices(TEXT_TYPES, k=self.batch)

    def _tokens(self, number: int, labels: Tensor, first: int) -> Tensor:
        """Tokens of the captions of labels [b], which are the photographs from `first` on of the batch."""
        types = self.types(number)
        labels = labels.to(self.device)
        if len(types) == 1:
            return self.tokens[types[0]][labels]
        own = types[first : first + len(labels)]
        return torch.stack([self.tokens[kind][label] for kind, label in zip(own, labels)])

    # ------------------------------------------------------------------------------------------------------- processes

    def _average(self, loss: Tensor) -> float:
        """Mean of gradients and loss over the processes, in one message."""
        if self.group is None:
            return float(loss)
        grads = [p.grad for p in self.named.values() if p.grad is not None]
        flat = torch.cat([loss.reshape(1), *(g.flatten() for g in grads)])
        dist.all_reduce(flat, group=self.group)
        flat /= self.ranks
        for grad, mean in zip(grads, flat[1:].split([g.numel() for g in grads])):
            grad.copy_(mean.view_as(grad))
        return float(flat[0])

    def _any(self, flag: bool) -> bool:
        """Whether it is true on any process: all of them stop after the same step."""
        if self.group is None:
            return flag
        count = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(count, group=self.group)
        return bool(count > 0)

    # ------------------------------------------------------------------------------------------------------ checkpoint

    def save(self, path: str | Path) -> None:
        """Write the run to one safetensors file (tensors, and a JSON header with everything else), whole or not at all.
        Of several processes the first one does."""
        from safetensors.torch import save_file

        if self.rank > 0:
            return
        tensors = {name: p.detach() for name, p in self.named.items()}
        for name, p in self.named.items():
            tensors |= {f"adam.{name}.{key}": value for key, value in self.optimizer.state.get(p, {}).items()}
        state = dict(train=_settings(self.config), data=self.data, losses=self.losses, seconds=self.seconds)
        with atomic_write(Path(path)) as part:
            save_file(
                {k: v.cpu().contiguous() for k, v in tensors.items()}, part, metadata=dict(bestpapers=json.dumps(state))
            )

    def load(self, path: str | Path) -> None:
        """Go on from a file of `save`. Raises ValueError if it was made with other settings or is damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                state = json.loads((file.metadata() or {})["bestpapers"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a dict
            was, data, losses, seconds = (state[key] for key in ("train", "data", "losses", "seconds"))
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} is no checkpoint of this program, or is damaged ({error}); delete it to start anew"
            ) from error
        for name, value in _settings(self.config).items():
            if was.get(name) != value:
                raise ValueError(
                    f"{path} was trained with {name} = {was.get(name)}, this run has {value}; use another checkpoint file"
                )
        if data != self.data:
            raise ValueError(f"{path} was trained on other photographs or labels; use another checkpoint file")
        found = {name: tuple(t.shape) for name, t in tensors.items() if not name.startswith("adam.")}
        if found != {name: tuple(p.shape) for name, p in self.named.items()}:
            raise ValueError(f"{path} was trained with another model; use another checkpoint file")
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(tensors[name])
                prefix = f"adam.{name}."
                if moments := {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}:
                    self.optimizer.state[p] = {k: v.to(self.device) for k, v in moments.items()}
        self.losses, self.seconds = losses, seconds


def learning_rate(config: TrainConfig, number: int) -> float:
    """Of step `number` (from 0 on): linear warm-up, then a cosine down to 0."""
    if number < config.warmup:
        return config.lr * (number + 1) / config.warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (number - config.warmup) / max(1, config.steps - config.warmup)))


def distinct(labels: Sequence[Taxon]) -> tuple[Taxon, ...]:
    """The different ones, in order of first appearance."""
    return tuple(dict.fromkeys(labels))


def text_of(arm: str) -> str:
    """What captions say in an arm: its text type, or "mixed" (also for classifiers, which do not ask)."""
    return arm if arm in TEXT_TYPES else "mixed"


def _digest(photos: Photos) -> str:
    """A fingerprint of photographs and labels."""
    digest = hashlib.sha256(photos.images.cpu().contiguous().numpy().data)
    digest.update(photos.species.cpu().numpy().tobytes())
    digest.update(json.dumps([(*label.path, label.common_name) for label in photos.labels]).encode())
    return digest.hexdigest()[:16]


def _settings(config: TrainConfig) -> dict[str, Any]:
    """What decides the result of a run; how often it is saved does not."""
    return {k: v for k, v in asdict(config).items() if k not in ("checkpoint_every", "backend")}


@contextmanager
def processes() -> Iterator[Any]:
    """The group of the processes that torchrun started, or None if it did not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield None
        return
    cuda = device().type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield dist.group.WORLD
    finally:
        dist.destroy_process_group()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one model on the 92 seen species of a world, print its scores, and save it as open_clip does."""
    from .evaluate import Setting, material, score
    from .formats import save_local
    from .model import ARMS, Config, build, expand

    parser = argparse.ArgumentParser(prog="python -m bestpapers.bioclip.train", description=main.__doc__)
    parser.add_argument("--arm", choices=ARMS, default="mixed", help="text type, mixture or classifier")
    parser.add_argument("--seed", type=int, default=0, help="of the world, the split, the start and the batches")
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--size", type=int, default=Config.image_size, help="side of the photographs, pixels")
    parser.add_argument("--patch", type=int, default=Config.patch_size, help="side of a patch, pixels")
    parser.add_argument("--per-species", type=int, default=40, help="photographs of each species")
    parser.add_argument("--null", action="store_true", help="the world without inheritance")
    parser.add_argument("--checkpoint", help="file to go on from after an interruption")
    parser.add_argument("--out", help="folder for open_clip_config.json and open_clip_model.safetensors")
    options = parser.parse_args(arguments)

    with processes() as group:
        config = Config(image_size=options.size, patch_size=options.patch)
        setting = Setting(world=World(inherit=not options.null), per_species=options.per_species, model=config)
        data = material(setting, options.seed)
        labels = distinct(data.photos.labels)
        model, tokenizer = build(options.arm, config, labels, (*data.exam.taxa, *labels), options.seed)
        settings = TrainConfig(text=text_of(options.arm), steps=options.steps, seed=options.seed)
        trainer = Trainer(model.to(device()), data.photos, settings, tokenizer, options.checkpoint, group)
        trainer.run(desc=options.arm)
    if trainer.rank == 0:
        for name, value in score(model, tokenizer, data.exam, options.arm).items():
            print(f"{name:24} {value:.3f}")
        if options.out and tokenizer is not None:
            save_local(expand(model, tokenizer), options.out, model.config.open_clip())


if __name__ == "__main__":
    main()
