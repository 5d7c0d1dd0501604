"""Scores."""

import numpy as np
import pytest
import torch

from bestpapers.lab.images import psnr, ssim, to_8bit
from bestpapers.splatting import evaluate
from bestpapers.splatting.data import Camera, make_dataset
from bestpapers.splatting.model import GaussianConfig, Gaussians


def make(seed):
    return make_dataset("wheel", "thin", 16, n_points=60, n_train=4, n_test=2, seed=seed, test_sizes=(16, 8))


def test_scores_are_means_over_views():
    data = make(0)
    model = Gaussians.from_points(data.points, data.colors, GaussianConfig("ewa"))
    table = evaluate.evaluate(model, data.test)
    assert list(table) == [16, 8]
    with torch.no_grad():
        images = model.render(data.test[8].cameras).colors
    pairs = [(to_8bit(a), to_8bit(b)) for a, b in zip(images, data.test[8].images, strict=True)]
    for name, score in (("psnr", psnr), ("ssim", ssim)):
        want = torch.stack([score(a, b) for a, b in pairs]).mean().item()
        assert table[8][name] == pytest.approx(want, abs=1e-4)


def test_narrow_axes_are_those_of_the_splats_as_stored():
    """A round splat of 0.1 units at depth 4 under f = 40 px is 1 px wide; a flat one seen edge on, as narrow as it is flat; one
    far below a pixel counts too."""
    f64 = dict(dtype=torch.float64)
    parameters = dict(
        means=torch.tensor([[0, 0, 4.0], [0, 0, 4.0], [0, 0, -4.0], [0, 0, 4.0]], **f64),
        quats=torch.tensor([[1.0, 0, 0, 0]] * 4, **f64),
        log_scales=torch.tensor([[0.1, 0.1, 0.1], [0.3, 0.02, 0.3], [1, 1, 1], [0.01, 0.01, 0.01]], **f64).log(),
        opacity_logits=torch.zeros(4, **f64),
        sh_dc=torch.zeros(4, 1, 3, **f64),
        sh_rest=torch.zeros(4, 0, 3, **f64),
    )
    K = np.array([[40.0, 0, 16], [0, 40, 16], [0, 0, 1]])
    camera = Camera(np.eye(4), K, 32, 32)
    model = Gaussians(parameters, GaussianConfig("mip"), torch.full((4,), 0.5, **f64))  # a filter that must not count
    np.testing.assert_allclose(evaluate.narrow_axes(model, [camera, camera]), [1.0, 0.2, 0.1] * 2, rtol=1e-6)
