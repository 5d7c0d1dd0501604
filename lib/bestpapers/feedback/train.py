"""Train what the wing trains: the generator's two parts, and RAHF or a rival. The loop is `lab.training`'s.

What a step draws follows from the seed and the number of the step alone. So a resumed run goes on as if never interrupted, and
arms that are compared see the same pictures in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..lab.averaging import AveragingConfig, AveragingTraining, RowsTraining
from . import generator as drawing
from . import model as rahf
from .generator import Generator, MaskedTransformer, Tokenizer
from .model import as_batch
from .panel import Panel
from .record import MAPS, SCORES, Record, words
from .worlds import WORDS


@dataclass(frozen=True)
class TrainConfig(AveragingConfig):
    """Settings of one run; `batch` counts pictures."""

    weights: rahf.Weights = rahf.Weights()  # of the parts of RAHF's loss
    crop: float = 0.0  # chance that RAHF sees a crop, 80 to 100 % a side; scores stay. Re-implementations: 0.5


class TokenizerTraining(RowsTraining):
    """A tokenizer on pictures (N, H, W, 3). Of the codes, which are means already, no average is kept. One process trains it:
    codes are means over a whole batch."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        pictures: NDArray[np.uint8],
        config: TrainConfig,
        checkpoint: str | Path | None = None,
    ) -> None:
        super().__init__(tokenizer, config, [torch.from_numpy(pictures)], checkpoint)

    def loss(self, generator: torch.Generator) -> Tensor:
        (pictures,) = self.drawn(generator)
        loss: Tensor = self.model.loss(as_batch(pictures), generator)  # type: ignore[operator]
        return loss


class TransformerTraining(RowsTraining):
    """A transformer on code numbers (N, n) and words (N, L). run: checkpoint, group.

    never  bool (N, n): places that are masked and carry no loss (ours: fine-tuning that leaves out what a heatmap marks)
    """

    def __init__(
        self, model: MaskedTransformer, numbers: Tensor, words: Tensor, config: TrainConfig, never: Tensor | None = None,
        *run: Any,
    ) -> None:  # fmt: skip
        super().__init__(model, config, [numbers, words, *([] if never is None else [never])], *run)

    def loss(self, generator: torch.Generator) -> Tensor:
        numbers, words, *never = self.drawn(generator)
        loss: Tensor = self.model.loss(numbers, words, generator, *never)  # type: ignore[operator]
        return loss


@dataclass(frozen=True)
class Labelled:
    """N pictures with feedback, as tensors to learn from."""

    pictures: NDArray[np.uint8]  # (N, H, W, 3)
    prompts: tuple[str, ...]
    maps: Tensor  # (N, 2, H, W) uint8, thirds and all between as 0..255, in the order of MAPS
    scores: Tensor  # (N, 4), in the order of SCORES
    misaligned: Tensor  # (N, L), 0 behind the last word

    @classmethod
    def of(cls, records: Sequence[Record]) -> Labelled:
        """Raises ValueError for a record without a picture, a map, a score or the labels of its words."""
        for record in records:
            missing = [name for name in MAPS if name not in record.feedback.maps]
            missing += [name for name in SCORES if name not in record.feedback.scores]
            missing += ["labels of its words"] * (len(record.feedback.misaligned) != len(words(record.prompt)))
            if record.picture is None or missing:
                what = "its picture" if record.picture is None else ", ".join(missing)
                raise ValueError(f"record {record.name!r} lacks {what}, from which a model is to learn")
        longest = max(len(record.feedback.misaligned) for record in records)
        marked = np.zeros((len(records), longest), np.float32)
        for row, record in zip(marked, records):
            row[: len(record.feedback.misaligned)] = record.feedback.misaligned
        maps = np.stack([np.stack([record.feedback.maps[name] for name in MAPS]) for record in records])
        scores = np.array([[record.feedback.scores[name] for name in SCORES] for record in records], np.float32)
        return cls(
            np.stack([record.picture for record in records]),  # type: ignore[misc]
            tuple(record.prompt for record in records),
            torch.from_numpy((maps * 255).round().astype(np.uint8)),
            torch.from_numpy(scores),
            torch.from_numpy(marked),
        )


class TowersTraining(RowsTraining):
    """Two towers on true pictures (N, H, W, 3) and their prompts, without any label (as CLIP learns): in a batch each picture
    is to find its own prompt and each prompt its picture, by cosine. A prompt that is there twice is right twice. run:
    checkpoint, group; each process then compares within its own part of the batch."""

    HEAT = 0.1  # what cosines are divided by

    def __init__(
        self, model: rahf.TwoTowers, pictures: NDArray[np.uint8], prompts: Sequence[str], config: TrainConfig, *run: Any
    ) -> None:
        super().__init__(model, config, [torch.from_numpy(pictures), model.vocabulary(prompts)], *run)

    def loss(self, generator: torch.Generator) -> Tensor:
        pictures, tokens = self.drawn(generator)
        a, b, _ = self.model.cosine(as_batch(pictures), tokens)  # type: ignore[operator]
        same = (tokens[:, None] == tokens[None]).all(-1).float()
        same = same / same.sum(1, keepdim=True)
        alike = a @ b.T / self.HEAT
        loss: Tensor = (F.cross_entropy(alike, same) + F.cross_entropy(alike.T, same)) / 2
        return loss


class RahfTraining(RowsTraining):
    """RAHF, or a rival with its outputs, on labelled pictures. run: checkpoint, group."""

    def __init__(self, model: Any, data: Labelled, config: TrainConfig, *run: Any) -> None:
        tokens = model.vocabulary(data.prompts)
        misaligned = F.pad(data.misaligned, (0, tokens.shape[1] - data.misaligned.shape[1]))
        pictures = torch.from_numpy(data.pictures)
        super().__init__(model, config, [pictures, tokens, data.maps, data.scores, misaligned], *run)

    def loss(self, generator: torch.Generator) -> Tensor:
        shown, tokens, maps, scores, misaligned = self.drawn(generator)
        pictures, maps = as_batch(shown), maps.float() / 255
        cuts = self.own(torch.rand(self.config.batch, 5, generator=generator))
        for i, (chance, *cut) in enumerate(cuts.tolist()):
            if chance < self.config.crop:
                pictures[i], maps[i] = _cropped(pictures[i], cut), _cropped(maps[i], cut)
        by_map = {name: maps[:, i] for i, name in enumerate(MAPS)}
        by_score = {name: scores[:, i] for i, name in enumerate(SCORES)}
        return rahf.loss(self.model, pictures, tokens, by_map, by_score, misaligned, self.config.weights)["all"]


def _cropped(planes: Tensor, cut: Sequence[float]) -> Tensor:
    """Planes (C, H, W), cut to 80 to 100 % of height and width at a random place and made as large again."""
    H, W = planes.shape[-2:]
    h, w = round(H * (0.8 + 0.2 * cut[0])), round(W * (0.8 + 0.2 * cut[1]))
    top, left = int(cut[2] * (H - h + 1)), int(cut[3] * (W - w + 1))
    part = planes[None, :, top : top + h, left : left + w]
    return F.interpolate(part, (H, W), mode="bilinear", align_corners=False)[0]


@dataclass(frozen=True)
class Recipe:
    """How the shipped weights are made. `kept`: after which share of its steps the transformer is kept, from weak to best."""

    generator: drawing.Config = drawing.Config(vocabulary=WORDS, longest=12)
    model: rahf.Config = rahf.Config(vocabulary=WORDS, longest=12)
    panel: Panel = Panel()
    seed: int = 0
    pairs: int = 8000  # true pictures with their prompts, for the generators
    faults: int = 6000  # faulty pictures of the world, for RAHF
    drawn: int = 1000  # pictures of each of the two lesser generators, for RAHF
    calls: int = 8  # steps of drawing these
    kept: tuple[float, float, float] = (0.1, 0.35, 1.0)
    tokenizer: TrainConfig = TrainConfig(steps=3000, batch=32, average=0.99)
    transformer: TrainConfig = TrainConfig(steps=8000, batch=32)
    flow: TrainConfig = TrainConfig(steps=6000, batch=32)
    rahf: TrainConfig = TrainConfig(steps=10_000, batch=8)


def make(recipe: Recipe, folder: Path, quiet: bool = False) -> dict[str, str]:
    """Train all that `weights` ships, each from its checkpoint in `folder` if it has begun, and write the files there. Returns
    hashes of what was learned from."""
    from . import experiments, weights
    from .data import pairs, records
    from .improve import FlowTraining, LatentFlow

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        generator, flow = Generator(recipe.generator), LatentFlow(recipe.generator)
        model = rahf.RAHF(recipe.model)

    def checkpoint(name: str) -> Path:
        return folder / f"checkpoint_{name}.safetensors"

    def finished(run: AveragingTraining, name: str, until: int | None = None) -> Any:
        if run.iteration < (until or run.steps):
            run.run(until, desc=name, quiet=quiet)
        return run.averaged

    pictures, prompts = pairs("train", recipe.pairs, size=recipe.generator.size, seed=recipe.seed)
    first = TokenizerTraining(generator.tokenizer, pictures, recipe.tokenizer, checkpoint("tokenizer"))
    generator.tokenizer = finished(first, "tokenizer").settle()
    codes, words = generator.numbers(pictures), generator.transformer.vocabulary(prompts)
    second = TransformerTraining(
        generator.transformer, codes, words, recipe.transformer, None, checkpoint("transformer")
    )
    for quality, share in zip(weights.QUALITIES, recipe.kept):
        until, path = max(1, round(share * second.steps)), folder / f"generator_{quality}.safetensors"
        if second.iteration > until:
            if path.exists():
                continue
            raise ValueError(
                f"{path} is gone, and training is past it; delete {checkpoint('transformer')} to start anew"
            )
        kept = Generator(recipe.generator)
        kept.tokenizer, kept.transformer = generator.tokenizer, finished(second, "transformer", until)
        kept.save(path, quality=quality)
    flow.codebook.copy_(generator.tokenizer.codebook)
    third = FlowTraining(flow, codes, words, recipe.flow, checkpoint("flow"))
    finished(third, "flow").save(folder / weights.FLOW)

    truths = list(records("train", recipe.faults, size=recipe.model.size, seed=recipe.seed))
    for quality in weights.QUALITIES[:2]:
        truths += experiments.samples(quality, "train", recipe.drawn, recipe.seed, recipe.calls, folder)
    data = Labelled.of(experiments.asked(truths, recipe.panel, recipe.seed))
    last = RahfTraining(model, data, recipe.rahf, checkpoint("rahf"))
    finished(last, "rahf").save(folder / weights.MODEL)
    return dict(pairs=first.data, labelled=last.data)
