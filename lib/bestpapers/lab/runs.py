"""Series of runs: arms and seeds side by side, and their rows in a file that says what they were made with.

    for number, scores in side_by_side(train_and_score, [(arm, seed) for seed in seeds for arm in arms]):
        ...

On the CPU runs go in processes, each with one thread: small models leave more time in Python, which lets one thread run,
than in the kernels. On a GPU they go one after the other. Under torchrun the jobs are dealt out to its processes, in turn,
and every process gets all results: so on a machine with eight GPUs

    torchrun --nproc_per_node 8 -m bestpapers.bioclip experiments --arms mixed ce --seeds 0 1 2 3 4 --out results.json

trains eight arms at a time. Results come out the same in all three ways.
"""

from __future__ import annotations

import ast
import atexit
import datetime
import functools
import hashlib
import json
import multiprocessing
import os
import pickle
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from ..course import interrupts
from ..course.presets import device as preset_device
from ..course.progress import VARIABLE as SILENT
from ..course.progress import progress
from .files import FormatError, parse_json, read_file, show, write_file
from .stats import Interval, interval, paired

MOST_WORKERS = 2  # processes at a time: each needs some 300 MB, and a session on Binder has 2 GB for all
_KEY = re.compile(r"[^/]+/[^/]+/\d+")
Found = TypeVar("Found", bound="Results")
PATIENCE = datetime.timedelta(days=30)  # of a process that has nothing to do while another one trains


# -------------------------------------------------------------------------------------------------------- side by side


def side_by_side(
    work: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    desc: str = "runs",
) -> Iterator[tuple[int, Any]]:
    """Call work(*job) for every job, several at once; gives (number of the job, what came back) as they end.

    work     a function at the top of a module: it goes to other processes by its name, jobs and results by pickle. A script
             that calls this needs `if __name__ == "__main__":`, as for all processes of Python
    workers  processes; None: one per core, at most two, and none beside this one where `device` is a GPU. One: the calls are
             made here, with one thread of torch's, as in the others

    What a job raises is raised here, and the rest is dropped. So it is after Ctrl-C: a `lab.training` run then stops at the
    end of its step.
    """
    rank, ranks = _ranks()
    if ranks > 1:
        yield from _dealt(work, jobs, rank, ranks, desc)
        return
    on_cpu = torch.device(device).type == "cpu"
    workers = min(workers or default_workers(device), len(jobs))
    if workers <= 1:
        with _one_thread() if on_cpu else nullcontext():
            for number, job in enumerate(progress(jobs, desc=desc)):
                yield number, work(*job)
        return
    pool, stop = _pool(workers)
    waiting, running = iter(enumerate(jobs)), dict[Future[bytes], int]()
    try:
        with progress(total=len(jobs), desc=desc) as bar:
            while True:
                while len(running) < workers and (
                    entry := next(waiting, None)
                ):  # packed when it is its turn, not before
                    with _environment(
                        OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1"
                    ):  # processes start with the first jobs
                        # plain bytes, not torch's way of passing tensors on, which needs more shared memory than many
                        # containers have
                        running[pool.submit(_packed, pickle.dumps((work, entry[1])))] = entry[0]
                if not running:
                    break
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(done)
                    result = pickle.loads(done.result())
                    bar.update()
                    yield number, result
    except BaseException:
        stop.set()
        pool.shutdown(cancel_futures=True)
        _pool.cache_clear()
        raise


def default_workers(device: torch.device | str = "cpu") -> int:
    """How many runs go side by side: one per core, within bounds; on a GPU one."""
    import numba

    return min(MOST_WORKERS, numba.get_num_threads()) if torch.device(device).type == "cpu" else 1


@functools.cache  # kept for the next call: importing torch and loading the kernels takes seconds
def _pool(workers: int) -> tuple[ProcessPoolExecutor, Any]:
    """The processes, and the event that stops what they are at."""
    if sys.platform == "win32":
        context: Any = multiprocessing.get_context("spawn")
    else:  # fork would copy locks that other threads hold; the server that forks here has imported and started nothing
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
    stop = context.Event()
    return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(stop,)), stop


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name)
        os.environ.update({name: before[name] for name in values if name in before})


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _start(stop: Any) -> None:
    """Ctrl-C reaches all processes of a terminal or notebook: it is the parent's to hear, which then sets `stop`."""
    import numba

    os.environ[SILENT] = "1"  # one bar, the parent's
    interrupts.asked_to_stop = stop.is_set
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)  # the server may have started before there was a word of it in the environment
    numba.set_num_threads(1)


def _packed(job: bytes) -> bytes:
    work, arguments = pickle.loads(job)
    return pickle.dumps(work(*arguments))


# ------------------------------------------------------------------------------------------------------ under torchrun


def _ranks() -> tuple[int, int]:
    """Which process of torchrun's this is, and of how many; (0, 1) without torchrun."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@functools.cache
def _everyone() -> Any:
    """The group in which results go round: on the CPU, and in no hurry."""
    if not dist.is_initialized():
        dist.init_process_group("gloo")
        atexit.register(dist.destroy_process_group)
    return dist.new_group(backend="gloo", timeout=PATIENCE)


def _dealt(
    work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], rank: int, ranks: int, desc: str
) -> Iterator[tuple[int, Any]]:
    """The same on the processes of torchrun: job i is process i % ranks's. After each round all get the round's results."""
    group = _everyone()
    if preset_device().type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with _one_thread(), progress(total=len(jobs), desc=desc, disable=rank > 0) as bar:
        for first in range(0, len(jobs), ranks):
            mine = None
            if first + rank < len(jobs):
                try:
                    mine = pickle.dumps((work(*jobs[first + rank]), None))
                except BaseException as error:  # the others must hear of it, or they wait for ever
                    mine = pickle.dumps((None, _told(error)))
            found: list[bytes | None] = [None] * ranks
            dist.all_gather_object(found, mine, group=group)
            for number, packed in enumerate(found, first):
                if packed is not None:
                    value, raised = pickle.loads(packed)
                    if raised is not None:
                        raise raised
                    bar.update()
                    yield number, value


def _told(error: BaseException) -> BaseException:
    """The error, or its words if it cannot go to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


# ----------------------------------------------------------------------------------------------------- recorded results


class Results:
    """Rows of a series in one JSON file. A row is written as soon as its run ends, and is not run again.

    rows      {"<setting>/<arm>/<seed>": {"scores": {measure: number}, ...}}
    settings  {setting: what its rows were made with}
    source    a hash of the code that decides what the data are, see `source_hash`
    about     what else the file says: command, versions, ...
    """

    def __init__(self, path: str | Path | None = None, source: str = "") -> None:
        self.path = Path(path) if path else None
        self.source, self.about = source, dict[str, Any]()
        self.settings, self.rows = dict[str, Any](), dict[str, dict[str, Any]]()
        if self.path and self.path.exists():
            value = parse_json(read_file(self.path, 1 << 28), self.path)
            for key, kind in (("source", str), ("settings", dict), ("rows", dict)):
                if not isinstance(value.get(key), kind):
                    raise FormatError(self.path, key, "results of this program", show(value.get(key)))
            for key, row in value["rows"].items():
                scores = row.get("scores") if isinstance(row, dict) else None
                if not _KEY.fullmatch(key) or not isinstance(scores, dict):
                    raise FormatError(self.path, f"rows: {key}", "<setting>/<arm>/<seed> with scores", show(row))
                for measure, score in scores.items():
                    if not isinstance(score, int | float):
                        raise FormatError(self.path, f"rows: {key}: {measure}", "a number", show(score))
            self.source, self.settings, self.rows = (value.pop(key) for key in ("source", "settings", "rows"))
            self.about = value

    def expect(self, name: str, settings: Mapping[str, Any], source: str) -> None:
        """Say what rows of a setting are made with. Raises ValueError if the file has rows of something else."""
        wanted = json.loads(json.dumps(settings))
        if self.source != source:
            raise ValueError(
                f"{self.path}: its rows were made from other data (source {self.source}, now {source}); use another file"
            )
        if self.settings.setdefault(name, wanted) != wanted:
            different = sorted(key for key in wanted if self.settings[name].get(key) != wanted[key])
            raise ValueError(
                f"{self.path}: the rows of {name!r} were made with other settings ({', '.join(different)}); use another file"
            )

    def add(self, setting: str, arm: str, seed: int, scores: Mapping[str, float], **more: Any) -> None:
        """Keep a row, and write the file. Under torchrun the first process does."""
        rounded = {name: round(value, 5) for name, value in scores.items()}
        self.rows[f"{setting}/{arm}/{seed}"] = dict(scores=rounded, **more)
        self.save()

    def save(self) -> None:
        if self.path and _ranks()[0] == 0:
            value = self.about | dict(source=self.source, settings=self.settings, rows=dict(sorted(self.rows.items())))
            write_file(self.path, (json.dumps(value, indent=1) + "\n").encode())

    def values(self, setting: str, arm: str, measure: str) -> dict[int, float]:
        """The measure of each seed."""
        out = {}
        for key, row in self.rows.items():
            name, its_arm, seed = key.split("/")
            if (name, its_arm) == (setting, arm):
                if measure not in row["scores"]:
                    raise ValueError(f"results: {key} has no measure {measure!r}; it has {', '.join(row['scores'])}")
                out[int(seed)] = row["scores"][measure]
        if not out:
            raise ValueError(f"results: there are no rows of setting {setting!r} and arm {arm!r}")
        return dict(sorted(out.items()))

    def interval(self, setting: str, arm: str, measure: str) -> Interval:
        return interval(self.values(setting, arm, measure).values())

    def paired(self, setting: str, arm: str, other: str, measure: str) -> Interval:
        """arm minus other, on the seeds that both have."""
        a, b = self.values(setting, arm, measure), self.values(setting, other, measure)
        return paired({s: a[s] for s in a if s in b}, {s: b[s] for s in b if s in a})

    def check(self, key: str, scores: Mapping[str, float], tolerance: float, skip: Iterable[str] = ()) -> float:
        """Compare the scores of a run made anew with the row "<setting>/<arm>/<seed>": the largest difference.

        skip: how names of measures begin that are left out. Raises ValueError naming what is missing, or what differs by
        more than the tolerance, the worst first.
        """
        if key not in self.rows:
            raise ValueError(f"results: there is no row {key!r}")
        was = self.rows[key]["scores"]
        if was.keys() != scores.keys():
            raise ValueError(f"results: {key} has other measures: {', '.join(sorted(was.keys() ^ scores.keys()))}")
        apart = {m: abs(scores[m] - was[m]) for m in was if not m.startswith(tuple(skip))}
        wrong = sorted((m for m in apart if not apart[m] <= tolerance), key=lambda m: -apart[m])  # NaN is wrong too
        if wrong:
            worst = ", ".join(f"{m} {scores[m]:.5f} for {was[m]:.5f}" for m in wrong[:3])
            raise ValueError(f"results: {key} made anew differs by more than {tolerance}: {worst}")
        return max(apart.values(), default=0.0)


def gathered(into: Found, folder: Path, names: Sequence[str], program: str) -> Found:
    """The recorded rows of these settings, NAME.json of each in a folder, put together `into` an empty table; what the files
    say about themselves comes by name.

    program  the command that makes them with --record NAME. Raises FormatError for a file that is missing or damaged
    """
    for name in names:
        path = folder / f"{name}.json"
        if not path.exists():
            raise FormatError(path, "file", "recorded runs", "nothing", f"make them with {program} --record {name}")
        part = Results(path)
        into.settings |= part.settings
        into.rows |= part.rows
        into.about |= {name: part.about}
    return into


def fingerprint(*tensors: Tensor) -> str:
    """A hash of what tensors hold, such as the images of training and test."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def source_hash(paths: Iterable[Path]) -> str:
    """A hash of what modules of Python say: comments, docstrings, layout and imports may change without it.

    The same under every version of Python: fields of the syntax tree that are empty do not count.
    """
    modules = [_essence(ast.parse(path.read_bytes())) for path in paths]
    return hashlib.sha256(json.dumps(modules).encode()).hexdigest()[:12]


def _essence(node: Any) -> Any:
    """A syntax tree as lists of words."""
    if isinstance(node, list):
        return [_essence(part) for part in node if not isinstance(part, ast.Import | ast.ImportFrom)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name != "ctx"}  # which follows from the place
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    return [
        type(node).__name__,
        *([name, _essence(value)] for name, value in fields.items() if value not in (None, [])),
    ]
