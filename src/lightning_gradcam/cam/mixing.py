"""Where a model mixes the places of an image, and which of its layers still follow them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lightning_gradcam.cam.layers import memory_of, tensor_of
from lightning_gradcam.cam.maps import as_given, channels_first

_ATTENTION = frozenset({F.scaled_dot_product_attention, F.multi_head_attention_forward})
PRODUCTS = frozenset(
    {torch.matmul, torch.linalg.matmul, torch.bmm, torch.baddbmm, torch.mm, torch.einsum, torch.tensordot}
    | {Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.bmm, Tensor.baddbmm, Tensor.mm}
)
_PART = ((0.5, 0.75), (0.125, 0.375))  # of the height and of the width: what is changed
_FOLLOWING = 0.5  # of a layer's change that lies there, a place around it included


class FirstAttention(TorchFunctionMode):
    """Tells where in a forward pass activations are first multiplied with activations, as all attention does.

    Weights are such that nothing is differentiated by; all layers' outputs are such that something is.

    Args:
        layers: all layers by name.

    Attributes:
        behind: those whose last call ends behind it.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.behind: set[str] = set()
        self._layers = layers
        self._running: list[str] = []
        self._around: str | None = None  # the innermost layer with weights that runs while it is computed
        self._has_begun = False
        self._inputs: dict[str, tuple[int, int]] = {}  # where in memory
        self._hooks = ExitStack()

    def __enter__(self) -> "FirstAttention":
        """Begin to watch."""
        super().__enter__()  # type: ignore[no-untyped-call]
        for name, module in self._layers.items():
            self._hooks.callback(module.register_forward_pre_hook(partial(self._begun, name)).remove)
            self._hooks.callback(module.register_forward_hook(partial(self._ended, name)).remove)
        return self

    def __exit__(self, *raised: Any) -> None:
        """Watch no longer."""
        self._hooks.close()
        super().__exit__(*raised)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute what is computed, and look at it."""
        if not self._has_begun and (func in _ATTENTION or is_of_activations(func, args, kwargs)):
            self._has_begun = True
            weighted = (name for name in reversed(self._running) if any(True for _ in self._layers[name].parameters()))
            self._around = next(weighted, None)
        return func(*args, **(kwargs or {}))

    def is_within(self, name: str) -> bool:
        """Whether a layer belongs to the module that computes it, as the projections of queries do."""
        return self._around is not None and f"{name}.".startswith(f"{self._around}.")

    def without_projections(self, names: Sequence[str]) -> list[str]:
        """Return layers, the last first, without those at the end that make queries, keys and values."""
        kept, behind = [*names], ""
        while len(kept) > 1 and self._is_projection(kept[-1], {kept[-2], behind}):
            behind = kept.pop()
        return kept[::-1]

    def _is_projection(self, name: str, beside: set[str]) -> bool:
        weight = getattr(self._layers[name], "weight", None)
        if not isinstance(weight, Tensor) or weight.dim() < 2:
            return False
        is_of_several = weight.shape[0] in (2 * weight.shape[1], 3 * weight.shape[1])
        return is_of_several or any(self._inputs.get(one) == self._inputs.get(name) for one in beside if one)

    def _begun(self, name: str, module: nn.Module, inputs: Any) -> None:
        self._running.append(name)
        given = tensor_of(inputs)
        if given is not None and (place := memory_of(given)) is not None:
            self._inputs[name] = place, int(given.storage_offset())

    def _ended(self, name: str, module: nn.Module, inputs: object, output: object) -> None:
        self._running.remove(name)
        self.behind.discard(name)
        if self._has_begun:
            self.behind.add(name)


def is_of_activations(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> bool:
    """Whether a function multiplies activations with activations."""
    given = tensors_in((*args, *(kwargs or {}).values()))
    return func in PRODUCTS and sum(one.requires_grad for one in given) > 1


def tensors_in(args: Any) -> Iterator[Tensor]:
    """Yield the tensors among a function's arguments, also those in lists."""
    for one in args:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, (list, tuple)):
            yield from tensors_in(one)


def changed_in_part(images: Tensor) -> Tensor:
    """Return images, (N, C, H, W) or (N, H, W, C), of which one part is another: each value the farther extreme."""
    first = channels_first(images).clone()
    rows, columns = _places(first.shape[-2:], 0)
    part, low, high = first[..., rows, columns], first.amin(), first.amax()
    other = torch.where(part > low + (high - low) / 2, low, high)
    first[..., rows, columns] = torch.where(high > low, other, part + 1)
    return as_given(first, images)


def follows(before: Tensor, after: Tensor) -> bool:
    """Whether a map, (N, C, h, w), changed where the images of `changed_in_part` did."""
    return before.shape == after.shape and changed_there(before, after, 1) > _FOLLOWING * changed_there(before, after)


def changed_there(before: Tensor, after: Tensor, around: int | None = None) -> float:
    """How much a map, (N, C, h, w), changed where the images did, so many places around included; None is all of it."""
    change = (after.detach() - before.detach()).float().abs().sum(1)
    rows, columns = (slice(None), slice(None)) if around is None else _places(change.shape[-2:], around)
    return float(change[..., rows, columns].sum())


def _places(sides: Sequence[int], around: int) -> list[slice]:
    """The part's places along both sides, and so many around it."""
    pairs = zip(_PART, sides, strict=True)
    return [slice(max(0, int(start * side) - around), ceil(end * side) + around) for (start, end), side in pairs]
