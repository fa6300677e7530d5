"""Figures for print: vectors but for the images themselves, by matplotlib, and without its global state."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.patches import Rectangle
from PIL import ImageFont

from lightning_gradcam.cam.states import NOT_FINITE, SHOWN
from lightning_gradcam.errors import SettingError
from lightning_gradcam.pictures import render
from lightning_gradcam.pictures.looks import Scene, Sight, marked, of_targets
from lightning_gradcam.pictures.page import MOST_HEAT, NO_HEAT, SHADE, pale
from lightning_gradcam.pictures.render import Floats, Pixels, overlay
from lightning_gradcam.pictures.words import Font, shortened, wrapped

LOOKS, IMAGES = 6, 6  # where they are not named
WIDTH, HEIGHT = 6.75, 9.0  # inches, at most: two columns of a paper, and its page
NAMES, HEADINGS, BOTTOM, EDGE = 1.35, 0.19, 0.42, 0.05  # inches: left of the rows, above and below them, and the rim
SMALL, USUAL = 7, 8  # points
LEAST = 0.35  # inches: the side of a square as large as the smallest cell in which a map can be made out
SPACE, OUT = 0.09, 0.02  # of a cell: between two, and how far outside of it a frame lies
INK, WRONG = (tuple(level / 255 for level in colour) for colour in (render.INK, render.WRONG))
_SHOWN = 110  # dots an inch in a notebook
_INCH, _LEADING, _ASCENT = 72, 1.22, 0.8  # points; and of a size: from line to line, and to where letters stand
_FINE = 10  # dots a point, by which words are measured
_TITLES, _LABELS = 3, 3  # lines at most, of the title, and of each thing that is said of a row
_GAP, _APART = 0.08, 0.04  # inches: between a row's words and its cells, and between headings
_WHY = ("", "blank", "not finite")
WORDS: dict[str, Any] = {"fontsize": SMALL, "color": INK, "parse_math": False}  # a name's $ is no mathematics
_BY_ITSELF, _SHARES = "each map is scaled by itself", "maps are shares of the highest peak of their image in the run"


class Page(Figure):
    """A figure whose words are TrueType in a PDF: publishers refuse matplotlib's usual Type 3."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Save it, as `Figure.savefig` does."""
        with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
            super().savefig(*arguments, **options)

    def _repr_png_(self) -> bytes:
        """What a notebook shows, also one that has not been told to show figures."""
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=_SHOWN)
        return buffer.getvalue()


@dataclass(frozen=True)
class Lattice:
    """Where cells lie on a page, as large as they can be; in inches.

    Attributes:
        rows: an image and target each.
        columns: the images themselves, and the looks.
        ratio: a cell's height by its width.
        lines: of words that a row has room for at least.
    """

    rows: int
    columns: int
    ratio: float
    lines: int

    @property
    def most(self) -> tuple[int, int]:
        """How many rows and columns a page holds in which maps can be made out, at least one look."""
        width = LEAST / self.ratio**0.5 * (1 + SPACE)
        rows, columns = _TALL / max(width * self.ratio, self._words), _WIDE / width
        return max(1, int(rows)), max(2, int(columns))

    @property
    def width(self) -> float:
        """Of a cell."""
        return min(_WIDE / self.columns, _TALL / self.rows / self.ratio) / (1 + SPACE)

    @property
    def pitch(self) -> tuple[float, float]:
        """From one row, and from one column, to the next."""
        across = self.width * (1 + SPACE)
        return max(across * self.ratio, self._words), across

    @property
    def page(self) -> float:
        """How wide the page is."""
        return max(NAMES + self.columns * self.pitch[1] + EDGE, WIDTH / 2)

    @property
    def _words(self) -> float:
        return (self.lines + 0.2) * _line(SMALL)


def most_of(pictures: Sequence[Pixels], targets: int) -> tuple[int, int]:
    """Return of how many images, of so many targets each, and of how many looks a page is where they are not named."""
    rows, columns = _lattice(pictures, targets, 1).most if pictures else (IMAGES * targets, 1 + LOOKS)
    return max(1, min(IMAGES, rows // targets)), min(LOOKS, columns - 1)


def strip_figure(scene: Scene, sights: Sequence[Sight], layer: str, highest: Floats | None = None) -> Figure:
    """Draw a row an image and target, the image itself first and then a column a look; wrong predictions are framed.

    Args:
        scene: the images; of more targets than a page holds the first are drawn.
        sights: the looks that are drawn, at least one.
        layer: its name, for the title.
        highest: (N, T) peaks that maps are drawn as shares of; without them each is scaled by itself.

    Raises:
        SettingError: more images or looks than can be made out on a page.
    """
    targets = sights[0].maps.shape[1]
    targets = min(targets, _lattice(scene.pictures, targets, 1).most[0])
    scene, sights, highest = of_targets(scene, sights, highest, targets)
    lattice = _lattice(scene.pictures, targets, len(sights))
    _check(lattice)
    title = wrapped(f"{layer}  ·  {scene.about}", font_at(USUAL), dots(lattice.page - 2 * EDGE), _TITLES)
    top = EDGE + len(title) * _line(USUAL) + _line(SMALL) + HEADINGS
    page = Page(figsize=(lattice.page, top + lattice.rows * lattice.pitch[0] + BOTTOM))
    _head(page, title, f"{scene.counted(len(sights))}  ·  {scene.looked(sights)}")
    cells = _cells(page, lattice, top)
    _draw_headings(cells[0], [sight.step for sight in sights], scene.unit, lattice)
    heat = [sight.heat(scene.pictures[0].shape[:2], highest) for sight in sights]
    for row, axes in enumerate(cells):
        image, target = divmod(row, targets)
        _draw(axes[0], scene.pictures[image])
        _label(page, top + (row + 0.5) * lattice.pitch[0], lattice, _said(scene, sights[-1], image, target))
        for column, sight in enumerate(sights):
            _draw_map(axes[1 + column], scene.pictures[image], heat[column][image, target], sight, (image, target))
    _legend(page, _BY_ITSELF if highest is None else _SHARES, marked(sights))
    return page


def _lattice(pictures: Sequence[Pixels], targets: int, looks: int) -> Lattice:
    """Of images and looks; a row has room for the truth, the answer and, where there are several, the target."""
    height, width = pictures[0].shape[:2]
    return Lattice(len(pictures) * targets, 1 + looks, height / width, 2 + (targets > 1))


def _check(lattice: Lattice) -> None:
    """Refuse what nobody could make out."""
    (rows, columns), looks = lattice.most, lattice.columns - 1
    if lattice.rows > rows or lattice.columns > columns:
        given = "1 row, an image and target" if lattice.rows == 1 else f"{lattice.rows} rows, an image and target each"
        raise SettingError(
            f"figure: {given}, and {looks} look{'s' * (looks != 1)} cannot be made out on a page, which holds "
            f"{rows} rows and {columns - 1} looks; several figures hold more"
        )


def _cells(page: Page, lattice: Lattice, top: float) -> list[list[Axes]]:
    """The axes of each row, in the middle of its height."""
    (down, across), width = lattice.pitch, lattice.width
    height, (wide, tall) = width * lattice.ratio, page.get_size_inches()
    bottoms = [tall - top - row * down - (down + height) / 2 for row in range(lattice.rows)]
    lefts = [NAMES + column * across for column in range(lattice.columns)]
    return [
        [page.add_axes((left / wide, bottom / tall, width / wide, height / tall)) for left in lefts]
        for bottom in bottoms
    ]


def _draw_headings(axes: Sequence[Axes], steps: Sequence[int], unit: str, lattice: Lattice) -> None:
    """Over each column its look; where there is no room the unit stands once, before numbers that are smaller."""
    room, font = dots(lattice.pitch[1] - _APART), font_at(SMALL)
    named = [f"{unit} {step}" for step in steps]
    fit = max(map(font.getlength, named)) <= room
    words = named if fit else [str(step) for step in steps]
    size = min(SMALL, SMALL * room / max(map(font.getlength, words)))
    pad = 4 + OUT * lattice.width * lattice.ratio * _INCH  # a frame lies between
    if not fit:
        axes[0].set_title(unit, loc="right", pad=pad, **WORDS)
    for one, text in zip(axes[1:], words, strict=True):
        one.set_title(text, pad=pad, **WORDS | {"fontsize": size})


def _said(scene: Scene, last: Sight, image: int, target: int) -> list[tuple[str, str, Any]]:
    """What stands beside a row, as prefix, text and colour: at an image's first the truth and the last answer."""
    caption, said = last.captions[image], []
    if target == 0:
        answer = f"{scene.unit} {last.step}: ", caption.short[1], WRONG if caption.wrong else INK
        said = [("", scene.truths[image], INK), answer]
    if len(scene.columns) > 1:
        said.append(("target: ", scene.columns[target], INK))
    return [one for one in said if one[1]]


def _label(page: Page, middle: float, lattice: Lattice, said: Sequence[tuple[str, str, Any]]) -> None:
    """What is said of a row, each thing in lines that fit beside it; how far down its middle is in inches."""
    room = min(int(lattice.pitch[0] / _line(SMALL)) // max(1, len(said)), _LABELS)
    lines = [(line, ink) for prefix, text, ink in said for line in _broken(prefix, text, room)]
    for place, (line, ink) in enumerate(lines):
        down = middle + (place - len(lines) / 2) * _line(SMALL)
        _write(page, NAMES - _GAP, down, line, ha="right", color=ink)


def _broken(prefix: str, text: str, most: int) -> tuple[str, ...]:
    """A text in so many lines at most, which fit beside a row; in a single one the prefix stays whole."""
    width, font = dots(NAMES - EDGE - _GAP), font_at(SMALL)
    if most > 1:
        return wrapped(prefix + text, font, width, most)
    return (prefix + shortened(text, font, width - font.getlength(prefix)),)


def _head(page: Page, title: Sequence[str], facts: str) -> None:
    """The title in its lines, and below it what is drawn, and of how much."""
    for place, line in enumerate(title):
        _write(page, EDGE, EDGE + place * _line(USUAL), line, fontsize=USUAL)
    told = shortened(facts, font_at(SMALL), dots(page.get_figwidth() - 2 * EDGE))
    _write(page, EDGE, EDGE + len(title) * _line(USUAL), told)


def _write(page: Page, left: float, top: float, text: str, **options: Any) -> None:
    """A line of words whose top is so many inches down."""
    wide, tall = page.get_size_inches()
    words = WORDS | options
    page.text(left / wide, 1 - (top + _ASCENT * words["fontsize"] * _LEADING / _INCH) / tall, text, **words)


def _line(size: float) -> float:
    """From one line of words to the next, in inches."""
    return size * _LEADING / _INCH


def dots(inches: float) -> float:
    """A width in what words are measured by; a little less, for what drawing rounds."""
    return 0.98 * inches * _INCH * _FINE


def font_at(size: float) -> Font:
    """What matplotlib writes with, as the user's settings have it."""
    return _read_font(findfont(FontProperties()), round(size * _FINE))


@cache
def _read_font(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size)


_WIDE = WIDTH - NAMES - EDGE  # for cells
_TALL = HEIGHT - (EDGE + _TITLES * _line(USUAL) + _line(SMALL) + HEADINGS) - BOTTOM


def _draw(axes: Axes, picture: Pixels) -> None:
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_map(axes: Axes, picture: Pixels, heat: Floats, sight: Sight, place: tuple[int, int]) -> None:
    state = min(int(sight.states[place]), NOT_FINITE)
    _draw(axes, overlay(picture, heat) if state == SHOWN else pale(picture))
    if state != SHOWN:
        axes.text(0.5, 0.5, _WHY[state], transform=axes.transAxes, ha="center", va="center", fontsize=SMALL)
    if sight.captions[place[0]].wrong:  # around it: no heat is under the frame
        options: dict[str, Any] = {"transform": axes.transAxes, "fill": False, "clip_on": False}
        frame = Rectangle((-OUT, -OUT), 1 + 2 * OUT, 1 + 2 * OUT, color=WRONG, lw=1, ls=(0, (3, 1.5)), **options)
        axes.add_patch(frame)


def _legend(page: Page, scale: str, framed: bool) -> None:
    """The colours of heat over gray, in words, what the strongest is, and what a frame says where there is one."""
    wide, tall = page.get_size_inches()
    ramp = overlay(np.full((1, 256, 3), SHADE, np.uint8), np.linspace(0, 1, 256, dtype=np.float32)[None])
    axes = page.add_axes((0.8 / wide, 0.21 / tall, 0.6 / wide, 0.09 / tall))
    axes.imshow(np.arange(256)[None], cmap=ListedColormap(ramp[0] / 255), aspect="auto", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    middle, options = 0.255 / tall, WORDS | {"va": "center"}
    page.text(EDGE / wide, middle, NO_HEAT, **options)
    page.text(1.45 / wide, middle, MOST_HEAT, **options)
    page.text(EDGE / wide, 0.115 / tall, scale, **options)
    if framed:
        page.text(1 - EDGE / wide, middle, "framed: wrong", ha="right", **options | {"color": WRONG})
