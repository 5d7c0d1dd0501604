"""Interactive figures of the Mip-Splatting wing."""

from .splat1d import Splat1D

__all__ = ["Splat1D"]
