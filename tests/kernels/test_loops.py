"""What the compiled loops of all ops share."""

import numpy as np
from numba import njit

from bestpapers.kernels.loops import FAR, exp_neg


@njit
def _exp_neg_of(s, out):
    for k in range(len(s)):
        out[k] = exp_neg(s[k])


def test_exponential():
    """Over its whole range, both ends included. Measured: 6.1e-7 relative up to 6, 3.9e-6 up to 80."""
    s = np.linspace(0, FAR, 1_000_003, dtype=np.float32)
    out = np.empty_like(s)
    _exp_neg_of(s, out)
    want = np.exp(-s.astype(np.float64))
    error = abs(out - want) / want
    assert error[s <= 6].max() < 7e-7
    assert error.max() < 4e-6
    assert out[0] == 1
