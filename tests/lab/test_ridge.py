"""The linear model on frozen features, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from bestpapers.lab.ridge import STRENGTHS, probe
from bestpapers.lab.saliency import plcc


def test_a_probe_is_ridge_regression():
    rng = np.random.default_rng(1)
    x, new = rng.normal(size=(60, 90)), rng.normal(size=(40, 90))
    y = np.clip(0.5 + 0.1 * x[:, 0] - 0.05 * x[:, 1] + 0.05 * rng.normal(size=60), 0, 1)
    centre, scale = x.mean(0), x.std(0)
    outside = RidgeCV(alphas=STRENGTHS).fit((x - centre) / scale, y)
    wanted = np.clip(outside.predict((new - centre) / scale), 0, 1)
    np.testing.assert_allclose(probe(x, y, new), wanted, atol=1e-6)


def test_a_probe_learns_more_from_more_labels():
    rng = np.random.default_rng(2)
    x, new, slope = rng.normal(size=(300, 40)), rng.normal(size=(500, 40)), rng.normal(size=40) / 40
    y, truth = (0.5 + some @ slope + 0.05 * rng.normal(size=len(some)) for some in (x, new))
    fit = [float(plcc(probe(x[:n], y[:n], new), truth)) for n in (20, 60, 300)]
    assert fit == sorted(fit)
    assert fit[-1] > 0.9
    with pytest.raises(ValueError, match="three labels at least"):
        probe(x[:2], y[:2], new)
    with pytest.raises(ValueError, match="probe: wants"):
        probe(x, y, new[:, :5])


def test_a_feature_that_never_changes_says_nothing():
    rng = np.random.default_rng(3)
    x, new, y = rng.normal(size=(30, 4)), rng.normal(size=(10, 4)), rng.random(30)
    dead = [np.column_stack([some, np.full(len(some), 7.0)]) for some in (x, new)]
    np.testing.assert_allclose(probe(dead[0], y, dead[1]), probe(x, y, new), atol=1e-9)
