"""The trained model: its card tells the truth, and every reader of its layout can use it."""

import open_clip
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.functional import to_pil_image

from bestpapers.bioclip import weights
from bestpapers.bioclip.evaluate import probabilities, score
from bestpapers.bioclip.model import embed_images, embed_texts
from bestpapers.bioclip.taxonomy import captions
from bestpapers.lab.runs import fingerprint
from bestpapers.lab.weights import Card

CARD = Card.read(weights.HERE)


@pytest.fixture(scope="module")
def loaded():
    return weights.load()


@pytest.fixture(scope="module")
def test():
    return weights.test_set()


def test_the_card_is_of_these_settings():
    assert CARD.data == weights.DATA
    assert dict(arm=weights.ARM, seed=weights.SEED, model=weights.MODEL, training=weights.TRAINING) == CARD.settings
    assert {*weights.FILES} == CARD.files.keys()


def test_the_scores_of_the_card(loaded, test):
    """Measured again on the same photographs. A photograph in a hundred may fall to the other side on another processor."""
    assert fingerprint(test.images) == CARD.data_hash["test"]
    model, _, tokenizer = loaded
    scores = score(model, tokenizer, test, weights.ARM)
    assert scores.keys() == CARD.scores.keys()
    assert scores == pytest.approx(CARD.scores, abs=0.01)
    assert sum(p.numel() for p in model.parameters()) == CARD.size["parameters"]


def test_it_is_worth_showing():
    """Against chance: 1/92, 1/20, 1/8 and 1/36."""
    s = CARD.scores
    for kind in ("com", "sci", "taxon", "sci_com", "taxon_com"):
        assert s[f"zero.{kind}.seen"] > 40 / 92
    assert s["zero.taxon_com.u1"] > 8 / 20
    assert s["zero.taxon_com.u2"] > 2 / 8
    assert s["few.1.CL2N"] > 10 / 36


def test_open_clip_and_our_forward_pass_agree(loaded, test):
    """Photographs through Pillow and open_clip's preprocessing, and as bytes."""
    model, preprocess, tokenizer = loaded
    images = test.images[::16, 0]
    theirs, _ = open_clip.create_model_from_pretrained(f"local-dir:{weights.HERE}")
    pixels = torch.stack([preprocess(to_pil_image(image.permute(2, 0, 1))) for image in images])
    with torch.inference_mode():
        torch.testing.assert_close(
            F.normalize(theirs.encode_image(pixels), dim=-1), embed_images(model, images), atol=1e-4, rtol=0
        )
        texts = [captions(taxon)["taxon_com"] for taxon in test.taxa]
        torch.testing.assert_close(
            F.normalize(theirs.encode_text(tokenizer(texts)), dim=-1),
            embed_texts(model, tokenizer, texts),
            atol=1e-4,
            rtol=0,
        )


def test_any_label_can_be_typed(loaded, test):
    """Words that training never saw, and none at all."""
    model, _, tokenizer = loaded
    texts = embed_texts(
        model, tokenizer, ["a photo of a zebrafish on a bicycle.", "", "\N{HOT BEVERAGE}", "a photo of oak."]
    )
    p = probabilities(embed_images(model, test.images[0]), texts, model.logit_scale.exp().item())
    torch.testing.assert_close(p.sum(-1), torch.ones(len(p)))
