"""What threads that wait for work cost beside other programs: a training iteration, by how they wait.

    python benchmarks/waiting.py             # some five minutes on two cores; nothing else should run
    python benchmarks/waiting.py --quick     # a small scene: does it run at all

torch and Numba have a pool of threads each, and an iteration of training calls on both in turn. A thread without work may
sleep (OMP_WAIT_POLICY=passive), look for work all the time (active), or look for a while (the default of GNU's OpenMP). Alone,
looking saves the time of waking up; beside other programs it takes the cores away from the threads that have work.

Timed is the whole iteration of `rasterize.py`: render, L1 and D-SSIM, backward, Adam. Each run is a process of its own, since a
pool reads the policy once, when it is loaded; the runs take turns, alone and beside two processes that count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

POLICIES = ("passive", "default", "active")
BUSY = 2  # programs that keep a core busy each
SCENE, ITERATIONS, ROUNDS = (20_000, 480), 11, 3  # Gaussians and pixels per side; per run; of all runs
QUICK = (300, 40), 3, 1


def work(policy: str, n: int, size: int, iterations: int) -> None:
    """Print the milliseconds of so many iterations, as JSON. The environment was made by `run`."""
    import torch  # its pool has read the policy
    from rasterize import iteration, make_scene

    if policy == "default":
        del os.environ["OMP_WAIT_POLICY"]  # which these imports have set; Numba's pool is loaded with the first loop
    step = iteration("numba", make_scene(n, size, "cpu"))
    for _ in range(3):  # compiles, and starts the threads
        step()
    times = []
    for _ in range(iterations):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    print(json.dumps(dict(ms=times, threads=torch.get_num_threads())))


def run(policy: str, scene: tuple[int, int], iterations: int) -> list[float]:
    """The times of `work` in a process of its own, in ms."""
    env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    if policy != "default":
        env["OMP_WAIT_POLICY"] = policy
    words = [policy, *map(str, scene), str(iterations)]
    done = subprocess.run([sys.executable, __file__, "--work", *words], env=env, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["ms"]


@contextlib.contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many programs that do nothing but count."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measure(scene: tuple[int, int], iterations: int, rounds: int) -> list[dict]:
    """A row for each policy, alone and beside others."""
    times: dict[tuple[int, str], list[float]] = {(n, policy): [] for n in (0, BUSY) for policy in POLICIES}
    for _ in range(rounds):
        for (programs, policy), ms in times.items():
            with busy(programs):
                ms += run(policy, scene, iterations)
    rows = []
    for (programs, policy), ms in times.items():
        ms.sort()
        low, middle, high = (ms[round(share * (len(ms) - 1))] for share in (0.25, 0.5, 0.75))
        rows.append(dict(busy=programs, policy=policy, ms=middle, ms_25=low, ms_75=high, repeats=len(ms)))
    return rows


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small scene, one run of each")
    parser.add_argument("--out", type=Path, help="where to write the results (default: benchmarks/results/)")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.work:
        policy, *numbers = options.work
        work(policy, *map(int, numbers))
        return

    from _results import machine, write

    about = machine()
    print(
        f"{about['cpu']}, {about['cores']} cores; torch {about['torch']}, Numba {about['numba']}; load {about['load']}"
    )
    scene, iterations, rounds = QUICK if options.quick else (SCENE, ITERATIONS, ROUNDS)
    rows = measure(scene, iterations, rounds)
    for row in rows:
        beside = f"beside {row['busy']} busy programs" if row["busy"] else "alone"
        spread = f"({row['ms_25']:.0f} to {row['ms_75']:.0f}, {row['repeats']} iterations)"
        print(f"  {beside:<24}{row['policy']:<9}{row['ms']:8.1f} ms {spread}")
    write("waiting", about, dict(gaussians=scene[0], size=scene[1], rows=rows), options.out)


if __name__ == "__main__":
    sys.exit(main())
