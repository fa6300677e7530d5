"""Event files read back: the tab's data alone, at the speed of the disk.

TensorBoard's own reader checks a CRC of every byte in Python, which of files with pictures takes minutes. Our data
carry checks of their own, which `unpacking` heeds.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from struct import unpack
from typing import Any, BinaryIO

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.types_pb2 import DataType

from lightning_gradcam.logs.schema import CAUTION, MAPS, PLUGIN, PROBE_SET, ROOT
from lightning_gradcam.logs.unpacking import Record

_FRAME = 16  # bytes around a record: its length, that one's CRC, and its own
_ENDS = tuple(f"/{part}" for part in (MAPS, CAUTION, PROBE_SET))


def event_files(folder: Path, faults: list[str]) -> list[Path]:
    """Return the event files in a folder; none where it cannot be read, which is added to `faults`, a sentence."""
    try:
        files = (folder / name for name in sorted(os.listdir(folder)) if "tfevents" in name)
        return [file for file in files if file.is_file()]
    except OSError as error:
        faults.append(unreadable(folder, error))
        return []


@dataclass
class EventReader:
    """Reads the event files of one run.

    Attributes:
        progress: told how many bytes were read, again and again.
        faults: what could not be read, a sentence each.
    """

    progress: Callable[[int], object] = lambda count: None
    faults: list[str] = field(default_factory=list)
    _owners: dict[str, str] = field(default_factory=dict)  # a tag's plugin; some writers tell it once

    def read(self, files: Sequence[Path]) -> dict[str, list[Record]]:
        """Return the records of each tag of the tab's data, as they lie in the files, one behind the other.

        That is the order in which they were written, whatever the clock said then.
        """
        found: dict[str, list[Record]] = defaultdict(list)
        for file in files:
            for tag, record in self.stored(file):
                found[tag].append(record)
        return dict(found)

    def stored(self, file: Path) -> Iterator[tuple[str, Record]]:
        """Yield the tab's data in a file with their tags; where it is broken it ends."""
        broken = 0
        try:
            with file.open("rb") as stream:
                for content in _contents(stream, os.fstat(stream.fileno()).st_size):
                    self.progress(len(content) + _FRAME)
                    try:
                        yield from self._data(content)
                    except DecodeError:
                        broken += 1
        except (OSError, ValueError) as error:
            self.faults.append(unreadable(file, error))
        if broken:
            self.faults.append(f"{broken} of the records in {str(file)!r} cannot be read")

    def _data(self, content: bytes) -> Iterator[tuple[str, Record]]:
        if f"{ROOT}/".encode() not in content:  # most are of others, and need not be parsed
            return
        event = Event.FromString(content)
        for value in event.summary.value:
            if self._is_ours(value):
                yield value.tag, (event.step, event.wall_time, list(value.tensor.string_val))

    def _is_ours(self, value: Any) -> bool:
        if not (value.tag.startswith(f"{ROOT}/") and value.tag.endswith(_ENDS) and value.HasField("tensor")):
            return False
        if told := value.metadata.plugin_data.plugin_name:
            self._owners.setdefault(value.tag, told)
        is_of_strings: bool = value.tensor.dtype == DataType.DT_STRING
        return is_of_strings and self._owners.get(value.tag, PLUGIN) == PLUGIN


def _contents(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the records of a file; one that is cut off is still being written, or never was to its end.

    Raises:
        ValueError: a length is broken, after which nothing can be found.
    """
    at = 0
    while len(head := stream.read(12)) == 12:
        length, crc = unpack("<QI", head)
        if _masked_crc(head[:8]) != crc:
            raise ValueError(f"it is broken at byte {at} of {size}, and what comes after that is lost")
        at += length + _FRAME
        if at > size:
            return
        yield stream.read(length + 4)[:-4]


@lru_cache(4096)  # lengths are mostly alike
def _masked_crc(content: bytes) -> int:
    """CRC-32C (Castagnoli), masked as TFRecord has it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def unreadable(place: object, error: Exception) -> str:
    """Say what a file or folder could not be read for."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{str(place)!r} cannot be read to its end: {told}"
