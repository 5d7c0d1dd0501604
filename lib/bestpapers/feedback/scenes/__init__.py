"""How the things and the boards of `bestpapers.feedback.worlds` look: `paint` paints, `things` and `boards` say what."""

from .boards import BOARDS, CELLS
from .things import KINDS

__all__ = ["BOARDS", "CELLS", "COLOURS", "KINDS"]

COLOURS = {
    "red": (0.86, 0.24, 0.22),
    "yellow": (0.97, 0.78, 0.22),
    "green": (0.33, 0.66, 0.30),
    "blue": (0.24, 0.49, 0.90),
    "purple": (0.62, 0.37, 0.78),
}
