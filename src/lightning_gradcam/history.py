"""A layer's maps over the epochs, small enough to be kept whole and to travel in a checkpoint."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_gradcam.cam import Cams
from lightning_gradcam.metrics import View

LARGEST = 28  # places along a side that are kept; maps at image size, and of early layers, have more


@dataclass(frozen=True)
class Moment:
    """What was seen at one step.

    Attributes:
        step: epochs completed.
        maps: (N, T, h, w) uint8, 255 at each map's peak.
        peaks: (N, T) float32.
        scores: (N,) float32.
        predictions: (N,) int32.
        targets: (N, T) int32.
    """

    step: int
    maps: Tensor
    peaks: Tensor
    scores: Tensor
    predictions: Tensor
    targets: Tensor

    def cams(self, layer: str) -> Cams:
        """Return the maps as they were, to a 255th."""
        maps = self.maps.float() / 255
        predictions, targets = self.predictions.long(), self.targets.long()
        return Cams(maps, self.peaks, self.scores, predictions, targets, layer)


_FIELDS = ("maps", "peaks", "scores", "predictions", "targets")


@dataclass(frozen=True)
class History:
    """The moments of one layer in the order of their steps; another thread may read it while the run goes on."""

    layer: str
    moments: tuple[Moment, ...] = ()

    def with_look(self, step: int, cams: Cams) -> "History":
        """Return the history with a step's maps, without an earlier look at that step or maps of another shape."""
        small = kept_maps(cams)
        moment = Moment(
            step,
            (small * 255).round().byte(),
            cams.peaks.float(),
            cams.scores.float(),
            cams.predictions.int(),
            cams.targets.int(),
        )
        earlier = [one for one in self.moments if one.step < step and one.maps.shape == moment.maps.shape]
        return History(self.layer, (*earlier, moment))

    def view(self, masks: Tensor | None) -> View:
        """Return the last look beside the one before it; `masks` are (N, H, W) bool."""
        now = self.moments[-1]
        previous = self.moments[-2].maps.float() / 255 if len(self.moments) > 1 else None
        return View(now.maps.float() / 255, now.peaks, previous, masks)

    def highest_peaks(self) -> Tensor:
        """Return each map's highest finite peak of all moments, (N, T)."""
        return torch.stack([one.peaks.nan_to_num(0, posinf=0) for one in self.moments]).amax(0)

    def state_dict(self) -> dict[str, Any]:
        """Return all moments in one tensor a field, the steps first."""
        stacked = {name: torch.stack([getattr(one, name) for one in self.moments]) for name in _FIELDS}
        return {"layer": self.layer, "steps": [one.step for one in self.moments], **stacked}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "History":
        """Return the history that `state_dict` was of."""
        rows = zip(state["steps"], *(state[name] for name in _FIELDS), strict=True)
        return cls(state["layer"], tuple(Moment(*row) for row in rows))


def kept_maps(cams: Cams) -> Tensor:
    """Return the maps at the size that is kept, (N, T, h, w) in 0..1, each with a maximum of 1 unless it is blank."""
    maps = cams.maps.float()
    if max(maps.shape[2:]) > LARGEST:
        height, width = maps.shape[2:]
        shrink = LARGEST / max(height, width)
        maps = F.adaptive_avg_pool2d(maps, (max(1, round(height * shrink)), max(1, round(width * shrink))))
        maps = (maps / maps.amax((2, 3), keepdim=True)).nan_to_num(0)
    return maps
