"""What has changed is told and put back, and nothing else is."""

import random
from collections import OrderedDict, defaultdict, deque
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lightning_gradcam.cam.audit import Audit

# makes an object, changes it, and says what it holds
WHAT_CHANGES = {
    "tensor": (lambda: torch.zeros(2), lambda one: one.add_(1), torch.Tensor.tolist),
    "resized tensor": (lambda: torch.zeros(2), lambda one: one.resize_(3), torch.Tensor.tolist),
    "requires_grad": (lambda: torch.zeros(2), lambda one: one.requires_grad_(), lambda one: one.requires_grad),
    "array": (lambda: np.zeros(2), lambda one: one.__iadd__(1), np.ndarray.tolist),
    "bytearray": (lambda: bytearray(b"abc"), lambda one: one.extend(b"d"), bytes),
    "torch.Generator": (
        lambda: torch.Generator().manual_seed(3),
        lambda one: torch.rand(1, generator=one),
        lambda one: one.get_state().tolist(),
    ),
    "random.Random": (lambda: random.Random(3), random.Random.random, random.Random.getstate),
    "RandomState": (
        lambda: np.random.RandomState(3),
        lambda one: one.rand(),
        lambda one: [*one.get_state()[1].tolist(), one.get_state()[2]],
    ),
    "np.random.Generator": (
        lambda: np.random.default_rng(3),
        lambda one: one.random(),
        lambda one: one.bit_generator.state,
    ),
    "OrderedDict": (lambda: OrderedDict(a=1, b=2), lambda one: one.move_to_end("a"), lambda one: [*one.items()]),
    "defaultdict": (lambda: defaultdict(int, a=1), lambda one: one["b"], dict),
    "list": (lambda: [1, 2], lambda one: one.append(3), list),
    "set": (lambda: {1, 2}, lambda one: one.add(3), set),
    "deque": (lambda: deque([1, 2], maxlen=2), lambda one: one.append(3), list),
    "namespace": (lambda: SimpleNamespace(a=1), lambda one: vars(one).update(a=2, b=3), vars),
}


@pytest.mark.parametrize(("make", "change", "held"), WHAT_CHANGES.values(), ids=WHAT_CHANGES)
def test_each_kind_of_object_is_put_back(make, change, held) -> None:
    """Once it has changed, and not before."""
    one = make()
    before = held(make())
    audit = Audit({"it": one})
    assert audit.put_back()[0] == []
    change(one)
    assert held(one) != before
    assert [trace.path for trace in audit.put_back()[0]] == ["it"]
    assert held(one) == before
    assert audit.put_back()[0] == []


class Slots:
    __slots__ = ("given", "taken", "unset")

    def __init__(self) -> None:
        self.given = self.taken = 1


def test_slots_are_filled_and_emptied_as_they_were() -> None:
    """Those that are not set stay so."""
    one = Slots()
    audit = Audit({"it": one})
    one.given = 2
    del one.taken
    audit.put_back()
    assert (one.given, one.taken, hasattr(one, "unset")) == (1, 1, False)
    one.unset = 3
    audit.put_back()
    assert not hasattr(one, "unset")


def test_an_equal_number_in_a_numbers_place_is_no_change() -> None:
    """Numbers have no identity that counts; lists have."""
    one = SimpleNamespace(number=1000.5, losses=[1])
    audit = Audit({"it": one})
    one.number = float("1000.5")
    assert audit.put_back()[0] == []
    own, one.losses = one.losses, [1]
    assert [trace.path for trace in audit.put_back()[0]] == ["it"]
    assert one.losses is own


def test_a_buffer_that_became_part_of_a_graph_has_its_values_again() -> None:
    """No flag of it can be set any more, as no leaf's it is."""
    buffer, weight = torch.ones(2), torch.full((2,), 3.0, requires_grad=True)
    audit = Audit({"it": buffer})
    buffer.mul_(weight)
    audit.put_back()
    assert buffer.tolist() == [1, 1]


settings = ModuleType("a_users_settings")


class Configured(nn.Module):
    """Reaches into a module of its own program."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        settings.calls += 1
        settings.seen.append(len(images))
        return images


def test_what_a_model_reaches_in_a_module_of_its_program_is_put_back() -> None:
    """Names that are bound anew, and what they stand for."""
    settings.calls, settings.seen = 0, []
    model = Configured()
    audit = Audit({"model": model})
    model(torch.zeros(2))
    assert {trace.path for trace in audit.put_back()[0]} == {"a_users_settings.calls", "a_users_settings.seen"}
    assert (settings.calls, settings.seen) == (0, [])
