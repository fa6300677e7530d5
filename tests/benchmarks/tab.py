"""How fast the Attention tab is: 64 images, 500 epochs of 14x14 maps, in headless Chromium on a real TensorBoard.

    python tests/benchmarks/tab.py [--images 64] [--epochs 500] [--side 14] [--minutes 0]

Prints bytes an epoch in the event file; the time from the module's arrival to the overview and to the first picture,
also on a line of 1 MB/s with 50 ms of latency; how many epochs a second are drawn when 50 are asked for; what is drawn
while a wheel is turned through all images; and over some minutes what an idle tab transfers, and what playing adds to
the heap.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from playwright.sync_api import Browser, Frame, Page, sync_playwright
from sklearn.datasets import load_sample_images
from torch.utils.tensorboard import SummaryWriter

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.dashboard.conftest import CHROMIUM, FLAGS
from tests.dashboard.test_plugin import LAYER, serving

from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.logs.events import Events
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.logs.schema import ROOT, grid_tag
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import measure

ARRIVED = """
new Promise((done) => {
  let overview = null;
  const look = () => {
    const canvas = document.querySelector('.tile canvas');
    const arrived = performance.getEntriesByType('resource').find((one) => one.name.endsWith('/index.js'));
    const now = performance.now() - arrived.responseEnd;
    if (overview === null && document.querySelector('.overview polyline')) overview = now;
    if (canvas && canvas.getContext('2d').getImageData(40, 40, 1, 1).data[3] === 255) {
      done([overview, now]);
    } else {
      requestAnimationFrame(look);
    }
  };
  look();
})
"""
EPOCHS_A_SECOND = """
new Promise((done) => {
  document.querySelector('#epoch').value = 0;
  document.querySelector('#epoch').dispatchEvent(new Event('input'));
  document.querySelector('.play').click();
  const seen = new Set(), start = performance.now();
  const count = (now) => {
    seen.add(document.querySelector('output.epoch').textContent);
    if (now - start < 5000) requestAnimationFrame(count);
    else done(seen.size / (now - start) * 1000);
  };
  requestAnimationFrame(count);
})
"""


def write(folder: Path, images: int, epochs: int, side: int) -> float:
    """Write a run of crops of photographs and smooth random maps; return the bytes an epoch."""
    photo = load_sample_images().images[0]
    generator = np.random.default_rng(0)
    pictures = []
    for _ in range(images):
        top, left = generator.integers(photo.shape[0] - 224), generator.integers(photo.shape[1] - 224)
        pictures.append(photo[top : top + 224, left : left + 224].copy())
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder)))
    shown, known = (
        ShownImages(pictures, Task("multiclass", 10), [[0]] * images, "gradcam"),
        [str(image) for image in range(images)],
    )
    log = RunLog(shown, known, Events([sink], Path()), [], ROOT)
    log.log_images(0)
    sink.experiment.flush()
    file = next(folder.glob("events*"))
    before = file.stat().st_size
    history, masks = History(LAYER), torch.ones(images, 1, 224, 224, dtype=torch.bool)
    classes = torch.zeros(images, dtype=torch.long)
    for step in range(epochs):
        maps = torch.rand(images, 1, side, side)
        cams = Cams(maps, torch.ones(images, 1), classes, classes[:, None], LAYER, torch.ones(images, 1))
        history = history.with_look(step, cams)
        log.log_look(history, measure(history.view(cams, masks)), grid_tag(LAYER))
    sink.experiment.close()
    return (file.stat().st_size - before) / epochs


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("images", 64), ("epochs", 500), ("side", 14), ("minutes", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        size = write(Path(folder, "run"), options.images, options.epochs, options.side)
        print(f"{options.images} images, {options.epochs} epochs, side {options.side}: {size:.0f} bytes an epoch")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for loader in ("--load_fast=false", "--load_fast=true"):
            with serving(Path(folder), loader) as url:
                measure_tab(browser, url, loader, options.minutes)
        browser.close()


def measure_tab(browser: Browser, url: str, loader: str, minutes: int) -> None:
    """Print what is measured with one of TensorBoard's loaders."""
    page = browser.new_page(viewport={"width": 1440, "height": 2400})
    visits = {"at once": 0, "again": 0, "at 1 MB/s": 10**6}  # the first also waits for TensorBoard to have read it
    for name, line in visits.items():
        session = page.context.new_cdp_session(page)
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        limits = {"offline": False, "latency": 50 if line else 0, "downloadThroughput": line or -1}
        session.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": line or -1})
        page.goto("about:blank")
        page.goto(f"{url}/#gradcam&p.gradcam.speed=50&p.gradcam.size=112")
        page.wait_for_selector("iframe", timeout=120_000)
        page.wait_for_timeout(300)
        frame = page.frames[1]
        overview, picture = frame.evaluate(ARRIVED)
        print(f"{loader}, {name}: overview after {overview:.0f} ms, first picture after {picture:.0f} ms")
        session.detach()
    page.wait_for_timeout(2000)
    epochs = int(frame.evaluate("document.querySelector('#epoch').max")) + 1
    print(f"{loader}: {epochs} epochs, {frame.evaluate(EPOCHS_A_SECOND):.0f} epochs a second; {scrolled(page, frame)}")
    if minutes:
        received: list[int] = []
        page.on("response", lambda answer: received.append(len(answer.body())))
        page.wait_for_timeout(60_000 * minutes)
        print(f"{loader}: idle for {minutes} minutes, {sum(received)} bytes in {len(received)} answers")
        print(f"{loader}: playing for {minutes} minutes, heap from {grown(page, frame, minutes)} MB")
    page.close()


def scrolled(page: Page, frame: Frame) -> str:
    """Return how a wheel that turns through all images in four seconds is followed."""
    browser, session = page.context.browser, page.context.new_cdp_session(page)
    assert browser
    page.set_viewport_size({"width": 1440, "height": 1000})
    way = frame.evaluate("document.documentElement.scrollHeight - window.innerHeight")
    browser.start_tracing(page=page, categories=["viz"])
    start = time.perf_counter()
    gesture = {"x": 700, "y": 700, "yDistance": -way, "speed": way // 4, "gestureSourceType": "mouse"}
    session.send("Input.synthesizeScrollGesture", {**gesture, "preventFling": True})
    taken = time.perf_counter() - start
    events = json.loads(browser.stop_tracing())["traceEvents"]
    session.detach()
    drawn = [event["ts"] / 1e3 for event in events if event["name"] == "Display::DrawAndSwap" and event["ph"] == "X"]
    pauses = [after - before for before, after in itertools.pairwise(sorted(drawn))]
    return (
        f"scrolled {frame.evaluate('scrollY') / way:.0%} of {way} pixels in {taken:.1f} s, "
        f"{len(drawn) / taken:.0f} frames a second, the longest pause {max(pauses, default=0):.0f} ms"
    )


def grown(page: Page, frame: Frame, minutes: int) -> str:
    """Return the heap before and after playing, each swept."""
    session, sizes = page.context.new_cdp_session(page), []
    for wait in (5, 60 * minutes):
        end = time.monotonic() + wait
        while time.monotonic() < end:
            frame.evaluate(EPOCHS_A_SECOND)
        session.send("HeapProfiler.collectGarbage")
        sizes.append(session.send("Runtime.getHeapUsage")["usedSize"] / 2**20)
    return f"{sizes[0]:.1f} to {sizes[1]:.1f}"


if __name__ == "__main__":
    main()
