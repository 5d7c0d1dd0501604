"""Experiments: settings, arms, series of runs, and the recorded runs behind `3_reproduce`.

    python -m bestpapers.feedback experiments --record                    all recorded runs
    python -m bestpapers.feedback experiments --record scores             of this setting

Rows of what is trained or drawn anew are `setting/arm/seed`, of seeds 1 to 5; 0 is not among them, since sizes and rates
were chosen on it. Rows of `guidance`, `inpaint` and `hacking` are `setting/arm/prompt`, the number of a held-out prompt; these
are drawn in parts of `PART`, so that a few prompts can be done again without the others. `GRID` and
`SEEDS` were fixed before the first run. The `seconds` of a row are no benchmark. Scores of models have the names of
`metrics.tables`, scores of pictures, which come from the judge, those of `evaluate.quality`.

    scores      RAHF and rivals on held-out faults of the world, labels of a panel of three. words.*: as the decoder writes;
                head.*: by the head for single words. multi-head-compute: as many steps more as make the compute that of
                augmented, by counting operations. scores-only: multi-head, which learns from the four scores alone. probe:
                `lab.ridge.probe` on towers that learned from true pictures without labels; <score>.plcc.<n>: with n labels,
                without n: with the most. few: multi-head, from as many labels. blob: `evaluate.constant`, with the words that
                are marked most often. panel: other people of the same kind, against the panel
    generators  what the shipped generators draw; a seed is one of drawing. tokenizer: true pictures through it; true: as is
    transfer    RAHF on pictures of generator `test`, learned from pictures of generator `learn` (other) or of `test` (own)
    filter      fine-tuning of the shipped generator on own pictures; all arms draw the same prompts with the same seeds.
                rahf: what the shipped RAHF says of what is drawn; kept: share of prompts of which a picture was chosen. rich:
                from all own pictures, but for what the map marks; left_out: share of places that are not learned from. moved:
                `improve.moved` from the generator as it was; first, last: mean reward in the first and the last quarter of the
                steps. oracle: for the prompts of filtered the best by the judge. longer: with more and larger steps.
                preference-local: with the map as well. Without training: sharp, always the likeliest code; best-of, of as many
                pictures the best by RAHF
    guidance    <way>.<weight>: plausibility by RAHF leads drawing; diversity of two pictures of the prompt, the rest of the
                first. `about` holds the weight that was best for the judge on dev prompts
    inpaint     <mask>.<pick>: pick is one (the first of four tries), rahf, or chance; rahf.keep: with the old picture in the
                race; before: the old picture. tokens: share of the picture that is painted. The masks, in whole tokens: rahf,
                oracle (the judge's), elsewhere (RAHF's, moved), elsewhere-foreground (RAHF's, moved to other things), whole
                (of pictures in which RAHF marks something)
    hacking     <way>-<who>.<strength>: pushed ever harder. led: drawing is led, by a weight; pixels: `improve.press` on what is
                drawn, after so many steps. who is pleased: one of two RAHFs that learned from the same pictures with other
                people's answers, the other, two: the mean of both; tether: one, with a penalty on going far. none: nobody.
                Scores of both, rahf: of the shipped one, which leads nobody here. `about` holds means over dev prompts, to
                stop early by
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..lab import machine, runs
from ..lab.cli import positive_int
from ..lab.files import cache_dir
from ..lab.ridge import probe
from . import evaluate, improve, weights
from .data import FALSE, SOURCE, SPLITS, pairs, records, true_pair
from .generator import Generator, token_mask
from .judge import read
from .model import RAHF, VARIANTS, Config, ImageOnly, TwoTowers, Weights
from .panel import Panel, agreement, annotate, ask
from .record import SCORES, Feedback, Record
from .train import Labelled, RahfTraining, Recipe, TowersTraining, TrainConfig, TransformerTraining
from .worlds import WORDS, counterfactual, feedback, parse

FOLDER = Path(__file__).parent / "results"
PROGRAM = "python -m bestpapers.feedback experiments"
SEEDS: tuple[int, ...] = (1, 2, 3, 4, 5)
PART = 20  # prompts that are drawn together
CURVE = 250  # steps that one loss of a row stands for
DEV = 100  # between the seeds of drawing of test and dev prompts

Pictures = NDArray[np.uint8]
Row = dict[str, Any]

# ------------------------------------------------------------------------------------------------- labelled pictures


@dataclass(frozen=True)
class Shown:
    """Pictures to be tested on, with what a panel and a second one say of them, and what is true."""

    pictures: Pictures
    prompts: tuple[str, ...]
    labels: tuple[Feedback, ...]
    second: tuple[Feedback, ...]

    @classmethod
    def of(cls, truths: Iterable[Record], panel: Panel, seed: int) -> Shown:
        known = list(truths)
        first, second = (asked(known, panel, seed, part) for part in (1, 2))
        pictures = np.stack([record.picture for record in known])  # type: ignore[misc]
        return cls(
            pictures, tuple(r.prompt for r in known), *(tuple(r.feedback for r in side) for side in (first, second))
        )


def asked(truths: Iterable[Record], panel: Panel, seed: int, part: int = 0) -> list[Record]:
    """Records with what a panel says in the place of the truth. Each part of a seed has other errors."""
    return [
        replace(record, feedback=ask(record.feedback, panel, np.random.default_rng([seed, part, n])))
        for n, record in enumerate(truths)
    ]


def drawn(name: str, prompts: Sequence[str], seed: int, steps: int, folder: Path | None = None) -> Pictures:
    """Pictures of a shipped generator, by its quality, or of the flow."""
    generator = weights.load_generator("best" if name == "flow" else name, folder)
    if name != "flow":
        return generator.draw(prompts, seed, steps=steps)
    flow, parts = weights.load_flow(folder), range(0, len(prompts), 64)
    shots = [improve.flow_pictures(flow, generator, prompts[n : n + 64], seed * 1000 + n, 2 * steps) for n in parts]
    return np.concatenate(shots)


@cache
def _known_prompts() -> frozenset[str]:
    """Prompts that the shipped generators learned from."""
    recipe = Recipe()
    return frozenset(true_pair("train", n, seed=recipe.seed)[0].prompt for n in range(recipe.pairs))


def prompts_of(split: str, number: int, seed: int) -> list[str]:
    """Prompts of true pictures of a split; but for "train", of those that no shipped generator has learned from. A split holds
    layouts, and what is asked of two layouts can be the same."""
    numbers, found = count(), list[str]()
    while len(found) < number:
        prompt = true_pair(split, next(numbers), seed=seed)[0].prompt
        if split == "train" or prompt not in _known_prompts():
            found.append(prompt)
    return found


def samples(name: str, split: str, number: int, seed: int, steps: int, folder: Path | None = None) -> Iterator[Record]:
    """Pictures that a generator draws for prompts of the world, half of them then shown with a caption that is close to theirs
    and false; what the judge says is their truth."""
    prompts, part = prompts_of(split, number, seed), list(SPLITS).index(split)
    for n, (prompt, picture) in enumerate(zip(prompts, drawn(name, prompts, seed + 1000 * part, steps, folder))):
        layout, implausible = read(picture)
        rng, caption = np.random.default_rng([seed, 3 + part, n]), parse(prompt)
        if rng.random() < FALSE:
            caption = counterfactual(caption, layout, rng)
        said = feedback(picture, caption, layout, implausible)
        yield Record(f"{name}-{split}-{seed}-{n:06d}", caption.prompt, said, picture)


# ------------------------------------------------------------------------------------------------- models of feedback


@dataclass(frozen=True)
class Learning:
    """How models of feedback learn, here and below."""

    model: Config = Config(vocabulary=WORDS, longest=12)
    train: TrainConfig = TrainConfig(steps=4000, batch=8)
    panel: Panel = Panel()


@dataclass(frozen=True)
class Scores(Learning):
    """Setting `scores`."""

    pictures: int = 6000  # to learn from
    held_out: int = 1000
    labels: tuple[int, ...] = (50, 100, 300)  # that a probe may see
    pairs: int = 3000  # true pictures, from which its towers learn
    towers: TrainConfig = TrainConfig(steps=500, batch=64)


@dataclass(frozen=True)
class Transfer(Learning):
    """Setting `transfer`."""

    train: TrainConfig = TrainConfig(steps=3000, batch=8)
    learn: str = "flow"
    test: str = "best"
    pictures: int = 1200  # to learn from
    held_out: int = 300
    steps: int = 8  # of drawing
    weights: str = ""  # their hash, as `record` finds it; so below


@lru_cache(maxsize=1)  # all arms of a seed share it
def material(setting: Scores, seed: int) -> tuple[list[Record], Shown]:
    """Faults of the world: labelled ones to learn from, and others to be tested on."""
    known = asked(records("train", setting.pictures, size=setting.model.size, seed=seed), setting.panel, seed)
    return known, Shown.of(records("test", setting.held_out, size=setting.model.size, seed=seed), setting.panel, seed)


@lru_cache(maxsize=1)
def transferred(setting: Transfer, seed: int) -> Shown:
    return Shown.of(samples(setting.test, "test", setting.held_out, seed, setting.steps), setting.panel, seed)


@lru_cache(maxsize=1)
def _known(setting: Transfer, name: str, seed: int) -> list[Record]:
    return asked(samples(name, "train", setting.pictures, seed, setting.steps), setting.panel, seed)


def products(model: Any) -> int:
    """Multiplications and additions of one pass for one picture, with all outputs."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    tokens = torch.full((1, model.config.longest), 3)
    target = model.vocabulary.target(tokens, tokens > 3)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(torch.zeros(1, 3, model.config.size, model.config.size), tokens, target)
    return int(counter.get_total_flops())


def equal_compute(config: Config, steps: int) -> int:
    """Steps of the multi-head variant that cost what `steps` of the augmented one do."""
    multi, augmented = (products(RAHF(replace(config, variant=variant))) for variant in VARIANTS)
    return round(steps * augmented / multi)


def learned(
    arm: str, known: Sequence[Record], setting: Learning, seed: int, train: TrainConfig | None = None,
    checkpoint: Path | None = None,
) -> tuple[nn.Module, Row]:  # fmt: skip
    """An arm that learns from labelled pictures, and what there is to say of the run."""
    config, train = setting.model, replace(train or setting.train, seed=seed)
    kinds: dict[str, Callable[[Config], nn.Module]] = dict(image=ImageOnly, towers=TwoTowers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if arm == "multi-head-compute":
            train = replace(train, steps=equal_compute(config, train.steps))
        elif arm == "scores-only":
            train = replace(train, weights=Weights(maps=0, words=0, written=0))
        elif arm == "augmented":
            config = replace(config, variant="augmented")
        torch.manual_seed(seed)
        model = kinds.get(arm, RAHF)(config)
    run = RahfTraining(model, Labelled.of(known), train, checkpoint)
    if run.iteration < run.steps:
        run.run(desc=f"{arm} {seed}", quiet=True)
    losses = [round(float(np.mean(part)), 5) for part in np.array_split(run.losses, max(1, run.steps // CURVE))]
    said = dict(losses=losses, steps=train.steps, seconds=round(run.seconds, 1), data=run.digest())
    return run.averaged, said | dict(products=products(model), weights=sum(p.numel() for p in model.parameters()))


def tested(model: nn.Module, shown: Shown) -> dict[str, float]:
    """`evaluate.cells` of a model; head.*: words by the head for single words, beside those that the decoder writes."""
    found = evaluate.cells(evaluate.predict(model, shown.pictures, shown.prompts), shown.labels)
    if isinstance(model, RAHF):
        by_head = evaluate.cells(evaluate.predict(model, shown.pictures, shown.prompts, write=False), shown.labels)
        found |= {f"head.{key[6:]}": value for key, value in by_head.items() if key.startswith("words.")}
    return found


def knows_nothing(known: Sequence[Record], shown: Shown) -> dict[str, float]:
    """Scores of what needs no picture."""
    labels = [record.feedback for record in known]
    means = {name: float(np.mean([label.scores[name] for label in labels])) for name in SCORES}
    marked = evaluate.often_marked([record.prompt for record in known], labels)
    said = evaluate.constant(means, shown.prompts, shown.pictures.shape[1], marked)
    return evaluate.cells(said, shown.labels)


def probed(setting: Scores, seed: int) -> dict[str, float]:
    """Scores of the probe, for each number of labels."""
    known, shown = material(setting, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = TwoTowers(setting.model)
    true = pairs("train", setting.pairs, size=setting.model.size, seed=seed)
    run = TowersTraining(towers, *true, replace(setting.towers, seed=seed))
    run.run(desc=f"probe {seed}", quiet=True)
    most, found = known[: max(setting.labels)], dict[str, float]()
    pictures = np.stack([record.picture for record in most])  # type: ignore[misc]
    seen = evaluate.features(run.averaged, pictures, [record.prompt for record in most])
    new = evaluate.features(run.averaged, shown.pictures, shown.prompts)
    for n in sorted(setting.labels):
        columns = [probe(seen[:n], [record.feedback.scores[name] for record in most[:n]], new) for name in SCORES]
        said = [Feedback(dict(zip(SCORES, map(float, row))), {}, np.zeros(0, np.float32)) for row in zip(*columns)]
        at_n = evaluate.cells(said, shown.labels)
        found |= at_n | {f"{key}.{n}": value for key, value in at_n.items()}
    return found


def score_row(arm: str, seed: int, setting: Scores, checkpoint: Path | None = None) -> Row:
    known, shown = material(setting, seed)
    if arm == "blob":
        return dict(scores=knows_nothing(known, shown))
    if arm == "panel":
        return dict(scores=evaluate.cells(shown.second, shown.labels))
    if arm == "probe":
        return dict(scores=probed(setting, seed))
    if arm == "few":
        known = known[: max(setting.labels)]
    model, about = learned(arm, known, setting, seed, checkpoint=checkpoint)
    return dict(scores=tested(model, shown), **about)


def transfer_row(arm: str, seed: int, setting: Transfer, checkpoint: Path | None = None) -> Row:
    shown = transferred(setting, seed)
    known = _known(setting, setting.learn if arm == "other" else setting.test, seed)
    if arm == "blob":
        return dict(scores=knows_nothing(known, shown))
    model, about = learned("multi-head", known, setting, seed, checkpoint=checkpoint)
    return dict(scores=tested(model, shown), **about)


# ----------------------------------------------------------------------------------------------- better pictures


@dataclass(frozen=True)
class Drawn:
    """Setting `generators`."""

    prompts: int = 80
    draws: int = 2  # pictures of a prompt
    steps: int = 12  # of drawing
    weights: str = ""


@dataclass(frozen=True)
class Filter(Drawn):
    """Setting `filter`. Preference learning draws as many pictures as there are to choose from."""

    steps: int = 8
    own: int = 150  # prompts to learn from
    tries: int = 8  # pictures of each
    least: float = 0.6  # score of one that is chosen
    threshold: float = 0.15  # of a map, where a place is masked and not learned
    rank: int = 8  # of what is learned
    train: TrainConfig = TrainConfig(steps=40, batch=32, lr=2e-4, warmup=10, average=0.98)
    longer: TrainConfig = TrainConfig(steps=100, batch=32, lr=5e-4, warmup=10, average=0.98)
    preference: improve.PreferenceConfig = improve.PreferenceConfig(batch=4, lr=5e-4, warmup=4, average=0.9, learned=2)
    local: float = 1.0  # weight of maps in preference-local
    sharp: float = 0.0  # what the noise of drawing is multiplied by in sharp


@dataclass(frozen=True)
class Guidance(Drawn):
    """Setting `guidance`."""

    prompts: int = 160
    dev: int = 80  # prompts that choose a weight
    ways: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("flow", (0.0, 0.25, 1.0, 4.0, 16.0)), ("masked", (0.0, 1.0, 4.0, 16.0, 64.0))
    )  # fmt: skip
    seed: int = 1


@dataclass(frozen=True)
class Inpaint(Drawn):
    """Setting `inpaint`."""

    prompts: int = 200
    tries: int = 4
    threshold: float = 0.15
    dilate: int = 1  # pixels
    steps: int = 8
    seed: int = 1


@dataclass(frozen=True)
class Hacking(Drawn, Learning):
    """Setting `hacking`."""

    prompts: int = 100
    steps: int = 8
    dev: int = 60  # prompts that say when to stop
    train: TrainConfig = TrainConfig(steps=3000, batch=8)  # of the two RAHFs
    pictures: int = 3000  # to learn from
    size: float = 4 / 255  # of a step on pixels
    tether: float = 300.0
    ways: tuple[tuple[str, tuple[str, ...], tuple[float, ...]], ...] = (
        ("led", ("one", "other", "two"), (1.0, 4.0, 16.0, 64.0)), ("pixels", ("one", "other", "two", "tether"), (4, 16, 48, 96))
    )  # fmt: skip
    seed: int = 1

    @property
    def arms(self) -> tuple[str, ...]:
        return ("none", *(f"{way}-{who}.{x:g}" for way, some, tried in self.ways for who in some for x in tried))


def drawn_row(arm: str, seed: int, setting: Drawn) -> Row:
    if arm in ("true", "tokenizer"):
        best = weights.load_generator()
        shown, asked_for = pairs("test", setting.prompts, size=best.config.size, seed=seed)
        if arm == "true":
            return dict(scores=evaluate.quality(shown[:, None], asked_for)[0])
        kept = best.pictures(best.numbers(shown))
        return dict(scores=evaluate.quality(kept[:, None], asked_for)[0] | dict(psnr=evaluate.paint_error(kept, shown)))
    asked_for = prompts_of("test", setting.prompts, seed)
    shots = [drawn(arm, asked_for, seed * 1000 + k, setting.steps) for k in range(setting.draws)]
    return dict(scores=evaluate.quality(np.stack(shots, 1), asked_for)[0])


@lru_cache(maxsize=1)
def _own(setting: Filter, seed: int) -> tuple[improve.Own, Any, Any, Any]:
    """A generator's own pictures with RAHF's score and the judge's, and what all arms are held against."""
    generator, rahf = weights.load_generator(), weights.load()
    prompts = prompts_of("train", setting.own, seed)
    own = improve.own_pictures(generator, prompts, setting.tries, seed, steps=setting.steps)
    base = evaluate.quality(_held_out(generator, setting, seed), prompts_of("test", setting.prompts, seed))[1]
    return own, own.rated(rahf.predict), own.rated(improve.by_judge), base


def _held_out(generator: Generator, setting: Drawn, seed: int, noise: float = 1.0) -> Pictures:
    """What is drawn for held-out prompts: (P, draws, H, W, 3)."""
    prompts = prompts_of("test", setting.prompts, seed)
    shots = [generator.draw(prompts, seed * 1000 + k, steps=setting.steps, noise=noise) for k in range(setting.draws)]
    return np.stack(shots, 1)


def tuned(arm: str, seed: int, setting: Filter) -> tuple[Generator, dict[str, float]]:
    """The shipped generator after an arm's fine-tuning, and what there is to say of that."""
    generator, rahf = weights.load_generator(), weights.load()
    said = dict[str, float](kept=0.0)
    if arm == "none":
        return generator, said
    if arm.startswith("preference"):
        group = setting.preference.group
        steps = max(1, setting.own * setting.tries // (setting.preference.batch * group))
        local = setting.local if arm == "preference-local" else 0.0
        config = replace(setting.preference, steps=steps, seed=seed, calls=setting.steps, local=local)
        improve.adapt(generator.transformer, setting.rank, seed)
        run: Any = improve.PreferenceTraining(generator, prompts_of("train", setting.own, seed), rahf.predict, config)
    else:
        own, rated, true, _ = _own(setting, seed)
        oracle = arm in ("oracle", "rich-oracle")
        which = improve.choose(own, rated, setting.least)
        if not len(which):
            return generator, said
        said["kept"] = len(which) / len(own.prompts)
        if oracle:
            which = improve.choose(own, true, 0.0)[which // own.tries]
        if arm.startswith("random"):
            which = improve.at_random(own, which, seed)
        rater: Any = (improve.by_judge if oracle else rahf.predict) if arm.startswith("rich") else None
        if rater is not None:
            which = np.arange(len(own.pictures))
        some = improve.chosen(own, which, generator, rater, setting.threshold)
        never = some.never
        if arm == "rich-shuffled" and never is not None:
            never = improve.shuffled(never, seed)
        said["left_out"] = 0.0 if never is None else float(never.float().mean())
        improve.adapt(generator.transformer, setting.rank, seed)
        words = generator.transformer.vocabulary(some.prompts)
        train = replace(setting.longer if arm.endswith("longer") else setting.train, seed=seed)
        run = TransformerTraining(generator.transformer, some.numbers, words, train, never)
    run.run(desc=f"{arm} {seed}", quiet=True)
    if isinstance(run, improve.PreferenceTraining):
        part = max(1, len(run.rewards) // 4)
        said = dict(first=float(np.mean(run.rewards[:part])), last=float(np.mean(run.rewards[-part:])))
    generator.transformer = improve.settle(run.averaged)
    return generator.eval(), said | dict(moved=_moved(generator, setting, seed))


def _moved(generator: Generator, setting: Drawn, seed: int) -> float:
    """How far a generator has gone from the shipped one, on held-out true pictures."""
    pictures, prompts = pairs("test", setting.prompts, size=generator.config.size, seed=seed)
    numbers, words = generator.numbers(pictures), generator.transformer.vocabulary(prompts)
    return improve.moved(generator.eval().transformer, weights.load_generator().transformer, numbers, words)


def filter_row(arm: str, seed: int, setting: Filter) -> Row:
    prompts, base, rahf = prompts_of("test", setting.prompts, seed), _own(setting, seed)[3], weights.load()
    said: dict[str, float] = {}
    if arm == "best-of":
        generator = weights.load_generator()
        shots = np.stack(
            [generator.draw(prompts, seed * 1000 + k, steps=setting.steps) for k in range(setting.tries)], 1
        )
        rated = np.stack([improve.scores(rahf.predict(shots[:, k], prompts)) for k in range(setting.tries)], 1)
        shots = shots[np.arange(len(prompts)), rated.argmax(1)][:, None]
    elif arm == "sharp":
        shots = _held_out(weights.load_generator(), setting, seed, setting.sharp)
    else:
        generator, said = tuned(arm, seed, setting)
        shots = _held_out(generator, setting, seed)
    found, _ = evaluate.quality(shots, prompts, base)
    by_rahf = float(improve.scores(rahf.predict(shots[:, 0], prompts)).mean())
    return dict(scores=found | dict(rahf=by_rahf) | said)


def _each(pictures: Pictures, prompts: Sequence[str], rahf: RAHF, **more: Any) -> dict[int, Row]:
    """A row for each prompt: the judge's scores, and RAHF's of plausibility. more: columns of numbers."""
    columns: dict[str, Any] = evaluate.judged(pictures, prompts)
    columns |= dict(rahf=improve.scores(rahf.predict(pictures, prompts)), **more)
    return {n: dict(scores={name: float(x[n]) for name, x in columns.items()}) for n in range(len(prompts))}


def _parts(prompts: Sequence[str], seed: int) -> Iterator[tuple[slice, Sequence[str], int]]:
    """Parts of the prompts: where they are, which, and a seed for each."""
    for n in range(0, len(prompts), PART):
        yield slice(n, n + PART), prompts[n : n + PART], seed * 1000 + n


def _led(way: str, weight: float, prompts: Sequence[str], seed: int, steps: int, rahf: Any = None) -> Pictures:
    """What is drawn for prompts, led by a RAHF (the shipped one) by a weight."""
    generator, rahf = weights.load_generator(), rahf or weights.load()
    shots = []
    for _, some, number in _parts(prompts, seed):
        if way == "flow":
            how: dict[str, Any] = dict(calls=2 * steps, rahf=rahf, weight=weight)
            shots.append(improve.flow_pictures(weights.load_flow(), generator, some, number, **how))
        else:
            shots.append(improve.draw_guided(generator, rahf, some, weight, number, steps=steps))
    return np.concatenate(shots)


def guidance_rows(arm: str, setting: Guidance) -> dict[int, Row]:
    way, weight = arm.split(".", 1)
    prompts = prompts_of("test", setting.prompts, setting.seed)
    shots = [_led(way, float(weight), prompts, setting.seed + k, setting.steps) for k in range(2)]
    apart = [evaluate.diversity(np.stack(two)[None]) for two in zip(*shots)]
    return _each(shots[0], prompts, weights.load(), diversity=apart)


def chosen_weights(setting: Guidance) -> Row:
    """The judge's mean plausibility on dev prompts by way and weight, and the weight above 0 that is best."""
    prompts, found = prompts_of("dev", setting.dev, setting.seed), dict[str, Any]()
    for way, tried in setting.ways:
        means = {}
        for weight in tried:
            drawn_so = _led(way, weight, prompts, setting.seed + DEV, setting.steps)
            means[f"{weight:g}"] = round(float(evaluate.judged(drawn_so, prompts)["plausibility"].mean()), 4)
        best = max((name for name in means if float(name) > 0), key=lambda name: means[name])
        found[way] = dict(dev=means, chosen=f"{way}.{best}")
    return found


@lru_cache(maxsize=1)
def _old(setting: Inpaint) -> tuple[list[str], Pictures, NDArray[np.bool_]]:
    """Prompts, what is drawn for them, and what RAHF marks there, in whole tokens (P, H, W)."""
    prompts, generator = prompts_of("test", setting.prompts, setting.seed), weights.load_generator()
    drawn_so = [generator.draw(some, n, steps=setting.steps) for _, some, n in _parts(prompts, setting.seed)]
    pictures = np.concatenate(drawn_so)
    marked = improve.masks_of(weights.load().predict(pictures, prompts), setting.threshold)
    return prompts, pictures, _whole_tokens(marked, setting)


def _whole_tokens(masks: NDArray[np.bool_], setting: Inpaint) -> NDArray[np.bool_]:
    """Masks (P, H, W), made wider and filled up to whole tokens."""
    config = weights.load_generator().config
    touched = token_mask(torch.from_numpy(masks), config.grid, setting.dilate).view(-1, config.grid, config.grid)
    found: NDArray[np.bool_] = touched.numpy().repeat(config.down, 1).repeat(config.down, 2)
    return found


def mask_of(name: str, setting: Inpaint) -> NDArray[np.bool_]:
    """What an arm paints anew, in whole tokens: (P, H, W)."""
    prompts, pictures, marked = _old(setting)
    if name == "rahf":
        return marked
    if name == "oracle":
        return _whole_tokens(improve.masks_of(improve.by_judge(pictures, prompts), 0.5), setting)
    if name == "whole":
        return np.broadcast_to(marked.any((1, 2), keepdims=True), marked.shape).copy()
    side = weights.load_generator().config.down
    if name == "elsewhere":
        return improve.elsewhere(marked, setting.seed, side)
    return improve.elsewhere_foreground(marked, improve.things_in(pictures), setting.seed, side)


@lru_cache(maxsize=1)
def _painted(name: str, setting: Inpaint) -> tuple[Pictures, NDArray[np.float64]]:
    """All tries (T, P, H, W, 3), and the share of each picture that is painted (P,)."""
    prompts, pictures, _ = _old(setting)
    generator, masks = weights.load_generator(), mask_of(name, setting)
    shots = []
    for k in range(setting.tries):
        parts = _parts(prompts, setting.seed * 100 + k)
        painted = [generator.repaint(pictures[at], some, masks[at], n, steps=setting.steps)[0] for at, some, n in parts]
        shots.append(np.concatenate(painted))
    return np.stack(shots), masks.mean((1, 2))


def inpaint_rows(arm: str, setting: Inpaint) -> dict[int, Row]:
    prompts, old, _ = _old(setting)
    rahf = weights.load()
    if arm == "before":
        return _each(old, prompts, rahf, tokens=np.zeros(len(prompts)))
    name, pick = arm.split(".")
    shots, tokens = _painted(name, setting)
    if pick == "keep":
        shots = np.concatenate([old[None], shots])
    which = np.zeros(len(prompts), int)
    if pick in ("rahf", "keep"):
        which = np.stack([improve.scores(rahf.predict(some, prompts)) for some in shots]).argmax(0)
    elif pick == "chance":
        which = np.random.default_rng(setting.seed).integers(setting.tries, size=len(prompts))
    return _each(shots[which, np.arange(len(prompts))], prompts, rahf, tokens=tokens)


@cache
def _rivals(setting: Hacking) -> dict[str, Any]:
    """Who is to be pleased, by name: two RAHFs, and both together."""
    truths = list(records("train", setting.pictures, size=setting.model.size, seed=setting.seed))
    pair: list[Any] = []
    for seed in (setting.seed, setting.seed + 1):  # of people's errors, first weights and batches
        model, _ = learned("multi-head", asked(truths, setting.panel, seed), setting, seed)
        pair.append(model.eval())
    one, other = pair
    return dict(one=one, other=other, two=improve.Several(one, other), tether=one)


@lru_cache(maxsize=4)
def _unpushed(prompts: tuple[str, ...], seed: int, setting: Hacking) -> Pictures:
    """What is drawn for prompts, pushed by nobody."""
    return _led("masked", 0.0, prompts, seed, setting.steps)


@lru_cache(maxsize=4)
def _pressed(who: str, prompts: tuple[str, ...], seed: int, setting: Hacking) -> dict[int, Pictures]:
    """What is drawn for prompts, with pixels moved to please somebody: after each number of steps."""
    steps = next(tried for way, _, tried in setting.ways if way == "pixels")
    tether = setting.tether if who == "tether" else 0.0
    return improve.press(
        _rivals(setting)[who], _unpushed(prompts, seed, setting), prompts, [int(n) for n in steps], setting.size, tether
    )


def pushed(arm: str, prompts: Sequence[str], seed: int, setting: Hacking) -> Pictures:
    """What an arm of `hacking` draws; all arms from the same random numbers."""
    if arm == "none":
        return _unpushed(tuple(prompts), seed, setting)
    way, who, strength = re.split(r"[-.]", arm, maxsplit=2)
    if way == "led":
        return _led("masked", float(strength), prompts, seed, setting.steps, _rivals(setting)[who])
    return _pressed(who, tuple(prompts), seed, setting)[int(strength)]


def _said(pictures: Pictures, prompts: Sequence[str], setting: Hacking) -> dict[str, NDArray[np.float64]]:
    return {who: improve.scores(_rivals(setting)[who].predict(pictures, prompts)) for who in ("one", "other")}


def hacking_rows(arm: str, setting: Hacking) -> dict[int, Row]:
    prompts = prompts_of("test", setting.prompts, setting.seed)
    shots = [pushed(arm, prompts, setting.seed + k, setting) for k in range(2)]
    apart = [evaluate.diversity(np.stack(two)[None]) for two in zip(*shots)]
    return _each(shots[0], prompts, weights.load(), diversity=apart, **_said(shots[0], prompts, setting))


def dev_means(setting: Hacking) -> dict[str, dict[str, float]]:
    """Of each arm: means over dev prompts of the judge's plausibility and of both RAHFs' scores."""
    prompts, found = prompts_of("dev", setting.dev, setting.seed), dict[str, dict[str, float]]()
    for arm in setting.arms:
        pictures = pushed(arm, prompts, setting.seed + DEV, setting)
        columns = dict(judge=evaluate.judged(pictures, prompts)["plausibility"], **_said(pictures, prompts, setting))
        found[arm] = {name: round(float(x.mean()), 4) for name, x in columns.items()}
    return found


# ---------------------------------------------------------------------------------------------------------- recording

Setting = Scores | Transfer | Drawn
ByPrompt = Guidance | Inpaint | Hacking  # settings whose rows are prompts
SETTINGS: dict[str, Setting] = dict(
    scores=Scores(), generators=Drawn(), transfer=Transfer(), filter=Filter(), guidance=Guidance(), inpaint=Inpaint(),
    hacking=Hacking(),
)  # fmt: skip
MODELS = (
    "multi-head", "augmented", "multi-head-compute", "scores-only", "image", "towers", "few", "probe", "blob", "panel",
)  # fmt: skip
TUNED = (
    "none", "filtered", "random", "oracle", "filtered-longer", "random-longer", "rich", "rich-shuffled", "rich-oracle",
    "preference", "preference-local", "sharp", "best-of",
)  # fmt: skip
MASKS = ("rahf", "oracle", "elsewhere", "elsewhere-foreground", "whole")
GRID: dict[str, tuple[str, ...]] = dict(
    scores=MODELS,
    generators=(*weights.QUALITIES, "flow", "tokenizer", "true"),
    transfer=("other", "own", "blob"),
    filter=TUNED,
    guidance=tuple(f"{way}.{weight:g}" for way, tried in Guidance.ways for weight in tried),
    inpaint=("before", "rahf.keep", *(f"{mask}.{pick}" for mask in MASKS for pick in ("one", "rahf", "chance"))),
    hacking=Hacking().arms,
)


def rows(arm: str, seed: int, setting: Setting, checkpoint: Path | None = None) -> dict[int, Row]:
    """The rows of an arm, by seed or prompt. checkpoint: of what learns from labelled pictures in `scores` and `transfer`."""
    if isinstance(setting, Guidance):
        return guidance_rows(arm, setting)
    if isinstance(setting, Inpaint):
        return inpaint_rows(arm, setting)
    if isinstance(setting, Hacking):
        return hacking_rows(arm, setting)
    if isinstance(setting, Scores):
        return {seed: score_row(arm, seed, setting, checkpoint)}
    if isinstance(setting, Transfer):
        return {seed: transfer_row(arm, seed, setting, checkpoint)}
    return {seed: (filter_row if isinstance(setting, Filter) else drawn_row)(arm, seed, setting)}  # type: ignore[arg-type]


def numbers(setting: Setting, seed: int) -> Sequence[int]:
    """By what the rows of a job are numbered: its seed, or all prompts."""
    return range(setting.prompts) if isinstance(setting, ByPrompt) else (seed,)


def record(name: str, folder: Path = FOLDER, workers: int | None = 1) -> None:
    """Run one setting of the grid with all its arms and seeds. What the file holds already is not run again. Runs go side by
    side in `workers` processes, or in torchrun's, see `lab.runs.side_by_side`. Models that learn from labelled pictures go on
    from checkpoints in the cache, and stay there."""
    setting, results = SETTINGS[name], runs.Results(folder / f"{name}.json", SOURCE)
    if not isinstance(setting, Scores):
        setting = replace(setting, weights=weights.digest())
    results.expect(name, asdict(setting), SOURCE)
    seeds = (setting.seed,) if isinstance(setting, ByPrompt) else SEEDS
    kept = cache_dir() / "feedback" / "runs"
    jobs = [
        (arm, seed, setting, kept / f"{name}_{arm}_{seed}.safetensors") for seed in seeds for arm in GRID[name]
        if any(f"{name}/{arm}/{n}" not in results.rows for n in numbers(setting, seed))
    ]  # fmt: skip
    if isinstance(setting, Hacking):
        workers = 1  # the RAHFs are made once, in this process, for all of its arms
    for job, found in runs.side_by_side(rows, jobs, workers=workers, desc=name):
        for n, row in found.items():
            row["scores"] = {what: round(value, 7) for what, value in row["scores"].items()}
            results.rows[f"{name}/{jobs[job][0]}/{n}"] = row
        results.save()
    about: Row = dict(command=f"{PROGRAM} --record {name}", made_with=machine.record("torch", "numpy"))
    if isinstance(setting, Guidance) and "weights" not in results.about:
        about["weights"] = chosen_weights(setting)
    if isinstance(setting, Hacking) and "dev" not in results.about:
        ((_, about["dev"]),) = runs.side_by_side(dev_means, [(setting,)], workers=1, desc="dev")
    if isinstance(setting, Scores):
        about["agreement"] = {str(seed): agreed(setting, seed) for seed in seeds}
    results.about = about | results.about
    results.save()


def agreed(setting: Scores, seed: int) -> dict[str, float]:
    """Shares of answers on which the people of the panel agree, and nearly agree, on the held-out pictures."""
    truths = records("test", setting.held_out, size=setting.model.size, seed=seed)
    found = agreement(
        annotate(truth.feedback, setting.panel, np.random.default_rng([seed, 1, n])) for n, truth in enumerate(truths)
    )
    return dict(perfect=round(found["all"].perfect, 4), good=round(found["all"].good, 4))


def load(names: Sequence[str] = tuple(GRID), folder: Path = FOLDER) -> runs.Results:
    """The recorded rows of these settings, together. Raises FormatError for a file that is missing or damaged."""
    return runs.gathered(runs.Results(source=SOURCE), folder, names, PROGRAM)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", nargs="*", choices=GRID, required=True, help="settings to run; none named: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the JSON files")
    parser.add_argument("--workers", type=positive_int, default=1, help="runs at a time")


def run(options: argparse.Namespace) -> int:
    """Run the recorded series; what is there already is not run again."""
    for name in options.record or GRID:
        record(name, options.folder, options.workers)
    return 0
