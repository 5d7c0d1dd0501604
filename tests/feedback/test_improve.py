import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from bestpapers.feedback import data, improve
from bestpapers.feedback.generator import Config, Generator, MaskedTransformer, draw, token_mask
from bestpapers.feedback.improve import (
    FlowTraining,
    LatentFlow,
    Own,
    PreferenceConfig,
    PreferenceTraining,
    adapt,
    advantages,
    at_random,
    choose,
    chosen,
    draw_guided,
    elsewhere,
    elsewhere_foreground,
    flow_pictures,
    masks_of,
    moved,
    own_pictures,
    press,
    settle,
    shuffled,
)
from bestpapers.feedback.model import Outputs, Vocabulary
from bestpapers.feedback.record import Feedback
from bestpapers.feedback.train import TrainConfig, TransformerTraining
from bestpapers.feedback.worlds import SMALL, silhouette
from bestpapers.lab.averaging import AveragingConfig

TINY = Config(
    size=16, down=4, codes=8, code=4, hidden=16, width=32, heads=2, layers=2, longest=4, vocabulary=("a", "b", "left")
)  # fmt: skip
PROMPTS = ("a left", "b left", "b")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def feedback(score, marked=None):
    marked = np.zeros((16, 16), np.float32) if marked is None else marked
    return Feedback(dict(plausibility=float(score)), dict(implausibility=marked), np.zeros(0, np.float32))


def by_red(pictures, prompts):
    """A rater whose taste is known: the redder the better, and a map of what is dark red or none."""
    assert len(pictures) == len(prompts)
    red = pictures[..., 0].astype(np.float32) / 255
    return [feedback(r.mean(), 1 - r) for r in red]


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(1)
    return Generator(TINY).eval().requires_grad_(False)


def fake(tries=3, prompts=PROMPTS):
    n = len(prompts) * tries
    numbers = torch.randint(0, 8, (len(prompts), tries, 16), generator=rng(5))
    return Own(prompts, numbers, np.random.default_rng(0).integers(0, 255, (n, 16, 16, 3)).astype(np.uint8))


# ---------------------------------------------------------------------------------------------------- own pictures


def test_own_pictures_lie_prompt_by_prompt(generator):
    own = own_pictures(generator, PROMPTS, 2, seed=3, steps=3)
    assert (own.tries, own.repeated) == (2, ["a left", "a left", "b left", "b left", "b", "b"])
    assert own.numbers.shape == (3, 2, 16)
    np.testing.assert_array_equal(own.pictures, generator.pictures(own.numbers.flatten(0, 1)))
    rated = own.rated(by_red)
    assert rated.shape == (3, 2)
    assert rated[2, 1] == pytest.approx(own.pictures[5, ..., 0].mean() / 255, abs=1e-6)
    again = own_pictures(generator, PROMPTS, 2, seed=3, steps=3)
    assert torch.equal(own.numbers, again.numbers)
    assert not torch.equal(own.numbers, own_pictures(generator, PROMPTS, 2, seed=4, steps=3).numbers)


def test_the_best_of_each_prompt_is_chosen_if_it_passes():
    own = fake()
    rated = np.array([[0.1, 0.9, 0.9], [0.2, 0.1, 0.0], [0.5, 0.4, 0.3]])
    assert choose(own, rated, 0.3).tolist() == [1, 6]  # of equals the first
    kept = [set(choose(own, rated, threshold).tolist()) for threshold in (1.0, 0.9, 0.5, 0.2, -np.inf)]
    assert kept == [set(), {1}, {1, 6}, {1, 3, 6}, {1, 3, 6}]


def test_the_random_control_has_the_same_prompts_as_often():
    own, which = fake(), np.array([1, 6])
    found = [at_random(own, which, seed) for seed in range(40)]
    assert all((other // 3 == which // 3).all() for other in found)
    assert {other[1] for other in found} == {6, 7, 8}
    np.testing.assert_array_equal(at_random(own, which, 7), found[7])


def test_chosen_pictures_bring_their_prompts_codes_and_marked_places(generator):
    own, which = fake(), np.array([1, 6])
    plain = chosen(own, which, generator)
    assert plain.prompts == ("a left", "b")
    assert plain.never is None
    assert torch.equal(plain.numbers, own.numbers.flatten(0, 1)[[1, 6]])

    def marks(pictures, prompts):
        np.testing.assert_array_equal(pictures, own.pictures[which])
        assert tuple(prompts) == plain.prompts
        maps = np.zeros((2, 16, 16), np.float32)
        maps[0, 5, 9], maps[0, 0, 0] = 0.31, 0.3  # the second does not pass a threshold of 0.3
        return [feedback(1, m) for m in maps]

    rich = chosen(own, which, generator, marks, threshold=0.3, dilate=0)
    assert rich.never[0].nonzero().flatten().tolist() == [6]
    assert not rich.never[1].any()
    wider = chosen(own, which, generator, marks, threshold=0.3, dilate=2)
    assert wider.never[0].nonzero().flatten().tolist() == [1, 2, 5, 6]  # from row 3 and column 7 on
    with pytest.raises(ValueError, match="lower the threshold"):
        chosen(own, which[:0], generator)


def test_shuffled_places_are_as_many_in_each_picture():
    never = torch.rand(50, 16, generator=rng(1)) < torch.linspace(0, 1, 50)[:, None]
    found = shuffled(never, seed=2)
    assert torch.equal(found.sum(1), never.sum(1))
    assert torch.equal(found, shuffled(never, seed=2))
    assert not torch.equal(found, never)
    assert not torch.equal(found, shuffled(never, seed=3))
    often = torch.stack([shuffled(never[25:26], seed) for seed in range(200)]).float().mean((0, 1))
    assert (often - never[25].float().mean()).abs().max() < 0.15  # anywhere


def test_where_nothing_is_left_to_learn_from_the_loss_is_nothing():
    model = MaskedTransformer(TINY)
    numbers, words = torch.zeros(2, 16, dtype=torch.int64), model.vocabulary(["a", "b"])
    loss = model.loss(numbers, words, rng(), torch.ones(2, 16, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# ------------------------------------------------------------------------------------------------------ fine-tuning


def pair():
    """A plain transformer, and an adapted copy of it."""
    model = MaskedTransformer(TINY)
    return model, adapt(copy.deepcopy(model), rank=2)


def logits(model):
    numbers = torch.randint(0, 9, (3, 16), generator=rng(2))
    with torch.no_grad():
        return model(numbers, Vocabulary(TINY.vocabulary, 4)(PROMPTS))


def louder(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".up"):
                parameter.normal_(std=0.3, generator=rng(4))
    return model


def test_low_rank_parts_start_as_nothing_and_are_few():
    model, adapted = pair()
    torch.testing.assert_close(logits(adapted), logits(model))
    learning = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    assert len(learning) == 2 * 4 * TINY.layers
    assert {name.rpartition(".")[2] for name in learning} == {"up", "down"}
    assert sum(p.numel() for p in learning.values()) < 0.25 * sum(p.numel() for p in model.parameters())
    assert (logits(louder(adapted)) - logits(model)).abs().max() > 0.1


def test_only_low_rank_parts_learn_and_settled_weights_say_the_same():
    model, adapted = pair()
    before = {name: p.clone() for name, p in adapted.named_parameters()}
    numbers, words = torch.randint(0, 8, (6, 16), generator=rng()), model.vocabulary(PROMPTS * 2)
    run = TransformerTraining(adapted, numbers, words, TrainConfig(steps=4, batch=4, lr=0.02, warmup=0))
    run.run(quiet=True)
    moved = {name for name, p in adapted.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in adapted.named_parameters() if name.endswith((".up", ".down"))}
    for trained in (run.averaged, adapted):  # a copy first: the two share nothing that settling could take away
        for _ in range(2):
            plain = settle(trained)
            torch.testing.assert_close(logits(plain), logits(trained))
            assert plain.state_dict().keys() == model.state_dict().keys()
            assert all(p.requires_grad for p in plain.parameters())
    assert (logits(settle(adapted)) - logits(model)).abs().max() > 1e-3


def test_advantages_are_distances_from_the_mean_of_the_group():
    reward = torch.tensor([[0.1, 0.5, 0.9, 0.5], [0.5, 0.5, 0.5, 0.51]])
    found = advantages(reward, 0.02)
    spread = np.std([0.1, 0.5, 0.9, 0.5], ddof=1)
    np.testing.assert_allclose(found[0], (reward[0] - 0.5) / spread, rtol=1e-5, atol=1e-7)
    assert (found[1] == 0).all()
    assert found[0, 2] > 0 > found[0, 0]


class Bare(Generator):
    """Its pictures are its code numbers."""

    def pictures(self, numbers, batch=256):
        return numbers.view(-1, 4, 4, 1).expand(-1, -1, -1, 3).byte().numpy()


def likes_three(pictures, prompts):
    """Rewards pictures with many threes, and marks the fives."""
    codes = pictures[..., 0]
    return [feedback((c == 3).mean(), (c == 5).astype(np.float32)) for c in codes]


SETTINGS = PreferenceConfig(steps=3, batch=2, group=4, calls=4, learned=2, guidance=1.5, lr=0.01, warmup=0, local=0.3)


def test_the_preference_loss_is_that_of_a_plain_loop():
    run = PreferenceTraining(Bare(TINY), PROMPTS, likes_three, SETTINGS)
    with torch.no_grad():
        for parameter in run.generator.transformer.parameters():  # away from where it began
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(8)))
    found = run.loss(rng(9))

    model, random, history = run.generator.transformer, rng(9), []
    some = torch.randint(3, (2,), generator=random).repeat_interleave(4)
    words = model.vocabulary([PROMPTS[i] for i in some])
    numbers = draw(model, words, random, steps=4, guidance=1.5, temperature=1.0, history=history)
    assert len(history) == 4
    steps = torch.randperm(4, generator=random)[:2].tolist()
    reward = (numbers == 3).float().mean(1).view(2, 4)
    wanted = 0.0
    for step in steps:
        before = history[step - 1].numbers if step else torch.full_like(numbers, 8)
        after = history[step].numbers
        asked, free = (model(before, some).log_softmax(-1) for some in (words, 0 * words))
        now = (1.5 * asked - 0.5 * free).log_softmax(-1)
        for b in range(8):
            group = reward[b // 4]
            whole = (group[b % 4] - group.mean()) / group.std() if group.std() >= 0.02 else 0.0
            for n in range(16):
                if before[b, n] == 8 and after[b, n] != 8:
                    fives = (numbers[b] == 5).float()
                    advantage = whole - 0.3 * (fives[n] - fives.mean())
                    wanted = wanted - advantage * now[b, n, numbers[b, n]] / (8 * 16)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert run.rewards == pytest.approx([float(reward.mean())])


@pytest.mark.parametrize("low_rank", [False, True])
def test_what_is_rewarded_becomes_likelier(low_rank):
    settings = replace(SETTINGS, steps=25, batch=4, group=8, learned=4, guidance=1.0, lr=0.02, local=0.0)
    generator = Bare(TINY)
    if low_rank:
        adapt(generator.transformer, rank=4)
    run = PreferenceTraining(generator, PROMPTS, likes_three, settings)
    run.run(quiet=True)
    assert np.mean(run.rewards[-5:]) > np.mean(run.rewards[:3]) + 0.1


def test_how_far_training_went():
    generator = Bare(TINY)
    words = generator.transformer.vocabulary(PROMPTS)
    numbers = draw(generator.transformer, words, rng(1), steps=2)
    then = copy.deepcopy(generator.transformer)
    assert moved(generator.transformer, then, numbers, words) == pytest.approx(0, abs=1e-6)
    PreferenceTraining(generator, PROMPTS, likes_three, replace(SETTINGS, steps=10, lr=0.02)).run(quiet=True)
    some = moved(generator.transformer, then, numbers, words)
    PreferenceTraining(generator, PROMPTS, likes_three, replace(SETTINGS, steps=20, lr=0.02)).run(quiet=True)
    assert 0 < some < moved(generator.transformer, then, numbers, words)


def test_what_a_map_marks_becomes_rarer_and_equal_rewards_teach_nothing():
    def marks(pictures, prompts):
        return [replace(f, scores=dict(plausibility=0.5)) for f in likes_three(pictures, prompts)]

    def fives(model):
        words = model.vocabulary(PROMPTS * 20)
        return float((draw(model, words, rng(3), steps=4, guidance=1) == 5).float().mean())

    settings = replace(SETTINGS, steps=20, batch=4, group=8, learned=4, guidance=1.0, lr=0.02, local=1.0)
    generator = Bare(TINY)
    at_first = fives(generator.transformer)
    PreferenceTraining(generator, PROMPTS, marks, settings).run(quiet=True)
    assert fives(generator.transformer) < 0.7 * at_first
    still = PreferenceTraining(Bare(TINY), PROMPTS, marks, replace(settings, local=0.0))
    loss = still.loss(rng())
    loss.backward()
    assert loss == 0
    assert not any(p.grad.any() for p in still.generator.transformer.parameters() if p.grad is not None)


def test_a_resumed_preference_run_keeps_its_rewards(tmp_path):
    torch.manual_seed(2)
    whole = PreferenceTraining(Bare(TINY), PROMPTS, likes_three, SETTINGS)
    whole.run(quiet=True)
    for until in (1, 3):
        torch.manual_seed(2)
        run = PreferenceTraining(Bare(TINY), PROMPTS, likes_three, SETTINGS, tmp_path / "run.safetensors")
        run.run(until=until, quiet=True)
    assert run.rewards == pytest.approx(whole.rewards)


# --------------------------------------------------------------------------------------------------------- guidance


class LikesRed:
    """Stands in for RAHF: a score that is known, and that has a gradient."""

    vocabulary = Vocabulary(TINY.vocabulary, TINY.longest)

    def __call__(self, pictures, tokens, ask):
        assert len(tokens) == len(pictures)
        assert ((pictures >= 0) & (pictures <= 1)).all()
        return Outputs({}, {name: 100 * pictures[:, 0].mean((1, 2)) for name in ask}, None)


def redness(pictures):
    return pictures[..., 0].mean((1, 2)) / 255


def test_flow_reads_the_prompt_and_no_padding():
    flow = LatentFlow(TINY).eval()
    z, step = torch.randn(2, 16, 4, generator=rng()), torch.tensor([900.0, 100.0])
    words = flow.vocabulary(["a left", "b"])
    with torch.no_grad():
        found = flow(z, step, words)
        torch.testing.assert_close(flow(z[1:], step[1:], words[1:, :1]), found[1:])
        assert found.shape == (2, 16, TINY.codes)
        assert (flow(z, step, words.flip(0)) - found).abs().max() > 1e-3
        assert (flow(z, step.flip(0), words) - found).abs().max() > 1e-3


def learned_flow(generator, numbers):
    flow = LatentFlow(TINY)
    flow.codebook.copy_(generator.tokenizer.codebook)
    config = AveragingConfig(steps=160, batch=16, lr=5e-3, warmup=10, average=0.9)
    words = flow.vocabulary(["a left", "b left"] * (len(numbers) // 2))
    run = FlowTraining(flow, numbers, words, config)
    run.run(quiet=True)
    return run


def test_a_flow_learns_where_the_codes_lie(generator):
    numbers = torch.randint(TINY.codes, (2, 16), generator=rng(3))
    run = learned_flow(generator, numbers)
    assert np.mean(run.losses[-20:]) < 0.75 * np.mean(run.losses[:5])
    made = flow_pictures(run.averaged, generator, ["a left", "b left"] * 4, calls=12, guidance=1.0)
    true = generator.pictures(numbers) / 255
    off = [np.abs(made[i] / 255 - true[i % 2]).mean() for i in range(8)]
    other = [np.abs(made[i] / 255 - true[1 - i % 2]).mean() for i in range(8)]
    assert np.mean(off) < np.mean(other)  # it draws what was asked for


def test_guidance_of_the_flow_makes_the_score_rise_and_weight_0_is_no_guidance(generator):
    # of many grids, so that there is a choice where it ends
    flow = learned_flow(generator, torch.randint(TINY.codes, (64, 16), generator=rng(3))).averaged
    how = dict(prompts=PROMPTS * 4, seed=1, calls=8)
    plain = flow_pictures(flow, generator, **how)
    assert plain.shape == (12, 16, 16, 3)
    assert plain.dtype == np.uint8
    np.testing.assert_array_equal(plain, flow_pictures(flow, generator, rahf=LikesRed(), weight=0.0, **how))
    led = [redness(flow_pictures(flow, generator, rahf=LikesRed(), weight=w, **how)) for w in (-100.0, 100.0)]
    assert led[0].mean() < redness(plain).mean() < led[1].mean()
    assert (led[1] > led[0]).mean() > 0.9


def test_pressed_pixels_please_and_a_tether_keeps_them_near():
    pictures = np.full((3, 16, 16, 3), 100, np.uint8)
    free = press(LikesRed(), pictures, PROMPTS, (2, 8))
    assert list(free) == [2, 8]
    assert pictures.min() == pictures.max() == 100, "what was given stays"
    np.testing.assert_array_equal(free[8][..., 0], 132)  # eight steps of 4 of 255
    np.testing.assert_array_equal(free[8][..., 1:], 100)
    np.testing.assert_array_equal(free[2], press(LikesRed(), pictures, PROMPTS, (2,))[2])
    tied = press(LikesRed(), pictures, PROMPTS, (8,), tether=3e3)[8]
    assert redness(pictures).mean() < redness(tied).mean() < redness(free[8]).mean()


def test_guidance_of_masked_decoding_makes_the_score_rise_and_weight_0_is_no_guidance(generator):
    how = dict(prompts=PROMPTS * 4, seed=1, steps=4)
    plain = generator.draw(**how)
    np.testing.assert_array_equal(draw_guided(generator, LikesRed(), weight=0.0, **how), plain)
    led = [redness(draw_guided(generator, LikesRed(), weight=w, **how)) for w in (-100.0, 100.0)]
    assert led[0].mean() < redness(plain).mean() < led[1].mean()
    assert (led[1] > led[0]).mean() > 0.9


# ------------------------------------------------------------------------------------------------------- inpainting


def test_masks_are_what_passes_the_threshold():
    maps = np.array([[[0.1, 0.3], [0.31, 1.0]]], np.float32)
    assert masks_of([feedback(1, maps[0])], 0.3).tolist() == [[[False, False], [True, True]]]


def random_masks(n=30, size=32):
    """Blobs that begin at no token's corner."""
    masks, random = np.zeros((n, size, size), bool), np.random.default_rng(3)
    for mask in masks:
        y, x = random.integers(0, size - 9, 2)
        mask[y : y + random.integers(2, 9), x : x + random.integers(2, 9)] = True
    return masks


def tokens(masks, side=4):
    return token_mask(torch.from_numpy(masks), masks.shape[1] // side).sum(1).tolist()


def test_controls_are_of_equal_area_and_elsewhere():
    masks = random_masks()
    things = np.random.default_rng(4).random(masks.shape) < 0.3
    for found in (elsewhere(masks, 1, side=4), elsewhere_foreground(masks, things, 1, side=4)):
        assert found.dtype == bool
        assert (found.sum((1, 2)) == masks.sum((1, 2))).all()
        assert tokens(found) == tokens(masks)
        assert (found != masks).any((1, 2)).all()
    np.testing.assert_array_equal(elsewhere(masks, 1, side=4), elsewhere(masks, 1, side=4))
    assert (elsewhere(masks, 1, side=4) != elsewhere(masks, 2, side=4)).any()


def test_the_foreground_control_lies_on_things_that_were_not_marked():
    masks, things = np.zeros((3, 32, 32), bool), np.zeros((3, 32, 32), bool)
    masks[:, 2:6, 2:6] = True
    things[:2, 0:8, 0:8] = True  # the marked one
    things[0, 16:24, 8:16] = True  # another one
    for seed in range(5):
        found = elsewhere_foreground(masks, things, seed, side=4)
        assert found[0][16:24, 8:16].sum() == 16  # all of it on the other thing
        assert (found[1] & things[1] & ~masks[1]).sum() > 0  # there is only one: on what is sound of it
        assert found[2].sum() == 16  # there is none: anywhere
    at_random = [(elsewhere(masks, seed, side=4)[0] & things[0]).sum() for seed in range(20)]
    assert np.mean(at_random) < 8


def test_things_are_where_the_judge_sees_them():
    pairs = [data.true_pair("train", n, world=SMALL) for n in range(2)]
    pictures, prompts = data.pairs("train", 2, size=32, world=SMALL)
    found = improve.things_in(pictures)
    np.testing.assert_array_equal(found, [silhouette(layout.things, 32) for _, layout in pairs])
    assert improve.scores(improve.by_judge(pictures, prompts)).tolist() == [1, 1]


@pytest.fixture
def shots(generator):
    """Pictures, their masks (one of them empty), and three tries of painting anew."""
    pictures = np.random.default_rng(1).integers(0, 255, (3, 16, 16, 3)).astype(np.uint8)
    masks = np.zeros((3, 16, 16), bool)
    masks[0, 5, 6] = masks[1, 3:9, 3:9] = True
    tries = [generator.repaint(pictures, PROMPTS, masks, seed=7000 + k, steps=2)[0] for k in range(3)]
    return pictures, masks, np.stack(tries)


def test_what_is_not_masked_stays_to_the_byte(generator, shots):
    pictures, masks, tries = shots
    hidden = token_mask(torch.from_numpy(masks), 4)
    assert hidden.sum(1).tolist() == [1, 9, 0]
    _, numbers = generator.repaint(pictures, PROMPTS, masks, seed=0, steps=2)
    assert torch.equal(numbers[~hidden], generator.numbers(pictures)[~hidden])
    assert (numbers < TINY.codes).all()
    own = hidden.view(3, 4, 4).numpy().repeat(4, 1).repeat(4, 2)
    for shot in tries:
        np.testing.assert_array_equal(shot[~own], pictures[~own])
        assert (shot[own] != pictures[own]).mean() > 0.5
    assert (tries[0] != tries[1]).any()
