"""Models and data that keep state in every way that Python has: watched or not, a training is the same, bit for bit."""

import copy
import functools
import itertools
import random
import threading
import warnings
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from enum import Enum
from multiprocessing.sharedctypes import SynchronizedBase
from types import SimpleNamespace
from typing import Generic, TypeVar

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, Dataset, IterableDataset, random_split
from torchmetrics import Accuracy, MeanMetric

from lightning_gradcam import GradCAMCallback

from .conftest import CLASSES, Classifier, Events, complaints, make_pairs, small_cnn


def plain(one: object, seen: frozenset[int] = frozenset()) -> object:
    """What an object holds, in values that can be compared."""
    if id(one) in seen or isinstance(one, (Trainer, weakref.ref, type(threading.Lock()))):
        return type(one).__name__
    seen = seen | {id(one)}
    if isinstance(one, Tensor) and one.is_meta:
        return one.dtype, one.shape
    if isinstance(one, Tensor):
        values = one.detach() if one.layout == torch.strided else one.detach().to_dense()
        return one.dtype, one.requires_grad, values.cpu().numpy().tobytes()
    if isinstance(one, np.ndarray):
        return [plain(value, seen) for value in one.flat] if one.dtype.hasobject else one.tobytes()
    if isinstance(one, SynchronizedBase):
        return one.value
    if isinstance(one, torch.Generator):
        return one.get_state().tolist()
    if isinstance(one, random.Random):
        return one.getstate()
    if isinstance(one, np.random.Generator):
        return one.bit_generator.state
    if isinstance(one, torch.jit.ScriptModule):
        return [plain(value) for value in one.state_dict().values()], one.training
    if isinstance(one, dict):
        one = {key: value for key, value in one.items() if key != "_torchdynamo_wrapper_id"}
        return {
            key if isinstance(key, str) else place: plain(value, seen) for place, (key, value) in enumerate(one.items())
        }
    if isinstance(one, (set, frozenset)):
        return sorted(map(str, one))
    if isinstance(one, (list, tuple, deque)):
        return [plain(value, seen) for value in one]
    if isinstance(one, (str, int, float, bool, type(None), torch.dtype, torch.device)):
        return one
    if callable(one) and not isinstance(one, nn.Module):
        return [plain(cell.cell_contents, seen) for cell in getattr(one, "__closure__", None) or ()]
    slots = {name: getattr(one, name) for name in getattr(type(one), "__slots__", ()) if hasattr(one, name)}
    return type(one).__name__, plain({**getattr(one, "__dict__", {}), **slots}, seen)


def difference(left: object, right: object, path: str = "") -> str:
    """Where two plain values differ first; nothing where they are equal."""
    if type(left) is not type(right):
        return f"{path}: {left!r:.60} and {right!r:.60}"
    if isinstance(left, dict) and left.keys() != right.keys():
        return f"{path}: {sorted(map(str, left.keys() ^ right.keys()))}"
    if isinstance(left, dict):
        return next(filter(None, (difference(left[key], right[key], f"{path}.{key}") for key in left)), "")
    if isinstance(left, (list, tuple)) and len(left) == len(right):
        pairs = enumerate(zip(left, right, strict=True))
        return next(filter(None, (difference(*pair, f"{path}[{place}]") for place, pair in pairs)), "")
    return "" if left == right or left != left else f"{path}: {left!r:.60} and {right!r:.60}"


pytestmark = pytest.mark.usefixtures("one_thread")


class Hostile(Classifier):
    """A classifier whose forward may do anything."""

    def __init__(self) -> None:
        super().__init__()
        self.prepare()

    def prepare(self) -> None:
        """Make what the forward needs."""

    def on_fit_end(self) -> None:
        self.seen_trainer = None


class Scripted(Hostile):
    def prepare(self) -> None:
        self.network = nn.Sequential(torch.jit.script(self.network[:4]), *self.network[4:])


class Traced(Hostile):
    def prepare(self) -> None:
        self.network = nn.Sequential(torch.jit.trace(self.network[:3], torch.rand(2, 3, 16, 16)), *self.network[3:])


class QuantizationAware(Hostile):
    def prepare(self) -> None:
        self.network.qconfig = quantization.get_default_qat_qconfig("fbgemm")
        quantization.prepare_qat(self.network.train(), inplace=True)


class BufferData(Hostile):
    def prepare(self) -> None:
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("twice", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        self.calls.data += 1
        self.twice.numpy()[:] += 2
        return self.network(images) * (1 + 0.01 * self.calls + 0.01 * self.twice)


class Codebook(Hostile):
    def prepare(self) -> None:
        self.codes = nn.Parameter(torch.zeros(CLASSES), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        scores = self.network(images)
        self.codes.data.mul_(0.9).add_(0.1 * scores.detach().mean(0))
        return scores + self.codes


class Counter:
    __slots__ = ("__secret", "calls")

    def __init__(self) -> None:
        self.calls = self.__secret = 0

    def up(self) -> int:
        self.calls += 1
        self.__secret += 1
        return self.calls + self.__secret


class Stateful(Hostile):
    """Tensors, lists, deques, nested dicts, objects, slots, tuples, sets, arrays."""

    __slots__ = ("slot",)

    def prepare(self) -> None:
        self.tensor, self.array = torch.zeros(1), np.zeros(1)
        self.latest: list[float] = []
        self.window: deque[float] = deque(maxlen=3)
        self.nested = {"a": {"b": [0]}, "sets": {1}, "default": defaultdict(list)}
        self.thing = SimpleNamespace(counter=Counter(), pair=(torch.zeros(1), [0]))
        self.slot = 0

    def forward(self, images: Tensor) -> Tensor:
        self.tensor += 1
        self.array += 1
        self.slot += 1
        self.latest.append(float(images.mean()))
        self.window.append(float(images.std()))
        self.nested["a"]["b"][0] += 1
        self.nested["sets"].add(len(self.nested["sets"]) + 1)
        self.nested["default"][len(self.latest)].append(1)
        self.thing.pair[0].add_(1)
        self.thing.pair[1].append(1)
        moved = self.tensor + self.array[0] + self.slot + len(self.latest) + sum(self.window) + len(self.thing.pair[1])
        return self.network(images) * (1 + 0.001 * (moved + self.thing.counter.up() + self.nested["a"]["b"][0]))


class Generators(Hostile):
    def prepare(self) -> None:
        self.generator = torch.Generator().manual_seed(3)
        self.python, self.numpy = random.Random(3), np.random.default_rng(3)
        self.numbers = itertools.count()

    def forward(self, images: Tensor) -> Tensor:
        drawn = torch.rand(1, generator=self.generator) + self.python.random() + self.numpy.random()
        return self.network(images + 0.1 * drawn)


class Metrics(Hostile):
    def prepare(self) -> None:
        self.accuracy = Accuracy("multiclass", num_classes=CLASSES)
        self.mean = MeanMetric()

    def forward(self, images: Tensor) -> Tensor:
        scores = self.network(images)
        self.mean.update(scores.detach().mean())
        self.accuracy(scores.softmax(1), scores.argmax(1))
        return scores + 0.1 * self.mean.compute()


class AuxiliaryLosses(Hostile):
    """As a mixture of experts has them."""

    def prepare(self) -> None:
        self.losses_of_experts: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        scores = self.network(images)
        self.losses_of_experts.append(scores.square().mean())
        return scores

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx) + 0.1 * sum(self.losses_of_experts)
        self.losses[-1] = float(loss)
        self.losses_of_experts.clear()
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.losses_of_experts.clear()


class Teacher(Hostile):
    """Kept in a list, out of `parameters()`, and always in training mode."""

    def prepare(self) -> None:
        self.teachers = [small_cnn().train()]

    def forward(self, images: Tensor) -> Tensor:
        self.teachers[0].train()
        with torch.no_grad():
            taught = self.teachers[0](images)
        return self.network(images) + 0.1 * taught


class Thawing(Hostile):
    """A hook thaws a frozen layer at the third call."""

    def prepare(self) -> None:
        calls = [0]
        self.network[0].weight.requires_grad_(False)

        def thaw(module: nn.Module, inputs: object, output: object) -> None:
            calls[0] += 1
            module.weight.requires_grad_(calls[0] > 3)

        self.network[0].register_forward_hook(thaw)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.lr)


class NonlocalHook(Hostile):
    """A closure that binds another value, and a method hung in as a hook."""

    def prepare(self) -> None:
        calls = 0

        def count(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return output * (1 + 0.01 * calls)

        self.network[9].register_forward_hook(count)
        self.network[0].register_forward_pre_hook(self.note)
        self.noted: list[int] = []
        self.network[6].register_forward_hook(functools.partial(self.keep, self.noted))

    def note(self, module: nn.Module, inputs: object) -> None:
        self.noted.append(1)

    def keep(self, where: list[int], module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        where.append(2)
        return output + 0.001 * len(where)


class LogsInForward(Hostile):
    def forward(self, images: Tensor) -> Tensor:
        scores = self.network(images)
        self.log("spread", scores.std(), on_step=False, on_epoch=True)
        self.log_dict({"mean": scores.mean()}, on_step=False, on_epoch=True)
        return scores


class AsksTheTrainer(Hostile):
    """A schedule by epoch and step, and a loss that depends on the stage."""

    def forward(self, images: Tensor) -> Tensor:
        schedule = self.current_epoch + 0.1 * self.global_step + self.trainer.max_epochs
        assert self.logger is None or not self.trainer.validating or self.training is False
        return self.network(images) * (1 + 0.01 * schedule)


class BackwardHooks(Hostile):
    """The user's own full backward hooks, which scale gradients the more often they are called."""

    def prepare(self) -> None:
        self.fired: list[int] = []

        def hook(module: nn.Module, into: tuple[Tensor, ...], out: tuple[Tensor, ...]) -> None:
            self.fired.append(1)

        self.network[3].register_full_backward_hook(hook)
        self.network[7].register_full_backward_pre_hook(lambda module, out: self.fired.append(2))


COLLECTED: list[float] = []


class Outside(Hostile):
    """Global variables and class attributes."""

    shared: list[int] = []  # noqa: RUF012 - on the class, as many a bug is
    calls = 0

    def prepare(self) -> None:
        COLLECTED.clear()
        Outside.shared.clear()
        Outside.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        COLLECTED.append(1.0)
        type(self).calls += 1
        self.shared.append(1)
        return self.network(images) * (1 + 0.01 * (len(COLLECTED) + self.calls + len(self.shared)))


class Norms(Hostile):
    """Weights that are computed at each forward: the old weight norm, and parametrizations."""

    def prepare(self) -> None:
        self.network[0] = nn.utils.weight_norm(self.network[0])
        self.network[5] = parametrizations.spectral_norm(self.network[5])
        self.network[9] = nn.utils.spectral_norm(self.network[9])


class Lazy(Hostile):
    def prepare(self) -> None:
        self.network[9] = nn.LazyLinear(CLASSES)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.network[:9].parameters(), self.lr)


class Cached(Hostile):
    """A method cached on the object, and a parent that is known by a weak reference."""

    def prepare(self) -> None:
        self.scaled = functools.lru_cache(self.scale)
        self.network[9].parent = weakref.ref(self)
        self.asked: list[int] = []

    def scale(self, key: int) -> float:
        self.asked.append(key)
        return 1 + 0.01 * key

    def forward(self, images: Tensor) -> Tensor:
        assert self.network[9].parent() is self
        return self.network(images) * self.scaled(len(self.asked) % 5)


class Surrounded(Hostile):
    """A lock, a file, a data set and a thread-local on the module."""

    def prepare(self) -> None:
        self.lock, self.local, self.file = threading.Lock(), threading.local(), open(__file__)  # noqa: SIM115
        self.pairs = make_pairs()

    def forward(self, images: Tensor) -> Tensor:
        with self.lock:
            return self.network(images)


class RunningDown(Hostile):
    """Does something when it is deleted: it cannot have a twin."""

    deleted: list[int] = []  # noqa: RUF012

    def __del__(self) -> None:
        RunningDown.deleted.append(1)

    def prepare(self) -> None:
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.network(images) * (1 + 0.01 * self.calls)


T = TypeVar("T")


class Scheduler(Generic[T]):
    calls = 0

    def up(self) -> float:
        self.calls += 1
        return 1 + 0.01 * self.calls


class Closing(Scheduler[int]):
    def __del__(self) -> None:
        """Close what it holds."""


class Replay(Dataset):
    def __init__(self) -> None:
        self.items: list[float] = []

    def __len__(self) -> int:
        return len(self.items)


class Mode(Enum):
    WARM = 1


class Shared(Hostile):
    """State on what the twin shares with the model: things that close, data sets, members of an enumeration."""

    def prepare(self) -> None:
        self.scheduler, self.closing, self.replay, self.mode = Scheduler(), Closing(), Replay(), Mode.WARM
        Mode.WARM.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.replay.items.append(1.0)
        self.mode.calls += 1
        factor = self.scheduler.up() * self.closing.up() * (1 + 0.01 * len(self.replay) + 0.01 * self.mode.calls)
        return self.network(images) * factor


REGISTRY: dict[str, nn.Module] = {}


class Registered(Hostile):
    """A global registry leads to the model itself, past the twin."""

    def prepare(self) -> None:
        REGISTRY["norm"] = self.network[1].train()

    def forward(self, images: Tensor) -> Tensor:
        norm = REGISTRY["norm"].train()
        norm(images[:, :1].expand(-1, 6, -1, -1))
        return self.network(images)


class Lazily(Hostile):
    """Names that are bound at the first call: on the class, globally, on a function."""

    def prepare(self) -> None:
        for owner, name in ((Lazily, "frequencies"), (draw, "calls")):
            if name in vars(owner):
                delattr(owner, name)
        globals().pop("BOUND_LATER", None)

    def forward(self, images: Tensor) -> Tensor:
        global BOUND_LATER
        if not hasattr(Lazily, "frequencies"):
            Lazily.frequencies = torch.randn(1)
        if "BOUND_LATER" not in globals():
            BOUND_LATER = torch.randn(1)
        return self.network(images) * (1 + 0.1 * Lazily.frequencies + 0.1 * BOUND_LATER + draw())


def draw() -> float:
    draw.calls = getattr(draw, "calls", 0) + 1
    return 0.01 * draw.calls


class Stubborn(Hostile):
    """Meta tensors, read-only arrays and expanded tensors, which cannot all be compared or put back."""

    def prepare(self) -> None:
        self.shape, self.array = torch.empty(3, device="meta"), np.zeros(3)
        self.seen_only = self.array.view()
        self.seen_only.flags.writeable = False
        self.many = torch.zeros(1).expand(4)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.network(images) * (1 + 0.01 * self.calls)


class Clamped(Hostile):
    """A temperature that a forward clamps, behind torch's back, once it has grown."""

    def prepare(self) -> None:
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            self.scale.data.clamp_(max=1.001)
        return self.network(images) * self.scale

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """See nothing: only a look would clamp."""


class CompiledPart(Hostile):
    def prepare(self) -> None:
        self.network = torch.compile(self.network, backend="eager")


MODULES = [
    *(
        Scripted,
        Traced,
        QuantizationAware,
        BufferData,
        Codebook,
        Stateful,
        Generators,
        Metrics,
        AuxiliaryLosses,
        Teacher,
    ),
    *(Thawing, NonlocalHook, LogsInForward, AsksTheTrainer, BackwardHooks, Outside, Norms, Lazy, Cached, Surrounded),
    *(RunningDown, CompiledPart, Shared, Registered, Lazily, Stubborn, Clamped),
]


class Diary(Callback):
    """After each epoch: everything that the module and the trainer hold."""

    def __init__(self) -> None:
        self.pages: list[object] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        own = {name: value for name, value in vars(pl_module).items() if name not in ("log", "log_dict")}
        metrics = {name: value for name, value in trainer.callback_metrics.items() if "gradcam" not in name}
        self.pages.append(
            {
                "module": plain(own),
                "flags": [module.training for module in pl_module.modules()],
                "metrics": plain(metrics),
                "optimizer": plain(trainer.optimizers[0].state_dict()) if trainer.optimizers else None,
                "stage": trainer.state.stage,
                "outside": (list(COLLECTED), list(Outside.shared), Outside.calls),
                "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
                "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
            }
        )

    on_train_epoch_end = on_train_start


def fit(make: Callable[[], LightningModule], loaders: Callable, folder, *callbacks: Callback) -> list[object]:
    seed_everything(1, verbose=False)
    module, diary = make(), Diary()
    keep = ModelCheckpoint(folder / "kept", monitor="spread" if isinstance(module, LogsInForward) else None)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[*callbacks, diary, keep],
        logger=TensorBoardLogger(folder, name="", version="run"),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    given = loaders()
    trainer.fit(module, datamodule=given[0]) if len(given) == 1 else trainer.fit(module, *given)
    score = None if keep.best_model_score is None else float(keep.best_model_score)
    return [module.losses, plain(module.state_dict()), score, *diary.pages]


def usual_loaders() -> tuple[DataLoader, DataLoader]:
    return DataLoader(make_pairs(), 8, shuffle=True), DataLoader(make_pairs(seed=1), 8)


def assert_untouched(make, loaders, folder, **options: object) -> None:
    """Two fits without the callback are equal, and one with it is too; and it has a picture of each look."""
    once, again = (fit(make, loaders, folder / name) for name in ("once", "again"))
    assert difference(once, again) == ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched = fit(make, loaders, folder / "watched", GradCAMCallback(images=4, **options))
    assert complaints(caught) == []
    assert difference(once, watched) == ""
    grids = [tag for tag in Events(folder / "watched" / "run").tags if tag.count("/") == 1]
    assert [Events(folder / "watched" / "run").steps(tag) for tag in grids] == [[0, 1, 2, 3]]


@pytest.mark.parametrize("make", MODULES, ids=lambda make: make.__name__)
def test_a_model_with_a_state_of_its_own(make, tmp_path) -> None:
    """Weights, buffers, optimizer, losses, logged values, stage, modes, hooks, attributes, random states."""
    assert_untouched(make, usual_loaders, tmp_path)


class Augmented(Dataset):
    """Draws from a generator of its own, which the training and the validation part share."""

    def __init__(self) -> None:
        self.pairs, self.generator, self.reads = make_pairs(), np.random.default_rng(0), 0

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.reads += 1
        image, label = self.pairs[index]
        return image + 0.1 * float(self.generator.random()), label


def split_in_two() -> tuple[DataLoader, DataLoader]:
    training, validation = random_split(Augmented(), [16, 8], generator=torch.Generator().manual_seed(0))
    return DataLoader(training, 8), DataLoader(validation, 8)


class Stream(IterableDataset):
    """Goes on where it stopped."""

    def __init__(self) -> None:
        self.pairs, self.at = make_pairs(), 0

    def __iter__(self):
        for _ in range(10):
            self.at += 1
            yield self.pairs[self.at % len(self.pairs)]


def streams() -> tuple[DataLoader, DataLoader]:
    stream = Stream()
    return DataLoader(stream, 5), DataLoader(stream, 5)


def drawn_by_a_generator() -> tuple[DataLoader, DataLoader]:
    generator = torch.Generator().manual_seed(5)
    return DataLoader(make_pairs(), 8, shuffle=True, generator=generator), DataLoader(
        make_pairs(), 8, shuffle=True, generator=generator
    )


class Counting(LightningDataModule):
    """A data module that augments on the device, more with each batch that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.batches, self.generator = 0, torch.Generator().manual_seed(1)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(make_pairs(), 8)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(make_pairs(seed=1), 8)

    def on_after_batch_transfer(self, batch: list[Tensor], dataloader_idx: int) -> list[Tensor]:
        self.batches += 1
        return [batch[0] + 0.01 * self.batches * torch.rand(1, generator=self.generator), batch[1]]


def of_a_data_module() -> tuple[LightningDataModule]:
    return (Counting(),)


def collated() -> tuple[DataLoader, DataLoader]:
    seen: list[int] = []

    def collate(items: list) -> list[Tensor]:
        seen.append(len(items))
        return [torch.stack([image for image, _ in items]) + 0.01 * len(seen), torch.stack([y for _, y in items])]

    return DataLoader(make_pairs(), 8, collate_fn=collate), DataLoader(make_pairs(), 8, collate_fn=collate)


@pytest.mark.parametrize("loaders", [split_in_two, streams, drawn_by_a_generator, collated, of_a_data_module])
def test_data_with_a_state_of_their_own(loaders, tmp_path) -> None:
    """Reading the images moves none of it."""
    assert_untouched(Classifier, loaders, tmp_path)


def test_a_function_of_the_users_with_a_state(tmp_path) -> None:
    """`output` and `target` that know the model, and count their calls."""
    modules: list[nn.Module] = []

    class Known(Hostile):
        def prepare(self) -> None:
            modules[:] = [self]
            self.calls: list[int] = []

    def output(model: nn.Module, images: Tensor) -> Tensor:
        modules[0].calls.append(1)
        return modules[0].network(images)

    assert_untouched(Known, usual_loaders, tmp_path, output=output)


def test_a_layer_within_a_scripted_one_is_refused_by_name(make_trainer, loader) -> None:
    """TorchScript calls no hooks within."""
    trainer = make_trainer(GradCAMCallback("network.0.0", images=2))
    with pytest.raises(ValueError, match=r"target_layer='network.0.0'.*TorchScript"):
        trainer.fit(Scripted(), loader, loader)


def test_twins_of_what_is_large_are_shared(monkeypatch, tmp_path) -> None:
    """A bank of features that a forward writes is found by the audit, and then copied."""
    monkeypatch.setattr("lightning_gradcam.cam.twin.SHARED_FROM", 64)

    class Bank(Hostile):
        def prepare(self) -> None:
            self.bank = torch.zeros(100)
            self.words = np.zeros(100)

        def forward(self, images: Tensor) -> Tensor:
            self.bank += 1
            self.words += 1
            return self.network(images) * (1 + 0.01 * (self.bank[0] + self.words[0]))

    assert_untouched(Bank, usual_loaders, tmp_path)


def test_the_comparison_can_fail(tmp_path) -> None:
    """A look at the model itself, with nothing put back, is noticed."""

    class Careless(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            with torch.no_grad():
                pl_module(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))

    for make in (BufferData, Stateful, Generators, AuxiliaryLosses, Teacher, Outside):
        plain_fit = fit(make, usual_loaders, tmp_path / "plain")
        assert fit(make, usual_loaders, tmp_path / "careless", Careless())[0] != plain_fit[0], make.__name__


def test_a_copy_of_the_callback_is_no_part_of_the_model(tmp_path) -> None:
    """A module that holds its own callback, and through it the trainer's whole world."""

    class Holding(Hostile):
        def prepare(self) -> None:
            self.watcher = copy.copy(GradCAMCallback())

    assert_untouched(Holding, usual_loaders, tmp_path)
