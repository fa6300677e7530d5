"""The trainer's side of looking: where it can be done, as what stage, on which of its data."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.trainer.states import RunningStage, TrainerState
from pytorch_lightning.utilities import CombinedLoader
from torch import nn

from lightning_gradcam.cam.calls import Output
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.ways import required_inputs
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.training.asked import Images
from lightning_gradcam.training.batches import Keys
from lightning_gradcam.training.choosing import Indices
from lightning_gradcam.training.probe_set import ProbeSet, read_probe_set
from lightning_gradcam.training.said import Normalising, names_of_classes, normalising_of
from lightning_gradcam.values import held

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


def check_strategy(trainer: Trainer) -> None:
    """Refuse to look where no rank holds the whole model: a forward of one rank alone would wait for the others."""
    names = {base.__name__ for base in type(trainer.strategy).__mro__}
    config = getattr(trainer.strategy, "config", None)
    stage = config.get("zero_optimization", {}).get("stage", 0) if isinstance(config, dict) else 0
    sharded = names & {"FSDPStrategy", "ModelParallelStrategy"} or ("DeepSpeedStrategy" in names and stage == 3)
    if sharded:
        raise SettingError(
            f"strategy: {type(trainer.strategy).__name__} splits the model over the processes, where GradCAMCallback "
            "cannot look into it; accepted are those that replicate it (single device, ddp, deepspeed up to stage 2)"
        )


def check_tags(trainer: Trainer, callback: Callback, tags: Mapping[str, str]) -> None:
    """Refuse tags that another callback of the same kind, in front, writes something else to.

    Args:
        trainer: with all its callbacks.
        callback: the one that writes.
        tags: to which, and what is written there.

    Raises:
        SettingError: with the argument that tells them apart.
    """
    for other in trainer.callbacks:  # type: ignore[attr-defined]
        if other is callback:
            return
        theirs: Mapping[str, str] = getattr(other, "tags", {}) if isinstance(other, type(callback)) else {}
        if clashing := [tag for tag in tags if tag in theirs and theirs[tag] != tags[tag]]:
            raise SettingError(
                f"two {type(callback).__name__} write to {clashing[0]!r}; pass one of them a name=, which its tags "
                "then have"
            )


def epochs_of(checkpoint: Mapping[str, Any]) -> int:
    """Return how many epochs the weights of a checkpoint were trained for."""
    progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {}).get("total", {})
    return int(progress.get("processed", checkpoint.get("epoch", -1) + 1))


def is_dry_run(trainer: Trainer) -> bool:
    """Whether this is a `fast_dev_run`, which takes the loggers away, and wants none."""
    return bool(getattr(trainer, "fast_dev_run", False))


def own_folder(trainer: Trainer) -> Path:
    """Return where event files are written that no logger writes: beside its loggers' files, or in its root."""
    for one in trainer.loggers:
        if (folder := str(held(one, "log_dir") or ".")) != ".":
            return Path(folder) / "gradcam"
    for one in trainer.loggers:
        root, version = held(one, "save_dir"), held(one, "version")
        if root and version is not None:
            return Path(root, str(held(one, "name") or ""), str(version), "gradcam")
    root = Path(trainer.default_root_dir) / "gradcam_logs"
    taken = [int(one.name.removeprefix("version_")) for one in root.glob("version_*") if one.name[8:].isdecimal()]
    return root / f"version_{max(taken, default=-1) + 1}"


class Spectator:
    """What stands in for a trainer in a look: all of it can be read, it is validating, and it is not reached.

    What it holds is given as twins; its loggers take everything and log nothing.

    Args:
        trainer: whose place is taken.
        twin_of: makes a twin.
    """

    progress_bar_callback = None

    def __init__(self, trainer: Trainer, twin_of: Callable[[Any], Any]) -> None:
        self._trainer, self._twin_of = trainer, twin_of
        self.logger = DummyLogger()
        self.loggers = [self.logger]

    @property
    def callbacks(self) -> list[Any]:
        """Copies of the trainer's: a user's as twins, Lightning's, of which there are no twins, by themselves."""
        callbacks = self._trainer.callbacks  # type: ignore[attr-defined]
        twins = map(self._twin_of, callbacks)
        return [copy(one) if twin is one else twin for one, twin in zip(callbacks, twins, strict=True)]

    @property
    def state(self) -> TrainerState:
        """The trainer's, as validation would find it."""
        state = copy(self._trainer.state)
        state.stage = _seen(state.stage)
        return state

    def __getattr__(self, name: str) -> Any:
        if name in ("training", "validating", "testing", "predicting", "sanity_checking", "evaluating"):
            return getattr(type(self._trainer), name).fget(self)
        value = getattr(self._trainer, name)
        if getattr(value, "__self__", None) is self._trainer:
            raise AttributeError(f"trainer.{name} cannot be called while GradCAMCallback looks at the model")
        return self._twin_of(value)


def _seen(stage: RunningStage | None) -> RunningStage | None:
    return RunningStage.VALIDATING if stage == RunningStage.TRAINING else stage


@contextmanager
def _as_validation(trainer: Trainer) -> Iterator[None]:
    stage = trainer.state.stage
    trainer.state.stage = _seen(stage)
    try:
        yield
    finally:
        trainer.state.stage = stage


def look(trainer: Trainer, lender: Lender, work: Callable[[nn.Module, T], R], companion: T) -> R:
    """Let work be done with the lent module as validation runs it, in the trainer's precision; it logs nothing."""

    def quietly(model: nn.Module, lent: T) -> R:
        for one in model.modules():
            if "_trainer" in vars(one):
                vars(one).update(log=_log_nothing, log_dict=_log_nothing)
        return work(model, lent)

    with trainer.precision_plugin.forward_context():
        return lender.look(quietly, companion)


def _log_nothing(*args: object, **kwargs: object) -> None:
    """In the place of a module's `log` and `log_dict`."""


def loader_of(trainer: Trainer, lender: Lender, images: Images) -> Any:
    """Return the loader of the trainer's validation data, in `trainer.test` of its test data.

    Of a fit without any those of its training data, which is said.

    Raises:
        SettingError: there is none.
    """
    loaders = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    if loaders is None and trainer.training:
        with lender.itself(data=_data_module(trainer)):
            loaders = _validation_to_come(trainer)
    found = [] if loaders is None else CombinedLoader(loaders, "sequential").flattened
    if not found and trainer.training:
        found = CombinedLoader(trainer.train_dataloader, "sequential").flattened
        told = "images=%r: there is no validation data; they are the training data's, varied as these are"
        logger.warning(told, images)
    if not found:
        raise SettingError(
            f"images={quoted(images)}: there is no validation data to take them from; pass a validation loader, or "
            "images=<tensor (N, C, H, W)>"
        )
    if len(found) > 1:
        logger.info("%d loaders: the images are the first one's", len(found))
    return found[0]


def with_what_is_said(
    trainer: Trainer, lender: Lender, found: ProbeSet, loader: Any = None
) -> tuple[ProbeSet, list[Normalising]]:
    """Return a probe set with what the data module and the module say of it, and how its images were normalised.

    Args:
        trainer: with its data module, and its module, whose hooks may normalise.
        lender: of the module: to ask may be to make, which is put back.
        found: the images.
        loader: that they are read through; None takes those that the trainer has by now.
    """
    module, data = trainer.lightning_module, _data_module(trainer)
    models = (one for one in module.modules() if held(one, "config") is not None)
    with lender.itself(loader=loader, data=data), _as_validation(trainer):
        names = [one for source in (data, module, *models) if (one := names_of_classes(source))]
        said = normalising_of(found.images, _sources_of(trainer, loader))
    mean, std = said[0][:2] if len(said) == 1 else (None, None)
    return replace(found, names=(*found.names, *names), mean=mean, std=std), said


def _sources_of(trainer: Trainer, loader: Any) -> list[Any]:
    """What may say how the images were normalised, the nearest to them first."""
    known = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    loaders = [loader] if loader is not None else [] if known is None else CombinedLoader(known).flattened
    module, data = trainer.lightning_module, _data_module(trainer)
    hooks = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    has_hooks = any(_is_own(getattr(module, hook)) for hook in hooks)
    return [*loaders, *([] if data is None else [data]), *([module] if has_hooks else [])]


def _is_own(hook: Any) -> bool:
    """Whether a hook is none of Lightning's, in whichever of its packages."""
    return ".core.hooks" not in str(hook.__module__)


def probe_set_of(
    trainer: Trainer, lender: Lender, loader: Any, images: Indices, keys: Keys, output: Output | None = None
) -> ProbeSet:
    """Read the probe set from a loader.

    The state of data sets, samplers, loaders, data modules and modules is put back: nothing was read, as far as they
    know.

    Raises:
        SettingError: what `read_probe_set` refuses.
    """
    with lender.itself(loader=loader, data=_data_module(trainer)), _as_validation(trainer):
        inputs = required_inputs(trainer.lightning_module, output)
        return read_probe_set(loader, images, keys, partial(_transfer, trainer), _limit(trainer, loader), inputs)


def _limit(trainer: Trainer, loader: Any) -> int | None:
    """How many batches of a loader are read, on all ranks: all, or as many as the trainer is limited to."""
    known = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
    asked = trainer.limit_test_batches if trainer.testing else trainer.limit_val_batches
    batches: float = next(iter(known), 0) or asked or 0  # before the first validation they are not counted
    if isinstance(batches, float) and batches <= 1.0 and not known:
        batches = int(_length(loader) * batches)
    return int(batches) * trainer.world_size if batches and isfinite(batches) else None


def _length(loader: Any) -> int:
    """How many batches there are, 0 where that is not known: a loader of a stream has a length that raises."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return 0


def _data_module(trainer: Trainer) -> object:
    return getattr(trainer, "datamodule", None)


def _validation_to_come(trainer: Trainer) -> Any:
    """The validation data of a fit that has not asked for them yet, as with `check_val_every_n_epoch=2`."""
    source = trainer.fit_loop.epoch_loop.val_loop._data_source
    return source.dataloader() if trainer.limit_val_batches and source.is_defined() else None


def _transfer(trainer: Trainer, batch: Any) -> Any:
    """What the evaluation loop does between the loader and `validation_step`."""
    batch = trainer.precision_plugin.convert_input(batch)
    batch = trainer.lightning_module._on_before_batch_transfer(batch, dataloader_idx=0)
    return trainer.strategy.batch_to_device(batch, dataloader_idx=0)
