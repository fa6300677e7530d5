"""What a resumed run finds again: the looks that the runs before it have logged."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from lightning_gradcam.cam.states import NOT_FINITE, SHOWN
from lightning_gradcam.logs.files import EventReader, event_files
from lightning_gradcam.logs.schema import MAPS, layer_of, part_tag
from lightning_gradcam.logs.unpacking import LookRecord, Series
from lightning_gradcam.timeline.history import History, Look

logger = logging.getLogger(__name__)


def histories_in(
    folders: Sequence[str], probe_set: str, steps: Mapping[str, int], rows: tuple[int, ...] | None
) -> dict[str, History]:
    """Return the looks that were logged in some folders, by the tag of their grids; those that are lost are missing.

    Args:
        folders: of event files, that of the first run first.
        probe_set: the fingerprint of the images that they have to be at.
        steps: the last look's, by tag: what was logged later, a training that is resumed takes back.
        rows: the images that are drawn; None for all.
    """
    logged = [_series_in(folder) for folder in folders]
    found = {}
    for tag, last in steps.items():
        maps_tag = part_tag(tag, MAPS)
        looks = (look for series in logged if maps_tag in series for look in series[maps_tag].looks)
        ours = _one_line([one for one in looks if one.head["probe_set"] == probe_set and one.step <= last])
        history = History(layer_of(maps_tag), rows)
        for look in filter(None, map(_look_of, ours)):
            history = history.followed_by(look)
        if history.last and history.last.step == last:
            found[tag] = history
    return found


def _series_in(folder: str) -> dict[str, Series]:
    reader = EventReader()
    records = reader.read(event_files(Path(folder)))
    if reader.faults:
        logger.warning("of the log that is resumed, %s", "; ".join(reader.faults))
    return {tag: Series.of(found) for tag, found in records.items() if tag.endswith(f"/{MAPS}")}


def _one_line(looks: Iterable[LookRecord]) -> list[LookRecord]:
    """In the order of their steps: a later run takes back what an earlier one saw behind the step that it began at."""
    line: list[LookRecord] = []
    for look in looks:
        while line and line[-1].step >= look.step:
            line.pop()
        line.append(look)
    return line


def _look_of(record: LookRecord) -> Look | None:
    """A look as it was kept; None where its maps are broken."""
    maps, arrays, sizes = record.maps(), record.arrays(), record.head["sizes"]
    if not maps:
        return None
    shape = [sizes[axis] for axis in "NThw"]
    named = {name: torch.tensor(arrays[name]) for name in ("states", "scores", "predictions", "targets")}
    return Look(
        record.step,
        torch.frombuffer(bytearray(maps), dtype=torch.uint8).reshape(shape),
        **named,
        peaks=_peaks(record, arrays),
    )


def _peaks(record: LookRecord, arrays: Mapping[str, np.ndarray]) -> torch.Tensor | None:
    """As maps have them: 0 of a blank one, which has no number, and none of other kinds of maps."""
    if "peak" not in record.head["metrics"]:
        return None
    logged, states = (
        torch.tensor(arrays["numbers"][record.head["metrics"].index("peak")]),
        torch.tensor(arrays["states"]),
    )
    return torch.where(states == SHOWN, logged, torch.where(states == NOT_FINITE, torch.nan, 0.0))
