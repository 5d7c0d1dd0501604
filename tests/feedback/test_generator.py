import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bestpapers.feedback.generator import (
    Config,
    Generator,
    MaskedTransformer,
    Tokenizer,
    draw,
    left_masked,
    masked_share,
    token_mask,
)
from bestpapers.feedback.train import TokenizerTraining, TrainConfig
from bestpapers.lab.files import FormatError

TINY = Config(
    size=16,
    down=4,
    codes=8,
    code=4,
    hidden=16,
    width=32,
    heads=2,
    layers=2,
    longest=4,
    vocabulary=("a", "b", "left"),
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Known(MaskedTransformer):
    """Stands in for a trained network: says what it is told to."""

    def __init__(self, logits):
        super().__init__(TINY)
        self.says = logits
        self.seen = []

    def forward(self, numbers, words):
        self.seen.append(numbers.clone())
        return self.says.expand(len(numbers), -1, -1)


def test_schedule_is_that_of_maskgit():
    assert [left_masked(64, i, 8) for i in range(1, 9)] == [62, 59, 53, 45, 35, 24, 12, 0]
    share = masked_share(torch.rand(100_000, generator=rng()))
    assert share.mean().item() == pytest.approx(2 / math.pi, abs=0.005)
    assert (share > 0.9).float().mean().item() == pytest.approx(0.29, abs=0.01)


def test_loss_is_taken_where_masked_and_nowhere_else():
    model = MaskedTransformer(TINY)
    numbers = torch.randint(0, 8, (4, 16), generator=rng())
    words = model.vocabulary(["a left b"] * 4)
    seen = {}

    def spy(hidden, words):
        seen["hidden"] = hidden
        logits = torch.zeros(*hidden.shape, 8)
        visible = hidden != TINY.codes
        logits[visible] = torch.nn.functional.one_hot((numbers[visible] + 1) % 8, 8) * 1e4  # badly wrong where it sees
        return logits

    model.forward = spy
    loss = model.loss(numbers, words, rng())
    assert (seen["hidden"] == TINY.codes).any(1).all()
    assert loss.item() == pytest.approx(math.log(8), abs=1e-4)


def test_places_that_never_show_are_masked_and_carry_no_loss():
    model = MaskedTransformer(TINY)
    numbers = torch.randint(0, 8, (4, 16), generator=rng())
    never = torch.zeros(4, 16, dtype=torch.bool)
    never[:, 3] = True
    seen = []

    def spy(hidden, words):
        seen.append(hidden)
        logits = torch.zeros(*hidden.shape, 8)
        logits[:, 3] = torch.nn.functional.one_hot((numbers[:, 3] + 1) % 8, 8) * 1e4
        return logits

    model.forward = spy
    for seed in range(5):
        loss = model.loss(numbers, model.vocabulary(["a"] * 4), rng(seed), never)
        assert (seen[-1][:, 3] == TINY.codes).all()
        assert loss.item() == pytest.approx(math.log(8), abs=1e-4)


def test_decoding_settles_the_surest_first_and_changes_nothing_that_is_settled():
    logits = torch.zeros(1, 16, 8)
    logits[0, :, 2] = torch.linspace(0, 12, 16)  # the later a place, the surer
    model, history = Known(logits), []
    out = draw(
        model, model.vocabulary(["a", "b"]), rng(), steps=6, guidance=1, temperature=0, history=history, start=None
    )
    assert (out < TINY.codes).all()
    counts = [(step.numbers == TINY.codes).sum(1).tolist() for step in history]
    assert counts == [[left_masked(16, i, 6)] * 2 for i in range(1, 7)]
    for before, after in pairwise(history):
        settled = before.numbers != TINY.codes
        assert torch.equal(before.numbers[settled], after.numbers[settled])
    first = history[0].numbers[0] != TINY.codes
    assert history[0].sure[0][first].min() >= history[0].sure[0][~first].max()  # the surest of what was drawn


def test_less_noise_draws_likelier_codes():
    model = MaskedTransformer(TINY)
    words = model.vocabulary(["a", "b"] * 30)
    likely = []
    for noise in (1.0, 0.5, 0.0):
        history = []
        numbers = draw(model, words, rng(), steps=1, guidance=1, noise=noise, history=history)
        likely.append(float(history[0].sure.mean()))
    assert likely[0] < likely[1] < likely[2]
    best = model(torch.full_like(numbers, TINY.codes), words).argmax(-1)
    assert torch.equal(numbers, best)  # without noise the likeliest


def test_each_step_settles_a_place_even_when_there_are_more_steps_than_places():
    model = Known(torch.zeros(1, 16, 8))
    start = torch.zeros(1, 16, dtype=torch.int64)
    start[0, :3] = TINY.codes
    history = []
    out = draw(model, model.vocabulary(["a"]), rng(), steps=12, guidance=1, start=start, history=history)
    assert len(history) <= 3
    assert (out[0, 3:] == 0).all()
    assert (out < TINY.codes).all()


def test_nothing_masked_nothing_changed():
    model = Known(torch.zeros(1, 16, 8))
    start = torch.randint(0, 8, (2, 16), generator=rng())
    assert torch.equal(draw(model, model.vocabulary(["a", "b"]), rng(), start=start), start)
    assert not model.seen


def test_draws_follow_the_distribution():
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    model = Known(torch.cat([logits, torch.full((5,), -1e4)]).expand(1, 16, 8))
    out = draw(model, model.vocabulary(["a"] * 400), rng(), steps=1, guidance=1)
    share = torch.bincount(out.flatten(), minlength=8) / out.numel()
    torch.testing.assert_close(share[:3], torch.tensor([0.5, 0.3, 0.2]), atol=0.02, rtol=0)


def test_guidance_leads_from_the_free_to_the_asked():
    model = MaskedTransformer(TINY)
    numbers = torch.full((1, 16), TINY.codes)
    words = model.vocabulary(["a left b"])
    asked = model(numbers, words).log_softmax(-1)
    free = model(numbers, torch.zeros_like(words)).log_softmax(-1)
    torch.testing.assert_close(model.guided(numbers, words, 1), asked)
    torch.testing.assert_close(model.guided(numbers, words, 0), free)
    torch.testing.assert_close(model.guided(numbers, words, 3), (free + 3 * (asked - free)).log_softmax(-1))


def test_token_mask_covers_every_pixel_and_grows_with_dilation():
    pixels = torch.zeros(2, 16, 16, dtype=torch.bool)
    pixels[0, 4, 7] = True  # one pixel, at the border of a token of 4 px
    found = token_mask(pixels, 4)
    assert found[0].nonzero().flatten().tolist() == [5]
    assert not found[1].any()
    wider = token_mask(pixels, 4, dilate=1)
    assert wider[0].nonzero().flatten().tolist() == [1, 2, 5, 6]
    random = torch.rand(3, 16, 16, generator=rng()) < 0.05
    grown = token_mask(random, 4).view(3, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert grown[random].all()


def toy(n, generator):
    """Pictures of two flat halves; the prompt says which of four colours is left."""
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.2, 0.9]])
    left = torch.randint(0, 2, (n,), generator=generator)
    x = torch.empty(n, 3, 16, 16)
    x[..., :8] = colours[left][:, :, None, None]
    x[..., 8:] = colours[1 - left][:, :, None, None]
    return x, ["a left" if i == 0 else "b left" for i in left]


def test_it_learns_to_paint_what_is_asked(tmp_path):
    generator, random = Generator(TINY).train(), rng(1)
    optimizer = torch.optim.Adam(generator.tokenizer.parameters(), 3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        generator.tokenizer.loss(toy(32, random)[0]).backward()
        optimizer.step()
    x, prompts = toy(16, random)
    generator.eval()
    back = generator.tokenizer.decode(generator.tokenizer.encode(x))
    assert (back - x).abs().mean() < 0.08
    model = generator.transformer
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        x, prompts = toy(32, random)
        optimizer.zero_grad()
        model.loss(generator.tokenizer.encode(x).flatten(1), model.vocabulary(prompts), random).backward()
        optimizer.step()
    made = generator.draw(["a left"] * 8 + ["b left"] * 8, seed=3, steps=4)
    redness = made[:, :, :8, 0].mean((1, 2)).astype(float) - made[:, :, :8, 2].mean((1, 2))
    assert (redness[:8] > 60).mean() > 0.8
    assert (redness[8:] < -60).mean() > 0.8

    masks = np.zeros((16, 16, 16), bool)
    masks[:, :4, :4] = True
    painted, numbers = generator.repaint(made, ["a left"] * 16, masks, steps=2)
    before = generator.numbers(made)
    outside = ~token_mask(torch.from_numpy(masks), 4)
    assert torch.equal(numbers[outside], before[outside])
    assert painted.shape == made.shape

    generator.save(tmp_path / "generator.safetensors")
    again = Generator.load(tmp_path / "generator.safetensors")
    assert again.config == TINY
    assert (again.numbers(made) == before).float().mean() > 0.95  # float16
    (tmp_path / "generator.safetensors").write_bytes(b"none")
    with pytest.raises(FormatError):
        Generator.load(tmp_path / "generator.safetensors")


def test_codes_that_nothing_falls_to_are_put_to_use():
    tokenizer = Tokenizer(TINY).train()
    with torch.no_grad():
        tokenizer.codebook[1:] = -tokenizer.features(torch.rand(1, 3, 16, 16)).mean((0, 1, 2))
    generator = rng(2)
    for _ in range(200):
        tokenizer.loss(torch.rand(16, 3, 16, 16, generator=generator))
    used = torch.bincount(tokenizer.encode(torch.rand(64, 3, 16, 16, generator=generator)).flatten(), minlength=8)
    assert (used > 0).sum() >= 6


def test_a_settled_tokenizer_gives_the_same_numbers_out_of_its_file(tmp_path):
    """Of codes that look alike one is left, the one that is used most; what is left tells the same squares apart."""
    torch.manual_seed(0)
    generator = Generator(TINY)
    tokenizer, pictures = (
        generator.tokenizer,
        np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8),
    )
    axes = torch.eye(4)
    tokenizer.codebook.copy_(torch.cat([axes, F.normalize(axes + 1e-5 * torch.randn(4, 4), dim=1)]))  # twins
    tokenizer.counts.copy_(torch.tensor([9.0, 1, 9, 1, 1, 9, 1, 9]))
    before = generator.numbers(pictures)
    tokenizer.settle()
    assert tokenizer.codebook.any(1).tolist() == [True, False, True, False, False, True, False, True]
    after = generator.numbers(pictures)
    assert (before % 4 == after % 4).float().mean() > 0.9  # but for float16 in a network that has learned nothing
    assert not torch.equal(before, after)
    generator.save(tmp_path / "generator.safetensors")
    assert torch.equal(Generator.load(tmp_path / "generator.safetensors").numbers(pictures), after)


def test_an_interrupted_tokenizer_goes_on_as_if_never(tmp_path):
    """Also where idle codes are put: nothing may come from torch's own state."""
    pictures = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    config = TrainConfig(steps=6, batch=4, warmup=0, checkpoint_every=3)

    def made(path, until, own_state):
        torch.manual_seed(0)
        tokenizer = Tokenizer(TINY)
        torch.manual_seed(own_state)
        run = TokenizerTraining(tokenizer, pictures, config, path)
        run.run(until, quiet=True)
        return run.averaged.state_dict()

    whole = made(None, 6, 1)
    made(tmp_path / "half.safetensors", 3, 2)
    rest = made(tmp_path / "half.safetensors", 6, 3)
    assert all(torch.equal(whole[name], rest[name]) for name in whole)


def test_configurations_that_do_not_fit_are_refused():
    for wrong in (dict(down=3), dict(size=18), dict(width=33), dict(codes=1)):
        with pytest.raises(ValueError, match="Config"):
            replace(TINY, **wrong)
