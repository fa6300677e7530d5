"""Pictures to experiment trackers, told by what their loggers hold; none is imported."""

import inspect
import re
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image, ImageSequence

from lightning_gradcam.logs.events import summary_writer
from lightning_gradcam.values import held

WAITING = 4  # pictures that may wait for a tracker


class Picture(NamedTuple):
    """A picture on its way.

    Attributes:
        tag: as `schema` has it.
        image: RGB; None of an animation.
        step: the look's, epochs completed or optimizer steps.
        global_step: optimizer steps.
        epoch: epochs completed.
        animation: an animated WebP, or None.
    """

    tag: str
    image: Image.Image | None
    step: int
    global_step: int
    epoch: int
    animation: bytes | None = None


class Kind(NamedTuple):
    """A kind of tracker.

    Attributes:
        name: how its users call it.
        is_of: whether a logger, and its experiment, are of it.
        send: gives a logger a picture.
        moves: whether it takes animations.
        in_order: whether its rows have to come in the order of the training's own: it is then called on the training's
            thread, and is itself quick.
    """

    name: str
    is_of: Callable[[Any, Any], bool]
    send: Callable[[Any, Picture], object]
    moves: bool = False
    in_order: bool = False


def _to_wandb(logger: Any, picture: Picture) -> None:
    wandb = sys.modules["wandb"]
    media = wandb.Image(picture.image) if picture.image else wandb.Video(_gif(picture.animation or b""), format="gif")
    logger.log_metrics({picture.tag: [media] if picture.image else media, "epoch": picture.epoch}, picture.global_step)


def _to_mlflow(logger: Any, picture: Picture) -> None:
    client, key = logger.experiment, re.sub(r"[^\w\-./ ]", "_", picture.tag, flags=re.ASCII)
    if _takes(client.log_image, "key", "step"):
        client.log_image(logger.run_id, picture.image, key=key, step=picture.global_step)
    else:  # before MLflow 2.11
        client.log_image(logger.run_id, picture.image, f"{key}/{picture.global_step}.png")


def _to_comet(logger: Any, picture: Picture) -> None:
    logger.experiment.log_image(image_data=picture.image, name=picture.tag, step=picture.global_step)


def _to_aim(logger: Any, picture: Picture) -> None:
    image = sys.modules["aim"].Image(picture.image)
    logger.experiment.track(image, name=picture.tag, step=picture.global_step, epoch=picture.epoch)


def _to_dvclive(logger: Any, picture: Picture) -> None:
    logger.experiment.log_image(f"{picture.tag}/{picture.global_step}.png", picture.image)


def _to_log_image(logger: Any, picture: Picture) -> None:
    logger.log_image(key=picture.tag, images=[picture.image], step=picture.global_step)


def _to_add_image(logger: Any, picture: Picture) -> None:
    logger.add_image(picture.image, name=picture.tag, global_step=picture.global_step)


# A new tracker is a function and a row here; the first row that fits counts.
KINDS = (
    Kind("Weights & Biases", lambda logger, run: _package_of(run) == "wandb", _to_wandb, moves=True, in_order=True),
    Kind("MLflow", lambda logger, run: _has(run, "log_image") and hasattr(logger, "run_id"), _to_mlflow),
    Kind("Comet", lambda logger, run: _has(run, "log_image", "image_data", "name", "step"), _to_comet),
    Kind("Aim", lambda logger, run: _has(run, "track") and "aim" in sys.modules, _to_aim),
    Kind("DVCLive", lambda logger, run: _has(run, "log_image", "name", "val"), _to_dvclive),
    Kind("log_image", lambda logger, run: _has(logger, "log_image", "key", "images", "step"), _to_log_image),
    Kind("add_image", lambda logger, run: _has(logger, "add_image"), _to_add_image),
)


def kind_of(logger: Any) -> Kind | None:
    """Return what kind of tracker a logger is, if it takes pictures and is not TensorBoard's."""
    if summary_writer(logger):
        return None
    experiment = held(logger, "experiment")
    return next((kind for kind in KINDS if kind.is_of(logger, experiment)), None)


class Tracker:
    """One logger: it gets pictures in their order, and never holds up the training.

    On a thread of its own, where of more than a few that wait the oldest is left out; or, where rows have to come in
    order, when `deliver` is called.

    Args:
        logger: of a kind.
        kind: which.
        on_fault: called with what it raises.
    """

    def __init__(self, logger: Any, kind: Kind, on_fault: Callable[[BaseException], None]) -> None:
        self.kind = kind
        self.left_out = 0
        self._logger, self._on_fault = logger, on_fault
        self._waiting: deque[Picture] = deque()
        self._thread = None if kind.in_order else ThreadPoolExecutor(1, "lightning-gradcam-tracker")

    def post(self, picture: Picture) -> None:
        """Take a picture to be sent."""
        if picture.animation and not self.kind.moves:
            return
        if self._thread and len(self._waiting) >= WAITING:
            self._waiting.popleft()
            self.left_out += 1
        self._waiting.append(picture)
        if self._thread:
            try:
                self._thread.submit(self._send_next)
            except RuntimeError:  # the program is ending
                self._send_next()

    def deliver(self, now: int) -> None:
        """Send what waits for the training's thread; what comes late has the step that it comes at, and its epoch."""
        while self.kind.in_order and self._waiting:
            self._send(late if (late := self._waiting.popleft()).global_step >= now else late._replace(global_step=now))

    def close(self) -> None:
        """Send what waits, and end the thread."""
        if self._thread:
            self._thread.shutdown()

    def _send_next(self) -> None:
        try:
            picture = self._waiting.popleft()
        except IndexError:  # it was left out
            return
        self._send(picture)

    def _send(self, picture: Picture) -> None:
        try:
            self.kind.send(self._logger, picture)
        except BaseException as fault:
            self._on_fault(fault)


def trackers_of(loggers: Sequence[Any], on_fault: Callable[[BaseException], None]) -> list[Tracker]:
    """Return a tracker for each logger that takes pictures, but TensorBoard's."""
    return [Tracker(logger, kind, on_fault) for logger in loggers if (kind := kind_of(logger))]


def _has(one: Any, name: str, *parameters: str) -> bool:
    function = getattr(one, name, None)
    return callable(function) and _takes(function, *parameters)


def _takes(function: Callable[..., Any], *names: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return not names
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return takes_any or set(names) <= set(parameters)


def _package_of(one: Any) -> str:
    return type(one).__module__.partition(".")[0]


def _gif(animation: bytes) -> BytesIO:
    """An animated WebP as a GIF, which browsers and trackers play as a video."""
    found = BytesIO()
    with Image.open(BytesIO(animation)) as moving:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(moving)]
        duration = moving.info.get("duration", 100)
    frames[0].save(found, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
    found.seek(0)
    return found
