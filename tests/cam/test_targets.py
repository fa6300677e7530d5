"""From scores and what is true to what is differentiated."""

from dataclasses import replace

import pytest
import torch

from lightning_gradcam.cam.evidence import Evidence
from lightning_gradcam.cam.targets import Batch, Objective, check_target, objective, read_scores, told
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.cam.telling import decide

SCORES = torch.tensor([[1.0, 3.0, 2.0], [0.5, -1.0, 0.0]])
IMAGES = torch.zeros(2, 3, 2, 2)


def batch_of(scores=SCORES, labels=None, output=None, task: Task | None = None, images=None) -> Batch:
    images = torch.zeros(len(scores), 3, 2, 2) if images is None else images
    task = task or decide(scores, images, labels, Evidence({}), None)
    read = read_scores(scores, task, images)
    given = scores if output is None else output
    return Batch(given, scores, read, task, labels, task.truth(labels), slice(0, len(scores)))


def wanted(target, *args, **options) -> Objective:
    return objective(target, batch_of(*args, **options))


def values_of(target, *args, **options) -> list:
    return wanted(target, *args, **options).values.tolist()


def test_multi_class() -> None:
    """Label, prediction, a class, several; of an image without a label the prediction."""
    assert values_of("label", labels=torch.tensor([2, 1])) == [[2.0], [-1.0]]
    assert values_of("predicted") == values_of("label") == [[3.0], [0.5]]
    found = wanted("label", labels=torch.tensor([-100, 2]))
    assert (found.values.tolist(), found.classes.tolist()) == ([[3.0], [0.0]], [[1], [2]])
    assert values_of(2) == [[2.0], [0.0]]
    found = wanted([2, 0])
    assert found.values.tolist() == [[2.0, 1.0], [0.0, 0.5]]
    assert found.classes.tolist() == [[2, 0], [2, 0]]
    assert torch.allclose(batch_of().scores.told[:, 0], SCORES.softmax(1).amax(1))


def test_probabilities_stay_what_they_are() -> None:
    """A model that ends in a softmax is not softened again."""
    for scores in (SCORES.softmax(1), SCORES.log_softmax(1)):
        assert torch.allclose(batch_of(scores).scores.told[:, 0], SCORES.softmax(1).amax(1))


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_single_logit_is_two_classes(shape) -> None:
    """The evidence for class 0 is the logit's negative."""
    logits, labels = torch.tensor([2.0, -1.0, 0.5]).reshape(shape), torch.tensor([1.0, 1.0, 0.0])
    assert values_of("predicted", logits) == [[2.0], [1.0], [0.5]]
    assert values_of("label", logits, labels) == [[2.0], [-1.0], [-0.5]]
    read = batch_of(logits, labels).scores
    assert read.classes.tolist() == [1, 0, 1]
    assert torch.allclose(read.told[:, 0], torch.tensor([2.0, 1.0, 0.5]).sigmoid())


def test_a_single_probability_is_two_classes_too() -> None:
    """A sigmoid within the model is told by what made it: 0.4 is class 0 at 60 %."""
    scores = torch.tensor([[0.4], [0.9]])
    read = batch_of(scores, task=Task("binary", 2, link="identity")).scores
    assert read.classes.tolist() == [0, 1]
    assert read.told[:, 0].tolist() == pytest.approx([0.6, 0.9])


def test_a_regression_is_its_values() -> None:
    """One, or the sum of several; or one of them by its number."""
    values, labels = torch.tensor([[2.0], [-1.0]]), torch.tensor([1.5, 0.2])
    assert values_of("label", values, labels) == [[2.0], [-1.0]]
    assert batch_of(values, labels).scores.told.tolist() == [[2.0], [-1.0]]
    several = wanted("label", labels=torch.tensor([[27.5, 1, 0], [3.5, 1, 0]]))
    assert (several.values.tolist(), several.classes.tolist()) == ([[6.0], [-0.5]], [[-1], [-1]])
    assert values_of(1, labels=torch.tensor([[27.5, 1, 0], [3.5, 1, 0]])) == [[3.0], [-1.0]]


def test_multi_label_sums_the_classes_that_are_there() -> None:
    """And its confidence is a sigmoid."""
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = wanted("label", labels=labels)
    assert (found.values.tolist(), found.classes.tolist()) == ([[4.0], [0.0]], [[-1], [-1]])
    assert torch.allclose(batch_of(labels=labels).scores.told[:, 0], torch.tensor([3.0, 0.5]).sigmoid())


def test_an_embedding_is_explained_by_its_squared_norm() -> None:
    """Its agreement with itself."""
    found = wanted("label", task=Task("none", 3))
    assert (found.values.tolist(), found.classes.tolist()) == ([[14.0], [1.25]], [[-1], [-1]])
    assert batch_of(task=Task("none", 3)).scores.told.tolist() == [[14.0], [1.25]]


def test_a_rebuilt_image_is_explained_by_its_error() -> None:
    """Its mean square."""
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    rebuilt = images + torch.tensor([0.1, 0.3])[:, None, None, None]
    task = decide(rebuilt, images, torch.tensor([0, 1]), Evidence({}), None)
    assert (task.kind, task.rebuilds) == ("none", True)
    found = wanted("label", rebuilt, task=task, images=images)
    assert found.values[:, 0].tolist() == pytest.approx([0.01, 0.09], abs=1e-6)


def test_dense_scores_are_summed_over_the_pixels_of_the_class() -> None:
    """As many classes as there are; the prediction is the one with most pixels; over all where none is."""
    scores = torch.tensor([[[[5.0, 1.0], [1.0, 1.0]], [[0.0, 2.0], [3.0, 4.0]], [[-1.0, -1.0], [-1.0, -1.0]]]])
    found = wanted("predicted", scores)
    assert (found.values.tolist(), found.classes.tolist()) == ([[9.0]], [[1]])
    assert values_of([0, 2], scores) == [[5.0, -4.0]]
    probabilities = scores.softmax(1)[0, 1]
    expected = (probabilities.sum() - probabilities[0, 0]) / 3
    assert torch.allclose(batch_of(scores).scores.told[0, 0], expected)


def test_of_a_foreground_the_foreground_is_explained_and_how_well_it_was_found() -> None:
    """One logit a pixel, masks (N, 1, H, W) of floats, one with 255 as PNGs have it."""
    scores = torch.tensor([[[[3.0, -1.0], [2.0, -2.0]]], [[[-3.0, -1.0], [-2.0, -2.0]]]])
    masks = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    for labels in (masks, masks[:, 0], (masks * 255).byte()):
        batch = batch_of(scores, labels)
        found = objective("label", batch)
        assert found.classes.tolist() == [[1], [1]]
        assert found.values.tolist() == [[5.0], [-8.0]]  # where it is predicted, and everywhere where it is nowhere
        said = told(batch, found.classes)[:, 0].tolist()
        assert said[0] == pytest.approx(2 / 3)
        assert said[1] != said[1]  # neither there nor found


def test_void_pixels_have_no_class() -> None:
    """The class explained is the most frequent of those that are labelled, and the void counts for no overlap."""
    labels = torch.tensor([[[255, 255], [255, 2]], [[255, 255], [255, 255]]])
    scores = torch.zeros(2, 3, 2, 2)
    scores[:, 2, 1] = 1
    scores[:, 0, 0] = 1
    scores[1, 1] = 3
    batch = batch_of(scores, labels)
    found = objective("label", batch)
    assert found.classes.tolist() == [[2], [1]]  # of an image without labels the prediction
    assert told(batch, found.classes)[0].tolist() == [1.0]  # the other pixel called 2 lies in the void


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dense_scores_in_half_precision_are_counted_exactly(dtype) -> None:
    """45,005 pixels against 44,995 are the same number in half precision, and 90,000 are infinitely many in float16."""
    scores = torch.zeros(2, 2, 300, 300, dtype=dtype)
    scores[0, 0].flatten()[:44_995] = 2
    scores[0, 1].flatten()[44_995:] = 2
    scores[1, 1] = 2
    found = batch_of(scores).scores
    assert found.classes.tolist() == [1, 1]
    assert found.values.tolist() == [[89_990, 90_010], [0, 180_000]]
    assert torch.allclose(found.told[:, 0], torch.tensor([2.0, 2.0]).sigmoid())


@pytest.mark.parametrize("target", ["predicted", "label", 1, [0, 2], lambda raw, known: raw[:, 0] ** 2])
def test_a_backward_pass_begins_with_the_gradient_of_the_value(target) -> None:
    """By autograd of the value itself; of several labels each as much as it is one."""
    scores, labels = SCORES.clone().requires_grad_(), torch.tensor([[0.2, 0.0, 0.9], [1.0, 0.5, 0.0]])
    found = wanted(target, scores, labels, task=Task("multilabel", 3))
    for value, slope in zip(found.values.unbind(1), found.slopes, strict=True):
        [expected] = torch.autograd.grad(value.sum(), scores, retain_graph=True)
        [gradient] = torch.autograd.grad(found.scores, scores, slope, retain_graph=True)
        assert torch.equal(gradient, expected)


def test_an_objective_stays_the_same_of_other_scores() -> None:
    """As the images are augmented, the prediction may change; what is explained does not."""
    first = wanted("predicted")
    assert replace(first, scores=SCORES.flip(1)).values.tolist() == [[3.0], [0.0]]
    assert first.classes.tolist() == [[1], [0]]


def test_a_callable_gets_the_raw_output_and_the_labels() -> None:
    """And must give one value an image."""
    output, labels = {"logits": SCORES}, torch.tensor([0, 1])
    found = values_of(lambda raw, known: raw["logits"][:, 0] * (known + 1), labels=labels, output=output)
    assert found == [[1.0], [1.0]]
    with pytest.raises(ValueError, match=r"returned \(\), not one value an image, \(2,\)"):
        values_of(lambda raw, known: raw.sum())


def test_target_objects_are_one_an_image() -> None:
    """Each gets its own image's row."""
    assert values_of([lambda row: row[0], lambda row: row.sum()]) == [[1.0], [-0.5]]


@pytest.mark.parametrize("target", ["lable", -1, [], [0, -2], 1.5, True, [0, "a"], None])
def test_what_can_be_no_target_is_refused(target) -> None:
    """In the constructor, by name."""
    with pytest.raises((ValueError, TypeError), match="target"):
        check_target(target)
