"""Videos, animated GIF and WebP, and folders of pictures: frames with the times at which they are to be shown; and clips that
play in a browser, written.

    source = Source(path)
    with closing(frames(source)) as decoded:
        for seconds, picture in decoded:
            ...

OpenCV decodes, PyAV what it does not, and Pillow pictures. What a file says of itself need not be true: it stands in the
source, beside what was seen.

Clips are WebM (VP9) through OpenCV, animated WebP and GIF through Pillow, H.264 through PyAV. OpenCV also writes MP4 files with
the codec `mp4v`, which no browser plays; they are not offered.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..course.progress import progress
from .files import BoundedFile, FormatError, atomic_write, opened_image

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Frames = Generator[tuple[float, Picture], None, None]  # time in seconds, and what is shown then

FASTEST = {".webm": 240, ".webp": 240, ".gif": 50, ".mp4": 240}  # frames per second
READERS = ("auto", "opencv", "av")
MAX_SIDE = 8192  # px, of frames
MAX_ANIMATION = 1 << 23  # px, of a GIF's or WebP's frame: these are held several times while they are decoded
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MEND = "play it to see whether it is whole, and copy it again or convert it"

# How a file begins, so that FFmpeg never sees a playlist, which could name other files and addresses
CONTAINERS = re.compile(
    rb"....(ftyp|moov|mdat|wide|free|skip|pnot)|\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|OggS|\x30\x26\xb2\x75"
    rb"|\x00\x00\x01\xba|G.{187}G",
    re.DOTALL,
)


# ------------------------------------------------------------------------------------------------------------- decoding


@dataclass
class Source:
    """A file or a folder, and what is found out about it while its frames come."""

    path: Path
    start: float = 0.0  # seconds after its first frame: earlier ones are passed over
    codec: str = ""
    promised: float = 0.0  # frames, by the header
    header_rate: float = 0.0  # frames per second
    lasts: float = 0.0  # seconds that the last frame is shown, where the file says so
    fault: str = ""  # why decoding stopped, where it did not end
    unit: float = 0.0015  # seconds: steps differ by so much because the file rounds times
    seen: int = 0  # frames
    backward: int = 0  # of them, whose time is not after that of the one before, or that have none
    ended: float = 0.0  # seconds from the first of the others to the last

    def check_size(self, width: int, height: int, most: int = MAX_SIDE**2) -> None:
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= most):
            expected = f"at most {MAX_SIDE} pixels a side and {most / 1e6:.3g} million in all"
            raise FormatError(self.path, "size", expected, f"{width} x {height}", "shrink it first")


def frames(source: Source, folder_rate: float = 30.0, reader: str = "auto") -> Frames:
    """(seconds after the first frame, uint8 (H, W, 3) RGB) for each frame whose time is after that of the one before.

    folder_rate  frames per second of a folder's pictures, which are taken in the order of the numbers in their names
    reader       "opencv"; "av" is PyAV, if it is there (`pip install av`); "auto" asks PyAV where OpenCV gives no frame

    Frames before `source.start` are passed over. A video that is damaged ends early, and `source.fault` may say why. Raises
    FormatError where there is nothing, no video, not one frame, or one that is too large.
    """
    if reader not in READERS:
        raise ValueError(f"video: reader must be one of {', '.join(READERS)}, got {reader!r}")
    if reader == "av" and find_spec("av") is None:
        raise ValueError('video: reader "av" needs PyAV: pip install av')
    first, last = math.nan, -math.inf
    with closing(_decoded(source, folder_rate, reader)) as decoded:
        for when, picture in decoded:
            source.seen += 1
            if not when > last:  # nor is NaN
                source.backward += 1
                continue
            first, last = when if last == -math.inf else first, when
            source.ended = when - first
            if source.ended >= source.start - 1e-6:
                yield source.ended, picture
    if not source.seen and not source.fault:
        codec = f"AV1 ({source.codec})" if source.codec.upper() == "AV01" else source.codec
        found = f"none: {codec} is opened and cannot be decoded here, or the file is damaged"
        advice = "pip install av, or convert the video to H.264 or VP9"
        raise FormatError(source.path, "codec", "frames", found, advice)


def _decoded(source: Source, folder_rate: float, reader: str) -> Frames:
    path = source.path
    try:
        if path.is_dir():
            return _folder(source, list(path.iterdir()), folder_rate)
        if not path.is_file():
            raise FormatError(path, "file", "a video or a folder of frames", "nothing of that name")
        with path.open("rb") as file:
            head = file.read(400)
    except OSError as error:
        raise FormatError(path, "file", "one that can be read", str(error)) from error
    if head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return _animation(source)
    if not CONTAINERS.match(head):
        expected = "a video (MP4, MOV, WebM, MKV, AVI, ...), an animated GIF or WebP"
        raise FormatError(path, "file", expected, "another kind of file" if head else "an empty file")
    silent = reader == "auto" and find_spec("av") is not None and not _capture(path).grab()
    return _by_av(source) if silent or reader == "av" else _by_opencv(source)


def _capture(path: Path) -> Any:
    # by FFmpeg: OpenCV's other readers take some names for patterns of pictures' names
    return cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)


def _unopened(path: Path) -> FormatError:
    return FormatError(path, "file", "a video that can be opened", "damage, or a kind that is not known", MEND)


def _by_opencv(source: Source) -> Frames:
    capture = _capture(source.path)
    if not capture.isOpened():
        raise _unopened(source.path)
    try:
        name = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        source.codec = "".join(chr(c) for c in name if 32 < c < 127) or "unknown codec"
        source.promised, source.header_rate = (capture.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width or height:
            source.check_size(width, height)
        while (picture := capture.read()[1]) is not None:
            yield capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, picture[..., ::-1]
    except cv2.error as error:
        raise FormatError(source.path, "frames", "pictures that can be decoded", str(error)[:200]) from error
    finally:
        capture.release()


def _by_av(source: Source) -> Frames:
    import av

    try:
        container = av.open(str(source.path.absolute()))
    except Exception as error:  # FFmpeg's errors are many
        raise _unopened(source.path) from error
    with container:
        stream = next(iter(container.streams.video), None)
        if stream is None or stream.codec_context is None:
            raise _unopened(source.path)
        source.codec = stream.codec_context.name
        source.promised, source.header_rate = stream.frames, float(stream.average_rate or 0)
        try:
            for frame in container.decode(stream):
                source.check_size(frame.width, frame.height)
                turns = round(getattr(frame, "rotation", 0) / 90)  # anticlockwise, as the camera noted
                when = math.nan if frame.time is None else float(frame.time)
                yield when, np.rot90(frame.to_ndarray(format="rgb24"), turns)
        except FormatError:
            raise
        except Exception as error:
            source.fault = str(error)[:200]  # what comes before it may be enough


def _opened(file: BoundedFile, path: Path) -> Image.Image:
    try:
        return Image.open(file, formats=("GIF", "WEBP"))
    except Image.DecompressionBombError as error:
        raise FormatError(path, "size", f"at most {MAX_ANIMATION:,} pixels", "far more") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise FormatError(path, "image", "a whole image (GIF, WEBP)", f"damage ({str(error)[:200]})") from error


def _animation(source: Source) -> Frames:
    with BoundedFile(source.path) as file, _opened(file, source.path) as image:
        source.check_size(*image.size, MAX_ANIMATION)
        source.codec, source.unit = str(image.format), 0.0105 if image.format == "GIF" else 0.0015
        now = 0  # milliseconds, whole ones: their sum is exact
        for n in count():
            try:
                image.seek(n)
                picture = np.asarray(image.convert("RGB"))
            except EOFError:
                return
            except Exception as error:
                source.fault = str(error)[:200]  # what comes before it may be enough
                return
            yield now / 1000, picture
            lasts = image.info.get("duration", 0)
            # as browsers do, which show what asks for 10 ms or less for 100
            lasts = round(lasts) if isinstance(lasts, int | float) and 10 < lasts < 1e9 else 100
            source.lasts, now = lasts / 1000, now + lasts


def _folder(source: Source, inside: list[Path], rate: float) -> Frames:
    def key(file: Path) -> list[str | int]:  # frame 10 after frame 9
        return [int(part) if n % 2 else part for n, part in enumerate(re.split(r"(\d+)", file.name.lower()))]

    files = sorted((f for f in inside if f.suffix.lower() in SUFFIXES and f.name[0] != "."), key=key)
    if not files:
        raise FormatError(source.path, "folder", f"pictures ({', '.join(SUFFIXES)})", "none")
    source.codec, source.lasts, first = "a folder of pictures", 1 / rate, None
    for n, file in enumerate(files):
        with opened_image(file) as image:
            picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        first = first or picture.shape
        if picture.shape != first:
            expected = f"{first[1]} x {first[0]} px as {files[0].name}"
            raise FormatError(file, "size", expected, f"{picture.shape[1]} x {picture.shape[0]}")
        yield n / rate, picture


# -------------------------------------------------------------------------------------------------------------- writing


def check_clip(path: Path, rate: float) -> None:
    """ValueError where `write_clip` cannot write so: another ending, too fast for it, or a part is missing that it needs."""
    ending = path.suffix.lower()
    if ending not in FASTEST:
        found = f"{path.name!r}; take .webm, which browsers play"
        raise ValueError(f"write_clip: the name must end in one of {', '.join(FASTEST)}, got {found}")
    if ending == ".mp4" and find_spec("av") is None:
        raise ValueError("write_clip: .mp4 needs PyAV: pip install av; .webm does without")
    if not 0 < rate <= FASTEST[ending]:
        raise ValueError(f"write_clip: {ending} takes more than 0 and at most {FASTEST[ending]} frames per second")


def write_clip(
    path: str | Path, frames: Iterable[Picture], rate: float = 30.0, *, desc: str | None = "writing"
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
    check_clip(path, rate)
    ending = path.suffix.lower()
    pictures = checked(progress(frames, desc, unit="frame", disable=desc is None), "write_clip")
    with atomic_write(path) as part:
        named = part.with_name(part.name + ending)  # OpenCV, Pillow and PyAV go by the ending
        try:
            {".webm": _webm, ".mp4": _mp4}.get(ending, _animated)(named, pictures, rate)
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


def _animated(path: Path, frames: Iterator[Picture], rate: float) -> None:
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


def checked(frames: Iterable[Any], name: str, least: int = 1) -> Iterator[Picture]:
    """The frames one by one, each once it is seen to be a picture of `least` pixels a side or more and of the first's size.

    name: of the caller, for the ValueError's message.
    """
    shape = None
    for n, frame in enumerate(frames):
        frame = np.asarray(frame)
        found = f"frame {n} is {frame.dtype}, {frame.shape}"
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"{name}: frames must be uint8 (H, W, 3), {found}")
        if not least <= min(frame.shape[:2]) <= max(frame.shape[:2]) <= MAX_SIDE:
            raise ValueError(f"{name}: frames must have {least} to {MAX_SIDE} pixels a side, {found}")
        if shape not in (None, frame.shape):
            raise ValueError(f"{name}: frames must be of one size, frame 0 is {shape}, {found}")
        shape = frame.shape
        yield frame
    if shape is None:
        raise ValueError(f"{name}: there are no frames")
