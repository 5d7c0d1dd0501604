"""The recorded runs: complete, of the settings that the code has now, and made again the same way."""

import json
import math
from dataclasses import asdict, replace

import pytest

from bestpapers.bioclip import evaluate, recorded
from bestpapers.bioclip.model import Config
from bestpapers.bioclip.train import TrainConfig
from bestpapers.lab.files import FormatError

SMALL = Config(image_size=16, image_layers=1, image_width=32, text_layers=1, text_width=32, embed_dim=16)
FEW = evaluate.Setting(
    "few", per_species=2, test_per_species=6, train=TrainConfig(steps=2, backend="reference"), model=SMALL
)


@pytest.fixture(scope="module")
def found():
    return recorded.load()


def test_all_runs_are_there(found):
    want = {
        f"{name}/{arm}/{seed}"
        for name, arms in recorded.GRID.items()
        for arm in (*arms, "pixels", "untrained")
        for seed in recorded.SEEDS
    }
    assert set(found.rows) == want
    assert len(recorded.SEEDS) >= 5
    assert 0 not in recorded.SEEDS, "model and learning rate were chosen on seed 0"


def test_settings_are_those_of_the_code(found):
    """Whoever changes a default has to make the records again."""
    assert found.settings == {name: json.loads(json.dumps(asdict(s))) for name, s in recorded.RECORDED.items()}


def test_scores_are_possible(found):
    for key, row in found.rows.items():
        for measure, value in row["scores"].items():
            low, high = (-1, 1) if measure.startswith(("tree", "silhouette")) else (0, 1)
            if measure.startswith("severity"):
                low, high = 1, 7
            assert math.isfinite(value), (key, measure)
            assert low <= value <= high, (key, measure)


def test_arms_are_compared_on_the_same_photographs(found):
    """Settings that differ in training alone share theirs; other worlds and other seeds do not."""
    data = {key: row["data"] for key, row in found.rows.items() if "data" in row}
    for seed in recorded.SEEDS:
        same = {data[f"{name}/{arm}/{seed}"] for name in ("base", "long", "random") for arm in ("pixels", "untrained")}
        assert len(same) == 1
    assert len({data[f"{name}/pixels/{seed}"] for name in recorded.GRID for seed in recorded.SEEDS}) == 6 * 5


def test_no_claim_rests_on_a_run_that_learned_nothing(found):
    for name, arms in recorded.GRID.items():
        for arm in arms:
            better = found.paired(name, arm, "untrained", "few.5.CL2N")
            assert better[0] > 0.05, (name, arm)


def test_a_record_is_made_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "RECORDED", {"few": FEW})
    monkeypatch.setattr(recorded, "GRID", {"few": ("com", "ce")})
    monkeypatch.setattr(recorded, "SEEDS", (1, 2))
    recorded.main(["few", "--folder", str(tmp_path)])
    first = (tmp_path / "few.json").read_bytes()
    value = json.loads(first)
    assert value["command"] == "python -m bestpapers.bioclip.recorded few"
    assert set(value["rows"]) == {
        f"few/{arm}/{seed}" for arm in ("com", "ce", "pixels", "untrained") for seed in (1, 2)
    }
    photos = evaluate.material(FEW, 1)
    assert value["rows"]["few/untrained/1"]["data"] == recorded.fingerprint(photos)
    assert value["rows"]["few/com/2"]["scores"] != value["rows"]["few/com/1"]["scores"]

    def never(*args, **kw):
        raise AssertionError("trained again")

    monkeypatch.setattr(evaluate, "train_arm", never)
    recorded.main(["few", "--folder", str(tmp_path)])
    assert (tmp_path / "few.json").read_bytes() == first
    loaded = recorded.load(("few",), tmp_path)
    assert loaded.values("few", "pixels", "few.1.CL2N").keys() == {1, 2}


def test_a_run_alone_gives_the_scores_of_a_record(tmp_path):
    data = evaluate.material(FEW, 1)
    alone = evaluate.train_arm("com", 1, FEW, data, quiet=True)
    series = evaluate.experiments([FEW], ("ce", "com"), (1,), tmp_path / "few.json")
    want = series.rows["few/com/1"]["scores"]
    assert want == pytest.approx({name: value for name, value in alone.scores.items()}, abs=1e-4, nan_ok=True)


def test_a_missing_file_and_a_wrong_name_are_told(tmp_path, capsys):
    with pytest.raises(FormatError, match=r"base\.json"):
        recorded.load(("base",), tmp_path)
    with pytest.raises(SystemExit):
        recorded.main(["bases", "--folder", str(tmp_path)])
    assert "there is no setting bases" in capsys.readouterr().err


def test_the_fingerprint_sees_both_sets():
    data = evaluate.material(FEW, 1)
    other = replace(data, exam=replace(data.exam, images=data.exam.images.flip(0)))
    assert recorded.fingerprint(data) != recorded.fingerprint(other)
