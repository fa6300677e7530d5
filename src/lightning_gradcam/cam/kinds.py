"""The ways in which Python's, NumPy's and torch's objects hold what can change, a table of each."""

import ctypes
import functools
import gc
import random
import types
import weakref
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from threading import local
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

# whose objects never change, and hold nothing that does
ATOMS = (int, float, complex, str, bytes, type, range, slice, type(None), type(...), type(NotImplemented))
_MADE_BY_PYTHON = 1 << 9  # Py_TPFLAGS_HEAPTYPE
NEVER_CHANGE = frozenset({bool, *ATOMS})  # exactly these types

T = TypeVar("T")


def per_type(function: Callable[[type], T]) -> Callable[[type], T]:
    """Ask a function once for each type, which is not held for that: a user's class may hold what a function knew."""
    native: dict[type, T] = {}  # types that live as long as the process; looked up thousands of times in a look
    known: weakref.WeakKeyDictionary[type, T] = weakref.WeakKeyDictionary()

    @functools.wraps(function)
    def asked(cls: type) -> T:
        try:
            return native[cls]
        except KeyError:
            pass
        try:
            return known[cls]
        except KeyError:
            held: Any = known if cls.__flags__ & _MADE_BY_PYTHON else native
            answer = held[cls] = function(cls)
            return answer

    return asked


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


def attributes_of(one: object) -> dict[str, Any]:
    """Return an object's own attributes, those in slots too; nothing of the object's is called."""
    held = dict(own_dict(one))
    for name, slot in slots_of(type(one)).items():
        try:
            held[name] = slot.__get__(one)
        except AttributeError:  # not set
            continue
    return held


def own_dict(one: object) -> dict[str, Any]:
    """Return an object's own `__dict__`; nothing of the object's is called."""
    try:
        found = object.__getattribute__(one, "__dict__")
    except AttributeError:  # a class of slots alone
        return {}
    return found if isinstance(found, dict) else {}


@per_type
def slots_of(cls: type) -> dict[str, Any]:
    """Return a type's slots by name: a property of a subclass may stand before one, and does something."""
    return {
        name: member
        for base in reversed(cls.__mro__)
        for name, member in vars(base).items()
        if isinstance(member, types.MemberDescriptorType) and "__slots__" in vars(base)
    }


def _fill_attributes(one: object, held: list[Any]) -> None:
    wanted, own, slots = dict(zip(held[::2], held[1::2], strict=True)), own_dict(one), slots_of(type(one))
    for name in own.keys() - wanted.keys():
        del own[name]
    own.update({name: value for name, value in wanted.items() if name not in slots})
    for name, slot in slots.items():
        if name in wanted:
            slot.__set__(one, wanted[name])
        elif name in attributes_of(one):
            slot.__delete__(one)


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


def dense_parts(tensor: Tensor) -> list[Tensor]:
    """Return the dense tensors that a tensor consists of: itself, or a sparse one's indices and values."""
    tensor = tensor.detach()
    if tensor.layout == torch.strided:
        return [tensor]
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return [tensor.values()] if tensor.is_nested else [tensor.to_dense()]


def bytes_of(tensor: Tensor) -> int:
    """Return how much memory a tensor's values take."""
    if tensor.layout == torch.strided:
        return tensor.nbytes
    return sum(part.nbytes for part in dense_parts(tensor))


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


def _fill_objects(one: np.ndarray[Any, Any], held: list[Any]) -> None:
    for place, value in zip(np.ndindex(one.shape), held, strict=True):
        one[place] = value


def _fill_bytes(one: Any, held: list[Any]) -> None:
    ctypes.memmove(ctypes.addressof(one), held[0], ctypes.sizeof(one))


def _fill_local(one: local, held: list[Any]) -> None:
    vars(one).clear()
    vars(one).update(zip(held[::2], held[1::2], strict=True))


def _weak_mapping(base: Any) -> Kind:
    def fill(one: Any, held: list[Any]) -> None:
        one.clear()
        one.update(zip(held[::2], held[1::2], strict=True))

    return Kind(lambda one: _flat(base.items(one)), fill, lambda one: type(one)(), is_paired=True)


def _seed_of(one: Any) -> Any:
    seed = getattr(one, "seed_seq", getattr(one, "_seed_seq", None))  # NumPy below 1.25 has the latter
    return seed if isinstance(seed, np.random.SeedSequence) else None


def _seed_state(one: np.random.SeedSequence) -> Any:
    return one.__reduce__()[2]


def _fill_seed(one: Any, held: list[Any]) -> None:
    setter = getattr(one, "__setstate_cython__", None) or one.__setstate__  # by NumPy's version
    setter(held[0])


def _bits(one: Any) -> list[Any]:
    """A bit generator's state, and how many generators were spawned from its seed."""
    seed = _seed_of(one)
    return [one.state, None if seed is None else _seed_state(seed)]


def _fill_bits(one: Any, held: list[Any]) -> None:
    one.state = held[0]
    if held[1] is not None:
        _fill_seed(_seed_of(one), [held[1]])


def _blank_bits(one: Any) -> Any:
    seed = _seed_of(one)
    return type(one)() if seed is None else type(one)(_blank_seed(seed))


def _blank_seed(one: np.random.SeedSequence) -> np.random.SeedSequence:
    return np.random.SeedSequence(**one.state)


ATTRIBUTES = Kind(
    lambda one: _flat(attributes_of(one).items()),
    _fill_attributes,
    lambda one: object.__new__(type(one)),
    is_paired=True,
)
SIMPLE: type = ctypes.c_int.__mro__[1]  # of ctypes' numbers
# of an array of Python objects, which it holds as a list does
OBJECTS = Kind(lambda one: list(one.flat), _fill_objects, np.empty_like)
KINDS: dict[type, Kind] = {
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
        lambda one: _bits(one.bit_generator),
        lambda one, held: _fill_bits(one.bit_generator, held),
        lambda one: np.random.Generator(_blank_bits(one.bit_generator)),
        is_value=True,
    ),
    np.random.BitGenerator: Kind(_bits, _fill_bits, _blank_bits, is_value=True),
    np.random.SeedSequence: Kind(
        lambda one: [_seed_state(one)],
        _fill_seed,
        _blank_seed,
        is_value=True,
    ),
    array: Kind(
        lambda one: [one[:]],
        lambda one, held: one.__setitem__(slice(None), held[0]),
        lambda one: array(one.typecode),
        is_value=True,
    ),
    **dict.fromkeys(
        (SIMPLE, ctypes.Array, ctypes.Structure, ctypes.Union),  # numbers in memory, also in shared one
        Kind(lambda one: [bytes(one)], _fill_bytes, lambda one: type(one)(), is_value=True),
    ),
    local: Kind(lambda one: _flat(vars(one).items()), _fill_local, _new, is_paired=True),
    weakref.WeakValueDictionary: _weak_mapping(weakref.WeakValueDictionary),
    weakref.WeakKeyDictionary: _weak_mapping(weakref.WeakKeyDictionary),
    OrderedDict: _mapping(OrderedDict),
    dict: _mapping(dict),
    list: Kind(lambda one: list.copy(one), lambda one, held: list.__setitem__(one, slice(None), held), _new),
    set: Kind(lambda one: [*set.__iter__(one)], _fill_set, _new),
    deque: Kind(lambda one: [*deque.__iter__(one)], _fill_deque, _blank_deque),
    types.SimpleNamespace: ATTRIBUTES._replace(blank=_new),
    types.CellType: Kind(_cell, _fill_cell, lambda one: types.CellType()),
}


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


def _partial(one: functools.partial[Any], parts: list[Any]) -> functools.partial[Any]:
    function, given, named, own = parts
    made = type(one)(function, *given, **named)
    vars(made).update(own or {})
    return made


def _referent(one: Any) -> list[Any]:
    """What a proxy stands for, by way of a method of it: any object has this one."""
    try:
        return [one.__reduce_ex__.__self__]
    except ReferenceError:  # it is gone
        return [None]


BONDS: dict[type, Bond] = {
    tuple: Bond(lambda one: [*tuple.__iter__(one)], _tuple),
    frozenset: Bond(lambda one: [*frozenset.__iter__(one)], lambda one, parts: frozenset.__new__(type(one), parts)),
    types.FunctionType: Bond(_function_parts, _function),
    types.MethodType: Bond(lambda one: [one.__func__, one.__self__], lambda one, parts: types.MethodType(*parts)),
    types.MethodWrapperType: Bond(lambda one: [one.__self__], lambda one, parts: getattr(parts[0], one.__name__)),
    types.BuiltinMethodType: Bond(lambda one: [one.__self__], lambda one, parts: getattr(parts[0], one.__name__)),
    functools.partial: Bond(lambda one: [one.func, one.args, one.keywords, vars(one) or None], _partial),
    type(functools.lru_cache(int)): Bond(
        lambda one: [one.__wrapped__],
        lambda one, parts: functools.lru_cache(**one.cache_parameters())(parts[0]),
    ),
    weakref.ref: Bond(lambda one: [one()], lambda one, parts: weakref.ref(parts[0])),
    weakref.WeakMethod: Bond(lambda one: [one()], lambda one, parts: weakref.WeakMethod(parts[0]) if parts[0] else one),
    **dict.fromkeys(
        (weakref.ProxyType, weakref.CallableProxyType), Bond(_referent, lambda one, parts: weakref.proxy(parts[0]))
    ),
    **dict.fromkeys(
        (staticmethod, classmethod), Bond(lambda one: [one.__func__], lambda one, parts: type(one)(parts[0]))
    ),
    types.MappingProxyType: Bond(
        lambda one: gc.get_referents(one)[:1], lambda one, parts: types.MappingProxyType(parts[0])
    ),
}
HEIRS = (tuple, frozenset, functools.partial)  # a subclass holds what these hold
