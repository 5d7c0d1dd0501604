"""Parts of U-Nets, against torch's own modules."""

import torch
from torch import nn
from torch.nn import functional as F

from bestpapers.lab.unet import GROUPS, ChannelNorm, PlaceAttention, Residual, channels_last, conv, float_attention

N, C, H, W = 2, 16, 6, 5


def shaken(module):
    """The module in float64, with weights that are all different from what they start with."""
    torch.manual_seed(0)
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return module


def picture():
    return torch.randn(N, C, H, W, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_convolutions_keep_or_halve_the_size():
    assert conv(C, 4).double()(picture()).shape == (N, 4, H, W)
    assert conv(C, 4, size=1).double()(picture()).shape == (N, 4, H, W)
    assert conv(C, 4, stride=2).double()(picture()).shape == (N, 4, 3, 3)


def test_channels_last_moves_memory_alone():
    x = picture()
    assert torch.equal(channels_last(x), x)
    assert channels_last(x).stride()[1] == 1


def test_channel_norm_knows_one_place_alone():
    norm = shaken(ChannelNorm(C))
    x = picture()
    torch.testing.assert_close(norm(x)[1, :, 2, 3], F.layer_norm(x[1, :, 2, 3], (C,), norm.weight, norm.bias))
    torch.testing.assert_close(norm(x)[..., 1:4, 2:], norm(x[..., 1:4, 2:]))


def test_residual_by_its_formula():
    x, e = picture(), torch.randn(N, 7, dtype=torch.float64)
    for outputs in (C, 24):
        block = shaken(Residual(C, outputs, embedded=7))
        y = block.conv_1(F.silu(F.group_norm(x, GROUPS, block.norm_1.weight, block.norm_1.bias)))
        y = y + F.linear(F.silu(e), block.embed.weight, block.embed.bias)[..., None, None]
        y = block.conv_2(F.silu(F.group_norm(y, GROUPS, block.norm_2.weight, block.norm_2.bias)))
        skip = x if outputs == C else F.conv2d(x, block.skip.weight, block.skip.bias)
        torch.testing.assert_close(block(x, e), skip + y)
        assert (block(x, e) - block(x)).abs().max() > 0.01
    assert not hasattr(Residual(C, C), "embed")


def test_a_local_residual_makes_of_a_crop_what_it_makes_of_the_whole():
    x = picture()
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # two convolutions look two pixels far
    bigger = F.pad(x, (3, 3, 3, 3), mode="reflect")
    local, groups = (shaken(Residual(C, C, local=flag)) for flag in (True, False))
    torch.testing.assert_close(local(x)[inside], local(bigger)[..., 3:-3, 3:-3][inside])
    assert (groups(x)[inside] - groups(bigger)[..., 3:-3, 3:-3][inside]).abs().max() > 1e-3


def test_attention_of_places_is_torchs():
    module, x = shaken(PlaceAttention(C, 4)).float(), picture().float()  # it computes in float32, whatever comes
    tokens = F.group_norm(x, GROUPS, module.norm.weight, module.norm.bias).flatten(2).permute(2, 0, 1)
    want = module.attn(tokens, tokens, tokens)[0].permute(1, 2, 0).view_as(x)
    torch.testing.assert_close(module(x), x + want, rtol=1e-4, atol=1e-4)


def test_attention_stays_in_float32():
    attn, tokens = nn.MultiheadAttention(C, 4), torch.randn(N, 3, C)
    with torch.autocast("cpu", torch.bfloat16):
        assert (tokens @ tokens.mT).dtype is torch.bfloat16
        found = float_attention(attn, tokens)
    torch.testing.assert_close(found, float_attention(attn, tokens), rtol=1e-4, atol=1e-4)
    assert found.dtype is torch.float32
