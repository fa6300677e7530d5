"""From scores and what is true to the scalar that is differentiated, one an image and target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_gradcam.cam.labels import NO_CLASS
from lightning_gradcam.cam.tasks import Task, intersection_over_union
from lightning_gradcam.errors import SettingError, nearest, quoted

Target = str | int | Sequence[int] | Callable[[Any, Tensor | None], Tensor] | Sequence[Callable[[Tensor], Tensor]]

WORDS = ("label", "predicted")


@dataclass(frozen=True)
class Scores:
    """A model's scores, read as one value an image and class.

    Attributes:
        values: (N, K), differentiable. A single logit s is the two classes (-s, s), so that class 0 has its own
            evidence; dense scores (N, K, H, W) are summed over the pixels predicted as each class, or over all where
            none is, of a regression their mean; a rebuilt image is its squared error, (N, 1).
        classes: (N,) the predicted class; zeros where there are none.
        told: (N, S) what captions say: the predicted class's probability in 0..1 (softmax; sigmoid for single logits
            and multi-label scores; for dense scores the mean over its pixels); a regression's values; the squared norm
            of an embedding; a rebuilt image's mean squared error.
        pixels: (N, H, W) the predicted class of each pixel of a segmentation, or None.
        are_numbers: (N,) bool, whether one of the classes' scores can be the highest; None where there are no classes.
    """

    values: Tensor
    classes: Tensor
    told: Tensor
    pixels: Tensor | None = None
    are_numbers: Tensor | None = None

    @property
    def predictions(self) -> Tensor:
        """(N,) the predicted class; NO_CLASS where the scores are not finite, of which none is the highest."""
        return self.classes if self.are_numbers is None else torch.where(self.are_numbers, self.classes, NO_CLASS)


def read_scores(scores: Tensor, task: Task, images: Tensor, truth: Tensor | None = None) -> Scores:
    """Read a chunk's scores.

    Args:
        scores: (N,), (N, K), (N, H, W) or (N, K, H, W).
        task: how.
        images: (N, C, H, W), what the scores are of.
        truth: what labels say of them, as `Task.truth` gives it: a rebuilt image's, where it is not the image itself.
    """
    if task.is_dense:
        wanted = images if truth is None or truth.dim() < 4 else truth
        return _READ_DENSE[task.kind](scores if scores.dim() == 4 else scores[:, None], task, wanted)
    rows = scores[:, None] if scores.dim() == 1 else scores
    detached = rows.detach().float()
    if not task.is_of_classes:
        none = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
        return Scores(rows, none, detached if task.kind == "regression" else detached.square().sum(1, keepdim=True))
    shares = probabilities(detached, task)
    if rows.shape[1] == 1:
        rows, classes = torch.cat([-rows, rows], dim=1), (shares[:, 1] > 0.5).long()
    else:
        classes = detached.argmax(1)
    told = shares.gather(1, classes[:, None])
    return Scores(rows, classes, told, are_numbers=told[:, 0].isfinite())


def probabilities(scores: Tensor, task: Task) -> Tensor:
    """Return each class's probability in 0..1, (N, K, ...), of scores (N, K, ...); of a single one as two classes."""
    if scores.shape[1] == 1:
        second = scores if task.link == "identity" else scores.sigmoid()
        return torch.cat([1 - second, second], dim=1)
    if task.link == "identity":
        return scores
    return scores.sigmoid() if task.link == "sigmoid" else scores.softmax(1)


def regions(pixels: Tensor, classes: int) -> Tensor:
    """Return where each class is predicted, as zeros and ones: (N, H, W), or (N, K, H, W) planes, to (N, K, H, W)."""
    return pixels.float() if pixels.dim() == 4 else F.one_hot(pixels, classes).movedim(-1, 1).float()


def or_everywhere(regions: Tensor) -> Tensor:
    """Return the regions, (N, K, H, W), and all of the image for a class that is nowhere."""
    return torch.where(regions.flatten(2).any(2)[..., None, None], regions, 1)


def _read_segmentation(scores: Tensor, task: Task, images: Tensor) -> Scores:
    shares = probabilities(scores.detach().float(), task)
    if scores.shape[1] == 1:  # one foreground score a pixel
        scores = torch.cat([-scores, scores], dim=1)
    pixels = (shares > 0.5).long() if task.overlaps else shares.argmax(1)
    are_finite = shares.isfinite().all(1)  # a pixel that is not is of no class
    chosen = regions(pixels, shares.shape[1]) * are_finite[:, None]
    counts = chosen.sum((2, 3))
    classes = counts.argmax(1)
    sure = (shares.nan_to_num(0) * chosen).sum((2, 3)) / counts.clamp(min=1)
    values = (scores * or_everywhere(chosen)).sum((2, 3))
    return Scores(values, classes, sure.gather(1, classes[:, None]), pixels, are_finite.flatten(1).any(1))


def _read_dense_values(scores: Tensor, task: Task, images: Tensor) -> Scores:
    values = scores.float().mean((1, 2, 3))[:, None]
    return Scores(values, torch.zeros_like(values[:, 0], dtype=torch.long), values.detach())


def _read_rebuilt(scores: Tensor, task: Task, images: Tensor) -> Scores:
    values = (scores.float() - images.to(scores.device).float()).square().mean((1, 2, 3))[:, None]
    return Scores(values, torch.zeros_like(values[:, 0], dtype=torch.long), values.detach())


_READ_DENSE = {"segmentation": _read_segmentation, "regression": _read_dense_values, "none": _read_rebuilt}


@dataclass(frozen=True)
class Batch:
    """What targets are made from.

    Attributes:
        output: a chunk's raw output.
        rows: the scores in it, as they stand there.
        scores: the scores, read.
        task: how they were.
        labels: the chunk's, as the batch had them.
        truth: what they say, as `Task.truth` gives it.
        place: where the chunk lies in the set.
    """

    output: Any
    rows: Tensor
    scores: Scores
    task: Task
    labels: Tensor | None
    truth: Tensor | None
    place: slice


def check_target(target: Target) -> None:
    """Refuse what can be no target.

    Raises:
        SettingError: an unknown word, a negative class, an empty sequence.
        TypeError: anything else that is not accepted.
    """
    if isinstance(target, str):
        if target not in WORDS:
            raise SettingError(f"target={quoted(target)} is neither 'label' nor 'predicted'{nearest(target, WORDS)}")
    elif isinstance(target, Sequence) and not len(target):
        raise SettingError("target=[] names no class; accepted are one or several classes")
    elif not (classes_of(target) or objects_of(target) or callable(target)):
        raise TypeError(
            f"target={quoted(target)}: accepted are 'label', 'predicted', a class, several classes, "
            "callable(output, labels) -> (N,), or a list of grad-cam targets, one an image"
        )
    for one in classes_of(target):
        if one < 0:
            raise SettingError(f"target={one} is no class; classes count from 0")


def check_target_fits(target: Target, task: Task, images: int) -> None:
    """Refuse a class that the scores do not have, and a list of targets of another length than the images.

    Raises:
        SettingError: with the number of classes or images.
    """
    for one in classes_of(target):
        if one >= task.columns:
            raise SettingError(
                f"target={quoted(target)}{'' if target == one else f': {one}'} is no class of this model, which has "
                f"{task.columns} (0 to {task.columns - 1})"
            )
    objects = objects_of(target)
    if objects and len(objects) != images:
        raise SettingError(f"target has {len(objects)} target objects for {images} images; pass one an image")


def classes_of(target: Target) -> list[int]:
    """Return the classes that a target names by number; none for a word, a callable or target objects."""
    given = [target] if isinstance(target, int) else target
    if isinstance(given, Sequence) and all(isinstance(one, int) and not isinstance(one, bool) for one in given):
        return [int(one) for one in given if isinstance(one, int)]
    return []


def objects_of(target: Target) -> list[Callable[[Tensor], Tensor]]:
    """Return grad-cam's target objects, one an image, where the target is a list of such."""
    if isinstance(target, Sequence) and all(callable(one) for one in target):
        return [one for one in target if callable(one)]
    return []


@dataclass(frozen=True)
class Objective:
    """What is differentiated of a chunk, and what it stands for.

    Attributes:
        scores: (N, K), differentiable; or (N, 1), what is made of them where that is no sum of theirs.
        classes: (N, T) the explained class; NO_CLASS where the target is no single class. T is the number of classes
            that the target names, else 1.
        weights: (N, T, K) by which the scores are summed, or None where they are none.
    """

    scores: Tensor
    classes: Tensor
    weights: Tensor | None = None

    @property
    def values(self) -> Tensor:
        """Each target's value, (N, T), differentiable."""
        return self.scores if self.weights is None else (self.scores[:, None] * self.weights).sum(2)

    @property
    def slopes(self) -> tuple[Tensor, ...]:
        """The gradient of each target's value by the scores, (N, K) each of T: what a backward pass begins with."""
        return (torch.ones_like(self.scores),) if self.weights is None else self.weights.unbind(1)

    def columns(self, count: int) -> "Objective":
        """Return the first targets alone."""
        weights = None if self.weights is None else self.weights[:, :count]
        return replace(self, classes=self.classes[:, :count], weights=weights)


def objective(target: Target, batch: Batch) -> Objective:
    """Return what is differentiated.

    Raises:
        SettingError: a callable that returns other than (N,).
    """
    values = batch.scores.values
    if callable(target):
        return Objective(_column(_called(target, batch)), _no_class(values))
    if objects := objects_of(target)[batch.place]:
        rows = zip(objects, batch.rows, strict=True)
        found = torch.stack([one(row) for one, row in rows])
        if found.numel() != len(values):
            raise SettingError(f"target: the target objects gave {tuple(found.shape)}, not one value an image")
        return Objective(_column(found), _no_class(values))
    if not classes_of(target) and batch.task.kind == "none" and not batch.task.is_dense:
        return Objective(_column(values.square().sum(1)), _no_class(values))
    return Objective(values, *_weighted(target, batch))


def told(batch: Batch, classes: Tensor) -> Tensor:
    """Return what captions say of each image, (N, S): of a segmentation whose truth is known, how good it is."""
    if batch.scores.pixels is None or batch.truth is None:
        return batch.scores.told
    truth = batch.truth.to(classes.device, non_blocking=True)
    overlap = intersection_over_union(batch.scores.pixels, truth, classes[:, 0].clamp(min=0))
    is_known = (truth >= 0).flatten(1).any(1) & (classes[:, 0] != NO_CLASS)
    return torch.where(is_known, overlap, batch.scores.told[:, 0])[:, None]


def _weighted(target: Target, batch: Batch) -> tuple[Tensor, Tensor]:
    """The explained classes, (N, T), and the scores' weights, (N, T, K)."""
    values, task = batch.scores.values, batch.task
    count = values.shape[1]
    if named := classes_of(target):
        classes = torch.tensor(named).to(values.device, non_blocking=True).expand(len(values), -1)
        return classes, F.one_hot(classes, count).to(values.dtype)
    if task.kind == "regression" or task.rebuilds:
        classes = torch.zeros_like(values[:, :1], dtype=torch.long) if count == 1 else _no_class(values)
        return classes if task.kind == "regression" else _no_class(values), torch.ones_like(values)[:, None]
    if task.kind == "multilabel" and target == "label" and batch.truth is not None:
        return _all_true_classes(batch.truth.nan_to_num(0).to(values, non_blocking=True), batch.scores)
    explained, told = batch.scores.classes, batch.scores.predictions
    if target == "label":
        explained, told = _true_classes(batch, explained), _true_classes(batch, told)
    return told[:, None], F.one_hot(explained[:, None], count).to(values.dtype)


def _all_true_classes(weights: Tensor, scores: Scores) -> tuple[Tensor, Tensor]:
    """The evidence for all of an image's classes, which are weighted, (N, K); where it has none for the prediction."""
    has_none = ~(weights > 0).any(1)
    predicted = F.one_hot(scores.classes, weights.shape[1]).to(weights.dtype)
    classes = torch.where(has_none, scores.predictions, NO_CLASS)
    return classes[:, None], torch.where(has_none[:, None], predicted, weights)[:, None]


def _true_classes(batch: Batch, predicted: Tensor) -> Tensor:
    """The label's class of each image, (N,); the predicted one where it is unknown."""
    truth = batch.truth
    if batch.task.kind == "segmentation":
        if batch.task.is_foreground:
            return torch.ones_like(predicted)
        truth = None if truth is None else most_frequent(truth, batch.task)
    if truth is None:
        return predicted
    known = truth.to(predicted.device, non_blocking=True)
    return torch.where(known == NO_CLASS, predicted, known)


def most_frequent(truth: Tensor, task: Task) -> Tensor:
    """Return the class of most labelled pixels, of (N, H, W) or (N, K, H, W), (N,); NO_CLASS where none is labelled."""
    if truth.dim() == 4:
        counts = truth.clamp(min=0).sum((2, 3))
    else:
        counts = torch.stack([torch.bincount(one[one >= 0].flatten(), minlength=task.classes) for one in truth])
    return torch.where(counts.sum(1) > 0, counts.argmax(1), NO_CLASS)


def _called(target: Callable[[Any, Tensor | None], Tensor], batch: Batch) -> Tensor:
    labels, images = batch.labels, len(batch.scores.classes)
    value = target(batch.output, None if labels is None else labels.to(batch.scores.values.device))
    if not isinstance(value, Tensor) or value.shape != (images,):
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise SettingError(f"target={quoted(target)} returned {got}, not one value an image, ({images},)")
    return value


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1)


def _no_class(values: Tensor) -> Tensor:
    return torch.full((len(values), 1), NO_CLASS, device=values.device)
