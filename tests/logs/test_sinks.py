"""The loggers that take pictures, and the event file."""

import pytest
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from lightning_gradcam.logs.sinks import find_sinks, write_picture

from ..conftest import Events


def test_a_picture_is_read_back_before_the_writer_is_closed(tmp_path) -> None:
    """It reaches the disk with every write: a kill loses nothing."""
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    picture = Image.effect_noise((64, 48), 40).convert("RGB")
    write_picture([logger], "gradcam/a", picture, step=3, global_step=30)
    events = Events(tmp_path / "run")
    assert events.steps("gradcam/a") == [3]
    assert events.pictures("gradcam/a")[0].shape == (48, 64, 3)


def test_the_event_file_tells_a_pictures_size_and_colours(tmp_path) -> None:
    """Readers lay out by it before they decode; 3 is RGB."""
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    write_picture([logger], "gradcam/a", Image.new("RGB", (64, 48)), step=3, global_step=30)
    file = next((tmp_path / "run").glob("events*"))
    [image] = [value.image for event in LegacyEventFileLoader(str(file)).Load() for value in event.summary.value]
    assert (image.width, image.height, image.colorspace) == (64, 48, 3)


def test_a_logger_that_takes_images_gets_the_picture(tmp_path) -> None:
    """As Weights & Biases' does."""

    class Logger:
        def log_image(self, key, images, step=None):
            self.got = key, images, step

    logger, picture = Logger(), Image.new("RGB", (8, 8))
    assert find_sinks([CSVLogger(tmp_path), logger]) == [logger]
    write_picture([logger], "gradcam/a", picture, step=3, global_step=30)
    assert logger.got == ("gradcam/a", [picture], 30)


def test_without_any_such_logger_it_says_which_there_are(tmp_path) -> None:
    """By class."""
    with pytest.raises(ValueError, match="loggers are: CSVLogger"):
        find_sinks([CSVLogger(tmp_path)])
