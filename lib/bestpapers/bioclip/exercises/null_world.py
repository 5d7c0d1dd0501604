r"""The null world

Does zero-shot on unseen species work because names tell about looks? Take inheritance away and see. In the null world each
species has the name that it had and looks of its own.

Write the score that decides. For each part, only its own species compete:

- `u1` is scored by species;
- `u2` by genus, since two siblings of an unknown genus cannot be told apart by name: sum the probabilities of each genus.

For both give chance (one over the number of different answers), accuracy, and its 95 % interval over species.
`evaluate.zero_shot` and `evaluate.bootstrap` of the library may help.

The solution then trains two models, one in each world, and applies your score. Predict first: which of the four intervals
lie above chance?
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...course.checks import Checker, close, true
from .. import data, evaluate, experiments, model, train
from ..taxa import Taxon, taxa
from ..taxonomy import Rank

LEVEL, MINUTES, DIFFICULTY = "challenge", 25, 2
HINT = r"""
`evaluate.zero_shot(images, texts, scale, taxa, members, rank)` says for each picture of `members` whether it is right,
[species, pictures], and `evaluate.bootstrap` of that gives mean and interval. The number of answers is that of different
paths down to the rank.
"""
NOTE = r"""
Names, text encoder, training and score are the same in both worlds. Only the pictures differ, and with inheritance gone
nothing is left that could help: so what zero-shot had was inheritance, read through the names. One seed and a short training
decide a large difference, not a small one; [3_reproduce](3_reproduce.ipynb) has five seeds, and asks what few-shot does.
"""


def null_world(
    images: Tensor,
    texts: Tensor,
    scale: float,
    taxa: Sequence[Taxon],
    split: data.Split,
) -> dict[str, tuple[float, float, float, float]]:
    """Zero-shot on unseen species, beside chance.

    images [S, n, D] and texts [S, D] of all species, length 1; split.u1 and split.u2:
    numbers of the unseen species
    -> {"u1": (chance, accuracy, lower end, upper end), "u2": the same by genus}
    """
    found, parts = {}, {"u1": (split.u1, Rank.SPECIES), "u2": (split.u2, Rank.GENUS)}
    for part, (members, rank) in parts.items():
        right = evaluate.zero_shot(images, texts, scale, taxa, members, rank)
        answers = {taxa[i].path[: rank + 1] for i in members}
        found[part] = (1 / len(answers), *evaluate.bootstrap(right))
    return found


def run() -> None:
    """The experiment itself, for the cell of the solution: 100 steps of training in each world."""
    small = train.TrainConfig(text="taxon", steps=100, warmup=20, backend="reference")
    for kind, inherit in (("inherited", True), ("null world", False)):
        own = data.World(inherit=inherit)
        setting = experiments.Setting(world=own, per_species=10, test_per_species=10)
        world = experiments.material(setting, seed=0)
        species, split = world.test.taxa, world.test.split
        labels = train.distinct(world.photos.labels)
        clip, tokenizer = model.build("taxon", setting.model, labels, species)
        train.Trainer(clip, world.photos, small, tokenizer).run(quiet=True)
        texts = evaluate.text_table(clip, tokenizer, species)["taxon"]
        scale = clip.logit_scale.exp().item()
        images = evaluate.image_table(clip, world.test)
        found = null_world(images, texts, scale, species, split)
        for part, (chance, share, low, high) in found.items():
            interval = f"{low:.2f} to {high:.2f}"
            print(f"{kind:10} {part}: {share:.2f} ({interval}), chance {chance:.3f}")
            assert low > chance if inherit else low <= chance


check = Checker("5.11")


def _features(inherit: bool) -> tuple[Tensor, Tensor, float, tuple[Taxon, ...], data.Split]:
    """What two models might have made: texts that are sums along the path; images near the text of their species, which the
    null world has for seen species only."""
    split, species = data.make_split(taxa()), taxa()
    generator = torch.Generator().manual_seed(5)
    steps: dict[tuple[str, ...], Tensor] = {}
    for taxon in species:
        for rank in Rank:
            steps.setdefault(taxon.path[: rank + 1], torch.randn(32, generator=generator, dtype=torch.float64))
    texts = torch.stack([sum((steps[t.path[: r + 1]] for r in Rank), torch.zeros(32)) for t in species])
    noise = 2.5 * torch.randn(len(species), 1, 32, generator=generator, dtype=torch.float64)  # of a species,
    noise = noise + torch.randn(len(species), 10, 32, generator=generator, dtype=torch.float64)  # and of a picture
    looks = texts[:, None] + noise
    if not inherit:
        unseen = [*split.u1, *split.u2]
        looks[unseen] = torch.randn(len(unseen), 10, 32, generator=generator, dtype=torch.float64)
    return F.normalize(looks, dim=-1), F.normalize(texts, dim=-1), 20.0, species, split


@check.property("chance is one over the number of answers: 20 species, 8 genera")
def _(answer):
    found = answer(*_features(True))
    close([found["u1"][0], found["u2"][0]], [1 / 20, 1 / 8])


@check.property("where looks are inherited, both intervals lie above chance; in the null world both hold it")
def _(answer):
    for inherit in (True, False):
        for part, (chance, _, low, high) in answer(*_features(inherit)).items():
            hint = "which species are scored?"
            if inherit:
                true(
                    low > chance, f"inherited, {part}: an interval above chance", f"{low:.3f} to {high:.3f}", hint=hint
                )
            else:
                true(
                    low <= chance <= high,
                    f"null world, {part}: one that holds chance",
                    f"{low:.3f} to {high:.3f}",
                    hint=hint,
                )


@check.property("in u1 its own 20 species compete, and no other")
def _(answer):
    close(answer(*_features(True))["u1"][1], null_world(*_features(True))["u1"][1])


@check.property("in u2 the genus counts, by its sum")
def _(answer):
    close(answer(*_features(True))["u2"][1], null_world(*_features(True))["u2"][1])


@check.property("the intervals are over species")
def _(answer):
    found, want = answer(*_features(True)), null_world(*_features(True))
    for part in ("u1", "u2"):
        close(found[part][3] - found[part][2], want[part][3] - want[part][2], rtol=0.15, hint="pictures agree")
