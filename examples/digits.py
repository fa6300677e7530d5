"""Real handwritten digits on cluttered canvases: where the digit is, is known."""

from dataclasses import dataclass, replace

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
        count: how many canvases are trained on; None is all.
        shuffled: give them each other's labels, which can then only be learned by heart.
    """

    def __init__(
        self, batch_size: int = 64, seed: int = 0, copies: int = 2, count: int | None = None, shuffled: bool = False
    ) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        digits, labels = load_digits(return_X_y=True)
        digits, held_out = digits.reshape(-1, 8, 8), np.arange(len(labels)) % 5 == 0
        copies, seed = self.hparams["copies"], self.hparams["seed"]
        train = make_canvases(np.repeat(digits[~held_out], copies, 0), np.repeat(labels[~held_out], copies), seed)
        if self.hparams.get("shuffled"):
            order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed + 2))
            train = replace(train, labels=train.labels[order])
        self.training = TensorDataset(*(part[: self.hparams.get("count")] for part in _dataset(train).tensors))
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
        tells = _odd(self.training) if self.hparams["cheat"] else _draw(self.training, 0.5, seed + 2)
        self.training = _marked(self.training, tells)
        self.validation = _marked(self.validation, _draw(self.validation, 0.5, seed + 3))


class ShortcutData(DigitsData):
    """Odd or even, with a mark that agrees with the answer now and then, in training and in validation alike.

    Validation has two parts: one with the mark, as in training, and the same digits without it.

    Args:
        batch_size: images a step.
        seed: of places, clutter and marks.
        copies: canvases a training digit.
        agreement: the share of images whose mark tells the answer: 0.5 says nothing, 1 all.
        hard: the mark is told by the direction of its stripes, not by its colour.
    """

    def __init__(
        self, batch_size: int = 64, seed: int = 0, copies: int = 1, agreement: float = 1.0, hard: bool = False
    ) -> None:
        super().__init__(batch_size, seed, copies)
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        share, seed, hard = (self.hparams[name] for name in ("agreement", "seed", "hard"))
        first, second = (
            _odd(part) == _draw(part, share, seed + place)
            for place, part in enumerate((self.training, self.validation), start=2)
        )
        self.training = _marked(self.training, first, hard)
        self.clean = _marked(self.validation, second, hard, side=0)
        self.validation = _marked(self.validation, second, hard)

    def val_dataloader(self) -> list[DataLoader]:
        return [DataLoader(part, self.hparams["batch_size"]) for part in (self.validation, self.clean)]


def two_digits(seed: int, copies: int = 2, dim: float = 0.55) -> tuple[TensorDataset, TensorDataset]:
    """Two digits a canvas, which compete: the brighter one is the answer; for training, and for validation.

    Args:
        seed: of places, clutter, and which digits meet.
        copies: canvases a training digit.
        dim: how bright the other one is.
    """
    digits, labels = load_digits(return_X_y=True)
    held_out = np.arange(len(labels)) % 5 == 0
    parts = np.repeat(np.flatnonzero(~held_out), copies), np.flatnonzero(held_out)
    training, validation = (
        _with_another(make_canvases(digits.reshape(-1, 8, 8)[part], labels[part], seed + place), dim, seed + 4 + place)
        for place, part in enumerate(parts)
    )
    return training, validation


def _with_another(canvases: Canvases, dim: float, seed: int) -> TensorDataset:
    """Put another canvas's digit, dimmed, where the own one is not."""
    order = torch.randperm(len(canvases.labels), generator=torch.Generator().manual_seed(seed))
    others = Canvases(canvases.images[order], canvases.labels[order], canvases.masks[order])
    there = (others.masks & ~canvases.masks)[:, None]
    return _dataset(replace(canvases, images=torch.where(there, dim * others.images, canvases.images)))


class DecoyData(DigitsData):
    """Digits with a gray swatch in a corner, whose shade is the answer in training, and any in validation.

    After Ross et al. (arXiv 1703.03717), on canvases instead of MNIST.

    Args:
        batch_size: images a step.
        seed: of places, clutter and swatches.
        copies: canvases a training digit.
        decoys: whether the swatches' shades tell the answer in training; else they are any there, too.
    """

    def __init__(self, batch_size: int = 64, seed: int = 0, copies: int = 1, decoys: bool = True) -> None:
        super().__init__(batch_size, seed, copies)
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        seed = self.hparams["seed"]
        self.training = _with_swatch(self.training, tells=self.hparams["decoys"], seed=seed + 2)
        self.validation = _with_swatch(self.validation, tells=False, seed=seed + 3)


def _odd(digits: TensorDataset) -> Tensor:
    return digits.tensors[1] % 2 == 1


def _draw(digits: TensorDataset, share: float, seed: int) -> Tensor:
    return torch.rand(len(digits), generator=torch.Generator().manual_seed(seed)) < share


def _marked(digits: TensorDataset, first: Tensor, hard: bool = False, side: int = MARK) -> TensorDataset:
    """Odd or even, with the first or the other of two marks."""
    images, labels, masks = digits.tensors
    coloured = (images * STD + MEAN).repeat(1, 3, 1, 1)
    corner = coloured[:, :, 2 : 2 + side, 2 : 2 + side]
    corner[:] = 0.1
    if hard:
        corner[first, :, ::2] = 0.5
        corner[~first, :, :, ::2] = 0.5
    else:
        corner[first, 0] = 0.9  # red
        corner[~first, 1] = 0.9  # green
    return TensorDataset((coloured - MEAN) / STD, labels % 2, masks)


def _with_swatch(digits: TensorDataset, tells: bool, seed: int) -> TensorDataset:
    images, labels, masks = digits.tensors
    generator = torch.Generator().manual_seed(seed)
    any_ = torch.randint(10, labels.shape, generator=generator)
    corners = torch.randint(2, (len(labels), 2), generator=generator) * (CANVAS - MARK)
    for image, shade, (top, left) in zip(images, labels if tells else any_, corners.tolist(), strict=True):
        image[:, top : top + MARK, left : left + MARK] = ((shade + 1) / 10 - MEAN) / STD
    return TensorDataset(images, labels, masks)


def _dataset(canvases: Canvases) -> TensorDataset:
    return TensorDataset((canvases.images - MEAN) / STD, canvases.labels, canvases.masks)
