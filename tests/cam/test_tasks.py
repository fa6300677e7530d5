"""What scores and labels mean, told once, from all labels."""

import math
from types import SimpleNamespace

import pytest
import pytorch_lightning
import segmentation_models_pytorch as smp
import torch
import torchmetrics
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gradcam.cam.evidence import Evidence, evidence_of, validated_alone
from lightning_gradcam.cam.outputs import candidates, maker_of, one_an_image, per_image
from lightning_gradcam.cam.tasks import Task, check_task, intersection_over_union
from lightning_gradcam.cam.telling import decide

IMAGES = torch.zeros(2, 3, 8, 8)
ONE, FOUR = torch.tensor([[0.3], [-2.0]]), torch.tensor([[0.5, 1, -1, 0], [2, 0, 0, 3.0]])
DENSE_ONE, DENSE_FOUR = torch.randn(2, 1, 8, 8), torch.randn(2, 4, 8, 8)
NONE = Evidence({})
LOSSES = {
    "bce": Evidence({"binary": "BCELoss"}),
    "mse": Evidence({"regression": "MSELoss"}),
    "cross entropy": Evidence({"multiclass": "CrossEntropyLoss"}),
}
LENGTH_ONE = F.normalize(torch.randn(2, 64), dim=1)


def floats(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


MAP = torch.randint(0, 4, (8, 8, 8))
CASES = {
    "whole labels": (FOUR, torch.tensor([3, 0, 2, 1]), NONE, "multiclass"),
    "float classes": (FOUR, floats(0, 1, 3), NONE, "multiclass"),
    "labels of -100 and 255": (FOUR, torch.tensor([1, -100, 255, 3]), NONE, "multiclass"),
    "no labels": (FOUR, None, NONE, "multiclass"),
    "one-hot": (FOUR, F.one_hot(torch.tensor([1, 2]), 4).float(), NONE, "multiclass"),
    "soft labels": (FOUR, torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.5, 0.5, 0, 0]]), NONE, "multiclass"),
    "smoothed": (FOUR, F.one_hot(torch.tensor([1, 2]), 4) * 0.9 + 0.025, NONE, "multiclass"),
    "several": (FOUR, torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1]]), NONE, "multilabel"),
    "none of several": (FOUR, torch.zeros(2, 4), NONE, "multilabel"),
    "one each, by a binary loss": (FOUR, F.one_hot(torch.tensor([1, 2]), 4).float(), LOSSES["bce"], "multilabel"),
    "several, smoothed": (FOUR, torch.tensor([[0.9, 0.9, 0.1, 0.1]]), NONE, "multilabel"),
    "landmarks": (FOUR, torch.tensor([[27.2, 3, 8.5, 1], [0, 1, 1, 0]]), NONE, "regression"),
    "landmarks in 0..1": (FOUR, torch.tensor([[0.1, 0.2, 0.9, 0.4], [0, 1, 1, 0]]), NONE, "regression"),
    "counts": (FOUR, torch.tensor([[12, 0, 3, 7]]), NONE, "regression"),
    "a label that has no place": (FOUR, torch.tensor([7, 1]), NONE, "none"),
    "classes of other numbers": (torch.randn(2, 64), torch.tensor([7, 1]), Evidence({}, frozenset({10})), "none"),
    "classes whose error is regressed": (FOUR, torch.tensor([1, 2]), LOSSES["mse"], "multiclass"),
    "an embedding whose error is regressed": (torch.randn(2, 64), torch.tensor([1, 2]), LOSSES["mse"], "none"),
    "classes whose error is regressed, and counted": (
        *(FOUR, torch.tensor([1, 2]), Evidence({"regression": "MSELoss"}, frozenset({4})), "multiclass"),
    ),
    "a class more than the metric counts": (FOUR, torch.tensor([2, 1]), Evidence({}, frozenset({3})), "multiclass"),
    "length one": (LENGTH_ONE, torch.tensor([7, 1]), NONE, "none"),
    "length one, of classes": (LENGTH_ONE, torch.tensor([7, 1]), LOSSES["cross entropy"], "multiclass"),
    "length one, of values": (LENGTH_ONE, torch.randn(8, 64), LOSSES["mse"], "regression"),
    "length one, of rows": (LENGTH_ONE, torch.randn(8, 64), NONE, "regression"),
    "length one, of values without labels": (LENGTH_ONE, None, LOSSES["mse"], "regression"),
    "sure shares": (torch.eye(4)[:2], torch.tensor([3, 1]), NONE, "multiclass"),
    "two columns of length one": (F.normalize(torch.randn(2, 2), dim=1), torch.tensor([0, 1]), NONE, "multiclass"),
    "no labels, by a binary loss": (FOUR, None, LOSSES["bce"], "multilabel"),
    "no labels, by a regression's": (FOUR, None, LOSSES["mse"], "regression"),
    "rows that sum to one below zero": (FOUR, torch.tensor([[2.0, -1, 0, 0], [0.5, 0.5, 0, 0]]), NONE, "regression"),
    "binary": (ONE, floats(0, 1, 1), NONE, "binary"),
    "binary, whole": (ONE, torch.tensor([0, 1]), NONE, "binary"),
    "binary, columns": (ONE, torch.tensor([[0], [1]]), NONE, "binary"),
    "margin loss": (ONE, torch.tensor([-1, 1]), NONE, "binary"),
    "soft binary": (ONE, floats(0.1, 0.9), LOSSES["bce"], "binary"),
    "a value": (ONE, floats(0.1, 27), NONE, "regression"),
    "a value, first 0 and 1": (ONE, floats(0, 1, 0, 30.5), NONE, "regression"),
    "ages": (ONE, torch.tensor([47, 1, 15]), NONE, "regression"),
    "a value of 0 and 1 by its loss": (ONE, floats(0, 1), LOSSES["mse"], "regression"),
    "label maps": (DENSE_FOUR, MAP, NONE, "segmentation"),
    "label maps with void": (DENSE_FOUR, torch.where(MAP == 3, 255, MAP), NONE, "segmentation"),
    "masks": (DENSE_ONE, (MAP > 1)[:, None].float(), NONE, "segmentation"),
    "masks of a dimension less": (DENSE_ONE[:, 0], MAP > 1, NONE, "segmentation"),
    "planes": (DENSE_FOUR, F.one_hot(MAP, 4).movedim(-1, 1), NONE, "segmentation"),
    "dense without labels": (DENSE_FOUR, None, NONE, "segmentation"),
    "soft masks": (DENSE_ONE, torch.rand(8, 1, 8, 8), LOSSES["bce"], "segmentation"),
    "images rebuilt by a binary loss": (torch.rand(2, 3, 8, 8), torch.rand(8, 3, 8, 8), LOSSES["bce"], "none"),
    "label maps by a regression's loss": (DENSE_FOUR, MAP, LOSSES["mse"], "segmentation"),
    "heat of one thing by a regression's loss": (DENSE_ONE, MAP % 2, LOSSES["mse"], "regression"),
    "depth": (DENSE_ONE, torch.rand(8, 1, 8, 8) * 10, NONE, "regression"),
    "an autoencoder with classes": (torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), NONE, "none"),
    "an autoencoder by its loss": (torch.rand(2, 3, 8, 8), None, LOSSES["mse"], "none"),
    "labels that are images": (torch.rand(2, 3, 8, 8), torch.rand(8, 3, 8, 8), NONE, "none"),
}


@pytest.mark.parametrize(("scores", "labels", "evidence", "kind"), CASES.values(), ids=CASES)
def test_the_task_is_told_from_shapes_labels_and_the_modules_own_words(scores, labels, evidence, kind) -> None:
    """And in which way it could be another."""
    assert decide(scores, IMAGES, labels, evidence, None).kind == kind


@pytest.mark.parametrize(
    ("scores", "labels", "hint"),
    [
        (ONE, None, "task='regression'"),
        (FOUR, None, ""),
        (torch.rand(2, 3, 8, 8), None, "task='none'"),
        (FOUR, torch.rand(2, 4), "task='multilabel'"),
        (FOUR, torch.tensor([[1, 2], [0, 3]]), "label_key="),
        (torch.randn(2, 64), torch.tensor([1, 2]), "task='none'"),
        (FOUR, torch.tensor([1, 2]), ""),
        (DENSE_FOUR, torch.tensor([1, 2]), "output=lambda model, images: model(images).mean((2, 3))"),
        (ONE, floats(0, 1), ""),
    ],
)
def test_where_it_could_be_another_the_argument_is_named(scores, labels, hint) -> None:
    """Else nothing is said."""
    doubt = decide(scores, IMAGES, labels, NONE, None).doubt
    assert hint in doubt
    assert bool(doubt) == bool(hint)


def test_a_named_task_is_taken() -> None:
    """If the scores can be read as it."""
    assert decide(ONE, IMAGES, floats(0, 1), NONE, "regression") == Task("regression", 1, why="task=")
    with pytest.raises(ValueError, match=r"task='segmentation' does not fit scores \(N, 4\)"):
        decide(FOUR, IMAGES, None, NONE, "segmentation")
    with pytest.raises(ValueError, match=r"output=\(N, 3, 4\): scores are"):
        decide(torch.zeros(2, 3, 4), IMAGES, None, NONE, None)
    with pytest.raises(ValueError, match=r"task='multi-label' is unknown; did you mean 'multilabel'"):
        check_task("multi-label")


def said(task: Task, labels: torch.Tensor) -> list:
    return task.truths(task.truth(labels), len(labels))


def test_what_labels_say() -> None:
    """Classes, values, maps; nothing where there is no label."""
    assert Task("multiclass", 3).truth(torch.tensor([2, -100, 255, -1])).tolist() == [2, -1, -1, -1]
    assert Task("multiclass", 3).truth(torch.tensor([[0.2, 0.7, 0.1]])).tolist() == [1]
    assert Task("multiclass", 3).truth(torch.tensor([[1, 2]])) is None
    assert Task("binary", 2, signed=True).truth(torch.tensor([-1, 1])).tolist() == [0, 1]
    assert Task("binary", 2).truth(floats(0.1, 0.9)).tolist() == [0, 1]
    assert said(Task("none", 64), torch.tensor([70, 3])) == [[70], [3]]
    assert str(said(Task("regression", 2), torch.tensor([[1.5, math.nan], [2, 3]]))) == "[[1.5, nan], [2.0, 3.0]]"
    assert said(Task("multilabel", 3), torch.tensor([[1, 0, 1], [0, 0, 0]])) == [[0, 2], []]
    seen = said(Task("segmentation", 3, is_dense=True), torch.tensor([[[2, 2], [0, 255]], [[255, 255], [255, 255]]]))
    assert seen == [[2, 0], []]
    assert Task("multiclass", 3).truths(None, 2) == [[], []]
    assert Task("regression", 2).truth(torch.ones(4, 3)) is None
    assert Task("regression", 2).truth(torch.ones(4, 1)).tolist() == [[1]] * 4


def test_what_label_maps_say() -> None:
    """Where one score tells a foreground, 255 is the foreground of 0 and 255, and the void of 0, 1 and 255."""
    planes, single = Task("segmentation", 3, is_dense=True), Task("segmentation", 2, is_dense=True, is_single=True)
    one_hot = torch.tensor([[[[1, 0]], [[0, 0]], [[0, 0]]]])
    assert planes.truth(one_hot).tolist() == [[[0, -1]]]
    assert planes.truth(torch.tensor([[[2, 255]]])).tolist() == [[[2, -1]]]
    assert single.truth(torch.tensor([[[0, 255]]])).tolist() == [[[0, 1]]]
    assert single.truth(torch.tensor([[[0, 255]], [[1, 0]]])).tolist() == [[[0, -1]], [[1, 0]]]
    assert single.truth(torch.tensor([[[0.4, 0.6]]])).tolist() == [[[0, 1]]]
    assert single.truth(torch.tensor([[[3, 250]]])).tolist() == [[[0, 1]]]  # as JPEG's noise leaves them


def test_losses_and_metrics_are_asked() -> None:
    """A module's submodules, and the functions that its steps name."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.accuracy = torchmetrics.classification.MulticlassAccuracy(num_classes=7)

        def training_step(self, batch, batch_idx):
            return sum(F.mse_loss(*pair) for pair in batch)

    found = evidence_of(Own(), {5}, "")
    assert found.words == {"multiclass": "MulticlassAccuracy", "regression": "mse_loss"}
    assert found.counts == {5, 7}
    assert not found.says("regression")
    assert evidence_of(nn.Sequential(nn.BCEWithLogitsLoss()), (), "").says("binary")
    assert evidence_of(nn.Sequential(torchmetrics.MeanSquaredError()), (), "").says("regression")


def test_what_made_the_scores_is_seen_through_what_shapes_them() -> None:
    """A sigmoid behind a squeeze, a softmax in another precision."""
    logits = torch.randn(2, 4, requires_grad=True)
    assert maker_of(logits.sigmoid()[:, :1].squeeze(1)).startswith("Sigmoid")
    assert maker_of(logits.softmax(1).double().reshape(2, 2, 2)).startswith("Softmax")
    assert not maker_of(nn.Linear(4, 4)(logits)).startswith(("Sigmoid", "Softmax"))
    assert maker_of(torch.randn(2, 4)) == ""


def test_a_sigmoid_within_the_model_is_told_from_small_logits() -> None:
    """By what made them, not by their values."""
    values = torch.tensor([[0.4], [0.1]], requires_grad=True)
    for scores, probable in ((values * 1, False), (values.sigmoid(), True)):
        evidence = evidence_of(nn.Identity(), (), maker_of(scores))
        assert decide(scores, IMAGES, floats(0, 1), evidence, None).link == ("identity" if probable else "sigmoid")


def test_an_ensembles_rows_are_averaged_by_image() -> None:
    """Whichever lie first, told by the scores of one image alone; other rows are refused."""
    scores = torch.randn(3, 2, 4)  # members, images, classes
    first, last = scores.reshape(6, 4), scores.transpose(0, 1).reshape(6, 4)
    for rows, order in ((first, "members first"), (last, "images first")):
        assert per_image(rows, IMAGES, lambda: scores[:, 0]) == order
        assert torch.allclose(one_an_image(rows, 2, order, 2), scores.mean(0))
    assert per_image(scores[0], IMAGES, lambda: scores[0]) == ""
    assert torch.equal(one_an_image(scores[0][..., None, None], 2, "", 4), scores[0])  # a head of convolutions
    assert torch.allclose(one_an_image(scores, 2, "stacked", 3), scores.mean(0))
    for rows in (torch.randn(5, 4), torch.randn(6, 4)):
        with pytest.raises(ValueError, match="the scores have no row an image"):
            per_image(rows, IMAGES, lambda: scores[:, 0])


@pytest.mark.parametrize("zeros", [False, True], ids=["trained", "zeros"])
def test_whose_rows_an_ensemble_has_is_told_by_gradients(zeros) -> None:
    """Also from heads that begin as zeros, whose rows are all the same."""
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    heads = [nn.Linear(192, 4) for _ in range(3)]
    for head in heads:
        head.weight.data.mul_(not zeros)
    members = torch.stack([head(images.flatten(1)) for head in heads])  # (m, n, K)
    alone = members[:, 0].detach
    assert per_image(members.flatten(0, 1), images, alone) == "members first"
    assert per_image(members.transpose(0, 1).flatten(0, 1), images, alone) == "images first"
    assert per_image(members, images, alone) == "stacked"
    assert per_image(members[:2], images, alone) == "stacked"
    assert per_image(members.transpose(0, 1), images, alone) == ""


@pytest.mark.parametrize("shape", [(3,), (1,), (4, 5, 5), (1, 5, 5)])
def test_a_head_that_squeezes_leaves_one_image_its_row(shape) -> None:
    """Of several classes, and of one."""
    scores = torch.rand(2, *shape).squeeze()
    alone = scores[:1].squeeze()
    assert torch.equal(one_an_image(alone, 1, "", scores.dim()), scores[:1])


SCORES = torch.randn(2, 4)


@pytest.mark.parametrize(
    ("output", "places"),
    [
        (SCORES, [()]),
        ((SCORES, SCORES), [(0,), (1,)]),
        ([SCORES, torch.tensor(1.0)], [(0,)]),
        ({"logits": SCORES, "loss": torch.zeros(())}, [("logits",)]),
        ({"out": SCORES, "aux": SCORES + 1}, [("out",)]),
        ({"pred": (SCORES, None)}, [("pred", 0)]),
        ({"anything": SCORES}, [("anything",)]),
        ({"age": SCORES, "species": SCORES + 1, "loss": torch.zeros(())}, [("age",), ("species",)]),
        ({"features": SCORES, "class_logits": SCORES + 1}, [("class_logits",)]),
        (SimpleNamespace(logits=SCORES), [("logits",)]),
        (SimpleNamespace(output=SCORES), [("output",)]),
    ],
)
def test_scores_are_found_in_any_usual_output(output, places) -> None:
    """Tensor, tuple, dict or object."""
    assert [place for place, _ in candidates(output)] == places


@pytest.mark.parametrize("output", [{"a": {"b": SCORES}, "c": 1}, object(), (), None, [{"boxes": SCORES}]])
def test_other_outputs_are_refused_with_what_came(output) -> None:
    """And with what to pass."""
    with pytest.raises(ValueError, match=r"output=None found no scores.*output=callable"):
        candidates(output)


def test_a_detectors_output_is_told_with_the_line_to_paste() -> None:
    """Of torchvision's kind: a dict an image."""
    with pytest.raises(ValueError, match=r"output=lambda model, images: torch.stack\(\[one\['scores'\].sum\(\)"):
        candidates([{"boxes": SCORES, "scores": SCORES[0]}])


def test_overlap_is_of_the_labelled_pixels() -> None:
    """Intersection over union, of another size too; torchmetrics' Jaccard index is the oracle."""
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randint(0, 3, (4, 6, 6), generator=generator)
    truth = torch.randint(-1, 3, (4, 6, 6), generator=generator)
    for category in range(3):
        found = intersection_over_union(predicted, truth, torch.full((4,), category))
        for image in range(4):
            known = truth[image] >= 0
            jaccard = torchmetrics.functional.classification.binary_jaccard_index(
                (predicted[image][known] == category).int(), (truth[image][known] == category).int()
            )
            assert float(found[image]) == pytest.approx(float(jaccard))
    large = truth.repeat_interleave(2, 1).repeat_interleave(2, 2)
    small = intersection_over_union(predicted, truth, torch.zeros(4))
    assert torch.equal(intersection_over_union(predicted, large, torch.zeros(4)), small)


PLANES = F.one_hot(MAP % 3, 4).movedim(-1, 1)[:, :3]
LANDMARKS = torch.rand(8, 5, 2) * 8
MORE = {
    "masks, channels last": (DENSE_ONE, (MAP > 1)[..., None].float(), NONE, "segmentation", ""),
    "masks of pictures": (DENSE_ONE, (MAP > 1)[:, None].expand(-1, 3, -1, -1) * 255, NONE, "segmentation", ""),
    "one plane that is not there": (DENSE_FOUR[:, :2], PLANES, NONE, "regression", "label_key="),
    "soft masks with void": (
        *(DENSE_ONE, torch.where(MAP == 3, torch.nan, torch.rand(8, 8, 8)), LOSSES["bce"], "segmentation", ""),
    ),
    "soft masks without a word": (DENSE_ONE, torch.rand(8, 8, 8), NONE, "regression", "task='segmentation'"),
    "255 and no foreground": (DENSE_FOUR[:, :2], (MAP > 1) * 255, NONE, "segmentation", "255 is taken"),
    "a row besides the labels": (FOUR, torch.randn(8, 4), LOSSES["cross entropy"], "regression", "label_key="),
    "planes that none may be of": (
        DENSE_FOUR[:, :3],
        PLANES * (MAP > 0)[:, None],
        NONE,
        "segmentation",
        "task='segmentation'",
    ),
    "planes of which each pixel has one": (DENSE_FOUR[:, :3], PLANES, NONE, "segmentation", "task='multilabel'"),
    "pictures": (torch.randn(2, 3, 8, 8), torch.randint(0, 256, (8, 3, 8, 8)), NONE, "none", ""),
    "planes by a regression's loss": (torch.randn(2, 3, 8, 8), PLANES, LOSSES["mse"], "none", ""),
    "the images": (torch.randn(2, 3, 8, 8), torch.zeros(8, 3, 8, 8), NONE, "none", ""),
    "disparity": (DENSE_ONE, torch.arange(512).reshape(8, 8, 8) // 5 + 1, NONE, "regression", "task='segmentation'"),
    "three values of one score": (DENSE_ONE, MAP % 3, NONE, "regression", "task='segmentation'"),
    "masks of a JPEG": (DENSE_ONE, (MAP > 1) * 250 + MAP, NONE, "segmentation", ""),
    "masks with NaN": (DENSE_ONE, torch.where(MAP == 3, torch.nan, (MAP > 1) * 1.0), NONE, "segmentation", ""),
    "landmarks of x and y": (LANDMARKS[:2], LANDMARKS, NONE, "regression", ""),
    "landmarks of pixels": (LANDMARKS[:2], LANDMARKS.long(), NONE, "regression", ""),
    "heat of landmarks": (torch.randn(2, 5, 8, 8), LANDMARKS, NONE, "segmentation", "label_key="),
    "a row in a row": (FOUR, torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 1]]]), NONE, "multilabel", ""),
    "an embedding's loss": (FOUR, torch.tensor([1, 2]), Evidence({"none": "TripletMarginLoss"}), "none", ""),
    "no word of classes": (FOUR, torch.tensor([1, 2]), Evidence({}, trains=True), "multiclass", "task='none'"),
    "no word, and all classes": (FOUR, torch.tensor([1, 3]), Evidence({}, trains=True), "multiclass", ""),
    "nothing said of several": (FOUR, None, Evidence({}, trains=True), "multiclass", "task='none'"),
    "nothing said of pixels": (DENSE_FOUR, None, Evidence({}, trains=True), "segmentation", "task='regression'"),
    "one-hot, and no word": (FOUR, torch.eye(4)[:2], NONE, "multiclass", "task='multilabel'"),
    "one-hot, by its loss": (FOUR, torch.eye(4)[:2], LOSSES["cross entropy"], "multiclass", ""),
    "soft labels of less than one": (FOUR, torch.eye(4)[:2] * 0.9, LOSSES["cross entropy"], "multiclass", ""),
    "a row of less than one": (FOUR, torch.eye(4)[:2] * 0.9, NONE, "multilabel", "task='multiclass'"),
}


@pytest.mark.parametrize(("scores", "labels", "evidence", "kind", "hint"), MORE.values(), ids=MORE)
def test_more_tasks_are_told_with_what_could_be_another(scores, labels, evidence, kind, hint) -> None:
    """Of labels in whatever layout."""
    found = decide(scores, IMAGES, labels, evidence, None)
    assert found.kind == kind
    assert hint in found.doubt
    assert bool(found.doubt) == bool(hint)


def test_labels_are_read_in_whatever_layout_they_are() -> None:
    """Channels last, masks as pictures, rows in rows, x and y."""
    mask = torch.tensor([[[0, 1], [1, 0]]])
    one = Task("segmentation", 2, is_dense=True, is_single=True)
    big = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)
    for labels in (big, big[:, None], big[..., None], big[:, None].expand(-1, 3, -1, -1) * 255, big * 127):
        assert torch.equal(one.truth(labels), big)
    three = Task("segmentation", 3, is_dense=True)
    assert torch.equal(three.truth(F.one_hot(big, 3)), big)
    two = Task("segmentation", 2, is_dense=True)
    assert torch.equal(two.truth(big * 255), big)
    assert two.truth(torch.tensor([[[0, 255, 1]]])).tolist() == [[[0, -1, 1]]]
    assert Task("multilabel", 2).truth(torch.tensor([[[1, 0]]])).tolist() == [[1, 0]]
    assert Task("regression", 4).truth(torch.arange(4.0).reshape(1, 2, 2)).tolist() == [[0, 1, 2, 3]]


def test_planes_that_may_overlap_have_void() -> None:
    """255 and what is below 0; but 255 is the thing where there is no 1."""
    planes = Task("segmentation", 2, is_dense=True, overlaps=True)
    labels = torch.tensor([[[[1, 0, 255, -1]], [[1, 1, 255, 0]]]])
    assert planes.truth(labels).tolist() == [[[[1, 0, -1, -1]], [[1, 1, -1, 0]]]]
    assert planes.truth(torch.tensor([[[[255, 0]], [[255, 255]]]])).tolist() == [[[[1, 0]], [[1, 1]]]]
    assert said(planes, labels) == [[1, 0]]


def test_of_several_labels_some_may_be_unknown() -> None:
    """As -1, NaN or 255: nothing is said of those classes."""
    task = Task("multilabel", 3)
    for unknown in (-1, math.nan, 255):
        labels = torch.tensor([[1.0, unknown, 0], [unknown, 0, 0]])
        assert said(task, labels) == [[0], []]
        assert task.unknown(task.truth(labels), 2) == [[1], [0]]


def test_unknown_values_are_none() -> None:
    """Of a regression, a whole image's too; of a map the mean of what is known."""
    assert said(Task("regression", 1), floats(3, math.nan)) == [[3.0], []]
    depth = torch.tensor([[[[2.0, math.nan], [math.nan, 4.0]]]])
    assert said(Task("regression", 1, is_dense=True), depth) == [[3.0]]


def test_a_named_task_says_what_pixels_are() -> None:
    """Planes, each by itself; and what it does not fit is told with what does."""
    found = decide(DENSE_FOUR, IMAGES, None, NONE, "multilabel")
    assert (found.kind, found.overlaps, found.link) == ("segmentation", True, "sigmoid")
    with pytest.raises(ValueError, match="accepted: segmentation, regression, none"):
        decide(DENSE_FOUR, IMAGES, None, NONE, "binary")
    doubt = decide(FOUR, IMAGES, torch.tensor([1, 2]), NONE, "multilabel").doubt
    assert doubt == "the labels, (N,), are not read as such; label_key= names others"


def test_ignored_labels_are_not_the_other_class() -> None:
    """-1 beside 1 is a margin loss's label only where no loss leaves it out."""
    two, labels = torch.tensor([[0.5, 1], [2, 0]]), torch.tensor([1, -1, 1, -1])
    for evidence, truth in (
        (NONE, [1, 0, 1, 0]),
        (LOSSES["cross entropy"], [1, -1, 1, -1]),
        (evidence_of(nn.Sequential(nn.CrossEntropyLoss(ignore_index=-1)), (), ""), [1, -1, 1, -1]),
    ):
        assert decide(two, IMAGES, labels, evidence, None).truth(labels).tolist() == truth
    ignoring = evidence_of(nn.Sequential(nn.CrossEntropyLoss(ignore_index=2), nn.CrossEntropyLoss()), (), "")
    assert decide(FOUR, IMAGES, torch.tensor([1, 2]), ignoring, None).truth(torch.tensor([1, 2])).tolist() == [1, -1]
    assert (
        evidence_of(
            nn.Sequential(torchmetrics.JaccardIndex("multiclass", num_classes=3, ignore_index=0)), (), ""
        ).ignored
        is None
    )


def test_more_losses_are_asked() -> None:
    """Functions that a module holds, and other packages' losses."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.criterion = F.cross_entropy

        def training_step(self, batch, batch_idx):
            return self.criterion(*batch)

    assert evidence_of(Own(), (), "").words == {"multiclass": "cross_entropy"}
    assert evidence_of(Own(), (), "").trains
    assert not evidence_of(nn.Identity(), (), "").trains
    assert evidence_of(nn.Sequential(nn.TripletMarginLoss()), (), "").says("none")
    assert evidence_of(nn.Sequential(smp.losses.DiceLoss("multilabel")), (), "").says("multilabel")


def test_probabilities_stay_such_behind_what_leaves_them_between_0_and_1() -> None:
    """A clamp, the mean of several, another size; not behind what may take them anywhere."""
    logits = torch.randn(2, 4, requires_grad=True)
    assert maker_of(logits.sigmoid().clamp(1e-6, 1 - 1e-6)) == "Sigmoid"
    assert maker_of(torch.stack([logits.sigmoid(), (-logits).sigmoid()]).mean(0)) == "Sigmoid"
    assert maker_of((logits.sigmoid() + logits.flip(1).sigmoid()) / 2) == "Sigmoid"
    assert maker_of(F.interpolate(logits.reshape(2, 1, 2, 2).sigmoid(), (4, 4), mode="bilinear")) == "Sigmoid"
    assert maker_of(logits.sigmoid() * logits) == ""
    assert maker_of(nn.Linear(4, 4)(logits.sigmoid())) == ""


def _helper(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels)


class _WithHelpers(pytorch_lightning.LightningModule):
    """Its step calls a method, which calls a function of the program's, which names the loss."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.one_step(batch)

    def one_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return _helper(self(batch[0]), batch[1]) if batch else self.one_step(batch)

    def unused(self, scores: Tensor) -> Tensor:
        return F.mse_loss(scores, scores)


def test_losses_are_found_behind_what_steps_call() -> None:
    """Methods and functions of the same program, and no others; a loss's own parts are none of the module's."""
    assert evidence_of(_WithHelpers(), (), "").words == {"multiclass": "cross_entropy"}

    class NTXentLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cross_entropy = nn.CrossEntropyLoss()

    NTXentLoss.__module__ = "lightly.loss.ntx_ent_loss"
    assert evidence_of(nn.Sequential(NTXentLoss()), (), "").words == {"none": "NTXentLoss"}


def test_a_single_score_without_a_known_loss_may_have_a_threshold_of_its_own() -> None:
    """As an anomaly's has; said where the module trains, and its losses tell nothing of classes."""
    one, labels = torch.randn(2, 1), torch.tensor([0, 1, 1, 0])
    assert "task='regression'" in decide(one, IMAGES, labels, Evidence({}, trains=True), None).doubt
    assert not decide(one, IMAGES, labels, Evidence({"binary": "BCELoss"}, trains=True), None).doubt
    assert not decide(one, IMAGES, labels, Evidence({}), None).doubt


def test_a_classifier_of_transformers_knows_how_many_classes_it_has() -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], num_labels=5)
    assert evidence_of(transformers.ResNetForImageClassification(config), (), "").counts == {5}
    assert evidence_of(transformers.ResNetModel(config), (), "").counts == set()


def test_a_child_that_validation_alone_uses_is_told() -> None:
    """A copy of what trains; neither metrics, nor what forward uses."""

    class Own(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.ema, self.judge = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(5, 5)

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return self.network(batch).sum()

        def validation_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return self.judge(self.measured(batch))

        def measured(self, batch: Tensor) -> Tensor:
            return self.ema(batch)

    class Used(Own):
        def forward(self, batch: Tensor) -> Tensor:
            return self.ema(batch)

    assert validated_alone(Own()) == ["ema"]
    assert validated_alone(Used()) == []
    assert validated_alone(nn.Linear(2, 2)) == []
