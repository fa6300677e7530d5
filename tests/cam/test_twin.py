"""What a twin has of its own, and what it shares."""

import threading
from collections import deque
from types import ModuleType

import pytest
import torch
from torch import nn

from lightning_gradcam.cam.anatomy import is_data, kinds_of
from lightning_gradcam.cam.twin import Twins

from ..conftest import small_cnn


def test_a_window_of_the_twins_is_as_long_as_the_models() -> None:
    """A deque that is bound to a length forgets in a look what it forgets in training."""
    window = deque([1, 2, 3], maxlen=3)
    twin = Twins().of(window)
    twin.append(4)
    assert list(twin) == [2, 3, 4]
    assert list(window) == [1, 2, 3]


def test_a_tuple_is_the_twins_own_where_it_holds_what_can_change() -> None:
    """One of numbers is the same."""
    pair, numbers = (torch.zeros(1), [0]), (1, 2.0, "three")
    twins = Twins()
    twin = twins.of(pair)
    twin[0].add_(1)
    twin[1].append(1)
    assert pair == (torch.zeros(1), [0])
    assert twins.of(numbers) is numbers


def test_a_twin_calls_no_backward_hooks() -> None:
    """They are the training's, which counts its own backward passes."""
    network = small_cnn()

    def fired(*_: object) -> None:
        raise AssertionError("a backward hook of the model's fired on its twin")

    network[3].register_full_backward_hook(fired)
    network[7].register_full_backward_pre_hook(fired)
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    Twins().of(network)(images).sum().backward()
    assert images.grad is not None
    with pytest.raises(AssertionError, match="a backward hook"):
        network(images).sum().backward()


def test_a_buffer_of_a_megabyte_is_copied_and_one_of_a_hundred_is_shared() -> None:
    """A memory bank would cost what the weights cost."""
    small, large = torch.zeros(2**18), torch.zeros(25 * 2**20)
    twins = Twins()
    assert twins.of(small).data_ptr() != small.data_ptr()
    assert twins.of(large).data_ptr() == large.data_ptr()
    assert [one is large for one in twins.shared] == [True]


def test_a_tensor_of_another_make_is_copied_by_its_own_rules() -> None:
    """A nested tensor has no storage that a copy could be laid over."""
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged)
    twin = Twins().of(nested)
    twin.values().add_(1)
    assert type(twin) is type(nested)
    assert [len(one) for one in twin.unbind()] == [2, 1]
    assert nested.values().tolist() == [[1, 1, 1]] * 3


class Pair(torch.Tensor):
    """A tensor of two, as quantised weights are: it has no storage of its own."""

    @staticmethod
    def __new__(cls, first: torch.Tensor, second: torch.Tensor) -> "Pair":
        return torch.Tensor._make_wrapper_subclass(cls, first.shape, dtype=first.dtype)

    def __init__(self, first: torch.Tensor, second: torch.Tensor) -> None:
        self.first, self.second = first, second

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function not in (torch.ops.aten.detach.default, torch.ops.aten.clone.default):
            raise NotImplementedError(f"{function} of a pair")
        return cls(function(args[0].first), function(args[0].second))


def test_a_tensor_without_a_storage_is_copied_by_its_own_rules() -> None:
    """Both that it is made of."""
    pair = Pair(torch.ones(2), torch.full((2,), 2.0))
    twin = Twins().of(pair)
    twin.first.add_(1), twin.second.add_(1)
    assert type(twin) is Pair
    assert (pair.first.tolist(), pair.second.tolist()) == ([1, 1], [2, 2])


def test_many_objects_are_data_and_many_numbers_are_not() -> None:
    """A list of losses is a state, though it be long; ten thousand objects are looked into, and one more are not."""
    losses = [0.5] * 20_000
    assert Twins().of(losses) is not losses
    assert [is_data([[]] * count) for count in (10_000, 10_001)] == [False, True]


def test_what_cannot_be_read_is_left_alone() -> None:
    """A lock has nothing that could be filled again, and a module's names are the program's."""
    assert kinds_of(type(threading.Lock())) == ()
    assert kinds_of(ModuleType) == ()
    holder = nn.Module()
    holder.lock, holder.threading = threading.Lock(), threading
    twin = Twins().of(holder)
    assert twin.lock is holder.lock
    assert twin.threading is threading
