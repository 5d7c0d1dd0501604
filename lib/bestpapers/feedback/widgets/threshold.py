"""From a heatmap to what is painted anew: threshold, dilation, and what precision and recall they give against the truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike
from PIL import Image

from ...course.widgets import Widget


class Threshold(Widget):
    """Pictures, heatmaps of what is wrong with them, and the truth; the reader sets what becomes a mask.

    pictures   (S, H, W, 3) uint8
    maps       (S, H, W), 0..1: what a model or a panel says
    truths     (S, H, W) bool: where the picture is wrong
    titles     [S] what the pictures are called: their prompts
    grid       tokens along a side, of which H and W are multiples; a mask touches a token if it holds one of its pixels, as
               in `generator.token_mask`
    scene      which picture, from 0
    threshold  a pixel is marked where its map is above this, 0..1
    dilation   by how many pixels the marked region is made wider on all sides, 0 to 12

    The last three follow the reader. Precision and recall are of the pixels, and of the tokens against those that the truth
    touches; "none" where nothing is marked, or nothing is wrong.

    Raises:
        ValueError: arrays or titles that do not agree.
        traitlets.TraitError: a number out of range.
    """

    module = Path(__file__).with_name("threshold.js")

    size = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W]
    grid = traitlets.Int(8, min=1).tag(sync=True)
    pictures = traitlets.Bytes().tag(sync=True)
    maps = traitlets.Bytes().tag(sync=True, floats="<f4")
    truths = traitlets.Bytes().tag(sync=True)
    titles = traitlets.List(traitlets.Unicode()).tag(sync=True)
    scene = traitlets.Int(0).tag(sync=True)
    threshold = traitlets.Float(0.3, min=0.0, max=1.0).tag(sync=True)
    dilation = traitlets.Int(1, min=0, max=12).tag(sync=True)
    caption = traitlets.Unicode(
        "Choose a picture and move the two sliders. A mask that is too small leaves part of the fault in place; one that is "
        "too large repaints what was sound."
    ).tag(sync=True)

    def __init__(
        self,
        pictures: ArrayLike,
        maps: ArrayLike,
        truths: ArrayLike,
        titles: Sequence[str],
        *,
        grid: int = 8,
        **kwargs: Any,
    ) -> None:
        p, m, t = np.asarray(pictures), np.asarray(maps, np.float32), np.asarray(truths)
        if p.ndim != 4 or not len(p) or p.dtype != np.uint8 or p.shape[3] != 3 or t.dtype != bool:
            raise ValueError(
                f"Threshold: wants pictures (S, H, W, 3) uint8 and truths bool, got {p.shape} {p.dtype}, {t.dtype}"
            )
        if not m.shape == t.shape == p.shape[:3] or len(titles) != len(p):
            raise ValueError(
                f"Threshold: pictures {p.shape}, maps {m.shape}, truths {t.shape}, {len(titles)} titles: these do not agree"
            )
        if p.shape[1] % grid or p.shape[2] % grid or not (m.min() >= 0 and m.max() <= 1):
            raise ValueError(f"Threshold: wants sides that are multiples of grid ({grid}), and maps 0..1")
        super().__init__(
            size=list(p.shape[1:3]),
            grid=grid,
            pictures=p.tobytes(),
            maps=m.astype("<f4").tobytes(),
            truths=t.astype(np.uint8).tobytes(),
            titles=list(titles),
            **kwargs,
        )

    @traitlets.validate("scene")
    def _one_of_the_scenes(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.titles):
            raise traitlets.TraitError(f"scene must be 0 to {len(self.titles) - 1}, got {proposal['value']}")
        return int(proposal["value"])

    def describe(self) -> str:
        return (
            "A picture, a heatmap of what is wrong with it, and the mask that a threshold and a dilation make of it, in pixels "
            "and in tokens of the generator, with precision and recall against the truth. Sliders set both. Now: "
            f"“{self.titles[self.scene]}”, threshold {self.threshold:.2f}, {self.dilation} pixels wider."
        )

    def still(self) -> list[tuple[bytes, str]]:
        picture = np.frombuffer(self.pictures, np.uint8).reshape(-1, *self.size, 3)[self.scene]
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
        return [(buffer.getvalue(), f"Picture for “{self.titles[self.scene]}”.")]
