"""House style of figures, and the one way to show them: with alternative text and a caption.

Two sets of colours. `WING` holds one colour for each of the four papers, used wherever that paper is meant. `PALETTE` holds
six colours for curves and bars. It is made for readers who do not see all colours and for grey print: neighbours in
lightness are at least 9 units of CIELAB apart, any two colours differ by at least 30 units under simulated red, green and blue
blindness, and each has a contrast of 3:1 or more to the background. `use()` joins each colour with a line style and a
marker, so that no meaning rests on colour alone.

The background is opaque and nearly white: a figure stays readable on a dark page.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from . import WINGS
from .display import required_text, show_bundle

WING = dict(zip(WINGS, ("#0072B2", "#009E73", "#D55E00", "#CC79A7")))
PALETTE = ("#0035C7", "#BC2612", "#14A584", "#330143", "#A65BBC", "#69011D")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "X")
BACKGROUND = "#FCFCFA"
INK = "#1F1F1F"
DPI = 100  # at which a figure has its size on the page
SHARP = 2  # pixels of a stored figure to each of these, for screens that show them
# a palette of 256 colours takes the place of full colour where nobody sees it: of 255, the mean and the largest error
UNSEEN = (0.6, 16)
STEP = 4  # elsewhere colours are rounded to multiples of this, of 255: nobody sees 2 levels, and a quarter of the bytes goes

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": BACKGROUND,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=LINES) + cycler(marker=MARKERS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.dpi": DPI,
    "figure.facecolor": BACKGROUND,
    "figure.figsize": (6.4, 3.6),
    "font.size": 10.0,
    "grid.color": "#D9D9D6",
    "grid.linewidth": 0.6,
    "image.cmap": "cividis",  # even steps of lightness, made for colour blindness
    "image.interpolation": "nearest",
    "legend.edgecolor": "none",
    "legend.facecolor": BACKGROUND,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "savefig.dpi": DPI,
    "savefig.facecolor": BACKGROUND,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def use() -> None:
    """Set the house style for every figure made from now on."""
    mpl.rcParams.update(_STYLE)


def png(fig: Figure, sharp: int = 1) -> bytes:
    """Return the figure as PNG of `sharp` times 100 dpi (or its own, if that is lower), opaque, the same bytes on each run.

    Curves and letters have few colours: they get a palette, which takes half the bytes. Renderings and photographs, in which
    256 colours would show as bands, keep theirs, 64 levels of each channel.
    """
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=sharp * min(fig.dpi, DPI), transparent=False)
    full = Image.open(buffer).convert("RGB")  # the background is opaque
    few = full.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    pixels = np.asarray(full, np.int16)
    error = np.abs(np.asarray(few.convert("RGB"), np.int16) - pixels)
    rounded = Image.fromarray(np.minimum((pixels + STEP // 2) // STEP * STEP, 255).astype(np.uint8))
    kept = few if error.mean() <= UNSEEN[0] and error.max() <= UNSEEN[1] else rounded
    out = io.BytesIO()  # with no field that names a program and its version
    kept.save(out, format="PNG", optimize=True)
    return out.getvalue()


def show(fig: Figure, *, alt: str, caption: str) -> None:
    """Show a figure with its alternative text and its caption, then close it.

    alt      what the picture shows, for readers who do not see it: the kind of figure, its axes, what comes out
    caption  plain text under the figure; it may say more than alt, and both may hold numbers of this run

    Raises:
        ValueError: alt or caption is missing or empty. The figure is then left open.
    """
    alt = required_text(alt, "alt", "say in a sentence or two what the figure shows, for readers who do not see it")
    caption = required_text(caption, "caption", "a figure needs a line that says what to look at")
    picture = base64.b64encode(png(fig, SHARP)).decode("ascii")
    width = round(
        fig.get_figwidth() * min(fig.dpi, DPI)
    )  # pixels of the page; JupyterLab and the site's builder obey it
    show_bundle({"image/png": picture, "text/plain": alt}, {"image/png": {"alt": alt, "width": width}})
    markup = f'<p class="nb-caption" style="font-size:0.9em;margin:0 0 1em">{html.escape(caption)}</p>'
    show_bundle({"text/html": markup, "text/plain": caption})
    plt.close(fig)


def as_bytes(image: Any, name: str = "image") -> NDArray[np.uint8]:
    """Return a picture as uint8, [H, W] (grey) or [H, W, 3].

    image  array or torch tensor of that shape: uint8, bool, or floats in [0, 1]; floats outside are clipped
    name   what an error calls it

    Raises:
        ValueError: another shape or type, or NaN or infinity among the floats.
    """
    if hasattr(image, "detach"):  # a torch tensor
        image = image.detach().cpu().numpy()
    values = np.asarray(image)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3) or 0 in values.shape:
        raise ValueError(f"{name}: a picture is [H, W] or [H, W, 3], got {list(values.shape)}")
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "bf":
        raise ValueError(f"{name}: a picture is uint8, or floats in [0, 1], got {values.dtype}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: holds NaN or infinity at index {np.argwhere(~np.isfinite(values))[0].tolist()}")
    return np.rint(255 * np.clip(values, 0.0, 1.0)).astype(np.uint8)


def image_grid(
    rows: Sequence[Sequence[Any]],
    titles: Sequence[str],
    row_titles: Sequence[str] | None = None,
    notes: Sequence[Sequence[str]] | None = None,
    size: float = 1.8,
) -> Figure:
    """Lay out pictures in rows and columns, pixels shown as squares; every picture is drawn in the same width.

    rows        [R][C] pictures as `as_bytes` takes them: [H, W] (shown as grey) or [H, W, 3]
    titles      [C] above the columns
    row_titles  [R] left of the rows
    notes       [R][C] a line under each picture, for example its PSNR
    size        width of a picture in inches

    Returns the figure, to be given to `show`.
    """
    count = len(titles)
    for what, found, want in [
        *((f"row {r}", len(row), count) for r, row in enumerate(rows)),
        ("row_titles", len(rows if row_titles is None else row_titles), len(rows)),
        ("notes", len(rows if notes is None else notes), len(rows)),
        *((f"notes, row {r}", len(line), count) for r, line in enumerate(notes or [])),
    ]:
        if found != want:
            raise ValueError(f"{what}: want {want} entries, got {found}")
    images = [
        [as_bytes(image, f"row {r}, {title!r}") for image, title in zip(row, titles)] for r, row in enumerate(rows)
    ]
    heights = [max(image.shape[0] / image.shape[1] for image in row) for row in images]
    extra = 0.25 if notes else 0.05
    figsize = (size * count + (0.3 if row_titles else 0.0), size * sum(heights) + extra * len(rows) + 0.3)
    fig, axes = plt.subplots(
        len(rows), count, figsize=figsize, squeeze=False, gridspec_kw={"height_ratios": heights}, layout="constrained"
    )
    for r, row in enumerate(images):
        for c, image in enumerate(row):
            ax: Axes = axes[r, c]
            ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            ax.spines[:].set_visible(False)
            if r == 0:
                ax.set_title(titles[c])
            if c == 0 and row_titles:
                ax.set_ylabel(row_titles[r])
            if notes:
                ax.set_xlabel(notes[r][c])
    return fig


def image_row(
    images: Sequence[Any], titles: Sequence[str], notes: Sequence[str] | None = None, size: float = 1.8
) -> Figure:
    """Lay out pictures in one row: `image_grid` with a single row."""
    return image_grid([images], titles, notes=None if notes is None else [notes], size=size)


def mean_range_line(ax: Axes, x: ArrayLike, runs: ArrayLike, label: str, **kw: Any) -> None:
    """Draw the mean of several runs as a line and their range, least to greatest, as a band around it.

    x     [N] where the runs were measured
    runs  [R, N] one row for each run (seed)
    kw    for `ax.plot`
    """
    values = _runs(runs, len(np.atleast_1d(x)))
    (line,) = ax.plot(x, values.mean(0), label=label, **kw)
    ax.fill_between(x, values.min(0), values.max(0), color=line.get_color(), alpha=0.2, linewidth=0)


def _runs(runs: ArrayLike, n: int) -> NDArray[np.float64]:
    values = np.asarray(runs, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != n or not len(values):
        raise ValueError(f"runs: want [R, {n}], one row for each run, got {list(values.shape)}")
    return values
