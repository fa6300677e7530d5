"""A fit's looking: when, from the first look to the film of all."""

import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import ClassVar

from pytorch_lightning.utilities import rank_zero_info

from lightning_gradcam.cam.trust import is_untrained
from lightning_gradcam.logs.run_log import Moment, RunLog
from lightning_gradcam.logs.schema import MASK_AREA, part_tag
from lightning_gradcam.training.monitors import hold_numbers
from lightning_gradcam.training.ranks import said_by_rank_zero
from lightning_gradcam.training.schedule import Schedule, schedule_of
from lightning_gradcam.training.validated import ValidatedWeights
from lightning_gradcam.training.watch import Watch

_FIRST_FILM, _SECONDS_BETWEEN_FILMS = 8, 60.0  # looks, and seconds, before a film strip is drawn in mid-run


@dataclass(eq=False)
class FitWatch(Watch):
    """A fit, whose looks make a film."""

    _is_played: ClassVar[bool] = True
    _is_kept: ClassVar[bool] = True
    _filmed: int = 0  # looks
    _looked_at: int = -1
    _filmed_at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._weights = ValidatedWeights(self.module)

    def begin(self) -> None:
        """Read the images, find the layer, and look once before any learning."""
        self.schedule = self._scheduled()
        self._weights.begin()
        self.prepare()
        kept, numbers = self._found(step=0) if self.trainer.global_step == 0 else ([], {})
        self._looked_at = self.trainer.global_step
        try:
            self.memory.numbers = said_by_rank_zero(self.trainer, lambda: numbers) or self.memory.numbers
            if self.trainer.is_global_zero:
                self._log_first(numbers)
        finally:
            self._draw(kept)

    def see(self) -> None:
        """Make the maps of the look that follows this validation, if one does."""
        self._weights.see()
        if self.schedule.is_due_after_validation(self.trainer):
            super().see()

    def deliver(self) -> None:
        """Do what is to be done between batches."""
        super().deliver()
        self._weights.compare()

    def look_if_due(self, hook: str) -> None:
        """Look at the end of a "step", a "validation" or an "epoch", if it is time to."""
        if hook == "epoch":
            self._weights.compare()
        trainer, step = self.trainer, self.schedule.now(self.trainer)
        if self.schedule.is_due(hook, trainer) and (self.schedule.unit == "epoch" or step != self._looked_at):
            self._looked_at = step
            self.look(step)
            self.show_film_if_due()
        elif hook == "step" or self.schedule.unit == "step":
            hold_numbers(trainer, self.memory.numbers, self._is_ours, at_step=hook == "step")

    def prepare(self) -> None:
        """Tell whether training begins from scratch, read the images and plan the looking."""
        if self.arguments.settings.trust:
            self._tell_whether_from_scratch()
        super().prepare()

    def _tell_whether_from_scratch(self) -> None:
        begins = self.trainer.global_step == 0
        if begins:
            self.memory.from_scratch = False
            with suppress(Exception):  # of weights that cannot be read like tensors nothing is told
                self.memory.from_scratch = is_untrained(self.module)
        if not self.memory.from_scratch and self._is_wanted:
            told = "is trained already, or its weights do not tell" if begins else "goes on; how it began is not told"
            rank_zero_info(f"trust=True: `learned` is not logged: {type(self.module).__name__} {told}")

    def _scheduled(self) -> Schedule:
        return schedule_of(self.trainer, self.arguments.every_n_epochs, self.arguments.every_n_train_steps)

    def show_film_if_due(self) -> None:
        """Draw the film strip in mid-run, once enough looks were added to be worth its bytes: of 1,000 a dozen are."""
        grown = self.memory.looks >= max(_FIRST_FILM, 1.5 * self._filmed)
        if grown and monotonic() - self._filmed_at >= _SECONDS_BETWEEN_FILMS:
            self.show_film(moving=False)

    def show_film(self, moving: bool = True) -> None:
        """Let the film strip of all looks so far be drawn, if there are several, and the time-lapse if `moving`."""
        if not self.trainer.is_global_zero or self.memory.looks < 2:
            return
        self._filmed, self._filmed_at = self.memory.looks, monotonic()
        if moving:
            self._caution()
        try:
            log_film, histories = self.log.log_film, self.memory.histories.items()
            self._writer.submit(
                *(
                    partial(log_film, history, tag, self._moment(history.looks[-1].step), moving)
                    for tag, history in histories
                )
            )
        except Exception as fault:
            self.faults(fault)

    def _caution(self) -> None:
        """Say what the maps were worth, where that was asked for."""
        try:
            for tag, told in self._told.items():
                sentence = told()
                rank_zero_info(f"{self.arguments.name or 'trust=True'}: {sentence}")
                self._writer.submit(partial(self.log.log_caution, sentence, self.memory.histories[tag], tag))
        except Exception as fault:
            self.faults(fault)

    def _when(self, step: int) -> str:
        is_cut = step > 0 and self.schedule.by == "epoch" and not self.trainer.is_last_batch
        return f"{self.schedule.unit} {step}{', which ended early' if is_cut else ''}"

    def _moment(self, step: int) -> Moment:
        return Moment(self.trainer.global_step, step if self.schedule.unit == "epoch" else self.trainer.current_epoch)

    def _open_log(self) -> RunLog:
        log = super()._open_log()
        folder = shlex.quote(self._events.folder)
        rank_zero_info(f"pictures and the Attention tab's data: tensorboard --logdir {folder}")
        is_epoch = self.schedule.unit == "epoch"
        self._writer.submit(
            partial(log.log_images, self.trainer.current_epoch if is_epoch else self.trainer.global_step)
        )
        return log

    def _log_first(self, numbers: dict[str, float]) -> None:
        """Log the first numbers to all loggers: Lightning's own log has no place before the first epoch."""
        try:
            found = self._areas
            if found is not None and not found.isnan().all():
                numbers[part_tag(self.log.root, MASK_AREA)] = float(found.nanmean())
            for sink in self.trainer.loggers if numbers else []:
                sink.log_metrics(numbers, self.trainer.global_step)
        except Exception as fault:
            self.faults(fault)


@dataclass(eq=False)
class DryRun(FitWatch):
    """A `fast_dev_run`: all settings are checked with the model and the data, and nothing is written."""

    def begin(self) -> None:
        """Read the images and plan the looking."""
        self.schedule = self._scheduled()
        self.prepare()

    def see(self) -> None:
        """Nothing is."""

    def look_if_due(self, hook: str) -> None:
        """It never is; schedulers are given numbers all the same, which ask for them in a dry run, too."""
        hold_numbers(self.trainer, {}, self._is_ours, at_step=hook == "step")

    def show_film(self, moving: bool = True) -> None:
        """There is none."""

    def _open_log(self) -> RunLog:
        return Watch._open_log(self)
