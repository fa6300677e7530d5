"""What data sets, data modules and models say of themselves: classes, their names, normalising, bands."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from lightning_gradcam.cam.bounds import is_trainer
from lightning_gradcam.cam.maps import channels_first
from lightning_gradcam.errors import SettingError
from lightning_gradcam.pictures.appearance import Appearance
from lightning_gradcam.values import held

_WRAPPED = ("dataset", "subset", "datasets", "loader")  # under which a data set holds the one that it reads
_BANDS = ("bands", "all_bands", "all_band_names")
_DEEPEST, _LONGEST, _MOST = 8, 64, 5_000  # steps from a data set to its transform, entries of a list, objects looked at
_LIBRARIES = {"builtins", "torch", "torchvision", "pytorch_lightning", "lightning"}
_READING = {
    "__getitem__",
    "__getitems__",
    "__iter__",
    "__call__",
    "on_before_batch_transfer",
    "on_after_batch_transfer",
}
_OF_LABELS = ("target", "label")  # in the names of what is of these
_PLAIN = (str, bytes, int, float, Tensor, np.ndarray, type, ModuleType)
_MARGIN = 0.05  # beyond black and white, where images were resized


class Normalising(NamedTuple):
    """What was subtracted and divided by, and who says so."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    is_named: bool = True  # by what it is, and not only by what its numbers are called


def names_of_classes(source: Any) -> tuple[str, ...]:
    """Return the names of classes that a data set, a data module or a model says that it has, in order; or none."""
    return next(filter(None, map(_names, _within(source))), ())


def count_of_classes(dataset: Any) -> int | None:
    """Return how many classes a data set says that it has."""
    counts = (len(classes) for one in _within(dataset) if isinstance(classes := held(one, "classes"), (list, tuple)))
    return next((count for count in counts if count > 1), None)


def colours_of(dataset: Any, channels: int) -> tuple[int, int, int] | None:
    """Return which of its channels a data set says are red, green and blue, as torchgeo's say by their bands' names."""
    for one in _within(dataset):
        bands = next((list(found) for name in _BANDS if isinstance(found := held(one, name), (list, tuple))), [])
        colours = held(one, "rgb_bands")
        is_whole = len(bands) == channels and isinstance(colours, (list, tuple)) and len(colours) == 3
        if is_whole and all(band in bands for band in colours):
            red, green, blue = map(bands.index, colours)
            return red, green, blue
    return None


def normalising_of(images: Tensor, sources: Iterable[Any]) -> list[Normalising]:
    """Return the normalising that was done to images, as the first of several sources says that says it.

    A data set says it by a Normalize in its transform, torchvision's, albumentations' or kornia's, or by an image
    processor of transformers', which are looked for in what it, its functions and its collating hold; a data module and
    a loader by these, or by a mean and a std.

    Args:
        images: (N, C, H, W) or (N, H, W, C), as the model gets them; what they cannot have come from is passed over.
        sources: those nearest to the images first.

    Returns:
        One; several where a source has several that the images may have come from; none where no source says any.
    """
    if not images.is_floating_point():
        return []
    images = channels_first(images).float()
    for source in sources:
        found = {(one.mean, one.std): one for one in _said(source) if _explains(one, images)}
        if found:
            return list(found.values())
    return []


def _within(source: Any) -> Iterator[Any]:
    """A data set, and the one that it reads, as subsets and wrappers have it; of several the first."""
    for _ in range(_DEEPEST):
        if source is None:
            return
        yield source
        inner = next((one for name in _WRAPPED if (one := held(source, name)) is not None), None)
        source = (inner[0] if inner else None) if isinstance(inner, (list, tuple)) else inner


def _names(source: Any) -> tuple[str, ...]:
    by_index = held(held(source, "config"), "id2label")  # as transformers' models have them, from JSON by words
    if isinstance(by_index, dict) and not all(str(name).startswith("LABEL_") for name in by_index.values()):
        with suppress(TypeError, ValueError):
            return tuple(str(by_index[index]) for index in sorted(by_index, key=int))
    indices = held(source, "class_to_idx")  # which alone tells the order
    if isinstance(indices, dict) and set(indices.values()) == set(range(len(indices))):
        return tuple(map(str, sorted(indices, key=lambda name: int(indices[name]))))
    for name in ("classes", "class_names"):
        names = held(source, name)
        if isinstance(names, (list, tuple)) and len(names) > 1 and all(isinstance(one, str) for one in names):
            return tuple(names)
    return ()


def _said(source: Any) -> list[Normalising]:
    found = [Normalising(mean, std, type(one).__name__) for one, (mean, std) in _normalisers(source)]
    own = _numbers(held(source, "mean"), held(source, "std"))
    return [*found, Normalising(*own, type(source).__name__, is_named=False)] if own else found


_Numbers = tuple[float, ...]


def _numbers(mean: Any, std: Any) -> tuple[_Numbers, _Numbers] | None:
    """Numbers of whatever kind as Python's; None where any are none."""
    with suppress(Exception):
        return _row(mean), _row(std)
    return None


def _row(values: Any) -> _Numbers:
    found = np.asarray(values.cpu() if isinstance(values, Tensor) else values, np.float64)
    return tuple(map(float, found.reshape(-1)))


def _normalisers(source: Any) -> Iterator[tuple[Any, tuple[_Numbers, _Numbers]]]:
    """All that normalises images and can be reached, with its mean and std."""
    level, seen = [source], {id(source)}
    for _ in range(_DEEPEST):
        following: list[Any] = []
        for one in level:
            if (found := _statistics(one)) is not None:
                yield one, found
                continue
            with suppress(Exception):  # what a user holds may fail in any way where it is looked at
                new = [inner for inner in _contents(one) if id(inner) not in seen]
                seen.update(map(id, new))
                following += new
        level = following[:_MOST]


def _statistics(one: Any) -> tuple[_Numbers, _Numbers] | None:
    if inspect.getattr_static(one, "image_mean", None) is not None:  # an image processor
        is_done = held(one, "do_normalize") is not False
        return _numbers(held(one, "image_mean"), held(one, "image_std")) if is_done else None
    if type(one).__name__ == "Normalize" and held(one, "normalization") in (None, "standard"):
        flags = held(one, "flags")  # kornia's; albumentations' others than standard have numbers that they do not use
        known = flags if isinstance(flags, Mapping) else {name: held(one, name) for name in ("mean", "std")}
        return _numbers(known.get("mean"), known.get("std"))
    return None


def _contents(one: Any) -> Iterable[Any]:
    """What may hold, or be, a transform of images."""
    if isinstance(one, _PLAIN) or is_trainer(type(one)):
        return ()
    if isinstance(one, (list, tuple, dict)):
        inner = list(one.values()) if isinstance(one, dict) else one
        return inner if len(inner) <= _LONGEST else ()
    if isinstance(one, partial):
        return [one.func, *one.args, *one.keywords.values()]
    if isinstance(one, MethodType):
        return [one.__func__, one.__self__]
    if isinstance(one, FunctionType):
        known = inspect.getclosurevars(one)
        return [*known.nonlocals.values(), *known.globals.values()]
    children = list(one.children()) if isinstance(one, nn.Module) else []
    own = {**_of_class(type(one)), **getattr(one, "__dict__", {})}
    return [*children, *(inner for name, inner in own.items() if not any(word in str(name) for word in _OF_LABELS))]


def _of_class(kind: type) -> dict[str, Any]:
    """What a class of the user's holds, and its methods that make of an item what the model gets."""
    if kind.__module__.partition(".")[0] in _LIBRARIES:
        return {}
    code = (FunctionType, classmethod, staticmethod, property, type)
    items = vars(kind).items()
    return {
        name: inner
        for name, inner in items
        if name in _READING or not (name.startswith("__") or isinstance(inner, code))
    }


def _explains(said: Normalising, images: Tensor) -> bool:
    """Whether images can have been normalised so: before, none was darker than black, or brighter than white.

    A mean and a std that are only called so may be of labels: other than those of 0..1 they count where they are one
    a channel, or only scale.
    """
    pixels = images.nan_to_num(0, 0, 0).numpy()
    with suppress(SettingError):
        appearance = Appearance(said.mean, said.std)
        appearance.check_fits(images.shape[1])
        before = appearance.undone(pixels)
        white = appearance.unit(before)
        if white != 1 and not (said.is_named or len(said.mean) == images.shape[1] > 1 or not any(said.mean)):
            return False
        is_within = white is None or (before.min() >= -_MARGIN * white and before.max() <= (1 + _MARGIN) * white)
        return bool(is_within and (white is None or max(said.mean) <= 0 or pixels.min() < 0))
    return False
