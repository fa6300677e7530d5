"""The probe set: images chosen over the whole dataset, read once as validation reads them, and looked at ever after."""

import logging
import pickle
import random
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.lend import preserved_rng
from lightning_gradcam.cam.maps import channels_first, size_of
from lightning_gradcam.cam.trees import Rows, joined, mapped
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.logs.packing import fingerprint_of_set, fingerprints
from lightning_gradcam.training.batches import Keys, Places, find_places, of_one_size
from lightning_gradcam.training.choosing import Indices, chosen
from lightning_gradcam.training.masks import masks_of
from lightning_gradcam.training.said import colours_of, count_of_classes, names_of_classes

logger = logging.getLogger(__name__)

_SAID = 12  # indices that a message names


@dataclass(frozen=True)
class ProbeSet:
    """The fixed images and what came with them in their batch, on the CPU.

    Attributes:
        images: (N, C, H, W), as the model gets them.
        labels: (N, ...) or None.
        masks: (N, H, W) bool, true on the thing, or None.
        indices: (N,) where in the dataset they are, or None.
        classes: how many classes the dataset says that it has, or None.
        names: names of classes, as it, its module and the model say them, the nearest first.
        mean: what normalising subtracted, as the data say, or None.
        std: what it divided by.
        colours: which channels are red, green and blue, as the dataset says, or None.
        batch: the whole batch that they came in; None where they were given, or nothing else of it is needed.
        places: where in the batch they are, or None.
    """

    images: Tensor
    labels: Tensor | None = None
    masks: Tensor | None = None
    indices: Tensor | None = None
    classes: int | None = None
    names: tuple[tuple[str, ...], ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    colours: tuple[int, int, int] | None = None
    batch: Rows | None = None
    places: Places | None = None

    @cached_property
    def fingerprints(self) -> list[str]:
        """What tells each image from others, in every run and on every machine."""
        return fingerprints(self.images)

    @property
    def fingerprint(self) -> str:
        """What tells the set from others."""
        return fingerprint_of_set(self.fingerprints)

    @property
    def inputs(self) -> Inputs:
        """What the model is called with."""
        if self.batch is None or self.places is None:
            return Inputs(self.images)
        return Inputs(self.images, self.batch, self.places.image, self.places.label)

    @property
    def where(self) -> str:
        """Which images of a data set they are, in words."""
        if self.indices is None:
            return f"the first {len(self.images)}"
        first = ", ".join(map(str, self.indices[:_SAID].tolist()))
        return f"indices {first}{', ...' if len(self.indices) > _SAID else ''}"

    def without_batch(self) -> "ProbeSet":
        """Return the set of a model that takes its images alone."""
        return self if self.batch is None else replace(self, batch=None, places=None)

    def portable(self) -> "ProbeSet":
        """Return the set as it can travel between processes: a batch may be of what cannot."""
        try:
            pickle.dumps(self.batch)
        except Exception as fault:
            logger.warning("what came with the images cannot travel between processes, and is left out: %s", fault)
            return self.without_batch()
        return self

    def pinned(self) -> "ProbeSet":
        """Return the set with its images where a GPU fetches them by itself, while the training thread goes on."""
        return replace(self, images=self.images.pin_memory())


def read_probe_set(
    loader: Any,
    images: Indices,
    keys: Keys,
    transfer: Callable[[Any], Any],
    limit: int | None = None,
    inputs: int = 1,
) -> ProbeSet:
    """Read images through a loader's own reading and collating, whatever its sampler does, and no random state moves.

    A number of images is spread over what the loader's sampler reads, as `choosing.chosen` does. Of an iterable dataset
    and of a loader with an iteration of its own the first of one pass are taken. Random augmentation draws from a fixed
    seed.

    Args:
        loader: a validation DataLoader; of any other iterable of batches the first images are taken.
        images: how many, or dataset indices.
        keys: where in a batch to look.
        transfer: what makes of a collated batch what the model sees.
        limit: how many batches validation reads, where these are not all.
        inputs: how many entries of a batch the model cannot do without.

    Raises:
        SettingError: an index that the dataset does not have, a batch without images (N, C, H, W), or masks that are
            none under the key that was given.
    """
    with preserved_rng(), torch.inference_mode(False), torch.no_grad():
        random.seed(0)
        np.random.seed(0)
        torch.default_generator.manual_seed(0)  # torch.manual_seed would move every device's
        read, batches = _batches(loader, images, limit)
        found = _take(_parts(batches, keys, transfer, inputs), len(read) if read else _count(images))
    if not found:
        raise SettingError("images: the validation data is empty; pass images=<tensor (N, C, H, W)>")
    columns = zip(*(part.fields for part in found), strict=True)
    images_read, labels, masks = (_joined(parts, of_images=place == 0) for place, parts in enumerate(columns))
    assert images_read is not None
    sizes = {size for part in found for size in part.sizes}
    if len(sizes) > 1:
        told = "the images are of %d sizes: all are brought to the first's, %dx%d"
        logger.warning(told, len(sizes), *size_of(images_read))
    if not read and len(images_read) < _count(images):
        logger.warning("images=%d, but the validation data has only %d: these are used", images, len(images_read))
    if labels is None and masks is not None and masks.dim() > 2:  # maps, which of a segmentation are what is true
        labels = masks
    indices = torch.tensor(read) if read and all(isinstance(one, int) for one in read) else None
    rows = [part.batch for part in found if part.batch is not None]
    batch = _if_it_can_be(lambda: joined(rows)) if len(rows) == len(found) else None
    kept = masks_of(masks, images_read, keys)
    dataset = getattr(loader, "dataset", None)
    classes, names = count_of_classes(dataset), names_of_classes(dataset)
    channels = channels_first(images_read).shape[1]
    return ProbeSet(
        *(images_read, labels, kept, indices),
        classes=classes,
        names=(names,) if names else (),
        colours=colours_of(dataset, channels),
        batch=batch,
        places=found[0].places,
    )


def _batches(loader: Any, images: Indices, limit: int | None) -> tuple[list[Any], Iterable[Any]]:
    """What is read of the dataset, nothing where it cannot be asked, and the batches that hold it."""
    if not isinstance(loader, DataLoader) or type(loader).__iter__ is not DataLoader.__iter__:
        return [], loader  # its own iteration is what validation reads
    options: dict[str, Any] = {
        "collate_fn": loader.collate_fn,
        # as the loader reads: a dataset that opens files at its first read does so in a worker, never before a fork
        "num_workers": min(1, loader.num_workers),
        "worker_init_fn": loader.worker_init_fn,
        "multiprocessing_context": loader.multiprocessing_context,
        "generator": torch.Generator().manual_seed(0),
    }
    if isinstance(loader.dataset, IterableDataset):
        if not isinstance(images, int):
            raise SettingError(
                f"images={quoted(images)}: an iterable dataset has no indices; pass how many, or a tensor"
            )
        return [], DataLoader(loader.dataset, batch_size=loader.batch_size, **options)
    wanted = chosen(loader, images, limit)
    if loader.batch_sampler is None:  # each item of the dataset is a batch
        return [], DataLoader(loader.dataset, batch_size=None, sampler=wanted, **options)

    def read(chunks: list[list[Any]]) -> list[Any]:
        return list(DataLoader(loader.dataset, batch_sampler=chunks, **options))

    return _read(wanted, loader.batch_size or len(wanted), read)


def _read(
    chosen: list[Any], size: int, read: Callable[[list[list[Any]]], list[Any]]
) -> tuple[list[Any], Iterable[Any]]:
    """The batches of what was chosen, and what of it could be read: an image that cannot costs itself alone."""
    try:
        return chosen, read([chosen[start : start + size] for start in range(0, len(chosen), size)])
    except Exception as fault:
        traceback.clear_frames(fault.__traceback__)  # a worker's iterator would end with the frames, some time later
        alone: list[tuple[Any, Any]] = []
        told: list[tuple[Any, str]] = []
        for index in chosen:
            try:
                alone.append((index, read([[index]])[0]))
            except Exception as reason:
                traceback.clear_frames(reason.__traceback__)
                words = str(reason).strip().splitlines()[-1:] or [type(reason).__name__]  # a worker tells its traceback
                told.append((index, words[0]))
        if not alone:
            raise fault
        for index, word in told:
            logger.warning("images: the one at index %s cannot be read, and is left out: %s", index, word)
        return [index for index, _ in alone], [batch for _, batch in alone]


@dataclass(frozen=True)
class _Part:
    """A batch as it was read, with its images, labels and masks, where they are in it, and of which sizes."""

    batch: Rows | None
    places: Places
    fields: tuple[Tensor, Tensor | None, Tensor | None]
    sizes: list[tuple[int, int]]

    def first(self, count: int) -> "_Part":
        images, labels, masks = (None if one is None else one[:count] for one in self.fields)
        assert images is not None
        batch = self.batch
        part = None if batch is None else _if_it_can_be(lambda: batch.at(slice(count)))
        return _Part(part, self.places, (images, labels, masks), self.sizes[:count])


def _parts(batches: Iterable[Any], keys: Keys, transfer: Callable[[Any], Any], inputs: int) -> Iterator[_Part]:
    places: Places | None = None
    for batch in batches:
        seen = transfer(batch)
        places = places or find_places(seen, keys, inputs)
        fields = places.read(seen)
        yield _Part(_own(seen, len(fields[0])), places, fields, places.sizes(seen))


def _own(batch: Any, count: int) -> Rows | None:
    """A copy of a batch, on the CPU."""
    copied = lambda one: one.detach().cpu().clone() if isinstance(one, Tensor) else one  # noqa: E731
    return _if_it_can_be(lambda: Rows(mapped(batch, copied), count))


def _if_it_can_be(make: Callable[[], Rows]) -> Rows | None:
    """A batch; None of one that cannot be copied or taken apart, which most models do without."""
    try:
        return make()
    except Exception as fault:
        logger.info("what came with the images cannot be kept, and is left out: %r", fault)
        return None


def _take(parts: Iterator[_Part], count: int) -> list[_Part]:
    taken: list[_Part] = []
    while (missing := count - sum(len(one.fields[0]) for one in taken)) > 0:
        part = next(parts, None)
        if part is None:
            break
        taken.append(part.first(missing))
    return taken


def _joined(parts: tuple[Tensor | None, ...], of_images: bool) -> Tensor | None:
    known = [one for one in parts if one is not None]
    return torch.cat(of_one_size(known, of_images)) if len(known) == len(parts) else None


def _count(images: Indices) -> int:
    return images if isinstance(images, int) else len(images)
