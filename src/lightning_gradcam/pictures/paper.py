"""Figures for print: vectors but for the images themselves, by matplotlib, and without its global state."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lightning_gradcam.cam.states import NOT_FINITE, SHOWN
from lightning_gradcam.pictures import render
from lightning_gradcam.pictures.looks import Scene, Sight
from lightning_gradcam.pictures.page import MOST_HEAT, NO_HEAT, SHADE, pale
from lightning_gradcam.pictures.render import Floats, Pixels, overlay
from lightning_gradcam.pictures.words import without_middle

LOOKS, IMAGES = 6, 6  # that a page holds
WIDTH, HEIGHT = 6.75, 9.0  # inches, at most: two columns of a paper, and its page
NAMES, TOP, BOTTOM, EDGE = 1.35, 0.5, 0.3, 0.05  # inches: left of the rows, above and below them, and the page's rim
SMALL, USUAL = 7, 8  # points
SPACE, OUT = 0.09, 0.02  # of a cell: between two, and how far outside of it a frame lies
INK, WRONG = (tuple(level / 255 for level in colour) for colour in (render.INK, render.WRONG))
_LETTERS = 23  # of a name that is cut; its sign takes the place of one more
_WHY = ("", "blank", "not finite")
_CURVE = (5.5, 2.8)  # inches
_WORDS: dict[str, Any] = {"fontsize": SMALL, "color": INK, "parse_math": False}  # a name's $ is no mathematics


class Page(Figure):
    """A figure whose words are TrueType in a PDF: publishers refuse matplotlib's usual Type 3."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Save it, as `Figure.savefig` does."""
        with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
            super().savefig(*arguments, **options)


def strip_figure(scene: Scene, sights: Sequence[Sight], layer: str, highest: Floats | None = None) -> Figure:
    """Draw a row an image and target, the image itself first and then a column a look; wrong predictions are framed.

    Args:
        scene: the images.
        sights: the looks that are drawn, at least one.
        layer: its name, for the title.
        highest: (N, T) peaks that maps are drawn as shares of; without them each is scaled by itself.
    """
    targets, (height, width) = sights[0].maps.shape[1], scene.pictures[0].shape[:2]
    page, cells = _page(len(scene.pictures) * targets, 1 + len(sights), height / width)
    heat = [sight.heat((height, width), highest) for sight in sights]
    for row, axes in enumerate(cells):
        image, target = divmod(row, targets)
        _draw(axes[0], scene.pictures[image])
        words = [scene.truths[image] if target == 0 else "", scene.columns[target] if targets > 1 else ""]
        text = "\n".join(without_middle(word, _LETTERS) if len(word) > _LETTERS + 1 else word for word in words if word)
        axes[0].text(-0.08, 0.5, text, transform=axes[0].transAxes, ha="right", va="center", **_WORDS)
        for column, sight in enumerate(sights):
            place = image, target
            _draw_map(axes[1 + column], scene.pictures[image], heat[column][place], sight, place)
            if row == 0:
                axes[1 + column].set_title(f"{scene.unit} {sight.step}", pad=5, **_WORDS)
    wide, tall = page.get_size_inches()
    title = f"{layer}  ·  {scene.about}"
    page.text(EDGE / wide, 1 - EDGE / tall, title, ha="left", va="top", **_WORDS | {"fontsize": USUAL})
    _legend(page, wide, tall)
    return page


def _page(rows: int, columns: int, ratio: float) -> tuple[Page, list[list[Axes]]]:
    """A page that holds so many cells, whose height is `ratio` times their width, as large as it can be."""
    cell = min((WIDTH - NAMES - EDGE) / columns, (HEIGHT - TOP - BOTTOM) / rows / ratio)
    wide, tall = NAMES + columns * cell + EDGE, TOP + rows * cell * ratio + BOTTOM
    page = Page(figsize=(max(wide, WIDTH / 2), tall))
    wide = page.get_figwidth()
    right = (NAMES + columns * cell) / wide
    lies = {"left": NAMES / wide, "right": right, "top": 1 - TOP / tall, "bottom": BOTTOM / tall}
    grid = page.add_gridspec(rows, columns, wspace=SPACE, hspace=SPACE, **lies)
    return page, [[page.add_subplot(grid[row, column]) for column in range(columns)] for row in range(rows)]


@dataclass(frozen=True)
class Line:
    """A number's mean over the images at each look.

    Attributes:
        name: the run, or what else tells it from others.
        steps: (E,) when.
        mean: (E,), NaN where no map has the number.
        error: (E,) its standard error over the images.
    """

    name: str
    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    error: NDArray[np.float64]


def curve_figure(lines: Sequence[Line], number: str, unit: str, says: str) -> Figure:
    """Draw a line a run, and around it 1.96 standard errors over the images.

    Args:
        lines: at least one.
        number: its name.
        unit: what looks are counted in.
        says: the number's meaning, for the title; "" where it is unknown.
    """
    page = Page(figsize=_CURVE, layout="constrained")
    axes = page.add_subplot()
    for line in lines:
        label = f" {line.name}"  # one that begins with "_" would be left out of the legend
        (drawn,) = axes.plot(line.steps, line.mean, marker="o" if len(line.steps) == 1 else "", label=label)
        band = 1.96 * line.error
        axes.fill_between(line.steps, line.mean - band, line.mean + band, color=drawn.get_color(), alpha=0.18, lw=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(unit, **_WORDS)
    axes.set_ylabel(f"{number.replace('_', ' ')}, mean of the images", **_WORDS)
    axes.set_title(says, loc="left", wrap=True, **_WORDS)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        legend = axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        for text in legend.get_texts():
            text.set_parse_math(False)
    return page


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


def _legend(page: Page, wide: float, tall: float) -> None:
    """The colours of heat over gray, in words, and what a frame says."""
    ramp = overlay(np.full((1, 256, 3), SHADE, np.uint8), np.linspace(0, 1, 256, dtype=np.float32)[None])
    axes = page.add_axes((0.8 / wide, 0.09 / tall, 0.6 / wide, 0.09 / tall))
    axes.imshow(np.arange(256)[None], cmap=ListedColormap(ramp[0] / 255), aspect="auto", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    middle, options = 0.135 / tall, _WORDS | {"va": "center"}
    page.text(EDGE / wide, middle, NO_HEAT, **options)
    page.text(1.45 / wide, middle, MOST_HEAT, **options)
    page.text(1 - EDGE / wide, middle, "framed: wrong", ha="right", **options | {"color": WRONG})
