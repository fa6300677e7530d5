"""Words of any length and script in a given width."""

import re
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

Font = ImageFont.FreeTypeFont

_LONGEST = 120  # letters of a name that are looked at
_TAIL = re.compile(r"(.*?)((?: \(\d+%\)|: IoU [\d.]+)?)", re.DOTALL)  # a name, and what is behind it


@cache
def font_of(size: int, bold: bool = False) -> Font:
    """Return DejaVu Sans, which has most scripts, at a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def fitting(text: str, size: float, width: float, bold: bool = False) -> Font:
    """Return the largest font up to a size in which a short text, that must not be cut, fits in a width."""
    font = font_of(round(size), bold)
    return font_of(max(6, min(round(size), int(size * width / max(1, font.getlength(text))))), bold)


def shortened(text: str, font: Font, width: float) -> str:
    """Cut a text in its middle, as much as it must be to fit in a width."""
    return (wrapped(text, font, width, 1) or ("",))[0]


@lru_cache(4096)
def wrapped(text: str, font: Font, width: float, most: int) -> tuple[str, ...]:
    """Break a text into at most so many lines; where they are too few a name is cut in its middle, not what is behind.

    Args:
        text: a name, and behind it a probability or the like, which is kept where it fits at all.
        font: in which it is drawn.
        width: of a line, in pixels.
        most: lines, at least one.
    """
    if not text:
        return ()
    if len(text) <= _LONGEST and len(whole := _cut_words(text, font, width)) <= most:
        return tuple(whole)
    match = _TAIL.fullmatch(text)
    for name, tail in (match.groups() if match else (text, ""), (text, "")):
        for kept in range(min(len(name), _LONGEST) - 1, 0, -1):
            lines = _between_words(without_middle(name, kept) + tail, font, width)
            if len(lines) <= most and all(font.getlength(line) <= width for line in lines):
                return tuple(lines)
    return ()


def without_middle(name: str, kept: int) -> str:
    """Return so many letters of a name, from both its ends."""
    return f"{name[: (kept + 1) // 2].rstrip()}…{name[len(name) - kept // 2 :].lstrip()}"


def _between_words(text: str, font: Font, width: float) -> list[str]:
    """A text in lines, of which one is too wide where a word is."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _cut_words(text: str, font: Font, width: float) -> list[str]:
    """A text in lines, words that are too wide in several."""
    lines: list[str] = []
    for line in _between_words(text, font, width):
        start = 0
        while start < len(line):
            end = next(
                (end for end in range(len(line), start + 1, -1) if font.getlength(line[start:end]) <= width), start + 1
            )
            lines.append(line[start:end])
            start = end
    return lines
