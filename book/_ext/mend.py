"""Mend what the theme and the extensions write, page by page, when the site is written.

Scripts that a page has no use for go: the search, MathJax where there are no formulas, and the icons as a script of 1.5 MB, for
which icons.py makes a small font. What is seen gets names for who listens, a page gets a description for who shares it, buttons
get words, figures get numbers. Each function takes the text of a page and returns the mended text; twice is the same as once.
`html.baseurl` of _config.yml says where the site lives: without it there is no canonical link and no picture of a shared link.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from icons import subset

SEARCH = ("searchtools.js", "language_data.js", "searchindex.js")
PICTURE = "_static/readme.png"  # what a shared link shows
COST = re.compile(
    r"\bto read\b.*·|for the core\b|^\d+ to \d+ minutes"
)  # what a notebook costs says nothing of what it is about
NUMBERED = re.compile(r"notebooks/(\w+)/(\d+)_\w+")


def setup(app):
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def finish(app, exception):
    if exception is not None or app.builder.name != "html":
        return
    wings = wing_numbers(app.config)
    site(Path(app.outdir), app.config.project, app.config.html_baseurl, app.config.root_doc, wings)


def wing_numbers(config) -> dict[str, int]:
    from bestpapers.course import WINGS

    return {wing: k for k, wing in enumerate(WINGS, 1)}


def site(folder: Path, title: str, base: str, root: str, wings: dict[str, int]) -> None:
    """Mend all pages of a built site."""
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name.startswith("_"):
            continue
        old = path.read_text(encoding="utf-8")
        new = page(old, name, title, base, root, wings)
        if new != old:
            path.write_text(new, encoding="utf-8")
    subset(folder)
    for useless in folder.glob("_static/**/*.map"):
        useless.unlink()


def page(
    text: str, name: str, title: str, base: str = "", root: str = "index", wings: dict[str, int] | None = None
) -> str:
    """The page `name` (its address without suffix), mended."""
    if "<article" not in text:  # the page that only leads on to the first one
        return text
    text = names(scripts(text, name))
    text = meta(text, name, title, base, root)
    if found := NUMBERED.fullmatch(name):
        text = figures(text, f"{(wings or {}).get(found[1], 0)}.{found[2]}")
    return text


def scripts(text: str, name: str) -> str:
    """Without the scripts that the page has no use for. With searchtools.js a page would not mark what was searched for."""
    gone = ["fontawesome.js"]
    if name != "search":
        gone += SEARCH
    if 'class="math ' not in text:
        gone.append("mathjax/tex-mml-chtml.js")
        text = re.sub(r"\s*<script>window\.MathJax = .*?</script>", "", text)
    for script in gone:
        text = re.sub(rf'\s*<script[^>]*src="[^"]*{re.escape(script)}[^"]*"[^>]*></script>', "", text)
    return text


def names(text: str) -> str:
    """Names that say what is seen, header cells that are none, and all of the page inside a landmark."""
    text = text.replace(' aria-label="Toggle hidden content"', "")
    text = re.sub(r"<th\b([^>]*)>\s*</th>", r"<td\1></td>", text)
    text = re.sub(r'(<button class="btn search-button-field[^>]*?)\s+aria-label="Search"', r"\1", text)
    side = '<div id="pst-primary-sidebar" class="bd-sidebar-primary bd-sidebar">'
    return text.replace(side, side[:-1] + ' role="region" aria-label="The book">')


def meta(text: str, name: str, title: str, base: str, root: str) -> str:
    """Description, OpenGraph and, where the site's address is known, the canonical link."""
    if 'property="og:title"' in text:
        return text
    text = re.sub(r'\s*<meta name="docsearch:[^>]*>', "", text)
    text = re.sub(r'\s*<link rel="canonical"[^>]*>', "", text)
    first, *more = re.findall(r'\s*<meta name="viewport"[^>]*>', text)
    for tag in more:
        text = text.replace(tag, "", 1) if tag != first else text
    of_page = html.unescape(re.search(r"<title>(.*?)(?: &#8212; .*?)?</title>", text, re.S)[1]).strip()
    words = description(text)
    rows = [("og:type", "website"), ("og:site_name", title), ("og:title", of_page), ("og:description", words)]
    lines = [f'<meta name="description" content="{html.escape(words)}">'] if words else []
    if base:
        base = base.rstrip("/") + "/"
        address = base if name == root else f"{base}{name}.html"
        if name == "404":  # given out under any address
            lines.insert(0, f'<base href="{html.escape(base)}">')
        elif name != "search":
            lines.append(f'<link rel="canonical" href="{html.escape(address)}">')
        rows += [("og:url", address), ("og:image", base + PICTURE)]
        lines.append('<meta name="twitter:card" content="summary_large_image">')
    lines += [f'<meta property="{key}" content="{html.escape(value)}">' for key, value in rows if value]
    return text.replace("</title>", "</title>\n    " + "\n    ".join(lines), 1)


def description(text: str, longest: int = 200) -> str:
    """The first paragraph that says what the page is about, cut at a sentence or a word; empty where there is none."""
    article = re.sub(
        r'(?s)<(script|style|details).*?</\1>|<div class="nbwidget".*?</div>', "", text[text.find("<article") :]
    )
    for paragraph in re.findall(r"(?s)<p>(.*?)</p>", article[: article.find("</article>")]):
        words = " ".join(html.unescape(re.sub(r"<[^>]+>", "", paragraph)).split())
        if len(words) < 60 or COST.search(words) or 'class="math ' in paragraph:
            continue
        if len(words) <= longest:
            return words
        end = max(words.rfind(stop, 60, longest) for stop in (". ", "? "))
        return words[: end + 1] if end > 0 else words[:longest].rsplit(" ", 1)[0] + " …"
    return ""


def figures(text: str, chapter: str) -> str:
    """Figures of a notebook with numbers and anchors, counted by their captions."""
    count = 0

    def number(found: re.Match) -> str:
        nonlocal count
        count += 1
        key = f"figure-{chapter.replace('.', '-')}-{count}"
        link = f'<a class="headerlink" href="#{key}" title="Link to this figure">#</a>'
        return f'{found[1]} id="{key}"{found[2]}><b>Figure {chapter}.{count}</b> {found[3]}{link}</p>'

    return re.sub(r'(?s)(<p class="nb-caption")( style="[^"]*")?>((?!<b>Figure ).*?)</p>', number, text)
