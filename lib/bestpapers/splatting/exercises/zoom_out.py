r"""The zoom-out experiment

Write the paper's main experiment, for one method and one scene. Train on the pictures of the *full* size only, which is the
largest width in `world.train`. Score on the test pictures of the *smallest* width in `world.test`. The method decides how the
scene is drawn in both.

The library has the parts: `model.Gaussians.from_points(points, colors, model.GaussianConfig(method))`,
`train.Trainer(cloud, views, config)` with `train.TrainConfig(iterations=..., density=None)`, and `evaluate.evaluate(cloud,
views)`, where `views` are a dictionary from widths to pictures.

Then run it: `make_dataset("wheel", size=96, seed=seed, n_points=1500)`, 200 iterations, three seeds, three methods. Write
down first by how much you expect Mip-Splatting to lead.
"""

import dataclasses
import functools

import torch

from ...course.checks import Checker, close, true
from .. import data, evaluate, model, train

LEVEL, MINUTES, DIFFICULTY = "challenge", 30, 2
HINT = r"""
`world.train` may hold several sizes, and `Trainer` uses all that it gets. Hand it a dictionary with one entry.
"""
NOTE = r"""
At the size of training, the three lie close together. At 1/8 of it, 3DGS draws splats that are many times too thick. EWA
and Mip-Splatting both keep the light, on average over places; EWA's wider filter blurs what twelve pixels could still show.
The lead over EWA hangs on the budget: try 1,000 splats, or 150 iterations, before you call it a law.
[3_reproduce](3_reproduce.ipynb), section 1, has the same experiment with more training.
"""


def zoom_out(world: data.Dataset, method: str, iterations: int) -> float:
    """Train at full size, test at the smallest.

    world.train and world.test are {width: views}; world.points [N, 3] and world.colors
    [N, 3] are what to start from; method "3dgs", "ewa" or "mip" -> PSNR in dB
    """
    full, small = max(world.train), min(world.test)
    filtered = model.GaussianConfig(method)
    cloud = model.Gaussians.from_points(world.points, world.colors, filtered)
    config = train.TrainConfig(iterations=iterations, density=None)
    train.Trainer(cloud, {full: world.train[full]}, config).run(quiet=True)
    return evaluate.evaluate(cloud, {small: world.test[small]})[small]["psnr"]


def run() -> None:
    """The experiment itself, for the cell of the solution."""
    worlds = [data.make_dataset("wheel", size=96, seed=s, n_points=1500) for s in range(3)]
    mean = {}
    for method in ("3dgs", "ewa", "mip"):
        mean[method] = sum(zoom_out(world, method, 200) for world in worlds) / 3
    for other in ("ewa", "3dgs"):
        lead = f"{mean['mip'] - mean[other]:.1f} dB"
        print(f"at 1/8, Mip-Splatting leads {other} by {lead} (mean of three seeds)")
    assert mean["mip"] > mean["ewa"] + 1
    assert mean["mip"] > mean["3dgs"] + 5


check = Checker("5.12")
METHODS = ("3dgs", "ewa", "mip")


@functools.cache
def _world() -> data.Dataset:
    """A small wheel. Its smaller training pictures are plain magenta: who trains on them shows it."""
    world = data.make_dataset("wheel", size=32, n_points=250, train_sizes=(32, 16))
    magenta = torch.tensor([1.0, 0.0, 1.0]).expand(world.train[16].images.shape)
    spoiled = data.Views(world.train[16].cameras, magenta.clone())
    return dataclasses.replace(world, train={32: world.train[32], 16: spoiled})


@check.property("after one step, each method scores what its own filter gives at the smallest size")
def _(answer):
    for method in METHODS:
        close(answer(_world(), method, 1), zoom_out(_world(), method, 1), rtol=0, atol=0.3)


@check.property("training helps, as much as the library's own")
def _(answer):
    for method in ("ewa", "mip"):
        reached, wanted = answer(_world(), method, 60), zoom_out(_world(), method, 60)
        hint = "the smaller training pictures are magenta: train at full size only"
        true(reached > wanted - 2, f"at least {wanted - 2:.1f} dB with {method!r}", f"{reached:.1f} dB", hint=hint)
