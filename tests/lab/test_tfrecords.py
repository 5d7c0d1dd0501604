"""TFRecord files: an outsider's are read, an outsider reads ours, known sums; damage is named, in little memory."""

import struct
import tracemalloc

import pytest
import tfrecord

from bestpapers.lab.files import FormatError, Skips
from bestpapers.lab.places import Place
from bestpapers.lab.tfrecords import MAX_RECORD, example_bytes, masked, parse_example, read_records, write_records


def test_there_and_back(tmp_path):
    path = tmp_path / "folder" / "a"
    assert write_records(path, [b"", b"abc", bytes(300)]) == 3
    assert [data for _, data in read_records(path)] == [b"", b"abc", bytes(300)]
    assert [here.where for here, _ in read_records(path)] == [
        "record 1 (byte 0)", "record 2 (byte 16)", "record 3 (byte 35)"
    ]  # fmt: skip

    def broken():
        yield b"abc"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_records(tmp_path / "b", broken())
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_outsider_reads_ours(tmp_path):
    write_records(tmp_path / "a", [example_bytes(dict(name=b"x" * 200, score=0.1))])
    (row,) = tfrecord.tfrecord_loader(str(tmp_path / "a"), None)
    assert bytes(row["name"]) == b"x" * 200
    assert row["score"].tolist() == pytest.approx([0.1])


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 129, 16383, 16384])
def test_lengths_around_a_power_of_128(tmp_path, size):
    """Where a length begins to take one more byte."""
    value = bytes(size)
    assert parse_example(example_bytes(dict(name=value)), Place(tmp_path)) == dict(name=[value])
    theirs = tfrecord.TFRecordWriter.serialize_tf_example(dict(name=(value, "byte")))
    assert example_bytes(dict(name=value)) == theirs


def test_parsed_as_protocol_buffers_do(tmp_path):
    """Packed and single values, whole numbers below 0, lists and fields that come twice, fields that nobody knows."""
    writer = tfrecord.TFRecordWriter(str(tmp_path / "a"))
    writer.write(dict(a=([1.5, -2.0], "float"), b=([-1, 0, 2**62], "int"), c=([b"x", b""], "byte"), d=([], "float")))
    writer.close()
    ((_, data),) = read_records(tmp_path / "a")
    wanted = dict(a=[1.5, -2.0], b=[-1, 0, 2**62], c=[b"x", b""], d=[])
    assert parse_example(data, Place(tmp_path)) == wanted
    unknown = b"\x10\x05" + b"\x1a\x02hi" + b"\x2d" + bytes(4) + b"\x31" + bytes(8)
    assert parse_example(unknown + data + unknown, Place(tmp_path)) == wanted
    assert parse_example(data + example_bytes(dict(a=7.0)), Place(tmp_path))["a"] == [7.0]
    single = b"\x0a\x0c\x0a\x0a\x0a\x01a\x12\x05\x12\x03\x0a\x01"  # cut short below
    with pytest.raises(FormatError, match="ends after its message"):
        parse_example(single, Place(tmp_path, "record 9"))
    floats = b"\x12\x0a" + 2 * (b"\x0d" + struct.pack("<f", 2.5))  # not packed
    entry = b"\x0a\x01a\x12" + bytes([len(floats)]) + floats
    data = b"\x0a" + bytes([len(entry) + 2]) + b"\x0a" + bytes([len(entry)]) + entry
    assert parse_example(data, Place(tmp_path)) == dict(a=[2.5, 2.5])


def test_check_sums_are_the_known_ones():
    """CRC32C of the digits is 0xe3069283 in every table; what stands in a file is that, turned and shifted."""
    crc = 0xE3069283
    assert masked(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    assert masked(bytes(8)) == int.from_bytes(tfrecord.TFRecordWriter.masked_crc(bytes(8)), "little")


def framed(data, length=None, good=True):
    """A record whose length may lie, with the right check sums or wrong ones."""
    head = struct.pack("<Q", len(data) if length is None else length)
    return head + struct.pack("<I", masked(head) ^ (not good)) + data + struct.pack("<I", masked(data))


def test_faults_of_the_file(tmp_path):
    path, data = tmp_path / "a", example_bytes(dict(a=b"some text", b=1.5))
    whole, n = framed(data), len(framed(data))
    wrong = bytearray(whole)
    wrong[-20] ^= 1
    cases = {  # what it holds: (message, records that are still read, faults counted)
        "data": (bytes(wrong) + framed(b"b"), r"record 1 \(byte 0\), data: expected data with its check sum", 1, 1),
        "length": (whole + framed(data, good=False), rf"record 2 \(byte {n}\), length: expected a length with", 1, 1),
        "header cut": (whole + framed(data)[:7], "record 2 .*expected 12 bytes .*found 7: the file is cut", 1, 1),
        "data cut": (whole + framed(data)[:-5], r"record 2 .*expected \d+ bytes, found \d+: the file is cut", 1, 1),
        "hostile": (whole + framed(data, 2**60), f"record 2 .*at most {MAX_RECORD:,} bytes, found {2**60:,}", 1, 1),
        "long": (whole + framed(data, MAX_RECORD), f"record 2 .*expected {MAX_RECORD + 16:,} bytes, found", 1, 1),
        "hostile and unsigned": (whole + framed(data, 2**60, good=False), "record 2 .*a length with its check", 1, 1),
        "gzip": (b"\x1f\x8b\x08\0" + whole, "record 1 .*gzip's mark: unpack it", 0, 1),
        "no TFRecord": (b"<!DOCTYPE html>" * 9, "record 1 .*length with its check sum.*found another sum", 0, 1),
    }
    for name, (content, message, left, faults) in cases.items():
        path.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(FormatError, match=message):
            list(read_records(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20, name
        skips = Skips()
        assert len(list(read_records(path, skips))) == left, name
        assert skips.count == faults, name
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 150710286\n")
    with pytest.raises(FormatError, match=r"found a Git LFS pointer.*150710286 bytes; run `git lfs install`"):
        list(read_records(path))
    for gone, found in ((tmp_path / "b", "nothing of that name"), (tmp_path, "a folder")):
        with pytest.raises(FormatError, match=f"expected a file, found {found}"):
            list(read_records(gone))


def test_messages_within_bounds(tmp_path):
    """Examples that would take much memory or never end."""
    many = example_bytes({"a": 1.0}) + b"\x10\x00" * 200_000
    wide = b"\x0a" + b"\x80" * 11
    enough = b"\x10\x00" * 100_000  # as many as are allowed
    assert parse_example(enough, Place(tmp_path)) == {}
    for data, message in (
        (many, "more than 100,000 values"),
        (wide, "a number without an end"),
        (b"\x0b", "unknown kind 3"),
        (b"\x0a\xff\xff\xff\xff\x0f", "ends after its message"),
    ):
        with pytest.raises(FormatError, match=f"record 5: expected a tf.train.Example, found .*{message}"):
            parse_example(data, Place(tmp_path, "record 5"))
