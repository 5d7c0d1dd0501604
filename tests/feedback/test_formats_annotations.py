"""The export of the annotation page: what several people marked, there and back, and what is refused."""

import copy
import json

import numpy as np
import pytest

from bestpapers.feedback.formats import Annotated, FormatError, Skips, read, read_annotations, write_annotations
from bestpapers.feedback.record import MAPS, SCORES, Annotation, words

PROMPT = "a red-haired fox, asleep"


def annotation(name="Ann", shift=0.0, **likert):
    points = dict(
        implausibility=np.array([[3.5 + shift, 2], [0, -0.5]], np.float32), misalignment=np.zeros((0, 2), np.float32)
    )
    return Annotation(name, points, dict.fromkeys(SCORES, 3) | likert, np.array([False, True, False, True]))


def annotated(name="fox", *people):
    return Annotated(name, PROMPT, (12, 16), people or (annotation(), annotation("B\u00e9la \u2603", 2.25, overall=5)))


def assert_same(found, wanted):
    assert (found.name, found.prompt, found.size) == (wanted.name, wanted.prompt, wanted.size)
    for a, b in zip(found.annotations, wanted.annotations, strict=True):
        assert (a.annotator, a.likert) == (b.annotator, b.likert)
        assert a.misaligned.dtype == bool
        assert a.misaligned.tolist() == b.misaligned.tolist()
        for kind in MAPS:
            assert a.points[kind].dtype == np.float32
            assert a.points[kind].shape == (len(b.points[kind]), 2)
            np.testing.assert_allclose(a.points[kind], b.points[kind], atol=0.005)


@pytest.fixture
def export(tmp_path):
    write_annotations(tmp_path / "annotations.json", [annotated(), annotated("hen")])
    return json.loads((tmp_path / "annotations.json").read_text(encoding="utf-8"))


def test_names_are_the_same_however_accents_are_written(tmp_path):
    for n, name in enumerate(("caf\u00e9", "cafe\u0301")):
        write_annotations(tmp_path / f"{n}.json", [annotated(name, annotation(str(n)))])
    (found,) = read_annotations([tmp_path / "0.json", tmp_path / "1.json"])
    assert (found.name, len(found.annotations)) == ("caf\u00e9", 2)


def test_there_and_back(tmp_path):
    pictures = [annotated(), annotated("hen", annotation()), Annotated("owl", "", (1, 1), ())]
    write_annotations(tmp_path / "a.json", pictures)
    for found, wanted in zip(read_annotations(tmp_path / "a.json"), pictures, strict=True):
        assert_same(found, wanted)


def test_the_schema(export):
    """By the words of the module's head: whoever writes the page needs no more."""
    assert export["format"] == "bestpapers annotations 1"
    first = export["pictures"][0]
    assert {k: v for k, v in first.items() if k != "annotations"} == dict(
        name="fox", prompt=PROMPT, width=16, height=12
    )
    assert first["annotations"][0] == dict(
        annotator="Ann", points=dict(implausibility=[[3.5, 2.0], [0.0, -0.5]], misalignment=[]),
        likert=dict(plausibility=3, aesthetics=3, alignment=3, overall=3), misaligned=[False, True, False, True],
    )  # fmt: skip
    assert len(words(PROMPT)) == 4


def test_files_of_several_people_come_together(tmp_path):
    write_annotations(tmp_path / "a.json", [annotated("fox", annotation("A")), annotated("hen", annotation("A"))])
    write_annotations(tmp_path / "b.json", [annotated("owl", annotation("B")), annotated("fox", annotation("B"))])
    found = read_annotations([tmp_path / "a.json", tmp_path / "b.json"])
    assert [(p.name, [a.annotator for a in p.annotations]) for p in found] == [
        ("fox", ["A", "B"]), ("hen", ["A"]), ("owl", ["B"]),
    ]  # fmt: skip
    with pytest.raises(FormatError, match=r"b.json: picture 'owl': expected each annotator once, found .'B'"):
        read_annotations([tmp_path / "b.json", tmp_path / "b.json"])
    write_annotations(tmp_path / "c.json", [Annotated("fox", PROMPT, (12, 17), ())])
    with pytest.raises(FormatError, match=r"picture 'fox': expected 16 x 12, 'a red.*as before, found 17 x 12"):
        read_annotations([tmp_path / "a.json", tmp_path / "c.json"])


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("annotator",), "", "annotator: expected a name of at most 200"),
        (("annotator",), "Béla ☃", r"annotation 2.*each annotator once"),
        (("annotator",), 3, "annotator: expected a text, found 3"),
        (("annotator",), "\ud800", "half characters"),
        (("points",), [], "points: expected a JSON object"),
        (("points", "implausibility"), None, "implausibility: expected a list, found nothing"),
        (("points", "implausibility"), [[1]], r"points \[x, y\]"),
        (("points", "implausibility"), [[1, "2"]], r"points in the picture.*'2'"),
        (("points", "implausibility"), [[1, float("nan")]], "expected a number, found nan"),
        (("points", "implausibility"), [[15.6, 1]], r"points in the picture, 16 x 12, found .15.6, 1."),
        (("points", "implausibility"), [[1, 1]] * 1001, "at most 1000 points"),
        (("points", "other"), [], "expected only implausibility, misalignment, found .'other'"),
        (("likert", "overall"), 0, "overall: expected a whole answer from 1 to 5, found 0"),
        (("likert", "overall"), 2.5, "overall: expected a whole number, found 2.5"),
        (("likert", "overall"), True, "overall: expected a whole number, found True"),
        (("likert", "overall"), None, "overall: expected a whole number, found nothing"),
        (("misaligned",), [True], f"expected 4 labels, one for each word of '{PROMPT}', found 1"),
        (("misaligned",), [0, 1, 0, 1], "true or false for each word"),
    ],
)  # fmt: skip
def test_answers_that_are_refused_or_skipped(tmp_path, export, where, value, message):
    part = export["pictures"][0]["annotations"][0]
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    path = tmp_path / "b.json"
    path.write_text(json.dumps(export))
    with pytest.raises(FormatError, match=message) as error:
        read_annotations(path)
    assert "picture 1 (fox), annotation" in str(error.value)
    skips = Skips()
    assert [len(p.annotations) for p in read_annotations(path, skips)] == [1, 2]
    assert skips.count == 1


def test_exports_that_are_refused(tmp_path, export):
    path = tmp_path / "b.json"
    for change, message in (
        (dict(format="bestpapers annotations 9"), "format: expected bestpapers annotations 1, found .*9"),
        (dict(format=None), "format: expected a text, found nothing"),
        (dict(pictures={}), "pictures: expected a list"),
        (dict(pictures=[1]), "picture 1: expected a JSON object, found 1"),
        (dict(pictures=export["pictures"][:1] * 2), "picture 2, name: expected a name, each once, found 'fox'"),
    ):
        path.write_text(json.dumps(export | change))
        with pytest.raises(FormatError, match=message):
            read_annotations(path)
    for key, value in (
        ("name", ""),
        ("prompt", 3),
        ("prompt", "x" * 10_001),
        ("width", 0),
        ("height", 10**9),
        ("width", 2.0),
    ):
        broken = copy.deepcopy(export)
        broken["pictures"][0][key] = value
        path.write_text(json.dumps(broken))
        with pytest.raises(FormatError, match="picture 1"):
            read_annotations(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 12\n")
    with pytest.raises(FormatError, match="Git LFS pointer, a few lines of text in the place of 12 bytes"):
        read_annotations(path)
    with pytest.raises(FormatError, match="nothing of that name"):
        read_annotations(tmp_path / "c.json")


def test_nothing_is_written_that_would_not_be_read(tmp_path):
    for bad in (
        annotated("fox", annotation(shift=99)), annotated("fox", annotation(overall=6)), annotated("fox", annotation("")),
        annotated("fox", annotation(), annotation()), Annotated("fox", "one two", (12, 16), (annotation(),)),
    ):  # fmt: skip
        with pytest.raises(FormatError):
            write_annotations(tmp_path / "b.json", [bad])
    assert not list(tmp_path.iterdir())


def test_read_says_that_they_are_not_merged(tmp_path, export):
    for path in (tmp_path, tmp_path / "annotations.json"):
        with pytest.raises(FormatError, match=r"expected merged feedback.*found annotations; merge them first"):
            read(path)
