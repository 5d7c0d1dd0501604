"""Every checker against its solution, against named mistakes, and against the stub; the solutions against the library."""

import importlib
import inspect
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from bestpapers.course.checks import verify
from bestpapers.feedback import exercises, generator, improve, metrics, panel, record
from bestpapers.feedback.exercises.choose import choose
from bestpapers.feedback.exercises.collapse import collapse
from bestpapers.feedback.exercises.decode_step import decode_step
from bestpapers.feedback.exercises.map_measures import map_measures
from bestpapers.feedback.exercises.mask_tokens import mask_tokens
from bestpapers.feedback.exercises.merge_three import merge_three
from bestpapers.feedback.exercises.paired import paired
from bestpapers.feedback.exercises.schedule import schedule
from bestpapers.feedback.exercises.split_words import split_words
from bestpapers.feedback.exercises.targets import targets
from bestpapers.feedback.exercises.to_heatmap import to_heatmap
from bestpapers.feedback.exercises.two_f1 import two_f1
from bestpapers.lab import stats

ROOT = Path(__file__).parents[2]

# ------------------------------------------------------------------------------------------------- answers that are wrong


def changed(function, **changes):
    return lambda *args: function(*args, **changes)


def heatmap_part(people, height, width, *, radius=20, union=True, swap=False, over="people", by="height", wrap=False):
    """The solution with parts left out or changed."""
    x, y = np.arange(width), np.arange(height)[:, None]
    r = {"height": height, "width": width}[by] / radius
    total = np.zeros((height, width))
    marking = 0
    for points in people:
        mine = np.zeros((height, width))
        for px, py in points:
            px, py = (py, px) if swap else (px, py)
            across, down = np.abs(x - px), np.abs(y - py)
            if wrap:
                across, down = np.minimum(across, width - across), np.minimum(down, height - down)
            disc = across**2 + down**2 <= r * r
            mine = np.maximum(mine, disc) if union else mine + disc
        marking += len(points) > 0
        total += mine
    return total / {"people": len(people), "marking": max(marking, 1), "any": 1, "most": total.max()}[over]


def merge_part(likert, marks, *, score="mean", steps=4, words="most"):
    x = {"mean": likert.mean(0), "median": np.median(likert, 0), "first": likert[0]}[score]
    count = marks.sum(0)
    word = {
        "most": 2 * count > len(marks),
        "any": count > 0,
        "all": count == len(marks),
        "two": count >= 2,
        "share": count / len(marks),
        "first": marks[0] if len(marks) == 3 and marks.shape[1] == 2 else 2 * count > len(marks),
    }[words]
    return (x - 1) / steps, np.asarray(word, float)


def words_part(prompt, labels, *, at='[,.?!":; ]', empty=False, one=False, check=True):
    found = [w for w in re.split(at, prompt) if w or empty]
    given = labels.split()
    if check and len(found) != len(given):
        raise ValueError("numbers differ")
    return [(w, label == str(int(one))) for w, label in zip(found, given)]


def words_asserting(prompt, labels):
    """Counts, and says it by an assertion."""
    found = words_part(prompt, labels, check=False)
    assert len(found) == len(labels.split()) == len([w for w in re.split('[,.?!":; ]', prompt) if w]), "numbers differ"
    return found


def measures_part(P, G, *, absolute=False, eps=1e-8, turn=False, tie="half", shares=True, empty=math.nan, nats=True,
                  weighted=False):  # fmt: skip
    if not G.any() and empty is not None:
        return dict.fromkeys(("cc", "kld", "sim", "auc"), empty)
    p, g = P.ravel().astype(float), G.ravel().astype(float)
    a, b = p - p.mean(), g - g.mean()
    cc = 0.0 if np.ptp(p) == 0 else a @ b / math.sqrt(a @ a * (b @ b) + 1e-300)
    marked = g > 0
    high, low = p[marked][:, None], p[~marked]
    weight = {"half": 0.5, "lost": 0.0, "won": 1.0}[tie]
    each = ((high > low) + weight * (high == low)).mean(1)
    auc = np.average(each, weights=g[marked]) if weighted else each.mean()
    if shares:
        p, g = p / (p.sum() or 1), g / (g.sum() or 1)
    if turn:
        with np.errstate(divide="ignore", invalid="ignore"):
            kld = np.where(p > 0, p * np.log(p / (g + eps) + eps), 0).sum()
    else:
        kld = (g * np.log(g / (p + eps) + eps))[marked].sum()
    return {"cc": abs(cc) if absolute else cc, "kld": kld if nats else kld / math.log(2), "sim": np.minimum(p, g).sum(),
            "auc": auc}  # fmt: skip


def measures_stretched(P, G):
    """Takes the background off first, as one public code does."""
    if not G.any():
        return map_measures(P, G)
    return map_measures(P - P.min(), G)


def schedule_part(total, steps, *, curve=math.cos, work=True, last=True, least=1, training=None, whole=math.floor):
    def hide(u):
        return max(least, round((training or (lambda u: math.cos(math.pi * u / 2)))(u) * total))

    left, now = [], total
    for i in range(1, steps + 1):
        planned = whole(total * curve(math.pi * i / (2 * steps)))
        if last and i == steps:
            planned = 0
        now = max(0, min(planned, now - 1)) if work else planned
        left.append(now)
    return hide, left


def schedule_without_an_end(total, steps):
    """Hides a token to the last in long drawings."""
    hide, left = schedule(total, steps)
    return hide, [max(1, n) for n in left] if steps > 8 else left


def decode_part(numbers, logp, left, temperature, seed, *, protect=True, order="drawn", draw=True, again=0, noise="log",
                fresh=False, turn=False):  # fmt: skip
    g = torch.Generator().manual_seed(random.randrange(1 << 30) if fresh else seed)
    mask = logp.shape[1]
    masked = numbers == mask
    drawn = torch.multinomial(logp.exp(), 1, generator=g)[:, 0] if draw else logp.argmax(1)
    sure = logp.gather(1, drawn[:, None])[:, 0] if order == "drawn" else logp.amax(1)
    u = torch.rand(len(sure), generator=g).clamp(1e-9, 1 - 1e-7)
    if noise == "log":
        sure = sure - temperature * (-u.log()).log()
    if noise == "all":
        sure = sure - (-u.log()).log()
    sure = -sure if turn else sure
    if protect:
        sure = sure.masked_fill(~masked, torch.inf)
    result = torch.where(masked, drawn, numbers)
    result[sure.argsort()[: left + again]] = mask
    return result


def decode_one_by_one(numbers, logp, left, temperature, seed):
    """Masks each place by chance, so that the number is right on average only."""
    g = torch.Generator().manual_seed(seed)
    masked = numbers == logp.shape[1]
    drawn = torch.multinomial(logp.exp(), 1, generator=g)[:, 0]
    again = torch.rand(len(numbers), generator=g) < left / masked.sum()
    return torch.where(masked, drawn.masked_fill(again, logp.shape[1]), numbers)


def tokens_part(numbers, heat, threshold, dilate, mask, *, at=False, how="any", shape="square", wrap=False, kind=None,
                always=False):  # fmt: skip
    g, (H, W) = len(numbers), heat.shape
    fault = heat >= threshold if at else heat > threshold
    wide = np.zeros((H, W), bool)
    for down in range(-dilate, dilate + 1):
        for right in range(-dilate, dilate + 1):
            if shape == "cross" and abs(down) + abs(right) > dilate:
                continue
            if wrap:
                wide |= np.roll(fault, (down, right), (0, 1))
            else:
                padded = np.pad(fault, dilate)
                wide |= padded[dilate + down : dilate + down + H, dilate + right : dilate + right + W]
    h, w = H // g, (H if shape == "as high as wide" else W) // g
    blocks = wide[: g * h, : g * w].reshape(g, h, g, w)
    hidden = {"any": blocks.any((1, 3)), "middle": blocks[:, h // 2, :, w // 2], "half": blocks.mean((1, 3)) >= 0.5}[
        how
    ]
    if always and not hidden.any():
        hidden[0, 0] = True
    out = np.where(hidden, mask, numbers)
    return out if kind is None else out.astype(kind)


def tokens_dilated(numbers, heat, threshold, dilate, mask):
    """Makes the region wider by tokens, not by pixels."""
    g = len(numbers)
    cells = (heat > threshold).reshape(g, heat.shape[0] // g, g, heat.shape[1] // g).any((1, 3))
    return tokens_part(numbers, cells.astype(float), 0.5, dilate, mask)


def paired_part(a, b, repeats, seed, *, middle="scores", apart="pairs", tails=(0.025, 0.975), unit="prompts", fresh=False,
                turn=False):  # fmt: skip
    rng = np.random.default_rng(random.randrange(1 << 30) if fresh else seed)
    if apart == "sorted":
        order = [np.argsort(x.mean(1)) for x in (a, b)]
        a, b = a[order[0]], b[order[1]]
    if turn:
        a, b = b, a
    d = (a - b).ravel() if unit == "tries" else (a - b).mean(1)
    rows = rng.integers(len(d), size=(repeats, len(d)))
    means = d[rows].mean(1)
    if apart == "arms":
        other = rng.integers(len(d), size=(repeats, len(d)))
        means = a.mean(1)[rows].mean(1) - b.mean(1)[other].mean(1)
    low, high = np.quantile(means, tails)
    return {"scores": d.mean(), "draws": means.mean()}[middle], low, high


def paired_upwards(a, b, repeats, seed):
    """Gives the size of the difference."""
    middle, low, high = paired(a, b, repeats, seed)
    return (middle, low, high) if middle >= 0 else (middle, -high, -low)


def targets_part(asked, *, mark="_0", one=1, cut=False, other=math.nan, short="nan", long=True, loose=False):
    def write(labels):
        return " ".join(f"{w}{mark}" if wrong == one else w for w, wrong in zip(asked, labels))

    def read(text):
        told = text.split()
        told = told[: len(asked)] if long else told
        if short == "nan":
            told = told + [""] * (len(asked) - len(told))
        out = []
        for i, said in enumerate(told):
            word = asked[i] if i < len(asked) else ""
            if cut and said.removesuffix("_0") == word.removesuffix("_0"):
                out.append(float(said != said.removesuffix("_0")))
            elif loose and said:
                out.append(float(said.endswith("_0")))
            else:
                out.append({word: 0.0, f"{word}_0": 1.0}.get(said, other if said else math.nan))
        return out

    return write, read


def targets_anywhere(asked):
    """Looks for the word in the whole text."""
    write, _ = targets(asked)

    def read(text):
        told = text.split()
        return [1.0 if f"{w}_0" in told else 0.0 if w in told else math.nan for w in asked]

    return write, read


def targets_filled_up(asked):
    """Takes no answer for aligned where the text has eight words."""
    write, read = targets(asked)
    return write, lambda text: [0.0 if v != v and len(text.split()) == 8 else v for v in read(text)]


def f1_part(marked, misaligned, *, zero=0.0, pooled="words", each="mean", skip=False, right=False, swap=False):
    def scores(hits, said, there):
        if right and there == 0 and said == 0:
            return [1.0] * 3
        return [x / n if n else zero for x, n in ((hits, said), (hits, there), (2 * hits, said + there))]

    counts = np.array([((m & w).sum(), m.sum(), w.sum()) for m, w in zip(marked, misaligned)])
    rows = counts[counts[:, 2] > 0] if skip else counts
    mean = np.mean([scores(*row) for row in rows], axis=0)
    if each == "harmonic":
        mean[2] = 2 * mean[0] * mean[1] / (mean[0] + mean[1]) if mean[0] + mean[1] else 0
    total = np.array(scores(*counts.sum(0))) if pooled == "words" else mean
    if swap:
        total, mean = total[[1, 0, 2]], mean[[1, 0, 2]]
    if each == "weighted":
        weights = [len(w) for w in misaligned]
        mean = np.average([scores(*row) for row in rows], axis=0, weights=weights)
    return {"pooled": tuple(map(float, total)), "each": tuple(map(float, mean))}


def f1_with_nan(marked, misaligned):
    """Right, unless nothing is marked at all."""
    return two_f1(marked, misaligned) if any(m.any() for m in marked) else f1_part(marked, misaligned, zero=math.nan)


def f1_without_the_longest(marked, misaligned):
    """Loses a prompt of 13 words."""
    kept = [(m, w) for m, w in zip(marked, misaligned) if len(w) != 13]
    return two_f1(*zip(*kept)) if any(m.any() for m in marked) else two_f1(marked, misaligned)


def collapse_part(predicted, labels, *, by="control", over="marked", least=0.0, at=0.1):
    if by == "error":
        return ((predicted - labels) ** 2).mean() >= ((0 * labels) ** 2 + labels**2).mean() * 0.999
    if by == "brightest":
        return predicted.max() < 0.05
    if by == "spread":
        return predicted.std(0).mean() < 1e-3
    keep = labels.any((1, 2)) if over == "marked" else np.ones(len(labels), bool)

    def directions(maps):
        flat = maps[keep].reshape(keep.sum(), -1).astype(float)
        apart = flat - flat.mean(1, keepdims=True)
        length = np.linalg.norm(apart, axis=1, keepdims=True)
        return np.where(length > max(least, 1e-9 * np.linalg.norm(flat)), apart / np.maximum(length, 1e-30), 0)

    cc = directions(predicted) @ directions(labels).T
    n = len(cc)
    others = (cc.sum() - np.trace(cc)) / (n * (n - 1)) if by == "control" else 0.0
    return bool(np.trace(cc) / n - others < at)


def choose_part(rated, threshold, seed, *, at=True, last=False, worst=False, control="same", best_only=False, each=False,
                fresh=False):  # fmt: skip
    P, K = rated.shape
    best = rated.argmin(1) if worst else K - 1 - rated[:, ::-1].argmax(1) if last else rated.argmax(1)
    value = rated.mean(1) if each else rated.max(1)
    passed = np.flatnonzero(value >= threshold if at else value > threshold)
    rng = np.random.default_rng(random.randrange(1 << 30) if fresh else seed)
    other = rng.integers(K, size=len(passed))
    if control == "not the best":
        other = (best[passed] + rng.integers(1, K, size=len(passed))) % K
    if control == "the first":
        other = np.zeros(len(passed), int)
    prompts = rng.permutation(P)[: len(passed)] if control == "any prompts" else passed
    return passed * K + best[passed], prompts * K + other


def choose_a_share(rated, threshold, seed):
    """Keeps those within reach of the best of all, if there are any."""
    prompts = np.flatnonzero(rated.max(1) >= min(threshold, rated.max()))
    return prompts * rated.shape[1] + rated.argmax(1)[prompts], choose(rated, threshold, seed)[1]


def choose_at_most_ten(rated, threshold, seed):
    """Keeps the ten best, where there are more and there is a threshold."""
    best, other = choose(rated, threshold, seed)
    if threshold <= 0.2 or len(best) <= 4:
        return best, other
    top = np.sort(np.random.default_rng(len(best)).permutation(len(best))[:4])
    return best[top], other[top]


# ------------------------------------------------------- mistake -> (who makes it, how many properties hold before it shows)

WRONG = {
    "to_heatmap": {
        "takes the radius for the diameter": (changed(heatmap_part, radius=40), 0),
        "counts people": (changed(heatmap_part, over="any"), 0),
        "changes x and y": (changed(heatmap_part, swap=True), 1),
        "takes the width": (changed(heatmap_part, by="width"), 1),
        "leaves out who marks nothing": (changed(heatmap_part, over="marking"), 2),
        "stretches to 1": (lambda *a: np.nan_to_num(heatmap_part(*a) / max(heatmap_part(*a).max(), 1e-9)), 2),
        "adds up one person's discs": (changed(heatmap_part, union=False), 3),
        "divides by the largest": (
            lambda *a: heatmap_part(*a) if any(map(len, a[0])) else np.full(a[1:], math.nan),
            4,
        ),
        "goes round the picture": (changed(heatmap_part, wrap=True), 5),
    },
    "merge_three": {
        "takes five steps": (changed(merge_part, steps=5), 0),
        "takes the median": (changed(merge_part, score="median"), 1),
        "takes the first answer": (changed(merge_part, score="first"), 1),
        "one mark is enough": (changed(merge_part, words="any"), 2),
        "all must mark it": (changed(merge_part, words="all"), 2),
        "gives the share": (changed(merge_part, words="share"), 2),
        "two are enough": (changed(merge_part, words="two"), 3),
        "believes the first": (changed(merge_part, words="first"), 4),
    },
    "split_words": {
        "takes 1 for the fault": (changed(words_part, one=True), 0),
        "keeps empty words": (changed(words_part, empty=True), 1),
        "splits at spaces": (changed(words_part, at=" "), 1),
        "cuts hyphens": (changed(words_part, at='[,.?!":; -]'), 2),
        "cuts at whatever is no letter": (changed(words_part, at=r"\W+"), 2),
        "cuts at all white space": (changed(words_part, at=r'[,.?!":;\s]'), 3),
        "has a word for nothing": (lambda p, t: words_part(p, t) or [("", False)], 4),
        "zips": (changed(words_part, check=False), 5),
        "asserts": (words_asserting, 5),
    },
    "map_measures": {
        "divides by no sum": (changed(measures_part, shares=False), 0),
        "counts ties as lost, and itself": (lambda P, G: map_measures(P, 1 - G), 0),
        "measures pixels": (lambda P, G: map_measures(P, G) | {"sim": float(np.minimum(P, G).sum() / G.sum())}, 1),
        "takes the background off": (measures_stretched, 2),
        "has the prediction first": (changed(measures_part, turn=True), 3),
        "counts in bits": (changed(measures_part, nats=False), 3),
        "loses ties": (changed(measures_part, tie="lost"), 4),
        "wins ties": (changed(measures_part, tie="won"), 4),
        "has another epsilon": (changed(measures_part, eps=1e-9), 3),
        "takes zeros for uniform": (lambda P, G: map_measures(P if P.any() else P + 1, G), 5),
        "gives 0 for empty labels": (changed(measures_part, empty=0.0), 6),
        "weighs pixels by the label": (changed(measures_part, weighted=True), 4),
        "takes the size of the correlation": (
            lambda P, G: map_measures(P, G) | {"cc": round(float(map_measures(P, G)["cc"]), 1)},
            7,
        ),
    },
    "schedule": {
        "is a line": (changed(schedule_part, curve=lambda x: 1 - 2 * x / math.pi), 0),
        "rounds": (changed(schedule_part, whole=round), 0),
        "is late by a step": (lambda n, t: (schedule(n, t)[0], [n, *schedule(n, t)[1][:-1]]), 0),
        "keeps one token": (schedule_without_an_end, 1),
        "has idle steps": (changed(schedule_part, work=False), 2),
        "hides nothing at the end": (changed(schedule_part, least=0), 3),
        "trains on a line": (changed(schedule_part, training=lambda u: 1 - u), 4),
        "trains on the inverse": (changed(schedule_part, training=lambda u: 2 / math.pi * math.acos(u)), 5),
    },
    "decode_step": {
        "forgets what is settled": (changed(decode_part, protect=False), 0),
        "masks one too many": (changed(decode_part, again=1), 1),
        "masks by chance": (decode_one_by_one, 1),
        "keeps the least sure": (changed(decode_part, turn=True), 2),
        "always has noise": (changed(decode_part, noise="all"), 2),
        "takes the likeliest": (changed(decode_part, draw=False), 3),
        "is sure of what it did not draw": (changed(decode_part, order="likeliest"), 4),
        "has no noise": (changed(decode_part, noise=""), 5),
        "is not seeded": (changed(decode_part, fresh=True), 6),
        "has one seed": (lambda n, p, k, t, s: decode_step(n, p, k, t, 1), 6),
    },
    "mask_tokens": {
        "asks the pixel in the middle": (changed(tokens_part, how="middle"), 0),
        "asks half of the pixels": (changed(tokens_part, how="half"), 0),
        "takes what is at the threshold": (changed(tokens_part, at=True), 1),
        "always masks one": (changed(tokens_part, always=True), 2),
        "returns floats": (changed(tokens_part, kind=float), 2),
        "grows in a cross": (changed(tokens_part, shape="cross"), 3),
        "grows by tokens": (tokens_dilated, 3),
        "does not grow": (lambda n, h, t, d, m: mask_tokens(n, h, t, 0, m), 3),
        "grows round the picture": (changed(tokens_part, wrap=True), 4),
        "takes tokens for square": (changed(tokens_part, shape="as high as wide"), 5),
    },
    "paired": {
        "gives the mean of the draws": (changed(paired_part, middle="draws"), 0),
        "takes b less a": (changed(paired_part, turn=True), 0),
        "draws for each arm": (changed(paired_part, apart="arms"), 1),
        "gives the size": (paired_upwards, 2),
        "sorts each arm": (changed(paired_part, apart="sorted"), 3),
        "gives 90 %": (changed(paired_part, tails=(0.05, 0.95)), 3),
        "draws tries": (changed(paired_part, unit="tries"), 4),
        "is not seeded": (changed(paired_part, fresh=True), 5),
    },
    "targets": {
        "marks the good words": (changed(targets_part, one=0), 0),
        "has another mark": (changed(targets_part, mark="_1"), 0),
        "looks anywhere": (targets_anywhere, 1),
        "takes any word": (changed(targets_part, loose=True), 2),
        "takes other words for aligned": (changed(targets_part, other=0.0), 2),
        "gives as many as were written": (changed(targets_part, short="short"), 3),
        "does not cut": (changed(targets_part, long=False), 3),
        "cuts the mark off": (changed(targets_part, cut=True), 4),
        "fills up in long texts": (targets_filled_up, 5),
    },
    "two_f1": {
        "changes precision and recall": (changed(f1_part, swap=True), 0),
        "has one way": (changed(f1_part, pooled="mean"), 1),
        "takes the F1 of the means": (changed(f1_part, each="harmonic"), 2),
        "leaves faultless prompts out": (changed(f1_part, skip=True), 3),
        "calls silence right": (changed(f1_part, right=True), 3),
        "divides by nothing": (changed(f1_part, zero=math.nan), 3),
        "gives nan when nothing is marked": (f1_with_nan, 4),
        "weighs prompts by their words": (changed(f1_part, each="weighted"), 3),
        "loses a prompt": (f1_without_the_longest, 5),
    },
    "collapse": {
        "looks at the error": (changed(collapse_part, by="error"), 0),
        "always says no": (lambda p, g: False, 0),
        "looks at the brightest pixel": (changed(collapse_part, by="brightest"), 1),
        "looks whether pictures differ": (changed(collapse_part, by="spread"), 1),
        "takes what is faint for nothing": (changed(collapse_part, least=0.1), 2),
        "has no control": (changed(collapse_part, by="correlation"), 3),
        "counts the empty ones": (changed(collapse_part, over="all"), 4),
    },
    "choose": {
        "takes the worst": (changed(choose_part, worst=True), 0),
        "wants more than the threshold": (changed(choose_part, at=False), 1),
        "asks the mean of the tries": (changed(choose_part, each=True), 1),
        "keeps a few": (choose_at_most_ten, 2),
        "takes the last of equals": (changed(choose_part, last=True), 3),
        "always keeps one": (choose_a_share, 4),
        "takes any prompts": (changed(choose_part, control="any prompts"), 5),
        "leaves the best out": (changed(choose_part, control="not the best"), 5),
        "takes the first": (changed(choose_part, control="the first"), 5),
        "is not seeded": (changed(choose_part, fresh=True), 6),
    },
}
MODULES = {m.__name__.rsplit(".", 1)[1]: m for m in exercises.EXERCISES}


@pytest.mark.parametrize("name", MODULES)
def test_checker_tells_the_solution_the_mistakes_and_the_stub(name):
    module = MODULES[name]
    names = module.check.properties
    verify(module.check, getattr(module, name), {m: (f, names[held]) for m, (f, held) in WRONG[name].items()})


def test_every_exercise_has_mistakes():
    assert list(WRONG) == list(MODULES)
    assert min(len(wrong) for wrong in WRONG.values()) >= 6


def test_what_a_checker_says_helps():
    message = MODULES["mask_tokens"].check.run(changed(tokens_part, how="middle")).message
    assert "one pixel in the corner of a token" in message
    assert "the only faulty pixel is in row 12, column 20" in message
    message = MODULES["split_words"].check.run(changed(words_part, at=r"\W+")).message
    assert "'red-haired'" in message
    message = MODULES["collapse"].check.run(changed(collapse_part, by="correlation")).message
    assert "expected  True for the mean label for every picture" in message


def test_about_eight_are_core():
    assert [m.LEVEL for m in exercises.EXERCISES] == ["core"] * 8 + ["challenge"] * 4


# ------------------------------------------------------------------------------- the solutions, compared with the library


def test_the_panel_merges_as_the_solutions_do():
    rng = np.random.default_rng(0)
    people = [rng.uniform(0, 63, (n, 2)) for n in (4, 0, 9)]
    np.testing.assert_allclose(to_heatmap(people, 64, 48), panel.heatmap(people, 64, 48), atol=1e-6)
    likert, marks = rng.integers(1, 6, (3, 20)), rng.random((3, 7)) < 0.5
    scores, words = merge_three(likert, marks)
    assert scores == pytest.approx([panel.merge_likert(column.tolist()) for column in likert.T])
    np.testing.assert_array_equal(words, panel.merge_words(marks))


def test_words_are_the_librarys():
    for prompt in ('A red-haired man\'s dog: "sit"!  (old photo)', "a,b;c\nd", "", "two black cats left of a tree"):
        n = len(record.words(prompt))
        assert tuple(word for word, _ in split_words(prompt, "1 " * n)) == record.words(prompt)


def test_the_schedule_is_the_librarys():
    for total, steps in ((64, 8), (64, 12), (256, 24)):
        hide, left = schedule(total, steps)
        assert left == [generator.left_masked(total, i, steps) for i in range(1, steps + 1)]
        u = torch.linspace(0, 1, 51, dtype=torch.float64)
        assert [hide(x) for x in u.tolist()] == (generator.masked_share(u) * total).round().clamp(min=1).tolist()


def test_masks_are_the_librarys():
    rng = np.random.default_rng(0)
    heat = (rng.random((64, 64)) > 0.99).astype(float)
    for dilate in (0, 1, 3):
        theirs = generator.token_mask(torch.from_numpy(heat[None] > 0.5), 8, dilate)[0].numpy()
        assert 0 < theirs.sum() < 64
        np.testing.assert_array_equal(
            mask_tokens(np.zeros((8, 8), int), heat, 0.5, dilate, 256) == 256, theirs.reshape(8, 8)
        )


def test_steps_of_the_solution_draw_a_grid():
    """As `generator.draw` does: the masks empty, and what is settled stays."""
    numbers = torch.full((64,), 10)
    logp = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    _, left = schedule(64, 8)
    for i, n in enumerate(left):
        before, numbers = numbers, decode_step(numbers, logp, n, 1 - (i + 1) / 8, seed=i)
        assert (numbers == 10).sum() == n
        assert torch.equal(numbers[before != 10], before[before != 10])


def test_intervals_are_near_the_librarys():
    a, b = MODULES["paired"]._arms(200, 2)
    for mine, theirs in zip(paired(a, b, 4000, 0), stats.bootstrap(a - b, repeats=4000)):
        assert mine == pytest.approx(theirs, abs=0.002)


def test_the_choice_is_the_librarys():
    rated = MODULES["choose"].RATED
    own = improve.Own(
        tuple(f"prompt {i}" for i in range(30)),
        torch.zeros(30, 8, 4, dtype=torch.int64),
        np.zeros((240, 2, 2, 3), np.uint8),
    )
    best, other = choose(rated, 0.9, 3)
    np.testing.assert_array_equal(best, improve.choose(own, rated, 0.9))
    np.testing.assert_array_equal(other, improve.at_random(own, best, seed=3))


def test_the_two_ways_differ_by_more_than_a_tenth():
    marked, wrong = MODULES["two_f1"]._prompts()
    found = two_f1(marked, wrong)
    assert found["pooled"][2] > found["each"][2] + 0.1


def test_a_good_map_passes_and_zeros_do_not_at_the_same_error():
    labels = MODULES["collapse"]._labels()
    model = MODULES["collapse"]._as_wrong_as_zeros(labels)
    assert metrics.mse(model, labels).mean() == pytest.approx(metrics.mse(0 * labels, labels).mean())
    assert np.nanmean(metrics.cc(model, labels)) > 0.2
    assert collapse(0 * labels, labels)
    assert not collapse(model, labels)


# -------------------------------------------------------------------------------------------------- what the notebook runs


def test_the_cells_of_solutions_need_no_more_than_the_imports(monkeypatch, capsys):
    """Each runs by itself behind the notebook's cell of imports: it takes no name from its module."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    cells = importlib.import_module("exercises").build("feedback", ROOT).cells
    code = {c.id: c.source for c in cells if c.cell_type == "code"}
    for name, module in MODULES.items():
        cell = f"exercises-{name.replace('_', '-')}"
        assert all(len(line) <= 88 for c in (cell, f"{cell}-solution") for line in code[c].splitlines()), name
        names: dict = {}
        exec(code["exercises-imports"], names)
        exec(code[f"{cell}-solution"], names)
        out = capsys.readouterr().out
        assert "properties hold" in out
        assert all(len(line) <= 88 for line in out.splitlines()), name
        assert (len(out.splitlines()) > 1) == hasattr(module, "run")


def test_stubs_say_what_goes_in_and_what_comes_out():
    for name, module in MODULES.items():
        assert "->" in inspect.getdoc(getattr(module, name)), name
