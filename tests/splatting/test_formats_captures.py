"""Captures in the formats of Blender, instant-ngp, nerfstudio and COLMAP: read, checked, straightened, refused."""

import io
import json
import math
import re
import shutil
import struct
import tracemalloc
import warnings
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image
from plyfile import PlyData, PlyElement

from bestpapers.splatting.coordinates import placed
from bestpapers.splatting.data import Camera, box_mean, camera_ring, cast, make_capture, make_scene, render_truth
from bestpapers.splatting.formats import (
    FormatError,
    read_blender,
    read_capture,
    read_colmap,
    read_transforms,
    write_blender,
    write_colmap,
    write_transforms,
)
from bestpapers.splatting.formats.capture import Lens

WIDTH, HEIGHT = 48, 36
NAMES = tuple(f"left-arm/photo-{i}.png" for i in (3, 1, 4, 0, 5, 2))


@pytest.fixture(scope="session")
def shots():
    """Six photographs with known cameras, and points."""
    return make_capture("foliage", 6, width=WIDTH, height=HEIGHT, n_points=200)


@pytest.fixture
def colmap(tmp_path, shots):
    """The six as a COLMAP capture in text, in an order that is not that of their names."""
    views, points, colors = shots
    write_colmap(tmp_path, views.cameras, NAMES, points, colors, views.images, binary=False)
    return tmp_path


@pytest.fixture
def transforms(tmp_path, shots):
    views = shots[0]
    write_transforms(tmp_path, views.cameras, views.images)
    return tmp_path / "transforms.json"


def save_png(path, pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def assert_same_camera(a: Camera, b: Camera, atol: float = 1e-9) -> None:
    assert (a.width, a.height) == (b.width, b.height)
    np.testing.assert_allclose(a.viewmat, b.viewmat, rtol=0, atol=atol)
    np.testing.assert_allclose(a.K, b.K, rtol=0, atol=atol)


def refused(reader, *args) -> FormatError:
    with pytest.raises(FormatError) as caught:
        reader(*args)
    error = caught.value
    assert str(error).startswith(f"{error.path}: {error.field}: expected {error.expected}, found {error.found}")
    return error


def assert_says(error: FormatError, file: str, field: str, expected: str, found: str) -> None:
    assert error.path.name == file, str(error)
    assert error.field == field, str(error)
    assert expected in error.expected, str(error)
    assert found in error.found, str(error)


# --------------------------------------------------------------------------------------------------------------- COLMAP


@pytest.mark.parametrize("binary", [True, False])
def test_colmap_round_trip(tmp_path, shots, binary):
    views, points, colors = shots
    write_colmap(tmp_path, views.cameras, NAMES, points, colors, views.images, binary=binary)
    capture = read_colmap(tmp_path)
    order = sorted(range(6), key=lambda i: NAMES[i])
    assert capture.names == tuple(NAMES[i] for i in order)
    assert capture.lenses == (None,) * 6
    for got, i in zip(capture.cameras, order):
        assert_same_camera(got, views.cameras[i])
    assert torch.equal(capture.points, points)
    torch.testing.assert_close(capture.colors, colors.clamp(0, 1), rtol=0, atol=0.5 / 255 + 1e-6)
    loaded = capture.views()
    assert loaded.images.dtype == torch.uint8
    assert torch.equal(loaded.images, views.images[order])
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("binary", [True, False])
def test_pycolmap_reads_what_we_write(tmp_path, shots, binary):
    views, points, colors = shots
    cameras = [views.cameras[0], *[c.at(width=24) for c in views.cameras[1:]]]
    write_colmap(tmp_path, cameras, NAMES, points, colors, binary=binary)
    model = pycolmap.Reconstruction(tmp_path / "sparse/0")
    assert (model.num_images(), model.num_cameras(), model.num_points3D()) == (6, 2, 200)
    by_name = {image.name: image for image in model.images.values()}
    assert set(by_name) == set(NAMES)
    for name, camera in zip(NAMES, cameras):
        image = by_name[name]
        np.testing.assert_allclose(image.cam_from_world().matrix(), camera.viewmat[:3], atol=1e-12)
        np.testing.assert_allclose(image.camera.calibration_matrix(), camera.K, atol=1e-12)
        assert (image.camera.width, image.camera.height) == (camera.width, camera.height)
    xyz = np.stack([model.points3D[i].xyz for i in sorted(model.points3D)])
    rgb = np.stack([model.points3D[i].color for i in sorted(model.points3D)])
    np.testing.assert_array_equal(xyz.astype(np.float32), points.numpy())
    np.testing.assert_array_equal(rgb, (colors.clamp(0, 1) * 255).round().numpy())


def test_names_with_spaces(tmp_path, shots):
    """COLMAP itself writes them in text too, though it cannot read them back there; we can."""
    views, points, colors = shots
    write_colmap(tmp_path, views.cameras[:1], ["a b/c d.png"], points, colors, views.images[:1])
    model = pycolmap.Reconstruction(tmp_path / "sparse/0")
    assert [image.name for image in model.images.values()] == ["a b/c d.png"]
    model.write_text(tmp_path / "sparse/0")
    for path in tmp_path.glob("sparse/0/*.bin"):
        path.unlink()
    assert read_colmap(tmp_path).names == ("a b/c d.png",)


PARAMETERS = {  # for 640 x 480 pixels
    "SIMPLE_PINHOLE": [500, 310, 250],
    "PINHOLE": [500, 520, 310, 250],
    "SIMPLE_RADIAL": [500, 310, 250, -0.15],
    "RADIAL": [500, 310, 250, 0.1, -0.05],
    "OPENCV": [500, 520, 310, 250, -0.2, 0.05, 0.003, -0.002],
    "FULL_OPENCV": [500, 520, 310, 250, 0.3, 0.02, 0.001, 0.002, 0.01, 0.25, 0.03, 0.005],
}


def pycolmap_model(camera: pycolmap.Camera) -> pycolmap.Reconstruction:
    """Two images of one camera, and three points with tracks."""
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(camera)
    rng = np.random.default_rng(0)
    for i in (1, 2):
        quaternion = np.array([0.1 * i, 0.2, -0.1, 0.97])  # x y z w
        rotation = pycolmap.Rotation3d(quaternion / np.linalg.norm(quaternion))
        pose = pycolmap.Rigid3d(rotation, np.array([0.1 * i, 0, 3]))
        points = [pycolmap.Point2D(rng.uniform(0, 400, 2)) for _ in range(3)]
        image = pycolmap.Image(name=f"a b/{i}.png", camera_id=camera.camera_id, image_id=i, points2D=points)
        model.add_image_with_trivial_frame(image, pose)
    for k in range(3):
        track = pycolmap.Track()
        track.add_element(1, k)
        track.add_element(2, k)
        model.add_point3D(rng.uniform(-0.5, 0.5, 3), track, np.array([10 * k, 20, 255], np.uint8))
    return model


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("name", PARAMETERS)
def test_we_read_what_pycolmap_writes(tmp_path, name, text):
    camera = pycolmap.Camera(model=name, width=640, height=480, params=PARAMETERS[name], camera_id=7)
    model = pycolmap_model(camera)
    (tmp_path / "sparse").mkdir()
    (model.write_text if text else model.write_binary)(tmp_path / "sparse")
    for i in (1, 2):
        save_png(tmp_path / f"images/a b/{i}.png", np.full((480, 640, 3), 9 * i))
    capture = read_colmap(tmp_path)
    assert capture.names == ("a b/1.png", "a b/2.png")
    for i in (1, 2):
        viewmat = model.images[i].cam_from_world().matrix()
        np.testing.assert_allclose(capture.cameras[i - 1].viewmat[:3], viewmat, atol=1e-12)
    xyz = np.stack([model.points3D[i].xyz for i in (1, 2, 3)])
    np.testing.assert_allclose(capture.points, xyz, atol=1e-6)
    assert (capture.colors * 255).round().tolist() == [[0, 20, 255], [10, 20, 255], [20, 20, 255]]
    lens = capture.lenses[0]
    if name.endswith("PINHOLE"):
        assert lens is None
        np.testing.assert_allclose(capture.cameras[0].K, camera.calibration_matrix(), atol=1e-12)
        return
    assert lens is capture.lenses[1]
    grid = np.stack(np.meshgrid(np.linspace(-0.6, 0.6, 9), np.linspace(-0.4, 0.4, 7)), -1).reshape(-1, 2)
    expected = camera.img_from_cam(np.column_stack([grid, np.ones(len(grid))]))
    np.testing.assert_allclose(lens.project(grid), expected, atol=1e-9)


@pytest.mark.parametrize("name", ["OPENCV_FISHEYE", "FOV", "RAD_TAN_THIN_PRISM_FISHEYE", "EUCM"])
@pytest.mark.parametrize("text", [True, False])
def test_other_camera_models_are_refused(tmp_path, name, text):
    camera = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId.__members__[name], 500.0, 640, 480)
    (pycolmap_model(camera).write_text if text else pycolmap_model(camera).write_binary)(tmp_path)
    error = refused(read_colmap, tmp_path)
    field = "line 4: model" if text else "camera 1: model"
    assert_says(error, f"cameras.{'txt' if text else 'bin'}", field, "SIMPLE_PINHOLE, PINHOLE", name)
    assert "image_undistorter" in str(error)


def test_shrunk_photographs(colmap, shots):
    """images_2 beside images, sides rounded: the camera follows the files."""
    views = shots[0]
    for name, image in zip(NAMES, views.images):
        save_png(colmap / "images_2" / name, image[::2, ::2])
        save_png(colmap / "images_5" / name, image[::5, ::5][:7])  # 36 / 5 = 7.2 and 48 / 5 = 9.6
    half, fifth = read_colmap(colmap, "images_2"), read_capture(colmap, images="images_5", test_every=0)[0]
    first = views.cameras[NAMES.index(half.names[0])]
    assert_same_camera(half.cameras[0], first.at(width=WIDTH // 2))
    assert (fifth.cameras[0].width, fifth.cameras[0].height) == (10, 7)
    np.testing.assert_allclose(fifth.cameras[0].K, np.diag((10 / WIDTH, 7 / HEIGHT, 1)) @ first.K)
    for wrong in ((30, WIDTH, 3), (HEIGHT - 1, WIDTH, 3), (WIDTH, HEIGHT, 3), (2 * HEIGHT, 2 * WIDTH - 3, 3)):
        save_png(colmap / "images" / NAMES[2], np.zeros(wrong))
        error = refused(read_colmap, colmap)
        field = "image 'left-arm/photo-4.png': size of the image"
        assert_says(error, "images.txt", field, f"{WIDTH} x {HEIGHT} pixels", f"{wrong[1]} x {wrong[0]}")
        assert ("EXIF" in str(error)) == (wrong[:2] == (WIDTH, HEIGHT))


@pytest.mark.parametrize("size", [(39, 29), (96, 72), (34, 26)])
def test_photographs_of_another_size_are_taken_with_a_word(colmap, shots, size):
    """81 %, twice as large, 71 %, each side rounded: the cameras follow."""
    for name, image in zip(NAMES, shots[0].images):
        save_png(colmap / "images" / name, cv2.resize(image.numpy(), size))
    with pytest.warns(UserWarning, match=f"photographs of {size[0]} x {size[1]} pixels for cameras of 48 x 36") as said:
        capture = read_colmap(colmap)
    assert len({str(warning.message) for warning in said}) == 1
    first = shots[0].cameras[NAMES.index(capture.names[0])]
    np.testing.assert_allclose(capture.cameras[0].K, np.diag((size[0] / WIDTH, size[1] / HEIGHT, 1)) @ first.K)
    assert capture.views().images.shape == (6, size[1], size[0], 3)


def test_principal_point_is_honoured(tmp_path, shots):
    camera = shots[0].cameras[0]
    shifted = replace(camera, K=np.add(camera.K, [[0, 0, 5], [0, 0, -3], [0, 0, 0]]))
    write_colmap(tmp_path, [shifted], ["a.png"], *shots[1:], shots[0].images[:1])
    assert_same_camera(read_colmap(tmp_path).cameras[0], shifted)


# --------------------------------------------------------------------------------------------------------- straightening

OPENCV = pycolmap.Camera(model="OPENCV", width=96, height=72, params=[80, 82, 47, 37, -0.25, 0.06, 0.004, -0.003])
PINCUSHION = pycolmap.Camera(model="RADIAL", width=96, height=72, params=[80, 49, 35, 0.2, 0.05])


def bent_capture(folder, lens: pycolmap.Camera, pixels: np.ndarray):
    """A capture of one image taken with `lens`, as COLMAP describes it."""
    viewmat = camera_ring(1)[0].viewmat
    model = pycolmap.Reconstruction()
    lens = pycolmap.Camera(model=lens.model.name, width=96, height=72, params=lens.params, camera_id=1)
    model.add_camera_with_trivial_rig(lens)
    model.add_image_with_trivial_frame(
        pycolmap.Image(name="a.png", camera_id=1, image_id=1), pycolmap.Rigid3d(viewmat[:3])
    )
    model.write_binary(folder)
    save_png(folder / "images/a.png", pixels)
    return read_colmap(folder)


@pytest.mark.parametrize("lens", [OPENCV, PINCUSHION], ids=["barrel", "pincushion"])
def test_straightening_agrees_with_opencv(tmp_path, lens):
    # smooth, since cv2.undistort rounds positions to 1/32 pixel
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (72, 96, 3)).astype(np.uint8), (0, 0), 3)
    capture = bent_capture(tmp_path, lens, pixels)
    half = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    coefficients = np.array([*lens.params[4:], 0]) if lens is OPENCV else np.array([*lens.params[3:], 0, 0, 0])
    expected = cv2.undistort(pixels, lens.calibration_matrix() - half, coefficients, None, capture.cameras[0].K - half)
    got = capture.views().images[0].numpy()
    assert np.ptp(got) > 50
    assert np.abs(got.astype(int) - expected.astype(int))[1:-1, 1:-1].max() <= 1  # borders: black there, repeated here


@pytest.mark.parametrize("lens", [OPENCV, PINCUSHION], ids=["barrel", "pincushion"])
def test_straight_photograph_shows_the_true_scene(tmp_path, lens):
    """A photograph ray-cast through a bent lens, straightened, is what a pinhole camera sees; as bent, it is not."""
    scene, side = make_scene("wheel", "thin"), 4
    u, v = ((np.arange(n * side) + 0.5) / side for n in (96, 72))
    rays = lens.cam_from_img(np.stack(np.meshgrid(u, v), -1).reshape(-1, 2))
    pose = camera_ring(1)[0]
    directions = np.column_stack([rays, np.ones(len(rays))]) @ pose.viewmat[:3, :3]
    colours = cast(scene, np.tile(pose.position, (len(rays), 1)), directions)[1].reshape(72 * side, 96 * side, 3)
    bent = box_mean(torch.from_numpy(colours), side)
    capture = bent_capture(tmp_path, lens, (bent * 255).round())
    views = capture.views(4)  # small: there the blur of moving pixels by fractions hardly counts
    truth = render_truth(scene, views.cameras[0])
    error = (views.images[0] / 255 - truth).square().mean()
    assert error < 2e-4
    assert error < (box_mean(bent, 4) - truth).square().mean() / 5


@pytest.mark.parametrize("lens", [OPENCV, PINCUSHION], ids=["barrel", "pincushion"])
def test_straight_photograph_is_full_and_as_wide_as_can_be(tmp_path, lens):
    capture = bent_capture(tmp_path, lens, np.full((72, 96, 3), 200))
    K = capture.cameras[0].K
    u, v = np.meshgrid(np.arange(96) + 0.5, np.arange(72) + 0.5)

    def where(zoom: float) -> np.ndarray:
        rays = np.stack([(u - K[0, 2]) / (zoom * K[0, 0]), (v - K[1, 2]) / (zoom * K[1, 1]), np.ones_like(u)], -1)
        return lens.img_from_cam(rays.reshape(-1, 3)) / (96, 72)

    def held(xy: np.ndarray) -> bool:
        margin = np.array([0.5 / 96, 0.5 / 72]) - 1e-4
        return bool(((xy > margin) & (xy < 1 - margin)).all())

    assert held(where(1.0))
    assert not held(where(0.99))
    np.testing.assert_allclose(K[:2, 2], lens.calibration_matrix()[:2, 2])


def test_lens_that_folds_the_image_is_refused(tmp_path):
    folding = pycolmap.Camera(model="SIMPLE_RADIAL", width=96, height=72, params=[5, 48, 36, -9.0])
    error = refused(bent_capture, tmp_path, folding, np.zeros((72, 96, 3)))
    assert_says(error, "images.bin", "image 'a.png': distortion", "straightens within the image", "-9.0")
    assert not Lens(np.diag((50.0, 50.0, 1.0)), (float("nan"), *[0.0] * 7)).shows(np.diag((50.0, 50.0, 1.0)), 96, 72)


# --------------------------------------------------------------------------------------------------------------- images


def one_image(folder, pixels, **frame) -> None:
    """A transforms.json with one frame."""
    save_png(folder / "a.png", pixels)
    frame = dict(file_path="a.png", transform_matrix=np.eye(4).tolist(), fl_x=40) | frame
    (folder / "transforms.json").write_text(json.dumps(dict(frames=[frame])))


def test_transparent_edges_are_weighted_with_opacity(tmp_path):
    """One opaque red pixel and three transparent green ones make a quarter of red over white, with no green."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :2] = (0, 255, 0, 0)
    pixels[0, 0] = (255, 0, 0, 255)
    pixels[2:, 2:] = (0, 0, 200, 128)
    one_image(tmp_path, pixels)
    capture = read_transforms(tmp_path / "transforms.json")
    white, black = capture.views(2).images[0], capture.views(2, (0, 0, 0)).images[0]
    assert white[0, 0].tolist() == [255, 191, 191]
    assert black[0, 0].tolist() == [64, 0, 0]
    assert black[1, 1].tolist() == [0, 0, 100]
    assert white[1, 1].tolist() == [127, 127, 227]
    assert capture.views(1, (0, 0.5, 1)).images[0][0, 1].tolist() == [0, 128, 255]


def test_shrinking_is_the_mean_of_the_area(colmap, shots):
    views = shots[0]
    capture = read_colmap(colmap)
    order = [NAMES.index(name) for name in capture.names]
    small = capture.views(4)
    expected = box_mean(views.images[order].float(), 4)
    assert (small.images.float() - expected).abs().max() <= 0.5 + 1e-3
    assert_same_camera(small.cameras[0], views.cameras[order[0]].at(width=WIDTH // 4))
    uneven = capture.views(5)  # 48 x 36 -> 10 x 8, each pixel the mean of 4.8 x 4.5
    assert uneven.images.shape == (6, 8, 10, 3)
    rows, columns = area_weights(36, 8), area_weights(48, 10)
    expected = np.einsum("ah,vhwc,bw->vabc", rows, views.images[order].double().numpy(), columns)
    assert np.abs(uneven.images.numpy() - expected).max() <= 0.5 + 1e-3


def area_weights(n: int, m: int) -> np.ndarray:
    """[m, n]: the share of each of n pixels in each of m."""
    left, right = np.arange(m)[:, None] * n / m, (np.arange(m)[:, None] + 1) * n / m
    return np.clip(np.minimum(right, np.arange(n) + 1) - np.maximum(left, np.arange(n)), 0, None) * m / n


def test_images_of_several_sizes_and_kinds(tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for i, mode in enumerate(("RGB", "L", "P", "1", "LA", "CMYK")):
        size = (20 + i, 16)
        kind = "jpg" if mode == "CMYK" else "png"
        Image.fromarray(rng.integers(0, 255, (16, 20 + i, 3)).astype(np.uint8)).convert(mode).save(
            tmp_path / f"{i}.{kind}"
        )
        pose = np.eye(4)
        pose[0, 3] = i
        frames.append(dict(file_path=f"{i}.{kind}", transform_matrix=pose.tolist(), fl_x=30))
        assert Image.open(tmp_path / f"{i}.{kind}").size == size
    (tmp_path / "transforms.json").write_text(json.dumps(dict(frames=frames)))
    views = read_transforms(tmp_path / "transforms.json").views()
    assert isinstance(views.images, tuple)
    for i, image in enumerate(views.images):
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (16, 20 + i, 3))
        assert image.shape[1] == views.cameras[i].width
    grey = np.array(Image.open(tmp_path / "1.png"))
    np.testing.assert_array_equal(views.images[1].numpy(), np.repeat(grey[..., None], 3, axis=2))


def test_subset(colmap):
    capture = read_colmap(colmap)
    part = capture.subset([4, 1])
    assert part.names == (capture.names[4], capture.names[1])
    assert part.points is capture.points
    assert torch.equal(part.views().images, capture.views().images[[4, 1]])
    nothing = capture.subset([])
    assert (len(nothing), len(nothing.views()), tuple(nothing.views().images.shape)) == (0, 0, (0, 0, 0, 3))


def test_damaged_images_are_refused(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3))
    one_image(tmp_path, pixels)
    path, listed = tmp_path / "a.png", tmp_path / "transforms.json"
    whole = path.read_bytes()
    capture = read_transforms(listed)
    path.write_bytes(whole[: len(whole) // 2])
    assert_says(refused(capture.views), "a.png", "image", "a whole image (PNG", "truncated")
    save_png(path, pixels[:16])
    assert_says(refused(capture.views), "a.png", "size", "32 x 32 pixels", "32 x 16")
    path.write_bytes(b"GIF89a" + bytes(40))
    assert_says(refused(read_transforms, listed), "a.png", "image", "a whole image (PNG", "something else")
    path.write_bytes(whole[:20])
    assert_says(refused(read_transforms, listed), "a.png", "image", "a whole image", "")
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(path)
    assert_says(refused(read_transforms, listed), "a.png", "image", "8 bits per channel", "I;16")


@pytest.mark.parametrize(("width", "height"), [(40_000, 10), (30_000, 30_000)])
def test_decompression_bombs_are_refused_unopened(tmp_path, width, height):
    """A PNG of a hundred bytes whose header promises gigapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    one_image(tmp_path, np.zeros((8, 8, 3)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        error = refused(read_transforms, tmp_path / "transforms.json")
    assert error.path.name == "a.png"
    assert re.search("32766 pixels a side|89,478,485 pixels", str(error))


def test_a_chunk_that_claims_gigabytes_takes_no_memory(tmp_path):
    one_image(tmp_path, np.zeros((8, 8, 3)))
    path, capture = tmp_path / "a.png", read_transforms(tmp_path / "transforms.json")
    data = path.read_bytes()
    at = data.index(b"IDAT") - 4
    path.write_bytes(data[:at] + struct.pack(">I", 1_500_000_000) + data[at + 4 :])
    tracemalloc.start()
    try:
        capture.views()  # the pixels are whole, so Pillow accepts them
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("downscale", [0, -2, 1.5, True])
def test_downscale_and_background_are_checked(colmap, downscale):
    capture = read_colmap(colmap)
    with pytest.raises(ValueError, match="downscale must be a whole number, at least 1"):
        capture.views(downscale)
    with pytest.raises(ValueError, match=r"background must be three numbers in \[0, 1\]"):
        capture.views(1, (0, 0, 255))


# -------------------------------------------------------------------------------------------- Blender, transforms.json


def test_blender_file_by_hand(tmp_path):
    """A camera at z = 4 that looks along -z, y up, as Blender has it: where points of the world must appear."""
    pose = np.eye(4)
    pose[2, 3] = 4
    frame = dict(file_path="./train/r_0", rotation=0.1, transform_matrix=pose.tolist())
    meta = dict(camera_angle_x=2 * math.atan(0.5), frames=[frame])  # f = width
    (tmp_path / "transforms_train.json").write_text(json.dumps(meta))
    save_png(tmp_path / "train/r_0.png", np.zeros((80, 100, 4)))
    train, test = read_blender(tmp_path)
    assert (len(train), len(test), train.names) == (1, 0, ("train/r_0.png",))
    uv, z = train.cameras[0].project([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2]])
    np.testing.assert_allclose(uv, [[50, 40], [75, 40], [50, 15], [50, 40]], atol=1e-9)  # right is right, up is up
    np.testing.assert_allclose(z, [4, 4, 4, 2])
    assert train.views().images.float().mean() == 255  # transparent over white


@pytest.mark.parametrize("write", ["blender", "transforms"])
def test_reread_cameras_see_the_reread_images(tmp_path, write):
    """Truth rendered from what was read is, to the rounding of a byte, what was read."""
    scene = make_scene("wheel", "natural")
    cameras = camera_ring(3, size=32)
    if write == "transforms":  # one of its own size and centre
        K = cameras[2].K @ np.diag((1.2, 0.9, 1)) + [[0, 0, 2.5], [0, 0, -1], [0, 0, 0]]
        cameras = (*cameras[:2], Camera(cameras[2].viewmat, K, 40, 24))
    images = [render_truth(scene, camera) for camera in cameras]
    if write == "blender":
        write_blender(tmp_path, "train", cameras, images)
        write_blender(tmp_path, "val", cameras[1:], images[1:])
        capture, val = read_capture(tmp_path)
        assert val.names == ("val/r_0.png", "val/r_1.png")
        write_blender(tmp_path, "test", cameras[:1], images[:1])
        assert read_blender(tmp_path)[1].names == ("test/r_0.png",)
    else:
        write_transforms(tmp_path, cameras, images)
        capture, _ = read_capture(tmp_path, test_every=0)
    views = capture.views()
    for i, camera in enumerate(cameras):
        assert_same_camera(views.cameras[i], camera)
        truth = render_truth(scene, views.cameras[i])
        assert (views.images[i] / 255 - truth).abs().max() <= 0.5 / 255 + 1e-4


def test_shared_and_own_intrinsics(tmp_path, transforms):
    """What a frame says goes before what the file says for all; points of ply_file_path come along."""
    meta = json.loads(transforms.read_text())
    for frame in meta["frames"][1:]:
        for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
            del frame[key]
    meta |= dict(fl_x=60.0, fl_y=61, cx=20, w=float(WIDTH), h=HEIGHT, camera_model="OPENCV", aabb_scale=16)
    meta |= dict(k1=0.01, p2=-0.002, k4=0, applied_transform=[[1, 0, 0, 0]] * 3, ply_file_path="sparse_pc.ply")
    meta["frames"][2]["k1"] = meta["frames"][2]["p2"] = 0
    rng = np.random.default_rng(0)
    vertex = np.empty(50, dtype=[*((k, "f4") for k in "xyz"), *((k, "u1") for k in ("red", "green", "blue"))])
    for k in vertex.dtype.names:
        vertex[k] = rng.integers(0, 255, 50) / (1 if k[1:] else 500)
    PlyData([PlyElement.describe(vertex, "vertex")]).write(tmp_path / "sparse_pc.ply")
    transforms.write_text(json.dumps(meta))
    capture = read_transforms(transforms)
    own, shared, straight = (capture.lenses[0], capture.lenses[1], capture.lenses[2])
    assert own.K[0, 0] != 60
    np.testing.assert_allclose(shared.K, [[60, 0, 20], [0, 61, HEIGHT / 2], [0, 0, 1]])
    assert shared.coefficients == (0.01, 0, 0, -0.002, 0, 0, 0, 0)
    assert straight is None
    np.testing.assert_array_equal(capture.points[:, 1], vertex["y"])
    np.testing.assert_allclose(capture.colors[:, 2], vertex["blue"] / 255, atol=1e-7)


def test_angles_of_view(tmp_path):
    one_image(tmp_path, np.zeros((30, 40, 3)), fl_x=None, camera_angle_x=2 * math.atan(0.5))
    assert np.diag(read_transforms(tmp_path / "transforms.json").cameras[0].K).tolist() == pytest.approx([40, 40, 1])
    one_image(
        tmp_path, np.zeros((30, 40, 3)), fl_x=None, camera_angle_x=2 * math.atan(0.5), camera_angle_y=2 * math.atan(1)
    )
    assert np.diag(read_transforms(tmp_path / "transforms.json").cameras[0].K).tolist() == pytest.approx([40, 15, 1])


def test_points_without_colour_are_grey(tmp_path):
    one_image(tmp_path, np.zeros((30, 40, 3)))
    meta = json.loads((tmp_path / "transforms.json").read_text()) | dict(ply_file_path="p.ply")
    (tmp_path / "transforms.json").write_text(json.dumps(meta))
    (tmp_path / "p.ply").write_bytes(
        b"ply\nformat ascii 1.0\nelement vertex 2\n" + b"".join(b"property double %c\n" % c for c in b"xyz")
        + b"end_header\n0 0 -3\n0.1 0 -4\n"
    )  # fmt: skip
    capture = read_transforms(tmp_path / "transforms.json")
    assert capture.points.tolist() == pytest.approx(np.array([[0, 0, -3], [0.1, 0, -4]]))
    assert capture.colors.tolist() == [[0.5] * 3] * 2
    lines = (tmp_path / "p.ply").read_text()
    lines = lines.replace(
        "end_header", "".join(f"property float {c}\n" for c in ("red", "green", "blue")) + "end_header"
    )
    (tmp_path / "p.ply").write_text(lines.replace("0 0 -3", "0 0 -3 0 1 0").replace("0.1 0 -4", "0.1 0 -4 0 99 0"))
    error = refused(read_transforms, tmp_path / "transforms.json")
    assert_says(error, "p.ply", "vertex 1, red green blue", "0 to 1 as float", "[0.0, 99.0, 0.0]")


def test_small_rounding_of_a_rotation_is_mended(tmp_path):
    pose = np.round(np.linalg.inv(camera_ring(1)[0].viewmat), 4)
    pose[:3, 1:3] *= -1
    one_image(tmp_path, np.zeros((30, 40, 3)), transform_matrix=pose.tolist())
    R = read_transforms(tmp_path / "transforms.json").cameras[0].viewmat[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(R, camera_ring(1)[0].viewmat[:3, :3], atol=1e-4)


# ------------------------------------------------------------------------------------------------------------ detection


def test_which_format_and_which_views(tmp_path, shots):
    views, points, colors = shots
    error = refused(read_capture, tmp_path)
    assert_says(error, tmp_path.name, "format", "transforms_train.json (Blender), transforms.json", "an empty folder")
    assert "sparse/0" in error.expected
    assert refused(read_capture, tmp_path / "no").found == "no such folder"
    for i in range(10):
        (tmp_path / f"{i}.txt").touch()
    assert "0.txt, 1.txt" in refused(read_capture, tmp_path).found
    assert "and 2 more" in refused(read_capture, tmp_path).found

    write_colmap(tmp_path, views.cameras, NAMES, points, colors, views.images)
    train, test = read_capture(tmp_path, test_every=3)
    assert test.names == ("left-arm/photo-0.png", "left-arm/photo-3.png")
    assert train.names == tuple(f"left-arm/photo-{i}.png" for i in (1, 2, 4, 5))
    assert train.points is test.points
    assert len(read_capture(tmp_path)[1]) == 1
    assert [len(c) for c in read_capture(tmp_path, test_every=0)] == [6, 0]
    with pytest.raises(ValueError, match="test_every must be 0"):
        read_capture(tmp_path, test_every=1)

    write_transforms(tmp_path, views.cameras, views.images)
    assert read_capture(tmp_path)[0].names[0] == "images/00001.png"
    write_blender(tmp_path, "train", camera_ring(3, size=8), torch.rand(3, 8, 8, 4))
    train, test = read_capture(tmp_path)
    assert (train.names[0], len(train), len(test)) == ("train/r_0.png", 3, 0)


def test_two_photographs_are_both_learned_from(tmp_path, shots):
    views, points, colors = shots
    write_colmap(tmp_path, views.cameras[:2], NAMES[:2], points, colors, views.images[:2])
    with pytest.warns(UserWarning, match="two photographs only; none is held out"):
        train, test = read_capture(tmp_path)
    assert (len(train), len(test)) == (2, 0)


@pytest.mark.parametrize("text", [True, False])
def test_a_model_without_images_is_passed_over(tmp_path, shots, text):
    views, points, colors = shots
    write_colmap(tmp_path, views.cameras, NAMES, points, colors, views.images, binary=not text)
    shutil.copytree(tmp_path / "sparse/0", tmp_path / "sparse/1")
    (tmp_path / ("sparse/0/images.txt" if text else "sparse/0/images.bin")).write_bytes(
        b"# none\n" if text else bytes(8)
    )
    with pytest.warns(UserWarning, match=r"read is 1 with 6 images \(beside it: 0 with 0\)"):
        assert len(read_colmap(tmp_path)) == 6


@pytest.mark.parametrize("text", [True, False])
def test_of_several_models_the_largest_is_read(tmp_path, shots, text):
    """COLMAP leaves sparse/0, sparse/1, ... where it cannot join all images; sometimes sparse/0 is not there at all."""
    views, points, colors = shots
    for i, n in ((0, 2), (10, 4), (2, 3)):
        write_colmap(tmp_path, views.cameras[:n], NAMES[:n], points, colors, views.images[:n], binary=not text)
        (tmp_path / "sparse/0").rename(tmp_path / f"sparse/m{i}")
    for part in (tmp_path / "sparse").iterdir():
        part.rename(part.with_name(part.name[1:]))
    with pytest.warns(UserWarning, match=r"read is 10 with 4 images \(beside it: 0 with 2, 2 with 3\)"):
        assert len(read_capture(tmp_path, test_every=0)[0]) == 4
    for i in ("0", "10"):
        (tmp_path / "sparse" / i).rename(tmp_path / f"no{i}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_colmap(tmp_path)) == 3


def test_a_transforms_file_may_be_named_itself(transforms):
    transforms.rename(transforms.with_name("mine.json"))
    train, _ = read_capture(transforms.with_name("mine.json"), test_every=0)
    write_blender(transforms.parent, "train", camera_ring(3, size=8), torch.rand(3, 8, 8, 4))
    assert len(read_capture(transforms.with_name("mine.json"), test_every=0)[0]) == len(train) == 6
    assert len(read_capture(transforms.with_name("transforms_train.json"))[0]) == 3


def test_a_single_image_is_not_held_out(tmp_path):
    one_image(tmp_path, np.zeros((30, 40, 3)))
    with pytest.warns(UserWarning, match="one photograph only; none is held out"):
        assert [len(c) for c in read_capture(tmp_path)] == [1, 0]
    assert len(read_capture(tmp_path, test_every=0)[0]) == 1


def test_single_list_is_split_by_name_in_its_own_order(transforms):
    meta = json.loads(transforms.read_text())
    meta["frames"] = [meta["frames"][i] for i in (5, 3, 0, 1, 4, 2)]
    transforms.write_text(json.dumps(meta))
    train, test = read_capture(transforms.parent, test_every=3)
    assert [name[-5] for name in test.names] == ["3", "0"]
    assert [name[-5] for name in train.names] == ["5", "1", "4", "2"]


def relist(path, **change) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("lists", "train", "test"),
    [
        (dict(train=(0, 1), val=(2, 3), test=(4, 5)), "01", "45"),  # what is for validation is learned from no more
        (dict(train=(0, 1, 2), val=(3, 4)), "012", "34"),
        (dict(test=(5,)), "01234", "5"),
        (dict(train=(3, 1)), "13", ""),
    ],
)
def test_nerfstudios_lists_decide_the_split(transforms, lists, train, test):
    names = [frame["file_path"] for frame in json.loads(transforms.read_text())["frames"]]
    relist(transforms, **{f"{part}_filenames": ["./" + names[i] for i in of] for part, of in lists.items()})
    (transforms.parent / names[0]).rename(transforms.parent / "images/kept.png")  # one is missing, and stays named
    with pytest.warns(
        UserWarning, match=f"learn from .{len(train.replace('0', ''))}. and which to test with .{len(test)}."
    ):
        found = read_capture(transforms.parent)
    assert ["".join(name[-5] for name in part.names) for part in found] == [train.replace("0", ""), test]


@pytest.mark.parametrize("absolute", [True, False])
def test_lists_name_frames_as_programs_do(transforms, absolute):
    """What is for validation is often for testing too; a list may be null; names may be absolute, or lack their ending."""
    names = [frame["file_path"] for frame in json.loads(transforms.read_text())["frames"]]
    written = [str(transforms.parent / name) if absolute else name.removesuffix(".png") for name in names]
    relist(transforms, train_filenames=written[:4], val_filenames=written[3:], test_filenames=written[4:])
    assert_says(refused(read_capture, transforms), "transforms.json", "val_filenames[0]", "of no other list", "00003")
    relist(transforms, val_filenames=written[4:])
    train, test = read_capture(transforms)
    assert (list(train.names), list(test.names)) == (names[:4], names[4:])
    relist(transforms, train_filenames=None, val_filenames=None, test_filenames=None)
    assert [len(c) for c in read_capture(transforms, test_every=0)] == [6, 0]
    frames = json.loads(transforms.read_text())["frames"]
    frames[1]["file_path"] = "images/00000.jpg"
    relist(transforms, frames=frames, test_filenames=["images/00000"])  # two frames lack nothing else
    save_png(transforms.parent / "images/00000.jpg", np.zeros((HEIGHT, WIDTH, 3)))
    assert_says(refused(read_capture, transforms), "transforms.json", "test_filenames[0]", "of a frame", "images/00000")


def test_photographs_of_a_transforms_file_that_lie_elsewhere(transforms, tmp_path):
    """By the whole path, or without the folders that it begins with, in the capture or outside."""
    (tmp_path / "images").rename(tmp_path / "photos")
    assert len(read_capture(transforms, images="photos", test_every=0)[0]) == 6
    (tmp_path / "whole").mkdir()
    (tmp_path / "photos").rename(tmp_path / "whole/images")
    train, _ = read_capture(transforms, images=tmp_path / "whole", test_every=0)
    assert train.names[0] == "images/00000.png"
    assert_says(
        refused(lambda: read_capture(transforms, images="none")),
        tmp_path.name,
        "none",
        "a folder with the photo",
        "none",
    )
    write_blender(tmp_path, "train", camera_ring(3, size=8), torch.rand(3, 8, 8, 4))
    error = refused(lambda: read_capture(tmp_path, images="whole"))
    assert_says(error, "transforms_train.json", "images", "where its frames name them", "whole")


@pytest.mark.parametrize("left", [1, 0])
def test_photographs_for_testing_may_be_missing(tmp_path, left):
    """Training does without."""
    for split in ("train", "test"):
        write_blender(tmp_path, split, camera_ring(3, size=8), torch.rand(3, 8, 8, 4))
    for i in range(left, 3):
        (tmp_path / f"test/r_{i}.png").unlink()
    with pytest.warns(UserWarning, match=f"missing and left out, {('none', 'one')[left]} is left; the first: "):
        assert [len(c) for c in read_capture(tmp_path)] == [3, left]
    for i in range(2):
        (tmp_path / f"train/r_{i}.png").unlink()
    assert_says(refused(read_capture, tmp_path), "transforms_train.json", "photographs", "or two at least", "1")


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        (dict(test_filenames="a.png"), "test_filenames", "a list of names"),
        (dict(val_filenames=["images/00000.png", "b.png"]), "val_filenames[1]", "the file_path of a frame"),
        (dict(train_filenames=["images/00001.png"], test_filenames=["images/00001.png"]), "test_filenames[0]", "of no other"),
        (dict(train_filenames=[]), "train_filenames", "at least one photograph to learn from"),
    ],
)  # fmt: skip
def test_a_bad_split_is_refused(transforms, change, field, expected):
    relist(transforms, **change)
    assert_says(refused(read_capture, transforms.parent), "transforms.json", field, expected, "")


def test_masks_are_read_with_their_photographs(transforms, shots):
    """Black is not learned from. A small pixel counts if all that it is made from does."""
    frames = json.loads(transforms.read_text())["frames"]
    for i, frame in enumerate(frames[:2]):
        frame["mask_path"] = f"masks/{i}.png"
        mask = np.full((HEIGHT, WIDTH), 255 * i, np.uint8)
        mask[:, :21] = 3 * (1 - i)
        save_png(transforms.parent / frame["mask_path"], mask)
    relist(transforms, frames=frames)
    capture = read_transforms(transforms)
    views = capture.subset([2, 1, 0]).views(2)
    assert views.mask(0) is None
    assert views.mask(1).shape == (HEIGHT // 2, WIDTH // 2)
    assert views.mask(1).any(0).tolist() == [False] * 11 + [True] * 13  # column 10 is made of 20 and 21
    assert views.mask(2).any(0).tolist() == [True] * 10 + [False] * 14
    assert views.to("cpu").mask(1).equal(views.mask(1))
    assert read_transforms(transforms).subset([3]).views().masks is None
    save_png(transforms.parent / "masks/0.png", np.zeros((HEIGHT, WIDTH)))
    assert_says(refused(read_transforms(transforms).subset([0]).views), "0.png", "mask", "not black", "none in any")
    (transforms.parent / "masks/1.png").unlink()
    assert_says(
        refused(read_transforms, transforms), "transforms.json", "frames[1].mask_path", "a file in", "not there"
    )


# ----------------------------------------------------------------------------------------------------------------- axes


def turned(camera: Camera) -> Camera:
    """The camera with y and z negated: what mistaking OpenGL's axes for OpenCV's makes of it, or the reverse."""
    return replace(camera, viewmat=np.diag((1.0, -1.0, -1.0, 1.0)) @ camera.viewmat)


def test_colmap_with_opengl_axes_is_refused(tmp_path, shots):
    views, points, colors = shots
    write_colmap(tmp_path, [turned(c) for c in views.cameras], NAMES, points, colors, views.images)
    error = refused(read_colmap, tmp_path)
    assert_says(
        error, "images.bin", "poses", "camera axes as in OpenCV (x right, y down, z forward)", "0 points in view"
    )
    assert "look like OpenGL's" in str(error)


def test_transforms_with_opencv_axes_are_refused_or_warned_of(tmp_path, transforms, shots):
    views, points, _ = shots
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_transforms(transforms)  # no points, right axes: nothing to say
    write_transforms(tmp_path, [turned(c) for c in views.cameras], views.images)
    with pytest.warns(UserWarning, match="meet behind 6 of 6 cameras.*axes are OpenCV's.*means OpenGL's"):
        read_transforms(transforms)
    vertex = np.array([tuple(p) for p in points.tolist()], dtype=[(k, "f4") for k in "xyz"])
    PlyData([PlyElement.describe(vertex, "vertex")]).write(tmp_path / "points.ply")
    meta = json.loads(transforms.read_text()) | dict(ply_file_path="points.ply")
    transforms.write_text(json.dumps(meta))
    error = refused(read_transforms, transforms)
    assert_says(
        error, "transforms.json", "poses", "camera axes as in OpenGL (x right, y up, z backward)", "0 points in view"
    )
    assert "look like OpenCV's" in str(error)
    write_transforms(tmp_path, views.cameras, views.images)
    transforms.write_text(json.dumps(json.loads(transforms.read_text()) | dict(ply_file_path="points.ply")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_transforms(transforms).points) == 200


def test_looking_outwards_with_points_all_round_is_no_mistake(tmp_path):
    """A tripod in the middle of a room: as many points behind each camera as before it."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 3))
    points = torch.from_numpy(3 * points / np.linalg.norm(points, axis=1, keepdims=True)).float()
    inwards = camera_ring(8, distance=(0.2, 0.3), tilt_deg=(80, 89), size=32)
    outwards = [turned(c) for c in inwards]
    write_colmap(tmp_path, outwards, [f"{i}.png" for i in range(8)], points, points.abs() / 3, torch.rand(8, 32, 32, 3))
    assert len(read_colmap(tmp_path)) == 8


def test_parallel_cameras_are_not_warned_of(tmp_path):
    viewmats = [np.eye(4) for _ in range(4)]
    for i, viewmat in enumerate(viewmats):
        viewmat[0, 3] = i
    K = [[20, 0, 8], [0, 20, 8], [0, 0, 1]]
    write_transforms(tmp_path, [Camera(m, K, 16, 16) for m in viewmats], torch.rand(4, 16, 16, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_transforms(tmp_path / "transforms.json")


# ------------------------------------------------------------------------------------------------------------ bad COLMAP


def replace_line(path, i: int, change) -> None:
    lines = path.read_text().splitlines()
    lines[i] = change(lines[i])
    path.write_text("\n".join(lines) + "\n")


def word(i: int, new: str):
    def change(line: str) -> str:
        words = line.split(" ")
        return " ".join([*words[:i], new, *words[i + 1 :]])

    return change


BAD_TEXT = {  # file, line from 0, change: field, expected, found
    "no camera": ("cameras", 1, lambda _: "", "cameras", "at least one", "none"),
    "no images": ("images", slice(1, None), lambda _: [], "images", "at least one", "none"),
    "short camera": ("cameras", 1, lambda _: "1 PINHOLE 3 4", "line 2", "CAMERA_ID MODEL WIDTH", "1 PINHOLE 3 4"),
    "model": ("cameras", 1, word(1, "PINEHOLE"), "line 2: model", "SIMPLE_PINHOLE, PINHOLE", "PINEHOLE"),
    "parameters": ("cameras", 1, lambda s: s + " 0.1", "line 2", "4 parameters of PINHOLE", "5"),
    "camera number": ("cameras", 1, word(4, "x1"), "line 2", "numbers", "x1"),
    "focal": ("cameras", 1, word(4, "-5"), "line 2: focal length", "a number from 0.48 to", "-5.0"),
    "focal nan": ("cameras", 1, word(5, "nan"), "line 2: focal length y", "a number from", "nan"),
    "centre": ("cameras", 1, word(6, "inf"), "line 2: principal point x", "a number from -48 to 96", "inf"),
    "width": ("cameras", 1, word(2, "0"), "line 2: width", "a number from 1 to", "0"),
    "broken width": ("cameras", 1, word(2, "4.5"), "line 2: width", "a whole number", "4.5"),
    "huge height": ("cameras", 1, word(3, "9" * 30), "line 2: height", "a number from 1 to", "1e+30"),
    "endless": ("cameras", 1, word(3, "9" * 400), "line 2: height", "a number from 1 to", "inf"),
    "short image": ("images", 1, lambda s: s.rsplit(" ", 2)[0], "line 2", "IMAGE_ID QW QX", "1 "),
    "image number": ("images", 3, word(2, "?"), "line 4", "numbers", "?"),
    "quaternion": ("images", 3, word(1, "3"), "line 4: quaternion", "length 1", "3."),
    "quaternion nan": ("images", 3, word(4, "nan"), "line 4: quaternion z", "a finite number", "nan"),
    "translation": ("images", 3, word(6, "inf"), "line 4: translation y", "a finite number", "inf"),
    "image twice": ("images", 3, word(0, "1"), "line 4: id", "every id once", "1 twice"),
    "no such camera": ("images", 3, word(8, "9"), "image 'left-arm/photo-1.png': camera", "an id of cameras.txt", "9"),
    "line forgotten": ("images", 2, lambda _: "2 1 0 0 0 0 0 0 1 b.png", "line 3", "the image's points", "b.png"),
    "short point": ("points3D", 4, lambda _: "1 2 3", "line 5", "POINT3D_ID X Y Z", "1 2 3"),
    "point nan": ("points3D", 4, word(2, "nan"), "point 3, y", "a finite number", "nan"),
    "colour": ("points3D", 4, word(5, "256"), "line 5: colour", "from 0 to 255", "256"),
    "not text": ("points3D", 4, lambda _: "\udcff", "line 5", "UTF-8", "xff"),
}


@pytest.mark.parametrize("what", BAD_TEXT)
def test_bad_colmap_text_is_refused(colmap, what):
    name, at, change, field, expected, found = BAD_TEXT[what]
    path = colmap / f"sparse/0/{name}.txt"
    lines = path.read_text().splitlines()
    lines[at] = change(lines[at])
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    assert_says(refused(read_colmap, colmap), path.name, field, expected, found)


def test_colmap_text_may_end_without_its_last_empty_line(colmap):
    path = colmap / "sparse/0/images.txt"
    path.write_text("\n\n# a comment\n" + path.read_text().rstrip())
    assert len(read_colmap(colmap)) == 6


def test_image_name_twice(colmap):
    path = colmap / "sparse/0/images.txt"
    path.write_text(path.read_text().replace("photo-1", "photo-3"))
    assert_says(
        refused(read_colmap, colmap), "images.txt", "image names", "every image once", "'left-arm/photo-3.png' twice"
    )


def patch(layout: str, at: int, *values):
    def change(data: bytes) -> bytes:
        out = bytearray(data)
        struct.pack_into(layout, out, at, *values)
        return bytes(out)

    return change


# images.bin: count (8 bytes), then 64 of numbers, a name of 21 and 8 for no points; points3D.bin: 8, then 51 each
BAD_BINARY = {
    "empty": ("cameras", lambda d: b"", "number of cameras", "8 bytes", "0 before the end"),
    "no cameras": ("cameras", lambda d: bytes(8), "cameras", "at least one", "none"),
    "camera count": ("cameras", patch("<Q", 0, 2**63), "number of cameras", "at most 2", "9223372036854775808"),
    "camera cut": ("cameras", lambda d: d[:-3], "camera 1: parameters", "32 bytes", "29 before the end"),
    "camera model": ("cameras", patch("<i", 12, 5), "camera 1: model", "one of SIMPLE_PINHOLE", "OPENCV_FISHEYE"),
    "camera unknown": ("cameras", patch("<i", 12, 99), "camera 1: model", "one of SIMPLE_PINHOLE", "model number 99"),
    "camera width": ("cameras", patch("<Q", 16, 2**40), "camera 1: width", "a number from 1 to", "1099511627776"),
    "camera focal": ("cameras", patch("<d", 32, np.nan), "camera 1: focal length", "a number from", "nan"),
    "more": ("cameras", lambda d: d + b"abc", "end of the file", "nothing after", "3 more bytes"),
    "image count": ("images", patch("<Q", 0, 10**12), "number of images", "at most 7", "1000000000000"),
    "image zero": ("images", lambda d: bytes(8), "images", "at least one", "none"),
    "image id": ("images", patch("<I", 8 + 93, 1), "image 1: id", "every id once", "1 twice"),
    "image pose": ("images", patch("<d", 12, np.inf), "image 1: quaternion w", "a finite number", "inf"),
    "image zero quaternion": ("images", patch("<4d", 12, 0, 0, 0, 0), "image 1: quaternion", "length 1", "0"),
    "image camera": ("images", patch("<I", 68, 5), "image 'left-arm/photo-3.png': camera", "id of cameras.bin", "5"),
    "image name": ("images", lambda d: d[:80], "number of images", "at most 0", "6"),
    "image endless name": ("images", lambda d: d[:72] + b"a" * 999, "image 1: name", "NUL", "the end"),
    "image bad name": ("images", patch("<B", 72, 255), "image 1: name", "UTF-8", "xff"),
    "image points": ("images", patch("<Q", 93, 2**62), "image 1: number of points", "at most 19", str(2**62)),
    "point count": ("points3D", patch("<Q", 0, 2**40), "number of points", "at most 200", "1099511627776"),
    "point nan": ("points3D", patch("<d", 8 + 51 * 7 + 16, np.nan), "point 7, y", "a finite number", "nan"),
    "point track": ("points3D", patch("<Q", 8 + 43, 2**60), "point 0: track", "at most 1268", str(2**60)),
    "point cut": ("points3D", lambda d: d[:-1], "number of points", "at most 199", "200"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_BINARY)
def test_bad_colmap_binary_is_refused(tmp_path, shots, what):
    name, change, field, expected, found = BAD_BINARY[what]
    views, points, colors = shots
    write_colmap(tmp_path, views.cameras, NAMES, points, colors, views.images)
    path = tmp_path / f"sparse/0/{name}.bin"
    path.write_bytes(change(path.read_bytes()))
    assert_says(refused(read_colmap, tmp_path), path.name, field, expected, found)


def test_colmap_without_parts(colmap):
    (colmap / "sparse/0/points3D.txt").unlink()
    assert read_colmap(colmap).points is None
    (colmap / "images").rename(colmap / "photos")
    assert_says(refused(read_colmap, colmap), colmap.name, "images", "a folder with the photographs", "none")
    assert len(read_colmap(colmap, "photos")) == 6
    assert len(read_colmap(colmap, colmap / "photos")) == 6
    (colmap / "photos" / NAMES[0]).unlink()
    with pytest.warns(
        UserWarning, match="1 of 6 photographs are missing and left out; the first: .*left-arm/photo-3.png"
    ):
        assert len(read_colmap(colmap, "photos")) == 5
    for name in NAMES[1:5]:
        (colmap / "photos" / name).unlink()
    assert_says(
        refused(read_colmap, colmap, "photos"), "images.txt", "photographs", "the 6 that it names", "1; the first"
    )
    (colmap / "sparse/0/images.txt").unlink()
    assert_says(refused(read_colmap, colmap), colmap.name, "format", "cameras and images", "none of them")


# -------------------------------------------------------------------------------------------------------- bad transforms

MATRIX = "frames[1].transform_matrix"
BAD_JSON = {  # change of the parsed file (or a text instead): field, expected, found
    "syntax": ('{"frames": [', "file", "JSON", "Expecting value"),
    "deep": ("[" * 100_000, "file", "JSON", "recursion"),
    "digits": ('{"w": ' + "9" * 5000 + "}", "file", "JSON", "integer string conversion"),
    "encoding": (b'{"\xff": 1}', "file", "JSON", "decode"),
    "list": ("[1, 2]", "file", "a JSON object", "[1, 2]"),
    "no frames": ({"frames": None}, "frames", "a list of at least one frame", "nothing"),
    "empty": ({"frames": []}, "frames", "a list of at least one frame", "[]"),
    "frame": ({"frames": [3]}, "frames[0]", "a JSON object", "3"),
    "focal missing": ({"fl_x": None}, "fl_x", "fl_x or camera_angle_x", "neither"),
    "focal text": ({"fl_x": "40"}, "frames[1].fl_x", "a number from", "'40'"),
    "focal bool": ({"fl_x": True}, "frames[1].fl_x", "a number from", "True"),
    "focal zero": ({"fl_y": 0}, "frames[1].fl_y", "a number from 0.48", "0"),
    "focal huge": ({"fl_x": 10**400}, "frames[1].fl_x", "a number from", "1000000"),
    "focal nan": ({"fl_y": math.nan}, "frames[1].fl_y", "a number from", "nan"),
    "centre": ({"cx": 1e9}, "frames[1].cx", "a number from -48 to 96", "1000000000.0"),
    "width": ({"w": 48.5}, "frames[1].w", "a whole number", "48.5"),
    "width zero": ({"w": 0}, "frames[1].w", "a number from 1", "0"),
    "angle": ({"fl_x": None, "camera_angle_x": 3.5}, "frames[1].camera_angle_x", "a number from 0.002 to 3.12", "3.5"),
    "size": ({"w": 50}, "frames[1]: size of the image", "50 x 36 pixels", "48 x 36"),
    "fisheye": ({"camera_model": "OPENCV_FISHEYE"}, "frames[1].camera_model", "one of PINHOLE", "'OPENCV_FISHEYE'"),
    "is fisheye": ({"is_fisheye": True}, "camera_model", "one of PINHOLE", "is_fisheye"),
    "model": ({"camera_model": [1]}, "frames[1].camera_model", "one of PINHOLE", "[1]"),
    "k4": ({"k4": 0.1}, "frames[1].k4", "0 (distortion with k1 k2 k3 p1 p2 only)", "0.1"),
    "k1": ({"k1": math.inf}, "frames[1].k1", "a number from -1e+06 to 1e+06", "inf"),
    "bent": ({"k1": -1e5}, "frames[1]: distortion", "straightens within the image", "-100000.0"),
    "pose missing": ({"transform_matrix": None}, MATRIX, "4 rows of 4 numbers", "nothing"),
    "pose short": ({"transform_matrix": [[1, 0, 0, 0]] * 3}, MATRIX, "4 rows of 4 numbers", "[[1, 0, 0, 0]"),
    "pose text": ({"transform_matrix": [["a"] * 4] * 4}, f"{MATRIX}[0][0]", "a finite number", "'a'"),
    "pose nan": ({"transform_matrix": [[1, 0, 0, 0], [0, 1, 0, math.nan], [0, 0, 1, 0], [0, 0, 0, 1]]},
                 f"{MATRIX}[1][3]", "a finite number", "nan"),
    "pose scale": ({"transform_matrix": np.diag([2, 2, 2, 1]).tolist()}, MATRIX, "a rotation", "scale or shear"),
    "pose mirror": ({"transform_matrix": np.diag([1, 1, -1, 1]).tolist()}, MATRIX, "a rotation", "a mirror image"),
    "pose zero": ({"transform_matrix": np.diag([0, 0, 0, 1]).tolist()}, MATRIX, "a rotation", "scale or shear"),
    "pose last row": ({"transform_matrix": np.eye(4)[[0, 1, 2, 0]].tolist()}, f"{MATRIX}[3]", "0 0 0 1", "1 0 0 0"),
    "image name": ({"file_path": 7}, "frames[1].file_path", "a file name", "7"),
    "image name empty": ({"file_path": ""}, "frames[1].file_path", "a file name", "''"),
    "image nul": ({"file_path": "a\0b.png"}, "frames[1].file_path", "a usable path", "x00"),
    "image surrogate": ({"file_path": "\ud800.png"}, "frames[1].file_path", "a usable path", "ud800"),
    "image long": ({"file_path": "a" * 5000 + ".png"}, "frames[1].file_path", "a usable path", "aaa"),
    "image twice": ({"file_path": "./images/../images/00000.png"}, "image names", "every image once", "00000.png' twice"),
    "absolute": ({"file_path": "/etc/hostname.png"}, "frames[1].file_path", "a path inside", "'/etc/hostname.png'"),
    "upwards": ({"file_path": "../../x.png"}, "frames[1].file_path", "a path inside", "'../../x.png'"),
    "points": ({"ply_file_path": "../points.ply"}, "ply_file_path", "a path inside", "'../points.ply'"),
    "points missing": ({"ply_file_path": 3}, "ply_file_path", "a file name", "3"),
    "no points": ({"ply_file_path": "p.ply"}, "ply_file_path", "a file in", "'p.ply', which is not there"),
    "beside": ({"file_path": "../x.png"}, "frames[1].file_path", "a path inside", "'../x.png'"),
    "backslashes": ({"file_path": "..\\..\\x.png"}, "frames[1].file_path", "a path inside", "x.png"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_JSON)
def test_bad_transforms_are_refused(transforms, what):
    change, field, expected, found = BAD_JSON[what]
    if isinstance(change, dict):
        meta = json.loads(transforms.read_text())
        target = meta if {"frames", "ply_file_path", "is_fisheye"} & set(change) else meta["frames"][1]
        target.update(change)
        change = json.dumps(meta)
    transforms.write_bytes(change if isinstance(change, bytes) else change.encode())
    assert_says(refused(read_transforms, transforms), "transforms.json", field, expected, found)


def test_a_json_of_many_megabytes_is_refused_unread(transforms):
    with transforms.open("r+b") as file:
        file.truncate(64 << 20)  # sparse: takes no room on the disk
    assert_says(
        refused(read_transforms, transforms), "transforms.json", "file", "at most 33554432 bytes", "67108864 bytes"
    )


# ---------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret.png", "..\\secret.png", "a/../../secret.png"])
def test_colmap_names_do_not_leave_the_folder(tmp_path, shots, name):
    save_png(tmp_path / "secret.png", np.zeros((HEIGHT, WIDTH, 3)))
    folder = tmp_path / "capture"
    (folder / "images").mkdir(parents=True)
    save_png(folder / "secret.png", np.zeros((HEIGHT, WIDTH, 3)))
    views, points, colors = shots
    write_colmap(folder, views.cameras[:1], [name], points, colors)
    assert_says(
        refused(read_colmap, folder), "images.bin", f"image {name!r}", "a path inside", name.replace("\\", "\\\\")
    )


def test_photographs_behind_links(tmp_path, colmap):
    """What lies in the reader's folder, the reader has put there: a link to one photograph, to a folder of them, to all."""
    elsewhere = tmp_path / "elsewhere"
    (colmap / "images").rename(elsewhere)
    (colmap / "images/left-arm").mkdir(parents=True)
    for name in NAMES:
        (colmap / "images" / name).symlink_to(elsewhere / name)
    assert read_colmap(colmap).names == tuple(sorted(NAMES))
    shutil.rmtree(colmap / "images/left-arm")
    (colmap / "images/left-arm").symlink_to(elsewhere / "left-arm")
    assert len(read_colmap(colmap)) == 6
    shutil.rmtree(colmap / "images")
    (colmap / "images").symlink_to(elsewhere)
    assert len(read_colmap(colmap).views()) == 6
    (elsewhere / NAMES[0]).unlink()
    (elsewhere / NAMES[0]).symlink_to(elsewhere / NAMES[0])  # a loop is no photograph
    with pytest.warns(UserWarning, match="1 of 6 photographs are missing"):
        read_colmap(colmap)


def test_photographs_and_points_in_a_folder_beside(tmp_path, transforms):
    (tmp_path / "images").rename(tmp_path / "apart")
    (tmp_path / "poses").mkdir()
    moved = transforms.rename(tmp_path / "poses/transforms.json")
    moved.write_text(moved.read_text().replace("images/", "../apart/"))
    (tmp_path / "apart/a.ply").write_bytes(
        b"ply\nformat ascii 1.0\nelement vertex 1\n" + b"".join(b"property float %c\n" % c for c in b"xyz")
        + b"end_header\n0 0 0\n"
    )  # fmt: skip
    relist(moved, ply_file_path="../apart/a.ply")
    capture = read_transforms(moved)
    assert len(capture.points) == 1
    assert capture.names[0] == "apart/00000.png"
    assert len(capture) == 6


@pytest.mark.parametrize(
    ("on_disk", "named"),
    [
        ("{}.png", "images\\{}.png"),
        ("{}.png", ".\\images\\{}.png"),
        ("{}.png", "images/{}"),
        ("{}.jpg", "images/{}"),
        ("{}.JPG", "./images/{}"),
        ("frame.{}.png", "images/frame.{}"),
        ("{}.PNG", "images/{}.png"),
        ("fr\u0061\u0308me{}.png", "images/fr\u00e4me{}.png"),
    ],
)
def test_names_as_people_have_them(transforms, on_disk, named):
    """Backslashes, no ending, a dot that is none, capitals, accents in two characters."""
    meta = json.loads(transforms.read_text())
    for i, frame in enumerate(meta["frames"]):
        file = transforms.parent / frame["file_path"]
        Image.open(file).convert("RGB").save(
            file.with_name(on_disk.format(i)), "JPEG" if "j" in on_disk.lower() else "PNG"
        )
        file.unlink()
        frame["file_path"] = named.format(i)
    transforms.write_text(json.dumps(meta))
    capture = read_transforms(transforms)
    assert capture.names == tuple("images/" + on_disk.format(i) for i in range(6))
    assert len(capture.views()) == 6


def test_photographs_that_are_missing_are_counted(transforms):
    for i in (4, 1):
        (transforms.parent / f"images/0000{i}.png").unlink()
    with pytest.warns(UserWarning, match="2 of 6 photographs are missing and left out; the first: .*images/00001.png"):
        assert [name[-5] for name in read_transforms(transforms).names] == ["0", "2", "3", "5"]
    for i in (0, 2, 3):
        (transforms.parent / f"images/0000{i}.png").unlink()
    error = refused(read_transforms, transforms)
    assert_says(
        error, "transforms.json", "photographs", "the 6 that it names, or two at least", "1; the first that is missing"
    )


def test_places_far_off_keep_their_digits(tmp_path, shots):
    """UTM: float32 would round five million metres to half a metre."""
    views, points, colors = shots
    offset = np.array([500_000.0, 5_000_000.0, 100.0])
    far = points.double() + torch.from_numpy(offset)
    write_colmap(tmp_path, [placed(c, -offset) for c in views.cameras], NAMES, far, colors, views.images)
    capture = read_colmap(tmp_path)
    torch.testing.assert_close(capture.points - torch.from_numpy(offset), points.double(), rtol=0, atol=1e-8)


# -------------------------------------------------------------------------------------------------------------- writing


def test_writers_refuse_what_a_format_cannot_hold(tmp_path, shots):
    views, points, colors = shots
    camera, image = views.cameras[0], views.images[:1]
    skewed = replace(camera, K=np.add(camera.K, [[0, 1, 0], [0, 0, 0], [0, 0, 0]]))
    shifted = replace(camera, K=np.add(camera.K, [[0, 0, 1], [0, 0, 0], [0, 0, 0]]))
    for match, write in {
        "split must be": lambda: write_blender(tmp_path, "training", [camera], image),
        "centre in the middle": lambda: write_blender(tmp_path, "train", [shifted], image),
        "one focal length": lambda: write_blender(tmp_path, "train", [camera, camera.zoomed(2)], views.images[:2]),
        "one image per camera": lambda: write_transforms(tmp_path, [camera] * 2, image),
        "at least one": lambda: write_transforms(tmp_path, [], []),
        "camera 0 has skew": lambda: write_transforms(tmp_path, [skewed], image),
        "its camera 36 x 48": lambda: write_transforms(tmp_path, [camera], image[:, 1:]),
        "3 or 4": lambda: write_transforms(tmp_path, [camera], image[..., :2]),
        "NaN": lambda: write_transforms(tmp_path, [camera], torch.full((1, HEIGHT, WIDTH, 3), math.nan)),
        "uint8 or float": lambda: write_transforms(tmp_path, [camera], image.long()),
        "camera 0 has skew 1": lambda: write_colmap(tmp_path, [skewed], ["a.png"], points, colors),
        "one name for each": lambda: write_colmap(tmp_path, [camera] * 2, ["a", "a"], points, colors),
        "end at a space": lambda: write_colmap(tmp_path, [camera], ["a b"], points, colors, binary=False),
        "must end in .png": lambda: write_colmap(tmp_path, [camera], ["a.jpg"], points, colors, image),
        "finite and": lambda: write_colmap(tmp_path, [camera], ["a"], points / 0, colors),
    }.items():
        with pytest.raises(ValueError, match=match):
            write()
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.bin"))
    assert not list(tmp_path.rglob("*.part"))


def test_float_images_are_rounded_and_clipped(tmp_path):
    image = torch.tensor([-0.5, 0.0, 0.5, 1.5]).repeat(8, 8, 1)
    write_transforms(tmp_path, camera_ring(1, size=8), [image])
    pixel = Image.open(io.BytesIO((tmp_path / "images/00000.png").read_bytes())).getpixel((3, 3))
    assert pixel == (0, 0, 128, 255)
