"""The callback on real fits, read back from real event files."""

import copy
import logging
import pickle
import time
import warnings
from queue import SimpleQueue

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lightning_gradcam import GradCAMCallback, explain
from lightning_gradcam.cam.calls import Call
from lightning_gradcam.cam.plan import Plan
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.pictures.grid import GRID_SIDES, SIDES_OF_SEVERAL, Sheet
from lightning_gradcam.pictures.looks import Scene
from lightning_gradcam.pictures.page import BETWEEN, MARGIN
from lightning_gradcam.training.memory import Memory

from .conftest import Classifier, DictDataset, Events, complaints, make_pairs, scalars, small_cnn
from .test_tasks import said_in

TAG = "gradcam/network.6"
CLASSES_3 = Task("multiclass", 3)


def test_nothing_configured_logs_every_epoch_and_the_start(make_trainer, events, loader) -> None:
    """A fit of 3 epochs holds the steps 0 to 3, each a JPEG."""
    make_trainer(GradCAMCallback(), max_epochs=3).fit(Classifier(), loader, loader)
    assert events().tags == [TAG, f"{TAG}/filmstrip", f"{TAG}/timelapse"]
    assert events().steps(TAG) == [0, 1, 2, 3]
    assert all(data.startswith(b"\xff\xd8\xff") for data in events().encoded(TAG))


def test_the_pictures_are_the_same_pixels_in_each_epoch(make_trainer, events, loader) -> None:
    """Also after JPEG: the image of every tile does not change, and the map beside it does."""
    torch.manual_seed(0)
    make_trainer(GradCAMCallback(images=1), max_epochs=3).fit(Classifier(), loader, loader)
    images, maps = cells_of(events().pictures(TAG), about="target: label  ·  gradcam  ·  multiclass")
    assert all((image == images[0]).all() for image in images[1:])
    assert all((one != maps[0]).any() for one in maps[1:])


def cells_of(pictures: list[np.ndarray], about: str, targets: int = 1) -> list[list[np.ndarray]]:
    """In grids of an image of 16 pixels, the image, and each of its maps."""
    sides = GRID_SIDES if targets == 1 else SIDES_OF_SEVERAL
    columns = ["top", "middle", "bottom"][:targets] if targets > 1 else ()
    sheet = Sheet(Scene([np.zeros((16, 16, 3), np.uint8)], ["true top"], about, columns), targets, sides)
    (left, top), side = sheet.corner(0), sheet.height
    lefts = [left + n * sheet.slot for n in range(1 + targets)]
    return [[picture[top : top + side, at : at + side].astype(int) for picture in pictures] for at in lefts]


def test_batches_may_be_dicts(make_trainer, events, pairs) -> None:
    """Images and labels are found under their usual names."""
    loader = DataLoader(DictDataset(pairs), batch_size=8)
    make_trainer(GradCAMCallback()).fit(Classifier(), loader, loader)
    assert events().steps(TAG) == [0, 1, 2]


@pytest.mark.parametrize("callbacks", [[["network.0", "network.5"]], ["network.0", "network.5"]])
def test_two_layers_side_by_side(make_trainer, events, loader, callbacks) -> None:
    """By one instance with a list or by two instances."""
    make_trainer(*[GradCAMCallback(layers, images=2) for layers in callbacks]).fit(Classifier(), loader, loader)
    assert {tag.split("/")[1] for tag in events().tags} == {"network.0", "network.5"}
    assert all(events().steps(tag) == [0, 1, 2] for tag in ("gradcam/network.0", "gradcam/network.5"))


def test_every_n_epochs(make_trainer, events, loader) -> None:
    """The start, and after each n-th epoch."""
    make_trainer(GradCAMCallback(images=2, every_n_epochs=2), max_epochs=5).fit(Classifier(), loader, loader)
    assert events().steps(TAG) == [0, 2, 4]


def test_validate_and_test_look_too(make_trainer, events, loader) -> None:
    """Under inference mode; test has a tag of its own."""
    trainer = make_trainer(GradCAMCallback(images=2), max_epochs=1)
    module = Classifier()
    trainer.fit(module, loader, loader)
    trainer.validate(module, loader, verbose=False)
    trainer.test(module, loader, verbose=False)
    assert events().steps(TAG) == [0, 1, 1]
    assert events().steps(f"{TAG}/test") == [1]


def test_the_maps_are_grad_cams(make_trainer, loader, monkeypatch) -> None:
    """On the network of the tests, from the layer found, to 1e-3 after grad-cam's own resizing."""
    torch.manual_seed(0)
    module = Classifier(nn.Sequential(*[nn.ReLU() if isinstance(m, nn.ReLU) else m for m in small_cnn()])).eval()
    kept = []
    remember = Memory.with_look
    monkeypatch.setattr(Memory, "with_look", lambda *args: (kept.append(args), remember(*args))[1])
    make_trainer(GradCAMCallback()).validate(module, loader, verbose=False)
    [(_, probe, _, _, cams, _)] = kept
    targets = [ClassifierOutputTarget(int(label)) for label in probe.labels]
    expected = GradCAM(module, [module.network[6]])(probe.images, targets)
    assert np.abs(cams.heatmaps((16, 16))[:, 0].numpy() - expected).max() < 1e-3


def test_transfer_hooks_and_collate_are_applied_as_validation_sees_them(make_trainer, pairs) -> None:
    """The probe's images are bit for bit what validation_step gets."""
    seen: list[torch.Tensor] = []
    probes: list[torch.Tensor] = []

    class Normalising(Classifier):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            images, labels = batch
            return (images * (10 if self.trainer.training else 0.5) + 1, labels)

        def validation_step(self, batch, batch_idx) -> None:
            seen.append(batch[0].clone())

    def doubled(samples):
        return torch.stack([image for image, _ in samples]) * 2, torch.stack([label for _, label in samples])

    class Spy(GradCAMCallback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            probes.append(self._memory.probe_set.images)

    loader = DataLoader(pairs, batch_size=24, collate_fn=doubled)
    trainer = make_trainer(Spy(images=24), max_epochs=1, num_sanity_val_steps=0)
    trainer.fit(Normalising(), loader, loader)
    assert torch.equal(probes[0], seen[0])


def test_transfer_hooks_are_told_that_the_images_are_the_first_loaders(make_trainer, loader, pairs) -> None:
    """As the evaluation loop numbers them: from 0, before, during and behind the transfer."""
    asked = SimpleQueue()

    class Asked(Classifier):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            asked.put(("before", dataloader_idx))
            return batch

        def transfer_batch_to_device(self, batch, device, dataloader_idx):
            asked.put(("during", dataloader_idx))
            return super().transfer_batch_to_device(batch, device, dataloader_idx)

        def on_after_batch_transfer(self, batch, dataloader_idx):
            asked.put(("behind", dataloader_idx))
            return batch

        def validation_step(self, batch, batch_idx, dataloader_idx=0) -> None:
            super().validation_step(batch, batch_idx)

    class First(GradCAMCallback):
        def on_validation_start(self, trainer, pl_module) -> None:
            before = asked.qsize()
            super().on_validation_start(trainer, pl_module)
            found.extend(asked.get() for _ in range(asked.qsize() - before))

    found: list[tuple[str, int]] = []
    loaders = [loader, DataLoader(pairs, 8)]
    make_trainer(First(images=2)).validate(Asked(), loaders, verbose=False)
    assert sorted(set(found)) == [("before", 0), ("behind", 0), ("during", 0)]


def test_a_grids_header_says_when_its_weights_looked_so(make_trainer, loader, monkeypatch) -> None:
    """Of weights that did not come from this trainer's epochs no epoch is told."""
    told = []
    draw = RunLog.log_grid
    monkeypatch.setattr(RunLog, "log_grid", lambda *args: (told.append((args[3], args[4])), draw(*args))[1])
    trainer, module = make_trainer(GradCAMCallback(images=2), max_epochs=1), Classifier()
    trainer.validate(module, loader, verbose=False)
    trainer.test(module, loader, verbose=False)
    trainer.fit(module, loader, loader)
    trainer.validate(module, loader, verbose=False)
    trainer.test(module, loader, verbose=False)
    test = f"{TAG}/test"
    assert told == [
        *((TAG, "validation"), (test, "test"), (TAG, "epoch 0"), (TAG, "epoch 1")),
        *((TAG, "validation after epoch 1"), (test, "test after epoch 1")),
    ]


@pytest.mark.parametrize(
    ("arguments", "task", "labelled", "about"),
    [
        ({}, CLASSES_3, True, "target: label  ·  gradcam  ·  multiclass"),
        ({}, CLASSES_3, False, "target: predicted  ·  gradcam  ·  multiclass"),
        ({"target": "predicted", "method": "fem"}, CLASSES_3, True, "target: predicted  ·  fem  ·  multiclass"),
        ({"target": [0, 2], "class_names": [*"abc"]}, CLASSES_3, True, "target: a, c  ·  gradcam  ·  multiclass"),
        ({"target": lambda output, labels: output[:, 0]}, CLASSES_3, True, "target: custom  ·  gradcam  ·  multiclass"),
        ({"scale": "run"}, CLASSES_3, True, "target: label  ·  gradcam  ·  multiclass  ·  scale: run"),
        ({}, Task("regression", 1), True, "target: value  ·  gradcam  ·  regression"),
        ({}, Task("regression", 6), True, "target: sum of all values  ·  gradcam  ·  regression"),
        ({"target": 2}, Task("regression", 6), True, "target: 2  ·  gradcam  ·  regression"),
        ({}, Task("none", 64), True, "target: squared norm of the output  ·  gradcam  ·  none"),
        ({}, Task("none", 3, is_dense=True), True, "target: squared error  ·  gradcam  ·  none"),
        ({}, Task("segmentation", 2, is_dense=True), True, "target: foreground  ·  gradcam  ·  segmentation"),
        ({}, Task("segmentation", 9, is_dense=True), True, "target: label  ·  gradcam  ·  segmentation"),
    ],
)
def test_a_grids_header_says_what_it_is_of(arguments, task, labelled, about) -> None:
    """The target, the method, the task, and the scale where it is not each map's own."""
    asked = GradCAMCallback(**arguments)._arguments
    own = "gradcam" if asked.settings.method is None else None
    plan = Plan(asked.settings, Call(), own, (), None, (), "", 2, task, has_rivals=False)
    assert asked.about(plan, labelled, arguments.get("class_names")) == about


def test_the_next_callback_finds_the_trainer_training(make_trainer, loader) -> None:
    """Before the first epoch and behind each; within the look it validates, for hooks that ask."""
    outside, inside = [], SimpleQueue()  # a native object, of which the looks' copies have none of their own

    class Next(Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            outside.append((trainer.state.stage, trainer.training))

        on_train_epoch_end = on_train_start

    def output(model, images):
        inside.put((model.trainer.state.stage, model.trainer.training))
        return model(images)

    make_trainer(GradCAMCallback(images=2, output=output), Next()).fit(Classifier(), loader, loader)
    assert outside == [("train", True)] * 3
    assert {inside.get() for _ in range(inside.qsize())} == {("validate", False)}


def test_a_look_is_written_before_a_checkpoint_is(make_trainer, events, loader, monkeypatch, tmp_path) -> None:
    """However slowly it is drawn: a run that is killed and resumed from there has no gap."""
    found = []
    log_grid = RunLog.log_grid

    class Reading(TorchCheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
            super().save_checkpoint(checkpoint, path, storage_options)
            found.append(events().steps(TAG))

    monkeypatch.setattr(RunLog, "log_grid", lambda *args: (time.sleep(0.3), log_grid(*args)))
    keep = ModelCheckpoint(tmp_path / "kept", save_top_k=-1)
    trainer = make_trainer(GradCAMCallback(images=2), keep, plugins=[Reading()], enable_checkpointing=True)
    trainer.fit(Classifier(), loader, loader)
    assert found == [[0, 1], [0, 1, 2]]


def test_the_layer_found_is_reported_once(make_trainer, loader, caplog) -> None:
    """By its dotted name."""
    with caplog.at_level(logging.INFO, logger="lightning_gradcam"):
        make_trainer(GradCAMCallback(images=2)).fit(Classifier(), loader, loader)
    assert [record.message for record in caplog.records if "network.6" in record.message] == [
        "target_layer=None: looking at 'network.6', the last layer whose output is a map, by gradcam"
    ]


def test_several_validation_loaders_use_the_first_and_say_so(make_trainer, events, loader, caplog) -> None:
    """The second one's images would be of another size."""
    other = DataLoader(make_pairs(size=32), batch_size=8)

    class Two(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx=0) -> None:
            self(batch[0])

    with caplog.at_level(logging.INFO, logger="lightning_gradcam"):
        make_trainer(GradCAMCallback(images=2), max_epochs=1).fit(Two(), loader, [loader, other])
    assert any("2 loaders: the images are the first" in record.message for record in caplog.records)
    assert events().steps(TAG) == [0, 1]


def test_more_images_than_the_dataset_has_uses_them_all_and_says_so(make_trainer, events, caplog) -> None:
    """With how many there are."""
    loader = DataLoader(make_pairs(5), batch_size=2)
    make_trainer(GradCAMCallback(images=50), max_epochs=1).fit(Classifier(), loader, loader)
    assert any("images=50" in record.message and "only 5" in record.message for record in caplog.records)
    assert events().steps(TAG) == [0, 1]


class _Unmatched(nn.Module):
    """A network with a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_cnn()
        self.spare = nn.Conv2d(3, 3, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)


class _Empty(Dataset):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_layer": "network.body.55"}, r"target_layer='network.body.55' is not a layer.*network\.body\.5'"),
        ({"target_layer": "bodi"}, r"did you mean 'network.body'"),
        ({"target_layer": nn.Conv2d(1, 1, 1)}, r"target_layer=Conv2d\(...\) is not a layer of the model"),
        ({"target_layer": "network.spare"}, r"target_layer='network.spare' .* not called in the forward pass"),
        ({"target_layer": "network.body.9"}, r"target_layer='network.body.9' gave \(2, 3\).*no map.*reshape_transform"),
        ({"target_layer": "network.body.7"}, r"target_layer='network.body.7' gave \(2, 8, 1, 1\)"),
        ({"images": [0, 24]}, r"images: the validation dataset has no index 24; it has 0 to 23"),
        ({"target": 3}, r"target=3 is no class of this model, which has 3 \(0 to 2\)"),
        ({"class_names": ["a", "b"]}, r"class_names has 2 names; the model has 3 classes"),
        ({"mean": [0.5, 0.5], "std": [1.0, 1.0]}, r"mean has 2 numbers; the images have 3 channels"),
        ({"mean": 0.5, "std": [1.0, 1.0]}, r"std has 2 numbers; the images have 3 channels"),
        ({"image_key": "picture"}, r"image_key='picture' is not in the batch"),
        ({"label_key": 7}, r"label_key=7 is not in the batch"),
        (
            {"output": lambda model, images: model(images).detach()},
            r"the scores carry no gradient from any layer",
        ),
        ({"output": "logits"}, r"output='logits' is no method of Classifier"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_batch(make_trainer, loader, arguments, message) -> None:
    """With one sentence that names the argument."""
    module = Classifier(_Unmatched())
    with pytest.raises((ValueError, TypeError), match=message) as refused:
        make_trainer(GradCAMCallback(**arguments)).fit(module, loader, loader)
    assert "\n" not in str(refused.value)
    assert module.losses == []


def test_labels_that_have_no_place_in_the_outputs_are_told(make_trainer, pairs, loader, events, caplog) -> None:
    """With the label: an embedding's outputs are no scores of classes."""
    wrong = DataLoader(TensorDataset(pairs.tensors[0], pairs.tensors[1] + 3), batch_size=8)
    trainer = make_trainer(GradCAMCallback(), num_sanity_val_steps=0, limit_val_batches=1, max_epochs=1)
    module = Classifier()
    module.validation_step = None
    trainer.fit(module, loader, wrong)
    told = "the task is taken to be none; the label 5, which has no place in 3 outputs: "
    told += "task='regression' if they are values; label_key= names other labels"
    assert told in [record.message for record in caplog.records]
    assert events().steps(TAG) == [0, 1]


@pytest.mark.parametrize("options", [{}, {"limit_val_batches": 0}])
def test_without_validation_data_the_images_are_the_training_datas(make_trainer, loader, options, caplog) -> None:
    """And it is said; they are of the whole of it, whatever order it is shuffled in."""
    training = DataLoader(make_pairs(seed=5), 8, shuffle=True)
    callback = GradCAMCallback()
    make_trainer(callback, max_epochs=1, **options).fit(Classifier(), training, loader if options else None)
    found = callback._memory.probe_set
    assert torch.equal(found.images, training.dataset.tensors[0][found.indices])
    assert "images=8: there is no validation data; they are the training data's" in caplog.text


def test_names_of_classes_are_found_and_given_ones_win(make_trainer, loader, pairs, tmp_path) -> None:
    """A data set's, where they are as many as there are classes."""
    pairs.classes = ["cat", "dog", "owl"]
    for number, (names, expected) in enumerate(((None, "true cat"), (["x", "y", "z"], "true x"))):
        logger = TensorBoardLogger(tmp_path, name="", version=str(number))
        trainer = make_trainer(GradCAMCallback(images=[0], class_names=names), max_epochs=1, logger=logger)
        trainer.fit(Classifier(), loader, loader)
        assert said_in(tmp_path / str(number), TAG).truths == [expected]


def test_a_tensor_needs_no_validation_data(make_trainer, events, loader, pairs) -> None:
    """Alone or with labels."""
    images, labels = pairs.tensors[0][:4], pairs.tensors[1][:4]
    make_trainer(GradCAMCallback(images=(images, labels)), max_epochs=1).fit(Classifier(), loader)
    assert events().steps(TAG) == [0, 1]


@pytest.mark.parametrize("kind", ["none", "csv", "barebones"])
def test_where_no_logger_takes_pictures_an_event_file_is_written_beside_the_run(
    make_trainer, loader, tmp_path, kind, caplog, capsys
) -> None:
    """With the tab's data, and the command that shows them; numbers go to the logger that there is."""
    given = CSVLogger(tmp_path, name="", version="run") if kind == "csv" else False
    options = {"logger": given, "default_root_dir": tmp_path, "max_epochs": 2}
    if kind == "barebones":
        options = {"barebones": True, "max_epochs": 2, "default_root_dir": tmp_path}
        trainer = Trainer(**options, accelerator="cpu", callbacks=[GradCAMCallback()])
    else:
        trainer = make_trainer(GradCAMCallback(), **options)
    with caplog.at_level(logging.INFO):
        trainer.fit(Classifier(), loader, loader)
    folder = tmp_path / ("run/gradcam" if kind == "csv" else "gradcam_logs/version_0")
    assert f"tensorboard --logdir {folder}" in caplog.text
    assert Events(folder).steps(TAG) == [0, 1, 2]
    assert {f"{TAG}/filmstrip", f"{TAG}/timelapse"} <= set(Events(folder).tags)
    if kind == "csv":
        assert "gradcam/network.6/focus" in (tmp_path / "run/metrics.csv").read_text()


def test_a_dry_run_passes_where_a_scheduler_waits_for_a_number(make_trainer, loader) -> None:
    """As the fit does: Lightning leaves schedulers in a dry run."""

    class Plateau(Classifier):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": f"{TAG}/focus"}}

    for options in ({"max_epochs": 1}, {"fast_dev_run": True}):
        trainer = make_trainer(GradCAMCallback(images=2), **options)
        trainer.fit(Plateau(), loader, loader)
        assert trainer.state.finished


def test_fast_dev_run_checks_all_settings_and_writes_nothing(make_trainer, loader, tmp_path) -> None:
    """It takes the loggers away, and what is wrong is refused as ever."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        module = Classifier()
        make_trainer(GradCAMCallback(), fast_dev_run=True).fit(module, loader, loader)
    assert len(module.losses) == 1
    assert [*tmp_path.iterdir()] == []
    for arguments, message in (({"target_layer": "network.55"}, "is not a layer"), ({"target": 9}, "is no class")):
        with pytest.raises(ValueError, match=message):
            make_trainer(GradCAMCallback(**arguments), fast_dev_run=True).fit(Classifier(), loader, loader)


def test_tensorboard_among_several_loggers(make_trainer, events, loader, tmp_path) -> None:
    """The others are left alone."""
    loggers = [CSVLogger(tmp_path), TensorBoardLogger(tmp_path, name="", version="run")]
    make_trainer(GradCAMCallback(images=2), logger=loggers, max_epochs=1).fit(Classifier(), loader, loader)
    assert events().steps(TAG) == [0, 1]


def test_an_iterable_dataset_gives_the_first_of_one_pass(make_trainer, events, pairs) -> None:
    """As many as were asked for."""

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(pairs)

    stream = DataLoader(Stream(), batch_size=3)
    probes = []

    class Spy(GradCAMCallback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            super().on_train_epoch_end(trainer, pl_module)
            probes.append(self._memory.probe_set)

    make_trainer(Spy(images=7), max_epochs=1).fit(Classifier(), stream, stream)
    assert torch.equal(probes[0].images, pairs.tensors[0][:7])
    assert events().steps(TAG) == [0, 1]


def test_scale_run_makes_epochs_comparable(make_trainer, loader, monkeypatch) -> None:
    """A map at a tenth of the image's highest peak is drawn at a tenth of the strength."""
    strengths: list[torch.Tensor] = []
    peaks: list[torch.Tensor] = []
    log_grid = RunLog.log_grid

    def spy(log, found, history, *where):
        drawn = log.images.sight(found).heat((16, 16), history.highest.numpy())
        strengths.append(torch.tensor(drawn.max((1, 2, 3))))
        peaks.append(found.peaks[:, 0])
        log_grid(log, found, history, *where)

    monkeypatch.setattr(RunLog, "log_grid", spy)
    make_trainer(GradCAMCallback(images=4, scale="run"), max_epochs=3).fit(Classifier(), loader, loader)
    highest = torch.stack(peaks).cummax(0).values
    ratios = (torch.stack(peaks) / highest).nan_to_num(0)
    # enlarging averages a peak with its neighbours, so a heatmap stays at or below its map's share
    assert bool((torch.stack(strengths) <= ratios + 1e-6).all())
    assert bool((torch.stack(strengths) >= 0.5 * ratios).all())


def test_a_callback_can_be_pickled_and_copied(make_trainer, events, loader) -> None:
    """As strategies that spawn processes do; the copy works."""
    copied = copy.deepcopy(pickle.loads(pickle.dumps(GradCAMCallback(images=2))))
    make_trainer(copied, max_epochs=1).fit(Classifier(), loader, loader)
    assert events().steps(TAG) == [0, 1]


def test_several_classes_are_columns_of_one_grid(make_trainer, events, loader) -> None:
    """Three overlays beside each picture."""
    callback = GradCAMCallback(images=1, target=[0, 1, 2], class_names=["top", "middle", "bottom"])
    make_trainer(callback, max_epochs=1).fit(Classifier(), loader, loader)
    picture = events().pictures(TAG)[1]
    assert picture.shape[1] == 4 * (96 + BETWEEN) - BETWEEN + 2 * MARGIN
    _, *maps = cells_of([picture], "target: top, middle, bottom  ·  gradcam  ·  multiclass", targets=3)
    assert np.abs(maps[0][0] - maps[1][0]).max() > 40
    assert np.abs(maps[1][0] - maps[2][0]).max() > 40


def test_evaluation_and_prediction_without_a_logger_run_on(make_trainer, loader, caplog) -> None:
    """With a word where nothing can be shown."""
    trainer = make_trainer(GradCAMCallback(), logger=False)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        trainer.validate(Classifier(), loader, verbose=False)
    assert sum("TensorBoardLogger" in record.message for record in caplog.records) == 1
    images = DataLoader(make_pairs().tensors[0], batch_size=8)
    assert len(trainer.predict(Classifier(), images)) == 3


def test_callbacks_on_one_layer_are_told_apart_by_name(make_trainer, loader, events, tmp_path) -> None:
    """Tags, numbers and checkpoints' states; without names a clash is told before training."""
    both = GradCAMCallback(images=2), GradCAMCallback(images=3, name="others", scale="run")
    make_trainer(*both, max_epochs=1).fit(Classifier(), loader, loader)
    assert {TAG, "gradcam/others/network.6"} <= set(events().tags)
    assert events().steps("gradcam/others/network.6") == [0, 1]
    assert [len(one._memory.probe_set.images) for one in both] == [2, 3]
    assert {"gradcam/network.6/focus", "gradcam/others/network.6/focus"} <= set(scalars(tmp_path / "run"))
    apart = make_trainer(GradCAMCallback("network.3", images=2), GradCAMCallback("network.6", images=3))
    with pytest.raises(ValueError, match="two GradCAMCallback write to 'gradcam/probe'"):
        apart.fit(Classifier(), loader, loader)
    clash = make_trainer(GradCAMCallback(images=2), GradCAMCallback(images=3))
    with pytest.raises(ValueError, match=r"two GradCAMCallback write to 'gradcam/network.6'; pass one of them a name="):
        clash.fit(Classifier(), loader, loader)


def test_a_layer_may_be_called_as_what_is_logged_beside_it(make_trainer, loader, events) -> None:
    """Its tags are its own."""

    class Probing(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.probe = nn.Conv2d(3, 4, 3)
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

        def forward(self, images):
            return self.head(self.probe(images))

    make_trainer(GradCAMCallback(images=2), max_epochs=1).fit(Probing(), loader, loader)
    assert events().steps("gradcam/layer.probe") == [0, 1]
    assert "gradcam/probe" not in events().tags


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", " "])
def test_a_name_that_cannot_stand_in_a_tag_is_refused(name) -> None:
    """With the value."""
    with pytest.raises(ValueError, match="name="):
        GradCAMCallback(name=name)


def test_settings_may_be_numpys_and_torchs(make_trainer, loader, events, recwarn) -> None:
    """Numbers, arrays and tensors."""
    settings = {
        "images": np.array([1, 5, 9]),
        "target": np.int64(1),
        "mean": np.full(3, 0.5, np.float32),
        "std": torch.full((3,), 0.25),
        "class_names": np.array(["a", "b", "c"]),
        "every_n_epochs": np.int32(1),
        "batch_size": np.int64(2),
    }
    watching = GradCAMCallback(**settings)
    make_trainer(watching, max_epochs=1).fit(Classifier(), loader, loader)
    assert complaints(recwarn) == []
    assert events().steps(TAG) == [0, 1]
    assert watching._memory.probe_set.indices.tolist() == [1, 5, 9]
    found = explain(
        small_cnn(), torch.rand(2, 3, 8, 8), target=torch.tensor(2), labels=np.array([0, 1]), batch_size=np.int8(1)
    )
    assert found.targets.tolist() == [2, 2]


def test_the_users_own_number_may_be_monitored(make_trainer, loader) -> None:
    """Under `gradcam/`, too, and called as one of ours; under a layer's tag it is a mistake."""

    class Logging(Classifier):
        def validation_step(self, batch, batch_idx) -> None:
            self.log_dict({"gradcam/mine": 1.0, "gradcam/mine/drift": 1.0})

    for name in ("gradcam/mine", "gradcam/mine/drift"):
        stop = EarlyStopping(name, patience=5)
        trainer = make_trainer(GradCAMCallback(images=2), stop)
        trainer.fit(Logging(), loader, loader)
        assert float(stop.best_score) == float(trainer.callback_metrics[name]) == 1
    trainer = make_trainer(GradCAMCallback(images=2), EarlyStopping(f"{TAG}/focsu"))
    with pytest.raises(ValueError, match=r"no such number is logged; did you mean 'gradcam/network.6/focus'"):
        trainer.fit(Logging(), loader, loader)
    trainer = make_trainer(GradCAMCallback(images=2), EarlyStopping(f"{TAG}/in_mask"))
    with pytest.raises(ValueError, match="no such number is logged; the batch has no masks: pass mask_key"):
        trainer.fit(Logging(), loader, loader)


def test_a_number_that_is_not_there_each_epoch_is_told_to_who_insists_on_it(make_trainer, loader) -> None:
    """An EarlyStopping would end the run after the first epoch."""
    rare = GradCAMCallback(images=2, every_n_epochs=2)
    trainer = make_trainer(rare, EarlyStopping(f"{TAG}/focus"))
    with pytest.raises(ValueError, match="with every_n_epochs=2 pass it strict=False"):
        trainer.fit(Classifier(), loader, loader)
    make_trainer(rare, EarlyStopping(f"{TAG}/focus", strict=False)).fit(Classifier(), loader, loader)
    trainer = make_trainer(rare, ModelCheckpoint(monitor=f"{TAG}/focus"), enable_checkpointing=True)
    with pytest.raises(ValueError, match="pass it every_n_epochs=2"):
        trainer.fit(Classifier(), loader, loader)


def test_validation_that_comes_later_is_read_at_the_start(make_trainer, loader, events, recwarn) -> None:
    """`check_val_every_n_epoch=2` without a sanity check."""
    options = {"check_val_every_n_epoch": 2, "num_sanity_val_steps": 0, "max_epochs": 2}
    make_trainer(GradCAMCallback(images=2), **options).fit(Classifier(), loader, loader)
    assert complaints(recwarn) == []
    assert events().steps(TAG) == [0, 1, 2]
