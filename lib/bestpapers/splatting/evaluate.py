"""Scoring a model.

Images are rounded to 8 bits before they are compared, as in the authors' code, where both come from PNG files.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..lab.images import psnr, ssim, to_8bit
from .data import Views
from .model import Gaussians


@torch.no_grad()
def evaluate(model: Gaussians, views: Mapping[int, Views]) -> dict[int, dict[str, float]]:
    """Mean PSNR (dB) and SSIM over the test images of each width: {width: {"psnr": ..., "ssim": ...}}."""
    table = {}
    for width, test in views.items():
        scores = []
        for i, camera in enumerate(test.cameras):  # one by one: photographs may differ in size, and many are large
            image = to_8bit(model.render([camera]).colors[0])
            truth = to_8bit(test.image(i).to(image))
            scores.append(torch.stack([psnr(image, truth), ssim(image, truth)]))
        mean_psnr, mean_ssim = torch.stack(scores).mean(0).tolist()
        table[width] = dict(psnr=mean_psnr, ssim=mean_ssim)
    return table
