"""Whether maps can be believed: closed forms, an implementation of their own in NumPy, and grad-cam's ROAD."""

import functools
import pickle

import numpy as np
import pytest
import torch
import torchvision
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from scipy.stats import spearmanr
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from lightning_gradcam import explain
from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.compute import compute_cams, remove
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.maps import Heatmaps, Maps
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.cam.states import BLANK, SHOWN
from lightning_gradcam.cam.targets import Batch, Objective, Scores, objective, read_scores
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.cam.trust import REMOVED, Pixels, Removal, around, is_untrained, ranked, with_rivals

from ..conftest import small_cnn

SIDE = 32
PLACE = (4, 18)


def patch_at(place: tuple[int, int]) -> tuple[slice, ...]:
    """10 % of the image."""
    return (..., *(slice(start, start + 10) for start in place))


class OnePlace(nn.Module):
    """Sure of class 1 where the patch is bright, of class 0 where it is not; nothing else counts."""

    def __init__(self, place: tuple[int, int] = PLACE) -> None:
        super().__init__()
        self.patch = patch_at(place)

    def forward(self, images: Tensor) -> Tensor:
        brightness = images[:, 0][self.patch].mean((1, 2))
        return torch.stack([torch.zeros_like(brightness), 40 * (brightness - 0.6)], dim=1)


def patch_images(count: int = 8, place: tuple[int, int] = PLACE) -> Tensor:
    """A bright patch on a dark ground."""
    images = 0.1 * torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    images[patch_at(place)] = 1
    return images


def patch_map(count: int = 8) -> Tensor:
    maps = torch.zeros(count, 1, SIDE, SIDE)
    maps[patch_at(PLACE)] = 1
    return maps


def faithfulness_of(
    model: nn.Module, images: Tensor, maps: Tensor, target="predicted", task: Task | None = None
) -> Tensor:
    """Of maps made by hand, (N, T, H, W)."""
    task = task or Task("multiclass", 2)

    def ask(changed: Tensor) -> Batch:
        scores = model(changed)
        return Batch(scores, scores, read_scores(scores, task, images), task, None, None, slice(None))

    batch = ask(images)
    states = torch.where(maps.amax((2, 3)) > 0, SHOWN, BLANK).byte()
    found = Heatmaps(maps, batch.scores.told, batch.scores.classes, batch.scores.classes[:, None], "by hand", states)
    return Removal(images, target, batch, objective(target, batch), ask).faithfulness(found)


def test_the_map_of_the_one_place_that_counts_is_half_and_its_inverse_minus_half() -> None:
    """What the model needs is gone with the first fifth, or with the last; a map of ones, or of none, says nothing."""
    images, maps = patch_images(), patch_map()
    assert faithfulness_of(OnePlace(), images, maps).min() > 0.49
    assert faithfulness_of(OnePlace(), images, 1 - maps).max() < -0.49
    assert faithfulness_of(OnePlace(), images, torch.ones_like(maps)).eq(0).all()
    assert faithfulness_of(OnePlace(), images, torch.zeros_like(maps)).isnan().all()


@pytest.mark.parametrize("place", [(4, 18), (11, 11), (0, 0), (0, 12)])
@pytest.mark.parametrize(("places", "filled"), [(4, 0.1), (8, 0.1), (8, 0.02), (7, 0.05), (32, 0.05)])
def test_random_maps_that_are_mostly_zero_are_no_better_than_chance(
    place: tuple[int, int], places: int, filled: float
) -> None:
    """Wherever the model looks: of what is at 0 neither the far side nor the middle is preferred."""
    generator = torch.Generator().manual_seed(places)
    images, maps = patch_images(2000, place), torch.rand(2000, 1, places, places, generator=generator)
    maps = torch.where(torch.rand(maps.shape, generator=generator) < filled, maps, 0)
    maps = nn.functional.interpolate(maps, (SIDE, SIDE), mode="bilinear")
    found = faithfulness_of(OnePlace(place), images, maps)
    assert abs(found.nanmean()) <= 0.03


def test_random_maps_are_no_better_than_chance() -> None:
    """Their mean is 0 within three standard errors, at any coarseness."""
    for places in (4, 8, 32):
        maps = torch.rand(400, 1, places, places, generator=torch.Generator().manual_seed(places))
        maps = nn.functional.interpolate(maps, (SIDE, SIDE), mode="bilinear")
        found = faithfulness_of(OnePlace(), patch_images(400), maps)
        assert places > 8 or found.std() > 0.01  # fine noise never covers the patch
        assert abs(found.mean()) <= 3 * found.std() / 20


@pytest.mark.parametrize("scores", ["value", "several", "embedding", "rebuilt", "dense value"])
def test_of_a_target_without_probability_it_is_how_much_farther_its_value_falls(scores: str) -> None:
    """All of its fall with one, none with the other: half; a value that never changes is at chance."""

    def network(images: Tensor) -> Tensor:
        value = images[patch_at(PLACE)].mean((1, 2, 3))
        if scores == "rebuilt":  # whose error is the value's
            return patch_images() + value[:, None, None, None]
        if scores == "dense value":
            return value[:, None, None, None].expand(-1, 1, 4, 4)
        return torch.stack([value, value * 2, value * 3], dim=1) if scores != "value" else value[:, None]

    kind = {"embedding": "none", "rebuilt": "none"}.get(scores, "regression")
    task = Task(kind, 1 if scores == "value" else 3, is_dense=scores in ("rebuilt", "dense value"))
    images, maps = patch_images(), patch_map()
    assert faithfulness_of(network, images, maps, task=task).min() > 0.499
    assert faithfulness_of(network, images, 1 - maps, task=task).max() < -0.499
    if scores == "value":
        falling = faithfulness_of(lambda given: -network(given), images, maps, task=task)
        assert falling.max() < -0.499  # what speaks against a value is no evidence for it
    silent = faithfulness_of(lambda given: torch.ones(len(given), 3), images, maps, task=Task("regression", 3))
    assert silent.eq(0).all()


def test_pixels_are_asked_of_where_their_class_was() -> None:
    """A segmentation that finds its foreground by the patch alone."""

    def network(images: Tensor) -> Tensor:
        there = 40 * (images[patch_at(PLACE)].mean((1, 2, 3)) - 0.6)
        scores = torch.zeros(len(images), 2, SIDE, SIDE)
        scores[:, 1, 8:24, 8:24] = there[:, None, None]
        scores[:, 0, :8] = 5.0
        return scores

    task = Task("segmentation", 2, is_dense=True)
    found = faithfulness_of(network, patch_images(), patch_map(), target=1, task=task)
    assert found.min() > 0.49
    assert faithfulness_of(network, patch_images(), patch_map(), target=0, task=task).max() < 0.1


@pytest.mark.parametrize(("link", "scores"), [("sigmoid", 1), ("identity", 1), ("sigmoid", 2)])
def test_every_kind_of_probability(link: str, scores: int) -> None:
    """A single logit, a probability, and several labels, each with its own sigmoid."""

    def network(images: Tensor) -> Tensor:
        one = OnePlace()(images)[:, 1:]
        one = one.sigmoid() if link == "identity" else one
        return torch.cat([one, -one], dim=1)[:, :scores]

    task = Task("multilabel" if scores == 2 else "binary", 2, link, is_single=scores == 1)
    column = 0 if scores == 2 else 1
    found = faithfulness_of(network, patch_images(), patch_map(), target=column, task=task)
    assert found.min() > 0.49


@functools.cache
def numpy_closeness(size: tuple[int, int]) -> np.ndarray:
    """Each pixel's to each."""
    places = np.argwhere(np.ones(size))
    return np.exp(-(((places[:, None] - places) / (np.array(size) / 8)) ** 2).sum(2) / 2)


def numpy_ranks(heat: np.ndarray) -> list[np.ndarray]:
    """The least relevant pixels of (H, W) first, and the most."""
    near, height, width = numpy_closeness(heat.shape), *heat.shape
    means = [
        (near @ one.ravel() / near.sum(1)).reshape(heat.shape) for one in (moved(heat, height // 2, width // 2), heat)
    ]
    return [sign * heat + 1e-3 * around_it for sign, around_it in zip((-1, 1), means, strict=True)]


def moved(heat: np.ndarray, down: int, right: int) -> np.ndarray:
    """What leaves on one side comes in on the other."""
    height, width = heat.shape
    return np.array([[heat[(y - down) % height, (x - right) % width] for x in range(width)] for y in range(height)])


def numpy_without(image: np.ndarray, rank: np.ndarray, share: float) -> np.ndarray:
    """The same removal of (C, H, W) by (H, W), pixel by pixel."""
    order = np.argsort(-rank.ravel(), kind="stable")
    removed, stays = np.split(order, [round(share * rank.size)])
    near, found = numpy_closeness(rank.shape)[np.ix_(removed, stays)], image.reshape(len(image), -1).astype(np.float64)
    found[:, removed] = found[:, stays] @ near.T / near.sum(1)
    return found.reshape(image.shape).astype(np.float32)


def test_removal_equals_loops_in_numpy() -> None:
    """Odd and even sides, several channels."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 13, 18, generator=generator)
    relevance = torch.rand(2, 13, 18, generator=generator)
    sparse = torch.where(torch.rand(2, 13, 18, generator=generator) < 0.05, relevance, 0)
    for heat in (relevance, sparse):
        for side, rank in enumerate(ranked(heat)):
            ranks = [numpy_ranks(one)[side] for one in heat.double().numpy()]
            assert np.allclose(rank.numpy(), np.stack(ranks), atol=1e-6)
            expected = [numpy_without(image, one, 0.2) for image, one in zip(images.numpy(), ranks, strict=True)]
            assert np.allclose(Pixels(images).without(rank, 0.2).numpy(), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize(("sides", "block"), [((224, 230), (2, 3)), ((300, 113), (3, 2)), ((112, 40), (1, 1))])
def test_large_images_are_removed_from_in_blocks(sides: tuple[int, int], block: tuple[int, int]) -> None:
    """As if each block were a pixel: of its pixels all are removed or none, and in their place comes what is around."""
    images = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    pixels = Pixels(images)
    assert pixels.grid == tuple(-(-side // size) for side, size in zip(sides, block, strict=True))
    relevance = torch.rand(2, *pixels.grid, generator=torch.Generator().manual_seed(1))
    removed = relevance >= relevance.flatten(1).topk(round(0.2 * relevance[0].numel()), dim=1).values[:, -1, None, None]
    removed = removed.repeat_interleave(block[0], 1).repeat_interleave(block[1], 2)[:, : sides[0], : sides[1]]
    found = pixels.without(relevance, 0.2)
    assert torch.equal(found.ne(images).any(1), removed)
    expected = around(images, (~removed[:, None]).float(), images.shape[2:])
    assert (found - expected).abs()[removed[:, None].expand_as(found)].max() < 0.01


def test_what_is_alike_is_removed_in_equal_parts() -> None:
    """Half of the pixels of a constant map, so half of each."""
    images = torch.rand(1, 1, 8, 8)
    found = Pixels(images).without(torch.zeros(1, 8, 8), 0.5)
    assert torch.allclose(found, (images + around(images, torch.ones(1, 1, 8, 8), images.shape[2:])) / 2)


def test_volumes_channels_last_and_whole_numbers_are_removed_from_alike() -> None:
    """(N, C, D, H, W); (N, H, W, C); uint8, which stays that."""
    volume, relevance = torch.rand(2, 1, 6, 9, 12), torch.rand(2, 6, 9, 12)
    assert Pixels(volume).without(relevance, 0.2).shape == volume.shape
    images = torch.rand(2, 3, 12, 12)
    first = Pixels(images).without(relevance[:, 0, :1].expand(-1, 12, -1), 0.2)
    last = Pixels(images.movedim(1, -1)).without(relevance[:, 0, :1].expand(-1, 12, -1), 0.2)
    assert torch.equal(first, last.movedim(-1, 1))
    bytes_ = (images * 255).byte()
    whole = Pixels(bytes_).without(relevance[:, 0, :1].expand(-1, 12, -1), 0.2)
    assert whole.dtype == torch.uint8
    assert torch.equal(
        whole, Pixels(bytes_.float()).without(relevance[:, 0, :1].expand(-1, 12, -1), 0.2).round().byte()
    )


def test_half_precision_is_the_models_own() -> None:
    """What is removed, and what comes in its place, is the same under autocast."""
    images, heat = torch.rand(2, 3, 48, 48), torch.rand(2, 48, 48)
    expected = [Pixels(images).without(rank, 0.2) for rank in ranked(heat)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [Pixels(images).without(rank, 0.2) for rank in ranked(heat)]
    assert all(map(torch.equal, found, expected))


def test_a_class_that_is_in_no_pixel_is_asked_for_in_all() -> None:
    """Of a segmentation whose foreground stays below the background everywhere."""

    def network(images: Tensor) -> Tensor:
        there = 4 * images[patch_at(PLACE)].mean((1, 2, 3)) - 5
        return torch.stack([torch.zeros_like(there), there], dim=1)[..., None, None].expand(-1, -1, SIDE, SIDE)

    found = faithfulness_of(network, patch_images(), patch_map(), target=1, task=Task("segmentation", 2, is_dense=True))
    expected = (torch.tensor(-1.0).sigmoid() - torch.tensor(4 * 0.05 - 5).sigmoid()) / 2
    assert torch.allclose(found, expected.expand_as(found), atol=0.01)


def photographs(count: int) -> Tensor:
    """Crops of scikit-learn's two photographs, normalised."""
    generator = np.random.default_rng(0)
    crops = []
    for number in range(count):
        photo = load_sample_images().images[number % 2]
        top, left = generator.integers(photo.shape[0] - 64), generator.integers(photo.shape[1] - 64)
        crops.append(photo[top : top + 64, left : left + 64])
    return (torch.tensor(np.stack(crops)).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.23


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """A ResNet-18 that learned a little: the two photographs and their negatives are four classes."""
    torch.manual_seed(0)
    model, images = torchvision.models.resnet18(num_classes=4), photographs(64)
    labels = torch.arange(64) % 4
    images = torch.where((labels >= 2)[:, None, None, None], -images, images)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(6):
        rows = slice(step % 4 * 16, step % 4 * 16 + 16)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
    return model.eval()


def test_ranks_images_as_grad_cams_road_and_as_numpy_do(resnet: nn.Module) -> None:
    """With the same imputer, 64 photographs: rank correlations above 0.9."""
    images = photographs(64)
    found = explain(resnet, images, trust=True)
    classes = [ClassifierOutputSoftmaxTarget(one) for one in found.predictions.tolist()]

    def imputer(image: Tensor, kept: Tensor) -> Tensor:
        return torch.where(kept > 0, image, around(image[None], kept[None, None], image.shape[1:])[0])

    cams = found.heatmaps.numpy()
    sides = [
        PerturbationConfidenceMetric(kind(100 * (1 - REMOVED), imputer))(images, cams, classes, resnet)
        for kind in (RemoveLeastRelevantFirst, RemoveMostRelevantFirst)
    ]
    road = (sides[0] - sides[1]) / 2
    assert road.std() > 0.01
    assert spearmanr(found.metrics["faithfulness"], road).statistic > 0.9

    ranks = [numpy_ranks(cam) for cam in cams.astype(np.float64)]
    least, most = (
        np.stack([numpy_without(image, rank[side], REMOVED) for image, rank in zip(images.numpy(), ranks, strict=True)])
        for side in (0, 1)
    )
    with torch.no_grad():
        rows = torch.arange(len(images))
        own = [resnet(torch.tensor(changed)).softmax(1)[rows, found.predictions] for changed in (least, most)]
    expected = (own[0] - own[1]) / 2
    assert spearmanr(found.metrics["faithfulness"], expected).statistic > 0.99
    assert torch.allclose(found.metrics["faithfulness"], expected, atol=0.02)  # whose bell is not on a coarse grid


def test_the_rival_is_the_class_that_scores_next() -> None:
    """Of one class, of several labels, and where none is left; of pixels the class of most of the others."""
    values = torch.tensor([[5.0, 3.0, 4.0], [1.0, 9.0, 2.0]])
    scores = Scores(values, values.argmax(1), values[:, :1])
    weights = torch.tensor([[[1.0, 0, 0]], [[1.0, 1.0, 0]]])
    found = with_rivals(Objective(values, torch.zeros(2, 1).long(), weights), scores)
    assert found.values.tolist() == [[5, 4], [10, 2]]
    assert found.classes[:, 1].tolist() == [2, 2]
    everything = torch.ones(2, 1, 3)
    found = with_rivals(Objective(values, torch.zeros(2, 1).long(), everything), scores)
    assert found.values[:, 1].tolist() == [0, 0]
    pixels = torch.tensor([[[0, 0, 0, 1]], [[2, 2, 1, 1]]])  # class 2 is nowhere in the first, and scores more
    weights = torch.tensor([[[1.0, 0, 0]], [[0, 0, 1.0]]])
    of_pixels = Scores(values, values.argmax(1), values[:, :1], pixels)
    found = with_rivals(Objective(values, torch.zeros(2, 1).long(), weights), of_pixels)
    assert found.classes[:, 1].tolist() == [1, 1]


def trusted(model: nn.Module, images: Tensor, labels: Tensor | None = None, **settings: object) -> Maps:
    with Lender(model).twin(Settings(**{"target": "predicted", "trust": True, **settings})) as (lent, own):
        plan = make_plan(lent, Inputs(images), labels, own)
        return compute_cams(lent, Inputs(images), plan.known(labels), plan)[0]


def test_class_sensitivity_is_one_minus_the_cosine_of_two_maps() -> None:
    """The same as of two maps that are asked for by name; 0 of a method that is blind to the class."""
    torch.manual_seed(3)
    model, images = small_cnn(classes=4), torch.randn(6, 3, 16, 16)
    found = trusted(model, images)
    with torch.no_grad():
        best = model.eval()(images).topk(2).indices
    maps = torch.stack([trusted(model, images, target=one, trust=False).maps[:, 0] for one in range(4)], dim=1)
    rows = torch.arange(6)
    first, second = (maps[rows, best[:, place]].flatten(1) for place in (0, 1))
    expected = 1 - torch.cosine_similarity(first, second)
    known = first.any(1) & second.any(1)
    assert known.sum() > 2
    assert torch.allclose(found.class_sensitivity[known, 0], expected[known], atol=1e-6)
    assert found.class_sensitivity[~known].isnan().all()
    blind = trusted(model, images, method="eigencam").class_sensitivity
    assert torch.allclose(blind, torch.zeros(6, 1), atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"aug_smooth": True}, {"method": "scorecam"}, {"target": [0, 2]}])
def test_the_maps_are_those_without_trust(settings: dict) -> None:
    """Nothing of the rivals is left, and the numbers are there for each target."""
    torch.manual_seed(3)
    model, images = small_cnn(), torch.randn(4, 3, 16, 16)
    found, plain = trusted(model, images, **settings), trusted(model, images, trust=False, **settings)
    assert torch.allclose(found.maps, plain.maps, atol=1e-6)
    assert torch.equal(found.targets, plain.targets)
    assert torch.equal(found.states, plain.states)
    assert found.faithfulness.shape == found.class_sensitivity.shape == found.states.shape
    assert plain.faithfulness is None
    assert plain.class_sensitivity is None
    assert torch.equal(found.faithfulness.isnan(), found.states != SHOWN)


def test_where_there_is_no_other_class_there_is_no_sensitivity() -> None:
    """A single logit's two maps are opposites by themselves; values and embeddings are no classes."""
    images = torch.randn(4, 3, 16, 16)
    single = trusted(small_cnn(classes=1), images, torch.tensor([0.0, 1, 1, 0]), target="label")
    assert single.class_sensitivity is None
    assert single.faithfulness is not None
    value = trusted(small_cnn(classes=1), images, torch.randn(4), target="label", task="regression")
    assert value.class_sensitivity is None
    assert value.faithfulness.abs().max() <= 0.5
    foreground = trusted(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)), images, task="segmentation"
    )
    assert foreground.class_sensitivity is None
    assert foreground.faithfulness is not None
    own = trusted(small_cnn(classes=3), images, target=lambda output, labels: output[:, 0] - output[:, 1])
    assert own.class_sensitivity is None
    assert own.faithfulness.abs().nan_to_num().max() <= 0.5


def test_trust_draws_nothing_and_gives_the_same_each_time_and_in_any_chunks() -> None:
    """The state of the random numbers is as it was."""
    model, images = small_cnn(), torch.randn(5, 3, 16, 16)
    before = torch.get_rng_state()
    found = [trusted(model, images, batch_size=size) for size in (32, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(found[0].faithfulness, found[1].faithfulness, atol=1e-6, equal_nan=True)
    assert torch.allclose(found[0].class_sensitivity, found[1].class_sensitivity, atol=1e-6, equal_nan=True)


def test_the_curve_passes_through_the_faithfulness() -> None:
    """Half the distance of its two sides at a fifth; all of several targets; of the model as it was."""
    torch.manual_seed(5)
    model, images = small_cnn(), torch.randn(5, 3, 16, 16)
    for target in ("predicted", [0, 1]):
        found = explain(model, images, target=target, trust=True)
        curve = found.removal((0.1, REMOVED, 0.9))
        middle = (curve.least[..., 1] - curve.most[..., 1]) / 2
        shown = found.metrics["faithfulness"].isfinite()
        assert shown.any()
        assert torch.allclose(middle[shown], found.metrics["faithfulness"][shown], atol=1e-6)
        assert curve.shares.tolist() == pytest.approx([0.1, 0.2, 0.9])
    everything = explain(model, images).removal()
    assert everything.least.shape == (5, 9)
    assert ((everything.least >= 0) & (everything.least <= 1)).all()
    assert everything.most.isfinite().all()
    assert explain(model, images).removal((0.999999,)).most.isfinite().all()  # something stays
    with pytest.raises(ValueError, match=r"shares=20; accepted are shares of the pixels, above 0 and below 1"):
        found.removal(20)


def test_the_curve_halves_its_chunks_where_memory_is_short(monkeypatch) -> None:
    """As the maps do."""
    model, images = small_cnn(), torch.randn(5, 3, 16, 16)
    with Lender(model).twin(Settings(target="predicted")) as (lent, own):
        plan = make_plan(lent, Inputs(images), None, own)
        found = compute_cams(lent, Inputs(images), plan.known(None), plan)[0]
        whole = remove(lent, Inputs(images), plan.known(None), plan, found, [0.2])
        forward = type(lent).forward

        def short(self, given: Tensor) -> Tensor:
            if len(given) > 2:
                raise torch.OutOfMemoryError("too many")
            return forward(self, given)

        monkeypatch.setattr(type(lent), "forward", short)
        parts = remove(lent, Inputs(images), plan.known(None), plan, found, [0.2])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(whole, parts, strict=True))


UNTRAINED = {
    "resnet18": torchvision.models.resnet18,
    "vgg11": torchvision.models.vgg11,
    "vit": lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32),
    "convnext": torchvision.models.convnext_tiny,
    "defaults": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)),
}


@pytest.mark.parametrize("name", UNTRAINED)
def test_what_nobody_has_trained_is_told(name: str) -> None:
    """Also after one step it is not untrained any more."""
    torch.manual_seed(0)
    model, images = UNTRAINED[name](), torch.randn(4, 3, 32, 32)
    if name == "defaults":
        model(images)  # its weights are made by the first
    assert is_untrained(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 1, 0])).backward()
    optimizer.step()
    assert not is_untrained(model)


def trained(*layers: nn.Module) -> nn.Sequential:
    """What training does to weights: some outputs grow, others do not."""
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= torch.linspace(0.2, 2, len(weight)).reshape(-1, *[1] * (weight.dim() - 1))
    return model


def test_a_new_head_on_a_trained_backbone_is_trained() -> None:
    """Whatever its backbone tells it by: statistics, frozen norms, or weights without biases."""
    model = torchvision.models.resnet18()
    model(torch.randn(4, 3, 64, 64))  # a forward in training mode moves the running statistics
    model.fc = nn.Linear(512, 2)
    assert not is_untrained(model)
    frozen = torchvision.ops.FrozenBatchNorm2d(8)
    assert is_untrained(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), frozen, nn.Linear(8, 2)))
    frozen.weight.uniform_(0.5, 1.5)
    assert not is_untrained(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), frozen, nn.Linear(8, 2)))
    bare = trained(nn.Conv2d(3, 32, 3, bias=False), nn.Conv2d(32, 32, 3, bias=False))
    assert not is_untrained(nn.Sequential(bare, nn.LayerNorm(8), nn.Linear(8, 2)))
    assert not is_untrained(nn.Sequential(nn.ReLU(), nn.Flatten()))  # nothing tells
    normed = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 32, 3))
    with torch.no_grad():
        normed.parametrizations.weight.original *= torch.linspace(0.2, 2, 32).reshape(-1, 1, 1, 1)
    assert not is_untrained(nn.Sequential(normed, nn.Flatten(), nn.Linear(8, 2)))


def test_usual_ways_to_draw_weights_are_untrained() -> None:
    """On weights alone, with the biases that torch draws; lazy layers and those without a number say nothing."""
    for draw in (nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.orthogonal_, nn.init.trunc_normal_):
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3), nn.Flatten(), nn.Linear(32, 10))
        for layer in (model[0], model[1], model[3]):
            draw(layer.weight)
        assert is_untrained(model), draw
    assert is_untrained(nn.Sequential(nn.LazyBatchNorm2d(affine=False), nn.LazyConv2d(4, 3), nn.Linear(8, 4)))
    assert is_untrained(torchvision.models.googlenet(weights=None, init_weights=False))


def test_pixels_without_a_number_stay_alone() -> None:
    """A NaN is no reason to lose the image: all else is as without it, or removed, and finite."""
    images = torch.rand(1, 1, 16, 16)
    images[0, 0, 3, 5] = torch.nan
    images[0, 0, 9, 9] = torch.inf
    found = Pixels(images).without(torch.rand(1, 16, 16), 0.2)
    odd = ~images.isfinite()
    assert found[~odd].isfinite().all()
    assert found[odd].isnan().all()
    removed = found.ne(images) & ~odd
    assert 0.18 <= removed.float().mean() <= 0.2


def test_a_model_that_fails_on_damaged_images_costs_no_map() -> None:
    """As one that checks its inputs: faithfulness is missing, which is told."""

    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_cnn()

        def forward(self, images: Tensor) -> Tensor:
            assert set(images.unique().tolist()) <= {0, 1}, "zeros and ones alone"
            return self.network(images)

    images = (torch.rand(4, 3, 16, 16) > 0.5).float()
    with pytest.warns(UserWarning, match="no faithfulness, the model fails on images of which parts are removed"):
        found = explain(Strict(), images, trust=True)
    assert found.metrics["faithfulness"].isnan().all()
    assert found.heatmaps.any()
    assert "class_sensitivity" in found.metrics


def test_an_explanation_can_be_stored() -> None:
    """All but the curve, for which the model would have to be stored with it."""
    found = explain(small_cnn(), torch.randn(2, 3, 16, 16), trust=True)
    again_ = pickle.loads(pickle.dumps(found))
    assert torch.equal(again_.heatmaps, found.heatmaps)
    assert torch.equal(again_.metrics["faithfulness"], found.metrics["faithfulness"])
    with pytest.raises(RuntimeError, match=r"call explain\(\.\.\.\) again"):
        again_.removal()


def test_several_labels_are_their_mean() -> None:
    """The probability of each counts alike: of one that needs the patch and one that needs nothing, half."""

    def network(images: Tensor) -> Tensor:
        one = OnePlace()(images)[:, 1]
        return torch.stack([one, torch.full_like(one, 20)], dim=1)

    task, images, maps = Task("multilabel", 2, "sigmoid"), patch_images(), patch_map()
    truth = torch.ones(len(images), 2)
    scores = network(images)

    def ask(changed: Tensor) -> Batch:
        found = network(changed)
        return Batch(found, found, read_scores(found, task, images), task, truth, truth, slice(None))

    batch = ask(images)
    states = torch.full((len(images), 1), SHOWN).byte()
    found = Heatmaps(maps, scores, scores.argmax(1), scores.argmax(1)[:, None], "by hand", states)
    score = Removal(images, "label", batch, objective("label", batch), ask).faithfulness(found)
    assert torch.allclose(score, torch.full_like(score, 0.25), atol=0.01)


def test_the_curve_is_of_what_was_explained() -> None:
    """Also of a model that is called otherwise, at layers given as modules."""
    torch.manual_seed(5)
    model, images = small_cnn(), torch.randn(4, 3, 16, 16)

    def flipped(network: nn.Module, given: Tensor) -> Tensor:
        return network(given).flip(1)

    found = explain(model, images, model[5], output=flipped, trust=True)
    curve, shown = found.removal((REMOVED,)), found.metrics["faithfulness"].isfinite()
    assert shown.any()
    half = (curve.least - curve.most)[:, 0] / 2
    assert torch.allclose(half[shown], found.metrics["faithfulness"][shown], atol=1e-6)


@pytest.mark.parametrize(
    ("side", "length", "place"), [(1024, 4, (501, 503)), (337, 2, (335, 335)), (512, 10, (250, 3))]
)
def test_a_small_place_of_a_large_image_is_found(side: int, length: int, place: tuple[int, int]) -> None:
    """By a map that is finer than the blocks that are removed."""
    patch = (..., *(slice(start, start + length) for start in place))

    class OfPlace(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            brightness = images[:, 0][patch].mean((1, 2))
            return torch.stack([torch.zeros_like(brightness), 40 * (brightness - 0.6)], dim=1)

    images = 0.1 * torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(0))
    maps = torch.zeros(2, 1, side, side)
    images[patch], maps[patch] = 1, 1
    assert faithfulness_of(OfPlace(), images, maps).min() > 0.49
    assert faithfulness_of(OfPlace(), images, 1 - maps).max() < -0.49
