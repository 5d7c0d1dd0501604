"""Cells that only draw or record (tag hide-input, set by scripts/execute.py): the figure first, its code folded below it."""

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.transforms.post_transforms import SphinxPostTransform


def setup(app):
    app.add_post_transform(FigureFirst)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class FigureFirst(SphinxPostTransform):
    default_priority = 200  # MyST-NB folds the code at 199
    formats = ("html",)

    def run(self, **kwargs):
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("hide_mode") != "input" or not isinstance(cell.children[0], HideCodeCellNode):
                continue
            code, *rest = cell.children
            cell.children = [*rest, code]
            drawn = any(any(node.findall(nodes.image)) or "nbwidget" in node.astext() for node in rest)
            what = "the plotting code" if drawn else "the code"
            code["prompt_show"], code["prompt_hide"] = f"Show {what}", f"Hide {what}"
            code["classes"] = ["below-output"]
