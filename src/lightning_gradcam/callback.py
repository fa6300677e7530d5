"""The Lightning callback: hooks, and who is called when."""

import logging
import warnings
from collections.abc import Sequence
from functools import partial
from itertools import chain, count
from time import monotonic
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import nn

from lightning_gradcam.album import make_album
from lightning_gradcam.borrowed import CamClass
from lightning_gradcam.cam import Cams, Plan, compute_cams, make_plan
from lightning_gradcam.errors import SettingError, nearest
from lightning_gradcam.history import History
from lightning_gradcam.layers import Reader
from lightning_gradcam.metrics import means, measure, names
from lightning_gradcam.probe import Images, Key, Keys, Probe, check_images, given_probe, images_key
from lightning_gradcam.render import Statistics, check_names, check_statistics, name_of
from lightning_gradcam.schema import MASK_AREA, grid_tag, part_tag
from lightning_gradcam.screen import Screen
from lightning_gradcam.session import (
    check_monitors,
    check_strategy,
    is_dry_run,
    log_numbers,
    looking,
    probe_of,
)
from lightning_gradcam.settings import LayerChoices, Output, Settings
from lightning_gradcam.targets import Target, classes_of
from lightning_gradcam.writer import Job, Worker, find_sinks, make_folders

logger = logging.getLogger(__name__)

SCALES = ("image", "run")
_FIRST_FILM, _SECONDS_BETWEEN_FILMS = 8, 60.0  # looks, and seconds, before a film strip is drawn in mid-run


class GradCAMCallback(Callback):
    """Show in TensorBoard where the network looks at the same validation images, epoch by epoch.

    A grid of images and their Grad-CAM overlays is logged under `gradcam/{layer}` before training (step 0) and after
    every `every_n_epochs`-th epoch (step = epochs completed), and in `trainer.validate` and `trainer.test`. Training is
    left as it is: the model is borrowed in evaluation mode and given back bit for bit. Once training runs, a fault in
    looking costs a warning and a missing picture, never the run.

    Numbers of the maps (`lightning_gradcam.metrics`) are logged as `gradcam/{layer}/{metric}` to all loggers, and other
    callbacks can monitor them; at the end of a fit, also of an interrupted one, `gradcam/{layer}/filmstrip` and
    `gradcam/{layer}/timelapse` show all epochs.

    Args:
        target_layer: dotted name or module, or several: one grid each, and the average of a sequence within the
            sequence. None: the last layer whose output is a map; the log says which.
        images: how many, evenly spaced over the validation dataset; dataset indices; a tensor (N, C, H, W) as the model
            gets it; or (tensor, labels).
        target: what is explained: "label" (the prediction where there are no labels), "predicted", a class, several
            classes (one column each), callable(output, labels) -> (N,), or a list of grad-cam targets, one an image.
        method: "gradcam", "hirescam", "gradcam++", "xgradcam", "layercam", "gradcam_elementwise", "eigencam" or
            "eigengradcam", computed on the training device; any other method of grad-cam by name or class.
        every_n_epochs: look after each n-th epoch.
        mean: what normalising subtracted, to show the images as people see them; one number a channel, or one for all.
            Without mean and std each image is stretched to its own range.
        std: what normalising divided by.
        class_names: a name for each class.
        scale: "image" shows each map on its own, as Grad-CAM papers do; "run" by the highest peak the image has had so
            far, so that epochs compare.
        batch_size: images a forward pass: bounds the memory.
        image_key: where in a batch the images are; None finds them in (x, y), (x, y, mask) or under a usual name.
        label_key: the same for labels.
        mask_key: the same for masks (N, H, W), bool or integers, or boxes (N, 4), x0, y0, x1, y1 in pixels; with them
            the share of the heat on the thing is logged.
        output: callable(model, images) -> scores, or the name of a method; None calls the module and finds the scores.
        reshape_transform: a layer's output -> (N, C, h, w), for layouts that the shape does not tell.
        aug_smooth: average over mirrored and rescaled images: six times the work.
        eigen_smooth: take the first principal component, which removes noise.

    Raises:
        ValueError: a value that cannot work; what needs the model or the data is checked before the first batch.
        TypeError: a value of another type than accepted.
    """

    def __init__(
        self,
        target_layer: LayerChoices | None = None,
        *,
        images: Images = 8,
        target: Target = "label",
        method: str | CamClass = "gradcam",
        every_n_epochs: int = 1,
        mean: Statistics | None = None,
        std: Statistics | None = None,
        class_names: Sequence[str] | None = None,
        scale: str = "image",
        batch_size: int = 32,
        image_key: Key | None = None,
        label_key: Key | None = None,
        mask_key: Key | None = None,
        output: Output | None = None,
        reshape_transform: Reader | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> None:
        super().__init__()
        self._settings = Settings(
            target_layer, target, method, batch_size, output, reshape_transform, aug_smooth, eigen_smooth
        )
        self._keys = Keys(image_key, label_key, mask_key)
        check_images(images)
        check_statistics(mean, std)
        _check_epochs(every_n_epochs)
        check_names(class_names)
        _check_scale(scale)
        self._images = images
        self._images_key = images_key(images)
        self._mean, self._std = mean, std
        self._every_n_epochs = every_n_epochs
        self._class_names = class_names
        self._scale = scale
        self._probe: Probe | None = None
        self._screen: Screen | None = None
        self._plan: Plan | None = None
        self._sinks: list[Any] = []
        self._histories: dict[str, History] = {}
        self._filmed, self._filmed_at = 0, 0.0
        self._restored: dict[str, Any] | None = None
        self._warned: set[str] = set()
        self._worker = Worker(self._warn)
        target_name = target if isinstance(target, str) else str(classes_of(target))  # an object's changes run by run
        self._state_key = self._generate_state_key(
            target_layer=_layer_key(target_layer), target=target_name, method=self._settings.method_name
        )

    @property
    def state_key(self) -> str:
        """What tells several instances in a checkpoint apart."""
        return self._state_key

    def state_dict(self) -> dict[str, Any]:
        """The probe and all its maps so far, in plain tensors: a resumed run shows the same images and goes on."""
        probe = None if self._probe is None else vars(self._probe)
        histories = {tag: history.state_dict() for tag, history in self._histories.items() if history.moments}
        return {"images": self._images_key, "probe": probe, "histories": histories}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the probe of the run that is resumed, if it still is what the arguments ask for."""
        self._restored = state_dict

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the loggers that take pictures; refuse where there are none."""
        self._probe, self._screen, self._plan, self._warned = None, None, None, set()
        self._histories, self._filmed, self._filmed_at = {}, 0, monotonic()
        if is_dry_run(trainer) or stage == TrainerFn.PREDICTING:
            return
        check_strategy(trainer)
        if trainer.is_global_zero:  # replicas are alike: the others neither look nor wait
            self._sinks = self._find_sinks(trainer, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the images, find the layer, and look once before any learning."""
        self._prepare(trainer, pl_module)
        if self._screen is not None:
            self._worker.submit(self._screen.record_probe)
        numbers = self._look(trainer, pl_module, step=0) if trainer.global_step == 0 else {}
        if self._probe is not None and self._probe.masks is not None:
            numbers[MASK_AREA] = float(self._probe.masks.float().mean())  # what in_mask is by chance
        try:
            for sink in trainer.loggers if numbers else []:  # Lightning's own log has no place before the first epoch
                sink.log_metrics(numbers, trainer.global_step)
        except Exception as fault:
            self._warn(fault)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look after the epoch."""
        completed = trainer.current_epoch + 1
        if completed % self._every_n_epochs == 0:
            log_numbers(trainer, self._look(trainer, pl_module, step=completed))
            if self._film_is_due():
                self._show_film(trainer, moving=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the film strip and the time-lapse."""
        self._show_film(trainer, moving=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare for `trainer.validate`."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._prepare(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look in `trainer.validate`."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            log_numbers(trainer, self._look(trainer, pl_module, step=trainer.current_epoch))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare for `trainer.test`."""
        self._prepare(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look in `trainer.test`."""
        log_numbers(trainer, self._look(trainer, pl_module, step=trainer.current_epoch))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let all that was logged reach the disk before a checkpoint says that it was."""
        self._worker.drain()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw the film strip and the time-lapse so far, and let all that was logged reach the disk."""
        self._show_film(trainer, moving=True)
        self._worker.close()  # teardown does not come after an exception

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finish writing; hold on to no model, and only to what a checkpoint saved from now on should have."""
        self._worker.close()
        self._screen, self._plan, self._sinks = None, None, []

    def _find_sinks(self, trainer: Trainer, stage: str) -> list[Any]:
        try:
            return find_sinks(trainer.loggers)
        except SettingError as error:
            if stage == TrainerFn.FITTING:
                raise
            logger.warning("%s", error)  # evaluation is often run without loggers, and is no place to watch training
            return []

    def _prepare(self, trainer: Trainer, module: LightningModule) -> None:
        """Read the probe and plan the looking; what cannot work is refused here, before the first batch."""
        if not self._sinks:
            return
        try:
            with looking(trainer, module):
                plan = self._made_plan(trainer, module)
            check_monitors(trainer, self, self._logged(trainer, plan))
        except SettingError:
            raise
        except NotImplementedError as error:
            raise SettingError(
                f"output=None calls {type(module).__name__}, which cannot be called ({error}); give it a forward, or "
                "pass output=callable(model, images) -> scores"
            ) from error
        except Exception as fault:  # the user's own code, on these images: no reason not to train
            self._warn(fault)

    def _logged(self, trainer: Trainer, plan: Plan) -> list[str]:
        """The names of the numbers that will be logged."""
        masked = self._read_probe(trainer).masks is not None
        tags = [grid_tag(name, test=trainer.testing) for name in plan.names]
        return [part_tag(tag, name) for tag in tags for name in names(masked)]

    def _look(self, trainer: Trainer, module: LightningModule, step: int) -> dict[str, float]:
        """Explain the probe, let its maps be drawn, and return their numbers; a fault costs a warning and all these."""
        if not self._sinks:
            return {}
        try:
            with looking(trainer, module):
                plan = self._made_plan(trainer, module)
                probe = self._read_probe(trainer)
                found = compute_cams(module, probe.images, probe.labels, plan)
            copies = [cams.copied() for cams in found]
            # the device is waited for here: Lightning's log asks for the numbers next
            jobs, numbers = zip(*(self._keep(trainer, copy(), step) for copy in copies), strict=True)
            self._worker.submit(*chain(*jobs))
            make_folders(self._sinks)  # for the numbers, which Lightning writes
            return {name: number for of_layer in numbers for name, number in of_layer.items()}
        except Exception as fault:
            self._warn(fault)
            return {}

    def _keep(self, trainer: Trainer, cams: Cams, step: int) -> tuple[list[Job], dict[str, float]]:
        """Add one layer's maps to its history; return what draws and writes them, and their numbers by tag."""
        assert self._screen is not None
        assert self._probe is not None
        tag = grid_tag(cams.layer, test=trainer.testing)
        history = self._histories.get(tag, History(cams.layer)).with_look(step, cams)
        self._histories[tag] = history
        values = measure(history.view(self._probe.masks))
        jobs: list[Job] = [partial(self._screen.show, cams, history, tag, step, trainer.global_step)]
        if trainer.state.fn == TrainerFn.FITTING:
            jobs.append(partial(self._screen.record, history, values, tag))
        return jobs, {part_tag(tag, name): mean for name, mean in means(values).items()}

    def _film_is_due(self) -> bool:
        """Whether as many epochs were added as make another film worth its bytes: of 1,000 epochs a dozen are."""
        grown = self._looks() >= max(_FIRST_FILM, 1.5 * self._filmed)
        return grown and monotonic() - self._filmed_at >= _SECONDS_BETWEEN_FILMS

    def _show_film(self, trainer: Trainer, moving: bool) -> None:
        """Let the worker draw all epochs of a fit so far, if there is more than one."""
        if trainer.state.fn != TrainerFn.FITTING or self._looks() < 2 or self._screen is None:
            return
        self._filmed, self._filmed_at = self._looks(), monotonic()
        screen, step = self._screen, trainer.global_step
        films = [partial(screen.film, history, tag, step, moving) for tag, history in self._histories.items()]
        self._worker.submit(*films)

    def _looks(self) -> int:
        return max((len(history.moments) for history in self._histories.values()), default=0)

    def _read_probe(self, trainer: Trainer) -> Probe:
        """The probe, read at the first call."""
        if self._probe is None:
            restored = self._restored_probe(trainer)
            probe = given_probe(self._images) or restored or probe_of(trainer, self._images, self._keys)
            self._probe = probe.pinned() if trainer.strategy.root_device.type == "cuda" else probe
        return self._probe

    def _restored_probe(self, trainer: Trainer) -> Probe | None:
        """The probe of the run that is resumed, with its maps; None where it does not fit the arguments."""
        state, self._restored = self._restored, None
        if state is None or state["probe"] is None or trainer.state.fn != TrainerFn.FITTING:
            return None
        if state["images"] != self._images_key:
            logger.warning("images: the checkpoint's are other ones than asked for; the resumed run shows new ones")
            return None
        self._histories = {tag: History.from_state_dict(history) for tag, history in state["histories"].items()}
        return Probe(**state["probe"])

    def _made_plan(self, trainer: Trainer, module: LightningModule) -> Plan:
        """The plan, made at the first call, with all that it stands on."""
        probe = self._read_probe(trainer)
        if self._screen is None:
            about = f"target: {self._target_name(probe)}  ·  {self._settings.method_name}" + (
                "  ·  scale: run" if self._scale == "run" else ""
            )
            statistics, naming = (self._mean, self._std), (self._class_names, self._settings.columns)
            album = make_album(probe.images, probe.labels, *statistics, about, *naming)
            self._screen = Screen(album, self._sinks, by_run=self._scale == "run")
        if self._plan is None:
            self._plan = self._make_plan(module, probe)
        return self._plan

    def _make_plan(self, module: LightningModule, probe: Probe) -> Plan:
        plan = make_plan(module, probe.images, probe.labels, self._settings)
        if self._class_names and plan.classes > 1 and len(self._class_names) != plan.classes:
            raise SettingError(f"class_names has {len(self._class_names)} names; the model has {plan.classes} classes")
        if self._settings.target_layer is None:
            logger.info("target_layer=None: looking at %r, the last layer whose output is a map", plan.names[0])
        return plan

    def _target_name(self, probe: Probe) -> str:
        target = self._settings.target
        if target == "label" and probe.labels is None:
            return "predicted"
        if isinstance(target, str):
            return target
        named = [name_of(one, self._class_names) for one in classes_of(target)]
        return ", ".join(named) or "custom"

    def _warn(self, fault: Exception) -> None:
        """Warn once a kind of fault: the same one comes every epoch, and says nothing new."""
        kind = type(fault).__name__
        if kind not in self._warned:
            self._warned.add(kind)
            told = (
                f"GradCAMCallback: a picture is missing ({kind}: {fault}); training goes on, and the next epoch tries "
                "again without another word"
            )
            try:
                warnings.warn(told, stacklevel=2)
            except Warning:  # python -W error: still no reason to end a run, nor the worker
                logger.warning(told)


_instances = count()


def _layer_key(target_layer: object) -> str:
    """Name the layers for a checkpoint: modules have no name yet, so the order in which a script makes them tells."""
    if target_layer is None or isinstance(target_layer, str):
        return str(target_layer)
    if isinstance(target_layer, nn.Module):
        return f"module {next(_instances)}"
    return str([_layer_key(one) for one in target_layer]) if isinstance(target_layer, Sequence) else ""


def _check_epochs(every_n_epochs: object) -> None:
    if isinstance(every_n_epochs, bool) or not isinstance(every_n_epochs, int):
        raise TypeError(f"every_n_epochs={every_n_epochs!r} is not an int; accepted is 1 or more")
    if every_n_epochs < 1:
        raise SettingError(f"every_n_epochs={every_n_epochs}; accepted is 1 or more")


def _check_scale(scale: object) -> None:
    if scale not in SCALES:
        raise SettingError(f"scale={scale!r} is neither 'image' nor 'run'{nearest(str(scale), SCALES)}")
