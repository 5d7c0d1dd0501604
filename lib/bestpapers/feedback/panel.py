"""Three people look at a picture: the paper's rules of merging what they say, and simulated people who need no pay.

`merge` makes one Feedback of the annotations of a picture, whoever made them (paper: discs, means, majority).
`annotate` is the simulated panel (ours): it reads what the judge knows, and clicks, answers and errs like people. One noise of
the answers, 0.58 of a Likert point, gives on pictures of the world both shares that the paper reports of its own annotators:
all three agree on about 25 % of the answers, and on about 85 % they are at most one point apart (`agreement` measures it). That
is a calibration, no finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from .record import LIKERT, MAPS, SCORES, Annotation, Feedback

RADIUS = 1 / 20  # of a disc, as a share of the picture's height (paper)
PERFECT, GOOD = 0.25, 0.85  # the paper's shares of agreement

# ------------------------------------------------------------------------------------------------------------ merging


def discs(points: ArrayLike, height: int, width: int, radius: float | None = None) -> NDArray[np.bool_]:
    """The union of discs round one person's points (p, 2), x and y in pixels: bool (H, W). Discs do not add up, and are cut at
    the border. A pixel is inside if its centre is at most `radius` pixels away; by default height / 20."""
    p = np.asarray(points, np.float64).reshape(-1, 2) if np.size(points) == 0 else np.asarray(points, np.float64)
    if p.ndim != 2 or p.shape[1] != 2 or not np.isfinite(p).all():
        raise ValueError(f"discs: wants finite points (p, 2), got {p.shape}")
    r = height * RADIUS if radius is None else radius
    if not r >= 0:
        raise ValueError(f"discs: radius must be 0 or more, got {r!r}")
    limit = r * r * (1 + 1e-9)  # a little more, so that a pixel exactly on the rim is inside on every processor
    inside = np.zeros((height, width), bool)
    for x, y in p:
        across, down = np.square(np.arange(width) - x), np.square(np.arange(height) - y)
        box = np.ix_(down <= limit, across <= limit)
        inside[box] |= down[box[0]] + across[box[1]] <= limit
    return inside


def heatmap(people: Sequence[ArrayLike], height: int, width: int, radius: float | None = None) -> NDArray[np.float32]:
    """The mean over people of the discs round each one's points (p, 2): float32 (H, W); of three people 0, 1/3, 2/3 or 1."""
    if not len(people):
        raise ValueError("heatmap: needs the points of at least one person; who marks nothing has points (0, 2)")
    total = np.zeros((height, width), np.float32)
    for points in people:  # one in memory at a time
        total += discs(points, height, width, radius)
    return total / np.float32(len(people))


def merge_likert(answers: Iterable[int]) -> float:
    """The mean of (answer - 1) / 4 of whole answers 1 to 5: three people give one of 13 values, 0 to 1."""
    x = list(answers)
    if not x or any(a not in range(1, LIKERT + 1) for a in x):
        raise ValueError(f"merge_likert: wants whole answers 1 to {LIKERT}, at least one, got {x}")
    return (sum(x) / len(x) - 1) / (LIKERT - 1)


def merge_words(marks: ArrayLike) -> NDArray[np.float32]:
    """The majority, word by word: bool (people, n) -> 1 where more than half call the word misaligned, else 0. A tie, which
    three people cannot have, is 0."""
    m = np.asarray(marks)
    if m.ndim != 2 or not len(m) or not np.isin(m, (0, 1)).all():
        raise ValueError(f"merge_words: wants marks (people, n) of at least one person, each 0 or 1, got {m.shape}")
    m = m.astype(bool)
    return (2 * m.sum(0) > len(m)).astype(np.float32)


def merge(annotations: Sequence[Annotation], height: int, width: int, radius: float | None = None) -> Feedback:
    """What the people say of one picture (height, width) together.

    A score or map that a person left out is the mean of the others; one that all left out is left out. A map with no points
    is an answer: nothing is wrong. ValueError if a person comes twice, or if they do not speak of the same words.
    """
    people = [a.annotator for a in annotations]
    if not people or len(set(people)) < len(people):
        raise ValueError(f"merge: wants annotations of one picture, one of each person, got those of {people}")
    if len({len(a.misaligned) for a in annotations}) > 1:
        counts = {a.annotator: len(a.misaligned) for a in annotations}
        raise ValueError(f"merge: the people speak of different numbers of words: {counts}; is it the same prompt?")
    scores = {name: [a.likert[name] for a in annotations if name in a.likert] for name in SCORES}
    points = {name: [a.points[name] for a in annotations if name in a.points] for name in MAPS}
    return Feedback(
        {name: merge_likert(given) for name, given in scores.items() if given},
        {name: heatmap(given, height, width, radius) for name, given in points.items() if given},
        merge_words([a.misaligned for a in annotations]),
    )


class Agreement(NamedTuple):
    """Shares of the answers on which all agree, and on which they are at most one point apart; and of how many answers."""

    perfect: float
    good: float
    answers: int


def agreement(pictures: Iterable[Sequence[Annotation]]) -> dict[str, Agreement]:
    """How far the people of each picture agree, for each score that was asked, and "all" of them together. What only one
    person answered does not count; without any answer the shares are nan. The paper has 0.25 and 0.85."""
    apart: dict[str, list[int]] = {name: [] for name in SCORES}
    for people in pictures:
        for name in SCORES:
            given = [a.likert[name] for a in people if name in a.likert]
            if len(given) > 1:
                apart[name].append(max(given) - min(given))
    out = {}
    for name, given in (*apart.items(), ("all", list(chain(*apart.values())))):
        d = np.array(given)
        if given:
            out[name] = Agreement(float((d == 0).mean()), float((d <= 1).mean()), len(d))
        elif name == "all":
            out[name] = Agreement(np.nan, np.nan, 0)
    return out


# ---------------------------------------------------------------------------------------------------- simulated people


@dataclass(frozen=True)
class Panel:
    """Simulated people and how they err (ours). Chances are 0..1, lengths are shares of the disc's radius.

    bias      for each person, what is added to each Likert answer: as many as there are people
    care      for each person, what multiplies the chances to miss a place and to overlook a word
    sigma     of the normal noise of an answer, in Likert points, before rounding
    powers    for each of SCORES, the answer that a truth q makes one think of: 1 + 4 q^power
    ends      what q = 0 and q = 1 make one think of; away from 1 and 5, fewer answers are cut off at the scale's ends
    radius    of a disc, as a share of the height: the paper's 1/20 needs 64 pixels; at 32 use 1/13, and say so
    reach     how far from a click a fault counts as marked by it
    jitter    standard deviation of a click, in x and in y
    miss      chance that a place is not clicked
    stray     chance of one click anywhere, for each map
    guess     chance of one click anywhere where words are misaligned and no place is: what is absent has none
    overlook  chance that a misaligned word is not marked, and
    invent    that a good one is
    """

    bias: tuple[float, ...] = (-0.1, 0.0, 0.1)
    care: tuple[float, ...] = (0.6, 1.0, 1.4)
    sigma: float = 0.58
    powers: tuple[float, float, float, float] = (2.0, 1.0, 1.0, 1.0)
    ends: tuple[float, float] = (1.2, 4.8)
    radius: float = RADIUS
    reach: float = 1.8
    jitter: float = 0.28
    miss: float = 0.2
    stray: float = 0.03
    guess: float = 0.0
    overlook: float = 0.1
    invent: float = 0.03

    def __post_init__(self) -> None:
        if not self.bias or len(self.bias) != len(self.care):
            raise ValueError(f"Panel: bias and care want one number for each person, got {self.bias} and {self.care}")
        worst = max(1.0, *self.care)
        chances = {"miss": self.miss * worst, "overlook": self.overlook * worst}
        chances |= {name: getattr(self, name) for name in ("stray", "guess", "invent")}
        for name, chance in chances.items():
            if not 0 <= chance <= 1:
                raise ValueError(f"Panel: {name} is a chance, 0 to 1 (times care), got {chance:g}")
        if min(self.sigma, self.jitter, *self.care) < 0 or min(self.radius, self.reach, *self.powers) <= 0:
            raise ValueError("Panel: sigma, jitter and care must be 0 or more; radius, reach and powers more than 0")

    def latent(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What true scores (..., 4), 0..1, make one think of, in Likert points."""
        low, high = self.ends
        return low + (high - low) * np.clip(scores, 0, 1) ** np.array(self.powers)


def cover(region: ArrayLike, reach: float) -> NDArray[np.float32]:
    """Where one would click to mark a region (H, W): points (p, 2), x and y. Greedy: each click is the place in the region
    from which most of what is not yet marked lies within `reach` pixels, the middle one of the best; until all is."""
    rest = np.asarray(region, bool).copy()
    y, x = np.nonzero(rest)
    size = int(reach)
    down = np.arange(-size, size + 1)
    half = np.sqrt(reach * reach - down * down).astype(int)  # the disc's rows: as far as this to both sides
    points: list[tuple[int, int]] = []
    while rest.any():
        sums = np.pad(rest, ((size, size), (size + 1, size))).cumsum(1)
        rows, columns = y[:, None] + size + down, x[:, None] + size
        gain = (sums[rows, columns + half + 1] - sums[rows, columns - half]).sum(1)
        best = np.flatnonzero(gain == gain.max())
        middle = np.square(x[best] - x[best].mean()) + np.square(y[best] - y[best].mean())
        k = best[middle.argmin()]
        points.append((int(x[k]), int(y[k])))
        rest[y, x] &= np.square(x - x[k]) + np.square(y - y[k]) > reach * reach
    return np.array(points, np.float32).reshape(-1, 2)


def annotate(truth: Feedback, panel: Panel, rng: np.random.Generator) -> tuple[Annotation, ...]:
    """What the people of a panel mark on one picture, whose truth is as the judge gives it: scores 0..1, maps that are > 0.5
    where something is wrong, words that are > 0.5 where misaligned. The clicks lie in the picture. What the truth leaves out
    they leave out. Give each picture its own generator, `numpy.random.default_rng([seed, number])`, and the order of the
    pictures does not matter."""
    people = len(panel.bias)
    care = np.array(panel.care)[:, None]
    wrong = np.asarray(truth.misaligned) > 0.5
    chance = np.where(wrong, panel.overlook * care, panel.invent)
    words = wrong ^ (rng.random((people, len(wrong))) < chance)

    latent = panel.latent(np.array([truth.scores.get(name, 0.0) for name in SCORES]))
    felt = latent + np.array(panel.bias)[:, None] + rng.normal(0, panel.sigma, (people, len(SCORES)))
    likert = np.clip(np.rint(felt), 1, LIKERT).astype(int)

    clicks: list[dict[str, NDArray[np.float32]]] = [{} for _ in range(people)]
    for name in MAPS:
        if name not in truth.maps:
            continue
        region = np.asarray(truth.maps[name]) > 0.5
        size = np.array(region.shape[::-1])  # width, height
        radius = panel.radius * size[1]
        places = cover(region, panel.reach * radius)
        lost = name == "misalignment" and not len(places) and wrong.any()
        for person in range(people):
            kept = places[rng.random(len(places)) >= panel.miss * panel.care[person]]
            anywhere = rng.random((2, 2)) * size - 0.5
            extra = anywhere[rng.random(2) < (panel.stray, panel.guess if lost else 0.0)]
            shaken = kept + rng.normal(0, panel.jitter * radius, kept.shape)
            at = np.clip(np.concatenate([shaken, extra]), 0, size - 1)
            clicks[person][name] = at.astype(np.float32)
    return tuple(
        Annotation(
            f"simulated {i + 1}",
            clicks[i],
            {name: int(answer) for name, answer in zip(SCORES, likert[i], strict=True) if name in truth.scores},
            words[i],
        )
        for i in range(people)
    )


def ask(truth: Feedback, panel: Panel, rng: np.random.Generator) -> Feedback:
    """`annotate` and `merge`: what the panel says of a picture. The truth must have a map, which tells the picture's size."""
    if not truth.maps:
        raise ValueError("ask: the truth has no map, so the size of the picture is not known; use annotate and merge")
    height, width = np.shape(next(iter(truth.maps.values())))
    return merge(annotate(truth, panel, rng), height, width, panel.radius * height)


def expected_agreement(scores: ArrayLike, panel: Panel) -> Agreement:
    """`agreement` of the panel on pictures with the true scores (N, 4), "all" together, without drawing: from the chance of
    each answer. A nan score is not asked."""
    q = np.asarray(scores, np.float64).reshape(-1, len(SCORES))
    latent = panel.latent(q)[~np.isnan(q)]
    if not latent.size:
        raise ValueError("expected_agreement: no score is asked of any picture")
    edges = np.array([-np.inf, *np.arange(1.5, LIKERT), np.inf])
    thought = latent + np.array(panel.bias)[:, None]  # (people, answers)
    p = np.diff(ndtr((edges - thought[..., None]) / max(panel.sigma, 1e-9)))  # (people, answers, 5)
    same = p.prod(0)
    # two neighbouring answers; where all are one answer, not an end of the scale, it is in two such pairs
    near = (p[..., 1:] + p[..., :-1]).prod(0).sum(-1) - same[:, 1:-1].sum(-1)
    return Agreement(float(same.sum(-1).mean()), float(near.mean()), len(latent))


def calibrated(panel: Panel, scores: ArrayLike) -> Panel:
    """The panel with the sigma (0.05 to 1.5, two digits) whose agreement on pictures with the true scores (N, 4) is nearest to
    the paper's two shares, by the sum of squared differences. Pictures without a fault raise agreement, since the scale ends
    there; where it stays too high, move `ends` inwards first."""
    from scipy.optimize import minimize_scalar

    def miss(sigma: float) -> float:
        got = expected_agreement(scores, replace(panel, sigma=sigma))
        return (got.perfect - PERFECT) ** 2 + (got.good - GOOD) ** 2

    return replace(panel, sigma=round(float(minimize_scalar(miss, bounds=(0.05, 1.5), options={"xatol": 1e-3}).x), 2))
