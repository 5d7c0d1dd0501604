"""Many small pictures in one file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLUMNS = 16  # as in explorer.js and worlds.js


def sheet(pictures: NDArray[np.uint8], quality: int = 80) -> bytes:
    """Pictures [N, H, H, 3] -> a WebP file with `COLUMNS` of them in a row, the first at the upper left.

    WebP, since photographs with their noise take six times as much as PNG. It keeps colours at half the resolution: at 64
    pixels that costs 6 levels of 255 on average, mostly noise, and JPEG that keeps all of them is no better for its size.
    """
    N, H, W, _ = pictures.shape
    rows = -(-N // COLUMNS)
    page = np.zeros((rows * COLUMNS, H, W, 3), np.uint8)
    page[:N] = pictures
    page = page.reshape(rows, COLUMNS, H, W, 3).transpose(0, 2, 1, 3, 4).reshape(rows * H, COLUMNS * W, 3)
    buffer = io.BytesIO()
    Image.fromarray(page).save(buffer, format="WEBP", quality=quality, method=6)
    return buffer.getvalue()
