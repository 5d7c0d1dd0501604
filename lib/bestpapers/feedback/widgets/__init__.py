"""Interactive figures of the Rich Human Feedback wing."""

from .clicks import Clicks
from .damage import Damage
from .sandbox import Sandbox
from .steps import Steps
from .threshold import Threshold

__all__ = ["Clicks", "Damage", "Sandbox", "Steps", "Threshold"]
