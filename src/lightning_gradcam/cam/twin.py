"""A twin of a model: all that a forward pass can change is the twin's own, and the trained weights are the model's."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lightning_gradcam.cam.anatomy import bond_of, can_be_made, is_data, is_sentinel, kinds_in, kinds_of, never_change
from lightning_gradcam.cam.bounds import (
    MOST_OBJECTS,
    ROOM,
    SHARED_FROM,
    OtherThreads,
    is_of_several_threads,
    is_shared,
    is_trainer,
)
from lightning_gradcam.cam.kinds import ATTRIBUTES, NEVER_CHANGE, bytes_of, own_dict, per_type, slots_of

COPIED_UP_TO = 2**16  # bytes: small parameters, as a temperature that a forward clamps, are copied all the same
_COMPILED = "_torchdynamo_orig_callable"  # an attribute of what `torch.compile` makes of a function
_MANY = 64  # objects that are asked for their types before they are gone through
_OWN_STORAGE = 4  # a tensor that is a smaller part of a large storage than one in so many is copied alone

T = TypeVar("T")
StandIn = Callable[[Callable[[Any], Any]], object]


class Twins:
    """Makes twins of objects that belong together: what two of them hold, their twins both hold the twin of.

    A twin's parameters are frozen, and all but small ones share the storage of the original's; everything else that
    can change is its own: buffers, tensors, containers, generators, closures, attributes. Backward hooks are left out,
    and a compiled function is the one that was compiled. What belongs to the program around (data sets, loaders,
    loggers, optimizers, queues that other threads read), and what cannot be copied (locks, files, iterators), is
    shared. Inference mode is off where twins are made: it would make their tensors' own.

    Args:
        copied: parameters and large tensors that are not shared all the same.
        stand_in: makes what stands in for a Lightning `Trainer`, wherever one is held, from `of`.
    """

    def __init__(self, copied: Iterable[Tensor] = (), stand_in: "StandIn | None" = None) -> None:
        self._copied = {id(tensor) for tensor in copied}
        self._trainer = stand_in(self.of) if stand_in else None
        self._others = OtherThreads()
        self._known: dict[int, tuple[Any, Any]] = {}  # an original, held so that no id is given out twice, and its twin
        self._made: list[Any] = []  # objects and containers
        self._held: list[dict[str, Any]] = []  # what plain objects hold
        self._storages: dict[tuple[int, int], torch.UntypedStorage] = {}
        self._room = ROOM
        self.shared: list[Tensor] = []

    def of(self, original: T) -> T:
        """Return the twin of an object: the same one at each call.

        Raises:
            TypeError: a module that does something when it is deleted, which its twin would do too; too many objects.
        """
        known = self._known.get(id(original))
        if known is None:
            if len(self._known) == MOST_OBJECTS:
                raise TypeError(f"it holds more than {MOST_OBJECTS} objects")
            twin = _maker(type(original))(self, original)
            known = self._known.setdefault(id(original), (original, twin))  # a function may stand in its own closure
        found: T = known[1]
        return found

    def keep(self, original: object) -> None:
        """Let an object be its own twin."""
        self._known[id(original)] = (original, original)

    def beside(self, companion: T) -> T:
        """Return the twin of what belongs to the model; what it has of its own outlives the end."""
        before = self._made, self._held
        self._made, self._held = [], []
        twin = self.of(companion)
        self._made, self._held = before
        return twin

    def end(self) -> None:
        """Let go of the model's twins at once: those that hold each other would wait for the garbage collector."""
        for held in self._held:
            held.clear()
        for twin in self._made:
            for kind in kinds_in(twin):
                if not kind.is_value:
                    kind.fill(twin, [])
        self._known, self._made, self._held, self._trainer = {}, [], [], None

    def _all(self, parts: list[Any]) -> list[Any]:
        if len(parts) > _MANY and never_change(parts):
            return parts
        return [part if type(part) in NEVER_CHANGE else self.of(part) for part in parts]

    def _same(self, original: Any) -> Any:
        return original

    def _stand_in(self, original: Any) -> Any:
        return self._trainer

    def _deep(self, original: Any) -> Any:
        return copy.deepcopy(original, {})

    def _bound(self, original: Any) -> Any:
        if type(original) is FunctionType and _COMPILED in vars(original):
            return self.of(vars(original)[_COMPILED])
        bond = bond_of(type(original))
        assert bond is not None
        parts = bond.parts(original)
        if is_data(parts):
            return original
        twins = self._all(parts)
        same = all(twin is part for twin, part in zip(twins, parts, strict=True))
        return original if same else bond.rebuilt(original, twins)

    def _array(self, original: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self._mutable(original) if self._is_copied(original.nbytes) else original

    def _bytes(self, original: bytearray) -> bytearray:
        return self._mutable(original) if self._is_copied(len(original)) else original

    def _is_copied(self, size: int) -> bool:
        """Whether there is room for a copy of so many bytes, which then is taken."""
        if size > min(SHARED_FROM, self._room):
            return False
        self._room -= size
        return True

    def _of_threads(self, original: Any) -> Any:
        return original if self._others.use(original) else self._mutable(original)

    def _module(self, original: nn.Module) -> Any:
        if hasattr(type(original), "__del__"):
            raise TypeError(f"{type(original).__name__} does something when it is deleted")
        twin = self._plain(original) if _has_attributes_alone(type(original)) else self._mutable(original)
        if twin is not original:
            vars(twin).update(_backward_hooks=OrderedDict(), _backward_pre_hooks=OrderedDict())
        return twin

    def _mapping(self, original: dict[Any, Any]) -> dict[Any, Any]:
        return self._mutable(original) if original else type(original)()  # a module has ten empty ones

    def _plain(self, original: Any) -> Any:
        """As `_mutable`, and faster, of what holds its attributes alone, in a dict."""
        held, of = own_dict(original), self.of
        if not 0 < len(held) < _MANY:
            return self._mutable(original)
        twin = object.__new__(type(original))
        self._known[id(original)] = (original, twin)
        own = own_dict(twin)
        self._held.append(own)
        for name, part in [*held.items()]:
            own[name] = part if type(part) in NEVER_CHANGE else of(part)
        return twin

    def _mutable(self, original: Any) -> Any:
        kinds = kinds_in(original)
        held = [kind.holds(original) for kind in kinds]
        if is_sentinel(kinds, held) or any(map(is_data, held)):
            return original
        twin = kinds[0].blank(original)
        self._known[id(original)] = (original, twin)
        self._made.append(twin)
        for kind, parts in zip(kinds, held, strict=True):
            if parts:
                kind.fill(twin, parts if kind.is_value else self._all(parts))
        return twin

    def _tensor(self, original: Tensor) -> Tensor:
        if is_lazy(original):
            lazy: Tensor = copy.deepcopy(original)
            return lazy
        is_parameter = isinstance(original, nn.Parameter)
        copied = id(original) in self._copied or original.is_inference() or bytes_of(original) <= COPIED_UP_TO
        copied = copied or (not is_parameter and self._is_copied(bytes_of(original)))
        if copied:
            values = self._values(original)
        else:
            values = original.detach()
            self.shared.append(original)
        twin = nn.Parameter(values, requires_grad=False) if is_parameter else values
        if type(twin) is not type(original):  # a parameter's subclass with attributes of its own
            twin = Tensor._make_subclass(type(original), values)
        if vars(original):
            self._known[id(original)] = (original, twin)  # an attribute may lead back
            vars(twin).update(self.of(vars(original)))
        return twin

    def _values(self, original: Tensor) -> Tensor:
        """A copy; of tensors that share storage, one whose copies share storage too."""
        plain = type(original) in (Tensor, nn.Parameter) and original.layout == torch.strided
        if not plain or original.is_quantized or original.is_conj() or original.is_neg() or original.is_inference():
            return original.detach().clone()
        storage = original.untyped_storage()
        if not storage.data_ptr():
            return original.detach().clone()
        place = storage.data_ptr(), storage.nbytes()  # other memory may begin at the same address
        own = self._storages.get(place)
        if own is None and original.is_contiguous() and storage.nbytes() == original.nbytes:
            copy = original.detach().clone()
            self._storages[place] = copy.untyped_storage()
            return copy
        if own is None and storage.nbytes() > max(_OWN_STORAGE * original.nbytes, COPIED_UP_TO):
            return original.detach().clone()
        if own is None:
            own = self._storages[place] = storage.clone()  # type: ignore[no-untyped-call]
        empty = torch.empty(0, dtype=original.dtype, device=original.device)
        return empty.set_(own, original.storage_offset(), original.size(), original.stride())


@per_type
def _maker(cls: type) -> Callable[[Twins, Any], Any]:
    """How the twins of a type's objects are made."""
    if issubclass(cls, Tensor):
        return Twins._tensor
    if cls in (dict, OrderedDict):
        return Twins._mapping
    if is_trainer(cls):
        return Twins._stand_in
    if is_shared(cls) or cls in NEVER_CHANGE:
        return Twins._same
    if bond_of(cls):
        return Twins._bound
    if issubclass(cls, np.ndarray):
        return Twins._array
    if issubclass(cls, bytearray):
        return Twins._bytes
    if issubclass(cls, torch.jit.ScriptModule) or (hasattr(cls, "__deepcopy__") and not issubclass(cls, nn.Module)):
        return Twins._deep
    if issubclass(cls, nn.Module):
        return Twins._module
    if not can_be_made(cls):
        return Twins._same
    if is_of_several_threads(cls):
        return Twins._of_threads
    return Twins._plain if _has_attributes_alone(cls) else Twins._mutable


@per_type
def _has_attributes_alone(cls: type) -> bool:
    return kinds_of(cls) == (ATTRIBUTES,) and not slots_of(cls)
