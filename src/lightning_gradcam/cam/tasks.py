"""The task: how scores and labels are read, and what labels say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_gradcam.errors import SettingError, nearest

TASKS = ("binary", "multiclass", "multilabel", "regression", "segmentation", "none")
CLASSES = TASKS[:3]
NO_CLASS = -1  # where a target or label is no single class
VOID = (255, -100)  # what data sets and losses mark pixels and images with that have no label; and all below 0


@dataclass(frozen=True)
class Task:
    """How scores and labels are read.

    Attributes:
        kind: one of `TASKS`.
        classes: how many values an image has: classes (2 of a single logit), outputs, or places of an embedding.
        link: what makes probabilities of scores: "softmax", "sigmoid", or "identity" where they are such already.
        is_dense: scores are (N, K, H, W).
        is_single: one score tells two classes apart.
        overlaps: a pixel may be of several classes: labels are a plane each.
        ignored: a label that the module's losses leave out.
        why: what it was told from.
        doubt: where it could be another: which, and how to say so; else empty.
    """

    kind: str
    classes: int
    link: str = "softmax"
    is_dense: bool = False
    is_single: bool = False
    overlaps: bool = False
    ignored: int | None = None
    why: str = ""
    doubt: str = ""

    @property
    def has_classes(self) -> bool:
        """Whether an image is of a class."""
        return self.kind in CLASSES

    @property
    def columns(self) -> int:
        """How many values an image has that a target can name."""
        return 1 if self.is_dense and self.kind != "segmentation" else self.classes

    @property
    def rebuilds(self) -> bool:
        """Whether the output is an image, which is compared with the model's input."""
        return self.kind == "none" and self.is_dense

    @property
    def own_value(self) -> str:
        """What is explained where there are no classes."""
        return "squared error" if self.rebuilds else "squared norm of the output"

    def truth(self, labels: Tensor | None) -> Tensor | None:
        """Return what labels say, on the CPU.

        Returns:
            Classes (N,) with NO_CLASS where unknown; of several labels (N, K) in 0..1, 0 where unknown; of a regression
            (N, K) float; of a segmentation (N, H, W) with NO_CLASS in the void, or (N, K, H, W) planes of 0 and 1 that
            may overlap; of a rebuilt image the image (N, C, H, W) where labels are images; None where they say nothing
            of this task's.
        """
        if labels is None:
            return None
        labels = as_numbers(labels)
        if self.ignored is not None and not labels.is_floating_point():
            labels = torch.where(labels == self.ignored, NO_CLASS, labels.long())
        if self.kind == "segmentation":
            return (labels > 0.5).long() if self.overlaps and labels.dim() == 4 else _class_map(labels, self)
        if self.rebuilds and labels.dim() == 4:
            return labels.float()
        if self.kind == "regression":
            values = labels.float().flatten(1) if labels.dim() > 1 else labels.float()[:, None]
            if self.is_dense:
                return values.mean(1, keepdim=True)
            return values if values.shape[1] in (1, self.classes) else None
        if self.kind == "multilabel":
            return labels.float().nan_to_num(0).clamp(min=0) if labels.dim() == 2 else None
        return _class_labels(labels, self.classes if self.has_classes else None)

    def truths(self, labels: Tensor | None, count: int) -> list[list[Any]]:
        """Return what is said of each image's truth: its classes, most first, or its values; nothing where unknown."""
        truth = self.truth(labels)
        if truth is None:
            return [[] for _ in range(count)]
        if self.kind == "regression":
            return [row.tolist() for row in truth]
        if self.rebuilds and truth.dim() == 4:
            return [[] for _ in range(count)]
        if self.kind == "multilabel":
            return [(row > 0.5).nonzero()[:, 0].tolist() for row in truth]
        if self.kind == "segmentation":
            planes = truth if self.overlaps and truth.dim() == 4 else None
            return [_by_count(one[one >= 0]) for one in truth] if planes is None else [_by_plane(one) for one in planes]
        return [[] if one == NO_CLASS else [int(one)] for one in truth]


def _by_count(pixels: Tensor) -> list[int]:
    classes, counts = torch.unique(pixels, return_counts=True)
    found: list[int] = classes[counts.argsort(descending=True)].tolist()
    return found


def _by_plane(planes: Tensor) -> list[int]:
    counts = planes.sum((1, 2))
    return [int(one) for one in counts.argsort(descending=True) if counts[one]]


def _class_labels(labels: Tensor, classes: int | None) -> Tensor | None:
    """Classes (N,); of soft labels the one of most weight; -1 and 1 of a margin loss are 0 and 1."""
    if labels.dim() == 2 and labels.shape[1] > 1:
        weights = labels.float().nan_to_num(0).max(1)
        return torch.where(weights.values > 0, weights.indices, NO_CLASS) if labels.shape[1] == classes else None
    if labels.dim() > 2:
        return None
    flat = labels.reshape(len(labels), -1)[:, 0]
    if flat.is_floating_point() and classes == 2 and bool(((flat >= 0) & (flat <= 1)).all()):
        return (flat > 0.5).long()
    known = flat.round().long() if flat.is_floating_point() else flat.long()
    if classes == 2 and is_signed(known):
        return (known > 0).long()
    known_classes = (known >= 0) & (known < (classes or 2**62))
    return torch.where(known_classes, known, NO_CLASS)


def _class_map(labels: Tensor, task: Task) -> Tensor | None:
    """(N, H, W) classes, NO_CLASS in the void; where one score tells a foreground, masks of 0 to 255 are of it."""
    classes = task.classes
    if labels.dim() == 4 and labels.shape[1] > 1:  # one plane a class
        found = labels.float().max(1)
        return torch.where(found.values > 0, found.indices, NO_CLASS)
    if labels.dim() not in (3, 4):
        return None
    maps = labels[:, 0] if labels.dim() == 4 else labels
    if maps.is_floating_point():
        maps = (maps > 0.5).long() if bool((maps <= 1).all()) else maps.round().long()
    maps = maps.long()
    if task.is_single and bool((maps > 1).any()) and not is_subset(maps, (0, 1, 255, NO_CLASS, -100)):
        return (maps > 127).long()  # as JPEG's noise leaves them
    if task.is_single and 1 not in (values := torch.unique(maps).tolist()) and 255 in values:
        return (maps == 255).long()
    return torch.where((maps >= 0) & (maps < classes), maps, NO_CLASS)


def as_numbers(labels: Tensor) -> Tensor:
    """Return labels in a type that torch compares: whole numbers as int64, also those that are floats or bool."""
    if labels.is_floating_point():
        return labels.long() if bool((labels == labels.round()).all()) else labels
    return labels.long()


def is_signed(labels: Tensor) -> bool:
    """Whether labels are -1 and 1, as margin losses have them."""
    return is_subset(labels, (-1, 1)) and bool((labels == -1).any()) and bool((labels == 1).any())


def is_subset(labels: Tensor, values: Sequence[int]) -> bool:
    """Whether labels are of some values alone."""
    return bool(torch.isin(labels, torch.tensor(values, dtype=labels.dtype, device=labels.device)).all())


def check_task(task: object) -> None:
    """Refuse what is no task.

    Raises:
        SettingError: with the nearest.
    """
    if task is not None and task not in TASKS:
        raise SettingError(
            f"task={task!r} is unknown{nearest(str(task), TASKS)}; known are {', '.join(TASKS)}, or None"
        )


def intersection_over_union(predicted: Tensor, truth: Tensor, classes: Tensor) -> Tensor:
    """Return how well one class an image is segmented, (N,) in 0..1; NaN where neither has any.

    Args:
        predicted: (N, h, w) classes; brought to the size of the truth by their nearest.
        truth: (N, H, W) classes; what is below 0 is left out.
        classes: (N,) which.
    """
    if predicted.dim() == 4:  # planes that may overlap: of each image its class's
        rows = torch.arange(len(classes), device=predicted.device)
        return intersection_over_union(predicted[rows, classes], truth[rows, classes], torch.ones_like(classes))
    same = F.interpolate(predicted[:, None].float(), tuple(truth.shape[1:]), mode="nearest-exact")[:, 0].long()
    wanted, known = classes[:, None, None], truth >= 0
    found, there = (same == wanted) & known, truth == wanted
    return (found & there).sum((1, 2)) / (found | there).sum((1, 2)).float()  # 0 / 0 is NaN
