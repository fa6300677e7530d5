"""Which of many images are drawn: no page holds hundreds that can be read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_gradcam.cam.states import NOT_FINITE, SHOWN
from lightning_gradcam.pictures.looks import Sight

MOST = 16  # images
MOST_TARGETS = 16
MOST_MAPS = 48  # images times targets


def spread(truths: Sequence[object], most: int = MOST, first: Sequence[int] = ()) -> list[int]:
    """Return the rows of at most so many images, in their order: of each class as many, spread over its images.

    Args:
        truths: what each image is of; all the same where that is unknown.
        most: how many.
        first: rows that are among them whatever they are of.
    """
    chosen = list(dict.fromkeys(first))[:most]
    classes: dict[object, list[int]] = {}
    for row, truth in enumerate(truths):
        classes.setdefault(truth, []).append(row)
    known = set(chosen)
    counts = [sum(row in known for row in rows) for rows in classes.values()]
    left = [[row for row in rows if row not in known] for rows in classes.values()]
    wanted = _shares(counts, [len(rows) for rows in left], most - len(chosen))
    return sorted([*chosen, *(row for rows, count in zip(left, wanted, strict=True) for row in _among(rows, count))])


def drawn(truths: Sequence[object], targets: int) -> list[int]:
    """Return the rows of the images that a run draws: few enough for a strip of all their targets."""
    return spread(truths, most_drawn(targets))


def most_drawn(targets: int) -> int:
    """How many images of so many targets each."""
    return max(1, min(MOST, MOST_MAPS // min(targets, MOST_TARGETS)))


def foremost(amounts: NDArray[Any], truths: Sequence[object], most: int) -> list[int]:
    """Return the rows, in their order, of so many at most that have most; none that has nothing.

    Args:
        amounts: (N,), how much each has; of those that have as much as the last one, some, spread over the classes.
        truths: what each image is of.
        most: how many.
    """
    having = [int(row) for row in np.argsort(-amounts, kind="stable") if amounts[row] > 0]
    if len(having) <= most:
        return sorted(having)
    least = amounts[having[most - 1]]
    rows = sorted(row for row in having if amounts[row] >= least)
    surely = [place for place, row in enumerate(rows) if amounts[row] > least]
    return [rows[place] for place in spread([truths[row] for row in rows], most, surely)]


def moved(first: Sight, last: Sight) -> NDArray[np.float64]:
    """Return how far each image's map went from one look to another, (N,) in 0..1, the farthest of its targets.

    It is 1 - cosine similarity; 1 where one of the two is blank, 0 where both are, or where one is not known.
    """
    before, after = (_flat(sight) for sight in (first, last))
    lengths = [np.linalg.norm(maps, axis=2) for maps in (before, after)]
    product = lengths[0] * lengths[1]
    alike = np.divide((before * after).sum(2), product, out=np.zeros_like(product), where=product > 0)
    both_blank = (lengths[0] == 0) & (lengths[1] == 0)
    unknown = (first.states >= NOT_FINITE) | (last.states >= NOT_FINITE)
    far = np.where(both_blank | unknown, 0, 1 - alike).max(1)
    farthest: NDArray[np.float64] = far.round(6)  # the cosine of a map and itself is not quite 1
    return farthest


def _flat(sight: Sight) -> NDArray[np.float64]:
    """(N, T, places); nothing where nothing is shown."""
    maps = np.where((sight.states == SHOWN)[..., None, None], sight.maps, 0)
    flat: NDArray[np.float64] = maps.reshape(*maps.shape[:2], -1).astype(np.float64)
    return flat


def _shares(counts: Sequence[int], left: Sequence[int], room: int) -> list[int]:
    """How many more each class gets: always those that have fewest, where they are too many some of them, spread."""
    given = [0] * len(counts)
    while room > 0 and (open_ := [place for place, rest in enumerate(left) if rest > given[place]]):
        fewest = min(counts[place] + given[place] for place in open_)
        for place in _among([place for place in open_ if counts[place] + given[place] == fewest], room):
            given[place] += 1
            room -= 1
    return given


def _among(rows: Sequence[int], count: int) -> list[int]:
    """At most so many, from the middles of as many equal stretches."""
    count = min(count, len(rows))
    return [rows[(2 * place + 1) * len(rows) // (2 * count)] for place in range(count)]
