r"""A PLY file

Write a scene as the authors' program does, so that other programs can read it. A PLY file begins with lines of text:

```
ply
format binary_little_endian 1.0
element vertex <number of Gaussians>
property float <name>          one line for each property
end_header
```

Then come the numbers, Gaussian after Gaussian, each property as a little-endian float32. The 63 properties, in this order:

`x y z` · `nx ny nz` (zeros) · `f_dc_0` to `f_dc_2` · `f_rest_0` to `f_rest_44` · `opacity` · `scale_0` to `scale_2` · `rot_0`
to `rot_3` (w first) · `filter_3D` ($\varphi$)

Opacity and scale are stored *before* their activations. `f_rest` is stored channel by channel: 15 numbers of red, 15 of
green, 15 of blue.
"""

import numpy as np
import torch

from ...course.checks import Checker, close, true
from .. import model

LEVEL, MINUTES, DIFFICULTY = "core", 20, 2
HINT = r"""
Make one matrix [N, 63] with `torch.cat`, convert it with `.numpy().astype("<f4")`, and take `.tobytes()`. In the scene,
`sh_rest` is [N, 15, 3]: the channel comes last, and has to come first.
"""
NOTE = r"""
63 numbers of 4 bytes are 252 bytes a Gaussian. Nothing in such a file says how to draw it: neither $\varepsilon$ nor
$\rho$. A reader that finds `filter_3D` may guess. [4_apply](4_apply.ipynb) shows what comes of guessing.
"""


def ply_file(scene: model.Gaussians) -> bytes:
    """The scene as the content of a .ply file.

    scene has N Gaussians: means [N, 3], sh_dc [N, 1, 3], sh_rest [N, 15, 3],
    opacity_logits [N], log_scales [N, 3], quats [N, 4] and phi [N]
    """
    groups = {"f_dc": 3, "f_rest": 45, "opacity": 0, "scale": 3, "rot": 4}
    names = ["x", "y", "z", "nx", "ny", "nz"]
    for group, count in groups.items():
        names += [f"{group}_{i}" for i in range(count)] or [group]
    names += ["filter_3D"]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(scene)}"]
    lines += [*(f"property float {name}" for name in names), "end_header", ""]
    rest = scene.sh_rest.transpose(1, 2).flatten(1)  # [N, 45], channel by channel
    columns = [scene.means, torch.zeros_like(scene.means), scene.sh_dc[:, 0], rest]
    columns += [scene.opacity_logits[:, None], scene.log_scales, scene.quats]
    table = torch.cat([*columns, scene.phi[:, None]], 1)
    return "\n".join(lines).encode() + table.detach().numpy().astype("<f4").tobytes()


check = Checker("5.11")
N = 3
NAMES = (
    *"xyz", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(45)), "opacity",
    *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)), "filter_3D",
)  # fmt: skip


def _scene() -> model.Gaussians:
    generator = torch.Generator().manual_seed(0)
    shapes = model.Gaussians.shapes(N, 3)
    parameters = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return model.Gaussians(parameters, model.GaussianConfig("mip", sh_degree=3), torch.rand(N, generator=generator))


def _read(data: bytes) -> tuple[list[str], dict[str, np.ndarray], bytes]:
    """Lines of the header, columns by name, and the bytes after the header."""
    head, _, body = data.partition(b"end_header\n")
    rows = np.frombuffer(body[: 252 * N], "<f4").reshape(-1, 63)
    return head.decode("ascii").splitlines(), dict(zip(NAMES, rows.T, strict=True)), body


def _columns(answer, *names: str) -> np.ndarray:
    table = _read(answer(_scene()))[1]
    return np.stack([table[name] for name in names], 1)


@check.property("the header says ply, little-endian, and how many Gaussians")
def _(answer):
    lines = _read(answer(_scene()))[0]
    close(lines[:2] == ["ply", "format binary_little_endian 1.0"], True, hint=f"the first two lines are {lines[:2]}")
    true(f"element vertex {N}" in lines, f"a line 'element vertex {N}'", ", ".join(lines[2:4]))


@check.property("the header names the 63 properties as float, in order")
def _(answer):
    found = [line.split() for line in _read(answer(_scene()))[0] if line.startswith("property")]
    wanted = [["property", "float", name] for name in NAMES]
    wrong = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), 63))
    expected = " ".join(wanted[wrong]) if wrong < 63 else "63 properties"
    there = " ".join(found[wrong]) if wrong < len(found) else f"the end, after {len(found)}"
    true(found == wanted, f"as number {wrong + 1}: {expected}", there)


@check.property("252 bytes a Gaussian follow the header")
def _(answer):
    close(len(_read(answer(_scene()))[2]), 252 * N)


@check.property("positions and quaternions are little-endian float32")
def _(answer):
    close(_columns(answer, "x", "y", "z"), _scene().means)
    close(_columns(answer, *(f"rot_{i}" for i in range(4))), _scene().quats, hint="w first, as it is, any length")


@check.property("opacity and scale stand before their activations")
def _(answer):
    close(_columns(answer, "opacity")[:, 0], _scene().opacity_logits)
    close(_columns(answer, "scale_0", "scale_1", "scale_2"), _scene().log_scales)


@check.property("f_rest holds all of red, then green, then blue")
def _(answer):
    close(_columns(answer, "f_dc_0", "f_dc_1", "f_dc_2"), _scene().sh_dc[:, 0])
    close(_columns(answer, *(f"f_rest_{i}" for i in range(45))), _scene().sh_rest.transpose(1, 2).flatten(1))


@check.property("filter_3D holds phi, and normals are 0")
def _(answer):
    close(_columns(answer, "filter_3D")[:, 0], _scene().phi)
    close(_columns(answer, "nx", "ny", "nz"), np.zeros((N, 3)))
