"""Settings as Python's own values, whichever library's numbers they came in."""

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
