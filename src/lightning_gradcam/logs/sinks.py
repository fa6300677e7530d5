"""Pictures and data to the loggers that take them."""

import os
from collections.abc import Sequence
from errno import ENOSPC
from io import BytesIO
from shutil import disk_usage
from typing import Any

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import DataClass, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DataType
from torch.utils.tensorboard.writer import SummaryWriter

from lightning_gradcam.errors import SettingError
from lightning_gradcam.logs.schema import PLUGIN
from lightning_gradcam.pictures.render import to_jpeg

LAST_ROOM = 64 * 2**20  # bytes


def find_sinks(loggers: Sequence[Any]) -> list[Any]:
    """Return the loggers that take pictures: TensorBoard's, and those with a `log_image` (as Weights & Biases').

    Told by what they hold, not by their class: `pytorch_lightning` and `lightning.pytorch` each have their own.

    Raises:
        SettingError: none does; with those that there are.
    """
    sinks = [logger for logger in loggers if _summary_writer(logger) or callable(getattr(logger, "log_image", None))]
    if not sinks:
        names = ", ".join(type(logger).__name__ for logger in loggers) or "none"
        raise SettingError(
            f"logger: GradCAMCallback writes to a TensorBoardLogger, and the trainer's loggers are: {names}; "
            "pass Trainer(logger=TensorBoardLogger(...)), alone or among others"
        )
    return sinks


def make_folders(sinks: Sequence[Any]) -> None:
    """Make TensorBoard's folders again where they were removed: in mid-run its writer, and the run, end without."""
    for writer in filter(None, map(_summary_writer, sinks)):
        if "://" not in writer.log_dir:
            os.makedirs(writer.log_dir, exist_ok=True)


def write_picture(sinks: Sequence[Any], tag: str, picture: Image.Image, step: int, global_step: int) -> None:
    """Write one picture to every sink, and let it reach the disk.

    Args:
        sinks: from `find_sinks`.
        tag: as `schema` has it.
        picture: RGB.
        step: epochs completed: TensorBoard's step.
        global_step: optimizer steps, which other loggers count by.
    """
    _write_encoded(sinks, tag, to_jpeg(picture), picture.size, step)
    for sink in sinks:
        if not _summary_writer(sink):
            sink.log_image(key=tag, images=[picture], step=global_step)


def write_animation(sinks: Sequence[Any], tag: str, encoded: bytes, step: int) -> None:
    """Write an animated picture, encoded, to TensorBoard; what others' `log_image` takes does not move."""
    with Image.open(BytesIO(encoded)) as picture:
        _write_encoded(sinks, tag, encoded, picture.size, step)


def write_data(sinks: Sequence[Any], tag: str, parts: Sequence[bytes], step: int) -> None:
    """Write data for the Attention tab to TensorBoard: a tensor of strings, of this package's plugin."""
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN), data_class=DataClass.DATA_CLASS_TENSOR
    )
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(parts))])
    tensor = TensorProto(dtype=DataType.DT_STRING, tensor_shape=shape, string_val=parts)
    _write(sinks, Summary.Value(tag=tag, metadata=metadata, tensor=tensor), step)


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


def _write_encoded(sinks: Sequence[Any], tag: str, encoded: bytes, size: tuple[int, int], step: int) -> None:
    image = Summary.Image(width=size[0], height=size[1], colorspace=3, encoded_image_string=encoded)
    _write(sinks, Summary.Value(tag=tag, image=image), step)


def _write(sinks: Sequence[Any], value: Summary.Value, step: int) -> None:
    summary = Summary(value=[value])
    make_folders(sinks)
    for writer in filter(None, map(_summary_writer, sinks)):
        _check_room(writer.log_dir, summary.ByteSize())
        # SummaryWriter.add_image knows PNG only: for these grids 100 times the time and 5 times the bytes
        writer._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]
        writer.flush()


def _summary_writer(logger: Any) -> SummaryWriter | None:
    experiment = getattr(logger, "experiment", None)
    return experiment if isinstance(experiment, SummaryWriter) else None
