"""All that can be reached from some objects, as it is at one time: what changes after that is told, and put back."""

import builtins
import logging
import re
import sys
from collections import deque
from collections.abc import Iterator
from itertools import starmap
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_gradcam.cam.anatomy import bond_of, is_data, kinds_in, kinds_of, never_change
from lightning_gradcam.cam.bounds import MOST_OBJECTS, ROOM, OtherThreads, is_unseen
from lightning_gradcam.cam.kinds import NEVER_CHANGE, Kind, bytes_of, dense_parts

logger = logging.getLogger(__name__)

_BUILTINS = frozenset(dir(builtins))

# whose code keeps nothing of a model's in global variables
_LIBRARIES = frozenset(sys.stdlib_module_names - {"__main__"}) | {
    *("torch", "torchvision", "numpy", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities"),
    *("lightning_gradcam", "pytorch_grad_cam", "tensorboard", "pytest", "_pytest", "PIL", "matplotlib", "tqdm"),
    *("sympy", "mpmath", "scipy", "pandas", "sklearn"),
}


class Trace(NamedTuple):
    """One way in which an object holds something, and what it held.

    Attributes:
        path: how the object is reached.
        one: the object.
        kind: as `anatomy` has it.
        held: what `kind.holds` gave.
    """

    path: str
    one: Any
    kind: Kind
    held: list[Any]

    def has_changed(self) -> bool:
        """Whether the object holds something else now."""
        if issubclass(type(self.one), Tensor) and self.kind.is_value and self.kind is not _DIGEST:
            values, requires_grad = self.held
            return self.one.requires_grad != requires_grad or not _are_equal(self.one.detach(), values)
        now = self.kind.holds(self.one)
        if self.kind.is_value or (never_change(now) and never_change(self.held)):
            return not _are_equal(now, self.held)
        return len(now) != len(self.held) or not all(map(_is_same, now, self.held))

    def put_back(self) -> bool:
        """Make the object hold what it held, and say whether it does."""
        try:
            self.kind.fill(self.one, self.held)
            return not self.has_changed()
        except Exception:  # an array that is no longer written to, say
            return False

    def is_restless(self) -> bool:
        """Whether the object holds something else each time that it is asked: nothing can be told of it."""
        return self._replace(held=self.kind.holds(self.one)).has_changed()

    @property
    def name(self) -> str:
        """The path as the code has it: `network.0.weight`."""
        return re.sub(r"\._(?:modules|parameters|buffers)\['([^']*)'\]", r".\1", self.path)


class Audit:
    """What can be reached from some objects, and what of it has changed since.

    Looked into are attributes, containers, closures, and the global variables and class attributes that the objects'
    own code names, libraries' aside; not loggers, optimizers and what else belongs to the program around.

    Args:
        roots: the objects, by the names that they are told under.
    """

    def __init__(self, roots: dict[str, object]) -> None:
        reached = list(_reach(roots))
        # the smallest tensors are kept, as many as there is room for; of others it is only told that they changed
        room, digested = ROOM, set()
        sizes = {id(one): _size(one) for _, one, _ in reached if issubclass(type(one), (Tensor, np.ndarray))}
        for one, size in sorted(sizes.items(), key=lambda pair: pair[1]):
            room -= size
            if room < 0:
                digested.add(one)
        used = ((path, one, _DIGEST if id(one) in digested and kind.is_value else kind) for path, one, kind in reached)
        self._traces = list(filter(None, starmap(_trace, used)))

    def put_back(self) -> tuple[list[Trace], list[Trace]]:
        """Put back all that has changed; return what was, and what could not be."""
        pairs = [(trace, trace.put_back()) for trace in self._traces if _has_changed(trace)]
        lost = [trace for trace, is_done in pairs if not is_done and not trace.is_restless()]
        return [trace for trace, is_done in pairs if is_done], lost


def _size(one: Any) -> int:
    return bytes_of(one) if isinstance(one, Tensor) else one.nbytes


def _has_changed(trace: Trace) -> bool:
    try:
        return trace.has_changed()
    except Exception:  # it cannot be compared
        logger.debug("%s cannot be compared", trace.path)
        return False


def _trace(path: str, one: object, kind: Kind) -> Trace | None:
    try:
        return Trace(path, one, kind, kind.holds(one))
    except Exception:  # there may be no memory for a copy
        logger.debug("%s cannot be read", path)
        return None


class _Variable(NamedTuple):
    """A name in a module's or a class's namespace, which code may bind to something else."""

    owner: Any
    name: str


def _bound(variable: _Variable) -> list[Any]:
    owner, name = variable
    held = owner if isinstance(owner, dict) else vars(owner)
    return [held[name]] if name in held else []


def _bind(variable: _Variable, held: list[Any]) -> None:
    owner, name = variable
    if isinstance(owner, dict):
        owner.update({name: held[0]}) if held else owner.pop(name, None)
    elif held:
        setattr(owner, name, held[0])
    elif _bound(variable):
        delattr(owner, name)


_VARIABLE = Kind(_bound, _bind, lambda one: one)


def _reach(roots: dict[str, object]) -> Iterator[tuple[str, Any, Kind]]:
    """Every object that holds what can change, once a kind, by the shortest path."""
    seen: dict[object, Any] = {}  # with the objects, so that no id is given out twice
    queue, others = deque(roots.items()), OtherThreads()
    while queue:
        path, one = queue.popleft()
        if len(seen) == MOST_OBJECTS:
            logger.warning(
                "%s holds more than %d objects: what lies beyond is not put back, should a look change it",
                next(iter(roots)),
                MOST_OBJECTS,
            )
            return
        key = (id(one.owner), one.name) if isinstance(one, _Variable) else id(one)
        if key in seen or _is_passed_over(one) or others.use(one):
            continue
        seen[key] = one
        for kind in (_VARIABLE,) if isinstance(one, _Variable) else kinds_in(one):
            yield path, one, kind
            queue.extend(_parts(path, one, kind))
        queue.extend(_surroundings(path, one))


def _is_passed_over(one: Any) -> bool:
    cls = type(one)
    if issubclass(cls, (type, FunctionType)):
        return is_library(one.__module__)
    return cls in NEVER_CHANGE or is_unseen(cls) or (issubclass(cls, Tensor) and one.is_meta)


def _parts(path: str, one: Any, kind: Kind) -> list[tuple[str, Any]]:
    """What an object holds, by the path to it."""
    held = [] if kind.is_value else kind.holds(one)
    if is_data(held):
        return []
    if kind.is_paired:
        pairs = zip(held[::2], held[1::2], strict=True)
        named = [(_place(path, key, issubclass(type(one), dict)), value) for key, value in pairs]
        return [*named, *((path, key) for key in held[::2])]
    return [(path if kind is _VARIABLE else f"{path}[{place}]", part) for place, part in enumerate(held)]


def _place(path: str, key: object, is_item: bool) -> str:
    if not is_item:
        return f"{path}.{key}"
    return f"{path}[{key!r}]" if type(key) in NEVER_CHANGE else f"{path}[{type(key).__name__}]"


def _surroundings(path: str, one: Any) -> list[tuple[str, Any]]:
    """What lies behind an object: what it is bound to, and what its own code may change outside of it."""
    if isinstance(one, _Variable):
        return []
    bond = bond_of(type(one))
    found: list[tuple[str, Any]] = [(path, part) for part in (bond.parts(one) if bond else [])]
    if issubclass(type(one), FunctionType):
        return [*found, (path, vars(one)), *_global_variables(one)]
    if issubclass(type(one), type):
        return found + _class_attributes(one)
    return found + [(base.__qualname__, base) for base in type(one).__mro__ if not is_library(base.__module__)]


def _class_attributes(cls: type) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    code = [value.__code__ for value in vars(cls).values() if isinstance(value, FunctionType)]
    to_come = frozenset().union(*map(_names, code)) - {name for base in cls.__mro__ for name in vars(base)}
    found += [(f"{cls.__qualname__}.{name}", _Variable(cls, name)) for name in to_come]
    for name, value in vars(cls).items():
        unwrapped = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(unwrapped, FunctionType):
            found.append((f"{cls.__qualname__}.{name}", unwrapped))
        elif not name.startswith("__") and _may_change(value):
            found.append((f"{cls.__qualname__}.{name}", _Variable(cls, name)))
    return found


def _global_variables(function: FunctionType) -> list[tuple[str, Any]]:
    """The global variables that a function names, and those of its own program's modules that it reaches into."""
    names, spaces = _names(function.__code__), [(function.__module__, function.__globals__)]
    is_installed = "-packages" in function.__code__.co_filename  # its methods are read, not all that they call
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and not is_library(value.__name__):
            spaces.append((value.__name__, vars(value)))
    found: list[tuple[str, Any]] = []
    for module, space in spaces:
        found += [(f"{module}.{name}", _Variable(space, name)) for name in names - space.keys() - _BUILTINS]
        for name in names & space.keys():
            value = space[name]
            if isinstance(value, (FunctionType, type)):
                found += [(f"{module}.{name}", value)] if not is_installed else []
            elif _may_change(value):
                found.append((f"{module}.{name}", _Variable(space, name)))
    return found


def _may_change(value: object) -> bool:
    return type(value) in NEVER_CHANGE or bool(kinds_of(type(value))) or isinstance(value, tuple)


def _names(code: CodeType) -> frozenset[str]:
    inner = [_names(one) for one in code.co_consts if isinstance(one, CodeType)]
    return frozenset(code.co_names).union(*inner)


def is_library(module: object) -> bool:
    """Whether a module, by its name, is a library whose code keeps nothing of a model's in global variables."""
    return not isinstance(module, str) or module.split(".")[0] in _LIBRARIES


def _digest(one: Any) -> list[Any]:
    """What tells a large tensor's or array's values from others, without a copy of it."""
    if issubclass(type(one), np.ndarray):
        return [_sums(torch.from_numpy(np.asarray(one).reshape(-1).view(np.uint8)))]
    version = None if one.is_inference() else one._version
    return [version, [] if one.is_quantized else [_sums(part.reshape(-1)) for part in dense_parts(one)]]


def _sums(values: Tensor) -> list[int]:
    pieces = [piece.contiguous() for piece in torch.split(values, 2**24)]
    words = [piece.view(torch.int64 if piece.nbytes % 8 == 0 else torch.uint8) for piece in pieces]
    return [int(word.sum(dtype=torch.int64)) for word in words]


_DIGEST = Kind(_digest, lambda one, held: None, lambda one: one, is_value=True)


def _is_same(now: object, before: object) -> bool:
    return now is before or (type(now) is type(before) and type(now) in NEVER_CHANGE and _are_equal(now, before))


def _are_equal(left: Any, right: Any) -> bool:
    """Equal through all containers; NaN equals NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, Tensor):
        return _are_equal_tensors(left, right)
    if isinstance(left, np.ndarray):
        return bool(left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes())
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_are_equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(_are_equal, left, right))
    return bool(left == right or left != left)


def _are_equal_tensors(left: Tensor, right: Tensor) -> bool:
    if left.shape != right.shape or left.dtype != right.dtype or left.device != right.device:
        return False
    if left.layout != torch.strided or right.layout != torch.strided:
        parts = dense_parts(left), dense_parts(right)
        return left.layout == right.layout and all(map(_are_equal_tensors, *parts))
    if torch.equal(left, right):
        return True
    return left.is_floating_point() and bool(((left == right) | (left.isnan() & right.isnan())).all())
