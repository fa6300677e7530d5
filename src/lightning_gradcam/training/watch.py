"""One stage's looking: what the callback's hooks call."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lightning_gradcam.cam.compute import compute_cams
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.maps import Maps, joined
from lightning_gradcam.cam.plan import Known, Plan
from lightning_gradcam.errors import SettingError
from lightning_gradcam.logs.events import Events
from lightning_gradcam.logs.run_log import Moment, RunLog
from lightning_gradcam.logs.schema import PROBE_SET, grid_tag, part_tag, root_tag
from lightning_gradcam.logs.trackers import Tracker, trackers_of
from lightning_gradcam.logs.writer import BackgroundWriter, Job
from lightning_gradcam.pictures.appearance import Appearance
from lightning_gradcam.pictures.shown import show_images
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import METRICS, areas, means, measure, names
from lightning_gradcam.training.arguments import Arguments
from lightning_gradcam.training.caution import caution
from lightning_gradcam.training.faults import Faults
from lightning_gradcam.training.images import read_images
from lightning_gradcam.training.memory import Memory
from lightning_gradcam.training.monitors import check_monitors, log_numbers
from lightning_gradcam.training.planning import planned
from lightning_gradcam.training.probe_set import ProbeSet
from lightning_gradcam.training.ranks import gathered, let_rank_zero_speak, said_by_rank_zero, shares_of
from lightning_gradcam.training.schedule import Schedule
from lightning_gradcam.training.session import (
    Spectator,
    check_strategy,
    check_tags,
    look,
    own_folder,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_WAIT = 1.0  # seconds, for pictures that have to be logged at the step that they are of


class Kept(NamedTuple):
    """A look at a layer.

    Attributes:
        tag: of its grids.
        history: all looks with it.
        jobs: what draws and writes it.
        numbers: by their tags.
        told: says what the maps are worth, if that is asked for.
    """

    tag: str
    history: History
    jobs: Sequence[Job]
    numbers: Mapping[str, float]
    told: Callable[[], str] | None = None


@dataclass(eq=False)
class Watch:
    """One stage of a trainer, from `setup` to `teardown`.

    Its images, plan and log are made when they are first asked for; what fails then is tried again at the next look. Of
    several processes each looks at its share of the images, and rank zero, which has the loggers, draws them all.

    Attributes:
        callback: whose numbers are logged.
        arguments: what it was asked for.
        trainer: in the stage.
        module: what is trained or evaluated.
        memory: what was seen before, and what is seen from now on.

    Raises:
        SettingError: a strategy that splits the model.
    """

    callback: Callback
    arguments: Arguments
    trainer: Trainer
    module: LightningModule
    memory: Memory

    def __post_init__(self) -> None:
        let_rank_zero_speak(self.trainer)
        check_strategy(self.trainer)
        self.faults = Faults()
        self.schedule = Schedule("epoch")
        self._told: dict[str, Callable[[], str]] = {}  # what each layer's last maps are worth
        self._seen: tuple[int, Future[list[Maps]]] | None = None
        self._events, self._trackers = Events([], Path()), list[Tracker]()
        self._is_wanted = said_by_rank_zero(self.trainer, self._find_loggers)
        self._lender = Lender(self.module, partial(Spectator, self.trainer))
        self._writer = BackgroundWriter(self.faults)

    def prepare(self) -> None:
        """Read the images and plan the looking; what cannot work is refused here, before the first batch.

        Raises:
            SettingError: in one sentence, with the argument's name.
        """
        if not self._is_wanted:
            return
        try:
            plan = self.plan
            said_by_rank_zero(self.trainer, lambda: self._check_others(plan))
        except SettingError:
            raise
        except Exception as fault:  # the user's own code, on these images: no reason not to train
            self.faults(fault)

    def see(self) -> None:
        """Make the maps of the look that follows a validation, or a test, which has its first batch, of any loader.

        All that puts other weights in the place of those that train, as averages are, has done so by now, and may have
        undone it when the look is logged.
        """
        plan, now = vars(self).get("plan"), self.trainer.global_step
        if plan and not (self._seen and self._seen[0] == now):
            probe_set = self.probe_set
            self._seen = now, _done(lambda: self._share(plan, probe_set))

    def look(self, step: int) -> None:
        """Explain the images, log their numbers, on all ranks, and let their maps be drawn."""
        kept, numbers = self._found(step)
        try:
            shared = log_numbers(self.trainer, numbers, self._is_ours, at_step=self.schedule.by == "step")
            self.memory.numbers = shared or self.memory.numbers
        except Exception as fault:
            self.faults(fault)
        finally:  # an interrupt ends the training, and not what was seen
            self._draw(kept)

    def look_after_evaluation(self) -> None:
        """Log the look of a stage that evaluates, at the epoch that its weights are of."""
        self.look(self.trainer.current_epoch if self.epochs is None else self.epochs)

    def drain(self) -> None:
        """Wait until all that was logged has reached the disk."""
        self._writer.drain()

    def deliver(self) -> None:
        """Give trackers that count the training's steps what is drawn; wait for that of this very step, not long."""
        if any(tracker.kind.in_order for tracker in self._trackers) and self._is_due:
            self._is_due = False
            self._writer.drain(_LONGEST_WAIT)
        for tracker in self._trackers:
            tracker.deliver(self.trainer.global_step)

    def close(self) -> None:
        """Finish writing."""
        self._writer.close()
        for tracker in self._trackers:
            tracker.deliver(self.trainer.global_step)
            tracker.close()
            if tracker.left_out:
                told = "GradCAMCallback: %d pictures are missing in %s, which takes longer than a look"
                logger.warning(told, tracker.left_out, tracker.kind.name)
        self._events.close()
        self.faults.sum_up()

    def _find_loggers(self) -> bool:
        """Find where pictures go; return whether there is such a place."""
        self._events = Events(self.trainer.loggers, own_folder(self.trainer))
        self._trackers = trackers_of(self.trainer.loggers, self.faults)
        if self._events.are_own and not self._trackers and not self._is_kept:
            names = ", ".join(type(one).__name__ for one in self.trainer.loggers) or "none"
            logger.warning("no picture is made: no logger takes any (%s); TensorBoardLogger(...) does", names)
            return False
        return True

    _is_kept: ClassVar[bool] = False  # where no logger takes pictures: evaluation is no place to watch training
    epochs: int | None = None  # that the weights of a checkpoint were trained for, which is evaluated
    _is_due: bool = False  # pictures of a look were begun, and have not been delivered

    @cached_property
    def probe_set(self) -> ProbeSet:
        """The images: given, remembered, or read; all ranks have rank zero's."""
        return read_images(self.trainer, self._lender, self.arguments, self.memory)

    @cached_property
    def plan(self) -> Plan:
        """The layers, tried on two images; all ranks look at rank zero's."""
        probe_set = self.probe_set
        found = planned(self.trainer, self._lender, self.arguments, probe_set, self.memory.method)
        self.memory.method = found.method
        if not found.call.needs_batch:  # which may be large
            vars(self)["probe_set"] = probe_set.without_batch()
        return found

    @cached_property
    def known(self) -> Known:
        """The images' labels, and what they say."""
        return self.plan.known(self.probe_set.labels)

    @cached_property
    def class_names(self) -> Sequence[str] | None:
        """A name for each class: those given, else those of the data, their module or the model, where they fit."""
        if self.arguments.class_names:
            return self.arguments.class_names
        task, found = self.plan.task, list(self.probe_set.names)
        if task.is_of_classes:
            found = [one for one in found if len(one) == task.classes]
        return next(filter(None, found), None) if task.kind != "regression" else None

    @cached_property
    def log(self) -> RunLog:
        """Where the looks go."""
        return self._open_log()

    def _open_log(self) -> RunLog:
        arguments, probe_set, task = self.arguments, self.probe_set, self.plan.task
        labelled = self.known.truth is not None
        about, way = (arguments.about(self.plan, labelled, names) for names in (self.class_names, None))
        naming = self.class_names, arguments.settings.column_classes
        shown = self._appearance, about, *naming
        images = show_images(probe_set.images, self.known.truth, task, *shown, self.schedule.unit, arguments.by_run)
        images = replace(images, way=way)
        root = root_tag(arguments.name)
        indices = None if probe_set.indices is None else probe_set.indices.tolist()
        shares = None if self._areas is None else self._areas.tolist()
        return RunLog(images, probe_set.fingerprints, self._events, self._trackers, root, indices, shares)

    @property
    def _appearance(self) -> Appearance:
        """How the images are shown: as given, else as the data say."""
        given, probe_set = self.arguments.appearance, self.probe_set
        mean, std = (probe_set.mean, probe_set.std) if given.mean is None else (given.mean, given.std)
        return Appearance(mean, std, probe_set.colours if given.channels is None else given.channels)

    @property
    def tags(self) -> dict[str, str]:
        """The tags that are written to, and what no other callback may differ in; none before the layers are found."""
        plan = vars(self).get("plan")
        return self._tags(plan) if plan else {}

    def _tags(self, plan: Plan) -> dict[str, str]:
        images = part_tag(root_tag(self.arguments.name), PROBE_SET)
        known = {name: told for name, told in self.log.told.items() if name != "indices"}
        shown = f"{known} {self._appearance}"
        return {self._tag(layer): str(id(self)) for layer in plan.names} | {images: shown}

    def _check_others(self, plan: Plan) -> None:
        """Refuse what does not go together with the trainer's other callbacks."""
        check_tags(self.trainer, self.callback, self._tags(plan))
        check_monitors(self.trainer, self.callback, self._logged or [], self.schedule)

    @property
    def _logged(self) -> list[str] | None:
        """The names of the numbers that looks have; None before the layers are found."""
        plan = vars(self).get("plan")
        if not plan:
            return None
        settings = self.arguments.settings
        known = {
            "peaks": settings.has_peaks,
            "masks": self._true_pixels is not None or self.probe_set.masks is not None,
            "faithfulness": settings.trust,
            "class_sensitivity": settings.trust and plan.has_rivals,
            "untrained": settings.trust and self.memory.from_scratch,
        }
        told = names(frozenset(name for name, is_known in known.items() if is_known))
        return [part_tag(self._tag(layer), name) for layer in plan.names for name in told]

    def _is_ours(self, number: str) -> bool:
        """Whether looks may have a number: one that was accepted before training, whatever became of it since."""
        tag, _, name = number.rpartition("/")
        if name not in METRICS:
            return False
        if self._logged is not None:
            return tag in {one.rpartition("/")[0] for one in self._logged}
        others = (one.root for one in self.trainer.callbacks if isinstance(one, type(self.callback)))  # type: ignore[attr-defined]
        own = [root for root in others if tag.startswith(f"{root}/")]
        return max(own, key=len) == root_tag(self.arguments.name) if own else False

    def _found(self, step: int) -> tuple[list[Kept], dict[str, float]]:
        """Look, and return what is kept, and its numbers by tag, on rank zero; a fault on any rank costs both."""
        if not self._is_wanted:
            return [], {}
        try:
            plan, probe_set = self.plan, self.probe_set
            seen = self._taken()
            parts = gathered(self.trainer, seen.result if seen else lambda: self._share(plan, probe_set))
            if not self.trainer.is_global_zero:
                return [], {}
            self._events.make_folders()  # for the numbers, which Lightning writes
            rows = shares_of(self.trainer, len(probe_set.images))
            kept = [self._measured(joined(maps, rows), step) for maps in zip(*parts, strict=True)]
            return kept, {name: number for one in kept for name, number in one.numbers.items()}
        except Exception as fault:
            self.faults(fault)
            return [], {}

    def _draw(self, kept: Sequence[Kept]) -> None:
        """Remember a look, and let it be drawn and written: last, as who draws shares the interpreter with this thread.

        Both, or neither where an interrupt comes before: a checkpoint names no look that is in no log.
        """
        if not kept:
            return
        self._writer.submit(*(job for one in kept for job in one.jobs))
        self._is_due = True
        for one in kept:
            self.memory.keep(one.tag, one.history)
            if one.told:
                self._told[one.tag] = one.told

    def explain(self, plan: Plan, probe_set: ProbeSet) -> list[Maps]:
        """Return the maps of this rank's share of the images, on the training device, one for each layer."""
        rows = shares_of(self.trainer, len(probe_set.images))[self.trainer.global_rank]

        def explained(model: nn.Module, lent: Plan) -> list[Maps]:
            return compute_cams(model, probe_set.inputs, self.known, lent, rows)

        return look(self.trainer, self._lender, explained, plan)

    def _taken(self) -> "Future[list[Maps]] | None":
        """What was seen on these weights' validation, where all ranks have seen: one look is at one set of weights."""
        seen, self._seen = self._seen, None
        is_seen = seen is not None and seen[0] == self.trainer.global_step
        have_all = all(gathered(self.trainer, lambda: is_seen))  # asked by each rank, whether it has or not
        return seen[1] if seen and have_all else None

    def _share(self, plan: Plan, probe_set: ProbeSet) -> list[Maps]:
        """This rank's maps, on the CPU; the device is waited for here, since Lightning's log asks for the numbers."""
        copies = [maps.copied() for maps in self.explain(plan, probe_set)]
        return [copy() for copy in copies]

    def _measured(self, found: Maps, step: int) -> Kept:
        """One layer's maps, and what is measured of them."""
        tag = self._tag(found.layer)
        history = self.memory.with_look(self.probe_set, tag, step, found, self.log)
        jobs: list[Job] = [partial(self.log.log_grid, found, history, tag, self._when(step), self._moment(step))]
        values: dict[str, Tensor] = {}
        told = None
        try:
            things = self._things(found.targets)
            from_scratch = self.memory.from_scratch and self.arguments.settings.trust
            values = measure(history.view(found, things, from_scratch))
            if self.arguments.settings.trust:
                area = None if things is None else areas(things)
                told = partial(caution, history, values, area, self._when(step), self.schedule.unit)
        except Exception as fault:  # a number costs itself alone
            self.faults(fault)
        if self._is_played:
            jobs.append(partial(self.log.log_look, history, values, tag))
        return Kept(tag, history, jobs, {part_tag(tag, name): mean for name, mean in means(values).items()}, told)

    def _things(self, targets: Tensor) -> Tensor | None:
        """Where the thing is: (N, 1, H, W), or of a segmentation for each explained class (N, T, H, W)."""
        masks, truth = self.probe_set.masks, self._true_pixels
        if truth is not None and bool((targets >= 0).all()):
            classes = targets.cpu().long()
            rows = torch.arange(len(truth))[:, None]
            return truth[rows, classes] > 0 if truth.dim() == 4 else truth[:, None] == classes[..., None, None]
        return None if masks is None else masks[:, None]

    @cached_property
    def _areas(self) -> Tensor | None:
        """Each thing's share of its image, (N,), NaN where there is none; None without masks.

        None of a segmentation, too, where the thing is the class that is explained.
        """
        masks = self.probe_set.masks
        return None if masks is None or self.plan.task.kind == "segmentation" else areas(masks[:, None])[:, 0]

    @property
    def _true_pixels(self) -> Tensor | None:
        return self.known.truth if self.plan.task.kind == "segmentation" else None

    _is_played: ClassVar[bool] = False  # in the Attention tab, which has one line of time: the fit's

    def _when(self, step: int) -> str:
        """What a grid is of: weights may come from a checkpoint, whose epoch a trainer that evaluates does not know."""
        stage = "test" if self.trainer.testing else "validation"
        return f"{stage} after epoch {step}" if step else stage

    def _moment(self, step: int) -> Moment:
        return Moment(self.trainer.global_step, step)

    def _tag(self, layer: str) -> str:
        return grid_tag(layer, self.arguments.name, test=self.trainer.testing)


def _done(make: Callable[[], T]) -> "Future[T]":
    """Make something; whoever asks for it gets what went wrong."""
    future: Future[T] = Future()
    try:
        future.set_result(make())
    except Exception as fault:
        future.set_exception(fault)
    return future
