"""The Lightning callback: its arguments, and what is called when."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import nn

from lightning_gradcam.cam.borrowed import CamClass
from lightning_gradcam.cam.calls import Output
from lightning_gradcam.cam.layouts import Reader
from lightning_gradcam.cam.settings import LayerChoices, Settings
from lightning_gradcam.cam.targets import Target, classes_of
from lightning_gradcam.logs.schema import root_tag
from lightning_gradcam.pictures.appearance import Appearance, Channels, Statistics
from lightning_gradcam.training.arguments import Arguments
from lightning_gradcam.training.asked import Images, asked_for, plain_images
from lightning_gradcam.training.batches import Key, Keys
from lightning_gradcam.training.fit import DryRun, FitWatch
from lightning_gradcam.training.memory import Memory
from lightning_gradcam.training.session import epochs_of, is_dry_run
from lightning_gradcam.training.watch import Watch
from lightning_gradcam.values import plain

_Callback = Callback
if not TYPE_CHECKING:
    with suppress(ImportError):
        from lightning.pytorch import Callback as _OtherCallback

        # what the other package's LightningCLI asks for, and before 2.6 its Trainer
        class _Callback(Callback, _OtherCallback):
            """A callback of both packages that Lightning comes in."""


class GradCAMCallback(_Callback):
    """Show in TensorBoard where the network looks at the same validation images, epoch by epoch.

    A grid of images and their Grad-CAM overlays is logged under `gradcam/{layer}` before training (step 0) and after
    every `every_n_epochs`-th epoch (step = epochs completed), and in `trainer.validate` and `trainer.test`. Training is
    left as it is, bit for bit: a twin of the model is looked at, with a state of its own. Once training runs, a fault
    in looking costs a warning and a missing picture, never the run.

    Numbers of the maps (`lightning_gradcam.timeline.metrics`) are logged as `gradcam/{layer}/{metric}` to all loggers,
    and other callbacks can monitor them; at the end of a fit, also of an interrupted one, `gradcam/{layer}/filmstrip`
    and `gradcam/{layer}/timelapse` show all epochs.

    Args:
        target_layer: dotted name or module, or several: one grid each, and the average of a sequence within the
            sequence. None: the last layer whose output is a map or, unless a method is named, of tokens and
            behind attention what the first attention reads; the log says which.
        images: how many, spread over what validation reads and its classes; dataset indices; a tensor (N, C, H, W) as
            the model gets it; or (tensor, labels).
        target: what is explained: "label" (the prediction where there are no labels), "predicted", a class, several
            classes (one column each), callable(output, labels) -> (N,), or a list of grad-cam targets, one an image.
        method: "gradcam", "hirescam", "gradcam++", "xgradcam", "layercam", "gradcam_elementwise", "eigencam",
            "eigengradcam", or "relevance" through the attention of all blocks (Chefer et al., arXiv 2103.15679), which
            is of no layer; all computed on the training device; any other method of grad-cam by name or class. None:
            Grad-CAM, but of tokens and behind attention "gradcam_elementwise"; the log says which.
        task: how scores and labels are read, in torchmetrics' words: "binary", "multiclass", "multilabel",
            "regression", "segmentation", or "none", where there are no classes; None tells it from the images' labels,
            the scores, and the module's own losses and metrics, once, and says so.
        every_n_epochs: look after each n-th epoch; left at 1, a training without ends of epochs (endless data, one long
            epoch) is looked at after each validation.
        every_n_train_steps: look after each n-th optimizer step instead, as in `ModelCheckpoint`. Steps are then
            optimizer steps, as they are where looks follow validations.
        name: of several callbacks in one run, what tells them apart: tags become `gradcam/{name}/{layer}`.
        mean: what normalising subtracted, to show the images as people see them; one number a channel, or one for all.
            None takes what the data say (a Normalize in the data set's transform or in the transfer hooks, or a mean
            and std of the data module or the loader); where they say nothing each image is stretched to its own range.
        std: what normalising divided by.
        channels: which of the model's channels are red, green and blue, as (3, 2, 1) for Sentinel-2 and (2, 1, 0) for
            BGR, or the one that is gray; None takes the bands that the data set says, else the first three.
        class_names: a name for each class; None takes those that the data set, the data module or the model say.
        scale: "image" shows each map on its own, as Grad-CAM papers do; "run" by the highest peak the image has had so
            far, so that epochs compare; not with grad-cam's own methods and `aug_smooth`, whose maps have no peaks.
        batch_size: images a forward pass: bounds the memory. None takes 32, more of small ones, as many as hold
            400,000 values, at most 128, and 8 where all behind the first attention is kept.
        image_key: where in a batch the images are: a key, a place, or a path with dots; None finds them in (x, y),
            (x, y, mask) or under a usual name.
        label_key: the same for labels.
        mask_key: the same for masks (N, H, W), bool or integers, or boxes (N, 4), x0, y0, x1, y1 in pixels; with them
            the share of the heat on the thing is logged.
        output: callable(model, images) -> scores, callable(model, images, batch) -> scores, or the name of a method;
            None calls the module as its own code does, and finds the scores.
        reshape_transform: a layer's output -> (N, C, h, w), for layouts that the shape does not tell.
        aug_smooth: average over mirrored and rescaled images: six times the work.
        eigen_smooth: take the first principal component, which removes noise.
        trust: also log whether the maps can be believed: `faithfulness`, `class_sensitivity`, and in a training from
            scratch `learned`; two forward passes and a short backward pass more, a layer and target.

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
        method: str | CamClass | None = None,
        task: str | None = None,
        every_n_epochs: int = 1,
        every_n_train_steps: int | None = None,
        name: str | None = None,
        mean: Statistics | None = None,
        std: Statistics | None = None,
        channels: Channels | None = None,
        class_names: Sequence[str] | None = None,
        scale: str = "image",
        batch_size: int | None = None,
        image_key: Key | None = None,
        label_key: Key | None = None,
        mask_key: Key | None = None,
        output: Output | None = None,
        reshape_transform: Reader | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
        trust: bool = False,
    ) -> None:
        super().__init__()
        self._arguments = Arguments(
            settings=Settings(
                target_layer=target_layer,
                target=target,
                method=method,
                batch_size=batch_size,
                output=output,
                reshape_transform=reshape_transform,
                task=task,
                aug_smooth=aug_smooth,
                eigen_smooth=eigen_smooth,
                trust=trust,
            ),
            keys=Keys(image=image_key, label=label_key, mask=mask_key),
            images=plain_images(images),
            every_n_epochs=plain(every_n_epochs),
            every_n_train_steps=plain(every_n_train_steps),
            appearance=Appearance(plain(mean), plain(std), plain(channels)),
            class_names=plain(class_names),
            scale=scale,
            name=name,
        )
        self._memory = Memory(asked_for(self._arguments.images, self._arguments.keys))  # of the last fit
        self._fit: FitWatch | None = None  # from setup to teardown
        self._evaluation: Watch | None = None
        self._takes_states = True  # but in a stage that is no fit
        target = self._arguments.settings.target
        target_name = target if isinstance(target, str) else str(classes_of(target))  # an object's changes run by run
        self._state_key = self._generate_state_key(
            name=name,
            target_layer=_layer_key(target_layer),
            target=target_name,
            method=self._arguments.settings.method_name,
            aug_smooth=self._arguments.settings.aug_smooth,
            eigen_smooth=self._arguments.settings.eigen_smooth,
            images=self._memory.asked,
            task=task,
            scale=scale,
            every_n_epochs=self._arguments.every_n_epochs,
            every_n_train_steps=self._arguments.every_n_train_steps,
        )

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the running stage writes to, and what; none before it has found its layers."""
        watch = self._fit or self._evaluation
        return watch.tags if watch else {}

    @property
    def root(self) -> str:
        """What all its tags begin with."""
        return root_tag(self._arguments.name)

    @property
    def state_key(self) -> str:
        """What tells several instances in a checkpoint apart."""
        return self._state_key

    def state_dict(self) -> dict[str, Any]:
        """Where the images and their maps so far are to be found: a resumed run shows the same images and goes on."""
        return self._memory.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the looks of the run that is resumed, if its images still are what the arguments ask for.

        Of a checkpoint that is evaluated only the weights are wanted: what the last fit saw stays.
        """
        if self._takes_states:
            self._memory.load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: the arguments, and nothing of a fit, whose trainer, threads and files are not its."""
        own = {name: value for name, value in vars(self).items() if name not in ("log", "log_dict")}  # the module's
        return own | {"_memory": Memory(self._memory.asked), "_fit": None, "_evaluation": None, "_takes_states": True}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the loggers that take pictures."""
        self._finish()
        is_fit, is_dry = stage == TrainerFn.FITTING, is_dry_run(trainer)
        self._takes_states = is_fit
        if stage == TrainerFn.PREDICTING or (is_dry and not is_fit):
            return
        stage_of = self, self._arguments, trainer, pl_module
        if not is_fit:
            self._evaluation = Watch(*stage_of, self._memory.branch())
            return
        if not self._memory.goes_on(trainer, pl_module):
            self._memory = Memory(self._memory.asked, trainer, pl_module)
        self._fit = (DryRun if is_dry else FitWatch)(*stage_of, self._memory)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the images, find the layer, and look once before any learning."""
        if self._fit:
            self._fit.begin()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Hand pictures to the trackers that count the training's steps."""
        if self._fit:
            self._fit.deliver()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look after an optimizer step."""
        if self._fit:
            self._fit.look_if_due("step")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look after the epoch."""
        if self._fit:
            self._fit.look_if_due("epoch")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the film strip and the time-lapse."""
        if self._fit:
            self._fit.show_film()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare for `trainer.validate`."""
        if self._evaluation:
            self._evaluation.prepare()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Look at the weights that validation measures."""
        if watch := self._watch_beginning(trainer, batch_idx):
            watch.see()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the look of `trainer.validate`, and of a fit where looks follow validations."""
        if self._evaluation:
            self._evaluation.look_after_evaluation()
        elif self._fit and not trainer.sanity_checking:
            self._fit.look_if_due("validation")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare for `trainer.test`."""
        if self._evaluation:
            self._evaluation.prepare()

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Look at the weights that the test measures."""
        if watch := self._watch_beginning(trainer, batch_idx):
            watch.see()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the look of `trainer.test`."""
        if self._evaluation:
            self._evaluation.look_after_evaluation()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let all that was logged reach the disk before a checkpoint says that it was."""
        if self._fit:
            self._fit.drain()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on from what a resumed checkpoint has, whose state is loaded next; of one evaluated note the epoch."""
        if self._evaluation:
            self._evaluation.epochs = epochs_of(checkpoint)
        elif self._fit:
            self._fit.memory.begin_from(self.state_key, checkpoint["callbacks"])

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw the film strip and the time-lapse so far, and finish writing: teardown does not come after this."""
        if self._fit:
            self._fit.show_film()
        self._finish()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finish writing; hold on to no model, and only to what a checkpoint saved from now on should have."""
        self._finish()

    def _watch_beginning(self, trainer: Trainer, batch_idx: int) -> Watch | None:
        """The stage whose evaluation has a loader's first batch, of which the first counts; a sanity check is none."""
        return self._evaluation or self._fit if batch_idx == 0 and not trainer.sanity_checking else None

    def _finish(self) -> None:
        for watch in (self._fit, self._evaluation):
            if watch:
                watch.close()
        self._fit = self._evaluation = None
        self._takes_states = True


_instances = count()


def _layer_key(target_layer: object) -> str:
    """Name the layers for a checkpoint: modules have no name yet, so the order in which a script makes them tells."""
    if target_layer is None or isinstance(target_layer, str):
        return str(target_layer)
    if isinstance(target_layer, nn.Module):
        return f"module {next(_instances)}"
    return str([_layer_key(one) for one in target_layer]) if isinstance(target_layer, Sequence) else ""
