"""Numbers of maps: one a map, and their means over the images, which are logged."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gradcam.cam.maps import BLANK, NOT_FINITE, SHOWN
from lightning_gradcam.timeline.areas import resampled

FRAME = 0.1  # of each side: what `border` counts as the outer frame


@dataclass(frozen=True)
class View:
    """One look's maps of a layer, and what their numbers are made from.

    Attributes:
        maps: (N, T, h, w) >= 0, as they were found; all zeros where nothing is shown.
        states: (N, T), as `cam.maps` has them.
        kept: (N, T, h', w') the same maps, as they are kept.
        previous: (N, T, h', w') those of the look before, or None.
        peaks: (N, T) the maxima before the maps were divided by them, or None where there are none.
        masks: (N, T, H, W) bool, or (N, 1, H, W) for all targets: true on the thing; or None.
    """

    maps: Tensor
    states: Tensor
    kept: Tensor
    previous: Tensor | None = None
    peaks: Tensor | None = None
    masks: Tensor | None = None


def drift(view: View) -> Tensor | None:
    """1 - cosine similarity of a map to itself at the look before; 0..1 (on fixed images: arXiv 2601.11625)."""
    if view.previous is None:
        return None
    now, before = view.kept.flatten(2), view.previous.flatten(2)
    similarity = (now * before).sum(2) / (now.square().sum(2) * before.square().sum(2)).sqrt()
    return (1 - similarity).clamp(0, 1)  # NaN where either is blank


def focus(view: View) -> Tensor:
    """1 - normalised entropy; 0 everywhere alike, 1 a single point (Bhatt et al., arXiv 2005.00631)."""
    share = _shares(view.maps).flatten(2)
    places = share.shape[2]
    if places == 1:
        return share[..., 0] - 1  # one place is everywhere: 0, and NaN where blank
    return (1 + torch.xlogy(share, share).sum(2) / math.log(places)).clamp(0, 1)


def border(view: View) -> Tensor:
    """Share of the heat in the outer frame, a tenth of each side; 0..1, and 0.36 where all is alike."""
    return _share_in(view.maps, 1 - _inner(view.maps.shape[2])[:, None] * _inner(view.maps.shape[3]))


def peak(view: View) -> Tensor | None:
    """The map's maximum before it was divided by it; above 0, without a bound."""
    if view.peaks is None:
        return None
    return torch.where(view.states == SHOWN, view.peaks, torch.nan)


def blank(view: View) -> Tensor:
    """1 where nothing speaks for the target, else 0: its mean is the share of such maps, and counts them all."""
    return (view.states == BLANK).float()


def not_finite(view: View) -> Tensor:
    """1 where a map is NaN or infinite, else 0: its mean is the share of such maps, and counts them all."""
    return (view.states == NOT_FINITE).float()


def in_mask(view: View) -> Tensor | None:
    """Share of the heat inside the mask, each place by its area inside; 0..1 (energy-based pointing, 1910.01279)."""
    if view.masks is None:
        return None
    h, w = view.maps.shape[2:]
    return _of_things(view.masks, _share_in(view.maps, resampled(view.masks, (h, w))))


def pointing(view: View) -> Tensor | None:
    """1 where the map's maximum, the middle of its place, lies inside the mask, else 0 (arXiv 1608.00507)."""
    if view.masks is None:
        return None
    h, w = view.maps.shape[2:]
    height, width = view.masks.shape[2:]
    strongest = view.maps.flatten(2).argmax(2)  # (N, T)
    rows = ((strongest // w + 0.5) * height / h).long()
    columns = ((strongest % w + 0.5) * width / w).long()
    images, targets = (torch.arange(count) for count in strongest.shape)
    inside = view.masks.expand(-1, len(targets), -1, -1)[images[:, None], targets, rows, columns]
    return _of_things(view.masks, torch.where(view.states == SHOWN, inside.float(), torch.nan))


# A new number is a function here: (N, T) of a view, NaN where a blank map has none; None where it cannot be told.
METRICS: dict[str, Callable[[View], Tensor | None]] = {
    metric.__name__: metric for metric in (drift, focus, border, peak, blank, not_finite, in_mask, pointing)
}


NEED_MASKS = (in_mask.__name__, pointing.__name__)


def names(peaks: bool, masks: bool) -> list[str]:
    """Return the names of the metrics that a run will have told, by the second look: tried on a view like its own."""
    ones, one = torch.ones(1, 1, 2, 2), torch.ones(1, 1)
    view = View(ones, SHOWN * one, ones, ones, one if peaks else None, ones.bool() if masks else None)
    return list(measure(view))


def measure(view: View) -> dict[str, Tensor]:
    """Return every metric that can be told, one value a map, (N, T); NaN where a blank map has none."""
    values = {name: metric(view) for name, metric in METRICS.items()}
    return {name: value for name, value in values.items() if value is not None}


def means(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return each metric's mean over the maps that have it; a metric that none has is left out."""
    known = {name: value[value.isfinite()] for name, value in values.items()}
    return {name: float(value.mean()) for name, value in known.items() if len(value)}


def _shares(maps: Tensor) -> Tensor:
    """Each place's share of the map's heat; NaN where there is none."""
    return maps / maps.sum((2, 3), keepdim=True)


def _of_things(masks: Tensor, values: Tensor) -> Tensor:
    """NaN where there is no thing, whose share would be 0 whatever the map."""
    return torch.where(masks.flatten(2).any(2), values, torch.nan)


def _share_in(maps: Tensor, weights: Tensor) -> Tensor:
    return (_shares(maps) * weights).sum((2, 3)).clamp(0, 1)


def _inner(places: int) -> Tensor:
    """How much of each place along a side lies within the frame, 0..1."""
    starts = torch.arange(places, dtype=torch.float32)
    return ((starts + 1).clamp(max=(1 - FRAME) * places) - starts.clamp(min=FRAME * places)).clamp(0, 1)
