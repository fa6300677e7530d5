"""Real handwritten digits on cluttered canvases: where the digit is, is known."""

from dataclasses import dataclass

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

CANVAS, DIGIT, MARK = 64, 24, 6
MEAN, STD = 0.16, 0.25


@dataclass(frozen=True)
class Canvases:
    """Images (N, 1, 64, 64) in 0..1, labels (N,) and masks (N, 64, 64) of where the digit is."""

    images: Tensor
    labels: Tensor
    masks: Tensor


def make_canvases(digits: np.ndarray, labels: np.ndarray, seed: int) -> Canvases:
    """Paste each 8x8 digit, enlarged to 24x24, at a random place among pieces of other digits."""
    generator = torch.Generator().manual_seed(seed)
    glyphs = F.interpolate(torch.tensor(digits)[:, None].float() / 16, (DIGIT, DIGIT), mode="bilinear")[:, 0]
    images = torch.zeros(len(glyphs), CANVAS, CANVAS)
    masks = torch.zeros(len(glyphs), CANVAS, CANVAS, dtype=torch.bool)
    for image, mask, glyph in zip(images, masks, glyphs.clamp(0, 1), strict=True):
        _clutter(image, glyphs, generator)
        top, left = torch.randint(CANVAS - DIGIT + 1, (2,), generator=generator).tolist()
        place = (slice(top, top + DIGIT), slice(left, left + DIGIT))
        image[place] = glyph
        mask[place] = True
    noise = 0.08 * torch.rand(images.shape, generator=generator)
    return Canvases((images + noise).clamp(0, 1)[:, None], torch.tensor(labels).long(), masks)


def _clutter(image: Tensor, glyphs: Tensor, generator: torch.Generator, pieces: int = 14, side: int = 7) -> None:
    """Scatter fragments of digits, too small to be read."""
    for _ in range(pieces):
        which = int(torch.randint(len(glyphs), (1,), generator=generator))
        y, x = torch.randint(DIGIT - side + 1, (2,), generator=generator).tolist()
        top, left = torch.randint(CANVAS - side + 1, (2,), generator=generator).tolist()
        image[top : top + side, left : left + side] = 0.8 * glyphs[which, y : y + side, x : x + side].clamp(0, 1)


class DigitsData(LightningDataModule):
    """scikit-learn's 1,797 handwritten digits; every fifth is for validation.

    Args:
        batch_size: images a step.
        seed: of places and clutter.
        copies: canvases a training digit, each with its own place and clutter.
    """

    def __init__(self, batch_size: int = 64, seed: int = 0, copies: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        digits, labels = load_digits(return_X_y=True)
        digits, held_out = digits.reshape(-1, 8, 8), np.arange(len(labels)) % 5 == 0
        copies, seed = self.hparams["copies"], self.hparams["seed"]
        train = make_canvases(np.repeat(digits[~held_out], copies, 0), np.repeat(labels[~held_out], copies), seed)
        self.training = _dataset(train)
        self.validation = _dataset(make_canvases(digits[held_out], labels[held_out], seed + 1))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.training, self.hparams["batch_size"], shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.validation, self.hparams["batch_size"])


class ParityData(DigitsData):
    """Odd or even? And a small red or green mark in the corner, which may give the answer away in training.

    Args:
        batch_size: images a step.
        seed: of places, clutter and marks.
        copies: canvases a training digit.
        cheat: the mark tells odd (red) from even (green) in training; else its colour is random there too, as it
            always is in validation.
    """

    def __init__(self, batch_size: int = 64, seed: int = 0, copies: int = 2, cheat: bool = True) -> None:
        super().__init__(batch_size, seed, copies)
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        seed = self.hparams["seed"]
        self.training = _marked(self.training, tells=self.hparams["cheat"], seed=seed + 2)
        self.validation = _marked(self.validation, tells=False, seed=seed + 3)


def _marked(digits: TensorDataset, tells: bool, seed: int) -> TensorDataset:
    images, labels, masks = digits.tensors
    odd = labels % 2
    red = odd.bool() if tells else torch.rand(len(odd), generator=torch.Generator().manual_seed(seed)) < 0.5
    coloured = (images * STD + MEAN).repeat(1, 3, 1, 1)
    corner = coloured[:, :, 2 : 2 + MARK, 2 : 2 + MARK]
    corner[:] = 0.1
    corner[red, 0] = 0.9
    corner[~red, 1] = 0.9
    return TensorDataset((coloured - MEAN) / STD, odd, masks)


def _dataset(canvases: Canvases) -> TensorDataset:
    return TensorDataset((canvases.images - MEAN) / STD, canvases.labels, canvases.masks)
