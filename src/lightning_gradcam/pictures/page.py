"""What stands on a page besides the images: words as large as they are read, the legend, the frames, the captions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from lightning_gradcam.cam.states import BLANK, SHOWN
from lightning_gradcam.pictures.looks import Caption
from lightning_gradcam.pictures.render import BLOCK, FAINT, INK, PAPER, WRONG, Floats, Pixels, overlay
from lightning_gradcam.pictures.words import Font, fitting, font_of, shortened, wrapped

Box = tuple[int, int, int, int]  # left, top, width, height

CARD = 350  # pixels: TensorBoard shows any picture at this width until it is enlarged
NARROWEST = 352  # a page that is narrower would be read enlarged
CAPTION, NOTE = 16.4, 14.4  # pixels in a card: capitals of 12 and of 10.5
LEADING = 1.22  # from line to line, in sizes
MARGIN = 16
BETWEEN = 8  # pixels between cells: one of JPEG's blocks
FRAME, DASH = 3, 12  # pixels: the frames of two neighbours have room in the space between
NO_HEAT, MOST_HEAT = "no evidence", "strongest evidence"
SLOT = 72  # pixels that words need at least, where a tall image takes less
_FROM_LEFT = "\u200e"  # a sign stands before a name of any script
SHADE = 205  # of the legend's image


def on_raster(length: float) -> int:
    """Round up to JPEG's blocks."""
    return math.ceil(length / BLOCK) * BLOCK


@dataclass(frozen=True)
class Type:
    """How large words are on a page, so that they are read in TensorBoard's card.

    Attributes:
        width: the page's, in pixels.
    """

    width: int

    def caption(self, bold: bool = False) -> Font:
        """What stands at images."""
        return font_of(round(CAPTION * self.width / CARD), bold)

    def note(self) -> Font:
        """What stands in the header."""
        return font_of(round(NOTE * self.width / CARD))

    def lines(self, count: int) -> int:
        """How high so many lines of a caption are."""
        return on_raster(count * self.caption().size * LEADING)


@dataclass(frozen=True)
class Header:
    """What a picture is of, at its top; the same height at each look, so that the cells below lie where they lay.

    Attributes:
        type: the page's.
        about: target, method, task: in two lines where it needs them.
        lines: of facts: one in which they stand beside each other, or one each.
    """

    type: Type
    about: str
    lines: int = 1

    @property
    def height(self) -> int:
        """In pixels: the title, the facts, what it is about, the legend, and the key."""
        notes = (2 + self.lines + len(self._about)) * self.type.note().size
        return on_raster((self.type.caption().size + notes) * LEADING + 1.5 * MARGIN)

    def draw(self, page: Image.Image, title: str, facts: Sequence[str], key: str) -> None:
        """Draw it, each line cut in its middle where it must be.

        Args:
            page: drawn on.
            title: in bold.
            facts: what is drawn: looks, images.
            key: how to read what stands at the images.
        """
        told = facts if self.lines > 1 else ("  ·  ".join(facts),)
        draw, width, top = ImageDraw.Draw(page), self._width, MARGIN / 2
        bold, note = self.type.caption(bold=True), self.type.note()
        draw.text((MARGIN, top), shortened(title, bold, width), font=bold, fill=INK)
        top += bold.size * LEADING
        for text in (*told, *self._about):
            draw.text((MARGIN, top), shortened(text, note, width), font=note, fill=FAINT)
            top += note.size * LEADING
        draw_legend(page, self.type, round(top))
        draw.text((MARGIN, top + note.size * LEADING), shortened(key, note, width), font=note, fill=FAINT)

    @property
    def _about(self) -> tuple[str, ...]:
        return wrapped(self.about, self.type.note(), self._width, 2)

    @property
    def _width(self) -> int:
        return self.type.width - 2 * MARGIN


def draw_legend(page: Image.Image, type_: Type, top: int) -> None:
    """Draw the colours over a gray image, as they lie over the pictures, from no evidence to the strongest."""
    draw, font = ImageDraw.Draw(page), type_.note()
    size = round(font.size)
    before, behind = (math.ceil(font.getlength(words)) + size // 2 for words in (NO_HEAT, MOST_HEAT))
    left, right = MARGIN + before, type_.width - MARGIN - behind
    draw.text((MARGIN, top), NO_HEAT, font=font, fill=INK)
    draw.text((right + size // 2, top), MOST_HEAT, font=font, fill=INK)
    ramp = np.broadcast_to(np.linspace(0, 1, right - left), (size, right - left))
    page.paste(Image.fromarray(overlay(np.full((*ramp.shape, 3), SHADE, np.uint8), ramp)), (left, top + size // 8))


def draw_caption(page: Image.Image, caption: Caption, box: Box, type_: Type, each: int) -> None:
    """Draw an image's truth and below it the answer, a wrong one in red behind a sign; nothing leaves the box.

    Args:
        page: drawn on.
        caption: of the image.
        box: where.
        type_: the page's.
        each: how many lines the truth and the answer may have each.
    """
    left, top, width, height = box
    words = Image.new("RGB", (width, height), PAPER)  # what is piled upon a letter ends here too
    draw, font = ImageDraw.Draw(words), type_.caption()
    truth, answer = caption.short
    above = wrapped(truth, font, width, each)
    sign = f"{_FROM_LEFT}✗ " if caption.wrong else f"{_FROM_LEFT}→ " if above else ""
    below = wrapped(sign + answer, font, width, each if above else 2 * each)
    for place, line in enumerate([*above, *below]):
        ink = WRONG if caption.wrong and place >= len(above) else INK
        draw.text((0, place * font.size * LEADING), line, font=font, fill=ink)
    page.paste(words, (left, top))


def draw_frame(page: Image.Image, box: Box) -> None:
    """Draw a dashed frame around a cell, in the space between two: no heat lies under it."""
    draw, (left, top, width, height) = ImageDraw.Draw(page), box
    right, bottom = left + width - 1, top + height - 1
    for start in range(left - FRAME, right + FRAME, 2 * DASH):
        end = min(start + DASH - 1, right + FRAME)
        draw.rectangle((start, top - FRAME, end, top - 1), fill=WRONG)
        draw.rectangle((start, bottom + 1, end, bottom + FRAME), fill=WRONG)
    for start in range(top - FRAME, bottom + FRAME, 2 * DASH):
        end = min(start + DASH - 1, bottom + FRAME)
        draw.rectangle((left - FRAME, start, left - 1, end), fill=WRONG)
        draw.rectangle((right + 1, start, right + FRAME, end), fill=WRONG)


def heated(picture: Pixels, heatmap: Floats, state: int, size: float) -> Image.Image:
    """Return the picture with its heatmap over it, or gray with the reason where the map, by its state, shows none.

    Args:
        picture: (H, W, 3).
        heatmap: (H, W) in 0..1.
        state: as `cam.states` has them.
        size: of the reason's letters, in pixels, at most.
    """
    if state == SHOWN:
        return Image.fromarray(overlay(picture, heatmap))
    return _no_heat(picture, ("blank",) if state == BLANK else ("not", "finite"), size)


def pale(picture: Pixels) -> Pixels:
    """The picture in gray, as that which has no heat to be shown."""
    gray: Pixels = np.repeat(picture.mean(2, keepdims=True) * 0.35 + 150, 3, axis=2).astype(np.uint8)
    return gray


def _no_heat(picture: Pixels, words: tuple[str, ...], size: float) -> Image.Image:
    """The picture, pale and gray, with words on it, along its longer side where it is slim."""
    cell = Image.fromarray(pale(picture))
    is_slim = cell.height > 2 * cell.width
    lying = cell.rotate(90, expand=True) if is_slim else cell
    lines = (" ".join(words),) if lying.width > 2 * lying.height else words
    most = min(size, lying.height / (LEADING * len(lines)))
    font, middle = fitting(max(lines, key=len), most, lying.width - 4, bold=True), (lying.width / 2, lying.height / 2)
    ImageDraw.Draw(lying).multiline_text(middle, "\n".join(lines), font=font, fill=INK, anchor="mm", align="center")
    return lying.rotate(-90, expand=True) if is_slim else lying
