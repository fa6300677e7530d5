"""One look in one picture: a labelled grid of all images and their heatmaps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lightning_gradcam.pictures.looks import Caption, Scene, Sight
from lightning_gradcam.pictures.render import (
    FAINT,
    GAP,
    HEADER,
    HEAT,
    INK,
    LINE,
    PAPER,
    WRONG,
    Floats,
    Pixels,
    Sides,
    cell_size,
    draw_header,
    font_of,
    heated,
    shortened,
)

GRID_SIDES: Sides = (160, 256)  # captions stay legible, grids stay small


@dataclass(frozen=True)
class Tile:
    """One image with its overlays.

    Attributes:
        picture: (H, W, 3) uint8, as large as it is shown.
        heatmaps: (T, H, W) in 0..1.
        states: (T,) the maps' states: what is blank or not finite is said, not drawn.
        caption: what stands below.
    """

    picture: Pixels
    heatmaps: Floats
    states: NDArray[np.uint8]
    caption: Caption


def grid(scene: Scene, sight: Sight, layer: str, when: str = "", highest: Floats | None = None) -> Image.Image:
    """Draw a layer's maps over the images.

    Args:
        scene: the images.
        sight: one look at them.
        layer: its name, for the header.
        when: the epoch, for the header.
        highest: (N, T) peaks that maps are drawn as shares of; without them each is scaled by itself.
    """
    pictures = scene.at(GRID_SIDES)
    heat = sight.heat((pictures[0].shape[0], pictures[0].shape[1]), highest)
    parts = zip(pictures, heat, sight.states, sight.captions, strict=True)
    subtitle = "  ·  ".join(part for part in (when, scene.about, HEAT) if part)
    return draw_grid([Tile(*part) for part in parts], layer, subtitle, scene.columns)


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


def _draw_tile(
    page: Image.Image, tile: Tile, corner: tuple[int, int], cell: tuple[int, int], columns: Sequence[str]
) -> None:
    (left, top), (width, height) = corner, cell
    page.paste(Image.fromarray(tile.picture), (left, top))
    for number, (heatmap, state) in enumerate(zip(tile.heatmaps, tile.states, strict=True), start=1):
        cell_left = left + number * width
        page.paste(heated(tile.picture, heatmap, int(state)), (cell_left, top))
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
