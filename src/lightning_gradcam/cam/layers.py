"""Layers of a model, by name or module, and what they give in a forward pass.

They are told apart by name: a module's own hash may change while it runs, as those of torchmetrics' metrics do.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.layouts import Layout, Reader
from lightning_gradcam.errors import SettingError, nearest, quoted

LayerChoice = str | nn.Module

# Wrappers that put a name of their own between a model and its layers (torch.compile, FSDP, activation checkpointing).
_WRAPPER = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


@dataclass(frozen=True)
class TargetLayer:
    """A layer, and what is known of its output.

    Attributes:
        name: its dotted name.
        layout: how its output lies in memory; None where a `reshape_transform` reads it.
        has_both_signs: whether anything in it is below 0, as after SiLU, GELU or a sum of branches.
        mixes: whether the model mixes the image's places, by attention or otherwise, on the way to its scores.
    """

    name: str
    layout: Layout | None
    has_both_signs: bool = field(default=False, compare=False)
    mixes: bool = field(default=False, compare=False)

    @property
    def is_of_tokens(self) -> bool:
        """Whether its output is rows of tokens."""
        return self.layout is not None and self.layout.is_of_tokens

    @property
    def suits_gradcam(self) -> bool:
        """Whether a channel's mean gradient says what each of its places is worth.

        It does where nothing is below 0 and nothing mixes the places; elsewhere the positive products of activation and
        gradient were as faithful or more so, over the networks and tasks of `tests/benchmarks/faithfulness.py`.
        """
        return not (self.is_of_tokens or self.has_both_signs or self.mixes)

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


Groups = list[list[LayerOfModel]]  # of each map; several are averaged


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer by its dotted name, without the names that wrappers put in between."""
    return {_WRAPPER.sub("", f"{name}.").rstrip("."): module for name, module in model.named_modules() if name}


def takes_gray(model: nn.Module) -> bool:
    """Whether the first convolution, in the order in which layers were made, takes one channel."""
    convolutions = (module for module in model.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)))
    first = next(convolutions, None)
    return first is not None and first.in_channels == 1


def choose_layers(model: nn.Module, choice: LayerChoice | Sequence[LayerChoice]) -> list[str]:
    """Look up dotted names and modules in the model; return their names in `named_layers`.

    Raises:
        SettingError: a name or module that the model does not have.
    """
    layers = named_layers(model)
    return [_look_up(one, layers) for one in ([choice] if isinstance(choice, (str, nn.Module)) else choice)]


def _look_up(choice: LayerChoice, layers: dict[str, nn.Module]) -> str:
    if isinstance(choice, nn.Module):
        found = [name for name, module in layers.items() if module is choice]
        if not found:
            raise SettingError(f"target_layer={type(choice).__name__}(...) is not a layer of the model")
        return found[0]
    name = _WRAPPER.sub("", f"{choice}.").rstrip(".")
    if name not in layers:
        raise SettingError(f"target_layer={quoted(choice)} is not a layer of the model{nearest(name, layers)}")
    if isinstance(layers[name], torch.jit.ScriptModule):
        raise SettingError(
            f"target_layer={quoted(choice)} is TorchScript, which calls no hooks on its layers; name a layer "
            "outside of it"
        )
    return name


class Capture:
    """The recorded outputs of some layers, by name in the order of execution; the last call counts."""

    def __init__(self) -> None:
        self.outputs: dict[str, Tensor] = {}

    def __call__(self, name: str, module: nn.Module, inputs: object, output: Any) -> Any:
        """Forward hook: keep the output as a point to differentiate with respect to, and hand on a copy of it.

        The copy is what later in-place operations overwrite (grad-cam and torch-cam keep the output itself, and err
        on a layer in front of an in-place ReLU). A layer that hands its input through, as a dropout does in
        evaluation, is kept as a copy too: others hold that input. Gradients open here: nothing in front of the first
        layer is kept.
        """
        tensor = tensor_of(output)
        if tensor is None or not tensor.is_floating_point() or memory_of(tensor) is None:
            return None
        torch.set_grad_enabled(True)  # also within a forward that runs its backbone under no_grad
        own = tensor.clone() if tensor.is_inference() or _shares_memory(tensor, inputs) else tensor
        activation = own if own.requires_grad else own.detach().requires_grad_()
        self.outputs.pop(name, None)
        self.outputs[name] = activation
        return _with_tensor(output, tensor, activation.clone())


_CaptureT = TypeVar("_CaptureT", bound=Capture)


@contextmanager
def capture(layers: Mapping[str, nn.Module], captured: _CaptureT) -> Iterator[_CaptureT]:
    """Record the outputs of layers in the forward passes inside; the hooks are gone afterwards."""
    handles = [module.register_forward_hook(partial(captured, name)) for name, module in layers.items()]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def tensor_of(output: Any) -> Tensor | None:
    """The tensor of a layer's output: itself, or the first of a tuple (attention returns its weights besides)."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, (tuple, list)):
        return next((item for item in output if isinstance(item, Tensor)), None)
    return None


def _shares_memory(tensor: Tensor, inputs: object) -> bool:
    given = [one for one in inputs if isinstance(one, Tensor)] if isinstance(inputs, tuple) else []
    return memory_of(tensor) in map(memory_of, given)


def memory_of(tensor: Tensor) -> int | None:
    """Return where a tensor's values are; sparse ones, and those that `vmap` works with, have no place of their own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except NotImplementedError:
        return None


def _with_tensor(output: Any, tensor: Tensor, copy: Tensor) -> Any:
    if output is tensor:
        return copy
    items = [copy if item is tensor else item for item in output]
    return tuple.__new__(type(output), items) if isinstance(output, tuple) else type(output)(items)
