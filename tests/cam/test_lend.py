"""A lent model comes back as it was."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from lightning_gradcam.cam.lend import lend

from ..conftest import small_cnn


class Stateful(nn.Module):
    """A forward that leaves traces: a counter, a buffer in place and one replaced, random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_cnn()
        self.calls = 0
        self.register_buffer("in_place", torch.zeros(2))
        self.register_buffer("replaced", torch.zeros(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.latest = images
        self.in_place += 1
        self.replaced = self.replaced + 1
        random.random(), np.random.rand(), torch.rand(1)
        return self.body(images)

    def train(self, mode: bool = True) -> "Stateful":
        raise AssertionError("train() may do anything; lending must not call it")


def state_of(model: nn.Module) -> list[object]:
    return [
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        [(m.training, sorted(vars(m)), len(m._forward_hooks), list(m._modules)) for m in model.modules()],
        [(p.requires_grad, None if p.grad is None else p.grad.tolist()) for p in model.parameters()],
        [value.tolist() for value in model.state_dict().values()],
        getattr(model, "calls", None),
    ]


def disturb(model: nn.Module) -> None:
    """All that grad-cam and its like do to a model, and more."""
    assert not any(module.training for module in model.modules())
    model(torch.rand(2, 3, 8, 8))
    model.zero_grad(set_to_none=False)
    nn.Module.train(model.body, True)
    model.body[0].register_forward_hook(lambda *_: None)
    model.body[5] = nn.Identity()
    model.added = 1
    torch.set_grad_enabled(False)
    torch.manual_seed(5)
    torch.nn.init.ones_(model.in_place)


@pytest.fixture
def model() -> Stateful:
    torch.manual_seed(0)
    found = Stateful()
    found.body[1].training = False
    found.body[0].bias.requires_grad_(False)
    found(torch.rand(2, 3, 8, 8)).sum().backward()
    return found


def test_everything_is_as_before(model) -> None:
    """Flags one by one, attributes, submodules, hooks, buffers, gradients, random state, gradient mode."""
    before, gradients = state_of(model), [p.grad for p in model.parameters()]
    with lend(model):
        disturb(model)
    assert state_of(model) == before
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert not hasattr(model, "added")


def test_also_after_an_exception(model) -> None:
    """In the middle of the borrower's work."""
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt), lend(model):  # noqa: PT012 - the exception leaves from within
        disturb(model)
        raise KeyboardInterrupt
    assert state_of(model) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_inside_gradients_work_whatever_the_mode_outside(model, mode) -> None:
    """And the mode outside is as before."""
    with mode():
        outside = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with lend(model):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            images = torch.rand(2, 3, 8, 8, requires_grad=True)
            assert torch.autograd.grad(model.body(images).sum(), images)[0].abs().sum() > 0
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == outside


def test_no_gradient_hook_of_a_parameter_fires(model) -> None:
    """DDP and FSDP hang theirs there, and would wait for the other ranks."""
    fired = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: fired.append(1))
    with lend(model):
        images = torch.rand(2, 3, 8, 8, requires_grad=True)
        model.body(images).sum().backward()
    assert fired == []


def test_a_compiled_model_is_seen_and_stays_compiled() -> None:
    """Hooks fire inside, and nothing is compiled anew afterwards."""
    compiled = torch.compile(small_cnn(), backend="eager")
    compiled.eval()(torch.rand(2, 3, 8, 8))
    seen = []
    with lend(compiled):
        handle = compiled._orig_mod[5].register_forward_hook(lambda *_: seen.append(1))
        compiled(torch.rand(2, 3, 8, 8))
        handle.remove()
    assert seen == [1]
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(torch.rand(2, 3, 8, 8))
