"""When a fit is looked at, and what its steps are counted in."""

from dataclasses import dataclass
from math import inf, isinf

from pytorch_lightning import Trainer


@dataclass(frozen=True)
class Schedule:
    """When to look.

    Attributes:
        by: "epoch", "step", or "validation", of a training that has no ends of epochs.
        every: so many epochs, or optimizer steps.
    """

    by: str
    every: int = 1

    @property
    def unit(self) -> str:
        """What a look's step counts: epochs completed, or optimizer steps."""
        return "epoch" if self.by == "epoch" else "step"

    def now(self, trainer: Trainer) -> int:
        """Return the step that a look at this moment has; at an epoch's end that one is completed."""
        return trainer.current_epoch + 1 if self.by == "epoch" else trainer.global_step

    def is_due_after_validation(self, trainer: Trainer) -> bool:
        """Whether to look on the weights that a validation measures, which begins: the epoch may end with any."""
        return self.by == "validation" or (self.by == "epoch" and self.is_due("epoch", trainer))

    def is_due(self, hook: str, trainer: Trainer) -> bool:
        """Whether to look, at the end of a "step", a "validation" or an "epoch"."""
        return hook == self.by and self.now(trainer) % self.every == 0


def schedule_of(trainer: Trainer, every_n_epochs: int, every_n_train_steps: int | None) -> Schedule:
    """Return when a fit, whose data are known, is looked at.

    By validations where no epoch ends, or the only one does when all is over, and validations come before.
    """
    if every_n_train_steps:
        return Schedule("step", every_n_train_steps)
    batches, steps = trainer.num_training_batches, trainer.max_steps
    in_all = batches // max(1, trainer.accumulate_grad_batches)  # optimizer steps of an epoch
    has_no_ends = isinf(batches) or trainer.max_epochs == 1 or 0 < steps <= in_all
    is_validated_within = float(trainer.val_check_batch or inf) < batches
    if has_no_ends and is_validated_within and every_n_epochs == 1:
        return Schedule("validation")
    return Schedule("epoch", every_n_epochs)
