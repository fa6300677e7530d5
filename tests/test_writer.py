"""The worker, the loggers, the event file."""

import threading
import time

import pytest
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from lightning_gradcam.writer import Worker, find_sinks, write_picture

from .conftest import Events


def test_jobs_run_in_order_on_another_thread() -> None:
    """All of them, also after a fault in one."""
    faults, done = [], []
    worker = Worker(faults.append)
    for number in range(20):
        worker.submit(lambda number=number: done.append((number, threading.current_thread().name, 1 // (number != 7))))
    worker.close()
    assert [number for number, _, _ in done] == [number for number in range(20) if number != 7]
    assert {name for _, name, _ in done} == {"lightning-gradcam"}
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


def test_a_full_queue_makes_submit_wait_and_drops_nothing() -> None:
    """A slow disk costs waiting, not pictures."""
    release, done = threading.Event(), []
    worker = Worker(lambda fault: None, depth=2)
    for number in range(3):  # one at work, two waiting
        worker.submit(lambda number=number: (release.wait(), done.append(number)))
    fourth = threading.Thread(target=worker.submit, args=(lambda: done.append(3),))
    fourth.start()
    time.sleep(0.1)
    assert fourth.is_alive()
    release.set()
    fourth.join(5)
    worker.drain()
    assert done == [0, 1, 2, 3]
    worker.close()


def test_jobs_submitted_together_take_one_place_and_fail_alone() -> None:
    """Eight layers' pictures make nobody wait; one that cannot be drawn leaves the others."""
    release, done, faults = threading.Event(), [], []
    worker = Worker(faults.append, depth=1)
    worker.submit(release.wait)
    worker.submit(*[lambda number=number: done.append(1 // (number != 3)) for number in range(8)])
    release.set()
    worker.close()
    assert len(done) == 7
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


def test_closing_ends_the_thread_and_a_later_job_starts_another() -> None:
    """fit, validate and test one after the other."""
    threads, done = threading.active_count(), []
    worker = Worker(lambda fault: None)
    for number in range(2):
        worker.submit(lambda number=number: done.append(number))
        worker.close()
    assert done == [0, 1]
    assert threading.active_count() == threads


def test_a_picture_is_read_back_before_the_writer_is_closed(tmp_path) -> None:
    """It reaches the disk with every write: a kill loses nothing."""
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    picture = Image.effect_noise((64, 48), 40).convert("RGB")
    write_picture([logger], "gradcam/a", picture, step=3, global_step=30)
    events = Events(tmp_path / "run")
    assert events.steps("gradcam/a") == [3]
    assert events.pictures("gradcam/a")[0].shape == (48, 64, 3)


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
