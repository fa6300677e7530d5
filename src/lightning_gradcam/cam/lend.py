"""Borrow a model in the middle of its training and give it back as it was.

The only room that touches training flags, gradient and inference mode, random state and compilation.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

_Contents = dict[str, tuple[Any, dict[Any, Any] | None]]


@contextmanager
def lend(model: nn.Module) -> Iterator[nn.Module]:
    """Lend `model` in evaluation mode with frozen parameters and gradients enabled; take everything back at the end.

    Inside, a graph is built only behind tensors that the borrower marks with `requires_grad`: nothing in front of them
    is kept, and no parameter's `.grad` or gradient hook (DDP's, for one) can be reached. Whatever the borrower or the
    model's own forward changes is as before afterwards, also after an exception: each module's training flag,
    attributes, submodules and hooks, buffers and their values, `requires_grad` and `.grad` of every parameter, gradient
    and inference mode, and the random state of Python, NumPy, torch and the model's device.

    Args:
        model: any module, in any mode, compiled or not; a compiled one runs eagerly, so that its layers can be seen.
    """
    with ExitStack() as stack:
        stack.enter_context(preserved_rng(device_of(model)))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(_preserved_modules(model))
        stack.enter_context(_preserved_buffers(model))
        stack.enter_context(_frozen(model))
        stack.enter_context(_eager())
        stack.enter_context(_CHECKPOINTING.off())
        stack.enter_context(torch.enable_grad())
        for module in model.modules():
            module.training = False  # not .eval(): a module may override train() to do more than to set the flag
        yield model


@contextmanager
def preserved_rng(device: torch.device | None = None) -> Iterator[None]:
    """Give back the random state of Python, NumPy, torch's CPU generator and, where there is one, `device`'s."""
    python, numpy = random.getstate(), np.random.get_state()
    on_accelerator = device is not None and device.type in ("cuda", "xpu", "mps")
    devices = [device] if on_accelerator else []
    try:
        with torch.random.fork_rng(devices, device_type=device.type if device and on_accelerator else "cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def device_of(model: nn.Module) -> torch.device:
    """Device of the model's first parameter or buffer; the CPU where it has neither."""
    tensor: Tensor | None = next(model.parameters(), None)
    if tensor is None:
        tensor = next(model.buffers(), None)
    return torch.device("cpu") if tensor is None else tensor.device


@contextmanager
def _preserved_modules(model: nn.Module) -> Iterator[None]:
    modules = {module: _contents(module) for module in model.modules()}
    try:
        yield
    finally:
        for module, contents in modules.items():
            _put_back(module, contents)


def _contents(module: nn.Module) -> _Contents:
    """All that the module holds by name, and one level into its dicts: parameters, buffers, submodules, hooks."""
    return {name: (value, dict(value) if isinstance(value, dict) else None) for name, value in vars(module).items()}


def _put_back(module: nn.Module, contents: _Contents) -> None:
    attributes = vars(module)
    for name in attributes.keys() - contents.keys():
        del attributes[name]
    for name, (value, items) in contents.items():
        attributes[name] = value
        if items is not None and not _same(value, items):
            value.clear()
            value.update(items)


def _same(now: dict[Any, Any], before: dict[Any, Any]) -> bool:
    return now.keys() == before.keys() and all(now[key] is before[key] for key in before)


@contextmanager
def _preserved_buffers(model: nn.Module) -> Iterator[None]:
    # An in-place change raises a tensor's version, which tells it without reading the values: no wait for the device.
    with torch.no_grad():
        before = [(buffer, _version(buffer), buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, version, values in before:
                if version is None or _version(buffer) != version:
                    buffer.copy_(values)


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Parameters without `requires_grad` and without `.grad`: nobody's `zero_grad` or `backward` finds any."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.is_leaf]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters() if parameter.is_leaf]
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _eager() -> AbstractContextManager[Any]:
    # A hook on a layer inside a compiled graph would not fire, or recompile it. Only who compiles has Dynamo loaded.
    compiled = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


class _Checkpointing:
    """Activation checkpointing, which can be switched off for the thread that looks, and for no other.

    It would run the layers' hooks a second time in the backward pass, or lose the graph that begins inside a
    checkpointed part; and where nothing in front of a layer is kept, there is nothing to save. torch has no switch for
    it: while anybody looks, two private names of `torch.utils.checkpoint` tell threads apart.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looking: list[int] = []  # threads, one entry a loan
        self._own: dict[str, Any] = {}

    @contextmanager
    def off(self) -> Iterator[None]:
        thread = threading.get_ident()
        with self._lock:
            if not self._looking:
                self._install()
            self._looking.append(thread)
        try:
            yield
        finally:
            with self._lock:
                self._looking.remove(thread)
                if not self._looking:
                    vars(torch.utils.checkpoint).update(self._own)

    def _install(self) -> None:
        plain = {"CheckpointFunction": self._function, "_checkpoint_without_reentrant_generator": self._generator}
        module = vars(torch.utils.checkpoint)
        # by the names' beginnings: torch 2.15 has an implementation beside the generator, earlier ones have not
        self._own = {name: value for name, value in module.items() if name.removesuffix("_impl") in plain}
        module.update({name: plain[name.removesuffix("_impl")](value) for name, value in self._own.items()})

    def _is_off(self) -> bool:
        return threading.get_ident() in self._looking

    def _function(self, own: Any) -> Any:
        """In the place of the reentrant checkpoint's autograd function."""

        def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
            return function(*args) if self._is_off() else own.apply(function, preserve_rng_state, *args)

        return SimpleNamespace(apply=apply)

    def _generator(self, own: Callable[..., Iterator[None]]) -> Callable[..., Iterator[None]]:
        """In the place of the other checkpoint's: nothing to set up, nothing to tear down."""

        def generator(*args: Any, **kwargs: Any) -> Iterator[None]:
            return iter([None]) if self._is_off() else own(*args, **kwargs)

        return generator


_CHECKPOINTING = _Checkpointing()
