"""What a fit remembers of its looks, and its checkpoints carry."""

import logging
from collections.abc import Mapping
from typing import Any
from weakref import ref

from pytorch_lightning import LightningModule, Trainer

from lightning_gradcam.cam.maps import Maps
from lightning_gradcam.timeline.history import History
from lightning_gradcam.training.probe_set import ProbeSet

logger = logging.getLogger(__name__)


class Memory:
    """The images of a fit and their maps so far.

    Args:
        asked: which images were asked for; of others nothing is remembered.
        fit: the trainer and the module whose fit it is.
        earlier: whose looks come before, where its images are the same.

    Attributes:
        probe_set: the images, once there was a look.
        histories: the looks at each layer, by the tag of its grids.
        from_scratch: whether at step 0 the network had learned nothing yet.
    """

    def __init__(self, asked: str, *fit: Trainer | LightningModule, earlier: "Memory | None" = None) -> None:
        self.asked = asked
        self._fit = [ref(one) for one in fit]
        self._earlier = earlier
        self.probe_set: ProbeSet | None = None
        self.histories: dict[str, History] = {}
        self.from_scratch = False

    def add(self, probe_set: ProbeSet, tag: str, step: int, found: Maps) -> History:
        """Remember a look at a layer; return all at it so far."""
        if self.probe_set is None and self._earlier and self._earlier.is_of(probe_set):
            self.histories = dict(self._earlier.histories)
        if self.probe_set is not None and not self.is_of(probe_set):
            logger.warning(
                "images: the data's are other ones than the checkpoint's; what was seen of those is left out"
            )
            self.histories = {}
        so_far = self.histories.get(tag, History(found.layer))
        history = so_far.with_look(step, found, beside=self._earlier is not None)
        self.histories[tag] = history
        self.probe_set = probe_set
        return history

    def branch(self) -> "Memory":
        """Return a memory that begins with this one's looks if its images are the same, and leaves this one alone."""
        memory = Memory(self.asked, earlier=self)
        memory.from_scratch = self.from_scratch
        return memory

    def goes_on(self, trainer: Trainer, module: LightningModule) -> bool:
        """Whether the trainer's next fit continues the one that is remembered."""
        return [one() for one in self._fit] == [trainer, module] and trainer.global_step > 0

    def is_of(self, probe_set: ProbeSet) -> bool:
        """Whether the looks are of the same images."""
        own, others = None if self.probe_set is None else self.probe_set.images, probe_set.images
        if own is None or own.shape != others.shape:
            return False
        return bool(((own == others) | ((own != own) & (others != others))).all())  # NaN is NaN

    @property
    def whole_probe_set(self) -> ProbeSet | None:
        """The images, where nothing that came with them has to be read again."""
        return self.probe_set if self.probe_set and self.probe_set.is_whole else None

    @property
    def looks(self) -> int:
        """How often the layers were looked at."""
        return max((len(history.looks) for history in self.histories.values()), default=0)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it in plain tensors, numbers and words."""
        return {
            "images": self.asked,
            "from_scratch": self.from_scratch,
            "probe": None if self.probe_set is None else self.probe_set.state_dict(),
            "histories": {tag: history.state_dict() for tag, history in self.histories.items()},
        }

    def begin_from(self, key: str, states: Mapping[str, Any]) -> None:
        """Forget all for what a checkpoint has, if it has a state for a key; say so if it has others' like it alone.

        Args:
            key: the callback's.
            states: the checkpoint's callbacks' by their keys.
        """
        self.probe_set, self.histories, self.from_scratch = None, {}, False
        name = key.partition("{")[0]
        others = [one for one in states if one.partition("{")[0] == name]
        if others and key not in states:
            logger.warning(
                "images: the checkpoint's are other ones than asked for, or looked at in another way (%s; now %s); the "
                "resumed run begins anew",
                " and ".join(others),
                key,
            )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint has, where it can be read."""
        try:
            self._load(state)
        except (KeyError, TypeError, ValueError) as fault:  # of another version: no reason not to train
            logger.warning("the checkpoint's images and maps cannot be read (%r); the resumed run begins anew", fault)

    def _load(self, state: dict[str, Any]) -> None:
        if state["probe"] is None:
            return
        names = state["probe"].get("names", ())  # of earlier versions one source's alone
        probe_set = ProbeSet(
            **state["probe"] | {"names": (names,) if isinstance(next(iter(names), ()), str) else names}
        )
        histories = {tag: History.from_state_dict(history) for tag, history in state["histories"].items()}
        self.probe_set, self.histories = probe_set, histories
        self.from_scratch = state.get("from_scratch", False)
