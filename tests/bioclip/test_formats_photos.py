"""Photographs of a reader: a folder per class, or the table that the authors' evaluation reads."""

import csv
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bestpapers.bioclip.formats import FormatError, Photo, Skips, read_photos
from bestpapers.bioclip.formats import photos as reader
from bestpapers.bioclip.formats.photos import decode
from bestpapers.bioclip.taxa import taxa

LION = taxa()[0]
FISH = dict(kingdom="Animalia", phylum="Chordata", cls="", order="Cypriniformes", genus="Carassius", species="auratus")


def save(path, color=(200, 10, 10), size=(8, 6), **kw):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **kw)


def table(path, rows, **kw):
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, **kw)
        writer.writeheader()
        writer.writerows(rows)


def test_a_folder_per_class(tmp_path):
    for name in ("Oak leaf/2.jpg", "Oak leaf/1.PNG", "\u6a39/a.webp", "Oak leaf/notes.txt", ".cache/x.jpg"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no image")
        else:
            save(tmp_path / name)
    save(tmp_path / "loose.jpg")
    save(tmp_path / "Oak leaf" / "deeper" / "3.jpg")
    (tmp_path / "empty").mkdir()
    photos = read_photos(tmp_path)
    assert [(p.path.name, p.label, p.taxon) for p in photos] == [
        ("1.PNG", "Oak leaf", None),
        ("2.jpg", "Oak leaf", None),
        ("a.webp", "\u6a39", None),
    ]
    assert all(photo.image().size == (8, 6) and photo.image().mode == "RGB" for photo in photos)


def test_the_authors_table(tmp_path):
    """Its columns: a nameless index, seven ranks with cls for class, common_name, filepath, class."""
    save(tmp_path / "images" / "1.jpg")
    save(tmp_path / "images" / "2.jpg")
    ranks = dict(zip(("kingdom", "phylum", "cls", "order", "family", "genus", "species"), LION.path))
    rows = [
        {"": "0", **ranks, "common_name": "Lion", "filepath": "images/1.jpg", "class": "a lion, resting"},
        {"": "1", **FISH, "common_name": "", "filepath": "images/2.jpg", "class": "goldfish", "family": ""},
    ]
    table(tmp_path / "metadata.csv", rows)
    for source in (tmp_path, tmp_path / "metadata.csv", str(tmp_path)):
        lion, fish = read_photos(source)
        assert lion == Photo((tmp_path / "images/1.jpg").resolve(), "a lion, resting", LION)
        assert fish.taxon.path == ("Animalia", "Chordata", "", "Cypriniformes", "", "Carassius", "auratus")
    table(tmp_path / "catalog.csv", [{"filepath": "images/2.jpg", "class": "x", **FISH, "common": "goldfish"}])
    assert read_photos(tmp_path / "catalog.csv")[0].taxon.common_name == "goldfish"
    table(tmp_path / "labels.csv", [{"filepath": "images/1.jpg", "class": "Boletus edulis Bull."}])
    assert read_photos(tmp_path / "labels.csv")[0].taxon is None


def test_pixels_are_rgb_and_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    save(tmp_path / "a" / "1.jpg", size=(80, 40), exif=exif)
    rgba = np.zeros((5, 7, 4), np.uint8)
    rgba[..., 1] = 9
    Image.fromarray(rgba).save(tmp_path / "a" / "2.png")
    Image.new("P", (7, 5)).save(tmp_path / "a" / "3.png", transparency=0)
    Image.new("CMYK", (7, 5)).save(tmp_path / "a" / "4.jpg")
    images = [photo.image() for photo in read_photos(tmp_path)]
    assert [image.size for image in images] == [(40, 80), (7, 5), (7, 5), (7, 5)]
    assert {image.mode for image in images} == {"RGB"}
    assert (np.asarray(images[1]) == (0, 9, 0)).all()


@pytest.mark.parametrize("kind", ["gif", "jp2", "jpf", "avif", "webp", "bmp", "dib", "tif", "ppm", "mpo", "apng", ""])
def test_what_pillow_reads(tmp_path, kind):
    """Also from a file without a suffix; HEIC is told of where it cannot be read."""
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / (f"1.{kind}" if kind else "1")
    Image.new("RGB", (16, 12), (200, 10, 10)).save(path, None if kind else "PNG")
    (tmp_path / "a" / "2").write_text("no image")
    (photo,) = read_photos(tmp_path)
    assert photo.path.name == path.name
    assert abs(np.asarray(photo.image(), int) - (200, 10, 10)).max() < 20


def test_sixteen_bits_of_a_pgm(tmp_path):
    """The upper 8 of them, as of other files; numbers of 32 bits stay refused."""
    grey = np.arange(48, dtype=np.uint16).reshape(6, 8) * 5
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.pgm").write_bytes(b"P5 8 6 65535\n" + (grey * 257).astype(">u2").tobytes())
    (photo,) = read_photos(tmp_path)
    assert (np.asarray(photo.image()) == grey[..., None]).all()
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "a" / "2.tif")
    with pytest.raises(FormatError, match=r"2\.tif: image: expected 8 or 16 bits per channel, found Pillow's mode I"):
        read_photos(tmp_path)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"  # how such a file begins


def test_heic_is_never_left_out_in_silence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.HEIC").write_bytes(HEIC)
    with pytest.raises(FormatError, match=r"1\.HEIC: image: expected .*, found HEIC; install pillow-heif"):
        read_photos(tmp_path)
    with pytest.raises(FormatError, match=r"found HEIC; install pillow-heif"):
        decode(tmp_path / "in a shard", HEIC)
    asked = []
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=lambda: asked.append(1)))
    monkeypatch.setattr(reader, "FORMATS", ("PNG",))
    Image.init()
    monkeypatch.setitem(Image.OPEN, "HEIF", Image.OPEN["BMP"])  # a stand-in for its reader
    save(tmp_path / "b.bmp")
    assert decode(tmp_path / "b.bmp").size == (8, 6)
    assert asked


def test_a_hundred_megapixels(tmp_path):
    """Such a JPEG comes at half its size, in a quarter of the memory."""
    Image.new("L", (12_000, 9_000), 90).save(tmp_path / "a.jpg")
    image = decode(tmp_path / "a.jpg")
    assert (image.mode, image.size) == ("RGB", (6_000, 4_500))
    assert abs(np.asarray(image.resize((4, 3))).astype(int) - 90).max() < 3


def bad_rows(folder):
    """(row, what the error says)"""
    save(folder / "good.jpg")
    save(folder.parent / "outside.jpg")
    (folder / "text.jpg").write_text("hello")
    cut = io.BytesIO()
    Image.new("RGB", (300, 300)).save(cut, "ICO")
    (folder / "ico.jpg").write_bytes(cut.getvalue())
    return [
        ({"filepath": "none.jpg", "class": "a"}, "which is not there"),
        ({"filepath": "../outside.jpg", "class": "a"}, "a path inside"),
        ({"filepath": "/etc/hostname", "class": "a"}, "a path inside"),
        ({"filepath": "", "class": "a"}, "a file name"),
        ({"filepath": "good.jpg", "class": " "}, "column class: expected a text"),
        ({"filepath": "text.jpg", "class": "a"}, "something else"),
        ({"filepath": "ico.jpg", "class": "a"}, "something else"),
    ]


def test_bad_rows_are_refused_or_counted(tmp_path):
    folder = tmp_path / "photos"
    rows = bad_rows(folder)
    for row, message in rows:
        table(folder / "metadata.csv", [row])
        with pytest.raises(FormatError, match=message):
            read_photos(folder)
    good = {"filepath": "good.jpg", "class": "ok"}
    table(folder / "metadata.csv", [good, *(row for row, _ in rows), good])
    skips = Skips()
    (photo,) = read_photos(folder, skips=skips)
    assert photo.label == "ok"
    assert skips.count == len(rows) + 1
    for message, (_, want) in zip(skips.messages, rows):
        assert want in message
    assert "every photograph once, found that of line 2 again" in skips.messages[-1]


def test_bad_tables(tmp_path):
    save(tmp_path / "1.jpg")
    for text, message in (
        ("", "a column filepath"),
        ("filepath,label\n1.jpg,a\n", "a column class"),
        ("filepath;class,x\n1.jpg;a\n", "one separator of columns"),
        ("filepath\tclass\n1.jpg\n", "line 2: expected 2 values"),
        ("filepath,class,class\n1.jpg,a,b\n", "every column once"),
        ("filepath,class\n1.jpg,a,b\n", "put quotes around text that holds a separator"),
        ("filepath,class\n1.jpg\n", "2 values"),
        ('filepath,class\n1.jpg,"a\n', "comma-separated values"),
        ("filepath,class\n", "at least one that can be read"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(FormatError, match=message):
            read_photos(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes("filepath,class\n1.jpg,\xe9\n".encode("latin-1"))
    with pytest.raises(FormatError, match="save the table as UTF-8"):
        read_photos(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbffilepath,class\r\n\r\n1.jpg,a\r\n")  # as Excel writes it
    assert len(read_photos(tmp_path / "t.csv")) == 1
    for mark in ";\t":
        (tmp_path / "t.csv").write_text(f"filepath{mark}cls{mark}class\n1.jpg{mark}aves{mark}a crow, resting\n")
        (found,) = read_photos(tmp_path / "t.csv")
        assert (found.label, found.taxon.class_) == ("a crow, resting", "Aves")


def test_bad_folders(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(FormatError, match=r"folders named after classes"):
        read_photos(tmp_path)
    with pytest.raises(FormatError, match="a folder that can be read"):
        read_photos(tmp_path / "nowhere")
    (tmp_path / "a" / "1.jpg").write_text("no image")
    with pytest.raises(FormatError, match=r"1\.jpg"):
        read_photos(tmp_path)
    skips = Skips()
    with pytest.raises(FormatError, match="at least one that can be read"):
        read_photos(tmp_path, skips=skips)
    assert skips.count == 1


def test_pixels_are_decoded_late_and_damage_is_named(tmp_path):
    save(tmp_path / "a" / "1.png", size=(300, 300))
    data = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "1.png").write_bytes(data[:-60])
    (photo,) = read_photos(tmp_path)
    with pytest.raises(FormatError, match=r"1\.png: image: expected a whole image"):
        photo.image()


def test_links_out_of_the_folder(tmp_path):
    save(tmp_path / "secret" / "1.jpg")
    save(tmp_path / "photos" / "a" / "2.jpg")
    try:
        (tmp_path / "photos" / "b").symlink_to(tmp_path / "secret")
    except OSError:
        pytest.skip("this system makes no links")
    with pytest.raises(FormatError, match="a path inside"):
        read_photos(tmp_path / "photos")
