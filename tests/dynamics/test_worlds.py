import math

import cv2
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.signal import welch

from bestpapers.dynamics import worlds
from bestpapers.dynamics.worlds import (
    Body,
    Branching,
    FieldPart,
    Glow,
    Part,
    Scene,
    Wind,
    integrate,
    make_scene,
    normal_modes,
    plant_seeds,
    ring,
)

H, W = 48, 64
SIZE = (H, W)


# ------------------------------------------------------------------------------------------------------------ toy scene


def box(x, y, w, h):
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], float)


def grey(height, width):
    return np.full((height, width, 3), 0.25)


def dotted(u, v, skin, pixel):
    """Red, with a soft white spot at the origin of the part's frame, of the radius in the skin."""
    spot = np.exp(-0.5 * (u**2 + v**2) / skin[0] ** 2)[:, None]
    return np.array([0.8, 0.1, 0.1]) * (1 - spot) + spot


def plain(u, v, skin, pixel):
    return skin[:3].T + np.zeros((len(u), 3))


def body(*hertz, zeta=0.05):
    n = len(hertz)
    return Body(np.array(hertz, float), np.full(n, zeta), np.array([[0.8, 0.5]]), np.ones((1, n, 2)))


def two_boxes():
    """A box that shifts to the right by mode 0 and turns by mode 1, and one in front of it that stands still."""
    moving = Part(
        box(0.5, 0.3, 0.35, 0.4),
        dotted,
        (0.03,),
        (0.6, 0.45, 0.0),
        0,
        (0.6, 0.6),
        np.array([[0.2, 0.05, 0.0], [0.0, 0.0, 1.0]]),
    )
    still = Part(box(0.95, 0.2, 0.3, 0.6), plain, (0.1, 0.2, 0.8))
    return Scene("toy", [body(0.7, 1.9)], [moving, still], grey)


@pytest.fixture(scope="module")
def toy():
    return two_boxes()


@pytest.fixture(scope="module", params=worlds.KINDS)
def scene(request):
    return make_scene(request.param, 1)


def breeze(seed=0, strength=1.0, direction=0.2):
    return Wind(strength, direction, seed)


def pixel(x, y, height=H, width=W):
    """Pixel coordinates (x, y) of a scene position."""
    return (x - 0.8) * height + 0.5 * width - 0.5, y * height - 0.5


# --------------------------------------------------------------------------------------------------------------- modes


def bent(tree, segment_points, angles):
    """Where points (one on each segment) go when every joint turns by a finite angle; an independent computation."""
    out = np.array(segment_points, float)
    bases = np.array(tree.base, float)
    for s in range(len(tree.parent)):  # from the root outwards: all that hangs on s turns about where its base is now
        below = [t for t in range(len(tree.parent)) if s in chain(tree, t)]
        c, si = math.cos(angles[s]), math.sin(angles[s])
        turn = np.array([[c, -si], [si, c]])
        pivot = bases[s].copy()
        for t in below:
            out[t] = pivot + turn @ (out[t] - pivot)
            bases[t] = pivot + turn @ (bases[t] - pivot)
    return out


def chain(tree, segment):
    found = []
    while segment >= 0:
        found.append(segment)
        segment = tree.parent[segment]
    return found


def small_tree():
    tree = Branching()
    trunk = tree.segment(-1, (0.8, 1.0), (0.82, 0.7), 0.05)
    upper = tree.segment(trunk, (0.82, 0.7), (0.8, 0.4), 0.04)
    tree.segment(trunk, (0.81, 0.85), (1.0, 0.7), 0.02, load=0.0002)
    left = tree.segment(upper, (0.81, 0.5), (0.6, 0.45), 0.02)
    tree.segment(left, (0.6, 0.45), (0.45, 0.3), 0.01, load=0.0001)
    return tree


def test_normal_modes_solve_the_equation_and_are_orthogonal_in_mass():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 7))
    mass, stiffness = a @ a.T + np.eye(7), b @ b.T
    omega, shapes = normal_modes(mass, stiffness)
    np.testing.assert_allclose(shapes.T @ mass @ shapes, np.eye(7), atol=1e-9)
    np.testing.assert_allclose(stiffness @ shapes, mass @ shapes * omega**2, atol=1e-8)
    assert (np.diff(omega) >= 0).all()
    few, slow = normal_modes(mass, stiffness, 3)
    np.testing.assert_allclose(few, omega[:3], rtol=1e-8)
    np.testing.assert_allclose(slow, shapes[:, :3], atol=1e-7)


def test_mass_of_a_branching_is_that_of_its_moving_lumps():
    tree = small_tree()
    base, tip, wood = np.array(tree.base), np.array(tree.tip), np.array(tree.mass)
    n, eps = len(base), 1e-5
    mass = np.zeros((n, n))
    for at, weight in ((0.5 * (base + tip), 0.5 * wood), (tip, 0.5 * wood + np.array(tree.load))):
        slope = np.stack([(bent(tree, at, eps * e) - bent(tree, at, -eps * e)) / (2 * eps) for e in np.eye(n)], -1)
        mass += np.einsum("scd,s,sce->de", slope, weight, slope)
    found, stiffness = tree.matrices()
    np.testing.assert_allclose(found, mass, atol=1e-9)
    np.testing.assert_allclose(stiffness, np.diag(tree.stiff))


def test_modes_of_a_branching():
    tree = small_tree()
    with pytest.raises(ValueError, match="call solve first"):
        tree.motion(0)
    solved = tree.solve(0.6, np.full(9, 0.05), highest=1e9)
    assert len(solved.frequencies) == 5
    assert solved.frequencies[0] == pytest.approx(0.6)
    mass, _ = tree.matrices()
    np.testing.assert_allclose(tree.shapes.T @ mass @ tree.shapes, np.eye(5), atol=1e-9)
    assert len(tree.solve(0.6, np.full(9, 0.05), highest=0.7).frequencies) == 1  # the others are faster
    tree.solve(0.6, np.full(9, 0.05), highest=1e9)
    # small motion of each mode is what finite turns of the joints do
    tip, eps = np.array(tree.tip), 1e-6
    for mode in range(5):
        shape = eps * tree.shapes[:, mode]
        gone = (bent(tree, tip, shape) - bent(tree, tip, -shape)) / (2 * eps)
        for s in range(5):
            dx, dy, turn = tree.motion(s)[mode]
            arm = tip[s] - tree.base[s]
            np.testing.assert_allclose([dx - turn * arm[1], dy + turn * arm[0]], gone[s], atol=1e-3)


def test_a_branching_refuses_nonsense():
    tree = Branching()
    with pytest.raises(ValueError, match="parent 3 does not exist"):
        tree.segment(3, (0, 0), (0, 1), 0.1)
    with pytest.raises(ValueError, match="must be positive"):
        tree.segment(-1, (0, 0), (0, 0), 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(damping=np.ones(3) * 0.1), r"damping \(3,\)"),
        (dict(loads=np.ones((1, 2, 3))), r"loads \(1, 2, 3\)"),
        (dict(damping=np.array([0.1, 1.2])), "between 0 and 1"),
        (dict(frequencies=np.array([0.0, 1.0])), "positive"),
    ],
)
def test_a_body_refuses_nonsense(change, message):
    right = dict(
        frequencies=np.array([1.0, 2.0]), damping=np.full(2, 0.1), points=np.zeros((1, 2)), loads=np.ones((1, 2, 2))
    )
    Body(**right)
    with pytest.raises(ValueError, match=message):
        Body(**(right | change))


# ---------------------------------------------------------------------------------------------------------------- time


def test_integration_is_exact():
    """Against a Runge-Kutta solver that knows nothing of modes, step of force by step of force."""
    hertz, zeta, dt = np.array([0.5, 2.3, 4.9]), np.array([0.04, 0.1, 0.3]), 1 / 120
    forces = np.random.default_rng(1).normal(size=(60, 3)) * 50
    found = integrate(hertz, zeta, forces, dt)
    omega = 2 * np.pi * hertz

    state = np.zeros(6)
    for n in range(60):
        np.testing.assert_allclose(found[n], state[:3], atol=1e-8)
        state = solve_ivp(
            lambda t, s: np.concatenate([s[3:], forces[n] - 2 * zeta * omega * s[3:] - omega**2 * s[:3]]),  # noqa: B023
            (0, dt),
            state,
            rtol=1e-11,
            atol=1e-13,
        ).y[:, -1]


def test_a_constant_force_ends_in_the_static_deflection():
    q = integrate(np.array([1.0]), np.array([0.1]), np.full((4000, 1), 3.0), 1 / 120)
    assert q[-1, 0] == pytest.approx(3.0 / (2 * np.pi) ** 2, rel=1e-6)


def test_free_modes_ring_as_the_equation_says():
    hertz, zeta, start = np.array([0.5, 3.0]), np.array([0.05, 0.3]), np.array([0.7, -1.2])
    omega, times = 2 * np.pi * hertz, np.linspace(0, 3, 40)
    q, speed = ring(hertz, zeta, start, times)
    solved = solve_ivp(
        lambda t, s: np.concatenate([s[2:], -2 * zeta * omega * s[2:] - omega**2 * s[:2]]),
        (0, 3),
        np.concatenate([start, np.zeros(2)]),
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
    ).y.T
    np.testing.assert_allclose(q, solved[:, :2], atol=1e-7)
    np.testing.assert_allclose(speed, solved[:, 2:], atol=1e-6)
    energy = 0.5 * (speed**2 + (omega * q) ** 2).sum(1)
    assert (np.diff(energy) < 0).all()
    assert energy[-1] < 0.2 * energy[0]


def power(hertz, tau, dt):
    """One-sided spectrum of a sampled Ornstein-Uhlenbeck process of variance 1."""
    keep = math.exp(-dt / tau)
    return 2 * dt * (1 - keep**2) / (1 - 2 * keep * np.cos(2 * np.pi * hertz * dt) + keep**2)


def test_wind_has_the_spectrum_of_two_ornstein_uhlenbeck_processes():
    dt, wind = 1 / 30, Wind(1.0, 0.0, 5, tau=0.5)
    gust = wind.gusts(np.array([[0.8, 0.5]]), 120_000, dt)[:, 0]
    assert gust.std() == pytest.approx(1, abs=0.05)
    hertz, found = welch(gust, 1 / dt, nperseg=512)
    right = (1 - worlds.FINE) * power(hertz, 0.5, dt) + worlds.FINE * power(hertz, 0.125, dt)
    inner = slice(2, 200)
    ratio = found[inner] / right[inner]
    assert abs(np.log(ratio)).max() < 0.5  # about 470 windows: 5 % each
    assert np.mean(ratio) == pytest.approx(1, abs=0.03)


def test_a_mode_answers_the_wind_as_its_transfer_function_says():
    dt, hertz0, zeta = 1 / 120, 0.8, 0.08
    gust = Wind(1.0, 0.0, 2, tau=0.5).gusts(np.array([[0.8, 0.5]]), 480_000, dt)
    q = integrate(np.array([hertz0]), np.array([zeta]), gust, dt)[5000:, 0]
    hertz, found = welch(q, 1 / dt, nperseg=8192)
    w, w0 = 2 * np.pi * hertz, 2 * np.pi * hertz0
    transfer = 1 / ((w0**2 - w**2) ** 2 + (2 * zeta * w0 * w) ** 2)
    right = transfer * ((1 - worlds.FINE) * power(hertz, 0.5, dt) + worlds.FINE * power(hertz, 0.125, dt))
    band = (hertz > 0.1) & (hertz < 3)
    assert np.mean(found[band] / right[band]) == pytest.approx(1, abs=0.06)
    assert hertz[np.argmax(found)] == pytest.approx(hertz0, abs=0.05)


def test_gusts_travel_downwind():
    points, dt = np.array([[0.4, 0.5], [1.2, 0.5]]), 1 / 60
    for direction in (0.0, math.pi):
        wind = Wind(1.0, direction, 3, tau=0.6, speed=0.8)
        a, b = wind.gusts(points, 20_000, dt).T
        lags = np.arange(-120, 121)
        match = [np.mean(a[200:-200] * b[200 + lag : len(b) - 200 + lag]) for lag in lags]
        late = lags[int(np.argmax(match))] * dt  # b against a
        assert late == pytest.approx(math.cos(direction) * 0.8 / 0.8, abs=0.1)


def test_wind_is_drawn_from_what_is_said():
    drawn = [Wind.draw(np.random.default_rng(seed)) for seed in range(300)]
    assert len(set(drawn)) == 300
    assert np.std([math.log(wind.strength) for wind in drawn]) == pytest.approx(0.45, abs=0.06)
    right = np.mean([math.cos(wind.direction) > 0 for wind in drawn])
    assert 0.35 < right < 0.65
    assert all(0.3 <= wind.tau <= 1 and 0.5 <= wind.speed <= 1.3 for wind in drawn)
    assert Wind.draw(np.random.default_rng(7)) == drawn[7]


def test_a_longer_clip_begins_like_a_shorter_one(toy):
    long, short = (toy.motion(breeze(), frames) for frames in (90, 30))
    np.testing.assert_allclose(long[:30], short, atol=1e-12)


def test_motion_is_proportional_to_strength_and_starts_at_the_picture(toy):
    one, two = (toy.motion(breeze(strength=s), 30) for s in (1.0, 2.0))
    np.testing.assert_allclose(two, 2 * one, atol=1e-12)
    assert (one[0] == 0).all()
    assert np.abs(one).max() > 0


def test_motion_takes_any_length_and_rate(toy):
    for frames, rate in ((1, 30.0), (7, 24.0), (60, 60.0)):
        q = toy.motion(breeze(), frames, rate)
        assert q.shape == (frames, 2)
        assert np.isfinite(q).all()
    steps = [np.abs(np.diff(toy.motion(breeze(), 900, rate), axis=0)).mean() for rate in (15.0, 60.0)]
    assert (
        steps[0] > 1.7 * steps[1]
    )  # four times the time between two frames; other gusts, since their steps are others
    for frames, rate in ((0, 30.0), (10, 0.0)):
        with pytest.raises(ValueError, match="frames at"):
            toy.motion(breeze(), frames, rate)


# ---------------------------------------------------------------------------------------------------------------- flow


def test_flow_of_a_box_is_what_its_modes_say(toy):
    q = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.05]])
    flow = toy.flow(q, *SIZE)
    x, y = (round(c) for c in pixel(0.6, 0.45))
    np.testing.assert_allclose(flow[1, :, y, x], [0.1 * 0.2 * H, 0.1 * 0.05 * H], atol=1e-4)
    px, py = pixel(0.6, 0.6)
    np.testing.assert_allclose(flow[2, :, y, x], [-0.05 * (y - py), 0.05 * (x - px)], atol=1e-4)
    assert (flow[0] == 0).all()
    assert (flow[:, :, ~toy.mask(*SIZE)] == 0).all()
    assert toy.mask(*SIZE).sum() == pytest.approx(
        0.35 * 0.4 * H * H, abs=0.5 * 2 * (0.35 + 0.4) * H
    )  # half a pixel all round


def track(frames, x, y, reach=5):
    """Where the white spot is in each frame: centroid of green (none but the spot is) round where it was last."""
    found = []
    for frame in frames:
        green = np.clip(frame[..., 1].astype(float) / 255 - 0.12, 0, None)
        rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]]
        for _ in range(5):  # the window moves with the spot
            near = (np.hypot(rows - y, columns - x) <= reach) * green
            x, y = (near * columns).sum() / near.sum(), (near * rows).sum() / near.sum()
        found.append((x, y))
    return np.array(found)


def test_a_texture_point_in_the_frames_goes_where_flow_says(toy):
    size = (96, 128)
    t = np.linspace(0, 1, 12)
    q = np.column_stack([0.25 * np.sin(5 * t), 0.15 * np.sin(9 * t)])
    frames, flow = toy.frames(q, *size), toy.flow(q, *size)
    x, y = pixel(0.6, 0.45, *size)
    seen = track(frames, x, y, reach=9)
    c, r = round(x), round(y)
    right = np.array([x, y]) + flow[:, :, r, c]
    # flow is that of the pixel's centre; the spot is not quite there
    assert np.abs(seen - right).max() < 0.12
    assert np.abs(right - right[0]).max() > 4
    np.testing.assert_allclose(seen[0], [x, y], atol=0.03)


def test_frames_look_like_the_picture_moved_along_the_flow(scene):
    """Where a pixel and its neighbours are of one part and still seen, the frame there shows what the picture showed."""
    size = (160, 256)
    q = scene.motion(breeze(4), 40)[[0, 20, 39]]
    frames, flow, visible = scene.frames(q, *size), scene.flow(q, *size), scene.visible(q, *size)
    ids = scene.ids(*size)
    same = np.ones(size, bool)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        same &= np.roll(ids, step, axis) == ids
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    for n in (1, 2):
        back = cv2.remap(frames[n], columns + flow[n, 0], rows + flow[n, 1], cv2.INTER_LINEAR).astype(float)
        good = same & visible[n] & scene.mask(*size) & (np.hypot(*flow[n]) > 0.5)
        assert good.sum() > 30
        moved = np.abs(back - frames[0]).mean(-1)[good]
        still = np.abs(frames[n].astype(float) - frames[0]).mean(-1)[good]
        assert np.median(moved) < 8
        assert moved.mean() < 0.8 * still.mean()


def test_spectrum_is_the_transform_of_the_flow(scene):
    q = scene.motion(breeze(1), 60)
    flow = scene.flow(q, *SIZE)
    found = scene.spectrum(q, *SIZE)
    assert found.shape == (16, 2, *SIZE)
    assert found.dtype == np.complex64
    right = np.fft.fft(flow.astype(float), axis=0)[:16]
    assert np.abs(found - right).max() < 1e-4 * np.abs(right).max()
    assert np.abs(found[0].imag).max() == 0
    for slices in (0, 32):
        with pytest.raises(ValueError, match="expected 1 to 31"):
            scene.spectrum(q, *SIZE, slices)


def test_shapes_give_the_flow(scene):
    q = scene.motion(breeze(2), 8)
    shapes = scene.shapes(*SIZE)
    assert shapes.shape == (len(scene.frequencies), 2, *SIZE)
    np.testing.assert_allclose(np.tensordot(q, shapes, 1), scene.flow(q, *SIZE), atol=2e-3)
    assert (shapes[:, :, ~scene.mask(*SIZE)] == 0).all()


def test_twice_the_size_has_twice_the_flow(scene):
    q = scene.motion(breeze(3), 5)
    small, large = scene.flow(q, *SIZE), scene.flow(q, 2 * H, 2 * W)
    ids, fine = scene.ids(*SIZE), scene.ids(2 * H, 2 * W)
    blocks = fine.reshape(H, 2, W, 2).transpose(0, 2, 1, 3).reshape(H, W, 4)
    one = (blocks == ids[..., None]).all(-1)
    assert one.mean() > 0.4
    assert (one & scene.mask(*SIZE)).sum() > 50
    mean = large.reshape(5, 2, H, 2, W, 2).mean((3, 5))
    bend = 0.02 if scene.geometry.fields else 2e-3  # a field is not straight over a pixel
    np.testing.assert_allclose(mean[:, :, one], 2 * small[:, :, one], atol=bend)
    a = scene.picture(*SIZE).astype(float)
    b = cv2.resize(scene.picture(2 * H, 2 * W), (W, H), interpolation=cv2.INTER_AREA)
    assert np.abs(a - b).mean() < 12
    assert np.corrcoef(a.ravel(), b.ravel().astype(float))[0, 1] > 0.9


def test_a_breeze_of_strength_1_moves_the_scene_by_its_sway(scene):
    wanted = scene.sway
    if wanted is None:  # its forces are in true units
        assert scene.gain == 1
        return
    rms = []
    for seed in range(6):
        flow = scene.flow(scene.motion(Wind(1.0, math.pi * (seed % 2), seed), 300)[::10], *SIZE)[
            :, :, scene.mask(*SIZE)
        ]
        rms.append(((flow - flow.mean(0)) ** 2).sum(1).mean())
    assert math.sqrt(np.mean(rms)) == pytest.approx(wanted * H, rel=0.35)


# ----------------------------------------------------------------------------------------------------------- occlusion


def test_what_goes_behind_something_is_hidden(toy):
    q = np.array([[0.0, 0.0], [1.0, 0.0]])  # the box goes right by 0.2 and down by 0.05
    visible, ids = toy.visible(q, *SIZE), toy.ids(*SIZE)
    assert visible[0].all()
    x = (np.arange(W) + 0.5) / H + 0.8 - 0.5 * W / H
    box_ = ids == 1
    hidden = box_ & (x + 0.2 > 0.95 + 1 / H)[None]
    clear = box_ & (x + 0.2 < 0.95 - 1 / H)[None]
    assert hidden.sum() > 50
    assert not visible[1][hidden].any()
    assert visible[1][clear].all()
    assert visible[1][ids == 2].all()
    # the background that the box covers is hidden, and that far away is not
    y = (np.arange(H) + 0.5) / H
    covered = ((x > 0.87) & (x < 0.93))[None] & ((y > 0.4) & (y < 0.6))[:, None]
    assert (ids[covered] == 0).all()
    assert not visible[1][covered].any()
    assert visible[1][: int(0.2 * H)].all()


def test_what_leaves_the_frame_is_not_seen():
    part = Part(box(1.3, 0.3, 0.1, 0.3), plain, (1.0, 0.0, 0.0), (0, 0, 0), 0, (0, 0), np.array([[1.0, 0.0, 0.0]]))
    scene = Scene("toy", [body(1.0)], [part], grey)
    visible = scene.visible(np.array([[0.0], [0.2]]), *SIZE)
    assert not visible[1][scene.mask(*SIZE)].any()


def test_what_is_seen_agrees_with_polygons(scene):
    """Against OpenCV's test of a point in a polygon, part by part from the nearest."""
    q = scene.motion(breeze(6, 1.5), 40)[[39]]
    size = (120, 160)
    visible, flow, ids = scene.visible(q, *size)[0], scene.flow(q, *size)[0], scene.ids(*size)
    g = scene.geometry
    pose = (q[0] @ g.motion).reshape(-1, 3)
    outlines = []
    for n, part in enumerate(scene.parts, 1):
        arm = part.outline - g.pivot[n]
        moved = part.outline + pose[n, :2] + pose[n, 2] * np.column_stack([-arm[:, 1], arm[:, 0]])
        outlines.append(np.column_stack(pixel(moved[:, 0], moved[:, 1], *size)).astype(np.float32))
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(scene.mask(*size))
    agree = []
    for k in rng.choice(len(rows), 150, replace=False):
        i, j = rows[k], columns[k]
        x, y = j + flow[0, i, j], i + flow[1, i, j]
        if not (0 <= x <= size[1] - 1 and 0 <= y <= size[0] - 1):
            continue
        around = [(x + a, y + b) for a in (-0.25, 0.25) for b in (-0.25, 0.25)]
        tops = []
        for point in around:
            top = next(
                (n for n in range(len(outlines), 0, -1) if cv2.pointPolygonTest(outlines[n - 1], point, False) >= 0), 0
            )
            tops.append(top)
        agree.append((ids[i, j] in tops) == visible[i, j])
    assert len(agree) > 100
    assert np.mean(agree) > 0.85  # samples lie on a grid, these points do not; parts are a pixel or two wide


# ------------------------------------------------------------------------------------------------------------- release


def test_release_pulls_the_point_there_and_lets_go(toy):
    x, y = (round(c) for c in pixel(0.8, 0.62))
    q = toy.release(x, y, 2.0, -0.5, 90, 30.0, *SIZE)
    assert q.shape == (90, 2)
    np.testing.assert_allclose(toy.flow(q[:1], *SIZE)[0, :, y, x], [2.0, -0.5], atol=1e-3)
    omega = 2 * np.pi * toy.frequencies
    speed = np.gradient(q, 1 / 30, axis=0)
    energy = 0.5 * (speed**2 + (omega * q) ** 2).sum(1)
    assert energy[60:].max() < 0.6 * energy[2:30].max()
    # q is the free motion from there
    np.testing.assert_allclose(q, ring(toy.frequencies, toy.damping, q[0], np.arange(90) / 30)[0], atol=1e-12)


def test_release_is_a_static_balance_with_the_least_energy(scene):
    rows, columns = np.nonzero(scene.mask(*SIZE))
    y, x = int(rows[len(rows) // 3]), int(columns[len(rows) // 3])
    start = scene.release(x, y, 1.5, 0.0, 1, 30.0, *SIZE)[0]
    stiff = (2 * np.pi * scene.frequencies) ** 2
    phi = scene.shapes(*SIZE)[:, :, y, x].astype(float)
    moved = start @ phi
    rng = np.random.default_rng(0)
    for _ in range(5):  # any other pose with the point at that place stores more
        other = start + 0.1 * np.abs(start).max() * rng.normal(size=len(start))
        other = other + phi @ np.linalg.pinv(phi.T @ phi) @ (moved - other @ phi)
        if np.abs(other @ phi - moved).max() < 1e-6:
            assert (stiff * other**2).sum() > (stiff * start**2).sum()
    assert moved[0] > 0.2


def test_pulls_answer_each_other(toy):
    """A unit force at one point moves a second as much as the reverse (Maxwell and Betti)."""
    a, b = ((round(u), round(v)) for u, v in (pixel(0.8, 0.62), pixel(0.75, 0.5)))
    phi = toy.shapes(*SIZE)
    soft = 1 / (2 * np.pi * toy.frequencies) ** 2
    at = [phi[:, :, y, x].astype(float) for x, y in (a, b)]
    pulls = []
    for (x, y), own, other in ((a, at[0], at[1]), (b, at[1], at[0])):
        compliance = own.T @ (soft[:, None] * own)
        pull = compliance @ np.array([1.0, 0.0])  # where a unit force to the right takes the point
        q = toy.release(x, y, *pull, 1, 30.0, *SIZE)[0]
        pulls.append((q @ other)[0])
    assert pulls[0] == pytest.approx(pulls[1], rel=1e-4)


def test_release_says_where_nothing_moves(toy):
    with pytest.raises(ValueError, match="nothing moves at pixel"):
        toy.release(1, 1, 1.0, 0.0, 10, 30.0, *SIZE)
    with pytest.raises(ValueError, match="outside the picture"):
        toy.release(W + 3, 1, 1.0, 0.0, 10, 30.0, *SIZE)


# --------------------------------------------------------------------------------------------------------- field, glow


def waves(x, y):
    """Two standing waves that move what is seen up and down, and a third sideways."""
    zero = np.zeros_like(x)
    return np.stack([
        np.stack([zero, np.cos(9 * x)]),
        np.stack([zero, np.sin(9 * x)]),
        np.stack([np.cos(7 * y), zero]),
    ])  # fmt: skip


def pond():
    def paint(x, y, pixel):
        spot = np.exp(-0.5 * ((x - 0.7) ** 2 + (y - 0.75) ** 2) / 0.02**2)[:, None]
        return np.array([0.1, 0.0, 0.3]) * (1 - spot) + spot

    return Scene("toy", [body(0.9, 0.9, 1.5)], [FieldPart(box(0, 0.5, 1.6, 0.6), paint, 0, waves)], grey)


def test_a_field_moves_by_its_shapes():
    scene = pond()
    q = np.array([[0.0, 0.0, 0.0], [0.03, -0.02, 0.01]])
    flow = scene.flow(q, *SIZE)
    i, j = 40, 20
    x, y = worlds.place(np.array([i]), np.array([j]), *SIZE)
    np.testing.assert_allclose(flow[1, :, i, j], q[1] @ waves(x, y)[:, :, 0] * H, atol=1e-4)
    assert (flow[:, :, :20] == 0).all()
    np.testing.assert_allclose(scene.shapes(*SIZE)[:, :, i, j], waves(x, y)[:, :, 0] * H, atol=1e-4)
    spectrum = scene.spectrum(np.tile(q, (4, 1)), *SIZE, 3)
    np.testing.assert_allclose(spectrum[0].real, 4 * flow[1], atol=1e-3)


def test_a_spot_in_a_field_goes_where_flow_says():
    scene, size = pond(), (96, 128)
    t = np.linspace(0, 1, 8)
    q = np.column_stack([0.04 * np.sin(4 * t), -0.03 * np.sin(5 * t), 0.04 * np.sin(6 * t)])
    x, y = pixel(0.7, 0.75, *size)
    seen = track(scene.frames(q, *size), x, y, reach=7)
    right = np.array([x, y]) + np.stack([row @ waves(np.array([0.7]), np.array([0.75]))[:, :, 0] * 96 for row in q])
    assert np.abs(seen - right).max() < 0.3  # the spot is wide, and stretched by the waves
    assert np.abs(right - right[0]).max() > 2


def test_a_field_shows_the_point_that_came_there():
    """The colours of the pond are its coordinates, so a frame says for each pixel r which point of the still is seen."""

    def paint(x, y, pixel):
        return np.stack([(x - 0.6) / 0.3, (y - 0.6) / 0.3, 0 * x], axis=-1)

    scene, size = (
        Scene("toy", [body(0.9, 0.9, 1.5)], [FieldPart(box(0, 0.5, 1.6, 0.6), paint, 0, waves)], grey),
        (96, 128),
    )
    q = np.array([0.03, -0.02, 0.03])
    frame = scene.frames(q[None], *size)[0].astype(float) / 255
    rows, columns = (a.ravel() for a in np.mgrid[62:82, 50:70])
    seen = 0.6 + 0.3 * frame[rows, columns, :2]
    came = seen + np.einsum("j,jcn->nc", q, waves(seen[:, 0], seen[:, 1]))
    x, y = worlds.place(rows, columns, *size)
    assert np.abs(came - np.column_stack([x, y])).max() * 96 < 0.12  # pixels; a grey level is 0.11
    assert np.abs(seen - np.column_stack([x, y])).max() * 96 > 1.5


def test_a_glow_adds_light_and_moves_along():
    part = Part(box(0.7, 0.4, 0.1, 0.1), plain, (0.2, 0.2, 0.2), (0, 0, 0), 0, (0, 0), np.array([[1.0, 0.0, 0.0]]))
    glow = Glow((0.75, 0.45), 0.05, (0.5, 0.0, 0.0), 0, np.array([[1.0, 0.0, 0.0]]))
    scene = Scene("toy", [body(1.0)], [part], grey, glows=[glow])
    first, second = scene.frames(np.array([[0.0], [0.25]]), *SIZE).astype(float)
    bare = Scene("toy", [body(1.0)], [part], grey).frames(np.array([[0.0], [0.25]]), *SIZE).astype(float)
    peaks = [np.unravel_index((a - b)[..., 0].argmax(), SIZE) for a, b in ((first, bare[0]), (second, bare[1]))]
    assert peaks[1][1] - peaks[0][1] == pytest.approx(0.25 * H, abs=1)
    assert ((first - bare[0])[..., 1:] == 0).all()


def test_finish_is_the_last_touch():
    def finish(x, y):
        return np.full((len(x), 3), 0.5), np.array([0.1, 0.0, 0.0])

    scene = Scene("toy", [body(1.0)], two_boxes().parts[1:], grey, finish=finish)
    assert tuple(scene.picture(*SIZE)[0, 0]) == (round(255 * 0.225), 32, 32)


# -------------------------------------------------------------------------------------------------------------- making


def test_a_scene_is_the_same_each_time(scene):
    kind, q = scene.kind, scene.motion(breeze(), 4)
    picture = scene.picture(*SIZE)
    worlds._made.cache_clear()
    again = make_scene(kind, 1)
    assert again is not scene
    np.testing.assert_array_equal(again.picture(*SIZE), picture)
    np.testing.assert_array_equal(again.motion(breeze(), 4), q)
    assert (again.kind, again.seed) == (kind, 1)


def test_one_picture_goes_with_all_winds(scene):
    picture = scene.picture(*SIZE)
    clips = []
    for seed in range(3):
        wind = Wind.draw(np.random.default_rng(seed))
        frames = scene.frames(scene.motion(wind, 20)[[0, 19]], *SIZE)
        np.testing.assert_array_equal(frames[0], picture)
        clips.append(frames[1])
    assert (clips[0] != clips[1]).any()
    assert (clips[1] != clips[2]).any()


def test_held_out_seeds_are_others():
    for kind in worlds.KINDS:
        train, held = plant_seeds(kind, "train", 500), plant_seeds(kind, "held-out", 500)
        assert len(set(train)) == len(set(held)) == 500
        assert not set(train) & set(held)
    a, b = (make_scene("tree", plant_seeds("tree", split)[0]).picture(*SIZE) for split in ("train", "held-out"))
    assert (a != b).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_scene("rock", 0), "kind 'rock': expected one of tree"),
        (lambda: make_scene("tree", -1), "seed -1"),
        (lambda: plant_seeds("tree", "test"), "split 'test'"),
        (lambda: plant_seeds("tree", "train", -2), "count -2"),
        (lambda: two_boxes().ids(0, 5), "at least one pixel"),
        (lambda: Scene("toy", [], [Part(box(0, 0, 1, 1), plain, body=0)], grey), "there is no body 0"),
        (
            lambda: Scene("toy", [body(1.0)], [Part(box(0, 0, 1, 1), plain, body=0)], grey),
            r"motion \(0, 3\), expected \(1, 3\)",
        ),
        (lambda: normal_modes(np.eye(2), np.eye(3)), "two square matrices"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
