"""Telling the task, once: from scores and labels, and from what the module says of itself."""

import types
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.tasks import CLASSES, VOID, Task, as_numbers, is_signed, is_subset
from lightning_gradcam.errors import SettingError


@dataclass(frozen=True)
class Evidence:
    """What tells tasks apart besides shapes and labels.

    Attributes:
        words: the tasks that the module's own losses and metrics are for, and by which.
        counts: numbers of classes that its metrics, its data or names of classes tell.
        maker: the operation that made the scores.
        ignored: the label that its losses and metrics leave out.
    """

    words: dict[str, str]
    counts: frozenset[int] = frozenset()
    maker: str = ""
    ignored: int | None = None

    def says(self, *kinds: str) -> bool:
        """Whether the module's own words are of these kinds, and of no other."""
        return bool(self.words) and set(self.words) <= set(kinds)

    def reason(self, kind: str) -> str:
        """Say which loss or metric tells a task."""
        return f"its {self.words[kind]}"


_LOSSES = {
    "multiclass": ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "cross_entropy", "nll_loss"),
    "binary": (
        *("BCEWithLogitsLoss", "BCELoss", "MultiLabelSoftMarginLoss"),
        *("binary_cross_entropy_with_logits", "binary_cross_entropy", "multilabel_soft_margin_loss"),
        *("sigmoid_focal_loss",),
    ),
    "regression": (
        *("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "GaussianNLLLoss", "PoissonNLLLoss"),
        *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "poisson_nll_loss"),
    ),
}
_OF_PROBABILITIES = ("BCELoss", "binary_cross_entropy")
_OF_LOSSES = {name: kind for kind, names in _LOSSES.items() for name in names}
_STEPS = ("training_step", "validation_step", "shared_step", "_shared_step", "step", "_step", "loss", "compute_loss")


def evidence_of(model: nn.Module, counts: Collection[int], maker: str) -> Evidence:
    """Ask a model for its losses and metrics: its submodules, and the functions that its steps name."""
    words: dict[str, str] = {}
    counts = set(counts)
    for one in model.modules():
        name = type(one).__name__
        kind = _of_metric(one) or (_OF_LOSSES.get(name) if type(one).__module__.startswith("torch.nn") else None)
        if kind:
            words.setdefault(kind, name)
            counts |= {int(count) for count in (getattr(one, "num_classes", 0), getattr(one, "num_labels", 0)) if count}
    for function in _functions_named(model):
        if function in _OF_LOSSES:
            words.setdefault(_OF_LOSSES[function], function)
    found = {getattr(one, "ignore_index", None) for one in model.modules()}
    ignored = [one for one in found if isinstance(one, int)]
    return Evidence(words, frozenset(counts), maker, ignored[0] if len(ignored) == 1 else None)


def _of_metric(one: nn.Module) -> str | None:
    if not type(one).__module__.startswith("torchmetrics."):
        return None
    name, module = type(one).__name__.lower(), type(one).__module__
    if ".regression" in module or ".segmentation" in module:
        return module.split(".")[1]
    return next((kind for kind in CLASSES if name.startswith(kind)), None)


def _functions_named(model: nn.Module) -> Iterator[str]:
    for step in _STEPS:
        code = getattr(getattr(type(model), step, None), "__code__", None)
        yield from _names_in(code) if code else ()


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names_in(inner)


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
    labels = None if labels is None else as_numbers(labels)
    if scores.dim() == 3 and labels is not None and labels.dim() >= 3 and scores.shape[1:] == labels.shape[-2:]:
        scores = scores[:, None]  # one score a pixel
    if scores.dim() == 1:
        scores = scores[:, None]
    if scores.dim() not in (2, 4):
        raise SettingError(
            f"output={tuple(scores.shape)}: scores are (N,), (N, classes) or (N, classes, H, W); pass "
            "output=callable(model, images) that returns such"
        )
    is_dense = scores.dim() == 4
    kind, why, doubt = (given, "task=", "") if given else _told(scores, images, labels, evidence)
    if kind in (CLASSES if is_dense else ("segmentation",)):
        raise SettingError(f"task={kind!r} does not fit scores {tuple(scores.shape)}")
    single = scores.shape[1] == 1 and kind in ("binary", "segmentation")
    overlaps = kind == "segmentation" and not single and _overlap(labels, scores.shape[1], evidence)
    link = _link(scores, kind, evidence, overlaps)
    return Task(kind, 2 if single else scores.shape[1], link, is_dense, single, overlaps, evidence.ignored, why, doubt)


def _overlap(labels: Tensor | None, classes: int, evidence: Evidence) -> bool:
    """Whether labels are a plane a class, and a pixel may be of several."""
    if labels is None or labels.dim() != 4 or labels.shape[1] != classes:
        return False
    return bool(((labels > 0.5).sum(1) > 1).any()) or evidence.says("binary", "multilabel")


_Told = tuple[str, str, str]  # kind, why, doubt


def _told(scores: Tensor, images: Tensor, labels: Tensor | None, evidence: Evidence) -> _Told:
    if scores.dim() == 4:
        return _of_dense(scores, images, labels, evidence)
    if scores.shape[1] == 1:
        return _of_one(labels, evidence)
    return _of_several(scores, labels, evidence)


def _of_dense(scores: Tensor, images: Tensor, labels: Tensor | None, evidence: Evidence) -> _Told:
    is_picture = scores.shape[1:] == images.shape[1:]
    if labels is None and evidence.says("regression") and not is_picture:
        return "regression", evidence.reason("regression"), ""
    if labels is None or labels.dim() < 3:
        if is_picture and (labels is not None or evidence.says("regression")):
            doubt = "" if evidence.says("regression") else "task='segmentation' if these are scores of pixels' classes"
            return "none", "the output is an image", doubt
        doubt = "task='none' if the output is a reconstruction" if is_picture else ""
        if labels is not None:  # a head without pooling, or a count that is summed
            doubt = (
                "the labels are one an image; output=lambda model, images: model(images).mean((2, 3)) gives such scores"
            )
        return "segmentation", "scores for each pixel", doubt
    planes = labels.shape[1] if labels.dim() == 4 else 1
    if scores.shape[1] == planes == 1 and (evidence.says("regression") or _has_many_values(labels)):
        return "regression", "label maps of many values", ""
    if _are_whole(labels) or (evidence.says("binary", "segmentation") and planes == 1):
        highest, classes = _highest(labels), max(2, scores.shape[1])
        has_place = highest < classes or planes > 1 or scores.shape[1] == 1
        doubt = "" if has_place else f"labels up to {highest} have no place in {classes} classes: those pixels are void"
        return "segmentation", "label maps of whole numbers", doubt
    if planes == 1:
        return "regression", "label maps of other than whole numbers", ""
    if labels.shape[1:] == scores.shape[1:]:
        return "none", "labels that are images", ""
    return "regression", "labels that are images of another size", "output= can compare them with what is true"


def _has_many_values(labels: Tensor) -> bool:
    """Whether whole labels of one score a pixel are more than a foreground's, with or without noise and void."""
    known = labels[labels.isfinite()] if labels.is_floating_point() else labels
    return _are_whole(known) and bool((known > 255).any() | (known < -100).any())


def _highest(labels: Tensor) -> int:
    known = _known(labels.long())
    return int(known.max()) if len(known) else 0


def _of_one(labels: Tensor | None, evidence: Evidence) -> _Told:
    if labels is None:
        if evidence.says("regression"):
            return "regression", evidence.reason("regression"), ""
        doubt = "" if evidence.says("binary") else "task='regression' if it is a value"
        return "binary", "a single score an image", doubt
    known = _known(labels)
    if evidence.says("regression"):
        return "regression", evidence.reason("regression"), ""
    are_classes = is_subset(known[known >= 0], (0, 1)) and is_subset(known, (-1, 0, 1))
    is_share = known.is_floating_point() and bool(((known >= 0) & (known <= 1)).all())
    if are_classes or (is_share and evidence.says("binary")):
        return "binary", "labels of 0 and 1", ""
    doubt = "task='binary' if they are soft labels" if is_share else ""
    return "regression", "labels other than 0 and 1", doubt


def _of_several(scores: Tensor, labels: Tensor | None, evidence: Evidence) -> _Told:
    count = scores.shape[1]
    labels = labels.flatten(1) if labels is not None and labels.dim() > 2 and labels[0].numel() == count else labels
    are_rows = labels is not None and labels.dim() == 2 and labels.shape[1] == count
    if _is_normalised(scores) and not are_rows and not evidence.says("multiclass") and not evidence.says("regression"):
        return "none", "outputs of length 1", ""
    if labels is None:
        kind = next((kind for kind in ("multilabel", "regression") if evidence.says(kind)), None)
        kind = "multilabel" if evidence.says("binary", "multilabel") else kind
        if kind:
            return kind, f"its {next(iter(evidence.words.values()))}", ""
        return "multiclass", "several scores an image", ""
    if labels.dim() <= 2 and (labels.dim() == 1 or labels.shape[1] == 1):
        return _of_class_labels(count, _known(labels.reshape(-1)), evidence)
    if labels.dim() == 2 and labels.shape[1] == count:
        return _of_rows(labels.float(), evidence)
    are_maps = labels.dim() > 2  # where things are, perhaps, and what none of the scores is of
    doubt = "" if are_maps else f"the labels, {tuple(labels.shape)}, are not read: label_key= names others"
    return "multiclass", f"{count} scores an image", doubt


def _of_class_labels(count: int, known: Tensor, evidence: Evidence) -> _Told:
    if not _are_whole(known):
        return "regression", "labels other than whole numbers", ""
    if evidence.says("regression") and not evidence.counts:
        return "regression", evidence.reason("regression"), ""
    highest = int(known.max()) if len(known) else 0
    if highest >= count:
        told = f"the label {highest}, which has no place in {count} outputs"
        return "none", told, f"{told}: task='regression' if they are values; label_key= names other labels"
    if evidence.counts and count not in evidence.counts and count >= 2 * max(evidence.counts):
        told = f"{count} outputs for {' or '.join(map(str, sorted(evidence.counts)))} classes"
        return "none", told, "task='multiclass' if the outputs are scores of classes"
    is_wide = count > 2 * (highest + 1) and count > 16 and count not in evidence.counts
    doubt = "task='none' if the output is an embedding" if is_wide else ""
    return "multiclass", f"whole labels below {count}", doubt


def _of_rows(labels: Tensor, evidence: Evidence) -> _Told:
    labels = labels.nan_to_num(-1)
    sums_to_one = bool(((labels.sum(1) - 1).abs() < 1e-3).all()) and bool((labels >= 0).all())
    if is_subset(labels, (0, 1)) or (is_subset(labels, (-1, 0, 1)) and bool((labels > 0).any())):
        if sums_to_one and not evidence.says("binary", "multilabel"):
            return "multiclass", "one-hot labels", ""
        return "multilabel", "labels of zeros and ones", ""
    if evidence.says("regression"):
        return "regression", evidence.reason("regression"), ""
    if sums_to_one:
        return "multiclass", "soft labels, which sum to 1", ""
    in_range = bool(((labels >= 0) & (labels <= 1)).all())
    if in_range and (evidence.says("binary", "multilabel") or len(torch.unique(labels)) == 2):
        return "multilabel", "soft labels", ""
    doubt = "task='multilabel' if they are soft labels" if in_range else ""
    return "regression", "several values an image", doubt


def _known(labels: Tensor) -> Tensor:
    """The labels without what marks that there is none."""
    flat = labels.reshape(-1)
    if flat.is_floating_point():
        return flat[flat.isfinite()]
    void = torch.tensor(VOID, device=flat.device)
    signed = is_signed(flat)
    return flat[~torch.isin(flat, void) & ((flat >= 0) | signed)]


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
    made_so = evidence.maker.startswith(("Sigmoid", "Softmax")) or evidence.words.get("binary") in _OF_PROBABILITIES
    in_range = bool((((values >= 0) & (values <= 1)) | values.isnan()).all())
    if in_range and (sums_to_one or made_so):
        return "identity"
    is_binary = evidence.says("binary", "multilabel")
    each = overlaps or kind in ("multilabel", "binary") or (kind == "multiclass" and is_binary)
    return "sigmoid" if each and not (kind == "binary" and scores.shape[1] == 2) else "softmax"
