"""Thousands of damaged files: each is read as something valid or refused with FormatError, in little memory. See `fuzz.py`."""

import struct
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.dynamics import spectral
from bestpapers.dynamics.formats import SpectralFile, read_flo, read_spectrum, read_video, write_flo, write_spectrum
from bestpapers.dynamics.spectral import Normalizer

from .. import fuzz

FRAMES, SIZE = 4, (16, 24)
FILES = 600  # per reader of ours
VIDEOS = 150  # per kind of video, which others decode
PEAK = 4 << 20  # bytes while reading one file, as Python counts them
GROWTH = 64_000  # kB that the process may grow by
DECODED = 400_000  # kB, where a damaged header may ask FFmpeg or Pillow for a large frame

NUMBERS = [
    *(struct.pack("<Q", n) for n in (0, 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1)),
    *(struct.pack("<i", n) for n in (-1, 0, 16_384, 2**31 - 1)),
    *(struct.pack("<f", x) for x in (np.nan, np.inf, -np.inf, 3e38, 1e-45)),
]
WORDS = [
    *(*fuzz.WORDS, b"F16", b"BOOL", b"I64", b"data_offsets", b"shape", b"spectrum", b"scale", b"[0,4,1,1]", b"zero"),
    *(b"free", b"adaptive, component", b"none", b'"4"', b'"1e9"', b'"-1"'),
]
mutate = partial(fuzz.mutate, numbers=NUMBERS, words=WORDS, block=64)


def check_flow(flow):
    assert flow.dtype == torch.float32
    assert flow.shape[0] == 2
    assert flow.numel() <= 2 * 40_000
    assert not flow.isinf().any()


def check_volume(volume):
    assert volume.spectrum.isfinite().all()
    assert volume.spectrum.shape[1] == 2
    assert len(volume.spectrum) <= volume.frames // 2 + 1
    assert 0 < volume.rate < 1e5


def check_clip(clip):
    assert clip.frames.shape in ((FRAMES, 16, 24, 3), (FRAMES, 24, 16, 3))
    assert clip.times.shape == (FRAMES,)
    assert (np.diff(clip.times) >= 0).all()
    assert len(str(clip.report)) < 5000


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """name: (good file, reader of bytes, check of what it returns)."""
    folder = tmp_path_factory.mktemp("fuzz")
    out = {}

    def add(name, read, check):
        path = folder / name

        def reader(data):
            path.write_bytes(data)
            return read(path)

        out[name] = path.read_bytes(), reader, check

    gen = torch.Generator().manual_seed(0)
    write_flo(folder / "a.flo", torch.randn(2, 4, 6, generator=gen))
    add("a.flo", read_flo, check_flow)
    spectrum = spectral.first_frame(spectral.volume(torch.randn(12, 2, 3, 3, generator=gen), 4))
    write_spectrum(folder / "plain.safetensors", SpectralFile(spectrum, 12, 30.0, "zero"))
    write_spectrum(
        folder / "normal.safetensors", SpectralFile(spectrum, 12, 30.0, "free", Normalizer.fit(spectrum[None]))
    )
    for name in ("plain", "normal"):
        add(f"{name}.safetensors", read_spectrum, check_volume)

    rng = np.random.default_rng(0)
    frames = [cv2.resize(rng.integers(0, 255, (4, 6, 3), np.uint8), SIZE[::-1]) for _ in range(6)]
    pictures = [Image.fromarray(frame) for frame in frames]
    for kind in ("gif", "webp"):
        pictures[0].save(folder / f"a.{kind}", save_all=True, append_images=pictures[1:], duration=40)
    for name, code in (("a.avi", "MJPG"), ("a.webm", "VP80")):
        writer = cv2.VideoWriter(str(folder / name), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 30, SIZE[::-1])
        for frame in frames:
            writer.write(frame)
        writer.release()
    for name in ("a.gif", "a.webp", "a.avi", "a.webm"):
        read = partial(read_video, frames=FRAMES, size=SIZE, reader="opencv", desc=None)
        add(name, read, check_clip)
    return out


@pytest.mark.parametrize("name", ["a.flo", "plain.safetensors", "normal.safetensors"])
def test_damaged_files(readers, name):
    fuzz.assert_withstands(name, *readers[name], mutate, FILES, PEAK, GROWTH)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.avi", "a.webm"])
def test_damaged_videos(readers, name):
    """Half of the damage goes to the first 200 bytes, where sizes and counts stand."""

    def damage(data, rng):
        if rng.random() < 0.5:
            return mutate(data[:200], rng) + data[200:]
        return mutate(data, rng)

    fuzz.assert_withstands(name, *readers[name], damage, VIDEOS, PEAK, DECODED)


def test_mutations_are_the_same_everywhere():
    fuzz.assert_same_everywhere(mutate)
