"""The sandbox of measures: a blob to drag over a heatmap that people made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from ...course.widgets import Widget


class Sandbox(Widget):
    """A label, a Gaussian blob as its prediction, and MSE, CC, KLD, SIM, NSS and AUC of the two, as in `metrics` ("ours").

    labels  title -> heatmap (H, W), 0..1, all of one size; an empty one shows what has no value then
    label   which of them, from 0
    x, y    middle of the blob in pixels, the centre of the first pixel being 0, 0
    width   its standard deviation, pixels
    peak    its height, 0..1

    The traits but `labels` follow the reader.

    Raises:
        ValueError: no label, sizes that differ, or values outside of 0..1.
        traitlets.TraitError: a number out of range.
    """

    module = Path(__file__).with_name("sandbox.js")

    size = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W]
    labels = traitlets.Bytes().tag(sync=True, floats="<f4")  # [L, H, W]
    titles = traitlets.List(traitlets.Unicode()).tag(sync=True)
    label = traitlets.Int(0).tag(sync=True)
    x = traitlets.Float(20.0).tag(sync=True)
    y = traitlets.Float(20.0).tag(sync=True)
    width = traitlets.Float(6.0, min=0.5).tag(sync=True)
    peak = traitlets.Float(1.0, min=0.0, max=1.0).tag(sync=True)
    caption = traitlets.Unicode(
        "Drag the blob in the second picture and set its width and height. Make it fainter: of the six only MSE changes. "
        "Each measure forgives something else, so one alone says little."
    ).tag(sync=True)

    def __init__(self, labels: Mapping[str, ArrayLike], **kwargs: Any) -> None:
        maps = [np.asarray(values, np.float32) for values in labels.values()]
        if not maps or maps[0].ndim != 2 or any(m.shape != maps[0].shape for m in maps):
            raise ValueError(f"Sandbox: wants heatmaps (H, W) of one size, got {[m.shape for m in maps]}")
        if any(not (m.min() >= 0 and m.max() <= 1) for m in maps):
            raise ValueError("Sandbox: wants heatmaps with values 0..1")
        super().__init__(
            size=list(maps[0].shape), labels=np.stack(maps).astype("<f4").tobytes(), titles=list(labels), **kwargs
        )

    @traitlets.validate("label")
    def _one_of_the_labels(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.titles):
            raise traitlets.TraitError(f"label must be 0 to {len(self.titles) - 1}, got {proposal['value']}")
        return int(proposal["value"])

    def describe(self) -> str:
        return (
            "A heatmap of people, and a blob that one drags over it as its prediction; beside them MSE, CC, KLD, SIM, NSS and "
            f"AUC of the two, at once. Sliders set the blob's width and height. The label is one of: {', '.join(self.titles)}."
        )
