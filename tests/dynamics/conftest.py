import numba
import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Pictures this small are slower on several threads, and far slower on a busy machine."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])
