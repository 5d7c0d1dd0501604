"""What the wing's claims and its pages of the paper and of real data promise: rules stand, sums are right, code runs."""

import re
import shlex
from statistics import harmonic_mean

import numpy as np
import pytest
from PIL import Image
from scipy.stats import beta

from bestpapers.course import claims
from bestpapers.feedback import __main__, formats
from bestpapers.feedback.record import words

from ..documents import Wing

WING = Wing("feedback", "paper", "real_data")
PAGES, tables = WING.pages, WING.tables
CLAIMS = claims.load("feedback")
# figures of the paper that could not be read anywhere: nobody may add them from memory
UNREAD = {"NSS"}


def table(page, *heading):
    """The rows below the one table whose heading begins so."""
    (found,) = (t[1:] for t in tables(page) if tuple(t[0][: len(heading)]) == heading)
    return found


def test_all_claims_of_the_paper_are_there():
    assert list(dict.fromkeys(key.split(".")[1] for key in CLAIMS)) == [f"C{n}" for n in range(1, 14)]
    assert "```{claims} feedback" in PAGES["paper"]


def test_what_chance_decides_has_a_rule_and_says_over_what():
    for key, claim in CLAIMS.items():
        assert (claim.rule is not None) == (claim.scale == "toy"), key
        assert claim.note, key
        if claim.rule:
            assert re.match(r"(Runs|Prompts)\b|As above", claim.note), key


def test_figures_of_claims_are_those_of_the_page():
    page = set(re.findall(r"\d+\.\d+", PAGES["paper"]))
    for key, claim in CLAIMS.items():
        assert set(re.findall(r"\d+\.\d+", claim.paper or "")) <= page, key


def test_tables_hold_no_measure_that_could_not_be_read():
    assert not UNREAD & {cell for t in tables("paper") for cell in t[0]}


def test_votes_are_whole_and_their_shares_add_up():
    rows = table("paper", "after fine-tuning, as to plausibility")
    shares, votes = ([float(row[i]) for row in rows] for i in (1, 2))
    assert sum(votes) == 600
    assert sum(shares) == pytest.approx(100)
    for share, vote in zip(shares, votes):
        assert vote / 6 == pytest.approx(share, abs=0.005)
    better, worse = sum(votes[:2]), sum(votes[3:])
    assert (better, better + worse) == (311, 412)
    page = " ".join(PAGES["paper"].split())
    for each, ends in ((1, "71.0 to 79.6 %"), (6, "63.5 to 84.9 %")):  # each vote by itself; six that are one
        k, n = round(better / each), round((better + worse) / each)
        low, high = beta.ppf(0.025, k, n - k + 1), beta.ppf(0.975, k + 1, n - k)  # Clopper and Pearson's
        assert ends == f"{100 * low:.1f} to {100 * high:.1f} %"
        assert ends in page


def test_the_replications_f1_is_no_harmonic_mean():
    ((_, precision, recall, f1, _),) = table("paper", "misaligned words, %")
    pooled = harmonic_mean([float(precision), float(recall)])
    assert f"{pooled:.1f}" == "50.2"
    assert "50.2" in PAGES["paper"]
    assert float(f1) < pooled


def test_parts_of_the_data_set_add_up():
    parts = table("real_data", "part")
    assert sum(int(row[1].replace(",", "")) for row in parts) == 17_760


def test_words_of_the_page_are_those_of_the_library():
    said = re.search(r"So\s+`(A red-haired.*?)`\s+has\s+seven: (.*?)\.\n", PAGES["real_data"], re.DOTALL)
    prompt, listed = said.groups()
    assert list(words(prompt.replace("\n", " "))) == re.findall(r"`(.*?)`", listed)


def test_another_set_becomes_a_table_that_is_read(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGES["real_data"], re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(compile(code, "real_data.md", "exec"), names)
    rng = np.random.default_rng(0)
    row = dict(
        image=Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)),
        prompt="a red dog",
        word_scores='[["a", 0.0], ["red", 1.2], ["dog", 0.0], ["[No_mistakes]", 0.4]]',
        coherence_score=3.0, style_score=2.0, alignment_score=4.0,
        coherence_heatmap=rng.random((48, 64)).tolist(), alignment_heatmap=rng.random((48, 64)).tolist(),
    )  # fmt: skip
    names["export"]([row, row | {"coherence_heatmap": None}], tmp_path / "set")
    with pytest.warns(UserWarning, match="1 to 5"):
        (record,) = formats.read(tmp_path / "set")
    assert record.feedback.scores == pytest.approx(dict(plausibility=0.5, aesthetics=0.25, alignment=0.75, overall=0.5))
    assert record.feedback.misaligned.tolist() == [0, 1, 0]
    np.testing.assert_allclose(record.feedback.maps["implausibility"], row["coherence_heatmap"], atol=1e-3)


def test_the_commands_of_the_page_are_commands():
    found = re.findall(r"-m bestpapers\.feedback (.+)", PAGES["real_data"])
    given = [__main__.parser().parse_args(shlex.split(line)).command for line in found]
    assert set(given) == {"annotate", "merge", "train", "evaluate", "score"}
