"""Pictures of one's own: found by name, read upright in bounded memory, resized without surprise."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bestpapers.lab import pictures
from bestpapers.lab.files import FormatError
from bestpapers.lab.places import Place


def test_names():
    names = {"a.png": "a", "b/c.d.JPG": "c.d", "e\\\\f.txt": "f", "g.csv": "g.csv", "h": "h", "i/": "", ".png": ""}
    assert {name: pictures.stem(name) for name in names} == names
    assert pictures.stem("cafe\u0301.png") == pictures.stem("caf\u00e9.png") == "caf\u00e9"


def test_a_folder_by_name(tmp_path, monkeypatch):
    for name in ("b.png", "more/a.jpg", "more/b.WEBP", "a.txt", ".hidden.png", "c.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = pictures.listing(tmp_path)
    assert found == dict(b=[tmp_path / "b.png", tmp_path / "more" / "b.WEBP"], a=[tmp_path / "more" / "a.jpg"])
    assert pictures.listing(tmp_path, (".txt",)) == dict(a=[tmp_path / "a.txt"])
    assert set(pictures.listing(tmp_path, ("",))) == {"a", "b", "c.gif"}
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
    grey = pictures.png_bytes(values[..., 0])
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(grey))), values[..., 0])


ORIENTED = (  # by the standard's numbers: what a picture that is stored so shows
    lambda a: a, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, lambda a: a.swapaxes(0, 1), lambda a: np.rot90(a, -1),
    lambda a: np.rot90(a.swapaxes(0, 1), 2), np.rot90,
)  # fmt: skip


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "jpeg"])
def test_a_picture_is_turned_by_exif(tmp_path, kind, number):
    values = np.repeat(np.repeat(np.array([[255, 0, 0], [0, 0, 255]], np.uint8)[..., None], 8, 0), 8, 1).repeat(3, 2)
    path, turned = tmp_path / f"a.{kind}", Image.Exif()
    turned[0x0112] = number
    Image.fromarray(values).save(path, exif=turned, **(dict(lossless=True) if kind == "webp" else {}))
    np.testing.assert_allclose(pictures.read_picture(path), ORIENTED[number - 1](values), atol=3)
    pixels, data, form = pictures.for_browsers(path)
    as_it_is = kind == "jpeg" or (number == 1 and kind != "tiff")  # browsers differ in what else they turn
    assert (data == path.read_bytes(), form) == (as_it_is, f"image/{kind if as_it_is else 'png'}")
    if not as_it_is:
        with Image.open(io.BytesIO(data)) as image:
            assert not image.getexif()
            np.testing.assert_array_equal(np.array(image), pixels)


XMP = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


@pytest.mark.filterwarnings("error")
def test_no_picture_is_turned_by_xmp_or_lost_by_damaged_exif(tmp_path):
    values = np.zeros((4, 6, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    notes = (dict(xmp=XMP), dict(exif=b"Exif\0\0garbage"), dict(exif=turned.tobytes()[:-8]))
    for kind in ("png", "webp", "jpeg"):
        for note in notes:
            if kind == "png" and "xmp" in note:
                note = dict(pnginfo=PngImagePlugin.PngInfo())
                note["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
                note["pnginfo"].add_text("Raw profile type exif", f"\nexif\n{26:8}\n{turned.tobytes().hex()}\n")
            Image.fromarray(values).save(tmp_path / f"a.{kind}", **note)
            assert pictures.read_picture(tmp_path / f"a.{kind}").shape == values.shape, (kind, note)


def test_a_picture_lies_over_white(tmp_path):
    values = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    wanted = [[[200, 100, 0], [255, 255, 255], [244, 224, 204]]]
    path, image = tmp_path / "a", Image.fromarray(values)
    for kind in ("png", "webp", "tiff"):
        image.save(path, kind, **(dict(lossless=True, exact=True) if kind == "webp" else {}))
        np.testing.assert_allclose(pictures.read_picture(path), wanted, atol=1)
        assert pictures.for_browsers(path)[2] == "image/png"
    image.convert("LA").save(path, "png")
    assert pictures.read_picture(path)[0, :, 0].tolist() == [118, 255, 228]
    for mode, number in (("RGB", (200, 100, 0)), ("L", 7), ("P", 7)):  # one colour that one sees through
        image = Image.new(mode, (2, 1), number)
        if mode == "P":
            image.putpalette(range(24))
        image.save(path, "png", transparency=number)
        assert (pictures.read_picture(path) == 255).all(), mode
    Image.new("RGB", (2, 1)).save(path, "png")
    assert pictures.for_browsers(path)[1] == path.read_bytes()


def test_moving_pictures_stand_still_in_browsers(tmp_path):
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    for kind in ("png", "webp"):
        first.save(tmp_path / "a", kind, save_all=True, append_images=[second])
        pixels, data, form = pictures.for_browsers(tmp_path / "a")
        assert pixels[0, 0, 0] > 250
        assert (form, Image.open(io.BytesIO(data)).is_animated) == ("image/png", False)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"a\xff.png")
    Image.new("RGB", (4, 4)).save(path)
    assert list(pictures.listing(tmp_path)) == ["a\udcff"]
    with pytest.raises(FormatError, match=r"a\\udcff.png: name: expected letters in UTF-8, found other bytes; rename"):
        pictures.read_picture(path)


def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (5000, 5000)).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"a.png: size: expected at most .* 16,777,216 in all, found 5000 x 5000"):
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
    assert pictures.resize(colours, (3, 3)) is colours
