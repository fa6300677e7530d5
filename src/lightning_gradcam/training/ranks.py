"""Several processes: what rank zero says counts, and each looks at its share of the images."""

import logging
import pickle
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from pytorch_lightning import Trainer

from lightning_gradcam.errors import SettingError
from lightning_gradcam.training.faults import reason_of

T = TypeVar("T")


class Failed(NamedTuple):
    """What went wrong on a rank, in words: exceptions do not all travel between processes."""

    rank: int
    is_setting: bool
    told: str

    def error(self) -> Exception:
        """Return the exception that another rank raises for it."""
        return SettingError(self.told) if self.is_setting else RuntimeError(f"on rank {self.rank}: {self.told}")


def let_rank_zero_speak(trainer: Trainer) -> None:
    """Silence the package's warnings on the other ranks, which have the same to say; not where a user set its level."""
    package = logging.getLogger(__name__.partition(".")[0])
    if not trainer.is_global_zero and package.level == logging.NOTSET:
        package.setLevel(logging.ERROR)


def said_by_rank_zero(trainer: Trainer, make: Callable[[], T]) -> T:
    """Return on all ranks what rank zero makes; what it raises is raised on all, and nobody is left waiting."""
    if trainer.world_size == 1:
        return make()
    fault: Exception | None = None
    made: T | Failed | None = None
    if trainer.is_global_zero:
        try:
            made = _that_travels(make())
        except Exception as error:
            fault, made = error, _failed(trainer, error)
    made = trainer.strategy.broadcast(made)
    if fault:
        raise fault
    if isinstance(made, Failed):
        raise made.error()
    return made  # type: ignore[return-value]


def shares_of(trainer: Trainer, count: int) -> list[range]:
    """Return which of so many images each rank looks at, all as many: a forward may gather something from all ranks.

    Where they do not divide, or are fewer than the ranks, the last ranks look at images that others look at, too.
    """
    each = -(-count // trainer.world_size)
    starts = (min(rank * each, count - each) for rank in range(trainer.world_size))
    return [range(start, start + each) for start in starts]


def gathered(trainer: Trainer, make: Callable[[], T]) -> list[T]:
    """Return what each rank makes, in their order, on all ranks; a fault on any is raised on all."""
    if trainer.world_size == 1:
        return [make()]
    fault: Exception | None = None
    made: T | Failed
    try:
        made = _that_travels(make())
    except Exception as error:
        fault, made = error, _failed(trainer, error)
    found: list[T | Failed] = [made] * trainer.world_size
    torch.distributed.all_gather_object(found, made)
    failed = [one for one in found if isinstance(one, Failed)]
    if fault or failed:
        raise fault or failed[0].error()
    return found  # type: ignore[return-value]


def together(trainer: Trainer, make: Callable[[], T]) -> T:
    """Return what each rank makes for itself; a fault on any is raised on all."""
    own: list[T] = []
    gathered(trainer, lambda: own.append(make()))
    return own[0]


def _that_travels(made: T) -> T:
    """Refuse here what cannot be sent: in the sending itself one rank would fail, and leave the others waiting."""
    pickle.dumps(made)
    return made


def _failed(trainer: Trainer, error: Exception) -> Failed:
    is_setting = isinstance(error, SettingError)
    return Failed(trainer.global_rank, is_setting, str(error) if is_setting else reason_of(error))
