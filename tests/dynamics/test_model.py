"""The models: shapes, what sees what, where stage 2 starts, what learns in it, whitening, files, and drawing motions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bestpapers.dynamics import model
from bestpapers.dynamics.model import ARMS, Animator, Codec, Denoiser, Eye, coordinated, freeze
from bestpapers.dynamics.spectral import Normalizer, motion
from bestpapers.lab.diffusion import KEPT
from bestpapers.lab.files import FormatError

from .tiny import TINY


def latents(batch=2, slices=4, seed=0, config=TINY):
    return torch.randn(batch, slices, *config.latent, generator=torch.Generator().manual_seed(seed))


def condition(batch=2, config=TINY):
    return torch.randn(batch, config.condition, *config.latent[1:], generator=torch.Generator().manual_seed(9))


def net(arm="independent", seed=0):
    torch.manual_seed(seed)
    return Denoiser(TINY, arm)


def talking(codec):
    """An untrained codec says that all stands still; this one says something."""
    torch.manual_seed(5)
    torch.nn.init.normal_(codec.leave[2].weight, std=0.1)
    return codec


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("down", [8, 16])
def test_shapes(guided, down):
    config = replace(TINY, down=down, guided=guided)
    codec, picture = Codec(config), torch.rand(2, 3, 48, 64)
    slices = torch.randn(2, 4, 4, 48, 64)
    z = codec.encode(slices)
    assert z.shape == (2, 4, *config.latent) == (2, 4, 4, 48 // down, 64 // down)
    assert codec.decode(z, picture).shape == slices.shape
    assert Eye(config)(picture).shape == (2, 16, 48 // down, 64 // down)
    assert model.codec_loss(codec, slices, picture, torch.randn_like(z)).isfinite()


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_answers_in_the_shape_of_its_question(arm):
    z = latents()
    assert net(arm)(z, torch.tensor([3, 700]), condition()).shape == z.shape


def test_each_slice_of_the_codec_is_by_itself():
    codec, slices = Codec(TINY), torch.randn(1, 4, 4, 48, 64)
    other = slices.clone()
    other[:, 2] += 1
    a, b = codec.encode(slices), codec.encode(other)
    torch.testing.assert_close(a[:, [0, 1, 3]], b[:, [0, 1, 3]])
    assert (a[:, 2] - b[:, 2]).abs().max() > 1e-3


def test_the_picture_decides_where_motion_ends():
    """The same latents over two pictures: the shares of pixels follow the picture, and no pixel takes more than all."""
    codec, picture = talking(Codec(TINY)), torch.rand(1, 3, 48, 64)
    other = picture.clone()
    other[..., 20:24, 20:24] = 1 - other[..., 20:24, 20:24]
    a, b = (codec.decode(latents(1), p) for p in (picture, other))
    assert (a - b).abs()[..., 20:24, 20:24].max() > 1e-4
    _, shares = codec.guide(picture)
    assert shares.shape == (1, 12 * 16, 18, 16)
    assert shares.min() >= 0
    assert shares.sum(2).max() <= 1 + 1e-5


def test_pixels_take_from_the_nine_cells_around():
    """With all weight on the centre cell of layer 0, each cell's pixels show what the cell says."""
    codec = Codec(TINY)
    shares = torch.zeros(1, 12 * 16, 18, 16)
    shares[:, :, 4] = 1
    codec.guide.forward = lambda picture: ([torch.zeros(1, 16, 6, 8), torch.zeros(1, 16, 12, 16)], shares)
    said = torch.arange(4 * 8 * 12 * 16.0).view(4, 8, 12, 16)
    codec.leave.forward = lambda x: said
    found = codec.paint(0 * latents(1), torch.rand(1, 3, 48, 64))[0]
    want = said.view(4, 4, 2, 12, 16)[:, :, 0].repeat_interleave(4, -1).repeat_interleave(4, -2)
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("guided", [True, False])
def test_an_untrained_codec_takes_means_of_what_moves(guided):
    """And says them: all that the picture does, is to spread a share of them. One pixel that moves speaks for its cell."""
    codec, slices = Codec(replace(TINY, guided=guided)), torch.zeros(1, 4, 4, 48, 64)
    values = torch.randn(4, 4, 6, 8)
    slices[0, ..., 3::8, 5::8] = values
    raw, log_variance = codec.moments(slices)
    torch.testing.assert_close(raw[0], values, atol=0.02, rtol=0.02)
    assert (log_variance == -6).all()
    found = codec.paint(values[None], torch.rand(1, 3, 48, 64))[0].detach()
    spread = values.repeat_interleave(8, -1).repeat_interleave(8, -2)
    share = float((found * spread).sum() / (spread * spread).sum())
    assert (0.3 < share < 0.9) if guided else share == pytest.approx(1)


def test_a_codec_makes_of_a_crop_what_it_makes_of_the_whole():
    """Apart from the borders of the crop, where it sees less."""
    codec = talking(Codec(TINY)).eval()
    slices, picture = torch.randn(1, 4, 4, 48, 256), torch.rand(1, 3, 48, 256)
    with torch.no_grad():
        whole = codec.paint(codec.moments(slices)[0], picture)
        part = codec.paint(codec.moments(slices[..., 96:])[0], picture[..., 96:])
    torch.testing.assert_close(part[..., 104:], whole[..., 200:], atol=1e-4, rtol=1e-4)


def test_whitening():
    codec = talking(Codec(TINY))
    slices, picture = torch.randn(3, 4, 4, 48, 64), torch.rand(3, 3, 48, 64)
    raw, _ = codec.moments(slices)
    codec.set_whitening(raw)
    z = codec.encode(slices)
    numbers = z.detach().movedim(2, -1).reshape(-1, 4)
    torch.testing.assert_close(numbers.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(numbers.T), torch.eye(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(codec.decode(z, picture), codec.paint(raw, picture), atol=1e-4, rtol=1e-4)


def test_the_loss_of_gradients_counts_edges_and_no_shift():
    a = torch.zeros(1, 1, 1, 16, 16)
    assert model.gradient_loss(a + 3, a) == 0
    step = a.clone()
    step[..., 8:] = 1  # one edge: 16 of 240 differences at full size, then 8 of 56, 4 of 12, and 2 of 2
    assert model.gradient_loss(step, a).item() == pytest.approx(16 / 240 + 8 / 56 + 4 / 12 + 1)


# ------------------------------------------------------------------------------------------------- coordinated denoising


def test_stage_2_starts_as_stage_1_exactly():
    one = net()
    two = coordinated(one)
    z, step, c = latents(), torch.tensor([10, 900]), condition()
    assert torch.equal(two(z, step, c), one(z, step, c))


def stirred(two, scale=0.3):
    """Attention across slices that does something."""
    torch.manual_seed(1)
    for name, p in two.named_parameters():
        if ".across." in name:
            p.data.add_(scale * torch.randn_like(p))
    return two


def test_slices_hear_of_each_other_in_stage_2_only():
    one = net()
    two = stirred(coordinated(one))
    z, step, c = latents(), torch.tensor([10, 900]), condition()
    other = z.clone()
    other[:, 1] += 1
    kept = [0, 2, 3]
    torch.testing.assert_close(one(z, step, c)[:, kept], one(other, step, c)[:, kept])
    assert (two(z, step, c) - two(other, step, c))[:, kept].abs().amax((0, 2, 3, 4)).min() > 1e-3


def test_attention_is_per_location():
    """One block of attention across slices moves nothing from place to place."""
    torch.manual_seed(0)
    block = model.SliceAttention(16, 4, 2)
    torch.nn.init.normal_(block.attn.out_proj.weight)
    x = torch.randn(8, 16, 3, 5)
    other = x.clone()
    other[:4, :, 1, 2] += 1
    changed = (block(x) - block(other)).abs().amax(1) > 1e-6
    assert changed[:4, 1, 2].all()
    changed[:4, 1, 2] = False
    assert not changed.any()


def test_slices_have_positions():
    """Without them attention could not tell slices apart: a swap at the entrance would be a swap at the exit."""
    two = stirred(coordinated(net()))
    for part in two.modules():
        if isinstance(part, model.SliceAttention):
            part.positions.data.zero_()
    block = next(part for part in two.modules() if isinstance(part, model.SliceAttention))
    x, order = torch.randn(4, 16, 2, 2), [1, 0, 2, 3]
    torch.testing.assert_close(block(x)[order], block(x[order]))
    block.positions.data.normal_()
    assert (block(x)[order] - block(x[order])).abs().max() > 1e-3


def test_pictures_of_a_batch_stay_apart():
    two = stirred(coordinated(net()))
    z, step, c = latents(3), torch.tensor([10, 900, 400]), condition(3)
    order = [2, 0, 1]
    torch.testing.assert_close(two(z, step, c)[order], two(z[order], step[order], c[order]), atol=1e-5, rtol=1e-5)


def test_only_attention_across_slices_learns_in_stage_2():
    two = coordinated(net())
    two(latents(), torch.tensor([10, 900]), condition()).square().mean().backward()
    learning = {name for name, p in two.named_parameters() if p.grad is not None}
    assert learning == {name for name, _ in two.named_parameters() if ".across." in name}
    assert len(learning) == 7 * 7  # of each of seven stages: norm and projections, weight and bias, and the positions
    freeze(two, False)
    two(latents(), torch.tensor([10, 900]), condition()).square().mean().backward()
    assert all(p.grad is not None for p in two.parameters())


def test_which_slice_it_is_and_how_noisy_matters():
    one, z, c = net(), latents(), condition()
    step = torch.tensor([10, 900])
    base = one(z, step, c)
    swapped = one(z[:, [1, 0, 2, 3]], step, c, torch.tensor([1, 0, 2, 3]))
    torch.testing.assert_close(swapped[:, [1, 0, 2, 3]], base, atol=1e-5, rtol=1e-5)
    assert (one(z, step, c, torch.tensor([3, 3, 3, 3])) - base)[:, :3].abs().max() > 1e-4
    assert (one(z, step + 50, c) - base).abs().max() > 1e-4
    torch.testing.assert_close(one(z, step[:, None].expand(2, 4), c), base)  # a step for each slice
    assert (one(z, step, 0 * c) - base).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(down=4), "down must be 8 or 16"),
        (dict(height=50), "height must be 8 or a multiple of it"),
        (dict(base=20), "base must be 8 or a multiple of it"),
        (dict(slices=0), "slices must be 1 or a multiple of it"),
    ],
)
def test_bad_configs(bad, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **bad)


def test_bad_use():
    with pytest.raises(ValueError, match="arm must be one of"):
        Denoiser(TINY, "joint")
    with pytest.raises(ValueError, match="needs an independent network"):
        coordinated(net("volume"))
    with pytest.raises(ValueError, match="takes all 4 slices"):
        net("volume")(latents(slices=3), torch.tensor([1, 2]), condition())
    with pytest.raises(ValueError, match="takes all 4 slices at one step"):
        net("coordinated")(latents(), torch.tensor([[1, 2, 3, 4]] * 2), condition())
    with pytest.raises(ValueError, match="objective"):
        Animator(TINY, objective="score")


# ------------------------------------------------------------------------------------------------------- the animator


@pytest.fixture(scope="module")
def animator():
    torch.manual_seed(0)
    found = Animator(TINY)
    talking(found.codec)
    found.normalizer = Normalizer(torch.tensor([[200.0, 200.0], [60.0, 60.0], [30.0, 30.0], [9.0, 9.0]]))
    return found.eval()


PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_drawing(animator):
    """A motion follows from picture and seed, whatever else is drawn beside it, and starts at the picture."""
    both = animator.draw(PICTURE, (3, 4), calls=4)
    assert both.shape == (2, 4, 2, 48, 64)
    assert both.dtype == torch.complex64
    alone = animator.draw(PICTURE, (4,), calls=4)
    scale = both.abs().max()
    torch.testing.assert_close(alone[0] / scale, both[1] / scale, atol=1e-4, rtol=0)
    assert (both[0] - both[1]).abs().max() > 1e-2 * scale
    assert motion(both)[:, 0].abs().max() < 1e-4 * motion(both).abs().max()
    free = animator.draw(PICTURE, (3,), calls=4, first=False)
    torch.testing.assert_close(free[0, 1:], both[0, 1:], atol=1e-3 * scale, rtol=0)


def test_an_energy_guides(animator, monkeypatch):
    """The energy of the volume that comes out is lower than without it; the network is one that knows normal latents."""
    forward = lambda z, step, c: (1 - KEPT[step]).sqrt()[:, None, None, None, None] * z  # noqa: E731
    monkeypatch.setattr(animator.net, "forward", forward)

    def energy(spectra):
        return spectra.abs().mean((1, 2, 3, 4)).sqrt()

    plain = animator.draw(PICTURE, (1,), calls=6, first=False)
    bent = animator.draw(
        PICTURE, (1,), calls=6, first=False, energy=energy, weight=5.0, recurrences=2,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert energy(bent) < 0.9 * energy(plain)


def test_files(animator, tmp_path):
    path = tmp_path / "animator.safetensors"
    animator.save(path, stage="finish")
    again = Animator.load(path)
    assert again.config == TINY
    assert again.net.arm == "coordinated"
    assert torch.equal(again.normalizer.scale, animator.normalizer.scale)
    for name, tensor in animator.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    assert not any(p.requires_grad for p in again.parameters())
    assert path.stat().st_size < 2 * sum(t.numel() for t in animator.state_dict().values()) + 40_000
    animator.save(tmp_path / "second.safetensors", stage="finish")
    assert (tmp_path / "second.safetensors").read_bytes() == path.read_bytes()


def test_other_files_are_refused(animator, tmp_path):
    path = tmp_path / "animator.safetensors"
    with pytest.raises(FormatError, match="weights of this kind of model"):
        Animator.load(path)
    animator.save(path)
    whole = path.read_bytes()
    for bad in (b"hello", whole[: len(whole) // 2]):
        path.write_bytes(bad)
        with pytest.raises(FormatError, match="weights of this kind of model"):
            Animator.load(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(FormatError, match="weights of this kind of model"):
        Animator.load(path)


def test_pictures_of_another_size_are_refused(animator):
    with pytest.raises(ValueError, match=r"picture must be uint8 \(48, 64, 3\), got uint8 \(40, 64, 3\)"):
        animator.draw(PICTURE[:40])
    with pytest.raises(ValueError, match="got float64"):
        animator.draw(PICTURE / 255)
    with pytest.raises(ValueError, match="no guidance"):
        Animator(TINY, objective="velocity").draw(PICTURE, energy=lambda s: s.abs().sum())


def test_flow_matching_draws_too():
    torch.manual_seed(0)
    found = Animator(TINY, "independent", "velocity").draw(PICTURE, (0, 1), calls=2)
    assert found.isfinite().all()
    assert found.shape == (2, 4, 2, 48, 64)
