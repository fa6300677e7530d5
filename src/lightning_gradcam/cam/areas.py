"""Maps and masks of other sizes laid over each other, by exact areas also where the sizes do not divide."""

import torch
from torch import Tensor


def resampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the mean over each place of a coarser or finer grid: (..., H, W) to (..., h, w)."""
    return overlaps(size[0], maps.shape[-2]) @ maps.float() @ overlaps(size[1], maps.shape[-1]).T


def overlaps(places: int, pixels: int) -> Tensor:
    """Return how much of each place each pixel covers along a side, (places, pixels); each row sums to 1."""
    starts = torch.arange(places, dtype=torch.float64)[:, None] * pixels / places
    edges = torch.arange(pixels, dtype=torch.float64)
    covered = (starts + pixels / places).minimum(edges + 1) - starts.maximum(edges)
    return (covered.clamp(min=0) * places / pixels).float()
