"""Interactive figures of the Rich Human Feedback wing."""

from .damage import Damage
from .sandbox import Sandbox
from .steps import Steps
from .threshold import Threshold

__all__ = ["Damage", "Sandbox", "Steps", "Threshold"]
