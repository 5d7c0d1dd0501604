"""Flow files: OpenCV reads ours and we read OpenCV's; what is no flow file is refused."""

import struct

import cv2
import numpy as np
import pytest
import torch

from bestpapers.dynamics.formats import FormatError, read_flo, write_flo
from bestpapers.lab.optical import MAGIC


@pytest.fixture
def field():
    return 30 * torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))


def test_opencv_reads_ours(field, tmp_path):
    write_flo(tmp_path / "a.flo", field)
    theirs = cv2.readOpticalFlow(str(tmp_path / "a.flo"))
    assert theirs.shape == (5, 9, 2)
    np.testing.assert_array_equal(theirs, field.permute(1, 2, 0).numpy())  # u is x, and comes first


def test_we_read_opencvs(field, tmp_path):
    assert cv2.writeOpticalFlow(str(tmp_path / "b.flo"), np.ascontiguousarray(field.permute(1, 2, 0).numpy()))
    torch.testing.assert_close(read_flo(tmp_path / "b.flo"), field, rtol=0, atol=0)


def test_unknown_pixels(field, tmp_path):
    field[0, 2, 3] = torch.nan
    write_flo(tmp_path / "a.flo", field)
    again = read_flo(tmp_path / "a.flo")
    assert again[:, 2, 3].isnan().all()
    assert int(again.isnan().sum()) == 2
    assert float(cv2.readOpticalFlow(str(tmp_path / "a.flo"))[2, 3, 1]) > 1e9  # as the benchmark marks them


def test_layout_by_hand(tmp_path):
    (tmp_path / "a.flo").write_bytes(b"PIEH" + struct.pack("<ii4f", 2, 1, 1, 2, 3, 4))
    assert read_flo(tmp_path / "a.flo").tolist() == [[[1, 3]], [[2, 4]]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "magic number"),
        (b"HEIP" + bytes(16), "magic number"),
        (MAGIC, "the end of the file"),
        (MAGIC + struct.pack("<ii", 0, 5), "0 x 5"),
        (MAGIC + struct.pack("<ii", -3, 5) + bytes(120), "-3 x 5"),
        (MAGIC + struct.pack("<ii", 2**31 - 1, 2**31 - 1), "16384"),
        (MAGIC + struct.pack("<ii", 16000, 16000) + bytes(8), "2048000012 bytes"),
        (MAGIC + struct.pack("<ii", 2, 1) + bytes(15), r"28 bytes.*found 27"),
        (MAGIC + struct.pack("<ii", 2, 1) + bytes(17), r"28 bytes.*found 29"),
        (MAGIC + struct.pack("<iiff", 1, 1, np.nan, 0), "NaN"),
    ],
)
def test_files_that_are_none(tmp_path, data, message):
    (tmp_path / "a.flo").write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read_flo(tmp_path / "a.flo")


def test_nothing_there_and_nothing_written(field, tmp_path):
    with pytest.raises(FormatError, match="nothing of that name"):
        read_flo(tmp_path / "a.flo")
    with pytest.raises(FormatError, match="folder"):
        read_flo(tmp_path)
    for bad in (field[None], field[:1], torch.zeros(2, 0, 4), field + torch.inf):
        with pytest.raises(ValueError, match="write_flo"):
            write_flo(tmp_path / "c" / "a.flo", bad)
    assert not (tmp_path / "c").exists()
