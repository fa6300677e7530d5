"""Batches as trees: what is in them, and some images' part of them."""

from collections import UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_gradcam.cam.trees import Rows, at, held_by, joined, leaves, mapped, replaced

Pair = namedtuple("Pair", ["image", "label"])


@dataclass(frozen=True)
class Item:
    image: Tensor
    name: list[str]
    scale: float = 2.0


IMAGES = torch.arange(4.0).reshape(4, 1, 1, 1)
BATCHES: dict[str, Any] = {
    "a dict": {"image": IMAGES, "name": ["a", "b", "c", "d"], "scale": 2.0},
    "a user's dict": UserDict(image=IMAGES, name=["a", "b", "c", "d"], scale=2.0),
    "a dataclass": Item(IMAGES, ["a", "b", "c", "d"]),
    "an object": SimpleNamespace(image=IMAGES, name=["a", "b", "c", "d"], scale=2.0),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_some_images_part_of_a_batch_is_of_its_kind(batch) -> None:
    """What has a row an image is picked, all else goes with each; a row may come twice."""
    found = Rows(batch, 4).at([2, 0, 2])
    assert type(found.tree) is type(batch)
    assert found.count == 3
    assert at(found.tree, ("image",)).flatten().tolist() == [2, 0, 2]
    assert at(found.tree, ("name",)) == ["c", "a", "c"]
    assert at(found.tree, ("scale",)) == 2
    assert at(batch, ("image",)) is IMAGES
    both = joined([found, Rows(batch, 4).at(slice(1))])
    assert at(both.tree, ("name",)) == ["c", "a", "c", "a"]
    assert (both.count, at(both.tree, ("image",)).flatten().tolist()) == (4, [2, 0, 2, 0])


def test_tuples_of_two_for_two_images_are_no_rows() -> None:
    """Nor are lists of views; lists of images are."""
    images = IMAGES[:2].expand(2, 3, 5, 5)
    for batch in ((images, torch.tensor([7, 8])), [[images, images + 1], torch.tensor([7, 8])]):
        found = Rows(batch, 2).at([1])
        assert len(found.tree) == 2
        assert found.tree[1].tolist() == [8]
    assert [len(view) for view in found.tree[0]] == [1, 1]
    apart = Rows(([*images], [{"boxes": torch.zeros(2, 4)}, {"boxes": torch.ones(2, 4)}]), 2).at([1])
    assert torch.equal(apart.tree[0][0], images[1])
    assert (len(apart.tree[0]), len(apart.tree[1]), float(apart.tree[1][0]["boxes"].sum())) == (1, 1, 8)


def test_an_entry_is_replaced_in_a_copy() -> None:
    """At any depth, of any kind."""
    batch = {"inputs": (Pair(IMAGES, 3), [1, 2]), "other": 5}
    found = replaced(batch, ("inputs", 0, "image"), 9)
    assert found == {"inputs": (Pair(9, 3), [1, 2]), "other": 5}
    assert batch["inputs"][0].image is IMAGES
    assert at(found, ("inputs", 0, 1)) == 3
    item = replaced(Item(IMAGES, []), ("image",), 1)
    assert (item.image, item.scale) == (1, 2.0)
    with pytest.raises(LookupError, match=r"there is no inputs\.2"):
        at(batch, ("inputs", 2))


def test_leaves_have_their_paths() -> None:
    """And keep their containers when they are mapped."""
    batch = {"a": [1, {"b": 2}], "c": ()}
    assert list(leaves(batch)) == [(("a", 0), 1), (("a", 1, "b"), 2), (("c",), ())]
    assert mapped(batch, str) == {"a": ["1", {"b": "2"}], "c": "()"}
    assert held_by("text") == held_by(torch.zeros(2)) == held_by(torch.nn.Linear(1, 1)) == {}


def test_rows_of_other_sizes_are_filled_up_and_it_is_said(caplog) -> None:
    """As texts are that are padded batch by batch; each image keeps its own."""
    parts = [Rows((torch.full((2, length), float(length)), np.full((2, 1), length)), 2) for length in (3, 5)]
    both = joined(parts)
    assert both.tree[0].tolist() == [[3, 3, 3, 0, 0]] * 2 + [[5] * 5] * 2
    assert both.at([3, 0]).tree[1].tolist() == [[5], [3]]
    assert "the batches' entry 0 is of several sizes: where it is smaller than (5,) it is filled up" in caplog.text
    with pytest.raises(ValueError, match="entry 0 has other axes from batch to batch"):
        joined([Rows((torch.zeros(2, 3),), 2), Rows((torch.zeros(2, 3, 1),), 2)])


def test_what_rows_are_is_told_once() -> None:
    """Of all batches: a constant that is as long as one of them, or as a chunk, is no row."""
    batches = [{"x": torch.zeros(count, 2), "mean": torch.ones(3)} for count in (3, 1)]
    both = joined([Rows(one, len(one["x"])) for one in batches])
    assert both.paths == {("x",)}
    assert both.at([0, 3, 1]).at([1]).tree["mean"].tolist() == [1, 1, 1]
