"""A layer's looks in the order of time, of a size that does not grow with them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b

import torch
from torch import Tensor

from lightning_gradcam.cam.areas import resampled
from lightning_gradcam.cam.maps import Cams, Heatmaps, Maps, unlike
from lightning_gradcam.timeline.metrics import View

MAX_PLACES = 28  # along a side of a kept map; maps at image size, and of early layers, have more
LINKS = 8  # looks that each knows before it
MOST_LOOKS = 600  # that are kept of the images that are drawn: a film has 300


@dataclass(frozen=True)
class Look:
    """What was seen at one step.

    Attributes:
        step: epochs completed.
        maps: (N, T, h, w) uint8, 255 at each map's peak.
        states: (N, T) uint8, as `cam.states` has them.
        scores: (N, S) float32.
        predictions: (N,) int32, -1 where the scores are not finite.
        targets: (N, T) int32.
        peaks: (N, T) float32; None where maps have none.
        id: what tells it from any other look, by the run, by all that was seen and by what came before; "" before it
            is in a line.
        before: the ids of those that came before, the nearest first: several, since one may be lost on its way.
    """

    step: int
    maps: Tensor
    states: Tensor
    scores: Tensor
    predictions: Tensor
    targets: Tensor
    peaks: Tensor | None
    id: str = ""
    before: tuple[str, ...] = ()

    @classmethod
    def at(cls, step: int, found: Maps) -> "Look":
        """Return the maps as they are kept."""
        return cls(
            step,
            (kept_maps(found) * 255).round().byte(),
            found.states,
            found.scores.float(),
            found.predictions.int(),
            found.targets.int(),
            found.peaks.float() if isinstance(found, Cams) else None,
        )

    def found(self, layer: str) -> Maps:
        """Return the maps as they were, to a 255th."""
        known = (self.maps.float() / 255, self.scores, self.predictions.long(), self.targets.long(), layer)
        return Heatmaps(*known, self.states) if self.peaks is None else Cams(*known, self.peaks)

    def behind(self, other: "Look | None", run: str) -> "Look":
        """Return the look, of a run, in the line that another one ends, or at the beginning of one."""
        before = (other.id, *other.before)[:LINKS] if other else ()
        digest = blake2b(f"{run} {before[:1]} {self.step}".encode(), digest_size=8)
        for tensor in (self.maps, self.states, self.scores, self.predictions, self.targets, self.peaks):
            digest.update(b"" if tensor is None else tensor.contiguous().numpy().tobytes())
        return replace(self, id=digest.hexdigest(), before=before)

    def of(self, rows: Sequence[int] | None) -> "Look":
        """Return some images' maps; all where `rows` is None."""
        if rows is None:
            return self
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen = {name: one[list(rows)] for name, one in named.items() if isinstance(one, Tensor)}
        return Look(**named | chosen)


@dataclass(frozen=True)
class History:
    """The looks at one layer; another thread may read it while the run goes on.

    Whole are the first, the last and the one before it; of the images that are drawn there are more.

    Attributes:
        layer: its name.
        rows: the images that are drawn; None for all.
        looks: at these images, in the order of their steps: of more than 600 every second, fourth, ... and the last.
        count: how many looks there were.
        highest: each drawn map's highest finite peak of all looks, (R, T); None where maps have no peaks.
        first: the first look, at all images.
        before: the one before the last; None where it is not known.
        last: the last.
        run: what tells the run from others, which may see the very same.
    """

    layer: str
    rows: tuple[int, ...] | None = None
    looks: tuple[Look, ...] = ()
    count: int = 0
    highest: Tensor | None = None
    first: Look | None = None
    before: Look | None = None
    last: Look | None = None
    run: str = ""

    def with_look(self, step: int, found: Maps, beside: bool = False) -> "History":
        """Return the history with a step's maps, without looks of another kind of map.

        Args:
            step: epochs completed.
            found: the maps.
            beside: leave looks at that step or later, which a training that goes on from there takes back.
        """
        return self.followed_by(Look.at(step, found), beside)

    def followed_by(self, look: Look, beside: bool = False) -> "History":
        """Return the history with one look more, at all images; as `with_look`."""
        stays = self.last is not None and _kind(self.last) == _kind(look)  # all looks here are of one kind
        earlier = [one for one in self.looks if stays and (beside or one.step < look.step)]
        if not look.id:
            look = look.behind(earlier[-1] if earlier else None, self.run)
        drawn = look.of(self.rows)
        is_whole = len(earlier) == len(self.looks)
        count = self.count if is_whole else (len(earlier) - 1) * _apart(self.count) + 1 if earlier else 0
        whole = [one for one in (self.first, self.before, self.last) if one and earlier]
        return History(
            self.layer,
            self.rows,
            (*_thinned(earlier, count), drawn),
            count + 1,
            _highest([drawn, *([] if is_whole else earlier)], self.highest if is_whole else None),
            next((one for one in whole if one.step == earlier[0].step), look),
            next((one for one in reversed(whole) if one.step == earlier[-1].step), None),
            look,
            self.run,
        )

    def view(self, found: Maps, masks: Tensor | None, from_scratch: bool = False) -> View:
        """Return the last look, at maps that are given as they were found, beside the one before it and the first.

        Args:
            found: the last look's maps.
            masks: (N, T, H, W) bool, or (N, 1, H, W) for all targets, true on the thing; or None.
            from_scratch: whether at step 0 the network had learned nothing yet.
        """
        first, last = self.ends
        has_first = from_scratch and first is not last and first.step == 0
        return View(
            maps=found.maps.float(),
            states=found.states,
            kept=_kept(last),
            previous=None if self.before is None else _kept(self.before),
            untrained=_kept(first) if has_first else None,
            peaks=last.peaks,
            masks=masks,
            faithfulness=found.faithfulness,
            class_sensitivity=found.class_sensitivity,
        )

    def moved(self) -> Tensor:
        """Return how far each map of the last look is from the first's, (N, T) in 0..1; NaN where either is blank."""
        first, last = self.ends
        return unlike(_kept(first), _kept(last))

    @property
    def ends(self) -> tuple[Look, Look]:
        """The first and the last look, at all images.

        Raises:
            ValueError: there was none.
        """
        if self.first is None or self.last is None:
            raise ValueError(f"{self.layer!r} was not looked at")
        return self.first, self.last


def kept_maps(found: Maps) -> Tensor:
    """Return the maps at the size that is kept, (N, T, h, w) in 0..1, each with a maximum of 1 unless it is blank."""
    maps = found.maps.float()
    if max(maps.shape[2:]) > MAX_PLACES:
        height, width = maps.shape[2:]
        shrink = MAX_PLACES / max(height, width)
        maps = resampled(maps, (max(1, round(height * shrink)), max(1, round(width * shrink))))
        maps = (maps / maps.amax((2, 3), keepdim=True)).nan_to_num(0)
    return maps


def _kept(look: Look) -> Tensor:
    return look.maps.float() / 255


def _apart(count: int) -> int:
    """How many looks lie between two that are kept of so many, from the first on: the last is kept besides."""
    return 1 << (max(0, count - 1) // MOST_LOOKS).bit_length()


def _thinned(looks: list[Look], count: int) -> list[Look]:
    """What of the looks that are kept of so many stays when another one comes."""
    before, after = _apart(count), _apart(count + 1)
    is_off = bool(looks) and (count - 1) % after != 0  # it was there as the last
    return looks[: len(looks) - is_off][:: after // before]


def _highest(looks: list[Look], so_far: Tensor | None) -> Tensor | None:
    peaks = [look.peaks.nan_to_num(0, posinf=0) for look in looks if look.peaks is not None]
    known = peaks if so_far is None else [*peaks, so_far]
    return torch.stack(known).amax(0) if peaks else None


def _kind(look: Look) -> tuple[torch.Size, torch.Size, bool]:
    return look.maps.shape, look.scores.shape, look.peaks is None
