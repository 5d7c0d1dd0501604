"""Flow files as the Middlebury benchmark has them (.flo), which OpenCV and most flow programs read and write.

The number 202021.25, width and height, then u and v for each pixel, row by row; all in 4 bytes, little-endian. A component
above 1e9 means that the flow there is not known.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...lab.files import FormatError, read_file, write_file

MAGIC = struct.pack("<f", 202021.25)  # reads "PIEH"
MAX_SIDE = 16_384  # px
MAX_BYTES = 1 << 30
UNKNOWN, UNKNOWN_FROM = 1e10, 1e9


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
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise FormatError(path, "size", f"1 to {MAX_SIDE} pixels a side", f"{width} x {height}")
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
    if flow.ndim != 3 or len(flow) != 2 or flow.is_complex() or not 0 < min(flow.shape) <= max(flow.shape) <= MAX_SIDE:
        expected = f"(2, H, W) with 1 to {MAX_SIDE} pixels a side"
        raise ValueError(f"write_flo: flow must be {expected}, got {tuple(flow.shape)}")
    field = flow.detach().cpu().numpy().transpose(1, 2, 0).astype("<f4")
    unknown = np.isnan(field).any(-1)
    if (np.abs(field[~unknown]) > UNKNOWN_FROM).any():
        raise ValueError(f"write_flo: components must be {UNKNOWN_FROM:g} px or less, or NaN where not known")
    field[unknown] = UNKNOWN
    write_file(Path(path), MAGIC + struct.pack("<ii", field.shape[1], field.shape[0]) + field.tobytes())
