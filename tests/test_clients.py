"""What others train with, as they use it, with the callback added and nothing else (pytest -m clients).

Each client is its package's own tasks, networks, transforms or batches, with weights that are not downloaded.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import pytorch_lightning
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_gradcam import GradCAMCallback

from .conftest import Events

pytestmark = pytest.mark.clients
IMAGENET = (0.485, 0.456, 0.406)
HALVES = (0.5, 0.5, 0.5)


class Client(NamedTuple):
    """What is fitted: a module, its data, and whether it is of the package `lightning`."""

    module: Any
    data: dict[str, Any]
    is_lightning: bool = False


class Module(pytorch_lightning.LightningModule):
    """A user's, around a network: cross-entropy of (x, y)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network(images)

    def loss_of(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss_of(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss_of(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)


class Items(Dataset):
    """What a function makes of an index and a generator of its own."""

    def __init__(self, make: Callable[[int, torch.Generator], Any], **held: Any) -> None:
        self.make = make
        vars(self).update(held)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return self.make(index, torch.Generator().manual_seed(index))


def both(data: Dataset, loader: type = DataLoader) -> dict[str, Any]:
    made = loader(data, batch_size=4)
    return {"train_dataloaders": made, "val_dataloaders": made}


def pairs() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.rand(12, 3, 64, 64, generator=generator), torch.arange(12) % 3)


def picture(index: int, side: int = 64) -> np.ndarray:
    made = np.random.default_rng(index).integers(0, 256, (side, side, 3), dtype=np.uint8)
    made[:4] = 0
    return made


def torchgeo_classification(folder: Path) -> Client:
    """EuroSAT's own data module, on files of 13 bands: it normalises on the device, and knows its bands."""
    rasterio = pytest.importorskip("rasterio")
    from torchgeo.datamodules import EuroSATDataModule
    from torchgeo.datasets import EuroSAT
    from torchgeo.trainers import ClassificationTask

    base, names = folder / EuroSAT.base_dir, []
    for name in ("AnnualCrop", "Forest", "River"):
        (base / name).mkdir(parents=True)
        for number in range(4):
            names.append(f"{name}_{number}.jpg")
            bands = np.random.default_rng(number).integers(200, 4000, (13, 64, 64)).astype(np.uint16)
            kind = {"driver": "GTiff", "height": 64, "width": 64, "count": 13, "dtype": "uint16"}
            with rasterio.open(base / name / f"{name}_{number}.tif", "w", **kind) as file:
                file.write(bands)
    for split in ("train", "val", "test"):
        (folder / f"eurosat-{split}.txt").write_text("\n".join(names))
    data = EuroSATDataModule(root=str(folder), batch_size=4, num_workers=0)
    task = ClassificationTask(model="resnet18", in_channels=13, num_classes=3, loss="ce")
    return Client(task, {"datamodule": data}, True)


def torchgeo_segmentation(folder: Path) -> Client:
    trainers = pytest.importorskip("torchgeo.trainers")
    data = Items(
        lambda _, g: {
            "image": torch.rand(4, 64, 64, generator=g),
            "mask": torch.randint(0, 3, (64, 64), generator=g),
        }
    )
    task = trainers.SemanticSegmentationTask(
        model="unet", backbone="resnet18", in_channels=4, task="multiclass", num_classes=3
    )
    return Client(task, both(data), True)


def torchgeo_regression(folder: Path) -> Client:
    trainers = pytest.importorskip("torchgeo.trainers")
    data = Items(lambda _, g: {"image": torch.rand(3, 64, 64, generator=g), "label": torch.rand(1, generator=g) * 10})
    return Client(trainers.RegressionTask(model="resnet18", in_channels=3), both(data), True)


def torchgeo_simclr(folder: Path) -> Client:
    trainers = pytest.importorskip("torchgeo.trainers")
    data = Items(lambda _, g: {"image": torch.rand(3, 64, 64, generator=g)})
    task = trainers.SimCLRTask(model="resnet18", in_channels=3, hidden_dim=32, output_dim=16)
    return Client(task, {"train_dataloaders": DataLoader(data, batch_size=4)}, True)


class OfTransformers(Module):
    def forward(self, **batch: Any) -> Any:
        return self.network(**batch)

    def loss_of(self, batch: Any) -> Tensor:
        return self(**batch).loss


def processed(label: Callable[[int], Any]) -> Dataset:
    from transformers import ViTImageProcessor

    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    read = lambda index: processor(picture(index, 32), return_tensors="pt")["pixel_values"][0]  # noqa: E731
    return Items(lambda index, _: {"pixel_values": read(index), "labels": label(index)}, processor=processor)


def transformers_vit(folder: Path) -> Client:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        id2label={0: "cat", 1: "dog", 2: "cow"},
    )
    model = transformers.ViTForImageClassification(config)
    return Client(OfTransformers(model), both(processed(lambda index: index % 3)))


def transformers_resnet(folder: Path) -> Client:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    model = transformers.ResNetForImageClassification(config)
    return Client(OfTransformers(model), both(processed(lambda index: index % 3)))


def transformers_segformer(folder: Path) -> Client:
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 16, 32],
        depths=[1] * 4,
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        num_labels=3,
    )
    label = lambda index: (torch.arange(32 * 32).reshape(32, 32) + index) // 400  # noqa: E731
    return Client(
        OfTransformers(transformers.SegformerForSemanticSegmentation(config)),
        both(processed(lambda index: label(index).clamp(max=2))),
    )


def smp(folder: Path) -> Client:
    """As its example has it: images of 0..255, normalised within the forward."""
    models = pytest.importorskip("segmentation_models_pytorch")

    class Own(Module):
        def __init__(self) -> None:
            super().__init__(models.Unet("resnet18", encoder_weights=None, classes=1))
            self.register_buffer("mean", torch.tensor(IMAGENET).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
            self.loss_fn = models.losses.DiceLoss(models.losses.BINARY_MODE, from_logits=True)

        def forward(self, image: Tensor) -> Tensor:
            return self.network((image / 255 - self.mean) / self.std)

        def loss_of(self, batch: Any) -> Tensor:
            return self.loss_fn(self(batch["image"]), batch["mask"])

    mask = torch.zeros(1, 64, 64)
    mask[:, 10:40, 10:40] = 1
    make = lambda _, g: {"image": torch.rand(3, 64, 64, generator=g) * 155 + mask * 100, "mask": mask}  # noqa: E731
    return Client(Own(), both(Items(make)))


class OfDicts(Module):
    def __init__(self, network: nn.Module, loss: nn.Module) -> None:
        super().__init__(network)
        self.loss = loss

    def loss_of(self, batch: Any) -> Tensor:
        return self.loss(self(batch["image"]), batch["label"])


def monai_densenet(folder: Path) -> Client:
    pytest.importorskip("monai")
    from monai.data import CacheDataset
    from monai.data import DataLoader as MonaiLoader
    from monai.networks.nets import DenseNet121
    from monai.transforms import Compose, EnsureChannelFirstd, ScaleIntensityd

    items = [{"image": picture(index)[..., 0] * 1.0, "label": index % 3} for index in range(12)]
    ready = Compose([EnsureChannelFirstd("image", channel_dim="no_channel"), ScaleIntensityd("image")])
    network = DenseNet121(spatial_dims=2, in_channels=1, out_channels=3)
    return Client(
        OfDicts(network, nn.CrossEntropyLoss()), both(CacheDataset(items, ready, progress=False), MonaiLoader)
    )


def monai_unet(folder: Path) -> Client:
    pytest.importorskip("monai")
    from monai.data import DataLoader as MonaiLoader
    from monai.data import Dataset as MonaiDataset
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet
    from monai.transforms import ToTensord

    label = (np.indices((1, 64, 64))[1] > 30).astype(np.float32)
    items = [{"image": picture(index)[None, ..., 0].astype(np.float32) / 255, "label": label} for index in range(12)]
    network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(8, 16, 32), strides=(2, 2))
    data = MonaiDataset(items, ToTensord(["image", "label"]))
    return Client(OfDicts(network, DiceCELoss(to_onehot_y=True, softmax=True)), both(data, MonaiLoader))


def anomalib_stfpm(folder: Path) -> Client:
    pytest.importorskip("anomalib")
    from anomalib.data import Folder
    from anomalib.models import Stfpm

    for name, count in (("good", 12), ("bad", 6)):
        (folder / name).mkdir()
        for number in range(count):
            pixels = np.random.default_rng(number).integers(90, 120, (64, 64, 3), dtype=np.uint8)
            if name == "bad":
                pixels[20:30, 20:30] = 255
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    sizes = {"train_batch_size": 4, "eval_batch_size": 4, "num_workers": 0}
    data = Folder(name="parts", root=folder, normal_dir="good", abnormal_dir="bad", **sizes)
    return Client(Stfpm(backbone="resnet18"), {"datamodule": data}, True)


def lightly_simclr(folder: Path) -> Client:
    """Two views in a list, no validation."""
    pytest.importorskip("lightly")
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from torchvision.datasets import FakeData

    class SimCLR(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
            self.projection_head = SimCLRProjectionHead(512, 64, 32)
            self.criterion = NTXentLoss()

        def forward(self, images: Tensor) -> Tensor:
            return self.projection_head(self.network(images).flatten(1))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.criterion(*map(self, batch[0]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.06)

    data = LightlyDataset.from_torch_dataset(FakeData(12, (3, 64, 64), 3, transform=SimCLRTransform(input_size=64)))
    return Client(SimCLR(), {"train_dataloaders": DataLoader(data, batch_size=4)})


def lightly_linear(folder: Path) -> Client:
    benchmarking = pytest.importorskip("lightly.utils.benchmarking")
    from torchvision import transforms
    from torchvision.datasets import FakeData

    ready = transforms.Compose([transforms.ToTensor(), transforms.Normalize(HALVES, HALVES)])
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    module = benchmarking.LinearClassifier(network, batch_size_per_device=4, feature_dim=512, num_classes=3, topk=(1,))
    return Client(module, both(FakeData(12, (3, 64, 64), 3, transform=ready)))


def torch_uncertainty(folder: Path) -> Client:
    routines = pytest.importorskip("torch_uncertainty.routines")
    from torch_uncertainty.models.classification import resnet

    network = resnet(3, 3, arch=18, style="cifar", conv_bias=False)
    recipe = torch.optim.SGD(network.parameters(), 0.01)
    options = {"num_classes": 3, "loss": nn.CrossEntropyLoss(), "optim_recipe": recipe}
    return Client(routines.ClassificationRoutine(network, **options), both(pairs()), True)


def torch_uncertainty_packed(folder: Path) -> Client:
    """Four members in one network, whose rows are four an image."""
    routines = pytest.importorskip("torch_uncertainty.routines")
    from torch_uncertainty.models.classification import packed_resnet
    from torch_uncertainty.transforms import RepeatTarget

    options = {"num_estimators": 4, "alpha": 2, "gamma": 1, "style": "cifar", "conv_bias": False}
    network = packed_resnet(3, 3, arch=18, **options)
    recipe = torch.optim.SGD(network.parameters(), 0.01)
    options = {"num_classes": 3, "loss": nn.CrossEntropyLoss(), "optim_recipe": recipe, "is_ensemble": True}
    routine = routines.ClassificationRoutine(network, format_batch_fn=RepeatTarget(4), **options)
    return Client(routine, both(pairs()), True)


def kornia(folder: Path) -> Client:
    """Augments and normalises in the transfer hook."""
    augmentation = pytest.importorskip("kornia.augmentation")

    class Own(Module):
        def __init__(self) -> None:
            super().__init__(torchvision.models.resnet18(num_classes=3))
            self.augment = augmentation.AugmentationSequential(augmentation.RandomHorizontalFlip(), data_keys=["input"])
            std = torch.tensor([0.229, 0.224, 0.225])
            self.normalize = augmentation.Normalize(mean=torch.tensor(IMAGENET), std=std)

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            images, labels = batch
            return self.normalize(self.augment(images) if self.trainer.training else images), labels

    return Client(Own(), both(pairs()))


def albumentations(folder: Path) -> Client:
    """Image, label and mask, of one pipeline."""
    package = pytest.importorskip("albumentations")
    from albumentations.pytorch import ToTensorV2

    ready = package.Compose([package.Resize(64, 64), package.Normalize(), ToTensorV2()])

    def make(index: int, _: object) -> tuple[Tensor, int, Tensor]:
        image = picture(index, 80)
        made = ready(image=image, mask=(image[..., 0] > 128).astype(np.uint8))
        return made["image"], index % 3, made["mask"]

    return Client(Module(torchvision.models.mobilenet_v3_small(num_classes=3)), both(Items(make, transform=ready)))


class Expected(NamedTuple):
    """What is found by itself."""

    layer: str
    task: str
    mean: Any = None
    colours: Any = None
    warned: str = ""


TABLE = {
    torchgeo_classification: Expected("model.layer4", "multiclass", 1354.4, (3, 2, 1)),
    torchgeo_segmentation: Expected("model.decoder", "segmentation", warned="of the images' 4 channels the first"),
    torchgeo_regression: Expected("model.layer4", "regression"),
    torchgeo_simclr: Expected("backbone.layer4", "none", warned="there is no validation data"),
    transformers_vit: Expected("network.vit.layers.0.layernorm_before", "multiclass", 0.5),
    transformers_resnet: Expected("network.resnet.encoder.stages.1", "multiclass", 0.5),
    transformers_segformer: Expected("network.decode_head.dropout", "segmentation", 0.5),
    smp: Expected("network.decoder", "segmentation"),
    monai_densenet: Expected("network.class_layers.relu", "multiclass"),
    monai_unet: Expected("network.model.1", "segmentation"),
    anomalib_stfpm: Expected("model.anomaly_map_generator", "regression"),
    lightly_simclr: Expected("network.7", "none", warned="there is no validation data"),
    lightly_linear: Expected("model.layer4", "multiclass", 0.5),
    torch_uncertainty: Expected("model.layer4", "multiclass"),
    torch_uncertainty_packed: Expected("model.layer4", "multiclass"),
    kornia: Expected("network.layer4", "multiclass", 0.485),
    albumentations: Expected("network.features", "multiclass", 0.485),
}


@pytest.mark.parametrize("make", TABLE, ids=lambda make: make.__name__)
def test_a_client(make: Callable[[Path], Client], tmp_path: Path, caplog, monkeypatch) -> None:
    """Pictures before and after an epoch, of the layer, the task and the looks that are expected; no other warning."""
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    import timm

    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda *args, **options: create(*args, **{**options, "pretrained": False})
    )
    torch.manual_seed(0)
    (tmp_path / "data").mkdir()
    client, expected = make(tmp_path / "data"), TABLE[make]
    if client.is_lightning:
        import lightning.pytorch as package
    else:
        package = pytorch_lightning
    callback = GradCAMCallback(images=4)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    logger = package.loggers.TensorBoardLogger(tmp_path, name="", version="run")
    options = {"max_epochs": 1, "accelerator": "cpu", "limit_train_batches": 2, "limit_val_batches": 2, **quiet}
    package.Trainer(callbacks=[callback], logger=logger, **options).fit(client.module, **client.data)
    tag = f"gradcam/{expected.layer}"
    assert Events(tmp_path / "run").steps(tag) == [0, 1]
    assert f"task=None: {expected.task}, told from" in caplog.text
    probe_set = callback._memory.probe_set
    assert probe_set.colours == expected.colours
    assert (probe_set.mean or [None])[0] == (expected.mean and pytest.approx(expected.mean, abs=0.01))
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING and "gradcam" in one.name]
    assert len(told) == bool(expected.warned), told
    assert expected.warned in " ".join(told)
    looks = callback._memory.histories[tag].looks
    assert all(np.isfinite(look.scores.numpy()).all() for look in looks)
