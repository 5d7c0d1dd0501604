"""Make a generator better with what RAHF says of its pictures, in the paper's three ways, each beside controls that the
paper lacks.

    fine-tuning   on own pictures that were chosen by score (paper); the same, but what a map marks is neither shown nor
                  learned from (ours); by preferences among own pictures, of a whole picture or of each token (ours)
    guidance      the gradient of a score leads the drawing: of a flow of latents (the paper: a latent diffusion model), of
                  masked codes (ours)
    inpainting    what a map marks is painted anew, several times, and the best is kept (paper)

A `Rater` says what a picture is worth: RAHF does, the judge of the world does (that is the oracle, and the only one who may
say in the end whether anything got better), and so does chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..lab import diffusion, lora
from ..lab.averaging import AveragingConfig, AveragingTraining, RowsTraining
from ..lab.nn import sinusoids
from ..lab.runs import fingerprint
from ..lab.tensors import Kept
from .generator import Config, Generator, MaskedTransformer, Placed, Step, draw, token_mask
from .judge import judge, read
from .model import PAD, RAHF, Outputs, Vocabulary, as_batch, as_pictures
from .record import Feedback
from .worlds import silhouette

Pictures = NDArray[np.uint8]  # (B, H, W, 3)
Rater = Callable[[Pictures, Sequence[str]], list[Feedback]]
Masks = NDArray[np.bool_]  # (B, H, W)
Scores = NDArray[np.float64]
NEARLY = 0.9  # of the most that a moved mask can cover of the things


def by_judge(pictures: Pictures, prompts: Sequence[str]) -> list[Feedback]:
    """What the judge of the world says."""
    return [judge(picture, prompt) for picture, prompt in zip(pictures, prompts, strict=True)]


def scores(found: Sequence[Feedback], name: str = "plausibility") -> Scores:
    """One score of each: (B,)."""
    return np.array([feedback.scores[name] for feedback in found])


class Several:
    """Several RAHFs as one: the mean of what each says. What pleases one for a wrong reason need not please the others."""

    def __init__(self, *models: RAHF) -> None:
        self.models, self.vocabulary = models, models[0].vocabulary

    def __call__(self, pictures: Tensor, tokens: Tensor, ask: Sequence[str]) -> Outputs:
        """Scores only, as the mean of logits: something to take a gradient of."""
        said = [model(pictures, tokens, ask=ask).scores for model in self.models]
        return Outputs({}, {name: torch.stack([one[name] for one in said]).mean(0) for name in said[0]}, None)

    def predict(self, pictures: Pictures, prompts: Sequence[str]) -> list[Feedback]:
        found = []
        for each in zip(*(model.predict(pictures, prompts) for model in self.models)):
            score = {name: float(np.mean([one.scores[name] for one in each])) for name in each[0].scores}
            maps = {name: np.mean([one.maps[name] for one in each], 0) for name in each[0].maps}
            found.append(Feedback(score, maps, np.mean([one.misaligned for one in each], 0)))
        return found


# ------------------------------------------------------------------------------------------------------------ own pictures


@dataclass(frozen=True)
class Own:
    """A generator's own pictures: K for each of P prompts."""

    prompts: tuple[str, ...]
    numbers: Tensor  # (P, K, n) code numbers
    pictures: Pictures  # (P K, H, W, 3), those of a prompt side by side

    @property
    def tries(self) -> int:
        return self.numbers.shape[1]

    @property
    def repeated(self) -> list[str]:
        """The prompt of each picture."""
        return [prompt for prompt in self.prompts for _ in range(self.tries)]

    def rated(self, rater: Rater, name: str = "plausibility") -> Scores:
        """(P, K)."""
        return scores(rater(self.pictures, self.repeated), name).reshape(len(self.prompts), self.tries)


def own_pictures(generator: Generator, prompts: Sequence[str], tries: int, seed: int = 0, **how: Any) -> Own:
    """Draw `tries` pictures for each prompt. how: as `generator.draw` takes it."""
    numbers = generator.drawn([prompt for prompt in prompts for _ in range(tries)], seed, **how)
    return Own(tuple(prompts), numbers.view(len(prompts), tries, -1), generator.pictures(numbers))


@dataclass(frozen=True)
class Chosen:
    """What is to be learned from: pictures as codes, the prompts, and places that are to be left out."""

    prompts: tuple[str, ...]
    numbers: Tensor  # (m, n)
    never: Tensor | None = None  # bool (m, n)


def choose(own: Own, rated: Scores, threshold: float) -> NDArray[np.intp]:
    """For each prompt its best picture, if it passes the threshold (paper): numbers of pictures, (m,). Of equals the first."""
    best = rated.argmax(1)
    passed = rated.max(1) >= threshold
    return (np.arange(len(best)) * own.tries + best)[passed]


def at_random(own: Own, chosen: NDArray[np.intp], seed: int = 0) -> NDArray[np.intp]:
    """The control: for the same prompts any of their pictures, so that numbers and prompts are the same."""
    prompts = chosen // own.tries
    return prompts * own.tries + np.random.default_rng(seed).integers(own.tries, size=len(prompts))


def chosen(
    own: Own, which: NDArray[np.intp], generator: Generator, rater: Rater | None = None, threshold: float = 0.3, dilate: int = 1
) -> Chosen:  # fmt: skip
    """These pictures. With a rater, what its map calls implausible by more than the threshold, made wider by `dilate` pixels,
    is masked in training and carries no loss: what is wrong is not learned, and what is right around it is (ours)."""
    if not len(which):
        raise ValueError("chosen: no picture is left to learn from; lower the threshold, or draw more")
    prompts = tuple(own.repeated[i] for i in which)
    never = None
    if rater is not None:
        maps = np.stack([f.maps["implausibility"] for f in rater(own.pictures[which], prompts)])
        never = token_mask(torch.from_numpy(maps > threshold), generator.config.grid, dilate)
    return Chosen(prompts, own.numbers.flatten(0, 1)[torch.from_numpy(which)], never)


def shuffled(never: Tensor, seed: int = 0) -> Tensor:
    """The control to places that a map marks: as many in each picture, anywhere."""
    order = torch.rand(never.shape, generator=torch.Generator().manual_seed(seed)).argsort(1).argsort(1)
    return order < never.sum(1, keepdim=True)


# -------------------------------------------------------------------------------------------------------------- fine-tuning


def adapt(model: MaskedTransformer, rank: int, seed: int = 0) -> MaskedTransformer:
    """Freeze a transformer, and let parts of low rank learn in all its attentions and MLPs (the paper tunes Muse so). In
    place."""
    return lora.adapt(model, cast(Any, model.blocks), rank, seed)


def settle(model: MaskedTransformer) -> MaskedTransformer:
    """A plain transformer whose weights are those of `model`, with what `adapt` has learned added to them."""
    return lora.settle(model, MaskedTransformer(model.config))


@dataclass(frozen=True)
class PreferenceConfig(AveragingConfig):
    """Settings of `PreferenceTraining`; `batch` counts prompts."""

    group: int = 8  # pictures of a prompt, which are compared with each other
    calls: int = 8  # steps of drawing
    learned: int = 3  # of these steps are learned from, at random
    guidance: float = 2.0
    temperature: float = 1.0
    least: float = 0.02  # a group whose rewards spread less (standard deviation) says nothing, and is left out
    local: float = 0.0  # weight of what a map says of each token, beside what the score says of all of them


def advantages(reward: Tensor, least: float) -> Tensor:
    """How much better each picture is than its group: rewards (P, G) less their mean, over their standard deviation (that of a
    sample); 0 for a group that spreads less than `least`."""
    spread = reward.std(1, keepdim=True)
    return torch.where(spread >= least, (reward - reward.mean(1, keepdim=True)) / spread.clamp_min(least), 0.0)


@torch.no_grad()
def moved(
    now: MaskedTransformer, then: MaskedTransformer, numbers: Tensor, words: Tensor, guidance: float = 2.0
) -> float:
    """How far training has taken a transformer: mean KL(now || then), in nats, of the codes at masked places of pictures
    (N, n), half of each masked."""
    hidden = torch.rand(numbers.shape, generator=torch.Generator().manual_seed(0)).argsort(1) < numbers.shape[1] // 2
    before = numbers.masked_fill(hidden, now.config.codes)
    new, old = now.guided(before, words, guidance), then.guided(before, words, guidance)
    return float((new.exp() * (new - old)).sum(-1)[hidden].mean())


class PreferenceTraining(AveragingTraining):
    """Learn from comparing own pictures (ours, in the manner of GRPO on masked decoding): draw a group for each prompt, rate
    it, and make what the better ones decided likelier, step by step, by `advantages`: likelier in the guided distribution,
    which is the one that is drawn from. With `local`, a token that the map marks counts as less than its picture's others.

    rate  pictures and prompts -> feedback, of which `name` is the reward
    """

    def __init__(
        self, generator: Generator, prompts: Sequence[str], rate: Rater, config: PreferenceConfig, *run: Any,
        name: str = "plausibility",
    ) -> None:  # fmt: skip
        super().__init__(generator.transformer, config, *run)
        self.generator, self.prompts, self.rate, self.name = generator, tuple(prompts), rate, name
        self.words = generator.transformer.vocabulary(prompts)
        self.rewards: list[float] = []  # mean of each step's pictures
        self.resume()

    def digest(self) -> str:
        return fingerprint(self.words)

    def state(self) -> dict[str, Any]:
        return super().state() | dict(rewards=self.rewards)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        super().restore(tensors, state)
        self.rewards = state["rewards"]

    def loss(self, generator: torch.Generator) -> Tensor:
        config, model, G = self.config, self.generator.transformer, self.config.group
        some = torch.randint(len(self.prompts), (config.batch,), generator=generator)
        which = self.own(some).cpu().repeat_interleave(G)
        words, history = self.words[which], list[Step]()
        model.eval()
        numbers = draw(
            model, words, generator, steps=config.calls, guidance=config.guidance, temperature=config.temperature,
            history=history,
        )  # fmt: skip
        model.train()
        found = self.rate(self.generator.pictures(numbers), [self.prompts[i] for i in which.tolist()])
        reward = torch.tensor(scores(found, self.name), dtype=torch.float32).view(-1, G)
        self.rewards.append(float(reward.mean()))
        advantage = advantages(reward, config.least).flatten()[:, None].expand(numbers.shape)
        if config.local:
            maps = torch.from_numpy(np.stack([f.maps["implausibility"] for f in found]))[:, None]
            marked = F.adaptive_max_pool2d(maps, self.generator.config.grid).flatten(1)
            advantage = advantage - config.local * (marked - marked.mean(1, keepdim=True))
        grids = [torch.full_like(numbers, self.generator.config.codes), *(step.numbers for step in history)]
        steps = torch.randperm(len(history), generator=generator)[: config.learned].tolist()
        total = numbers.new_zeros((), dtype=torch.float32)
        for i in steps:
            before, after = grids[i], grids[i + 1]
            decided = (before == self.generator.config.codes) & (after != self.generator.config.codes)
            logp = model.guided(before, words, config.guidance)
            mine = logp.gather(-1, numbers[..., None])[..., 0]
            total = total - (advantage * mine)[decided].sum() / numbers.numel()
        return total


# ----------------------------------------------------------------------------------------------------------------- guidance


class LatentFlow(Placed, Kept):
    """A small flow-matching model of the tokenizer's codes as vectors: what stands for the paper's latent diffusion model.

    On its way from noise to a picture, z_t = (1 - t) noise + t z, each token has to end at one of the codes. So the network
    says how likely each of them is (Dieleman et al. 2022); the mean of the codes by these chances is the end that is expected,
    and (end - z_t) / (1 - t) the velocity, which is all that a flow needs. One that says the velocity itself was tried, too
    (ours): after as many steps it drew pictures of the right colours, and hardly a whole thing.

    (B, n, code) at a step, and words -> logits (B, n, codes)."""

    CONFIG = Config
    LOUD = 2.0  # length of a code where noise has variance 1 in each number: codes part in the middle of the way
    codebook: Tensor  # (codes, code), of length 1: the tokenizer's

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = Vocabulary(config.vocabulary, config.longest)
        W = config.width
        self.register_buffer("codebook", torch.zeros(config.codes, config.code))
        self.enter, self.leave = nn.Linear(config.code, W), nn.Linear(W, config.codes)
        self.words = nn.Embedding(self.vocabulary.size, W)
        self.time = nn.Sequential(nn.Linear(64, W), nn.SiLU(), nn.Linear(W, W))
        self.build(config)
        nn.init.normal_(self.words.weight, std=0.5)

    def forward(self, z: Tensor, step: Tensor, words: Tensor) -> Tensor:
        result: Tensor = self.leave(self.mixed(self.enter(z), words, self.time(sinusoids(step.float(), 64))))
        return result


class FlowTraining(RowsTraining):
    """A `LatentFlow` on code numbers (N, n) of true pictures and words (N, L). run: checkpoint, group."""

    def __init__(self, model: LatentFlow, numbers: Tensor, words: Tensor, config: AveragingConfig, *run: Any) -> None:
        super().__init__(model, config, [numbers, words], *run)

    def loss(self, generator: torch.Generator) -> Tensor:
        numbers, words = self.drawn(generator)
        ends, B = self.model.LOUD * self.model.codebook[numbers], self.config.batch  # type: ignore[index, operator]
        noise = self.own(torch.randn(B, *ends.shape[1:], generator=generator))
        time = self.own(torch.rand(B, generator=generator))
        drop = self.own(torch.rand(B, 1, generator=generator)) < diffusion.DROPOUT
        t = time[:, None, None]
        logits = self.model((1 - t) * noise + t * ends, diffusion.STEPS * (1 - time), words.masked_fill(drop, PAD))
        return F.cross_entropy(logits.flatten(0, 1), numbers.flatten())


def flow_pictures(
    flow: LatentFlow, generator: Generator, prompts: Sequence[str], seed: int = 0, calls: int = 24, guidance: float = 1.5,
    rahf: RAHF | None = None, name: str = "plausibility", weight: float = 0.0,
) -> Pictures:  # fmt: skip
    """Draw by a flow; a token ends at the code that is nearest. Each step keeps the end that it expects and draws the noise on
    the way there anew (as Song et al. 2023 do), so that what one step got wrong the next can put right: along the velocity
    itself plausibility was .12 instead of .41 (ours, 40 prompts).

    With a RAHF, the end is bent so that the score of its picture rises: by `weight` times the gradient of the score's logit,
    through decoder and flow, in the manner of universal guidance (Bansal et al. 2023). With weight 0 it is the same draw,
    unguided."""
    random = torch.Generator().manual_seed(seed)
    n, words = flow.config.grid**2, flow.vocabulary(prompts)
    tokens = rahf.vocabulary(prompts) if rahf is not None else None
    z = torch.randn(len(prompts), n, flow.config.code, generator=random)
    for call in range(calls):
        t, then = call / calls, (call + 1) / calls
        step = torch.full((len(z),), diffusion.STEPS * (1 - t))
        z = z.detach().requires_grad_(rahf is not None and weight != 0)
        with torch.set_grad_enabled(z.requires_grad):
            asked, free = (flow(z, step, some).log_softmax(-1) for some in (words, torch.full_like(words, PAD)))
            end = flow.LOUD * (free + guidance * (asked - free)).softmax(-1) @ flow.codebook
            if z.requires_grad and rahf is not None and tokens is not None:
                logit = _score(rahf, generator, end, tokens, name)
                end = end + weight * torch.autograd.grad(logit.sum(), z)[0]
        z = then * end.detach() + (1 - then) * torch.randn(z.shape, generator=random)
    return generator.pictures((z @ flow.codebook.T).argmax(-1))


def _grid(z: Tensor, generator: Generator) -> Tensor:
    return z.unflatten(1, (generator.config.grid, generator.config.grid))


def _score(rahf: RAHF | Several, generator: Generator, z: Tensor, tokens: Tensor, name: str) -> Tensor:
    """The logit of a score of what latents (B, n, code) would look like: (B,), differentiable."""
    pictures = generator.tokenizer.paint(_grid(F.normalize(z, dim=-1), generator)).clamp(0, 1)
    return rahf(pictures, tokens, ask=(name,)).scores[name]


def draw_guided(
    generator: Generator, rahf: RAHF | Several, prompts: Sequence[str], weight: float, seed: int = 0,
    name: str = "plausibility", steps: int = 12, guidance: float = 2.0, **how: Any,
) -> Pictures:  # fmt: skip
    """The same in masked decoding (ours): in each step the picture that the network expects, each masked place painted as the
    mean of its codes by their probabilities, is scored, and the log-probabilities move along the gradient."""
    model, tokens = generator.transformer, rahf.vocabulary(prompts)
    words = model.vocabulary(prompts)

    class Led:
        config = model.config

        @staticmethod
        def guided(numbers: Tensor, words: Tensor, s: float) -> Tensor:
            logp = model.guided(numbers, words, s)
            if weight == 0:
                return logp
            with torch.enable_grad():
                lead = torch.zeros_like(logp).requires_grad_()
                codes = (logp + lead).softmax(-1) @ generator.tokenizer.codebook
                settled = numbers != model.config.codes
                known = generator.tokenizer.codebook[numbers.clamp(max=model.config.codes - 1)]
                logit = _score(rahf, generator, torch.where(settled[..., None], known, codes), tokens, name)
                (slope,) = torch.autograd.grad(logit.sum(), lead)
            return (logp + weight * slope).log_softmax(-1)

    random = torch.Generator().manual_seed(seed)
    led: Any = Led()
    return generator.pictures(draw(led, words, random, steps=steps, guidance=guidance, **how))


def press(
    rahf: RAHF | Several, pictures: Pictures, prompts: Sequence[str], steps: Sequence[int], size: float = 4 / 255,
    tether: float = 0.0, name: str = "plausibility",
) -> dict[int, Pictures]:  # fmt: skip
    """Nothing but please: move all pixels by `size`, again and again, along the sign of the score's gradient (Goodfellow et al.
    2015, Kurakin et al. 2017). Pictures after each number of `steps`, by number.

    tether  weight of the mean squared distance from the pictures as they were, which is taken off the logit: the penalty"""
    tokens, start = rahf.vocabulary(prompts), as_batch(pictures)
    x, found = start, dict[int, Pictures]()
    for number in range(1, max(steps) + 1):
        x = x.detach().requires_grad_()
        good = rahf(x, tokens, ask=(name,)).scores[name] - tether * (x - start).square().mean((1, 2, 3))
        (slope,) = torch.autograd.grad(good.sum(), x)
        x = (x + size * slope.sign()).clamp(0, 1).detach()
        if number in steps:
            found[number] = as_pictures(x)
    return found


# --------------------------------------------------------------------------------------------------------------- inpainting


def masks_of(found: Sequence[Feedback], threshold: float) -> Masks:
    """Where pictures are called implausible by more than a threshold: (B, H, W)."""
    return np.stack([feedback.maps["implausibility"] for feedback in found]) > threshold


def elsewhere(masks: Masks, seed: int = 0, side: int = Config.down) -> Masks:
    """The control of equal area, "elsewhere": each mask (H, W) moved to another place at random, round the borders, by whole
    tokens of `side` pixels, so that as many are painted anew. Often that is empty board, where little can be spoilt."""
    random = np.random.default_rng(seed)
    return np.stack([_moved(mask, random, side) for mask in masks])


def elsewhere_foreground(masks: Masks, things: Masks, seed: int = 0, side: int = Config.down) -> Masks:
    """The harder control, "elsewhere-foreground": the same, to a place where the mask covers of the `things` that it did not
    mark nearly as much as it can anywhere. Where it marks all things, to any place."""
    random = np.random.default_rng(seed)
    return np.stack([_moved(mask, random, side, onto) for mask, onto in zip(masks, things & ~masks, strict=True)])


def _moved(mask: Masks, random: np.random.Generator, side: int, onto: Masks | None = None) -> Masks:
    moves = [(y, x) for y in range(0, len(mask), side) for x in range(0, mask.shape[1], side)][1:]
    if onto is not None:
        covered = np.array([np.roll(mask, move, (0, 1))[onto].sum() for move in moves])
        moves = [moves[i] for i in np.flatnonzero(covered >= NEARLY * covered.max())]
    return np.roll(mask, moves[random.integers(len(moves))], (0, 1))


def things_in(pictures: Pictures) -> Masks:
    """Where things are in pictures of the world, whole or not, as the judge reads them: (B, H, W)."""
    return np.stack([silhouette(read(picture)[0].things, len(picture)) for picture in pictures])
