"""How a model is called: as its own code calls it, with what came with its images."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from lightning_gradcam.cam.trees import Path, Rows, at, replaced
from lightning_gradcam.errors import SettingError

Output = Callable[..., Any] | str


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
        given = [said(path) for path in self.arguments or ()]
        given += [f"{name}={said(path)}" for name, path in self.keywords]
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


def said(path: Path) -> str:
    """Say a path in the batch as code."""
    return "batch" + "".join(f"[{step!r}]" for step in path)
