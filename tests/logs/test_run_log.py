"""What a run draws, and what it logs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.logs import run_log
from lightning_gradcam.logs.run_log import Moment, RunLog
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History


class Kept:
    """Event files that only remember."""

    def __init__(self) -> None:
        self.pictures: dict[str, Image.Image] = {}
        self.data: dict[str, list[bytes]] = {}

    def write_picture(self, tag: str, picture: Image.Image, step: int) -> None:
        self.pictures[tag] = picture

    def write_animation(self, tag: str, encoded: bytes, step: int) -> None: ...

    def write_data(self, tag: str, parts: list[bytes], step: int) -> None:
        self.data[tag] = parts


def log_of(images: int, targets: int = 1, by_run: bool = False) -> RunLog:
    """Image n is as dark as its number, and of class n % 4."""
    pictures = [np.full((16, 16, 3), n, np.uint8) for n in range(images)]
    truths, columns = [[n % 4] for n in range(images)], list(range(targets)) if targets > 1 else []
    shown = ShownImages(pictures, Task("multiclass", 300), truths, "target: label", column_classes=columns)
    shown = replace(shown, by_run=by_run)
    return RunLog(shown, [str(n) for n in range(images)], Kept(), [], "gradcam")


def found_in(images: int, targets: int = 1, strength: float = 1.0) -> Cams:
    """Image n is predicted as class n, and its maps' peaks are n + 1."""
    classes, peaks = torch.arange(images), torch.arange(1.0, images + 1)[:, None].expand(-1, targets) * strength
    maps = torch.ones(images, targets, 4, 4)
    return Cams(maps, torch.full((images, 1), 0.5), classes, classes[:, None].expand(-1, targets), "layer", peaks)


@pytest.fixture
def seen(monkeypatch) -> dict:
    """What the pictures are drawn of."""
    seen: dict = {}
    for name in ("grid", "filmstrip", "timelapse"):
        draw = getattr(run_log, name)

        def spy(*args: object, draw=draw, name=name) -> object:
            seen[name] = args
            return draw(*args)

        monkeypatch.setattr(run_log, name, spy)
    return seen


@pytest.mark.parametrize(("images", "targets", "drawn"), [(16, 1, 16), (256, 1, 16), (40, 5, 9), (7, 1, 7), (5, 20, 3)])
def test_of_many_images_the_same_few_are_drawn_everywhere(seen, images, targets, drawn) -> None:
    """Each with its own maps, caption and peaks; of the tab's data none is missing."""
    log, history = log_of(images, targets, by_run=True), None
    for step in range(2):
        found = found_in(images, targets, strength=1 + step)
        history = (history or History("layer", log.rows)).with_look(step, found)
        log.log_grid(found, history, "gradcam/layer", f"epoch {step}", Moment(step, step))
    log.log_film(history, "gradcam/layer", Moment(2, 2), moving=True)
    rows = list(range(images)) if log.rows is None else list(log.rows)
    assert len(rows) == drawn
    for name, sights in (("grid", [seen["grid"][1]]), ("filmstrip", seen["filmstrip"][1]), ("timelapse", [])):
        scene = seen[name][0]
        assert [int(picture[0, 0, 0]) for picture in scene.pictures] == rows
        assert scene.counted() == (f"{images} images" if drawn == images else f"{drawn} of {images} images")
        assert seen[name][-1][:, 0].tolist() == [2 * (row + 1) for row in rows]
        for sight in sights:
            assert sight.maps.shape[:2] == (drawn, min(targets, 16))
            assert [caption.truth for caption in sight.captions] == [f"true {row % 4}" for row in rows]
            assert [caption.answer for caption in sight.captions] == [f"predicted {row} (50%)" for row in rows]
    assert ("16 of 20 targets are drawn" in seen["grid"][0].about) == (targets == 20)
    assert max(max(picture.size) for picture in log.events.pictures.values()) < 16_000
    log.log_images(0)
    assert len(log.events.data["gradcam/probe"]) == 1 + images
    log.log_look(history, {}, "gradcam/layer")
    assert f'"N":{images}'.encode() in log.events.data["gradcam/layer/maps"][0]
