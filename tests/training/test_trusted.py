"""What a fit with `trust=True` logs and says of its maps."""

import json
import logging
import re

import pytest
import torch
import torchvision
from pytorch_lightning.callbacks import EarlyStopping
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.timeline.history import History
from lightning_gradcam.training.caution import caution

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
    trainer.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "one.ckpt", weights_only=False)
    assert float(trainer.callback_metrics[f"{LAYER}/learned"]) > 0
    trainer.validate(Classifier(), loader, verbose=False)
    assert f"{LAYER}/faithfulness" in trainer.callback_metrics


def test_the_numbers_can_be_monitored_where_there_are_any(make_trainer, loader) -> None:
    """Those that are not logged are refused before training."""
    stop = EarlyStopping(f"{LAYER}/faithfulness", mode="max", patience=9)
    make_trainer(GradCAMCallback(images=6, trust=True), stop).fit(Classifier(), loader, loader)
    assert stop.best_score <= 0.5
    stop = EarlyStopping(f"{LAYER}/learned", mode="max")
    make_trainer(GradCAMCallback(images=6, trust=True), stop, fast_dev_run=True).fit(Classifier(), loader, loader)
    for options, number, why in (
        ({}, "faithfulness", "pass trust=True"),
        ({"trust": True, "task": "none"}, "class_sensitivity", "pass trust=True; of values, and of a single score,"),
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
    assert "; 0.50 by chance)" in line
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0})
    events.Reload()
    (event,) = events.Tensors(f"{LAYER}/caution")
    assert event.step == 2
    assert json.loads(event.tensor_proto.string_val[0]) == {"version": 3, "told": line.removeprefix("trust=True: ")}


def history_of(*maps: Tensor) -> History:
    history, one = History("layer"), torch.ones(4, 1)
    for step, found in enumerate(maps):
        history = history.with_look(step, Cams(found, one, one[:, 0], one.int(), "layer", one))
    return history


LEFT, RIGHT = torch.zeros(4, 1, 2, 2), torch.zeros(4, 1, 2, 2)
LEFT[..., 0], RIGHT[..., 1] = 1, 1
NEAR = torch.tensor([[0.3], [0.3], [0.4], [0.4]])  # mean 0.35, standard error 0.03
EITHER = torch.tensor([[0.5], [-0.5], [0.4], [-0.28]])


@pytest.mark.parametrize(
    ("maps", "faithfulness", "in_mask", "expected"),
    [
        (
            (LEFT, RIGHT),
            NEAR,
            NEAR,
            "attention moved since epoch 0 (by 1.00 ± 0.00; 0 is not at all, 1 elsewhere altogether); it is faithful "
            "(faithfulness 0.35 ± 0.03; 0 by chance, 0.5 at most); it lies on the thing (in_mask 0.35 ± 0.03; 0.25 by "
            "chance)",
        ),
        (
            (LEFT, LEFT),
            EITHER,
            EITHER.abs(),
            "attention hardly moved since epoch 0 (by 0.00 ± 0.00; 0 is not at all, 1 elsewhere altogether); it is no "
            "better than chance (faithfulness 0.03 ± 0.25; 0 by chance, 0.5 at most); it lies on the thing (in_mask "
            "0.42 ± 0.05; 0.25 by chance)",
        ),
        (
            (LEFT * 0, LEFT),
            -NEAR,
            NEAR - 0.3,
            "whether attention moved since epoch 0 cannot be told, of blank maps; it is against what the model needs "
            "(faithfulness -0.35 ± 0.03; 0 by chance, 0.5 at most); it lies less on the thing than by chance (in_mask "
            "0.05 ± 0.03; 0.25 by chance)",
        ),
    ],
)
def test_the_line_has_no_word_without_its_number(maps, faithfulness, in_mask, expected) -> None:
    """Above chance by two standard errors, below it, or neither."""
    values = {"faithfulness": faithfulness, "in_mask": in_mask}
    found = caution(history_of(*maps), values, torch.full((4, 1), 0.25), "epoch 1", "epoch")
    assert found == f"layer after epoch 1: {expected}"


def test_the_line_of_blank_maps_and_of_one() -> None:
    """What cannot be told is not."""
    nothing = torch.full((4, 1), torch.nan)
    found = caution(history_of(LEFT, LEFT), {"faithfulness": nothing}, None, "step 4", "step")
    assert re.search(r"since step 0 .*; whether it is faithful cannot be told, of blank maps$", found)
    alone = torch.tensor([[0.4], [torch.nan], [torch.nan], [torch.nan]])
    found = caution(history_of(LEFT, LEFT), {"faithfulness": alone}, None, "step 4", "step")
    assert "it is no better than chance (faithfulness 0.40, of one map; 0 by chance" in found


def test_of_a_classifier_whose_head_starts_at_zero_the_end_is_told(make_trainer, caplog) -> None:
    """Its step 0 is blank: it did not learn yet, and there is nothing to compare with."""
    network = torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=3)
    loader = DataLoader(make_pairs(), 8)
    with caplog.at_level(logging.INFO):
        make_trainer(GradCAMCallback(images=6, trust=True)).fit(Classifier(network), loader, loader)
    assert "whether attention moved since epoch 0 cannot be told, of blank maps; it is " in caplog.text
