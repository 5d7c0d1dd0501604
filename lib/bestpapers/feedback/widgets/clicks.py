"""Click to annotate: the reader marks a picture, and then sees what a panel of three says of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from ...course.widgets import Widget
from ..panel import Panel, annotate
from ..record import MAPS, SCORES, Record


class Clicks(Widget):
    """A picture to mark as an annotator does: places, words, four answers; beside it the answers of a simulated panel.

    records  pictures of one size with the truth as their feedback
    panel    that answers; picture n has its own draws, of [seed, n]
    scene    which picture, from 0; it follows the reader, whose marks stay in the page

    Raises:
        ValueError: no picture, a record without one, sizes that differ, or a truth without both maps and all scores.
        traitlets.TraitError: a scene out of range.
    """

    module = Path(__file__).with_name("clicks.js")

    size = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W]
    radius = traitlets.Float().tag(sync=True)  # of a disc, pixels
    asked = traitlets.Dict(read_only=True).tag(sync=True)
    pictures = traitlets.Bytes().tag(sync=True)  # [S, H, W, 3] uint8
    prompts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    answers = traitlets.List(traitlets.Any()).tag(
        sync=True
    )  # [S] {points: {map: [person][p] of [x, y]}, likert, misaligned: [person]}
    scene = traitlets.Int(0).tag(sync=True)
    caption = traitlets.Unicode(
        "Mark each place that looks wrong, then each that does not show what the prompt asks for, then words and answers, and "
        "only then look at the panel. Three people do not agree either."
    ).tag(sync=True)

    def __init__(self, records: Sequence[Record], panel: Panel | None = None, *, seed: int = 0, **kwargs: Any) -> None:
        panel = panel or Panel()
        pictures = [r.picture for r in records if r.picture is not None]
        if not records or len(pictures) < len(records) or len({p.shape for p in pictures}) > 1:
            raise ValueError("Clicks: wants records with pictures of one size, at least one")
        if any(set(r.feedback.maps) != set(MAPS) or set(r.feedback.scores) != set(SCORES) for r in records):
            raise ValueError(f"Clicks: wants truths with both maps and all scores: {', '.join((*MAPS, *SCORES))}")
        answers = []
        for n, record in enumerate(records):
            people = annotate(record.feedback, panel, np.random.default_rng([seed, n]))
            answers.append(
                dict(
                    points={name: [np.float64(a.points[name]).round(2).tolist() for a in people] for name in MAPS},
                    likert=[[a.likert[name] for name in SCORES] for a in people],
                    misaligned=[a.misaligned.tolist() for a in people],
                )
            )
        super().__init__(
            size=list(pictures[0].shape[:2]),
            radius=panel.radius * pictures[0].shape[0],
            pictures=np.stack(pictures).tobytes(),
            prompts=[record.prompt for record in records],
            answers=answers,
            **kwargs,
        )

    @traitlets.default("asked")
    def _asked(self) -> dict[str, list[str]]:
        return {"maps": list(MAPS), "scores": list(SCORES)}

    @traitlets.validate("scene")
    def _one_of_the_scenes(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.prompts):
            raise traitlets.TraitError(f"scene must be 0 to {len(self.prompts) - 1}, got {proposal['value']}")
        return int(proposal["value"])

    def describe(self) -> str:
        return (
            "A picture to annotate: clicks mark places of implausibility or misalignment, buttons mark words, lists give four "
            "answers. Then a simulated panel of three shows its heatmap, words and answers beside them. Now: "
            f"“{self.prompts[self.scene]}”."
        )

    def still(self) -> list[tuple[bytes, str]]:
        picture = np.frombuffer(self.pictures, np.uint8).reshape(-1, *self.size, 3)[self.scene]
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
        return [(buffer.getvalue(), f"Picture for “{self.prompts[self.scene]}”.")]
