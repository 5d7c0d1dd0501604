"""The built site as a whole. `make test` builds it first; on its own: make book, then pytest tests/book."""

from urllib.parse import parse_qs, urlsplit

import check_site
import nbformat
import pytest
import stored
from bs4 import BeautifulSoup

from bestpapers.course import WINGS, claims

ROOT = stored.ROOT


def page(site, document):
    return BeautifulSoup((site / f"{document}.html").read_text(encoding="utf-8"), "html.parser")


def test_nothing_is_wrong_with_the_pages(site):
    assert check_site.problems() == []


def test_site_is_newer_than_its_sources(site, documents):
    """Tests of an old site would prove nothing."""
    built = (site / "searchindex.js").stat().st_mtime
    sources = [p for d in documents for p in (ROOT / f"{d}.md", ROOT / f"{d}.ipynb") if p.exists()]
    sources += [
        ROOT / "_config.yml",
        *(p for p in (ROOT / "book").rglob("*") if p.is_file() and "__pycache__" not in p.parts),
    ]
    late = [p.name for p in sources if p.stat().st_mtime > built]
    assert not late, f"the site is older than {late}: run `make book`"


def test_every_page_has_one_title_and_a_language(site, documents):
    for document in documents:
        html = page(site, document)
        assert len(html.select("article h1, main h1")) >= 1, document
        assert html.html.get("lang") == "en", document


def test_launch_buttons_point_at_files_of_the_repository(site):
    url = stored.repository()
    owner = url.removeprefix("https://github.com/")
    for path in stored.notebooks():
        name = path.relative_to(ROOT).as_posix()
        links = [a["href"] for a in page(site, name.removesuffix(".ipynb")).find_all("a", href=True)]
        binder = [x for x in links if x.startswith("https://mybinder.org/")]
        colab = [x for x in links if x.startswith("https://colab.research.google.com/")]
        assert len(binder) == len(colab) == 1, name
        assert urlsplit(binder[0]).path == f"/v2/gh/{owner}/main"
        assert parse_qs(urlsplit(binder[0]).query) == {"urlpath": [f"lab/tree/{name}"]}
        assert urlsplit(colab[0]).path == f"/github/{owner}/blob/main/{name}"


def test_scorecard_shows_every_stored_claim_with_its_outcome(site):
    rows = claims.collect(stored.notebooks())
    shown = page(site, "book/scorecard").select("table.scorecard tbody tr")
    assert len(shown) == len(rows) > 0
    for row, html in zip(rows, shown):
        link = html.find("a")
        assert link.get_text() == row["key"]
        assert link["href"].endswith(f"#{row['anchor']}")
        assert html.select_one(".verdict").get_text() == row["outcome"]
        text = html.get_text().translate(str.maketrans("’“”", '\'""'))  # Sphinx sets typographic marks
        assert all(row[field] in text for field in ("claim", "where", "paper", "ours", "note") if row[field])


def test_counts_are_those_of_the_rows(site):
    html, rows = page(site, "book/scorecard"), claims.collect(stored.notebooks())
    for tr in html.select("table.counts tbody tr"):
        wing, *counts, total = (td.get_text(strip=True) for td in tr.find_all("td"))
        found = [row["outcome"] for row in rows if row["key"].split(".")[0] == wing]
        assert [int(c) for c in counts] == [found.count(outcome) for outcome in claims.OUTCOMES]
        assert int(total) == len(found) > 0
        assert html.find(id=tr.a["href"].removeprefix("#"))


@pytest.mark.parametrize("wing", [w for w in WINGS if (ROOT / f"notebooks/{w}").is_dir()])
def test_the_papers_page_lists_every_claim_with_its_outcome(site, wing):
    rows = [row for row in claims.collect(stored.notebooks()) if row["key"].startswith(f"{wing}.")]
    assert [row["key"] for row in rows] == list(claims.load(wing))  # each claim has its cell, each cell its claim
    shown = page(site, f"book/{wing}/paper").select("table.scorecard tbody tr")
    assert [tr.find("a").get_text() for tr in shown] == [row["key"].split(".", 1)[1] for row in rows]
    assert [tr.select_one(".verdict").get_text() for tr in shown] == [row["outcome"] for row in rows]


@pytest.mark.parametrize("wing", WINGS)
def test_the_papers_page_says_where_the_paper_is(site, wing):
    box = page(site, f"book/{wing}/paper").select_one(".paper-links")
    hrefs = [a["href"] for a in box.find_all("a")]
    assert any(h.startswith("https://arxiv.org/abs/") for h in hrefs)
    assert any(h.startswith("https://doi.org/") for h in hrefs)
    bibtex = box.select_one("details.bibtex pre").get_text()
    assert bibtex.startswith("@inproceedings{")
    assert "wing" not in bibtex


def test_references_are_links_and_every_page_names_the_licence(site, documents):
    shown = page(site, "book/references").select(".citation")
    linked = [c for c in shown if c.select('a[href^="https://"]')]
    assert len(linked) >= 0.8 * len(shown) > 0
    for document in documents:
        footer = page(site, document).select_one(".bd-footer-content")
        assert "CC BY 4.0" in footer.get_text()
        assert footer.select('a[href$="cite.html"]'), document


def test_stored_claims_are_those_of_the_library():
    for row in claims.collect(stored.notebooks()):
        claim = claims.load(row["key"].split(".")[0])[row["key"]]
        assert all(
            row[field] == getattr(claim, field) for field in ("where", "claim", "paper", "scale", "rule", "expect")
        )
        assert row["note"].startswith(claim.note.strip())
        assert row["outcome"] == claim.expect


def test_folded_cells_show_their_figure_before_their_code(site):
    folded = 0
    for path in stored.notebooks():
        for cell in page(site, path.relative_to(ROOT).with_suffix("").as_posix()).select("div.cell.tag_hide-input"):
            output, code = cell.find_all(recursive=False)
            assert "cell_output" in output["class"]
            assert code.name == "details"
            assert code.summary.get_text(" ", strip=True).startswith("Show ")
            folded += 1
    assert folded


def test_status_shows_what_was_measured(site):
    text = page(site, "book/status").get_text()
    for path in stored.notebooks():
        record = nbformat.read(path, as_version=4).metadata.bestpapers
        assert path.relative_to(ROOT / "notebooks").with_suffix("").as_posix() in text
        assert f"{record.seconds:.0f} s" in text
        assert all(version in text for version in record.versions.values())


def test_figures_carry_the_alt_text_that_the_notebook_computed(site):
    for path in stored.notebooks():
        nb = nbformat.read(path, as_version=4)
        html = page(site, path.relative_to(ROOT).with_suffix("").as_posix())
        shown = [img["alt"] for img in html.select(".cell_output img:not(.nbwidget img)")]
        meant = [
            o.metadata["image/png"]["alt"]
            for c in nb.cells
            for o in c.get("outputs", [])
            if "image/png" in o.get("data", {})
        ]
        assert shown == meant, path.name


def test_the_colab_cell_is_not_on_the_page(site):
    for path in stored.notebooks():
        assert (
            "google.colab"
            not in page(site, path.relative_to(ROOT).with_suffix("").as_posix()).select_one("article").get_text()
        )
