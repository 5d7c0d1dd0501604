"""Spectral volumes in files: safetensors, with what the numbers mean in the header.

The tensor `spectrum` holds the real channels (K, 4, H, W) float32: Re x, Im x, Re y, Im y. The header's metadata says T, rate,
K, how the numbers are normalised (then the tensor `scale` of the `Normalizer` is there as well) and what holds for frame 0.
Without these, a volume of 149 samples at 25 per second looks like any other, and plays at the wrong speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...lab.files import FormatError, show
from ...lab.tensors import read_tensors, write_tensors
from ..spectral import FRAMES, RATE, Normalizer, from_channels, motion, to_channels

FORMAT = "bestpapers spectral volume 1"
MAX_FRAMES = 100_000
MAX_RATE = 10_000.0  # frames per second
RULES = ("free", "zero")
FIRST_FRAME = 1e-2  # px: so near must a volume's frame 0 be to the picture, to be called "zero"


@dataclass(frozen=True)
class SpectralFile:
    """spectrum: complex64 (K, 2, H, W), px summed over frames, never normalised. frames: T; rate: frames per second.

    first_frame: "zero", the motion starts at the picture, F_0 = 0; "free", nothing is said of it.
    normalizer: in whose numbers the file holds the volume; None: as they are.
    """

    spectrum: Tensor = field(repr=False)
    frames: int = FRAMES
    rate: float = RATE
    first_frame: str = "free"
    normalizer: Normalizer | None = None


def write_spectrum(path: str | Path, volume: SpectralFile) -> None:
    """Write a volume. FormatError where it is not what it says."""
    _check(Path(path), volume)
    normalizer, spectrum = volume.normalizer, volume.spectrum.detach().cpu().to(torch.complex64)
    tensors = {"spectrum": normalizer.forward(spectrum) if normalizer else to_channels(spectrum)}
    if normalizer:
        tensors["scale"] = normalizer.scale.float()
    write_tensors(
        Path(path), tensors, format=FORMAT, frames=str(volume.frames), rate=repr(float(volume.rate)),
        slices=str(len(spectrum)), first_frame=volume.first_frame,
        normalisation=f"{normalizer.kind}, {normalizer.reading}" if normalizer else "none",
    )  # fmt: skip


def read_spectrum(path: str | Path) -> SpectralFile:
    """Read a volume that `write_spectrum` wrote. Raises FormatError unless header and tensors are whole and agree."""
    path = Path(path)
    tensors, header = read_tensors(path)
    if header.get("format") != FORMAT:
        raise FormatError(path, "format", FORMAT, show(header.get("format")), "was it written by write_spectrum?")
    try:
        frames, slices, rate = int(header["frames"]), int(header["slices"]), float(header["rate"])
        first_frame, normalised = header["first_frame"], header["normalisation"]
    except (KeyError, ValueError) as error:
        expected = "whole numbers frames and slices, a number rate, first_frame and normalisation"
        raise FormatError(path, "header", expected, show(error)) from error
    size = tensors.get("spectrum", torch.zeros(0)).shape[-2:]
    wanted = {"spectrum": (torch.float32, (slices, 4, *size)), "scale": (torch.float32, (slices, 2))}
    if normalised == "none":
        del wanted["scale"]
    found = {key: (tensor.dtype, tuple(tensor.shape)) for key, tensor in tensors.items()}
    if found != wanted:
        raise FormatError(path, "tensors", str(wanted), f"{found!s:.400}")
    normalizer, spectrum = None, tensors["spectrum"]
    if normalised != "none":
        kind, _, reading = normalised.partition(", ")
        try:
            normalizer = Normalizer(tensors["scale"], kind, reading)  # type: ignore[arg-type]
        except ValueError as error:
            raise FormatError(path, "normalisation", "its kind, reading and scale", str(error)[:200]) from error
    spectrum = normalizer.inverse(spectrum) if normalizer else from_channels(spectrum)
    volume = SpectralFile(spectrum, frames, rate, first_frame, normalizer)
    _check(path, volume)
    return volume


def _check(path: Path, volume: SpectralFile) -> None:
    """FormatError where a volume is none, or not what it says."""
    spectrum, frames, rate = volume.spectrum, volume.frames, volume.rate

    def check(fits: bool, part: str, expected: str, found: str) -> None:
        if not fits:
            raise FormatError(path, part, expected, found)

    whole = spectrum.ndim == 4 and spectrum.shape[1] == 2 and spectrum.is_complex() and spectrum.numel() > 0
    check(whole, "spectrum", "complex, (K, 2, height, width)", f"{spectrum.dtype}, {tuple(spectrum.shape)}")
    check(isinstance(frames, int) and 0 < frames <= MAX_FRAMES, "frames", f"1 to {MAX_FRAMES}", show(frames))
    most = frames // 2 + 1
    check(len(spectrum) <= most, "slices", f"at most {most}, which {frames} frames have", f"{len(spectrum)}")
    check(0 < rate <= MAX_RATE, "rate", f"frames per second above 0, at most {MAX_RATE:g}", f"{rate}")
    check(volume.first_frame in RULES, "first_frame", " or ".join(RULES), show(volume.first_frame))
    size = float(spectrum.abs().max())
    check(math.isfinite(size), "spectrum", "finite numbers", "NaN or infinity")
    odd = float(spectrum[0].imag.abs().max()) > 1e-4 * max(size, 1.0)
    check(not odd, "spectrum", "a slice 0 without imaginary part, as that of real motion", "another")
    start = float(motion(spectrum, frames, [0.0]).abs().max())
    near = volume.first_frame != "zero" or start <= FIRST_FRAME + 1e-5 * size / frames * len(spectrum)
    check(near, "first_frame", "a motion that starts at the picture (zero)", f"one that starts {start:.3g} px from it")
