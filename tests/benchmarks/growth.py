"""What grows with the images and the epochs: the checkpoint, memory, the event file, a look, and a whole fit's time.

    python tests/benchmarks/growth.py [growth | fits] [--images 8 64 1000] [--epochs 10 100 1000]

`growth`: a small network on images of 32x32, looked at after each epoch; each pair of numbers is a fit in a process of
its own. Printed are the callback's part of a checkpoint in kB; what it adds to the peak resident memory of the same fit
without it, in MB (Linux); bytes of the event file an epoch; and the median of its looks in forward passes of the
same images, made right before: early in the fit and late.

`fits`: the wall time of whole fits on the processor with the callback over those without, in turn, at 5 and at 50
looks, film and time-lapse included; and what that is of a look, in forward passes of the images and in ms. Of
ResNet-18, or with `--small` of the small network.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchvision
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from lightning_gradcam import GradCAMCallback

SIDE, CLASSES, BATCH = 32, 10, 64
LARGE = 224
MB = 2**20


class Module(LightningModule):
    """A classifier in training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def small() -> nn.Module:
    """A small network with a last map of 8x8."""
    layers: list[nn.Module] = []
    for inside, outside in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, CLASSES))


def crops(count: int) -> Tensor:
    """Crops of a photograph, (N, 3, 32, 32) in 0..1: noise would be no picture for JPEG."""
    photo = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1) / 255
    generator = torch.Generator().manual_seed(0)
    places = [
        [int(torch.randint(side - 128, (), generator=generator)) for side in photo.shape[1:]] for _ in range(count)
    ]
    large = torch.stack([photo[:, top : top + 128, left : left + 128] for top, left in places])
    return F.interpolate(large, (SIDE, SIDE), mode="area")


class Timed(GradCAMCallback):
    """Looks, and the forward passes right before them, in seconds; rare ones, for a forward takes as long as a look."""

    every, looks, forwards = 1, [], []  # this process has one fit

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch % self.every:
            super().on_train_epoch_end(trainer, pl_module)
            return
        self._fit.drain()
        images = self._fit.probe_set.images
        pl_module.eval()
        with torch.no_grad():
            start = time.perf_counter()
            for chunk in images.split(32):
                pl_module(chunk)
            self.forwards.append(time.perf_counter() - start)
        pl_module.train()
        start = time.perf_counter()
        super().on_train_epoch_end(trainer, pl_module)
        self.looks.append(time.perf_counter() - start)


def one_fit(images: int, epochs: int, watched: bool) -> None:
    """Fit in this process, and print what it took as JSON."""
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    labels = torch.arange(images) % CLASSES
    data = TensorDataset(crops(images), labels)
    Timed.every = max(1, epochs // 20)
    callback = Timed(images=images, target=0)
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        logger = TensorBoardLogger(folder, name="", version="run")
        callbacks = [callback] if watched else []
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", logger=logger, callbacks=callbacks, limit_train_batches=1, **quiet
        )
        loader = DataLoader(data, BATCH)
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of making the images, hides the fit's
        trainer.fit(Module(small()), loader, loader)
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        told = {"peak": int(peak) / 1024}
        if watched:
            saved = Path(folder, "state")
            torch.save(callback.state_dict(), saved)
            told["checkpoint"] = saved.stat().st_size / 1000
            told["event"] = sum(one.stat().st_size for one in Path(folder).rglob("events*")) / epochs
            ratios = [look / forward for look, forward in zip(Timed.looks, Timed.forwards, strict=True)]
            half = len(ratios) // 2
            told["early"], told["late"] = statistics.median(ratios[:half]), statistics.median(ratios[half:])
            told["look"] = statistics.median(Timed.looks) * 1000
    print(json.dumps(told))


def measured(*arguments: object) -> dict[str, float]:
    """Run one fit in a process of its own."""
    command = [sys.executable, __file__, "one", *map(str, arguments)]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def growth(images: list[int], epochs: list[int]) -> None:
    """Print a row a pair."""
    print(
        "| images | epochs | checkpoint, kB | memory, MB | event file, kB an epoch | look, forwards early / late | ms |"
    )
    print("|---|---|---|---|---|---|---|")
    for count, length in tqdm([(count, length) for count in images for length in epochs], leave=False):
        plain, found = measured(count, length, False), measured(count, length, True)
        cells = [f"{found['checkpoint']:.1f}", f"{found['peak'] - plain['peak']:.0f}", f"{found['event'] / 1000:.1f}"]
        cells += [f"{found['early']:.2f} / {found['late']:.2f}", f"{found['look']:.0f}"]
        tqdm.write(f"| {count} | {length} | {' | '.join(cells)} |")


class Clock(Callback):
    """Wall time of a fit, without what Lightning does before and after."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.perf_counter()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.seconds = time.perf_counter() - self.start


def whole_fit(make: Callable[[], nn.Module], images: Tensor, looks: int, watched: bool) -> float:
    """The seconds of one fit of a network, of as many epochs as looks, each of a training step."""
    torch.manual_seed(0)
    clock, data = Clock(), TensorDataset(images, torch.arange(len(images)) % CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [clock, *([GradCAMCallback(images=len(images), target=0)] if watched else [])]
        trainer = Trainer(
            max_epochs=looks,
            limit_train_batches=1,
            accelerator="cpu",
            logger=TensorBoardLogger(folder),
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = DataLoader(data, 16)
        trainer.fit(Module(make()), loader, loader)
    return clock.seconds


def fits(make: Callable[[], nn.Module], side: int, counts: list[int], looks: list[int], repeats: int) -> None:
    """Print what looking adds to whole fits of a network at images of a size, in forward passes and in ms a look."""
    print("| images | looks | with / without | forwards a look | ms a look |")
    print("|---|---|---|---|---|")
    for count in counts:
        images = F.interpolate(crops(count), (side, side), mode="bilinear")
        network = make().eval()
        with torch.no_grad():
            times = []
            for _ in range(5):
                start = time.perf_counter()
                for chunk in images.split(32):
                    network(chunk)
                times.append(time.perf_counter() - start)
        forward = statistics.median(times)
        for number in looks:
            pairs = [[whole_fit(make, images, number, watched) for watched in (False, True)] for _ in range(repeats)]
            ratio = statistics.median(watched / plain for plain, watched in pairs)
            added = statistics.median(watched - plain for plain, watched in pairs) / (number + 1)
            tqdm.write(f"| {count} | {number} | {ratio:.2f} | {added / forward:.2f} | {added * 1000:.0f} |")


def main() -> None:
    """Print the tables that were asked for."""
    if sys.argv[1:2] == ["one"]:
        one_fit(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True")
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["growth", "fits"])
    parser.add_argument("--images", type=int, nargs="+")
    parser.add_argument("--epochs", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if "growth" in options.what:
        growth(options.images or [8, 64, 1000], options.epochs or [10, 100, 1000])
    if "fits" in options.what:
        resnet = partial(torchvision.models.resnet18, num_classes=CLASSES)
        network = (small, SIDE) if options.small else (resnet, LARGE)
        fits(*network, options.images or [16, 64], options.epochs or [5, 50], options.repeats)


if __name__ == "__main__":
    main()
