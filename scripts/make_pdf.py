"""Write the whole book as one PDF with contents, _build/book.pdf, from the built site: make pdf

All chapters are put into one page, as they are read on the site: links between them lead inside the PDF, folds are open, live
figures show their first picture. Chromium prints it; its bookmarks are the parts, chapters and sections.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import posixpath
import re
import sys
import threading
from html import escape
from pathlib import Path

import browser
import yaml
from stored import ROOT, repository

PAGE = "book-as-one-page.html"  # lies in the site while it is printed
STYLE = """
body { background: white; }
.bd-main .bd-content .bd-article-container { max-width: none; padding: 0; }
.bd-main .bd-content { margin: 0; }
.bd-main .bd-content .bd-article :is(h1, h2):first-of-type { display: block; }
.part, .bd-article { break-before: page; }
.part > h1 { margin-top: 30vh; font-size: 2.6rem; }
.cover { text-align: center; padding-top: 25vh; }
.cover h1 { font-size: 3rem; }
.bd-article > section > h2:first-of-type { font-size: 2rem; }
#contents { break-before: page; }
#contents ol { list-style: none; padding-left: 1rem; }
.headerlink, .onlyprint { display: none !important; }
"""
FOOTER = '<div style="width:100%;font-size:8px;text-align:center;font-family:sans-serif"><span class="pageNumber"></span></div>'


def parts(root: Path) -> list[tuple[str, list[str]]]:
    """Parts of the book with their documents, in reading order; the front page is a part without a name."""
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    return [("", [toc["root"]])] + [(p["caption"], [c["file"] for c in p["chapters"]]) for p in toc["parts"]]


def slug(document: str) -> str:
    return document.replace("/", "-")


def article(text: str, document: str, documents: set[str]) -> str:
    """A page's article for the one page: anchors of its own, links to the other articles, headings one level down."""
    begin, end = text.index("<article"), text.rindex("</article>")
    inside = text[text.index(">", begin) + 1 : end]
    inside = re.sub(r'(?s)<script\b.*?</script>| data-state="[^"]*"| loading="lazy"', "", inside)
    inside = re.sub(r'(<\w[^<>]*?) id="([^"]+)"', rf'\1 id="{slug(document)}--\2"', inside)
    inside = re.sub(r"<(/?)h([1-5])\b", lambda m: f"<{m[1]}h{int(m[2]) + 1}", inside)
    inside = re.sub(r"<details(?![^>]*below-output)(?![^>]* open)", "<details open", inside)
    here = posixpath.dirname(document)

    def address(found: re.Match) -> str:
        name, (path, _, anchor) = found[1], found[2].partition("#")
        if re.match(r"[a-z]+:|//", path):
            return found[0]
        path = posixpath.normpath(posixpath.join(here, path)) if path else f"{document}.html"
        if name == "href" and path.removesuffix(".html") in documents:
            other = slug(path.removesuffix(".html"))
            return f'{name}="#{other}{"--" + anchor if anchor else ""}"'
        return f'{name}="{path}{"#" + anchor if anchor else ""}"'

    inside = re.sub(r'\b(href|src)="([^"]*)"', address, inside)
    return f'<article class="bd-article" id="{slug(document)}">{inside}</article>'


def heading(text: str) -> str:
    """The first heading of a page, in HTML, without its link."""
    found = re.search(r"(?s)<h1[^>]*>(.*?)</h1>", text[text.index("<article") :])
    return re.sub(r'<a class="headerlink".*?</a>', "", found[1]).strip() if found else ""


def one_page(root: Path, only: str = "") -> str:
    """The whole book as one page of the site at `root`/_build/html; or only the documents that have `only` in their path."""
    site = root / "_build" / "html"
    book = [(name, kept) for name, docs in parts(root) if (kept := [d for d in docs if only in d])]
    documents = {d for _, docs in book for d in docs}
    pages = {d: (site / f"{d}.html").read_text(encoding="utf-8") for d in documents}
    about = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    first = next(iter(pages.values()))
    up = "../" * next(iter(pages)).count("/")
    sheets = [tag.replace(f'href="{up}', 'href="') for tag in re.findall(r'<link[^>]*rel="stylesheet"[^>]*>', first)]
    contents, body = [], []
    for name, docs in book:
        items = "".join(f'<li><a href="#{slug(d)}">{heading(pages[d])}</a></li>' for d in docs)
        contents.append(f"<li>{escape(name)}<ol>{items}</ol></li>" if name else items)
        if name:
            body.append(f'<section class="part"><h1>{escape(name)}</h1></section>')
        body += [article(pages[d], d, documents) for d in docs]
    authors = ", ".join(a.get("name") or f"{a['given-names']} {a['family-names']}" for a in about["authors"])
    cover = (
        f'<section class="cover"><h1>{escape(about["title"])}</h1><p>{escape(authors)}</p><p>Version {about["version"]}</p>'
        f"<p>Text and figures: CC BY 4.0. Code: MIT.</p><p>{escape(repository(root))}</p></section>"
    )
    return (
        '<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{escape(about['title'])}</title>{''.join(sheets)}<style>{STYLE}</style>"
        '<script>window.MathJax = {options: {processHtmlClass: "math", enableMenu: false}}</script>'
        '<script defer src="_static/vendor/mathjax/tex-mml-chtml.js"></script></head>'
        f'<body>{cover}<nav id="contents"><h1>Contents</h1><ol>{"".join(contents)}</ol></nav>'
        '<main class="bd-main"><div class="bd-content"><div class="bd-article-container">'
        f"{''.join(body)}</div></div></main></body></html>"
    )


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def write(root: Path, out: Path, only: str = "") -> None:
    """Print the book of the site at `root`/_build/html to the file `out`."""
    from playwright.sync_api import sync_playwright

    site = root / "_build" / "html"
    program = browser.find()
    if not program:
        raise FileNotFoundError(browser.WHAT_TO_DO)
    page_file = site / PAGE
    page_file.write_text(one_page(root, only), encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(site))
    try:
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            chromium = playwright.chromium.launch(executable_path=program, headless=True, args=browser.FLAGS)
            page = chromium.new_page(viewport={"width": 1000, "height": 1400})
            page.set_default_timeout(3_600_000)
            page.goto(f"http://127.0.0.1:{server.server_port}/{PAGE}", wait_until="load")
            page.wait_for_function("!window.MathJax?.startup || MathJax.startup.promise.then(() => true)")
            margin = {"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
            footer = {"display_header_footer": True, "header_template": "<span></span>", "footer_template": FOOTER}
            page.pdf(
                path=str(out), format="A4", margin=margin, outline=True, tagged=True, print_background=True, **footer
            )
            chromium.close()
            server.shutdown()
    finally:
        page_file.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="PART", help="documents whose path has this, e.g. splatting/")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "book.pdf")
    given = parser.parse_args()
    if not (ROOT / "_build" / "html" / "index.html").is_file():
        print("There is no site yet: run `make book` first.", file=sys.stderr)
        return 1
    write(ROOT, given.out, given.only)
    print(f"The book is in {given.out}, {given.out.stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
