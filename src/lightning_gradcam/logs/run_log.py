"""What a run logs of a layer: pictures and the tab's data, made from its maps and written in the background."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from lightning_gradcam.cam.maps import Maps
from lightning_gradcam.logs.events import Events
from lightning_gradcam.logs.packing import pack_caution, pack_images, pack_look, told_of_images
from lightning_gradcam.logs.schema import CAUTION, FILMSTRIP, MAPS, PROBE_SET, TIMELAPSE, part_tag
from lightning_gradcam.logs.trackers import Picture, Tracker
from lightning_gradcam.pictures.choosing import MOST_TARGETS, drawn
from lightning_gradcam.pictures.film import COLUMNS, FRAMES, evenly, filmstrip, timelapse
from lightning_gradcam.pictures.grid import grid
from lightning_gradcam.pictures.looks import Scene, Sight
from lightning_gradcam.pictures.render import Floats
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History


class Moment(NamedTuple):
    """When a look was, as trackers count: optimizer steps, and epochs completed."""

    global_step: int
    epoch: int


@dataclass(frozen=True)
class RunLog:
    """Where pictures go, and how they are drawn: of many images some, the same at each look.

    Attributes:
        images: as they are shown.
        fingerprints: an image's each.
        events: the event files.
        trackers: who takes pictures besides.
        root: what all tags begin with.
        indices: where in the data set each image is, if that is known.
        areas: each thing's share of its image, NaN where there is none; None where masks are unknown.
    """

    images: ShownImages
    fingerprints: Sequence[str]
    events: Events
    trackers: Sequence[Tracker]
    root: str
    indices: Sequence[int] | None = None
    areas: Sequence[float] | None = None

    def log_grid(self, found: Maps, history: History, tag: str, when: str, at: Moment) -> None:
        """Draw one look's maps, with which `history` ends; `when` is told in the header."""
        step = history.looks[-1].step
        these = found if self.rows is None else found.of(list(self.rows), found.maps.device)
        picture = grid(self._scene, self._sight(these, step), found.layer, when, self._highest(history))
        self._write(tag, picture, step, at)

    def log_look(self, history: History, values: Mapping[str, Tensor], tag: str) -> None:
        """Write the last look's maps and their numbers for the Attention tab."""
        _, look = history.ends
        captions = self.images.captions(look.found(history.layer))
        packed = pack_look(look, values, captions, self.probe_set)
        self.events.write_data(part_tag(tag, MAPS), packed, look.step)

    def log_caution(self, told: str, history: History, tag: str) -> None:
        """Write for the Attention tab what a layer's maps were worth."""
        self.events.write_data(part_tag(tag, CAUTION), pack_caution(told), history.looks[-1].step)

    def log_images(self, step: int) -> None:
        """Write the images for the Attention tab, at the step from which on looks are of them."""
        packed = pack_images(self.images, self.told)
        self.events.write_data(part_tag(self.root, PROBE_SET), packed, step)

    def log_film(self, history: History, tag: str, at: Moment, moving: bool) -> None:
        """Draw all looks so far, as a strip and, if asked for, moving."""
        step, scene = history.looks[-1].step, replace(self._scene, looks=history.count)
        about = history.layer, self._highest(history)
        strip = filmstrip(scene, self._sights(history, COLUMNS), *about)
        self._write(part_tag(tag, FILMSTRIP), strip, step, at)
        if moving:
            encoded, tag = timelapse(scene, self._sights(history, FRAMES), *about), part_tag(tag, TIMELAPSE)
            self.events.write_animation(tag, encoded, step)
            self._post(Picture(tag, None, step, *at, animation=encoded))

    @property
    def folder(self) -> str:
        """Where it is written, for whoever reads it from elsewhere."""
        return self.events.folder if "://" in self.events.folder else os.path.abspath(self.events.folder)

    @cached_property
    def told(self) -> dict[str, Any]:
        """What is known of the images."""
        return told_of_images(self.images, self.fingerprints, self.indices, self.areas)

    @property
    def probe_set(self) -> str:
        """What tells which images are looked at, and how."""
        return str(self.told["probe_set"])

    @cached_property
    def rows(self) -> tuple[int, ...] | None:
        """Which images are drawn, at each look the same; None for all."""
        rows = drawn(self.images.scene.truths, max(1, len(self.images.column_classes)))
        return tuple(rows) if len(rows) < len(self.images.pictures) else None

    @cached_property
    def _scene(self) -> Scene:
        scene = self.images.scene
        return (scene if self.rows is None else scene.of(self.rows)).of_targets(MOST_TARGETS)

    def _sight(self, found: Maps, step: int) -> Sight:
        """A look at the images that are drawn."""
        return self.images.sight(found.columns(slice(MOST_TARGETS)), step, self.rows)

    def _highest(self, history: History) -> Floats | None:
        return history.highest[:, :MOST_TARGETS].numpy() if self.images.by_run and history.highest is not None else None

    def _sights(self, history: History, most: int) -> list[Sight]:
        return [self._sight(look.found(history.layer), look.step) for look in evenly(history.looks, most)]

    def _write(self, tag: str, picture: Image.Image, step: int, at: Moment) -> None:
        self._post(Picture(tag, picture, step, *at))
        self.events.write_picture(tag, picture, step)

    def _post(self, picture: Picture) -> None:
        for tracker in self.trackers:
            tracker.post(picture)
