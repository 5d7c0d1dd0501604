"""A live figure of a wing on another page: the directive `live` shows what a notebook has stored, so that it cannot drift.

    ```{live} splatting
    :cell: idea-strip-show
    :traits: {"frame": 0}
    :later:
    :play:
    Words under the figure, in Markdown.
    ```

The figure is the widget that the named cell of notebooks/<wing>/1_idea.ipynb shows; without `:cell:` the first one of the
notebook; with `:traits:` it begins at another position. Nothing is computed: mount.js brings the stored state to life, as on
the notebook's own page. With `:later:` the state lies in a file of its own, which live.js fetches when a reader comes near;
until then the page shows what the figure shows without script. With `:play:` its slider goes through its positions once. A
wing, a cell, a widget or a trait that is not there is a warning, and the build fails on warnings.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

WIDGET = '<div class="nbwidget"'
STATE = re.compile(r'data-state="([^"]*)"')


def setup(app):
    app.add_directive("live", Live)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class Live(SphinxDirective):
    required_arguments = 1  # the wing
    has_content = True
    option_spec = {  # noqa: RUF012
        "cell": directives.unchanged,
        "traits": json.loads,
        "later": directives.flag,
        "play": directives.flag,
    }

    def run(self):
        notebook = Path(self.env.srcdir) / "notebooks" / self.arguments[0] / "1_idea.ipynb"
        self.env.note_dependency(str(notebook))
        try:
            found = begin(widget(notebook, self.options.get("cell")), self.options.get("traits", {}))
        except LookupError as e:
            return [self.state.document.reporter.warning(f"live: {e}", line=self.lineno)]
        if "later" in self.options and self.env.app.builder.format == "html":
            found, name, state = later(found, "../" * self.env.docname.count("/"))
            path = Path(self.env.app.outdir) / "_static" / "live" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(state, encoding="utf-8")
        plays = ["plays"] if "play" in self.options else []
        block = nodes.container(classes=["live", f"wing-{self.arguments[0]}", *plays])
        block += nodes.raw("", found, format="html")
        self.state.nested_parse(self.content, self.content_offset, block)
        return [block]


def widget(notebook: Path, cell_id: str | None = None) -> str:
    """Return the stored HTML of a widget: that of the cell `cell_id`, or the first one of the notebook.

    Raises:
        LookupError: there is no such notebook, cell, or widget among its outputs.
    """
    name = "/".join(notebook.parts[-3:])
    if not notebook.is_file():
        raise LookupError(f"there is no {name}")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    wanted = [cell for cell in cells if cell_id in (None, cell.get("id"))]
    if not wanted:
        raise LookupError(f'{name} has no cell "{cell_id}"')
    for cell in wanted:
        for output in cell.get("outputs", []):
            if (text := "".join(output.get("data", {}).get("text/html", ""))).startswith(WIDGET):
                return text
    raise LookupError(f"{name}: no widget is stored in " + (f'the cell "{cell_id}"' if cell_id else "any of its cells"))


def begin(twin: str, traits: dict[str, object]) -> str:
    """Return the widget's HTML with other values of some traits in its state."""
    if not traits:
        return twin
    state = json.loads(html.unescape(STATE.search(twin)[1]))
    if unknown := sorted(traits.keys() - state.keys()):
        raise LookupError(f"the widget has no trait {', '.join(unknown)}; it has {', '.join(sorted(state))}")
    changed = json.dumps(state | traits, ensure_ascii=False, sort_keys=True)
    return STATE.sub(lambda _: f'data-state="{html.escape(changed)}"', twin, count=1)


def later(twin: str, up: str) -> tuple[str, str, str]:
    """Return the widget's HTML without its state, the name of the file that holds the state, and the state.

    up  the way from the page to the site's folder
    """
    state = html.unescape(STATE.search(twin)[1])
    name = f"{hashlib.sha256(state.encode()).hexdigest()[:16]}.json"
    bare = STATE.sub(lambda _: f'data-from="{up}_static/live/{name}"', twin, count=1)
    return bare.replace(WIDGET, '<div class="nbwidget-later"', 1), name, state
