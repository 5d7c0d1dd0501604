"""The real formats of splatting: read, check, write.

Captures (photographs with known cameras, and the points that structure from motion found)
    Blender          transforms_train.json, transforms_test.json: the synthetic scenes of NeRF
    transforms.json  one list for all: instant-ngp, nerfstudio
    COLMAP           sparse/0/{cameras,images,points3D}.{bin,txt} and images/
Trained models
    .ply             what 3DGS and Mip-Splatting store and most viewers open
    .splat           32 bytes per Gaussian, for viewers on the web

Whatever a file holds, a reader returns a checked result or raises FormatError, which names the file, the field, what was
expected and what was found. Counts in a header are compared with the size of the file before memory is taken for them, and
no path in a file leads out of its folder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...lab.files import FormatError
from .capture import Capture, Lens
from .clouds import ply_bytes, read_ply, read_splat, splat_bytes, write_ply, write_splat
from .colmap import find_model, read_colmap, write_colmap
from .transforms import read_transforms, write_blender, write_transforms

__all__ = [
    "Capture",
    "FormatError",
    "Lens",
    "ply_bytes",
    "read_blender",
    "read_capture",
    "read_colmap",
    "read_ply",
    "read_splat",
    "read_transforms",
    "splat_bytes",
    "write_blender",
    "write_colmap",
    "write_ply",
    "write_splat",
    "write_transforms",
]


def read_capture(folder: str | Path, *, test_every: int = 8, images: str = "images") -> tuple[Capture, Capture]:
    """Find out which format a folder holds and read it: (training views, test views).

    Looked for in this order: transforms_train.json (Blender), transforms.json, a COLMAP model. Blender's format says itself
    what is for testing. Of a single list every `test_every`-th image by name is kept for testing, the first one included, as
    the paper does with 8; test_every=0 keeps none. Both captures get the points.

    images: the folder with COLMAP's photographs; the smaller copies that some data sets bring (images_2, images_4) will do.
    """
    folder = Path(folder)
    if test_every < 0 or test_every == 1:
        raise ValueError(f"read_capture: test_every must be 0 (no test views) or at least 2, got {test_every}")
    if (folder / "transforms_train.json").is_file():
        return read_blender(folder)
    if (folder / "transforms.json").is_file():
        capture = read_transforms(folder / "transforms.json")
    elif find_model(folder):
        capture = read_colmap(folder, images)
    else:
        raise FormatError(
            folder,
            "format",
            "transforms_train.json (Blender), transforms.json (instant-ngp, nerfstudio), or cameras and images as .bin or "
            ".txt in sparse/0, in sparse or in the folder itself (COLMAP)",
            _listing(folder),
            "give the folder that directly holds one of these",
        )
    order = sorted(range(len(capture)), key=lambda i: capture.names[i])
    test = order[::test_every] if test_every else []
    train = sorted(set(order) - set(test))
    if not train:
        raise FormatError(
            folder, "images", "at least two, one of them for testing", str(len(order)), "or use test_every=0"
        )
    return capture.subset(train), capture.subset(sorted(test))


def read_blender(folder: str | Path) -> tuple[Capture, Capture]:
    """Blender's synthetic scenes: transforms_train.json, and for testing transforms_test.json or else transforms_val.json.

    Without either the test capture is empty. See `read_transforms` for the lists themselves.
    """
    folder = Path(folder)
    train = read_transforms(folder / "transforms_train.json")
    for split in ("test", "val"):
        path = folder / f"transforms_{split}.json"
        if path.is_file():
            return train, replace(read_transforms(path), points=train.points, colors=train.colors)
    return train, train.subset(())


def _listing(folder: Path) -> str:
    try:
        names = sorted(p.name for p in folder.iterdir())
    except OSError:
        return "no such folder"
    return (
        ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "an empty folder"
    )
