"""COLMAP: cameras, images and points3D, binary or text, and the folder of photographs beside them.

Poses are world to camera in OpenCV's axes, as a quaternion w x y z and a translation. The principal point is honoured; the
authors' program ignores it and takes the middle of the image.
"""

from __future__ import annotations

import io
import struct
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...lab.files import FormatError, read_file, show, write_file
from ..cameras import Camera
from ..coordinates import as_points
from .capture import FOCAL, Capture, Found, Images, Intrinsics, check_sizes, fit_camera, image_size, name_of, png
from .checks import Array, check_finite, floats, integer, note, number

SUBFOLDERS = ("sparse/0", "sparse", ".")
MODELS = {  # id: name, number of parameters; those that Brown's model of `Lens` covers
    0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5),
    4: ("OPENCV", 8), 6: ("FULL_OPENCV", 12),
}  # fmt: skip
OTHERS = {  # known by name only, for the message
    5: "OPENCV_FISHEYE", 7: "FOV", 8: "SIMPLE_RADIAL_FISHEYE", 9: "RADIAL_FISHEYE", 10: "THIN_PRISM_FISHEYE",
    11: "RAD_TAN_THIN_PRISM_FISHEYE", 12: "SIMPLE_DIVISION", 13: "DIVISION", 14: "SIMPLE_FISHEYE", 15: "FISHEYE",
    16: "EUCM", 17: "EQUIRECTANGULAR",
}  # fmt: skip
TWO_FOCAL = ("PINHOLE", "OPENCV", "FULL_OPENCV")
NAMES = tuple(name for name, _ in MODELS.values())
MAX_RECORD = 1_000_000  # pixels a side of a camera's record; the image file itself has a stricter limit

Pose = tuple[str, int, Array]  # image name, camera id, viewmat
Cloud = tuple[Tensor, Tensor]


def find_model(folder: Path) -> tuple[Path, str] | None:
    """The subfolder with cameras and images, and their ending: binary before text. COLMAP leaves several, sparse/0, sparse/1
    and so on, where it cannot join all images: of these the one with the most."""
    found = _models(folder)
    return max(found, key=lambda model: _images(*model)) if len(found) > 1 else next(iter(found), None)


def _models(folder: Path) -> list[tuple[Path, str]]:
    parts = [p for p in (folder / "sparse").iterdir() if p.is_dir()] if (folder / "sparse").is_dir() else []
    parts.sort(key=lambda part: (not part.name.isdecimal(), len(part.name), part.name))
    for places in ([*parts, folder / "sparse"], [folder]):
        found = [
            next(((place, ending) for ending in (".bin", ".txt") if _is_model(place, ending)), None) for place in places
        ]
        if any(found):
            return [model for model in found if model]
    return []


def _is_model(place: Path, ending: str) -> bool:
    return all((place / (name + ending)).is_file() for name in ("cameras", "images"))


def _images(place: Path, ending: str) -> int:
    """How many images a model says it has."""
    path = place / f"images{ending}"
    if ending == ".bin":
        with path.open("rb") as file:
            return int.from_bytes(file.read(COUNT.size), "little")
    data = read_file(path)
    empty = all(not line or line.startswith("#") for _, line in _lines(data, path))
    return 0 if empty else len(parse_images_text(data, path))


def read_colmap(folder: str | Path, images: str | Path = "images") -> Capture:
    """A COLMAP model in <folder>/sparse/0 (or the largest beside it), <folder>/sparse or the folder itself, with photographs in
    <folder>/<images>.

    Views are sorted by image name; those without a photograph are left out with a warning that counts them. The photographs may
    be the full-size ones or copies of another size. Camera models without or with Brown's distortion are read (SIMPLE_PINHOLE
    to FULL_OPENCV); fisheyes are refused.
    """
    folder = Path(folder)
    models = _models(folder)
    model = find_model(folder)
    if model is None:
        where = ", ".join(SUBFOLDERS)
        raise FormatError(folder, "format", f"cameras and images, as .bin or .txt, in one of {where}", "none of them")
    base, ending = model
    if len(models) > 1:
        others = ", ".join(f"{place.name} with {_images(place, end)}" for place, end in models if place != base)
        note(f"{folder}: several models; read is {base.name} with {_images(*model)} images (beside it: {others})")
    binary = ending == ".bin"
    paths = [base / (name + ending) for name in ("cameras", "images", "points3D")]
    cameras = (parse_cameras_bin if binary else parse_cameras_text)(read_file(paths[0]), paths[0])
    poses = (parse_images_bin if binary else parse_images_text)(read_file(paths[1]), paths[1])
    cloud = None
    if paths[2].is_file():
        cloud = (parse_points_bin if binary else parse_points_text)(read_file(paths[2]), paths[2])
    return assemble(paths[1], cameras, poses, cloud, folder, images)


def assemble(
    path: Path,
    cameras: dict[int, Intrinsics],
    poses: list[Pose],
    cloud: Cloud | None,
    folder: Path,
    images: str | Path,
) -> Capture:
    """Look for the photographs and put the three files' contents together; `path` is the file with the poses."""
    photographs = folder / images
    if not photographs.is_dir():
        advice = "name the folder: images=... in Python, --images on the command line"
        raise FormatError(folder, str(images), "a folder with the photographs", "none", advice)
    views = Found(path)
    for name, camera_id, viewmat in sorted(poses, key=lambda pose: pose[0]):
        where = f"image {name!r:.200}"
        if camera_id not in cameras:
            raise FormatError(path, f"{where}: camera", f"an id of {path.with_stem('cameras').name}", str(camera_id))
        file = views.file(photographs, name, where)
        if file is not None:
            camera, lens = fit_camera(viewmat, cameras[camera_id], image_size(file), path, where)
            views.add(camera, file, name_of(file, photographs), lens)
    return views.build(cloud, poses="OpenCV")


def _intrinsics(model: str, width: Any, height: Any, parameters: Sequence[Any], path: Path, where: str) -> Intrinsics:
    width = integer(width, path, f"{where}: width", 1, MAX_RECORD)
    height = integer(height, path, f"{where}: height", 1, MAX_RECORD)
    fx, fy, cx, cy, *bend = parameters if model in TWO_FOCAL else (parameters[0], *parameters)
    low, high = FOCAL[0] * width, FOCAL[1] * width
    return Intrinsics(
        number(fx, path, f"{where}: focal length", low, high),
        number(fy, path, f"{where}: focal length y", low, high),
        number(cx, path, f"{where}: principal point x", -width, 2 * width),
        number(cy, path, f"{where}: principal point y", -height, 2 * height),
        width,
        height,
        (
            *(number(k, path, f"{where}: distortion {i}", -1e6, 1e6) for i, k in enumerate(bend)),
            *[0.0] * (8 - len(bend)),
        ),
    )


def _unsupported(path: Path, where: str, found: str) -> FormatError:
    advice = "run colmap image_undistorter and read what it writes"
    return FormatError(path, f"{where}: model", f"one of {', '.join(NAMES)}", found, advice)


def _viewmat(quaternion: Sequence[float], translation: Sequence[float], path: Path, where: str) -> Array:
    q = np.array([number(x, path, f"{where}: quaternion {'wxyz'[i]}") for i, x in enumerate(quaternion)])
    t = [number(x, path, f"{where}: translation {'xyz'[i]}") for i, x in enumerate(translation)]
    length = float(np.linalg.norm(q))
    if abs(length - 1) > 1e-3:
        raise FormatError(path, f"{where}: quaternion", "length 1", f"{length:.4g}")
    w, x, y, z = q / length
    viewmat = np.eye(4)
    viewmat[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    viewmat[:3, 3] = t
    return viewmat


def _once(key: Any, seen: Any, path: Path, field: str) -> Any:
    if key in seen:
        raise FormatError(path, field, "every id once", f"{key} twice")
    return key


def _cloud(points: NDArray[Any], colors: NDArray[Any], path: Path) -> Cloud:
    check_finite(points, path, "point", "xyz")
    return as_points(points), torch.from_numpy(colors).float() / 255


def _some(items: Any, path: Path, what: str) -> Any:
    if not items:
        raise FormatError(path, what, "at least one", "none")
    return items


# --------------------------------------------------------------------------------------------------------------- binary


class _Bytes:
    """A cursor in a binary file that never reads past its end."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path, self.position = data, path, 0

    def skip(self, size: int, field: str) -> int:
        """Move on; returns where it was."""
        left = len(self.data) - self.position
        if size > left:
            raise FormatError(self.path, field, f"{size} bytes", f"{left} before the end of the file")
        self.position += size
        return self.position - size

    def take(self, layout: struct.Struct, field: str) -> tuple[Any, ...]:
        return layout.unpack_from(self.data, self.skip(layout.size, field))

    def count(self, item_size: int, field: str) -> int:
        """A number of items, each at least so many bytes long; refused before anybody makes room for them."""
        (n,) = self.take(COUNT, field)
        most = (len(self.data) - self.position) // item_size
        if n > most:
            raise FormatError(self.path, field, f"at most {most}, for which the file has room", str(n))
        return n

    def text(self, field: str) -> str:
        """Up to the next NUL."""
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise FormatError(self.path, field, "a name that ends with a NUL byte", "the end of the file")
        return _utf8(self.data[self.skip(end + 1 - self.position, field) : end], self.path, field)

    def end(self) -> None:
        left = len(self.data) - self.position
        if left:
            raise FormatError(self.path, "end of the file", "nothing after the last item", f"{left} more bytes")


COUNT = struct.Struct("<Q")
CAMERA = struct.Struct("<IiQQ")  # id, model, width, height; parameters follow
IMAGE = struct.Struct("<I4d3dI")  # id, quaternion, translation, camera id; name and points follow
POINT = struct.Struct("<Q3d3Bd")  # id, position, colour, error; track follows


def _utf8(data: bytes, path: Path, field: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(path, field, "a name in UTF-8", show(data)) from error


def parse_cameras_bin(data: bytes, path: Path) -> dict[int, Intrinsics]:
    """cameras.bin -> {id: intrinsics}."""
    file, cameras = _Bytes(data, path), dict[int, Intrinsics]()
    for i in range(file.count(CAMERA.size, "number of cameras")):
        camera_id, model, width, height = file.take(CAMERA, f"camera {i}")
        where = f"camera {_once(camera_id, cameras, path, f'camera {i}: id')}"
        if model not in MODELS:
            raise _unsupported(path, where, OTHERS.get(model, f"model number {model}"))
        name, n = MODELS[model]
        parameters = file.take(struct.Struct(f"<{n}d"), f"{where}: parameters")
        cameras[camera_id] = _intrinsics(name, width, height, parameters, path, where)
    file.end()
    return _some(cameras, path, "cameras")


def parse_images_bin(data: bytes, path: Path) -> list[Pose]:
    """images.bin -> poses; the image points are skipped."""
    file, poses, ids = _Bytes(data, path), list[Pose](), set[int]()
    for i in range(file.count(IMAGE.size + 1 + COUNT.size, "number of images")):
        image_id, *pose, camera_id = file.take(IMAGE, f"image {i}")
        ids.add(_once(image_id, ids, path, f"image {i}: id"))
        where = f"image {image_id}"
        name = file.text(f"{where}: name")
        file.skip(24 * file.count(24, f"{where}: number of points"), f"{where}: points")
        poses.append((name, camera_id, _viewmat(pose[:4], pose[4:], path, where)))
    file.end()
    return _some(poses, path, "images")


def parse_points_bin(data: bytes, path: Path) -> Cloud:
    """points3D.bin -> points [N, 3], colors [N, 3] in [0, 1]; tracks are skipped."""
    file = _Bytes(data, path)
    n = file.count(POINT.size + COUNT.size, "number of points")
    points, colors = np.empty((n, 3)), np.empty((n, 3), np.uint8)
    for i in range(n):
        _, *points[i], r, g, b, _ = file.take(POINT, f"point {i}")
        colors[i] = r, g, b
        file.skip(8 * file.count(8, f"point {i}: track"), f"point {i}: track")
    file.end()
    return _cloud(points, colors, path)


# ----------------------------------------------------------------------------------------------------------------- text


def _lines(data: bytes, path: Path) -> Iterator[tuple[str, str]]:
    """(place, line) of each line, stripped."""
    for i, line in enumerate(io.BytesIO(data), 1):
        yield f"line {i}", _utf8(line, path, f"line {i}").strip()


def parse_cameras_text(data: bytes, path: Path) -> dict[int, Intrinsics]:
    """cameras.txt, a line each: CAMERA_ID MODEL WIDTH HEIGHT PARAMETERS -> {id: intrinsics}."""
    cameras: dict[int, Intrinsics] = {}
    sizes = dict(MODELS.values())
    for where, line in _lines(data, path):
        if not line or line.startswith("#"):
            continue
        words = line.split(maxsplit=40)
        if len(words) < 5:
            raise FormatError(path, where, "CAMERA_ID MODEL WIDTH HEIGHT PARAMETERS", show(line))
        if words[1] not in sizes:
            raise _unsupported(path, where, show(words[1]))
        camera_id, width, height, *parameters = floats([words[0], *words[2:]], path, where)
        if len(parameters) != sizes[words[1]]:
            raise FormatError(path, where, f"{sizes[words[1]]} parameters of {words[1]}", str(len(parameters)))
        key = _once(integer(camera_id, path, f"{where}: id", 0, 2**32), cameras, path, f"{where}: id")
        cameras[key] = _intrinsics(words[1], width, height, parameters, path, where)
    return _some(cameras, path, "cameras")


def parse_images_text(data: bytes, path: Path) -> list[Pose]:
    """images.txt, two lines each -> poses. IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and its points, which are skipped."""
    poses, ids = list[Pose](), set[int]()
    lines = _lines(data, path)
    for where, line in lines:
        if not line or line.startswith("#"):
            continue
        words = line.split(maxsplit=9)  # the name may hold spaces
        if len(words) < 10:
            raise FormatError(path, where, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", show(line))
        values = floats(words[:9], path, where)
        ids.add(_once(integer(values[0], path, f"{where}: id", 0, 2**32), ids, path, f"{where}: id"))
        camera_id = integer(values[8], path, f"{where}: camera", 0, 2**32)
        poses.append((words[9], camera_id, _viewmat(values[1:5], values[5:8], path, where)))
        second, points = next(lines, ("", ""))
        if points and not points.rsplit(maxsplit=1)[-1].lstrip("-").isdecimal():  # the next image, its line forgotten
            raise FormatError(path, second, "the image's points (X Y POINT3D_ID) or an empty line", show(points))
    return _some(poses, path, "images")


def parse_points_text(data: bytes, path: Path) -> Cloud:
    """points3D.txt, a line each: POINT3D_ID X Y Z R G B ERROR TRACK -> points [N, 3], colors [N, 3] in [0, 1]."""
    values = array("d")
    for where, line in _lines(data, path):
        if not line or line.startswith("#"):
            continue
        words = line.split(maxsplit=8)
        if len(words) < 8:
            raise FormatError(path, where, "POINT3D_ID X Y Z R G B ERROR TRACK", show(line))
        xyz, rgb = floats(words[1:4], path, where), floats(words[4:7], path, where)
        values.extend((*xyz, *(number(c, path, f"{where}: colour", 0, 255) for c in rgb)))
    table = np.array(values).reshape(-1, 6)
    return _cloud(table[:, :3], table[:, 3:], path)


# -------------------------------------------------------------------------------------------------------------- writing


def write_colmap(
    folder: str | Path,
    cameras: Sequence[Camera],
    names: Sequence[str],
    points: Tensor,
    colors: Tensor,
    images: Images | None = None,
    *,
    binary: bool = True,
) -> None:
    """Write <folder>/sparse/0 as COLMAP does, and with `images` also <folder>/images/<name> (names must end in .png then).

    points: [N, 3]; colors: [N, 3] in [0, 1]; images: [H, W, 3 or 4] each, uint8 or float in [0, 1]. Equal intrinsics become
    one PINHOLE camera. Tracks (which image saw which point) are left empty.
    """
    if not len(cameras) == len(names) == len(set(names)) > 0:
        raise ValueError(
            f"write_colmap: need one name for each of {len(cameras)} cameras, all different, and at least one"
        )
    if points.shape != colors.shape or points.shape[1:] != (3,) or not points.isfinite().all():
        raise ValueError(
            f"write_colmap: points and colors must be finite and [N, 3], got {points.shape}, {colors.shape}"
        )
    if not binary and any(len(name.split()) != 1 for name in names):
        raise ValueError("write_colmap: COLMAP's reader of text takes a name to end at a space; write binary files")
    folder, pinholes = Path(folder), dict[tuple[float, ...], int]()
    for i, c in enumerate(cameras):
        if c.K[0, 1] != 0:
            raise ValueError(f"write_colmap: camera {i} has skew {c.K[0, 1]:g}, which the format cannot hold")
        pinholes.setdefault(_pinhole(c), len(pinholes) + 1)
    if images is not None:
        check_sizes(cameras, images)
        if not all(name.endswith(".png") for name in names):
            raise ValueError("write_colmap: images are written as PNG, so their names must end in .png")
        for name, image in zip(names, images):
            write_file(folder / "images" / name, png(image))
    xyz = points.detach().double().cpu().tolist()
    rgb = (colors.detach().cpu().clamp(0, 1) * 255).round().int().tolist()
    poses = [(*_quaternion(c.viewmat[:3, :3]), *c.viewmat[:3, 3].tolist(), pinholes[_pinhole(c)]) for c in cameras]
    contents = (_binary if binary else _text)(pinholes, poses, names, xyz, rgb)
    for name, data in zip(("points3D", "images", "cameras"), contents):
        write_file(folder / "sparse/0" / (name + (".bin" if binary else ".txt")), data)


def _pinhole(camera: Camera) -> tuple[float, ...]:
    K = camera.K
    return camera.width, camera.height, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])


def _quaternion(R: Array) -> tuple[float, ...]:
    """w x y z with w >= 0."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(R).as_quat(canonical=True).tolist()
    return w, x, y, z


def _binary(pinholes: Any, poses: Any, names: Any, xyz: Any, rgb: Any) -> tuple[bytes, bytes, bytes]:
    none = COUNT.pack(0)
    cameras = [CAMERA.pack(i, 1, *p[:2]) + struct.pack("<4d", *p[2:]) for p, i in pinholes.items()]
    images = [IMAGE.pack(i, *p) + name.encode() + b"\0" + none for i, (p, name) in enumerate(zip(poses, names), 1)]
    points = [POINT.pack(i, *x, *c, 0.0) + none for i, (x, c) in enumerate(zip(xyz, rgb), 1)]
    first, second, third = (COUNT.pack(len(items)) + b"".join(items) for items in (points, images, cameras))
    return first, second, third


def _text(pinholes: Any, poses: Any, names: Any, xyz: Any, rgb: Any) -> tuple[bytes, bytes, bytes]:
    def lines(title: str, items: Sequence[str]) -> bytes:
        return "".join(f"{line}\n" for line in (f"# {title}", *items)).encode()

    cameras = [" ".join(map(str, (i, "PINHOLE", *p))) for p, i in pinholes.items()]
    images = [" ".join(map(str, (i, *p, name))) + "\n" for i, (p, name) in enumerate(zip(poses, names), 1)]
    points = [" ".join(map(str, (i, *x, *c, 0.0))) for i, (x, c) in enumerate(zip(xyz, rgb), 1)]
    return (
        lines("POINT3D_ID X Y Z R G B ERROR TRACK[] as (IMAGE_ID, POINT2D_IDX)", points),
        lines("IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then a line of POINTS2D[] as (X, Y, POINT3D_ID)", images),
        lines("CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]", cameras),
    )
