"""Train a model on photographs: one step, with the settings of the paper's code. The loop is `lab.training`'s.

What a step draws follows from the seed and the number of the step alone. So a resumed run goes on as if never interrupted,
all processes agree without talking, and models that are compared see the same photographs in the same order.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..kernels.contrastive import contrastive_loss
from ..lab.training import ROW_EVERY, Training, processes
from .data import World, collection, observe
from .formats import text_type
from .model import Classifier, image_features, text_features
from .taxa import Taxon
from .taxonomy import TEXT_TYPES, captions

if TYPE_CHECKING:
    from .model import Tokenizer

__all__ = ["Photos", "TrainConfig", "Trainer", "distinct", "learning_rate", "photos", "processes", "text_of"]

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


class Trainer(Training):
    """One training run: the model, the photographs, and everything that a resumed run needs.

    model       a CLIP of `model.tiny`, or a `model.Classifier` over `distinct(photos.labels)`
    tokenizer   for a CLIP: that of its vocabulary
    checkpoint  a file to write to every `checkpoint_every` steps, when interrupted, and at the end; if it exists, the run
                goes on from there
    group       processes that share each batch, such as torch.distributed.group.WORLD; every one makes the same Trainer.
                Features are gathered, gradients averaged: the loss curve is that of one process
    """

    DATA = "photographs or labels"
    model: Any
    config: TrainConfig

    def __init__(
        self,
        model: Any,
        photos: Photos,
        config: TrainConfig,
        tokenizer: Tokenizer | None = None,
        checkpoint: str | Path | None = None,
        group: Any = None,
    ):
        super().__init__(model, config, config.steps, checkpoint, group)
        self.photos, self.tokenizer = photos, tokenizer  # type: Photos, Any
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
        self.resume()

    def run(self, *args: Any, **kw: Any) -> list[float]:
        """As `Training.run`; returns the losses of all steps so far."""
        super().run(*args, **kw)
        return self.losses

    def step(self) -> float:
        """One step. Returns the loss of the whole batch."""
        number = self.iteration
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
        value = float(self.average(loss.detach()))
        self.optimizer.step()
        if not isinstance(self.model, Classifier):
            with torch.no_grad():
                self.model.logit_scale.clamp_(0, MAX_SCALE)
        self.losses.append(value)
        self.iteration += 1
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

    def row(self, result: float) -> dict[str, float]:
        last = self.losses[-ROW_EVERY:]
        return dict(loss=sum(last) / len(last))

    def digest(self) -> str:
        digest = hashlib.sha256(self.photos.images.cpu().contiguous().numpy().data)
        digest.update(self.photos.species.cpu().numpy().tobytes())
        digest.update(json.dumps([(*label.path, label.common_name) for label in self.photos.labels]).encode())
        return digest.hexdigest()[:16]

    def state(self) -> dict[str, Any]:
        return dict(losses=self.losses)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.losses = state["losses"]


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
