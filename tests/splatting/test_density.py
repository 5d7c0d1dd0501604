"""Density control: who is cloned, split and pruned, and what happens to Adam's averages."""

import math

import pytest
import torch

from bestpapers.splatting.data import make_dataset
from bestpapers.splatting.density import DensityConfig, DensityControl
from bestpapers.splatting.filters import METHODS
from bestpapers.splatting.model import GaussianConfig, Gaussians
from bestpapers.splatting.train import TrainConfig, Trainer


def control(n=6, method="3dgs", **settings):
    """n Gaussians, small but for every second one, each Adam average holding its row's number."""
    points = torch.arange(n * 3.0).reshape(n, 3)
    model = Gaussians.from_points(points, torch.full((n, 3), 0.5), GaussianConfig(method))
    with torch.no_grad():
        model.log_scales[:] = math.log(1e-3)
        model.log_scales[1::2] = math.log(0.05)
        model.opacity_logits[:] = 0.0
    optimizer = torch.optim.Adam([dict(params=[p], name=name) for name, p in model.named_parameters()])
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for group in optimizer.param_groups:
        state, p = optimizer.state[group["params"][0]], group["params"][0]
        state["exp_avg"][:] = torch.arange(n, dtype=p.dtype).reshape(n, *[1] * (p.dim() - 1))
    return DensityControl(model, optimizer, 1.0, DensityConfig(**settings))


def test_clone_split_and_their_moments():
    c = control()
    before = {k: p.detach().clone() for k, p in c.model.named_parameters()}
    c.seen[:] = 2
    c.gradient[:2] = 1.0  # Gaussian 0 is small: cloned; Gaussian 1 is large: split
    counts = c.densify(600, torch.Generator().manual_seed(0))
    assert counts == dict(cloned=1, split=1, pruned=0)
    model = c.model
    assert len(model) == 6 + 1 + 2 - 1
    kept = [0, 2, 3, 4, 5]
    for name, p in model.named_parameters():
        torch.testing.assert_close(p[:5], before[name][kept])
        moment = c.optimizer.state[p]["exp_avg"]
        assert moment.shape == p.shape
        assert moment[:5].reshape(5, -1).eq(torch.tensor(kept)[:, None]).all()
        assert not moment[5:].any()
        if name != "means" and name != "log_scales":
            torch.testing.assert_close(p[6:], before[name][[1, 1]])
    torch.testing.assert_close(model.means[5], before["means"][0])  # the clone
    torch.testing.assert_close(model.log_scales[6:].exp(), before["log_scales"][[1, 1]].exp() / 1.6)
    assert ((model.means[6:] - before["means"][1]).abs() < 5 * 0.05).all()
    assert not c.gradient.any()
    assert len(c.gradient) == len(model) == len(model.phi)


def test_who_pulls_enough_is_told_by_the_mean_gradient():
    """At the limit and above, below it not; over the views that saw the Gaussian, and one that nobody saw does not pull."""
    c = control(gradient=0.25)
    c.seen[:] = torch.tensor([1.0, 1, 2, 4, 4, 0])
    c.gradient[:] = torch.tensor([0.25, 0.24, 0.48, 1.0, 3.0, 0])
    counts = c.densify(600, torch.Generator().manual_seed(0))
    assert counts == dict(cloned=2, split=1, pruned=0)  # 0 and 4, which are small, and 3
    torch.testing.assert_close(c.model.means[5:7, 0], torch.tensor([0.0, 12.0]))


def test_children_are_drawn_from_their_parent():
    c = control(n=4)
    with torch.no_grad():
        c.model.log_scales[1] = torch.tensor([0.5, 0.1, 0.02]).log()
        c.model.quats[1] = torch.tensor([math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)])  # x becomes y
    c.model.log_scales.data = c.model.log_scales.data[[1] * 4]
    c.model.quats.data = c.model.quats.data[[1] * 4]
    c.model.means.data.zero_()
    offsets = []
    for seed in range(300):
        d = control(n=4)
        for name, p in c.model.named_parameters():
            getattr(d.model, name).data = p.data.clone()
        d.seen[:], d.gradient[:] = 1, 1
        d.densify(600, torch.Generator().manual_seed(seed))
        offsets.append(d.model.means.detach())
    std = torch.cat(offsets).std(0)
    torch.testing.assert_close(std, torch.tensor([0.1, 0.5, 0.02]), rtol=0.07, atol=0)


def test_prune():
    c = control()
    with torch.no_grad():
        c.model.opacity_logits[0] = torch.logit(torch.tensor(0.004))
        c.model.log_scales[1] = math.log(0.2)
    assert c.densify(3000, torch.Generator())["pruned"] == 1  # huge ones only after the first opacity reset
    assert c.densify(3100, torch.Generator())["pruned"] == 1
    assert len(c.model) == 4


@pytest.mark.parametrize(("huge", "left"), [(range(5), 1), (range(6), 6)])
def test_pruning_stops_before_nothing_is_left(huge, left):
    c = control(least=0.1)
    with torch.no_grad():
        c.model.log_scales[list(huge)] = math.log(0.2)
    assert c.densify(3100, torch.Generator())["pruned"] == 6 - left
    assert (len(c.model), c.spared) == (left, int(left == 6))


def test_the_limit_takes_the_strongest():
    c = control(max_gaussians=8)
    c.seen[:] = 1
    c.gradient[:] = torch.tensor([3, 1, 5, 1, 4, 1.0])
    counts = c.densify(600, torch.Generator())
    assert counts["cloned"] + counts["split"] == 2
    assert len(c.model) == 8
    torch.testing.assert_close(c.model.means[-2:, 0].sort().values, torch.tensor([6.0, 12.0]))


@pytest.mark.parametrize("method", ["3dgs", "mip"])
def test_opacity_reset_acts_on_what_is_drawn(method):
    c = control(method=method)
    c.model.phi[:] = torch.tensor([0, 1e-4, 1e-3, 2e-3, 5e-3, 1e-2])
    with torch.no_grad():
        c.model.opacity_logits[:] = torch.tensor([3.0, 3, 3, 3, -3, -6])
        _, before = c.model.scales_opacities()
        state = c.optimizer.state[c.model.opacity_logits]
        state["exp_avg_sq"].fill_(1.0)
        c.reset_opacities()
        _, after = c.model.scales_opacities()
    torch.testing.assert_close(after, before.clamp(max=0.01), rtol=1e-5, atol=1e-8)
    assert not state["exp_avg"].any()
    assert not state["exp_avg_sq"].any()


def test_opacity_reset_keeps_logits_finite():
    c = control(method="mip")
    c.model.phi[:] = 1e3  # the filter leaves next to nothing of any splat
    with torch.no_grad():
        c.model.opacity_logits[:] = 50.0  # an opacity that rounds to 1
        c.reset_opacities()
    assert c.model.opacity_logits.isfinite().all()


def test_schedule():
    c = control()
    assert [i for i in range(20_001) if c.due(i)] == list(range(600, 15_000, 100))
    assert [i for i in range(20_001) if c.reset_due(i)] == [0, 3000, 6000, 9000, 12_000]
    assert [i for i in range(1, 3000) if c.reset_due(i, white_background=True)] == [500]


def test_the_statistic_is_a_mean_over_the_views_that_see_it():
    c = control(n=4)
    means2d = torch.zeros(2, 4, 2, requires_grad=True)
    means2d.grad = torch.tensor([[[3e-3, 4e-3]] * 4, [[0.0, 1e-3]] * 4])
    radii = torch.ones(2, 4, 2, dtype=torch.int32)
    radii[1, 0] = 0
    c.observe(dict(means2d=means2d, radii=radii), 200, 100)
    near = math.hypot(3e-3 * 100, 4e-3 * 50)
    torch.testing.assert_close(c.gradient / c.seen, torch.tensor([near, *[(near + 0.05) / 2] * 3]))


@pytest.mark.parametrize("method", METHODS)
def test_training_with_density_control(method):
    """Every arm survives densifying and pruning, and more Gaussians fit better."""
    data = make_dataset("wheel", "thin", 24, n_points=120, n_train=6, test_sizes=(24,))
    density = DensityConfig(start=20, every=20, stop=110, gradient=1e-4)  # too short a run to recover from a reset
    finals = {}
    for name, setting in (("with", density), ("without", None)):
        model = Gaussians.from_points(data.points, data.colors, GaussianConfig(method))
        trainer = Trainer(model, data.train, TrainConfig(iterations=200, density=setting))
        trainer.run(quiet=True)
        assert all(p.isfinite().all() for p in model.parameters())
        finals[name] = (len(model), sum(row["loss"] for row in trainer.history[-2:]))
    assert finals["with"][0] > finals["without"][0] == 120
    assert finals["with"][1] < finals["without"][1]
