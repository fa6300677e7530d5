"""Look into a model in the middle of its training, and leave it as it was.

The only room that touches training flags, gradient and inference mode, random state and compilation.
"""

import logging
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from lightning_gradcam.cam.audit import Audit, Trace
from lightning_gradcam.cam.bounds import is_trainer
from lightning_gradcam.cam.twin import StandIn, Twins

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class Lender:
    """Lends a model, look after look, and leaves it untouched by construction.

    Lent is a twin, which shares the trained weights and has a state of its own: whatever a forward pass changes is gone
    with it. The first look is audited: what it changes in spite of that is put back and named in one warning. Weights
    that it writes are copied from then on; where it changes anything else (global variables, class attributes), all
    looks are audited. Where work fails on a twin and succeeds on the model itself, that is lent, audited as well.

    Inside, the model is in evaluation mode, its parameters frozen, and gradients enabled: a graph is built only behind
    tensors that the borrower marks with `requires_grad`. A compiled model runs eagerly, so that its layers can be seen.
    Random states, gradient and inference mode are the same afterwards, also after an exception.

    Args:
        model: any module, in any mode, compiled or not.
        stand_in: makes what stands in for a Lightning `Trainer` that the model holds, from what makes twins.
    """

    def __init__(self, model: nn.Module, stand_in: StandIn | None = None) -> None:
        self._model = model
        self._stand_in = stand_in
        self._written: list[Tensor] = []  # shared tensors that a look writes: their twins have a copy
        self._look: Callable[..., Any] = self._first_look

    def look(self, work: Callable[[nn.Module, T], R], companion: T) -> R:
        """Let work be done with the model.

        Args:
            work: of the lent model and the lent companion.
            companion: what belongs to the model, say settings with modules or functions that know it; lent as well.
        """
        found: R = self._look(work, companion)
        return found

    @contextmanager
    def itself(self, **others: object) -> Iterator[nn.Module]:
        """Lend the model itself, and put all back that can be reached from it and from some others."""
        with self._audited(**others), ExitStack() as stack:
            flags = [(module, module.training) for module in self._model.modules()]
            stack.enter_context(_unnoticed(self._model))
            stack.callback(_set_training, flags)
            stack.enter_context(_frozen(self._model))
            _evaluate(self._model)
            yield self._model

    @contextmanager
    def twin(self, companion: T) -> Iterator[tuple[nn.Module, T]]:
        """Lend twins of the model and its companion."""
        with _unnoticed(self._model):
            twins = Twins(self._written, self._stand_in)
            versions: list[int] = []
            try:
                model, lent = twins.of(self._model), twins.beside(companion)
                _evaluate(model)
                versions = [tensor._version for tensor in twins.shared]
                yield model, lent
            finally:
                twins.end()
                pairs = zip(twins.shared, versions, strict=False)  # none where a twin could not be made
                self._copy_from_now_on([tensor for tensor, version in pairs if tensor._version != version])

    def _first_look(self, work: Callable[[nn.Module, T], R], companion: T) -> R:
        audit, fault = self._audit(settings=companion), None
        try:
            found = self._look_at_twin(work, companion)
        except Exception as error:
            fault = error
        finally:
            changes = audit.put_back()
        if fault:
            found = self._second_try(work, companion, fault)
            self._look = self._look_at_itself
        else:
            self._learn(*changes)
        return found

    def _audit(self, **others: object) -> Audit:
        everywhere = vars(torch.nn.modules.module)  # hooks that the user hung on all modules
        hooks = {name: everywhere[name] for name in everywhere if name.startswith("_global_") and everywhere[name]}
        return Audit({type(self._model).__name__: self._model, **others, **hooks})

    def _second_try(self, work: Callable[[nn.Module, T], R], companion: T, fault: Exception) -> R:
        try:
            found = self._look_at_itself(work, companion)
        except Exception as second:
            logger.debug("and on the model itself: %r", second)
            raise fault from None
        logger.info("%s is lent itself, and put back after each look: on a copy, %r", type(self._model).__name__, fault)
        return found

    def _look_at_twin(self, work: Callable[[nn.Module, T], R], companion: T) -> R:
        with self.twin(companion) as lent:
            return work(*lent)

    def _look_audited(self, work: Callable[[nn.Module, T], R], companion: T) -> R:
        with self._audited(settings=companion):
            return self._look_at_twin(work, companion)

    def _look_at_itself(self, work: Callable[[nn.Module, T], R], companion: T) -> R:
        with self.itself(settings=companion) as model:
            _stand_in_for_trainers(model, self._stand_in)
            return work(model, companion)

    @contextmanager
    def _audited(self, **others: object) -> Iterator[None]:
        """Put back all that changes inside and can be reached from the model and some others."""
        audit = self._audit(**others)
        try:
            yield
        finally:
            _, lost = audit.put_back()
            _tell_lost(lost)

    def _learn(self, undone: list[Trace], lost: list[Trace]) -> None:
        """Remember what a look changes in spite of the twin, and say so."""
        changed = [trace.one for trace in (*undone, *lost)]
        self._written += [one for one in changed if isinstance(one, Tensor)]
        weights = {id(one) for one in self._model.parameters()}
        self._look = self._look_at_twin if weights.issuperset(map(id, changed)) else self._look_audited
        if undone:
            logger.warning("a look changes %s; it was put back, and is after each look", _names(undone))
        _tell_lost(lost)

    def _copy_from_now_on(self, written: list[Tensor]) -> None:
        self._written += written
        if written and self._look == self._look_at_twin:  # the first look is audited, and tells by itself
            names = {id(tensor): name for name, tensor in self._model.named_parameters()}
            told = ", ".join(names.get(id(tensor), "a large tensor") for tensor in written)
            logger.warning("a look changed %s, which earlier ones had not; later ones have a copy", told)


def _tell_lost(lost: list[Trace]) -> None:
    if lost:
        logger.warning("a look changed %s, which could not be put back", _names(lost))


def _stand_in_for_trainers(model: nn.Module, stand_in: StandIn | None) -> None:
    """Let the model itself reach no trainer; the audit puts the trainer back."""
    if stand_in is None:
        return
    twins = Twins(stand_in=stand_in)
    twins.keep(model)
    for module in model.modules():
        for name, held in vars(module).items():
            if is_trainer(type(held)):
                vars(module)[name] = twins.of(held)


def _names(traces: list[Trace]) -> str:
    return ", ".join(sorted({trace.name for trace in traces})[:10])


@contextmanager
def _unnoticed(model: nn.Module) -> Iterator[None]:
    """Keep the random states and modes of the process, and let gradients flow, uncompiled and without checkpointing."""
    with ExitStack() as stack:
        stack.enter_context(preserved_rng(*devices_of(model)))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(_eager())
        stack.enter_context(_CHECKPOINTING.off())
        stack.enter_context(torch.enable_grad())
        yield


def _evaluate(model: nn.Module) -> None:
    _set_training([(module, False) for module in model.modules()])


def _set_training(flags: list[tuple[nn.Module, bool]]) -> None:
    for module, flag in flags:
        module.training = flag  # not .train(): a module may override it to do more than to set the flag


@contextmanager
def preserved_rng(*devices: torch.device) -> Iterator[None]:
    """Give back the random state of Python, NumPy, torch's CPU generator, and those of accelerators."""
    python, numpy = random.getstate(), np.random.get_state()
    accelerators = [device for device in devices if device.type in ("cuda", "xpu", "mps")]
    kind = accelerators[0].type if accelerators else "cuda"
    try:
        with torch.random.fork_rng([one for one in accelerators if one.type == kind], device_type=kind):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def devices_of(model: nn.Module) -> list[torch.device]:
    """Return the devices of the model's parameters and buffers, the first one's first."""
    tensors = [*model.parameters(), *model.buffers()]
    return list(dict.fromkeys(tensor.device for tensor in tensors))


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
