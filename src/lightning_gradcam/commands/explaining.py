"""`lightning-gradcam explain` and `compare`: what a trained model shows in images of one's own."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from lightning_gradcam.commands import lines
from lightning_gradcam.commands.files import check_free, check_picture, not_there, write_picture
from lightning_gradcam.commands.naming import class_names, fitting, target_of
from lightning_gradcam.commands.networks import Network, failing, find_network
from lightning_gradcam.comparison import Comparison, compare
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.explanation import Explanation, explain
from lightning_gradcam.values import natural

logger = logging.getLogger(__name__)

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
_LOSSY = (".jpg", ".jpeg", ".webp")  # where black is not 0 throughout
_ALIKE = 1.25  # of widths by heights: what differs by less looks alike
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # as Pillow tells it


def explained(args: argparse.Namespace) -> Iterator[str]:
    """Write the grid, and say a line an image."""
    (out, files), names = _checked(args), class_names(args.names)
    pictures = [_picture(file) for file in files]
    network = find_network(args)
    _tell_of_shapes(pictures, network, args)

    def asked(names: Sequence[str] | None) -> Explanation:
        return explain(
            network.model,
            [_cut(picture, network) for picture in pictures],
            args.layer[0] if args.layer and len(args.layer) == 1 else args.layer,
            target=target_of(args.target, names),
            task=args.task,
            method=args.method,
            mean=network.mean,
            std=network.std,
            class_names=names,
            size=network.size,
            trust=args.trust,
        )

    with _of_model(args):
        found = fitting(asked, names, network.categories)
    yield f"layer {found.layer}, method {found.method}"
    yield from (line.rstrip() for line in _table(files, found))
    yield write_picture(out, found.grid())


def compared(args: argparse.Namespace) -> Iterator[str]:
    """Say what each method says at each layer, and write the first image by all of them."""
    (out, files), names = _checked(args), class_names(args.names)
    pictures = [_picture(file) for file in files]
    masks = None if args.masks is None else _masks(args.masks, files)
    network = find_network(args)
    _tell_of_shapes(pictures, network, args)

    def asked(names: Sequence[str] | None) -> Comparison:
        return compare(
            network.model,
            [_cut(picture, network) for picture in pictures],
            layers=args.layers,
            methods=args.methods,
            masks=None if masks is None else _things(masks, network),
            target=target_of(args.target, names),
            task=args.task,
            mean=network.mean,
            std=network.std,
            class_names=names,
            size=network.size,
        )

    with _of_model(args):
        found = fitting(asked, names, network.categories)
    yield from str(found).splitlines()
    yield write_picture(out, found.picture(name=lines.clean(files[0].name)))


def _checked(args: argparse.Namespace) -> tuple[Path, list[Path]]:
    """Where the picture goes, and which images there are: before a model is made."""
    out = check_picture(args.out)
    check_free([out], args.force)
    return out, [file for name in args.images for file in _files("IMAGES", name)]


def _files(what: str, name: str) -> list[Path]:
    """A file, or those of a folder, as people sort them."""
    path = Path(name).expanduser()
    if path.is_file():
        return [path]
    accepted = "a picture, or a folder of " + ", ".join(_ENDINGS)
    if not path.is_dir():
        raise not_there(what, path, accepted)
    there = [*path.iterdir()]
    found = [one for one in there if one.suffix.lower() in _ENDINGS and one.is_file()]
    if folders := sum(one.is_dir() for one in there):
        logger.warning("%s %r: %s in it and not looked into", what, str(path), _are(folders, "folder"))
    if not found:
        raise SettingError(f"{what} {str(path)!r} has no picture in it; accepted is {accepted}")
    return sorted(found, key=lambda one: natural(one.name))


def _are(count: int, what: str) -> str:
    return f"{lines.counted(count, what)} {'is' if count == 1 else 'are'}"


def _tell_of_shapes(pictures: Sequence[Image.Image], network: Network, args: argparse.Namespace) -> None:
    """Say where images are brought to a size of another shape, that nobody asked for."""
    if args.size is not None or network.size is None or network.crop is not None:
        return
    height, width = (network.size, network.size) if isinstance(network.size, int) else network.size
    ratios = [picture.width / picture.height * height / width for picture in pictures]
    if squashed := sum(not 1 / _ALIKE < ratio < _ALIKE for ratio in ratios):
        told = "--size is not given: %s brought to %dx%d, which is another shape than theirs; --size H,W says which"
        logger.warning(told, _are(squashed, "image"), height, width)


def _picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            picture: Image.Image = file.copy()
            return picture
    except _BROKEN as error:
        told = "is no picture" if isinstance(error, UnidentifiedImageError) else f"is broken: {error}"
        raise SettingError(f"image {str(path)!r} {told}; accepted are {', '.join(_ENDINGS)}") from error


def _cut(picture: Image.Image, network: Network, is_mask: bool = False) -> Image.Image:
    """As the weights' own transforms cut it: the middle, of a shorter side that was brought to a size."""
    if network.crop is None:
        return picture
    shorter, sides = network.crop
    how = InterpolationMode.NEAREST if is_mask else network.interpolation
    if picture.mode.startswith("I;16"):  # which Pillow resized by no other than the nearest, once
        picture = Image.fromarray(np.asarray(picture, np.float32) / 65535)
    is_deep = picture.mode in ("F", "I")
    plain = picture if is_mask or is_deep else picture.convert("RGB")
    cut: Image.Image = transforms.center_crop(transforms.resize(plain, [shorter], how), list(sides))
    return _within(cut, picture) if is_deep else cut


def _within(cut: Image.Image, whole: Image.Image) -> Image.Image:
    """No brighter or darker than it was: Pillow lets bicubic resizing of more than 8 bits swing over."""
    pixels, numbers = np.asarray(cut), np.asarray(whole)
    return Image.fromarray(pixels.clip(numbers.min(), numbers.max()))


def _masks(folder: str, images: Sequence[Path]) -> list[Image.Image]:
    """Each image's mask: the picture in the folder that is called as it is, but for the ending."""
    there, found = _files("--masks", folder), []
    for image in images:
        own = [one for one in there if one.stem == image.stem]
        if len(own) != 1:
            told = " and ".join(one.name for one in own) or "no picture"
            raise SettingError(
                f"--masks {quoted(folder)} has {told} for {image.name!r}; accepted is one, as {image.stem + '.png'!r}"
            )
        found.append(_mask(own[0]))
    return found


def _mask(path: Path) -> Image.Image:
    """What is on the thing, white on black."""
    mask = _picture(path)
    deep = mask if mask.mode in ("1", "L", "P", "F") or mask.mode.startswith("I") else mask.convert("L")
    on_thing = np.asarray(deep) > (127 if path.suffix.lower() in _LOSSY else 0)
    return Image.fromarray(on_thing.astype(np.uint8) * 255)


def _things(masks: Sequence[Image.Image], network: Network) -> Tensor:
    """(N, H, W) bool: the masks at their images' size."""
    cut = [torch.from_numpy(np.array(_cut(mask, network, is_mask=True))) for mask in masks]
    size = network.size or tuple(cut[0].shape)
    sides = (size, size) if isinstance(size, int) else size
    resized = [functional.interpolate(one[None, None].float(), sides, mode="nearest")[0, 0] for one in cut]
    return torch.stack(resized) > 0


def _table(files: Sequence[Path], found: Explanation) -> list[str]:
    """A line an image and target."""
    targets = found.targets.reshape(len(files), -1)
    is_other = bool(((targets >= 0) & (targets != found.predictions[:, None])).any())
    head = ["image", "answer", "class", *(["target"] if is_other else [])]
    rows = [[*head, "score", *found.metrics]]
    numbers = {name: values.reshape(targets.shape) for name, values in found.metrics.items()}
    for place, column in product(range(len(files)), range(targets.shape[1])):
        row = [lines.clean(str(files[place])), lines.clean(found.answers[place]), str(int(found.predictions[place]))]
        row += [str(int(targets[place, column]))] if is_other else []
        score = ", ".join(map(lines.number, found.scores[place].reshape(-1).tolist()))
        rows.append([*row, score, *(lines.number(float(one[place, column])) for one in numbers.values())])
    return lines.table(rows, left=len(head))


@contextmanager
def _of_model(args: argparse.Namespace) -> Iterator[None]:
    """What a model that cannot take the images says, in a sentence; what a setting is refused with stays as it is."""
    with failing(f"MODEL {quoted(args.model)} cannot be asked of these images"):
        yield
