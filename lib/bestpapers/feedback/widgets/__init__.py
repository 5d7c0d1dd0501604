"""Interactive figures of the Rich Human Feedback wing."""

from .damage import Damage

__all__ = ["Damage"]
