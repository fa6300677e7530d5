"""Files that a command writes: under safe names, whole or not at all, and over others only where that is asked for."""

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from PIL import Image

from lightning_gradcam.errors import SettingError, nearest, quoted

_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # Windows has them in every folder
_MOST = 100  # bytes: systems take 255 of a file's name, which is a run's, a layer's and an ending

_ACCEPTED = "accepted is a folder that can be written in"

Write = Callable[[BinaryIO], object]


def safe(name: str) -> str:
    """Return a name that is one file's on any system, whatever it was: letters, digits, and what leads nowhere."""
    kept = re.sub(r"[^\w.+-]", "_", name).lstrip(".-")  # neither hidden nor taken for an option
    kept = f"_{kept}" if _DEVICES.match(kept) else kept
    return kept.encode()[:_MOST].decode(errors="ignore") or "_"


def apart(names: Iterable[str]) -> list[str]:
    """Return the names, with a number behind those that a file system may take for an earlier one."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        tries = (name if count == 1 else f"{name}-{count}" for count in range(1, len(taken) + 2))
        free = next(one for one in tries if one.casefold() not in taken)
        taken.add(free.casefold())
        found.append(free)
    return found


def check_free(paths: Iterable[Path], force: bool) -> None:
    """Refuse what is there, and where nothing can be written, before any work is done.

    Raises:
        SettingError: a file is there and may not be written over, or is a folder; or its folder cannot be written in.
    """
    paths = list(paths)
    for path in {path.parent: path for path in paths}.values():
        _check_folder(path)
    for path in paths:
        if path.is_dir():
            raise SettingError(f"{str(path)!r} is a folder; accepted is a file's name")
        if os.path.lexists(path) and not force:
            raise SettingError(f"{str(path)!r} is there already, and not written over; --force writes over it")


def _check_folder(path: Path) -> None:
    """Try it with a file of no name: what may be written where, no flag of a folder tells for sure."""
    there = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not there.is_dir():
        kind = "is a file" if there.is_file() else "leads nowhere"
        raise SettingError(f"{str(path)!r} cannot be written, for {str(there)!r} {kind}; {_ACCEPTED}")
    try:
        TemporaryFile(dir=there).close()
    except OSError as error:
        told = error.strerror or str(error)
        raise SettingError(f"{str(path)!r} cannot be written in {str(there)!r}: {told}; {_ACCEPTED}") from error


def not_there(what: str, path: Path, accepted: str) -> SettingError:
    """Return what is said of a path that leads to nothing, with the nearest beside it."""
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    return SettingError(f"{what} {str(path)!r} is not there{nearest(path.name, beside)}; accepted is {accepted}")


def check_picture(name: str) -> Path:
    """Return the path of a picture that is to be written.

    Raises:
        SettingError: its ending is no format of pictures.
    """
    path, known = Path(name), Image.registered_extensions()
    formats = {ending for ending, kind in known.items() if kind in Image.SAVE}
    if path.suffix.lower() not in formats:
        near = nearest(path.suffix.lower(), formats) if path.suffix else ""
        raise SettingError(
            f"--out {quoted(name)} does not end as a picture{near}; accepted are .png, .jpg, .webp, .pdf"
        )
    return path


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the path's place once it is whole; in place of a link, never through it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def write(path: Path, writing: Write) -> str:
    """Write a file, and return its path as it is told.

    Raises:
        OSError: it cannot be written, with its path.
    """
    try:
        with _replacing(path) as file:
            writing(file)
    except OSError as error:  # which may name the part, of which nobody has heard
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    return str(path)


def write_picture(path: Path, picture: Image.Image) -> str:
    """Write a picture in the format that its ending tells, and return its path as it is told.

    Raises:
        SettingError: the format does not take it, as one of a most that sides may have.
        OSError: as `write`.
    """
    kind = Image.registered_extensions()[path.suffix.lower()]
    try:
        return write(path, lambda file: picture.save(file, kind))
    except ValueError as error:
        size = f"{picture.width}x{picture.height}"
        raise SettingError(f"{str(path)!r}: a picture of {size} cannot be written as {kind}: {error}") from error
