r"""Four measures of one map

A prediction $P$ and a label $G$ over the same pixels, both 0 or more. With $p = P / \sum P$, $g = G / \sum G$ and
$\varepsilon = 10^{-8}$:

| measure | formula | perfect |
| --- | --- | --- |
| `cc` | Pearson's correlation of $P$ and $G$ over pixels; 0 if $P$ is the same everywhere | 1 |
| `kld` | $\sum g \log\left(g / (p + \varepsilon) + \varepsilon\right)$ | 0 |
| `sim` | $\sum \min(p, g)$ | 1 |
| `auc` | the chance that $P$ is larger at a marked pixel ($G > 0$) than at one that is not; a tie counts half | 1 |

A prediction of zeros has $p = 0$. Where the label is empty, there is no place to find: return nan for all four. Labels are
never marked all over.
"""

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from ...course.checks import Checker, close, true
from .. import metrics

LEVEL, MINUTES, DIFFICULTY = "core", 25, 2
HINT = r"""
For the area, sort $P$ of the unmarked pixels. `np.searchsorted(rest, marked)` says how many of them lie below each marked one,
and with `side="right"` how many lie below or are tied. In `kld`, the sum goes over marked pixels only.
"""
NOTE = r"""
No measure sees all. A background of 0.05 everywhere, which you cannot see in the picture, leaves `cc` and `auc` as they are
and ruins `kld` and `sim`. (Here the prediction is the label itself. One that misses marks can gain in `kld` from a background.)
A blob in the middle that knows nothing of the picture gets an `auc` of 0.8 and more where faults lie in
the middle. So print the map of zeros and the blob beside every model.

Public codes disagree on $\varepsilon$, on what `sim` does to a background, on the direction of a tie. `metrics.VARIANTS` names
them. A table that does not say which one it used cannot be compared with another.
"""


def map_measures(P: NDArray, G: NDArray) -> dict[str, float]:
    """How well a map is predicted.

    P, G (H, W): prediction and label, 0 or more
    -> {"cc": ..., "kld": ..., "sim": ..., "auc": ...}, all nan if G is empty
    """
    if not G.any():
        return dict.fromkeys(("cc", "kld", "sim", "auc"), math.nan)
    flat, label = P.ravel().astype(float), G.ravel().astype(float)
    a, b = flat - flat.mean(), label - label.mean()
    cc = 0.0 if np.ptp(flat) == 0 else a @ b / math.sqrt((a @ a) * (b @ b))
    p, g = flat / (flat.sum() or 1), label / label.sum()
    marked = label > 0
    kld = (g * np.log(g / (p + 1e-8) + 1e-8))[marked].sum()
    rest = np.sort(flat[~marked])
    below, upto = (np.searchsorted(rest, flat[marked], s) for s in ("left", "right"))
    auc = (below + upto).mean() / 2 / len(rest)
    return {"cc": cc, "kld": kld, "sim": np.minimum(p, g).sum(), "auc": auc}


def run() -> None:
    """What each measure forgives, for the cell of the solution."""
    y, x = np.indices((64, 64))
    label = (np.hypot(x - 20, y - 24) < 6) / 3 + (np.hypot(x - 23, y - 24) < 6) / 3
    blob = np.exp(-((x - 31.5) ** 2 + (y - 31.5) ** 2) / 512)
    for name, P in (
        ("the label", label),
        ("and 0.05 everywhere", label + 0.05),
        ("moved by 4 pixels", np.roll(label, 4, 1)),
        ("zeros", 0 * label),
        ("a blob in the middle", blob),
    ):
        found = map_measures(P, label)
        print(f"{name:20}", *(f"{k} {abs(v):5.2f}" for k, v in found.items()), sep="  ")


check = Checker("5.4")
NAMES = ("cc", "kld", "sim", "auc")


def _maps(seed: int = 0) -> tuple[NDArray, NDArray]:
    """A prediction and a label of 12 x 16 with about 30 marked pixels, of 1/3 to 1."""
    rng = np.random.default_rng(seed)
    label = np.zeros((12, 16))
    label[2:7, 3:9] = rng.integers(1, 4, (5, 6)) / 3
    return 0.3 * label + rng.uniform(0.05, 0.5, label.shape), label


def _values(found) -> list[float]:
    return [found[name] for name in NAMES]


@check.property("the label itself: 1, 0, 1, 1")
def _(answer):
    _, label = _maps()
    close(_values(answer(label, label)), [1, 0, 1, 1], atol=1e-5)


@check.property("three times the prediction changes nothing")
def _(answer):
    P, G = _maps()
    close(_values(answer(3 * P, G)), _values(answer(P, G)), rtol=1e-4, hint="divide by the sum")


@check.property("a background leaves cc and auc as they are, and costs kld and sim")
def _(answer):
    _, G = _maps()
    found = answer(G + 0.1, G)
    close([found["cc"], found["auc"]], [1, 1])
    true(found["kld"] > 0.3 and found["sim"] < 0.8, "kld above 0.3 and sim below 0.8", _values(found))


@check.property("in kld the label comes first: what it misses costs, what it marks too much costs little")
def _(answer):
    G, half, twice = np.zeros((4, 8)), np.zeros((4, 8)), np.zeros((4, 8))
    G[0], half[0, :4], twice[:2] = 1, 1, 1
    close(answer(twice, G)["kld"], np.log(2), rtol=1e-4, hint="natural logarithm, label first")
    close(answer(half, G)["kld"], np.log(1 / 2) / 2 + np.log(1 / 8 / 1e-8) / 2, rtol=1e-4)


@check.property("a tie counts half")
def _(answer):
    P, G = _maps()
    P = np.floor(4 * P)
    marked, rest = P[G > 0][:, None], P[G == 0]
    close(answer(P, G)["auc"], (marked > rest).mean() + (marked == rest).mean() / 2)


@check.property("a map of zeros finds nothing: cc 0, sim 0, auc one half, and kld is large")
def _(answer):
    _, G = _maps()
    g = G[G > 0] / G.sum()
    close(_values(answer(0 * G, G)), [0, (g * np.log(g / 1e-8)).sum(), 0, 0.5], rtol=1e-4)


@check.property("an empty label gives nan four times")
def _(answer):
    P, _ = _maps()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = answer(P, 0 * P)
    close(_values(found), [np.nan] * 4, hint="not 0: a mean over pictures has to leave this one out")


@check.property("any other map gets the library's values")
def _(answer):
    for seed in range(1, 4):
        P, G = _maps(seed)
        want = [float(getattr(metrics, name)(P[None], G[None])[0]) for name in ("cc", "kld", "sim", "auc_judd")]
        close(_values(answer(P, G)), want, rtol=1e-4)
