"""Attention over the epochs: what is kept, and the pictures drawn from it."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.cam.maps import Cams, Heatmaps
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.pictures.film import BETWEEN, COLUMNS, FRAMES, evenly, filmstrip, timelapse
from lightning_gradcam.pictures.grid import grid
from lightning_gradcam.pictures.looks import Caption, Sight
from lightning_gradcam.pictures.render import GAP, HEADER, LINE, WRONG
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History, Look

from ..conftest import Classifier

TAG = "gradcam/network.6"
CELL, NAMES = 96 + BETWEEN, 56


def looks(count: int, images: int = 3, side: int = 4) -> History:
    """Image i is hot at place (epoch + i), and predicted as its own class from epoch 2 on."""
    history = History("layer")
    for step in range(count):
        maps = torch.zeros(images, 1, side, side)
        for image in range(images):
            maps[image, 0].view(-1)[(step + image) % side**2] = 1
        predictions = torch.arange(images) if step >= 2 else torch.full((images,), 9)
        peaks = torch.full((images, 1), float(step))
        cams = Cams(maps, torch.full((images, 1), 0.5), predictions, predictions[:, None], "layer", peaks)
        history = history.with_look(step, cams)
    return history


def shown(images: int = 3, targets: int = 1) -> ShownImages:
    pictures = [np.full((32, 32, 3), 128, np.uint8) for _ in range(images)]
    classes = list(range(targets)) if targets > 1 else ()
    return ShownImages(
        pictures, Task("multiclass", 10), [[i] for i in range(images)], "gradcam", column_classes=classes
    )


def sights(images: ShownImages, history: History, most: int) -> list[Sight]:
    return [images.sight(look.found(history.layer), look.step) for look in evenly(history.looks, most)]


def strip_of(images: ShownImages, history: History, by_run: bool = False) -> Image.Image:
    highest = history.highest.numpy() if by_run else None
    return filmstrip(images.scene, sights(images, history, COLUMNS), history.layer, highest)


def lapse_of(images: ShownImages, history: History) -> bytes:
    return timelapse(images.scene, sights(images, history, FRAMES), history.layer)


def cells(strip: Image.Image, row: int) -> list[np.ndarray]:
    page = np.asarray(strip).astype(int)
    top = HEADER + LINE + row * CELL
    return [page[top : top + 96, left : left + 96] for left in range(GAP + NAMES, strip.width - GAP, CELL)]


def framed(strip: Image.Image, row: int) -> list[bool]:
    """Whether a row's cells have the frame of what is wrong, which lies around them: no heat is under it."""
    page = np.asarray(strip)
    top = HEADER + LINE + row * CELL - 2
    return [tuple(page[top, left]) == WRONG for left in range(GAP + NAMES, strip.width - GAP, CELL)]


def test_a_strip_has_a_row_an_image_and_a_column_an_epoch() -> None:
    """The heat wanders as the maps do; wrong predictions are framed, right ones are not."""
    strip = strip_of(shown(), looks(5))
    assert strip.size == (GAP + NAMES + 6 * CELL + GAP, HEADER + LINE + 3 * CELL + GAP)
    for image in range(3):
        picture, *epochs = cells(strip, image)
        assert np.abs(picture - 128).max() == 0
        for step, cell in enumerate(epochs):
            red = cell[12:-12, 12:-12, 0] - cell[12:-12, 12:-12, 2]
            y, x = np.unravel_index(red.argmax(), red.shape)
            assert (4 * (y + 12) // 96, 4 * (x + 12) // 96) == divmod((step + image) % 16, 4) or step == 0
        assert framed(strip, image) == [False, True, True, False, False, False]


def test_twelve_epochs_are_chosen_evenly_and_the_first_and_last_always() -> None:
    """Of any number."""
    for count in (1, 2, 12, 13, 100, 1000):
        steps = [look.step for look in evenly([Look(step, *[None] * 6) for step in range(count)], COLUMNS)]
        assert len(steps) == min(count, 12)
        assert (steps[0], steps[-1]) == (0, count - 1)
        gaps = np.diff(steps)
        assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_a_blank_epoch_is_gray() -> None:
    """Epoch 0 of these has a peak of 0."""
    blank = cells(strip_of(shown(), looks(3)), 0)[1]
    assert np.abs(blank[4:-4, 4:-4, 0] - blank[4:-4, 4:-4, 2]).max() == 0


def test_by_run_the_strength_grows_with_the_peak() -> None:
    """Peaks of 1, 2, 3, 4 of the highest, 4: the heat of the last epoch is the hottest."""
    epochs = cells(strip_of(shown(1), looks(5, 1), by_run=True), 0)[2:]
    reddest = [(cell[4:-4, 4:-4, 0] - cell[4:-4, 4:-4, 2]).max() for cell in epochs]
    assert reddest == sorted(reddest)
    assert reddest[-1] - reddest[0] > 50


def of_peaks(*peaks: list[float]) -> History:
    """A look a list, which has a peak an image; all maps are hot at place 0."""
    history, images = History("layer"), len(peaks[0])
    maps = torch.zeros(images, 1, 4, 4)
    maps[:, :, 0, 0] = 1
    classes = torch.arange(images)
    for step, each in enumerate(peaks):
        cams = Cams(maps, torch.ones(images, 1), classes, classes[:, None], "layer", torch.tensor(each)[:, None])
        history = history.with_look(step, cams)
    return history


def test_by_run_each_image_is_scaled_by_its_own_peaks() -> None:
    """Half of 2 and half of 20 are drawn alike, and so are 2 and 20 themselves."""
    history = of_peaks([1.0, 10.0], [2.0, 20.0])
    highest = history.highest
    assert highest.tolist() == [[2], [20]]
    drawn = [sight.heat((4, 4), highest.numpy()) for sight in sights(shown(2), history, COLUMNS)]
    shares = [heat.max((2, 3)).tolist() for heat in drawn]
    assert shares == [[[0.5], [0.5]], [[1], [1]]]
    strip = strip_of(shown(2), history, by_run=True)
    (_, half, full), (_, other_half, other_full) = cells(strip, 0), cells(strip, 1)
    assert (half == other_half).all()
    assert (full == other_full).all()
    assert (half != full).any()


def test_a_peak_that_is_not_finite_is_no_highest() -> None:
    """One look in half precision that overflowed would leave all others without heat."""
    history = of_peaks([3.0, 1.0], [torch.inf, torch.nan], [2.0, 4.0], [-torch.inf, 2.0])
    assert history.highest.tolist() == [[3], [4]]


def test_a_caption_stands_under_its_own_image() -> None:
    """The first of three is predicted wrongly: its caption alone is marked, and its cells alone are framed."""
    maps, classes = torch.ones(3, 1, 4, 4), torch.tensor([9, 1, 2])
    looked = Cams(maps, torch.tensor([[0.1], [0.2], [0.3]]), classes, classes[:, None], "", torch.ones(3, 1))
    assert shown().captions(looked) == [
        Caption("true 0", "predicted 9 (10%)", wrong=True),
        Caption("true 1", "predicted 1 (20%)"),
        Caption("true 2", "predicted 2 (30%)"),
    ]
    page = np.asarray(grid(shown().scene, shown().sight(looked), "")).astype(int)
    across = (page.shape[1] - GAP) // (2 * 160 + GAP)
    marked = []
    for image in range(3):
        row, column = divmod(image, across)
        top, left = HEADER + row * (160 + LINE + GAP) + 160, GAP + column * (2 * 160 + GAP)
        below = page[top : top + LINE, left : left + 2 * 160]
        marked.append(bool((below[..., 0] - below[..., 2] > 100).any()))
    assert marked == [True, False, False]
    strip = strip_of(shown(), History("layer").with_look(0, looked))
    assert [framed(strip, image)[1] for image in range(3)] == [True, False, False]


@pytest.mark.parametrize(("count", "frames"), [(2, 2), (30, 30), (400, 300)])
def test_a_time_lapse_plays_every_epoch_in_15_seconds(count, frames) -> None:
    """Of more than 300 epochs 300; the last frame stays on."""
    movie = Image.open(io.BytesIO(lapse_of(shown(1), looks(count, 1, 2))))
    assert (movie.format, movie.n_frames) == ("WEBP", frames)
    durations = []
    for number in range(movie.n_frames):
        movie.seek(number)
        movie.load()
        durations.append(movie.info["duration"])
    assert sum(durations[:-1]) <= 15_000
    assert durations[-1] == 2000


def test_frames_differ_as_the_maps_do() -> None:
    """The first and the last decoded."""
    movie = Image.open(io.BytesIO(lapse_of(shown(1), looks(6, 1))))
    pictures = []
    for number in (2, 5):
        movie.seek(number)
        pictures.append(np.asarray(movie.convert("RGB")).astype(int)[HEADER : HEADER + 96, GAP : GAP + 96])
    red = [picture[..., 0] - picture[..., 2] for picture in pictures]
    places = [np.unravel_index(one.argmax(), one.shape) for one in red]
    assert [(4 * y // 96, 4 * x // 96) for y, x in places] == [(0, 2), (1, 1)]


def test_large_maps_are_kept_at_28_places() -> None:
    """By averaging, so that the heat stays where it was, with a maximum of 1 again."""
    maps = torch.zeros(1, 1, 224, 112)
    maps[0, 0, 100:124, 50:62] = 1
    states = torch.zeros(1, 1, dtype=torch.uint8)
    cams = Heatmaps(maps, torch.ones(1, 1), torch.zeros(1), torch.zeros(1, 1), "layer", states)
    kept = History("layer").with_look(0, cams).looks[0].maps
    assert kept.shape == (1, 1, 28, 14)
    assert int(kept.max()) == 255
    assert int(kept[0, 0, 13, 7]) == 255
    assert int(kept[0, 0, :12].max()) == 0


def test_a_step_seen_again_takes_the_place_of_the_first() -> None:
    """And of all behind it: a resumed run writes its own."""
    history = looks(5)
    again = history.with_look(3, looks(1).looks[0].found("layer"))
    assert [look.step for look in again.looks] == [0, 1, 2, 3]
    other = history.with_look(5, looks(1, side=6).looks[0].found("layer"))
    assert [look.step for look in other.looks] == [5]


def test_a_fit_ends_with_a_strip_and_a_time_lapse(make_trainer, events, loader) -> None:
    """Under their tags, at the last epoch."""
    make_trainer(GradCAMCallback(images=3), max_epochs=3).fit(Classifier(), loader, loader)
    assert events().tags == [TAG, f"{TAG}/filmstrip", f"{TAG}/timelapse"]
    assert events().steps(f"{TAG}/filmstrip") == events().steps(f"{TAG}/timelapse") == [3]
    assert events().encoded(f"{TAG}/filmstrip")[0].startswith(b"\xff\xd8\xff")
    movie = Image.open(io.BytesIO(events().encoded(f"{TAG}/timelapse")[0]))
    assert (movie.format, movie.n_frames) == ("WEBP", 4)


def test_a_single_look_is_no_film(make_trainer, events, loader) -> None:
    """Its strip would be the grid again, and its time-lapse would stand still."""
    make_trainer(GradCAMCallback(images=2, every_n_epochs=5), max_epochs=1).fit(Classifier(), loader, loader)
    assert events().steps(TAG) == [0]
    assert events().tags == [TAG]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_fit_has_its_strip_too(make_trainer, events, loader, stop) -> None:
    """Of the epochs that it had."""

    class Stops(Classifier):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 2:
                raise stop

    with pytest.raises((RuntimeError, SystemExit, KeyboardInterrupt)):
        make_trainer(GradCAMCallback(images=3), max_epochs=5).fit(Stops(), loader, loader)
    assert events().steps(f"{TAG}/filmstrip") == [2]


@pytest.mark.parametrize("by_hand", [False, True], ids=["ModelCheckpoint", "trainer.save_checkpoint"])
def test_a_resumed_fits_strip_contains_the_epochs_before(make_trainer, events, loader, tmp_path, by_hand) -> None:
    """The columns of the first fit are the same pixels; also of a checkpoint that is saved after the fit."""
    saved = ModelCheckpoint(tmp_path / "saved", save_last=True)
    first = make_trainer(GradCAMCallback(images=3), saved, max_epochs=2, enable_checkpointing=True)
    first.fit(Classifier(), loader, loader)
    if by_hand:
        first.save_checkpoint(tmp_path / "saved" / "last.ckpt")
    callback = GradCAMCallback(images=3)
    second = make_trainer(callback, max_epochs=4)
    second.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "saved" / "last.ckpt")
    assert [look.step for look in callback._memory.histories[TAG].looks] == [0, 1, 2, 3, 4]
    before, after = events().pictures(f"{TAG}/filmstrip")
    shared = before.shape[1] - GAP - BETWEEN  # where the next cell's frame may begin
    assert after.shape[1] == before.shape[1] + 2 * (80 + BETWEEN)
    assert (after[HEADER + LINE :, :shared] == before[HEADER + LINE :, :shared]).all()


def test_in_mid_run_the_strip_is_drawn_anew_ever_more_rarely(make_trainer, events, loader, monkeypatch) -> None:
    """Where epochs take minutes: after 8 looks, and half as many again."""
    monkeypatch.setattr("lightning_gradcam.training.fit._SECONDS_BETWEEN_FILMS", 0.0)
    make_trainer(GradCAMCallback(images=1), max_epochs=20).fit(Classifier(), loader, loader)
    assert events().steps(f"{TAG}/filmstrip") == [7, 11, 17, 20]
    assert events().steps(f"{TAG}/timelapse") == [20]
