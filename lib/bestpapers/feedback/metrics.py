"""How well scores, maps and marked words are predicted: the measures of the paper's Tables 1 to 4, each with its corner cases.

Those of maps and scores are `lab.saliency`'s; we do not know which of their variants the paper used. `tables` gives all cells
of the four tables for a set of pictures, with the values of each picture, from which `interval` draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..lab import stats
from ..lab.saliency import ALIKE, MEASURES, VARIANTS, Values, auc_judd, cc, centre_blob, kld, mse, nss, plcc, sim, srcc  # noqa: F401
from .record import MAPS, SCORES, Feedback, words

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


def tables(
    predicted: Sequence[Feedback], labels: Sequence[Feedback], *, variant: str | Mapping[str, Mapping[str, Any]] = "ours",
    above: float = 0.0, at: float = 0.5,
) -> Tables:  # fmt: skip
    """All cells of the paper's Tables 1 to 4 for predictions against labels, picture by picture in the same order.

    variant     one of VARIANTS, or arguments by measure like these
    above       what is <= above in a label's map is 0, not marked: 0 for exact maps, 1/6 for maps out of a JPEG file
    at          a word is misaligned where it is > at

    A label may lack a score, a map or words: that picture does not count there. A prediction lacks the thing for all pictures
    that have it (then the cells are nan) or for none: to abstain on some raises ValueError, as do values outside of 0..1.
    """
    if len(predicted) != len(labels) or not labels:
        raise ValueError(f"tables: {len(predicted)} predictions for {len(labels)} labels")
    if isinstance(variant, str) and variant not in VARIANTS:
        raise ValueError(
            f"tables: variant must be one of {', '.join(VARIANTS)}, or arguments by measure, got {variant!r}"
        )
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
    if minus is not None and not np.array_equal(_label(of, key), _label(minus, key), equal_nan=True):
        raise ValueError(f"interval: {key}: the labels of the two sides differ, so the pictures do too")
    columns, k = np.array([side.values[name] for side in sides for name in names]), len(names)
    columns = columns[:, ~np.isnan(columns).any(0)]
    if minus is None:
        return stats.bootstrap_of(cell, *columns, repeats=repeats, seed=seed)
    return stats.bootstrap_of(lambda *c: cell(*c[:k]) - cell(*c[k:]), *columns, repeats=repeats, seed=seed)
