"""What is measured on plants: each measure where its outcome is known, a row of either setting, the files."""

import json
import math
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bestpapers.dynamics
from bestpapers.dynamics import experiments, measured, render, spectral, weights, worlds
from bestpapers.dynamics.measured import SETTINGS, Measured, Shipped
from bestpapers.lab.files import FormatError

from . import tiny
from .standin import plant

SMALL = Measured(48, 64, 60, every=10, points=3, trained=1, flows=("dis2x", "farneback"))
WITH = Shipped(48, 64, 60, every=10, points=3, calls=2, draws=2, loops=1)
CLAIMS = set(tomllib.loads((Path(bestpapers.dynamics.__file__).parent / "claims.toml").read_text()))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bush():
    return plant(3)


@pytest.fixture(scope="module")
def lanterns():
    return measured.row("lanterns", 1, SMALL)


@pytest.fixture(scope="module")
def with_weights():
    return measured.shipped_row("lanterns", 1, WITH, tiny.animator(), render.Renderer().eval())["scores"]


# ------------------------------------------------------------------------------------------------------- single measures


def test_edges_are_where_motions_meet():
    """The left half moves by two pixels, a slow one by less than counts: two pixels on either side of the seam."""
    flow, mask = np.zeros((5, 2, 20, 30), np.float32), np.zeros((20, 30), bool)
    mask[:, :12] = True
    flow[1:, 0, :, :12] = 2
    edges = measured.places(SimpleNamespace(flow=flow, mask=mask))["edges"]
    assert edges.all(0).nonzero()[:, 0].tolist() == [9, 10, 11, 12, 13, 14]
    assert edges.sum() == 6 * 20
    assert not measured.places(SimpleNamespace(flow=flow / 8, mask=mask))["edges"].any()


def test_the_error_of_nothing_is_the_motion():
    truth = torch.zeros(4, 2, 3, 5)
    truth[1:, 0], truth[1:, 1] = 3, 4
    assert measured.error(torch.zeros(4, 2, 3, 5), truth).unique().tolist() == [5]
    assert not measured.error(truth, truth).any()


def test_the_choice_of_flow():
    assert measured.choice(dict(dis=3, dis2x=1, farneback=2)) == ("dis2x", "farneback")
    assert measured.choice(dict(dis=3, dis2x=4, farneback=2)) == ("farneback", "dis")
    assert measured.choice(dict(dis=0.5, dis2x=1, farneback=2)) == ("dis", "farneback")


def test_moving_pixels_are_those_of_before_and_after():
    mask, flow = np.zeros((10, 20), bool), torch.zeros(2, 2, 10, 20)
    mask[2:5, 3:6] = True
    flow[1, 0, 2:5, 3:6] = 8
    first, second = measured.moving(mask, flow)
    assert first.equal(torch.from_numpy(mask))
    assert second.sum() == 18
    assert second[2:5, 11:14].all()


def test_psnr_counts_only_what_is_asked_for():
    truth = np.zeros((2, 4, 6, 3), np.uint8)
    made = truth.copy()
    made[:, 0] = 51  # a fifth of white: 14 dB
    where = torch.zeros(2, 4, 6, dtype=torch.bool)
    where[:, 0] = True
    assert measured.psnr(made, truth, where) == pytest.approx(20 * math.log10(5))
    where[:, 1] = True
    assert measured.psnr(made, truth, where) == pytest.approx(20 * math.log10(5) + 10 * math.log10(2))
    assert math.isnan(measured.psnr(made, truth, where & False))


def test_flicker():
    """None where frames are right, or wrong in the same way; 1 where errors are drawn anew for each frame."""
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 200, (8, 12, 16, 3)).astype(np.uint8)
    assert measured.flicker(truth, truth) == 0
    assert measured.flicker(truth + np.uint8(20), truth) < 1e-5
    noisy = (truth + rng.integers(-20, 21, truth.shape)).astype(np.uint8)
    assert measured.flicker(noisy, truth) == pytest.approx(1, abs=0.03)


def test_a_stiff_plant_is_fast(bush):
    """Its modes keep their order and stand between 3.5 and 6 Hz; plucked, it moves where sixteen slices see little of it."""
    fast = measured.stiff(bush)
    assert (fast.frequencies.min(), fast.frequencies.max()) == pytest.approx((3.5, 6))
    assert (np.argsort(fast.frequencies) == np.argsort(bush.frequencies)).all()
    kept = []
    for scene in (bush, fast):
        q = worlds.ring(scene.frequencies, scene.damping, np.ones(len(scene.damping)), np.arange(150) / 30)[0]
        whole = spectral.volume(torch.from_numpy(scene.flow(q, 24, 32)), None)
        kept.append(float(spectral.energy_kept(whole, constant=False)[15]))
    assert kept[1] < 0.3 < 0.8 < kept[0]


def test_widths(bush):
    """A leaf of the stand-in is 0.04 heights wide; of twigs, which are turned, it is the shorter side that counts."""
    found = measured.widths(bush, 100, 160)
    assert (np.isnan(found) == ~bush.mask(100, 160)).all()
    assert np.isclose(found, 4.0, atol=0.15).sum() > 50
    assert 0.2 < np.nanmin(found) < np.nanmax(found) < 5


def test_modes_of_the_exact_motion(bush):
    """Two modes that ring a hertz and more apart are found, and the measured motion is judged by itself."""
    j = [0, *(int(start) for start in bush.starts[1:-1])]  # the first mode of each body, and one that stands apart
    j += [int(np.argmax(np.where(bush.frequencies < 2.8, bush.frequencies, 0)))]
    q = np.zeros((150, len(bush.frequencies)))
    q[:, j] = np.cos(2 * np.pi * bush.frequencies[j] * np.arange(150)[:, None] / 30)
    S = spectral.volume(torch.from_numpy(bush.flow(q, 48, 64)), window="hann")
    noise = torch.randn(S.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    scores, table = measured.modes(bush, q, S, noise)
    assert scores["first.exact"] > 0.97
    assert scores["C11.first"] < 0.1
    again, _ = measured.modes(bush, q, noise, S)
    assert again["C11.first"] == scores["first.exact"]
    assert {len(row) for row in table} == {5}
    rung = sorted(row[0] for row in table if row[2] > 0)
    assert rung == pytest.approx(sorted(bush.frequencies[sorted(set(j))]), abs=1e-3)
    assert [row[2] > 0 for row in table] == [True] * len(rung) + [False] * (len(table) - len(rung))


def test_a_pull_of_a_single_mode_is_the_simulators(bush):
    """Where one mode is all that a body has, its slice knows the shape of every pull, and the timing up to a bin."""
    rng = np.random.default_rng(0)
    bodies = [
        replace(b, frequencies=b.frequencies[:1], damping=b.damping[:1], loads=b.loads[:, :1]) for b in bush.bodies
    ]
    parts = [replace(part, motion=part.motion[:1]) for part in bush.parts]
    one = worlds.Scene("tree", bodies[:1], [p for p in parts if p.body == 0], bush.background)
    q = np.cos(2 * np.pi * 0.8 * np.arange(150)[:, None] / 30) * rng.uniform(5, 6)
    one.bodies[0].frequencies[:] = 0.8
    clip = SimpleNamespace(scene=one, height=48, width=64, kind="tree", seed=0, frames=150)
    clip.flow, clip.mask = one.flow(q, 48, 64), one.mask(48, 64)
    S = spectral.volume(torch.from_numpy(clip.flow))
    found = measured.pulled(clip, [S], 4)
    assert found["shape"] == pytest.approx(1, abs=1e-3)
    assert found["own"] == pytest.approx(found["shape"])
    assert found["timing"] > 0.95
    noise = torch.randn(S.shape, dtype=S.dtype, generator=torch.Generator().manual_seed(0))
    assert measured.pulled(clip, [noise], 4)["shape"] < 0.3


# ------------------------------------------------------------------------------------------------------------- a plant


def test_a_row_of_plants(lanterns):
    found = lanterns["scores"]
    assert {f"dynamics.{name}" for name in found if name.startswith("C")} <= CLAIMS
    assert {"C1.kept", "C2.low", "C2.wide", "C7.weight", "C14.choice", "C16.fast", "C11.first"} <= set(found)
    assert found["epe.dis2x.plant"] < found["epe.zero.plant"]
    assert found["epe.zero.background"] == found["epe.still.background"] == 0 < found["epe.dis2x.background"]
    for name in ("kept", "exact"):
        shares = [found[f"{name}.{K}"] for K in measured.KEPT]
        assert shares == sorted(shares)
        assert 0 < shares[0] < shares[-1] <= 1
    assert found["C16.fast"] > 0.98, "sixteen slices of two seconds reach as far as 7.5 Hz"
    assert found["close.exact"] < found["first.exact"]
    assert found["loop.projected.closure"] < 0.01 * found["loop.naive.closure"]
    assert found["loop.naive.kept"] == 1
    assert found["loop.projected.grey"] < found["loop.naive.grey"]
    assert -1 <= found["C11.shape"] <= found["shape.own"] + 0.2 <= 1.2
    assert found["C14.choice"] == pytest.approx(found["frames.dis2x"] - found["frames.farneback"])
    json.dumps(lanterns, allow_nan=False)


def test_a_row_of_shipped(with_weights):
    """An untrained renderer splats: it is as good as softmax, and flickers as much."""
    found = with_weights
    names = {name.removesuffix(".fall").removesuffix(".kept") for name in found if name.startswith("C")}
    assert names == {"C10.closure", "C10.seamless", "C11.still", "C15.frames", "C16.large", "C16.unseen"}
    for where in ("all", "edges", "holes", "rest"):
        assert found[f"paint.network.{where}"] == pytest.approx(found[f"paint.softmax.{where}"], abs=0.05)
    assert found["C15.frames"] == pytest.approx(found["flicker.softmax"], abs=0.01)
    assert 0 < found["C15.frames"] < 1
    assert found["C16.large"] > 0
    assert found["C16.unseen"] > 0
    assert found["C10.closure.fall"] == pytest.approx(0.5 - found["closure.after"] / found["closure.before"])
    assert abs(found["C11.still"]) < 0.9


# ------------------------------------------------------------------------------------------------------------- recording


@pytest.fixture
def few(monkeypatch):
    ran = []

    def job(kind, index, setting):
        ran.append((kind, index))
        return dict(scores=dict(better=float(setting.flows == ("dis2x", "farneback"))), modes=[])

    kinds = ("lanterns", "water")
    monkeypatch.setattr(measured, "any_row", job)
    monkeypatch.setattr(measured, "KINDS", kinds)
    monkeypatch.setattr(measured, "SEEDS", (0, 1))
    monkeypatch.setattr(experiments, "GRID", dict(plants=kinds, shipped=kinds))
    settings = dict(plants=replace(SMALL, frames=30, flows=()), shipped=WITH)
    monkeypatch.setattr(experiments, "SETTINGS", settings)
    return ran


def test_recording(few, tmp_path):
    experiments.record("plants", tmp_path)
    kept = json.loads((tmp_path / "plants.json").read_text())
    assert set(kept["rows"]) == {f"plants/{kind}/{n}" for kind in ("lanterns", "water") for n in (0, 1)}
    assert kept["command"].endswith("experiments --record plants")
    assert kept["settled"].keys() == {"dis", "dis2x", "farneback"}
    assert kept["settings"]["plants"]["flows"] == list(measured.choice(kept["settled"]))
    experiments.record("plants", tmp_path)
    assert len(few) == 4, "what is there is not measured again"


def test_other_weights_make_other_rows(few, tmp_path, monkeypatch):
    models = [tiny.animator(), render.Renderer()]
    monkeypatch.setattr(measured, "_shipped", lambda: models)
    experiments.record("shipped", tmp_path)
    experiments.record("shipped", tmp_path)
    assert len(few) == 4
    models[1].out.bias.data += 1
    with pytest.raises(ValueError, match=r"other settings \(weights\)"):
        experiments.record("shipped", tmp_path)


def test_without_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "HERE", tmp_path)
    measured._shipped.cache_clear()
    with pytest.raises(FormatError, match="trained renderer"):
        measured.any_row("lanterns", 0, SETTINGS["shipped"])


def test_settings_go_into_files():
    assert all(json.loads(json.dumps(asdict(setting))) for setting in SETTINGS.values())
