"""Write mount.js to _static/, and the widgets' ES modules to _static/esm/, where it imports them from.

On the site mount.js hands out `mount`, so that live.js can bring a figure to life that came later.
"""

from pathlib import Path

from bestpapers.course.widgets import modules
from bestpapers.course.widgets.base import MOUNT


def setup(app):
    app.connect("builder-inited", copy_mount)
    app.connect("build-finished", write_modules)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def copy_mount(app):
    if app.builder.format == "html":  # before the pages are written: Sphinx puts a hash of the file into its address
        target = Path(app.outdir) / "_static"
        target.mkdir(parents=True, exist_ok=True)
        text = MOUNT.read_text(encoding="utf-8") + "\nexport { mount };\n"
        (target / MOUNT.name).write_text(text, encoding="utf-8")


def write_modules(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "esm"
    target.mkdir(parents=True, exist_ok=True)
    for name, text in modules().items():
        (target / name).write_text(text, encoding="utf-8")
