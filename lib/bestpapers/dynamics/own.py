"""A picture or a video of the reader's own, brought to the form that everything here works with: a picture and its motion.

A model knows one size. A picture of another shape is made to fit into that size whole, what is left on two sides is filled by
its mirror images, and the motion is cut out and brought to the picture's size along its edges (`render.guided`): nothing of the
picture is cut off or stretched (ours). A video is shrunk to cover its size, and cut at the sides: it is measured, and nothing
should be made up in it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..course.progress import progress
from ..lab.files import FormatError, opened_image
from . import flow as flows
from . import loop, modal
from .formats import Clip, read_spectrum
from .render import guided
from .spectral import FRAMES, RATE, between, first_frame, motion, volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .model import Animator

    Picture = NDArray[np.uint8]
    Pair = tuple[float, float]  # x, y

LEAST_SIDE = 16  # px
PULLING = 0.5  # s that a clip of a pull takes until it lets go
FARTHEST = 0.2  # of the picture's smaller side: a pull ends where anything would go farther than this and than it
LEAST_SHARE = 0.1  # of a pull: what goes no farther "hardly moves"
LONGEST = 1 << 30  # bytes of a motion
LOOPS = ("cross-faded", "projected", "detrended", "naive")
GUIDED = "guided"  # one more, for which the motion has to be drawn so
CLOSED = ("projected", "detrended", GUIDED)  # loops whose last frame is frame 0 again


class Moving(NamedTuple):
    """A picture and its motion.

    picture  uint8 (H, W, 3)
    S        complex64 (K, 2, H, W), px of the picture, with F_0 = 0
    coarse   the same before it was brought to the picture's size, (K, 2, h, w), px of its own
    scale    px of this picture for one px of the reader's file: (x, y)
    """

    picture: Picture
    S: Tensor
    coarse: Tensor
    scale: tuple[float, float] = (1.0, 1.0)
    frames: int = FRAMES
    rate: float = RATE


def read_picture(path: str | Path, size: int) -> tuple[Picture, tuple[float, float]]:
    """A picture upright, with at most `size` px a side, uint8 (H, W, 3), and its scale (x, y); smaller ones stay as they are.

    Raises FormatError for what is no picture, or has a side of less than 16 px.
    """
    from PIL import Image, ImageOps

    path = Path(path)
    if not path.is_file():
        raise FormatError(path, "file", "a picture", "a folder" if path.is_dir() else "nothing of that name")
    with opened_image(path) as image:
        full = ImageOps.exif_transpose(image).convert("RGB")
    share = min(1.0, size / max(full.size))
    width, height = (max(1, round(side * share)) for side in full.size)
    if min(width, height) < LEAST_SIDE:
        found = f"{full.width} x {full.height}" + (f", made {width} x {height}" if share < 1 else "")
        raise FormatError(path, "size", f"{LEAST_SIDE} pixels or more a side", found, "cut out a part")
    small = full.resize((width, height), Image.Resampling.LANCZOS)
    return np.array(small), (width / full.width, height / full.height)


def framed(picture: Picture, height: int, width: int) -> tuple[Picture, tuple[slice, slice]]:
    """A picture of any shape whole in a frame (height, width, 3), the rest its mirror images; and where it lies in it."""
    share = min(height / picture.shape[0], width / picture.shape[1])
    h, w = (max(1, round(side * share)) for side in picture.shape[:2])
    if min(h, w) < LEAST_SIDE:
        found = f"a picture of {picture.shape[1]} x {picture.shape[0]} px is {w} x {h} in a frame of {width} x {height}"
        raise ValueError(f"framed: {found}: too long, {LEAST_SIDE} are needed; cut out a part")
    small = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC)
    top, left = (height - h) // 2, (width - w) // 2
    pads = ((top, height - h - top), (left, width - w - left), (0, 0))
    return np.pad(small, pads, "symmetric"), (slice(top, top + h), slice(left, left + w))


def imagined(
    picture: Picture, animator: Animator, seed: int = 0, calls: int = 50, *,
    guidance: float = 0.0, closing: float | None = None, scale: tuple[float, float] = (1.0, 1.0),
    desc: str | None = "motion",
) -> Moving:  # fmt: skip
    """A picture uint8 (H, W, 3) of any shape, and motion that the model draws for it.

    calls     of the network
    guidance  w of classifier-free guidance; 0: as the model has learned it
    closing   weight of motion self-guidance towards a loop (paper Eq. 5); None: without
    """
    whole, (rows, columns) = framed(picture, animator.config.height, animator.config.width)
    more: dict[str, Any] = {}
    if closing is not None:
        generator = torch.Generator(animator.codec.mean.device).manual_seed(seed)
        more = dict(energy=loop.closure_energy, weight=closing, generator=generator)
    with progress(total=calls, desc=desc, disable=desc is None) as bar:
        if animator.objective == "noise":
            more |= dict(after=lambda number, clean: bar.update())
        S = animator.draw(whole, [seed], calls, guidance=guidance, **more)[0].cpu()
    coarse = S[..., rows, columns].contiguous()
    return Moving(picture, brought(coarse, picture), coarse, scale)


def kept(path: str | Path, picture: str | Path, size: int) -> Moving:
    """A spectral volume from a file, and the file of the picture that it is of."""
    file, path = read_spectrum(path), Path(path)
    K, _, h, w = file.spectrum.shape
    if not 3 <= K <= (file.frames + 1) // 2:
        raise FormatError(path, "slices", f"3 to {(file.frames + 1) // 2} of {file.frames} frames", f"{K}")
    found, scale = read_picture(picture, size)
    H, W, _ = found.shape
    if abs(math.log(H * w / (W * h))) > 0.03:
        expected = f"the shape of the volume {path}, {w} x {h}"
        raise FormatError(Path(picture), "size", expected, f"{W} x {H}", "give the picture that the volume is of")
    S = first_frame(file.spectrum)
    return Moving(found, brought(S, found), S, scale, file.frames, file.rate)


def measured(clip: Clip, slices: int, method: str = "dis2x", ladder: Any = "direct", steady: bool = False) -> Tensor:
    """The motion of a clip, (T, 2, H, W) px, evened out in time. steady: less the camera's shake."""
    if not 3 <= slices <= (len(clip.frames) + 1) // 2:
        raise ValueError(f"{len(clip.frames)} frames have 3 to {(len(clip.frames) + 1) // 2} slices, not {slices}")
    fields = clip.even(flows.estimate(clip.frames, method, ladder))
    return flows.remove_shift(fields)[0] if steady else fields


def filmed(clip: Clip, flow: Tensor, slices: int) -> Moving:
    """The first frame of a clip, and its motion (T, 2, H, W)."""
    S = first_frame(volume(flow, slices))
    return Moving(clip.frames[0], S, S, frames=len(flow), rate=clip.rate)


def brought(S: Tensor, picture: Picture) -> Tensor:
    """A volume at the size of the picture."""
    return S if S.shape[-2:] == picture.shape[:2] else guided(S, picture)


def looped(moving: Moving, way: str = LOOPS[0], overlap: int = 15) -> Tensor:
    """The motion as a loop (T', 2, H, W); the last frame is frame 0 again for those of CLOSED, see `loop.played`."""
    S = loop.projected(moving.S, moving.frames) if way == "projected" else moving.S
    fits(moving, moving.frames)
    flow = motion(S, moving.frames)
    if way == "cross-faded":
        return loop.cross_faded(flow, overlap)
    return loop.detrended(flow) if way == "detrended" else flow


def slowed(flow: Tensor, slow: float) -> Tensor:
    """A loop that takes `slow` times as long, by straight lines between its frames."""
    if slow == 1:
        return flow
    times = torch.arange(round(len(flow) * slow), dtype=torch.float64) / slow
    return between(torch.cat([flow, flow[:1]]), times)  # after the last frame comes frame 0


def placed(picture: Picture, scale: Pair, at: Pair, pull: Pair) -> tuple[float, float, float, float]:
    """A point of the reader's file and its pull, in px of the picture: x, y, dx, dy. ValueError for what is not in there."""
    (H, W, _), (right, down) = picture.shape, scale
    x, y, dx, dy = at[0] * right, at[1] * down, pull[0] * right, pull[1] * down
    if not (0 <= x <= W - 1 and 0 <= y <= H - 1):
        most = f"x is 0 to {(W - 1) / right:.0f}, y is 0 to {(H - 1) / down:.0f}"
        raise ValueError(f"the point {at[0]:g},{at[1]:g} is not in the picture; {most}")
    if math.hypot(dx, dy) > math.hypot(W, H):
        most = f"its diagonal is {math.hypot(W / right, H / down):.0f} px long"
        raise ValueError(f"the pull {pull[0]:g},{pull[1]:g} is longer than the picture; {most}")
    return x, y, dx, dy


def pulled(
    moving: Moving, at: Pair, pull: Pair, *, seconds: float = 5.0, damping: float = 1.0, slow: float = 1.0
) -> tuple[Tensor, float]:
    """A point drawn aside within half a second, from the still, and let go: motion (T, 2, H, W), and the share of the pull.

    at, pull  x and y in px of the reader's file
    damping   times the supplement's; slow: times as slow, exactly

    A pull ends where anything would move by more than the pull and a fifth of the picture's smaller side. ValueError for a
    point that is not in the picture, a pull longer than its diagonal, or if less than a tenth of the pull is left so.
    """
    (H, W, _), (right, down) = moving.picture.shape, moving.scale
    x, y, dx, dy = placed(moving.picture, moving.scale, at, pull)
    point = "{:g},{:g}".format(*at)
    modes = modal.Modes.of(moving.S, frames=moving.frames, rate=moving.rate).damped(damping)
    row, column = divmod(int(modes.mobility().argmax()), W)
    advice = f"what moves most is at {column / right:.0f},{row / down:.0f}"
    try:
        pose = modal.pull(modes, x, y, dx, dy)
    except ValueError as error:
        raise ValueError(f"nothing moves at {point}; {advice}") from error
    farthest = float(modal.displacement(modes, pose[None]).norm(dim=1).max())
    share = min(1.0, max(FARTHEST * min(H, W), math.hypot(dx, dy)) / max(farthest, 1e-9))
    if share < LEAST_SHARE:
        raise ValueError(f"the point {point} hardly moves: all else would go far before it does; {advice}")
    rate = moving.rate * slow
    ramp = 0.5 - 0.5 * torch.cos(math.pi * torch.arange(round(PULLING * rate)) / (PULLING * rate))
    fits(moving, len(ramp) + round(seconds * rate))
    start = modal.Event(0.0, share * pose, torch.zeros_like(pose))
    free = modal.respond(modes, [start], modal.clock(max(1, round(seconds * rate)), rate))
    return modal.displacement(modes, torch.cat([ramp[:, None] * start.q, free])), share


def fits(moving: Moving, frames: int) -> None:
    """ValueError for a single frame, and for so many that their motion takes over 1 GB."""
    H, W, _ = moving.picture.shape
    if frames < 2 or frames * H * W * 8 > LONGEST:
        found = "few; take a longer or slower clip" if frames < 2 else "many; take a smaller size or a shorter clip"
        raise ValueError(f"{frames} frames of {W} x {H} px are too {found}")
