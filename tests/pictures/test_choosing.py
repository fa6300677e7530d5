"""Which of many images are drawn."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lightning_gradcam.pictures.choosing import MOST_MAPS, drawn, foremost, moved, spread
from lightning_gradcam.pictures.film import Strip
from lightning_gradcam.pictures.grid import GRID_SIDES, Sheet
from lightning_gradcam.pictures.looks import Caption, Scene, Sight


def test_few_images_are_all_drawn() -> None:
    """In their order."""
    assert spread(["a", "b"] * 8) == list(range(16))
    assert spread([]) == []
    assert spread(["a"], 16, first=[0]) == [0]


def test_without_truths_they_are_spread_over_all() -> None:
    """From the middles of equal stretches."""
    assert spread([""] * 32, 4) == [4, 12, 20, 28]


@pytest.mark.parametrize("count", [17, 100, 256, 1000])
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 16, 40])
def test_classes_are_as_even_as_they_come(count, classes) -> None:
    """Sixteen different rows, in order; none of two classes has two images more than the other."""
    truths = [row * row % classes for row in range(count)]
    chosen = spread(truths)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 16
    seen, there = Counter(truths[row] for row in chosen), Counter(truths)
    full = [number for of, number in seen.items() if number < there[of]]
    assert max(seen.values()) - min(full, default=99) <= 1
    assert spread(truths) == chosen


def test_a_rare_class_is_there() -> None:
    """One image of a thousand; its room is no other's."""
    truths = ["often"] * 999
    truths.insert(500, "rare")
    chosen = spread(truths)
    assert 500 in chosen
    assert len(chosen) == 16
    assert chosen[0] < 100
    assert chosen[-1] > 900


def test_within_a_class_they_are_spread() -> None:
    """Two classes behind each other: four from each, a quarter apart."""
    assert spread([0] * 40 + [1] * 40, 8) == [5, 15, 25, 35, 45, 55, 65, 75]


def test_given_rows_are_among_them() -> None:
    """In order, none twice; of their class there are then fewer others."""
    truths = [0] * 40 + [1] * 40
    chosen = spread(truths, 8, first=[39, 38, 37, 39])
    assert {37, 38, 39} <= set(chosen)
    assert len(chosen) == 8
    assert Counter(truths[row] for row in chosen) == {0: 4, 1: 4}
    assert spread(truths, 3, first=[70, 60, 50, 40]) == [50, 60, 70]


@pytest.mark.parametrize("targets", [1, 2, 3, 5, 16, 17, 1000])
def test_a_run_draws_as_many_maps_as_a_strip_has_room_for(targets) -> None:
    """Sixteen images, or 48 maps."""
    rows = drawn([""] * 500, targets)
    assert len(rows) == {1: 16, 2: 16, 3: 16, 5: 9}.get(targets, 3)
    assert len(rows) * min(targets, 16) <= MOST_MAPS


def test_half_a_turn_counts_less_than_a_whole_one() -> None:
    """1 - cosine similarity, of the target that moved farthest."""
    shapes = np.zeros((2, 3, 2, 1, 2), np.float32)
    shapes[0, :, :, 0, 0] = 1
    shapes[1, :, :, 0, 0] = 1
    shapes[1, 1, 1, 0] = [1, 1]
    shapes[1, 2, 0, 0] = [0, 1]
    states = np.zeros((3, 2), np.uint8)
    first, last = (Sight(0, maps, states, []) for maps in shapes)
    assert moved(first, last).tolist() == [0, pytest.approx(1 - 0.5**0.5, abs=1e-6), 1]
    states = np.array([[0, 0], [0, 2], [2, 2]], np.uint8)
    assert moved(first, Sight(0, shapes[1], states, [])).tolist() == [0, 0, 0]


def test_those_that_have_most_come_first_and_ties_are_spread_over_the_classes() -> None:
    """None that has nothing, also where there would be room."""
    amounts, truths = np.array([0, 0.5, 0.5, 0.5, 1, 0.5, 0]), [0, 0, 0, 0, 1, 1, 1]
    assert foremost(amounts, truths, 16) == [1, 2, 3, 4, 5]
    assert foremost(amounts, truths, 1) == [4]
    assert foremost(amounts, truths, 3) == [2, 4, 5]
    assert foremost(amounts, truths, 2) == [2, 4]
    assert foremost(np.zeros(7), truths, 16) == []


@pytest.mark.parametrize(
    ("chosen", "drawn", "having", "told"),
    [
        ("wrong", 16, 742, "16 of 742 wrong images of 1000"),
        ("wrong", 5, 5, "all 5 wrong images of 1000"),
        ("wrong", 1, 1, "the only wrong image of 1000"),
        ("wrong", 1, 3, "1 of 3 wrong images of 1000"),
        ("moved", 6, 900, "6 of 1000 images, those that moved most"),
        ("moved", 3, 3, "3 of 1000 images, all that moved"),
        ("", 6, 0, "6 of 1000 images"),
    ],
)
def test_a_header_says_which_and_how_many_images_are_drawn(chosen, drawn, having, told) -> None:
    """Of those that were to choose from, and of all."""
    scene = Scene([np.zeros((2, 2, 3), np.uint8)] * drawn, [""] * drawn, "", total=1000, chosen=chosen, having=having)
    assert scene.counted() == told
    assert scene.counted(12) == told.replace("wrong images of", "images wrong at a look here, of").replace(
        "wrong image of", "image wrong at a look here, of"
    )


def test_a_header_says_which_or_how_many_looks_are_drawn() -> None:
    """Steps where they are all; what a frame says only where there is one."""
    right, wrong = (Caption("true 1", "predicted 1", is_wrong) for is_wrong in (False, True))
    maps, states = np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 1), np.uint8)
    sights = [Sight(step, maps, states, [right]) for step in (0, 5, 10)]
    scene = Scene([np.zeros((32, 32, 3), np.uint8)], ["true 1"], "", looks=3)
    assert scene.looked(sights) == "epochs 0 to 10"
    assert scene.looked(sights[:2]) == "2 of 3 looks"
    assert replace(scene, looks=0, unit="step").looked(sights[1:2]) == "step 5"
    assert Strip(scene, sights).key == "truth → last answer"
    assert Strip(scene, [*sights, replace(sights[0], captions=[wrong])]).key.endswith("; ✗, dashed: wrong")
    assert Sheet(scene, 1, GRID_SIDES).key(sights) == "below: truth → answer"
