"""Ten thousand damaged files: each is read as something valid or refused with FormatError, in little memory. See `fuzz.py`."""

import io
import json
import struct
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from bestpapers.splatting.data import make_capture
from bestpapers.splatting.formats import (
    capture,
    clouds,
    colmap,
    ply_bytes,
    splat_bytes,
    transforms,
    write_colmap,
)
from bestpapers.splatting.formats import write_transforms as write_list

from .. import fuzz
from .test_formats_clouds import packed_ply, random_model

FILES = 1000  # per reader
PEAK = 4 << 20  # bytes while reading one file of at most 6 kB
GROWTH = 64_000  # kB that the process may grow by: what torch and Pillow take counts here too
NAMES = ("a.png", "b.png")

NUMBERS = [
    *(struct.pack("<Q", n) for n in (0, 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)),
    *(struct.pack("<I", n) for n in (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)),
    *(struct.pack("<f", x) for x in (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45)),
    *(struct.pack("<d", x) for x in (np.nan, np.inf, -np.inf, 1.7e308, -1e300, 5e-324)),
]
WORDS = [
    *(*fuzz.WORDS, b"2", b"-0.01", b"-inf", b"-0.0", b"1e-320", b"1e300", b"0x10", b'"../../x.png"', b'"/etc/passwd"'),
    *(b"PINHOLE", b"OPENCV", b"FULL_OPENCV", b"FOV", b"list", b"double", b"uchar", b"ascii", b"vertex", b"#"),
]
mutate = partial(fuzz.mutate, numbers=NUMBERS, words=WORDS)


# -------------------------------------------------------------------------------------------------------------- readers


def check_model(model) -> None:
    for tensor in (*model.state_dict().values(), *model.scales_opacities()):
        assert tensor.isfinite().all()
    assert len(model) > 0
    assert (model.quats.norm(dim=-1) > 0).all()


def check_capture(found) -> None:
    assert len(found) == len(set(found.names)) > 0
    for camera, path in zip(found.cameras, found.images):
        assert np.isfinite(camera.K).all()
        assert np.isfinite(camera.position).all()
        assert path.is_file()
    if found.points is not None:
        check_cloud((found.points, found.colors))


def check_cloud(cloud) -> None:
    points, colors = cloud
    assert points.shape == colors.shape == (len(points), 3)
    assert points.isfinite().all()
    assert not len(colors) or (colors.min() >= 0 and colors.max() <= 1)


def check_poses(poses) -> None:
    assert poses
    for name, _, viewmat in poses:
        assert isinstance(name, str)
        np.testing.assert_allclose(viewmat[:3, :3] @ viewmat[:3, :3].T, np.eye(3), atol=1e-9)


def check_pixels(pixels) -> None:
    assert pixels.shape[:2] == (12, 16)
    assert pixels.dtype == np.uint8


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """name: (good file, reader of bytes, check of what it returns)."""
    folder = tmp_path_factory.mktemp("fuzz")
    views, points, colors = make_capture("wheel", 2, width=16, height=12, n_points=20)
    out = {}
    for kind in ("bin", "txt"):
        write_colmap(folder, views.cameras, NAMES, points, colors, views.images, binary=kind == "bin")
        files = {name: folder / f"sparse/0/{name}.{kind}" for name in ("cameras", "images", "points3D")}
        suffix = "bin" if kind == "bin" else "text"
        cameras, poses, cloud = (getattr(colmap, f"parse_{name}_{suffix}") for name in ("cameras", "images", "points"))
        good = files["cameras"].read_bytes().replace(b" PINHOLE 16 12", b" OPENCV 16 12")  # with distortion in text
        if kind == "txt":
            good = b"\n".join(line + b" 0.1 0.01 0 0" if b"OPENCV" in line else line for line in good.split(b"\n"))
        good_poses = poses(files["images"].read_bytes(), files["images"])

        def with_cameras(data, path=files["cameras"], parse=cameras, poses=good_poses):
            return colmap.assemble(path, parse(data, path), poses, (points, colors), folder, "images")

        out[f"cameras.{kind}"] = good, with_cameras, check_capture
        out[f"images.{kind}"] = files["images"].read_bytes(), partial(poses, path=files["images"]), check_poses
        out[f"points3D.{kind}"] = files["points3D"].read_bytes(), partial(cloud, path=files["points3D"]), check_cloud

    write_list(folder, views.cameras, views.images)
    model, listed = random_model("mip", 1, 3), folder / "transforms.json"
    meta = json.loads(listed.read_text()) | dict(k1=0.01, ply_file_path="points.ply")
    xyz = b"".join(b"%f %f %f 1 2 3\n" % tuple(p) for p in points.tolist())
    header = "".join(
        f"property {kind} {c}\n"
        for kind, c in zip(["float"] * 3 + ["uchar"] * 3, ("x", "y", "z", "red", "green", "blue"))
    )
    cloud_file = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n{header}end_header\n".encode() + xyz
    (folder / "points.ply").write_bytes(cloud_file)
    out["transforms.json"] = json.dumps(meta).encode(), partial(transforms.parse_transforms, path=listed), check_capture

    def read_cloud_file(data, path=folder / "other.ply"):
        path.write_bytes(data)
        return clouds.read_points(path)

    out["points.ply"] = cloud_file, read_cloud_file, check_cloud
    parse = partial(clouds.parse_gaussians, path=folder / "a.ply")
    out["little.ply"] = ply_bytes(model), parse, check_model
    for name, kind in (("big.ply", dict(byte_order=">")), ("text.ply", dict(text=True))):
        file = io.BytesIO()
        PlyData([PlyData.read(io.BytesIO(ply_bytes(model)))["vertex"]], **kind).write(file)
        out[name] = file.getvalue(), parse, check_model
    out["packed.ply"] = packed_ply(model), parse, check_model
    out["splat"] = splat_bytes(model), partial(clouds.parse_splat, path=folder / "a.splat"), check_model

    rng = np.random.default_rng(0)
    for kind, mode in (("png", "RGBA"), ("jpeg", "RGB"), ("webp", "RGBA"), ("bmp", "RGB"), ("tiff", "RGBA")):
        pixels, file = rng.integers(0, 255, (12, 16, len(mode))).astype(np.uint8), io.BytesIO()
        Image.fromarray(pixels).save(file, kind)

        def decode(data, path=folder / f"fuzz.{kind}"):
            path.write_bytes(data)
            return capture._decode(path, (16, 12))

        out[kind] = file.getvalue(), decode, check_pixels
    return out


READERS = (
    *("cameras.bin", "images.bin", "points3D.bin", "cameras.txt", "images.txt", "points3D.txt"),
    *(
        "transforms.json",
        "points.ply",
        "little.ply",
        "big.ply",
        "text.ply",
        "packed.ply",
        "splat",
        "png",
        "jpeg",
        "webp",
        "bmp",
        "tiff",
    ),
)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(readers, name):
    assert FILES * len(READERS) >= 10_000
    assert len(readers[name][0]) <= 6000
    fuzz.assert_withstands(name, *readers[name], mutate, FILES, PEAK, GROWTH)


def test_mutations_are_the_same_everywhere():
    fuzz.assert_same_everywhere(mutate)
    assert torch.equal(random_model().means, random_model().means)
