"""Optical flow from one picture to another: methods that need no training, RAFT for who has its weights, and files of flow.

DIS: Kroeger et al. 2016. Farneback 2003. RAFT: Teed and Deng 2020, through torchvision.

Files are those of the Middlebury benchmark (.flo), which OpenCV and most flow programs read and write: the number 202021.25,
width and height, then u and v for each pixel, row by row; all in 4 bytes, little-endian. A component above 1e9 means that the
flow there is not known.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .files import FormatError, read_file, write_file
from .video import Picture

Field = NDArray[np.float32]  # (H, W, 2) px
Pairwise = Callable[[Picture, Picture], Field]  # where the first's pixels are in the second, less where they were

MAX_WEIGHTS = 1 << 28  # bytes of a file of RAFT's: the larger of the two nets has 21 million
MAGIC = struct.pack("<f", 202021.25)  # reads "PIEH"
MAX_FIELD = 16_384  # px a side, of a file of flow
MAX_BYTES = 1 << 30  # of such a file
UNKNOWN, UNKNOWN_FROM = 1e10, 1e9


def _dis(first: Picture, second: Picture) -> Any:
    """Inverse search on patches of 8 px from coarse to fine, then variational refinement: what OpenCV calls medium."""
    make: Any = cv2.DISOpticalFlow.create  # one for each call: it keeps buffers, which two threads must not share
    return make(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)


def dis(first: Picture, second: Picture) -> Field:
    """Dense inverse search, OpenCV's medium preset: the cheapest that is of use."""
    return np.asarray(_dis(_grey(first), _grey(second)), np.float32)


def dis2x(first: Picture, second: Picture) -> Field:
    """DIS on pictures of twice the size: finer than a pixel, where motion is only a pixel or two; four times the cost."""
    large = [cv2.resize(_grey(p), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) for p in (first, second)]
    found = cv2.resize(_dis(*large), first.shape[1::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(found / 2, np.float32)


def farneback(first: Picture, second: Picture) -> Field:
    """Farneback's polynomials: five levels, a window of 11 px, neighbourhoods of 5 px."""
    start = np.zeros((*first.shape[:2], 2), np.float32)
    found = cv2.calcOpticalFlowFarneback(_grey(first), _grey(second), start, 0.5, 5, 11, 3, 5, 1.1, 0)
    return np.asarray(found, np.float32)


def _grey(picture: Picture) -> Any:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def load_raft(path: str | Path, device: str | torch.device = "cpu", updates: int = 12) -> Pairwise:
    """RAFT with the weights of a file on this machine, as a function of two pictures.

    path     torchvision's raft_small or raft_large, .pth: which of the two, its tensors tell. It is read by
             torch.load(weights_only=True), which makes tensors and runs no code of the file
    updates  of the recurrent unit: 12 as in the paper

    Pictures are padded by their edge to whole multiples of 8 and at least 128 px a side, which the net needs.
    Raises FormatError for a file that is not one of the two nets.
    """
    model = _read_raft(Path(path)).to(device).eval()

    def raft(first: Picture, second: Picture) -> Field:
        height, width = first.shape[:2]
        down, right = (max(128, -(-side // 8) * 8) - side for side in (height, width))
        padded = np.pad(np.stack([first, second]), ((0, 0), (0, down), (0, right), (0, 0)), "edge")
        pair = torch.from_numpy(padded).to(device).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.inference_mode():
            found = model(pair[:1], pair[1:], num_flow_updates=updates)[-1][0, :, :height, :width]
        return np.asarray(found.permute(1, 2, 0).cpu().numpy(), np.float32)

    return raft


def _read_raft(path: Path) -> torch.nn.Module:
    from torchvision.models.optical_flow import raft_large, raft_small

    data = read_file(path, MAX_WEIGHTS)
    try:
        value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file makes these raise nearly anything
        found = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise FormatError(path, "file", "weights as .pth, tensors only", found) from error
    for build in (raft_small, raft_large):
        model = build(weights=None)
        with suppress(RuntimeError, TypeError, AttributeError):  # other tensors, or none at all
            model.load_state_dict(value)
            for key, tensor in model.state_dict().items():
                if not tensor.isfinite().all():
                    raise FormatError(path, key, "finite numbers", "NaN or infinity")
            return model
    expected = "the tensors of torchvision's raft_small or raft_large"
    raise FormatError(path, "file", expected, f"a {type(value).__name__} without them", "save the model's state_dict()")


# ---------------------------------------------------------------------------------------------------------------- files


def read_flo(path: str | Path) -> Tensor:
    """A flow field (2, H, W) float32 px; NaN in both components where the file says that it is not known.

    Raises FormatError unless the file is a whole .flo of sensible size.
    """
    path = Path(path)
    data = read_file(path, MAX_BYTES)
    if data[:4] != MAGIC:
        raise FormatError(path, "magic number", "202021.25, as a .flo file begins", repr(data[:4]))
    if len(data) < 12:
        raise FormatError(path, "size", "width and height", "the end of the file")
    width, height = struct.unpack_from("<ii", data, 4)
    if not (0 < width <= MAX_FIELD and 0 < height <= MAX_FIELD):
        raise FormatError(path, "size", f"1 to {MAX_FIELD} pixels a side", f"{width} x {height}")
    if len(data) != 12 + 8 * width * height:
        expected = f"{12 + 8 * width * height} bytes for {width} x {height} pixels"
        raise FormatError(path, "file", expected, f"{len(data)}", "the file is cut off or damaged")
    field = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    if np.isnan(field).any():
        raise FormatError(path, "flow", f"numbers, above {UNKNOWN_FROM:g} where not known", "NaN")
    field[(np.abs(field) > UNKNOWN_FROM).any(-1)] = np.nan
    return torch.from_numpy(field).permute(2, 0, 1).contiguous()


def write_flo(path: str | Path, flow: Tensor) -> None:
    """Write a field (2, H, W) px; pixels with a NaN are marked as not known. ValueError for a component above 1e9."""
    if flow.ndim != 3 or len(flow) != 2 or flow.is_complex() or not 0 < min(flow.shape) <= max(flow.shape) <= MAX_FIELD:
        expected = f"(2, H, W) with 1 to {MAX_FIELD} pixels a side"
        raise ValueError(f"write_flo: flow must be {expected}, got {tuple(flow.shape)}")
    field = flow.detach().cpu().numpy().transpose(1, 2, 0).astype("<f4")
    unknown = np.isnan(field).any(-1)
    if (np.abs(field[~unknown]) > UNKNOWN_FROM).any():
        raise ValueError(f"write_flo: components must be {UNKNOWN_FROM:g} px or less, or NaN where not known")
    field[unknown] = UNKNOWN
    write_file(Path(path), MAGIC + struct.pack("<ii", field.shape[1], field.shape[0]) + field.tobytes())
