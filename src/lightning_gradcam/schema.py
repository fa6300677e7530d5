"""What is written under which tag and in which layout: all that a writer and a reader of the event files share.

The Attention tab's data are string tensors of plugin `gradcam`, a part a string:

- `gradcam/{layer}/maps`, one an epoch: a header (JSON: `version`, `shape` [N, T, h, w], `metrics`, names), then as
  `MOMENT_PARTS` has them, little endian.
- `gradcam/probe`, one a run: a header (JSON: `version`, `truths`: each image's classes or its value, `class_names`,
  `columns`: the names of several targets, `about`), then each image as a JPEG.
"""

from collections.abc import Sequence
from math import prod

ROOT = "gradcam"
FILMSTRIP, TIMELAPSE = "filmstrip", "timelapse"  # beside a layer's metrics, whose names are `metrics.METRICS`
MASK_AREA = f"{ROOT}/mask_area"

PLUGIN = ROOT
VERSION = 1
MAPS = "maps"
PROBE = f"{ROOT}/probe"
MOMENT_PARTS = {
    "maps": "uint8, (N, T, h, w), 255 at the peak",
    "peaks": "float32, (N, T)",
    "scores": "float32, (N,)",
    "predictions": "int32, (N,)",
    "targets": "int32, (N, T)",
    "numbers": "uint16, (metrics, N, T): 0..1 in steps of 1 / 65534; 65535 where a map has none",
}
NUMBER_STEPS, NO_NUMBER = 65534, 65535


def grid_tag(layer: str, test: bool = False) -> str:
    """Tag of a layer's picture grid; `trainer.test` has its own, since its images are others."""
    return f"{ROOT}/{layer}/test" if test else f"{ROOT}/{layer}"


def part_tag(grid: str, part: str) -> str:
    """Tag of what is shown of a layer besides its grid: a metric, the film strip, the time-lapse, the tab's maps."""
    return f"{grid}/{part}"


def layer_of(maps_tag: str) -> str:
    """Return the layer whose maps a tag has."""
    return maps_tag.removeprefix(f"{ROOT}/").removesuffix(f"/{MAPS}")


def moment_lengths(shape: Sequence[int], metrics: int) -> list[int]:
    """Return the bytes of each of `MOMENT_PARTS` for maps (N, T, h, w)."""
    images, targets = shape[0], shape[1]
    each = images * targets
    return [prod(shape), 4 * each, 4 * images, 4 * images, 4 * each, 2 * metrics * each]
