"""A strip of precomputed pictures: several panels side by side, one slider."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import traitlets
from PIL import Image

from .. import plots
from ..display import required_text
from .base import Widget

LIMIT = 3_000_000  # bytes of PNG in one strip: a notebook stores them twice, as base64


class Strip(Widget):
    """Several panels side by side, each a series of pictures; one slider moves all of them.

    panels       title -> F pictures: arrays or tensors [H, W] or [H, W, 3], floats in [0, 1] or uint8, or PNG as bytes.
                 Sizes may differ from picture to picture; each is drawn in the same width, pixels as squares
    labels       [F] what each position of the slider is called: "1/8 x", "1/4 x", ...
    slider       what the slider changes: "zoom"
    caption      plain text under the panels
    description  what the strip shows, in words, for readers who do not see it
    readouts     title -> F lines, shown under that panel: "24.1 dB". Panels without readouts may be left out
    start        index of the position shown first

    The trait `frame` is the index shown; in a notebook it follows the slider.

    Raises:
        ValueError: lengths do not agree, a text is missing, a picture is none, or all PNGs together exceed 3 MB.
    """

    module = Path(__file__).with_name("strip.js")

    panels = traitlets.List(traitlets.Dict()).tag(sync=True)  # {title, frames: [PNG bytes], readouts: [str]}
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    slider = traitlets.Unicode().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        panels: Mapping[str, Sequence[Any]],
        labels: Sequence[str],
        *,
        slider: str,
        caption: str,
        description: str,
        readouts: Mapping[str, Sequence[str]] | None = None,
        start: int = 0,
    ) -> None:
        count, readouts = len(labels), dict(readouts or {})
        if not panels or not count:
            raise ValueError("a strip needs at least one panel and one label")
        if unknown := set(readouts) - set(panels):
            raise ValueError(f"readouts: no panel is called {', '.join(map(repr, sorted(unknown)))}")
        for what, series in [*panels.items(), *((f"readouts of {title}", lines) for title, lines in readouts.items())]:
            if len(series) != count:
                raise ValueError(f"{what}: want {count} entries, one for each label, got {len(series)}")
        if not 0 <= start < count:
            raise ValueError(f"start must be an index of labels, 0 to {count - 1}, got {start}")
        self._description = required_text(description, "description", "say in words what the strip shows")
        made = [
            {
                "title": title,
                "frames": [_png(picture, f"{title}, {label}") for picture, label in zip(pictures, labels)],
                "readouts": list(readouts.get(title, [])),
            }
            for title, pictures in panels.items()
        ]
        size = sum(len(png) for panel in made for png in panel["frames"])
        if size > LIMIT:
            amount = f"{size / 1e6:.1f} MB as PNG, the limit is {LIMIT / 1e6:g} MB"
            raise ValueError(f"the pictures take {amount}: use fewer or smaller ones")
        super().__init__(
            panels=made,
            labels=list(labels),
            slider=required_text(slider, "slider", "say what the slider changes, for example 'zoom'"),
            caption=required_text(caption, "caption", "a figure needs a line that says what to look at"),
            frame=start,
        )

    @traitlets.validate("frame")
    def _in_range(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.labels):
            raise traitlets.TraitError(
                f"frame must be an index of labels, 0 to {len(self.labels) - 1}, got {proposal['value']}"
            )
        return int(proposal["value"])

    def describe(self) -> str:
        here = "; ".join(
            f"{panel['title']}: {panel['readouts'][self.frame]}" for panel in self.panels if panel["readouts"]
        )
        positions = f"A slider sets the {self.slider}: {', '.join(self.labels)}."
        return f"{self._description} {positions}" + (f" At {self.labels[self.frame]}: {here}." if here else "")

    def still(self) -> list[tuple[bytes, str]]:
        return [
            (panel["frames"][self.frame], f"{panel['title']}, {self.slider} {self.labels[self.frame]}")
            for panel in self.panels
        ]


def _png(picture: Any, name: str) -> bytes:
    if isinstance(picture, bytes):
        if not picture.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError(f"{name}: the bytes are no PNG")
        return picture
    buffer = io.BytesIO()
    Image.fromarray(plots.as_bytes(picture, name)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
