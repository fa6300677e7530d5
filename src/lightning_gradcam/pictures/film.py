"""Attention over the epochs in one picture: the film strip, and the time-lapse."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import TypeVar

from PIL import Image, ImageDraw
from tqdm import tqdm

from lightning_gradcam.pictures.grid import Sheet
from lightning_gradcam.pictures.looks import Scene, Sight, marked
from lightning_gradcam.pictures.page import (
    BETWEEN,
    FRAME,
    MARGIN,
    NARROWEST,
    SLOT,
    Header,
    Type,
    draw_caption,
    draw_frame,
    heated,
)
from lightning_gradcam.pictures.render import FAINT, INK, PAPER, WRONG, Floats, Pixels, Sides, cell_size
from lightning_gradcam.pictures.words import fitting, shortened

T = TypeVar("T")

COLUMNS = 12  # epochs of a film strip
ACROSS = 6  # of them beside each other: of twelve, none could be made out in a card
STRIP_SIDES: Sides = (64, 80)
LAPSE_SIDES: Sides = (64, 80)
SECONDS = 15.0  # of a time-lapse at most, but for its last frame
SHORTEST, LONGEST, LAST = 0.05, 0.8, 2.0  # seconds a frame
FRAMES = int(SECONDS / SHORTEST)  # of a time-lapse at most


def filmstrip(scene: Scene, sights: Sequence[Sight], layer: str, highest: Floats | None = None) -> Image.Image:
    """Draw what an image's, and target's, maps were at each look, in even lines of six at most; wrong ones are framed.

    Args:
        scene: the images.
        sights: the looks that are drawn, at least one: `evenly` chooses among many.
        layer: its name, for the header.
        highest: (N, T) peaks that maps are drawn as shares of; without them each is scaled by itself.
    """
    strip = Strip(scene, sights)
    page = Image.new("RGB", (strip.type.width, strip.top_of(len(scene.pictures) - 1, strip.targets) + MARGIN), PAPER)
    strip.header.draw(page, layer, (scene.looked(sights), scene.counted(len(sights))), strip.key)
    for image in range(len(scene.pictures)):
        strip.draw_words(page, image)
    for place in range(len(sights)):
        strip.draw_look(page, place, highest)
    return page


@dataclass(frozen=True)
class Strip:
    """Where what lies in a film strip.

    What is said of an image stands over its maps, and over each map its epoch: so that any part can be read alone.

    Attributes:
        scene: the images.
        sights: the looks that are drawn.
    """

    scene: Scene
    sights: Sequence[Sight]

    @cached_property
    def pictures(self) -> list[Pixels]:
        """As they are shown."""
        return self.scene.at(STRIP_SIDES)

    @property
    def lines(self) -> int:
        """Lines of cells a target."""
        return math.ceil(len(self.sights) / ACROSS)

    @property
    def across(self) -> int:
        """Looks in a line; in the last one there may be fewer."""
        return math.ceil(len(self.sights) / self.lines)

    @cached_property
    def slot(self) -> int:
        """From one cell to the next."""
        return max(SLOT, cell_size(self.pictures[0])[0]) + BETWEEN

    @cached_property
    def type(self) -> Type:
        """How large words are."""
        return Type(max(NARROWEST, 2 * MARGIN + (1 + self.across) * self.slot - BETWEEN))

    @cached_property
    def header(self) -> Header:
        """Of the page."""
        return Header(self.type, self.scene.about, 1 + bool(self.scene.chosen))

    @property
    def key(self) -> str:
        """How to read what stands over the maps."""
        answers = "truth → last answer" if any(self.scene.truths) else "the last answer"
        return answers + "; ✗, dashed: wrong" * marked(self.sights)

    @property
    def targets(self) -> int:
        """Maps an image."""
        return len(self.sights[0].states[0])

    @property
    def number(self) -> int:
        """How high what stands over a cell is."""
        return self.type.lines(1) + BETWEEN

    @cached_property
    def line(self) -> int:
        """From one line of cells to the next: the epochs' numbers, the cells, and the room for a frame."""
        return self.number + cell_size(self.pictures[0])[1] + BETWEEN

    @cached_property
    def block(self) -> int:
        """From one target to the next: its name, where there are several, and its lines."""
        name = self.type.lines(1) if self.targets > 1 else 0
        return name + self.lines * self.line

    def top_of(self, image: int, target: int) -> int:
        """Where an image's target begins."""
        words = self.type.lines(2)
        return self.header.height + image * (words + self.targets * self.block + MARGIN) + words + target * self.block

    def corner(self, image: int, target: int, place: int) -> tuple[int, int]:
        """Left and top of a look's cell; the image itself is at place -1."""
        line, column = divmod(max(0, place), self.across)
        below = self.top_of(image, target + 1) - self.lines * self.line
        top = below + line * self.line + self.number
        return MARGIN + (0 if place < 0 else 1 + column) * self.slot, top

    def draw_words(self, page: Image.Image, image: int) -> None:
        """The image, and what is said of it at the last look."""
        draw, font, width = ImageDraw.Draw(page), self.type.caption(), page.width - 2 * MARGIN
        top, words = self.top_of(image, 0), self.type.lines(2)
        draw_caption(page, self.sights[-1].captions[image], (MARGIN, top - words, width, words), self.type, 1)
        for target in range(self.targets):
            if self.targets > 1:
                name = shortened(f"for {self.scene.columns[target]}", font, width)
                draw.text((MARGIN, self.top_of(image, target)), name, font=font, fill=FAINT)
            page.paste(Image.fromarray(self.pictures[image]), self.corner(image, target, -1))
            for place in range(0, len(self.sights), self.across):
                self._write(draw, (MARGIN, self.corner(image, target, place)[1]), self.scene.unit, FAINT)

    def draw_look(self, page: Image.Image, place: int, highest: Floats | None) -> None:
        """One look's maps of all images, its number over each."""
        sight, draw = self.sights[place], ImageDraw.Draw(page)
        (height, width), size = self.pictures[0].shape[:2], self.type.caption().size
        heat = sight.heat((height, width), highest)
        for image, (picture, caption) in enumerate(zip(self.pictures, sight.captions, strict=True)):
            for target, state in enumerate(sight.states[image].tolist()):
                corner = self.corner(image, target, place)
                page.paste(heated(picture, heat[image, target], state, size), corner)
                number = f"{sight.step} ✗" if caption.wrong else str(sight.step)
                self._write(draw, corner, number, WRONG if caption.wrong else INK)
                if caption.wrong:
                    draw_frame(page, (*corner, width, height))

    def _write(self, draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, ink: tuple[int, int, int]) -> None:
        """A short text over a cell."""
        font = fitting(text, self.type.caption().size, self.slot - BETWEEN)
        draw.text((corner[0], corner[1] - BETWEEN), text, font=font, fill=ink, anchor="ld")


def timelapse(scene: Scene, sights: Sequence[Sight], layer: str, highest: Floats | None = None) -> bytes:
    """Encode an animated WebP of the images beside their maps, a frame a look: 300 take about 15 seconds.

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
    film, buffer = _Film(_frames(scene, sights, watched, layer, highest), len(sights)), BytesIO()
    # a whole frame every 60, not every 5: between them the images, which stay, cost nothing
    options = {"duration": durations, "loop": 0, "quality": 75, "method": 2, "kmin": 29, "kmax": 60}
    film.save(buffer, "WEBP", save_all=True, **options)
    return buffer.getvalue()


class _Film(Image.Image):
    """An image of several frames, each drawn when it is asked for, in their order: Pillow holds all of a list at once.

    Args:
        frames: all of one size.
        count: how many.
    """

    def __init__(self, frames: Iterator[Image.Image], count: int) -> None:
        super().__init__()
        self.n_frames = count
        self._frames, self._place = frames, 0
        vars(self).update(vars(next(frames)))

    def seek(self, frame: int) -> None:
        """Go on to the next one; where the encoder goes back in the end, it needs none."""
        if frame == self._place + 1:
            self._place = frame
            vars(self).update(vars(next(self._frames)))

    def tell(self) -> int:
        """Return the place of the frame that is there."""
        return self._place


def evenly(looks: Sequence[T], most: int) -> list[T]:
    """Return at most so many, evenly spread, the first and the last always among them."""
    if len(looks) <= most:
        return list(looks)
    return [looks[round(i * (len(looks) - 1) / (most - 1))] for i in range(most)]


def _frames(
    scene: Scene, sights: Sequence[Sight], watched: Iterable[Sight], layer: str, highest: Floats | None
) -> Iterator[Image.Image]:
    sheet = Sheet(scene, sights[0].maps.shape[1], LAPSE_SIDES)
    empty, key = sheet.empty(), sheet.key(sights)
    for sight in watched:
        page = empty.copy()
        sheet.header.draw(page, f"{scene.unit} {sight.step}", (layer, scene.counted(len(sights))), key)
        passed = sight.step / max(1, sights[-1].step) * (page.width - 2 * MARGIN)
        top = sheet.header.height - MARGIN / 2 - FRAME
        ImageDraw.Draw(page).rectangle((MARGIN, top, MARGIN + passed, top + 2), fill=FAINT)
        sheet.fill(page, sight, highest)
        yield page
