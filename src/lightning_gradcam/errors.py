"""How a wrong setting is told: what was given, what is accepted, and the nearest match."""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from lightning_gradcam.values import held


class SettingError(ValueError):
    """A setting that cannot work, with the argument's name in the sentence."""


_WRITTEN = {type(None), bool, int, float, str, bytes, list, tuple, dict, set, frozenset, range}


class _Quotes(reprlib.Repr):
    """Python's own values as they are written, shortened; of everything else what it is."""

    def repr1(self, x: Any, level: int) -> str:
        if type(x) in _WRITTEN:
            return super().repr1(x, level)
        shape, name = held(x, "shape"), held(x, "__qualname__")
        if isinstance(shape, tuple):
            return f"<{type(x).__name__} {tuple(shape)}>"
        return name if isinstance(name, str) else f"<{type(x).__name__}>"


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
