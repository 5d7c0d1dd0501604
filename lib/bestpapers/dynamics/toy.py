"""The token toy: where coordination shows in a minute. One plant, many winds, and a slice is eight numbers.

No picture, no space: the normalised volumes of one plant under many winds are projected on the eight main directions of all
slices together, so that a slice becomes a *token* of eight numbers. What is left is the question of the paper's section 4.2:
how should the slices of one volume be drawn? The arms are those of `model`, with an MLP in the place of the U-Net. Truth is
known: M4, M6, M7 and M12 compare with winds that no arm has seen. `frame_by_frame` is a rival that predicts no spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import worlds
from .model import CHANNELS, SliceAttention, embedded
from .spectral import Kind, Normalizer, first_frame, motion
from .train import Latents, Material, TrainConfig

SIZE = (48, 72)  # of the picture that the pixels are taken from
PAST = 8  # frames that `frame_by_frame` looks back


@dataclass(frozen=True)
class Setting:
    """A toy experiment. Everything but the arm and the seed."""

    kind: str = "tree"
    plant: int = 0
    winds: int = 900
    fresh: int = 512
    pixels: int = 128
    slices: int = 16
    truth: int = 24  # slices of the volumes that samples are compared with, at least `slices`
    numbers: int = 8  # in a token
    normalize: Kind = "adaptive"
    objective: str = "noise"
    width: int = 128
    blocks: int = 3
    steps: int = 2000  # of each stage; an arm of one stage takes twice as many
    batch: int = 256  # what goes through the MLP per step: slices, or whole volumes in the volume arm
    lr: float = 2e-3
    calls: int = 50  # of the network per sample

    def network(self, arm: str) -> nn.ModuleDict:
        return nn.ModuleDict(dict(net=TokenNet(self, arm)))

    def training(self, arm: str, seed: int) -> TrainConfig:
        batch = self.batch * (self.slices if arm == "volume" else 1)  # in slices, as `train_arm` counts
        same = dict(steps=self.steps, objective=self.objective, lr=self.lr)
        return TrainConfig(batch=batch, slices=1, seed=seed, average=0.995, **same)  # type: ignore[arg-type]

    def material(self, seed: int) -> Material:
        """Winds, pixels and tokens (N, K, numbers) that follow from a seed."""
        volumes = _volumes(self.kind, self.plant, self.winds + self.fresh, self.pixels, self.truth, seed)
        known, truth = volumes[: self.winds, : self.slices], volumes[self.winds :]
        normalizer = Normalizer.fit(known, self.normalize)
        if self.normalize == "resolution":  # its divisors are the sides of a picture: without one, the same for x and y
            normalizer = Normalizer(known.abs().square().mean().sqrt().expand(self.slices, 2), "resolution")
        flat = normalizer(known).flatten(2)  # (N, K, 4 pixels)
        mean, limit = flat.mean((0, 1)), 1.5 * float(flat.abs().max())
        values, vectors = torch.linalg.eigh(torch.cov((flat - mean).flatten(0, 1).T.double()))
        basis = vectors[:, -self.numbers :].float()
        size = values[-self.numbers :].clamp_min(1e-12).sqrt().float()

        def tokens(volumes: Tensor) -> Tensor:
            return (normalizer(volumes).flatten(2) - mean) @ basis / size

        def spectra(tokens: Tensor) -> Tensor:
            # cut off, lest a network that goes astray be infinite, of which there is no logarithm
            flat = (tokens * size @ basis.T + mean).clamp(-limit, limit)
            return normalizer.inverse(flat.unflatten(-1, (CHANNELS, 1, -1)))

        return Material(Latents(None, tokens(known)[None, None]), tokens, spectra, ((None, truth, None),))


@lru_cache(maxsize=1)
def _volumes(kind: str, plant: int, winds: int, pixels: int, slices: int, seed: int) -> Tensor:
    """Volumes (winds, slices, 2, 1, pixels) of some pixels that move: what all arms of a seed share."""
    scene, rng = worlds.make_scene(kind, plant), np.random.default_rng((seed, 77))
    shapes = scene.shapes(*SIZE).reshape(-1, 2, SIZE[0] * SIZE[1])
    some = shapes[..., rng.choice(np.flatnonzero((shapes != 0).any((0, 1))), pixels)].reshape(len(shapes), -1)
    curves = np.stack([scene.motion(worlds.Wind.draw(rng)) for _ in range(winds)])
    modes = np.fft.rfft(curves, axis=1)[:, :slices]
    return torch.from_numpy((modes @ some).astype(np.complex64)).unflatten(-1, (2, 1, -1))


def frame_by_frame(setting: Setting, seed: int, add: bool) -> tuple[Tensor, Tensor]:
    """Motions of a rival that predicts frame after frame, and the true ones: (fresh, T, 2, 1, pixels) px each. (ours)

    The next frame of a clip is a linear function of the last eight, by ridge regression on as many main directions as a token
    has numbers, plus a residual. add: it is the *step* to the next frame that is predicted from the last steps, and steps are
    added up, as methods do that predict flow from frame to frame; else the frame's own displacement from frame 0.

    A sample takes its first nine frames and all of its residuals, in another order, from one known clip: so it knows how
    strong the wind is, which a still does not tell. It has a better start than anything that sees the picture only.
    """
    volumes = _volumes(setting.kind, setting.plant, setting.winds + setting.fresh, setting.pixels, setting.truth, seed)
    clips = motion(first_frame(volumes)).double()
    known, truth = clips[: setting.winds].flatten(2), clips[setting.winds :]
    basis = torch.linalg.svd(known.flatten(0, 1).T @ known.flatten(0, 1))[0][:, : setting.numbers]
    path = known @ basis  # (N, T, numbers)
    path = path.diff(dim=1) if add else path
    past = path.unfold(1, PAST, 1)[:, :-1].flatten(2)  # (N, T - PAST, PAST numbers)
    A, b = past.flatten(0, 1), path[:, PAST:].flatten(0, 1)
    rule = torch.linalg.solve(A.T @ A + 1e-6 * (A.T @ A).trace() / len(A.T) * torch.eye(len(A.T)), A.T @ b)
    left = path[:, PAST:] - past @ rule
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(setting.winds, (setting.fresh,), generator=generator)
    order = torch.rand(setting.fresh, left.shape[1], generator=generator).argsort(1)
    drawn = list(path[which, :PAST].unbind(1))
    for n in range(left.shape[1]):
        last = torch.stack(drawn[-PAST:], -1).flatten(1)
        drawn.append(last @ rule + left[which, order[:, n]])
    found = torch.stack(drawn, 1)
    if add:
        found = torch.cat([torch.zeros_like(found[:, :1]), found.cumsum(1)], 1)
    return (found @ basis.T).view_as(truth).float(), truth.float()


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
        talk = partial(SliceAttention, width, config.slices, 4) if arm == "coordinated" else nn.Identity
        self.across = nn.ModuleList([talk() for _ in blocks])

    def forward(self, z: Tensor, step: Tensor, which: Tensor | None = None) -> Tensor:
        """step (B,) or (B, K), 0 to 1000; which (B, K): the slices that z holds, if not all in their order."""
        told = F.silu(embedded(self, self.config.width, step, z.shape[1], which))
        x = self.enter(z.flatten(1) if self.arm == "volume" else z)
        for norm, first, second, across in zip(self.norms, self.first, self.second, self.across):
            x = x + second(F.silu(first(torch.cat([norm(x), told], -1))))
            x = across(x.reshape(-1, x.shape[-1], 1, 1)).view(x.shape)
        found: Tensor = self.leave(x)
        return found.view_as(z)
