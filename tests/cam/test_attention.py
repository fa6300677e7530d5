"""Relevance of attention: a plain implementation, Chefer's published rule, attention known by construction, models."""

import math

import pytest
import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn

from lightning_gradcam import explain
from lightning_gradcam.cam.attention import Attentions
from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.compute import compute_cams
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.errors import SettingError

SIDE, PATCH, DIM, HEADS = 24, 6, 16, 4
PLACES = (SIDE // PATCH) ** 2


class Block(nn.Module):
    """One block, attention in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.norm, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(DIM, 2 * DIM), nn.GELU(), nn.Linear(2 * DIM, DIM))
        self.shares: Tensor | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attend(self.norm(tokens))
        return tokens + self.mlp(self.norm2(tokens))

    def attend(self, given: Tensor) -> Tensor:
        if self.how == "MultiheadAttention":
            return self.attention(given, given, given, need_weights=False)[0]
        if self.how == "with weights":
            return self.attention(given, given, given)[0]
        if self.how == "masked":
            mask = torch.zeros(given.shape[1], given.shape[1], dtype=torch.bool)
            return self.attention(given, given, given, attn_mask=mask, need_weights=False)[0]
        own = self.attention
        parts = nn.functional.linear(given, own.in_proj_weight, own.in_proj_bias).chunk(3, dim=-1)
        query, key, value = (one.unflatten(-1, (HEADS, -1)).transpose(1, 2) for one in parts)
        if self.how == "fused":
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(-1, -2) / math.sqrt(DIM // HEADS)
            self.shares = scores.softmax(-1) if self.how == "method" else nn.functional.softmax(scores, dim=-1)
            mixed = self.shares @ value
        return own.out_proj(mixed.transpose(1, 2).flatten(2))


class ViT(nn.Module):
    """A Vision Transformer in plain PyTorch, that reads its scores from a token, from the mean, or from two tokens."""

    def __init__(self, how: str = "plain", read: str = "class", blocks: int = 2) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.prefix = nn.Parameter(torch.randn(1, {"class": 1, "mean": 0, "two": 2, "mean of patches": 1}[read], DIM))
        self.position = nn.Parameter(torch.randn(1, PLACES, DIM))
        self.blocks = nn.Sequential(*(Block(how) for _ in range(blocks)))
        self.norm, self.head, self.read = nn.LayerNorm(DIM), nn.Linear(DIM, 5), read

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2) + self.position
        tokens = torch.cat([self.prefix.expand(len(images), -1, -1), patches], dim=1)
        tokens = self.norm(self.blocks(tokens))
        if self.read == "class":
            return self.head(tokens[:, 0])
        if self.read == "two":
            return (self.head(tokens[:, 0]) + self.head(tokens[:, 1])) / 2
        return self.head(tokens[:, self.prefix.shape[1] :].mean(1))


def images(count: int = 3, side: int = SIDE) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def plainly(model: ViT, given: Tensor, target: int) -> Tensor:
    """Chefer's rule for ViTs, image by image, by autograd on attention that is written out: (N, h, w)."""
    maps = []
    for image in given:
        for block in model.blocks:
            block.how = "plain"
        score = model(image[None])[0, target]
        shares = [block.shares for block in model.blocks]
        gradients = torch.autograd.grad(score, shares)
        length = shares[0].shape[-1]
        relevance = torch.eye(length)
        for share, gradient in zip(shares, gradients, strict=True):
            cam = (share * gradient)[0].clamp(min=0).mean(0).detach()
            relevance = relevance + cam @ relevance
        relevance = relevance - torch.eye(length)
        first = length - PLACES
        rows = {"class": [0], "two": [0, 1]}.get(model.read, list(range(first, length)))
        maps.append(relevance[rows, first:].mean(0).reshape(SIDE // PATCH, SIDE // PATCH))
    return torch.stack(maps)


def relevance_of(model: nn.Module, given: Tensor, target: int | str = 2) -> Cams:
    with Lender(model).twin(Settings(target=target, method="relevance")) as (lent, own):
        plan = make_plan(lent, Inputs(given), None, own)
        found = compute_cams(lent, Inputs(given), plan.known(None), plan)[0]
    assert isinstance(found, Cams)
    return found


@pytest.mark.parametrize("how", ["MultiheadAttention", "with weights", "masked", "fused", "function", "method"])
@pytest.mark.parametrize("read", ["class", "mean", "mean of patches", "two"])
def test_equals_the_rule_on_attention_that_is_written_out(how: str, read: str) -> None:
    """Whoever computes attention, and whatever tokens are read."""
    torch.manual_seed(0)
    model, given = ViT(how, read).eval(), images(11)  # of more images than are gone through at once
    found = relevance_of(model, given)
    raw = found.maps[:, 0] * found.peaks[:, :, None]
    with torch.no_grad():
        assert torch.allclose(found.scores, model(given).softmax(1).amax(1, keepdim=True), atol=1e-5)
    expected = plainly(model, given, 2)
    assert expected.amax() > 1e-4
    assert torch.allclose(raw, expected, atol=1e-6)
    assert found.layer == "attention"


def test_attention_known_by_construction_is_the_map() -> None:
    """A class token that looks at one patch, by as much as the score needs it."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Identity()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, given: Tensor) -> Tensor:
            values = nn.functional.avg_pool2d(given.mean(1, keepdim=True), PATCH).flatten(2).transpose(1, 2)
            tokens = self.tokens(torch.cat([values.new_zeros(len(given), 1, 1), values], dim=1)) * self.weight
            scores = torch.full((len(given), 1, PLACES + 1, PLACES + 1), -torch.inf)
            scores[:, 0, 0, [6, 11]] = torch.tensor([0.75, 0.25]).log()
            scores[:, 0, 1:, 0] = 0.0
            mixed = scores.softmax(-1) @ tokens[:, None]
            return torch.cat([mixed[:, 0, 0], -mixed[:, 0, 0]], dim=1)

    given = torch.ones(2, 3, SIDE, SIDE)
    given[:, :, : 2 * PATCH] = 2.0  # patch 5, of value 2, counts 0.75; patch 10, of value 1, counts 0.25
    found = relevance_of(Looks(), given, target=0)
    expected = torch.zeros(2, PLACES)
    expected[:, 5], expected[:, 10] = 0.75 * 2, 0.25
    raw = (found.maps[:, 0] * found.peaks[:, :, None]).flatten(1)
    assert torch.allclose(raw, expected, atol=1e-6)
    assert relevance_of(Looks(), given, target=1).maps.eq(0).all()  # all of it speaks against the other


TIMM = [
    *("vit_tiny_patch16_224", "vit_relpos_small_patch16_224", "vit_base_patch16_clip_224"),
    *("vit_base_patch16_siglip_224", "vit_base_patch32_224"),
    *("vit_srelpos_small_patch16_224", "vit_wee_patch16_reg1_gap_256", "deit_tiny_patch16_224"),
    *("deit_tiny_distilled_patch16_224", "deit3_small_patch16_224", "flexivit_small"),
    *("beit_base_patch16_224", "beitv2_base_patch16_224", "eva02_tiny_patch14_224"),
    *("vit_medium_patch16_gap_240", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3"),
    *("vit_betwixt_patch16_reg4_gap_256",),
]


@pytest.mark.grid
@pytest.mark.parametrize("name", TIMM)
def test_runs_unconfigured_on_timms_transformers(name: str) -> None:
    """A map of the grid of patches, and the forward's own scores."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7, **{"dynamic_img_size": True} if "dinov" in name else {}).eval()
    side = 224 if "dinov" in name else model.default_cfg["input_size"][-1]
    given = torch.randn(2, 3, side, side)
    found = explain(model, given, method="relevance")
    assert found.raw is not None
    patch = side // found.raw.shape[-1]
    assert side // patch == found.raw.shape[-1]
    assert found.raw.isfinite().all()
    assert (found.peaks > 0).all()
    with torch.no_grad():
        assert torch.allclose(found.scores, model(given).softmax(1).amax(1), atol=1e-5)


@pytest.mark.grid
def test_blocks_beside_each_other_are_refused_and_what_fits_is_taken() -> None:
    """Each pair of attentions reads the same tokens: neither follows the other."""
    torch.manual_seed(0)
    model, given = timm.create_model("vit_small_patch16_18x2_224", num_classes=7).eval(), torch.randn(2, 3, 224, 224)
    with pytest.raises(SettingError, match="in several passes that do not follow one another"):
        explain(model, given, method="relevance")
    found = explain(model, given)
    assert (found.method, found.layer) == ("gradcam_elementwise", "blocks.0.attns.0.norm")
    assert (found.peaks > 0).all()


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["ViT", "DeiT", "Dinov2"])
def test_runs_unconfigured_on_transformers(kind: str, implementation: str) -> None:
    """Fused attention and attention that is written out give the same map."""
    config = getattr(transformers, f"{kind}Config")(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    config.num_labels = 5
    maps = []
    for attention in ("eager", implementation):
        torch.manual_seed(0)
        config._attn_implementation = attention
        model = getattr(transformers, f"{kind}ForImageClassification")(config).eval()
        found = explain(model, images(2, 32), method="relevance")
        assert found.raw is not None
        maps.append(found.raw)
    assert maps[0].shape == (2, 4, 4)
    assert maps[0].amax() > 0
    assert torch.allclose(maps[0], maps[1], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: timm.create_model("resnet18", num_classes=3), "computes no attention"),
        (lambda: timm.create_model("test_mambaout", num_classes=3), "computes no attention"),
        (
            lambda: timm.models.SwinTransformer(
                img_size=32, patch_size=2, window_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2), num_classes=3
            ),
            "attends within windows",
        ),
        (lambda: timm.create_model("pvt_v2_b0", num_classes=3), "attends over several numbers of tokens"),
        (lambda: timm.create_model("xcit_nano_12_p16_224", num_classes=3), "attends over several numbers of tokens"),
    ],
)
def test_other_attention_is_refused_with_what_fits(model, why: str) -> None:
    """Before any map is made."""
    with pytest.raises(SettingError, match=rf"method='relevance' propagates .* {why}.*; method=None chooses one"):
        explain(model(), images(2, 64 if why != "attends within windows" else 32), method="relevance")


class OfTwoViews(nn.Module):
    """One network's passes over an image and its mirror image, or two networks' over the same."""

    def __init__(self, count: int) -> None:
        super().__init__()
        shape = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
        self.networks = nn.ModuleList([timm.models.VisionTransformer(**shape) for _ in range(count)])

    def forward(self, images: Tensor) -> Tensor:
        first, last = self.networks[0], self.networks[-1]
        return first(images) + last(images.flip(3) if first is last else images)


@pytest.mark.parametrize("networks", [1, 2])
def test_passes_that_do_not_follow_one_another_are_refused(networks) -> None:
    """Their attention is no one chain; a block that is passed through again and again is."""
    with pytest.raises(SettingError, match="attends in several passes that do not follow one another"):
        explain(OfTwoViews(networks), images(2, 32), method="relevance")
    again = timm.models.VisionTransformer(32, 8, num_classes=3, embed_dim=16, depth=1, num_heads=2)
    again.blocks = nn.Sequential(again.blocks[0], again.blocks[0])
    assert explain(again, images(2, 32), method="relevance").layer == "attention"


class Placed(nn.Module):
    """A transformer whose scores see one patch alone: attention from all others to it is masked, and it alone is read.

    Args:
        where: of the extra tokens, "in front" or "behind".
        extra: how many.
        patch: the sides of a patch.
    """

    def __init__(self, where: str = "in front", extra: int = 1, patch: tuple[int, int] = (4, 4)) -> None:
        super().__init__()
        self.where = where
        self.patches = nn.Conv2d(3, 16, patch, patch)
        self.extra = nn.Parameter(torch.randn(1, extra, 16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patches(images)
        tokens, extra = maps.flatten(2).mT, self.extra.expand(len(images), -1, -1)
        tokens = torch.cat([extra, tokens] if self.where == "in front" else [tokens, extra], 1)
        at = (extra.shape[1] if self.where == "in front" else 0) + PLACE[0] * maps.shape[3] + PLACE[1]
        given = self.norm(tokens)[:, None]
        mask = torch.zeros(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
        mask[:, at] = True
        mixed = nn.functional.scaled_dot_product_attention(given, given, given, mask)
        return self.head((tokens + mixed[:, 0])[:, 0 if self.where == "in front" else -1])


PLACE = (5, 2)  # row and column


@pytest.mark.parametrize("method", [None, "relevance"])
@pytest.mark.parametrize(
    ("where", "extra", "patch", "size"),
    [
        ("in front", 1, (4, 4), (32, 32)),
        ("behind", 1, (4, 4), (32, 32)),
        ("behind", 8, (4, 4), (32, 32)),
        ("in front", 1, (4, 16), (32, 64)),
        ("in front", 1, (4, 8), (32, 32)),
        ("behind", 1, (8, 4), (64, 16)),
    ],
)
def test_patches_are_found_wherever_they_lie_among_the_tokens(method, where, extra, patch, size) -> None:
    """Whatever the sides of a patch: all heat is at the one place that is read."""
    torch.manual_seed(0)
    model = Placed(where, extra, patch).eval()
    with torch.no_grad():
        model.head.weight.abs_()
    found = explain(model, torch.rand(2, 3, *size), method=method)
    assert found.raw.shape[1:] == (size[0] // patch[0], size[1] // patch[1])
    for heat in found.raw:
        if heat.sum():
            assert heat[PLACE] == heat.sum()
    assert found.raw.sum() > 0


def test_attention_by_which_no_score_is_computed_counts_for_nothing() -> None:
    """A head that is not used behind the last block, or scores that are read in front of it."""
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "num_heads": 2, "num_classes": 3}
    short = timm.models.VisionTransformer(depth=2, **shape).eval()

    class Unread(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.short, self.more = short, timm.models.vision_transformer.Block(16, 2)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.short.forward_features(images)
            self.more(tokens)
            return self.short.forward_head(tokens)

    given = images(2, 32)
    one, other = (explain(model.eval(), given, method="relevance", target=0) for model in (short, Unread()))
    assert torch.equal(one.raw, other.raw)
    assert one.raw.amax() > 0


def test_each_image_is_read_by_the_attention_that_its_class_is_computed_by() -> None:
    """Where the last block is read by one class alone, the other class's map is as if it were not there."""
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "num_heads": 2, "num_classes": 1}
    early = timm.models.VisionTransformer(depth=2, **shape).eval()
    late = nn.Sequential(timm.models.vision_transformer.Block(16, 2), nn.Linear(16, 1))

    class TwoDepths(nn.Module):
        def __init__(self, *read: int) -> None:
            super().__init__()
            self.early, self.late, self.read = early, late, read

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.early.forward_features(images)
            scores = self.early.forward_head(tokens), self.late(tokens)[:, 0]
            return torch.cat([scores[which] for which in self.read], 1)

    given = images(2, 32)
    mixed = explain(TwoDepths(0, 1).eval(), given, method="relevance", target=lambda scores, _: scores.diagonal())
    alone = [explain(TwoDepths(which, which).eval(), given, method="relevance", target=0) for which in (0, 1)]
    for row in (0, 1):
        assert mixed.raw[row].amax() > 0
        assert torch.allclose(mixed.raw[row], alone[row].raw[row], atol=1e-7)


@pytest.mark.parametrize("kind", ["log_softmax", "sigmoid", "linear"])
@pytest.mark.parametrize("is_last", [False, True])
def test_attention_that_is_computed_without_a_softmax_is_refused(kind, is_last) -> None:
    """Beside others that are seen, in front of them or behind."""

    class Other(Block):
        def attend(self, given: Tensor) -> Tensor:
            query, key, value = given[:, None], given[:, None], given[:, None]
            scores = query @ key.mT
            if kind == "linear":
                return (query @ (key.mT @ value))[:, 0]
            shares = scores.log_softmax(-1).exp() if kind == "log_softmax" else scores.sigmoid()
            return (shares @ value)[:, 0]

    model = ViT("function")
    model.blocks.insert(2 if is_last else 1, Other("function"))
    with pytest.raises(SettingError, match="multiplies activations otherwise than by a softmax over keys"):
        explain(model, images(2), method="relevance")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"target_layer": "blocks.0"}, r"target_layer=\['blocks.0'\]|target_layer='blocks.0'"),
        ({"eigen_smooth": True}, "eigen_smooth=True"),
        ({"reshape_transform": lambda one: one}, "reshape_transform="),
    ],
)
def test_what_is_of_a_layer_is_refused(wrong: dict, sentence: str) -> None:
    """Relevance is of none."""
    with pytest.raises(SettingError, match=sentence):
        explain(ViT(), images(), method="relevance", **wrong)


def test_a_head_of_zeros_shows_nothing() -> None:
    """As torchvision's ViT has before training: no evidence, and no fault."""
    model = torchvision.models.VisionTransformer(24, 6, 2, 2, 16, 32, num_classes=3)
    found = explain(model, images(), method="relevance")
    assert found.peaks.eq(0).all()


def test_values_that_are_not_finite_are_told() -> None:
    """A map of them is not finite, and no other image's is touched."""
    given = images()
    given[1, 0, 3, 3] = torch.nan
    found = relevance_of(ViT("fused").eval(), given)
    assert found.states[:, 0].tolist() == [0, 2, 0]


def test_half_precision_gives_the_same_map() -> None:
    """Of a model in bfloat16, to what that keeps; nothing of it is computed in half precision here."""
    torch.manual_seed(0)
    model = ViT("fused").eval()
    full = relevance_of(model, images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = relevance_of(model, images())
    likeness = torch.cosine_similarity(full.maps.flatten(1), half.maps.flatten(1))
    assert likeness.min() > 0.99


def test_several_targets_are_those_alone() -> None:
    """A backward pass each, of one forward."""
    torch.manual_seed(0)
    model = ViT("MultiheadAttention").eval()
    both = relevance_of(model, images(), [1, 3])
    for column, target in enumerate((1, 3)):
        alone = relevance_of(model, images(), target)
        assert torch.allclose(both.maps[:, column], alone.maps[:, 0], atol=1e-6)


def test_a_backbone_under_no_grad_and_frozen_is_seen() -> None:
    """Gradients open at the first attention, wherever it is computed."""

    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = ViT("fused")
            self.vit.requires_grad_(False)

        def forward(self, given: Tensor) -> Tensor:
            with torch.no_grad():
                return self.vit(given)

    torch.manual_seed(0)
    model = Frozen().eval()
    assert torch.allclose(relevance_of(model, images()).maps, relevance_of(model.vit, images()).maps, atol=1e-6)


def test_checkpointed_and_compiled_blocks_give_the_same_map() -> None:
    """Activation checkpointing is off while one looks, and compiled modules run eagerly."""
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(32, 8, embed_dim=16, depth=2, num_heads=2, num_classes=3).eval()
    given = images(2, 32)
    plain = relevance_of(model, given)
    model.set_grad_checkpointing()
    assert torch.allclose(relevance_of(model, given).maps, plain.maps, atol=1e-6)
    assert torch.allclose(relevance_of(torch.compile(model), given).maps, plain.maps, atol=1e-6)


def test_every_attention_is_seen_as_it_was_computed() -> None:
    """With masks, causal, grouped queries and a scale: shares times values are the output."""
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)
    mask = torch.rand(2, 1, 5, 5) > 0.3
    mask |= torch.eye(5, dtype=torch.bool)
    attend = nn.functional.scaled_dot_product_attention
    with Attentions() as attentions:
        outputs = [
            attend(query, key, value),
            attend(query, key, value, mask),
            attend(query, key, value, mask.float().log()),
            attend(query, key, value, is_causal=True),
            attend(query, key, value, scale=0.3),
            attend(query, key[:, :2], value[:, :2], enable_gqa=True),
        ]
    assert len(attentions.seen) == len(outputs)
    for seen, output in zip(attentions.seen, outputs, strict=True):
        of_heads = value[:, :2].repeat_interleave(2, 1) if seen is attentions.seen[-1] else value
        assert torch.allclose(seen.shares(slice(None)) @ of_heads, output, atol=1e-6)
        assert torch.allclose(seen.shares(slice(1, 2)), seen.shares(slice(None))[1:], atol=1e-6)


class Steps(nn.Module):
    """A block of tokens (N, 16, 8) of 16x16 images, and a head on their mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)
        self.rows, self.qkv, self.many = nn.Identity(), nn.Linear(8, 24), nn.MultiheadAttention(8, 2, batch_first=True)

    def tokens(self, given: Tensor) -> Tensor:
        return self.rows(self.patches(given).flatten(2).mT)

    def heads(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return tuple(one.unflatten(-1, (2, 4)).transpose(1, 2) for one in self.qkv(tokens).chunk(3, -1))


def of_steps(forward, given: Tensor, **options) -> Tensor:
    model = Steps().eval()
    model.forward = forward.__get__(model)
    return relevance_of(model, given, **options).maps


ATTEND = nn.functional.scaled_dot_product_attention


def test_what_is_written_over_later_counts_as_it_was() -> None:
    """Tokens that are queries, keys and values themselves, and a scale in place behind a backbone under no_grad."""

    def in_place(model: Steps, given: Tensor) -> Tensor:
        tokens = model.tokens(given)[:, None]
        with torch.no_grad():
            tokens += ATTEND(tokens, tokens, tokens)
            scaled = ATTEND(tokens, tokens, tokens)
            scaled *= 0.5
        return model.head((tokens + scaled)[:, 0].mean(1))

    def anew(model: Steps, given: Tensor) -> Tensor:
        tokens = model.tokens(given)[:, None]
        tokens = tokens + ATTEND(tokens, tokens, tokens)
        return model.head((tokens + 0.5 * ATTEND(tokens, tokens, tokens))[:, 0].mean(1))

    given = torch.rand(2, 3, 16, 16)
    assert torch.allclose(of_steps(in_place, given), of_steps(anew, given), atol=1e-6)


def test_shares_that_the_model_goes_on_with_have_their_gradients() -> None:
    """Those that `MultiheadAttention` returns, as those that are written out."""

    def returned(model: Steps, given: Tensor) -> Tensor:
        tokens = model.tokens(given)
        output, shares = model.many(tokens, tokens, tokens, average_attn_weights=False)
        return model.head((output + shares.square().sum(1) @ tokens).mean(1))

    def written(model: Steps, given: Tensor) -> Tensor:
        tokens = model.tokens(given)
        projected = nn.functional.linear(tokens, model.many.in_proj_weight, model.many.in_proj_bias).chunk(3, -1)
        query, key, value = (one.unflatten(-1, (2, 4)).transpose(1, 2) for one in projected)
        shares = (query @ key.mT / 2).softmax(-1)
        output = model.many.out_proj((shares @ value).transpose(1, 2).flatten(2))
        return model.head((output + shares.square().sum(1) @ tokens).mean(1))

    given = torch.rand(2, 3, 16, 16)
    assert torch.allclose(of_steps(returned, given), of_steps(written, given), atol=1e-6)


def test_a_query_that_may_look_nowhere_has_no_share() -> None:
    """As of padded ones: no map is lost by it."""

    def padded(model: Steps, given: Tensor) -> Tensor:
        query, key, value = model.heads(model.tokens(given))
        mask = torch.ones(16, 16, dtype=torch.bool)
        mask[3] = False
        return model.head(ATTEND(query, key, value, mask).transpose(1, 2).flatten(2).mean(1))

    assert of_steps(padded, torch.rand(2, 3, 16, 16)).amax((2, 3)).eq(1).all()


def test_in_double_precision_it_is_the_same() -> None:
    """To what single precision keeps."""
    torch.manual_seed(0)
    model = ViT("fused").eval()
    single = relevance_of(model, images()).maps
    assert torch.allclose(relevance_of(model.double(), images().double()).maps.float(), single, atol=1e-4)


@pytest.mark.parametrize("kind", ["of one head", "of five axes", "with biases of keys"])
def test_attention_that_the_rule_cannot_read_is_refused_beside_others(kind) -> None:
    """A map of some blocks alone would be of another model."""

    def partial(model: Steps, given: Tensor) -> Tensor:
        tokens = model.tokens(given)
        query, key, value = model.heads(tokens)
        tokens = tokens + ATTEND(query, key, value).transpose(1, 2).flatten(2)
        if kind == "of one head":
            tokens = tokens + (tokens @ tokens.mT).softmax(-1) @ tokens
        elif kind == "of five axes":
            windows = tokens.reshape(len(tokens), 4, 1, 4, 8)
            tokens = tokens + ATTEND(windows, windows, windows).reshape(tokens.shape)
        else:
            biased = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True).eval()
            tokens = tokens + biased(tokens, tokens, tokens)[0]
        return model.head(tokens.mean(1))

    with pytest.raises(SettingError, match="has attention of other axes than"):
        of_steps(partial, torch.rand(2, 3, 16, 16))


@pytest.mark.parametrize("needs_weights", [False, True])
@pytest.mark.parametrize(
    ("made", "given"),
    [
        ({}, {"key_padding_mask": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])}),
        ({}, {"key_padding_mask": torch.tensor([[0.0] * 5, [0.0] * 3 + [-torch.inf] * 2])}),
        ({}, {"attn_mask": torch.ones(4, 5, dtype=torch.bool).triu(2)}),
        ({}, {"attn_mask": torch.randn(4, 4, 5, generator=torch.Generator().manual_seed(3))}),  # of images and heads
        ({}, {"attn_mask": torch.ones(4, 5).triu(2).bool(), "key_padding_mask": torch.eye(2, 5).bool()}),
        ({"kdim": 6, "vdim": 3}, {}),
        ({"bias": False}, {}),
        ({"batch_first": False}, {}),
    ],
)
def test_multi_head_attention_is_computed_as_torch_does(made, given, needs_weights) -> None:
    """Its outputs and its weights, whatever masks, widths and orders of axes; none of them is left out."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, **{"batch_first": True, **made}).eval()
    query, key, value = (
        torch.randn(2, 4, 8),
        torch.randn(2, 5, made.get("kdim", 8)),
        torch.randn(2, 5, made.get("vdim", 8)),
    )
    if not made.get("batch_first", True):
        query, key, value = (one.transpose(0, 1) for one in (query, key, value))
    options = {**given, "need_weights": needs_weights, "average_attn_weights": False}
    expected, weights = attention(query, key, value, **options)
    with Attentions() as attentions:
        output, shares = attention(query, key, value, **options)
    assert torch.allclose(output, expected, atol=1e-6)
    _, known = attention(query, key, value, **{**options, "need_weights": True})
    assert torch.allclose(attentions.seen[0].shares(slice(None)), known, atol=1e-6)
    assert not needs_weights or torch.allclose(shares, weights, atol=1e-6)
