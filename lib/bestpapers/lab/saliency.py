"""Measures of maps that say where something is, as saliency maps do, each with its corner cases; and correlations of scores.

Public codes of these measures disagree, and papers seldom say which they used. So each measure names its variant and takes the
others as arguments; `VARIANTS` holds the arguments of three public codes.

Maps are numpy arrays or torch tensors, (N, H, W) or a sequence of (H, W) of any sizes; measures of maps give one value for
each picture, float64 (N,). *Empty* is a label without a marked pixel. What asks where the marks are is nan for it, and left
out of means.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Values = NDArray[np.float64]

BLOCK = 2**17  # pixels that are worked on at once: what a processor keeps near
ALIKE = 1e-6  # values that differ by less than this share of the largest are one value: float32 holds no more
COLLAPSED = 0.1  # maps that fit their own labels better than others' by less than this say nothing
EPS = float(np.finfo(np.float64).eps)  # 2.2e-16, what MATLAB calls eps

# ------------------------------------------------------------------------------------------------------------- scores


def _centred(x: Values) -> Values:
    """Minus the mean of the last axis; exact zeros where all values are alike, which their rounded mean would not give."""
    alike = np.ptp(x, axis=-1, keepdims=True) <= ALIKE * np.abs(x).max(-1, keepdims=True)
    return np.where(alike, 0.0, x - x.mean(-1, keepdims=True))


def plcc(predicted: ArrayLike, label: ArrayLike) -> Values:
    """Pearson's linear correlation over the last axis: [..., N] twice -> [...]. nan where one side is constant, since then
    there is none; never 0. It forgives scale and offset: look at `mse` of the scores too before setting a threshold."""
    x, y = np.asarray(predicted, np.float64), np.asarray(label, np.float64)
    if x.shape != y.shape or x.shape[-1:] in ((), (0,)):
        raise ValueError(f"plcc: wants values [..., N] of one shape twice, got {list(x.shape)} and {list(y.shape)}")
    x, y = _centred(x), _centred(y)
    size = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    with np.errstate(invalid="ignore"):
        return np.clip((x * y).sum(-1) / np.where(size > 0, size, np.nan), -1, 1)


def srcc(predicted: ArrayLike, label: ArrayLike) -> Values:
    """Spearman's rank correlation over the last axis: [..., N] twice -> [...]. Ties get their mean rank: three people give
    13 different mean scores, so there are many. nan as in `plcc`."""
    return plcc(*(rankdata(np.asarray(x, np.float64), axis=-1) for x in (predicted, label)))


# --------------------------------------------------------------------------------------------------------------- maps


def _blocks(name: str, predicted: Any, label: Any) -> Iterator[tuple[slice, Values, Values]]:
    """Consecutive pictures of one size, flat, float64 [B, n] twice, with their numbers."""
    if len(predicted) != len(label):
        raise ValueError(f"{name}: {len(predicted)} predicted maps for {len(label)} labels")
    shapes = [tuple(np.shape(p)) for p in predicted]
    start = 0
    while start < len(shapes):
        shape, stop = shapes[start], start + 1
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"{name}: wants maps (H, W), picture {start} has {shape}")
        while stop < len(shapes) and shapes[stop] == shape and (stop + 1 - start) * shape[0] * shape[1] <= BLOCK:
            stop += 1
        block = []
        for what, maps in (("prediction", predicted), ("label", label)):
            flat = []
            for i in range(start, stop):
                m = np.asarray(maps[i], np.float64)
                if m.shape != shape:
                    raise ValueError(f"{name}: picture {i}: a label {m.shape} for a map {shape}; resize one of them")
                if not np.isfinite(m).all():
                    raise ValueError(f"{name}: picture {i}: the {what} holds a value that is not finite")
                flat.append(m.ravel())
            block.append(np.stack(flat))
        yield slice(start, stop), block[0], block[1]
        start = stop


def _of_pictures(measure: Callable[..., Values]) -> Callable[..., Values]:
    """A measure of flat maps [B, n] takes maps as users have them."""

    @functools.wraps(measure)
    def over(predicted: Any, label: Any, **options: Any) -> Values:
        out = np.full(len(label), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            for part, P, G in _blocks(measure.__name__, predicted, label):
                out[part] = measure(P, G, **options)
        return out

    return over


def _shares(name: str, x: Values, zero: str) -> Values:
    """Each map [B, n] divided by its sum. A map of zeros stays zero, or becomes uniform."""
    if (x < 0).any():
        raise ValueError(f"{name}: a map holds negative values; give it as 0..1 (a sigmoid, not a logit)")
    if zero not in ("zero", "uniform"):
        raise ValueError(f'{name}: zero must be "zero" or "uniform", got {zero!r}')
    total = x.sum(1, keepdims=True)
    return np.where(total > 0, x / total, 1 / x.shape[1] if zero == "uniform" else 0.0)


@_of_pictures
def mse(P: Values, G: Values) -> Values:
    """Mean squared error over the pixels, of all pictures. Labels are sparse: a map of zeros has a small one, so print that
    of zeros beside it. The paper's "GT = 0" is its mean over the pictures whose label is empty."""
    return np.square(P - G).mean(1)


@_of_pictures
def cc(P: Values, G: Values, *, eps: float = 0.0, constant: float = 0.0) -> Values:
    """Pearson's correlation of prediction and label over the pixels.

    constant  what a constant prediction gets: 0 (it finds nothing), or nan as in the MIT code
    eps       added to the denominator (sums, not means: matters for nearly constant maps only); the replication has 1e-8
    nan where the label is empty or the same everywhere.
    """
    p, g = _centred(P), _centred(G)
    below = np.sqrt(np.einsum("bn,bn->b", p, p)) * np.sqrt(np.einsum("bn,bn->b", g, g))
    value = np.where(p.any(1), np.einsum("bn,bn->b", p, g) / (below + eps), constant)
    return np.where(g.any(1), value, np.nan)


@_of_pictures
def kld(P: Values, G: Values, *, eps: float = 1e-8, zero: str = "zero") -> Values:
    """Divergence of the prediction from the label, in nats, both divided by their sums: sum g log(g / (p + eps) + eps).
    0 is perfect; marks where p is nearly 0 cost up to -log(eps).

    eps   1e-8 in the replication, 2.2e-16 (EPS) in the MIT code and pysaliency; with 0 it is inf where a mark is missed
    zero  a prediction of zeros stays "zero", or is taken for "uniform" as in pysaliency
    nan where the label is empty.
    """
    if eps < 0:
        raise ValueError(f"kld: eps must not be negative, got {eps}")
    p, g = _shares("kld", P, zero), _shares("kld", G, "zero")
    value = (g * np.log(np.where(g > 0, g / (p + eps) + eps, 1.0))).sum(1)
    return np.where(g.any(1), value, np.nan)


@_of_pictures
def sim(P: Values, G: Values, *, stretch: bool = False, zero: str = "zero") -> Values:
    """Similarity: sum min(p, g) of the maps divided by their sums. 0 to 1, and 1 is perfect.

    stretch  both maps go to 0..1 (min-max) first, as in the MIT code: a constant background is then forgiven, and a constant
             map is a map of zeros (in the MIT code nan)
    zero     as in `kld`
    nan where the label is empty.
    """
    marked = G.any(1)
    if stretch:
        P, G = (np.nan_to_num((x - (low := x.min(1, keepdims=True))) / (x.max(1, keepdims=True) - low)) for x in (P, G))
    value = np.minimum(_shares("sim", P, zero), _shares("sim", G, "zero")).sum(1)
    return np.where(marked, value, np.nan)


@_of_pictures
def nss(
    P: Values, G: Values, *, ddof: int = 1, weighted: bool = False, above: float = 0.0, constant: float = 0.0
) -> Values:
    """Normalised scanpath saliency: the mean of the prediction's z-score over the marked pixels.

    A pixel is marked where the label is > `above`, and counts once, were it marked by one person or by three. With
    `weighted` it counts by the label's value, which gives more (7.57 in place of 6.76 for a perfect map of three clicks).
    The classical measure asks at fixation points: for that give a label that is 1 at the clicks and 0 elsewhere.

    ddof      of the standard deviation: 1 in the replication and the MIT code, 0 in pysaliency
    constant  what a constant prediction gets; the MIT code: nan
    nan where no pixel is marked, or all are: then there is nothing to find.
    """
    marked = np.greater(G, above)
    weight = G * marked if weighted else marked.astype(np.float64)
    z = _centred(P)
    std = np.sqrt(np.einsum("bn,bn->b", z, z) / (P.shape[1] - ddof))
    value = np.where(z.any(1), np.einsum("bn,bn->b", z, weight) / weight.sum(1) / std, constant)
    return np.where(marked.any(1) & ~marked.all(1), value, np.nan)


@_of_pictures
def auc_judd(P: Values, G: Values, *, form: str = "ranks", above: float = 0.0) -> Values:
    """Area under the ROC curve of the prediction as a detector of marked pixels (label > `above`), a tie counting half.

    form  "ranks": the Mann-Whitney statistic by mid-ranks, which is the area itself
          "judd": thresholds at the marked pixels only, joined by straight lines, as Judd's code does. It is larger by the
          share of unmarked pixels above the lowest marked one, over twice the marked pixels: at most 1 / (2 marked). That
          code breaks ties by a random jitter; this is its mean over jitters
          "replication": the same with one unmarked pixel too many above each threshold (a slip; a perfect map gets < 1)
    nan where no pixel is marked, or all are.
    """
    if form not in ("ranks", "judd", "replication"):
        raise ValueError(f'auc_judd: form must be "ranks", "judd" or "replication", got {form!r}')
    out = np.full(len(P), np.nan)
    marked = np.greater(G, above)
    m = marked.sum(1)
    some = (m > 0) & (m < P.shape[1])
    if not some.any():
        return out
    P, m, marked = P[some], m[some], marked[some]
    k = P.shape[1] - m  # unmarked pixels
    area = ((rankdata(P, axis=1) * marked).sum(1) - m * (m + 1) / 2) / (m * k)
    if form != "ranks":
        lowest = np.where(marked, P, np.inf).min(1, keepdims=True)
        level = lowest == P
        higher, tied, level = (x.sum(1) for x in ((lowest < P) & ~marked, level & marked, level & ~marked))
        # among `tied` marked pixels in random order, an unmarked one is above the last with chance tied / (tied + 1)
        area += (higher + level * tied / (tied + 1)) / k / (2 * m)
    if form == "replication":
        area -= (1 - 1 / (2 * m)) / k
    out[some] = area
    return out


MEASURES: dict[str, Callable[..., Values]] = dict(mse=mse, cc=cc, kld=kld, sim=sim, nss=nss, auc_judd=auc_judd)

# Arguments of the measures as public codes have them: the replication of the paper by its first author, pysaliency, and the
# MATLAB code of the MIT saliency benchmark. What is not named is as ours (the AUC of pysaliency was not compared).
VARIANTS: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "ours": {},
    "replication": {"cc": {"eps": 1e-8}, "auc_judd": {"form": "replication"}},
    "pysaliency": {"kld": {"eps": EPS, "zero": "uniform"}, "sim": {"zero": "uniform"}, "nss": {"ddof": 0}},
    "mit": {measure: {"constant": np.nan} for measure in ("cc", "nss")}
    | {"kld": {"eps": EPS}, "sim": {"stretch": True}, "auc_judd": {"form": "judd"}},
}


def centre_blob(height: int, width: int) -> NDArray[np.float32]:
    """A Gaussian in the middle, of standard deviation height / 4 and peak 1: what a map gets that knows nothing but where
    pictures have their subject. A baseline (height, width)."""
    y, x = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    return np.exp(-(y[:, None] ** 2 + x**2) / (2 * (height / 4) ** 2)).astype(np.float32)


def own_fit(predicted: Any, labels: Any) -> float:
    """The zero-collapse check: mean correlation of maps (N, H, W) with their own labels less that with the labels of other
    pictures, over labels with marks. Zeros, noise, and the same blob for all give 0: below `COLLAPSED` a model says nothing
    of its pictures, however small its error is. nan with less than two marked labels."""
    marked = [i for i, label in enumerate(labels) if np.any(label)]
    if len(marked) < 2:
        return np.nan
    sides = []
    for maps in (predicted, labels):
        flat = np.stack([np.asarray(maps[i], np.float64).ravel() for i in marked])
        apart = flat - flat.mean(1, keepdims=True)
        length = np.linalg.norm(apart, axis=1, keepdims=True)
        there = length > ALIKE * np.linalg.norm(flat, axis=1, keepdims=True)
        sides.append(np.where(there, apart / np.where(there, length, 1), 0))
    fit, n = sides[0] @ sides[1].T, len(marked)
    own = np.trace(fit)
    return float(own / n - (fit.sum() - own) / (n * (n - 1)))
