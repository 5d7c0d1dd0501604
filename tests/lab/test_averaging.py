"""Runs that keep an average of their weights: the schedule by hand, a whole run against a plain loop of torch."""

from dataclasses import asdict, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bestpapers.lab.averaging import STRIDE, AveragingConfig, RowsTraining

CONFIG = AveragingConfig(steps=60, batch=4, seed=2, lr=0.1, warmup=5, average=0.8, checkpoint_every=1000)


class Lines(RowsTraining):
    """Learns y = 2 x + 1 from rows, with an error that is large at first, so that gradients are cut."""

    def loss(self, generator):
        x, y = self.drawn(generator)
        return 100 * F.mse_loss(self.model(x), y)


@pytest.fixture
def rows():
    x = torch.arange(12.0)[:, None] / 4
    return [x, 2 * x + 1]


def line():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def test_the_rate_rises_and_falls():
    config = AveragingConfig(steps=10, warmup=4, lr=2.0)
    assert [config.rate(n) for n in range(4)] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert [config.rate(n) for n in (4, 6, 7, 8, 10)] == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0], abs=1e-12)
    assert AveragingConfig(steps=10, warmup=0).rate(0) == AveragingConfig().lr
    assert {AveragingConfig(steps=10, warmup=10).rate(n) for n in (9, 10)} == {
        AveragingConfig().lr
    }  # all of it a warm-up


def test_a_run_is_a_plain_loop(rows):
    run = Lines(line(), CONFIG, rows)
    run.run()
    model, losses = line(), []
    adam = torch.optim.Adam(model.parameters(), lr=1.0)
    kept = [p.detach().clone() for p in model.parameters()]
    for step in range(CONFIG.steps):
        adam.param_groups[0]["lr"] = CONFIG.rate(step)
        some = torch.randint(12, (4,), generator=torch.Generator().manual_seed(2 * STRIDE + step))
        adam.zero_grad()
        loss = 100 * (model(rows[0][some]) - rows[1][some]).square().mean()
        loss.backward()
        losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        keep = min(0.8, (1 + step) / (10 + step))  # the first steps are forgotten sooner
        kept = [keep * a + (1 - keep) * p.detach() for a, p in zip(kept, model.parameters(), strict=True)]
    assert run.losses == pytest.approx(losses, rel=1e-4)
    for mine, theirs in zip(run.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    for mine, theirs, last in zip(run.averaged.parameters(), kept, run.model.parameters(), strict=True):
        torch.testing.assert_close(mine.detach(), theirs, rtol=1e-4, atol=1e-5)
        assert (mine - last).abs() > 1e-4  # an average, not the last weights
    assert not run.averaged.training
    assert run.row(0.0)["loss"] == pytest.approx(sum(losses[-50:]) / 50, rel=1e-4)


def test_frozen_weights_are_no_part_of_the_average(rows):
    model = line()
    model.bias.requires_grad_(False)
    before = model.bias.clone()
    run = Lines(model, CONFIG, rows)
    run.run()
    assert set(run.tensors()) == {"weight"}
    assert torch.equal(run.averaged.bias, before)


def test_processes_share_what_was_drawn(rows):
    run = Lines(line(), CONFIG, rows)
    whole = run.drawn(torch.Generator().manual_seed(7))
    run.ranks, parts = 2, []
    for rank in range(2):
        run.rank = rank
        parts.append(run.drawn(torch.Generator().manual_seed(7)))
    for mine, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(mine, torch.cat([first, second]))
        assert len(first) == 2


def test_half_precision_is_asked_for():
    with replace(CONFIG, precision="bfloat16").autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
    with CONFIG.autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(steps=0), "steps must be at least 1, got 0"),
        (dict(batch=0), "batch must be at least 1, got 0"),
        (dict(checkpoint_every=0), "checkpoint_every must be at least 1, got 0"),
        (dict(precision="half"), "one of float32, bfloat16, got 'half'"),
        (dict(lr=0.0), "lr must be above 0"),
        (dict(warmup=-1), "warmup at least 0"),
        (dict(average=1.0), "average 0 to below 1"),
        (dict(average=-0.1), "average 0 to below 1"),
    ],
)
def test_settings_that_make_no_run(change, said):
    with pytest.raises(ValueError, match=said):
        replace(CONFIG, **change)
    assert asdict(replace(CONFIG, average=0.0, warmup=0, steps=1, batch=1))["average"] == 0
