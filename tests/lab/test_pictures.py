"""Pictures of one's own: found by name, read upright in bounded memory, resized without surprise."""

import io

import numpy as np
import pytest
from PIL import Image

from bestpapers.lab import pictures
from bestpapers.lab.files import FormatError
from bestpapers.lab.places import Place


def test_names():
    names = {"a.png": "a", "b/c.d.JPG": "c.d", "e\\\\f.txt": "f", "g.csv": "g.csv", "h": "h", "i/": "", ".png": ""}
    assert {name: pictures.stem(name) for name in names} == names


def test_a_folder_by_name(tmp_path, monkeypatch):
    for name in ("b.png", "more/a.jpg", "more/b.WEBP", "a.txt", ".hidden.png", "c.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = pictures.listing(tmp_path)
    assert found == dict(b=[tmp_path / "b.png", tmp_path / "more" / "b.WEBP"], a=[tmp_path / "more" / "a.jpg"])
    assert pictures.listing(tmp_path, (".txt",)) == dict(a=[tmp_path / "a.txt"])
    here = Place(tmp_path, "picture")
    assert pictures.one_file(found, "a", here, "one") == tmp_path / "more" / "a.jpg"
    for name, message in (("b", "found b.png, b.WEBP; look"), ("x", "found none, among 2; look")):
        with pytest.raises(FormatError, match=f"picture: expected one, {message}"):
            pictures.one_file(found, name, here, "one", "look")
    for path, message in ((tmp_path / "none", "nothing of that name"), (tmp_path / "b.png", "a file")):
        with pytest.raises(FormatError, match=f"expected a folder, found {message}"):
            pictures.listing(path)
    monkeypatch.setattr(pictures, "MAX_FILES", 3)
    with pytest.raises(FormatError, match="at most 3 files, found more"):
        pictures.listing(tmp_path)


def test_a_picture_is_read_upright(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(pictures.png_bytes(values))
    np.testing.assert_array_equal(pictures.read_picture(tmp_path / "a.png"), values)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    Image.fromarray(values).save(tmp_path / "b.png", exif=turned)
    np.testing.assert_array_equal(pictures.read_picture(tmp_path / "b.png"), np.rot90(values, -1))
    grey = pictures.png_bytes(values[..., 0])
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(grey))), values[..., 0])


def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (5000, 5000)).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"a.png: size: expected at most 16,777,216 pixels, found 5000 x 5000"):
        pictures.read_picture(tmp_path / "a.png")


def test_resized(tmp_path):
    values = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    assert pictures.resize(values, (4, 6)) is values
    np.testing.assert_allclose(pictures.resize(values, (2, 3)), values.reshape(2, 2, 3, 2).mean((1, 3)), atol=1e-6)
    larger = pictures.resize(values, (8, 12))
    assert (larger.shape, larger.dtype) == ((8, 12), np.float32)
    assert values.min() <= larger.min() <= larger.max() <= values.max()
    colours = pictures.resize(np.full((4, 6, 3), 200, np.uint8), (3, 3))
    assert (colours.shape, colours.dtype) == ((3, 3, 3), np.uint8)
    assert (colours == 200).all()
