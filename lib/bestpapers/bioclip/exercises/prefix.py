r"""The prefix of two names

Two captions that begin alike go through the same states of a causal text encoder, as far as they agree. Measure it.

Count the tokens that two captions share at their beginning: the start token counts, padding does not. Then run both
through the transformer of the text encoder and return the largest difference between their states on these tokens.

`model` is a CLIP of open_clip. It has `token_embedding`, `positional_embedding` [L, W], `transformer(x, attn_mask=...)` on
`x` [B, L, W], and `attn_mask`, which is None for an encoder that looks both ways. `tokenizer(texts)` gives [B, L].
"""

from typing import Any

import torch

from ...course.checks import Checker, close, true
from ..model import Config, tiny
from ..taxa import taxa
from ..taxonomy import captions

LEVEL, MINUTES, DIFFICULTY = "challenge", 20, 2
HINT = r"""
`(tokens[0] != tokens[1]).nonzero()` finds where they part. If that is nowhere, they agree up to the end token, which is the
one with the largest number: `tokens.argmax(-1)`.
"""
NOTE = r"""
The difference is exactly 0, not nearly: the states are the same sums of the same numbers. Without the mask every token sees
the epithet, and no state agrees. This is an identity and no proof of use: the *embedding* is the state of the last token,
which sees all. [3_reproduce](3_reproduce.ipynb) asks whether the mask helps.
"""


@torch.no_grad()
def prefix(model: Any, tokenizer: Any, a: str, b: str) -> tuple[int, float]:
    """How far two captions agree, in tokens and in states.

    -> number of tokens that they share from the start on, largest absolute difference
    of their states on these
    """
    tokens = tokenizer([a, b])
    differ = (tokens[0] != tokens[1]).nonzero()
    shared = int(differ[0]) if len(differ) else int(tokens[0].argmax()) + 1
    x = model.token_embedding(tokens) + model.positional_embedding
    states = model.transformer(x, attn_mask=model.attn_mask)
    return shared, (states[0, :shared] - states[1, :shared]).abs().max().item()


check = Checker("5.3")


def _clip(causal: bool = True) -> tuple[Any, Any]:
    from open_clip import SimpleTokenizer

    config = Config(image_size=8, image_layers=1, image_width=32, text_width=32, embed_dim=8, causal=causal)
    return tiny(config, seed=0).eval(), SimpleTokenizer(context_length=config.context_length)


def _caption(name: str, kind: str = "taxon") -> str:
    return captions(next(taxon for taxon in taxa() if taxon.name == name))[kind]


LION, TIGER, FLY_AGARIC = (_caption(name) for name in ("Panthera leo", "Panthera tigris", "Amanita muscaria"))


@check.property("lion and tiger share 17 tokens, an animal and a fungus 4")
def _(answer):
    close(answer(*_clip(), LION, TIGER)[0], 17, hint="the start token counts")
    close(answer(*_clip(), LION, FLY_AGARIC)[0], 4)


@check.property("equal captions agree up to the end token, and padding is not counted")
def _(answer):
    model, tokenizer = _clip()
    close(answer(model, tokenizer, LION, LION)[0], int(tokenizer([LION]).argmax()) + 1)


@check.property("under a causal mask the states on the prefix are the same")
def _(answer):
    for other in (TIGER, FLY_AGARIC):
        found = answer(*_clip(), LION, other)[1]
        true(0 <= found < 1e-5, "a difference below 0.00001", found, hint="give the transformer the model's mask")


@check.property("an encoder that looks both ways has other states, and the largest difference is told")
def _(answer):
    model, tokenizer = _clip(causal=False)
    for other in (TIGER, FLY_AGARIC):
        close(answer(model, tokenizer, LION, other)[1], prefix(model, tokenizer, LION, other)[1], rtol=1e-3)
