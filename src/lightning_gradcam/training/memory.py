"""What a fit remembers of its looks, and its checkpoints carry."""

import logging
from typing import Any
from weakref import ref

from pytorch_lightning import Trainer

from lightning_gradcam.cam.maps import Maps
from lightning_gradcam.timeline.history import History
from lightning_gradcam.training.probe_set import ProbeSet

logger = logging.getLogger(__name__)


class Memory:
    """The images of a fit and their maps so far.

    Args:
        asked: which images were asked for; of others nothing is remembered.
        trainer: whose fit it is, or None.

    Attributes:
        probe_set: the images, once there was a look.
        histories: the looks at each layer, by the tag of its grids.
    """

    def __init__(self, asked: str, trainer: Trainer | None = None) -> None:
        self.asked = asked
        self._trainer = None if trainer is None else ref(trainer)
        self.probe_set: ProbeSet | None = None
        self.histories: dict[str, History] = {}

    def add(self, probe_set: ProbeSet, tag: str, step: int, found: Maps) -> History:
        """Remember a look at a layer; return all at it so far."""
        history = self.histories.get(tag, History(found.layer)).with_look(step, found)
        self.histories[tag] = history
        self.probe_set = probe_set
        return history

    def goes_on(self, trainer: Trainer) -> bool:
        """Whether the trainer's next fit continues the one that is remembered."""
        return self._trainer is not None and self._trainer() is trainer and trainer.global_step > 0

    @property
    def looks(self) -> int:
        """How often the layers were looked at."""
        return max((len(history.looks) for history in self.histories.values()), default=0)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it in plain tensors, numbers and words."""
        return {
            "images": self.asked,
            "probe": None if self.probe_set is None else vars(self.probe_set),
            "histories": {tag: history.state_dict() for tag, history in self.histories.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint has, where it is of the images that are asked for; else say that it is not."""
        try:
            self._load(state)
        except (KeyError, TypeError, ValueError) as fault:  # of another version: no reason not to train
            logger.warning("the checkpoint's images and maps cannot be read (%r); the resumed run begins anew", fault)

    def _load(self, state: dict[str, Any]) -> None:
        if state["probe"] is None:
            return
        if state["images"] != self.asked:
            logger.warning("images: the checkpoint's are other ones than asked for; the resumed run shows new ones")
            return
        probe_set = ProbeSet(**state["probe"])
        histories = {tag: History.from_state_dict(history) for tag, history in state["histories"].items()}
        self.probe_set, self.histories = probe_set, histories
