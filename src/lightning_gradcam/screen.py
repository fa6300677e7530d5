"""What a run shows of a layer: pictures and the tab's data, made from its maps and written on the worker's thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lightning_gradcam.album import Album
from lightning_gradcam.cam import Cams
from lightning_gradcam.film import filmstrip, timelapse
from lightning_gradcam.history import History
from lightning_gradcam.record import pack_moment, pack_probe
from lightning_gradcam.schema import FILMSTRIP, MAPS, PROBE, TIMELAPSE, part_tag
from lightning_gradcam.writer import write_animation, write_data, write_picture


@dataclass(frozen=True)
class Screen:
    """Where pictures go, and how they are drawn.

    Attributes:
        album: the images.
        sinks: the loggers that take pictures.
        by_run: maps are drawn as shares of the highest peak their image has had; else each is scaled by itself.
    """

    album: Album
    sinks: Sequence[Any]
    by_run: bool

    def show(self, cams: Cams, history: History, tag: str, step: int, global_step: int) -> None:
        """Draw one look's maps; `history` ends with them."""
        highest = history.highest_peaks() if self.by_run else None
        grid = self.album.grid(cams, f"epoch {step}", highest)
        write_picture(self.sinks, tag, grid, step, global_step)

    def record(self, history: History, values: Mapping[str, Tensor], tag: str) -> None:
        """Write the last look's maps and their numbers for the Attention tab."""
        moment = history.moments[-1]
        bounded = {name: value for name, value in values.items() if name != "peak"}  # the peaks travel as they are
        write_data(self.sinks, part_tag(tag, MAPS), pack_moment(moment, bounded), moment.step)

    def record_probe(self) -> None:
        """Write the images for the Attention tab."""
        write_data(self.sinks, PROBE, pack_probe(self.album), step=0)

    def film(self, history: History, tag: str, global_step: int, moving: bool) -> None:
        """Draw all epochs so far, as a strip and, if asked for, moving."""
        step = history.moments[-1].step
        strip = filmstrip(self.album, history, self.by_run)
        write_picture(self.sinks, part_tag(tag, FILMSTRIP), strip, step, global_step)
        if moving:
            encoded = timelapse(self.album, history, self.by_run)
            write_animation(self.sinks, part_tag(tag, TIMELAPSE), encoded, step)
