"""One image by several methods in one picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from lightning_gradcam.pictures.page import CARD, Type, draw_legend, heated
from lightning_gradcam.pictures.render import FAINT, INK, PAPER, Floats, Pixels, Sides, cell_size, fitted
from lightning_gradcam.pictures.words import font_of, shortened

_GAP, _HEADER, _LEGEND = 16, 64, 28
_SIDES: Sides = (160, 256)
_LANDSCAPE = 1.5
_LINE = 18
_REASON = 20  # pixels: of what is said in place of heat


@dataclass(frozen=True)
class Beside:
    """One map: the lines under it, the first in bold, the heat, (H, W) in 0..1, and its state."""

    lines: tuple[str, ...]
    heat: Floats
    state: int


def beside(picture: Pixels, caption: str, cells: Sequence[Beside], title: str, subtitle: str) -> Image.Image:
    """Draw an image, and behind it the image by each method.

    Args:
        picture: (H, W, 3).
        caption: of it.
        cells: in the order in which they are drawn.
        title: in bold.
        subtitle: the target and the like.

    Returns:
        An RGB picture.
    """
    shown = fitted(picture, _SIDES)
    width, height = cell_size(shown)
    below, count = _LINE * max(len(cell.lines) for cell in cells), 1 + len(cells)
    across = max(1, round(math.sqrt(count * _LANDSCAPE * (height + below + _GAP) / (width + _GAP))))
    rows = math.ceil(count / across)
    wide, tall = _GAP + across * (width + _GAP), _HEADER + rows * (height + below + _GAP) + _LEGEND
    page = Image.new("RGB", (wide, tall), PAPER)
    draw = ImageDraw.Draw(page)
    _draw_header(draw, page.width, title, subtitle)
    draw_legend(page, Type(min(wide, CARD)), tall - _LEGEND)
    tiles: list[tuple[Image.Image, tuple[str, ...]]] = [(Image.fromarray(shown), (caption,))]
    tiles += [(heated(shown, _sized(cell.heat, shown), cell.state, _REASON), cell.lines) for cell in cells]
    for number, (tile, lines) in enumerate(tiles):
        row, column = divmod(number, across)
        left, top = _GAP + column * (width + _GAP), _HEADER + row * (height + below + _GAP)
        page.paste(tile, (left, top))
        for line, text in enumerate(lines):
            font, ink = font_of(13, bold=line == 0), INK if line != 1 else FAINT
            draw.text((left, top + height + 4 + line * _LINE), shortened(text, font, width), font=font, fill=ink)
    return page


def _draw_header(draw: ImageDraw.ImageDraw, width: int, title: str, subtitle: str) -> None:
    """The title in bold and a line below it, shortened to the page."""
    bold, plain = font_of(17, bold=True), font_of(14)
    draw.text((_GAP, 12), shortened(title, bold, width - 2 * _GAP), font=bold, fill=INK)
    draw.text((_GAP, 36), shortened(subtitle, plain, width - 2 * _GAP), font=plain, fill=FAINT)


def _sized(heat: Floats, picture: Pixels) -> Floats:
    height, width = picture.shape[:2]
    image = Image.fromarray((heat * 255).clip(0, 255).astype("uint8"))
    sized: Floats = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) / 255
    return sized
