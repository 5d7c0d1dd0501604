"""The real formats of the wing: read, check, write.

Videos            the reader's own: any that OpenCV or PyAV decodes, animated GIF and WebP, a folder of frames
Flow              .flo, as the Middlebury benchmark has it
Spectral volumes  safetensors with T, rate, K, normalisation and first-frame rule in the header
Clips             WebM (VP9), animated WebP, GIF, and H.264 where PyAV is: what browsers play

Whatever a file holds, a reader returns a checked result or raises FormatError, which names the file, the field, what was
expected and what was found. Nothing is unpickled, and no file names another that would be opened.
"""

from ...lab.files import FormatError
from ...lab.optical import read_flo, write_flo
from ...lab.video import write_clip
from .spectra import SpectralFile, read_spectrum, write_spectrum
from .video import Clip, Finding, Report, read_video

__all__ = [
    "Clip",
    "Finding",
    "FormatError",
    "Report",
    "SpectralFile",
    "read_flo",
    "read_spectrum",
    "read_video",
    "write_clip",
    "write_flo",
    "write_spectrum",
]
