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
_PLAIN = (str, bytes, int, float, Tensor, np.ndarray, type, ModuleType)
_MARGIN = 0.05  # beyond black and white, where images were resized


class Normalising(NamedTuple):
    """What was subtracted and divided by, and who says so."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


def names_of_classes(source: Any) -> tuple[str, ...]:
    """Return the names of classes that a data set, a data module or a model says that it has, in order; or none."""
    return next(filter(None, map(_names, _within(source))), ())


def count_of_classes(dataset: Any) -> int | None:
    """Return how many classes a data set says that it has."""
    counts = (len(classes) for one in _within(dataset) if isinstance(classes := _held(one, "classes"), (list, tuple)))
    return next((count for count in counts if count > 1), None)


def colours_of(dataset: Any) -> tuple[int, int, int] | None:
    """Return which channels a data set says are red, green and blue, as torchgeo's say by their bands' names."""
    for one in _within(dataset):
        bands = next((list(found) for name in _BANDS if isinstance(found := _held(one, name), (list, tuple))), [])
        colours = _held(one, "rgb_bands")
        if isinstance(colours, (list, tuple)) and len(colours) == 3 and all(band in bands for band in colours):
            red, green, blue = map(bands.index, colours)
            return red, green, blue
    return None


def normalising_of(images: Tensor, sources: Iterable[Any]) -> Normalising | None:
    """Return the normalising that was done to images, as one of several sources says; None where none does.

    A data set says it by a Normalize in its transform, torchvision's, albumentations' or kornia's, or by an image
    processor of transformers', which are looked for in what it, its functions and its collating hold; a data module and
    a loader by these, or by a mean and a std.

    Args:
        images: (N, C, H, W) or (N, H, W, C), as the model gets them; what they cannot have come from is passed over.
        sources: those nearest to the images first.
    """
    if not images.is_floating_point():
        return None
    images = channels_first(images).float()
    return next((one for source in sources for one in _said(source) if _explains(one, images)), None)


def _within(source: Any) -> Iterator[Any]:
    """A data set, and the one that it reads, as subsets and wrappers have it; of several the first."""
    for _ in range(_DEEPEST):
        if source is None:
            return
        yield source
        inner = next((held for name in _WRAPPED if (held := _held(source, name)) is not None), None)
        source = (inner[0] if inner else None) if isinstance(inner, (list, tuple)) else inner


def _held(source: Any, name: str) -> Any:
    with suppress(Exception):  # a property of the user's, which may not be ready
        return getattr(source, name, None)
    return None


def _names(source: Any) -> tuple[str, ...]:
    by_index = _held(_held(source, "config"), "id2label")  # as transformers' models have them
    if isinstance(by_index, dict) and not all(str(name).startswith("LABEL_") for name in by_index.values()):
        return tuple(str(by_index[index]) for index in sorted(by_index))
    for name in ("classes", "class_names"):
        held = _held(source, name)
        if isinstance(held, (list, tuple)) and len(held) > 1 and all(isinstance(one, str) for one in held):
            return tuple(held)
    indices = _held(source, "class_to_idx")
    if isinstance(indices, dict) and sorted(indices.values()) == list(range(len(indices))):
        return tuple(sorted(indices, key=lambda name: int(indices[name])))
    return ()


def _said(source: Any) -> list[Normalising]:
    found: list[Normalising] = []
    with suppress(Exception):  # what users hold may fail in any way where it is looked at
        for held, mean, std in [*_normalisers(source), (source, _held(source, "mean"), _held(source, "std"))]:
            with suppress(TypeError, ValueError):
                found.append(Normalising(_numbers(mean), _numbers(std), type(held).__name__))
    return found


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(np.asarray(values.cpu() if isinstance(values, Tensor) else values, np.float64).reshape(-1).tolist())


def _normalisers(source: Any) -> Iterator[tuple[Any, Any, Any]]:
    """All that normalises images and can be reached, with its mean and std."""
    level, seen = [source], {id(source)}
    for _ in range(_DEEPEST):
        following: list[Any] = []
        for one in level:
            if (found := _statistics(one)) is not None:
                yield one, *found
                continue
            new = [held for held in _contents(one) if id(held) not in seen]
            seen.update(map(id, new))
            following += new
        level = following[:_MOST]


def _statistics(one: Any) -> tuple[Any, Any] | None:
    if inspect.getattr_static(one, "image_mean", None) is not None:  # an image processor
        return (one.image_mean, one.image_std) if _held(one, "do_normalize") is not False else None
    if not type(one).__name__.startswith("Normalize") or _held(one, "normalization") not in (None, "standard"):
        return None  # albumentations' others have a mean and a std that they do not use
    flags = _held(one, "flags")  # kornia's
    held = flags if isinstance(flags, Mapping) else {name: _held(one, name) for name in ("mean", "std")}
    return (held["mean"], held["std"]) if held.get("mean") is not None and held.get("std") is not None else None


def _contents(one: Any) -> Iterable[Any]:
    """What may hold, or be, a transform."""
    if isinstance(one, _PLAIN) or is_trainer(type(one)):
        return ()
    if isinstance(one, (list, tuple, dict)):
        held = list(one.values()) if isinstance(one, dict) else one
        return held if len(held) <= _LONGEST else ()
    if isinstance(one, partial):
        return [one.func, *one.args, *one.keywords.values()]
    if isinstance(one, MethodType):
        return [one.__func__, one.__self__]
    if isinstance(one, FunctionType):
        with suppress(Exception):
            known = inspect.getclosurevars(one)
            return [*known.nonlocals.values(), *known.globals.values()]
        return ()
    inner = list(one.children()) if isinstance(one, nn.Module) else []
    return [*inner, *getattr(one, "__dict__", {}).values(), *_of_class(type(one))]


def _of_class(kind: type) -> Iterator[Any]:
    """What a class of the user's holds, and its methods that make of an item what the model gets."""
    if kind.__module__.partition(".")[0] not in _LIBRARIES:
        for name, held in vars(kind).items():
            is_code = isinstance(held, (FunctionType, classmethod, staticmethod, property, type))
            if name in _READING or not (name.startswith("__") or is_code):
                yield held


def _explains(said: Normalising, images: Tensor) -> bool:
    """Whether images can have been normalised so: before, none was darker than black, or brighter than white."""
    pixels = images.nan_to_num(0, 0, 0).numpy()
    with suppress(SettingError):
        appearance = Appearance(said.mean, said.std)
        appearance.check_fits(images.shape[1])
        before = appearance.undone(pixels)
        white = appearance.unit(before)
        is_within = white is None or (before.min() >= -_MARGIN * white and before.max() <= (1 + _MARGIN) * white)
        return bool(is_within and (max(said.mean) <= 0 or pixels.min() < 0))
    return False
