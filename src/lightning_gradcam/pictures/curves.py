"""Numbers by step, for print."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lightning_gradcam.pictures.paper import SMALL, WORDS, Page, dots, font_at
from lightning_gradcam.pictures.words import wrapped
from lightning_gradcam.timeline.clusters import Doubles, clustered

_WIDTH, _HEIGHT = 5.5, 2.8  # inches, at least
_NAMES, _LINE = 1.6, 0.15  # inches: how wide names are at most, and how high a line of them is
_LINES = 3  # of a name
_DASHES = ("-", "--", "-.")  # as colours begin again
_BAND = 1.96  # standard errors
_GRAY = "0.45"


@dataclass(frozen=True)
class Line:
    """A number's mean over all maps that have it, at each look.

    Attributes:
        name: the run, or what else tells it from others.
        steps: (E,) when.
        mean: (E,), NaN where no map has the number.
        error: (E,) its standard error over the images, NaN where fewer than two have the number.
        chance: what it is where there is nothing to be seen; NaN where it has no such level.
    """

    name: str
    steps: NDArray[np.int64]
    mean: Doubles
    error: Doubles
    chance: float = math.nan


def line_of(name: str, steps: NDArray[np.int64], values: Doubles) -> Line:
    """Return the line of a number, (E, N, T), NaN where a map has none; its error is that over the images."""
    mean, error, _ = clustered(values)
    return Line(name, steps, mean, error)


def curve_figure(lines: Sequence[Line], number: str, unit: str, says: str) -> Figure:
    """Draw a line a run, around it 1.96 standard errors, and dots where it would be by chance, where these are known.

    Args:
        lines: at least one.
        number: its name.
        unit: what looks are counted in.
        says: the number's meaning, for the title; "" where it is unknown.
    """
    names = ["\n ".join(wrapped(line.name, font_at(SMALL), dots(_NAMES), _LINES)) for line in lines]
    height = _LINE * (sum(name.count("\n") + 1 for name in names) + 3)
    page = Page(figsize=(_WIDTH, max(_HEIGHT, height)), layout="constrained")
    axes = page.add_subplot()
    drawn = [_draw(axes, line, name, place) for place, (line, name) in enumerate(zip(lines, names, strict=True))]
    levels = _draw_chance(axes, [line.chance for line in lines], [one.get_color() for one in drawn])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(unit, **WORDS)
    axes.set_ylabel(f"{number.replace('_', ' ')}, mean of the images", **WORDS)
    axes.set_title(says, loc="left", wrap=True, **WORDS)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    seen = [one for one, line in zip(drawn, lines, strict=True) if np.isfinite(line.mean).any()]
    if named := [*(seen if len(drawn) > 1 else []), *levels[:1]]:
        legend = axes.legend(handles=named, fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        for text in legend.get_texts():
            text.set_parse_math(False)
    return page


def _draw(axes: Axes, line: Line, name: str, place: int) -> Line2D:
    """The mean and its band; a look that stands alone is a point with a bar, which can be seen."""
    colours = len(rcParams["axes.prop_cycle"].by_key().get("color", "0"))  # of the user's style
    dashes = _DASHES[place // colours % len(_DASHES)]
    # a legend leaves out what begins with "_"
    (drawn,) = axes.plot(line.steps, line.mean, color=f"C{place}", ls=dashes, label=f" {name}")
    band, colour = _BAND * line.error, drawn.get_color()
    known = np.isfinite(band)
    axes.fill_between(line.steps, line.mean - band, line.mean + band, known, color=colour, alpha=0.18, lw=0)
    around = np.pad(np.isfinite(line.mean), 1)
    alone = around[1:-1] & ~around[:-2] & ~around[2:]
    if alone.any():
        axes.errorbar(line.steps[alone], line.mean[alone], band[alone], fmt="o", markersize=3, color=colour)
    return drawn


def _draw_chance(axes: Axes, levels: Sequence[float], colours: Sequence[Any]) -> list[Line2D]:
    """Where lines would be by chance, behind them: once, in gray, where that is the same for all."""
    known = {level: colour for level, colour in zip(levels, colours, strict=True) if math.isfinite(level)}
    several = len(known) > 1
    options: dict[str, Any] = {"label": " by chance", "ls": ":", "lw": 1, "zorder": 1}
    return [axes.axhline(level, color=colour if several else _GRAY, **options) for level, colour in known.items()]
