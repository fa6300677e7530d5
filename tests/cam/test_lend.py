"""A lent model is as it was."""

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lightning_gradcam.cam.lend import Lender

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


LENDINGS = {
    "twin": lambda model: Lender(model).twin(None),
    "itself": lambda model: Lender(model).itself(),
}


@contextmanager
def lent(model: nn.Module, how: str) -> Iterator[nn.Module]:
    with LENDINGS[how](model) as found:
        yield found[0] if how == "twin" else found


@pytest.mark.parametrize("how", LENDINGS)
def test_everything_is_as_before(model, how) -> None:
    """Flags one by one, attributes, submodules, hooks, buffers, gradients, random state, gradient mode."""
    before, gradients = state_of(model), [p.grad for p in model.parameters()]
    with lent(model, how) as found:
        disturb(found)
    assert state_of(model) == before
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert not hasattr(model, "added")


@pytest.mark.parametrize("how", LENDINGS)
def test_also_after_an_exception(model, how) -> None:
    """In the middle of the borrower's work."""
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt), lent(model, how) as found:  # noqa: PT012 - it leaves from within
        disturb(found)
        raise KeyboardInterrupt
    assert state_of(model) == before


@pytest.mark.parametrize("how", LENDINGS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_inside_gradients_work_whatever_the_mode_outside(model, mode, how) -> None:
    """And the mode outside is as before."""
    with mode():
        outside = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with lent(model, how) as found:
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            images = torch.rand(2, 3, 8, 8, requires_grad=True)
            assert torch.autograd.grad(found.body(images).sum(), images)[0].abs().sum() > 0
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == outside


@pytest.mark.parametrize("how", LENDINGS)
def test_no_gradient_hook_of_a_parameter_fires(model, how) -> None:
    """DDP and FSDP hang theirs there, and would wait for the other ranks."""
    fired = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: fired.append(1))
    with lent(model, how) as found:
        images = torch.rand(2, 3, 8, 8, requires_grad=True)
        found.body(images).sum().backward()
    assert fired == []


@pytest.mark.parametrize("how", LENDINGS)
def test_a_compiled_model_is_seen_and_stays_compiled(how) -> None:
    """Hooks fire inside, and nothing is compiled anew afterwards."""
    compiled = torch.compile(small_cnn(), backend="eager")
    compiled.eval()(torch.rand(2, 3, 8, 8))
    seen = []
    with lent(compiled, how) as found:
        handle = found._orig_mod[5].register_forward_hook(lambda *_: seen.append(1))
        found(torch.rand(2, 3, 8, 8))
        handle.remove()
    assert seen == [1]
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(torch.rand(2, 3, 8, 8))


@pytest.fixture
def small_are_shared(monkeypatch) -> None:
    """As large parameters are."""
    monkeypatch.setattr("lightning_gradcam.cam.twin.COPIED_UP_TO", 0)


@pytest.mark.usefixtures("small_are_shared")
def test_a_twin_shares_the_weights_and_nothing_else(model) -> None:
    """Those that train and those that are frozen; what two modules share, their twins share."""
    model.tied = nn.Linear(8, 3)
    model.tied.weight = model.body[9].weight
    with lent(model, "twin") as twin:
        for (name, own), other in zip(model.named_parameters(), twin.parameters(), strict=True):
            assert own is not other
            assert own.data_ptr() == other.data_ptr(), name
            assert not other.requires_grad
        assert twin.tied.weight is twin.body[9].weight
        assert {b.data_ptr() for b in model.buffers()}.isdisjoint(b.data_ptr() for b in twin.buffers())
        assert set(map(id, model.modules())).isdisjoint(map(id, twin.modules()))


def test_nothing_is_made_or_deleted_of_what_does_something_when_it_is_deleted(model) -> None:
    """A handle that closes a file, say: neither for a twin nor to see whether there could be one."""
    deleted = []

    class Handle:
        def __del__(self) -> None:
            deleted.append(self.name)

    model.handle = Handle()
    model.handle.name = "its own"
    Lender(model).look(lambda twin, _: twin.handle, None)
    assert deleted == []
    del model.handle
    assert deleted == ["its own"]


class Codebook(nn.Module):
    """Vector quantisation: a frozen parameter, moved by each forward pass, in evaluation too."""

    def __init__(self, write) -> None:
        super().__init__()
        self.body, self.write = small_cnn(), write
        self.codes = nn.Parameter(torch.zeros(4), requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.write(self.codes)
        return self.body(images) + self.codes[:3]


def by_numpy(codes: torch.Tensor) -> None:
    codes.numpy()[:] += 1


WAYS = {
    "in place": lambda codes: codes.add_(1),
    "data": lambda codes: codes.data.add_(1),
    "numpy": by_numpy,
    "replaced": lambda codes: setattr(codes, "data", codes.data + 1),
}


@pytest.mark.usefixtures("small_are_shared")
@pytest.mark.parametrize("way", WAYS)
def test_a_weight_that_a_forward_writes_is_put_back_and_then_copied(way, caplog) -> None:
    """Whether torch notices or not; it is told once, by name."""
    model = Codebook(WAYS[way])
    lender, images = Lender(model), torch.rand(2, 3, 8, 8)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        for _ in range(3):
            lender.look(lambda twin, _: twin(images), None)
            assert model.codes.tolist() == [0, 0, 0, 0]
    told = "a look changes Codebook.codes; it was put back, and is after each look"
    assert [record.message for record in caplog.records] == ([] if way == "replaced" else [told])


@pytest.mark.usefixtures("small_are_shared")
def test_a_weight_that_a_later_look_begins_to_write_is_told(caplog) -> None:
    """It was written once; the looks behind that have a copy."""
    model, writes = Codebook(lambda codes: codes.add_(1) if late.is_set() else codes), []
    lender, images = Lender(model), torch.rand(2, 3, 8, 8)
    late.clear()
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        for look in range(4):
            if look == 2:
                late.set()
            lender.look(lambda twin, _: twin(images), None)
            writes.append(float(model.codes[0]))
    assert writes == [0, 0, 1, 1]
    assert [record.message for record in caplog.records][-1:] == [
        "a look changed codes, which earlier ones had not; later ones have a copy"
    ]


late = threading.Event()


def test_work_that_fails_on_a_twin_is_done_on_the_model_itself(caplog) -> None:
    """A function that knows the model by a global name; all is put back after each look."""
    global known_by_name
    known_by_name = Stateful()
    lender, images = Lender(known_by_name), torch.rand(2, 3, 8, 8)

    def work(model: nn.Module, _: None) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        handle = model.body[5].register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            known_by_name(images)
        finally:
            handle.remove()
        return seen[0]

    before = state_of(known_by_name)
    with caplog.at_level(logging.INFO, logger="lightning_gradcam"):
        for _ in range(2):
            assert lender.look(work, None).shape == (2, 8, 4, 4)
            assert state_of(known_by_name) == before
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "Stateful is lent itself, and put back after each look"
    ]


def test_work_that_fails_on_both_is_told_as_on_the_twin() -> None:
    """The first reason is the user's."""
    with pytest.raises(ValueError, match="the user's own reason"):
        Lender(small_cnn()).look(lambda model, _: (_ for _ in ()).throw(ValueError("the user's own reason")), None)


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_is_off_for_the_thread_that_looks_alone(reentrant) -> None:
    """A training that goes on in another thread computes its part twice, as before and after the look."""

    def passes() -> int:
        calls = []
        images = torch.ones(3, requires_grad=True)
        checkpoint(lambda x: (calls.append(1), x.exp())[1], images, use_reentrant=reentrant).sum().backward()
        assert torch.allclose(images.grad, torch.ones(3).exp())
        return len(calls)

    found, own = {"before": passes()}, dict(vars(torch.utils.checkpoint))
    with Lender(small_cnn()).twin(None):
        training = threading.Thread(target=lambda: found.update(beside=passes()))
        training.start()
        training.join()
        found["looking"] = passes()
    found["after"] = passes()
    assert found == {"before": 2, "beside": 2, "looking": 1, "after": 2}
    assert vars(torch.utils.checkpoint) == own
