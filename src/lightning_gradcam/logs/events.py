"""TensorBoard's event files: pictures, and the Attention tab's data."""

import os
from collections.abc import Sequence
from errno import ENOSPC
from io import BytesIO
from pathlib import Path
from shutil import disk_usage
from typing import Any

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import DataClass, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DataType
from torch.utils.tensorboard.writer import SummaryWriter

from lightning_gradcam.logs.schema import PLUGIN
from lightning_gradcam.pictures.render import to_jpeg
from lightning_gradcam.values import held

LAST_ROOM = 64 * 2**20  # bytes


class Events:
    """Where a run's event files are written: by the loggers that do, else by one of its own.

    Args:
        loggers: the trainer's. TensorBoard's are told by the writer that they hold: `pytorch_lightning` and
            `lightning.pytorch` each have a class of their own.
        folder: of an own file, made with the first write, where no logger writes one.
    """

    def __init__(self, loggers: Sequence[Any], folder: Path) -> None:
        self._writers = [writer for writer in map(summary_writer, loggers) if writer]
        self._own: SummaryWriter | None = None
        self._folder = folder

    @property
    def folder(self) -> str:
        """Where TensorBoard finds them."""
        return self._writers[0].log_dir if self._writers else str(self._folder)

    @property
    def are_own(self) -> bool:
        """Whether no logger writes event files."""
        return not self._writers

    def make_folders(self) -> None:
        """Make the folders again where they were removed: in mid-run a writer, and the run, end without."""
        for writer in self._writers or filter(None, [self._own]):
            if "://" not in writer.log_dir:
                os.makedirs(writer.log_dir, exist_ok=True)

    def write_picture(self, tag: str, picture: Image.Image, step: int) -> None:
        """Write one picture, RGB, under a tag as `schema` has it, and let it reach the disk."""
        self._write_encoded(tag, to_jpeg(picture), picture.size, step)

    def write_animation(self, tag: str, encoded: bytes, step: int) -> None:
        """Write an animated picture, encoded."""
        with Image.open(BytesIO(encoded)) as picture:
            self._write_encoded(tag, encoded, picture.size, step)

    def write_data(self, tag: str, parts: Sequence[bytes], step: int) -> None:
        """Write data for the Attention tab: a tensor of strings, of this package's plugin."""
        metadata = SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN), data_class=DataClass.DATA_CLASS_TENSOR
        )
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(parts))])
        tensor = TensorProto(dtype=DataType.DT_STRING, tensor_shape=shape, string_val=parts)
        self._write(Summary.Value(tag=tag, metadata=metadata, tensor=tensor), step)

    def close(self) -> None:
        """End the own file; the loggers end theirs."""
        if self._own:
            self._own.close()

    def _write_encoded(self, tag: str, encoded: bytes, size: tuple[int, int], step: int) -> None:
        image = Summary.Image(width=size[0], height=size[1], colorspace=3, encoded_image_string=encoded)
        self._write(Summary.Value(tag=tag, image=image), step)

    def _write(self, value: Summary.Value, step: int) -> None:
        summary = Summary(value=[value])
        self.make_folders()
        if self.are_own and not self._own:
            self._own = SummaryWriter(str(self._folder))
        for writer in self._writers or filter(None, [self._own]):
            _check_room(writer.log_dir, summary.ByteSize())
            # SummaryWriter.add_image knows PNG only: for these grids 100 times the time and 5 times the bytes
            writer._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]
            writer.flush()


def summary_writer(logger: Any) -> SummaryWriter | None:
    """Return the writer of event files that a logger holds, if it does."""
    experiment = held(logger, "experiment")
    return experiment if isinstance(experiment, SummaryWriter) else None


def _check_room(folder: str, size: int) -> None:
    """Leave the training's own logs the last of a disk: a writer that fails once fails for them as well.

    Raises:
        OSError: writing would leave less than a tenth of the disk, or than 64 MB.
    """
    if "://" in folder:
        return
    disk = disk_usage(folder)
    reserve = min(disk.total // 10, LAST_ROOM)
    if disk.free - size < reserve:
        told = f"{size} bytes more, and less than the {reserve} of the disk are left that are the training's"
        raise OSError(ENOSPC, told, folder)
