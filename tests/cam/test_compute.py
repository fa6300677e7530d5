"""Maps against closed forms, and against grad-cam."""

import sys
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np
import pytest
import torch
import torchvision
from pytorch_grad_cam import (
    EigenCAM,
    EigenGradCAM,
    FinerCAM,
    GradCAM,
    GradCAMElementWise,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    ShapleyCAM,
    XGradCAM,
)
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils import svd_on_activations
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from lightning_gradcam.cam.borrowed import borrowed_names, class_targets
from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.compute import compute_cams
from lightning_gradcam.cam.layers import named_layers
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.maps import Maps, divided
from lightning_gradcam.cam.methods import METHODS
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.cam.states import BLANK, NOT_FINITE
from lightning_gradcam.cam.targets import Objective

from ..conftest import small_cnn

PEERS: dict[str, type[BaseCAM]] = {
    "gradcam": GradCAM,
    "hirescam": HiResCAM,
    "gradcam++": GradCAMPlusPlus,
    "xgradcam": XGradCAM,
    "layercam": LayerCAM,
    "gradcam_elementwise": GradCAMElementWise,
    "eigencam": EigenCAM,
    "eigengradcam": EigenGradCAM,
}


def cams_of(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    prepare: Callable[[nn.Module], object] = id,
    **settings: object,
) -> list[Maps]:
    with Lender(model).twin(Settings(**{"target": "predicted", **settings})) as (lent, own):
        prepare(lent)
        plan = make_plan(lent, Inputs(images), labels, own)
        return compute_cams(lent, Inputs(images), plan.known(labels), plan)


def out_of_place(model: nn.Module) -> nn.Module:
    """grad-cam's maps are wrong where an in-place operation overwrites the target layer's output."""
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return model


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(32, 8, 3, 4, 48, 96, num_classes=10)
    nn.init.normal_(vit.heads.head.weight)
    found = {
        "resnet18": torchvision.models.resnet18(num_classes=10),
        "mobilenet_v3": torchvision.models.mobilenet_v3_small(num_classes=10),
        "vit": vit,
    }
    return {name: out_of_place(model).eval() for name, model in found.items()}


class Loud(nn.Module):
    """A network whose scores' gradients are large enough that grad-cam's guard in Grad-CAM++ does not count."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return 1e5 * self.network(images)


@pytest.fixture
def corrected_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """grad-cam's SVD leaves a component's sign to chance; compare with its own corrected one."""
    corrected = svd_on_activations.get_2d_projection_with_sign_correction
    for one in BaseCAM, *PEERS.values():
        module = sys.modules[one.__module__]
        if hasattr(module, "get_2d_projection"):
            monkeypatch.setattr(module, "get_2d_projection", corrected)


@pytest.mark.usefixtures("corrected_sign")
@pytest.mark.parametrize("method", PEERS)
@pytest.mark.parametrize("network", ["resnet18", "mobilenet_v3", "vit"])
def test_each_method_is_grad_cams(networks, network, method) -> None:
    """To 1e-3, at the image's size, on a convolutional, a depthwise and a token layer."""
    model = Loud(networks[network]) if method == "gradcam++" else networks[network]
    torch.manual_seed(1)
    images = torch.randn(3, 3, 32, 32) if network == "vit" else torch.randn(3, 3, 96, 96)
    layer = {"resnet18": "layer4", "mobilenet_v3": "features", "vit": None}[network]
    layer = f"network.{layer}" if layer and method == "gradcam++" else layer
    with Lender(model).twin(None) as (lent, _):
        plan = make_plan(lent, Inputs(images), None, Settings(layer, "predicted", method))
        ours = compute_cams(lent, Inputs(images), plan.known(None), plan)[0].heatmaps(tuple(images.shape[-2:]))[:, 0]
    target = plan.groups[0][0]
    transform = None if layer else target.layout
    theirs = PEERS[method](model, [named_layers(model)[target.name]], reshape_transform=transform)(images, None)
    assert np.abs(ours.numpy() - theirs).max() < 1e-3


def test_a_method_that_differentiates_twice_is_grad_cams(networks) -> None:
    """Also where everything behind the layer is linear."""
    model, images = networks["resnet18"], torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(8))
    ours = cams_of(model, images, method="shapleycam", target_layer="layer4")[0].maps[:, 0]
    theirs = ShapleyCAM(model, [model.layer4])(images, None)
    assert np.abs(ours.numpy() - theirs).max() < 1e-3


@pytest.mark.parametrize("loudness", [1e-6, 1.0, 1e3])
def test_grad_cam_plus_plus_is_the_papers_formula_whatever_the_gradients_scale(loudness) -> None:
    """Equation 19 in float64, with the squared and cubed gradients as they stand there."""
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(2, 5, 7, 7, generator=generator, dtype=torch.float64).relu()
    gradients = loudness * torch.randn(2, 5, 7, 7, generator=generator, dtype=torch.float64)
    total = activations.sum((2, 3), keepdim=True)
    alpha = gradients**2 / (2 * gradients**2 + total * gradients**3)
    expected = ((alpha * gradients.relu()).sum((2, 3), keepdim=True) * activations).sum(1)
    found = METHODS["gradcam++"](activations.float(), gradients.float())
    assert torch.allclose(found.double(), expected, rtol=1e-4)


@pytest.mark.usefixtures("corrected_sign")
@pytest.mark.parametrize("smoothing", ["aug_smooth", "eigen_smooth"])
def test_smoothing_is_grad_cams(networks, smoothing) -> None:
    """Six augmentations' mean; the first principal component."""
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    model = networks["resnet18"]
    ours = cams_of(model, images, target_layer="layer3", **{smoothing: True})[0].heatmaps((96, 96))[:, 0]
    theirs = GradCAM(model, [model.layer3])(images, None, **{smoothing: True})
    assert np.abs(ours.numpy() - theirs).max() < 1e-3


@pytest.mark.usefixtures("corrected_sign")
@pytest.mark.parametrize("method", PEERS)
def test_each_method_is_smoothed_as_grad_cams_is(networks, method) -> None:
    """Whatever the shape of its weights: a channel's, or a place's."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    model = Loud(networks["resnet18"])
    ours = cams_of(model, images, target_layer="network.layer3", method=method, eigen_smooth=True)[0]
    theirs = PEERS[method](model, [model.network.layer3])(images, None, eigen_smooth=True)
    assert np.abs(ours.heatmaps((64, 64))[:, 0].numpy() - theirs).max() < 1e-3


def test_layers_within_a_sequence_are_averaged_as_grad_cam_does(networks) -> None:
    """And layers of a sequence are one map each."""
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    model = networks["resnet18"]
    averaged, single = cams_of(model, images, target_layer=[["layer2", "layer4"], "layer3"])
    theirs = GradCAM(model, [model.layer2, model.layer4])(images, None)
    assert np.abs(averaged.heatmaps((96, 96))[:, 0].numpy() - theirs).max() < 1e-3
    peaks = [cams_of(model, images, target_layer=name)[0].peaks for name in ("layer2", "layer4")]
    assert torch.allclose(averaged.peaks, (peaks[0] + peaks[1]) / 2, rtol=1e-4)
    assert (averaged.layer, single.layer) == ("layer2+layer4", "layer3")
    alone = cams_of(model, images, target_layer="layer3")[0]
    assert torch.allclose(single.maps, alone.maps, atol=1e-5)


def test_global_pooling_and_a_linear_head_have_a_closed_form() -> None:
    """Grad-CAM of class c is ReLU(sum_k w_ck A_k) / (h w): the first CAM of all."""
    torch.manual_seed(0)
    conv, head = nn.Conv2d(3, 5, 3, padding=1).double(), nn.Linear(5, 4).double()
    model = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    images = torch.randn(3, 3, 7, 7, dtype=torch.float64)
    cams = cams_of(model, images, target=2, method="gradcam")[0]
    expected = torch.einsum("k,nkhw->nhw", head.weight[2], conv(images)).relu() / 49
    assert torch.allclose(cams.maps[:, 0] * cams.peaks[..., None], expected, atol=1e-10, rtol=0)
    assert torch.allclose(cams.peaks[:, 0], expected.amax((1, 2)), atol=1e-10, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_an_in_place_relu_behind_the_layer_changes_nothing(method) -> None:
    """Equal to the out-of-place model to 1e-10 in float64 (grad-cam's map is of the overwritten activations)."""
    torch.manual_seed(0)
    model = small_cnn().double()
    images = torch.randn(4, 3, 12, 12, dtype=torch.float64)
    in_place = cams_of(model, images, target_layer="5", method=method)[0]
    plain = cams_of(out_of_place(model), images, target_layer="5", method=method)[0]
    assert float((in_place.maps - plain.maps).abs().max()) < 1e-10
    assert float((in_place.peaks - plain.peaks).abs().max()) < 1e-10


@pytest.mark.parametrize("method", METHODS)
def test_in_mixed_precision_only_the_models_own_pass_is_half(method) -> None:
    """The maps are float32 sums of the layer's half-precision activations and gradients, to 1e-5."""
    torch.manual_seed(0)
    model = out_of_place(small_cnn()).eval()
    images, kept = torch.randn(4, 3, 12, 12), []
    with torch.autocast("cpu", torch.bfloat16):
        found = cams_of(model, images, target_layer="5", target=2, method=method)[0]
        hook = model[5].register_forward_hook(lambda module, args, output: kept.append(output))
        scores = model(images)
        hook.remove()
    (gradient,) = torch.autograd.grad(scores[:, 2].sum(), kept)
    expected = METHODS[method](kept[0].detach().float(), gradient.float()).relu()
    assert kept[0].dtype == gradient.dtype == torch.bfloat16
    assert found.maps.dtype == found.peaks.dtype == found.scores.dtype == torch.float32
    assert torch.allclose(found.maps[:, 0] * found.peaks[..., None], expected, rtol=1e-5, atol=1e-7)


def test_grad_cam_itself_errs_in_front_of_an_in_place_relu() -> None:
    """Why its maps are no oracle there; if this fails, grad-cam was mended, and the README can say so."""
    torch.manual_seed(0)
    model = small_cnn().eval()
    images = torch.randn(4, 3, 12, 12)
    wrong = GradCAM(model, [model[5]])(images, None)
    right = GradCAM(out_of_place(model), [model[5]])(images, None)
    assert np.abs(wrong - right).max() > 0.05
    ours = cams_of(small_cnn_like(model), images, target_layer="5", method="gradcam")[0].heatmaps((12, 12))[:, 0]
    assert np.abs(ours.numpy() - right).max() < 1e-3


def small_cnn_like(model: nn.Module) -> nn.Module:
    twin = small_cnn()
    twin.load_state_dict(model.state_dict())
    return twin


def test_a_batch_gives_the_maps_of_its_images_one_by_one(networks) -> None:
    """Whatever the chunk size."""
    images = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    model = networks["resnet18"]
    whole = cams_of(model, images, target_layer="layer3")[0]
    for size in (1, 2):
        parts = cams_of(model, images, target_layer="layer3", batch_size=size)[0]
        assert torch.allclose(parts.maps, whole.maps, atol=1e-4)
        assert torch.equal(parts.predictions, whole.predictions)


@pytest.mark.parametrize(
    ("shape", "asked", "passes"),
    [
        ((200, 3, 32, 32), None, [128, 72]),
        ((200, 3, 40, 40), None, [83, 83, 34]),
        ((200, 3, 8, 8), None, [128, 72]),
        ((34, 3, 96, 96), None, [32, 2]),
        ((34, 3, 8, 8), 16, [16, 16, 2]),
    ],
)
def test_small_images_are_more_in_a_pass(shape, asked, passes) -> None:
    """Unless it is asked how many."""
    model, seen = small_cnn(), []
    inputs, labels = Inputs(torch.rand(shape)), None
    plan = make_plan(model, inputs, labels, Settings("5", batch_size=asked))
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    compute_cams(model, inputs, plan.known(labels), plan)
    assert seen == passes


def test_several_classes_are_the_classes_one_by_one(networks) -> None:
    """One forward, a backward each."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    model = networks["resnet18"]
    calls = []
    counted = lambda lent: lent.register_forward_hook(lambda *_: calls.append(1))  # noqa: E731
    columns = cams_of(model, images, target_layer="layer3", target=[1, 7], prepare=counted)[0]
    assert len(calls) == 3  # two to try the settings, one to explain
    assert columns.maps.shape[:2] == (2, 2)
    assert columns.targets.tolist() == [[1, 7], [1, 7]]
    for place, category in enumerate((1, 7)):
        alone = cams_of(model, images, target_layer="layer3", target=category)[0]
        assert torch.allclose(columns.maps[:, place], alone.maps[:, 0], atol=1e-6)


def test_several_layers_in_one_pass_are_the_layers_one_by_one(networks) -> None:
    """The earliest opens the gradients."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(6))
    names = ["layer1", "layer2", "layer4"]
    together = cams_of(networks["resnet18"], images, target_layer=names)
    for cams, name in zip(together, names, strict=True):
        alone = cams_of(networks["resnet18"], images, target_layer=name)[0]
        assert torch.allclose(cams.maps, alone.maps, atol=1e-5)


def test_no_activation_in_front_of_the_layer_is_kept() -> None:
    """The score's graph ends at the layer's output."""
    model, seen = small_cnn(), []
    model[2].register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    cams_of(model, torch.randn(2, 3, 8, 8), target_layer="5")
    assert seen == [False] * len(seen)


def test_a_blank_map_is_zero_and_not_noise() -> None:
    """No positive evidence: zeros with a peak of zero."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.zeros_(model[4].weight)
    cams = cams_of(model, torch.rand(2, 1, 4, 4))[0]
    assert cams.maps.abs().max() == 0
    assert cams.peaks.abs().max() == 0
    assert bool((cams.states == BLANK).all())
    assert cams.heatmaps((8, 8)).abs().max() == 0


def test_weights_that_are_not_finite_give_a_blank_map_whose_peak_says_so() -> None:
    """NaN in the peak, zeros in the map."""
    model = small_cnn()
    nn.init.constant_(model[9].weight, torch.nan)
    cams = cams_of(model, torch.rand(2, 3, 8, 8))[0]
    assert cams.maps.abs().max() == 0
    assert bool(cams.peaks.isnan().all())
    assert bool((cams.states == NOT_FINITE).all())


class Scripted(GradCAM):
    """A user's own subclass: where the last channel is, weighted by one."""

    def get_cam_weights(self, input_tensor, target_layer, target_category, activations, grads):
        weights = np.zeros(activations.shape[:2], np.float32)
        weights[:, -1] = 1
        return weights


def test_finer_cam_compares_a_class_with_the_three_most_like_it() -> None:
    """By their scores in the same image."""
    values = torch.tensor([[0.0, 1.0, 5.0, 5.5, 9.0], [4.0, 9.0, 3.5, 1.0, 3.0]])
    classes = torch.tensor([[3], [0]])
    wanted = Objective(values, classes, nn.functional.one_hot(classes, 5))
    [targets] = class_targets(FinerCAM, values, wanted)
    assert [target.main_category for target in targets] == [3, 0]
    assert [target.comparison_categories for target in targets] == [[2, 4, 1], [2, 4, 3]]


@pytest.mark.parametrize(("method", "expected"), [("finercam", False), ("ablationcam", False), ("shapleycam", True)])
def test_only_what_differentiates_twice_asks_for_the_weights_gradients(method, expected) -> None:
    """They would cost as much again as the maps."""
    asked = SimpleQueue()  # a native object, of which the looks' copies have none of their own

    def output(model: nn.Module, images: Tensor) -> Tensor:
        asked.put(any(weight.requires_grad for weight in model.parameters()))
        return model(images)

    cams_of(small_cnn(), torch.rand(1, 3, 8, 8), method=method, output=output, target_layer="5")
    assert [asked.get() for _ in range(asked.qsize())][-1] is expected


def test_a_subclass_of_the_users_is_run() -> None:
    """By grad-cam, on the lent model."""
    torch.manual_seed(0)
    model = small_cnn()
    images = torch.rand(2, 3, 8, 8)
    cams = cams_of(model, images, method=Scripted, target_layer="6")[0]
    activation = model.eval()[:7](images)[:, -1]
    lowest, highest = activation.amin((1, 2), True), activation.amax((1, 2), True)
    enlarged = nn.functional.interpolate(((activation - lowest) / (highest - lowest))[:, None], (8, 8), mode="bilinear")
    low, high = enlarged.amin((2, 3), True), enlarged.amax((2, 3), True)
    assert torch.allclose(cams.maps, ((enlarged - low) / (high - low)).detach(), atol=1e-4)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("method", ["scorecam", "fem", "ablationcam"])
def test_a_score_without_an_axis_of_classes_is_explained_by_grad_cams_methods(method, task) -> None:
    """(N,), as behind a squeeze: as with one column."""

    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images)[:, 0]

    torch.manual_seed(1)
    network, images = small_cnn(classes=1), torch.rand(3, 3, 16, 16)
    options = {"method": method, "task": task}
    [found] = cams_of(Squeezed(), images, target_layer="network.6", **options)
    [expected] = cams_of(network, images, target_layer="6", **options)
    assert torch.allclose(found.maps, expected.maps, atol=1e-5)
    assert found.maps.max() > 0.5


def test_a_peak_that_is_infinite_leaves_a_map_of_zeros() -> None:
    """Whose state says so, and no NaN in it."""
    raw = torch.tensor([[[[torch.inf, 1.0], [0.0, 2.0]]], [[[torch.nan, 1.0], [0.0, 2.0]]], [[[4.0, 1.0], [0.0, 2.0]]]])
    maps, peaks = divided(raw)
    assert maps[:, 0].tolist() == [[[0, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 0.25], [0, 0.5]]]
    assert peaks.isfinite()[:, 0].tolist() == [False, False, True]


@pytest.mark.parametrize("method", [name for name in borrowed_names() if name not in METHODS])
def test_every_method_of_grad_cam_runs_by_name(method) -> None:
    """Finite heatmaps in 0..1, and the model as it was."""
    torch.manual_seed(0)
    model = small_cnn()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cams = cams_of(model, torch.rand(2, 3, 16, 16), method=method, target_layer="5")[0]
    assert cams.maps.shape == (2, 1, 16, 16)
    assert float(cams.maps.min()) >= 0
    assert float(cams.maps.max()) <= 1
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_grad_cams_own_classes_agree_with_ours_by_class(networks) -> None:
    """`method=GradCAM` is grad-cam's, `method="gradcam"` ours; also on half precision, which grad-cam cannot read."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))
    for network in ("resnet18",):
        theirs = cams_of(networks[network], images, method=GradCAM, target_layer="layer3")[0]
        ours = cams_of(networks[network], images, target_layer="layer3")[0]
        assert float((theirs.maps - ours.heatmaps((64, 64))).abs().max()) < 1e-3
    half = small_cnn().to(torch.bfloat16)
    assert cams_of(half, torch.rand(2, 3, 8, 8), method=GradCAM, target_layer="5")[0].maps.shape == (2, 1, 8, 8)


def test_a_list_of_grad_cams_targets_is_one_an_image(networks) -> None:
    """On the device as in grad-cam."""
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(8))
    targets = [ClassifierOutputTarget(c) for c in (2, 0, 5)]
    model = networks["resnet18"]
    expected = GradCAM(model, [model.layer3])(images, targets)
    for method in ("gradcam", GradCAM):
        found = cams_of(model, images, target=targets, target_layer="layer3", method=method, batch_size=2)[0]
        assert np.abs(found.heatmaps((64, 64))[:, 0].numpy() - expected).max() < 1e-3


class FrozenBackbone(nn.Module):
    """The form of Lightning's own transfer learning guide."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = small_cnn()[:7]
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(images)
        return self.head(features)


@pytest.mark.parametrize("method", ["gradcam", GradCAM])
def test_a_backbone_under_no_grad_is_looked_into(method) -> None:
    """The same maps as without the no_grad, where other libraries fail."""
    torch.manual_seed(0)
    model = FrozenBackbone()
    images = torch.rand(2, 3, 8, 8)
    found = cams_of(model, images, method=method)[0]
    plain = cams_of(nn.Sequential(model.backbone, model.head), images, target_layer="0")[0]
    assert found.layer == "backbone"
    assert torch.allclose(found.heatmaps((8, 8)), plain.heatmaps((8, 8)), atol=1e-3)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_under_no_grad_and_inference_mode(mode) -> None:
    """As in Lightning's validation."""
    torch.manual_seed(0)
    model, images = small_cnn(), torch.rand(2, 3, 8, 8)
    expected = cams_of(model, images)[0]
    with mode():
        assert torch.equal(cams_of(model, images)[0].maps, expected.maps)


def test_out_of_memory_halves_the_chunk(monkeypatch) -> None:
    """And gives the same maps."""
    torch.manual_seed(0)
    model, images = small_cnn(), torch.rand(7, 3, 8, 8)
    expected = cams_of(model, images)[0]
    sizes = []

    def scarce(module, inputs):
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    found = cams_of(model, images, prepare=lambda lent: lent.register_forward_pre_hook(scarce))[0]
    assert sizes == [2, 2, 7, 3, 1, 2, 4, 2, 2]
    assert torch.allclose(found.maps, expected.maps, atol=1e-6)


@pytest.mark.parametrize("most", [0, 1])
def test_out_of_memory_halves_down_to_one_image_and_no_further(most) -> None:
    """Where one is too many, that is said."""
    torch.manual_seed(0)
    model, images = small_cnn(), torch.rand(5, 3, 8, 8)
    expected = cams_of(model, images)[0]
    sizes = []

    def scarce(module, inputs):
        sizes.append(len(inputs[0]))
        if len(sizes) > 2 and len(inputs[0]) > most:  # the first two passes try the settings
            raise torch.OutOfMemoryError("CUDA out of memory")

    def found() -> Maps:
        return cams_of(model, images, prepare=lambda lent: lent.register_forward_pre_hook(scarce))[0]

    if most:
        assert torch.allclose(found().maps, expected.maps, atol=1e-6)
        assert sizes == [2, 2, 5, 2, 1, 1, 3, 1, 2, 1, 1]
    else:
        with pytest.raises(torch.OutOfMemoryError):
            found()
        assert sizes == [2, 2, 5, 2, 1]


def test_grad_cams_own_classes_read_tokens(networks) -> None:
    """By the layout that was found, as ours do."""
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    layer = "encoder.layers.encoder_layer_2.ln_1"
    theirs, ours = (cams_of(networks["vit"], images, method=one, target_layer=layer)[0] for one in (GradCAM, "gradcam"))
    assert float((theirs.maps - ours.heatmaps((32, 32))).abs().max()) < 1e-3


def test_layers_of_different_layouts_are_averaged_by_grad_cams_own_classes() -> None:
    """Each is read by its own layout: channels first, and tokens."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = conv, norm, nn.Linear(8, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.norm(self.conv(images).flatten(2).mT).relu().mean(1))

    model, images, group = Tokens(), torch.randn(2, 3, 16, 24), [["conv", "norm"]]
    theirs, ours = (cams_of(model, images, method=one, target_layer=group)[0] for one in (GradCAM, "gradcam"))
    assert float((theirs.maps - ours.heatmaps((16, 24))).abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "shapleycam", "target_layer": [["2", "5"]]}, "grad-cam's 'shapleycam' averages no layers"),
        ({"method": "finercam", "target_layer": "5", "task": "regression"}, "a single value an image"),
    ],
)
def test_what_grad_cams_own_classes_cannot_do_is_refused(options, message) -> None:
    """Before they fail in their own words."""
    model = nn.Sequential(*small_cnn()[:-1], nn.LazyLinear(1))
    model(torch.rand(2, 3, 16, 16))
    with pytest.raises(ValueError, match=message):
        cams_of(model, torch.rand(2, 3, 16, 16), **options)


@pytest.mark.parametrize(
    "options", [{"aug_smooth": True}, {"eigen_smooth": True}, *({"method": one} for one in METHODS)]
)
@pytest.mark.parametrize("broken", ["head", "one row", "layer", "one channel"])
def test_what_is_not_finite_is_told_whatever_the_method(options, broken) -> None:
    """Infinite or NaN, in the head or in the layer; no method's cleaning makes heat or a blank of it."""
    model = small_cnn()
    if broken == "head":
        model[-1].weight.data.fill_(torch.nan)
    elif broken == "one row":
        model[-1].weight.data[0] = -torch.inf
    else:
        model[5].weight.data[: 1 if broken == "one channel" else None] = torch.nan
    found = cams_of(model, torch.rand(3, 3, 16, 16), target=0, target_layer="5", **options)[0]
    assert found.states.unique().tolist() == [NOT_FINITE]
    assert float(found.maps.abs().max()) == 0


def test_a_head_that_squeezes_is_explained_one_by_one_as_together() -> None:
    """Of three classes, which are no ensemble of one image."""

    class Squeezing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_cnn()

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images).squeeze()

    torch.manual_seed(0)
    model, images = Squeezing(), torch.rand(4, 3, 16, 16)
    together = cams_of(model, images, target_layer="network.5")[0]
    for size in (1, 3):
        alone = cams_of(model, images, target_layer="network.5", batch_size=size)[0]
        assert torch.allclose(alone.scores, together.scores, atol=1e-5)
        assert torch.allclose(alone.maps, together.maps, atol=1e-4)
    first = cams_of(model, images[:1], target_layer="network.5")[0]
    assert torch.allclose(first.scores, together.scores[:1], atol=1e-5)


@pytest.mark.parametrize("method", ["ablationcam", "scorecam"])
def test_rebuilt_images_are_compared_each_with_its_own_by_grad_cams_methods(method) -> None:
    """Whatever the batch size."""
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1)), torch.rand(5, 3, 8, 8)
    truth = torch.rand(5, 3, 8, 8)
    found = [
        cams_of(model, images, truth, target_layer="1", method=method, batch_size=size, task="none")[0].maps
        for size in (5, 1, 3)
    ]
    assert torch.allclose(found[0], found[1], atol=1e-5)
    assert torch.allclose(found[0], found[2], atol=1e-5)


class Several(nn.Module):
    """Gives a tuple of what it is told to."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kinds, self.body, self.loss = kinds, nn.Conv2d(3, 8, 3, padding=1), None
        self.heads = nn.ModuleDict(
            {
                "mu": nn.Linear(8, 16),
                "logvar": nn.Linear(8, 16),
                "one": nn.Linear(8, 4),
                "two": nn.Linear(8, 4),
                "age": nn.Linear(8, 1),
            }
        )
        self.decoder = nn.Conv2d(8, 3, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.body(images).relu()
        pooled = features.mean((2, 3))
        return tuple(self.decoder(features) if one == "picture" else self.heads[one](pooled) for one in self.kinds)


@pytest.mark.parametrize(
    ("kinds", "loss", "place", "hint"),
    [
        (("picture", "mu", "logvar"), nn.MSELoss(), (0,), ""),
        (("picture", "one"), nn.CrossEntropyLoss(), (1,), ""),
        (("one", "two"), nn.CrossEntropyLoss(), (0,), "taken to be [0]; output=lambda model, images: model(images)[1]"),
        (("mu", "one"), nn.CrossEntropyLoss(), (0,), "model(images)[1] takes another"),
        (("age", "one"), nn.CrossEntropyLoss(), (1,), ""),
    ],
)
def test_of_several_outputs_that_may_be_scores_it_is_said_which_was_taken(kinds, loss, place, hint) -> None:
    """A rebuilt image where no loss is of classes; of two heads the first, with the line that takes the other."""
    model = Several(*kinds)
    model.loss = loss
    with Lender(model).twin(None) as (lent, _):
        plan = make_plan(lent, Inputs(torch.rand(2, 3, 16, 16)), torch.tensor([1, 2]), Settings())
    assert plan.place == place
    assert hint in plan.task.doubt
    assert bool(hint) == ("several outputs" in plan.task.doubt)


def test_where_two_images_are_too_many_one_is_tried() -> None:
    """As looks do, whose chunks are halved."""

    class Scarce(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_cnn()

        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 1:
                raise torch.OutOfMemoryError
            return self.network(images)

    assert len(cams_of(Scarce(), torch.rand(3, 3, 16, 16), target_layer="network.5")[0].maps) == 3
