"""What a fit remembers of its looks; its checkpoints say where they were logged."""

import logging
from ast import literal_eval
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4
from weakref import ref

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gradcam.cam.maps import Maps
from lightning_gradcam.errors import quoted
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.timeline.history import History
from lightning_gradcam.training.probe_set import ProbeSet
from lightning_gradcam.training.resumed import Line, histories_in

logger = logging.getLogger(__name__)

_INDICES = 10_000  # that a checkpoint names; of more images those are taken that are asked for
_FOLDERS = 30  # of a run that was resumed again and again, the first, which has the film's beginning, and the last ones


@dataclass(frozen=True)
class Seen:
    """What a checkpoint says of the looks so far.

    Attributes:
        probe_set: the fingerprint of their images.
        indices: where in the data set these are; None where they have no places, or too many.
        folders: where the looks were logged, the first run's first.
        lines: the looks, by the tag of their grids.
    """

    probe_set: str
    indices: Sequence[int] | None
    folders: Sequence[str]
    lines: Mapping[str, Line]

    def state_dict(self) -> dict[str, Any]:
        """Return it in plain words and numbers."""
        indices = None if self.indices is None else torch.tensor(self.indices)
        lines = {tag: line._asdict() for tag, line in self.lines.items()}
        return vars(self) | {"indices": indices, "folders": list(self.folders), "lines": lines}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "Seen":
        """Return what `state_dict` was of."""
        indices = state["indices"]
        if indices is not None and (indices.dim() != 1 or indices.dtype != torch.int64 or bool((indices < 0).any())):
            raise ValueError(f"indices {quoted(indices)}")
        lines = {str(tag): Line(**line) for tag, line in state["lines"].items()}
        return cls(state["probe_set"], None if indices is None else indices.tolist(), state["folders"], lines)


def _unlike(other: str, key: str) -> str:
    """The settings in which another callback's key differs, and what they are now."""
    theirs, ours = (_settings(one) for one in (other, key))
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return ", ".join(f"{name}={theirs.get(name)!r} (now {ours.get(name)!r})" for name in names) or "other settings"


def _settings(key: str) -> dict[str, Any]:
    """What Lightning has made a callback's key of; nothing of what is none."""
    with suppress(ValueError, SyntaxError):
        found = literal_eval(key[key.index("{") :])
        return found if isinstance(found, dict) else {}
    return {}


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
        numbers: the last look's, by name.
        method: of ours, by which looks are made; None before one is planned, and of others.
        resumed: what the checkpoint says that the fit goes on from, until there is a look.
    """

    def __init__(self, asked: str, *fit: Trainer | LightningModule, earlier: "Memory | None" = None) -> None:
        self.asked = asked
        self._fit = [ref(one) for one in fit]
        self._earlier = earlier
        self._folders: list[str] = []
        self._run = ""
        self.probe_set: ProbeSet | None = None
        self.histories: dict[str, History] = {}
        self.from_scratch = False
        self.numbers: Mapping[str, float] = {}
        self.method: str | None = None
        self.resumed: Seen | None = None

    def with_look(self, probe_set: ProbeSet, tag: str, step: int, found: Maps, log: RunLog) -> History:
        """Return all looks at a layer with one more, which goes to a log; it is to be kept when it does."""
        if self.probe_set is None and self._earlier and self._earlier.is_of(probe_set):
            self.histories = dict(self._earlier.histories)
        if self.resumed:
            self._take_up(self.resumed, probe_set, log, step)
            self.resumed = None  # not before: an interrupt may come while logs are read
        self._run = self._run or uuid4().hex  # two runs of one seed see the very same
        so_far = self.histories.get(tag, History(found.layer, log.rows))
        so_far = replace(so_far, layer=found.layer, run=self._run)
        self.probe_set = probe_set
        self._folders = [*dict.fromkeys([*self._folders, log.folder])]
        return so_far.with_look(step, found, beside=self._earlier is not None)

    def keep(self, tag: str, history: History) -> None:
        """Remember a layer's looks."""
        self.histories[tag] = history

    def _take_up(self, seen: Seen, probe_set: ProbeSet, log: RunLog, step: int) -> None:
        """Go on from the looks that a checkpoint's run has logged, if they are at these images."""
        if seen.probe_set != probe_set.fingerprint:
            logger.warning(
                "images: the data's are other ones than the checkpoint's; what was seen of those is left out"
            )
        else:
            self._folders = [*seen.folders]
            folders = [*dict.fromkeys([*seen.folders, log.folder])]
            self.histories = histories_in(folders, log.probe_set, seen.lines, log.rows)
        begins = [history.first.step for history in self.histories.values() if history.first]
        if self.from_scratch and 0 not in (*begins, step):
            self.from_scratch = False
            logger.warning("trust=True: `learned` is not logged: the maps of before the training are in no log")

    def branch(self) -> "Memory":
        """Return a memory that begins with this one's looks if its images are the same, and leaves this one alone."""
        memory = Memory(self.asked, earlier=self)
        memory.from_scratch, memory.method = self.from_scratch, self.method
        return memory

    def goes_on(self, trainer: Trainer, module: LightningModule) -> bool:
        """Whether the trainer's next fit continues the one that is remembered."""
        return [one() for one in self._fit] == [trainer, module] and trainer.global_step > 0

    def is_of(self, probe_set: ProbeSet) -> bool:
        """Whether the looks are of the same images."""
        return self.probe_set is not None and self.probe_set.fingerprint == probe_set.fingerprint

    @property
    def looks(self) -> int:
        """How often the layers were looked at."""
        return max((history.count for history in self.histories.values()), default=0)

    @property
    def seen(self) -> Seen | None:
        """What was seen, and where it was logged; None before the first look."""
        if self.probe_set is None:
            return self.resumed
        indices = None if self.probe_set.indices is None else self.probe_set.indices.tolist()
        lines = {tag: Line.of(history) for tag, history in self.histories.items() if history.last}
        fits = indices is not None and len(indices) <= _INDICES
        return Seen(
            self.probe_set.fingerprint,
            indices if fits else None,
            [*self._folders[:1], *self._folders[1:][-_FOLDERS:]],
            lines,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return where all of it can be found again, which does not grow with what was seen."""
        try:
            seen = self.seen.state_dict() if self.seen else None
        except Exception as fault:  # no reason not to write the checkpoint
            logger.warning("the checkpoint does not say where its images and maps are: %r", fault)
            seen = None
        return {
            "images": self.asked,
            "from_scratch": self.from_scratch,
            "seen": seen,
            "numbers": dict(self.numbers),
            "method": self.method,
        }

    def begin_from(self, key: str, states: Mapping[str, Any]) -> None:
        """Forget all for what a checkpoint has, if it has a state for a key; say so if it has others' like it alone.

        Args:
            key: the callback's.
            states: the checkpoint's callbacks' by their keys.
        """
        self.probe_set, self.histories, self.from_scratch, self.resumed, self._folders = None, {}, False, None, []
        self.numbers, self.method = {}, None
        name = key.partition("{")[0]
        others = [one for one in states if one.partition("{")[0] == name]
        if others and key not in states:
            told = ", and another ".join(_unlike(other, key) for other in others)
            logger.warning("the checkpoint's GradCAMCallback has %s: the resumed run begins anew", told)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint has, where it can be read."""
        try:
            seen = None if state["seen"] is None else Seen.of_state(state["seen"])
            numbers = {str(name): float(number) for name, number in state["numbers"].items()}
            method, from_scratch = state["method"], bool(state["from_scratch"])
            self.resumed, self.from_scratch, self.numbers, self.method = seen, from_scratch, numbers, method
        except (KeyError, TypeError, ValueError, AttributeError) as fault:  # of another version: no reason not to train
            logger.warning(
                "what the checkpoint says of its images and maps cannot be read (%r); the resumed run begins anew",
                fault,
            )
