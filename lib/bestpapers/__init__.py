"""Best Papers, Rebuilt: kernels, models and course tools behind the notebooks."""

import os

__version__ = "0.1.0"

# torch and Numba have a pool of threads each. By default a thread that waits for work keeps its core busy for a while, which
# beside other programs makes everything several times slower (benchmarks/waiting.py). The pools read this when they are loaded,
# so it reaches those that are loaded after this line.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
