"""What all pictures are drawn with: heat over an image, sizes, colours, JPEG."""

import math
from functools import cache
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]

# JPEG codes blocks of 8x8 pixels: on this raster no block holds two cells, so a picture is the same pixels each epoch.
BLOCK = 8
Sides = tuple[int, int]  # the smallest and the largest that a picture's longer side is shown at
INK, FAINT, WRONG, PAPER = (33, 33, 33), (112, 112, 112), (197, 34, 31), (255, 255, 255)


def overlay(picture: Pixels, heatmap: Floats) -> Pixels:
    """Blend a heatmap, (H, W) in 0..1, over a picture, (H, W, 3): the stronger the heat, the less of the picture."""
    keep, add = _blend()
    level = (np.nan_to_num(heatmap).clip(0, 1) * 255).round().astype(np.uint8)
    blended: Pixels = (picture * keep[level] + add[level]).round().astype(np.uint8)
    return blended


def to_jpeg(picture: Image.Image) -> bytes:
    """Encode as JPEG with full colour resolution: coloured text stays sharp, blocks stay on the raster."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def fitted(picture: Pixels, sides: Sides) -> Pixels:
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
    # Plasma only gets brighter: what is hottest stands out on dark pictures too, where jet and turbo darken.
    heat = np.linspace(0, 1, 256, dtype=np.float32)
    weight = (0.8 * heat**0.75)[:, None]
    return 1 - weight, weight * np.float32(255) * colormaps["plasma"](heat)[:, :3].astype(np.float32)
