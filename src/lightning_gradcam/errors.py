"""How a wrong setting is told: what was given, what is accepted, and the nearest match."""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class SettingError(ValueError):
    """A setting that cannot work, with the argument's name in the sentence."""


class _Quotes(reprlib.Repr):
    """Python's own values as they are written, shortened; of everything else what it is."""

    def repr1(self, x: Any, level: int) -> str:
        if x is None or isinstance(x, (bool, int, float, str, bytes, list, tuple, dict, set, frozenset, range)):
            return super().repr1(x, level)
        if hasattr(x, "shape"):
            return f"<{type(x).__name__} {tuple(x.shape)}>"
        return str(getattr(x, "__qualname__", None) or f"<{type(x).__name__}>")


_QUOTES = _Quotes()
_QUOTES.maxstring = _QUOTES.maxother = _QUOTES.maxlong = 80
_QUOTES.maxlist = _QUOTES.maxtuple = _QUOTES.maxdict = _QUOTES.maxset = 8


def quoted(value: object) -> str:
    """Return a value as a message quotes it, in a line; of a model, a function or a tensor only what it is."""
    return _QUOTES.repr(value)


def nearest(given: str, known: Iterable[str], most: int = 3) -> str:
    """Return "; did you mean 'a' or 'b'?" for the nearest of the known names, "" where none is near.

    A dotted name is compared by as many of its last parts as were given: 'layer4' finds 'backbone.layer4'.
    """
    names = list(known)
    matches = [name for name in names if name.lower() == given.lower()][:most]
    matches += [name for name in get_close_matches(given, names, n=most, cutoff=0.6) if name not in matches]
    parts = given.count(".") + 1
    ends = {name: ".".join(name.split(".")[-parts:]) for name in names if name not in matches}
    close = get_close_matches(given, set(ends.values()), n=most, cutoff=0.6)
    matches += sorted((name for name in ends if ends[name] in close), key=lambda name: close.index(ends[name]))
    return f"; did you mean {' or '.join(map(repr, matches[:most]))}?" if matches else ""
