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
        is_probable: scores are probabilities already.
        is_dense: scores are (N, K, H, W).
        why: what it was told from.
        doubt: where it could be another: which, and how to say so; else empty.
    """

    kind: str
    classes: int
    is_probable: bool = False
    is_dense: bool = False
    why: str = ""
    doubt: str = ""

    @property
    def has_classes(self) -> bool:
        """Whether an image is of a class."""
        return self.kind in CLASSES

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
            Classes (N,) with NO_CLASS where unknown; of several labels (N, K) in 0..1; of a regression (N, K) float; of
            a segmentation (N, H, W) with NO_CLASS in the void; None where they say nothing of this task's.
        """
        if labels is None:
            return None
        if self.kind == "segmentation":
            return _class_map(labels, self.classes)
        if self.kind == "regression":
            values = labels.float().flatten(1) if labels.dim() > 1 else labels.float()[:, None]
            if self.is_dense:
                return values.mean(1, keepdim=True)
            return values if values.shape[1] in (1, self.classes) else None
        if self.kind == "multilabel":
            return labels.float() if labels.dim() == 2 else None
        return _class_labels(labels, self.classes if self.has_classes else None)

    def truths(self, labels: Tensor | None, count: int) -> list[list[Any]]:
        """Return what is said of each image's truth: its classes, most first, or its values; nothing where unknown."""
        truth = self.truth(labels)
        if truth is None:
            return [[] for _ in range(count)]
        if self.kind == "regression":
            return [row[row.isfinite()].tolist() for row in truth]
        if self.kind == "multilabel":
            return [(row > 0.5).nonzero()[:, 0].tolist() for row in truth]
        if self.kind == "segmentation":
            return [_by_count(one[one >= 0]) for one in truth]
        return [[] if one == NO_CLASS else [int(one)] for one in truth]


def _by_count(pixels: Tensor) -> list[int]:
    classes, counts = torch.unique(pixels, return_counts=True)
    found: list[int] = classes[counts.argsort(descending=True)].tolist()
    return found


def _class_labels(labels: Tensor, classes: int | None) -> Tensor | None:
    """Classes (N,); of soft labels the one of most weight; -1 and 1 of a margin loss are 0 and 1."""
    if labels.dim() == 2 and labels.shape[1] > 1:
        return labels.argmax(1) if labels.shape[1] == classes else None
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


def _class_map(labels: Tensor, classes: int) -> Tensor | None:
    """(N, H, W) classes, NO_CLASS in the void; of a single class that is told by 0 and 255, 255 is the class."""
    if labels.dim() == 4 and labels.shape[1] > 1:  # one plane a class
        found = labels.float().max(1)
        return torch.where(found.values > 0, found.indices, NO_CLASS)
    if labels.dim() not in (3, 4):
        return None
    maps = labels[:, 0] if labels.dim() == 4 else labels
    if maps.is_floating_point():
        maps = (maps > 0.5).long() if bool((maps <= 1).all()) else maps.round().long()
    maps = maps.long()
    if classes == 2 and 1 not in (values := torch.unique(maps).tolist()) and 255 in values:
        return (maps == 255).long()
    return torch.where((maps >= 0) & (maps < classes), maps, NO_CLASS)


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
    same = F.interpolate(predicted[:, None].float(), tuple(truth.shape[1:]), mode="nearest")[:, 0].long()
    wanted, known = classes[:, None, None], truth >= 0
    found, there = (same == wanted) & known, truth == wanted
    return (found & there).sum((1, 2)) / (found | there).sum((1, 2)).float()  # 0 / 0 is NaN
