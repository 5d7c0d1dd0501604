"""Compositing on the GPU: a program per tile, a loop over its Gaussians from near to far, its 256 pixels as the vector.

As on the CPU, the backward pass goes from far to near, and nothing is added up in shared memory cells: partial gradients go
into slots, one per (Gaussian, tile) pair, and a second kernel adds up the slots of each Gaussian in a fixed order. So two runs
give the same bits, which atomics would not.

SIZES are not specialised: for a width that is a multiple of 16 Triton would make a kernel of its own, load several neighbouring
pixels at a time, and pay for it with shuffles between the threads in the loop over Gaussians.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...programs import launch
from .. import rules
from ..tiles.gpu import Tiles, load_splat

TILE = tl.constexpr(rules.TILE)
PIXELS = tl.constexpr(rules.TILE**2)
ALPHA_MIN, ALPHA_MAX = tl.constexpr(rules.ALPHA_MIN), tl.constexpr(rules.ALPHA_MAX)
TRANSMITTANCE_MIN = tl.constexpr(rules.TRANSMITTANCE_MIN)

MAX_CHANNELS = 16  # colour channels that one compositing pass holds in registers; more of them take more passes
CHUNK = tl.constexpr(16)  # a tile asks once in this many Gaussians whether all of its pixels are finished
GEOMETRY_TERMS = 6  # gradients per pair besides the colour's: mean 2, conic 3, opacity 1
FEW = tl.constexpr(64)  # slots that a Gaussian may have and still be summed together with its neighbours
SIZES = ["width", "height", "D", "first_channel"]


def forward(means2d, conics, colors, opacities, tiles: Tiles, width, height):
    """As `reference.composite`, over the lists of `bin_tiles`; and what `backward` wants to know of each pixel: how much light
    is left, and how many pairs of its tile's list it has looked at up to the last one that it shows."""
    C, _, D = colors.shape
    image, alpha, left = (colors.new_empty(C, height, width, *tail) for tail in ((D,), (), ()))
    drawn = torch.empty(C, height, width, dtype=torch.int32, device=colors.device)
    for d, options in _passes(D, warps=2):
        arguments = (tiles.splats, colors, tiles.start, tiles.owner, image, alpha, left, drawn, width, height, D, d)
        launch(_composite_forward, len(tiles.start) - 1, *arguments, **options)
    return image, alpha, left, drawn


def backward(means2d, conics, colors, opacities, tiles: Tiles, width, height, left, drawn, g_image, g_alpha):
    """Gradients of means2d, conics, colors and opacities.

    All of them are linear in (g_image, g_alpha), so channels that do not fit into one pass take further ones, each with a
    share of the gradient, and the results of the passes are added.
    """
    (C, N, D), P = colors.shape, len(tiles.owner)
    lists, images = (tiles.start, tiles.owner, tiles.slot), (left, drawn, g_image, g_alpha)
    geometry, g_colors = colors.new_zeros(C, N, GEOMETRY_TERMS), []
    for d, options in _passes(D, warps=1):
        # zeros, since pairs behind an opaque front are never visited
        parts = colors.new_zeros(P, GEOMETRY_TERMS + options["CHANNELS"])
        arguments = (tiles.splats, colors, *lists, *images, parts, width, height, D, d)
        launch(_composite_backward, len(tiles.start) - 1, *arguments, **options)
        total = _sum_slots(parts, tiles).unflatten(0, (C, N))
        geometry += total[..., :GEOMETRY_TERMS]
        g_colors.append(total[..., GEOMETRY_TERMS:])
    return geometry[..., :2], geometry[..., 2:5], torch.cat(g_colors, dim=-1), geometry[..., 5]


def _sum_slots(parts: Tensor, tiles: Tiles) -> Tensor:
    """Add up the slots of each Gaussian: parts [P, terms] -> [G, terms]."""
    (_, terms), G = parts.shape, len(tiles.first)
    BT = triton.next_power_of_2(terms)
    BG = max(1, 256 // BT)
    out = parts.new_empty(G, terms)
    launch(
        _sum_slots_kernel,
        -(-G // BG),
        parts,
        tiles.first,
        tiles.counts,
        out,
        G,
        terms,
        BG=BG,
        BS=8,
        BW=1024 // BT,
        BT=BT,
    )
    return out


def _passes(D: int, warps: int) -> Iterator[tuple[int, dict[str, int]]]:
    """First channel of each compositing pass, and its launch: how many channels, and how many warps of 32 threads per tile.

    Few warps mean many pixels per thread: what every thread needs (the numbers of the Gaussian) is loaded less often, and sums
    over the tile have less far to go. With a single warp they need no barrier at all, which is why the backward pass, with its
    ten sums per pair, takes one; the forward pass takes two, to be through with a crowded tile sooner. More channels need more
    registers than that many warps have.
    """
    for d in range(0, max(D, 1), MAX_CHANNELS):  # without channels there is still alpha
        channels = min(D - d, MAX_CHANNELS)
        yield d, dict(CHANNELS=channels, num_warps=max(warps, triton.next_power_of_2(-(-channels // 4))))


@triton.jit
def _pixels(width, height):
    """The pixels of this program's tile: camera, column and row [256], and whether they are inside the image."""
    tile, k = tl.program_id(0), tl.arange(0, PIXELS)
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    x, y = tile % tiles_x * TILE + k % TILE, tile // tiles_x % tiles_y * TILE + k // TILE
    return tile // (tiles_x * tiles_y), x, y, (x < width) & (y < height)


# An image in registers is a tuple of vectors, one per channel. The compiler unrolls loops over `channels`, which it knows, and
# can take a tuple apart and put it together, but not change it in place.


@triton.jit
def _zeros(channels):
    out = ()
    for _ in tl.static_range(channels):
        out = out + (tl.zeros([PIXELS], tl.float32),)  # type: ignore[assignment]  # noqa: RUF005 (Triton knows no starred expression)
    return out


@triton.jit
def _load_channels(P, first, live, channels):
    """Numbers (or vectors of them) that lie side by side, from `first` on; zeros where not live."""
    out = ()
    for d in tl.static_range(channels):
        out = out + (tl.load(P + first + d, mask=live, other=0.0),)  # type: ignore[assignment]  # noqa: RUF005
    return out


@triton.jit
def _add_scaled(image, weight, color, channels):
    """image + weight * color, channel by channel."""
    out = ()
    for d in tl.static_range(channels):
        out = out + (image[d] + weight * color[d],)  # type: ignore[assignment]  # noqa: RUF005
    return out


@triton.jit
def _alpha(px, py, mx, my, A, B, C, o):
    """What a Gaussian covers of the tile's pixels (0: skipped), whether that was clamped, and the pixels' offsets dx, dy."""
    dx, dy = px - mx, py - my
    sigma = (0.5 * A * dx + B * dy) * dx + 0.5 * C * dy * dy
    raw = o * tl.exp(-sigma)
    alpha = tl.where((raw >= ALPHA_MIN) & (sigma >= 0.0), tl.minimum(raw, ALPHA_MAX), 0.0)
    return alpha, raw > ALPHA_MAX, dx, dy


@triton.jit(do_not_specialize=SIZES)
def _composite_forward(
    SPLATS, COLORS, START, OWNER, IMAGE, ALPHA, LEFT, DRAWN, width, height, D, first_channel, CHANNELS: tl.constexpr
):  # fmt: skip
    """A program per tile, the tile's pixels [256] as the vector; an image is a tuple of such vectors, one per channel.

    A finished pixel is marked by a minus sign on its T: nothing more is drawn there. Memory is slow to answer, so the loop asks
    ahead: while a Gaussian is drawn, the numbers of the next one are on their way, and so is the index of the one after that.
    """
    camera, x, y, inside = _pixels(width, height)
    px, py = x + 0.5, y + 0.5
    T = tl.where(inside, 1.0, 0.0)
    seen = tl.zeros([PIXELS], tl.float32)  # equals 1 - T, but keeps its digits where it is small
    drawn = tl.zeros([PIXELS], tl.int32)
    image = _zeros(CHANNELS)
    begin, end = tl.load(START + tl.program_id(0)), tl.load(START + tl.program_id(0) + 1)
    p = begin

    COLORS += first_channel
    g = tl.load(OWNER + p, mask=p < end, other=0).to(tl.int64)
    mx, my, A, B, C, o = load_splat(SPLATS, g, p < end)
    color = _load_channels(COLORS, g * D, p < end, CHANNELS)
    g = tl.load(OWNER + p + 1, mask=p + 1 < end, other=0).to(tl.int64)
    while (p < end) & (tl.max(T, 0) > 0.0):
        stop = tl.minimum(p + CHUNK, end)
        while p < stop:
            next_mx, next_my, next_A, next_B, next_C, next_o = load_splat(SPLATS, g, p + 1 < end)
            next_color = _load_channels(COLORS, g * D, p + 1 < end, CHANNELS)
            g = tl.load(OWNER + p + 2, mask=p + 2 < end, other=0).to(tl.int64)

            alpha, _, _, _ = _alpha(px, py, mx, my, A, B, C, o)
            before = tl.maximum(T, 0.0)
            after = before - before * alpha
            full = after <= TRANSMITTANCE_MIN  # it would use up the light: the pixel is finished before this Gaussian
            weight = tl.where(full, 0.0, before * alpha)
            T = tl.where(full, -tl.abs(T), after)
            p += 1
            drawn = tl.where(weight > 0.0, (p - begin).to(tl.int32), drawn)
            seen += weight
            image = _add_scaled(image, weight, color, CHANNELS)
            mx, my, A, B, C, o, color = next_mx, next_my, next_A, next_B, next_C, next_o, next_color

    pixel = (camera.to(tl.int64) * height + y) * width + x
    tl.store(ALPHA + pixel, seen, mask=inside)
    tl.store(LEFT + pixel, tl.abs(T), mask=inside)
    tl.store(DRAWN + pixel, drawn, mask=inside)
    for d in tl.static_range(CHANNELS):
        tl.store(IMAGE + pixel * D + first_channel + d, image[d], mask=inside)


@triton.jit(do_not_specialize=SIZES)
def _composite_backward(
    SPLATS, COLORS, START, OWNER, SLOT, LEFT, DRAWN, G_IMAGE, G_ALPHA, PARTS,
    width, height, D, first_channel, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The forward loop taken back, from the last Gaussian that a pixel of the tile shows to the first. A row of PARTS
    [P, 6 + CHANNELS] per pair: mean 2, conic 3, opacity 1, colour.

    q = g . c is what this Gaussian's colour is worth to the loss at each pixel, and `behind` what all farther ones add to it.
    A larger alpha trades one for the other: dL/dalpha = T q - behind / (1 - alpha).
    """
    camera, x, y, inside = _pixels(width, height)
    px, py = x + 0.5, y + 0.5
    pixel = (camera.to(tl.int64) * height + y) * width + x
    T = tl.load(LEFT + pixel, mask=inside, other=0.0)
    drawn = tl.load(DRAWN + pixel, mask=inside, other=0)
    ga = tl.load(G_ALPHA + pixel, mask=inside, other=0.0)
    ga = tl.where(first_channel == 0, ga, 0.0)  # of several passes over the channels only one carries alpha's share
    gc = _load_channels(G_IMAGE, pixel * D + first_channel, inside, CHANNELS)
    behind = tl.zeros([PIXELS], tl.float32)
    begin = tl.load(START + tl.program_id(0))
    number = tl.max(drawn, 0)  # the pairs count from 1, so that 0 is none
    p = begin + number - 1

    COLORS += first_channel
    g = tl.load(OWNER + p, mask=p >= begin, other=0).to(tl.int64)
    mx, my, A, B, C, o = load_splat(SPLATS, g, p >= begin)
    color = _load_channels(COLORS, g * D, p >= begin, CHANNELS)
    g = tl.load(OWNER + p - 1, mask=p - 1 >= begin, other=0).to(tl.int64)
    while number > 0:
        next_mx, next_my, next_A, next_B, next_C, next_o = load_splat(SPLATS, g, p - 1 >= begin)
        next_color = _load_channels(COLORS, g * D, p - 1 >= begin, CHANNELS)
        g = tl.load(OWNER + p - 2, mask=p - 2 >= begin, other=0).to(tl.int64)
        part = PARTS + tl.load(SLOT + p) * (6 + CHANNELS)

        alpha, clamped, dx, dy = _alpha(px, py, mx, my, A, B, C, o)
        alpha = tl.where(number <= drawn, alpha, 0.0)
        passes = 1.0 / (1.0 - alpha)
        T *= passes  # as it was before this Gaussian
        weight = T * alpha
        q = ga
        for d in tl.static_range(CHANNELS):
            q += gc[d] * color[d]
        slope = tl.where(clamped, 0.0, weight * q - behind * alpha * passes)  # dL / d log alpha
        behind += weight * q
        sx, sy = tl.sum(slope * dx, 0), tl.sum(slope * dy, 0)
        tl.store(part, A * sx + B * sy)
        tl.store(part + 1, B * sx + C * sy)
        tl.store(part + 2, tl.sum(slope * dx * dx, 0) * -0.5)
        tl.store(part + 3, -tl.sum(slope * dx * dy, 0))
        tl.store(part + 4, tl.sum(slope * dy * dy, 0) * -0.5)
        tl.store(part + 5, tl.sum(slope, 0) / o)
        for d in tl.static_range(CHANNELS):
            tl.store(part + 6 + d, tl.sum(weight * gc[d], 0))
        mx, my, A, B, C, o, color = next_mx, next_my, next_A, next_B, next_C, next_o, next_color
        p -= 1
        number -= 1


@triton.jit
def _sum_slots_kernel(
    PARTS, FIRST, COUNT, OUT, G, terms, BG: tl.constexpr, BS: tl.constexpr, BW: tl.constexpr, BT: tl.constexpr
):  # fmt: skip
    """A program per block of Gaussians, [BG, BS, BT] = Gaussians x slots x terms as the vector.

    Most Gaussians are done in one step of BS slots. What is beyond FEW of them, of one that covers thousands of tiles, is
    worked off Gaussian by Gaussian, in steps of BW slots: [BW, BT].
    """
    block, t = tl.arange(0, BG), tl.arange(0, BT)
    g = tl.program_id(0).to(tl.int64) * BG + block  # [BG]
    first = tl.load(FIRST + g, mask=g < G, other=0)
    count = tl.load(COUNT + g, mask=g < G, other=0)
    total = tl.zeros([BG, BT], tl.float32)
    for i in range(0, tl.minimum(tl.max(count, 0), FEW), BS):
        s = i + tl.arange(0, BS)
        cell = (s[None, :] < count[:, None])[:, :, None] & (t < terms)[None, None, :]
        at = (first[:, None] + s[None, :])[:, :, None] * terms + t[None, None, :]
        total += tl.sum(tl.load(PARTS + at, mask=cell, other=0.0), 1)
    if tl.max(count, 0) > FEW:
        for k in range(BG):
            many = tl.max(tl.where(block == k, count, 0), 0)
            start = tl.max(tl.where(block == k, first, 0), 0)
            for i in range(FEW, many, BW):
                s = i + tl.arange(0, BW)
                cell = (s < many)[:, None] & (t < terms)[None, :]
                row = tl.sum(tl.load(PARTS + (start + s)[:, None] * terms + t[None, :], mask=cell, other=0.0), 0)
                total += tl.where((block == k)[:, None], row[None, :], 0.0)
    tl.store(OUT + g[:, None] * terms + t[None, :], total, mask=(g < G)[:, None] & (t < terms)[None, :])
