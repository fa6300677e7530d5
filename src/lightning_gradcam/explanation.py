"""The same maps for a trained model, in one call."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gradcam.cam.borrowed import CamClass
from lightning_gradcam.cam.calls import Inputs, Output
from lightning_gradcam.cam.compute import compute_cams, remove
from lightning_gradcam.cam.layers import LayerChoice, Reader
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.maps import Cams, Maps
from lightning_gradcam.cam.plan import Plan, make_plan
from lightning_gradcam.cam.settings import Settings, check_tensor
from lightning_gradcam.cam.targets import Target
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.pictures.appearance import Appearance, Channels, Statistics
from lightning_gradcam.pictures.captions import to_header
from lightning_gradcam.pictures.grid import grid
from lightning_gradcam.pictures.render import overlay
from lightning_gradcam.pictures.shown import ShownImages, show_images
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import measure
from lightning_gradcam.values import plain

logger = logging.getLogger(__name__)

Picture = str | PathLike[str] | Image.Image | np.ndarray[Any, Any]
Size = int | tuple[int, int]
SHARES = tuple(step / 10 for step in range(1, 10))  # of the pixels, that `removal` removes


@dataclass(frozen=True)
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
        predictions: (N,) the predicted class.
        targets: (N,) the explained class; -1 where the target is no single class.
        layer: dotted name of the target layer; of several, averaged, joined by "+".
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
    metrics: dict[str, Tensor]
    _images: ShownImages = field(repr=False)
    _found: Maps = field(repr=False)
    _remove: Callable[[Maps, Sequence[float]], tuple[Tensor, Tensor]] = field(repr=False)

    def overlays(self) -> list[Image.Image]:
        """Return each image with its heatmap over it, at the size the model saw; of several targets the first."""
        pairs = zip(self._images.pictures, self._found.heatmaps(self._images.size)[:, 0].numpy(), strict=True)
        return [Image.fromarray(overlay(picture, heatmap)) for picture, heatmap in pairs]

    def __getstate__(self) -> dict[str, Any]:
        """Return what is stored: all but the model, which `removal` asks again."""
        return vars(self) | {"_remove": _forgotten}

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
        return grid(self._images, self._found)

    def save(self, path: str | PathLike[str]) -> None:
        """Save the grid; the file's ending tells the format."""
        self.grid().save(path)


@dataclass(frozen=True)
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
    method: str | CamClass = "gradcam",
    task: str | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    channels: Channels | None = None,
    size: Size | None = None,
    batch_size: int = 32,
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
            given files and PIL images as BGR.
        size: (height, width) or one number for both; None leaves images as they are, which then are of one size.
        batch_size: images a forward pass.
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
    appearance = Appearance(plain(mean), plain(std), plain(channels))
    ready, shown, appearance = _prepared(images, plain(size), appearance)
    known = _checked_labels(labels, len(ready))

    lender, inputs = Lender(model), Inputs(ready)

    def explained(lent: nn.Module, settings: Settings) -> tuple[Plan, Maps]:
        plan = make_plan(lent, inputs, known, settings)
        return plan, compute_cams(lent, inputs, plan.known(known), plan)[0].copied()()

    plan, found = lender.look(explained, settings)
    plan = replace(plan, settings=settings, call=replace(plan.call, output=settings.output))
    told, truth = plan.task, plan.known(known).truth

    def removed(found: Maps, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
        return lender.look(lambda lent, plan: remove(lent, inputs, plan.known(known), plan, found, shares), plan)

    if told.doubt:
        logger.warning("the task is taken to be %s; %s", told.kind, told.doubt)
    about = to_header(settings, told, truth is not None, None)
    columns = settings.column_classes
    return _explanation(found, show_images(shown, truth, told, appearance, about, column_classes=columns), removed)


def _explanation(found: Maps, images: ShownImages, remove: Callable[..., tuple[Tensor, Tensor]]) -> Explanation:
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
        {name: values[:, column] for name, values in measure(alone).items()},
        images,
        found,
        remove,
    )


def _prepared(
    images: Tensor | Sequence[Picture], size: Size | None, appearance: Appearance
) -> tuple[Tensor, Tensor, Appearance]:
    """What the model gets, what is shown, and how that is to be shown."""
    if isinstance(images, Tensor):
        check_tensor(images)
        if size is not None:
            raise SettingError(
                f"size={quoted(size)} is for pictures; a tensor is taken as it is, so pass it at its size"
            )
        ready = images.detach().clone()  # a clone: what was made in inference mode cannot be differentiated
        return ready, ready, appearance
    order, (mean, std) = appearance.channels, _of_pictures(appearance)
    pictures = _stack([_load(picture, place, order) for place, picture in enumerate(_checked_list(images))], size)
    appearance.check_fits(pictures.shape[1])
    return (pictures - mean) / std, pictures, Appearance(0.0, 1.0, order)


def _of_pictures(appearance: Appearance) -> tuple[Tensor, Tensor]:
    """What is to be subtracted from pictures, which are in 0..1, and divided by."""
    mean, std = appearance.mean, appearance.std
    if mean is None or std is None:
        return torch.zeros(()), torch.ones(())
    if max(np.max(mean), np.max(std)) > 1:
        raise SettingError(
            f"mean={quoted(mean)} and std={quoted(std)} are of images of 0..255; pictures are scaled to 0..1: accepted "
            "are a 255th of these"
        )
    shift, scale = (torch.as_tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1) for values in (mean, std))
    return shift, scale


def _checked_list(images: object) -> Sequence[Picture]:
    if isinstance(images, (str, PathLike, Image.Image, np.ndarray)) or not isinstance(images, Sequence):
        raise TypeError(
            f"images is a {type(images).__name__}; accepted are a list of paths, PIL images or arrays (H, W, C), or a "
            "tensor (N, C, H, W)"
        )
    if not images:
        raise SettingError("images is empty; accepted is one image or more")
    return images


def _load(picture: Picture, place: int, order: Channels | None) -> Tensor:
    """One picture as (C, H, W) in 0..1; files and PIL images in the model's order of RGB, arrays as they are."""
    name = f"images[{place}]"
    if isinstance(picture, (str, PathLike)):
        try:
            with Image.open(Path(picture)) as file:
                return _load(file.copy(), place, order)
        except (OSError, UnidentifiedImageError) as error:
            raise SettingError(f"{name}={str(picture)!r} cannot be read as an image: {error}") from error
    if isinstance(picture, Image.Image):
        picture = _ordered(_pixels(picture), order, name)
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"{name} is a {type(picture).__name__}; accepted are paths, PIL images and arrays (H, W, C)")
    if picture.ndim not in (2, 3) or not picture.size:
        raise SettingError(f"{name} is an array {picture.shape}; accepted is (H, W, C) or (H, W)")
    pixels = torch.from_numpy(np.atleast_3d(picture).copy()).permute(2, 0, 1)
    if picture.dtype == np.uint8:
        return pixels.float() / 255
    if picture.dtype.kind != "f":
        raise SettingError(f"{name} holds {picture.dtype}; accepted are uint8, and floats in 0..1")
    if not bool(((pixels >= 0) & (pixels <= 1)).all()):
        low, high = float(pixels.min()), float(pixels.max())
        raise SettingError(f"{name} holds floats from {low:.3g} to {high:.3g}; accepted are 0..1, or uint8")
    return pixels.float()


def _ordered(pixels: np.ndarray[Any, Any], order: Channels | None, name: str) -> np.ndarray[Any, Any]:
    """Red, green and blue, (H, W, 3), at the channels at which the model has them."""
    if order is None or isinstance(order, int) or len(order) == 1:
        return pixels
    if sorted(order) != [0, 1, 2]:
        raise SettingError(
            f"channels={quoted(order)}: {name} has red, green and blue alone; accepted with it is an order of 0, 1, 2"
        )
    return pixels[..., np.argsort(order)]


def _pixels(picture: Image.Image) -> np.ndarray[Any, Any]:
    """RGB of 8 bits; Pillow would cut off what 16 bits hold above 255."""
    if picture.mode.startswith("I"):
        deep: np.ndarray[Any, Any] = np.asarray(picture, np.float32)[..., None].repeat(3, axis=2)
        deep /= 65535 if deep.max(initial=0) > 255 else 255
        return deep
    return np.asarray(picture.convert("RGB"))


def _stack(pictures: list[Tensor], size: Size | None) -> Tensor:
    for place, picture in enumerate(pictures):
        if len(picture) != len(pictures[0]):
            raise SettingError(f"images[{place}] has {len(picture)} channels, images[0] has {len(pictures[0])}")
        if size is None and picture.shape != pictures[0].shape:
            sizes = " and ".join(f"{p.shape[1]}x{p.shape[2]}" for p in (pictures[0], picture))
            raise SettingError(
                f"size=None, but images[0] and images[{place}] differ: {sizes}; pass size=(height, width)"
            )
    if size is None:
        return torch.stack(pictures)
    sides = _checked_size(size)
    resized = [F.interpolate(p[None], sides, mode="bilinear", antialias=True, align_corners=False) for p in pictures]
    return torch.cat(resized).clamp(0, 1)


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


def _checked_size(size: Size) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, (tuple, list)) else ()
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise SettingError(f"size={quoted(size)}; accepted is (height, width) or one number for both, in pixels")
    return sides[0], sides[1]


def _checked_labels(labels: Tensor | Sequence[int] | None, count: int) -> Tensor | None:
    if labels is None:
        return None
    known = torch.as_tensor(labels).detach().cpu()
    if known.dim() == 0 or len(known) != count:
        raise SettingError(
            f"labels has the shape {tuple(known.shape)} for {count} images; accepted is a label an image"
        )
    return known
