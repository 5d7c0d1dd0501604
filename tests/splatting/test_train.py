"""The training loop: it learns, resumes exactly, and never leaves half a file."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from bestpapers.splatting import train
from bestpapers.splatting.data import Camera, Views, make_dataset
from bestpapers.splatting.density import DensityConfig
from bestpapers.splatting.evaluate import evaluate
from bestpapers.splatting.filters import smoothing_scale
from bestpapers.splatting.model import GaussianConfig, Gaussians
from bestpapers.splatting.train import TrainConfig, Trainer, loss_fn, scene_extent

CONFIG = TrainConfig(iterations=60, density=None, checkpoint_every=1000)


@pytest.fixture(scope="module")
def data():
    return make_dataset("wheel", "thin", 24, n_points=150, n_train=8, test_sizes=(24,), train_sizes=(24, 12, 6))


def trainer(data, config=CONFIG, checkpoint=None, method="mip", sh_degree=0):
    model = Gaussians.from_points(data.points, data.colors, GaussianConfig(method, sh_degree))
    return Trainer(model, data.train, config, checkpoint)


def test_it_learns(data):
    run = trainer(data, replace(CONFIG, iterations=200))
    before = evaluate(run.model, data.test)[24]["psnr"]
    rows = run.run(quiet=True)
    assert [row["iteration"] for row in rows] == [50, 100, 150, 200]
    assert evaluate(run.model, data.test)[24]["psnr"] > before + 5  # dB
    assert set(rows[0]) == {"iteration", "loss", "psnr", "count", "seconds"}


def test_a_step_says_which_view_it_drew(data):
    run = trainer(data, replace(CONFIG, full_share=1.0))
    for _ in range(10):
        _, _, truth = run.step()
        assert torch.equal(truth, data.train[24].images[run.view])


def test_a_resumed_run_equals_an_uninterrupted_one(data, tmp_path):
    """Bit for bit, with everything on: density control, opacity reset, colour by direction, several sizes."""
    density = DensityConfig(start=10, every=10, stop=50, reset_every=35, gradient=1e-4)
    config = TrainConfig(iterations=60, density=density, sh_every=15, filter_every=20)
    whole = trainer(data, config, sh_degree=1)
    whole.run(quiet=True)
    first = trainer(data, config, tmp_path / "run.safetensors", sh_degree=1)
    first.run(until=37, quiet=True)
    second = trainer(data, config, tmp_path / "run.safetensors", sh_degree=1)
    assert second.iteration == 37
    second.run(quiet=True)
    assert len(second.model) == len(whole.model) > 150
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    assert whole.history[-1]["loss"] == second.history[-1]["loss"]
    assert whole.queues == second.queues
    assert second.model.sh_active == 1


def test_photographs_of_several_sizes_as_bytes(data):
    """Upright and across in one capture, uint8: every step gets the float image of its own view."""
    bytes_ = (data.train[24].images * 255).round().to(torch.uint8)
    cameras, images = list(data.train[24].cameras), list(bytes_)
    for i in range(0, 8, 2):  # every other one loses its lowest six rows
        c = cameras[i]
        cameras[i], images[i] = Camera(c.viewmat, c.K, 24, 18), images[i][:18]
    views = Views(tuple(cameras), tuple(images))
    model = Gaussians.from_points(data.points, data.colors, GaussianConfig("mip"))
    run = Trainer(model, {24: views}, replace(CONFIG, iterations=200))
    before = evaluate(model, {24: views})[24]["psnr"]
    shapes = {tuple(run.step()[2].shape) for _ in range(8)}
    assert shapes == {(24, 24, 3), (18, 24, 3)}
    run.run(quiet=True)
    assert evaluate(model, {24: views})[24]["psnr"] > before + 5
    torch.testing.assert_close(views.image(1), bytes_[1] / 255)


def test_masked_pixels_carry_no_loss(data):
    """Whatever stands there, training and scores are the same to the last bit; all masked, nothing is learned."""
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[:, 10:] = True
    models, scores = [], []
    for value in (0.0, 1.0):
        images = torch.where(mask[..., None], data.train[24].images, value)
        views = Views(data.train[24].cameras, images, (mask,) * 7 + (None,))
        model = Gaussians.from_points(data.points, data.colors, GaussianConfig("mip"))
        run = Trainer(model, {24: views}, replace(CONFIG, iterations=5))
        run.queues[0][:] = [1, 3, 0, 2, 6]  # not the last view, which has no mask
        run.run(quiet=True)
        models.append(model)
        masked = Views(views.cameras[:7], images[:7], (mask,) * 7)
        scores.append(evaluate(model, {24: masked})[24])
    for (name, a), (_, b) in zip(*(m.named_parameters() for m in models), strict=True):
        assert torch.equal(a, b), name
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    run = Trainer(models[0], {24: Views(views.cameras, images, (torch.zeros_like(mask),) * 8)}, CONFIG)
    run.step()
    assert all(p.grad is None or not p.grad.any() for p in models[0].parameters())


def test_other_settings_are_refused(data, tmp_path):
    path = tmp_path / "run.safetensors"
    trainer(data, checkpoint=path).run(until=3, quiet=True)
    with pytest.raises(ValueError, match="trained with seed = 0, this run has 1"):
        trainer(data, replace(CONFIG, seed=1), path)
    with pytest.raises(ValueError, match="trained on other images"):
        trainer(replace(data, train={24: data.train[24]}), checkpoint=path)
    with pytest.raises(ValueError, match="trained with method = 'mip', this run has ewa"):
        trainer(data, CONFIG, path, method="ewa")
    trainer(data, replace(CONFIG, checkpoint_every=7), path)  # how often it is saved does not matter


def test_sizes_and_views_are_drawn_as_configured(data):
    run = trainer(data, replace(CONFIG, seed=3))
    drawn = [run._next_view() for _ in range(4000)]
    share = [sum(scale == s for scale, _ in drawn) / len(drawn) for s in range(3)]
    assert share == pytest.approx([0.4, 0.3, 0.3], abs=0.03)
    for s in range(3):  # without replacement within a pass
        views = [v for scale, v in drawn if scale == s]
        assert all(sorted(views[k : k + 8]) == list(range(8)) for k in range(0, len(views) - 8, 8))


def test_learning_rate_of_the_means(data):
    run = trainer(data)
    rates = []
    for _ in range(CONFIG.iterations):
        run.step()
        rates.append(run.optimizer.param_groups[0]["lr"])
    extent = scene_extent(run.cameras)
    assert rates[-1] == pytest.approx(1.6e-6 * extent)
    assert rates[0] == pytest.approx(1.6e-4 * extent, rel=0.1)
    steps = [b / a for a, b in pairwise(rates)]
    assert max(steps) == pytest.approx(min(steps))  # log-linear
    assert run.optimizer.param_groups[0]["name"] == "means"


def test_learning_rates_and_adam_are_the_papers(data):
    """Of the authors' code: harmonics above the constant one learn at a twentieth of its rate, and eps is 1e-15."""
    run = trainer(data, sh_degree=1)
    rates = {group["name"]: group["lr"] for group in run.optimizer.param_groups}
    assert rates == pytest.approx(
        dict(means=1.6e-4, log_scales=5e-3, quats=1e-3, opacity_logits=0.05, sh_dc=2.5e-3, sh_rest=2.5e-3 / 20)
    )
    assert {group["eps"] for group in run.optimizer.param_groups} == {1e-15}


def test_the_3d_filter_is_there_from_the_start_and_follows(data):
    """It is that of the Gaussians as they are: before the first step, after each densifying, and every so often."""
    density = DensityConfig(start=1, every=2, stop=5, gradient=0.0)
    run = trainer(data, TrainConfig(iterations=40, density=density, filter_every=10))
    count = len(run.model)
    renewed, phi = [], torch.zeros(count)
    for iteration in range(41):
        if iteration:
            run.step()
        if iteration in (0, 2, 4):  # nothing else moves in a step that densifies: new tensors have no gradient yet
            torch.testing.assert_close(run.model.phi, smoothing_scale(run.model.means, run.cameras))
            assert len(run.model) > count or not iteration
            count = len(run.model)
        if not torch.equal(run.model.phi, phi):
            renewed.append(iteration)
            phi = run.model.phi.clone()
    assert renewed == [0, 2, 4, 10, 20]  # not during the last ten


def test_a_reset_opacity_stays_for_its_iteration(data):
    run = trainer(data, replace(CONFIG, density=DensityConfig(start=50, stop=50, reset_every=3)), method="3dgs")
    for _ in range(3):
        before = run.model.log_scales.detach().clone()
        run.step()
    assert run.model.scales_opacities()[1].max() <= 0.01 * (1 + 1e-5)
    assert not torch.equal(run.model.log_scales, before)  # the others are not held back
    run.step()
    assert run.model.scales_opacities()[1].max() > 0.01 * (1 + 1e-5)


def test_extent(data):
    eyes = torch.tensor([c.position.tolist() for c in data.train[24].cameras])
    assert scene_extent(data.train[24].cameras) == pytest.approx(1.1 * (eyes - eyes.mean(0)).norm(dim=-1).max().item())


def test_loss():
    a, b = torch.zeros(16, 16, 3), torch.full((16, 16, 3), 0.25)
    assert loss_fn(a, b, 0).item() == pytest.approx(0.25)
    assert loss_fn(b, b).item() == pytest.approx(0, abs=1e-6)
    assert loss_fn(a, b, 1).item() == pytest.approx(1 - train.ssim(a, b).item())


def test_compiled_kernel_and_reference_train_alike(data):
    """Thirty steps with each: the loss curves agree to 1e-4, the parameters to a small share of what they moved."""
    runs = {b: trainer(data, replace(CONFIG, iterations=30, backend=b)) for b in ("numba", "reference")}
    start = trainer(data).model
    losses = {b: torch.stack([run.step()[0] for _ in range(30)]) for b, run in runs.items()}
    torch.testing.assert_close(losses["numba"], losses["reference"], rtol=0, atol=1e-4)
    # not the quaternions: round Gaussians have no rotation to learn, and Adam blows their rounding errors up to full steps
    for name in ("means", "log_scales", "opacity_logits", "sh_dc"):
        ours, theirs = (runs[b].model.get_parameter(name) for b in ("numba", "reference"))
        assert (ours - theirs).norm() < 0.05 * (ours - start.get_parameter(name)).norm(), name


@pytest.mark.parametrize("bad", [dict(iterations=0), dict(ssim_weight=1.5), dict(full_share=-0.1), dict(lr_scale=0.0)])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match="TrainConfig"):
        TrainConfig(**bad)
