"""One of several processes that compare `contrastive_loss` with `open_clip.ClipLoss`; `test_contrastive.py` starts them.

    python contrastive_ranks.py RANK WORLD_SIZE FOLDER      # all ranks at once; FOLDER is empty before

Each rank has its share of one batch, and writes what it found to FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from features import F64, Largest, distance, pairs, pull
from open_clip import ClipLoss

from bestpapers.kernels.contrastive import contrastive_loss

SETTINGS = [(local, grad) for local in (False, True) for grad in (False, True)]


def share(tensors, rank: int, world: int) -> list[torch.Tensor]:
    images, texts, scale = tensors
    return [images.chunk(world)[rank], texts.chunk(world)[rank], scale]


def average(t: torch.Tensor, world: int) -> torch.Tensor:
    """The mean over all ranks, as DDP makes it."""
    t = t.clone()
    dist.all_reduce(t)
    return t / world


def everywhere(values: list[torch.Tensor], world: int) -> list[torch.Tensor]:
    """Loss and gradients of the whole batch from those of the ranks: DDP averages what reaches the shared weights, here the
    features' own gradients laid side by side, so each is divided by the number of ranks."""
    loss, *features, scale = values
    whole = []
    for t in features:
        parts = [torch.empty_like(t) for _ in range(world)]
        dist.all_gather(parts, t)
        whole.append(torch.cat(parts) / world)
    return [average(loss, world), *whole, average(scale, world)]


def compare(rank: int, world: int) -> dict:
    """For each setting: distance to ClipLoss (worst of loss and gradients), and the rows of the table of numerics."""
    found = {}
    batch = pairs(24 * world, 7, 20.0)
    truth = pull(ClipLoss(), batch)
    for local, grad in SETTINGS:
        settings = dict(local_loss=local, gather_with_grad=grad)
        peer = ClipLoss(rank=rank, world_size=world, **settings)
        row: dict = {}
        for backend, dtype in (("reference", F64), ("numba", torch.float32)):

            def ours(*tensors, backend=backend, settings=settings):
                return contrastive_loss(*tensors, backend=backend, group=dist.group.WORLD, **settings)

            got, want = (pull(f, share(batch, rank, world), dtype) for f in (ours, peer))
            errors = torch.tensor([distance(a, b) for a, b in zip(got, want)], dtype=F64)
            dist.all_reduce(errors, op=dist.ReduceOp.MAX)
            row[backend] = errors.max().item()
            if backend == "reference":
                loss, images, texts, scale = everywhere(got, world)
                mine, true = (torch.cat([a.flatten(), b.flatten()]) for a, b in ((images, texts), truth[1:3]))
                row["loss"] = (loss - truth[0]).item()
                row["ratio"] = (mine.norm() / true.norm()).item()
                row["cosine"] = torch.cosine_similarity(mine, true, dim=0).item()
                row["scale"] = (scale / truth[3]).item()
        found[f"{local:d}{grad:d}"] = row
    return found


def largest_tensor(rank: int, world: int) -> int:
    """Bytes of the largest tensor, forward and backward, with 3000 pairs of 8 numbers in all."""
    batch = share(pairs(3000, 8, 20.0), rank, world)
    mode = Largest()
    for local, grad in SETTINGS:
        settings = dict(group=dist.group.WORLD, local_loss=local, gather_with_grad=grad)
        with mode:
            pull(lambda *tensors, settings=settings: contrastive_loss(*tensors, **settings), batch, torch.float32)
    return mode.bytes


def refusals(rank: int, world: int) -> dict:
    """What this rank is told when the last one brings a NaN, and when they bring shares of different sizes."""
    images, texts, scale = share(pairs(6 * world, 4, 10.0), rank, world)
    bad = texts.clone()
    if rank == world - 1:
        bad[2, 3] = torch.nan
    cases = dict(nan=(images, bad, scale), sizes=(images[: 6 - rank], texts[: 6 - rank], scale))
    out = {}
    for name, tensors in cases.items():
        try:
            contrastive_loss(*tensors, group=dist.group.WORLD)
            out[name] = "nothing was refused"
        except ValueError as error:
            out[name] = str(error)
    return out


def main() -> None:
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=world)
    found = dict(settings=compare(rank, world), refusals=refusals(rank, world), largest=largest_tensor(rank, world))
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
