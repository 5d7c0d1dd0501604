"""One progress bar for notebooks, terminals and scripts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm.std import tqdm

VARIABLE = "BESTPAPERS_NO_PROGRESS"


def progress(iterable: Iterable[Any] | None = None, desc: str | None = None, **kw: Any) -> tqdm:
    """Wrap `iterable` in a progress bar: a widget in a notebook, a line of text in a terminal.

    iterable  anything iterable, or None together with `total=`: then call `.update(n)` yourself, best in a `with` block
    desc      what is being done, in a few words
    kw        whatever tqdm takes: total, unit, leave, ...; `.set_postfix(loss=...)` on the result shows values

    The bar is silent when the environment variable BESTPAPERS_NO_PROGRESS is set to anything but 0. Rendering and testing
    set it, since a bar holds times and these differ from run to run. (tqdm's own TQDM_DISABLE does not reach its notebook
    bar, hence this one.)
    """
    from tqdm.auto import tqdm

    silent = os.environ.get(VARIABLE, "0") not in ("", "0")
    kw.setdefault("dynamic_ncols", True)
    kw["disable"] = silent or bool(kw.get("disable"))
    return tqdm(iterable, desc=desc, **kw)
