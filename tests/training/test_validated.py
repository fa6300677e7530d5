"""Looks are at the weights that validation measures, whatever puts them in the place of those that train."""

import copy
import logging

import pytest
import torch
from pytorch_lightning import Callback, callbacks
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_gradcam import GradCAMCallback

from ..conftest import Classifier

TAG = "gradcam/network.6"
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
needs_averages = pytest.mark.skipif(
    not hasattr(callbacks, "EMAWeightAveraging"), reason="pytorch-lightning 2.6 brought it"
)


class Recorder(Classifier):
    """Keeps the network that each validation, and each test, measures, and the one that each step leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.measured: list[nn.Module] = []
        self.trained: list[nn.Module] = []

    def validation_step(self, batch: object, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        if batch_idx == 0 and not self.trainer.sanity_checking:
            self.measured.append(copy.deepcopy(self.network))

    test_step = validation_step

    def on_train_batch_end(self, *args: object) -> None:
        self.trained.append(copy.deepcopy(self.network))


class Ema(Callback):
    """As many write their own: in the place of the others for all of a validation, written behind torch's back."""

    def setup(self, trainer, pl_module, stage: str) -> None:
        self.average = self.average if hasattr(self, "average") else [one.clone() for one in pl_module.parameters()]

    def on_train_batch_end(self, trainer, pl_module, *args: object) -> None:
        for average, one in zip(self.average, pl_module.parameters(), strict=True):
            average.data.lerp_(one.data, 0.1)

    def swap(self, trainer, pl_module) -> None:
        for average, one in zip(self.average, pl_module.parameters(), strict=True):
            kept = one.data.clone()
            one.data.copy_(average.data)
            average.data.copy_(kept)

    on_validation_start = on_validation_end = on_test_start = on_test_end = swap


class OfEpoch(Ema):
    on_validation_start = on_validation_end = Callback.on_validation_end
    on_validation_epoch_start = on_validation_epoch_end = Ema.swap


def lightning_ema(**options: object) -> Callback:
    return callbacks.EMAWeightAveraging(decay=0.9, **options)


def scores(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return network.eval()(IMAGES).softmax(1).amax(1)


def looked_at(callback: GradCAMCallback) -> list[Tensor]:
    return [look.scores[:, 0] for look in callback._memory.histories[TAG].looks]


def same(found: list[Tensor], networks: list[nn.Module]) -> bool:
    pairs = zip(found, map(scores, networks), strict=True)
    return all(torch.allclose(left, right, atol=1e-6) for left, right in pairs)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("average", [Ema, OfEpoch, pytest.param(lightning_ema, marks=needs_averages)])
def test_averages(make_trainer, loader, average, is_first, caplog) -> None:
    caplog.set_level(logging.INFO)
    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    order = [callback, average()] if is_first else [average(), callback]
    trainer = make_trainer(*order, max_epochs=3)
    trainer.fit(module, loader, loader)
    found = looked_at(callback)[1:]
    assert same(found, module.measured)
    assert not same(found, module.trained[2::3])
    assert caplog.text.count("validation measures other weights than those that train") == 1


def test_one_set_of_weights(make_trainer, loader, caplog) -> None:
    """Nothing is said, and what is seen is what trains."""
    caplog.set_level(logging.INFO)
    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    make_trainer(callback, max_epochs=3).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], module.trained[2::3])
    assert "validation measures" not in caplog.text


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_evaluation(make_trainer, loader, stage) -> None:
    """In `trainer.validate` and `trainer.test`, too."""
    average, module = Ema(), Recorder()
    trainer = make_trainer(average, max_epochs=2)
    trainer.fit(module, loader, loader)
    memories = []

    class Watching(GradCAMCallback):
        def teardown(self, trainer, pl_module, stage: str) -> None:
            memories.append(self._evaluation.memory)
            super().teardown(trainer, pl_module, stage)

    trainer.callbacks.insert(0, Watching(images=IMAGES))
    getattr(trainer, stage)(module, loader, verbose=False)
    (history,) = memories[0].histories.values()
    found = [look.scores[:, 0] for look in history.looks]
    assert same(found, module.measured[-1:])
    assert not same(found, [module.network])


def test_epochs_without_a_validation(make_trainer, loader) -> None:
    """Their looks are at the weights that train."""
    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    make_trainer(callback, Ema(), max_epochs=4, check_val_every_n_epoch=2).fit(module, loader, loader)
    _, first, second, third, fourth = looked_at(callback)
    assert same([second, fourth], module.measured)
    assert same([first, third], module.trained[2::6])


def test_validations_in_mid_epoch(make_trainer, loader) -> None:
    """The last one of an epoch is the one that is looked at, and one that ends the training."""
    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    options = {"max_steps": 5, "val_check_interval": 1, "max_epochs": -1}
    make_trainer(callback, Ema(), **options).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], [module.measured[2], module.measured[4]])


def test_steps(make_trainer, loader, caplog) -> None:
    """By steps a look is at the weights that train, and it is said."""
    caplog.set_level(logging.INFO)
    callback, module = GradCAMCallback(images=IMAGES, every_n_train_steps=2), Recorder()
    make_trainer(callback, Ema(), max_epochs=2).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], module.trained[1::2])
    assert "all others at those that train" in caplog.text


def test_after_validations(make_trainer, loader) -> None:
    """Where no epoch ends looks follow validations."""
    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    make_trainer(Ema(), callback, max_epochs=1, val_check_interval=1).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], module.measured)


@needs_averages
def test_an_average_that_has_not_begun(make_trainer, loader, caplog) -> None:
    """Lightning's validates the first weights until it begins (pytorch-lightning #21724): it is shown, and said."""
    caplog.set_level(logging.INFO)
    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    average = lightning_ema(update_starting_at_step=100)
    make_trainer(callback, average, max_epochs=2).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], module.measured)
    assert caplog.text.count("#21724") == 1


def test_a_fault_while_validation_begins(make_trainer, loader) -> None:
    """It costs its look alone, and is no reason to show other weights."""

    def failing(model: nn.Module, images: Tensor) -> Tensor:
        if len(module.measured) == 1 or (module.trained and not module.measured):
            raise RuntimeError("not now")
        return model(images)

    module = Recorder()
    callback = GradCAMCallback(images=IMAGES, output=failing)
    with pytest.warns(UserWarning, match="not now"):
        make_trainer(callback, Ema(), max_epochs=3).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], module.measured[2:])


def test_weights_that_cannot_be_read(make_trainer, loader) -> None:
    """Tensors of a kind of their own cost nobody a run."""

    class Odd(nn.Parameter):
        def __getitem__(self, place: object) -> Tensor:
            raise RuntimeError("odd")

    module = Recorder()
    module.network[9].bias = Odd(module.network[9].bias.detach())
    callback = GradCAMCallback(images=IMAGES)
    make_trainer(callback, max_epochs=1).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], module.measured)


@pytest.mark.parametrize("average", [Ema, OfEpoch, pytest.param(lightning_ema, marks=needs_averages)])
def test_averages_and_training_are_untouched(make_trainer, loader, average) -> None:
    """Losses, weights and averages, with the callback and without."""

    def fitted(*watching: Callback) -> tuple[list[float], dict[str, Tensor], list[Tensor]]:
        torch.manual_seed(0)
        averaging, module = average(), Recorder()
        make_trainer(*watching, averaging, max_epochs=3, val_check_interval=1).fit(module, loader, loader)
        return module.losses, module.state_dict(), [value for one in module.measured for value in one.parameters()]

    plain, watched = fitted(), fitted(GradCAMCallback(images=IMAGES))
    assert plain[0] == watched[0]
    assert all(torch.equal(one, watched[1][name]) for name, one in plain[1].items())
    assert all(torch.equal(one, other) for one, other in zip(plain[2], watched[2], strict=True))


def test_the_first_loader_that_has_a_batch(make_trainer, loader) -> None:
    """Of several the first may be empty."""
    callback, module = GradCAMCallback(images=IMAGES), Several()
    empty = DataLoader(TensorDataset(torch.zeros(0, 3, 16, 16), torch.zeros(0)))
    make_trainer(callback, Ema(), max_epochs=2).fit(module, loader, [empty, loader])
    assert same(looked_at(callback)[1:], module.measured)


class Several(Recorder):
    """Measured at the first batch of its second loader."""

    def validation_step(self, batch: object, batch_idx: int, dataloader_idx: int = 0) -> None:
        if batch_idx == 0 and not self.trainer.sanity_checking:
            self.measured.append(copy.deepcopy(self.network))


def test_a_validation_that_ends_the_training(make_trainer, loader) -> None:
    """As EarlyStopping does, in mid-epoch: the look is at what it measured."""

    class Stops(Callback):
        def on_validation_end(self, trainer, pl_module) -> None:
            trainer.should_stop = trainer.global_step == 1

    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    make_trainer(callback, Ema(), Stops(), max_epochs=3, val_check_interval=1).fit(module, loader, loader)
    assert len(module.trained) == 1
    assert same(looked_at(callback)[1:], module.measured)


@pytest.mark.filterwarnings("error:Casting complex values")
def test_complex_weights_are_not_compared(make_trainer, loader) -> None:
    """And end no run, where warnings are errors."""
    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    module.spectrum = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    make_trainer(callback, max_epochs=1).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], module.measured)


@pytest.mark.parametrize("value", [float("nan"), 1.0])
def test_weights_that_are_frozen_empty_or_nan(make_trainer, loader, caplog, value: float) -> None:
    """Nothing is said of them, nor where what trains changes in number."""
    caplog.set_level(logging.INFO)

    class Unfreezes(Recorder):
        def on_validation_epoch_end(self) -> None:
            self.extra.requires_grad_(True)

    module = Unfreezes()
    module.extra = nn.Parameter(torch.full((3,), value), requires_grad=False)
    module.empty = nn.Parameter(torch.zeros(0))
    make_trainer(GradCAMCallback(images=IMAGES), max_epochs=2).fit(module, loader, loader)
    assert "validation measures" not in caplog.text


def test_maps_of_another_step_are_not_taken(make_trainer, loader) -> None:
    """A validation in mid-epoch is seen; an epoch without a validation at its end is looked at itself."""
    callback, module = GradCAMCallback(images=IMAGES), Recorder()
    make_trainer(callback, Ema(), max_epochs=2, val_check_interval=2).fit(module, loader, loader)
    assert same(looked_at(callback)[1:], module.trained[2::3])


def test_a_checkpoint_that_is_evaluated_is_of_its_own_epoch(make_trainer, loader, tmp_path, events) -> None:
    """Whatever epoch the trainer has reached."""
    saved = callbacks.ModelCheckpoint(tmp_path / "saved", save_top_k=-1)
    trainer = make_trainer(saved, max_epochs=3, enable_checkpointing=True)
    module = Recorder()
    trainer.fit(module, loader, loader)
    trainer.callbacks.insert(0, GradCAMCallback(images=IMAGES))
    trainer.validate(module, loader, verbose=False)
    trainer.validate(module, loader, ckpt_path=str(tmp_path / "saved" / "epoch=0-step=3.ckpt"), verbose=False)
    assert events().steps(TAG) == [3, 1]


def test_an_epoch_that_ends_early_says_so(make_trainer, loader) -> None:
    said = []

    class Reading(GradCAMCallback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            said.append(self._fit._when(trainer.current_epoch + 1))
            super().on_train_epoch_end(trainer, pl_module)

    make_trainer(Reading(images=IMAGES), max_steps=4, max_epochs=-1).fit(Recorder(), loader, loader)
    assert said == ["epoch 1", "epoch 2, which ended early"]
