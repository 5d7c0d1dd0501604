import dataclasses
import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from traitlets import TraitError

from bestpapers.bioclip import evaluate
from bestpapers.bioclip.data import TEST_START, make_split, photographs, species
from bestpapers.bioclip.model import Config, embed_texts, tiny
from bestpapers.bioclip.taxa import Taxon, taxa
from bestpapers.bioclip.taxonomy import TEXT_TYPES, Rank, captions, lca_height, rollup
from bestpapers.bioclip.widgets import Explorer, explorer

from .. import pages

TABLE = species()
LABELS = explorer.labels_of(TABLE)
NUMBER = {tuple(filter(None, label.path)): i for i, label in enumerate(LABELS)}
FIRST = len(LABELS) - len(TABLE)  # number of the first species among the labels
LION, FELIDAE = FIRST, NUMBER[TABLE[0].path[:5]]
MIXED = [NUMBER[("Plantae",)], FELIDAE, NUMBER[TABLE[40].path[:4]], LION, FIRST + 30, FIRST + 52, NUMBER[("Animalia",)]]


@pytest.fixture(scope="module")
def parts():
    """Model, tokenizer, exam: random weights that tell images and texts apart, at the largest scale that training allows, where
    half precision shows most."""
    import open_clip

    model = tiny(Config(image_layers=1, text_layers=1)).eval()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    torch.nn.init.constant_(model.logit_scale, math.log(100))
    images = photographs(TABLE, 2, size=32, start=TEST_START, cache=False)
    exam = evaluate.TestSet(TABLE, make_split(TABLE, 0), images)
    return model, open_clip.SimpleTokenizer(context_length=48), exam


@pytest.fixture(scope="module")
def widget(parts):
    made = Explorer.of(*parts)

    def of(**traits):
        copy = Explorer(
            **{name: getattr(made, name) for name in ("taxa", "texts", "photos", "means", "pictures", "scale")}
        )
        for name, value in traits.items():
            setattr(copy, name, value)
        return copy

    return of


def exact(parts, organism, kind, chosen):
    """The library's probabilities, in full precision."""
    model, tokenizer, exam = parts
    photo = evaluate.image_table(model, exam)[organism, 0]
    texts = embed_texts(model, tokenizer, [captions(LABELS[i])[kind] for i in chosen])
    return evaluate.probabilities(photo, texts, float(model.logit_scale.detach().exp())).numpy()


# ---------------------------------------------------------------------------------------------------------------- python


def test_labels_are_all_taxa_of_all_ranks():
    assert len(LABELS) == 3 + 7 + 17 + 27 + 36 + 64 + 128
    assert [explorer.rank_of(label) for label in LABELS] == sorted(explorer.rank_of(label) for label in LABELS)
    for rank in Rank:
        groups = [label.path[: rank + 1] for label in LABELS if explorer.rank_of(label) == rank]
        assert groups == rollup(np.ones(128), TABLE, rank)[1]
    assert captions(LABELS[FELIDAE])["sci"] == "a photo of Animalia Chordata Mammalia Carnivora Felidae."
    assert tuple(LABELS[FIRST:]) == TABLE


def test_tree_order_brings_relatives_together():
    assert explorer.tree_order(TABLE) == list(range(128))
    order = explorer.tree_order(TABLE[::2] + TABLE[1::2])
    shuffled = TABLE[::2] + TABLE[1::2]
    assert [shuffled[i] for i in order] == list(TABLE)


P = np.array([0.3, 0.25, 0.2, 0.15, 0.1])  # lion, tiger, wolf, coyote, dog rose
FIVE = [TABLE[0], TABLE[1], TABLE[4], TABLE[5], TABLE[74]]


@pytest.mark.parametrize(
    ("confidence", "answer"),
    [
        (0.95, None),
        (0.9 + 1e-9, None),
        (0.89, ("Carnivora", 0.9)),
        (0.56, ("Carnivora", 0.9)),
        (0.54, ("Panthera", 0.55)),
        (0.29, ("leo", 0.3)),
    ],
)
def test_the_deepest_answer_by_hand(confidence, answer):
    found = explorer.deepest(P, FIVE, confidence)
    if answer is None:
        assert found is None
    else:
        assert (found[0][-1], pytest.approx(found[1])) == answer


def test_a_label_that_ends_above_a_rank_is_no_answer_there():
    family = LABELS[FELIDAE]
    found = explorer.deepest(np.array([0.8, 0.2]), [family, TABLE[0]], 0.5)
    assert found[0] == family.path[:5]
    assert found[1] == pytest.approx(1.0)


def test_what_is_stored_is_the_library_s_within_half_precision(parts, widget):
    for kind in TEXT_TYPES:
        for organism in (0, 52, 127):
            one = widget(organism=organism, kind=kind)
            want = exact(parts, organism, kind, one.labels)
            assert want.max() > 0.05  # not flat
            np.testing.assert_allclose(one.probabilities(), want, atol=5e-3)


def test_the_state_is_small(widget):
    assert len(json.dumps(widget().state())) < 1_000_000


def test_the_sheet_holds_the_photographs(parts, widget):
    whole = np.asarray(Image.open(io.BytesIO(widget().pictures)).convert("RGB")).astype(float)
    assert whole.shape == (8 * 32, 16 * 32, 3)
    images = parts[2].images[:, 0].numpy().astype(float)
    tiles = whole.reshape(8, 32, 16, 32, 3).transpose(0, 2, 1, 3, 4).reshape(128, 32, 32, 3)
    own = np.abs(tiles - images).mean((1, 2, 3))
    other = np.abs(tiles - np.roll(images, 1, 0)).mean((1, 2, 3))
    assert own.max() < 16
    assert (own < other).all()


def test_words_and_still_follow_the_traits(widget):
    one = widget(organism=52, labels=MIXED, kind="sci", confidence=0.0)
    assert one.describe() == widget(organism=52, labels=MIXED, kind="sci", confidence=0.0).describe()
    p = one.probabilities()
    path, total = explorer.deepest(p, [LABELS[i] for i in MIXED], 0.0)
    assert "a photograph of Danaus plexippus (Monarch)" in one.describe()
    assert "among 7 labels with captions of the form sci" in one.describe()
    assert f"({p.max():.3f})" in one.describe()
    assert f"({total:.3f}), which is {'right' if path == TABLE[52].path[: len(path)] else 'wrong'}." in one.describe()
    ((png, alt),) = one.still()
    assert "of 7 labels for a photograph of Danaus plexippus" in alt
    assert "36 families" in alt
    assert Image.open(io.BytesIO(png)).width == 1040
    one.rank, one.confidence = 6, 1.0
    assert "Deepest rank above 100%: no answer." in one.describe()
    assert one.still()[0][0] != png
    one.labels = []
    assert "among 0 labels" in one.describe()
    assert "first no label" in one.still()[0][1]


@pytest.mark.parametrize(
    "change",
    [{"organism": 128}, {"organism": -1}, {"labels": [1, 1]}, {"labels": [282]}, {"kind": "none"}, {"rank": 7}, {"source": "x"}]
    + [{"confidence": value} for value in (-0.1, 1.1)],
)  # fmt: skip
def test_values_out_of_range_are_refused(widget, change):
    with pytest.raises(TraitError, match=next(iter(change))):
        widget(**change)


def test_bad_input_is_refused(parts):
    model, tokenizer, exam = parts
    hole = evaluate.TestSet((Taxon("Animalia", "", *TABLE[0].path[2:]), *TABLE[1:]), exam.split, exam.images)
    with pytest.raises(ValueError, match="needs all seven ranks, Panthera leo lacks some"):
        Explorer.of(model, tokenizer, hole)
    with pytest.raises(ValueError, match=r"pictures must be uint8 \[128, h, h, 3\], got torch.float32"):
        Explorer.of(model, tokenizer, exam, exam.images[:, 0].float())
    with pytest.raises(ValueError, match=r"pictures must be uint8 \[128, h, h, 3\], got torch.uint8 \[2, 32, 32, 3\]"):
        Explorer.of(model, tokenizer, exam, exam.images[:2, 0])


# ------------------------------------------------------------------------------------------------------------ in Chromium

ANSWER = """
const labels = m.labelsOf(state.taxa);
const kinds = ["com", "sci", "taxon", "sci_com", "taxon_com"];
const texts = m.rows(state.texts, 5 * labels.length);
const photos = m.rows(state.photos, state.taxa.length);
return given.map(({ organism, kind, chosen, confidences }) => {
  const own = chosen.map((i) => labels[i]);
  const p = m.probabilities(photos[organism], chosen.map((i) => texts[kinds.indexOf(kind) * labels.length + i]), state.scale);
  return {
    p: [...p],
    rolled: [0, 1, 2, 3, 4, 5, 6].map((rank) => m.rollup(p, own, rank)),
    deepest: confidences.map((c) => m.deepest(p, own, c)),
  };
});"""


def test_the_browser_answers_as_the_library(tmp_path, parts, widget):
    species_only = list(range(FIRST, len(LABELS)))
    families = [i for i, label in enumerate(LABELS) if explorer.rank_of(label) == Rank.FAMILY]
    confidences = [0.0, 0.1, 0.3, 0.5, 0.75, 0.99]
    cases = [
        dict(organism=organism, kind=kind, chosen=chosen, confidences=confidences)
        for organism in (0, 52, 100)
        for kind in TEXT_TYPES
        for chosen in (species_only, families, MIXED, [LION])
    ]
    with pages.opened(tmp_path, widget()) as page:
        results = pages.computed(page, ANSWER, cases)
    for case, result in zip(cases, results, strict=True):
        own = [LABELS[i] for i in case["chosen"]]
        stored = widget(organism=case["organism"], kind=case["kind"], labels=case["chosen"]).probabilities()
        np.testing.assert_allclose(result["p"], exact(parts, case["organism"], case["kind"], case["chosen"]), atol=5e-3)
        np.testing.assert_allclose(result["p"], stored, rtol=1e-4)  # the page holds six digits of the scale of 60 or so
        for rank, found in zip(Rank, result["rolled"]):
            sums, groups = rollup(stored, own, rank)
            assert [group["path"] for group in found] == [[name for name in group if name] for group in groups]
            np.testing.assert_allclose([group["p"] for group in found], sums, rtol=1e-4)
        for confidence, found in zip(confidences, result["deepest"]):
            want = explorer.deepest(stored, own, confidence)
            assert (found and tuple(found["path"])) == (want and want[0]), (case, confidence)


def test_the_browser_s_captions_names_and_correlations_are_the_library_s(tmp_path, parts, widget):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 200).tolist(), rng.standard_normal(200).tolist()
    shuffled = [taxa().index(t) for t in TABLE[::2] + TABLE[1::2]]
    with pages.opened(tmp_path, widget()) as page:
        found = pages.computed(
            page,
            """
            const labels = m.labelsOf(state.taxa);
            return {
              labels: labels.map(({ path }) => path),
              captions: labels.map(m.captions),
              order: m.treeOrder(given.shuffled.map((i) => state.taxa[i])),
              spearman: m.spearman(given.a, given.b),
              flat: Number.isNaN(m.spearman(given.a.map(() => 1), given.b)),
              found: given.queries.map((query) => m.search(query, labels, 4).map((i) => labels[i].path.join(" "))),
            };""",
            dict(a=a, b=b, shuffled=shuffled, queries=["lion", "felid", "oak", "canadensis", "  ", "qqq"]),
        )
    assert [tuple(path) for path in found["labels"]] == [tuple(filter(None, label.path)) for label in LABELS]
    assert found["captions"] == [{kind: captions(label)[kind] for kind in TEXT_TYPES} for label in LABELS]
    assert found["order"] == explorer.tree_order([TABLE[i] for i in shuffled])
    assert found["spearman"] == pytest.approx(spearmanr(a, b).statistic)
    assert found["flat"]
    last = [[path.split()[-1] for path in hits] for hits in found["found"]]
    assert last == [["leo", "Papilionidae"], ["Felidae"], ["robur", "rubra"], ["canadensis"] * 3, [], []]


@pytest.mark.parametrize("source", explorer.SOURCES)
def test_the_browser_s_maps_are_the_library_s(tmp_path, parts, widget, source):
    with pages.opened(tmp_path, widget(source=source, kind="sci")) as page:
        found = pages.computed(
            page,
            """
            const labels = m.labelsOf(state.taxa);
            const texts = m.rows(state.texts, 5 * labels.length).slice(labels.length, 2 * labels.length);
            const means = m.rows(state.means, state.taxa.length);
            return [0, 1, 2, 3, 4, 5, 6].map((rank) => {
              const { groups, cosines } = m.similarities({ taxa: state.taxa, labels, texts, means, rank, source: given });
              const of = groups.map((g) => labels[g]);
              const apart = of.map((a) => of.map((b) => m.treeDistance(a, b, rank)));
              return { groups, cosines: cosines.map((row) => [...row]), apart };
            });""",
            source,
        )
        page.get_by_label("taxa", exact=True).select_option(label="species")
        words = page.get_by_text("128 species, 8128 pairs").inner_text()
    for rank, one in zip(Rank, found):
        cosines, of = widget(source=source, kind="sci", rank=int(rank)).similarities()
        assert [LABELS[i] for i in one["groups"]] == of
        np.testing.assert_allclose(one["cosines"], cosines, atol=1e-9)
        cut = lca_height(of, of) - (Rank.SPECIES - rank)  # ranks below this one are no distance
        np.testing.assert_array_equal(one["apart"], np.where(np.eye(len(of), dtype=bool), 0, cut))
    model, tokenizer, exam = parts
    if source == "photographs":
        features = evaluate.image_table(model, exam)
    else:
        features = embed_texts(model, tokenizer, [captions(taxon)["sci"] for taxon in TABLE])[:, None]
    assert f"is {evaluate.tree_correlation(features, TABLE):.2f}.".replace("-", "−") in words


def shown(page):
    """Text of the page's bars: (label, probability)."""
    lines = [line.locator("> span").all_inner_texts() for line in page.locator(".bp-bars .bp-line").all()]
    return [(name, float(value.split()[0])) for name, value in lines]


def test_bars_table_and_answer_show_what_is_computed(tmp_path, widget):
    one = widget(organism=0, confidence=0.2)
    p = one.probabilities()
    best = np.argsort(-p, kind="stable")[:8]
    with pages.opened(tmp_path, one) as page:
        bars, cells = shown(page), page.locator("tbody tr").all_inner_texts()
        answer = page.locator("output").first.inner_text()
        others = page.get_by_text("more labels share").inner_text()
        current = page.locator("tr[aria-current] th").all_inner_texts()
    assert [value for _, value in bars] == [round(float(p[i]), 3) for i in best]
    for (name, _), i in zip(bars, best):
        assert name.startswith(f"{TABLE[i].name} ({TABLE[i].common_name})")
        assert name.endswith("✓") == (i == 0)
    assert f"120 more labels share {1 - p[best].sum():.3f}" in others
    for rank, cell in zip(Rank, cells):
        sums, groups = rollup(p, TABLE, rank)
        top, true = int(sums.argmax()), groups.index(TABLE[0].path[: rank + 1])
        assert f"{groups[top][-1]} {sums[top]:.3f}" in cell
        assert f"{TABLE[0].path[rank]} {sums[true]:.3f}" in cell
        assert ("✓" if top == true else "✗") in cell
    path, total = explorer.deepest(p, TABLE, 0.2)
    rank = Rank(len(path) - 1).get_label()
    assert current == [rank]
    assert answer.startswith(f"Answer: the {rank} ")
    assert f"{path[-1]} ({total:.3f}), which is {'right' if path == TABLE[0].path[: len(path)] else 'wrong'}." in answer


def test_labels_are_searched_picked_and_removed_by_keyboard(tmp_path, widget):
    with pages.opened(tmp_path, widget(labels=[])) as page:
        assert page.locator("output").first.inner_text() == "Choose labels first."
        box, news = page.get_by_role("combobox", name="add or remove"), page.locator("p[role=status]")
        box.focus()
        page.keyboard.type("panth")
        assert box.get_attribute("aria-expanded") == "true"
        options = page.get_by_role("listbox", name="Labels found").get_by_role("option")
        assert options.all_inner_texts() == [
            "Panthera, genus",
            "Panthera leo (Lion), species",
            "Panthera tigris (Tiger), species",
        ]
        page.keyboard.press("ArrowDown")
        active = box.get_attribute("aria-activedescendant")
        assert page.locator(f"#{active}").inner_text() == "Panthera leo (Lion), species"
        page.keyboard.press("Enter")
        assert box.get_attribute("aria-expanded") == "false"
        assert news.inner_text() == "Panthera leo is a label now."
        page.keyboard.type("panthera leo")
        page.keyboard.press("Enter")
        assert news.inner_text() == "Panthera leo is no label any more."
        assert shown(page) == []
        page.keyboard.type("leo")
        assert options.first.inner_text() == "Panthera leo (Lion), species"
        page.keyboard.press("Enter")
        page.keyboard.type("leo")
        assert options.first.inner_text() == "Panthera leo (Lion), species: remove"
        box.fill("")
        page.keyboard.type("plantae")
        page.keyboard.press("Escape")
        assert options.count() == 0
        page.keyboard.type(" ")  # opens the list again
        page.keyboard.press("Enter")
        assert [name.split(" (")[0].split(",")[0] for name, _ in shown(page)].count("Plantae") == 1
        assert sum(value for _, value in shown(page)) == pytest.approx(1, abs=2e-3)
        page.keyboard.type("zzz")
        assert news.inner_text() == "No taxon has such a name."
        remove = page.get_by_role("button", name="remove Panthera leo")
        remove.focus()
        page.keyboard.press("Enter")
        assert remove.count() == 0
        assert len(shown(page)) == 1
        assert page.evaluate("document.activeElement.textContent") == "Plantae ×"


def test_labels_of_a_rank_are_taken_and_drawn(tmp_path, widget):
    with pages.opened(tmp_path, widget()) as page:
        page.get_by_label("rank", exact=True).select_option(label="family")
        page.get_by_role("button", name="all 36 families").click()
        assert "28 more labels" in page.get_by_text("more labels share").inner_text()
        assert all(name.rstrip(" ✓").endswith(", family") for name, _ in shown(page))
        draws = set()
        for _ in range(5):
            page.get_by_role("button", name="draw 8 of them").click()
            assert len(shown(page)) == 8
            draws.add(frozenset(name for name, _ in shown(page)))
        assert len(draws) > 1
        page.get_by_role("button", name="none", exact=True).click()
        assert shown(page) == []
        assert "No labels, no tree." in page.locator(".bp-explorer").inner_text()
        page.get_by_label("rank", exact=True).select_option(label="kingdom")
        page.get_by_role("button", name="draw 3 of them").click()
        assert {name.split(",")[0] for name, _ in shown(page)} == {"Animalia", "Plantae", "Fungi"}


def test_any_of_many_labels_can_be_removed(tmp_path, widget):
    with pages.opened(tmp_path, widget(organism=52)) as page:
        first = shown(page)[0][0].split(" (")[0]
        page.get_by_role("button", name=f"without {first}").focus()
        page.keyboard.press("Enter")
        assert not any(name.startswith(first) for name, _ in shown(page))
        assert page.get_by_text("119 more labels share").is_visible()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("without ")
        tree = page.get_by_role("application", name="Tree of 127 labels")
        tree.focus()
        for _ in range(8):
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        assert page.locator(".bp-here").inner_text().startswith("kingdom Animalia: ")
        page.get_by_role("button", name="remove its 7").click()  # 73 or 74 labels
        assert page.locator("tbody tr").first.inner_text().startswith("kingdom\t✗")
        assert (
            page.get_by_role("application", name="Tree of 54 labels")
            .or_(page.get_by_role("application", name="Tree of 53 labels"))
            .evaluate("e => e === document.activeElement")
        )


def test_the_explorer_says_when_no_label_fits(tmp_path, widget):
    with pages.opened(tmp_path, widget(organism=0, labels=[NUMBER[("Plantae",)], FIRST + 20])) as page:
        assert page.get_by_text("No label fits").is_visible()


def test_photographs_are_chosen_by_keyboard_and_marked(tmp_path, parts, widget):
    split = parts[2].split
    with pages.opened(tmp_path, widget()) as page:
        grid = page.get_by_role("listbox", name="Photographs, one of each species")
        chosen = grid.locator("[aria-selected=true]")
        grid.focus()
        for key, want in (
            ("ArrowRight", 1),
            ("ArrowRight", 2),
            ("ArrowLeft", 1),
            ("End", 127),
            ("ArrowDown", 127),
            ("Home", 0),
        ):
            page.keyboard.press(key)
            assert chosen.count() == 1
            assert chosen.get_attribute("aria-label").startswith(f"{TABLE[want].name} ({TABLE[want].common_name}), ")
            assert grid.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
        page.keyboard.press("ArrowDown")
        across = [taxon.name for taxon in TABLE].index(chosen.get_attribute("aria-label").split(" (")[0])
        assert 4 <= across <= 40
        assert grid.locator(".bp-mark").all_inner_texts().count("S") == len(split.u1)
        page.get_by_label("photographs", exact=True).select_option(value="u2")
        assert grid.get_by_role("option").count() == len(split.u2)
        grid.focus()
        page.keyboard.press("Home")
        first = TABLE[split.u2[0]]
        assert page.locator(".bp-shown b").inner_text() == first.name
        assert "of an unseen genus" in page.locator(".bp-shown").inner_text()


def test_the_slider_moves_the_answer(tmp_path, widget):
    one = widget(organism=0)
    p = one.probabilities()
    with pages.opened(tmp_path, one) as page:
        slider = page.get_by_role("slider", name="stop at the deepest rank above")
        slider.focus()
        ranks, ends = [], []
        for key in ("Home", "ArrowRight", "PageUp", "PageUp", "PageUp", "End"):
            page.keyboard.press(key)
            confidence = int(slider.get_attribute("aria-valuetext").removesuffix(" %")) / 100
            found = explorer.deepest(p, TABLE, confidence)
            text = page.locator("output").first.inner_text()
            if found is None:
                assert text == f"No answer: no kingdom is above {confidence:.0%}.".replace("%", " %")
            else:
                assert f"Answer: the {Rank(len(found[0]) - 1).get_label()} " in text
                assert f"({found[1]:.3f})" in text
                assert f": {found[1]:.3f}, the sum" in page.locator(".bp-here").inner_text()  # the mark follows
            ranks.append(found and len(found[0]))
            ends.append(page.locator("figure svg .bp-predicted").get_attribute("d").count("M"))
        assert ranks[0] == 7
        assert ranks[-1] is None
        assert ends == [rank or 0 for rank in ranks]  # the path drawn goes as deep as the answer


def test_branches_are_as_wide_as_their_probability(tmp_path, widget):
    one = widget(organism=52, labels=MIXED)
    p, own = one.probabilities(), [LABELS[i] for i in MIXED]
    mass = {}
    for value, label in zip(p, own):
        path = tuple(filter(None, label.path))
        for depth in range(1, len(path) + 1):
            mass[path[:depth]] = mass.get(path[:depth], 0) + value
    with pages.opened(tmp_path, one) as page:
        widths = page.locator("figure svg .bp-mass").evaluate_all(
            "all => all.map(e => Number(e.getAttribute('stroke-width')))"
        )
        true = page.locator("figure svg .bp-truth").get_attribute("d")
        branches = page.locator("figure svg .bp-faint").get_attribute("d").count("M")
    np.testing.assert_allclose(widths, [16 * v for v in mass.values() if v >= 0.005], atol=5.1e-3)
    assert branches == len(mass)
    assert true.count("M") == sum(TABLE[52].path[: len(path)] == path for path in mass)


def test_tree_and_maps_are_walked_by_keyboard(tmp_path, widget):
    with pages.opened(tmp_path, widget(labels=[LION, LION + 1, LION + 4, FIRST + 74], confidence=0.0)) as page:
        tree = page.get_by_role("application", name="Tree of 4 labels")
        words = page.locator(".bp-here")
        tree.focus()
        for _ in range(8):
            page.keyboard.press("ArrowLeft")
        kingdom = words.inner_text()
        assert kingdom.startswith("kingdom ")
        page.keyboard.press("ArrowUp")
        assert words.inner_text().startswith("kingdom Animalia: ")
        assert "the sum over 3 labels. It has 74 of the 128 species; the first 12" in words.inner_text()
        assert page.locator(".bp-few .bp-picture").count() == 12
        page.keyboard.press("ArrowDown")
        assert words.inner_text().startswith("kingdom Plantae: ")
        page.keyboard.press("ArrowRight")
        assert words.inner_text().startswith("phylum ")
        page.get_by_role("button", name="take its").click()
        assert not any(name.startswith("Panthera") for name, _ in shown(page))
        maps = page.get_by_role("application", name="Two maps")
        maps.focus()
        pair = page.locator(".bp-pair")
        assert pair.inner_text().startswith("Felidae and Canidae: cosine ")
        page.keyboard.press("ArrowDown")
        assert pair.inner_text() == "Canidae and Canidae: cosine 1.000, 0 ranks apart"
        page.keyboard.press("ArrowRight")
        assert pair.inner_text().startswith("Canidae and Ursidae: cosine ")
        before = maps.locator("canvas").first.evaluate("e => e.toDataURL()")
        page.get_by_label("similarity of").select_option("photographs")
        assert maps.locator("canvas").first.evaluate("e => e.toDataURL()") != before
        page.get_by_label("taxa", exact=True).select_option(label="kingdoms")
        assert page.get_by_text("nothing to correlate").is_visible()


def test_a_click_in_tree_or_map_chooses(tmp_path, widget):
    with pages.opened(tmp_path, widget(labels=MIXED)) as page:
        page.locator("figure svg").first.scroll_into_view_if_needed()
        box = page.locator("figure svg").first.bounding_box()
        page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] - 12)  # the lowest leaf on the right
        assert page.locator(".bp-here").inner_text().startswith("species ")
        canvas = page.locator("canvas").nth(1)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        page.mouse.click(box["x"] + box["width"] - 2, box["y"] + 2)
        assert page.locator(".bp-pair").inner_text().startswith("Felidae and Cladoniaceae: cosine ")


def test_all_comes_back(tmp_path, widget):
    with pages.opened(tmp_path, widget()) as page:
        assert page.get_by_role("heading", level=3).count() == 5
        pages.assert_resets(page)


def test_captions_change_form(tmp_path, widget):
    with pages.opened(tmp_path, widget()) as page:
        before = shown(page)
        page.get_by_label("captions", exact=True).select_option("com")
        assert page.get_by_text("The true one would read: “a photo of lion.”").is_visible()
        assert shown(page) != before
        p = widget(kind="com").probabilities()
        assert shown(page)[0][1] == round(float(p.max()), 3)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_takes_the_page_s_colours(tmp_path, widget, dark):
    pages.assert_fits_a_phone(tmp_path, widget(), dark)


def test_without_scripts_the_still_is_shown(tmp_path, widget):
    pages.assert_still_shown(tmp_path, widget())


def test_another_table_of_species_works(tmp_path, parts):
    """Half of the species, out of order."""
    model, tokenizer, exam = parts
    numbers = [*range(1, 128, 4), *range(0, 128, 4)]
    table = tuple(TABLE[i] for i in numbers)
    small = evaluate.TestSet(
        table, dataclasses.replace(exam.split, seen=tuple(range(60)), u1=(60, 61), u2=(62, 63)), exam.images[numbers]
    )
    one = Explorer.of(model, tokenizer, small, organism=3)
    with pages.opened(tmp_path, one) as page:
        assert shown(page)[0][1] == round(float(one.probabilities().max()), 3)
        assert page.get_by_role("button", name="all 64 species").count() == 1
