"""PSNR and SSIM, SSIM also against scikit-image."""

import sys
from types import SimpleNamespace

import pytest
import torch
from skimage.metrics import structural_similarity

from bestpapers.lab import images as metrics
from bestpapers.lab.images import box_mean, psnr, ssim, to_8bit


def images(size=(40, 53), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(*size, 3, generator=generator, dtype=dtype)
    return a, (a + 0.2 * torch.rand(*size, 3, generator=generator, dtype=dtype)).clamp(0, 1)


def test_ssim_equals_scikit_image_away_from_the_border():
    a, b = images()
    _, theirs = structural_similarity(
        a.numpy(), b.numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0,
        channel_axis=2, full=True,
    )  # fmt: skip
    ours = ssim(a, b, reduce=False).movedim(0, -1)
    # within 5 px of the border theirs mirrors the image, and ours, like the authors' code, sees zeros
    inner = (slice(5, -5), slice(5, -5))
    torch.testing.assert_close(ours[inner], torch.from_numpy(theirs)[inner], rtol=0, atol=1e-12)
    torch.testing.assert_close(ssim(a, b), ours.mean(), rtol=1e-12, atol=0)


def test_equal_images():
    a, _ = images()
    assert ssim(a, a).item() == pytest.approx(1, abs=1e-12)
    assert psnr(a, a).item() == float("inf")


def test_ssim_gradient():
    a, b = (x[:13, :12].clone().requires_grad_() for x in images())
    assert torch.autograd.gradcheck(ssim, (a, b))


def test_psnr_closed_form():
    a = torch.full((2, 4, 4, 3), 0.5, dtype=torch.float64)
    b = a + torch.tensor([0.1, 0.01], dtype=torch.float64)[:, None, None, None]
    assert psnr(a, b).tolist() == pytest.approx([20, 40])


def test_to_8bit():
    values = torch.tensor([-1, 0, 0.4 / 255, 0.6 / 255, 1, 7.0])
    torch.testing.assert_close(to_8bit(values), torch.tensor([0, 0, 0, 1 / 255, 1, 1]))


def test_the_convolution_of_other_devices_gives_the_same(monkeypatch):
    """On the CPU OpenCV blurs; here CPU tensors say that they are elsewhere, and take the way of a GPU's."""

    class Elsewhere(torch.Tensor):
        device = SimpleNamespace(type="elsewhere")

    maps = torch.stack(images((13, 29)))
    here = metrics._Blur.forward(None, maps)
    window = metrics._window(maps.dtype, maps.device)
    monkeypatch.setattr(metrics, "_window", lambda *_: window)
    monkeypatch.setitem(sys.modules, "cv2", None)  # nobody may import it now
    there = metrics._Blur.forward(None, maps.as_subclass(Elsewhere)).as_subclass(torch.Tensor)
    torch.testing.assert_close(here, there, rtol=0, atol=1e-12)


def test_box_mean():
    image = torch.arange(2 * 4 * 6 * 3, dtype=torch.float64).reshape(2, 4, 6, 3)
    small = box_mean(image, 2)
    assert small.shape == (2, 2, 3, 3)
    torch.testing.assert_close(small[1, 1, 2], image[1, 2:, 4:].flatten(0, 1).mean(0))
    assert torch.equal(box_mean(image, 1), image)
    for factor in (0, -2, 4):
        with pytest.raises(ValueError, match="do not divide"):
            box_mean(image, factor)
