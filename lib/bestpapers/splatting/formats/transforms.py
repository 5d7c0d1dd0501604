"""Blender's transforms_train.json and the transforms.json of instant-ngp and nerfstudio: one reader, two writers.

Both list frames with a 4 x 4 camera-to-world matrix in OpenGL's axes (x right, y up, the camera looks along -z) and an
image file. Blender gives one angle of view for all; the others give focal lengths, centre and distortion, for all or by frame.
"""

from __future__ import annotations

import json
import math
import os
from collections import ChainMap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...lab.files import MAX_SIDE, FormatError, parse_json, read_file, show, write_file
from ..cameras import Camera
from .capture import (
    FOCAL,
    Capture,
    Found,
    Images,
    Intrinsics,
    check_sizes,
    fit_camera,
    image_size,
    located,
    name_of,
    png,
    without_ending,
)
from .checks import MAX_JSON, Array, integer, number, rotation
from .clouds import read_points

FLIP = np.diag((1.0, -1.0, -1.0, 1.0))  # between OpenGL's camera axes and OpenCV's, both ways
PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3")


def read_transforms(path: str | Path, images: Path | None = None, *, least: int = 2) -> Capture:
    """A list of frames: Blender's, instant-ngp's or nerfstudio's. Views stay in the order of the file.

    Poses are used as they are. nerfstudio's `applied_transform` says what has been done to the poses already, and to the
    points of `ply_file_path` with them: both are in one frame, and nothing is undone here. `scale`, `offset` and `aabb_scale`
    are for instant-ngp's own renderer and change nothing either. Depth maps are not read; of a mask (`mask_path`) what is
    black is not learned from.

    Frames whose photograph is missing are left out with a warning that counts them, if `least` are there. Image files without
    an extension get the one that is there. Where width and height are not given, those of the image file count. Frames of a
    fisheye or panorama are refused, since they have no pinhole camera.

    images: the folder where the photographs are, whatever folders their names begin with; default: where the names say.
    """
    path = Path(path)
    return parse_transforms(read_file(path, MAX_JSON), path, images, least)


def parse_transforms(data: bytes, path: Path, images: Path | None = None, least: int = 2) -> Capture:
    """The content of a file at `path`; images are looked for beside it, or in the folder `images`."""
    meta = parse_json(data, path)
    frames = meta.get("frames")
    if not isinstance(frames, list) or not frames:
        raise FormatError(path, "frames", "a list of at least one frame", show(frames))
    views = Found(path)
    named: list[str] = []
    for i, frame in enumerate(frames):
        where = f"frames[{i}]"
        if not isinstance(frame, dict):
            raise FormatError(path, where, "a JSON object", show(frame))
        file = views.file(path.parent, frame.get("file_path"), f"{where}.file_path", beside=True, moved=images)
        if file is None:
            continue
        mask = None
        if frame.get("mask_path") is not None:
            mask = located(path.parent, frame["mask_path"], path, f"{where}.mask_path", beside=True)
            if mask is None:
                found = f"{show(frame['mask_path'])}, which is not there"
                raise FormatError(path, f"{where}.mask_path", f"a file in {path.parent}", found)
        size = image_size(file)
        viewmat = _viewmat(frame.get("transform_matrix"), path, f"{where}.transform_matrix")
        camera, lens = fit_camera(viewmat, _intrinsics(frame, meta, size, path, where), size, path, where)
        views.add(camera, file, name_of(file, images or path.parent), lens, mask)
        named.append(frame["file_path"])
    cloud = None
    if meta.get("ply_file_path") is not None:
        file = located(path.parent, meta["ply_file_path"], path, "ply_file_path", beside=True)
        if file is None:
            found = f"{show(meta['ply_file_path'])}, which is not there"
            raise FormatError(path, "ply_file_path", f"a file in {path.parent}", found)
        cloud = read_points(file)
    return views.build(cloud, poses="OpenGL", parts=_parts(meta, named, path), least=least)


def _parts(meta: dict[str, Any], named: Sequence[str], path: Path) -> tuple[str, ...] | None:
    """What each photograph is for, where nerfstudio's lists of names say so: "train", "val", "test", or "" for nothing."""
    lists = {part: meta.get(f"{part}_filenames") for part in ("train", "test", "val")}
    lists = {part: names for part, names in lists.items() if names is not None}
    if not lists:
        return None
    frames: dict[str, set[str]] = {}  # by name, with and without its ending
    for place in {_place(frame.get("file_path"), path) for frame in meta["frames"]}:
        for form in {place, without_ending(place)}:
            frames.setdefault(form, set()).add(place)
    parts: dict[str, str] = {}
    for part, names in lists.items():
        field = f"{part}_filenames"
        if not isinstance(names, list):
            raise FormatError(path, field, "a list of names", show(names))
        for i, name in enumerate(names):
            place = _place(name, path)
            meant = {place} & frames.get(place, set()) or frames.get(place, set())
            if not isinstance(name, str) or len(meant) != 1:
                raise FormatError(path, f"{field}[{i}]", "the file_path of a frame", show(name))
            first = parts.setdefault(next(iter(meant)), part)
            if first != part and {first, part} != {"test", "val"}:  # what is for both is for testing
                raise FormatError(path, f"{field}[{i}]", "a photograph of no other list", show(name))
    rest = "" if "train" in lists else "train"
    return tuple(parts.get(_place(name, path), rest) for name in named)


def _place(name: Any, path: Path) -> str:
    """Where a name in the file at `path` leads, absolute or from its folder; links to that folder are followed."""
    place = Path(os.path.abspath(path.parent / str(name).replace("\\", "/")))
    given = Path(os.path.abspath(path.parent))
    return str(path.parent.resolve() / place.relative_to(given) if place.is_relative_to(given) else place)


def _viewmat(value: Any, path: Path, field: str) -> Array:
    """Camera to world in OpenGL's axes -> world to camera in OpenCV's."""
    if not (isinstance(value, list) and len(value) == 4 and all(isinstance(r, list) and len(r) == 4 for r in value)):
        raise FormatError(path, field, "4 rows of 4 numbers", show(value))
    matrix = np.array([[number(x, path, f"{field}[{i}][{j}]") for j, x in enumerate(r)] for i, r in enumerate(value)])
    if not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise FormatError(path, f"{field}[3]", "0 0 0 1", " ".join(f"{x:g}" for x in matrix[3]))
    to_world = rotation(matrix[:3, :3], path, field) @ FLIP[:3, :3]
    viewmat = np.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = to_world.T, -to_world.T @ matrix[:3, 3]
    return viewmat


def _intrinsics(
    frame: dict[str, Any], meta: dict[str, Any], size: tuple[int, int], path: Path, where: str
) -> Intrinsics:
    """What a frame says of its camera, or else what the file says for all."""
    values: ChainMap[str, Any] = ChainMap(frame, meta)

    def field(key: str) -> str:
        return f"{where}.{key}" if key in frame else key

    def get(key: str, default: float, low: float = -1e6, high: float = 1e6) -> float:
        return default if values.get(key) is None else number(values[key], path, field(key), low, high)

    model = values.get("camera_model")
    if values.get("is_fisheye"):
        model = "is_fisheye"
    if model is not None and model not in PINHOLES:
        advice = "straighten the images first, for instance with colmap image_undistorter"
        raise FormatError(path, field("camera_model"), f"one of {', '.join(PINHOLES)}", show(model), advice)
    for key in ("k4", "k5", "k6"):  # which model these belong to, and so what they mean, differs from writer to writer
        if get(key, 0.0) != 0:
            raise FormatError(path, field(key), "0 (distortion with k1 k2 k3 p1 p2 only)", show(values[key]))

    width, height = (
        n if values.get(key) is None else integer(values[key], path, field(key), 1, 100 * MAX_SIDE)
        for key, n in zip("wh", size)
    )
    low, high = FOCAL[0] * width, FOCAL[1] * width
    if values.get("fl_x") is None and values.get("camera_angle_x") is None:
        raise FormatError(path, "fl_x", "fl_x or camera_angle_x", "neither")
    fx = get("fl_x", 0.0, low, high) or _focal(get("camera_angle_x", 0.0, 0.002, 3.12), width)
    angle_y = get("camera_angle_y", 0.0, 0.002, 3.12)
    fy = get("fl_y", 0.0, low, high) or (_focal(angle_y, height) if angle_y and values.get("fl_x") is None else fx)
    cx, cy = get("cx", width / 2, -width, 2 * width), get("cy", height / 2, -height, 2 * height)
    return Intrinsics(fx, fy, cx, cy, width, height, (*(get(key, 0.0) for key in COEFFICIENTS), 0.0, 0.0, 0.0))


def _focal(angle: float, side: int) -> float:
    """Focal length in pixels from the full angle of view in radians."""
    return 0.5 * side / math.tan(angle / 2)


# -------------------------------------------------------------------------------------------------------------- writing


def write_blender(folder: str | Path, split: str, cameras: Sequence[Camera], images: Images) -> None:
    """Write <folder>/transforms_<split>.json and its images <folder>/<split>/r_<i>.png.

    split: "train", "test" or "val"; images: [H, W, 3 or 4] each, uint8 or float in [0, 1]. The format has one angle of view
    for all cameras, square pixels and the centre in the middle: ValueError if the cameras have not.
    """
    if split not in ("train", "test", "val"):
        raise ValueError(f'write_blender: split must be "train", "test" or "val", got {split!r}')
    check_sizes(cameras, images)
    first = cameras[0]
    for i, c in enumerate(cameras):
        middle = [[first.K[0, 0], 0, c.width / 2], [0, first.K[0, 0], c.height / 2], [0, 0, 1]]
        if c.width != first.width or not np.allclose(c.K, middle, rtol=1e-9, atol=1e-9):
            raise ValueError(
                f"write_blender: camera {i}: the format holds one focal length for all, square pixels and a centre in the "
                "middle of the image; use write_transforms"
            )
    frames = [dict(file_path=f"./{split}/r_{i}", transform_matrix=_pose(c)) for i, c in enumerate(cameras)]
    meta = dict(camera_angle_x=2 * math.atan(0.5 * first.width / first.K[0, 0]), frames=frames)
    _write(Path(folder), f"transforms_{split}.json", meta, images, ".png")


def write_transforms(folder: str | Path, cameras: Sequence[Camera], images: Images) -> None:
    """Write <folder>/transforms.json as instant-ngp and nerfstudio read it, and its images <folder>/images/<i>.png.

    images: [H, W, 3 or 4] each, uint8 or float in [0, 1].
    """
    check_sizes(cameras, images)
    frames = []
    for i, c in enumerate(cameras):
        if c.K[0, 1] != 0:
            raise ValueError(f"write_transforms: camera {i} has skew {c.K[0, 1]:g}, which the format cannot hold")
        K = dict(fl_x=c.K[0, 0], fl_y=c.K[1, 1], cx=c.K[0, 2], cy=c.K[1, 2], w=c.width, h=c.height)
        frames.append(dict(file_path=f"images/{i:05d}.png", transform_matrix=_pose(c), **K))
    _write(Path(folder), "transforms.json", dict(camera_model="PINHOLE", frames=frames), images, "")


def _pose(camera: Camera) -> list[list[float]]:
    """World to camera in OpenCV's axes -> camera to world in OpenGL's."""
    return (np.linalg.inv(camera.viewmat) @ FLIP).tolist()


def _write(folder: Path, name: str, meta: dict[str, Any], images: Images, suffix: str) -> None:
    for frame, image in zip(meta["frames"], images):
        write_file(folder / (frame["file_path"] + suffix), png(image))
    write_file(folder / name, json.dumps(meta, indent=1).encode())  # last: a capture that is listed is whole
