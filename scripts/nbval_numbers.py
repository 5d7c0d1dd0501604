"""Compares a cell's fresh outputs with its stored ones as numbers, within the tolerance that the cell states.

nbval compares texts. What a training run prints differs in its last digits from processor to processor, so a cell that
prints such numbers says in its metadata by how much they may differ:

    "bestpapers": {"tolerance": {"abs": 0.1}}      abs     in the unit that is printed, such as dB
                                                   rel     times the stored number
                                                   levels  of 255, for pictures in a widget's state (1 where none is given)

Then words must still be the same, and so must the count of numbers; numbers may differ by the greatest of `abs`, `rel` times
the stored number and one unit of their last printed digit, since a number that lies on the edge of rounding falls to either
side. Whole numbers are counts, which `abs` alone loosens. Cells without a tolerance are compared strictly, as texts.

Besides, a kernel that dies is noticed at once, while nbval alone waits for its answer until the time of the cell is over.

notebooks/conftest.py makes this a plugin of pytest wherever notebooks are run. `python -m pytest --nbval` uses it.
"""

from __future__ import annotations

import base64
import html
import io
import json
import queue
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import stored

# not the digits of a colour (#1e8449); no exponent has three digits
NUMBER = re.compile(r"(?<![\w.#])[-+−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,2}(?!\d))?")
BYTES = re.compile(r'\{"b64": "([A-Za-z0-9+/]*=*)"(?:, "floats": "(<f[248])")?\}')
SHOWN = 8  # differences that a message lists


Tolerance = dict[str, float] | None  # None: nothing may differ


def differences(old: str, new: str, tolerance: Tolerance) -> list[str]:
    """How the text of a fresh output differs from the stored one, in words; empty where it agrees within the tolerance."""
    old, new = html.unescape(old), html.unescape(new)
    found = [
        line
        for number, (one, other) in enumerate(zip(BYTES.finditer(old), BYTES.finditer(new)), 1)
        if one.groups() != other.groups()
        for line in _bytes(one, other, tolerance, f"bytes {number}")
    ]
    old, new = BYTES.sub("{bytes}", old), BYTES.sub("{bytes}", new)
    # blanks are no words: a table moves them when a number has one digit more
    words = [[re.sub(r"[ \t]+", " ", part).strip(" ") for part in NUMBER.split(text)] for text in (old, new)]
    before, after = list(NUMBER.finditer(old)), list(NUMBER.finditer(new))
    if words[0] != words[1]:
        if len(before) != len(after):
            found.append(f"{len(after)} numbers, {len(before)} are stored")
        at = next((i for i, (a, b) in enumerate(zip(*words)) if a != b), None)
        if at is not None:
            found.append(f"other words: {_short(words[1][at])!r}, stored are {_short(words[0][at])!r}")
        return found
    for one, other in zip(before, after):
        apart, allowed = _apart(one.group(), other.group(), tolerance)
        if apart > allowed * (1 + 1e-9):
            place = _short(old[max(0, one.start() - 40) : one.start()].replace("\n", " ").strip(), last=True)
            found.append(f"{other.group()} for {one.group()} after {place!r}: {apart:.3g} apart, {allowed:.3g} allowed")
    return found


def _short(text: str, last: bool = False) -> str:
    return text if len(text) <= 60 else f"...{text[-57:]}" if last else f"{text[:57]}..."


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("−", "-"))


def _unit(number: str) -> float:
    """One unit of the last printed digit; 0 for whole numbers."""
    mantissa, _, exponent = number.lower().partition("e")
    digits = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - digits) if digits or exponent else 0.0


def _apart(old: str, new: str, tolerance: Tolerance) -> tuple[float, float]:
    """By how much two numbers differ, and by how much they may."""
    a, b, allowed = _value(old), _value(new), 0.0
    unit = min((u for u in map(_unit, (old, new)) if u), default=0.0)  # JSON leaves trailing zeros out
    if tolerance is not None:
        allowed = tolerance.get("abs", 0.0)
        if unit:
            allowed = max(allowed, unit, tolerance.get("rel", 0.0) * abs(a))
    return abs(a - b), allowed


def _bytes(one: re.Match[str], other: re.Match[str], tolerance: Tolerance, name: str) -> Iterator[str]:
    """Compare the bytes of two states: pictures by their pixels, arrays of floats by their numbers."""
    import numpy as np
    from PIL import Image

    data = [base64.b64decode(m.group(1)) for m in (one, other)]
    kind = one.group(2)
    if all(d.startswith((b"\x89PNG", b"RIFF")) for d in data):
        old, new = (np.asarray(Image.open(io.BytesIO(d)).convert("RGBA"), dtype=np.int16) for d in data)
        allowed = 0.0 if tolerance is None else tolerance.get("levels", 1.0)
        if old.shape != new.shape:
            yield f"{name}: a picture of {new.shape[:2]}, stored is one of {old.shape[:2]}"
        elif (most := int(np.abs(old - new).max())) > allowed:
            yield f"{name}: a picture with pixels {most} of 255 levels apart, {allowed:g} allowed"
    elif kind and kind == other.group(2) and len(data[0]) == len(data[1]):
        old, new = (np.frombuffer(d, kind) for d in data)
        with np.errstate(invalid="ignore"):
            unit = np.spacing(np.maximum(np.abs(old), np.abs(new))).astype(float)
        old, new = old.astype(float), new.astype(float)
        given = tolerance or {}
        allowed = np.maximum(np.maximum(given.get("abs", 0.0), given.get("rel", 0.0) * np.abs(old)), unit)
        if tolerance is None:
            allowed = np.zeros_like(old)
        if bad := int((~(np.abs(old - new) <= allowed)).sum()):
            yield f"{name}: {bad} of {len(old)} numbers differ, by {np.abs(old - new).max():.3g} at most"
    else:
        yield f"{name}: other bytes ({len(data[1])}, {len(data[0])} are stored)"


# --- the plugin


def _texts(item: Any, outputs: list[Any]) -> dict[str, list[str]]:
    """The outputs as nbval compares them: name of a stream, or MIME type -> texts, sanitised, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for output in outputs:
        if output.output_type == "stream":
            found[output.name].append(item.sanitize(output.text))
            continue
        for key, value in {**output, **output.get("data", {})}.items():
            if key not in item.parent.skip_compare and key not in ("data", "output_type", "metadata"):
                text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
                found[key].append(item.sanitize(text))
    return found


def compare(item: Any, fresh: list[Any], kept: list[Any], tolerance: Tolerance) -> list[str]:
    """How a cell's outputs differ, in words; empty where they agree within the tolerance."""
    old, new = _texts(item, kept), _texts(item, fresh)
    lines = [
        f"{key}: {len(new[key])} outputs, {len(old[key])} are stored"
        for key in sorted(old.keys() | new.keys())
        if len(old[key]) != len(new[key])
    ]
    for key in sorted(old.keys() & new.keys()):
        for a, b in zip(old[key], new[key]):
            found = differences(a, b, tolerance)
            lines += [f"{key}: {line}" for line in found[:SHOWN]]
            lines += [f"{key}: and {len(found) - SHOWN} more differences"] if len(found) > SHOWN else []
    return lines


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Put this comparison in the place of nbval's, cell by cell."""
    for item in items:
        if type(item).__name__ == "IPyNbCell":
            _replace(item, item.compare_outputs)


def pytest_runtest_call(item: Any) -> None:
    """Watch the kernel of the cell's notebook while it is waited for."""
    if type(item).__name__ == "IPyNbCell" and "await_reply" not in vars(item.parent.kernel):
        item.parent.kernel.await_reply = _patient(item.parent.kernel)


def _patient(kernel: Any, every: float = 5.0) -> Any:
    """`kernel.await_reply`, which looks `every` so many seconds whether the kernel lives."""
    wait = kernel.await_reply

    def await_reply(msg_id: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while True:
            try:
                return wait(msg_id, timeout=min(every, max(0.0, end - time.monotonic())))
            except queue.Empty:
                if not kernel.is_alive():
                    raise RuntimeError("the kernel died, perhaps out of memory") from None
                if time.monotonic() >= end:
                    raise

    return await_reply


def _replace(item: Any, strictly: Any) -> None:
    tolerance = stored.tolerance(item.cell, str(item.path.name))

    def compare_outputs(test: list[Any], ref: list[Any], skip_compare: Any = None) -> bool:
        if tolerance is None and strictly(test, ref, skip_compare):
            return True
        lines = compare(item, test, ref, tolerance)
        if tolerance is not None:
            item.comparison_traceback = [f"Not within the tolerance {json.dumps(tolerance)}:", *lines]
            return not lines
        item.comparison_traceback += ["In numbers:", *lines] if lines else []
        return False

    item.compare_outputs = compare_outputs
