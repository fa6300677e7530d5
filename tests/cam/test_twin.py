"""What a twin has of its own, and what it shares."""

import functools
import gc
import threading
import weakref
from collections import deque
from types import ModuleType

import numpy as np
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


class Held(nn.Module):
    """A module that holds things, by name."""

    def __init__(self, **held: object) -> None:
        super().__init__()
        for name, one in held.items():
            setattr(self, name, one)


def test_tensors_that_share_memory_share_it_in_the_twin() -> None:
    """Views of a bank, tied weights, and several that begin at the same address."""
    bank, weight = torch.zeros(8, 3), nn.Parameter(torch.ones(4))
    twin = Twins().of(Held(bank=bank, row=bank[0], last=bank[7], weight=weight, tied=weight))
    twin.bank[0] += 5
    twin.last -= 1
    assert twin.row.tolist() == [5, 5, 5]
    assert twin.bank[7].tolist() == [-1, -1, -1]
    assert twin.tied is twin.weight
    assert bank.eq(0).all()
    numbers = np.arange(6, dtype=np.float32)
    twin = Twins().of(Held(first=torch.from_numpy(numbers[:3]), whole=torch.from_numpy(numbers)))
    assert (twin.first.tolist(), twin.whole.tolist()) == ([0, 1, 2], [0, 1, 2, 3, 4, 5])


def test_a_small_part_of_large_memory_is_copied_alone() -> None:
    """Not with all that it is a part of."""
    large = torch.zeros(10**6)
    twin = Twins().of(Held(part=large[5:8]))
    assert twin.part.untyped_storage().nbytes() == 12


def test_nothing_of_an_objects_is_called_to_read_it() -> None:
    """Also not a property that stands before a slot."""

    class Base:
        __slots__ = ("value",)

    class Guarded(Base):
        __slots__ = ()

        @property
        def value(self) -> int:
            raise AssertionError("it is asked")

    guarded = Guarded()
    Base.value.__set__(guarded, [1])
    twin = Twins().of(guarded)
    Base.value.__get__(twin).append(2)
    assert Base.value.__get__(guarded) == [1]


def test_what_leads_back_to_itself_is_whole() -> None:
    """A tensor's attributes, a partial's, and a weak method, which is the twin's own."""

    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def up(self) -> None:
            self.count += 1

    tensor, counter = torch.zeros(2), Counter()
    tensor.me, tensor.scale = tensor, 3.0
    function = functools.partial(print)
    function.tag = [1]
    model = Held(tensor=tensor, function=function, counter=counter, up=weakref.WeakMethod(counter.up))
    twin = Twins().of(model)
    assert twin.tensor.me is twin.tensor
    assert twin.tensor.scale == 3
    assert twin.function.tag == [1]
    assert twin.function.tag is not function.tag
    twin.up()()
    assert (twin.counter.count, counter.count) == (1, 0)


def test_twins_are_let_go_without_the_garbage_collector() -> None:
    """Objects that hold each other, a closure that holds itself, a module that is a dict and holds itself."""

    class Plain:
        pass

    class Both(nn.Module, dict):
        pass

    one, other, both = Plain(), Plain(), Both()
    one.other, other.other, other.tensor = other, one, torch.zeros(3)
    both["me"], both.tensor = both, torch.zeros(3)

    def recursive() -> object:
        return recursive, kept

    kept = Plain()
    kept.tensor = torch.zeros(3)
    twins = Twins()
    twin = twins.of(Held(one=one, both=both, recursive=recursive))
    alive = [weakref.ref(part) for part in (twin.one, twin.one.other.tensor, twin.both, twin.recursive()[1])]
    gc.collect()
    gc.disable()
    try:
        del twin
        twins.end()
        assert [reference() for reference in alive] == [None] * 4
    finally:
        gc.enable()
    assert recursive()[1] is kept
    assert other.tensor.eq(0).all()
