"""Which of many images are drawn: no page holds hundreds that can be read."""

from collections.abc import Sequence

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
