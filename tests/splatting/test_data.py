"""The procedural scenes: is their truth true? Every check compares two ways to the same answer."""

import math

import numpy as np
import pytest
import torch

from bestpapers.splatting import data, worlds
from bestpapers.splatting.data import Camera, camera_ring, look_at, make_dataset, make_scene, render_truth

ALL = [(name, detail) for name in data.SCENES for detail in data.DETAILS]
each_scene = pytest.mark.parametrize(("name", "detail"), ALL, ids=["-".join(s) for s in ALL])


def pixel_centres(camera: Camera) -> np.ndarray:
    """[height, width, 2] in pixels."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.stack([u, v], axis=-1)


# --------------------------------------------------------------------------------------------------------------- truth


@each_scene
def test_a_pixel_is_the_box_mean_of_finer_images(name, detail):
    scene, camera = make_scene(name, detail), camera_ring(3)[1]
    rays = data.TRUTH_RAYS[detail]
    fine = render_truth(scene, camera.at(width=rays), supersample=1)
    assert fine.shape == (rays, rays, 3)
    for size in (96, 12):  # 16 x 16 and 128 x 128 rays in a pixel of a thin scene
        coarse = render_truth(scene, camera.at(width=size))
        expected = data.box_mean(fine.double(), rays // size).float()
        # the same rays, up to the last bits of their directions: at a hard edge a few of a pixel's rays may change side
        assert (coarse - expected).abs().max() < 1e-3, size
        assert (coarse - expected).abs().mean() < 1e-6, size


@each_scene
def test_the_default_grid_is_fine_enough(name, detail):
    scene, camera = make_scene(name, detail), camera_ring(3)[0].at(width=48)
    image = render_truth(scene, camera)
    finer = render_truth(scene, camera, supersample=2 * max(4, -(-data.TRUTH_RAYS[detail] // 48)))
    # An edge along a row or column of rays is off by half a ray spacing, 1/64 of a pixel here: that is the worst case.
    # A root mean square of 4e-3 is 48 dB, 10 dB above the best fit that anybody trains on a thin scene.
    worst, rms = (1e-3, 2e-4) if detail == "natural" else (2e-2, 4e-3)
    assert (image - finer).abs().max() < worst
    assert (image - finer).square().mean().sqrt() < rms


@each_scene
def test_images_are_opaque_finite_and_in_range(name, detail):
    close = look_at((0.3, 0.2, 1.2), (0, 0, -1), fov_deg=90, size=64)
    for camera in (*camera_ring(4, size=64), close, close.zoomed(0.25), close.zoomed(8)):
        image = render_truth(make_scene(name, detail), camera)
        assert image.dtype == torch.float32
        assert image.shape == (64, 64, 3)
        assert torch.isfinite(image).all()
        assert 0 <= image.min() < image.max() <= 1


def test_images_need_not_be_square():
    wide = Camera(look_at((0, 0, 3)).viewmat, [[60, 0, 40], [0, 60, 16], [0, 0, 1]], 80, 32)
    square = Camera(wide.viewmat, [[60, 0, 40], [0, 60, 40], [0, 0, 1]], 80, 80)
    scene = make_scene("wheel", "natural")  # without hard edges, on which the last bit of a ray decides
    image = render_truth(scene, wide, supersample=2)
    assert image.shape == (32, 80, 3)
    torch.testing.assert_close(image, render_truth(scene, square, supersample=2)[24:56], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", data.SCENES)
def test_rendering_is_repeatable_and_detail_matters(name):
    camera = camera_ring(1, size=32)[0]
    thin, natural = (render_truth(make_scene(name, d), camera, supersample=8) for d in data.DETAILS)
    make_scene.cache_clear()
    assert torch.equal(thin, render_truth(make_scene(name, "thin"), camera, supersample=8))
    assert (thin - natural).abs().mean() > 0.02


@pytest.mark.parametrize("name", data.SCENES)
def test_natural_holds_little_above_the_training_rate_and_thin_much(name):
    """Share of the image's variance above the Nyquist frequency of a 32-pixel image."""
    camera = camera_ring(2, tilt_deg=(0, 5), distance=(3, 3), size=256)[0]
    share = {}
    for detail in data.DETAILS:
        image = render_truth(make_scene(name, detail), camera).double().mean(-1)
        window = torch.hann_window(256, periodic=False, dtype=torch.float64)
        image = (image - image.mean()) * window[:, None] * window[None]  # the image is not periodic: fade its border
        power = torch.fft.fft2(image).abs().square()
        cycles = (torch.fft.fftfreq(256, dtype=torch.float64) * 256).abs()
        above = (cycles[:, None] > 16) | (cycles[None] > 16)  # 16 cycles across the image: Nyquist for 32 pixels
        share[detail] = float(power[above].sum() / power.sum())
    assert share["natural"] < 0.002, share
    assert share["thin"] > 10 * share["natural"], share


def test_soft_edges_are_gaussian_blurs():
    """A spoke of the natural wheel against the same bar blurred numerically."""
    x = np.linspace(-1, 1, 20001)
    soft, half = 0.09, 0.06
    kernel = np.exp(-0.5 * (x / soft) ** 2)
    blurred = np.convolve((np.abs(x) < half).astype(float), kernel / kernel.sum(), mode="same")
    ours = [worlds._band(abs(v), half, soft) for v in x[8000:12001:50]]
    np.testing.assert_allclose(ours, blurred[8000:12001:50], atol=1e-3)


@each_scene
def test_the_cell_index_loses_no_stroke(name, detail):
    """The index only saves time: with every stroke in every cell the image is the same."""
    scene, camera = make_scene(name, detail), camera_ring(3, size=32)[2]
    world = scene.world
    strokes = np.sort(np.unique(world.items))
    firsts = [world.items[world.start[k, 0] : world.start[k, -1]] for k in range(len(world.start))]
    per_sheet = [np.unique(items) for items in firsts]
    assert np.array_equal(np.concatenate(per_sheet), strokes)  # sheets follow each other and share no stroke
    start, items, offset = [], [], 0
    for mine in per_sheet:
        lo, hi = mine.min(), mine.max() + 1
        start.append(offset + (hi - lo) * np.arange(worlds.GRID**2 + 1))
        items.append(np.tile(np.arange(lo, hi), worlds.GRID**2))
        offset += len(items[-1])
    plain = world._replace(start=np.stack(start), items=np.concatenate(items))
    expected = render_truth(data.Scene(name, detail, plain), camera, supersample=2)
    # a blurred edge is cut at 3.5 sigma, where 2.3e-4 of it is left
    assert (render_truth(scene, camera, supersample=2) - expected).abs().max() < 1e-3


# ------------------------------------------------------------------------------------------------------------- geometry


@each_scene
def test_hits_project_onto_the_pixel_that_saw_them(name, detail):
    scene = make_scene(name, detail)
    for camera in camera_ring(4, size=24, seed=5):
        uv = pixel_centres(camera).reshape(-1, 2)
        points, _ = data.cast(scene, *camera.rays(uv))
        again, z = camera.project(points)
        np.testing.assert_allclose(again, uv, atol=1e-9)
        assert (z > 0).all()


@pytest.mark.parametrize("name", data.SCENES)
def test_hits_have_the_colour_of_the_image(name):
    """Two ways to a picture: one ray through each pixel centre, followed to its end, and the renderer at 1 x 1 rays."""
    scene, camera = make_scene(name, "thin"), camera_ring(3, size=64, seed=1)[2]
    _, colours = data.cast(scene, *camera.rays(pixel_centres(camera).reshape(-1, 2)))
    image = render_truth(scene, camera, supersample=1).reshape(-1, 3).numpy()
    same = np.abs(image - colours).max(axis=1) < 1e-6
    assert same.mean() > 0.999  # a ray exactly on an edge may fall to either side


def test_a_landmark_is_where_projection_says():
    """The wheel's hub is black; its centre, projected, lies in the middle of the black blob, in every camera."""
    scene = make_scene("wheel", "thin")
    for camera in camera_ring(6, size=200):
        image = render_truth(scene, camera, supersample=4).numpy()
        (u, v), (edge, _) = camera.project([[0, 0, 0], [0.05, 0, 0]])[0]
        radius = abs(edge - u)
        offset = pixel_centres(camera) - (u, v)
        near = np.hypot(offset[..., 0], offset[..., 1]) < radius  # a disc inside the hub
        assert near.sum() > 10
        assert image[near].max() < 0.07
    # and it is not black everywhere: between two spokes, on the wall side of the wheel, something else shows
    camera, between = look_at((0, 0, 3), size=200), 2 * math.pi * 0.075  # spokes stand at 0.025, 0.125, ... of a turn
    u, v = camera.project([[0.6 * math.cos(between), 0.6 * math.sin(between), 0]])[0][0]
    assert render_truth(scene, camera, supersample=1)[int(v), int(u)].max() > 0.3


def test_image_axes_are_right_down_forward():
    camera = look_at((0, 0, 3), size=100)
    uv, z = camera.project([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, -1]])
    np.testing.assert_allclose(uv[0], (50, 50))
    assert uv[1, 0] > 50  # world right is image right
    assert uv[2, 1] < 50  # world up is image up, and rows count downwards
    np.testing.assert_allclose(z, (3, 3, 3, 4))
    np.testing.assert_allclose(camera.position, (0, 0, 3), atol=1e-12)
    # half the image spans half the field of view
    edge = camera.project([[3 * math.tan(math.radians(25)), 0, 0]])[0][0]
    np.testing.assert_allclose(edge, (100, 50))


def test_nearer_things_hide_farther_ones():
    """Depth along a ray: wheel in front of ball in front of wall."""
    points, _ = data.cast(
        make_scene("wheel"), [[0, 0, 3]] * 3, [[0, 0, -1], [0.3 / 4.3, -0.1 / 4.3, -1], [0.5, 0.1, -1]]
    )
    assert points[0, 2] == 0  # the hub
    assert -1.3 < points[1, 2] < -0.7  # the front of the ball, radius 0.6 around z = -1.3
    assert points[2, 2] == worlds.WALL_Z


# -------------------------------------------------------------------------------------------------------------- cameras


def test_scaling_keeps_the_field_of_view_and_zooming_the_size():
    camera = camera_ring(1, size=96)[0]
    half = camera.scaled(0.5)
    assert (half.width, half.height) == (48, 48)
    np.testing.assert_allclose(half.K, camera.at(width=48).K)
    np.testing.assert_allclose(half.K[:2], 0.5 * camera.K[:2])
    origins, d96 = camera.rays([[0, 0], [96, 96], [30, 60]])
    _, d48 = half.rays([[0, 0], [48, 48], [15, 30]])
    np.testing.assert_allclose(d48, d96)
    np.testing.assert_allclose(origins, camera.position[None].repeat(3, 0))

    tele = camera.zoomed(2)
    assert (tele.width, tele.height) == (96, 96)
    _, d = tele.rays([[48, 48], [96, 48]])
    _, wide = camera.rays([[48, 48], [72, 48]])
    np.testing.assert_allclose(d, wide)  # twice the focal length shows half the angle's tangent


def test_zoom_shows_the_middle_of_a_larger_image():
    scene, camera = make_scene("text"), camera_ring(1, size=32)[0]
    tele = render_truth(scene, camera.zoomed(4), supersample=4)
    large = render_truth(scene, camera.scaled(4), supersample=4)[48:80, 48:80]
    assert (tele - large).abs().mean() < 1e-5


def test_at_keeps_the_field_of_view_for_odd_heights():
    camera = Camera(np.eye(4), [[50, 0, 50], [0, 50, 15], [0, 0, 1]], 100, 30).at(width=33)
    assert (camera.width, camera.height) == (33, 10)
    np.testing.assert_allclose(camera.K, [[16.5, 0, 16.5], [0, 50 / 3, 5], [0, 0, 1]])


def test_a_ring_keeps_to_its_ranges_and_its_seed():
    ring = camera_ring(50, distance=(2.6, 3.4), tilt_deg=(3, 22), seed=3)
    eyes = np.stack([c.position for c in ring])
    d = np.linalg.norm(eyes, axis=1)
    tilt = np.degrees(np.arccos(eyes[:, 2] / d))
    assert 2.6 <= d.min() < 2.8 < 3.2 < d.max() <= 3.4
    assert 3 <= tilt.min() < 6 < 19 < tilt.max() <= 22
    for camera in ring:
        np.testing.assert_allclose(camera.project([[0, 0, 0]])[0], [[48, 48]])
    again, other = (np.stack([c.position for c in camera_ring(50, seed=s)]) for s in (3, 4))
    np.testing.assert_array_equal(eyes, again)
    assert not np.allclose(eyes, other)


def test_stack_makes_what_the_rasterizer_takes():
    ring = camera_ring(3, size=40)
    viewmats, Ks, width, height = data.stack(ring)
    assert viewmats.shape == (3, 4, 4)
    assert Ks.shape == (3, 3, 3)
    assert viewmats.dtype == Ks.dtype == torch.float32
    assert (width, height) == (40, 40)
    np.testing.assert_allclose(viewmats[1].numpy(), ring[1].viewmat, atol=1e-6)
    with pytest.raises(ValueError, match=r"share one image size.*\(20, 20\), \(40, 40\)"):
        data.stack([ring[0], ring[1].scaled(0.5)])
    with pytest.raises(ValueError, match="no cameras"):
        data.stack([])


def test_cameras_cannot_be_changed_by_accident():
    source = np.eye(4)
    camera = Camera(source, np.eye(3), 2, 2)
    source[0, 3] = 7
    assert camera.viewmat[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        camera.K[0, 0] = 2


# --------------------------------------------------------------------------------------------------------------- points


@each_scene
def test_points_lie_on_the_surfaces(name, detail):
    scene = make_scene(name, detail)
    points, colors = data.surface_points(scene, 3000, np.random.default_rng(0), noise_std=0.0)
    assert points.shape == colors.shape == (3000, 3)
    assert points.dtype == colors.dtype == torch.float32
    assert 0 <= colors.min() < colors.max() <= 1
    planes = torch.tensor([*scene.world.sheet_z, worlds.WALL_Z], dtype=torch.float32)
    to_plane = (points[:, 2:] - planes).abs().min(dim=1).values
    # a soft ball is seen up to 3.5 blurs outside its outline
    centre, radius, soft = scene.world.ball[:3], scene.world.ball[3], scene.world.ball[4]
    outside = (points - torch.tensor(centre, dtype=torch.float32)).norm(dim=1) - radius
    on_ball = (outside > -1e-5) & (outside < 1e-5 + worlds.SIGMAS * soft)
    assert ((to_plane < 1e-5) | on_ball).all()
    for part in ((points[:, 2] == 0), on_ball, (points[:, 2] == worlds.WALL_Z)):  # three depths, each of them seen
        assert part.float().mean() > 0.02


def test_points_have_the_noise_and_the_seed_asked_for():
    scene = make_scene("text")
    exact, _ = data.surface_points(scene, 4000, np.random.default_rng(1), noise_std=0.0)
    noisy, colors = data.surface_points(scene, 4000, np.random.default_rng(1), noise_std=0.05)
    assert abs((noisy - exact).std().item() - 0.05) < 0.002  # 12,000 draws: the standard error is 0.0003
    again, same_colors = data.surface_points(scene, 4000, np.random.default_rng(1), noise_std=0.05)
    assert torch.equal(noisy, again)
    assert torch.equal(colors, same_colors)
    assert not torch.equal(noisy, data.surface_points(scene, 4000, np.random.default_rng(2), noise_std=0.05)[0])
    assert data.surface_points(scene, 0, np.random.default_rng(0))[0].shape == (0, 3)


def test_soft_surfaces_get_points_in_proportion_to_their_share_in_the_pixel():
    """Mean colour of many hits through one pixel position equals what the renderer sees there."""
    scene, camera = make_scene("wheel", "natural"), look_at((0, 0, 3), size=101)
    origins, directions = camera.rays([[72.5, 30.5]])
    n = 40_000
    draw = (np.arange(n) + 0.5) / n
    points, colours = data.cast(scene, origins.repeat(n, 0), directions.repeat(n, 0), draw)
    assert len(np.unique(points[:, 2].round(6))) > 1  # some end on the wheel, some behind it
    image = render_truth(scene, camera, supersample=1)[30, 72].numpy()
    np.testing.assert_allclose(colours.mean(0), image, atol=1e-3)


# ------------------------------------------------------------------------------------------------------------ data sets


def test_a_dataset_has_the_shapes_it_says():
    d = make_dataset("wheel", "thin", 32, n_train=5, n_test=2, n_points=300, test_sizes=(32, 64), train_sizes=(32, 16))
    assert {w: tuple(v.images.shape) for w, v in d.train.items()} == {32: (5, 32, 32, 3), 16: (5, 16, 16, 3)}
    assert {w: tuple(v.images.shape) for w, v in d.test.items()} == {32: (2, 32, 32, 3), 64: (2, 64, 64, 3)}
    assert d.points.shape == d.colors.shape == (300, 3)
    assert d.train[16].stack()[2:] == (16, 16)
    assert len(d.train[32]) == 5
    # the sizes show the same views, so the small images are box means of the large ones
    torch.testing.assert_close(data.box_mean(d.train[32].images, 2), d.train[16].images, atol=1e-3, rtol=0)
    torch.testing.assert_close(data.box_mean(d.test[64].images, 2), d.test[32].images, atol=1e-3, rtol=0)
    # and each image belongs to its camera
    torch.testing.assert_close(render_truth(d.scene, d.test[64].cameras[1]), d.test[64].images[1])
    assert sorted(make_dataset("wheel", "thin", 32, 1, 1, n_points=1).test) == [4, 8, 16, 32]
    odd = make_dataset("wheel", "thin", 32, 1, 1, n_points=1, test_sizes=(32, 12)).test  # 12 does not divide 32
    torch.testing.assert_close(odd[12].images[0], render_truth(d.scene, odd[12].cameras[0]))
    assert make_dataset("wheel", "thin", 32, 1, n_test=0, n_points=1).test[8].images.shape == (0, 8, 8, 3)


def test_noise_is_added_to_training_images_only_and_has_the_given_spread():
    clean = make_dataset("foliage", "natural", 32, n_train=6, n_test=2)
    noisy = make_dataset("foliage", "natural", 32, n_train=6, n_test=2, noise_std=0.03)
    residual = noisy.train[32].images - clean.train[32].images
    count = residual.numel()  # 18,432
    assert abs(residual.std().item() - 0.03) < 4 * 0.03 / math.sqrt(2 * count)
    assert abs(residual.mean().item()) < 4 * 0.03 / math.sqrt(count)
    neighbours = (residual[:, :, 1:] * residual[:, :, :-1]).mean() / residual.var()
    assert abs(neighbours) < 4 / math.sqrt(count)  # white: a pixel says nothing about the next
    for width, views in clean.test.items():
        assert torch.equal(views.images, noisy.test[width].images)


def test_the_seed_decides_noise_and_points_and_leaves_the_task_alone():
    a, b, c = (make_dataset("text", "natural", 16, 3, 1, noise_std=0.1, seed=s) for s in (0, 0, 1))
    assert torch.equal(a.train[16].images, b.train[16].images)
    assert torch.equal(a.points, b.points)
    assert not torch.equal(a.train[16].images, c.train[16].images)
    assert not torch.equal(a.points, c.points)
    assert torch.equal(a.test[16].images, c.test[16].images)
    more = make_dataset("text", "natural", 16, 3, 1, noise_std=0.1, seed=0, n_points=9)
    assert torch.equal(a.train[16].images, more.train[16].images)


@pytest.mark.parametrize("detail", data.DETAILS)
@pytest.mark.parametrize("name", ["wheel", "foliage"])
def test_a_variant_is_another_scene_of_the_same_kind(name, detail):
    camera = camera_ring(1, size=24)[0]
    plain, one, two = (render_truth(make_scene(name, detail, v), camera, supersample=4) for v in (None, 1, 2))
    assert min((plain - one).abs().mean(), (one - two).abs().mean()) > 0.01
    assert make_scene(name, detail, 1) is make_scene(name, detail, 1)
    pixels = torch.stack([plain, one, two])
    assert torch.isfinite(pixels).all()
    assert pixels.std((1, 2)).amin() > 0.05  # none is dull


def test_with_a_variant_the_cameras_are_other_ones_too():
    sizes = dict(n_train=4, n_test=2, n_points=20, test_sizes=(16,))
    plain, one, again = (make_dataset("wheel", "thin", 16, variant=v, **sizes) for v in (None, 1, 1))
    for part in ("train", "test"):
        cameras = [getattr(d, part)[16].cameras for d in (plain, one, again)]
        assert all((a.viewmat != b.viewmat).any() for a, b in zip(cameras[0], cameras[1], strict=True))
        assert all((a.viewmat == b.viewmat).all() for a, b in zip(cameras[1], cameras[2], strict=True))
    seen = {
        camera.viewmat.tobytes() for d in (plain, one) for views in (d.train, d.test) for camera in views[16].cameras
    }
    assert len(seen) == 12  # training and test share none


def test_the_close_ring_comes_close_and_the_test_cameras_stay():
    plain, close = (make_dataset("wheel", "thin", 16, 8, 2, n_close=n, n_points=1) for n in (0, 3))
    distance = [np.linalg.norm(c.position) for c in close.train[16].cameras]
    assert len(distance) == 8
    assert sum(d < 1.71 for d in distance) == 3
    assert sum(2.6 <= d <= 3.4 for d in distance) == 5
    for a, b in zip(plain.test[16].cameras, close.test[16].cameras):
        np.testing.assert_array_equal(a.viewmat, b.viewmat)
    # no test camera is a training camera
    eyes = np.stack([c.position for c in plain.train[16].cameras])
    for camera in plain.test[16].cameras:
        assert np.linalg.norm(eyes - camera.position, axis=1).min() > 0.02


def test_band_limit_keeps_what_the_training_size_can_show():
    scene, camera = make_scene("wheel", "thin"), camera_ring(1, size=128)[0]
    image = render_truth(scene, camera)[None]
    limited = data.band_limit(image, 32)
    assert limited.shape == image.shape
    assert 0 <= limited.min() < limited.max() <= 1
    assert (limited - image).abs().mean() > 0.02  # hard edges are gone
    low, again = data.box_mean(image, 4), data.box_mean(limited, 4)
    assert (low - again).square().mean() < 0.15 * (low - low.mean()).square().mean()  # coarse content stays
    smooth = render_truth(make_scene("wheel", "natural"), camera)[None]
    assert (data.band_limit(smooth, 32) - smooth).abs().mean() < 0.01  # already band-limited: hardly changes
    torch.testing.assert_close(data.band_limit(image, 128), image)
    with pytest.raises(ValueError, match="training size of 48"):
        data.band_limit(image, 48)


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_scene("wheels"), "unknown scene 'wheels'.*'wheel', 'foliage', 'text'"),
        (lambda: make_scene("wheel", "fine"), "unknown detail 'fine'.*'thin', 'natural'"),
        (lambda: make_dataset("tree"), "unknown scene 'tree'"),
        (lambda: make_dataset("wheel", size=0), "size must be at least 1, got 0"),
        (lambda: make_dataset("wheel", size=9.5), "size must be a whole number.*9.5"),
        (lambda: make_dataset("wheel", n_train=0), "n_train must be at least 1"),
        (lambda: make_dataset("wheel", n_train=3, n_close=4), "n_close is 4, but there are only 3"),
        (lambda: make_dataset("wheel", noise_std=-0.1), "noise_std must be finite and at least 0"),
        (lambda: make_dataset("wheel", noise_std=math.nan), "noise_std must be finite"),
        (lambda: make_dataset("wheel", fov_deg=180), "fov_deg must be between 0 and 180"),
        (lambda: make_dataset("wheel", test_sizes=(32, 0)), "test_sizes must be at least 1"),
        (lambda: look_at((0, 0, 3), fov_deg=0), "fov_deg must be between 0 and 180"),
        (lambda: look_at((0, 0, math.inf)), "eye must be three finite numbers"),
        (lambda: look_at((0, 0, 3), (0, 0, 3)), "eye and target are the same point"),
        (lambda: look_at((0, 3, 0), (0, 0, 0)), "lies along the line of sight"),
        (lambda: look_at((0, 0, 3), size=0), "size must be at least 1"),
        (lambda: camera_ring(-1), "n must be a whole number, at least 0"),
        (lambda: camera_ring(3, distance=(3, 2)), r"distance \(3, 2\)"),
        (lambda: camera_ring(3, tilt_deg=(0, 90)), "tilt within 0 to 90"),
        (lambda: camera_ring(1)[0].scaled(1 / 7), "whole pixels"),
        (lambda: camera_ring(1)[0].scaled(0), "finite and positive"),
        (lambda: camera_ring(1)[0].zoomed(math.nan), "finite and positive"),
        (lambda: Camera(np.eye(3), np.eye(3), 2, 2), r"viewmat: expected shape \(4, 4\), got \(3, 3\)"),
        (lambda: Camera(np.diag([2, 1, 1, 1]), np.eye(3), 2, 2), "not a rotation"),
        (lambda: Camera(np.diag([1, 1, -1, 1]), np.eye(3), 2, 2), "not a rotation"),
        (lambda: Camera(np.eye(4) * math.nan, np.eye(3), 2, 2), "finite"),
        (lambda: Camera(np.eye(4), np.diag([-1, 1, 1]), 2, 2), "focal lengths must be positive"),
        (lambda: Camera(np.eye(4), np.eye(3), 2, 0), "height must be at least 1"),
        (
            lambda: render_truth(make_scene("wheel"), look_at((0, 0, 3)), supersample=0),
            "supersample must be at least 1",
        ),
        (lambda: data.surface_points(make_scene("wheel"), -1, np.random.default_rng(0)), "n must be a whole number"),
        (lambda: data.cast(make_scene("wheel"), [[0, 0, 3]], [[0, 0]]), r"must both be \[N, 3\]"),
        (lambda: data.box_mean(torch.zeros(5, 5, 3), 2), "do not divide"),
        (lambda: make_scene("wheel", "thin", -1), "variant must be None or a whole number"),
        (lambda: make_scene("text", "thin", 1), "one eye chart only"),
        (lambda: data.make_capture(blur_px=-1), "blur_px must be finite and at least 0"),
        (lambda: data.make_capture(exposure_stops=math.nan), "exposure_stops must be finite"),
        (lambda: data.make_capture(jpeg=100), "quality from 1 to 95"),
    ],
)
def test_bad_input_says_what_was_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_points_from_a_camera_that_looks_away_are_refused():
    away = look_at((0, 0, 3), (0, 0, 9))
    with pytest.raises(ValueError, match="point them towards -z"):
        data.surface_points(make_scene("wheel"), 5, np.random.default_rng(0), cameras=[away])


def test_a_capture_is_photographs_as_a_camera_gives_them():
    views, points, colors = data.make_capture("wheel", 6, width=48, height=27, n_points=200, seed=3)
    again = data.make_capture("wheel", 6, width=48, height=27, n_points=200, seed=3)
    assert torch.equal(views.images, again[0].images)
    assert torch.equal(points, again[1])
    assert (views.images.dtype, tuple(views.images.shape)) == (torch.uint8, (6, 27, 48, 3))
    assert (tuple(points.shape), tuple(colors.shape)) == ((200, 3), (200, 3))
    truth = data.render_truth(data.make_scene("wheel", "thin"), views.cameras[0])
    off = views.image(0) - truth
    assert 0.005 < off.std().item() < 0.015  # noise of 0.01, and rounding
    directions = np.stack([camera.viewmat[2, :3] for camera in views.cameras])
    assert (directions @ directions.T).min() < 0.99  # they stand in different places
    _, z = views.cameras[0].project(points)
    assert (z > 0).all()
    other = data.make_capture("wheel", 6, width=48, height=27, n_points=200, seed=4)
    assert not torch.equal(views.images, other[0].images)
    with pytest.raises(ValueError, match="make_capture: n must be"):
        data.make_capture("wheel", 0)


def test_what_a_camera_does_to_a_capture():
    def photographs(**camera):
        return data.make_capture("wheel", 4, width=48, height=32, n_points=50, seed=3, **dict(noise_std=0) | camera)

    clean, points, _ = photographs()
    sharpness = [v.images.float().diff(dim=2).abs().mean() for v in (clean, photographs(blur_px=1.0)[0])]
    assert sharpness[1] < 0.7 * sharpness[0]
    stops = (
        photographs(exposure_stops=0.5)[0].images.float().mean((1, 2, 3)) / clean.images.float().mean((1, 2, 3))
    ).log2()
    assert 0.05 < stops.abs().max() <= 0.5
    assert stops.std() > 0.05  # each photograph has its own
    packed = photographs(jpeg=50)[0].images
    assert 0.5 < (packed.float() - clean.images.float()).abs().mean() < 20  # of 255
    for camera in (dict(blur_px=1.0), dict(jpeg=50), dict(exposure_stops=0.5)):
        views, same, _ = photographs(**camera)
        assert torch.equal(same, points)
        assert all((a.viewmat == b.viewmat).all() for a, b in zip(views.cameras, clean.cameras, strict=True))
