"""Settings of all tests: one BLAS thread (small tensors want no more), no progress bars, no window on the screen."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("BESTPAPERS_NO_PROGRESS", "1")
pytest.register_assert_rewrite("tests.fuzz", "tests.pages", "tests.kernels.programs")  # as in a test, with the values
