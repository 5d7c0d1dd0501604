"""Run notebooks from top to bottom and store their outputs, clean and signed.

    python scripts/execute.py                     every notebook
    python scripts/execute.py NOTEBOOK ...        these
    python scripts/execute.py --stale             those whose fingerprint no longer fits
    python scripts/execute.py --check             run nothing; exit 1 and say which are stale and why
    python scripts/execute.py --colab-cell        run nothing; write the cell that installs the package on Colab

A notebook that fails is reported with its cell and left as it was. When a run gives the outputs that are stored
already, the stored measurement stays too, so that the file does not change; --remeasure takes the new one.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import os
import platform
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import form
import nbformat
import psutil
import stored
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from stored import ROOT, NotebookError

from bestpapers.lab.machine import cores, in_words

CELL_TIMEOUT = (
    3600  # the longest cell takes a minute alone: a machine ten times slower, and other work on it, may finish
)
VERSIONS = ("torch", "numba", "numpy", "matplotlib", "bestpapers")


def environment(base: dict[str, str] | None = None) -> dict[str, str]:
    """Environment in which stored outputs are made and compared: one thread per library, no progress bars, laptop."""
    env = dict(os.environ if base is None else base)
    env.pop("MPLBACKEND", None)  # the kernel sets the inline back end itself
    # Waiting threads sleep instead of spinning: with several notebooks at work a spinning one keeps its partner off the core.
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "BESTPAPERS_NO_PROGRESS": "1"}
    return env | quiet | {"BESTPAPERS_PRESET": "laptop"}


class PeakMemory(threading.Thread):
    """Peak of the resident memory of a process and its children, until told to stop.

    Of the process itself the system keeps a high-water mark, which `mark` reads: it holds however busy the machine is. Of
    the process with its children there is none, so they are sampled.
    What several processes share, such as the code of torch, counts once, as it does for the system. To count it so takes the
    system a while and stops the processes meanwhile, so the sampling rests for fifty times as long as it took.
    """

    def __init__(self, pid: int, every: float = 0.05):
        super().__init__(daemon=True)
        self.process, self.every, self.done = psutil.Process(pid), every, threading.Event()
        self.sampled = self.marked = 0

    @property
    def peak(self) -> int:
        """Bytes."""
        return max(self.sampled, self.marked)

    def mark(self) -> None:
        """Take the system's own high-water mark of the process, where it has one (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            found = [line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
            self.marked = max([self.marked, *(1024 * int(kib) for _, kib, _ in found)])

    def run(self) -> None:
        rest = self.every
        while not self.done.wait(rest):
            began = time.perf_counter()
            try:
                children = self.process.children(recursive=True)
                total = sum(map(_share, [self.process, *children])) if children else self.process.memory_info().rss
            except psutil.Error:  # a process ended between listing and reading
                continue
            self.sampled = max(self.sampled, total)
            rest = max(self.every, 50 * (time.perf_counter() - began))


def _share(process: psutil.Process) -> int:
    """Resident memory in bytes, shared pages divided among those who hold them where the system tells (Linux)."""
    full = process.memory_full_info()
    return getattr(full, "pss", full.rss)


def run(nb: Any, path: Path, where: str, say: Any, timeout: int = CELL_TIMEOUT) -> tuple[float, float]:
    """Execute `nb` in place, in the folder of `path`. Returns (seconds, peak memory in MB of the kernel)."""
    code = [c for c in nb.cells if c.cell_type == "code"]
    at: dict[str, Any] = {"cell": None, "started": 0.0, "memory": None}

    def notebook_start(**_: Any) -> None:
        at["memory"] = PeakMemory(client.km.provisioner.pid)
        at["memory"].start()

    def cell_start(cell: Any, **_: Any) -> None:
        at["cell"], at["started"] = cell, time.perf_counter()

    def cell_done(cell: Any, **_: Any) -> None:
        at["memory"].mark()
        seconds = time.perf_counter() - at["started"]
        say(f"    {code.index(cell) + 1:3d}/{len(code)}  {cell.id:40s} {seconds:6.1f} s")

    client = NotebookClient(
        nb,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # what a cell prints is one output, however slowly it comes
        resources={"metadata": {"path": str(path.parent)}},
        on_notebook_start=notebook_start,
        on_cell_execute=cell_start,
        on_cell_executed=cell_done,
    )
    begin = time.perf_counter()
    try:
        client.execute(env=environment())
    except CellTimeoutError as e:
        raise NotebookError(f'{where}, cell "{at["cell"].id}": took longer than {timeout} s') from e
    except DeadKernelError as e:
        raise NotebookError(f'{where}, cell "{at["cell"].id}": the kernel died, perhaps out of memory') from e
    except CellExecutionError as e:
        raise NotebookError(f'{where}, cell "{at["cell"].id}": {e.ename}: {e.evalue}\n{e.traceback}') from None
    finally:
        if at["memory"] is not None:
            at["memory"].done.set()
            at["memory"].join()
    return time.perf_counter() - begin, at["memory"].peak / 1e6


def execute(path: Path, root: Path = ROOT, remeasure: bool = False, say: Any = print) -> bool:
    """Run one notebook and store it. Returns True when the file changed.

    Raises NotebookError, with the file left as it was, when a cell fails, an id is not readable, a figure has no alt
    text, an output holds a path of this machine or digits that others would not get, or something is too wide or long.
    """
    where = stored.name(path, root)
    before = path.read_text(encoding="utf-8")
    stored.check_ids(before, where)
    nb = nbformat.reads(before, as_version=4)
    old = copy.deepcopy(nb)
    stored.put_colab_cell(nb, stored.repository(root))
    form.refuse(form.wide_cells(nb, where))  # known before the run, which may be long
    stored.clear(nb)
    signature = stored.fingerprint(nb, path, root)
    seconds, peak = run(nb, path, where, say)
    if stored.fingerprint(nb, path, root) != signature:
        raise NotebookError(f"{where}: the library changed while it ran. Run it again")
    stored.normalise(nb)
    stored.copy_alt(nb, where)
    stored.refuse_machine_paths(nb, where, root)
    form.fold(nb)
    form.refuse(form.check(nb, where))
    record = {
        "fingerprint": signature,
        "seconds": round(seconds, 1),
        "peak_mb": round(peak),
        "cores": cores(),
        "machine": in_words(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version()} | {p: metadata.version(p) for p in VERSIONS},
    }
    kept = old.metadata.get("bestpapers", {})
    if not remeasure and kept.get("fingerprint") == signature and stored.outputs(old) == stored.outputs(nb):
        record = kept
    nb.metadata["bestpapers"] = record
    stored.put_cost(nb, stored.cost_line(record["seconds"], record["peak_mb"], record["cores"]))
    nbformat.validate(nb)
    after = nbformat.writes(nb, version=4) + "\n"
    say(f"    {seconds:.1f} s, {peak:.0f} MB" + ("" if after != before else ": outputs as stored, file unchanged"))
    if after == before:
        return False
    stored.write(path, after)
    return True


def stale(paths: list[Path], root: Path = ROOT) -> dict[Path, list[str]]:
    """The notebooks whose stored outputs no longer fit, each with its reasons."""
    reasons = {p: stored.why_stale(nbformat.read(p, as_version=4), p, root) for p in paths}
    return {p: why for p, why in reasons.items() if why}


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="*", type=Path, help="default: all of notebooks/")
    parser.add_argument("--stale", action="store_true", help="only those whose fingerprint no longer fits")
    parser.add_argument("--check", action="store_true", help="run nothing, report stale notebooks")
    parser.add_argument("--colab-cell", action="store_true", help="only write the Colab cell")
    parser.add_argument("--remeasure", action="store_true", help="store seconds and memory even if no output changed")
    options = parser.parse_args(arguments)
    paths = [p.resolve() for p in options.notebook] or stored.notebooks(root)
    for p in paths:
        if not p.is_file() or p.suffix != ".ipynb":
            parser.error(f"there is no notebook {p}")
    if options.check:
        return check(paths, root)
    if options.colab_cell:
        for p in paths:
            nb = nbformat.read(p, as_version=4)
            if stored.put_colab_cell(nb, stored.repository(root)):
                stored.write(p, nbformat.writes(nb, version=4) + "\n")
                print(f"{stored.name(p, root)}: Colab cell written")
        return 0
    if options.stale:
        reasons = stale(paths, root)
        print(f"{len(paths)} notebooks, {len(reasons)} with outputs that no longer fit")
        paths = list(reasons)
    else:
        reasons = {}
    failures = []
    for i, p in enumerate(paths, 1):
        why = f" ({', '.join(reasons[p])})" if p in reasons else ""
        print(f"[{i}/{len(paths)}] {stored.name(p, root)}{why}", flush=True)
        try:
            execute(p, root, options.remeasure, say=lambda text: print(text, flush=True))
        except NotebookError as e:
            failures.append(p)
            print(f"FAILED {e}\n(the stored notebook is unchanged)", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print(f"stopped: {stored.name(p, root)} is unchanged", file=sys.stderr)
            return 130
    if failures:
        print(f"{len(failures)} of {len(paths)} notebooks failed", file=sys.stderr)
    return 1 if failures else 0


def check(paths: list[Path], root: Path = ROOT) -> int:
    """Report what is wrong with the stored notebooks, running nothing. Returns the exit status."""
    problems = []
    for p in paths:
        nb, where = nbformat.read(p, as_version=4), stored.name(p, root)
        problems += [f"{where} is stale: {why}" for why in stored.why_stale(nb, p, root)]
        if stored.put_colab_cell(copy.deepcopy(nb), stored.repository(root)):
            problems.append(f"{where}: its first code cell is not the Colab cell (scripts/execute.py --colab-cell)")
        try:
            stored.check_ids(p.read_text(encoding="utf-8"), where)
            stored.copy_alt(aligned := copy.deepcopy(nb), where)
            if aligned != nb:
                problems.append(f"{where}: alt text in cell metadata differs from the figures'")
            stored.refuse_machine_paths(nb, where, root)
            form.fold(folded := copy.deepcopy(nb))
            if other := [c.id for c, want in zip(nb.cells, folded.cells) if c != want]:
                problems.append(f"{where}: cells that only draw or record are folded, others not: {', '.join(other)}")
            problems += form.check(folded, where)
            for cell in nb.cells:
                stored.tolerance(cell, where)
        except NotebookError as e:
            problems.append(str(e))
    for line in problems:
        print(line)
    print(f"{len(paths)} notebooks checked, {len(problems)} problems" + (": `make execute`" if problems else ""))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
