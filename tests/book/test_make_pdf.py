"""The book as one PDF: links lead inside, folds are open, parts and chapters are bookmarks."""

import re

import browser
import make_pdf
import pytest

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'


def page(title, body):
    head = '<link href="../_static/a.css" rel="stylesheet" />'
    return (
        f'<html><head>{head}</head><body><article class="bd-article"><section id="top">'
        f'<h1>{title}<a class="headerlink" href="#top">#</a></h1>{body}</section></article></body></html>'
    )


BODY = """<p>See <a href="../w/b.html#there">b</a>, <a href="#top">this</a>, <a href="https://example.org/x.html">that</a> and
<a href="../w/_sources/b.md">a file</a>.</p><img src="../_images/x.svg" alt="x">
<details class="hint"><summary>Hint</summary>It</details>
<details class="hide below-output"><summary>Code</summary>1</details>
<div class="nbwidget" data-module="x.js" data-state="{}"><p>still</p></div>"""


@pytest.fixture
def book(project):
    project.write("book/_toc.yml", "root: v/a\nparts:\n  - caption: A part & more\n    chapters:\n      - file: w/b\n")
    project.write("CITATION.cff", "title: The Book\nversion: 1.2\nauthors:\n  - name: Somebody\n")
    project.write("_build/html/v/a.html", page("First", BODY))
    project.write("_build/html/w/b.html", page("Second", '<h2 id="there">There</h2>'))
    project.write("_build/html/_static/a.css", "p { color: black; }")
    project.write("_build/html/_images/x.svg", SVG)
    project.write("_build/html/_static/vendor/mathjax/tex-mml-chtml.js", "")
    return project


def test_links_lead_to_the_chapters_inside(book):
    text = make_pdf.one_page(book.root)
    assert '<a href="#w-b--there">b</a>' in text
    assert 'id="w-b--there"' in text
    assert '<a href="#v-a--top">this</a>' in text
    assert 'href="https://example.org/x.html"' in text
    assert 'src="_images/x.svg"' in text
    assert 'href="_static/a.css"' in text
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert {a for a in re.findall(r'href="#([^"]*)"', text)} <= anchors


def test_contents_name_parts_and_chapters(book):
    text = make_pdf.one_page(book.root)
    assert '<li>A part &amp; more<ol><li><a href="#w-b">Second</a></li></ol></li>' in text
    assert re.findall(r"<h1>(.*?)</h1>", text) == ["The Book", "Contents", "A part &amp; more"]
    assert re.findall(r"<h2[ >]", text)  # chapters, below their part
    assert "First" not in make_pdf.one_page(book.root, "w/")


def test_folds_are_open_but_for_code_that_draws(book):
    text = make_pdf.one_page(book.root)
    assert '<details open class="hint">' in text
    assert '<details class="hide below-output">' in text
    assert "data-state" not in text
    assert "still" in text


def test_chromium_writes_it_with_bookmarks(book, tmp_path):
    assert browser.find(), browser.WHAT_TO_DO
    out = tmp_path / "book.pdf"
    make_pdf.write(book.root, out)
    pdf = out.read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Outlines" in pdf
    assert re.search(rb"/Type /Pages[^>]*/Count 5|/Count 5[^>]*/Type /Pages", pdf)  # cover, contents, page, part, page
    assert not (book.root / "_build/html" / make_pdf.PAGE).exists()
