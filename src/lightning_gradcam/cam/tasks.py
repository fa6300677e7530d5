"""The task: how scores and labels are read, and what labels say."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_gradcam.cam.labels import NO_CLASS, as_masks, as_numbers, is_signed, tidied
from lightning_gradcam.errors import SettingError, nearest, quoted

TASKS = ("binary", "multiclass", "multilabel", "regression", "segmentation", "none")
CLASSES = TASKS[:3]


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
        signed: labels of -1 and 1 are the two classes.
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
    signed: bool = False
    ignored: int | None = None
    why: str = ""
    doubt: str = ""

    @property
    def has_classes(self) -> bool:
        """Whether an image is of a class."""
        return self.kind in CLASSES

    @property
    def is_of_classes(self) -> bool:
        """Whether an image or its pixels are."""
        return self.has_classes or self.kind == "segmentation"

    @property
    def is_foreground(self) -> bool:
        """Whether a segmentation is of one thing and what is around it."""
        return self.kind == "segmentation" and self.classes == 2 and not self.overlaps

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
            Classes (N,) with NO_CLASS where unknown; of several labels (N, K) in 0..1, NaN where unknown; of a
            regression (N, K) float, NaN where unknown; of a segmentation (N, H, W) with NO_CLASS in the void, or
            (N, K, H, W) planes that may overlap, of 1, 0 and NO_CLASS; of a rebuilt image the image (N, C, H, W) where
            labels are images; None where they say nothing of this task's.
        """
        if labels is None:
            return None
        if self.rebuilds and labels.dim() == 4 and labels.shape[1] == self.classes:
            return labels.float()
        labels = tidied(labels, 1 if self.is_single else self.classes, self.is_dense)
        if self.kind == "regression":
            return self._values(labels.float())
        if self.kind == "multilabel":
            return self._several(labels.float())
        labels = as_numbers(labels)
        if self.rebuilds and labels.dim() == 4:
            return labels.float()
        if self.ignored is not None and not labels.is_floating_point():
            labels = torch.where(labels == self.ignored, NO_CLASS, labels)
        if self.kind == "segmentation":
            return self._pixels(labels)
        return self._classes(labels)

    def _values(self, labels: Tensor) -> Tensor | None:
        rows = labels.flatten(1) if labels.dim() > 1 else labels[:, None]
        if self.is_dense:
            return rows.nanmean(1, keepdim=True) if labels.dim() > 2 else None
        return rows if rows.shape[1] in (1, self.classes) else None

    def _several(self, labels: Tensor) -> Tensor | None:
        if labels.dim() != 2 or labels.shape[1] != self.classes:
            return None
        if is_signed(labels):  # as margin losses have them
            return (labels > 0).float()
        return torch.where((labels >= 0) & (labels <= 1), labels, torch.nan)

    def _pixels(self, labels: Tensor) -> Tensor | None:
        if labels.dim() not in (3, 4):
            return None
        if labels.dim() == 4 and labels.shape[1] > 1:  # one plane a class
            if self.overlaps:
                return as_masks(labels)
            found = (labels if labels.is_floating_point() else as_masks(labels)).float().max(1)
            return torch.where(found.values > 0, found.indices, NO_CLASS)
        maps = labels[:, 0] if labels.dim() == 4 else labels
        if maps.is_floating_point() and bool((maps > 1).any()):  # classes, enlarged
            maps = maps.round().long()
        if self.is_single or maps.is_floating_point() or (self.classes == 2 and not bool((maps == 1).any())):
            return as_masks(maps)
        return torch.where((maps >= 0) & (maps < self.classes), maps, NO_CLASS)

    def _classes(self, labels: Tensor) -> Tensor | None:
        """Classes (N,); of soft labels the one of most weight."""
        classes = self.classes if self.has_classes else 2**62
        if labels.dim() == 2 and labels.shape[1] > 1:
            weights = labels.float().nan_to_num(0).max(1)
            return torch.where(weights.values > 0, weights.indices, NO_CLASS) if labels.shape[1] == classes else None
        if labels.dim() > 2:
            return None
        flat = labels.reshape(-1)
        if flat.is_floating_point() and classes == 2 and bool(((flat >= 0) & (flat <= 1)).all()):
            return (flat > 0.5).long()
        known = flat.round().long() if flat.is_floating_point() else flat
        if self.signed:
            return torch.where(known.abs() == 1, (known > 0).long(), NO_CLASS)
        return torch.where((known >= 0) & (known < classes), known, NO_CLASS)

    def unknown(self, truth: Tensor | None, count: int) -> list[list[int]]:
        """Return of which of several classes it is not known whether an image is of them: of all, without labels."""
        if self.kind != "multilabel":
            return [[] for _ in range(count)]
        if truth is None:
            return [[*range(self.classes)] for _ in range(count)]
        return [row.isnan().nonzero()[:, 0].tolist() for row in truth]

    def truths(self, truth: Tensor | None, count: int) -> list[list[Any]]:
        """Return what is said of each image's truth: its classes, most first, or its values; nothing where unknown.

        Args:
            truth: what `truth` gives.
            count: of how many images.
        """
        if truth is None:
            return [[] for _ in range(count)]
        if self.kind == "regression":
            return [[] if bool(row.isnan().all()) else row.tolist() for row in truth]
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
    counts = planes.clamp(min=0).sum((1, 2))
    return [int(one) for one in counts.argsort(descending=True) if counts[one]]


def check_task(task: object) -> None:
    """Refuse what is no task.

    Raises:
        SettingError: with the nearest.
    """
    if task is not None and task not in TASKS:
        raise SettingError(
            f"task={quoted(task)} is unknown{nearest(str(task), TASKS)}; known are {', '.join(TASKS)}, or None"
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
