"""Experiment arms, side by side, and the tables of the paper's form."""

import argparse
from dataclasses import asdict, replace

import pytest
import torch

from bestpapers.course import claims
from bestpapers.lab import runs as side_by_side
from bestpapers.lab.files import FormatError
from bestpapers.splatting import experiments
from bestpapers.splatting.data import make_dataset
from bestpapers.splatting.train import TrainConfig

CONFIG = TrainConfig(iterations=15, density=None)


def make(seed):
    return make_dataset("wheel", "thin", 16, n_points=60, n_train=4, n_test=2, seed=seed, test_sizes=(16, 8))


def as_numbers(runs):
    return {(r.method, r.seed): r.scores for r in runs}


def test_side_by_side_equals_one_after_the_other(monkeypatch):
    monkeypatch.setattr(side_by_side, "default_workers", lambda device: 2)  # however many cores there are
    many = experiments.compare(make, ["3dgs", "mip"], [0, 1], CONFIG)
    monkeypatch.setattr(side_by_side, "default_workers", lambda device: 1)
    one = experiments.compare(make, ["mip", "3dgs"], [1, 0], CONFIG)
    for run, scores in as_numbers(many).items():  # another process rounds otherwise: in its last bit, or in denormals
        for size, values in scores.items():
            assert values == pytest.approx(as_numbers(one)[run][size], abs=1e-3), (run, size)
    assert [(r.method, r.seed) for r in many] == [("3dgs", 0), ("mip", 0), ("3dgs", 1), ("mip", 1)]
    assert len({str(s) for s in as_numbers(many).values()}) == 4  # methods and seeds do differ
    back, here = many[1].model, one[2].model  # all but the rotations: that of a round Gaussian follows rounding alone
    for name in ("means", "log_scales", "opacity_logits", "sh_dc"):
        torch.testing.assert_close(getattr(back, name), getattr(here, name), rtol=0, atol=1e-4)


def test_scores_on_the_way():
    plain, often = (experiments.compare(make, ["mip"], [0], CONFIG, score_every=every)[0] for every in (None, 5))
    assert plain.along == {}
    assert list(often.along) == [5, 10]
    assert often.scores == plain.scores  # looking changes nothing
    assert often.along[10] != often.scores


def runs():
    model = None
    rows = [("3dgs", 0, 20.0, 10.0), ("3dgs", 1, 22.0, 14.0), ("mip", 0, 30.0, 28.0), ("mip", 1, 31.0, 30.0)]
    return [experiments.Run(m, s, {16: {"psnr": a}, 8: {"psnr": b}}, model, 0.0) for m, s, a, b in rows]


def test_mean_and_range():
    table = experiments.mean_range(runs())
    assert table["3dgs"] == {16: (21.0, 20.0, 22.0), 8: (12.0, 10.0, 14.0)}


def test_worth_of_the_3d_filter():
    def run(arm, seed, first, last):
        return experiments.Run(
            arm, seed, {8: {"psnr": last}, 16: {"psnr": last + 2}}, None, 0.0, {5: {8: {"psnr": first}}}
        )

    rows = [
        run("ewa", 1, 0, 0),
        run("mip", 1, 10, 20),
        run("mip-no-3d", 1, 11, 17),
        run("mip", 2, 9, 9),
        run("mip-no-3d", 2, 9, 9),
    ]
    assert experiments.worth(rows).tolist() == [[-1, 3], [0, 0]]


def test_table():
    table = experiments.Table(runs(), {16: "1", 8: "1/2"}, {"mip": (33.36, 34.00, None)})
    assert table.rows["mip"] == [(30.5, 30.0, 31.0), (29.0, 28.0, 30.0), (29.75, 29.0, 30.5)]
    text, page = str(table), table._repr_html_()
    assert "Mip-Splatting" in text
    assert "33.36" in text
    assert "21.00<br><small>20.0\N{EN DASH}22.0</small>" in page
    assert page.count(">\N{EN DASH}</td>") == 1 + 3  # one open figure, and 3DGS, of which nothing is printed


def test_a_method_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="method must be one of"):
        experiments.compare(make, ["3dgs", "unheard-of"], [0], CONFIG)


def test_one_seed_has_no_range():
    page = experiments.Table([run for run in runs() if run.seed == 0], {16: "1", 8: "1/2"})._repr_html_()
    assert "one run" in page
    assert "range" not in page
    assert "<small>" not in page


# ------------------------------------------------------------------------------------------------------- recorded runs

TINY = experiments.Setting(
    size=16, test_sizes=(16, 32), points=60, steps=12, score_every=5, limited=True, n_test=2, seeds=(1, 2)
)
SNAPS = experiments.Photographed(photographs=10, width=32, height=20, zooms=(1, 2), points=60, steps=5, seeds=(1,))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(experiments, "SETTINGS", dict(tiny=TINY, snaps=SNAPS))
    arms = tuple(f"{condition}:mip" for condition in experiments.CONDITIONS)
    monkeypatch.setattr(experiments, "GRID", dict(tiny=("ewa", experiments.OFTEN), snaps=arms))


def command(*words):
    parser = argparse.ArgumentParser()
    experiments.arguments(parser)
    return experiments.run(parser.parse_args([str(word) for word in words]))


def test_record_go_on_load_and_verify(tiny, tmp_path, monkeypatch):
    command("--record", "tiny", "--folder", tmp_path)
    rec = experiments.load(["tiny"], tmp_path)
    assert set(rec.rows) == {f"tiny/{arm}/{seed}" for arm in ("ewa", "mip-every-10") for seed in (1, 2)}
    assert rec.about["tiny"]["rules"]["splatting.C6.natural"] == "> 0"
    row = rec.rows["tiny/ewa/1"]
    wanted = {"psnr.16", "ssim.32", "psnr.32@5", "psnr.16@10", "limited.32", "scale", "narrow.median", "narrow.share"}
    assert wanted <= set(row["scores"])
    found = experiments.runs_of(rec, "tiny")
    assert [(r.method, r.seed) for r in found] == [("ewa", 1), ("ewa", 2), ("mip-every-10", 1), ("mip-every-10", 2)]
    assert list(found[0].along) == [5, 10]
    assert experiments.scores_of(found[0]) == row["scores"]

    (again,) = experiments.live("tiny", ["ewa"], 1)
    assert rec.check("tiny/ewa/1", experiments.scores_of(again), 1e-3) < 1e-3
    command("--verify", "tiny", "--folder", tmp_path)

    path = tmp_path / "tiny.json"
    rows = side_by_side.Results(path, experiments.SOURCE)
    del rows.rows["tiny/mip-every-10/2"]
    rows.save()
    called = []
    train = experiments._row
    monkeypatch.setattr(experiments, "_row", lambda *job: called.append(job[:2]) or train(*job))
    experiments.record("tiny", tmp_path)
    assert called == [("mip-every-10", 2)]  # the rest was there

    rows = side_by_side.Results(path, experiments.SOURCE)
    rows.rows["tiny/ewa/2"]["data"] = "0" * 16
    rows.save()
    with pytest.raises(ValueError, match="of other pictures than the code makes now: tiny/ewa/2"):
        experiments.verify("tiny", tmp_path)
    with pytest.raises(FormatError, match="--record multi"):
        experiments.load(["multi"], tmp_path)


def test_every_condition_of_a_camera(tiny, tmp_path):
    experiments.record("snaps", tmp_path)
    rec = experiments.load(["snaps"], tmp_path)
    assert len(rec.rows) == len({row["data"] for row in rec.rows.values()}) == len(experiments.CONDITIONS)
    data = [experiments.material(SNAPS, 1, f"{condition}:mip") for condition in ("clean", "all")]
    for width, views in data[0].test.items():
        assert torch.equal(views.images, data[1].test[width].images)  # judged alike
    experiments.verify("snaps", tmp_path)


def test_a_seed_makes_everything_anew():
    one, two = (TINY.data(seed) for seed in (1, 2))
    assert (one.train[16].cameras[0].viewmat != two.train[16].cameras[0].viewmat).any()
    assert (one.test[16].cameras[0].viewmat != two.test[16].cameras[0].viewmat).any()
    assert not torch.equal(one.points, two.points)
    camera = one.test[16].cameras[0]
    pictures = [experiments.render_truth(data.scene, camera) for data in (one, two)]
    assert (pictures[0] - pictures[1]).abs().mean() > 0.02


def test_the_recorded_rows_are_those_of_the_settings():
    """Complete, and made with what the code says."""
    for name, arms in experiments.GRID.items():
        path = experiments.FOLDER / f"{name}.json"
        if not path.exists():
            pytest.skip(f"{name} is not recorded yet")
        rec, setting = side_by_side.Results(path), experiments.SETTINGS[name]
        assert rec.source == experiments.SOURCE
        rec.expect(name, asdict(setting), experiments.SOURCE)
        assert set(rec.rows) == {f"{name}/{arm}/{seed}" for arm in arms for seed in setting.seeds}
        assert 0 not in setting.seeds
        rules = {claim.key: claim.rule for claim in claims.load("splatting").values() if claim.rule}
        assert rec.about["rules"] == rules  # none has changed since


def test_settings_are_those_of_the_plan():
    long = experiments.SETTINGS["inward_long"]
    assert (long.points, long.steps, len(long.seeds)) == (3000, 5000, 10)
    assert (
        replace(long, points=2000, steps=1000, score_every=200, seeds=experiments.FEW)
        == experiments.SETTINGS["inward_natural"]
    )
