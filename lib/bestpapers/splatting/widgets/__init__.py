"""Interactive figures of the Mip-Splatting wing."""

from .ellipse import Ellipse
from .filterplot import FilterPlot
from .splat1d import Splat1D
from .splatgrid import SplatGrid
from .viewer import Viewer

__all__ = ["Ellipse", "FilterPlot", "Splat1D", "SplatGrid", "Viewer"]
