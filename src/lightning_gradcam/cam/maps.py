"""What was found where: maps with a strength, and heatmaps that have none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_gradcam.cam.states import BLANK, NOT_FINITE, SHOWN

_CHANNELS = (1, 2, 3, 4)

_ExplainedT = TypeVar("_ExplainedT", bound="_Explained")


@dataclass(frozen=True)
class _Explained:
    """One layer's maps of N images and T targets, T = 1 unless several classes were asked for.

    Attributes:
        maps: (N, T, h, w) in 0..1; all zeros where nothing is shown.
        scores: (N, S) what captions say of the prediction, as `targets.Scores.told` has it.
        predictions: (N,) the predicted class; -1 where the scores are not finite.
        targets: (N, T) the explained class; -1 where the target is no single class.
        layer: dotted name; several averaged into one map are joined by "+".
        faithfulness: (N, T) in -0.5..0.5, NaN where no map is shown, as `trust.Removal` has it; None where it was
            not asked for.
        class_sensitivity: (N, T) in 0..1, 1 - similarity to the runner-up's map, NaN where either is blank; None where
            it was not asked for, or there is no other class.
    """

    maps: Tensor
    scores: Tensor
    predictions: Tensor
    targets: Tensor
    layer: str
    faithfulness: Tensor | None = field(default=None, kw_only=True)
    class_sensitivity: Tensor | None = field(default=None, kw_only=True)

    def columns(self: _ExplainedT, chosen: slice) -> _ExplainedT:
        """Return some targets' maps."""
        of_images = ("scores", "predictions")
        named = {name: one[:, chosen] for name, one in tensors_of(self).items() if name not in of_images}
        return replace(self, **named)  # type: ignore[arg-type]

    def of(self: _ExplainedT, rows: slice | list[int], device: torch.device) -> _ExplainedT:
        """Return some images' maps, on a device."""
        return replace(self, **{name: one[rows].to(device) for name, one in tensors_of(self).items()})  # type: ignore[arg-type]

    def copied(self: _ExplainedT) -> Callable[[], _ExplainedT]:
        """Start copying to the CPU without waiting for the device; the returned function waits and gives the copy."""
        device = self.maps.device
        named = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors_of(self).items()}
        copy = replace(self, **named)  # type: ignore[arg-type]
        if device.type != "cuda":
            return lambda: copy
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(device))

        def wait() -> _ExplainedT:
            done.synchronize()
            return copy

        return wait


@dataclass(frozen=True)
class Cams(_Explained):
    """Maps of the gradient family: how the evidence lies, and how strong it is.

    Attributes:
        peaks: (N, T) each map's maximum before it was divided by it, >= 0; not finite where the map was not. Of layers
            that are averaged into one map, the mean of theirs.
    """

    peaks: Tensor

    @property
    def states(self) -> Tensor:
        """SHOWN, BLANK or NOT_FINITE, (N, T) uint8."""
        return _states(self.peaks)

    def heatmaps(self, size: tuple[int, int]) -> Tensor:
        """Return the maps enlarged bilinearly to (H, W), each scaled to 0..1: (N, T, H, W)."""
        return _refitted(self.maps, size)


@dataclass(frozen=True)
class Heatmaps(_Explained):
    """Maps at image size that tell only where, as grad-cam's own methods and augmentation smoothing give them.

    Each was scaled to its own range on the way: there is no peak to compare by.

    Attributes:
        states: (N, T) uint8: SHOWN, BLANK or NOT_FINITE.
    """

    states: Tensor

    def heatmaps(self, size: tuple[int, int]) -> Tensor:
        """Return the maps as they are, or at another size (H, W), enlarged and scaled to 0..1 again."""
        return self.maps.float() if self.maps.shape[2:] == size else _refitted(self.maps, size)


Maps = Cams | Heatmaps


def size_of(images: Tensor) -> tuple[int, int]:
    """Return (H, W) of images."""
    height, width = channels_first(images).shape[-2:]
    return height, width


def as_given(first: Tensor, images: Tensor) -> Tensor:
    """Return images (N, C, H, W) in the order of axes of others."""
    return first if channels_first(images) is images else first.movedim(1, -1)


def channels_first(images: Tensor) -> Tensor:
    """Return images as (N, C, H, W), also those of (N, H, W, C), told by sides that can be no channels."""
    is_last = images.shape[-1] in _CHANNELS and images.shape[1] not in _CHANNELS
    return images.movedim(-1, 1) if is_last else images


def divided(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Divide raw maps, (N, T, h, w) >= 0, by their peaks, (N, T); return both."""
    peaks = raw.amax((2, 3))
    is_shown = (peaks > 0) & (peaks < torch.inf)
    return torch.where(is_shown[..., None, None], raw / peaks[..., None, None], 0), peaks


def averaged(raws: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average several layers' raw maps, (N, T, h, w) each, as grad-cam does: scaled and enlarged each, scaled again.

    Returns:
        The maps, (N, T, H, W) in 0..1, and their peaks, (N, T): the mean of the layers'.
    """
    peaks = torch.stack([raw.amax((2, 3)) for raw in raws]).mean(0)
    mean = scaled(torch.stack([enlarged(scaled(raw), size) for raw in raws]).mean(0))
    return mean.nan_to_num(0, posinf=0).clamp(0, 1), peaks


def finished(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Return heatmaps, (N, T, H, W), in 0..1 and finite, and their states, (N, T)."""
    return heatmaps.nan_to_num(0, posinf=0, neginf=0).clamp(0, 1), _states(heatmaps.amax((2, 3)))


def unlike(maps: Tensor, others: Tensor) -> Tensor:
    """Return 1 - the cosine similarity of maps, (N, T, ...) >= 0, to others: (N, T) in 0..1, NaN where one is blank."""
    one, other = maps.float().flatten(2), others.float().flatten(2)
    similarity = (one * other).sum(2) / (one.square().sum(2) * other.square().sum(2)).sqrt()
    return (1 - similarity).clamp(0, 1)


def scaled(maps: Tensor) -> Tensor:
    """Scale each map to 0..1 by its minimum and maximum, with grad-cam's guard against dividing by zero."""
    lowest = maps.amin((-2, -1), keepdim=True)
    return (maps - lowest) / (1e-7 + maps.amax((-2, -1), keepdim=True) - lowest)


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bilinearly, (N, T, h, w) to (N, T, H, W)."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def joined(parts: Sequence[Maps], rows: Sequence[range] = ()) -> Maps:
    """Return the maps of several sets of images, all of one layer, as those of one set.

    Args:
        parts: of each set.
        rows: which images each set has; of images that several have, the first set's are taken.
    """
    if len(parts) == 1:
        return parts[0]
    tensors = {name: torch.cat([tensors_of(part)[name] for part in parts]) for name in tensors_of(parts[0])}
    places = {row: place for place, row in reversed([*enumerate(chain(*rows))])}
    if places:
        tensors = {name: tensor[[places[row] for row in sorted(places)]] for name, tensor in tensors.items()}
    return replace(parts[0], **tensors)  # type: ignore[arg-type]


def tensors_of(found: _Explained) -> dict[str, Tensor]:
    """Return the fields that are tensors, by name."""
    named = {field.name: getattr(found, field.name) for field in fields(found)}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def _states(peaks: Tensor) -> Tensor:
    states = torch.where(peaks > 0, SHOWN, BLANK)
    return torch.where(peaks.isfinite(), states, NOT_FINITE).to(torch.uint8)


def _refitted(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return scaled(enlarged(scaled(maps.float()), size))
