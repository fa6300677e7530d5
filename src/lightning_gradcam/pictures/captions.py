"""What is said of an image: its truth, its prediction, its class's name."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    """What stands under an image: its truth and prediction, and whether the prediction is wrong."""

    text: str
    wrong: bool = False


def to_caption(
    truth: Sequence[int] | float, prediction: int, score: float, class_names: Sequence[str] | None
) -> Caption:
    """Say an image's truth and prediction.

    Args:
        truth: its classes, none where unknown; or a regression's value.
        prediction: the predicted class.
        score: its probability in 0..1; a regression's predicted value.
        class_names: a name for each class; without them the numbers are shown.
    """
    true = to_truth(truth, class_names)
    if isinstance(truth, float):
        return Caption(f"{true} · predicted {score:.3g}")
    predicted = f"predicted {name_of(prediction, class_names)}"
    if math.isfinite(score):
        predicted += f" ({score:.0%})"
    return Caption(f"{true} · {predicted}", wrong=prediction not in truth) if truth else Caption(predicted)


def to_truth(truth: Sequence[int] | float, class_names: Sequence[str] | None) -> str:
    """Say an image's truth; nothing where it is unknown."""
    if isinstance(truth, float):
        return f"true {truth:.3g}"
    return f"true {', '.join(name_of(one, class_names) for one in truth)}" if truth else ""


def name_of(category: int, class_names: Sequence[str] | None) -> str:
    """Return a class's name in one line, or its number where it has none."""
    named = class_names is not None and 0 <= category < len(class_names)
    return _one_line(class_names[category]) if class_names and named else str(category)


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
