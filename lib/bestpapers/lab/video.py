"""Videos, animated GIF and WebP, and folders of pictures, decoded: frames with the times at which they are to be shown.

    source = Source(path)
    with closing(frames(source)) as decoded:
        for seconds, picture in decoded:
            ...

OpenCV decodes, PyAV what it does not, and Pillow pictures. What a file says of itself need not be true: it stands in the
source, beside what was seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .files import BoundedFile, FormatError, opened_image

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Frames = Generator[tuple[float, Picture], None, None]  # time in seconds, and what is shown then

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
