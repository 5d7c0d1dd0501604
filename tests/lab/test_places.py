"""Places in files: errors name them; what Git LFS leaves behind is known."""

import pytest

from bestpapers.lab.files import FormatError
from bestpapers.lab.places import Place, refuse_pointer, refuse_pointer_at

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 99\n"


def test_a_place_is_named(tmp_path):
    here = Place(tmp_path / "a.csv")
    assert str(here.wrong("x", "y", "z")) == f"{tmp_path / 'a.csv'}: file: expected x, found y; z"
    inner = here / "line 3" / "score"
    inner.need(1, "a number", None)
    with pytest.raises(FormatError, match=r"a.csv: line 3, score: expected a number, found nothing"):
        inner.need(0, "a number", None)


def test_what_is_wrong_within_is_said_to_be_here(tmp_path):
    here = Place(tmp_path / "a.csv", "line 3")
    for field, said in (("file", "line 3"), ("size", "line 3, size")):
        with pytest.raises(FormatError, match=f"a.csv: {said}: expected x, found y; z"), here.around():
            raise FormatError("b.png", field, "x", "y", "z")


def test_pointers(tmp_path):
    path = tmp_path / "a.png"
    for data, found in ((POINTER, "in the place of 99 bytes"), (POINTER[:60], "in the place of some bytes")):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=f"expected the data, found a Git LFS pointer.*{found}; run `git lfs"):
            refuse_pointer_at(path)
    path.write_bytes(b"data")
    refuse_pointer_at(path)
    refuse_pointer(path, b"version 2")
    with pytest.raises(FormatError, match="a file that can be read"):
        refuse_pointer_at(tmp_path / "b.png")
