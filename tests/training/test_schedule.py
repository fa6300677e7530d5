"""When a fit is looked at, and what its steps are counted in."""

import itertools
from datetime import timedelta

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, IterableDataset

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.training.schedule import schedule_of

from ..conftest import Classifier, make_pairs

TAG = "gradcam/network.6"


class Endless(IterableDataset):
    def __iter__(self):
        return itertools.cycle(make_pairs())


def logged(folder) -> dict[str, list[int]]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    return {
        "pictures": [one.step for one in events.Images(TAG)],
        "numbers": [one.step for one in events.Scalars(f"{TAG}/focus")] if f"{TAG}/focus" in tags["scalars"] else [],
        "maps": [one.step for one in events.Tensors(f"{TAG}/maps")],
        "film": [one.step for one in events.Images(f"{TAG}/filmstrip")],
    }


class Asked(Callback):
    """What another callback finds when it asks for a number."""

    def __init__(self) -> None:
        self.found: list[tuple[int, float]] = []

    def on_validation_end(self, trainer, pl_module) -> None:
        if not trainer.sanity_checking:
            self.found.append((trainer.global_step, float(trainer.callback_metrics[f"{TAG}/focus"])))


def test_looks_by_steps(make_trainer, loader, tmp_path) -> None:
    """200 steps, each 50th: pictures, numbers and maps at 0, 50, 100, 150, 200, and checkpoints by them."""
    saving = ModelCheckpoint(tmp_path / "kept", "{step}", monitor=f"{TAG}/focus", save_top_k=-1, every_n_train_steps=50)
    asked = Asked()
    trainer = make_trainer(
        *(GradCAMCallback(images=4, every_n_train_steps=50), asked, saving),
        max_epochs=-1,
        max_steps=200,
        val_check_interval=25,
        check_val_every_n_epoch=None,
        enable_checkpointing=True,
    )
    trainer.fit(Classifier(), loader, loader)
    found = logged(tmp_path / "run")
    assert found["pictures"] == found["numbers"] == found["maps"] == [0, 50, 100, 150, 200]
    assert found["film"] == [200]
    assert sorted(int(one.stem.split("=")[1]) for one in (tmp_path / "kept").iterdir()) == [50, 100, 150, 200]
    assert [step for step, _ in asked.found] == list(range(25, 201, 25))
    values = dict(asked.found)
    assert values[75] == values[50] != values[100]


def test_a_resumed_run_goes_on_by_its_steps(make_trainer, loader, tmp_path) -> None:
    """Resumed at 120 it goes on at 150, and its film strip has the looks before."""
    callback = lambda: GradCAMCallback(images=4, every_n_train_steps=50)  # noqa: E731
    first = make_trainer(callback(), max_epochs=-1, max_steps=120)
    first.fit(Classifier(), loader, loader)
    first.save_checkpoint(tmp_path / "half.ckpt")
    second = callback()
    make_trainer(second, max_epochs=-1, max_steps=200).fit(
        Classifier(), loader, loader, ckpt_path=tmp_path / "half.ckpt"
    )
    assert torch.load(tmp_path / "half.ckpt", weights_only=True)["callbacks"]
    assert logged(tmp_path / "run")["pictures"] == [0, 50, 100, 150, 200]
    assert [look.step for look in second._memory.histories[TAG].looks] == [0, 50, 100, 150, 200]


@pytest.mark.parametrize(
    ("data", "options", "steps"),
    [
        ("endless", {"max_steps": 60, "val_check_interval": 20}, [0, 20, 40, 60]),
        (
            "endless",
            {"max_steps": 60, "val_check_interval": 20, "accumulate_grad_batches": 2},
            [0, 10, 20, 30, 40, 50, 60],
        ),
        ("long", {"max_epochs": 1, "val_check_interval": 0.25}, [0, 3, 6, 9, 12]),
        ("long", {"max_steps": 9, "val_check_interval": 3}, [0, 3, 6, 9]),
        ("long", {"max_epochs": 2, "val_check_interval": 0.5}, [0, 1, 2]),
        ("long", {"max_epochs": 1}, [0, 1]),
    ],
)
def test_a_training_without_ends_of_epochs_is_looked_at_after_each_validation(
    data, options, steps, make_trainer, loader, tmp_path
) -> None:
    """Endless data, one long epoch; not twice in all. Others by their epochs."""
    training = DataLoader(Endless(), 8) if data == "endless" else DataLoader(make_pairs(96), 8)
    options = {"max_epochs": -1, **options} if "max_steps" in options else options
    by_epochs = steps == list(range(len(steps)))
    stopping = EarlyStopping(f"{TAG}/focus", patience=99, check_on_train_epoch_end=by_epochs)
    make_trainer(GradCAMCallback(images=4), stopping, **options).fit(Classifier(), training, loader)
    found = logged(tmp_path / "run")
    assert found["pictures"] == found["maps"] == steps
    assert stopping.best_score != torch.inf


@pytest.mark.parametrize(("number", "every"), [("drift", 5), ("focus", 7)])
def test_between_looks_by_steps_who_waits_for_a_number_ends_no_run(
    make_trainer, loader, tmp_path, number, every
) -> None:
    """It is given the last one, also after a resume, and the worst before there is one: an epoch has three steps."""
    told: list[float] = []

    class Stopping(EarlyStopping):
        def _run_early_stopping_check(self, trainer) -> None:
            told.append(float(trainer.callback_metrics[self.monitor]))
            super()._run_early_stopping_check(trainer)

    def watchers():
        stop = Stopping(f"{TAG}/{number}", patience=99, check_on_train_epoch_end=True)
        return GradCAMCallback(images=4, every_n_train_steps=every), stop

    make_trainer(*watchers(), max_epochs=6).fit(Classifier(), loader, loader)
    whole, told[:] = list(told), []
    first = make_trainer(*watchers(), max_epochs=1)
    first.fit(Classifier(), loader, loader)
    first.save_checkpoint(tmp_path / "one.ckpt")
    make_trainer(*watchers(), max_epochs=6).fit(Classifier(), loader, loader, ckpt_path=tmp_path / "one.ckpt")
    worst = torch.finfo(torch.float32).max
    expected = [number == "drift", *[False] * 5]
    assert [one == worst for one in whole] == [one == worst for one in told] == expected
    if number == "focus":  # of step 0 until the look at step 7
        assert whole[0] == whole[1] != whole[2]
        assert told[0] == told[1] != told[2]


def test_who_does_not_insist_is_given_no_number_before_there_is_one(make_trainer, loader, caplog) -> None:
    """The worst there is would use up its patience; who insists is given that, and it is told."""
    stopped = {}
    for strict in (False, True):
        stop = EarlyStopping(f"{TAG}/drift", patience=2, strict=strict, check_on_train_epoch_end=True)
        watching = GradCAMCallback(images=4, every_n_train_steps=14)  # an epoch has three steps
        caplog.clear()
        with caplog.at_level("WARNING", logger="lightning_gradcam"):
            trainer = make_trainer(watching, stop, max_epochs=6)
            trainer.fit(Classifier(), loader, loader)
        stopped[strict] = trainer.current_epoch
        assert ("no look had such a number yet; it counts as the worst there is" in caplog.text) == strict
    assert stopped == {False: 6, True: 3}


def test_a_callback_that_cannot_look_says_nothing_of_anothers_number(make_trainer, loader) -> None:
    """Whichever stands in front."""

    def broken(model, images):
        raise RuntimeError("mine")

    for first, second in (("a", "b"), (None, "b")):
        stop = EarlyStopping(f"gradcam/{second}/network.6/border", patience=9)
        lame = GradCAMCallback(images=4, name=first, every_n_train_steps=50, output=broken)
        watching = GradCAMCallback(images=4, name=second, every_n_train_steps=10)
        with pytest.warns(UserWarning, match="mine"):
            make_trainer(lame, watching, stop, max_epochs=2).fit(Classifier(), loader, loader)
        assert 0 <= float(stop.best_score) <= 1


def test_who_asks_after_epochs_is_told_of_no_worst_before(make_trainer, loader, caplog) -> None:
    """`drift` is there by the first epoch's end, of looks by epochs; nothing is said of what nobody asks for."""
    stop = EarlyStopping(f"{TAG}/drift", patience=9, check_on_train_epoch_end=True)
    with caplog.at_level("WARNING", logger="lightning_gradcam"):
        make_trainer(GradCAMCallback(images=4), stop, max_epochs=2).fit(Classifier(), loader, loader)
    assert "counts as the worst" not in caplog.text
    assert 0 <= float(stop.best_score) <= 1


def test_who_asks_after_each_step_finds_the_last_number(make_trainer, loader) -> None:
    """A scheduler that steps with the optimizer, in the fit as in a dry run; looks are rarer, or each epoch."""

    class Plateau(Classifier):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            each = {"scheduler": scheduler, "monitor": f"{TAG}/focus", "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": each}

    for options in ({"every_n_train_steps": 2}, {}):
        for fit in ({"max_epochs": 2}, {"fast_dev_run": True}):
            module = Plateau()
            make_trainer(GradCAMCallback(images=4, **options), **fit).fit(module, loader, loader)
            best = module.lr_schedulers().best
            assert best == torch.finfo(torch.float32).max or 0 <= best <= 1
            assert (best <= 1) == ("max_epochs" in fit)


def test_a_training_that_ends_by_the_clock_is_looked_at_after_each_validation(make_trainer, loader, tmp_path) -> None:
    """Of endless data."""
    options = {"max_epochs": -1, "max_time": timedelta(seconds=2), "val_check_interval": 10}
    make_trainer(GradCAMCallback(images=4), **options).fit(Classifier(), DataLoader(Endless(), 8), loader)
    steps = logged(tmp_path / "run")["pictures"]
    assert len(steps) > 2
    assert steps[:-1] == list(range(0, steps[-1], 10))  # and when the time was over, where it was validated too


def test_captions_say_steps(make_trainer, loader, tmp_path, monkeypatch) -> None:
    """In the grid's header, in the film strip's, and in the tab's data."""
    from lightning_gradcam.pictures.page import Header

    headers: list[str] = []
    draw = Header.draw
    monkeypatch.setattr(Header, "draw", lambda *args: (headers.extend([args[0].about, *args[3]]), draw(*args))[1])
    trainer = make_trainer(GradCAMCallback(images=4, every_n_train_steps=3), max_epochs=2)
    trainer.fit(Classifier(), loader, loader)
    said = "  ·  ".join(headers)
    assert "steps 0 to 6" in said
    assert {"step 0", "step 3", "step 6"} <= set("  ·  ".join(headers).split("  ·  "))
    assert "epoch" not in said
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0})
    events.Reload()
    assert b'"unit":"step"' in events.Tensors("gradcam/probe")[0].tensor_proto.string_val[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_train_steps": 0}, "every_n_train_steps=0; accepted is 1 or more"),
        (
            {"every_n_train_steps": 2, "every_n_epochs": 3},
            "every_n_epochs=3 and every_n_train_steps=2: accepted is one",
        ),
    ],
)
def test_wrong_schedules_are_refused(arguments, message) -> None:
    """At once."""
    with pytest.raises(ValueError, match=message):
        GradCAMCallback(**arguments)


SCHEDULES = {
    "ends of epochs": ({"max_epochs": 3}, (1, None), ("epoch", 1)),
    "one epoch, validated within": ({"max_epochs": 1, "val_check_interval": 1}, (1, None), ("validation", 1)),
    "one epoch, validated at its end": ({"max_epochs": 1}, (1, None), ("epoch", 1)),
    "an epoch is all there is": ({"max_steps": 3, "val_check_interval": 1}, (1, None), ("validation", 1)),
    "a step more": ({"max_steps": 4, "val_check_interval": 1}, (1, None), ("epoch", 1)),
    "accumulated, the epoch has one step": (
        {"max_steps": 2, "accumulate_grad_batches": 3, "val_check_interval": 1},
        *((1, None), ("epoch", 1)),
    ),
    "asked by epochs": ({"max_epochs": 1, "val_check_interval": 1}, (2, None), ("epoch", 2)),
    "asked by steps": ({"max_epochs": 3}, (1, 5), ("step", 5)),
}


@pytest.mark.parametrize(("options", "asked", "expected"), SCHEDULES.values(), ids=SCHEDULES)
def test_when(make_trainer, loader, options, asked, expected) -> None:
    """Three batches an epoch."""
    found = []

    class Asking(Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            found.append(schedule_of(trainer, *asked))
            trainer.should_stop = True

    make_trainer(Asking(), **{"max_epochs": -1 if "max_steps" in options else 1, **options}).fit(
        Classifier(), loader, loader
    )
    assert (found[0].by, found[0].every) == expected
