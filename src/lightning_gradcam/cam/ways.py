"""In which ways a model may be called, by what its forward takes and what came with its images."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lightning_gradcam.cam.calls import Call, Inputs, Output, said
from lightning_gradcam.cam.trees import Path, at, held_by
from lightning_gradcam.errors import SettingError

_LABELS = ("label", "target", "y_true", "gt_")  # how the names of what is learned begin
_BATCH = ("batch", "batch_data", "data_batch", "batch_dict")  # as forwards name a whole batch
# what a forward raises that is given something else than it takes, rather than something that it fails on
_MISMATCH = (TypeError, KeyError, IndexError, AttributeError, ValueError, NotImplementedError)


def ways_to_call(model: nn.Module, inputs: Inputs, output: Output | None) -> Iterator[Call]:
    """The ways in which a model may be called, the likeliest first, by what its forward is declared to take.

    Args:
        model: whose forward, or method `output`, is asked.
        inputs: with the batch, whose entries may be meant.
        output: as a user gave it.
    """
    if callable(output):
        yield Call(output=output)
        return
    child = "" if output else _only_child(model)
    parameters = _parameters(model, output, child)
    for arguments, keywords in _ways(parameters, inputs):
        yield Call(arguments, keywords, output, child, _guess(arguments, keywords, parameters, inputs))


def required_inputs(model: nn.Module, output: Output | None) -> int:
    """Return how many inputs a model cannot do without, labels left out: so many of a batch are none of its labels."""
    if callable(output):
        return 1
    needed = [
        one.name
        for one in _named(_parameters(model, output, "" if output else _only_child(model)))
        if _is_required(one)
    ]
    return max(1, sum(1 for name in needed if not name.startswith(_LABELS)))


def _guess(
    arguments: tuple[Path, ...] | None,
    keywords: tuple[tuple[str, Path], ...],
    parameters: list[inspect.Parameter],
    inputs: Inputs,
) -> str:
    if inputs.batch is None:
        return ""
    given = [*(arguments or ()), *(path for _, path in keywords)]
    names = [one.name for one in _named(parameters)]
    if arguments and len(arguments) > 1:
        if inputs.label in arguments:
            return "with the labels"
        are_names = [path[-1] for path in arguments] == names[: len(arguments)]
        is_named = isinstance(at(inputs.batch.tree, arguments[0][:-1]), Mapping)
        return "in an order that no names tell" if is_named and not are_names else ""
    if any(name != path[-1] and path != inputs.place for name, path in keywords):
        return "by names that are alike"
    optional = [one.name for one in _named(parameters) if one.default is None and not one.name.startswith(_LABELS)]
    left = [name for name in optional if name not in dict(keywords)]
    if left and not given and _besides(inputs):
        return f"without its {', '.join(left[:3])}"
    return ""


def _besides(inputs: Inputs) -> list[Path]:
    """What came beside the images in what holds them, of floating-point numbers, and is no label, mask or view."""
    assert inputs.batch is not None
    outer = inputs.place[:-1]
    found = {(*outer, step): one for step, one in held_by(at(inputs.batch.tree, outer)).items()}
    return [
        path
        for path, one in found.items()
        if isinstance(one, Tensor)
        and one.is_floating_point()
        and one.dim() < 3
        and path not in (inputs.place, inputs.label)
    ]


def _named(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY)
    return [one for one in parameters if one.kind in kinds]


def _is_required(one: inspect.Parameter) -> bool:
    return one.default is one.empty


def _key_for(name: str, keys: list[str]) -> str | None:
    """The batch's key of a parameter's name, or the one that is like it, as `metadata` is like `meta`."""
    if name in keys:
        return name
    like = [key for key in keys if min(len(key), len(name)) > 2 and (key.startswith(name) or name.startswith(key))]
    return like[0] if len(like) == 1 else None


_Way = tuple[tuple[Path, ...] | None, tuple[tuple[str, Path], ...]]
_ALONE: _Way = (None, ())


def _ways(parameters: list[inspect.Parameter], inputs: Inputs) -> Iterator[_Way]:
    if inputs.batch is None:
        yield _ALONE
        return
    batch, place = inputs.batch.tree, inputs.place
    named = _named(parameters)
    required = [one.name for one in named if _is_required(one)]
    keys = [one for one in held_by(batch) if isinstance(one, str)] if isinstance(batch, Mapping) else []
    any_name = any(one.kind is one.VAR_KEYWORD for one in parameters)
    any_place = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    whole: _Way = (((),), ())
    alike = {one.name: (key,) for one in named if (key := _key_for(one.name, keys)) is not None}
    needed = {name: path for name, path in alike.items() if name in required or path == place[:1]}
    by_key = {name: path for name, path in alike.items() if path != inputs.label} | needed
    of_all = {one: (one,) for one in keys if any_name or one in [each.name for each in named]}
    found: list[_Way] = []
    if len(required) == 1 and required[0] in _BATCH:
        found += [whole, _ALONE]
    if len(by_key) > 1 and set(required) <= set(by_key) and (place[:1] in by_key.values()):
        found.append(((), tuple(by_key.items())))
    others = {name: path for name, path in by_key.items() if path != place[:1]}
    unnamed = [name for name in required if name not in by_key]
    if len(required) == 1 and len(unnamed) == 1 and others and place[:1] not in by_key.values():
        found.append(((), ((unnamed[0], place), *others.items())))
    beside = _besides(inputs)
    if len(place) > 1 and beside and len(required) == 1 and len(named) > len(beside) and not keys:
        found.append(((place, *beside), ()))  # with its optional inputs, which are held beside the images
    if len(required) > 1:
        if set(required) <= set(needed):
            found.append(((), tuple(needed.items())))
        unnamed = [name for name in required if name not in needed]
        if len(unnamed) == 1 and place not in needed.values():  # all but the images have the batch's names
            found.append(((), ((unnamed[0], place), *((name, needed[name]) for name in required if name in needed))))
        found += [(paths, ()) for paths in _by_place(batch, inputs, len(required))]
    elif named and place[:1] != (named[0].name,) and place[:1] in needed.values():  # images are not what comes first
        found.append(((), tuple(needed.items())))
    elif not named and any_name and not any_place and of_all:
        found.append(((), tuple(of_all.items())))
    if len(required) <= 1:
        found.append(_ALONE)
        found += [((place[:length],), ()) for length in range(len(place) - 1, -1, -1)]  # what holds them: all views
    if of_all:
        found.append(((), tuple(of_all.items())))
    yield from dict.fromkeys(found or [_ALONE])


def _by_place(batch: Any, inputs: Inputs, count: int) -> Iterator[tuple[Path, ...]]:
    """The first entries of what holds the images, or of the whole batch; the labels only where there are no others.

    In their order, or with the images in front.
    """
    for label in (inputs.label, None):
        for length in range(len(inputs.place) - 1, -1, -1):
            outer = inputs.place[:length]
            entries = [(*outer, step) for step in held_by(at(batch, outer))]
            entries = [path for path in entries if path != label]
            with_images = [path for path in entries if inputs.place[: len(path)] == path]
            if len(entries) < count or not with_images:
                continue
            rest = [path for path in entries if path not in with_images]
            if with_images[0] in entries[:count]:
                yield tuple(entries[:count])
            yield (*with_images, *rest)[:count]


def _parameters(model: nn.Module, output: str | None, child: str) -> list[inspect.Parameter]:
    target: Any = model.get_submodule(child) if child else model
    try:
        return list(inspect.signature(getattr(target, output or "forward")).parameters.values())
    except (TypeError, ValueError, AttributeError):  # TorchScript; a method that there is not, which is told later
        return []


def _only_child(model: nn.Module) -> str:
    """The one child that has weights, of a module without a forward; "" else."""
    if has_forward(model):
        return ""
    children = _with_weights(model)
    return children[0] if len(children) == 1 else ""


def _with_weights(model: nn.Module) -> list[str]:
    return [name for name, child in model.named_children() if next(child.parameters(), None) is not None]


def has_forward(model: nn.Module) -> bool:
    """Whether a model has a forward of its own: torch's and Lightning's base classes only say that there is none."""
    owner = next(base for base in type(model).__mro__ if "forward" in vars(base) or base is nn.Module)
    return (owner is not nn.Module and owner.__name__ != "LightningModule") or "forward" in vars(model)


def cannot_be_called(model: nn.Module, inputs: Inputs, tried: list[tuple[Call, Exception]]) -> Exception:
    """Return what is raised where no way of calling a model worked: its own fault, or a sentence with what helps."""
    faults = [fault for _, fault in tried]
    if no_scores := [fault for fault in faults if isinstance(fault, SettingError)]:  # it could be called
        return no_scores[0]
    is_alone = len(tried) == 1 and not tried[0][0].needs_batch
    if callable(tried[0][0].output) or (is_alone and not isinstance(faults[0], _MISMATCH)):
        return faults[0]
    kind = SettingError if all(isinstance(fault, _MISMATCH) for fault in faults) else RuntimeError
    name, batch = type(model).__name__, held_by(inputs.batch.tree) if inputs.batch else {}
    if not has_forward(model):
        children = _with_weights(model)
        inner = "images"
        for child in children or ["network"]:
            inner = f"model.{child}({inner})"
        line = f"output=lambda model, images: {inner}"
        told = f"output=None: {name} has no forward, and {len(children)} children with weights"
        return kind(f"{told}; pass one, as {line}")
    ways = "; ".join(f"{call.said(model)}: {_reason(fault)}" for call, fault in tried)
    others = [said((step,)) for step in batch if (step,) not in (inputs.place[:1], inputs.label)]
    lines = [f"model({', '.join(['images', one])})" for one in others] + ["model(images)"]
    lines += [f"model.{child}(images)" for child in _with_weights(model)]
    used = {call.said(model).replace(name, "model", 1).replace(said(inputs.place), "images") for call, _ in tried}
    line = f"output=lambda model, images, batch: {next((one for one in lines if one not in used), lines[0])}"
    return kind(f"output=None: {name} cannot be called as is usual ({ways}); pass how it is, as {line}")


def _reason(fault: Exception) -> str:
    lines = str(fault).strip().splitlines() or [""]
    return f"{type(fault).__name__}: {lines[0][:160]}"
