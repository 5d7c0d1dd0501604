"""Classifiers: the rows of pybioclip, probabilities summed up the tree, filters, labels kept, long lists."""

import os
import sys
import warnings
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from bestpapers.bioclip import classify, formats
from bestpapers.bioclip.classify import (
    CustomLabelsBinningClassifier,
    CustomLabelsClassifier,
    Rank,
    TreeOfLifeClassifier,
)
from bestpapers.bioclip.taxa import RANKS, Taxon, taxa
from bestpapers.bioclip.taxonomy import captions, rollup
from bestpapers.lab.files import DownloadError, FormatError, Skips

from .tiny import CONFIG, tiny_clip

FISH = Taxon("Animalia", "Chordata", "", "Cypriniformes", "Cyprinidae", "Carassius", "auratus", "goldfish")
SPECIES_COLUMNS = [*RANKS[:6], "species_epithet", "species", "common_name"]


def near(rows) -> object:
    """The scores of `rows`, to compare with those of another run: matrix libraries sum batches of other sizes in
    another order, and the scale of the logits makes a few units in the last place visible."""
    return pytest.approx([row["score"] for row in rows], rel=1e-4)


def photo(i, size=(80, 40)) -> Image.Image:
    few = np.random.default_rng(i).integers(0, 255, (3, 4, 3)).astype(np.uint8)
    return Image.fromarray(few).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights, five photographs, and a cache of their own."""
    path = tmp_path_factory.mktemp("classify")
    formats.save_local(tiny_clip(), path / "weights", CONFIG)
    for i in range(5):
        photo(i).save(path / f"{i}.png")
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bioclip" / "labels"


@pytest.fixture(scope="module")
def name(folder):
    return f"local-dir:{folder / 'weights'}"


@pytest.fixture(scope="module")
def tree(name, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BESTPAPERS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return TreeOfLifeClassifier(name)


@pytest.fixture
def all_taxa(tree):
    """`tree` without a filter."""
    tree.apply_filter([True] * len(taxa()))
    return tree


def probabilities(folder, image, texts) -> torch.Tensor:
    """What open_clip itself makes of it, all of the image pressed into the square."""
    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder / 'weights'}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder / 'weights'}")
    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None]
    pixels = torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear", antialias=True, align_corners=False)
    mean, std = (torch.tensor(model.visual.preprocess_cfg[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        x = model.encode_image((pixels - mean) / std, normalize=True)
        return (model.logit_scale.exp() * x @ model.encode_text(tokenizer(texts), normalize=True).T).softmax(-1)[0]


# ---------------------------------------------------------------------------------------------------------------- rows


def test_rows_of_species_are_pybioclips(folder, all_taxa):
    path = str(folder / "0.png")
    rows = all_taxa.predict(path)
    want = probabilities(folder, photo(0), [captions(taxon)["taxon_com"] for taxon in taxa()])
    assert len(rows) == 5
    for row, i in zip(rows, want.argsort(descending=True)):
        taxon = taxa()[i]
        assert list(row) == ["file_name", *SPECIES_COLUMNS, "score"]
        assert row["file_name"] == path
        assert tuple(row[column] for column in RANKS[:6]) == taxon.path[:6]
        assert (row["species_epithet"], row["species"]) == (taxon.species, taxon.name)
        assert row["common_name"] == taxon.common_name
        assert row["score"] == pytest.approx(float(want[i]), rel=1e-3)


@pytest.mark.parametrize("rank", list(Rank)[:6])
def test_rows_of_a_rank_are_sums_of_species(folder, all_taxa, rank):
    rows = all_taxa.predict(folder / "0.png", rank=rank, k=1000, min_prob=0)
    species = probabilities(folder, photo(0), [captions(taxon)["taxon_com"] for taxon in taxa()])
    sums, groups = rollup(species, taxa(), rank)
    assert len(rows) == len(groups)
    assert [list(row) for row in rows] == [["file_name", *RANKS[: rank + 1], "score"]] * len(groups)
    found = {tuple(row[column] for column in RANKS[: rank + 1]): row["score"] for row in rows}
    assert found == pytest.approx(dict(zip(groups, sums.tolist())), rel=1e-3)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_images_and_paths_give_the_same(folder, all_taxa):
    paths = [folder / f"{i}.png" for i in range(3)]
    by_path = all_taxa.predict(paths, k=2)
    by_text = all_taxa.predict([str(path) for path in paths], k=2)
    by_image = all_taxa.predict([photo(i) for i in range(3)], k=2)
    assert [row["file_name"] for row in by_path] == [row["file_name"] for row in by_text]
    assert [row["species"] for row in by_path] == [row["species"] for row in by_text]
    assert [row["score"] for row in by_path] == near(by_text)
    assert [row["file_name"] for row in by_image] == ["0", "0", "1", "1", "2", "2"]
    assert [row["score"] for row in by_image] == near(by_path)
    assert all_taxa.predict(photo(0), k=2)[0]["file_name"] == "0"
    rgba = photo(0).convert("RGBA")
    assert [row["score"] for row in all_taxa.predict(rgba, k=2)] == near(by_image[:2])


def test_photographs_are_turned_upright_wherever_they_come_from(folder, all_taxa, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    photo(0).rotate(180).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        rows = all_taxa.predict([folder / "0.png", tmp_path / "turned.png", turned], k=3)
    for i in (3, 6):
        assert [row["species"] for row in rows[:3]] == [row["species"] for row in rows[i : i + 3]]
        assert [row["score"] for row in rows[:3]] == near(rows[i : i + 3])


def test_sixteen_bits_of_grey(all_taxa, tmp_path):
    """In memory and in a file: 257 times as much is the same grey."""
    grey = photo(0).convert("L")
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    assert deep.mode == "I;16"
    for kind in ("png", "tif"):
        deep.save(tmp_path / f"a.{kind}")
    for given in (deep, tmp_path / "a.png", tmp_path / "a.tif"):
        np.testing.assert_array_equal(all_taxa.ensure_rgb_image(given), grey.convert("RGB"))
    for mode in "IF":
        with pytest.raises(FormatError, match=f"expected 8 or 16 bits per channel, found Pillow's mode {mode}"):
            all_taxa.ensure_rgb_image(grey.convert(mode))


def test_number_and_least_probability_of_the_answers(folder, all_taxa):
    path = folder / "0.png"
    assert len(all_taxa.predict(path, k=10_000, min_prob=0)) == 128
    kingdoms = all_taxa.predict(path, Rank.KINGDOM, k=10_000)
    assert len(kingdoms) == 3
    between = (kingdoms[1]["score"] + kingdoms[2]["score"]) / 2
    rows = all_taxa.predict(path, Rank.KINGDOM, min_prob=between)
    assert [row["kingdom"] for row in rows] == [row["kingdom"] for row in kingdoms[:2]]
    for k in (0, -1):
        with pytest.raises(ValueError, match="k must be at least 1"):
            all_taxa.predict(path, k=k)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        all_taxa.predict(path, batch_size=0)


def test_holes_in_the_ranks(folder, name):
    """Goldfish have no class, and are found all the same."""
    genus_only = Taxon("Plantae", "", "", "", "", "Quercus", "", "")
    small = TreeOfLifeClassifier(name, labels=[*taxa()[:3], FISH, genus_only])
    rows = {row["species"]: row for row in small.predict(folder / "0.png")}
    assert rows["Carassius auratus"]["class"] == ""
    assert rows[""]["species_epithet"] == ""  # a genus is no species
    assert rows[""]["genus"] == "Quercus"
    groups = small.predict(folder / "0.png", Rank.CLASS)
    assert sum(row["score"] for row in groups) == pytest.approx(1)
    classes = {(row["phylum"], row["class"]): row["score"] for row in groups}
    assert classes["Chordata", ""] == pytest.approx(rows["Carassius auratus"]["score"], rel=1e-4)
    assert set(classes) == {("Chordata", "Mammalia"), ("Chordata", ""), ("", "")}
    assert small.create_taxa_filter(Rank.ORDER, "cypriniformes").tolist() == [False, False, False, True, False]


def test_names_that_several_groups_share_are_not_added(folder, name):
    paths = [
        ("Animalia", "P", "C", "O", "F1", "Ovis", "canadensis"),
        ("Animalia", "P", "C", "O", "F2", "Ovis", "canadensis"),
    ]
    with pytest.warns(UserWarning, match="stay a label for each: Ovis canadensis"):
        two = TreeOfLifeClassifier(name, labels=[Taxon(*path, common) for path, common in zip(paths, ("a", "b"))])
    assert len(two.predict(folder / "0.png", Rank.GENUS)) == 2


# ------------------------------------------------------------------------------------------------------------- filters


def test_filters(folder, all_taxa, tmp_path):
    keep = all_taxa.create_taxa_filter(Rank.FAMILY, ["felidae", "Canidae"])
    assert [taxa()[i].family for i in np.flatnonzero(keep)] == [
        t.family for t in taxa() if t.family in ("Felidae", "Canidae")
    ]
    before = {row["species"]: row["score"] for row in all_taxa.predict(folder / "0.png", k=128, min_prob=0)}
    all_taxa.apply_filter(keep)
    rows = all_taxa.predict(folder / "0.png", k=128)
    assert {row["family"] for row in rows} == {"Felidae", "Canidae"}
    total = sum(before[row["species"]] for row in rows)
    assert {row["species"]: row["score"] for row in rows} == pytest.approx(
        {row["species"]: before[row["species"]] / total for row in rows}, rel=1e-3
    )
    assert all_taxa.get_txt_embeddings().shape == (16, keep.sum())
    assert len(all_taxa.get_current_taxa()) == keep.sum()
    assert len(all_taxa.txt_names) == 128  # of all labels, as the next filter is
    all_taxa.apply_filter(all_taxa.create_taxa_filter(Rank.GENUS, "Quercus"))
    assert {row["genus"] for row in all_taxa.predict(folder / "0.png")} == {"Quercus"}
    all_taxa.apply_filter([names[-1] == "lynx" for names, _ in all_taxa.txt_names])
    (row,) = all_taxa.predict(folder / "0.png")
    assert (row["species"], row["score"]) == ("Lynx lynx", 1)
    for mark in ",;\t":
        (tmp_path / "region.csv").write_text(
            f"sep={mark}\nSpecies{mark}seen\nlynx lynx{mark}3\n{mark}2\nPanthera leo{mark}1\n"
        )
        all_taxa.apply_filter(all_taxa.create_taxa_filter_from_csv(tmp_path / "region.csv"))
        assert {row["species"] for row in all_taxa.predict(folder / "0.png")} == {"Lynx lynx", "Panthera leo"}


def test_label_data_as_pybioclip_gives_it(all_taxa, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows: ("a frame of", rows)))
    kind, rows = all_taxa.get_label_data()
    assert kind == "a frame of"
    assert [row["species"] for row in rows] == [taxon.name for taxon in taxa()]
    assert list(rows[0]) == SPECIES_COLUMNS
    assert all_taxa.txt_names[0] == [list(taxa()[0].path), taxa()[0].common_name]


def test_bad_filters(all_taxa, tmp_path):
    for keep, message in (
        ([True], "need 128 booleans"),
        ([1] * 128, "need 128 booleans"),
        ([False] * 128, "no label is left"),
    ):
        with pytest.raises(ValueError, match=message):
            all_taxa.apply_filter(keep)
    with pytest.raises(ValueError, match="did you mean Felidae"):
        all_taxa.create_taxa_filter(Rank.FAMILY, ["Felidea"])
    for text, message in (
        ("name\nlynx\n", "first a column named after a rank"),
        ("genus\n", "at least one below the header"),
        ("", "line 1: expected names of columns"),
        ("genus,x\n\nLynx\n", r"a\.csv: line 3: expected 2 values"),
        ("genus\nUnicornis\n", r"a\.csv: filter: 1 of 1 names .*: line 2: 'unicornis': nothing like it$"),
        ("genus,x\n,1\n", r"a\.csv: filter: no names"),
        (
            "species\n\nlynx lynx\nPanthera leo L.\n",
            r"a\.csv: filter: 1 of 2 .*: line 4: 'panthera leo l.': did you mean",
        ),
    ):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            all_taxa.create_taxa_filter_from_csv(tmp_path / "a.csv")
    with pytest.raises(FormatError):
        all_taxa.create_taxa_filter_from_csv(tmp_path / "none.csv")
    assert len(all_taxa.get_current_taxa()) == 128  # as before


# -------------------------------------------------------------------------------------------------------- label caches


@pytest.fixture
def encoded(monkeypatch):
    """How many labels are embedded."""
    seen, encode = [], classify.BaseClassifier._encode_labels

    def counting(self, texts):
        seen.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(classify.BaseClassifier, "_encode_labels", counting)
    return seen


def test_labels_are_embedded_once(folder, name, cache, encoded):
    first = TreeOfLifeClassifier(name)
    again = TreeOfLifeClassifier(name)
    assert encoded == [128]
    assert torch.equal(first.txt_embeddings, again.txt_embeddings)
    TreeOfLifeClassifier(name, labels=taxa()[:7])
    TreeOfLifeClassifier(name, labels=taxa()[:7], text="sci")
    CustomLabelsClassifier(["oak", "lion"], name)
    CustomLabelsClassifier(["lion", "oak"], name)
    CustomLabelsClassifier(["lion", "oak"], name, templates=["a photo of {}."])
    for _ in range(2):
        CustomLabelsClassifier(["oak", "lion"], name)
    assert encoded == [128, 7, 7, 2, 2, 2]
    assert len(list(cache.iterdir())) == 6


def test_another_model_has_other_labels(folder, cache, encoded, tmp_path):
    """Weights, and settings that leave the weights as they are."""
    formats.save_local(tiny_clip(), tmp_path / "copy", CONFIG)
    formats.save_local(tiny_clip(seed=1), tmp_path / "seed", CONFIG)
    for part, setting in (
        ("text_cfg", dict(heads=1)),
        ("text_cfg", dict(no_causal_mask=True)),
        (None, dict(quick_gelu=True)),
    ):
        config = CONFIG | dict(model_cfg=dict(CONFIG["model_cfg"]))
        if part:
            config["model_cfg"][part] = config["model_cfg"][part] | setting
        else:
            config["model_cfg"] |= setting
        formats.save_local(tiny_clip(), tmp_path / next(iter(setting)), config)
    few = taxa()[:3]
    TreeOfLifeClassifier(f"local-dir:{folder / 'weights'}", labels=few)
    TreeOfLifeClassifier(f"local-dir:{tmp_path / 'copy'}", labels=few)
    assert encoded == [3]  # the same weights elsewhere
    columns = []
    for other in ("seed", "heads", "no_causal_mask", "quick_gelu"):
        columns.append(TreeOfLifeClassifier(f"local-dir:{tmp_path / other}", labels=few).txt_embeddings)
    assert encoded == [3] * 5
    for i, a in enumerate(columns):
        assert all((a - b).abs().max() > 1e-4 for b in columns[:i])


@pytest.mark.parametrize("damage", ["cut", "nan", "shape", "rubbish", "pickle"])
def test_a_damaged_cache_is_made_anew(name, cache, encoded, damage):
    want = TreeOfLifeClassifier(name, labels=taxa()[:4]).txt_embeddings
    (path,) = cache.iterdir()
    data = np.load(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "rubbish":
        path.write_bytes(b"rubbish")
    else:
        bad = dict(nan=data * np.nan, shape=data[:, 1:], pickle=np.array([[print]]))[damage]
        np.save(path, bad, allow_pickle=True)
    assert torch.equal(TreeOfLifeClassifier(name, labels=taxa()[:4]).txt_embeddings, want)
    assert encoded == [4, 4]
    TreeOfLifeClassifier(name, labels=taxa()[:4])
    assert encoded == [4, 4]


def test_a_cache_that_cannot_be_written(name, cache, encoded):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    for _ in range(2):
        assert TreeOfLifeClassifier(name, labels=taxa()[:2]).txt_embeddings.shape == (16, 2)
    assert encoded == [2, 2]


# ----------------------------------------------------------------------------------------------------- embedded labels


def test_the_pair_of_pybioclip(folder, name, all_taxa, tmp_path):
    formats.save_label_embeddings(tmp_path / "txt_emb_species", 3 * all_taxa.txt_embeddings, taxa())
    pair = TreeOfLifeClassifier(name, labels=tmp_path / "txt_emb_species.npy")
    own, other = (c.predict(folder / "0.png") for c in (all_taxa, pair))
    assert [row["species"] for row in own] == [row["species"] for row in other]
    assert [row["score"] for row in own] == near(other)
    formats.save_label_embeddings(tmp_path / "wide", torch.randn(17, 2), taxa()[:2])
    with pytest.raises(ValueError, match=r"embeddings of 17 numbers, .* makes 16; they are of another model"):
        TreeOfLifeClassifier(name, labels=str(tmp_path / "wide"))


def test_labels_without_an_embedding_never_win(folder, name, all_taxa, tmp_path):
    matrix = -all_taxa.txt_embeddings[:, :4].clone()
    matrix[:, 1] = 0
    formats.save_label_embeddings(tmp_path / "a", matrix, taxa()[:4])
    with pytest.warns(UserWarning, match="1 of 4 columns are all zero"):
        tree = TreeOfLifeClassifier(name, labels=tmp_path / "a")
    rows = tree.predict(folder / "0.png", k=10, min_prob=0)
    assert {row["species"] for row in rows} == {taxa()[i].name for i in (0, 2, 3)}
    assert sum(row["score"] for row in rows) == pytest.approx(1)
    assert len(tree.txt_names) == 4
    with pytest.raises(ValueError, match="no label is left that has an embedding"):
        tree.apply_filter([False, True, False, False])


def test_the_authors_models_bring_their_labels(folder, all_taxa, tmp_path, monkeypatch):
    from huggingface_hub import constants

    def keep(kind, name, files):
        snapshot = tmp_path / f"{kind}--imageomics--{name}" / "snapshots" / ("0" * 40)
        (snapshot.parent.parent / "refs").mkdir(parents=True)
        (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
        for path in files:
            to = snapshot / path.relative_to(folder / "weights" if kind == "models" else tmp_path / "data")
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    keep("models", "bioclip", (folder / "weights").iterdir())
    with pytest.raises(DownloadError, match=r"(?s)TreeOfLife-10M.*give labels of your own"):
        TreeOfLifeClassifier("hf-hub:imageomics/bioclip")
    known = (FISH, *taxa()[:3])
    formats.save_label_embeddings(tmp_path / "data/embeddings/txt_emb_species", all_taxa.txt_embeddings[:, :4], known)
    keep("datasets", "TreeOfLife-10M", list((tmp_path / "data/embeddings").iterdir()))
    tree = TreeOfLifeClassifier("hf-hub:imageomics/bioclip")
    assert tree.taxa == known
    assert len(tree.predict(folder / "0.png")) == 4
    own = TreeOfLifeClassifier("hf-hub:imageomics/bioclip", labels=taxa()[:2])
    assert own.taxa == taxa()[:2]


# ------------------------------------------------------------------------------------------------------- custom labels


def test_custom_labels_equal_open_clips_zero_shot_classifier(folder, name):
    labels = ["oak leaf", "lion", "fly agaric"]
    classifier = CustomLabelsClassifier([f" {label} " for label in labels], name)
    model, _ = open_clip.create_model_from_pretrained(name)
    tokenizer = open_clip.get_tokenizer(name)
    want = open_clip.build_zero_shot_classifier(model, tokenizer, labels, open_clip.OPENAI_IMAGENET_TEMPLATES)
    torch.testing.assert_close(classifier.txt_embeddings, want, rtol=1e-4, atol=1e-5)
    rows = classifier.predict([folder / "0.png", folder / "1.png"])
    assert [list(row) for row in rows] == [["file_name", "classification", "score"]] * 6
    for i in range(2):
        own = rows[3 * i : 3 * i + 3]
        assert sum(row["score"] for row in own) == pytest.approx(1)
        assert {row["classification"] for row in own} == set(labels)
        assert [row["score"] for row in own] == sorted((row["score"] for row in own), reverse=True)
    for k, want in ((2, rows[:2]), (100, rows[:3])):
        found = classifier.predict(folder / "0.png", k=k)
        assert [row["classification"] for row in found] == [row["classification"] for row in want]
        assert [row["score"] for row in found] == near(want)


def test_templates_of_ones_own(folder, name):
    classifier = CustomLabelsClassifier(["Lion", "Tiger"], name, templates=["a photo of {}."])
    want = probabilities(folder, photo(2), ["a photo of Lion.", "a photo of Tiger."])
    scores = {row["classification"]: row["score"] for row in classifier.predict(photo(2))}
    assert [scores["Lion"], scores["Tiger"]] == pytest.approx(want.tolist(), rel=1e-3)


def test_many_labels_go_through_the_model_in_parts(name, monkeypatch):
    labels = [f"species {i}" for i in range(11)]
    whole = CustomLabelsClassifier(labels, name).txt_embeddings
    for size in (1, 80, 250):
        monkeypatch.setattr(classify, "TEXTS", size)
        classifier = CustomLabelsClassifier(labels, name)
        torch.testing.assert_close(
            classifier._encode_labels([[f"{label}.", label] for label in labels]).norm(dim=0), torch.ones(11)
        )
        texts = [[t(label) for t in open_clip.OPENAI_IMAGENET_TEMPLATES] for label in labels]
        torch.testing.assert_close(classifier._encode_labels(texts), whole, rtol=1e-4, atol=1e-5)


def test_bins(folder, name):
    bins = {"lion": "animal", "oak": "plant", "tiger": "animal", "fern": "plant", "amanita": "fungus"}
    labels = CustomLabelsClassifier(list(bins), name).predict(photo(1))
    rows = CustomLabelsBinningClassifier(bins, name).predict(photo(1))
    want = {
        name: sum(row["score"] for row in labels if bins[row["classification"]] == name) for name in set(bins.values())
    }
    assert {row["classification"]: row["score"] for row in rows} == pytest.approx(want, rel=1e-4)
    assert len(CustomLabelsBinningClassifier(bins, name).predict(photo(1), k=1)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda name: CustomLabelsClassifier([], name), "there are none"),
        (lambda name: CustomLabelsClassifier(["a", " "], name), "one of them is empty"),
        (lambda name: CustomLabelsClassifier(["a", "b", "a "], name), "'a' is there twice"),
        (lambda name: CustomLabelsClassifier(["fly agaric", "Fly  Agaric"], name), "twice, also as 'fly agaric'"),
        (lambda name: CustomLabelsBinningClassifier({"a": "x", "A": "y"}, name), "'A' is there twice, also as 'a'"),
        (lambda name: CustomLabelsClassifier(["a"], name, templates=["a photo"]), "no {} for the label"),
        (lambda name: CustomLabelsBinningClassifier({"a": ""}, name), "that of 'a' is empty"),
        (lambda name: CustomLabelsBinningClassifier({"a": None}, name), "that of 'a' is empty"),
        (lambda name: TreeOfLifeClassifier(name, labels=[]), "there are none"),
        (lambda name: TreeOfLifeClassifier(name, text="taxonomy"), "text must be one of com"),
        (lambda name: TreeOfLifeClassifier("ViT-B-16"), "must start with"),
        (lambda name: TreeOfLifeClassifier(name, resize="crop"), "resize must be"),
    ],
)
def test_what_is_refused(name, make, message):
    with pytest.raises(ValueError, match=message):
        make(name)


# ---------------------------------------------------------------------------------------------------- long lists, damage


def test_batches_change_nothing(folder, all_taxa):
    photos = [folder / f"{i}.png" for i in range(5)]
    want = all_taxa.predict(photos, k=2, batch_size=1)
    for size in (2, 5, 100):
        rows = all_taxa.predict(photos, k=2, batch_size=size)
        assert [(row["file_name"], row["species"]) for row in rows] == [
            (row["file_name"], row["species"]) for row in want
        ]
        assert [row["score"] for row in rows] == near(want)


def test_arrays_are_no_photographs(all_taxa):
    with pytest.raises(TypeError, match=r"not ndarray; see PIL\.Image\.fromarray"):
        all_taxa.predict([np.zeros((8, 8, 3), np.uint8)])


def test_no_more_than_two_batches_are_in_memory(all_taxa):
    made, most = [], []

    def photos():
        for i in range(24):
            image = photo(i)
            made.append(weakref.ref(image))
            most.append(sum(ref() is not None for ref in made))
            yield image

    rows = all_taxa.predict(photos(), k=1, batch_size=4)
    assert [row["file_name"] for row in rows] == [str(i) for i in range(24)]
    assert max(most) <= 8


def test_damaged_photographs(folder, all_taxa, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    photos = [folder / "0.png", tmp_path / "bad.jpg", tmp_path / "none.jpg", tmp_path, folder / "1.png"]
    for bad, message in ((1, "something else"), (2, "nothing of that name"), (3, "found a folder")):
        with pytest.raises(FormatError, match=message):
            all_taxa.predict(photos[bad])
    skips = Skips()
    rows = all_taxa.predict(photos, k=1, batch_size=2, skips=skips)
    assert [row["file_name"] for row in rows] == [str(folder / "0.png"), str(folder / "1.png")]
    assert skips.count == 3


# ---------------------------------------------------------------------------------------------------------- embeddings


def test_embeddings(folder, all_taxa):
    raw = all_taxa.create_image_features_for_image(folder / "3.png", normalize=False)
    unit = all_taxa.create_image_features_for_image(photo(3))
    assert raw.shape == (16,)
    torch.testing.assert_close(raw / raw.norm(), unit)
    assert raw.norm() != pytest.approx(1, abs=1e-2)
    parts = list(all_taxa.embed([folder / f"{i}.png" for i in range(5)], batch_size=2))
    assert [names for names, _ in parts][2] == [str(folder / "4.png")]
    torch.testing.assert_close(torch.cat([part for _, part in parts])[3], raw, rtol=1e-4, atol=1e-5)
    assert not raw.requires_grad
    x = torch.stack([all_taxa.preprocess(photo(3))])
    scores = all_taxa(x)
    assert scores.shape == (1, 128)
    assert scores.max().item() == pytest.approx(all_taxa.predict(photo(3))[0]["score"], rel=1e-4)


def test_maps_of_saliency(name, all_taxa):
    """Gradients reach the pixels, of a filtered tree and of labels of one's own."""
    custom = CustomLabelsClassifier(["oak", "lion"], name)
    all_taxa.apply_filter(all_taxa.create_taxa_filter(Rank.GENUS, "Lynx"))
    for classifier, labels in ((all_taxa, 2), (custom, 2)):
        x = classifier.preprocess(photo(3))[None].requires_grad_()
        scores = classifier(x)
        assert scores.shape == (1, labels)
        scores[0, 0].backward()
        assert x.grad.abs().max() > 0
    assert isinstance(custom, torch.nn.Module)


def test_progress_is_told_in_place_of_a_bar(folder, all_taxa, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BESTPAPERS_NO_PROGRESS", "0")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    photos = [tmp_path / "bad.jpg", *(folder / f"{i}.png" for i in range(4)), tmp_path / "bad.jpg"]
    for given, total in ((photos, 6), (iter(photos), None)):
        told = []
        all_taxa.predict(given, batch_size=2, skips=Skips(), callback=lambda *words, told=told: told.append(words))
        assert told == [(2, total), (4, total), (6, total)]
    assert "photo" not in capsys.readouterr().err


def test_as_many_rows_of_species_as_were_asked_for(all_taxa):
    """However little is left for the last ones; groups of less than min_prob are left out."""
    assert len(all_taxa.predict(photo(0), k=128, min_prob=0.5)) == 128
    assert len(all_taxa.predict(photo(0), Rank.GENUS, k=128, min_prob=0.5)) < 2


def test_the_square_in_the_middle_on_demand(folder, name):
    wide = photo(0, (90, 30))
    middle = wide.crop((30, 0, 60, 30))
    hub = classify.BaseClassifier(name, resize="hub")
    squash = classify.BaseClassifier(name)
    torch.testing.assert_close(
        hub.create_image_features_for_image(wide), hub.create_image_features_for_image(middle), rtol=0, atol=0.05
    )
    apart = squash.create_image_features_for_image(wide) - squash.create_image_features_for_image(middle)
    assert apart.norm() > 0.05


def test_models_of_others_on_the_hub_are_prepared_as_they_say(folder, monkeypatch):
    asked = []

    def load(name, resize):
        asked.append(resize)
        return tiny_clip(), None, None

    monkeypatch.setattr(formats, "load", load)
    for model in ("hf-hub:imageomics/bioclip", "hf-hub:imageomics/bioclip-2@v1", "hf-hub:laion/clip", "local-dir:here"):
        classify.BaseClassifier(model)
    classify.BaseClassifier("hf-hub:laion/clip", resize="squash")
    assert asked == ["squash", "squash", "hub", "squash", "squash"]


# ------------------------------------------------------------------------------------------ what a model does not read


def test_labels_that_are_cut_are_told(name):
    short = [Taxon("", "", "", "", "", "Quercus", "robur", "oak")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TreeOfLifeClassifier(name, labels=short)
        CustomLabelsClassifier(["oak"], name)
        CustomLabelsClassifier([" ".join(["oak"] * 71)], name, templates=["a photo of {}."])  # 75 words, and two marks
    with pytest.warns(UserWarning, match=r"1 of 2 labels are longer than the 77 tokens .*, and are cut: 'oak oak"):
        CustomLabelsClassifier([" ".join(["oak"] * 72), "ash"], name, templates=["a photo of {}."])
    with pytest.warns(UserWarning, match="1 of 1 labels are longer than the 77 tokens"):
        TreeOfLifeClassifier(name, labels=[Taxon("", "", "", "", "", "Quercus", "robur", "long name " * 40)])


def test_words_that_the_small_model_has_not_learnt(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CustomLabelsClassifier(["Lion", "Panthera tigris", "fly agaric"])
        CustomLabelsClassifier(["42", "lion 1", "lion 2", "zeppelin"], name)  # which reads all
    with pytest.warns(UserWarning, match="has not learnt these words of the labels, .*: zeppelin, quux$"):
        CustomLabelsClassifier(["lion", "Zeppelin, tiger", "lion (quux)"])
    with pytest.raises(ValueError, match="has learnt no word of 'Zeppelin', '42', only the names of this book; leave"):
        CustomLabelsClassifier(["lion", "Zeppelin", "42"])


def test_labels_that_differ_in_what_is_not_learnt_are_told():
    apart = "no difference between these labels; how they share their score means nothing: "
    with pytest.warns(UserWarning, match=f"{apart}'lion 1', 'lion 2', 'lion'; 'oak!', 'oak\\?'$"):
        CustomLabelsClassifier(["lion 1", "lion 2", "oak!", "tiger", "lion", "oak?"])
    lion, tiger = taxa()[:2]
    new = [replace(lion, genus=genus, species="zzyzx", common_name="") for genus in ("Quuxia", "Zeppelinus")]
    with pytest.warns(UserWarning, match=f"{apart}'.* Quuxia zzyzx', '.* Zeppelinus zzyzx'$"):
        TreeOfLifeClassifier(labels=[tiger, *new])


def test_a_species_that_is_there_several_times_is_one_label(name):
    lion, tiger = taxa()[:2]
    with pytest.warns(UserWarning, match="2 of 4 labels name a taxon again"):
        tree = TreeOfLifeClassifier(name, labels=[replace(lion, common_name=""), tiger, lion, tiger])
    assert tree.taxa == (lion, tiger)


def test_ranks_that_are_not_given_make_no_second_label():
    lion, tiger, oak = taxa()[0], taxa()[1], next(t for t in taxa() if t.genus == "Quercus")
    bare = Taxon("", "", "", "", "", "Panthera", "leo", "Lion")
    half = replace(lion, phylum="", order="", common_name="")
    with pytest.warns(UserWarning, match="2 of 4 labels name a taxon again"):
        assert classify.load_labels("x", [bare, tiger, half, replace(lion, class_="")]) == (lion, tiger)
    homonym = replace(oak, genus="Panthera", species="leo")
    with pytest.warns(UserWarning, match="contradict each other, and stay a label for each: Panthera leo$"):
        assert classify.load_labels("x", [bare, homonym, lion]) == (bare, homonym, lion)  # whose is the first?
    genus = replace(bare, species="", common_name="")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert classify.load_labels("x", [genus, lion, replace(bare, genus="")]) == (
            genus,
            lion,
            replace(bare, genus=""),
        )


# ---------------------------------------------------------------------------------------------------------- our weights


def test_our_weights_by_default(tmp_path):
    """Photographs of the book's world: the kingdom is right far more often than by chance."""
    pytest.importorskip("bestpapers.bioclip.weights")
    from bestpapers.bioclip.data import photograph

    tree = TreeOfLifeClassifier()
    assert tree.model_str == "ours"
    size = tree.model.visual.image_size[0]
    images = [Image.fromarray(photograph(taxon, 3, size=size)) for taxon in taxa()[::4]]
    rows = tree.predict(images, Rank.KINGDOM, k=1)
    right = np.mean([row["kingdom"] == taxon.kingdom for row, taxon in zip(rows, taxa()[::4])])
    assert right > 0.7  # always "Animalia" would be right for 0.58
    custom = CustomLabelsClassifier([taxon.name for taxon in taxa()])
    assert len(custom.predict(images[0])) == 128


def test_paths_of_any_kind(folder, all_taxa):
    class Pathlike(os.PathLike):
        def __fspath__(self):
            return str(folder / "0.png")

    assert all_taxa.predict(Pathlike(), k=1) == all_taxa.predict(Path(folder / "0.png"), k=1)
