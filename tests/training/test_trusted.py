"""What a fit with `trust=True` logs and says of its maps."""

import json
import logging

import numpy as np
import pytest
import torch
import torchvision
from pytorch_lightning.callbacks import EarlyStopping
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.logs import schema
from lightning_gradcam.pictures.curves import line_of
from lightning_gradcam.timeline.history import History
from lightning_gradcam.training.caution import _Mean, caution

from ..conftest import Classifier, make_pairs, scalars, small_cnn

LAYER = "gradcam/network.6"


def with_masks(area: slice = slice(0, 8)) -> DataLoader:
    images, labels = make_pairs().tensors
    masks = torch.zeros(len(images), 16, 16, dtype=torch.bool)
    masks[:, area] = True
    return DataLoader(TensorDataset(images, labels, masks), batch_size=8)


def test_the_numbers_are_logged_of_each_look(make_trainer, tmp_path) -> None:
    """`learned` from the first look after step 0 on, whose weights were random."""
    loader = with_masks()
    make_trainer(GradCAMCallback(images=6, trust=True)).fit(Classifier(), loader, loader)
    found = scalars(tmp_path / "run")
    for name in ("faithfulness", "class_sensitivity", "in_mask", "lift"):
        assert len(found[f"{LAYER}/{name}"]) == 3, name
    assert len(found[f"{LAYER}/learned"]) == 2
    assert found[f"{LAYER}/learned"][0] == pytest.approx(found[f"{LAYER}/drift"][0])  # the look before is the first
    halves = [2 * one for one in found[f"{LAYER}/in_mask"]]  # of things that are half of the image
    assert found[f"{LAYER}/lift"] == pytest.approx(halves, rel=1e-5)


def test_without_trust_nothing_of_it_is_logged_said_or_done(
    make_trainer, loader, tmp_path, caplog, monkeypatch
) -> None:
    """With it two forward passes a look are made more."""
    passes, forward = [], nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, given: passes.append(1) or forward(self, given))
    counts = []
    for trust in (False, True):
        passes.clear()
        with caplog.at_level(logging.INFO):
            make_trainer(GradCAMCallback(images=6, trust=trust), max_epochs=1).fit(Classifier(), loader, loader)
        counts.append(len(passes))
        if not trust:
            names = {tag.rpartition("/")[2] for tag in scalars(tmp_path / "run")}
            assert not names & {"faithfulness", "class_sensitivity", "learned"}
            assert "trust=True" not in caplog.text
    assert counts[1] - counts[0] == 2 * 2  # two looks


def test_learned_is_of_untrained_weights_alone(make_trainer, loader, tmp_path, caplog) -> None:
    """A network that was trained before is told not to have it."""
    network = small_cnn()
    with torch.no_grad():
        network[1].weight.uniform_(0.5, 1.5)
    with caplog.at_level(logging.INFO):
        make_trainer(GradCAMCallback(images=6, trust=True)).fit(Classifier(network), loader, loader)
    assert f"{LAYER}/learned" not in scalars(tmp_path / "run")
    assert (
        "trust=True: `learned` is not logged: Classifier is trained already, or its weights do not tell" in caplog.text
    )


def test_a_resumed_fit_still_knows_the_untrained_network(make_trainer, loader, tmp_path) -> None:
    """Its first maps travel in the checkpoint, and that they were of random weights."""
    first = make_trainer(GradCAMCallback(images=6, trust=True), max_epochs=1)
    first.fit(Classifier(), loader, loader)
    first.save_checkpoint(tmp_path / "one.ckpt")
    callback = GradCAMCallback(images=6, trust=True)
    trainer = make_trainer(callback, max_epochs=2)
    trainer.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "one.ckpt")
    assert float(trainer.callback_metrics[f"{LAYER}/learned"]) > 0
    trainer.validate(Classifier(), loader, verbose=False)
    assert f"{LAYER}/faithfulness" in trainer.callback_metrics


def _difference(output: Tensor, labels: Tensor | None) -> Tensor:
    return output[:, 0] - output[:, 1]


def test_the_numbers_can_be_monitored_where_there_are_any(make_trainer, loader) -> None:
    """Those that are not logged are refused before training."""
    stop = EarlyStopping(f"{LAYER}/faithfulness", mode="max", patience=9)
    make_trainer(GradCAMCallback(images=6, trust=True), stop).fit(Classifier(), loader, loader)
    assert stop.best_score <= 0.5
    stop = EarlyStopping(f"{LAYER}/learned", mode="max")
    make_trainer(GradCAMCallback(images=6, trust=True), stop, fast_dev_run=True).fit(Classifier(), loader, loader)
    for options, number, why in (
        ({}, "faithfulness", "it needs trust=True"),
        ({"trust": True, "task": "none"}, "class_sensitivity", "it needs trust=True, and several classes"),
        ({"trust": True, "target": _difference}, "class_sensitivity", "it needs trust=True, and several classes"),
    ):
        stop = EarlyStopping(f"{LAYER}/{number}")
        with pytest.raises(ValueError, match=f"monitor='{LAYER}/{number}'.*: no such number is logged; {why}"):
            make_trainer(GradCAMCallback(images=6, **options), stop).fit(Classifier(), loader, loader)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_trust_is_true_or_false(value) -> None:
    """As the other switches are."""
    with pytest.raises(TypeError, match=f"trust={value!r} is neither True nor False"):
        GradCAMCallback(trust=value)


def test_a_fit_ends_with_a_line_that_is_in_the_log_too(make_trainer, tmp_path, caplog) -> None:
    """Its numbers are the last look's."""
    loader = with_masks()
    with caplog.at_level(logging.INFO):
        make_trainer(GradCAMCallback(images=6, trust=True)).fit(Classifier(), loader, loader)
    (line,) = [one.message for one in caplog.records if "attention" in one.message and "trust=True" in one.message]
    found = scalars(tmp_path / "run")
    assert line.startswith("trust=True: network.6 after epoch 2: attention ")
    for name in ("faithfulness", "in_mask"):
        assert f"{name} {found[f'{LAYER}/{name}'][-1]:.2f} ± " in line
    assert "(in_mask" in line
    assert "; 0.50 by chance) (of 6 images; ± is a standard error over them)" in line
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0})
    events.Reload()
    (event,) = events.Tensors(f"{LAYER}/caution")
    assert event.step == 2
    header = {"version": 3, "told": line.removeprefix("trust=True: ")}
    assert json.loads(event.tensor_proto.string_val[0]) == header | {"check": schema.check_of(header)}


def history_of(*maps: Tensor) -> History:
    history = History("layer")
    for step, found in enumerate(maps):
        one = torch.ones(found.shape[:2])
        history = history.with_look(step, Cams(found, one[:, :1], one[:, 0], one.int(), "layer", one))
    return history


LEFT, RIGHT = torch.zeros(4, 1, 2, 2), torch.zeros(4, 1, 2, 2)
LEFT[..., 0], RIGHT[..., 1] = 1, 1
NEAR = torch.tensor([[0.3], [0.3], [0.4], [0.4]])  # mean 0.35, standard error 0.03
EITHER = torch.tensor([[0.5], [-0.5], [0.4], [-0.28]])  # 0.03 ± 0.25
SMALL = torch.tensor([[0.011], [0.012], [0.011], [0.012]])
QUARTER = torch.full((4, 1), 0.25)
NOTHING = torch.full((4, 1), torch.nan)
MOVED = "attention moved since epoch 0 (by 1.00 ± 0.00; 0 is not at all, 1 elsewhere altogether)"


@pytest.mark.parametrize(
    ("maps", "values", "area", "expected"),
    [
        (
            (LEFT, RIGHT),
            {"faithfulness": NEAR, "class_sensitivity": NEAR, "in_mask": NEAR + 0.1},
            QUARTER,
            f"{MOVED}; it is faithful (faithfulness 0.35 ± 0.03; 0 by chance, 0.5 at most); it is of its class "
            "(class_sensitivity 0.35 ± 0.03; 0 is the same map for the class that scores next); it lies on the thing "
            "(in_mask 0.45 ± 0.03; 0.25 by chance)",
        ),
        (
            (LEFT, LEFT),
            {"faithfulness": EITHER, "class_sensitivity": NEAR * 0, "in_mask": EITHER.abs()},
            QUARTER,
            "attention hardly moved since epoch 0 (by 0.00 ± 0.00; 0 is not at all, 1 elsewhere altogether); whether "
            "it is faithful cannot be told from 4 maps (faithfulness 0.03 ± 0.25; 0 by chance, 0.5 at most); it is "
            "blind to its class (class_sensitivity 0.00 ± 0.00; 0 is the same map for the class that scores next); it "
            "lies on the thing (in_mask 0.42 ± 0.05; 0.25 by chance)",
        ),
        (
            (LEFT * 0, LEFT),
            {"faithfulness": -NEAR, "in_mask": NEAR - 0.3},
            QUARTER,
            "whether attention moved since epoch 0 cannot be told: no map is shown in both; it is against what the "
            "model needs (faithfulness -0.35 ± 0.03; 0 by chance, 0.5 at most); it lies less on the thing than by "
            "chance (in_mask 0.05 ± 0.03; 0.25 by chance)",
        ),
        (
            (LEFT, RIGHT),
            {"faithfulness": SMALL},  # sure, and next to nothing
            None,
            f"{MOVED}; it is hardly better than chance (faithfulness 0.01 ± 0.00; 0 by chance, 0.5 at most)",
        ),
        (
            (LEFT, RIGHT),
            {"faithfulness": torch.tensor([[0.01], [-0.02], [0.02], [-0.01]]), "in_mask": SMALL + 0.29},
            QUARTER,
            f"{MOVED}; it is no better than chance (faithfulness 0.00 ± 0.01; 0 by chance, 0.5 at most); it lies "
            "hardly more on the thing than by chance (in_mask 0.30 ± 0.00; 0.25 by chance)",
        ),
        (
            (LEFT, RIGHT),
            {"faithfulness": NOTHING, "class_sensitivity": NOTHING, "in_mask": NOTHING},
            QUARTER,
            f"{MOVED}; whether it is faithful cannot be told from maps none of which is shown; whether it is of its "
            "class alone cannot be told: no map of the next class is shown; whether it lies on the thing cannot be "
            "told from maps none of which is shown",
        ),
        (
            (LEFT, RIGHT),
            {"faithfulness": torch.tensor([[0.4], [torch.nan], [torch.nan], [torch.nan]])},
            None,
            f"{MOVED}; whether it is faithful cannot be told from 1 map (faithfulness 0.40; 0 by chance, 0.5 at most)",
        ),
        (
            (LEFT, RIGHT),
            {"faithfulness": NEAR, "in_mask": torch.tensor([[0.5], [0.5], [0.6], [0.6], [torch.nan]])[1:]},
            torch.tensor([[0.1], [0.1], [0.2], [0.9]]),  # the last has no map
            f"{MOVED}; it is faithful (faithfulness 0.35 ± 0.03; 0 by chance, 0.5 at most); whether it lies on the "
            "thing cannot be told from 3 maps (in_mask 0.57 ± 0.03, of 3 images; 0.13 by chance)",
        ),
        (
            (torch.cat([LEFT[:2], RIGHT[:2]]), torch.cat([LEFT[:1], RIGHT[:2], LEFT[:1]])),  # two of four moved
            {
                "faithfulness": torch.tensor([[0.5], [-0.2], [0.4], [-0.1]]),  # 0.15 and t 0.56
                "class_sensitivity": torch.tensor([[0.02], [0.74], [0.02], [0.72]]),  # 0.375 and t 0.65
                "in_mask": torch.tensor([[0.9], [0.05], [0.05], [0.2]]),  # 0.3, 0.25 from chance, and t 0.65
            },
            torch.full((4, 1), 0.05),
            "whether attention moved since epoch 0 cannot be told from 4 maps (by 0.50 ± 0.29; 0 is not at all, 1 "
            "elsewhere altogether); whether it is faithful cannot be told from 4 maps (faithfulness 0.15 ± 0.18; 0 by "
            "chance, 0.5 at most); whether it is of its class alone cannot be told from 4 maps (class_sensitivity 0.38 "
            "± 0.21; 0 is the same map for the class that scores next); whether it lies on the thing cannot be told "
            "from 4 maps (in_mask 0.30 ± 0.20; 0.05 by chance)",
        ),
        (
            (LEFT, LEFT),
            {"class_sensitivity": torch.tensor([[0.02], [0.04], [0.02], [0.04]])},  # less than a twentieth
            None,
            "attention hardly moved since epoch 0 (by 0.00 ± 0.00; 0 is not at all, 1 elsewhere altogether); whether "
            "it is faithful cannot be told from maps none of which is shown; it is nearly blind to its class "
            "(class_sensitivity 0.03 ± 0.01; 0 is the same map for the class that scores next)",
        ),
    ],
)
def test_the_line_has_no_word_without_its_number(maps, values, area, expected) -> None:
    """Above chance, below it, neither, or too few to tell; chance is that of the images that have the number."""
    found = caution(history_of(*maps), values, area, "epoch 1", "epoch")
    assert found == f"layer after epoch 1: {expected} (of 4 images; ± is a standard error over them)"


def test_several_targets_of_an_image_are_one_image() -> None:
    """They are no more images: the error is that of the four."""
    found = caution(
        history_of(*(torch.cat([one] * 3, 1) for one in (LEFT, RIGHT))),
        {"faithfulness": NEAR.repeat(1, 3)},
        None,
        "step 4",
        "step",
    )
    assert "it is faithful (faithfulness 0.35 ± 0.03;" in found


def test_the_line_has_the_mean_that_the_log_has() -> None:
    """Of all maps, also where images have several of which some are blank."""
    values = torch.tensor([[0.1, torch.nan], [0.2, 0.9], [torch.nan, torch.nan], [0.3, 0.4]])
    found = _Mean(values)
    assert (found.count, found.mean) == (3, pytest.approx(float(values.nanmean())))
    line = line_of("", np.zeros(1, np.int64), values[None].double().numpy())
    assert found.error == pytest.approx(float(line.error[0]))


def test_of_one_image_no_word_is_said() -> None:
    """Its numbers are."""
    found = caution(history_of(LEFT[:1], RIGHT[:1]), {"class_sensitivity": torch.ones(1, 1)}, None, "epoch 1", "epoch")
    assert found.startswith(
        "layer after epoch 1: whether attention moved since epoch 0 cannot be told from 1 map (by 1.00;"
    )
    assert "whether it is of its class alone cannot be told from 1 map (class_sensitivity 1.00; " in found


def test_random_maps_are_seldom_told_from_chance() -> None:
    """Of four images and of 32, in less than one in twenty of 2,000 trials."""
    generator = torch.Generator().manual_seed(0)
    for images in (4, 32):
        drawn = torch.randn(2000, images, 1, generator=generator)
        told = [_Mean(one).side != 0 for one in drawn]
        assert 0.03 < sum(told) / 2000 < 0.065


def test_of_a_classifier_whose_head_starts_at_zero_the_end_is_told(make_trainer, caplog) -> None:
    """Its step 0 is blank: it did not learn yet, and there is nothing to compare with."""
    network = torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=3)
    loader = DataLoader(make_pairs(), 8)
    with caplog.at_level(logging.INFO):
        make_trainer(GradCAMCallback(images=6, trust=True)).fit(Classifier(network), loader, loader)
    assert "whether attention moved since epoch 0 cannot be told: no map is shown in both; " in caplog.text
