"""What was logged, drawn again: as the run drew it, for print, as curves, in a notebook."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from lightning_gradcam import GradCAMCallback, read_log
from lightning_gradcam.errors import SettingError

from .conftest import Classifier, Events, make_pairs
from .dashboard.test_plugin import write_run

LAYER, TAG = "network.6", "gradcam/network.6"


@pytest.fixture
def fitted(make_trainer, loader, tmp_path) -> Path:
    """A fit of three epochs, four looks."""
    make_trainer(GradCAMCallback(images=4), max_epochs=3).fit(Classifier(), loader, loader)
    return tmp_path / "run"


@pytest.mark.parametrize("scale", ["image", "run"])
def test_pictures_are_those_that_the_run_drew(make_trainer, loader, tmp_path, scale) -> None:
    """Strip, grid and time-lapse, but for what JPEG takes from the images: strengths too, by image and by run."""
    make_trainer(GradCAMCallback(images=4, scale=scale), max_epochs=3).fit(Classifier(), loader, loader)
    log, events = read_log(tmp_path), Events(tmp_path / "run")
    pairs = [(log.filmstrip(), events.pictures(f"{TAG}/filmstrip")[-1]), (log.grid(), events.pictures(TAG)[-1])]
    for again, drawn in pairs:
        assert again.size == (drawn.shape[1], drawn.shape[0])
        assert np.abs(np.asarray(again).astype(int) - drawn.astype(int)).mean() < 4
    movie, logged = (
        Image.open(io.BytesIO(encoded)) for encoded in (log.timelapse(), events.encoded(f"{TAG}/timelapse")[0])
    )
    assert (movie.n_frames, movie.size) == (logged.n_frames, logged.size) == (4, logged.size)


def test_looks_and_images_are_chosen(fitted) -> None:
    """By steps and places; a strip of fewer is smaller."""
    log = read_log(fitted)
    whole, some = log.filmstrip(), log.filmstrip(epochs=[0, 3], images=[1, 2])
    assert some.height < whole.height
    assert Image.open(io.BytesIO(log.timelapse(epochs=[1, 2]))).n_frames == 2
    one, other = (np.asarray(log.grid(step, images=[0])).astype(int) for step in (0, 3))
    assert one.shape == other.shape
    assert np.abs(one - other).max() > 20


def write_turned(folder: Path) -> None:
    """Twenty images, two of which are wrong throughout, and whose maps wander."""
    write_run(folder, 3, images=20)


def test_of_many_images_those_that_are_most_are_drawn(tmp_path) -> None:
    """The most wrong and the most moved ones among them, where that is asked for."""
    write_turned(tmp_path / "run")
    log = read_log(tmp_path)
    wrong = log.wrong.mean(0)
    assert log._places("grid", None) != list(range(20))
    assert len(log._places("grid", None)) == 16
    chosen = log._places("grid", "wrong")
    assert len(chosen) == 16
    assert set(np.argsort(-wrong, kind="stable")[:8][wrong[np.argsort(-wrong, kind="stable")[:8]] > 0]) <= set(chosen)
    assert len(log._places("grid", "moved")) == 16


def test_a_page_for_print_has_vectors_and_every_look_that_was_chosen(fitted, tmp_path) -> None:
    """A column an epoch behind the images themselves, a row an image; its words are text, not pixels."""
    figure = read_log(fitted).figure(epochs=[0, 1, 3], images=[0, 2])
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 2 * 4 + 1  # and the legend
    assert [axes.get_title() for axes in figure.axes[:4]] == ["", "epoch 0", "epoch 1", "epoch 3"]
    figure.savefig(tmp_path / "page.svg")
    figure.savefig(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    words = {text.get_text() for text in figure.texts}
    assert {"no evidence", "strongest evidence", "framed: wrong"} <= words
    log = read_log(fitted)
    frames = [len(axes.patches) for axes in figure.axes[1:4]]
    assert frames == [int(log.wrong[step, 0]) for step in (0, 1, 3)]
    shown = figure.axes[1].images[0].get_array()
    expected = log._one("").drawing([0], [0])
    assert shown.shape == expected.scene.pictures[0].shape


def test_a_curve_is_the_means_with_their_errors(tmp_path) -> None:
    """A line a run, named by it; the band is 1.96 standard errors over the images."""
    write_run(tmp_path / "first", 4)
    write_run(tmp_path / "second", 6)
    log = read_log(tmp_path)
    figure = log.curve("focus")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == [" first", " second"]
    for line, alone in zip(axes.lines, log, strict=True):
        assert line.get_xdata().tolist() == alone.steps.tolist()
        assert line.get_ydata().tolist() == alone.mean("focus").tolist()
    values = log.of(run="second").numbers["focus"][2, :, 0].astype(float)
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    points = axes.collections[1].get_paths()[0].vertices
    at = points[points[:, 0] == 2][:, 1]
    assert at.max() - at.min() == pytest.approx(2 * half, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda log: log.grid(9), r"epoch 9 has no look; there are epochs \[0, 1, 2, 3\]"),
        (lambda log: log.filmstrip(images=[4]), r"images=\[4\]; accepted are places of 0 to 3"),
        (lambda log: log.filmstrip(images=[]), r"images=\[\]; accepted are places of 0 to 3, at least one"),
        (lambda log: log.figure(images="best"), "images='best'; accepted are places, 'moved', 'wrong' or None"),
        (lambda log: log.curve("focsu"), "number='focsu' is none; did you mean 'focus'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(fitted, call, told) -> None:
    """In one sentence, with what there is."""
    with pytest.raises(SettingError, match=told):
        call(read_log(fitted))


def test_a_notebook_shows_the_strip(fitted, tmp_path) -> None:
    """As a picture in the page, of one layer; of several what there is, and names are text."""
    shown = read_log(fitted)._repr_html_()
    assert shown.count("data:image/png;base64,") == 1
    write_run(tmp_path / "<b>a", 2)
    write_run(tmp_path / "b", 2)
    several = read_log(tmp_path)._repr_html_()
    assert "<img" not in several
    assert "&lt;b&gt;a" in several


def test_pictures_are_drawn_without_torch(fitted) -> None:
    """All of them, in a process of their own."""
    code = (
        f"import sys; from lightning_gradcam import read_log; log = read_log({str(fitted)!r}); log.filmstrip(); "
        "log.grid(); log.timelapse(); log.figure(); log.curve('focus'); log._repr_html_(); "
        "print('torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_many_images_cost_the_pictures_nothing(make_trainer, tmp_path) -> None:
    """Of forty, sixteen are in grid and strip, the header says so, and all are in the log."""
    loader = DataLoader(make_pairs(40), 40)
    make_trainer(GradCAMCallback(images=40), max_epochs=2).fit(Classifier(), loader, loader)
    log = read_log(tmp_path)
    assert log.maps.shape[1] == 40
    assert log._one("").drawing([0], log._places("", None)).scene.counted == "16 of 40 images"
    drawn = Events(tmp_path / "run").pictures(TAG)[-1]
    assert log.grid().size == (drawn.shape[1], drawn.shape[0])


@pytest.mark.parametrize("chosen", [lambda steps: steps[:1], lambda steps: steps[::2], lambda steps: range(2)])
def test_looks_and_images_may_be_arrays(fitted, chosen) -> None:
    """As `steps` itself is one, and what NumPy sorts; also those that hold a 0 alone."""
    log = read_log(fitted)
    epochs = chosen(log.steps)
    listed = [int(step) for step in epochs]
    assert (np.asarray(log.filmstrip(epochs=epochs)) == np.asarray(log.filmstrip(epochs=listed))).all()
    assert (np.asarray(log.grid(images=np.arange(1))) == np.asarray(log.grid(images=[0]))).all()
    assert Image.open(io.BytesIO(log.timelapse(epochs=epochs))).n_frames == len(listed)
    for call, told in (
        (lambda: log.filmstrip(epochs=[]), r"epochs=\[\] names no look"),
        (lambda: log.grid(images=3), "images=3; accepted are places"),
    ):
        with pytest.raises(SettingError, match=told):
            call()


@pytest.mark.parametrize(("height", "width"), [(32, 160), (160, 32), (64, 64)])
def test_a_page_holds_all_that_is_on_it(tmp_path, height, width) -> None:
    """It is no larger than a paper's, and no word or frame is cut off by its rim, whatever the names and the images."""
    names = [f"Genus species, a rather long common name number {place}, $ and _" for place in range(10)]
    write_run(tmp_path / "run", 3, images=6, names=names)
    log = read_log(tmp_path)
    alone = log._one("")
    pictures = [np.full((height, width, 3), 128, np.uint8)] * 6
    object.__setattr__(alone, "decoded", pictures)
    figure = log.figure()
    wide, tall = figure.get_size_inches()
    assert wide <= 6.75 + 1e-6
    assert tall <= 9 + 1e-6
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    whole = figure.bbox
    things = [*figure.texts, *(text for axes in figure.axes for text in (*axes.texts, axes.title))]
    things += [patch for axes in figure.axes for patch in axes.patches]
    assert any(text.get_text().startswith("true Genus") for axes in figure.axes for text in axes.texts)
    for thing in things:
        box = thing.get_window_extent(canvas.get_renderer())
        assert box.x0 >= whole.x0 - 1, thing
        assert box.x1 <= whole.x1 + 1, thing
        assert box.y1 <= whole.y1 + 1, thing
    frames = [patch.get_window_extent() for axes in figure.axes for patch in axes.patches]
    titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert frames
    assert not any(frame.overlaps(title) for frame in frames for title in titles)


def test_names_are_no_mathematics(tmp_path) -> None:
    """And a run whose name begins as matplotlib's own do is in the legend."""
    for run in ("_baseline", "cost $5 of $9", "good"):
        write_run(tmp_path / run, 2, names=[r"$\frac$"] * 10)
    log = read_log(tmp_path)
    log.of(run="good").figure().savefig(tmp_path / "figure.pdf")
    curve = log.curve("focus")
    curve.savefig(tmp_path / "curve.pdf")
    legend = curve.axes[0].get_legend()
    assert [text.get_text().strip() for text in legend.get_texts()] == ["_baseline", "cost $5 of $9", "good"]


def test_a_grid_of_a_run_is_as_strong_as_the_run_drew_it(make_trainer, loader, tmp_path) -> None:
    """By the peaks so far, of which later looks may have higher ones."""
    make_trainer(GradCAMCallback(images=4, scale="run"), max_epochs=3).fit(Classifier(lr=0.5), loader, loader)
    log, drawn = read_log(tmp_path), Events(tmp_path / "run").pictures(TAG)
    for step, picture in enumerate(drawn):
        assert np.abs(np.asarray(log.grid(step)).astype(int) - picture.astype(int)).mean() < 4


def test_a_run_that_began_in_another_log_says_so(make_trainer, loader, tmp_path) -> None:
    """It has its own looks alone, unless it is asked for the whole."""
    trainer = make_trainer(GradCAMCallback(images=4), max_epochs=1)
    trainer.fit(Classifier(), loader, loader)
    trainer.save_checkpoint(tmp_path / "at 1.ckpt")
    logger = TensorBoardLogger(tmp_path, name="", version="second")
    again = make_trainer(GradCAMCallback(images=4), max_epochs=2, logger=logger)
    again.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "at 1.ckpt")
    log = read_log(tmp_path)
    assert log.of(run="second").steps.tolist() == [2]
    assert log.notes == (
        "'network.6' of run 'second' begins at 2, and goes on from run 'run', at 1; with_earlier() has that too",
    )
    assert log.of(run="second").with_earlier().steps.tolist() == [0, 1, 2]
    assert log.with_earlier().notes == ()
    alone = read_log(tmp_path / "second")
    told = "begins at 2: what was before that, if it was looked at, is in no log that is read here"
    assert alone.notes == alone.with_earlier().notes == (f"'network.6' of run '.' {told}",)
