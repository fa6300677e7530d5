"""Maps over images, as pictures: one labelled grid of all probe images, and what other pictures are drawn with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lightning_gradcam.errors import SettingError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
Statistics = float | Sequence[float]  # one for all channels, or one a channel

# JPEG codes blocks of 8x8 pixels: on this raster no block holds two cells, so a picture is the same pixels each epoch.
BLOCK = 8
Sides = tuple[int, int]  # the smallest and the largest that a picture's longer side is shown at
GRID_SIDES: Sides = (160, 256)  # captions stay legible, grids stay small
LINE = 24
HEADER = 64
GAP = 16
INK, FAINT, WRONG, PAPER = (33, 33, 33), (112, 112, 112), (197, 34, 31), (255, 255, 255)


@dataclass(frozen=True)
class Caption:
    """What stands under an image: its truth and prediction, and whether the prediction is wrong."""

    text: str
    wrong: bool = False


@dataclass(frozen=True)
class Tile:
    """One image of the probe with its overlays.

    Attributes:
        picture: (H, W, 3) uint8, as large as it is shown.
        heatmaps: (T, H, W) in 0..1.
        peaks: (T,) the maps' raw maxima: 0 and what is not finite is said, not drawn.
        caption: what stands below.
    """

    picture: Pixels
    heatmaps: Floats
    peaks: Floats
    caption: Caption


def to_caption(
    truth: Sequence[int] | float, prediction: int, score: float, class_names: Sequence[str] | None
) -> Caption:
    """Say an image's truth and prediction.

    Args:
        truth: its classes, none where unknown; or a regression's value.
        prediction: the predicted class.
        score: its probability in 0..1; a regression's predicted value.
        class_names: a name for each class; without them the numbers are shown.
    """
    true = to_truth(truth, class_names)
    if isinstance(truth, float):
        return Caption(f"{true} · predicted {score:.3g}")
    predicted = f"predicted {name_of(prediction, class_names)}"
    if math.isfinite(score):
        predicted += f" ({score:.0%})"
    return Caption(f"{true} · {predicted}", wrong=prediction not in truth) if truth else Caption(predicted)


def to_truth(truth: Sequence[int] | float, class_names: Sequence[str] | None) -> str:
    """Say an image's truth; nothing where it is unknown."""
    if isinstance(truth, float):
        return f"true {truth:.3g}"
    return f"true {', '.join(name_of(one, class_names) for one in truth)}" if truth else ""


def name_of(category: int, class_names: Sequence[str] | None) -> str:
    """Return a class's name, or its number where it has none."""
    return class_names[category] if class_names and 0 <= category < len(class_names) else str(category)


def check_names(class_names: object) -> None:
    """Refuse what are no names of classes.

    Raises:
        TypeError: other than a sequence of strings, at least one.
    """
    if class_names is None:
        return
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise TypeError(f"class_names={class_names!r}; accepted is a sequence of names, one a class")
    if not class_names or not all(isinstance(name, str) for name in class_names):
        raise TypeError(f"class_names={class_names!r}; accepted are strings, one a class")


def check_statistics(mean: Statistics | None, std: Statistics | None) -> None:
    """Refuse a mean without a std or the other way round, and what are no finite numbers, std's positive.

    Raises:
        SettingError: naming the argument.
        TypeError: other than numbers.
    """
    if (mean is None) != (std is None):
        raise SettingError(f"mean={mean!r} and std={std!r}: accepted are both or neither")
    for name, values in (("mean", mean), ("std", std)):
        numbers = [] if values is None else [values] if isinstance(values, (int, float)) else values
        if not isinstance(numbers, Sequence) or not all(type(number) in (int, float) for number in numbers):
            raise TypeError(f"{name}={values!r}: accepted is a number, or a number a channel")
        if values is not None and not numbers:
            raise SettingError(f"{name}={values!r} is empty; accepted is a number, or a number a channel")
        if not all(math.isfinite(number) and (name == "mean" or number > 0) for number in numbers):
            raise SettingError(
                f"{name}={values!r}: accepted are finite numbers" + (" above 0" if name == "std" else "")
            )


def check_channels(mean: Statistics | None, std: Statistics | None, channels: int) -> None:
    """Refuse a mean or std of other than one number, or one a channel.

    Raises:
        SettingError: naming the argument.
    """
    for name, values in (("mean", mean), ("std", std)):
        if isinstance(values, Sequence) and len(values) not in (1, channels):
            raise SettingError(f"{name} has {len(values)} numbers; the images have {channels} channels")


def to_pictures(images: Floats | Pixels, mean: Statistics | None, std: Statistics | None) -> list[Pixels]:
    """Images as people see them.

    Args:
        images: (N, C, H, W); one channel is gray, of more than three the first three are shown.
        mean: what was subtracted in normalising, one for all channels or one a channel; None with `std` None
            stretches each image to its own range (whole numbers are pixel values 0..255 and stay).
        std: what was divided by.

    Returns:
        N arrays (H, W, 3).
    """
    channels = images[:, : 1 if images.shape[1] < 3 else 3]
    if mean is not None and std is not None:
        used = [
            np.resize(np.asarray(values, np.float32), images.shape[1])[: channels.shape[1]] for values in (mean, std)
        ]
        shown = channels * used[1][:, None, None] + used[0][:, None, None]
    elif np.issubdtype(images.dtype, np.integer):
        shown = channels / np.float32(255)
    else:
        lowest = channels.min((1, 2, 3), keepdims=True)
        shown = (channels - lowest) / np.maximum(channels.max((1, 2, 3), keepdims=True) - lowest, 1e-12)
    pixels = (np.nan_to_num(shown).clip(0, 1) * 255).round().astype(np.uint8)
    return [np.repeat(p, 3 // len(p), axis=0).transpose(1, 2, 0) for p in pixels]


def overlay(picture: Pixels, heatmap: Floats) -> Pixels:
    """Blend a heatmap, (H, W) in 0..1, over a picture, (H, W, 3): the stronger the heat, the less of the picture."""
    keep, add = _blend()
    level = (np.nan_to_num(heatmap).clip(0, 1) * 255).round().astype(np.uint8)
    blended: Pixels = (picture * keep[level] + add[level]).round().astype(np.uint8)
    return blended


def draw_grid(tiles: Sequence[Tile], title: str, subtitle: str, columns: Sequence[str] = ()) -> Image.Image:
    """Draw every image beside its overlays, in as many columns as make a landscape page.

    Args:
        tiles: one an image, all of one size.
        title: the layer, in bold.
        subtitle: epoch, target and the like.
        columns: with several targets, the name of each; stands under its overlay.

    Returns:
        An RGB picture; sides are multiples of 8.
    """
    width, height = cell_size(tiles[0].picture)
    overlays = len(tiles[0].heatmaps)
    tile_width = (1 + overlays) * width
    tile_height = height + LINE * (2 if columns else 1)
    across = min(len(tiles), max(1, round(math.sqrt(len(tiles) * 1.5 * (tile_height + GAP) / (tile_width + GAP)))))
    down = math.ceil(len(tiles) / across)
    page_width = GAP + across * (tile_width + GAP)
    page = Image.new("RGB", (page_width, HEADER + down * (tile_height + GAP)), PAPER)
    draw_header(ImageDraw.Draw(page), page_width, title, subtitle)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, across)
        corner = (GAP + column * (tile_width + GAP), HEADER + row * (tile_height + GAP))
        _draw_tile(page, tile, corner, (width, height), columns)
    return page


def to_jpeg(picture: Image.Image) -> bytes:
    """Encode as JPEG with full colour resolution: coloured text stays sharp, blocks stay on the raster."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def draw_header(draw: ImageDraw.ImageDraw, width: int, title: str, subtitle: str) -> None:
    """Draw the layer in bold and a line below it, shortened to the page."""
    bold, plain = font_of(17, bold=True), font_of(14)
    draw.text((GAP, 12), shortened(title, bold, width - 2 * GAP), font=bold, fill=INK)
    draw.text((GAP, 36), shortened(subtitle, plain, width - 2 * GAP), font=plain, fill=FAINT)


def _draw_tile(
    page: Image.Image, tile: Tile, corner: tuple[int, int], cell: tuple[int, int], columns: Sequence[str]
) -> None:
    (left, top), (width, height) = corner, cell
    page.paste(Image.fromarray(tile.picture), (left, top))
    for number, (heatmap, peak) in enumerate(zip(tile.heatmaps, tile.peaks, strict=True), start=1):
        cell_left = left + number * width
        page.paste(heated(tile.picture, heatmap, float(peak)), (cell_left, top))
        if columns:
            name = shortened(columns[number - 1], font_of(13), width)
            ImageDraw.Draw(page).text((cell_left + 2, top + height + 4), name, font=font_of(13), fill=FAINT)
    below = top + height + (LINE if columns else 0)
    _draw_caption(ImageDraw.Draw(page), tile.caption, (left, below), (1 + len(tile.heatmaps)) * width)


def _draw_caption(draw: ImageDraw.ImageDraw, caption: Caption, corner: tuple[int, int], width: int) -> None:
    left, top = corner
    font = font_of(14, bold=caption.wrong)
    if caption.wrong:  # told by the colour, and by the sign for those who do not see it
        draw.rectangle((left, top + 1, left + width - 1, top + LINE - 2), fill=(252, 232, 230))
    text = shortened(f"✗ {caption.text}" if caption.wrong else caption.text, font, width - 8)
    draw.text((left + 4, top + 3), text, font=font, fill=WRONG if caption.wrong else INK)


def heated(picture: Pixels, heatmap: Floats, peak: float) -> Image.Image:
    """The picture with its heatmap over it; without colours, which would be noise, where the map shows nothing."""
    if peak == 0:
        return _no_heat(picture, "blank: no evidence")
    return Image.fromarray(overlay(picture, heatmap)) if np.isfinite(peak) else _no_heat(picture, "not finite")


def _no_heat(picture: Pixels, reason: str) -> Image.Image:
    """The picture, pale and gray, with the reason on it."""
    cell = Image.fromarray(np.repeat(picture.mean(2, keepdims=True) * 0.35 + 150, 3, axis=2).astype(np.uint8))
    font = font_of(13, bold=True)
    text = shortened(reason, font, cell.width - 4)
    ImageDraw.Draw(cell).text((cell.width / 2, cell.height / 2), text, font=font, fill=INK, anchor="mm")
    return cell


def shown(picture: Pixels, sides: Sides) -> Pixels:
    """Enlarge a small picture pixel by pixel, so that nothing is invented; reduce a large one smoothly.

    Args:
        picture: (H, W, 3).
        sides: the smallest and the largest that its longer side is shown at, in pixels.
    """
    height, width = picture.shape[:2]
    longer, (smallest, largest) = max(height, width), sides
    factor = math.ceil(smallest / longer) if longer < smallest else min(1, largest / longer)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    resampling = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize(size, resampling))


def cell_size(picture: Pixels) -> tuple[int, int]:
    """Return the width and height that a picture takes on the page."""
    height, width = picture.shape[:2]
    return math.ceil(width / BLOCK) * BLOCK, math.ceil(height / BLOCK) * BLOCK


@cache
def _blend() -> tuple[Floats, Floats]:
    """How much of a picture stays, (256, 1), and what colour is added, (256, 3), at each level of heat."""
    # Turbo keeps the reading of jet (red is strong) without its false edges.
    heat = np.linspace(0, 1, 256, dtype=np.float32)
    weight = (0.25 + 0.4 * heat)[:, None]
    return 1 - weight, weight * np.float32(255) * colormaps["turbo"](heat)[:, :3].astype(np.float32)


@cache
def font_of(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which has most scripts, at a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Return as much of a text as fits in a width."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
