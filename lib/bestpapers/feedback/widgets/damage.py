"""A picture to damage: the reader erases or paints over a part, or changes the prompt, and the model answers at once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from ...course.widgets import Widget
from ..model import RAHF
from ..scenes import COLOURS, KINDS
from ..worlds import COUNTS, PLURALS, RELATIONS, TIMES, Caption, Example, empty
from .packed import packed

TABLE = {  # what each part of a caption can say; nouns twice, for one thing and for more
    "count": list(COUNTS),
    "colour": list(COLOURS),
    "kind": list(KINDS),
    "kinds": [PLURALS[kind] for kind in KINDS],
    "relation": list(RELATIONS.values()),
    "time": list(TIMES.values()),
}


def phrases(caption: Caption) -> list[list[Any]]:
    """A caption as [part, place in TABLE[part]], in the order of its prompt; "kind" is "kinds" after a count above one."""
    found: list[list[Any]] = []
    for n, group in enumerate(caption.groups):
        if n:
            found.append(["relation", list(RELATIONS).index(caption.relation)])
        found += [["count", group.count - 1], ["colour", list(COLOURS).index(group.colour)]]
        found.append(["kind", list(KINDS).index(group.kind)])
    return [*found, ["time", list(TIMES).index(caption.board)]]


class Damage(Widget):
    """A picture that one can paint on, its prompt, and beside them the two maps, the four scores and the marked words of a
    model that runs in the page.

    model     multi-head, with the small trunk (`packed` says what it refuses); its decoder is left out, the words are those of
              the head for single words
    examples  pictures of the model's size, of the world
    scene     which of them is shown, from 0; it follows the reader
    caption   plain text under the figure

    Raises:
        ValueError: no picture, or one of another size; a model that the page does not run.
        traitlets.TraitError: a scene out of range.
    """

    module = Path(__file__).with_name("damage.js")

    config = traitlets.Dict().tag(sync=True)
    tensors = traitlets.List(traitlets.Any()).tag(sync=True)  # [[name, shape]]
    weights = traitlets.Bytes().tag(sync=True)  # float16, one tensor after the other
    pictures = traitlets.Bytes().tag(sync=True)  # [S, size, size, 3] uint8
    boards = traitlets.Bytes().tag(sync=True)  # the same without things: what comes out when one erases
    phrases = traitlets.List(traitlets.Any()).tag(sync=True)  # [S] of [[part, place in the table]]
    titles = traitlets.List(traitlets.Unicode()).tag(sync=True)  # [S]
    table = traitlets.Dict(read_only=True).tag(sync=True)
    paints = traitlets.List(traitlets.Any(), read_only=True).tag(sync=True)  # of the colours, [r, g, b], 0..255
    scene = traitlets.Int(0).tag(sync=True)
    caption = traitlets.Unicode(
        "Erase a leg, paint the cat blue, or ask for something else. The model computes in this page. Heatmaps: grey is "
        "nothing wrong, bright is wrong. Scores: 0 to 1, high is good; the thin line is where they were before you began."
    ).tag(sync=True)

    def __init__(self, model: RAHF, examples: Sequence[Example], **kwargs: Any) -> None:
        config, tensors, weights = packed(model)
        size = config["size"]
        if not examples or any(e.picture.shape != (size, size, 3) for e in examples):
            raise ValueError(f"Damage: needs pictures of {size} x {size} pixels, at least one")
        super().__init__(
            config=config,
            tensors=tensors,
            weights=weights,
            pictures=np.stack([e.picture for e in examples]).tobytes(),
            boards=np.stack([empty(e.layout.board, size) for e in examples]).tobytes(),
            phrases=[phrases(e.caption) for e in examples],
            titles=[e.caption.prompt for e in examples],
            **kwargs,
        )

    @traitlets.default("table")
    def _table(self) -> dict[str, list[str]]:
        return TABLE

    @traitlets.default("paints")
    def _paints(self) -> list[list[int]]:
        return [[round(255 * x) for x in colour] for colour in COLOURS.values()]

    @traitlets.validate("scene")
    def _one_of_the_scenes(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.titles):
            raise traitlets.TraitError(f"scene must be 0 to {len(self.titles) - 1}, got {proposal['value']}")
        return int(proposal["value"])

    def describe(self) -> str:
        return (
            "A picture that one can paint on, and what a model of human feedback says of it at once: a heatmap of what is "
            "implausible, a heatmap of what does not fit the prompt, four scores, and the words that the picture does not "
            f"honour. Each part of the prompt can be changed. Now: “{self.titles[self.scene]}”."
        )

    def still(self) -> list[tuple[bytes, str]]:
        size = self.config["size"]
        picture = np.frombuffer(self.pictures, np.uint8).reshape(-1, size, size, 3)[self.scene]
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
        return [(buffer.getvalue(), f"Picture for “{self.titles[self.scene]}”.")]
