"""Scores of models of feedback, and of pictures. Pure functions.

models     `predict` asks any of the wing's models; `cells` are the figures of the paper's four tables. What knows nothing of
           a picture (`constant`), a linear model on `features` that saw no label (`lab.ridge`), and a second panel of people
           are scored in the same way
pictures   `quality`: what the judge says of a set of pictures, how different those of one prompt are, and on which share of
           prompts they are better than others
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..lab.saliency import COLLAPSED, own_fit  # noqa: F401
from . import metrics
from .improve import by_judge
from .model import RAHF, TwoTowers, as_batch
from .record import MAPS, SCORES, Feedback, words

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float64]

SAME = 0.05  # what a score moves by at the most and still counts as the same

# ------------------------------------------------------------------------------------------------------------- models


@torch.no_grad()
def predict(
    model: Any, pictures: Pictures, prompts: Sequence[str], write: bool = True, batch: int = 64
) -> list[Feedback]:
    """What a model says of pictures (B, H, W, 3): RAHF or a rival. What it has no output for is left out; of `TwoTowers` the
    map of misalignment is its gradient. write: words as the decoder writes them, if there is one."""
    if isinstance(model, RAHF):
        return model.predict(pictures, prompts, batch, write and model.decoder is not None)
    found: list[Feedback] = []
    device = next(model.parameters()).device
    for start in range(0, len(pictures), batch):
        some = as_batch(pictures[start : start + batch], device)
        tokens = model.vocabulary(prompts[start : start + batch]).to(device)
        out = model(some, tokens)
        maps = {name: logits.sigmoid() for name, logits in out.maps.items()}
        if isinstance(model, TwoTowers):
            maps["misalignment"] = model.gradient_map(some, tokens)
        for i in range(len(some)):
            scores = {name: float(logits[i].sigmoid()) for name, logits in out.scores.items()}
            found.append(
                Feedback(scores, {name: m[i].cpu().numpy() for name, m in maps.items()}, np.zeros(0, np.float32))
            )
    return found


def constant(
    scores: Mapping[str, float], prompts: Sequence[str], size: int, marked: Collection[str] | None = None
) -> list[Feedback]:
    """What needs no picture, for each prompt: scores, such as the means of the labels to learn from, a blob in the middle of
    both maps (size, size), and a mark on the words that are in `marked` (None: on every word)."""
    maps = dict.fromkeys(MAPS, metrics.centre_blob(size, size))
    said = ([marked is None or word in marked for word in words(prompt)] for prompt in prompts)
    return [Feedback(scores, maps, np.array(marks, np.float32)) for marks in said]


def often_marked(prompts: Sequence[str], labels: Sequence[Feedback]) -> set[str]:
    """Which words to mark without a look at the picture: those that are marked most often, as many as give the highest pooled
    F1 on these labels. A thing or a colour is missed more often than an "and": so it is a better answer than every word."""
    uses, marks = Counter[str](), Counter[str]()
    for prompt, label in zip(prompts, labels, strict=True):
        uses.update(words(prompt))
        marks.update(word for word, wrong in zip(words(prompt), label.misaligned) if wrong > 0.5)
    order = sorted(uses, key=lambda word: (-marks[word] / uses[word], word))
    right = np.cumsum([marks[word] for word in order])
    f1 = 2 * right / (np.cumsum([uses[word] for word in order]) + sum(marks.values()))
    return set(order[: int(f1.argmax()) + 1])


def cells(predicted: Sequence[Feedback], labels: Sequence[Feedback]) -> dict[str, float]:
    """The figures of `metrics.tables` that rest on something, by "<part>.<measure>"; `<map>.own`: `own_fit` of each map."""
    found = {key: cell.value for key, cell in metrics.tables(predicted, labels).cells.items()}
    for name in MAPS:
        if all(name in feedback.maps for feedback in predicted):
            found[f"{name}.own"] = own_fit(
                *([feedback.maps[name] for feedback in side] for side in (predicted, labels))
            )
    return {name: value for name, value in found.items() if math.isfinite(value)}


# -------------------------------------------------------------------------------------------------------- few labels


def features(towers: TwoTowers, pictures: Pictures, prompts: Sequence[str], batch: int = 64) -> Floats:
    """What two frozen towers see and read of pictures (B, H, W, 3), and where the two meet: (B, 3 width + 1)."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(pictures), batch):
            tokens = towers.vocabulary(prompts[start : start + batch])
            a, b, cosine = towers.cosine(as_batch(pictures[start : start + batch]), tokens)
            rows.append(torch.cat([a, b, a * b, cosine[:, None]], 1).double().numpy())
    return np.concatenate(rows)


# ---------------------------------------------------------------------------------------------------------- pictures


def diversity(pictures: Pictures) -> float:
    """How far apart pictures of one prompt are, (P, K, H, W, 3), K at least 2: root mean square difference of two of them,
    white being 1 apart from black, the mean over prompts. 0: all the same, as after a collapse."""
    if pictures.ndim != 5 or pictures.shape[1] < 2:
        raise ValueError(f"diversity: wants pictures (P, K, H, W, 3), at least two of a prompt, got {pictures.shape}")
    spread = pictures.astype(np.float64).var(1, ddof=1).mean((1, 2, 3))
    return float(np.sqrt(2 * spread).mean() / 255)


def compared(after: ArrayLike, before: ArrayLike, same: float = SAME) -> dict[str, float]:
    """On which share of prompts a score (P,) is better, the same (it moved by `same` at the most) and worse; `votes`: better
    less worse."""
    moved = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    better, worse = float((moved > same).mean()), float((moved < -same).mean())
    return dict(better=better, same=1 - better - worse, worse=worse, votes=better - worse)


def judged(pictures: Pictures, prompts: Sequence[str]) -> dict[str, Floats]:
    """The judge's scores of pictures (B, H, W, 3), by names of SCORES: (B,)."""
    found = by_judge(pictures, prompts)
    return {name: np.array([feedback.scores[name] for feedback in found]) for name in SCORES}


def quality(
    pictures: Pictures, prompts: Sequence[str], before: Mapping[str, Floats] | None = None
) -> tuple[dict[str, float], dict[str, Floats]]:
    """What is said of pictures (P, K, H, W, 3), K for each prompt, and the judge's scores (P, K) that it is made of.

    plausibility, aesthetics, alignment, overall   means of the judge's scores
    sound, right       shares of pictures with a plausibility, with an alignment, of 0.95 or more
    diversity          where there are two of a prompt
    better, same, worse, votes    of plausibility, of the first picture of each prompt, against `before`: scores (P, K)
    """
    P, K = pictures.shape[:2]
    flat = judged(pictures.reshape(-1, *pictures.shape[2:]), [prompt for prompt in prompts for _ in range(K)])
    each = {name: values.reshape(P, K) for name, values in flat.items()}
    found = {name: float(values.mean()) for name, values in each.items()}
    found |= {what: float((each[name] >= 0.95).mean()) for what, name in (("sound", SCORES[0]), ("right", "alignment"))}
    if K > 1:
        found["diversity"] = diversity(pictures)
    if before is not None:
        found |= compared(each["plausibility"][:, 0], before["plausibility"][:, 0])
    return found, each


def paint_error(pictures: Pictures, truth: Pictures) -> float:
    """Peak signal-to-noise ratio in dB of pictures against others of their shape: what a tokenizer keeps."""
    off = float(np.square(pictures.astype(np.float64) - truth).mean())
    return 10 * math.log10(255**2 / max(off, 1e-9))
