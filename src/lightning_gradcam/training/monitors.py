"""Numbers that others wait for: who monitors one ends the run where there is none."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from lightning_gradcam.errors import SettingError, nearest
from lightning_gradcam.logs.schema import ROOT
from lightning_gradcam.timeline.metrics import METRICS
from lightning_gradcam.training.schedule import Schedule

logger = logging.getLogger(__name__)


class Monitor(NamedTuple):
    """A number that somebody asks for.

    Attributes:
        number: its name.
        asker: a callback, or a scheduler's configuration.
        told: the asker, as its user wrote it.
        mode: "min" or "max": what counts as best.
        insists: it ends the run where the number is not there.
        by_steps: it asks after training steps, and not only after epochs and validations.
    """

    number: str
    asker: Any
    told: str
    mode: str
    insists: bool
    by_steps: bool

    @property
    def worst(self) -> float:
        """What nobody takes for the best; finite: EarlyStopping ends a run at what is not."""
        return torch.finfo(torch.float32).max * (1 if self.mode == "min" else -1)


def monitors(trainer: Trainer) -> Iterator[Monitor]:
    """The numbers under `gradcam/` that callbacks and learning rate schedulers ask for; only a fit's are asked for."""
    if trainer.state.fn != TrainerFn.FITTING:
        return
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        number = getattr(callback, "monitor", None)
        if isinstance(number, str) and number.startswith(f"{ROOT}/"):
            told = f"{type(callback).__name__}(monitor={number!r})"
            insists, by_steps = getattr(callback, "strict", True), bool(getattr(callback, "_every_n_train_steps", 0))
            yield Monitor(number, callback, told, getattr(callback, "mode", "min"), insists, by_steps)
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and str(config.monitor).startswith(f"{ROOT}/"):
            told = f"{type(config.scheduler).__name__} with {config.monitor!r} as its monitor"
            mode = getattr(config.scheduler, "mode", "min")
            yield Monitor(str(config.monitor), config, told, mode, config.strict, config.interval == "step")


def check_monitors(trainer: Trainer, callback: Callback, logged: Sequence[str], schedule: Schedule) -> None:
    """Refuse who monitors a number that is not logged, or asks for it before it is.

    Args:
        trainer: with all its callbacks.
        callback: the one that logs.
        logged: the names that it will log.
        schedule: when.
    """
    every_n_epochs = schedule.every if schedule.by == "epoch" else 1
    for monitor in monitors(trainer):
        number, asker = monitor.number, monitor.asker
        if number not in logged:
            if _is_meant(number, logged):
                metric = METRICS.get(number.rpartition("/")[2])
                why = f"; {metric.lacking}" if metric and metric.lacking else nearest(number, logged)
                raise SettingError(f"{monitor.told}: no such number is logged{why}")
            continue
        if getattr(asker, "_every_n_epochs", every_n_epochs) % every_n_epochs:
            raise SettingError(
                f"{monitor.told} asks after each epoch, and ends the run where there is no number; pass it "
                f"every_n_epochs={every_n_epochs}"
            )
        if every_n_epochs > 1 and getattr(asker, "strict", False):
            raise SettingError(
                f"{monitor.told} asks after each epoch, and ends the run where there is no number; with "
                f"every_n_epochs={every_n_epochs} pass it strict=False"
            )
        told = f"{monitor.told} runs before the number is logged"
        if schedule.by == "epoch" and _asks_after_validation(asker, trainer):
            option = "save_on_train_epoch_end" if _saves(asker) else "check_on_train_epoch_end"
            raise SettingError(f"{told}, after validation; pass it {option}=True")
        if _is_in_front(asker, callback, trainer):
            raise SettingError(f"{told}; put it behind {type(callback).__name__} in Trainer(callbacks=[...])")


def log_numbers(
    trainer: Trainer, numbers: Mapping[str, float], is_ours: Callable[[str], bool], at_step: bool = False
) -> Mapping[str, float]:
    """Log through Lightning: to all loggers, and where EarlyStopping and ModelCheckpoint look; alike on every rank.

    Returns the numbers on every rank. What is monitored and missing, as after a look that failed, counts as the worst
    there is, and reaches no logger.

    Args:
        trainer: in a stage.
        numbers: of this look. Rank zero has them; the others need them too: an EarlyStopping of theirs asks for them.
        is_ours: whether a number that is not there is one that looks may have.
        at_step: at the end of a training step, which the loggers are told of at once.
    """
    if trainer.world_size > 1:
        numbers = trainer.strategy.broadcast(dict(numbers))
    module = trainer.lightning_module
    log = next(vars(base)["log"] for base in type(module).__mro__ if base.__name__ == "LightningModule")  # not a user's
    for name, value in numbers.items():  # sync_dist: alike already, but without it Lightning advises users to pass it
        log(module, name, value, on_step=at_step, on_epoch=not at_step, sync_dist=True, logger=not at_step)
    for one in trainer.loggers if at_step and numbers else []:  # Lightning's own log would wait for its interval
        one.log_metrics(dict(numbers), trainer.global_step)
    for monitor in monitors(trainer):
        if monitor.number not in numbers and is_ours(monitor.number):
            logger.warning("%s: this look has no such number; it counts as the worst there is", monitor.told)
            trainer.callback_metrics[monitor.number] = torch.tensor(monitor.worst)
    return numbers


def hold_numbers(trainer: Trainer, numbers: Mapping[str, float], is_ours: Callable[[str], bool], at_step: bool) -> None:
    """Keep what is monitored where it is looked for between looks: the last number, if there is one.

    Before there is, who insists on it finds the worst there is, which is told, and all others find nothing.

    Args:
        trainer: in a fit.
        numbers: the last that there were.
        is_ours: as in `log_numbers`.
        at_step: at the end of a training step, after which few ask.
    """
    there = trainer.callback_metrics
    for monitor in monitors(trainer):
        if monitor.number in there or (at_step and not monitor.by_steps):
            continue
        if monitor.number in numbers:
            there[monitor.number] = torch.tensor(numbers[monitor.number])
        elif monitor.insists and is_ours(monitor.number):
            logger.warning("%s: no look had such a number yet; it counts as the worst there is", monitor.told)
            there[monitor.number] = torch.tensor(monitor.worst)


def _is_meant(monitor: str, logged: Sequence[str]) -> bool:
    """Whether a monitored number can only be meant for ours, and not for one that the user logs."""
    tag, _, name = monitor.rpartition("/")
    ours = {number.rpartition("/")[2] for number in logged} | METRICS.keys()
    return tag in {number.rpartition("/")[0] for number in logged} and bool(name in ours or nearest(name, ours))


def _saves(asker: object) -> bool:
    """Whether it writes checkpoints, of either of Lightning's packages."""
    return any(base.__name__ == Checkpoint.__name__ for base in type(asker).__mro__)


def _asks_after_validation(asker: object, trainer: Trainer) -> bool:
    """Whether an EarlyStopping or ModelCheckpoint acts at the end of validation instead of the training epoch's."""
    decide = getattr(asker, "_should_save_on_train_epoch_end", None)
    if callable(decide):
        return not decide(trainer)
    return getattr(asker, "_check_on_train_epoch_end", None) is False


def _is_in_front(asker: object, callback: Callback, trainer: Trainer) -> bool:
    """Whether a callback is called before ours; who saves is called behind all."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return not _saves(asker) and asker in callbacks[: callbacks.index(callback)]
