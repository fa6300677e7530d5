"""Which layer is found with nothing configured, of segmentation networks and transformers, at five sizes of images.

    python tests/benchmarks/layers.py [NAME ...]

Prints a row a model: the layer, and the map's size at each size of the images; or what failed. A layer should be the
same at each size: a square map is no attention matrix for being as long as some tokens are many.
"""

import sys
import warnings
from collections.abc import Callable

import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
import transformers
from torch import nn

from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.layers import TargetLayer
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings

SIZES = (128, 224, 256, 320, 512)
Build = Callable[[int], nn.Module]


def _torchvision(name: str) -> Build:
    return lambda side: torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5)


def _smp(name: str, encoder: str) -> Build:
    return lambda side: getattr(smp, name)(encoder, encoder_weights=None, classes=3)


def _timm(name: str, sized: bool = False) -> Build:
    return lambda side: timm.create_model(name, num_classes=7, **({"img_size": side} if sized else {}))


_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def _hf(kind: str, **config: object) -> Build:
    """A small random configuration of transformers'; `image_size` is filled in where the configuration has one."""

    def build(side: int) -> nn.Module:
        model = getattr(transformers, kind)
        known = {**config, "num_labels": 5}
        if "image_size" in config:
            known["image_size"] = side
        return model(model.config_class(**known))

    return build


def _upernet(side: int) -> nn.Module:
    backbone = transformers.SwinConfig(
        embed_dim=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = transformers.UperNetConfig(
        backbone_config=backbone, hidden_size=32, num_labels=5, use_auxiliary_head=False, auxiliary_in_channels=96
    )
    return transformers.UperNetForSemanticSegmentation(config)


ENCODERS = ("resnet18", "mit_b0", "mobilenet_v2", "efficientnet-b0")
DECODERS = ("Unet", "UnetPlusPlus", "FPN", "PSPNet", "DeepLabV3Plus", "MAnet", "Linknet", "PAN", "Segformer", "UPerNet")
NO_PAIR = {
    ("UnetPlusPlus", "mit_b0"),
    ("Linknet", "mit_b0"),
    ("DeepLabV3Plus", "mit_b0"),
    ("PAN", "mit_b0"),
}  # smp's own
MODELS: dict[str, Build] = {
    **{
        name: _torchvision(name)
        for name in torchvision.models.list_models(torchvision.models.segmentation)
        if "101" not in name
    },
    **{
        f"{decoder} {encoder}": _smp(decoder, encoder)
        for decoder in DECODERS
        for encoder in (ENCODERS if decoder in ("Unet", "FPN", "Segformer", "UPerNet") else ENCODERS[:2])
        if (decoder, encoder) not in NO_PAIR
    },
    "transformers Segformer": _hf(
        "SegformerForSemanticSegmentation",
        depths=[1, 1, 1, 1],
        hidden_sizes=[16, 32, 80, 128],
        decoder_hidden_size=32,
    ),
    "transformers UperNet Swin": _upernet,
    "transformers ViT": _hf("ViTForImageClassification", image_size=0, patch_size=16, **_SMALL),
    "transformers DeiT": _hf("DeiTForImageClassification", image_size=0, patch_size=16, **_SMALL),
    "transformers BEiT": _hf("BeitForImageClassification", image_size=0, patch_size=16, **_SMALL),
    "transformers DINOv2": _hf("Dinov2ForImageClassification", image_size=0, patch_size=16, **_SMALL),
    "transformers Swin": _hf(
        "SwinForImageClassification",
        image_size=0,
        window_size=4,
        embed_dim=24,
        depths=[1, 1, 2, 1],
        num_heads=[1, 2, 4, 8],
    ),
    "transformers ConvNeXt": _hf("ConvNextForImageClassification", hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 1, 1]),
    "transformers ResNet": _hf("ResNetForImageClassification", embedding_size=16, hidden_sizes=[16, 32, 64, 128]),
    "transformers MobileViT": _hf("MobileViTForSemanticSegmentation"),
    "transformers PVTv2": _hf("PvtV2ForImageClassification", hidden_sizes=[16, 32, 80, 128], depths=[1, 1, 1, 1]),
    **{
        f"timm {name}": _timm(name)
        for name in (
            *("resnet18", "convnext_atto", "efficientnet_b0", "mobilenetv3_small_100", "mobilenetv4_conv_small"),
            *(
                "pvt_v2_b0",
                "mobilevit_xxs",
                "poolformer_s12",
                "regnety_002",
                "edgenext_xx_small",
                "xcit_nano_12_p16_224",
            ),
            *("hrnet_w18_small", "ghostnet_100", "densenet121"),
        )
    },
    **{
        f"timm {name}": _timm(name, sized=True)
        for name in ("vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224")
    },
}


def found(name: str, side: int) -> TargetLayer:
    """Return the layer that is found in a model for square images."""
    torch.manual_seed(0)
    model = MODELS[name](side).eval()
    with Lender(model).twin(Settings(method="gradcam")) as (lent, settings):
        return make_plan(lent, Inputs(torch.randn(2, 3, side, side)), None, settings).groups[0][0]


def main() -> int:
    """Print the table; the exit code is the number of models whose layer is not the same at each size."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    failed = 0
    for name in sys.argv[1:] or MODELS:
        rows: dict[str, list[str]] = {}
        for side in SIZES:
            try:
                layer = found(name, side)
                rows.setdefault(layer.name, []).append("x".join(map(str, layer.layout.grid)) if layer.layout else "?")
            except Exception as error:
                rows.setdefault(f"{type(error).__name__}: {str(error)[:90]}", []).append(str(side))
        failed += len(rows) != 1 or ":" in next(iter(rows))
        print(
            f"{name:34} {'  |  '.join(f'{layer} {chr(32).join(sizes)}' for layer, sizes in rows.items())}", flush=True
        )
    print(f"{len(sys.argv[1:] or MODELS)} models at {len(SIZES)} sizes, {failed} not the same at each")
    return failed


if __name__ == "__main__":
    sys.exit(main())
