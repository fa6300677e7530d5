"""What a resumed run finds again: the looks that the runs before it have logged."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from lightning_gradcam.cam.states import NOT_FINITE, SHOWN
from lightning_gradcam.logs.files import EventReader, event_files
from lightning_gradcam.logs.schema import MAPS, part_tag
from lightning_gradcam.logs.unpacking import LookRecord, followed, look_of
from lightning_gradcam.timeline.history import History, Look

logger = logging.getLogger(__name__)

Records = dict[str, dict[str, LookRecord]]  # by tag, and by what tells each from others


class Line(NamedTuple):
    """The looks at a layer, by what tells them from those of any other training.

    Attributes:
        step: of the last.
        length: how many there were.
        ids: of the last ones, the latest first: one may not have been written.
    """

    step: int
    length: int
    ids: tuple[str, ...]

    @classmethod
    def of(cls, history: History) -> "Line":
        """Return the line of a history."""
        _, last = history.ends
        return cls(last.step, history.count, (last.id, *last.before))


def histories_in(
    folders: Sequence[str], probe_set: str, lines: Mapping[str, Line], rows: tuple[int, ...] | None
) -> dict[str, History]:
    """Return the looks that were logged in some folders, by the tag of their grids, as far as they are there.

    What is missing is told. Each look names those before it: others that a folder has, as of a training that went
    another way from there, are none of this one's.

    Args:
        folders: of event files.
        probe_set: of which images they have to be, looked at how.
        lines: of the looks that are wanted, by tag.
        rows: the images that are drawn; None for all.
    """
    records, faults = _records_in(folders, probe_set, {part_tag(tag, MAPS) for tag in lines})
    found = {}
    for tag, line in lines.items():
        ours = followed(records[part_tag(tag, MAPS)], line.ids)
        history = History(tag, rows)
        for look in filter(None, map(_look_of, reversed(ours))):
            history = history.followed_by(look)
        if history.last:
            found[tag] = history
        if history.count < line.length:
            lost = line.length - history.count
            where = f"in none of the logs {', '.join(folders)}, or made in another way"
            faults.append(f"{lost} of {line.length} looks at {tag} are {where}")
    if faults:
        logger.warning("of the run that is resumed, %s; film and drift go on from what is there", "; ".join(faults))
    return found


def _records_in(folders: Sequence[str], probe_set: str, tags: set[str]) -> tuple[Records, list[str]]:
    """The looks at some images, made in one way, under some tags, and what could not be read."""
    found: Records = defaultdict(dict)
    reader = EventReader()
    files = [file for folder in folders for file in event_files(Path(folder), faults=reader.faults)]
    for tag, (step, written, parts) in (record for file in files for record in reader.stored(file)):
        look = look_of(parts, step, written) if tag in tags else None
        if look and look.head["probe_set"] == probe_set:
            found[tag][look.id] = look
    return found, reader.faults


def _look_of(record: LookRecord) -> Look | None:
    """A look as it was kept; None where its maps are broken."""
    maps, arrays = record.maps(), record.arrays()
    if not maps:
        return None
    shape = [record.head["sizes"][axis] for axis in "NThw"]
    unpacked = torch.frombuffer(bytearray(maps), dtype=torch.uint8).reshape(shape)
    named = {name: torch.tensor(arrays[name]) for name in ("states", "scores", "predictions", "targets")}
    return Look(record.step, unpacked, **named, peaks=_peaks(record), id=record.id, before=record.before)


def _peaks(record: LookRecord) -> torch.Tensor | None:
    """As maps have them: 0 of a blank one, which has no number, and none of other kinds of maps."""
    if (logged := record.peaks()) is None:
        return None
    states = torch.tensor(record.arrays()["states"])
    return torch.where(states == SHOWN, torch.tensor(logged), torch.where(states == NOT_FINITE, torch.nan, 0.0))
