"""What a fit's maps were worth, in one line at its end: no word without its number."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_gradcam.timeline.clusters import clustered
from lightning_gradcam.timeline.history import History

_LEAST = 0.05  # of what may be 0.5 or 1: what is nearer to chance is none of its own
_FEWEST = 4  # images that a verdict is made of


def caution(history: History, values: Mapping[str, Tensor], area: Tensor | None, when: str, unit: str) -> str:
    """Say whether attention moved, whether it is faithful and of its class, and whether it lies on the thing.

    A mean is told from chance where it is a twentieth away, and farther than its error: the 95 % interval of Student's
    t over the images. `in_mask` is told by the error alone, since things may be small.

    Args:
        history: a layer's looks.
        values: the last one's metrics, (N, T) each.
        area: the thing's share of each image, (N, T) in 0..1; NaN where there is none, or None.
        when: the last look was.
        unit: what looks are counted in.
    """
    begun, last = history.ends
    first = f"{unit} {begun.step}"
    told = [_moved(_Mean(history.moved()), first), _faithful(_Mean(values.get("faithfulness")))]
    if "class_sensitivity" in values:
        told.append(_of_its_class(_Mean(values["class_sensitivity"])))
    if area is not None and "in_mask" in values:
        told.append(_on_the_thing(values["in_mask"], area.expand_as(values["in_mask"])))
    images = len(last.maps)
    return f"{history.layer} after {when}: {'; '.join(told)} (of {images} images; ± is a standard error over them)"


def _moved(moved: "_Mean", first: str) -> str:
    if moved.count == 0:
        return f"whether attention moved since {first} cannot be told: no map is shown in both"
    word = "moved" if moved.mean >= _LEAST else "hardly moved"
    return f"attention {word} since {first} (by {moved}; 0 is not at all, 1 elsewhere altogether)"


def _faithful(found: "_Mean") -> str:
    number = f"(faithfulness {found}; 0 by chance, 0.5 at most)"
    if found.count < _FEWEST or (found.side_of(0) == 0 and abs(found.mean) > _LEAST):
        told = f"whether it is faithful cannot be told from {_maps(found.count)}"
        return f"{told} {number if found.count else ''}".strip()
    words = "against what the model needs", "no better than chance", "faithful"
    return f"it is {words[1 + found.side_of(0, _LEAST)]} {number}"


def _of_its_class(found: "_Mean") -> str:
    if found.count == 0:
        return "whether it is of its class alone cannot be told: no map of the next class is shown"
    word = "of" if found.mean >= _LEAST else "blind to"
    return f"it is {word} its class (class_sensitivity {found}; 0 is the same map for the class that scores next)"


def _on_the_thing(in_mask: Tensor, area: Tensor) -> str:
    by_chance = torch.where(in_mask.isfinite(), area, torch.nan)  # of the same images
    inside, away = _Mean(in_mask), _Mean(in_mask - by_chance)
    number = f"(in_mask {inside}; {_Mean(by_chance).mean:.2f} by chance)"
    if inside.count < _FEWEST:
        told = f"whether it lies on the thing cannot be told from {_maps(inside.count)}"
        return f"{told} {number if inside.count else ''}".strip()
    words = "less on the thing than by chance", "no more on the thing than by chance", "on the thing"
    chance = _Mean(by_chance).mean
    return f"it lies {words[1 + away.side_of(0, min(chance, 1 - chance) / 2)]} {number}"


def _maps(count: int) -> str:
    return f"{count} map{'' if count == 1 else 's'}" if count else "maps none of which is shown"


class _Mean:
    """A mean over all maps that have a number, with its standard error over the images, whose count it has."""

    def __init__(self, values: Tensor | None) -> None:
        mean, error, images = clustered((torch.zeros(0, 1) if values is None else values).double().numpy())
        self.mean, self.count = float(mean), int(images)
        self.error = float(error) if self.count > 1 else float("inf")

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.error:.2f}" if self.count > 1 else f"{self.mean:.2f}"

    def side_of(self, chance: float, least: float = 0.0) -> int:
        """1 above it, -1 below it, 0 where its error leaves that open, or it is nearer than `least`."""
        away = self.mean - chance
        return 0 if abs(away) <= max(least, _student(self.count - 1) * self.error) else 1 if away > 0 else -1


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, of 3 degrees of freedom and more (Cornish and Fisher's expansion)."""
    z: float = 1.96
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))
