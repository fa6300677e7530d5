"""How the numbers that a model gets become images as people see them: which channels, and what normalising did."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.pictures.render import Pixels

logger = logging.getLogger(__name__)

Statistics = float | Sequence[float]  # one for all channels, or one a channel
Numbers = NDArray[np.number[Any]]
Channels = int | Sequence[int]  # the one that is gray, or those that are red, green and blue

_MOST = 1e30  # that a mean or a std may be
_FAR, _MOST_OUTSIDE = 0.05, 0.5  # of black and white; of the pixels, where a mean and a std are not the images'
_BRIGHTEST = 64, 268  # between which the brightest of images of 0..255 lies, also where it was resized


@dataclass(frozen=True)
class Appearance:
    """How images are shown.

    Attributes:
        mean: what normalising subtracted, one number for all channels or one a channel; None with `std` None.
        std: what it divided by.
        channels: which are red, green and blue, or the one that is gray; None takes the first three, of two the first.

    Raises:
        SettingError: one of mean and std alone, other than finite numbers, a std of 0 or less, other than 1 or 3
            channels.
        TypeError: other than numbers.
    """

    mean: Statistics | None = None
    std: Statistics | None = None
    channels: Channels | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise SettingError(f"mean={quoted(self.mean)} and std={quoted(self.std)}: accepted are both or neither")
        _check_statistics("mean", self.mean)
        _check_statistics("std", self.std)
        _check_channels(self.channels)

    def check_fits(self, channels: int) -> None:
        """Refuse what images of so many channels do not have.

        Raises:
            SettingError: naming the argument.
        """
        for name, values in (("mean", self.mean), ("std", self.std)):
            if isinstance(values, Sequence) and len(values) not in (1, channels):
                raise SettingError(f"{name} has {len(values)} numbers; the images have {channels} channels")
        if outside := [one for one in self._given if one >= channels]:
            raise SettingError(
                f"channels={quoted(self.channels)}: the images have no channel {outside[0]}; they have "
                f"{channels} (0 to {channels - 1})"
            )

    def shown(self, channels: int) -> list[int]:
        """Return which of so many channels are shown, one or three."""
        return self._given or list(range(1 if channels < 3 else 3))

    @property
    def _given(self) -> list[int]:
        if self.channels is None:
            return []
        return [self.channels] if isinstance(self.channels, int) else list(self.channels)

    def undone(self, images: Numbers) -> Numbers:
        """Return the channels shown, (N, 1 or 3, H, W), before they were normalised."""
        shown = self.shown(images.shape[1])
        if self.mean is None or self.std is None:
            return images[:, shown]
        mean, std = (
            np.resize(np.asarray(values, np.float32), images.shape[1])[shown, None, None]
            for values in (self.mean, self.std)
        )
        undone: Numbers = images[:, shown] * std + mean
        return undone

    def unit(self, undone: Numbers) -> int | None:
        """Return what is white: 1, or 255; None where the numbers are of another kind, as reflectances are.

        Without mean and std whole numbers of 0..255 are pixels, and all else is of another kind.
        """
        if self.mean is None or self.std is None:
            is_of_bytes = np.issubdtype(undone.dtype, np.integer) and np.min(undone) >= 0 and np.max(undone) <= 255
            return 255 if is_of_bytes else None
        if np.max(np.abs(self.mean)) <= 1 and np.max(self.std) <= 1:
            return 1
        low, high = _BRIGHTEST
        brightest = np.nanmax(undone, initial=0)
        return 255 if np.min(self.mean) >= 0 and low <= brightest <= high else None

    def pictures(self, images: Numbers) -> list[Pixels]:
        """Return images (N, C, H, W) as people see them, N arrays (H, W, 3).

        Where nothing says what is black and what is white each image is stretched: without mean and std to its own
        range, with those of reflectances, decibels or others from its 2nd to its 98th percentile, as is usual for them.
        What is no number is black.
        """
        undone = self.undone(images)
        unit = self.unit(undone)
        if unit:
            shown = undone / np.float32(unit)
            outside = float(np.mean((shown < -_FAR) | (shown > 1 + _FAR)))
            if outside > _MOST_OUTSIDE:
                told = "mean=%s, std=%s: with these %.0f %% of the pixels are darker than black or brighter than white"
                logger.warning(told, quoted(self.mean), quoted(self.std), 100 * outside)
        else:
            ends = (0, 100) if self.mean is None else (2, 98)
            shown = np.stack([_stretched(one, ends) for one in undone])
        pixels = (np.nan_to_num(shown, posinf=0, neginf=0).clip(0, 1) * 255).round().astype(np.uint8)
        return [np.repeat(one, 3 // len(one), axis=0).transpose(1, 2, 0) for one in pixels]


def _stretched(image: Numbers, ends: tuple[int, int]) -> Numbers:
    """An image, (C, H, W), from one percentile of its numbers to another, in 0..1."""
    numbers = image[np.isfinite(image)]
    low, high = np.percentile(numbers, ends) if numbers.size else (0.0, 1.0)
    stretched: Numbers = (image - low) / max(high - low, 1e-12)
    return stretched


def _check_statistics(name: str, values: object) -> None:
    numbers = [] if values is None else [values] if isinstance(values, (int, float)) else values
    if not isinstance(numbers, Sequence) or not all(type(number) in (int, float) for number in numbers):
        raise TypeError(f"{name}={quoted(values)}: accepted is a number, or a number a channel")
    if values is not None and not numbers:
        raise SettingError(f"{name}={quoted(values)} is empty; accepted is a number, or a number a channel")
    if not all(abs(number) < _MOST and (name == "mean" or number > 0) for number in numbers):
        raise SettingError(
            f"{name}={quoted(values)}: accepted are finite numbers" + (" above 0" if name == "std" else "")
        )


def _check_channels(channels: object) -> None:
    if channels is None:
        return
    told = "accepted are the three that are red, green and blue, as (2, 1, 0), or the one that is gray"
    numbers = list(channels) if isinstance(channels, (list, tuple)) else [channels]
    whole = [one for one in numbers if type(one) is int]
    if len(whole) < len(numbers):
        raise TypeError(f"channels={quoted(channels)}: {told}")
    if len(whole) not in (1, 3) or min(whole) < 0:
        raise SettingError(f"channels={quoted(channels)}: {told}; they count from 0")
