"""The Attention tab's data: a look and the images, packed as `schema` lays them out."""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import isfinite
from typing import Any
from zlib import crc32

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_gradcam.cam.states import SHOWN
from lightning_gradcam.errors import SettingError
from lightning_gradcam.logs.schema import LOOK, MOST, VERSION, check_of, deflated
from lightning_gradcam.pictures.captions import name_of
from lightning_gradcam.pictures.looks import Caption
from lightning_gradcam.pictures.render import to_jpeg
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import Look
from lightning_gradcam.timeline.metrics import METRICS

MAX_SIDE = 256  # of a picture's longer side, in pixels


def fingerprints(images: Tensor) -> list[str]:
    """Return what tells images, (N, C, H, W) as the model gets them, apart: 16 hexadecimal digits each.

    The same pixels have the same in every run and on every machine. They are compared as bfloat16 holds them, to some
    three digits, so that runs in mixed and in full precision know their images by the same.
    """
    coarse = images.float().bfloat16().float() + 0.0  # which makes 0 of -0
    return [_digest(str(tuple(one.shape)).encode() + one.numpy().astype("<f4").tobytes()) for one in coarse]


def fingerprint_of_set(images: Sequence[str]) -> str:
    """Return what tells sets of images apart, from the images' own fingerprints: which they are, in which order."""
    return _digest(" ".join(images).encode())


def mark_of_way(images: ShownImages, known: Sequence[str]) -> str:
    """Return what tells images, by their fingerprints, and how they are looked at from any others.

    A run that is resumed with another method, or counts in other units, looks at the same images in another way: what
    is said of all looks would not be so of those before. Names may come and go.
    """
    way = [images.way or images.about, images.unit, _scale_of(images), *images.column_classes]
    return _digest(_json([fingerprint_of_set(known), *way]))


def pack_look(look: Look, values: Mapping[str, Tensor], captions: Sequence[Caption], probe_set: str) -> list[bytes]:
    """Pack one look at a layer.

    Args:
        look: what was seen.
        values: metrics by name, one value a map, (N, T).
        captions: what is said of each image.
        probe_set: what tells which images it is of, and how they are looked at, as `mark_of_way` has it.

    Raises:
        SettingError: it is more than whoever reads it will unpack.
    """
    values = _with_peaks(look, values)
    images, targets, height, width = look.maps.shape
    answers = _json([caption.answer for caption in captions])
    sizes = {"M": len(values), "N": images, "S": look.scores.shape[1], "T": targets, "h": height, "w": width}
    sizes["A"] = len(answers)
    header = {"version": VERSION, "probe_set": probe_set, "sizes": sizes, "metrics": list(values)}
    header |= {"id": look.id, "before": look.before}
    _check_size(sizes)
    numbers = [value.numpy() for value in values.values()]
    arrays = {
        "numbers": np.stack(numbers) if numbers else np.zeros((0, images, targets)),
        "wrong": np.array([caption.wrong for caption in captions]),
        "answers": np.frombuffer(answers, np.uint8),
    }
    known = {field.name: getattr(look, field.name).numpy() for field in LOOK if field.name not in arrays}
    packed = [deflated((arrays | known)[field.name].astype(field.dtype).tobytes()) for field in LOOK]
    return [_json(header | {"check": check_of([look.step, header])}), *packed]


def _check_size(sizes: Mapping[str, int]) -> None:
    size = sum(field.length(sizes) for field in LOOK)
    if size > MOST:
        images, targets, height, width = (sizes[axis] for axis in "NThw")
        raise SettingError(
            f"a look at {images} images with {targets} targets and maps of {height}x{width} has {size >> 20} MiB, and "
            f"{MOST >> 20} are read at most: it is not in the Attention tab's data; fewer images or targets would be"
        )


def told_of_images(
    images: ShownImages,
    known: Sequence[str],
    indices: Sequence[int] | None = None,
    areas: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return what is known of the images.

    Args:
        images: as they are shown.
        known: their fingerprints.
        indices: where in the data set they are, if that is known.
        areas: each thing's share of its image, in 0..1, NaN where there is none; None where masks are unknown.
    """
    names = images.class_names
    return {
        "version": VERSION,
        "probe_set": mark_of_way(images, known),
        "fingerprints": list(known),
        "indices": None if indices is None else list(indices),
        "areas": None if areas is None else [area if isfinite(area) else None for area in areas],
        "truths": [list(truth) if np.isfinite(truth).all() else [] for truth in images.truths],
        "unknown": _unknown(images),
        "said": images.said,
        "class_names": names and [name_of(place, names) for place in range(len(names))],
        "columns": images.column_names,
        "about": images.about,
        "unit": images.unit,
        "scale": _scale_of(images),
        "task": images.task.kind,
        "metrics": {name: metric.words for name, metric in METRICS.items()},
    }


def pack_images(images: ShownImages, told: Mapping[str, Any]) -> list[bytes]:
    """Pack the images, large ones reduced, and what `told_of_images` knows of them."""
    pictures = [to_jpeg(Image.fromarray(picture)) for picture in images.scene.at((1, MAX_SIDE))]
    header = {**told, "pictures": [crc32(picture) for picture in pictures]}
    return [_json(header | {"check": check_of(header)}), *pictures]


def _unknown(images: ShownImages) -> list[list[int] | None] | None:
    """Of several classes those that may be each image's or not, None for all of them; None of other tasks."""
    if images.task.kind != "multilabel":
        return None
    return [
        None if len(one) == images.task.classes else list(one) for one in images.unknown or [()] * len(images.truths)
    ]


def _scale_of(images: ShownImages) -> str:
    return "run" if images.by_run else "image"


def _with_peaks(look: Look, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """How strong maps are is a part of them, whatever could be measured of them."""
    if look.peaks is None or "peak" in values:
        return values
    return {**values, "peak": torch.where(look.states == SHOWN, look.peaks, torch.nan)}


def pack_caution(told: str) -> list[bytes]:
    """Pack what is said at a fit's end of a layer's maps."""
    header = {"version": VERSION, "told": told}
    return [_json(header | {"check": check_of(header)})]


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def _json(header: object) -> bytes:
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
