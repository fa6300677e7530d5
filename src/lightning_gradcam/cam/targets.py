"""From a model's output and the labels to the scalar that is differentiated, one an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_gradcam.errors import SettingError, nearest

Target = str | int | Sequence[int] | Callable[[Any, Tensor | None], Tensor] | Sequence[Callable[[Tensor], Tensor]]

NO_CLASS = -1  # where a target or label is no single class
WORDS = ("label", "predicted")
_OUTPUT_NAMES = ("logits", "out", "pred", "preds", "prediction", "predictions", "scores", "output", "y_hat")


def unwrap(output: Any) -> Tensor:
    """Find the scores in a model's output: a tensor, the first of a tuple, an entry or attribute of a usual name.

    Raises:
        SettingError: nothing like scores in it.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        named = [output[name] for name in _OUTPUT_NAMES if name in output] or list(output.values())[: len(output) == 1]
        if named:
            return unwrap(named[0])
    elif isinstance(output, (tuple, list)) and output:
        return unwrap(output[0])
    elif hasattr(output, "logits"):
        return unwrap(output.logits)
    held = f"a dict with the keys {list(output)}" if isinstance(output, Mapping) else f"a {type(output).__name__}"
    raise SettingError(
        f"output=None found no scores in what the model returned, {held}; accepted are a tensor, a tuple that starts "
        f"with one, a dict with one of {', '.join(_OUTPUT_NAMES)}, or an object with .logits; for all else pass "
        "output=callable(model, images) -> scores"
    )


@dataclass(frozen=True)
class Scores:
    """A model's scores, read as one value an image and class.

    Attributes:
        values: (N, K), differentiable. A single logit s is the two classes (-s, s), so that class 0 has its own
            evidence; a regression is one class; dense scores (N, K, H, W) are summed over the pixels predicted as each.
        classes: (N,) the predicted class.
        confidence: (N,) its probability in 0..1 (softmax; sigmoid for single logits and multi-label scores; for dense
            scores the mean over its pixels); for a regression the value itself.
    """

    values: Tensor
    classes: Tensor
    confidence: Tensor


def read_scores(scores: Tensor, labels: Tensor | None) -> Scores:
    """Read scores as (N,), (N, 1), (N, K) or (N, K, H, W); `labels` tell a regression or multi-label task apart.

    Raises:
        SettingError: scores of another shape.
    """
    if scores.dim() == 1:
        scores = scores.unsqueeze(1)
    if scores.dim() == 4:
        return _dense(scores)
    if scores.dim() != 2:
        raise SettingError(
            f"output={tuple(scores.shape)}: scores are (N,), (N, classes) or (N, classes, H, W); pass "
            "output=callable(model, images) that returns such"
        )
    if scores.shape[1] == 1:
        return _single(scores, labels)
    detached = scores.detach()
    classes = detached.argmax(1)
    probabilities = _sigmoid(detached) if is_multi_label(labels) else _softmax(detached)
    return Scores(scores, classes, probabilities.gather(1, classes[:, None])[:, 0])


def is_multi_label(labels: Tensor | None) -> bool:
    """Whether labels are (N, K) of zeros and ones with other than one class an image."""
    return labels is not None and labels.dim() == 2 and labels.shape[1] > 1 and bool((labels.sum(1) != 1).any())


def is_regression(labels: Tensor | None) -> bool:
    """Whether labels of a single output are numbers, rather than the classes 0 and 1."""
    return labels is not None and labels.is_floating_point() and not bool(((labels == 0) | (labels == 1)).all())


def label_classes(labels: Tensor | None, count: int) -> Tensor:
    """Return each image's class, (N,); NO_CLASS where its label names none or several.

    Integers (N,) are classes; floats (N, K) one-hot; label maps (N, H, W) count as their most frequent class.
    """
    if labels is None or is_regression(labels) or is_multi_label(labels):
        return torch.full((count,), NO_CLASS)
    if labels.dim() == 3:
        return torch.stack([torch.mode(image.flatten().long())[0] for image in labels])
    if labels.dim() == 2 and labels.shape[1] > 1:
        return labels.argmax(1)
    return labels.reshape(len(labels), -1)[:, 0].long()


def truths(labels: Tensor | None, count: int) -> list[list[int] | float]:
    """Return what each label says: its classes (none where unknown), or a regression's value."""
    if labels is not None and is_regression(labels):
        return [float(value) for value in labels.reshape(count, -1)[:, 0]]
    if labels is not None and is_multi_label(labels):
        return [row.nonzero()[:, 0].tolist() for row in labels]
    return [[] if one == NO_CLASS else [int(one)] for one in label_classes(labels, count)]


def _single(scores: Tensor, labels: Tensor | None) -> Scores:
    value = scores.detach()[:, 0]
    if is_regression(labels):
        return Scores(scores, torch.zeros_like(value, dtype=torch.long), value)
    return Scores(torch.cat([-scores, scores], dim=1), (value > 0).long(), _sigmoid(value.abs()))


def _dense(scores: Tensor) -> Scores:
    detached = scores.detach()
    if scores.shape[1] == 1:  # one foreground logit a pixel
        detached = torch.cat([-detached, detached], dim=1)
        scores = torch.cat([-scores, scores], dim=1)
    pixels = F.one_hot(detached.argmax(1), scores.shape[1]).movedim(-1, 1).float()  # no half: they are counted
    counts = pixels.sum((2, 3))
    classes = counts.argmax(1)
    mean = (_softmax(detached) * pixels).sum((2, 3)) / counts.clamp(min=1)
    return Scores((scores * pixels).sum((2, 3)), classes, mean.gather(1, classes[:, None])[:, 0])


def _softmax(scores: Tensor) -> Tensor:
    """Probabilities of scores; what is probabilities already (rows in 0..1 that sum to 1) stays."""
    scores = scores.float()
    given = ((scores >= 0) & (scores <= 1)).all(1, keepdim=True) & ((scores.sum(1, keepdim=True) - 1).abs() < 1e-3)
    return torch.where(given, scores, scores.softmax(1))


def _sigmoid(scores: Tensor) -> Tensor:
    return scores.float().sigmoid()


@dataclass(frozen=True)
class Batch:
    """What targets are made from: a chunk's raw output, its scores, its labels and where in the probe it lies."""

    output: Any
    scores: Scores
    labels: Tensor | None
    rows: slice


def check_target(target: Target) -> None:
    """Refuse what can be no target.

    Raises:
        SettingError: an unknown word, a negative class, an empty sequence.
        TypeError: anything else that is not accepted.
    """
    if isinstance(target, str):
        if target not in WORDS:
            raise SettingError(f"target={target!r} is neither 'label' nor 'predicted'{nearest(target, WORDS)}")
    elif isinstance(target, Sequence) and not len(target):
        raise SettingError("target=[] names no class; accepted are one or several classes")
    elif not (classes_of(target) or objects_of(target) or callable(target)):
        raise TypeError(
            f"target={target!r}: accepted are 'label', 'predicted', a class, several classes, "
            "callable(output, labels) -> (N,), or a list of grad-cam targets, one an image"
        )
    for one in classes_of(target):
        if one < 0:
            raise SettingError(f"target={one} is no class; classes count from 0")


def check_target_fits(target: Target, scores: Scores, labels: Tensor | None, images: int) -> None:
    """Refuse a class or label that the scores do not have, and a list of targets of another length than the images.

    Raises:
        SettingError: with the number of classes or images.
    """
    count = scores.values.shape[1]
    for one in classes_of(target):
        if one >= count:
            raise SettingError(f"target={one} is no class of this model, which has {count} (0 to {count - 1})")
    objects = objects_of(target)
    if objects and len(objects) != images:
        raise SettingError(f"target has {len(objects)} target objects for {images} images; pass one an image")
    if target == "label" and labels is not None and count > 1 and not is_multi_label(labels):
        _known_classes(labels, images, count)


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


def objectives(target: Target, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return what is differentiated, (N, T), and the classes that it stands for, (N, T).

    T is the number of classes that the target names, else 1; a class is NO_CLASS where the target is no single class.

    Raises:
        SettingError: a label that is no class, or a callable that returns other than (N,).
    """
    values = batch.scores.values
    if callable(target):
        return _column(_called(target, batch)), _no_class(values)
    if objects := objects_of(target)[batch.rows]:
        rows = zip(objects, unwrap(batch.output), strict=True)
        return _column(torch.stack([one(row) for one, row in rows])), _no_class(values)
    if target == "label" and is_multi_label(batch.labels) and batch.labels is not None:
        present = batch.labels.to(values, non_blocking=True)
        return _column((values * present).sum(1)), _no_class(values)  # the evidence for all its classes
    classes = target_classes(target, batch)
    return values.gather(1, classes), classes


def target_classes(target: Target, batch: Batch) -> Tensor:
    """Return the classes, (N, T), of a target that names classes, the label's or the prediction."""
    values = batch.scores.values
    if classes := classes_of(target):
        return torch.tensor(classes).to(values.device, non_blocking=True).expand(len(values), -1)
    if target == "predicted" or batch.labels is None or values.shape[1] == 1:
        return batch.scores.classes[:, None]
    known = _known_classes(batch.labels, len(values), values.shape[1])
    return known.to(values.device, non_blocking=True)[:, None]


def _known_classes(labels: Tensor, images: int, count: int) -> Tensor:
    classes = label_classes(labels, images)
    if bool(((classes < 0) | (classes >= count)).any()):
        raise SettingError(f"target='label': the labels {classes.tolist()} are not all classes, 0 to {count - 1}")
    return classes


def _called(target: Callable[[Any, Tensor | None], Tensor], batch: Batch) -> Tensor:
    labels, images = batch.labels, len(batch.scores.classes)
    value = target(batch.output, None if labels is None else labels.to(batch.scores.values.device))
    if not isinstance(value, Tensor) or value.shape != (images,):
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise SettingError(f"target={target!r} returned {got}, not one value an image, ({images},)")
    return value


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1)


def _no_class(values: Tensor) -> Tensor:
    return torch.full((len(values), 1), NO_CLASS, device=values.device)
