"""The clip that comes with the book, and the command that made it: drawn sunflowers in wind, as a telephone might film them.

    python -m bestpapers.dynamics.clips            # makes clip and card again, 15 s on one core; needs PyAV
    python -m bestpapers.dynamics.clips --verify   # is the file that of the card?

Five seconds of a held-out scene that no model of ours was trained on. The hand trembles a little, the sensor is noisy, and VP9
leaves out what it thinks nobody sees. Since it is drawn, `truth` knows what really moved: the only clip in which flow can be
scored. The file is larger than the size at which the wing works, as a real one is, so that a reader has to shrink it.
"""

from __future__ import annotations

import os
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...lab import machine
from ...lab.files import atomic_write
from ...lab.images import psnr
from ...lab.weights import Card
from ..data import Clip, Film, film

HERE = Path(__file__).parent
SUNFLOWERS = HERE / "sunflowers.webm"
SCENE = dict(kind="flowers", seed=1_000_000, number=3)
HEIGHT, WIDTH, FRAMES = 240, 384, 150
SEED = 0  # of the camera
CAMERA = dict(noise=0.008, shake=0.5)  # grain of white, px of the file's own size
CODEC = dict(crf=34, cpu_used=4)  # VP9: constant quality, and how hard it tries


@lru_cache(maxsize=1)
def drawn() -> Clip:
    """The clip before it was filmed, at the file's size."""
    return Clip(**SCENE, height=HEIGHT, width=WIDTH, frames=FRAMES)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def filmed() -> Film:
    """What the camera saw, before it was compressed: uint8 (150, 240, 384, 3), 5 s of CPU."""
    return film(drawn().video, SEED, **CAMERA)  # type: ignore[arg-type]


def truth(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """What really moved in sunflowers.webm, for a size of the same shape as the file's, 5 : 8.

    Returns the exact flow of the scene, float32 (150, 2, height, width) px; the camera's shifts (150, 2) px, which a measured
    flow has on top; and what can move, bool (height, width).
    """
    if height * WIDTH != width * HEIGHT:
        raise ValueError(f"truth: {height} x {width} has another shape than the file's {HEIGHT} x {WIDTH}")
    scene, q = drawn().scene, drawn().q
    flow, mask = (torch.from_numpy(a) for a in (scene.flow(q, height, width), scene.mask(height, width)))
    # the shake is drawn before the grain and knows nothing of the pictures, so that nothing has to be painted for it
    shifts = film(np.zeros((FRAMES, 1, 1, 3), np.uint8), SEED, shake=CAMERA["shake"]).shifts
    return flow, torch.from_numpy(shifts) * (height / HEIGHT), mask


def write(path: str | Path, frames: NDArray[np.uint8]) -> None:
    """Frames uint8 (T, H, W, 3), H and W even, as VP9 in WebM. ValueError without PyAV (`pip install av`)."""
    try:
        import av
    except ImportError as error:
        raise ValueError("clips.write needs PyAV: pip install av") from error
    how = dict(crf=str(CODEC["crf"]), b="0", threads="1", deadline="good") | {"cpu-used": str(CODEC["cpu_used"])}
    with atomic_write(Path(path)) as part:
        named = part.with_name(part.name + ".webm")  # PyAV goes by the ending
        try:
            with av.open(str(named), "w") as container:
                stream = container.add_stream("libvpx-vp9", rate=Fraction(30), options=how)
                stream.height, stream.width = frames.shape[1:3]
                stream.pix_fmt = "yuv420p"
                for frame in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                container.mux(stream.encode(None))
            os.replace(named, part)
        finally:
            named.unlink(missing_ok=True)


def scores(path: str | Path = SUNFLOWERS) -> dict[str, float]:
    """What compression has cost: PSNR in dB of the file's frames against those of the camera."""
    from ..formats import read_video

    found = read_video(path, size=None, desc=None).frames
    pairs = zip(found, filmed().frames, strict=True)
    each = [psnr(*(torch.from_numpy(f).float().movedim(-1, 0) / 255 for f in pair)).item() for pair in pairs]
    return {"psnr": round(float(np.mean(each)), 1), "worst psnr": round(min(each), 1)}


def make() -> Card:
    """Draw, film, compress; write sunflowers.webm and card.json into this folder."""
    write(SUNFLOWERS, filmed().frames)
    card = Card.of(
        HERE,
        [SUNFLOWERS.name],
        command="python -m bestpapers.dynamics.clips",
        data=SCENE | dict(height=HEIGHT, width=WIDTH, frames=FRAMES),
        data_hash={},
        settings={**CAMERA, **CODEC},
        scores=scores(),
        size={"frames": FRAMES},
        versions=machine.versions("numpy", "numba", "opencv-python-headless", "av"),
    )
    card.write(HERE)
    return card
