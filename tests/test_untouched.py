"""Training with the callback is training without it, bit for bit.

The default run fits a covering part of the grid; `pytest -m grid` fits all of it.
"""

import itertools
import logging
import random
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.training.faults import Faults

from .conftest import CLASSES, Classifier, complaints, make_pairs, small_cnn

logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


pytestmark = pytest.mark.usefixtures("one_thread")


class Case(NamedTuple):
    network: str
    optimizer: str
    accumulate: int
    precision: str
    validation: str
    method: str | None
    frozen: bool

    def __str__(self) -> str:
        return "-".join(map(str, self))


NETWORKS = {
    "cnn": small_cnn,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=CLASSES),
    "vit": lambda: torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32, dropout=0.1, num_classes=CLASSES),
}
VALIDATION = {
    "once": {},
    "twice": {"val_check_interval": 2},  # of five batches: within a window of three accumulated ones
    "every second epoch": {"check_val_every_n_epoch": 2},
    "never": {"limit_val_batches": 0},
}
GRID = [
    Case(*values)
    for values in itertools.product(
        NETWORKS,
        ["sgd", "adamw"],
        [1, 3],
        ["32-true", "bf16-mixed", "bf16-true"],
        VALIDATION,
        [None, "GradCAM"],  # the first at a layer of ours, of a ViT at its first
        [False, True],
    )
]
COVERING = GRID[::27]  # has every pair of two columns' values


class Watched(Classifier):
    """A network, its optimizer, and a diary of all that a callback could disturb."""

    def __init__(self, case: Case) -> None:
        super().__init__(NETWORKS[case.network]())
        self.optimizer_name = case.optimizer
        if case.frozen:  # all but the head
            for parameter in list(self.network.parameters())[:-2]:
                parameter.requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if self.optimizer_name == "sgd":
            return torch.optim.SGD(trained, 0.05, momentum=0.9)
        return torch.optim.AdamW(trained, 0.01)


class Diary(Callback):
    """After every epoch: modes, random state, hooks, gradients, as the next callback would find them."""

    def __init__(self) -> None:
        self.pages: list[object] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.write(pl_module)

    on_train_start = on_train_epoch_end
    on_fit_end = on_train_epoch_end

    def write(self, module: LightningModule) -> None:
        self.pages.append(
            (
                [m.training for m in module.modules()],
                [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in module.modules()],
                [p.requires_grad for p in module.parameters()],
                [None if p.grad is None else p.grad.clone() for p in module.parameters()],
                random.getstate(),
                np.random.get_state()[1].tolist(),
                torch.get_rng_state(),
                torch.cuda.get_rng_state_all(),
                torch.is_grad_enabled(),
            )
        )


class Record(NamedTuple):
    losses: list[float]
    weights: dict[str, Tensor]
    optimizer: dict
    pages: list[object]


def fit(case: Case, folder, *callbacks: Callback, device: str = "cpu", **options: object) -> Record:
    seed_everything(1, verbose=False)
    module, diary = Watched(case), Diary()
    trainer = Trainer(
        max_epochs=2,
        accelerator=device,
        devices=1,
        accumulate_grad_batches=case.accumulate,
        precision=case.precision,
        callbacks=[*callbacks, diary],
        logger=TensorBoardLogger(folder),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{**VALIDATION[case.validation], **options},
    )
    size, batch = (48, 2) if case.network == "resnet18" else (16, 4)  # 1x1 maps: bf16 kernels differ by themselves
    pairs = make_pairs(5 * batch, size=size)
    trainer.fit(module, DataLoader(pairs, batch, shuffle=True), DataLoader(pairs, 10))
    return Record(module.losses, module.state_dict(), trainer.optimizers[0].state_dict(), diary.pages)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Training without the callback, once for all methods."""

    @lru_cache(4)  # a diary of a ResNet is hundreds of MB, and the cases that share one stand together
    def cached(case: Case) -> Record:
        return fit(case, tmp_path_factory.mktemp("plain"))

    return lambda case: cached(case._replace(method=None))


def watching(case: Case) -> GradCAMCallback:
    size = 48 if case.network == "resnet18" else 16
    images = make_pairs(6, size=size, seed=5).tensors if case.validation == "never" else 6
    method = GradCAM if case.method == "GradCAM" else case.method
    return GradCAMCallback(images=images, method=method, batch_size=4, trust=case.accumulate == 3)


def same(left: object, right: object) -> bool:
    """Equal bit for bit, through all containers."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.dtype == right.dtype and torch.equal(left.nan_to_num(), right.nan_to_num())
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def assert_untouched(case: Case, plain: Record, folder) -> None:
    with pytest.MonkeyPatch.context() as patch:
        faults: list[Exception] = []
        patch.setattr(Faults, "__call__", lambda self, fault: faults.append(fault))
        watched = fit(case, folder, watching(case))
    assert faults == []  # it looked, each time
    for name, left, right in zip(Record._fields, plain, watched, strict=True):
        assert same(left, right), f"{name} differ"


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_a_covering_part_of_the_grid_is_equal(case, undisturbed, tmp_path) -> None:
    """Parameters, buffers, optimizer state, every loss, modes, hooks, gradients and random state."""
    assert_untouched(case, undisturbed(case), tmp_path)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("accumulate", [1, 3])  # the latter with trust=True
def test_recording_attention_changes_nothing(precision, accumulate, undisturbed, tmp_path) -> None:
    """Whose softmax is computed between those of the training."""
    case = Case("vit", "adamw", accumulate, precision, "twice", "relevance", False)
    assert_untouched(case, undisturbed(case), tmp_path)


@pytest.mark.grid
@pytest.mark.parametrize("case", [case for case in GRID if case not in COVERING], ids=str)
def test_the_rest_of_the_grid_is_equal(case, undisturbed, tmp_path) -> None:
    """All combinations."""
    assert_untouched(case, undisturbed(case), tmp_path)


def test_the_comparison_can_fail(tmp_path) -> None:
    """A callback that draws one random number is caught."""

    class Careless(Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            torch.rand(1)

    case = COVERING[0]
    plain, disturbed = fit(case, tmp_path), fit(case, tmp_path, Careless())
    assert not same(plain.losses, disturbed.losses)
    assert not same(plain.weights, disturbed.weights)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", [None, "GradCAM", "relevance"])
def test_on_a_gpu(network, precision, method, tmp_path, recwarn) -> None:
    """With deterministic algorithms, also in half precision with loss scaling."""
    if method == "relevance" and network != "vit":
        pytest.skip("has no attention")
    case = Case(network, "adamw", 3, precision, "twice", method, False)
    torch.use_deterministic_algorithms(True)
    try:
        plain = fit(case, tmp_path, device="cuda")
        watched = fit(case, tmp_path, watching(case), device="cuda")
    finally:
        torch.use_deterministic_algorithms(False)
    assert complaints(recwarn) == []
    assert all(same(left, right) for left, right in zip(plain, watched, strict=True))
