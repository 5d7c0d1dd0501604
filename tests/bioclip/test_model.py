"""The models: open_clip's own numbers, the vocabulary, and equal starts for what is compared."""

from dataclasses import replace

import open_clip
import pytest
import torch
from torch.nn import functional as F

from bestpapers.bioclip import formats
from bestpapers.bioclip.data import World, observe
from bestpapers.bioclip.model import (
    ARMS,
    MEAN,
    RANK_WEIGHTS,
    STD,
    STOCK,
    Classifier,
    Config,
    Vocabulary,
    build,
    embed_images,
    embed_texts,
    expand,
    image_features,
    text_features,
    tiny,
)  # fmt: skip
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.taxonomy import TEXT_TYPES, Rank, captions

CONFIG = Config(image_size=16, patch_size=4, image_width=32, text_width=32, head_width=16, embed_dim=16)
TEXTS = {kind: [captions(taxon)[kind] for taxon in taxa()] for kind in TEXT_TYPES}
ALL = [text for texts in TEXTS.values() for text in texts]


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(ALL)


def lively(model, seed=0):
    """Weights of size 1, so that attention is sharp and no term is too small to be missed; float64."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            size = p.shape[-1] ** -0.5 if p.ndim > 1 and "embedding" not in name else 1.0
            p.copy_(torch.randn(p.shape, generator=g) * size)
    return model.double()


def images(n=5, size=16, seed=0):
    return torch.randint(0, 256, (n, size, size, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def gradients(loss, model):
    grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in grads])


def assert_same(ours, theirs, model):
    """Values, and gradients of one random direction with respect to all parameters."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12 * float(theirs.detach().abs().max()))
    g = torch.randn(ours.shape, generator=torch.Generator().manual_seed(9), dtype=ours.dtype)
    a, b = gradients((ours * g).sum(), model), gradients((theirs * g).sum(), model)
    assert b.norm() > 1
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * float(b.norm()))


@pytest.mark.parametrize("layers", [1, 3])
def test_image_features_are_open_clips(layers):
    model = lively(tiny(replace(CONFIG, image_layers=layers)))
    x = images().permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, STD))
    assert (MEAN, STD) == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    assert_same(image_features(model.visual, images()), model.encode_image((x - mean) / std), model)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_text_features_are_open_clips(vocabulary, layers, causal):
    """All padding cut off where the encoder is causal, none of it where it is not, and the last block for one token only."""
    model = lively(tiny(replace(CONFIG, text_layers=layers, causal=causal), vocabulary=len(vocabulary)))
    texts = [TEXTS["com"][3], TEXTS["taxon_com"][40], TEXTS["sci"][7], TEXTS["com"][3]]
    tokens = vocabulary(texts)
    assert_same(text_features(model, tokens), model.encode_text(tokens), model)


def test_what_stands_behind_the_end_has_a_say_only_without_the_causal_mask(vocabulary):
    """Why captions may be cut to the longest of a batch, and why bidirectional models must carry all the padding."""
    tokens = vocabulary([TEXTS["sci"][0], TEXTS["taxon"][0]])
    end = int(tokens.argmax(-1).max()) + 1
    other = tokens.clone()
    other[:, end:] = 5
    for causal in (True, False):
        model = lively(tiny(replace(CONFIG, causal=causal), vocabulary=len(vocabulary)))
        a, b, c = (model.encode_text(tokens), model.encode_text(other), text_features(model, tokens[:, :end]))
        assert torch.equal(a, b) is causal
        assert torch.allclose(a, c, rtol=0, atol=1e-12) is causal


def test_a_shared_prefix_has_one_state():
    """The state of a rank's last token knows the ranks above and nothing below: the paper's reason for a causal encoder."""
    lion, tiger = (
        f"a photo of Animalia Chordata Mammalia Carnivora Felidae Panthera {name}." for name in ("leo", "tigris")
    )
    tokens = open_clip.SimpleTokenizer(context_length=48)([lion, tiger])
    shared = int((tokens[0] != tokens[1]).nonzero()[0])
    assert shared == 17
    for causal in (True, False):
        model = tiny(replace(CONFIG, causal=causal))
        states = model.forward_intermediates(text=tokens, intermediates_only=True)["text_intermediates"][-1]
        gap = (states[0] - states[1]).abs().amax(-1)
        assert bool((gap[:shared] == 0).all()) is causal
        assert gap[shared:].max() > 0.01


def test_bad_images():
    model = tiny(CONFIG, vocabulary=10)
    for bad in (images().float(), images(size=32), images()[..., :1], images().permute(0, 3, 1, 2)):
        with pytest.raises(ValueError, match=r"expected uint8 \[B, 16, 16, 3\]"):
            image_features(model.visual, bad)


# ---------------------------------------------------------------------------------------------------------- vocabulary


def test_the_vocabulary_is_the_stock_one_in_order(vocabulary):
    stock = open_clip.SimpleTokenizer(context_length=48)(ALL)
    assert torch.equal(vocabulary.ids[vocabulary(ALL)], stock)
    assert torch.equal(vocabulary.ids, torch.unique(stock))
    assert len(vocabulary) == 648
    assert int(vocabulary(ALL).max()) == len(vocabulary) - 1  # the end of text, which is pooled
    assert torch.equal(vocabulary(ALL[0]), vocabulary([ALL[0]]))
    assert int(vocabulary.ids[0]) == 0  # padding


def test_the_longest_caption_fits():
    longest = max(int((Vocabulary(ALL)(texts) > 0).sum(1).max()) for texts in TEXTS.values())
    assert longest == 40 <= Config().context_length


@pytest.mark.parametrize("text", ["a photo of Quercus robur and a zebrafish.", "\N{HOT BEVERAGE}"])
def test_an_unknown_piece_is_named(vocabulary, text):
    with pytest.raises(ValueError, match="has pieces that no caption of the training has"):
        vocabulary(["a photo of Quercus robur.", text])


def test_expand_gives_the_same_model_over_all_pieces(vocabulary, tmp_path):
    model = tiny(CONFIG, 3, len(vocabulary))
    whole = expand(model, vocabulary)
    tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG.context_length)
    want = embed_texts(model, vocabulary, ALL)
    torch.testing.assert_close(embed_texts(whole, tokenizer, ALL), want)
    assert torch.equal(embed_images(model, images()), embed_images(whole, images()))
    assert whole.token_embedding.weight.shape == (STOCK, 32)
    assert int((whole.token_embedding.weight != 0).any(1).sum()) == len(vocabulary)

    formats.save_local(whole, tmp_path, CONFIG.open_clip())
    read, preprocess, tokenizer = formats.load(f"local-dir:{tmp_path}")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), read.state_dict().values(), strict=True))
    torch.testing.assert_close(F.normalize(read.encode_text(tokenizer(ALL)), dim=-1), want)
    theirs, _ = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")
    torch.testing.assert_close(theirs.encode_text(tokenizer(ALL)), read.encode_text(tokenizer(ALL)))
    from torchvision.transforms.functional import to_pil_image

    pixels = torch.stack([preprocess(to_pil_image(image.permute(2, 0, 1))) for image in images()])
    torch.testing.assert_close(F.normalize(read.encode_image(pixels), dim=-1), embed_images(model, images()))


# ---------------------------------------------------------------------------------------------------------------- arms


def test_arms_of_one_seed_start_with_the_same_image_tower():
    towers = {}
    for arm in ARMS:
        model, tokenizer = build(arm, CONFIG, taxa()[:30], taxa(), seed=4)
        towers[arm] = torch.cat([p.detach().flatten() for p in model.visual.parameters()])
        assert (tokenizer is None) is (arm in RANK_WEIGHTS)
        if tokenizer is not None:
            assert (model.attn_mask is None) is (arm == "mixed_bidirectional")
    assert all(torch.equal(tower, towers["ce"]) for tower in towers.values())
    other, _ = build("ce", CONFIG, taxa()[:30], taxa(), seed=5)
    assert not torch.equal(torch.cat([p.detach().flatten() for p in other.visual.parameters()]), towers["ce"])
    with pytest.raises(ValueError, match="arm must be one of com, sci"):
        build("clip", CONFIG, taxa(), taxa())


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    build("hce", CONFIG, taxa()[:5], taxa())
    assert torch.equal(torch.rand(3), want)


def test_hierarchical_with_the_species_alone_is_plain():
    labels, x = torch.tensor([0, 3, 7, 7, 29]), images()
    plain = Classifier(CONFIG, taxa()[:30], RANK_WEIGHTS["ce"])
    assert list(plain.heads) == ["species"]
    logits = plain.heads["species"](image_features(plain.visual, x))
    torch.testing.assert_close(plain.loss(x, labels), F.cross_entropy(logits, labels))


def test_hierarchical_loss_is_the_weighted_sum():
    seen, weights = taxa()[20:60], (0.5, 1, 0, 2, 1, 1, 3)
    model = Classifier(CONFIG, seen, weights)
    labels, x = torch.tensor([0, 13, 27, 39, 5]), images()
    features = image_features(model.visual, x)
    want = 0.0
    for rank, weight in zip(Rank, weights):
        if weight:
            groups = list(dict.fromkeys(t.path[: rank + 1] for t in seen))
            truth = torch.tensor([groups.index(seen[i].path[: rank + 1]) for i in labels])
            want = want + weight * F.cross_entropy(model.heads[rank.get_label()](features), truth)
    torch.testing.assert_close(model.loss(x, labels), want)


def test_a_missing_rank_does_not_count():
    labels = observe(taxa()[:40], World(missing_ranks=1.0))
    model = Classifier(CONFIG, labels)
    cut = [i for i, label in enumerate(labels) if not label.species][:2]
    known = [i for i, label in enumerate(labels) if all(label.path[rank] for rank in (0, 6))][:3]
    batch, x = torch.tensor(cut + known), images()
    head = model.heads["species"](image_features(model.visual, x))
    truth = model.targets[-1][batch]
    assert truth[:2].tolist() == [-100, -100]
    assert (truth[2:] >= 0).all()
    only = Classifier(CONFIG, labels, RANK_WEIGHTS["ce"])
    only.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("heads") or "species" in k})
    torch.testing.assert_close(only.loss(x, batch), F.cross_entropy(head[2:], truth[2:]))
    assert only.loss(x[:2], batch[:2]).item() == 0.0  # nothing known: no loss, and no NaN
    assert model.loss(x, batch).isfinite()


def test_the_mean_over_shares_of_a_batch_is_the_loss_of_the_whole():
    labels = observe(taxa()[:40], World(missing_ranks=0.5))
    model, x, batch = Classifier(CONFIG, labels), images(6), torch.tensor([0, 5, 11, 17, 23, 39])
    shares = [model.loss(x[i : i + 2], batch[i : i + 2], batch) for i in (0, 2, 4)]
    torch.testing.assert_close(sum(shares) / 3, model.loss(x, batch))


@pytest.mark.parametrize("weights", [(1, 1), (0,) * 7, (1, 1, 1, 1, 1, 1, -1)])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="seven weights"):
        Classifier(CONFIG, taxa()[:5], weights)


def test_embeddings_have_length_one_and_do_not_depend_on_the_batch(vocabulary):
    model = tiny(CONFIG, vocabulary=len(vocabulary))
    for embed, things in (
        (lambda n: embed_images(model, images(9), n), 9),
        (lambda n: embed_texts(model, vocabulary, ALL[:9], n), 9),
    ):
        x = embed(256)
        assert x.shape == (things, 16)
        torch.testing.assert_close(x.norm(dim=-1), torch.ones(things))
        torch.testing.assert_close(embed(2), x)
        assert not x.requires_grad


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(image_size=30), "image_size must be a multiple of patch_size = 8"),
        (dict(image_width=48), "image_width must be a multiple of head_width = 32"),
        (dict(text_width=0), "text_width must be a multiple"),
        (dict(text_layers=0), "text_layers must be at least 1"),
        (dict(context_length=3), "context_length must be at least 4"),
    ],
)
def test_bad_config(bad, message):
    with pytest.raises(ValueError, match=message):
        Config(**bad)
