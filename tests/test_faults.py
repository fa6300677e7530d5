"""Whatever goes wrong while looking, training ends as if nobody had looked."""

import itertools
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset

from lightning_gradcam import GradCAMCallback, read_log
from lightning_gradcam.logs import events as event_files
from lightning_gradcam.pictures import page
from lightning_gradcam.pictures.captions import NO_PREDICTION, name_of
from lightning_gradcam.timeline.metrics import METRICS
from lightning_gradcam.training.choosing import chosen
from lightning_gradcam.training.faults import Faults

from .conftest import Classifier, Events, complaints, make_pairs, scalars, small_cnn

TAG = "gradcam/network.6"


class At(Callback):
    """Do something once, at the start of an epoch."""

    def __init__(self, epoch: int, act: Callable) -> None:
        self.epoch, self.act = epoch, act

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == self.epoch:
            self.act(trainer, pl_module)


def broken(error: BaseException) -> Callable:
    def fail(*args: object, **kwargs: object):
        raise error

    return fail


class Broken:
    """A forward that fails on images that validation would give it, from some call on and to some call."""

    def __init__(self, error: Exception, first: int = 0, last: int = 10**9) -> None:
        self.error, self.first, self.last = error, first, last
        self.calls = itertools.count(1)  # which no copy has one of its own of

    def __call__(self, model, images):
        if self.first <= next(self.calls) <= self.last:
            raise self.error
        return model(images)


def nan_on_probe(model, images):
    return model(images) * torch.nan


class Corrupt(Dataset):
    """A dataset whose middle item cannot be read."""

    def __init__(self) -> None:
        self.pairs = make_pairs()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int):
        if index == 12:
            raise OSError("broken data stream when reading image file")
        return self.pairs[index]


def fit(make_trainer, *callbacks, module=None, validation=None, **options):
    seed_everything(3, verbose=False)
    module = module or Classifier()
    pairs = make_pairs()
    trainer = make_trainer(*callbacks, max_epochs=4, **options)
    training = DataLoader(pairs, 8, shuffle=True)
    trainer.fit(module, training, validation or DataLoader(pairs, 8))
    assert trainer.state.finished
    return module


@pytest.fixture
def plain(make_trainer, tmp_path):
    return fit(make_trainer, logger=False).state_dict()


def remove_folder(trainer, module) -> None:
    for callback in trainer.callbacks:
        if isinstance(callback, GradCAMCallback):
            callback._fit.drain()  # in the middle of a write TensorBoard's own writer dies, whoever writes
    shutil.rmtree(trainer.logger.log_dir)


def close_writer(trainer, module) -> None:
    trainer.logger.experiment.close()


def test_an_own_folder_that_is_removed_is_made_again(make_trainer, loader, tmp_path) -> None:
    """As those of loggers: what comes after it is written."""

    def remove(trainer, module) -> None:
        watching = next(one for one in trainer.callbacks if isinstance(one, GradCAMCallback))
        watching._fit.drain()
        shutil.rmtree(tmp_path / "gradcam_logs")

    make_trainer(GradCAMCallback(images=4), At(2, remove), max_epochs=4, logger=False).fit(Classifier(), loader, loader)
    [folder] = (tmp_path / "gradcam_logs").iterdir()
    assert Events(folder).steps(TAG) == [3, 4]


MODEL_FAULTS = {
    "forward fails always": {"output": Broken(RuntimeError("shape mismatch"))},
    "forward fails before training": {"output": Broken(RuntimeError("no"), 0, 4)},
    "forward fails in mid-run": {"output": Broken(ValueError("no"), 6, 6)},
    "forward fails from mid-run on": {"output": Broken(KeyError("no"), 6)},
    "an index error, which grad-cam swallows": {"output": Broken(IndexError("no"), 5)},
    "out of memory in mid-run": {"output": Broken(torch.OutOfMemoryError("CUDA out of memory"), 5, 6)},
    "out of memory always": {"output": Broken(torch.OutOfMemoryError("CUDA out of memory"))},
    "an assertion": {"output": Broken(AssertionError(), 4)},
    "scores of another shape": {
        "output": lambda model, images: model(images)[:1] if training_began(model) else model(images)
    },
    "scores without a graph in mid-run": {
        "output": lambda model, images: model(images).detach() if training_began(model) else model(images)
    },
    "scores that are words": {"output": lambda model, images: "cat" if training_began(model) else model(images)},
    "NaN scores": {"output": nan_on_probe},
    "a target that fails": {"target": broken(ZeroDivisionError("division by zero"))},
    "a target that fails in grad-cam's place": {"target": [broken(TypeError("no"))] * 4},
    "a target that returns no gradient": {"target": lambda output, labels: output.detach()[:, 0]},
    "a reshape_transform that fails in mid-run": {
        "target_layer": "network.6",
        "reshape_transform": lambda output: output if len(output) == 2 else broken(RuntimeError("no"))(),
    },
    "a method of grad-cam's that fails": {"method": "sess"},
}


def training_began(model) -> bool:
    return bool(model.losses)


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_a_fault_in_the_models_place_costs_no_run(fault, make_trainer, plain) -> None:
    """The run ends, with the same weights as one that nobody looked at."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = fit(make_trainer, GradCAMCallback(images=4, **MODEL_FAULTS[fault]))
    kinds = [message.split("(")[1].split(":")[0] for message in complaints(caught)]
    assert len(kinds) == len(set(kinds))  # one warning a kind
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in plain.items())


def test_a_fault_in_mid_run_costs_one_picture_and_one_warning(make_trainer, events) -> None:
    """The next epoch tries again."""
    fault = Broken(RuntimeError("cuDNN error"), 5, 5)  # two to try the settings; epochs 0, 1; then 2
    with pytest.warns(UserWarning, match=r"a picture or a number is missing \(RuntimeError: cuDNN error\)") as caught:
        fit(make_trainer, GradCAMCallback(images=4, output=fault))
    assert len(complaints(caught)) == 1
    assert events().steps(TAG) == [0, 1, 3, 4]


def test_a_fault_at_the_start_is_tried_again(make_trainer, events) -> None:
    """Also where the settings could not be tried."""
    with pytest.warns(UserWarning, match="RuntimeError: warming up"):
        fit(make_trainer, GradCAMCallback(images=4, output=Broken(RuntimeError("warming up"), 0, 4)))
    assert events().steps(TAG) == [1, 2, 3, 4]


def test_warnings_made_errors_end_neither_the_run_nor_the_worker(make_trainer, events, caplog) -> None:
    """python -W error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="GradCAMCallback")
        fit(make_trainer, GradCAMCallback(images=4, output=Broken(RuntimeError("cuDNN error"), 5, 5)))
    assert any("cuDNN error" in record.message for record in caplog.records)
    assert events().steps(TAG) == [0, 1, 3, 4]


class MuteError(Exception):
    """A user's own, whose words fail as well."""

    def __str__(self) -> str:
        raise AttributeError("no words")


class Plateau(Classifier):
    """Lowers its learning rate where a number of the maps stays as it is."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=0, factor=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": f"{TAG}/focus"}}


@pytest.mark.parametrize(("last", "looks"), [(4, [1, 2, 3, 4]), (6, [2, 3, 4]), (99, [])])
def test_a_monitored_number_that_is_missing_counts_as_the_worst(make_trainer, events, tmp_path, last, looks) -> None:
    """For who would end the run without it: whether a look fails or all do; loggers get no such number."""
    stop = EarlyStopping(f"{TAG}/focus", mode="max", patience=9, check_finite=True)
    keep = ModelCheckpoint(tmp_path / "kept", monitor=f"{TAG}/border", mode="min", save_top_k=1)
    watching = GradCAMCallback(images=4, output=Broken(RuntimeError("no"), 0, last))
    with pytest.warns(UserWarning, match="a picture or a number is missing"):
        fit(make_trainer, watching, stop, keep, module=Plateau(), enable_checkpointing=True)
    logged, worst = scalars(tmp_path / "run"), torch.finfo(torch.float32).max
    if not looks:
        assert (float(stop.best_score), float(keep.best_model_score)) == (-worst, worst)
        assert f"{TAG}/focus" not in logged
        return
    assert events().steps(TAG) == looks
    assert float(stop.best_score) == pytest.approx(max(logged[f"{TAG}/focus"]))
    assert float(keep.best_model_score) == pytest.approx(min(logged[f"{TAG}/border"]))


def test_each_reason_is_told_once_and_all_are_counted(caplog) -> None:
    """Numbers and addresses make no other reason, words do."""
    reasons = ["no space", "no font", "no space", "18 at 0x7f3a", "19.5 at 0xb00", "7 at 0x1", "18 in 0x7f3a"]
    faults = Faults()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for reason in reasons:
            faults(ValueError(reason))
        faults(TypeError("no font"))
    told = [message.split("(")[1].split(")")[0] for message in complaints(caught)]
    words = ["no space", "no font", "18 at 0x7f3a", "18 in 0x7f3a"]
    assert told == [*(f"ValueError: {one}" for one in words), "TypeError: no font"]
    faults.sum_up()
    told = "2 times: ValueError: no space; 3 times: ValueError: 18 at 0x7f3a"
    assert [record.message for record in caplog.records] == [
        f"GradCAMCallback: pictures or numbers were missing {told}"
    ]


def test_what_was_told_already_is_not_summed_up(caplog) -> None:
    """A reason that came once."""
    faults = Faults()
    with pytest.warns(UserWarning, match="once"):
        faults(ValueError("once"))
    faults.sum_up()
    assert caplog.records == []


def test_a_fault_without_words_is_told_by_its_type(make_trainer, events) -> None:
    """And ends no run."""
    with pytest.warns(UserWarning, match=r"a picture or a number is missing \(MuteError\)"):
        fit(make_trainer, GradCAMCallback(images=4, output=Broken(MuteError(), 5, 5)))
    assert events().steps(TAG) == [0, 1, 3, 4]


def test_a_warning_that_cannot_be_shown_ends_no_run(make_trainer, events, monkeypatch, caplog) -> None:
    """A notebook's or a logger's own `showwarning`, on a stream that is closed."""
    show = warnings.showwarning

    def closed(message, *where, **options):
        if "GradCAMCallback" in str(message):
            raise ValueError("I/O operation on closed file")
        show(message, *where, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", closed)
        fit(make_trainer, GradCAMCallback(images=4, output=Broken(RuntimeError("cuDNN error"), 5, 5)))
    assert any("cuDNN error" in record.message for record in caplog.records)
    assert events().steps(TAG) == [0, 1, 3, 4]


def test_weights_that_become_nan_are_drawn_as_such(make_trainer, events, tmp_path) -> None:
    """None is predicted, which is wrong; and the run goes on, as without the callback."""
    poison = At(2, lambda trainer, module: nn.init.constant_(module.network[9].bias, torch.nan))
    module = fit(make_trainer, GradCAMCallback(images=4), poison)
    assert module.network[9].bias.isnan().all()
    assert events().steps(TAG) == [0, 1, 2, 3, 4]
    log = read_log(tmp_path)
    is_poisoned = log.steps > 2  # a look is of the weights after so many epochs
    assert (log.predictions[is_poisoned] == -1).all()
    assert set(log.answers[is_poisoned].ravel()) == {NO_PREDICTION}
    assert log.wrong[is_poisoned].all()
    assert (log.predictions[~is_poisoned] >= 0).all()


@pytest.mark.parametrize("act", [remove_folder, close_writer])
def test_a_lost_log_costs_no_run(act, make_trainer, plain, monkeypatch) -> None:
    """A removed folder, a closed writer; of a run that logs nothing itself: that would end it anyway."""
    monkeypatch.setattr(Classifier, "validation_step", lambda self, batch, batch_idx: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = fit(make_trainer, GradCAMCallback(images=4), At(2, act))
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in plain.items())


@pytest.mark.parametrize(
    ("place", "name", "error"),
    [
        (event_files.Events, "_write_encoded", OSError(28, "No space left on device")),
        (event_files, "to_jpeg", MemoryError()),
        (page, "font_of", OSError("cannot open resource")),
    ],
)
def test_a_fault_on_the_worker_costs_no_run(place, name, error, make_trainer, plain, monkeypatch, events) -> None:
    """A full disk, no memory, no font."""
    monkeypatch.setattr(place, name, broken(error))
    with pytest.warns(UserWarning, match=f"a picture or a number is missing \\({type(error).__name__}"):
        module = fit(make_trainer, GradCAMCallback(images=4))
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in plain.items())


def test_a_number_that_cannot_be_measured_costs_no_picture(make_trainer, plain, monkeypatch, events) -> None:
    """It is told, and the grids are drawn."""
    fails = broken(ZeroDivisionError("no entropy"))
    # of one map alone, on which its name is tried at the start, it can be measured
    failing = replace(METRICS["focus"], measure=lambda view: fails() if len(view.maps) > 1 else view.maps[..., 0, 0])
    monkeypatch.setitem(METRICS, "focus", failing)
    with pytest.warns(UserWarning, match=r"a picture or a number is missing \(ZeroDivisionError: no entropy\)"):
        module = fit(make_trainer, GradCAMCallback(images=4))
    assert len(events().steps("gradcam/network.6")) > 1
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in plain.items())


def test_a_full_disk_under_the_event_file(make_trainer, plain, monkeypatch) -> None:
    """TensorBoard's own writer fails, and the run does not."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    add = EventFileWriter.add_event

    def full(self, event):
        if any(value.HasField("image") for value in event.summary.value):
            raise OSError(28, "No space left on device")
        add(self, event)

    monkeypatch.setattr(EventFileWriter, "add_event", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        module = fit(make_trainer, GradCAMCallback(images=4))
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in plain.items())


def test_a_corrupt_image_costs_no_run(make_trainer, plain) -> None:
    """One that validation itself does not read."""
    validation = DataLoader(Corrupt(), 8)
    with pytest.warns(UserWarning, match="OSError: broken data stream"):
        module = fit(make_trainer, GradCAMCallback(images=[12]), validation=validation, limit_val_batches=1)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in plain.items())


def test_nothing_is_left_behind_after_fifty_epochs(make_trainer, loader) -> None:
    """Memory, open files, threads and hooks are as after the second epoch."""
    process, seen = psutil.Process(), {}

    class Count(Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            if trainer.current_epoch in (10, 49):
                watching._fit.drain()
                hooks = sum(len(m._forward_hooks) for m in pl_module.modules())
                seen[trainer.current_epoch] = (process.num_fds(), threading.active_count(), hooks)
                memory.append(process.memory_info().rss)

    memory: list[int] = []
    watching = GradCAMCallback()
    before = threading.active_count()
    make_trainer(watching, Count(), max_epochs=50).fit(Classifier(), loader, loader)
    assert seen[10] == seen[49]
    assert memory[1] - memory[0] < 8 * 2**20
    assert threading.active_count() <= before + 2  # TensorBoard's own writer


SCRIPT = """
    import os, signal, sys, time
    sys.path.insert(0, {root!r})
    from pytorch_lightning import Callback, Trainer
    from pytorch_lightning.loggers import TensorBoardLogger
    from torch.utils.data import DataLoader
    from lightning_gradcam import GradCAMCallback
    from tests.conftest import Classifier, make_pairs

    class End(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 3:
                time.sleep({wait})
                os.kill(os.getpid(), {signal})
                time.sleep(1)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    loader = DataLoader(make_pairs(), 8)
    trainer = Trainer(max_epochs=6, accelerator="cpu", callbacks=[GradCAMCallback(images=4), End()],
                      logger=TensorBoardLogger({folder!r}, name="", version="run"), enable_progress_bar=False,
                      enable_checkpointing=False)
    trainer.fit(Classifier(), loader, loader)
"""


@pytest.mark.parametrize(
    ("number", "wait", "steps"),
    [(signal.SIGKILL, 1, [0, 1, 2]), (signal.SIGINT, 0, [0, 1, 2, 3]), (signal.SIGTERM, 0, [0, 1, 2, 3])],
)
def test_what_was_logged_outlives_a_killed_run(number, wait, steps, tmp_path) -> None:
    """kill -9 keeps all grids up to the epoch before; Ctrl-C and SIGTERM keep all."""
    root = str(Path(__file__).parent.parent)
    code = textwrap.dedent(SCRIPT).format(root=root, folder=str(tmp_path), signal=int(number), wait=wait)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == {signal.SIGKILL: -9, signal.SIGINT: 1, signal.SIGTERM: 0}[number], ran.stderr[-2000:]
    found = Events(tmp_path / "run").steps(TAG)
    assert found[: len(steps)] == steps


def test_a_checkpoint_resumes_with_the_same_images(make_trainer, events, tmp_path) -> None:
    """By their places, though validation reads others now; its state is plain; steps go on where they stopped."""
    pairs = make_pairs()
    loader = DataLoader(pairs, 8)
    keep = ModelCheckpoint(tmp_path / "kept", save_last=True)
    first = GradCAMCallback(images=4)
    make_trainer(first, keep, max_epochs=2, enable_checkpointing=True).fit(Classifier(), loader, loader)
    path = tmp_path / "kept" / "last.ckpt"
    torch.load(path, weights_only=True)
    fewer = DataLoader(TensorDataset(*pairs[:]), 8, sampler=SubsetRandomSampler([0, 1, 2, 3]))
    probes = []

    class Spy(GradCAMCallback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            super().on_train_epoch_end(trainer, pl_module)
            probes.append(self._memory.probe_set.images)

    Spy.__qualname__ = GradCAMCallback.__qualname__
    make_trainer(Spy(images=4), max_epochs=4).fit(Classifier(), loader, fewer, ckpt_path=path)
    assert torch.equal(probes[0], pairs.tensors[0][chosen(loader, 4)])
    assert sorted(events().steps(TAG)) == [0, 1, 2, 3, 4]  # two files of one second may be read in either order


def test_a_probe_that_no_longer_fits_is_replaced_and_says_so(make_trainer, loader, tmp_path, caplog) -> None:
    """Here another number of images is asked for."""
    keep = ModelCheckpoint(tmp_path / "kept", save_last=True)
    make_trainer(GradCAMCallback("network.6", images=4), keep, max_epochs=1, enable_checkpointing=True).fit(
        Classifier(), loader, loader
    )
    path = tmp_path / "kept" / "last.ckpt"
    other = GradCAMCallback("network.6", images=5)
    seen = []
    look_back = At(1, lambda trainer, module: seen.append(len(other._fit.probe_set.images)))
    with caplog.at_level("WARNING", logger="lightning_gradcam"):
        make_trainer(other, look_back, max_epochs=2).fit(Classifier(), loader, loader, ckpt_path=path)
    assert seen == [5]
    assert any("the checkpoint's GradCAMCallback has " in record.message for record in caplog.records)


def test_two_instances_share_a_checkpoint(make_trainer, loader, tmp_path) -> None:
    """Also for two modules of the same kind."""
    module = Classifier(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), *small_cnn()))
    layers = [module.network[0], module.network[1]]
    callbacks = [GradCAMCallback(layer, images=2) for layer in layers]
    keep = ModelCheckpoint(tmp_path / "kept", save_last=True)
    make_trainer(*callbacks, keep, enable_checkpointing=True).fit(module, loader, loader)
    states = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)["callbacks"]
    assert sum("GradCAMCallback" in key for key in states) == 2


def test_both_lightning_packages_know_the_callback_as_theirs() -> None:
    """Their LightningCLI asks for it, and `lightning`'s Trainer did before 2.6."""
    import lightning.pytorch as lightning

    assert issubclass(GradCAMCallback, Callback)
    assert issubclass(GradCAMCallback, lightning.Callback)


def test_the_other_packages_checkpoint_is_told_its_own_option(tmp_path) -> None:
    """Not EarlyStopping's."""
    import lightning.pytorch as lightning

    early = lightning.callbacks.ModelCheckpoint(tmp_path, monitor=f"{TAG}/focus", save_on_train_epoch_end=False)
    loader = DataLoader(make_pairs(), 8)
    logger = lightning.loggers.TensorBoardLogger(tmp_path)
    trainer = lightning.Trainer(accelerator="cpu", callbacks=[GradCAMCallback(), early], logger=logger)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_cnn()

        def forward(self, images):
            return self.network(images)

        training_step = validation_step = lambda self, batch, batch_idx: self(batch[0]).sum()
        configure_optimizers = lambda self: torch.optim.SGD(self.parameters(), 0.1)  # noqa: E731

    with pytest.raises(ValueError, match="pass it save_on_train_epoch_end=True"):
        trainer.fit(Module(), loader, loader)


def test_the_other_lightning_package(tmp_path) -> None:
    """A trainer and a logger of lightning.pytorch."""
    import lightning.pytorch as lightning
    from lightning.pytorch.loggers import TensorBoardLogger

    network = small_cnn()

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network(images)

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch, batch_idx) -> None:
            self(batch[0])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    loader = DataLoader(make_pairs(), 8)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[GradCAMCallback()],
        logger=TensorBoardLogger(tmp_path, name="", version="run"),
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(Module(), loader, loader)
    assert Events(tmp_path / "run").steps(TAG) == [0, 1, 2]


def test_an_image_that_cannot_be_read_costs_itself(make_trainer, events, caplog) -> None:
    """Not the others; which it is, is told."""
    watching = GradCAMCallback(images=[2, 12, 20])
    trainer = make_trainer(watching, max_epochs=1)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        trainer.fit(Classifier(), DataLoader(make_pairs(), 8), DataLoader(Corrupt(), 4, sampler=[0, 1, 2, 3]))
    assert events().steps(TAG) == [0, 1]
    assert watching._memory.probe_set.indices.tolist() == [2, 20]
    assert torch.equal(watching._memory.probe_set.images, make_pairs().tensors[0][[2, 20]])
    assert "the one at index 12 cannot be read, and is left out: broken data stream" in caplog.text


def test_names_of_several_lines_are_drawn_in_one(make_trainer, events, loader, recwarn) -> None:
    """As `readlines()` gives them."""
    names = ["cat\n", "a\tlong\nname\x00", "dog\r\n"]
    make_trainer(GradCAMCallback(images=3, class_names=names), max_epochs=1).fit(Classifier(), loader, loader)
    assert complaints(recwarn) == []
    assert events().steps(TAG) == [0, 1]
    assert [name_of(place, names) for place in range(3)] == ["cat", "a long name", "dog"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a disk of 300 kB")
def test_the_last_of_a_disk_is_the_trainings(tmp_path) -> None:
    """A run that fits alone on a small disk goes on to its end with the callback; what is there can be read."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], check=True)
    try:
        loader = DataLoader(make_pairs(), 8)
        logger = TensorBoardLogger(disk, name="", version="run")
        options = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(max_epochs=40, accelerator="cpu", callbacks=[GradCAMCallback()], logger=logger, **options)
        with pytest.warns(UserWarning, match="of the disk are left that are the training's"):
            trainer.fit(Classifier(), loader, loader)
        assert trainer.current_epoch == 40
        assert shutil.disk_usage(disk).free > 20_000
        events = Events(disk / "run")
        assert events.steps(TAG)[0] == 0
        assert len(events.pictures(TAG)) == len(events.steps(TAG))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
