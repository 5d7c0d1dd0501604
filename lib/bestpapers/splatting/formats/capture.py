"""A capture: photographs, their cameras and lenses, and points; with the checks that need all of these together."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...course.progress import progress
from ...lab.files import FormatError, opened_image, show
from ..cameras import Camera
from ..data import Views
from .checks import Array, note

FOCAL = (0.01, 1000.0)  # focal length over image width: beyond these a unit is wrong, not the lens
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")  # of images
AXES = {"OpenCV": "x right, y down, z forward", "OpenGL": "x right, y up, z backward"}

Images = Sequence[Tensor] | Tensor  # [H, W, C] each
Maps = tuple[NDArray[Any], NDArray[Any]]  # where in a photograph each pixel of the straight image lies: x, y


@dataclass(frozen=True, eq=False)
class Lens:
    """What bends straight lines in a photograph (Brown's model, as OpenCV and COLMAP write it).

    K             [3, 3] intrinsics of the photograph, in pixels; pixel centres at i + 0.5
    coefficients  k1 k2 p1 p2 k3 k4 k5 k6; with r^2 = x^2 + y^2 a ray (x, y, 1) lands where (x', y', 1) would:
        x' = x (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2)
        y' the same with x and y, p1 and p2 exchanged
    """

    K: Array
    coefficients: tuple[float, ...]

    def project(self, xy: Array) -> Array:
        """Rays (x, y, 1) [..., 2] -> where they land in the photograph, in pixels [..., 2]."""
        k1, k2, p1, p2, k3, k4, k5, k6 = self.coefficients
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
        return np.stack([u, v], -1) * self.K[[0, 1], [0, 1]] + self.K[:2, 2]

    def shows(self, K: Array, width: int, height: int) -> bool:
        """Whether each pixel of a straight image with intrinsics K lies in the photograph, and none lies there twice."""
        u, v = (np.linspace(0.5, n - 0.5, 33) for n in (width, height))  # a grid over the pixel centres
        grid = np.stack(np.meshgrid(u, v), -1)
        with np.errstate(all="ignore"):
            seen = self.project((grid - K[:2, 2]) / K[[0, 1], [0, 1]])
        last = np.array([width, height]) - 0.5
        if not ((seen > 0.5 - 1e-6) & (seen < last + 1e-6)).all():  # NaN fails too
            return False
        right, down = np.diff(seen, axis=1)[:-1], np.diff(seen, axis=0)[:, :-1]
        # the map turns a cell over where the model folds back on itself
        return bool((right[..., 0] * down[..., 1] > right[..., 1] * down[..., 0]).all())

    def straight(self, width: int, height: int) -> Array | None:
        """Intrinsics for the straightened image: the same centre and the shortest focal length at which `shows` holds.

        None if there is none between a quarter and four times the photograph's focal length.
        """
        low, high = 0.25, 4.0
        if not self.shows(self.K @ np.diag((high, high, 1.0)), width, height):
            return None
        for _ in range(24):  # a smaller field of view lies within a larger one, so bisection finds the edge
            zoom = (low + high) / 2
            low, high = (low, zoom) if self.shows(self.K @ np.diag((zoom, zoom, 1.0)), width, height) else (zoom, high)
        return self.K @ np.diag((high, high, 1.0))


@dataclass(frozen=True)
class Intrinsics:
    """A camera as a file records it, in pixels; coefficients as in `Lens`. All numbers are finite and the focal lengths
    positive."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    coefficients: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Capture:
    """Photographs and the cameras that took them.

    cameras  [V] pinhole cameras at the size of the image files; where a lens bends, after it has been straightened
    images   [V] image files
    names    [V] their names in the capture, all different
    lenses   [V] what `views` has to straighten, None where the photograph is straight
    points   [N, 3] in scene units, float32, or float64 where they lie too far off for it (UTM); None if there are none
    colors   [N, 3] float32 in [0, 1], or None
    masks    [V] image files, black where nothing is to be learned, or None for a photograph without; None if there are none
    parts    [V] what each is for, "train", "val", "test" or "" (nothing), or None if the capture does not say
    """

    cameras: tuple[Camera, ...]
    images: tuple[Path, ...]
    names: tuple[str, ...]
    lenses: tuple[Lens | None, ...]
    points: Tensor | None = None
    colors: Tensor | None = None
    masks: tuple[Path | None, ...] | None = None
    parts: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.cameras)

    def subset(self, indices: Iterable[int]) -> Capture:
        """The views of these indices, with all points."""
        indices = tuple(indices)

        def pick(items: Any) -> Any:
            return None if items is None else tuple(items[i] for i in indices)

        lists = pick(self.cameras), pick(self.images), pick(self.names), pick(self.lenses)
        return Capture(*lists, self.points, self.colors, pick(self.masks), pick(self.parts))

    def views(self, downscale: int = 1, background: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Views:
        """Load the photographs: straightened, over `background` where they are transparent, `downscale` times smaller.

        A small pixel is the mean of the area it covers. Colour is weighted with opacity before that: averaging the two on
        their own, as the authors' conversion script does, gives transparent pixels a say in the colour of edges.

        Returns uint8 images [V, H, W, 3], or a tuple of V images [H, W, 3] where their sizes differ, with the cameras of
        that size, and the masks: a pixel counts if all that it is made from does. Raises FormatError if an image is damaged
        or is not what it was when the capture was read, and if the masks leave no pixel.
        """
        if isinstance(downscale, bool) or not isinstance(downscale, int) or downscale < 1:
            raise ValueError(f"Capture.views: downscale must be a whole number, at least 1, got {downscale!r}")
        if len(background) != 3 or not all(0 <= b <= 1 for b in background):
            raise ValueError(f"Capture.views: background must be three numbers in [0, 1], got {background!r}")
        cameras = tuple(c.at(width=max(1, round(c.width / downscale))) for c in self.cameras)
        sizes = [(c.height, c.width, 3) for c in cameras]
        same = len(set(sizes)) <= 1
        shape = (len(self), *(sizes[0] if sizes else (0, 0, 3)))
        out: Any = np.empty(shape, np.uint8) if same else [np.empty(size, np.uint8) for size in sizes]
        masks: list[Tensor | None] = []
        maps: Maps | None = None
        last: Lens | None = None
        for i in progress(range(len(self)), "photographs", unit="image"):
            full, lens, mask = self.cameras[i], self.lenses[i], None if self.masks is None else self.masks[i]
            if lens is not last:  # photographs of one lens mostly follow each other
                maps, last = None if lens is None else _straightening(lens, full), lens
            small = cameras[i] if downscale > 1 else None
            pixels = _over(_decode(self.images[i], (full.width, full.height)), background)
            pixels = _as_seen(pixels, maps, small)
            out[i][:] = pixels if pixels.dtype == np.uint8 else np.rint(pixels)
            masks.append(None)
            if mask is not None:
                used = np.where(_decode(mask, (full.width, full.height), "L") > 0, np.uint8(255), np.uint8(0))
                masks[i] = torch.from_numpy(_as_seen(used, maps, small) > 254.5)
        if masks and not any(mask is None or mask.any() for mask in masks):
            raise FormatError(
                next(filter(None, self.masks or ())), "mask", "pixels that are not black", "none in any mask"
            )
        images = torch.from_numpy(out) if same else tuple(torch.from_numpy(image) for image in out)
        return Views(cameras, images, tuple(masks) if any(mask is not None for mask in masks) else None)


# --------------------------------------------------------------------------------------------------------------- files


def located(folder: Path, name: Any, path: Path, field: str, beside: bool = False) -> Path | None:
    """The file that a name in `path` means, or None if it is not there.

    The name may have backslashes, may lack the ending of an image, and may write accents and the ending otherwise than the
    disk. It does not lead out of `folder`, or with `beside` not farther than into a folder beside it; but links that lie there
    are followed, since whoever reads the file has put them there.
    """
    if not isinstance(name, str) or not name:
        raise FormatError(path, field, "a file name", show(name))
    outside = False
    forms = [
        form for way in (name, name.replace("\\", "/")) for form in (way, *(normalize(f, way) for f in ("NFC", "NFD")))
    ]
    try:
        root, given = folder.resolve(), Path(os.path.abspath(folder))
        for form in dict.fromkeys(forms):
            place = Path(os.path.normpath(root / form))
            if place.is_relative_to(given):  # an absolute path, through a link
                place = root / place.relative_to(given)
            near = beside and place.is_relative_to(root.parent) and len(place.relative_to(root.parent).parts) > 1
            if not (place.is_relative_to(root) or near):
                outside = True
                continue
            for file in _spellings(place):
                if _is_there(file):
                    return file
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a name too long, not encodable, with a NUL
        raise FormatError(path, field, "a usable path", show(name)) from error
    if outside:
        raise FormatError(path, field, f"a path inside {folder}", f"{name!r:.200}", "copy the file there")
    return None


def _spellings(place: Path) -> list[Path]:
    """The file itself, and how its ending may be written on the disk."""
    if place.suffix.lower() in ENDINGS:
        return [place, place.with_suffix(place.suffix.lower()), place.with_suffix(place.suffix.upper())]
    return [place, *(place.with_name(place.name + way) for ending in ENDINGS for way in (ending, ending.upper()))]


def without_ending(name: str) -> str:
    """A name without the ending of an image."""
    return os.path.splitext(name)[0] if name.lower().endswith(ENDINGS) else name


def _is_there(file: Path) -> bool:
    try:
        file.lstat()  # raises for a name that no file can have, where is_file says no
    except (FileNotFoundError, NotADirectoryError):
        return False
    return file.is_file()


def name_of(file: Path, folder: Path) -> str:
    """The name in a capture of a file that `located` found for `folder`: its path from there, or from the folder above."""
    root = folder.resolve()
    return file.relative_to(root if file.is_relative_to(root) else root.parent).as_posix()


# -------------------------------------------------------------------------------------------------------------- images


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header alone."""
    with opened_image(path) as image:
        return image.size


def _decode(path: Path, size: tuple[int, int], mode: str | None = None) -> NDArray[np.uint8]:
    """[H, W, 3] or, with transparency, [H, W, 4]; [H, W] in Pillow's mode L."""
    with opened_image(path) as image:
        if image.size != size:
            raise FormatError(path, "size", f"{size[0]} x {size[1]} pixels", f"{image.size[0]} x {image.size[1]}")
        return np.array(image.convert(mode or ("RGBA" if image.has_transparency_data else "RGB")))


def _over(pixels: NDArray[np.uint8], background: Sequence[float]) -> NDArray[Any]:
    """RGBA over a colour: float32 in [0, 255], not rounded. Opaque images stay bytes."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return pixels[..., :3] * alpha + (1 - alpha) * (255 * np.array(background, np.float32))


def _straightening(lens: Lens, camera: Camera) -> Maps:
    """For each pixel of the straight image where it lies in the photograph."""
    import cv2

    half = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV counts pixels from the centre of the first one
    size = (camera.width, camera.height)
    coefficients = np.array(lens.coefficients)
    return cv2.initUndistortRectifyMap(lens.K - half, coefficients, np.eye(3), camera.K - half, size, cv2.CV_32FC1)


def _as_seen(pixels: NDArray[Any], maps: Maps | None, small: Camera | None) -> NDArray[Any]:
    """Straightened, and then shrunk to the size of a camera."""
    if maps is not None:
        pixels = _remap(pixels, maps)
    return pixels if small is None else _shrink(pixels, small)


def _remap(pixels: NDArray[Any], maps: Maps) -> NDArray[Any]:
    import cv2

    return cv2.remap(pixels, *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shrink(pixels: NDArray[Any], camera: Camera) -> NDArray[Any]:
    import cv2

    size = (camera.width, camera.height)
    return cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def png(image: Tensor) -> bytes:
    """[H, W, 3 or 4], uint8 or float in [0, 1] (clipped) -> a PNG file."""
    from PIL import Image

    if image.ndim != 3 or image.shape[2] not in (3, 4):
        raise ValueError(f"an image must be [height, width, 3 or 4], got {list(image.shape)}")
    if image.is_floating_point():
        if not image.isfinite().all():
            raise ValueError("an image holds NaN or infinity")
        image = (image.clamp(0, 1) * 255).round()
    elif image.dtype != torch.uint8:
        raise ValueError(f"an image must be uint8 or float, got {image.dtype}")
    file = io.BytesIO()
    Image.fromarray(image.detach().cpu().numpy().astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def check_sizes(cameras: Sequence[Camera], images: Images) -> None:
    """Raise ValueError unless there is one image of the right size for each camera, and at least one."""
    if len(cameras) == 0 or len(cameras) != len(images):
        raise ValueError(f"need one image per camera and at least one, got {len(images)} for {len(cameras)} cameras")
    for i, (camera, image) in enumerate(zip(cameras, images)):
        if tuple(image.shape[:2]) != (camera.height, camera.width):
            found = " x ".join(map(str, image.shape[:2]))
            raise ValueError(f"image {i} is {found}, its camera {camera.height} x {camera.width} (height x width)")


# ------------------------------------------------------------------------------------------------------------- cameras


def fit_camera(
    viewmat: Array, intrinsics: Intrinsics, size: tuple[int, int], path: Path, field: str
) -> tuple[Camera, Lens | None]:
    """The pinhole camera for an image file of this size, and the lens to straighten.

    The file may be a shrunk copy (images_2, images_4, ...) of what `intrinsics` describe, its sides rounded, or of any other
    size, its sides in proportion, which is then said.
    """
    full = (intrinsics.width, intrinsics.height)
    shrink = max(1, round(full[0] / size[0]))
    if size != full and not (shrink > 1 and all(abs(n - side / shrink) <= 1 for n, side in zip(size, full))):
        low, high = (op((n + off) / side for n, side in zip(size, full)) for op, off in ((max, -0.5), (min, 0.5)))
        if low > high + 1e-9:  # no one factor for both sides, as rounding leaves them
            expected = f"{full[0]} x {full[1]} pixels as the camera has, or the same shape in another size"
            advice = "a photograph stored on its side (EXIF) must be turned for good" if size == full[::-1] else ""
            raise FormatError(path, f"{field}: size of the image", expected, f"{size[0]} x {size[1]}", advice)
        note(
            f"{path}: photographs of {size[0]} x {size[1]} pixels for cameras of {full[0]} x {full[1]}: the cameras are resized"
        )
    K, lens = _straight(intrinsics, size)
    if K is None:
        expected = "a distortion that straightens within the image"
        raise FormatError(path, f"{field}: distortion", expected, str(intrinsics.coefficients), "check the calibration")
    return Camera(viewmat, K, *size), lens


@lru_cache(maxsize=4096)
def _straight(intrinsics: Intrinsics, size: tuple[int, int]) -> tuple[Array | None, Lens | None]:
    """K of the straight image (None: there is none) and the lens; equal cameras share one lens."""
    i = intrinsics
    scale = np.diag((size[0] / i.width, size[1] / i.height, 1.0))
    K = scale @ np.array([[i.fx, 0, i.cx], [0, i.fy, i.cy], [0, 0, 1]])
    if not any(i.coefficients):
        return K, None
    lens = Lens(K, i.coefficients)
    return lens.straight(*size), lens


class Found:
    """The views that a file at `path` names, as they are found one by one, and the checks that only the whole can tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.views: list[tuple[Camera, Path, str, Lens | None, Path | None]] = []
        self.missing: list[str] = []

    def file(self, folder: Path, name: Any, field: str, beside: bool = False, moved: Path | None = None) -> Path | None:
        """See `located`; what is missing is noted. moved: the folder to look in instead, for the name with as many of the
        folders that it begins with as there are."""
        if moved is None or not isinstance(name, str) or not name:
            file = located(folder, name, self.path, field, beside)
        else:
            folder, parts = moved, [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
            shorter = (located(folder, "/".join(parts[i:]), self.path, field) for i in range(len(parts)))
            file = next((file for file in shorter if file is not None), None)
        if file is None:
            self.missing.append(f"{folder / name}")
        return file

    def add(self, camera: Camera, file: Path, name: str, lens: Lens | None, mask: Path | None = None) -> None:
        if any(name == view[2] for view in self.views):
            raise FormatError(self.path, "image names", "every image once", f"{name!r} twice")
        self.views.append((camera, file, name, lens, mask))

    def build(self, points: Any, *, poses: str, parts: tuple[str, ...] | None = None, least: int = 2) -> Capture:
        """points: (points, colors) or None; poses: whose axes the file's poses must have; parts: as in `Capture`; least: how
        many photographs must be left where some are missing."""
        if self.missing:
            number, first = len(self.views) + len(self.missing), f"{self.missing[0]!r:.200}"
            if len(self.views) < least:
                found = f"{len(self.views)}; the first that is missing: {first}"
                raise FormatError(self.path, "photographs", f"the {number} that it names, or two at least", found)
            left = {0: ", none is left", 1: ", one is left"}.get(len(self.views), "")
            note(
                f"{self.path}: {len(self.missing)} of {number} photographs are missing and left out{left}; the first: {first}"
            )
        places, colors = points if points is not None else (None, None)
        if not self.views:
            return Capture((), (), (), (), places, colors)
        cameras, files, names, lenses, masks = zip(*self.views)
        if places is not None and len(places):
            _check_axes(self.path, cameras, places.double().numpy(), poses)
        else:
            _warn_axes(self.path, cameras, poses)
        return Capture(cameras, files, names, lenses, places, colors, masks if any(masks) else None, parts)


def _check_axes(path: Path, cameras: Sequence[Camera], points: Array, poses: str) -> None:
    """Refuse poses under which nearly no point is in view, while with y and z turned round the points are.

    That is what a camera with OpenGL's axes gives when it is read as one with OpenCV's, and the other way round.
    """
    cameras = cameras[:: -(-len(cameras) // 64)]  # a sample is enough
    points = points[:: -(-len(points) // 1000)]
    as_read = turned = 0
    for camera in cameras:
        cam = points @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
        as_read += _in_view(cam, camera)
        turned += _in_view(cam * (1, -1, -1), camera)
    if as_read < 0.01 * turned:
        other = "OpenGL" if poses == "OpenCV" else "OpenCV"
        raise FormatError(
            path,
            "poses",
            f"camera axes as in {poses} ({AXES[poses]}), with the points in front of the cameras",
            f"{as_read} points in view, and {turned} with y and z turned round (all cameras together, of a sample)",
            f"the poses look like {other}'s ({AXES[other]}): negate the second and third axis of each camera",
        )


def _in_view(cam: Array, camera: Camera) -> int:
    with np.errstate(all="ignore"):
        uvw = cam @ camera.K.T
        u, v = uvw[:, 0] / uvw[:, 2], uvw[:, 1] / uvw[:, 2]
    return int(((cam[:, 2] > 0) & (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height)).sum())


def _warn_axes(path: Path, cameras: Sequence[Camera], poses: str) -> None:
    """Without points, the place that all cameras look at tells; but cameras may look outwards on purpose, so only warn."""
    centres = np.stack([c.position for c in cameras])
    forward = np.stack([c.viewmat[2, :3] for c in cameras])
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]  # projects away from each line of sight
    total = across.sum(0)
    if len(cameras) < 3 or np.linalg.eigvalsh(total)[0] < 1e-3 * len(cameras):
        return  # (nearly) parallel: no such place
    place = np.linalg.solve(total, (across @ centres[:, :, None]).sum(0))[:, 0]  # closest to all lines of sight
    ahead = ((place - centres) * forward).sum(1) > 0
    if ahead.mean() < 0.1:
        other = "OpenGL" if poses == "OpenCV" else "OpenCV"
        note(
            f"{path}: poses: the lines of sight meet behind {(~ahead).sum()} of {len(cameras)} cameras. Unless the cameras "
            f"look outwards on purpose, their axes are {other}'s ({AXES[other]}), but this format means {poses}'s."
        )
