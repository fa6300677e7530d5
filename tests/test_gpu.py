"""What only a GPU can show; skipped without one."""

import pytest
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from torch.utils.data import DataLoader

from lightning_gradcam import GradCAMCallback, compare, explain
from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.compute import compute_cams
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.methods import METHODS
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings

from .conftest import Classifier, complaints, make_pairs, small_cnn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("method", [*METHODS, "scorecam", GradCAM])
def test_the_maps_are_the_cpus(method) -> None:
    """To 1e-3 in float32, without TF32."""
    torch.manual_seed(0)
    model, images = small_cnn(), torch.rand(4, 3, 16, 16)
    expected = explain(model, images, method=method)
    found = explain(model.cuda(), images, method=method)
    assert found.heatmaps.device.type == "cpu"
    assert float((found.heatmaps - expected.heatmaps).abs().max()) < 1e-3


@pytest.mark.parametrize("method", [None, "relevance"])
def test_a_transformers_maps_are_the_cpus(method) -> None:
    """With the layer that is found, and of all blocks' attention."""
    torch.manual_seed(0)
    model, images = small_vit().eval(), torch.rand(4, 3, 32, 32)
    expected = explain(model, images, method=method)
    found = explain(model.cuda(), images, method=method)
    assert found.layer == expected.layer
    assert float((found.heatmaps - expected.heatmaps).abs().max()) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(dtype) -> None:
    """Half precision to a few hundredths."""
    torch.manual_seed(0)
    model, images = torchvision.models.resnet18(), torch.rand(2, 3, 64, 64)
    expected = explain(model, images, "layer3", target=3)
    found = explain(model.to("cuda", dtype), images, "layer3", target=3)
    assert float((found.heatmaps - expected.heatmaps).abs().max()) < (1e-3 if dtype == torch.float64 else 0.2)


def small_vit() -> torch.nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=5)


@pytest.mark.parametrize(
    ("network", "layer", "method", "trust"),
    [
        (torchvision.models.resnet18, "layer4", None, False),
        (torchvision.models.resnet18, "layer4", None, True),
        (torchvision.models.resnet18, ["layer4", "layer2"], "layercam", False),
        (torchvision.models.convnext_tiny, None, None, False),
        (small_vit, None, None, True),
        (small_vit, None, "relevance", False),
    ],
)
def test_looking_never_waits_for_the_device(network, layer, method, trust) -> None:
    """No operation on the training thread synchronises: torch's own debug mode would raise.

    But for the decompositions of the eigen methods, which torch itself waits for.
    """
    model = network().cuda()
    side = 32 if network is small_vit else 64
    images = torch.rand(8, 3, side, side).pin_memory()
    settings = Settings(layer, "predicted", method, batch_size=4, trust=trust)
    with Lender(model).twin(None) as (lent, _):
        plan = make_plan(lent, Inputs(images), None, settings)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with Lender(model).twin(None) as (lent, _):
            later = [cams.copied() for cams in compute_cams(lent, Inputs(images), plan.known(None), plan)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert later[0]().maps.shape[:2] == (8, 1)


def test_a_look_gives_its_memory_back() -> None:
    """All of it, though the graph of each batch was larger than the model."""
    model, images = torchvision.models.resnet18().cuda(), torch.rand(32, 3, 112, 112)
    explain(model, images[:1], trust=True)  # what the libraries keep for themselves
    before = torch.cuda.memory_allocated()
    explain(model, images, batch_size=16, trust=True)
    assert torch.cuda.memory_allocated() == before


def test_trust_is_the_cpus() -> None:
    """To 1e-3."""
    torch.manual_seed(0)
    model, images = torchvision.models.resnet18(), torch.rand(4, 3, 64, 64)
    expected = explain(model, images, "layer2", trust=True).metrics
    found = explain(model.cuda(), images, "layer2", trust=True).metrics
    for name in ("faithfulness", "class_sensitivity"):
        assert torch.allclose(found[name], expected[name], atol=1e-3), name


def test_comparing_says_the_same() -> None:
    """Row by row, to 1e-3; its cost is measured by the device's own clock."""
    torch.manual_seed(0)
    model, images = torchvision.models.resnet18(), torch.rand(4, 3, 64, 64)
    options = {"layers": ["layer2", "layer4"], "methods": ["gradcam", "layercam"]}
    expected = {(row.layer, row.method): row for row in compare(model, images, **options).rows}
    found = {(row.layer, row.method): row for row in compare(model.cuda(), images, **options).rows}
    assert found.keys() == expected.keys()
    for pair, row in found.items():
        assert row.faithfulness == pytest.approx(expected[pair].faithfulness, abs=1e-3)


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed", "bf16-true"])
def test_a_fit_logs_every_epoch(make_trainer, events, precision, recwarn) -> None:
    """In each precision."""
    loader = DataLoader(make_pairs(), 8)
    make_trainer(GradCAMCallback(trust=True), accelerator="gpu", precision=precision).fit(Classifier(), loader, loader)
    assert complaints(recwarn) == []
    assert events().steps("gradcam/network.6") == [0, 1, 2]


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_model_on_the_gpu(make_trainer, events, recwarn, mode) -> None:
    """By inductor, before fit, also as CUDA graphs, which replay kernels over memory of their own."""
    loader = DataLoader(make_pairs(), 8)
    make_trainer(GradCAMCallback(), accelerator="gpu").fit(torch.compile(Classifier(), mode=mode), loader, loader)
    assert complaints(recwarn) == []
    assert events().steps("gradcam/network.6") == [0, 1, 2]
