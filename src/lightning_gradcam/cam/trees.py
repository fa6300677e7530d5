"""Nested data, as batches and outputs are: dicts, tuples, lists and objects with fields, and what they hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

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
            raise LookupError(f"there is no {'.'.join(map(str, path))}") from error
    return tree


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Walk through all that is no container, or an empty one, with its path."""
    held = held_by(tree)
    if not held:
        yield path, tree
    for step, one in held.items():
        yield from leaves(one, (*path, step))


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

    What lies a row an image in it is told by its length: tensors of length N, and lists of N things that are not such
    themselves. All else goes with each image.

    Args:
        tree: the batch.
        count: N.
    """

    def __init__(self, tree: Any, count: int) -> None:
        self.tree = tree
        self.count = count

    def at(self, rows: Sequence[int] | slice) -> "Rows":
        """Return some images' batch, in containers of its own; a row may come several times."""
        picked = list(range(self.count)[rows]) if isinstance(rows, slice) else list(rows)
        return Rows(_picked(self.tree, picked, self.count), len(picked))

    def on(self, device: torch.device) -> "Rows":
        """Return the batch with its tensors on a device."""
        return Rows(mapped(self.tree, lambda one: one.to(device) if isinstance(one, Tensor) else one), self.count)


def joined(parts: Sequence[Rows]) -> Rows:
    """Return several batches as one; what goes with each image is the first one's."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Rows(_joined([one.tree for one in parts], [one.count for one in parts]), sum(one.count for one in parts))


def _joined(trees: list[Any], counts: list[int], is_whole: bool = True) -> Any:
    first = trees[0]
    if all(_are_rows(one, count, is_whole) for one, count in zip(trees, counts, strict=True)):
        if not isinstance(first, Tensor):
            return type(first)([item for one in trees for item in one])
        return torch.cat(trees) if len({one.shape[1:] for one in trees}) == 1 else first
    held = [held_by(one) for one in trees]
    if not held[0] or any(one.keys() != held[0].keys() for one in held):
        return first
    return _with(first, {step: _joined([one[step] for one in held], counts, is_whole=False) for step in held[0]})


def _picked(tree: Any, rows: list[int], count: int, is_whole: bool = True) -> Any:
    if _are_rows(tree, count, is_whole):
        return tree[rows] if isinstance(tree, Tensor) else type(tree)([tree[row] for row in rows])
    held = held_by(tree)
    return (
        _with(tree, {step: _picked(one, rows, count, is_whole=False) for step, one in held.items()}) if held else tree
    )


def _are_rows(tree: Any, count: int, is_whole: bool) -> bool:
    if isinstance(tree, Tensor):
        return tree.dim() > 0 and len(tree) == count
    if is_whole or not isinstance(tree, (list, tuple)) or hasattr(tree, "_fields") or len(tree) != count:
        return False  # a whole batch is no list of rows, also one of two entries for two images
    return not any(isinstance(one, Tensor) and one.dim() not in (0, 3) and len(one) == count for one in tree)
