"""Places in files: errors name them."""

import pytest

from bestpapers.lab.files import FormatError
from bestpapers.lab.places import Place


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
