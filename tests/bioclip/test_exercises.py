"""Every checker against its solution, against named mistakes, and against the stub; and what the pages say of them."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from open_clip import ClipLoss
from torch.nn import functional as F

from bestpapers.bioclip import data, evaluate, exercises
from bestpapers.bioclip.exercises import _processes
from bestpapers.bioclip.exercises.captions import captions
from bestpapers.bioclip.exercises.contrastive import _pairs, contrastive
from bestpapers.bioclip.exercises.hierarchical import hierarchical
from bestpapers.bioclip.exercises.intervals import intervals
from bestpapers.bioclip.exercises.leak_free_split import leak_free_split
from bestpapers.bioclip.exercises.null_world import null_world
from bestpapers.bioclip.exercises.prefix import prefix
from bestpapers.bioclip.exercises.roll_up import roll_up
from bestpapers.bioclip.exercises.sampler import sampler
from bestpapers.bioclip.exercises.simple_shot import simple_shot
from bestpapers.bioclip.exercises.stop import stop
from bestpapers.bioclip.exercises.text_mixing import text_mixing
from bestpapers.bioclip.exercises.two_processes import SETTINGS, table, two_processes
from bestpapers.bioclip.model import RANK_WEIGHTS, Classifier, Config, image_features
from bestpapers.bioclip.taxa import Taxon, taxa
from bestpapers.bioclip.taxonomy import TEXT_TYPES, Rank, rollup
from bestpapers.kernels.contrastive import contrastive_loss

from ..solutions import assert_all_have_mistakes, assert_checker_tells, by_name

ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------------------------------------- answers that are wrong


def changed(function, **changes):
    return lambda *args: function(*args, **changes)


def captions_part(
    ranks, common, *, article="", stop=".", lower=True, once=False, gaps=False, fallback=True, genus=True
):
    """The solution with parts left out."""
    names = list(dict.fromkeys(ranks)) if once else list(ranks)
    if once:
        names = [name for name in names if name.lower() not in {n.lower() for n in names[: names.index(name)]}]
    kept = names if gaps else [name for name in names if name]
    taxonomic = " ".join(kept)
    scientific = " ".join(name for name in ranks[5:] if name) if ranks[5] or not genus else taxonomic
    name = common.lower() if lower else common
    name = name or (scientific if fallback else "")
    start = f"a photo of {article}"
    return {
        "com": f"{start}{name}{stop}",
        "sci": f"{start}{scientific}{stop}",
        "taxon": f"{start}{taxonomic}{stop}",
        "sci_com": f"{start}{scientific} with common name {name}{stop}",
        "taxon_com": f"{start}{taxonomic} with common name {name}{stop}",
    }


def look_part(
    images, memory, known, asked, *, deepest=6, nearest=False, bare=False, holes="pass", unit=True, places=True
):
    """The solution with parts changed."""
    memory = F.normalize(memory, dim=-1) if unit else memory

    def related(path, other, depth):
        a, b = path[:depth], other[:depth]
        if holes != "make" and not (a[-1] and b[-1]):
            return False
        if bare:
            return a[-1] == b[-1]
        return a == b if holes == "part" else all(x == y or not x or not y for x, y in zip(a, b))

    scores = []
    for path in asked:
        kin = range(len(known))
        for depth in range(deepest, 0, -1):
            if found := [k for k, other in enumerate(known) if related(path, other, depth)]:
                kin = found
                break
        of = memory[list(kin)]
        at = of if nearest else of.mean(0, keepdim=True)
        at = F.normalize(at, dim=-1) if places else at
        scores.append((F.normalize(images, dim=-1) @ at.T).amax(1))
    return torch.stack(scores, 1).argmax(1)


def stop_part(scores, right, listed, wanted, *, more=False, highest=False, rank=None, silent=True, all_species=False):
    """The solution with parts changed."""
    if not all_species:
        scores, right = scores[~listed], right[~listed]
    good = []
    for t in scores.flatten().unique():
        deepest = (scores >= t).sum(1) - 1
        answered = deepest >= 0
        at = deepest[answered] if rank is None else torch.full_like(deepest[answered], rank)
        true = right[answered, at].double()
        share = true.mean() if silent else true.sum() / len(scores)
        if share > wanted or (share == wanted and not more):
            good.append(float(t))
    return (max if highest else min)(good, default=float("inf"))


def captions_joined(ranks, common):
    """Leaves ranks out, and joins genus and epithet without a look."""
    found = captions(ranks, common)
    return found if not ranks[5] else found | {"sci": f"a photo of {ranks[5]} {ranks[6]}."}


def roll_up_part(p, paths, rank, *, add=None, key=None, over=None):
    groups = {}
    for path, column in zip(paths, p.T):
        name = key(path, rank) if key else path[: rank + 1]
        groups.setdefault(name, []).append(column)
    out = {name: (add or sum)(columns) for name, columns in groups.items()}
    return {name: over(share) for name, share in out.items()} if over else out


def roll_up_by_name(p, paths, rank):
    """Groups by the bare name, and calls the group by the first path that has it."""
    first = {}
    for path in paths:
        first.setdefault(path[rank], path[: rank + 1])
    return roll_up_part(p, paths, rank, key=lambda path, rank: first[path[rank]])


def prefix_part(
    model, tokenizer, a, b, *, start=0, equal=None, mask="own", everywhere=False, embedded=False, measure=torch.max
):
    tokens = tokenizer([a, b])
    same = tokens[0] == tokens[1]
    end = equal or int(tokens[0].argmax()) + 1
    shared = end if same.all() else int((~same).nonzero()[0])
    x = model.token_embedding(tokens) + model.positional_embedding
    length = x.shape[1]
    causal = torch.full((length, length), float("-inf")).triu(1)
    with torch.no_grad():
        states = model.transformer(x, attn_mask={"own": model.attn_mask, "none": None, "causal": causal}[mask])
    states = x if embedded else states
    apart = (states[0] - states[1]).abs()
    return shared - start, measure(apart if everywhere else apart[:shared]).item()


def shot_part(
    support,
    test,
    transform,
    *,
    length=True,
    centre=True,
    last=True,
    mean_of="support",
    again=False,
    nearest=False,
    far=False,
):
    def unit(x, wanted):
        return F.normalize(x, dim=-1) if wanted else x

    support, test = unit(support, length), unit(test, length)
    if transform == "CL2N" and centre:
        of = {"support": support.mean((0, 1)), "test": test.mean(0)}[mean_of]
        support, test = unit(support - of, last), unit(test - of, last)
    if nearest:
        return torch.cdist(test, support.flatten(0, 1)).argmin(1) // support.shape[1]
    means = support.mean(1)
    distance = torch.cdist(test, F.normalize(means, dim=-1) if again else means)
    return distance.argmax(1) if far else distance.argmin(1)


def loss_part(V, T, all_V, all_T, scale, first, *, ways=(1, 1), shift=True, total=False, by_hand=False, constant=False):
    own = (first if shift else 0) + torch.arange(len(V))
    scale = scale.detach() if constant else scale
    parts = []
    for a, b in ((V, all_T), (T, all_V)):
        logits = scale * a @ b.T
        if by_hand:
            each = -(logits.exp()[torch.arange(len(V)), own] / logits.exp().sum(1)).log()
        else:
            each = F.cross_entropy(logits, own, reduction="none")
        parts.append(each.sum() if total else each.mean())
    return sum(w * part for w, part in zip(ways, parts)) / sum(ways)


def by_hand_100(V, T, all_V, all_T, scale, first):
    return loss_part(V, T, all_V, all_T, scale, first, by_hand=True)


def sampler_part(species, batch, step, *, how):
    generator = torch.Generator().manual_seed(step)
    if how == "photographs":
        return torch.randperm(len(species), generator=generator)[:batch]
    if how == "first in a shuffled order":
        order, found = torch.randperm(len(species), generator=generator), {}
        for i in order.tolist():
            found.setdefault(int(species[i]), i)
        return torch.tensor(list(found.values())[:batch])
    if how == "first photograph":
        kinds = species.unique()[torch.randperm(len(species.unique()), generator=generator)[:batch]]
        return torch.stack([(species == kind).nonzero()[0, 0] for kind in kinds])
    if how == "as many as there are":
        return sampler(species, min(batch, len(species.unique())), step)
    if how == "global":
        torch.manual_seed(step)
        return sampler(species, batch, int(torch.randint(1 << 30, ())))
    return sampler(species, batch, {"unseeded": random.randrange(1 << 30), "always the same": 0}[how])


def split_at_random(paths, seed, n_u1, n_genera):
    """Species for u1 wherever they come from; u2 as it should be."""
    parts = leak_free_split(paths, seed, n_u1, n_genera)
    rest = random.Random(seed).sample(parts["seen"] + parts["u1"], len(paths) - len(parts["u2"]))
    return parts | {"u1": rest[:n_u1], "seen": rest[n_u1:]}


def split_half_a_genus(paths, seed, n_u1, n_genera):
    """Takes one species of each unseen genus and trains on its siblings."""
    parts = leak_free_split(paths, seed, n_u1, n_genera)
    one = {paths[i][:6]: i for i in parts["u2"]}
    return parts | {
        "u2": list(one.values()),
        "seen": parts["seen"] + [i for i in parts["u2"] if one[paths[i][:6]] != i],
    }


def split_any_genus(paths, seed, n_u1, n_genera):
    """Whole genera, whatever else there is in their families."""
    rng = random.Random(seed)
    held_out = set(rng.sample(sorted({path[:6] for path in paths}), n_genera))
    rest = [i for i, path in enumerate(paths) if path[:6] not in held_out]
    left, u1 = Counter(paths[i][:6] for i in rest), []
    for i in rng.sample(rest, len(rest)):
        if len(u1) < n_u1 and left[paths[i][:6]] > 1:
            left[paths[i][:6]] -= 1
            u1.append(i)
    u2 = [i for i, path in enumerate(paths) if path[:6] in held_out]
    return {"u1": u1, "u2": u2, "seen": [i for i in rest if i not in u1]}


def split_trains_on_all(paths, seed, n_u1, n_genera):
    return leak_free_split(paths, seed, n_u1, n_genera) | {"seen": list(range(len(paths)))}


def interval_part(right, repeats, seed, *, by="species", tails=(0.025, 0.975), normal=None, middle=None):
    generator = torch.Generator().manual_seed(seed)
    values = right.double().mean(1) if by == "species" else right.double().flatten()
    drawn = values[torch.randint(len(values), (repeats, len(values)), generator=generator)].mean(1)
    mean = values.mean().item()
    low, high = drawn.quantile(torch.tensor(tails, dtype=torch.float64)).tolist()
    if normal:
        half = normal * values.std(unbiased=False).item() / len(values) ** 0.5
        low, high = mean - half, mean + half
    return middle(drawn).item() if middle else mean, low, high


def mixing_part(texts, step, mixing, *, how):
    types = list(texts[0])
    if how == "seeds the global generator":
        random.seed(step)
        kinds = [random.choice(types)] * len(texts) if mixing == "batch" else random.choices(types, k=len(texts))
        return [own[kind] for own, kind in zip(texts, kinds)]
    if how == "draws from the global generator":
        return text_mixing(texts, random.randrange(10_000), mixing)
    if how == "in turn":
        if mixing == "batch":
            return text_mixing(texts, step, mixing)
        return [own[types[i % 5]] for i, own in enumerate(texts)]
    if how == "the first three":
        return text_mixing([{kind: own[kind] for kind in types[:3]} for own in texts], step, mixing)
    if how == "shuffles":
        return random.Random(step).sample(text_mixing(texts, step, mixing), len(texts))
    return text_mixing(texts, step, how)


def ranks_part(logits, targets, weights, *, divide=False, known=True, empty=True, number=False, equal=False):
    total = 0.0
    for scores, target, weight in zip(logits, targets, weights):
        if empty and not (target >= 0).any():
            continue
        images = int((target >= 0).sum()) if known else len(target)
        total = total + (1 if equal else weight) * F.cross_entropy(scores, target, reduction="sum") / images
    total = total / sum(weights) if divide else total
    return total.item() if number else total


def score_part(
    images, texts, scale, species, split, *, parts=None, ranks=(6, 5), open_list=False, by="species", chance=None
):
    found = {}
    for part, rank in zip(("u1", "u2"), ranks):
        members = split.seen if parts == "seen" else getattr(split, part)
        if open_list:
            right = evaluate.open_ranks(images, texts, scale, species, members)[Rank(rank)]
        else:
            right = evaluate.zero_shot(images, texts, scale, species, members, Rank(rank))
        answers = {species[i].path[: rank + 1] for i in members}
        found[part] = (chance[part] if chance else 1 / len(answers), *evaluate.bootstrap(right, by=by))
    return found


def score_among_all_unseen(images, texts, scale, species, split):
    found = null_world(images, texts, scale, species, split)
    unseen = sorted((*split.u1, *split.u2))
    right = evaluate.zero_shot(images, texts, scale, species, unseen)[[unseen.index(i) for i in split.u1]]
    return found | {"u1": (found["u1"][0], *evaluate.bootstrap(right))}


def score_best_of_genus(images, texts, scale, species, split):
    """u2: the genus of the best species, in place of the best sum."""
    found = null_world(images, texts, scale, species, split)
    members = list(split.u2)
    best = (images[members] @ texts[members].T).argmax(-1)
    genera = torch.tensor([sorted({species[i].path[:6] for i in members}).index(species[i].path[:6]) for i in members])
    right = genera[best] == genera[:, None]
    return found | {"u2": (found["u2"][0], *evaluate.bootstrap(right))}


def processes_without_mean(images, texts, scale, local_loss, gather_with_grad):
    """The loss of process 0, as if it were that of all."""
    rank, world = dist.get_rank(), dist.get_world_size()
    own, text = images.chunk(world)[rank].clone().requires_grad_(), texts.chunk(world)[rank]
    flags = {"local_loss": local_loss, "gather_with_grad": gather_with_grad}
    loss = contrastive_loss(own, text, scale, backend="reference", group=dist.group.WORLD, **flags)
    gradient = torch.autograd.grad(loss, own)[0]
    parts = [torch.empty_like(gradient) for _ in range(world)]
    dist.all_gather(parts, gradient)
    return loss.item(), torch.cat(parts) / world


def processes_not_sharing(images, texts, scale, local_loss, gather_with_grad):
    """Every process computes everything, and nobody talks."""
    images = images.clone().requires_grad_()
    loss = contrastive_loss(images, texts, scale, backend="reference")
    return loss.item(), torch.autograd.grad(loss, images)[0]


def processes_always_gather(images, texts, scale, local_loss, gather_with_grad):
    """Heeds local_loss only."""
    rank, world = dist.get_rank(), dist.get_world_size()
    own, text = images.chunk(world)[rank].clone().requires_grad_(), texts.chunk(world)[rank]
    loss = contrastive_loss(
        own, text, scale, backend="reference", group=dist.group.WORLD,
        local_loss=local_loss, gather_with_grad=gather_with_grad or local_loss,
    )  # fmt: skip
    gradient = torch.autograd.grad(loss, own)[0]
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    parts = [torch.empty_like(gradient) for _ in range(world)]
    dist.all_gather(parts, gradient)
    return mean.item() / world, torch.cat(parts) / world


def processes_swap(images, texts, scale, local_loss, gather_with_grad):
    """Puts the shares together in the wrong order."""
    rank, world = dist.get_rank(), dist.get_world_size()
    own, text = images.chunk(world)[rank].clone().requires_grad_(), texts.chunk(world)[rank]
    flags = {"local_loss": local_loss, "gather_with_grad": gather_with_grad}
    loss = contrastive_loss(own, text, scale, backend="reference", group=dist.group.WORLD, **flags)
    gradient = torch.autograd.grad(loss, own)[0]
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    parts = [torch.empty_like(gradient) for _ in range(world)]
    dist.all_gather(parts, gradient)
    return mean.item() / world, torch.cat(parts[::-1]) / world


def processes_sum_in_one(images, texts, scale, local_loss, gather_with_grad):
    """Divides by two, whatever the number of processes."""
    rank, world = dist.get_rank(), dist.get_world_size()
    own, text = images.chunk(world)[rank].clone().requires_grad_(), texts.chunk(world)[rank]
    flags = {"local_loss": local_loss, "gather_with_grad": gather_with_grad}
    loss = contrastive_loss(own, text, scale, backend="reference", group=dist.group.WORLD, **flags)
    return loss.item() / 2, torch.autograd.grad(loss, own)[0] / 2


def processes_one_breaks(images, texts, scale, local_loss, gather_with_grad):
    """Right alone; of two processes, the second one fails."""
    if dist.get_rank() == 1:
        raise ValueError("the second process has no text for image 24")
    loss = contrastive_loss(images.requires_grad_(), texts, scale, backend="reference")
    if dist.get_world_size() == 2:
        dist.all_reduce(loss.detach())
    return loss.item(), torch.autograd.grad(loss, images)[0]


# ------------------------------------------------------- mistake -> (who makes it, how many properties hold before it shows)

WRONG = {
    "captions": {
        "has an article": (changed(captions_part, article="a "), 0),
        "forgets the full stop": (changed(captions_part, stop=""), 0),
        "keeps capitals in common names": (changed(captions_part, lower=False), 0),
        "says each name once": (changed(captions_part, once=True), 1),
        "leaves a gap": (changed(captions_part, gaps=True), 2),
        "leaves a gap behind the genus": (captions_joined, 2),
        "has no common name": (changed(captions_part, fallback=False), 3),
        "has no scientific name": (changed(captions_part, genus=False), 4),
    },
    "roll_up": {
        "takes the largest": (changed(roll_up_part, add=lambda c: torch.stack(c).amax(0)), 0),
        "takes the mean": (changed(roll_up_part, add=lambda c: torch.stack(c).mean(0)), 0),
        "calls groups by their last name": (changed(roll_up_part, key=lambda path, rank: path[rank]), 0),
        "adds up photographs": (changed(roll_up_part, over=lambda share: share.sum(0, keepdim=True)), 1),
        "groups by the bare name": (roll_up_by_name, 2),
        "closes gaps": (changed(roll_up_part, key=lambda path, rank: tuple(n for n in path[: rank + 1] if n)), 3),
    },
    "prefix": {
        "forgets the start": (changed(prefix_part, start=1), 0),
        "knows one answer": (lambda *a: (17, prefix(*a)[1]), 0),
        "counts padding": (changed(prefix_part, equal=48), 1),
        "forgets the mask": (changed(prefix_part, mask="none"), 2),
        "compares all tokens": (changed(prefix_part, everywhere=True), 2),
        "always has a mask": (changed(prefix_part, mask="causal"), 3),
        "compares what goes in": (changed(prefix_part, embedded=True), 3),
        "takes the mean difference": (changed(prefix_part, measure=torch.mean), 3),
    },
    "simple_shot": {
        "takes the farthest": (changed(shot_part, far=True), 0),
        "takes the nearest example": (changed(shot_part, nearest=True), 1),
        "divides only after the mean is gone": (changed(shot_part, length=False), 2),
        "takes the mean of the test": (changed(shot_part, mean_of="test"), 3),
        "forgets the mean": (changed(shot_part, centre=False), 4),
        "does not divide again": (changed(shot_part, last=False), 4),
        "divides the class's mean by its length": (changed(shot_part, again=True), 4),
    },
    "contrastive": {
        "adds up the pairs": (changed(loss_part, total=True), 0),
        "goes one way": (changed(loss_part, ways=(1, 0)), 1),
        "forgets the scale": (lambda *a: contrastive(*a[:4], a[4].sign(), a[5]), 1),
        "ignores where its pairs stand": (changed(loss_part, shift=False), 2),
        "exponentiates first": (by_hand_100, 3),
        "takes the scale for a constant": (changed(loss_part, constant=True), 4),
    },
    "sampler": {
        "draws photographs": (changed(sampler_part, how="photographs"), 0),
        "is not seeded": (changed(sampler_part, how="unseeded"), 1),
        "always draws the same": (changed(sampler_part, how="always the same"), 1),
        "seeds torch": (changed(sampler_part, how="global"), 2),
        "takes the first of each species in a shuffled order": (
            changed(sampler_part, how="first in a shuffled order"),
            3,
        ),
        "takes a species' first photograph": (changed(sampler_part, how="first photograph"), 4),
        "makes do with less": (changed(sampler_part, how="as many as there are"), 5),
    },
    "leak_free_split": {
        "trains on all": (split_trains_on_all, 0),
        "counts species in u2": (lambda p, s, u, g: leak_free_split(p, s, u, g // 2), 1),
        "draws u1 from anywhere": (split_at_random, 2),
        "tears a genus apart": (split_half_a_genus, 3),
        "takes a family's last genus": (split_any_genus, 4),
        "ignores the seed": (lambda p, s, u, g: leak_free_split(p, 0, u, g), 5),
        "draws from the global generator": (lambda p, s, u, g: leak_free_split(p, random.randrange(9999), u, g), 5),
    },
    "intervals": {
        "returns the mean of the draws": (changed(interval_part, middle=torch.mean), 0),
        "returns one standard error": (changed(interval_part, normal=1.0), 1),
        "draws photographs": (changed(interval_part, by="photograph"), 2),
        "returns 90 %": (changed(interval_part, tails=(0.05, 0.95)), 2),
        "takes the normal distribution": (changed(interval_part, normal=1.96), 3),
        "draws anew each time": (lambda r, n, s: intervals(r, n, random.randrange(1 << 30)), 4),
    },
    "text_mixing": {
        "gives captions to others": (changed(mixing_part, how="shuffles"), 0),
        "mixes within the batch": (changed(mixing_part, how="sample"), 1),
        "has three types": (changed(mixing_part, how="the first three"), 1),
        "never mixes within the batch": (changed(mixing_part, how="batch"), 2),
        "takes the types in turn": (changed(mixing_part, how="in turn"), 2),
        "is not seeded": (changed(mixing_part, how="draws from the global generator"), 3),
        "seeds Python": (changed(mixing_part, how="seeds the global generator"), 4),
    },
    "hierarchical": {
        "takes all ranks alike": (changed(ranks_part, equal=True), 0),
        "divides by the weights' sum": (changed(ranks_part, divide=True), 1),
        "takes the mean over all images": (changed(ranks_part, known=False), 2),
        "takes the mean over nothing": (changed(ranks_part, empty=False), 3),
        "returns a number": (changed(ranks_part, number=True), 4),
    },
    "null_world": {
        "counts species in u2": (changed(score_part, chance={"u1": 1 / 20, "u2": 1 / 16}), 0),
        "scores what was learned by heart": (changed(score_part, parts="seen", chance={"u1": 1 / 20, "u2": 1 / 8}), 1),
        "lets the unseen genera compete in u1": (score_among_all_unseen, 2),
        "lets seen species compete": (changed(score_part, open_list=True, chance={"u1": 1 / 20, "u2": 1 / 8}), 1),
        "scores u2 by species": (changed(score_part, ranks=(6, 6), chance={"u1": 1 / 20, "u2": 1 / 8}), 1),
        "takes the genus of the best species": (score_best_of_genus, 3),
        "draws photographs": (changed(score_part, by="image"), 4),
    },
    "two_processes": {
        "divides by two": (processes_sum_in_one, 0),
        "forgets to average the loss": (processes_without_mean, 1),
        "fails in one process": (processes_one_breaks, 1),
        "swaps the shares": (processes_swap, 2),
        "does not share": (processes_not_sharing, 3),
        "always gathers with gradients": (processes_always_gather, 4),
    },
    "look_up": {
        "begins at the family": (changed(look_part, deepest=5), 0),
        "takes the nearest relative": (changed(look_part, nearest=True), 1),
        "compares bare names": (changed(look_part, bare=True), 2),
        "lets a hole part relatives": (changed(look_part, holes="part"), 3),
        "lets two holes make relatives": (changed(look_part, holes="make"), 4),
        "takes means of what is longest": (changed(look_part, unit=False), 5),
        "leaves places as long as they are": (changed(look_part, places=False), 6),
    },
    "stop": {
        "wants more than the share": (changed(stop_part, more=True), 0),
        "takes the highest": (changed(stop_part, highest=True), 0),
        "answers with the species": (changed(stop_part, rank=6), 1),
        "counts silence as wrong": (changed(stop_part, silent=False), 2),
        "learns from the list": (changed(stop_part, all_species=True), 3),
        "returns one": (lambda *a: min(stop(*a), 1.0), 4),
        "wants a little more": (lambda s, r, l, w: stop(s, r, l, w + 0.05 * (0 < w < 0.6)), 5),
    },
}
MODULES = by_name(exercises.EXERCISES)


@pytest.mark.parametrize("name", MODULES)
def test_checker_tells_the_solution_the_mistakes_and_the_stub(name):
    assert_checker_tells(MODULES[name], name, WRONG[name])


def test_every_exercise_has_mistakes():
    assert_all_have_mistakes(WRONG, MODULES)


def test_what_a_process_wrote_when_it_failed_is_shown():
    message = MODULES["two_processes"].check.run(processes_one_breaks).message
    assert "ValueError: the second process has no text for image 24" in message


# ------------------------------------------------------------------------------- the solutions, compared with the library


def test_roll_up_is_the_librarys():
    p = torch.rand(3, 128, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for rank in Rank:
        sums, groups = rollup(p, taxa(), rank)
        mine = roll_up(p, [taxon.path for taxon in taxa()], rank)
        assert list(mine) == groups
        torch.testing.assert_close(torch.stack(list(mine.values()), 1), sums)


def test_simple_shot_is_the_librarys():
    x = torch.randn(6, 12, 8, generator=torch.Generator().manual_seed(0)) + 0.4
    draws = evaluate.support_draws(6, 12, 3, repeats=1)
    support = x[torch.arange(6)[:, None], draws[0]]
    test = torch.ones(6, 12, dtype=torch.bool).scatter(1, draws[0], False)
    for transform in ("L2N", "CL2N"):
        mine = simple_shot(support, x[test], transform)
        truth = torch.arange(6).repeat_interleave(9)
        assert torch.equal((mine == truth).view(6, 9), evaluate.few_shot(x, draws, transform)[0])


def test_the_loss_is_the_librarys_and_open_clips():
    V, T = _pairs()
    scale = torch.tensor(9.0, dtype=torch.float64)
    for other in (contrastive_loss(V, T, scale), ClipLoss()(V, T, scale)):
        torch.testing.assert_close(contrastive(V, T, V, T, scale, 0), other)


def test_the_split_passes_the_librarys_check():
    for seed in range(5):
        parts = leak_free_split([taxon.path for taxon in taxa()], seed, 20, 8)
        assert [len(parts[part]) for part in ("seen", "u1", "u2")] == [92, 20, 16]
        data.check_split(data.Split(seed, *(tuple(sorted(parts[part])) for part in ("seen", "u1", "u2"))), taxa())


def test_hierarchical_is_the_librarys():
    labels = (*taxa()[:6], Taxon("Animalia", "Arthropoda", "Insecta", "Diptera", "", "", ""))
    config = Config(image_size=16, image_layers=1, embed_dim=8)
    classifier = Classifier(config, labels, RANK_WEIGHTS["hce"])
    images = torch.randint(256, (7, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    features = image_features(classifier.visual, images)
    logits = [head(features) for head in classifier.heads.values()]
    mine = hierarchical(logits, classifier.targets, (1,) * 7)
    torch.testing.assert_close(mine, classifier.loss(images, torch.arange(7)))


def test_the_interval_is_the_librarys():
    generator = torch.Generator().manual_seed(1)
    right = torch.rand(30, 10, generator=generator) < torch.rand(30, 1, generator=generator)
    for mine, other in zip(intervals(right, 4000, 0), evaluate.bootstrap(right, repeats=4000)):
        assert mine == pytest.approx(other, abs=0.02)


def test_the_table_of_two_processes_is_that_of_the_page():
    rows = table(two_processes)
    assert list(rows) == SETTINGS
    lengths = {setting: length for setting, (_, length, _) in rows.items()}
    assert lengths[False, False] == pytest.approx(0.5)
    assert lengths[False, True] == lengths[True, True] == pytest.approx(1)
    assert (
        rows[True, False][2] < 0.99 < 0.999 < min(row[2] for setting, row in rows.items() if setting != (True, False))
    )
    assert len({round(loss, 9) for loss, _, _ in rows.values()}) == 1


def test_processes_that_wait_for_each_other_are_ended(monkeypatch):
    monkeypatch.setattr(_processes, "SECONDS", 0.1)
    assert _processes._run(processes_swap, [(*MODULES["two_processes"]._batch(), True, True)]).startswith(
        "nothing after"
    )


# -------------------------------------------------------------------------------------------------- what the pages promise


def teaching():
    return (ROOT / "book/bioclip/teaching.md").read_text(encoding="utf-8")


def test_core_exercises_fit_the_lab_and_the_assignment():
    titles = {m.__doc__.splitlines()[0].lower(): m for m in exercises.EXERCISES}
    core = [title for title, m in titles.items() if m.LEVEL == "core"]
    assert 6 <= len(core) <= 8
    pattern = r"^\| 0:52 \| (\d+) \| lab in pairs: ([\w-]+), then ([\w-]+) \|"
    time, *asked = re.search(pattern, teaching(), re.MULTILINE).groups()
    minutes = [next(m.MINUTES for title, m in titles.items() if name.lower() in title) for name in asked]
    assert sum(minutes) <= int(time)
    assert all(any(name.lower() in title for title in core) for name in asked)


def test_forms_of_a_caption_are_those_of_the_library():
    assert tuple(captions(taxa()[0].path, "")) == TEXT_TYPES
