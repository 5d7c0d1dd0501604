"""Scoring a model, honest intervals, and the experiments of the paper's tables.

    python -m bestpapers.bioclip.evaluate --settings base null --arms taxon mixed ce --seeds 0 1 2 3 4 --out results.json

The unit of chance is the species: photographs of one species succeed or fail together. `bootstrap` so draws species, and
several seeds (each its own world, split and start) are compared pair by pair with `paired`.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..course.progress import progress
from ..lab.files import FormatError, parse_json, read_file, show, write_file
from .data import SOURCE, TEST_START, Split, World, long_tail, make_split, photographs, species
from .model import ARMS, RANK_WEIGHTS, Classifier, Config, Vocabulary, build, embed_images, embed_texts, image_features
from .taxa import Taxon
from .taxonomy import TEXT_TYPES, Rank, captions, lca_height, rollup
from .train import Photos, TrainConfig, Trainer, distinct, photos, text_of

Interval = tuple[float, float, float]  # mean, lower and upper end at 95 %


# ----------------------------------------------------------------------------------------------------------- zero-shot


@dataclass(frozen=True)
class Exam:
    """The test: photographs [S, n, H, W, 3] uint8 of all S species of a table, and which of them training saw."""

    taxa: tuple[Taxon, ...]
    split: Split
    images: Tensor

    def unseen(self) -> list[int]:
        return sorted((*self.split.u1, *self.split.u2))


def image_table(model: Any, exam: Exam) -> Tensor:
    """Embeddings of the test photographs: [S, n, D], length 1."""
    return embed_images(model, exam.images.flatten(0, 1)).view(*exam.images.shape[:2], -1).cpu()


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


def save_draws(path: str | Path, draws: Tensor) -> None:
    """Write support draws as JSON, [repeats][species][shots], so that others can test on the same ones."""
    write_file(Path(path), (json.dumps(draws.tolist()) + "\n").encode())


def load_draws(path: str | Path) -> Tensor:
    """Read what `save_draws` wrote; raises FormatError if it is something else."""
    path = Path(path)
    value = parse_json(read_file(path, 1 << 26), path, list)
    try:
        draws = torch.tensor(value)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise FormatError(path, "draws", "whole numbers [repeats][species][shots]", show(value)) from error
    if draws.ndim != 3 or draws.dtype != torch.int64 or not draws.numel() or draws.min() < 0:
        raise FormatError(path, "draws", "whole numbers [repeats][species][shots]", show(value))
    return draws


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
    values = right.double().numpy()
    rng = np.random.default_rng(seed)
    if by == "species":
        values = values.mean(1)
    elif by == "image":
        values = values.ravel()
    else:
        raise ValueError(f'bootstrap: by must be "species" or "image", got {by!r}')
    parts = [values[rng.integers(len(values), size=(100, len(values)))].mean(1) for _ in range(-(-repeats // 100))]
    low, high = np.quantile(np.concatenate(parts)[:repeats], (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def interval(values: Iterable[float]) -> Interval:
    """Mean over seeds with the 95 % interval of Student's t."""
    from scipy.stats import t

    x = np.array(list(values), np.float64)
    if len(x) < 2:
        raise ValueError(f"interval: needs the values of at least two seeds, got {len(x)}")
    half = float(t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5)
    return float(x.mean()), float(x.mean()) - half, float(x.mean()) + half


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Interval:
    """The difference a - b between two methods, seed by seed, with its interval. What seeds share cancels out."""
    if a.keys() != b.keys():
        raise ValueError(f"paired: seeds {sorted(a)} and {sorted(b)} are not the same")
    return interval(a[seed] - b[seed] for seed in sorted(a))


# ---------------------------------------------------------------------------------------------------------- experiments


@dataclass(frozen=True)
class Setting:
    """One row of conditions: everything about a run but the arm and the seed. The seed makes world, split, start and batches.

    extra        invented species beside the 128 real ones
    per_species  photographs of each seen species; with an exponent, their mean, spread by `data.long_tail`
    n_seen       train on so many of the seen species only
    """

    name: str = "base"
    world: World = field(default_factory=World)
    extra: int = 0
    per_species: int = 40
    exponent: float | None = None
    n_seen: int | None = None
    test_per_species: int = 20
    train: TrainConfig = field(default_factory=TrainConfig)
    model: Config = field(default_factory=Config)


_SHORT = TrainConfig(steps=1200, batch=23)
SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("base"),
        Setting("null", World(inherit=False)),
        # how a batch is made: duplicates of a species in it; the form of captions as a shortcut
        Setting("random", train=TrainConfig(sampler="random")),
        Setting("sample", train=TrainConfig(mixing="sample")),
        # diversity against volume: 920 photographs of few species, or of four times as many; batches of 23 for both
        Setting("narrow", n_seen=23, per_species=40, train=_SHORT),
        Setting("diverse", per_species=10, train=_SHORT),
        # where the paper's objective should win: a long tail, many classes, both. As many photographs as in base
        Setting("tail", exponent=1.0, train=TrainConfig(sampler="random")),
        Setting("many", extra=384, per_species=8, test_per_species=10, train=TrainConfig(batch=92)),
        Setting(
            "many_tail",
            extra=384,
            per_species=8,
            exponent=1.0,
            test_per_species=10,
            train=TrainConfig(batch=92, sampler="random"),
        ),
    )
}


@dataclass(frozen=True)
class Material:
    """What a setting and a seed give: training photographs, and the test."""

    photos: Photos
    exam: Exam


@dataclass(frozen=True)
class Run:
    """One trained arm: the model, its tokenizer (None for classifiers), its scores, and what training cost."""

    model: Any
    tokenizer: Vocabulary | None
    scores: dict[str, float]
    losses: list[float]
    seconds: float


def exam(setting: Setting, seed: int) -> Exam:
    """The test of one seed."""
    taxa, world = species(setting.extra), replace(setting.world, seed=seed)
    split = make_split(taxa, seed)
    if setting.n_seen is not None:
        order = torch.randperm(len(split.seen), generator=torch.Generator().manual_seed(seed)).tolist()
        split = replace(split, seen=tuple(sorted(split.seen[i] for i in order[: setting.n_seen])))
    images = photographs(taxa, setting.test_per_species, world, setting.model.image_size, TEST_START)
    return Exam(taxa, split, images)


def material(setting: Setting, seed: int) -> Material:
    """Photographs for training and test of one seed."""
    test = exam(setting, seed)
    seen = [test.taxa[i] for i in test.split.seen]
    counts = [setting.per_species] * len(seen)
    if setting.exponent is not None:
        counts = long_tail(len(seen), sum(counts), setting.exponent, seed).tolist()
    return Material(photos(seen, counts, replace(setting.world, seed=seed), setting.model.image_size), test)


def train_arm(
    arm: str, seed: int, setting: Setting | None = None, data: Material | None = None, quiet: bool = False
) -> Run:
    """Train one arm and score it."""
    setting = setting or Setting()
    data = data or material(setting, seed)
    labels = distinct(data.photos.labels)
    model, tokenizer = build(arm, setting.model, labels, (*data.exam.taxa, *labels), seed)
    trainer = Trainer(model, data.photos, replace(setting.train, text=text_of(arm), seed=seed), tokenizer)
    losses = trainer.run(desc=f"{setting.name} {arm} {seed}", quiet=quiet)
    return Run(model, tokenizer, score(model, tokenizer, data.exam, arm), losses, trainer.seconds)


def score(model: Any, tokenizer: Any, exam: Exam, arm: str = "mixed") -> dict[str, float]:
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
    images = image_table(model, exam)
    out: dict[str, float] = {}
    if tokenizer is None:
        out |= _head_scores(model, exam)
    else:
        texts, scale = text_table(model, tokenizer, exam.taxa), float(model.logit_scale.detach().exp())
        for kind in TEXT_TYPES:
            for part, of in (*exam.split.parts(), ("unseen", exam.unseen())):
                rank = Rank.GENUS if part == "u2" else Rank.SPECIES
                right = zero_shot(images, texts[kind], scale, exam.taxa, of, rank)
                out[f"zero.{kind}.{part}"] = float(right.double().mean())
        own = texts[arm if arm in TEXT_TYPES else "taxon_com"]
        for part, members in (("seen", list(exam.split.seen)), ("unseen", exam.unseen())):
            for rank, right in open_ranks(images, own, scale, exam.taxa, members).items():
                out[f"open.{part}.{rank.get_label()}"] = float(right.double().mean())
            truth = torch.tensor(members).repeat_interleave(images.shape[1])
            p = probabilities(images[members].flatten(0, 1), own, scale)
            out[f"severity.{part}"] = severity(truth, p.argmax(-1), exam.taxa)
            for rank, gap in calibration(p, truth, exam.taxa).items():
                out[f"ece.{part}.{rank.get_label()}"] = gap
    return out | image_scores(images, exam)


def image_scores(features: Tensor, exam: Exam) -> dict[str, float]:
    """The measures of `score` that ask for no text, of any features [S, n, D]: also of `pixels` and untrained models."""
    out = {}
    unseen, seen = exam.unseen(), list(exam.split.seen)
    for shots in (1, 5):
        draws = support_draws(len(unseen), features.shape[1], shots)
        for transform in ("CL2N", "L2N"):
            out[f"few.{shots}.{transform}"] = float(few_shot(features[unseen], draws, transform).double().mean())
    out["tree.seen"] = tree_correlation(features[seen], [exam.taxa[i] for i in seen])
    out["tree.unseen"] = tree_correlation(features[unseen], [exam.taxa[i] for i in unseen])
    return out | shape_by_rank(features[unseen], [exam.taxa[i] for i in unseen])


@torch.inference_mode()
def _head_scores(model: Classifier, exam: Exam) -> dict[str, float]:
    seen = list(exam.split.seen)
    images = exam.images[seen].flatten(0, 1).to(model.targets.device)
    features = torch.cat([image_features(model.visual, part) for part in images.split(256)])
    out = {}
    for rank, groups in model.groups.items():
        best = model.heads[rank.get_label()](features).argmax(-1).view(len(seen), -1).cpu()
        number = {path: i for i, path in enumerate(groups)}
        truth = torch.tensor([number.get(exam.taxa[i].path[: rank + 1], -1) for i in seen])
        out[f"head.{rank.get_label()}"] = float((best == truth[:, None]).double().mean())
    return out


class Results:
    """Rows of experiments in one JSON file; a row is written whole as soon as its run ends, and is not run again.

    rows  {"<setting>/<arm>/<seed>": {"scores": {...}, "loss", "seconds"}}
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path else None
        self.settings: dict[str, Any] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.source = SOURCE
        if self.path and self.path.exists():
            value = parse_json(read_file(self.path, 1 << 28), self.path)
            for key, kind in (("source", str), ("settings", dict), ("rows", dict)):
                if not isinstance(value.get(key), kind):
                    raise FormatError(self.path, key, "results of this program", show(value.get(key)))
            self.source, self.settings, self.rows = value["source"], value["settings"], value["rows"]

    def values(self, setting: str, arm: str, measure: str) -> dict[int, float]:
        """The measure of each seed."""
        out = {}
        for key, row in self.rows.items():
            name, its_arm, seed = key.split("/")
            if (name, its_arm) == (setting, arm):
                if measure not in row["scores"]:
                    raise ValueError(f"results: {key} has no measure {measure!r}; it has {', '.join(row['scores'])}")
                out[int(seed)] = row["scores"][measure]
        if not out:
            raise ValueError(f"results: there are no rows of setting {setting!r} and arm {arm!r}")
        return dict(sorted(out.items()))

    def interval(self, setting: str, arm: str, measure: str) -> Interval:
        return interval(self.values(setting, arm, measure).values())

    def paired(self, setting: str, arm: str, other: str, measure: str) -> Interval:
        """arm minus other, on the seeds that both have."""
        a, b = self.values(setting, arm, measure), self.values(setting, other, measure)
        return paired({s: a[s] for s in a if s in b}, {s: b[s] for s in b if s in a})

    def text_matrix(self, setting: str, part: str) -> dict[str, dict[str, float]]:
        """Zero-shot accuracy by training arm and test text type, mean over the seeds; part: seen, u1 or u2."""
        present = {tuple(key.split("/")[:2]) for key in self.rows}
        arms = [arm for arm in ARMS if arm not in RANK_WEIGHTS and (setting, arm) in present]
        return {
            arm: {
                kind: float(np.mean(list(self.values(setting, arm, f"zero.{kind}.{part}").values())))
                for kind in TEXT_TYPES
            }
            for arm in arms
        }

    def add(self, setting: Setting, arm: str, seed: int, run: Run) -> None:
        scores = {name: round(value, 5) for name, value in run.scores.items()}
        loss = round(float(np.mean(run.losses[-50:])), 5)
        self.rows[f"{setting.name}/{arm}/{seed}"] = dict(scores=scores, loss=loss, seconds=round(run.seconds, 1))
        if self.path:
            value = dict(source=self.source, settings=self.settings, rows=dict(sorted(self.rows.items())))
            write_file(self.path, (json.dumps(value, indent=1) + "\n").encode())


def experiments(
    settings: Sequence[Setting],
    arms: Sequence[str],
    seeds: Sequence[int],
    path: str | Path | None = None,
    workers: int = 2,
) -> Results:
    """Train every arm under every setting with every seed, and keep the scores in a JSON file, if a path is given.

    What the file holds already is not run again, so an interrupted series goes on. Runs go side by side on `workers`
    threads, each with one thread of torch's, and come out the same as one after the other.
    """
    results = Results(path)
    for setting in settings:
        wanted = json.loads(json.dumps(asdict(setting)))
        if results.settings.setdefault(setting.name, wanted) != wanted or results.source != SOURCE:
            raise ValueError(f"{path} has results of other settings or other pictures; use another file")
    jobs = [
        (setting, arm, seed)
        for setting in settings
        for seed in seeds
        for arm in arms
        if f"{setting.name}/{arm}/{seed}" not in results.rows
    ]
    at_hand = lru_cache(maxsize=workers)(material)  # jobs of one setting and seed follow each other
    painting, writing = threading.Lock(), threading.Lock()

    def work(setting: Setting, arm: str, seed: int) -> None:
        torch.set_num_threads(1)  # of this Python thread
        with painting:
            data = at_hand(setting, seed)
        # the reference: at this batch as quick as Numba's loops, of which not all builds may run in several threads at once
        quick = replace(setting, train=replace(setting.train, backend="reference"))
        run = train_arm(arm, seed, quick, data, quiet=True)
        with writing:  # here, so that a run that ends after Ctrl-C is kept too
            results.add(setting, arm, seed, run)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool, progress(total=len(jobs), desc="experiments") as bar:
            try:
                for future in as_completed([pool.submit(work, *job) for job in jobs]):
                    future.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bestpapers.bioclip.evaluate", description="Train arms under settings."
    )
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["base"])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["mixed"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, help="instead of the setting's")
    parser.add_argument("--out", required=True, help="JSON file of the results; what it holds already is not run again")
    options = parser.parse_args(arguments)
    settings = [SETTINGS[name] for name in options.settings]
    if options.steps:
        settings = [replace(s, train=replace(s.train, steps=options.steps)) for s in settings]
    experiments(settings, options.arms, options.seeds, options.out)


if __name__ == "__main__":
    main()
