"""Measuring motion: optical flow from frame 0 to every other frame, by methods that need no training, and how to score it.

All flow here is from frame 0 to frame n: the displacement of what is seen at a pixel of frame 0. Steps from n - 1 to n are
another thing, and only become motion when they are chained.

Source: paper section 7 and supplement 4.2 (a classical method, frame 0 to each later frame). What measures between two pictures
is in `lab.optical`. Chains with logarithmic steps: MFT, Neoral et al. 2023 (arXiv 2305.12998), here by forward-backward error
in place of a learned uncertainty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from ..course.progress import progress
from ..lab.optical import Field, Pairwise, dis, dis2x, farneback
from ..lab.optical import load_raft as load_raft  # for who has its weights
from ..lab.video import Picture, checked

Ladder = Literal["direct", "chained", "best"]

STEPS = (1, 2, 4, 8, 16, 32)  # frames: of the chains among which "best" chooses, besides the direct flow
MIN_SIDE = 16  # px, of frames; DIS finds no scale to start at below 12


def stream(
    frames: Iterable[Picture], method: str | Pairwise = "dis2x", ladder: Ladder = "direct", *, desc: str | None = "flow"
) -> Iterator[Tensor]:
    """Flow from frame 0 to each frame, one field at a time: (2, H, W) float32 px on the CPU; the first is 0.

    frames  uint8 (H, W, 3) RGB, all of one size. Taken one by one, so a generator that decodes a video will do
    method  "dis", "dis2x", "farneback", or a function of two pictures -> (H, W, 2) float32, such as `load_raft` gives
    ladder  "direct"   from frame 0 at once. Errors do not add up, but what turned or went dark is no longer found
            "chained"  steps from frame to frame, added up along the way: every step is easy, and their errors add up
            "best"     for every pixel the best of the direct flow and chains whose last step has 1, 2, 4, 8, 16 or 32 frames:
                       the one with the least forward-backward error, added up along its way as root of squares. Costs 14
                       flows a frame; holds 32 frames and fields
    desc    the progress bar's name; None for no bar

    Raises ValueError for frames that are no pictures of one size, of at least 16 x 16, and for none.
    """
    if ladder not in LADDERS:
        raise ValueError(f"flow: ladder must be one of {', '.join(LADDERS)}, got {ladder!r}")
    if isinstance(method, str) and method not in METHODS:
        expected = f"one of {', '.join(METHODS)}, or a function of two pictures"
        raise ValueError(f"flow: method must be {expected}, got {method!r}")
    pairwise = METHODS[method] if isinstance(method, str) else method
    total = len(frames) if isinstance(frames, Sized) else None
    shown = progress(frames, desc, total=total, unit="frame", disable=desc is None)
    for field in LADDERS[ladder](checked(shown, "flow", MIN_SIDE), pairwise):
        yield torch.from_numpy(np.ascontiguousarray(field.transpose(2, 0, 1), np.float32))


def estimate(
    frames: Iterable[Picture], method: str | Pairwise = "dis2x", ladder: Ladder = "direct", *, desc: str | None = "flow"
) -> Tensor:
    """All of `stream` in one tensor, (T, 2, H, W) px: 49 MB for 150 frames of 160 x 256."""
    return torch.stack(list(stream(frames, method, ladder, desc=desc)))


def _direct(frames: Iterator[Picture], pairwise: Pairwise) -> Iterator[Field]:
    first = next(frames)
    yield np.zeros((*first.shape[:2], 2), np.float32)
    for frame in frames:
        yield pairwise(first, frame)


def _chained(frames: Iterator[Picture], pairwise: Pairwise) -> Iterator[Field]:
    last = next(frames)
    field = np.zeros((*last.shape[:2], 2), np.float32)
    yield field
    for frame in frames:
        field = field + _at(pairwise(last, frame), field)
        last = frame
        yield field


def _best(frames: Iterator[Picture], pairwise: Pairwise) -> Iterator[Field]:
    first = next(frames)
    field, error = np.zeros((*first.shape[:2], 2), np.float32), np.zeros(first.shape[:2], np.float32)
    yield field
    past = deque([(first, field, error)], maxlen=max(STEPS))  # frame, flow to it from frame 0, that flow's error^2
    for n, frame in enumerate(frames, 1):
        straight = pairwise(first, frame)
        fields, errors = [straight], [_mismatch(straight, pairwise(frame, first))]
        for step in STEPS:
            if step < n:  # a step of n frames is the direct one
                origin, way, before = past[-step]
                there = pairwise(origin, frame)
                fields.append(way + _at(there, way))
                errors.append(before + _at(_mismatch(there, pairwise(frame, origin)), way))
        choice = np.argmin(np.stack(errors), 0)
        field = np.take_along_axis(np.stack(fields), choice[None, ..., None], 0)[0]
        error = np.take_along_axis(np.stack(errors), choice[None], 0)[0]
        past.append((frame, field, error))
        yield field


def _at(field: Field, flow: Field) -> Field:
    """A field looked up where a flow leads, by straight lines between pixels; outside the picture, that of the edge."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    to = x + flow[..., 0], y + flow[..., 1]
    return np.asarray(cv2.remap(field, *to, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _mismatch(there: Field, back: Field) -> Field:
    """|there + back|^2 in the first picture, (H, W) px^2: 0 where the way back undoes the way there. A mean over 5 x 5 pixels,
    since a wrong flow can close by chance at one pixel, and hardly at all of its neighbours."""
    return np.asarray(cv2.blur(((there + _at(back, there)) ** 2).sum(-1), (5, 5)), np.float32)


METHODS: dict[str, Pairwise] = {"dis": dis, "dis2x": dis2x, "farneback": farneback}
LADDERS = {"direct": _direct, "chained": _chained, "best": _best}


def epe(flow: Tensor, truth: Tensor, mask: Tensor | None = None, *, reduce: bool = True) -> Tensor:
    """End-point error |flow - truth|, px, of two fields (..., 2, H, W): the mean over `mask` (bool, as broadcast to
    (..., H, W)), or with reduce=False the map."""
    return _mean((flow - truth).square().sum(-3).sqrt(), mask, reduce)


def angular_error(flow: Tensor, truth: Tensor, mask: Tensor | None = None, *, reduce: bool = True) -> Tensor:
    """Angle between (u, v, 1) and (u', v', 1), degrees (Barron et al. 1994): unlike the end-point error, small motion counts
    as much as large. Arguments as of `epe`."""
    dot = 1 + (flow * truth).sum(-3)
    cross = flow[..., 0, :, :] * truth[..., 1, :, :] - flow[..., 1, :, :] * truth[..., 0, :, :]
    sine = ((flow - truth).square().sum(-3) + cross.square()).sqrt()  # times both lengths, as the dot product
    return _mean(torch.rad2deg(torch.atan2(sine, dot)), mask, reduce)


def _mean(error: Tensor, mask: Tensor | None, reduce: bool) -> Tensor:
    chosen = error if mask is None or not reduce else error[mask.expand_as(error)]
    if not chosen.numel():
        raise ValueError("flow: the mask leaves no pixel to take the mean over")
    return chosen.mean() if reduce else chosen


def remove_shift(flow: Tensor, still: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Take the camera's shake out: each field less its median vector.

    flow   (..., 2, H, W) px
    still  bool (H, W), pixels that belong to nothing that moves. None: all, which is right as long as more than half of the
           picture stands still, and takes the motion itself away where a swaying crown fills the frame

    Returns the flow and the shift that was taken, (..., 2). Only shifts are found: a turning or zooming camera remains.
    """
    values = flow.flatten(-2) if still is None else flow[..., still]
    if not values.shape[-1]:
        raise ValueError("remove_shift: no pixel is marked as still")
    shift = values.median(-1).values
    return flow - shift[..., None, None], shift
