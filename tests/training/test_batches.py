"""Where in a batch its images, labels and masks are."""

from collections import UserDict
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.training.batches import Keys, Places, find_places, of_one_size
from lightning_gradcam.training.probe_set import read_probe_set

from ..conftest import Classifier, make_pairs

IMAGES, LABELS, MASKS = torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), torch.zeros(2, 1, 8, 8)


@dataclass
class ImageBatch:
    """As anomalib's."""

    image: Tensor
    gt_label: Tensor
    gt_mask: Tensor
    image_path: list[str]


CASES = {
    "a tuple": ((IMAGES, LABELS, MASKS), Places((0,), (1,), (2,))),
    "images alone": (IMAGES, Places((), None, None)),
    "a list of one": ([IMAGES], Places((0,), None, None)),
    "a dict": ({"mask": MASKS, "label": LABELS, "image": IMAGES}, Places(("image",), ("label",), ("mask",))),
    "a dict of transformers": (
        UserDict(pixel_values=IMAGES, labels=LABELS),
        Places(("pixel_values",), ("labels",), None),
    ),
    "a dataclass": (
        ImageBatch(IMAGES, LABELS, MASKS, ["a", "b"]),
        Places(("image",), ("gt_label",), ("gt_mask",)),
    ),
    "an object": (SimpleNamespace(x=IMAGES, y=LABELS), Places(("x",), ("y",), None)),
    "a dict in a dict": (
        {"inputs": {"rgb": IMAGES, "depth": IMAGES}, "target": {"label": LABELS, "mask": MASKS}},
        Places(("inputs", "rgb"), ("target", "label"), ("target", "mask")),
    ),
    "two dicts": (({"image": IMAGES}, {"label": LABELS}), Places((0, "image"), (1, "label"), None)),
    "images and a dict": ((IMAGES, {"label": LABELS}), Places((0,), (1, "label"), None)),
    "inputs and labels": (((IMAGES, torch.rand(2, 5)), LABELS), Places((0, 0), (1,), None)),
    "views": (([IMAGES, IMAGES], LABELS, ["a", "b"]), Places((0, 0), (1,), None)),
    "an unknown key": ({"ids": LABELS, "photo": IMAGES}, Places(("photo",), None, None)),
    "a list of images": (([*IMAGES], [{"boxes": torch.zeros(2, 4), "labels": LABELS}] * 2), Places((0,), None, None)),
    "masks before images": ({"mask": IMAGES * 0, "photo": IMAGES}, Places(("photo",), None, ("mask",))),
    "an index in front": ((LABELS + 5, IMAGES, LABELS, MASKS), Places((1,), (2,), (3,))),
    "labels as a list": (
        ([*IMAGES], [0, 1]),
        Places((0,), (1,), None),
    ),
}


@pytest.mark.parametrize(("batch", "expected"), CASES.values(), ids=CASES)
def test_they_are_found_by_usual_names_and_places(batch, expected) -> None:
    """In dicts, tuples, lists and objects, at any depth."""
    found = find_places(batch, Keys())
    assert (found.image, found.label) == (expected.image, expected.label)
    assert torch.equal(found.read(batch)[0], IMAGES)
    if expected.label:
        assert found.read(batch)[1].tolist() == [0, 1]
    assert found.mask == expected.mask


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (Keys(image="inputs.depth"), Places(("inputs", "depth"), ("target", "label"), None)),
        (Keys(label="target.other.1"), Places(("inputs", "rgb"), ("target", "other", 1), None)),
        (Keys(image="inputs"), Places(("inputs", "rgb"), ("target", "label"), None)),
    ],
)
def test_keys_may_be_paths(keys, expected) -> None:
    """From outside in, with dots."""
    batch = {"inputs": {"rgb": IMAGES, "depth": IMAGES + 1}, "target": {"label": LABELS, "other": (LABELS, LABELS + 1)}}
    found = find_places(batch, keys)
    assert (found.image, found.label) == (expected.image, expected.label)
    assert find_places({"a.b": IMAGES}, Keys(image="a.b")).image == ("a.b",)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (Keys(image="inputs.rbg"), r"image_key='inputs.rbg' is not in the batch.*did you mean 'inputs.rgb'"),
        (Keys(image="target"), r"image_key='target': the batch, a dict of \{'inputs.rgb': \(2, 3, 8, 8\)"),
        (Keys(label="name"), r"label_key='name' is a str"),
    ],
)
def test_wrong_keys_are_told_with_what_there_is(keys, message) -> None:
    """And with the nearest."""
    with pytest.raises(ValueError, match=message):
        find_places({"inputs": {"rgb": IMAGES}, "target": LABELS, "name": "a"}, keys)


def test_where_no_labels_are_found_it_is_said_what_there_is(caplog) -> None:
    """Where something may be labels."""
    find_places({"image": IMAGES, "species": LABELS}, Keys())
    assert "no labels are found in the batch" in caplog.text
    assert "label_key= names them, as label_key='species'" in caplog.text
    caplog.clear()
    find_places({"image": IMAGES, "name": ["a", "b"]}, Keys())
    find_places((IMAGES, LABELS), Keys())
    assert caplog.text == ""


def test_images_of_several_sizes_are_brought_to_the_firsts() -> None:
    """Classes of pixels stay classes."""
    images = of_one_size([torch.zeros(1, 3, 4, 8), torch.ones(2, 3, 9, 9)], of_images=True)
    assert [tuple(one.shape) for one in images] == [(1, 3, 4, 8), (2, 3, 4, 8)]
    assert float(images[1].min()) == pytest.approx(1)
    maps = of_one_size([torch.zeros(1, 4, 4, dtype=torch.long), torch.tensor([[[7, 9], [9, 7]]])])
    assert maps[1][0].tolist() == [[7, 7, 9, 9], [7, 7, 9, 9], [9, 9, 7, 7], [9, 9, 7, 7]]


def test_what_has_no_row_an_image_is_no_label(caplog) -> None:
    """And is said so."""
    batch = {"image": IMAGES, "label": torch.tensor([1, 2, 3])}
    assert find_places(batch, Keys()).read(batch)[1] is None
    assert "the batch's entry label, of (3,), is not read: it has no row for each of the 2 images" in caplog.text


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ((IMAGES, torch.rand(2, 3), LABELS), "entry 1, of [1, 2]; label_key=2 takes another"),
        ((IMAGES, torch.rand(2), LABELS), "entry 1, of [1, 2]; label_key=2 takes another"),
        ((IMAGES, IMAGES + 1, LABELS), "entry 1, of [1, 2]; label_key=2 takes another"),
        ((IMAGES, LABELS, torch.rand(2, 4)), ""),
        ((IMAGES, LABELS, MASKS), ""),
    ],
)
def test_of_entries_that_may_be_labels_it_is_said_which_was_taken(batch, told, caplog) -> None:
    """Rows, weights and second images in front of labels; no boxes or masks behind them."""
    find_places(batch, Keys())
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)


def test_several_sizes_are_said_once(caplog) -> None:
    """Of the images that are taken, however many batches they come in."""

    def batches(*heights: int) -> list[dict[str, object]]:
        return [{"image": [torch.zeros(3, height, 8), torch.zeros(3, 4, 8)], "label": [0, 1]} for height in heights]

    found = read_probe_set(batches(4, 6, 9, 12), 5, Keys(), lambda batch: batch)
    assert found.images.shape == (5, 3, 4, 8)
    assert caplog.text.count("the images are of 3 sizes: all are brought to the first's, 4x8") == 1
    caplog.clear()
    assert read_probe_set(batches(4, 9), 2, Keys(), lambda batch: batch).images.shape == (2, 3, 4, 8)
    assert "sizes" not in caplog.text


def test_labels_stand_behind_what_the_model_needs(caplog) -> None:
    """Of (image, row, label) for a model of two inputs the third; nothing of its inputs is taken for labels."""
    row, label = torch.rand(2, 4), torch.tensor([1, 2])
    assert find_places((IMAGES, row, label), Keys(), inputs=2) == Places((0,), (2,), None)
    assert find_places((IMAGES, IMAGES, label), Keys(), inputs=2) == Places((0,), (2,), None)
    assert find_places(((IMAGES, row), label), Keys(), inputs=2) == Places((0, 0), (1,), None)
    assert find_places((IMAGES, row), Keys(), inputs=2) == Places((0,), None, None)
    assert caplog.text == ""
    assert find_places((IMAGES, row, label), Keys()).label == (1,)
    assert "label_key=2 takes another" in caplog.text


def test_words_are_no_labels(caplog) -> None:
    """And where the images are named as labels none are read: both are said."""
    assert find_places({"image": IMAGES, "label": ["cat", "dog"]}, Keys()).label is None
    assert "no labels are read: label holds words, and accepted are numbers" in caplog.text
    assert find_places((IMAGES, LABELS), Keys(label=0)).label is None
    assert "label_key=0 is where the images are: no labels are read" in caplog.text


def test_a_batch_that_holds_itself(make_trainer, caplog) -> None:
    """It is read, and left out where it cannot be copied; the fit goes on as without."""

    def collate(items: list) -> dict[str, object]:
        images, labels = default_collate(items)
        batch: dict[str, object] = {"image": images, "gt": labels}
        batch["self"] = batch
        return batch

    class Reading(Classifier):
        def training_step(self, batch: dict, batch_idx: int) -> Tensor:
            return super().training_step((batch["image"], batch["gt"]), batch_idx)

        def validation_step(self, batch: dict, batch_idx: int) -> None:
            """Lightning's own log would fail on such a batch."""

        def transfer_batch_to_device(self, batch: dict, device: object, dataloader_idx: int) -> dict:
            return batch

    caplog.set_level("INFO")
    loader, callback = DataLoader(make_pairs(12), batch_size=4, collate_fn=collate), GradCAMCallback(images=4)
    make_trainer(callback, max_epochs=1).fit(Reading(), loader, loader)
    assert callback._memory.looks == 2
    assert "what came with the images cannot be kept, and is left out" in caplog.text
