"""Which images are looked at: what validation reads, of several classes, the same in every run."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lightning_gradcam.training import choosing
from lightning_gradcam.training.batches import Keys
from lightning_gradcam.training.choosing import chosen, drawn, labels_of, scattered
from lightning_gradcam.training.probe_set import read_probe_set
from lightning_gradcam.training.said import count_of_classes, names_of_classes


class Plain(Dataset):
    """Items whose labels nobody knows without reading them; it may be indexed by a slice, as geodata are."""

    def __init__(self, count: int = 20) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int | slice):
        place = index.start if isinstance(index, slice) else index
        return torch.full((1, 2, 2), float(place)), place % 5


def pairs(labels: torch.Tensor) -> TensorDataset:
    return TensorDataset(torch.rand(len(labels), 1, 2, 2), labels)


@pytest.mark.parametrize(("length", "classes"), [(32, 4), (64, 8), (1000, 5), (10_000, 10), (50_000, 100)])
def test_eight_images_are_of_several_classes_whatever_the_order(length, classes) -> None:
    """Periodic or sorted; of eight different classes, if there are so many, where labels can be known."""
    periodic = torch.arange(length) % classes
    for labels in (periodic, periodic.sort().values):
        known = chosen(DataLoader(pairs(labels), 4), 8)
        assert len(set(known)) == 8
        counts = Counter(labels[known].tolist())
        assert len(counts) == min(8, classes)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len(set(labels[scattered(8, length)].tolist())) >= min(classes, 8) // 2


def test_of_very_many_items_some_are_looked_through_for_classes(monkeypatch) -> None:
    """As many as are asked for at least."""
    monkeypatch.setattr(choosing, "_ENOUGH", 4)
    labels = [place % 3 for place in range(30)]
    assert len(set(choosing.places(4, 30, labels))) == 4
    assert len(set(choosing.places(20, 30, labels))) == 20


def test_an_order_that_is_not_known_is_gone_through_evenly() -> None:
    """One image in each eighth."""
    assert [place * 8 // 1000 for place in scattered(8, 1000)] == list(range(8))
    assert scattered(3, 3) == [0, 1, 2]
    assert chosen(DataLoader(Plain(), 3), 4) == chosen(DataLoader(Plain(), 7, shuffle=True), 4)


class Named(Plain):
    def __init__(self) -> None:
        super().__init__(6)
        self.samples = [(f"{place}.png", place // 2) for place in range(6)]
        self.classes = ["a", "b", "c"]


def test_labels_are_known_where_a_dataset_has_them_apart() -> None:
    """torchvision's names, through subsets and joined sets; not a regression's values, nor lists of another length."""
    assert labels_of(Named()) == [0, 0, 1, 1, 2, 2]
    assert labels_of(Subset(Named(), [5, 0])) == [2, 0]
    assert labels_of(ConcatDataset([Named(), pairs(torch.tensor([7, 8]))])) == [0, 0, 1, 1, 2, 2, 7, 8]
    assert labels_of(ConcatDataset([Named(), Plain()])) is None
    assert labels_of(pairs(torch.rand(4))) is None
    assert labels_of(Plain()) is None
    dataset = Plain(3)
    for name, held, expected in (("targets", np.array([1, 2, 0]), [1, 2, 0]), ("labels", ["x", "y"], None)):
        setattr(dataset, name, held)
        assert labels_of(dataset) == expected
        delattr(dataset, name)
    assert [count_of_classes(one) for one in (Named(), Subset(Named(), [1]), Plain())] == [3, 3, None]


class Odd(Sampler):
    def __iter__(self):
        yield from (9, 3, 5, 3)

    def __len__(self) -> int:
        return 4


SAMPLERS = {
    "a subset": ({"sampler": SubsetRandomSampler([19, 17, 18])}, [17, 18, 19]),
    "one of the user's": ({"sampler": Odd()}, [3, 5, 9]),
    "batches of a subset": ({"batch_sampler": BatchSampler(SubsetRandomSampler([4, 6, 8]), 2, False)}, [4, 6, 8]),
    "batches of the user's": ({"batch_sampler": [[1, 2], [0]]}, [0, 1, 2]),
    "a rank's": ({"sampler": DistributedSampler(Plain(), 2, 1, shuffle=False)}, [*range(20)]),
    "a rank's subset": (
        {"sampler": DistributedSamplerWrapper(SubsetRandomSampler([2, 7, 9]), num_replicas=2, rank=1)},
        [2, 7, 9],
    ),
    "weighted": ({"sampler": WeightedRandomSampler([0.0] * 18 + [1.0, 1.0], 100)}, [18, 19]),
    "all, shuffled": ({"sampler": RandomSampler(Plain())}, [*range(20)]),
    "all": ({"sampler": SequentialSampler(Plain())}, [*range(20)]),
    "numbers of NumPy's": ({"sampler": np.array([5, 1])}, [1, 5]),
}


@pytest.mark.parametrize(("options", "expected"), SAMPLERS.values(), ids=SAMPLERS)
def test_the_choice_is_of_what_validation_draws(options, expected) -> None:
    """Whatever draws it, on all ranks together."""
    size = {} if "batch_sampler" in options else {"batch_size": 2}
    assert list(drawn(DataLoader(Plain(), **size, **options))) == expected


def test_what_is_no_index_is_read_as_it_is_drawn() -> None:
    """A window of a map, say; such images have no index."""
    windows = [slice(place, place + 2) for place in range(0, 20, 2)]
    found = read_probe_set(DataLoader(Plain(), 2, sampler=windows), 3, Keys(), lambda batch: batch)
    assert all(one % 2 == 0 for one in found.images[:, 0, 0, 0].tolist())
    assert found.indices is None


class Brighter(DataLoader):
    """A loader whose own iteration makes the images what validation sees."""

    def __iter__(self):
        for images, labels in super().__iter__():
            yield images + 100, labels


def test_a_loaders_own_iteration_is_what_is_read() -> None:
    """In its order."""
    found = read_probe_set(Brighter(Plain(), 2), 3, Keys(), lambda batch: batch)
    assert found.images[:, 0, 0, 0].tolist() == [100, 101, 102]


def test_of_two_entries_that_may_be_labels_it_is_told_which_was_taken(caplog) -> None:
    """And how to take the other."""
    dataset = TensorDataset(torch.rand(4, 1, 2, 2), torch.tensor([9, 9, 9, 9]), torch.tensor([0, 1, 2, 3]))
    found = read_probe_set(DataLoader(dataset, 2), 4, Keys(), lambda batch: batch)
    assert found.labels.tolist() == [9] * 4
    assert "the labels are taken to be the batch's entry 1, of [1, 2]; label_key=2 takes another" in caplog.text
    caplog.clear()
    assert read_probe_set(DataLoader(dataset, 2), 4, Keys(label=2), lambda batch: batch).labels.sum() == 6
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("loader", "limit", "read"),
    [
        (DataLoader(Plain(), 4), 2, range(8)),
        (DataLoader(Plain(), 4, sampler=range(19, -1, -1)), 2, range(12, 20)),
        (DataLoader(Plain(), batch_sampler=BatchSampler(range(20), 4, False)), 2, range(8)),
        (DataLoader(Plain(), batch_sampler=[[7, 8], [1, 2], [5]]), 2, [1, 2, 7, 8]),
        (DataLoader(Plain(), 4, shuffle=True), 2, range(20)),
    ],
)
def test_of_limited_batches_only_those_that_are_read_are_chosen_from(loader, limit, read) -> None:
    """In the order in which they are drawn; of a shuffled whole they may be any."""
    assert list(drawn(loader, limit)) == list(read)
    assert set(chosen(loader, 4, limit)) <= set(read)


class Held(Plain):
    def __init__(self, **held) -> None:
        super().__init__(20)
        vars(self).update(held)


ONE_HOT = torch.eye(4).repeat(5, 1)


@pytest.mark.parametrize(
    ("held", "labels"),
    [
        ({"targets": torch.arange(20) % 4}, [place % 4 for place in range(20)]),
        ({"targets": (torch.arange(20) % 2).float()}, [place % 2 for place in range(20)]),
        ({"targets": (torch.arange(20) % 2).float()[:, None]}, [place % 2 for place in range(20)]),
        ({"targets": ONE_HOT}, [place % 4 for place in range(20)]),
        ({"targets": ONE_HOT.numpy()}, [place % 4 for place in range(20)]),
        ({"labels": [f"item {place}" for place in range(20)], "y": [1, 2] * 10}, [1, 2] * 10),
        ({"targets": torch.rand(20)}, None),
        ({"targets": torch.rand(20, 3, 3)}, None),
        ({"targets": (torch.rand(20, 4) > 0.5).float()}, None),
    ],
)
def test_labels_are_classes_in_whatever_form(held, labels) -> None:
    """Floats, rows of one, one-hot; no values, several labels, nor names of the items."""
    assert labels_of(Held(**held)) == labels


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Named(), ("a", "b", "c")),
        (Subset(Named(), [1]), ("a", "b", "c")),
        (Held(class_to_idx={"dog": 1, "cat": 0}), ("cat", "dog")),
        (Held(class_to_idx={"dog": 4, "cat": 0}), ()),
        (Held(classes=[0, 1]), ()),
        (SimpleNamespace(config=SimpleNamespace(id2label={1: "b", 0: "a"})), ("a", "b")),
        (SimpleNamespace(config=SimpleNamespace(id2label={0: "LABEL_0", 1: "LABEL_1"})), ()),
        (SimpleNamespace(class_names=["x", "y"]), ("x", "y")),
        (None, ()),
    ],
)
def test_names_of_classes_are_where_data_and_models_say_them(source, expected) -> None:
    """torchvision's, a data module's, transformers'; not those that stand for numbers."""
    assert names_of_classes(source) == expected
