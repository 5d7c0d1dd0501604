"""The models of the wing: a codec for slices of a spectral volume, a U-Net that denoises them, attention across slices.

A slice is what a spectral volume holds of one frequency: 4 numbers per pixel, Re and Im of x and of y (paper, section 4.1),
here after normalisation. Three networks share the work, as in the paper (sections 4.2 and 7):

Codec     one slice <-> a small latent picture of 4 channels, whitened. Its decoder sees the picture as well (ours): what it
          says of coarse cells is spread over pixels with weights that the picture alone decides, so that motion ends where the
          drawn thing ends, however coarse the latent is
Eye       the picture -> 16 channels at the size of a latent, the condition
Denoiser  the noise in noisy latents. The arm says how slices of one volume are seen:
          independent   one slice at a time; which one, is embedded beside the step of diffusion (stage 1)
          coordinated   the same, and between its layers attention across the slices, per location (stage 2), which begins as
                        nothing: the network starts as the independent one, number for number
          volume        all slices at once, as 4 K channels
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..lab import diffusion
from ..lab.nn import sinusoids
from ..lab.tensors import read_model, write_model
from ..lab.unet import GROUPS, ChannelNorm, PlaceAttention, Residual, channels_last, conv, float_attention
from .spectral import Normalizer, first_frame

ARMS = ("independent", "volume", "coordinated")
CHANNELS = 4  # of a slice, and of its latent
CELL = 4  # pixels: the side of the cells that the decoder's picture-made weights spread over pixels


@dataclass(frozen=True)
class Config:
    """The size of a model."""

    height: int = 160  # of pictures and spectral volumes, pixels: multiples of `down`
    width: int = 256
    slices: int = 16  # K, the frequencies 0 to K - 1 of `spectral.volume`
    down: int = 16  # pixels along the side of a latent's pixel: 8 or 16
    guided: bool = True  # whether the decoder sees the picture; without it, it is a plain one
    layers: int = 2  # numbers that a coarse cell says of itself, of which a pixel takes its share: near and far
    codec: int = 48  # widths of codec and denoiser, multiples of 8; the denoiser's lower level is `times` as wide
    base: int = 64
    times: int = 2
    condition: int = 16  # channels of the eye
    heads: int = 4  # of all attention

    def __post_init__(self) -> None:
        if self.down not in (8, 16):
            raise ValueError(f"Config: down must be 8 or 16, got {self.down}")
        for name, unit in dict(height=self.down, width=self.down, codec=GROUPS, base=GROUPS, slices=1).items():
            if getattr(self, name) < unit or getattr(self, name) % unit:
                raise ValueError(f"Config: {name} must be {unit} or a multiple of it, got {getattr(self, name)}")

    @property
    def latent(self) -> tuple[int, int, int]:
        """Shape of the latent of one slice: (4, h, w)."""
        return CHANNELS, self.height // self.down, self.width // self.down


LAPTOP = Config()  # 160x256 with latents of 10x16, trained on one core
GPU = Config(down=8, codec=96, base=128, times=4)  # nearer to the paper's: latents of 20x32


class Guide(nn.Module):
    """What the decoder takes from the picture, once for all slices: features of cells, and weights of pixels."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = config.codec
        self.fine, self.middle = conv(3, 16), conv(16, 24, stride=2)
        inputs = (24, *[c] * (config.down // 8))
        self.cells = nn.ModuleList(nn.Sequential(conv(i, c, stride=2), Residual(c, c, local=True)) for i in inputs)
        self.weights = conv(16 + 24 + 16, 9 * config.layers + 1)
        with torch.no_grad():  # at first a pixel moves as the cell that it is in
            self.weights.bias[1 + 9 // 2] += 3  # type: ignore[index]
        self.from_cells = nn.Conv2d(c, 16, 1)

    def forward(self, picture: Tensor) -> tuple[list[Tensor], Tensor]:
        """picture (B, 3, H, W) in 0..1 -> features, coarsest first, and weights (B, h w, 9 layers, 16) of cells of 4x4 pixels:
        how much of each layer of the nine cells around goes into each of 16 pixels. What is missing to 1 stays still."""
        fine = F.silu(self.fine(channels_last(2 * picture - 1)))
        half = F.silu(self.middle(fine))
        found = [half]
        for cells in self.cells:
            found.append(cells(found[-1]))
        size = picture.shape[-2:]
        spread = [F.interpolate(part, size=size, mode="bilinear") for part in (half, self.from_cells(found[1]))]
        logits = F.pixel_unshuffle(self.weights(torch.cat([fine, *spread], 1)), CELL).flatten(2)
        shares = logits.unflatten(1, (-1, CELL * CELL)).float().softmax(1)[:, 1:]
        return found[:0:-1], shares.permute(0, 3, 1, 2)


class Codec(nn.Module):
    """Slices (B, K, 4, H, W), normalised, <-> latents (B, K, 4, h, w), whitened. Each slice by itself, of any size: what comes
    out hangs on what is near alone, so that it can learn from crops. It begins as the mean over each cell, weighted by the
    height of the motion, since what moves may be thin (ours): from a start that knows nothing it first learns to say "still",
    and then hardly anything."""

    mean: Tensor  # (4,) of raw latents
    whiten: Tensor  # (4, 4)
    colour: Tensor  # (4, 4), its inverse

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        c, patch = config.codec, config.down // 2
        out = nn.Conv2d(c, 2 * CHANNELS, 1)
        nn.init.zeros_(out.weight)
        with torch.no_grad():  # little noise at first: behind a lot of it the decoder learns nothing
            out.bias.copy_(torch.tensor([0.0, -6.0]).repeat_interleave(CHANNELS))  # type: ignore[union-attr]
        self.encoder = nn.Sequential(
            nn.Conv2d(CHANNELS, c, patch, patch), Residual(c, c, local=True), conv(c, c, stride=2),
            Residual(c, c, local=True), ChannelNorm(c), nn.SiLU(), out,
        )  # fmt: skip
        levels = range(config.down // 8 + 1)  # from the latent up to cells of 4 pixels
        self.guide = Guide(config) if config.guided else None
        self.enter = nn.ModuleList([conv(c if i else CHANNELS, c) for i in levels])
        self.seen = nn.ModuleList([nn.Conv2d(c, c, 1) for _ in levels] if config.guided else [])
        self.blocks = nn.ModuleList([Residual(c, c, local=True) for _ in levels])
        last = conv(c, CHANNELS * (config.layers if config.guided else CELL * CELL))
        self.leave = nn.Sequential(ChannelNorm(c), nn.SiLU(), last)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("mean", torch.zeros(CHANNELS))
        self.register_buffer("whiten", torch.eye(CHANNELS))
        self.register_buffer("colour", torch.eye(CHANNELS))

    def moments(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the raw latents, each (B, K, 4, h, w)."""
        flat, size = slices.flatten(0, 1), slices.shape[:2]
        mean, log_variance = self.encoder(channels_last(flat)).float().unflatten(0, size).chunk(2, 2)
        heights = flat.float().square().sum(1, keepdim=True).sqrt()
        moved, total = (F.avg_pool2d(t, self.config.down) for t in (heights * flat.float(), heights))
        return mean + (moved / (total + 1e-4)).unflatten(0, size), log_variance.clamp(-20, 10)

    def whitened(self, raw: Tensor) -> Tensor:
        """Means (..., 4, h, w) of `moments` -> latents."""
        return torch.einsum("ij,...jhw->...ihw", self.whiten.to(raw), raw - self.mean.to(raw)[:, None, None])

    def encode(self, slices: Tensor) -> Tensor:
        """Slices -> the means of their latents, whitened."""
        return self.whitened(self.moments(slices)[0])

    def decode(self, latents: Tensor, picture: Tensor) -> Tensor:
        """Whitened latents (B, K, 4, h, w) and pictures (B, 3, H, W) in 0..1 -> slices."""
        raw = torch.einsum("ij,bkjhw->bkihw", self.colour, latents) + self.mean[:, None, None]
        return self.paint(raw, picture)

    def paint(self, raw: Tensor, picture: Tensor) -> Tensor:
        """The same from latents not whitened."""
        B, K = raw.shape[:2]
        features, shares = ([], None) if self.guide is None else self.guide(picture)
        x = channels_last(raw.flatten(0, 1))
        for level, (enter, block) in enumerate(zip(self.enter, self.blocks)):
            x = enter(F.interpolate(x, scale_factor=2.0) if level else x)
            if features:  # the same for all slices of a picture
                x = x + self.seen[level](features[level]).repeat_interleave(K, 0)
            x = block(x)
        said = self.leave(x).float()
        h, w = said.shape[-2:]
        coarse = F.interpolate(raw.flatten(0, 1).float(), size=(h, w))
        if shares is None:
            coarse = F.interpolate(coarse, scale_factor=float(CELL))
            return (F.pixel_shuffle(said, CELL) + coarse).unflatten(0, (B, K))
        layers = said.unflatten(1, (CHANNELS, -1))
        said = torch.cat([layers[:, :, :1] + coarse[:, :, None], layers[:, :, 1:]], 2).flatten(1, 2)
        around = F.unfold(F.pad(said, (1, 1, 1, 1), mode="replicate"), 3)  # (B K, 4 layers 9, h w)
        around = around.view(B, K * CHANNELS, -1, h * w).permute(0, 3, 1, 2)
        pixels = (around @ shares).permute(0, 2, 3, 1)  # (B, K 4, 16, h w)
        return F.pixel_shuffle(pixels.reshape(B, -1, h, w), CELL).unflatten(1, (K, CHANNELS))

    @torch.no_grad()
    def set_whitening(self, raw: Tensor) -> None:
        """Make latents like these (..., 4, h, w), not whitened, have mean 0 and covariance 1, over all slices and places."""
        numbers = raw.double().movedim(-3, -1).reshape(-1, CHANNELS)
        values, vectors = torch.linalg.eigh(torch.cov(numbers.T))
        roots = values.clamp_min(1e-8).sqrt()
        self.mean.copy_(numbers.mean(0))
        self.whiten.copy_(vectors @ torch.diag(1 / roots) @ vectors.T)
        self.colour.copy_(vectors @ torch.diag(roots) @ vectors.T)


def codec_loss(codec: Codec, slices: Tensor, picture: Tensor, noise: Tensor) -> Tensor:
    """L1, multi-scale gradients (0.2) and KL (1e-6): the loss of paper section 7 and supplement 4.1, as means over numbers.
    noise: standard normal, of the latents' shape."""
    mean, log_variance = codec.moments(slices)
    found = codec.paint(mean + (0.5 * log_variance).exp() * noise, picture).float()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return (found - slices).abs().mean() + 0.2 * gradient_loss(found, slices) + 1e-6 * kl


def gradient_loss(a: Tensor, b: Tensor, scales: int = 4) -> Tensor:
    """L1 between differences of neighbouring pixels of a and b (..., H, W), at each of some dyadic scales, summed."""
    apart = (a - b).flatten(0, -4)
    total = apart.new_zeros(())
    for scale in range(scales):
        apart = F.avg_pool2d(apart, 2) if scale else apart
        if min(apart.shape[-2:]) < 2:
            break
        total = total + apart.diff(dim=-1).abs().mean() + apart.diff(dim=-2).abs().mean()
    return total


class Eye(nn.Module):
    """The condition: pictures (B, 3, H, W) in 0..1 -> (B, condition, h, w), a small ResNet."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths = [24, 48, 64, 64][: config.down.bit_length() - 1]
        parts: list[nn.Module] = [conv(3, widths[0], 5, stride=2)]
        for a, b in pairwise(widths):
            parts += [conv(a, b, stride=2), Residual(b, b)]
        c = widths[-1]
        self.parts = nn.Sequential(*parts, Residual(c, c), nn.GroupNorm(GROUPS, c), nn.SiLU())
        self.out = nn.Conv2d(c, config.condition, 1)

    def forward(self, picture: Tensor) -> Tensor:
        result: Tensor = self.out(self.parts(channels_last(2 * picture - 1)))
        return result


class SliceAttention(nn.Module):
    """Attention across the slices of a volume at each place, added: (B K, C, H, W) -> the same. It starts as nothing. Each
    slice has a learned position, since attention by itself does not know which one it is."""

    def __init__(self, width: int, slices: int, heads: int) -> None:
        super().__init__()
        self.norm, self.attn = nn.LayerNorm(width), nn.MultiheadAttention(width, heads)
        self.positions = nn.Parameter(0.1 * torch.randn(slices, width))
        for parameter in self.attn.out_proj.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        K, (_, C, H, W) = len(self.positions), x.shape
        tokens = x.reshape(-1, K, C, H * W).permute(0, 3, 1, 2)  # (B, H W, K, C)
        y = self.norm(tokens) + self.positions
        y = float_attention(self.attn, y.reshape(-1, K, C)).view(tokens.shape)
        return x + y.permute(0, 2, 3, 1).reshape(x.shape)


class Stage(nn.Module):
    """A residual block, attention over places, and in a coordinated network attention across slices."""

    def __init__(self, inputs: int, outputs: int, config: Config, across: bool) -> None:
        super().__init__()
        self.residual = Residual(inputs, outputs, 2 * config.base)
        self.places = PlaceAttention(outputs, config.heads)
        self.across = SliceAttention(outputs, config.slices, config.heads) if across else nn.Identity()

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        x = self.across(self.places(self.residual(x, embedded)))
        return x


def embedded(net: Any, width: int, step: Tensor, slices: int, which: Tensor | None) -> Tensor:
    """What `net.time` makes of the step (B,) or (B, K) and `net.frequency` of the slices `which` (K,) or (B, K), by default
    all in their order: (B, K, C); (B, C) for a volume network, which has no slices."""
    time: Tensor = net.time(sinusoids(step.float(), width))
    if net.arm == "volume":
        return time
    which = torch.arange(slices, device=step.device) if which is None else which
    time = time if step.ndim == 2 else time[:, None]
    return (time + net.frequency(sinusoids(which.float(), width, 100.0))).expand(len(step), slices, -1)


class Denoiser(nn.Module):
    """The noise (or, trained so, the velocity) in noisy latents: a U-Net of two levels, see `ARMS`."""

    def __init__(self, config: Config, arm: str = "independent") -> None:
        super().__init__()
        if arm not in ARMS:
            raise ValueError(f"Denoiser: arm must be one of {', '.join(ARMS)}, got {arm!r}")
        self.config, self.arm = config, arm
        c, d, e = config.base, config.base * config.times, 2 * config.base
        wide = CHANNELS * (config.slices if arm == "volume" else 1)
        stage = partial(Stage, config=config, across=arm == "coordinated")
        self.time = nn.Sequential(nn.Linear(c, e), nn.SiLU(), nn.Linear(e, e))
        self.frequency = None if arm == "volume" else nn.Sequential(nn.Linear(c, e), nn.SiLU(), nn.Linear(e, e))
        self.enter = conv(wide + config.condition, c)
        self.down = nn.ModuleList([stage(c, c), stage(c, c)])
        self.shrink = conv(c, d, stride=2)
        self.middle = nn.ModuleList([stage(d, d), stage(d, d), stage(2 * d, d)])
        self.grow = conv(d, c)
        self.up = nn.ModuleList([stage(2 * c, c), stage(2 * c, c)])
        self.leave = nn.Sequential(nn.GroupNorm(GROUPS, c), nn.SiLU(), conv(c, wide))

    def forward(self, z: Tensor, step: Tensor, condition: Tensor, which: Tensor | None = None) -> Tensor:
        """z (B, K, 4, h, w); step (B,), 0 to 1000; condition (B, condition, h, w) -> (B, K, 4, h, w). An independent network
        also takes step (B, K), and which (K,) or (B, K) int: the slices that z holds, if not all in their order."""
        K = z.shape[1]
        if self.arm != "independent" and (which is not None or self.config.slices != K or step.ndim != 1):
            raise ValueError(f"Denoiser: {self.arm} takes all {self.config.slices} slices at one step of diffusion")
        e = embedded(self, self.config.base, step, K, which)
        if self.arm == "volume":
            x = torch.cat([z.flatten(1, 2), condition], 1)
        else:
            x, e = torch.cat([z.flatten(0, 1), condition.repeat_interleave(K, 0)], 1), e.flatten(0, 1)
        one = self.enter(channels_last(x))
        two = self.down[0](one, e)
        three = self.down[1](two, e)
        low = self.shrink(three)
        x = self.middle[1](self.middle[0](low, e), e)
        x = self.middle[2](torch.cat([x, low], 1), e)
        x = self.grow(F.interpolate(x, size=z.shape[-2:]))
        x = self.up[0](torch.cat([x, three], 1), e)
        x = self.up[1](torch.cat([x, two], 1), e)
        return self.leave(x).float().view_as(z)


def coordinated(independent: Any, seed: int = 0) -> Any:
    """Stage 2: a coordinated network (of the same class) that holds a copy of a trained independent one, with only the new
    attention to learn."""
    if independent.arm != "independent":
        raise ValueError(f"coordinated: needs an independent network, got {independent.arm!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = type(independent)(independent.config, "coordinated")
    net.load_state_dict(net.state_dict() | independent.state_dict())
    freeze(net)
    return net.to(next(independent.parameters()).device)


def freeze(net: nn.Module, frozen: bool = True) -> None:
    """Let only attention across slices learn; frozen=False: all."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not frozen or "across." in name)


class Animator(nn.Module):
    """All that turns a picture into a spectral volume: codec, eye, denoiser, and the normalisation that they were trained with.
    objective: what the denoiser says, "noise" or, trained by flow matching, "velocity"."""

    def __init__(self, config: Config, arm: str = "coordinated", objective: str = "noise") -> None:
        super().__init__()
        if objective not in diffusion.OBJECTIVES:
            raise ValueError(f"Animator: objective must be noise or velocity, got {objective!r}")
        self.config, self.objective = config, objective
        self.codec, self.eye, self.net = Codec(config), Eye(config), Denoiser(config, arm)
        self.normalizer = Normalizer(torch.ones(config.slices, 2))

    def spectrum(self, latents: Tensor, picture: Tensor) -> Tensor:
        """Latents (B, K, 4, h, w) of pictures (B, 3, H, W) -> spectral volumes (B, K, 2, H, W). Differentiable."""
        return self.normalizer.inverse(self.codec.decode(latents, picture))

    @torch.no_grad()
    def draw(
        self, picture: NDArray[np.uint8], seeds: Iterable[int] = (0,), calls: int = 50, *, guidance: float = 0.0,
        energy: diffusion.Energy | None = None, first: bool = True, **kw: Any,
    ) -> Tensor:  # fmt: skip
        """Motions for one picture, one to a seed: spectral volumes (N, K, 2, H, W) complex64, px summed over frames.

        picture  uint8 (H, W, 3) of the config's size
        energy   of spectral volumes (N, K, 2, H, W) -> (N,): guides the sampling, as for loops; `kw` goes to `diffusion.ddim`
        first    whether motion starts at the picture: `spectral.first_frame`
        """
        device, shape = self.codec.mean.device, (self.config.slices, *self.config.latent)
        size = (self.config.height, self.config.width, 3)
        if picture.shape != size or picture.dtype != np.uint8:
            raise ValueError(f"Animator: the picture must be uint8 {size}, got {picture.dtype} {picture.shape}")
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]).to(device)
        one = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1) / 255
        pictures = one.to(device).expand(len(noise), -1, -1, -1)
        if energy is not None:
            kw["energy"] = lambda z: energy(self.spectrum(z, pictures))
        predict = diffusion.guided(self.net, self.eye(pictures), guidance)
        found = self.spectrum(diffusion.sample(self.objective, predict, noise, calls, **kw), pictures)
        return first_frame(found) if first else found

    def save(self, path: str | Path, **about: Any) -> None:
        """Write all weights as float16, with what the model is, to one safetensors file."""
        header = dict(config=asdict(self.config), arm=self.net.arm, objective=self.objective, **about)
        more = {f"normalizer.{name}": tensor for name, tensor in self.normalizer.state().items()}
        write_model(Path(path), self, header, **more)

    @classmethod
    def load(cls, path: str | Path) -> Animator:
        """Read a file of `save`. Raises FormatError if it is none."""

        def build(header: dict[str, Any], tensors: dict[str, Tensor]) -> Animator:
            found = cls(Config(**header["config"]), header["arm"], header["objective"])
            found.normalizer = Normalizer.from_state({n: tensors.pop(f"normalizer.{n}") for n in ("scale", "code")})
            return found

        return read_model(Path(path), build)
