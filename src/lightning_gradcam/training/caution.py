"""What a fit's maps were worth, in one line at its end: no word without its number."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_gradcam.timeline.clusters import clustered
from lightning_gradcam.timeline.history import History

_LEAST = 0.05  # of what may be 0.5 or 1: what is nearer to chance is none of its own
_FEWEST = 4  # images that a verdict is made of


def caution(history: History, values: Mapping[str, Tensor], area: Tensor | None, when: str, unit: str) -> str:
    """Say whether attention moved, whether it is faithful and of its class, and whether it lies on the thing.

    A mean is told from chance where it is farther away than its error, the 95 % interval of Student's t over the
    images; and farther than a twentieth, of `in_mask`, since things may be small, than half of what it is by chance: it
    is hardly another where it is not. Where the interval has chance in it and reaches beyond that, and of fewer than
    four images, no word is said, which is told.

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
    question = f"whether attention moved since {first}"
    if moved.count == 0:
        return f"{question} cannot be told: no map is shown in both"
    number = f"(by {moved}; 0 is not at all, 1 elsewhere altogether)"
    hardly = f"attention hardly moved since {first}"
    return _told(moved, _LEAST, question, ("", "", hardly, hardly, f"attention moved since {first}"), number)


def _faithful(found: "_Mean") -> str:
    number = f"(faithfulness {found}; 0 by chance, 0.5 at most)"
    near = (f"it is {one} than chance" for one in ("hardly worse", "no better", "hardly better"))
    words = "it is against what the model needs", *near, "it is faithful"
    return _told(found, _LEAST, "whether it is faithful", words, number)


def _of_its_class(found: "_Mean") -> str:
    question = "whether it is of its class alone"
    if found.count == 0:
        return f"{question} cannot be told: no map of the next class is shown"
    number = f"(class_sensitivity {found}; 0 is the same map for the class that scores next)"
    words = "", "", "it is blind to its class", "it is nearly blind to its class", "it is of its class"
    return _told(found, _LEAST, question, words, number)


def _on_the_thing(in_mask: Tensor, area: Tensor) -> str:
    by_chance = torch.where(in_mask.isfinite(), area, torch.nan)  # of the same images
    chance = _Mean(by_chance).mean
    number = f"(in_mask {_Mean(in_mask)}; {chance:.2f} by chance)"
    away, least = _Mean(in_mask - by_chance), min(chance, 1 - chance) / 2
    others = (f"it lies {one} on the thing than by chance" for one in ("less", "hardly less", "no more", "hardly more"))
    return _told(away, least, "whether it lies on the thing", (*others, "it lies on the thing"), number)


def _told(away: "_Mean", least: float, question: str, words: Sequence[str], number: str) -> str:
    """A word and its number, or that none is said: of few maps, and where the error leaves it open.

    Args:
        away: how far a number is from what it is by chance.
        least: what is nearer is none of its own.
        question: what cannot be told then.
        words: of what is far below chance, hardly below, as by chance, hardly above, and far above.
        number: the number itself.
    """
    is_far = abs(away.mean) > least
    if away.count < _FEWEST or (away.side == 0 and (is_far or away.half > least)):
        return f"{question} cannot be told from {_maps(away.count)} {number if away.count else ''}".strip()
    return f"{words[2 + away.side * (1 + is_far)]} {number}"


def _maps(count: int) -> str:
    return f"{count} map{'' if count == 1 else 's'}" if count else "maps none of which is shown"


class _Mean:
    """A mean over all maps that have a number, with its standard error over the images, whose count it has."""

    def __init__(self, values: Tensor | None) -> None:
        given = torch.zeros(0, 1) if values is None else values
        mean, error, images = clustered(given.double().numpy())
        self.mean, self.count = float(mean), int(images)
        self.error = float(error) if self.count > 1 else float("inf")
        self._of = f", of {self.count} images" if 1 < self.count < len(given) else ""

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.error:.2f}{self._of}" if self.count > 1 else f"{self.mean:.2f}"

    @property
    def half(self) -> float:
        """Of its 95 % interval."""
        return _student(self.count - 1) * self.error

    @property
    def side(self) -> int:
        """1 above 0, -1 below it, 0 where its error leaves that open."""
        return 0 if abs(self.mean) <= self.half else 1 if self.mean > 0 else -1


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, of 3 degrees of freedom and more (Cornish and Fisher's expansion)."""
    z: float = 1.96
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))
