"""From outputs and labels to what is differentiated."""

from types import SimpleNamespace

import pytest
import torch

from lightning_gradcam.cam.targets import (
    Batch,
    check_target,
    label_classes,
    objectives,
    read_scores,
    truths,
    unwrap,
)

SCORES = torch.tensor([[1.0, 3.0, 2.0], [0.5, -1.0, 0.0]])


def values_of(target, scores=SCORES, labels=None, output=None):
    batch = Batch(scores if output is None else output, read_scores(scores, labels), labels, slice(0, len(scores)))
    return objectives(target, batch)


@pytest.mark.parametrize(
    "output",
    [
        SCORES,
        (SCORES, torch.zeros(1)),
        [SCORES],
        {"logits": SCORES, "loss": torch.zeros(())},
        {"out": SCORES, "aux": SCORES + 1},
        {"pred": (SCORES, None)},
        {"anything": SCORES},
        SimpleNamespace(logits=SCORES),
    ],
)
def test_scores_are_found_in_any_usual_output(output) -> None:
    """Tensor, tuple, dict or object."""
    assert unwrap(output) is SCORES


@pytest.mark.parametrize("output", [{"a": SCORES, "b": SCORES}, object(), (), None])
def test_other_outputs_are_refused_with_what_came(output) -> None:
    """And with what to pass."""
    with pytest.raises(ValueError, match=r"output=None found no scores.*output=callable"):
        unwrap(output)


def test_multi_class() -> None:
    """Label, prediction, a class, several."""
    labels = torch.tensor([2, 1])
    assert values_of("label", labels=labels)[0].tolist() == [[2.0], [-1.0]]
    assert values_of("predicted")[0].tolist() == [[3.0], [0.5]]
    assert values_of("label")[0].tolist() == [[3.0], [0.5]]
    assert values_of(2)[0].tolist() == [[2.0], [0.0]]
    values, classes = values_of([2, 0])
    assert values.tolist() == [[2.0, 1.0], [0.0, 0.5]]
    assert classes.tolist() == [[2, 0], [2, 0]]
    read = read_scores(SCORES, None)
    assert torch.allclose(read.confidence, SCORES.softmax(1).amax(1))


def test_probabilities_stay_what_they_are() -> None:
    """A model that ends in a softmax is not softened again."""
    assert torch.allclose(read_scores(SCORES.softmax(1), None).confidence, SCORES.softmax(1).amax(1))
    assert torch.allclose(read_scores(SCORES.log_softmax(1), None).confidence, SCORES.softmax(1).amax(1))


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_single_logit_is_two_classes(shape) -> None:
    """The evidence for class 0 is the logit's negative."""
    logits = torch.tensor([2.0, -1.0, 0.5]).reshape(shape)
    labels = torch.tensor([1.0, 1.0, 0.0])
    assert values_of("predicted", logits)[0].tolist() == [[2.0], [1.0], [0.5]]
    assert values_of("label", logits, labels)[0].tolist() == [[2.0], [-1.0], [-0.5]]
    read = read_scores(logits, labels)
    assert read.classes.tolist() == [1, 0, 1]
    assert torch.allclose(read.confidence, torch.tensor([2.0, 1.0, 0.5]).sigmoid())


def test_a_regression_is_its_value() -> None:
    """Told by labels that are numbers."""
    values, labels = torch.tensor([[2.0], [-1.0]]), torch.tensor([1.5, 0.2])
    assert values_of("label", values, labels)[0].tolist() == [[2.0], [-1.0]]
    assert read_scores(values, labels).confidence.tolist() == [2.0, -1.0]
    assert truths(labels, 2) == [1.5, pytest.approx(0.2)]


def test_multi_label_sums_the_classes_that_are_there() -> None:
    """And its confidence is a sigmoid."""
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    values, classes = values_of("label", labels=labels)
    assert values.tolist() == [[4.0], [0.0]]
    assert classes.tolist() == [[-1], [-1]]
    assert torch.allclose(read_scores(SCORES, labels).confidence, torch.tensor([3.0, 0.5]).sigmoid())
    assert truths(labels, 2) == [[0, 1], [2]]


def test_one_hot_labels_are_classes() -> None:
    """Also as floats."""
    assert label_classes(torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), 2).tolist() == [2, 0]


def test_dense_scores_are_summed_over_the_pixels_of_the_class() -> None:
    """As many classes as there are; the prediction is the one with most pixels."""
    scores = torch.tensor([[[[5.0, 1.0], [1.0, 1.0]], [[0.0, 2.0], [3.0, 4.0]]]])
    values, classes = values_of("predicted", scores)
    assert values.tolist() == [[9.0]]
    assert classes.tolist() == [[1]]
    assert values_of(0, scores)[0].tolist() == [[5.0]]
    probabilities = scores.softmax(1)[0, 1]
    expected = (probabilities.sum() - probabilities[0, 0]) / 3
    assert torch.allclose(read_scores(scores, None).confidence, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dense_scores_in_half_precision_are_counted_exactly(dtype) -> None:
    """45,005 pixels against 44,995 are the same number in half precision, and 90,000 are infinitely many in float16."""
    scores = torch.zeros(2, 2, 300, 300, dtype=dtype)
    scores[0, 0].flatten()[:44_995] = 2
    scores[0, 1].flatten()[44_995:] = 2
    scores[1, 1] = 2
    found = read_scores(scores, None)
    assert found.classes.tolist() == [1, 1]
    assert found.values.tolist() == [[89_990, 90_010], [0, 180_000]]
    assert torch.allclose(found.confidence, torch.tensor([2.0, 2.0]).sigmoid())


def test_label_maps_count_as_their_most_frequent_class() -> None:
    """(N, H, W)."""
    labels = torch.tensor([[[0, 2], [2, 1]], [[1, 1], [1, 0]]])
    assert label_classes(labels, 2).tolist() == [2, 1]


def test_a_callable_gets_the_raw_output_and_the_labels() -> None:
    """And must give one value an image."""
    output, labels = {"logits": SCORES}, torch.tensor([0, 1])
    values, _ = values_of(lambda raw, known: raw["logits"][:, 0] * (known + 1), labels=labels, output=output)
    assert values.tolist() == [[1.0], [1.0]]
    with pytest.raises(ValueError, match=r"returned \(\), not one value an image, \(2,\)"):
        values_of(lambda raw, known: raw.sum())


def test_target_objects_are_one_an_image() -> None:
    """Each gets its own image's row."""
    assert values_of([lambda row: row[0], lambda row: row.sum()])[0].tolist() == [[1.0], [-0.5]]


@pytest.mark.parametrize("target", ["lable", -1, [], [0, -2], 1.5, True, [0, "a"], None])
def test_what_can_be_no_target_is_refused(target) -> None:
    """In the constructor, by name."""
    with pytest.raises((ValueError, TypeError), match="target"):
        check_target(target)


def test_odd_scores_are_refused_with_their_shape() -> None:
    """(N, L, K) is no table of classes."""
    with pytest.raises(ValueError, match=r"output=\(2, 3, 4\)"):
        read_scores(torch.zeros(2, 3, 4), None)
