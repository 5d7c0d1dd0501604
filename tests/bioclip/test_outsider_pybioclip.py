"""The same numbers as pybioclip, the authors' package: random weights in the published layout, where the Hub would put them.

pybioclip is in no extra of the project, so where it is not installed nothing here runs. It was run with 2.1.6, beside the
versions of requirements.lock:

    uv venv scratch && uv pip install --python scratch/bin/python -c requirements.lock pybioclip -e .[test,heic]
    scratch/bin/python -m pytest tests/bioclip/test_outsider_pybioclip.py

Pictures go through its own preprocessing (224 x 224, pressed), its own cache of labels, its own sums. It brings pandas.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from bestpapers.bioclip import classify, data, formats
from bestpapers.bioclip.taxa import RANKS, taxa
from bestpapers.bioclip.taxonomy import Rank

from .tiny import tiny_clip

predict = pytest.importorskip("bioclip.predict")

MODEL, DATASET = "hf-hub:imageomics/bioclip", "imageomics/TreeOfLife-10M"
VISION = dict(image_size=224, layers=2, width=64, head_width=32, patch_size=32)
TEXT = dict(context_length=77, vocab_size=49408, width=64, heads=2, layers=2)
CONFIG = dict(model_cfg=dict(embed_dim=64, vision_cfg=VISION, text_cfg=TEXT), preprocess_cfg={})
CLOSE = dict(abs=5e-7)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The Hub's cache with a model and embedded labels in it, and no network."""
    from huggingface_hub import constants

    path = tmp_path_factory.mktemp("hub")

    def snapshot(name):
        (path / name / "refs").mkdir(parents=True)
        (path / name / "refs/main").write_text("0" * 40)
        return path / name / "snapshots" / ("0" * 40)

    formats.save_local(tiny_clip(config=CONFIG), snapshot("models--imageomics--bioclip"), CONFIG)
    vectors = torch.randn(len(taxa()), 64, generator=torch.Generator().manual_seed(1))
    labels = snapshot("datasets--imageomics--TreeOfLife-10M") / "embeddings"
    labels.mkdir(parents=True)
    formats.save_label_embeddings(labels / "txt_emb_species", normalize(vectors, dim=1).T, taxa())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(path))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        patch.setenv("BESTPAPERS_CACHE", str(tmp_path_factory.mktemp("labels")))
        yield path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Ten drawn pictures as files: squares of the model's size, and long ones, two of them JPEG, one grey."""
    folder, paths = tmp_path_factory.mktemp("pictures"), []
    for i, taxon in enumerate(taxa()[::13]):
        image = Image.fromarray(data.photograph(taxon, i, size=224))
        if i >= 5:
            image = image.resize((300 + 40 * i, 180 + 11 * i))
        if i == 9:
            image = image.convert("L")
        paths.append(str(folder / (f"{i}.jpg" if i in (6, 8) else f"{i}.png")))
        image.save(paths[-1])
    assert len(paths) == 10
    return paths


@pytest.fixture(scope="module")
def trees(cache):
    return classify.TreeOfLifeClassifier(MODEL), predict.TreeOfLifeClassifier(model_str=MODEL)


def assert_same(ours, theirs):
    """Rows with the same columns, the same answers in the same order, and the same scores."""
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["score"] == pytest.approx(other["score"], **CLOSE)
        assert {k: v for k, v in mine.items() if k != "score"} == {k: v for k, v in other.items() if k != "score"}


def test_features(trees, pictures):
    ours, theirs = trees
    for path in pictures:
        image = theirs.ensure_rgb_image(path)
        want = theirs.create_image_features([image])
        torch.testing.assert_close(ours.create_image_features([image]), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rank", list(Rank))
def test_tree_of_life(trees, pictures, rank):
    ours, theirs = trees
    rows = ours.predict(pictures, rank=rank, k=5, min_prob=0)
    assert_same(rows, theirs.predict(pictures, predict.Rank(int(rank)), min_prob=0, k=5))
    best = [row["score"] for row in rows[::5]]
    assert max(best) - min(best) > 0.01, "random weights tell the pictures apart"


def test_all_species_and_images_in_memory(trees, pictures):
    ours, theirs = trees
    images = [Image.open(path) for path in pictures[:3]]
    rows = ours.predict(images, k=128, min_prob=0)
    assert len(rows) == 3 * 128
    assert_same(rows, theirs.predict(images, predict.Rank.SPECIES, min_prob=0, k=128))


@pytest.mark.parametrize(
    ("rank", "names"), [(Rank.CLASS, ["Aves", "Insecta"]), (Rank.SPECIES, ["Panthera leo", "Lynx lynx"])]
)
def test_filters(trees, pictures, rank, names):
    ours, theirs = trees
    mine, other = ours.create_taxa_filter(rank, names), theirs.create_taxa_filter(predict.Rank(int(rank)), names)
    assert mine.tolist() == other.tolist()
    try:
        for of, keep in ((ours, mine), (theirs, other)):
            of.apply_filter(keep)
        rows = ours.predict(pictures, rank=Rank.FAMILY, k=3, min_prob=0)
        assert_same(rows, theirs.predict(pictures, predict.Rank.FAMILY, min_prob=0, k=3))
    finally:
        for of in trees:
            of.apply_filter([True] * len(taxa()))


def test_labels_of_your_own(cache, pictures):
    labels = [taxon.common_name for taxon in taxa()[::16]]
    ours = classify.CustomLabelsClassifier(labels, MODEL)
    theirs = predict.CustomLabelsClassifier(labels, model_str=MODEL)
    torch.testing.assert_close(ours.txt_embeddings, theirs.txt_embeddings, rtol=0, atol=1e-5)
    for k in (None, 3):
        assert_same(ours.predict(pictures, k=k), theirs.predict(pictures, k=k))


def test_bins(cache, pictures):
    bins = {taxon.common_name: taxon.kingdom for taxon in taxa()[::16]}
    ours = classify.CustomLabelsBinningClassifier(bins, MODEL)
    theirs = predict.CustomLabelsBinningClassifier(bins, model_str=MODEL)
    assert_same(ours.predict(pictures, k=2), theirs.predict(pictures, k=2))


def test_the_columns_of_labels(trees):
    ours, theirs = trees
    table = theirs.get_label_data()
    assert ours.get_label_data().equals(table)
    assert ours.txt_names == theirs.txt_names
    assert set(RANKS) < set(table.columns)


def test_called_as_a_module_with_gradients(trees, pictures):
    """What maps of saliency ask for: how each pixel moves the best answer."""
    grads = []
    for of in trees:
        x = of.preprocess(of.ensure_rgb_image(pictures[0]))[None].requires_grad_()
        of(x)[0].max().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-6)
    assert grads[0].abs().max() > 1e-4


def test_progress_is_told(trees, pictures):
    calls = []
    for of, kind in zip(trees, (Rank, predict.Rank)):
        told = []
        of.predict(pictures, kind.GENUS, batch_size=4, callback=lambda *given, told=told: told.append(given))
        calls.append(told)
    assert calls[0] == calls[1] == [(4, 10), (8, 10), (10, 10)]


def test_models_of_others_bring_their_own_preprocessing(cache, pictures):
    other = cache / "models--someone--else"
    (other / "refs").mkdir(parents=True)
    (other / "refs/main").write_text("0" * 40)
    formats.save_local(tiny_clip(config=CONFIG), other / "snapshots" / ("0" * 40), CONFIG)
    labels = ["oak", "lion", "fly agaric"]
    ours = classify.CustomLabelsClassifier(labels, "hf-hub:someone/else")
    theirs = predict.CustomLabelsClassifier(labels, model_str="hf-hub:someone/else")
    assert_same(ours.predict(pictures), theirs.predict(pictures))


def test_heic(tmp_path, pictures):
    """The same pixels as of a PNG, but for what the format loses; read_photos and shards use the same reader."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    Image.open(pictures[0]).convert("RGB").save(tmp_path / "a.heic", quality=100)
    read, was = (
        np.asarray(classify.BaseClassifier.ensure_rgb_image(p), int) for p in (tmp_path / "a.heic", pictures[0])
    )
    assert abs(read - was).mean() < 8  # its colours are halved in size


def test_vectors_are_of_single_precision(trees):
    assert {of.txt_embeddings.dtype for of in trees} == {torch.float32}
    torch.testing.assert_close(trees[0].txt_embeddings.norm(dim=0), torch.ones(len(taxa())))
