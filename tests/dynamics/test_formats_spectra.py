"""Spectral volumes in files: what is written is read, the header says what it is, and what does not agree is refused."""

import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bestpapers.dynamics import spectral
from bestpapers.dynamics.formats import FormatError, SpectralFile, read_spectrum, write_spectrum
from bestpapers.dynamics.spectral import KINDS, READINGS, Normalizer


@pytest.fixture(scope="module")
def spectrum():
    gen = torch.Generator().manual_seed(0)
    flow = torch.randn(40, 2, 5, 6, generator=gen).cumsum(0)
    return spectral.first_frame(spectral.volume(flow, 8))


@pytest.fixture
def good(spectrum, tmp_path):
    path = tmp_path / "a.safetensors"
    write_spectrum(path, SpectralFile(spectrum, 40, 25.0, "zero"))
    return path


def header_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_there_and_back(good, spectrum):
    again = read_spectrum(good)
    torch.testing.assert_close(again.spectrum, spectrum, rtol=0, atol=0)
    assert again.spectrum.dtype == torch.complex64
    assert (again.frames, again.rate, again.first_frame, again.normalizer) == (40, 25.0, "zero", None)


def test_any_program_can_read_it(good, spectrum):
    """By the safetensors format alone: eight bytes, JSON, numbers."""
    data = good.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    told = {"frames": "40", "rate": "25.0", "slices": "8", "first_frame": "zero", "normalisation": "none"}
    assert header["__metadata__"] == {"format": "bestpapers spectral volume 1"} | told
    assert header["spectrum"]["shape"] == [8, 4, 5, 6]
    floats = struct.unpack("<960f", data[8 + length :])
    assert floats[30 * 4 : 30 * 4 + 30] == tuple(spectrum[1, 0].real.flatten().tolist())  # slice 1, Re x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reading", READINGS)
def test_normalised(tmp_path, spectrum, kind, reading):
    normalizer = Normalizer.fit(spectrum[None], kind, reading)
    write_spectrum(tmp_path / "a.safetensors", SpectralFile(spectrum, 40, 30.0, "zero", normalizer))
    assert header_of(tmp_path / "a.safetensors")["normalisation"] == f"{kind}, {reading}"
    inside = load_file(tmp_path / "a.safetensors")
    torch.testing.assert_close(inside["spectrum"], normalizer(spectrum), rtol=0, atol=0)
    again = read_spectrum(tmp_path / "a.safetensors")
    torch.testing.assert_close(again.spectrum, spectrum, rtol=2e-4, atol=2e-4)
    assert (again.normalizer.kind, again.normalizer.reading) == (kind, reading)
    torch.testing.assert_close(again.normalizer.scale, normalizer.scale, rtol=0, atol=0)


def rewritten(path, tensors=None, **header):
    """The file with some of its header or tensors changed; None takes an entry away."""
    told = {k: v for k, v in (header_of(path) | header).items() if v is not None}
    new = {k: v for k, v in (load_file(path) | (tensors or {})).items() if v is not None}
    save_file({key: tensor.contiguous() for key, tensor in new.items()}, path, told)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (dict(format=None), "format: expected bestpapers spectral volume 1, found nothing"),
        (dict(format="bestpapers spectral volume 9"), "volume 9"),
        (dict(frames=None), "header: expected whole numbers frames.*KeyError.*frames"),
        (dict(frames="40.5"), r"header.*40\.5"),
        (dict(frames="-40"), "frames"),
        (dict(frames="9" * 400), "frames"),
        (dict(frames="13"), "at most 7, which 13 frames have, found 8"),
        (dict(rate="nan"), "rate"),
        (dict(rate="inf"), "rate"),
        (dict(rate="0"), "rate"),
        (dict(rate="fast"), "header.*'fast'"),
        (dict(slices="7"), r"tensors.*\(7, 4"),
        (dict(first_frame="maybe"), "free or zero"),
        (dict(first_frame=None), "header.*first_frame"),
        (dict(normalisation=None), "normalisation"),
        (dict(normalisation="adaptive, component"), "tensors: expected .*scale"),
    ],
)
def test_headers_that_do_not_fit(good, header, message):
    rewritten(good, **header)
    with pytest.raises(FormatError, match=message):
        read_spectrum(good)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda s: {"spectrum": s.half()}, "float16"),
        (lambda s: {"spectrum": s[:, :3]}, "spectrum"),
        (lambda s: {"spectrum": s[..., :0]}, "spectrum"),
        (lambda s: {"spectrum": s[0]}, "spectrum"),
        (lambda s: {"spectrum": s * torch.nan}, "NaN"),
        (lambda s: {"spectrum": s + 1}, "slice 0 without imaginary part"),
        (lambda s: {"spectrum": s * torch.tensor([3.0, 0, 3, 0])[:, None, None] * (torch.arange(8) == 0)[:, None, None, None]},
         "starts at the picture"),
        (lambda s: {"more": s}, "more"),
        (lambda s: {"spectrum": None, "other": s}, "other"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit(good, tensors, message):
    rewritten(good, tensors(load_file(good)["spectrum"]))
    with pytest.raises(FormatError, match=message):
        read_spectrum(good)


def test_a_normalisation_that_does_not_fit(tmp_path, spectrum):
    path = tmp_path / "a.safetensors"
    for tensors, header, message in (
        ({"scale": torch.zeros(8, 2)}, {}, "above 0"),
        ({"scale": torch.ones(7, 2)}, {}, "scale"),
        ({}, {"normalisation": "cube, component"}, "one of adaptive"),
        ({}, {"normalisation": "adaptive"}, "one of component, magnitude"),
        ({"scale": None}, {}, "tensors"),
        ({}, {"normalisation": "none"}, "tensors"),
    ):
        write_spectrum(path, SpectralFile(spectrum, 40, normalizer=Normalizer.fit(spectrum[None])))
        read_spectrum(path)
        rewritten(path, tensors, **header)
        with pytest.raises(FormatError, match=message):
            read_spectrum(path)


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_cut_off(good, cut):
    good.write_bytes(good.read_bytes()[:cut])
    with pytest.raises(FormatError, match="whole safetensors file"):
        read_spectrum(good)


def test_nothing_there(tmp_path):
    with pytest.raises(FormatError, match="found nothing of that name"):
        read_spectrum(tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match="a whole safetensors file"):
        read_spectrum(tmp_path)


def test_what_is_not_written(tmp_path, spectrum):
    moved = spectrum.clone()
    moved[0] += 40
    for bad, message in (
        (SpectralFile(spectrum.real, 40), "complex"),
        (SpectralFile(spectrum, 12), "at most 7"),
        (SpectralFile(spectrum, 40, rate=0.0), "rate"),
        (SpectralFile(spectrum * torch.nan, 40), "NaN"),
        (SpectralFile(spectrum * 1j, 40), "imaginary"),
        (SpectralFile(moved, 40, first_frame="zero"), "starts 1 px from it"),
        (SpectralFile(spectrum, 40, first_frame="one"), "free or zero"),
    ):
        with pytest.raises(ValueError, match=message):
            write_spectrum(tmp_path / "b" / "a.safetensors", bad)
    assert not (tmp_path / "b").exists()
    write_spectrum(tmp_path / "a.safetensors", SpectralFile(moved, 40))
    assert read_spectrum(tmp_path / "a.safetensors").first_frame == "free"
    write_spectrum(
        tmp_path / "a.safetensors", SpectralFile(spectrum.to(torch.complex128), 40)
    )  # kept in single precision
    torch.testing.assert_close(read_spectrum(tmp_path / "a.safetensors").spectrum, spectrum, rtol=0, atol=0)
