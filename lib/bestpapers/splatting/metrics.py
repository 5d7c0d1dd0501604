"""Image metrics: PSNR and SSIM as in the authors' code. Images are [H, W, D] with values in [0, 1]."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as nnf
from torch import Tensor

SSIM_WINDOW, SSIM_STD = 11, 1.5  # px
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def to_8bit(images: Tensor) -> Tensor:
    """Values [0, 1] as an 8-bit file keeps them: clipped and rounded to 1/255."""
    return (images.clamp(0, 1) * 255).round() / 255


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image: [..., H, W, D] twice -> [...]. Equal images give infinity."""
    return -10 * torch.log10((images - truth).square().mean(dim=(-3, -2, -1)))


@functools.cache
def _window(dtype: torch.dtype, device: torch.device) -> Tensor:
    offset = torch.arange(SSIM_WINDOW, dtype=dtype, device=device) - SSIM_WINDOW // 2
    weight = torch.exp(-(offset**2) / (2 * SSIM_STD**2))
    return weight / weight.sum()


def _blur(maps: Tensor) -> Tensor:
    """Gaussian window over the last two axes of [M, H, W], zeros outside: columns, then rows."""
    m, window = len(maps), _window(maps.dtype, maps.device)
    pad = SSIM_WINDOW // 2
    wide = nnf.conv2d(maps[None], window.view(1, 1, 1, -1).expand(m, 1, 1, -1), padding=(0, pad), groups=m)
    return nnf.conv2d(wide, window.view(1, 1, -1, 1).expand(m, 1, -1, 1), padding=(pad, 0), groups=m)[0]


def ssim(image: Tensor, truth: Tensor, *, reduce: bool = True) -> Tensor:
    """Structural similarity of two images [H, W, D] with values in [0, 1] (Wang et al. 2004): their mean, or the map [D, H, W].

    Differentiable in both; 1 for equal images.
    """
    x, y = image.movedim(-1, 0), truth.movedim(-1, 0)
    mean_x, mean_y, xx, yy, xy = _blur(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * cov + SSIM_C2) / (var_x + var_y + SSIM_C2)
    values = luminance * structure
    return values.mean() if reduce else values
