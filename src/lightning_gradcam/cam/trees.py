"""Nested data, as batches and outputs are: dicts, tuples, lists and objects with fields, and what they hold."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_gradcam.errors import SettingError

logger = logging.getLogger(__name__)

Step = str | int
Path = tuple[Step, ...]  # keys, places and names of fields, from outside in


def held_by(tree: Any) -> dict[Any, Any]:
    """Return what a container holds, by key, place or name; nothing where it is none."""
    if isinstance(tree, Mapping):
        return dict(tree.items())
    if hasattr(tree, "_asdict"):
        return dict(tree._asdict())
    if isinstance(tree, (list, tuple)):
        return dict(enumerate(tree))
    if is_dataclass(tree) and not isinstance(tree, type):
        return {one.name: getattr(tree, one.name) for one in fields(tree)}
    if isinstance(tree, (Tensor, nn.Module, type)) or not hasattr(tree, "__dict__"):
        return {}
    named = {name: one for name, one in vars(tree).items() if not name.startswith("_")}
    return named if any(isinstance(one, Tensor) for one in named.values()) else {}


def dotted(path: Path) -> str:
    """Say a path as keys are given."""
    return ".".join(map(str, path))


def at(tree: Any, path: Path) -> Any:
    """Return what is at a path.

    Raises:
        LookupError: nothing.
    """
    for step in path:
        try:
            by_name = isinstance(step, str) and not isinstance(tree, Mapping)
            tree = getattr(tree, str(step)) if by_name else tree[step]
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            raise LookupError(f"there is no {dotted(path)}") from error
    return tree


def leaves(tree: Any, path: Path = (), around: tuple[int, ...] = ()) -> Iterator[tuple[Path, Any]]:
    """Walk through all that is no container, or an empty one, with its path; `around` are those that hold it."""
    held = held_by(tree)
    if not held:
        yield path, tree
    for step, one in held.items():
        if id(one) not in around:  # what holds itself ends here
            yield from leaves(one, (*path, step), (*around, id(tree)))


def replaced(tree: Any, path: Path, value: Any) -> Any:
    """Return a copy of containers in which something else is at a path; what is not on it is the same."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    return _with(tree, {step: replaced(at(tree, (step,)), rest, value)})


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """Return containers of the same kinds with a function's values of what they hold."""
    held = held_by(tree)
    return _with(tree, {step: mapped(one, function) for step, one in held.items()}) if held else function(tree)


def _with(tree: Any, values: Mapping[Any, Any]) -> Any:
    if hasattr(tree, "_replace"):
        return tree._replace(**values)
    if isinstance(tree, (list, tuple)):
        return type(tree)(values.get(place, one) for place, one in enumerate(tree))
    own = copy(tree)
    for step, value in values.items():
        if isinstance(own, Mapping):
            own[step] = value  # type: ignore[index]
        else:
            object.__setattr__(own, step, value)  # frozen ones, and those that check what is set
    return own


class Rows:
    """A batch of N images, of which some images' part can be had.

    What has a row an image in it is told by its length: tensors and arrays of length N, and lists of N things that are
    not such themselves. All else goes with each image. Told once, of the batches as they were read.

    Args:
        tree: the batch.
        count: N.
        paths: where rows are; None tells it.
    """

    def __init__(self, tree: Any, count: int, paths: frozenset[Path] | None = None) -> None:
        self.tree = tree
        self.count = count
        self.paths = frozenset(_row_paths(tree, count)) if paths is None else paths

    def at(self, rows: Sequence[int] | slice) -> "Rows":
        """Return some images' batch, in containers of its own; a row may come several times."""
        picked = list(range(self.count)[rows]) if isinstance(rows, slice) else list(rows)
        values = {path: _picked(at(self.tree, path), picked) for path in self.paths}
        return Rows(_with_rows(self.tree, values), len(picked), self.paths)

    def on(self, device: torch.device) -> "Rows":
        """Return the batch with its tensors on a device."""
        tree = mapped(self.tree, lambda one: one.to(device) if isinstance(one, Tensor) else one)
        return Rows(tree, self.count, self.paths)

    def own(self) -> Any:
        """Return the batch's tree with containers and tensors of its own, which a forward may change."""
        return mapped(self.tree, lambda one: one.clone() if isinstance(one, Tensor) else one)


def joined(parts: Sequence[Rows]) -> Rows:
    """Return several batches as one; what goes with each image is the first one's."""
    first = parts[0]
    if len(parts) == 1:
        return first
    paths = frozenset.intersection(*(one.paths for one in parts))
    values = {path: _together([at(one.tree, path) for one in parts], path) for path in paths}
    return Rows(_with_rows(first.tree, values), sum(one.count for one in parts), paths)


def _with_rows(tree: Any, values: Mapping[Path, Any]) -> Any:
    for path, value in values.items():
        tree = replaced(tree, path, value)
    return tree


def _together(rows: list[Any], path: Path) -> Any:
    """Rows of several batches as one's; what is of several sizes, as texts are, is filled up with zeros, and said."""
    first = rows[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(rows)
    if not isinstance(first, Tensor):
        return type(first)([row for one in rows for row in one])
    sizes = {one.shape[1:] for one in rows}
    if len(sizes) == 1:
        return torch.cat(rows)
    if len({one.dim() for one in rows}) > 1:
        raise SettingError(f"the batches' entry {dotted(path)} has other axes from batch to batch")
    size = tuple(max(lengths) for lengths in zip(*sizes, strict=True))
    if first.dim() < 4:  # images are brought to one size where they are read
        told = "the batches' entry %s is of several sizes: where it is smaller than %s it is filled up with zeros"
        logger.warning(told, dotted(path), size)
    filled = first.new_zeros((sum(map(len, rows)), *size))
    start = 0
    for one in rows:
        place = (slice(start, start + len(one)), *(slice(length) for length in one.shape[1:]))
        filled[place] = one
        start += len(one)
    return filled


def _picked(tree: Any, rows: list[int]) -> Any:
    return tree[rows] if isinstance(tree, (Tensor, np.ndarray)) else type(tree)([tree[row] for row in rows])


def _row_paths(tree: Any, count: int, path: Path = ()) -> Iterator[Path]:
    if _are_rows(tree, count, is_whole=not path):
        yield path
        return
    for step, one in held_by(tree).items():
        yield from _row_paths(one, count, (*path, step))


def _are_rows(tree: Any, count: int, is_whole: bool) -> bool:
    if isinstance(tree, (Tensor, np.ndarray)):
        return tree.ndim > 0 and len(tree) == count
    if is_whole or not isinstance(tree, (list, tuple)) or hasattr(tree, "_fields") or len(tree) != count:
        return False  # a whole batch is no list of rows, also one of two entries for two images
    # views of all images are no rows; an image each, (C, H, W), is one, though it may have as many channels as N
    return not any(isinstance(one, Tensor) and one.dim() not in (0, 3) and len(one) == count for one in tree)
