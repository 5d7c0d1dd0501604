"""The token toy: where coordination shows in a minute. One plant, many winds, and a slice is eight numbers.

No picture, no space: the normalised volumes of one plant under many winds are projected on the eight main directions of all
slices together, so that a slice becomes a *token* of eight numbers. What is left is the question of the paper's section 4.2:
how should the slices of one volume be drawn? The arms are those of `model`, with an MLP in the place of the U-Net. Truth is
known: M4, M6 and M7 compare with winds that no arm has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import worlds
from .model import CHANNELS, SliceAttention, embedded
from .spectral import Kind, Normalizer
from .train import Latents, TrainConfig

SIZE = (48, 72)  # of the picture that the pixels are taken from


@dataclass(frozen=True)
class Setting:
    """A toy experiment. Everything but the arm and the seed.

    truth  slices of the volumes that samples are compared with, at least `slices`
    steps  of each stage; an arm of one stage takes twice as many
    batch  what goes through the MLP per step: slices, or whole volumes in the volume arm
    calls  of the network per sample (DDIM, or Euler's steps with objective="velocity")
    """

    kind: str = "tree"
    plant: int = 0
    winds: int = 900
    fresh: int = 512
    pixels: int = 128
    slices: int = 16
    truth: int = 24
    numbers: int = 8
    normalize: Kind = "adaptive"
    objective: str = "noise"
    width: int = 128
    blocks: int = 3
    steps: int = 2000
    batch: int = 256
    lr: float = 2e-3
    calls: int = 50

    def network(self, arm: str) -> nn.ModuleDict:
        return nn.ModuleDict(dict(net=TokenNet(self, arm)))

    def training(self, arm: str, seed: int) -> TrainConfig:
        batch = self.batch * (self.slices if arm == "volume" else 1)  # as `train.train_arm` counts: in slices
        return TrainConfig(self.steps, batch, 1, self.objective, seed=seed, lr=self.lr, average=0.995)

    def material(self, seed: int) -> Tokens:
        """Winds, pixels and tokens that follow from a seed."""
        scene, rng = worlds.make_scene(self.kind, self.plant), np.random.default_rng((seed, 77))
        shapes = scene.shapes(*SIZE).reshape(-1, 2, SIZE[0] * SIZE[1])
        moving = np.flatnonzero((shapes != 0).any((0, 1)))
        some = shapes[..., rng.choice(moving, self.pixels)].reshape(len(shapes), -1)
        curves = np.stack([scene.motion(worlds.Wind.draw(rng)) for _ in range(self.winds + self.fresh)])
        modes = np.fft.rfft(curves, axis=1)[:, : self.truth]
        volumes = torch.from_numpy((modes @ some).astype(np.complex64)).unflatten(-1, (2, 1, -1))
        known, truth = volumes[: self.winds, : self.slices], volumes[self.winds :]
        normalizer = Normalizer.fit(known, self.normalize)
        if self.normalize == "resolution":  # its divisors are the sides of a picture: without one, the same for x and y
            normalizer = Normalizer(known.abs().square().mean().sqrt().expand(self.slices, 2), "resolution")
        flat = normalizer(known).flatten(2)  # (N, K, 4 pixels)
        mean = flat.mean((0, 1))
        values, vectors = torch.linalg.eigh(torch.cov((flat - mean).flatten(0, 1).T.double()))
        basis, largest = vectors[:, -self.numbers :].float(), values[-self.numbers :]
        kept, limit = float(largest.sum() / values.sum()), float(flat.abs().max())
        return Tokens(known, truth, normalizer, mean, basis, largest.clamp_min(1e-12).sqrt().float(), kept, limit)


@dataclass(frozen=True)
class Tokens:
    """The toy's data: volumes (N, K, 2, 1, pixels) of the winds to learn from, and (M, L, 2, 1, pixels) of fresh winds.

    mean (4 pixels,), basis (4 pixels, numbers), size (numbers,): tokens = (normalised - mean) @ basis / size
    kept: the share of variance that the tokens hold.  limit: the largest normalised number there is
    """

    known: Tensor
    truth: Tensor
    normalizer: Normalizer
    mean: Tensor
    basis: Tensor
    size: Tensor
    kept: float
    limit: float

    def tokens(self, volumes: Tensor) -> Tensor:
        """Spectral volumes (N, K, 2, 1, pixels) -> tokens (N, K, numbers)."""
        return (self.normalizer(volumes).flatten(2) - self.mean) @ self.basis / self.size

    def spectra(self, tokens: Tensor) -> Tensor:
        """Tokens -> spectral volumes. Numbers beyond 1.5 times the largest of the data are taken for that: the way back from
        a logarithm would be infinite for a network that has gone astray."""
        flat = (tokens * self.size @ self.basis.T + self.mean).clamp(-1.5 * self.limit, 1.5 * self.limit)
        return self.normalizer.inverse(flat.unflatten(-1, (CHANNELS, 1, -1)))

    @cached_property
    def latents(self) -> Latents:
        return Latents(None, self.tokens(self.known)[None, None])

    @property
    def tests(self) -> tuple[tuple[None, Tensor, None], ...]:
        return ((None, self.truth, None),)


class TokenNet(nn.Module):
    """The noise in noisy tokens (B, K, numbers): an MLP with attention across slices if coordinated."""

    def __init__(self, config: Setting, arm: str) -> None:
        super().__init__()
        self.config, self.arm, width = config, arm, config.width
        wide, blocks = config.numbers * (config.slices if arm == "volume" else 1), range(config.blocks)
        self.enter, self.leave = nn.Linear(wide, width), nn.Linear(width, wide)
        self.time, self.frequency = nn.Linear(width, width), nn.Linear(width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in blocks])
        self.first = nn.ModuleList([nn.Linear(2 * width, 2 * width) for _ in blocks])
        self.second = nn.ModuleList([nn.Linear(2 * width, width) for _ in blocks])
        talk = arm == "coordinated"
        self.across = nn.ModuleList([SliceAttention(width, config.slices, 4) if talk else nn.Identity() for _ in blocks])

    def forward(self, z: Tensor, step: Tensor, which: Tensor | None = None) -> Tensor:
        """step (B,) or (B, K), 0 to 1000; which (B, K): the slices that z holds, if not all in their order."""
        told = F.silu(embedded(self, self.config.width, step, z.shape[1], which))
        x = self.enter(z.flatten(1) if self.arm == "volume" else z)
        for norm, first, second, across in zip(self.norms, self.first, self.second, self.across):
            x = x + second(F.silu(first(torch.cat([norm(x), told], -1))))
            x = across(x.reshape(-1, x.shape[-1], 1, 1)).view(x.shape)
        found: Tensor = self.leave(x)
        return found.view_as(z)
