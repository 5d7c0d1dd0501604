"""Cameras, true images and data sets of the procedural scenes: a truth without aliasing at every size and zoom.

Aliasing can only be measured against images that have none. Photographs cannot offer them, so the scenes of `worlds`
are formulas: a ray answers exactly what it sees, and a pixel is the mean of many rays spread over its square (the box
pixel). The same scene therefore has a correct image at 12 x 12, at 1536 x 1536, and at any focal length.

Three scenes, each in three depths: "wheel" (a black spoked wheel, a checkered ball behind it, a far wall with a checker
and a Siemens star), "foliage" (a leafy branch, grass and daisies, a pumpkin behind them, a tree and hills), "text" (an
eye chart on a stand, a striped ball behind it, a brick wall). Each in two versions behind one switch, `detail`:

    "thin"     hard edges and strokes thinner than a pixel: more detail than a training image can hold
    "natural"  the same scene with every edge blurred by a Gaussian of one pixel standard deviation, as a 32-pixel
               camera at distance 3 sees it, and with strokes wide enough to survive that; made to be trained on
               images with noise of standard deviation 0.03, as a real sensor gives

Conventions: world x right, y up, z towards the viewer. Cameras follow OpenCV (x right, y down, z forward); the centre
of pixel i is at i + 0.5; the principal point is the middle of the image. Lengths are in scene units: the wheel's radius
is 1. Every ray ends on something solid: images are opaque, three channels, no alpha, and need no background colour.
Colours are in [0, 1] and are compared as they are: no gamma.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bestpapers.lab.images import box_mean
from bestpapers.splatting.cameras import (
    FOV_DEG,
    Camera,
    _count,
    _fov,
    _pixels,
    camera_ring,
    look_at,
    stack,
)
from bestpapers.splatting.coordinates import as_points
from bestpapers.splatting.worlds import DETAILS, SCENES, Scene, hit_rays, make_scene, render_rays

__all__ = [
    "DETAILS",
    "SCENES",
    "Camera",
    "Dataset",
    "Scene",
    "Views",
    "band_limit",
    "camera_ring",
    "look_at",
    "make_capture",
    "make_dataset",
    "make_scene",
    "points_on_rays",
    "render_truth",
    "stack",
    "surface_points",
]

Array = NDArray[np.float64]

# Rays across an image. Hard edges need many: 1536 is 16 x 16 in each pixel of a 96-pixel image. What is blurred over a
# pixel of a 32-pixel image is flat between two of 768 rays: doubling their number moves no pixel by 1e-3.
TRUTH_RAYS = {"thin": 1536, "natural": 768}


# --------------------------------------------------------------------------------------------------------------- truth


def render_truth(scene: Scene, camera: Camera, *, supersample: int | None = None) -> Tensor:
    """The true image of a scene: [height, width, 3] float32 on the CPU, values in [0, 1].

    Each pixel is the mean over supersample x supersample rays on a regular grid inside its square. By default there are
    about TRUTH_RAYS rays across the image whatever its size, and at least 4 x 4 to a pixel. Two images of one view with
    equally many rays across share these rays, so the small one equals the box mean of the large one up to rounding.

    A camera may stand anywhere. What lies behind it is not drawn, and a ray that never reaches the far wall (possible
    only beyond 90 degrees from -z) sees the wall's base colour.
    """
    if supersample is None:
        supersample = max(4, math.ceil(TRUTH_RAYS[scene.detail] / camera.width))
    supersample = _pixels("render_truth: supersample", supersample)
    out = np.empty((camera.height, camera.width, 3), dtype=np.float32)
    to_ray = np.ascontiguousarray(camera.viewmat[:3, :3].T @ np.linalg.inv(camera.K))
    render_rays(scene.world, camera.position, to_ray, supersample, out)
    return torch.from_numpy(out)


def band_limit(images: Tensor, size: int) -> Tensor:
    """What cameras of `size` pixels could know of larger images: [..., H, W, C] in, same shape out.

    The images are averaged over boxes down to `size` pixels wide (exactly what a training camera of that size records)
    and brought back with bicubic interpolation on the pixel centres, clipped to [0, 1]. Comparing a zoomed-in rendering
    with this asks only for detail that the training images held; comparing it with the full truth also asks for detail
    that one training image cannot hold. Raises ValueError unless `size` divides the width.
    """
    *batch, H, W, C = images.shape
    size = _pixels("band_limit: size", size)
    if W % size or H % (W // size):
        raise ValueError(f"band_limit: images of {W} x {H} pixels do not divide into a training size of {size}")
    small = box_mean(images, W // size).reshape(-1, H // (W // size), size, C).permute(0, 3, 1, 2)
    large = torch.nn.functional.interpolate(small, size=(H, W), mode="bicubic", align_corners=False)
    return large.permute(0, 2, 3, 1).reshape(*batch, H, W, C).clamp(0.0, 1.0)


def cast(scene: Scene, origins: ArrayLike, directions: ArrayLike, draw: ArrayLike | float = 0.5) -> tuple[Array, Array]:
    """Where rays end: origins and directions [N, 3] -> points [N, 3] and colours [N, 3], float64.

    A ray that meets nothing gives NaN. Soft edges are partly there: a ray ends at the first surface where the share of
    its colour that is accounted for exceeds `draw` ([N] or one number, in [0, 1)). Uniform random `draw` makes each
    surface as likely as its share in the pixel; 0.5 takes an edge where a hard one would be.
    """
    o = np.ascontiguousarray(origins, dtype=np.float64)
    d = np.ascontiguousarray(directions, dtype=np.float64)
    if o.ndim != 2 or o.shape[1] != 3 or o.shape != d.shape:
        raise ValueError(f"cast: origins and directions must both be [N, 3], got {o.shape} and {d.shape}")
    points, colours = np.empty_like(o), np.empty_like(o)
    hit_rays(scene.world, o, d, np.ascontiguousarray(np.broadcast_to(draw, len(o)), dtype=np.float64), points, colours)
    return points, colours


def surface_points(
    scene: Scene,
    n: int,
    generator: np.random.Generator,
    *,
    cameras: Sequence[Camera] | None = None,
    noise_std: float = 0.02,
) -> tuple[Tensor, Tensor]:
    """Points on what the cameras see, a stand-in for structure from motion: points [n, 3], colours [n, 3], float32.

    Rays go through uniformly random image positions of randomly chosen cameras (by default the standard 20) and end
    where they hit; positions then get Gaussian noise of `noise_std` scene units. Near and large things get more points,
    hidden ones none. The generator alone decides the result.
    """
    n = _count("surface_points: n", n)
    if not (math.isfinite(noise_std) and noise_std >= 0):
        raise ValueError(f"surface_points: noise_std must be finite and at least 0, got {noise_std}")
    if cameras is None:
        cameras = camera_ring(20)
    if len(cameras) == 0:
        raise ValueError("surface_points: no cameras given")
    which = generator.integers(len(cameras), size=n)
    position = generator.uniform(size=(n, 2))
    origins, directions = np.empty((n, 3)), np.empty((n, 3))
    for i, camera in enumerate(cameras):
        mine = which == i
        origins[mine], directions[mine] = camera.rays(position[mine] * (camera.width, camera.height))
    points, colours = cast(scene, origins, directions, generator.uniform(size=n))
    if np.isnan(points).any():
        raise ValueError("surface_points: some cameras look past the end of the scene; point them towards -z")
    points += noise_std * generator.standard_normal((n, 3))
    return torch.from_numpy(points).float(), torch.from_numpy(colours).float()


def points_on_rays(views: Views, n: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Points to start from when nothing is known of the surfaces: points [n, 3] as `as_points` gives them, colours [n, 3]
    in [0, 1], float32.

    Each lies on the ray of a random pixel, whose colour it takes, at 0.6 to 1.4 times the camera's distance from the place
    that all cameras look at (the point nearest to their optical axes; where these are parallel, three times the cameras'
    spread ahead of them).
    """
    n = _pixels("points_on_rays: n", n)
    eyes = np.stack([camera.position for camera in views.cameras])
    axes = np.stack([camera.viewmat[2, :3] for camera in views.cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # distance to an axis: what lies across it
    system = across.sum(0)
    if np.linalg.cond(system) < 1e4:
        focus = np.linalg.solve(system, (across @ eyes[:, :, None]).sum(0))[:, 0]
    else:
        focus = eyes.mean(0) + 3 * np.linalg.norm(eyes - eyes.mean(0), axis=1).max() * axes.mean(0)
    which = generator.integers(len(eyes), size=n)
    position, depth = generator.uniform(size=(n, 2)), generator.uniform(0.6, 1.4, size=n)
    points, colors = np.empty((n, 3)), np.empty((n, 3))
    for i, camera in enumerate(views.cameras):
        mine = which == i
        uv = position[mine] * (camera.width, camera.height)
        origins, directions = camera.rays(uv)
        points[mine] = origins + directions * (depth[mine] * np.linalg.norm(focus - eyes[i]))[:, None]
        column, row = np.minimum(uv, (camera.width - 1, camera.height - 1)).astype(int).T
        colors[mine] = views.image(i).cpu().numpy()[row, column]
    return as_points(points), torch.from_numpy(colors).float()


# ------------------------------------------------------------------------------------------------------------ data sets


@dataclass(frozen=True, eq=False)
class Views:
    """V cameras and their images.

    cameras  [V]
    images   [V, height, width, 3], or a tuple of V images [height, width, 3] where the sizes differ; float32, or uint8 as
             photographs are, which takes a quarter of the memory. `image(i)` gives either as float32 in [0, 1]
    masks    [V], each [height, width] bool, False where a pixel does not count, or None where all do; None: there are none
    """

    cameras: tuple[Camera, ...]
    images: Any
    masks: tuple[Tensor | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.cameras)

    def image(self, i: int) -> Tensor:
        """Image i as [height, width, 3] float32."""
        image = self.images[i]
        return image if image.is_floating_point() else image.float() / 255

    def mask(self, i: int) -> Tensor | None:
        """Which pixels of image i count, [height, width], or None for all."""
        return None if self.masks is None else self.masks[i]

    def to(self, device: torch.device | str) -> Views:
        """The same views with their images on another device."""
        masks = self.masks and tuple(None if mask is None else mask.to(device) for mask in self.masks)
        if isinstance(self.images, Tensor):
            return Views(self.cameras, self.images.to(device), masks)
        return Views(self.cameras, tuple(image.to(device) for image in self.images), masks)

    def stack(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, int, int]:
        """viewmats [V, 4, 4], Ks [V, 3, 3], width, height."""
        return stack(self.cameras, device)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a training run gets, and what it is judged by.

    scene    the Scene; `render_truth(data.scene, camera)` gives the truth for any other camera
    train    {width: Views}, training images at one or more sizes of the same cameras, with noise if asked for
    test     {width: Views}, true images at several sizes of the same cameras, never with noise
    points   [N, 3] float32, noisy surface points to start Gaussians from
    colors   [N, 3] float32 in [0, 1], their colours
    """

    scene: Scene
    train: dict[int, Views]
    test: dict[int, Views]
    points: Tensor
    colors: Tensor


def make_dataset(
    scene: str,
    detail: str = "thin",
    size: int = 96,
    n_train: int = 20,
    n_test: int = 4,
    noise_std: float = 0.0,
    seed: int = 0,
    *,
    test_sizes: Sequence[int] | None = None,
    train_sizes: Sequence[int] | None = None,
    n_points: int = 2000,
    n_close: int = 0,
    fov_deg: float = FOV_DEG,
    variant: int | None = None,
) -> Dataset:
    """Cameras, images and starting points of a scene.

    scene, detail  one of SCENES, one of DETAILS
    size           width and height in pixels of the training images
    n_train        training cameras: one ring at distance 2.6 to 3.4, up to 22 degrees off the axis
    n_test         test cameras, from the same ranges but elsewhere
    n_close        so many of the training cameras stand at 1.4 to 1.7 instead. Only then does the best sampling rate nu
                   (paper, Eq. 7) differ between parts of the scene at equal depth
    noise_std      standard deviation of Gaussian noise on training images only, as a fraction of full scale. It is not
                   clipped, so that its mean stays zero: values may leave [0, 1] a little
    seed           of the noise and of the points. Cameras and truth do not depend on it, and the truth of one setting is
                   rendered once per process
    variant        None: the scene and the cameras that the book shows. A whole number: another scene of the same kind, and
                   other cameras of both splits. With variant = seed the whole experiment is made anew, as in `experiments`
    test_sizes     widths of test images at the same field of view; default (size, size/2, size/4, size/8)
    train_sizes    widths of training images for multi-scale training, default (size,); noise is drawn for each anew
    n_points       surface points (see `surface_points`)

    Raises ValueError on an unknown scene, a size or count that is no whole number in range, or a non-finite argument.
    """
    world = make_scene(scene, detail, variant)
    size = _pixels("make_dataset: size", size)
    n_train, n_test = _pixels("make_dataset: n_train", n_train), _count("make_dataset: n_test", n_test)
    n_close = _count("make_dataset: n_close", n_close)
    if n_close > n_train:
        raise ValueError(f"make_dataset: n_close is {n_close}, but there are only {n_train} training cameras")
    if not (math.isfinite(noise_std) and noise_std >= 0):
        raise ValueError(f"make_dataset: noise_std must be finite and at least 0, got {noise_std}")
    fov_deg = _fov("make_dataset: fov_deg", fov_deg)
    if test_sizes is None:
        test_sizes = [size // k for k in (1, 2, 4, 8) if size % k == 0]
    test_widths = tuple(_pixels("make_dataset: test_sizes", s) for s in test_sizes)
    train_widths = tuple(_pixels("make_dataset: train_sizes", s) for s in (train_sizes or (size,)))

    train = _views(world, n_train, n_close, "train", fov_deg, train_widths)
    test = _views(world, n_test, 0, "test", fov_deg, test_widths)
    # separate generators: asking for more points must not change the noise, nor the other way round
    noise, draw = (np.random.default_rng([seed, stream]) for stream in (1, 2))
    if noise_std > 0:
        train = {w: Views(v.cameras, _add_noise(v.images, noise_std, noise)) for w, v in train.items()}
    cameras = train[train_widths[0]].cameras
    points, colors = surface_points(world, n_points, draw, cameras=cameras)
    return Dataset(world, train, test, points, colors)


def make_capture(
    scene: str = "foliage",
    n: int = 50,
    *,
    width: int = 480,
    height: int = 270,
    noise_std: float = 0.01,
    blur_px: float = 0.0,
    exposure_stops: float = 0.0,
    jpeg: int | None = None,
    n_points: int = 3000,
    seed: int = 0,
    variant: int | None = None,
) -> tuple[Views, Tensor, Tensor]:
    """Photographs as one takes them by hand, with the points that structure from motion would find.

    `n` cameras walk round the scene ("thin" detail) in three loops at tilts of 4 to 32 degrees and distances of 2.6 to 4.2
    scene units; none looks exactly at the middle. Full angle of view 60 degrees across. `variant`: another scene, see
    `make_scene`. What a camera does to a picture comes in its order:

    blur_px         standard deviation of the lens's Gaussian blur, px
    exposure_stops  each photograph is lighter or darker by up to so many stops (factors of two), drawn uniformly
    noise_std       standard deviation of the sensor's noise, as a share of full scale; then values are rounded to 8 bits
    jpeg            quality (1 to 95) of a JPEG file that the photograph goes through; None: stored without loss

    Returns (views with uint8 images [n, height, width, 3], points [n_points, 3], colors [n_points, 3]). The seed decides
    all. `formats.write_colmap` stores the three in COLMAP's format.
    """
    n, width, height = (_pixels(f"make_capture: {k}", v) for k, v in dict(n=n, width=width, height=height).items())
    for name, value in dict(noise_std=noise_std, blur_px=blur_px, exposure_stops=exposure_stops).items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"make_capture: {name} must be finite and at least 0, got {value}")
    if jpeg is not None and not 1 <= _pixels("make_capture: jpeg", jpeg) <= 95:
        raise ValueError(f"make_capture: jpeg must be a quality from 1 to 95, got {jpeg}")
    world, rng = make_scene(scene, "thin", variant), np.random.default_rng(seed)
    f = 0.5 * width / math.tan(math.radians(60.0) / 2)
    K = np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]])
    cameras = []
    for i in range(n):
        around, tilt = 3 * 2 * np.pi * (i + rng.uniform()) / n, np.radians(4 + 28 * i / n)
        toward = np.array([np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), np.cos(tilt)])
        target = rng.uniform(-0.2, 0.2, 3)
        viewmat = look_at(target + rng.uniform(2.6, 4.2) * toward, target).viewmat
        cameras.append(Camera(viewmat, K, width, height))
    images = torch.stack([render_truth(world, camera) for camera in cameras])
    if blur_px > 0:
        from scipy.ndimage import gaussian_filter

        images = torch.from_numpy(gaussian_filter(images.numpy(), (0, blur_px, blur_px, 0), mode="nearest"))
    if exposure_stops > 0:  # a generator of its own: other conditions keep their noise and points
        stops = np.random.default_rng([seed, 3]).uniform(-exposure_stops, exposure_stops, (n, 1, 1, 1))
        images = images * torch.from_numpy(2.0**stops).float()
    if noise_std > 0:
        images = _add_noise(images, noise_std, rng)
    images = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    if jpeg is not None:
        images = torch.stack([_through_jpeg(image, jpeg) for image in images])
    points, colors = surface_points(world, n_points, rng, cameras=cameras)
    return Views(tuple(cameras), images), points, colors


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """A picture [H, W, 3] uint8 as it comes out of a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file)))


def _views(world: Scene, n: int, n_close: int, split: str, fov_deg: float, widths: Sequence[int]) -> dict[int, Views]:
    """The same cameras at several sizes. What divides the largest size is its box mean; the rest is rendered."""
    views = {}
    for width in widths:
        large = _truth(world, n, n_close, split, fov_deg, width if max(widths) % width else max(widths))
        small = box_mean(large.images, large.images.shape[2] // width)
        views[width] = Views(tuple(camera.at(width=width) for camera in large.cameras), small)
    return views


@lru_cache(maxsize=16)
def _truth(world: Scene, n: int, n_close: int, split: str, fov_deg: float, width: int) -> Views:
    """Cameras of a split and their true images; rendered once per setting."""
    first = 0 if world.variant is None else 1000 + 3 * world.variant  # of three seeds
    if split == "train":
        cameras = camera_ring(n - n_close, fov_deg=fov_deg, size=width, seed=first)
        cameras += camera_ring(n_close, distance=(1.4, 1.7), fov_deg=fov_deg, size=width, seed=first + 1)
    else:
        cameras = camera_ring(n, tilt_deg=(6.0, 18.0), fov_deg=fov_deg, size=width, seed=first + 2)
    images = [render_truth(world, camera) for camera in cameras]
    return Views(cameras, torch.stack(images) if images else torch.empty(0, width, width, 3))


def _add_noise(images: Tensor, std: float, generator: np.random.Generator) -> Tensor:
    return images + std * torch.from_numpy(generator.standard_normal(images.shape, dtype=np.float32))
