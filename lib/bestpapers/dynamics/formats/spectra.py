"""Spectral volumes in files: safetensors, with what the numbers mean in the header.

The tensor `spectrum` holds the real channels (K, 4, H, W) float32: Re x, Im x, Re y, Im y. The header's metadata says T, rate, K,
how the numbers are normalised (then the tensors `scale` and `code` of the `Normalizer` are there as well) and what holds for
frame 0. Without these, a volume of 149 samples at 25 per second looks like any other, and plays at the wrong speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

from ...lab.files import FormatError, atomic_write, show
from ..spectral import FRAMES, RATE, Normalizer, from_channels, motion, to_channels

FORMAT = "bestpapers spectral volume 1"
MAX_BYTES = 1 << 30
MAX_FRAMES = 100_000
MAX_RATE = 10_000.0  # frames per second
RULES = ("free", "zero")
FIRST_FRAME = 1e-2  # px: so near must a volume's frame 0 be to the picture, to be called "zero"
SCALE, CODE, SPECTRUM = "scale", "code", "spectrum"


@dataclass(frozen=True)
class SpectralFile:
    """spectrum: complex64 (K, 2, H, W), px summed over frames, never normalised. frames: T; rate: frames per second.

    first_frame: "zero", the motion starts at the picture, F_0 = 0; "free", nothing is said of it.
    normalizer: in whose numbers the file holds the volume; None: as they are.
    """

    spectrum: Tensor = field(repr=False)
    frames: int = FRAMES
    rate: float = RATE
    first_frame: Literal["free", "zero"] = "free"
    normalizer: Normalizer | None = None


def write_spectrum(path: str | Path, volume: SpectralFile) -> None:
    """Write a volume. ValueError where it is not what it says."""
    from safetensors.torch import save_file

    if fault := _fault(volume):
        raise ValueError(f"write_spectrum: {fault[0]}: expected {fault[1]}, found {fault[2]}")
    normalizer, spectrum = volume.normalizer, volume.spectrum.detach().cpu()
    channels = normalizer.forward(spectrum) if normalizer else to_channels(spectrum)
    tensors = {SPECTRUM: channels.contiguous()}
    if normalizer:
        tensors |= {key: tensor.detach().cpu().contiguous() for key, tensor in normalizer.state().items()}
    header = {
        "format": FORMAT,
        "frames": str(volume.frames),
        "rate": repr(float(volume.rate)),
        "slices": str(len(spectrum)),
        "first_frame": volume.first_frame,
        "normalisation": f"{normalizer.kind}, {normalizer.reading}" if normalizer else "none",
    }
    with atomic_write(Path(path)) as part:
        save_file(tensors, part, header)


def read_spectrum(path: str | Path) -> SpectralFile:
    """Read a volume that `write_spectrum` wrote. Raises FormatError unless header and tensors are whole and agree."""
    import torch
    from safetensors import safe_open

    path = Path(path)
    try:
        if not path.is_file():
            raise FormatError(path, "file", "a file", "a folder" if path.is_dir() else "nothing of that name")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise FormatError(path, "file", f"at most {MAX_BYTES} bytes", f"{size} bytes")
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
            shapes = {}
            for key in file.keys():  # noqa: SIM118
                view = file.get_slice(key)
                shapes[key] = str(view.get_dtype()), tuple(view.get_shape())
            frames, rate, slices, normalised = _header(path, header)
            _shapes(path, shapes, slices, normalised is not None)
            tensors = {key: file.get_tensor(key).clone() for key in shapes}
    except FormatError:
        raise
    except Exception as error:  # safetensors' own, OSError, a header that is no JSON
        raise FormatError(path, "file", "a whole safetensors file", str(error)[:200]) from error
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise FormatError(path, key, "finite numbers", "NaN or infinity")
    normalizer = None
    if normalised is not None:
        try:
            normalizer = Normalizer.from_state(tensors)
        except ValueError as error:
            raise FormatError(path, "scale and code", "a normalisation", str(error)[:200]) from error
        if f"{normalizer.kind}, {normalizer.reading}" != normalised:
            found = f"{normalizer.kind}, {normalizer.reading} in the tensor code"
            raise FormatError(path, "normalisation", normalised, found)
    channels = tensors[SPECTRUM]
    spectrum = normalizer.inverse(channels) if normalizer else from_channels(channels)
    rule: Literal["free", "zero"] = "zero" if header["first_frame"] == "zero" else "free"
    volume = SpectralFile(spectrum.to(torch.complex64), frames, rate, rule, normalizer)
    if fault := _fault(volume):
        raise FormatError(path, *fault)
    return volume


def _header(path: Path, header: dict[str, str]) -> tuple[int, float, int, str | None]:
    if header.get("format") != FORMAT:
        raise FormatError(path, "format", FORMAT, show(header.get("format")), "was it written by write_spectrum?")

    def number(key: str, most: float, whole: bool) -> float:
        expected = f"a {'whole ' if whole else ''}number above 0, at most {most:g}"
        try:
            text = header[key]
            value = float(int(text) if whole and len(text) < 20 else text)
        except (KeyError, ValueError) as error:
            raise FormatError(path, key, expected, show(header.get(key))) from error
        if not 0 < value <= most or (whole and value != int(value)):
            raise FormatError(path, key, expected, show(text))
        return value

    frames, slices = int(number("frames", MAX_FRAMES, True)), int(number("slices", MAX_FRAMES, True))
    rate = number("rate", MAX_RATE, False)
    if header.get("first_frame") not in RULES:
        raise FormatError(path, "first_frame", " or ".join(RULES), show(header.get("first_frame")))
    normalised = header.get("normalisation")
    if not normalised:
        raise FormatError(path, "normalisation", "none, or its kind and reading", show(normalised))
    return frames, rate, slices, None if normalised == "none" else normalised


def _shapes(path: Path, shapes: dict[str, tuple[str, tuple[int, ...]]], slices: int, normalised: bool) -> None:
    wanted = {SPECTRUM, SCALE, CODE} if normalised else {SPECTRUM}
    if set(shapes) != wanted:
        raise FormatError(path, "tensors", ", ".join(sorted(wanted)), show(", ".join(sorted(shapes))))
    kind, shape = shapes[SPECTRUM]
    if kind != "F32" or len(shape) != 4 or shape[:2] != (slices, 4) or not all(shape):
        raise FormatError(path, SPECTRUM, f"F32, ({slices}, 4, height, width)", f"{kind}, {shape!s:.80}")
    for key, expected in ((SCALE, ("F32", (slices, 2))), (CODE, ("I64", (2,)))) if normalised else ():
        if shapes[key] != expected:
            raise FormatError(path, key, f"{expected[0]}, {expected[1]}", f"{shapes[key][0]}, {shapes[key][1]!s:.80}")


def _fault(volume: SpectralFile) -> tuple[str, str, str] | None:
    """What is wrong with a volume, as field, expected, found."""
    spectrum, frames = volume.spectrum, volume.frames
    if spectrum.ndim != 4 or spectrum.shape[1] != 2 or not spectrum.is_complex() or not spectrum.numel():
        return SPECTRUM, "complex, (K, 2, height, width)", f"{spectrum.dtype}, {tuple(spectrum.shape)}"
    if not (isinstance(frames, int) and 0 < frames <= MAX_FRAMES and len(spectrum) <= frames // 2 + 1):
        return "slices", f"at most {frames // 2 + 1}, which {frames} frames have", f"{len(spectrum)}"
    if not (math.isfinite(volume.rate) and 0 < volume.rate <= MAX_RATE):
        return "rate", "frames per second above 0", f"{volume.rate}"
    if volume.first_frame not in RULES:
        return "first_frame", " or ".join(RULES), f"{volume.first_frame}"
    if not spectrum.isfinite().all():
        return SPECTRUM, "finite numbers", "NaN or infinity"
    size = float(spectrum.abs().max())
    if float(spectrum[0].imag.abs().max()) > 1e-4 * max(size, 1.0):
        return SPECTRUM, "a slice 0 without imaginary part, as that of real motion", "another"
    if volume.first_frame == "zero":
        start = float(motion(spectrum, frames, [0.0]).abs().max())
        if not start <= FIRST_FRAME + 1e-5 * size / frames * len(spectrum):
            return (
                "first_frame",
                "a motion that starts at the picture (zero)",
                f"one that starts {start:.3g} px from it",
            )
    return None
