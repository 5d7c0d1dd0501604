"""Two real processes for a function that a reader wrote in a cell.

A cell's function cannot be imported elsewhere, so its source goes along: into a script that imports what the page imports,
connects to the other process through gloo, and calls the function.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
import sys
import tempfile
import textwrap
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

SECONDS = 240  # that the two may take on a busy machine

SCRIPT = """\
import sys
{imports}

torch.set_num_threads(1)
folder, rank = sys.argv[1], int(sys.argv[2])
calls = torch.load(folder + "/calls", weights_only=True)
dist.init_process_group("gloo", init_method=sys.argv[3], rank=rank, world_size=2)


{source}

try:
    results = [{name}(*call) for call in calls]
    if rank == 0:
        torch.save(results, folder + "/results")
    dist.barrier()
finally:
    dist.destroy_process_group()
"""
_last: weakref.WeakKeyDictionary[Callable[..., Any], Any] = weakref.WeakKeyDictionary()


def run(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any] | str:
    """What `function` returns for each of the calls in process 0 of two, or the last lines that a process wrote when it failed.

    A function is run once: its properties look at the same results.
    """
    if function not in _last:
        _last[function] = _run(function, calls)
    return _last[function]


def _run(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any] | str:
    from . import IMPORTS

    source = textwrap.dedent(inspect.getsource(function))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = SCRIPT.format(imports=IMPORTS.strip(), source=source, name=function.__name__)
        (folder / "script.py").write_text(script, encoding="utf-8")
        torch.save([list(call) for call in calls], folder / "calls")
        command = [sys.executable, "script.py", str(folder)]
        where = (folder / "meeting").as_uri()
        settings: dict[str, Any] = dict(
            cwd=folder, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        both = [subprocess.Popen([*command, str(rank), where], **settings) for rank in (0, 1)]
        try:
            written = [process.communicate(timeout=SECONDS)[1] for process in both]
        except subprocess.TimeoutExpired:
            return f"nothing after {SECONDS} s: does one process wait for a message that the other does not send?"
        finally:
            for process in both:
                process.kill()
                process.wait()
        failed = [text.strip() for process, text in zip(both, written, strict=True) if process.returncode]
        if failed:  # the one that failed by itself, not the one that lost its partner
            return "\n".join(min(failed, key=_lost_partner).splitlines()[-4:])
        results: list[Any] = torch.load(folder / "results", weights_only=True)
        return results


def _lost_partner(text: str) -> bool:
    """Whether gloo complains that the other process has gone; its words depend on what it was waiting for."""
    return any(words in text for words in ("onnection closed", "onnection reset", "logs of the remote worker"))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """This process as a group of one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()
