import math

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.special import jn_zeros
from scipy.stats import spearmanr

from bestpapers.dynamics.scenes import lanterns
from bestpapers.dynamics.scenes.lanterns import GRAVITY, Links, line, strand
from bestpapers.dynamics.worlds import Scene, Wind, make_scene

H, W = 48, 64
SEEDS = (1, 5, 11)  # strands; blossoms with lanterns; a line of bulbs


@pytest.fixture(scope="module", params=SEEDS)
def scene(request):
    return make_scene("lanterns", request.param)


# ------------------------------------------------------------------------------------------------- strands, analytically


def squares(links, count=None):
    """omega^2 L / g for L = 1 m."""
    return (2 * math.pi * links.modes(count)[0]) ** 2 / GRAVITY


def test_a_weight_on_a_thread_is_a_pendulum():
    for length in (0.25, 1.0, 3.0):
        hertz, _ = strand((0, 0), [length], [0.7]).modes()
        assert hertz[0] == pytest.approx(math.sqrt(GRAVITY / length) / (2 * math.pi), rel=1e-12)


def test_a_hanging_rod_is_a_physical_pendulum():
    length, mass = 0.8, 0.3
    rod = strand((0, 0), [length], [mass], [mass * length**2 / 12], [length / 2])
    assert rod.modes()[0][0] == pytest.approx(math.sqrt(1.5 * GRAVITY / length) / (2 * math.pi), rel=1e-12)


def test_a_double_pendulum_has_its_two_frequencies():
    np.testing.assert_allclose(squares(strand((0, 0), [1, 1], [1, 1])), [2 - math.sqrt(2), 2 + math.sqrt(2)], rtol=1e-12)


def test_a_fine_chain_has_the_zeros_of_the_bessel_function():
    n, length = 80, 2.0
    piece = length / n
    chain = strand((0, 0), [piece] * n, [1 / n] * n, [piece**2 / 12 / n] * n, [piece / 2] * n)
    found = 2 * math.pi * chain.modes(4)[0] / math.sqrt(GRAVITY / length)
    np.testing.assert_allclose(found, jn_zeros(0, 4) / 2, rtol=3e-3)


def test_longer_strands_swing_slower_by_the_root_of_their_length():
    short, long = (strand((0, 0), [s] * 4, [0.1] * 4).modes()[0] for s in (0.1, 0.4))
    np.testing.assert_allclose(short, 2 * long, rtol=1e-9)


def test_stiff_joints_make_it_quicker():
    soft, stiff = (strand((0, 0), [0.2] * 4, [0.05] * 4, bend=b).modes()[0] for b in (0.0, 0.1))
    assert (stiff > soft).all()


def test_modes_are_orthogonal_and_of_unit_mass():
    links = strand((0, 0), [0.3, 0.2, 0.5], [0.2, 0.1, 0.4], [0.01, 0.0, 0.02], [0.2, 0.1, 0.3], bend=0.02)
    m, k = links.matrices()
    hertz, angles = links.modes()
    np.testing.assert_allclose(angles.T @ m @ angles, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(angles.T @ k @ angles, np.diag((2 * math.pi * hertz) ** 2), atol=1e-7)


# --------------------------------------------------------------------------------- against the energy at finite angles


def place(links, angles):
    """Where each mass's centre and each end is when the links turn by finite angles: an independent computation."""
    centres, ends = np.zeros((len(angles), 2)), np.zeros((len(angles), 2))
    for i, p in enumerate(links.parent):
        c, s = math.cos(angles[i]), math.sin(angles[i])
        turn = np.array([[c, -s], [s, c]])
        base = links.base[i] if p < 0 else ends[p]
        centres[i], ends[i] = base + turn @ links.centre[i], base + turn @ links.reach[i]
    return centres, ends


def energy(links, angles):
    bends = angles - np.array([angles[p] if p >= 0 else 0.0 for p in links.parent])
    return -GRAVITY * links.mass @ place(links, angles)[0][:, 1] + 0.5 * links.bend @ bends**2


def swinging():
    return strand((0.1, 0.2), [0.3, 0.2, 0.5], [0.2, 0.1, 0.4], [0.01, 0.0, 0.02], [0.2, 0.1, 0.3], bend=0.05)


def hanging():
    return line((0.0, 0.0), (2.0, 0.3), 0.35, [0.3, 0.2, 0.4], [0.3, 0.25, 0.2], inertias=[0.002] * 3)


@pytest.mark.parametrize("links", [swinging(), hanging()], ids=["strand", "line"])
def test_the_jacobian_is_the_derivative_of_where_masses_are(links):
    n, h = len(links.parent), 1e-6
    for a in range(n):
        angles = np.zeros(n)
        angles[a] = h
        up = place(links, angles)[0]
        down = place(links, -angles)[0]
        np.testing.assert_allclose((up - down) / (2 * h), links.jacobian()[:, :, a], atol=1e-8)


def test_stiffness_is_the_second_derivative_of_the_energy():
    links = swinging()
    _, k = links.matrices()
    n, h = 3, 1e-3
    eye = h * np.eye(n)
    for a in range(n):
        for b in range(n):
            corners = [s * t * energy(links, s * eye[a] + t * eye[b]) for s in (1, -1) for t in (1, -1)]
            assert sum(corners) / (4 * h * h) == pytest.approx(k[a, b], abs=1e-4)


def test_on_a_closed_line_too_energy_grows_as_the_modes_say():
    """Along a mode, with the small second-order turn that keeps both ends where they are."""
    links = hanging()
    hertz, angles = links.modes()
    last = links.closing[-1]
    target = place(links, np.zeros(len(links.parent)))[1][last]
    still = energy(links, np.zeros(len(links.parent)))
    for j in range(4):
        found = []
        for sign in (1, -1):
            turn = sign * 1e-3 * angles[:, j] / np.abs(angles[:, j]).max()
            size = turn @ angles[:, j] / (angles[:, j] @ angles[:, j])
            for _ in range(20):  # Newton's method in the first and the last link
                miss = place(links, turn)[1][last] - target
                if np.abs(miss).max() < 1e-15:
                    break
                columns = []
                for a in (links.closing[0], last):
                    nudge = np.zeros(len(turn))
                    nudge[a] = 1e-7
                    columns.append((place(links, turn + nudge)[1][last] - place(links, turn - nudge)[1][last]) / 2e-7)
                change = np.linalg.solve(np.array(columns).T, -miss)
                turn[links.closing[0]] += change[0]
                turn[last] += change[1]
            found.append(2 * (energy(links, turn) - still) / size**2)
        assert np.mean(found) == pytest.approx((2 * math.pi * hertz[j]) ** 2, rel=2e-3)


# ---------------------------------------------------------------------------------------------------------------- lines


def test_a_line_reaches_its_supports_and_sags_as_asked():
    links = hanging()
    ends = links.base + links.reach
    np.testing.assert_allclose(links.base[0], (0.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(ends[links.closing[-1]], (2.0, 0.3), atol=1e-12)
    knots = ends[list(links.closing[:-1])]
    below = knots[:, 1] - 0.3 * knots[:, 0] / 2.0
    assert below.max() == pytest.approx(0.35, abs=1e-12)


def test_a_line_is_in_balance_at_each_knot():
    links = hanging()
    own = list(links.closing)
    along = links.reach[own] / links.reach[own, :1]  # with a horizontal part of 1
    tension = links.pull[0] * along
    assert tension[-1] == pytest.approx(links.pull)
    carried = links.mass[own[:-1]] + links.mass[len(own) :]
    for k in range(len(own) - 1):
        force = tension[k + 1] - tension[k] + np.array([0.0, GRAVITY * carried[k]])
        np.testing.assert_allclose(force, 0.0, atol=1e-9)


def test_a_light_cable_has_irvines_frequencies():
    n, span, sag = 79, 10.0, 0.1
    cable = line((0.0, 0.0), (span, 0.0), sag, [0.0] * n, rope=span / (n + 1))
    tension = cable.pull[0]
    assert tension == pytest.approx(GRAVITY * span**2 / (8 * sag), rel=1e-3)
    found = 2 * math.pi * cable.modes(3)[0] * span / math.sqrt(tension) / math.pi
    np.testing.assert_allclose(found, [2.0, 2.86, 4.0], rtol=4e-3)  # to and fro, in and out, to and fro twice
    deep = line((0.0, 0.0), (span, 0.0), 4 * sag, [0.0] * n, rope=span / (n + 1))
    assert cable.modes(1)[0][0] == pytest.approx(2 * deep.modes(1)[0][0], rel=0.02)
    assert cable.modes(1)[0][0] == pytest.approx(math.sqrt(GRAVITY / (8 * sag)), rel=0.01)


def test_modes_of_a_line_leave_its_second_support_alone():
    links = hanging()
    _, angles = links.modes()
    last = links.closing[-1]
    moved = links.base_jacobian()[last] + np.outer([-links.reach[last, 1], links.reach[last, 0]], np.eye(len(links.parent))[last])
    np.testing.assert_allclose(moved @ angles, 0.0, atol=1e-9)
    assert angles.shape == (len(links.parent), len(links.parent) - 2)


def test_what_cannot_hang_is_refused():
    with pytest.raises(ValueError, match="sag: expected a length above 0, found 0"):
        line((0, 0), (1, 0), 0.0, [0.1])
    up = Links(np.array([-1]), np.zeros((1, 2)), np.array([[0.0, -1.0]]), np.ones(1), np.array([[0.0, -1.0]]), np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match="these links do not hang"):
        up.modes()


# --------------------------------------------------------------------------------------------------------------- scenes


def test_scenes_are_the_same_each_time_and_differ_from_each_other(scene):
    again: Scene = lanterns.build(np.random.default_rng([2, scene.seed]))
    np.testing.assert_array_equal(again.frequencies, scene.frequencies)
    np.testing.assert_array_equal(again.picture(H, W), scene.picture(H, W))
    other = make_scene("lanterns", scene.seed + 1)
    assert np.abs(other.picture(H, W).astype(float) - scene.picture(H, W)).mean() > 8


def test_frequencies_are_those_of_hanging_things(scene):
    assert 0.25 < scene.frequencies.min() < 1.6
    assert scene.frequencies.max() <= 5.0
    assert 0.0 < scene.damping.min() < scene.damping.max() < 0.3


def chains(scene):
    """Of each body, its links' first parts, from the support on: down a strand, or along a line."""
    for number in range(len(scene.bodies)):
        own = [p for p in scene.parts if p.body == number]
        first = {p.pivot: p for p in reversed(own)}
        upright = np.ptp([x for x, _ in first]) < 1e-9
        yield upright, own, [first[at] for at in sorted(first, key=lambda at: at[1] if upright else at[0])]


def test_from_the_picture_one_can_tell_who_swings_slower():
    """Of strands: the first frequency falls as the root of the length, whatever hangs on them."""
    depth, hertz = [], []
    for seed in range(12):
        scene = make_scene("lanterns", seed)
        for (upright, own, links), body in zip(chains(scene), scene.bodies):
            if upright:
                depth.append(max(p.outline[:, 1].max() for p in own) - links[0].pivot[1])
                hertz.append(body.frequencies[0])
    assert len(depth) > 20
    assert spearmanr(depth, hertz).statistic < -0.6
    steady = np.array(hertz) * np.sqrt(depth)  # in picture heights; scenes are 1.1 to 3.8 m high
    assert 0.16 * math.sqrt(GRAVITY / 4.0) < steady.min()
    assert steady.max() < 0.24 * math.sqrt(GRAVITY / 1.0)


def test_things_that_hang_on_each_other_stay_joined(scene):
    """Each link begins where the last one ends, in every mode."""
    joined = 0
    for _, own, links in chains(scene):
        for a, b in zip(links, links[1:]):
            arm = np.subtract(b.pivot, a.pivot)
            moved = a.motion[:, :2] + a.motion[:, 2:] * np.array([-arm[1], arm[0]])
            np.testing.assert_allclose(moved, b.motion[:, :2], atol=1e-9)
            joined += 1
        for part in own:  # what hangs from a knot begins there
            partner = next(link for link in links if link.pivot == part.pivot)
            np.testing.assert_allclose(part.motion[:, :2], partner.motion[:, :2], atol=1e-9)
        assert not links[0].motion[:, :2].any()  # the support stands
    assert joined > 0


def test_flow_follows_what_is_drawn(scene):
    """Taken back along the exact flow, a frame is the still, where it is still seen and nothing glows."""
    q = scene.motion(Wind(1.0, 0.1, 5), 40)
    some = q[[0, 13, 26, 39]]
    height, width = 96, 128
    frames = scene.frames(some, height, width).astype(float)
    flow, seen, mask = scene.flow(some, height, width), scene.visible(some, height, width), scene.mask(height, width)
    assert not flow[0].any()
    assert np.array_equal(frames[0], scene.picture(height, width))
    assert mask.any()
    rows, columns = np.mgrid[:height, :width]
    compared = 0
    for n in (1, 2, 3):
        where = seen[n] & mask & (np.abs(flow[n]).sum(0) > 0.7)
        if where.sum() < 40:
            continue
        compared += 1
        at = np.stack([rows + flow[n, 1], columns + flow[n, 0]])[:, where]
        back = np.stack([map_coordinates(frames[n, :, :, c], at, order=1, mode="nearest") for c in range(3)], -1)
        error = np.abs(back - frames[0][where]).mean()
        still = np.abs(frames[n][where] - frames[0][where]).mean()
        assert error < 0.62 * still, (n, error, still)
    assert compared > 0


def test_the_spectrum_is_that_of_the_flow(scene):
    q = scene.motion(Wind(1.3, 3.0, 2), 150)
    flow = scene.flow(q, 24, 32)
    expected = np.fft.rfft(flow.astype(float), axis=0)[:16]
    found = scene.spectrum(q, 24, 32)
    assert found.shape == (16, 2, 24, 32)
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_nothing_moves_where_the_mask_is_false(scene):
    q = scene.motion(Wind(1.0, 0.0, 1), 20)
    flow = scene.flow(q, H, W)
    assert not flow[:, :, ~scene.mask(H, W)].any()


def test_an_ordinary_wind_swings_them_by_some_hundredths_of_a_radian():
    for seed in SEEDS:
        scene = make_scene("lanterns", seed)
        q = scene.motion(Wind(1.0, 0.0, 3), 150)
        q = q - q.mean(0)
        own = [q[:, scene.starts[p.body] : scene.starts[p.body + 1]] @ p.motion[:, 2] for p in scene.parts]
        turns = np.sqrt((np.array(own) ** 2).mean(1))
        assert 0.02 < np.quantile(turns, 0.9) < 0.35


def test_lanterns_light_up_their_surroundings_at_night():
    for seed in range(40):
        rng = np.random.default_rng([9, seed])
        scene = lanterns.build(rng)
        if scene.glows:
            break
    assert scene.glows
    with_glows = scene.picture(H, W).astype(float)
    glow = scene.glows[0]
    plain = Scene("lanterns", scene.bodies, scene.parts, scene.background, finish=scene.finish)
    without = plain.picture(H, W).astype(float)
    assert (with_glows - without).min() >= -1.0
    column = round(np.clip((glow.centre[0] - 0.8) * H + 0.5 * W - 0.5, 0, W - 1))
    row = round(np.clip(glow.centre[1] * H - 0.5, 0, H - 1))
    near = (with_glows - without)[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5]
    assert near.max() > 2.0


def test_many_seeds_build_and_vary():
    counts, hertz = set(), []
    for seed in range(14):
        scene = lanterns.build(np.random.default_rng(seed))
        counts.add(len(scene.parts))
        hertz.append(scene.frequencies.min())
        assert np.isfinite(scene.frequencies).all()
        for part in scene.parts:
            assert part.outline.shape[0] >= 3
            assert np.isfinite(part.outline).all()
    assert len(counts) > 10
    assert max(hertz) > 1.5 * min(hertz)
