"""Motion as music: spectral volumes, their way back to motion, and the numbers that a network is trained on.

A pixel's displacement over T frames is a curve in time; a spectral volume S keeps its K lowest notes, for every pixel and for
x and y apart. Slice k belongs to f_k = k * rate / T hertz: with 150 frames at 30 per second, steps of 0.2 Hz, from the constant
(k = 0) to 3.0 Hz (k = 15).

    S_k = sum_n F_n exp(-2 pi i k n / T)                                        `volume` (paper Eq. 2, unnormalised)
    F_n = (S_0 + 2 Re sum_{k=1}^{K-1} S_k exp(+2 pi i k n / T)) / T             `motion`

Why the 2: the spectrum of a real curve has a mirror half, S_{T-k} = conj(S_k), that we do not store. Each stored slice stands
for two, and forgetting the other one halves the motion. Only k = 0 and, for even T, k = T/2 are their own mirror images.

Source: Li et al. 2024, Eq. 1 to 4 and section 4.2. What the paper leaves open and we settled is marked (ours).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

FRAMES = 150  # T
RATE = 30.0  # frames per second
SLICES = 16  # K, the constant one included

Window = Literal["rect", "hann", "detrend"]


def frequencies(slices: int = SLICES, frames: int = FRAMES, rate: float = RATE) -> Tensor:
    """f_k = k * rate / frames, hertz, (slices,) float64."""
    return torch.arange(slices, dtype=torch.float64) * (rate / frames)


def volume(flow: Tensor, slices: int | None = SLICES, window: Window | None = None) -> Tensor:
    """Spectral volume of a motion.

    flow    (..., T, 2, H, W) px, real: where each pixel of frame 0 is in frame n, less where it was
    slices  K, how many to keep from k = 0 on; None: all T // 2 + 1, with which `motion` gives the flow back whole
    window  what is done to the curves first, since the DFT takes them for periodic, and where the last frame does not meet
            the first it puts the jump into *all* slices, falling off only as 1/k (leakage):
            "rect" (or None)  nothing; the only one of which `motion` is the inverse, so take it for training and animating
            "hann"            each curve less its mean, times a bell that ends in 0, times 2 so that a steady vibration keeps
                              its height; the mean stays in slice 0. For looking at spectra and modes (ours)
            "detrend"         each curve less the straight line from frame 0 to the last frame: the ends meet, frame 0 stays
                              where it is, and a drift over the clip is gone (ours)

    Returns (..., K, 2, H, W) complex64 (complex128 for float64), px summed over frames. Differentiable.
    """
    if flow.ndim < 4 or flow.shape[-3] != 2 or not flow.is_floating_point():
        raise ValueError(f"volume: flow must be real, (..., T, 2, H, W), got {tuple(flow.shape)}, {flow.dtype}")
    if window not in (None, *get_args(Window)):
        raise ValueError(f"volume: window must be one of {', '.join(get_args(Window))} or None, got {window!r}")
    frames = flow.shape[-4]
    n = torch.arange(frames, dtype=flow.dtype, device=flow.device)[:, None, None, None]
    slices = _check_slices("volume", frames // 2 + 1 if slices is None else slices, frames)
    mean = None
    if window == "hann":
        mean = flow.mean(-4, keepdim=True)
        flow = (flow - mean) * (1 - torch.cos(2 * math.pi * n / frames))
    elif window == "detrend" and frames > 1:
        first, last = flow[..., :1, :, :, :], flow[..., -1:, :, :, :]
        flow = flow - (last - first) * n / (frames - 1)
    out = torch.fft.rfft(flow, dim=-4)[..., :slices, :, :, :].clone()  # a view would keep all slices in memory
    if mean is not None:  # the bell's product has a mean of its own, which is none of the motion's
        out = torch.cat([(frames * mean).to(out.dtype), out[..., 1:, :, :, :]], -4)
    return out


def motion(spectrum: Tensor, frames: int = FRAMES, times: Tensor | Sequence[float] | None = None) -> Tensor:
    """Motion of a spectral volume: the inverse of `volume`.

    spectrum  (..., K, 2, H, W) complex
    frames    T, the length that the spectrum was taken over: it fixes what a slice means in time
    times     where to evaluate, in frames, (N,): any real numbers, since the series is a smooth curve between frames. Slow
              motion by 4 is `torch.arange(4 * T) / 4`, and exact. None: 0, 1, ..., T - 1

    Returns (..., N, 2, H, W) px, float32 (float64 for complex128). Differentiable. The series has the period T, whatever it was
    made of: the frame after the last one is frame 0.
    """
    _check_spectrum("motion", spectrum)
    slices = _check_slices("motion", spectrum.shape[-4], frames)
    at = torch.arange(frames) if times is None else torch.as_tensor(times).cpu()
    angle = 2 * math.pi / frames * torch.outer(at.double(), torch.arange(slices, dtype=torch.float64))
    waves = _sides(slices, frames) / frames * torch.exp(1j * angle)  # (N, K) complex128
    whole = (waves.to(spectrum) @ spectrum.flatten(-3)).unflatten(-1, spectrum.shape[-3:])
    return whole.real.contiguous()  # the mirror half adds the other real half, and takes the imaginary part away


def between(flow: Tensor, times: Tensor | Sequence[float]) -> Tensor:
    """Motion at times (N,) in 0 <= t <= T - 1 by straight lines between the frames (..., T, 2, H, W): slow motion as the paper
    has it (section 6).

    `motion(S, times=...)` is the exact form for a spectral volume: straight lines cut corners, by a share of about
    (pi f / rate)^2 / 2 of the height of a vibration at f hertz, 5 % at 3 Hz and 30 frames per second.
    """
    last = flow.shape[-4] - 1
    at = torch.as_tensor(times, dtype=torch.float64, device=flow.device)
    if at.numel() and not (at.min() >= 0 and at.max() <= last):
        raise ValueError(f"between: times must lie in 0 to {last}, got {at.min()} to {at.max()}")
    low = at.long()
    part = (at - low).to(flow)[:, None, None, None]
    return flow[..., low, :, :, :] * (1 - part) + flow[..., (low + 1).clamp(max=last), :, :, :] * part


def first_frame(spectrum: Tensor) -> Tensor:
    """The volume with its constant slice set so that F_0 = 0: the clip starts at the picture.

    F_0 = 0 means S_0 = -2 Re sum_k S_k, and a volume cut to K slices, or drawn by a network, does not keep to it: its motion
    starts with a jump. Here the same shift is taken from every frame, all other slices stay (ours; the paper is silent).
    (..., K, 2, H, W) complex, of a clip with K - 1 < T / 2.
    """
    _check_spectrum("first_frame", spectrum)
    rest = spectrum[..., 1:, :, :, :]
    constant = -2 * rest.real.sum(-4, keepdim=True)
    return torch.cat([torch.complex(constant, torch.zeros_like(constant)), rest], -4)


def to_channels(spectrum: Tensor) -> Tensor:
    """Complex (..., K, 2, H, W) -> real (..., K, 4, H, W): Re x, Im x, Re y, Im y."""
    _check_spectrum("to_channels", spectrum)
    return torch.view_as_real(spectrum.resolve_conj()).movedim(-1, -3).flatten(-4, -3)


def from_channels(channels: Tensor) -> Tensor:
    """Real (..., K, 4, H, W) -> complex (..., K, 2, H, W)."""
    if channels.ndim < 4 or channels.shape[-3] != 4 or channels.is_complex():
        raise ValueError(f"from_channels: channels must be real, (..., K, 4, H, W), got {tuple(channels.shape)}")
    pairs = channels.unflatten(-3, (2, 2))
    return torch.complex(pairs[..., 0, :, :].contiguous(), pairs[..., 1, :, :].contiguous())


Kind = Literal["adaptive", "linear", "log", "reciprocal", "resolution"]
Reading = Literal["component", "magnitude"]
KINDS, READINGS = get_args(Kind), get_args(Reading)

PERCENTILE = 95.0  # of the sizes of coefficients (paper section 4.2; the first two versions had 97)
LOG_GAIN = 10.0  # of "log": how far up the curve bends
RECIPROCAL_MAX = 1.9  # of "reciprocal", which tends to 2: what a network gives above is taken for this
# There and back, of sizes; the kinds that are not named leave them as they are
CURVES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "adaptive": (torch.sqrt, torch.square),
    "log": (
        lambda a: torch.log1p(LOG_GAIN * a) / math.log1p(LOG_GAIN),
        lambda b: torch.expm1(b * math.log1p(LOG_GAIN)) / LOG_GAIN,
    ),
    "reciprocal": (
        lambda a: 2 * a / (1 + a),
        lambda b: b.clamp(max=RECIPROCAL_MAX) / (2 - b.clamp(max=RECIPROCAL_MAX)),
    ),
}


@dataclass(frozen=True)
class Normalizer:
    """Makes slices of very different size alike, for a network: with a ratio of 90 between slice 0 and slice 15, one divisor
    for all leaves the high slices at almost 0, where a diffusion model hears nothing but noise.

    With a = |S_k| / s_k, s_k the 95th percentile of slice k over the training set, the number that the network sees is

        adaptive     sqrt(a)                                       the paper's (Eq. 4)
        linear       a                                             s_k alone
        log          log(1 + 10 a) / log(11)                       mentioned in the paper, the form is ours
        reciprocal   2 a / (1 + a)                                 mentioned in the paper, the form is ours
        resolution   |S_x| / width, |S_y| / height, over one number for all slices (their root mean square): the paper's
                     baseline; the number is ours, so that it does not fail for a trivial reason

    and 1 where a = 1. The square root opens up small values (a = 0.01 becomes 0.1), and squares them on the way back, so that
    small noise of the network vanishes. About 5 % lie above 1; nothing is clipped.

    reading: what |S| is, which the paper does not say. "component": Re and Im each by itself, with its sign; angles bend,
    and no more is lost than rounding. "magnitude": the absolute value of the complex number; its angle is kept.

    scale: s_k, (K, 2) float32 for x and y (equal but for "resolution"), px summed over frames.
    """

    scale: Tensor
    kind: Kind = "adaptive"
    reading: Reading = "component"

    def __post_init__(self) -> None:
        for name, value, known in (("kind", self.kind, KINDS), ("reading", self.reading, READINGS)):
            if value not in known:
                raise ValueError(f"Normalizer: {name} must be one of {', '.join(known)}, got {value!r}")
        if self.scale.ndim != 2 or self.scale.shape[1] != 2 or not (self.scale.isfinite() & (self.scale > 0)).all():
            raise ValueError(f"Normalizer: scale must be (K, 2), finite and above 0, got {tuple(self.scale.shape)}")

    @classmethod
    def fit(
        cls, volumes: Tensor | Sequence[Tensor], kind: Kind = "adaptive", reading: Reading = "component", *,
        masks: Tensor | Sequence[Tensor] | None = None,
    ) -> Normalizer:  # fmt: skip
        """Take s_k from the volumes of a training set, (N, K, 2, H, W) or a sequence of (K, 2, H, W).

        masks: bool (H, W) for each: the pixels that count. None: those that move, |S| > 0 in any slice (ours: the paper does
        not say, and with four fifths of still background the percentile of all pixels is far lower). Measured flow is nowhere
        exactly 0: there, give `moving(S, 0.2)`. ValueError if none moves.
        """
        if not len(volumes):
            raise ValueError("Normalizer.fit: no volumes")
        masks = [moving(v) for v in volumes] if masks is None else masks
        height, width = volumes[0].shape[-2:]
        pixels = torch.tensor([width, height], dtype=torch.float32)
        rows = []
        for k in range(len(volumes[0])):  # slice by slice, so that no second copy of the set is made
            values = torch.cat([v[k][:, m.to(v.device)] for v, m in zip(volumes, masks, strict=True)], 1)
            if not values.numel():
                raise ValueError("Normalizer.fit: no pixel moves in any of the volumes")
            if kind == "resolution":
                rows.append((values.abs().square().mean(1) / pixels.to(values.device) ** 2).mean())
                continue
            size = values.abs() if reading == "magnitude" else torch.view_as_real(values).abs()
            if k == 0 and reading == "component":
                size = size[..., 0]  # the imaginary part of slice 0 is always 0, and no measure of anything
            rank = max(1, math.ceil(PERCENTILE / 100 * size.numel()))
            rows.append(size.flatten().kthvalue(rank).values)
        found = torch.stack(rows).float().cpu()
        whole = found.mean().sqrt() * pixels.expand(len(rows), 2)
        scale = whole if kind == "resolution" else found[:, None].expand(-1, 2)
        tiny = scale.max() * 1e-6  # of a slice that is silent in the whole set
        return cls(scale.clamp(min=tiny if tiny > 0 else 1.0), kind, reading)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Complex (..., K, 2, H, W) -> what the network sees, float (..., K, 4, H, W)."""
        return self._bent(to_channels(spectrum / self._scale(spectrum)), 0)

    __call__ = forward

    def inverse(self, channels: Tensor) -> Tensor:
        """The way back: float (..., K, 4, H, W) -> complex (..., K, 2, H, W)."""
        spectrum = from_channels(self._bent(channels, 1))
        return spectrum * self._scale(spectrum)

    def state(self) -> dict[str, Tensor]:
        """All of it as tensors, for a safetensors file or a checkpoint."""
        code = torch.tensor([KINDS.index(self.kind), READINGS.index(self.reading)])
        return {"scale": self.scale.float(), "code": code}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Normalizer:
        """Made again from `state()`."""
        kind, reading = (int(i) for i in state["code"])
        if not (0 <= kind < len(KINDS) and 0 <= reading < len(READINGS)):
            raise ValueError(f"Normalizer.from_state: code {kind}, {reading} means nothing here")
        return cls(state["scale"], KINDS[kind], READINGS[reading])

    def _scale(self, spectrum: Tensor) -> Tensor:
        _check_spectrum("Normalizer", spectrum)
        if spectrum.shape[-4] != len(self.scale):
            raise ValueError(f"Normalizer: made for {len(self.scale)} slices, got {spectrum.shape[-4]}")
        return self.scale.to(spectrum.real)[:, :, None, None]

    def _bent(self, channels: Tensor, way: int) -> Tensor:
        """The curve there (0) or back (1), on the sizes of channels as the reading has them; signs or angles stay."""
        if self.kind not in CURVES:
            return channels
        bend = CURVES[self.kind][way]
        if self.reading == "component":
            return channels.sign() * bend(channels.abs())
        spectrum = from_channels(channels)
        size = spectrum.abs()
        return to_channels(spectrum * (bend(size) / size.clamp(min=torch.finfo(size.dtype).tiny)))


def moving(spectrum: Tensor, threshold: float = 0.0, frames: int = FRAMES) -> Tensor:
    """Which pixels move: bool (..., H, W), where the root mean square of the motion is above `threshold` px."""
    return energy(spectrum, frames).sum((-4, -3)) / frames > threshold**2


def energy(spectrum: Tensor, frames: int = FRAMES) -> Tensor:
    """What each slice adds to sum_n |F_n|^2: (..., K, 2, H, W) px^2. Their sum over all T // 2 + 1 slices is that sum."""
    _check_spectrum("energy", spectrum)
    twice = _sides(spectrum.shape[-4], frames).to(spectrum.real)
    return spectrum.abs().square() * twice[:, None, None, None] / frames


def energy_kept(spectrum: Tensor, frames: int = FRAMES, *, constant: bool = True) -> Tensor:
    """The share of the motion's energy in the first K slices, (M,) for K = 1 to M, of a volume (M, 2, H, W) with *all* slices.

    constant: whether slice 0 counts; without it only what vibrates does, and entry 0 is 0. A clip at rest keeps all: 1.
    """
    slices = energy(spectrum, frames).double().sum((-3, -2, -1))
    if not constant:
        slices[..., 0] = 0
    kept = slices.cumsum(-1)
    return torch.where(kept[..., -1:] > 0, kept / kept[..., -1:], torch.ones_like(kept))


def amplitude(spectrum: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean |S_k| for x and y, (K, 2) px summed over frames, over the pixels of `mask` (H, W), or over those that move."""
    mask = moving(spectrum) if mask is None else mask
    if not mask.any():
        raise ValueError("amplitude: no pixel to take the mean over")
    return spectrum.abs()[..., mask].mean(-1)


@dataclass(frozen=True)
class Law:
    """A line through log amplitude. slope: per hertz (exponential) or per factor e of frequency (power law); r2: its share of
    the variance of log amplitude."""

    intercept: float
    slope: float
    r2: float


@dataclass(frozen=True)
class Fit:
    """Both laws on the slices first to last: A = exp(intercept + slope f) and A = exp(intercept) f^slope."""

    first: int
    last: int
    exponential: Law
    power: Law

    @property
    def winner(self) -> str:
        """The law with the larger R2."""
        return "exponential" if self.exponential.r2 > self.power.r2 else "power law"


def fit_spectrum(
    amplitude: Tensor | Sequence[float], frequencies: Tensor | Sequence[float],
    ranges: Sequence[tuple[int, int]] = ((1, 15), (1, 74)),
) -> list[Fit]:  # fmt: skip
    """How does amplitude fall with frequency? An exponential and a power law, by least squares on log amplitude.

    amplitude, frequencies  (n,) each, frequencies rising; an entry at 0 Hz is left out, the next one is k = 1
    ranges                  first and last k of each fit, cut to what there is. Two by default, since the winner can flip: the
                            paper says "exponential", and its own plotted curve is nearer to 1/f
    """
    height, hertz = (torch.as_tensor(v, dtype=torch.float64).flatten() for v in (amplitude, frequencies))
    if len(height) != len(hertz):
        raise ValueError(f"fit_spectrum: {len(height)} amplitudes and {len(hertz)} frequencies")
    height, hertz = height[hertz > 0], hertz[hertz > 0]
    fits = []
    for first, last in ranges:
        last = min(last, len(hertz))
        f, a = hertz[first - 1 : last], height[first - 1 : last]
        if len(f) < 3 or not (a.isfinite() & (a > 0)).all():
            raise ValueError(f"fit_spectrum: k = {first} to {last} needs three amplitudes or more, all above 0")
        fits.append(Fit(first, last, _line(f, a.log()), _line(f.log(), a.log())))
    return fits


def _line(x: Tensor, y: Tensor) -> Law:
    dx, dy = x - x.mean(), y - y.mean()
    slope = (dx @ dy) / (dx @ dx)
    r2 = 1 - (dy - slope * dx).square().sum() / dy.square().sum()
    return Law(float(y.mean() - slope * x.mean()), float(slope), float(r2))


def _sides(slices: int, frames: int) -> Tensor:
    """How many of the T slices of the DFT each stored one stands for: 1 for k = 0 and k = T / 2, else 2."""
    k = torch.arange(slices)
    return torch.where((k == 0) | (2 * k == frames), 1.0, 2.0)


def _check_spectrum(name: str, spectrum: Tensor) -> None:
    if spectrum.ndim < 4 or spectrum.shape[-3] != 2 or not spectrum.is_complex():
        found = f"{tuple(spectrum.shape)}, {spectrum.dtype}"
        raise ValueError(f"{name}: the spectral volume must be complex, (..., K, 2, H, W), got {found}")


def _check_slices(name: str, slices: int, frames: int) -> int:
    if frames < 1 or not 1 <= slices <= frames // 2 + 1:
        raise ValueError(f"{name}: {frames} frames have 1 to {frames // 2 + 1} slices, not {slices}")
    return slices
