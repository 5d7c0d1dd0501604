r"""Has it learned to say nothing?

Most pixels of most pictures are faultless, so a model that predicts zeros everywhere has a small mean squared error. Training
often ends there. Two checkpoints have *the same* error over all data; one finds faults, the other has collapsed. Write the
test that tells them apart.

Collapsed is a model whose maps know nothing of their own picture: they fit the marks of *other* pictures as well. Zeros
do, a constant does, noise does, and so does a blob in the middle that comes for every picture. A map that lies
right has not collapsed, however faint it is.
"""

import numpy as np
from numpy.typing import NDArray

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "challenge", 25, 3
HINT = r"""
Correlate each map with its own label and with the labels of other pictures, over the pictures that have marks. If
subtracting the mean leaves nothing of a map but rounding errors, its correlation is 0.
"""
NOTE = r"""
The error cannot do it, at any threshold. If the marks cover a share $c$ of the pixels, zeros get an error of about $c$ times
their mean square, and a model that finds half of the faults and is a little bright elsewhere gets the same.

Comparing with the labels of other pictures is a control like any other: it keeps all that is true of faults in
general, and takes away what belongs to this picture. The cure is in [2_build](2_build.ipynb): how the output begins, and
what is weighed in the loss.
"""


def collapse(predicted: NDArray, labels: NDArray) -> bool:
    """Whether maps say nothing of their own pictures.

    predicted, labels (N, H, W), 0 to 1; some labels are empty, at least four are not
    -> True if the model has collapsed
    """
    marked = labels.any((1, 2))

    def directions(maps: NDArray) -> NDArray:
        flat = maps[marked].reshape(marked.sum(), -1).astype(float)
        apart = flat - flat.mean(1, keepdims=True)
        length = np.linalg.norm(apart, axis=1, keepdims=True)
        rounding = 1e-6 * np.linalg.norm(flat, axis=1, keepdims=True)
        return np.where(length > rounding, apart / np.maximum(length, 1e-30), 0)

    cc = directions(predicted) @ directions(labels).T
    n = len(cc)
    own = np.trace(cc) / n
    others = (cc.sum() - np.trace(cc)) / (n * (n - 1))
    return bool(own - others < 0.1)


check = Checker("5.11")
SIZE = 24


def _labels(N: int = 40, share: float = 0.5) -> NDArray:
    """Maps of one disc each, nearer to the middle than to the border; a share of them is empty."""
    rng = np.random.default_rng(0)
    y, x = np.indices((SIZE, SIZE))
    centres = np.clip(rng.normal(SIZE / 2, SIZE / 5, (N, 2)), 1, SIZE - 2)
    discs = np.stack([np.hypot(x - cx, y - cy) < 2.5 for cx, cy in centres]) * rng.integers(1, 4, (N, 1, 1)) / 3
    discs[: round(N * (1 - share))] = 0
    return discs


def _noise(labels: NDArray) -> NDArray:
    return np.random.default_rng(1).random(labels.shape)


def _as_wrong_as_zeros(labels: NDArray) -> NDArray:
    """Half of each label, and so much noise that the error over all data is that of zeros."""
    rest, noise = -0.5 * labels, 0.5 * _noise(labels)
    a, b, c = (noise**2).mean(), 2 * (rest * noise).mean(), (rest**2).mean() - (labels**2).mean()
    strength = (-b + (b * b - 4 * a * c) ** 0.5) / (2 * a)
    return 0.5 * labels + strength * noise


def _says(answer, predicted: NDArray, labels: NDArray, want: bool, what: str) -> None:
    found = answer(predicted, labels)
    true(bool(found) == want, f"{want} for {what}", found)


@check.property("of two models with the error of zeros, the one that gives zeros has collapsed")
def _(answer):
    labels = _labels()
    model = _as_wrong_as_zeros(labels)
    close(((model - labels) ** 2).mean(), (labels**2).mean())  # or the exercise would not ask what it says
    _says(answer, 0 * labels, labels, True, "maps of zeros")
    _says(answer, model, labels, False, "half of each label, and noise")


@check.property("a constant has collapsed, and so has noise")
def _(answer):
    labels = _labels()
    for value in (0.02, 0.3, 1.0):
        _says(answer, np.full_like(labels, value), labels, True, f"maps of {value}")
    for strength in (0.01, 0.5):
        _says(answer, strength * _noise(labels), labels, True, f"noise of {strength}")


@check.property("a faint map that lies right has not")
def _(answer):
    labels = _labels()
    for strength in (0.1, 0.003):
        _says(answer, strength * labels, labels, False, f"{strength} times the label")
        _says(answer, 0.2 + strength * labels, labels, False, f"0.2 and {strength} times the label")


@check.property("one map for all pictures has, even the best one")
def _(answer):
    labels = _labels()
    _says(
        answer, np.broadcast_to(labels.mean(0), labels.shape).copy(), labels, True, "the mean label for every picture"
    )


@check.property("what the maps of faultless pictures look like does not matter")
def _(answer):
    labels = _labels(120, share=0.05)
    empty = ~labels.any(axis=(1, 2), keepdims=True)
    _says(answer, np.where(empty, _noise(labels), labels), labels, False, "labels, and noise where the label is empty")
    _says(answer, np.where(empty, 0, _noise(labels)), labels, True, "zeros, and noise where the label is not empty")
