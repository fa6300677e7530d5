"""Maps and images to pictures: one labelled grid of all probe images."""

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
SMALLEST, LARGEST = 160, 256  # of a picture's longer side: captions stay legible, grids stay small
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
        picture: (H, W, 3) uint8.
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
    if isinstance(truth, float):
        return Caption(f"true {truth:.3g} · predicted {score:.3g}")
    predicted = f"predicted {name_of(prediction, class_names)}"
    if math.isfinite(score):
        predicted += f" ({score:.0%})"
    if not truth:
        return Caption(predicted)
    named = ", ".join(name_of(one, class_names) for one in truth)
    return Caption(f"true {named} · {predicted}", wrong=prediction not in truth)


def name_of(category: int, class_names: Sequence[str] | None) -> str:
    """Return a class's name, or its number where it has none."""
    return class_names[category] if class_names and 0 <= category < len(class_names) else str(category)


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
    heat = np.nan_to_num(heatmap).clip(0, 1)
    colours = _colours()[(heat * 255).round().astype(np.uint8)]
    weight = (0.25 + 0.4 * heat)[..., None]
    blended: Pixels = ((1 - weight) * picture + weight * colours).round().astype(np.uint8)
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
    width, height = _cell_size(tiles[0].picture)
    overlays = len(tiles[0].heatmaps)
    tile_width = (1 + overlays) * width
    tile_height = height + LINE * (2 if columns else 1)
    across = min(len(tiles), max(1, round(math.sqrt(len(tiles) * 1.5 * (tile_height + GAP) / (tile_width + GAP)))))
    down = math.ceil(len(tiles) / across)
    page_width = GAP + across * (tile_width + GAP)
    page = Image.new("RGB", (page_width, HEADER + down * (tile_height + GAP)), PAPER)
    _draw_header(ImageDraw.Draw(page), page_width, title, subtitle)
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


def _cell_size(picture: Pixels) -> tuple[int, int]:
    width, height = _enlarged_size(picture)
    return math.ceil(width / BLOCK) * BLOCK, math.ceil(height / BLOCK) * BLOCK


def _enlarged_size(picture: Pixels) -> tuple[int, int]:
    height, width = picture.shape[:2]
    longer = max(height, width)
    factor = math.ceil(SMALLEST / longer) if longer < SMALLEST else min(1, LARGEST / longer)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _draw_header(draw: ImageDraw.ImageDraw, width: int, title: str, subtitle: str) -> None:
    bold, plain = _font(17, bold=True), _font(14)
    draw.text((GAP, 12), _shortened(title, bold, width - 2 * GAP), font=bold, fill=INK)
    draw.text((GAP, 36), _shortened(subtitle, plain, width - 2 * GAP), font=plain, fill=FAINT)


def _draw_tile(
    page: Image.Image, tile: Tile, corner: tuple[int, int], cell: tuple[int, int], columns: Sequence[str]
) -> None:
    (left, top), (width, height) = corner, cell
    page.paste(_enlarged(tile.picture), (left, top))
    for number, (heatmap, peak) in enumerate(zip(tile.heatmaps, tile.peaks, strict=True), start=1):
        cell_left = left + number * width
        empty = "blank: no evidence" if peak == 0 else "" if np.isfinite(peak) else "not finite"
        page.paste(
            _no_heat(tile.picture, empty) if empty else _enlarged(overlay(tile.picture, heatmap)), (cell_left, top)
        )
        if columns:
            name = _shortened(columns[number - 1], _font(13), width)
            ImageDraw.Draw(page).text((cell_left + 2, top + height + 4), name, font=_font(13), fill=FAINT)
    below = top + height + (LINE if columns else 0)
    _draw_caption(ImageDraw.Draw(page), tile.caption, (left, below), (1 + len(tile.heatmaps)) * width)


def _draw_caption(draw: ImageDraw.ImageDraw, caption: Caption, corner: tuple[int, int], width: int) -> None:
    left, top = corner
    font = _font(14, bold=caption.wrong)
    if caption.wrong:  # told by the colour, and by the sign for those who do not see it
        draw.rectangle((left, top + 1, left + width - 1, top + LINE - 2), fill=(252, 232, 230))
    text = _shortened(f"✗ {caption.text}" if caption.wrong else caption.text, font, width - 8)
    draw.text((left + 4, top + 3), text, font=font, fill=WRONG if caption.wrong else INK)


def _heated(picture: Pixels, heatmap: Floats) -> Image.Image:
    """The overlay at the size it is shown in: the picture's pixels may show, the heat's steps must not."""
    shown = _enlarged(picture)
    heat = Image.fromarray(heatmap.astype(np.float32)).resize(shown.size, Image.Resampling.BILINEAR)
    return Image.fromarray(overlay(np.asarray(shown), np.asarray(heat)))


def _no_heat(picture: Pixels, reason: str) -> Image.Image:
    """The picture, pale and gray, with the reason on it: no colours, for they would be noise."""
    gray = np.repeat(picture.mean(2, keepdims=True) * 0.35 + 150, 3, axis=2).astype(np.uint8)
    cell = _enlarged(gray)
    draw = ImageDraw.Draw(cell)
    font = _font(13, bold=True)
    text = _shortened(reason, font, cell.width - 4)
    draw.text((cell.width / 2, cell.height / 2), text, font=font, fill=INK, anchor="mm")
    return cell


def _enlarged(picture: Pixels) -> Image.Image:
    """Enlarge small pictures pixel by pixel, so that nothing is invented; reduce large ones smoothly."""
    size, image = _enlarged_size(picture), Image.fromarray(picture)
    grows = size[0] >= image.width and size[1] >= image.height
    return image.resize(size, Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS)


@cache
def _colours() -> Pixels:
    # Turbo keeps the reading of jet (red is strong) without its false edges.
    table: Pixels = (colormaps["turbo"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return table


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
