"""Labels as numbers: their shape, what marks that there is none, and what their values may be."""

from collections.abc import Sequence

import torch
from torch import Tensor

NO_CLASS = -1  # where a label, or a target, is no class
VOID = (255, -100)  # what data sets and losses mark pixels and images with that have no label; and all below 0

_FEW = 8  # places along a side: less is no map of an image
_NEAR = 16  # values around 0 and 255, where JPEG leaves a mask's


def tidied(labels: Tensor, columns: int, is_dense: bool) -> Tensor:
    """Return labels as scores have their axes.

    Args:
        labels: (N, ...).
        columns: how many scores an image, or a pixel, has.
        is_dense: of pixels: channels last become first, and of three equal planes of a picture there is one. Else what
            has a value a score becomes a row.
    """
    if not is_dense:
        return labels.flatten(1) if labels.dim() > 2 and labels[0].numel() in (1, columns) else labels
    if labels.dim() == 4 and labels.shape[-1] in (1, 3, columns) and labels.shape[1] not in (1, 3, columns):
        labels = labels.movedim(-1, 1)
    if labels.dim() == 4 and labels.shape[1] == 3 and bool((labels == labels[:, :1]).all()):
        numbers = as_numbers(labels)
        is_picture = columns == 3 and (numbers.is_floating_point() or bool((known_of(numbers) >= columns).any()))
        labels = labels if is_picture else labels[:, :1]
    return labels


def as_numbers(labels: Tensor) -> Tensor:
    """Return labels in a type that torch compares: whole numbers as int64, also those of floats, whose NaN is none."""
    if not labels.is_floating_point():
        return labels.long()
    unknown = labels.isnan()
    return (
        torch.where(unknown, NO_CLASS, labels).long() if bool(((labels == labels.round()) | unknown).all()) else labels
    )


def are_maps(labels: Tensor, *sizes: tuple[int, ...]) -> bool:
    """Whether labels are maps of images: of one of the sizes (H, W), or of the last one's aspect ratio."""
    if labels.dim() < 3:
        return False
    h, w = labels.shape[-2:]
    height, width = sizes[-1]
    return (h, w) in sizes or (min(h, w) >= _FEW and abs(h * width - w * height) < max(height, width))


def is_signed(labels: Tensor) -> bool:
    """Whether labels are -1 and 1, as margin losses have them."""
    return is_subset(labels, (-1, 1)) and bool((labels == -1).any()) and bool((labels == 1).any())


def is_subset(labels: Tensor, values: Sequence[int]) -> bool:
    """Whether labels are of some values alone."""
    return bool(torch.isin(labels, torch.tensor(values, dtype=labels.dtype, device=labels.device)).all())


def known_of(labels: Tensor, signed: bool = False) -> Tensor:
    """Return labels, flat, without what marks that there is none."""
    flat = labels.reshape(-1)
    if flat.is_floating_point():
        return flat[flat.isfinite()]
    void = torch.tensor(VOID, device=flat.device)
    return flat[~torch.isin(flat, void) & ((flat >= 0) | signed)]


def are_masks(labels: Tensor) -> bool:
    """Whether maps are of one thing: two values, with void perhaps, or what JPEG makes of 0 and 255."""
    if labels.is_floating_point():
        return bool((((labels >= 0) & (labels <= 1)) | labels.isnan()).all())
    values = torch.unique(labels)
    if is_subset(values, (0, 1, NO_CLASS, *VOID)) or (len(values) == 2 and int(values[0]) == 0):
        return True
    near = ((labels.abs() <= _NEAR) | ((labels - 255).abs() <= _NEAR)).float().mean()
    return int(values[-1]) > 127 and bool(near > 0.9) and int(values[0]) >= 0


def as_masks(labels: Tensor) -> Tensor:
    """Return masks, (N, H, W), or a plane a class, (N, K, H, W): 1 on the thing, 0 beside it, NO_CLASS in the void.

    255 is the thing where there is no 1, and the void beside 0 and 1.
    """
    if labels.is_floating_point():
        return torch.where(labels.isnan(), NO_CLASS, (labels > 0.5).long())
    values = torch.unique(labels).tolist()
    if 1 in values or not set(values) - {0, NO_CLASS, *VOID}:
        thing = 1 if 1 in values or 255 not in values else 255
        return torch.where((labels == thing) | (labels == 0), (labels == thing).long(), NO_CLASS)
    return (labels > (127 if max(values) > 127 else 0)).long()
