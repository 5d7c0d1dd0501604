"""The checks of the built site, each on a site that has exactly that fault."""

import check_site
import pytest

GOOD = """<html><head><link rel="stylesheet" href="_static/a.css"><link rel="canonical" href="https://example.org/"></head>
<body><h1 id="top">A</h1><a href="#top">up</a><a href="b.html#there">b</a><a href="https://example.org">out</a>
<a href="mailto:a@b.c">mail</a><img src="x.png" alt="A picture"><div class="nbwidget" data-module="w.js"></div></body></html>"""


@pytest.fixture
def built(project):
    """A site of two pages that has nothing wrong with it, and the function that finds what is."""
    project.write("book/_toc.yml", "root: a\nparts:\n  - chapters:\n      - file: b\n")
    for name in ("index", "a"):
        project.write(f"_build/html/{name}.html", GOOD)
    project.write("_build/html/b.html", '<p id="there">b</p>')
    project.write("_build/html/_static/a.css", "a { background: url('x.png') }")
    project.write("_build/html/_static/esm/w.js", "")
    project.found = lambda: check_site.problems(project.root)
    return project


def test_a_good_site_passes(built):
    assert built.found() == []


@pytest.mark.parametrize(
    ("html", "message"),
    [
        ('<a href="c.html">c</a>', "b.html: dead link: c.html"),
        ('<a href="a.html#nowhere">c</a>', "b.html: dead anchor: a.html#nowhere"),
        ('<a href="#nowhere">c</a>', "b.html: dead anchor: #nowhere"),
        ('<a href="../../README.md">c</a>', "b.html: link leaves the site: ../../README.md"),
        ('<img src="x.png">', "b.html: image without alt text: x.png"),
        ('<img src="x.png" alt=" ">', "b.html: image without alt text: x.png"),
        (
            '<script src="https://cdn.example/x.js"></script>',
            "b.html: loads from another host: https://cdn.example/x.js",
        ),
        ('<script src="//cdn.example/x.js"></script>', "b.html: loads from another host: //cdn.example/x.js"),
        (
            '<link rel="stylesheet" href="https://f.example/a.css">',
            "b.html: loads from another host: https://f.example/a.css",
        ),
        ('<iframe src="http://x.example/"></iframe>', "b.html: loads from another host: http://x.example/"),
        (
            '<p style="background: url(https://x.example/a.png)">',
            "b.html: loads from another host: url(https://x.example/a.png",
        ),
        (
            '<script>const U = "https://cdn.example/lib/index.js"</script>',
            "b.html: inline script loads from another host: https://cdn.example/lib/index.js",
        ),
        ('<div class="nbwidget" data-module="gone.js"></div>', "b.html: widget module missing: _static/esm/gone.js"),
        (
            '<div class="nbwidget-later" data-module="w.js" data-from="_static/live/gone.json"></div>',
            "b.html: state of a widget missing: _static/live/gone.json",
        ),
    ],
)
def test_each_fault_is_found(built, html, message):
    built.write("_build/html/b.html", f'<p id="there">b</p>{html}')
    assert built.found() == [message]


def test_a_missing_page_is_found(built):
    built.write("book/_toc.yml", "root: a\nparts:\n  - chapters:\n      - file: b\n      - file: notebooks/w/1_idea\n")
    assert built.found() == ["page missing: notebooks/w/1_idea.html (book/_toc.yml names it)"]


def test_styles_that_load_from_elsewhere_are_found(built):
    built.write("_build/html/_static/a.css", "@import 'https://fonts.example/f.css';")
    assert built.found() == ["_static/a.css: loads from another host: @import 'https://fonts.example/f.css"]


def test_a_failed_cell_is_found_unless_it_is_meant_to_fail(built):
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    cell = {"id": "bad-one", "cell_type": "code", "metadata": {}, "outputs": [error], "source": "f()"}
    import json

    built.write("b.ipynb", json.dumps({"cells": [cell]}))
    assert built.found() == ['b.ipynb: cell "bad-one" holds an error: ValueError: no']
    cell["metadata"]["tags"] = ["raises-exception"]
    built.write("b.ipynb", json.dumps({"cells": [cell]}))
    assert built.found() == []


def test_no_site_at_all(project):
    project.write("book/_toc.yml", "root: a\n")
    assert check_site.problems(project.root) == ["there is no site in _build/html"]
