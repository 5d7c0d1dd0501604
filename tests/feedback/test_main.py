"""The command line: from people's answers to merged feedback, to a model, to what it says; and why, when it cannot."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.feedback import __main__ as program
from bestpapers.feedback import formats, metrics, panel, weights
from bestpapers.feedback.model import RAHF
from bestpapers.feedback.record import MAPS, SCORES, Annotation, words
from bestpapers.lab import pictures as files
from bestpapers.lab.maps import overlay

from .made import assert_same, record

SIZE = (24, 32)  # height, width of the annotated pictures
PROMPTS = ["two red boats", 'a "blue" fox, asleep', "one tall lighthouse"]


def run(*said) -> int:
    return program.main([str(word) for word in said])


def person(name, number, picture):
    """What a person marks on a picture; of each person and picture something else."""
    rng = np.random.default_rng([number, picture])
    points = {kind: (rng.random((number % 3, 2)) * (SIZE[1] - 1, SIZE[0] - 1)).astype(np.float32) for kind in MAPS}
    likert = {kind: int(rng.integers(1, 6)) for kind in SCORES}
    return Annotation(name, points, likert, rng.random(len(words(PROMPTS[picture]))) < 0.5)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A folder of pictures, and what three people answered, a file each; the third one left a picture out."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "renders").mkdir()
    for number, prompt in enumerate(PROMPTS):
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "renders" / f"p{number}.png")
        (folder / "renders" / f"p{number}.txt").write_text(prompt)
    for n, name in enumerate(("Ann", "Bob", "Eve")):
        seen = range(len(PROMPTS) - (name == "Eve"))
        answers = [formats.Annotated(f"p{i}", PROMPTS[i], SIZE, (person(name, n, i),)) for i in seen]
        formats.write_annotations(folder / f"{name}.json", answers)
    return folder


@pytest.fixture(scope="module")
def merged(asked, tmp_path_factory):
    out = tmp_path_factory.mktemp("mine") / "mine.tfrecord"
    exports = [asked / f"{name}.json" for name in ("Ann", "Bob", "Eve")]
    assert run("merge", *exports, "--out", out, "--pictures", asked / "renders") == 0
    return out


@pytest.fixture(scope="module")
def model(merged, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "mine.safetensors"
    small = ("--size", 16, "--width", 16, "--layers", 1, "--steps", 3, "--batch", 2)
    assert run("train", merged.parent, "--out", out, *small) == 0
    return out


# -------------------------------------------------------------------------------------------------------------- annotate


def test_annotate_writes_a_page_and_opens_it(asked, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page = tmp_path / "page.html"
    assert run("annotate", asked / "renders", "--out", page) == 0
    assert opened == [page.resolve().as_uri()]
    assert all(json.dumps(prompt) in page.read_text() for prompt in PROMPTS)
    assert "holds 3 pictures" in capsys.readouterr().out
    assert run("annotate", asked / "renders", "--out", page, "--title", "Mine <&", "--no-open") == 0
    assert "<h1>Mine &lt;&amp;</h1>" in page.read_text()
    assert len(opened) == 1


def test_annotate_says_what_is_missing(tmp_path, capsys):
    assert run("annotate", tmp_path, "--no-open") == 2
    assert "pictures: expected at least one" in capsys.readouterr().err
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert run("annotate", tmp_path, "--no-open") == 2
    assert "give --prompts" in capsys.readouterr().err
    assert run("annotate", tmp_path, "--out", tmp_path / "a.txt", "--no-open") == 2
    assert "must end with .html or .htm" in capsys.readouterr().err
    assert run("annotate", tmp_path, "--prompts", tmp_path, "--out", tmp_path / "no" / "a.html", "--no-open") == 2
    assert not (tmp_path / "no").exists()


def test_a_folder_of_any_name_has_a_page(asked, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(asked / "renders", tmp_path / "my renders" / "of \x1b[7mfoxes")
    (folder / "clip.gif").touch()
    monkeypatch.chdir(folder)
    for given, made in ((".", "of \x1b[7mfoxes"), ("..", "my renders"), (folder, "of \x1b[7mfoxes")):
        assert run("annotate", given, "--no-open", "--title", " ") == 0
        page = Path(given).resolve().parent / f"{made}_annotate.html"
        assert "What is wrong with these pictures? " in page.read_text()
        page.unlink()
    said = capsys.readouterr()
    assert "1 file passed over, of other kinds (.gif)" in said.err
    assert "holds 3 pictures" in said.out
    assert f"--pictures '{tmp_path}/my renders/of \\x1b[7mfoxes'" in said.out  # quoted, and steers no terminal
    assert "\x1b" not in said.out + said.err


# ----------------------------------------------------------------------------------------------------------------- merge


def test_merged_answers_are_the_panels_and_read_back(merged):
    found = list(formats.read(merged.parent))
    assert [r.name for r in found] == ["p0", "p1", "p2"]
    for i, r in enumerate(found):
        people = [person(name, n, i) for n, name in enumerate(("Ann", "Bob", "Eve")) if (name, i) != ("Eve", 2)]
        rounded = [
            Annotation(a.annotator, {k: p.astype(float).round(2) for k, p in a.points.items()}, a.likert, a.misaligned)
            for a in people
        ]
        wanted = panel.merge(rounded, *SIZE)
        pixels = np.random.default_rng(i).integers(0, 255, (*SIZE, 3), np.uint8)
        assert_same(r, type(r)(f"p{i}", PROMPTS[i], wanted, pixels), atol=1 / 255)


def test_merge_tells_the_agreement(asked, tmp_path, capsys):
    out = tmp_path / "mine.tfrecord"
    assert run("merge", asked / "Ann.json", asked / "Bob.json", "--out", out) == 0
    said = capsys.readouterr().out
    both = [[person(name, n, i) for n, name in enumerate(("Ann", "Bob"))] for i in range(3)]
    for name, share in panel.agreement(both).items():
        (line,) = [line.split() for line in said.splitlines() if line.split()[:1] == [name]]
        assert line[1:] == [f"{share.perfect:.0%}", f"{share.good:.0%}", str(share.answers)]
    assert "3 pictures, 2 people: Ann, Bob" in said
    assert "holds no pictures and no prompts" in said
    assert [p.name for p in tmp_path.iterdir()] == ["mine.tfrecord"]
    once = out.read_bytes()
    assert run("merge", asked / "Ann.json", "--out", out) == 2  # what two people said is not written over
    assert "mine.tfrecord is there already" in capsys.readouterr().err
    assert out.read_bytes() == once
    assert run("merge", asked / "Ann.json", "--out", tmp_path / "other.tfrecord") == 0
    assert "no agreement to measure" in capsys.readouterr().out


def test_merge_refuses_what_does_not_fit(asked, tmp_path, capsys):
    def refused(*said):
        assert run("merge", *said) == 2
        assert not (tmp_path / "a.tfrecord").exists()
        return capsys.readouterr().err

    out, ann = ("--out", tmp_path / "a.tfrecord"), asked / "Ann.json"
    assert ".tfrecord" in refused(ann, "--out", tmp_path / "a.json")
    assert "must end with .tfrecord" in refused(ann, "--out", tmp_path / "a.tfrecord.html")
    assert "nothing of that name" in refused(tmp_path / "none.json", *out)
    (tmp_path / "wrong").mkdir()
    assert "expected one picture of this name" in refused(ann, *out, "--pictures", tmp_path / "wrong")
    for i in range(3):
        Image.new("RGB", (5, 5)).save(tmp_path / "wrong" / f"p{i}.png")
    assert "expected 32 x 24, as it was annotated, found 5 x 5" in refused(ann, *out, "--pictures", tmp_path / "wrong")
    export = json.loads(ann.read_text())
    export["pictures"][0]["annotations"][0]["likert"]["overall"] = 6
    (tmp_path / "six.json").write_text(json.dumps(export))
    assert "a whole answer from 1 to 5" in refused(tmp_path / "six.json", *out)
    assert run("merge", tmp_path / "six.json", *out, "--skip-damaged") == 1
    assert "left out" in capsys.readouterr().err
    assert len(formats.read_richhf(tmp_path / "a.tfrecord")) == 2


def test_merge_never_writes_over_pictures_or_mixes_them(asked, tmp_path, capsys):
    folder = shutil.copytree(asked / "renders", tmp_path / "mine" / "pictures")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def refused(out, pictures):
        given = () if pictures is None else ("--pictures", pictures)
        there = sorted(tmp_path.rglob("*"))
        assert run("merge", asked / "Ann.json", "--out", out, *given) == 2
        assert sorted(tmp_path.rglob("*")) == there
        return capsys.readouterr().err

    assert "there already" in refused(folder.parent / "a.tfrecord", folder)
    assert "there already" in refused(
        folder.parent / "a.tfrecord", asked / "renders"
    )  # which may be others, of one name
    assert "lies in it" in refused(folder / "in" / "a.tfrecord", folder)
    assert "lies in it" in refused(folder / "a.tfrecord", folder)
    (folder / "p1.png").unlink()  # is missed when p0 is done
    assert "expected one picture of this name" in refused(tmp_path / "new" / "a.tfrecord", folder)
    (folder / "p1.png").write_bytes(before["p1.png"])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert (
        run("merge", asked / "Ann.json", "--out", folder.parent / "a.tfrecord") == 0
    )  # beside them: nothing is copied
    assert "there already" in refused(folder.parent / "b.tfrecord", None)


def test_a_later_download_holds_the_earlier_one(asked, tmp_path, capsys):
    def downloaded(name, *answers):
        export = json.loads((asked / "Ann.json").read_text())
        export["pictures"] = export["pictures"][: len(answers)]
        for picture, (overall, changed) in zip(export["pictures"], answers):
            picture["annotations"][0]["likert"]["overall"] = overall
            picture["annotations"][0] |= {"changed": changed} if changed else {}
        (tmp_path / name).write_text(json.dumps(export))
        return tmp_path / name

    first = downloaded("annotations_Ann.json", (1, 1000), (2, 2000))
    later = downloaded("annotations_Ann (1).json", (5, 4000), (2, 2000), (3, 3000))
    for n, order in enumerate(([first, later], [later, first])):
        assert run("merge", *order, "--out", tmp_path / f"{n}.tfrecord") == 0
        assert "3 pictures, 1 person: Ann\n1 answer left out" in capsys.readouterr().out
        found = list(formats.read_richhf(tmp_path / f"{n}.tfrecord"))
        assert [r.feedback.scores["overall"] for r in found] == [1, 0.25, 0.5]
    # without times, as pages once made them
    assert run("merge", asked / "Ann.json", asked / "Ann.json", "--out", tmp_path / "same.tfrecord") == 0
    assert "left out" not in capsys.readouterr().out
    other = downloaded("other.json", (1, None)), downloaded("another.json", (2, None))
    assert run("merge", *other, "--out", tmp_path / "no.tfrecord") == 2
    assert "one answer of each annotator, found 'Ann'" in capsys.readouterr().err
    export = json.loads((asked / "Ann.json").read_text())
    export["pictures"][0]["width"] += 1
    (tmp_path / "wide.json").write_text(json.dumps(export))
    assert run("merge", asked / "Bob.json", tmp_path / "wide.json", "--out", tmp_path / "no.tfrecord") == 2
    assert "as before, found 33 x 24" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ train, evaluate


def test_training_learns_from_what_was_merged_and_goes_on(merged, model, capsys):
    found = RAHF.load(model)
    assert set(found.config.vocabulary) == {word for prompt in PROMPTS for word in words(prompt)}
    assert (found.config.size, found.config.longest) == (16, 24)
    before = model.read_bytes()
    small = ("--size", 16, "--width", 16, "--layers", 1, "--steps", 3, "--batch", 2)
    assert run("train", merged.parent, "--out", model, *small) == 0  # all steps are done
    assert model.read_bytes() == before
    assert "3 steps on 3 pictures" in capsys.readouterr().out
    assert run("train", merged.parent, "--out", model, *small, "--seed", 1) == 2
    said = capsys.readouterr().err
    assert "seed" in said
    assert "give another --out" in said


def test_train_says_before_any_work_what_it_cannot_do(merged, model, tmp_path, monkeypatch, capsys):
    def refused(out, *more):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        monkeypatch.setattr(formats, "read", None)
        assert run("train", merged.parent, "--out", out, *more) == 2
        monkeypatch.undo()
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return capsys.readouterr().err

    assert "must end with .safetensors" in refused(merged)
    (tmp_path / "map.safetensors").write_bytes(b"a map of the data")
    assert "no map.checkpoint.safetensors to go on from" in refused(tmp_path / "map.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert "this is a folder" in refused(tmp_path / "folder.safetensors")
    assert "is a file, and nothing can lie in it" in refused(tmp_path / "map.safetensors" / "in" / "a.safetensors")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "--batch 3: cannot be shared evenly by 2" in refused(tmp_path / "a.safetensors", "--batch", 3)
    for option, value in (("--size", 20), ("--size", 8192), ("--width", 24), ("--seed", 2**64)):
        with pytest.raises(SystemExit):
            run("train", merged, "--out", tmp_path / "a.safetensors", option, value)
        assert f"argument {option}: a whole number" in capsys.readouterr().err


def test_fewer_steps_than_are_done(merged, model, capsys):
    small = ("--size", 16, "--width", 16, "--layers", 1, "--batch", 2)
    assert run("train", merged.parent, "--out", model, *small, "--steps", 2) == 2
    said = capsys.readouterr().err
    assert "step 3" in said
    assert "damaged" not in said


def test_two_processes_are_as_one(merged, tmp_path, capsys):
    """Each half of the batch: the losses and the weights of one process, but for rounding (files hold 16 bits)."""
    small = ["train", "--size", "16", "--width", "16", "--layers", "1", "--steps", "3", "--batch", "4"]
    small += [str(merged.parent), "--out"]
    assert run(*small, tmp_path / "one.safetensors") == 0
    alone = capsys.readouterr().out
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    outside = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")} | dict(OMP_NUM_THREADS="1")
    command = [*several, "-m", "bestpapers.feedback", *small, str(tmp_path / "two.safetensors")]
    done = subprocess.run(command, env=outside, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (loss,) = re.findall(r"3 steps on 3 pictures, loss ([\d.]+)", done.stdout)  # one of them speaks
    assert float(loss) == pytest.approx(float(re.findall(r"loss ([\d.]+)", alone)[0]), abs=2e-3)
    one, two = (RAHF.load(tmp_path / f"{name}.safetensors").state_dict() for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-3, rtol=0)


def test_training_needs_prompts_and_data(merged, tmp_path, capsys):
    alone = tmp_path / "alone.tfrecord"
    alone.write_bytes(merged.read_bytes())
    assert run("train", alone, "--out", tmp_path / "a.safetensors") == 2
    assert "give --prompts" in capsys.readouterr().err
    assert run("train", tmp_path / "none", "--out", tmp_path / "a.safetensors") == 2
    assert "nothing of that name" in capsys.readouterr().err


def table(folder, **changes):
    """A folder of feedback as people make it: three pictures of PROMPTS; changes {column: its values}."""
    folder.mkdir()
    rows = []
    for n, prompt in enumerate(PROMPTS):
        Image.new("RGB", (16, 16), (80 * n, 0, 0)).save(folder / f"{n}.png")
        row = dict(file_name=f"{n}.png", prompt=prompt, misaligned=[0] * len(words(prompt)))
        row |= dict.fromkeys(SCORES, 0.5) | {name: [[0, 1], [0, 0]] for name in MAPS}
        row |= {name: values[n] for name, values in changes.items()}
        rows.append({name: value for name, value in row.items() if value is not None})
    (folder / "metadata.json").write_text(json.dumps(rows))
    return folder


SMALL = ("--size", 16, "--width", 16, "--layers", 1, "--steps", 1, "--batch", 2)


def test_words_without_labels_are_not_taken_for_sound_ones(tmp_path, capsys):
    lacking = table(tmp_path / "t", misaligned=[None, [0] * 4, [1] * 3])
    assert run("train", lacking, "--out", tmp_path / "a.safetensors", *SMALL) == 2
    assert "record '0' lacks labels of its words" in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()


def test_a_prompt_that_is_too_long_is_named_and_can_be_left_out(model, tmp_path, capsys):
    long = " ".join(["boat"] * 30)
    data = table(tmp_path / "t", prompt=[PROMPTS[0], PROMPTS[1], long], misaligned=[[0] * 3, [0] * 4, [0] * 30])
    assert run("evaluate", data, "--model", model) == 2
    assert "record '2', prompt: expected at most 24 words, as this model reads, found 30" in capsys.readouterr().err
    assert run("evaluate", data, "--model", model, "--skip-damaged") == 1
    assert "found 30" in capsys.readouterr().err
    assert run("score", data / "0.png", "--prompt", long, "--model", model) == 2
    assert "0.png: its prompt has 30 words, and this model reads 24 at the most" in capsys.readouterr().err
    assert run("train", data, "--out", tmp_path / "a.safetensors", *SMALL, "--longest", 40) == 0
    assert RAHF.load(tmp_path / "a.safetensors").config.longest == 40
    assert run("evaluate", data, "--model", tmp_path / "a.safetensors") == 0


def test_scores_of_which_one_is_out_of_range(model, tmp_path, capsys):
    data = table(tmp_path / "t", overall=[0.5, 7, 0.5])
    assert run("evaluate", data, "--model", model, "--skip-damaged") == 2
    assert "say which by `scale` (--scale)" in capsys.readouterr().err
    assert run("evaluate", data, "--model", model, "--skip-damaged", "--scale", "unit") == 1
    assert "a score from 0 to 1" in capsys.readouterr().err


def test_prompts_that_are_read_without_being_named_are_kept_too(merged, model, tmp_path, capsys):
    folder = shutil.copytree(merged.parent, tmp_path / "own")
    prompts = {f"p{i}": prompt for i, prompt in enumerate(PROMPTS)}
    (folder / "prompts.json").write_text(json.dumps(prompts))
    assert run("evaluate", folder / merged.name, "--model", model, "--output", folder / "prompts.json") == 2
    assert "this is read" in capsys.readouterr().err
    assert json.loads((folder / "prompts.json").read_text()) == prompts
    (folder / f"._{merged.name}").write_bytes(b"what macOS leaves")
    assert run("evaluate", folder, "--model", model) == 0


def test_no_output_is_written_over_an_input(asked, merged, model, tmp_path, capsys):
    folder = shutil.copytree(asked / "renders", tmp_path / "renders")
    copy = tmp_path / "other.json"
    shutil.copy(model, copy)
    table = tmp_path / "data"
    table.mkdir()
    (table / "metadata.json").write_text("[]")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    given = ("--prompt", "a", "--model", copy)
    for said, why in (
        (("evaluate", merged, "--model", copy, "--output", copy), "this is read"),
        (("evaluate", table, "--output", table / "metadata.json"), f"lies in {table}"),
        (("evaluate", merged, "--model", copy, "--output", folder), "must end with .json"),
        (("score", folder, *given, "--output", folder / "p0.png"), f"lies in {folder}"),
        (("score", folder / "p0.png", *given, "--output", folder / "p0.png"), "this is read"),
        (("score", folder, *given, "--output", folder), "is a folder"),
        (("score", folder, *given, "--output", copy), "this is read"),
        (("score", folder, *given, "--heatmaps", folder / "seen"), "lies in it"),
        (("score", folder / "p0.png", *given, "--heatmaps", folder), "lies there too"),
        (("score", folder, *given, "--heatmaps", copy), "something else"),
        (("annotate", folder, "--out", folder), "must end with"),
    ):
        assert run(*said) == 2
        assert why in capsys.readouterr().err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


def test_warnings_of_libraries_are_not_shown(tmp_path, model, capsys, recwarn):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    row = {"file_name": "a.png", "prompt": "a", **dict.fromkeys(SCORES, 4)}  # answers 1 to 5, with a warning
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    assert run("evaluate", tmp_path, "--model", model, "--device", "cpu") == 0
    assert "read as answers 1 to 5" in capsys.readouterr().out
    assert not list(recwarn)


def test_evaluate_prints_the_tables_of_metrics(merged, model, tmp_path, capsys):
    assert run("evaluate", merged, "--model", model, "--device", "cpu", "--output", tmp_path / "cells.json") == 0
    said = capsys.readouterr().out
    records = list(formats.read(merged, size=(16, 16)))
    pictures = np.stack([r.picture for r in records])
    predicted = RAHF.load(model).eval().predict(pictures, [r.prompt for r in records])
    wanted = metrics.tables(predicted, [r.feedback for r in records], above=1 / 6)
    cells = json.loads((tmp_path / "cells.json").read_text())["cells"]
    assert cells.keys() == wanted.cells.keys()
    for key, cell in wanted.cells.items():
        assert cells[key]["pictures"] == cell.pictures
        assert cells[key]["value"] == pytest.approx(cell.value) or np.isnan(cell.value)
    for table, keys in metrics.ROWS.items():
        assert f"\n{table} " in said
        assert all(f"\n{key} " in said for key in keys)


@pytest.mark.parametrize("least", [-2.0, 2.0])
def test_maps_that_say_nothing_are_named(merged, model, capsys, monkeypatch, least):
    monkeypatch.setattr("bestpapers.feedback.evaluate.COLLAPSED", least)
    assert run("evaluate", merged, "--model", model, "--device", "cpu") == 0
    assert ("its maps of implausibility say nothing" in capsys.readouterr().out) is (least > 0)


def test_a_table_is_evaluated_too(model, tmp_path, capsys):
    made = record(0, size=(16, 16))
    Image.fromarray(made.picture).save(tmp_path / "a.png")
    row = {"file_name": "a.png", "prompt": "two red boats", **{name: 0.5 for name in SCORES}}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    assert run("evaluate", tmp_path, "--model", model, "--device", "cpu") == 0
    assert "overall.plcc" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------------------------------- score


def test_score_says_scores_words_and_heatmaps(asked, model, tmp_path, capsys):
    renders, seen = asked / "renders", tmp_path / "seen"
    common = ("--prompts", renders, "--model", model, "--device", "cpu", "--at", 0.3, "--heatmaps", seen)
    for name in ("a.json", "a.csv"):
        assert run("score", renders, *common, "--output", tmp_path / name) == 0
    assert run("score", renders, *common, "--output", tmp_path / "b.csv", "--format", "json") == 0
    assert (tmp_path / "b.csv").read_text() == (tmp_path / "a.json").read_text()
    rows = json.loads((tmp_path / "a.json").read_text())
    assert [row["prompt"] for row in rows] == PROMPTS
    net = RAHF.load(model).eval()
    for row in rows:
        pixels = files.read_picture(renders / row["file_name"].rpartition("/")[2])
        (said,) = net.predict(files.resize(pixels, (16, 16))[None], [row["prompt"]])
        assert [word for word, _ in row["words"]] == list(words(row["prompt"]))
        np.testing.assert_allclose([x for _, x in row["words"]], said.misaligned, atol=1e-3)
        np.testing.assert_allclose([row[name] for name in SCORES], [said.scores[name] for name in SCORES], atol=1e-3)
        assert row["misaligned"] == [word for word, x in row["words"] if x > 0.3]
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["overall"]) for row in table] == [row["overall"] for row in rows]
    assert [row["misaligned"] for row in table] == [" ".join(row["misaligned"]) for row in rows]
    assert sorted(p.name for p in seen.iterdir()) == sorted(f"p{i}_{kind}.png" for i in range(3) for kind in MAPS)
    with Image.open(seen / "p0_misalignment.png") as image:
        assert image.size == SIZE[::-1]
    assert run("score", renders / "p0.png", "--prompt", "two red boats", "--model", model, "--device", "cpu") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("p0.png")


def test_an_overlay_covers_where_the_map_is_high():
    picture = np.full((2, 2, 3), 100, np.uint8)
    found = overlay(picture, np.array([[0, 1], [0.5, 2]]), (200, 100, 0))
    np.testing.assert_array_equal(found[0, 0], picture[0, 0])
    np.testing.assert_array_equal(found[0, 1], [175, 100, 25])
    np.testing.assert_array_equal(found[1], [[138, 100, 62], [175, 100, 25]])


def test_score_writes_all_or_nothing(asked, model, tmp_path, capsys):
    folder = shutil.copytree(asked / "renders", tmp_path / "renders")
    (folder / "p1.png").write_bytes((folder / "p1.png").read_bytes()[:200])
    out = ("--heatmaps", tmp_path / "seen" / "here", "--output", tmp_path / "rows" / "a.csv")
    assert run("score", folder, "--prompts", folder, "--model", model, *out) == 2
    assert "p1.png" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["renders"]


def test_score_shows_names_and_prompts_as_they_are(model, tmp_path, capsys):
    for name in ("a\x1b[2J\nb", "c\udcff"):
        Image.new("RGB", (16, 16)).save(os.fsencode(tmp_path / f"{name}.png").decode(errors="surrogateescape"))
    given = ("--prompt", "a \x1b[31mred\x07 boat", "--model", model, "--device", "cpu", "--at", 0)
    assert run("score", tmp_path / "a\x1b[2J\nb.png", *given) == 0
    said = capsys.readouterr().out
    assert "a\\x1b[2J\\nb.png " in said
    assert "\\x1b[31mred\\x07" in said
    assert "\x1b" not in said


def test_a_model_that_is_none_is_told_apart(asked, tmp_path, monkeypatch, capsys):
    def refused(*model):
        assert run("score", asked / "renders", "--prompt", "a fox", *model) == 2
        return capsys.readouterr().err

    monkeypatch.setattr(weights, "HERE", tmp_path)
    said = refused()
    assert "this copy of the book comes without" in said
    assert "--model FILE" in said
    assert "python -m bestpapers.feedback train DATA --out FILE" in said
    said = refused("--model", tmp_path / "in" / "a.safetensors")
    assert "expected a trained model, found nothing of that name" in said
    assert "copy of the book" not in said
    assert "found a folder" in refused("--model", tmp_path)
    (tmp_path / "a.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "Git LFS pointer" in refused("--model", tmp_path / "a.safetensors")


def test_score_refuses_what_it_cannot_tell_apart(asked, model, tmp_path, capsys):
    picture = asked / "renders" / "p0.png"
    assert run("score", picture, picture, "--prompt", "a", "--model", model, "--heatmaps", tmp_path) == 2
    assert "one name" in capsys.readouterr().err
    (tmp_path / "prompts.csv").write_text("name,prompt\nother,words\n")
    assert run("score", picture, "--prompts", tmp_path / "prompts.csv", "--model", model) == 2
    assert "no prompt for it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("score", picture)
