"""How long a look lasts on one process and on two, which share the images: each with one thread.

    python tests/benchmarks/ranks.py [--model resnet50] [--images 16] [--size 224] [--repeats 5]

Prints the seconds of each look, and the ratio of the medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import torchvision
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_gradcam import GradCAMCallback


class Network(LightningModule):
    """A classifier of torchvision in training."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network = torchvision.models.get_model(name, weights=None, num_classes=10)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


class Timed(GradCAMCallback):
    """Times what the training thread waits for, the slower rank included."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.strategy.barrier()
        start = time.perf_counter()
        super().on_train_epoch_end(trainer, pl_module)
        trainer.strategy.barrier()
        self.seconds = [*getattr(self, "seconds", []), time.perf_counter() - start]


def fit(options: argparse.Namespace) -> None:
    """Fit on some processes, and leave the seconds of the looks on rank zero."""
    torch.set_num_threads(1)
    images = torch.randn(options.images, 3, options.size, options.size)
    labels = torch.arange(options.images) % 10
    watching = Timed(images=(images, labels))
    loader = DataLoader(TensorDataset(images[:2], labels[:2]), 1)
    trainer = Trainer(
        max_epochs=options.repeats,
        accelerator="cpu",
        devices=options.devices,
        strategy="ddp" if options.devices > 1 else "auto",
        callbacks=[watching],
        logger=TensorBoardLogger(options.folder),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(Network(options.model), loader)
    if trainer.is_global_zero:
        Path(options.folder, f"{options.devices}.json").write_text(json.dumps(watching.seconds))


def main() -> None:
    """Measure both, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--devices", type=int, default=0, help="of the fit that is timed; none measures one and two")
    parser.add_argument("--folder", default="")
    options = parser.parse_args()
    if options.devices:
        fit(options)
        return
    medians = {}
    with tempfile.TemporaryDirectory() as folder:
        for devices in (1, 2):
            subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], f"--devices={devices}", f"--folder={folder}"], check=True
            )
            seconds = json.loads(Path(folder, f"{devices}.json").read_text())
            medians[devices] = statistics.median(seconds)
            print(f"{devices} process{'es' * (devices > 1)}: {' '.join(f'{one:.2f}' for one in seconds)} s a look")
    print(f"two processes take {medians[2] / medians[1]:.2f} of one's time")


if __name__ == "__main__":
    main()
