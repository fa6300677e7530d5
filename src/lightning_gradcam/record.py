"""The Attention tab's data: a look and the probe, packed as `schema` lays them out."""

import json
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_gradcam.album import Album
from lightning_gradcam.history import Moment
from lightning_gradcam.render import to_jpeg
from lightning_gradcam.schema import NO_NUMBER, NUMBER_STEPS, VERSION

LARGEST = 256  # of a picture's longer side, in pixels


def pack_moment(moment: Moment, values: Mapping[str, Tensor]) -> list[bytes]:
    """Pack one look's maps.

    Args:
        moment: the look.
        values: metrics in 0..1 by name, one value a map, (N, T).
    """
    header = {"version": VERSION, "shape": list(moment.maps.shape), "metrics": list(values)}
    numbers = [
        torch.where(value.isfinite(), (value * NUMBER_STEPS).round(), NO_NUMBER).numpy().astype("<u2").tobytes()
        for value in values.values()
    ]
    return [
        _json(header),
        moment.maps.numpy().tobytes(),
        moment.peaks.numpy().astype("<f4").tobytes(),
        moment.scores.numpy().astype("<f4").tobytes(),
        moment.predictions.numpy().astype("<i4").tobytes(),
        moment.targets.numpy().astype("<i4").tobytes(),
        b"".join(numbers),
    ]


def pack_probe(album: Album) -> list[bytes]:
    """Pack the images and what is known of them; large ones reduced."""
    header = {
        "version": VERSION,
        "truths": [truth if np.isfinite(truth).all() else [] for truth in album.truths],
        "class_names": None if album.class_names is None else list(album.class_names),
        "columns": album.column_names,
        "about": album.about,
    }
    return [_json(header), *(to_jpeg(Image.fromarray(picture)) for picture in album.at((1, LARGEST)))]


def _json(header: Mapping[str, object]) -> bytes:
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
