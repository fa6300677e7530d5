"""What a fit's maps were worth, in one line at its end: no word without its number."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_gradcam.timeline.history import History

_MOVED = 0.1  # of 1: what is less is hardly moved
_ERRORS = 2  # standard errors that a mean has to be from chance


def caution(history: History, values: Mapping[str, Tensor], area: Tensor | None, when: str, unit: str) -> str:
    """Say whether attention moved, whether it is faithful, and whether it lies on the thing.

    Args:
        history: a layer's looks.
        values: the last one's metrics, (N, T) each.
        area: the thing's share of each image, (N, T) in 0..1; NaN where there is none, or None.
        when: the last look was.
        unit: what looks are counted in.
    """
    told = [_moved(history, unit), _faithful(values.get("faithfulness"))]
    told += [_on_the_thing(values["in_mask"], area)] if area is not None and "in_mask" in values else []
    return f"{history.layer} after {when}: " + "; ".join(told)


def _moved(history: History, unit: str) -> str:
    first, moved = f"{unit} {history.looks[0].step}", _Mean(history.moved())
    if moved.count == 0:
        return f"whether attention moved since {first} cannot be told, of blank maps"
    word = "moved" if moved.mean >= _MOVED else "hardly moved"
    return f"attention {word} since {first} (by {moved}; 0 is not at all, 1 elsewhere altogether)"


def _faithful(faithfulness: Tensor | None) -> str:
    found = _Mean(faithfulness)
    if found.count == 0:
        return "whether it is faithful cannot be told, of blank maps"
    words = "against what the model needs", "no better than chance", "faithful"
    return f"it is {words[1 + found.side_of(0)]} (faithfulness {found}; 0 by chance, 0.5 at most)"


def _on_the_thing(in_mask: Tensor, area: Tensor) -> str:
    inside, by_chance = _Mean(in_mask), _Mean(area)
    if inside.count == 0:
        return "whether it lies on the thing cannot be told, of blank maps"
    words = "less on the thing than by chance", "no more on the thing than by chance", "on the thing"
    return f"it lies {words[1 + _Mean(in_mask - area).side_of(0)]} (in_mask {inside}; {by_chance.mean:.2f} by chance)"


class _Mean:
    """A mean over the maps that have a number, with its standard error."""

    def __init__(self, values: Tensor | None) -> None:
        known = torch.zeros(0) if values is None else values[values.isfinite()]
        self.count = len(known)
        self.mean = float(known.mean()) if self.count else float("nan")
        self.error = float(known.std() / self.count**0.5) if self.count > 1 else float("inf")

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.error:.2f}" if self.count > 1 else f"{self.mean:.2f}, of one map"

    def side_of(self, chance: float) -> int:
        """1 above it, -1 below it, 0 where its error leaves that open."""
        away = self.mean - chance
        return 0 if abs(away) <= _ERRORS * self.error else 1 if away > 0 else -1
