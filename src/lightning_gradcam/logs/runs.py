"""The runs below a folder, and what was logged of each layer in each, with what of it cannot be read."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import SequenceMatcher
from functools import partial
from io import BytesIO
from itertools import chain, islice, takewhile
from operator import attrgetter
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from lightning_gradcam.logs.files import EventReader, event_files, unreadable
from lightning_gradcam.logs.layer_log import LayerLog
from lightning_gradcam.logs.schema import MAPS, caution_tag, layer_of, probe_set_of
from lightning_gradcam.logs.unpacking import (
    UNKNOWN,
    Data,
    LookRecord,
    Record,
    Series,
    caution_of,
    followed,
    nearest_of,
    other_names,
    pictures_of,
    told_of,
)
from lightning_gradcam.values import natural

Files = dict[str, list[Path]]  # by run
Records = dict[str, list[Record]]  # by tag
Homes = dict[str, list[LayerLog]]  # the logs that have a look, by its id

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
    homes: Homes = defaultdict(list)
    for layer in layers:
        for look in filter(attrgetter("id"), (*layer.looks, *layer.others)):  # early versions wrote none
            homes[look.id].append(layer)
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
    images = [(told, parts) for *_, parts in records.get(probe_set_of(tag), []) if (told := told_of(parts))]
    sets = [told for told, _ in images]
    looks, left_out = _alike(series.looks, place, sets)
    told, pictures, size = _images(images, looks[-1])
    caution = caution_of(parts for *_, parts in records.get(caution_tag(tag), []))
    renamed = _renamed(other_names(told, sets), place)
    said = [*faults, *unread, *_strange(series, place), *left_out, *renamed, *_lost(looks, pictures, place)]
    kept = set(map(id, looks))
    others = [look for look in (*series.looks, *series.others) if id(look) not in kept]
    return LayerLog(run, layer_of(tag), looks, told, pictures, size, caution, said, bool(left_out), others)


def _strange(series: Series, place: str) -> list[str]:
    """What is said of looks that are no part of the last look's training, and of those that are missing in it."""
    ids = {look.id for look in series.looks}
    behind = [str(look.step) for look in series.looks[1:] if look.before and look.before[0] not in ids]
    others = len(series.others)
    told = f"{others} of {others + len(series.looks)} looks at {place} are of a branch that was left, or of another "
    missing = f"looks at {place} are missing right before {', '.join(behind)}"
    return [*([f"{told}training, and left out"] if others else []), *([missing] if behind else [])]


def _renamed(before: Sequence[str] | None, place: str) -> list[str]:
    """What is said of classes that were called otherwise before: answers are logged in words."""
    if before is None:
        return []
    called = f"otherwise ({_few(before)})" if before else "by their numbers"
    return [f"classes of {place} were called {called} in earlier looks, whose answers have those names"]


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names if len(names) <= most else [*names[:most], "..."])


def _lost(looks: Sequence[LookRecord], pictures: Data, place: str) -> list[str]:
    """What is said of maps and images that cannot be read."""
    blurred, gray = sum(not look.maps() for look in looks), sum(not part for part in pictures)
    told = [f"the maps of {blurred} of {len(looks)} looks at {place} cannot be read"] if blurred else []
    if not pictures:
        return [*told, f"the images that the looks at {place} are of cannot be read"]
    return [*told, *([f"{gray} of the {len(pictures)} images of {place} cannot be read"] if gray else [])]


def _begun(layer: LayerLog, homes: Homes) -> LayerLog:
    """Tell what a layer's log goes on from, where it does not begin with the training."""
    first = layer.looks[0]
    if first.step == 0 or layer.is_cut:
        return layer
    begins = f"{layer.layer!r} of run {layer.run!r} begins at {first.step}"
    having = [one for one in nearest_of(first.before, homes) or () if one.layer == layer.layer and one is not layer]
    if not having:
        lost = "no log below the folder that was read has what was before that"
        return replace(layer, beginning=f"{begins}: {lost}")
    found = [(home, looks) for home in having if (looks := _gone_on_from(home, layer))]
    if not found:
        other = f"what run {having[0].run!r} has of before that is of other images, or made in another way"
        return replace(layer, beginning=f"{begins}: {other}")
    home, looks = max(found, key=lambda pair: len(pair[1][-1].head["metrics"]))  # of copies any
    told = f"{begins}, and goes on from run {home.run!r}, at {looks[-1].step}; with_earlier() has that too"
    if home.told["class_names"] != layer.told["class_names"]:
        told += ", whose answers call classes otherwise"
    earlier = _begun(replace(home, looks=looks, others=(), is_cut=False), homes)
    return replace(layer, beginning=told, earlier=earlier)


def _gone_on_from(home: LayerLog, layer: LayerLog) -> list[LookRecord]:
    """The looks of one log that another one goes on from, in their order."""
    first = layer.looks[0]
    known = {look.id: look for look in (*home.looks, *home.others) if look.step < first.step}
    return [*takewhile(partial(_is_alike, layer.looks[-1]), followed(known, first.before))][::-1]


def _alike(
    looks: Sequence[LookRecord], place: str, sets: Sequence[Mapping[str, Any]]
) -> tuple[list[LookRecord], list[str]]:
    """The looks that are as the last one, and what is said of the others; `sets` is what is told of images."""
    last, by_mark = looks[-1], {told["probe_set"]: told for told in sets}
    alike = [look for look in looks if _is_alike(last, look)]
    counts = Counter(_unlike(last, look, by_mark) for look in looks if not _is_alike(last, look))
    told = [f"{count} of {len(looks)} looks at {place} are {what}, and left out" for what, count in counts.items()]
    return alike, told


def _is_alike(one: LookRecord, other: LookRecord) -> bool:
    """Whether two looks can be of one line: at the same images, in the same way, of the same shapes."""
    return one.head["probe_set"] == other.head["probe_set"] and _shape(one) == _shape(other)


def _unlike(last: LookRecord, look: LookRecord, sets: Mapping[str, Mapping[str, Any]]) -> str:
    """What a look is that is not as the last one."""
    marks = last.head["probe_set"], look.head["probe_set"]
    if marks[0] == marks[1]:
        return "of other shapes than the last"
    ours, theirs = map(sets.get, marks)
    if ours and theirs and ours["fingerprints"] == theirs["fingerprints"]:
        return f"made in another way than the last ({theirs['about']}; counted in {theirs['unit']}s)"
    return "of other images than the last"


def _shape(look: LookRecord) -> list[int]:
    return [look.head["sizes"][axis] for axis in "NSThw"]


def _images(
    images: Sequence[tuple[dict[str, Any], Data]], look: LookRecord
) -> tuple[dict[str, Any], Data, tuple[int, int]]:
    """What is told of a look's images, these, encoded, and their (H, W); little and none where they cannot be read."""
    for told, parts in reversed(images):
        if told["probe_set"] == look.head["probe_set"] and len(parts) == 1 + look.head["sizes"]["N"]:
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
