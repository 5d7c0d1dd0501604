from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import pytest

from bestpapers.feedback import worlds
from bestpapers.feedback.record import MAPS, SCORES, words
from bestpapers.feedback.worlds import (
    AXIS,
    FAULTS,
    SMALL,
    WORLD,
    Caption,
    Group,
    Layout,
    Thing,
    World,
    compare,
    corrupt,
    counterfactual,
    parse,
    place,
    render,
    true_example,
)

CAT, TWO_CUPS = Group(1, "red", "cat"), Group(2, "blue", "cup")
LEFT = Caption((CAT, TWO_CUPS), "left", "day")
CAT_AT, CUPS_AT = Thing("cat", "red", 2, 0), (Thing("cup", "blue", 1, 4), Thing("cup", "blue", 5, 6))
SCENE = Layout((CUPS_AT[0], CAT_AT, CUPS_AT[1]), "day")


def wrong_words(caption, layout):
    wrong = compare(caption, layout).wrong
    return [word for word, claim in caption.parts if claim in wrong]


def made(fault, count, size=64, seed=0):
    """So many examples with a fault, of the whole world."""
    rng = np.random.default_rng([seed, FAULTS.index(fault)])
    out = []
    while len(out) < count:
        example = corrupt(true_example(*WORLD.draw(rng), size), fault, rng)
        if example:
            out.append(example)
    return out


def test_a_prompt_is_plain_english_of_few_words_and_says_the_caption():
    assert LEFT.prompt == "a red cat left of two blue cups by day"
    assert Caption((Group(3, "green", "fish"),), "", "night").prompt == "three green fish at night"
    assert len(worlds.WORDS) == len(set(worlds.WORDS)) == 34
    rng = np.random.default_rng(0)
    for _ in range(100):
        caption, _ = WORLD.draw(rng)
        assert parse(caption.prompt) == caption
        assert words(caption.prompt) == tuple(word for word, _ in caption.parts)
        assert set(words(caption.prompt)) <= set(worlds.WORDS)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "expected a count .*found the end"),
        ("a red dog by day", "expected a thing .*found 'dog'"),
        ("two red cat by day", "expected a thing .*found 'cat'"),
        ("a pink cat by day", "expected a colour .*found 'pink'"),
        ("a red cat near a blue cup by day", "expected a relation or a time .*found 'near'"),
        ("a red cat left a blue cup by day", "expected a relation or a time .*found 'left'"),
        ("a red cat", "expected a relation or a time .*found the end"),
        ("a red cat and a blue cup and a green fish by day", "expected a time .*found 'and'"),
        ("a red cat by day at night", "expected the end, found 'at'"),
    ],
)
def test_a_prompt_that_is_not_of_this_world_is_refused_by_its_word(prompt, message):
    with pytest.raises(ValueError, match=message):
        parse(prompt)


def test_a_drawn_layout_honours_its_caption_and_no_box_overlaps():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(200):
        caption, layout = WORLD.draw(rng)
        assert compare(caption, layout) == worlds.Comparison(frozenset(), (), 0)
        things = layout.things
        assert not any(a.touches(b) for n, a in enumerate(things) for b in things[:n])
        assert all(0 <= edge <= worlds.CELLS for thing in things for edge in thing.box)
        seen.add(caption.relation)
    assert seen == {"", *worlds.RELATIONS}


def test_a_caption_that_does_not_fit_has_no_layout():
    assert (
        place(Caption((Group(3, "red", "tree"), Group(3, "blue", "tree")), "left", "day"), np.random.default_rng(0))
        is None
    )


def test_few_patches_make_up_all_pictures():
    for world, size, most in ((WORLD, 64, 560), (SMALL, 32, 100)):
        rng, seen, p = np.random.default_rng(0), set(), size // 8
        for _ in range(250):
            picture = render(world.draw(rng)[1], size)
            seen |= {picture[r : r + p, c : c + p].tobytes() for r, c in product(range(0, size, p), repeat=2)}
        assert most / 2 < len(seen) <= most


@pytest.mark.parametrize("size", [32, 64, 128])
def test_a_picture_shows_things_where_they_are_and_the_board_elsewhere(size):
    picture, again = render(SCENE, size), render(SCENE, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, again)
    boxes = np.zeros((size, size), bool)
    for thing in SCENE.things:
        boxes[worlds.box_slices(thing, size // 8)] = True
    np.testing.assert_array_equal(picture[~boxes], worlds.empty("day", size)[~boxes])
    drawn = worlds.far(picture / 255, np.array(worlds.BOARDS["day"].flat))
    assert drawn[worlds.silhouette(SCENE.things, size)].mean() > 0.95
    red = picture[worlds.silhouette((CAT_AT,), size)].astype(int)
    assert (red[:, 0] > red[:, 2] + 30).mean() > 0.6


@pytest.mark.parametrize("size", [16, 60, 65, 1024])
def test_sizes_that_the_cells_do_not_fit_are_refused(size):
    with pytest.raises(ValueError, match="multiple of 8, 32 to 512"):
        render(SCENE, size)


@pytest.mark.parametrize("kind", worlds.KINDS)
def test_a_thing_is_not_another_one_and_its_limbs_are_seen(kind):
    pixels = 8
    plain = worlds.sprite(kind, "red", pixels)
    edge = slice(pixels, -pixels)
    assert not plain.alpha[:pixels].any()  # nothing outside its box
    assert plain.alpha[edge, edge].max() == pytest.approx(1)
    for limb, look in worlds.KINDS[kind].limbs.items():
        lost = worlds.sprite(kind, "red", pixels, (limb, "missing", 0))
        for n in range(len(look.places)):
            other = worlds.sprite(kind, "red", pixels, (limb, "misplaced", n))
            assert np.abs(other.colour - lost.colour).sum() > 3, (limb, n)
        assert np.abs(plain.colour - lost.colour).sum() > 3, limb


def test_what_holds_of_two_boxes():
    cup, table = Thing("cup", "red", 1, 3), Thing("table", "blue", 3, 2)
    assert worlds.holds("on", cup, table)
    assert worlds.holds("above", cup, table)
    assert worlds.holds("below", table, cup)
    assert not worlds.holds("on", replace(cup, row=0), table)
    assert not worlds.holds("on", replace(cup, col=5), table)
    assert worlds.holds("left", replace(cup, col=0.4), table)
    assert not worlds.holds("left", replace(cup, col=0.6), table)
    assert worlds.holds("right", replace(cup, col=6), table)
    assert worlds.holds("and", cup, table)


@pytest.mark.parametrize(
    ("layout", "said", "blamed", "unasked"),
    [
        (SCENE, [], 0, 0),
        (replace(SCENE, board="night"), ["day"], 0, 0),
        (Layout((CAT_AT, CUPS_AT[0]), "day"), ["two"], 0, 0),
        (Layout(CUPS_AT, "day"), ["red", "cat", "left"], 0, 0),
        (Layout((CAT_AT,), "day"), ["left", "two", "blue", "cups"], 0, 0),
        (Layout((), "day"), ["red", "cat", "left", "two", "blue", "cups"], 0, 0),
        (Layout((replace(CAT_AT, colour="green"), *CUPS_AT), "day"), ["red"], 1, 0),
        (Layout((replace(CAT_AT, kind="boat"), *CUPS_AT), "day"), ["cat"], 1, 0),
        (Layout((Thing("tree", "green", 2, 0), *CUPS_AT), "day"), ["red", "cat", "left"], 1, 1),
        (Layout((*SCENE.things, Thing("tree", "green", 4, 3)), "day"), [], 1, 1),
        (Layout((*SCENE.things, Thing("cat", "green", 5, 0)), "day"), ["a"], 1, 0),
        (Layout((replace(CAT_AT, row=5), *(replace(t, col=0) for t in CUPS_AT)), "day"), ["left"], 3, 0),
        (
            Layout((replace(CAT_AT, colour="blue"), *(replace(t, colour="red") for t in CUPS_AT)), "day"),
            ["red", "blue"],
            3,
            0,
        ),
    ],
)
def test_the_words_that_a_layout_does_not_honour(layout, said, blamed, unasked):
    found = compare(LEFT, layout)
    assert wrong_words(LEFT, layout) == said
    assert (len(found.blamed), found.unasked) == (blamed, unasked)
    assert (worlds.alignment(LEFT, found) == 1) == (not said and not unasked)


def test_of_two_equal_things_the_lower_one_is_too_many():
    second = Thing("cat", "red", 5, 3)
    layout = Layout((CAT_AT, second), "day")
    assert compare(Caption((CAT,), "", "day"), layout).blamed == (second,)


def test_scores_fall_with_faults():
    region = np.zeros((64, 64), bool)
    last = worlds.plausibility(region, SCENE.things)
    assert last == 1
    assert worlds.plausibility(region, ()) == 0
    for size in (2, 4, 8, 16):
        region[:size, :size] = True
        now = worlds.plausibility(region, SCENE.things)
        assert 0 < now < last
        last = now
    scores = [worlds.alignment(LEFT, worlds.Comparison(frozenset(["day", "left", "red"][:n]), (), 0)) for n in range(4)]
    assert scores[0] == 1
    assert sorted(scores, reverse=True) == scores


def test_aesthetics_like_the_middle_and_colour_and_lie_in_0_to_1():
    assert worlds.aesthetics(np.tile(np.uint8(worlds.empty("day", 64)[8, 0]), (64, 64, 1)), "day") == 0
    middle, corner = (Layout((Thing("cat", "red", at, at),), "day") for at in (2, 5))
    scores = [worlds.aesthetics(render(layout, 64), "day") for layout in (middle, corner)]
    assert 1 > scores[0] > scores[1] > 0


def test_feedback_is_whole():
    said = true_example(LEFT, SCENE, 32).feedback()
    assert set(said.scores) == set(SCORES)
    assert set(said.maps) == set(MAPS)
    assert all(m.shape == (32, 32) and m.dtype == np.float32 and not m.any() for m in said.maps.values())
    assert said.scores["plausibility"] == said.scores["alignment"] == 1
    assert len(said.misaligned) == len(words(LEFT.prompt))
    blended = 0.8 + 0.2 * said.scores["aesthetics"]
    assert said.scores["overall"] == pytest.approx(blended)


def test_a_counterfactual_is_a_near_and_false_caption():
    rng = np.random.default_rng(2)
    kinds = set()
    for _ in range(150):
        caption, layout = WORLD.draw(rng)
        other = counterfactual(caption, layout, rng)
        assert compare(other, layout).wrong
        assert parse(other.prompt) == other
        changed = {name for name in ("groups", "relation", "board") if getattr(other, name) != getattr(caption, name)}
        assert len(changed) == 1
        kinds |= changed
        if changed == {"groups"} and sorted(map(repr, other.groups)) != sorted(map(repr, caption.groups)):
            pairs = [
                (getattr(a, f), getattr(b, f))
                for a, b in zip(caption.groups, other.groups)
                for f in ("count", "colour", "kind")
            ]
            differ = [(a, b) for a, b in pairs if a != b]
            assert len(differ) == 1 or (
                len(differ) == 2 and set(differ[0]) == set(differ[1])
            )  # a word, or two that swap
    assert kinds == {"groups", "relation", "board"}


def test_a_counterfactual_needs_something_to_change():
    world = World(kinds=("cat", "cup"), colours=("red", "blue"), boards=("day",), relations=("and",), most=1, single=0)
    caption = Caption((Group(1, "red", "cat"), Group(1, "blue", "cup")), "and", "day")
    other = counterfactual(caption, place(caption, np.random.default_rng(0)), np.random.default_rng(0), world)
    assert [group.colour for group in other.groups] == ["blue", "red"]  # colours swapped is all that there is


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if AXIS[fault] == "alignment"])
def test_a_fault_of_alignment_leaves_all_things_sound(fault):
    for example in made(fault, 8):
        said = example.feedback()
        assert said.scores["plausibility"] == 1
        assert said.scores["alignment"] < 1
        assert said.misaligned.any()
        assert not said.maps["implausibility"].any()
        np.testing.assert_array_equal(example.picture, render(example.layout, 64))
        blamed = compare(example.caption, example.layout).blamed
        np.testing.assert_array_equal(said.maps["misalignment"] > 0, worlds.silhouette(blamed, 64))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if AXIS[fault] == "plausibility"])
def test_a_fault_of_plausibility_leaves_all_words_true_and_is_where_it_says(fault, size):
    for example in made(fault, 8, size):
        said = example.feedback()
        assert said.scores["alignment"] == 1
        assert said.scores["plausibility"] < 1
        assert not said.misaligned.any()
        assert not said.maps["misalignment"].any()
        region = said.maps["implausibility"] > 0
        clean = render(example.layout, size)
        changed = (example.picture != clean).any(-1)
        assert changed[region].mean() > 0.6
        assert cv2.dilate(changed.astype(np.uint8), np.ones((5, 5), np.uint8))[region].all()  # two pixels away at most
        near = worlds.far(worlds.soft(example.picture), worlds.soft(clean)) & ~region  # specks and thin lines at most
        assert near.mean() < 0.01
        for thing in example.layout.things:
            assert region[worlds.silhouette((thing,), size)].mean() <= worlds.LEFT


def test_faults_add_up_and_come_in_order():
    rng = np.random.default_rng(0)
    first = made("limb missing", 1)[0]
    both = corrupt(first, "crumbs", rng)
    assert both.implausible.sum() > first.implausible.sum()
    with pytest.raises(ValueError, match="changed before the picture is damaged"):
        corrupt(first, "one more", rng)
    with pytest.raises(ValueError, match="fault 'melted': there are"):
        corrupt(first, "melted", rng)


def test_a_fault_that_has_no_room_is_none():
    caption, rng = Caption((CAT,), "", "day"), np.random.default_rng(0)
    example = true_example(caption, place(caption, rng), 32)
    assert [corrupt(example, fault, rng) for fault in ("swapped", "colours swapped", "one missing")] == [None] * 3
    assert corrupt(example, "other time", rng, SMALL) is None  # which knows one board


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": ("cat",)}, "World.kinds"),
        ({"kinds": ("cat", "dog")}, "World.kinds"),
        ({"colours": ("red", "red")}, "World.colours"),
        ({"boards": ()}, "World.boards"),
        ({"kinds": ("cat", "cup")}, "only be on a table"),
        ({"most": 4}, "most 4"),
        ({"single": 1.5}, "single 1.5"),
    ],
)
def test_a_world_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(WORLD, **change)
