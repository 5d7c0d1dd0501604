"""Experiments: what a seed makes, every arm, series, and the recorded runs: complete, of the code's settings and pictures."""

import argparse
import json
import math
from dataclasses import replace

import pytest
import torch

from bestpapers.bioclip import data, experiments, formats
from bestpapers.bioclip.data import TEST_START, World, make_split, photographs
from bestpapers.bioclip.experiments import Results, Setting
from bestpapers.bioclip.model import ARMS, Config
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.taxonomy import TEXT_TYPES
from bestpapers.bioclip.train import TrainConfig
from bestpapers.lab.files import FormatError

TINY = Config(image_size=16, patch_size=8, image_width=32, text_width=32, head_width=16, embed_dim=16)
FAST = Setting(
    "fast", per_species=2, test_per_species=7, train=TrainConfig(steps=3, batch=12), model=TINY
)  # seven test photographs: one more than five shots


def command(*words, of=(experiments.arguments, experiments.run)):
    parser = argparse.ArgumentParser()
    of[0](parser)
    return of[1](parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def material():
    return experiments.material(FAST, 3)


def test_material(material):
    """Training and test share no photograph, and training has no unseen species."""
    test, data = material.test, material.photos
    split = make_split(taxa(), 3)
    assert test.split == split
    assert test.unseen() == sorted(split.u1 + split.u2)
    assert data.images.shape == (184, 16, 16, 3)
    assert data.labels == tuple(taxa()[i] for i in split.seen for _ in range(2))
    assert torch.equal(test.images, photographs(taxa(), 7, World(3), 16, TEST_START))
    train_set = {image.numpy().tobytes() for image in data.images}
    assert train_set.isdisjoint(image.numpy().tobytes() for image in test.images.flatten(0, 1))


def test_material_of_other_settings():
    few = experiments.material(replace(FAST, n_seen=23, per_species=4), 3)
    assert len(set(few.photos.labels)) == 23
    assert set(few.photos.labels) == {taxa()[i] for i in few.test.split.seen}
    tail = experiments.material(replace(FAST, exponent=1.0), 3)
    counts = torch.bincount(tail.photos.species)
    assert counts.sum() == 184
    assert counts.max() > 10 * counts.min()


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_can_be_trained_and_scored(material, arm):
    run = experiments.train_arm(arm, 3, FAST, material, quiet=True)
    assert len(run.losses) == 3
    names = set(run.scores)
    assert {"few.1.CL2N", "few.5.L2N", "tree.seen", "tree.unseen", "silhouette.class", "knn.genus"} <= names
    if arm in ("ce", "hce"):
        assert run.tokenizer is None
        assert ("head.kingdom" in names) is (arm == "hce")
        assert "head.species" in names
        assert not any(name.startswith("zero") for name in names)
    else:
        assert {f"zero.{kind}.{part}" for kind in TEXT_TYPES for part in ("seen", "u1", "u2")} <= names
        assert {"open.unseen.kingdom", "ece.seen.species", "severity.seen"} <= names
    values = torch.tensor([v for k, v in run.scores.items() if not k.startswith(("severity", "tree", "silhouette"))])
    assert ((values >= 0) & (values <= 1)).all()


def test_a_classifier_is_right_about_what_it_learned():
    """After some steps on five species its heads do better than chance, .2 and at most .5: measured .57 and .9."""
    setting = replace(FAST, n_seen=5, per_species=20, train=TrainConfig(steps=150, warmup=10))
    run = experiments.train_arm("hce", 0, setting, quiet=True)
    assert run.scores["head.species"] > 0.4
    assert run.scores["head.kingdom"] > 0.7


def test_the_settings_by_name():
    assert list(experiments.SETTINGS) == [setting.name for setting in experiments.SETTINGS.values()]
    narrow, diverse = experiments.SETTINGS["narrow"], experiments.SETTINGS["diverse"]
    assert 23 * narrow.per_species == 92 * diverse.per_species
    assert narrow.train == diverse.train
    many = experiments.material(replace(experiments.SETTINGS["many_tail"], test_per_species=1, per_species=2), 0)
    assert len(many.test.taxa) == 512
    assert len(many.test.split.seen) > 450


def test_siblings_and_words():
    """New species in every seen genus; the pictures are those of the same names without words."""
    small = dict(model=TINY, per_species=2, test_per_species=2)
    plain, told = (experiments.material(replace(experiments.SETTINGS[s], **small), 1) for s in ("siblings", "words"))
    split = make_split(taxa(), 1)
    genera = {taxa()[i].path[:6] for i in split.seen}
    assert plain.test.taxa[:128] == taxa()
    assert plain.test.split == told.test.split
    assert replace(plain.test.split, u3=()) == split
    assert len(plain.test.split.u3) == 4 * len(genera)
    assert {plain.test.taxa[i].path[:6] for i in plain.test.split.u3} == genera
    assert experiments.fingerprint(plain) == experiments.fingerprint(told)
    assert [t.path for t in told.test.taxa] == [t.path for t in plain.test.taxa]
    assert {t.common_name.split()[0] for t in told.photos.labels} == {"Dark", "Pale"}


def test_measures_of_siblings():
    setting = replace(FAST, siblings=2)
    scores = experiments.train_arm("com", 1, setting, quiet=True).scores
    assert {"zero.com.u3", "zero.com.siblings", "lookup.photo.u3", "lookup.label.u3", "few.1.siblings"} <= set(scores)
    assert "lookup.photo.siblings" not in scores  # one half, whatever the pictures are
    assert not any("u3" in name for name in experiments.train_arm("ce", 1, FAST, quiet=True).scores)


def test_a_setting_without_what_came_later_is_told_as_before():
    assert "siblings" not in FAST.told()
    assert "words" not in FAST.told()
    assert replace(FAST, siblings=2).told() == FAST.told() | {"siblings": 2}


# -------------------------------------------------------------------------------------------------------------- series


def test_side_by_side_equals_one_after_the_other(tmp_path):
    """In two processes and in this one: the same scores, but for a photograph whose two best classes rounding decides."""
    path = tmp_path / "results.json"
    many = experiments.compare([FAST], ["taxon", "ce"], [0, 1], path, workers=2)
    one = experiments.compare([FAST], ["ce", "taxon"], [1, 0], workers=1)
    assert many.rows.keys() == one.rows.keys()
    for key, row in many.rows.items():
        assert row["scores"] == pytest.approx(one.rows[key]["scores"], abs=0.03), key
    assert len({json.dumps(row["scores"]) for row in many.rows.values()}) == 4
    for seed in (0, 1):
        painted = experiments.fingerprint(experiments.material(FAST, seed))
        assert {row["data"] for key, row in many.rows.items() if key.endswith(f"/{seed}")} == {painted}
    assert Results(path).rows == dict(sorted(many.rows.items()))


def test_an_interrupted_series_goes_on(tmp_path, monkeypatch):
    path, trained, failed = tmp_path / "results.json", [], []
    train_arm = experiments.train_arm

    def counted(arm, seed, *args, **kw):
        trained.append((arm, seed))
        if (arm, seed) == ("com", 1) and not failed:
            failed.append(True)
            raise KeyboardInterrupt
        return train_arm(arm, seed, *args, **kw)

    monkeypatch.setattr(experiments, "train_arm", counted)
    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        experiments.compare([FAST], ["com", "sci"], [0, 1], path, workers=1)
    assert torch.get_num_threads() == threads
    assert sorted(Results(path).rows) == ["fast/com/0", "fast/sci/0"]
    trained.clear()
    experiments.compare([FAST], ["com", "sci"], [0, 1], path, workers=1)
    assert trained == [("com", 1), ("sci", 1)]
    experiments.compare([FAST], ["com", "sci"], [0, 1], path, workers=1)
    assert len(trained) == 2
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ValueError, match=r"made with other settings \(per_species\)"):
        experiments.compare([replace(FAST, per_species=3)], ["com"], [0], path)


def test_results_of_other_pictures_can_be_read_but_not_mixed(tmp_path):
    path = tmp_path / "results.json"
    results = experiments.compare([FAST], ["ce"], [0], path, workers=1)
    assert json.loads(path.read_text())["source"] == data.SOURCE
    results.source = "another painter"
    results.save()
    assert Results(path).values("fast", "ce", "head.species")
    with pytest.raises(ValueError, match="made from other data"):
        experiments.compare([FAST], ["ce"], [1], path)


def test_text_matrix():
    results = Results()
    for arm, value in (("com", 0.1), ("hce", 0.2)):
        for seed in (0, 1):
            scores = {f"zero.{kind}.u2": value + seed + i for i, kind in enumerate(TEXT_TYPES)}
            results.add("base", arm, seed, scores)
    matrix = results.text_matrix("base", "u2")
    assert list(matrix) == ["com"]
    assert matrix["com"]["taxon"] == pytest.approx(2.6)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "SETTINGS", {"fast": FAST})
    path = tmp_path / "results.json"
    assert command("--settings", "fast", "--arms", "hce", "--seeds", 4, "--steps", 2, "--out", path) == 0
    assert list(Results(path).rows) == ["fast/hce/4"]
    assert Results(path).settings["fast"]["train"]["steps"] == 2


def test_the_command_trains_a_model_that_open_clip_reads(tmp_path, capsys):
    words = ["--arm", "sci", "--steps", 2, "--size", 16, "--per-species", 2, "--out", tmp_path / "model"]
    how = experiments.train_arguments, experiments.train
    assert command(*words, "--checkpoint", tmp_path / "run.safetensors", of=how) == 0
    assert "zero.sci.u1" in capsys.readouterr().out
    model, _, tokenizer = formats.load(f"local-dir:{tmp_path / 'model'}")
    assert model.encode_text(tokenizer(["a photo of anything at all."])).isfinite().all()
    assert (tmp_path / "run.safetensors").exists()


# ------------------------------------------------------------------------------------------------------- recorded runs


@pytest.fixture(scope="module")
def found():
    return experiments.load()


def test_all_runs_are_there(found):
    want = {
        f"{name}/{arm}/{seed}"
        for name, arms in experiments.GRID.items()
        for arm in (*arms, "pixels", "untrained")
        for seed in experiments.SEEDS
    }
    assert set(found.rows) == want
    assert len(experiments.SEEDS) >= 5
    assert 0 not in experiments.SEEDS, "model and learning rate were chosen on seed 0"


def test_settings_are_those_of_the_code(found):
    """Whoever changes a default has to make the records again."""
    assert found.settings == {name: json.loads(json.dumps(s.told())) for name, s in experiments.RECORDED.items()}


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
    for seed in experiments.SEEDS:
        same = {data[f"{name}/{arm}/{seed}"] for name in ("base", "long", "random") for arm in ("pixels", "untrained")}
        assert len(same) == 1
        assert len({data[f"{name}/pixels/{seed}"] for name in ("siblings", "words")}) == 1, (
            "other names, other pictures"
        )
    assert len({data[f"{name}/pixels/{seed}"] for name in experiments.GRID for seed in experiments.SEEDS}) == 7 * 5


def test_the_look_up_is_there_where_the_page_asks_for_it(found):
    classifiers, whole = ("ce", "hce"), ("base", "null", "siblings", "words")
    asked = {name: classifiers for name in ("long", "many", "many_tail")}
    for name, arms in (asked | {name: experiments.GRID[name] for name in whole}).items():
        for arm in arms:
            for seed in experiments.SEEDS:
                scores = found.rows[f"{name}/{arm}/{seed}"]["scores"]
                assert {f"lookup.{m}.{part}" for m in ("photo", "label") for part in ("u1", "u2")} <= set(scores), (
                    name,
                    arm,
                )
                assert ("lookup.photo.u3" in scores) is (name in ("siblings", "words"))


def test_rules_are_those_of_the_recording():
    """A rule that has changed since belongs to no row of that file."""
    for name in experiments.GRID:
        value = json.loads((experiments.FOLDER / f"{name}.json").read_text())
        now = experiments.rules()
        assert {key: now.get(key) for key in value.get("rules", {})} == value.get("rules", {}), name
        assert "rules" in value or name not in ("siblings", "words")


def test_no_claim_rests_on_a_run_that_learned_nothing(found):
    for name, arms in experiments.GRID.items():
        for arm in arms:
            better = found.paired(name, arm, "untrained", "few.5.CL2N")
            assert better[0] > 0.05, (name, arm)


def test_the_fingerprint_sees_both_sets():
    data = experiments.material(FAST, 1)
    other = replace(data, test=replace(data.test, images=data.test.images.flip(0)))
    assert experiments.fingerprint(data) != experiments.fingerprint(other)


def test_the_files_are_of_the_pictures_that_the_code_makes_now():
    """If this fails, the code that draws has changed: `experiments --verify` makes the photographs again, some minutes, and
    signs the files if they are the same; if they are not, the runs have to be recorded anew."""
    for name in experiments.GRID:
        value = json.loads((experiments.FOLDER / f"{name}.json").read_text())
        assert value["source"] == data.SOURCE, name
        assert value["command"] == f"python -m bestpapers.bioclip experiments --record {name}"


@pytest.fixture
def grid(monkeypatch):
    monkeypatch.setattr(experiments, "RECORDED", {"fast": FAST})
    monkeypatch.setattr(experiments, "GRID", {"fast": ("com", "ce")})
    monkeypatch.setattr(experiments, "SEEDS", (1, 2))


def test_a_record_is_made_goes_on_and_is_signed(grid, tmp_path, monkeypatch, capsys):
    path = tmp_path / "fast.json"
    command("--record", "fast", "--folder", tmp_path, "--workers", 1)
    first = path.read_bytes()
    value = json.loads(first)
    assert set(value) == {"command", "made_with", "rules", "source", "settings", "rows"}
    assert value["rules"]["bioclip.C4.lookup"] == "> 0"
    assert value["command"] == "python -m bestpapers.bioclip experiments --record fast"
    arms = ("com", "ce", "pixels", "untrained")
    assert set(value["rows"]) == {f"fast/{arm}/{seed}" for arm in arms for seed in (1, 2)}
    material = experiments.material(FAST, 1)
    assert {value["rows"][f"fast/{arm}/1"]["data"] for arm in arms} == {experiments.fingerprint(material)}
    assert value["rows"]["fast/com/2"]["scores"] != value["rows"]["fast/com/1"]["scores"]

    alone = experiments.train_arm("com", 1, FAST, material, quiet=True)
    assert experiments.load(["fast"], tmp_path).check("fast/com/1", alone.scores, 1e-4) < 1e-4

    def never(*args, **kw):
        raise AssertionError("trained again")

    monkeypatch.setattr(experiments, "train_arm", never)
    command("--record", "fast", "--folder", tmp_path)
    assert path.read_bytes() == first
    assert experiments.load(["fast"], tmp_path).values("fast", "pixels", "few.1.CL2N").keys() == {1, 2}

    path.write_bytes(first.replace(data.SOURCE.encode(), b"0" * 12))  # the painter's code has changed, the pictures not
    with pytest.raises(ValueError, match="made from other data"):
        command("--record", "fast", "--folder", tmp_path)
    capsys.readouterr()
    assert command("--verify", "fast", "--folder", tmp_path) == 0
    assert capsys.readouterr().out == "fast: the photographs are those of the rows\n"
    assert path.read_bytes() == first


def test_pictures_that_have_changed_are_not_signed(grid, tmp_path, monkeypatch):
    path = tmp_path / "fast.json"
    results = Results(path)
    results.expect("fast", FAST.told(), data.SOURCE)
    results.source = "0" * 12
    for seed in (1, 2):
        found = experiments.fingerprint(experiments.material(FAST, seed))
        results.add("fast", "pixels", seed, {}, data=found if seed == 1 else "another")
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"other photographs than the code makes now: fast/pixels/2; delete .*--record fast"
    ):
        experiments.verify("fast", tmp_path)
    assert path.read_bytes() == before
    results.rows.pop("fast/pixels/2")
    results.save()
    with pytest.raises(ValueError, match=r"fast/\*/2"):  # nothing to compare with
        experiments.verify("fast", tmp_path)
    monkeypatch.setattr(experiments, "RECORDED", {"fast": replace(FAST, per_species=3)})
    with pytest.raises(ValueError, match="other settings"):
        experiments.verify("fast", tmp_path)


def test_a_missing_file_and_a_wrong_name_are_told(tmp_path, capsys):
    with pytest.raises(FormatError, match=r"base\.json.*--record base"):
        experiments.load(("base",), tmp_path)
    with pytest.raises(FormatError, match=r"base\.json"):
        experiments.verify("base", tmp_path)
    with pytest.raises(SystemExit):
        command("--record", "bases", "--folder", tmp_path)
    assert "invalid choice: 'bases'" in capsys.readouterr().err
