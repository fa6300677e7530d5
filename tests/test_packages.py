"""Models of packages that people use, with small random configurations: the layer found, the scores, the captions."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torchmetrics
import torchvision
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_gradcam import GradCAMCallback, explain

from .benchmarks.layers import MODELS, SIZES, found
from .conftest import Classifier, complaints, small_cnn
from .test_tasks import said_in

QUICK = ("transformers Segformer", "Unet mit_b0", "transformers UperNet Swin", "transformers ViT")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.grid) for name in MODELS]
)
def test_the_layer_is_the_same_at_each_size_of_the_images(name) -> None:
    """At 256 pixels a map of 64x64 is as long as a stage's tokens are many, and is no attention for that."""
    layers = {side: found(name, side) for side in SIZES}
    assert len({layer.name for layer in layers.values()}) == 1
    assert len({layer.layout.axes for layer in layers.values()}) == 1
    grids = [layer.layout.grid for layer in layers.values()]
    assert grids == sorted(grids)
    assert len(set(grids)) == len(SIZES)


IMAGES = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def squares(side: int = 64) -> Tensor:
    masks = torch.zeros(4, 1, side, side)
    for place in range(4):
        masks[place, :, 8 * place : 8 * place + 24, 8:32] = 1
    return masks


class Segmenter(Classifier):
    """segmentation_models_pytorch as its examples train it: a dict of images and masks (N, 1, H, W), one logit."""

    def __init__(self) -> None:
        super().__init__(smp.Unet("resnet18", encoder_weights=None, classes=1), lr=0.1)
        self.loss = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.loss(self(batch["image"]), batch["mask"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.loss(self(batch["image"]), batch["mask"]))


def collate(items: list) -> dict[str, Tensor]:
    images, masks = zip(*items, strict=True)
    return {"image": torch.stack(images), "mask": torch.stack(masks)}


def test_a_unet_of_smp_is_told_as_a_segmentation(make_trainer, tmp_path, recwarn) -> None:
    """From the masks under their own name; smp's metrics are the oracle of the IoU."""
    loader = DataLoader(TensorDataset(IMAGES, squares()), 2, collate_fn=collate)
    module = Segmenter()
    make_trainer(GradCAMCallback(images=[0, 1, 2, 3]), max_epochs=2).fit(module, loader, loader)
    said = said_in(tmp_path / "run", "gradcam/network.decoder")
    with torch.no_grad():
        logits = module.eval()(IMAGES)
    counts = smp.metrics.get_stats((logits > 0).long(), squares().long(), mode="binary")
    expected = smp.metrics.iou_score(*counts, reduction="none")[:, 0].tolist()
    assert said.answers == [f"foreground: IoU {one:.2f}" for one in expected]
    assert "target: foreground" in said.about
    assert complaints(recwarn) == []


def test_boxes_beside_images_are_no_labels(make_trainer, tmp_path) -> None:
    """Of a dict without labels: as many numbers as there are scores make no values of these."""

    class Boxed(Segmenter):
        def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
            return self(batch["image"]).square().mean()

        def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
            """Nothing: the batch has no mask."""

    module = Boxed()
    module.network, module.loss = small_cnn(classes=4), None
    boxes = torch.tensor([[8.0, 8.0, 32.0, 32.0]]).repeat(4, 1)
    both = lambda items: {"image": torch.stack([one for one, _ in items]), "boxes": torch.stack([b for _, b in items])}  # noqa: E731
    loader = DataLoader(TensorDataset(IMAGES, boxes), 2, collate_fn=both)
    make_trainer(GradCAMCallback(images=4), max_epochs=1).fit(module, loader, loader)
    said = said_in(tmp_path / "run", "gradcam/network.6")
    assert "multiclass" in said.about
    assert said.truths == [""] * 4


def test_a_segformer_of_transformers_is_compared_at_the_masks_size() -> None:
    """Its logits are a quarter as large; torchmetrics is the oracle."""
    model = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 40, 64], decoder_hidden_size=16, num_labels=3
        )
    ).eval()
    labels = torch.randint(0, 3, (4, 64, 64), generator=torch.Generator().manual_seed(1))
    labels[:, :20] = 255
    found = explain(model, IMAGES, labels=labels, target=1)
    with torch.no_grad():
        large = F.interpolate(model(IMAGES).logits.argmax(1)[:, None].float(), (64, 64), mode="nearest")[:, 0].long()
    for image in range(4):
        expected = torchmetrics.functional.jaccard_index(
            large[image], labels[image], "multiclass", num_classes=3, ignore_index=255, average="none"
        )[1]
        assert float(found.scores[image]) == pytest.approx(float(expected), abs=1e-6)
    assert found.layer == "decode_head.dropout"


def test_torchmetrics_of_the_module_settle_what_labels_do_not(make_trainer, tmp_path, caplog) -> None:
    """One-hot labels of a multi-label task, and 0 and 1 of a regression; nothing is left in doubt."""

    class Measured(Classifier):
        def __init__(self, network: nn.Module, metric: nn.Module) -> None:
            super().__init__(network)
            self.metric = metric

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return self(batch[0]).square().mean()

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.metric(self(batch[0]).squeeze(1), batch[1])

    one_hot, ones = F.one_hot(torch.tensor([0, 1, 2, 1]), 3), torch.tensor([0.0, 1, 1, 0])
    for network, metric, labels, kind in (
        (small_cnn(), torchmetrics.classification.MultilabelAccuracy(num_labels=3), one_hot, "multilabel"),
        (small_cnn(), torchmetrics.classification.MulticlassAccuracy(num_classes=3), torch.arange(4) % 3, "multiclass"),
        (small_cnn(classes=1), torchmetrics.MeanAbsoluteError(), ones, "regression"),
        (small_cnn(classes=1), torchmetrics.classification.BinaryAccuracy(), ones, "binary"),
    ):
        loader = DataLoader(TensorDataset(IMAGES[..., :16, :16], labels), 2)
        callback = GradCAMCallback(images=4)
        told: list[str] = []
        seen = callback.on_train_start
        callback.on_train_start = lambda *args, seen=seen, callback=callback, told=told: (  # type: ignore[method-assign]
            seen(*args),
            told.append(callback._fit.plan.task.kind),
        )
        make_trainer(callback, max_epochs=1).fit(Measured(network, metric), loader, loader)
        assert told == [kind]
    assert "the task is taken to be" not in caplog.text


def test_retinanets_rows_of_anchors_are_no_layer() -> None:
    """A level of its feature pyramid is, whose map is as large as the level."""

    def classes(model: nn.Module, images: Tensor) -> Tensor:
        return model.head(list(model.backbone(images).values()))["cls_logits"].amax(1)

    model = torchvision.models.detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4)
    found = explain(model, torch.rand(2, 3, 128, 128), output=classes)
    assert found.layer.startswith("backbone.fpn.")
    assert found.raw.shape[1] == found.raw.shape[2] in (16, 8, 4, 2)
    with pytest.raises(ValueError, match=r"of a detector output=lambda model, images: torch.stack"):
        explain(model, torch.rand(2, 3, 128, 128))
