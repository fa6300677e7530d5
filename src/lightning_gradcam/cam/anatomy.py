"""What Python objects hold: read, compared and filled again, so that a model can be copied, or be put back as it was.

A `Kind` is one way in which objects hold what can change: a dict its items, an object its attributes, a tensor its
values; a dict's subclass with attributes is of two kinds. A `Bond` is a way in which objects that never change hold
others that may: a tuple, a method, a function with a closure. What has neither (locks, files, sockets, iterators,
objects of native extensions) cannot be read, and is left alone.
"""

import random
import types
from collections import defaultdict
from typing import Any

import numpy as np

from lightning_gradcam.cam.kinds import (
    ATOMS,
    ATTRIBUTES,
    BONDS,
    HEIRS,
    KINDS,
    NEVER_CHANGE,
    OBJECTS,
    SIMPLE,
    Bond,
    Kind,
    per_type,
)

HOLDERS = tuple(KINDS)
_POINTERS = ("O", "z", "Z", "P")  # ctypes' codes: what they point to is not theirs
_LONG = 10_000  # items


@per_type
def kinds_of(cls: type) -> tuple[Kind, ...]:
    """Return the ways in which a type's objects hold what can change; the first makes the blank of a copy."""
    if issubclass(cls, random.SystemRandom):  # whose state is the system's
        return ()
    found = next((kind for base, kind in KINDS.items() if issubclass(cls, base)), None)
    if issubclass(cls, SIMPLE) and getattr(cls, "_type_", "") in _POINTERS:
        return ()
    if found and (cls in KINDS or cls is defaultdict):
        return (found,)
    own = (ATTRIBUTES,) if _is_plain(cls) or _has_attributes(cls) else ()
    return (found, *own) if found else own


def kinds_in(one: object) -> tuple[Kind, ...]:
    """Return the ways in which an object holds what can change."""
    kinds = kinds_of(type(one))
    is_array = bool(kinds) and kinds[0] is KINDS[np.ndarray]
    return (OBJECTS, *kinds[1:]) if is_array and np.ndarray.dtype.__get__(one).hasobject else kinds


@per_type
def can_be_made(cls: type) -> bool:
    """Whether an object of the type can be made and filled: of some native types attributes alone can be read."""
    return issubclass(cls, HOLDERS) or _is_plain(cls)


@per_type
def bond_of(cls: type) -> Bond | None:
    """Return the way in which a type's objects, which never change, hold others."""
    return next((BONDS[base] for base in cls.__mro__ if base in BONDS and (base is cls or base in HEIRS)), None)


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
    return issubclass(cls, (*ATOMS, *BONDS))


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
