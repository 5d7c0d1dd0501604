"""What readers and writers share: errors that name the place, paths that stay inside, images in bounded memory, whole files."""

import io
import json
import os
import pickle
import struct
import sys
import threading
import tracemalloc
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bestpapers.lab.files import (
    MAX_SIDE,
    BoundedFile,
    FormatError,
    Skips,
    atomic_write,
    cache_dir,
    check_file,
    inside,
    opened_image,
    parse_json,
    read_file,
    show,
    write_file,
)


def image_bytes(kind="PNG", mode="RGB", size=(6, 4), **kw) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 1).save(file, kind, **kw)
    return file.getvalue()


def png_header(width, height, rest=b"\0\0\0\x0aIDAT") -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + rest


# -------------------------------------------------------------------------------------------------------------- errors


def test_the_message_of_an_error_and_its_way_between_processes(tmp_path):
    error = FormatError(tmp_path / "a.csv", "line 3", "two values", "three", "put quotes around text with commas")
    want = f"{tmp_path / 'a.csv'}: line 3: expected two values, found three; put quotes around text with commas"
    assert str(error) == want
    assert isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.path, again.field) == (FormatError, want, tmp_path / "a.csv", "line 3")
    assert str(FormatError("a", "b", "c", "d")) == "a: b: expected c, found d"


def test_skips_count_all_and_keep_the_first_messages():
    skips = Skips(keep=2)
    for i in range(5):
        skips.add(FormatError(f"{i}.jpg", "image", "a whole one", "half"))
    assert skips.count == 5
    assert [message[:5] for message in skips.messages] == ["0.jpg", "1.jpg"]
    assert Skips().messages is not Skips().messages


def test_skips_keep_the_first_message_of_each_kind():
    skips = Skips(keep=2)
    for i in range(5):
        skips.add(FormatError("a.tfrecord", f"record {i} (uid-{i}), picture", "one file", "none"))
    skips.add(FormatError("a.tfrecord", "record 7 (uid-7), overall_score", "a number", "none"))
    assert [message.split(":")[1] for message in skips.messages] == [
        " record 0 (uid-0), picture", " record 1 (uid-1), picture", " record 7 (uid-7), overall_score",
    ]  # fmt: skip
    for i in range(10_000):
        skips.add(FormatError("a", "x" * (i % 500), "b", "c"))
    assert len(skips.messages) < 100


def test_what_would_steer_a_terminal_is_escaped():
    error = FormatError("a\x1b[2J\nb\udcff.png", "\u202ename", "é\u00a0☃", "\x07", "\r")
    assert str(error) == "a\\x1b[2J\\nb\\udcff.png: \\u202ename: expected é\u00a0☃, found \\x07; \\r"
    assert error.path == Path("a\x1b[2J\nb\udcff.png")


def test_values_in_messages_are_short():
    assert show(None) == "nothing"
    for value in ("x" * 10_000, list(range(10_000)), {str(i): i for i in range(1000)}, [[[[[[[[1]]]]]]]], 10**4000):
        assert len(show(value)) < 500


# ----------------------------------------------------------------------------------------------------- files and JSON


def test_read_file(tmp_path):
    write_file(tmp_path / "a", b"123")
    assert read_file(tmp_path / "a", 3) == b"123"
    for path, limit, found in (
        (tmp_path / "a", 2, "3 bytes"),
        (tmp_path / "b", None, "nothing of that name"),
        (tmp_path, None, "a folder"),
        (tmp_path / "nul\0", None, "nothing of that name"),
    ):
        with pytest.raises(FormatError, match=found):
            read_file(path, limit)
    if hasattr(os, "mkfifo"):  # reading it would wait for ever
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FormatError, match="nothing of that name"):
            read_file(tmp_path / "pipe")


def test_what_git_lfs_leaves_is_known(tmp_path):
    path = tmp_path / "a.png"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 99\n"
    for data, found in ((pointer, "in the place of 99 bytes"), (pointer[:60], "in the place of some bytes")):
        path.write_bytes(data)
        for read in (check_file, read_file, lambda path: opened_image(path).__enter__()):
            with pytest.raises(FormatError, match=f"expected the data, found a Git LFS pointer.*{found}; run `git lfs"):
                read(path)
    path.write_bytes(b"version 2")
    check_file(path)
    with pytest.raises(FormatError, match="found a folder; give a file in it"):
        check_file(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions stop")
def test_a_file_without_permission(tmp_path):
    write_file(tmp_path / "a", b"1")
    (tmp_path / "a").chmod(0)
    with pytest.raises(FormatError, match="a file that can be read"):
        read_file(tmp_path / "a")


def test_parse_json(tmp_path):
    assert parse_json(b'{"a": [1]}', tmp_path) == {"a": [1]}
    assert parse_json(b"[1]", tmp_path, list) == [1]
    for data in (b"", b"{", b"[1]", b"3", b"\xff\xfe", b'{"a": 1} x', b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"):
        with pytest.raises(FormatError, match="JSON"):
            parse_json(data, tmp_path)
    with pytest.raises(FormatError, match="a JSON list"):
        parse_json(b"{}", tmp_path, list)


# ------------------------------------------------------------------------------------------------------- paths inside


def test_paths_stay_inside(tmp_path):
    folder, table = tmp_path / "photos", tmp_path / "photos" / "metadata.csv"
    write_file(folder / "deep" / "a.jpg", b"1")
    write_file(tmp_path / "secret.jpg", b"2")
    want = (folder / "deep" / "a.jpg").resolve()
    for name in ("deep/a.jpg", "./deep/../deep/a.jpg", str(want)):
        assert inside(folder, name, table, "line 2") == want
    outside = ("../secret.jpg", "deep/../../secret.jpg", str(tmp_path / "secret.jpg"), "/etc/hostname")
    for name in outside:
        with pytest.raises(FormatError, match="a path inside"):
            inside(folder, name, table, "line 2")
    for name in ("deep", "b.jpg", "deep/a.jpg/b"):
        with pytest.raises(FormatError, match="which is not there"):
            inside(folder, name, table, "line 2")
    for name in ("", None, 3, ["a"]):
        with pytest.raises(FormatError, match="a file name"):
            inside(folder, name, table, "line 2")
    for name in ("a\0b", "x" * 10_000, "\ud800"):
        with pytest.raises(FormatError):
            inside(folder, name, table, "line 2")


def test_an_accent_may_be_a_character_of_its_own(tmp_path):
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        folder, name = tmp_path / form, "caf\u00e9 \u1ec7.png"
        write_file(folder / unicodedata.normalize(form, name), b"1")
        assert inside(folder, unicodedata.normalize(other, name), folder, "x").read_bytes() == b"1"


def test_links_that_lead_out_are_refused(tmp_path):
    folder = tmp_path / "photos"
    write_file(folder / "a.jpg", b"1")
    write_file(tmp_path / "secret.jpg", b"2")
    try:
        (folder / "out.jpg").symlink_to(tmp_path / "secret.jpg")
        (folder / "in.jpg").symlink_to(folder / "a.jpg")
        (folder / "up").symlink_to(tmp_path)
        (folder / "loop").symlink_to(folder / "loop")
    except OSError:
        pytest.skip("this system makes no links")
    assert inside(folder, "in.jpg", folder, "x") == (folder / "a.jpg").resolve()
    for name in ("out.jpg", "up/secret.jpg"):
        with pytest.raises(FormatError, match="copy the file there"):
            inside(folder, name, folder, "x")
    with pytest.raises(FormatError):
        inside(folder, "loop", folder, "x")


# ------------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_images_in_files_and_in_memory(tmp_path, kind):
    data = image_bytes(kind)
    write_file(tmp_path / "a", data)  # the content decides, not the name
    with opened_image(tmp_path / "a") as image:
        assert image.size == (6, 4)
        pixels = np.asarray(image)
    with opened_image(tmp_path / "not there.png", data) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_images_that_are_refused(tmp_path):
    for data, field, found in (
        (b"", "image", "something else"),
        (b"hello", "image", "something else"),
        (image_bytes("GIF", "P"), "image", "something else"),
        (image_bytes("PNG", "I;16"), "image", "Pillow's mode I;16"),
        (image_bytes("TIFF", "F"), "image", "Pillow's mode F"),
        (image_bytes(size=(300, 300), mode="RGB")[:-40], "image", "damage"),
        (png_header(MAX_SIDE + 1, 1), "size", "32767 x 1"),
        (png_header(10_000, 9_000), "size", "10000 x 9000"),
        (png_header(20_000, 20_000), "size", "far more"),
    ):
        with pytest.raises(FormatError) as caught, opened_image(tmp_path / "a.png", data) as image:
            image.load()
        assert caught.value.field == field
        assert found in caught.value.found
        assert caught.value.path == tmp_path / "a.png"
    with pytest.raises(FormatError), opened_image(tmp_path / "none.png"):
        pass


@pytest.mark.filterwarnings("error")
def test_what_pillow_only_warns_of_is_silent(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with opened_image(tmp_path / "a.jpg", image_bytes("JPEG", exif=exif.tobytes()[:-8])) as image:
        assert image.getexif().get(0x0112) is None  # "Corrupt EXIF data"
    with pytest.raises(FormatError, match="found 10000 x 9000"), opened_image(tmp_path, png_header(10_000, 9_000)):
        pass  # DecompressionBombWarning


def test_a_reader_is_never_asked_for_more_than_the_file_holds(tmp_path):
    path = tmp_path / "a.png"
    write_file(path, png_header(10, 10, struct.pack(">I", 2**31 - 1) + b"tEXt" + b"x" * 100))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError), opened_image(path) as image:
            image.load()
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    with BoundedFile(path) as file:
        assert len(file.read(1 << 40)) == path.stat().st_size
        assert file.read(5) == b""
        file.seek(3)
        assert file.read() == path.read_bytes()[3:]
        file.seek(10_000)
        assert file.read(4) == b""


# ------------------------------------------------------------------------------------------------------------ writing


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_file(path, b"1")
    assert path.read_bytes() == b"1"

    def interrupted():
        with atomic_write(path) as part:
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"1"
    with atomic_write(path) as part:
        part.write_text(json.dumps([1]))
        assert path.read_bytes() == b"1"  # until the block ends
    assert path.read_text() == "[1]"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]
    with atomic_write(path) as part:
        part.touch(mode=0o600)  # as safetensors does
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode
    path.write_text("[1]")
    with pytest.raises(FileNotFoundError), atomic_write(path):
        pass  # nothing was written
    assert path.read_text() == "[1]"


def test_two_writers_at_once_do_not_meet(tmp_path):
    path = tmp_path / "a.bin"
    with atomic_write(path) as one:
        one.write_bytes(b"1" * 100)
        with atomic_write(path) as other:
            other.write_bytes(b"2" * 200)
        assert path.read_bytes() == b"2" * 200
        with one.open("ab") as file:
            file.write(b"1" * 100)
    assert path.read_bytes() == b"1" * 200
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_reader_never_sees_half_of_what_several_writers_write(tmp_path):
    path, size = tmp_path / "a.bin", 1 << 20
    write_file(path, b"x" * size)
    failed = []

    def write(letter):
        try:
            for _ in range(20):
                write_file(path, letter * size)
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        data = path.read_bytes()
        assert data == data[:1] * size
    assert not failed
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_keeps_its_permissions_and_may_have_a_long_name(tmp_path):
    path = tmp_path / ("n" * 250)
    write_file(path, b"1")
    path.chmod(0o600)
    write_file(path, b"2")
    assert path.read_bytes() == b"2"
    assert path.stat().st_mode & 0o777 == (0o600 if os.name == "posix" else 0o666)


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "true.bin").write_bytes(b"1")
    (tmp_path / "link.bin").symlink_to(tmp_path / "true.bin")
    write_file(tmp_path / "link.bin", b"2")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "true.bin").read_bytes() == b"2"


def test_a_write_protected_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"1")
    monkeypatch.setattr(os, "access", lambda *_: False)  # whoever runs the tests may write anything
    with pytest.raises(PermissionError, match="write-protected"):
        write_file(path, b"2")
    assert path.read_bytes() == b"1"


# ---------------------------------------------------------------------------------------------------------- the cache


@pytest.mark.parametrize(
    ("platform", "variable", "want"),
    [
        ("linux", "XDG_CACHE_HOME", "bestpapers"),
        ("linux", "HOME", ".cache/bestpapers"),
        ("win32", "LOCALAPPDATA", "bestpapers"),
        ("darwin", "HOME", "Library/Caches/bestpapers"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch, tmp_path, platform, variable, want):
    for name in ("BESTPAPERS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_dir() == tmp_path / want
    monkeypatch.setenv("BESTPAPERS_CACHE", "~/here")
    assert cache_dir() == Path("~/here").expanduser()
