"""What was logged of one layer in one run, as arrays and as it is drawn."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_gradcam.cam.states import NOT_FINITE
from lightning_gradcam.logs.unpacking import Data, LookRecord
from lightning_gradcam.pictures.choosing import MOST_TARGETS
from lightning_gradcam.pictures.looks import Caption, Scene, Sight
from lightning_gradcam.pictures.render import Floats, Pixels

logger = logging.getLogger(__name__)

Array = NDArray[Any]

NEVER_WRONG = ("regression", "segmentation", "none")  # tasks
_FIELDS = ("scores", "predictions", "wrong", "targets", "states")


@dataclass(frozen=True)
class LayerLog:
    """What was logged of one layer in one run.

    Attributes:
        run: its path below the folder.
        layer: as `schema.layer_of` has it.
        looks: of the same images and shapes, in the order of their steps.
        told: of the images, as `unpacking.told_of` has it.
        pictures: of the images, encoded; none where they cannot be read, and one is nothing that alone cannot.
        size: their (H, W).
        caution: what is said of the maps at the fit's end.
        notes: what is not there, a sentence each.
        is_cut: looks of other images or shapes, or made in another way, come before it, and are left out.
        others: those, and those of other trainings and of branches that were left.
        beginning: where it goes on from, a sentence; "" where it is the training's beginning.
        earlier: the log that this one goes on from, with the looks that it goes on from alone; None where it begins, or
            that is not there.
    """

    run: str
    layer: str
    looks: Sequence[LookRecord]
    told: dict[str, Any]
    pictures: Data
    size: tuple[int, int]
    caution: str
    notes: Sequence[str]
    is_cut: bool = False
    others: Sequence[LookRecord] = ()
    beginning: str = ""
    earlier: "LayerLog | None" = None

    @property
    def all_notes(self) -> list[str]:
        """What is not there, and where the rest is."""
        return [*self.notes, self.beginning] if self.beginning else [*self.notes]

    @property
    def whole(self) -> "LayerLog":
        """The log with all looks that it goes on from before its own."""
        if self.earlier is None:
            return self
        earlier = self.earlier.whole
        return replace(self, looks=[*earlier.looks, *self.looks], beginning=earlier.beginning, earlier=None)

    @property
    def unit(self) -> str:
        """What steps count: "epoch" or "step"."""
        return str(self.told["unit"])

    @cached_property
    def steps(self) -> Array:
        """(E,) int64."""
        return np.array([look.step for look in self.looks], np.int64)

    @cached_property
    def maps(self) -> Array:
        """(E, N, T, h, w) float32 in 0..1; NaN where a look's cannot be read."""
        shape = [self.looks[0].head["sizes"][axis] for axis in "NThw"]
        found = np.full((len(self.looks), *shape), np.nan, np.float32)
        for place, look in enumerate(self.looks):
            if unpacked := look.maps():
                found[place] = np.frombuffer(unpacked, np.uint8).reshape(shape)
        found /= 255
        return found

    @cached_property
    def names(self) -> list[str]:
        """The numbers that any look has, the last look's first."""
        return list(dict.fromkeys(name for look in reversed(self.looks) for name in look.head["metrics"]))

    @cached_property
    def numbers(self) -> dict[str, Array]:
        """(E, N, T) float32 by name; NaN where a map, or a look, has none."""
        found = {name: np.full(self.states.shape, np.nan, np.float32) for name in self.names}
        for place, (look, held) in enumerate(zip(self.looks, self._arrays, strict=True)):
            for name, values in zip(look.head["metrics"], held["numbers"], strict=True):
                found[name][place] = values
        return found

    @cached_property
    def answers(self) -> Array:
        """(E, N) str: what the model says of each image, in words."""
        return np.array([json.loads(arrays["answers"].tobytes()) for arrays in self._arrays], object)

    @cached_property
    def fields(self) -> dict[str, Array]:
        """What all looks have alike, (E, ...), by their names in `schema.LOOK`."""
        found = {name: np.stack([arrays[name] for arrays in self._arrays]) for name in _FIELDS}
        return found | {"wrong": found["wrong"].astype(bool)}

    @property
    def judged(self) -> Array:
        """(E, N) bool, whether a prediction is right or wrong: of what is known to be of its class, or not to be."""
        predictions, task = self.fields["predictions"], self.told["task"]
        if task == "multilabel":
            never = np.zeros(len(predictions), bool)
            known = [self.open_of(image) for image in range(predictions.shape[1])]
            pairs = zip(predictions.T, known, strict=True)
            return np.stack([never if one is None else ~np.isin(said, one) for said, one in pairs], axis=1)
        truths = self.told["truths"] or [[]] * predictions.shape[1]
        return np.broadcast_to([bool(truth) and task not in NEVER_WRONG for truth in truths], predictions.shape)

    def open_of(self, image: int) -> list[int] | None:
        """Of several classes those that may be an image's or not; None for all of them."""
        if (unknown := self.told["unknown"]) is not None:
            return list(unknown[image]) if unknown[image] is not None else None
        return [] if any(self.told["truths"]) else None  # of an early version, or another task

    @property
    def states(self) -> Array:
        """(E, N, T) uint8, as `cam.states` has them."""
        return self.fields["states"]

    @cached_property
    def _arrays(self) -> list[dict[str, Array]]:
        """Each look's, but for the maps."""
        return [look.arrays() for look in self.looks]

    @cached_property
    def decoded(self) -> list[Pixels]:
        """The images, (H, W, 3) each; none where they cannot be read."""
        parts = [(part, f"image {place} of run {self.run!r}") for place, part in enumerate(self.pictures)]
        return [_decoded(part, self.size, name) for part, name in parts]

    @property
    def scene(self) -> Scene:
        """The images as they are drawn."""
        told, targets = self.told, self.looks[-1].head["sizes"]["T"]
        named = told["columns"] if len(told["columns"]) == targets else []
        columns = named or [f"target {target}" for target in range(targets) if targets > 1]
        return Scene(self.decoded, told["said"], told["about"], columns, self.unit)

    def sight(self, place: int) -> Sight:
        """One look as it is drawn; where its maps cannot be read they are not finite."""
        look = self.looks[place]
        arrays, shape = look.arrays(), [look.head["sizes"][axis] for axis in "NThw"]
        maps, states = look.maps(), arrays["states"]
        values = np.frombuffer(maps, np.uint8).reshape(shape) / np.float32(255) if maps else np.zeros(shape, np.float32)
        answers = json.loads(arrays["answers"].tobytes())
        known = zip(self.told["said"], answers, arrays["wrong"].tolist(), strict=True)
        captions = [Caption(truth, answer, bool(wrong)) for truth, answer, wrong in known]
        states = states if maps else np.full_like(states, NOT_FINITE)
        return Sight(look.step, values, np.minimum(states, NOT_FINITE), captions, look.peaks())

    def drawing(self, places: Sequence[int], rows: Sequence[int], until: int | None = None) -> "Drawing":
        """What is drawn of some looks and images, as strong as in the run's own pictures, which know looks so far."""
        of = rows, MOST_TARGETS
        sights = [self.sight(place).of(*of) for place in places]
        # heat of some looks as shares and of others each by itself could not be compared
        as_shares = self.told["scale"] == "run" and all(sight.peaks is not None for sight in sights)
        scene = self.scene.of(rows).of_targets(MOST_TARGETS)
        return Drawing(scene, sights, self._highest(rows, until) if as_shares else None)

    def _highest(self, rows: Sequence[int], until: int | None) -> Floats | None:
        """Each map's highest peak of all looks so far, those of earlier runs too, (R, T); None where none is known."""
        seen = self.looks[: None if until is None else until + 1]
        known = [*(self.earlier.whole.looks if self.earlier else ()), *seen]
        peaks = [peaks[list(rows), :MOST_TARGETS] for look in known if (peaks := look.peaks()) is not None]
        return np.max([np.nan_to_num(one, nan=0, posinf=0) for one in peaks], axis=0) if peaks else None


class Drawing(NamedTuple):
    """What pictures are drawn from: the images, the looks, and the peaks that their heat is drawn as shares of."""

    scene: Scene
    sights: list[Sight]
    highest: Floats | None


def _decoded(part: bytes, size: tuple[int, int], name: str) -> Pixels:
    """The picture, (H, W, 3); gray, of that (H, W), where it is broken."""
    try:
        with Image.open(BytesIO(part), formats=["JPEG"]) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow tells it
        logger.warning("%s cannot be read, and is shown as gray: %s", name, error)
        return np.full((*size, 3), 128, np.uint8)
