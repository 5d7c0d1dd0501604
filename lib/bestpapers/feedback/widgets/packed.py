"""A model's weights as the widgets carry them: one row of float16 and what lies where in it; rahf.js computes with them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ..model import RAHF

USED = ("size", "patch", "width", "heads", "image_layers", "fusion_layers", "longest", "maps", "scores", "vocabulary")
LIMIT = 3_000_000  # bytes: as text they take a third more, and a notebook stores them twice


def packed(model: RAHF) -> tuple[dict[str, Any], list[list[Any]], bytes]:
    """The configuration; the tensors as [name, shape], without those of the decoder, which the page does not run; and their
    numbers, float16, one tensor after the other.

    Raises:
        ValueError: the model is no multi-head one with our own trunk, holds numbers that float16 does not, or is too large.
    """
    if model.config.variant != "multi-head" or not hasattr(model.trunk, "stem"):
        raise ValueError("packed: the page runs the multi-head variant with the small trunk, no other")
    given = asdict(model.config)
    config = {name: list(given[name]) if isinstance(given[name], tuple) else given[name] for name in USED}
    kept = {name: x.cpu().numpy() for name, x in model.state_dict().items() if not name.startswith("decoder.")}
    with np.errstate(over="ignore"):
        weights = np.concatenate([x.ravel() for x in kept.values()]).astype("<f2")
    if not np.isfinite(weights).all():
        raise ValueError("packed: a weight is not finite as float16")
    if weights.nbytes > LIMIT:
        raise ValueError(f"packed: the weights take {weights.nbytes / 1e6:.1f} MB, the limit is {LIMIT / 1e6:g} MB")
    return config, [[name, list(x.shape)] for name, x in kept.items()], weights.tobytes()
