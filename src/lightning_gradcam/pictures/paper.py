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

from lightning_gradcam.cam.states import SHOWN
from lightning_gradcam.pictures.looks import Scene, Sight
from lightning_gradcam.pictures.render import Floats, Pixels, overlay

ACROSS, DOWN = 6, 6  # looks and images that a page holds
WIDTH = 6.75  # inches: two columns of a paper
NAMES = 1.25  # inches: what stands left of the rows
SMALL, USUAL = 7, 8  # points
OUT = 0.02  # of a cell: how far outside of it a frame lies
INK, WRONG = "#212121", "#c5221f"
_WHY = ("", "blank", "not finite")
_CURVE = (5.5, 2.8)  # inches


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
    images, targets = sights[0].maps.shape[:2]
    height, width = scene.pictures[0].shape[:2]
    cell = (WIDTH - NAMES) / (1 + len(sights))
    tall = images * targets * cell * height / width
    figure = Page(figsize=(WIDTH, tall + 0.75))
    grid = figure.add_gridspec(
        images * targets,
        1 + len(sights),
        left=NAMES / WIDTH,
        right=0.998,
        top=1 - 0.42 / (tall + 0.75),
        bottom=0.3 / (tall + 0.75),
        wspace=0.09,
        hspace=0.09,
    )
    heat = [sight.heat((height, width), highest) for sight in sights]
    for row in range(images * targets):
        image, target = divmod(row, targets)
        axes = [figure.add_subplot(grid[row, column]) for column in range(1 + len(sights))]
        _draw(axes[0], scene.pictures[image])
        _name(axes[0], scene, image, target if targets > 1 else None)
        for column, sight in enumerate(sights):
            _draw_map(axes[1 + column], scene.pictures[image], heat[column][image, target], sight, (image, target))
            if row == 0:
                axes[1 + column].set_title(f"{scene.unit} {sight.step}", fontsize=SMALL, pad=3, color=INK)
    figure.suptitle(f"{layer}  ·  {scene.about}", x=0.002, y=0.998, ha="left", va="top", fontsize=USUAL, color=INK)
    _legend(figure, tall + 0.75)
    return figure


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
    figure = Page(figsize=_CURVE, layout="constrained")
    axes = figure.add_subplot()
    for line in lines:
        (drawn,) = axes.plot(line.steps, line.mean, marker="o" if len(line.steps) == 1 else "", label=line.name)
        band = 1.96 * line.error
        axes.fill_between(line.steps, line.mean - band, line.mean + band, color=drawn.get_color(), alpha=0.18, lw=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(unit, fontsize=USUAL)
    axes.set_ylabel(f"{number.replace('_', ' ')}, mean of the images", fontsize=USUAL)
    axes.set_title(says, fontsize=SMALL, loc="left", wrap=True)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))  # beside the lines
    return figure


def _draw(axes: Axes, picture: Pixels) -> None:
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_map(axes: Axes, picture: Pixels, heat: Floats, sight: Sight, place: tuple[int, int]) -> None:
    state, caption = int(sight.states[place]), sight.captions[place[0]]
    _draw(axes, overlay(picture, heat) if state == SHOWN else _pale(picture))
    if state != SHOWN:
        axes.text(0.5, 0.5, _WHY[state], transform=axes.transAxes, ha="center", va="center", fontsize=SMALL)
    if caption.wrong:  # around it: no heat is under the frame
        options: dict[str, Any] = {"transform": axes.transAxes, "fill": False, "clip_on": False}
        frame = Rectangle((-OUT, -OUT), 1 + 2 * OUT, 1 + 2 * OUT, color=WRONG, lw=1, ls=(0, (3, 1.5)), **options)
        axes.add_patch(frame)


def _pale(picture: Pixels) -> Pixels:
    pale: Pixels = np.repeat(picture.mean(2, keepdims=True) * 0.35 + 150, 3, axis=2).astype(np.uint8)
    return pale


def _name(axes: Axes, scene: Scene, image: int, target: int | None) -> None:
    words = [scene.truths[image] if not target else "", "" if target is None else scene.columns[target]]
    text = "\n".join(_cut(word) for word in words if word)
    axes.text(-0.08, 0.5, text, transform=axes.transAxes, ha="right", va="center", fontsize=SMALL, color=INK)


def _cut(name: str, most: int = 22) -> str:
    """A long name without its middle."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


def _legend(figure: Figure, height: float) -> None:
    """The colours of heat over gray, in words, and what a frame says."""
    ramp = overlay(np.full((1, 256, 3), 205, np.uint8), np.linspace(0, 1, 256, dtype=np.float32)[None])
    axes = figure.add_axes((0.13, 0.09 / height, 0.2, 0.09 / height))
    axes.imshow(np.arange(256)[None], cmap=ListedColormap(ramp[0] / 255), aspect="auto", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    options: dict[str, Any] = {"fontsize": SMALL, "va": "center", "color": INK}
    figure.text(0.12, 0.135 / height, "no evidence", ha="right", **options)
    figure.text(0.34, 0.135 / height, "strongest evidence", **options)
    figure.text(0.998, 0.135 / height, "dashed frame: wrong prediction", ha="right", **options | {"color": WRONG})
