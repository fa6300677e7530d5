"""Lines of text for a terminal: tables, sentences, and names that are as they look."""

import math
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

WIDTH = 100  # columns


def clean(text: str) -> str:
    """Return a text in one line without what a terminal would obey: a run may be called anything."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def width(text: str) -> int:
    """Return how many columns a text takes."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def table(rows: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """Return rows as lines of one width; the first `left` columns begin at the left, the others end at the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row, widths, left)) for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int], left: int) -> Iterable[str]:
    for place, (cell, most) in enumerate(zip(row, widths, strict=True)):
        space = " " * (most - width(cell))
        yield cell + space if place < left else space + cell


def beside(blocks: Sequence[Sequence[str]]) -> list[str]:
    """Return blocks of as many lines each beside each other."""
    widths = [max(map(width, block)) for block in blocks]
    return ["   ".join(_padded(parts, widths, len(widths))).rstrip() for parts in zip(*blocks, strict=True)]


def paragraph(text: str, indent: str = "  ") -> list[str]:
    """Return a text as lines that fit, those behind the first further in."""
    return textwrap.wrap(clean(text), WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")


def shortened(names: Iterable[str], most: int) -> dict[str, str]:
    """Return each name as it is shown, cut in the middle where it is too long; no two are shown alike."""
    found: dict[str, str] = {}
    for place, name in enumerate(dict.fromkeys(names), 1):
        shown = _cut(clean(name), most)
        if shown in found.values():
            shown = _cut(f"{place}:{clean(name)}", most)
        found[name] = shown
    return found


def _cut(text: str, most: int) -> str:
    if width(text) <= most:
        return text
    head, tail = text, text
    while width(head) > (most - 2) // 2:
        head = head[:-1]
    while width(tail) > (most - 1) // 2:
        tail = tail[1:]
    return f"{head}..{tail}" if head else text[:most]


def number(value: float) -> str:
    """Return a number as tables have it; "-" where there is none."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.1e}"


def change(value: float) -> str:
    """Return the same with its sign."""
    return number(value) if not math.isfinite(value) or value < 0 else f"+{number(value)}"


def counted(count: int, what: str) -> str:
    """Return how many of what there are, in words."""
    return f"{count} {what}{'' if count == 1 else 's'}"
