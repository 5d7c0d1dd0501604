"""Time and memory of the contrastive loss, forward and backward: tiles against `open_clip.ClipLoss`, which holds all logits.

    python benchmarks/contrastive.py            # up to 32,768 pairs: some ten minutes on two cores, and 18 GB for ClipLoss
    python benchmarks/contrastive.py --quick    # small batches: does it run at all

A pair of features is a random unit vector of d numbers and a noisy copy of it; the scale is 1 / 0.07, where CLIP starts. Timed
is one call with the gradients of both features and of the scale, in float32. Both losses are checked before they are timed: the
loss and the scale's gradient, and 64 rows of each feature's, against sums in float64. A loss that is wrong gets no time.

Each loss has a process of its own, which the system may kill for want of memory without harm to the rest. They work by turns,
so that whatever else the machine does hits them alike: trust the ratios before the times. `peak_mb` is what a call needs at its
peak beyond what was there before, so without the features themselves, but with their gradients.

Threads that wait, sleep (OMP_WAIT_POLICY=passive, unless you set it), as in the other benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the libraries below are loaded

import numpy as np
import torch
from _memory import peak_memory
from _results import machine, write

from bestpapers.kernels.contrastive import contrastive_loss

SHAPES = [(512, 64), (1024, 64), (2048, 64), (4096, 64)] + [
    (2**k, 512) for k in range(9, 16)
]  # pairs, numbers per feature
QUICK = [(96, 16), (300, 8)]
TARGET = (32_768, 512)  # there: at most a tenth of the memory, in no more time
LOSSES = dict(cpu=("ClipLoss", "numba"), cuda=("ClipLoss", "triton"))
SECONDS, REPEATS = 20.0, (3, 21)  # per shape: stop after so long, but not before 3 rounds nor after 21
SCALE = 1 / 0.07
SAMPLE = 64  # rows of each feature whose gradient is checked


def make_features(pairs: int, d: int, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(pairs + d)
    images = torch.nn.functional.normalize(torch.randn(pairs, d, generator=g), dim=1)
    texts = torch.nn.functional.normalize(images + 0.7 * d**-0.5 * torch.randn(pairs, d, generator=g), dim=1)
    return images.to(device), texts.to(device), torch.tensor(SCALE, device=device)


def sample(pairs: int) -> slice:
    return slice(0, None, max(1, pairs // SAMPLE))


# ---- a process for each loss ----------------------------------------------------------------------------------------------


def ready(loss: str, device: str, pairs: int, d: int, answers: Path) -> Callable[[str], dict]:
    """The loss, compiled, as a function of a command: "check" runs once and leaves its numbers in `answers`, "time" runs once
    more."""
    if loss == "ClipLoss":
        from open_clip import ClipLoss

        function = ClipLoss()
    else:

        def function(*tensors):
            return contrastive_loss(*tensors, backend=loss)

    def run(tensors):
        value = function(*tensors)
        found = value.detach(), *torch.autograd.grad(value, tensors)
        if device == "cuda":
            torch.cuda.synchronize()
        return found

    def check():
        value, images, texts, scale = (t.cpu().numpy() for t in run(tensors))
        rows = sample(pairs)
        np.savez(answers, loss=value, scale=scale, images=images[rows], texts=texts[rows])

    run([t.requires_grad_() for t in make_features(64, d, device)])  # compiles, and starts the threads
    tensors = [t.requires_grad_() for t in make_features(pairs, d, device)]

    def answer(command: str) -> dict:
        if command == "check":
            return dict(peak_mb=peak_memory(check, device))
        start = time.perf_counter()
        run(tensors)
        return dict(ms=1e3 * (time.perf_counter() - start))

    return answer


def work(loss: str, device: str, pairs: int, d: int, answers: Path) -> None:
    """Answer each line of standard input, a command, with a line of JSON."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")  # where memory ends, the system shall take this process and no other
    answer = ready(loss, device, pairs, d, answers)
    for line in sys.stdin:
        print(json.dumps(answer(line.strip())), flush=True)


class Gone(Exception):
    """A process has ended before it answered; the message says why."""


class Worker:
    """`work` in a process of its own."""

    def __init__(self, loss: str, device: str, pairs: int, d: int, folder: Path):
        self.answers, self.errors = folder / f"{loss}.npz", folder / f"{loss}.txt"
        arguments = ("--work", loss, device, str(pairs), str(d), str(self.answers))
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, __file__, *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    def ask(self, command: str) -> dict:
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        status = self.process.wait()
        lines = self.errors.read_text().splitlines()
        raise Gone(
            "killed by the system, most likely for want of memory" if status == -9 else (lines or ["no word"])[-1]
        )

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


# ---- correctness ----------------------------------------------------------------------------------------------------------


def truth(pairs: int, d: int) -> dict:
    """Loss, its derivative in the scale, and the sampled rows of both gradients, in float64, some rows of logits at a time.

    Features have length 1, so no logit is above the scale: exp(logit - scale) needs no other maximum in float64.
    """
    images, texts, _ = (t.double() for t in make_features(pairs, d, "cpu"))
    own = SCALE * (images * texts).sum(1)
    row_sum, row_mean, col_sum, col_mean = (torch.zeros(pairs, dtype=torch.float64) for _ in range(4))
    for rows in torch.arange(pairs).split(512):
        logits = SCALE * images[rows] @ texts.T
        e = torch.exp(logits - SCALE)
        row_sum[rows], col_sum = e.sum(1), col_sum + e.sum(0)
        e *= logits
        row_mean[rows], col_mean = e.sum(1), col_mean + e.sum(0)

    def gradient(a, b, a_sum, b_sum):
        rows = torch.arange(pairs)[sample(pairs)]
        e = torch.exp(SCALE * a[rows] @ b.T - SCALE)
        g = e / a_sum[rows, None] + e / b_sum
        g[torch.arange(len(rows)), rows] -= 2
        return (SCALE / (2 * pairs) * g @ b).numpy()

    return dict(
        loss=((row_sum.log() + col_sum.log()) / 2 + SCALE - own).mean().item(),
        scale=((row_mean / row_sum + col_mean / col_sum) / 2 - own).mean().item() / SCALE,
        images=gradient(images, texts, row_sum, col_sum),
        texts=gradient(texts, images, col_sum, row_sum),
    )


def errors(answers: Path, right: dict) -> dict:
    """Relative errors: of the loss, and of the worst gradient (L2)."""
    with np.load(answers) as got:
        off = {k: np.linalg.norm(got[k] - right[k]) / np.linalg.norm(right[k]) for k in right}
    return dict(loss_error=float(off["loss"]), gradient_error=float(max(off[k] for k in ("images", "texts", "scale"))))


def is_right(row: dict) -> bool:
    """Float32 knows a logit of 14 to 1e-6, and so the probabilities."""
    return row["loss_error"] < 1e-5 and row["gradient_error"] < 1e-4


# ---- time and memory ------------------------------------------------------------------------------------------------------


def measure(pairs: int, d: int, device: str, seconds: float) -> list[dict]:
    """A row for each loss."""
    rows = [dict(pairs=pairs, d=d, device=device, loss=loss) for loss in LOSSES[device]]
    if device == "cuda" and not torch.cuda.is_available():
        return [row | dict(skipped="no CUDA device here") for row in rows]
    right = truth(pairs, d)
    with tempfile.TemporaryDirectory() as folder:
        workers = {row["loss"]: Worker(row["loss"], device, pairs, d, Path(folder)) for row in rows}
        times: dict = {loss: [] for loss in workers}
        for row in rows:
            try:
                row |= workers[row["loss"]].ask("check")
                row |= errors(workers[row["loss"]].answers, right)
                if not is_right(row):
                    row["skipped"] = "wrong, so no time is given"
            except Gone as reason:
                row["skipped"] = str(reason)
        start, (least, most) = time.perf_counter(), REPEATS
        for done in range(most):
            if done >= least and time.perf_counter() - start > seconds:
                break
            for row in rows:
                try:
                    if "skipped" not in row:
                        times[row["loss"]].append(workers[row["loss"]].ask("time")["ms"])
                except Gone as reason:
                    row["skipped"] = str(reason)
        for row in rows:
            workers[row["loss"]].end()
            if "skipped" not in row:
                q = np.quantile(times[row["loss"]], [0.25, 0.5, 0.75]).tolist()
                row |= dict(ms=q[1], ms_25=q[0], ms_75=q[2], repeats=len(times[row["loss"]]))
    return rows


# ---- report ---------------------------------------------------------------------------------------------------------------


def compared(peer: dict, ours: dict) -> dict:
    """How many times faster and smaller the tiles are."""
    if "skipped" in peer or "skipped" in ours:
        return {}
    out = dict(faster=peer["ms"] / ours["ms"])
    if ours["peak_mb"]:  # None where the system does not tell
        out["smaller"] = peer["peak_mb"] / ours["peak_mb"]
    return out


def line(row: dict) -> str:
    name = f"  {row['loss']:<10}{row['device']:<6}"
    if "skipped" in row:
        return name + f"skipped: {row['skipped']}"
    memory = "" if row["peak_mb"] is None else f", peak {row['peak_mb']:8.1f} MB"
    return (
        name + f"{row['ms']:9.1f} ms ({row['ms_25']:.1f} to {row['ms_75']:.1f}, {row['repeats']} runs){memory}, "
        f"errors {row['loss_error']:.0e} and {row['gradient_error']:.0e}"
    )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small batches, three runs each")
    parser.add_argument("--out", type=Path, help="where to write the results (default: benchmarks/results/)")
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.work:
        loss, device, pairs, d, answers = options.work
        work(loss, device, int(pairs), int(d), Path(answers))
        return

    about = machine()
    gpu = f", {about['gpu']}" if about["gpu"] else ""
    print(f"{about['cpu']}, {about['cores']} cores{gpu}; torch {about['torch']}; load {about['load']}")
    rows, ratios = [], []
    for pairs, d in QUICK if options.quick else SHAPES:
        print(f"\n{pairs:,} pairs of {d} numbers")
        for device in LOSSES:
            new = measure(pairs, d, device, 0.0 if options.quick else SECONDS)
            rows += new
            for row in new:
                print(line(row), flush=True)
            if ratio := compared(*new):
                ratios.append(dict(pairs=pairs, d=d, device=device) | ratio)
                smaller = f", {ratio['smaller']:.1f} x smaller" if "smaller" in ratio else ""
                print(f"  tiles: {ratio['faster']:.2f} x faster{smaller}")
    for ratio in ratios:
        if (ratio["pairs"], ratio["d"]) == TARGET:
            reached = ratio["faster"] >= 1 and ratio.get("smaller", 0) >= 10
            asked = "at most a tenth of ClipLoss's memory at no less than its speed"
            print(f"\n{TARGET[0]:,} pairs, {ratio['device']}: {asked}: {'reached' if reached else 'missed'}")
    write("contrastive", about, dict(scale=SCALE, rows=rows, ratios=ratios), options.out)


if __name__ == "__main__":
    sys.exit(main())
