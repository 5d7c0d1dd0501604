"""RichHF-18K's files: ours are read by an outsider, an outsider's by us, and each fault has its own sentence."""

import dataclasses
import io
import warnings

import numpy as np
import pytest
import tfrecord
from PIL import Image

from bestpapers.feedback.formats import FormatError, Skips, read, read_richhf, richhf, write_richhf
from bestpapers.feedback.formats.tables import prompts_from
from bestpapers.feedback.record import MAPS, SCORES, words
from bestpapers.lab.places import Place
from bestpapers.lab.tfrecords import example_bytes, parse_example, read_records, write_records

from .made import PROMPTS, assert_same, record

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 150710286\n"
FIELDS = (
    *("filename", "aesthetics_score", "artifact_score", "misalignment_score", "overall_score"),
    *("artifact_map", "misalignment_map", "prompt_misalignment_label"),
)


def image(values, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(np.asarray(values, np.uint8)).save(file, kind)
    return file.getvalue()


def features(**changes):
    """A record as the released files have it; None takes a field away."""
    grey = np.zeros((12, 16), np.uint8)
    grey[3:7, 2:9] = 170
    out = dict(
        filename=b"dataset/img/uid-2.png", aesthetics_score=0.25, artifact_score=0.5, misalignment_score=0.75,
        overall_score=1.0, artifact_map=image(grey), misalignment_map=image(0 * grey), prompt_misalignment_label=b"0",
    )  # fmt: skip
    return {name: value for name, value in (out | changes).items() if value is not None}


def written(path, *records):
    write_records(path, [example_bytes(r) for r in records])
    return path


@pytest.fixture
def good(tmp_path):
    """Three of ours, with pictures and prompts beside."""
    write_richhf(tmp_path / "a.tfrecord", [record(i) for i in range(3)], tmp_path / "pictures")
    return tmp_path / "a.tfrecord"


# ----------------------------------------------------------------------------------------------------------- both ways


def test_there_and_back(good):
    reading = read_richhf(good, good.parent / "pictures")
    assert (len(reading), reading.layout) == (3, "RichHF-18K")
    assert "3 records" in reading.said
    assert "taken as they are" in reading.said
    for _ in range(2):  # as often as one likes
        for found, wanted in zip(reading, map(record, range(3)), strict=True):
            assert_same(found, wanted)
    assert sorted(p.name for p in good.parent.iterdir()) == ["a.tfrecord", "pictures"]
    for found, wanted in zip(read(good.parent), map(record, range(3)), strict=True):
        assert_same(found, wanted)


def test_an_outsider_reads_ours(good):
    rows = list(tfrecord.tfrecord_loader(str(good), None))
    assert [set(row) for row in rows] == [set(FIELDS)] * 3
    for row, wanted in zip(rows, map(record, range(3))):
        said = wanted.feedback
        assert bytes(row["filename"]) == f"{wanted.name}.png".encode()
        assert row["artifact_score"][0] == np.float32(said.scores["plausibility"])
        assert row["misalignment_score"][0] == np.float32(said.scores["alignment"])
        assert row["overall_score"].dtype == np.float32
        labels = [int(label) for label in bytes(row["prompt_misalignment_label"]).split()]
        assert labels == [1 - int(x) for x in said.misaligned]  # there, 1 is a word that is honoured
        grey = np.array(Image.open(io.BytesIO(bytes(row["artifact_map"]))))
        np.testing.assert_array_equal(grey, np.round(said.maps["implausibility"] * 255))


def test_we_read_an_outsiders(tmp_path):
    kinds = {bytes: "byte", float: "float", int: "int"}
    writer = tfrecord.TFRecordWriter(str(tmp_path / "a.tfrecord"))
    for changes in ({}, dict(filename=b"b/uid-0.jpg", prompt_misalignment_label=b"1 1 0 1 1 1 0 ", overall_score=1)):
        rows = features(**changes)
        writer.write({name: (value, kinds[type(value)]) for name, value in rows.items()})
    writer.close()
    first, second = read_richhf(tmp_path / "a.tfrecord", prompts={"uid-2": "fox", "uid-0.png": PROMPTS[0]})
    assert (first.name, first.prompt, first.picture) == ("uid-2", "fox", None)
    assert first.feedback.scores == dict(plausibility=0.5, aesthetics=0.25, alignment=0.75, overall=1)
    assert first.feedback.maps["implausibility"].shape == (12, 16)
    assert sorted(np.unique(first.feedback.maps["implausibility"])) == [0, np.float32(170) / 255]
    assert first.feedback.misaligned.tolist() == [1]
    assert second.name == "uid-0"
    assert [w for w, bad in zip(words(second.prompt), second.feedback.misaligned) if bad] == ["man's", "photo)"]


# ------------------------------------------------------------------------------------------------ maps, scores, prompts


def test_maps_of_any_size(good):
    whole = next(iter(read_richhf(good)))
    for size in ((6, 8), (24, 32), (5, 20)):
        found = next(iter(read_richhf(good, good.parent / "pictures", size=size)))
        assert found.picture.shape == (*size, 3)
        for kind in MAPS:
            assert found.feedback.maps[kind].shape == size
            assert found.feedback.maps[kind].dtype == np.float32
            mean = found.feedback.maps[kind].mean()
            assert abs(mean - whole.feedback.maps[kind].mean()) < 0.05
    small = next(iter(read_richhf(good, size=(6, 8)))).feedback.maps["implausibility"]
    blocks = whole.feedback.maps["implausibility"].reshape(6, 2, 8, 2).mean((1, 3))
    np.testing.assert_allclose(small, blocks, atol=1e-6)  # means of areas
    for size in ((0, 4), (1 << 13, 1 << 13), (3,)):
        with pytest.raises(ValueError, match="size must be"):
            read_richhf(good, size=size)


def test_maps_follow_the_picture(tmp_path):
    path = written(tmp_path / "a.tfrecord", features())
    Image.new("RGB", (32, 24)).save(tmp_path / "uid-2.png")
    found = next(iter(read(path)))
    assert found.feedback.maps["implausibility"].shape == (24, 32)
    assert found.feedback.maps["implausibility"].max() <= np.float32(170) / 255
    Image.new("RGB", (24, 24)).save(tmp_path / "uid-2.png")
    with pytest.raises(
        FormatError, match=r"record 1.*proportions of the picture, 24 x 24, found a map of 16 x 12; .*size="
    ):
        list(read(path))
    assert next(iter(read(path, size=(8, 8)))).feedback.maps["misalignment"].shape == (8, 8)


def test_scores_of_1_to_5_are_said_aloud(tmp_path):
    likert = dict(aesthetics_score=1.0, artifact_score=3.0, misalignment_score=5.0, overall_score=4.0)
    path = written(tmp_path / "a.tfrecord", features(**likert))
    with pytest.warns(UserWarning, match=r"scores from 1 to 5, read as answers 1 to 5: \(s - 1\) / 4"):
        reading = read_richhf(path)
    assert next(iter(reading)).feedback.scores == dict(plausibility=0.5, aesthetics=0, alignment=1, overall=0.75)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(iter(read_richhf(path, scale="likert"))).feedback.scores["overall"] == 0.75
        for scores in (dict.fromkeys(likert, 1.0), dict.fromkeys(likert, 0.0)):
            ones = written(tmp_path / "b.tfrecord", features(**scores))
            assert set(next(iter(read_richhf(ones))).feedback.scores.values()) == set(scores.values())
    both = written(tmp_path / "c.tfrecord", features(), features(**likert | dict(filename=b"b.png")))
    with pytest.raises(FormatError, match=r"scores: expected all in 0..1 or all in 1..5, found 0.25 to 5"):
        read_richhf(both)
    skips = Skips()
    assert len(list(read_richhf(both, scale="unit", skips=skips))) == 1
    assert "artifact_score: expected a score from 0 to 1, found 3" in skips.messages[0]
    with pytest.raises(ValueError, match="scale must be"):
        read_richhf(path, scale="stars")


def test_prompts_from_everywhere(good):
    folder, names = good.parent, [f"uid-{i}" for i in range(3)]
    quoted = [p.replace('"', '""') for p in PROMPTS]
    files = {
        "a.csv": "image_0_uid,image_1_uid,caption\n" + "".join(f'{n},x-{n},"{p}"\n' for n, p in zip(names, quoted)),
        "b.csv": "file_name,Prompt\n" + "".join(f'some/{n}.png,"{p}"\n' for n, p in zip(names, quoted)),
        "c.json": "{" + ",".join(f'"{n}": {np_json(p)}' for n, p in zip(names, PROMPTS)) + "}",
        "d.json": "[" + ",".join(f'{{"uid": "{n}", "prompt": {np_json(p)}}}' for n, p in zip(names, PROMPTS)) + "]",
        "e.jsonl": "".join(f'{{"uid": "{n}", "prompt": {np_json(p)}}}\n\n' for n, p in zip(names, PROMPTS)),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        assert [r.prompt for r in read_richhf(good, prompts=folder / name)] == list(PROMPTS), name
    (folder / "pictures" / "uid-1.txt").write_bytes((PROMPTS[1] + "\r\n").encode())
    assert [r.prompt for r in read_richhf(good, prompts=folder / "pictures")] == list(PROMPTS)
    (folder / "prompts.csv").write_text(files["a.csv"], encoding="utf-8")
    assert [r.prompt for r in read(good)] == list(PROMPTS)
    (folder / "pictures" / "uid-1.txt").unlink()
    assert "prompts.csv, pictures" in read(good).said
    assert [r.prompt for r in read(good)] == list(PROMPTS)
    for path in (folder / "none", folder / "none.csv"):
        with pytest.raises(FormatError, match="found nothing of that name"):
            read_richhf(good, prompts=path)


def test_two_prompts_of_a_picture_are_refused_unless_they_are_equal(good):
    folder = good.parent
    table = folder / "prompts.csv"
    table.write_text("name;prompt\nuid-1.jpg;fox\nx;hen\n")
    with pytest.raises(
        FormatError, match=r"uid-1.txt: prompt: expected one prompt of 'uid-1.txt': 'fox', as in .*prompts.csv, line 2"
    ):
        read(good)
    with pytest.raises(FormatError, match=r"uid-1.txt: prompt: expected .*prompts.csv, line 2, found 'two blue boats"):
        prompts_from(table, folder / "pictures")
    assert prompts_from(table)[0]["uid-1"] == "fox"  # as it is said
    table.write_text("name;prompt\nuid-1;fox\nuid-1;fox\nuid-1;hen\n")
    with pytest.raises(
        FormatError, match=r"prompts.csv: line 4: expected one prompt of 'uid-1': 'fox', as in .*line 2, found 'hen'"
    ):
        prompts_from(folder)
    table.unlink()
    (folder / "pictures" / "more").mkdir()
    (folder / "pictures" / "more" / "uid-1.txt").write_text("fox")
    with pytest.raises(FormatError, match=r"more/uid-1.txt: prompt: .*pictures/uid-1.txt, prompt, found 'fox'"):
        prompts_from(folder)
    with pytest.raises(FormatError, match=r"prompts: 'a.png': expected one prompt of 'a.png': 'x', as in prompts, 'a'"):
        prompts_from({"a": "x", "a.png": "y"})


def test_names_are_the_same_however_accents_are_written(tmp_path):
    one, two = "caf\u00e9", "cafe\u0301"
    for inside, beside in ((one, two), (two, one)):
        folder = tmp_path / str(len(inside))
        write_records(folder / "a.tfrecord", [example_bytes(features(filename=f"{inside}.png".encode()))])
        Image.new("RGB", (16, 12)).save(folder / f"{beside}.png")
        (folder / f"{beside}.txt").write_text("fox")
        (found,) = read(folder)
        assert (found.name, found.prompt, found.picture.shape) == (one, "fox", (12, 16, 3))
    write_richhf(folder / "b.tfrecord", [dataclasses.replace(found, name=two)])
    assert [r.name for r in read_richhf(folder / "b.tfrecord")] == [one]


def np_json(text):
    return '"' + text.replace('"', '\\"') + '"'


def test_without_prompts_labels_are_left_out(good):
    reading = read_richhf(good)
    assert "no prompts, so labels of words are left out" in reading.said
    assert [(r.prompt, len(r.feedback.misaligned), r.picture) for r in reading] == [("", 0, None)] * 3


# --------------------------------------------------------------------------------------------------------------- faults


def test_number_of_labels_is_an_error_of_its_own_or_counted(tmp_path):
    one = features(filename=b"a.png", prompt_misalignment_label=b"1 0")
    path = written(tmp_path / "a.tfrecord", one, features())
    prompts = {"a": "a fox, running " + "very " * 500, "uid-2": "fox"}
    with pytest.raises(FormatError, match=r"record 1 .*\(a\), prompt_misalignment_label: expected 503 labels") as error:
        list(read_richhf(path, prompts=prompts))
    assert "found 2; words end at" in str(error.value)
    assert len(str(error.value)) < 700  # the prompt is shortened
    skips = Skips()
    assert [r.name for r in read_richhf(path, prompts=prompts, skips=skips)] == ["uid-2"]
    assert skips.count == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *[({name: None}, rf"record 1 .*, {name}: expected the fields filename, .*found no {name}") for name in FIELDS],
        (dict(filename=b"\xff"), "filename: expected text in UTF-8"),
        (dict(filename=b"a/"), "filename: expected the name of a picture, found ''"),
        (dict(filename=1.0), "filename: expected one byte string"),
        (dict(overall_score=b"1"), "overall_score: expected one number"),
        (dict(overall_score=float("nan")), "overall_score: expected a number, found nan"),
        (dict(artifact_map=b"no picture"), "artifact_map, image: expected a whole image"),
        (dict(artifact_map=features()["artifact_map"][:-30]), "artifact_map, image: .*damage"),
        (dict(artifact_map=image(np.zeros((12, 15)))), r"maps: expected maps of one size.*12, 15.*12, 16"),
        (dict(prompt_misalignment_label=b"2"), "prompt_misalignment_label: expected 0 and 1"),
        (dict(filename=b"other.png"), r"prompt: expected one for this picture, among 1, found none"),
    ],
)
def test_faults_of_a_field(tmp_path, changes, message):
    path = written(tmp_path / "a.tfrecord", features(**changes))
    with pytest.raises(FormatError, match=message):
        list(read_richhf(path, prompts={"uid-2": "fox"}))
    skips = Skips()
    assert list(read_richhf(path, prompts={"uid-2": "fox"}, skips=skips)) == []
    assert skips.count == 1


def test_pictures_that_are_missing_or_there_twice(good):
    folder = good.parent / "pictures"
    (folder / "uid-1.png").rename(folder / "moved.png")
    with pytest.raises(
        FormatError, match=r"record 2 .*, picture: expected one file uid-1.png.*found none, among 3; .*Pick"
    ):
        list(read(good))
    skips = Skips()
    assert [r.name for r in read(good, skips=skips)] == ["uid-0", "uid-2"]
    assert skips.count == 1
    (folder / "more").mkdir()
    (folder / "moved.png").rename(folder / "more" / "uid-1.jpg")
    assert [r.name for r in read(good)] == ["uid-0", "uid-1", "uid-2"]
    (folder / "uid-1.webp").write_bytes((folder / "uid-0.png").read_bytes())
    with pytest.raises(FormatError, match=r"found uid-1.webp, uid-1.jpg"):
        list(read(good))
    (folder / "uid-0.png").write_bytes(POINTER)
    with pytest.raises(FormatError, match=r"record 1 .*picture uid-0.png.*Git LFS pointer"):
        list(read(good))
    with pytest.raises(FormatError, match="expected a folder, found nothing"):
        read_richhf(good, good.parent / "nowhere")


def test_the_same_picture_twice(tmp_path):
    path = written(tmp_path / "a.tfrecord", features(), features())
    with pytest.raises(FormatError, match=r"record 2 .*: expected each picture once, found 'uid-2'"):
        list(read_richhf(path))


def test_faults_of_the_file(tmp_path):
    path, other = tmp_path / "a.tfrecord", features(filename=b"b.png")
    data = bytearray(written(path, features(), other).read_bytes())
    data[100] ^= 1
    cases = {
        POINTER: "found a Git LFS pointer.*150710286 bytes; run `git lfs install`",
        b"": "records: expected at least one, found none",
        bytes(data): r"record 1 \(byte 0\), data: expected data with its check sum",
        b"<!DOCTYPE html>" * 9: "record 1 .*length with its check sum.*found another sum",
    }
    for content, message in cases.items():
        path.write_bytes(content)
        with pytest.raises(FormatError, match=message):
            read_richhf(path)
    path.write_bytes(data)
    skips = Skips()
    assert [r.name for r in read_richhf(path, skips=skips)] == ["b"]
    assert skips.count == 1
    with pytest.raises(FormatError, match="found nothing of that name"):
        read_richhf(tmp_path / "b.tfrecord")
    with pytest.raises(FormatError, match="found a folder"):
        read_richhf(tmp_path)


def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path):
    path = written(tmp_path / "a.tfrecord", features(artifact_map=image(np.zeros((1, 1)))))
    Image.new("1", (5000, 5000)).save(tmp_path / "uid-2.png")
    with pytest.raises(FormatError, match=r"uid-2.png, size: expected at most .* 16,777,216 in all, found 5000 x 5000"):
        list(read_richhf(written(path, features()), tmp_path))


# -------------------------------------------------------------------------------------------------------------- writing


def test_nothing_half_is_written(tmp_path):
    path = tmp_path / "a.tfrecord"
    for changes, message in (
        (dict(overall=1.5), "needs a score of overall in 0..1"),
        (dict(overall=float("nan")), "needs a score of overall"),
    ):
        with pytest.raises(ValueError, match=f"record 'uid-1': {message}"):
            write_richhf(path, [record(0), record(1, **changes)])
        assert not path.exists()
    good = record(0)

    def broken(**changes):
        return type(good)(**{f: getattr(good, f) for f in ("name", "prompt", "feedback", "picture")} | changes)

    said = good.feedback
    less = type(said)(said.scores, dict(implausibility=said.maps["implausibility"]), said.misaligned)
    more = type(said)(said.scores, said.maps | dict(misalignment=said.maps["misalignment"] + 1), said.misaligned)
    for bad, message in (
        (broken(feedback=less), "needs a map of misalignment"),
        (broken(feedback=more), "the map of misalignment leaves 0..1"),
        (broken(prompt="fox"), "7 labels for a prompt of 1 words"),
        (broken(name="../a"), "the name must be that of a file"),
        (broken(name=".a"), "the name must be that of a file"),
        (broken(name=""), "the name must be that of a file"),
        (broken(picture=None), "has no picture"),
        (broken(picture=np.zeros((12, 16, 3))), "wants uint8"),
        (broken(feedback=type(said)(said.scores, said.maps, said.misaligned + np.nan)), "labels of words leave 0..1"),
        (broken(feedback=type(said)(said.scores, said.maps, said.misaligned * 5)), "labels of words leave 0..1"),
    ):
        with pytest.raises(ValueError, match=message):
            write_richhf(path, [bad], tmp_path / "pictures")
    with pytest.raises(ValueError, match="there twice"):
        write_richhf(path, [good, good])
    assert not path.exists()
    assert write_richhf(path, []) == 0
    assert write_richhf(path, [good, record(1)]) == 2
    assert not list(tmp_path.glob(".*"))


def test_word_labels_are_the_majority(tmp_path):
    good = record(2)
    for share, label in ((1 / 3, b"1"), (0.5, b"1"), (2 / 3, b"0")):
        said = type(good.feedback)(good.feedback.scores, good.feedback.maps, np.array([share], np.float32))
        write_richhf(tmp_path / "a.tfrecord", [type(good)("a.b", "fox", said)])
        ((_, data),) = read_records(tmp_path / "a.tfrecord")
        assert parse_example(data, Place(tmp_path))["prompt_misalignment_label"] == [label]
    assert next(iter(read_richhf(tmp_path / "a.tfrecord"))).name == "a.b"


def test_names_of_the_fields_are_those_of_the_vocabulary():
    assert set(richhf.FIELDS) == {*SCORES, *MAPS}
    assert {richhf.NAME, *richhf.FIELDS.values(), richhf.LABELS} == set(FIELDS)
