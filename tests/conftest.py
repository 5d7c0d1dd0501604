"""Settings of all tests: one BLAS thread (small tensors want no more), no progress bars, no window on the screen."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("BESTPAPERS_NO_PROGRESS", "1")
# so that asserts in these show their values, as in a test
pytest.register_assert_rewrite("tests.checkpoints", "tests.fuzz", "tests.pages", "tests.kernels.programs")
