"""Clips that play in a browser: WebM (VP9) through OpenCV, animated WebP and GIF through Pillow, H.264 through PyAV.

OpenCV also writes MP4 files with the codec `mp4v`, which no browser plays; they are not offered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ...course.progress import progress
from ...lab.files import atomic_write
from ..spectral import RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

SUFFIXES = (".webm", ".webp", ".gif", ".mp4")
MAX_SIDE = 8192  # px


def write_clip(
    path: str | Path, frames: Iterable[Picture] | NDArray[np.uint8], rate: float = RATE, *, desc: str | None = "writing"
) -> None:
    """Write frames, uint8 (H, W, 3) RGB, to a file whose ending says how. They may come one by one.

        .webm  VP9: small and fine; a browser's <video loop> plays it without end
        .webp  a picture that moves, without end; 16 million colours
        .gif   the same for every program of the last thirty years; 256 colours, at most 50 frames per second
        .mp4   H.264, for telephones and slides; needs PyAV (`pip install av`)

    An odd last row or column is doubled for .webm and .mp4, whose colours come in squares of two. Written whole or not at all.
    Raises ValueError for another ending, for frames of different sizes, for none, and where a part is missing that it needs.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in SUFFIXES:
        advice = "; take .webm, which browsers play" if ending in (".avi", ".mov", ".mkv", ".m4v") else ""
        raise ValueError(f"write_clip: the name must end in one of {', '.join(SUFFIXES)}, got {path.name!r}{advice}")
    if not 0 < rate <= (50 if ending == ".gif" else 240):
        raise ValueError(
            f"write_clip: {ending} takes more than 0 and at most {50 if ending == '.gif' else 240} frames per second"
        )
    checked = _checked(progress(frames, desc, unit="frame", disable=desc is None))
    write = {".webm": _webm, ".webp": _webp, ".gif": _gif, ".mp4": _mp4}[ending]
    with atomic_write(path) as part:
        named = part.with_name(part.name + ending)  # OpenCV and PyAV go by the ending
        try:
            write(named, checked, rate)
            os.replace(named, part)
        finally:
            named.unlink(missing_ok=True)


def _checked(frames: Iterable[Any]) -> Iterator[Picture]:
    shape = None
    for n, frame in enumerate(frames):
        frame = np.asarray(frame)
        if (
            frame.dtype != np.uint8
            or frame.ndim != 3
            or frame.shape[2] != 3
            or not 0 < max(frame.shape[:2]) <= MAX_SIDE
        ):
            raise ValueError(f"write_clip: frames must be uint8 (H, W, 3), frame {n} is {frame.dtype}, {frame.shape}")
        if shape not in (None, frame.shape):
            raise ValueError(f"write_clip: frames must be of one size, frame 0 is {shape}, frame {n} is {frame.shape}")
        shape = frame.shape
        yield frame
    if shape is None:
        raise ValueError("write_clip: there are no frames")


def _even(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")


@contextmanager
def _hushed() -> Iterator[None]:
    """Without what OpenCV prints past Python: opening a WebM it says that a tag is not supported, and takes the right one."""
    try:
        kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # nothing is printed where there is no place for it
        yield
        return
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _webm(path: Path, frames: Iterator[Picture], rate: float) -> None:
    first = _even(next(frames))
    code = cv2.VideoWriter.fourcc(*"VP90")
    with _hushed():
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, (first.shape[1], first.shape[0]))
    try:
        if not writer.isOpened():
            raise ValueError("write_clip: this OpenCV cannot write VP9; write .webp or .gif")
        for frame in chain([first], frames):
            writer.write(cv2.cvtColor(_even(frame), cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    if not path.is_file() or not path.stat().st_size:
        raise ValueError("write_clip: OpenCV wrote nothing; write .webp or .gif")


def _durations(rate: float, unit: int) -> Iterator[int]:
    """Milliseconds of one frame after the other in whole units, which add up to the right length."""
    n = 0
    while True:
        start, end = (round(1000 * i / rate / unit) * unit for i in (n, n + 1))
        yield end - start
        n += 1


def _webp(path: Path, frames: Iterator[Picture], rate: float) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    lasts = [ms for ms, _ in zip(_durations(rate, 1), pictures)]
    more = dict(save_all=True, append_images=pictures[1:], duration=lasts, loop=0)
    pictures[0].save(path, format="WEBP", quality=85, method=2, **more)


def _gif(path: Path, frames: Iterator[Picture], rate: float) -> None:
    from PIL import Image

    every = list(frames)
    some = np.concatenate([every[n] for n in np.unique(np.linspace(0, len(every) - 1, 8).astype(int))])
    # one palette for all frames, and no dithering: else the colours of what stands still flicker
    palette = Image.fromarray(some).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in every]
    lasts = [ms for ms, _ in zip(_durations(rate, 10), pictures)]
    more = dict(save_all=True, append_images=pictures[1:], duration=lasts, loop=0)
    pictures[0].save(path, format="GIF", disposal=1, optimize=False, **more)


def _mp4(path: Path, frames: Iterator[Picture], rate: float) -> None:
    try:
        import av
    except ImportError as error:
        raise ValueError(
            "write_clip: .mp4 needs PyAV (pip install av), which writes H.264; .webm does without"
        ) from error
    if "libx264" not in av.codecs_available:
        raise ValueError("write_clip: this PyAV cannot write H.264; write .webm")
    first = _even(next(frames))
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options={"crf": "20"})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"  # what all browsers play
        for frame in chain([first], frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_even(frame), format="rgb24")))
        container.mux(stream.encode(None))
