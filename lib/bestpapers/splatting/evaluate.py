"""Scoring a model.

Images are rounded to 8 bits before they are compared, as in the authors' code, where both come from PNG files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..kernels.rasterize import rasterization
from ..lab.images import psnr, ssim, to_8bit
from .data import Camera, Views
from .model import Gaussians


@torch.no_grad()
def evaluate(model: Gaussians, views: Mapping[int, Views]) -> dict[int, dict[str, float]]:
    """Mean PSNR (dB) and SSIM over the test images of each width: {width: {"psnr": ..., "ssim": ...}}. Masked pixels do not
    count, and an image without others not at all."""
    table = {}
    for width, test in views.items():
        scores = []
        for i, camera in enumerate(test.cameras):  # one by one: photographs may differ in size, and many are large
            image = to_8bit(model.render([camera]).colors[0])
            truth = to_8bit(test.image(i).to(image))
            mask = test.mask(i)
            if mask is None:
                scores.append(torch.stack([psnr(image, truth), ssim(image, truth)]))
            elif mask.any():
                similar = ssim(image * mask[..., None], truth * mask[..., None], reduce=False)  # [3, H, W]
                scores.append(torch.stack([psnr(image[mask][None], truth[mask][None]), similar[:, mask].mean()]))
        mean_psnr, mean_ssim = torch.stack(scores).mean(0).tolist()
        table[width] = dict(psnr=mean_psnr, ssim=mean_ssim)
    return table


@torch.no_grad()
def narrow_axes(model: Gaussians, cameras: Sequence[Camera]) -> NDArray[np.float64]:
    """How narrow the Gaussians are on the screen: the standard deviation in px of each one's narrow axis in each camera that
    sees it, all in one row. As they are stored: before any filter, in 3D or 2D, has widened them."""
    found = []
    for camera in cameras:
        viewmats, Ks, width, height = model.stack([camera])
        stored = model.means, model.quats, model.log_scales.exp(), model.opacity_logits.sigmoid(), model.sh_dc[:, 0]
        meta = rasterization(*stored, viewmats, Ks, width, height, eps2d=0.0).meta
        xx, xy, yy = meta["conics"][0][meta["radii"][0, :, 0] > 0].double().unbind(-1)
        steepest = (xx + yy) / 2 + torch.hypot((xx - yy) / 2, xy)  # larger eigenvalue of the inverse covariance
        found.append(steepest.rsqrt().cpu().numpy())
    return np.concatenate(found)
