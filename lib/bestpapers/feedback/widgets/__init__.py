"""Interactive figures of the Rich Human Feedback wing."""

from .damage import Damage
from .sandbox import Sandbox

__all__ = ["Damage", "Sandbox"]
