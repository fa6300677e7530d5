"""What was logged as one table, with a row for each map."""

from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from lightning_gradcam.cam.states import STATES
from lightning_gradcam.logs.layer_log import Array, LayerLog

_NONE = "none"  # of several classes
Columns = dict[str, Array]  # by name, all as long


def columns_of(logs: Sequence[LayerLog]) -> Columns:
    """Return the columns of several layers' maps below each other; NaN where one has no such number."""
    tables = [_rows(log) for log in logs]
    names = dict.fromkeys(chain.from_iterable(tables))
    lacking = [np.full(len(table["run"]), np.nan, np.float32) for table in tables]
    return {
        name: np.concatenate([table.get(name, nan) for table, nan in zip(tables, lacking, strict=True)])
        for name in names
    }


def _rows(log: LayerLog) -> Columns:
    """One layer's columns."""
    told, shape = log.told, log.states.shape
    fields, names = log.fields, told["class_names"]
    scores = fields["scores"]

    def spread(values: Any, axes: str) -> Array:
        """Of each look (E), image (N) and target (T) along the axes that are named."""
        index = tuple(slice(None) if axis in axes else None for axis in "ENT")
        return np.broadcast_to(np.asarray(values)[index], shape).ravel()

    first = scores[..., 0] if scores.shape[2] else np.full(shape[:2], np.nan, np.float32)
    of_values = told["task"] in ("regression", "none")
    states = np.array([*STATES, "unknown"], object)
    columns = {
        "run": np.full(prod(shape), log.run, object),
        "layer": np.full(prod(shape), log.layer, object),
        "step": spread(log.steps, "E"),
        "image": spread(np.arange(shape[1]), "N"),
        "index": spread(np.array(told["indices"] or [None] * shape[1], object), "N"),
        "fingerprint": spread(np.array(told["fingerprints"] or [""] * shape[1], object), "N"),
        "area": spread(np.array(told["areas"] or [None] * shape[1], np.float64), "N"),
        "true": spread(_truths(log, shape[1], of_values), "N"),
        "predicted": spread(first if of_values else _predicted(log, first), "EN"),
        "explained": spread(_named(fields["targets"], names), "ENT"),
        "wrong": spread(_judged(log), "EN"),
        "score": spread(first, "EN"),
        "state": spread(states[np.minimum(log.states, len(STATES))], "ENT"),
    }
    return columns | {name: values.ravel() for name, values in log.numbers.items() if name not in columns}


def _judged(log: LayerLog) -> Array:
    """Whether each prediction is wrong, (E, N); None where that cannot be known."""
    wrong, judged = log.fields["wrong"], log.judged
    if judged.all():
        return wrong
    known = wrong.astype(object)
    known[~judged] = None
    return known


def _predicted(log: LayerLog, likeliest: Array) -> Array:
    """The predicted class by name or number, (E, N); of several "none" where the likeliest is likelier not there."""
    named = _named(log.fields["predictions"], log.told["class_names"])
    if log.told["task"] == "multilabel":
        named[likeliest <= 0.5] = _NONE
    return named


def _truths(log: LayerLog, images: int, of_values: bool) -> Array:
    """Each image's class by name or number, several joined by ", ", or its first value; None where unknown, (N,)."""
    told, found = log.told, np.full(images, None, object)
    for place, truth in enumerate(told["truths"]):
        if told["task"] == "multilabel" and not truth:
            found[place] = _NONE if log.open_of(place) == [] else None
            continue
        if of_values:
            found[place] = truth[0] if truth else np.nan
        elif truth:
            names = _named(np.array(truth), told["class_names"]).tolist()
            found[place] = names[0] if len(names) == 1 else ", ".join(map(str, names))
    return found


def _named(classes: Array, names: Sequence[str] | None) -> Array:
    """Each class's name, or its number where it has none; None for -1, which is no single class."""
    there, places = np.unique(classes, return_inverse=True)
    known = dict(enumerate(names or ()))
    words = np.full(len(there), None, object)
    words[:] = [None if one == -1 else known.get(one, one) for one in there.tolist()]
    found: Array = words[places.reshape(classes.shape)]
    return found
