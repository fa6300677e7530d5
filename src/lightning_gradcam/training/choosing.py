"""Which images of a data set are looked at: spread over what validation reads, and over its classes."""

import logging
from collections.abc import Iterator, Sequence, Sized
from copy import copy
from itertools import islice, pairwise
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from lightning_gradcam.errors import SettingError

logger = logging.getLogger(__name__)

Indices = int | Sequence[int]
_ENOUGH = 200_000  # items whose labels are looked through for classes
_MOST = 1_000_000  # of what a sampler draws, which may never end
_FEW = 16  # items that may all be of different classes
_LABELS = ("targets", "labels", "_labels", "samples", "imgs", "y")


def chosen(loader: DataLoader[Any], images: Indices, limit: int | None = None) -> list[Any]:
    """Choose what is read: dataset indices, or whatever else the loader's sampler draws.

    So many images are spread evenly over the classes where labels can be known without reading images, else over the
    data. They are the same in every run.

    Args:
        loader: of a dataset that is asked for its items.
        images: how many, or indices.
        limit: how many batches validation reads, where these are not all.

    Raises:
        SettingError: an index that the dataset does not have.
    """
    if not isinstance(images, int):
        length = len(loader.dataset)  # type: ignore[arg-type]
        if outside := [index for index in images if index >= length]:
            raise SettingError(f"images: the validation dataset has no index {outside[0]}; it has 0 to {length - 1}")
        return list(images)
    pool = drawn(loader, limit)
    if images > len(pool):
        logger.warning("images=%d, but validation reads only %d: all of them are used", images, len(pool))
        images = len(pool)
    labels = labels_of(loader.dataset)
    are_indices = labels is not None and all(type(one) is int and 0 <= one < len(labels) for one in pool)
    known = [labels[index] for index in pool] if labels is not None and are_indices else None
    return [pool[place] for place in sorted(places(images, len(pool), known))]


def drawn(loader: DataLoader[Any], limit: int | None = None) -> Sequence[Any]:
    """Return what validation draws from the dataset, on all ranks: indices, sorted, or what else is drawn.

    Args:
        loader: of the dataset.
        limit: so many batches are drawn; of a shuffled whole they may be any.
    """
    batches: Any = loader.batch_sampler
    is_plain = batches is None or getattr(batches, "sampler", None) is loader.sampler
    sampler: Any = loader.sampler if is_plain else batches
    is_whole = type(sampler) in (SequentialSampler, RandomSampler) and sampler.data_source is loader.dataset
    size = (loader.batch_size or 1) if is_plain else 1  # a sampler of batches draws them whole
    most = _MOST if limit is None or type(sampler) is RandomSampler else limit * size
    if is_whole:
        return range(len(loader.dataset))[:most]  # type: ignore[arg-type]
    found = islice(_of_all_ranks(sampler), most)
    flat = list(found if batches is None else _flat(found))[:_MOST]
    return sorted(set(flat)) if all(isinstance(one, int) for one in flat) else flat


def _of_all_ranks(sampler: Any) -> Any:
    if not isinstance(sampler, DistributedSampler):
        return sampler
    whole = copy(sampler)  # what one rank alone would draw
    whole.num_replicas, whole.rank = 1, 0
    whole.num_samples = whole.total_size = len(sampler.dataset)  # type: ignore[arg-type]
    return whole


def _flat(drawn: Any) -> Iterator[Any]:
    for one in drawn:
        if isinstance(one, Tensor) or hasattr(one, "tolist"):  # NumPy's and torch's numbers
            one = one.tolist()
        yield from _flat(one) if isinstance(one, list) else [one]


def places(count: int, length: int, labels: Sequence[Any] | None) -> list[int]:
    """Return so many different places in `range(length)`, spread over it, or over the labels of the places."""
    if labels is None:
        return scattered(count, length)
    by_label: dict[Any, list[int]] = {}
    for place in Random(0).sample(range(length), min(length, max(_ENOUGH, count))):
        by_label.setdefault(labels[place], []).append(place)
    names = sorted(by_label, key=str)
    lines = [by_label[names[at]] for at in scattered(min(count, len(names)), len(names))]
    rounds = (line[turn] for turn in range(max(map(len, lines))) for line in lines if turn < len(line))
    return list(islice(rounds, count))


def scattered(count: int, length: int) -> list[int]:
    """Return one place in each of so many equal parts of `range(length)`, at random in it, the same each time.

    The middles would have a period, and where the data's classes have it too all be of one.
    """
    random = Random(0)
    edges = [part * length // count for part in range(count + 1)]
    return [random.randrange(start, end) for start, end in pairwise(edges)]


def labels_of(dataset: Any) -> Sequence[Any] | None:
    """Return each item's class, where that is known without reading an image; else None."""
    if isinstance(dataset, Subset):
        labels = labels_of(dataset.dataset)
        return None if labels is None else [labels[index] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [labels_of(part) for part in dataset.datasets]
        return None if any(part is None for part in parts) else [one for part in parts for one in part or ()]
    if isinstance(dataset, TensorDataset):
        return _classes(dataset.tensors[1], dataset) if len(dataset.tensors) > 1 else None
    held = (vars(dataset).get(name) for name in _LABELS) if hasattr(dataset, "__dict__") else ()
    return next((found for one in held if (found := _classes(one, dataset)) is not None), None)


def _classes(held: Any, dataset: Any) -> Sequence[Any] | None:
    """Classes of what a dataset holds, where it may be its labels: whole numbers, words, or rows of one or one-hot.

    What differs from item to item tells no classes: it is their names.
    """
    if not isinstance(held, Sized) or not isinstance(dataset, Sized) or len(held) != len(dataset):
        return None
    if isinstance(held, (Tensor, np.ndarray)):
        held = torch.as_tensor(held) if isinstance(held, Tensor) or held.dtype.kind in "biuf" else held
    if isinstance(held, Tensor):
        if held.dim() > 2:
            return None
        rows = held.reshape(len(held), -1)
        one_hot = rows.shape[1] > 1 and bool(((rows == 0) | (rows == 1)).all()) and bool((rows.sum(1) == 1).all())
        held = rows.argmax(1) if one_hot else rows[:, 0] if rows.shape[1:] == (1,) else held
        held = held.long() if held.dim() == 1 and bool((held == held.round()).all()) else held
    values = held.tolist() if hasattr(held, "tolist") else held
    if not isinstance(values, (list, tuple)):
        return None
    labels = [one[1] if isinstance(one, tuple) and len(one) == 2 else one for one in values]
    labels = [one.item() if getattr(one, "ndim", 1) == 0 else one for one in labels]  # NumPy's and torch's numbers
    are_names = len(labels) > _FEW and len(set(map(str, labels))) == len(labels)
    return labels if all(isinstance(one, (int, str)) for one in labels) and not are_names else None
