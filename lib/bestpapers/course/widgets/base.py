"""The base of all widgets: one ES module, mounted by anywidget in JupyterLab and by mount.js on the page."""

from __future__ import annotations

import base64
import html
import json
import math
from pathlib import Path
from typing import Any

import anywidget

from ..display import required_text
from .join import joined

PACKAGE = Path(__file__).resolve().parents[2]
MOUNT = Path(__file__).with_name("mount.js")

# Widget.page is one file: its widget may do nothing but compute, and no request leaves it, whatever the module tries
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; worker-src blob:; style-src 'unsafe-inline'; img-src data:"
)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 1rem auto; padding: 0 1rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
{twin}
<script type="application/json" id="{name}">{module}</script>
<script type="module">
{mount}</script>
</body>
</html>
"""


def modules() -> dict[str, str]:
    """Return the ES modules of all widgets, file name -> joined text: the site serves them in one folder.

    A file lib/bestpapers/*/widgets/*.js with an `export default` is the module of a widget; the others are parts of such.

    Raises:
        ValueError: two of them have the same file name, or parts do not fit together.
    """
    found: dict[str, Path] = {}
    for path in sorted(PACKAGE.glob("*/widgets/*.js")):
        if "export default" not in path.read_text(encoding="utf-8"):
            continue
        if path.name in found:
            places = f"{found[path.name].parent} and {path.parent}"
            raise ValueError(f"two widget modules have one name, {path.name}: {places}")
        found[path.name] = path
    return {name: joined(path) for name, path in sorted(found.items())}


class Widget(anywidget.AnyWidget):
    """A figure that computes in the browser, from traits that Python has set.

    A subclass names its ES module, declares its traits with `.tag(sync=True)`, and says in words what it shows:

        class Wheel(Widget):
            module = Path(__file__).with_name("wheel.js")       # export default { render({ model, el }) }
            angle = traitlets.Float(0.0).tag(sync=True)

            def describe(self):
                return f"A wheel turned by {self.angle:g} degrees."

    The module may import parts of its own and course/widgets/dom.js (join.py makes one text of them), and must not load
    anything: it runs as a string in JupyterLab, and as a file on a page that asks no other host. It calls `model.get`,
    `model.set`, `model.save_changes`, `model.on` and `model.off` only, gets bytes as DataView, and may return a function that
    undoes its `model.on`. Python callbacks may add to what it does,
    but it must be whole without them.

    A displayed widget leaves three forms of itself in the notebook: the live view; `describe()` as text/plain, which print
    and nbval use; and a text/html twin that mount.js brings to life on the page. Until then, and where no script runs, the
    twin shows `still()`, pictures with their alternative texts, and the description.

    What the twin stores must be the same on every machine, and the last digits that a processor computes are not: numbers are
    rounded to `digits` significant ones, a list of numbers to those of its largest, so that rounding noise becomes 0. A trait
    that needs others says so: `.tag(sync=True, digits=3)`. Bytes that hold numbers computed at run time say of which type,
    so that tests compare them as numbers: `.tag(sync=True, floats="<f2")`.
    """

    module: Path
    digits = 6
    still_style = "image-rendering:pixelated;width:10em;margin:0.2em"  # CSS of the pictures of `still`

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "module" in cls.__dict__:
            if not cls.module.is_file():
                raise FileNotFoundError(f"{cls.__name__}.module: there is no file {cls.module}")
            cls._esm = joined(cls.module)
        super().__init_subclass__(**kwargs)

    def describe(self) -> str:
        """Say in words what the widget shows and what moving its controls does; the same words on each run."""
        raise NotImplementedError(f"{type(self).__name__} needs describe()")

    def still(self) -> list[tuple[bytes, str]]:
        """Return pictures (PNG, alternative text) for places where no script runs; by default none."""
        return []

    def state(self) -> dict[str, Any]:
        """Return the traits that the ES module reads, as JSON values, bytes as {"b64": text, "floats": type}."""
        traits, inherited = self.traits(sync=True), anywidget.AnyWidget.class_traits(sync=True)
        found = {}
        for name, trait in sorted(traits.items()):
            if name not in inherited and not name.startswith("_"):
                found[name] = _as_json(getattr(self, name), trait.metadata.get("digits", self.digits))
                if "floats" in trait.metadata:
                    found[name]["floats"] = trait.metadata["floats"]
        return found

    def page(self, title: str) -> str:
        """Return a page of HTML that holds the widget and all it needs, to be saved as one file: it asks no host."""
        bundle, _ = self._repr_mimebundle_()
        return PAGE.format(
            policy=POLICY,
            title=html.escape(required_text(title, "title", "a page needs a heading")),
            twin=bundle["text/html"],
            name=self.module.name,
            module=json.dumps(joined(self.module)).replace("<", r"\u003c"),  # no tag ends the script
            mount=MOUNT.read_text(encoding="utf-8"),
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        words = required_text(
            self.describe(), f"{type(self).__name__}.describe()", "say in words what the widget shows"
        )
        found: Any = super()._repr_mimebundle_(**kwargs)  # a bundle, or a bundle and its metadata, as versions have it
        bundle, metadata = found if isinstance(found, tuple) else (found, {})
        state = json.dumps(self.state(), ensure_ascii=False, allow_nan=False, sort_keys=True)
        twin = (
            f'<div class="nbwidget" data-module="{self.module.name}" data-state="{html.escape(state)}">'
            f"{''.join(_picture(*still, self.still_style) for still in self.still())}<p>{html.escape(words)}</p></div>"
        )
        return bundle | {"text/plain": words, "text/html": twin}, metadata


def _picture(png: bytes, alt: str, style: str) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    return f'<img src="{source}" alt="{html.escape(alt)}" style="{style}">'


def _as_json(value: Any, digits: int) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"b64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {str(key): _as_json(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        floats = [item for item in value if isinstance(item, float)]
        return [_rounded(item, digits, floats) if isinstance(item, float) else _as_json(item, digits) for item in value]
    return _rounded(value, digits, [value]) if isinstance(value, float) else value


def _rounded(value: float, digits: int, among: list[float]) -> float:
    """`value` in steps of the last of `digits` significant digits of the largest number that it stands among; never -0."""
    largest = max((abs(x) for x in among if math.isfinite(x)), default=0.0)
    if not largest or not math.isfinite(value):  # what is not finite, JSON refuses
        return value + 0.0
    return round(float(value), digits - 1 - math.floor(math.log10(largest))) + 0.0
