"""Adding up in parallel: first wrong, then right. Runs as it stands: python book/_examples/race.py"""

import numpy as np
from numba import get_num_threads, njit, prange


# [wrong]
@njit(parallel=True)
def count_wrong(bins, out):
    for i in prange(len(bins)):
        b = bins[i]
        out[b] = out[b] + 1  # read, add, write: another thread may write in between, and its count is lost


# [right]
@njit(parallel=True)
def count_right(bins, out, chunks):
    partial = np.zeros((chunks, len(out)), np.int64)  # a row of its own for each chunk
    for c in prange(chunks):
        for i in range(c * len(bins) // chunks, (c + 1) * len(bins) // chunks):
            partial[c, bins[i]] += 1
    out[:] = partial.sum(0)  # in a fixed order, whatever the threads did


# [end]
if __name__ == "__main__":
    bins = np.random.default_rng(0).integers(0, 4, 4_000_000)
    wrong, right = np.zeros(4, np.int64), np.zeros(4, np.int64)
    count_wrong(bins, wrong)
    count_right(bins, right, 16)
    assert (right == np.bincount(bins)).all()
    print(
        f"{get_num_threads()} threads. Wrong: {1 - wrong.sum() / len(bins):.0%} of the counts are lost this time. Right: none."
    )
