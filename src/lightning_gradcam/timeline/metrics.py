"""Numbers of maps: one a map, and their means over the images, which are logged."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from lightning_gradcam.cam.areas import resampled
from lightning_gradcam.cam.maps import unlike
from lightning_gradcam.cam.states import BLANK, NOT_FINITE, SHOWN

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
        untrained: (N, T, h', w') the maps of the network before it had learned anything, or None.
        faithfulness: (N, T), as `cam.maps` has it.
        class_sensitivity: (N, T), as `cam.maps` has it.
    """

    maps: Tensor
    states: Tensor
    kept: Tensor
    previous: Tensor | None = None
    peaks: Tensor | None = None
    masks: Tensor | None = None
    untrained: Tensor | None = None
    faithfulness: Tensor | None = None
    class_sensitivity: Tensor | None = None


def drift(view: View) -> Tensor | None:
    """1 - cosine similarity of a map to itself at the look before; 0..1 (on fixed images: arXiv 2601.11625)."""
    if view.previous is None:
        return None
    return unlike(view.kept, view.previous)


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


def areas(masks: Tensor) -> Tensor:
    """Return a thing's share of each image, which `in_mask` is by chance: (N, T, H, W) to (N, T), NaN where none is."""
    return _of_things(masks, masks.float().mean((2, 3)))


def lift(view: View) -> Tensor | None:
    """`in_mask` over the thing's share of the image, which it is by chance; above 0, and 1 by chance."""
    inside = in_mask(view)
    return None if inside is None or view.masks is None else inside / areas(view.masks)


def faithfulness(view: View) -> Tensor | None:
    """How much more the target needs what the map shows than what it does not (`cam.trust`); -0.5..0.5."""
    return view.faithfulness


def class_sensitivity(view: View) -> Tensor | None:
    """1 - similarity to the map of the class that scores next (Sixt et al., arXiv 1912.09818); 0..1."""
    return view.class_sensitivity


def learned(view: View) -> Tensor | None:
    """1 - similarity to the map before training, of random weights (Adebayo et al., arXiv 1810.03292); 0..1."""
    return None if view.untrained is None else unlike(view.kept, view.untrained)


@dataclass(frozen=True)
class Metric:
    """A number, and what has to be known to read it, a sentence each.

    Attributes:
        measure: (N, T) of a view, NaN where a blank map has none; None where it cannot be told.
        says: what it is.
        direction: what more of it is, and its range.
        chance: what it is where there is nothing to be seen.
        failing: where it misleads.
        lacking: what is missing where it cannot be told, and what to pass.
    """

    measure: Callable[[View], Tensor | None]
    says: str
    direction: str
    chance: str
    failing: str
    lacking: str = ""

    @property
    def words(self) -> dict[str, str]:
        """The sentences by their names."""
        return {name: getattr(self, name) for name in ("says", "direction", "chance", "failing")}


_NO_MASKS = "the batch has no masks: pass mask_key"

# A new number is a function above and a row here.
METRICS = {
    "drift": Metric(
        drift,
        "How much attention moved since the look before: 1 - cosine similarity of the maps (2601.11625).",
        "More is farther: 0 is not at all, 1 is elsewhere altogether.",
        "No level: it compares with itself.",
        "What is calm may be calm in the wrong place.",
    ),
    "focus": Metric(
        focus,
        "How much the heat is in one place: 1 - entropy / log of the number of places (2005.00631).",
        "More is narrower: 0 is everywhere alike, 1 a single point.",
        "0, of heat that is everywhere alike.",
        "It rises whether a network generalises or not (10.1007/978-3-031-74627-7_29).",
    ),
    "border": Metric(
        border,
        "Heat in the outer tenth of each side: its share of the map's sum.",
        "More is farther out, 0 to 1.",
        "0.36, of heat that is everywhere alike.",
        "A thing at the edge counts as well, and so does what padding adds there.",
    ),
    "peak": Metric(
        peak,
        "How strong the evidence is: the map's maximum before it is scaled.",
        "More is stronger, above 0 without a bound.",
        "No level: it has the units of the scores.",
        "It grows with the scores, whether a network generalises or not; it compares within one run alone.",
    ),
    "blank": Metric(
        blank,
        "Images in which nothing speaks for the target: their share.",
        "More is more of them, 0 to 1.",
        "0.",
        "A head that starts at zero is blank in all of them, and nothing is wrong with it.",
    ),
    "not_finite": Metric(
        not_finite,
        "Images whose map is NaN or infinite: their share.",
        "More is worse, 0 to 1.",
        "0.",
        "It does not say which weights, activations or gradients are.",
    ),
    "in_mask": Metric(
        in_mask,
        "Heat on the thing: its share of the map's sum, by exact areas (1910.01279).",
        "More is better, 0 to 1.",
        "The thing's share of the image: gradcam/mask_area, but of a segmentation, whose thing is the class.",
        "A map may show what is not used, and miss what is (2212.04629).",
        lacking=_NO_MASKS,
    ),
    "lift": Metric(
        lift,
        "Heat on the thing over what chance gives: in_mask / the thing's share of the image.",
        "More is better, above 0; the most is 1 / that share.",
        "1.",
        "Of a large thing it cannot be much.",
        lacking=_NO_MASKS,
    ),
    "pointing": Metric(
        pointing,
        "Images whose strongest place is on the thing: their share (1608.00507).",
        "More is better, 0 to 1.",
        "The thing's share of the image.",
        "One place counts, wherever all other heat is.",
        lacking=_NO_MASKS,
    ),
    "faithfulness": Metric(
        faithfulness,
        "How much more the model needs what the map shows than what it does not: half the difference of the target's "
        "probability, or the share of its value's fall, without the least relevant fifth of the pixels and without the "
        "most (2202.00449, 2401.06654).",
        "More is better, -0.5 to 0.5; below 0 the map shows what is not needed.",
        "0.",
        "Removal favours blurred maps (2304.13836): epochs of one layer compare safely, layers and methods with care "
        "and beside other numbers.",
        lacking="it needs trust=True",
    ),
    "class_sensitivity": Metric(
        class_sensitivity,
        "How far the map is from that of the class that scores next: 1 - cosine similarity (1912.09818).",
        "More is more of this class alone: 0 is the same map for both, 1 nothing in common.",
        "0, of maps that are blind to the class.",
        "Two classes that are told by the same thing share a map rightly.",
        lacking="it needs trust=True, and several classes with a score each",
    ),
    "learned": Metric(
        learned,
        "How far the map is from that before training, of random weights: 1 - cosine similarity (1810.03292).",
        "More is farther: 0 is what random weights show as well, 1 nothing in common.",
        "0, of maps that show the image's edges rather than the model.",
        "That a map is another one does not say that it is right.",
        lacking="it needs trust=True, and weights that nobody has trained yet",
    ),
}


@cache
def names(known: frozenset[str]) -> tuple[str, ...]:
    """Return the names of the metrics that a run will have told, by the second look.

    Args:
        known: the fields of its views that are not None.
    """
    ones, one = torch.ones(1, 1, 2, 2), torch.ones(1, 1)
    as_maps = {"untrained": ones, "masks": ones.bool()}
    view = View(ones, SHOWN * one, ones, ones, **{name: as_maps.get(name, one) for name in known})
    return tuple(measure(view))


def measure(view: View) -> dict[str, Tensor]:
    """Return every metric that can be told, one value a map, (N, T); NaN where a blank map has none."""
    values = {name: metric.measure(view) for name, metric in METRICS.items()}
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
