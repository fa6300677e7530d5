"""The bytes of a look and of the images, as event files that were written once have them for good."""

import json
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.logs.packing import pack_images, pack_look, told_of_images
from lightning_gradcam.pictures.looks import Caption
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import METRICS


def test_a_look_is_laid_out_as_version_3_has_it() -> None:
    """A header, then metrics, scores, predictions, words, targets, states and maps, deflated, in little endian."""
    maps = torch.tensor([[[[0, 1.0]], [[1.0, 0.2]]]])  # of one image, two targets and 1x2 places
    found = Cams(maps, torch.tensor([[0.5]]), torch.tensor([7]), torch.tensor([[7, 1]]), "a", torch.tensor([[2.0, 0]]))
    look = History("a").with_look(3, found).looks[0]
    header, *parts = pack_look(
        look, {"focus": torch.tensor([[1.0, torch.nan]])}, [Caption("true 1", "été", True)], "a set"
    )
    told = json.loads(header)
    assert told.pop("check") == zlib.crc32(json.dumps([3, told], separators=(",", ":")).encode())
    assert told == {
        "version": 3,
        "probe_set": "a set",
        "sizes": {"M": 2, "N": 1, "S": 1, "A": 9, "T": 2, "h": 1, "w": 2},
        "metrics": ["focus", "peak"],  # which is a part of maps, whatever could be measured of them
        "id": look.id,
        "before": [],
    }
    arrays = [np.frombuffer(zlib.decompress(part), dtype) for part, dtype in zip(parts, LAYOUT, strict=True)]
    assert np.array_equal(arrays[0], [1, np.nan, 2, np.nan], equal_nan=True)
    assert [array.tolist() for array in arrays[1:]] == [
        [0.5],
        [7],
        [1],
        [*'["été"]'.encode()],
        [7, 1],
        [0, 1],
        [0, 255, 255, 51],
    ]


LAYOUT = ("<f4", "<f4", "<i4", "|u1", "|u1", "<i4", "|u1", "|u1")


def test_images_are_packed_at_their_size_up_to_256_pixels() -> None:
    """A pixel is a pixel; of a picture of 512 the tab has half."""
    sizes = [(1, 1), (3, 256), (512, 128)]
    pictures = [np.zeros((height, width, 3), np.uint8) for height, width in sizes]
    shown = ShownImages(pictures, Task("multiclass", 2), [[0], [], []], "target: label", ["a", "b"], [1])
    header, *jpegs = pack_images(shown, told_of_images(shown, ["1", "2", "3"]))
    assert [Image.open(BytesIO(jpeg)).size for jpeg in jpegs] == [(1, 1), (256, 3), (64, 256)]
    told = json.loads(header)
    assert told.pop("check") == zlib.crc32(json.dumps(told, separators=(",", ":")).encode())
    assert len(told.pop("probe_set")) == 16
    assert told.pop("metrics") == {name: metric.words for name, metric in METRICS.items()}
    assert told == {
        "version": 3,
        "task": "multiclass",
        "fingerprints": ["1", "2", "3"],
        "truths": [[0], [], []],
        "said": ["true a", "", ""],
        "class_names": ["a", "b"],
        "columns": ["b"],
        "about": "target: label",
        "unit": "epoch",
        "scale": "image",
        "indices": None,
        "areas": None,
        "unknown": None,
        "pictures": [zlib.crc32(jpeg) for jpeg in jpegs],
    }
    assert told_of_images(replace(shown, by_run=True), ["1", "2", "3"])["scale"] == "run"
