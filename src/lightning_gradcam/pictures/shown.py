"""The images as people see them, and what is known of them: what any look's maps are drawn over."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lightning_gradcam.cam.maps import Maps, channels_first
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.pictures.captions import Answer, Caption, Truth, name_of, to_caption
from lightning_gradcam.pictures.render import Floats, Pixels, Sides, fitted

Statistics = float | Sequence[float]  # one for all channels, or one a channel


@dataclass(frozen=True)
class ShownImages:
    """Images to draw maps over.

    Attributes:
        pictures: one (H, W, 3) an image, as people see it.
        task: how scores and labels are read.
        truths: each image's classes, or its values in a regression.
        about: what the pictures are of, for their headers: target, method, task.
        class_names: a name for each class, or None.
        column_classes: with several targets, the classes that they are.
        unknown: of which of several classes it is not known whether an image is of them.
        unit: what looks are counted in, "epoch" or "step".
    """

    pictures: Sequence[Pixels]
    task: Task
    truths: Sequence[Truth]
    about: str
    class_names: Sequence[str] | None = None
    column_classes: Sequence[int] = ()
    unknown: Sequence[Sequence[int]] = ()
    unit: str = "epoch"

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.pictures[0].shape[0], self.pictures[0].shape[1]

    def at(self, sides: Sides) -> list[Pixels]:
        """Return the pictures with their longer side brought between two sizes."""
        return [fitted(picture, sides) for picture in self.pictures]

    def captions(self, found: Maps) -> list[Caption]:
        """Return each image's truth and the model's answer."""
        answers = map(Answer, found.predictions.tolist(), found.scores.tolist(), found.targets[:, 0].tolist())
        known = zip(self.truths, self.unknown or [()] * len(self.truths), answers, strict=True)
        labelled = any(map(len, self.truths))
        return [
            to_caption(self.task, truth, answer, self.class_names, labelled and answer.prediction not in unknown)
            for truth, unknown, answer in known
        ]

    @property
    def column_names(self) -> list[str]:
        """A name for each of several targets."""
        return [name_of(one, self.class_names) for one in self.column_classes]


def show_images(
    images: Tensor,
    truth: Tensor | None,
    task: Task,
    mean: Statistics | None,
    std: Statistics | None,
    about: str,
    class_names: Sequence[str] | None = None,
    column_classes: Sequence[int] = (),
    unit: str = "epoch",
) -> ShownImages:
    """Make the images, (N, C, H, W) or (N, H, W, C), what people see again; `truth` is what their labels say.

    Raises:
        SettingError: mean or std of another length than the images have channels.
    """
    images = channels_first(images)
    check_channels(mean, std, images.shape[1])
    pixels = images.float() if images.is_floating_point() else images
    pictures = to_pictures(pixels.cpu().numpy(), mean, std)
    truths, unknown = task.truths(truth, len(images)), task.unknown(truth, len(images))
    return ShownImages(pictures, task, truths, about, class_names, column_classes, unknown, unit)


def to_pictures(images: Floats | Pixels, mean: Statistics | None, std: Statistics | None) -> list[Pixels]:
    """Images as people see them.

    Args:
        images: (N, C, H, W); one channel is gray, of more than three the first three are shown.
        mean: what was subtracted in normalising, one for all channels or one a channel; None with `std` None
            stretches each image to its own range (whole numbers are pixel values 0..255 and stay).
        std: what was divided by.

    Returns:
        N arrays (H, W, 3).
    """
    channels = images[:, : 1 if images.shape[1] < 3 else 3]
    if mean is not None and std is not None:
        used = [
            np.resize(np.asarray(values, np.float32), images.shape[1])[: channels.shape[1]] for values in (mean, std)
        ]
        shown = channels * used[1][:, None, None] + used[0][:, None, None]
    elif np.issubdtype(images.dtype, np.integer):
        shown = channels / np.float32(255)
    else:
        lowest = channels.min((1, 2, 3), keepdims=True)
        shown = (channels - lowest) / np.maximum(channels.max((1, 2, 3), keepdims=True) - lowest, 1e-12)
    pixels = (np.nan_to_num(shown).clip(0, 1) * 255).round().astype(np.uint8)
    return [np.repeat(p, 3 // len(p), axis=0).transpose(1, 2, 0) for p in pixels]


def check_names(class_names: object) -> None:
    """Refuse what are no names of classes.

    Raises:
        TypeError: other than a sequence of strings, at least one.
    """
    if class_names is None:
        return
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise TypeError(f"class_names={quoted(class_names)}; accepted is a sequence of names, one a class")
    if not class_names or not all(isinstance(name, str) for name in class_names):
        raise TypeError(f"class_names={quoted(class_names)}; accepted are strings, one a class")


def check_statistics(mean: Statistics | None, std: Statistics | None) -> None:
    """Refuse a mean without a std or the other way round, and what are no finite numbers, std's positive.

    Raises:
        SettingError: naming the argument.
        TypeError: other than numbers.
    """
    if (mean is None) != (std is None):
        raise SettingError(f"mean={quoted(mean)} and std={quoted(std)}: accepted are both or neither")
    for name, values in (("mean", mean), ("std", std)):
        numbers = [] if values is None else [values] if isinstance(values, (int, float)) else values
        if not isinstance(numbers, Sequence) or not all(type(number) in (int, float) for number in numbers):
            raise TypeError(f"{name}={quoted(values)}: accepted is a number, or a number a channel")
        if values is not None and not numbers:
            raise SettingError(f"{name}={quoted(values)} is empty; accepted is a number, or a number a channel")
        if not all(math.isfinite(number) and (name == "mean" or number > 0) for number in numbers):
            raise SettingError(
                f"{name}={quoted(values)}: accepted are finite numbers" + (" above 0" if name == "std" else "")
            )


def check_channels(mean: Statistics | None, std: Statistics | None, channels: int) -> None:
    """Refuse a mean or std of other than one number, or one a channel.

    Raises:
        SettingError: naming the argument.
    """
    for name, values in (("mean", mean), ("std", std)):
        if isinstance(values, Sequence) and len(values) not in (1, channels):
            raise SettingError(f"{name} has {len(values)} numbers; the images have {channels} channels")
