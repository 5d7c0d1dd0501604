"""The reader's own clip: a video file, an animated GIF or WebP, or a folder of frames, as T frames at a steady rate.

Frames are chosen by the time at which each is to be shown, never by counting against the rate in the header: headers lie, and a
telephone slows down in the dark. What makes a spectrum wrong while everything looks fine is looked for and said in the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ...course.progress import progress
from ...lab.files import FormatError
from ...lab.video import MEND, Frames, Picture, Source
from ...lab.video import frames as decode
from .. import flow as flows
from ..flow import MIN_SIDE
from ..spectral import FRAMES, RATE

SIZE = (160, 256)  # height and width of the clip, px
MAX_BYTES = 1 << 29  # of the clip's frames together
DUPLICATE = 0.1  # times the largest of the four steps before, and of the four after: less is no step
DUPLICATES = 0.10  # share of such steps that is reported
CUT_LEVELS, CUT_TIMES = 6.0, 6.0  # grey levels, and times the median step, by which the picture changes at a cut
CUT_LIKENESS = 0.85  # correlation of two small pictures, below which they show different things
UNEVEN = 0.2  # share by which a step differs from the middle one
SHIFT = 0.3  # px that even the quietest tenth of the picture moves, on average over time: less is flow's own error
STILL = 0.3  # px that the liveliest hundredth of pixels move: flow finds half of it in noise
CHANGE = 6.0  # grey levels by which these change, blurred so that noise is less than 2
NOISE = 1.0  # grey levels: if no more changes, it is noise, whatever flow finds in an even sky

# Read by who calls the library and by who types a command, so they name no argument of either
FINDINGS = {
    "gap": "No frame for {longest:.1f} s after second {after:.1f}: the file is damaged there, or the camera paused. "
    "Take a part without it.",
    "variable rate": "The steps between frames are {least:.0f} to {most:.0f} ms long. Frames were chosen by their times, "
    "each within half a step; evening the flow out in time takes out the rest. Better film at a fixed rate.",
    "wrong header": "The header says {header:.4g} frames per second, the frames' times say {true:.4g}. The times are "
    "believed, so there is nothing to do.",
    "low rate": "The file has {true:.3g} frames per second and {rate:g} are asked for, so {repeated} of {frames} frames "
    "repeat the one before. Evening the flow out in time takes out the halts; better film with a higher rate.",
    "times": "{backward} frames whose time is not after that of the one before were left out.",
    "cut": "The picture changes from one frame to the next at second {at}: a cut, or a knock against the camera. Motion "
    "across it means nothing. The longest stretch without one has {length:.1f} s, from second {since:.2f} on.",
    "camera": "Even the quietest tenth of the picture moves by {least:.1f} px on average: the camera moves, or a plant "
    "fills the frame. Without the shift common to all ({common:.1f} px), {left:.1f} px are left: {advice}.",
    "still": "Nothing moves: even the liveliest hundredth of the picture {by} only{but}. Film something that sways, from "
    "nearer.",
    "duplicates": "{double} of {steps} steps show nearly the same frame again: the clip was made from one with fewer "
    "frames per second, or pressed so hard that frames repeat, and its spectrum is wrong. Take the original.",
}


@dataclass(frozen=True)
class Finding:
    """Something that the reader should know. kind: a key of FINDINGS; text: what was found and what to do."""

    kind: str
    text: str


@dataclass(frozen=True)
class Report:
    """What a clip was made from. frames, seconds: that were taken of the file; rate: frames per second by their times."""

    source: Path
    codec: str
    width: int
    height: int
    frames: int
    seconds: float
    rate: float
    findings: tuple[Finding, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(finding.kind for finding in self.findings)

    def __str__(self) -> str:
        head = f"{self.source.name}: {self.codec}, {self.width} x {self.height}, {self.frames} frames taken"
        lines = [f"{head}, {self.seconds:.1f} s, {self.rate:.4g} per second"]
        lines += [f"- {finding.kind}: {finding.text}" for finding in self.findings] or ["- nothing to complain about"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Clip:
    """frames: uint8 (T, H, W, 3) RGB, `rate` per second. times: (T,) float64 seconds, when each was really shown, counted from
    the first: within half a step of n / rate, and equal for two n where the file had no newer frame."""

    frames: Picture = field(repr=False)
    times: NDArray[np.float64] = field(repr=False)
    rate: float
    report: Report

    def even(self, flow: Tensor) -> Tensor:
        """The flow (T, 2, H, W) of these frames at exactly n / rate: by straight lines between the times of the frames. Of a
        file at 24 or at changing frames per second this takes out the judder that choosing frames has put in."""
        times, first = np.unique(self.times, return_index=True)
        at = np.arange(len(self.times)) / self.rate
        weights = np.stack([np.interp(at, times, one) for one in np.eye(len(times))], 1)  # (T, different frames)
        different = flow[torch.from_numpy(first).to(flow.device)]
        return torch.einsum("tn,n...->t...", torch.from_numpy(weights).to(flow), different)


def read_video(
    path: str | Path, *, frames: int = FRAMES, rate: float = RATE, start: float = 0.0,
    size: tuple[int, int] | None = SIZE, folder_rate: float = RATE, reader: str = "auto", desc: str | None = "reading",
) -> Clip:  # fmt: skip
    """`frames` frames at `rate` per second of a video file, an animated GIF or WebP, or a folder of pictures.

    start        seconds after the file's first frame
    size         height and width, px: the picture is shrunk to cover it and cut at the sides, and both numbers are swapped
                 where the video stands upright. None: as it is
    folder_rate  frames per second of a folder's pictures, which are taken in the order of the numbers in their names
    reader       "opencv"; "av" is PyAV, if you have it (`pip install av`); "auto" asks PyAV where OpenCV gives no frame

    For each n the frame whose time is nearest to n / rate is taken. Clip.report says what to know: see FINDINGS.
    Raises FormatError where no clip can be made: nothing there, no video, too short, damaged, too large, a codec not read.
    """
    if frames < 2 or not rate > 0 or not start >= 0 or not folder_rate > 0 or (size and min(size) < MIN_SIDE):
        raise ValueError("read_video: frames must be 2 or more, rates above 0, start 0 or later, size 16 or more")
    source = Source(Path(path), start)
    with closing(decode(source, folder_rate, reader)) as decoded:
        return _taken(source, progress(decoded, desc, unit="frame", disable=desc is None), frames, rate, size)


def _taken(source: Source, decoded: Frames, frames: int, rate: float, size: tuple[int, int] | None) -> Clip:
    """The clip: for every n the frame nearest in time, and the report."""
    path, grid = source.path, np.arange(frames) / rate
    chosen, picked = list[Picture](), list[float]()  # frames of the clip, and when each is shown
    times, steps, likeness = list[float](), list[float](), list[float]()  # of all frames that were looked at
    begin, last, shape = 0.0, np.zeros(0, np.uint8), (0, 0, 0)

    def keep(until: float) -> None:
        while len(chosen) < frames and grid[len(chosen)] <= until:
            chosen.append(last)
            picked.append(times[-1])

    for when, picture in decoded:
        tall, wide = _sides(picture, size)
        if frames * 3 * tall * wide > MAX_BYTES:  # before it is enlarged
            expected, found = f"at most {MAX_BYTES >> 20} MB", f"{frames} of {wide} x {tall}"
            raise FormatError(path, "frames", expected, found, "ask for fewer frames or a smaller size")
        fitted = np.ascontiguousarray(picture) if size is None else _fitted(picture, tall, wide)
        if not times:
            begin, shape = when, picture.shape
        elif last.shape != fitted.shape:
            raise FormatError(path, f"frame {source.seen - 1}", "the size of the frames before it", "another size")
        else:
            keep((times[-1] + when - begin) / 2)
            steps.append(float(cv2.norm(last, fitted, cv2.NORM_L1)) / last.size)  # grey levels, on average
            likeness.append(_likeness(last, fitted))
        times.append(when - begin)
        last = fitted
        if len(chosen) == frames:
            break
    if source.backward > source.seen / 2:
        found = f"{source.backward} of {source.seen} that do not"
        raise FormatError(path, "times", "frames with times that rise", found, "convert it first")
    there = 0.0  # seconds that the frames fill; a single one fills none
    if len(times) > 1:
        there = times[-1] + (source.lasts or float(np.median(np.diff(times))))
        keep(there - 1e-6)
    if len(chosen) < frames:
        raise _short(source, there, frames, rate)
    clip = np.stack(chosen)
    findings = *_of_times(source, times, picked, rate), *_of_pictures(source, clip, times, np.array(steps), likeness)
    report = Report(path, source.codec, shape[1], shape[0], len(times), there, (len(times) - 1) / times[-1], findings)
    return Clip(clip, np.array(picked), rate, report)


def _sides(picture: Picture, size: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width to bring a picture to: those of the size, upright where it is; its own for None."""
    tall, wide, _ = picture.shape
    return (tall, wide) if size is None else size if (tall <= wide) == (size[0] <= size[1]) else size[::-1]


def _fitted(picture: Picture, tall: int, wide: int) -> Picture:
    """Shrunk or enlarged to cover the size, and cut at the sides."""
    return np.asarray(ImageOps.fit(Image.fromarray(picture), (wide, tall), Image.Resampling.BICUBIC))


def _short(source: Source, there: float, frames: int, rate: float) -> FormatError:
    """Why there are too few frames: decoding has stopped before the time that the header promises, or there is no more."""
    promised = max(0.0, source.promised / source.header_rate) if source.header_rate > 0 else 0.0
    if source.fault or source.ended < 0.9 * promised - 0.2:
        expected = f"{promised or frames / rate:.1f} s of them" + (", as its header says" if promised else "")
        found = f"{source.ended:.1f} s, then damage or the file's end {source.fault}".strip()
        return FormatError(source.path, "frames", expected, found, MEND)
    possible = math.ceil((there - 1e-6) * rate)
    advice = "film for longer" + (f", or ask for {possible} frames or fewer" if possible > 1 else "")
    after = f" from second {source.start:g} on" if source.start else ""
    return FormatError(source.path, "length", f"{frames / rate:.1f} s{after}", f"{there:.1f} s: too short", advice)


def _finding(kind: str, **numbers: Any) -> Finding:
    return Finding(kind, FINDINGS[kind].format(**numbers))


def _of_times(source: Source, times: list[float], picked: list[float], rate: float) -> Iterator[Finding]:
    steps = np.diff(times)
    middle, true, gap = float(np.median(steps)), 1 / float(steps.mean()), int(steps.argmax())
    if steps[gap] > max(0.2, 4 * middle):
        yield _finding("gap", longest=steps[gap], after=source.start + times[gap])
    if (np.abs(steps - middle) > UNEVEN * middle + source.unit).mean() > 0.05:
        yield _finding("variable rate", least=1000 * steps.min(), most=1000 * steps.max())
    if source.header_rate > 0 and abs(source.header_rate / true - 1) > 0.05:
        yield _finding("wrong header", header=source.header_rate, true=true)
    repeated = len(picked) - len(set(picked))
    if repeated > 0.02 * len(picked):
        yield _finding("low rate", true=true, rate=rate, repeated=repeated, frames=len(picked))
    if source.backward:
        yield _finding("times", backward=source.backward)


def _likeness(one: Picture, other: Picture) -> float:
    """Correlation of two frames shrunk to 32 x 18 px: near 1 while the scene is the same, also when it gets brighter."""
    small = [cv2.resize(p, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float64).mean(-1) for p in (one, other)]
    a, b = (s - s.mean() for s in small)
    return float((a * b).sum() / max(1e-9, np.sqrt((a * a).sum() * (b * b).sum())))


def _of_pictures(
    source: Source, clip: Picture, times: list[float], step: NDArray[np.float64], likeness: list[float]
) -> Iterator[Finding]:
    sudden = step > max(CUT_LEVELS, CUT_TIMES * float(np.median(step)))
    cuts = np.flatnonzero(sudden & (np.array(likeness) < CUT_LIKENESS))
    if len(cuts):
        edges = [0.0, *(times[i + 1] for i in cuts), times[-1]]
        length, since = max((b - a, a) for a, b in pairwise(edges))
        at = ", ".join(f"{source.start + edge:.2f}" for edge in edges[1:-1][:5]) + (" ..." if len(cuts) > 5 else "")
        yield _finding("cut", at=at, length=length, since=source.start + since)
    else:  # flow across a cut says nothing about a camera
        seen = list(_of_motion(clip))
        yield from seen
        if any(finding.kind == "still" for finding in seen):
            return
    # between steps that are no small ones: near a turning point the steps before or after are small as well
    sides = [min(step[max(0, i - 4) : i].max(initial=0), step[i + 1 : i + 5].max(initial=0)) for i in range(len(step))]
    double, lively = step < DUPLICATE * np.array(sides), np.array(sides) > 0.5 * np.percentile(step, 90)
    if (double & lively).mean() > DUPLICATES:
        yield _finding("duplicates", double=int(double.sum()), steps=len(step))


def _of_motion(clip: Picture) -> Iterator[Finding]:
    """Camera motion and stillness, from the flow to a dozen frames."""
    if min(clip.shape[1:3]) < MIN_SIDE:
        return
    chosen = clip[np.unique(np.linspace(0, len(clip) - 1, 13).astype(int))]
    fields = flows.estimate(chosen, "dis", desc=None)[1:]
    steady, shift = flows.remove_shift(fields)
    # of the mean over time of how far pixels move: that of the quietest tenth, and of the liveliest hundredth
    (least, _), (left, largest) = (np.percentile(f.norm(dim=1).mean(0).numpy(), [10, 99]) for f in (fields, steady))
    camera = least > SHIFT
    if camera:
        turns = "it turns or zooms too, so use a tripod"
        advice = turns if left > SHIFT else "taking out that shift is enough; better, use a tripod"
        yield _finding("camera", least=least, common=float(shift.norm(dim=1).mean()), left=left, advice=advice)
    blurred = np.stack([cv2.blur(frame, (5, 5)) for frame in chosen]).astype(np.float32).mean(-1)
    # what moves and flow does not see: a flame, a bar on plain ground
    change = float(np.percentile(blurred.std(0), 99))
    if change < NOISE or (largest < STILL and (camera or change < CHANGE)):
        by = f"changes by {change:.1f} grey levels" if change < NOISE else f"moves by {largest:.2f} px"
        yield _finding("still", by=by, but=", the camera's motion apart" if camera else "")
