"""The Attention tab in a real Chromium, on a real TensorBoard."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.dashboard import plugin as plugin_module
from lightning_gradcam.logs.events import Events
from lightning_gradcam.logs.packing import fingerprints
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.logs.schema import MAPS as PART
from lightning_gradcam.logs.schema import ROOT, grid_tag
from lightning_gradcam.pictures.render import overlay
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import METRICS

from ..conftest import Classifier, make_pairs
from .conftest import Tab
from .test_plugin import LAYER, MAPS, serving, write_run


def column(*values: float) -> Tensor:
    """A number an image, of one target."""
    return torch.tensor(values)[:, None]


KNOWN = (
    {"peak": column(2, 8, 4), "in_mask": column(0.5, 0.9, 0.1), "zeal_of_all": column(0.1, 0.2, 0.3)},
    {
        "peak": column(2, 8, 4),
        "drift": column(0.25, 0.5, 0.75),
        "in_mask": column(0.5, 0.9, 0.1),
        "rare": column(torch.nan, 0.5, 0.75),
        "odd": column(30, -2, 1.5),
        "zeal_of_all": column(0.2, 0.3, 0.125),  # a name that the tab has never heard
    },
)
MORE_TARGETS = (
    {"in_mask": column(0.7, 0.8, 0.6)},
    {"in_mask": torch.tensor([[0.1, 0.2], [0.5, 0.6], [0.3, 0.9]])},
)


def write_numbers(folder: Path, *looks: dict[str, Tensor]) -> None:
    """A run of known numbers: image i's map of target t is hot at place 4i + t of 16, at each epoch."""
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder)))
    shown = ShownImages(
        [np.full((64, 64, 3), 128, np.uint8)] * 3, Task("multiclass", 10), [[i] for i in range(3)], "target: label"
    )
    log = RunLog(shown, fingerprints(torch.arange(3)[:, None, None, None]), Events([sink], Path()), [], ROOT)
    log.log_images(0)
    for step, values in enumerate(looks):
        images, targets = next(iter(values.values())).shape
        maps = torch.zeros(images, targets, 16)
        for image in range(images):
            for target in range(targets):
                maps[image, target, 4 * image + target] = 1
        maps, classes = maps.view(images, targets, 4, 4), torch.arange(images)
        peaks = values.get("peak", torch.ones(images, targets))
        cams = Cams(maps, torch.ones(images, 1), classes, classes[:, None].repeat(1, targets), "", peaks)
        log.log_look(History(LAYER).with_look(step, cams), values, grid_tag(LAYER))
    sink.experiment.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """Two runs of the same images, one of five epochs and one of nine; and two of known numbers."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "first", 5, names=[f"class{i}" for i in range(10)])
    write_run(folder / "second", 9, shade=60)
    write_numbers(folder / "known", *KNOWN)
    write_numbers(folder / "more targets", *MORE_TARGETS)
    with serving(folder) as address:
        yield address


@pytest.fixture
def tab(open_tab, url) -> Tab:
    tab = open_tab(url)
    expect(tab.frame.locator(".tile")).to_have_count(3)
    tab.choose("run", "first")
    expect(tab.frame.locator("output.epoch >> nth=0")).to_have_text("4 of 4")
    return tab


def test_the_slider_has_all_epochs_and_the_pixels_follow_it(tab) -> None:
    """The heat is where the map of the epoch is."""
    expect(tab.frame.locator("#epoch")).to_have_attribute("max", "4")
    for step in (1, 2, 3, 4, 0):
        tab.slide("epoch", step)
        for image in range(3):
            assert tab.hottest(image) == divmod((step + image) % 16, 4)
    expect(tab.frame.locator(".tile[data-image='1']")).to_contain_text("✗ predicted class9 (50%)")
    tab.slide("epoch", 3)
    expect(tab.frame.locator(".tile[data-image='1']")).to_contain_text("true class1")
    expect(tab.frame.locator(".tile[data-image='1']")).to_contain_text("predicted class1 (50%)")


def test_without_opacity_the_plain_image_is_shown(tab) -> None:
    """To JPEG's accuracy."""
    assert np.ptp(tab.canvas(1)) > 50
    tab.slide("opacity", 0)
    assert np.abs(tab.canvas(1) - 129).max() <= 1


def test_keys_and_buttons_play(tab) -> None:
    """Arrows step, Home and End jump, space plays to the end."""
    shown = tab.frame.locator("output.epoch >> nth=0")
    tab.frame.locator("main").click(position={"x": 600, "y": 5})
    for key, told in (("Home", "0 of 4"), ("ArrowRight", "1 of 4"), ("ArrowLeft", "0 of 4"), ("End", "4 of 4")):
        tab.page.keyboard.press(key)
        expect(shown).to_have_text(told)
    tab.choose("speed", "10")
    tab.frame.locator("main").click(position={"x": 600, "y": 5})
    tab.page.keyboard.press("Home")
    tab.page.keyboard.press("Space")
    expect(tab.frame.get_by_label("pause")).to_be_visible()
    expect(shown).to_have_text("4 of 4")
    expect(tab.frame.get_by_label("play", exact=True)).to_be_visible()


def test_strength_by_run_grows_with_the_peaks(tab) -> None:
    """Peaks of 1 to 5 of 5: the first epoch is weaker than the last, which is alike by itself and by the run."""
    tab.slide("epoch", 0)
    alone = tab.canvas(0)
    tab.choose("scale", "run")
    weak = tab.canvas(0)
    assert alone[..., 0].max() > weak[..., 0].max() + 20
    tab.slide("epoch", 4)
    strong = tab.canvas(0)
    tab.choose("scale", "image")
    assert np.abs(strong - tab.canvas(0)).max() <= 2


@pytest.fixture
def known(open_tab, url) -> Tab:
    """On the last epoch of known numbers."""
    tab = open_tab(url, "#gradcam&p.gradcam.runs=known")
    expect(tab.frame.locator(".tile")).to_have_count(3)
    return tab


def test_strength_by_the_highest_of_all_tells_images_apart(known) -> None:
    """Peaks of 2, 8 and 4: by itself and by its own highest each is full, of all a quarter, full and a half."""
    gray = np.full((1, 1, 3), 128, np.uint8)
    for scale, levels in (("image", (1, 1, 1)), ("run", (1, 1, 1)), ("all", (0.25, 1, 0.5))):
        known.choose("scale", scale)
        for image, level in enumerate(levels):
            logged = overlay(gray, np.full((1, 1), 0.964 * level))[0, 0].astype(int)  # as is logged, near the peak
            assert (
                np.abs(known.pixel(40 * image + 20, 20, image) - logged).max() <= 8
            )  # a level of 256 is four shades there


def test_tiles_are_sorted_by_their_numbers_at_the_epoch(known) -> None:
    """The most first, of what lies on the thing the least; without a number last; of any name that the data have."""
    assert known.places() == [0, 1, 2]
    for name, places in (
        ("peak", [2, 0, 1]),
        ("in_mask", [1, 2, 0]),
        ("drift", [2, 1, 0]),
        ("rare", [2, 1, 0]),
        ("zeal_of_all", [1, 0, 2]),
        ("", [0, 1, 2]),
    ):
        known.choose("sort", name)
        assert known.places() == places, name
    known.choose("sort", "zeal_of_all")
    known.slide("epoch", 0)
    assert known.places() == [2, 1, 0]
    told = known.frame.locator("#sort option").all_inner_texts()
    assert told[:3] == ["as in the data", "most peak first", "least on the thing first"]
    assert "most zeal of all first" in told


def test_the_chart_has_every_number_of_0_to_1(known) -> None:
    """Of any name, drift among them; what lies outside, above or below, is no line, and told in words, as a peak is."""
    large, drawn = known.frame.locator("dialog"), {}
    for image in range(3):
        known.frame.locator(f".tile[data-image='{image}']").locator("button.open").click()
        drawn[image] = large.locator(".legend li").all_inner_texts()
        expect(large.locator("polyline.line")).to_have_count(len(drawn[image]) - 2)
        known.page.keyboard.press("Escape")
    assert drawn == {
        0: ["in mask 0.50", "zeal of all 0.20", "drift 0.25", "peak 2", "odd 30"],
        1: ["in mask 0.90", "zeal of all 0.30", "drift 0.50", "rare 0.50", "peak 8", "odd -2"],
        2: ["in mask 0.10", "zeal of all 0.13", "drift 0.75", "rare 0.75", "peak 4", "odd 1.5"],
    }


def test_targets_may_become_more_within_a_run(open_tab, url) -> None:
    """Each look's maps and numbers are found by its own number of targets."""
    tab = open_tab(url, "#gradcam&p.gradcam.run=more targets&p.gradcam.sort=in_mask")
    expect(tab.frame.locator(".tile")).to_have_count(3)
    assert tab.places() == [0, 2, 1]
    hot, cold = tab.pixel(60, 20, tile=1), tab.pixel(20, 60, tile=1)  # places 4 and 1
    assert hot[0] - hot[2] > 50
    assert np.abs(np.array(cold) - 128).max() <= 1
    tab.frame.locator(".tile[data-image='1']").locator("button.open").click()
    expect(tab.frame.locator("dialog .legend li")).to_have_text(["in mask 0.50", "peak 1.00"])
    tab.frame.locator("dialog .frame >> nth=0").click()
    expect(tab.frame.locator("dialog .legend li")).to_have_text(["in mask 0.80", "peak 1.00"])


def test_two_epochs_and_two_runs_side_by_side(tab) -> None:
    """The same image in each; what differs is each one's name, and a view is taken away again."""
    canvases = tab.frame.locator(".tile[data-image='0']").locator("canvas")
    names = tab.frame.locator(".tile[data-image='0']").locator(".side")
    tab.choose("adding", "epoch")
    expect(canvases).to_have_count(2)
    tab.slide("step-1", 4)
    tab.slide("epoch", 4)
    assert (tab.canvas(0, 0) == tab.canvas(0, 1)).all()
    tab.slide("epoch", 1)
    assert (tab.canvas(0, 0) != tab.canvas(0, 1)).any()
    expect(names).to_have_text(["epoch 1", "epoch 4"])
    tab.choose("adding", "run")
    tab.choose("run-2", "second")
    expect(canvases).to_have_count(3)
    expect(names).to_have_text(["first, epoch 1", "first, epoch 4", "second, epoch 1"])
    tab.slide("opacity", 0)
    tab.page.wait_for_timeout(500)
    for column, shade in ((0, 128), (1, 128), (2, 60)):
        assert np.abs(tab.canvas(0, column) - shade).max() <= 1
    tab.frame.get_by_label("remove view 2").click()
    expect(names).to_have_text(["first", "second"])


def test_only_mistakes_and_sorting(tab) -> None:
    """All are wrong before epoch 2 and none after."""
    tab.frame.get_by_label("only mistakes").check()
    expect(tab.frame.locator(".tile:visible")).to_have_count(0)
    tab.slide("epoch", 1)
    expect(tab.frame.locator(".tile:visible")).to_have_count(3)
    tab.choose("sort", "drift")
    assert sorted(tab.places()) == [0, 1, 2]


def test_a_click_shows_one_image_large_over_all_epochs(tab) -> None:
    """With a strip, a chart and its numbers; Escape closes it."""
    tab.frame.locator(".tile[data-image='1']").locator("button.open").click()
    large = tab.frame.locator("dialog")
    expect(large.locator(".frame")).to_have_count(5)
    expect(large).to_contain_text("image 2")
    expect(large.locator("polyline").first).to_be_attached()
    expect(large.locator(".legend")).to_contain_text("focus 1.00")
    large.locator(".frame >> nth=0").click()
    expect(large).to_contain_text("epoch 0")
    large.get_by_label("next image").click()
    expect(large).to_contain_text("image 3")
    tab.page.keyboard.press("Escape")
    expect(large).to_be_hidden()


def test_the_address_brings_a_colleague_to_the_same_view(tab, open_tab, url) -> None:
    """Run, epoch, opacity, colours and the large image."""
    tab.slide("epoch", 2)
    tab.slide("opacity", 30)
    tab.choose("colour", "viridis")
    tab.frame.locator(".tile[data-image='2']").locator("button.open").click()
    tab.page.wait_for_function("location.hash.includes('p.gradcam.large=2')")
    address = tab.page.evaluate("location.hash")
    other = open_tab(url, address)
    expect(other.frame.locator("dialog")).to_contain_text("image 3")
    expect(other.frame.locator("output.epoch >> nth=0")).to_have_text("2 of 4")
    expect(other.frame.locator("#opacity")).to_have_value("30")
    assert (other.canvas(2) == tab.canvas(2)).all()


def test_dark_mode_follows_tensorboard(tab) -> None:
    """At once."""
    light = tab.frame.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    tab.page.evaluate("document.body.classList.toggle('dark-mode')")
    tab.page.wait_for_timeout(200)
    dark = tab.frame.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert {light, dark} == {"rgb(255, 255, 255)", "rgb(32, 33, 36)"}


def test_every_control_has_a_name(tab) -> None:
    """For screen readers."""
    nameless = tab.frame.locator("body").evaluate(
        "b => [...b.querySelectorAll('input, select, button')]"
        ".filter(e => !e.ariaLabel && !e.labels?.length && !e.textContent.trim()).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_it_follows_a_fit_while_it_runs(open_tab, tmp_path, make_trainer) -> None:
    """Epochs appear by themselves, and the last one is shown."""
    loader = DataLoader(make_pairs(), 8)

    class Slow(Classifier):
        def on_train_epoch_start(self) -> None:
            time.sleep(2)

    fit = threading.Thread(
        target=make_trainer(GradCAMCallback(images=2), max_epochs=5).fit, args=(Slow(), loader, loader)
    )
    with serving(tmp_path) as url:
        tab = open_tab(url)
        expect(tab.frame.locator(".status")).to_contain_text("No attention yet")
        expect(tab.frame.locator(".status")).to_contain_text("GradCAMCallback()")
        fit.start()
        expect(tab.frame.locator(".tile")).to_have_count(2, timeout=60_000)
        seen = set()
        for _ in range(300):
            seen.add(tab.frame.locator("output.epoch >> nth=0").inner_text())
            if "5 of 5" in seen:
                break
            tab.page.wait_for_timeout(100)
        fit.join()
    assert "5 of 5" in seen
    assert len(seen) >= 3


HOSTILE = ['<img src=x onerror="window.top.hacked=1">', "\"'><script>window.top.hacked=1</script>", "../../secret"]


def test_an_address_may_say_anything(open_tab, url) -> None:
    """What is out of bounds is brought within."""
    address = "#gradcam&p.gradcam.size=99999&p.gradcam.colour=nocolour&p.gradcam.step=77&p.gradcam.beside=moon;;run=x"
    tab = open_tab(url, address + "&p.gradcam.run=nowhere&p.gradcam.target=-3&p.gradcam.large=12&p.gradcam.opacity=x")
    expect(tab.frame.locator(".tile")).to_have_count(3)
    assert tab.canvas(0).shape == (384, 384, 3)


def test_hostile_names_are_text(open_tab, tmp_path) -> None:
    """Of classes and runs."""
    write_run(tmp_path / "<img onerror=top.hacked=1>'\"", 3, names=HOSTILE)
    with serving(tmp_path) as url:
        tab = open_tab(url)
        expect(tab.frame.locator(".tile")).to_have_count(3)
        expect(tab.frame.locator(".tile[data-image='0']")).to_contain_text(f"true {HOSTILE[0]}")
        expect(tab.frame.locator(".tile[data-image='1']")).to_contain_text(f"predicted {HOSTILE[1]}")
        tab.frame.locator(".tile[data-image='0']").locator("button.open").click()
        expect(tab.frame.locator("#run")).to_have_value("<img onerror=top.hacked=1>'\"")
        assert tab.page.evaluate("window.hacked") is None
        expect(tab.frame.locator("img, main script, header script, dialog script")).to_have_count(0)


def test_broken_records_are_told_with_the_run(open_tab, tmp_path) -> None:
    """And the rest is shown."""
    from types import SimpleNamespace

    from torch.utils.tensorboard import SummaryWriter

    write_run(tmp_path / "scratched", 3)
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which begin with the second
    sink = SimpleNamespace(experiment=SummaryWriter(str(tmp_path / "scratched")))
    Events([sink], Path()).write_data(MAPS, [b"garbage"], step=50)
    sink.experiment.close()
    lost = SimpleNamespace(experiment=SummaryWriter(str(tmp_path / "lost")))
    Events([lost], Path()).write_data(f"gradcam/other/{PART}", [b"garbage"], step=0)
    lost.experiment.close()
    with serving(tmp_path) as url:
        tab = open_tab(url, "#gradcam&p.gradcam.run=scratched")
        expect(tab.frame.locator(".tile")).to_have_count(3)
        expect(tab.frame.locator(".broken")).to_contain_text("Run scratched: 1 of its records cannot be read")
        tab.choose("run", "lost")
        expect(tab.frame.locator(".broken").first).to_contain_text("Run lost")


def test_other_tabs_are_left_alone(tab) -> None:
    """TensorBoard's own address keeps what is not ours."""
    tab.slide("epoch", 1)
    tab.page.wait_for_function("location.hash.includes('p.gradcam.step=1')")
    assert tab.page.evaluate("location.hash").startswith("#gradcam&")


def test_the_pictures_are_there_in_the_built_wheel(tmp_path) -> None:
    """The static files travel with the package."""
    import subprocess
    import sys
    import zipfile

    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(root)]
    subprocess.run(command, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    static = Path(plugin_module.__file__).parent / "static"
    assert {f"lightning_gradcam/dashboard/static/{file.name}" for file in static.iterdir()} <= set(names)


def test_what_the_maps_were_worth_and_what_each_number_means(open_tab, tmp_path, make_trainer) -> None:
    """The line that ends the fit stands above the images; a number's sentences open below it, and close again."""
    loader = DataLoader(make_pairs(), 8)
    make_trainer(GradCAMCallback(images=3, trust=True)).fit(Classifier(), loader, loader)
    with serving(tmp_path) as url:
        tab = open_tab(url)
        said = tab.frame.locator(".caution")
        expect(said).to_contain_text("network.6 after epoch 2: whether attention moved since epoch 0 cannot be ")
        expect(said).to_contain_text("0 by chance, 0.5 at most)")
        tab.frame.locator(".tile[data-image='0']").locator("button.open").click()
        large = tab.frame.locator("dialog")
        names = ("drift", "focus", "border", "peak", "faithfulness", "class_sensitivity", "learned")
        for name in names:
            number = large.locator(f"button[data-metric={name}]")
            expect(number).to_contain_text(name.replace("_", " "))
            expect(number).to_have_attribute("aria-expanded", "false")
            number.click()
            words = METRICS[name].words
            told = f"{words['says']} {words['direction']} By chance: {words['chance']} Mind: {words['failing']}"
            expect(large.locator(".words")).to_have_text(told)
            number.click()
            expect(large.locator(".words")).to_have_count(0)
            expect(number).to_be_focused()


def test_the_overview_has_every_epoch_and_image_and_chooses_among_them(known) -> None:
    """A click in the matrix chooses both; its colours are the numbers', from the lowest to the highest."""
    known.choose("number", "zeal_of_all")
    matrix = known.frame.locator("canvas.matrix")
    colours = matrix.evaluate(
        "c => [...Array(3).keys()].map(row => [0, 1].map(look => [...c.getContext('2d').getImageData("
        "look * (c.width - 1), (row + 0.5) * c.height / 3, 1, 1).data].slice(0, 3)))"
    )
    lowest, highest = [68, 1, 84], [253, 231, 37]  # viridis's ends
    assert colours[0][0] == lowest
    assert colours[2][0] == colours[1][1] == highest
    expect(known.frame.locator(".overview .ends")).to_have_text("0.10.3")
    box = matrix.bounding_box()
    known.page.mouse.click(box["x"] + 2, box["y"] + box["height"] * 5 / 6)
    expect(known.frame.locator("output.epoch >> nth=0")).to_have_text("0 of 1")
    assert known.frame.locator(".chosen").evaluate("e => e.hidden") is False
    known.page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    expect(known.frame.locator(".tip")).to_contain_text("epoch 1  ·  image 2  ·  true 1  ·  0.3")


def test_lines_are_the_means_one_a_run(open_tab, url) -> None:
    """Of the images, where the axis says; the second run has TensorBoard's colour of its own."""
    tab = open_tab(url, "#gradcam&p.gradcam.run=first&p.gradcam.runs=/^(first|second)$/&p.gradcam.number=wrong")
    lines = tab.frame.locator(".overview .lines polyline")
    expect(lines).to_have_count(2)
    assert len({line.get_attribute("stroke") for line in lines.all()}) == 2
    heights = [float(point.split(",")[1]) for point in lines.first.get_attribute("points").split()]
    assert heights == [8, 8, 102, 102, 102]  # all wrong before epoch 2, none after: from the top to the bottom
    names = tab.frame.locator(".name")
    expect(names).to_have_text(["first", "second"])
    names.last.click()
    expect(tab.frame.locator("#run")).to_have_value("second")
    expect(names).to_have_text(["second", "first"])


def test_two_runs_of_one_image_are_two_strips_by_their_own_names(open_tab, tmp_path) -> None:
    """Also names that end as an epoch does; two epochs of a run are one."""
    write_run(tmp_path / "rate 1", 3)
    write_run(tmp_path / "rate 2", 3)
    with serving(tmp_path) as address:
        beside = "run%3Drate+2;run%3Drate+2%26step%3D1"
        tab = open_tab(address, f"#gradcam&p.gradcam.run=rate%201&p.gradcam.beside={beside}&p.gradcam.large=0")
        expect(tab.frame.locator(".strips .side")).to_have_text(["rate 1", "rate 2"])


def test_what_is_out_of_sight_has_no_canvas_of_a_size(open_tab, url) -> None:
    """Of a thousand images each would be a layer, and memory; it is drawn again when it comes into sight."""
    tab = open_tab(url, "#gradcam&p.gradcam.run=first&p.gradcam.size=336")
    tab.page.set_viewport_size({"width": 390, "height": 500})
    first, last = (tab.frame.locator(f".tile[data-image='{image}'] canvas") for image in (0, 2))
    for near, far in ((first, last), (last, first), (first, last)):
        near.locator("xpath=ancestor::figure").scroll_into_view_if_needed()
        expect(near).to_have_attribute("width", "336")
        expect(far).to_have_attribute("width", "0")
    assert tab.canvas(0).any()


def test_a_brushed_range_is_what_plays(tab) -> None:
    """Again and again, until it is paused."""
    tab.choose("speed", "20")
    box = tab.frame.locator(".overview svg.lines").bounding_box()
    width = box["width"] - 56 - 12
    tab.page.mouse.move(box["x"] + 56 + width / 8, box["y"] + 120)  # the longest run has eight epochs
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 56 + width / 4, box["y"] + 120, steps=4)
    tab.page.mouse.up()
    tab.frame.get_by_label("play", exact=True).click()
    seen = set()
    for _ in range(30):
        seen.add(tab.frame.locator("output.epoch >> nth=0").inner_text())
        tab.page.wait_for_timeout(30)
    tab.frame.get_by_label("pause").click()
    assert {"1 of 4", "2 of 4"} == seen - {"4 of 4"}


def test_runs_of_other_images_are_not_paired(open_tab, tmp_path) -> None:
    """By their fingerprints: two of three are the same, at other places."""
    write_run(tmp_path / "a", 3, first=0)
    write_run(tmp_path / "b", 3, first=1, shade=60)
    with serving(tmp_path) as url:
        tab = open_tab(url, "#gradcam&p.gradcam.run=a&p.gradcam.beside=run%3Db&p.gradcam.opacity=0")
        expect(tab.frame.locator(".tile[data-image='0'] .word >> nth=1")).to_have_text("no such image")
        expect(tab.frame.locator(".broken")).to_contain_text("1 of 3 are not in run b")
        for image in (1, 2):
            assert np.abs(tab.canvas(image, 0) - 128 - image).max() <= 1
            assert np.abs(tab.canvas(image, 1) - 60 - (image - 1)).max() <= 1


def test_an_address_that_is_pasted_is_followed(tab) -> None:
    """Into an open tab; names that JavaScript's objects have are names of nothing."""
    tab.page.evaluate("location.hash = '#gradcam&p.gradcam.run=first&p.gradcam.step=1&p.gradcam.colour=viridis'")
    expect(tab.frame.locator("output.epoch >> nth=0")).to_have_text("1 of 4")
    expect(tab.frame.locator("#colour")).to_have_value("viridis")
    tab.page.evaluate(
        "location.hash = '#gradcam&p.gradcam.run=constructor&p.gradcam.colour=__proto__&p.gradcam.sort=toString'"
    )
    expect(tab.frame.locator(".tile")).to_have_count(3)
    expect(tab.frame.locator("#run")).not_to_have_value("constructor")


def test_an_address_that_is_pasted_before_all_is_read_is_followed(open_tab, url) -> None:
    """And not written over: whoever pastes it does not know when that is."""
    tab, held = open_tab(url, "#gradcam&p.gradcam.run=first"), []
    expect(tab.frame.locator("output.epoch >> nth=0")).to_have_text("4 of 4")
    tab.page.route(re.compile("gradcam/looks"), lambda route: held.append(route))
    tab.page.reload()
    while not held:
        tab.page.wait_for_timeout(20)
    tab.page.evaluate("location.hash = '#gradcam&p.gradcam.run=first&p.gradcam.step=1'")
    tab.page.unroute(re.compile("gradcam/looks"))  # which lets those that are held go on
    expect(tab.frame.locator("output.epoch >> nth=0")).to_have_text("1 of 4")
    expect(tab.page).to_have_url(re.compile("step=1$"))


def test_what_is_there_is_not_fetched_again(open_tab, url) -> None:
    """A finished run that is looked at, and beside itself: 100 bytes a poll, so that two minutes of 40 are 4 kB."""
    tab = open_tab(url, "#gradcam&p.gradcam.run=second")
    expect(tab.frame.locator(".tile")).to_have_count(3)
    expect(tab.frame.locator("[data-coming]")).to_have_count(0)
    tab.page.wait_for_timeout(500)
    sizes = []
    tab.page.on(
        "response", lambda answer: sizes.append((answer.url.split("gradcam/")[-1].split("?")[0], len(answer.body())))
    )
    tab.choose("adding", "epoch")
    tab.page.wait_for_timeout(7000)
    assert {name for name, _ in sizes} == {"runs"}
    assert 2 <= len(sizes) <= 3
    assert max(size for _, size in sizes) < 100


def write_moves(folder: Path) -> None:
    """Three images at two epochs, of which the last moves farthest, the first not at all; the second turns right."""
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder)))
    names = ["cat", "dog", "owl"]
    shown = ShownImages(
        [np.full((64, 64, 3), 128, np.uint8)] * 3, Task("multiclass", 3), [[0], [1], [0]], "target: 2", names
    )
    log = RunLog(shown, fingerprints(torch.arange(3)[:, None, None, None]), Events([sink], Path()), [], ROOT)
    log.log_images(0)
    before = torch.eye(4)[[0, 0, 0]].view(3, 1, 2, 2)
    after = torch.stack([torch.eye(4)[0], torch.tensor([1.0, 1, 0, 0]), torch.eye(4)[3]]).view(3, 1, 2, 2)
    for step, (maps, predicted) in enumerate(((before, [0, 0, 1]), (after, [0, 1, 1]))):
        classes = torch.tensor(predicted)
        cams = Cams(maps, torch.ones(3, 1), classes, torch.full((3, 1), 2), "", torch.ones(3, 1))
        log.log_look(History(LAYER).with_look(step, cams), {"focus": column(0.1, 0.2, 0.3)}, grid_tag(LAYER))
    sink.experiment.close()


@pytest.fixture(scope="module")
def moves(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("moves")
    write_moves(folder / "run")
    with serving(folder) as address:
        yield address


def test_what_changed_most_between_two_epochs_comes_first(open_tab, moves) -> None:
    """By one minus the cosine of the two maps that are shown, which each tile says."""
    tab = open_tab(moves, "#gradcam&p.gradcam.beside=step%3D0")
    expect(tab.frame.locator(".tile")).to_have_count(3)
    tab.choose("sort", "change")
    expect(tab.frame.locator("[data-coming]")).to_have_count(0)
    expect(tab.frame.locator(".tile >> nth=0")).to_have_attribute("data-image", "2")
    expect(tab.frame.locator(".tile .number")).to_have_text(["", "change 1", "", "change 0.293", "", "change 0"])
    expect(tab.frame.locator(".tile >> nth=0").locator(".side")).to_have_text(["epoch 1", "epoch 0"])


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ("true:true cat", [0, 2]),
        ("true:true dog", [1]),
        ("predicted:1", [1, 2]),
        ("right", [1]),
        ("wrong", []),
        ("", [0, 1, 2]),
    ],
)
def test_images_are_shown_by_class_and_by_what_turned(open_tab, moves, chosen, shown) -> None:
    """Of the classes that there are, and since the epoch before."""
    tab = open_tab(moves)
    expect(tab.frame.locator(".tile")).to_have_count(3)
    tab.choose("filter", chosen)
    expect(tab.frame.locator(".tile")).to_have_count(len(shown))
    order = tab.frame.locator(".tile").evaluate_all("tiles => tiles.map(tile => Number(tile.dataset.image))")
    assert order == shown
    assert "predicted owl" not in tab.frame.locator("#filter option").all_inner_texts()


def test_a_map_of_another_class_than_the_predicted_is_told(open_tab, moves) -> None:
    """And what its colours mean."""
    tab = open_tab(moves)
    expect(tab.frame.locator(".tile[data-image='0']")).to_contain_text("heat of owl")
    expect(tab.frame.locator(".heatkey")).to_contain_text("strongest evidence for owl")


def test_a_held_key_shows_the_images_alone(open_tab, moves) -> None:
    """As long as it is held."""
    tab = open_tab(moves)
    expect(tab.frame.locator(".tile")).to_have_count(3)
    tab.frame.locator(".told, main").first.click(position={"x": 5, "y": 5})
    heat = tab.canvas(0)
    tab.page.keyboard.down("o")
    assert np.abs(tab.canvas(0) - 128).max() <= 1
    tab.page.keyboard.up("o")
    assert (tab.canvas(0) == heat).all()


def test_numbers_and_pictures_can_be_taken_along(open_tab, moves, tmp_path) -> None:
    """As CSV and as PNG, with the words."""
    import csv

    from PIL import Image

    tab = open_tab(moves)
    expect(tab.frame.locator(".tile")).to_have_count(3)
    tab.frame.get_by_text("take along").click()
    with tab.page.expect_download() as saved:
        tab.frame.get_by_text("numbers as CSV").click()
    rows = list(csv.DictReader(Path(saved.value.path()).read_text().splitlines()))
    assert len(rows) == 6
    assert (rows[4]["truth"], rows[4]["epoch"], rows[4]["focus"], rows[4]["wrong"]) == (
        "true dog",
        "1",
        str(np.float32(0.2).astype(float)),
        "0",
    )
    tab.frame.locator(".tile[data-image='1']").locator("button.open").click()
    with tab.page.expect_download() as saved:
        tab.frame.get_by_label("save as PNG").click()
    with Image.open(saved.value.path()) as picture:
        assert picture.format == "PNG"
        assert picture.width == 2 * (2 * 382 + 3 * 10)  # the image and its heat, twice as large: for paper


def test_a_click_on_the_chart_of_an_image_chooses_the_epoch(tab) -> None:
    """Whose frame in the strip is marked, and in sight; the image itself stands beside its heat."""
    tab.frame.locator(".tile[data-image='1']").locator("button.open").click()
    large = tab.frame.locator("dialog")
    paper = large.locator(".chart rect.paper").bounding_box()
    tab.page.mouse.click(paper["x"] + paper["width"] * 0.52, paper["y"] + 20)
    expect(large.locator(".said")).to_contain_text("epoch 2")
    expect(large.locator(".frame[aria-current=true]")).to_have_text("2")
    plain = large.locator(".bigs canvas >> nth=0").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    assert np.abs(np.array(plain).reshape(-1, 4)[:, :3] - 129).max() <= 1
    assert "run first" in large.locator(".said").inner_text()


def test_strength_is_as_in_the_logged_pictures_until_it_is_chosen(open_tab, tmp_path, make_trainer) -> None:
    """With `scale="run"` by the run's peaks."""
    loader = DataLoader(make_pairs(), 8)
    make_trainer(GradCAMCallback(images=2, scale="run")).fit(Classifier(), loader, loader)
    with serving(tmp_path) as url:
        tab = open_tab(url)
        expect(tab.frame.locator(".tile")).to_have_count(2)
        expect(tab.frame.locator("#scale")).to_have_value("run")
        tab.choose("scale", "image")
        tab.page.wait_for_function("location.hash.includes('p.gradcam.scale=image')")
        expect(tab.frame.locator("#scale")).to_have_value("image")
