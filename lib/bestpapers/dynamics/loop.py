"""Seamless loops: how to measure one, four ways to make one from a motion, and the energy that guides a sampler to one.

A motion of K slices has the period T by construction, so it always loops. But where the clip ended far from its start it does
so with a snap: the curve runs back within a few frames around the wrap. Shrinking high slices closes the ends as well, so
whoever reports a closed loop reports the energy that is left beside it.

    naive        the motion as it is
    detrended    less the straight line between its ends
    cross-faded  its end blended into its start; shorter
    projected    the nearest spectrum whose ends meet (E = 0)
    guided       a diffusion sampler pushed by the gradient of E: `closure_energy` (paper Eq. 5)

E = 0 is not yet seamless: the last frame and frame 0 are neighbours on the circle of time, so equal places and velocities mean
a brief rest, unless the last frame is left out when played (`played`); and the projection only moves a large snap by a few
frames. A natural way to close a path has to come from a prior. (ours)

The paper (section 6, Eq. 5) prints a bare nabla in E; position *and velocity* in its text make it the derivative in time. It
does not say whether the L1 norm is a sum or a mean, on which the guidance weight hangs: here a mean.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .spectral import FRAMES, first_frame, motion

NEAR = 5  # frames on each side of the wrap in which a snap can hide


def steps(sequence: Tensor) -> Tensor:
    """Mean absolute change from each frame (T, ...), of motion or pictures of any type, to the next, and last from the last one
    to the first: float64 (T,)."""
    if len(sequence) < 3:
        raise ValueError(f"loop.steps: at least 3 frames are needed, got {len(sequence)}")
    pairs = zip(sequence, [*sequence[1:], sequence[0]])
    return torch.stack([(after.float() - before.float()).abs().double().mean() for before, after in pairs])


def wrap_ratio(sequence: Tensor, near: int = 0) -> float:
    """The step from the last frame to the first over the mean of the other steps; 1: as any other step, 0: a rest, NaN: nothing
    moves. near: take the largest step from so many before the wrap to so many after it, since a smooth curve spreads its snap.
    """
    size = steps(sequence)
    at_wrap = torch.cat([size[-1 - near :], size[:near]]).max()
    return float(at_wrap / size[:-1].mean())


def closure(flow: Tensor) -> tuple[float, float]:
    """The two terms of E: how far the ends of a motion (T, 2, H, W) are apart, pixels, and their velocities, pixels/frame.
    Means of absolute values over pixels, x and y."""
    first, second, last_but_one, last = flow[[0, 1, -2, -1]].double()
    place, speed = last - first, (last - last_but_one) - (second - first)
    return float(place.abs().mean()), float(speed.abs().mean())


def energy(flow: Tensor) -> float:
    """Mean square of a motion (T, 2, H, W) about its mean over time, pixels^2."""
    return float((flow - flow.mean(0)).double().square().mean())


class Scores(NamedTuple):
    """A loop in numbers."""

    wrap: float  # `wrap_ratio`
    near: float  # the same within 5 frames of the wrap
    place: float  # `closure`
    speed: float
    kept: float  # of the energy; NaN: there was none


def score(flow: Tensor, original: Tensor, *, closed: bool = False) -> Scores:
    """Score a loop (T', 2, H, W) against the motion (T, 2, H, W) that it was made of.

    closed: the last frame is frame 0 again (`detrended`, `projected`, guided). Wrap and energy are those of the frames as
    `played`; E is that of all.
    """
    shown, before = played(flow) if closed else flow, energy(original)
    near = wrap_ratio(shown, min(NEAR, (len(shown) - 1) // 2))
    return Scores(wrap_ratio(shown), near, *closure(flow), energy(shown) / before if before else math.nan)


def played(flow: Tensor) -> Tensor:
    """A motion whose last frame is frame 0 again, without that frame: (T, ...) -> (T - 1, ...)."""
    return flow[:-1]


def detrended(flow: Tensor) -> Tensor:
    """A motion (T, ...) less the straight line from its first to its last frame, which are then the same (`played`).

    Places meet, velocities do not; a drift over the clip is lost, and so is a part of any slow swing.
    """
    line = torch.arange(len(flow), dtype=flow.dtype, device=flow.device) / (len(flow) - 1)
    return flow - line.reshape(-1, *[1] * (flow.ndim - 1)) * (flow[-1] - flow[0])


def cross_faded(sequence: Tensor, overlap: int = 15) -> Tensor:
    """The last `overlap` frames blended into the first ones: (T, ...) -> (T - overlap, ...), of the same type.

    A motion or frames: blended motions move less for a while, blended frames show two pictures at once. The weights follow a
    half cosine, so that velocities meet as well.
    """
    T = len(sequence)
    if not 0 < overlap <= T // 2:
        raise ValueError(f"cross_faded: overlap must be from 1 to {T // 2}, got {overlap}")
    weight = 0.5 - 0.5 * torch.cos(math.pi * torch.arange(overlap) / overlap)
    weight = weight.reshape(-1, *[1] * (sequence.ndim - 1)).to(sequence.device)
    mixed = torch.lerp(sequence[T - overlap :].float(), sequence[:overlap].float(), weight)
    mixed = mixed if sequence.is_floating_point() else mixed.round()
    return torch.cat([mixed.to(sequence.dtype), sequence[overlap : T - overlap]])


def projected(S: Tensor, frames: int = FRAMES) -> Tensor:
    """The spectral volume nearest to S for which E = 0 and F_0 = 0: complex (K, 2, H, W), K at least 3.  (ours)

    Places and velocities of the ends meet: two linear conditions on the 2 (K - 1) numbers of each pixel. No other volume that
    keeps them changes the motion's RMS less. `motion` of the result ends where it starts; play it without its last frame.
    """
    if len(S) < 3:
        raise ValueError(f"projected: at least 3 slices are needed, got {len(S)}")
    k = torch.arange(1, len(S), dtype=torch.float64)
    angle = 2 * math.pi * torch.tensor([0, 1, frames - 2, frames - 1], dtype=torch.float64)[:, None] * k / frames
    # F at the four frames, of (Re S, Im S), up to 2 / T
    first, second, last_but_one, last = torch.cat([angle.cos(), -angle.sin()], 1)
    A = torch.stack([last - first, (last - last_but_one) - (second - first)])
    back = A.T @ torch.linalg.inv(A @ A.T) @ A
    numbers = torch.cat([S[1:].real, S[1:].imag]).double()
    real, imag = (numbers - torch.einsum("ij,jchw->ichw", back, numbers)).chunk(2)
    return first_frame(torch.cat([S[:1], torch.complex(real, imag).to(S.dtype)]))


def closure_energy(S: Tensor, frames: int = FRAMES, speed: float = 1.0) -> Tensor:
    """E of spectral volumes (..., K, 2, H, W), differentiable: (...), pixels. As its `energy`, `Animator.draw` pushes it down:
    motion self-guidance (paper Eq. 5).

    The mean over pixels, x and y of |F_last - F_0| + speed * |(F_last - F_last-1) - (F_1 - F_0)|; the paper's speed is 1.
    """
    ends = motion(S, frames, times=[0.0, 1.0, frames - 2.0, frames - 1.0])
    first, second, last_but_one, last = ends.unbind(-4)
    gap = (last - first).abs() + speed * ((last - last_but_one) - (second - first)).abs()
    return gap.mean((-3, -2, -1))
