"""How well scores, maps and marked words are predicted: the measures of the paper's Tables 1 to 4, each with its corner cases.

Public codes of the map measures disagree, and we do not know which the paper used. So each measure names its variant and
takes the others as arguments; `VARIANTS` holds the arguments of three public codes. `tables` gives all cells of the four
tables for a set of pictures, with the values of each picture, from which `interval` draws.

Maps are numpy arrays or torch tensors, (N, H, W) or a sequence of (H, W) of any sizes; measures of maps give one value for
each picture, float64 (N,). *Empty* is a label without a marked pixel. What asks where the marks are is nan for it, and left
out of means.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from ..lab import stats
from .record import MAPS, SCORES, Feedback, words

Values = NDArray[np.float64]

BLOCK = 2**17  # pixels that are worked on at once: what a processor keeps near
ALIKE = 1e-6  # values that differ by less than this share of the largest are one value: float32 holds no more
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


# -------------------------------------------------------------------------------------------------------------- words


def read_words(prompt: str, output: str, mark: str = "_0") -> NDArray[np.float32]:
    """What a written output says of each word of the prompt: 1 misaligned (the word with the mark), 0 aligned (the plain
    word), nan no answer (another word, or the output is too short). Surplus words are cut. float32 (n,).

    The words are compared with the prompt's place by place, so a word that itself ends with the mark is no riddle."""
    pairs = zip_longest(asked := words(prompt), words(output)[: len(asked)])
    return np.array([1 if told == f"{a}{mark}" else 0 if told == a else np.nan for a, told in pairs], np.float32)


def word_counts(predicted: ArrayLike, label: ArrayLike, at: float = 0.5) -> NDArray[np.int64]:
    """True positives, false positives, false negatives of the words of one prompt: int64 (3,). Positive is a misaligned word,
    a value > `at`. No answer (nan, or a prediction that is too short) marks nothing: it costs recall and no precision, as
    in the replication. Surplus answers are cut. A label must say something of every word."""
    y = np.asarray(label, np.float64).ravel() > at
    if np.isnan(np.asarray(label, np.float64)).any():
        raise ValueError("word_counts: the label is nan for a word")
    x = np.zeros(len(y), bool)
    said = np.asarray(predicted, np.float64).ravel()[: len(y)]
    x[: len(said)] = said > at
    return np.array([(x & y).sum(), (x & ~y).sum(), (~x & y).sum()])


def word_scores(counts: ArrayLike, zero: float = np.nan) -> Values:
    """Precision, recall and F1 of counts (tp, fp, fn): [..., 3] -> [..., 3].

    Pooled over all words, so that F1 is the harmonic mean of the other two (our tables): `word_scores(counts.sum(0))` of
    counts (N, 3). Of each prompt apart, for a mean: `word_scores(counts, zero=0.0)`, what the replication averages.
    zero: what 0 / 0 gives: precision with nothing marked, recall with nothing to find, F1 with neither.
    """
    tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    pairs = ((tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn))
    return np.stack([np.where(n > 0, part / np.where(n > 0, n, 1), zero) for part, n in pairs], -1)


# ----------------------------------------------------------------------------------------------------------- the tables


class Cell(NamedTuple):
    """A figure of a table, nan where it rests on nothing, and the number of pictures it rests on."""

    value: float
    pictures: int


@dataclass(frozen=True)
class Tables:
    """Cells by "<part>.<measure>", and the values (N,) they are made of, nan for a picture that does not count.

    <score>.{plcc,srcc,mse}                               from the values <score>.predicted and <score>.label
    <map>.{mse,mse_empty,cc,kld,sim,nss,auc_judd}         means of the values of the same name
    words.{precision,recall,f1}                           pooled, from the values words.{tp,fp,fn}
    words.{precision_each,recall_each,f1_each}            means over prompts, of the values of the same name
    """

    cells: Mapping[str, Cell]
    values: Mapping[str, Values]

    def row(self, table: str) -> list[Cell]:
        """The cells of the paper's table "scores" (1), "implausibility" (2), "misalignment" (3) or "words" (4)."""
        return [self.cells[key] for key in ROWS[table]]


_WORDS = ("precision", "recall", "f1")
_SCORE_MEASURES: dict[str, Callable[..., Values]]
_SCORE_MEASURES = dict(plcc=plcc, srcc=srcc, mse=lambda x, y: np.square(x - y).mean(-1))
ROWS: dict[str, tuple[str, ...]] = {
    "scores": tuple(f"{s}.{m}" for s in SCORES for m in ("plcc", "srcc")),
    **{kind: tuple(f"{kind}.{m}" for m in ("mse", "mse_empty", *list(MEASURES)[1:])) for kind in MAPS},
    "words": tuple(f"words.{m}" for m in _WORDS),
}


def _recipe(key: str) -> tuple[tuple[str, ...], Callable[..., Values]]:
    """How a cell is made: the names of its values, and the function of these [..., n] -> [...]."""
    part, _, measure = key.partition(".")
    if part in SCORES and measure in _SCORE_MEASURES:
        return (f"{part}.predicted", f"{part}.label"), _SCORE_MEASURES[measure]
    if part == "words" and measure in _WORDS:
        which, names = _WORDS.index(measure), ("words.tp", "words.fp", "words.fn")
        return names, lambda *c: word_scores(np.stack([x.sum(-1) for x in c], -1))[..., which]
    return (key,), lambda x: x.mean(-1)


def feedbacks(
    scores: ArrayLike | None = None, maps: Any = None, misaligned: Sequence[ArrayLike] | None = None
) -> list[Feedback]:
    """What a model gives as arrays, as Feedback of each picture: scores (N, 4) in the order of SCORES, nan where there is
    none; maps (N, 2, H, W) in the order of MAPS; misaligned N times (n,). What is left out is empty."""
    sizes = {len(x) for x in (scores, maps, misaligned) if x is not None}  # type: ignore[arg-type]
    if len(sizes) != 1:
        raise ValueError(f"feedbacks: wants the same number of pictures in each array, got {sorted(sizes)}")
    n = sizes.pop()
    s = np.full((n, len(SCORES)), np.nan) if scores is None else np.asarray(scores, np.float64)
    m = np.empty((n, 0)) if maps is None else np.asarray(maps, np.float32)
    w = [[]] * n if misaligned is None else misaligned
    said = [{name: float(x) for name, x in zip(SCORES, row, strict=True) if not np.isnan(x)} for row in s]
    seen = [dict(zip(MAPS, row, strict=maps is not None)) for row in m]
    return [Feedback(said[i], seen[i], np.asarray(w[i], np.float32)) for i in range(n)]


def tables(
    predicted: Sequence[Feedback], labels: Sequence[Feedback], *, variant: str | Mapping[str, Mapping[str, Any]] = "ours",
    above: float = 0.0, at: float = 0.5, skip_clean: bool = False,
) -> Tables:  # fmt: skip
    """All cells of the paper's Tables 1 to 4 for predictions against labels, picture by picture in the same order.

    variant     one of VARIANTS, or arguments by measure like these
    above       what is <= above in a label's map is 0, not marked: 0 for exact maps, 1/6 for maps out of a JPEG file
    at          a word is misaligned where it is > at
    skip_clean  means over prompts leave out those without a misaligned word (the replication counts them as 0)

    A label may lack a score, a map or words: that picture does not count there. A prediction lacks the thing for all pictures
    that have it (then the cells are nan) or for none: to abstain on some raises ValueError, as do values outside of 0..1.
    """
    if len(predicted) != len(labels) or not labels:
        raise ValueError(f"tables: {len(predicted)} predictions for {len(labels)} labels")
    options = VARIANTS[variant] if isinstance(variant, str) else variant
    N, values = len(labels), {}

    def fill(name: str, rows: list[int], x: Any) -> None:
        values[name] = np.full(N, np.nan)
        values[name][rows] = x

    for name in SCORES:
        rows = _both(name, [name in f.scores for f in predicted], [name in f.scores for f in labels])
        for side, given in (("predicted", predicted), ("label", labels)):
            fill(f"{name}.{side}", rows, _inside(f"score {name}", [given[i].scores[name] for i in rows]))
    for name in MAPS:
        rows = _both(name, [name in f.maps for f in predicted], [name in f.maps for f in labels])
        P, G = ([_inside(f"map {name}", f[i].maps[name]) for i in rows] for f in (predicted, labels))
        G = [np.where(g > above, g, 0) for g in G]  # so that all measures agree on what is empty
        for measure, of in MEASURES.items():
            fill(f"{name}.{measure}", rows, of(P, G, **options.get(measure, {})))
        empty = [not g.any() for g in G]
        fill(f"{name}.mse_empty", rows, np.where(empty, values[f"{name}.mse"][rows], np.nan))
    rows = _both("words", [f.misaligned.size > 0 for f in predicted], [f.misaligned.size > 0 for f in labels])
    counts = np.array([word_counts(predicted[i].misaligned, labels[i].misaligned, at) for i in rows]).reshape(-1, 3)
    each = word_scores(counts, zero=0.0)
    if skip_clean:
        each[counts[:, 0] + counts[:, 2] == 0] = np.nan
    for j, name in enumerate(("tp", "fp", "fn")):
        fill(f"words.{name}", rows, counts[:, j])
        fill(f"words.{_WORDS[j]}_each", rows, each[:, j])

    cells = {}
    keys = [f"{s}.{m}" for s in SCORES for m in _SCORE_MEASURES] + [k for kind in MAPS for k in ROWS[kind]]
    for key in keys + [f"words.{m}{end}" for end in ("", "_each") for m in _WORDS]:
        names, of = _recipe(key)
        columns = np.array([values[name] for name in names])
        columns = columns[:, ~np.isnan(columns).any(0)]
        n = columns.shape[1]
        cells[key] = Cell(float(of(*columns)) if n else np.nan, n)
    return Tables(cells, values)


def _both(what: str, predicted: list[bool], labels: list[bool]) -> list[int]:
    """Numbers of the pictures that count: all whose label has it, or none if no prediction has it."""
    rows = [i for i, has in enumerate(labels) if has]
    missing = [i for i in rows if not predicted[i]]
    if missing and len(missing) < len(rows):
        lacking = f"{len(missing)} of {len(rows)} predictions lack it, first picture {missing[0]}"
        raise ValueError(f"tables: {what}: {lacking}")
    return [] if missing else rows


def _inside(what: str, x: Any) -> NDArray[Any]:
    x = np.asarray(x)
    if x.size and not (x.min() >= -1e-6 and x.max() <= 1 + 1e-6):  # nan is not inside either
        raise ValueError(f"tables: {what}: wants values 0..1, got {x.min():g} to {x.max():g}")
    return x


def _label(side: Tables, key: str) -> Values:
    """What the values of a cell know of the labels: by this the pictures of two sides are told to be the same."""
    part = key.partition(".")[0]
    if part in SCORES:
        return side.values[f"{part}.label"]
    if part == "words":
        return side.values["words.tp"] + side.values["words.fn"]
    return np.isnan(side.values[f"{part}.mse_empty"])


def interval(
    of: Tables, key: str, minus: Tables | None = None, *, repeats: int = 2000, seed: int = 0
) -> stats.Interval:
    """A cell, or its difference to the same cell of other predictions on the same pictures, with its 95 % interval by drawing
    pictures anew: paired, so what makes a picture hard for both cancels out. (value, lower end, upper end)."""
    names, cell = _recipe(key)
    sides = [of] if minus is None else [of, minus]
    if any(name not in side.values for side in sides for name in names):
        raise ValueError(f"interval: no cell {key!r}; there are {', '.join(of.cells)}")
    columns = np.array([side.values[name] for side in sides for name in names])
    k = len(names)
    if minus is not None and not np.array_equal(_label(of, key), _label(minus, key), equal_nan=True):
        raise ValueError(f"interval: {key}: the labels of the two sides differ, so the pictures do too")
    columns = columns[:, ~np.isnan(columns).any(0)]
    if minus is None:
        return stats.bootstrap_of(cell, *columns, repeats=repeats, seed=seed)
    return stats.bootstrap_of(lambda *c: cell(*c[:k]) - cell(*c[k:]), *columns, repeats=repeats, seed=seed)
