"""What outlives a stage, and travels in checkpoints."""

import copy
import logging
import pickle
import re
import time

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_gradcam import GradCAMCallback, read_log
from lightning_gradcam.logs.events import Events as Written
from lightning_gradcam.training.choosing import chosen
from lightning_gradcam.training.memory import Memory
from lightning_gradcam.training.probe_set import ProbeSet

from ..conftest import Classifier, Events, make_pairs, scalars, small_cnn

TAG = "gradcam/network.6"


def looks(callback: GradCAMCallback) -> list[int]:
    return [look.step for look in callback._memory.histories[TAG].looks]


def state_in(path) -> dict:
    states = torch.load(path, weights_only=True)["callbacks"]
    return next(state for key, state in states.items() if "GradCAMCallback" in key)


@pytest.fixture
def fitted(make_trainer, loader):
    """A trainer after two epochs, its callback and its module."""
    callback, module = GradCAMCallback(images=4), Classifier()
    trainer = make_trainer(callback, max_epochs=2)
    trainer.fit(module, loader, loader)
    return trainer, callback, module


def test_a_checkpoint_saved_after_test_has_the_fits_images_and_maps(fitted, loader, tmp_path, make_trainer) -> None:
    """Where they are to be found again, not the test's; and a run that is resumed from it shows validation's."""
    trainer, _, module = fitted
    trainer.test(module, DataLoader(make_pairs(seed=9), 8), verbose=False)
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    state = state_in(tmp_path / "after.ckpt")
    expected = make_pairs().tensors[0][chosen(loader, 4)]
    assert state["seen"]["indices"].tolist() == chosen(loader, 4)
    assert state["seen"]["folders"] == [str(tmp_path / "run")]
    assert {tag: (line["step"], line["length"]) for tag, line in state["seen"]["lines"].items()} == {TAG: (2, 3)}
    resumed = GradCAMCallback(images=4)
    make_trainer(resumed, max_epochs=3).fit(Classifier(), loader, loader, ckpt_path=tmp_path / "after.ckpt")
    assert looks(resumed) == [0, 1, 2, 3]
    assert torch.equal(resumed._memory.probe_set.images, expected)


@pytest.mark.parametrize("stage", ["test", "validate", "predict"])
def test_evaluating_a_checkpoint_leaves_the_fits_looks(stage, make_trainer, loader, tmp_path) -> None:
    """Lightning restores callbacks there too; what is saved after it, and a fit that goes on, have all looks."""
    callback, module = GradCAMCallback(images=4), Classifier()
    keep = ModelCheckpoint(tmp_path / "kept", filename="{epoch}", save_top_k=-1)
    trainer = make_trainer(callback, keep, max_epochs=3, enable_checkpointing=True)
    trainer.fit(module, loader, loader)
    module.predict_step = lambda batch, batch_idx: module(batch[0])
    getattr(trainer, stage)(module, loader, ckpt_path=tmp_path / "kept" / "epoch=0.ckpt")
    assert looks(callback) == [0, 1, 2, 3]
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    assert state_in(tmp_path / "after.ckpt")["seen"]["lines"][TAG]["step"] == 3
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module, loader, loader)
    assert read_log(tmp_path / "run").steps.tolist()[:3] == [0, 1, 2]
    assert callback.state_dict()["seen"]["lines"][TAG]["length"] == len(looks(callback))


def test_in_validation_maps_are_shares_of_the_fits_highest_peaks(make_trainer, tmp_path) -> None:
    """A head of a twentieth of the weights gives a twentieth of the heat, where each map by itself is full of it."""

    def hot(picture) -> int:
        below = picture[picture.shape[1] // 4 :]  # the legend, which is red too, is above
        red, green, blue = below.astype(int).transpose(2, 0, 1)
        return int(((red > 150) & (red - green > 60) & (red - blue > 60)).sum())

    found = {}
    for scale in ("image", "run"):
        torch.manual_seed(11)
        images = make_pairs(channels=1).tensors[0][:4]  # gray, and without labels: all red is heat
        module, callback = Classifier(small_cnn(channels=1)), GradCAMCallback(images=images, scale=scale, target=0)
        loader = DataLoader(make_pairs(channels=1), 8)
        trainer = make_trainer(callback, logger=TensorBoardLogger(tmp_path, name="", version=scale))
        trainer.fit(module, loader, loader)
        with torch.no_grad():
            for parameter in module.network[9].parameters():
                parameter *= 0.05
        trainer.validate(module, loader, verbose=False)
        found[scale] = [hot(picture) for picture in Events(tmp_path / scale).pictures(TAG)]
    # the validation's event file may be read first
    assert min(found["image"]) > 100
    assert sorted(found["run"])[0] == 0
    assert sorted(found["run"])[1] > 100


def test_validation_after_a_fit_leaves_its_looks(fitted, loader, events) -> None:
    """Of other images, or of the same; what it logs goes to the same tag."""
    trainer, callback, module = fitted
    trainer.validate(module, DataLoader(make_pairs(seed=9), 8), verbose=False)
    assert looks(callback) == [0, 1, 2]
    assert events().steps(TAG) == [0, 1, 2, 2]


def test_a_fit_that_goes_on_keeps_its_looks_and_its_images(fitted, events) -> None:
    """By the same trainer; the film strip has all of them."""
    trainer, callback, module = fitted
    before = callback._memory.probe_set
    trainer.fit_loop.max_epochs = 4
    other = DataLoader(make_pairs(seed=9), 8)
    trainer.fit(module, other, other)
    assert looks(callback) == [0, 1, 2, 3, 4]
    assert callback._memory.probe_set is before
    assert events().steps(f"{TAG}/filmstrip") == [2, 4]


def test_another_trainers_fit_begins_anew(fitted, make_trainer) -> None:
    """With the images of its own data."""
    _, callback, _ = fitted
    other = DataLoader(make_pairs(seed=9), 8)
    make_trainer(callback, max_epochs=1).fit(Classifier(), other, other)
    assert looks(callback) == [0, 1]
    assert torch.equal(callback._memory.probe_set.images, make_pairs(seed=9).tensors[0][chosen(other, 4)])


def test_another_modules_fit_begins_anew(fitted, loader) -> None:
    """Though by the same trainer, whose epochs go on."""
    trainer, callback, _ = fitted
    trainer.fit_loop.max_epochs = 4
    trainer.fit(Classifier(), loader, loader)
    assert looks(callback) == [3, 4]


def test_a_fit_from_a_checkpoint_goes_on_from_what_that_has(fitted, make_trainer, loader, tmp_path) -> None:
    """Here of a training that nobody looked at: the looks so far are of other weights."""
    trainer, callback, module = fitted
    plain = make_trainer(max_epochs=1)
    plain.fit(Classifier(), loader, loader)
    plain.save_checkpoint(tmp_path / "plain.ckpt")
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, loader, loader, ckpt_path=tmp_path / "plain.ckpt")
    assert looks(callback) == [2, 3]


def test_a_fit_behind_one_from_a_checkpoint_goes_on(make_trainer, loader, tmp_path) -> None:
    """By the same trainer, whose path to the checkpoint is of the fit before."""
    callback, module = GradCAMCallback(images=4), Classifier()
    keep = ModelCheckpoint(tmp_path / "kept", save_last=True)
    make_trainer(GradCAMCallback(images=4), keep, max_epochs=1, enable_checkpointing=True).fit(module, loader, loader)
    trainer = make_trainer(callback, max_epochs=2)
    trainer.fit(module, loader, loader, ckpt_path=tmp_path / "kept" / "last.ckpt")
    assert looks(callback) == [0, 1, 2]
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, loader, loader)
    assert looks(callback) == [0, 1, 2, 3]


def test_a_checkpoint_tells_callbacks_apart_by_what_they_look_at_and_how() -> None:
    """Images, scale, rhythm, smoothing, method, target, layer; not by how the pictures look otherwise."""
    differing = [
        {},
        {"images": 4},
        {"images": [4]},
        {"images": list(range(100))},
        {"images": list(range(1, 101))},
        {"image_key": "x"},
        {"scale": "run"},
        {"every_n_epochs": 2},
        {"aug_smooth": True},
        {"eigen_smooth": True},
        {"method": "layercam"},
        {"target": "predicted"},
        {"target": 1},
        {"target_layer": "network.0"},
    ]
    keys = [GradCAMCallback(**arguments).state_key for arguments in differing]
    assert len(set(keys)) == len(keys)
    again = [GradCAMCallback(**arguments, class_names=["a", "b", "c"], batch_size=2) for arguments in differing]
    assert [callback.state_key for callback in again] == keys


def test_other_tensors_than_the_checkpoints_are_told_by_their_pixels(make_trainer, loader, tmp_path, caplog) -> None:
    """Though as many and as large: no heat of other images is joined to theirs."""
    keep = ModelCheckpoint(tmp_path, save_last=True)
    pairs, others = make_pairs().tensors[0][:4], make_pairs(seed=9).tensors[0][:4]
    make_trainer(GradCAMCallback(images=pairs), keep, enable_checkpointing=True).fit(Classifier(), loader, loader)
    resumed = GradCAMCallback(images=others)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        trainer = make_trainer(resumed, max_epochs=3)
        trainer.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "last.ckpt")
    assert looks(resumed) == [3]
    [told] = [record.message for record in caplog.records if "the checkpoint's" in record.message]
    other = r"images='tensor (\w+)' \(now 'tensor (?!\1)\w+'\)"
    assert re.fullmatch(f"the checkpoint's GradCAMCallback has {other}: the resumed run begins anew", told)


def test_keys_that_a_checkpoint_knows_nothing_of_are_read(make_trainer, tmp_path, caplog) -> None:
    """A mask that is asked for at the resume is not passed over for the images that are there already."""
    pairs = make_pairs()
    masked = DataLoader(TensorDataset(*pairs.tensors, torch.ones(24, 16, 16, dtype=torch.bool)), 8)
    trainer = make_trainer(GradCAMCallback(images=2), max_epochs=1)
    trainer.fit(Classifier(), DataLoader(pairs, 8), DataLoader(pairs, 8))
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    resumed = GradCAMCallback(images=2, mask_key=2)
    trainer = make_trainer(resumed)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        trainer.fit(Classifier(), masked, masked, ckpt_path=tmp_path / "plain.ckpt")
    assert trainer.callback_metrics[f"{TAG}/in_mask"] == pytest.approx(1)
    told = "the checkpoint's GradCAMCallback has images='2' (now '2, mask_key=2'): the resumed run begins anew"
    assert told in [record.message for record in caplog.records]


def test_a_checkpoint_of_another_version_is_left_aside_and_told(make_trainer, loader, tmp_path, caplog, fitted) -> None:
    """The run begins anew."""
    trainer, _, _ = fitted
    trainer.save_checkpoint(tmp_path / "old.ckpt")
    old = torch.load(tmp_path / "old.ckpt", weights_only=True)
    state = next(state for key, state in old["callbacks"].items() if "GradCAMCallback" in key)
    state.clear()  # as versions that had the images and all maps in it wrote it
    state.update({"images": "4", "from_scratch": False, "probe": {"images": torch.ones(4, 3, 16, 16)}, "histories": {}})
    torch.save(old, tmp_path / "old.ckpt")
    resumed = GradCAMCallback(images=4)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        trainer = make_trainer(resumed, max_epochs=3)
        trainer.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "old.ckpt")
    assert looks(resumed) == [3]
    assert any("cannot be read" in record.message for record in caplog.records)


def test_a_checkpoint_without_looks_is_read_in_silence(make_trainer, loader, tmp_path, caplog) -> None:
    """Saved by a run that had no picture of its own yet; the resumed one has its looks."""
    trainer = make_trainer(
        GradCAMCallback(images=4, every_n_epochs=2, output=lambda model, images: 1 // 0), max_epochs=1
    )
    with pytest.warns(UserWarning, match="ZeroDivisionError"):
        trainer.fit(Classifier(), loader, loader)
    trainer.save_checkpoint(tmp_path / "blind.ckpt")
    assert state_in(tmp_path / "blind.ckpt")["seen"] is None
    resumed = GradCAMCallback(images=4, every_n_epochs=2)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        make_trainer(resumed, max_epochs=2).fit(Classifier(), loader, loader, ckpt_path=tmp_path / "blind.ckpt")
    assert looks(resumed) == [2]
    assert not any(record.name.startswith("lightning_gradcam") for record in caplog.records)


def test_nothing_of_the_model_or_the_trainer_outlives_the_fit(fitted) -> None:
    """Only what a checkpoint has."""
    _, callback, _ = fitted
    assert callback._fit is None
    assert callback._evaluation is None


def test_a_copy_made_in_mid_run_has_the_arguments_alone(make_trainer, loader) -> None:
    """No thread, file or trainer comes along; and it works."""
    copies = []

    class Copying(Classifier):
        def on_train_epoch_start(self) -> None:
            copies.append(pickle.loads(pickle.dumps(watching)))
            copies.append(copy.deepcopy(watching))

    watching = GradCAMCallback(images=2)
    make_trainer(watching, max_epochs=1).fit(Copying(), loader, loader)
    for one in copies:
        make_trainer(one, max_epochs=1).fit(Classifier(), loader, loader)
        assert looks(one) == [0, 1]


def test_a_pixel_that_is_no_number_is_the_same_pixel(make_trainer, loader) -> None:
    """A fit's looks are of one set of images, though NaN is not equal to itself."""
    images = torch.rand(2, 3, 16, 16)
    images[0, 0, 0, 0] = torch.nan
    callback = GradCAMCallback(images=images)
    make_trainer(callback, max_epochs=3).fit(Classifier(), loader, loader)
    assert callback._memory.looks == 4


def test_whether_training_began_from_scratch_is_remembered() -> None:
    """In an evaluation between, and in a checkpoint; not of another one, nor of a version that did not know."""
    memory = Memory("asked")
    memory.from_scratch = True
    assert memory.branch().from_scratch
    assert memory.state_dict()["from_scratch"]
    memory.begin_from("key", {})
    assert not memory.from_scratch


def resume(make_trainer, loader, path, callback: GradCAMCallback | None = None, **options: object) -> GradCAMCallback:
    callback = callback or GradCAMCallback(images=4)
    make_trainer(callback, **{"max_epochs": 4, **options}).fit(Classifier(), loader, loader, ckpt_path=path)
    return callback


def test_a_checkpoint_is_small_whatever_was_seen(make_trainer, tmp_path) -> None:
    """Two hundred images of 64x64, whose float32 alone is 9.8 MB, and two looks or nine: the same 4 kB."""
    loader = DataLoader(make_pairs(200, size=64), 50)
    sizes = []
    for epochs in (1, 8):
        callback = GradCAMCallback(images=200)
        make_trainer(callback, limit_train_batches=1, max_epochs=epochs).fit(Classifier(), loader, loader)
        torch.save(callback.state_dict(), tmp_path / "state")
        sizes.append((tmp_path / "state").stat().st_size)
    assert max(sizes) < 4000
    assert sizes[1] - sizes[0] < 300  # the ids of eight looks, and no more of eight thousand
    assert len(GradCAMCallback(images=list(range(20_000))).state_key) < 1000


def test_a_resumed_run_has_the_maps_that_were_logged(fitted, make_trainer, loader, tmp_path) -> None:
    """Bit for bit as they were kept, peaks too, so that drift and film go on; in the same folder or in another."""
    trainer, callback, _ = fitted
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    before = callback._memory.histories[TAG]
    for logger in (None, TensorBoardLogger(tmp_path, name="", version="another")):
        options = {} if logger is None else {"logger": logger}
        history = resume(make_trainer, loader, tmp_path / "at 2.ckpt", **options)._memory.histories[TAG]
        assert [look.step for look in history.looks] == [0, 1, 2, 3, 4]
        for mine, theirs in zip(history.looks, before.looks, strict=False):
            for name in ("maps", "states", "scores", "predictions", "targets", "peaks"):
                assert torch.equal(getattr(mine, name), getattr(theirs, name)), name


def test_a_run_that_is_resumed_twice_has_the_looks_of_all_three(fitted, make_trainer, loader, tmp_path) -> None:
    """Each in a folder of its own; what the first saw behind the checkpoint is taken back."""
    trainer, _, module = fitted
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, loader, loader)
    for number, epochs in (("second", 4), ("third", 5)):
        callback = GradCAMCallback(images=4)
        logger = TensorBoardLogger(tmp_path, name="", version=number)
        keep = ModelCheckpoint(tmp_path / number, save_last=True)
        again = make_trainer(callback, keep, max_epochs=epochs, logger=logger, enable_checkpointing=True)
        path = tmp_path / ("at 2.ckpt" if number == "second" else "second/last.ckpt")
        again.fit(Classifier(), loader, loader, ckpt_path=path)
    assert looks(callback) == [0, 1, 2, 3, 4, 5]
    assert callback.state_dict()["seen"]["folders"] == [str(tmp_path / name) for name in ("run", "second", "third")]


def test_a_log_that_is_gone_is_told(fitted, make_trainer, loader, tmp_path, caplog) -> None:
    """With its folder; the resumed run begins its film anew, and does not stop."""
    trainer, _, _ = fitted
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    (tmp_path / "run").rename(tmp_path / "moved")
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        resumed = resume(make_trainer, loader, tmp_path / "at 2.ckpt")
    assert looks(resumed) == [3, 4]
    (told,) = [record.getMessage() for record in caplog.records if "go on from what is there" in record.getMessage()]
    assert f"3 of 3 looks at {TAG} are in none of the logs {tmp_path / 'run'}" in told


def test_other_data_than_the_checkpoints_are_told(fitted, make_trainer, tmp_path, caplog) -> None:
    """The images at its places are other ones."""
    trainer, _, _ = fitted
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    other = DataLoader(make_pairs(seed=9), 8)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        resumed = resume(make_trainer, other, tmp_path / "at 2.ckpt")
    assert looks(resumed) == [3, 4]
    assert any("other ones than the checkpoint's" in record.message for record in caplog.records)


def test_a_resumed_run_looks_at_the_same_places(fitted, make_trainer, loader, tmp_path) -> None:
    """Though its validation reads fewer, of which others would be chosen; where data have no such places, at others."""
    trainer, callback, _ = fitted
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    resumed = resume(make_trainer, loader, tmp_path / "at 2.ckpt", limit_val_batches=1)
    assert resumed._memory.probe_set.indices.tolist() == callback._memory.probe_set.indices.tolist()
    assert looks(resumed) == [0, 1, 2, 3, 4]
    few = DataLoader(TensorDataset(*make_pairs(8).tensors), 8)
    assert looks(resume(make_trainer, few, tmp_path / "at 2.ckpt")) == [3, 4]


def test_a_checkpoint_that_is_saved_before_the_first_look_hands_on_what_it_was_given(
    fitted, make_trainer, loader, tmp_path
) -> None:
    """A run that was resumed, and saved at once, is resumed again."""
    trainer, _, _ = fitted
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    state = state_in(tmp_path / "at 2.ckpt")
    callback = GradCAMCallback(images=4)
    callback.load_state_dict(state)
    again = callback.state_dict()
    assert again["seen"].pop("indices").tolist() == state["seen"].pop("indices").tolist()
    assert again == state


@pytest.mark.parametrize("seed", [None, 9], ids=["from a checkpoint", "from scratch"])
def test_a_branch_in_the_same_folder_is_not_this_runs(make_trainer, loader, tmp_path, seed) -> None:
    """Another training that went elsewhere, in the same event files: its looks are none of this one's."""
    keep = ModelCheckpoint(tmp_path / "kept", filename="{epoch}", save_top_k=-1)
    first = GradCAMCallback(images=4)
    torch.manual_seed(0)
    make_trainer(first, keep, max_epochs=4, enable_checkpointing=True).fit(Classifier(), loader, loader)
    torch.manual_seed(seed or 0)
    path = None if seed else tmp_path / "kept" / "epoch=1.ckpt"
    make_trainer(GradCAMCallback(images=4), max_epochs=6).fit(Classifier(lr=0.5), loader, loader, ckpt_path=path)
    resumed = resume(make_trainer, loader, tmp_path / "kept" / "epoch=3.ckpt", max_epochs=5)
    history = resumed._memory.histories[TAG]
    assert [look.step for look in history.looks] == [0, 1, 2, 3, 4, 5]
    mine, theirs = first._memory.histories[TAG], history.looks[:5]
    assert [look.id for look in theirs] == [look.id for look in mine.looks]
    assert torch.equal(history.first.maps, mine.first.maps)


def test_a_run_is_told_from_one_that_saw_the_very_same(make_trainer, loader, tmp_path) -> None:
    """Two fits of one seed, the first of which is gone on from: its looks are, with the numbers that it alone has."""
    for name, trust in (("b first", True), ("a other", False)):
        torch.manual_seed(0)
        logger = TensorBoardLogger(tmp_path / "logs", name="", version=name)
        trainer = make_trainer(GradCAMCallback(images=4, trust=trust), max_epochs=2, logger=logger)
        trainer.fit(Classifier(), loader, loader)
        if trust:
            trainer.save_checkpoint(tmp_path / "two.ckpt")
    logger = TensorBoardLogger(tmp_path / "logs", name="", version="c second")
    callback = GradCAMCallback(images=4, trust=True)
    resume(make_trainer, loader, tmp_path / "two.ckpt", callback, max_epochs=3, logger=logger)
    log = read_log(tmp_path / "logs")
    assert (log.of("a other").maps == log.of("b first").maps).all()
    assert "goes on from run 'b first', at 2" in log.of("c second").notes[0]
    whole = log.with_earlier().of("c second").mean("faithfulness")
    assert whole[:3].tolist() == log.of("b first").mean("faithfulness").tolist()
    assert np.isfinite(whole).all()


@pytest.mark.parametrize("again", ["resume", "fit"])
def test_a_method_that_nobody_named_stays_what_it_was(make_trainer, loader, tmp_path, again) -> None:
    """A last norm has maps without a value below 0 before training, and with some after it: a run is one line."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    module, callback = Classifier(nn.Sequential(*layers, nn.Linear(8, 3))), GradCAMCallback(images=4)
    trainer = make_trainer(callback, max_epochs=2)
    trainer.fit(module, loader, loader)
    with torch.no_grad():
        module.network[2].bias -= 0.5  # as training does
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    trainer.fit_loop.max_epochs = 3
    if again == "resume":
        trainer = make_trainer(GradCAMCallback(images=4), max_epochs=3)
    trainer.fit(module, loader, loader, ckpt_path=tmp_path / "two.ckpt" if again == "resume" else None)
    log = read_log(tmp_path / "run")
    assert (log.steps.tolist(), log.notes) == ([0, 1, 2, 3], ())
    assert "  ·  gradcam  ·  " in log.about
    logger = TensorBoardLogger(tmp_path, name="", version="alone")
    make_trainer(GradCAMCallback(images=4), max_epochs=1, logger=logger).fit(module, loader, loader)
    assert "gradcam_elementwise" in read_log(tmp_path / "alone").about  # what would be chosen anew


def test_a_checkpoint_of_before_training_leaves_learned(make_trainer, loader, tmp_path, caplog) -> None:
    """The resumed run's first look is at step 0 again, whatever became of the log."""
    save = lambda trainer, module: trainer.save_checkpoint(tmp_path / "start.ckpt")  # noqa: E731
    first = make_trainer(GradCAMCallback(images=4, trust=True), LambdaCallback(on_train_start=save), max_epochs=1)
    first.fit(Classifier(), loader, loader)
    (tmp_path / "run").rename(tmp_path / "gone")
    callback = GradCAMCallback(images=4, trust=True)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        trainer = make_trainer(callback, max_epochs=1)
        trainer.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "start.ckpt")
    assert looks(callback) == [0, 1]
    assert f"{TAG}/learned" in trainer.callback_metrics
    assert "`learned` is not logged" not in caplog.text


def test_a_lost_beginning_is_told(make_trainer, loader, tmp_path, caplog) -> None:
    """Of three runs the first's folder: the others' looks are there, and `learned` has nothing to go by."""
    paths = []
    for number, epochs in (("first", 2), ("second", 4)):
        keep = ModelCheckpoint(tmp_path / f"kept {number}", save_last=True)
        logger = TensorBoardLogger(tmp_path, name="", version=number)
        trainer = make_trainer(
            GradCAMCallback(images=4, trust=True), keep, max_epochs=epochs, logger=logger, enable_checkpointing=True
        )
        trainer.fit(Classifier(), loader, loader, ckpt_path=paths[-1] if paths else None)
        paths.append(tmp_path / f"kept {number}" / "last.ckpt")
    (tmp_path / "first").rename(tmp_path / "gone")
    logger = TensorBoardLogger(tmp_path, name="", version="third")
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        callback = GradCAMCallback(images=4, trust=True)
        resumed = resume(make_trainer, loader, paths[-1], callback, max_epochs=5, logger=logger)
    assert looks(resumed) == [3, 4, 5]
    told = " ".join(record.getMessage() for record in caplog.records)
    assert f"3 of 5 looks at {TAG} are in none of the logs" in told
    assert str(tmp_path / "first") in told
    assert "`learned` is not logged" in told
    assert not resumed._memory.from_scratch


@pytest.mark.parametrize("lost", ["log", "images"])
def test_who_monitors_what_a_lost_beginning_takes_away_ends_no_run(
    make_trainer, loader, tmp_path, caplog, lost
) -> None:
    """`learned` counts as the worst there is, since who waits for it was accepted before; and it is said."""
    keep = ModelCheckpoint(tmp_path / "kept", save_last=True)
    watching = GradCAMCallback(images=4, trust=True)
    make_trainer(watching, keep, max_epochs=2, enable_checkpointing=True).fit(Classifier(), loader, loader)
    if lost == "log":
        (tmp_path / "run").rename(tmp_path / "gone")
    data = DataLoader(make_pairs(8), 4) if lost == "images" else loader
    if lost == "images":
        data.dataset.tensors[0].add_(0.5)
    stop = EarlyStopping(f"{TAG}/learned", mode="max", patience=9)
    logger = TensorBoardLogger(tmp_path, name="", version="second")
    trainer = make_trainer(GradCAMCallback(images=4, trust=True), stop, max_epochs=4, logger=logger)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        trainer.fit(Classifier(), loader, data, ckpt_path=tmp_path / "kept" / "last.ckpt")
    assert trainer.current_epoch == 4
    assert float(stop.best_score) == -torch.finfo(torch.float32).max
    assert "`learned` is not logged" in caplog.text


def test_a_look_that_was_not_written_costs_itself_alone(make_trainer, loader, tmp_path, monkeypatch, caplog) -> None:
    """On a full disk, say, right before the checkpoint."""
    written = Written.write_data

    def full(self, tag: str, parts: list[bytes], step: int) -> None:
        if step == 2 and tag.endswith("/maps"):
            raise OSError(28, "No space left on device")
        written(self, tag, parts, step)

    monkeypatch.setattr(Written, "write_data", full)
    callback = GradCAMCallback(images=4)
    trainer = make_trainer(callback, max_epochs=2)
    with pytest.warns(UserWarning, match="No space left"):
        trainer.fit(Classifier(), loader, loader)
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        resumed = resume(make_trainer, loader, tmp_path / "at 2.ckpt")
    assert looks(resumed) == [0, 1, 3, 4]
    assert any(f"1 of 3 looks at {TAG} are in none of the logs" in record.getMessage() for record in caplog.records)


def test_a_clock_that_goes_back_loses_nothing(fitted, make_trainer, loader, tmp_path, monkeypatch) -> None:
    """The resumed run writes as if a day before."""
    trainer, _, _ = fitted
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    now = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() - 86_400)
        keep = ModelCheckpoint(tmp_path / "kept", save_last=True)
        again = GradCAMCallback(images=4)
        options = {"max_epochs": 4, "enable_checkpointing": True}
        make_trainer(again, keep, **options).fit(Classifier(), loader, loader, ckpt_path=tmp_path / "at 2.ckpt")
    assert looks(resume(make_trainer, loader, tmp_path / "kept" / "last.ckpt", max_epochs=5)) == [0, 1, 2, 3, 4, 5]


def test_a_named_callback_is_called_the_same_after_a_resume(make_trainer, loader, tmp_path) -> None:
    """By its layer, as before."""
    trainer = make_trainer(GradCAMCallback(images=4, name="one"), max_epochs=2)
    trainer.fit(Classifier(), loader, loader)
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    resumed = resume(make_trainer, loader, tmp_path / "at 2.ckpt", GradCAMCallback(images=4, name="one"))
    (history,) = resumed._memory.histories.values()
    assert (history.layer, [look.step for look in history.looks]) == ("network.6", [0, 1, 2, 3, 4])


@pytest.mark.parametrize("indices", [torch.rand(4), torch.zeros(2, 2).long()], ids=["shares", "a table"])
def test_places_that_can_be_none_cost_no_look(fitted, make_trainer, loader, tmp_path, caplog, indices) -> None:
    """Of a checkpoint that is not as it was written; the run begins anew."""
    trainer, _, _ = fitted
    trainer.save_checkpoint(tmp_path / "at 2.ckpt")
    broken = torch.load(tmp_path / "at 2.ckpt", weights_only=True)
    next(state for key, state in broken["callbacks"].items() if "GradCAM" in key)["seen"]["indices"] = indices
    torch.save(broken, tmp_path / "broken.ckpt")
    callback = GradCAMCallback(images=4)
    with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
        make_trainer(callback, max_epochs=3).fit(Classifier(), loader, loader, ckpt_path=tmp_path / "broken.ckpt")
    assert looks(callback) == [3]
    assert "cannot be read" in caplog.text


def test_a_checkpoint_has_the_last_looks_numbers(fitted, make_trainer, loader, tmp_path) -> None:
    """Which a resumed run holds until its next look; a checkpoint of another callback's has none of them."""
    _, callback, _ = fitted
    numbers = callback.state_dict()["numbers"]
    logged = scalars(tmp_path / "run")
    last = {name: logged[name][-1] for name in numbers if name.startswith(TAG)}
    assert {f"{TAG}/drift", f"{TAG}/focus"} <= last.keys()
    assert {name: numbers[name] for name in last} == pytest.approx(last)
    callback._memory.begin_from(callback.state_key, {"GradCAMCallback{'other': 1}": {}})
    assert callback.state_dict()["numbers"] == {}
    assert callback.state_dict()["method"] is None


def test_of_many_folders_the_first_and_the_last_are_named() -> None:
    """The first has the film's beginning."""
    memory = Memory("asked")
    memory.probe_set = ProbeSet(torch.rand(2, 3, 4, 4))
    memory._folders = [str(place) for place in range(40)]
    assert memory.state_dict()["seen"]["folders"] == ["0", *map(str, range(10, 40))]


def test_places_of_any_size_are_in_a_checkpoint() -> None:
    """Data sets may have more than two billion items; nothing that is saved ends a training."""
    memory = Memory("asked")
    memory.probe_set = ProbeSet(torch.rand(2, 3, 4, 4), indices=torch.tensor([3_000_000_000, 5]))
    assert memory.state_dict()["seen"]["indices"].tolist() == [3_000_000_000, 5]
