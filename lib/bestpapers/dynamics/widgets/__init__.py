"""Interactive figures of the Generative Image Dynamics wing."""

from .pluck import Pluck

__all__ = ["Pluck"]
