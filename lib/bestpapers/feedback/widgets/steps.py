"""The stepper of the masked decoding: which tokens are settled at which step, and what the picture looks like then."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets
from PIL import Image

from ...course.widgets import Widget
from ..generator import Generator, Step, draw


class Steps(Widget):
    """How one picture comes to be: a grid of tokens that is uncovered in steps.

    generator  that draws
    prompt     what it draws
    seed       of its draws
    step       which step is shown, from 1; it follows the reader
    how        `steps`, `guidance`, `temperature` and `start` (1, n) as `generator.draw` takes them

    A token says at which step it was settled; when that is now, how sure the network was of it, in per cent. What is not
    settled yet is painted grey.

    Raises:
        ValueError: nothing was masked, so there is no step.
        traitlets.TraitError: a step out of range.
    """

    module = Path(__file__).with_name("steps.js")

    size = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W]
    grid = traitlets.Int().tag(sync=True)
    count = traitlets.Int().tag(sync=True)  # of steps
    prompt = traitlets.Unicode().tag(sync=True)
    pictures = traitlets.Bytes().tag(sync=True)  # [count, H, W, 3] uint8
    settled = traitlets.Bytes().tag(sync=True)  # [n] uint8: the step that settled it, 0: given from the start
    sure = traitlets.Bytes().tag(sync=True)  # [count, n] uint8: probability of what was drawn, 255 is 1
    step = traitlets.Int(1).tag(sync=True)
    caption = traitlets.Unicode(
        "Go on with the buttons or the slider. All masked tokens are drawn at once; the draws of which the network is surest "
        "stay, the others are masked again. Few are settled at first, many at the end. A number on blue is the step that "
        "settled a token; on orange, how sure the network was of it, in per cent."
    ).tag(sync=True)

    def __init__(
        self, generator: Generator, prompt: str, *, seed: int = 0, how: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        history: list[Step] = []
        model, mask = generator.transformer, generator.config.codes
        draw(model, model.vocabulary([prompt]), torch.Generator().manual_seed(seed), history=history, **(how or {}))
        if not history:
            raise ValueError("Steps: nothing was masked, so nothing is drawn")
        numbers = torch.cat([step.numbers for step in history])  # (count, n)
        masked = numbers == mask
        given = (how or {}).get("start")
        settled = masked.sum(0) + 1
        if given is not None:
            settled = torch.where(given[0] == mask, settled, 0)
        pictures = generator.pictures(numbers.masked_fill(masked, 0))
        side = generator.config.down
        hidden = masked.view(-1, generator.config.grid, generator.config.grid).numpy().repeat(side, 1).repeat(side, 2)
        pictures[hidden] = 128
        sure = torch.cat([step.sure for step in history])
        super().__init__(
            size=list(pictures.shape[1:3]),
            grid=generator.config.grid,
            count=len(history),
            prompt=prompt,
            pictures=pictures.tobytes(),
            settled=settled.numpy().astype(np.uint8).tobytes(),
            sure=(255 * sure).round().numpy().astype(np.uint8).tobytes(),
            **kwargs,
        )

    @traitlets.validate("step")
    def _one_of_the_steps(self, proposal: Any) -> int:
        if not 1 <= proposal["value"] <= self.count:
            raise traitlets.TraitError(f"step must be 1 to {self.count}, got {proposal['value']}")
        return int(proposal["value"])

    def describe(self) -> str:
        return (
            f"A picture of “{self.prompt}” as the generator draws it in {self.count} steps, beside the grid of its tokens: "
            f"which are settled, which are settled now, which are masked. A slider and two buttons move on. "
            f"Now: step {self.step}."
        )

    def still(self) -> list[tuple[bytes, str]]:
        pictures = np.frombuffer(self.pictures, np.uint8).reshape(self.count, *self.size, 3)
        buffer = io.BytesIO()
        Image.fromarray(pictures[self.step - 1]).save(buffer, format="PNG", optimize=True)
        return [(buffer.getvalue(), f"“{self.prompt}” after step {self.step} of {self.count}.")]
