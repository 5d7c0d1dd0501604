"""Interactive figures of the BioCLIP wing."""

from .explorer import Explorer
from .worlds import Worlds

__all__ = ["Explorer", "Worlds"]
