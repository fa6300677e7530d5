"""Telling the task, once: from scores and labels, and from what the module says of itself."""

from dataclasses import replace

import torch
from torch import Tensor

from lightning_gradcam.cam.evidence import Evidence
from lightning_gradcam.cam.labels import (
    NO_CLASS,
    VOID,
    are_maps,
    are_masks,
    as_numbers,
    is_signed,
    is_subset,
    known_of,
    tidied,
)
from lightning_gradcam.cam.maps import size_of
from lightning_gradcam.cam.tasks import CLASSES, TASKS, Task
from lightning_gradcam.errors import SettingError, quoted

_VOID_PIXEL = VOID[0]
_OF_PROBABILITIES = ("BCELoss", "binary_cross_entropy")
_MANY = 16  # outputs: more are an embedding rather than classes of which few are seen


def decide(scores: Tensor, images: Tensor, labels: Tensor | None, evidence: Evidence, given: str | None) -> Task:
    """Tell the task.

    Args:
        scores: (n, ...) of a few images.
        images: the same images, (n, C, H, W).
        labels: of all images, (N, ...), or None.
        evidence: of the model.
        given: the task, where it is named.

    Raises:
        SettingError: scores of a shape that has no reading, or not the named one.
    """
    scores = _with_columns(scores, labels, size_of(images))
    is_dense, columns = scores.dim() == 4, scores.shape[1]
    known = labels
    if known is not None:
        known = as_numbers(known if _are_the_images(known, images) else tidied(known, columns, is_dense))
    several = is_dense and given == "multilabel" and columns > 1  # a plane each
    kind, why, doubt = (given, "task=", "") if given else _told(scores, images, known, evidence)
    kind = "segmentation" if several else kind
    if kind in (CLASSES if is_dense else ("segmentation",)):
        few = f"(N, {', '.join(map(str, scores.shape[1:]))})"
        fitting = "segmentation, regression, none" if is_dense else ", ".join(one for one in TASKS if one != kind)
        raise SettingError(f"task={quoted(given)} does not fit scores {few}; with them are accepted: {fitting}")
    single = columns == 1 and kind in ("binary", "segmentation")
    is_open = kind == "segmentation" and not single
    overlaps = several or (is_open and _overlap(known, columns, evidence, is_named=bool(given)))
    signed = kind == "binary" or (kind == "multiclass" and columns == 2)
    signed = signed and known is not None and evidence.ignored is None and not evidence.says("multiclass")
    task = Task(
        kind,
        classes=2 if single else columns,
        link=_link(scores, kind, evidence, overlaps),
        is_dense=is_dense,
        is_single=single,
        overlaps=overlaps,
        signed=signed and known is not None and is_signed(known_of(known, signed=True)),
        ignored=evidence.ignored if kind != "multilabel" else None,
        why=why,
        doubt=doubt,
    )
    if labels is not None and kind != "none" and task.truth(labels) is None and not doubt:
        return replace(task, doubt=f"the labels, {_shape(labels)}, are not read as such; label_key= names others")
    return task


def _with_columns(scores: Tensor, labels: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Scores as (n, K) or (n, K, H, W): of one score a pixel, and of several values a thing, as landmarks have x, y."""
    if scores.dim() == 3 and are_maps(scores, size) and (labels is None or labels.dim() > 2):
        return scores[:, None]
    if scores.dim() == 3 and labels is not None and labels[0].numel() == scores[0].numel():
        return scores.flatten(1)
    if scores.dim() == 1:
        return scores[:, None]
    if scores.dim() not in (2, 4):
        raise SettingError(
            f"output={_shape(scores)}: scores are (N,), (N, classes) or (N, classes, H, W); pass "
            "output=callable(model, images) that returns such, as output=lambda model, images: model(images).mean(1)"
        )
    return scores


def _shape(tensor: Tensor) -> str:
    return f"(N, {', '.join(map(str, tensor.shape[1:]))})" if tensor.dim() > 1 else "(N,)"


def _overlap(labels: Tensor | None, classes: int, evidence: Evidence, is_named: bool) -> bool:
    """Whether labels are a plane a class, and a pixel may be of several, or of none."""
    if labels is None or labels.dim() != 4 or labels.shape[1] != classes:
        return False
    planes = (labels > 0.5) & (labels != _VOID_PIXEL)
    of_one = (planes.sum(1) == 1) | (labels == _VOID_PIXEL).any(1) | (labels < 0).any(1)
    if evidence.says("binary", "multilabel") or bool((planes.sum(1) > 1).any()):
        return True
    return not is_named and not evidence.says("multiclass") and not bool(of_one.all())


_Told = tuple[str, str, str]  # kind, why, doubt


def _told(scores: Tensor, images: Tensor, labels: Tensor | None, evidence: Evidence) -> _Told:
    if scores.dim() == 4:
        return _of_dense(scores, images, labels, evidence)
    if scores.shape[1] == 1:
        return _of_one(labels, evidence)
    return _of_several(scores, labels, evidence)


def _of_dense(scores: Tensor, images: Tensor, labels: Tensor | None, evidence: Evidence) -> _Told:
    is_picture, regresses = scores.shape[1:] == images.shape[1:], evidence.says("regression")
    if labels is None or not are_maps(labels, scores.shape[2:], size_of(images)):
        return _of_dense_alone(scores, labels, is_picture, evidence)
    planes = labels.shape[1] if labels.dim() == 4 else 1
    if is_picture and _are_the_images(labels, images):
        return "none", "labels that are the images", ""
    if planes > 1:
        if evidence.says("binary", "multilabel", "multiclass", "segmentation") or not regresses:
            are_planes = planes == scores.shape[1] and _are_planes(labels)
            doubt = "" if evidence.words else _which_planes((labels > 0.5).sum(1))
            if are_planes:
                return "segmentation", "a plane of labels a class", doubt
        if planes == scores.shape[1]:
            return "none", "labels that are images", ""
        told = f"labels of {planes} planes for {scores.shape[1]} scores a pixel"
        return "regression", told, f"{told}: output= or label_key= can bring them together"
    if scores.shape[1] == 1 and (regresses or not (are_masks(labels) or evidence.says("binary", "segmentation"))):
        is_clear = regresses or labels.is_floating_point() or _highest(labels) > _VOID_PIXEL
        return "regression", "label maps of many values", "" if is_clear else "task='segmentation' if they are masks"
    if not labels.is_floating_point() or evidence.says("binary", "segmentation"):
        highest, classes = _highest(labels), max(2, scores.shape[1])
        doubt = ""
        if highest >= classes and scores.shape[1] > 1:
            doubt = f"labels up to {highest} have no place in {classes} classes: those pixels are void"
        elif scores.shape[1] == 2 and not bool((labels == 1).any()) and bool((labels == _VOID_PIXEL).any()):
            doubt = "255 is taken for the foreground, as there is no 1: of images with some, images= names them"
        return "segmentation", "label maps of whole numbers", doubt
    doubt = "task='segmentation' if they are soft masks" if are_masks(labels) and scores.shape[1] == 1 else ""
    return "regression", "label maps of other than whole numbers", doubt


def _which_planes(counts: Tensor) -> str:
    """What planes may be besides what they are taken for, by of how many each pixel is."""
    if bool((counts > 1).any()):
        return ""
    if bool((counts == 1).all()):
        return "task='multilabel' if each plane is trained by itself"
    return "task='segmentation' if pixels of no plane are void"


def _of_dense_alone(scores: Tensor, labels: Tensor | None, is_picture: bool, evidence: Evidence) -> _Told:
    """Of scores of pixels without labels of pixels."""
    regresses = evidence.says("regression")
    if is_picture and (labels is not None or regresses):
        doubt = "" if regresses else "task='segmentation' if these are scores of pixels' classes"
        return "none", "the output is an image", doubt
    if regresses:
        return "regression", evidence.reason("regression"), ""
    doubt = "task='none' if the output is a reconstruction" if is_picture else ""
    if labels is not None:  # a head without pooling, or a count that is summed
        doubt = (
            "the labels are one an image; output=lambda model, images: model(images).mean((2, 3)) gives such scores, "
            "label_key= names label maps"
        )
    elif not doubt and evidence.trains and not evidence.words:
        doubt = "task='regression' if they are values"
    return "segmentation", "scores for each pixel", doubt


def _are_the_images(labels: Tensor, images: Tensor) -> bool:
    pairs = labels[: len(images)], images[: len(labels)].detach().cpu()
    return pairs[0].shape == pairs[1].shape and torch.allclose(pairs[0].float(), pairs[1].float(), atol=1e-6)


def _are_planes(labels: Tensor) -> bool:
    """Whether images of several planes are of what is there and what is not, and no pictures."""
    if labels.is_floating_point():  # soft ones sum to one at each pixel
        return bool(((labels.sum(1) - 1).abs() < 1e-3).all())
    return is_subset(labels, (0, 1, NO_CLASS, *VOID))


def _highest(labels: Tensor) -> int:
    known = known_of(labels.long())
    return int(known.max()) if len(known) else 0


def _of_one(labels: Tensor | None, evidence: Evidence) -> _Told:
    if evidence.says("regression"):
        return "regression", evidence.reason("regression"), ""
    if labels is None:
        doubt = "" if evidence.says("binary") else "task='regression' if it is a value"
        return "binary", "a single score an image", doubt
    known = known_of(labels, signed=is_signed(known_of(labels, signed=True)))
    is_share = known.is_floating_point() and bool(((known >= 0) & (known <= 1)).all())
    if is_subset(known, (-1, 0, 1)) or (is_share and evidence.says("binary")):
        is_unknown = evidence.trains and not evidence.is_of_classes
        return "binary", "labels of 0 and 1", _IF_SCORE if is_unknown else ""
    if evidence.says("binary"):
        told = "the labels are other than 0 and 1, which its loss is of"
        return (
            "binary",
            evidence.reason("binary"),
            f"{told}: label_key= names others, task='regression' if it is a value",
        )
    doubt = "task='binary' if they are soft labels" if is_share else ""
    return "regression", "labels other than 0 and 1", doubt


def _of_several(scores: Tensor, labels: Tensor | None, evidence: Evidence) -> _Told:
    count = scores.shape[1]
    are_rows = labels is not None and labels.dim() == 2 and labels.shape[1] == count
    if evidence.says("none"):
        return "none", evidence.reason("none"), ""
    if _is_normalised(scores) and not are_rows and not evidence.says("multiclass") and not evidence.says("regression"):
        return "none", "outputs of length 1", ""
    if labels is None:
        return _of_several_alone(evidence)
    if labels.dim() == 1 or labels.shape[1:] == (1,):
        return _of_class_labels(count, known_of(labels), evidence)
    if are_rows:
        return _of_rows(labels.float(), evidence)
    are_images = labels.dim() > 2  # where things are, perhaps, and what none of the scores is of
    doubt = "" if are_images else f"the labels, {_shape(labels)}, are not read: label_key= names others"
    return "multiclass", f"{count} scores an image", doubt


def _of_several_alone(evidence: Evidence) -> _Told:
    if evidence.says("binary", "multilabel"):
        return "multilabel", f"its {next(iter(evidence.words.values()))}", ""
    if evidence.says("regression"):
        return "regression", evidence.reason("regression"), ""
    is_unknown = evidence.trains and not evidence.is_of_classes and not evidence.counts
    return "multiclass", "several scores an image", _IF_EMBEDDING if is_unknown else ""


_IF_SCORE = "task='regression' if it is a score with a threshold of its own"
_IF_EMBEDDING = "task='none' if the output is an embedding"


def _of_class_labels(count: int, known: Tensor, evidence: Evidence) -> _Told:
    if not _are_whole(known):
        return "regression", "labels other than whole numbers", ""
    highest = int(known.max()) if len(known) else 0
    if highest >= count:
        told = f"the label {highest}, which has no place in {count} outputs"
        return "none", told, f"{told}: task='regression' if they are values; label_key= names other labels"
    if evidence.counts and count not in evidence.counts and count >= 2 * max(evidence.counts):
        told = f"{count} outputs for {' or '.join(map(str, sorted(evidence.counts)))} classes"
        return "none", told, "task='multiclass' if the outputs are scores of classes"
    is_wide = count > 2 * (highest + 1) and count > _MANY
    if evidence.says("regression") and count not in evidence.counts:  # of them, or of something that is none of theirs
        reason = evidence.reason("regression")
        if is_wide:
            return "none", reason, "task='multiclass' if the outputs are scores of classes"
        return "multiclass", f"whole labels below {count}", f"task='regression' if they are values, as {reason} may say"
    is_unknown = evidence.trains and not evidence.is_of_classes and count > highest + 1
    doubt = _IF_EMBEDDING if count not in evidence.counts and (is_wide or is_unknown) else ""
    return "multiclass", f"whole labels below {count}", doubt


def _of_rows(labels: Tensor, evidence: Evidence) -> _Told:
    labels = labels.nan_to_num(-1)
    sums_to_one = bool(((labels.sum(1) - 1).abs() < 1e-3).all()) and bool((labels >= 0).all())
    if is_subset(labels, (0, 1)) or (is_subset(labels, (-1, 0, 1)) and bool((labels > 0).any())):
        if sums_to_one and not evidence.says("binary", "multilabel"):
            doubt = "" if evidence.words else "task='multilabel' if an image may be of several classes"
            return "multiclass", "one-hot labels", doubt
        return "multilabel", "labels of zeros and ones", ""
    if evidence.says("regression"):
        return "regression", evidence.reason("regression"), ""
    in_range = bool(((labels >= 0) & (labels <= 1)).all())
    if sums_to_one or (evidence.says("multiclass") and in_range):
        return "multiclass", "soft labels", ""
    if in_range and (evidence.says("binary", "multilabel") or len(torch.unique(labels)) == 2):
        doubt = "" if evidence.words else "task='multiclass' if they are soft labels of one class"
        return "multilabel", "soft labels", doubt
    doubt = "task='multilabel' if they are soft labels" if in_range else ""
    if evidence.words and not doubt:
        doubt = f"its {next(iter(evidence.words.values()))} may be of others: label_key= names them"
    return "regression", "several values an image", doubt


def _are_whole(labels: Tensor) -> bool:
    return not labels.is_floating_point() or bool((labels == labels.round()).all())


def _is_normalised(scores: Tensor) -> bool:
    """Whether each row has length 1, as embeddings often have, and is no distribution."""
    lengths = scores.detach().float().norm(dim=1)
    is_share = bool(((scores.detach().float().sum(1) - 1).abs() < 1e-3).all())
    return scores.shape[1] > 2 and bool(((lengths - 1).abs() < 1e-4).all()) and not is_share


def _link(scores: Tensor, kind: str, evidence: Evidence, overlaps: bool) -> str:
    """What makes probabilities of scores: they may be such already, and a binary loss trains each class by itself."""
    values = scores.detach().float()
    sums_to_one = scores.shape[1] > 1 and bool(((values.sum(1) - 1).abs() < 1e-3).all())
    made_so = evidence.maker in ("Sigmoid", "Softmax") or evidence.words.get("binary") in _OF_PROBABILITIES
    in_range = bool((((values >= 0) & (values <= 1)) | values.isnan()).all())
    if in_range and (sums_to_one or made_so):
        return "identity"
    is_binary = evidence.says("binary", "multilabel")
    each = overlaps or kind in ("multilabel", "binary") or (kind == "multiclass" and is_binary)
    return "sigmoid" if each and not (kind == "binary" and scores.shape[1] == 2) else "softmax"
