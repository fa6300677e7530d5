"""What a log's tensors of strings hold: read with care, since anybody may have written them."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import prod
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from lightning_gradcam.logs.schema import LOOK, MOST, VERSION, check_of, inflated
from lightning_gradcam.values import printable

NUMBERS = tuple(field for field in LOOK if field.name != "maps")
[MAPS] = (field for field in LOOK if field.name == "maps")

# What is taken of images whose header is silent, or cannot be read.
UNKNOWN: dict[str, Any] = {
    "probe_set": "",
    "fingerprints": [],
    "indices": None,
    "areas": None,
    "truths": [],
    "unknown": None,
    "said": [],
    "class_names": None,
    "columns": [],
    "about": "",
    "unit": "epoch",
    "scale": "image",
    "task": "",
    "metrics": {},
}

T = TypeVar("T")
Data = list[bytes]
Record = tuple[int, float, Data]  # a step, when it was written, and its parts


@dataclass(frozen=True)
class LookRecord:
    """One look at a layer, of which the maps, most of its bytes, are still packed.

    Attributes:
        step: when it was.
        written: when that was written, which tells it from another of the same step.
        head: what is told of it: `probe_set`, `sizes` and `metrics`.
        numbers: the bytes of `NUMBERS`, one behind the other.
        packed: the maps.
        id: what tells it from any other look; "" where that was not written.
        before: the ids of those that came before it, the nearest first.
    """

    step: int
    written: float
    head: dict[str, Any]
    numbers: bytes
    packed: bytes
    id: str = ""
    before: tuple[str, ...] = ()

    def arrays(self) -> dict[str, Any]:
        """Return the look's arrays by name, but for the maps."""
        found, at, sizes = {}, 0, self.head["sizes"]
        for field in NUMBERS:
            shape = field.shape(sizes)
            found[field.name] = np.frombuffer(self.numbers, field.dtype, prod(shape), at).reshape(shape)
            at += field.length(sizes)
        return found

    def peaks(self) -> Any:
        """Return each map's maximum before it was divided by it, (N, T), NaN where nothing is shown; None of others."""
        metrics = self.head["metrics"]
        return self.arrays()["numbers"][metrics.index("peak")] if "peak" in metrics else None

    def maps(self) -> bytes:
        """Unpack the maps; none where they are broken."""
        try:
            return inflated(self.packed, MAPS.length(self.head["sizes"]))
        except ValueError:
            return b""


@dataclass(frozen=True)
class Series:
    """A layer's looks, in the order of their steps.

    Attributes:
        looks: those that can be read, of one training: the last look's, and all that it goes on from.
        broken: how many cannot.
        others: those of a branch that a resumed run has left, or of another training.
    """

    looks: Sequence[LookRecord]
    broken: int
    others: Sequence[LookRecord] = ()

    @property
    def size(self) -> int:
        """How many bytes it is."""
        return sum(len(look.numbers) + len(look.packed) for look in (*self.looks, *self.others))

    @classmethod
    def of(cls, records: Iterable[Record], earlier: "Series | None" = None) -> "Series":
        """Read the records of one tag, as they were written one behind the other, but for those read earlier."""
        known = {(look.step, look.written): look for look in (*earlier.looks, *earlier.others)} if earlier else {}
        found: dict[tuple[int, float], LookRecord] = {}  # once each, whoever copied the file
        broken = 0
        for step, written, parts in records:
            look = known.get((step, written)) or look_of(parts, step, written)
            if look is None:
                broken += 1
            else:
                found.setdefault((step, written), look)
        looks = [*found.values()]
        line = _line_of(looks)
        ours = set(map(id, line))
        return cls(line, broken, [look for look in looks if id(look) not in ours])

    def mark(self, count: int) -> str:
        """Return what tells the first looks from any others."""
        return mark_of([f"{look.step} {look.written!r}" for look in self.looks[:count]])


def _line_of(looks: Sequence[LookRecord]) -> list[LookRecord]:
    """The looks of one training, in their order, whatever the clocks said: those that the last of them goes on from."""
    places = {look.id: place for place, look in enumerate(looks) if look.id}
    before = ((one, look.step) for look in looks for one in look.before if one in places)
    named = {one for one, step in before if looks[places[one]].step < step}  # no training goes back, nor from itself
    ends = [place for place, look in enumerate(looks) if not look.id or look.id not in named]
    at, line = (ends[-1] if ends else None), []
    while at is not None:
        line.append(looks[at])
        at = _behind(looks, at, places)
    return line[::-1]


def _behind(looks: Sequence[LookRecord], at: int, places: Mapping[str, int]) -> int | None:
    """The place of the look that one goes on from; None where it begins, or that is not there."""
    look = looks[at]
    if look.before:
        found = nearest_of(look.before, places)
        return found if found is not None and looks[found].step < look.step else None  # no training goes back
    if look.step == 0:
        return None
    # resumed without its memory, or of a version that wrote no ids: it takes back what was written of later steps
    return next((place for place in range(at - 1, -1, -1) if looks[place].step < look.step), None)


def nearest_of(ids: Sequence[str], known: Mapping[str, T]) -> T | None:
    """Return what is known under the first of some looks' ids that is known."""
    return next((known[one] for one in ids if one in known), None)


def followed(looks: Mapping[str, LookRecord], wanted: Sequence[str]) -> list[LookRecord]:
    """Return a training's looks from their end, each by the nearest of those before it that is there.

    Args:
        looks: by their ids.
        wanted: the ids of the last looks, the latest first.
    """
    found: list[LookRecord] = []
    while look := nearest_of(wanted, looks):
        if found and look.step >= found[-1].step:  # no training goes there
            break
        found.append(look)
        wanted = look.before
    return found


def mark_of(told: Iterable[str]) -> str:
    """Return what tells some words from any others, as long as TensorBoard runs."""
    return blake2b("\n".join(told).encode(), digest_size=8).hexdigest()


def strings(array: Any) -> Data:
    """Return what a tensor of strings holds."""
    parts: Iterable[object] = array.ravel().tolist()
    return [part if isinstance(part, bytes) else b"" for part in parts]


def header_of(parts: Data) -> dict[str, Any] | None:
    """Return the header of a tensor that this version can read, else None."""
    try:
        header = json.loads(parts[0], parse_constant=_refuse)
    except (ValueError, IndexError, RecursionError):
        return None
    return header if isinstance(header, dict) and header.get("version") == VERSION else None


def pictures_of(parts: Data) -> Data:
    """Return the images, encoded; nothing in place of one that is no JPEG, or not as it was written."""
    checks, given = (header_of(parts) or {}).get("pictures"), parts[1:]
    known = checks if isinstance(checks, list) and len(checks) == len(given) else [crc32(part) for part in given]
    pairs = zip(given, known, strict=True)
    return [part if part.startswith(b"\xff\xd8\xff") and crc32(part) == check else b"" for part, check in pairs]


def told_of(parts: Data) -> dict[str, Any] | None:
    """Return what is told of images, whatever became of these, if all of it is what a reader expects."""
    header = header_of(parts)
    if header is None or not _is_as_written(header):
        return None
    told: dict[str, Any] = {name: header.get(name, one) for name, one in UNKNOWN.items()}
    if not (_are_words(told) and _are_of(len(parts) - 1, told)):
        return None
    for name in ("said", "columns", "class_names"):
        told[name] = told[name] and [printable(word) for word in told[name]]
    return told | {"about": printable(told["about"]), "metrics": words_of(told["metrics"])}


def other_names(told: Mapping[str, Any], sets: Iterable[Mapping[str, Any]]) -> list[str] | None:
    """Return what classes were called before in the same set of images, where that was another way; None where not."""
    same = [one["class_names"] for one in sets if one["probe_set"] == told["probe_set"]]
    return next((names or [] for names in reversed(same) if names != told["class_names"]), None)


def _are_words(told: dict[str, Any]) -> bool:
    """Whether all that is to be words of a set of images is."""
    named = _are(told["columns"], str) and (told["class_names"] is None or _are(told["class_names"], str))
    alone = all(isinstance(told[name], str) for name in ("about", "probe_set", "task"))
    return named and alone and told["unit"] in ("epoch", "step") and told["scale"] in ("image", "run")


def _are_of(images: int, told: dict[str, Any]) -> bool:
    """Whether what is told of each image is of so many."""
    truths, indices, areas, unknown = (told[name] for name in ("truths", "indices", "areas", "unknown"))
    are_lists = isinstance(truths, list) and all(isinstance(one, list) for one in truths)
    are_numbers = are_lists and all(_is_number(value) for one in truths for value in one)
    are_words = _are(told["fingerprints"], str) and _are(told["said"], str)
    are_places = indices is None or (_are(indices, int) and all(map(_is_number, indices)) and len(indices) == images)
    are_shares = areas is None or (isinstance(areas, list) and len(areas) == images and all(map(_is_share, areas)))
    are_open = unknown is None or (isinstance(unknown, list) and len(unknown) == images and all(map(_is_open, unknown)))
    if not (are_numbers and are_words and are_places and are_shares and are_open):
        return False
    return all(len(one) == images for one in (truths, told["fingerprints"], told["said"]))


def caution_of(written: Iterable[Data]) -> str:
    """Return the last sentence of those that are as they were written; "" where none is."""
    headers = [header for header in map(header_of, written) if header and _is_as_written(header)]
    told = headers[-1].get("told") if headers else ""
    return told if isinstance(told, str) else ""


def words_of(metrics: Any) -> dict[str, dict[str, str]]:
    """Return what has to be known to read each number, as far as it is words."""
    named = metrics.items() if isinstance(metrics, dict) else ()
    wanted = {"says", "direction", "chance", "failing"}
    whole = {name: words for name, words in named if isinstance(words, dict) and words.keys() == wanted}
    return {name: words for name, words in whole.items() if _are(list(words.values()), str)}


def look_of(parts: Data, step: int, written: float) -> LookRecord | None:
    """Return a look, if all but its maps is as its header says."""
    header = header_of(parts)
    if header is None or len(parts) != 1 + len(LOOK) or step < 0:
        return None
    if not _is_as_written(header, step):
        return None
    given, metrics, probe_set = (header.get(name) for name in ("sizes", "metrics", "probe_set"))
    axes = sorted(set("".join(field.axes for field in LOOK)))
    sizes: dict[str, Any] = {axis: given.get(axis) for axis in axes} if isinstance(given, dict) else {}
    if not sizes or not all(type(size) is int and size >= 0 for size in sizes.values()):
        return None
    if not _are(metrics, str) or len(metrics or ()) != sizes["M"] or not isinstance(probe_set, str):
        return None
    if min(sizes[axis] for axis in "NThw") == 0 or sum(field.length(sizes) for field in LOOK) > MOST:
        return None
    packed = {field.name: part for field, part in zip(LOOK, parts[1:], strict=True)}
    try:
        arrays = {field.name: inflated(packed[field.name], field.length(sizes)) for field in NUMBERS}
        answers = json.loads(arrays["answers"], parse_constant=_refuse)
    except (ValueError, OverflowError, RecursionError):  # of any length that a header may say
        return None
    if not _are(answers, str) or len(answers) != sizes["N"]:
        return None
    head = {"probe_set": probe_set, "sizes": sizes, "metrics": metrics}
    own, before = header.get("id"), header.get("before")
    line = (own, tuple(before or ())) if isinstance(own, str) and _are(before, str) else ("", ())
    return LookRecord(step, written, head, b"".join(arrays.values()), packed["maps"], *line)


def _is_as_written(header: dict[str, Any], *before: object) -> bool:
    """Whether a header's check holds; one that has none, as earlier versions wrote it, is taken as it is."""
    told = {name: value for name, value in header.items() if name != "check"}
    return "check" not in header or header["check"] == check_of([*before, told] if before else told)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_number(value: Any) -> bool:
    return (type(value) is int and abs(value) < 2**53) or (type(value) is float and math.isfinite(value))


def _is_open(classes: Any) -> bool:
    return classes is None or (_are(classes, int) and all(map(_is_number, classes)))


def _is_share(value: Any) -> bool:
    return value is None or (_is_number(value) and 0 <= value <= 1)


def _are(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)
