"""Settings as Python's own values, whichever library's numbers they came in; names as people sort them."""

import re
from contextlib import suppress
from typing import Any


def plain(value: Any) -> Any:
    """Return NumPy's and torch's numbers and arrays as Python's numbers and lists, through lists and tuples."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if type(value) in (list, tuple):
        return type(value)(plain(one) for one in value)
    return value


def held(source: Any, name: str) -> Any:
    """Return an attribute of a user's object; None where there is none, or where a property fails."""
    with suppress(Exception):
        return getattr(source, name, None)
    return None


def natural(name: str) -> list[tuple[bool, int, str]]:
    """What sorts names as people do: layer2 before layer10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def printable(text: str) -> str:
    """Return a text that can be drawn in one line: a space for each letter that cannot."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
