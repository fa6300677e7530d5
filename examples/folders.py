"""Your own folders of images, one a class, with the usual ImageNet preparation."""

from pathlib import Path

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolders(LightningDataModule):
    """Images in `root/train/<class>/*` and `root/val/<class>/*`.

    Args:
        root: the folder that holds `train` and `val`.
        size: side of the square that images are cropped to, in pixels.
        batch_size: images a step.
        num_workers: processes that read images.
    """

    def __init__(self, root: Path, size: int = 224, batch_size: int = 32, num_workers: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        size = self.hparams["size"]
        finish = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
        augment = [transforms.RandomResizedCrop(size, scale=(0.5, 1)), transforms.RandomHorizontalFlip()]
        centre = [transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)]
        root = Path(self.hparams["root"])
        self.training = ImageFolder(str(root / "train"), transforms.Compose([*augment, *finish]))
        self.validation = ImageFolder(str(root / "val"), transforms.Compose([*centre, *finish]))

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.training, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.validation, shuffle=False)

    def _loader(self, dataset: ImageFolder, shuffle: bool) -> DataLoader:
        workers = self.hparams["num_workers"]
        return DataLoader(
            dataset, self.hparams["batch_size"], shuffle, num_workers=workers, persistent_workers=workers > 0
        )
