"""Tables of feedback beside the pictures: names of columns, maps in all their forms, and what is refused."""

import csv
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bestpapers.feedback.formats import FormatError, Skips, read, read_table, write_richhf
from bestpapers.feedback.formats.tables import COLUMNS
from bestpapers.feedback.record import MAPS, SCORES, Feedback, Record

from .made import PROMPTS, assert_same, record

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 99\n"


def table(folder, rows, name="metadata.jsonl", **pictures):
    """A table, with the pictures that are given or else a small grey one for each row."""
    folder.mkdir(exist_ok=True)
    for row in rows:
        file = folder / str(row.get("file_name", "a.png"))
        if not file.exists():
            Image.fromarray(pictures.get(file.stem, np.full((12, 16, 3), 90, np.uint8))).save(file)
    path = folder / name
    if name.endswith(".csv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def one(folder, row, **pictures):
    (found,) = read_table(table(folder, [{"file_name": "a.png", "prompt": "a red fox"} | row], **pictures))
    return found


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.json"])
def test_the_same_records_in_all_layouts(tmp_path, name):
    """What a table says, RichHF-18K's files say too."""
    records = [record(i) for i in range(3)]
    rows = []
    for number, r in enumerate(records):
        said = r.feedback
        Image.fromarray(np.round(said.maps["implausibility"] * 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
        np.save(tmp_path / f"{number}.npy", said.maps["misalignment"].astype(np.float16))
        labels = " ".join(str(int(x)) for x in said.misaligned)
        maps = dict(implausibility=f"{number}.png", misalignment=f"{number}.npy")
        rows.append(dict(file_name=f"{r.name}.png", prompt=r.prompt, misaligned=labels) | maps | said.scores)
    table(tmp_path, rows, name, **{r.name: r.picture for r in records})
    reading = read(tmp_path)
    assert (reading.layout, len(reading)) == ("table", 3)
    assert f"{name}: a table, 3 rows; picture from file_name; prompt from prompt; plausibility from" in reading.said
    for found, wanted in zip(reading, records, strict=True):
        assert_same(found, wanted, atol=5e-4)  # float16
    write_richhf(tmp_path / "b" / "a.tfrecord", reading, tmp_path / "b" / "pictures")
    for found, wanted in zip(read(tmp_path / "b"), records, strict=True):
        assert_same(found, wanted, atol=1 / 500)


def test_columns_of_richhf_and_of_others(tmp_path):
    row = {
        "Filename": "a.png", "prompt": "a red fox", "Artifact score": 0.5, "Misalignment score": 0.25,
        "Aesthetics score": 1, "Overall score": "0.75", "Artifact heatmap": [[0, 255], [51, 0]],
        "Misalignment heatmap": [[0, 1], [1, 0]], "Misalignment token label": "1 0 1",
    }  # fmt: skip
    found = one(tmp_path, row)
    assert found.feedback.scores == dict(plausibility=0.5, aesthetics=1, alignment=0.25, overall=0.75)
    assert found.feedback.misaligned.tolist() == [0, 1, 0]
    (small,) = read_table(tmp_path / "metadata.jsonl", size=(2, 2))
    np.testing.assert_allclose(small.feedback.maps["implausibility"], [[0, 1], [0.2, 0]], atol=1e-6)
    assert small.feedback.maps["misalignment"].tolist() == [[0, 1], [1, 0]]  # a mask of 0 and 1, not levels


def test_word_scores_and_float16_heatmaps(tmp_path):
    """As newer sets have it: [No_mistakes] among the answers, words split at spaces, scores twice, null for no map."""
    pairs = [["A", 0], ["fox,red", 2.0], ["and", 1.0], ["white.", 4.0], ["[No_mistakes]", 0.5]]
    np.save(tmp_path / "h.npy", np.full((12, 16), 0.5, np.float16))
    row = dict(
        file_name="a.png", prompt="A fox,red and white. [No_mistakes]", word_scores=json.dumps(pairs),
        coherence_score_norm=0.5, coherence_score=3.7, style_score_norm=0.1, style_score=2.0,
        alignment_score_norm=0.9, alignment_score=4.4, coherence_heatmap="h.npy", alignment_heatmap=None,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = read_table(table(tmp_path, [row]))
    assert reading.layout == "table of word scores and heatmaps"
    assert "words from word_scores; scores from 0.1 to 0.9, taken as they are" in reading.said
    (found,) = reading
    assert found.prompt == "A fox,red and white."
    assert found.feedback.scores == dict(plausibility=0.5, aesthetics=0.1, alignment=0.9)
    assert list(found.feedback.maps) == ["implausibility"]
    assert found.feedback.maps["implausibility"].dtype == np.float32
    np.testing.assert_allclose(found.feedback.misaligned, [0, 0.5, 0.5, 0.25, 1])
    pairs[-1][1] = 8.0  # most people saw no mistake
    np.testing.assert_allclose(one(tmp_path, row | dict(word_scores=pairs)).feedback.misaligned.max(), 0.5)
    plain = [["A", 0], ["fox,red", 0.5], ["and", 0], ["white", 0.25]]
    found = one(tmp_path, row | dict(word_scores=plain, alignment_heatmap=[[None, None], [None, None]]))
    np.testing.assert_allclose(found.feedback.misaligned, [0, 0.5, 0.5, 0, 0.25])  # within 0..1: as they are
    assert list(found.feedback.maps) == ["implausibility"]
    only = {k: v for k, v in row.items() if not k.endswith("_norm")}
    with pytest.warns(UserWarning, match="scores from 2 to 4.4, read as answers 1 to 5"):
        assert one(tmp_path, only).feedback.scores["aesthetics"] == 0.25


def test_lists_of_words(tmp_path):
    for value in (["red", "fox"], '["red", "fox"]', "red; fox", "fox, red"):
        assert one(tmp_path, dict(misaligned_words=value)).feedback.misaligned.tolist() == [0, 1, 1]
    assert one(tmp_path, dict(misaligned=[False, True, 0.5])).feedback.misaligned.tolist() == [0, 1, 0.5]
    assert one(tmp_path, dict(overall=1, misaligned=[])).feedback.misaligned.tolist() == []  # nothing said


def test_arrays_of_all_kinds(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (12, 16)).astype(np.uint8)
    wanted = values / np.float32(255)
    np.save(tmp_path / "f8.npy", values / 255)
    np.save(tmp_path / "u1.npy", values)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(wanted))
    np.save(tmp_path / "big.npy", wanted.astype(">f4"))
    np.save(tmp_path / "mask.npy", values > 127)
    tensor = torch.from_numpy(wanted)
    save_file({"heat": tensor}, tmp_path / "one.safetensors")
    save_file(dict(implausibility=tensor, misalignment=1 - tensor), tmp_path / "both.safetensors")
    save_file({"h": tensor.bfloat16()}, tmp_path / "half.safetensors")
    Image.fromarray(values).save(tmp_path / "map.png")
    for name in ("f8.npy", "u1.npy", "fortran.npy", "big.npy", "one.safetensors", "both.safetensors", "map.png"):
        found = one(tmp_path, dict(implausibility=name)).feedback.maps["implausibility"]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6, err_msg=name)
    found = one(tmp_path, dict(misalignment="both.safetensors")).feedback.maps["misalignment"]
    np.testing.assert_allclose(found, 1 - wanted, rtol=0, atol=1e-6)
    found = one(tmp_path, dict(misalignment="half.safetensors")).feedback.maps["misalignment"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=4e-3)
    assert set(np.unique(one(tmp_path, dict(misalignment="mask.npy")).feedback.maps["misalignment"])) == {0, 1}
    found = one(tmp_path, dict(misalignment=[[str(x) for x in row] for row in wanted.tolist()]))
    np.testing.assert_allclose(found.feedback.maps["misalignment"], wanted, rtol=0, atol=1e-6)


class Bomb:
    def __reduce__(self):
        return print, ("this must not run",)


def test_nothing_is_unpickled(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.array([[Bomb()]]), allow_pickle=True)
    with pytest.raises(FormatError, match=r"a.npy, type: expected float16.*a pickle, which can run any code"):
        one(tmp_path, dict(implausibility="a.npy"))
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(FormatError, match=r"b.npy: expected a \.npy file"):
        one(tmp_path, dict(implausibility="b.npy"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (dict(implausibility=[[0.5, 1.5]]), "line 1.*, implausibility: expected values from 0 to 1, found 0.5 to 1.5; divide"),
        (dict(implausibility=[[-1, 5]]), "values from 0 to 255, found -1 to 5"),
        (dict(implausibility=[[0.5], [0.5, 1]]), "numbers in rows of one length"),
        (dict(implausibility=[[0.5, None]]), "numbers in rows"),
        (dict(implausibility=[["a", "b"]]), "expected a number, found 'a'"),
        (dict(implausibility=0.5), "numbers in rows of one length, found 0.5"),
        (dict(implausibility=[[[0.5]]]), "numbers in rows"),
        (dict(implausibility="../x.png"), "a file in|a path inside"),
        (dict(implausibility="none.png"), "line 1 .*implausibility: expected a file in .*'none.png', which is not there"),
        (dict(implausibility=[[0.0] * 8] * 8), "proportions of the picture, 16 x 12, found a map of 8 x 8"),
        (dict(implausibility=[[0, 0]] * 2, misalignment=[[0]]), "maps of one size"),
        (dict(plausibility="good"), "plausibility: expected a number, found 'good'"),
        (dict(plausibility=True), "plausibility: expected a number, found True"),
        (dict(plausibility=10**400), "plausibility: expected a number"),
        (dict(misaligned="1 0"), "misaligned: expected 3 labels, one for each word of 'a red fox', found 2"),
        (dict(misaligned=[0, 2, 0]), "numbers from 0 to 1"),
        (dict(misaligned=7), "a list, found 7"),
        (dict(misaligned_words="red wolf"), "words of 'a red fox', found .'wolf'"),
        (dict(word_scores=[["a", 1], ["fox", 2]]), "the words of 'a red fox', found 'a fox'"),
        (dict(word_scores=[["a", 1, 2]]), "pairs of word and score"),
        (dict(word_scores=[["a", -1]]), "scores of 0 or more"),
        (dict(word_scores="[[broken"), "word_scores: expected JSON"),
        (dict(overall=1, prompt=None), "prompt: expected a text of at most 10,000 characters, found nothing"),
        (dict(overall=1, prompt="x" * 10_001), "found one of 10,001"),
        (dict(overall=1, prompt="\ud800"), "half characters"),
        (dict(overall=1, file_name=3), "file_name: expected a file name, found 3"),
    ],
)  # fmt: skip
def test_rows_that_are_refused_or_skipped(tmp_path, row, message):
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    good = dict(file_name="b.png", prompt="fox", overall=0.5)
    path = table(tmp_path, [good])
    path.write_text(json.dumps(dict(file_name="a.png", prompt="a red fox") | row) + "\n" + path.read_text())
    with pytest.raises(FormatError, match=message) as error:
        list(read_table(path))
    assert len(str(error.value)) < 900
    skips = Skips()
    assert [r.name for r in read_table(path, skips=skips)] == ["b"]
    assert skips.count == 1


def test_tables_that_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    cases = {
        "metadata.csv": [
            (b"a;b\n1;2\n", "a picture"),
            (b"prompt,prompt\n1,2\n", "line 1: expected names of columns, each once"),
            (b"file_name,prompt,overall\na.png,fox,1,\n", "line 2: expected 3 values, found 4; put quotes around text"),
            (b'file_name,prompt,overall\na.png,"fox,1\n', "comma-separated values"),
            (b"file_name,prompt,overall\na.png,\xff,1\n", "text in UTF-8"),
            (
                b"file_name,prompt\na.png,fox\n",
                "columns: expected a picture, a prompt, and.*found picture from file_name; prompt",
            ),
            (b"", "names of columns"),
            (POINTER, "Git LFS pointer"),
        ],
        "metadata.jsonl": [
            (b'{"file_name": "a.png"}\n{"prompt"\n', "line 2: expected JSON"),
            (b"[1]\n", "line 1: expected a JSON object"),
            (b"", "none of these in 0 rows"),
            (POINTER, "Git LFS pointer"),
        ],
        "metadata.json": [
            (b"[1]", "row 1: expected a JSON object, found 1"),
            (b"3", "expected a JSON list or object, found 3"),
            (POINTER, "Git LFS pointer"),
        ],
    }
    for name, contents in cases.items():
        for content, message in contents:
            (tmp_path / name).write_bytes(content)
            with pytest.raises(FormatError, match=message):
                read(tmp_path / name)
    (tmp_path / "metadata.json").write_bytes(json.dumps({"a.png": dict(prompt="fox", overall=1)}).encode())
    with pytest.raises(FormatError, match=r"row 1 .*picture a.png, image"):
        list(read_table(tmp_path / "metadata.json"))


def test_a_table_of_a_spreadsheet_and_names_of_macos(tmp_path):
    Image.new("RGB", (16, 12)).save(tmp_path / "cafe\u0301.png")
    (tmp_path / "metadata.csv").write_text(
        "file_name;prompt;overall\ncaf\u00e9.png;a red fox, asleep;0.5\n", encoding="utf-8-sig"
    )
    (found,) = read(tmp_path)
    assert (found.name, found.prompt, found.feedback.scores) == ("caf\u00e9", "a red fox, asleep", dict(overall=0.5))


def test_what_is_not_said_is_left_out(tmp_path):
    found = one(tmp_path, dict(overall=0.5))
    assert_same(
        found, Record("a", "a red fox", Feedback(dict(overall=0.5), {}, np.zeros(0, np.float32)), found.picture)
    )
    rows = [dict(file_name="a.png", prompt="fox", overall=""), dict(file_name="b.png", prompt="", overall="0.25")]
    first, second = read_table(table(tmp_path, rows, "metadata.csv"))
    assert (first.feedback.scores, second.feedback.scores) == ({}, dict(overall=0.25))
    assert second.prompt == ""


def test_every_part_has_its_columns():
    assert set(COLUMNS) == {"picture", "prompt", "words", *SCORES, *MAPS}
    names = [name for group in COLUMNS.values() for name in group]
    assert len(set(names)) == len(names)
    assert all(name == name.lower().replace(" ", "_") for name in names)


# ------------------------------------------------------------------------------------------------------------- finding


def test_read_finds_the_layout_and_says_what_it_looked_for(tmp_path):
    with pytest.raises(FormatError, match=r"expected \*.tfrecord \(RichHF-18K\); metadata.csv.*found an empty folder"):
        read(tmp_path)
    for i in range(12):
        (tmp_path / f"{i:02}.txt").write_text("x")
    with pytest.raises(FormatError, match=r"found 00.txt, 01.txt.* and 4 more; give the folder that directly"):
        read(tmp_path)
    with pytest.raises(FormatError, match="found nothing of that name"):
        read(tmp_path / "none.csv")
    with pytest.raises(FormatError, match="found a file of another kind"):
        read(tmp_path / "00.txt")
    records = [record(i) for i in range(2)]
    for split in ("train", "test"):
        write_richhf(tmp_path / f"{split}.tfrecord", records, tmp_path / "images")
    with pytest.raises(FormatError, match=r"one file to read, found test.tfrecord, train.tfrecord; give the path"):
        read(tmp_path)
    reading = read(tmp_path / "test.tfrecord")
    assert [r.prompt for r in reading] == list(PROMPTS[:2])
    assert "2 pictures in images; 2 prompts from images" in reading.said
    (tmp_path / "train.tfrecord").write_bytes(POINTER)
    with pytest.raises(FormatError, match=r"train.tfrecord: file: .*Git LFS pointer"):
        read(tmp_path / "train.tfrecord")
