"""Writes notebooks/dynamics/4_apply.ipynb of a worktree, without outputs: python nb4_make.py WORKTREE [--photograph]."""

import sys
from pathlib import Path

import nbformat

ROOT = Path(sys.argv[1])
# the section on one photograph needs the shipped animator: left out while there are no weights
PHOTOGRAPH = "--photograph" in sys.argv or (ROOT / "lib/bestpapers/dynamics/weights/animator.safetensors").is_file()

cells = []


def md(id, text):
    cells.append(nbformat.v4.new_markdown_cell(text.strip("\n"), id=id))


def code(id, text, tags=None, tolerance=None):
    meta = {}
    if tags:
        meta["tags"] = tags
    if tolerance:
        meta["bestpapers"] = {"tolerance": tolerance}
    cells.append(nbformat.v4.new_code_cell(text.strip("\n"), id=id, metadata=meta))


exec((Path(__file__).parent / "nb4_cells.py").read_text())

nb = nbformat.v4.new_notebook(cells=cells)
nb.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
nb.metadata["language_info"] = {"name": "python"}
out = ROOT / "notebooks/dynamics/4_apply.ipynb"
out.parent.mkdir(parents=True, exist_ok=True)
nbformat.write(nb, out)
