"""The model that a command is asked of: by torchvision's or timm's name, or by a path to what makes it."""

import importlib
import inspect
import logging
import operator
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode

from lightning_gradcam.commands.checkpoints import load_checkpoint
from lightning_gradcam.errors import SettingError, nearest, quoted

logger = logging.getLogger(__name__)

_ACCEPTED = "accepted are a torchvision name, timm/ and a timm name, or package.module:callable"
_TIMM = "timm/"
_USUAL = 224  # pixels of a side, where nothing else is said


@dataclass(frozen=True)
class Network:
    """A model, and how its images are made.

    Attributes:
        model: the module.
        size: what images are brought to, as `explain` takes it; None leaves them as they are.
        crop: in place of `size`: what the shorter side is brought to, and the sides of what is cut out of the middle.
        interpolation: with `crop`.
        mean: what normalising subtracts.
        std: what it divides by.
        categories: a name for each class, as far as known.
    """

    model: nn.Module
    size: int | tuple[int, int] | None = None
    crop: tuple[int, tuple[int, int]] | None = None
    interpolation: InterpolationMode = InterpolationMode.BILINEAR
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    categories: Sequence[str] = ()


def find_network(args: Namespace) -> Network:
    """Return the model that the options name, with its weights, and how they say that its images are made.

    Raises:
        SettingError: there is no such model, it cannot be made, or its weights cannot be had.
    """
    if args.weights and args.classes:
        raise SettingError(
            f"--classes {args.classes}: pretrained weights have classes of their own; accepted with it is --checkpoint"
        )
    found = _network(args)
    if args.checkpoint:
        load_checkpoint(found.model, args.checkpoint)
        if args.mean is None:
            logger.warning("images are not normalised; if the model was trained with a mean and a std, pass both")
    if args.size is not None:
        found = replace(found, size=args.size, crop=None)
    return found if args.mean is None and args.std is None else replace(found, mean=args.mean, std=args.std)


def _network(args: Namespace) -> Network:
    if ":" in args.model:
        found = _of_path(args)
        if not args.checkpoint:
            logger.warning("%s has the weights that it is made with; --checkpoint FILE loads others", args.model)
        return found
    found = _of_timm(args) if args.model.startswith(_TIMM) else _of_torchvision(args)
    if not args.weights and not args.checkpoint:
        logger.warning(
            "%s has RANDOM WEIGHTS: it has learned nothing, and its maps say nothing; --weights DEFAULT takes "
            "pretrained ones, --checkpoint FILE your own",
            args.model,
        )
    return found


def _of_torchvision(args: Namespace) -> Network:
    name, known = args.model, models.list_models()
    if name not in known:
        near = nearest(name, [*known, *_timm_names()])
        raise SettingError(f"MODEL {quoted(name)} is none that is known{near}; {_ACCEPTED}")
    kinds = models.get_model_weights(name)
    by_name = {one.name: one for one in kinds} | ({"DEFAULT": kinds.DEFAULT} if len(kinds) else {})
    if args.weights and args.weights not in by_name:
        raise _no_weights(args, by_name)
    options: dict[str, Any] = {} if args.classes is None else {"num_classes": args.classes}
    if not args.weights and "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        options["weights_backbone"] = None  # they would be downloaded
    weights = by_name.get(args.weights)
    model = _made(args, lambda: models.get_model(name, weights=weights, **options))
    return _as_preset(Network(model), weights, by_name.get("DEFAULT"))


def _as_preset(network: Network, weights: Any, usual: Any) -> Network:
    """With its weights' own transforms; without weights at the size of those that are usual."""
    kind = weights or usual
    preset: Any = None if kind is None else kind.transforms()
    resize, sides = (_side(getattr(preset, part, None)) for part in ("resize_size", "crop_size"))
    if weights is None:
        return replace(network, size=sides or resize or _USUAL)
    mean, std = (getattr(preset, part, None) for part in ("mean", "std"))
    network = replace(network, mean=mean, std=std, categories=weights.meta.get("categories", ()))
    if not resize or not sides:
        return replace(network, size=resize or _USUAL)
    return replace(network, crop=(resize, (sides, sides)), interpolation=preset.interpolation)


def _side(given: Any) -> int | None:
    """One side of a preset's size, which is a list of one or two, or a number."""
    side = given[0] if isinstance(given, (list, tuple)) and given else given
    return side if isinstance(side, int) else None


def _of_timm(args: Namespace) -> Network:
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise SettingError(f"MODEL {quoted(args.model)} needs timm: pip install timm") from error
    name = _timm_name(args, timm)
    options: dict[str, Any] = {} if args.classes is None else {"num_classes": args.classes}
    model = _made(args, lambda: timm.create_model(name, pretrained=bool(args.weights), **options))
    config = timm.data.resolve_model_data_config(model)
    height, width = config["input_size"][1:]
    if not args.weights:
        return Network(model, (height, width))
    resize = int(min(height, width) / config["crop_pct"])
    how = InterpolationMode(config["interpolation"])
    return Network(model, None, (resize, (height, width)), how, list(config["mean"]), list(config["std"]))


def _timm_name(args: Namespace, timm: Any) -> str:
    """The model's name as timm has it, behind a dot that of its weights."""
    name: str = args.model.removeprefix(_TIMM)
    kind = name.split(".")[0]
    if kind not in timm.list_models():
        near = nearest(args.model, _timm_names())
        raise SettingError(f"MODEL {quoted(args.model)} is none that timm knows{near}; {_ACCEPTED}")
    tags = [one.split(".", 1)[1] for one in timm.list_pretrained(f"{kind}.*") if "." in one]
    if args.weights and args.weights not in ("DEFAULT", *tags):
        raise _no_weights(args, ["DEFAULT", *tags])
    return name if args.weights in (None, "DEFAULT") else f"{kind}.{args.weights}"


def _timm_names() -> list[str]:
    """Names of timm as they are given here; none where it is not installed."""
    try:
        import timm
    except ImportError:
        return []
    return [f"{_TIMM}{name}" for name in timm.list_models()]


def _no_weights(args: Namespace, known: Iterable[str]) -> SettingError:
    known = list(known)
    there = f"accepted are {', '.join(known)}" if known else "it has none"
    return SettingError(
        f"--weights {quoted(args.weights)} are none of {args.model}'s{nearest(args.weights, known)}; {there}"
    )


def _of_path(args: Namespace) -> Network:
    """What a path's callable returns."""
    if args.weights:
        raise SettingError(
            f"--weights {quoted(args.weights)}: {args.model} gives a model with weights of its own; accepted with it "
            "is --checkpoint FILE"
        )
    make = _callable(args)
    model = _made(args, lambda: make(**_classes(make, args)))
    if not isinstance(model, nn.Module):
        raise SettingError(f"MODEL {quoted(args.model)} returns a {type(model).__name__}; accepted is a torch module")
    return Network(model)


def _callable(args: Namespace) -> Callable[..., object]:
    """What a path leads to; packages are looked for here too, as Python does with -m."""
    room, _, name = args.model.partition(":")
    if not room or not name:
        raise SettingError(f"MODEL {quoted(args.model)} is no path to what makes a module; {_ACCEPTED}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with failing(f"MODEL {quoted(args.model)} cannot be imported"):
        module = importlib.import_module(room)
    try:
        found: object = operator.attrgetter(name)(module)
    except AttributeError:
        there = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        near = nearest(name, there)
        raise SettingError(f"MODEL {quoted(args.model)}: {room} has no {quoted(name)}{near}; {_ACCEPTED}") from None
    if not callable(found) or isinstance(found, nn.Module):
        raise SettingError(f"MODEL {quoted(args.model)} is a {type(found).__name__}; accepted is what returns a module")
    return found


def _classes(make: Callable[..., object], args: Namespace) -> dict[str, int]:
    """How a callable takes the number of classes."""
    if args.classes is None:
        return {}
    names = ("num_classes", "classes", "n_classes")
    taken = next((name for name in names if name in inspect.signature(make).parameters), None)
    if taken is None:
        raise SettingError(f"--classes {args.classes}: {args.model} takes none of {', '.join(names)}")
    return {taken: args.classes}


def _made(args: Namespace, make: Callable[[], Any]) -> Any:
    """The model, whose random weights are the same each time."""
    what = f"--weights {quoted(args.weights)} of {args.model}" if args.weights else f"MODEL {quoted(args.model)}"
    with failing(f"{what} cannot be had"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Tell in a sentence, with its place, what fails in code that is not ours; what it prints is not what is asked for.

    Raises:
        SettingError: it fails.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (SettingError, MemoryError):
        raise
    except Exception as error:
        raise SettingError(f"{what}: {_told(error)}") from error


def _told(error: Exception) -> str:
    """What an error of other code says, and where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {words} ({os.path.basename(place.filename)}:{place.lineno})"
