"""Images and labels that are handed over, as a model gets them."""

import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from lightning_gradcam.cam.settings import check_tensor
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.pictures.appearance import Appearance, Channels

logger = logging.getLogger(__name__)

_GRAY = (
    "the model's first convolution takes one channel: pictures are given to it as gray; channels=(0, 1, 2) gives red, "
    "green and blue"
)
_GRAYS = ("1", "L", "LA", "F")  # Pillow's modes without colours, beside those of whole numbers, "I" and "I;16"
_BYTE, _WORD = 255, 65535  # what white is in 8 and in 16 bits

Picture = str | PathLike[str] | Image.Image | np.ndarray[Any, Any]
Size = int | tuple[int, int]


def prepared(
    images: Tensor | Sequence[Picture], size: Size | None, appearance: Appearance, takes_gray: bool = False
) -> tuple[Tensor, Tensor, Appearance]:
    """Return what the model gets, what is shown, and how that is to be shown.

    Args:
        images: pictures, each scaled to 0..1, resized and normalised; or a tensor (N, C, H, W), taken as it is.
        size: of pictures, or None.
        appearance: how they are normalised, and the order of their channels.
        takes_gray: whether files and PIL images become gray where no order is given.

    Raises:
        SettingError: an image that cannot be read, of another size or range; the sentence names it.
        TypeError: none of the accepted kinds.
    """
    if isinstance(images, Tensor):
        check_tensor(images)
        if size is not None:
            raise SettingError(
                f"size={quoted(size)} is for pictures; a tensor is taken as it is, so pass it at its size"
            )
        ready = images.detach().clone()  # a clone: what was made in inference mode cannot be differentiated
        return ready, ready, appearance
    order, (mean, std) = appearance.channels, _of_pictures(appearance)
    opened = [_opened(picture, f"images[{place}]") for place, picture in enumerate(_checked_list(images))]
    if order is None and takes_gray:
        order = 0
        if any(isinstance(picture, Image.Image) and not _is_gray(picture) for picture in opened):
            logger.warning(_GRAY)
    white = _white(opened)
    pictures = _stack([_load(picture, place, order, white) for place, picture in enumerate(opened)], size)
    appearance.check_fits(pictures.shape[1])
    return (pictures - mean) / std, pictures, Appearance(0.0, 1.0, order)


def _of_pictures(appearance: Appearance) -> tuple[Tensor, Tensor]:
    """What is to be subtracted from pictures, which are in 0..1, and divided by."""
    mean, std = appearance.mean, appearance.std
    if mean is None or std is None:
        return torch.zeros(()), torch.ones(())
    if max(np.max(mean), np.max(std)) > 1:
        raise SettingError(
            f"mean={quoted(mean)} and std={quoted(std)} are of images of 0..255; pictures are scaled to 0..1: accepted "
            "are a 255th of these"
        )
    shift, scale = (torch.as_tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1) for values in (mean, std))
    return shift, scale


def _checked_list(images: object) -> Sequence[Picture]:
    if isinstance(images, (str, PathLike, Image.Image, np.ndarray)) or not isinstance(images, Sequence):
        raise TypeError(
            f"images is a {type(images).__name__}; accepted are a list of paths, PIL images or arrays (H, W, C), or a "
            "tensor (N, C, H, W)"
        )
    if not images:
        raise SettingError("images is empty; accepted is one image or more")
    return images


def _opened(picture: Picture, name: str) -> Picture:
    """What a file holds; all else is as it was."""
    if not isinstance(picture, (str, PathLike)):
        return picture
    try:
        with Image.open(Path(picture)) as file:
            held: Image.Image = file.copy()
            return held
    except (OSError, UnidentifiedImageError) as error:
        raise SettingError(f"{name}={str(picture)!r} cannot be read as an image: {error}") from error


def _is_gray(picture: Image.Image) -> bool:
    return picture.mode in _GRAYS or picture.mode.startswith("I")


def _white(pictures: Sequence[Picture]) -> int:
    """What is white in the images of whole numbers that may have more than 8 bits: one number for all of them.

    Mode "I" has 32 bits, whatever was put into them, and is read of files of 16 bits too.
    """
    deep = [one for one in pictures if isinstance(one, Image.Image) and one.mode.startswith("I")]
    if not deep or any(one.mode != "I" or np.asarray(one).max(initial=0) > _BYTE for one in deep):
        return _WORD
    logger.warning(
        "%d images of Pillow's mode 'I' hold no number above %d: they are taken to be of 8 bits; of 16 bits pass "
        "image.convert('I;16')",
        *(len(deep), _BYTE),
    )
    return _BYTE


def _load(picture: Picture, place: int, order: Channels | None, white: int) -> Tensor:
    """One picture as (C, H, W) in 0..1; files and PIL images as the model has RGB or gray, arrays as they are."""
    name = f"images[{place}]"
    if isinstance(picture, Image.Image):
        pixels = _pixels(picture, order in (0, (0,), [0]), name, white)
        picture = pixels if pixels.ndim == 2 else _ordered(pixels, order, name)
    return _from_array(picture, name)


def _from_array(picture: object, name: str) -> Tensor:
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"{name} is a {type(picture).__name__}; accepted are paths, PIL images and arrays (H, W, C)")
    if picture.ndim not in (2, 3) or not picture.size:
        raise SettingError(f"{name} is an array {picture.shape}; accepted is (H, W, C) or (H, W)")
    pixels = torch.from_numpy(np.atleast_3d(picture).copy()).permute(2, 0, 1)
    if picture.dtype == np.uint8:
        return pixels.float() / 255
    if picture.dtype.kind != "f":
        raise SettingError(f"{name} holds {picture.dtype}; accepted are uint8, and floats in 0..1")
    if not bool(((pixels >= 0) & (pixels <= 1)).all()):
        low, high = float(pixels.min()), float(pixels.max())
        raise SettingError(f"{name} holds floats from {low:.3g} to {high:.3g}; accepted are 0..1, or uint8")
    return pixels.float()


def _ordered(pixels: np.ndarray[Any, Any], order: Channels | None, name: str) -> np.ndarray[Any, Any]:
    """Red, green and blue, (H, W, 3), at the channels at which the model has them."""
    if order is None or isinstance(order, int) or len(order) == 1:
        return pixels
    if sorted(order) != [0, 1, 2]:
        raise SettingError(
            f"channels={quoted(order)}: {name} has red, green and blue alone; accepted with it is an order of 0, 1, 2"
        )
    return pixels[..., np.argsort(order)]


def _pixels(picture: Image.Image, as_gray: bool, name: str, white: int) -> np.ndarray[Any, Any]:
    """(H, W) of gray, else (H, W, 3); 8 bits, or floats where Pillow would cut off what is beyond them."""
    if picture.mode != "F" and not picture.mode.startswith("I"):
        return np.asarray(picture.convert("L" if as_gray else "RGB"))
    gray: np.ndarray[Any, Any] = np.asarray(picture, np.float32)
    if picture.mode != "F":
        low, high = gray.min(initial=0), gray.max(initial=0)
        if low < 0 or high > _WORD:
            raise SettingError(f"{name} holds whole numbers from {low:.0f} to {high:.0f}; accepted are 0..{_WORD}")
        gray = gray / white
    return gray if as_gray else gray[..., None].repeat(3, axis=2)


def _stack(pictures: list[Tensor], size: Size | None) -> Tensor:
    for place, picture in enumerate(pictures):
        if len(picture) != len(pictures[0]):
            raise SettingError(f"images[{place}] has {len(picture)} channels, images[0] has {len(pictures[0])}")
        if size is None and picture.shape != pictures[0].shape:
            sizes = " and ".join(f"{p.shape[1]}x{p.shape[2]}" for p in (pictures[0], picture))
            raise SettingError(
                f"size=None, but images[0] and images[{place}] differ: {sizes}; pass size=(height, width)"
            )
    if size is None:
        return torch.stack(pictures)
    sides = _checked_size(size)
    resized = [F.interpolate(p[None], sides, mode="bilinear", antialias=True, align_corners=False) for p in pictures]
    return torch.cat(resized).clamp(0, 1)


def _checked_size(size: Size) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, (tuple, list)) else ()
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise SettingError(f"size={quoted(size)}; accepted is (height, width) or one number for both, in pixels")
    return sides[0], sides[1]


def checked_labels(labels: Tensor | Sequence[int] | None, count: int) -> Tensor | None:
    """Return labels, a row an image, as a tensor on the CPU.

    Raises:
        SettingError: of another number of images, or no numbers.
    """
    if labels is None:
        return None
    try:
        known = torch.as_tensor(labels).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:  # as torch tells None, words, and rows of several lengths
        told = " ".join(str(error).split())
        raise SettingError(
            f"labels={quoted(labels)}: {told}; accepted are numbers, a label an image, or a tensor (N, ...)"
        ) from error
    if known.dim() == 0 or len(known) != count:
        raise SettingError(
            f"labels has the shape {tuple(known.shape)} for {count} images; accepted is a label an image"
        )
    return known
