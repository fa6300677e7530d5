"""What was logged, read back from TensorBoard's event files: maps, numbers and images as arrays; without torch."""

import logging
import math
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from html import escape
from io import BytesIO
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_gradcam.errors import SettingError, nearest, quoted
from lightning_gradcam.logs.drawings import Chosen, drawing_of
from lightning_gradcam.logs.layer_log import Array, Drawing, LayerLog
from lightning_gradcam.logs.runs import find_runs, meant, read_layers
from lightning_gradcam.logs.table import columns_of
from lightning_gradcam.pictures.choosing import MOST_TARGETS
from lightning_gradcam.pictures.film import ACROSS, COLUMNS, FRAMES, filmstrip, timelapse
from lightning_gradcam.pictures.grid import grid
from lightning_gradcam.pictures.looks import of_targets
from lightning_gradcam.timeline.clusters import clustered
from lightning_gradcam.values import natural

if TYPE_CHECKING:
    import pandas
    import torch
    from matplotlib.figure import Figure

    from lightning_gradcam.pictures.curves import Line

logger = logging.getLogger(__name__)

_MOST = 8  # layers that are told of in a few lines
_SHOWN = 4  # maps of a look in a notebook
_ACCEPTED = "accepted is a folder with event files of GradCAMCallback, of one run or of several below it"


class AttentionLog:
    """What was logged of some layers, in one run or in several.

    Iterating gives the log of each layer in each run alone, and `of` a narrower one. Such a log of one layer in one run
    has E looks at N images with T targets each, which are its arrays and lists; asked of a wider log they raise a
    `SettingError` that says what there is. Looks of a branch that a resumed run has left are left out, and so are those
    at other images than the last look's, and of other shapes.

    Attributes:
        notes: what cannot be read, and what is left out, a sentence each.
    """

    def __init__(
        self, layer: LayerLog | None, narrower: Sequence["AttentionLog"] = (), notes: Sequence[str] = ()
    ) -> None:
        self._layer = layer
        self._narrower, self._notes = tuple(narrower), tuple(notes)
        all_notes = chain(notes, layer.all_notes if layer else (), *(log.notes for log in narrower))
        self.notes: tuple[str, ...] = tuple(dict.fromkeys(all_notes))

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs: each one's path below the folder that was read, "." for that itself."""
        return tuple(dict.fromkeys(log.run for log in self))

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers by their dotted names; behind a callback's name and a "/" where it has one."""
        return tuple(sorted({log.layer for log in self}, key=natural))

    def of(self, run: str | None = None, layer: str | None = None) -> "AttentionLog":
        """Return the log of one run, of one layer, or of both alone.

        Raises:
            SettingError: there is no such run or layer.
        """
        found = _chosen(_chosen(list(self), "run", run), "layer", layer)
        return found[0] if len(found) == 1 else AttentionLog(None, found)

    def with_earlier(self) -> "AttentionLog":
        """Return the log with the looks that a resumed run goes on from in front of its own, from where those are read.

        A training that was resumed in another folder is then one line from its beginning, without what it has left. Of
        several runs each is as whole as it can be, and one whose looks are all another's is no more beside that, where
        they would count twice.
        """
        if self._layer is not None:
            return AttentionLog(self._layer.whole, notes=self._notes)
        wholes = [log.with_earlier() for log in self]
        looks = [set(map(id, log._one("with_earlier").looks)) for log in wholes]
        kept = [log for log, own in zip(wholes, looks, strict=True) if not any(own < others for others in looks)]
        return _joined(kept, self._notes)

    def __iter__(self) -> Iterator["AttentionLog"]:
        return iter(self._narrower or (self,))

    def __len__(self) -> int:
        return len(self._narrower or (self,))

    def __repr__(self) -> str:
        title = f"AttentionLog of {_counted(len(self.runs), 'run')} and {_counted(len(self.layers), 'layer')}"
        lines = [_summary(log._one("layer")) for log in islice(self, _MOST)]
        rest = [f"and {len(self) - _MOST} more"] if len(self) > _MOST else []
        notes = [f"note: {note}" for note in self.notes[:_MOST]]
        return "\n  ".join([title, *lines, *rest, *notes])

    @property
    def run(self) -> str:
        """The run's path below the folder that was read, "." for that itself."""
        return self._one("run").run

    @property
    def layer(self) -> str:
        """The layer's dotted name, behind the callback's name and a "/" if it has one."""
        return self._one("layer").layer

    @property
    def steps(self) -> Array:
        """(E,) int64, when each look was, in units of `unit`."""
        return self._one("steps").steps

    @property
    def unit(self) -> str:
        """What steps count: "epoch" or "step"."""
        return self._one("unit").unit

    @property
    def scale(self) -> str:
        """How the run drew its maps: "image", each by itself, or "run", by the highest peak their image has had."""
        return str(self._one("scale").told["scale"])

    @property
    def maps(self) -> Array:
        """(E, N, T, h, w) float32 in 0..1, 1 at each map's peak; NaN where a look's maps cannot be read."""
        return self._one("maps").maps

    @property
    def states(self) -> Array:
        """(E, N, T) uint8, 0 shown, 1 blank, 2 not finite."""
        return self._one("states").states

    @property
    def scores(self) -> Array:
        """(E, N, S) float32: what the model says of each image, as captions have it; S is 1 but of several values."""
        return self._one("scores").fields["scores"]

    @property
    def predictions(self) -> Array:
        """(E, N) int32, the predicted class; 0 where the task has none, -1 where the scores are not finite."""
        return self._one("predictions").fields["predictions"]

    @property
    def wrong(self) -> Array:
        """(E, N) bool, whether the prediction is known to be; of several labels the likeliest one, or that none is."""
        return self._one("wrong").fields["wrong"]

    @property
    def answers(self) -> Array:
        """(E, N) str: what the model says of each image, in words."""
        return self._one("answers").answers

    @property
    def targets(self) -> Array:
        """(E, N, T) int32, the explained class; -1 where the target is no single class."""
        return self._one("targets").fields["targets"]

    @property
    def numbers(self) -> dict[str, Array]:
        """(E, N, T) float32 by name, as `metrics` says of each; NaN where a map, or a look, has none."""
        return self._one("numbers").numbers

    @property
    def peaks(self) -> Array | None:
        """(E, N, T) float32, each map's maximum before it was divided by it; None where maps have no strength."""
        return self._one("peaks").numbers.get("peak")

    @property
    def pictures(self) -> list[NDArray[np.uint8]]:
        """The N images as people see them, (H, W, 3) uint8, at most 256 pixels wide and high; [] where unknown.

        They come from JPEGs of quality 88: close to what was shown, and not what the model got.
        """
        return self._one("pictures").decoded

    @property
    def truths(self) -> list[list[float]]:
        """Each image's classes, or its values in a regression; [] where unknown."""
        return [list(truth) for truth in self._one("truths").told["truths"]]

    @property
    def said(self) -> list[str]:
        """Each image's truth in words."""
        return list(self._one("said").told["said"])

    @property
    def indices(self) -> list[int] | None:
        """Where in the data set each image is; None where that is unknown."""
        indices = self._one("indices").told["indices"]
        return None if indices is None else list(indices)

    @property
    def areas(self) -> Array | None:
        """(N,) float64 in 0..1, the thing's share of each image, NaN where there is none; None without masks.

        None of a segmentation, too, whose thing is the explained class. Their mean is TensorBoard's `mask_area`.
        """
        areas = self._one("areas").told["areas"]
        return None if areas is None else np.array(areas, np.float64)

    @property
    def fingerprints(self) -> list[str]:
        """What tells each image from others: the same in every run that looks at the same pixels."""
        return list(self._one("fingerprints").told["fingerprints"])

    @property
    def class_names(self) -> list[str] | None:
        """A name for each class, or None."""
        names = self._one("class_names").told["class_names"]
        return None if names is None else list(names)

    @property
    def columns(self) -> list[str]:
        """Names of the T targets, where there are several."""
        return list(self._one("columns").told["columns"])

    @property
    def about(self) -> str:
        """What the maps are of: target, method, task."""
        return str(self._one("about").told["about"])

    @property
    def task(self) -> str:
        """The task's kind, as `GradCAMCallback` has it; "" where unknown."""
        return str(self._one("task").told["task"])

    @property
    def caution(self) -> str:
        """What was said at the fit's end of what the maps were worth, with `trust=True`; else ""."""
        return self._one("caution").caution

    @property
    def metrics(self) -> dict[str, dict[str, str]]:
        """What has to be known to read each number, by name: sentences `says`, `direction`, `chance`, `failing`."""
        return {name: dict(words) for name, words in self._one("metrics").told["metrics"].items()}

    def mean(self, name: str) -> NDArray[np.float64]:
        """Return a number's mean at each look, (E,), over images and targets that have it; NaN where none has.

        Raises:
            SettingError: there is no such number.
        """
        self._check_number("mean", name)
        return clustered(self.numbers[name].astype(np.float64)).mean

    def chance(self, name: str) -> float:
        """Return what a number is where there is nothing to be seen; NaN where it has no such level, or none is known.

        Of `in_mask` and `pointing` that is the things' mean share of the images.

        Raises:
            SettingError: there is no such number.
        """
        self._check_number("chance", name)
        of_things = self.areas if name in ("in_mask", "pointing") else None
        if of_things is not None and np.isfinite(of_things).any():
            return float(np.nanmean(of_things))
        words = self.metrics.get(name, {}).get("chance", "")
        found = re.match(r"-?\d+(\.\d+)?(?=\W)", words)  # "0.36, of heat that is everywhere alike."
        return float(found[0]) if found else math.nan

    def to_frame(self) -> "pandas.DataFrame":
        """Return a table with a row for each map: run, layer, step, image and target.

        Columns: `run`, `layer`, `step`, `image` (its place), `index` (in the data set), `fingerprint`, `area` (of the
        thing), `true`, `predicted` and `explained` (a class's name, or its number; several joined by ", ", and none of
        several "none"; of a task without classes the first value; nothing where the truth is unknown, or the target is
        no single class), `wrong` (nothing where a prediction cannot be, or that is unknown), `score` (the first),
        `state` (shown, blank, not finite or unknown), and each of `numbers`.

        Raises:
            SettingError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise SettingError("to_frame needs pandas: pip install pandas") from error
        frame = pandas.DataFrame(self.to_columns()).infer_objects()
        return frame if frame["wrong"].dtype == bool else frame.astype({"wrong": "boolean"})

    def to_columns(self) -> dict[str, Array]:
        """Return the columns of `to_frame` as arrays, by name, which takes no pandas."""
        return columns_of([log._one("to_columns") for log in self])

    def to_tensors(self) -> "dict[str, torch.Tensor]":
        """Return steps, maps, states, scores, predictions, wrong, targets and each number, by name, as tensors."""
        self._one("to_tensors")
        import torch

        names = ("steps", "maps", "states", "scores", "predictions", "wrong", "targets")
        arrays = self.numbers | {name: getattr(self, name) for name in names}
        return {name: torch.tensor(array) for name, array in arrays.items()}

    def grid(self, step: int | None = None, images: Chosen = None) -> Image.Image:
        """Return one look in one picture.

        Args:
            step: of `steps`; None for the last.
            images: their places, or a bool for each, as `wrong[-1]`; "wrong" for those whose prediction is wrong at a
                look that is drawn, of more than 16 those at most of them; "moved" for those whose map went farthest, by
                1 - cosine similarity, from the first look that is drawn, here from the first there is, to the last; of
                these 16 at most, and no others, in the order of their places; None for all of 16 or fewer, of more 16
                that are spread over the classes.

        Raises:
            SettingError: there is no such look or image, none that is wrong or has moved, or the images cannot be read.
        """
        drawing = self._drawing("grid", step, images, 1, until_there=True)
        scene, (sight,) = drawing.scene, drawing.sights
        return grid(scene, sight, self.layer, f"{self.unit} {sight.step}", drawing.highest)

    def filmstrip(self, epochs: Sequence[int] | None = None, images: Chosen = None) -> Image.Image:
        """Return how maps changed in one picture: a line of looks an image and target.

        Args:
            epochs: of `steps`; None for all of 12 or fewer, of more 12 that are evenly spread.
            images: as in `grid`.

        Raises:
            SettingError: as `grid`.
        """
        drawing = self._drawing("filmstrip", epochs, images, COLUMNS)
        return filmstrip(drawing.scene, drawing.sights, self.layer, drawing.highest)

    def timelapse(self, epochs: Sequence[int] | None = None, images: Chosen = None) -> bytes:
        """Return an animated WebP, a frame a look.

        Args:
            epochs: of `steps`; None for all of 300 or fewer, of more 300 that are evenly spread.
            images: as in `grid`.

        Raises:
            SettingError: as `grid`.
        """
        drawing = self._drawing("timelapse", epochs, images, FRAMES)
        return timelapse(drawing.scene, drawing.sights, self.layer, drawing.highest)

    def figure(self, epochs: Sequence[int] | None = None, images: Chosen = None) -> "Figure":
        """Return the film strip for print: `figure(...).savefig("attention.pdf")` has its words as vectors.

        Args:
            epochs: of `steps`; None for all of six or fewer, of more six that are evenly spread.
            images: as in `grid`, but six where it has 16, or as many as a page holds.

        Raises:
            SettingError: as `grid`, or more images and looks are named than can be made out on a page.
        """
        from lightning_gradcam.pictures.paper import most_of, strip_figure

        pictures, targets = self._one("figure").decoded, min(self.states.shape[2], MOST_TARGETS)
        most, looks = most_of(pictures, targets)
        drawing = self._drawing("figure", epochs, images, looks, most)
        return strip_figure(drawing.scene, drawing.sights, self.layer, drawing.highest)

    def curve(self, number: str) -> "Figure":
        """Return a number's mean by step, as `mean` has it, a line for each layer and run, as a figure of matplotlib.

        Around each lie 1.96 standard errors of that mean over the images; of a single image none are known, and none
        are drawn. An image's targets are not independent: they count as one cluster. Dots are what it is by `chance`,
        in a line's colour where that is not the same for all.

        Raises:
            SettingError: no layer has such a number, or looks are counted in epochs here and in steps there.
        """
        from lightning_gradcam.pictures.curves import curve_figure

        logs = [log for log in self if isinstance(number, str) and number in log.numbers]
        if not logs:
            names = list(dict.fromkeys(name for log in self for name in log.numbers))
            told = f"there are {', '.join(names) or 'none'}"
            raise SettingError(f"number={quoted(number)} is none{_near(number, names)}; {told}")
        if len({log.unit for log in logs}) > 1:
            raise SettingError(f"number={quoted(number)}: some runs count epochs, others steps; of(run=...) chooses")
        says = logs[0].metrics.get(number, {}).get("says", "")
        return curve_figure([_line(log, number, logs) for log in logs], number, logs[0].unit, says)

    def _repr_html_(self) -> str:
        """What a notebook shows: what there is, and of a single layer a film strip of a few images."""
        told = f'<pre style="white-space:pre-wrap;word-break:normal">{escape(repr(self))}</pre>'
        if self._layer is None or not self.pictures:
            return told
        targets = min(_SHOWN, self.states.shape[2])
        drawing = self._drawing("filmstrip", None, None, ACROSS, _SHOWN // targets)
        scene, sights, highest = of_targets(*drawing, targets)
        buffer = BytesIO()
        filmstrip(scene, sights, self.layer, highest).save(buffer, "JPEG", quality=80, subsampling=0)
        source = f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
        return f'{told}<img alt="film strip of {escape(self.layer)}" style="max-width:100%" src="{source}">'

    def _drawing(self, name: str, *asked: Any, **options: Any) -> Drawing:
        return drawing_of(self._one(name), name, *asked, **options)

    def _check_number(self, asked: str, name: object) -> None:
        numbers = self._one(asked).numbers
        if not isinstance(name, str) or name not in numbers:
            there = f"there are {', '.join(numbers) or 'none'}"
            raise SettingError(f"name={quoted(name)} is no number{_near(name, numbers)}; {there}")

    def _one(self, name: str) -> LayerLog:
        """The only layer's records, which `name` is asked of."""
        if self._layer is not None:
            return self._layer
        first = next(iter(self))
        raise SettingError(
            f"{name}: this log is of the runs {quoted(list(self.runs))} and the layers {quoted(list(self.layers))}; "
            f"one layer's in one run has it, as log.of(run={first.run!r}, layer={first.layer!r})"
        )


def read_log(folder: str | PathLike[str]) -> AttentionLog:
    """Read what `GradCAMCallback` logged for the Attention tab, of one run or of all runs below a folder.

    It reads TensorBoard's event files, also those of a run that goes on, and imports no torch. What cannot be read is
    left out, logged as one warning, and told by the log's `notes`.

    Args:
        folder: a run's, or one that has runs below it, as TensorBoard's `--logdir`.

    Raises:
        SettingError: the folder is not there, or has no such data.
    """
    if not isinstance(folder, (str, PathLike)) or not os.fspath(folder):  # as an unset variable is, in a script
        raise SettingError(f"folder={quoted(folder)}; accepted is a path")
    given = Path(os.path.expanduser(os.fsdecode(folder)))
    if os.path.isfile(given):
        raise SettingError(f"folder={str(given)!r} is a file; accepted is a folder, as its own, {str(given.parent)!r}")
    if not os.path.isdir(given):  # which a name that is too long is not either
        raise SettingError(f"folder={str(given)!r} is no folder that is there; {_ACCEPTED}{meant(given)}")
    notes: list[str] = []
    logs = [AttentionLog(layer) for layer in read_layers(find_runs(given, notes), notes)]
    if not logs:
        told = f" ({'; '.join(notes)})" if notes else ""
        raise SettingError(f"folder={str(given)!r} has no such data{told}; {_ACCEPTED}{meant(given)}")
    log = _joined(logs, notes)
    if log.notes:
        logger.warning("%s: %s", given, "; ".join(log.notes))
    return log


def _joined(logs: Sequence[AttentionLog], notes: Sequence[str]) -> AttentionLog:
    """The log of several layers' logs; of a single one that itself."""
    return AttentionLog(logs[0]._layer, notes=notes) if len(logs) == 1 else AttentionLog(None, logs, notes)


def _near(given: object, names: Iterable[str]) -> str:
    """The nearest names, of what is a name at all."""
    return nearest(given, names) if isinstance(given, str) else ""


def _line(log: AttentionLog, number: str, logs: Sequence[AttentionLog]) -> "Line":
    """One layer's line, named by what tells it from the others."""
    from lightning_gradcam.pictures.curves import line_of

    names = [getattr(log, part) for part in ("run", "layer") if len({getattr(one, part) for one in logs}) > 1]
    line = line_of(", ".join(names), log.steps, log.numbers[number].astype(np.float64))
    return replace(line, chance=log.chance(number))


def _chosen(logs: list[AttentionLog], name: str, wanted: str | None) -> list[AttentionLog]:
    """The logs of one layer each whose run, or layer, is the wanted one."""
    if wanted is None:
        return logs
    there = list(dict.fromkeys(getattr(log, name) for log in logs))
    chosen = [log for log in logs if getattr(log, name) == wanted] if isinstance(wanted, str) else []
    if not chosen:
        text = str(wanted)
        parts = [one for one in there if text in one]
        near = nearest(text, there) or (f"; did you mean {parts[0]!r}?" if text and parts else "")
        raise SettingError(f"{name}={quoted(wanted)} is not there{near}; there are {', '.join(map(repr, there))}")
    return chosen


def _summary(alone: LayerLog) -> str:
    """One layer's log in a line."""
    first, last, sizes = alone.looks[0], alone.looks[-1], alone.looks[-1].head["sizes"]
    numbers = ", ".join(alone.names) or "no numbers"
    return (
        f"run {alone.run!r}, layer {alone.layer!r}: {_counted(len(alone.looks), 'look')}, {alone.unit} "
        f"{first.step} to {last.step}; {_counted(sizes['N'], 'image')}, {_counted(sizes['T'], 'target')}, "
        f"maps {sizes['h']}x{sizes['w']}; {numbers}"
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
