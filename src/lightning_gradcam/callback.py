"""The Lightning callback: hooks, and who is called when."""

import logging
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from lightning_gradcam.album import Album, make_album
from lightning_gradcam.borrowed import CamClass
from lightning_gradcam.cam import Cams, Plan, compute_cams, make_plan
from lightning_gradcam.errors import SettingError, nearest
from lightning_gradcam.layers import Reader
from lightning_gradcam.probe import Images, Key, Keys, Probe, check_images, given_probe, read_probe
from lightning_gradcam.render import Statistics, check_statistics, name_of
from lightning_gradcam.schema import grid_tag
from lightning_gradcam.session import check_strategy, evaluation_loaders, is_dry_run, looking, transfer
from lightning_gradcam.settings import LayerChoices, Output, Settings
from lightning_gradcam.targets import Target, classes_of
from lightning_gradcam.writer import Worker, find_sinks, write_picture

logger = logging.getLogger(__name__)

SCALES = ("image", "run")


class GradCAMCallback(Callback):
    """Show in TensorBoard where the network looks at the same validation images, epoch by epoch.

    A grid of images and their Grad-CAM overlays is logged under `gradcam/{layer}` before training (step 0) and after
    every `every_n_epochs`-th epoch (step = epochs completed), and in `trainer.validate` and `trainer.test`. Training is
    left as it is: the model is borrowed in evaluation mode and given back bit for bit. Once training runs, a fault in
    looking costs a warning and a missing picture, never the run.

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
        mask_key: the same for masks or boxes.
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
        _check_names(class_names)
        _check_scale(scale)
        _check_keys(self._keys)
        self._images = images
        self._images_key = _images_key(images)
        self._mean, self._std = mean, std
        self._every_n_epochs = every_n_epochs
        self._class_names = class_names
        self._scale = scale
        self._probe: Probe | None = None
        self._album: Album | None = None
        self._plan: Plan | None = None
        self._sinks: list[Any] = []
        self._peaks: dict[str, Tensor] = {}
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
        """The probe and the highest peaks, in plain tensors: a resumed run shows the same images and goes on."""
        probe = None if self._probe is None else vars(self._probe)
        return {"images": self._images_key, "probe": probe, "peaks": dict(self._peaks)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the probe of the run that is resumed, if it still is what the arguments ask for."""
        self._restored = state_dict

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the loggers that take pictures; refuse where there are none."""
        self._probe, self._album, self._plan, self._warned = None, None, None, set()
        self._peaks = {}
        if is_dry_run(trainer) or stage == TrainerFn.PREDICTING:
            return
        check_strategy(trainer)
        if trainer.is_global_zero:  # replicas are alike: the others neither look nor wait
            self._sinks = self._find_sinks(trainer, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the images, find the layer, and look once before any learning."""
        self._prepare(trainer, pl_module)
        if trainer.global_step == 0:
            self._look(trainer, pl_module, step=0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look after the epoch."""
        completed = trainer.current_epoch + 1
        if completed % self._every_n_epochs == 0:
            self._look(trainer, pl_module, step=completed)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare for `trainer.validate`."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._prepare(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look in `trainer.validate`."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._look(trainer, pl_module, step=trainer.current_epoch)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare for `trainer.test`."""
        self._prepare(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look in `trainer.test`."""
        self._look(trainer, pl_module, step=trainer.current_epoch)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let all that was logged reach the disk before a checkpoint says that it was."""
        self._worker.drain()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let all that was logged reach the disk."""
        self._worker.close()  # teardown does not come after an exception

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finish writing; hold on to no model and no image."""
        self._worker.close()
        self._probe, self._album, self._plan, self._sinks = None, None, None, []

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
                self._made_plan(trainer, module)
        except SettingError:
            raise
        except NotImplementedError as error:
            raise SettingError(
                f"output=None calls {type(module).__name__}, which cannot be called ({error}); give it a forward, or "
                "pass output=callable(model, images) -> scores"
            ) from error
        except Exception as fault:  # the user's own code, on these images: no reason not to train
            self._warn(fault)

    def _look(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        """Explain the probe and hand the maps to the worker; a fault costs a warning and this picture."""
        if not self._sinks:
            return
        try:
            with looking(trainer, module):
                plan = self._made_plan(trainer, module)
                probe = self._read_probe(trainer)
                found = compute_cams(module, probe.images, probe.labels, plan)
            for cams in found:
                tag = grid_tag(cams.layer, test=trainer.testing)
                self._worker.submit(partial(self._write, cams.copied(), tag, step, trainer.global_step))
        except Exception as fault:
            self._warn(fault)

    def _read_probe(self, trainer: Trainer) -> Probe:
        """The probe, read at the first call."""
        if self._probe is None:
            restored = self._restored_probe(trainer)
            self._probe = given_probe(self._images) or restored or self._probe_of(trainer)
        return self._probe

    def _restored_probe(self, trainer: Trainer) -> Probe | None:
        """The probe of the run that is resumed, with its highest peaks; None where it does not fit the arguments."""
        state, self._restored = self._restored, None
        if state is None or state["probe"] is None or trainer.state.fn != TrainerFn.FITTING:
            return None
        if state["images"] != self._images_key:
            logger.warning("images: the checkpoint's are other ones than asked for; the resumed run shows new ones")
            return None
        self._peaks = dict(state["peaks"])
        return Probe(**state["probe"])

    def _probe_of(self, trainer: Trainer) -> Probe:
        images = self._images
        assert not isinstance(images, (Tensor, tuple))  # those are given_probe's
        found = evaluation_loaders(trainer)
        if not found:
            raise SettingError(
                f"images={images!r}: there is no validation data to take them from; pass a validation loader, or "
                "images=<tensor (N, C, H, W)>"
            )
        if len(found) > 1:
            logger.info("%d validation loaders: the images are the first one's", len(found))
        return read_probe(found[0], images, self._keys, partial(transfer, trainer))

    def _made_plan(self, trainer: Trainer, module: LightningModule) -> Plan:
        """The plan, made at the first call, with all that it stands on."""
        probe = self._read_probe(trainer)
        if self._album is None:
            self._album = make_album(probe.images, probe.labels, self._mean, self._std, self._class_names)
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

    def _write(self, copy: Callable[[], Cams], tag: str, step: int, global_step: int) -> None:
        """On the worker's thread: draw one layer's grid and write it."""
        assert self._album is not None
        cams = copy()
        if self._scale == "run" and not cams.finished:
            heatmaps = cams.strengths(self._album.size, self._highest_peaks(tag, cams.peaks))
        else:
            heatmaps = cams.heatmaps(self._album.size)
        target = self._settings.target
        subtitle = f"epoch {step}  ·  target: {self._target_name()}  ·  {self._settings.method_name}"
        if self._scale == "run":
            subtitle += "  ·  scale: run"
        classes = classes_of(target) if isinstance(target, Sequence) else []
        grid = self._album.grid(cams, heatmaps, subtitle, classes)
        write_picture(self._sinks, tag, grid, step, global_step)

    def _highest_peaks(self, tag: str, peaks: Tensor) -> Tensor:
        """Each map's highest peak of the run so far."""
        finite = peaks.nan_to_num(0, posinf=0)
        self._peaks[tag] = torch.maximum(self._peaks.get(tag, finite), finite)
        return self._peaks[tag]

    def _target_name(self) -> str:
        target, probe = self._settings.target, self._probe
        if target == "label" and (probe is None or probe.labels is None):
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


def _images_key(images: Images) -> str:
    """What was asked for: a number, indices, or the shape of what was given."""
    given = given_probe(images)
    return str(images) if given is None else f"tensor {tuple(given.images.shape)}"


def _check_epochs(every_n_epochs: object) -> None:
    if isinstance(every_n_epochs, bool) or not isinstance(every_n_epochs, int):
        raise TypeError(f"every_n_epochs={every_n_epochs!r} is not an int; accepted is 1 or more")
    if every_n_epochs < 1:
        raise SettingError(f"every_n_epochs={every_n_epochs}; accepted is 1 or more")


def _check_names(class_names: object) -> None:
    if class_names is None:
        return
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise TypeError(f"class_names={class_names!r}; accepted is a sequence of names, one a class")
    if not class_names or not all(isinstance(name, str) for name in class_names):
        raise TypeError(f"class_names={class_names!r}; accepted are strings, one a class")


def _check_scale(scale: object) -> None:
    if scale not in SCALES:
        raise SettingError(f"scale={scale!r} is neither 'image' nor 'run'{nearest(str(scale), SCALES)}")


def _check_keys(keys: Keys) -> None:
    for role, key in vars(keys).items():
        if key is not None and (isinstance(key, bool) or not isinstance(key, (str, int))):
            raise TypeError(f"{role}_key={key!r}; accepted is a key (str) or a place (int) in a batch")
