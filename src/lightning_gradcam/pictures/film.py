"""Attention over the epochs in one picture: the film strip, and the time-lapse."""

import math
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO

from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from lightning_gradcam.cam.maps import Maps, to_heatmaps
from lightning_gradcam.pictures.captions import to_truth
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
    Pixels,
    Sides,
    cell_size,
    draw_header,
    font_of,
    heated,
    shortened,
)
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History, Look

COLUMNS = 12  # epochs of a film strip
STRIP_SIDES: Sides = (72, 112)
LAPSE_SIDES: Sides = (96, 128)
SECONDS = 15.0  # of a time-lapse at most, but for its last frame
SHORTEST, LONGEST, LAST = 0.05, 0.8, 2.0  # seconds a frame
BETWEEN = 8  # pixels between cells, on JPEG's raster
NAMES = 120  # width of the column of names at most
FRAME = 3  # pixels of the frame around a wrong one, between the cells: no heat lies under it
LEGEND = f"{HEAT}  ·  framed: wrong prediction"


def filmstrip(images: ShownImages, history: History, by_run: bool = False) -> Image.Image:
    """Draw a row an image and target, a column an epoch; wrong predictions are framed.

    Args:
        images: as they are shown.
        history: at least one look; of more than 12, 12 are drawn, evenly spread, the first and the last among them.
        by_run: draw maps as shares of the image's highest peak; else each is scaled by itself.
    """
    looks = evenly(history.looks, COLUMNS)
    pictures = images.at(STRIP_SIDES)
    width, height = (side + BETWEEN for side in cell_size(pictures[0]))
    targets = history.looks[0].maps.shape[1]
    names = _row_names(images, targets)
    left, top = GAP + _width(names), HEADER + LINE
    page = Image.new(
        "RGB", (left + (1 + len(looks)) * width + GAP, top + len(pictures) * targets * height + GAP), PAPER
    )
    draw = ImageDraw.Draw(page)
    first, last = history.looks[0].step, history.looks[-1].step
    draw_header(draw, page.width, history.layer, f"{images.unit}s {first} to {last}  ·  {images.about}  ·  {LEGEND}")
    for column, look in enumerate(looks, start=1):
        _write(draw, (left + column * width, HEADER, width), f"{images.unit} {look.step}", FAINT)
    for row, lines in enumerate(names):
        at = top + row * height
        for line, name in enumerate(lines):
            _write(draw, (GAP, at + height // 2 - 9 * len(lines) + 18 * line, left - GAP - 8), name, INK)
        page.paste(Image.fromarray(pictures[row // targets]), (left, at))
    highest = history.highest_peaks() if by_run else None
    for column, look in enumerate(looks, start=1):
        for row, cell in enumerate(_cells(images, look.found(history.layer), pictures, highest)):
            _paste(page, cell, (left + column * width, top + row * height))
    return page


def timelapse(images: ShownImages, history: History, by_run: bool = False) -> bytes:
    """Encode an animated WebP of the images with their maps, a frame a logged epoch, in at most about 15 seconds.

    No epoch is invented between two. Of more than 300 looks, 300 are shown, evenly spread.

    Args:
        images: as they are shown.
        history: at least one look.
        by_run: as in `filmstrip`.
    """
    looks = evenly(history.looks, int(SECONDS / SHORTEST))
    seconds = min(max(SECONDS / len(looks), SHORTEST), LONGEST)
    durations = [round(1000 * seconds)] * (len(looks) - 1) + [round(1000 * LAST)]
    # after hundreds of epochs this takes seconds, at the end of a fit: a bar then says what is waited for
    watched = tqdm(looks, f"time-lapse of {history.layer}", leave=False, delay=2, disable=None)
    frames = _frames(images, history, watched, by_run)
    first, buffer = next(frames), BytesIO()
    options = {"duration": durations, "loop": 0, "quality": 75, "method": 2}
    first.save(buffer, "WEBP", save_all=True, append_images=frames, **options)
    return buffer.getvalue()


def evenly(looks: Sequence[Look], most: int) -> list[Look]:
    """Return at most so many, evenly spread, the first and the last always among them."""
    if len(looks) <= most:
        return list(looks)
    return [looks[round(i * (len(looks) - 1) / (most - 1))] for i in range(most)]


def _frames(images: ShownImages, history: History, looks: Iterable[Look], by_run: bool) -> Iterator[Image.Image]:
    pictures = images.at(LAPSE_SIDES)
    width, height = (side + BETWEEN for side in cell_size(pictures[0]))
    names = [" ".join(lines) for lines in _row_names(images, history.looks[0].maps.shape[1])]
    across = min(len(names), max(2, math.ceil(math.sqrt(1.5 * len(names)))))
    down = math.ceil(len(names) / across)
    size = (2 * GAP + max(across * width, 2 * NAMES), HEADER + down * (height + LINE) + GAP)
    corners = [(GAP + n % across * width, HEADER + n // across * (height + LINE)) for n in range(len(names))]
    empty = Image.new("RGB", size, PAPER)
    for name, (left, top) in zip(names, corners, strict=True):
        _write(ImageDraw.Draw(empty), (left, top + height - BETWEEN + 2, width), name, INK)
    highest = history.highest_peaks() if by_run else None
    for look in looks:
        page = empty.copy()
        draw = ImageDraw.Draw(page)
        draw_header(draw, page.width, f"{images.unit} {look.step}", f"{history.layer}  ·  {images.about}  ·  {LEGEND}")
        passed = look.step / max(1, history.looks[-1].step)
        draw.rectangle((GAP, HEADER - 6, GAP + passed * (page.width - 2 * GAP), HEADER - 4), fill=FAINT)
        for corner, cell in zip(corners, _cells(images, look.found(history.layer), pictures, highest), strict=True):
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


def _cells(images: ShownImages, found: Maps, pictures: Sequence[Pixels], highest: Tensor | None) -> Iterator[_Cell]:
    """One epoch's overlays, image by image and target by target."""
    heatmaps = to_heatmaps(found, (pictures[0].shape[0], pictures[0].shape[1]), highest).numpy()
    rows = zip(pictures, heatmaps, found.states.tolist(), images.captions(found), strict=True)
    for picture, of_picture, states, caption in rows:
        for heatmap, state in zip(of_picture, states, strict=True):
            yield heated(picture, heatmap, state), caption.wrong


def _row_names(images: ShownImages, targets: int) -> list[list[str]]:
    """What each row is: the image's truth, and with several targets the target."""
    truths = [to_truth(images.task, truth, images.class_names) for truth in images.truths]
    columns = images.column_names if targets > 1 else [""]
    return [[name for name in (truth, column) if name] for truth in truths for column in columns]


def _width(names: Sequence[Sequence[str]]) -> int:
    widest = max((font_of(13).getlength(line) for lines in names for line in lines), default=0)
    return math.ceil(min(widest + 12, NAMES) / BLOCK) * BLOCK  # on JPEG's raster, as the cells are


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int, int], text: str, colour: tuple[int, int, int]) -> None:
    left, top, width = place
    draw.text((left, top + 3), shortened(text, font_of(13), width), font=font_of(13), fill=colour)
