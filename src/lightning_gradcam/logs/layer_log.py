"""What was logged of each layer in each run, read back from the event files, with what of it cannot be read."""

import json
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from lightning_gradcam.cam.states import NOT_FINITE
from lightning_gradcam.logs.files import EventReader, Files
from lightning_gradcam.logs.schema import MAPS, caution_of, layer_of, probe_set_of
from lightning_gradcam.logs.unpacking import Data, LookRecord, Record, Series, header_of, probe_of
from lightning_gradcam.pictures.choosing import MOST_TARGETS
from lightning_gradcam.pictures.looks import Caption, Scene, Sight
from lightning_gradcam.pictures.render import Floats, Pixels

logger = logging.getLogger(__name__)

Records = dict[str, list[Record]]  # by tag

_WIDEST = 4096  # pixels of a picture's side: ours have 256
_UNKNOWN: dict[str, Any] = {
    "fingerprints": [],
    "truths": [],
    "said": [],
    "class_names": None,
    "columns": [],
    "about": "",
    "unit": "epoch",
    "task": "",
    "metrics": {},
}


@dataclass(frozen=True)
class LayerLog:
    """What was logged of one layer in one run.

    Attributes:
        run: its path below the folder.
        layer: as `schema.layer_of` has it.
        looks: of the same images and shapes, in the order of their steps.
        told: of the images, as `unpacking.probe_of` has it.
        pictures: of the images, encoded; none where they cannot be read.
        caution: what is said of the maps at the fit's end.
        notes: what is not there, a sentence each.
    """

    run: str
    layer: str
    looks: Sequence[LookRecord]
    told: dict[str, Any]
    pictures: Data
    caution: str
    notes: Sequence[str]

    @cached_property
    def decoded(self) -> list[Pixels]:
        """The images, (H, W, 3) each; none where they cannot be read."""
        return [_decoded(part, f"image {place} of run {self.run!r}") for place, part in enumerate(self.pictures)]

    @property
    def scene(self) -> Scene:
        """The images as they are drawn."""
        told, targets = self.told, self.looks[-1].head["sizes"]["T"]
        columns = told["columns"] or [f"target {target}" for target in range(targets) if targets > 1]
        return Scene(self.decoded, told["said"], told["about"], columns, told["unit"])

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
        known = self.looks[: None if until is None else until + 1] if "scale: run" in self.told["about"] else []
        peaks = [peaks[list(rows), :MOST_TARGETS] for look in known if (peaks := look.peaks()) is not None]
        highest = np.max([np.nan_to_num(one, nan=0, posinf=0) for one in peaks], axis=0) if peaks else None
        scene = self.scene.of(rows).of_targets(MOST_TARGETS)
        return Drawing(scene, sights, highest)


class Drawing(NamedTuple):
    """What pictures are drawn from: the images, the looks, and the peaks that their heat is drawn as shares of."""

    scene: Scene
    sights: list[Sight]
    highest: Floats | None


def read_layers(runs: Files, notes: list[str]) -> list[LayerLog]:
    """Read all runs' layers, in natural order; what cannot be read is added to the notes."""
    layers = []
    size = sum(file.stat().st_size for files in runs.values() for file in files)
    with tqdm(desc="event files", total=size, unit="B", unit_scale=True, delay=2, disable=None, leave=False) as bar:
        for run in sorted(runs, key=natural):
            reader = EventReader(bar.update)
            records = reader.read(runs[run])
            notes += reader.faults
            tags = sorted((tag for tag in records if tag.endswith(f"/{MAPS}")), key=natural)
            found = (_layer(run, tag, records, reader.faults, notes) for tag in tags)
            layers += [layer for layer in found if layer is not None]
    return layers


def _layer(run: str, tag: str, records: Records, faults: Sequence[str], notes: list[str]) -> LayerLog | None:
    """What was logged under a tag of maps, with the run's faults; None, and noted, where no look can be read."""
    series, count = Series.of(records[tag]), len(records[tag])
    place = f"{layer_of(tag)!r} of run {run!r}"
    unread = [f"{series.broken} of {count} looks at {place} cannot be read"] if series.broken else []
    if not series.looks:
        notes += unread
        return None
    looks, left_out = _alike(series.looks, place)
    told, pictures = _images(records.get(probe_set_of(tag), []), looks[-1])
    blurred = sum(not look.maps() for look in looks)
    lost = [f"the maps of {blurred} of {len(looks)} looks at {place} cannot be read"] if blurred else []
    is_begun = looks[0].before and looks[0].step > 0
    begun = [f"{place} goes on from looks in another log; its first is at {looks[0].step}"] if is_begun else []
    unseen = [] if pictures else [f"the images that the looks at {place} are of cannot be read"]
    caution = _caution(records.get(caution_of(tag), []))
    return LayerLog(
        run, layer_of(tag), looks, told, pictures, caution, [*faults, *unread, *left_out, *lost, *unseen, *begun]
    )


def _alike(looks: Sequence[LookRecord], place: str) -> tuple[list[LookRecord], list[str]]:
    """The looks that are of the last one's images and shapes, and what is said of the others."""
    last = looks[-1]
    same = [look for look in looks if look.head["probe_set"] == last.head["probe_set"]]
    alike = [look for look in same if _shape(look) == _shape(last)]
    counts = {"other images": len(looks) - len(same), "other shapes": len(same) - len(alike)}
    told = [
        f"{count} of {len(looks)} looks at {place} are of {what} than the last, and left out"
        for what, count in counts.items()
        if count
    ]
    return alike, told


def _shape(look: LookRecord) -> list[int]:
    return [look.head["sizes"][axis] for axis in "NSThw"]


def _images(records: list[Record], look: LookRecord) -> tuple[dict[str, Any], Data]:
    """What is told of a look's images, and these, encoded; little and none where they cannot be read."""
    for *_, parts in reversed(records):
        told = probe_of(parts)
        is_its = told is not None and told["probe_set"] == look.head["probe_set"]
        if (
            told
            and is_its
            and len(parts) == 1 + look.head["sizes"]["N"]
            and len({_size(part) for part in parts[1:]}) == 1
        ):
            return (told, parts[1:]) if _size(parts[1]) else (_UNKNOWN, [])
    return _UNKNOWN, []


def _size(part: bytes) -> tuple[int, int] | None:
    """The size of what begins as a JPEG that can be shown: few bytes may stand for very many. None of anything else."""
    with suppress(Exception), Image.open(BytesIO(part), formats=["JPEG"]) as picture:
        return picture.size if max(picture.size) <= _WIDEST else None
    return None


def _caution(records: list[Record]) -> str:
    found = [header for *_, parts in records if (header := header_of(parts))]
    told = found[-1].get("told") if found else ""
    return told if isinstance(told, str) else ""


def natural(name: str) -> list[tuple[bool, int, str]]:
    """What sorts names as people do: layer2 before layer10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def _decoded(part: bytes, name: str) -> Pixels:
    """The picture, (H, W, 3); gray where it is broken behind its head."""
    with Image.open(BytesIO(part), formats=["JPEG"]) as picture:
        try:
            return np.array(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:  # as Pillow tells it
            logger.warning("%s cannot be read, and is shown as gray: %s", name, error)
            return np.full((picture.height, picture.width, 3), 128, np.uint8)
