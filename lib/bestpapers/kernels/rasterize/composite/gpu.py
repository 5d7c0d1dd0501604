"""Compositing on the GPU: a program per tile, a loop over its Gaussians from near to far, its 256 pixels as the vector.

As on the CPU, nothing is added up in shared memory cells: partial gradients go into slots, one per (Gaussian, tile) pair, and a
second kernel adds up the slots of each Gaussian in a fixed order. So two runs give the same bits, which atomics would not.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...programs import launch
from .. import rules
from ..tiles.gpu import Tiles, load_splat, pack

TILE = tl.constexpr(rules.TILE)
PIXELS = tl.constexpr(rules.TILE**2)
ALPHA_MIN, ALPHA_MAX = tl.constexpr(rules.ALPHA_MIN), tl.constexpr(rules.ALPHA_MAX)
TRANSMITTANCE_MIN = tl.constexpr(rules.TRANSMITTANCE_MIN)

MAX_CHANNELS = 16  # colour channels that one compositing pass holds in registers; more of them take more passes
CHUNK = tl.constexpr(16)  # a tile asks once in this many Gaussians whether all of its pixels are finished
GEOMETRY_TERMS = 6  # gradients per pair besides the colour's: mean 2, conic 3, opacity 1


def forward(means2d, conics, colors, opacities, tiles: Tiles, width, height):
    """As `reference.composite`, over the lists of `bin_tiles`."""
    C, _, D = colors.shape
    image, alpha = colors.new_empty(C, height, width, D), colors.new_empty(C, height, width)
    splats, lists = pack(means2d, conics, opacities), (tiles.start, tiles.owner)
    for d, options in _passes(D, warps=2):
        arguments = (splats, colors, *lists, image, alpha, width, height, D, d)
        launch(_composite_forward, len(tiles.start) - 1, *arguments, **options)
    return image, alpha


def backward(means2d, conics, colors, opacities, tiles: Tiles, width, height, image, alpha, g_image, g_alpha):
    """Gradients of means2d, conics, colors and opacities.

    All of them are linear in (g_image, g_alpha), so channels that do not fit into one pass take further ones, each with a
    share of the gradient, and the results of the passes are added.
    """
    (C, N, D), P = colors.shape, len(tiles.owner)
    splats, lists = pack(means2d, conics, opacities), (tiles.start, tiles.owner, tiles.slot)
    images = (image, alpha, g_image, g_alpha)
    geometry, g_colors = colors.new_zeros(C, N, GEOMETRY_TERMS), []
    for d, options in _passes(D, warps=1):
        # zeros, since pairs behind an opaque front are never visited
        parts = colors.new_zeros(P, GEOMETRY_TERMS + options["CHANNELS"])
        arguments = (splats, colors, *lists, *images, parts, width, height, D, d)
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
    launch(_sum_slots_kernel, -(-G // BG), parts, tiles.first, tiles.counts, out, G, terms, BG=BG, BS=8, BT=BT)
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
def _blend(px, py, T, mx, my, A, B, C, o):
    """A Gaussian meets the tile: offsets dx, dy, alpha (0 where it is skipped), whether alpha was clamped, T alpha, and new T.

    A finished pixel is marked by a minus sign on its T: nothing more is drawn there.
    """
    dx, dy = px - mx, py - my
    sigma = (0.5 * A * dx + B * dy) * dx + 0.5 * C * dy * dy
    raw = o * tl.exp(-sigma)
    alpha = tl.where((raw >= ALPHA_MIN) & (sigma >= 0.0), tl.minimum(raw, ALPHA_MAX), 0.0)
    before = tl.maximum(T, 0.0)
    after = before - before * alpha
    full = after <= TRANSMITTANCE_MIN  # it would use up the light: the pixel is finished before this Gaussian
    alpha = tl.where(full, 0.0, alpha)
    return dx, dy, alpha, raw > ALPHA_MAX, before * alpha, tl.where(full, -tl.abs(T), after)


@triton.jit
def _composite_forward(
    SPLATS, COLORS, START, OWNER, IMAGE, ALPHA, width, height, D, first_channel, CHANNELS: tl.constexpr
):  # fmt: skip
    """A program per tile, the tile's pixels [256] as the vector; an image is a tuple of such vectors, one per channel.

    Memory is slow to answer, so the loop asks ahead: while a Gaussian is drawn, the numbers of the next one are on their way,
    and so is the index of the one after that.
    """
    camera, x, y, inside = _pixels(width, height)
    px, py = x + 0.5, y + 0.5
    T = tl.where(inside, 1.0, 0.0)
    seen = tl.zeros([PIXELS], tl.float32)  # equals 1 - T, but keeps its digits where it is small
    image = _zeros(CHANNELS)
    p, end = tl.load(START + tl.program_id(0)), tl.load(START + tl.program_id(0) + 1)

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

            _, _, _, _, weight, T = _blend(px, py, T, mx, my, A, B, C, o)
            seen += weight
            image = _add_scaled(image, weight, color, CHANNELS)
            mx, my, A, B, C, o, color = next_mx, next_my, next_A, next_B, next_C, next_o, next_color
            p += 1

    pixel = (camera.to(tl.int64) * height + y) * width + x
    tl.store(ALPHA + pixel, seen, mask=inside)
    for d in tl.static_range(CHANNELS):
        tl.store(IMAGE + pixel * D + first_channel + d, image[d], mask=inside)


@triton.jit
def _composite_backward(
    SPLATS, COLORS, START, OWNER, SLOT, IMAGE, ALPHA, G_IMAGE, G_ALPHA, PARTS,
    width, height, D, first_channel, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The forward loop once more, front to back, which ends as early. A row of PARTS [P, 6 + CHANNELS] per pair: mean 2,
    conic 3, opacity 1, colour.

    q = g . c is what this Gaussian's colour is worth to the loss at each pixel, and `rest` what everything not yet drawn adds
    to it. A larger alpha trades one for the other: dL/dalpha = T q - rest / (1 - alpha), rest without this Gaussian.
    """
    camera, x, y, inside = _pixels(width, height)
    px, py = x + 0.5, y + 0.5
    T = tl.where(inside, 1.0, 0.0)
    pixel = (camera.to(tl.int64) * height + y) * width + x
    ga = tl.load(G_ALPHA + pixel, mask=inside, other=0.0)
    ga = tl.where(first_channel == 0, ga, 0.0)  # of several passes over the channels only one carries alpha's share
    gc = _load_channels(G_IMAGE, pixel * D + first_channel, inside, CHANNELS)
    image = _load_channels(IMAGE, pixel * D + first_channel, inside, CHANNELS)
    rest = ga * tl.load(ALPHA + pixel, mask=inside, other=0.0)
    for d in tl.static_range(CHANNELS):
        rest += gc[d] * image[d]
    p, end = tl.load(START + tl.program_id(0)), tl.load(START + tl.program_id(0) + 1)

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
            part = PARTS + tl.load(SLOT + p) * (6 + CHANNELS)

            dx, dy, alpha, clamped, weight, T = _blend(px, py, T, mx, my, A, B, C, o)
            q = ga
            for d in tl.static_range(CHANNELS):
                q += gc[d] * color[d]
            rest -= weight * q
            slope = tl.where(clamped, 0.0, weight * q - rest * alpha / (1.0 - alpha))  # dL / d log alpha
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
            p += 1


@triton.jit
def _sum_slots_kernel(
    PARTS, FIRST, COUNT, OUT, G, terms, BG: tl.constexpr, BS: tl.constexpr, BT: tl.constexpr
):  # fmt: skip
    """A program per block of Gaussians, [BG, BS, BT] = Gaussians x slots x terms as the vector.

    Most Gaussians are done in one step of BS slots; the loop is for those that reach many tiles.
    """
    g = tl.program_id(0).to(tl.int64) * BG + tl.arange(0, BG)  # [BG]
    t = tl.arange(0, BT)
    first = tl.load(FIRST + g, mask=g < G, other=0)
    count = tl.load(COUNT + g, mask=g < G, other=0)
    total = tl.zeros([BG, BT], tl.float32)
    for i in range(0, tl.max(count, 0), BS):
        s = i + tl.arange(0, BS)
        cell = (s[None, :] < count[:, None])[:, :, None] & (t < terms)[None, None, :]
        at = (first[:, None] + s[None, :])[:, :, None] * terms + t[None, None, :]
        total += tl.sum(tl.load(PARTS + at, mask=cell, other=0.0), 1)
    tl.store(OUT + g[:, None] * terms + t[None, :], total, mask=(g < G)[:, None] & (t < terms)[None, :])
