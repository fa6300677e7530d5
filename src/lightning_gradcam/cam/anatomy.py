"""What Python objects hold: read, compared and filled again, so that a model can be copied, or be put back as it was.

A `Kind` is one way in which objects hold what can change: a dict its items, an object its attributes, a tensor its
values; a dict's subclass with attributes is of two kinds. A `Bond` is a way in which objects that never change hold
others that may: a tuple, a method, a function with a closure. What has neither (locks, files, sockets, iterators,
objects of native extensions) cannot be read, and is left alone.
"""

import functools
import random
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

# whose objects never change, and hold nothing that does
ATOMS = (int, float, complex, str, bytes, type, range, slice, type(None), type(...), type(NotImplemented))
NEVER_CHANGE = frozenset({bool, *ATOMS})  # exactly these types
_LONG = 10_000  # items


T = TypeVar("T")


def per_type(function: Callable[[type], T]) -> Callable[[type], T]:
    """Ask a function once for each type."""
    return functools.cache(function)


class Kind(NamedTuple):
    """One way in which objects hold what can change.

    Attributes:
        holds: what an object holds now: the objects themselves, or a copy of its value.
        fill: make an object hold what `holds` gave, and nothing else.
        blank: make an object of the same type to be filled.
        is_value: `holds` gives a value, and no objects to be looked into.
        is_paired: `holds` gives names or keys and what they stand for, in turn.
    """

    holds: Callable[[Any], list[Any]]
    fill: Callable[[Any, list[Any]], object]
    blank: Callable[[Any], Any]
    is_value: bool = False
    is_paired: bool = False


class Bond(NamedTuple):
    """One way in which objects that never change hold others: `parts` are those, `rebuilt` makes the same of others."""

    parts: Callable[[Any], list[Any]]
    rebuilt: Callable[[Any, list[Any]], Any]


@per_type
def kinds_of(cls: type) -> tuple[Kind, ...]:
    """Return the ways in which a type's objects hold what can change; the first makes the blank of a copy."""
    if issubclass(cls, random.SystemRandom):  # whose state is the system's
        return ()
    found = next((kind for base, kind in _KINDS.items() if issubclass(cls, base)), None)
    if found and (found.is_value or cls in _KINDS or cls is defaultdict):
        return (found,)
    own = (ATTRIBUTES,) if found or _is_plain(cls) or _has_attributes(cls) else ()
    return (found, *own) if found else own


@per_type
def can_be_made(cls: type) -> bool:
    """Whether an object of the type can be made and filled: of some native types attributes alone can be read."""
    return issubclass(cls, HOLDERS) or _is_plain(cls)


@per_type
def bond_of(cls: type) -> Bond | None:
    """Return the way in which a type's objects, which never change, hold others."""
    return next((_BONDS[base] for base in cls.__mro__ if base in _BONDS and (base is cls or base in _HEIRS)), None)


def never_change(held: list[Any]) -> bool:
    """Whether none of the objects can change."""
    return NEVER_CHANGE.issuperset(map(type, held))


def is_data(held: list[Any]) -> bool:
    """Whether a container holds so many objects that they are data, and no state to be looked into."""
    return len(held) > _LONG and not never_change(held)


def is_sentinel(kinds: tuple[Kind, ...], held: list[list[Any]]) -> bool:
    """Whether an object of a class written in Python has no attributes: nothing changes, and its identity may count."""
    return kinds == (ATTRIBUTES,) and not held[0]


def _is_fixed(cls: type) -> bool:
    return issubclass(cls, (*ATOMS, *_BONDS))


def _is_plain(cls: type) -> bool:
    """Whether a class and its bases are written in Python, so that its objects hold their attributes and no more."""
    if cls is object or _is_fixed(cls) or hasattr(cls, "__del__"):  # which would run on the object that is tried
        return False
    try:
        object.__new__(cls)
    except TypeError:  # Python refuses to make an object of a native type in any way but the type's own
        return False
    return True


def _has_attributes(cls: type) -> bool:
    """Whether the objects of a type that is not plain have attributes of their own."""
    is_module = issubclass(cls, types.ModuleType)
    return any("__dict__" in vars(base) for base in cls.__mro__) and not is_module and not _is_fixed(cls)


def attributes_of(one: object) -> dict[str, Any]:
    """Return an object's own attributes, those in slots too; nothing of the object's is called."""
    held = dict(_own_dict(one))
    for name in _slots(type(one)):
        try:
            held[name] = object.__getattribute__(one, name)
        except AttributeError:  # not set
            continue
    return held


def _own_dict(one: object) -> dict[str, Any]:
    try:
        found = object.__getattribute__(one, "__dict__")
    except AttributeError:  # a class of slots alone
        return {}
    return found if isinstance(found, dict) else {}


@per_type
def _slots(cls: type) -> tuple[str, ...]:
    return tuple(
        name
        for base in cls.__mro__
        for name, member in vars(base).items()
        if isinstance(member, types.MemberDescriptorType) and "__slots__" in vars(base)
    )


def _fill_attributes(one: object, held: list[Any]) -> None:
    wanted, own, slots = dict(zip(held[::2], held[1::2], strict=True)), _own_dict(one), _slots(type(one))
    for name in own.keys() - wanted.keys():
        del own[name]
    own.update({name: value for name, value in wanted.items() if name not in slots})
    for name in slots:
        if name in wanted:
            object.__setattr__(one, name, wanted[name])
        elif name in attributes_of(one):
            object.__delattr__(one, name)


def _flat(pairs: Any) -> list[Any]:
    return [part for pair in pairs for part in pair]


# A subclass may do more in its methods than to hold: containers are read and filled by their base's.
def _mapping(base: Any) -> Kind:
    def fill(one: dict[Any, Any], held: list[Any]) -> None:
        base.clear(one)
        for key, value in zip(held[::2], held[1::2], strict=True):
            base.__setitem__(one, key, value)

    return Kind(lambda one: _flat(base.items(one)), fill, _blank_mapping, is_paired=True)


def _blank_mapping(one: Any) -> Any:
    blank = _new(one)
    if isinstance(one, defaultdict):
        blank.default_factory = one.default_factory
    return blank


def _fill_set(one: set[Any], held: list[Any]) -> None:
    set.clear(one)
    set.update(one, held)


def _fill_deque(one: deque[Any], held: list[Any]) -> None:
    deque.clear(one)
    deque.extend(one, held)


def _blank_deque(one: deque[Any]) -> Any:
    blank = _new(one)
    deque.__init__(blank, maxlen=one.maxlen)
    return blank


def _cell(one: types.CellType) -> list[Any]:
    try:
        return [one.cell_contents]
    except ValueError:  # nothing is bound yet
        return []


def _fill_cell(one: types.CellType, held: list[Any]) -> None:
    if held:
        one.cell_contents = held[0]
    elif _cell(one):
        del one.cell_contents


def _new(one: Any) -> Any:
    cls: Any = type(one)
    return cls.__new__(cls)


def _tensor(one: Tensor) -> list[Any]:
    with torch.inference_mode(False), torch.no_grad():
        return [one.detach().clone(), one.requires_grad]


def _fill_tensor(one: Tensor, held: list[Any]) -> None:
    values, requires_grad = held
    with torch.inference_mode(one.is_inference()), torch.no_grad():
        if one.shape == values.shape and one.dtype == values.dtype and one.device == values.device:
            one.copy_(values)
        else:  # it was resized, or given other data
            one.data = values.clone()
    if one.is_leaf and one.requires_grad != requires_grad:
        one.requires_grad_(requires_grad)
    elif not one.is_leaf and not requires_grad:  # a look made it part of a graph
        one.detach_()


def _fill_array(one: np.ndarray[Any, Any], held: list[Any]) -> None:
    one[...] = held[0]


ATTRIBUTES = Kind(
    lambda one: _flat(attributes_of(one).items()),
    _fill_attributes,
    lambda one: object.__new__(type(one)),
    is_paired=True,
)
_KINDS: dict[type, Kind] = {
    Tensor: Kind(_tensor, _fill_tensor, torch.empty_like, is_value=True),
    np.ndarray: Kind(lambda one: [one.copy()], _fill_array, np.empty_like, is_value=True),
    bytearray: Kind(lambda one: [bytes(one)], lambda one, held: one.__setitem__(slice(None), held[0]), _new, True),
    torch.Generator: Kind(
        lambda one: [one.get_state()],
        lambda one, held: one.set_state(held[0]),
        lambda one: torch.Generator(one.device),
        is_value=True,
    ),
    random.Random: Kind(lambda one: [one.getstate()], lambda one, held: one.setstate(held[0]), _new, is_value=True),
    np.random.RandomState: Kind(
        lambda one: [one.get_state()],
        lambda one, held: one.set_state(held[0]),
        lambda one: np.random.RandomState(),
        is_value=True,
    ),
    np.random.Generator: Kind(
        lambda one: [one.bit_generator.state],
        lambda one, held: setattr(one.bit_generator, "state", held[0]),
        lambda one: np.random.Generator(type(one.bit_generator)()),
        is_value=True,
    ),
    OrderedDict: _mapping(OrderedDict),
    dict: _mapping(dict),
    list: Kind(lambda one: list.copy(one), lambda one, held: list.__setitem__(one, slice(None), held), _new),
    set: Kind(lambda one: [*set.__iter__(one)], _fill_set, _new),
    deque: Kind(lambda one: [*deque.__iter__(one)], _fill_deque, _blank_deque),
    types.SimpleNamespace: ATTRIBUTES._replace(blank=_new),
    types.CellType: Kind(_cell, _fill_cell, lambda one: types.CellType()),
}
HOLDERS = tuple(_KINDS)


def _function_parts(one: types.FunctionType) -> list[Any]:
    cells = [] if one.__code__.co_freevars == ("__class__",) else list(one.__closure__ or ())  # super()'s is no state
    return [one.__defaults__, one.__kwdefaults__, one.__dict__ or None, *cells]


def _function(one: types.FunctionType, parts: list[Any]) -> types.FunctionType:
    defaults, keyword_defaults, own, *cells = parts
    closure = tuple(cells) or one.__closure__
    made = types.FunctionType(one.__code__, one.__globals__, one.__name__, defaults, closure)
    made.__kwdefaults__ = keyword_defaults
    vars(made).update(own or {})
    made.__qualname__, made.__module__, made.__doc__ = one.__qualname__, one.__module__, one.__doc__
    made.__annotations__ = one.__annotations__
    return made


def _tuple(one: Any, parts: list[Any]) -> Any:
    cls = type(one)
    return cls(parts) if hasattr(cls, "n_sequence_fields") else tuple.__new__(cls, parts)  # torch.return_types' way


_BONDS: dict[type, Bond] = {
    tuple: Bond(lambda one: [*tuple.__iter__(one)], _tuple),
    frozenset: Bond(lambda one: [*frozenset.__iter__(one)], lambda one, parts: frozenset.__new__(type(one), parts)),
    types.FunctionType: Bond(_function_parts, _function),
    types.MethodType: Bond(lambda one: [one.__func__, one.__self__], lambda one, parts: types.MethodType(*parts)),
    types.BuiltinMethodType: Bond(lambda one: [one.__self__], lambda one, parts: getattr(parts[0], one.__name__)),
    functools.partial: Bond(
        lambda one: [one.func, one.args, one.keywords],
        lambda one, parts: type(one)(parts[0], *parts[1], **parts[2]),
    ),
    type(functools.lru_cache(int)): Bond(
        lambda one: [one.__wrapped__],
        lambda one, parts: functools.lru_cache(**one.cache_parameters())(parts[0]),
    ),
    weakref.ref: Bond(lambda one: [one()], lambda one, parts: weakref.ref(parts[0])),
}
_HEIRS = (tuple, frozenset, functools.partial)  # a subclass holds what these hold
