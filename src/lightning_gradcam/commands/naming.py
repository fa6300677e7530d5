"""Names of classes as a command is given them, and classes that are named by them."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from lightning_gradcam.errors import SettingError, nearest, quoted
from lightning_gradcam.pictures.shown import NamesError

logger = logging.getLogger(__name__)

_ACCEPTED = "accepted are names with commas, or a file of them"

Found = TypeVar("Found")


def class_names(given: str | None) -> list[str] | None:
    """Return one a class: those between commas, or in a file, UTF-8, a line each; blank lines at its end are none.

    Raises:
        SettingError: no such file, or a class without a name.
    """
    if given is None:
        return None
    path = Path(given).expanduser()
    if "," in given and not path.is_file():
        return _checked(given, [name.strip() for name in given.split(",")], "name")
    try:
        text = path.read_text("utf-8-sig")  # some editors put a mark in front, which is no part of the first name
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"--names {quoted(given)}: {error}; {_ACCEPTED}") from error
    return _checked(given, [name.strip() for name in text.rstrip().splitlines()], "line")


def _checked(given: str, names: list[str], what: str) -> list[str]:
    """Names none of which is missing: those behind it would be other classes'."""
    if not any(names):
        raise SettingError(f"--names {quoted(given)} has no names; {_ACCEPTED}")
    if "" in names:
        raise SettingError(f"--names {quoted(given)}: {what} {names.index('') + 1} is blank; {_ACCEPTED}, one a class")
    return names


def fitting(asked: Callable[[Sequence[str] | None], Found], names: Sequence[str] | None, own: Sequence[str]) -> Found:
    """Return what a model is asked with the names that are given, or its weights' own, if these are its classes'.

    Raises:
        SettingError: names that are given do not fit.
    """
    try:
        return asked(names or own or None)
    except NamesError as error:
        if names:
            raise
        logger.warning("the weights' own names of classes are left out: %s", error)
        return asked(None)


def target_of(given: str | int | list[int], names: Sequence[str] | None) -> str | int | list[int]:
    """Return a target with its classes by number, of which some may be given by name, several with commas.

    Raises:
        SettingError: a name that is no class's, or that of several.
    """
    if not isinstance(given, str) or given == "predicted":
        return given
    if not names:
        raise SettingError(
            f"--target {quoted(given)}: the classes have no names; accepted are predicted, a class's number, several "
            "with commas, as 0,2, or names with --names"
        )
    if given in names:
        return _class_of(given, names)
    found = [_class_of(part.strip(), names) for part in given.split(",")]
    return found[0] if len(found) == 1 else found


def _class_of(name: str, names: Sequence[str]) -> int:
    if name.isascii() and name.isdecimal():
        return int(name)
    own = [number for number, one in enumerate(names) if one == name]
    if not own:
        raise SettingError(
            f"--target {quoted(name)} is no class's name{nearest(name, names)}; accepted are predicted, a class's "
            "number or its name"
        )
    if len(own) > 1:
        raise SettingError(f"--target {quoted(name)} is the name of several classes; accepted is one of {own}")
    return own[0]
