"""A small text-to-image generator in the manner of Muse and MaskGIT, so that there is somebody to give feedback to.

    picture -> Tokenizer -> a grid of code numbers -> Tokenizer.decode -> picture
    prompt, and a grid in which some codes are masked -> MaskedTransformer -> for each masked place, how likely each code is

Drawing begins with a grid that is masked all over, and uncovers it in a few steps: all masked places are drawn at once, the
draws of which the network is surest stay, the others are masked again (Chang et al. 2022). To paint a part of a picture anew,
mask that part only (the paper does so with Muse). What is masked is the only thing that may change.

The paper improves Muse, with billions of parameters and weights that are not public. This one has a million, and makes mistakes
of its own: chewed shapes, a limb too many, a thing that was asked for and is not there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..lab.nn import Block
from ..lab.tensors import Kept
from .model import PAD, Vocabulary, as_batch, as_pictures, together

DROPOUT = 0.1  # share of training prompts that are left out, so that guidance has something to lead away from
ALIKE = 0.99  # cosine above which two codes are one


@dataclass(frozen=True)
class Config:
    """The size of tokenizer and transformer."""

    size: int = 64  # pixels along a side
    down: int = 8  # pixels along the side of a token
    codes: int = 1024
    code: int = 16  # numbers of a code
    hidden: int = 256  # width of the tokenizer
    width: int = 128
    heads: int = 4
    layers: int = 6
    longest: int = 24  # words of a prompt
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size % self.down or self.width % self.heads or self.codes < 2:
            raise ValueError("Config: needs size a multiple of down, width of heads, two codes or more")

    @property
    def grid(self) -> int:
        """Tokens along a side."""
        return self.size // self.down


# ------------------------------------------------------------------------------------------------------------- the tokenizer


class Tokenizer(nn.Module):
    """A picture as a grid of code numbers (VQ-VAE, van den Oord et al. 2017). Codes are means of what falls to them, kept up as
    averages over batches; one that nothing falls to is put where a picture of the batch is. Lengths play no part: a code is a
    direction. What no code can say, no generator above it can paint: `3_reproduce` measures that ceiling.

    A code speaks of its own square of pixels and of nothing around it, as the patches of a ViT: in our world, whose pictures
    are made of some hundred different squares, more would only make the codes many."""

    codebook: Tensor  # (codes, code), of length 1
    counts: Tensor  # (codes,) how much has fallen to each of late

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        W, pixels = config.hidden, 3 * config.down**2
        self.encoder = nn.Sequential(nn.Linear(pixels, W), _Residual(W), _Residual(W), nn.Linear(W, config.code))
        self.decoder = nn.Sequential(nn.Linear(config.code, W), _Residual(W), _Residual(W), nn.Linear(W, pixels))
        self.register_buffer("codebook", F.normalize(torch.randn(config.codes, config.code), dim=1))
        self.register_buffer("counts", torch.zeros(config.codes))  # so that the first batch places all of them

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, g, g, code), of length 1."""
        squares = F.pixel_unshuffle(2 * pictures - 1, self.config.down).permute(0, 2, 3, 1)
        return F.normalize(self.encoder(squares), dim=-1)

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> code numbers (B, g, g) int64."""
        return (self.features(pictures) @ self.codebook.T).argmax(-1)

    def paint(self, codes: Tensor) -> Tensor:
        """Codes as vectors (B, g, g, code) -> pictures (B, 3, H, W), not cut to 0..1."""
        return F.pixel_shuffle(self.decoder(codes).permute(0, 3, 1, 2), self.config.down) / 2 + 0.5

    def decode(self, numbers: Tensor) -> Tensor:
        """Code numbers (B, g, g) -> pictures (B, 3, H, W) in 0..1."""
        return self.paint(self.codebook[numbers]).clamp(0, 1)

    def loss(self, pictures: Tensor, generator: torch.Generator | None = None, keep: float = 0.98) -> Tensor:
        """How far the pictures come back off, and how far features lie from their codes; moves the codes on the way. The
        generator says where idle codes are put."""
        z = self.features(pictures)
        numbers = (z @ self.codebook.T).argmax(-1)
        if self.training:
            self._move(z.detach().flatten(0, 2), numbers.flatten(), generator, keep)
        codes = self.codebook[numbers]
        back = self.paint(z + (codes - z).detach())  # the gradient goes past the choice of code, as if it were none
        return (back - pictures).abs().mean() + 0.5 * (z - codes).square().sum(-1).mean()

    @torch.no_grad()
    def _move(self, z: Tensor, numbers: Tensor, generator: torch.Generator | None, keep: float) -> None:
        count = torch.bincount(numbers, minlength=len(self.codebook)).to(z)
        total = torch.zeros_like(self.codebook).index_add_(0, numbers, z)
        self.counts.lerp_(count, 1 - keep)
        moved = self.codebook * keep * len(z) / len(self.codebook) + total
        self.codebook.copy_(torch.where(count[:, None] > 0, F.normalize(moved, dim=1), self.codebook))
        idle = self.counts < 0.02 * len(z) / len(self.codebook)
        if idle.any():
            chosen = torch.randint(len(z), (int(idle.sum()),), generator=generator).to(z.device)
            self.codebook[idle] = z[chosen]
            self.counts[idle] = len(z) / len(self.codebook)

    @torch.no_grad()
    def settle(self) -> Self:
        """Make the numbers of pictures sure, in place, before anything learns from them: weights become those that a file keeps
        (float16), and of codes that are `ALIKE` only the one that is used most stays, the others become 0 and are no picture's.
        Else a rounding decides between two codes that look the same. Tried without: out of its file, a tokenizer gave three of
        four places of a picture other numbers, pictures all the same; but to the transformer they were noise, and what it
        painted into a hole did not fit what was around it."""
        self.half().float()
        used = self.counts.argsort(descending=True, stable=True)
        alike = self.codebook[used] @ self.codebook[used].T > ALIKE
        self.codebook[used[alike.tril(-1).any(1)]] = 0
        return self


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.inner(x)
        return result


# ----------------------------------------------------------------------------------------------------------- the transformer


def masked_share(u: Tensor) -> Tensor:
    """How much of a grid to mask, for u drawn from 0..1: cos(pi u / 2), so mostly much (MaskGIT). Its mean is 2 / pi."""
    return torch.cos(math.pi / 2 * u)


def left_masked(total: int, step: int, steps: int) -> int:
    """How many of `total` tokens are still masked after `step` of `steps`: the same cosine, down to 0 at the last."""
    return math.floor(total * math.cos(math.pi / 2 * step / steps)) if step < steps else 0


class Placed(nn.Module):
    """Tokens of a grid and words, which know where they are, in one stack of attention."""

    words: nn.Embedding

    def build(self, config: Config) -> None:
        W, g = config.width, config.grid
        # Positions as loud as what they are added to. At a usual 0.02 beside 1 the network is nearly blind to place.
        self.rows, self.columns = (nn.Parameter(0.5 * torch.randn(g, W)) for _ in range(2))
        self.places = nn.Parameter(0.5 * torch.randn(config.longest, W))
        self.blocks = nn.ModuleList(Block(W, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(W)

    def mixed(self, tokens: Tensor, words: Tensor, time: Tensor | None = None) -> Tensor:
        """tokens (B, n, width), row by row; words (B, L), all PAD for no prompt; time (B, width), added to all of them ->
        (B, n, width)."""
        B, n, _ = tokens.shape
        grid = (self.rows[:, None] + self.columns[None]).flatten(0, 1)
        x = torch.cat([tokens + grid, self.words(words) + self.places[: words.shape[1]]], 1)
        x = x if time is None else x + time[:, None]
        there = torch.cat([words.new_ones(B, n, dtype=torch.bool), words != PAD], 1)
        result: Tensor = self.norm(together(self.blocks, x, there)[:, :n])
        return result


class MaskedTransformer(Placed):
    """Codes and words -> logits of codes at each place. The number `codes` stands for the mask."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = Vocabulary(config.vocabulary, config.longest)
        W = config.width
        self.codes = nn.Embedding(config.codes + 1, W)
        self.words = nn.Embedding(self.vocabulary.size, W)
        self.build(config)
        self.out = nn.Linear(W, config.codes)
        for embedding in (self.codes, self.words):
            nn.init.normal_(embedding.weight, std=0.5)

    def forward(self, numbers: Tensor, words: Tensor) -> Tensor:
        """numbers (B, n) int64, row by row, `codes` where masked; words (B, L), all PAD for no prompt -> (B, n, codes)."""
        result: Tensor = self.out(self.mixed(self.codes(numbers), words))
        return result

    def loss(self, numbers: Tensor, words: Tensor, generator: torch.Generator, never: Tensor | None = None) -> Tensor:
        """Cross-entropy at masked places, and at no others: a network that is also paid for what it can see learns to copy.

        MaskGIT's code smooths the labels by a tenth, we do not: a tenth of what the last step draws, which nothing draws
        again, would be any code, and with codes of whole squares that is a wrong square in most pictures.

        never  bool (B, n): places that are always masked and carry no loss, such as those that a heatmap calls faulty
        """
        B, n = numbers.shape
        share = masked_share(torch.rand(B, 1, generator=generator)).to(numbers.device)
        order = torch.rand(B, n, generator=generator).to(numbers.device).argsort(1).argsort(1)
        masked = order < (share * n).round().clamp(min=1)
        drop = torch.rand(B, 1, generator=generator).to(numbers.device) < DROPOUT
        hidden = masked if never is None else masked | never
        logits = self(numbers.masked_fill(hidden, self.config.codes), words.masked_fill(drop, PAD))
        learn = masked if never is None else masked & ~never
        total = F.cross_entropy(logits[learn], numbers[learn], reduction="sum")
        return total / learn.sum().clamp(min=1)  # 0, not nan, where nothing is left to learn from

    def guided(self, numbers: Tensor, words: Tensor, guidance: float) -> Tensor:
        """Log-probabilities (B, n, codes), led away from what the network would draw without a prompt: l0 + s (l - l0)."""
        if guidance == 1:
            return self(numbers, words).log_softmax(-1)
        both = self(torch.cat([numbers, numbers]), torch.cat([words, torch.full_like(words, PAD)]))
        asked, free = both.log_softmax(-1).chunk(2)
        return (free + guidance * (asked - free)).log_softmax(-1)


@dataclass(frozen=True)
class Step:
    """What one step of drawing did, for those who want to watch."""

    numbers: Tensor  # (B, n) the grid after it, `codes` where masked
    sure: Tensor  # (B, n) probability of what was drawn; of places that were settled before: 1


@torch.no_grad()
def draw(
    model: MaskedTransformer, words: Tensor, generator: torch.Generator, *, steps: int = 12, guidance: float = 2.0,
    temperature: float = 1.0, noise: float = 1.0, start: Tensor | None = None, history: list[Step] | None = None,
) -> Tensor:  # fmt: skip
    """Code numbers (B, n) for prompts (B, L), in parallel steps.

    In step i all masked places are drawn; their confidence is the log-probability of what was drawn, and some noise, the less
    the later: temperature (1 - i / steps) Gumbel. The surest stay; as many are masked again as `left_masked` says.

    noise    of what is drawn: 1 draws from the distribution, less draws likelier codes, 0 the likeliest
    start    a grid (B, n) with `codes` where something is to be drawn; the rest stays to the bit. None: all of it
    history  gets a `Step` for each step
    """
    mask, n = model.config.codes, model.config.grid**2
    numbers = words.new_full((len(words), n), mask) if start is None else start.clone()
    at_first = (numbers == mask).sum(1)
    for step in range(1, steps + 1):
        masked = numbers == mask
        if not masked.any():
            break
        logp = model.guided(numbers, words, guidance)
        uniform = torch.rand(logp.shape, generator=generator).to(logp).clamp(1e-9, 1 - 1e-7)
        drawn = (logp - noise * (-uniform.log()).log()).argmax(-1)  # the Gumbel trick: a draw from the distribution
        sure = logp.gather(-1, drawn[..., None])[..., 0]
        uniform = torch.rand(sure.shape, generator=generator).to(sure).clamp(1e-9, 1 - 1e-7)
        confidence = sure + temperature * (1 - step / steps) * -(-uniform.log()).log()
        confidence = confidence.masked_fill(~masked, torch.inf)
        numbers = torch.where(masked, drawn, numbers)
        rank = confidence.argsort(1).argsort(1)  # the least sure first
        again = torch.tensor([left_masked(int(total), step, steps) for total in at_first], device=numbers.device)
        again = torch.minimum(again, (masked.sum(1) - 1).clamp(min=0))  # each step settles one place at least
        numbers = numbers.masked_fill((rank < again[:, None]) & masked, mask)
        if history is not None:
            history.append(Step(numbers.clone(), torch.where(masked, sure.exp(), 1.0)))
    return numbers


def token_mask(pixels: Tensor, grid: int, dilate: int = 0) -> Tensor:
    """Which tokens of a grid a mask of pixels touches: bool (B, H, W) -> bool (B, grid grid). The mask is first made wider by
    `dilate` pixels on all sides. A token counts if any pixel of it does: a thin fault must not slip between tokens."""
    wide = F.max_pool2d(pixels[:, None].float(), 2 * dilate + 1, 1, dilate)
    return F.max_pool2d(wide, pixels.shape[-1] // grid)[:, 0].flatten(1) > 0


class Generator(Kept):
    """Tokenizer and transformer: prompts -> pictures."""

    CONFIG = Config

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.tokenizer, self.transformer = Tokenizer(config), MaskedTransformer(config)

    @torch.no_grad()
    def numbers(self, pictures: NDArray[np.uint8], batch: int = 256) -> Tensor:
        """Pictures (B, H, W, 3) -> code numbers (B, n)."""
        parts = [self.tokenizer.encode(as_batch(pictures[i : i + batch])) for i in range(0, len(pictures), batch)]
        return torch.cat(parts).flatten(1)

    @torch.no_grad()
    def pictures(self, numbers: Tensor, batch: int = 256) -> NDArray[np.uint8]:
        """Code numbers (B, n) -> pictures (B, H, W, 3)."""
        g = self.config.grid
        parts = [self.tokenizer.decode(part.view(-1, g, g)) for part in numbers.split(batch)]
        return as_pictures(torch.cat(parts))

    def draw(self, prompts: Sequence[str], seed: int = 0, batch: int = 64, **how: Any) -> NDArray[np.uint8]:
        """Pictures (B, H, W, 3) for prompts. how: as `draw` takes it. The same seed gives a prompt another picture at another
        place of the list."""
        return self.pictures(self.drawn(prompts, seed, batch, **how))

    def drawn(self, prompts: Sequence[str], seed: int = 0, batch: int = 64, **how: Any) -> Tensor:
        """The same as code numbers (B, n)."""
        generator = torch.Generator().manual_seed(seed)
        words = self.transformer.vocabulary(prompts)
        return torch.cat([draw(self.transformer, part, generator, **how) for part in words.split(batch)])

    def repaint(
        self, pictures: NDArray[np.uint8], prompts: Sequence[str], masks: NDArray[np.bool_], seed: int = 0, dilate: int = 0,
        **how: Any,
    ) -> tuple[NDArray[np.uint8], Tensor]:  # fmt: skip
        """Paint anew what lies under masks (B, H, W): pictures, and their code numbers (B, n). Outside of the masked *tokens*
        the numbers stay, and so do the pixels, to the byte: a decoder looks around and knows codes only, so that what it
        makes of the rest is not quite the picture, and is left out (ours)."""
        numbers = self.numbers(pictures)
        hidden = token_mask(torch.from_numpy(masks), self.config.grid, dilate)
        start = numbers.masked_fill(hidden, self.config.codes)
        words = self.transformer.vocabulary(prompts)
        done = draw(self.transformer, words, torch.Generator().manual_seed(seed), start=start, **how)
        g = self.config.grid
        own = hidden.view(-1, g, g).repeat_interleave(self.config.down, 1).repeat_interleave(self.config.down, 2)
        return np.where(own.numpy()[..., None], self.pictures(done), pictures), done
