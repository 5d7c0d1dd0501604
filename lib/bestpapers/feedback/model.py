"""RAHF: a picture and its prompt -> two maps, four scores, and the prompt written out with marked words.

    picture -> ViT -> image tokens ─┐                        ┌─ image tokens, as a grid -> map head, score head
                                    ├─ fusion (attention) ──┤
    prompt -> embedding -> tokens  ─┘                        └─ all tokens -> text decoder

A picture alone cannot say that the cat should have been blue, and a prompt alone cannot say which of its words was ignored: so
each token, of picture and of text, sees all the others before anything is read off (Liang et al. 2024). Two variants:

    multi-head   a head for each output, seven in all, on one fused map that has to serve them all
    augmented    one head of each sort; the output that is wanted is named in the prompt, and the fusion runs once for each

`Trunk` is ours, small; `public.PublicTrunk` is the paper's sort, a ViT and a T5 with the weights of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..lab.nn import Block, attention
from ..lab.tensors import Kept
from .record import MAPS, SCORES, Feedback, words

VARIANTS = ("multi-head", "augmented")
OUTPUTS = (*MAPS, *SCORES, "words")
MARK = "_0"  # stands behind a misaligned word in what the decoder writes
PAD, END, UNKNOWN = range(3)  # tokens before the words of a vocabulary
RANGE = {  # of the whole numbers of a Config: a file of someone else's may say anything
    **dict.fromkeys(("size", "patch", "width", "heads", "longest"), (1, 1 << 14)),
    **dict.fromkeys(("image_layers", "fusion_layers", "decoder_layers"), (0, 256)),
}
QUIET = -3.0  # bias of what a map head says at first: faults are rare, and a map of 0.5 is a bad place to start from


@dataclass(frozen=True)
class Config:
    """The size of a model: here of the one that trains while a reader waits."""

    size: int = 64  # pixels along a side of a picture
    patch: int = 8  # pixels along the side of an image token: a power of 2, but for `public.PublicTrunk`
    width: int = 64
    heads: int = 4
    image_layers: int = 2
    fusion_layers: int = 3
    decoder_layers: int = 2
    longest: int = 24  # words of a prompt at the most
    maps: tuple[int, ...] = (32, 16, 8)  # channels of a map head after each doubling; their number gives a map's side
    scores: tuple[int, ...] = (48, 48)  # channels of a score head's convolutions
    variant: str = "multi-head"
    vocabulary: tuple[str, ...] = ()  # all words that prompts can have, in lower case; others are one unknown word

    def __post_init__(self) -> None:
        for name, (least, most) in RANGE.items():
            if not (type(value := getattr(self, name)) is int and least <= value <= most):
                raise ValueError(f"Config: {name} must be a whole number from {least} to {most}, got {value!r}")
        if not all(isinstance(word, str) for word in self.vocabulary):
            raise ValueError("Config: vocabulary must hold words")
        if self.variant not in VARIANTS:
            raise ValueError(f"Config: variant must be one of {', '.join(VARIANTS)}, got {self.variant!r}")
        if self.size % self.patch or self.width % self.heads or not self.maps or not self.scores or not self.vocabulary:
            needs = "size must be a multiple of patch, width of heads; maps, scores, vocabulary not empty"
            raise ValueError(f"Config: {needs}")


class Vocabulary:
    """Words as numbers, and as what the decoder writes: each word plain and marked."""

    def __init__(self, known: Sequence[str], longest: int) -> None:
        self.known, self.longest = tuple(known), longest
        self.number = {word: n for n, word in enumerate(known, UNKNOWN + 1)}
        self.size = len(known) + UNKNOWN + 1

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Prompts -> (B, longest) int64, filled with PAD. Raises ValueError for one with too many words."""
        tokens = torch.full((len(prompts), self.longest), PAD)
        for row, prompt in zip(tokens, prompts, strict=True):
            found = [self.number.get(word.lower(), UNKNOWN) for word in words(prompt)]
            if len(found) > self.longest:
                most = f"this model reads {self.longest} at the most"
                raise ValueError(f"prompt {prompt[:60]!r} has {len(found)} words; {most}")
            row[: len(found)] = torch.tensor(found, dtype=torch.int64)
        return tokens

    def target(self, tokens: Tensor, misaligned: Tensor) -> Tensor:
        """What the decoder is to write: (B, longest + 1) int64, a word's number, `size` higher where it is misaligned, then
        END. tokens (B, longest), misaligned bool (B, longest)."""
        written = torch.where(misaligned, tokens + self.size, tokens)
        written = torch.where(tokens == PAD, PAD, written)
        out = F.pad(written, (0, 1), value=PAD)
        return out.scatter(1, (tokens != PAD).sum(1, keepdim=True), END)

    def text(self, written: Sequence[int]) -> str:
        """As a reader would see it: "a blue_0 cat"."""
        names = ("", "", "?", *self.known)
        body = [t for t in written if t not in (PAD, END)]
        return " ".join(names[t % self.size] + (MARK if t >= self.size else "") for t in body)


def together(blocks: Iterable[Any], x: Tensor, there: Tensor) -> Tensor:
    """Pre-norm blocks (`lab.nn.Block`) on tokens x (B, L, W), which look only at those that are `there`, bool (B, L)."""
    for block in blocks:
        x = x + attention(block.attn, block.ln_1(x), mask=there[:, None, None])
        x = x + block.mlp(block.ln_2(x))
    return x


class Stem(nn.Module):
    """A picture -> image tokens, by convolutions that halve its side until a token is `patch` pixels wide (Xiao et al. 2021).

    The paper's ViT cuts patches, and has learned from a great many pictures what is in them. One that starts from nothing, as
    ours, learns sooner through convolutions: in a trial, after 500 steps, CC of its maps of faults 0.31 against 0.24 (ours)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        W, halvings = config.width, config.patch.bit_length() - 1
        if config.patch != 2**halvings or not halvings:
            raise ValueError(f"Stem: patch must be a power of 2, got {config.patch}")
        channels = (3, *[W // 2] * (halvings - 1), W)
        self.convolutions = _convolutions(channels, stride=2)
        self.last = nn.Linear(W, W)
        # as loud as what they are added to: at a usual 0.02 the model is nearly blind to place
        self.positions = nn.Parameter(0.5 * torch.randn((config.size // config.patch) ** 2, W))

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in -1..1 -> (B, N, width)."""
        result: Tensor = self.last(self.convolutions(pictures).flatten(2).transpose(1, 2)) + self.positions
        return result


def _convolutions(channels: Sequence[int], stride: int = 1) -> nn.Sequential:
    """Convolutions 3 x 3, each with a norm and a ReLU."""
    layers: list[nn.Module] = []
    for a, b in pairwise(channels):
        layers += [nn.Conv2d(a, b, 3, stride, padding=1), nn.GroupNorm(1, b), nn.ReLU()]
    return nn.Sequential(*layers)


class Trunk(nn.Module):
    """Tokens of picture and prompt, fused. In the augmented variant a token that names the output goes along."""

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        W = config.width
        self.grid = config.size // config.patch
        self.width = W
        self.stem = Stem(config)
        self.image = nn.ModuleList(Block(W, config.heads) for _ in range(config.image_layers))
        self.embedding = nn.Embedding(vocabulary, W)
        self.positions = nn.Parameter(0.5 * torch.randn(config.longest, W))
        self.instructions = nn.Embedding(len(OUTPUTS), W) if config.variant == "augmented" else None
        self.fusion = nn.ModuleList(Block(W, config.heads) for _ in range(config.fusion_layers))
        self.norm = nn.LayerNorm(W)
        nn.init.normal_(self.embedding.weight, std=0.5)

    def see(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in 0..1 -> image tokens (B, N, width). Runs once, whatever is asked for afterwards."""
        x: Tensor = self.stem(2 * pictures - 1)
        for block in self.image:
            x = block(x)
        return x

    def fuse(self, seen: Tensor, tokens: Tensor, wanted: str) -> tuple[Tensor, Tensor]:
        """Image tokens (B, N, width) and a prompt's (B, L) -> all tokens (B, N + L (+ 1), width), the picture's first, and
        which of them are there, bool (B, N + L (+ 1))."""
        B, N, _ = seen.shape
        x = torch.cat([seen, self.embedding(tokens) + self.positions[: tokens.shape[1]]], 1)
        there = torch.cat([tokens.new_ones(B, N, dtype=torch.bool), tokens != PAD], 1)
        if self.instructions is not None:
            x = torch.cat([x, self.instructions.weight[OUTPUTS.index(wanted)].expand(B, 1, -1)], 1)
            there = F.pad(there, (0, 1), value=True)
        return self.norm(together(self.fusion, x, there)), there


class MapHead(nn.Module):
    """A grid of fused tokens -> a map, in logits: a convolution, then for each doubling a transposed convolution and one that
    reads out. After re-implementations of the paper, which agree on this form; how many there are, and sizes, are ours."""

    def __init__(self, width: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, channels[0], 3, padding=1)
        self.up, self.read, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for a, b in zip((channels[0], *channels), channels):
            self.up.append(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1))
            self.norms.append(nn.GroupNorm(1, b))
            self.read.append(nn.Conv2d(b, b, 3, padding=1))
        self.last = nn.Conv2d(channels[-1], 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        self.last.bias = nn.Parameter(torch.full((1,), QUIET))

    def forward(self, grid: Tensor) -> Tensor:
        """(B, width, g, g) -> (B, H, W)."""
        x = F.relu(self.first(grid))
        for up, norm, read in zip(self.up, self.norms, self.read):
            x = F.relu(norm(up(x)))
            x = x + F.relu(read(x))
        result: Tensor = self.last(x)
        return result[:, 0]


class ScoreHead(nn.Module):
    """A grid of fused tokens -> a score, in logits: convolutions, then of each channel the mean and the largest, then dense
    layers. A dense layer on all of the grid (ours, too, first) learned the pictures by heart."""

    def __init__(self, width: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = _convolutions((width, *channels))
        self.dense = nn.Sequential(nn.Linear(2 * channels[-1], 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, grid: Tensor) -> Tensor:
        """(B, width, g, g) -> (B,)."""
        x = self.convolutions(grid)
        result: Tensor = self.dense(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return result[:, 0]


class Decoder(nn.Module):
    """Writes the prompt once more, word by word, each word plain or marked; it looks at all fused tokens, image and text."""

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        W, written = config.width, 2 * vocabulary
        self.embedding = nn.Embedding(written, W)
        self.positions = nn.Parameter(0.5 * torch.randn(config.longest + 1, W))
        self.blocks = nn.ModuleList(Block(W, config.heads, cross=True) for _ in range(config.decoder_layers))
        self.norm, self.out = nn.LayerNorm(W), nn.Linear(W, written)
        nn.init.normal_(self.embedding.weight, std=0.5)

    def forward(self, fused: Tensor, there: Tensor, before: Tensor) -> Tensor:
        """Logits (B, L, 2 vocabulary) of the words after `before` (B, L), which begins with END."""
        x = self.embedding(before) + self.positions[: before.shape[1]]
        for block in cast(Any, self.blocks):
            x = x + attention(block.attn, block.ln_1(x), causal=True)
            x = x + attention(block.cross, block.ln_cross(x), fused, mask=there[:, None, None])
            x = x + block.mlp(block.ln_2(x))
        result: Tensor = self.out(self.norm(x))
        return result


@dataclass(frozen=True)
class Outputs:
    """What a model says of B pictures. `misaligned` is the chance of a mark on each word, of the head that looks at single word
    tokens (ours, cheap); `written` are logits of the decoder, given the true words before."""

    maps: Mapping[str, Tensor]  # logits (B, H, W) by names of MAPS
    scores: Mapping[str, Tensor]  # logits (B,) by names of SCORES
    misaligned: Tensor | None  # logits (B, longest)
    written: Tensor | None = None  # logits (B, longest + 1, 2 vocabulary)


class RAHF(Kept):
    """The model. `ask` names the outputs that are computed: all by default; in the augmented variant each costs a fusion."""

    CONFIG = Config

    def __init__(self, config: Config, trunk: Any = None) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = Vocabulary(config.vocabulary, config.longest)
        self.trunk: Any = trunk or Trunk(config, self.vocabulary.size)
        W = self.trunk.width
        apart = config.variant == "multi-head"
        self.maps = nn.ModuleDict({name: MapHead(W, config.maps) for name in (MAPS if apart else ("all",))})
        self.scores = nn.ModuleDict({name: ScoreHead(W, config.scores) for name in (SCORES if apart else ("all",))})
        self.word = nn.Linear(W, 1)
        self.decoder = Decoder(config, self.vocabulary.size) if config.decoder_layers else None

    def forward(
        self, pictures: Tensor, tokens: Tensor, target: Tensor | None = None, ask: Sequence[str] = OUTPUTS
    ) -> Outputs:
        """pictures (B, 3, H, W) in 0..1; tokens (B, longest); target (B, longest + 1) for the decoder, if it is to learn."""
        seen = self.trunk.see(pictures)
        B, N, W = seen.shape
        shared: dict[str, tuple[Tensor, Tensor]] = {}

        def fused(name: str) -> tuple[Tensor, Tensor]:
            key = name if self.config.variant == "augmented" else "all"
            if key not in shared:
                shared[key] = self.trunk.fuse(seen, tokens, name)
            return shared[key]

        def grid(name: str) -> Tensor:
            g = self.trunk.grid
            return fused(name)[0][:, :N].transpose(1, 2).reshape(B, W, g, g)

        def head(heads: nn.ModuleDict, name: str) -> nn.Module:
            return heads[name if name in heads else "all"]

        maps = {name: head(self.maps, name)(grid(name)) for name in MAPS if name in ask}
        scores = {name: head(self.scores, name)(grid(name)) for name in SCORES if name in ask}
        misaligned = written = None
        if "words" in ask:
            x, there = fused("words")
            misaligned = self.word(x[:, N : N + tokens.shape[1]])[..., 0]
            if target is not None and self.decoder is not None:
                before = F.pad(target[:, :-1], (1, 0), value=END)
                written = self.decoder(x, there, before)
        return Outputs(maps, scores, misaligned, written)

    @torch.no_grad()
    def write(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """The prompts as the decoder writes them, word after word, the likeliest each time: (B, longest + 1) int64, PAD behind
        END. Nothing forces it to copy the prompt: `compared` says what becomes of words that it gets wrong."""
        if self.decoder is None:
            raise ValueError("write: this model has no decoder (decoder_layers is 0)")
        seen = self.trunk.see(pictures)
        x, there = self.trunk.fuse(seen, tokens, "words")
        out = tokens.new_full((len(tokens), 1), END)
        done = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        for _ in range(tokens.shape[1] + 1):
            last = self.decoder(x, there, out)[:, -1].argmax(-1)
            out = torch.cat([out, torch.where(done, PAD, last)[:, None]], 1)
            done |= last == END
        return out[:, 1:]

    def compared(self, written: Tensor, tokens: Tensor) -> Tensor:
        """Which words of the prompts (B, longest) are marked in what was written, bool (B, longest): compared place by place.
        A word that is missing, or another one, counts as not marked; what is written beyond the prompt is left out."""
        return (written[:, : tokens.shape[1]] == tokens + self.vocabulary.size) & (tokens != PAD)

    @torch.no_grad()
    def predict(
        self, pictures: NDArray[np.uint8], prompts: Sequence[str], batch: int = 64, write: bool = False
    ) -> list[Feedback]:
        """Feedback on pictures (B, H, W, 3). write: words by the decoder (1 or 0), else by the head for single words (0..1)."""
        found = []
        device = next(self.parameters()).device
        for start in range(0, len(pictures), batch):
            some = as_batch(pictures[start : start + batch], device)
            tokens = self.vocabulary(prompts[start : start + batch]).to(device)
            out = self(some, tokens)
            maps = {name: logits.sigmoid().cpu().numpy() for name, logits in out.maps.items()}
            scores = {name: logits.sigmoid().cpu().numpy() for name, logits in out.scores.items()}
            marks = self.compared(self.write(some, tokens), tokens).float() if write else out.misaligned.sigmoid()
            for i, prompt in enumerate(prompts[start : start + batch]):
                own_scores = {name: float(values[i]) for name, values in scores.items()}
                own_maps = {name: values[i] for name, values in maps.items()}
                found.append(Feedback(own_scores, own_maps, marks[i, : len(words(prompt))].cpu().numpy()))
        return found


def as_batch(pictures: NDArray[np.uint8] | Tensor, device: torch.device | str | None = None) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in 0..1, on a device, or where the pictures are."""
    whole = pictures if isinstance(pictures, Tensor) else torch.from_numpy(np.ascontiguousarray(pictures))
    return whole.to(device).permute(0, 3, 1, 2).float() / 255


def as_pictures(batch: Tensor) -> NDArray[np.uint8]:
    """(B, 3, H, W), cut to 0..1 -> (B, H, W, 3) uint8."""
    return (batch.clamp(0, 1).permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()


@dataclass(frozen=True)
class Weights:
    """Of the parts of the loss; the paper's are not known to us. A map has thousands of pixels, nearly all 0: with a small
    weight its head finds that saying nothing costs little, and stays there (`2_build` shows it)."""

    maps: float = 30.0
    scores: float = 1.0
    words: float = 0.3  # of the head for single words (ours)
    written: float = 0.3  # of the decoder


def loss(
    model: Any, pictures: Tensor, tokens: Tensor, maps: Mapping[str, Tensor], scores: Mapping[str, Tensor],
    misaligned: Tensor, weights: Weights | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """The parts of the loss by name, and "all", their weighted sum: mean squared errors of maps (B, H, W) and scores (B,),
    summed over their names, and cross-entropies of words. The paper adds such parts with weights too. What has no weight is
    not computed.

    misaligned  (B, longest) in 0..1: the share of the panel, or its majority
    """
    weights = weights or Weights()
    target = model.vocabulary.target(tokens, misaligned > 0.5) if model.decoder is not None else None
    counts = dict.fromkeys(MAPS, weights.maps) | dict.fromkeys(SCORES, weights.scores)
    counts["words"] = weights.words + weights.written
    out: Outputs = model(pictures, tokens, target, [name for name in OUTPUTS if counts[name]])
    zero = pictures.new_zeros(())
    parts = dict(
        maps=sum(((out.maps[name].sigmoid() - maps[name]).square().mean() for name in out.maps), zero),
        scores=sum(((out.scores[name].sigmoid() - scores[name]).square().mean() for name in out.scores), zero),
    )
    if out.misaligned is not None:
        there = tokens != PAD
        parts["words"] = F.binary_cross_entropy_with_logits(out.misaligned[there], misaligned[there])
    if out.written is not None and target is not None:
        parts["written"] = F.cross_entropy(out.written.flatten(0, 1), target.flatten(), ignore_index=PAD)
    return parts | dict(all=sum((getattr(weights, name) * part for name, part in parts.items()), zero))


class ImageOnly(nn.Module):
    """The rival that cannot read: a small ResNet with the same heads (the part of the paper's fine-tuned ResNet-50). Its
    outputs are those of `RAHF`, without words."""

    decoder = None

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.vocabulary = config, Vocabulary(config.vocabulary, config.longest)
        W, steps = config.width, (config.patch - 1).bit_length()
        self.stem = nn.Conv2d(3, W // 2, 3, padding=1)
        layers: list[nn.Module] = []
        for a, b in pairwise([W // 2] * min(2, steps) + [W] * max(1, steps - 1)):  # as many as halvings, and one
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(8, b), nn.ReLU(), Conv(b), Conv(b)]
        self.body = nn.Sequential(*layers)
        self.maps = nn.ModuleDict({name: MapHead(W, config.maps) for name in MAPS})
        self.scores = nn.ModuleDict({name: ScoreHead(W, config.scores) for name in SCORES})

    def forward(
        self, pictures: Tensor, tokens: Tensor, target: Tensor | None = None, ask: Sequence[str] = OUTPUTS
    ) -> Outputs:
        x = self.body(F.relu(self.stem(2 * pictures - 1)))
        maps = {name: head(x) for name, head in self.maps.items() if name in ask}
        return Outputs(maps, {name: head(x) for name, head in self.scores.items() if name in ask}, None)


class Conv(nn.Module):
    """A residual block of one convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv(F.relu(self.norm(x)))
        return result


class TwoTowers(nn.Module):
    """The rival that sees and reads, but never both at once: a vector of the picture, one of the prompt, and scores from the
    two and their cosine (the part of the paper's fine-tuned CLIP). Its map of misalignment is where the picture would have to
    change for the cosine to rise: `gradient_map`."""

    decoder = None

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.vocabulary = config, Vocabulary(config.vocabulary, config.longest)
        plain = replace(config, variant="multi-head", fusion_layers=0)
        self.trunk = Trunk(plain, self.vocabulary.size)
        self.text = nn.ModuleList(Block(config.width, config.heads) for _ in range(2))
        W = config.width
        self.dense = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(2 * W + 1, W), nn.ReLU(), nn.Linear(W, 1)) for name in SCORES}
        )

    def cosine(self, pictures: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, width) of the picture, (B, width) of the prompt, and their cosine (B,)."""
        a = F.normalize(self.trunk.see(pictures).mean(1), dim=-1)
        x, there = self.trunk.embedding(tokens) + self.trunk.positions[: tokens.shape[1]], tokens != PAD
        b = F.normalize((together(self.text, x, there) * there[..., None]).sum(1), dim=-1)
        return a, b, (a * b).sum(-1)

    def forward(
        self, pictures: Tensor, tokens: Tensor, target: Tensor | None = None, ask: Sequence[str] = OUTPUTS
    ) -> Outputs:
        a, b, cosine = self.cosine(pictures, tokens)
        x = torch.cat([a, b, cosine[:, None]], -1)
        return Outputs({}, {name: head(x)[:, 0] for name, head in self.dense.items() if name in ask}, None)

    def gradient_map(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """|d alignment / d pixel|, averaged over patches and scaled to 0..1: (B, H, W)."""
        pictures = pictures.detach().requires_grad_()
        with torch.enable_grad():
            alignment = self(pictures, tokens, ask=("alignment",)).scores["alignment"].sum()
            (slope,) = torch.autograd.grad(alignment, pictures)
        cells = F.avg_pool2d(slope.abs().sum(1, keepdim=True), self.config.patch)
        found = F.interpolate(cells, slope.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        return found / found.amax((1, 2), keepdim=True).clamp_min(1e-12)
