"""Scores that are not finite, and images of no class: what is said to be predicted and explained."""

import pytest
import torch
from torch import Tensor, nn

from lightning_gradcam import explain
from lightning_gradcam.cam.methods import METHODS

from ..conftest import small_cnn


class Damaged(nn.Module):
    """A network of which some scores are other values than they should be."""

    def __init__(self, network: nn.Module, place: tuple[object, ...], value: float) -> None:
        super().__init__()
        self.network, self.place, self.value = network, place, value

    def forward(self, images: Tensor) -> Tensor:
        scores = self.network(images).clone()
        scores[self.place] = self.value
        return scores


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 3, 16, 16)


def test_where_no_score_is_a_number_nothing_is_predicted_and_nothing_explained(images) -> None:
    """Of the other image nothing changes; what a label says is explained all the same."""
    model = Damaged(small_cnn(), (0,), torch.nan)
    found = explain(model, images)
    assert found.predictions[0] == found.targets[0] == -1
    assert found.predictions[1] == found.targets[1] >= 0
    assert found.answers[0] == "no prediction: scores not finite"
    labelled = explain(model, images, target="label", labels=[2, 1])
    assert labelled.targets.tolist() == [2, 1]
    assert labelled._images.captions(labelled._found)[0].wrong


def test_scores_that_are_left_out_by_minus_infinity_are_no_fault(images) -> None:
    """As masked classes have them."""
    found = explain(Damaged(small_cnn(), (slice(None), slice(2)), -torch.inf), images)
    assert found.predictions.tolist() == [2, 2]


def test_a_pixel_that_is_no_number_costs_no_answer(images) -> None:
    """Of a segmentation the others are counted; of none that is a number nothing is predicted."""
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    truth = torch.randint(4, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    whole = explain(dense, images, "1", labels=truth, task="segmentation")
    damaged = Damaged(dense, (0, slice(None), 3, 3), torch.nan)
    one = explain(damaged, images, "network.1", labels=truth, task="segmentation")
    assert one.predictions.tolist() == whole.predictions.tolist()
    assert one.answers[0].partition(":")[0] == whole.answers[0].partition(":")[0]
    assert "IoU" in one.answers[0]
    none = explain(Damaged(dense, (0,), torch.nan), images, "network.1", labels=truth, task="segmentation")
    assert none.predictions.tolist() == [-1, whole.predictions[1]]


def test_values_are_said_as_they_are(images) -> None:
    """An embedding whose norm is beyond float32, a regression's infinity: neither is a prediction of a class."""
    found = explain(Damaged(small_cnn(), (slice(None), 0), 1e21), images, task="none")
    assert found.predictions.tolist() == [0, 0]
    assert found.answers == ["squared norm of the output inf"] * 2
    found = explain(Damaged(nn.Sequential(*small_cnn(), nn.Linear(3, 1)), (0,), torch.inf), images, task="regression")
    assert found.answers[0] == "predicted inf"


def test_of_an_image_of_no_class_the_prediction_is_explained(images) -> None:
    """Of several labels; of the others the evidence for all that are true."""
    torch.manual_seed(0)
    model, labels = small_cnn(), torch.zeros(2, 3)
    labels[1, [0, 2]] = 1
    found = explain(model, images, target="label", labels=labels, task="multilabel")
    alone = explain(model, images, target="predicted", labels=labels, task="multilabel")
    assert found.targets.tolist() == [int(alone.predictions[0]), -1]
    assert torch.equal(found.heatmaps[0], alone.heatmaps[0])
    assert not torch.equal(found.heatmaps[1], alone.heatmaps[1])


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.keeps_faults])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["activations", "gradients"])
def test_a_value_that_is_not_finite_stays_one_where_it_is_not_looked_for(name, value, where) -> None:
    """Also where it is multiplied by 0: what is made of it is no map; of the other image it is."""
    given = {"activations": torch.rand(2, 4, 3, 3), "gradients": torch.rand(2, 4, 3, 3)}
    for part in given.values():
        part[0, 1] = 0
    given[where][0, 1, 2, 0] = value
    found = METHODS[name](given["activations"], given["gradients"])
    assert not found[0].isfinite().all()
    assert found[1].isfinite().all()
