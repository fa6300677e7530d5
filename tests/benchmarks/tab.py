"""How fast the Attention tab is: 64 images, 500 epochs of 14x14 maps, in headless Chromium on a real TensorBoard.

    python tests/benchmarks/tab.py [--images 64] [--epochs 500] [--side 14]

Prints bytes an epoch in the event file, the time from the module's arrival to the first picture, and how many epochs a
second are drawn when 50 are asked for.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from playwright.sync_api import sync_playwright
from sklearn.datasets import load_sample_images
from torch.utils.tensorboard import SummaryWriter

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.dashboard.test_plugin import LAYER, serving
from tests.dashboard.test_tab import CHROMIUM, FLAGS

from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.logs.events import Events
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.logs.schema import ROOT, grid_tag
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import measure

FIRST_PICTURE = """
new Promise((done) => {
  const look = () => {
    const canvas = document.querySelector('.tile canvas');
    const arrived = performance.getEntriesByType('resource').find((one) => one.name.endsWith('/index.js'));
    if (canvas && canvas.getContext('2d').getImageData(40, 40, 1, 1).data[3] === 255) {
      done(performance.now() - arrived.responseEnd);
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
    log = RunLog(shown, known, Events([sink], Path()), [], ROOT, by_run=False)
    log.log_images(0)
    sink.experiment.flush()
    file = next(folder.glob("events*"))
    before = file.stat().st_size
    history, masks = History(LAYER), torch.ones(images, 1, 224, 224, dtype=torch.bool)
    classes = torch.zeros(images, dtype=torch.long)
    for step in range(epochs):
        maps = torch.rand(images, 1, side, side)
        cams = Cams(maps, torch.ones(images, 1), classes, classes[:, None], LAYER, torch.ones(images, 1))
        history = History(LAYER, history.looks[-1:]).with_look(step, cams)
        log.log_look(history, measure(history.view(cams, masks)), grid_tag(LAYER))
    sink.experiment.close()
    return (file.stat().st_size - before) / epochs


def main() -> None:
    """Print the three numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("images", 64), ("epochs", 500), ("side", 14)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        size = write(Path(folder, "run"), options.images, options.epochs, options.side)
        print(f"{options.images} images, {options.epochs} epochs, side {options.side}: {size:.0f} bytes an epoch")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for loader in ("--load_fast=false", "--load_fast=true"):
            with serving(Path(folder), loader) as url:
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                for _ in range(2):  # the first visit also waits for TensorBoard to have read the folder
                    page.goto("about:blank")
                    page.goto(f"{url}/#gradcam&p.gradcam.speed=50&p.gradcam.size=112")
                    page.wait_for_selector("iframe")
                    page.wait_for_timeout(300)
                    frame = page.frames[1]
                    first = frame.evaluate(FIRST_PICTURE)
                page.wait_for_timeout(1000)
                speed = frame.evaluate(EPOCHS_A_SECOND)
                epochs = int(frame.evaluate("document.querySelector('#epoch').max")) + 1
                print(f"{loader}: {epochs} epochs, first picture after {first:.0f} ms, {speed:.0f} epochs a second")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
