"""The Triton backend of `rasterization` against the float64 reference, through the public function.

Not collected by itself: `test_rasterize_triton.py` runs this file in a process of its own, because Triton decides once per
process, when it is first imported, whether it interprets or compiles. By hand, on a machine without a GPU:

    TRITON_INTERPRET=1 python -m pytest tests/kernels/triton_rasterize.py

In the interpreter scenes are tiny; on CUDA they are larger, which brings pixels within float32's reach of a jump of the
definition (alpha = 1/255, the end of a pixel's light), where either side is right.
"""

from __future__ import annotations

import pytest
import torch

from bestpapers.kernels import dispatch, rasterize
from bestpapers.kernels.rasterize import reference
from bestpapers.kernels.rasterize.tiles.gpu import bin_tiles

from .poison import poisoned_memory
from .scenes import ALONE, DIFFERENTIABLE, EDGE_CASES, assert_projects_alike, random_scene

DEVICE = "cpu" if dispatch.interpreting() else "cuda"
LARGE = DEVICE == "cuda"
N, SIZE = (3000, (333, 215)) if LARGE else (25, (33, 17))

# Measured in the interpreter: images differ by up to 2e-6, since a float32 sum of a few dozen terms below 1 is off by a few of
# its 6e-8 steps, and the expected depth is such a sum times 4.
IMAGE = 1e-5
# Needles, 30 px long and 0.03 px thick: along the needle the conic's three terms, each near 1000, cancel to about 1, which
# leaves four or five digits of sigma. Measured 2e-5.
NEEDLE = 1e-4
# RMS of the difference over RMS of the gradient. Measured up to 6e-6 (random scenes) and 8e-5 (edge cases). With 50 times more
# pixels and 100 times more Gaussians, a few fall on the other side of a jump, each with a gradient of its own.
GRADIENT = 5e-3 if LARGE else 1e-4
FLIPPED = 1e-4 if LARGE else 0.0  # share of the pixels that may do so; each jumps by at most a colour times 1/255

MODES = [("classic", 0.3), ("antialiased", 0.1)]
modes = pytest.mark.parametrize(("mode", "eps2d"), MODES, ids=[m for m, _ in MODES])


def render(scene, backend="triton", dtype=torch.float32, **options):
    """What `rasterization` returns for `scene`, and the gradients of a fixed random sum over it: float64, on the CPU."""
    args = {k: v.to(DEVICE, dtype) if isinstance(v, torch.Tensor) else v for k, v in scene.items()}
    inputs = {k: args[k].detach().clone().requires_grad_() for k in DIFFERENTIABLE}
    out = rasterize.rasterization(**args | inputs, backend=backend, **options)
    images = {k: v for k, v in zip(out._fields, out[:3]) if v is not None}
    g = torch.Generator().manual_seed(1)
    loss = sum((t * torch.randn(t.shape, generator=g, dtype=torch.float64).to(t)).sum() for t in images.values())
    grads = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True, materialize_grads=True)
    assert out.meta["backend"] == backend
    return (
        {k: v.detach().double().cpu() for k, v in images.items()},
        {k: v.double().cpu() for k, v in zip(inputs, grads)},
        out.meta,
    )


def assert_gradients(got: dict, want: dict, tolerance=GRADIENT):
    for name in want:
        assert torch.isfinite(got[name]).all(), name
        error, size = got[name] - want[name], want[name].square().mean().sqrt() if want[name].numel() else 0.0
        rms = error.square().mean().sqrt() if error.numel() else 0.0
        # the floor is the rounding of alpha, all that is left of a gradient that should vanish
        assert rms <= tolerance * size + 3e-7, f"{name}: off by {rms:.1e} of {size:.1e}"
        worst = error.abs().max() if error.numel() else 0.0
        assert worst <= 50 * tolerance * size + 3e-6, f"{name}: one element is off by {worst:.1e}, RMS is {size:.1e}"


def compare(scene, image=IMAGE, gradient=GRADIENT, **options):
    """Triton in float32 against the reference in float64: all images, the gradients of all inputs."""
    got, got_grads, got_meta = render(scene, **options)
    want, want_grads, want_meta = render(scene, "reference", torch.float64, **options)
    for name in want:
        error = (got[name] - want[name]).abs()
        assert torch.isfinite(got[name]).all(), name
        off = error > image * (1 + want[name].abs())
        assert off.double().mean() <= FLIPPED, f"{name}: {off.sum()} values are off, the worst by {error.max():.1e}"
        assert error.max() <= (0.02 if LARGE else 1) * (1 + want[name].abs().max()), name
    radii = (got_meta["radii"] - want_meta["radii"]).abs()
    assert not radii.any() or radii.max() <= 1  # a whole number of pixels, from a float that may be just on either side
    assert_gradients(got_grads, want_grads, gradient)
    return got, got_grads


@modes
@pytest.mark.parametrize("sh_degree", [None, 0, 1, 2, 3])
def test_random_scene(mode, eps2d, sh_degree):
    compare(random_scene(N, sh_degree=sh_degree, size=SIZE, seed=1), rasterize_mode=mode, eps2d=eps2d)


@pytest.mark.parametrize(
    "layout",
    [
        dict(n=1),
        dict(channels=1, size=(33, 16)),
        dict(channels=5, cameras=2, size=(17, 23)),
        dict(n=8, cameras=3, sh_degree=1, channels=2, size=(16, 16)),
        dict(n=8, size=(1, 1)),
        dict(n=6, channels=37),  # more than one pass over the channels
        dict(n=140, size=(5, 5)),  # more Gaussians than one program takes
    ],
    ids=lambda d: "-".join(f"{k}={v}" for k, v in d.items()).replace(" ", ""),
)
def test_layout(layout):
    compare(random_scene(**layout))


def test_without_depth_and_background():
    images, _ = compare(random_scene(8, size=(9, 20)) | dict(backgrounds=torch.zeros(3).double()), render_mode="RGB")
    assert set(images) == {"colors", "alphas"}


@pytest.mark.parametrize("sh_degree", [None, 1])
def test_each_camera_may_have_its_own_colors(sh_degree):
    scene = random_scene(8, cameras=2, sh_degree=sh_degree, size=(17, 9))
    scene["colors"] = torch.stack([scene["colors"], scene["colors"].flip(0)])
    compare(scene)


def test_coefficients_beyond_the_degree_do_not_matter():
    scene = random_scene(8, sh_degree=1, size=(17, 9))
    scene["colors"] = torch.cat([scene["colors"], 100 * torch.ones(8, 5, 3, dtype=torch.float64)], dim=1)
    _, grads = compare(scene)
    assert grads["colors"][:, :4].abs().min() > 0
    assert not grads["colors"][:, 4:].any()


@pytest.mark.parametrize("name", EDGE_CASES)
def test_edge_case(name):
    # Where a single Gaussian makes a pixel's depth, depth = alpha z / alpha: its derivative in alpha cancels to 0, and with an
    # alpha of 0.005, as of "tiny", rounding is all that remains. So the edge cases are compared without the depth.
    image = NEEDLE if name == "needles" else IMAGE
    compare(EDGE_CASES[name](), image=image, rasterize_mode="antialiased", eps2d=0.1, render_mode="RGB")


@pytest.mark.parametrize("name", ["needles", "ties", "near"])
def test_edge_case_in_classic_mode_with_depth(name):
    compare(EDGE_CASES[name](), image=NEEDLE if name == "needles" else IMAGE)


@pytest.mark.parametrize("eps2d", [0.0, 0.3])
@pytest.mark.parametrize("name", ALONE)
def test_projection_alone(name, eps2d):
    assert_projects_alike(rasterize._compiled("triton"), rasterize._Reference, name, eps2d, DEVICE)


def test_pairs_are_exactly_the_tiles_in_reach():
    """Against all pairs of Gaussians and tiles, each decided in float64 by the largest alpha over the tile's rectangle."""
    wide = random_scene(500, size=(90, 120))
    wide["scales"] *= 6
    scenes = [random_scene(1000, cameras=2, size=(70, 53)), wide, EDGE_CASES["needles"](), EDGE_CASES["faint"]()]
    for scene in scenes:
        W, H = scene["width"], scene["height"]
        args = [scene[k].to(DEVICE, torch.float32) for k in ("means", "quats", "scales", "viewmats", "Ks")]
        means2d, depths, conics, _, _ = reference.project(*args, W, H)
        C, G = len(depths), depths.numel()
        opacities = scene["opacities"].to(DEVICE, torch.float32).expand(C, -1).contiguous()
        tiles = bin_tiles(means2d, conics, opacities, depths, W, H)

        mean, conic = means2d.double().reshape(G, 2).cpu(), conics.double().reshape(G, 3).cpu()
        tiles_x, tiles_y = -(-W // 16), -(-H // 16)
        ty, tx = torch.meshgrid(torch.arange(tiles_y), torch.arange(tiles_x), indexing="ij")
        corner = torch.stack([tx, ty], dim=-1).reshape(-1, 1, 2) * 16
        low = corner + 0.5 - mean  # [tiles, G, 2]: the rectangle of pixel centres, seen from the mean
        high = torch.minimum(corner + 15, torch.tensor([W - 1, H - 1])) + 0.5 - mean
        a, b, c = conic.unbind(-1)
        sigmas = [torch.where(((low <= 0) & (high >= 0)).all(-1), 0.0, torch.inf)]
        for edge in (low, high):  # the smallest sigma lies on an edge, unless the mean is inside
            x, y = edge.unbind(-1)
            v = torch.clamp(-b * x / c, low[..., 1], high[..., 1])
            u = torch.clamp(-b * y / a, low[..., 0], high[..., 0])
            sigmas += [0.5 * (a * x * x + c * v * v) + b * x * v, 0.5 * (a * u * u + c * y * y) + b * u * y]
        peak = opacities.double().reshape(G).cpu() * torch.exp(-torch.stack(sigmas).amin(0)) * 255  # [tiles, G]

        depth = depths.flatten().tolist()
        start, owner, slot = tiles.start.cpu(), tiles.owner.cpu().long(), tiles.slot.cpu()
        listed = torch.zeros(C, tiles_x * tiles_y, G // C, dtype=torch.bool)
        for tile in range(len(start) - 1):
            g = owner[start[tile] : start[tile + 1]]
            assert (g // (G // C) == tile // (tiles_x * tiles_y)).all()
            assert g.tolist() == sorted(g.tolist(), key=lambda i: (depth[i], i)), "nearest first, ties in array order"
            listed[tile // (tiles_x * tiles_y), tile % (tiles_x * tiles_y), g % (G // C)] = True
        peak = peak.unflatten(1, (C, -1)).transpose(0, 1)
        assert len(owner) == listed.sum()
        assert listed[peak >= 1].all(), "a tile misses a Gaussian that it must draw"
        assert (peak[listed] > 0.999).all(), "a tile lists a Gaussian that it does not see"

        assert torch.equal(slot.sort().values, torch.arange(len(slot)))
        first, counts = tiles.first.cpu()[owner], tiles.counts.cpu()[owner]
        assert ((slot >= first) & (slot < first + counts)).all()


def test_conic_that_has_lost_its_shape():
    """det Q = 0, as float32 may leave it for a needle: a stripe without ends, which every tile must look at."""
    means2d, opacities = torch.tensor([[[30.0, 29.0], [60.0, -40.0]]]), torch.tensor([[0.5, 0.7]])
    conics, colors = torch.tensor([[[0.5, 0.5, 0.5], [0.25, 0.25, 0.25]]]), torch.tensor([[[1.0], [2.0]]])
    inputs = [t.to(DEVICE) for t in (means2d, conics, colors, opacities, torch.tensor([[1.0, 2.0]]))]
    image, alpha = rasterize._compiled("triton").composite(*inputs, 50, 40)
    want_image, want_alpha = reference.composite(*inputs, 50, 40)
    torch.testing.assert_close(image, want_image, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alpha, want_alpha, rtol=1e-5, atol=1e-5)
    assert alpha[0, 9, 49] > 0.49  # the first one's ends are far from its mean


def test_gaussians_on_many_tiles_and_on_few():
    """Slots of 80 tiles are summed in another way than those of two."""
    scene = random_scene(20 if LARGE else 4, size=(160, 128), seed=5)
    scene["scales"][0] *= 100
    compare(scene, render_mode="RGB")


def test_every_cell_is_written():
    scenes = [random_scene(9, cameras=2, sh_degree=2, size=(19, 33)), EDGE_CASES["culled"](), EDGE_CASES["empty"]()]
    clean = [render(scene)[:2] for scene in scenes]

    with poisoned_memory():
        poisoned = [render(scene)[:2] for scene in scenes]
    for (images, grads), (again, grads_again) in zip(clean, poisoned):
        assert all(torch.equal(images[k], again[k]) for k in images)
        assert all(torch.equal(grads[k], grads_again[k]) for k in grads)


def test_two_runs_give_the_same_bits():
    scene = random_scene(N, cameras=2, sh_degree=1, size=SIZE)
    (images, grads, _), (again, grads_again, _) = render(scene), render(scene)
    assert all(torch.equal(images[k], again[k]) for k in images)
    assert all(torch.equal(grads[k], grads_again[k]) for k in grads)
