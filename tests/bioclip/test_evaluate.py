"""Scores against plain loops and known answers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bestpapers.bioclip import data, evaluate
from bestpapers.bioclip.data import make_split, photographs
from bestpapers.bioclip.model import RANK_WEIGHTS, Classifier, Config, build
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.taxonomy import Rank, lca_height, tree_distance
from bestpapers.bioclip.train import Photos
from bestpapers.lab import stats

SMALL = Config(16, 8, image_width=32, text_width=32, head_width=16, embed_dim=16)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=generator(seed)), dim=-1)


# ----------------------------------------------------------------------------------------------------------- zero-shot


def test_zero_shot_names_the_nearest_caption_among_the_candidates():
    images, texts, among = unit(128, 3, 8), unit(128, 8, seed=1), [5, 90, 17, 44]
    right = evaluate.zero_shot(images, texts, 20.0, taxa(), among)
    for row, i in zip(right, among):
        for n in range(3):
            best = max(among, key=lambda j: float(images[i, n] @ texts[j]))
            assert bool(row[n]) is (best == i)
    assert 0 < right.sum() < right.numel()


def test_zero_shot_of_genera_sums_their_species():
    """Two species of one genus share the probability; together they beat a single stronger one."""
    names = [taxon.name for taxon in taxa()]
    among = lion, tiger, other = [names.index(name) for name in ("Panthera leo", "Panthera tigris", "Bison bison")]
    texts = torch.zeros(128, 2)
    texts[[lion, tiger]] = torch.tensor([math.cos(0.5), math.sin(0.5)])
    texts[other] = torch.tensor([math.cos(0.45), -math.sin(0.45)])
    images = torch.tensor([1.0, 0.0]).expand(128, 1, 2)
    assert evaluate.zero_shot(images, texts, 5.0, taxa(), among).flatten().tolist() == [False, False, True]
    assert evaluate.zero_shot(images, texts, 5.0, taxa(), among, Rank.GENUS).flatten().tolist() == [True, True, False]


def test_open_ranks_have_all_species_as_candidates():
    texts = unit(128, 16)
    images = texts[:, None]  # perfect
    split = make_split(taxa())
    assert all(right.all() for right in evaluate.open_ranks(images, texts, 50.0, taxa(), split.u1).values())
    shifted = texts.roll(1, 0)[:, None]  # each is taken for its neighbour in the table, often a relative
    found = evaluate.open_ranks(shifted, texts, 200.0, taxa(), range(128))
    for rank, right in found.items():
        want = [taxa()[i].path[: rank + 1] == taxa()[i - 1].path[: rank + 1] for i in range(128)]
        assert right.flatten().tolist() == want
    assert not found[Rank.SPECIES].any()


def test_severity():
    truth, predicted = torch.tensor([0, 0, 3, 127, 5]), torch.tensor([0, 1, 2, 0, 5])
    wrong = [(0, 1), (3, 2), (127, 0)]
    want = sum(tree_distance(taxa()[a], taxa()[b]) for a, b in wrong) / 3
    assert evaluate.severity(truth, predicted, taxa()) == pytest.approx(want)
    assert math.isnan(evaluate.severity(truth, truth, taxa()))


def test_calibration():
    """Truths drawn from the probabilities themselves are calibrated at every rank; sharpened probabilities are not."""
    logits = 1.5 * torch.randn(20_000, 128, generator=generator())
    p = logits.double().softmax(-1)
    truth = torch.multinomial(p, 1, generator=generator(1))[:, 0]
    good = evaluate.calibration(p, truth, taxa())
    bad = evaluate.calibration((3 * logits).double().softmax(-1), truth, taxa())
    assert max(good.values()) < 0.02  # measured .012: with 20,000 draws a bin's share is known to about .01
    assert min(bad[rank] for rank in (Rank.CLASS, Rank.ORDER, Rank.FAMILY, Rank.GENUS, Rank.SPECIES)) > 0.2
    # by hand: two photographs of one bin, .6 sure, one right; and one .9 sure and right
    p = torch.zeros(3, 128, dtype=torch.float64)
    p[:2, 0], p[:2, 127], p[2, 0], p[2, 127] = 0.6, 0.4, 0.9, 0.1
    found = evaluate.calibration(p, torch.tensor([0, 127, 0]), taxa())
    assert found[Rank.SPECIES] == pytest.approx((abs(1.2 - 1) + 0.1) / 3)
    # .52 and .58 fall into one bin of ten, .5 to .6, and .48 into another
    p = torch.zeros(3, 128, dtype=torch.float64)
    p[:, 0] = torch.tensor([0.52, 0.58, 0.48])
    p[:, 127] = torch.tensor([0.24, 0.21, 0.26])
    p[:, 64] = 1 - p.sum(-1)
    found = evaluate.calibration(p, torch.tensor([0, 127, 0]), taxa())
    assert found[Rank.SPECIES] == pytest.approx((abs(0.52 + 0.58 - 1) + 0.52) / 3)


# --------------------------------------------------------------------------------------------------------- the look-up


def test_means():
    x, species = torch.randn(6, 3, generator=generator()), torch.tensor([0, 0, 1, 2, 2, 2])
    found = evaluate.means(5 * x, species)
    unit = x / x.norm(dim=-1, keepdim=True)
    for k, rows in enumerate(([0, 1], [2], [3, 4, 5])):
        torch.testing.assert_close(found[k], sum(unit[i] for i in rows) / len(rows))


def looked_up(images, memory, known, table, among, rank):
    """The look-up as a plain loop, with the guess among equals drawn out: the share over all of them."""
    truth = [table[i].path[: rank + 1] for i in among]
    candidates = sorted(set(truth))

    def place(path):
        for depth in (*range(len(path), 0, -1), 0):
            rows = [memory[k] / memory[k].norm() for k, i in enumerate(known) if table[i].path[:depth] == path[:depth]]
            if rows:
                mean = sum(rows) / len(rows)
                return mean / mean.norm(), path[:depth]

    places, shares = {c: place(c) for c in candidates}, []
    for i, path in zip(among, truth):
        for image in images[i]:
            at = {c: (float(where @ image / image.norm()), kin) for c, (where, kin) in places.items()}
            best = max(at.values())[1]
            equals = [c for c in candidates if at[c][1] == best]
            shares.append((path in equals) / len(equals))
    return torch.tensor(shares, dtype=torch.float64).view(len(among), -1)


@pytest.mark.parametrize(("part", "rank"), [("u1", Rank.SPECIES), ("u2", Rank.GENUS), ("u2", Rank.SPECIES)])
def test_lookup_by_hand(part, rank):
    split = make_split(taxa())
    images, memory = torch.randn(128, 6, 10, generator=generator()), torch.randn(92, 10, generator=generator(1))
    among = list(getattr(split, part))
    found = evaluate.lookup(images, memory, split.seen, taxa(), among, rank)
    want = looked_up(images, memory, split.seen, taxa(), among, rank)
    torch.testing.assert_close(found, want)
    assert 0 < found.sum() < found.numel()
    if rank is Rank.SPECIES and part == "u2":  # two siblings in one place: a guess
        assert set(found.unique().tolist()) == {0.0, 0.5}


def test_lookup_of_ten_vectors():
    """Ten species on a circle, in five genera; the others of the table are far from all."""
    table, known, among = taxa()[:10], (0, 2, 4, 6, 8), (1, 3, 5, 7, 9)
    angle = torch.arange(5) * 1.2
    memory = torch.stack([angle.cos(), angle.sin()], -1)
    images = torch.zeros(10, 1, 2)
    images[list(among), 0] = 7 * memory  # each as its seen sibling
    assert evaluate.lookup(images, memory, known, table, among).min() == 1
    images[1, 0] = memory[1]  # this one looks like another genus
    assert evaluate.lookup(images, memory, known, table, among)[:, 0].tolist() == [0, 1, 1, 1, 1]
    alone = evaluate.lookup(
        images, memory[:1], known[:1], table, among
    )  # all others have the kingdom in common, or less
    assert 0 < alone.mean() < 1


@pytest.mark.parametrize("inherit", [True, False])
def test_lookup_lives_on_heredity(inherit):
    """Traits in the place of embeddings: far above chance, and at chance in the null world, where names say nothing."""
    found = {"u1": [], "u2": []}
    for seed in range(30):
        world, split = data.World(seed, inherit=inherit), make_split(taxa(), seed)
        traits = torch.tensor([data.traits(taxon, world) for taxon in taxa()])
        test = evaluate.TestSet(taxa(), split, torch.empty(0))
        scores = evaluate.lookup_scores(traits[:, None], dict(photo=traits[list(split.seen)]), test)
        assert set(scores) == {"lookup.photo.u1", "lookup.photo.u2", "lookup.photo.unseen"}
        for part in found:
            found[part].append(scores[f"lookup.photo.{part}"])
    for part, chance in (("u1", 1 / 20), ("u2", 1 / 8)):
        _, low, high = stats.interval(found[part])
        if inherit:
            assert low > 2 * chance, part
        else:
            assert low - 0.02 < chance < high + 0.02, part


def test_new_siblings_have_one_place():
    table, split = data.with_siblings(taxa(), make_split(taxa()), 4)
    memory = torch.randn(92, 6, generator=generator())
    own = {taxa()[i].path[:6]: memory[k] for k, i in enumerate(split.seen)}  # any seen one of the genus
    images = torch.stack([own.get(taxon.path[:6], torch.ones(6)) for taxon in table])[:, None]
    found = evaluate.lookup(images, memory, split.seen, table, split.u3)
    assert set(found.unique().tolist()) == {0.0, 0.25}
    for start in range(0, len(split.u3), 4):
        genus = split.u3[start : start + 4]
        assert evaluate.lookup(images, memory, split.seen, table, genus).eq(0.25).all()


# ------------------------------------------------------------------------------------------------------------ few-shot


def simple_shot(features, draw, transform):
    """One repeat of the authors' protocol as a plain loop, in float64; draw [S, k]."""
    x = features.double().numpy()

    def norm(v):
        return v if transform == "UN" else v / np.linalg.norm(v)

    mean = np.mean([norm(x[s, i]) for s, row in enumerate(draw) for i in row], axis=0)

    def f(v):
        return norm(norm(v) - mean) if transform == "CL2N" else norm(v)

    centroids = [np.mean([f(x[s, i]) for i in row], axis=0) for s, row in enumerate(draw)]
    right = []
    for s, row in enumerate(draw):
        for i in sorted(set(range(x.shape[1])) - set(row)):
            distances = [np.linalg.norm(f(x[s, i]) - centroid) for centroid in centroids]
            right.append(int(np.argmin(distances)) == s)
    return torch.tensor(right).view(len(x), -1)


def clustered(S=7, n=9, D=6, spread=1.0, seed=0):
    return (
        torch.randn(S, 1, D, generator=generator(seed))
        + spread * torch.randn(S, n, D, generator=generator(seed + 1))
        + 0.7
    )


@pytest.mark.parametrize("transform", ["CL2N", "L2N", "UN"])
@pytest.mark.parametrize("shots", [1, 5])
def test_few_shot_is_simple_shot(transform, shots):
    x = clustered()
    draws = evaluate.support_draws(7, 9, shots)
    right = evaluate.few_shot(x, draws, transform)
    assert right.shape == (5, 7, 9 - shots)
    for found, draw in zip(right, draws.tolist()):
        assert torch.equal(found, simple_shot(x, draw, transform))
    assert 0.3 < right.double().mean() < 0.98


def test_support_draws():
    draws = evaluate.support_draws(6, 20, 5)
    assert draws.shape == (5, 6, 5)
    assert all(len(set(row)) == 5 for repeat in draws.tolist() for row in repeat)
    assert not torch.equal(draws[0], draws[1])
    assert torch.equal(draws[:2], evaluate.support_draws(6, 20, 5, repeats=2))
    for shots in (0, 20):
        with pytest.raises(ValueError, match="leave none to test, or none to learn from"):
            evaluate.support_draws(6, 20, shots)


def test_few_shot_refuses_what_does_not_fit():
    draws = evaluate.support_draws(7, 9, 1)
    with pytest.raises(ValueError, match="must be CL2N, L2N or UN"):
        evaluate.few_shot(clustered(), draws, "L1")
    for features in (clustered(S=6), clustered(n=4)):
        with pytest.raises(ValueError, match="do not fit"):
            evaluate.few_shot(features, draws)


def test_pixels():
    images = torch.zeros(2, 3, 16, 16, 3, dtype=torch.uint8)
    images[1, 2, :2, 2:4] = torch.tensor([255, 51, 0], dtype=torch.uint8)
    flat = evaluate.pixels(images)
    assert flat.shape == (2, 3, 192)
    flat = flat.view(2, 3, 3, 8, 8)  # colour, row, column
    assert flat[1, 2, :, 0, 1].tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert flat.sum().item() == pytest.approx(1.2)


# ----------------------------------------------------------------------------------------------- the shape of the space


def tree_features(species, n=6, seed=0):
    """Embeddings that walk down the tree: the dot product of two species is the share of their ranks."""
    steps, g = {}, generator(seed)
    for taxon in species:
        for depth in range(1, 8):
            steps.setdefault(taxon.path[:depth], torch.randn(64, generator=g))
    mean = torch.stack([sum(steps[t.path[:d]] for d in range(1, 8)) for t in species])
    return mean[:, None] + 0.3 * torch.randn(len(species), n, 64, generator=g)


def test_tree_correlation():
    some = taxa()[::3]
    tree, noise = evaluate.tree_correlation(tree_features(some), some), evaluate.tree_correlation(unit(43, 6, 64), some)
    assert tree > 0.7  # .77: the steps are random, so the distances are too
    assert abs(noise) < 0.15
    # ties and all, against ranks by hand
    x = F.normalize(F.normalize(tree_features(some), dim=-1).mean(1), dim=-1)
    a, b = torch.triu_indices(43, 43, 1)
    d, t = (1 - x @ x.T)[a, b].numpy(), lca_height(some, some)[a, b]

    def ranks(v):
        return np.array([((v < y).sum() + (v <= y).sum() + 1) / 2 for y in v])

    assert tree == pytest.approx(np.corrcoef(ranks(d), ranks(t))[0, 1], abs=1e-3)


def test_silhouette_by_hand():
    x = torch.randn(12, 3, generator=generator())
    groups = torch.tensor([0, 0, 1, 2, 1, 0, 3, 2, 2, 1, 0, 2])  # 3 is alone
    distance = torch.cdist(x, x)
    values = []
    for i in range(12):
        mine = [j for j in range(12) if groups[j] == groups[i] and j != i]
        if mine:
            a = distance[i, mine].mean()
            b = min(distance[i, groups == g].mean() for g in groups.unique() if g != groups[i])
            values.append(float((b - a) / max(a, b)))
    assert len(values) == 11
    assert evaluate.silhouette(distance, groups) == pytest.approx(sum(values) / 11, abs=1e-5)
    assert math.isnan(evaluate.silhouette(distance, torch.zeros(12, dtype=torch.long)))


def test_shape_by_rank():
    some = taxa()[:40]
    tree, noise = (evaluate.shape_by_rank(x, some) for x in (tree_features(some), unit(40, 6, 64)))
    x = F.normalize(tree_features(some), dim=-1).flatten(0, 1)
    distance = torch.cdist(x, x).numpy()
    for rank in list(Rank)[:-1]:
        group = np.array([hash(t.path[: rank + 1]) for t in some]).repeat(6)
        share = []
        for i in range(240):
            others = [j for j in range(240) if j // 6 != i // 6]
            near = sorted(others, key=lambda j, i=i: distance[i, j])[:10]
            share.append((group[near] == group[i]).mean())
        label = rank.get_label()
        assert tree[f"knn.{label}"] == pytest.approx(np.mean(share), abs=1e-3)
        pairs = [a.path[: rank + 1] == b.path[: rank + 1] for a in some for b in some if a != b]
        assert tree[f"knn_chance.{label}"] == pytest.approx(np.mean(pairs))
        assert noise[f"knn.{label}"] == pytest.approx(noise[f"knn_chance.{label}"], abs=0.1)
    assert tree["silhouette.species"] > 0.3
    assert abs(noise["silhouette.species"]) < 0.1
    assert "knn.species" not in tree


# ----------------------------------------------------------------------------------------------------------- intervals


def test_species_are_the_clusters_and_single_photographs_are_surer_than_they_should_be():
    """Photographs of a species succeed or fail together: each species has its own chance."""
    chance = torch.rand(20, 1, generator=generator()) ** 2
    right = torch.rand(20, 20, generator=generator(1)) < chance
    mean, low, high = evaluate.bootstrap(right)
    assert (mean, low, high) == stats.bootstrap(right.double().numpy())
    same, above, below = evaluate.bootstrap(right, "image")
    assert same == mean == pytest.approx(right.double().mean().item())
    assert high - low > 2 * (below - above) > 0
    with pytest.raises(ValueError, match='by must be "species" or "image"'):
        evaluate.bootstrap(right, "genus")


# ------------------------------------------------------------------------------------------------------ all of a model


def test_scores_are_those_of_the_parts():
    species = data.species()
    split = make_split(species)
    test = evaluate.TestSet(species, split, photographs(species, 7, size=16, start=data.TEST_START))
    clip, tokenizer = build("sci", SMALL, species, species)
    scores = evaluate.score(clip, tokenizer, test, "sci")
    images, texts = evaluate.image_table(clip, test), evaluate.text_table(clip, tokenizer, species)
    scale = clip.logit_scale.exp().item()
    u2 = evaluate.zero_shot(images, texts["com"], scale, species, split.u2, Rank.GENUS)
    assert scores["zero.com.u2"] == pytest.approx(u2.double().mean().item())
    found = evaluate.open_ranks(images, texts["sci"], scale, species, test.unseen())
    assert scores["open.unseen.family"] == pytest.approx(found[Rank.FAMILY].double().mean().item())
    of = test.unseen()
    flat, truth = images[of].flatten(0, 1), torch.tensor(of).repeat_interleave(7)
    gaps = evaluate.calibration(evaluate.probabilities(flat, texts["sci"], scale), truth, species)
    assert {r: scores[f"ece.unseen.{r.get_label()}"] for r in gaps} == pytest.approx(gaps)
    other = evaluate.calibration(evaluate.probabilities(flat, texts["sci"], 1.0), truth, species)
    assert gaps[Rank.SPECIES] != pytest.approx(other[Rank.SPECIES], abs=1e-3)  # it is a matter of the temperature
    assert test.unseen() == sorted(split.u1 + split.u2)
    assert scores.items() > evaluate.image_scores(images, test).items()


def test_few_shots_are_as_many_as_they_say():
    split = make_split(taxa())
    test = evaluate.TestSet(taxa(), split, torch.empty(0))
    features = torch.randn(128, 1, 16, generator=generator()) + 1.5 * torch.randn(128, 9, 16, generator=generator(1))
    scores = evaluate.image_scores(features, test)
    of = test.unseen()
    for transform in ("CL2N", "L2N"):
        one, five = (
            evaluate.few_shot(features[of], evaluate.support_draws(len(of), 9, k), transform).double().mean().item()
            for k in (1, 5)
        )
        assert (scores[f"few.1.{transform}"], scores[f"few.5.{transform}"]) == pytest.approx((one, five))
        assert five > one + 0.1  # five tell more


def test_a_head_that_does_not_know_a_group_is_never_right(monkeypatch):
    """Labels may lack a rank: then a species' genus is none of the head's, and the head's first genus is not its answer."""
    species = taxa()
    test = evaluate.TestSet(species, make_split(species), torch.zeros(128, 2, 4, 4, 3, dtype=torch.uint8))
    monkeypatch.setattr(evaluate, "image_features", lambda visual, images: torch.ones(len(images), 1))
    seen = species[test.split.seen[0]]
    for known, share in ((seen.path[:6], 1), (("Animalia", *seen.path[1:5], "Nemo"), 0)):
        model = SimpleNamespace(
            visual=None, targets=torch.zeros(1), groups={Rank.GENUS: [known]}, heads={"genus": torch.nn.Linear(1, 1)}
        )
        scores = evaluate._head_scores(model, test)
        of = [species[i].path[:6] == known for i in test.split.seen]
        assert scores == {"head.genus": pytest.approx(sum(of) / len(of))}
        assert bool(scores["head.genus"]) is bool(share)


@pytest.mark.parametrize("loss", ["ce", "hce"])
def test_a_classifier_is_scored_by_its_heads_and_its_class_vectors(loss):
    species = data.species()
    split = make_split(species)
    test = evaluate.TestSet(species, split, photographs(species, 6, size=16, start=data.TEST_START))
    seen = list(split.seen)
    model = Classifier(SMALL, [species[i] for i in seen], RANK_WEIGHTS[loss]).eval()
    memory = Photos(test.images[seen, 0], torch.arange(len(seen)), [species[i] for i in seen])
    scores = evaluate.score(model, None, test, training=memory)
    with torch.no_grad():
        parts = test.images[seen].flatten(0, 1).split(256)  # as many at a time as there: the same digits
        features = torch.cat([evaluate.image_features(model.visual, part) for part in parts])
        right = model.heads["species"](features).argmax(1) == torch.arange(len(seen)).repeat_interleave(6)
    assert scores["head.species"] == pytest.approx(right.double().mean().item())
    assert ("head.genus" in scores) is (loss == "hce")
    vectors = evaluate._class_vectors(model, [species[i].path for i in reversed(seen)])
    torch.testing.assert_close(vectors, model.heads["species"].weight.detach().flip(0))
    images = evaluate.image_table(model, test)
    by_label = evaluate.lookup_scores(images, dict(label=vectors.flip(0)), test)
    assert by_label.items() <= scores.items()
    assert evaluate._class_vectors(model, [species[i].path for i in split.u1]) is None
    assert evaluate._class_vectors(Classifier(SMALL, species, (1,) * 6 + (0,)), [species[seen[0]].path]) is None


def test_siblings_are_told_apart_among_their_genus():
    """Photographs of a species that are all alike: one shot of each of the four siblings tells them for sure."""
    table, split = data.with_siblings(taxa(), make_split(taxa()), 4)
    apart = torch.randn(len(table), 1, 9, generator=generator()).expand(-1, 6, -1)  # fewer photographs than numbers
    found = evaluate.image_scores(apart, evaluate.TestSet(table, split, torch.empty(0)))
    assert found["few.1.siblings"] == 1
    noise = torch.randn(len(table), 6, 9, generator=generator())
    found = evaluate.image_scores(noise, evaluate.TestSet(table, split, torch.empty(0)))
    assert found["few.1.siblings"] == pytest.approx(0.25, abs=0.05)
    assert "few.1.siblings" not in evaluate.image_scores(
        noise[:128], evaluate.TestSet(taxa(), make_split(taxa()), noise)
    )
