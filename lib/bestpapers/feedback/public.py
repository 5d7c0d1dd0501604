"""RAHF on public weights: a ViT of timm that sees, and the encoder of a T5 of transformers in which picture and prompt fuse.

That is the paper's sort of trunk. Its own weights were trained before on pictures and texts that nobody else has; the
replication by its first author takes public ones, as here. A map head begins where the T5 ends, and the text decoder is ours
and untrained (the paper's is a T5's too). Needs the packages timm and transformers. Nothing is downloaded, and nothing is
unpickled: weights are read from safetensors files that you have.

    trunk = public.PublicTrunk.read(config, "vit_base_patch16_384", Path("vit.safetensors"), Path("t5-base"))
    model = RAHF(config, trunk)
    ...
    public.save(model, Path("mine.safetensors"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..lab.files import FormatError, parse_json, read_file
from ..lab.tensors import read_model, read_tensors
from .model import OUTPUTS, PAD, RAHF, Config

T5 = (  # what decides the shape of a T5, of its config.json
    "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "feed_forward_proj", "layer_norm_epsilon",
    "relative_attention_num_buckets", "relative_attention_max_distance",
)  # fmt: skip
OWN = ([0], [1], [2])  # T5's numbers of padding, end and unknown, the first three of a `Vocabulary`
LARGEST = 16 << 20  # bytes of a configuration or a tokenizer


class PublicTrunk(nn.Module):
    """In the place of `model.Trunk`, untrained; `read` fills it. A word of the prompt is one token, the mean of its pieces, so
    that labels of words have their place (ours). In the augmented variant a learned token names the output (ours; the paper
    writes it into the prompt).

    config  its size and patch are those of the ViT, its width is the T5's
    image   what `timm.create_model` takes: model_name, and more if you like
    text    a T5's configuration, by names of `T5`
    pieces  for each word of `config.vocabulary` its numbers in the T5's table
    """

    pieces: Tensor  # (vocabulary, most pieces of a word) int64, -1 behind the last
    mean: Tensor  # of the pictures that the ViT knows, (3, 1, 1)
    std: Tensor

    def __init__(
        self, config: Config, image: Mapping[str, Any], text: Mapping[str, Any], pieces: Sequence[Sequence[int]]
    ) -> None:
        import timm
        from transformers import T5Config, T5EncoderModel

        super().__init__()
        self.about: dict[str, Any] = dict(
            image=dict(image), text=dict(text), pieces=[list(numbers) for numbers in pieces]
        )
        self.image = cast(Any, timm.create_model(**image, pretrained=False, img_size=config.size, num_classes=0))
        self.text = cast(Any, T5EncoderModel(T5Config(**text)))
        self.grid, self.width = config.size // config.patch, int(text["d_model"])
        if self.image.patch_embed.grid_size != (self.grid, self.grid) or config.width != self.width:
            has = f"{self.image.patch_embed.grid_size} patches and a T5 of width {self.width}"
            raise ValueError(
                f"PublicTrunk: config wants {self.grid} x {self.grid} patches, width {config.width}; {has}"
            )
        table = [*OWN, *self.about["pieces"]]
        if len(pieces) != len(config.vocabulary) or not all(
            numbers and 0 <= min(numbers) <= max(numbers) < text["vocab_size"] for numbers in table
        ):
            raise ValueError("PublicTrunk: pieces must be numbers in the T5's table, one or more for each word")
        longest = max(map(len, table))
        padded = torch.tensor([[*numbers, *[-1] * (longest - len(numbers))] for numbers in table])
        self.register_buffer("pieces", padded, persistent=False)
        self.join = nn.Linear(self.image.num_features, self.width)
        self.instructions = nn.Embedding(len(OUTPUTS), self.width) if config.variant == "augmented" else None
        for name in ("mean", "std"):
            value = torch.tensor(self.image.pretrained_cfg[name])[:, None, None]
            self.register_buffer(name, value, persistent=False)

    def see(self, pictures: Tensor) -> Tensor:
        """As `Trunk.see`. The ViT's own token of the whole picture is left out."""
        tokens = self.image.forward_features((pictures - self.mean) / self.std)
        seen: Tensor = self.join(tokens[:, self.image.num_prefix_tokens :])
        return seen

    def fuse(self, seen: Tensor, tokens: Tensor, wanted: str) -> tuple[Tensor, Tensor]:
        """As `Trunk.fuse`."""
        pieces = self.pieces[tokens]
        real = pieces >= 0
        found = self.text.get_input_embeddings()(pieces.clamp(min=0)) * real[..., None]
        x = torch.cat([seen, found.sum(2) / real.sum(2, keepdim=True)], 1)
        there = torch.cat([tokens.new_ones(seen.shape[:2], dtype=torch.bool), tokens != PAD], 1)
        if self.instructions is not None:
            x = torch.cat([x, self.instructions.weight[OUTPUTS.index(wanted)].expand(len(x), 1, -1)], 1)
            there = F.pad(there, (0, 1), value=True)
        return self.text(inputs_embeds=x, attention_mask=there.long()).last_hidden_state, there

    @classmethod
    def read(cls, config: Config, name: str, image: Path, text: Path) -> PublicTrunk:
        """With the weights of others.

        name   of a ViT in timm
        image  its weights, .safetensors. Positions of another picture size are resampled
        text   a folder with a T5's config.json, tokenizer.json and model.safetensors

        Raises:
            FormatError: a file is missing, damaged, or of another model.
        """
        from timm.models.vision_transformer import checkpoint_filter_fn
        from tokenizers import Tokenizer

        given = parse_json(read_file(text / "config.json", LARGEST), text / "config.json", dict)
        lacking = [key for key in T5[:6] if key not in given]
        if lacking:
            raise FormatError(text / "config.json", lacking[0], "a T5's configuration", "nothing of that name")
        words = read_file(text / "tokenizer.json", LARGEST)
        try:
            tokenizer = Tokenizer.from_buffer(words)
            pieces = [tokenizer.encode(word, add_special_tokens=False).ids for word in config.vocabulary]
        except Exception as error:  # whatever its parser raises
            raise FormatError(text / "tokenizer.json", "file", "a tokenizer", str(error)[:200]) from error
        trunk = cls(config, dict(model_name=name), {key: given[key] for key in T5 if key in given}, pieces)
        tensors, _ = read_tensors(image)
        _fill(trunk.image, image, lambda: checkpoint_filter_fn(tensors, trunk.image))
        known, _ = read_tensors(text / "model.safetensors")
        _fill(trunk.text, text / "model.safetensors", lambda: known, "encoder.embed_tokens.weight")  # it is "shared"
        return trunk


def _fill(module: nn.Module, path: Path, tensors: Any, tied: str = "") -> None:
    """Load what a function gives; what it has beyond the module (a classifier, a decoder) is left out."""
    try:
        lacking = module.load_state_dict(tensors(), strict=False).missing_keys
    except (KeyError, RuntimeError) as error:  # shapes
        raise FormatError(path, "tensors", "weights of this model", " ".join(str(error).split())[:200]) from error
    if set(lacking) - {tied}:
        raise FormatError(path, "tensors", "weights of this model", f"no {min(set(lacking) - {tied})}")


def save(model: RAHF, path: Path, **about: Any) -> None:
    """As `RAHF.save`, for a model with a `PublicTrunk`."""
    model.save(path, trunk=model.trunk.about, **about)


def load(path: Path) -> RAHF:
    """Raises FormatError if the file is none of `save`."""

    def build(header: dict[str, Any], _: dict[str, Tensor]) -> RAHF:
        config = RAHF.configured(header)
        return RAHF(config, PublicTrunk(config, **header["trunk"]))

    return read_model(path, build)
