"""Every classifier of torchvision (or a sample of timm) with nothing configured, beside grad-cam on the layer found.

    python tests/benchmarks/zoo.py [torchvision | segmentation | timm] [NAME ...]

Prints a row a model: the layer found, its map, the range of the heatmaps, the largest difference from grad-cam (on the
model made out of place: grad-cam errs in front of in-place operations), and "ok" or what failed.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import timm
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn

from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.compute import compute_cams
from lightning_gradcam.cam.layers import named_layers
from lightning_gradcam.cam.layouts import Layout
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings

TIMM = """
vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch32_224 vit_small_patch14_reg4_dinov2 deit_tiny_patch16_224
deit_tiny_distilled_patch16_224 deit3_small_patch16_224 beit_base_patch16_224 eva02_tiny_patch14_224 cait_xxs24_224
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 convnext_atto convnextv2_atto efficientnet_b0 efficientnetv2_rw_t
maxvit_tiny_rw_224 coatnet_0_rw_224 mixer_s16_224 gmixer_24_224 resmlp_12_224 resnet18 resnet50d resnext50_32x4d
seresnet50 regnety_002 mobilenetv2_100 mobilenetv3_small_100 mobilenetv4_conv_small mobilevit_xxs mobileone_s0
densenet121 dla34 dpn68 ese_vovnet19b_dw fastvit_t8 ghostnet_100 hrnet_w18_small inception_v3 levit_128s nfnet_l0
poolformer_s12 pvt_v2_b0 repvgg_a0 res2net50_26w_4s rexnet_100 tf_efficientnet_lite0 tiny_vit_5m_224 tnt_s_patch16_224
twins_pcpvt_small vgg11 visformer_tiny xception41 xcit_nano_12_p16_224 davit_tiny edgenext_xx_small efficientformer_l1
focalnet_tiny_srf hiera_tiny_224 mvitv2_tiny nest_tiny sequencer2d_s volo_d1_224 crossvit_tiny_240 convmixer_768_32
""".split()  # noqa: SIM905 - a list of these, one a line, would be a page
SEGMENTATION = list(torchvision.models.list_models(torchvision.models.segmentation))


def build(family: str, name: str) -> tuple[nn.Module, Tensor]:
    """A model with random weights and two random images of its size."""
    torch.manual_seed(0)
    if family == "timm":
        model = timm.create_model(name, pretrained=False)
        return model, torch.randn(2, *model.default_cfg["input_size"])
    options = {"weights_backbone": None} if family == "segmentation" else {}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    model = torchvision.models.get_model(name, weights=None, **options)
    side = 64 if family == "segmentation" else {"inception_v3": 299, "vit_h_14": 224}.get(name, 224)
    return model, torch.randn(2, 3, side, side)


def settle(model: nn.Module, images: Tensor) -> None:
    """Let BatchNorm see data: else an EfficientNet's activations vanish, and grad-cam's 1e-7 guard dims its maps."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    model.eval()
    for norm in norms:
        norm.train()
        norm.momentum = None
    if norms:
        with torch.no_grad():
            model(images)


def without_in_place(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return model


def functional_in_place(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """DenseNet calls F.relu(features, inplace=True) behind its last layer."""
    return lambda tensor, inplace=False: call(tensor)


def compare(family: str, name: str) -> str:
    model, images = build(family, name)
    settle(model, images)
    size = (images.shape[-2], images.shape[-1])
    with Lender(model).twin(None) as (lent, _):
        plan = make_plan(lent, Inputs(images), None, Settings(method="gradcam", target="predicted"))
        cams = compute_cams(lent, Inputs(images), plan.known(None), plan)[0]
    layer, heatmaps = plan.groups[0][0], cams.heatmaps(size)[:, 0]
    assert isinstance(layer.layout, Layout)
    in_range = bool(heatmaps.isfinite().all()) and float(heatmaps.min()) >= 0 and float(heatmaps.max()) <= 1 + 1e-6
    row = f"{name:36} {layer.name:52} {layer.layout.axes} {'x'.join(map(str, cams.maps.shape[2:])):6}"
    row += f" {'blank' if not bool(cams.maps.any()) else f'{float(heatmaps.max()):5.3f}'}"
    difference = float("nan") if family == "segmentation" else peer_difference(model, images, layer, heatmaps)
    verdict = "ok" if in_range and not difference > 1e-3 else "DIFFERS" if in_range else "OUT OF RANGE"
    return f"{row} {difference:9.1e} {verdict}"


def peer_difference(model: nn.Module, images: Tensor, layer: object, heatmaps: Tensor) -> float:
    relu = torch.nn.functional.relu
    torch.nn.functional.relu = functional_in_place(relu)  # type: ignore[assignment]
    try:
        reshape = None if layer.layout.axes == "NCHW" else layer.layout
        layers = [named_layers(model)[layer.name]]
        theirs = GradCAM(without_in_place(model).eval(), layers, reshape_transform=reshape)(images, None)
    finally:
        torch.nn.functional.relu = relu
    return float(np.abs(heatmaps.numpy() - theirs).max())


def main() -> int:
    """Print the table and the counts; the exit code is the number of models that failed."""
    family = sys.argv[1] if len(sys.argv) > 1 else "torchvision"
    known = {
        "torchvision": torchvision.models.list_models(torchvision.models),
        "segmentation": SEGMENTATION,
        "timm": TIMM,
    }
    names, failed, start = sys.argv[2:] or known[family], [], time.monotonic()
    for name in names:
        try:
            row = compare(family, name)
        except Exception as error:
            row = f"{name:36} {type(error).__name__}: {str(error)[:150]}"
        failed += [] if row.endswith(" ok") else [name]
        print(row, flush=True)
    print(f"{len(names)} models of {family}, {len(failed)} failed {failed}, {time.monotonic() - start:.0f} s")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
