"""The command line: tables and files of predictions, embeddings, lists of taxa, and what it says when it cannot."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.bioclip import __main__ as program
from bestpapers.bioclip import experiments, formats, weights
from bestpapers.bioclip.classify import BaseClassifier, CustomLabelsClassifier, Rank, TreeOfLifeClassifier
from bestpapers.bioclip.taxa import RANKS, taxa
from bestpapers.lab import files

from .tiny import CONFIG, tiny_clip


def run(*words) -> int:
    return program.main([str(word) for word in words])


def parse(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("main")
    formats.save_local(tiny_clip(), path / "weights", CONFIG)
    (path / "photos" / "deep").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.jpg", "deep/c.webp")):
        few = np.random.default_rng(i).integers(0, 255, (3, 4, 3)).astype(np.uint8)
        Image.fromarray(few).resize((50, 40), Image.Resampling.BICUBIC).save(path / "photos" / name)
    (path / "photos" / "notes.txt").write_text("no image")
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(folder):
    return f"local-dir:{folder / 'weights'}"


@pytest.fixture(scope="module")
def photos(folder):
    return [str(folder / "photos" / name) for name in ("a.png", "b.jpg", "deep/c.webp")]


# ------------------------------------------------------------------------------------------------------------- predict


def test_predictions_are_the_librarys(model, photos, capsys):
    assert run("predict", *photos, "--model", model) == 0
    shown = capsys.readouterr()
    rows = parse(shown.out)
    want = TreeOfLifeClassifier(model).predict(photos)
    assert [float(row.pop("score")) for row in rows] == pytest.approx([row.pop("score") for row in want], rel=1e-4)
    assert rows == want
    assert shown.err.startswith("no --labels: those of this book are taken, 128 species, embedded by local-dir:")
    assert len(shown.err.splitlines()) == 1


def test_a_rank_as_a_table_for_a_folder(model, photos, folder, capsys):
    assert run("predict", folder / "photos", "--model", model, "--rank", "family", "--k", 2, "--format", "table") == 0
    header, line, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["file_name", *RANKS[:5], "score"]
    assert set(line) == {"-", " "}
    want = TreeOfLifeClassifier(model).predict(photos, Rank.FAMILY, k=2)
    assert [row.split() for row in rows] == [
        [*map(str, list(row.values())[:-1]), f"{row['score']:.4f}"] for row in want
    ]
    assert (
        len({row.index(f"{w['score']:.4f}", len(w["file_name"])) for row, w in zip(rows, want)}) == 1
    )  # columns stand


def test_labels_of_ones_own(model, photos, folder, tmp_path, capsys):
    want = CustomLabelsClassifier(["oak", "fly agaric", "lion"], model).predict(photos[:1])
    (tmp_path / "labels.txt").write_text("oak\n\nfly agaric\nlion\n")
    for words in (("--cls", "oak, fly agaric,lion"), ("--cls", tmp_path / "labels.txt")):
        assert run("predict", photos[0], "--model", model, *words) == 0
        rows = parse(capsys.readouterr().out)
        assert [row["classification"] for row in rows] == [row["classification"] for row in want]
        assert [float(row["score"]) for row in rows] == pytest.approx([row["score"] for row in want], rel=1e-4)
    (tmp_path / "bins.csv").write_text("label,bin\noak,plant\nfly agaric,fungus\nlion,animal\nfern,plant\n")
    assert run("predict", photos[0], "--model", model, "--bins", tmp_path / "bins.csv") == 0
    rows = parse(capsys.readouterr().out)
    assert {row["classification"] for row in rows} == {"plant", "fungus", "animal"}
    assert sum(float(row["score"]) for row in rows) == pytest.approx(1)
    (tmp_path / "bins.tsv").write_text("label\tbin\tnote\noak\tplant\t1\nlion\tanimal\t2\noak\tplant\t3\n")
    assert run("predict", photos[0], "--model", model, "--bins", tmp_path / "bins.tsv") == 0
    shown = capsys.readouterr()
    assert {row["classification"] for row in parse(shown.out)} == {"plant", "animal"}
    assert "bins.tsv: 1 label given before and left out" in shown.err
    assert run("predict", photos[0], "--model", model, "--cls", "oak,lion, oak") == 0
    shown = capsys.readouterr()
    assert len(parse(shown.out)) == 2
    assert "--cls: 1 label given before and left out" in shown.err
    assert run("predict", photos[0], "--model", model, "--cls", "lion,Lion,LION,tiger") == 0
    shown = capsys.readouterr()
    assert {row["classification"] for row in parse(shown.out)} == {"lion", "tiger"}
    assert "--cls: 2 labels given before and left out" in shown.err
    (tmp_path / "x.csv").write_text("seen;label\n3;lion\n4;oak\n")
    for given in (f"{tmp_path / 'labels.txt'} ", tmp_path / "x.csv"):  # a blank behind the name; a header
        assert run("predict", photos[0], "--model", model, "--cls", given) == 0
        assert {row["classification"] for row in parse(capsys.readouterr().out)} - {"fly agaric"} == {"lion", "oak"}
    many = ",".join(f"species number {i}" for i in range(40))  # too long for the name of a file
    assert run("predict", photos[0], "--model", model, "--cls", many, "--k", 1) == 0
    assert len(parse(capsys.readouterr().out)) == 1


def test_bins_with_and_without_a_header(model, photos, tmp_path, capsys):
    for text, bins in (
        ("lion,cat\noak,tree\n", {"cat", "tree"}),  # no header
        ("Fly Agaric\tFungus\noak\ttree\n", {"Fungus", "tree"}),
        ("note,bin,label\n1,cat,lion\n2,tree,oak\n", {"cat", "tree"}),
        ("bin;class\ncat;lion\ntree;oak\n", {"cat", "tree"}),
        ("name,bin\nlion,cat\noak,tree\n", {"cat", "tree"}),
    ):
        (tmp_path / "bins.csv").write_text(text)
        assert run("predict", photos[0], "--model", model, "--bins", tmp_path / "bins.csv") == 0
        shown = capsys.readouterr()
        assert {row["classification"] for row in parse(shown.out)} == bins
        assert ("line 1 is taken for a row, and no header" in shown.err) == ("bin" not in text)


def test_a_subset_and_other_taxa(model, photos, tmp_path, capsys):
    (tmp_path / "region.csv").write_text("genus\nLynx\nQuercus\n")
    assert run("predict", photos[0], "--model", model, "--subset", tmp_path / "region.csv", "--k", 100) == 0
    rows = parse(capsys.readouterr().out)
    assert {row["genus"] for row in rows} == {"Lynx", "Quercus"}
    assert sum(float(row["score"]) for row in rows) == pytest.approx(1)
    (tmp_path / "own.csv").write_text(
        'Genus,species,common_name\nCarassius,Carassius auratus,goldfish\nLynx,"rufus (Schreber, 1777)",\n'
    )
    assert run("predict", photos[0], "--model", model, "--labels", tmp_path / "own.csv") == 0
    rows = parse(capsys.readouterr().out)
    assert {(row["species"], row["common_name"]) for row in rows} == {
        ("Carassius auratus", "goldfish"),
        ("Lynx rufus", ""),
    }
    (tmp_path / "seen.tsv").write_text(  # observations, one of them of a genus, beside the labels of photographs
        "genus\tspecies\tclass\tcls\tcommon_name\n"
        "Lynx\tLynx rufus\ta cat\tMammalia\t\nLynx\tLynx rufus\ta bobcat\tMammalia\tbobcat\nLynx\tLynx sp.\ta cat\tMammalia\t\n"
    )
    assert run("predict", photos[0], "--model", model, "--labels", tmp_path / "seen.tsv") == 0
    shown = capsys.readouterr()
    found = {(row["class"], row["genus"], row["species"], row["common_name"]) for row in parse(shown.out)}
    assert found == {("Mammalia", "Lynx", "Lynx rufus", "bobcat"), ("Mammalia", "Lynx", "", "")}
    assert shown.err == "1 of 3 labels name a taxon again, and are left out\n"
    tree = TreeOfLifeClassifier(model)
    formats.save_label_embeddings(tmp_path / "pair", tree.txt_embeddings[:, :3], taxa()[:3])
    assert run("predict", photos[0], "--model", model, "--labels", tmp_path / "pair.npy") == 0
    assert {row["species"] for row in parse(capsys.readouterr().out)} == {taxon.name for taxon in taxa()[:3]}


def test_output_and_log(model, photos, tmp_path, capsys):
    out, log = tmp_path / "new" / "rows.csv", tmp_path / "log.json"
    assert run("predict", *photos, "--model", model, "--output", out, "--log", log, "--rank", "order") == 0
    assert capsys.readouterr().out == ""
    assert [row["file_name"] for row in parse(out.read_text())[::5]] == photos
    report = json.loads(log.read_text())
    assert report["images"] == photos
    assert report["settings"]["rank"] == "order"
    assert report["settings"]["model"] == model
    assert report["settings"]["device"] in ("cpu", "cuda", "mps")
    assert report["command_line"].startswith("python -m bestpapers.bioclip predict ")
    assert report["torch"] == torch.__version__
    assert report["start"] <= report["end"]
    for _ in range(2):
        assert run("predict", photos[0], "--model", model, "--cls", "oak,lion", "--log", tmp_path / "log.txt") == 0
    text = (tmp_path / "log.txt").read_text()
    assert text.count("** predictions of bestpapers ") == text.count(f"images:\n{photos[0]}\n") == 2
    assert f"model: {model}\n" in text
    assert "cls: oak,lion\n" in text
    capsys.readouterr()
    assert run("predict", photos[0], "--model", model, "--cls", "oak", "--output", "stdout", "--k", 1) == 0
    assert len(parse(capsys.readouterr().out)) == 1


def test_nothing_that_is_read_or_kept_is_written_over(model, photos, folder, tmp_path, capsys, monkeypatch):
    """Known before any work: no model is loaded."""
    monkeypatch.setattr(formats, "load", None)
    tables = {"region.csv": "genus\nLynx\n", "own.csv": "genus,species\nLynx,lynx\n", "bins.csv": "a,b\noak,tree\n"}
    for name, text in (tables | {"cls.txt": "oak\n", "old.json": "{}"}).items():
        (tmp_path / name).write_text(text)
    start = ("predict", *photos, "--model", model)
    weights_file = folder / "weights" / "open_clip_config.json"
    for words, message in (
        ((*start, "--output", photos[1]), f"--output {photos[1]}: this is read"),
        (("predict", folder / "photos", "--model", model, "--log", photos[2]), "this is read"),
        (("embed", photos[0], "--model", model, "--output", photos[0]), "this is read"),
        ((*start, "--output", weights_file), "this is read"),
        ((*start, "--subset", tmp_path / "region.csv", "--output", tmp_path / "region.csv"), "this is read"),
        ((*start, "--labels", tmp_path / "own.csv", "--output", tmp_path / "own.csv"), "this is read"),
        ((*start, "--bins", tmp_path / "bins.csv", "--log", tmp_path / "bins.csv"), "this is read"),
        ((*start, "--cls", tmp_path / "cls.txt", "--output", tmp_path / "cls.txt"), "this is read"),
        ((*start, "--output", tmp_path / "x", "--log", tmp_path / "x"), "this is what --output names"),
        ((*start, "--log", tmp_path / "old.json"), "there is a log of this name"),
        ((*start, "--output", tmp_path), "this is a folder"),
    ):
        assert run(*words) == 2, words
        assert message in capsys.readouterr().err
    assert Image.open(photos[1]).size == (50, 40)


def test_names_of_files_come_back_as_given(model, photos, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    given = ["./photos/a.png", "photos/../photos//b.jpg"]
    assert run("predict", *given, "./photos", "--model", model, "--k", 1) == 0
    found = [row["file_name"] for row in parse(capsys.readouterr().out)]
    assert found == [*given, *(f"./photos/{name}" for name in ("a.png", "b.jpg", "deep/c.webp"))]
    latin = b"caf\xe9.png"
    try:
        (tmp_path / os.fsdecode(latin)).write_bytes((folder / "photos" / "a.png").read_bytes())
    except OSError:
        pytest.skip("this system has no such names")
    for out in ((), ("--output", tmp_path / "out.csv")):
        assert run("predict", os.fsdecode(os.fsencode(tmp_path) + b"/" + latin), "--model", model, "--k", 1, *out) == 0
    for text in (capsys.readouterr().out, (tmp_path / "out.csv").read_text(encoding="utf-8")):
        assert parse(text)[0]["file_name"] == f"{tmp_path}/caf\\udce9.png"


def test_what_a_folder_holds_beside_photographs_is_counted(model, folder, tmp_path, capsys):
    image = Image.open(folder / "photos" / "a.png")
    for name, kind in (("a.gif", None), ("b.avif", None), ("c.jp2", None), ("d", "PNG")):
        image.save(tmp_path / name, kind)
    for name in ("notes.txt", "film.mp4", "other.txt", "README", ".DS_Store"):
        (tmp_path / name).write_text("no image")
    assert run("predict", tmp_path, "--model", model, "--cls", "oak,lion", "--k", 1) == 0
    shown = capsys.readouterr()
    assert [os.path.basename(row["file_name"]) for row in parse(shown.out)] == ["a.gif", "b.avif", "c.jp2", "d"]
    assert shown.err == f"{tmp_path}: 4 files passed over, of other kinds (.mp4, .txt, no ending)\n"


def test_links_and_hidden_folders(model, folder, tmp_path, capsys):
    image = Image.open(folder / "photos" / "a.png")
    for name in ("in/a.mpo", "in/.thumbs/t.jpg", "elsewhere/b.jpf", "elsewhere/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / name)
    try:
        (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
        (tmp_path / "in" / "nothing.jpg").symlink_to(tmp_path / "gone.jpg")
    except OSError:
        pytest.skip("this system makes no links")
    assert run("predict", tmp_path / "in", "--model", model, "--cls", "oak,lion", "--k", 1) == 0
    shown = capsys.readouterr()
    found = [os.path.relpath(row["file_name"], tmp_path / "in") for row in parse(shown.out)]
    assert found == ["a.mpo", "linked/b.jpf", "linked/c.png"]
    left_out = "left out, links to nothing or places that cannot be read"
    assert shown.err == f"{tmp_path / 'in'}: {left_out}: {tmp_path / 'in' / 'nothing.jpg'}\n"


def test_output_is_written_whole_or_not_at_all(model, photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "rows.csv"
    out.write_text("of yesterday")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "replace", full)
    assert run("predict", photos[0], "--model", model, "--output", out) == 2
    assert "no space left" in capsys.readouterr().err
    assert out.read_text() == "of yesterday"
    assert run("predict", photos[0], "--model", "local-dir:nowhere", "--output", out) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["rows.csv"]
    assert out.read_text() == "of yesterday"


def test_damaged_photographs_are_named_and_left_out(model, photos, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    assert run("predict", photos[0], bad, tmp_path / "none.jpg", photos[1], "--model", model, "--k", 1) == 1
    shown = capsys.readouterr()
    assert [row["file_name"] for row in parse(shown.out)] == photos[:2]
    assert "bad.jpg: image: expected a whole image" in shown.err
    assert "none.jpg: file: expected a photograph, found nothing of that name" in shown.err
    assert run("predict", bad, "--model", model) == 1
    assert parse(capsys.readouterr().out) == []


# ------------------------------------------------------------------------------------------------------ embed, list-taxa


def test_embed(model, photos, tmp_path, capsys):
    assert run("embed", *photos, "--model", model, "--batch-size", 2, "--output", tmp_path / "e.json") == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["model"] == model
    assert list(found["embeddings"]) == photos
    raw = BaseClassifier(model).create_image_features_for_image(photos[2], normalize=False)
    np.testing.assert_allclose(found["embeddings"][photos[2]], raw, rtol=1e-4, atol=1e-5)
    assert run("embed", photos[0], "--model", model) == 0
    assert json.loads(capsys.readouterr().out)["embeddings"].keys() == {photos[0]}


def test_list_taxa(tmp_path, capsys):
    assert run("list-taxa") == 0
    shown = capsys.readouterr()
    rows = parse(shown.out)
    assert [row["species"] for row in rows] == [taxon.name for taxon in taxa()]
    assert list(rows[0]) == [*RANKS[:6], "species_epithet", "species", "common_name"]
    assert "128 labels, 0 of them without a name at some rank" in shown.err
    (tmp_path / "own.csv").write_text("kingdom,genus,species\nAnimalia,Carassius,auratus\n,Lynx,rufus\n")
    assert run("list-taxa", "--labels", tmp_path / "own.csv", "--format", "table") == 0
    shown = capsys.readouterr()
    assert "Carassius auratus" in shown.out
    assert "2 labels, 2 of them without" in shown.err
    matrix = torch.ones(4, 2)
    matrix[:, 0] = 0
    formats.save_label_embeddings(tmp_path / "pair", matrix, taxa()[:2])
    assert run("list-taxa", "--labels", tmp_path / "pair") == 0
    shown = capsys.readouterr().err
    assert "pair.npy: 1 of 2 columns are all zero" in shown
    assert "1 have no embedding and are never predicted" in shown


def listed(tmp_path, capsys, text, name="own.csv"):
    """What list-taxa makes of a table of labels, and what it says."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert run("list-taxa", "--labels", tmp_path / name) == 0
    shown = capsys.readouterr()
    return [" ".join(filter(None, row.values())) for row in parse(shown.out)], shown.err


def test_names_that_cannot_be_read_are_told(tmp_path, capsys):
    text = "genus,species\nParus,major?\nParus,majorLinnaeus 1758\nParus,NA\nParus,ater\nParus,major/minor\n"
    rows, said = listed(tmp_path, capsys, text)
    assert rows == ["Parus", "Parus ater Parus ater"]
    assert said.splitlines()[:5] == [
        f"{tmp_path / 'own.csv'}: 3 names of species cannot be read, taken for what is above:",
        *("  line 2: 'major?' as Parus", "  line 3: 'majorLinnaeus 1758' as Parus", "  line 6: 'major/minor' as Parus"),
        "3 of 5 labels name a taxon again, and are left out",
    ]
    many = "family,genus,species\n" + "".join(f"Paridae,Parus/Aus {i},ater\n" for i in range(25))
    rows, said = listed(tmp_path, capsys, many)
    assert rows == ["Paridae"]
    assert "  line 2: 'Parus/Aus 0 ater' as Paridae" in said
    assert "  and 5 more\n" in said


def test_the_class_of_photographs_is_no_rank(tmp_path, capsys):
    text = "{},class,genus,species\na.jpg,a lion at dusk,Panthera,leo\nb.jpg,lioness,Panthera,leo\n"
    for column in ("filepath", "photo"):
        rows, said = listed(tmp_path, capsys, text.format(column))
        assert rows == ["Panthera leo Panthera leo"]
        assert "class is taken for their labels and not for the rank, which is named cls there" in said
    rows, said = listed(tmp_path, capsys, "url,class,genus,species\nhttps://x.org/a.jpg,Mammalia,Panthera,leo\n")
    assert rows == ["Mammalia Panthera leo Panthera leo"]
    (tmp_path / "more.csv").write_text(
        "kingdom,class,genus,species\nAnimalia,Aves,Morus,bassanus\nPlantae,Magnoliopsida,Morus,alba\n"
    )
    assert run("list-taxa", "--labels", tmp_path / "more.csv") == 0
    for labels, message in (
        (("lion at dusk", "lion"), "line 2, column class: expected a class of the tree of life, one word"),
        (
            ("lion", "lioness"),
            "line 3, column class: expected one class for the genus Panthera, found Lioness here, and Lion in",
        ),
    ):
        text = "class,genus,species\n" + "".join(f"{label},Panthera,leo\n" for label in labels)
        (tmp_path / "own.csv").write_text(text)
        capsys.readouterr()
        assert run("list-taxa", "--labels", tmp_path / "own.csv") == 2
        assert message in capsys.readouterr().err


def test_tables_as_programs_write_them(tmp_path, capsys):
    for text, name in (
        ("genus,species,common\nPanthera,leo,Lion\n", "catalog.csv"),
        ("\ufeffsep=;\r\ngenus;species;common_name\r\nPanthera;leo;Lion\r\n", "excel.csv"),
        ("genus\tspecies\tcommon_name\nPanthera\tleo\tLion\n", "a.tab"),
    ):
        assert listed(tmp_path, capsys, text, name)[0] == ["Panthera leo Panthera leo Lion"]
    (tmp_path / "excel.csv").write_text("sep=;\ngenus;species\nPanthera\n")
    assert run("list-taxa", "--labels", tmp_path / "excel.csv") == 2
    assert "excel.csv: line 3: expected 2 values, found 1" in capsys.readouterr().err


def test_list_models(capsys):
    assert run("list-models") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["ours", "hf-hub:imageomics/bioclip", "hf-hub:imageomics/bioclip-2"]
    assert "local-dir:FOLDER" in shown.err


# ------------------------------------------------------------------------------------------------------------- refusals


def test_what_cannot_be_done_is_said(model, photos, tmp_path, capsys, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "empty").mkdir()
    tables = {"rank": "name\nx\n", "unknown": "genus\nUnicornis\n", "one": "label\na\n", "ranks": "kingdom\nAnimalia\n"}
    tables |= {
        "two": "label,bin\noak,plant\nash,plant\noak,tree\n",
        "capitals": "label,bin\nlion,cat\nLion,dog\n",
        "hole": "label,bin\noak,plant\nash,\n",
        "long": "genus,species\nLynx,lynx,x\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "hole.tsv").write_text("genus\tspecies\nLynx\tlynx\n\tsp.\n")
    (tmp_path / "own.json").write_text("[]")
    (tmp_path / "latin.txt").write_bytes(b"ch\xeane\n")
    for words, message in (
        (("predict", photos[0], "--model", f"local-dir:{tmp_path}"), "open_clip_config.json"),
        (("predict", photos[0], "--model", "hf-hub:imageomics/bioclip"), "Without a network put open_clip_config.json"),
        (("predict", photos[0], "--model", "bioclip"), "must start with local-dir: or hf-hub:"),
        (("predict", tmp_path / "empty", "--model", model), "no images in this folder"),
        (("predict", photos[0], "--model", model, "--subset", tmp_path / "rank.csv"), "a column named after a rank"),
        (("predict", photos[0], "--model", model, "--subset", tmp_path / "unknown.csv"), "'unicornis'"),
        (("predict", photos[0], "--model", model, "--bins", tmp_path / "one.csv"), "needs two columns"),
        (("predict", photos[0], "--model", model, "--bins", tmp_path / "none.csv"), "none.csv"),
        (
            ("predict", photos[0], "--model", model, "--cls", "labls.txt"),
            "--cls labls.txt: there is no file of this name",
        ),
        (("predict", photos[0], "--model", model, "--cls", tmp_path / "none"), "there is no file of this name"),
        *(
            (("predict", photos[0], "--model", model, "--cls", given), "there is no file of this name")
            for given in ("a.xlsx", "a.yaml", "a.dat", "a.csv ", "clss.txt,lion", "/path/cls.txt,tiger", "lion,a.md")
        ),
        (("predict", photos[0], "--model", model, "--cls", f"lion,{tmp_path / 'one.csv'}"), "a file is given alone"),
        (("predict", photos[0], "--model", model, "--cls", "lion;tiger"), "labels are separated by commas"),
        (("predict", photos[0], "--model", model, "--cls", tmp_path / "own.json"), "a label on each line, not .json"),
        (
            ("predict", photos[0], "--model", model, "--bins", tmp_path / "capitals.csv"),
            "capitals.csv: line 3: expected one bin for 'Lion', found 'dog' here, and 'cat' in line 2",
        ),
        (("predict", photos[0], "--cls", "zeppelin,quux"), "learnt no word of 'zeppelin', 'quux'"),
        (
            ("predict", photos[0], "--model", model, "--bins", tmp_path / "two.csv"),
            "two.csv: line 4: expected one bin for 'oak', found 'tree' here, and 'plant' in line 2",
        ),
        (("predict", photos[0], "--model", model, "--bins", tmp_path / "hole.csv"), "hole.csv: line 3: expected a bin"),
        (("list-taxa", "--labels", tmp_path / "hole.tsv"), "hole.tsv: line 3: expected a name at some rank"),
        (("list-taxa", "--labels", tmp_path / "long.csv"), "long.csv: line 2: expected 2 values, found 3"),
        (("predict", photos[0], "--model", model, "--cls", "a,,b"), "one of them is empty"),
        (("predict", photos[0], "--model", model, "--cls", tmp_path / "latin.txt"), "text in UTF-8"),
        (("predict", photos[0], "--model", model, "--cls", "a", "--labels", tmp_path / "ranks.csv"), "--labels is for"),
        (("list-taxa", "--labels", tmp_path / "ranks.csv"), "no column genus"),
        (("list-taxa", "--labels", tmp_path / "none"), "none.npy"),
        (("list-taxa", "--labels", tmp_path / "own.json"), "it takes a table (.csv, .tsv, .tab, .txt), or a pair"),
        (("list-taxa", "--model", "hf-hub:imageomics/bioclip"), "give labels of your own"),
    ):
        assert run(*words) == 2, words
        shown = capsys.readouterr()
        assert message in shown.err
        assert shown.err.startswith(f"python -m bestpapers.bioclip {words[0]}: ")
        assert shown.out == ""
    if not torch.cuda.is_available():
        assert run("predict", photos[0], "--model", model, "--device", "cuda") == 2
        assert "no CUDA device here" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ training


def test_commands_that_train_reach_their_modules(tmp_path, monkeypatch, capsys):
    """What they do is tested with `experiments` and `weights`."""
    asked = []
    monkeypatch.setattr(experiments, "train", asked.append)
    monkeypatch.setattr(experiments, "compare", lambda *given: asked.append(given))
    monkeypatch.setattr(weights, "train", lambda: asked.append("weights"))
    assert run("train", "--arm", "taxon", "--steps", 3, "--null") == 0
    assert (asked[0].arm, asked[0].steps, asked[0].null) == ("taxon", 3, True)
    assert run("experiments", "--arms", "ce", "hce", "--seeds", 4, 5, "--steps", 2, "--out", tmp_path / "r.json") == 0
    settings, *rest = asked[1]
    assert [setting.train.steps for setting in settings] == [2]
    assert rest[:3] == [["ce", "hce"], [4, 5], str(tmp_path / "r.json")]
    assert run("weights") == 0
    assert asked[2:] == ["weights"]
    assert run("weights", "--verify") == 0
    assert "as on the card" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["predict"],
        ["predict", "a.jpg", "--rank", "tribe"],
        ["predict", "a.jpg", "--k", "0"],
        ["predict", "a.jpg", "--rank", "genus", "--cls", "a,b"],
        ["predict", "a.jpg", "--bins", "b.csv", "--subset", "s.csv"],
        ["predict", "a.jpg", "--cls", "a", "--bins", "b.csv"],
        ["embed", "a.jpg", "--batch-size", "-1"],
        ["train", "--arm", "novel"],
        ["experiments", "--arms", "ce"],
    ],
)
def test_wrong_words_are_refused(words):
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 2


def test_help_loads_no_torch():
    here = [sys.executable, "-X", "importtime", "-m", "bestpapers.bioclip"]
    for words in (["--help"], ["predict", "--help"]):
        done = subprocess.run([*here, *words], capture_output=True, text=True, check=True)
        lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()[1:]]
        took = {name.strip(): int(own) for own, _, name in lines}  # microseconds
        assert "bestpapers.bioclip.taxa" in took
        assert not took.keys() & {"torch", "numpy", "PIL", "open_clip", "huggingface_hub", "webdataset", "tqdm"}
        assert "--rank" in done.stdout


def test_help_names_every_command():
    shown = program.parser().format_help()
    commands = ("predict", "embed", "list-taxa", "list-models", "train", "experiments", "weights")
    assert all(word in shown for word in (*commands, "hf-hub:imageomics/bioclip"))
