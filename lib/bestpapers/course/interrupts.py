"""Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _never() -> bool:
    return False


asked_to_stop: Callable[[], bool] = (
    _never  # in a process of `lab.runs`: whether the one that waits for it was interrupted
)


@contextmanager
def interrupts_wait() -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C (or a polite request to end, SIGTERM); the function given says whether one came.

    A step cut in its middle could not be resumed as if nothing had happened. A second Ctrl-C raises KeyboardInterrupt at
    once. Only the main thread gets signals; in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield asked_to_stop
        return
    came = False

    def first(number: int, frame: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    before = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came or asked_to_stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
