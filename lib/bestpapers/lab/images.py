"""Images as tensors [..., H, W, D] with values in [0, 1]: as 8-bit files keep them, made smaller, and compared (PSNR, SSIM,
features)."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor

SSIM_WINDOW, SSIM_STD = 11, 1.5  # px
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def to_8bit(images: Tensor) -> Tensor:
    """Values [0, 1] as an 8-bit file keeps them: clipped and rounded to 1/255."""
    return (images.clamp(0, 1) * 255).round() / 255


def box_mean(images: Tensor, factor: int) -> Tensor:
    """[..., H, W, D] -> [..., H / factor, W / factor, D]: the mean of each factor x factor block."""
    *batch, H, W, D = images.shape
    if factor < 1 or H % factor or W % factor:
        raise ValueError(f"box_mean: {H} x {W} pixels do not divide into blocks of {factor} x {factor}")
    return images.reshape(*batch, H // factor, factor, W // factor, factor, D).mean(dim=(-4, -2))


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image: [..., H, W, D] twice -> [...]. Equal images give infinity."""
    return -10 * torch.log10((images - truth).square().mean(dim=(-3, -2, -1)))


@functools.cache
def _window(dtype: torch.dtype, device: torch.device) -> Tensor:
    offset = torch.arange(SSIM_WINDOW, dtype=dtype, device=device) - SSIM_WINDOW // 2
    weight = torch.exp(-(offset**2) / (2 * SSIM_STD**2))
    return weight / weight.sum()


class _Blur(torch.autograd.Function):
    """Gaussian window over the two middle axes of [M, H, W, D], zeros outside.

    The window is symmetric: what pixel a gives to pixel b, b gives to a. So the blur is its own transpose, and the backward
    pass is the forward pass.
    """

    @staticmethod
    def forward(ctx, maps: Tensor) -> Tensor:
        window = _window(maps.dtype, maps.device)
        if maps.device.type == "cpu":  # ten times as fast as torch's convolution with a window for every map
            import cv2  # here, since readers of files need this module and not that one

            out = torch.empty_like(maps, memory_format=torch.contiguous_format)
            for source, target in zip(maps.detach().contiguous().numpy(), out.numpy(), strict=True):
                cv2.sepFilter2D(source, -1, window.numpy(), window.numpy(), target, borderType=cv2.BORDER_CONSTANT)
            return out
        flat = maps.movedim(-1, 1).flatten(0, 1)[None]  # [1, M * D, H, W]
        m, pad = flat.shape[1], SSIM_WINDOW // 2
        wide = nnf.conv2d(flat, window.expand(m, 1, 1, -1), padding=(0, pad), groups=m)
        high = nnf.conv2d(wide, window[:, None].expand(m, 1, -1, 1), padding=(pad, 0), groups=m)
        return high[0].unflatten(0, (len(maps), -1)).movedim(1, -1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return _Blur.apply(grad)


def ssim(image: Tensor, truth: Tensor, *, reduce: bool = True) -> Tensor:
    """Structural similarity of two images [H, W, D] with values in [0, 1] (Wang et al. 2004): their mean, or the map [D, H, W].

    A Gaussian window of 11 px, zeros outside the image. Differentiable in both; 1 for equal images.
    """
    x, y = image, truth
    mean_x, mean_y, xx, yy, xy = _Blur.apply(torch.stack([x, y, x * x, y * y, x * y]))
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * cov + SSIM_C2) / (var_x + var_y + SSIM_C2)
    values = luminance * structure
    return values.mean() if reduce else values.movedim(-1, 0)


def random_features(frames: Any, seed: int = 0, width: int = 32) -> Tensor:
    """Features of pictures, uint8 (N, H, W, 3) -> (N, 2 width): means and deviations over the picture of what a fixed random
    network of three layers sees. What it knows of pictures is nothing but locality (ours, in the place of Inception)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.as_tensor(frames).movedim(-1, 1).float() / 127.5 - 1
    for inputs, outputs in ((3, width // 2), (width // 2, width), (width, width)):
        weight = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
        x = nnf.relu(nnf.conv2d(x, weight, stride=2, padding=1))
    return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)
