"""Trackers by what their loggers hold: what each is given, and that none is waited for."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from lightning_gradcam.logs.trackers import WAITING, Picture, Tracker, kind_of, trackers_of

PICTURE = Picture("gradcam/a b:c", Image.new("RGB", (8, 8)), step=3, global_step=30, epoch=3)


class Held:
    """A logger that holds something; what it is given is kept."""

    def __init__(self, **functions: Any) -> None:
        self.got: list[tuple] = []
        self.experiment = SimpleNamespace(**{name: one(self.got) for name, one in functions.items()})


def mlflow(got):
    def log_image(run_id, image, artifact_file=None, key=None, step=None, timestamp=None, synchronous=None):
        got.append((run_id, image, artifact_file, key, step))

    return log_image


def old_mlflow(got):
    def log_image(run_id, image, artifact_file):
        got.append((run_id, image, artifact_file))

    return log_image


def comet(got):
    def log_image(image_data, name=None, overwrite=False, step=None):
        got.append((image_data, name, step))

    return log_image


def dvclive(got):
    def log_image(name, val):
        got.append((name, val))

    return log_image


class Swan:
    """Weights & Biases' shape, as SwanLab's and others' have it."""

    def __init__(self) -> None:
        self.got: list[tuple] = []

    def log_image(self, key, images, step=None, **kwargs):
        self.got.append((key, images, step))


class Adding:
    """As anomalib's loggers."""

    def __init__(self) -> None:
        self.got: list[tuple] = []

    def add_image(self, image, name=None, **kwargs):
        self.got.append((image, name, kwargs))


def of_run(function) -> Held:
    held = Held(log_image=function)
    held.run_id = "run 7"
    return held


IMAGE = PICTURE.image
CASES = {
    "MLflow": (of_run(mlflow), ("run 7", IMAGE, None, "gradcam/a b_c", 30)),
    "MLflow, old": (of_run(old_mlflow), ("run 7", IMAGE, "gradcam/a b_c/30.png")),
    "Comet": (Held(log_image=comet), (IMAGE, "gradcam/a b:c", 30)),
    "DVCLive": (Held(log_image=dvclive), ("gradcam/a b:c/30.png", IMAGE)),
    "log_image": (Swan(), ("gradcam/a b:c", [IMAGE], 30)),
    "add_image": (Adding(), (IMAGE, "gradcam/a b:c", {"global_step": 30})),
}


@pytest.mark.parametrize(("logger", "expected"), CASES.values(), ids=CASES)
def test_each_is_given_the_picture_as_it_takes_it(logger, expected, request) -> None:
    """With the step; animations only where they are taken."""
    [tracker] = trackers_of([logger], pytest.fail)
    assert tracker.kind.name == request.node.callspec.id.partition(",")[0]
    tracker.post(PICTURE)
    tracker.post(PICTURE._replace(image=None, animation=b"moving"))
    tracker.close()
    assert logger.got == [expected]


def test_who_takes_no_pictures_is_none(tmp_path) -> None:
    """TensorBoard's logger gets them as event files."""
    assert trackers_of([CSVLogger(tmp_path), TensorBoardLogger(tmp_path), SimpleNamespace()], pytest.fail) == []


def test_a_slow_tracker_is_not_waited_for_and_what_is_left_out_is_counted() -> None:
    """Of those that wait the oldest; the last ones arrive."""
    gate, got = threading.Event(), []

    class Slow:
        def log_image(self, key, images, step=None):
            gate.wait(10)
            got.append(step)

    [tracker] = trackers_of([Slow()], pytest.fail)
    for step in range(WAITING + 5):
        tracker.post(PICTURE._replace(global_step=step))
    gate.set()
    tracker.close()
    assert got[-WAITING:] == list(range(5, WAITING + 5))
    assert tracker.left_out == WAITING + 5 - len(got) > 0


def test_a_fault_costs_a_picture() -> None:
    """And is told."""
    faults: list[BaseException] = []

    class Broken:
        def log_image(self, key, images, step=None):
            raise SystemExit(step)

    [tracker] = trackers_of([Broken()], faults.append)
    for step in range(2):
        tracker.post(PICTURE._replace(global_step=step))
    tracker.close()
    assert [str(fault) for fault in faults] == ["0", "1"]


def test_rows_that_have_to_come_in_order_are_sent_when_they_may() -> None:
    """At their own step, or at the one that it has become."""
    got: list[tuple[int, int]] = []
    kind = kind_of(Swan())._replace(in_order=True, send=lambda _, one: got.append((one.step, one.global_step)))
    tracker = Tracker(Swan(), kind, pytest.fail)
    for step in (10, 20, 30):
        tracker.post(PICTURE._replace(step=step, global_step=step))
        if step == 10:
            tracker.deliver(10)
            assert got == [(10, 10)]
    tracker.deliver(25)
    assert got == [(10, 10), (20, 25), (30, 30)]
