"""Small classifiers to watch."""

from collections import OrderedDict

import torch
import torchvision
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer


class Classifier(LightningModule):
    """A classifier trained by cross-entropy with AdamW and a one-cycle learning rate; logs loss and accuracy.

    Args:
        network: images (N, C, H, W) -> logits (N, classes).
        lr: highest learning rate.
    """

    def __init__(self, network: nn.Module, lr: float) -> None:
        super().__init__()
        self.network = network
        self.lr = lr

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._step(batch, ("val", "clean")[dataloader_idx])  # the second: the same without a shortcut

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, weight_decay=0.01)
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _step(self, batch: list[Tensor], stage: str) -> Tensor:
        images, labels = batch[0], batch[1]
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).float().mean()
        means = {"on_step": False, "on_epoch": True, "add_dataloader_idx": False}
        self.log_dict({f"{stage}/loss": loss, f"{stage}/accuracy": accuracy}, **means)
        self.log(f"{stage}_acc", accuracy, prog_bar=True, logger=False, **means)
        return loss


class SmallCNN(Classifier):
    """Four 3x3 convolutions; the last map is 16x16 for 64x64 images.

    Args:
        channels: of the images.
        classes: how many.
        width: channels of the first convolution.
        lr: highest learning rate.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 12, lr: float = 6e-3) -> None:
        features = nn.Sequential(
            _block(channels, width),
            nn.MaxPool2d(2),
            _block(width, 2 * width),
            nn.MaxPool2d(2),
            _block(2 * width, 4 * width),
            _block(4 * width, 4 * width),
        )
        head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))
        super().__init__(nn.Sequential(OrderedDict(features=features, head=head)), lr)


class RightReasons(SmallCNN):
    """Trained to have no gradients outside of the thing: right for the right reasons (Ross et al., arXiv 1703.03717).

    Args:
        channels: of the images.
        classes: how many.
        width: channels of the first convolution.
        lr: highest learning rate.
        penalty: how much the squared gradients of the summed log probabilities count, outside of the thing.
    """

    def __init__(
        self, channels: int = 1, classes: int = 10, width: int = 12, lr: float = 6e-3, penalty: float = 0.03
    ) -> None:
        super().__init__(channels, classes, width, lr)
        self.penalty = penalty

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        images, labels, masks = batch
        images = images.clone().requires_grad_()
        logits = self(images)
        (gradients,) = torch.autograd.grad(logits.log_softmax(1).sum(), images, create_graph=True)
        outside = (gradients * ~masks[:, None]).square().sum((1, 2, 3)).mean()
        self.log("train/outside", outside, on_step=False, on_epoch=True)
        return F.cross_entropy(logits, labels) + self.penalty * outside


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class SmallViT(Classifier):
    """A Vision Transformer with a class token; patches of 8x8 pixels come from a small convolutional stem.

    Args:
        classes: how many.
        size: side of the images, in pixels; gray or RGB.
        dim: of a token.
        depth: blocks.
        heads: of attention.
        lr: highest learning rate.
    """

    def __init__(
        self, classes: int = 10, size: int = 64, dim: int = 64, depth: int = 3, heads: int = 4, lr: float = 6e-4
    ) -> None:
        stem = [ConvStemConfig(width, kernel_size=3, stride=2) for width in (16, 32, 64)]
        network = VisionTransformer(size, 8, depth, heads, dim, 2 * dim, num_classes=classes, conv_stem_configs=stem)
        super().__init__(network, lr)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.expand(-1, 3, -1, -1))


class FineTuned(Classifier):
    """A classifier of torchvision with a new head.

    Args:
        architecture: a ResNet of torchvision.
        classes: how many.
        weights: as torchvision names them ("DEFAULT"), downloaded by it; None starts at random.
        lr: highest learning rate.
    """

    def __init__(
        self, architecture: str = "resnet18", classes: int = 2, weights: str | None = "DEFAULT", lr: float = 1e-3
    ) -> None:
        network = torchvision.models.get_model(architecture, weights=weights)
        network.fc = nn.Linear(network.fc.in_features, classes)
        super().__init__(network, lr)
