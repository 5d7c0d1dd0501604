"""Best Papers, Rebuilt: kernels, models and course tools behind the notebooks."""

__version__ = "0.1.0"
