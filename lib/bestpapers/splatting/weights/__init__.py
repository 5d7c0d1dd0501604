"""The wing's small trained models, and how they were made.

    python -m bestpapers.splatting.weights          # trains them again, about two minutes on two cores

Each of `METHODS` is the wheel scene after single-scale training with one method. Beside the files lies card.json: settings,
hash of the training images, and the scores that a test measures again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ...lab.files import write_file

if TYPE_CHECKING:
    from ..data import Dataset
    from ..evaluate import Run
    from ..model import Gaussians

HERE = Path(__file__).parent
METHODS = ("3dgs", "ewa", "mip")
DATA = dict(scene="wheel", detail="thin", size=128, n_points=2500, seed=0)
TRAINING = dict(iterations=2000, lr_scale=1.0)


def load(method: str) -> Gaussians:
    """The trained wheel of a method: "3dgs", "ewa" or "mip"."""
    from ..model import Gaussians

    if method not in METHODS:
        raise ValueError(f"weights: there are models for {', '.join(METHODS)}, not for {method!r}")
    return Gaussians.load(HERE / f"{method}.safetensors")


def dataset() -> Dataset:
    """What they were trained on: 20 views of 128 x 128 px; test views at 128, 64, 32 and 16 px."""
    from ..data import make_dataset

    return make_dataset(**DATA)  # type: ignore[arg-type]


def data_hash(data: Dataset) -> str:
    """Hash of the training images as 8-bit values: tells whether two machines trained on the same data."""
    images = data.train[max(data.train)].images
    return hashlib.sha256((images.clamp(0, 1) * 255).round().byte().numpy().tobytes()).hexdigest()[:16]


def train() -> None:
    """Train all of them and write the files and the card."""
    from ..evaluate import compare
    from ..train import TrainConfig

    config = TrainConfig(density=None, **TRAINING)  # type: ignore[arg-type]
    runs: list[Run] = compare(lambda _: dataset(), METHODS, [DATA["seed"]], config, desc="weights")  # type: ignore[list-item]
    for run in runs:
        run.model.save(HERE / f"{run.method}.safetensors")
    card = dict(
        command="python -m bestpapers.splatting.weights",
        data=DATA,
        training=TRAINING,
        data_hash=data_hash(dataset()),
        psnr={run.method: {str(w): round(s["psnr"], 2) for w, s in run.scores.items()} for run in runs},
        gaussians=len(runs[0].model),
    )
    write_file(HERE / "card.json", (json.dumps(card, indent=1) + "\n").encode())
    print(json.dumps(card["psnr"], indent=1))
