"""Interactive figures of the Rich Human Feedback wing."""

from .damage import Damage
from .sandbox import Sandbox
from .threshold import Threshold

__all__ = ["Damage", "Sandbox", "Threshold"]
