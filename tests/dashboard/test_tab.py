"""The Attention tab in a real Chromium, on a real TensorBoard."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright
from torch.utils.data import DataLoader

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.logs.schema import MAPS as PART
from lightning_gradcam.logs.sinks import write_data

from ..conftest import Classifier, make_pairs
from .test_plugin import MAPS, serving, write_run

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium of this machine; where there is none, that is told, and in CI a failure."""
    if not CHROMIUM:
        told = "the tab's tests need a Chromium on the PATH (Debian: apt-get install chromium)"
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Tab:
    """A page on the Attention tab."""

    def __init__(self, page: Page, url: str, address: str = "") -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.goto(f"{url}/{address or '#gradcam'}")
        self.frame: FrameLocator = page.frame_locator("iframe")

    def canvas(self, tile: int = 0, column: int = 0) -> np.ndarray:
        """A canvas's pixels, (H, W, 3)."""
        found = self.frame.locator(f".tile >> nth={tile}").locator(f"canvas >> nth={column}")
        data, width, height = found.evaluate(
            "c => [[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data], c.width, c.height]"
        )
        return np.array(data).reshape(height, width, 4)[..., :3]

    def hottest(self, tile: int = 0, side: int = 4) -> tuple[int, int]:
        """The place of a side x side map where the canvas is reddest."""
        pixels = self.canvas(tile)
        red = pixels[..., 0] - pixels[..., 2]
        y, x = np.unravel_index(red.argmax(), red.shape)
        return int(y * side / len(red)), int(x * side / len(red))

    def slide(self, name: str, value: int) -> None:
        self.frame.locator(f"#{name}").evaluate(f"e => {{ e.value = {value}; e.dispatchEvent(new Event('input')) }}")

    def choose(self, name: str, value: str) -> None:
        self.frame.locator(f"#{name}").select_option(value)


@pytest.fixture
def open_tab(browser) -> Iterator:
    pages = []

    def open_(url: str, address: str = "") -> Tab:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        pages.append(page)
        tab = Tab(page, url, address)
        tabs.append(tab)
        return tab

    tabs: list[Tab] = []
    yield open_
    for page in pages:
        page.close()
    assert [fault for tab in tabs for fault in tab.faults] == []


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """Two runs of the same images, one of five epochs and one of nine."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "first", 5, names=[f"class{i}" for i in range(10)])
    write_run(folder / "second", 9, shade=60)
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
    assert tab.frame.locator("#epoch").get_attribute("max") == "4"
    for step in (1, 2, 3, 4, 0):
        tab.slide("epoch", step)
        for image in range(3):
            assert tab.hottest(image) == divmod((step + image) % 16, 4)
    expect(tab.frame.locator(".tile >> nth=1")).to_contain_text("✗ predicted class9 50%")
    tab.slide("epoch", 3)
    expect(tab.frame.locator(".tile >> nth=1")).to_contain_text("true class1")
    expect(tab.frame.locator(".tile >> nth=1")).to_contain_text("predicted class1 50%")


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


def test_two_epochs_and_two_runs_side_by_side(tab) -> None:
    """The same image in both."""
    tab.choose("compare", "epoch")
    expect(tab.frame.locator(".tile >> nth=0").locator("canvas")).to_have_count(2)
    tab.slide("second", 4)
    tab.slide("epoch", 4)
    assert (tab.canvas(0, 0) == tab.canvas(0, 1)).all()
    tab.slide("epoch", 1)
    assert (tab.canvas(0, 0) != tab.canvas(0, 1)).any()
    tab.choose("compare", "run")
    tab.choose("run2", "second")
    tab.slide("opacity", 0)
    expect(tab.frame.locator(".tile >> nth=0").locator("canvas")).to_have_count(2)
    tab.page.wait_for_timeout(500)
    assert np.abs(tab.canvas(0, 0) - 128).max() <= 1
    assert np.abs(tab.canvas(0, 1) - 60).max() <= 1


def test_only_mistakes_and_sorting(tab) -> None:
    """All are wrong before epoch 2 and none after."""
    tab.frame.get_by_label("only mistakes").check()
    expect(tab.frame.locator(".tile:visible")).to_have_count(0)
    tab.slide("epoch", 1)
    expect(tab.frame.locator(".tile:visible")).to_have_count(3)
    tab.choose("sort", "drift")
    orders = [tab.frame.locator(f".tile >> nth={i}").evaluate("e => e.style.order") for i in range(3)]
    assert sorted(orders) == ["0", "1", "2"]


def test_a_click_shows_one_image_large_over_all_epochs(tab) -> None:
    """With a strip, a chart and its numbers; Escape closes it."""
    tab.frame.locator(".tile >> nth=1").locator("button").click()
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
    tab.frame.locator(".tile >> nth=2").locator("button").click()
    address = tab.page.evaluate("location.hash")
    other = open_tab(url, address)
    expect(other.frame.locator("dialog")).to_contain_text("image 3")
    expect(other.frame.locator("output.epoch >> nth=0")).to_have_text("2 of 4")
    assert other.frame.locator("#opacity").input_value() == "30"
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
    address = "#gradcam&p.gradcam.size=99999&p.gradcam.colour=nocolour&p.gradcam.step=77&p.gradcam.compare=moon"
    tab = open_tab(url, address + "&p.gradcam.run=nowhere&p.gradcam.target=-3&p.gradcam.large=12&p.gradcam.opacity=x")
    expect(tab.frame.locator(".tile")).to_have_count(3)
    assert tab.canvas(0).shape == (384, 384, 3)


def test_hostile_names_are_text(open_tab, tmp_path) -> None:
    """Of classes and runs."""
    write_run(tmp_path / "<img onerror=top.hacked=1>'\"", 3, names=HOSTILE)
    with serving(tmp_path) as url:
        tab = open_tab(url)
        expect(tab.frame.locator(".tile")).to_have_count(3)
        expect(tab.frame.locator(".tile >> nth=0")).to_contain_text(f"true {HOSTILE[0]}")
        expect(tab.frame.locator(".tile >> nth=1")).to_contain_text(f"predicted {HOSTILE[1]}")
        tab.frame.locator(".tile >> nth=0").locator("button").click()
        assert tab.frame.locator("#run").input_value() == "<img onerror=top.hacked=1>'\""
        assert tab.page.evaluate("window.hacked") is None
        assert tab.frame.locator("img, main script, header script, dialog script").count() == 0


def test_broken_records_are_told_with_the_run(open_tab, tmp_path) -> None:
    """And the rest is shown."""
    from types import SimpleNamespace

    from torch.utils.tensorboard import SummaryWriter

    write_run(tmp_path / "scratched", 3)
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which begin with the second
    sink = SimpleNamespace(experiment=SummaryWriter(str(tmp_path / "scratched")))
    write_data([sink], MAPS, [b"garbage"], step=50)
    sink.experiment.close()
    lost = SimpleNamespace(experiment=SummaryWriter(str(tmp_path / "lost")))
    write_data([lost], f"gradcam/other/{PART}", [b"garbage"], step=0)
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
    address = tab.page.evaluate("location.hash")
    assert address.startswith("#gradcam&")
    assert "p.gradcam.step=1" in address


def test_the_pictures_are_there_in_the_built_wheel(tmp_path) -> None:
    """The static files travel with the package."""
    import subprocess
    import sys
    import zipfile

    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(root)]
    subprocess.run(command, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {f"lightning_gradcam/dashboard/static/{name}" for name in ("index.js", "style.css")} <= set(names)
