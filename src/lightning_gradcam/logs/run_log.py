"""What a run logs of a layer: pictures and the tab's data, made from its maps and written in the background."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lightning_gradcam.cam.maps import Maps
from lightning_gradcam.logs.record import fingerprint_of_set, pack_images, pack_look
from lightning_gradcam.logs.schema import FILMSTRIP, MAPS, PROBE_SET, TIMELAPSE, part_tag
from lightning_gradcam.logs.sinks import write_animation, write_data, write_picture
from lightning_gradcam.pictures.film import filmstrip, timelapse
from lightning_gradcam.pictures.grid import grid
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History


@dataclass(frozen=True)
class RunLog:
    """Where pictures go, and how they are drawn.

    Attributes:
        images: as they are shown.
        fingerprints: an image's each.
        sinks: the loggers that take pictures.
        root: what all tags begin with.
        by_run: maps are drawn as shares of the highest peak their image has had; else each is scaled by itself.
    """

    images: ShownImages
    fingerprints: Sequence[str]
    sinks: Sequence[Any]
    root: str
    by_run: bool

    def log_grid(self, found: Maps, history: History, tag: str, when: str, global_step: int) -> None:
        """Draw one look's maps, with which `history` ends; `when` is told in the header."""
        highest = history.highest_peaks() if self.by_run else None
        picture = grid(self.images, found, when, highest)
        write_picture(self.sinks, tag, picture, history.looks[-1].step, global_step)

    def log_look(self, history: History, values: Mapping[str, Tensor], tag: str) -> None:
        """Write the last look's maps and their numbers for the Attention tab."""
        look = history.looks[-1]
        captions = self.images.captions(look.found(history.layer))
        packed = pack_look(look, values, captions, fingerprint_of_set(self.fingerprints))
        write_data(self.sinks, part_tag(tag, MAPS), packed, look.step)

    def log_images(self, step: int) -> None:
        """Write the images for the Attention tab, at the step from which on looks are of them."""
        write_data(self.sinks, part_tag(self.root, PROBE_SET), pack_images(self.images, self.fingerprints), step)

    def log_film(self, history: History, tag: str, global_step: int, moving: bool) -> None:
        """Draw all looks so far, as a strip and, if asked for, moving."""
        step = history.looks[-1].step
        strip = filmstrip(self.images, history, self.by_run)
        write_picture(self.sinks, part_tag(tag, FILMSTRIP), strip, step, global_step)
        if moving:
            encoded = timelapse(self.images, history, self.by_run)
            write_animation(self.sinks, part_tag(tag, TIMELAPSE), encoded, step)
