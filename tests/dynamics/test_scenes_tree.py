import math

import numpy as np
import pytest

from bestpapers.dynamics.scenes import tree
from bestpapers.dynamics.scenes.backgrounds import draw_background
from bestpapers.dynamics.worlds import make_scene

SIZE = (48, 64)
SEEDS = (0, 1, 2, 3)


@pytest.fixture(scope="module", params=SEEDS)
def scene(request):
    return make_scene("tree", request.param)


def grown(name, seed=0):
    rng = np.random.default_rng(seed)
    growth = tree.Growth(rng, tree.SPECIES[name], (0.8, 0.95), 0.9)
    growth.wood.solve(0.5, np.full(tree.MODES, 0.05))
    return growth


def test_modes_are_those_of_a_tree(scene):
    hertz, zeta = scene.frequencies, scene.damping
    assert 8 <= len(hertz) <= tree.MODES
    assert 0.35 <= hertz[0] <= 0.8
    assert (np.diff(hertz) > 0).all()
    assert hertz[-1] < 5
    assert ((zeta >= 0.04) & (zeta <= 0.10)).all()


def test_there_are_hundreds_of_leaves_and_they_move(scene):
    leaves = [part for part in scene.parts if part.material in (tree.foliage, tree.blossom) and part.body == 0]
    assert len(leaves) > 500
    assert all(np.abs(part.motion).max() > 0 for part in leaves)
    assert scene.mask(*SIZE).mean() > 0.08
    assert all(np.isfinite(part.outline).all() and len(part.outline) >= 6 for part in scene.parts)


def test_colours_are_many_and_lit(scene):
    picture = scene.picture(*SIZE).astype(float)
    inside = picture[scene.mask(*SIZE)]
    assert inside.std(0).max() > 15
    assert len(np.unique(inside.astype(int) // 16, axis=0)) > 40
    assert 15 < inside.mean() < 230


@pytest.mark.parametrize("name", list(tree.SPECIES))
def test_wood_hangs_together_when_it_swings(name):
    """Where a piece grows on another, both move alike, mode by mode."""
    growth = grown(name)
    wood = growth.wood
    checked = 0
    for s, p in enumerate(wood.parent):
        if p < 0:
            assert (
                np.abs(wood.motion(s)[:, :2]).max() < 1e-9 * np.abs(wood.motion(s)[:, 2]).max()
            )  # the foot stands still
            continue
        arm = np.array(wood.base[s]) - wood.base[p]
        parent = wood.motion(p)
        moved = parent[:, :2] + parent[:, 2:] * np.array([-arm[1], arm[0]])
        np.testing.assert_allclose(wood.motion(s)[:, :2], moved, atol=1e-9 * np.abs(moved).max() + 1e-9)
        checked += 1
    assert checked > 60


@pytest.mark.parametrize("name", list(tree.SPECIES))
def test_species_grow_within_bounds(name):
    growth = grown(name, 1)
    nodes = np.concatenate([limb.nodes for limb in growth.limbs])
    assert nodes[:, 1].min() > -0.6
    assert nodes[:, 1].max() < 1.25
    assert np.ptp(nodes[:, 0]) > 0.25
    for limb in growth.limbs:
        assert (np.diff(limb.radii) <= 1e-12).all()
    assert sum(limb.level == 1 for limb in growth.limbs) >= 8


def test_willows_hang_and_oaks_rise():
    heights = {}
    for name in ("willow", "oak"):
        growth = grown(name, 3)
        tips = [limb.nodes[-1, 1] - limb.nodes[0, 1] for limb in growth.limbs if limb.level == 2]
        heights[name] = np.mean(tips)
    assert heights["willow"] > 0.02  # y points down
    assert heights["oak"] < 0


def test_the_side_towards_the_light_is_brighter():
    rng = np.random.default_rng(5)
    ground = draw_background("tree", rng, hour="day")
    growth = grown("oak", 5)
    parts = [part for _, part in tree._leaves(growth, ground, rng)]
    spots = np.array([part.frame[:2] for part in parts])
    facing = np.array([part.skin[8] for part in parts])
    side = (spots - spots.mean(0)) @ np.array(ground.light[:2])
    assert np.corrcoef(side, facing)[0, 1] > 0.2


def test_the_shadow_lies_on_the_ground_only():
    ground = draw_background("tree", np.random.default_rng(2), hour="day")
    bare, shaded = ground.paint(60, 96), tree._shadowed(ground, (0.8, 0.95), 0.9)(60, 96)
    darker = (bare - shaded).max(-1) > 0.02
    rows = (np.arange(60) + 0.5) / 60
    assert darker.sum() > 20
    assert not darker[rows < ground.horizon - 0.02].any()


def test_bark_is_round_and_birches_are_white():
    v = np.linspace(-0.02, 0.02, 41)
    u = np.full(41, 0.1)
    skin = np.array([0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.2, 0.02, 0.02, 3.0, 0.8, 0.3, 0.0])[:, None] + np.zeros(41)
    colours = tree.bark(u, v, skin, 0.001)
    assert colours.shape == (41, 3)
    assert colours[30:38].mean() > colours[3:11].mean() + 0.15  # lit from the side that v points to
    skin[12] = 1.0
    assert tree.bark(u, v, skin, 0.001)[20:35].max() > 0.6
    assert math.isfinite(float(colours.sum()))
