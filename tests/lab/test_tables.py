"""Tables: the same rows in all three layouts, where each stands, and each fault in words."""

import csv
import math

import pytest

from bestpapers.lab.files import FormatError
from bestpapers.lab.places import Place
from bestpapers.lab.tables import MAX_TEXT, csv_text, number_of, read_rows, text_of, utf8

COLUMNS = ("name", "about")
TEXTS = {
    "a.csv": '\ufeffName, Of what\na,"one, two"\n\nb,"x\ny"\n',
    "a.jsonl": '{"Name": "a", "Of what": "one, two"}\n\n{"Name": "b", "Of what": "x\\ny"}\n',
    "a.json": ' [{"Name": "a", "Of what": "one, two"}, {"Name": "b", "Of what": "x\\ny"}]',
    "b.json": '{"a": {"Of what": "one, two"}, "b": {"Of what": "x\\ny"}}',
}


def rows_of(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_rows(path, COLUMNS))


def test_the_same_rows_in_all_layouts(tmp_path):
    places = {"a.csv": ["line 2", "line 5"], "a.jsonl": ["line 1", "line 3"]}
    for name, text in TEXTS.items():
        found = rows_of(tmp_path, name, text)
        assert [row for _, row in found] == [dict(name="a", of_what="one, two"), dict(name="b", of_what="x\ny")], name
        assert [here.where for here, _ in found] == places.get(name, ["row 1", "row 2"])
        assert {here.path for here, _ in found} == {tmp_path / name}
    ((_, row),) = rows_of(tmp_path, "c.json", '{"a": "b"}')
    assert row == dict(name="a", about="b")
    for coding in ("utf-8-sig", "utf-16"):  # as PowerShell writes them
        found = rows_of(tmp_path, "e.json", TEXTS["a.json"].encode(coding))
        assert [row["name"] for _, row in found] == ["a", "b"]
    assert rows_of(tmp_path, "d.json", "[]") == rows_of(tmp_path, "d.jsonl", "") == []


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "line 1: expected names of columns, each once"),
        ("a.csv", "a,A \n1,2\n", "line 1: expected names of columns, each once"),
        ("a.csv", "a b,A_b\n1,2\n", "line 1: expected names of columns, each once"),
        (
            "a.csv",
            f"a\n{'1' * 140_000}\n",
            "line 2: expected .*field limit.*a map of numbers for instance, into a file",
        ),
        (
            "a.csv",
            "a;b,c\n",
            r"line 1: expected one separator of columns \(comma, semicolon, tab\), found 'a;b,c'; put quotes",
        ),
        ("a.csv", "a,b\n1,2,3\n", "line 2: expected 2 values, found 3; put quotes around text that holds a comma"),
        ("a.csv", "a\tb\n1\n", "line 2: expected 2 values, found 1; put quotes around text that holds a tab"),
        ("a.csv", 'a,b\n1,"2\n', "line 2: expected comma-separated values"),
        ("a.csv", 'a;b\n1;"2\n', "line 2: expected semicolon-separated values"),
        ("a.csv", b"a,b\n\xff,1\n", "file: expected text in UTF-8.*; save the table as UTF-8"),
        ("a.csv", POINTER, "Git LFS pointer"),
        ("a.jsonl", '{"a": 1}\n{"a"\n', "line 2, expected JSON|line 2: expected JSON"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object"),
        ("a.jsonl", POINTER, "Git LFS pointer"),
        ("a.json", "[1]", "row 1: expected a JSON object, found 1"),
        ("a.json", "3", "expected a JSON list or object, found 3"),
        ("a.json", POINTER, "Git LFS pointer"),
    ],
)
def test_faults(tmp_path, name, text, message):
    with pytest.raises(FormatError, match=message):
        rows_of(tmp_path, name, text)


def test_what_cannot_be_read(tmp_path):
    for name in ("a.csv", "a.json", "a.jsonl"):
        with pytest.raises(FormatError, match=r"nothing of that name|can be read"):
            list(read_rows(tmp_path / name, COLUMNS))
        (tmp_path / name).mkdir()
        with pytest.raises(FormatError, match=r"found a folder|can be read"):
            list(read_rows(tmp_path / name, COLUMNS))


def test_columns_are_separated_as_line_1_says(tmp_path):
    wanted = [{"a": "1,5", "b;c": "x"}, {"a": "", "b;c": 'y\t"'}]
    for mark in ",;\t":
        text = f'a{mark}"B;c"\r\n"1,5"{mark}x\r\n{mark}"y\t"""\r\n'
        assert [row for _, row in rows_of(tmp_path, "a.csv", text)] == wanted
    assert [row for _, row in rows_of(tmp_path, "a.csv", "a\n1;2\n")] == [{"a": "1;2"}]
    assert [row for _, row in rows_of(tmp_path, "a.tsv", "a\tb\n1\t2\n")] == [{"a": "1", "b": "2"}]
    with pytest.raises(FormatError, match=r"line 2: expected a number, found '0,5'; write decimals with a point"):
        number_of("0,5", Place(tmp_path, "line 2"))


def test_written_rows_are_read_back(tmp_path):
    rows = [dict(a='x,"y"', b="1"), dict(a="ß\n", b="")]
    text = csv_text(rows, ["a", "b"])
    assert text.startswith("a,b\n")
    assert list(csv.DictReader(text.splitlines(keepends=True))) == rows
    assert [row for _, row in rows_of(tmp_path, "a.csv", text)] == rows


def test_values(tmp_path):
    here = Place(tmp_path / "a", "line 7")
    assert utf8(here.path, "\ufeffß".encode()) == "ß"
    assert text_of("x" * MAX_TEXT, here) == "x" * MAX_TEXT
    assert [number_of(value, here) for value in (1, "2.5", 0.5)] == [1, 2.5, 0.5]
    for value, found in ((None, "nothing"), (3, "3"), ("x" * (MAX_TEXT + 1), "one of 10,001")):
        with pytest.raises(FormatError, match=f"line 7: expected a text of at most 10,000 characters, found {found}"):
            text_of(value, here)
    with pytest.raises(FormatError, match="half characters"):
        text_of("\ud800", here)
    for value in (True, None, "x", "nan", math.inf, 10**400, []):
        with pytest.raises(FormatError, match="line 7: expected a number"):
            number_of(value, here)
