"""Clips that play in a browser: WebM (VP9) through OpenCV, animated WebP and GIF through Pillow, H.264 through PyAV.

OpenCV also writes MP4 files with the codec `mp4v`, which no browser plays; they are not offered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...course.progress import progress
from ...lab.files import atomic_write
from ..flow import Picture, checked
from ..spectral import RATE

FASTEST = {".webm": 240, ".webp": 240, ".gif": 50, ".mp4": 240}  # frames per second


def check_clip(path: Path) -> None:
    """ValueError where `write_clip` cannot write to this name: another ending, or a part is missing that it needs."""
    ending = path.suffix.lower()
    if ending not in FASTEST:
        found = f"{path.name!r}; take .webm, which browsers play"
        raise ValueError(f"write_clip: the name must end in one of {', '.join(FASTEST)}, got {found}")
    if ending == ".mp4" and find_spec("av") is None:
        raise ValueError("write_clip: .mp4 needs PyAV: pip install av; .webm does without")


def write_clip(
    path: str | Path, frames: Iterable[Picture], rate: float = RATE, *, desc: str | None = "writing"
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
    check_clip(path)
    if not 0 < rate <= FASTEST[ending]:
        raise ValueError(f"write_clip: {ending} takes more than 0 and at most {FASTEST[ending]} frames per second")
    pictures = checked(progress(frames, desc, unit="frame", disable=desc is None), "write_clip")
    with atomic_write(path) as part:
        named = part.with_name(part.name + ending)  # OpenCV, Pillow and PyAV go by the ending
        try:
            {".webm": _webm, ".mp4": _mp4}.get(ending, _animation)(named, pictures, rate)
            os.replace(named, part)
        finally:
            named.unlink(missing_ok=True)


def _even(frames: Iterator[Picture]) -> Iterator[Picture]:
    for frame in frames:
        height, width = frame.shape[:2]
        yield np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")


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
    writer, code = cv2.VideoWriter(), cv2.VideoWriter.fourcc(*"VP90")
    unable = ValueError("write_clip: this OpenCV cannot write VP9; write .webp or .gif")
    try:
        for frame in _even(frames):
            size = frame.shape[1], frame.shape[0]
            if not writer.isOpened():
                with _hushed():
                    opened = writer.open(str(path), cv2.CAP_FFMPEG, code, rate, size)
                if not opened:
                    raise unable
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    if not path.is_file() or not path.stat().st_size:
        raise unable


def _animation(path: Path, frames: Iterator[Picture], rate: float) -> None:
    from PIL import Image

    every = list(frames)
    pictures, unit, how = [Image.fromarray(frame) for frame in every], 1, dict[str, Any](quality=85, method=2)
    if path.suffix == ".gif":
        some = np.concatenate([every[n] for n in np.unique(np.linspace(0, len(every) - 1, 8).astype(int))])
        # one palette for all frames, and no dithering: else the colours of what stands still flicker
        palette = Image.fromarray(some).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
        unit, how = 10, dict(disposal=1, optimize=False)
    # whole milliseconds, or hundredths of a second: rounded so that they add up to the right length
    lasts = np.diff(unit * np.round(1000 * np.arange(len(every) + 1) / rate / unit).astype(int)).tolist()
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=lasts, loop=0, **how)


def _mp4(path: Path, frames: Iterator[Picture], rate: float) -> None:
    import av

    if "libx264" not in av.codecs_available:
        raise ValueError("write_clip: this PyAV cannot write H.264; write .webm")
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options={"crf": "20"})
        stream.pix_fmt = "yuv420p"  # what all browsers play
        for n, frame in enumerate(_even(frames)):
            if n == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
