"""Which layer is looked at, by name, module or found by itself, and how its output becomes a map."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.maps import size_of
from lightning_gradcam.errors import SettingError, nearest, quoted

Reader = Callable[[Tensor], Tensor]  # a layer's output -> (N, C, h, w)
LayerChoice = str | nn.Module

_MOST_PREFIX = 32  # class, distillation and register tokens
_MOST_COMPARED = 8
_MOST_LOST = 8  # places along a side, by convolutions without padding
_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)  # their channels come first
_LAST = (nn.LayerNorm, nn.Linear, getattr(nn, "RMSNorm", nn.Linear))  # last; what is derived from them may have others
# Wrappers that put a name of their own between a model and its layers (torch.compile, FSDP, activation checkpointing).
_WRAPPER = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


@dataclass(frozen=True)
class Layout:
    """How a layer's output lies in memory, and the grid of positions in it.

    Attributes:
        axes: "NCHW", "NHWC", "NLC" (tokens) or "LNC" (tokens, sequence first).
        grid: (h, w), in positions.
        prefix: tokens in front of the grid's: class, distillation, registers.
    """

    axes: str
    grid: tuple[int, int]
    prefix: int = 0

    def __call__(self, output: Tensor) -> Tensor:
        """Read the output as (N, C, h, w)."""
        if self.axes == "NCHW":
            return output
        if self.axes == "NHWC":
            return output.permute(0, 3, 1, 2)
        tokens = output.transpose(0, 1) if self.axes == "LNC" else output
        patches = tokens[:, self.prefix :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.grid)


@dataclass(frozen=True)
class TargetLayer:
    """A layer: its dotted name, and how its output lies in memory; None where a `reshape_transform` reads it."""

    name: str
    layout: Layout | None

    @property
    def is_of_tokens(self) -> bool:
        """Whether its output is rows of tokens."""
        return self.layout is not None and _is_tokens(self.layout)

    def in_model(self, layers: Mapping[str, nn.Module], transform: Reader | None) -> "LayerOfModel":
        """Return the layer of one model, whose layers are given by name.

        Raises:
            RuntimeError: the model has no such layer any more.
        """
        if self.name not in layers:
            raise RuntimeError(f"the model has no layer {self.name!r} any more")
        read = self.layout or transform
        assert read is not None
        return LayerOfModel(self.name, layers[self.name], read)


@dataclass(frozen=True)
class LayerOfModel:
    """A layer of one model: its dotted name, the module, and how to read its output as (N, C, h, w)."""

    name: str
    module: nn.Module
    read: Reader


class Capture:
    """The recorded outputs of some layers, by module in the order of execution; the last call counts."""

    def __init__(self) -> None:
        self.outputs: dict[nn.Module, Tensor] = {}

    def __call__(self, module: nn.Module, inputs: object, output: Any) -> Any:
        """Forward hook: keep the output as a point to differentiate with respect to, and hand on a copy of it.

        The copy is what later in-place operations overwrite (grad-cam and torch-cam keep the output itself, and err
        on a layer in front of an in-place ReLU). A layer that hands its input through, as a dropout does in
        evaluation, is kept as a copy too: others hold that input. Gradients open here: nothing in front of the first
        layer is kept.
        """
        tensor = _tensor_of(output)
        if tensor is None or not tensor.is_floating_point():
            return None
        torch.set_grad_enabled(True)  # also within a forward that runs its backbone under no_grad
        own = tensor.clone() if tensor.is_inference() or _shares_memory(tensor, inputs) else tensor
        activation = own if own.requires_grad else own.detach().requires_grad_()
        self.outputs.pop(module, None)
        self.outputs[module] = activation
        return _with_tensor(output, tensor, activation.clone())


class _Survey(Capture):
    """A capture of many layers that also tells which of them pool, and what each handed on.

    A look sees what becomes of that alone: not what a layer made of its own output before it returned it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.handed_on: dict[nn.Module, Tensor] = {}
        self.pooled: set[nn.Module] = set()
        self._pools_made: dict[int, Tensor] = {}  # holds the tensors, so that no id is given out twice

    def __call__(self, module: nn.Module, inputs: object, output: Any) -> Any:
        handed_on = super().__call__(module, inputs, output)
        self.pooled.discard(module)
        copy = _tensor_of(handed_on)
        if copy is not None:
            self.handed_on[module] = copy
        # A container whose last child pools returns the very tensor that its child handed on.
        if "pool" in type(module).__name__.lower() or id(_tensor_of(output)) in self._pools_made:
            self.pooled.add(module)
            if copy is not None:
                self._pools_made[id(copy)] = copy
        return handed_on


_CaptureT = TypeVar("_CaptureT", bound=Capture)


@contextmanager
def capture(modules: Iterable[nn.Module], captured: _CaptureT) -> Iterator[_CaptureT]:
    """Record the outputs of `modules` in the forward passes inside; the hooks are gone afterwards."""
    with _hooked(modules, captured):
        yield captured


@contextmanager
def _hooked(modules: Iterable[nn.Module], hook: Callable[[nn.Module, Any, Any], Any]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer by its dotted name, without the names that wrappers put in between."""
    return {_WRAPPER.sub("", f"{name}.").rstrip("."): module for name, module in model.named_modules() if name}


def choose_layers(model: nn.Module, choice: LayerChoice | Sequence[LayerChoice]) -> list[tuple[str, nn.Module]]:
    """Look up dotted names and modules in the model.

    Raises:
        SettingError: a name or module that the model does not have.
    """
    layers = named_layers(model)
    names = {module: name for name, module in layers.items()}
    choices = [choice] if isinstance(choice, (str, nn.Module)) else choice
    return [_look_up(one, layers, names) for one in choices]


def _that_call_hooks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """All layers but those of TorchScript, which calls no hooks within a scripted module."""
    return [(name, one) for name, one in named_layers(model).items() if not isinstance(one, torch.jit.ScriptModule)]


def _look_up(choice: LayerChoice, layers: dict[str, nn.Module], names: dict[nn.Module, str]) -> tuple[str, nn.Module]:
    if isinstance(choice, nn.Module):
        if choice not in names:
            raise SettingError(f"target_layer={type(choice).__name__}(...) is not a layer of the model")
        return names[choice], choice
    name = _WRAPPER.sub("", f"{choice}.").rstrip(".")
    if name not in layers:
        raise SettingError(f"target_layer={quoted(choice)} is not a layer of the model{nearest(name, layers)}")
    if isinstance(layers[name], torch.jit.ScriptModule):
        raise SettingError(
            f"target_layer={quoted(choice)} is TorchScript, which calls no hooks on its layers; name a layer "
            "outside of it"
        )
    return name, layers[name]


def read_layout(
    shape: Sequence[int],
    batch: int,
    image_size: tuple[int, int],
    grids: Iterable[tuple[int, int]] = (),
    axes: str = "NCHW",
) -> Layout | None:
    """Tell from its shape how a layer's output is to be read, or None where it is no map of the image.

    Args:
        shape: the output's shape.
        batch: images in the forward pass.
        image_size: (H, W) of the images; a map has their aspect ratio, but for rounding, and for the places along both
            sides that convolutions without padding lose.
        grids: of the model's maps: tokens are first taken for such a one's, behind their prefix.
        axes: "NCHW" or "NHWC", where the shape may be either.
    """
    if len(shape) == 4 and shape[0] == batch:
        layouts = [Layout("NCHW", (shape[2], shape[3])), Layout("NHWC", (shape[1], shape[2]))]
        for most in (0, _MOST_LOST):
            fitting = [layout for layout in layouts if _misfit(layout.grid, image_size, most) < 1]
            if fitting:
                return next((layout for layout in fitting if layout.axes == axes), fitting[0])
        return None
    if len(shape) == 3 and batch in shape[:2]:
        axes = "NLC" if shape[0] == batch else "LNC"
        length = shape[1] if axes == "NLC" else shape[0]
        grid = _finest(grids, length) or _finest(_grids(image_size), length)
        return Layout(axes, grid, prefix=length - grid[0] * grid[1]) if grid else None
    return None


def _misfit(grid: tuple[int, int], image_size: tuple[int, int], most_lost: int) -> float:
    """By how many positions a side of the grid is off the image's aspect ratio, from the other side."""
    height, width = image_size
    sides = [(grid[0] + lost, grid[1] + lost) for lost in range(most_lost + 1)]
    return min(min(abs(h * width / height - w), abs(w * height / width - h)) for h, w in sides)


def _grids(image_size: tuple[int, int]) -> set[tuple[int, int]]:
    """The grids of patches of any stride."""
    height, width = image_size
    strides = range(1, min(image_size) + 1)
    return {(side(height / s), side(width / s)) for s in strides for side in (int, ceil)}


def _finest(grids: Iterable[tuple[int, int]], length: int) -> tuple[int, int] | None:
    """Return the finest grid that rows are tokens of, but for some prefix tokens: other rows, as anchors, are none."""
    fitting = [(h, w) for h, w in grids if h * w <= length < 2 * h * w and length <= h * w + _MOST_PREFIX]
    return max(fitting, key=lambda grid: grid[0] * grid[1], default=None)


def resolve_layers(
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    choice: LayerChoice | Sequence[LayerChoice] | None,
    reshape_transform: Reader | None = None,
) -> list[TargetLayer]:
    """Find the target layers and how to read them, by one dry forward of a few images.

    Args:
        model: a lent model.
        forward: images -> scores, (N, ...).
        images: (N, C, H, W) on the model's device; two are enough.
        choice: names or modules, or None: the last layer whose output is a map.
        reshape_transform: a layer's output -> (N, C, h, w), for layouts that the shape does not tell.

    Raises:
        SettingError: an unknown layer, one that is never called, one whose output is no map or does not reach the
            scores; or no layer found.
    """
    chosen = None if choice is None else choose_layers(model, choice)
    found = _surveyed(model, forward, images, reshape_transform)
    if chosen is None:
        return [_find(found)]
    return [found.reader.target(name, found.captured, module, found.scores) for name, module in chosen]


def first_tokens(
    model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, is_mixed: Callable[[], bool]
) -> TargetLayer:
    """Find where tokens have not been mixed yet: the norm that the first attention reads, or else the first.

    Args:
        model: a lent model whose last map is of tokens.
        forward: images -> scores, (N, ...).
        images: (N, C, H, W) on the model's device; two are enough.
        is_mixed: whether attention was computed in the forward that runs.
    """
    behind = set[nn.Module]()

    def placed(module: nn.Module, inputs: object, output: object) -> None:
        if is_mixed():
            behind.add(module)

    with _hooked([module for _, module in _that_call_hooks(model)], placed):
        found = _surveyed(model, forward, images)
    maps = _maps_reached(found)
    tokens = [module for module, read in maps.items() if _is_tokens(read)]
    norms = [module for module in tokens if _is_norm(module)] or tokens
    in_front = [module for module in norms if module not in behind]
    chosen = in_front[-1] if in_front and behind else norms[0]
    return TargetLayer(found.names[chosen], _layout_of(maps[chosen]))


def layouts_in(model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor) -> list[Layout]:
    """Return how the outputs of all layers are to be read that are maps of the images, as `resolve_layers` does."""
    return list(_surveyed(model, forward, images).reader.layouts.values())


@dataclass(frozen=True)
class _LayoutReader:
    batch: int
    image_size: tuple[int, int]
    transform: Reader | None
    layouts: Mapping[nn.Module, Layout]

    @classmethod
    def of(
        cls, captured: Capture, batch: int, image_size: tuple[int, int], transform: Reader | None
    ) -> "_LayoutReader":
        """Read all outputs in the order in which they came: whose axes may be either has those of the one before."""
        layouts: dict[nn.Module, Layout] = {}
        axes, grids, has_tokens = "NCHW", set[tuple[int, int]](), False
        for module, output in captured.outputs.items():
            axes = "NCHW" if isinstance(module, _FIRST) else "NHWC" if type(module) in _LAST else axes
            layout = read_layout(output.shape, batch, image_size, grids, axes)
            if layout is None:
                continue
            layouts[module] = layout
            if output.dim() == 4:
                axes = layout.axes
            if output.dim() == 4 or (not layout.prefix and not has_tokens):  # patches, before tokens join them
                grids.add(layout.grid)
            has_tokens = has_tokens or output.dim() == 3
        return cls(batch, image_size, transform, layouts)

    def read(self, module: nn.Module) -> Reader | None:
        return self.layouts.get(module) if self.transform is None else self.transform

    def target(self, name: str, captured: _Survey, module: nn.Module, scores: Tensor) -> TargetLayer:
        """A layer that the user names."""
        layout = self._required(name, captured, module)
        if scores.requires_grad and not _reached(captured, {module: layout or self.transform or _whole}, scores):
            raise SettingError(
                f"target_layer={name!r}: the scores do not depend on what it returns by operations that can be "
                "differentiated; name a layer on the way to them"
            )
        return TargetLayer(name, layout)

    def _required(self, name: str, captured: Capture, module: nn.Module) -> Layout | None:
        if module not in captured.outputs:
            raise SettingError(
                f"target_layer={name!r} ({type(module).__name__}) gave no tensor: it is not called in the forward "
                "pass, or returns no floating-point tensor; name a layer that is and does"
            )
        output = captured.outputs[module]
        read = self.read(module)
        if read is None and output.dim() == 4:  # named by the user: a map of another aspect ratio (odd strides) is one
            read = Layout("NCHW", (output.shape[2], output.shape[3]))
        shape = tuple(output.shape if read is None else read(output).shape)
        if read is None or len(shape) != 4 or shape[0] != self.batch or shape[2] * shape[3] < 2:
            source = "reshape_transform made" if self.transform else "gave"
            raise SettingError(
                f"target_layer={name!r} {source} {shape} for images of {self.image_size[0]}x{self.image_size[1]}, "
                "which is no map: a map is (N, C, h, w), (N, h, w, C) or tokens (N, L, C) with more than one position "
                "and the image's aspect ratio; name an earlier layer, or pass reshape_transform=callable(output) that "
                "returns (N, C, h, w)"
            )
        return _layout_of(read)


class _Surveyed(NamedTuple):
    """What one dry forward tells of all layers: their names, what they gave, the scores, and how to read it."""

    names: dict[nn.Module, str]
    captured: _Survey
    scores: Tensor
    reader: _LayoutReader


def _surveyed(
    model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, transform: Reader | None = None
) -> _Surveyed:
    names = {module: name for name, module in _that_call_hooks(model)}
    with capture(list(names), _Survey()) as captured:
        scores = forward(images)
    return _Surveyed(names, captured, scores, _LayoutReader.of(captured, len(images), size_of(images), transform))


def candidates(model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor) -> list[str]:
    """Return the names of layers that are worth comparing, in the order of execution.

    They are the last of each size of map, and of tokens the norms, eight of them where there are more.

    Args:
        model: a lent model.
        forward: images -> scores, (N, ...).
        images: (N, C, H, W) on the model's device; two are enough.

    Raises:
        SettingError: no layer is found.
    """
    found = _surveyed(model, forward, images)
    maps, outputs = _maps_reached(found), found.captured.outputs
    tokens = [module for module, read in maps.items() if _is_tokens(read) and _is_norm(module)]
    last = {read(outputs[module]).shape[2:]: module for module, read in maps.items() if not _is_tokens(read)}
    chosen = {*_spread(tokens), *last.values()} or {next(reversed(maps))}
    return [found.names[module] for module in maps if module in chosen]


def _spread(layers: list[nn.Module]) -> list[nn.Module]:
    """So many of them, from the first to the last."""
    step = max(1, (len(layers) - 1) / (_MOST_COMPARED - 1))
    return [layers[round(place * step)] for place in range(min(len(layers), _MOST_COMPARED))]


def _find(found: _Surveyed) -> TargetLayer:
    """The last layer whose output is a map and reaches the scores, before pooling."""
    maps = _maps_reached(found)
    chosen = next(reversed(maps))
    if _is_tokens(maps[chosen]):
        # What attention reads, as grad-cam's advice for ViTs (blocks[-1].norm1): behind the last block's attention a
        # class token has gathered all it will, and the patches' tokens no longer count.
        norms = [module for module, read in maps.items() if _is_tokens(read) and _is_norm(module)]
        chosen = norms[-1] if norms else chosen
    return TargetLayer(found.names[chosen], _layout_of(maps[chosen]))


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _maps_reached(found: _Surveyed) -> dict[nn.Module, Reader]:
    """The layers whose output is a map that reaches the scores, before pooling, in the order of execution."""
    names, captured, scores, reader = found
    maps = {
        module: read
        for module, output in captured.outputs.items()
        if module not in captured.pooled and (read := reader.read(module)) is not None and _is_map(read(output))
    }
    maps = {
        module: read
        for module, read in maps.items()
        if not _is_attention(names[module], captured.outputs[module], read, captured, names)
    }
    if scores.dim() == 4:  # dense prediction: the scores themselves, before they are enlarged, are no features
        maps = {m: read for m, read in maps.items() if read(captured.outputs[m]).shape[1] != scores.shape[1]}
    reached = _reached(captured, maps, scores)
    if not reached:
        if not scores.requires_grad:
            raise SettingError(
                "the scores carry no gradient from any layer: the forward detaches them, or computes them elsewhere; "
                "pass output=callable(model, images) -> scores that depend on a layer by torch's operations"
            )
        raise SettingError(
            "target_layer=None found no layer with a map (N, C, h, w), (N, h, w, C) or (N, L, C) that reaches the "
            f"scores{', read by the reshape_transform given' if reader.transform else ''}; name one of the model's "
            f"{len(names)} layers"
        )
    return {module: maps[module] for module in reached}


def _whole(output: Tensor) -> Tensor:
    return output


def _layout_of(read: Reader) -> Layout | None:
    return read if isinstance(read, Layout) else None


def _is_map(output: Tensor) -> bool:
    return output.dim() == 4 and output.shape[2] * output.shape[3] > 1


def _is_tokens(read: Reader) -> bool:
    return isinstance(read, Layout) and read.axes in ("NLC", "LNC")


def _is_attention(name: str, output: Tensor, read: Reader, captured: Capture, names: Mapping[nn.Module, str]) -> bool:
    """Whether an output of a map's shape is attention over L tokens, (N, heads, L, L), and no map.

    Told by what it is or where it comes from: rows of shares, which sum to 1, or the innermost layer around it gives L
    tokens.
    """
    if not isinstance(read, Layout) or output.shape[-1] != output.shape[-2]:
        return False
    if any(bool(((output.detach().float().sum(axis) - 1).abs() < 1e-2).all()) for axis in (-1, -2)):
        return True
    if _is_tokens(read):
        return False
    outputs = {names[module]: output.shape for module, output in captured.outputs.items()}
    around = [name[:at] for at in range(len(name)) if name[at] == "."]
    shape = next((outputs[outer] for outer in reversed(around) if outer in outputs), ())
    return len(shape) == 3 and read.grid[0] in shape[:2]


def _reached(captured: _Survey, maps: dict[nn.Module, Reader], scores: Tensor) -> list[nn.Module]:
    """Layers from which any position of the map reaches the scores.

    Told by where a gradient of NaN arrives, not by gradients' values: a head that starts as zeros (torchvision's ViT)
    passes on nothing but zeros, and 0 x NaN is NaN.
    """
    if not maps or not scores.requires_grad:
        return []
    modules = list(maps)
    outputs = [captured.handed_on[module] for module in modules]
    nan = torch.full_like(scores, torch.nan)
    with torch.autograd.set_detect_anomaly(False):
        gradients = torch.autograd.grad(scores, outputs, nan, retain_graph=True, allow_unused=True)
    pairs = zip(modules, gradients, strict=True)
    return [m for m, gradient in pairs if gradient is not None and bool(maps[m](gradient).isnan().any())]


def _tensor_of(output: Any) -> Tensor | None:
    """The tensor of a layer's output: itself, or the first of a tuple (attention returns its weights besides)."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, (tuple, list)):
        return next((item for item in output if isinstance(item, Tensor)), None)
    return None


def _shares_memory(tensor: Tensor, inputs: object) -> bool:
    given = [one for one in inputs if isinstance(one, Tensor)] if isinstance(inputs, tuple) else []
    storage = tensor.untyped_storage().data_ptr()
    return any(one.untyped_storage().data_ptr() == storage for one in given)


def _with_tensor(output: Any, tensor: Tensor, copy: Tensor) -> Any:
    if output is tensor:
        return copy
    items = [copy if item is tensor else item for item in output]
    return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
