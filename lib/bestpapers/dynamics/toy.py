"""The token toy: where coordination shows in a minute. One plant, many winds, and a slice is eight numbers.

No picture, no space: the normalised volumes of one plant under many winds are projected on the eight main directions of all
slices together, so that a slice becomes a *token* of eight numbers. What is left is the question of the paper's section 4.2:
how should the slices of one volume be drawn? The arms are those of `model`, with an MLP in the place of the U-Net. Truth is
known: M4, M6 and M7 compare with winds that no arm has seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..lab.nn import sinusoids
from ..lab.runs import fingerprint
from . import diffusion, evaluate, worlds
from .model import ARMS, CHANNELS, SliceAttention
from .spectral import Kind, Normalizer
from .train import AveragingTraining, TrainConfig


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


@dataclass(frozen=True)
class Tokens:
    """The toy's data: tokens (N, K, numbers) of the winds to learn from, and volumes (M, L, 2, 1, pixels) of fresh winds.

    mean (4 pixels,), basis (4 pixels, numbers), size (numbers,): tokens = (normalised - mean) @ basis / size
    kept: the share of variance that the tokens hold.  limit: the largest normalised number there is
    """

    tokens: Tensor
    truth: Tensor
    normalizer: Normalizer
    mean: Tensor
    basis: Tensor
    size: Tensor
    kept: float
    limit: float

    def spectra(self, tokens: Tensor) -> Tensor:
        """Tokens (N, K, numbers) -> spectral volumes (N, K, 2, 1, pixels). Numbers beyond 1.5 times the largest of the data
        are taken for that: the way back from a logarithm would be infinite for a network that has gone astray."""
        flat = (tokens * self.size @ self.basis.T + self.mean).clamp(-1.5 * self.limit, 1.5 * self.limit)
        return self.normalizer.inverse(flat.unflatten(-1, (CHANNELS, 1, -1)))


def material(
    setting: Setting, seed: int, scene: worlds.Scene | None = None, size: tuple[int, int] = (48, 72)
) -> Tokens:
    """Winds, pixels and tokens that follow from a seed. scene: a plant to take in the place of the setting's own."""
    scene = scene or worlds.make_scene(setting.kind, setting.plant)
    rng = np.random.default_rng((seed, 77))
    shapes = scene.shapes(*size).reshape(-1, 2, size[0] * size[1])
    moving = np.flatnonzero((shapes != 0).any((0, 1)))
    some = shapes[..., rng.choice(moving, setting.pixels)].reshape(len(shapes), -1)
    curves = np.stack([scene.motion(worlds.Wind.draw(rng)) for _ in range(setting.winds + setting.fresh)])
    modes = np.fft.rfft(curves, axis=1)[:, : setting.truth]
    volumes = torch.from_numpy((modes @ some).astype(np.complex64)).unflatten(-1, (2, 1, -1))
    known, truth = volumes[: setting.winds, : setting.slices], volumes[setting.winds :]
    normalizer = Normalizer.fit(known, setting.normalize)
    flat = normalizer(known).flatten(2)  # (N, K, 4 pixels)
    mean = flat.mean((0, 1))
    covariance = torch.cov((flat - mean).flatten(0, 1).T.double())
    values, vectors = torch.linalg.eigh(covariance)
    basis, sizes = vectors[:, -setting.numbers :].float(), values[-setting.numbers :].clamp_min(1e-12).sqrt().float()
    kept = float(values[-setting.numbers :].sum() / values.sum())
    limit = float(flat.abs().max())
    return Tokens((flat - mean) @ basis / sizes, truth, normalizer, mean, basis, sizes, kept, limit)


class TokenNet(nn.Module):
    """The noise in noisy tokens (B, K, numbers): an MLP with attention across slices if coordinated."""

    def __init__(self, setting: Setting, arm: str) -> None:
        super().__init__()
        if arm not in ARMS:
            raise ValueError(f"TokenNet: arm must be one of {', '.join(ARMS)}, got {arm!r}")
        self.arm, width, K = arm, setting.width, setting.slices
        wide = setting.numbers * (K if arm == "volume" else 1)
        self.enter, self.leave = nn.Linear(wide, width), nn.Linear(width, wide)
        self.time, self.frequency = nn.Linear(width, width), nn.Linear(width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(setting.blocks)])
        self.first = nn.ModuleList([nn.Linear(2 * width, 2 * width) for _ in range(setting.blocks)])
        self.second = nn.ModuleList([nn.Linear(2 * width, width) for _ in range(setting.blocks)])
        self.across = nn.ModuleList(
            [SliceAttention(width, K, 4) for _ in range(setting.blocks if arm == "coordinated" else 0)]
        )

    def forward(self, z: Tensor, step: Tensor, which: Tensor | None = None) -> Tensor:
        """step (B,) or (B, K), 0 to 1000; which (B, K): the slices that z holds, if not all in their order."""
        B, K, _ = z.shape
        width = self.time.out_features
        embedded = self.time(sinusoids(step.float(), width))
        if self.arm == "volume":
            x = self.enter(z.flatten(1))
        else:
            which = torch.arange(K) if which is None else which
            embedded = embedded if step.ndim == 2 else embedded[:, None]
            embedded = (embedded + self.frequency(sinusoids(which.float(), width, 100.0))).expand(B, K, -1)
            x = self.enter(z)
        embedded = F.silu(embedded)
        for number, (norm, first, second) in enumerate(zip(self.norms, self.first, self.second)):
            x = x + second(F.silu(first(torch.cat([norm(x), embedded], -1))))
            if self.arm == "coordinated":
                x = self.across[number](x.reshape(B * K, width, 1, 1)).view(B, K, width)
        found: Tensor = self.leave(x)
        return found.view_as(z)


class TokenTraining(AveragingTraining):
    """A token network on tokens; of a coordinated one only what is new learns."""

    def __init__(self, net: TokenNet, tokens: Tensor, config: TrainConfig) -> None:
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(net.arm != "coordinated" or name.startswith("across."))
        super().__init__(net, config)
        self.net, self.tokens = net, tokens

    def digest(self) -> str:
        return fingerprint(self.tokens)

    def loss(self, generator: torch.Generator) -> Tensor:
        N, K = self.tokens.shape[:2]
        single = self.net.arm == "independent"
        B = self.config.batch // K if self.net.arm == "coordinated" else self.config.batch
        wind, which = torch.randint(N, (B,), generator=generator), None
        z = self.tokens[wind]
        if single:
            which = torch.randint(K, (B, 1), generator=generator)
            z = z[torch.arange(B)[:, None], which]
        time = torch.rand(z.shape[:2] if single else (B,), generator=generator)
        noise = torch.randn(z.shape, generator=generator)

        def predict(z: Tensor, step: Tensor) -> Tensor:
            found: Tensor = self.net(z, step, which) if single else self.net(z, step)
            return found

        if self.config.objective == "velocity":
            return diffusion.matching_loss(predict, z, time, noise)
        return diffusion.noise_loss(predict, z, (time * diffusion.STEPS).long(), noise)


@dataclass(frozen=True)
class Run:
    """A trained arm: the network, losses of all its steps, seconds."""

    net: TokenNet
    losses: list[float]
    seconds: float


def train_arm(arm: str, seed: int, setting: Setting, data: Tokens, quiet: bool = False) -> Run:
    """Train one arm. All arms take as many steps; the coordinated one spends the second half on attention alone."""
    config = TrainConfig(
        steps=setting.steps, batch=setting.batch, objective=setting.objective, seed=seed, lr=setting.lr, average=0.995
    )

    def one(net: TokenNet, config: TrainConfig) -> TokenTraining:
        trainer = TokenTraining(net, data.tokens, config)
        trainer.run(desc=f"{net.arm} {seed}", quiet=quiet)
        return trainer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = TokenNet(setting, "volume" if arm == "volume" else "independent")
        whole = TokenNet(setting, arm)
    if arm != "coordinated":
        only = one(net, replace(config, steps=2 * setting.steps))
        return Run(only.averaged, only.losses, only.seconds)
    first = one(net, config)
    whole.load_state_dict(whole.state_dict() | first.averaged.state_dict())
    second = one(whole, replace(config, seed=seed + 1000))
    return Run(second.averaged, first.losses + second.losses, first.seconds + second.seconds)


@torch.no_grad()
def sample(net: TokenNet, setting: Setting, count: int, seed: int, calls: int | None = None) -> Tensor:
    """Tokens (count, K, numbers) drawn by a trained arm; the same seed gives all arms the same noise."""
    noise = torch.randn(count, setting.slices, setting.numbers, generator=torch.Generator().manual_seed(seed))
    draw: Any = diffusion.euler if setting.objective == "velocity" else diffusion.ddim
    found: Tensor = draw(net, noise, calls or setting.calls)
    return found


def score(net: TokenNet, setting: Setting, data: Tokens, seed: int, calls: int | None = None) -> dict[str, float]:
    """M3, M4, M6, M7 and M14 of as many samples as there are fresh winds, against these."""
    drawn = data.spectra(sample(net, setting, len(data.truth), seed + 1, calls))
    return evaluate.scores(drawn, data.truth)


def bounds(data: Tokens, seed: int = 0) -> dict[str, dict[str, float]]:
    """What truth scores against other truth ("floor"), tokens against the volumes they were made of ("tokens": what no arm
    can pass), and a still ("ceiling")."""
    half = len(data.truth) // 2
    first, second = data.truth[:half], data.truth[half:]
    flat = data.normalizer(second[:, : data.tokens.shape[1]]).flatten(2)
    tokens = (flat - data.mean) @ data.basis / data.size
    return dict(
        floor=evaluate.scores(second, first),
        tokens=evaluate.scores(data.spectra(tokens), first),
        ceiling=evaluate.scores(torch.zeros_like(second), first),
    )
