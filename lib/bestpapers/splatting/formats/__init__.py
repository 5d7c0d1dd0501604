"""The real formats of splatting: read, check, write.

Captures (photographs with known cameras, and the points that structure from motion found)
    Blender          transforms_train.json, transforms_test.json: the synthetic scenes of NeRF
    transforms.json  one list for all: instant-ngp, nerfstudio
    COLMAP           sparse/0/{cameras,images,points3D}.{bin,txt} and images/
Trained models
    .ply             what 3DGS and Mip-Splatting store and most viewers open
    .splat           32 bytes per Gaussian, for viewers on the web

Whatever a file holds, a reader returns a checked result or raises FormatError, which names the file, the field, what was
expected and what was found. What a reader mends or leaves out, it counts in a warning. Counts in a header are compared with
the size of the file before memory is taken for them, and no path in a file leads farther than to a folder beside its own,
but where the reader of the file has put a link.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...lab.files import FormatError
from .capture import Capture, Lens
from .checks import note
from .clouds import ply_bytes, read_ply, read_scene, read_splat, splat_bytes, write_ply, write_splat
from .colmap import find_model, read_colmap, write_colmap
from .transforms import read_transforms, write_blender, write_transforms

__all__ = [
    "BLENDER",
    "Capture",
    "FormatError",
    "Lens",
    "ply_bytes",
    "read_blender",
    "read_capture",
    "read_colmap",
    "read_ply",
    "read_scene",
    "read_splat",
    "read_transforms",
    "splat_bytes",
    "write_blender",
    "write_colmap",
    "write_ply",
    "write_splat",
    "write_transforms",
]


BLENDER = ("transforms_train.json", "transforms_test.json", "transforms_val.json")


def read_capture(
    folder: str | Path, *, test_every: int = 8, images: str | Path | None = None
) -> tuple[Capture, Capture]:
    """Find out which format a folder holds and read it: (training views, test views).

    Looked for in this order: transforms_train.json (Blender), transforms.json, a COLMAP model; or give a .json itself.
    Blender's format says itself what is for testing, and nerfstudio's may: `test_filenames`, or else `val_filenames`; what is
    for neither is left out. Of any other list every `test_every`-th image by name is kept for testing, the first one included,
    as the paper does with 8; test_every=0 keeps none, and one or two images are all for training. Both captures get the points.

    images: the folder with the photographs, of COLMAP ("images", if nothing is said) or a transforms.json (where its frames
    say); the smaller copies that some data sets bring (images_2, images_4) will do.
    """
    folder = Path(folder)
    if test_every < 0 or test_every == 1:
        raise ValueError(f"read_capture: test_every must be 0 (no test views) or at least 2, got {test_every}")
    if folder.is_file() and folder.suffix == ".json":
        folder, listed = folder.parent, folder
    else:
        listed = folder / (BLENDER[0] if (folder / BLENDER[0]).is_file() else "transforms.json")
    if images is not None and not (folder / images).is_dir():
        raise FormatError(folder, str(images), "a folder with the photographs", "none")
    if listed.name in BLENDER:
        if images is not None:  # names of the lists for training and testing may be alike, but for the folder
            advice = "leave out images=... in Python, --images on the command line"
            raise FormatError(
                listed, "images", "the photographs where its frames name them", f"a folder, {images}", advice
            )
        return read_blender(folder)
    if listed.is_file():
        capture = read_transforms(listed, None if images is None else folder / images)
    elif find_model(folder):
        capture = read_colmap(folder, images or "images")
    else:
        raise FormatError(
            folder,
            "format",
            "transforms_train.json (Blender), transforms.json (instant-ngp, nerfstudio), or cameras and images as .bin or "
            ".txt in sparse/0, in sparse or in the folder itself (COLMAP)",
            _listing(folder),
            "give the folder that directly holds one of these",
        )
    if capture.parts is not None:
        return _as_listed(capture, listed)
    order = sorted(range(len(capture)), key=lambda i: capture.names[i])
    if len(order) <= 2 and test_every:
        note(f"{folder}: {('one photograph', 'two photographs')[len(order) - 1]} only; none is held out for testing")
        test_every = 0
    test = order[::test_every] if test_every else []
    train = sorted(set(order) - set(test))
    return capture.subset(train), capture.subset(sorted(test))


def _as_listed(capture: Capture, path: Path) -> tuple[Capture, Capture]:
    """The split that a transforms.json makes itself."""
    assert capture.parts is not None
    chosen = "test" if "test" in capture.parts else "val"
    train, test = ([i for i, part in enumerate(capture.parts) if part == name] for name in ("train", chosen))
    if not train:
        raise FormatError(path, "train_filenames", "at least one photograph to learn from", "none")
    words = (
        f"{path}: it says itself which photographs to learn from ({len(train)}) and which to test with ({len(test)})"
    )
    if len(capture) > len(train) + len(test):
        words += f"; {len(capture) - len(train) - len(test)} are for neither"
    note(words)
    return capture.subset(train), capture.subset(test)


def read_blender(folder: str | Path) -> tuple[Capture, Capture]:
    """Blender's synthetic scenes: transforms_train.json, and for testing transforms_test.json or else transforms_val.json.

    Without either the test capture is empty, and so it is where the photographs for testing are all missing, which is said.
    See `read_transforms` for the lists themselves.
    """
    folder = Path(folder)
    train = read_transforms(folder / "transforms_train.json")
    for split in ("test", "val"):
        path = folder / f"transforms_{split}.json"
        if path.is_file():
            return train, replace(read_transforms(path, least=0), points=train.points, colors=train.colors)
    return train, train.subset(())


def _listing(folder: Path) -> str:
    try:
        names = sorted(p.name for p in folder.iterdir())
    except OSError:
        return "no such folder"
    return (
        ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "an empty folder"
    )
