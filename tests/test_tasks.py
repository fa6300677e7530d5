"""Models and data of all tasks, fitted: what is said of each image, read back from the event file."""

import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_gradcam import GradCAMCallback, explain, read_log
from lightning_gradcam.logs import schema
from lightning_gradcam.logs.run_log import RunLog

from .conftest import Classifier, complaints, scalars, small_cnn

TAG = "gradcam/network.6"
IMAGES = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Said(NamedTuple):
    """What a run's last look says: each image's truth and answer, which are wrong, the header, and all looks."""

    truths: list[str]
    answers: list[str]
    wrong: list[int]
    about: str
    looks: list[dict[str, np.ndarray]]


def said_in(folder, tag: str = TAG) -> Said:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    probe = json.loads(events.Tensors("gradcam/probe")[-1].tensor_proto.string_val[0])
    looks = []
    for event in events.Tensors(f"{tag}/maps"):
        header, *parts = event.tensor_proto.string_val
        sizes = json.loads(header)["sizes"]
        pairs = zip(schema.LOOK, map(zlib.decompress, parts), strict=True)
        looks.append({f.name: np.frombuffer(part, f.dtype).reshape(f.shape(sizes)) for f, part in pairs})
    last = looks[-1]
    answers = json.loads(last["answers"].tobytes())
    return Said(probe["said"], answers, last["wrong"].tolist(), probe["about"], looks)


class Fitted(Classifier):
    """A network trained by any loss on (images, labels)."""

    def __init__(self, network: nn.Module, loss: Callable[[Any, Tensor], Tensor], lr: float = 0.01) -> None:
        super().__init__(network, lr)
        self.loss = loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.loss(self(batch[0]), batch[-1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.loss(self(batch[0]), batch[-1]))


def dense(classes: int, *behind: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        *(nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 1), *behind),
    )


def flat(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda scores, labels: loss(scores.squeeze(1), labels.float())


CROSS_ENTROPY = lambda scores, labels: F.cross_entropy(scores, labels.long().clamp(-1, 2), ignore_index=-1)  # noqa: E731


@pytest.fixture
def fitted(make_trainer, tmp_path) -> Callable[..., Said]:
    """Fit for an epoch; return what is said, as grids have it too."""

    def fit(network: nn.Module, labels: Tensor, loss: Callable, tag: str = TAG, **options: Any) -> Said:
        torch.manual_seed(0)
        loader = DataLoader(TensorDataset(IMAGES[: len(labels)], labels), 4)
        watching = GradCAMCallback(images=list(range(len(labels))), **options)
        make_trainer(watching, max_epochs=1).fit(Fitted(network, loss), loader, loader)
        return said_in(tmp_path / "run", tag)

    return fit


def predictions(network: nn.Module, count: int = 8) -> Tensor:
    with torch.no_grad():
        return network.eval()(IMAGES[:count])


def values(row: Tensor) -> str:
    return ", ".join([*(f"{value:.3g}" for value in row[:2].tolist()), *(["…"] if len(row) > 2 else [])])


def test_landmarks_are_values(fitted, recwarn, tmp_path) -> None:
    """Several outputs and labels (N, K): what each is, and what was said."""
    labels = torch.rand(8, 6) * 30
    network = small_cnn(classes=6)
    said = fitted(network, labels, F.mse_loss)
    assert said.truths == [f"true {values(row)}" for row in labels]
    assert said.answers == [f"predicted {values(row)}" for row in predictions(network)]
    assert said.wrong == [0] * 8
    assert said.about == "target: sum of all values  ·  gradcam  ·  regression"
    assert read_log(tmp_path).to_frame()["wrong"].isna().all()
    assert complaints(recwarn) == []


@pytest.mark.parametrize(
    "labels", [torch.rand(8) * 90, torch.randint(2, 90, (8,)), torch.tensor([0.0, 1] * 3 + [30, 7])]
)
def test_one_value_is_a_value_whatever_the_first_labels_are(fitted, labels) -> None:
    """Floats, ages, zeros and ones in front."""
    network = small_cnn(classes=1)
    said = fitted(network, labels, flat(F.mse_loss))
    assert said.truths == [f"true {value:.3g}" for value in labels.tolist()]
    assert said.answers == [f"predicted {value:.3g}" for value in predictions(network)[:, 0].tolist()]
    assert "regression" in said.about


@pytest.mark.parametrize("kind", ["smoothed", "mixed", "float", "one-hot"])
def test_soft_and_float_labels_are_of_the_class_of_most_weight(fitted, kind) -> None:
    """Label smoothing, mixup, one-hot; whole numbers as floats."""
    classes = torch.tensor([0, 1, 2, 1, 0, 2, 1, 0])
    hot = F.one_hot(classes, 3).float()
    labels = {"smoothed": hot * 0.9 + 0.1 / 3, "mixed": 0.7 * hot + 0.3 * hot.flip(0), "float": classes.float()}
    network = small_cnn()
    loss = F.cross_entropy if kind != "float" else lambda scores, known: F.cross_entropy(scores, known.long())
    said = fitted(network, labels.get(kind, hot), loss)
    shares = predictions(network).softmax(1)
    assert said.truths == [f"true {one}" for one in classes.tolist()]
    assert said.answers == [f"predicted {int(row.argmax())} ({row.max():.0%})" for row in shares]
    assert said.looks[-1]["targets"][:, 0].tolist() == classes.tolist()
    assert said.wrong == (shares.argmax(1) != classes).int().tolist()


def test_of_several_labels_none_is_told_from_unknown(make_trainer, tmp_path) -> None:
    """Known to be of none, known of some classes alone, and not known at all: what nobody knows is not right."""
    labels = torch.tensor([[0.0, 0, 0], [-1, -1, -1], [0, -1, -1], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    network = small_cnn()
    with torch.no_grad():
        network[9].weight.zero_()
        network[9].bias.copy_(torch.tensor([-1.0, 2.0, -2.0]))  # all are said to be of class 1
    loader = DataLoader(TensorDataset(IMAGES[:6], labels), 6)
    loss = lambda scores, known: F.binary_cross_entropy_with_logits(scores, known.clamp(min=0)) * 0  # noqa: E731
    watching = GradCAMCallback(images=list(range(6)), task="multilabel", target="predicted")
    make_trainer(watching, max_epochs=1).fit(Fitted(network, loss), loader, loader)
    log = read_log(tmp_path)
    assert log.said == ["true none", "", "", "true 0", "true 2", "true none"]
    frame = log.to_frame()
    last = frame[frame["step"] == 1]
    assert last["true"].fillna("unknown").tolist() == ["none", "unknown", "unknown", 0, 2, "none"]
    assert last["predicted"].tolist() == [1] * 6
    assert last["wrong"].isna().tolist() == [False, True, True, False, False, False]
    assert last["wrong"].dropna().all()
    assert log.wrong[-1].tolist() == [True, False, False, True, True, True]


def test_an_image_without_a_label_has_none(fitted, tmp_path) -> None:
    """-100 and 255: it is explained for its prediction, and is not wrong."""
    labels = torch.tensor([0, 1, -100, 2, 0, 1, 2, 255])
    network = small_cnn()
    said = fitted(network, labels, CROSS_ENTROPY)
    known = predictions(network).argmax(1)
    assert [said.truths[place] for place in (0, 2, 7)] == ["true 0", "", ""]
    assert [said.wrong[place] for place in (2, 7)] == [0, 0]
    frame = read_log(tmp_path).to_frame()
    assert frame.loc[frame["wrong"].isna(), "image"].unique().tolist() == [2, 7]
    last = frame[frame["step"] == frame["step"].max()]
    assert last["wrong"].mean() == np.mean([said.wrong[place] for place in range(8) if place not in (2, 7)])
    assert said.looks[-1]["targets"][[2, 7], 0].tolist() == known[[2, 7]].tolist()


def test_a_sigmoid_within_the_model_is_read_as_a_probability(fitted) -> None:
    """0.25 is class 0 at 75 %."""
    network = nn.Sequential(*small_cnn(classes=1), nn.Sigmoid())
    labels = torch.tensor([0.0, 1, 0, 1, 0, 1, 0, 0])
    said = fitted(network, labels, flat(F.binary_cross_entropy))
    shares = predictions(network)[:, 0].tolist()
    expected = [f"predicted {int(share > 0.5)} ({max(share, 1 - share):.0%})" for share in shares]
    assert said.answers == expected
    assert said.wrong == [int((share > 0.5) != label) for share, label in zip(shares, labels.tolist(), strict=True)]


def square(place: int) -> Tensor:
    mask = torch.zeros(16, 16)
    mask[place : place + 6, place : place + 6] = 1
    return mask


@pytest.mark.parametrize("shape", ["N1HW", "NHW", "255"])
def test_of_a_binary_segmentation_the_foreground_is_explained(fitted, tmp_path, shape) -> None:
    """Whatever masks look like; the caption has its IoU, and the heat on it is told."""
    masks = torch.stack([square(place) for place in range(8)])[:, None]
    labels = {"N1HW": masks, "NHW": masks[:, 0], "255": (masks * 255).byte()}[shape]
    network = dense(1)
    loss = lambda scores, known: F.binary_cross_entropy_with_logits(scores, (known > 0).float().reshape(scores.shape))  # noqa: E731
    said = fitted(network, labels, loss, tag="gradcam/network.7")
    found = predictions(network)[:, 0] > 0
    there = masks[:, 0] > 0
    overlap = ((found & there).sum((1, 2)) / (found | there).sum((1, 2))).tolist()
    assert said.answers == [f"foreground: IoU {one:.2f}" for one in overlap]
    assert said.looks[-1]["targets"][:, 0].tolist() == [1] * 8
    assert said.truths == [""] * 8
    assert said.about == "target: foreground  ·  gradcam  ·  segmentation"
    assert len(scalars(tmp_path / "run")["gradcam/network.7/in_mask"]) >= 1


def test_of_a_segmentation_no_mask_is_the_thing(make_trainer, tmp_path) -> None:
    """Whose thing is the explained class, also where the batch has masks beside."""
    labels, masks = torch.stack([square(place) for place in range(8)]).long(), torch.ones(8, 16, 16, dtype=torch.bool)
    loader = DataLoader(TensorDataset(IMAGES[:8], masks, labels), 4)
    watching = GradCAMCallback(images=4, task="segmentation", label_key=2, mask_key=1)
    make_trainer(watching, max_epochs=1).fit(Fitted(dense(2), F.cross_entropy), loader, loader)
    assert "gradcam/mask_area" not in scalars(tmp_path / "run")
    assert read_log(tmp_path).areas is None


def test_of_a_segmentation_the_most_frequent_labelled_class_is_explained(fitted, tmp_path) -> None:
    """The void, 255, is left out: of an image that is void but for some pixels their class."""
    labels = torch.full((8, 16, 16), 255)
    for image in range(8):
        labels[image, 2:5, 2:5] = image % 3
        labels[image, 8, 8] = (image + 1) % 3
    network = dense(3)
    said = fitted(
        network, labels, lambda scores, known: F.cross_entropy(scores, known, ignore_index=255), tag="gradcam/network.7"
    )
    assert said.looks[-1]["targets"][:, 0].tolist() == [image % 3 for image in range(8)]
    assert said.truths == [f"true {image % 3}, {(image + 1) % 3}" for image in range(8)]
    found = predictions(network).argmax(1)
    for image, answer in enumerate(said.answers):
        same, there = (found[image] == image % 3) & (labels[image] != 255), labels[image] == image % 3
        assert answer == f"{image % 3}: IoU {float((same & there).sum() / (same | there).sum()):.2f}"


def test_an_autoencoder_has_no_classes(fitted, tmp_path) -> None:
    """On (x, class) batches: its error is explained, the classes are said, and nothing is wrong."""
    network = dense(3, nn.Sigmoid())
    loss = lambda rebuilt, _: rebuilt.mean()  # noqa: E731
    said = fitted(network, torch.arange(8) % 3, loss, tag="gradcam/network.7")
    errors = (predictions(network) - IMAGES).square().mean((1, 2, 3)).tolist()
    assert said.answers == [f"squared error {one:.3g}" for one in errors]
    assert said.truths == [f"true {place % 3}" for place in range(8)]
    assert said.wrong == [0] * 8
    assert "target: squared error" in said.about
    frame = read_log(tmp_path).to_frame()
    assert frame[frame["step"] == frame["step"].max()]["predicted"].tolist() == pytest.approx(errors, rel=1e-5)
    assert frame["wrong"].isna().all()


def test_an_embedding_has_no_classes(fitted, caplog) -> None:
    """Of unit length, or where a label has no place in it; the second is said."""

    class Unit(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            return F.normalize(super().forward(images), dim=1)

    said = fitted(
        Unit(*small_cnn(classes=32)), torch.arange(8) % 3, lambda rows, _: rows.sum(), tag="gradcam/network.6"
    )
    assert said.answers == ["squared norm of the output 1"] * 8
    assert caplog.text.count("the task is taken to be") == 0


class Ensemble(nn.Module):
    """Three members whose rows lie one behind the other, as torch-uncertainty has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.heads = small_cnn()[:7], nn.ModuleList(small_cnn()[7:] for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([head(self.body(images)) for head in self.heads])


def test_an_ensembles_scores_are_its_members_mean(fitted) -> None:
    """Rows of the right images."""
    network = Ensemble()
    loss = lambda scores, labels: F.cross_entropy(scores, labels.repeat(3))  # noqa: E731
    said = fitted(network, torch.arange(8) % 3, loss, tag="gradcam/network.body")
    shares = predictions(network).reshape(3, 8, 3).mean(0).softmax(1)
    assert said.answers == [f"predicted {int(row.argmax())} ({row.max():.0%})" for row in shares]


class WithFeatures(nn.Module):
    """Returns (features, logits), or the other way round."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.body, self.head, self.first = small_cnn(classes=12), nn.Linear(12, 3), first

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images)
        pair = features, self.head(features)
        return pair if self.first else pair[::-1]


@pytest.mark.parametrize("first", [True, False])
def test_of_features_and_logits_the_logits_are_the_scores(fitted, first) -> None:
    """Told by which was made of the other."""
    network = WithFeatures(first)
    said = fitted(
        network,
        torch.arange(8) % 3,
        lambda pair, labels: F.cross_entropy(pair[first], labels),
        tag="gradcam/network.body.6",
    )
    shares = predictions(network)[int(first)].softmax(1)
    assert said.answers == [f"predicted {int(row.argmax())} ({row.max():.0%})" for row in shares]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 1, 0]]), 3),
        (torch.tensor([0.0, 1, 0, 1, 0, 1, 0.5, 30]), 1),
        (torch.arange(8) % 3, 3),
    ],
    ids=["multilabel", "regression", "multiclass"],
)
def test_the_same_is_shown_whatever_the_batch_size_and_the_memory(labels, classes) -> None:
    """1 to 8 images a pass, and halves of these where memory runs out: maps, scores, targets."""

    class Tight(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 2:
                raise torch.OutOfMemoryError("no")
            return self.network(images)

    network = small_cnn(classes=classes)
    whole = explain(network, IMAGES, labels=labels, target="label", batch_size=8)
    for size in (1, 2, 3, 4, 5, 7):
        found = explain(network, IMAGES, labels=labels, target="label", batch_size=size)
        assert torch.allclose(found.heatmaps, whole.heatmaps, atol=1e-4)
        assert torch.allclose(found.scores, whole.scores, atol=1e-5)
        assert torch.equal(found.targets, whole.targets)
    found = explain(Tight(), IMAGES, labels=labels, target="label", batch_size=8)
    assert torch.allclose(found.heatmaps, whole.heatmaps, atol=1e-4)
    assert torch.allclose(found.scores, whole.scores, atol=1e-5)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda model, images: model(images).argmax(1), "the model returned int64 numbers, as an argmax gives them"),
        (lambda model, images: [{"scores": model(images)[0]}], r"a list of 1.*of a detector output=lambda model"),
        (lambda model, images: model(images).repeat(2, 1)[:3], r"output=\(3, 3\) for 2 images: the scores have no row"),
    ],
)
def test_what_cannot_be_explained_is_told_with_the_reason(output, message) -> None:
    """And what to pass."""
    with pytest.raises(ValueError, match=message):
        explain(small_cnn(), IMAGES, output=output)


def test_a_forward_under_inference_mode_is_told_by_name() -> None:
    """No layer that one could name would help."""

    class Fast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_cnn()

        @torch.inference_mode()
        def forward(self, images: Tensor) -> Tensor:
            return self.network(images)

    with pytest.raises(ValueError, match=r"forward runs under torch.inference_mode.*torch.no_grad there"):
        explain(Fast(), IMAGES)


class ChannelsLast(nn.Module):
    """A network that takes (N, H, W, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_cnn()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.movedim(-1, 1))


def test_images_with_their_channels_last_are_explained_and_shown() -> None:
    """As the same images with their channels first."""

    model = ChannelsLast()
    found, expected = explain(model, IMAGES.movedim(1, -1).contiguous()), explain(model.network, IMAGES)
    assert (found.layer, found.heatmaps.shape) == ("network.6", (8, 16, 16))
    assert torch.allclose(found.heatmaps, expected.heatmaps, atol=1e-6)
    assert (np.asarray(found.grid())[100:] == np.asarray(expected.grid())[100:]).all()


def test_augmentations_are_of_the_class_of_the_image_itself() -> None:
    """A brighter image may be predicted otherwise; its map would be another class's."""

    class Bright(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_cnn(classes=2)

        def forward(self, images: Tensor) -> Tensor:
            flip = (images.mean((1, 2, 3)) > IMAGES[:1].mean() * 1.05).float()[:, None]
            scores = self.network(images)
            return torch.where(flip > 0, scores.flip(1), scores)

    torch.manual_seed(3)
    model = Bright()
    found = explain(model, IMAGES[:1], aug_smooth=True)
    predicted = int(found.predictions)
    assert explain(model, IMAGES[:1] * 1.1).predictions.tolist() == [1 - predicted]
    assert found.targets.tolist() == [predicted]
    named = [explain(model, IMAGES[:1], target=one, aug_smooth=True).heatmaps for one in (predicted, 1 - predicted)]
    assert torch.equal(found.heatmaps, named[0])
    assert not torch.allclose(found.heatmaps, named[1], atol=0.1)


def test_several_labels_are_explained_by_grad_cams_methods_too() -> None:
    """As the sum of their scores."""
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 1]])
    network = small_cnn()
    found = explain(network, IMAGES[:2], labels=labels, target="label", method="fem")
    assert found.targets.tolist() == [-1, -1]
    ours = explain(network, IMAGES[:2], labels=labels, target="label", method="gradcam")
    assert found.heatmaps.shape == ours.heatmaps.shape


def test_captions_stand_under_their_images(make_trainer, tmp_path, monkeypatch) -> None:
    """What is drawn is what is written for the tab."""
    drawn: list[list[str]] = []
    log_grid = RunLog.log_grid

    def spy(log, found, *rest):
        drawn.append([caption.text for caption in log.images.captions(found)])
        log_grid(log, found, *rest)

    monkeypatch.setattr(RunLog, "log_grid", spy)
    labels = torch.rand(8, 2) * 9
    loader = DataLoader(TensorDataset(IMAGES, labels), 4)
    make_trainer(GradCAMCallback(images=8), max_epochs=1).fit(Fitted(small_cnn(classes=2), F.mse_loss), loader, loader)
    said = said_in(tmp_path / "run")
    assert drawn[-1] == [f"{truth} · {answer}" for truth, answer in zip(said.truths, said.answers, strict=True)]


@pytest.mark.parametrize(
    ("labels", "network", "targets"),
    [
        (torch.tensor([-1, 1, -1, -1, 1, 1, -1, -1]), small_cnn(classes=2), [0, 1, 0, 0, 1, 1, 0, 0]),
        (torch.tensor([0, 1, 0, 1, 0, 0, 1, 1]).bool(), small_cnn(classes=1), [0, 1, 0, 1, 0, 0, 1, 1]),
        (torch.tensor([0, 1, 2, 1, 0, 2, 1, 0], dtype=torch.uint8), small_cnn(), [0, 1, 2, 1, 0, 2, 1, 0]),
    ],
    ids=["signed", "bool", "uint8"],
)
def test_what_labels_say_is_told_from_all_of_them(labels, network, targets) -> None:
    """A chunk of -1 alone would be of no class."""
    for size in (1, 2, 8):
        assert explain(network, IMAGES, labels=labels, target="label", batch_size=size).targets.tolist() == targets


def test_void_is_void_in_whatever_chunk_it_lies() -> None:
    """Float maps, and 255 where no image of the chunk has a foreground."""
    torch.manual_seed(0)
    labels = torch.zeros(4, 16, 16)
    labels[0, :8] = labels[2, :8] = 1
    labels[1, :4] = labels[3, :4] = 255
    network = dense(2)
    whole = explain(network, IMAGES[:4], labels=labels, target=1)
    for size in (1, 2, 3):
        found = explain(network, IMAGES[:4], labels=labels, target=1, batch_size=size)
        assert torch.allclose(found.scores, whole.scores, atol=1e-6, equal_nan=True)


def test_planes_that_overlap_are_told_class_by_class() -> None:
    """As tumours' regions lie within each other: the perfect network's IoU is 1."""
    planes = torch.zeros(2, 3, 16, 16)
    planes[:, 0, 2:14, 2:14] = planes[:, 1, 4:12, 4:12] = planes[:, 2, 6:10, 6:10] = 1

    class Perfect(nn.Module):
        def __init__(self, share: float) -> None:
            super().__init__()
            self.layer, self.share = nn.Conv2d(3, 3, 1), share

        def forward(self, images: Tensor) -> Tensor:
            wanted = torch.where(planes.bool(), 5.0, -5.0)[: len(images)]
            return self.layer(images) * 1e-3 + torch.where(torch.tensor(self.share > 0), wanted, torch.tensor(5.0))

    for share, expected in ((1.0, [1, 1, 1]), (0.0, [144 / 256, 64 / 256, 16 / 256])):
        for category in range(3):
            found = explain(Perfect(share), IMAGES[:2], "layer", labels=planes, target=category)
            assert found.scores.tolist() == pytest.approx([expected[category]] * 2)


def test_whole_numbered_depth_is_no_segmentation(fitted) -> None:
    """Millimetres: more values than a foreground has."""
    labels = torch.randint(500, 9000, (8, 1, 16, 16)).float()
    said = fitted(dense(1), labels, F.l1_loss, tag="gradcam/network.7")
    assert "regression" in said.about
    assert said.truths == [f"true {one:.3g}" for one in labels.mean((1, 2, 3)).tolist()]


def test_an_image_that_is_made_is_compared_with_the_one_that_is_true(fitted) -> None:
    """Heatmaps of keypoints, which the input is not; and of a VAE's outputs the image is taken."""
    labels = torch.rand(8, 5, 16, 16)
    network = dense(5)
    said = fitted(network, labels, F.mse_loss, tag="gradcam/network.7")
    errors = (predictions(network) - labels).square().mean((1, 2, 3)).tolist()
    assert said.answers == [f"squared error {one:.3g}" for one in errors]

    class Variational(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.back = small_cnn(classes=4), nn.Sequential(nn.Linear(4, 16), nn.Unflatten(1, (1, 4, 4)))
            self.up = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=4))

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            mean = self.body(images)
            return self.up(self.back(mean)), mean

    found = explain(Variational(), IMAGES, labels=torch.arange(8) % 3)
    assert found.targets.tolist() == [-1] * 8
    assert "none" in found._images.about


def test_several_labels_that_are_partly_unknown_are_no_values() -> None:
    """-1 and NaN: neither for nor against."""
    labels = torch.tensor([[1.0, 0, -1], [0, 1, 1], [0, torch.nan, 1]])
    network = small_cnn()
    known = explain(network, IMAGES[:3], labels=labels.nan_to_num(0).clamp(min=0), target="label", task="multilabel")
    found = explain(network, IMAGES[:3], labels=labels, target="label")
    assert torch.equal(found.heatmaps, known.heatmaps)


def test_a_head_that_squeezes_may_leave_one_image_alone() -> None:
    """As the last of a chunk."""

    class Squeezing(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).squeeze()

    network = Squeezing(*small_cnn(classes=1))
    whole = explain(network, IMAGES)
    for size in (1, 7):
        assert torch.allclose(explain(network, IMAGES, batch_size=size).heatmaps, whole.heatmaps, atol=1e-4)


@pytest.mark.parametrize("options", [{"aug_smooth": True}, {"method": "fem"}, {"method": "scorecam"}])
def test_grad_cams_methods_see_the_channels_where_they_look_for_them(options) -> None:
    """Of images whose channels lie last."""

    model = ChannelsLast()
    found = explain(model, IMAGES[:2].movedim(1, -1).contiguous(), "network.6", **options)
    expected = explain(model.network, IMAGES[:2], "6", **options)
    assert torch.allclose(found.heatmaps, expected.heatmaps, atol=1e-5)


def test_images_are_of_the_batches_that_validation_is_limited_to(make_trainer) -> None:
    """The first two of six."""
    loader = DataLoader(TensorDataset(torch.rand(24, 3, 16, 16), torch.arange(24) % 3), 4)
    callback = GradCAMCallback(images=4)
    module = Fitted(small_cnn(), F.cross_entropy)
    make_trainer(callback, max_epochs=1, limit_val_batches=2).fit(module, loader, loader)
    assert max(callback._memory.probe_set.indices.tolist()) < 8


def test_a_run_that_is_resumed_with_another_task_saves_its_checkpoints(make_trainer, loader, tmp_path) -> None:
    """Looks at other numbers of values are not put together."""
    trainer, module = make_trainer(GradCAMCallback(images=4), max_epochs=1), Classifier()
    trainer.fit(module, loader, loader)
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    again = make_trainer(GradCAMCallback(images=4, output=lambda model, images: model(images)[:, :1]), max_epochs=2)
    again.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "first.ckpt")
    again.save_checkpoint(tmp_path / "second.ckpt")
    assert torch.load(tmp_path / "second.ckpt", weights_only=True)


def test_images_are_of_limited_batches_also_before_they_are_counted(make_trainer) -> None:
    """A fit that validates late does not know yet how many batches it will read."""
    data = TensorDataset(torch.rand(24, 3, 16, 16), torch.arange(24) % 3)
    callback, loader = GradCAMCallback(images=4), DataLoader(data, 8)
    options = {"check_val_every_n_epoch": 2, "num_sanity_val_steps": 0, "limit_val_batches": 1}
    make_trainer(callback, max_epochs=2, **options).fit(Classifier(), loader, loader)
    assert int(callback._memory.probe_set.indices.max()) < 8
