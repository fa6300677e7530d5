"""What is drawn, whoever has it: a fit that goes on, or what one has logged. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lightning_gradcam.pictures.render import Floats, Pixels, Sides, fitted

TRUE, PREDICTED = "true ", "predicted "  # what captions begin with
_GUARD = 1e-7  # against dividing by zero, as in `cam.maps.scaled`


@dataclass(frozen=True)
class Caption:
    """What stands under an image: its truth and the model's answer, and whether that is wrong."""

    truth: str
    answer: str
    wrong: bool = False

    @property
    def text(self) -> str:
        """All of it in a line."""
        return " · ".join(part for part in (self.truth, self.answer) if part)

    @property
    def short(self) -> tuple[str, str]:
        """The truth and the answer without the words that every picture's header says once."""
        return self.truth.removeprefix(TRUE), self.answer.removeprefix(PREDICTED)


@dataclass(frozen=True)
class Scene:
    """Images as people see them, and what is said of them at every look.

    Attributes:
        pictures: (H, W, 3) uint8 an image.
        truths: each image's, in words; "" where it is unknown.
        about: what the maps are of: target, method, task.
        columns: with several targets, their names.
        unit: what looks are counted in, "epoch" or "step".
        total: how many images there are, of which these may be some; 0 where these are all.
        chosen: why these: "wrong" or "moved"; "" where they stand for all, or were named.
        having: how many there are of which that is so.
        looks: how many looks there are, of which some may be drawn; 0 where that is unknown.
    """

    pictures: Sequence[Pixels]
    truths: Sequence[str]
    about: str
    columns: Sequence[str] = ()
    unit: str = "epoch"
    total: int = 0
    chosen: str = ""
    having: int = 0
    looks: int = 0

    def counted(self, looks: int = 1) -> str:
        """How many images are drawn, at so many looks, of how many, and which, if they were chosen for what is said."""
        drawn = len(self.pictures)
        if self.chosen == "wrong":
            which = f"{drawn} of {self.having}" if drawn < self.having else f"all {drawn}" if drawn > 1 else "the only"
            images = f"image{'s' * (self.having != 1)}"
            told = f"wrong {images}" if looks == 1 else f"{images} wrong at a look here,"
            return f"{which} {told} of {self.total}"
        if self.chosen == "moved":
            which = "those that moved most" if drawn < self.having else "all that moved"
            return f"{drawn} of {self.total} images, {which}"
        return f"{drawn} of {self.total} images" if drawn < self.total else f"{drawn} image{'s' * (drawn != 1)}"

    def looked(self, sights: Sequence["Sight"]) -> str:
        """Which looks are drawn, or of how many."""
        if len(sights) < self.looks:
            return f"{len(sights)} of {self.looks} looks"
        first, last = sights[0].step, sights[-1].step
        return f"{self.unit} {first}" if len(sights) == 1 else f"{self.unit}s {first} to {last}"

    def at(self, sides: Sides) -> list[Pixels]:
        """Return the pictures with their longer side brought between two sizes."""
        return [fitted(picture, sides) for picture in self.pictures]

    def of(self, rows: Sequence[int]) -> "Scene":
        """Return some of the images."""
        pictures, truths = [self.pictures[row] for row in rows], [self.truths[row] for row in rows]
        return replace(self, pictures=pictures, truths=truths, total=self.total or len(self.pictures))

    def of_targets(self, most: int) -> "Scene":
        """Return the first of the targets; `about` then says so."""
        if len(self.columns) <= most:
            return self
        about = f"{most} of {len(self.columns)} targets are drawn  ·  {self.about}"
        return replace(self, columns=self.columns[:most], about=about)


@dataclass(frozen=True)
class Sight:
    """One look at a layer, as it is drawn.

    Attributes:
        step: when it was.
        maps: (N, T, h, w) in 0..1.
        states: (N, T) uint8, as `cam.states` has them.
        captions: one an image.
        peaks: (N, T), each map's maximum before it was divided by it; None of maps that tell only where.
    """

    step: int
    maps: Floats
    states: NDArray[np.uint8]
    captions: Sequence[Caption]
    peaks: Floats | None = None

    def of(self, rows: Sequence[int], targets: int) -> "Sight":
        """Return some images' maps of so many targets at most, the first."""
        chosen = list(rows), slice(targets)
        peaks = None if self.peaks is None else self.peaks[chosen]
        captions = [self.captions[row] for row in rows]
        return replace(self, maps=self.maps[chosen], states=self.states[chosen], captions=captions, peaks=peaks)

    def heat(self, size: tuple[int, int], highest: Floats | None = None) -> Floats:
        """Return what is drawn of the maps, (N, T, H, W) in 0..1, enlarged bilinearly.

        Args:
            size: (H, W).
            highest: (N, T) peaks that the maps are drawn as shares of; without them each is scaled by itself.

        Raises:
            TypeError: maps without peaks are to be drawn as shares.
        """
        if highest is not None:
            if self.peaks is None:
                raise TypeError("maps without peaks cannot be drawn as shares of them")
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.nan_to_num(self.peaks / highest, nan=0, posinf=0)[..., None, None]
            drawn: Floats = (_enlarged(self.maps, size) * shares).clip(0, 1)
            return drawn
        if self.peaks is None and self.maps.shape[2:] == size:
            return self.maps
        return _scaled(_enlarged(_scaled(self.maps), size))


def of_targets(
    scene: Scene, sights: Sequence[Sight], highest: Floats | None, most: int
) -> tuple[Scene, list[Sight], Floats | None]:
    """Return what is drawn with so many of each image's targets at most, the first."""
    rows = range(len(scene.pictures))
    return (
        scene.of_targets(most),
        [sight.of(rows, most) for sight in sights],
        None if highest is None else highest[:, :most],
    )


def marked(sights: Sequence[Sight]) -> bool:
    """Whether any prediction is wrong at any of these looks."""
    return any(caption.wrong for sight in sights for caption in sight.captions)


def _scaled(maps: Floats) -> Floats:
    lowest = maps.min((2, 3), keepdims=True)
    scaled: Floats = (maps - lowest) / (_GUARD + maps.max((2, 3), keepdims=True) - lowest)
    return scaled


def _enlarged(maps: Floats, size: tuple[int, int]) -> Floats:
    """(N, T, H, W): between the middles of places, as torch's `interpolate` does with `align_corners=False`."""
    rows, columns = (_weights(length, places) for length, places in zip(size, maps.shape[2:], strict=True))
    enlarged: Floats = rows @ maps.astype(np.float32, copy=False) @ columns.T
    return enlarged


def _weights(length: int, places: int) -> Floats:
    """How much of each place is in each pixel along a side, (length, places)."""
    middles = ((np.arange(length) + 0.5) * places / length - 0.5).clip(0, places - 1)
    distance = np.abs(middles[:, None] - np.arange(places))
    weights: Floats = (1 - distance).clip(0).astype(np.float32)
    return weights
