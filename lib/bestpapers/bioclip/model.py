"""The models of the wing: a small CLIP in open_clip's classes, and classifiers on the same image tower.

A model is built by open_clip and saved as open_clip saves it. The forward passes here give the numbers of open_clip's own
`encode_image` and `encode_text` in about half the time, since a course trains while a class waits:

1. *Bytes to the first product.* Images stay uint8 until the product with the patch weights, which take the normalisation in.
2. *Short batches.* Captions are cut to the longest of the batch. A causal encoder pools at the end-of-text token, and no
   token sees those behind it, so the padding that goes has no say in the result.
3. *One token out.* The last block of a tower is computed for the one token that is pooled; the others are only keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..lab.nn import block, block_at, patches
from .taxonomy import TEXT_TYPES, Rank, captions

if TYPE_CHECKING:
    from open_clip.model import CLIP

    from .taxa import Taxon
    from .taxonomy import Lineage

    Tokenizer = Callable[[Sequence[str]], Tensor]  # texts -> tokens [B, context]

STOCK = 49_408  # pieces in CLIP's vocabulary
ARMS = (*TEXT_TYPES, "mixed", "mixed_bidirectional", "ce", "hce")  # what experiments compare
RANK_WEIGHTS = dict(ce=(0, 0, 0, 0, 0, 0, 1), hce=(1, 1, 1, 1, 1, 1, 1))  # of the losses from kingdom to species


@dataclass(frozen=True)
class Config:
    """The size of a model. Widths are multiples of `head_width`, image_size one of patch_size.

    causal: each token of a text sees itself and those before it, as in CLIP; False: all of them, padding too.
    context_length: 48 holds the longest caption of the 128 species (40 tokens) and leaves room for templates.
    """

    image_size: int = 32
    patch_size: int = 8
    image_layers: int = 3
    image_width: int = 64
    text_layers: int = 2
    text_width: int = 64
    head_width: int = 32
    embed_dim: int = 64
    context_length: int = 48
    causal: bool = True

    def __post_init__(self) -> None:
        for name in ("image_layers", "text_layers", "head_width", "patch_size", "embed_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"Config: {name} must be at least 1, got {getattr(self, name)}")
        for name, unit in (("image_width", "head_width"), ("text_width", "head_width"), ("image_size", "patch_size")):
            value, step = getattr(self, name), getattr(self, unit)
            if value < 1 or value % step:
                raise ValueError(f"Config: {name} must be a multiple of {unit} = {step}, got {value}")
        if self.context_length < 4:
            raise ValueError(f"Config: context_length must be at least 4, got {self.context_length}")

    def open_clip(self, vocabulary: int = STOCK) -> dict[str, Any]:
        """What open_clip_config.json holds for this model; see `formats.save_local`."""
        vision = dict(
            image_size=self.image_size,
            patch_size=self.patch_size,
            layers=self.image_layers,
            width=self.image_width,
            head_width=self.head_width,
        )
        text = dict(
            context_length=self.context_length,
            vocab_size=vocabulary,
            width=self.text_width,
            heads=self.text_width // self.head_width,
            layers=self.text_layers,
            no_causal_mask=not self.causal,
        )
        return dict(model_cfg=dict(embed_dim=self.embed_dim, vision_cfg=vision, text_cfg=text), preprocess_cfg=dict())


def tiny(config: Config, seed: int = 0, vocabulary: int = STOCK) -> CLIP:
    """A CLIP of open_clip with random weights that follow from the seed; its attribute `config` is the one given. Equal seeds
    give equal image towers, whatever the configuration says of texts."""
    from open_clip.model import CLIP

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**config.open_clip(vocabulary)["model_cfg"])
    model.config = config
    return model


class Classifier(nn.Module):
    """The image tower of `tiny` with a linear head per rank, and no text (paper, the ablation of objectives).

    labels   the different labels of the training photographs; a group of rank r is a full path from the kingdom down to r
    weights  w_r from kingdom to species; the loss is the sum over ranks of w_r CE_r, and a rank of weight 0 has no head.
             `RANK_WEIGHTS["ce"]` is plain cross-entropy, `RANK_WEIGHTS["hce"]` the hierarchical one.
    """

    targets: Tensor  # [ranks, labels] group of each label; -100 where it has no name at that rank

    def __init__(
        self, config: Config, labels: Sequence[Taxon], weights: Sequence[float] = RANK_WEIGHTS["hce"], seed: int = 0
    ) -> None:
        super().__init__()
        if len(weights) != len(Rank) or min(weights) < 0 or max(weights) <= 0:
            raise ValueError(f"Classifier: needs seven weights of at least 0, not all 0, got {tuple(weights)}")
        self.visual = tiny(config, seed, vocabulary=4).visual
        self.weights = {rank: float(weight) for rank, weight in zip(Rank, weights) if weight}
        self.groups: dict[Rank, list[Lineage]] = {}
        self.heads = nn.ModuleDict()
        targets = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for rank in self.weights:
                known = [label.path[: rank + 1] if label.path[rank] else None for label in labels]
                self.groups[rank] = [path for path in dict.fromkeys(known) if path]
                number = {path: i for i, path in enumerate(self.groups[rank])}
                targets.append([number[path] if path else -100 for path in known])
                self.heads[rank.get_label()] = nn.Linear(config.embed_dim, max(1, len(number)))
        self.register_buffer("targets", torch.tensor(targets), persistent=False)

    def loss(self, images: Tensor, labels: Tensor, batch: Tensor | None = None) -> Tensor:
        """Sum over ranks of w_r times the mean cross-entropy over those images that have a name at the rank.

        images [b, H, W, 3] uint8; labels [b]: numbers of their labels; batch [B]: the labels of the whole batch, where it is
        shared by B / b processes: then the mean of their losses is the loss of the whole.
        """
        features = image_features(self.visual, images)
        batch = labels if batch is None else batch
        total = features.new_zeros(())
        for targets, (rank, weight) in zip(self.targets, self.weights.items()):
            known = int((targets[batch] >= 0).sum())
            logits = self.heads[rank.get_label()](features)
            loss = F.cross_entropy(logits, targets[labels], reduction="sum") / max(1, known)
            total = total + weight * loss * (len(batch) / len(labels))
        return total


# ---------------------------------------------------------------------------------------------------------- vocabulary


@lru_cache
def _bpe(context_length: int) -> Tokenizer:
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=context_length)  # type: ignore[no-any-return]


class Vocabulary:
    """CLIP's tokenizer with only those pieces that some captions use, renumbered in their order: the end stays the largest.

    Pieces that never occur get no gradient, so training with or without them is the same; with all 49,408 a step takes 7 to
    15 % longer and a checkpoint 40 MB in place of 3. `expand` puts them back for whoever wants to type any label.
    """

    def __init__(self, texts: Iterable[str], context_length: int = 48) -> None:
        self.context_length = context_length
        self.ids = torch.unique(_bpe(context_length)(["", *texts]))  # sorted, with padding, start and end

    def __len__(self) -> int:
        return len(self.ids)

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """Texts -> tokens [B, context] int64. Raises ValueError for a text with pieces that the vocabulary lacks."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        stock = _bpe(self.context_length)(texts)
        tokens = torch.searchsorted(self.ids, stock).clamp(max=len(self) - 1)
        unknown = (self.ids[tokens] != stock).any(1)
        if unknown.any():
            bad = texts[int(unknown.nonzero()[0])]
            raise ValueError(f"Vocabulary: {bad!r:.200} has pieces that no caption of the training has")
        return tokens


def expand(model: CLIP, vocabulary: Vocabulary) -> CLIP:
    """The same model over the stock vocabulary, for saving and for any text; pieces that `vocabulary` lacks become zeros."""
    config: Config = model.config
    full = tiny(config)
    table = torch.zeros(STOCK, config.text_width)
    table[vocabulary.ids] = model.token_embedding.weight.detach().cpu()
    full.load_state_dict(model.state_dict() | {"token_embedding.weight": table})
    return full.eval()


def build(
    arm: str, config: Config, labels: Sequence[Taxon], table: Iterable[Taxon], seed: int = 0
) -> tuple[Any, Vocabulary | None]:
    """The untrained model of an arm, and its tokenizer (None for classifiers, which read nothing).

    labels  the different labels of the training photographs; table: all taxa whose captions the model will ever see

    All arms of one seed start with the same image tower, bit for bit.
    """
    if arm not in ARMS:
        raise ValueError(f"build: arm must be one of {', '.join(ARMS)}, got {arm!r}")
    if arm in RANK_WEIGHTS:
        return Classifier(config, labels, RANK_WEIGHTS[arm], seed), None
    vocabulary = Vocabulary((text for t in table for text in captions(t).values()), config.context_length)
    return tiny(replace(config, causal=arm != "mixed_bidirectional"), seed, len(vocabulary)), vocabulary


# ------------------------------------------------------------------------------------------------------ forward passes

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's CLIP, which open_clip assumes for a config that names none
STD = (0.26862954, 0.26130258, 0.27577711)


def image_features(visual: Any, images: Tensor) -> Tensor:
    """images [B, H, W, 3] uint8 -> [B, D]: what open_clip's `encode_image` makes of the normalised images."""
    weight = visual.conv1.weight  # [W, 3, p, p]
    B, width, side = len(images), len(weight), visual.image_size[0]
    if images.dtype != torch.uint8 or images.shape[1:] != (side, side, 3):
        raise ValueError(
            f"image_features: expected uint8 [B, {side}, {side}, 3], got {images.dtype} {list(images.shape)}"
        )
    # (pixel / 255 - mean) / std as part of the patch weights
    mean, std = weight.new_tensor([MEAN, STD])[:, None, :, None, None]
    scaled = weight / std
    kernel = (scaled / 255).permute(0, 2, 3, 1).reshape(width, -1)
    x = F.linear(patches(images, weight.shape[-1]).to(weight.dtype), kernel, -(scaled * mean).sum((1, 2, 3)))
    x = torch.cat([visual.class_embedding.expand(B, 1, width), x], dim=1) + visual.positional_embedding
    x = _tower(visual.transformer.resblocks, visual.ln_pre(x), x.new_zeros(B, dtype=torch.long), causal=False)
    return visual.ln_post(x) @ visual.proj


def text_features(model: Any, tokens: Tensor) -> Tensor:
    """tokens [B, L] -> [B, D]: what open_clip's `encode_text` makes of them, whatever padding follows."""
    end = tokens.argmax(-1)  # the end-of-text token has the largest number
    causal = model.attn_mask is not None
    if causal:
        tokens = tokens[:, : int(end.max()) + 1]
    x = F.embedding(tokens, model.token_embedding.weight) + model.positional_embedding[: tokens.shape[1]]
    x = _tower(model.transformer.resblocks, x, end, causal=causal)
    return model.ln_final(x) @ model.text_projection


def _tower(blocks: Sequence[Any], x: Tensor, at: Tensor, causal: bool) -> Tensor:
    """Transformer blocks of open_clip on x [B, L, W]; returns the token `at` [B] of each sequence: [B, W]."""
    *first, last = blocks
    for each in first:
        x = block(each, x, causal=causal)
    return block_at(last, x, at, causal=causal)


# ---------------------------------------------------------------------------------------------------------- embeddings


@torch.inference_mode()
def embed_images(model: Any, images: Tensor, batch: int = 256) -> Tensor:
    """images [N, H, W, 3] uint8 -> [N, D], rows of length 1. `model`: a CLIP of `tiny` or a `Classifier`."""
    device = model.visual.conv1.weight.device
    parts = [image_features(model.visual, part.to(device)) for part in images.split(batch)]
    return F.normalize(torch.cat(parts), dim=-1)


@torch.inference_mode()
def embed_texts(model: Any, tokenizer: Tokenizer, texts: Sequence[str], batch: int = 256) -> Tensor:
    """texts -> [N, D], rows of length 1. tokenizer: open_clip's, or the `Vocabulary` that the model was built with."""
    tokens = tokenizer(list(texts)).to(model.token_embedding.weight.device)
    return F.normalize(torch.cat([text_features(model, part) for part in tokens.split(batch)]), dim=-1)
