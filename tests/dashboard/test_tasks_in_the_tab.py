"""What people come to the tab for, in a real Chromium, with the clicks that each takes: three at most.

A run that learns to look at the thing, and one that ends up at a mark in the corner; twelve images, eight epochs.
"""

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from torch.utils.tensorboard import SummaryWriter

from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.logs.events import Events
from lightning_gradcam.logs.packing import fingerprints
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.logs.schema import ROOT, grid_tag
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import METRICS, measure

from .conftest import Tab
from .test_plugin import LAYER, serving

IMAGES, EPOCHS, SIDE = 12, 8, 8
CORNER, THING = (0, 0), (4, 4)  # places of the map
BEGINS = 3  # the epoch at which the one run turns to the corner
NAMES = ["cat", "dog", "owl"]


def write(
    folder: Path,
    cheats: bool,
    first: int = 0,
    names: list[str] | None = NAMES,
    epochs: int = EPOCHS,
    start: int = 0,
) -> None:
    """Write a run whose heat moves from everywhere to the thing, or from epoch 3 on to the corner.

    Image i is of class i % 3, and predicted rightly from epoch i // 2 on; image 7 moves farther than all others between
    epochs 2 and 5.
    """
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder)))
    pictures = [np.full((64, 64, 3), 60 + 10 * i, np.uint8) for i in range(IMAGES)]
    shown = ShownImages(pictures, Task("multiclass", 3), [[i % 3] for i in range(IMAGES)], "target: label", names)
    known = fingerprints(torch.arange(IMAGES)[:, None, None, None] + first)
    log = RunLog(shown, known, Events([sink], Path()), [], ROOT)
    log.log_images(start)
    masks = torch.zeros(IMAGES, 1, 64, 64, dtype=torch.bool)
    masks[..., 32:48, 32:48] = True
    history, classes = History(LAYER), torch.arange(IMAGES) % 3
    for epoch in range(start, start + epochs):
        maps = torch.full((IMAGES, 1, SIDE, SIDE), 0.2)
        place = CORNER if cheats and epoch >= BEGINS else THING
        maps[:, 0, place[0], place[1]] = 0.3 + 0.1 * epoch
        if epoch >= 5:
            maps[7, 0] = torch.eye(SIDE)[0].outer(torch.eye(SIDE)[7])
        predicted = torch.where(torch.arange(IMAGES) // 2 <= epoch, classes, (classes + 1) % 3)
        scores = torch.full((IMAGES, 1), 0.5 + 0.05 * epoch)
        peaks = torch.ones(IMAGES, 1) * (1 + epoch)
        cams = Cams(maps / maps.amax((2, 3), keepdim=True), scores, predicted, classes[:, None], "", peaks)
        history = history.with_look(epoch, cams)
        log.log_look(history, measure(history.view(cams, masks)), grid_tag(LAYER))
    sink.experiment.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tasks")
    write(folder / "cheats", cheats=True)
    write(folder / "honest", cheats=False)
    write(folder / "others", cheats=False, first=100)
    with serving(folder) as address:
        yield address


@pytest.fixture
def tab(open_tab, url) -> Tab:
    return opened(open_tab, url, "p.gradcam.run=cheats&p.gradcam.runs=/cheats|honest/")


def opened(open_tab, url: str, address: str) -> Tab:
    tab = open_tab(url, f"#gradcam&{address}")
    expect(tab.frame.locator(".tile")).to_have_count(IMAGES)
    expect(tab.frame.locator(".grid")).to_have_attribute("aria-busy", "false")
    if "honest/" in address:
        expect(tab.frame.locator(".name")).to_have_count(2)
    return tab


def heights(tab: Tab) -> dict[str, list[float]]:
    """The lines of the overview, by run: how high each point is, up to 1."""
    names = tab.frame.locator(".name").all_inner_texts()
    lines = tab.frame.locator(".overview polyline")
    points = [line.get_attribute("points").split() for line in lines.all()]
    return {
        name: [1 - float(point.split(",")[1]) / 110 for point in line] for name, line in zip(names, points, strict=True)
    }


def frames_of(film: Image.Image) -> tuple[list[np.ndarray], list[int]]:
    """The pixels of each frame, and how long it is shown in milliseconds."""
    frames, durations = [], []
    for place in range(film.n_frames):
        film.seek(place)
        frames.append(np.asarray(film.convert("RGB")).astype(int))
        durations.append(film.info["duration"])
    return frames, durations


def value(text: str) -> float:
    return float(text.split()[-1])


def test_when_did_it_begin_to_look_at_the_corner(tab) -> None:
    """One click, on the picture of the mark: a box there has a number at all epochs, which leaps at the third."""
    tab.page.set_viewport_size({"width": 1280, "height": 2000})  # all tiles in sight
    tab.frame.locator(".tile[data-image='0'] .open").click()
    picture = tab.frame.locator("dialog .bigs canvas >> nth=1").bounding_box()
    tab.page.mouse.move(picture["x"] + 1, picture["y"] + 1)
    tab.page.mouse.down()
    tab.page.mouse.move(picture["x"] + picture["width"] / 4, picture["y"] + picture["height"] / 4, steps=3)
    tab.page.mouse.up()
    expect(tab.frame.locator("dialog .legend")).to_contain_text("in box")
    tab.page.keyboard.press("Escape")
    expect(tab.frame.locator("#number")).to_have_value("in_box")
    expect(tab.frame.locator(".status")).not_to_contain_text("have not come yet")
    lines = heights(tab)
    assert np.diff(lines["cheats"]).argmax() == BEGINS - 1
    shares = [value(text) for text in tab.frame.locator(".tile .number").all_inner_texts()]
    maps = np.full((SIDE, SIDE), 0.2 / 1.0)
    maps[CORNER] = 1.0
    exact = maps[:2, :2].sum() / maps.sum()  # the box is a hair smaller than a quarter of each side
    assert np.abs(np.array(shares[:7]) - exact).max() < 0.03
    assert shares[7] == pytest.approx(0, abs=0.01)


def test_what_changed_most_between_two_epochs_and_how(tab) -> None:
    """Three: another epoch beside it, sorted by the change, and the change shown."""
    tab.slide("epoch", 5)
    tab.choose("adding", "epoch")
    tab.slide("step-1", 2)
    tab.choose("sort", "change")
    tab.frame.get_by_label("show the change").check()
    expect(tab.frame.locator(".tile >> nth=0")).to_have_attribute("data-image", "7")
    names = tab.frame.locator(".tile >> nth=0").locator(".side").all_inner_texts()
    assert names == ["epoch 5", "epoch 2", "change from epoch 2 to epoch 5"]
    change = tab.canvas(7, 2).astype(int)
    more, less = change[10, 150], change[90, 90]  # from the thing to the upper right corner
    assert less[2] - less[0] > 60  # blue
    assert more[0] - more[2] > 60  # orange
    told = tab.frame.locator(".tile[data-image='7'] .number").all_inner_texts()[1]
    before, after = torch.eye(SIDE)[0].outer(torch.eye(SIDE)[7]), torch.full((SIDE, SIDE), 0.2)
    after[THING] = 0.5
    after = (after / after.max() * 255).round() / 255
    alike = float((before * after).sum() / before.norm() / after.norm())
    assert value(told) == pytest.approx(1 - alike, abs=0.002)


def test_which_run_looks_more_at_the_thing(tab) -> None:
    """None: a line a run, of the images' mean, is what the tab opens with where there are masks."""
    expect(tab.frame.locator("#number")).to_have_value("in_mask")
    lines = heights(tab)
    assert [*lines] == ["cheats", "honest"]
    assert lines["honest"][-1] > lines["cheats"][-1] + 0.3
    assert lines["honest"][:BEGINS] == lines["cheats"][:BEGINS]


def test_one_class_only_and_each_class_by_itself(tab) -> None:
    """One each: a filter, and groups with their mean map and numbers."""
    tab.choose("filter", "true:true dog")
    expect(tab.frame.locator(".tile")).to_have_count(4)
    tab.choose("filter", "")
    tab.slide("epoch", 3)
    tab.choose("group", "true")
    expect(tab.frame.locator(".group h2")).to_have_text(["true cat", "true dog", "true owl"])
    for name, said in zip(NAMES, tab.frame.locator(".group p").all_inner_texts(), strict=True):
        wrong = sum(i // 2 > 3 for i in range(IMAGES) if NAMES[i % 3] == name)
        assert said.startswith(f"4 images · {wrong} wrong · "), said
        assert re.search(r"in mask 0\.0\d+", said)
    mean = tab.frame.locator(".group canvas >> nth=0").evaluate(
        "c => [...c.getContext('2d').getImageData(3, 3, 1, 1).data]"
    )
    assert mean[0] > mean[2] + 60  # the corner is hot in all of them
    tab.choose("group", "predicted")
    expect(tab.frame.locator(".group h2").first).to_have_text("predicted cat")


def test_a_picture_for_a_paper_and_a_time_lapse_for_a_colleague(tab) -> None:
    """Two each: what can be taken along unfolds, and is taken; captions are in it."""
    tab.frame.get_by_text("take along").click()
    with tab.page.expect_download() as saved:
        tab.frame.get_by_text("images as SVG").click()
    root = ElementTree.parse(saved.value.path()).getroot()
    said = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert said[0] == f"{LAYER}  ·  run cheats  ·  epoch 7"
    assert said.count("true cat") == 4
    assert any(text.startswith("in mask 0.") for text in said)
    assert len([*root.iter("{http://www.w3.org/2000/svg}image")]) == IMAGES
    with tab.page.expect_download() as saved:
        tab.frame.get_by_text("images as PNG").click()
    with Image.open(saved.value.path()) as picture:
        assert picture.size == (2 * float(root.get("width")), 2 * float(root.get("height")))  # for paper
        assert np.asarray(picture.convert("RGB")).std() > 20
    for kind in ("PNG", "SVG"):
        with tab.page.expect_download() as saved:
            tab.frame.get_by_text(f"overview as {kind}").click()
        assert Path(saved.value.path()).stat().st_size > 2000
    with tab.page.expect_download() as saved:
        tab.frame.get_by_text("time-lapse as WebP").click()
    with Image.open(io.BytesIO(Path(saved.value.path()).read_bytes())) as film:
        assert (film.format, film.n_frames, film.info["loop"]) == ("WEBP", EPOCHS, 0)
        frames, durations = frames_of(film)
        assert durations == [200] * EPOCHS  # five epochs a second
    first, second = frames[BEGINS - 1], frames[BEGINS]
    assert np.abs(first - second).max() > 60  # the heat has moved
    assert (frames[0][:4] == 255).all()


def test_are_these_the_same_images(open_tab, url) -> None:
    """One: the other run beside it; that its images are others is said, and none is paired."""
    tab = opened(open_tab, url, "p.gradcam.run=cheats")
    tab.choose("adding", "run")
    expect(tab.frame.locator("#run-1")).to_have_value("honest")
    expect(tab.frame.locator(".broken")).to_have_count(0)
    tab.page.set_viewport_size({"width": 1280, "height": 3000})  # all tiles in sight
    tab.choose("run-1", "others")
    expect(tab.frame.locator(".broken")).to_contain_text("12 of 12 are not in run others")
    expect(tab.frame.locator(".tile .cell:last-child .word")).to_have_text(["no such image"] * IMAGES)


def test_what_a_number_means_and_what_is_good(tab) -> None:
    """One: it stands under the overview, and opens to the direction, the level of chance and what misleads."""
    told = tab.frame.locator(".help")
    words = METRICS["in_mask"].words
    expect(told.locator("summary")).to_have_text(f"in mask: {words['says']}")
    told.locator("summary").click()
    expect(told.locator(".words")).to_have_text(
        f"{words['direction']} By chance: {words['chance']} Mind: {words['failing']}"
    )
    for name in tab.frame.locator("#number option").evaluate_all("options => options.map(option => option.value)"):
        tab.choose("number", name)
        expect(told.locator("summary")).to_contain_text(name.replace("_", " "))


def test_which_of_two_runs_cheats(open_tab, url) -> None:
    """Without a click: the lines part, and the matrix of the one turns at the epoch at which it does."""
    tab = opened(open_tab, url, "p.gradcam.runs=/cheats|honest/&p.gradcam.run=cheats")
    assert set(heights(tab)) == {"cheats", "honest"}
    row = tab.frame.locator("canvas.matrix").evaluate(
        "c => [...Array(8).keys()].map(look => c.getContext('2d')"
        ".getImageData(Math.round(look / 7 * (c.width - 1)), 4, 1, 1).data[1])"
    )
    assert min(row[:BEGINS]) > max(row[BEGINS:]) + 10  # less green is less of viridis: less on the thing


# ---- what stands beside each other, and what is chosen of it -------------------------------------------------------


def test_several_views_each_sorted_by_its_own_number(open_tab, url) -> None:
    """Runs and epochs; each with its own frame, number and line, and in the address."""
    beside = "run%3Dhonest%3Bstep%3D0%3Brun%3Dhonest%26step%3D1"
    tab = opened(open_tab, url, f"p.gradcam.run=cheats&p.gradcam.runs=cheats&p.gradcam.beside={beside}")
    first = tab.whole(11)
    expect(first.locator(".side")).to_have_text(
        ["cheats, epoch 7", "honest, epoch 7", "cheats, epoch 0", "honest, epoch 1"]
    )
    wrong = first.locator(".cell").evaluate_all("cells => cells.map(cell => cell.classList.contains('wrong'))")
    assert wrong == [False, False, True, True]
    assert first.locator(".answer").all_inner_texts()[2].startswith("✗ predicted cat")
    numbers = [value(text) for text in first.locator(".number").all_inner_texts()]
    corner, thing = [1.0 + 63 * 0.2, 0.3 + 63 * 0.2], [1.0 + 3 * 0.2, 0.3 + 3 * 0.2]
    later = (0.4 + 3 * 0.2) / (0.4 + 63 * 0.2)
    assert numbers == pytest.approx([4 * 0.2 / corner[0], thing[0] / corner[0], thing[1] / corner[1], later], abs=2e-3)
    tab.choose("sort", "in_mask")
    tab.choose("by", "1")
    expect(tab.frame.locator(".tile >> nth=0")).to_have_attribute("data-image", "7")  # which left it in both
    tab.page.wait_for_function("location.hash.includes('p.gradcam.by=1')")
    address = tab.page.evaluate("location.hash")
    other = open_tab(url, address)
    expect(other.frame.locator(".tile >> nth=0").locator(".side")).to_have_count(4)


def test_pinned_images_come_first_whatever_is_filtered(tab) -> None:
    """And stay so in the address; a number's range leaves others out."""
    tab.frame.get_by_label("pin image 12").click()
    expect(tab.frame.locator(".tile >> nth=0")).to_have_attribute("data-image", "11")
    expect(tab.frame.get_by_label("pin image 12")).to_be_focused()
    tab.choose("filter", "true:true cat")
    order = [int(tile.get_attribute("data-image")) for tile in tab.frame.locator(".tile").all()]
    assert order == [11, 0, 3, 6, 9]
    tab.choose("filter", "")
    tab.frame.locator("#most").fill("0.01")
    expect(tab.frame.locator(".tile")).to_have_count(2)  # the pinned one, and image 7, whose heat is elsewhere
    tab.frame.locator("#most").fill("nonsense")
    expect(tab.frame.locator(".tile")).to_have_count(IMAGES)


def test_runs_are_found_by_a_word_or_a_pattern(open_tab, url) -> None:
    """They are offered, and have a line; a pattern that is not written to its end finds all."""
    tab = opened(open_tab, url, "p.gradcam.runs=e&p.gradcam.run=cheats")
    search = tab.frame.locator("#runs")
    for text, found in (("HON", {"honest"}), ("/^o/", {"others"}), ("/(", {"cheats", "honest", "others"})):
        search.fill(text)
        lines = {"cheats", *found}  # the one that is shown stays
        expect(tab.frame.locator(".name")).to_have_count(len(lines) if len(lines) > 1 else 0)
        offered = tab.frame.locator("#run option").all_inner_texts()
        assert set(offered) == lines
        assert {name.split(" (")[0] for name in tab.frame.locator(".name").all_inner_texts()} == lines
    expect(search).to_be_focused()


def test_the_large_view_zooms_plays_and_tells_what_is_under_the_pointer(tab) -> None:
    """To the pixel; all that stands beside each other moves together."""
    tab.slide("epoch", 0)
    tab.frame.locator(".tile[data-image='3'] .open").click()
    large = tab.frame.locator("dialog")
    heat = large.locator(".bigs canvas >> nth=1")
    box = heat.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 4.5 / 8, box["y"] + box["height"] * 4.5 / 8)
    expect(large.locator(".under")).to_have_text(
        "pixel 36, 36 of 64 x 64  ·  heat 1 of its peak at row 5, column 5 of 8 x 8"
    )
    for _ in range(2):
        large.get_by_label("zoom in").click()
    assert heat.evaluate("c => c.width") == pytest.approx(4 * box["width"], abs=4)
    frames = large.locator(".frame-large")
    frames.first.evaluate("e => { e.scrollLeft = 100; e.scrollTop = 50 }")
    expect(frames.last).to_have_js_property("scrollLeft", 100)
    expect(frames.last).to_have_js_property("scrollTop", 50)
    large.get_by_label("play here").click()
    expect(large.get_by_label("pause here")).to_be_visible()
    expect(large.locator(".said")).to_contain_text("epoch 7")
    expect(large.get_by_label("play here")).to_be_visible()


def test_the_large_view_is_of_the_run_that_is_chosen(open_tab, url) -> None:
    """Its numbers too, of the same image at the same epoch; two epochs of a run are one strip and one set of lines."""
    tab = opened(open_tab, url, "p.gradcam.run=cheats")
    large = tab.frame.locator("dialog")
    told = {}
    for run in ("cheats", "honest"):
        tab.choose("run", run)
        expect(tab.frame.locator("#run")).to_have_value(run)
        tab.frame.locator(".tile[data-image='0'] .open").click()
        expect(large.locator(".said")).to_contain_text(f"run {run}")
        told[run] = large.locator("[data-metric=in_mask]").inner_text()
        tab.page.keyboard.press("Escape")
    assert told == {"cheats": "in mask 0.06", "honest": "in mask 0.12"}
    tab.choose("adding", "epoch")
    tab.slide("step-1", 2)
    tab.frame.locator(".tile[data-image='0'] .open").click()
    expect(large.locator(".strip")).to_have_count(1)
    expect(large.locator(".frame[aria-current=true]")).to_have_text("7")
    expect(large.locator(".frame.beside")).to_have_text("2")
    expect(large.locator(".bigs canvas")).to_have_count(3)


def test_a_time_lapse_is_of_what_was_shown_whatever_is_chosen_meanwhile(open_tab, url) -> None:
    """What stands beside it follows the epochs as in the tab; frames are of one size though captions are not."""
    address = "p.gradcam.run=honest&p.gradcam.beside=run%3Dcheats&p.gradcam.pins=none"
    tab = opened(open_tab, url, address)
    tab.frame.get_by_text("take along").click()
    with tab.page.expect_download() as saved:
        tab.frame.get_by_text("time-lapse as WebP").click()
        tab.choose("run", "others")
    assert saved.value.suggested_filename == "attention_honest.webp"
    with Image.open(io.BytesIO(Path(saved.value.path()).read_bytes())) as film:
        assert film.n_frames == EPOCHS
        frames, _ = frames_of(film)
    page = frames[0]
    top = next(row for row in range(40, 200) if (page[row, 20] == page[row, 60]).all() and 40 < page[row, 20, 0] < 90)
    corner = [frame[top + 6, 10 + 128 + 10 + 6] for frame in frames]  # of the first image beside it
    hot = [bool(pixel[0] - pixel[2] > 60) for pixel in corner]
    assert hot == [epoch >= BEGINS for epoch in range(EPOCHS)]


def test_what_turned_is_told_by_the_run_itself(open_tab, url) -> None:
    """Since the epoch of its own that stands beside it, not since another run's."""
    for beside, turned in (("step%3D0", [2, 3, 4, 5, 6, 7]), ("run%3Dhonest%26step%3D0", [6, 7])):
        tab = open_tab(url, f"#gradcam&p.gradcam.run=cheats&p.gradcam.step=3&p.gradcam.beside={beside}")
        tab.choose("filter", "right")
        expect(tab.frame.locator(".tile")).to_have_count(len(turned))
        order = tab.frame.locator(".tile").evaluate_all("tiles => tiles.map(tile => Number(tile.dataset.image))")
        assert order == turned


def test_what_cannot_be_fetched_is_asked_for_again_in_time(open_tab, url) -> None:
    """Neither for good nor a hundred times a second: of maps, and of what stands beside."""
    tab = opened(open_tab, url, "p.gradcam.run=others&p.gradcam.runs=others")
    asked: list[str] = []
    tab.page.route(
        "**/maps?*", lambda route: (asked.append(route.request.url), route.fulfill(status=500, body="no"))[1]
    )
    tab.page.route("**/looks?*run=honest*", lambda route: route.abort())
    tab.page.evaluate(
        "location.hash = '#gradcam&p.gradcam.run=cheats&p.gradcam.runs=cheats&p.gradcam.beside=run%3Dhonest'"
    )
    expect(tab.frame.locator(".broken").first).to_have_text(re.compile("TensorBoard does not answer|Run cheats: no"))
    tab.page.wait_for_timeout(4000)
    assert 1 <= len(asked) <= 6
    tab.page.unroute("**/maps?*")
    tab.page.unroute("**/looks?*run=honest*")
    expect(tab.frame.locator(".tile >> nth=0").locator("canvas")).to_have_count(2, timeout=15_000)
    expect(tab.frame.locator(".broken")).to_have_count(0, timeout=15_000)
    assert np.ptp(tab.canvas(0, 0)) > 60


def test_keys_work_while_the_slider_is_held(tab) -> None:
    """The one that has just been used: space plays, a held o shows the images alone until the window is left."""
    slider = tab.frame.locator("#epoch")
    slider.focus()
    tab.page.keyboard.press("Home")
    heat = tab.canvas(0)
    tab.page.keyboard.down("o")
    assert np.ptp(tab.canvas(0)) == 0
    tab.frame.locator("body").evaluate("() => window.dispatchEvent(new Event('blur'))")
    assert (tab.canvas(0) == heat).all()
    tab.page.keyboard.up("o")
    tab.page.keyboard.press("Space")
    expect(tab.frame.get_by_label("pause", exact=True)).to_be_visible()


def test_lines_say_how_many_images_they_are_of(open_tab, url) -> None:
    """Where they are others, filtered by the same class; and which runs have none."""
    tab = open_tab(url, "#gradcam&p.gradcam.run=cheats&p.gradcam.filter=true%3Atrue%20dog")
    expect(tab.frame.locator(".tile")).to_have_count(4)
    expect(tab.frame.locator(".name")).to_have_text(["cheats", "honest", "others (4 other images)"])
    tab.frame.locator("#runs").evaluate("e => { e.closest('label').hidden = false }")
    tab.frame.locator("#runs").fill("zzz")
    expect(tab.frame.locator(".note")).to_have_text("no run's name has 'zzz'")
    expect(tab.frame.locator(".names")).to_be_hidden()


def test_hostile_words_are_exported_as_text(open_tab, tmp_path) -> None:
    """Of classes, with letters that XML has none for; a long one is broken into lines, all of which are there."""
    long = "Staffordshire-bull-terrier-and-pit-bull-and-others"
    write(tmp_path / "run", cheats=True, names=["a\x01b\ud800<b>&", long, "c"], epochs=2)
    with serving(tmp_path) as url:
        tab = opened(open_tab, url, "p.gradcam.run=run")
        tab.frame.get_by_text("take along").click()
        with tab.page.expect_download() as saved:
            tab.frame.get_by_text("images as SVG").click()
        root = ElementTree.parse(saved.value.path()).getroot()
        said = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert any(re.fullmatch("true a.b.<b>&", text) for text in said)
        assert f"true {long}" in " ".join(said) or long in "".join(said)
        assert "no heat" in said
        with tab.page.expect_download() as saved:
            tab.frame.get_by_text("images as PNG").click()
        with Image.open(saved.value.path()) as picture:
            assert picture.format == "PNG"


def test_a_strip_is_taken_along_with_its_epochs(tab) -> None:
    """As SVG and PNG, a picture an epoch."""
    tab.frame.locator(".tile[data-image='2'] .open").click()
    with tab.page.expect_download() as saved:
        tab.frame.get_by_label("save the strip as SVG").click()
    root = ElementTree.parse(saved.value.path()).getroot()
    said = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert said[0].startswith("image 3, epoch by epoch")
    assert [text for text in said if text.isdigit()] == [str(epoch) for epoch in range(EPOCHS)]
    assert len([*root.iter("{http://www.w3.org/2000/svg}image")]) == EPOCHS
    with tab.page.expect_download() as saved:
        tab.frame.get_by_label("save the strip as PNG").click()
    with Image.open(saved.value.path()) as picture:
        assert picture.format == "PNG"


def test_the_last_epoch_is_in_a_link(tab) -> None:
    """So that a colleague who opens it while the run goes on sees the same."""
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.frame.get_by_text("take along").click()
    tab.frame.get_by_text("copy link").click()
    expect(tab.frame.get_by_text("copied")).to_be_visible()
    assert "p.gradcam.step=7" in tab.page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("size", [(390, 844), (844, 390)])
def test_on_a_phone_the_controls_fold_away(open_tab, url, size) -> None:
    """Time alone stays in sight, a whole tile has room, and nothing is wider than the page."""
    tab = open_tab(url, "#gradcam&p.gradcam.run=cheats")
    tab.page.set_viewport_size({"width": size[0], "height": size[1]})
    tab.page.reload()
    expect(tab.frame.locator(".tile")).to_have_count(IMAGES)
    assert tab.frame.locator("#sort").is_hidden()
    header = tab.frame.locator("header").bounding_box()["height"]
    assert header < 60
    body = tab.frame.locator("body").evaluate("e => [e.scrollWidth, window.innerWidth, window.innerHeight]")
    assert body[0] <= body[1]
    tile = tab.frame.locator(".tile >> nth=0").bounding_box()["height"]
    assert tile <= body[2] - header


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("address", ["", "&p.gradcam.beside=run%3Dhonest&p.gradcam.group=true", "&p.gradcam.large=2"])
def test_axe_finds_nothing_serious(open_tab, url, theme, address) -> None:
    """Neither in the page nor in the dialog; text has a contrast of 4.5."""
    from axe_playwright_python.base import AXE_FILE_PATH

    tab = opened(open_tab, url, f"p.gradcam.run=cheats{address}")
    if theme == "dark":
        tab.page.evaluate("document.body.classList.add('dark-mode')")
    tab.frame.locator(".group, summary").first.evaluate(
        "e => document.querySelectorAll('details').forEach(one => { one.open = true })"
    )
    frame = tab.page.frames[1]
    frame.evaluate(AXE_FILE_PATH.read_text())
    found = frame.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
    )
    serious = [
        (one["id"], one["impact"], one["nodes"][0]["html"][:160], one["nodes"][0].get("failureSummary"))
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert len(found["passes"]) > 15


CONTRAST = """
async () => {
  const sheet = document.querySelector('link[rel=stylesheet]').href;
  const {LINES} = await import(sheet.replace('style.css', 'colour.js'));
  const context = document.createElement('canvas').getContext('2d');
  const luminance = (text) => {
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    const parts = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((one) => one / 255);
    const [red, green, blue] = parts.map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const paper = luminance(getComputedStyle(document.body).backgroundColor);
  const controls = [...document.querySelectorAll('select, input[type=text], header button')];
  const edges = controls.map((one) => getComputedStyle(one).borderTopColor);
  const ratios = [...LINES, ...edges].map(luminance)
    .map((one) => (Math.max(one, paper) + 0.05) / (Math.min(one, paper) + 0.05));
  return Math.min(...ratios);
}
"""


def test_lines_and_controls_stand_out_from_the_paper(tab) -> None:
    """By 3 to 1, in light and dark, as WCAG 1.4.11 wants; of runs' lines, TensorBoard's colours are TensorBoard's."""
    frame = tab.page.frames[1]
    assert frame.evaluate(CONTRAST) >= 3
    tab.page.evaluate("document.body.classList.add('dark-mode')")
    tab.page.wait_for_timeout(200)
    assert frame.evaluate(CONTRAST) >= 3


# ---- how it behaves ------------------------------------------------------------------------------------------------


def test_in_another_dashboard_nothing_is_asked_for_and_no_address_is_changed(tab) -> None:
    """Nor does it go on playing."""
    tab.choose("speed", "1")
    tab.frame.locator("#epoch").focus()
    tab.page.keyboard.press("Home")
    tab.frame.get_by_label("play", exact=True).click()
    tab.page.evaluate("location.hash = '#scalars&tagFilter=x'")
    tab.page.wait_for_timeout(1000)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.page.wait_for_timeout(5000)
    assert [url for url in asked if "/plugin/gradcam/" in url] == []
    assert "p.gradcam" not in tab.page.evaluate("location.hash")


def test_playing_writes_few_addresses(open_tab, url) -> None:
    """Browsers refuse an address that changes with each frame: a hundred in thirty seconds are too many."""
    tab = opened(open_tab, url, "p.gradcam.run=cheats&p.gradcam.range=1-4&p.gradcam.speed=50")
    tab.page.evaluate(
        "() => { window.written = 0; const own = history.replaceState.bind(history);"
        "history.replaceState = (...given) => { window.written++; own(...given); }; }"
    )
    tab.frame.get_by_label("play", exact=True).click()
    tab.page.wait_for_timeout(3000)
    tab.frame.get_by_label("pause", exact=True).click()
    assert 1 <= tab.page.evaluate("window.written") <= 9


def test_the_next_image_is_the_next_of_those_that_are_shown(tab) -> None:
    """As they are sorted and filtered, also for who tabs through them; the focus stays on the button."""
    tab.choose("filter", "true:true dog")
    tab.choose("sort", "in_mask")
    shown = [int(tile.get_attribute("data-image")) for tile in tab.frame.locator(".tile").all()]
    assert shown == [7, 1, 4, 10]
    tab.frame.locator(".tile >> nth=0").locator(".open").focus()
    seen = []
    for _ in range(4):
        seen.append(int(tab.page.frames[1].evaluate("document.activeElement.closest('.tile').dataset.image")))
        tab.page.keyboard.press("Tab")  # to its pin
        tab.page.keyboard.press("Tab")  # to the next
    assert seen == shown
    tab.frame.locator(".tile >> nth=0").locator(".open").click()
    large = tab.frame.locator("dialog")
    for image in (1, 4, 10, 7):
        large.get_by_label("next image").click()
        expect(large.locator(".said")).to_contain_text(f"image {image + 1} ")
        expect(large.get_by_label("next image")).to_be_focused()


def test_a_run_that_loads_is_said_and_shows_nothing_of_another(open_tab, url) -> None:
    """Until it is there, whose pictures stand under its name; what fails is said."""
    tab = opened(open_tab, url, "p.gradcam.run=cheats&p.gradcam.runs=cheats")
    held: list = []
    tab.page.route("**/looks?*run=honest*", lambda route: held.append(route))
    tab.page.evaluate("location.hash = '#gradcam&p.gradcam.run=honest&p.gradcam.runs=honest'")
    expect(tab.frame.locator(".status")).to_have_text("Loading run honest …")
    expect(tab.frame.locator(".tile")).to_have_count(0)
    expect(tab.frame.locator(".grid")).to_have_attribute("aria-busy", "true")
    held[0].continue_()
    expect(tab.frame.locator(".tile")).to_have_count(IMAGES)


def test_long_names_do_not_widen_a_tile(open_tab, tmp_path) -> None:
    """Nor the page; they are broken or cut with dots, and whole in the tooltip."""
    write(tmp_path / "run", cheats=True, names=["n02099601_" + "golden_retriever" * 20, "b", "c"], epochs=2)
    with serving(tmp_path) as url:
        tab = opened(open_tab, url, "p.gradcam.run=run")
        widths = tab.frame.locator(".tile").evaluate_all(
            "tiles => tiles.map(tile => tile.getBoundingClientRect().width)"
        )
        assert max(widths) - min(widths) < 1
        body = tab.frame.locator("body").evaluate("e => [e.scrollWidth, window.innerWidth]")
        assert body[0] <= body[1]
        assert "golden_retriever" * 20 in tab.frame.locator(".truth >> nth=0").get_attribute("title")


def test_a_run_that_is_resumed_with_other_images_shows_these_alone(open_tab, tmp_path) -> None:
    """No heat of others is laid over them, and how many epochs are left out is said."""
    write(tmp_path / "run", cheats=True, epochs=4)
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which begin with the second
    write(tmp_path / "run", cheats=False, first=100, epochs=3, start=4)
    with serving(tmp_path) as url:
        tab = opened(open_tab, url, "p.gradcam.run=run")
        expect(tab.frame.locator("output.epoch >> nth=0")).to_have_text("6 of 6")
        expect(tab.frame.locator("#epoch")).to_have_attribute("max", "2")
        expect(tab.frame.locator(".broken")).to_have_text(
            "Run run: 4 of its epochs are of other images, or made in another way, and are left out."
        )


def test_a_run_that_is_resumed_in_another_way_is_shown_before_it_looks(open_tab, tmp_path) -> None:
    """What was seen so far, of the images as they were looked at then."""
    write(tmp_path / "run", cheats=True, epochs=4)
    time.sleep(1.1)
    write(tmp_path / "run", cheats=False, first=100, epochs=0, start=4)
    with serving(tmp_path) as url:
        tab = opened(open_tab, url, "p.gradcam.run=run")
        expect(tab.frame.locator("output.epoch >> nth=0")).to_have_text("3 of 3")
        expect(tab.frame.locator(".tile >> nth=0")).to_be_visible()
        expect(tab.frame.locator(".broken")).to_have_count(0)


def test_that_classes_were_called_otherwise_is_said(open_tab, tmp_path) -> None:
    """Answers are logged in words: those of earlier epochs have the names of then."""
    write(tmp_path / "run", cheats=True, epochs=4)
    time.sleep(1.1)
    write(tmp_path / "run", cheats=True, names=["one", "two", "three"], epochs=3, start=4)
    with serving(tmp_path) as url:
        tab = opened(open_tab, url, "p.gradcam.run=run")
        expect(tab.frame.locator(".broken")).to_have_text(
            "Run run: classes were called otherwise before; captions of earlier epochs have those names."
        )


def test_a_blank_map_and_one_that_is_not_finite_are_said_on_the_picture(open_tab, tmp_path) -> None:
    """In the grid, large, and in the strip; an ordinary picture beside them has no word."""
    sink = SimpleNamespace(experiment=SummaryWriter(str(tmp_path / "run")))
    pictures = [np.full((64, 64, 3), 128, np.uint8)] * 3
    shown = ShownImages(pictures, Task("multiclass", 3), [[i] for i in range(3)], "target: label")
    known = fingerprints(torch.arange(3)[:, None, None, None])
    log = RunLog(shown, known, Events([sink], Path()), [], ROOT)
    log.log_images(0)
    maps = torch.ones(3, 1, 4, 4)
    maps[0] = 0
    cams = Cams(
        maps, torch.ones(3, 1), torch.arange(3), torch.arange(3)[:, None], "", torch.tensor([[0], [torch.nan], [1]])
    )
    log.log_look(History(LAYER).with_look(0, cams), {"focus": torch.ones(3, 1)}, grid_tag(LAYER))
    sink.experiment.close()
    with serving(tmp_path) as url:
        tab = open_tab(url)
        expect(tab.frame.locator(".tile")).to_have_count(3)
        words = tab.frame.locator(".tile .word").all_inner_texts()
        assert words == ["blank: no evidence", "not finite", ""]
        for image, word in enumerate(words[:2]):
            tab.frame.locator(f".tile[data-image='{image}'] .open").click()
            expect(tab.frame.locator("dialog .frame-large .word >> nth=1")).to_have_text(word)
            expect(tab.frame.locator("dialog .thumb-word")).to_have_text(word.split(":")[0])
            tab.page.keyboard.press("Escape")
