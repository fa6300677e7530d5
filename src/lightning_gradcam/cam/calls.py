"""How a model is called: as its own code calls it, with what came with its images."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from lightning_gradcam.cam.trees import Path, Rows, at, held_by, replaced
from lightning_gradcam.errors import SettingError

Output = Callable[..., Any] | str

_BATCH = ("batch", "batch_data", "data_batch", "batch_dict")  # as forwards name a whole batch
# what a forward raises that is given something else than it takes, rather than something that it fails on
_MISMATCH = (TypeError, KeyError, IndexError, AttributeError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class Inputs:
    """Images, and the batch that they came in.

    Attributes:
        images: (N, C, H, W).
        batch: theirs, as the model's own code gets it; None where images were given alone.
        place: where in the batch the images are.
        label: where the labels are, if anywhere.
    """

    images: Tensor
    batch: Rows | None = None
    place: Path = ()
    label: Path | None = None

    def of(self, rows: slice | list[int]) -> "Inputs":
        """Return some images'."""
        return replace(self, images=self.images[rows], batch=None if self.batch is None else self.batch.at(rows))

    def instead(self, images: Tensor) -> "Inputs":
        """Return other images with the same besides: a row an image, or one row for all of them."""
        batch = self.batch
        if batch is not None and batch.count != len(images):
            batch = batch.at([0] * len(images))
        return replace(self, images=images, batch=batch)

    def on(self, model: nn.Module) -> "Inputs":
        """Return them on the model's device; images in the precision of its weights, whole numbers as they are."""
        weight = next((p for p in model.parameters() if p.is_floating_point()), None)
        if weight is None:
            return self
        dtype = weight.dtype if self.images.is_floating_point() else self.images.dtype
        images = self.images.to(weight.device, dtype, non_blocking=True)
        return replace(self, images=images, batch=None if self.batch is None else self.batch.on(weight.device))


@dataclass(frozen=True)
class Call:
    """How a model is called.

    Attributes:
        arguments: where in the batch each positional argument is, `()` being all of it; None: the images alone.
        keywords: the same of those with a name.
        output: what is called instead: a method's name; a callable of model and images, or of these and the batch.
        child: the child that is called instead, by its name.
        guess: what of it was guessed, in words; "" where names or the usual order tell.
    """

    arguments: tuple[Path, ...] | None = None
    keywords: tuple[tuple[str, Path], ...] = ()
    output: Output | None = None
    child: str = ""
    guess: str = ""

    @property
    def needs_batch(self) -> bool:
        """Whether more than the images is asked for."""
        return self.arguments is not None or bool(self.keywords) or takes_batch(self.output)

    def __call__(self, model: nn.Module, inputs: Inputs) -> Any:
        """Return the model's output; a forward that works on its images in place has a copy."""
        images = inputs.images.clone()
        batch = _with_images(inputs, images) if self.needs_batch else None
        if callable(self.output):
            return self.output(model, images, batch) if takes_batch(self.output) else self.output(model, images)
        called: Any = model.get_submodule(self.child) if self.child else model
        called = getattr(called, self.output) if self.output else called
        if batch is None:
            return called(images)
        arguments = [at(batch, path) for path in self.arguments or ()]
        return called(*arguments, **{name: at(batch, path) for name, path in self.keywords})

    def said(self, model: nn.Module) -> str:
        """Say it as code."""
        given = [_said(path) for path in self.arguments or ()]
        given += [f"{name}={_said(path)}" for name, path in self.keywords]
        name = ".".join(filter(None, (type(model).__name__, self.child, self.output if self.output else "")))  # type: ignore[arg-type]
        return f"{name}({', '.join(given) or 'images'})"


def takes_batch(output: Output | None) -> bool:
    """Whether a callable takes the batch behind the model and the images."""
    if not callable(output):
        return False
    try:
        parameters = inspect.signature(output).parameters.values()
    except (TypeError, ValueError):
        return False
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return len(places) > 2 and (places[2].default is places[2].empty or places[2].name == "batch")


def _with_images(inputs: Inputs, images: Tensor) -> Any:
    if inputs.batch is None:
        raise SettingError("output= takes (model, images, batch), and the images were given without a batch")
    batch = inputs.batch.own()
    there = at(batch, inputs.place)
    return replaced(batch, inputs.place, images if isinstance(there, Tensor) else type(there)(images))


def _said(path: Path) -> str:
    return "batch" + "".join(f"[{step!r}]" for step in path)


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
    for arguments, keywords in _ways(_parameters(model, output, child), inputs):
        yield Call(arguments, keywords, output, child, _guess(arguments, inputs))


def _guess(arguments: tuple[Path, ...] | None, inputs: Inputs) -> str:
    if arguments is None or inputs.batch is None or len(arguments) < 2:
        return ""
    if inputs.label in arguments:
        return "with the labels"
    return "in an order that no names tell" if isinstance(inputs.batch.tree, Mapping) else ""


_Way = tuple[tuple[Path, ...] | None, tuple[tuple[str, Path], ...]]
_ALONE: _Way = (None, ())


def _ways(parameters: list[inspect.Parameter], inputs: Inputs) -> Iterator[_Way]:
    if inputs.batch is None:
        yield _ALONE
        return
    batch, place = inputs.batch.tree, inputs.place
    named = [
        one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY, one.POSITIONAL_ONLY)
    ]
    required = [one.name for one in named if one.default is one.empty]
    keys = [one for one in held_by(batch) if isinstance(one, str)] if isinstance(batch, Mapping) else []
    any_name = any(one.kind is one.VAR_KEYWORD for one in parameters)
    any_place = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    whole: _Way = (((),), ())
    needed = {one.name: (one.name,) for one in named if one.name in keys and one.name in (*required, *place[:1])}
    by_key = {one.name: (one.name,) for one in named if one.name in keys and (one.name,) != inputs.label} | needed
    of_all = {one: (one,) for one in keys if any_name or one in [each.name for each in named]}
    found: list[_Way] = []
    if len(required) == 1 and required[0] in _BATCH:
        found += [whole, _ALONE]
    if len(by_key) > 1 and set(required) <= set(by_key) and (place[:1] in by_key.values()):
        found.append(((), tuple(by_key.items())))
    if len(required) > 1:
        if set(required) <= set(needed):
            found.append(((), tuple(needed.items())))
        unnamed = [name for name in required if name not in needed]
        if len(unnamed) == 1 and place not in needed.values():  # all but the images have the batch's names
            found.append(((), ((unnamed[0], place), *((name, (name,)) for name in required if name in needed))))
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
    except (TypeError, ValueError):  # TorchScript
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
    others = [_said((step,)) for step in batch if (step,) not in (inputs.place[:1], inputs.label)]
    line = f"output=lambda model, images, batch: model({', '.join(['images', *others[:1]])})"
    return kind(f"output=None: {name} cannot be called as is usual ({ways}); pass how it is, as {line}")


def _reason(fault: Exception) -> str:
    lines = str(fault).strip().splitlines() or [""]
    return f"{type(fault).__name__}: {lines[0][:160]}"
