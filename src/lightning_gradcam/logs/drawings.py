"""Which looks and images of a log are drawn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.logs.layer_log import NEVER_WRONG, Array, Drawing, LayerLog
from lightning_gradcam.pictures.choosing import MOST, foremost, most_drawn, moved, spread
from lightning_gradcam.pictures.film import evenly
from lightning_gradcam.values import plain

Chosen = Sequence[int] | str | None  # images: places, "moved", "wrong", or as many as are drawn


def drawing_of(
    log: LayerLog, name: str, steps: Any, images: Chosen, looks: int, most: int = MOST, until_there: bool = False
) -> Drawing:
    """Return what is drawn of a log: looks and images that are named, else as many as the picture holds.

    Args:
        log: one layer's.
        name: of what asks, for errors.
        steps: of the looks; None for so many, evenly spread.
        images: their places, "moved", "wrong", or None for so many, spread over the classes.
        looks: how many at most.
        most: how many images at most.
        until_there: one look, as the run drew it then.

    Raises:
        SettingError: there is no such look or image, or the images cannot be read.
    """
    argument = "step" if until_there else "epochs"
    places = _looks(log, argument, steps, looks)
    since = 0 if until_there else places[0]
    rows, which = _rows(log, name, plain(images), places, since, min(most, most_drawn(log.states.shape[2])))
    drawing = log.drawing(places, rows, places[-1] if until_there else None)
    return drawing._replace(scene=replace(drawing.scene, looks=len(log.steps), **which))


def _looks(log: LayerLog, argument: str, steps: Any, most: int) -> list[int]:
    """The places of the looks that are drawn, so many at most where they are not named."""
    known = {int(step): place for place, step in enumerate(log.steps)}
    if steps is None:
        return evenly([*known.values()], most) if most > 1 else [len(known) - 1]
    given, there = plain(steps), f"{log.unit}s {quoted(list(known))}"
    wanted = [given] if argument == "step" else given
    if not isinstance(wanted, (list, tuple, range)) or not all(map(_is_number, wanted)):
        listed = "" if argument == "step" else "a list of "
        raise SettingError(f"{argument}={quoted(given)}; accepted are {listed}{there}, or None")
    missing = [step for step in wanted if step not in known]
    if missing or not wanted:
        told = f"{log.unit} {missing[0]} has no look" if missing else f"{argument}=[] names no look"
        raise SettingError(f"{told}; there are {there}")
    return [known[step] for step in wanted]


def _rows(
    log: LayerLog, name: str, images: Any, places: Sequence[int], since: int, most: int
) -> tuple[list[int], dict[str, Any]]:
    """The images that are drawn, so many at most where they are not named, and what a scene says of the choice."""
    scene, count = log.scene, log.states.shape[1]
    if not scene.pictures:
        raise SettingError(f"{name}: the images of {log.layer!r} in run {log.run!r} cannot be read")
    if images is None:
        return spread(scene.truths, most), {}
    if isinstance(images, str):
        amounts = _amounts(log, images, places, since)
        return foremost(amounts, scene.truths, most), {"chosen": images, "having": int((amounts > 0).sum())}
    accepted = f"accepted are places of 0 to {count - 1}"
    if isinstance(images, (list, tuple)) and len(images) == count and all(isinstance(one, bool) for one in images):
        images = [place for place, is_wanted in enumerate(images) if is_wanted]  # a mask, as NumPy has it
    if not isinstance(images, (list, tuple, range)) or not all(map(_is_whole, images)):
        raise SettingError(f"images={quoted(images)}; {accepted}, a bool for each, 'moved', 'wrong' or None")
    if not images or not all(0 <= place < count for place in images):
        raise SettingError(f"images={quoted(list(images))}; {accepted}, at least one")
    return list(images), {}


def _amounts(log: LayerLog, images: str, places: Sequence[int], since: int) -> Array:
    """How wrong each image is at some looks, or how far its maps moved since one, (N,)."""
    amounts: Array
    if images == "wrong":
        if (task := log.told["task"]) in NEVER_WRONG:
            told = f"no prediction of the task {task!r} is right or wrong"
            raise SettingError(f"images='wrong': {told}; accepted are places, 'moved' or None")
        amounts, none = log.fields["wrong"][list(places)].mean(0), "no prediction is wrong at"
        named = [int(log.steps[place]) for place in places]
    elif images == "moved":
        ends = [log.sight(place) for place in (since, places[-1])]
        amounts, none = moved(*ends), "no map is another at"
        named = [sight.step for sight in ends]
    else:
        raise SettingError(f"images={quoted(images)}; accepted are places, 'moved', 'wrong' or None")
    if not amounts.any():
        told = f"{log.unit} {named[0]}" if len(set(named)) == 1 else f"{log.unit}s {quoted(named)}"
        raise SettingError(f"images={images!r}: {none} {told}")
    return amounts


def _is_whole(value: object) -> bool:
    """Whether it is a place or a step, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """Whether it may name a look: tables have whole numbers as floats too."""
    return isinstance(value, float) or _is_whole(value)
