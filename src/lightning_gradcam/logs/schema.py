"""What is written under which tag and in which layout: all that a writer and a reader of the event files share.

The Attention tab's data are string tensors of plugin `gradcam`, a part a string, the first a header in JSON:

- `gradcam/[{name}/]{layer}/maps`, one a look. The header has `version`; `probe_set`, which tells the images that it is
  of, and the way in which they are looked at, from others; `sizes`, how long each axis is; `metrics`, the names along
  axis M; `id`, which tells the look from others, and `before`, the ids of those that came before it, the nearest first;
  `check`, `check_of` its step and this. Then a part a field of `LOOK`, `deflated`.
- `gradcam/[{name}/]{layer}/caution`, one a fit, at its end, with `trust=True`. The header has `version`; `told`, a
  sentence; `check`, `check_of` this.
- `gradcam/[{name}/]probe`, one a set of images and a way of looking at them. The header has `version`; `probe_set`;
  `fingerprints`, an image's each; `indices`, where in the data set each is, null or missing where that is unknown;
  `areas`, each thing's share of its image, null where there is none, and null or missing where masks are unknown;
  `truths`, each image's classes or values, and `said`, in words; `unknown`, of several classes those that may be each
  image's or not, null for all of them, and null or missing of other tasks; `class_names`;
  `columns`, the names of several targets; `about`; `unit`, what looks are counted in, "epoch" where it is missing or
  "step"; `scale`, how maps are drawn, "image", each by itself, where it is missing, or "run", as shares of the highest
  peak their image has had; `task`, its kind, "" where missing; `metrics`, what has to be known to read each number, as
  `metrics.Metric` has it, {} where missing; `pictures`, the CRC-32 of each image; `check`, `check_of` all this. Then
  each image as a JPEG.
"""

import json
import zlib
from collections.abc import Mapping
from math import prod
from typing import NamedTuple

ROOT = "gradcam"
FILMSTRIP, TIMELAPSE = "filmstrip", "timelapse"  # beside a layer's metrics, whose names are `metrics.METRICS`
MASK_AREA = "mask_area"

PLUGIN = ROOT
VERSION = 3
MOST = 64 * 2**20  # bytes of a look that is unpacked
MAPS = "maps"
CAUTION = "caution"
PROBE_SET = "probe"


class Field(NamedTuple):
    """One array of a look: its name, its numbers as NumPy writes them, and its axes.

    Axes: M metrics, N images, S numbers that captions say, A letters, T targets, h and w places of a map.
    """

    name: str
    dtype: str
    axes: str

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return how long each axis is."""
        return tuple(sizes[axis] for axis in self.axes)

    def length(self, sizes: Mapping[str, int]) -> int:
        """Return the array's bytes."""
        return prod(self.shape(sizes)) * int(self.dtype[-1])


LOOK = (
    Field("numbers", "<f4", "MNT"),  # as `metrics` measures them, of any range; NaN where a map has none
    Field("scores", "<f4", "NS"),
    Field("predictions", "<i4", "N"),
    Field("wrong", "|u1", "N"),
    Field("answers", "|u1", "A"),  # a list of words, an image's each, in JSON
    Field("targets", "<i4", "NT"),
    Field("states", "|u1", "NT"),  # 0 shown, 1 blank, 2 not finite
    Field("maps", "|u1", "NThw"),  # 255 at the peak
)


def check_of(told: object) -> int:
    """Return the CRC-32 of what is told, as JSON: arrays have checks of their own."""
    return zlib.crc32(json.dumps(told, separators=(",", ":")).encode())


def deflated(array: bytes) -> bytes:
    """Pack an array's bytes: maps are mostly empty, classes mostly small."""
    return zlib.compress(array)


def inflated(part: bytes, length: int) -> bytes:
    """Unpack an array of so many bytes, and never more.

    Raises:
        ValueError: it is not of that length, or broken.
    """
    try:
        array = zlib.decompressobj().decompress(part, length + 1)
    except zlib.error as error:
        raise ValueError(f"a broken array: {error}") from error
    if len(array) != length:
        raise ValueError(f"an array of other than {length} bytes")
    return array


def root_tag(name: str | None) -> str:
    """What all tags of a callback begin with; one with a name has tags of its own."""
    return f"{ROOT}/{name}" if name else ROOT


def grid_tag(layer: str, name: str | None = None, test: bool = False) -> str:
    """Tag of a layer's picture grid; `trainer.test` has its own, since its images are others."""
    layer = f"layer.{layer}" if layer in (PROBE_SET, MASK_AREA) else layer  # those are taken
    return f"{root_tag(name)}/{layer}/test" if test else f"{root_tag(name)}/{layer}"


def part_tag(grid: str, part: str) -> str:
    """Tag of what is shown of a layer besides its grid: a metric, the film strip, the time-lapse, the tab's maps."""
    return f"{grid}/{part}"


def layer_of(maps_tag: str) -> str:
    """Return the layer whose maps a tag has, behind the callback's name if it has one."""
    return maps_tag.removeprefix(f"{ROOT}/").removesuffix(f"/{MAPS}")


def caution_tag(maps_tag: str) -> str:
    """Return the tag of what is said at a fit's end of the maps under a tag."""
    return f"{maps_tag.removesuffix(MAPS)}{CAUTION}"


def probe_set_of(maps_tag: str) -> str:
    """Return the tag of the images that the maps under a tag are of."""
    return f"{maps_tag.rsplit('/', 2)[0]}/{PROBE_SET}"
