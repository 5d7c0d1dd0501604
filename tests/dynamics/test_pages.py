"""What the pages of the wing promise: their code shows it, their sums are right, what they quote is on the paper's page."""

import re
import shlex

import numpy as np
import pytest

from bestpapers.course import claims
from bestpapers.dynamics import __main__ as program
from bestpapers.dynamics import exercises, spectral
from bestpapers.dynamics.formats import video

from ..documents import NUMBER, Wing

WING = Wing("dynamics", "paper", "your_video", "reading_group", "teaching", "after")
PAGES = WING.pages
table, tables, run = WING.table, WING.tables, WING.run


# ------------------------------------------------------------------------------------------------------------------ claims


def test_all_claims_of_the_paper_are_there():
    known = claims.load("dynamics")
    assert list(dict.fromkeys(key.split(".")[1] for key in known)) == [f"C{n}" for n in range(1, 17)]
    assert "```{claims} dynamics" in PAGES["paper"]


def test_the_commands_of_the_page_are_commands():
    found = re.findall(r"-m bestpapers\.dynamics (.+)", PAGES["your_video"])
    assert len(found) >= 5
    for words in found:
        given = shlex.split(re.sub(r"\s+#.*", "", words).replace("--pull ", "--pull="))
        assert program.parser().parse_args(given).command == given[0]


def test_a_clip_is_cut_as_the_page_says():
    said = " ".join(PAGES["your_video"].split())
    for shape, sides in (((1080, 1920), (160, 256)), ((1920, 1080), (256, 160))):
        assert video._sides(np.zeros((*shape, 3), np.uint8), video.SIZE) == sides
    assert "cut to a shape of 8 to 5, one that stands upright to 5 to 8" in said
    assert "160 x 256 px, or 256 x 160 if it stands upright" in said


def test_what_chance_decides_has_a_rule_and_says_over_what():
    for key, claim in claims.load("dynamics").items():
        assert (claim.rule is not None) == (claim.scale == "toy"), key
        if claim.rule:
            assert re.match(r"(Plants|Runs)\b|As above", claim.note), (
                f"{key}: the note begins with what the interval is over"
            )
        if claim.scale == "none":
            assert claim.note, key


def test_figures_of_claims_are_those_of_the_paper_page():
    for key, claim in claims.load("dynamics").items():
        found = set(re.findall(r"\d+\.\d+", claim.paper or "")) - {"79.1"}  # a mean of ours, and so it says there
        assert found <= set(re.findall(r"\d+\.\d+", PAGES["paper"])), key


def test_a_drift_starts_where_the_claim_says():
    import torch

    drift = torch.arange(150, dtype=torch.float64)[:, None, None, None].expand(150, 2, 1, 1) / 150
    cut = spectral.motion(spectral.volume(drift))
    gaps = cut[0, 0, 0, 0].item(), (drift - cut)[-1, 0, 0, 0].item()
    (said,) = re.findall(r"starts (0\.\d\d) D", claims.load("dynamics")["dynamics.C16.drift"].note)
    assert gaps == pytest.approx((float(said),) * 2, abs=0.005)


# ------------------------------------------------------------------------------------------------------- the paper's page


def test_both_tables_have_the_papers_columns_and_the_best_row_is_the_same():
    others, parts = (t[1:] for t in tables("paper") if t[0][1:] == ["FID", "KID", "FVD", "FVD32", "DTFVD", "DTFVD32"])
    assert len(others) == 8
    assert len(parts) == 9
    assert others[-1][1:] == parts[-1][1:]
    for column in range(1, 7):
        assert min(float(row[column]) for row in others) == float(others[-1][column]), "it is best in Table 1"


def test_mean_of_the_three_preferences():
    rows = dict(row[:2] for row in table("paper", "", "this paper is preferred"))
    shares = [float(x) for x in re.findall(r"\d+\.\d", rows["over the three, one by one"])]
    assert f"{np.mean(shares):.1f} %" == rows["the mean of the three"]


def test_rows_of_the_lists_are_numbered_through():
    for letter in "DOU":
        (rows,) = (t[1:] for t in tables("paper") if t[1][0] == f"{letter}1")
        assert [row[0] for row in rows] == [f"{letter}{i + 1}" for i in range(len(rows))]
        assert all(all(row) for row in rows)
    text = " ".join(PAGES.values())
    named = set(re.findall(r"\b([DOU]\d+)\b", text))
    assert named == set(re.findall(r"^\| ([DOU]\d+) \|", PAGES["paper"], re.MULTILINE))


@pytest.mark.parametrize("page", ["reading_group", "teaching"])
def test_figures_of_the_paper_are_those_of_its_page(page):
    quoted = re.compile(r"(?:FID|FVD|FVD32|DTFVD|DTFVD32)\b[^.|]{0,30}?(\d+\.\d+)")
    prose = re.sub(r"^```python\n.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    figures = set(quoted.findall(prose)) - {"5.4", "6.6"}  # differences: 52.5 and 53.7 less 47.1
    assert figures
    assert figures <= set(re.findall(r"\d+\.\d+", PAGES["paper"]))


# ------------------------------------------------------------------------------------------------------- one's own video


def test_the_three_slips_show(capsys):
    assert run("your_video") < 30
    lines = dict(line.split(" starts at ") for line in capsys.readouterr().out.splitlines())
    shown = {name.strip(): [float(x) for x in NUMBER.findall(rest.replace(",", " "))] for name, rest in lines.items()}
    whole, cut, cured, half, raw = shown.values()  # start, largest, how hard it turns
    assert whole[0] == cured[0] == 0 < cut[0]
    assert half[1] < 0.6 * whole[1]
    assert raw[2] > 3 * whole[2], "it flickers"


# ------------------------------------------------------------------------------------------------------------ group, class


def test_the_cell_to_run_together_shows_what_the_page_says(capsys):
    assert run("reading_group") < 60
    *lines, last = capsys.readouterr().out.splitlines()[2:]
    rows = np.array([[float(x) for x in line.split()[2:]] for line in lines])
    motion, _, _, _, strongest, wrap = rows.T
    assert len(rows) == 12
    assert motion.max() > 3 * motion.min(), "the wind makes it several times larger"
    assert float(last.split()[-1]) > 0.3, "slow and fast slices go together"
    assert strongest.max() < 1.5, "slow frequencies are strongest in every wind, Hz"
    assert (wrap > 2).sum() >= 4, "the step at the wrap is often several times the usual one"


def test_each_line_shows_its_mistake(capsys):
    assert run("teaching") < 60
    lines = capsys.readouterr().out.splitlines()
    mistakes = next(t for t in tables("teaching") if t[0][1:] == ["symptom", "cause", "cure"])[1:]
    assert [line.split()[0] for line in lines] == [row[0] for row in mistakes]
    number = r"nan|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
    shown = {int(line.split()[0]): [float(x) for x in re.findall(number, line)[1:]] for line in lines}
    assert shown[1][0] > 4 * shown[1][1]
    assert shown[2][0] == pytest.approx(0.5, abs=0.01)
    assert shown[3][0] > 0.05 > 1e-3 > shown[3][1]
    assert shown[4][0] < 0.8
    assert lines[4] == "5 0.8 Hz is slice 5 at 24 frames a second; at 30 1"
    assert shown[6][0] < -0.9 < 0.9 < shown[6][1]
    assert shown[7][0] > 100 > 1 > shown[7][-1]
    assert shown[8] == [1.27, 1.73]
    assert np.isnan(shown[9][0])
    assert shown[9][1] == 1.73
    assert shown[10] == [0.5, 0.25]
    assert shown[11][0] == 0 < 0.3 < shown[11][1]


@pytest.mark.parametrize(("page", "totals"), [("reading_group", [60, 90]), ("teaching", [90])])
def test_plans_fill_their_time(page, totals):
    WING.assert_plans_fill_their_time(page, totals)


def test_exercises_are_those_of_the_notebook():
    rows = [row[0].split(maxsplit=1) for row in table("teaching", "exercise")]
    assert [number for number, _ in rows] == [module.check.exercise for module in exercises.EXERCISES]
    for (_, words), module in zip(rows, exercises.EXERCISES):
        title = module.__doc__.splitlines()[0].lower()
        assert set(re.findall(r"[a-z]{4,}", words.lower())) & set(re.findall(r"[a-z]{4,}", title)), (words, title)


def test_points_and_weights_add_up():
    WING.assert_points_and_weights_add_up()


def test_answers_of_the_quiz_are_right():
    omega = 2 * np.pi * 1.0
    assert f"{(0.4 / omega + 0.08 * omega) / 2:.2f}" == "0.28"
    assert f"{2 * 0.02 / (2 * np.pi * 0.4):.3f}" == "0.016"
    assert f"{np.log(1 / 0.9) / (2 * np.pi):.3f}" == "0.017"
    for said in ("= 0.28$", "= 0.016$", "= 0.017$"):
        assert said in PAGES["teaching"]
    zeta = {f: (0.4 / (2 * np.pi * f) + 0.08 * 2 * np.pi * f) / 2 for f in (0.2, 1, 3)}
    for f, said in {0.2: "0.21 at 0.2 Hz", 1: "0.28 at 1 Hz", 3: "0.76 at 3 Hz"}.items():
        assert f"{zeta[f]:.2f} at {f} Hz" == said
        assert said in PAGES["reading_group"]
