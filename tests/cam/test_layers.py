"""Which layer is found, and how shapes are read."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from lightning_gradcam import explain
from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.layers import (
    Capture,
    TargetLayer,
    capture,
    choose_layers,
    named_layers,
)
from lightning_gradcam.cam.layouts import Layout, read_layout
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings

from ..conftest import small_cnn


def found(model: nn.Module, images: Tensor) -> TargetLayer:
    return named_layer(model, images, None)


def named_layer(model: nn.Module, images: Tensor, name: str | None) -> TargetLayer:
    with Lender(model).twin(None) as (lent, _):
        return make_plan(lent, Inputs(images), None, Settings(name, "predicted", "gradcam")).groups[0][0]


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((2, 512, 7, 7), (224, 224), Layout("NCHW", (7, 7))),
        ((2, 7, 7, 768), (224, 224), Layout("NHWC", (7, 7))),
        ((2, 64, 4, 12), (64, 192), Layout("NCHW", (4, 12))),
        ((2, 4, 12, 64), (64, 192), Layout("NHWC", (4, 12))),
        ((2, 8, 8, 8), (64, 64), Layout("NCHW", (8, 8))),
        ((2, 196, 768), (224, 224), Layout("NLC", (14, 14))),
        ((2, 197, 768), (224, 224), Layout("NLC", (14, 14), prefix=1)),
        ((2, 198, 768), (224, 224), Layout("NLC", (14, 14), prefix=2)),
        ((2, 1374, 384), (518, 518), Layout("NLC", (37, 37), prefix=5)),
        ((2, 4 * 12 + 1, 64), (64, 192), Layout("NLC", (4, 12), prefix=1)),
        ((197, 2, 768), (224, 224), Layout("LNC", (14, 14), prefix=1)),
        ((2, 12, 197, 64), (224, 224), None),
        ((2, 256 + 32, 8), (16, 16), Layout("NLC", (16, 16), prefix=32)),
        ((2, 256 + 33, 8), (16, 16), None),
        ((2, 1000), (224, 224), None),
        ((128, 49, 96), (224, 224), None),
        ((2, 18 * 10, 8), (250, 130), Layout("NLC", (18, 10))),  # a patch begun is one: 250 / 14, 130 / 14
    ],
)
def test_layouts_are_told_from_the_shape(shape, size, expected) -> None:
    """Channels first or last, tokens with any prefix, on a grid of the image's aspect ratio."""
    assert read_layout(shape, 2, size) == expected


@pytest.mark.parametrize(("size", "grid"), [((112, 56), (8, 4)), ((126, 70), (9, 5)), ((224, 224), (16, 16))])
def test_tokens_are_of_the_patches_grid_whatever_stands_in_front_of_them(size, grid) -> None:
    """A class token and four registers are more than a row of a narrow image: 37 tokens are no 9x4 and one more."""
    vit = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=size, num_classes=3, depth=2, embed_dim=12)
    assert found(vit, torch.randn(2, 3, *size)) == TargetLayer("blocks.1.norm1", Layout("NLC", grid, prefix=5))
    named = named_layer(vit, torch.randn(2, 3, *size), "blocks.0")
    assert named == TargetLayer("blocks.0", Layout("NLC", grid, prefix=5))


def test_the_last_call_of_a_layer_counts() -> None:
    """One that stands behind pooling, and then behind a convolution, gives a map."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool, self.same = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(8), nn.Identity()
            self.last, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.same(self.last(self.same(self.pool(self.conv(images))))).mean((2, 3)))

    assert found(Twice(), torch.rand(2, 3, 16, 16)).name == "same"


def test_tokens_become_a_map_in_reading_order() -> None:
    """Row by row, behind the prefix."""
    tokens = torch.arange(2 * 7 * 3.0).reshape(2, 7, 3)
    grid = Layout("NLC", (2, 3), prefix=1)(tokens)
    assert grid.shape == (2, 3, 2, 3)
    assert torch.equal(grid[1, :, 1, 2], tokens[1, 6])
    assert torch.equal(Layout("LNC", (2, 3), prefix=1)(tokens.transpose(0, 1)), grid)
    assert torch.equal(Layout("NHWC", (2, 3))(tokens[:, 1:].reshape(2, 2, 3, 3)), grid)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet50", "layer4"),
        ("vgg16", "features.29"),
        ("densenet121", "features"),
        ("convnext_tiny", "features"),
        ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1"),
        ("swin_t", "permute"),
        ("squeezenet1_0", "classifier.2"),
        ("maxvit_t", "blocks.3"),
    ],
)
def test_the_layer_found(name, layer) -> None:
    """Before pooling; for tokens what the last attention reads. A head of zeros does not matter."""
    assert found(torchvision.models.get_model(name), torch.randn(2, 3, 224, 224)).name == layer


@pytest.mark.parametrize(
    ("make", "layer", "method"),
    [
        (lambda: torchvision.models.get_model("resnet18"), "layer4", "gradcam"),
        (
            lambda: torchvision.models.get_model("vit_b_32"),
            "encoder.layers.encoder_layer_0.ln_1",
            "gradcam_elementwise",
        ),
        (lambda: torchvision.models.get_model("swin_t"), "features.1.0.norm1", "gradcam_elementwise"),
        (lambda: torchvision.models.get_model("swin_v2_t"), "features.0", "gradcam_elementwise"),
        (lambda: torchvision.models.get_model("maxvit_t"), "blocks.0.layers.0.layers.MBconv", "gradcam_elementwise"),
        (lambda: timm.create_model("coatnet_0_224"), "stages.2.blocks.0.norm1.norm", "gradcam_elementwise"),
        (lambda: timm.create_model("mixer_s32_224"), "blocks.0.norm1", "gradcam_elementwise"),
        (lambda: timm.create_model("levit_128s"), "stages.0.downsample", "gradcam_elementwise"),  # behind the stem
        (lambda: timm.create_model("resnet50_clip"), "final_conv", "gradcam_elementwise"),  # attention pools behind it
        (lambda: timm.create_model("poolformer_s12"), "stages", "gradcam_elementwise"),
        (lambda: torchvision.models.get_model("convnext_tiny"), "features", "gradcam_elementwise"),
        (lambda: timm.create_model("efficientnet_b0"), "bn2", "gradcam_elementwise"),
        (lambda: torchvision.models.get_model("densenet121"), "features", "gradcam_elementwise"),  # its ReLU is inline
        (lambda: OneSoftmax(), "attention.norm", "gradcam_elementwise"),
    ],
)
def test_unconfigured_the_layer_lies_in_front_of_all_attention(make, layer, method) -> None:
    """In windows or over all, computed in whatever way; where there is none it is the last map, or the first norm.

    Grad-CAM where nothing in that map is below 0.
    """
    model = make().eval()
    side = model.default_cfg["input_size"][-1] if hasattr(model, "default_cfg") else 224
    found = explain(model, torch.randn(1, 3, side, side))
    assert (found.layer, found.method) == (layer, method)


class OneSoftmax(nn.Module):
    """Attention whose softmax is a module of its own, of which the norm is a neighbour."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, 16)
        self.attention = nn.ModuleDict({"norm": nn.LayerNorm(8), "softmax": nn.Softmax(-1)})
        self.mixed = nn.ModuleDict({"query": nn.Linear(8, 8), "norm": nn.LayerNorm(8)})
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.attention["norm"](self.patches(images).flatten(2).mT)
        shares = self.attention["softmax"](tokens @ tokens.mT)  # (N, L, L)
        return self.head(self.mixed["norm"](self.mixed["query"](shares @ tokens)).mean(1))


def test_a_mean_over_tokens_needs_no_attention_behind_the_layer() -> None:
    """Every token reaches the scores from the last norm."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, 4)
            self.blocks = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
            self.norm = nn.LayerNorm(8)
            self.head = nn.Linear(8, 3)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.blocks(self.patches(images).flatten(2).transpose(1, 2))
            return self.head(self.norm(tokens).mean(1))

    assert found(Mean(), torch.randn(2, 3, 16, 16)).name == "norm"


def test_a_sequence_first_transformer_is_read() -> None:
    """(L, N, C), with a class token in front."""

    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, 4)
            self.token = nn.Parameter(torch.zeros(1, 1, 8))
            self.block = nn.TransformerEncoderLayer(8, 2, 16, norm_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).permute(2, 0, 1)
            tokens = torch.cat([self.token.expand(-1, len(images), -1), tokens])
            return self.head(self.block(tokens)[0])

    layer = found(SequenceFirst(), torch.randn(2, 3, 16, 16))
    assert (layer.name, layer.layout) == ("block.norm1", Layout("LNC", (4, 4), prefix=1))


def test_dense_scores_are_no_features() -> None:
    """The layer found is the one in front of the classifier's 1x1 convolution."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Upsample(scale_factor=2))
    assert found(model, torch.randn(2, 3, 8, 8)).name == "1"


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_torchvisions_segmentation_models(name) -> None:
    """Their dict of outputs needs no `output`."""
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    layer = found(model, torch.randn(2, 3, 64, 64))
    assert layer.name.startswith("classifier.")


def test_names_are_free_of_wrappers() -> None:
    """torch.compile puts `_orig_mod` in front; both forms are understood."""
    model = nn.ModuleDict({"net": torch.compile(small_cnn())})
    assert "net.5" in named_layers(model)
    for name in ("net.5", "net._orig_mod.5"):
        assert choose_layers(model, name) == ["net.5"]
    assert choose_layers(model, model["net"]._orig_mod[5]) == ["net.5"]


class Restless(nn.Conv2d):
    """Its hash changes with each call, as that of a metric does."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(images)

    def __hash__(self) -> int:
        return hash((id(self), self.calls))


@pytest.mark.parametrize("method", [None, "gradcam", "layercam", "scorecam", "eigengradcam"])
def test_layers_are_told_apart_by_name_not_by_their_hash(method) -> None:
    """Whether they are the target or stand beside it."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 12 * 12, 3))
    restless = copy.deepcopy(plain)
    for layer in list(restless)[:2]:
        layer.__class__ = Restless
    images = torch.rand(2, 3, 16, 16)
    for target in (None, "0", ["0", "1"]):
        expected = explain(plain, images, target_layer=target, method=method, mean=0, std=1)
        made = explain(restless, images, target_layer=target, method=method, mean=0, std=1)
        assert torch.equal(made.heatmaps, expected.heatmaps)


def test_no_hook_outlives_a_capture() -> None:
    """Also not one that an exception ends."""
    model = small_cnn()
    layers = named_layers(model)
    with capture({name: layers[name] for name in "05"}, Capture()) as captured:
        model(torch.rand(2, 3, 8, 8))
    with pytest.raises(KeyboardInterrupt), capture(layers, Capture()):
        raise KeyboardInterrupt
    assert [*captured.outputs] == ["0", "5"]
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(("stride", "grid"), [((1, 4), (16, 16)), ((16, 32), (1, 2)), ((8, 64), (2, 1))])
def test_an_odd_aspect_ratio_is_a_map_when_named(stride, grid) -> None:
    """Strides that differ by side do not keep the image's; two positions are a map."""
    model = nn.Sequential(
        nn.Conv2d(1, 5, 3, stride=stride, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
    )
    with Lender(model).twin(None) as (lent, _):
        plan = make_plan(lent, Inputs(torch.randn(2, 1, 16, 64)), None, Settings("0", "predicted"))
    assert plan.groups[0][0].layout == Layout("NCHW", grid)


def test_attention_between_tokens_is_no_map() -> None:
    """Though it has the shape of one, and is the last that does."""

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8)
            self.attention, self.head = nn.Softmax(-1), nn.Linear(8, 3)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.norm(self.patches(images).flatten(2).mT)
            heads = tokens.unflatten(2, (2, 4)).transpose(1, 2)
            seen = self.attention(heads @ heads.mT) @ heads
            return self.head(seen.mean(2).flatten(1))

    assert found(Attending(), torch.rand(2, 3, 16, 16)) == TargetLayer("norm", Layout("NLC", (4, 4)))


def test_reshape_transform_reads_what_shapes_do_not_tell() -> None:
    """And one that makes no map is refused with what it made."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.flat, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.flat(self.conv(images)))

    model, images = Flat(), torch.randn(2, 3, 8, 8)
    with Lender(model).twin(None) as (lent, _):
        plan = make_plan(lent, Inputs(images), None, Settings("flat", "predicted", reshape_transform=as_map))
        assert plan.groups[0][0].layout is None
        with pytest.raises(ValueError, match=r"target_layer='flat' reshape_transform made \(2, 256\)"):
            make_plan(lent, Inputs(images), None, Settings("flat", "predicted", reshape_transform=nn.Identity()))


def as_map(output: Tensor) -> Tensor:
    return output.unflatten(1, (4, 8, 8))


def test_a_model_without_maps_is_refused() -> None:
    """With how many layers there are to name."""
    with pytest.raises(ValueError, match="target_layer=None found no layer"):
        found(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("length", "grid"), [(256, (16, 16)), (257, (16, 16)), (261, (16, 16)), (272, (16, 16)), (3069, None)]
)
def test_rows_of_anchors_are_no_tokens(length, grid) -> None:
    """RetinaNet's head gives a row an anchor of all levels: no grid with so many tokens in front of it."""
    layout = read_layout((2, length, 4), 2, (128, 128))
    assert (layout and layout.grid) == grid


@pytest.mark.parametrize("size", [(28, 28), (28, 40), (28, 56), (96, 128), (80, 240)])
def test_convolutions_without_padding_give_maps_at_any_aspect_ratio(size) -> None:
    """They lose places along both sides alike: 28x40 becomes 8x14."""
    lenet = nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 5), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )
    assert found(lenet, torch.rand(2, 3, *size)).name == "4"


class ChannelsLast(nn.Module):
    """Its map has as many channels as its sides have places, at one size of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 4, stride=4), nn.LayerNorm(16)
        self.mix, self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU()), nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.mix(self.norm(self.stem(images).permute(0, 2, 3, 1))).mean((1, 2)))


@pytest.mark.parametrize("size", [(64, 64), (32, 64), (64, 128), (48, 48)])
def test_an_output_that_may_have_its_channels_first_or_last_is_read_as_the_layers_before_it(size) -> None:
    """(N, 16, 16, 16) behind a LayerNorm has them last, behind a convolution first."""
    grid = (size[0] // 4, size[1] // 4)
    assert found(ChannelsLast(), torch.rand(2, 3, *size)) == TargetLayer("mix", Layout("NHWC", grid))
    for name, axes in (("stem", "NCHW"), ("norm", "NHWC"), ("mix.1", "NHWC")):
        assert named_layer(ChannelsLast(), torch.rand(2, 3, *size), name).layout == Layout(axes, grid)


@pytest.mark.parametrize("axis", [-1, -2])
def test_attention_of_one_head_is_no_row_of_tokens(axis) -> None:
    """(N, L, L), whose rows or columns sum to 1."""

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.weigh, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.Softmax(axis), nn.Linear(8, 3)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).mT
            return self.head((self.weigh(tokens @ tokens.mT) @ tokens).mean(1))

    assert found(Attending(), torch.rand(2, 3, 16, 16)).name == "patches"


def test_registers_in_front_of_patches_that_no_convolution_made_are_told_too() -> None:
    """By the patches' own number, before the registers join them: 4x6 and 5, not 4x7 and 1."""

    class Registers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.block, self.head = nn.Linear(3 * 14 * 14, 8), nn.Linear(8, 8), nn.Linear(8, 3)
            self.registers = nn.Parameter(torch.zeros(1, 5, 8))

        def forward(self, images: Tensor) -> Tensor:
            patches = self.embed(nn.functional.unfold(images, 14, stride=14).mT)
            return self.head(self.block(torch.cat([self.registers.expand(len(patches), -1, -1), patches], 1)).mean(1))

    assert found(Registers(), torch.rand(2, 3, 56, 84)) == TargetLayer("block", Layout("NLC", (4, 6), prefix=5))


class Inner(nn.Module):
    """Returns a map, and what it made of that map by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.first(images)
        return found, self.last(found).mean((2, 3))


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = Inner(), nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images)[1])


def test_what_a_layer_made_of_its_own_output_is_not_behind_it() -> None:
    """The layer found is one whose output, once returned, reaches the scores; another is refused by name."""
    images = torch.rand(2, 3, 8, 8)
    assert explain(Outer(), images).layer == "body.last"
    for method in ("gradcam", "eigencam"):
        with pytest.raises(ValueError, match="target_layer='body': the scores do not depend on what it returns"):
            explain(Outer(), images, "body", method=method)


class Inline(nn.Module):
    """Attention computed in a forward that calls all layers, those of queries, keys and values among them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.stem = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 4, 4)
        self.query, self.key, self.value = (nn.Conv2d(8, 8, 1) for _ in range(3))
        self.qkv, self.last, self.norm, self.head = (
            nn.Linear(8, 24),
            nn.Conv2d(8, 8, 1),
            nn.LayerNorm(8),
            nn.Linear(8, 3),
        )
        self.kind = kind

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(self.first(images).relu())
        tokens = maps.flatten(2).mT
        if self.kind == "qkv":
            query, key, value = self.qkv(tokens)[:, None].chunk(3, -1)
            return self.head(
                self.norm(tokens + nn.functional.scaled_dot_product_attention(query, key, value)[:, 0]).mean(1)
            )
        query, key, value = (layer(maps) for layer in (self.query, self.key, self.value))
        if self.kind == "pooled keys":
            key, value = (nn.functional.max_pool2d(one, 2) for one in (key, value))
        query, key, value = query.flatten(2), key.flatten(2), value.flatten(2)
        if self.kind == "linear":
            mixed = (value @ key.relu().mT) @ query.relu()
        elif self.kind == "over queries":
            mixed = value @ torch.special.softmax(key.mT @ query, 1)
        else:
            mixed = value @ (query.mT @ key).softmax(-1).mT
        return self.head(self.last(maps + mixed.reshape(maps.shape)).mean((2, 3)))


@pytest.mark.parametrize("kind", ["qkv", "non-local", "pooled keys", "linear", "over queries"])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_attention_of_any_kind_is_looked_at_in_front_of_it(kind, is_wrapped) -> None:
    """With a softmax over whatever axis or none; not at its projections, nor at the first layer of all."""
    model = nn.Sequential(Inline(kind)) if is_wrapped else Inline(kind)
    found = explain(model.eval(), torch.rand(2, 3, 64, 64))
    assert (found.layer.removeprefix("0."), found.method) == ("stem", "gradcam_elementwise")


def test_a_gate_is_no_attention() -> None:
    """A softmax that features are multiplied by, place by place."""

    class Gate(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps * maps.softmax(-1)

    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), Gate(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    found = explain(model.eval(), torch.rand(2, 3, 16, 16))
    assert (found.layer, found.method) == ("2", "gradcam_elementwise")  # the last map, which has both signs


def test_tokens_in_another_order_and_latents_are_passed_over() -> None:
    """What lies in front of attention has to follow the image, place by place."""
    hiera = timm.create_model("hiera_tiny_224", num_classes=3).eval()
    found = explain(hiera, torch.randn(1, 3, 224, 224))
    assert (found.layer, found.method) == ("patch_embed", "gradcam_elementwise")

    class Perceiver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.patch, self.norm, self.head = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16), nn.Linear(16, 3)
            self.latents = nn.Parameter(torch.randn(64, 16))
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patch(images).flatten(2).mT
            latents = self.norm(self.latents.expand(len(images), -1, -1))
            return self.head(self.attention(latents, tokens, tokens)[0].mean(1))

    found = explain(Perceiver().eval(), torch.rand(2, 3, 32, 32))
    assert (found.layer, found.method) == ("patch", "gradcam_elementwise")


@pytest.mark.parametrize("count", [1, 4])
def test_a_partition_into_windows_is_no_map(count) -> None:
    """Whatever its sides are: windows, places and channels as many as the image has places."""
    side = 32 * count
    shape = {"block_channels": [16, 32], "block_layers": [1, 1], "head_dim": 8, "stochastic_depth_prob": 0.0}
    model = torchvision.models.MaxVit((side, side), 16, 4, num_classes=5, **shape).eval()
    assert explain(model, torch.rand(2, 3, side, side)).layer == "blocks.0.layers.0.layers.MBconv"


def test_flattened_maps_are_no_tokens() -> None:
    """(N, C, L), whose channels may be as many as its places."""
    features = nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(2))

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.more, self.head = features, nn.Conv1d(64, 64, 1), nn.Linear(64, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.more(self.features(images)).mean(2))

    for side in (32, 28):
        found = explain(Flat().eval(), torch.rand(2, 3, side, side))
        assert (found.layer, found.method) == ("features.3", "gradcam")


def test_layers_of_sparse_tensors_and_own_tuples_are_no_fault() -> None:
    """They give no map, and others do."""

    class Pair(tuple):
        def __new__(cls, first: object, second: object) -> "Pair":
            return tuple.__new__(cls, (first, second))

    class Two(nn.Module):
        def forward(self, maps: Tensor) -> Pair:
            return Pair(maps * 2, None)

    class Graph(nn.Module):
        def forward(self, sparse: Tensor, rows: Tensor) -> Tensor:
            return torch.sparse.mm(sparse, rows)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.two, self.graph, self.head = nn.Conv2d(3, 4, 3), Two(), Graph(), nn.Linear(4, 3)
            self.register_buffer("sparse", torch.eye(4).to_sparse())

        def forward(self, images: Tensor) -> Tensor:
            pooled = self.two(self.conv(images))[0].mean((2, 3))
            return self.head(self.graph(self.sparse, pooled.T).T)

    assert explain(Model().eval(), torch.rand(2, 3, 12, 12)).layer == "two"


def test_a_name_that_ends_as_a_wrappers_is_its_own() -> None:
    """Only whole parts of a name are left out."""
    assert list(named_layers(nn.ModuleDict({"my_orig_mod": nn.Identity()}))) == ["my_orig_mod"]
