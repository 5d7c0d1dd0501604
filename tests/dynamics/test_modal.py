"""Modes: exact oscillators, a point that follows the cursor, reciprocity, MAC, linear edits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from bestpapers.dynamics import modal
from bestpapers.dynamics.modal import Modes

T, RATE = modal.FRAMES, modal.RATE


def volume(seed=0, slices=16, height=12, width=17):
    """A spectral volume of noise, quieter in higher slices."""
    g = torch.Generator().manual_seed(seed)
    S = torch.complex(*(torch.randn(slices, 2, height, width, generator=g) for _ in range(2)))
    return 100 * S / (1 + torch.arange(slices))[:, None, None, None]


@pytest.fixture(scope="module")
def modes():
    return Modes.of(volume())


# ----------------------------------------------------------------------------------------------------------- the modes


def test_each_slice_but_the_constant_is_a_mode(modes):
    assert modes.shapes.shape == (15, 2, 12, 17)
    assert modes.omega.numpy() == pytest.approx(2 * np.pi * 0.2 * np.arange(1, 16))
    assert modes.gamma.numpy() == pytest.approx(0.4 + 0.08 * modes.omega.numpy() ** 2)


def test_damping_ratios_of_the_supplement(modes):
    """By the printed alpha and beta (omega in rad/s) low slices ring and high ones hardly do."""
    at = [0, 2, 4, 9, 14]  # 0.2, 0.6, 1, 2, 3 Hz
    assert modes.zeta[at].numpy() == pytest.approx([0.21, 0.20, 0.28, 0.52, 0.77], abs=0.01)


def test_damping_by_name_number_and_ratio():
    S = volume()
    assert Modes.of(S, damping="demo").gamma[0] == pytest.approx(0.8 + 0.05 * (0.4 * np.pi) ** 2)
    assert Modes.of(S, damping=(0.1, 0.2)).gamma[0] == pytest.approx(0.1 + 0.2 * (0.4 * np.pi) ** 2)
    assert Modes.of(S, damping=0.05).zeta.numpy() == pytest.approx(0.05)
    assert Modes.of(S).damped(0.5).zeta.numpy() == pytest.approx(Modes.of(S).zeta.numpy() / 2)


def test_turning_modes_play_the_spectrum_back():
    """q_j = exp(i omega_j t) is the inverse of the spectral volume without its constant term."""
    S = volume(slices=5)
    modes = Modes.of(S)
    full = np.zeros((T // 2 + 1, *S.shape[1:]), dtype=complex)
    full[1:5] = S[1:].numpy()
    truth = np.fft.irfft(full, T, axis=0)
    t = modal.clock()
    ours = modal.displacement(modes, torch.exp(1j * modes.omega * t[:, None]))
    assert ours.numpy() == pytest.approx(truth, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(S=torch.zeros(4, 2, 3, 3)), "complex"),
        (dict(S=torch.zeros(1, 2, 3, 3, dtype=torch.complex64)), "K > 1"),
        (dict(damping="paper"), "supplement, demo"),
        (dict(damping=float("nan")), "gamma must be finite"),
        (dict(rate=0.0), "omega must be finite and above 0"),
    ],
)
def test_bad_arguments_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Modes.of(**dict(S=volume()) | change)


# ---------------------------------------------------------------------------------------------------------- oscillators


@pytest.mark.parametrize("zeta", [0.0, 0.05, 0.999999, 1.0, 1.000001, 3.0])
def test_closed_form_solves_the_oscillator(zeta):
    """Against scipy's integrator, from a position and a velocity."""
    omega, times = 5.0, np.linspace(0, 4, 41)
    gamma = 2 * zeta * omega
    truth = solve_ivp(
        lambda _, s: [s[1], -gamma * s[1] - omega**2 * s[0]], (0, 4), [1.0, -2.0], t_eval=times, rtol=1e-10, atol=1e-12
    ).y[0]
    a, b = modal.solution(*torch.tensor([[omega], [gamma]], dtype=torch.float64), torch.from_numpy(times))
    assert (a - 2 * b)[:, 0].numpy() == pytest.approx(truth, abs=1e-8)


def test_closed_form_stays_finite_for_hours():
    omega, gamma = torch.tensor([1.0, 10.0, 5.0]).double(), torch.tensor([0.1, 1000.0, 10.0]).double()
    a, b = modal.solution(omega, gamma, torch.tensor([0.0, 1e4]))
    assert a[0].tolist() == [1, 1, 1]
    assert b[0].tolist() == [0, 0, 0]
    assert torch.isfinite(a).all()
    assert torch.isfinite(b).all()
    assert a[1].abs().max() < 1


@pytest.mark.parametrize("hz", [1.0, 3.0])
def test_semi_implicit_euler_errs_by_half_omega_dt(hz):
    """The largest error over 5 s, with light damping, and it halves with the time step. (Without damping a drift of the phase
    comes on top: at 3 Hz 60 % more.)
    """
    omega = torch.tensor([2 * math.pi * hz], dtype=torch.float64)
    gamma = 0.1 * omega
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    errors = []
    for n in (240, 480):
        steps = modal.euler(omega, gamma, one, zero, 1 / n, 5 * n)
        exact, _ = modal.solution(omega, gamma, modal.clock(5 * n + 1, n))
        errors.append(float((steps - exact).abs().max()))
    assert errors[0] == pytest.approx(float(omega) / 240 / 2, rel=0.1)
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


def blows_up(omega, gamma, dt, kind):
    path = modal.euler(omega, gamma, torch.ones_like(omega), torch.zeros_like(omega), dt, 4000, kind)
    early, late = path.abs().chunk(2)
    return not late.max() < early.max()  # also if it is no number any more


@pytest.mark.parametrize("kind", ["explicit", "semi-implicit"])
@pytest.mark.parametrize(("hz", "damping"), [(0.4, "zeta"), (1.0, "rayleigh"), (3.0, "rayleigh"), (6.0, "rayleigh")])
def test_euler_blows_up_above_its_limit(kind, hz, damping):
    """The limit found by bisection is that of the formula; at 6 Hz the printed damping is overcritical."""
    omega = torch.tensor([2 * math.pi * hz], dtype=torch.float64)
    gamma = 0.04 * omega if damping == "zeta" else 0.4 + 0.08 * omega**2
    low, high = 1e-4, 2.0
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if blows_up(omega, gamma, middle, kind) else (middle, high)
    assert float(modal.limit(omega, gamma, kind)) == pytest.approx(low, rel=0.02)


def test_explicit_limit_is_that_of_rayleigh_damping():
    omega = 2 * math.pi * torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    assert modal.limit(omega, 0.4 + 0.08 * omega**2, "explicit").numpy() == pytest.approx(
        (0.08 + 0.4 / omega**2).numpy()
    )
    assert modal.limit(omega, 0 * omega).numpy() == pytest.approx((2 / omega).numpy())


# ---------------------------------------------------------------------------------------------------------- pull and tap


@pytest.mark.parametrize("point", [(3, 4), (0, 0), (16, 11), (7.25, 5.5)])
@pytest.mark.parametrize("drag", [(5.0, 0.0), (-2.0, 9.0), (0.0, 0.0)])
def test_pulled_point_lands_on_the_cursor(modes, point, drag):
    q = modal.pull(modes, *point, *drag)
    assert modal.trajectory(modes, q[None], *point)[0].numpy() == pytest.approx(drag, abs=1e-6)


def test_field_and_trajectory_agree(modes):
    q = modal.respond(modes, [modal.release(modes, 3, 4, 5, -1)], modal.clock(20))
    field = modal.displacement(modes, q)
    assert field.shape == (20, 2, 12, 17)
    assert field[:, :, 8, 9].numpy() == pytest.approx(modal.trajectory(modes, q, 9, 8).numpy(), abs=1e-4)


def test_papers_phase_with_gain_follows_along_the_pull(modes):
    """`rule="direction"`: each q is g conj(d . S), each mode pulls the point ahead, and along the pull it is on the cursor."""
    d = torch.tensor([0.6, 0.8], dtype=torch.float64)
    q = modal.pull(modes, 3, 4, 3.0, 4.0, rule="direction")
    along = modes.at(3, 4) @ d.to(torch.complex128)
    gain = 5 / along.abs().square().sum()
    assert q.numpy() == pytest.approx((gain * along.conj()).numpy())
    assert ((along * q).real > 0).all()
    assert float(modal.trajectory(modes, q[None], 3, 4)[0] @ d) == pytest.approx(5)


def test_a_point_that_moves_on_a_line_is_not_torn_off_it():
    """Across its line the point yields as little as its motion does; the picture is not thrown about."""
    S = torch.zeros(3, 2, 2, 2, dtype=torch.complex64)
    S[1:, 0] = 75.0  # x only: 1 pixel per q
    S[1:, 1] = 75.0 * 0.01  # the second direction is a hundredth of it
    modes = Modes.of(S)
    q = modal.pull(modes, 0, 0, -10.0, 1000.0)
    moved = modal.trajectory(modes, q[None], 0, 0)[0]
    assert moved.norm() < 20
    with pytest.raises(ValueError, match="nothing moves"):
        modal.pull(Modes.of(0 * S), 0, 0, 1.0, 0.0)
    S[1:, 1] = 0
    with pytest.raises(ValueError, match="does not move along"):
        modal.pull(Modes.of(S), 0, 0, 0.0, 1.0, rule="direction")


@pytest.mark.parametrize("static", [False, True])
def test_reciprocity(modes, static):
    """What p2 does along d2 when p1 is pulled along d1 is what p1 does along d1 when p2 is pulled along d2."""
    modes = replace(modes, weights=modes.omega**-2) if static else modes
    p1, d1, p2, d2 = (3, 4), (0.6, 0.8), (12, 9), (-1.0, 0.2)

    def seen(at, push, where, along):
        event = modal.Event(0.0, modal.force(modes, *at, *push), torch.zeros(15, dtype=torch.complex128))
        return modal.trajectory(modes, modal.respond(modes, [event], modal.clock(60)), *where) @ torch.tensor(
            along, dtype=torch.float64
        )

    there, back = seen(p1, d1, p2, d2), seen(p2, d2, p1, d1)
    assert there.abs().max() > 0
    assert there.numpy() == pytest.approx(back.numpy(), abs=1e-8 * float(there.abs().max()))


def test_static_pull_stores_the_least_elastic_energy(modes):
    """Of the two poses with the same displacement of the point, each is the cheapest by its own measure."""
    plain, static = (modal.pull(m, 3, 4, 5.0, -2.0) for m in (modes, replace(modes, weights=modes.omega**-2)))
    moved = modal.trajectory(modes, torch.stack([plain, static]), 3, 4)
    assert moved[0].numpy() == pytest.approx(moved[1].numpy(), abs=1e-6)
    assert plain.abs().square().sum() < static.abs().square().sum()
    elastic = [(modes.omega * q.abs()).square().sum() for q in (plain, static)]
    assert elastic[1] < elastic[0]


def test_tap_starts_at_rest_with_the_given_velocity(modes):
    event = modal.tap(modes, 3, 4, 30.0, -6.0)
    t = torch.tensor([0.0, 1e-5])
    path = modal.trajectory(modes, modal.respond(modes, [event], t), 3, 4)
    assert path[0].tolist() == [0, 0]
    assert (path[1] / 1e-5).numpy() == pytest.approx([30, -6], rel=1e-2)


def test_undamped_tap_is_the_pull_a_quarter_period_later():
    S = volume(slices=2)
    modes = Modes.of(S, damping=0.0)
    quarter = math.pi / 2 / float(modes.omega[0])
    times = torch.linspace(0, 5, 20).double()
    pulled = modal.respond(modes, [modal.release(modes, 3, 4, 2.0, 1.0)], times)
    tapped = modal.respond(modes, [modal.tap(modes, 3, 4, 2.0, 1.0)], times + quarter)
    assert (tapped * modes.omega).numpy() == pytest.approx(pulled.numpy(), abs=1e-9)


def test_events_add_and_wait_for_their_time(modes):
    first, second = modal.release(modes, 3, 4, 5, 0), modal.tap(modes, 9, 8, 0, 9, time=1.0)
    t = modal.clock(90)
    both, one, other = (modal.respond(modes, events, t) for events in ([first, second], [first], [second]))
    assert both.numpy() == pytest.approx((one + other).numpy())
    assert not other[t <= 1.0].any()
    assert other[t > 1.0].any()


def test_release_decays_and_damping_hastens_it():
    modes = Modes.of(volume(), damping=0.05)
    event = modal.release(modes, 3, 4, 5, 0)
    late = [
        float(modal.respond(m, [event], torch.tensor([4.0])).abs().square().sum()) for m in (modes, modes.damped(2))
    ]
    start = float(event.q.abs().square().sum())
    assert late[1] < late[0] < 0.5 * start


def test_modes_switched_off_do_not_move(modes):
    some = replace(modes, weights=torch.tensor([1.0, 0, 0, 1] + 11 * [0]).double())
    q = modal.pull(some, 3, 4, 2.0, 1.0)
    assert (q != 0).nonzero()[:, 0].tolist() == [0, 3]
    assert (some.mobility() <= modes.mobility()).all()


def test_points_outside_are_refused(modes):
    with pytest.raises(ValueError, match="x is 0 to 16, y is 0 to 11"):
        modal.pull(modes, 17, 3, 1, 1)
    with pytest.raises(ValueError, match="rule"):
        modal.pull(modes, 3, 3, 1, 1, rule="force")
    with pytest.raises(ValueError, match="weights must be"):
        replace(modes, weights=torch.ones(3))


# -------------------------------------------------------------------------------------------------------------- compare


def test_mac_sees_shapes_and_not_phases():
    shapes = torch.linalg.qr(torch.randn(2 * 5 * 6, 3, generator=torch.Generator().manual_seed(0)))[0]
    shapes = shapes.T.reshape(3, 2, 5, 6)
    turned = shapes * torch.tensor([2.0, 1j, -3 + 1j])[:, None, None, None]
    assert modal.mac(shapes, turned).numpy() == pytest.approx(np.eye(3), abs=1e-6)
    assert modal.mac(shapes, 0 * turned).tolist() == [[0, 0, 0]] * 3
    half = (shapes[:1] + shapes[1:2]).to(torch.complex64)
    assert modal.mac(half, shapes)[0].numpy() == pytest.approx([0.5, 0.5, 0], abs=1e-6)


def test_mac_counts_only_the_mask():
    a, b = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    a[:, :, :2], b[:, :, :2] = 1, 1
    b[:, :, 2:] = 7
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:2] = True
    assert modal.mac(a, b)[0, 0] < 0.1
    assert modal.mac(a, b, mask)[0, 0] == pytest.approx(1)


def test_modes_are_found_in_ringing_motion():
    """Two modes well apart, released together: each is seen in the slice of its frequency. (Failure: closer than a bin.)"""
    g = torch.Generator().manual_seed(3)
    shapes, f = torch.randn(3, 2, 6, 7, generator=g), torch.tensor([0.8, 1.8, 9.0])
    t = modal.clock()
    q = torch.exp(-0.05 * t)[:, None] * torch.cos(2 * math.pi * f * t[:, None])
    q[:, 2] = 0
    flow = torch.einsum("nj,jchw->nchw", q.float(), shapes)
    S = torch.fft.rfft(flow * torch.hann_window(T)[:, None, None, None], dim=0)[:16]
    slices, found = modal.match(S, f, shapes)
    assert abs(slices[0] - 4) <= 1
    assert abs(slices[1] - 9) <= 1
    assert found[:2].min() > 0.95
    assert found[2] < 0.3
    assert set(modal.peaks(S)) == {4, 9}


def test_modes_side_by_side_are_found_on_their_own_ground():
    """Two flowers of one frequency: one slice shows both, and each is found where it grows."""
    shapes = torch.zeros(2, 2, 4, 8)
    shapes[0, :, :, :4], shapes[1, :, :, 4:] = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    t = modal.clock()
    q = torch.stack([torch.cos(2 * math.pi * t), 2 * torch.sin(2 * math.pi * t)], 1).float()
    S = torch.fft.rfft(torch.einsum("nj,jchw->nchw", q, shapes), dim=0)[:16]
    f = torch.tensor([1.0, 1.0])
    assert modal.match(S, f, shapes)[1].min() < 0.6
    slices, found = modal.match(S, f, shapes, local=True)
    assert slices.tolist() == [5, 5]
    assert found.numpy() == pytest.approx([1, 1], abs=1e-5)


def test_magnification_is_the_same_on_spectrum_and_motion(modes):
    S = volume()
    q = modal.respond(modes, [modal.release(modes, 3, 4, 1, 1)], modal.clock(5))
    magnified = Modes.of(modal.magnify(S, -2.5))
    assert modal.displacement(magnified, q).numpy() == pytest.approx(
        modal.magnify(modal.displacement(modes, q), -2.5).numpy(), abs=1e-3
    )
