"""Parts of transformers: against open_clip's blocks and torch's own modules, from their weights."""

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from bestpapers.lab.nn import Block, PatchEmbedding, attention, block, block_at, patches, sinusoids

B, L, K, W, HEADS = 3, 7, 5, 32, 4


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def data(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def shaken(module):
    """The module in float64, with weights that are all different from what they start with."""
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def closed(length):
    """The causal mask as torch's modules and open_clip's take it: minus infinity where a token may not look."""
    return torch.full((length, length), -torch.inf, dtype=torch.float64).triu(1)


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_attention_is_torchs():
    attn = shaken(nn.MultiheadAttention(W, HEADS, batch_first=True))
    x, context = data(B, L, W), data(B, K, W)
    same(attention(attn, x), attn(x, x, x)[0])
    same(attention(attn, x, causal=True), attn(x, x, x, attn_mask=closed(L))[0])
    same(attention(attn, x, context), attn(x, context, context)[0])
    few = torch.arange(K) < 3
    mask = few.expand(B, 1, 1, K)
    same(attention(attn, x, context, mask=mask), attn(x, context[:, :3], context[:, :3])[0])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("ratio", [4.0, 2.5])
def test_a_block_is_open_clips(causal, ratio):
    theirs = shaken(ResidualAttentionBlock(W, HEADS, ratio))
    ours = Block(W, HEADS, ratio=ratio).double()
    ours.load_state_dict(theirs.state_dict())
    x = data(B, L, W).requires_grad_()
    want = theirs(x, attn_mask=closed(L) if causal else None)
    found = ours(x, causal=causal)
    same(found, want)
    same(block(theirs, x, causal=causal), want)
    target = data(B, L, W)
    same(*(torch.autograd.grad((y * target).sum(), x)[0] for y in (found, want)))
    back = ResidualAttentionBlock(W, HEADS, ratio).double()
    back.load_state_dict(ours.state_dict())
    same(back(x, attn_mask=closed(L) if causal else None), want)


@pytest.mark.parametrize("causal", [False, True])
def test_one_token_of_a_block(causal):
    ours, x, at = shaken(Block(W, HEADS)), data(B, L, W), torch.tensor([0, 3, L - 1])
    same(block_at(ours, x, at, causal=causal), ours(x, causal=causal)[torch.arange(B), at])


def test_a_causal_block_does_not_look_ahead():
    ours, x = shaken(Block(W, HEADS)), data(B, L, W)
    other = torch.cat([x[:, :4], data(B, L - 4, W)], 1)
    same(ours(x, causal=True)[:, :4], ours(other, causal=True)[:, :4])
    assert (ours(x)[:, :4] - ours(other)[:, :4]).abs().min() > 1e-9


def test_a_block_with_a_context_is_torchs_decoder_layer():
    theirs = shaken(nn.TransformerDecoderLayer(W, HEADS, 4 * W, 0.0, "gelu", batch_first=True, norm_first=True))
    names = {"self_attn": "attn", "multihead_attn": "cross", "norm1": "ln_1", "norm2": "ln_cross", "norm3": "ln_2"}
    names |= {"linear1": "mlp.c_fc", "linear2": "mlp.c_proj"}
    state = theirs.state_dict()
    ours = Block(W, HEADS, cross=True).double()
    ours.load_state_dict({f"{names[key.split('.')[0]]}.{key.partition('.')[2]}": value for key, value in state.items()})
    x, context = data(B, L, W), data(B, K, W)
    same(ours(x, context), theirs(x, context))
    same(ours(x, context, causal=True), theirs(x, context, tgt_mask=closed(L)))
    for module, given in ((ours, None), (Block(W, HEADS).double(), context)):
        with pytest.raises(ValueError, match="a context goes with cross=True"):
            module(x, given)


def test_patches_embedded_are_a_convolution():
    size, images = 4, data(B, 8, 12, 3)
    conv = nn.Conv2d(3, W, size, size).double()
    ours = PatchEmbedding((8, 12), 3, size, W).double()
    with torch.no_grad():
        ours.proj.weight.copy_(conv.weight.permute(0, 2, 3, 1).flatten(1))
        ours.proj.bias.copy_(conv.bias)
    want = conv(images.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
    same(ours(images), want + ours.positions)
    assert torch.equal(patches(images, size)[1, 4].view(size, size, 3), images[1, 4:8, 4:8])
    for bad in (0, 5, -4):
        with pytest.raises(ValueError, match="8 x 12 pixels do not divide into patches"):
            patches(images, bad)
        with pytest.raises(ValueError, match="do not divide"):
            PatchEmbedding((8, 12), 3, bad, W)


def test_sinusoids():
    at = torch.tensor([0.0, 1.0, 5.0, 17.0, 400.0], dtype=torch.float64)
    found = sinusoids(at, 16)
    frequency = 10_000.0 ** -(torch.arange(8, dtype=torch.float64) / 8)
    same(found, torch.cat([(at[:, None] * frequency).sin(), (at[:, None] * frequency).cos()], 1))
    # how far two positions are apart is all that their product tells
    same((found[2] * found[3]).sum(), (frequency * 12).cos().sum())
    assert sinusoids(torch.zeros(2, 3), 4).shape == (2, 3, 4)
    assert sinusoids(torch.arange(3), 4).dtype == torch.float32
    for bad in (0, 3, -2):
        with pytest.raises(ValueError, match="must be even"):
            sinusoids(at, bad)
