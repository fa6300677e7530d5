"""`lightning-gradcam show`: what a log has, its numbers, and where attention moved."""

import argparse
import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lightning_gradcam.commands import lines
from lightning_gradcam.reading import AttentionLog, read_log

_LONGEST = 28  # columns of a run's or a layer's name
_ALONG = {"border": "its share in the border", "in_mask": "its share on the thing"}  # said of the heat


@dataclass(frozen=True)
class Course:
    """A number's means over images and targets, in short: NaN where there is none.

    Attributes:
        first: at the first look that has it.
        first_at: which look that is, its step; None where no look has it.
        last: at the last look.
        change: from the one to the other.
        highest: of all looks.
        highest_at: which look that is, its step; None where no look has it.
    """

    first: float = math.nan
    last: float = math.nan
    change: float = math.nan
    highest: float = math.nan
    highest_at: int | None = None
    first_at: int | None = None

    @classmethod
    def of(cls, log: AttentionLog, name: str) -> "Course":
        """Tell it of one layer in one run."""
        means = log.mean(name) if name in log.numbers else np.array([])
        known = np.flatnonzero(np.isfinite(means))
        if not len(known):
            return cls()
        first, last, top = float(means[known[0]]), float(means[-1]), int(known[means[known].argmax()])
        moved = last - first if known[0] < len(means) - 1 else math.nan  # of one look alone there is no change
        return cls(first, last, moved, float(means[top]), int(log.steps[top]), int(log.steps[known[0]]))


def chosen(log: AttentionLog, args: argparse.Namespace) -> AttentionLog:
    """Return what is asked for of a log."""
    found = log if args.run is None and args.layer is None else log.of(args.run, args.layer)
    return found.with_earlier() if args.with_earlier else found


def shown(args: argparse.Namespace) -> Iterator[str]:
    """Say what there is, in lines that fit a terminal, or as JSON."""
    with _silent(logging.getLogger("lightning_gradcam.reading")):  # its notes are among what is asked for
        log = chosen(read_log(args.logdir), args)
    if args.json:
        yield json.dumps(_as_json(args.logdir, log), indent=2, allow_nan=False)
    else:
        yield from _as_text(args.logdir, log)


@contextmanager
def _silent(reader: logging.Logger) -> Iterator[None]:
    was, reader.disabled = reader.disabled, True
    try:
        yield
    finally:
        reader.disabled = was


def _as_text(folder: str, log: AttentionLog) -> Iterator[str]:
    runs, layers = lines.shortened(log.runs, _LONGEST), lines.shortened(log.layers, _LONGEST)
    yield (f"{lines.clean(folder)}: {lines.counted(len(log.runs), 'run')}, {lines.counted(len(log.layers), 'layer')}")
    labels = [[runs[one.run], layers[one.layer]] for one in log]
    yield ""
    yield from _what(log, labels)
    yield from _numbers(log, labels)
    yield from _moves(log, labels)
    yield from _said("Cautions", [f"{_place(one)}: {one.caution}" for one in log if one.caution])
    yield from _said("Notes", log.notes)


def _place(log: AttentionLog) -> str:
    return f"{log.run}, {log.layer}"


def _what(log: AttentionLog, labels: list[list[str]]) -> Iterator[str]:
    """What each run and layer is of."""
    rows = [["run", "layer", "task", "unit", "looks", "first", "last", "images", "targets"]]
    for one, label in zip(log, labels, strict=True):
        looks, images, targets = one.states.shape
        steps = str(one.steps[0]), str(one.steps[-1])
        rows.append([*label, lines.clean(one.task), one.unit, str(looks), *steps, str(images), str(targets)])
    yield from (line.rstrip() for line in lines.table(rows, left=4))
    abouts = list(dict.fromkeys(one.about for one in log if one.about))
    for about in abouts:
        whose = [_place(one) for one in log if one.about == about] if len(abouts) > 1 else []
        yield from lines.paragraph(about + (f" ({'; '.join(whose)})" if whose else ""), "")
    if len(log) > 1 and len({tuple(one.fingerprints) for one in log}) > 1:
        yield "The images are not the same in all of them: means over them compare with care."


def _numbers(log: AttentionLog, labels: list[list[str]]) -> Iterator[str]:
    """Each number's course, as many beside each other as fit."""
    names = list(dict.fromkeys(name for one in log for name in one.numbers))
    if not names:
        return
    yield ""
    yield "Numbers: means over images and targets, at the first look that has one and at the last look"
    left = lines.table([["", ""], ["run", "layer"], *labels, ["by chance", ""]], left=2)
    groups = [_group(log, name) for name in names]
    block = [left]
    for group in groups:
        if len(block) > 1 and lines.width(max(lines.beside([*block, group]), key=lines.width)) > lines.WIDTH:
            yield ""
            yield from lines.beside(block)
            block = [left]
        block.append(group)
    yield ""
    yield from lines.beside(block)


def _group(log: AttentionLog, name: str) -> list[str]:
    """A number's columns below its name, a line a run and layer, and what it is by chance."""
    rows = [["first", "last", "change"]]
    for one in log:
        course = Course.of(one, name)
        rows.append([lines.number(course.first), lines.number(course.last), lines.change(course.change)])
    return [lines.clean(name), *lines.table([*rows, [_chance(log, name), "", ""]])]


def _chance(log: AttentionLog, name: str) -> str:
    """What a number is by chance, where that is known, and the same in all."""
    levels = {f"{one.chance(name):.2g}" for one in log if name in one.numbers}
    return levels.pop() if len(levels) == 1 and "nan" not in levels else ""


def _moves(log: AttentionLog, labels: list[list[str]]) -> Iterator[str]:
    told = [f"{', '.join(label)}: {_moved(one)}" for one, label in zip(log, labels, strict=True)]
    yield from _said("Where attention moved", told)


def _moved(log: AttentionLog) -> str:
    """In a sentence, where it moved most, and whether to the border or to the thing."""
    drift, parts = Course.of(log, "drift"), []
    if drift.highest_at is not None:
        parts.append(
            f"it moved most at {log.unit} {drift.highest_at} (drift {lines.number(drift.highest)}, at the last look "
            f"{lines.number(drift.last)})"
        )
    for name, words in _ALONG.items():
        course, chance = Course.of(log, name), _chance(log, name)
        if math.isfinite(course.change):
            by_chance = f" ({chance} by chance)" if chance else ""
            since = "" if course.first_at == log.steps[0] else f" at {log.unit} {course.first_at}"
            first, last = lines.number(course.first), lines.number(course.last)
            parts.append(f"{words} went from {first}{since} to {last}{by_chance}")
    return "; ".join(parts) or "one look alone says nothing of it"


def _said(title: str, sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        yield ""
        yield title
    for sentence in sentences:
        yield from lines.paragraph(sentence)


def _as_json(folder: str, log: AttentionLog) -> dict[str, Any]:
    return {
        "folder": folder,
        "runs": log.runs,
        "layers": log.layers,
        "logs": [_one_as_json(one) for one in log],
        "notes": log.notes,
    }


def _one_as_json(log: AttentionLog) -> dict[str, Any]:
    looks, images, targets = log.states.shape
    told = {name: getattr(log, name) for name in ("run", "layer", "task", "about", "unit", "columns", "class_names")}
    counts = {"looks": looks, "images": images, "targets": targets, "steps": log.steps.tolist()}
    of_images = {"fingerprints": log.fingerprints, "said": log.said}
    numbers = {name: _course_as_json(log, name) for name in log.numbers}
    return told | counts | of_images | {"numbers": numbers, "caution": log.caution, "notes": log.notes}


def _course_as_json(log: AttentionLog, name: str) -> dict[str, Any]:
    course = asdict(Course.of(log, name)) | {"means": log.mean(name).tolist()}
    return {key: _finite(value) for key, value in course.items()} | log.metrics.get(name, {})


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None
