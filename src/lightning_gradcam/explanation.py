"""The same maps for a trained model, in one call."""

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lightning_gradcam.cam.borrowed import CamClass
from lightning_gradcam.cam.calls import Inputs, Output
from lightning_gradcam.cam.compute import compute_cams, remove
from lightning_gradcam.cam.layers import LayerChoice, takes_gray
from lightning_gradcam.cam.layouts import Reader
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.maps import Cams, Maps
from lightning_gradcam.cam.plan import Plan, make_plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.cam.targets import Target
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.pictures.appearance import Appearance, Channels, Statistics
from lightning_gradcam.pictures.captions import to_header
from lightning_gradcam.pictures.given import Picture, Size, checked_labels, prepared
from lightning_gradcam.pictures.grid import grid
from lightning_gradcam.pictures.render import overlay
from lightning_gradcam.pictures.shown import ShownImages, check_names, check_names_fit, show_images
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import measure
from lightning_gradcam.values import plain

logger = logging.getLogger(__name__)

SHARES = tuple(step / 10 for step in range(1, 10))  # of the pixels, that `removal` removes


@dataclass(frozen=True, eq=False)  # tensors are equal place by place
class Explanation:
    """Where a model looked in N images.

    With several classes as the target, `heatmaps`, `raw`, `peaks` and `targets` have them as a second dimension.

    Attributes:
        heatmaps: (N, H, W) float32 in 0..1, at the size of the images that the model saw.
        raw: (N, h, w) >= 0, the maps before resizing and scaling; of averaged layers at image size. None for what
            grad-cam computes and with `aug_smooth`, which tell only where the evidence lies, not how strong it is.
        peaks: (N,) each raw map's maximum: 0 where there is no positive evidence, not finite where the map was not; of
            averaged layers the mean of theirs. None where `raw` is.
        scores: (N,) the prediction's probability in 0..1; of a segmentation whose truth is known its IoU; of a
            regression its value, (N, K) of several; without classes the squared norm of the output, or of a rebuilt
            image its mean squared error.
        predictions: (N,) the predicted class; -1 where the scores are not finite.
        targets: (N,) the explained class; -1 where the target is no single class.
        layer: dotted name of the target layer; of several, averaged, joined by "+".
        method: by name: with `method=None` the one that fits.
        metrics: numbers of each map by name, (N,) each, NaN where a blank one has none: those of the callback that need
            no look before and no mask; with `trust=True` also `faithfulness` and `class_sensitivity`.
    """

    heatmaps: Tensor
    raw: Tensor | None
    peaks: Tensor | None
    scores: Tensor
    predictions: Tensor
    targets: Tensor
    layer: str
    method: str
    metrics: dict[str, Tensor]
    _images: ShownImages = field(repr=False)
    _found: Maps = field(repr=False)
    _remove: Callable[[Maps, Sequence[float]], tuple[Tensor, Tensor]] = field(repr=False)

    @property
    def answers(self) -> list[str]:
        """What the model says of each image, in words, as the grid has it."""
        return [caption.answer for caption in self._images.captions(self._found)]

    def overlays(self) -> list[Image.Image]:
        """Return each image with its heatmap over it, at the size the model saw; of several targets the first."""
        pairs = zip(self._images.pictures, self._found.heatmaps(self._images.size)[:, 0].numpy(), strict=True)
        return [Image.fromarray(overlay(picture, heatmap)) for picture, heatmap in pairs]

    def __getstate__(self) -> dict[str, Any]:
        """Return what is stored: all but the model, which `removal` asks again."""
        return vars(self) | {"_remove": _forgotten}

    def __copy__(self) -> "Explanation":
        """Return one that shares all, and knows the model."""
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Explanation":
        """Return one that shares nothing but the model."""
        return replace(self, **deepcopy(vars(self), memo))  # functions, as what asks the model, are not copied

    def removal(self, shares: Sequence[float] = SHARES) -> "RemovalCurve":
        """Ask the model again, of the images with ever more of their pixels removed.

        It is held on to for that, and has to be as it was; an explanation that was stored has no model to ask.

        Args:
            shares: of the pixels, above 0 and below 1, that are removed at once: two forward passes each.

        Raises:
            SettingError: shares that are none.
            RuntimeError: the explanation was stored, and read back.
        """
        least, most = self._remove(self._found, _checked_shares(shares))
        column = 0 if self._found.maps.shape[1] == 1 else slice(None)
        return RemovalCurve(torch.tensor(plain(shares)), least[:, column], most[:, column])

    def grid(self) -> Image.Image:
        """Return one labelled picture of all images beside their overlays."""
        return grid(self._images.scene, self._images.sight(self._found), self.layer)

    def save(self, path: str | PathLike[str]) -> None:
        """Save the grid; the file's ending tells the format."""
        self.grid().save(path)


@dataclass(frozen=True, eq=False)
class RemovalCurve:
    """What becomes of the explained classes as their images lose ever more pixels, which become blurred.

    With several targets `least` and `most` have them as a second dimension.

    Attributes:
        shares: (P,) of the pixels that were removed, in 0..1.
        least: (N, P) the class's probability in 0..1 with the least relevant pixels removed first; where the target is
            no probability, how far its value rose, below 0 where it fell.
        most: (N, P) the same with the most relevant pixels removed first.
    """

    shares: Tensor
    least: Tensor
    most: Tensor


def explain(
    model: nn.Module,
    images: Tensor | Sequence[Picture],
    target_layer: LayerChoice | Sequence[LayerChoice] | None = None,
    *,
    target: Target = "predicted",
    labels: Tensor | Sequence[int] | None = None,
    method: str | CamClass | None = None,
    task: str | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    channels: Channels | None = None,
    class_names: Sequence[str] | None = None,
    size: Size | None = None,
    batch_size: int | None = None,
    output: Output | None = None,
    reshape_transform: Reader | None = None,
    aug_smooth: bool = False,
    eigen_smooth: bool = False,
    trust: bool = False,
) -> Explanation:
    """Show where a trained model looks; the model is left as it was.

    Args:
        model: any image model, in any mode, on any device.
        images: paths, PIL images or arrays (H, W, C) or (H, W) of uint8 or of floats in 0..1: each is scaled to 0..1,
            resized to `size` and normalised by `mean` and `std`; or a tensor (N, C, H, W), taken as it is.
        target_layer: dotted name or module; of several the average, as grad-cam does; None finds the layer.
        target: as in `GradCAMCallback`; "predicted" is the highest-scoring class.
        labels: (N, ...) what is true, as the model is trained with it: for captions, and for target="label".
        method: as in `GradCAMCallback`.
        task: as in `GradCAMCallback`.
        mean: what normalising subtracts, in units of 0..1, one number a channel, or one for all.
        std: what normalising divides by.
        channels: which of the model's channels are red, green and blue, or the one that is gray; with (2, 1, 0) it is
            given files and PIL images as BGR, with 0 as gray, which is usual where its first convolution takes one
            channel.
        class_names: a name for each class; None shows numbers.
        size: (height, width) or one number for both; None leaves images as they are, which then are of one size.
        batch_size: images a forward pass, as in `GradCAMCallback`.
        output: as in `GradCAMCallback`.
        reshape_transform: as in `GradCAMCallback`.
        aug_smooth: average over mirrored and rescaled images.
        eigen_smooth: take the first principal component.
        trust: also measure whether the maps can be believed, as in `GradCAMCallback`.

    Raises:
        ValueError: a setting or an image that cannot work; the sentence names it.
        TypeError: a value of another type than accepted.
    """
    averaged = (
        [list(target_layer)] if isinstance(target_layer, Sequence) and not isinstance(target_layer, str) else None
    )
    settings = Settings(
        target_layer=averaged or target_layer,
        target=target,
        method=method,
        batch_size=batch_size,
        output=output,
        reshape_transform=reshape_transform,
        task=task,
        aug_smooth=aug_smooth,
        eigen_smooth=eigen_smooth,
        trust=trust,
    )
    check_names(class_names)
    appearance = Appearance(plain(mean), plain(std), plain(channels))
    ready, shown, appearance = prepared(images, plain(size), appearance, takes_gray(model))
    known = checked_labels(labels, len(ready))

    lender, inputs = Lender(model), Inputs(ready)

    def explained(lent: nn.Module, settings: Settings) -> tuple[Plan, Maps]:
        plan = make_plan(lent, inputs, known, settings, named=len(class_names or ()))
        check_names_fit(class_names, plan.task)
        return plan, compute_cams(lent, inputs, plan.known(known), plan)[0].copied()()

    plan, found = lender.look(explained, settings)
    plan = replace(plan, settings=settings, call=replace(plan.call, output=settings.output))
    told, truth = plan.task, plan.known(known).truth

    def removed(found: Maps, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
        return lender.look(lambda lent, plan: remove(lent, inputs, plan.known(known), plan, found, shares), plan)

    if told.doubt:
        logger.warning("the task is taken to be %s; %s", told.kind, told.doubt)
    about = to_header(plan, truth is not None, class_names)
    columns = settings.column_classes
    pictures = show_images(shown, truth, told, appearance, about, class_names, columns)
    return _explanation(found, plan.method_name, pictures, removed)


def _explanation(
    found: Maps, method: str, images: ShownImages, remove: Callable[..., tuple[Tensor, Tensor]]
) -> Explanation:
    column = 0 if found.maps.shape[1] == 1 else slice(None)
    alone = History(found.layer).with_look(0, found).view(found, masks=None)
    raw = found.maps * found.peaks.nan_to_num(0, posinf=0)[..., None, None] if isinstance(found, Cams) else None
    return Explanation(
        found.heatmaps(images.size)[:, column],
        None if raw is None else raw[:, column],
        found.peaks[:, column] if isinstance(found, Cams) else None,
        found.scores[:, 0] if found.scores.shape[1] == 1 else found.scores,
        found.predictions,
        found.targets[:, column],
        found.layer,
        method,
        {name: values[:, column] for name, values in measure(alone).items()},
        images,
        found,
        remove,
    )


def _forgotten(found: Maps, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
    raise RuntimeError("removal() asks the model, which is not stored with an explanation; call explain(...) again")


def _checked_shares(shares: Sequence[float]) -> list[float]:
    given = plain(shares)
    are_shares = isinstance(given, (list, tuple)) and all(isinstance(one, float) and 0 < one < 1 for one in given)
    if not are_shares or not given:
        raise SettingError(
            f"shares={quoted(shares)}; accepted are shares of the pixels, above 0 and below 1, as (0.2, 0.5)"
        )
    return list(given)
