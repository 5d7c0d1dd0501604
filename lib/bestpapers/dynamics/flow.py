"""Measuring motion: optical flow from frame 0 to every other frame, by methods that need no training, and how to score it.

All flow here is from frame 0 to frame n: the displacement of what is seen at a pixel of frame 0. Steps from n - 1 to n are
another thing, and only become motion when they are chained.

Source: paper section 7 and supplement 4.2 (a classical method, frame 0 to each later frame). DIS: Kroeger et al. 2016.
Farneback 2003. Chains with logarithmic steps: MFT, Neoral et al. 2023 (arXiv 2305.12998), here by forward-backward error in
place of a learned uncertainty. RAFT: Teed and Deng 2020, through torchvision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from ..course.progress import progress
from ..lab.files import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    Picture = NDArray[np.uint8]  # (H, W, 3) RGB, or (H, W)
    Field = NDArray[np.float32]  # (H, W, 2) px
    Pairwise = Callable[
        [Picture, Picture], Field
    ]  # where the first picture's pixels are in the second, less where they were

METHODS = ("dis", "dis2x", "farneback")
LADDERS = ("direct", "chained", "best")
STEPS = (1, 2, 4, 8, 16, 32)  # frames: of the chains among which "best" chooses, besides the direct flow
MIN_SIDE = 16  # px, of frames; DIS finds no scale to start at below 12

# ----------------------------------------------------------------------------------------------------------------- pairs


def _dis(first: Picture, second: Picture) -> Any:
    """Inverse search on patches of 8 px from coarse to fine, then variational refinement: what OpenCV calls medium."""
    make: Any = cv2.DISOpticalFlow.create  # one for each call: it keeps buffers, which two threads must not share
    return make(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)


def dis(first: Picture, second: Picture) -> Field:
    """Dense inverse search, OpenCV's medium preset: the cheapest that is of use."""
    return np.asarray(_dis(_grey(first), _grey(second)), np.float32)


def dis2x(first: Picture, second: Picture) -> Field:
    """DIS on pictures of twice the size: finer than a pixel, where motion is only a pixel or two; four times the cost."""
    found = _dis(_twice(first), _twice(second))
    return np.asarray(cv2.resize(found, first.shape[1::-1], interpolation=cv2.INTER_AREA) / 2, np.float32)


def farneback(first: Picture, second: Picture) -> Field:
    """Farneback's polynomials: five levels, a window of 11 px, neighbourhoods of 5 px."""
    found = cv2.calcOpticalFlowFarneback(
        _grey(first), _grey(second), np.zeros((*first.shape[:2], 2), np.float32), 0.5, 5, 11, 3, 5, 1.1, 0
    )
    return np.asarray(found, np.float32)


def _twice(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(_grey(picture), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)


def _grey(picture: Picture) -> Picture:
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _pairwise(method: str | Pairwise) -> Pairwise:
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        raise ValueError(
            f"flow: method must be one of {', '.join(METHODS)}, or a function of two pictures, got {method!r}"
        )
    return {"dis": dis, "dis2x": dis2x, "farneback": farneback}[method]


# ---------------------------------------------------------------------------------------------------------------- ladder


def stream(
    frames: Iterable[Picture],
    method: str | Pairwise = "dis2x",
    ladder: Literal["direct", "chained", "best"] = "direct",
    *,
    desc: str | None = "flow",
) -> Iterator[Tensor]:
    """Flow from frame 0 to each frame, one field at a time: (2, H, W) float32 px on the CPU; the first is 0.

    frames  uint8 (H, W, 3) RGB or (H, W), all of one size. Taken one by one, so a generator that decodes a video will do
    method  "dis", "dis2x", "farneback", or a function of two pictures -> (H, W, 2) float32, such as `load_raft` gives
    ladder  "direct"   from frame 0 at once. Errors do not add up, but what turned or went dark is no longer found
            "chained"  steps from frame to frame, added up along the way: every step is easy, and their errors add up
            "best"     for every pixel the best of the direct flow and chains whose last step has 1, 2, 4, 8, 16 or 32 frames:
                       the one with the least forward-backward error, added up along its way as root of squares. Costs 14
                       flows a frame; holds 32 frames and fields
    desc    the progress bar's name; None for no bar

    Raises ValueError for frames that are no pictures of one size, of at least 16 x 16.
    """
    if ladder not in LADDERS:
        raise ValueError(f"flow: ladder must be one of {', '.join(LADDERS)}, got {ladder!r}")
    pairwise = _pairwise(method)
    total = len(frames) if isinstance(frames, Sized) else None
    checked = _checked(progress(frames, desc, total=total, unit="frame", disable=desc is None))
    fields = {"direct": _direct, "chained": _chained, "best": _best}[ladder](checked, pairwise)
    for field in fields:
        yield torch.from_numpy(np.ascontiguousarray(field.transpose(2, 0, 1), np.float32))


def estimate(
    frames: Iterable[Picture] | NDArray[np.uint8],
    method: str | Pairwise = "dis2x",
    ladder: Literal["direct", "chained", "best"] = "direct",
    *,
    desc: str | None = "flow",
) -> Tensor:
    """All of `stream` in one tensor, (T, 2, H, W) px: 49 MB for 150 frames of 160 x 256."""
    fields = list(stream(frames, method, ladder, desc=desc))
    if not fields:
        raise ValueError("flow: no frames")
    return torch.stack(fields)


def _checked(frames: Iterable[Any]) -> Iterator[Picture]:
    shape = None
    for n, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)):
            raise ValueError(
                f"flow: frames must be uint8 (H, W, 3) or (H, W), frame {n} is {frame.shape}, {frame.dtype}"
            )
        if min(frame.shape[:2]) < MIN_SIDE:
            raise ValueError(f"flow: frames must have {MIN_SIDE} pixels a side or more, frame {n} is {frame.shape}")
        if shape not in (None, frame.shape):
            raise ValueError(f"flow: frames must be of one size, frame 0 is {shape}, frame {n} is {frame.shape}")
        shape = frame.shape
        yield frame


def _zero(frame: Picture) -> Field:
    return np.zeros((*frame.shape[:2], 2), np.float32)


def _direct(frames: Iterator[Picture], pairwise: Pairwise) -> Iterator[Field]:
    first = None
    for frame in frames:
        if first is None:
            first = frame
            yield _zero(frame)
        else:
            yield pairwise(first, frame)


def _chained(frames: Iterator[Picture], pairwise: Pairwise) -> Iterator[Field]:
    last = so_far = None
    for frame in frames:
        so_far = _zero(frame) if last is None or so_far is None else so_far + _at(pairwise(last, frame), so_far)
        last = frame
        yield so_far


def _best(frames: Iterator[Picture], pairwise: Pairwise) -> Iterator[Field]:
    first = None
    past: deque[tuple[Picture, Field, Field]] = deque(
        maxlen=max(STEPS)
    )  # frame, flow to it from frame 0, error^2 of that
    for n, frame in enumerate(frames):
        if first is None:
            first, field, error = frame, _zero(frame), np.zeros(frame.shape[:2], np.float32)
        else:
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
    return np.asarray(
        cv2.remap(field, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def _mismatch(there: Field, back: Field) -> Field:
    """|there + back|^2 in the first picture, (H, W) px^2: 0 where the way back undoes the way there. A mean over 5 x 5 pixels,
    since a wrong flow can close by chance at one pixel, and hardly at all of its neighbours."""
    return np.asarray(cv2.blur(((there + _at(back, there)) ** 2).sum(-1), (5, 5)), np.float32)


# ---------------------------------------------------------------------------------------------------------------- scores


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
    if not reduce:
        return error
    if mask is None:
        return error.mean()
    mask = mask.expand_as(error)
    if not mask.any():
        raise ValueError("flow: the mask leaves no pixel to take the mean over")
    return error[mask].mean()


# ---------------------------------------------------------------------------------------------------- camera and filters


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


@dataclass(frozen=True)
class Motion:
    """How much moves in a clip, in px of its own size. `mean`: over pixels and frames; `share`: of pixels whose mean over
    time is above `above` px; `largest`: the 99th percentile over pixels of that mean."""

    mean: float
    share: float
    largest: float
    above: float

    def is_camera(self, share: float = 0.95) -> bool:
        """So many pixels move that it must be the camera (paper, supplement 4.2: 95 % of pixels by more than 1 px)."""
        return self.share >= share

    def is_still(self, px: float = 1.0) -> bool:
        """Too little moves (supplement 4.2: a mean below 1 px, in pictures of 256 x 160. Taken at its word that also drops
        most clips of gentle motion, so it is a parameter)."""
        return self.mean < px

    def is_large(self, px: float = 8.0) -> bool:
        """Too much moves (the paper's first version: a mean above 8 px)."""
        return self.mean > px


def how_much(fields: Iterable[Tensor], above: float = 1.0) -> Motion:
    """The numbers that the paper's filters of clips look at, from fields (2, H, W) one by one; frame 0 may be among them."""
    total, count = torch.zeros(()), 0
    for field in fields:
        size = field.square().sum(0).sqrt()
        total, count = total + size, count + 1
    if not count:
        raise ValueError("how_much: no fields")
    mean = total / count
    largest = np.percentile(mean.numpy(), 99)
    return Motion(float(mean.mean()), float((mean > above).float().mean()), float(largest), above)


# ------------------------------------------------------------------------------------------------------------------ RAFT


def load_raft(path: str | Path, device: str | torch.device = "cpu", updates: int = 12) -> Pairwise:
    """RAFT with the weights of a file on this machine, as a method for `estimate`.

    path     torchvision's raft_small or raft_large, a .safetensors or .pth: which of the two, its tensors tell. A .pth is read
             by torch.load(weights_only=True), which makes tensors and runs no code of the file
    updates  of the recurrent unit: 12 as in the paper

    Pictures are padded by their edge to whole multiples of 8 and at least 128 px a side, which the net needs.
    Raises FormatError for a file that is not one of the two nets.
    """
    model = _read_raft(Path(path)).to(device).eval()

    def raft(first: Picture, second: Picture) -> Field:
        height, width = first.shape[:2]
        down, right = (max(128, -(-side // 8) * 8) - side for side in (height, width))
        pair = []
        for picture in (first, second):
            colour = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
            padded = np.pad(colour, ((0, down), (0, right), (0, 0)), "edge")
            pair.append(torch.from_numpy(padded).to(device).permute(2, 0, 1)[None] / 127.5 - 1)
        with torch.inference_mode():
            found = model(*pair, num_flow_updates=updates)[-1][0, :, :height, :width]
        return np.asarray(found.permute(1, 2, 0).cpu().numpy(), np.float32)

    return raft


def _read_raft(path: Path) -> nn.Module:
    from torchvision.models.optical_flow import raft_large, raft_small

    tensors = _tensors(path)
    for build in (raft_small, raft_large):
        with torch.device("meta"):
            wanted = {key: tensor.shape for key, tensor in build(weights=None).state_dict().items()}
        if {key: tensor.shape for key, tensor in tensors.items()} == wanted:
            for key, tensor in tensors.items():
                if not tensor.isfinite().all():
                    raise FormatError(path, key, "finite numbers", "NaN or infinity")
            model = build(weights=None)
            model.load_state_dict(tensors)
            return model
    found = f"{len(tensors)} tensors that fit neither"
    raise FormatError(
        path, "tensors", "those of torchvision's raft_small or raft_large", found, "take its state_dict()"
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FormatError(path, "file", "a file", "nothing of that name")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            value: Any = load_file(path)
        else:
            value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file makes these raise nearly anything
        found = str(error).strip().split("\n")[0][:200]
        raise FormatError(
            path, "file", "weights as .safetensors or .pth, tensors only", found or type(error).__name__
        ) from error
    if not isinstance(value, dict) or not all(isinstance(t, Tensor) and isinstance(k, str) for k, t in value.items()):
        raise FormatError(path, "file", "a dictionary of tensors", type(value).__name__, "save model.state_dict()")
    return value
