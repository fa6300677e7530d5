"""How a wrong setting is told: what was given, what is accepted, and the nearest match."""

from collections.abc import Iterable
from difflib import get_close_matches


class SettingError(ValueError):
    """A setting that cannot work, with the argument's name in the sentence."""


def nearest(given: str, known: Iterable[str], most: int = 3) -> str:
    """Return "; did you mean 'a' or 'b'?" for the nearest of the known names, "" where none is near."""
    known = list(known)
    matches = get_close_matches(given, known, n=most, cutoff=0.5)
    matches += [name for name in known if name.rsplit(".", 1)[-1] == given and name not in matches]
    return f"; did you mean {' or '.join(map(repr, matches[:most]))}?" if matches else ""
