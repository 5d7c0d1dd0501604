"""What the pages of the wing promise: their code shows it, their sums are right, what they name is there."""

import json
import re
import shlex
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from bestpapers.bioclip import formats
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.taxonomy import TEXT_TYPES, captions
from bestpapers.course import claims

from ..documents import NUMBER, Wing

WING = Wing("bioclip", "paper", "reading_group", "teaching", "scale")
NOTEBOOKS, PAGES = WING.notebooks, WING.pages
cells, table, tables, run = WING.cells, WING.table, WING.tables, WING.run


# ------------------------------------------------------------------------------------------------------ the paper's page


def test_each_claim_has_its_row_in_a_notebook():
    known = claims.load("bioclip")
    assert {row["key"] for row in claims.collect(sorted(NOTEBOOKS.glob("*.ipynb")))} == set(known)
    assert list(dict.fromkeys(key.split(".")[1] for key in known)) == [f"C{n}" for n in range(1, 12)]
    assert "```{claims} bioclip" in PAGES["paper"]


def test_means_of_the_zero_shot_table_are_those_of_its_rows():
    _classes, *models = table("paper", "", "Birds 525")
    for name, *tasks, _first_version, ours in models:
        assert len(tasks) == 10
        assert f"{mean(map(float, tasks)):.1f}" == ours, name


def test_captions_of_the_page_are_those_of_the_library():
    magpie = next(taxon for taxon in taxa() if taxon.name == "Pica hudsonia")
    rows = table("paper", "type")
    assert {row[0].strip("`"): row[2] for row in rows} == {text: captions(magpie)[text] for text in TEXT_TYPES}


@pytest.mark.parametrize("page", ["reading_group", "teaching"])
def test_figures_of_the_paper_are_those_of_its_page(page):
    accuracy = re.compile(r"(?<![\d.])\d\d\.\d(?![\d.])")
    prose = re.sub(r"^```python\n.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    figures = set(accuracy.findall(prose)) - {"16.8"}  # a difference: 38.1 - 21.3
    assert figures
    assert figures <= set(accuracy.findall(PAGES["paper"]))


# ------------------------------------------------------------------------------------------------------------ group, class


def test_the_cell_to_run_together_shows_what_the_page_says(capsys):
    seconds = run("reading_group")
    ranks, *lines = capsys.readouterr().out.splitlines()
    assert seconds < 60
    assert ranks.split() == ["kingdom", "phylum", "class", "order", "family", "genus", "species"]
    rows = {tuple(line.split()[:2]): np.array(line.split()[2:], float) for line in lines}
    assert list(rows) == [(name, text) for name in ("known", "new") for text in ("com", "sci", "taxon_com")]
    known, new = (np.array([row for (name, _), row in rows.items() if name == which]) for which in ("known", "new"))
    assert np.ptp(known[:, -1]) < 0.1, "known species: hardly a difference between texts"
    assert (known[:, -1] > 0.5).all(), "known species stay good down to the species"
    assert (new[:, 0] > 0.65).all(), "new species: the kingdom is right most of the time"
    assert (np.diff(new, axis=1) <= 0.05).all(), "then it goes down"
    assert (new[:, -1] < 0.2).all(), "and the species is right hardly ever"


def test_each_line_shows_its_mistake(capsys):
    seconds = run("teaching")
    lines = capsys.readouterr().out.splitlines()
    mistakes = next(t for t in tables("teaching") if t[0][1:] == ["symptom", "cause", "cure"])[1:]
    assert [line.split()[0] for line in lines] == [row[0] for row in mistakes]
    assert seconds < 60
    shown = {int(line.split()[0]): [float(n) for n in NUMBER.findall(line)[1:]] for line in lines}
    assert shown[1][0] == 0 < shown[1][1]
    assert shown[2] == [126, 128]
    assert shown[3][0] == 0
    assert "Chordata Cypriniformes" in lines[2]
    assert shown[4][0] > 100
    assert -1 <= shown[4][1] <= 1
    assert shown[5][0] < 0.4 < 0.9 < shown[5][1]
    assert shown[6][0] > 0.99
    assert shown[6][1] < 0.1
    assert shown[7] == [0, 0.25]
    assert shown[8] == [pytest.approx(np.log(2) / 4, abs=1e-3), 0]
    assert shown[9][0] < 0.9
    assert shown[10][1] > 2 * shown[10][0]


@pytest.mark.parametrize(("page", "totals"), [("reading_group", [60, 90]), ("teaching", [90])])
def test_plans_fill_their_time(page, totals):
    WING.assert_plans_fill_their_time(page, totals)


def test_points_and_weights_add_up():
    WING.assert_points_and_weights_add_up()


def test_exercises_that_are_named_exist():
    headings = [
        line.lower()
        for cell in cells("5_exercises")
        if cell["cell_type"] == "markdown"
        for line in "".join(cell["source"]).splitlines()
        if line.startswith("#")
    ]
    for name, *_ in table("teaching", "exercise"):
        assert any(name.lower() in heading for heading in headings), f"5_exercises has no heading with {name!r}"


def test_what_must_be_read_takes_as_long_as_the_notebook_says():
    minutes, what, _ = tables("reading_group")[0][1]
    assert "1_idea.ipynb" in what
    assert f"{minutes} min to read" in "".join(cells("1_idea")[0]["source"])


# ------------------------------------------------------------------------------------------------------------------- scale


def test_costs_are_products():
    for run_, gpus, hours, product, _ in table("scale", "run"):
        assert int(gpus.split()[0]) * int(hours) == int(product.replace(",", "")), run_


def test_the_commands_are_some_that_open_clip_takes(monkeypatch):
    from open_clip import list_models
    from open_clip_train.params import parse_args

    text = PAGES["scale"].replace("\\\n", " ")
    ours, theirs = (
        line for line in text.splitlines() if "--grad-checkpointing" in line and line.startswith("torchrun")
    )
    for line in (ours, theirs.replace("--text_type random", "")):  # the one flag that is the authors' own
        words = shlex.split(line)
        args = parse_args(words[words.index("-m") + 2 :])
        assert args.local_loss
        assert args.gather_with_grad
        assert args.model in list_models()
        assert args.wd == 0.2
        assert (args.batch_size, args.lr, args.warmup, args.epochs) == (4096, 1e-4, 1000, 100)
    (csv,) = re.findall(r"`(--dataset-type csv[^`]*)`", PAGES["scale"].replace("\n  ", " "))
    assert parse_args(shlex.split(csv)).csv_separator == "\t"


def test_shards_for_open_clip_have_one_text_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    samples = [(f"photo-{i}", image, taxon) for i, (image, taxon) in enumerate(zip(noise, taxa()))]
    sizes = formats.write_shards("shards", samples, size=None, maxcount=5)
    run("scale")
    assert json.loads(Path("shards_for_open_clip", "sizes.json").read_text(encoding="utf-8")) == sizes
    read = list(formats.read_shards("shards_for_open_clip", ("txt",)))
    assert [sample.key for sample in read] == [key for key, _, _ in samples]
    kinds = set()
    for sample, (_, _, taxon) in zip(read, samples):
        (kind,) = (text for text in TEXT_TYPES if captions(taxon)[text] == sample.texts["txt"])
        kinds.add(kind)
    assert len(kinds) > 2
