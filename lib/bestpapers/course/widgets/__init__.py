"""Interactive figures that live both in JupyterLab and on the published page, where no kernel runs."""

from .base import Widget, modules
from .strip import Strip

__all__ = ["Strip", "Widget", "modules"]
