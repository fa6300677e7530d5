"""The runs below a folder, and what was logged of each layer in each, with what of it cannot be read."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import SequenceMatcher
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from lightning_gradcam.logs.files import EventReader, event_files, unreadable
from lightning_gradcam.logs.layer_log import LayerLog
from lightning_gradcam.logs.schema import MAPS, caution_of, layer_of, probe_set_of
from lightning_gradcam.logs.unpacking import (
    UNKNOWN,
    Data,
    LookRecord,
    Record,
    Series,
    header_of,
    nearest_of,
    pictures_of,
    told_of,
)
from lightning_gradcam.values import natural

Files = dict[str, list[Path]]  # by run
Records = dict[str, list[Record]]  # by tag

_WIDEST = 4096  # pixels of a picture's side: ours have 256
_TRIED = 20  # folders that are looked into for one that was meant


def find_runs(folder: Path, faults: list[str]) -> Files:
    """Return the event files of each run, a folder, by its path below `folder`; "." is that one itself.

    What cannot be looked into is added to `faults`, a sentence each.
    """
    runs: Files = {}

    def told(error: OSError) -> None:
        faults.append(unreadable(error.filename, error))

    root, seen = os.path.realpath(folder), set[str]()
    for place, folders, _ in os.walk(folder, onerror=told, followlinks=True):
        real = os.path.realpath(place)
        is_there_anyway = place != str(folder) and os.path.islink(place) and f"{real}/".startswith(f"{root}/")
        if is_there_anyway or real in seen:  # a link to another run, or back up
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        if files := event_files(Path(place), faults):
            runs[Path(place).relative_to(folder).as_posix()] = files
    return runs


def read_layers(runs: Files, notes: list[str]) -> list[LayerLog]:
    """Read all runs' layers, in natural order; what cannot be read is added to the notes."""
    layers = []
    size = sum(map(_bytes_of, chain.from_iterable(runs.values())))
    with tqdm(desc="event files", total=size, unit="B", unit_scale=True, delay=2, disable=None, leave=False) as bar:
        for run in sorted(runs, key=natural):
            reader = EventReader(bar.update)
            records = reader.read(runs[run])
            notes += reader.faults
            tags = sorted((tag for tag in records if tag.endswith(f"/{MAPS}")), key=natural)
            found = (_layer(run, tag, records, reader.faults, notes) for tag in tags)
            layers += [layer for layer in found if layer is not None]
    homes = {look.id: (layer, place) for layer in layers for place, look in enumerate(layer.looks) if look.id}
    return [_begun(layer, homes) for layer in layers]


def _bytes_of(file: Path) -> int:
    """0 where it is gone by now, which its reader tells."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _layer(run: str, tag: str, records: Records, faults: Sequence[str], notes: list[str]) -> LayerLog | None:
    """What was logged under a tag of maps, with the run's faults; None, and noted, where no look can be read."""
    series, count = Series.of(records[tag]), len(records[tag])
    place = f"{layer_of(tag)!r} of run {run!r}"
    unread = [f"{series.broken} of {count} looks at {place} cannot be read"] if series.broken else []
    if not series.looks:
        notes += unread
        return None
    looks, left_out = _alike(series.looks, place)
    told, pictures, size = _images(records.get(probe_set_of(tag), []), looks[-1])
    caution = _caution(records.get(caution_of(tag), []))
    said = [*faults, *unread, *_strange(series, place), *left_out, *_lost(looks, pictures, place)]
    return LayerLog(run, layer_of(tag), looks, told, pictures, size, caution, said, is_cut=bool(left_out))


def _strange(series: Series, place: str) -> list[str]:
    """What is said of looks that are no part of the last look's training, and of those that are missing in it."""
    ids = {look.id for look in series.looks}
    behind = [str(look.step) for look in series.looks[1:] if look.before and look.before[0] not in ids]
    others = len(series.others)
    told = f"{others} of {others + len(series.looks)} looks at {place} are of a branch that was left, or of another "
    missing = f"looks at {place} are missing right before {', '.join(behind)}"
    return [*([f"{told}training, and left out"] if others else []), *([missing] if behind else [])]


def _lost(looks: Sequence[LookRecord], pictures: Data, place: str) -> list[str]:
    """What is said of maps and images that cannot be read."""
    blurred, gray = sum(not look.maps() for look in looks), sum(not part for part in pictures)
    told = [f"the maps of {blurred} of {len(looks)} looks at {place} cannot be read"] if blurred else []
    if not pictures:
        return [*told, f"the images that the looks at {place} are of cannot be read"]
    return [*told, *([f"{gray} of the {len(pictures)} images of {place} cannot be read"] if gray else [])]


def _begun(layer: LayerLog, homes: Mapping[str, tuple[LayerLog, int]]) -> LayerLog:
    """Tell what a layer's log goes on from, where it does not begin with the training.

    Args:
        layer: its log.
        homes: of each look's id, where it is: in which log, at which place.
    """
    first = layer.looks[0]
    if first.step == 0 or layer.is_cut:
        return layer
    begins = f"{layer.layer!r} of run {layer.run!r} begins at {first.step}"
    found = nearest_of(first.before, homes)
    if found is None or _set_of(found[0]) != _set_of(layer) or found[0].looks[found[1]].step >= first.step:
        lost = "no log below the folder that was read has what was before that"
        return replace(layer, beginning=f"{begins}: {lost}")
    home, place = found
    told = f"{begins}, and goes on from run {home.run!r}, at {home.looks[place].step}; with_earlier() has that too"
    earlier = _begun(replace(home, looks=home.looks[: place + 1]), homes)
    return replace(layer, beginning=told, earlier=earlier)


def _set_of(layer: LayerLog) -> tuple[object, ...]:
    """What maps have to share to be of one line: the images, and the shapes."""
    return layer.looks[-1].head["probe_set"], *_shape(layer.looks[-1])


def _alike(looks: Sequence[LookRecord], place: str) -> tuple[list[LookRecord], list[str]]:
    """The looks that are of the last one's images and shapes, and what is said of the others."""
    last = looks[-1]
    same = [look for look in looks if look.head["probe_set"] == last.head["probe_set"]]
    alike = [look for look in same if _shape(look) == _shape(last)]
    counts = {"other images": len(looks) - len(same), "other shapes": len(same) - len(alike)}
    told = [
        f"{count} of {len(looks)} looks at {place} are of {what} than the last, and left out"
        for what, count in counts.items()
        if count
    ]
    return alike, told


def _shape(look: LookRecord) -> list[int]:
    return [look.head["sizes"][axis] for axis in "NSThw"]


def _images(records: list[Record], look: LookRecord) -> tuple[dict[str, Any], Data, tuple[int, int]]:
    """What is told of a look's images, these, encoded, and their (H, W); little and none where they cannot be read."""
    for *_, parts in reversed(records):
        told = told_of(parts)
        if told and told["probe_set"] == look.head["probe_set"] and len(parts) == 1 + look.head["sizes"]["N"]:
            pictures = pictures_of(parts)
            sizes = [_size(part) for part in pictures]
            known = {size for size in sizes if size}
            if len(known) != 1:
                return told, [], (0, 0)
            return told, [part if size else b"" for part, size in zip(pictures, sizes, strict=True)], known.pop()
    return UNKNOWN, [], (0, 0)


def _size(part: bytes) -> tuple[int, int] | None:
    """(H, W) of what begins as a JPEG that can be shown: few bytes may stand for very many. None of anything else."""
    with suppress(Exception), Image.open(BytesIO(part), formats=["JPEG"]) as picture:
        return (picture.height, picture.width) if max(picture.size) <= _WIDEST else None
    return None


def _caution(records: list[Record]) -> str:
    found = [header for *_, parts in records if (header := header_of(parts))]
    told = found[-1].get("told") if found else ""
    return told if isinstance(told, str) else ""


def meant(given: Path) -> str:
    """Say which folder near the given one has data, the one whose path is most alike; "" where none is seen."""
    start = next((place for place in given.parents if place.is_dir()), given)
    files = chain.from_iterable(start.glob(f"{below}*tfevents*") for below in ("", "*/", "*/*/"))
    known = dict.fromkeys(file.parent for file in islice(files, 1000))
    places = [place for place in known if given not in (place, *place.parents)]  # there was none
    likely = sorted(places, key=lambda place: -SequenceMatcher(None, str(place), str(given)).ratio())
    has_data = (place for place in likely[:_TRIED] if _has_data(place))
    found = next(has_data, None)
    return "" if found is None else f"; {str(found)!r} is one"


def _has_data(folder: Path) -> bool:
    reader = EventReader()
    files = filter(Path.is_file, folder.glob("*tfevents*"))
    return any(tag.endswith(f"/{MAPS}") for file in files for tag, _ in reader.stored(file))
