"""What is said of an image: its truth, its prediction, its class's name."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightning_gradcam.cam.labels import NO_CLASS
from lightning_gradcam.cam.plan import Plan
from lightning_gradcam.cam.targets import Target, classes_of
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.pictures.looks import PREDICTED, TRUE, Caption
from lightning_gradcam.values import printable

Truth = Sequence[int] | Sequence[float]  # classes, or a regression's values; none where unknown
Names = Sequence[str] | None
_TWO = ("background", "foreground")  # of a segmentation
NO_PREDICTION = "no prediction: scores not finite"
_MOST = 2  # values or classes in a caption


@dataclass(frozen=True)
class Answer:
    """What a model says of one image.

    Attributes:
        prediction: the predicted class; NO_CLASS where the scores are not finite.
        told: as `targets.Scores.told` has it.
        target: the explained class.
    """

    prediction: int
    told: Sequence[float]
    target: int


def to_header(plan: Plan, labelled: bool, class_names: Names) -> str:
    """Say what maps are of: the target, the method, and the task."""
    smoothed = [name for name in ("aug_smooth", "eigen_smooth") if getattr(plan.settings, name)]
    method = " + ".join([plan.method_name, *smoothed])
    return "  ·  ".join([to_target(plan, labelled, class_names), method, plan.task.kind])


def to_target(plan: Plan, labelled: bool, class_names: Names) -> str:
    """Say what is explained, which without labels is the prediction."""
    return f"target: {_target(plan.settings.target, plan.task, labelled, class_names)}"


def _target(target: Target, task: Task, labelled: bool, class_names: Names) -> str:
    if isinstance(target, str) and not task.has_classes and task.kind != "segmentation":
        return task.own_value if task.kind == "none" else "value" if task.classes == 1 else "sum of all values"
    if target == "label" and task.kind == "segmentation" and task.is_foreground:
        return name_of(1, class_names or _TWO)
    if target == "label" and not labelled:
        return "predicted"
    if isinstance(target, str):
        return target
    return ", ".join(name_of(one, class_names) for one in classes_of(target)) or "custom"


def to_caption(task: Task, truth: Truth, answer: Answer, class_names: Names, unknown: Sequence[int] = ()) -> Caption:
    """Say an image's truth and the model's answer.

    Args:
        task: what both are of.
        truth: the image's.
        answer: the model's.
        class_names: a name for each class; without them the numbers are shown.
        unknown: of several classes, of which it is not known whether the image is of them.
    """
    labelled, said_truth = answer.prediction not in unknown, to_truth(task, truth, class_names, not unknown)
    wrong = task.kind != "multilabel" and task.has_classes and bool(truth) and answer.prediction not in truth
    if task.kind == "multilabel" and labelled:  # the first of several that may be there, or none
        is_there = answer.told[0] > 0.5
        wrong = (is_there and answer.prediction not in truth) or (not is_there and bool(truth))
    if answer.prediction == NO_CLASS:  # which is right of no image whose classes are known
        is_known = bool(truth) or (task.kind == "multilabel" and not unknown)
        return Caption(said_truth, NO_PREDICTION, task.has_classes and is_known)
    return Caption(said_truth, _ANSWERS[task.kind](task, truth, answer, class_names), wrong)


def to_truth(task: Task, truth: Truth, class_names: Names, is_known: bool = True) -> str:
    """Say an image's truth; nothing where it is unknown, of several classes of any of them, and of a foreground."""
    if task.kind == "multilabel" and not truth:
        return f"{TRUE}none" if is_known else ""
    if not truth or task.is_foreground:
        return ""
    if task.kind == "regression":
        return f"{TRUE}{_values(truth)}"
    names = [name_of(int(one), class_names) for one in truth]
    return f"{TRUE}{', '.join(names if task.kind == 'multilabel' else _first(names))}"


def _of_classes(task: Task, truth: Truth, answer: Answer, class_names: Names) -> str:
    return f"{PREDICTED}{name_of(answer.prediction, class_names)} ({answer.told[0]:.0%})"


def _of_labels(task: Task, truth: Truth, answer: Answer, class_names: Names) -> str:
    likeliest = f"{name_of(answer.prediction, class_names)} {answer.told[0]:.0%}"
    return _of_classes(task, truth, answer, class_names) if answer.told[0] > 0.5 else f"{PREDICTED}none ({likeliest})"


def _of_values(task: Task, truth: Truth, answer: Answer, class_names: Names) -> str:
    return f"{PREDICTED}{_values(answer.told)}"


def _of_pixels(task: Task, truth: Truth, answer: Answer, class_names: Names) -> str:
    usual = _TWO if task.is_foreground and not class_names else class_names
    share = answer.told[0]
    if not truth or answer.target < 0:
        return f"predicted mostly {name_of(answer.prediction, usual)} ({share:.0%})"
    name = name_of(answer.target, usual)
    return f"{name}: IoU {share:.2f}" if math.isfinite(share) else f"{name}: none there, none found"


def _of_own_value(task: Task, truth: Truth, answer: Answer, class_names: Names) -> str:
    return f"{task.own_value} {answer.told[0]:.3g}"


_ANSWERS: dict[str, Callable[[Task, Truth, Answer, Names], str]] = {
    **dict.fromkeys(("binary", "multiclass"), _of_classes),
    "multilabel": _of_labels,
    "regression": _of_values,
    "segmentation": _of_pixels,
    "none": _of_own_value,
}


def name_of(category: int, class_names: Names) -> str:
    """Return a class's name in one line, or its number where it has none."""
    named = class_names is not None and 0 <= category < len(class_names)
    return _one_line(class_names[category]) if class_names and named else str(category)


def _values(values: Sequence[float]) -> str:
    return ", ".join(_first([f"{value:.3g}" for value in values]))


def _first(words: Sequence[str]) -> list[str]:
    return [*words[:_MOST], "…"] if len(words) > _MOST else list(words)


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())
