"""What belongs to a model's state, and what to the program around it: shared with a twin, or never looked into."""

import logging
import sys
import threading
from enum import Enum
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_gradcam.cam.anatomy import HOLDERS, kinds_of
from lightning_gradcam.cam.kinds import NEVER_CHANGE, attributes_of, per_type

SHARED_FROM = 64 * 2**20  # bytes: larger tensors and arrays are shared with a twin, as parameters are
MOST_OBJECTS = 300_000  # that are looked into
ROOM = 512 * 2**20  # bytes of copies

_AROUND = (Optimizer, logging.Logger, threading.Thread)
_DATA = (Dataset, DataLoader, Sampler)
_LIGHTNING = ("pytorch_lightning.", "lightning_fabric.", "lightning.pytorch.", "lightning.fabric.")
_AROUND_FROM = (
    *_LIGHTNING,
    *("torch._", "torch.distributed.", "torch.fx.", "torch.utils.tensorboard.", "tensorboard."),
    *("lightning_gradcam.callback.", "lightning_gradcam.training."),
    *("typing.", "asyncio.", "concurrent.", "socket.", "subprocess.", "_thread.", "_io."),
)
_OF_SEVERAL_THREADS = ("threading.", "queue.", "_queue.")
_DEPTH = 2  # attributes of attributes


def is_from(cls: type, modules: tuple[str, ...]) -> bool:
    """Whether a class was written in one of some modules, given by what their names begin with."""
    return f"{cls.__module__}.".startswith(modules)


@per_type
def is_trainer(cls: type) -> bool:
    """Whether a class is Lightning's Trainer, or made of it."""
    return _is_lightnings("Trainer", cls)


@per_type
def is_dataset(cls: type) -> bool:
    """Whether a class's objects hold data, or read them."""
    return issubclass(cls, _DATA) or _is_lightnings("LightningDataModule", cls)


@per_type
def is_shared(cls: type) -> bool:
    """Whether a class's objects are shared with a twin: they are seldom state, or act when they are deleted."""
    if issubclass(cls, (nn.Module, *HOLDERS)):
        return False
    return is_unseen(cls) or issubclass(cls, (*_DATA, Enum)) or hasattr(cls, "__del__")


@per_type
def is_unseen(cls: type) -> bool:
    """Whether a class's objects are never looked into: they belong to Lightning, torch, other threads or processes.

    Told by where the class was written: what a user made of Lightning's classes may be a model's state.
    """
    if issubclass(cls, (nn.Module, *HOLDERS)) or is_dataset(cls):
        return False
    if is_from(cls, ("multiprocessing.",)):
        return not is_from(cls, ("multiprocessing.sharedctypes.",))
    return is_from(cls, _AROUND_FROM) or issubclass(cls, _AROUND)


class OtherThreads:
    """What the process's other threads work with, as far as queues, conditions and the like are concerned.

    A copy of a queue that a thread reads has no reader, and who waits for a condition must not be forgotten by it.
    """

    def __init__(self) -> None:
        self._used: dict[int, object] | None = None

    def use(self, one: object) -> bool:
        """Whether an object is a queue or the like that another thread works with."""
        if not is_of_several_threads(type(one)):
            return False
        if self._used is None:
            self._used = dict(_used_by_others())
        parts = [part for part in attributes_of(one).values() if type(part) not in NEVER_CHANGE]
        return any(id(part) in self._used for part in (one, *parts))


@per_type
def is_of_several_threads(cls: type) -> bool:
    """Whether a class's objects are made for several threads: a queue, a condition, an event."""
    return any(is_from(base, _OF_SEVERAL_THREADS) for base in cls.__mro__) and not issubclass(cls, threading.local)


def _used_by_others() -> Any:
    """The objects in the variables of other threads' frames, and in the attributes of those."""
    for thread, frame in sys._current_frames().items():
        while frame and thread != threading.get_ident():
            yield from (pair for value in frame.f_locals.values() for pair in _with_parts(value, _DEPTH))
            frame = frame.f_back  # type: ignore[assignment]


def _with_parts(one: object, depth: int) -> Any:
    yield id(one), one
    if depth and not issubclass(type(one), type) and kinds_of(type(one)):
        for part in attributes_of(one).values():
            yield from _with_parts(part, depth - 1)


def _is_lightnings(name: str, cls: type) -> bool:
    """Whether a class is the one of that name in either of Lightning's packages, or made of it."""
    return any(base.__name__ == name and is_from(base, _LIGHTNING) for base in cls.__mro__)
