"""PlayCanvas' compressed .ply, as SuperSplat writes it: 16 bytes for a Gaussian, and bytes for its harmonics.

Numbers of 8 to 11 bits say where a value lies between the smallest and the largest one of its chunk of 256 Gaussians; a
quaternion is its three smaller parts, and which one is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lab.files import FormatError, show
from ..model import C0
from .checks import Array
from .ply import Table, parse_table

CHUNK = 256  # Gaussians
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
FIELDS = {  # of each packed number: (lowest bit, bits) of its parts
    "packed_position": ((21, 11), (11, 10), (0, 11)),
    "packed_scale": ((21, 11), (11, 10), (0, 11)),
    "packed_color": ((24, 8), (16, 8), (8, 8), (0, 8)),
    "packed_rotation": ((20, 10), (10, 10), (0, 10)),
}


def unpacked(data: bytes, table: Table) -> Table:
    """The vertices of a compressed .ply -> a table with the properties of 3DGS. `data` is the whole file."""
    path, n = table.path, len(table.rows)
    if not all(table.types.get(name) == "u4" for name in PACKED) or not table.rows.dtype.names:
        expected = f"{', '.join(PACKED)} as uint in a binary file"
        raise FormatError(path, "element vertex", expected, show(table.types))
    chunks = parse_table(data, path, "chunk")
    if len(chunks.rows) != -(-n // CHUNK):
        raise FormatError(path, "element chunk", f"{-(-n // CHUNK)} for {n} vertices", str(len(chunks.rows)))

    def part(name: str, shift: int, bits: int) -> Array:
        return (table.rows[name] >> shift & (1 << bits) - 1) / ((1 << bits) - 1)

    def between(name: str, of: str) -> Array:  # [N, 3]
        share = np.stack([part(name, *field) for field in FIELDS[name][:3]], 1)
        names = [f"{end}_{of}{axis}" for end in ("min", "max") for axis in ("rgb" if name == "packed_color" else "xyz")]
        if names[0] not in chunks.types and name == "packed_color":  # older files: colours from 0 to 1
            return share
        limits = chunks.columns(names, np.float64, finite=False)[np.arange(n) // CHUNK]
        return limits[:, :3] + share * (limits[:, 3:] - limits[:, :3])

    opacity = part("packed_color", 0, 8)
    with np.errstate(divide="ignore"):
        logit = np.log(opacity) - np.log1p(-opacity)
    columns = {
        **dict(zip("xyz", between("packed_position", "").T)),
        **{f"f_dc_{k}": c for k, c in enumerate(((between("packed_color", "") - 0.5) / C0).T)},
        "opacity": logit,
        **{f"scale_{k}": c for k, c in enumerate(between("packed_scale", "scale_").T)},
        **{f"rot_{k}": c for k, c in enumerate(_quaternions(part, table.rows["packed_rotation"] >> 30).T)},
    }
    if "sh" in table.elements:
        rest = parse_table(data, path, "sh")
        if len(rest.rows) != n:
            raise FormatError(path, "element sh", f"{n}, as there are vertices", str(len(rest.rows)))
        names = [name for name in rest.types if name.startswith("f_rest_")]
        stored = rest.columns(names, np.float64).T
        share = np.where(stored == 0, 0, np.where(stored == 255, 1, (stored + 0.5) / 256))  # the ends are ends
        columns |= dict(zip(names, 8 * share - 4))
    return Table(
        path, dict.fromkeys(columns, "f8"), np.stack(list(columns.values()), 1), table.comments, table.elements
    )


def _quaternions(part: Callable[..., Array], largest: NDArray[Any]) -> Array:
    """w x y z, [N, 4], from the three smaller parts in this order, and which one is the largest."""
    small = (np.stack([part("packed_rotation", *field) for field in FIELDS["packed_rotation"]], 1) - 0.5) * 2**0.5
    quats = np.zeros((len(small), 4))
    places = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    np.put_along_axis(quats, places, small, 1)
    left = np.sqrt(np.maximum(0, 1 - (small**2).sum(1)))
    np.put_along_axis(quats, largest[:, None].astype(np.int64), left[:, None], 1)
    return quats
