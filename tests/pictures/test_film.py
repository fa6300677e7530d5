"""Attention over the epochs: what is kept, and the pictures drawn from it."""

import io
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

from lightning_gradcam import GradCAMCallback, read_log
from lightning_gradcam.cam.maps import Cams, Heatmaps
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.pictures import film
from lightning_gradcam.pictures.film import COLUMNS, FRAMES, LAPSE_SIDES, Strip, evenly, filmstrip, timelapse
from lightning_gradcam.pictures.grid import GRID_SIDES, Sheet, grid
from lightning_gradcam.pictures.looks import Caption, Sight
from lightning_gradcam.pictures.page import BETWEEN, DASH, FRAME, MARGIN, NARROWEST
from lightning_gradcam.pictures.render import PAPER, WRONG
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History, Look
from lightning_gradcam.timeline.metrics import measure as measured
from lightning_gradcam.training import watch

from ..conftest import Classifier

TAG = "gradcam/network.6"
CELL, SLOT = 64, 72 + BETWEEN  # of images of 32 pixels


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


def cells(images: ShownImages, history: History, by_run: bool = False) -> list[list[np.ndarray]]:
    """Of each image itself and its maps at each look, from the first target's lines."""
    strip = Strip(images.scene, sights(images, history, COLUMNS))
    page = np.asarray(strip_of(images, history, by_run)).astype(int)
    corners = [[strip.corner(row, 0, n) for n in range(-1, len(strip.sights))] for row in range(len(images.pictures))]
    return [[page[top : top + CELL, left : left + CELL] for left, top in row] for row in corners]


def framed(images: ShownImages, history: History) -> list[list[bool]]:
    """Whether cells have the frame of what is wrong, which lies around them: no heat is under it."""
    strip = Strip(images.scene, sights(images, history, COLUMNS))
    page, found = np.asarray(strip_of(images, history)), []
    for image in range(len(images.pictures)):
        corners = [strip.corner(image, 0, place) for place in range(-1, len(strip.sights))]
        found.append([tuple(page[top - 2, left]) == WRONG for left, top in corners])
    return found


def test_a_strip_has_the_image_and_a_map_an_epoch() -> None:
    """The heat wanders as the maps do; wrong predictions are framed, right ones are not."""
    images, history = shown(), looks(5)
    assert strip_of(images, history).width == 2 * MARGIN + 6 * SLOT - BETWEEN
    drawn = cells(images, history)
    for image, (picture, *epochs) in enumerate(drawn):
        assert np.abs(picture - 128).max() == 0
        assert len(epochs) == 5
        for step, cell in enumerate(epochs):
            red = cell[8:-8, 8:-8, 0] - cell[8:-8, 8:-8, 2]
            y, x = np.unravel_index(red.argmax(), red.shape)
            assert (4 * (y + 8) // CELL, 4 * (x + 8) // CELL) == divmod((step + image) % 16, 4) or step == 0
    assert framed(images, history) == [[False, True, True, False, False, False]] * 3


def test_a_strip_of_many_epochs_goes_on_below_with_their_numbers_over_each_line() -> None:
    """Six a line; over each cell of each image there are letters, and between a cell and its letters is none."""
    images, history = shown(2), looks(12, 2)
    strip = Strip(images.scene, sights(images, history, COLUMNS))
    page = np.asarray(strip_of(images, history)).astype(int)
    assert page.shape[1] == 2 * MARGIN + 7 * SLOT - BETWEEN
    for image in range(2):
        corners = [strip.corner(image, 0, place) for place in range(12)]
        assert [left for left, _ in corners] == 2 * [MARGIN + SLOT * (1 + n) for n in range(6)]
        assert len({top for _, top in corners}) == 2
        for left, top in corners:
            assert page[top - 2 * SLOT // 5 : top - BETWEEN, left : left + SLOT - BETWEEN].min() < 100


def test_seven_epochs_are_lines_of_four_and_three() -> None:
    """Not of six and one; the page is as wide as its lines."""
    images, history = shown(1), looks(7, 1)
    strip = Strip(images.scene, sights(images, history, COLUMNS))
    lefts, tops = zip(*(strip.corner(0, 0, place) for place in range(7)), strict=True)
    assert lefts == tuple(MARGIN + SLOT * (1 + n) for n in (0, 1, 2, 3, 0, 1, 2))
    assert [tops.count(top) for top in sorted(set(tops))] == [4, 3]
    page = np.asarray(strip_of(images, history)).astype(int)
    for top in set(tops):  # "epoch" in front of each line
        assert page[top - 2 * SLOT // 5 : top - BETWEEN, MARGIN : MARGIN + SLOT - BETWEEN].min() < 150
    assert strip_of(images, history).width == max(NARROWEST, 2 * MARGIN + 5 * SLOT - BETWEEN)


def test_each_look_of_a_strip_may_have_several_targets() -> None:
    """Their lines lie below each other, and none over another's."""
    images, history = shown(2, targets=3), History("layer")
    classes = torch.arange(2)
    for step in range(8):
        peaks = torch.ones(2, 3)
        cams = Cams(torch.rand(2, 3, 4, 4), torch.ones(2, 1), classes, classes[:, None].repeat(1, 3), "layer", peaks)
        history = history.with_look(step, cams)
    strip = Strip(images.scene, sights(images, history, COLUMNS))
    tops = [strip.corner(image, target, place)[1] for image in range(2) for target in range(3) for place in (0, 6)]
    assert min(np.diff(tops)) > CELL + BETWEEN
    assert strip_of(images, history).height == tops[-1] + CELL + BETWEEN + MARGIN


def test_what_is_wrong_is_told_without_colours_too() -> None:
    """The frame is dashed, lies outside of the cell, and keeps one of two neighbours' halves of the space free."""
    images, history = shown(1), looks(4, 1)
    strip = Strip(images.scene, sights(images, history, COLUMNS))
    page = np.asarray(strip_of(images, history))
    left, top = strip.corner(0, 0, 0)
    around = (page[top - FRAME : top + CELL + FRAME, left - FRAME : left + CELL + FRAME] == WRONG).all(-1)
    assert not around[FRAME:-FRAME, FRAME:-FRAME].any()
    edge = around[0]
    assert edge[:DASH].all()
    assert not edge[DASH : 2 * DASH].any()
    assert (page[top + CELL + FRAME : top + CELL + BETWEEN, left : left + CELL] == PAPER).all()


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
    blank = cells(shown(), looks(3))[0][1]
    assert np.abs(blank[4:-4, 4:-4, 0] - blank[4:-4, 4:-4, 2]).max() == 0


def test_by_run_the_strength_grows_with_the_peak() -> None:
    """Peaks of 1, 2, 3, 4 of the highest, 4: the heat of the last epoch is the hottest."""
    epochs = cells(shown(1), looks(5, 1), by_run=True)[0][2:]
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
    (_, half, full), (_, other_half, other_full) = cells(shown(2), history, by_run=True)
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
    sheet = Sheet(shown().scene, 1, GRID_SIDES)
    marked = []
    for image in range(3):
        left, top = sheet.corner(image)
        below = page[top + sheet.height + BETWEEN : sheet.corner(image + 2)[1] - BETWEEN, left : left + sheet.width]
        marked.append(bool((below[..., 0] - below[..., 2] > 100).any()))
    assert marked == [True, False, False]
    assert [row[1] for row in framed(shown(), History("layer").with_look(0, looked))] == [True, False, False]


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


def frames_of(encoded: bytes, *numbers: int) -> list[np.ndarray]:
    movie, found = Image.open(io.BytesIO(encoded)), []
    for number in numbers:
        movie.seek(number)
        found.append(np.asarray(movie.convert("RGB")).astype(int))
    return found


def test_a_time_lapse_holds_a_frame_at_a_time(monkeypatch) -> None:
    """Of 300 each is over a megabyte."""
    drawn, alive = [], []
    frames = film._frames

    def counted(*arguments: object):
        for page in frames(*arguments):
            drawn.append(weakref.ref(page))
            alive.append(sum(one() is not None for one in drawn))
            yield page
            del page

    monkeypatch.setattr(film, "_frames", counted)
    movie = Image.open(io.BytesIO(lapse_of(shown(1), looks(40, 1, 2))))
    assert (movie.n_frames, len(drawn)) == (40, 40)
    assert max(alive) <= 3


def test_frames_differ_as_the_maps_do() -> None:
    """Two decoded: the image stands beside its map, and stays."""
    sheet = Sheet(shown(1).scene, 1, LAPSE_SIDES)
    left, top = sheet.corner(0)
    places = []
    for frame in frames_of(lapse_of(shown(1), looks(6, 1)), 2, 5):
        cell = frame[top : top + CELL, left + sheet.slot : left + sheet.slot + CELL]
        red = cell[..., 0] - cell[..., 2]
        y, x = np.unravel_index(red.argmax(), red.shape)
        places.append((4 * y // CELL, 4 * x // CELL))
        assert np.abs(frame[top + 8 : top + CELL - 8, left + 8 : left + CELL - 8] - 128).max() < 6
    assert places == [(0, 2), (1, 1)]


def test_a_frame_says_what_was_predicted() -> None:
    """Wrong in red until epoch 2, then not; the bar below the header grows."""
    sheet = Sheet(shown(1).scene, 1, LAPSE_SIDES)
    left, top = sheet.corner(0)
    reds, bars = [], []
    for frame in frames_of(lapse_of(shown(1), looks(6, 1)), 1, 3):
        below = frame[top + CELL + BETWEEN :, left : left + sheet.width]
        reds.append(bool((below[..., 0] - below[..., 2] > 80).any()))
        bars.append(int((frame[sheet.header.height - MARGIN // 2 - 3].max(-1) < 180).sum()))
    assert reds == [True, False]
    assert 0 < bars[0] < bars[1]


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


@pytest.mark.parametrize(("broken", "kept"), [(0, [0]), (4, [0, 2, 4])])
def test_an_interrupt_while_numbers_are_logged_loses_no_look(
    make_trainer, events, loader, tmp_path, broken, kept
) -> None:
    """As where a tracker hangs: what was seen by then is drawn and written."""

    class Hangs(TensorBoardLogger):
        def log_metrics(self, metrics, step=None) -> None:
            if step == broken and f"{TAG}/focus" in metrics:
                raise KeyboardInterrupt
            super().log_metrics(metrics, step)

    watching = GradCAMCallback(images=3, every_n_train_steps=2)
    logger = Hangs(tmp_path, name="", version="run")
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        make_trainer(watching, max_epochs=5, logger=logger).fit(Classifier(), loader, loader)
    assert events().steps(TAG) == kept
    assert read_log(tmp_path).steps.tolist() == kept


@pytest.mark.parametrize(("broken", "kept"), [(1, []), (3, [0, 2])])
def test_an_interrupt_while_a_look_is_measured_leaves_log_and_memory_alike(
    make_trainer, events, loader, tmp_path, monkeypatch, broken, kept
) -> None:
    """Neither has it, or both: a checkpoint names no look that is in no log, nor does the film."""
    calls = []

    def interrupted(view):
        calls.append(view)
        if len(calls) == broken:
            raise KeyboardInterrupt
        return measured(view)

    monkeypatch.setattr(watch, "measure", interrupted)
    watching = GradCAMCallback(images=3, every_n_train_steps=2)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        make_trainer(watching, max_epochs=5).fit(Classifier(), loader, loader)
    assert [look.step for history in watching._memory.histories.values() for look in history.looks] == kept
    assert (read_log(tmp_path).steps.tolist() if kept else []) == kept


@pytest.mark.parametrize("by_hand", [False, True], ids=["ModelCheckpoint", "trainer.save_checkpoint"])
def test_a_resumed_fits_strip_contains_the_epochs_before(
    make_trainer, events, loader, tmp_path, by_hand, monkeypatch
) -> None:
    """The cells of the first fit are the same pixels; also of a checkpoint that is saved after the fit."""
    films, log_film = [], RunLog.log_film
    monkeypatch.setattr(RunLog, "log_film", lambda *args: (films.append(args[:2]), log_film(*args)))
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
    found = []
    for picture, (log, history) in zip((before, after), films, strict=True):
        strip = Strip(log.images.scene, sights(log.images, history, COLUMNS))
        assert picture.shape[1] == strip.type.width
        corners = [strip.corner(image, 0, place) for image in range(3) for place in range(-1, 3)]
        found.append([picture[top : top + 64, left : left + 64] for left, top in corners])
    assert all((one == same).all() for one, same in zip(*found, strict=True))


def test_in_mid_run_the_strip_is_drawn_anew_ever_more_rarely(make_trainer, events, loader, monkeypatch) -> None:
    """Where epochs take minutes: after 8 looks, and half as many again."""
    monkeypatch.setattr("lightning_gradcam.training.fit._SECONDS_BETWEEN_FILMS", 0.0)
    make_trainer(GradCAMCallback(images=1), max_epochs=20).fit(Classifier(), loader, loader)
    assert events().steps(f"{TAG}/filmstrip") == [7, 11, 17, 20]
    assert events().steps(f"{TAG}/timelapse") == [20]
