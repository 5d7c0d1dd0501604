"""The Frechet distance of sets of features."""

import numpy as np
import pytest
import torch

from bestpapers.lab.stats import frechet


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_distance_of_a_set_to_itself_is_0():
    a = normal(50, 5)
    assert frechet(a, a) < 1e-9
    assert frechet(a, a[torch.randperm(50, generator=torch.Generator().manual_seed(0))]) < 1e-9


def test_equal_covariances_leave_the_means():
    a = normal(50, 5)
    shift = torch.tensor([1.0, 0.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    assert frechet(a, a + shift) == pytest.approx(5.25, rel=1e-6)


def test_it_is_symmetric_and_knows_axes():
    a, b = normal(200, 3), normal(100, 3, 1) @ torch.diag(torch.tensor([2.0, 1.0, 0.5]).double()) + 0.3
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-6)
    c = (a - a.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(a.T))).T  # covariance 1 exactly
    scales = torch.tensor([2.0, 1.0, 0.5]).double()
    assert frechet(c, c * scales) == pytest.approx(1.0 + 0.0 + 0.25, rel=1e-6)  # (2-1)^2 + 0 + (1-.5)^2


def test_it_agrees_with_the_matrix_square_root_of_others():
    from scipy.linalg import sqrtm

    a, b = normal(30, 4), normal(40, 4, 2) @ normal(4, 4, 3) + 1
    C, D = np.cov(a.numpy().T), np.cov(b.numpy().T)
    want = float(((a.mean(0) - b.mean(0)) ** 2).sum()) + np.trace(C + D - 2 * sqrtm(C @ D).real)
    assert frechet(a, b) == pytest.approx(want, rel=1e-6)


def test_bad_sets():
    with pytest.raises(ValueError, match="two rows"):
        frechet(normal(1, 3), normal(5, 3))
    with pytest.raises(ValueError, match="two rows"):
        frechet(normal(5, 3), normal(5, 4))
