"""The probe set."""

import logging
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset, get_worker_info

from lightning_gradcam.errors import SettingError
from lightning_gradcam.training.asked import asked_for, check_images
from lightning_gradcam.training.batches import Keys
from lightning_gradcam.training.choosing import chosen
from lightning_gradcam.training.masks import to_masks
from lightning_gradcam.training.probe_set import read_probe_set


class Numbered(Dataset):
    """Each image is its index; augmented by random noise where asked."""

    def __init__(self, count: int = 20, noise: bool = False) -> None:
        self.count, self.noise = count, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        image = torch.full((1, 2, 2), float(index))
        if self.noise:
            image = image + torch.rand(1) + random.random() + np.random.rand()
        return image.float(), index % 5, torch.full((2, 2), index > 7)


def read(loader, images, **keys):
    return read_probe_set(loader, images, Keys(**keys), lambda batch: batch)


def test_images_are_read_with_what_came_with_them() -> None:
    """Labels, masks, and where in the dataset they are."""
    loader = DataLoader(Numbered(), 3)
    places = chosen(loader, 4)
    probe = read(loader, 4)
    assert probe.indices.tolist() == places
    assert probe.images[:, 0, 0, 0].tolist() == places
    assert probe.labels.tolist() == [place % 5 for place in places]
    assert probe.masks[:, 0, 0].tolist() == [place > 7 for place in places]


@pytest.mark.parametrize("workers", [0, 2])
def test_they_are_the_same_in_every_run_whatever_shuffles(workers) -> None:
    """Also with random augmentation; and no random state moves."""
    torch.manual_seed(7)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    shuffled = DataLoader(Numbered(noise=True), 3, shuffle=True, num_workers=workers)
    first = read(shuffled, 5)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert (states[2] == np.random.get_state()[1]).all()
    torch.manual_seed(8), random.seed(8), np.random.seed(8)
    assert torch.equal(read(shuffled, 5).images, first.images)


def test_indices_are_read_in_their_order() -> None:
    """As given."""
    assert read(DataLoader(Numbered(), 2), [11, 3, 5]).images[:, 0, 0, 0].tolist() == [11, 3, 5]


class Fragile(Dataset):
    """Its third image cannot be read; the others are bright where a worker reads them."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int):
        if index == 2:
            raise OSError("a broken file")
        return torch.full((1, 2, 2), float(get_worker_info() is not None)), index


@pytest.mark.parametrize("workers", [0, 2])
def test_beside_a_broken_image_the_others_are_read_where_the_loader_reads(workers) -> None:
    """A dataset that opens files at its first read does so in a worker, and never before a fork."""
    probe = read(DataLoader(Fragile(), 2, num_workers=workers), 4)
    assert probe.indices.tolist() == [0, 1, 3]
    assert probe.images[:, 0, 0, 0].tolist() == [float(workers > 0)] * 3


def test_a_sampler_of_a_subset_bounds_the_choice() -> None:
    """Its other images are training images."""
    loader = DataLoader(Numbered(), 2, sampler=SubsetRandomSampler([19, 17, 18, 16]))
    assert read(loader, 4).images[:, 0, 0, 0].tolist() == [16, 17, 18, 19]


def test_loaders_without_batching_and_other_iterables_give_their_first_images() -> None:
    """Each item is a batch."""
    batches = [(torch.full((2, 1, 2, 2), float(i)), torch.tensor([i, i])) for i in range(4)]
    for loader in (batches, DataLoader(TensorDataset(*map(torch.stack, zip(*batches, strict=True))), batch_size=None)):
        probe = read(loader, 3)
        assert probe.images.shape == (3, 1, 2, 2)


@pytest.mark.parametrize(
    ("batch", "keys"),
    [
        ({"pixel_values": torch.ones(2, 1, 2, 2), "labels": torch.tensor([3, 4])}, {}),
        ({"a": torch.ones(2, 1, 2, 2), "b": torch.tensor([3, 4])}, {"image": "a", "label": "b"}),
        ((torch.tensor([3, 4]), torch.ones(2, 1, 2, 2)), {"image": 1, "label": 0}),
    ],
)
def test_images_and_labels_are_found_in_batches(batch, keys) -> None:
    """By usual names, or by key or place."""
    probe = read([batch], 2, **keys)
    assert probe.images.shape == (2, 1, 2, 2)
    assert probe.labels.tolist() == [3, 4]


def test_a_batch_of_images_alone_has_no_labels() -> None:
    """A tensor is the images."""
    assert read([torch.ones(3, 1, 2, 2)], 2).labels is None


@pytest.mark.parametrize(
    "images", [0, -3, [], [1, -1], True, 2.5, "8", [1, "a"], torch.ones(3), torch.ones(0, 1, 2, 2)]
)
def test_what_names_no_images_is_refused(images) -> None:
    """By name."""
    with pytest.raises((ValueError, TypeError), match="images"):
        check_images(images)


@pytest.mark.parametrize("images", [1, [0], (0, 0), torch.ones(1, 1, 2, 2), (torch.ones(1, 1, 2, 2), torch.ones(1))])
def test_one_image_is_enough(images) -> None:
    """However it is named; the first of a dataset has index 0."""
    check_images(images)


@pytest.mark.parametrize(
    "images",
    [(torch.ones(2, 1, 2, 2), torch.ones(3)), (torch.ones(2, 1, 2, 2), 3), (torch.ones(2, 2), torch.ones(2))],
)
def test_tensors_that_do_not_fit_each_other_are_refused(images) -> None:
    """Images and labels, one an image."""
    with pytest.raises(ValueError, match="images"):
        check_images(images)


def test_indices_are_the_same_however_they_are_written() -> None:
    """A tuple or a list; in another order they are others, and so is a number."""
    assert asked_for((3, 9), Keys()) == asked_for([3, 9], Keys())
    asked = [asked_for(images, Keys()) for images in ((3, 9), (9, 3), (3,), 3)]
    assert len(set(asked)) == 4


def test_a_batch_without_images_is_described() -> None:
    """With its shapes."""
    with pytest.raises(ValueError, match=r"image_key=None: the batch, a dict of \{'text': \(2, 3\)\}"):
        read([{"text": torch.ones(2, 3)}], 2)


def test_masks_may_be_of_any_whole_numbers_and_boxes_are_filled() -> None:
    """Inside is what is not 0; x0, y0, x1, y1 in pixels."""
    labels = torch.tensor([[[0, 1], [2, 255]]])
    assert to_masks(labels, (2, 2)).tolist() == [[[False, True], [True, True]]]
    assert to_masks(labels.bool()[:, None].float(), (2, 2)).tolist() == to_masks(labels, (2, 2)).tolist()
    boxes = to_masks(torch.tensor([[1, 0, 3, 2], [0, 1, 4, 3]]), (3, 4))
    assert boxes[0].int().tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert boxes[1].int().tolist() == [[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert not to_masks(torch.tensor([[2, 1, 2, 1], [0, 0, 0, 0]]), (3, 4)).any()  # nothing in these images
    with pytest.raises(SettingError, match=r"given was \[3, 0, 1, 2\]$"):
        to_masks(torch.tensor([[1, 0, 3, 2], [3, 0, 1, 2]]), (3, 4))


@pytest.mark.parametrize(
    "masks",
    [torch.ones(5, 3, 3), torch.ones(5, 3), torch.rand(5, 2, 2), torch.ones(5, 2, 2, 2), torch.tensor([[0, 0, 9, 9]])],
)
def test_wrong_masks_are_refused_by_key_and_overlooked_by_place(masks, caplog) -> None:
    """Where nobody said that a batch's third item is one, it may be anything, which is said."""
    images = torch.rand(len(masks), 1, 2, 2)
    loader = DataLoader(TensorDataset(images, torch.zeros(len(masks)), masks), 2)
    with pytest.raises(SettingError, match="mask_key"):
        read(loader, 2, mask=2)
    with caplog.at_level(logging.INFO):
        assert read(loader, 2).masks is None
    assert "no in_mask, lift and pointing: what lies where masks do is none (mask_key: " in caplog.text


def test_boxes_in_shares_of_the_sides_are_told_by_their_numbers() -> None:
    """All at most 1, and not whole."""
    shares = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]])
    pixels = torch.tensor([[4.0, 4.0, 8.0, 8.0], [0.0, 0.0, 16.0, 8.0]])
    assert torch.equal(to_masks(shares, (8, 16)), to_masks(pixels, (8, 16)))
