"""The probe set: images chosen over the whole dataset, read once as validation reads them, and looked at ever after."""

import logging
import random
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_gradcam.cam.lend import preserved_rng
from lightning_gradcam.cam.maps import size_of
from lightning_gradcam.cam.settings import check_tensor
from lightning_gradcam.errors import SettingError, nearest
from lightning_gradcam.logs.record import fingerprint_of_set, fingerprints
from lightning_gradcam.training.choosing import Indices, chosen, count_of_classes
from lightning_gradcam.values import plain

logger = logging.getLogger(__name__)

Images = int | Sequence[int] | Tensor | tuple[Tensor, Tensor]
Key = str | int

_USUAL = {
    "image": ("image", "images", "img", "imgs", "x", "pixel_values", "input", "inputs", "data"),
    "label": ("label", "labels", "y", "target", "targets", "class", "classes"),
    "mask": ("mask", "masks", "segmentation", "segmentations", "boxes", "box", "bbox", "bboxes"),
}
_PLACES = {"image": 0, "label": 1, "mask": 2}  # in a tuple


@dataclass(frozen=True)
class ProbeSet:
    """The fixed images and what came with them in their batch, on the CPU.

    Attributes:
        images: (N, C, H, W), as the model gets them.
        labels: (N, ...) or None.
        masks: (N, H, W) bool, true on the thing, or None.
        indices: (N,) where in the dataset they are, or None.
        classes: how many classes the dataset says that it has, or None.
    """

    images: Tensor
    labels: Tensor | None = None
    masks: Tensor | None = None
    indices: Tensor | None = None
    classes: int | None = None

    def pinned(self) -> "ProbeSet":
        """Return the set with its images where a GPU fetches them by itself, while the training thread goes on."""
        return replace(self, images=self.images.pin_memory())


@dataclass(frozen=True)
class Keys:
    """Where in a batch the images, labels and masks are; None finds them under the usual names or places."""

    image: Key | None = None
    label: Key | None = None
    mask: Key | None = None

    def __post_init__(self) -> None:
        for role, key in vars(self).items():
            if key is not None and (isinstance(key, bool) or not isinstance(key, (str, int))):
                raise TypeError(f"{role}_key={key!r}; accepted is a key (str) or a place (int) in a batch")


def plain_images(images: Any) -> Any:
    """Return a number or indices as Python has them, whichever library's they are; tensors of images stay."""
    of_tensors = isinstance(images, (list, tuple)) and any(isinstance(one, Tensor) and one.dim() for one in images)
    return images if of_tensors or getattr(images, "ndim", 0) > 1 else plain(images)


def check_images(images: object) -> None:
    """Refuse what can name no images.

    Raises:
        SettingError: no image, a negative index, a tensor that is not (N, C, H, W), or other than a label an image.
        TypeError: anything else that is not accepted.
    """
    items = list(images) if isinstance(images, Sequence) and not isinstance(images, str) else []
    if isinstance(images, Tensor):
        check_tensor(images)
    elif any(isinstance(item, Tensor) for item in items):
        _check_pair(items)
    elif isinstance(images, int) and not isinstance(images, bool):
        if images < 1:
            raise SettingError(f"images={images}; accepted is 1 or more")
    elif isinstance(images, Sequence) and all(isinstance(item, int) and not isinstance(item, bool) for item in items):
        if not items or min(items) < 0:
            raise SettingError(f"images={images!r}; accepted are dataset indices, 0 or more, at least one")
    else:
        raise TypeError(
            f"images={images!r}; accepted are how many, dataset indices, a tensor (N, C, H, W), or (tensor, labels)"
        )


def _check_pair(items: Sequence[object]) -> None:
    if len(items) != 2 or not all(isinstance(item, Tensor) for item in items):
        raise SettingError(f"images holds {len(items)} items; accepted with tensors is (images, labels), both tensors")
    images, labels = (item for item in items if isinstance(item, Tensor))
    check_tensor(images)
    if labels.dim() == 0 or len(labels) != len(images):
        raise SettingError(f"images has {len(images)} images, and labels of {tuple(labels.shape)}")


def given_probe_set(images: Images) -> ProbeSet | None:
    """Return the set that was given as tensors; None where the images are to be read from a dataset."""
    if isinstance(images, Tensor):
        return ProbeSet(images.detach().cpu().clone())
    if isinstance(images, (tuple, list)) and isinstance(images[0], Tensor) and isinstance(images[1], Tensor):
        return ProbeSet(images[0].detach().cpu().clone(), images[1].detach().cpu().clone())
    return None


def asked_for(images: Images, keys: Keys) -> str:
    """Say what was asked for, to tell whether a checkpoint's images are still it: how many, which, where in a batch."""
    given = given_probe_set(images)
    if given is not None:
        return f"tensor {fingerprint_of_set(fingerprints(given.images))}"
    which = images if isinstance(images, int) else list(images)
    return ", ".join([str(which), *(f"{role}_key={key!r}" for role, key in vars(keys).items() if key is not None)])


def read_probe_set(
    loader: Any, images: Indices, keys: Keys, transfer: Callable[[Any], Any], limit: int | None = None
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
        limit: how many images validation reads, where these are not all.

    Raises:
        SettingError: an index that the dataset does not have, a batch without images (N, C, H, W), or masks that are
            none under the key that was given.
    """
    with preserved_rng(), torch.inference_mode(False), torch.no_grad():
        random.seed(0)
        np.random.seed(0)
        torch.default_generator.manual_seed(0)  # torch.manual_seed would move every device's
        read, batches = _batches(loader, images, limit)
        fields = _take(_fields_of(batches, keys, transfer), len(read) if read else _count(images))
    if not fields:
        raise SettingError("images: the validation data is empty; pass images=<tensor (N, C, H, W)>")
    joined = [None if any(item is None for item in items) else torch.cat(items) for items in zip(*fields, strict=True)]
    found, labels, masks = joined
    assert found is not None
    if not read and len(found) < _count(images):
        logger.warning("images=%d, but the validation data has only %d: these are used", images, len(found))
    if labels is None and masks is not None and masks.dim() > 2:  # maps, which of a segmentation are what is true
        labels = masks
    indices = torch.tensor(read) if read and all(isinstance(one, int) for one in read) else None
    return ProbeSet(found, labels, _masks_of(masks, found, keys), indices, count_of_classes(loader))


def to_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Make masks of what a batch holds, (N, H, W) bool.

    Args:
        masks: (N, H, W) or (N, 1, H, W), bool or whole numbers: inside is what is not 0; or boxes (N, 4), x0, y0, x1,
            y1 in pixels, or in shares of the sides.
        size: (H, W) of the images.

    Raises:
        SettingError: other sizes or values.
    """
    whole = not masks.is_floating_point() or bool(((masks == 0) | (masks == 1)).all())
    if masks.dim() == 2 and masks.shape[1] == 4:
        return _boxes_to_masks(masks, size)
    if masks.dim() == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.shape[1:] != size or not whole:
        raise SettingError(
            f"mask_key: the batch has {tuple(masks.shape)} of {masks.dtype}; accepted are masks (N, {size[0]}, "
            f"{size[1]}) as large as the images, bool or integers, or boxes (N, 4), x0, y0, x1, y1 in pixels"
        )
    return masks.bool()


def _boxes_to_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    if boxes.is_floating_point() and bool((boxes <= 1).all()):  # shares of the sides
        boxes = boxes * boxes.new_tensor([width, height, width, height])
    x0, y0, x1, y1 = boxes.float().T[..., None]
    if not bool(((x0 < x1) & (y0 < y1) & (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height)).all()):
        raise SettingError(
            f"mask_key: boxes are x0 < x1, y0 < y1 in pixels of the images, {height}x{width}; given were "
            f"{boxes.tolist()[:4]}"
        )
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    inside: Tensor = ((rows > y0) & (rows < y1))[:, :, None] & ((columns > x0) & (columns < x1))[:, None, :]
    return inside


def _masks_of(found: Tensor | None, images: Tensor, keys: Keys) -> Tensor | None:
    """The masks; None where nobody said that what lies in a mask's usual place is one, and it is none."""
    if found is None:
        return None
    try:
        return to_masks(found, size_of(images))
    except SettingError as error:
        if keys.mask is not None:
            raise
        logger.info("no in_mask, no pointing: %s", error)
        return None


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
            raise SettingError(f"images={images!r}: an iterable dataset has no indices; pass how many, or a tensor")
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


_Fields = tuple[Tensor, Tensor | None, Tensor | None]


def _fields_of(batches: Iterable[Any], keys: Keys, transfer: Callable[[Any], Any]) -> Iterator[_Fields]:
    for number, batch in enumerate(batches):
        seen = transfer(batch)
        if number == 0 and keys.label is None:
            _say_which_labels(seen)
        found = _field(seen, "image", keys.image)
        if found is None or found.dim() != 4:
            raise SettingError(
                f"image_key={keys.image!r}: the batch, {_describe(seen)}, has no images (N, C, H, W) there"
                + ("" if keys.image is not None else "; name their key or place")
            )
        fields = (found, _field(seen, "label", keys.label), _field(seen, "mask", keys.mask))
        yield tuple(None if tensor is None else tensor.detach().cpu().clone() for tensor in fields)  # type: ignore[misc]


def _say_which_labels(batch: Any) -> None:
    """Say so where a tuple has several entries that may be the labels, as (image, domain, label)."""
    if not isinstance(batch, (tuple, list)):
        return
    alike = [place for place, one in enumerate(batch) if place and isinstance(one, Tensor) and _are_labels(one)]
    if len(alike) > 1 and alike[0] == _PLACES["label"]:
        others = " or ".join(f"label_key={place}" for place in alike[1:])
        logger.warning("the labels are taken to be the batch's entry 1, of %s; %s takes another", alike, others)


def _are_labels(one: Tensor) -> bool:
    return one.dim() == 1 and not one.is_floating_point()


def _take(batches: Iterator[_Fields], count: int) -> list[_Fields]:
    taken: list[_Fields] = []
    while (missing := count - sum(len(fields[0]) for fields in taken)) > 0:
        fields = next(batches, None)
        if fields is None:
            break
        taken.append(tuple(None if tensor is None else tensor[:missing] for tensor in fields))  # type: ignore[arg-type]
    return taken


def _field(batch: Any, role: str, key: Key | None) -> Tensor | None:
    """The batch's images, labels or masks; None where it has none and none were asked for by key."""
    held = _held(batch)
    if key is not None:
        if key not in held:
            raise SettingError(
                f"{role}_key={key!r} is not in the batch, {_describe(batch)}{nearest(str(key), map(str, held))}"
            )
        return _tensor(held[key], f"{role}_key={key!r}")
    names = _USUAL[role] if isinstance(batch, Mapping) else (_PLACES[role],)
    value = next((held[name] for name in names if name in held), None)
    return value if isinstance(value, Tensor) and value.dim() > 0 else None


def _held(batch: Any) -> Mapping[Any, Any]:
    if isinstance(batch, Mapping):
        return batch
    return dict(enumerate(batch if isinstance(batch, (tuple, list)) else [batch]))


def _tensor(value: Any, what: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise SettingError(f"{what} is a {type(value).__name__}; accepted is a tensor, an image an entry")
    return value


def _describe(batch: Any) -> str:
    held = _held(batch)
    shapes = {key: tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for key, v in islice(held.items(), 12)}
    return f"a {type(batch).__name__} of {shapes}"


def _count(images: Indices) -> int:
    return images if isinstance(images, int) else len(images)
