"""Each number against a closed form on maps made by hand, and on a real fit."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

from lightning_gradcam import GradCAMCallback, read_log
from lightning_gradcam.cam.maps import Cams, divided
from lightning_gradcam.cam.states import BLANK as BLANK_MAP
from lightning_gradcam.cam.states import NOT_FINITE, SHOWN
from lightning_gradcam.command import main
from lightning_gradcam.errors import SettingError
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import METRICS, View, means, measure

from ..conftest import Classifier, scalars

LAYER = "gradcam/network.6"


def point(row: int, column: int, side: int = 10) -> torch.Tensor:
    one = torch.zeros(side, side)
    one[row, column] = 1
    return one


def view(*maps: torch.Tensor, previous=None, masks=None, peaks=None) -> View:
    stacked = torch.stack(maps)[:, None]
    before = None if previous is None else torch.stack(previous)[:, None]
    found = divided(stacked)[1] if peaks is None else torch.tensor(peaks)[:, None]
    things = None if masks is None else masks[:, None]
    return View(stacked, states_of(found), stacked, before, found, things)


def _state(peak: float) -> int:
    return (SHOWN if peak > 0 else BLANK_MAP) if math.isfinite(peak) else NOT_FINITE


def states_of(peaks: torch.Tensor) -> torch.Tensor:
    return torch.tensor([[_state(float(one)) for one in row] for row in peaks])


UNIFORM, BLANK = torch.ones(10, 10), torch.zeros(10, 10)


def test_focus_of_a_point_a_uniform_map_and_two_points() -> None:
    """1, 0, and 1 - log 2 / log 100."""
    two = point(1, 1) + point(5, 5)
    expected = [1, 0, 1 - math.log(2) / math.log(100)]
    found = measure(view(point(3, 3), UNIFORM, two))["focus"][:, 0]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)
    assert measure(view(torch.ones(1, 1)))["focus"].tolist() == [[0]]


def test_border_counts_the_outer_tenth_of_each_side() -> None:
    """A corner 1, the middle 0, a uniform map 1 - 0.8 x 0.8; of 5x5 places half of an edge's belongs to it."""
    found = measure(view(point(0, 0), point(4, 4), UNIFORM))["border"][:, 0]
    assert torch.allclose(found, torch.tensor([1, 0, 0.36]), atol=1e-6)
    coarse = measure(view(point(0, 2, 5), torch.ones(5, 5), point(0, 0, 5)))["border"][:, 0]
    assert torch.allclose(coarse, torch.tensor([0.5, 0.36, 0.75]), atol=1e-6)


def test_drift_is_one_minus_the_cosine() -> None:
    """The same map at any strength 0, a point elsewhere 1, half of the heat moved 1 - 1/sqrt 2."""
    before = [point(1, 1), point(1, 1), point(1, 1)]
    found = measure(view(point(1, 1) * 0.3, point(2, 2), point(1, 1) + point(2, 2), previous=before))["drift"][:, 0]
    assert torch.allclose(found, torch.tensor([0, 1, 1 - 1 / math.sqrt(2)]), atol=1e-6)
    assert "drift" not in measure(view(UNIFORM))


def test_heat_in_the_mask_and_the_maximum_in_it() -> None:
    """Of a uniform map the mask's area; of a point in it all; a place that the mask halves counts half."""
    mask = torch.zeros(3, 40, 40, dtype=torch.bool)  # a place is 4x4 pixels
    mask[:, :20, :20] = True
    mask[2, :, 18:] = False
    values = measure(view(UNIFORM, point(2, 2), point(0, 4), masks=mask))
    assert torch.allclose(values["in_mask"][:, 0], torch.tensor([0.25, 1, 0.5]), atol=1e-6)
    assert values["pointing"][:, 0].tolist() == [1, 1, 0]  # the middle of column 4 is pixel 18, outside


def test_heat_in_the_mask_is_of_exact_areas_where_sizes_do_not_divide() -> None:
    """12x12 places over 16x16 pixels: each pixel's heat is counted by itself, in float64."""
    generator = torch.Generator().manual_seed(0)
    maps, mask = torch.rand(12, 12, generator=generator), torch.rand(16, 16, generator=generator) < 0.4
    fine = maps.repeat_interleave(4, 0).repeat_interleave(4, 1).double()  # 48x48: places and pixels both divide
    inside = mask.repeat_interleave(3, 0).repeat_interleave(3, 1)
    found = measure(view(maps, masks=mask[None]))["in_mask"].item()
    assert found == pytest.approx(float((fine * inside).sum() / fine.sum()), abs=1e-6)


def test_pointing_is_by_the_maps_as_they_were() -> None:
    """A maximum that 8 bits do not tell from another place's counts, and so does one that 28 places would average."""
    sharp = point(3, 3) * 0.999 + point(7, 7)
    fine = torch.zeros(56, 56)
    fine[10, 10], fine[40:44, 40:44] = 1.0, 0.9
    for map_, corner in ((sharp, (20, 20)), (fine, (0, 0))):
        shown = torch.ones(1, 1)
        found = Cams(map_[None, None], shown, shown[0], shown.int(), "layer", shown)
        mask = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
        mask[..., corner[0] : corner[0] + 20, corner[1] : corner[1] + 20] = True
        assert measure(History("layer").with_look(0, found).view(found, mask))["pointing"].tolist() == [[1]]


def test_each_target_may_have_a_thing_of_its_own() -> None:
    """As the masks of several classes."""
    maps = torch.stack([point(1, 1), point(8, 8)])[None]
    masks = torch.zeros(1, 2, 10, 10, dtype=torch.bool)
    masks[0, 0, :5], masks[0, 1, :5] = True, True
    peaks = torch.ones(1, 2)
    found = measure(View(maps, states_of(peaks), maps, None, peaks, masks))
    assert found["in_mask"].tolist() == found["pointing"].tolist() == [[1, 0]]


@pytest.mark.parametrize("by_row", [True, False])
def test_pointing_asks_for_the_middle_of_a_place(by_row) -> None:
    """Of place 2 of 10, pixels 8 to 11 of 40, that is pixel 10: neither its first pixel nor its last."""
    masks = torch.zeros(3, 40, 40, dtype=torch.bool)
    masks[0, 10], masks[1, 8:10], masks[2, 11:] = True, True, True
    hot = point(2, 6)
    found = measure(view(*[hot if by_row else hot.T] * 3, masks=masks if by_row else masks.mT))["pointing"]
    assert found[:, 0].tolist() == [1, 0, 0]


def test_a_mean_is_of_finite_numbers_alone() -> None:
    """A map in half precision may have an infinite peak; of none but such there is no mean."""
    values = {"peak": torch.tensor([[1.0], [torch.inf], [3.0], [torch.nan], [-torch.inf]])}
    assert means(values) == {"peak": 2}
    assert means({"peak": torch.tensor([[torch.inf]])}) == {}


def test_blank_maps_are_counted_and_left_out_of_the_means() -> None:
    """With none left nothing is said but that all are blank."""
    some = measure(view(point(0, 0), BLANK, peaks=[0.2, 0.0], masks=torch.ones(2, 20, 20, dtype=torch.bool)))
    told = means(some)
    assert told["focus"] == pytest.approx(1)
    assert told["border"] == pytest.approx(1)
    assert told["peak"] == pytest.approx(0.2)
    assert told["blank"] == 0.5
    assert told["in_mask"] == told["pointing"] == 1
    assert means(measure(view(BLANK, previous=[UNIFORM]))) == {"blank": 1, "not_finite": 0}


def test_maps_that_are_not_finite_are_told_apart_from_blank_ones() -> None:
    """Neither has any other number."""
    values = measure(view(point(0, 0), BLANK, BLANK, BLANK, peaks=[0.2, 0.0, math.nan, math.inf]))
    assert values["blank"][:, 0].tolist() == [0, 1, 0, 0]
    assert values["not_finite"][:, 0].tolist() == [0, 0, 1, 1]
    assert means(values) == pytest.approx({"focus": 1, "border": 1, "peak": 0.2, "blank": 0.25, "not_finite": 0.5})


def test_all_but_peak_lie_in_0_to_1() -> None:
    """On random maps, sparse and dense, of odd sizes."""
    generator = torch.Generator().manual_seed(0)
    for h, w in ((1, 1), (1, 7), (7, 7), (14, 9), (28, 28)):
        maps = torch.rand(50, 2, h, w, generator=generator) ** torch.randint(1, 9, (50, 1, 1, 1), generator=generator)
        masks = torch.rand(50, 32, 48, generator=generator) < 0.3
        peaks = maps.amax((2, 3))
        values = measure(View(maps, states_of(peaks), maps, maps.flip(0), peaks, masks[:, None]))
        assert set(values) == set(METRICS) - {"faithfulness", "class_sensitivity", "learned"}
        del values["lift"]  # over chance, without a bound
        assert all(bool(((value >= 0) & (value <= 1)).all()) for value in values.values())


def with_masks(pairs: TensorDataset) -> DataLoader:
    images, labels = pairs.tensors
    masks = torch.zeros(len(images), 16, 16, dtype=torch.bool)
    masks[:, :8] = True
    return DataLoader(TensorDataset(images, labels, masks), batch_size=8)


def test_a_fit_logs_the_numbers_of_its_maps_to_every_logger(make_trainer, tmp_path, pairs, capsys) -> None:
    """Equal to what they are of the maps as they were found, for drift of those kept, before training and after."""
    seen, found = [], []

    class Spy(GradCAMCallback):
        def on_train_start(self, trainer, pl_module) -> None:
            super().on_train_start(trainer, pl_module)
            found.extend(self._fit.explain(self._fit.plan, self._fit.probe_set))

        def on_train_epoch_end(self, trainer, pl_module) -> None:
            super().on_train_epoch_end(trainer, pl_module)
            found.extend(self._fit.explain(self._fit.plan, self._fit.probe_set))

        def on_train_end(self, trainer, pl_module) -> None:
            seen.append((self._memory.histories[LAYER], self._memory.probe_set.masks, dict(trainer.callback_metrics)))

    loader = with_masks(pairs)
    loggers = [TensorBoardLogger(tmp_path, name="", version="run"), CSVLogger(tmp_path, name="", version="csv")]
    make_trainer(Spy(images=6), max_epochs=3, logger=loggers).fit(Classifier(), loader, loader)
    history, masks, monitored = seen[0]
    logged = scalars(tmp_path / "run")
    maps = [look.maps[:, 0].float() for look in history.looks]
    exact = [one.maps[:, 0] for one in found]
    shares = [one / one.sum((1, 2), keepdim=True) for one in exact]
    in_mask = [float(share[:, : share.shape[1] // 2].sum((1, 2)).nanmean()) for share in shares]
    assert logged[f"{LAYER}/in_mask"] == pytest.approx(in_mask, abs=1e-5)
    similarity = [torch.cosine_similarity(a.flatten(1), b.flatten(1)) for a, b in itertools.pairwise(maps)]
    drawn = [(a.amax((1, 2)) > 0) & (b.amax((1, 2)) > 0) for a, b in itertools.pairwise(maps)]
    expected = [float(1 - one[both].mean()) for one, both in zip(similarity, drawn, strict=True)]
    assert logged[f"{LAYER}/drift"] == pytest.approx(expected, abs=1e-5)
    assert {len(logged[f"{LAYER}/{name}"]) for name in ("focus", "border", "peak", "blank", "pointing")} == {4}
    assert logged["gradcam/mask_area"] == [0.5]
    log = read_log(tmp_path / "run")
    assert log.areas.tolist() == [0.5] * 6
    levels = {name: log.chance(name) for name in ("in_mask", "pointing", "lift", "border", "focus")}
    assert levels == {"in_mask": 0.5, "pointing": 0.5, "lift": 1, "border": 0.36, "focus": 0}
    assert np.isnan([log.chance(name) for name in ("drift", "peak")]).all()
    with pytest.raises(SettingError, match=r"^name='bordr' is no number; did you mean 'border'"):
        log.chance("bordr")
    assert main(["show", str(tmp_path / "run")]) == 0
    assert re.search(r"on the thing went from [0-9.]+ to\s+[0-9.]+\s+\(0\.5 by chance\)", capsys.readouterr().out)
    assert float(monitored[f"{LAYER}/in_mask"]) == pytest.approx(in_mask[-1], abs=1e-5)
    table = (tmp_path / "csv" / "metrics.csv").read_text()
    assert f"{LAYER}/focus" in table.splitlines()[0]
    assert bool(masks[:, :8].all())


def test_the_share_that_is_logged_is_of_images_that_have_a_thing(make_trainer, tmp_path, pairs) -> None:
    """As the numbers that it is the chance of."""
    loader = with_masks(pairs)
    loader.dataset.tensors[2][::2] = False
    make_trainer(GradCAMCallback(images=[0, 1, 2]), max_epochs=1).fit(Classifier(), loader, loader)
    log = read_log(tmp_path)
    assert np.isnan(log.areas).tolist() == [True, False, True]
    assert scalars(tmp_path / "run")["gradcam/mask_area"] == [log.chance("in_mask")] == [0.5]


def test_where_no_image_has_a_thing_no_share_is_logged(make_trainer, tmp_path, pairs) -> None:
    """Not a number of nothing."""
    loader = with_masks(pairs)
    loader.dataset.tensors[2][:] = False
    make_trainer(GradCAMCallback(images=4), max_epochs=1).fit(Classifier(), loader, loader)
    assert "gradcam/mask_area" not in scalars(tmp_path / "run")
    assert np.isnan(read_log(tmp_path).areas).all()


def test_without_masks_nothing_is_said_of_them(make_trainer, tmp_path, loader) -> None:
    """Nor is drift before training."""
    make_trainer(GradCAMCallback(images=4), max_epochs=2).fit(Classifier(), loader, loader)
    logged = scalars(tmp_path / "run")
    assert not any(name in tag for tag in logged for name in ("mask", "pointing"))
    assert len(logged[f"{LAYER}/focus"]) == 3
    assert len(logged[f"{LAYER}/drift"]) == 2


def test_early_stopping_and_checkpoints_follow_a_number(make_trainer, tmp_path, pairs) -> None:
    """A run whose drift falls below a bound ends, and the best checkpoint is named after the number."""
    loader = with_masks(pairs)
    stop = EarlyStopping(monitor=f"{LAYER}/drift", mode="min", stopping_threshold=2.0, check_on_train_epoch_end=True)
    best = ModelCheckpoint(tmp_path / "best", monitor=f"{LAYER}/in_mask", mode="max", save_on_train_epoch_end=True)
    trainer = make_trainer(GradCAMCallback(images=4), stop, best, max_epochs=5, enable_checkpointing=True)
    trainer.fit(Classifier(), loader, loader)
    assert trainer.current_epoch == 1
    assert best.best_model_score == pytest.approx(float(trainer.callback_metrics[f"{LAYER}/in_mask"]))


@pytest.mark.parametrize(
    ("monitor", "first", "message"),
    [
        (f"{LAYER}/focus", True, "put it behind GradCAMCallback"),
        (f"{LAYER}/focsu", False, "did you mean 'gradcam/network.6/focus'"),
        (f"{LAYER}/in_mask", False, "no such number"),
    ],
)
def test_what_cannot_be_monitored_is_refused_before_training(make_trainer, loader, monitor, first, message) -> None:
    """Instead of by EarlyStopping after the first epoch."""
    stop, look = EarlyStopping(monitor=monitor), GradCAMCallback(images=4)
    module = Classifier()
    with pytest.raises(ValueError, match=message):
        make_trainer(*([stop, look] if first else [look, stop])).fit(module, loader, loader)
    assert not module.losses


@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint])
def test_who_asks_in_the_middle_of_an_epoch_is_refused(make_trainer, loader, kind) -> None:
    """With validation twice an epoch these act before the first numbers, and would end the run."""
    asks, module = kind(monitor=f"{LAYER}/focus"), Classifier()
    trainer = make_trainer(GradCAMCallback(images=4), asks, val_check_interval=0.5, enable_checkpointing=True)
    with pytest.raises(ValueError, match="on_train_epoch_end=True"):
        trainer.fit(module, loader, loader)
    assert not module.losses


def test_validate_and_test_report_the_numbers(make_trainer, loader) -> None:
    """In the dicts that they return."""
    trainer = make_trainer(GradCAMCallback(images=4))
    assert f"{LAYER}/blank" in trainer.validate(Classifier(), loader, verbose=False)[0]
    assert f"{LAYER}/test/blank" in trainer.test(Classifier(), loader, verbose=False)[0]


def test_a_fault_in_looking_leaves_the_numbers_out(make_trainer, tmp_path, loader) -> None:
    """And the run goes on."""

    def fails_later(model, images):
        if model.trainer.current_epoch >= 1:
            raise RuntimeError("no more")
        return model(images)

    trainer = make_trainer(GradCAMCallback(images=4, output=fails_later), max_epochs=3)
    with pytest.warns(UserWarning, match="no more"):
        trainer.fit(Classifier(), loader, loader)
    assert len(scalars(tmp_path / "run")[f"{LAYER}/focus"]) == 2
    assert trainer.current_epoch == 3


def test_where_there_is_no_thing_nothing_is_on_it() -> None:
    """Such an image counts in no mean: its share would be 0 whatever the map."""
    masks = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    masks[0, :, :2] = True
    view = View(torch.ones(2, 1, 2, 2), torch.zeros(2, 1), torch.ones(2, 1, 2, 2), masks=masks)
    for name in ("in_mask", "lift", "pointing"):
        value = METRICS[name].measure(view)
        assert value[0].isfinite().all()
        assert value[1].isnan().all()
    assert means({"in_mask": METRICS["in_mask"].measure(view)}) == {"in_mask": 0.5}


def test_lift_is_over_each_images_own_thing() -> None:
    """Half of the heat on half of the image is chance; on a quarter it is twice that."""
    masks = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    masks[0, :, :2] = True
    masks[1, :, :1] = True
    maps = torch.ones(2, 1, 4, 4)
    maps[1, :, 0] = 3  # half of the heat
    found = METRICS["lift"].measure(View(maps, torch.zeros(2, 1), maps, masks=masks))
    assert torch.allclose(found, torch.tensor([[1.0], [2.0]]))
