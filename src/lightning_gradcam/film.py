"""Attention over the epochs in one picture: the film strip, and the time-lapse."""

import math
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO

from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from lightning_gradcam.album import Album
from lightning_gradcam.cam import Cams
from lightning_gradcam.history import History, Moment
from lightning_gradcam.render import (
    BLOCK,
    FAINT,
    GAP,
    HEADER,
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
    to_truth,
)

COLUMNS = 12  # epochs of a film strip
STRIP_SIDES: Sides = (72, 112)
LAPSE_SIDES: Sides = (96, 128)
SECONDS = 15.0  # of a time-lapse at most, but for its last frame
SHORTEST, LONGEST, LAST = 0.05, 0.8, 2.0  # seconds a frame
BETWEEN = 8  # pixels between cells, on JPEG's raster
NAMES = 120  # width of the column of names at most
LEGEND = "red frame: wrong prediction"


def filmstrip(album: Album, history: History, by_run: bool = False) -> Image.Image:
    """Draw a row an image and target, a column an epoch; wrong predictions are framed.

    Args:
        album: the images.
        history: at least one moment; of more than 12, 12 are drawn, evenly spread, the first and the last among them.
        by_run: draw maps as shares of the image's highest peak; else each is scaled by itself.
    """
    moments = evenly(history.moments, COLUMNS)
    pictures = album.at(STRIP_SIDES)
    width, height = (side + BETWEEN for side in cell_size(pictures[0]))
    targets = history.moments[0].maps.shape[1]
    names = _row_names(album, targets)
    left, top = GAP + _width(names), HEADER + LINE
    page = Image.new(
        "RGB", (left + (1 + len(moments)) * width + GAP, top + len(pictures) * targets * height + GAP), PAPER
    )
    draw = ImageDraw.Draw(page)
    first, last = history.moments[0].step, history.moments[-1].step
    draw_header(draw, page.width, history.layer, f"epochs {first} to {last}  ·  {album.about}  ·  {LEGEND}")
    for column, moment in enumerate(moments, start=1):
        _write(draw, (left + column * width, HEADER, width), f"epoch {moment.step}", FAINT)
    for row, lines in enumerate(names):
        at = top + row * height
        for line, name in enumerate(lines):
            _write(draw, (GAP, at + height // 2 - 9 * len(lines) + 18 * line, left - GAP - 8), name, INK)
        page.paste(Image.fromarray(pictures[row // targets]), (left, at))
    highest = history.highest_peaks() if by_run else None
    for column, moment in enumerate(moments, start=1):
        for row, cell in enumerate(_cells(album, moment.cams(history.layer), pictures, highest)):
            page.paste(cell, (left + column * width, top + row * height))
    return page


def timelapse(album: Album, history: History, by_run: bool = False) -> bytes:
    """Encode an animated WebP of the images with their maps, a frame a logged epoch, in at most about 15 seconds.

    No epoch is invented between two. Of more than 300 moments, 300 are shown, evenly spread.

    Args:
        album: the images.
        history: at least one moment.
        by_run: as in `filmstrip`.
    """
    moments = evenly(history.moments, int(SECONDS / SHORTEST))
    seconds = min(max(SECONDS / len(moments), SHORTEST), LONGEST)
    durations = [round(1000 * seconds)] * (len(moments) - 1) + [round(1000 * LAST)]
    # after hundreds of epochs this takes seconds, at the end of a fit: a bar then says what is waited for
    watched = tqdm(moments, f"time-lapse of {history.layer}", leave=False, delay=2, disable=None)
    frames = _frames(album, history, watched, by_run)
    first, buffer = next(frames), BytesIO()
    options = {"duration": durations, "loop": 0, "quality": 75, "method": 2}
    first.save(buffer, "WEBP", save_all=True, append_images=frames, **options)
    return buffer.getvalue()


def evenly(moments: Sequence[Moment], most: int) -> list[Moment]:
    """Return at most so many, evenly spread, the first and the last always among them."""
    if len(moments) <= most:
        return list(moments)
    return [moments[round(i * (len(moments) - 1) / (most - 1))] for i in range(most)]


def _frames(album: Album, history: History, moments: Iterable[Moment], by_run: bool) -> Iterator[Image.Image]:
    pictures = album.at(LAPSE_SIDES)
    width, height = (side + BETWEEN for side in cell_size(pictures[0]))
    names = [" ".join(lines) for lines in _row_names(album, history.moments[0].maps.shape[1])]
    across = min(len(names), max(2, math.ceil(math.sqrt(1.5 * len(names)))))
    down = math.ceil(len(names) / across)
    size = (2 * GAP + max(across * width, 2 * NAMES), HEADER + down * (height + LINE) + GAP)
    corners = [(GAP + n % across * width, HEADER + n // across * (height + LINE)) for n in range(len(names))]
    empty = Image.new("RGB", size, PAPER)
    for name, (left, top) in zip(names, corners, strict=True):
        _write(ImageDraw.Draw(empty), (left, top + height - BETWEEN + 2, width), name, INK)
    highest = history.highest_peaks() if by_run else None
    for moment in moments:
        page = empty.copy()
        draw = ImageDraw.Draw(page)
        draw_header(draw, page.width, f"epoch {moment.step}", f"{history.layer}  ·  {album.about}")
        passed = moment.step / max(1, history.moments[-1].step)
        draw.rectangle((GAP, HEADER - 6, GAP + passed * (page.width - 2 * GAP), HEADER - 4), fill=FAINT)
        for corner, cell in zip(corners, _cells(album, moment.cams(history.layer), pictures, highest), strict=True):
            page.paste(cell, corner)
        yield page


def _cells(album: Album, cams: Cams, pictures: Sequence[Pixels], highest: Tensor | None) -> Iterator[Image.Image]:
    """One epoch's overlays, image by image and target by target; wrong predictions are framed."""
    heatmaps = cams.heatmaps((pictures[0].shape[0], pictures[0].shape[1]), highest).numpy()
    rows = zip(pictures, heatmaps, cams.peaks.tolist(), album.captions(cams), strict=True)
    for picture, of_picture, peaks, caption in rows:
        for heatmap, peak in zip(of_picture, peaks, strict=True):
            cell = heated(picture, heatmap, peak)
            if caption.wrong:
                ImageDraw.Draw(cell).rectangle((0, 0, cell.width - 1, cell.height - 1), outline=WRONG, width=3)
            yield cell


def _row_names(album: Album, targets: int) -> list[list[str]]:
    """What each row is: the image's truth, and with several targets the target."""
    truths = [to_truth(truth, album.class_names) for truth in album.truths]
    columns = album.column_names if targets > 1 else [""]
    return [[name for name in (truth, column) if name] for truth in truths for column in columns]


def _width(names: Sequence[Sequence[str]]) -> int:
    widest = max((font_of(13).getlength(line) for lines in names for line in lines), default=0)
    return math.ceil(min(widest + 12, NAMES) / BLOCK) * BLOCK  # on JPEG's raster, as the cells are


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int, int], text: str, colour: tuple[int, int, int]) -> None:
    left, top, width = place
    draw.text((left, top + 3), shortened(text, font_of(13), width), font=font_of(13), fill=colour)
