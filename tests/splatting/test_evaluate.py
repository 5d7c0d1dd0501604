"""Scores."""

import pytest
import torch

from bestpapers.lab.images import psnr, to_8bit
from bestpapers.splatting import evaluate
from bestpapers.splatting.data import make_dataset
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
    want = torch.stack([psnr(to_8bit(a), to_8bit(b)) for a, b in zip(images, data.test[8].images, strict=True)]).mean()
    assert table[8]["psnr"] == pytest.approx(want.item(), abs=1e-4)
