"""Trained models in .ply and .splat: exact round trips, readers and writers of others, hostile files."""

import io
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement, PlyListProperty

from bestpapers.splatting.cameras import camera_ring
from bestpapers.splatting.coordinates import placed
from bestpapers.splatting.filters import METHODS
from bestpapers.splatting.formats import (
    FormatError,
    clouds,
    ply_bytes,
    read_ply,
    read_scene,
    read_splat,
    splat_bytes,
    write_ply,
    write_splat,
)
from bestpapers.splatting.model import C0, GaussianConfig, Gaussians

from .golden import CAMERA
from .golden import model as golden_model

OFFICIAL = (
    ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    + [f"f_rest_{i}" for i in range(45)]
    + ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "filter_3D"]
)


def random_model(method: str = "mip", degree: int = 3, n: int = 7, background=(0.25, 0.5, 1.0)) -> Gaussians:
    generator = torch.Generator().manual_seed(3)
    parameters = {k: torch.randn(s, generator=generator) for k, s in Gaussians.shapes(n, degree).items()}
    phi = torch.rand(n, generator=generator) if METHODS[method].smooth_3d else None
    return Gaussians(parameters, GaussianConfig(method, degree, background), phi)


def assert_same(a: Gaussians, b: Gaussians) -> None:
    assert a.config == b.config
    for (name, x), (_, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert torch.equal(x, y), name


def foreign(model: Gaussians, **kind) -> tuple[np.ndarray, bytes]:
    """The model's vertices in a file that plyfile writes, with no word of ours in it."""
    vertices = PlyData.read(io.BytesIO(ply_bytes(model)))["vertex"].data
    return vertices, write_foreign(vertices, **kind)


def write_foreign(vertices: np.ndarray, others=(), **kind) -> bytes:
    file = io.BytesIO()
    PlyData([PlyElement.describe(vertices, "vertex"), *others], **kind).write(file)
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------------------ ply


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_ply_round_trip_is_exact(tmp_path, method, degree):
    model = random_model(method, degree)
    write_ply(tmp_path / "a.ply", model)
    assert_same(read_ply(tmp_path / "a.ply"), model)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


@pytest.mark.parametrize(("method", "size"), [("mip", 252), ("mip-no-2d", 252), ("3dgs", 248), ("ewa", 248)])
def test_ply_is_laid_out_as_the_official_one(method, size):
    """Judged by plyfile: order, types, bytes per vertex, colour channel by channel, comments."""
    model, data = random_model(method), ply_bytes(random_model(method))
    file = PlyData.read(io.BytesIO(data))
    vertex = file["vertex"]
    assert [p.name for p in vertex.properties] == OFFICIAL[: size // 4]
    assert vertex.data.dtype.itemsize == size == (len(data) - data.index(b"end_header\n") - 11) / len(model)
    assert (file.text, file.byte_order) == (False, "<")
    assert all(p.val_dtype == "f4" for p in vertex.properties)
    for i in range(15):
        for channel in range(3):
            np.testing.assert_array_equal(
                vertex[f"f_rest_{15 * channel + i}"], model.sh_rest[:, i, channel].detach().numpy()
            )
    np.testing.assert_array_equal(vertex["rot_0"], model.quats[:, 0].detach().numpy())
    np.testing.assert_array_equal(vertex["scale_2"], model.log_scales[:, 2].detach().numpy())
    np.testing.assert_array_equal(vertex["opacity"], model.opacity_logits.detach().numpy())
    np.testing.assert_array_equal(vertex["nx"], 0)
    assert file.comments[0] == f"SplatRenderMode: {'default' if method == '3dgs' else 'mip'}" or method == "mip-no-2d"
    assert file.comments[1].startswith(
        f"bestpapers method={method} eps2d={METHODS[method].eps2d} background=0.25,0.5,1.0"
    )


def test_fused_ply_renders_as_the_filtered_model(tmp_path):
    model = golden_model("mip", torch.float32)
    write_ply(tmp_path / "fused.ply", model, "fused")
    vertex = PlyData.read(tmp_path / "fused.ply")["vertex"]
    assert [p.name for p in vertex.properties] == OFFICIAL[:62]
    fused = read_ply(tmp_path / "fused.ply")
    assert fused.phi.max() == 0
    assert fused.config == model.config
    for camera in (CAMERA, CAMERA.zoomed(2)):
        torch.testing.assert_close(fused.render([camera]).colors, model.render([camera]).colors, rtol=0, atol=1e-5)


def test_fused_ply_of_saturated_gaussians_is_finite(tmp_path):
    """sigmoid(30) is 1 in float32, and so is what the logit makes of it: infinite."""
    model = random_model("ewa")
    with torch.no_grad():
        model.opacity_logits[:2] = torch.tensor([30.0, -200.0])
    write_ply(tmp_path / "a.ply", model, "fused")
    got = read_ply(tmp_path / "a.ply")
    torch.testing.assert_close(got.opacity_logits.sigmoid(), model.opacity_logits.sigmoid())


def test_ply_of_a_broken_model_is_refused(tmp_path):
    model = random_model()
    with torch.no_grad():
        model.quats[4, 1] = float("nan")
    with pytest.raises(ValueError, match="Gaussian 4 has rot_1 = nan"):
        write_ply(tmp_path / "a.ply", model)
    with pytest.raises(ValueError, match=r"layout must be .*, got 'x'"):
        write_ply(tmp_path / "a.ply", model, "x")
    with pytest.raises(ValueError, match="no Gaussians"):
        write_ply(tmp_path / "a.ply", random_model(n=0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [dict(text=True), dict(byte_order=">"), dict(byte_order="<")], ids=str)
@pytest.mark.parametrize("method", ["mip", "3dgs"])
def test_foreign_ply_is_read(tmp_path, kind, method):
    """Text, big and little endian, in an order of their own; the method is told by filter_3D."""
    model = random_model(method, background=(0.0, 0.0, 0.0))
    vertices, _ = foreign(model)
    shuffled = vertices[list(np.random.default_rng(0).permutation(vertices.dtype.names))]
    shuffled = np.array(shuffled.tolist(), dtype=[(name, "f4") for name in shuffled.dtype.names])
    (tmp_path / "a.ply").write_bytes(write_foreign(shuffled, **kind))
    assert_same(read_ply(tmp_path / "a.ply"), model)


@pytest.mark.parametrize("text", [True, False])
def test_foreign_ply_with_other_types_and_elements(tmp_path, text):
    """Doubles and whole numbers, properties nobody knows, no normals, an element before and one with lists after."""
    model = random_model("3dgs", 1, background=(0.0, 0.0, 0.0))
    with torch.no_grad():
        model.means.copy_(torch.arange(21).view(7, 3) - 10)
    vertices = foreign(model)[0]
    kept = [name for name in OFFICIAL[:62] if name[0] != "n" and not name.startswith("f_rest")]
    types = [(k, dict(x="i2", y="i1", z="i4").get(k, "f8")) for k in kept]
    types += [("segment", "u1"), *((f"f_rest_{i}", "f4") for i in range(9))]
    rest = model.sh_rest.detach().numpy().transpose(0, 2, 1).reshape(7, 9)
    rows = [(*(v[k] for k in kept), 200, *rest[i]) for i, v in enumerate(vertices)]
    face = np.array([([0, 1, 2],), ([1, 2, 3],)], dtype=[("vertex_indices", "O")])
    faces = PlyElement.describe(face, "face", val_types=dict(vertex_indices="i4"), len_types=dict(vertex_indices="u1"))
    assert isinstance(faces.properties[0], PlyListProperty)
    chunk = PlyElement.describe(np.array([(1.0, 2)], dtype=[("a", "f4"), ("b", "u1")]), "chunk")
    main = PlyElement.describe(np.array(rows, dtype=types), "vertex")
    PlyData([chunk, main, faces], text=text, obj_info=["made elsewhere"]).write(tmp_path / "a.ply")
    assert_same(read_ply(tmp_path / "a.ply"), model)


@pytest.mark.parametrize("degree", [0, 2])
def test_ply_with_fewer_bands(tmp_path, degree):
    model = random_model("mip", degree, background=(0.0, 0.0, 0.0))
    n = 3 * ((degree + 1) ** 2 - 1)
    vertices = foreign(model)[0]
    names = [k for k in OFFICIAL if not k.startswith("f_rest") or int(k[7:]) < n]
    out = np.empty(len(model), dtype=[(k, "f4") for k in names])
    for k in names:
        out[k] = vertices[k]
    rest = model.sh_rest.detach().numpy().transpose(0, 2, 1).reshape(7, n)
    for i in range(n):
        out[f"f_rest_{i}"] = rest[:, i]
    (tmp_path / "a.ply").write_bytes(write_foreign(out))
    assert_same(read_ply(tmp_path / "a.ply"), model)


def test_method_of_a_foreign_ply(tmp_path):
    mip, plain = foreign(random_model("mip", 0))[1], foreign(random_model("3dgs", 0))[1]
    marked = plain.replace(b"element vertex", b"comment SplatRenderMode: mip\nelement vertex")
    path = tmp_path / "a.ply"
    for data, method in ((mip, "mip"), (plain, "3dgs"), (marked, "mip")):
        path.write_bytes(data)
        model = read_ply(path)
        assert model.config.method == method
        assert model.config.sh_degree == 3  # zeros, but nobody said that they may go
        assert (model.phi.max() > 0) == (data is mip)
        assert read_ply(path, "ewa").config.method == "ewa"
    path.write_bytes(ply_bytes(random_model("3dgs-no-dilation")))
    assert read_ply(path).config.method == "3dgs-no-dilation"
    assert read_ply(path, "mip").config == GaussianConfig("mip", 3, (0.25, 0.5, 1.0))
    with pytest.raises(ValueError, match="method must be one of 3dgs, ewa"):
        read_ply(path, "nerf")


def test_comment_that_no_longer_fits_loses_no_colour(tmp_path):
    data = ply_bytes(random_model("mip", 3)).replace(b"sh_degree=3", b"sh_degree=1")
    (tmp_path / "a.ply").write_bytes(data)
    model = read_ply(tmp_path / "a.ply")
    assert model.config.sh_degree == 3
    assert torch.equal(model.sh_rest, random_model("mip", 3).sh_rest)


def edit_vertex(data: bytes, i: int, name: str, value: float) -> bytes:
    """Another value for one property of one vertex of an official file."""
    body = bytearray(data)
    struct.pack_into("<f", body, data.index(b"end_header\n") + 11 + 252 * i + 4 * OFFICIAL.index(name), value)
    return bytes(body)


def edit_all(data: bytes, name: str, value: float, n: int) -> bytes:
    for i in range(n):
        data = edit_vertex(data, i, name, value)
    return data


def edit_one(data: bytes, i: int, *names: str, value: float = 0.0) -> bytes:
    for name in names:
        data = edit_vertex(data, i, name, value)
    return data


BAD_PLY = {  # what is done to a good file: field, expected, found
    "not a ply": (lambda d: b"png" + d[3:], "header line 1", '"ply"', "'png'"),
    "empty": (lambda d: b"", "header", "end_header", "none"),
    "no end": (lambda d: d.split(b"end_header")[0], "header", "end_header within 65536 bytes", "none"),
    "header without end": (lambda d: b"ply\n" + b"comment x\n" * 20_000, "header", "end_header", "none"),
    "format": (lambda d: d.replace(b"binary_little_endian 1.0", b"binary 2.0"), "header line 2", "format 1.0", "binary 2.0"),
    "keyword": (lambda d: d.replace(b"property float x", b"props float x"), "header line 6", "property", "props float x"),
    "type": (lambda d: d.replace(b"float x", b"float16 x"), "header line 6", "<type>", "float16 x"),
    "blank": (lambda d: d.replace(b"property float x\n", b"\n"), "header line 6", "a keyword", "an empty line"),
    "twice": (lambda d: d.replace(b"float nx", b"float x"), "header line 9", "every property once", "'x' twice"),
    "orphan": (lambda d: d.replace(b"element vertex 7\n", b""), "header line 5", "an element first", "a property"),
    "count": (lambda d: d.replace(b"vertex 7", b"vertex -7"), "header line 5", "element <name> <count>", "vertex -7"),
    "no vertices": (lambda d: d.replace(b"vertex 7", b"vertex 0"), "element vertex", "at least one", "0 vertices"),
    "no element": (lambda d: d.replace(b"vertex 7", b"points 7"), "element vertex", "of this name", "only 'points'"),
    "lists": (lambda d: d.replace(b"float nx", b"list uchar int n"), "element vertex", "numbers only", "a list"),
    "lists before": (
        lambda d: d.replace(b"element", b"element face 2\nproperty list uchar int i\nelement"),
        "element face", "vertices before any element with lists", "a list",
    ),
    "truncated": (lambda d: d[:-1], "element vertex", "at most 6", "7"),
    "huge count": (lambda d: d.replace(b"vertex 7", b"vertex 99999999999"), "element vertex", "at most 7", "99999999999"),
    "no opacity": (lambda d: d.replace(b"float opacity", b"float o"), "property opacity", "a property", "only 'x', 'y', 'z'"),
    "f_rest count": (lambda d: d.replace(b"f_rest_44", b"other"), "f_rest", "0, 9, 24 or 45", "44"),
    "f_rest gap": (lambda d: d.replace(b"f_rest_44", b"f_rest_45"), "f_rest", "counted from f_rest_0", "45"),
    "mostly nan": (lambda d: edit_all(d, "y", np.nan, 4), "vertex 0, y", "a finite number", "nan"),
    "no size": (lambda d: edit_all(d, "scale_1", 41, 7), "vertex 0, scale_1", "at most 40", "41"),
    "our method": (lambda d: d.replace(b"method=mip", b"method=pim"), "comment bestpapers", "method=<key>", "method=pim"),
    "our background": (lambda d: d.replace(b"0.25,", b"2,"), "comment bestpapers", "background=r,g,b", "background=2"),
    "our degree": (lambda d: d.replace(b"degree=3", b"degree=-1"), "comment bestpapers", "0 to 3", "method"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_PLY)
def test_bad_ply_is_refused(tmp_path, what):
    change, field, expected, found = BAD_PLY[what]
    path = tmp_path / "bad.ply"
    path.write_bytes(change(ply_bytes(random_model())))
    with pytest.raises(FormatError) as caught:
        read_ply(path)
    error = caught.value
    assert error.path == path
    assert (error.field, expected in error.expected, found in error.found) == (field, True, True), str(error)
    assert str(error).startswith(f"{path}: {field}: expected {error.expected}, found {error.found}")


SCALES, QUATS = [f"scale_{i}" for i in range(3)], [f"rot_{i}" for i in range(4)]
LEFT_OUT = {  # what is done to a good file: how many go, the first of them
    "nan": (lambda d: edit_one(d, 2, "y", value=np.nan), 1, "vertex 2, y is nan"),
    "two": (lambda d: edit_one(edit_one(d, 5, *QUATS), 3, "x", value=np.inf), 2, "vertex 3, x is inf"),
    "infinity": (lambda d: edit_one(d, 6, "f_rest_3", value=-np.inf), 1, "vertex 6, f_rest_3 is -inf"),
    "opacity": (lambda d: edit_one(d, 0, "opacity", value=np.nan), 1, "vertex 0, opacity is nan"),
    "scale": (lambda d: edit_one(d, 1, "scale_2", value=41), 1, "vertex 1, scale_2 is 41"),
    "scale nan": (lambda d: edit_one(d, 1, "scale_2", value=np.nan), 1, "vertex 1, scale_2 is nan"),
    "no size": (lambda d: edit_one(d, 1, *SCALES, value=-np.inf), 1, "vertex 1, scale_0 is -inf"),
    "phi": (lambda d: edit_one(d, 4, "filter_3D", value=-0.5), 1, "vertex 4, filter_3D is -0.5"),
    "phi nan": (lambda d: edit_one(d, 4, "filter_3D", value=np.nan), 1, "vertex 4, filter_3D is nan"),
    "quaternion": (lambda d: edit_one(d, 5, *QUATS), 1, "vertex 5, quaternion is length 0"),
}  # fmt: skip


@pytest.mark.parametrize("what", LEFT_OUT)
def test_gaussians_that_cannot_be_drawn_are_left_out(tmp_path, what):
    change, lost, first = LEFT_OUT[what]
    (tmp_path / "a.ply").write_bytes(change(ply_bytes(random_model())))
    with pytest.warns(
        UserWarning, match=f"{lost} of 7 Gaussians cannot be drawn and are left out; the first: {first}$"
    ):
        model = read_ply(tmp_path / "a.ply")
    kept = [i for i in range(7) if i != int(first.split()[1][:-1]) and not (what == "two" and i == 5)]
    assert torch.equal(model.means, random_model().means[kept])
    assert torch.equal(model.sh_rest, random_model().sh_rest[kept])
    assert torch.equal(model.phi, random_model().phi[kept])


def test_infinities_that_mean_something(tmp_path):
    """An opacity of 1 or 0 has an infinite logit; a flat splat has a size of 0, whose logarithm is -inf."""
    data = edit_one(edit_one(ply_bytes(random_model()), 0, "opacity", value=np.inf), 1, "opacity", value=-np.inf)
    (tmp_path / "a.ply").write_bytes(edit_all(data, "scale_1", -np.inf, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = read_ply(tmp_path / "a.ply")
    opacities = model.opacity_logits.sigmoid()
    assert opacities[0] == 1
    assert opacities[1] < 1e-30
    assert (model.log_scales[:, 1] == -40).all()
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert model.render([CAMERA]).colors.isfinite().all()


def test_a_file_of_2d_gaussians_is_read_flat(tmp_path):
    model = random_model("3dgs", background=(0.0, 0.0, 0.0))
    vertices = foreign(model)[0]
    kept = [name for name in vertices.dtype.names if name != "scale_2"]
    two = np.array([tuple(v[name] for name in kept) for v in vertices], dtype=[(name, "f4") for name in kept])
    (tmp_path / "a.ply").write_bytes(write_foreign(two))
    with pytest.warns(UserWarning, match="a file of 2D Gaussians.*flat 3D Gaussians"):
        read = read_ply(tmp_path / "a.ply")
    assert torch.equal(read.log_scales[:, :2], model.log_scales[:, :2])
    assert (read.log_scales[:, 2] == -40).all()


@pytest.mark.parametrize(
    ("comment", "method"),
    [
        ("SplatRenderMode: mip", "mip"), ("splatrendermode:mip", "mip"), ("SPLATRENDERMODE: MIP", "mip"),
        ("antialiased 1", "mip"), ("antialiased 0", "3dgs"), ("SplatRenderMode: default", "3dgs"),
        ("not antialiased 1", "3dgs"),
    ],
)  # fmt: skip
def test_comments_of_other_programs(tmp_path, comment, method):
    plain = foreign(random_model("3dgs", 0))[1]
    (tmp_path / "a.ply").write_bytes(plain.replace(b"element vertex", f"comment {comment}\nelement vertex".encode()))
    assert read_ply(tmp_path / "a.ply").config.method == method


def test_places_far_off_are_written_as_they_were(tmp_path):
    """UTM: doubles in the file, and in the model numbers that count from an origin."""
    offset = np.array([500_000.0, 5_000_000.0, 100.0])
    near = random_model("mip", 1)
    points = near.means.detach().double() + torch.from_numpy(offset)
    far = Gaussians.from_points(points, torch.rand(7, 3), GaussianConfig("mip"))
    assert far.means.dtype == torch.float32
    assert far.means.abs().max() < 10
    write_ply(tmp_path / "a.ply", far)
    vertex = PlyData.read(tmp_path / "a.ply")["vertex"]
    np.testing.assert_allclose([vertex[k] for k in "xyz"], points.T, rtol=0, atol=1e-6)
    again = read_ply(tmp_path / "a.ply")
    camera = camera_ring(1, size=32)[0]
    for model in (far, again):
        torch.testing.assert_close(
            model.render([placed(camera, -offset)]).colors,
            far.placed(offset).render([camera]).colors,
            rtol=0,
            atol=1e-4,
        )
    with pytest.raises(ValueError, match="cannot hold a scene so far from the origin"):
        splat_bytes(far)


# ------------------------------------------------------------------------------------------------- files of other kinds


def packed_ply(model: Gaussians, colours: bool = True) -> bytes:
    """The model as a compressed .ply, written after PlayCanvas' description; older files have no limits of colours."""
    n = len(model)
    values = dict(
        position=model.means.detach().numpy(), scale=model.log_scales.detach().numpy(),
        color=(0.5 + C0 * model.sh_dc[:, 0]).detach().numpy(),
    )  # fmt: skip
    starts = range(0, n, 256)
    low, high = (
        {k: np.stack([f(v[i : i + 256], 0) for i in starts]) for k, v in values.items()} for f in (np.min, np.max)
    )
    if not colours:
        low["color"], high["color"] = np.zeros((len(starts), 3)), np.ones((len(starts), 3))
    which = np.arange(n) // 256
    share = {k: (v - low[k][which]) / (high[k] - low[k])[which] for k, v in values.items()}

    def pack(parts, bits):
        out = np.zeros(n, np.uint64)
        for part, b in zip(parts, bits):
            out = out << np.uint64(b) | np.rint(part * (2**b - 1)).astype(np.uint64)
        return out.astype("<u4")

    quats = torch.nn.functional.normalize(model.quats, dim=-1).detach().numpy().copy()
    largest = np.abs(quats).argmax(1)
    quats *= np.sign(np.take_along_axis(quats, largest[:, None], 1))
    small = np.stack([np.delete(q, i) for q, i in zip(quats, largest)]) / 2**0.5 + 0.5
    opacity = model.opacity_logits.sigmoid().detach().numpy()
    vertex = np.empty(n, [(f"packed_{k}", "<u4") for k in ("position", "rotation", "scale", "color")])
    vertex["packed_position"], vertex["packed_scale"] = (pack(share[k].T, (11, 10, 11)) for k in ("position", "scale"))
    vertex["packed_rotation"] = pack((largest / 3, *small.T), (2, 10, 10, 10))
    vertex["packed_color"] = pack((*share["color"].T, opacity), (8, 8, 8, 8))
    limits = [
        low["position"],
        high["position"],
        low["scale"],
        high["scale"],
        *([low["color"], high["color"]] * colours),
    ]
    kinds = ("", "xyz"), ("scale_", "xyz"), ("", "rgb")
    names = [f"{end}_{kind}{axis}" for kind, axes in kinds for end in ("min", "max") for axis in axes]
    bounds = np.concatenate(limits, 1)
    chunks = np.array([tuple(row) for row in bounds], [(name, "<f4") for name in names[: bounds.shape[1]]])
    rest = np.clip((model.sh_rest.detach().transpose(1, 2).flatten(1).numpy() / 8 + 0.5) * 256, 0, 255).astype("u1")
    sh = np.array([tuple(row) for row in rest], [(f"f_rest_{i}", "u1") for i in range(rest.shape[1])])
    elements = [
        PlyElement.describe(x, k) for x, k in ((chunks, "chunk"), (vertex, "vertex"), (sh, "sh")) if x.dtype.names
    ]
    file = io.BytesIO()
    PlyData(elements).write(file)
    return file.getvalue()


@pytest.mark.parametrize(("degree", "colours"), [(1, True), (3, True), (0, False)])
def test_a_compressed_ply_is_read(tmp_path, degree, colours):
    """To the steps of its numbers: 1/1023 of a chunk's extent, 1/255 of its colours, 1/32 of a harmonic."""
    model = random_model("3dgs", degree, n=600, background=(0.0, 0.0, 0.0))
    with torch.no_grad():
        model.sh_dc.clamp_(-1.7, 1.7)
        model.sh_rest.clamp_(-3.9, 3.9)
    (tmp_path / "a.compressed.ply").write_bytes(packed_ply(model, colours))
    read = read_ply(tmp_path / "a.compressed.ply")
    assert read.config == GaussianConfig("3dgs", degree)
    for name, step in (("means", 8 / 1023), ("log_scales", 8 / 1023), ("sh_dc", 4 / 255), ("sh_rest", 1 / 32)):
        torch.testing.assert_close(read.get_parameter(name), model.get_parameter(name), rtol=0, atol=0.51 * step)
    torch.testing.assert_close(read.opacity_logits.sigmoid(), model.opacity_logits.sigmoid(), rtol=0, atol=0.51 / 255)
    cosine = (torch.nn.functional.normalize(model.quats, dim=-1) * read.quats).sum(-1).abs()
    assert cosine.min() > 1 - 1e-5
    assert set(torch.nn.functional.normalize(model.quats, dim=-1).abs().argmax(-1).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        (lambda d: d.replace(b"element chunk 1", b"element chunk 0"), "element chunk", "at least one chunk"),
        (lambda d: d.replace(b"uint packed_scale", b"int packed_scale"), "element vertex", "packed_position, packed_rotation"),
        (lambda d: d.replace(b"float min_y", b"float min_q"), "property min_y", "a property"),
        (lambda d: d[:-1], "element sh", "at most 6"),
    ],
)  # fmt: skip
def test_a_bad_compressed_ply_is_refused(tmp_path, change, field, expected):
    (tmp_path / "a.ply").write_bytes(change(packed_ply(random_model("3dgs", 1))))
    with pytest.raises(FormatError) as caught:
        read_ply(tmp_path / "a.ply")
    assert caught.value.field == field, str(caught.value)
    assert expected in caught.value.expected, str(caught.value)


XYZ = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
OTHERS = {
    "points.ply": (XYZ + b"end_header\n1 2 3\n", "a point cloud .only 'x', 'y', 'z'"),
    "mesh.ply": (XYZ + b"element face 0\nproperty list uchar int vertex_indices\nend_header\n1 2 3\n", "a mesh"),
    "a.spz": (b"\x1f\x8b\x08" + bytes(60), r"Niantic's compressed \.spz; save it as \.ply"),
    "spz named.ply": (b"\x1f\x8b\x08" + bytes(60), r"Niantic's compressed \.spz"),
    "a.sog": (b"PK\x03\x04" + bytes(60), "PlayCanvas' .sog; save it"),
    "a.ksplat": (bytes(5000), "compressed .ksplat; save it"),
    "a.obj": (b"v 0 0 0\n", r"a mesh \(.obj\)$"),
    "a.pcd": (b"# .PCD v0.7\n", r"a point cloud \(.pcd\)$"),
    "pcd named.ply": (b"# .PCD v0.7\n", r"a point cloud \(.pcd\)$"),
    "a.npz": (b"PK\x03\x04" + bytes(60), r"NumPy \(.npz\); write it as .ply with the program that made it"),
    "a.pth": (b"PK\x03\x04" + bytes(60), r"a checkpoint of PyTorch \(.pth\); write it as .ply"),
    "a.pt": (b"\x80\x02" + bytes(60), r"a checkpoint of PyTorch \(.pt\); write it as .ply"),
    "meta.json": (b'{"means": {}}', "the meta.json of PlayCanvas' SOG; save it"),
    "text.ply": (b"hello", 'header line 1: expected "ply"'),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_3dgs_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(OTHERS[name][0])
    with pytest.raises(FormatError, match=OTHERS[name][1]):
        read_scene(tmp_path / name)


def test_the_content_tells_a_ply_from_a_splat(tmp_path):
    model = random_model("3dgs", 0)
    (tmp_path / "a.splat").write_bytes(ply_bytes(model))
    (tmp_path / "b.splat").write_bytes(splat_bytes(model))
    assert_same(read_scene(tmp_path / "a.splat"), model)
    assert read_scene(tmp_path / "b.splat", "mip").config == GaussianConfig("mip")


def test_bad_text_ply_is_refused(tmp_path):
    lines = foreign(random_model(), text=True)[1].splitlines()
    start = lines.index(b"end_header") + 1
    path = tmp_path / "a.ply"
    for change, field, expected, found in (
        (lines[start + 2] + b" 1", "vertex 2", "63 numbers on a line", "64"),
        (lines[start + 2][3:].replace(b" ", b" x", 1), "vertex 2", "numbers", "x"),
        (b"", "vertex 2", "63 numbers on a line", "0"),
    ):
        path.write_bytes(b"\n".join([*lines[: start + 2], change, *lines[start + 3 :]]))
        with pytest.raises(FormatError) as caught:
            read_ply(path)
        error = caught.value
        assert (error.field, expected in error.expected, found in error.found) == (field, True, True), str(error)
    path.write_bytes(b"\n".join(lines[:start] + lines[start:] * 9).replace(b"vertex 7", b"vertex 5000"))
    with pytest.raises(FormatError, match=r"element vertex: expected at most .*, found 5000"):
        read_ply(path)


def test_missing_file_and_folder(tmp_path):
    for path, found in ((tmp_path / "no.ply", "nothing of that name"), (tmp_path, "a folder")):
        for reader in (read_ply, read_splat):
            with pytest.raises(FormatError, match=f"{path}: file: expected a file, found {found}"):
                reader(path)


# ---------------------------------------------------------------------------------------------------------------- splat


def test_splat_bytes_are_what_viewers_expect(tmp_path):
    """Read with struct alone: 32 bytes each, scales and opacities after the 3D filter, the heaviest first."""
    model = random_model("mip")
    with torch.no_grad():
        model.sh_dc[0] = torch.tensor([9.0, -9.0, 0.0])  # far out of range: clipped
    scales, opacities = (x.detach() for x in model.scales_opacities())
    write_splat(tmp_path / "a.splat", model)
    data = (tmp_path / "a.splat").read_bytes()
    assert len(data) == 32 * len(model)
    order = sorted(range(len(model)), key=lambda i: -float(scales[i].prod() * opacities[i]))
    for k, i in enumerate(order):
        x, y, z, a, b, c, *rgbaq = struct.unpack_from("<6f8B", data, 32 * k)
        assert (x, y, z) == tuple(model.means[i].tolist())
        assert (a, b, c) == tuple(scales[i].tolist())
        color = (255 * (0.5 + C0 * model.sh_dc[i, 0])).clamp(0, 255).tolist()
        quat = (128 * model.quats[i] / model.quats[i].norm() + 128).clamp(0, 255).tolist()
        np.testing.assert_allclose(rgbaq, [*color, 255 * float(opacities[i]), *quat], atol=0.5 + 1e-4)


@pytest.mark.parametrize("method", ["3dgs", "mip"])
def test_splat_is_read_back(tmp_path, method):
    model = random_model("3dgs", 0, background=(0.0, 0.0, 0.0))
    with torch.no_grad():
        model.sh_dc.mul_(0.5)
        model.opacity_logits[:2] = torch.tensor([40.0, -40.0])
    order = torch.argsort(model.log_scales.sum(-1).exp() * model.opacity_logits.sigmoid(), descending=True)
    (tmp_path / "a.splat").write_bytes(splat_bytes(model))
    got = read_splat(tmp_path / "a.splat", method)
    assert got.config == GaussianConfig(method)
    assert torch.equal(got.means, model.means[order])
    torch.testing.assert_close(got.log_scales, model.log_scales[order], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        got.opacity_logits.sigmoid(), model.opacity_logits[order].sigmoid(), rtol=0, atol=0.51 / 255
    )
    assert got.opacity_logits.isfinite().all()
    torch.testing.assert_close(C0 * got.sh_dc, (C0 * model.sh_dc[order]).clamp(-0.5, 0.5), rtol=0, atol=0.51 / 255)
    directions = torch.nn.functional.normalize(model.quats[order], dim=-1)
    torch.testing.assert_close(got.quats, directions, rtol=0, atol=1.01 / 128)


def pack(mean=(0, 0, 0), scale=(1, 1, 1), rgba=(1, 2, 3, 4), quat=(255, 128, 128, 128)) -> bytes:
    return struct.pack("<6f8B", *mean, *scale, *rgba, *quat)


BAD_SPLAT = {
    "empty": (b"", "size", "a multiple of 32 bytes, and not 0", "0 bytes"),
    "truncated": (pack()[:-1], "size", "a multiple of 32 bytes", "31 bytes"),
    "nan": (pack((0, np.nan, 0)), "Gaussian 0, position y", "a finite number", "nan"),
    "infinite scale": (pack(scale=(1, 1, np.inf)), "Gaussian 0, scale 2", "a finite number", "inf"),
    "no scale": (pack() + 2 * pack(scale=(0, 0, 0)), "Gaussian 1, scale 0", "a size above 0", "0"),
    "negative": (pack(scale=(-1, 0, 1)), "Gaussian 0, scale 0", "a size above 0", "-1"),
    "quaternion": (pack(quat=(128,) * 4), "Gaussian 0, quaternion", "a rotation", "length 0"),
}


@pytest.mark.parametrize("what", BAD_SPLAT)
def test_bad_splat_is_refused(tmp_path, what):
    data, field, expected, found = BAD_SPLAT[what]
    path = tmp_path / "a.splat"
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        read_splat(path)
    error = caught.value
    assert (error.field, expected in error.expected, found in error.found) == (field, True, True), str(error)
    with pytest.raises(ValueError, match="method must be one of"):
        read_splat(path, "nerf")


def test_gaussians_of_a_splat_that_cannot_be_drawn_are_left_out(tmp_path):
    bad = (pack((0, np.nan, 0)), pack(quat=(128,) * 4), pack(scale=(0, 0, 0)))
    (tmp_path / "a.splat").write_bytes(b"".join((pack(), *bad, pack((1, 0, 0), scale=(1, 0, 1)), pack((2, 0, 0)))))
    with pytest.warns(UserWarning, match="3 of 6 Gaussians .* the first: Gaussian 1, position y is nan"):
        model = read_splat(tmp_path / "a.splat")
    assert model.means[:, 0].tolist() == [0, 1, 2]
    assert model.log_scales[1].tolist() == [0, -40, 0]  # flat
    assert not clouds.is_whole((tmp_path / "a.splat").read_bytes())
    assert clouds.is_whole(pack())


def test_splat_of_a_broken_model_is_refused():
    model = random_model("3dgs")
    with torch.no_grad():
        model.log_scales[0, 0] = 1000
    with pytest.raises(ValueError, match="not finite"):
        splat_bytes(model)


# ---------------------------------------------------------------------------------------------------------------- files


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.ply"
    write_ply(path, random_model("3dgs"))
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("bestpapers.lab.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_ply(path, random_model("mip"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_import_is_light():
    heavy = ("cv2", "PIL", "plyfile", "pycolmap")
    code = f"import sys, bestpapers.splatting.formats; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
