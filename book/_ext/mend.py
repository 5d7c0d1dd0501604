"""Mend what the theme and the extensions write, page by page, when the site is written.

Scripts that a page has no use for go: the search, MathJax where there are no formulas, and the icons as a script of 1.5 MB, for
which icons.py makes a small font. What is seen gets names for who listens, a page gets a description for who shares it, buttons
get words, figures get numbers. Each function takes the text of a page and returns the mended text; twice is the same as once.
`html.baseurl` of _config.yml says where the site lives: without it there is no canonical link and no picture of a shared link.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path

from icons import subset
from PIL import Image

SEARCH = ("searchtools.js", "language_data.js", "searchindex.js")
PICTURE = "_static/readme.png"  # what a shared link shows
COST = re.compile(
    r"\bto read\b.*·|for the core\b|^\d+ to \d+ minutes"
)  # what a notebook costs says nothing of what it is about
PAPER = (0xFC, 0xFC, 0xFA)  # the ground of the book's own figures: plots.BACKGROUND
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
    drawings = {p.name for p in folder.glob("_images/*.png") if is_drawing(p)}
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name.startswith("_"):
            continue
        old = path.read_text(encoding="utf-8")
        new = dark(page(old, name, title, base, root, wings), drawings)
        if new != old:
            path.write_text(new, encoding="utf-8")
    subset(folder)
    for useless in folder.glob("_static/**/*.map"):
        useless.unlink()


def page(
    text: str, name: str, title: str, base: str = "", root: str = "index", wings: dict[str, int] | None = None
) -> str:
    """The page `name` (its address without suffix), mended."""
    if 'http-equiv="Refresh"' in text:  # the page that only leads on to the first one
        return text
    text = buttons(names(scripts(text, name)))
    text = chapter_links(text, name, wings or {}).replace('href="ROOT/', f'href="{"../" * name.count("/")}')
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
    text = re.sub(r"<th\b([^>]*)>\s*(?:<p>\s*</p>)?\s*</th>", r"<td\1></td>", text)
    text = re.sub(r'(<button class="btn search-button-field[^>]*?)\s+aria-label="Search"', r"\1", text)
    side = '<div id="pst-primary-sidebar" class="bd-sidebar-primary bd-sidebar">'
    return text.replace(side, side[:-1] + ' role="region" aria-label="The book">')


def buttons(text: str) -> str:
    """Words on the buttons above the page, and the two that run a notebook without a menu."""

    def launch(menu: re.Match) -> str:
        links = re.findall(r'(?s)<a href="([^"]+)".*?title="Launch on (\w+)"', menu[0])
        icon = '<i class="fas fa-rocket" aria-hidden="true"></i>'
        return "".join(
            f'<a href="{href}" target="_blank" class="btn btn-sm launch">{icon if not k else ""}'
            f'<span><span class="run">Run on </span>{where}</span></a>'
            for k, (href, where) in enumerate(links)
        )

    text = re.sub(r'(?s)<div class="dropdown dropdown-launch-buttons">.*?</ul>\s*</div>', launch, text)
    words = {".ipynb": "Notebook", ".md": "Source", ".pdf": "Print, PDF"}
    for suffix, word in words.items():
        text = text.replace(
            f'<span class="btn__text-container">{suffix}</span>', f'<span class="btn__text-container">{word}</span>'
        )
    return text


def chapter_links(text: str, name: str, wings: dict[str, int]) -> str:
    """A link that reads `3_reproduce` reads 1.3 (Reproduce), as the contents do."""

    def read(link: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link[2]))
        found = NUMBERED.fullmatch(target)
        words = re.sub(r"<[^>]+>", "", link[3])
        if not found or words != target.rpartition("/")[2] or found[1] not in wings:
            return link[0]
        return f"{link[1]}{wings[found[1]]}.{found[2]} ({words.partition('_')[2].capitalize()})</a>"

    return re.sub(
        r'(<a class="reference internal" href="([^"#:]+)\.html(?:#[^"]*)?">)((?:<[^a>][^>]*>)*\d_\w+(?:</\w+>)*)</a>',
        read,
        text,
    )


def is_drawing(path: Path) -> bool:
    """Whether a picture is curves and letters on the book's paper: few colours, and most of it paper."""
    with Image.open(path) as image:
        if image.mode != "P":
            return False
        palette, counts = image.getpalette(), image.histogram()
    most = max(range(len(counts)), key=counts.__getitem__)
    return tuple(palette[3 * most : 3 * most + 3]) == PAPER and 2 * counts[most] > sum(counts)


def dark(text: str, drawings: set[str]) -> str:
    """Drawings with a mark, by which a dark page turns their lightness round (book.css)."""
    return re.sub(
        r'<img (?!data-drawn)(?=[^>]*src="[^"]*/([\w.-]+)")',
        lambda found: "<img data-drawn " if found[1] in drawings else found[0],
        text,
    )


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
