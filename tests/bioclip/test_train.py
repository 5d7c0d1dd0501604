"""The training loop: it learns, draws what it says, resumes exactly, and is the same on several processes."""

import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bestpapers.bioclip import train
from bestpapers.bioclip.data import World
from bestpapers.bioclip.model import tiny
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.taxonomy import TEXT_TYPES, captions
from bestpapers.bioclip.train import Photos, TrainConfig, Trainer, distinct, learning_rate, photos

from .train_ranks import ARMS, STEPS, clip_and_photos
from .train_ranks import train as train_all

HERE = Path(__file__).parent
CONFIG = TrainConfig(text="taxon", steps=30, warmup=5, checkpoint_every=1000, backend="reference")


def trainer(config=CONFIG, checkpoint=None, arm="taxon", n=10, **faults):
    model, tokenizer, data = clip_and_photos(arm, n, **faults)
    return Trainer(model, data, config, tokenizer, checkpoint)


def state(run):
    return {name: p.detach().clone() for name, p in run.model.named_parameters()}


@pytest.mark.parametrize(("arm", "share"), [("taxon", 0.5), ("mixed", 0.6), ("ce", 0.5), ("hce", 0.5)])
def test_it_learns(arm, share):
    """The loss of the last steps is a small part of the first; for texts, chance is ln 10."""
    run = trainer(replace(CONFIG, text=train.text_of(arm), steps=120), arm=arm)
    losses = run.run(quiet=True)
    assert len(losses) == 120
    assert sum(losses[-10:]) < share * sum(losses[:10])


def test_the_temperature_is_learnt():
    """Its gradient is that of the loss, by a small difference; Adam's first step moves it by the learning rate, up or down."""
    run = trainer()
    before = run.model.logit_scale.detach().clone()
    which = run.draw(0)
    images, text = run.images[which], run._tokens(0, run.label[which], 0)
    run.contrast(images, text).backward()
    slope = run.model.logit_scale.grad.item()
    with torch.no_grad():
        run.model.logit_scale += 0.05
        above = run.contrast(images, text).item()
        run.model.logit_scale -= 0.1
        below = run.contrast(images, text).item()
        run.model.logit_scale.copy_(before)
    assert slope == pytest.approx((above - below) / 0.1, rel=0.05, abs=1e-4)
    run.step()
    moved = (run.model.logit_scale.detach() - before).item()
    assert moved == pytest.approx(-math.copysign(learning_rate(CONFIG, 0), slope), rel=0.01)


def test_training_the_compact_vocabulary_is_training_the_stock_one():
    """Rows of pieces that no caption has get no gradient: so the others move as they would in the whole table."""
    run = trainer()
    stock = tiny(run.model.config)
    table = stock.token_embedding.weight.detach().clone()
    _, tokenizer, data = clip_and_photos("taxon")
    table[tokenizer.ids] = run.model.token_embedding.weight.detach()
    stock.load_state_dict(run.model.state_dict() | {"token_embedding.weight": table})
    import open_clip

    whole = Trainer(stock, data, CONFIG, open_clip.SimpleTokenizer(context_length=48))
    ours, theirs = run.run(until=10, quiet=True), whole.run(until=10, quiet=True)
    assert ours == pytest.approx(theirs, rel=1e-5)
    moved = stock.token_embedding.weight.detach()
    torch.testing.assert_close(moved[tokenizer.ids], run.model.token_embedding.weight.detach(), rtol=1e-3, atol=1e-6)
    decay = 1.0
    for step in range(10):
        decay *= 1 - learning_rate(CONFIG, step) * CONFIG.weight_decay
    others = torch.ones(len(table), dtype=torch.bool)
    others[tokenizer.ids] = False
    torch.testing.assert_close(moved[others], table[others] * decay)


# --------------------------------------------------------------------------------------------------------------- draws


def test_a_batch_has_one_photograph_of_each_species():
    run = trainer()
    drawn = torch.stack([run.draw(step) for step in range(2000)])
    assert drawn.shape == (2000, 10)
    assert (drawn // 4).sort(1).values.eq(torch.arange(10)).all()  # four photographs each, in order of species
    share = torch.bincount(drawn.flatten()).double() / 2000
    assert share.min() > 0.25 - 0.05  # standard error .01
    assert share.max() < 0.25 + 0.05
    assert len({tuple(row) for row in drawn.tolist()}) == 2000


def test_a_smaller_batch_draws_species_without_replacement():
    run = trainer(replace(CONFIG, batch=4))
    drawn = torch.stack([run.draw(step) for step in range(1000)]) // 4
    assert all(len(set(row)) == 4 for row in drawn.tolist())
    share = torch.bincount(drawn.flatten()).double() / 1000
    assert share.min() > 0.4 - 0.08
    assert share.max() < 0.4 + 0.08


def test_uneven_numbers_of_photographs():
    """Balanced by species, or in proportion to their photographs."""
    _, tokenizer, _ = clip_and_photos("taxon")
    data = photos(taxa()[::12][:10], [1, 9, 2, 2, 2, 2, 2, 2, 2, 2], size=16)
    model = tiny(replace(clip_and_photos("taxon")[0].config), vocabulary=len(tokenizer))
    for sampler, first, second in (("species", 0.1, 0.1), ("random", 1 / 26, 9 / 26)):
        run = Trainer(model, data, replace(CONFIG, sampler=sampler), tokenizer)
        drawn = data.species[torch.cat([run.draw(step) for step in range(1000)])]
        share = torch.bincount(drawn) / len(drawn)
        assert share[0] == pytest.approx(first, abs=0.02)
        assert share[1] == pytest.approx(second, abs=0.02)
        assert drawn.unique().tolist() == list(range(10))


def test_duplicates_under_random_sampling():
    """Different species in a batch of B out of N, all alike: N (1 - (1 - 1/N)^B)."""
    run = trainer(replace(CONFIG, sampler="random", batch=20))
    seen = [len(set((run.draw(step) // 4).tolist())) for step in range(3000)]
    assert sum(seen) / 3000 == pytest.approx(10 * (1 - 0.9**20), abs=0.05)


def test_draws_follow_from_seed_and_step():
    a, b, c = trainer(), trainer(), trainer(replace(CONFIG, seed=1))
    assert torch.equal(a.draw(7), b.draw(7))
    assert not torch.equal(a.draw(7), c.draw(7))


def test_one_text_type_per_step():
    run = trainer(replace(CONFIG, text="mixed"), arm="mixed")
    types = [run.types(step) for step in range(500)]
    assert types == [[random.Random(step).choice(TEXT_TYPES)] for step in range(500)]  # as in the authors' code
    assert min(Counter(t[0] for t in types).values()) > 70
    other = trainer(replace(CONFIG, text="mixed", seed=1), arm="mixed")
    assert [other.types(step) for step in range(500)] != types
    tokens = run._tokens(0, torch.tensor([2, 5]), 0)
    assert torch.equal(tokens, run.tokens[types[0][0]][[2, 5]])


def test_one_text_type_per_sample():
    run = trainer(replace(CONFIG, text="mixed", mixing="sample"), arm="mixed")
    types = run.types(3)
    assert len(types) == 10
    assert types == run.types(3) != run.types(4)
    assert set(types + run.types(4)) == set(TEXT_TYPES)
    tokens = run._tokens(3, torch.tensor([2, 5, 5]), 4)
    assert torch.equal(tokens, torch.stack([run.tokens[types[4 + i]][label] for i, label in enumerate((2, 5, 5))]))


def test_the_loss_is_that_of_the_drawn_pairs():
    from torch.nn import functional as F

    from bestpapers.bioclip.model import image_features, text_features
    from bestpapers.kernels.contrastive import contrastive_loss

    run = trainer(label_noise=0.5)
    _, tokenizer, data = clip_and_photos("taxon", label_noise=0.5)
    which = run.draw(0)
    texts = tokenizer([captions(data.labels[i])["taxon"] for i in which.tolist()])
    v = F.normalize(image_features(run.model.visual, data.images[which]), dim=-1)
    t = F.normalize(text_features(run.model, texts), dim=-1)
    want = contrastive_loss(v, t, run.model.logit_scale.exp(), backend="reference").item()
    assert run.step() == pytest.approx(want, rel=1e-6)
    assert len(distinct(data.labels)) > 1


def test_photos():
    data = photos(taxa()[:3], [2, 1, 3], World(label_noise=1.0), size=16)
    assert data.images.shape == (6, 16, 16, 3)
    assert data.species.tolist() == [0, 0, 1, 2, 2, 2]
    assert all(label != taxa()[i] for label, i in zip(data.labels, data.species))
    later = photos(taxa()[:3], 2, size=16, start=1)
    assert torch.equal(later.images[0], data.images[1])
    assert later.labels == (taxa()[0],) * 2 + (taxa()[1],) * 2 + (taxa()[2],) * 2


def test_bad_photos():
    data = photos(taxa()[:2], 2, size=16)
    with pytest.raises(ValueError, match="4 images, 4 species, 3 labels"):
        Photos(data.images, data.species, data.labels[:3])
    with pytest.raises(ValueError, match="ascending"):
        Photos(data.images, data.species.flip(0), data.labels)


# -------------------------------------------------------------------------------------------------------------- recipe


def test_learning_rate():
    config = TrainConfig(steps=100, warmup=10, lr=2.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert 0 < rates[99] < 0.001
    assert learning_rate(TrainConfig(steps=10, warmup=50), 9) == pytest.approx(2e-3 * 10 / 50)
    run = trainer()
    run.run(until=3, quiet=True)
    assert {g["lr"] for g in run.optimizer.param_groups} == {learning_rate(CONFIG, 2)}


def test_only_matrices_decay_and_the_scale_stays_below_100():
    run = trainer()
    decays = {
        name: g["weight_decay"]
        for g in run.optimizer.param_groups
        for name, p in run.named.items()
        if any(p is q for q in g["params"])
    }
    assert decays["visual.conv1.weight"] == decays["token_embedding.weight"] == decays["text_projection"] == 0.2
    for name in (
        "logit_scale",
        "visual.ln_pre.weight",
        "visual.class_embedding",
        "transformer.resblocks.0.mlp.c_fc.bias",
    ):
        assert decays[name] == 0
    with torch.no_grad():
        run.model.logit_scale.fill_(9.0)
    run.step()
    assert run.model.logit_scale.item() == pytest.approx(4.6052, abs=1e-4)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(text="latin"), "text must be one of mixed, com"),
        (dict(mixing="epoch"), "mixing must be one of batch, sample"),
        (dict(sampler="all"), "sampler must be one of species, random"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(lr=0.0), "lr and batch must be above 0"),
        (dict(batch=0), "lr and batch must be above 0"),
    ],
)
def test_bad_settings(bad, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**bad)


def test_what_cannot_be_trained():
    with pytest.raises(ValueError, match="of 10 makes no batch of 11"):
        trainer(replace(CONFIG, batch=11))
    model, _, data = clip_and_photos("taxon")
    with pytest.raises(ValueError, match="needs the tokenizer"):
        Trainer(model, data, CONFIG)


# ---------------------------------------------------------------------------------------------------------- checkpoint


@pytest.mark.parametrize("arm", ["mixed", "hce"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, arm):
    config = replace(CONFIG, text=train.text_of(arm))
    whole = trainer(config, arm=arm)
    whole.run(quiet=True)
    trainer(config, tmp_path / "run.safetensors", arm=arm).run(until=13, quiet=True)
    second = trainer(config, tmp_path / "run.safetensors", arm=arm)
    assert len(second.losses) == 13
    second.run(quiet=True)
    assert second.losses == whole.losses
    assert all(torch.equal(tensor, state(second)[name]) for name, tensor in state(whole).items())


def test_other_settings_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    trainer(checkpoint=path).run(until=2, quiet=True)
    with pytest.raises(ValueError, match="trained with seed = 0, this run has 1"):
        trainer(replace(CONFIG, seed=1), path)
    with pytest.raises(ValueError, match="trained on other photographs or labels"):
        trainer(checkpoint=path, label_noise=0.3)
    with pytest.raises(ValueError, match="trained with another model"):
        trainer(checkpoint=path, arm="hce")
    trainer(replace(CONFIG, checkpoint_every=7, backend="auto"), path)  # what does not decide the result


# ----------------------------------------------------------------------------------------------------------- processes


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes of `train_ranks.py` found."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | dict(OMP_NUM_THREADS="1", BESTPAPERS_PRESET="laptop")
    done = subprocess.run(
        [*command, str(HERE / "train_ranks.py"), str(folder)], env=environment, capture_output=True, text=True, timeout=2400
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    return folder, [json.loads((folder / f"{r}.json").read_text()) for r in range(2)]


@pytest.mark.parametrize("arm", ARMS)
def test_two_processes_have_the_loss_curve_of_one(ranks, arm, tmp_path):
    """Twelve steps of Adam. Measured: 1.4e-6 apart at most, from sums in another order."""
    alone = train_all(None, tmp_path)[arm]
    first, second = (found[arm] for found in ranks[1])
    assert first == second  # losses and weights, to the last bit
    assert len(first["losses"]) == STEPS
    assert first["losses"] == pytest.approx(alone["losses"], rel=2e-5)
    assert abs(alone["losses"][-1] - alone["losses"][0]) > 0.05


def test_processes_share_batches_evenly_and_one_of_them_saves(ranks):
    folder, found = ranks
    for rank in found:
        assert "a batch of 7 cannot be shared evenly by 2 processes" in rank["refusal"]
    assert sorted(p.name for p in folder.glob("*.safetensors*")) == sorted(f"{arm}.safetensors" for arm in ARMS)
