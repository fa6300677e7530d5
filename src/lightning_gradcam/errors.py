"""How a wrong setting is told: what was given, what is accepted, and the nearest match."""

from collections.abc import Iterable
from difflib import get_close_matches


class SettingError(ValueError):
    """A setting that cannot work, with the argument's name in the sentence."""


def nearest(given: str, known: Iterable[str], most: int = 3) -> str:
    """Return "; did you mean 'a' or 'b'?" for the nearest of the known names, "" where none is near.

    A dotted name is compared by as many of its last parts as were given: 'layer4' finds 'backbone.layer4'.
    """
    names = list(known)
    matches = get_close_matches(given, names, n=most, cutoff=0.6)
    parts = given.count(".") + 1
    ends = {name: ".".join(name.split(".")[-parts:]) for name in names if name not in matches}
    close = get_close_matches(given, set(ends.values()), n=most, cutoff=0.6)
    matches += sorted((name for name in ends if ends[name] in close), key=lambda name: close.index(ends[name]))
    return f"; did you mean {' or '.join(map(repr, matches[:most]))}?" if matches else ""
