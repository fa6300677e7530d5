"""The images that looks are of: given, remembered, or read from the data, with what these say of them."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.training.arguments import Arguments
from lightning_gradcam.training.asked import given_probe_set
from lightning_gradcam.training.choosing import Indices
from lightning_gradcam.training.memory import Memory
from lightning_gradcam.training.probe_set import ProbeSet
from lightning_gradcam.training.ranks import said_by_rank_zero, together
from lightning_gradcam.training.session import loader_of, probe_set_of, with_what_is_said

logger = logging.getLogger(__name__)


def read_images(trainer: Trainer, lender: Lender, arguments: Arguments, memory: Memory) -> ProbeSet:
    """Return the images, alike on all ranks: rank zero's.

    Raises:
        SettingError: none that can be read, with what settles it.
    """
    reading = _Reading(trainer, lender, arguments, memory)
    given = given_probe_set(arguments.images)
    found = said_by_rank_zero(trainer, lambda: reading.as_said(given) if given else memory.probe_set)
    if not found:
        loader = together(trainer, lambda: loader_of(trainer, lender, arguments.images))  # hooks may wait for others
        found = said_by_rank_zero(trainer, lambda: reading.read(loader))
    return together(trainer, found.pinned) if trainer.strategy.root_device.type == "cuda" else found


class _Reading(NamedTuple):
    trainer: Trainer
    lender: Lender
    arguments: Arguments
    memory: Memory

    def read(self, loader: Any) -> ProbeSet:
        images = self.arguments.images
        assert not isinstance(images, (Tensor, tuple))  # those are the set itself
        found = self._again(loader) or self._chosen(loader, images)
        rank_zero_info(f"images={quoted(images)}: {found.where} of {_name_of_data(loader)}")
        return self.as_said(found.portable() if self.trainer.world_size > 1 else found, loader)

    def as_said(self, found: ProbeSet, loader: Any = None) -> ProbeSet:
        """The set with what is said of it, and the normalising, where none is given."""
        found, said = with_what_is_said(self.trainer, self.lender, found, loader)
        told = [f"mean={_rounded(one.mean)}, std={_rounded(one.std)}, as {one.source} says" for one in said]
        if len(told) == 1 and self.arguments.appearance.mean is None:
            rank_zero_info(f"mean=None: images are shown as they were before normalising with {told[0]}")
        if len(told) > 1 and self.arguments.appearance.mean is None:
            logger.warning("mean=None: images may be normalised with %s: mean= and std= say which", " or ".join(told))
        return found

    def _chosen(self, loader: Any, images: Indices) -> ProbeSet:
        keys, output = self.arguments.keys, self.arguments.settings.output
        return probe_set_of(self.trainer, self.lender, loader, images, keys, output)

    def _again(self, loader: Any) -> ProbeSet | None:
        """The images of the run that is resumed, by their places; None where the data have none there."""
        resumed = self.memory.resumed
        if resumed is None or resumed.indices is None:
            return None
        with suppress(SettingError):
            return self._chosen(loader, resumed.indices)
        return None


def _rounded(numbers: Sequence[float]) -> str:
    return quoted(tuple(float(f"{one:.4g}") for one in numbers))


def _name_of_data(loader: Any) -> str:
    return type(getattr(loader, "dataset", loader)).__name__
