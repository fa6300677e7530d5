"""Attention over the epochs in one picture: the film strip, and the time-lapse."""

import math
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import TypeVar

from PIL import Image, ImageDraw
from tqdm import tqdm

from lightning_gradcam.pictures.looks import Scene, Sight
from lightning_gradcam.pictures.render import (
    BLOCK,
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

T = TypeVar("T")

COLUMNS = 12  # epochs of a film strip
STRIP_SIDES: Sides = (72, 112)
LAPSE_SIDES: Sides = (96, 128)
SECONDS = 15.0  # of a time-lapse at most, but for its last frame
SHORTEST, LONGEST, LAST = 0.05, 0.8, 2.0  # seconds a frame
BETWEEN = 8  # pixels between cells, on JPEG's raster
NAMES = 120  # width of the column of names at most
FRAME = 3  # pixels of the frame around a wrong one, between the cells: no heat lies under it
FRAMES = int(SECONDS / SHORTEST)  # of a time-lapse at most
LEGEND = f"{HEAT}  ·  framed: wrong prediction"


def filmstrip(scene: Scene, sights: Sequence[Sight], layer: str, highest: Floats | None = None) -> Image.Image:
    """Draw a row an image and target, a column an epoch; wrong predictions are framed.

    Args:
        scene: the images.
        sights: the looks that are drawn, at least one: `evenly` chooses among many.
        layer: its name, for the header.
        highest: (N, T) peaks that maps are drawn as shares of; without them each is scaled by itself.
    """
    pictures = scene.at(STRIP_SIDES)
    width, height = (side + BETWEEN for side in cell_size(pictures[0]))
    targets = sights[0].maps.shape[1]
    names = _row_names(scene, targets)
    left, top = GAP + _width(names), HEADER + LINE
    page = Image.new(
        "RGB", (left + (1 + len(sights)) * width + GAP, top + len(pictures) * targets * height + GAP), PAPER
    )
    draw = ImageDraw.Draw(page)
    first, last = sights[0].step, sights[-1].step
    draw_header(draw, page.width, layer, f"{scene.unit}s {first} to {last}  ·  {scene.about}  ·  {LEGEND}")
    for column, sight in enumerate(sights, start=1):
        _write(draw, (left + column * width, HEADER, width), f"{scene.unit} {sight.step}", FAINT)
    for row, lines in enumerate(names):
        at = top + row * height
        for line, name in enumerate(lines):
            _write(draw, (GAP, at + height // 2 - 9 * len(lines) + 18 * line, left - GAP - 8), name, INK)
        page.paste(Image.fromarray(pictures[row // targets]), (left, at))
    for column, sight in enumerate(sights, start=1):
        for row, cell in enumerate(_cells(sight, pictures, highest)):
            _paste(page, cell, (left + column * width, top + row * height))
    return page


def timelapse(scene: Scene, sights: Sequence[Sight], layer: str, highest: Floats | None = None) -> bytes:
    """Encode an animated WebP of the images with their maps, a frame a look: 300 take about 15 seconds.

    No epoch is invented between two.

    Args:
        scene: the images.
        sights: the looks that are shown, at least one: `evenly` chooses among many.
        layer: its name, for the header.
        highest: as in `filmstrip`.
    """
    seconds = min(max(SECONDS / len(sights), SHORTEST), LONGEST)
    durations = [round(1000 * seconds)] * (len(sights) - 1) + [round(1000 * LAST)]
    # after hundreds of epochs this takes seconds, at the end of a fit: a bar then says what is waited for
    watched = tqdm(sights, f"time-lapse of {layer}", leave=False, delay=2, disable=None)
    frames = _frames(scene, sights, watched, layer, highest)
    first, buffer = next(frames), BytesIO()
    options = {"duration": durations, "loop": 0, "quality": 75, "method": 2}
    first.save(buffer, "WEBP", save_all=True, append_images=frames, **options)
    return buffer.getvalue()


def evenly(looks: Sequence[T], most: int) -> list[T]:
    """Return at most so many, evenly spread, the first and the last always among them."""
    if len(looks) <= most:
        return list(looks)
    return [looks[round(i * (len(looks) - 1) / (most - 1))] for i in range(most)]


def _frames(
    scene: Scene, sights: Sequence[Sight], watched: Iterable[Sight], layer: str, highest: Floats | None
) -> Iterator[Image.Image]:
    pictures = scene.at(LAPSE_SIDES)
    width, height = (side + BETWEEN for side in cell_size(pictures[0]))
    names = [" ".join(lines) for lines in _row_names(scene, sights[0].maps.shape[1])]
    across = min(len(names), max(2, math.ceil(math.sqrt(1.5 * len(names)))))
    down = math.ceil(len(names) / across)
    size = (2 * GAP + max(across * width, 2 * NAMES), HEADER + down * (height + LINE) + GAP)
    corners = [(GAP + n % across * width, HEADER + n // across * (height + LINE)) for n in range(len(names))]
    empty = Image.new("RGB", size, PAPER)
    for name, (left, top) in zip(names, corners, strict=True):
        _write(ImageDraw.Draw(empty), (left, top + height - BETWEEN + 2, width), name, INK)
    for sight in watched:
        page = empty.copy()
        draw = ImageDraw.Draw(page)
        draw_header(draw, page.width, f"{scene.unit} {sight.step}", f"{layer}  ·  {scene.about}  ·  {LEGEND}")
        passed = sight.step / max(1, sights[-1].step)
        draw.rectangle((GAP, HEADER - 6, GAP + passed * (page.width - 2 * GAP), HEADER - 4), fill=FAINT)
        for corner, cell in zip(corners, _cells(sight, pictures, highest), strict=True):
            _paste(page, cell, corner)
        yield page


def _paste(page: Image.Image, cell: "_Cell", corner: tuple[int, int]) -> None:
    """A cell, and around it the frame of what is wrong."""
    picture, is_wrong = cell
    page.paste(picture, corner)
    if is_wrong:
        left, top = corner
        frame = (left - FRAME, top - FRAME, left + picture.width + FRAME - 1, top + picture.height + FRAME - 1)
        ImageDraw.Draw(page).rectangle(frame, outline=WRONG, width=FRAME)


_Cell = tuple[Image.Image, bool]  # whether its prediction is wrong


def _cells(sight: Sight, pictures: Sequence[Pixels], highest: Floats | None) -> Iterator[_Cell]:
    """One look's overlays, image by image and target by target."""
    heat = sight.heat((pictures[0].shape[0], pictures[0].shape[1]), highest)
    rows = zip(pictures, heat, sight.states.tolist(), sight.captions, strict=True)
    for picture, of_picture, states, caption in rows:
        for heatmap, state in zip(of_picture, states, strict=True):
            yield heated(picture, heatmap, state), caption.wrong


def _row_names(scene: Scene, targets: int) -> list[list[str]]:
    """What each row is: the image's truth, and with several targets the target."""
    columns = scene.columns if targets > 1 else [""]
    return [[name for name in (truth, column) if name] for truth in scene.truths for column in columns]


def _width(names: Sequence[Sequence[str]]) -> int:
    widest = max((font_of(13).getlength(line) for lines in names for line in lines), default=0)
    return math.ceil(min(widest + 12, NAMES) / BLOCK) * BLOCK  # on JPEG's raster, as the cells are


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int, int], text: str, colour: tuple[int, int, int]) -> None:
    left, top, width = place
    draw.text((left, top + 3), shortened(text, font_of(13), width), font=font_of(13), fill=colour)
