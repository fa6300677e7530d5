"""What was logged, drawn again: as the run drew it, for print, as curves, in a notebook."""

import base64
import io
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from lightning_gradcam import AttentionLog, GradCAMCallback, read_log
from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.command import main
from lightning_gradcam.errors import SettingError
from lightning_gradcam.logs import schema
from lightning_gradcam.logs.drawings import _amounts
from lightning_gradcam.logs.events import Events as Sinks
from lightning_gradcam.logs.packing import fingerprints
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.pictures.choosing import foremost
from lightning_gradcam.pictures.curves import curve_figure, line_of
from lightning_gradcam.pictures.looks import Caption, Scene, Sight
from lightning_gradcam.pictures.paper import INK, WRONG, most_of, strip_figure
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import measure

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
    assert log.filmstrip(epochs=[0, 3], images=np.array([False, True, True, False])).tobytes() == some.tobytes()
    assert some.height < whole.height
    assert Image.open(io.BytesIO(log.timelapse(epochs=[1, 2]))).n_frames == 2
    one, other = (np.asarray(log.grid(step, images=[0])).astype(int) for step in (0, 3))
    assert one.shape == other.shape
    assert np.abs(one - other).max() > 20


def write_looks(
    folder: Path, looks: list[tuple[list[int], list[int]]], truths: list[int], **of_all: object
) -> AttentionLog:
    """A run of four classes; at each look image i is hot at one place of nine, -1 for a blank map, and predicted so."""
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder)))
    pictures = [np.full((64, 64, 3), 128, np.uint8)] * len(truths)
    shown = ShownImages(pictures, Task("multiclass", 4), [[truth] for truth in truths], "target: label", **of_all)
    known = fingerprints(torch.arange(len(truths))[:, None, None, None])
    log, history = RunLog(shown, known, Sinks([sink], Path()), [], schema.ROOT), History("network.6")
    log.log_images(0)
    for step, (places, predictions) in enumerate(looks):
        maps = torch.zeros(len(truths), 1, 3, 3)
        for image, place in enumerate(places):
            maps[image, 0].view(-1)[max(0, place)] = place >= 0
        classes, of_image = torch.tensor(predictions), maps.amax((2, 3)) * (step + 1)
        scores = torch.full((len(truths), 1), 0.5)
        found = Cams(maps, scores, classes, classes[:, None], "", of_image)
        history = history.with_look(step, found)
        log.log_look(history, measure(history.view(found, None)), schema.grid_tag("network.6"))
    sink.experiment.close()
    return read_log(folder)


def rows_of(log: AttentionLog, name: str, steps: object, images: object, looks: int = 12) -> list[int]:
    """The images that a picture has, told by their truths, of which no two are the same."""
    drawing = log._drawing(name, steps, images, looks, until_there=name == "grid")
    return [log.said.index(truth) for truth in drawing.scene.truths]


def test_of_many_images_some_of_each_class_are_drawn(tmp_path) -> None:
    """Sixteen."""
    write_run(tmp_path / "run", 3, images=20)
    log = read_log(tmp_path)
    drawn = rows_of(log, "grid", None, None)
    assert len(drawn) == 16
    assert drawn != list(range(16))


def test_wrong_images_are_those_that_are_wrong_at_the_drawn_looks(tmp_path) -> None:
    """At the look of a grid, at one of a strip's; no others, and the header counts them."""
    still = [0, 1, 2, 3]
    log = write_looks(tmp_path, [(still, [1, 0, 2, 0]), (still, [1, 1, 2, 3]), (still, still)], still)
    assert rows_of(log, "grid", 0, "wrong") == [0, 1, 3]
    assert rows_of(log, "grid", 1, "wrong") == [0]
    assert rows_of(log, "filmstrip", [1, 2], "wrong") == [0]
    assert rows_of(log, "filmstrip", None, "wrong") == [0, 1, 3]
    for picture, told in ((log.grid, "epoch 2"), (log.figure, r"epochs \[0, 1, 2\]")):
        if told != "epoch 2":
            log.wrong[:] = False
        with pytest.raises(SettingError, match=f"^images='wrong': no prediction is wrong at {told}$"):
            picture(images="wrong")
    for task in ("regression", "segmentation", "none"):
        log._one("").told["task"] = task
        with pytest.raises(SettingError, match=f"no prediction of the task '{task}' is right or wrong; accepted are"):
            log.grid(images="wrong")


def test_of_many_wrong_images_the_most_wrong_are_drawn_and_else_some_of_each_class(tmp_path) -> None:
    """Of forty wrong ones at the last look sixteen, four of each of four classes; first those that were it twice."""
    truths = [row // 10 for row in range(40)]
    wrong = [(truth + 1) % 4 for truth in truths]
    once = [wrong[row] if row in (3, 4, 5, 6, 7) else truths[row] for row in range(40)]
    log = write_looks(tmp_path, [([0] * 40, once), ([0] * 40, wrong)], truths)
    drawing = log._drawing("grid", None, "wrong", 1, until_there=True)
    assert Counter(drawing.scene.truths) == {f"true {truth}": 4 for truth in range(4)}
    assert drawing.scene.counted() == "16 of 40 wrong images of 40"
    amounts = _amounts(log._one("amounts"), "wrong", [0, 1], 0)
    assert {3, 4, 5, 6, 7} <= set(foremost(amounts, truths, 16))


def test_moved_images_are_those_whose_maps_moved_farthest(tmp_path) -> None:
    """A map that vanished or appeared has moved; none that stayed, or stayed blank, is drawn."""
    looks = [([0, 1, -1, 4, -1], [0] * 5), ([0, 1, -1, 4, 8], [0] * 5), ([0, 2, -1, -1, 8], [0] * 5)]
    log = write_looks(tmp_path, looks, [0, 1, 2, 3, 0])
    assert _amounts(log._one("amounts"), "moved", [0, 1, 2], 0).tolist() == [0, 1, 0, 1, 1]
    assert log._drawing("grid", None, "moved", 1, until_there=True).scene.counted() == "3 of 5 images, all that moved"
    assert log._drawing("filmstrip", None, "moved", 12, most=2).scene.counted() == (
        "2 of 5 images, those that moved most"
    )
    assert _amounts(log._one("amounts"), "moved", [1, 2], 1).tolist() == [0, 1, 0, 1, 0]
    with pytest.raises(SettingError, match=r"^images='moved': no map is another at epoch 0$"):
        log.grid(0, "moved")
    with pytest.raises(SettingError, match=r"^images='moved': no map is another at epoch 0$"):
        log.filmstrip([0, 0], "moved")


def test_a_look_without_peaks_is_drawn_with_the_others_each_by_itself(tmp_path) -> None:
    """Heat as shares of peaks and heat without could not be compared."""
    log = write_looks(tmp_path, [([0, 4], [0, 1]), ([8, 4], [0, 1])], [0, 1], by_run=True)
    assert log.scale == "run"
    assert log._drawing("filmstrip", None, None, 12).highest.tolist() == [[2], [2]]
    names = log._layer.looks[0].head["metrics"]
    names[names.index("peak")] = "strength"
    assert log._drawing("filmstrip", None, None, 12).highest is None
    assert log._drawing("grid", 1, None, 1, until_there=True).highest.tolist() == [[2], [2]]
    assert log.grid(0).size == log.grid(1).size


def test_a_page_for_print_has_vectors_and_every_look_that_was_chosen(fitted, tmp_path) -> None:
    """A column an epoch behind the images themselves, a row an image; its words are text, not pixels."""
    figure = read_log(fitted).figure(epochs=[0, 1, 3], images=[0, 2])
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 2 * 4 + 1  # and the legend
    assert [axes.get_title() for axes in figure.axes[:4]] == ["", "epoch 0", "epoch 1", "epoch 3"]
    figure.savefig(tmp_path / "page.svg")
    figure.savefig(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    log = read_log(fitted)
    inks = {text.get_text(): to_hex(text.get_color()) for text in figure.texts}
    assert {"no evidence", "strongest evidence", "each map is scaled by itself"} <= inks.keys()
    assert ("framed: wrong" in inks) == bool(log.wrong[[0, 1, 3]][:, [0, 2]].any())
    assert "2 of 4 images · 3 of 4 looks" in inks
    for image in (0, 2):
        answer = log.answers[3, image].removeprefix("predicted ")
        assert inks[f"epoch 3: {answer}"] == (to_hex(WRONG) if log.wrong[3, image] else to_hex(INK))
    frames = [len(axes.patches) for axes in figure.axes[1:4]]
    assert frames == [int(log.wrong[step, 0]) for step in (0, 1, 3)]
    shown = figure.axes[1].images[0].get_array()
    expected = log._one("").drawing([0], [0])
    assert shown.shape == expected.scene.pictures[0].shape


def test_a_curve_is_the_means_with_their_errors(tmp_path) -> None:
    """A line a run, named by it; the band is 1.96 standard errors over the images, and dots are chance."""
    write_run(tmp_path / "first", 4)
    write_run(tmp_path / "second", 6)
    log = read_log(tmp_path)
    figure = log.curve("focus")
    (axes,) = figure.axes
    *lines, dots = axes.lines
    assert [line.get_label() for line in lines] == [" first", " second"]
    assert list(dots.get_ydata()) == [log.of("first").chance("focus")] * 2 == [0, 0]
    legend = [text.get_text().strip() for text in axes.get_legend().get_texts()]
    assert legend == ["first", "second", "by chance"]
    (bare,) = log.curve("drift").axes  # which has no such level
    assert len(bare.lines) == 2
    for line, alone in zip(lines, log, strict=True):
        assert line.get_xdata().tolist() == alone.steps.tolist()
        assert line.get_ydata().tolist() == alone.mean("focus").tolist()
    values = log.of(run="second").numbers["focus"][2, :, 0].astype(float)
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    points = axes.collections[1].get_paths()[0].vertices
    at = points[points[:, 0] == 2][:, 1]
    assert at.max() - at.min() == pytest.approx(2 * half, rel=1e-5)


def test_curves_of_many_runs_and_long_names_are_told_apart() -> None:
    """By dashes where colours begin again; a long name is broken, and leaves room for the lines."""
    names = [
        *(f"version_{place}" for place in range(12)),
        "lightning_logs/resnet50_augmix_lr0.001_bs256_seed0/version_0",
    ]
    lines = [line_of(name, np.arange(4), np.random.default_rng(0).random((4, 5, 1))) for name in names]
    lines.append(line_of("nothing", np.arange(4), np.full((4, 5, 1), np.nan)))
    figure = curve_figure(lines, "focus", "epoch", "")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == len(lines)
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert ["".join(text.split()) for text in told] == names
    assert axes.get_window_extent().width > 0.5 * figure.bbox.width
    legend = axes.get_legend().get_window_extent()
    assert 0 <= legend.y0 < legend.y1 <= figure.bbox.height
    assert legend.x1 <= figure.bbox.width


def test_a_single_image_has_no_band(tmp_path) -> None:
    """Its line is there; a single look is a point, with a bar where its error is known."""
    write_run(tmp_path / "single", 4, images=1)
    (axes,) = read_log(tmp_path).curve("focus").axes
    assert len(axes.lines[0].get_xdata()) == 4
    assert axes.collections[0].get_paths() == []
    write_run(tmp_path / "look", 1, images=3)
    log = read_log(tmp_path).of("look")
    (axes,) = log.curve("focus").axes
    (bars,) = axes.containers
    (ends,) = bars.lines[2][0].get_segments()
    values = log.numbers["focus"][0, :, 0]
    assert np.diff(ends[:, 1])[0] == pytest.approx(2 * 1.96 * values.std(ddof=1) / 3**0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda log: log.grid(9), r"epoch 9 has no look; there are epochs \[0, 1, 2, 3\]"),
        (lambda log: log.filmstrip(images=[4]), r"images=\[4\]; accepted are places of 0 to 3"),
        (lambda log: log.filmstrip(images=[]), r"images=\[\]; accepted are places of 0 to 3, at least one"),
        (lambda log: log.figure(images="best"), "images='best'; accepted are places, 'moved', 'wrong' or None"),
        (lambda log: log.curve("focsu"), "number='focsu' is none; did you mean 'focus'"),
        (lambda log: log.curve(["focus"]), r"^number=\['focus'\] is none; there are drift, "),
        (lambda log: log.mean(["focus"]), r"^name=\['focus'\] is no number; there are drift, "),
        (lambda log: log.filmstrip(7), r"^epochs=7; accepted are a list of epochs \[0, 1, 2, 3\], or None$"),
        (lambda log: log.timelapse("last"), r"^epochs='last'; accepted are a list of epochs \[0, 1, 2, 3\], or None$"),
        (lambda log: log.filmstrip([True]), r"^epochs=\[True\]; accepted are a list of epochs"),
        (lambda log: log.grid([2]), r"^step=\[2\]; accepted are epochs \[0, 1, 2, 3\], or None$"),
        (
            lambda log: log.filmstrip(images=[True]),
            r"^images=\[True\]; accepted are places of 0 to 3, a bool for each, ",
        ),
        (lambda log: log.filmstrip(images=np.zeros(4, bool)), r"^images=\[\]; accepted are places of 0 to 3, at least"),
        (
            lambda log: log.figure(epochs=None, images=range(5)),
            r"^images=\[0, 1, 2, 3, 4\]; accepted are places",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(fitted, call, told) -> None:
    """In one sentence, with what there is."""
    with pytest.raises(SettingError, match=told):
        call(read_log(fitted))


def shown_in_a_notebook(log: AttentionLog) -> Image.Image:
    """The picture in the page, no wider than that."""
    page = log._repr_html_()
    assert len(page) < 300_000
    ((style, data),) = re.findall(r'style="(.*?)" src="data:image/jpeg;base64,(.*?)"', page)
    assert style == "max-width:100%"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_notebook_shows_figures(fitted) -> None:
    """Also where nobody has told matplotlib to."""
    log = read_log(fitted)
    for figure in (log.curve("focus"), log.figure()):
        with Image.open(io.BytesIO(figure._repr_png_())) as picture:
            assert picture.size == pytest.approx(figure.get_size_inches() * 110, abs=1)


def test_a_notebook_shows_a_strip_that_fits(make_trainer, loader, tmp_path) -> None:
    """Of noise and of 24 images, of many looks and targets: of four maps a look."""
    for run, target in (("one", "label"), ("three", [0, 1, 2])):
        logger = TensorBoardLogger(tmp_path, name="", version=run)
        make_trainer(GradCAMCallback(images=24, target=target), max_epochs=14, logger=logger).fit(
            Classifier(), loader, loader
        )
        shown = shown_in_a_notebook(read_log(tmp_path / run))
        assert shown.height < 1100
    scene = read_log(tmp_path / "one")._drawing("filmstrip", None, None, 6, 4).scene
    assert scene.counted() == "4 of 24 images"


def test_a_notebook_shows_what_there_is(tmp_path) -> None:
    """Of several layers in words, and names are text."""
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
    assert log._drawing("", None, None, 1).scene.counted() == "16 of 40 images"
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


def boxes_of(figure: Figure) -> list[tuple[str, Bbox]]:
    """All words, and where they lie."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    words = [text for text in figure.findobj(Text) if text.get_text()]
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in words]


def test_many_looks_are_numbers_and_too_many_are_refused_before_any_is_drawn(tmp_path, monkeypatch) -> None:
    """Their headings do not touch; the refusal says what fits."""
    write_run(tmp_path / "run", 13, images=20)
    log = read_log(tmp_path)
    figure = log.figure(range(13), range(20))
    assert [axes.get_title() for axes in figure.axes[1:14]] == [str(step) for step in range(13)]
    assert figure.axes[0].get_title("right") == "epoch"
    boxes = boxes_of(figure)
    assert not any(box.overlaps(other) for place, (_, box) in enumerate(boxes) for _, other in boxes[:place])
    assert min(axes.get_window_extent().width for axes in figure.axes[:-1]) >= 0.35 * figure.dpi
    drawn = []
    monkeypatch.setattr(Sight, "heat", lambda *_: drawn.append(1))
    told = "cannot be made out on a page, which holds 20 rows and 13 looks; several figures hold more"
    for epochs, images, given in (
        ([0], [0] * 21, "21 rows, an image and target each, and 1 look"),
        ([0] * 14, [0], "1 row, an image and target, and 14 looks"),
    ):
        with pytest.raises(SettingError, match=f"^figure: {given} {told}"):
            log.figure(epochs, images)
    assert not drawn


def test_steps_of_many_digits_do_not_touch(tmp_path) -> None:
    """They are written smaller."""
    write_run(tmp_path / "run", 13, start=123_456_700)
    boxes = boxes_of(read_log(tmp_path).figure(range(123_456_700, 123_456_713)))
    assert sum(text.startswith("1234567") for text, _ in boxes) == 13
    assert not any(box.overlaps(other) for place, (_, box) in enumerate(boxes) for _, other in boxes[:place])


def test_a_page_of_many_targets_names_them(make_trainer, loader, tmp_path) -> None:
    """As targets, below the truth and the answer; where they are more than a page holds, so many images fewer."""
    names = ["square", "a circle", "star"]
    callback = GradCAMCallback(images=24, target=[0, 1, 2], class_names=names, scale="run")
    make_trainer(callback, max_epochs=1).fit(Classifier(), loader, loader)
    words = [text for text, _ in boxes_of(read_log(tmp_path).figure())]
    assert [words.count(f"target: {name}") for name in names] == [6, 6, 6]
    assert "maps are shares of the highest peak of their image in the run" in words
    square, tall = ([np.zeros((side, 32, 3), np.uint8)] * 9 for side in (32, 160))
    assert [most_of(square, targets) for targets in (1, 3, 6, 16)] == [(6, 6), (6, 6), (3, 6), (1, 6)]
    assert [most_of(tall, targets) for targets in (1, 3, 16)] == [(6, 6), (3, 6), (1, 6)]
    assert most_of([np.zeros((32, 160, 3), np.uint8)], 1) == (6, 5)
    sight = Sight(
        0, np.ones((1, 16, 2, 2), np.float32), np.zeros((1, 16), np.uint8), [Caption("true 1", "predicted 1")]
    )
    scene = Scene(tall[:1], ["true 1"], "target: all", [f"class {place}" for place in range(16)])
    words = [text for text, _ in boxes_of(strip_figure(scene, [sight], "layer"))]
    assert words.count("framed: wrong") == 0
    assert "layer · 9 of 16 targets are drawn · target: all" in " ".join(words)


@pytest.mark.parametrize(("height", "width"), [(32, 160), (160, 32), (64, 64)])
def test_a_page_holds_all_that_is_on_it(tmp_path, height, width) -> None:
    """It is no larger than a paper's, and no word or frame is cut off by its rim, whatever the names and the images."""
    names = [f"Genus species, a rather long common name number {place}, $ and _" for place in range(10)]
    write_run(tmp_path / "run", 3, images=6, names=names)
    log = read_log(tmp_path)
    alone = log._one("")
    pictures = [np.full((height, width, 3), 128, np.uint8)] * 6
    object.__setattr__(alone, "decoded", pictures)
    object.__setattr__(alone, "told", alone.told | {"about": f"target: {', '.join(names)}"})
    figure = log.figure()
    wide, tall = figure.get_size_inches()
    assert wide <= 6.75 + 1e-6
    assert tall <= 9 + 1e-6
    boxes, whole = boxes_of(figure), figure.bbox
    assert any(text.startswith("true Genus") for text, _ in boxes)
    assert any(text.startswith("epoch 2: ") for text, _ in boxes)
    cells = [axes.get_window_extent() for axes in figure.axes[:-1]]
    things = [*boxes, *(("frame", patch.get_window_extent()) for axes in figure.axes for patch in axes.patches)]
    for thing, box in things:
        assert whole.x0 <= box.x0 + 1, thing
        assert box.x1 <= whole.x1 + 1, thing
        assert whole.y0 <= box.y0 + 1, thing
        assert box.y1 <= whole.y1 + 1, thing
    assert not any(box.overlaps(cell) for _, box in boxes for cell in cells)
    assert not any(box.overlaps(other) for place, (_, box) in enumerate(boxes) for _, other in boxes[:place])
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
    assert [text.get_text().strip() for text in legend.get_texts()] == [
        "_baseline",
        "cost $5 of $9",
        "good",
        "by chance",
    ]


def test_a_grid_of_a_run_is_as_strong_as_the_run_drew_it(make_trainer, loader, tmp_path) -> None:
    """By the peaks so far, of which later looks may have higher ones."""
    make_trainer(GradCAMCallback(images=4, scale="run"), max_epochs=3).fit(Classifier(lr=0.5), loader, loader)
    log, drawn = read_log(tmp_path), Events(tmp_path / "run").pictures(TAG)
    for step, picture in enumerate(drawn):
        assert np.abs(np.asarray(log.grid(step)).astype(int) - picture.astype(int)).mean() < 4


def test_a_run_that_began_in_another_log_says_so(make_trainer, loader, tmp_path, capsys) -> None:
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
    printed = {}
    for option in ([], ["--with-earlier"]):
        assert main(["show", str(tmp_path), "--run", "second", "--json", *option]) == 0
        printed[len(option)] = capsys.readouterr().out
    assert ["goes on from" in one for one in printed.values()] == [True, False]
    assert [json.loads(one)["logs"][0]["steps"] for one in printed.values()] == [[2], [0, 1, 2]]
    alone = read_log(tmp_path / "second")
    told = "begins at 2: no log below the folder that was read has what was before that"
    assert alone.notes == alone.with_earlier().notes == (f"'network.6' of run '.' {told}",)
