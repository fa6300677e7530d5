"""Where in a batch its images, labels and masks are: by key, by a usual name, or by place."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_gradcam.cam.trees import Path, at, dotted, held_by, leaves
from lightning_gradcam.errors import SettingError, nearest, quoted

logger = logging.getLogger(__name__)

Key = str | int

_USUAL = {
    "image": ("image", "images", "img", "imgs", "x", "pixel_values", "input", "inputs", "data", "rgb"),
    "label": ("label", "labels", "y", "target", "targets", "class", "classes", "gt_label", "gt_labels"),
    "mask": (
        *("mask", "masks", "gt_mask", "gt_masks", "segmentation", "segmentations"),
        *("boxes", "box", "bbox", "bboxes"),
    ),
}


@dataclass(frozen=True)
class Keys:
    """Where in a batch the images, labels and masks are; None finds them under the usual names or places."""

    image: Key | None = None
    label: Key | None = None
    mask: Key | None = None

    def __post_init__(self) -> None:
        for role, key in vars(self).items():
            if key is not None and (isinstance(key, bool) or not isinstance(key, (str, int))):
                raise TypeError(
                    f"{role}_key={quoted(key)}; accepted is a key, a place, or a path with dots, as 'inputs.rgb'"
                )


@dataclass(frozen=True)
class Places:
    """Where in batches of one kind things are; None where they are not."""

    image: Path
    label: Path | None
    mask: Path | None

    def read(self, batch: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return a batch's images, (N, C, H, W), its labels and its masks, on the CPU."""
        images = _as_one(at(batch, self.image), of_images=True)
        return images, self._of_each(batch, self.label, len(images)), self._of_each(batch, self.mask, len(images))

    def sizes(self, batch: Any) -> list[tuple[int, int]]:
        """Return each image's (H, W), as they are in the batch."""
        held = at(batch, self.image)
        return [(one.shape[-2], one.shape[-1]) for one in held]

    @staticmethod
    def _of_each(batch: Any, path: Path | None, count: int) -> Tensor | None:
        found = None if path is None else _as_one(at(batch, path))
        if found is None or len(found) == count:
            return found
        told = "the batch's entry %s, of %s, is not read: it has no row for each of the %d images"
        logger.warning(told, dotted(path or ()), tuple(found.shape), count)
        return None


def find_places(batch: Any, keys: Keys, inputs: int = 1) -> Places:
    """Find where the images, labels and masks are; say so where it is not clear.

    Args:
        batch: as the model's own code gets it.
        keys: where they are said to be.
        inputs: so many entries, from the images on, the model cannot do without: labels stand behind them.

    Raises:
        SettingError: there are no images (N, C, H, W), or nothing at a key that was given.
    """
    image = _find(batch, "image", keys.image, _are_images, place=0)
    if image is None or not _are_images(at(batch, image)):
        asked = "; name their key or place" if keys.image is None else ""
        raise SettingError(
            f"image_key={keys.image!r}: the batch, {described(batch)}, has no images (N, C, H, W) there{asked}"
        )
    first = int(image[0]) if image and isinstance(image[0], int) else 0  # in a tuple labels stand behind the images
    behind = first + (inputs if len(image) < 2 else 1)
    label = _find(batch, "label", keys.label, _is_tensor, behind)
    mask = _find(batch, "mask", keys.mask, _is_tensor, behind + 1)
    places = Places(image, None if label == image else label, mask)
    if keys.label is None:
        _say_which_labels(batch, places, range(first, behind))
    elif label == image:
        told = "label_key=%r is where the images are: no labels are read"
        logger.warning(told, keys.label)
    return places


def _find(batch: Any, role: str, key: Key | None, fits: Callable[[Any], bool], place: int) -> Path | None:
    if key is not None:
        path = _path_of(batch, role, key)
        within = _first(at(batch, path), fits)
        if within is None:
            found = at(batch, path)
            if role == "image":
                return None
            raise SettingError(
                f"{role}_key={quoted(key)} is a {type(found).__name__}; accepted is a tensor, an image an entry"
            )
        return (*path, *within)
    if isinstance(batch, Tensor):
        return () if role == "image" else None
    is_image = role == "image"
    found = _by_place(batch, place, fits, deep=is_image) or _by_name(batch, _USUAL[role], fits)
    return found or (_unnamed_images(batch) if is_image else None)


def _unnamed_images(batch: Any) -> Path | None:
    """The first images under no name of labels or masks."""
    taken = {*_USUAL["label"], *_USUAL["mask"]}
    held = {step: one for step, one in held_by(batch).items() if step not in taken}
    return _first(held, _are_images)


def _path_of(batch: Any, role: str, key: Key) -> Path:
    steps = tuple(int(step) if step.isdecimal() else step for step in str(key).split("."))
    for path in ((key,), steps):
        try:
            at(batch, path)
        except LookupError:
            continue
        return path
    names = [dotted(path) for path, _ in leaves(batch)]
    raise SettingError(f"{role}_key={quoted(key)} is not in the batch, {described(batch)}{nearest(str(key), names)}")


def _by_place(batch: Any, place: int, fits: Callable[[Any], bool], deep: bool) -> Path | None:
    if not isinstance(batch, (list, tuple)) or len(batch) <= place:
        return None
    within = _first(batch[place], fits) if deep or fits(batch[place]) else None
    return None if within is None else (place, *within)


def _by_name(batch: Any, names: Sequence[str], fits: Callable[[Any], bool]) -> Path | None:
    """The outermost of a usual name, or what is within it; lists within a batch are of things an image each."""
    level: list[tuple[Path, Any]] = [((), batch)]
    seen = {id(batch)}  # what holds itself ends
    while level:
        for path, tree in level:
            held = held_by(tree)
            for name in names:
                if name in held and (within := _within(held[name], names, fits)) is not None:
                    return (*path, name, *within)
        inner = [((*path, step), one) for path, tree in level for step, one in held_by(tree).items()]
        level = [
            (path, one)
            for path, one in inner
            if id(one) not in seen and held_by(one) and not isinstance(one, (list, tuple))
        ]
        seen.update(id(one) for _, one in level)
    return None


def _within(value: Any, names: Sequence[str], fits: Callable[[Any], bool]) -> Path | None:
    if fits(value):
        return ()
    return _by_name(value, names, fits) or (_first(value, fits) if fits is _are_images else None)


def _first(value: Any, fits: Callable[[Any], bool]) -> Path | None:
    if fits(value):
        return ()
    for step, one in held_by(value).items():
        if (within := _first(one, fits)) is not None:
            return (step, *within)
    return None


def _are_images(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() == 4
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    return is_list and all(isinstance(one, Tensor) and one.dim() == 3 for one in value)


def _is_tensor(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() > 0
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    return is_list and all(isinstance(one, (bool, int, float)) for one in value)


def _as_one(value: Any, of_images: bool = False) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone().as_subclass(Tensor)  # checkpoints are of torch's own
    if not isinstance(value[0], Tensor):
        return torch.tensor(value)
    return torch.cat(of_one_size([one.detach().cpu()[None] for one in value], of_images))


def of_one_size(parts: Sequence[Tensor], of_images: bool = False) -> list[Tensor]:
    """Return images (n, C, H, W), or maps (n, H, W) or (n, 1, H, W), with those of other sizes at the first's."""
    sizes = {one.shape[-2:] for one in parts if one.dim() > 2}
    if len(sizes) < 2:
        return list(parts)
    size = tuple(parts[0].shape[-2:])
    return [_resized(one, size, of_images) for one in parts]


def _resized(one: Tensor, size: tuple[int, ...], of_images: bool) -> Tensor:
    maps = one if one.dim() == 4 else one[:, None]
    how: dict[str, Any] = {"mode": "bilinear", "antialias": True} if of_images else {"mode": "nearest-exact"}
    found = F.interpolate(maps.float(), size, **how).to(one.dtype)
    return found if one.dim() == 4 else found[:, 0]


def _say_which_labels(batch: Any, places: Places, inputs: range) -> None:
    """Say so where several entries may be the labels, as in (image, domain, label), and where none is known as such."""
    count = len(at(batch, places.image))
    found = [(path, one) for path, one in leaves(batch) if _may_be_labels(one, count)]
    alike = [path for path, one in found if path != places.mask or one.dim() == 1]
    alike = [path for path in alike if not path or path[0] not in inputs]  # which are the model's
    if places.label is None and alike:
        key = dotted(alike[0])
        logger.warning(
            "no labels are found in the batch, %s; label_key= names them, as label_key=%s",
            described(batch),
            key if key.isdecimal() else repr(key),
        )
        return
    if places.label is None and (words := _by_name(batch, _USUAL["label"], _are_words)):
        logger.warning("no labels are read: %s holds words, and accepted are numbers", dotted(words))
    others = [path for path in alike if path != places.label]
    if places.label and others and not any(isinstance(step, str) for path in [places.label, *others] for step in path):
        keys = [dotted(path) for path in sorted([places.label, *others], key=str)]
        taken = dotted(places.label)
        named = " or ".join(f"label_key={key if key.isdecimal() else repr(key)}" for key in keys if key != taken)
        told = "the labels are taken to be the batch's entry %s, of [%s]; %s takes another"
        logger.warning(told, taken, ", ".join(keys), named)


def _are_words(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(one, str) for one in value)


def _may_be_labels(one: Any, count: int) -> bool:
    return isinstance(one, Tensor) and one.dim() in (1, 2) and len(one) == count


def described(batch: Any) -> str:
    """Say what a batch holds, with the shapes of its tensors."""
    held: Iterator[tuple[Path, Any]] = islice(leaves(batch), 12)
    shapes = {dotted(path): tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__ for path, one in held}
    return f"a {type(batch).__name__} of {shapes}"
