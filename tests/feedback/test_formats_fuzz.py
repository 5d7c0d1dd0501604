"""Thousands of damaged files: each is read as something valid or refused with FormatError, in little memory. See `fuzz.py`."""

import json
import struct
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bestpapers.feedback.formats import read_annotations, read_richhf, read_table, write_annotations, write_richhf
from bestpapers.feedback.formats.tables import prompts_from
from bestpapers.feedback.record import MAPS, SCORES, words
from bestpapers.lab.maps import read_map
from bestpapers.lab.pictures import read_picture
from bestpapers.lab.tfrecords import masked

from .. import fuzz
from .made import PROMPTS, record
from .test_formats_annotations import annotated

FILES = 400  # per reader
PEAK = 4 << 20  # bytes while reading one file of at most 6 kB, as Python counts them
GROWTH = 64_000  # kB that the process may grow by

NUMBERS = [
    *(struct.pack("<Q", n) for n in (0, 1, 2**31, 2**40, 2**60, 2**63 - 1, 2**64 - 1)),
    *(struct.pack("<f", x) for x in (np.nan, np.inf, -np.inf, 3e38, 1e-45)),
    *(b"\x80" * 11, b"\xff\xff\xff\xff\x0f", b"\x0a\x80\x80\x80\x80\x10"),  # of protocol buffers
]
WORDS = [
    *(*fuzz.WORDS, b"F16", b"BF16", b"F8_E4M3", b"I64", b"data_offsets", b"O", b"<f8", b"|S1000000000", b"[0,4,1,1]"),
    *(
        b"(2, 99999999999)",
        b"../../x.png",
        b"/etc/passwd",
        b'"\\ud800"',
        b"[No_mistakes]",
        b'"a.png"',
        b"[null]",
        b"-Infinity",
    ),
]
mutate = partial(fuzz.mutate, numbers=NUMBERS, words=WORDS, block=16)


def signed(data):
    """The damage in one record whose check sums are right, so that it reaches the reader of messages."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def check_picture(pixels):
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert pixels.size <= 100_000


def check_map(values):
    assert values.dtype == np.float32
    assert values.ndim == 2
    assert 0 <= values.min() <= values.max() <= 1


def check_records(records):
    assert len({r.name for r in records}) == len(records)
    for r in records:
        assert set(r.feedback.scores) <= set(SCORES)
        assert all(0 <= score <= 1 for score in r.feedback.scores.values())
        assert set(r.feedback.maps) <= set(MAPS)
        for values in r.feedback.maps.values():
            check_map(values)
            assert r.picture is None or values.shape == r.picture.shape[:2]
        assert len(r.feedback.misaligned) in (0, len(words(r.prompt)))
        assert ((r.feedback.misaligned >= 0) & (r.feedback.misaligned <= 1)).all()
        r.prompt.encode()


def check_annotations(pictures):
    for picture in pictures:
        for person in picture.annotations:
            assert set(person.points) == set(MAPS)
            assert all(1 <= person.likert[kind] <= 5 for kind in SCORES)
            assert len(person.misaligned) == len(words(picture.prompt))


def check_prompts(found):
    assert all(isinstance(name, str) and isinstance(prompt, str) for name, prompt in found[0].items())


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """name: (good file, reader of bytes, check of what it returns)."""
    folder = tmp_path_factory.mktemp("fuzz")
    out = {}

    def add(name, path, read, check, damage=lambda data: data, part=slice(None)):
        good = path.read_bytes()

        def reader(data):
            path.write_bytes(damage(data))
            try:
                return read(path)
            finally:
                path.write_bytes(good)

        out[name] = good[part], reader, check

    records = [record(i, size=(6, 8)) for i in range(2)]
    write_richhf(folder / "a.tfrecord", records, folder / "pictures")
    feedback = partial(read_richhf, prompts={r.name: r.prompt for r in records})
    add("a.tfrecord", folder / "a.tfrecord", lambda path: list(feedback(path)), check_records)
    write_richhf(folder / "b.tfrecord", records[:1])
    add("example", folder / "b.tfrecord", lambda path: list(feedback(path)), check_records, signed, slice(12, -4))
    add("picture.png", folder / "pictures" / "uid-0.png", read_picture, check_picture)
    add("uid-0.txt", folder / "pictures" / "uid-0.txt", lambda path: prompts_from(path.parent), check_prompts)

    grey = np.round(records[0].feedback.maps["implausibility"] * 255).astype(np.uint8)
    for name in ("map.png", "map.jpg"):
        Image.fromarray(grey).save(folder / name)
    np.save(folder / "map.npy", (grey / 255).astype(np.float16))
    save_file(dict(implausibility=torch.from_numpy(grey / 255)), folder / "map.safetensors")
    for name in ("map.png", "map.jpg", "map.npy", "map.safetensors"):
        add(name, folder / name, lambda path: read_map(path, ("implausibility",)), check_map)

    scores = "file_name,prompt,overall,plausibility,misaligned,implausibility\n"
    lines = [f'pictures/uid-{i}.png,"{PROMPTS[2]}",0.5,{i}.0,0,map.npy\n' for i in range(2)]
    (folder / "metadata.csv").write_text(scores + "".join(lines))
    rows = [
        dict(
            file_name=f"pictures/uid-{i}.png", prompt="a red fox", overall=0.5 * i,
            word_scores=[["a", 0], ["red", 1.5], ["fox", 0]], alignment_heatmap=(grey[::2, ::2] / 255).round(2).tolist(),
        )
        for i in range(2)
    ]  # fmt: skip
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "metadata.json").write_text(json.dumps(rows))
    for name in ("metadata.csv", "metadata.jsonl", "metadata.json"):
        add(name, folder / name, lambda path: list(read_table(path)), check_records)
    (folder / "prompts.csv").write_text("image_0_uid,image_1_uid,caption\nuid-0,uid-1,fox\n")
    add("prompts.csv", folder / "prompts.csv", prompts_from, check_prompts)
    write_annotations(folder / "annotations.json", [annotated()])
    add("annotations.json", folder / "annotations.json", read_annotations, check_annotations)
    return out


READERS = (
    *("a.tfrecord", "example", "picture.png", "map.png", "map.jpg", "map.npy", "map.safetensors"),
    *("metadata.csv", "metadata.jsonl", "metadata.json", "prompts.csv", "uid-0.txt", "annotations.json"),
)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore:.*read as answers 1 to 5")
def test_damaged_files(readers, name):
    assert len(readers[name][0]) <= 6000
    fuzz.assert_withstands(name, *readers[name], mutate, FILES, PEAK, GROWTH)


def test_mutations_are_the_same_everywhere():
    fuzz.assert_same_everywhere(mutate)
