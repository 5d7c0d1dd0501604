"""Arrays in .npy files: numpy's own are read as they are; nothing is unpickled; a header that lies is refused."""

import io
import pickle

import numpy as np
import pytest

from bestpapers.lab.arrays import read_npy
from bestpapers.lab.files import FormatError


def npy(values, **how):
    file = io.BytesIO()
    np.save(file, values, **how)
    return file.getvalue()


def test_numpys_own(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (3, 5)).astype(np.uint8)
    for array in (values, values / 255, np.asfortranarray(values / 7), values.astype(">f4"), values > 9, values[0]):
        found = read_npy(npy(array), tmp_path)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_long_headers(tmp_path):
    """Version 2 of the format, whose header may be longer than 64 kB."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.arange(6.0).reshape(2, 3), version=(2, 0))
    np.testing.assert_array_equal(read_npy(file.getvalue(), tmp_path), np.arange(6.0).reshape(2, 3))


class Bomb:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy(np.array([[Bomb()]]), allow_pickle=True), "type: expected float16.*a pickle, which can run any code"),
        (pickle.dumps(Bomb()), r"file: expected a \.npy file"),
        (npy(np.zeros(3, np.complex64)), "type: expected float16, float32, uint8 or another of numbers"),
        (npy(np.zeros(3, np.float32))[:-1], r"size: expected 140 bytes for \(3,\) float32, found 139 bytes"),
        (npy(np.zeros(3)) + b"x", "size: "),
        (npy(np.zeros(3)).replace(b"(3,)", b"(9**9,)"), r"a \.npy file|size: "),
        (b"", r"file: expected a \.npy file"),
        (
            npy(np.zeros(3)).replace(b"(3,)", b"(-1, -3)"),
            r"file: expected a \.npy file, found ValueError: a side below 0",
        ),
    ],
)
def test_faults(tmp_path, data, message, capsys):
    with pytest.raises(FormatError, match=message):
        read_npy(data, tmp_path / "a.npy")
    assert capsys.readouterr().out == ""
