"""Where the thing is: masks, or boxes, as a batch holds them."""

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from lightning_gradcam.cam.maps import size_of
from lightning_gradcam.errors import SettingError
from lightning_gradcam.training.batches import Keys


def to_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Make masks of what a batch holds, (N, H, W) bool.

    Args:
        masks: (N, H, W) or (N, 1, H, W), bool or whole numbers: inside is what is not 0; or boxes (N, 4), x0, y0, x1,
            y1 in pixels, or in shares of the sides.
        size: (H, W) of the images.

    Raises:
        SettingError: other sizes or values.
    """
    whole = not masks.is_floating_point() or bool(((masks == 0) | (masks == 1)).all())
    if masks.dim() == 2 and masks.shape[1] == 4:
        return _boxes_to_masks(masks, size)
    if masks.dim() == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.shape[1:] != size or not whole:
        raise SettingError(
            f"mask_key: the batch has {tuple(masks.shape)} of {masks.dtype}; accepted are masks (N, {size[0]}, "
            f"{size[1]}) as large as the images, bool or integers, or boxes (N, 4), x0, y0, x1, y1 in pixels"
        )
    return masks.bool()


def _boxes_to_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    if boxes.is_floating_point() and bool((boxes <= 1).all()):  # shares of the sides
        boxes = boxes * boxes.new_tensor([width, height, width, height])
    x0, y0, x1, y1 = boxes.float().T[..., None]
    fits = (x0 <= x1) & (y0 <= y1) & (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height)  # an empty one is no thing
    if not bool(fits.all()):
        raise SettingError(
            f"mask_key: boxes are x0 < x1, y0 < y1 in pixels of the images, {height}x{width}; given was "
            f"{boxes[~fits[:, 0]][0].tolist()}"
        )
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    inside: Tensor = ((rows > y0) & (rows < y1))[:, :, None] & ((columns > x0) & (columns < x1))[:, None, :]
    return inside


def masks_of(found: Tensor | None, images: Tensor, keys: Keys) -> Tensor | None:
    """Return the masks; None where nobody said that what lies in a mask's usual place is one, and it is none."""
    if found is None or (found.dim() < 2 and keys.mask is None):  # what is in their place, but none
        return None
    try:
        return to_masks(found, size_of(images))
    except SettingError as error:
        if keys.mask is not None:
            raise
        rank_zero_info(f"no in_mask, lift and pointing: what lies where masks do is none ({error})")
        return None
