"""Scores of a model, and how sure they are.

The unit of chance is the species: photographs of one species succeed or fail together. `bootstrap` so draws species, and
several seeds (each its own world, split and start) are compared pair by pair with `paired`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..lab import stats
from ..lab.stats import Interval, interval, paired
from .data import Split
from .model import Classifier, embed_images, embed_texts, image_features
from .taxa import Taxon
from .taxonomy import TEXT_TYPES, Rank, captions, lca_height, rollup

if TYPE_CHECKING:
    from .train import Photos

__all__ = [
    "TestSet",
    "bootstrap",
    "calibration",
    "few_shot",
    "image_scores",
    "image_table",
    "interval",
    "lookup",
    "lookup_scores",
    "means",
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


# --------------------------------------------------------------------------------------------------------- the look-up


def means(features: Tensor, species: Tensor) -> Tensor:
    """What is remembered of each species: the mean of its embeddings. features [N, D]; species [N], each of 0 to K - 1 at
    least once -> [K, D]."""
    unit = F.normalize(features, dim=-1)
    total = unit.new_zeros(int(species.max()) + 1, unit.shape[-1]).index_add(0, species, unit)
    return total / species.bincount()[:, None]


def lookup(
    images: Tensor,
    memory: Tensor,
    known: Sequence[int],
    taxa: Sequence[Taxon],
    among: Sequence[int],
    rank: Rank = Rank.SPECIES,
) -> Tensor:
    """`zero_shot` without a text: a new name stands where its relatives do. Photographs of the species `among`, named by
    these species' names: how right they are, [A, n] in [0, 1].

    images  [S, n, D] of the whole table, any length
    memory  [K, D], what is remembered of the species `known`: `means` of photographs, class vectors, vectors of captions

    Each candidate, a path down to `rank`, gets the mean of the known species that share most ranks with it, and the nearest
    one wins (by cosine). Candidates with the same relatives have the same place. Then the guess is among them, so a
    photograph that is nearest to the place of k candidates, the true one among them, counts 1 / k.
    """
    paths, unit = [taxa[i].path for i in known], F.normalize(memory, dim=-1)
    truth = [taxa[i].path[: rank + 1] for i in among]
    kin = {}  # of each candidate: the longest beginning of its path that a known species has
    for path in truth:
        depths = range(len(path), -1, -1)
        kin[path] = next(path[:d] for d in depths if any(other[:d] == path[:d] for other in paths))
    groups = list(dict.fromkeys(kin.values()))
    members = [[k for k, path in enumerate(paths) if path[: len(group)] == group] for group in groups]
    places = F.normalize(torch.stack([unit[of].mean(0) for of in members]), dim=-1)
    nearest = (F.normalize(images[list(among)], dim=-1) @ places.T).argmax(-1)  # [A, n]
    own = torch.tensor([groups.index(kin[path]) for path in truth])
    alike = Counter(kin.values())
    share = torch.tensor([1 / alike[kin[path]] for path in truth], dtype=torch.float64)
    return (nearest == own[:, None]) * share[:, None]


def lookup_scores(images: Tensor, memories: Mapping[str, Tensor], test: TestSet) -> dict[str, float]:
    """lookup.<memory>.{u1,u2,u3,unseen}: `lookup` in each closed test of `score`, of embeddings [S, n, D] of the test.

    memories: [K, D] each, of the seen species in the order of the split
    """
    out = {}
    for name, memory in memories.items():
        for part, of in _unseen_parts(test):
            rank = Rank.GENUS if part == "u2" else Rank.SPECIES
            right = lookup(images, memory, test.split.seen, test.taxa, of, rank)
            out[f"lookup.{name}.{part}"] = float(right.mean())
    return out


def _unseen_parts(test: TestSet) -> list[tuple[str, Sequence[int]]]:
    return [(part, of) for part, of in test.split.parts() if part != "seen"] + [("unseen", test.unseen())]


def _genera(test: TestSet) -> list[list[int]]:
    """The species of u3, by genus."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i in test.split.u3:
        groups.setdefault(test.taxa[i].path[:6], []).append(i)
    return list(groups.values())


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


def score(
    model: Any, tokenizer: Any, test: TestSet, arm: str = "mixed", training: Photos | None = None
) -> dict[str, float]:
    """All measures of a model, each under a name of words joined by dots.

    training  the photographs that the model was trained on; without them there is no look-up

    zero.<text type>.{seen,u1,u2,u3}   closed zero-shot accuracy among the species of a part; u2 by genus
    zero.<text type>.siblings          among the u3 species of one genus, mean over the genera
    lookup.photo.{u1,u2,u3,unseen}     the same tests without a text: by the mean of the relatives' training photographs
    lookup.label.{u1,u2,u3,unseen}     by the mean of their class vectors, or of their captions' (own type, mixed: taxon_com)
    zero.<text type>.unseen            the same among u1 and u2 together, by species: the candidates of the few-shot test
    open.{seen,unseen}.<rank>          all species are candidates; captions of the own type (mixed: taxon_com)
    severity.{seen,unseen}             mean height of these mistakes at species rank; ece.{seen,unseen}.<rank> of these
    head.{rank}                        a classifier's accuracy on the seen species, by its heads
    few.<k>.{CL2N,L2N}                 k-shot accuracy among the unseen species, mean of five draws
    few.1.siblings                     one shot among the u3 species of one genus, CL2N
    tree.{seen,unseen}                 correlation of embeddings and tree
    {silhouette,knn,knn_chance}.<rank> of the unseen species
    """
    images = image_table(model, test)
    out: dict[str, float] = {}
    labels: Tensor | None = None  # of the seen species
    if tokenizer is None:
        out |= _head_scores(model, test)
        labels = _class_vectors(model, [test.taxa[i].path for i in test.split.seen])
    else:
        texts, scale = text_table(model, tokenizer, test.taxa), float(model.logit_scale.detach().exp())
        for kind in TEXT_TYPES:
            for part, of in (*test.split.parts(), ("unseen", test.unseen())):
                rank = Rank.GENUS if part == "u2" else Rank.SPECIES
                right = zero_shot(images, texts[kind], scale, test.taxa, of, rank)
                out[f"zero.{kind}.{part}"] = float(right.double().mean())
            if genera := _genera(test):
                hits = [zero_shot(images, texts[kind], scale, test.taxa, of) for of in genera]
                out[f"zero.{kind}.siblings"] = float(torch.cat(hits).double().mean())
        own = texts[arm if arm in TEXT_TYPES else "taxon_com"]
        labels = own[list(test.split.seen)]
        for part, members in (("seen", list(test.split.seen)), ("unseen", test.unseen())):
            for rank, right in open_ranks(images, own, scale, test.taxa, members).items():
                out[f"open.{part}.{rank.get_label()}"] = float(right.double().mean())
            truth = torch.tensor(members).repeat_interleave(images.shape[1])
            p = probabilities(images[members].flatten(0, 1), own, scale)
            out[f"severity.{part}"] = severity(truth, p.argmax(-1), test.taxa)
            for rank, gap in calibration(p, truth, test.taxa).items():
                out[f"ece.{part}.{rank.get_label()}"] = gap
    memory = None
    if training is not None:
        memory = means(embed_images(model, training.images).cpu(), training.species)
        if labels is not None:
            out |= lookup_scores(images, dict(label=labels), test)
    return out | image_scores(images, test, memory)


def image_scores(features: Tensor, test: TestSet, memory: Tensor | None = None) -> dict[str, float]:
    """The measures of `score` that ask for no text, of any features [S, n, D]: also of `pixels` and untrained models.

    memory: [K, D], `means` of such features of the training photographs; without it there is no look-up
    """
    out = lookup_scores(features, dict(photo=memory), test) if memory is not None else {}
    unseen, seen = test.unseen(), list(test.split.seen)
    for shots in (1, 5):
        draws = support_draws(len(unseen), features.shape[1], shots)
        for transform in ("CL2N", "L2N"):
            out[f"few.{shots}.{transform}"] = float(few_shot(features[unseen], draws, transform).double().mean())
    if genera := _genera(test):
        hits = [few_shot(features[of], support_draws(len(of), features.shape[1], 1)) for of in genera]
        out["few.1.siblings"] = float(torch.cat(hits, 1).double().mean())
    out["tree.seen"] = tree_correlation(features[seen], [test.taxa[i] for i in seen])
    out["tree.unseen"] = tree_correlation(features[unseen], [test.taxa[i] for i in unseen])
    return out | shape_by_rank(features[unseen], [test.taxa[i] for i in unseen])


def _class_vectors(model: Classifier, paths: Sequence[tuple[str, ...]]) -> Tensor | None:
    """The rows of the species' head [K, D] for these species; None if it has none for one of them."""
    if Rank.SPECIES not in model.groups:
        return None
    number = {path: i for i, path in enumerate(model.groups[Rank.SPECIES])}
    if not number.keys() >= set(paths):
        return None
    rows: Tensor = model.heads[Rank.SPECIES.get_label()].state_dict()["weight"].cpu()
    return rows[[number[path] for path in paths]]


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
