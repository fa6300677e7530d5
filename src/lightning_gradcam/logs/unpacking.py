"""What a log's tensors of strings hold: read with care, since anybody may have written them."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np

from lightning_gradcam.logs.schema import LOOK, VERSION, inflated

MOST = 64 * 2**20  # bytes of a look that is unpacked
NUMBERS = tuple(field for field in LOOK if field.name != "maps")
[MAPS] = (field for field in LOOK if field.name == "maps")

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
        looks: those that can be read; of a branch that a resumed run has left there are none.
        broken: how many cannot.
    """

    looks: Sequence[LookRecord]
    broken: int

    @property
    def size(self) -> int:
        """How many bytes it is."""
        return sum(len(look.numbers) + len(look.packed) for look in self.looks)

    @classmethod
    def of(cls, records: Iterable[Record], earlier: "Series | None" = None) -> "Series":
        """Read the records of one tag, but for those that were read earlier."""
        known = {(look.step, look.written): look for look in earlier.looks} if earlier else {}
        looks: list[LookRecord] = []
        broken = 0
        for step, written, parts in records:
            look = known.get((step, written)) or look_of(parts, step, written)
            if look is None:
                broken += 1
                continue
            while looks and looks[-1].step >= step:
                looks.pop()
            looks.append(look)
        return cls(looks, broken)

    def mark(self, count: int) -> str:
        """Return what tells the first looks from any others."""
        return mark_of([f"{look.step} {look.written!r}" for look in self.looks[:count]])


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


def probe_of(parts: Data) -> dict[str, Any] | None:
    """Return what is told of images, if all of it is what the tab will read, and every image a JPEG."""
    header = header_of(parts)
    if header is None or not all(part.startswith(b"\xff\xd8\xff") for part in parts[1:]):
        return None
    names = ("probe_set", "fingerprints", "truths", "said", "class_names", "columns", "about")
    told = {name: header.get(name) for name in names}
    told |= {"scale": header.get("scale", "image")}
    told |= {"unit": header.get("unit", "epoch"), "metrics": words_of(header.get("metrics", {}))}
    told |= {"task": task if isinstance(task := header.get("task", ""), str) else ""}
    named = _are(told["columns"], str) and (told["class_names"] is None or _are(told["class_names"], str))
    words = named and isinstance(told["about"], str) and isinstance(told["probe_set"], str)
    words = words and told["unit"] in ("epoch", "step") and told["scale"] in ("image", "run")
    truths, known = told["truths"], told["fingerprints"]
    of_images = isinstance(truths, list) and all(isinstance(one, list) and all(map(_is_number, one)) for one in truths)
    in_words = _are(known, str) and _are(told["said"], str)
    counts = {len(one or []) for one in (truths, known, told["said"])}
    return told if words and of_images and in_words and counts == {len(parts) - 1} else None


def words_of(metrics: Any) -> dict[str, dict[str, str]]:
    """Return what has to be known to read each number, as far as it is words."""
    named = metrics.items() if isinstance(metrics, dict) else ()
    wanted = {"says", "direction", "chance", "failing"}
    whole = {name: words for name, words in named if isinstance(words, dict) and words.keys() == wanted}
    return {name: words for name, words in whole.items() if _are(list(words.values()), str)}


def look_of(parts: Data, step: int, written: float) -> LookRecord | None:
    """Return a look, if all but its maps is as its header says."""
    header = header_of(parts)
    if header is None or len(parts) != 1 + len(LOOK):
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


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_number(value: Any) -> bool:
    return (type(value) is int and abs(value) < 2**53) or (type(value) is float and math.isfinite(value))


def _are(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)
