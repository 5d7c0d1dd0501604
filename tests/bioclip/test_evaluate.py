"""Scores against plain loops, intervals against known answers, and series of experiments that can be interrupted."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bestpapers.bioclip import evaluate
from bestpapers.bioclip.data import SOURCE, TEST_START, World, make_split, photographs
from bestpapers.bioclip.evaluate import Results, Setting, TrainConfig
from bestpapers.bioclip.model import ARMS, Config
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.taxonomy import TEXT_TYPES, Rank, lca_height, tree_distance
from bestpapers.lab.files import FormatError

TINY = Config(image_size=16, patch_size=8, image_width=32, text_width=32, head_width=16, embed_dim=16)
FAST = Setting(
    "fast", per_species=2, test_per_species=7, train=TrainConfig(steps=3, batch=12), model=TINY
)  # seven test photographs: one more than five shots


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


def test_support_draws(tmp_path):
    draws = evaluate.support_draws(6, 20, 5)
    assert draws.shape == (5, 6, 5)
    assert all(len(set(row)) == 5 for repeat in draws.tolist() for row in repeat)
    assert not torch.equal(draws[0], draws[1])
    assert torch.equal(draws[:2], evaluate.support_draws(6, 20, 5, repeats=2))
    evaluate.save_draws(tmp_path / "draws.json", draws)
    assert torch.equal(evaluate.load_draws(tmp_path / "draws.json"), draws)
    for shots in (0, 20):
        with pytest.raises(ValueError, match="leave none to test, or none to learn from"):
            evaluate.support_draws(6, 20, shots)


BAD_DRAWS = ("[]", "[[1, 2]]", "[[[0.5]]]", "[[[-1]]]", "[[[1], [1, 2]]]", '[[["a"]]]', "{}", "hello", "[[[1e400]]]")


@pytest.mark.parametrize("text", BAD_DRAWS)
def test_bad_draws(tmp_path, text):
    (tmp_path / "draws.json").write_text(text)
    with pytest.raises(FormatError):
        evaluate.load_draws(tmp_path / "draws.json")


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
    flat = evaluate.pixels(images).view(2, 3, 3, 8, 8)  # colour, row, column
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


def correlated(S=20, n=20, seed=0):
    """Photographs of a species succeed or fail together: each species has its own chance."""
    chance = torch.rand(S, 1, generator=generator(seed)) ** 2
    return torch.rand(S, n, generator=generator(seed + 1)) < chance


def test_the_bootstrap_over_species_is_honest_and_that_over_photographs_is_not():
    """Over many worlds the interval of clusters holds the true mean, 1/3, nearly as often as it says."""
    inside = {"species": 0, "image": 0}
    for seed in range(200):
        for by in inside:
            mean, low, high = evaluate.bootstrap(correlated(seed=1000 * seed), by, repeats=400)
            assert low < mean < high
            inside[by] += low < 1 / 3 < high
    assert inside["species"] > 0.88 * 200  # 95 % less what 20 species cost the percentile method
    assert inside["image"] < 0.65 * 200


def test_the_bootstrap_is_reproducible_and_refuses_other_units():
    right = correlated()
    assert evaluate.bootstrap(right) == evaluate.bootstrap(right)
    assert evaluate.bootstrap(right)[0] == pytest.approx(right.double().mean().item())
    with pytest.raises(ValueError, match='by must be "species" or "image"'):
        evaluate.bootstrap(right, "genus")


def test_intervals():
    from scipy.stats import ttest_1samp, ttest_rel

    a, b = {3: 0.7, 0: 0.5, 1: 0.65, 2: 0.6}, {0: 0.45, 1: 0.5, 2: 0.61, 3: 0.5}
    mean, low, high = evaluate.interval(a.values())
    want = ttest_1samp(list(a.values()), 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((0.6125, want.low, want.high))
    mean, low, high = evaluate.paired(a, b)
    want = ttest_rel([a[s] for s in range(4)], [b[s] for s in range(4)]).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((0.0975, want.low, want.high))
    with pytest.raises(ValueError, match="at least two seeds"):
        evaluate.interval([0.5])
    with pytest.raises(ValueError, match="not the same"):
        evaluate.paired(a, {0: 1.0, 1: 1.0})


# ---------------------------------------------------------------------------------------------------------- experiments


@pytest.fixture(scope="module")
def material():
    return evaluate.material(FAST, 3)


def test_material(material):
    """Training and test share no photograph, and training has no unseen species."""
    exam, data = material.exam, material.photos
    split = make_split(taxa(), 3)
    assert exam.split == split
    assert exam.unseen() == sorted(split.u1 + split.u2)
    assert data.images.shape == (184, 16, 16, 3)
    assert data.labels == tuple(taxa()[i] for i in split.seen for _ in range(2))
    assert torch.equal(exam.images, photographs(taxa(), 7, World(3), 16, TEST_START))
    train_set = {image.numpy().tobytes() for image in data.images}
    assert train_set.isdisjoint(image.numpy().tobytes() for image in exam.images.flatten(0, 1))


def test_material_of_other_settings():
    few = evaluate.material(replace(FAST, n_seen=23, per_species=4), 3)
    assert len(set(few.photos.labels)) == 23
    assert set(few.photos.labels) == {taxa()[i] for i in few.exam.split.seen}
    tail = evaluate.material(replace(FAST, exponent=1.0), 3)
    counts = torch.bincount(tail.photos.species)
    assert counts.sum() == 184
    assert counts.max() > 10 * counts.min()


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_can_be_trained_and_scored(material, arm):
    run = evaluate.train_arm(arm, 3, FAST, material, quiet=True)
    assert len(run.losses) == 3
    names = set(run.scores)
    assert {"few.1.CL2N", "few.5.L2N", "tree.seen", "tree.unseen", "silhouette.class", "knn.genus"} <= names
    if arm in ("ce", "hce"):
        assert run.tokenizer is None
        assert ("head.kingdom" in names) is (arm == "hce")
        assert "head.species" in names
        assert not any(name.startswith("zero") for name in names)
    else:
        assert {f"zero.{kind}.{part}" for kind in TEXT_TYPES for part in ("seen", "u1", "u2")} <= names
        assert {"open.unseen.kingdom", "ece.seen.species", "severity.seen"} <= names
    values = torch.tensor([v for k, v in run.scores.items() if not k.startswith(("severity", "tree", "silhouette"))])
    assert ((values >= 0) & (values <= 1)).all()


def test_scores_are_those_of_the_parts(material):
    run = evaluate.train_arm("sci", 3, FAST, material, quiet=True)
    exam = material.exam
    images = evaluate.image_table(run.model, exam)
    texts = evaluate.text_table(run.model, run.tokenizer, exam.taxa)
    scale = run.model.logit_scale.exp().item()
    u2 = evaluate.zero_shot(images, texts["com"], scale, exam.taxa, exam.split.u2, Rank.GENUS)
    assert run.scores["zero.com.u2"] == pytest.approx(u2.double().mean().item())
    found = evaluate.open_ranks(images, texts["sci"], scale, exam.taxa, exam.unseen())
    assert run.scores["open.unseen.family"] == pytest.approx(found[Rank.FAMILY].double().mean().item())


def test_a_classifier_is_right_about_what_it_learned():
    """After some steps on five species its heads do better than chance, .2 and at most .5: measured .57 and .9."""
    setting = replace(FAST, n_seen=5, per_species=20, train=TrainConfig(steps=150, warmup=10))
    run = evaluate.train_arm("hce", 0, setting, quiet=True)
    assert run.scores["head.species"] > 0.4
    assert run.scores["head.kingdom"] > 0.7


def test_side_by_side_equals_one_after_the_other(tmp_path):
    path = tmp_path / "results.json"
    many = evaluate.experiments([FAST], ["taxon", "ce"], [0, 1], path)
    one = evaluate.experiments([FAST], ["ce", "taxon"], [1, 0], workers=1)
    assert {k: row["scores"] for k, row in many.rows.items()} == {k: row["scores"] for k, row in one.rows.items()}
    assert len({json.dumps(row["scores"]) for row in many.rows.values()}) == 4
    assert Results(path).rows == dict(sorted(many.rows.items()))


def test_an_interrupted_series_goes_on(tmp_path, monkeypatch):
    path, trained, failed = tmp_path / "results.json", [], []
    jobs = [("com", 0), ("sci", 0), ("com", 1), ("sci", 1)]
    train_arm = evaluate.train_arm

    def counted(arm, seed, *args, **kw):
        trained.append((arm, seed))
        if (arm, seed) == jobs[1] and not failed:
            failed.append(True)
            raise KeyboardInterrupt
        return train_arm(arm, seed, *args, **kw)

    monkeypatch.setattr(evaluate, "train_arm", counted)
    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        evaluate.experiments([FAST], ["com", "sci"], [0, 1], path, workers=1)
    assert torch.get_num_threads() == threads
    kept = Results(path).rows
    assert "fast/com/0" in kept
    assert "fast/sci/0" not in kept  # the one that failed; those behind it may have begun, and then are kept
    trained.clear()
    evaluate.experiments([FAST], ["com", "sci"], [0, 1], path, workers=1)
    assert sorted(trained) == sorted(job for job in jobs if f"fast/{job[0]}/{job[1]}" not in kept)
    evaluate.experiments([FAST], ["com", "sci"], [0, 1], path)
    assert len(trained) == 4 - len(kept)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ValueError, match="other settings"):
        evaluate.experiments([replace(FAST, per_species=3)], ["com"], [0], path)


def rows(**scores):
    """Results with a made-up measure: {"arm": {seed: value}}."""
    results = Results()
    for arm, values in scores.items():
        for seed, value in values.items():
            results.rows[f"base/{arm}/{seed}"] = dict(
                scores={"few.1.CL2N": value} | {f"zero.{kind}.u2": value + i for i, kind in enumerate(TEXT_TYPES)}
            )
    return results


def test_results():
    results = rows(com={0: 0.1, 1: 0.3, 10: 0.2}, hce={1: 0.2, 0: 0.1})
    assert results.values("base", "com", "few.1.CL2N") == {0: 0.1, 1: 0.3, 10: 0.2}
    assert results.interval("base", "com", "few.1.CL2N")[0] == pytest.approx(0.2)
    assert results.paired("base", "com", "hce", "few.1.CL2N")[0] == pytest.approx(0.05)  # on seeds 0 and 1
    with pytest.raises(ValueError, match=r"no measure 'few\.2'; it has few\.1\.CL2N"):
        results.values("base", "com", "few.2")
    with pytest.raises(ValueError, match="no rows of setting 'null'"):
        results.values("null", "com", "few.1.CL2N")
    matrix = results.text_matrix("base", "u2")
    assert list(matrix) == ["com"]
    assert matrix["com"]["taxon"] == pytest.approx(2.2)


@pytest.mark.parametrize("text", ["[]", "{}", '{"source": 1, "settings": {}, "rows": {}}', "hello"])
def test_a_damaged_results_file_is_refused(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"results\.json"):
        Results(path)


def test_results_of_other_pictures_can_be_read_but_not_mixed(tmp_path):
    path = tmp_path / "results.json"
    evaluate.experiments([FAST], ["ce"], [0], path)
    value = json.loads(path.read_text())
    assert value["source"] == SOURCE
    path.write_text(json.dumps(value | dict(source="another painter")))
    assert Results(path).values("fast", "ce", "head.species")
    with pytest.raises(ValueError, match="other pictures"):
        evaluate.experiments([FAST], ["ce"], [1], path)


def test_the_settings_by_name():
    assert list(evaluate.SETTINGS) == [setting.name for setting in evaluate.SETTINGS.values()]
    narrow, diverse = evaluate.SETTINGS["narrow"], evaluate.SETTINGS["diverse"]
    assert 23 * narrow.per_species == 92 * diverse.per_species
    assert narrow.train == diverse.train
    many = evaluate.material(replace(evaluate.SETTINGS["many_tail"], test_per_species=1, per_species=2), 0)
    assert len(many.exam.taxa) == 512
    assert len(many.exam.split.seen) > 450


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "SETTINGS", {"fast": FAST})
    path = tmp_path / "results.json"
    evaluate.main(["--settings", "fast", "--arms", "hce", "--seeds", "4", "--steps", "2", "--out", str(path)])
    assert list(Results(path).rows) == ["fast/hce/4"]
    assert Results(path).settings["fast"]["train"]["steps"] == 2
