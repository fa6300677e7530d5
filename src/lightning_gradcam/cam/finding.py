"""Which layers of a model give maps, and which is looked at: told by one dry forward."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.layers import (
    Capture,
    LayerChoice,
    TargetLayer,
    capture,
    choose_layers,
    named_layers,
    tensor_of,
)
from lightning_gradcam.cam.layouts import Layout, Reader, read_layout
from lightning_gradcam.cam.maps import size_of
from lightning_gradcam.cam.mixing import FirstAttention, changed_in_part, changed_there, follows
from lightning_gradcam.errors import SettingError

_MOST_COMPARED = 8
_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)  # their channels come first
_LAST = (nn.LayerNorm, nn.Linear, getattr(nn, "RMSNorm", nn.Linear))  # last; what is derived from them may have others


def named(
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    choice: LayerChoice | Sequence[LayerChoice],
    reshape_transform: Reader | None = None,
) -> list[TargetLayer]:
    """Find how layers that the user names are to be read, by one dry forward of a few images.

    Args:
        model: a lent model.
        forward: images -> scores, (N, ...).
        images: (N, C, H, W) on the model's device; two are enough.
        choice: names or modules.
        reshape_transform: a layer's output -> (N, C, h, w), for layouts that the shape does not tell.

    Raises:
        SettingError: an unknown layer, one that is never called, one whose output is no map or does not reach the
            scores.
    """
    names = choose_layers(model, choice)
    first = FirstAttention(_that_call_hooks(model))
    found = _surveyed(model, forward, images, reshape_transform, first)
    mixes = bool(first.behind) and found.scores.dim() != 4  # the maps of a decoder lie over the pixels all the same
    return [replace(found.named(name), mixes=mixes) for name in names]


def last(
    model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, reshape_transform: Reader | None = None
) -> TargetLayer:
    """Find the last layer whose output is a map and reaches the scores; arguments are as of `named`.

    Raises:
        SettingError: no layer is found.
    """
    return _surveyed(model, forward, images, reshape_transform).last()


def unmixed(model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor) -> TargetLayer:
    """Find the last layer where attention has mixed nothing yet.

    That is what the first attention reads, of whatever kind: it is computed where activations are multiplied with
    activations. Of tokens that are mixed without, as MLP-Mixer's, it is the first norm. Where there is none it is the
    last map, and so of scores that are one a pixel: the maps of a decoder lie over the pixels all the same.

    A layer has to follow the image, place by place, which a change in one part of it tells: tokens may be in another
    order, a partition into windows may have the shape of a map, and latents of their own depend on no image.

    Args:
        model: a lent model.
        forward: images -> scores, (N, ...).
        images: (N, C, H, W) on the model's device; two are enough.

    Raises:
        SettingError: no layer is found.
    """
    first = FirstAttention(_that_call_hooks(model))
    found = _surveyed(model, forward, images, within=first)
    maps = found.maps()
    final = next(reversed(maps))
    if not _is_of_tokens(maps[final]) and (final not in first.behind or found.scores.dim() == 4):
        return found.target(final)
    changed = _surveyed(model, forward, changed_in_part(images))
    in_front = [name for name in maps if name not in first.behind]
    outside = [name for name in in_front if not first.is_within(name)]
    tokens = [name for name, read in maps.items() if _is_of_tokens(read)]
    norms = [name for name in tokens if found.is_norm(name)]
    first_mixed = norms[:1] if len(norms) > 1 else tokens[:1]  # where nothing multiplies activations, as in MLP-Mixers
    read = [name for names in (outside, in_front) for name in first.without_projections(names)]
    chosen = [*(read if first.behind else first_mixed), *reversed(in_front), *tokens, final]
    following = (name for name in chosen if name in changed.layouts and follows(found.map(name), changed.map(name)))
    return replace(found.target(next(following, chosen[0])), mixes=True)


def layouts_in(
    model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, within: AbstractContextManager[object]
) -> tuple[list[Layout], Tensor]:
    """Return how tokens are to be read that follow the image place by place before they are mixed; and the scores.

    Arguments are as of `unmixed`; `within` is what the one forward pass of these images is made in.
    """
    found = _surveyed(model, forward, images, within=within)
    with torch.no_grad():
        changed = _surveyed(model, forward, changed_in_part(images))
    first = dict(reversed([(found.layouts[name], name) for name in found.layouts]))  # in the order of execution
    pairs = [(layout, found.map(name), changed.map(name)) for layout, name in first.items() if name in changed.layouts]
    return [
        layout
        for layout, before, after in pairs
        if layout.is_of_tokens and (follows(before, after) or not isfinite(changed_there(before, after)))
    ], found.scores


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
    maps = found.maps()
    tokens = [name for name, read in maps.items() if _is_of_tokens(read) and found.is_norm(name)]
    of_sizes = {found.map(name).shape[2:]: name for name, read in maps.items() if not _is_of_tokens(read)}
    chosen = {*_spread(tokens), *of_sizes.values()} or {next(reversed(maps))}
    return [name for name in maps if name in chosen]


def _spread(layers: list[str]) -> list[str]:
    """So many of them, from the first to the last."""
    step = max(1, (len(layers) - 1) / (_MOST_COMPARED - 1))
    return [layers[round(place * step)] for place in range(min(len(layers), _MOST_COMPARED))]


class _Recording(Capture):
    """A capture of many layers that also tells which of them pool or flatten, and what each handed on.

    A look sees what becomes of that alone: not what a layer made of its own output before it returned it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.handed_on: dict[str, Tensor] = {}
        self.pooled: set[str] = set()
        self.flattened: set[str] = set()  # to (N, C, L), which is no tokens
        self._pools_made: dict[int, Tensor] = {}  # hold the tensors, so that no id is given out twice
        self._flat_made: dict[int, Tensor] = {}

    def __call__(self, name: str, module: nn.Module, inputs: object, output: Any) -> Any:
        handed_on = super().__call__(name, module, inputs, output)
        given, copy = tensor_of(output), tensor_of(handed_on)
        if copy is not None:
            self.handed_on[name] = copy
        pools = "pool" in type(module).__name__.lower()
        flattens = given is not None and given.dim() == 3 and isinstance(module, (nn.Flatten, *_FIRST))
        for does, names, made in (
            (pools, self.pooled, self._pools_made),
            (flattens, self.flattened, self._flat_made),
        ):
            names.discard(name)
            if does or id(given) in made:  # a container returns the very tensor that its last child handed on
                names.add(name)
                if copy is not None:
                    made[id(copy)] = copy
        return handed_on


def _that_call_hooks(model: nn.Module) -> dict[str, nn.Module]:
    """All layers but those of TorchScript, which calls no hooks within a scripted module."""
    return {name: one for name, one in named_layers(model).items() if not isinstance(one, torch.jit.ScriptModule)}


def _surveyed(
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    transform: Reader | None = None,
    within: AbstractContextManager[object] | None = None,
) -> "_Survey":
    layers = _that_call_hooks(model)
    with within or nullcontext(), capture(layers, _Recording()) as captured:
        scores = forward(images)
    layouts = _layouts(layers, captured, images)
    if any(layout.prefix for layout in layouts.values()):
        with torch.no_grad(), capture(layers, _Recording()) as changed:
            forward(changed_in_part(images))
        layouts = _placed(layouts, captured, changed)
    return _Survey(layers, captured, scores, len(images), size_of(images), transform, layouts)


def _placed(layouts: Mapping[str, Layout], before: _Recording, after: _Recording) -> dict[str, Layout]:
    """Tell where among its tokens the image's patches lie: a class token or registers may be in front or behind.

    Where they are in a layer, they are in all that have as many tokens; the first of these is not mixed yet.
    """
    places: dict[Layout, Layout] = {}
    for name, layout in layouts.items():
        other = after.outputs.get(name)
        if not layout.prefix or layout in places or other is None or other.shape != before.outputs[name].shape:
            continue
        ways = [replace(layout, prefix=place) for place in (layout.prefix, *range(layout.prefix))]
        places[layout] = max(ways, key=lambda way: changed_there(way(before.outputs[name]), way(other), 0))
    return {name: places.get(layout, layout) for name, layout in layouts.items()}


def _layouts(layers: Mapping[str, nn.Module], captured: _Recording, images: Tensor) -> dict[str, Layout]:
    """Read all outputs in the order in which they came: whose axes may be either has those of the one before."""
    layouts: dict[str, Layout] = {}
    axes, grids, has_tokens = "NCHW", set[tuple[int, int]](), False
    for name, output in captured.outputs.items():
        axes = "NCHW" if isinstance(layers[name], _FIRST) else "NHWC" if type(layers[name]) in _LAST else axes
        if name in captured.flattened:
            continue
        layout = read_layout(output.shape, len(images), size_of(images), grids, axes)
        if layout is None:
            if output.dim() == 4 and isinstance(layers[name], _FIRST):  # patches that are no squares
                grids.add((output.shape[2], output.shape[3]))
            continue
        layouts[name] = layout
        if output.dim() == 4:
            axes = layout.axes
        if output.dim() == 4 or (not layout.prefix and not has_tokens):  # patches, before tokens join them
            grids.add(layout.grid)
        has_tokens = has_tokens or output.dim() == 3
    return layouts


@dataclass(frozen=True)
class _Survey:
    """What one dry forward tells of all layers, by name."""

    layers: Mapping[str, nn.Module]
    captured: _Recording
    scores: Tensor
    images: int
    image_size: tuple[int, int]
    transform: Reader | None
    layouts: Mapping[str, Layout]

    def is_norm(self, name: str) -> bool:
        return "norm" in type(self.layers[name]).__name__.lower()

    def map(self, name: str) -> Tensor:
        """A layer's output, read as (N, C, h, w)."""
        read = self._read(name)
        assert read is not None
        return read(self.captured.outputs[name])

    def target(self, name: str) -> TargetLayer:
        return TargetLayer(name, _layout_of(self._read(name)), bool((self.captured.outputs[name] < 0).any()))

    def last(self) -> TargetLayer:
        """The last layer whose output is a map and reaches the scores, before pooling."""
        maps = self.maps()
        chosen = next(reversed(maps))
        if _is_of_tokens(maps[chosen]):
            # What attention reads, as grad-cam's advice for ViTs (blocks[-1].norm1): behind the last block's attention
            # a class token has gathered all it will, and the patches' tokens no longer count.
            norms = [name for name, read in maps.items() if _is_of_tokens(read) and self.is_norm(name)]
            chosen = norms[-1] if norms else chosen
        return self.target(chosen)

    def named(self, name: str) -> TargetLayer:
        """A layer that the user names."""
        layout = self._required(name)
        if self.scores.requires_grad and not self._reached({name: layout or self.transform or _whole}):
            raise SettingError(
                f"target_layer={name!r}: the scores do not depend on what it returns by operations that can be "
                "differentiated; name a layer on the way to them"
            )
        return TargetLayer(name, layout, bool((self.captured.outputs[name] < 0).any()))

    def maps(self) -> dict[str, Reader]:
        """The layers whose output is a map that reaches the scores, before pooling, in the order of execution."""
        outputs, scores = self.captured.outputs, self.scores
        maps = {
            name: read
            for name, output in outputs.items()
            if name not in self.captured.pooled
            and (read := self._read(name)) is not None
            and _is_map(read(output))
            and not self._is_attention(name, read)
        }
        if scores.dim() == 4:  # dense prediction: the scores themselves, before they are enlarged, are no features
            maps = {name: read for name, read in maps.items() if read(outputs[name]).shape[1] != scores.shape[1]}
        reached = self._reached(maps)
        if not reached:
            raise self._nothing_found()
        return {name: maps[name] for name in reached}

    def _nothing_found(self) -> SettingError:
        if not self.scores.requires_grad:
            return SettingError(
                "the scores carry no gradient from any layer: the forward detaches them, or computes them elsewhere; "
                "pass output=callable(model, images) -> scores that depend on a layer by torch's operations"
            )
        return SettingError(
            "target_layer=None found no layer with a map (N, C, h, w), (N, h, w, C) or (N, L, C) that reaches the "
            f"scores{', read by the reshape_transform given' if self.transform else ''}; name one of the model's "
            f"{len(self.layers)} layers"
        )

    def _read(self, name: str) -> Reader | None:
        return self.layouts.get(name) if self.transform is None else self.transform

    def _required(self, name: str) -> Layout | None:
        if name not in self.captured.outputs:
            raise SettingError(
                f"target_layer={name!r} ({type(self.layers[name]).__name__}) gave no tensor: it is not called in the "
                "forward pass, or returns no floating-point tensor; name a layer that is and does"
            )
        output = self.captured.outputs[name]
        read = self._read(name)
        if read is None and output.dim() == 4:  # named by the user: a map of another aspect ratio (odd strides) is one
            read = Layout("NCHW", (output.shape[2], output.shape[3]))
        shape = tuple(output.shape if read is None else read(output).shape)
        if read is None or len(shape) != 4 or shape[0] != self.images or shape[2] * shape[3] < 2:
            source = "reshape_transform made" if self.transform else "gave"
            raise SettingError(
                f"target_layer={name!r} {source} {shape} for images of {self.image_size[0]}x{self.image_size[1]}, "
                "which is no map: a map is (N, C, h, w), (N, h, w, C) or tokens (N, L, C) with more than one position "
                "and the image's aspect ratio; name an earlier layer, or pass reshape_transform=callable(output) that "
                "returns (N, C, h, w)"
            )
        return _layout_of(read)

    def _is_attention(self, name: str, read: Reader) -> bool:
        """Whether an output of a map's shape is attention over L tokens, (N, heads, L, L), and no map.

        Told by what it is or where it comes from: rows of shares, which sum to 1, or the innermost layer around it
        gives L tokens.
        """
        outputs = self.captured.outputs
        output = outputs[name]
        if not isinstance(read, Layout) or output.shape[-1] != output.shape[-2]:
            return False
        if any(bool(((output.detach().float().sum(axis) - 1).abs() < 1e-2).all()) for axis in (-1, -2)):
            return True
        if read.is_of_tokens:
            return False
        around = [name[:at] for at in range(len(name)) if name[at] == "."]
        shape = next((outputs[outer].shape for outer in reversed(around) if outer in outputs), ())
        return len(shape) == 3 and read.grid[0] in shape[:2]

    def _reached(self, maps: Mapping[str, Reader]) -> list[str]:
        """Layers from which any position of the map reaches the scores.

        Told by where a gradient of NaN arrives, not by gradients' values: a head that starts as zeros (torchvision's
        ViT) passes on nothing but zeros, and 0 x NaN is NaN.
        """
        if not maps or not self.scores.requires_grad:
            return []
        outputs = [self.captured.handed_on[name] for name in maps]
        nan = torch.full_like(self.scores, torch.nan)
        with torch.autograd.set_detect_anomaly(False):
            gradients = torch.autograd.grad(self.scores, outputs, nan, retain_graph=True, allow_unused=True)
        pairs = zip(maps.items(), gradients, strict=True)
        return [name for (name, read), one in pairs if one is not None and bool(read(one).isnan().any())]


def _whole(output: Tensor) -> Tensor:
    return output


def _layout_of(read: Reader | None) -> Layout | None:
    return read if isinstance(read, Layout) else None


def _is_map(output: Tensor) -> bool:
    return output.dim() == 4 and output.shape[2] * output.shape[3] > 1


def _is_of_tokens(read: Reader) -> bool:
    return isinstance(read, Layout) and read.is_of_tokens
