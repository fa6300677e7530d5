"""A number's mean over maps, and its error over images: an image's targets are no measurements of their own."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


class Clustered(NamedTuple):
    """A mean over all maps that have a number.

    Attributes:
        mean: NaN where no map has it.
        error: its standard error, NaN where fewer than two images have it.
        images: how many have it.
    """

    mean: Doubles
    error: Doubles
    images: NDArray[np.int64]


def clustered(values: Doubles) -> Clustered:
    """Return the mean of a number, (..., N, T), NaN where a map has none, over images and targets: (...) each.

    The error is that of a ratio of sums over images as clusters, sqrt(n / (n - 1) sum (S_i - R C_i)^2) / sum C_i, where
    image i has C_i values of sum S_i, and R is the mean (Cochran, Sampling Techniques, 1977, chapter 9A). Of one target
    it is the deviation by the square root of n.
    """
    known = np.isfinite(values)
    counts, sums = known.sum(-1), np.where(known, values, 0).sum(-1)
    total, images = counts.sum(-1), (counts > 0).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums.sum(-1) / total
        apart = ((sums - mean[..., None] * counts) ** 2).sum(-1)
        error = np.where(images > 1, np.sqrt(images / (images - 1) * apart) / total, np.nan)
    return Clustered(mean, error, images)
