"""Weights from a file: a state dict, or what Lightning saved, whose keys may stand behind a prefix."""

import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from lightning_gradcam.commands.files import not_there
from lightning_gradcam.errors import SettingError, quoted

logger = logging.getLogger(__name__)

State = Mapping[str, Any]
Shape = tuple[int, ...] | None  # of a tensor; None of anything else

_BEHIND = ("state_dict", "model_state_dict", "model")  # where a file may have it among other things
_MOST = 4  # keys that are named


def load_checkpoint(model: nn.Module, name: str) -> None:
    """Load weights from a file into a model; a prefix is taken off where that is what makes its keys the model's.

    Raises:
        SettingError: the file cannot be read, or what it has does not fit.
    """
    state, own = _state(name), model.state_dict()
    prefix = _prefix(state, own)
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if wrong := _misfits(found, own):
        behind = f" behind the prefix {prefix!r}" if prefix else ""
        raise SettingError(f"--checkpoint {quoted(name)} does not fit the model{behind}: {wrong}")
    if strange := [key for key, value in found.items() if _is_complex(value) and not _is_complex(own[key])]:
        raise SettingError(f"--checkpoint {quoted(name)} does not fit the model: {_few(strange)} are complex numbers")
    try:
        model.load_state_dict(found)
    except Exception as error:  # sparse, quantized, or on no device
        raise SettingError(
            f"--checkpoint {quoted(name)} does not fit the model: {' '.join(str(error).split())[:300]}"
        ) from error
    if len(found) < len(state):
        logger.warning("of %s what is behind %r is taken: %d of %d keys", name, prefix, len(found), len(state))


def _state(name: str) -> State:
    """The state dict that a file has."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise not_there("--checkpoint", path, "a file with a state dict, or what Lightning saved")
    held = _loaded(path)
    inner = [held[key] for key in _BEHIND if isinstance(held, dict) and isinstance(held.get(key), dict)]
    state = inner[0] if inner else held
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        there = (
            f"a dict of {', '.join(map(str, state)) or 'nothing'}" if isinstance(state, dict) else type(state).__name__
        )
        raise SettingError(
            f"--checkpoint {quoted(name)} has {there[:200]}; accepted is a state dict, or one as 'state_dict' in a dict"
        )
    return {str(key): value for key, value in state.items()}


def _loaded(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SettingError(f"--checkpoint {quoted(str(path))} cannot be read{_unsafe(path)}") from error
    except Exception as error:  # as torch, zipfile and pickle tell of a broken file
        words = " ".join(str(error).split())[:200]
        raise SettingError(f"--checkpoint {quoted(str(path))} cannot be read as torch saves it: {words}") from error


def _unsafe(path: Path) -> str:
    """Why a file is not read with weights alone: what it holds might run any code."""
    try:
        others = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # a file of another kind altogether
        others = []
    if not others:
        return " as torch saves it; accepted is what torch.save wrote"
    return (
        f": beside weights it holds {_few(others)}, which are not loaded from a file, since that may run any code; "
        "accepted is a file of torch.save(model.state_dict(), FILE)"
    )


def _prefix(state: State, own: State) -> str:
    """The prefix behind which most of the model's keys are, of their shapes; "" where there is none."""
    fits: dict[str, list[int]] = {}
    for key, value in state.items():
        parts = key.split(".")
        for start in range(len(parts)):
            end = ".".join(parts[start:])
            if end in own:
                counts = fits.setdefault(key.removesuffix(end), [0, 0])
                counts[0] += _shape(value) == _shape(own[end])
                counts[1] += 1
    best = [prefix for prefix, counts in fits.items() if counts == max(fits.values())]
    if len(best) > 1 and fits[best[0]][0] == len(own):
        logger.warning("the weights behind %s fit alike; those behind %r are taken", _few(map(repr, best)), best[0])
    return best[0] if best else ""


def _misfits(found: State, own: State) -> str:
    """Which keys do not fit, in words; "" where all do."""
    missing = [key for key in own if key not in found]
    others = [key for key in found if key not in own]
    reshaped = {key: (_shape(found[key]), _shape(own[key])) for key in own if key in found}
    reshaped = {key: shapes for key, shapes in reshaped.items() if shapes[0] != shapes[1]}
    shapes = [
        f"{key} is {_said(there)} there and {_said(here)} in the model" for key, (there, here) in reshaped.items()
    ]
    told = [
        f"{len(keys)} of {count} keys {what} ({_few(keys)})"
        for keys, count, what in (
            (missing, len(own), "of the model are not there"),
            (others, len(found), "there are not the model's"),
            (shapes, len(own), "are of another shape"),
        )
        if keys
    ]
    return "; ".join(told) + _meant(reshaped)


def _meant(reshaped: Mapping[str, tuple[Shape, Shape]]) -> str:
    """Say so where it is the number of classes alone that differs: the first size of one layer's weight and bias."""
    shapes, layers = list(reshaped.values()), {key.rpartition(".")[0] for key in reshaped}
    if len(layers) != 1 or not all(there and here and there[1:] == here[1:] for there, here in shapes):
        return ""
    counts = {there[0] for there, _ in shapes if there}
    return f"; is it --classes {counts.pop()}?" if len(counts) == 1 and min(counts) > 1 and len(shapes) < 3 else ""


def _is_complex(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_complex()


def _shape(value: Any) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _said(shape: Shape) -> str:
    return "no tensor" if shape is None else str(shape)


def _few(words: Iterable[str]) -> str:
    known = list(words)
    return ", ".join(known[:_MOST]) + (", ..." if len(known) > _MOST else "")
