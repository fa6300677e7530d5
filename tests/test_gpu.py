"""What only a GPU can show; skipped without one."""

import pytest
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from torch.utils.data import DataLoader

from lightning_gradcam import GradCAMCallback, explain
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(dtype) -> None:
    """Half precision to a few hundredths."""
    torch.manual_seed(0)
    model, images = torchvision.models.resnet18(), torch.rand(2, 3, 64, 64)
    expected = explain(model, images, "layer3", target=3)
    found = explain(model.to("cuda", dtype), images, "layer3", target=3)
    assert float((found.heatmaps - expected.heatmaps).abs().max()) < (1e-3 if dtype == torch.float64 else 0.2)


@pytest.mark.parametrize("trust", [False, True])
def test_looking_never_waits_for_the_device(trust) -> None:
    """No operation on the training thread synchronises: torch's own debug mode would raise."""
    model = torchvision.models.resnet18().cuda()
    images = torch.rand(8, 3, 64, 64).pin_memory()
    with Lender(model).twin(None) as (lent, _):
        plan = make_plan(lent, Inputs(images), None, Settings("layer4", "predicted", batch_size=4, trust=trust))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with Lender(model).twin(None) as (lent, _):
            later = [cams.copied() for cams in compute_cams(lent, Inputs(images), plan.known(None), plan)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert later[0]().maps.shape == (8, 1, 2, 2)


def test_trust_is_the_cpus() -> None:
    """To 1e-3."""
    torch.manual_seed(0)
    model, images = torchvision.models.resnet18(), torch.rand(4, 3, 64, 64)
    expected = explain(model, images, "layer2", trust=True).metrics
    found = explain(model.cuda(), images, "layer2", trust=True).metrics
    for name in ("faithfulness", "class_sensitivity"):
        assert torch.allclose(found[name], expected[name], atol=1e-3), name


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed", "bf16-true"])
def test_a_fit_logs_every_epoch(make_trainer, events, precision, recwarn) -> None:
    """In each precision."""
    loader = DataLoader(make_pairs(), 8)
    make_trainer(GradCAMCallback(trust=True), accelerator="gpu", precision=precision).fit(Classifier(), loader, loader)
    assert complaints(recwarn) == []
    assert events().steps("gradcam/network.6") == [0, 1, 2]


def test_a_compiled_model_on_the_gpu(make_trainer, events, recwarn) -> None:
    """By inductor, before fit."""
    loader = DataLoader(make_pairs(), 8)
    make_trainer(GradCAMCallback(), accelerator="gpu").fit(torch.compile(Classifier()), loader, loader)
    assert complaints(recwarn) == []
    assert events().steps("gradcam/network.6") == [0, 1, 2]
