"""One look in one picture: all images beside their heatmaps, and what is said of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image, ImageDraw

from lightning_gradcam.pictures.choosing import MOST_TARGETS
from lightning_gradcam.pictures.looks import TRUE, Scene, Sight, marked
from lightning_gradcam.pictures.page import (
    BETWEEN,
    LEADING,
    MARGIN,
    NARROWEST,
    SLOT,
    Header,
    Type,
    draw_caption,
    draw_frame,
    heated,
)
from lightning_gradcam.pictures.render import FAINT, INK, PAPER, Floats, Pixels, Sides, cell_size
from lightning_gradcam.pictures.words import fitting, shortened, wrapped

GRID_SIDES: Sides = (112, 120)
SIDES_OF_SEVERAL: Sides = (84, 112)  # with several targets
_LETTERS = 16  # of a target's name, where targets are too many to be read in a card
_WIDE = 2  # times as wide as high: one image across
_CARDS = 16  # images of a page that is two across; of more, which nobody reads in a card, it is wider


def grid(scene: Scene, sight: Sight, layer: str, when: str = "", highest: Floats | None = None) -> Image.Image:
    """Draw a layer's maps over the images, all that are given.

    Args:
        scene: the images.
        sight: one look at them.
        layer: its name, for the header.
        when: the epoch, for the header.
        highest: (N, T) peaks that maps are drawn as shares of; without them each is scaled by itself.
    """
    sheet = Sheet(scene, sight.maps.shape[1], GRID_SIDES if sight.maps.shape[1] == 1 else SIDES_OF_SEVERAL)
    page = sheet.empty()
    sheet.header.draw(page, layer, [part for part in (when, scene.counted()) if part], sheet.key([sight]))
    sheet.fill(page, sight, highest)
    return page


@dataclass(frozen=True)
class Sheet:
    """A page of images beside their maps; where what lies does not depend on the look.

    A tile is an image with all its maps in a row, and below what is said of it. Two images are across, so that they
    can be made out in TensorBoard's card; one with several targets, whose names stand on top once.

    Attributes:
        scene: the images.
        targets: maps an image.
        sides: between which a picture's longer side is shown.
    """

    scene: Scene
    targets: int
    sides: Sides

    @cached_property
    def pictures(self) -> list[Pixels]:
        """As they are shown."""
        return self.scene.at(self.sides)

    @cached_property
    def slot(self) -> int:
        """From one cell of a tile to the next."""
        return cell_size(self.pictures[0])[0] + BETWEEN

    @property
    def height(self) -> int:
        """Of a cell."""
        return cell_size(self.pictures[0])[1]

    @property
    def width(self) -> int:
        """Of a tile."""
        return max(2 * SLOT, (1 + self.targets) * self.slot) - BETWEEN

    @property
    def across(self) -> tuple[int, int]:
        """How many tiles stand beside each other, and of how many the page is as wide as a card."""
        is_wide = self.slot > _WIDE * self.height
        readable = 1 if self.targets > 1 or is_wide or len(self.pictures) == 1 else 2
        return min(len(self.pictures), readable * math.ceil(math.sqrt(len(self.pictures) / _CARDS))), readable

    @cached_property
    def type(self) -> Type:
        """How large words are."""
        width = min(self.width, (1 + MOST_TARGETS) * self.slot - BETWEEN)
        return Type(max(NARROWEST, MARGIN + min(self.across) * (width + MARGIN)))

    @cached_property
    def header(self) -> Header:
        """Of the page."""
        return Header(self.type, self.scene.about, 1 + bool(self.scene.chosen))

    def key(self, sights: Sequence[Sight]) -> str:
        """How to read what stands below the images, at any of these looks."""
        answers = "below: truth → answer" if any(self.scene.truths) else "below: the answer"
        return answers + " (✗, dashed: wrong)" * marked(sights)

    @cached_property
    def lines(self) -> int:
        """Of a truth and of an answer each: two where a truth needs them."""
        font = self.type.caption()
        return 1 + any(len(wrapped(truth.removeprefix(TRUE), font, self.width, 2)) > 1 for truth in self.scene.truths)

    @cached_property
    def name_lines(self) -> int:
        """Of the targets' names: one where each fits over its cells, or there are too many, else one a name."""
        font, names = self.type.caption(), self.scene.columns if self.targets > 1 else ()
        fit = all(font.getlength(name) <= self.slot - BETWEEN for name in names)
        return min(1, len(names)) if fit or len(names) > MOST_TARGETS else len(names)

    @cached_property
    def top(self) -> int:
        """Of the first tile."""
        return self.header.height + (self.type.lines(self.name_lines) + BETWEEN if self.name_lines else 0)

    def corner(self, number: int) -> tuple[int, int]:
        """Left and top of a tile."""
        row, column = divmod(number, self.across[0])
        below = BETWEEN + self.type.lines(2 * self.lines) + MARGIN
        return MARGIN + column * (self.width + MARGIN), self.top + row * (self.height + below)

    def empty(self) -> Image.Image:
        """Return the page with the images, and the targets' names, without maps."""
        across = self.across[0]
        width = max(NARROWEST, MARGIN + across * (self.width + MARGIN))
        rows = math.ceil(len(self.pictures) / across)
        page = Image.new("RGB", (width, self.corner(rows * across)[1]), PAPER)
        for number, picture in enumerate(self.pictures):
            page.paste(Image.fromarray(picture), self.corner(number))
        if self.name_lines:
            for column in range(across):
                self._draw_names(ImageDraw.Draw(page), self.corner(column)[0])
        return page

    def fill(self, page: Image.Image, sight: Sight, highest: Floats | None) -> None:
        """Draw a look's maps and captions into a page that is empty of them."""
        (height, width), size = self.pictures[0].shape[:2], self.type.caption().size
        heat = sight.heat((height, width), highest)
        for number, picture in enumerate(self.pictures):
            left, top = self.corner(number)
            for target, state in enumerate(sight.states[number].tolist()):
                cell = heated(picture, heat[number, target], state, size)
                page.paste(cell, (left + (1 + target) * self.slot, top))
            caption, below = sight.captions[number], top + self.height + BETWEEN
            draw_caption(
                page, caption, (left, below, self.width, self.type.lines(2 * self.lines)), self.type, self.lines
            )
            if caption.wrong:
                draw_frame(page, (left, top, self.targets * self.slot + width, height))

    def _draw_names(self, draw: ImageDraw.ImageDraw, left: int) -> None:
        """Each name ends over its cell; where they are long each stands on a line of its own, with a line down."""
        font, bottom = self.type.caption(), self.top - BETWEEN
        step = font.size * LEADING
        for target, name in enumerate(self.scene.columns):
            start = left + (1 + target) * self.slot
            if self.name_lines == 1:
                cut = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
                fits = fitting(cut, font.size, self.slot - BETWEEN)
                draw.text((start, bottom - step / 4), cut, font=fits, fill=INK, anchor="ls")
                continue
            end, top = start + self.slot - BETWEEN, bottom - (target + 1) * step
            text = shortened(name, font, end - left - font.size / 2)
            draw.text((end - font.size / 2, top), text, font=font, fill=INK, anchor="ra")
            draw.line((end - font.size / 4, top + step / 2, end - font.size / 4, bottom), fill=FAINT, width=2)
