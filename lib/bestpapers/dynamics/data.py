"""Clips of plants in the wind, and spectral volumes of many of them for training.

A clip has a number: the same scene under another wind. What a camera does to a clip is `film`: shake, noise, compression.
"""

from __future__ import annotations

import hashlib
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..course.progress import progress
from ..lab.files import atomic_write, cache_dir
from ..lab.runs import source_hash
from .worlds import FRAMES, KINDS, RATE, SLICES, Array, Bools, Floats, Scene, Wind, make_scene, plant_seeds

_HERE = Path(__file__).parent
# what decides how a scene looks and moves, as read when this code was
SOURCE = source_hash((_HERE / "worlds.py", *sorted(_HERE.glob("scenes/*.py")), Path(__file__)))

Frames = NDArray[np.uint8]


def wind(kind: str, seed: int, number: int) -> Wind:
    """The wind of clip `number` (from 0) of a scene: always the same one."""
    return Wind.draw(np.random.default_rng([KINDS.index(kind), seed, 1 + operator.index(number)]))


@dataclass(frozen=True)
class Clip:
    """Clip `number` of a scene, and all that is known of it. What is expensive is made when it is first asked for.

    height, width: pixels.   frames: how many, RATE a second.
    """

    kind: str
    seed: int
    number: int = 0
    height: int = 160
    width: int = 256
    frames: int = FRAMES

    @property
    def scene(self) -> Scene:
        return make_scene(self.kind, self.seed)

    @property
    def wind(self) -> Wind:
        return wind(self.kind, self.seed, self.number)

    @cached_property
    def q(self) -> Array:
        """(T, J): modal coordinates, 0 in frame 0."""
        return self.scene.motion(self.wind, self.frames, RATE)

    @cached_property
    def picture(self) -> Frames:
        """(H, W, 3): frame 0."""
        return self.scene.picture(self.height, self.width)

    @cached_property
    def video(self) -> Frames:
        """(T, H, W, 3): all frames, as drawn."""
        return self.scene.frames(self.q, self.height, self.width)

    @cached_property
    def flow(self) -> Floats:
        """(T, 2, H, W) px, exact."""
        return self.scene.flow(self.q, self.height, self.width)

    @cached_property
    def visible(self) -> Bools:
        """(T, H, W): pixels of frame 0 that are still to be seen."""
        return self.scene.visible(self.q, self.height, self.width)

    @cached_property
    def mask(self) -> Bools:
        """(H, W): what can move."""
        return self.scene.mask(self.height, self.width)

    def spectrum(self, slices: int = SLICES) -> NDArray[np.complex64]:
        """(K, 2, H, W): the exact spectral volume."""
        return self.scene.spectrum(self.q, self.height, self.width, slices)


# -------------------------------------------------------------------------------------------------------------- camera


@dataclass(frozen=True)
class Film:
    """frames (T, H, W, 3) as a camera has them; shifts (T, 2) px (x, y): by how much each picture is displaced as a whole.

    shifts[0] = 0, so the true flow of the film is the scene's flow plus shifts[:, :, None, None].
    """

    frames: Frames
    shifts: Floats


def film(frames: Frames, seed: int, *, noise: float = 0.0, quality: int | None = None, shake: float = 0.0) -> Film:
    """What a camera makes of clean frames (T, H, W, 3) uint8: it shakes, its sensor is noisy, its file is compressed.

    noise: standard deviation at mid grey, in units of white (0.02 is a telephone at dusk); less in the dark, more in the light.
    quality: of JPEG, 1 to 100, frame by frame; None: no compression.   shake: standard deviation of the camera's drift in px, a
    slow wander (0.8 s) with a tremor of a sixth of it; the border repeats.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"film: frames {frames.dtype} {frames.shape}; expected uint8 (T, H, W, 3)")
    if noise < 0 or shake < 0 or not (quality is None or 1 <= quality <= 100):
        raise ValueError(
            f"film: noise {noise}, shake {shake}, quality {quality}; expected 0 or more, 0 or more, 1 to 100 or None"
        )
    rng = np.random.default_rng(seed)
    shifts = _wander(rng, len(frames)) * shake
    out = np.empty_like(frames)
    for n, frame in enumerate(frames):
        if shifts[n].any():
            move = np.array([[1, 0, shifts[n, 0]], [0, 1, shifts[n, 1]]])
            size = (frame.shape[1], frame.shape[0])
            frame = cv2.warpAffine(frame, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        if noise:
            light = frame / np.float32(255)
            grain = rng.standard_normal(frame.shape, np.float32) * (noise * np.sqrt(0.3 + 1.4 * light))
            frame = np.clip(255 * (light + grain) + 0.5, 0, 255).astype(np.uint8)
        if quality is not None:
            _, file = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
            frame = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))[..., ::-1]
        out[n] = frame
    return Film(out, shifts.astype(np.float32))


def _wander(rng: np.random.Generator, frames: int) -> Array:
    """(T, 2): a slow random path with a tremor on it, both of about unit size, from 0."""
    keep = np.exp(-1 / (0.8 * RATE))
    steps = rng.standard_normal((frames, 2))
    path = np.empty((frames, 2))
    now = steps[0]
    for n in range(frames):
        now = keep * now + np.sqrt(1 - keep**2) * steps[n]
        path[n] = now
    path += rng.standard_normal((frames, 2)) / 6
    return path - path[0]


# ------------------------------------------------------------------------------------------------------------- spectra


@dataclass(frozen=True)
class Spectra:
    """Pictures of P scenes and N spectral volumes of each.

    pictures: uint8 (P, 3, H, W).   masks: bool (P, h, w), what can move.   volumes: float16 (P, N, K, 4, h, w), in px of
    (h, w): Re x, Im x, Re y, Im y of each slice. Half precision errs by 1/2000 of a number, far less than flow can be measured.
    plants: kind and seed of each scene.   digest: a hash of what was asked for and of the code that made it, so it is the same
    on every processor, as the last bits of volumes are not.

    len and [n] go over pairs, scene by scene: picture (3, H, W) 0..1, volume (K, 4, h, w), mask (h, w); the first two float32.
    """

    pictures: Tensor
    masks: Tensor
    volumes: Tensor
    plants: tuple[tuple[str, int], ...]
    digest: str

    def __len__(self) -> int:
        return self.volumes.shape[0] * self.volumes.shape[1]

    def __getitem__(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        if not 0 <= n < len(self):
            raise IndexError(f"pair {n} of {len(self)}")
        p, w = divmod(n, self.volumes.shape[1])
        return self.pictures[p].float() / 255, self.volumes[p, w].float(), self.masks[p]


def spectra(
    kinds: Sequence[str],
    split: str,
    plants: int,
    winds: int,
    *,
    size: tuple[int, int] = (40, 64),
    picture: tuple[int, int] | None = None,
    slices: int = SLICES,
    start: int = 0,
    cache: bool = True,
) -> Spectra:
    """Exact spectral volumes of `plants` scenes of each kind of a split ("train" | "held-out") under `winds` winds each.

    size: (h, w) of volumes and masks.   picture: (H, W) of pictures (default: twice that).   start: number of the first wind,
    so that other winds of the same scenes can be had. A volume of 16 slices at 40 x 64 takes 0.33 MB.
    Kept in `lab.files.cache_dir()` under a name that is a hash of all that matters, this code included; cache=False: not.
    """
    if not kinds or min(plants, winds) < 1 or start < 0:
        raise ValueError(
            f"spectra: {len(kinds)} kinds, {plants} plants, {winds} winds from {start}; expected at least one of each"
        )
    (h, w), (height, width) = size, picture or (2 * size[0], 2 * size[1])
    which = [(kind, seed) for kind in kinds for seed in plant_seeds(kind, split, plants)]

    def make() -> dict[str, Tensor]:
        out = {
            "pictures": torch.empty(len(which), 3, height, width, dtype=torch.uint8),
            "masks": torch.empty(len(which), h, w, dtype=torch.bool),
            "volumes": torch.empty(len(which), winds, slices, 4, h, w, dtype=torch.float16),
        }
        for p, (kind, seed) in enumerate(progress(which, desc="scenes")):
            scene = make_scene(kind, seed)
            out["pictures"][p] = torch.from_numpy(scene.picture(height, width)).movedim(2, 0)
            out["masks"][p] = torch.from_numpy(scene.mask(h, w))
            for n in range(winds):
                volume = scene.spectrum(scene.motion(wind(kind, seed, start + n)), h, w, slices)
                parts = torch.view_as_real(torch.from_numpy(volume))  # (K, 2, h, w, 2)
                out["volumes"][p, n] = parts.movedim(4, 2).flatten(1, 2)
        return out

    asked = repr((which, winds, size, (height, width), slices, start))
    digest = hashlib.sha256(f"{SOURCE} {asked}".encode()).hexdigest()[:16]
    tensors = _kept(f"spectra-{SOURCE}-{digest}", make) if cache else make()
    return Spectra(plants=tuple(which), digest=digest, **tensors)


def _kept(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that are kept under this name, or those that `make` makes, which are then kept."""
    path = cache_dir() / "dynamics" / f"{name}.safetensors"
    if path.is_file():
        try:
            return load_file(path)
        except (OSError, SafetensorError):
            pass  # damaged: made again
    out = make()
    try:
        with atomic_write(path) as part:
            save_file(out, part)
        for old in path.parent.glob("spectra-*.safetensors"):
            if not old.name.startswith(f"spectra-{SOURCE}-"):
                old.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f"spectra are not kept: {error}", stacklevel=3)
    return out
