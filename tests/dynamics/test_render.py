"""Renderers, on a picture of two layers of which everything is known: what each can do, and where it fails."""

import math

import numpy as np
import pytest
import torch

from bestpapers.dynamics import render
from bestpapers.dynamics.render import Pairs, Renderer, RendererConfig, TrainConfig, Trainer
from bestpapers.lab.files import FormatError

H, W = 44, 60


pytestmark = pytest.mark.usefixtures("one_thread")


def waves(seed):
    """A smooth texture on the plane, function of (x, y) -> (3, ...), 0 to 1."""
    rng = np.random.default_rng(seed)
    a, b, phase = rng.uniform(-0.9, 0.9, (3, 4)), rng.uniform(-0.9, 0.9, (3, 4)), rng.uniform(0, 6, (3, 4))

    def texture(x, y):
        parts = np.sin(a[..., None, None] * x + b[..., None, None] * y + phase[..., None, None])
        return 0.5 + 0.12 * parts.sum(1)

    return texture


def layers(shift, seed=0, height=H, width=W):
    """A disc that moves by `shift` before a background that moves by a fifth of it the other way: (frame uint8, disc bool)."""
    y, x = np.mgrid[:height, :width].astype(float)
    dx, dy = shift
    disc = (x - dx - width / 2) ** 2 + (y - dy - height / 2) ** 2 < (height / 4) ** 2
    front = waves(seed)(x - dx, y - dy)
    back = waves(seed + 100)(x + dx / 5, y + dy / 5)
    picture = np.where(disc, front, back).clip(0, 1)
    return (picture * 255).round().astype(np.uint8).transpose(1, 2, 0), disc


def clip(seed=0, shifts=((0, 0), (4.3, -1.2), (-3.6, 2.4)), height=H, width=W):
    """(frames uint8 (N, H, W, 3), exact flow (N, 2, H, W)) of the layers; frame 0 is the picture."""
    frames = np.stack([layers(s, seed, height, width)[0] for s in shifts])
    disc = torch.from_numpy(layers((0, 0), seed, height, width)[1])
    flow = torch.stack([torch.where(disc, s, -s / 5) for s in torch.tensor(shifts)[:, :, None, None].float()])
    return frames, flow


@pytest.fixture(scope="module")
def two():
    return clip()


def made(method, two, **kw):
    frames, flow = two
    return list(render.frames(frames[0], flow, method, **kw))


def scores(method, two, **kw):
    frames, flow = two
    return render.score(made(method, two, **kw), frames, flow)


# ---------------------------------------------------------------------------------------------------------- no network


@pytest.mark.parametrize("method", ["backward", "average", "softmax"])
def test_no_motion_gives_the_picture(method, two):
    frames, _ = two
    (same,) = render.frames(frames[0], torch.zeros(1, 2, H, W), method)
    assert np.array_equal(same, frames[0])


@pytest.mark.parametrize("method", ["backward", "average", "softmax"])
def test_whole_pixels_are_moved_whole(method, two):
    frames, _ = two
    flow = torch.zeros(1, 2, H, W)
    flow[:, 0], flow[:, 1] = 3, -2
    (moved,) = render.frames(frames[0], flow, method)
    assert np.array_equal(moved[: H - 2, 3:], frames[0][2:, : W - 3])


def test_splatting_beats_looking_back_and_weights_beat_the_average(two):
    """At moving edges; away from them all are alike. (The order of the paper's ablation.)"""
    got = {m: scores(m, two) for m in ("backward", "average", "softmax")}
    edges = [got[m]["psnr_edges"] for m in ("backward", "average", "softmax")]
    assert edges[2] > edges[1] + 0.5
    assert edges[2] > edges[0] + 2
    assert min(s["psnr_rest"] for s in got.values()) > 35


def test_weight_says_who_is_in_front(two):
    """With the sign turned the background would cover the disc."""
    frames, flow = two
    picture, W_ = render.to_float(frames[:1]), render.nearness(flow)
    right, _ = render.splat(picture, flow[1:2], W_)
    wrong, _ = render.splat(picture, flow[1:2], -W_)
    _, disc = layers((4.3, -1.2))
    truth = render.to_float(frames[1:2])
    inside = torch.from_numpy(disc)
    assert (right - truth).abs()[..., inside].mean() < 0.5 * (wrong - truth).abs()[..., inside].mean()


def test_temperature_goes_from_average_to_depth_buffer(two):
    frames, flow = two
    picture, W_ = render.to_float(frames[:1]), render.nearness(flow)
    average, _ = render.splat(picture, flow[1:2])
    cold, _ = render.splat(picture, flow[1:2], W_, 0.0)
    hot, hotter = (render.splat(picture, flow[1:2], W_, t)[0] for t in (200.0, 400.0))
    assert cold.numpy() == pytest.approx(average.numpy(), abs=1e-5)
    assert hot.numpy() == pytest.approx(hotter.numpy(), abs=1e-5)
    assert (hot - average).abs().max() > 0.1


def test_nearness_is_the_mean_length():
    flow = torch.zeros(4, 2, 3, 3)
    flow[:, 0, 0, 0], flow[:, 1, 0, 0] = 3, -4
    flow[2, 0, 1, 1] = 2
    W_ = render.nearness(flow)
    assert W_[0, 0, 0, 0] == 1
    assert W_[0, 0, 1, 1] == pytest.approx(0.1)  # 0.5 px of 5
    assert render.nearness(7 * flow).numpy() == pytest.approx(render.nearness(iter(flow.double())).numpy())
    assert render.nearness(flow.double()).dtype == torch.float32
    assert not render.nearness(0 * flow).any()
    with pytest.raises(ValueError, match="no fields"):
        render.nearness([])


def test_pictures_are_not_changed_by_looking_at_them():
    pixels = torch.full((4, 5, 3), 51.0)
    assert render.to_float(pixels)[0, 0, 0] == pytest.approx(0.2)
    assert (pixels == 51).all()


def test_holes_show_what_looking_back_finds(two):
    """It fills them better than the still picture, which shows there what has moved away."""
    frames, flow = two
    _, hole = render.splat(render.to_float(frames[:1]), flow[1:2])
    hole = hole[0, 0].numpy()
    frame, back = made("softmax", two)[1], made("backward", two)[1]
    assert hole.any()
    assert np.array_equal(frame[hole], back[hole])
    assert not np.array_equal(frame[~hole], back[~hole])


def test_frames_come_one_by_one(two):
    """Nothing is asked of the motion before its frame is; gradients stay on between frames."""
    frames, flow = two
    asked = []

    def fields():
        for n, field in enumerate(flow):
            asked.append(n)
            yield field

    stream = render.frames(frames[0], fields(), W=render.nearness(flow))
    assert asked == []
    first = next(stream)
    assert asked == [0]
    assert torch.is_grad_enabled()
    assert first.dtype == np.uint8
    assert first.shape == (H, W, 3)


def test_what_cannot_be_rendered_is_refused(two):
    frames, flow = two
    with pytest.raises(ValueError, match="backward, average, softmax, network"):
        render.frames(frames[0], flow, "forward")
    with pytest.raises(ValueError, match="needs a renderer"):
        render.frames(frames[0], flow, "network")
    with pytest.raises(ValueError, match="needs a renderer"):
        render.frames(frames[0], flow, "softmax", Renderer())
    with pytest.raises(ValueError, match="nearness"):
        render.frames(frames[0], iter(flow))
    with pytest.raises(ValueError, match="bring the motion"):
        next(render.frames(frames[0], flow[..., :-1]))


# ----------------------------------------------------------------------------------------------------------- upsampling


def test_guided_upsampling_stops_at_silhouettes():
    """A motion of a quarter of the size: the guide brings it back with less error, most at the edges."""
    frames, flow = clip(shifts=((0, 0), (4.0, -2.0)), height=64, width=96)
    red = frames[0].copy()
    disc = layers((0, 0), height=64, width=96)[1]
    red[disc] = red[disc] // 3 + np.array([150, 0, 0], dtype=np.uint8)  # so that the guide can tell
    small = torch.nn.functional.avg_pool2d(flow, 4) / 4
    plain = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear") * 4
    ours = render.guided(small, red, colour=0.15)
    errors = [(f - flow).norm(dim=1).mean() for f in (plain, ours)]
    assert errors[1] < 0.6 * errors[0]


def test_guided_upsampling_of_spectra_is_that_of_their_parts():
    S = torch.complex(*torch.randn(2, 5, 2, 8, 12, generator=torch.Generator().manual_seed(0)))
    picture = np.full((20, 36, 3), 90, np.uint8)
    big = render.guided(S, picture)
    assert big.shape == (5, 2, 20, 36)
    assert big.imag.numpy() == pytest.approx(render.guided(S.imag, picture).numpy())
    flat = render.guided(torch.ones(1, 2, 8, 12), picture)
    assert flat[0, 0].numpy() == pytest.approx(np.full((20, 36), 3.0), rel=1e-5)  # pixels of the picture
    assert flat[0, 1].numpy() == pytest.approx(np.full((20, 36), 2.5), rel=1e-5)


# ---------------------------------------------------------------------------------------------------------- the network


CONFIGS = {
    "ours": RendererConfig(widths=(6, 8, 10)),
    "paper": RendererConfig(widths=(6, 8, 10), look_back=False),
    "one scale": RendererConfig(widths=(6, 8, 10), multi_scale=False, look_back=False),
    "learned": RendererConfig(widths=(6, 8, 10), multi_scale=False, weight="learned", look_back=False),
}


def trained_a_little(config, seed=0):
    """A renderer whose zero-initialised layers are not zero any more."""
    torch.manual_seed(seed)
    renderer = Renderer(config)
    with torch.no_grad():
        for p in renderer.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return renderer


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_untrained_network_is_softmax_splatting(name, cut, two):
    """At any size: nothing comes in from what it is padded with."""
    frames, flow = two[0][:, : H - cut, : W - 3 * cut], two[1][..., : H - cut, : W - 3 * cut] - 2.5
    picture, W_ = render.to_float(frames[:1]), render.nearness(flow)
    renderer = Renderer(CONFIGS[name])
    plain, hole = render.splat(picture, flow[1:2], None if name == "learned" else W_)
    with torch.no_grad():
        ours = renderer(picture, flow[1:2], W_)
    in_holes = render.backward(picture, flow[1:2]) if name == "ours" else torch.full_like(plain, 0.5)
    assert ours.numpy() == pytest.approx(torch.where(hole, in_holes, plain).numpy(), abs=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_untrained_decoder_is_awake(name, two):
    """What reaches its last layer is about as large as the picture's contrast, and hangs on the picture. From torch's own start
    it is a tenth of that, most of it the same everywhere, and the decoder learned nothing in hundreds of steps."""
    frames, flow = two
    torch.manual_seed(0)
    renderer, seen = Renderer(CONFIGS[name]), []
    renderer.out.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    picture = render.to_float(frames[:1])
    with torch.no_grad():
        renderer(picture, flow[1:2], render.nearness(flow))
    assert seen[0].std((2, 3)).mean() > 0.5 * picture.std()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [(20, 28), (19, 30), (21, 33)])
def test_network_works_at_any_size_and_all_of_it_learns(name, size):
    h, w = size
    g = torch.Generator().manual_seed(0)
    renderer = trained_a_little(CONFIGS[name])
    frame = renderer(
        torch.rand(2, 3, h, w, generator=g), torch.randn(2, 2, h, w, generator=g), torch.rand(2, 1, h, w, generator=g)
    )
    assert frame.shape == (2, 3, h, w)
    frame.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in renderer.parameters())


def test_arms_have_the_same_parameters():
    count = {name: sum(p.numel() for p in Renderer(c).parameters()) for name, c in CONFIGS.items()}
    assert count["paper"] == count["one scale"]
    assert count["ours"] - count["paper"] == 9 * 6 + 1
    assert count["learned"] - count["paper"] == 9 * 6 + 1
    assert sum(p.numel() for p in Renderer().parameters()) < 1e6  # 2 MB in half precision


def test_frames_of_the_network_are_those_of_forward(two):
    """Features are computed once for a clip, and a batch of flows may share its picture."""
    frames, flow = two
    renderer = trained_a_little(CONFIGS["paper"])
    picture, W_ = render.to_float(frames[:1]), render.nearness(flow)
    with torch.no_grad():
        each = [renderer(picture, f[None], W_) for f in flow]
        together = renderer.paint(picture, renderer.features(picture), flow, W_)
    assert torch.cat(each).numpy() == pytest.approx(together.numpy(), abs=1e-5)
    streamed = made("network", two, renderer=renderer)
    assert all(np.abs(render.to_bytes(e[0]).astype(int) - s).max() <= 1 for e, s in zip(each, streamed, strict=True))


def test_in_the_paper_holes_are_filled_only_by_the_decoder():
    """A pixel far from all sources is painted from nothing, unless the renderer looks back."""
    flow, a = torch.zeros(1, 2, 40, 60), torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    flow[:, 0, :, :56] = 100.0  # all but the right margin leaves the picture
    b = a.clone()
    b[..., :30] = 1 - b[..., :30]
    for name, sees in (("paper", False), ("ours", True)):
        renderer = trained_a_little(CONFIGS[name])
        with torch.no_grad():
            one, other = (renderer(p, flow, torch.zeros(1, 1, 40, 60)) for p in (a, b))
        assert bool((one - other)[..., 10:20].abs().max() > 1e-6) == sees


def dataset(n=6, height=40, width=48):
    clips = [clip(seed, ((0, 0), (3.3, 1.2), (-2.6, 2.4)), height, width) for seed in range(n)]
    return Pairs(
        torch.stack([torch.from_numpy(f[0]) for f, _ in clips]),
        torch.stack([torch.from_numpy(f[1:]) for f, _ in clips]),
        torch.stack([flow[1:].half() for _, flow in clips]),
        torch.stack([render.nearness(flow)[0].half() for _, flow in clips]),
    )


@pytest.mark.parametrize("name", ["ours", "paper"])
def test_training_fills_holes(name):
    """On a picture that it has not seen, against softmax splatting, which looks back in the holes."""
    torch.manual_seed(0)
    renderer = Renderer(CONFIGS[name])
    run = Trainer(renderer, dataset(), TrainConfig(steps=150, batch=4, crop=32, lr=5e-3, warmup=5))
    run.run(quiet=True)
    assert sum(run.losses[-10:]) < 0.92 * sum(run.losses[:10])
    new = clip(50)
    plain, ours = scores("softmax", new), scores("network", new, renderer=renderer)
    assert ours["psnr_holes"] > plain["psnr_holes"] + 1
    assert ours["psnr"] > plain["psnr"]


def test_training_resumes_to_the_same_renderer(tmp_path):
    data, config = dataset(2), TrainConfig(steps=6, batch=2, crop=24, checkpoint_every=3)

    def run(until=None, checkpoint=None):
        torch.manual_seed(0)
        trainer = Trainer(Renderer(CONFIGS["learned"]), data, config, checkpoint)
        trainer.run(until, quiet=True)
        return trainer

    whole = run()
    run(3, tmp_path / "run.safetensors")
    resumed = run(None, tmp_path / "run.safetensors")
    assert resumed.losses == pytest.approx(whole.losses, rel=1e-4)
    other = TrainConfig(steps=6, batch=2, crop=24, seed=1)
    with pytest.raises(ValueError, match="seed"):
        Trainer(Renderer(CONFIGS["learned"]), data, other, tmp_path / "run.safetensors")
    with pytest.raises(ValueError, match="multi_scale"):
        Trainer(Renderer(CONFIGS["paper"]), data, config, tmp_path / "run.safetensors")


def test_mirrored_crops_mirror_the_motion():
    """Whatever was drawn: the picture, splatted along the flow that comes with it, is the frame that comes with it."""
    data = dataset(3)
    trainer = Trainer(Renderer(CONFIGS["paper"]), data, TrainConfig(batch=16, crop=36))
    pictures, frames, flows, weights = trainer.draw(torch.Generator().manual_seed(0))
    assert pictures.shape == (16, 3, 36, 36)
    assert {float(f.sign().sum()) > 0 for f in flows[:, 0]} == {True, False}
    out, holes = render.splat(pictures, flows, weights)
    wrong = ((out - frames).abs().mean(1, keepdim=True) * ~holes).mean((1, 2, 3))
    still = (pictures - frames).abs().mean((1, 2, 3))
    assert (wrong < 0.5 * still).all()


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        TrainConfig(steps=0)
    with pytest.raises(ValueError, match="motion"):
        RendererConfig(weight="depth")


def test_a_renderer_is_trained_on_drawn_scenes(monkeypatch):
    """The same seed gives the same renderer, and the caller's random numbers are left alone."""
    monkeypatch.setattr(render, "KINDS", ("flowers",))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    config = TrainConfig(steps=2, batch=2, crop=24)
    runs = [
        render.train(config, CONFIGS["paper"], scenes=1, clips=1, picked=2, size=(64, 104), quiet=True)
        for _ in range(2)
    ]
    assert torch.rand(1) == expected
    assert runs[0].losses == pytest.approx(runs[1].losses, rel=1e-4)
    p = runs[0].pairs
    assert p.frames.shape == (1, 2, 64, 104, 3)
    out, holes = render.splat(render.to_float(p.pictures), p.flows[:, 0].float(), p.W.float())
    truth = render.to_float(p.frames[:, 0])
    still = (render.to_float(p.pictures) - truth).abs().mean()
    assert ((out - truth).abs() * ~holes).mean() < still  # flows, pictures and frames belong together


def test_runs_of_two_seeds_share_no_plant(monkeypatch):
    drawn = []
    monkeypatch.setattr(render, "pairs", lambda plants, *rest: drawn.append(set(plants)) or dataset(2))
    for seed in (0, 1):
        render.train(TrainConfig(steps=1, batch=1, crop=16, seed=seed), CONFIGS["paper"], scenes=3, quiet=True)
    assert [len(plants) for plants in drawn] == [12, 12]
    assert not drawn[0] & drawn[1]


def test_perceptual_distance_sees_blur_and_not_itself(two):
    frames, _ = two
    x = render.to_float(frames)
    distance = render.perceptual
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert float(distance(x, x)) == 0
    assert float(distance(x, blurred)) > 0
    assert float(distance(x, x + 0.05)) < float(
        distance(x, blurred)
    )  # filters without a mean: brightness counts little
    assert float(distance(x, blurred)) == float(distance(x, blurred))


def test_weights_go_through_a_file(tmp_path, two):
    renderer = trained_a_little(CONFIGS["learned"])
    render.save(renderer, tmp_path / "r.safetensors")
    again = render.load(tmp_path / "r.safetensors")
    assert again.config == renderer.config
    a, b = (made("network", two, renderer=r)[1].astype(int) for r in (renderer, again))
    assert np.abs(a - b).max() <= 2  # half precision
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(FormatError, match="weights of this kind of model"):
        render.load(tmp_path / "bad.safetensors")


# --------------------------------------------------------------------------------------------------------------- scores


def test_regions_lie_where_they_should(two):
    _, flow = two
    found = render.regions(flow[1])
    assert (sum(found[name].int() for name in ("holes", "edges", "rest")) == 1).all()
    assert (found["silhouettes"] == found["holes"] | found["edges"]).all()
    _, disc = layers((4.3, -1.2))
    y, x = np.mgrid[:H, :W]
    away = np.abs(np.hypot(x - 4.3 - W / 2, y + 1.2 - H / 2) - H / 4)
    assert (away[found["edges"].numpy()] < 9.5).all()
    inside = (away > 9) & disc
    assert found["rest"].numpy()[inside].all()
    holes = found["holes"].numpy() & (x > 2) & (x < W - 3) & (y > 2) & (y < H - 3)
    assert holes.any()
    assert (x[holes] < W / 2 + 5).all()  # behind the disc, which went right
    assert not render.regions(flow[0])["edges"].any()


def test_scores_of_known_errors(two):
    frames, flow = two
    exact = render.score(frames, frames, flow)
    assert exact["psnr"] == math.inf
    assert exact["ssim"] == pytest.approx(1)
    assert exact["share_holes"] + exact["share_edges"] + exact["share_rest"] == pytest.approx(1)
    off = np.where(frames > 200, frames - 10, frames + 10)
    assert render.score(off, frames, flow)["psnr_edges"] == pytest.approx(20 * math.log10(25.5), abs=1e-3)
    still = render.score(frames[:1], frames[:1], flow[:1])
    assert math.isnan(still["psnr_holes"])
    with pytest.raises(ValueError, match="zip"):
        render.score(frames[:2], frames, flow)
