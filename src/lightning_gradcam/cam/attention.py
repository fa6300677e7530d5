"""What a transformer's attention says: recorded as the model computes it, and propagated to the tokens that are read.

The rule is that of Chefer et al. (arXiv 2103.15679, eq. 5 and 6): of each block the heads' mean of the positive part of
attention times its gradient, A, is added up along the ways through the blocks, R <- R + A R, from R = 1 on; the map is
what the tokens that the scores are read from have of each patch.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lightning_gradcam.cam.layers import memory_of
from lightning_gradcam.cam.layouts import Layout
from lightning_gradcam.cam.methods import RELEVANCE, full_precision
from lightning_gradcam.cam.mixing import PRODUCTS, is_of_activations, tensors_in
from lightning_gradcam.errors import SettingError

ATTENTION = "attention"  # what maps of it are called, in the place of a layer's name
AT_ONCE = 8  # images, where all that lies behind the first attention is kept for the backward pass
_SHARES = 2**24  # of attention that are gone through at once, 64 MB


@dataclass(frozen=True)
class _Fused:
    """Attention as `scaled_dot_product_attention` computes it, (N, heads, Q, d) of (N, heads, K, d), shares unseen.

    Attributes:
        point: its output, (N, heads, Q, d), by which scores are differentiated.
    """

    point: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.query.shape[:3], self.key.shape[2])

    def shares(self, rows: slice) -> Tensor:
        weights = full_precision(self.query[rows].detach()) @ full_precision(self.key[rows].detach()).mT * self.scale
        if self.mask is None:
            return weights.softmax(-1)
        mask = self.mask.detach().expand(*self.shape)[rows]
        nowhere = mask.isneginf().all(-1, keepdim=True)  # a query that may look nowhere has a share of nothing
        return (weights + mask).softmax(-1).masked_fill(nowhere, 0)

    def slopes(self, gradient: Tensor, rows: slice) -> Tensor:
        return full_precision(gradient[rows]) @ full_precision(self.value[rows].detach()).mT


@dataclass(frozen=True)
class _Written:
    """Attention whose softmax the model writes out: the shares themselves, (N, heads, Q, K)."""

    point: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.point.shape)

    def shares(self, rows: slice) -> Tensor:
        return full_precision(self.point[rows].detach())

    def slopes(self, gradient: Tensor, rows: slice) -> Tensor:
        return full_precision(gradient[rows])


class Attentions(TorchFunctionMode):
    """Records every attention of the forward passes inside, whoever computes it.

    Nothing of the model's is changed: its own scaled_dot_product_attention, or softmax over the last of four axes, is
    computed as it stands. Only torch's `MultiheadAttention`, which shows neither, is computed here, by the same
    operations. Gradients open at the first: nothing in front of it is kept.

    Attributes:
        seen: those of (N, heads, queries, keys), in their order.
        is_partial: whether there were others, of other axes.
        is_unseen: whether there were others, computed in another way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[_Fused | _Written] = []
        self.is_partial = self.is_unseen = False
        self._products = 0  # of activations with activations: two an attention that is written out
        self._others: list[Tensor] = []  # of a softmax over other axes: shares, if values are multiplied by them
        self._was_off = not torch.is_grad_enabled()
        self._answers: dict[Any, Callable[..., Any]] = {
            F.scaled_dot_product_attention: self._fused,
            F.multi_head_attention_forward: self._multi_head,
            F.softmax: self._softmax(F.softmax),
            torch.softmax: self._softmax(torch.softmax),
            torch.special.softmax: self._softmax(torch.special.softmax),
            Tensor.softmax: self._softmax(Tensor.softmax),
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answer what is attention; all else is torch's."""
        if func in PRODUCTS and self._others and any(map(self._is_of_others, tensors_in(args))):
            self.is_partial = True
        self._products += is_of_activations(func, args, kwargs)
        return self._answers.get(func, func)(*args, **(kwargs or {}))

    def _is_of_others(self, tensor: Tensor) -> bool:
        return memory_of(tensor) in map(memory_of, self._others)

    def _begun(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What to differentiate by, and what the model goes on with."""
        self._was_off = self._was_off or not torch.is_grad_enabled()
        torch.set_grad_enabled(True)  # also within a forward that runs its backbone under no_grad
        if output.requires_grad:
            return output, output.clone() if self._was_off else output  # there it may be changed in place
        point = (output.clone() if output.is_inference() else output.detach()).requires_grad_()
        return point, point.clone()

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        self._check_products(0)
        output = F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
        if query.dim() != 4:
            self.is_partial = True
            return output
        point, handed_on = self._begun(output)
        query, key, value = (one if one.requires_grad else one.clone() for one in (query, key, value))  # likewise
        if enable_gqa:
            key, value = (one.repeat_interleave(query.shape[1] // one.shape[1], 1) for one in (key, value))
        mask = _additive(attn_mask)
        if is_causal:
            ones = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)
            mask = _additive(ones.tril())
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        self.seen.append(_Fused(point, query, key, value, mask, scale))
        return handed_on

    def _softmax(self, own: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def softmax(input: Tensor, dim: int | None = None, *others: Any, **named: Any) -> Tensor:
            output = own(input, dim, *others, **named)
            if output.dim() != 4 or dim not in (-1, 3):
                self._others += [output] if output.dim() > 2 else []
                return output
            self._check_products(1)  # its queries with its keys
            point, handed_on = self._begun(output)
            self.seen.append(_Written(point))
            return handed_on

        return softmax

    def _check_products(self, own: int) -> None:
        """Notice attention that is not seen: more products than those of the ones that are, and so many of its own."""
        self.is_unseen = self.is_unseen or self._more > own

    @property
    def _more(self) -> int:
        """How many products there were besides the two of each attention that is written out."""
        return self._products - 2 * sum(isinstance(one, _Written) for one in self.seen)

    @property
    def has_more(self) -> bool:
        """Whether attention that is not seen is behind the last one that is; one product more is of scores."""
        return self._more > 1

    def _multi_head(self, query: Tensor, key: Tensor, value: Tensor, *others: Any, **named: Any) -> Any:
        given = _MULTI_HEAD.bind(query, key, value, *others, **named)
        given.apply_defaults()
        told = given.arguments
        extras = ("bias_k", "bias_v", "add_zero_attn", "static_k", "static_v")
        if query.dim() != 3 or any(told[name] is not None and told[name] is not False for name in extras):
            self.is_partial = True
            return F.multi_head_attention_forward(query, key, value, *others, **named)
        heads = told["num_heads"]
        weights = (
            [told[f"{name}_proj_weight"] for name in "qkv"]
            if told["use_separate_proj_weight"]
            else told["in_proj_weight"].chunk(3)
        )
        biases = [None] * 3 if told["in_proj_bias"] is None else told["in_proj_bias"].chunk(3)
        parts = [F.linear(*one) for one in zip((query, key, value), weights, biases, strict=True)]
        length, count, width = query.shape
        split = [one.reshape(len(one), count, heads, -1).permute(1, 2, 0, 3) for one in parts]  # (N, heads, L, d)
        mask = _masks(told["attn_mask"], told["key_padding_mask"], count, heads)
        dropped = told["dropout_p"] if told["training"] else 0.0
        of_heads = (split[0], split[1], split[2], mask, dropped)
        output, shares = self._attended(*of_heads) if told["need_weights"] else (self._fused(*of_heads), None)
        joined = output.permute(2, 0, 1, 3).reshape(length, count, width)
        scores = F.linear(joined, told["out_proj_weight"], told["out_proj_bias"])
        return scores, shares.mean(1) if shares is not None and told["average_attn_weights"] else shares

    def _attended(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropped: float
    ) -> tuple[Tensor, Tensor]:
        """What attention gives, and its shares, which whoever asked for them may go on with."""
        weights = query * query.shape[-1] ** -0.5 @ key.mT
        shares = self._softmax(F.softmax)(weights if mask is None else weights + mask, -1)
        shares = F.dropout(shares, dropped) if dropped else shares
        return shares @ value, shares


_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


def _additive(mask: Tensor | None) -> Tensor | None:
    """A mask as what is added before the softmax; of bools, True takes part."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=torch.float32, device=mask.device).masked_fill_(~mask, -torch.inf)


def _masks(attention: Tensor | None, padding: Tensor | None, count: int, heads: int) -> Tensor | None:
    """Join the masks of `MultiheadAttention`, where True is left out."""
    if attention is not None and attention.dim() == 3:
        attention = attention.reshape(count, heads, *attention.shape[1:])
    given = [one for one in (attention, None if padding is None else padding[:, None, None]) if one is not None]
    masks = [_additive(~one if one.dtype == torch.bool else one) for one in given]
    return None if not masks else masks[0] if len(masks) == 1 else masks[0] + masks[1]  # type: ignore[operator]


def relevance(seen: Sequence[_Fused | _Written], gradients: Sequence[Tensor], tokens: Layout) -> Tensor:
    """Return the map of one target, (N, h, w) >= 0, NaN where not all that it is made of is finite.

    Args:
        seen: the attentions of a forward pass over N images, in their order; over the same tokens each, the last also
            of other queries, which pool them.
        gradients: of the target at each one's `point`.
        tokens: how the image's patches lie in the tokens.
    """
    count, heads, length = seen[0].shape[:3]
    size = max(1, _SHARES // (heads * length**2))
    slices = [slice(start, start + size) for start in range(0, count, size)]
    return torch.cat([_relevance(seen, gradients, tokens, rows) for rows in slices])


def _relevance(seen: Sequence[_Fused | _Written], gradients: Sequence[Tensor], tokens: Layout, rows: slice) -> Tensor:
    length, point = seen[0].shape[-1], seen[0].point
    ways = full_precision(torch.eye(length, dtype=point.dtype, device=point.device))
    through = torch.zeros_like(ways)  # what goes through attention: what a token has of itself says nothing
    found = torch.zeros_like(ways[:1])
    for attention, gradient in zip(seen, gradients, strict=True):
        step = (attention.shares(rows) * attention.slopes(gradient, rows)).relu().mean(1)
        reached = step @ (ways + through)
        if step.shape[1] == length:
            reached = through = through + reached
        is_read = gradient[rows].ne(0).any(3).any(1).to(ways.dtype)  # which of its queries the score is computed by
        mean = (is_read[:, None] @ reached)[:, 0] / is_read.sum(1, keepdim=True).clamp(min=1)
        found = torch.where(is_read.any(1, keepdim=True), mean, found)  # of the last that is read: a head may be unused
    is_finite = found.isfinite().all(1)
    return torch.where(is_finite[:, None, None], tokens(found[..., None])[:, 0].relu(), torch.nan)


def tokens_in(attentions: Attentions, scores: Tensor, images: int, layouts: Iterable[Layout]) -> Layout:
    """Return how the image's patches lie in the tokens that all blocks attend over.

    Args:
        attentions: of a forward pass.
        scores: what it gave.
        images: how many there were.
        layouts: of tokens that follow the image, in layers of the model.

    Raises:
        SettingError: attention that the rule does not fit.
    """
    seen = _read(attentions.seen, scores)
    if not seen:
        raise _unfit("computes no attention of (N, heads, queries, keys) by a softmax or scaled_dot_product_attention")
    if attentions.is_partial:
        raise _unfit(
            "has attention of other axes than (N, heads, queries, keys), as within windows or of a single head"
        )
    if attentions.is_unseen or attentions.has_more:
        raise _unfit("multiplies activations otherwise than by a softmax over keys, as linear attention does")
    *blocks, last = (one.shape for one in seen)
    lengths = sorted({shape[3] for shape in (*blocks, last)} | {shape[2] for shape in blocks})
    if any(shape[0] != images for shape in (*blocks, last)):
        raise _unfit("attends within windows of the image")
    if len(lengths) > 1:
        raise _unfit(f"attends over several numbers of tokens, {', '.join(map(str, lengths))}")
    if not _is_one_chain(seen):
        raise _unfit("attends in several passes that do not follow one another, as of an ensemble or of two views")
    (length,) = lengths
    fitting = [one for one in layouts if one.reads(length)]
    if not fitting:
        raise _unfit(f"attends over {length} rows, which do not follow the image patch by patch")
    return Layout("NLC", fitting[0].grid, fitting[0].prefix)


def _read(seen: Sequence[_Fused | _Written], scores: Tensor) -> list[_Fused | _Written]:
    """Those that the scores are computed by."""
    points = [one.point for one in seen]
    if not points or not scores.requires_grad:
        return list(seen)
    reached = torch.autograd.grad(scores, points, torch.ones_like(scores), retain_graph=True, allow_unused=True)
    return [one for one, gradient in zip(seen, reached, strict=True) if gradient is not None]


def _is_one_chain(seen: Sequence[_Fused | _Written]) -> bool:
    """Whether the last attention reads what all others gave: their steps are added up as if it did."""
    *others, last = (attention.point for attention in seen)
    if not others or not last.requires_grad:
        return True
    ones = torch.ones_like(last)
    return None not in torch.autograd.grad(last, others, ones, retain_graph=True, allow_unused=True)


def _unfit(why: str) -> SettingError:
    return SettingError(
        f"method={RELEVANCE!r} propagates the attention of blocks that all attend over the same tokens, and this model "
        f"{why}; method=None chooses one that fits"
    )
