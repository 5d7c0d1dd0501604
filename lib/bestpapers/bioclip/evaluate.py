"""Scores of a model, and how sure they are.

The unit of chance is the species: photographs of one species succeed or fail together. `bootstrap` so draws species, and
several seeds (each its own world, split and start) are compared pair by pair with `paired`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..lab import stats
from ..lab.stats import Interval, interval, paired
from .data import Split
from .model import Classifier, embed_images, embed_texts, image_features
from .taxa import Taxon
from .taxonomy import TEXT_TYPES, Rank, captions, lca_height, rollup

__all__ = [
    "TestSet",
    "bootstrap",
    "calibration",
    "few_shot",
    "image_scores",
    "image_table",
    "interval",
    "open_ranks",
    "paired",
    "pixels",
    "probabilities",
    "score",
    "severity",
    "shape_by_rank",
    "silhouette",
    "support_draws",
    "text_table",
    "tree_correlation",
    "zero_shot",
]

# ----------------------------------------------------------------------------------------------------------- zero-shot


@dataclass(frozen=True)
class TestSet:
    """Photographs [S, n, H, W, 3] uint8 of all S species of a table, and which of them training saw."""

    taxa: tuple[Taxon, ...]
    split: Split
    images: Tensor

    def unseen(self) -> list[int]:
        return sorted((*self.split.u1, *self.split.u2))


def image_table(model: Any, test: TestSet) -> Tensor:
    """Embeddings of the test photographs: [S, n, D], length 1."""
    return embed_images(model, test.images.flatten(0, 1)).view(*test.images.shape[:2], -1).cpu()


def text_table(model: Any, tokenizer: Any, taxa: Sequence[Taxon]) -> dict[str, Tensor]:
    """Embeddings of all captions of the species, by text type: [S, D] each, length 1."""
    texts = [captions(taxon) for taxon in taxa]
    return {kind: embed_texts(model, tokenizer, [t[kind] for t in texts]).cpu() for kind in TEXT_TYPES}


def probabilities(images: Tensor, texts: Tensor, scale: float) -> Tensor:
    """softmax(scale * cosine): images [..., D] among the candidates texts [C, D] -> [..., C]."""
    return (scale * images @ texts.T).softmax(-1)


def zero_shot(
    images: Tensor, texts: Tensor, scale: float, taxa: Sequence[Taxon], among: Sequence[int], rank: Rank = Rank.SPECIES
) -> Tensor:
    """Photographs of the species `among` named by the captions of these species: which are right, bool [A, n].

    images [S, n, D] and texts [S, D] of the whole table. At a higher rank the probabilities of each group are summed first;
    of the unseen genera ask no more than Rank.GENUS, since their two species cannot be told apart by name alone.
    """
    chosen = [taxa[i] for i in among]
    grouped, groups = rollup(probabilities(images[list(among)], texts[list(among)], scale), chosen, rank)
    truth = torch.tensor([groups.index(taxon.path[: rank + 1]) for taxon in chosen])
    return grouped.argmax(-1) == truth[:, None]


def open_ranks(
    images: Tensor, texts: Tensor, scale: float, taxa: Sequence[Taxon], of: Sequence[int]
) -> dict[Rank, Tensor]:
    """The same with every species of the table as a candidate, at each rank: which photographs of the species `of` are right.

    Harder than the closed test of `zero_shot`, and closer to use: there a seen relative is no candidate.
    """
    p, out = probabilities(images[list(of)], texts, scale), {}
    for rank in Rank:
        grouped, groups = rollup(p, taxa, rank)
        truth = torch.tensor([groups.index(taxa[i].path[: rank + 1]) for i in of])
        out[rank] = grouped.argmax(-1) == truth[:, None]
    return out


def severity(truth: Tensor, predicted: Tensor, taxa: Sequence[Taxon]) -> float:
    """Mean height of the lowest common ancestor of each mistake: 1 the wrong species of the right genus ... 7 the wrong
    kingdom. NaN without mistakes."""
    height = torch.from_numpy(lca_height(taxa, taxa))[truth, predicted]
    return float(height[truth != predicted].double().mean())


def calibration(probability: Tensor, truth: Tensor, taxa: Sequence[Taxon], bins: int = 10) -> dict[Rank, float]:
    """Expected calibration error of rolled-up probabilities [N, S] at each rank: the mean gap between the confidence of the
    best group and the share that is right, over equal bins of confidence weighted by their photographs. truth [N]."""
    out = {}
    for rank in Rank:
        grouped, groups = rollup(probability, taxa, rank)
        number = torch.tensor([groups.index(taxon.path[: rank + 1]) for taxon in taxa])
        confidence, best = grouped.max(-1)
        right = (best == number[truth]).to(confidence)
        place = (confidence * bins).long().clamp(0, bins - 1)
        gap = torch.zeros(bins, dtype=confidence.dtype).index_add(0, place, confidence - right)
        out[rank] = float(gap.abs().sum() / len(truth))
    return out


# ------------------------------------------------------------------------------------------------------------ few-shot


def support_draws(n_species: int, n_images: int, shots: int, repeats: int = 5) -> Tensor:
    """Which photographs of each species are the examples: [repeats, S, shots], repeat r drawn with seed r."""
    if not 1 <= shots < n_images:
        raise ValueError(f"support_draws: {shots} of {n_images} photographs leave none to test, or none to learn from")
    draws = []
    for seed in range(repeats):
        chance = torch.rand(n_species, n_images, generator=torch.Generator().manual_seed(seed))
        draws.append(chance.argsort(1)[:, :shots])
    return torch.stack(draws)


def few_shot(features: Tensor, draws: Tensor, transform: str = "CL2N") -> Tensor:
    """SimpleShot: name each photograph by the nearest mean of a few examples. Which are right: bool [R, S, n - k].

    features   [S, n, D], any length
    draws      [R, S, k], the examples of each of R repeats; all other photographs are the test
    transform  "CL2N": length 1, minus the mean of all examples, length 1 again (the paper's); "L2N": length 1; "UN": as is
    """
    if transform not in ("CL2N", "L2N", "UN"):
        raise ValueError(f"few_shot: transform must be CL2N, L2N or UN, got {transform!r}")
    S, n, _ = features.shape
    R, _, k = draws.shape
    if draws.shape[1] != S or int(draws.max()) >= n:
        raise ValueError(f"few_shot: draws {list(draws.shape)} up to {int(draws.max())} do not fit [{S}, {n}] features")
    x = features if transform == "UN" else F.normalize(features, dim=-1)
    support = x[torch.arange(S)[:, None], draws]  # [R, S, k, D]
    x = x.expand(R, -1, -1, -1)
    if transform == "CL2N":
        mean = support.mean((1, 2), keepdim=True)
        x, support = F.normalize(x - mean, dim=-1), F.normalize(support - mean, dim=-1)
    nearest = torch.cdist(x.flatten(1, 2), support.mean(2)).argmin(-1).view(R, S, n)
    right = nearest == torch.arange(S)[:, None]
    test = torch.ones(R, S, n, dtype=torch.bool).scatter(2, draws, False)
    return right[test].view(R, S, n - k)


def pixels(images: Tensor, grid: int = 8) -> Tensor:
    """The baseline without a model: mean colours on a grid, [S, n, H, W, 3] uint8 -> [S, n, grid * grid * 3]."""
    flat = images.flatten(0, 1).permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(flat, grid).reshape(*images.shape[:2], -1) / 255


# ----------------------------------------------------------------------------------------------- the shape of the space


def tree_correlation(features: Tensor, taxa: Sequence[Taxon]) -> float:
    """Spearman correlation, over all pairs of species, of tree distance and cosine distance between mean embeddings
    [S, n, D]."""
    from scipy.stats import spearmanr

    mean = F.normalize(F.normalize(features, dim=-1).mean(1), dim=-1)
    pairs = torch.triu_indices(len(taxa), len(taxa), 1).unbind()
    return float(spearmanr(lca_height(taxa, taxa)[pairs], (1 - mean @ mean.T)[pairs]).statistic)


def silhouette(distance: Tensor, groups: Tensor) -> float:
    """Mean of (b - a) / max(a, b) over the items [N] that are not alone in their group: a, the mean distance to the rest of
    the own group; b, to the nearest other one. From -1 to 1; NaN if there are not two groups, or all are alone."""
    one_hot = F.one_hot(groups).to(distance)  # [N, G]
    size, total = one_hot.sum(0), distance @ one_hot  # [G], [N, G]
    own = one_hot.bool()
    a = total[own] / (size[groups] - 1)
    b = (total / size).masked_fill(own, torch.inf).amin(1)
    value = ((b - a) / torch.maximum(a, b))[size[groups] > 1]
    return float(value.mean()) if len(size) > 1 else torch.nan


def shape_by_rank(features: Tensor, taxa: Sequence[Taxon], k: int = 10) -> dict[str, float]:
    """How well the embeddings [S, n, D] fall into groups at each rank: "silhouette.<rank>", and from kingdom to genus
    "knn.<rank>": the share of the k nearest photographs of OTHER species that are of the own group, with "knn_chance.<rank>"
    for neighbours drawn at random. (With its own species allowed, nearly all neighbours would be of that, at any rank.)"""
    S, n, D = features.shape
    x = F.normalize(features, dim=-1).reshape(S * n, D)
    distance = torch.cdist(x, x)
    of = torch.arange(S).repeat_interleave(n)
    nearest = distance.masked_fill(of[:, None] == of, torch.inf).topk(k, largest=False).indices
    out = {}
    for rank in Rank:
        number: dict[tuple[str, ...], int] = {}
        group = torch.tensor([number.setdefault(taxon.path[: rank + 1], len(number)) for taxon in taxa])
        out[f"silhouette.{rank.get_label()}"] = silhouette(distance, group[of])
        if rank < Rank.SPECIES:
            same = (group[:, None] == group).double()
            out[f"knn.{rank.get_label()}"] = float((group[of[nearest]] == group[of][:, None]).double().mean())
            out[f"knn_chance.{rank.get_label()}"] = float((same.sum() - S) / (S * (S - 1)))
    return out


# ----------------------------------------------------------------------------------------------------------- intervals


def bootstrap(right: Tensor, by: str = "species", repeats: int = 2000, seed: int = 0) -> Interval:
    """Mean of right [S, n] and a 95 % interval by drawing anew, with replacement: species (clusters), or with by="image"
    single photographs, as if they were independent. They are not, so that interval is too narrow."""
    if by not in ("species", "image"):
        raise ValueError(f'bootstrap: by must be "species" or "image", got {by!r}')
    values = right.double() if by == "species" else right.double().flatten()
    return stats.bootstrap(values.numpy(), repeats, seed)


# ------------------------------------------------------------------------------------------------------ all of a model


def score(model: Any, tokenizer: Any, test: TestSet, arm: str = "mixed") -> dict[str, float]:
    """All measures of a model, each under a name of words joined by dots.

    zero.<text type>.{seen,u1,u2}      closed zero-shot accuracy among the seen, the u1, the u2 species; u2 by genus
    zero.<text type>.unseen            the same among u1 and u2 together, by species: the candidates of the few-shot test
    open.{seen,unseen}.<rank>          all species are candidates; captions of the own type (mixed: taxon_com)
    severity.{seen,unseen}             mean height of these mistakes at species rank; ece.{seen,unseen}.<rank> of these
    head.{rank}                        a classifier's accuracy on the seen species, by its heads
    few.<k>.{CL2N,L2N}                 k-shot accuracy among the unseen species, mean of five draws
    tree.{seen,unseen}                 correlation of embeddings and tree
    {silhouette,knn,knn_chance}.<rank> of the unseen species
    """
    images = image_table(model, test)
    out: dict[str, float] = {}
    if tokenizer is None:
        out |= _head_scores(model, test)
    else:
        texts, scale = text_table(model, tokenizer, test.taxa), float(model.logit_scale.detach().exp())
        for kind in TEXT_TYPES:
            for part, of in (*test.split.parts(), ("unseen", test.unseen())):
                rank = Rank.GENUS if part == "u2" else Rank.SPECIES
                right = zero_shot(images, texts[kind], scale, test.taxa, of, rank)
                out[f"zero.{kind}.{part}"] = float(right.double().mean())
        own = texts[arm if arm in TEXT_TYPES else "taxon_com"]
        for part, members in (("seen", list(test.split.seen)), ("unseen", test.unseen())):
            for rank, right in open_ranks(images, own, scale, test.taxa, members).items():
                out[f"open.{part}.{rank.get_label()}"] = float(right.double().mean())
            truth = torch.tensor(members).repeat_interleave(images.shape[1])
            p = probabilities(images[members].flatten(0, 1), own, scale)
            out[f"severity.{part}"] = severity(truth, p.argmax(-1), test.taxa)
            for rank, gap in calibration(p, truth, test.taxa).items():
                out[f"ece.{part}.{rank.get_label()}"] = gap
    return out | image_scores(images, test)


def image_scores(features: Tensor, test: TestSet) -> dict[str, float]:
    """The measures of `score` that ask for no text, of any features [S, n, D]: also of `pixels` and untrained models."""
    out = {}
    unseen, seen = test.unseen(), list(test.split.seen)
    for shots in (1, 5):
        draws = support_draws(len(unseen), features.shape[1], shots)
        for transform in ("CL2N", "L2N"):
            out[f"few.{shots}.{transform}"] = float(few_shot(features[unseen], draws, transform).double().mean())
    out["tree.seen"] = tree_correlation(features[seen], [test.taxa[i] for i in seen])
    out["tree.unseen"] = tree_correlation(features[unseen], [test.taxa[i] for i in unseen])
    return out | shape_by_rank(features[unseen], [test.taxa[i] for i in unseen])


@torch.inference_mode()
def _head_scores(model: Classifier, test: TestSet) -> dict[str, float]:
    seen = list(test.split.seen)
    images = test.images[seen].flatten(0, 1).to(model.targets.device)
    features = torch.cat([image_features(model.visual, part) for part in images.split(256)])
    out = {}
    for rank, groups in model.groups.items():
        best = model.heads[rank.get_label()](features).argmax(-1).view(len(seen), -1).cpu()
        number = {path: i for i, path in enumerate(groups)}
        truth = torch.tensor([number.get(test.taxa[i].path[: rank + 1], -1) for i in seen])
        out[f"head.{rank.get_label()}"] = float((best == truth[:, None]).double().mean())
    return out
