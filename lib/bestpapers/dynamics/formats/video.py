"""The reader's own clip: a video file, an animated GIF or WebP, or a folder of frames, as T frames at a steady rate.

Frames are chosen by the time at which each is to be shown, never by counting against the rate in the header: headers lie, and a
telephone slows down in the dark. What makes a spectrum wrong while everything looks fine is looked for and said in the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from ...course.progress import progress
from ...lab.files import BoundedFile, FormatError, inside, opened_image
from .. import flow as flows
from ..spectral import FRAMES, RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    Frames = Iterator[tuple[float, Picture]]  # time in seconds, (H, W, 3) RGB

SIZE = (160, 256)  # height and width of the clip, px
MAX_SIDE = 8192  # px, of a video
MAX_ANIMATION = 1 << 23  # px, of a GIF's or WebP's frame: these are held several times while they are decoded
MAX_BYTES = 1 << 29  # of the clip's frames together
MAX_TAKEN = (
    20_000  # frames of the file for one clip: 150 of 5 seconds come from 5,000 at most, at 1,000 frames per second
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# How a file begins, so that FFmpeg never sees a playlist, which could name other files and addresses
CONTAINERS = re.compile(
    rb"....(ftyp|moov|mdat|wide|free|skip|pnot)|\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|OggS|\x30\x26\xb2\x75"
    rb"|\x00\x00\x01\xba|G.{187}G",
    re.DOTALL,
)
MEND = "copy it again, or convert what is whole"
NO_FRAME = ("AV01", "av01")  # codecs that OpenCV's wheels open, count, and give no frame of

DUPLICATE = 0.1  # times the largest of the four steps before, and of the four after: less is no step
DUPLICATES = 0.10  # share of such steps that is reported
CUT_LEVELS, CUT_TIMES, CUT_LIKENESS = (
    6.0,
    6.0,
    0.85,
)  # grey levels; times the median step; correlation of two small pictures
UNEVEN = 0.2  # share by which a step differs from the middle one
SHIFT = 0.3  # px that even the quietest tenth of the picture moves, on average over time: less is flow's own error
STILL = 0.3  # px that the liveliest hundredth of pixels move: flow finds half of it in noise
CHANGE = 6.0  # grey levels by which these change, blurred so that noise is less than 2
NOISE = 1.0  # grey levels: if no more changes, it is noise, whatever flow finds in an even sky


@dataclass(frozen=True)
class Finding:
    """Something that the reader should know. kind: one word or two, for programs; text: what was found and what to do."""

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

    frames: NDArray[np.uint8] = field(repr=False)
    times: NDArray[np.float64] = field(repr=False)
    rate: float
    report: Report

    def even(self, flow: Tensor) -> Tensor:
        """The flow (T, 2, H, W) of these frames at exactly n / rate: by straight lines between the times of the frames. Of a
        file at 24 or at changing frames per second this takes out the judder that choosing frames has put in."""
        times, first = np.unique(self.times, return_index=True)
        at = np.arange(len(self.times)) / self.rate
        high = np.clip(np.searchsorted(times, at), 1, max(1, len(times) - 1))
        if len(times) < 2:
            return flow.clone()
        part = np.clip((at - times[high - 1]) / (times[high] - times[high - 1]), 0, 1)
        weight = torch.from_numpy(part).to(flow)[:, None, None, None]
        low, up = (torch.from_numpy(first[i]).to(flow.device) for i in (high - 1, high))
        return flow[low] * (1 - weight) + flow[up] * weight


@dataclass
class _Source:
    path: Path
    codec: str
    frames: Frames
    promised: int = 0  # frames, by the header
    header_rate: float = 0.0  # frames per second
    last: float = 0.0  # seconds that the last frame lasts, where the file says so
    fault: str = ""  # why decoding stopped, where it did not end
    unit: float = 0.0015  # seconds: steps differ by so much because the file rounds times


def read_video(
    path: str | Path,
    *,
    frames: int = FRAMES,
    rate: float = RATE,
    start: float = 0.0,
    size: tuple[int, int] | None = SIZE,
    folder_rate: float = RATE,
    reader: Literal["auto", "opencv", "av"] = "auto",
    desc: str | None = "reading",
) -> Clip:
    """`frames` frames at `rate` per second of a video file, an animated GIF or WebP, or a folder of pictures.

    start        seconds after the file's first frame
    size         height and width, px: the picture is shrunk to cover it and cut at the sides, and both numbers are swapped
                 where the video stands upright. None: as it is
    folder_rate  frames per second of a folder's pictures, which are taken in the order of the numbers in their names
    reader       "opencv"; "av" is PyAV, if you have it (`pip install av`); "auto" asks PyAV where OpenCV gives no frame

    For each n the frame whose time is nearest to n / rate is taken. Clip.report says what to know: `variable rate`, `low rate`,
    `wrong header`, `gap`, `times`, `duplicates`, `cut`, `camera`, `still`.

    Raises:
        FormatError: no clip of these can be made: not there, no video, too short, damaged, too large, a codec that is not read.
    """
    path = Path(path)
    if frames < 2 or not rate > 0 or not start >= 0 or not folder_rate > 0 or (size and min(size) < flows.MIN_SIDE):
        raise ValueError("read_video: frames must be 2 or more, rates above 0, start 0 or later, size 16 or more")
    if reader not in ("auto", "opencv", "av"):
        raise ValueError(f'read_video: reader must be "auto", "opencv" or "av", got {reader!r}')
    with _source(path, folder_rate, reader) as source:
        return _taken(source, frames, rate, start, size, desc)


# --------------------------------------------------------------------------------------------------------------- sources


def _source(path: Path, folder_rate: float, reader: str) -> AbstractContextManager[_Source]:
    if path.is_dir():
        return nullcontext(_folder(path, folder_rate))
    head = _head(path)
    if head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return _animation(path)
    if not CONTAINERS.match(head):
        expected = "a video (MP4, MOV, WebM, MKV, AVI, ...), an animated GIF or WebP"
        raise FormatError(path, "file", expected, "another kind of file" if head else "an empty file")
    return _by_av(path) if reader == "av" or (reader == "auto" and _silent(path)) else _by_opencv(path)


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise FormatError(path, "file", "a video or a folder of frames", "nothing of that name")
        with path.open("rb") as file:
            return file.read(400)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, FormatError):
            raise
        raise FormatError(path, "file", "a file that can be read", str(error)) from error


def _size(path: Path, width: int, height: int, most: int = MAX_SIDE**2) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= most):
        expected = f"at most {MAX_SIDE} pixels a side and {most / 1e6:.3g} million in all"
        raise FormatError(path, "size", expected, f"{width} x {height}", "shrink it first")


def _opened(path: Path) -> Any:
    # FFmpeg, where OpenCV has it: the other readers take some names for patterns of pictures' names
    ffmpeg = cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends()
    with suppress(cv2.error):
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG if ffmpeg else cv2.CAP_ANY)
        if capture.isOpened():
            return capture
    return None


def _unopened(path: Path) -> FormatError:
    advice = "play it to see whether it is whole, and copy or convert it again"
    return FormatError(path, "file", "a video that can be opened", "damage, or a kind that is not known", advice)


def _codec(capture: Any) -> str:
    name = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    return "".join(chr(c) for c in name if 32 < c < 127) or "unknown codec"


def _silent(path: Path) -> bool:
    """Whether OpenCV gives no frame of a file, and PyAV is here to be asked."""
    from importlib.util import find_spec

    if find_spec("av") is None:
        return False
    capture = _opened(path)
    if capture is None:
        return True
    try:
        return not capture.grab()
    finally:
        capture.release()


@contextmanager
def _by_opencv(path: Path) -> Iterator[_Source]:
    capture = _opened(path)
    if capture is None:
        raise _unopened(path)
    try:
        codec = _codec(capture)
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width or height:
            _size(path, width, height)

        def frames() -> Frames:
            got = False
            try:
                while True:
                    ok, picture = capture.read()
                    if not ok:
                        break
                    got = True
                    colours = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
                    yield capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, colours
            except cv2.error as error:
                raise FormatError(path, "frames", "pictures that can be decoded", str(error)[:200]) from error
            if not got:
                raise _no_frame(path, codec)

        total = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = capture.get(cv2.CAP_PROP_FPS)
        yield _Source(path, codec, frames(), int(total) if 0 < total < 1e9 else 0, rate if 0 < rate < 1e6 else 0.0)
    finally:
        capture.release()


def _no_frame(path: Path, codec: str) -> FormatError:
    if codec in NO_FRAME:
        found = f"none: it is AV1 ({codec}), which this OpenCV opens and cannot decode"
        return FormatError(path, "codec", "frames", found, "pip install av, or convert the video to H.264 or VP9")
    found = f"none ({codec}): the file is damaged, or OpenCV cannot decode {codec}"
    return FormatError(
        path, "codec", "frames", found, "if it plays elsewhere, pip install av, or convert it to H.264 or VP9"
    )


@contextmanager
def _by_av(path: Path) -> Iterator[_Source]:
    try:
        import av
    except ImportError as error:
        raise ValueError('read_video: reader="av" needs PyAV: pip install av') from error
    try:
        container = av.open(str(path.absolute()))
    except Exception as error:  # FFmpeg's errors are many
        raise _unopened(path) from error
    with container:
        if not container.streams.video:
            raise FormatError(path, "file", "a video", "no picture in it")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise _unopened(path)
        _size(path, stream.codec_context.width, stream.codec_context.height)

        def frames() -> Frames:
            got = False
            try:
                for frame in container.decode(stream):
                    _size(path, frame.width, frame.height)
                    turns = round(getattr(frame, "rotation", 0) / 90)  # anticlockwise, as the camera noted
                    got = True
                    picture = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns), np.uint8)
                    yield -1.0 if frame.time is None else float(frame.time), picture
            except FormatError:
                raise
            except Exception as error:
                source.fault = str(error)[:200]  # what comes before it may be enough
            if not got:
                raise FormatError(path, "codec", "frames", f"none ({stream.codec_context.name})", "the file is damaged")

        source = _Source(path, stream.codec_context.name, iter(()), stream.frames, float(stream.average_rate or 0))
        source.frames = frames()
        yield source


@contextmanager
def _animation(path: Path) -> Iterator[_Source]:
    from PIL import Image

    with ExitStack() as stack:
        try:
            file = stack.enter_context(BoundedFile(path))
            image = stack.enter_context(Image.open(file, formats=("GIF", "WEBP")))
        except Image.DecompressionBombError as error:
            expected = f"at most {MAX_ANIMATION / 1e6:.3g} million pixels"
            raise FormatError(path, "size", expected, "far more", "shrink it first") from error
        except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
            raise FormatError(path, "file", "a whole GIF or WebP", f"damage ({str(error)[:200]})") from error
        _size(path, *image.size, MAX_ANIMATION)
        source = _Source(path, str(image.format), iter(()), unit=0.0105 if image.format == "GIF" else 0.0015)

        def frames() -> Frames:
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
                source.last, now = lasts / 1000, now + lasts

        source.frames = frames()
        yield source


def _folder(path: Path, rate: float) -> _Source:
    def key(name: str) -> list[tuple[int, int, str]]:  # frame 10 after frame 9
        parts = re.split(r"(\d{1,18})", name.lower())
        return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part]

    try:
        names = [p.name for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    except OSError as error:
        raise FormatError(path, "folder", "a folder that can be read", str(error)) from error
    if not names:
        raise FormatError(path, "folder", f"pictures ({', '.join(SUFFIXES)})", "none")
    names.sort(key=key)

    def frames() -> Frames:
        from PIL import ImageOps

        first = None
        for n, name in enumerate(names):
            file = inside(path, name, path, name[:80])
            with opened_image(file) as image:
                picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            if first not in (None, picture.shape):
                expected = f"{first[1]} x {first[0]} px as {names[0]}" if first else ""
                raise FormatError(file, "size", expected, f"{picture.shape[1]} x {picture.shape[0]}")
            first = picture.shape
            yield n / rate, picture

    return _Source(path, "a folder of pictures", frames(), len(names), rate, 1 / rate)


# ---------------------------------------------------------------------------------------------------------------- taking


def _taken(
    source: _Source, frames: int, rate: float, start: float, size: tuple[int, int] | None, desc: str | None
) -> Clip:
    """The clip: for every n the frame nearest in time, and the report."""
    path = source.path
    grid = np.arange(frames) / rate
    clip: Any = None
    picked, times = list[float](), list[float]()  # seconds since the clip's first frame: of the chosen frames, of all
    steps, likeness = list[float](), list[float]()
    origin = ended = 0.0
    width = height = seen = backward = 0
    last: Any = None
    with progress(total=frames, desc=desc, unit="frame", disable=desc is None) as bar:

        def keep(until: float) -> None:
            while len(picked) < frames and grid[len(picked)] <= until:
                clip[len(picked)] = last
                picked.append(times[-1])
                bar.update()

        for when, picture in source.frames:
            seen += 1
            if seen == 1:
                origin = ended = when
            elif not when > ended:
                backward += 1
                continue
            ended = when
            if when - origin < start - 1e-6:
                continue
            if not times:
                height, width = picture.shape[:2]
                _size(path, width, height)
                clip_start = when
            fitted = _fitted(picture, size)
            if clip is None:
                if frames * fitted.nbytes > MAX_BYTES:
                    found = f"{frames} of {fitted.shape[1]} x {fitted.shape[0]}"
                    expected = f"at most {MAX_BYTES >> 20} MB of frames"
                    raise FormatError(path, "size", expected, found, "give a smaller size=")
                clip = np.empty((frames, *fitted.shape), np.uint8)
            if len(times) == MAX_TAKEN:
                expected = f"at most {MAX_TAKEN} for {grid[-1]:.1f} s"
                found = f"{len(times) / times[-1]:.0f} per second"
                raise FormatError(path, "frames", expected, found, "convert it first")
            now = when - clip_start
            if last is not None:
                if last.shape != fitted.shape:
                    raise FormatError(path, f"frame {seen - 1}", "the size of the frames before it", "another size")
                keep((times[-1] + now) / 2)
                steps.append(_difference(last, fitted))
                likeness.append(_likeness(last, fitted))
            times.append(now)
            last = fitted
            if len(picked) == frames:
                break
        if times:
            lasts = source.last or (float(np.median(np.diff(times))) if len(times) > 1 else 0.0)
            keep(times[-1] + lasts + 1e-6)
    if backward > seen / 2:
        found = f"{backward} of {seen} that do not"
        raise FormatError(path, "times", "frames with times that rise", found, "convert it first")
    if len(picked) < frames:
        raise _short(source, ended - origin, times[-1] + lasts if times else 0.0, frames, rate, start)
    findings = [
        *_of_times(source, times, picked, rate, start, backward),
        *_of_pictures(clip, times, steps, likeness, start),
    ]
    taken = (len(times) - 1) / times[-1] if len(times) > 1 else rate
    report = Report(path, source.codec, width, height, len(times), times[-1] + lasts, taken, tuple(findings))
    return Clip(clip, np.array(picked), rate, report)


def _fitted(picture: Picture, size: tuple[int, int] | None) -> Picture:
    """Shrunk or enlarged to cover the size, and cut at the sides."""
    if size is None:
        return picture
    height, width = picture.shape[:2]
    tall, wide = size if (height <= width) == (size[0] <= size[1]) else size[::-1]
    scale = max(tall / height, wide / width)
    between = max(wide, round(width * scale)), max(tall, round(height * scale))
    if between != (width, height):
        picture = cv2.resize(picture, between, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)  # type: ignore[assignment]
    top, left = (between[1] - tall) // 2, (between[0] - wide) // 2
    return np.ascontiguousarray(picture[top : top + tall, left : left + wide])


def _short(source: _Source, ended: float, there: float, frames: int, rate: float, start: float) -> FormatError:
    """Why there are too few frames: decoding has stopped before the time that the header promises, or there is no more."""
    if source.fault:
        found = f"damage after {ended:.1f} s ({source.fault})"
        return FormatError(source.path, "frames", f"{frames / rate:.1f} s of them", found, MEND)
    promised = source.promised / source.header_rate if source.header_rate > 0 else 0.0
    if promised > 0 and ended < 0.9 * promised - 0.2:
        expected = f"{promised:.1f} s of them, as its header says"
        return FormatError(source.path, "frames", expected, f"{ended:.1f} s, then damage or the file's end", MEND)
    possible = int(there * rate + 1e-6)
    advice = "film for longer" + (f", or ask for frames={possible} or less" if possible > 1 else "")
    after = f" from second {start:g} on" if start else ""
    return FormatError(source.path, "length", f"{frames / rate:.1f} s{after}", f"{there:.1f} s: too short", advice)


# -------------------------------------------------------------------------------------------------------------- findings


def _of_times(
    source: _Source, times: list[float], picked: list[float], rate: float, start: float, backward: int
) -> Iterator[Finding]:
    steps = np.diff(times)
    if not len(steps):
        return
    middle, true = float(np.median(steps)), 1 / float(steps.mean())
    uneven = np.abs(steps - middle) > UNEVEN * middle + source.unit
    gap = int(steps.argmax())
    if steps[gap] > max(0.2, 4 * middle):
        yield Finding(
            "gap",
            f"No frame for {steps[gap]:.1f} s after second {start + times[gap]:.1f}: the file is damaged there, or the camera "
            "paused. Take a part without it (start=).",
        )
    if uneven.mean() > 0.05:
        yield Finding(
            "variable rate",
            f"The steps between frames are {1000 * steps.min():.0f} to {1000 * steps.max():.0f} ms long. Frames were chosen by "
            "their times, each within half a step, and Clip.even takes the rest out of the flow. Better film at a fixed rate.",
        )
    if source.header_rate > 0 and abs(source.header_rate / true - 1) > 0.05:
        yield Finding(
            "wrong header",
            f"The header says {source.header_rate:.4g} frames per second, the frames' times say {true:.4g}. The times are "
            "believed, so there is nothing to do.",
        )
    repeated = len(picked) - len(set(picked))
    if repeated > 0.02 * len(picked):
        yield Finding(
            "low rate",
            f"The file has {true:.3g} frames per second and {rate:g} are asked for, so {repeated} of {len(picked)} frames "
            "repeat the one before. Put the flow through Clip.even, or film with a higher rate.",
        )
    if backward:
        yield Finding("times", f"{backward} frames whose time is not after that of the one before were left out.")


def _difference(one: Picture, other: Picture) -> float:
    """Mean difference of two frames, grey levels."""
    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size


def _likeness(one: Picture, other: Picture) -> float:
    """Correlation of two frames shrunk to 32 x 18 px: near 1 while the scene is the same, also when it gets brighter."""
    small = [cv2.resize(p, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float64).mean(-1) for p in (one, other)]
    a, b = (s - s.mean() for s in small)
    return float((a * b).sum() / max(1e-9, np.sqrt((a * a).sum() * (b * b).sum())))


def _of_pictures(
    clip: NDArray[np.uint8], times: list[float], steps: list[float], likeness: list[float], start: float
) -> Iterator[Finding]:
    step, alike = np.array(steps), np.array(likeness)
    if not len(step):
        return
    cuts = np.flatnonzero((alike < CUT_LIKENESS) & (step > max(CUT_LEVELS, CUT_TIMES * float(np.median(step)))))
    if len(cuts):
        at = ", ".join(f"{start + times[i + 1]:.2f}" for i in cuts[:5]) + (" ..." if len(cuts) > 5 else "")
        edges = [0.0, *(times[i + 1] for i in cuts), times[-1]]
        length, since = max((b - a, a) for a, b in pairwise(edges))
        yield Finding(
            "cut",
            f"The picture changes from one frame to the next at second {at}: a cut, or a knock against the camera. Motion "
            f"across it means nothing. The longest stretch without one has {length:.1f} s: start={start + since:.2f}.",
        )
    else:  # flow across a cut says nothing about a camera
        camera = list(_of_motion(clip))
        yield from camera
        if any(finding.kind == "still" for finding in camera):
            return
    # between steps that are no small ones: near a turning point the steps before or after are small as well
    sides = [min(step[max(0, i - 4) : i].max(initial=0), step[i + 1 : i + 5].max(initial=0)) for i in range(len(step))]
    double, lively = step < DUPLICATE * np.array(sides), np.array(sides) > 0.5 * np.percentile(step, 90)
    if (double & lively).mean() > DUPLICATES:
        yield Finding(
            "duplicates",
            f"{int(double.sum())} of {len(step)} steps show nearly the same frame again: the clip was made from one with fewer "
            "frames per second, or pressed so hard that frames repeat, and its spectrum is wrong. Take the original.",
        )


def _of_motion(clip: NDArray[np.uint8]) -> Iterator[Finding]:
    """Camera motion and stillness, from the flow to a dozen frames."""
    chosen = clip[np.unique(np.linspace(0, len(clip) - 1, 13).astype(int))]
    if min(clip.shape[1:3]) < flows.MIN_SIDE:
        return
    fields = flows.estimate(chosen, "dis", desc=None)[1:]
    steady, shift = flows.remove_shift(fields)
    whole, rest = flows.how_much(fields), flows.how_much(steady)
    camera = whole.least > SHIFT
    if camera:
        common = float(shift.norm(dim=1).mean())
        turns = "it turns or zooms too, so use a tripod"
        advice = turns if rest.least > SHIFT else "flow.remove_shift takes it; better, use a tripod"
        yield Finding(
            "camera",
            f"Even the quietest tenth of the picture moves by {whole.least:.1f} px on average: the camera moves, or a plant "
            f"fills the frame. Without the shift common to all ({common:.1f} px), {rest.least:.1f} px are left: "
            f"{advice}.",
        )
    blurred = np.stack([cv2.blur(frame, (5, 5)) for frame in chosen]).astype(np.float32).mean(-1)
    # what moves and flow does not see: a flame, a bar on plain ground
    change = float(np.percentile(blurred.std(0), 99))
    if change < NOISE or (rest.largest < STILL and (camera or change < CHANGE)):
        by = f"changes by {change:.1f} grey levels" if change < NOISE else f"moves by {rest.largest:.2f} px"
        yield Finding(
            "still",
            f"Nothing moves: even the liveliest hundredth of the picture {by} only"
            + (", the camera's motion apart" if camera else "")
            + ". Film something that sways, from nearer.",
        )
