"""A still picture that one can pull and let ring, or that the wind moves in a loop. The browser computes it (pluck.js).

The spectral volume travels as a grey PNG of 8 bits, which any browser unpacks and which tests compare with a tolerance.
Below each other: for each slice 1 .. K-1 the planes Re x, Im x, Re y, Im y, then one with the weight. A plane holds
128 + 127 sign(S) sqrt(|S| / s): the square root of the paper's normalisation (section 4.2), here with an s that clips
nothing, the geometric mean of the largest |S| of this plane and that of all, since what moves little needs fewer steps.
Slice 0 is not stored: that the first frame is the picture ties it to the others, and a pull uses only what swings.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ...course.display import required_text
from ...course.widgets import Widget

LIMIT = 300_000  # bytes of the state: a notebook stores it twice
QUALITY = 90  # of the picture as WebP
SHRINK = 0.85  # of the grid's sides, until the volume fits
STILL = 320  # pixels of the larger side of the picture where no script runs
LEAST_SIDE = 16  # cells
RANGES = {"damping": (1 / 16, 4.0), "speed": (1 / 8, 2.0), "gain": (1 / 4, 4.0)}
ALPHA, BETA = 0.4, 0.08  # 1/s and s, damping of the supplement: gamma = alpha + beta omega^2


class Pluck(Widget):
    """A picture whose parts can be pulled with mouse, finger or keys and swing back, or a loop. See `from_spectrum`.

    Traits that follow the reader: `mode`, "touch" or "loop"; `damping`, times the given one; `speed`, times real time;
    `gain`, times the motion (1: a pulled point follows the cursor); `bands` [K], how loud each slice is, the first for the
    mean lean of the loop. Traits for the page: `playing` False is a loop that waits for the reader, as it does for those
    who ask for less motion; `compact` folds the sliders away; `equaliser` opens the bands.

    A pull of point p by D pixels sets q_k(0) = conj(f . S_k(p)), with the force f for which p moves by D. It is that of
    `modal.pull`, whose module says how it differs from the supplement's rule (Eqs. 9 and 10). Ours besides: a pull ends
    where anything else would move farther than a fifth of the picture's smaller side. When the reader takes hold of
    something in the loop, the wind drops: the motion goes on as free swinging from the same positions and velocities.
    """

    module = Path(__file__).with_name("pluck.js")
    still_style = "width:100%;max-width:48em"

    picture = traitlets.Bytes().tag(sync=True)  # WebP
    volume = traitlets.Bytes().tag(sync=True)  # PNG, see the module's docstring
    scales = traitlets.List(traitlets.Float()).tag(sync=True)  # [(K - 1) * 4], s of each plane in cells, not pixels
    grid = traitlets.List(traitlets.Int()).tag(sync=True)  # [height, width] of S
    size = traitlets.List(traitlets.Int()).tag(sync=True)  # [height, width] of the picture
    step = traitlets.Float().tag(sync=True)  # Hz between slices
    frames = traitlets.Int().tag(sync=True)  # T
    alpha = traitlets.Float(ALPHA).tag(sync=True)
    beta = traitlets.Float(BETA).tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    mode = traitlets.Enum(["touch", "loop"], "touch").tag(sync=True)
    playing = traitlets.Bool(True).tag(sync=True)
    compact = traitlets.Bool(False).tag(sync=True)
    equaliser = traitlets.Bool(False).tag(sync=True)
    damping = traitlets.Float(1.0).tag(sync=True)
    speed = traitlets.Float(1.0).tag(sync=True)
    gain = traitlets.Float(1.0).tag(sync=True)
    bands = traitlets.List(traitlets.Float()).tag(sync=True)

    @classmethod
    def from_spectrum(
        cls,
        picture: ArrayLike,
        spectrum: Any,
        *,
        rate: float = 30.0,
        frames: int = 150,
        weight: ArrayLike | None = None,
        alt: str = "A picture whose parts move.",
        caption: str = "Drag a part that moves and let go.",
        limit: int = LIMIT,
        **traits: Any,
    ) -> Pluck:
        """A widget from a picture and its spectral volume.

        picture   uint8 (H, W, 3)
        spectrum  complex (K, 2, h, w), an array or a tensor, unnormalised DFT over `frames` samples; motion in pixels of
                  its own grid, which need not be the picture's. Slice 0 is not used
        rate      samples per second
        weight    (h, w), what is larger lies in front; by default the mean length of the motion over the clip (section 5)
        alt       what the picture shows, for readers who do not see it
        limit     bytes of picture and volume as text. A finer volume is made coarser until it fits
        traits    mode, damping, speed, gain, alpha, beta, compact, ... as above

        Raises:
            ValueError: a shape, type or number that cannot be, nothing that moves, or a picture that alone exceeds the limit.
        """
        image, S = np.asarray(picture), _complex(spectrum)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < LEAST_SIDE:
            raise ValueError(
                f"picture must be uint8 (H, W, 3) of at least {LEAST_SIDE} pixels a side, got {image.dtype} {image.shape}"
            )
        if not rate > 0 or not 2 * (len(S) - 1) <= frames:
            raise ValueError(
                f"{len(S)} slices need a positive rate and at least {2 * len(S) - 2} frames, got {rate}, {frames}"
            )
        front = _weight(S, frames) if weight is None else np.asarray(weight, dtype=np.float64)
        if front.shape != S.shape[2:] or not np.isfinite(front).all() or front.min() < 0:
            raise ValueError(f"weight must be finite, not negative, of shape {S.shape[2:]}, got {front.shape}")
        if not front.any() or not S[1:].any():
            raise ValueError("nothing moves: the spectral volume is zero in all slices but the constant one")
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="WEBP", quality=QUALITY, method=6)
        room = limit * 3 // 4 - len(buffer.getvalue())  # base64 makes four letters of three bytes
        full = S.shape[2:]
        while True:
            volume, scales = _pack(S[1:], front)
            if len(volume) <= room:
                break
            smaller = tuple(round(side * SHRINK) for side in S.shape[2:])
            if min(smaller) < LEAST_SIDE:
                raise ValueError(
                    f"the picture takes {len(buffer.getvalue()) * 4 / 3:,.0f} of {limit:,} bytes, which leaves no room for "
                    "its motion: give a smaller picture or a larger limit"
                )
            S, front = _resized(_complex(spectrum), smaller), _resized(front, smaller)
        unit = (
            S.shape[2] / full[0],
            S.shape[3] / full[1],
        )  # S is in pixels of the full grid; the scales in cells of this
        return cls(
            picture=buffer.getvalue(),
            volume=volume,
            scales=[s * unit[1 if i % 4 < 2 else 0] for i, s in enumerate(scales)],
            grid=list(S.shape[2:]),
            size=list(image.shape[:2]),
            step=rate / frames,
            frames=frames,
            bands=[1.0] * len(S),
            alt=required_text(alt, "alt", "say what the picture shows"),
            caption=required_text(caption, "caption", "a figure needs a line that says what to look at"),
            **traits,
        )

    @traitlets.validate("damping", "speed", "gain")
    def _in_range(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, float(proposal["value"])
        low, high = RANGES[name]
        if not low <= value <= high:
            raise traitlets.TraitError(f"{name} must lie from {low:g} to {high:g}, got {value:g}")
        return value

    @traitlets.validate("bands")
    def _loudness(self, proposal: Any) -> list[float]:
        value = [float(x) for x in proposal["value"]]
        if len(value) != len(self.scales) // 4 + 1 or not all(0 <= x <= 2 for x in value):
            raise traitlets.TraitError(
                f"bands must be {len(self.scales) // 4 + 1} numbers from 0 to 2, got {proposal['value']}"
            )
        return value

    def spectrum(self) -> NDArray[np.complex64]:
        """What the widget plays, (K - 1, 2, h, w), slices 1 .. K-1 on its grid, in pixels of the picture."""
        planes = np.asarray(Image.open(io.BytesIO(self.volume)), np.float32).reshape(-1, *self.grid)[:-1]
        root = (planes - 128) / 127
        values = root * np.abs(root) * np.array(self.scales, np.float32)[:, None, None]
        S = values.reshape(-1, 2, 2, *self.grid)
        S = S * (np.array(self.size) / np.array(self.grid))[::-1][None, :, None, None, None]
        return (S[:, :, 0] + 1j * S[:, :, 1]).astype(np.complex64)

    def describe(self) -> str:
        first, last = self.step, self.step * (len(self.scales) // 4)
        now = {"touch": "It stands still until it is pulled.", "loop": "A loop plays."}[self.mode]
        return (
            f"{self.alt} Any part that moves can be pulled with mouse, finger or keys; let go, it swings back by its modes of "
            f"{first:.3g} to {last:.3g} hertz. A loop of {1 / self.step:.3g} seconds can be played. Sliders set damping, "
            f"speed and strength, and each mode can be switched off. {now}"
        )

    def still(self) -> list[tuple[bytes, str]]:
        buffer, image = io.BytesIO(), Image.open(io.BytesIO(self.picture))
        image.thumbnail((STILL, STILL))
        image.quantize(64).save(buffer, format="PNG", optimize=True)
        return [(buffer.getvalue(), self.alt)]


def _complex(spectrum: Any) -> NDArray[np.complex64]:
    S = np.asarray(spectrum.detach().cpu().numpy() if hasattr(spectrum, "detach") else spectrum)
    if S.ndim != 4 or S.shape[1] != 2 or len(S) < 2 or min(S.shape[2:]) < LEAST_SIDE or not np.iscomplexobj(S):
        raise ValueError(
            f"spectrum must be complex (K, 2, h, w), K >= 2, at least {LEAST_SIDE} pixels a side, got {S.dtype} {S.shape}"
        )
    if not np.isfinite(S).all():
        raise ValueError(f"spectrum holds {np.count_nonzero(~np.isfinite(S))} numbers that are not finite")
    return S.astype(np.complex64)


def _weight(S: NDArray[np.complex64], frames: int) -> NDArray[np.float64]:
    """Mean length of the motion over the clip, (h, w): what moves more lies in front (section 5)."""
    total = np.zeros(S.shape[2:])
    waves = np.exp(2j * np.pi * np.outer(np.arange(0, frames, 3), np.arange(1, len(S))) / frames) - 1  # F_0 = 0
    for wave in waves.astype(np.complex64):
        total += np.linalg.norm((2 / frames) * np.tensordot(wave, S[1:], 1).real, axis=0)
    return total / len(waves)


def _pack(S: NDArray[np.complex64], weight: NDArray[np.float64]) -> tuple[bytes, list[float]]:
    """Slices (K, 2, h, w) and weight (h, w) as PNG, and the K * 4 scales."""
    planes = np.stack([S.real, S.imag], 2).reshape(-1, *S.shape[2:])
    largest = np.abs(planes).max((1, 2))
    scales = [float(f"{s:.6g}") for s in np.sqrt(largest * largest.max()) * (1 + 1e-5)]
    shares = planes / np.array([s or 1.0 for s in scales])[:, None, None]
    stored = np.rint(128 + 127 * np.sign(shares) * np.sqrt(np.abs(shares)))
    front = np.rint(255 * weight / weight.max())[None]
    buffer = io.BytesIO()
    page = np.concatenate([stored, front]).astype(np.uint8).reshape(-1, S.shape[3])
    Image.fromarray(page).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue(), scales


def _resized(array: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """(..., h, w) on a coarser grid. Picked: the mean of what moves and what stands is a motion that nothing has."""
    rows, columns = (((np.arange(n) + 0.5) * old / n).astype(int) for n, old in zip(size, array.shape[-2:]))
    return array[..., rows[:, None], columns]
