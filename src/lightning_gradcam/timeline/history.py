"""A layer's looks in the order of time, small enough to be kept whole and to travel in a checkpoint."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_gradcam.cam.areas import resampled
from lightning_gradcam.cam.maps import Cams, Heatmaps, Maps, unlike
from lightning_gradcam.timeline.metrics import View

MAX_PLACES = 28  # along a side of a kept map; maps at image size, and of early layers, have more


@dataclass(frozen=True)
class Look:
    """What was seen at one step.

    Attributes:
        step: epochs completed.
        maps: (N, T, h, w) uint8, 255 at each map's peak.
        states: (N, T) uint8, as `cam.maps` has them.
        scores: (N, S) float32.
        predictions: (N,) int32.
        targets: (N, T) int32.
        peaks: (N, T) float32; None where maps have none.
    """

    step: int
    maps: Tensor
    states: Tensor
    scores: Tensor
    predictions: Tensor
    targets: Tensor
    peaks: Tensor | None

    def found(self, layer: str) -> Maps:
        """Return the maps as they were, to a 255th."""
        known = (self.maps.float() / 255, self.scores, self.predictions.long(), self.targets.long(), layer)
        return Heatmaps(*known, self.states) if self.peaks is None else Cams(*known, self.peaks)


_TENSORS = ("maps", "states", "scores", "predictions", "targets", "peaks")


@dataclass(frozen=True)
class History:
    """The looks at one layer in the order of their steps; another thread may read it while the run goes on."""

    layer: str
    looks: tuple[Look, ...] = ()

    def with_look(self, step: int, found: Maps, beside: bool = False) -> "History":
        """Return the history with a step's maps, without looks of another kind of map.

        Args:
            step: epochs completed.
            found: the maps.
            beside: leave looks at that step or later, which a training that goes on from there takes back.
        """
        look = Look(
            step,
            (kept_maps(found) * 255).round().byte(),
            found.states,
            found.scores.float(),
            found.predictions.int(),
            found.targets.int(),
            found.peaks.float() if isinstance(found, Cams) else None,
        )
        earlier = [one for one in self.looks if (beside or one.step < step) and _kind(one) == _kind(look)]
        return History(self.layer, (*earlier, look))

    def view(self, found: Maps, masks: Tensor | None, from_scratch: bool = False) -> View:
        """Return the last look, at maps that are given as they were found, beside the one before it and the first.

        Args:
            found: the last look's maps.
            masks: (N, T, H, W) bool, or (N, 1, H, W) for all targets, true on the thing; or None.
            from_scratch: whether at step 0 the network had learned nothing yet.
        """
        has_first = from_scratch and len(self.looks) > 1 and self.looks[0].step == 0
        return View(
            maps=found.maps.float(),
            states=found.states,
            kept=self._kept(-1),
            previous=self._kept(-2) if len(self.looks) > 1 else None,
            untrained=self._kept(0) if has_first else None,
            peaks=self.looks[-1].peaks,
            masks=masks,
            faithfulness=found.faithfulness,
            class_sensitivity=found.class_sensitivity,
        )

    def moved(self) -> Tensor:
        """Return how far each map of the last look is from the first's, (N, T) in 0..1; NaN where either is blank."""
        return unlike(self._kept(0), self._kept(-1))

    def _kept(self, place: int) -> Tensor:
        return self.looks[place].maps.float() / 255

    def highest_peaks(self) -> Tensor:
        """Return each map's highest finite peak of all looks, (N, T).

        Raises:
            TypeError: the maps have no peaks.
        """
        peaks = [look.peaks.nan_to_num(0, posinf=0) for look in self.looks if look.peaks is not None]
        if not peaks:
            raise TypeError(f"the maps of {self.layer!r} have no peaks")
        return torch.stack(peaks).amax(0)

    def state_dict(self) -> dict[str, Any]:
        """Return all looks in one tensor a field, the steps first."""
        columns = {name: [getattr(look, name) for look in self.looks] for name in _TENSORS}
        stacked = {name: None if column[0] is None else torch.stack(column) for name, column in columns.items()}
        return {"layer": self.layer, "steps": [look.step for look in self.looks], **stacked}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "History":
        """Return the history that `state_dict` was of."""
        steps = state["steps"]
        columns = ([None] * len(steps) if state[name] is None else state[name] for name in _TENSORS)
        return cls(state["layer"], tuple(Look(*row) for row in zip(steps, *columns, strict=True)))


def kept_maps(found: Maps) -> Tensor:
    """Return the maps at the size that is kept, (N, T, h, w) in 0..1, each with a maximum of 1 unless it is blank."""
    maps = found.maps.float()
    if max(maps.shape[2:]) > MAX_PLACES:
        height, width = maps.shape[2:]
        shrink = MAX_PLACES / max(height, width)
        maps = resampled(maps, (max(1, round(height * shrink)), max(1, round(width * shrink))))
        maps = (maps / maps.amax((2, 3), keepdim=True)).nan_to_num(0)
    return maps


def _kind(look: Look) -> tuple[torch.Size, torch.Size, bool]:
    return look.maps.shape, look.scores.shape, look.peaks is None
