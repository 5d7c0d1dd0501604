"""Gaussian rasterisation in plain torch: the definition that the fast backends are tested against.

Three functions, in the order in which a picture is made: `project` (3D Gaussians to 2D ellipses), `spherical_harmonics`
(colour seen from a direction) and `composite` (ellipses to pixels, nearest first). All are differentiable through autograd
and run in float32 or float64 on any device.

Shapes: N Gaussians, C cameras, H x W pixels, D channels.
"""

from .composite.reference import composite
from .harmonics.reference import spherical_harmonics
from .project.reference import project, rotation_matrices

__all__ = ["composite", "project", "rotation_matrices", "spherical_harmonics"]
