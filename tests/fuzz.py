"""Damaged files: each is read as something valid or refused with FormatError, in little memory.

Every reader starts from a small good file. A mutation flips, cuts, repeats or inserts bytes, overwrites a number with an
extreme one, or swaps a word or line. The seeds are fixed; a failure names the reader and the number of its file.
"""

import random
import sys
import tracemalloc
import warnings

import pytest
from PIL import Image

from bestpapers.lab.files import FormatError

resource = pytest.importorskip("resource")

WORDS = (  # hard in any format; a format adds its own
    *(b"0.5", b"-1", b"nan", b"NaN", b"1e999", b"0", b"9" * 400, b"18446744073709551616", b"null", b"true", b"[]"),
    *(b"{}", b'""', b'"x"', b"[[[[1]]]]", b'"a\\u0000"', b"\xff", b""),
)


def mutate(data: bytes, rng: random.Random, numbers, words, block=1) -> bytes:
    """One to three changes. `numbers` are extreme ones as bytes; a format in blocks also loses and repeats whole ones."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(8)
        if kind == 0:  # bytes
            out = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                if out:
                    out[rng.randrange(len(out))] = rng.randrange(256)
            data = bytes(out)
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data = data[:at] + rng.randbytes(rng.randint(1, 40)) + data[at:]
        elif kind == 3:  # repeat or leave out a piece
            at, n = rng.choice(((at, rng.randint(1, 200)), (at // block * block, block * rng.randint(1, 3))))
            piece = data[at : at + n]
            data = data[:at] + piece * rng.choice((0, 2, 3)) + data[at + len(piece) :]
        elif kind == 4:  # a count or a number
            value = rng.choice(numbers)
            at = min(at, rng.choice((8, 124, len(data))))  # counts stand early, a tar's at 124
            data = data[:at] + value + data[at + len(value) :]
        elif kind == 5:  # lines
            lines = data.split(b"\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i] = rng.choice((lines[j], b"", lines[i] + b" " + lines[j], lines[i][: rng.randrange(40)]))
            data = b"\n".join(lines)
        else:  # a word, with what separates it in JSON, in text and in headers
            ends = [i for i, byte in enumerate(data) if byte in b" ,:\n[]{}\0"]
            if len(ends) > 1:
                k = rng.randrange(len(ends) - 1)
                n = rng.randrange(len(ends) - 1)  # another word of the file, or one of the list
                new = rng.choice((data[ends[n] + 1 : ends[n + 1]], rng.choice(words)))
                data = data[: ends[k] + 1] + new + data[ends[k + 1] :]
    return data


def assert_withstands(name, good, read, check, damage, files, peak, growth):
    """`read` takes `files` files, each `damage(good, rng)`: it returns what `check` finds valid, or raises FormatError.

    One file may take `peak` bytes as Python counts them, and the process may grow by `growth` kB.
    """
    check(read(good))
    Image.init()  # all of Pillow's formats: else the first file that it does not know takes the memory of loading them
    counts = dict(read=0, refused=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        for i in range(files):
            data = damage(good, random.Random(f"{name} {i}"))
            tracemalloc.reset_peak()
            start = tracemalloc.get_traced_memory()[0]
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = read(data)
            except FormatError as error:
                counts["refused"] += 1
                result = error
            except Exception as error:
                raise AssertionError(f"{name}, file {i}: {type(error).__name__}: {error}") from error
            else:
                counts["read"] += 1
            assert tracemalloc.get_traced_memory()[1] - start < peak, f"{name}, file {i}"
            if isinstance(result, FormatError):
                assert min(map(len, (result.field, result.expected, result.found))) > 0
                assert len(str(result)) < 2000
            else:
                check(result)
    finally:
        tracemalloc.stop()
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < growth
    print(f"{name}: {counts}")
    assert min(counts.values()) >= files // 100, counts  # damage that always or never shows tests nothing


def assert_same_everywhere(damage):
    assert damage(b"abc 12 [3]", random.Random("x 1")) == damage(b"abc 12 [3]", random.Random("x 1"))
    assert len({damage(b"abc 12 [3]\n4 5", random.Random(i)) for i in range(200)}) > 150
