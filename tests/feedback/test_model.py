import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from bestpapers.feedback.model import (
    END,
    MARK,
    OUTPUTS,
    PAD,
    RAHF,
    UNKNOWN,
    VARIANTS,
    Config,
    ImageOnly,
    Outputs,
    TwoTowers,
    Vocabulary,
    as_batch,
    loss,
)  # fmt: skip
from bestpapers.feedback.record import MAPS, SCORES
from bestpapers.lab.files import FormatError
from bestpapers.lab.tensors import read_tensors, write_tensors

WORDS = tuple(["a", "red", "blue", "cat", "dog", "left", "of"])
TINY = Config(
    size=16, patch=4, width=16, heads=2, image_layers=1, fusion_layers=2, decoder_layers=1, longest=6, maps=(8, 8),
    scores=(8,), vocabulary=WORDS,
)  # fmt: skip
PROMPTS = ["a red cat", "a blue dog left of a"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def pictures(n=2, size=16):
    return np.random.default_rng(0).integers(0, 255, (n, size, size, 3)).astype(np.uint8)


def warm(model):
    """Weights at random everywhere, so that no head is blind to its input because it starts at 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def inputs(model):
    return as_batch(pictures()), model.vocabulary(PROMPTS)


def test_vocabulary_reads_writes_and_refuses():
    vocabulary = Vocabulary(WORDS, 6)
    tokens = vocabulary(["A red, CAT!", "a violet dog"])
    assert tokens[0].tolist()[3:] == [PAD] * 3
    assert tokens[0, 0] == tokens[1, 0]
    assert tokens[1, 1] == UNKNOWN
    assert PAD != UNKNOWN != END
    marked = torch.zeros(2, 6, dtype=torch.bool)
    marked[0, 1] = marked[0, 5] = True  # the second is beyond the prompt, and is no word
    target = vocabulary.target(tokens, marked)
    assert vocabulary.text(target[0].tolist()) == f"a red{MARK} cat"
    assert target[0, 3] == END
    assert (target[0, 4:] == PAD).all()
    assert vocabulary.text(target[1].tolist()) == "a ? dog"
    with pytest.raises(ValueError, match="7 words; this model reads 6"):
        vocabulary(["a a a a a a a"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_have_their_shapes(variant):
    model = RAHF(replace(TINY, variant=variant))
    x, tokens = inputs(model)
    target = model.vocabulary.target(tokens, torch.zeros(tokens.shape, dtype=torch.bool))
    out = model(x, tokens, target)
    assert set(out.maps) == set(MAPS)
    assert all(m.shape == (2, 16, 16) for m in out.maps.values())
    assert set(out.scores) == set(SCORES)
    assert all(s.shape == (2,) for s in out.scores.values())
    assert out.misaligned.shape == (2, 6)
    assert out.written.shape == (2, 7, 2 * model.vocabulary.size)
    few = model(x, tokens, ask=("implausibility", "overall"))
    assert list(few.maps) == ["implausibility"]
    assert list(few.scores) == ["overall"]
    assert few.misaligned is None


def test_variants_share_what_they_are_said_to_share():
    apart, shared = (RAHF(replace(TINY, variant=variant)) for variant in VARIANTS)
    assert len(apart.maps) == 2
    assert len(apart.scores) == 4
    assert len(shared.maps) == len(shared.scores) == 1
    counts = {variant: 0 for variant in VARIANTS}
    for variant, model in zip(VARIANTS, (apart, shared)):
        fuse = model.trunk.fuse

        def counted(*args, fuse=fuse, variant=variant):
            counts[variant] += 1
            return fuse(*args)

        model.trunk.fuse = counted
        model(*inputs(model))
    assert counts == {"multi-head": 1, "augmented": len(OUTPUTS)}


def test_instruction_changes_what_is_read_off():
    model = warm(RAHF(replace(TINY, variant="augmented")))
    out = model(*inputs(model))
    a, b = (out.maps[name] for name in MAPS)  # one head, so that only the instruction can part them
    assert (a - b).abs().max() > 1e-3


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_output_hangs_on_picture_and_prompt(variant):
    model = warm(RAHF(replace(TINY, variant=variant)))
    x, tokens = inputs(model)
    for what, other in (("picture", (1 - x, tokens)), ("prompt", (x, tokens.flip(0)))):
        before, after = model(x, tokens), model(*other)
        for name in MAPS:
            assert (before.maps[name] - after.maps[name]).abs().max() > 1e-4, (what, name)
        for name in SCORES:
            assert (before.scores[name] - after.scores[name]).abs().max() > 1e-5, (what, name)
        assert (before.misaligned - after.misaligned).abs().max() > 1e-4, what


def test_padding_has_no_say():
    model = warm(RAHF(TINY))
    x, tokens = inputs(model)
    with torch.no_grad():
        before = model(x, tokens).maps["misalignment"][0]
        model.trunk.embedding.weight[PAD] += 5
        after = model(x, tokens).maps["misalignment"][0]
    torch.testing.assert_close(before, after)


def test_decoder_sees_no_word_that_comes_later():
    model = warm(RAHF(TINY))
    x, tokens = inputs(model)
    target = model.vocabulary.target(tokens, torch.zeros(tokens.shape, dtype=torch.bool))
    changed = target.clone()
    changed[:, 3] = (changed[:, 3] + 1) % model.vocabulary.size
    a, b = model(x, tokens, target).written, model(x, tokens, changed).written
    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert (a[:, 4] - b[:, 4]).abs().max() > 1e-4


def test_decoder_looks_at_image_tokens_as_well_as_text():
    """A public replication gives it the text alone (paper: both)."""
    model = warm(RAHF(TINY))
    x, tokens = inputs(model)
    seen = model.trunk.see(x)
    fused, there = model.trunk.fuse(seen, tokens, "words")
    before = tokens.new_full((2, 1), END)
    a = model.decoder(fused, there, before)
    fused = fused.clone()
    fused[:, :16] += 1
    assert (a - model.decoder(fused, there, before)).abs().max() > 1e-4


def test_what_is_written_is_compared_place_by_place():
    model = RAHF(TINY)
    tokens = model.vocabulary(["a red cat"])
    size = model.vocabulary.size
    a, red, cat = tokens[0, :3].tolist()
    written = torch.tensor(
        [[a, red + size, cat + 1 + size, END, PAD, PAD, PAD]]
    )  # red is marked, and another word than cat
    assert model.compared(written, tokens).tolist() == [[False, True, False, False, False, False]]
    short = torch.tensor([[a, END, PAD, PAD, PAD, PAD, PAD]])
    assert not model.compared(short, tokens).any()


def train(model, steps, weight=30.0, seed=1):
    """Pictures in which a bright square is the fault, if the prompt says "cat": then "cat" is the misaligned word."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        batch = faults(model, 16, generator)
        optimizer.zero_grad()
        parts = loss(model, *batch)
        parts["all"].backward()
        optimizer.step()
    return parts


def faults(model, n, generator):
    x = 0.2 * torch.rand(n, 3, 16, 16, generator=generator)
    at = torch.randint(0, 3, (n, 2), generator=generator) * 4
    cat = torch.rand(n, generator=generator) < 0.5
    maps = {name: torch.zeros(n, 16, 16) for name in MAPS}
    for i, (row, column) in enumerate(at.tolist()):
        x[i, :, row : row + 4, column : column + 4] = 1
        maps["implausibility"][i, row : row + 4, column : column + 4] = 1
        if cat[i]:
            maps["misalignment"][i, row : row + 4, column : column + 4] = 1
    tokens = model.vocabulary(["a red cat" if c else "a red dog" for c in cat])
    misaligned = torch.zeros(tokens.shape)
    misaligned[cat, 2] = 1
    scores = {name: torch.where(cat, 0.2, 0.8) for name in SCORES}
    return x, tokens, maps, scores, misaligned


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns_where_and_which_word(variant):
    model = RAHF(replace(TINY, variant=variant)).train()
    train(model, 150)
    x, tokens, maps, scores, misaligned = faults(model.eval(), 32, torch.Generator().manual_seed(9))
    with torch.no_grad():
        out = model(x, tokens)
        marks = model.compared(model.write(x, tokens), tokens)
    for name in MAPS:
        found = out.maps[name].sigmoid()
        wrong = (found - maps[name]).square().mean() / maps[name].square().mean()  # of the zero map: 1
        assert wrong < 0.5, name
    assert (out.scores["alignment"].sigmoid() - scores["alignment"]).abs().mean() < 0.15
    assert ((out.misaligned > 0) == (misaligned > 0))[tokens != PAD].float().mean() > 0.95
    assert (marks == (misaligned > 0)).float().mean() > 0.95  # both ways to tell words agree with the truth


def test_image_only_cannot_tell_what_hangs_on_the_prompt():
    model = ImageOnly(TINY).train()
    parts = train(model, 60)
    assert "words" not in parts
    x, tokens, *_ = faults(model.eval(), 8, torch.Generator().manual_seed(9))
    a, b = model(x, tokens), model(x, tokens.flip(0))
    assert isinstance(a, Outputs)
    assert torch.equal(a.scores["alignment"], b.scores["alignment"])


def test_two_towers_meet_in_a_cosine_and_its_gradient_is_a_map():
    model = warm(TwoTowers(TINY))
    x, tokens = inputs(model)
    _, _, cosine = model.cosine(x, tokens)
    assert cosine.shape == (2,)
    assert cosine.abs().max() <= 1
    found = model.gradient_map(x, tokens)
    assert found.shape == (2, 16, 16)
    assert found.min() >= 0
    assert torch.allclose(found.amax((1, 2)), torch.ones(2))


def test_predict_gives_feedback(tmp_path):
    model = warm(RAHF(TINY))
    for write in (False, True):
        found = model.predict(pictures(), PROMPTS, batch=1, write=write)
        assert [len(f.misaligned) for f in found] == [3, 6]
        assert found[0].maps["implausibility"].shape == (16, 16)
        assert 0 <= found[0].scores["overall"] <= 1


def test_it_is_saved_and_read(tmp_path):
    model = warm(RAHF(replace(TINY, variant="augmented")))
    model.save(tmp_path / "rahf.safetensors")
    again = RAHF.load(tmp_path / "rahf.safetensors")
    a, b = (m(*inputs(m)).scores["overall"] for m in (model, again))
    assert again.config == model.config
    assert (a - b).abs().max() < 1e-2
    (tmp_path / "rahf.safetensors").write_bytes(b"no weights")
    with pytest.raises(FormatError):
        RAHF.load(tmp_path / "rahf.safetensors")


def test_configurations_that_do_not_fit_are_refused():
    for wrong in (dict(variant="seven"), dict(size=15), dict(width=15), dict(vocabulary=()), dict(maps=())):
        with pytest.raises(ValueError, match="Config"):
            replace(TINY, **wrong)


@pytest.mark.parametrize(
    "changed",
    [
        dict(patch=0), dict(heads=0), dict(patch=4.0), dict(heads=2.0), dict(size=-16), dict(longest=10**7),
        dict(width=8192), dict(fusion_layers=10**9), dict(vocabulary=[1, 2, 3, 4, 5, 6, 7]), None, [],
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused_and_takes_no_memory(tmp_path, changed):
    path = tmp_path / "a.safetensors"
    RAHF(TINY).save(path)
    tensors, about = read_tensors(path)
    header = json.loads(about["bestpapers"])
    header["config"] = header["config"] | changed if isinstance(changed, dict) else changed
    write_tensors(path, tensors, bestpapers=json.dumps(header))
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"a.safetensors.*expected weights of this kind of model"):
        RAHF.load(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = RAHF(TINY)
    torch.nn.init.constant_(next(model.parameters()), torch.nan)
    model.save(tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match="weights that are no finite numbers"):
        RAHF.load(tmp_path / "a.safetensors")
