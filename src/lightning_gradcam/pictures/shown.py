"""The images as people see them, and what is known of them: what any look's maps are drawn over."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gradcam.cam.maps import Cams, Maps, channels_first
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.pictures.appearance import Appearance
from lightning_gradcam.pictures.captions import Answer, Truth, name_of, to_caption, to_truth
from lightning_gradcam.pictures.looks import Caption, Scene, Sight
from lightning_gradcam.pictures.render import Pixels

logger = logging.getLogger(__name__)


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
        unknown: of which of several classes it is not known whether an image is of them; all of them without labels.
        unit: what looks are counted in, "epoch" or "step".
        by_run: maps are drawn as shares of the highest peak their image has had; else each is scaled by itself.
        way: `about`, whatever classes are called: what tells how images are looked at.
    """

    pictures: Sequence[Pixels]
    task: Task
    truths: Sequence[Truth]
    about: str
    class_names: Sequence[str] | None = None
    column_classes: Sequence[int] = ()
    unknown: Sequence[Sequence[int]] = ()
    unit: str = "epoch"
    by_run: bool = False
    way: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.pictures[0].shape[0], self.pictures[0].shape[1]

    @property
    def scene(self) -> Scene:
        """All of it that is drawn at every look."""
        return Scene(self.pictures, self.said, self.about, self.column_names, self.unit)

    @property
    def said(self) -> list[str]:
        """Each image's truth in words."""
        known = zip(self.truths, self.unknown or [()] * len(self.truths), strict=True)
        return [to_truth(self.task, truth, self.class_names, not any(unknown)) for truth, unknown in known]

    def sight(self, found: Maps, step: int = 0, rows: Sequence[int] | None = None) -> Sight:
        """One look at them, or at the images in some rows, whose maps these then are, as it is drawn."""
        peaks = found.peaks.numpy() if isinstance(found, Cams) else None
        return Sight(step, found.maps.float().numpy(), found.states.numpy(), self.captions(found, rows), peaks)

    def captions(self, found: Maps, rows: Sequence[int] | None = None) -> list[Caption]:
        """Return each image's truth and the model's answer, where `rows` is given of the images in these."""
        rows = range(len(self.pictures)) if rows is None else rows
        answers = map(Answer, found.predictions.tolist(), found.scores.tolist(), found.targets[:, 0].tolist())
        known = ((self.truths[row], self.unknown[row] if self.unknown else ()) for row in rows)
        return [
            to_caption(self.task, truth, answer, self.class_names, unknown)
            for (truth, unknown), answer in zip(known, answers, strict=True)
        ]

    @property
    def column_names(self) -> list[str]:
        """A name for each of several targets."""
        return [name_of(one, self.class_names) for one in self.column_classes]


def show_images(
    images: Tensor,
    truth: Tensor | None,
    task: Task,
    appearance: Appearance,
    about: str,
    class_names: Sequence[str] | None = None,
    column_classes: Sequence[int] = (),
    unit: str = "epoch",
    by_run: bool = False,
) -> ShownImages:
    """Make the images, (N, C, H, W) or (N, H, W, C), what people see again; `truth` is what their labels say.

    Raises:
        SettingError: an appearance of other channels than the images have.
    """
    images = channels_first(images)
    appearance.check_fits(images.shape[1])
    if appearance.channels is None and images.shape[1] not in (1, 3):
        taken = (
            "the first is shown as gray" if images.shape[1] == 2 else "the first three are shown as red, green, blue"
        )
        logger.warning("channels=None: of the images' %d channels %s; channels= names others", images.shape[1], taken)
    images = images.abs() if images.is_complex() else images.byte() * 255 if images.dtype == torch.bool else images
    pixels = images.float() if images.is_floating_point() else images
    pictures = appearance.pictures(pixels.cpu().numpy())
    truths, unknown = task.truths(truth, len(images)), task.unknown(truth, len(images))
    return ShownImages(pictures, task, truths, about, class_names, column_classes, unknown, unit, by_run)


class NamesError(SettingError):
    """There are not as many names as classes."""


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


def check_names_fit(class_names: Sequence[str] | None, task: Task) -> None:
    """Refuse names of other classes than a task's; of a task without classes they say nothing.

    Raises:
        NamesError: not as many names as classes.
    """
    if class_names and task.is_of_classes and len(class_names) != task.classes:
        raise NamesError(
            f"class_names has {len(class_names)} names; the model has {task.classes} classes; if its outputs are none, "
            "pass task='none'"
        )
