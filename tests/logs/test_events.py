"""Event files, of loggers and of their own."""

from pathlib import Path

from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from lightning_gradcam.logs import events as event_files

from ..conftest import Events


def test_a_picture_is_read_back_before_the_writer_is_closed(tmp_path) -> None:
    """It reaches the disk with every write: a kill loses nothing."""
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    picture = Image.effect_noise((64, 48), 40).convert("RGB")
    event_files.Events([logger], Path()).write_picture("gradcam/a", picture, step=3)
    events = Events(tmp_path / "run")
    assert events.steps("gradcam/a") == [3]
    assert events.pictures("gradcam/a")[0].shape == (48, 64, 3)


def test_the_event_file_tells_a_pictures_size_and_colours(tmp_path) -> None:
    """Readers lay out by it before they decode; 3 is RGB."""
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    event_files.Events([logger], Path()).write_picture("gradcam/a", Image.new("RGB", (64, 48)), step=3)
    file = next((tmp_path / "run").glob("events*"))
    [image] = [value.image for event in LegacyEventFileLoader(str(file)).Load() for value in event.summary.value]
    assert (image.width, image.height, image.colorspace) == (64, 48, 3)


def test_where_no_logger_writes_event_files_one_is_made_with_the_first_picture(tmp_path) -> None:
    """And no folder before."""
    own = event_files.Events([CSVLogger(tmp_path)], tmp_path / "own")
    assert own.are_own
    assert own.folder == str(tmp_path / "own")
    assert not (tmp_path / "own").exists()
    own.write_picture("gradcam/a", Image.new("RGB", (64, 48)), step=3)
    own.close()
    assert Events(tmp_path / "own").steps("gradcam/a") == [3]
