"""The wing's small trained models, and how they were made.

    python -m bestpapers.splatting weights            # trains them again, about two minutes on two cores
    python -m bestpapers.splatting weights --verify   # are the files those of the card?

Each of `METHODS` is the wheel scene after single-scale training with one method. Beside the files lies card.json, see
`lab.weights`: a test measures its scores again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...lab.weights import arguments

if TYPE_CHECKING:
    import argparse

    from ..data import Dataset
    from ..model import Gaussians

__all__ = ["arguments", "data_hash", "dataset", "load", "run", "train"]

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


def data_hash(data: Dataset) -> dict[str, str]:
    """Hash of the training images as 8-bit values: tells whether two machines trained on the same data."""
    from ...lab.runs import fingerprint

    images = data.train[max(data.train)].images
    return dict(training=fingerprint((images.clamp(0, 1) * 255).round().byte()))


def train() -> None:
    """Train all of them and write the files and the card."""
    from ...lab.weights import Card
    from ..experiments import compare
    from ..train import TrainConfig

    config = TrainConfig(density=None, **TRAINING)  # type: ignore[arg-type]
    runs = compare(lambda _: dataset(), METHODS, [DATA["seed"]], config, desc="weights")  # type: ignore[list-item]
    for run in runs:
        run.model.save(HERE / f"{run.method}.safetensors")
    psnr = {run.method: {str(w): round(s["psnr"], 2) for w, s in run.scores.items()} for run in runs}
    Card.of(
        HERE,
        [f"{method}.safetensors" for method in METHODS],
        command="python -m bestpapers.splatting weights",
        data=DATA,
        data_hash=data_hash(dataset()),
        settings=dict(methods=METHODS, training=TRAINING),
        scores=dict(psnr=psnr),
        size=dict(gaussians=len(runs[0].model)),
    ).write(HERE)


def run(options: argparse.Namespace) -> int:
    from ...lab.weights import verify

    if options.verify:
        return verify(HERE)
    train()
    return 0
