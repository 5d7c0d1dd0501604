import math

import numpy as np
import pytest

from bestpapers.dynamics.scenes import flowers
from bestpapers.dynamics.scenes.backgrounds import draw_background
from bestpapers.dynamics.worlds import Wind, make_scene

SIZE = (48, 64)


@pytest.fixture(scope="module", params=(0, 2, 6))
def scene(request):
    return make_scene("flowers", request.param)


@pytest.fixture(scope="module")
def ground():
    return draw_background("flowers", np.random.default_rng(1), hour="day")


def plant(name, ground, distance=1.2, seed=0):
    grown = flowers.Plant(np.random.default_rng(seed), flowers.SPECIES[name], ground, (0.8, 1.1), distance, 0)
    grown.stem()
    grown.blades()
    grown.head()
    return grown


def test_each_plant_has_its_own_modes(scene):
    assert len(scene.bodies) > 150
    assert (scene.frequencies < 5).all()
    assert (scene.frequencies > 0.3).all()
    assert len(np.unique(scene.frequencies.round(6))) == len(scene.frequencies)
    assert ((scene.damping >= 0.04) & (scene.damping <= 0.10)).all()
    assert scene.mask(*SIZE).mean() > 0.15


def test_near_plants_are_painted_over_far_ones_and_are_larger(scene):
    order = [part.body for part in scene.parts]
    assert order == sorted(order)
    spans = [
        np.ptp(np.concatenate([p.outline for p in scene.parts if p.body == b])[:, 1]) for b in range(len(scene.bodies))
    ]
    third = len(spans) // 3
    assert np.mean(spans[-third:]) > 2 * np.mean(spans[:third])


def test_gusts_run_over_the_field(scene):
    """With wind from the left, the plants on the left are pushed first."""
    dt = 1 / 60
    for direction in (0.0, math.pi):
        wind = Wind(1.0, direction, 4, tau=0.6, speed=0.8)
        points = np.array([body.points[0] for body in scene.bodies])
        left, right = int(points[:, 0].argmin()), int(points[:, 0].argmax())
        a, b = wind.gusts(points[[left, right]], 12_000, dt).T
        lags = np.arange(-400, 401)
        match = [np.mean(a[400:-400] * b[400 + lag : len(b) - 400 + lag]) for lag in lags]
        late = lags[int(np.argmax(match))] * dt
        assert late == pytest.approx(math.cos(direction) * np.ptp(points[:, 0]) / 0.8, abs=0.25)
        forces = scene.forces(wind, 200, dt)
        assert np.isfinite(forces).all()
        assert (forces.std(0) > 0).all()


@pytest.mark.parametrize("name", list(flowers.SPECIES))
def test_every_flower_is_drawn_and_moves(name, ground):
    for distance in (1.0, 2.4, 5.0):
        grown = plant(name, ground, distance)
        assert len(grown.parts) >= 4
        assert all(np.isfinite(part.outline).all() for part in grown.parts)
        head = [part for part in grown.parts if part.material in (flowers.petal, flowers.rosette)]
        assert head
        assert all(np.abs(part.motion[:, 0]).max() > 0 for part in head)
        for part in grown.parts:
            u = np.linspace(0, 0.02, 30)
            colours = part.material(u, 0.3 * u, np.array(part.skin)[:, None] + np.zeros(30), 0.002)
            assert colours.shape == (30, 3)
            assert np.isfinite(colours).all()
            assert colours.min() > -0.2
            assert colours.max() < 1.5


def test_far_flowers_are_simpler_and_paler(ground):
    near, far = plant("daisy", ground, 1.0), plant("daisy", ground, 6.0)
    assert len(near.parts) > 20 > len(far.parts)
    haze = 0.85 * np.array(ground.haze)
    tone = [np.array(grown.tones((0.9, 0.1, 0.1))).reshape(2, 3) for grown in (near, far)]
    assert np.abs(tone[1] - haze).mean() < 0.7 * np.abs(tone[0] - haze).mean()


@pytest.mark.parametrize("name", list(flowers.SPECIES))
def test_a_steady_wind_bends_all_flowers_alike(name, ground):
    for distance in (1.0, 4.0):
        grown = plant(name, ground, distance)
        q = grown.body.loads.sum(0)[:, 0] / (2 * math.pi * grown.body.frequencies) ** 2
        dx, _, turn = q @ grown.wood.motion(len(grown.wood.tip) - 1)
        arm = np.array(grown.wood.tip[-1]) - grown.wood.base[-1]
        tall = grown.nodes[0, 1] - grown.nodes[-1, 1]
        assert abs(dx - turn * arm[1]) / tall == pytest.approx(flowers.BEND, rel=0.5)
        assert dx - turn * arm[1] > 0  # downwind


def test_head_and_stem_stay_joined(ground):
    grown = plant("poppy", ground)
    wood = grown.wood
    for s, p in enumerate(wood.parent):
        if p >= 0:
            arm = np.array(wood.base[s]) - wood.base[p]
            moved = wood.motion(p)[:, :2] + wood.motion(p)[:, 2:] * np.array([-arm[1], arm[0]])
            np.testing.assert_allclose(wood.motion(s)[:, :2], moved, atol=1e-8 * np.abs(moved).max())
    petals = [part for part in grown.parts if part.material is flowers.petal]
    assert {part.pivot for part in petals} == {wood.base[-1]}


def test_fields_are_mixtures_of_known_flowers():
    for mixture in flowers.FIELDS:
        assert set(mixture) <= set(flowers.SPECIES)
        assert sum(mixture.values()) == pytest.approx(1)


def test_small_flowers_have_a_middle(ground):
    part = next(p for p in plant("daisy", ground, 6.0).parts if p.material is flowers.rosette)
    radius = part.skin[6]
    u = np.linspace(0, radius, 20)
    colours = flowers.rosette(u, np.zeros(20), np.array(part.skin)[:, None] + np.zeros(20), 0.002)
    np.testing.assert_allclose(colours[0], part.skin[11:14], atol=1e-6)
    assert np.abs(colours[-1] - colours[0]).max() > 0.1
