"""States that begin late, are made anew each epoch, or lie where few look: a training is the same, bit for bit."""

import array
import ctypes
import multiprocessing
import queue
import random
import threading
import types
import weakref
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.core.mixins import HyperparametersMixin
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from lightning_gradcam import GradCAMCallback

from .conftest import Classifier, Events, complaints, make_pairs
from .test_hostile import Diary, Hostile, assert_untouched, difference, fit, usual_loaders

pytestmark = pytest.mark.usefixtures("one_thread")


class Counted(Hostile):
    """A forward whose scores depend on how often it ran."""

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images) * (1 + 0.5 ** self.count())

    def count(self) -> float:
        raise NotImplementedError

    def on_train_epoch_end(self) -> None:
        self.losses.append(self.count())


def counted(count: Callable[[Counted], float], prepare: Callable[[Counted], object] = id) -> type[Counted]:
    return type("Counted", (Counted,), {"count": count, "prepare": prepare})


def by_one(one: list[int]) -> int:
    one[0] += 1
    return one[0]


class Scheduled(Callback):
    def __init__(self) -> None:
        self.calls = [0]

    def hook(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output * (1 + 0.5 ** by_one(self.calls))


def hooked_by_a_callback(module: Counted) -> None:
    module.network[0].register_forward_hook(Scheduled().hook)


class Hyper(HyperparametersMixin):
    def __init__(self) -> None:
        super().__init__()
        self.calls = [0]


class Draws(random.Random):
    calls = 0


class Noted(np.ndarray):
    def __array_finalize__(self, one: object) -> None:
        self.note = getattr(one, "note", None) or [0]


FEATURES: list[float] = []
TRACKER: types.SimpleNamespace | None = None
STATS: dict[str, list[int]] = {}


class RenewedGlobal(Hostile):
    """A global list that each epoch begins anew."""

    def forward(self, images: Tensor) -> Tensor:
        FEATURES.append(images.mean().item())
        return self.network(images)

    def on_train_epoch_start(self) -> None:
        global FEATURES
        FEATURES = []

    def on_train_epoch_end(self) -> None:
        self.losses.append(sum(FEATURES) / len(FEATURES))


class RenewedOnTheClass(Hostile):
    outputs: list[int] = []  # noqa: RUF012

    def forward(self, images: Tensor) -> Tensor:
        self.outputs.append(1)
        return self.network(images)

    def on_train_epoch_start(self) -> None:
        type(self).outputs = []

    def on_train_epoch_end(self) -> None:
        self.losses.append(len(self.outputs))


class LazySingleton(Counted):
    def prepare(self) -> None:
        global TRACKER, STATS
        TRACKER, STATS = None, defaultdict(list)

    def count(self) -> float:
        global TRACKER
        if TRACKER is None:
            TRACKER = types.SimpleNamespace(calls=[0])
        STATS["all"].append(1)
        return by_one(TRACKER.calls) + len(STATS["all"])


class AsksTheTrainersThings(Hostile):
    """What a forward may reach through the trainer: a data module, a logger, a callback, something of the user's."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.trainer.training:
            self.logger.experiment.add_scalar("seen", float(images.mean()), self.global_step)
            self.trainer.logger.log_metrics({"also": 1.0}, self.global_step)
        self.trainer.callbacks[-1].calls = getattr(self.trainer.callbacks[-1], "calls", 0) + 1
        return self.network(images) * (1 + 0.5 ** self.trainer.callbacks[-1].calls)


class Sparse(Hostile):
    def prepare(self) -> None:
        self.register_buffer("adjacent", torch.eye(3).to_sparse())

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            self.adjacent._values().mul_(0.9)
        return self.network(images) * (1 + self.adjacent._values()[0])


class Acting(nn.Module):
    """Does something when it is deleted: a model that holds one is lent itself."""

    def __del__(self) -> None:
        """Nothing, here."""


class SparseItself(Hostile):
    def prepare(self) -> None:
        self.register_buffer("adjacent", torch.eye(3).to_sparse_csr())
        self.acting = Acting()
        self.network[0].weight.calls = [0]

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            self.adjacent.values().mul_(0.9)
        factor = self.adjacent.values()[0] + 0.5 ** by_one(self.network[0].weight.calls)
        return self.network(images) * (1 + factor)


def closure() -> Callable[[], int]:
    calls = [0]
    return lambda: by_one(calls)


def _objects(module: Counted) -> None:
    module.held = np.empty(2, object)
    module.held[0], module.held[1] = [0], torch.zeros(1)


def set_on_proxy(module: Counted) -> None:
    module.norm = nn.BatchNorm2d(3)
    module.proxies = [weakref.proxy(module.norm)]
    module.weak = weakref.WeakValueDictionary(norm=module.norm)


def through_a_proxy(module: Counted) -> float:
    same = module.proxies[0].training is module.weak["norm"].training is module.norm.training is module.training
    return 1.0 if same else 2.0


def draw(generator: np.random.Generator) -> float:
    if not hasattr(generator, "spawn"):  # NumPy below 1.25
        return float(np.random.default_rng(generator.bit_generator._seed_seq.spawn(1)[0]).random())
    return float(generator.spawn(1)[0].random())


STATES = {
    "a callback's hook": counted(lambda one: 1.0, hooked_by_a_callback),
    "Lightning's mixin": counted(lambda one: by_one(one.own.calls), lambda one: setattr(one, "own", Hyper())),
    "an array of objects": counted(lambda one: by_one(one.held[0]), _objects),
    "a mapping proxy": counted(
        lambda one: by_one(one.held["calls"]), lambda one: setattr(one, "held", types.MappingProxyType({"calls": [0]}))
    ),
    "a static method": counted(
        lambda one: one.held.__func__(), lambda one: setattr(one, "held", staticmethod(closure()))
    ),
    "a method of a dict": counted(
        lambda one: [one.held(len(one.held.__self__), 1), len(one.held.__self__)][1],
        lambda one: setattr(one, "held", {}.__setitem__),
    ),
    "a generator's attributes": counted(
        lambda one: [setattr(one.held, "calls", one.held.calls + 1), one.held.calls + one.held.random()][1],
        lambda one: setattr(one, "held", Draws(0)),
    ),
    "an array's attributes": counted(
        lambda one: by_one(one.held.note), lambda one: setattr(one, "held", np.zeros(2).view(Noted))
    ),
    "a bit generator": counted(
        lambda one: one.held.random_raw() % 7, lambda one: setattr(one, "held", np.random.PCG64(0))
    ),
    "spawned generators": counted(
        lambda one: draw(one.held), lambda one: setattr(one, "held", np.random.default_rng(0))
    ),
    "a seed that is spawned from": counted(
        lambda one: one.held.spawn(1)[0].spawn_key[0], lambda one: setattr(one, "held", np.random.SeedSequence(0))
    ),
    "a number of ctypes": counted(
        lambda one: [setattr(one.held, "value", one.held.value + 1), one.held.value][1],
        lambda one: setattr(one, "held", ctypes.c_int(0)),
    ),
    "a number that processes share": counted(
        lambda one: [setattr(one.held, "value", one.held.value + 1), one.held.value][1],
        lambda one: setattr(one, "held", multiprocessing.Value("i", 0)),
    ),
    "an array of numbers": counted(
        lambda one: [one.held.append(1), len(one.held)][1], lambda one: setattr(one, "held", array.array("i"))
    ),
    "a variable of the thread's": counted(
        lambda one: [setattr(one.held, "calls", getattr(one.held, "calls", 0) + 1), one.held.calls][1],
        lambda one: setattr(one, "held", threading.local()),
    ),
    "a queue": counted(
        lambda one: [one.held.put(one.held.get() + 1), one.held.queue[0]][1],
        lambda one: [setattr(one, "held", queue.Queue(2)), one.held.put(0)],
    ),
    "weak references": counted(through_a_proxy, set_on_proxy),
    "a large array": counted(
        lambda one: [one.held.__setitem__(0, one.held[0] + 1), float(one.held[0])][1],
        lambda one: setattr(one, "held", np.zeros(70 * 2**20 // 4, np.float32)),
    ),
}


@pytest.mark.parametrize("make", STATES.values(), ids=STATES)
def test_states_where_few_look(make, tmp_path) -> None:
    """In NumPy's, ctypes' and the standard library's own objects."""
    assert_untouched(make, usual_loaders, tmp_path)


@pytest.mark.parametrize(
    "make",
    [RenewedGlobal, RenewedOnTheClass, LazySingleton, Sparse, SparseItself, AsksTheTrainersThings],
    ids=lambda make: make.__name__,
)
def test_states_that_are_made_anew_or_reached_through_others(make, tmp_path) -> None:
    """Put back is what is there now, not what was there at the first look."""
    assert_untouched(make, usual_loaders, tmp_path)


def test_nothing_is_logged_through_the_trainers_logger(tmp_path) -> None:
    """The points that the forward itself writes are as many with the callback as without."""
    for name, callbacks in {"without": [], "with": [GradCAMCallback(images=4)]}.items():
        fit(AsksTheTrainersThings, usual_loaders, tmp_path / name, *callbacks)
    points = {name: Events(tmp_path / name / "run")._accumulator for name in ("without", "with")}
    for tag in ("seen", "also"):
        assert len(points["with"].Scalars(tag)) == len(points["without"].Scalars(tag)) > 0


class Queued(Hostile):
    """A forward that hands numbers to a thread, and waits for it."""

    def prepare(self) -> None:
        self.queue: queue.Queue = queue.Queue(2)
        self.taken: list[float] = []
        threading.Thread(target=self.take, args=(self.queue, self.taken), daemon=True).start()

    @staticmethod
    def take(numbers: queue.Queue, taken: list[float]) -> None:
        while True:
            taken.append(numbers.get())
            numbers.task_done()

    def forward(self, images: Tensor) -> Tensor:
        for _ in range(3):
            self.queue.put(images.mean().item())
        self.queue.join()
        return self.network(images)


class Writing(Hostile):
    """A forward that writes with a writer of its own, whose thread waits for what it is given."""

    def prepare(self) -> None:
        self.writer, self.written = SummaryWriter(self.folder), 0

    def forward(self, images: Tensor) -> Tensor:
        scores = self.network(images)
        for _ in range(30):
            self.written += 1
            self.writer.add_scalar("mean", scores.mean().item(), self.written)
        self.writer.flush()
        return scores


@pytest.mark.parametrize("make", [Queued, Writing], ids=lambda make: make.__name__)
def test_who_waits_for_a_thread_is_not_left_waiting(make, make_trainer, loader, tmp_path, events, recwarn) -> None:
    """A queue that another thread reads is neither copied nor put back."""
    make.folder = str(tmp_path / "own")
    make_trainer(GradCAMCallback(images=4), max_epochs=3).fit(make(), loader, loader)
    assert events().steps("gradcam/network.6") == [0, 1, 2, 3]
    assert complaints(recwarn) == []


class Masking:
    """Draws a mask a batch by a number that all workers share, as I-JEPA's collator does."""

    def __init__(self) -> None:
        self.batches = multiprocessing.Value("i", -1)

    def __call__(self, items: list) -> list[Tensor]:
        with self.batches.get_lock():
            self.batches.value += 1
            seed = self.batches.value
        images, labels = torch.utils.data.default_collate(items)
        generator = torch.Generator().manual_seed(seed)
        return [images * (torch.rand(len(images), 1, 16, 16, generator=generator) > 0.3), labels]


def masked() -> tuple[DataLoader, DataLoader]:
    masking = Masking()
    return DataLoader(make_pairs(), 8, collate_fn=masking), DataLoader(make_pairs(), 8, collate_fn=masking)


class Spawning(Dataset):
    def __init__(self) -> None:
        self.pairs, self.generator, self.reads = make_pairs(), np.random.default_rng(0), array.array("i", [0] * 24)
        self.images = np.empty(24, object)
        self.images[:] = [image.numpy().copy() for image, _ in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.reads[index] += 1
        self.images[index] *= 0.99  # in place, as many a data set's normalising
        return torch.from_numpy(self.images[index]) + 0.1 * draw(self.generator), self.pairs[index][1]


def spawned() -> tuple[DataLoader, DataLoader]:
    one = Spawning()
    return DataLoader(one, 8), DataLoader(one, 8)


class Recording(LightningDataModule):
    """A data module that is asked for something in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = [0]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(make_pairs(), 8)

    val_dataloader = train_dataloader


class AsksItsData(Counted):
    def count(self) -> float:
        return by_one(self.trainer.datamodule.calls)


@pytest.mark.parametrize(
    ("make", "loaders"),
    [(Classifier, masked), (Classifier, spawned), (AsksItsData, lambda: (Recording(),))],
    ids=["shared number", "spawned", "data module in forward"],
)
def test_data_whose_state_lies_where_few_look(make, loaders, tmp_path) -> None:
    """Shared memory, NumPy's seeds, arrays of objects."""
    assert_untouched(make, loaders, tmp_path)


def test_a_users_own_log_is_not_called(make_trainer, loader, tmp_path, events, recwarn) -> None:
    """It may take other arguments, or log under other names."""

    class Own(Classifier):
        def log(self, name: str, value: object) -> None:
            super().log(f"mine/{name}", value)

        validation_step = lambda self, batch, batch_idx: self.log("loss", 1.0)  # noqa: E731

    make_trainer(GradCAMCallback(images=2), max_epochs=2).fit(Own(), loader, loader)
    assert complaints(recwarn) == []
    tags = events()._accumulator.Tags()["scalars"]
    assert "gradcam/network.6/focus" in tags
    assert not any(tag.startswith("mine/gradcam") for tag in tags)


def test_what_an_interrupt_leaves_in_the_first_look_is_put_back(make_trainer, loader) -> None:
    """Here a weight that is shared, doubled just before."""

    class Interrupted(Hostile):
        def prepare(self) -> None:
            self.large = nn.Parameter(torch.ones(40_000))
            self.before = True

        def forward(self, images: Tensor) -> Tensor:
            if torch.is_grad_enabled() and not self.training:
                self.large.data.mul_(2)
                raise KeyboardInterrupt
            return self.network(images) + self.large.mean()

    module = Interrupted()
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        make_trainer(GradCAMCallback(images=2), max_epochs=1).fit(module, loader, loader)
    assert torch.equal(module.large, torch.ones(40_000))


def test_no_class_and_no_twin_outlives_a_fit(make_trainer, loader) -> None:
    """A class made in a function would keep all that the function knew; twins in a circle wait for the collector."""
    import gc

    def fitted() -> tuple[weakref.ref, weakref.ref]:
        class Local(Classifier):
            def __init__(self) -> None:
                super().__init__()
                self.again = self.forward  # a circle

        make_trainer(GradCAMCallback(images=2), max_epochs=1, logger=True).fit(Local(), loader, loader)
        return weakref.ref(Local)

    alive = fitted()
    gc.collect()
    assert alive() is None


def test_twins_that_hold_each_other_are_let_go_at_once(make_trainer, loader) -> None:
    """Without the garbage collector."""
    import gc

    class Circular(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.network[1].again = self.network[1].forward
            self.network[1].register_buffer("large", torch.ones(2**20))

    sizes: list[int] = []

    class Count(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            sizes.append(sum(isinstance(one, Tensor) and one.numel() == 2**20 for one in gc.get_objects()))

    gc.collect()
    gc.disable()
    try:
        make_trainer(GradCAMCallback(images=2), Count(), max_epochs=5).fit(Circular(), loader, loader)
    finally:
        gc.enable()
    assert sizes[-1] == sizes[0]


def test_more_objects_than_are_looked_into_are_told(make_trainer, loader, caplog, monkeypatch) -> None:
    """And the run goes on."""
    monkeypatch.setattr("lightning_gradcam.cam.audit.MOST_OBJECTS", 50)
    make_trainer(GradCAMCallback(images=2), max_epochs=1).fit(Classifier(), loader, loader)
    assert any("holds more than 50 objects" in record.message for record in caplog.records)


def test_the_comparison_can_fail(tmp_path) -> None:
    """A state that a callback moves is found."""

    class Moves(Diary):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module(torch.zeros(2, 3, 16, 16))

        on_train_epoch_end = on_train_start

    make = STATES["a queue"]
    assert difference(fit(make, usual_loaders, tmp_path / "a"), fit(make, usual_loaders, tmp_path / "b", Moves()))
