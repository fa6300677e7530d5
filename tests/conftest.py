"""Small real models, data and trainers; and what a user would read back from TensorBoard."""

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's matrix products are the same each run with it

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

CLASSES = 3
workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
torch.set_num_threads(max(1, torch.get_num_threads() // workers))  # they share the cores


def small_cnn(channels: int = 3, classes: int = CLASSES) -> nn.Sequential:
    """BatchNorm, dropout and an in-place ReLU right behind the last convolution."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )


class Classifier(LightningModule):
    """Cross-entropy and SGD around any network; finds images and labels in tuples and dicts."""

    def __init__(self, network: nn.Module | None = None, lr: float = 0.05) -> None:
        super().__init__()
        self.network = network if network is not None else small_cnn()
        self.lr = lr
        self.losses: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        images, labels = (batch["image"], batch["label"]) if isinstance(batch, dict) else batch[:2]
        loss = F.cross_entropy(self(images).float(), labels)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: object, batch_idx: int) -> None:
        images, labels = (batch["image"], batch["label"]) if isinstance(batch, dict) else batch[:2]
        self.log("val_loss", F.cross_entropy(self(images).float(), labels))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], self.lr, momentum=0.9)


class DictDataset(Dataset):
    """The same pairs as dicts."""

    def __init__(self, pairs: TensorDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, label = self.pairs[index][:2]
        return {"image": image, "label": label}


def make_pairs(count: int = 24, channels: int = 3, size: int = 16, seed: int = 0) -> TensorDataset:
    """Noise with a bright square whose row tells the class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, channels, size, size, generator=generator) * 0.3
    labels = torch.arange(count) % CLASSES
    for image, label in zip(images, labels, strict=True):
        top = int(label) * size // CLASSES
        image[:, top : top + size // 4, size // 4 : size // 2] += 2
    return TensorDataset(images, labels)


@pytest.fixture
def pairs() -> TensorDataset:
    return make_pairs()


@pytest.fixture
def loader(pairs: TensorDataset) -> DataLoader:
    return DataLoader(pairs, batch_size=8)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """A quiet CPU trainer that logs to TensorBoard under tmp_path."""

    def make(*callbacks: object, **options: object) -> Trainer:
        defaults = {
            "max_epochs": 2,
            "accelerator": "cpu",
            "devices": 1,
            "logger": TensorBoardLogger(tmp_path, name="", version="run"),
            "callbacks": list(callbacks),
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return Trainer(**{**defaults, **options})

    return make


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Two threads' sums are not the same from run to run: a bf16 ResNet differs from itself."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def complaints(recorded: Iterable[warnings.WarningMessage]) -> list[str]:
    """What the callback warned of."""
    return [str(one.message) for one in recorded if "GradCAMCallback" in str(one.message)]


class Events:
    """What TensorBoard reads from a folder."""

    def __init__(self, folder: Path) -> None:
        self._accumulator = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
        self._accumulator.Reload()
        self.tags: list[str] = self._accumulator.Tags()["images"]

    def steps(self, tag: str) -> list[int]:
        return [event.step for event in self._accumulator.Images(tag)]

    def encoded(self, tag: str) -> list[bytes]:
        return [event.encoded_image_string for event in self._accumulator.Images(tag)]

    def pictures(self, tag: str) -> list[np.ndarray]:
        return [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in self.encoded(tag)]


def scalars(folder) -> dict[str, list[float]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Each test draws the same, whichever ran before: a network of eight channels may come out dead."""
    seed_everything(0, verbose=False)


@pytest.fixture
def events(tmp_path: Path) -> Callable[[], Events]:
    return lambda: Events(tmp_path / "run")
