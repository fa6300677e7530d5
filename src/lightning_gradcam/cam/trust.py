"""Whether a map can be believed: what becomes of the target where parts of the image are removed, and of other classes.

Nothing here needs labels of where things are, and nothing draws random numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from lightning_gradcam.cam.areas import overlaps
from lightning_gradcam.cam.maps import Maps, as_given, channels_first, size_of, unlike
from lightning_gradcam.cam.methods import full_precision
from lightning_gradcam.cam.states import SHOWN
from lightning_gradcam.cam.targets import (
    Batch,
    Objective,
    Scores,
    Target,
    classes_of,
    objective,
    or_everywhere,
    probabilities,
    regions,
)
from lightning_gradcam.cam.tasks import Task

REMOVED = 0.2  # of an image's pixels: k of the removal score
_BELL = 1 / 8  # of each side: the standard deviation of the bell under which what stays is averaged
_PLACES = 32  # along a side
_MOST_BLOCKS = 112  # along a side: maps are coarser, and of each pixel alone the sorting takes as long as a forward
_ALIKE = 2e-5  # biases of some transformers are drawn, a millionth wide


def has_rivals(target: Target, task: Task, scores: Tensor) -> bool:
    """Whether a target is a class among several; the two of a single score are each other's opposite, on any map."""
    one = 3 if task.is_dense else 1  # axes of scores that are one an image, or a pixel
    names_classes = isinstance(target, str) or bool(classes_of(target))
    return names_classes and task.is_of_classes and scores.dim() > one and scores.shape[1] > 1


def with_rivals(wanted: Objective, scores: Scores) -> Objective:
    """Return an objective that has behind all its targets one more of each: the class that comes next.

    That is the highest-scoring other one, and of a segmentation the one that is predicted in most pixels. Where a
    target is all of an image's classes its rival's value is 0.

    Args:
        wanted: of classes.
        scores: that it is of.
    """
    if wanted.weights is None:
        return wanted
    values, ranks = scores.values, scores.values.detach()
    if scores.pixels is not None:
        ranks = regions(scores.pixels, values.shape[1]).sum((2, 3)) + ranks.float().softmax(1) / 2
    others = ranks[:, None].masked_fill(wanted.weights != 0, -torch.inf)
    rivals = others.argmax(2)
    weights = F.one_hot(rivals, values.shape[1]) * others.isfinite().any(2, keepdim=True)
    return replace(
        wanted,
        classes=torch.cat([wanted.classes, rivals], dim=1),
        weights=torch.cat([wanted.weights, weights.to(values.dtype)], dim=1),
    )


def told_from_rivals(found: Maps, targets: int) -> Maps:
    """Return the maps of the targets alone, each with how unlike its rival's it is, if there are rivals' behind them.

    That is the class sensitivity of Sixt et al. (arXiv 1912.09818, who compare with another class at random).
    """
    own = found.columns(slice(targets))
    if found.maps.shape[1] == targets:
        return own
    return replace(own, class_sensitivity=unlike(own.maps, found.columns(slice(targets, None)).maps))


class Pixels:
    """Images that parts are removed of: what is removed becomes the mean of what stays around it.

    They are removed in blocks, 112 a side at most. A value that is no number stays none, and counts as 0 around it.

    Args:
        images: (N, C, ...) or (N, ..., C), of any numbers.

    Attributes:
        grid: how many blocks each side has.
    """

    def __init__(self, images: Tensor) -> None:
        self._images, self._first = images, channels_first(images)
        self._values = full_precision(self._first)
        self._sides = self._first.shape[2:]
        self._block = [ceil(side / _MOST_BLOCKS) for side in self._sides]
        self.grid = tuple(ceil(side / size) for side, size in zip(self._sides, self._block, strict=True))
        with torch.autocast(images.device.type, enabled=False):
            channels = [one.nan_to_num(0, 0, 0) for one in self._values.split(1, dim=1)]  # type: ignore[no-untyped-call]
            self._means = torch.cat([self.means(one) for one in channels], dim=1)

    def means(self, values: Tensor) -> Tensor:
        """Return the mean of each block, (N, C, *grid), of a number a pixel, (N, C, ...)."""
        means: Tensor = _MEANS[len(self.grid)](values, self._block)
        return means

    def without(self, relevance: Tensor, share: float) -> Tensor:
        """Return the images without a share of their blocks, the most relevant ones.

        Args:
            relevance: (N, *grid) a number a block; what is alike in it is removed in equal parts.
            share: above 0 and below 1.
        """
        with torch.autocast(relevance.device.type, enabled=False):
            stays = _lowest(relevance.flatten(1), share).reshape(relevance.shape)[:, None].to(self._values.dtype)
            changed = around(self._means, stays, self._sides).lerp_(self._values, self._of_pixels(stays))
        own = changed if self._first.is_floating_point() else changed.round()
        return as_given(own.to(self._first.dtype), self._images)

    def _of_pixels(self, blocks: Tensor) -> Tensor:
        """What blocks have, (N, 1, *grid), as each of their pixels has it."""
        if self.grid == self._sides:
            return blocks
        each = F.interpolate(blocks, scale_factor=[float(size) for size in self._block], mode="nearest")
        for axis, side in enumerate(self._sides, start=2):
            each = each.narrow(axis, 0, side)
        return each


@dataclass(frozen=True)
class Removal:
    """Images with parts of them removed, and what a model says of these.

    Attributes:
        images: (N, C, H, W), or (N, H, W, C), as they were explained.
        target: what was.
        batch: what the model said.
        wanted: what was differentiated, (N, T).
        ask: what the model says of other images in their place.
    """

    images: Tensor
    target: Target
    batch: Batch
    wanted: Objective
    ask: Callable[[Tensor], Batch]

    def faithfulness(self, found: Maps) -> Tensor:
        """Return how much more the target needs what a map shows than what it does not, (N, T) in -0.5..0.5.

        Half the difference between the target's probability with the least relevant fifth of the pixels removed and
        with the most relevant fifth (Rong et al., arXiv 2202.00449; Bluecher et al., arXiv 2401.06654, SRG): 0 by
        chance. Of a target that is no probability it is how much farther its value falls, as a share of both ways:
        which of the two it needs more, not how much. NaN where no map is shown.
        """
        columns = [self.after(ranks, target, REMOVED) for target, ranks in enumerate(self.ranks(found))]
        least, most = (torch.stack(side, dim=1) for side in zip(*columns, strict=True))
        score = (least - most) / 2 if self._are_probabilities else _by_share(least, most)
        return torch.where(found.states == SHOWN, score, torch.nan)

    def ranks(self, found: Maps) -> list[tuple[Tensor, Tensor]]:
        """Return what blocks of pixels are removed by, as `ranked` has it, for each target."""
        height, width = self._pixels.grid
        is_finer = found.maps.shape[2] > height or found.maps.shape[3] > width
        heat = found.heatmaps(size_of(self.images) if is_finer else (height, width))
        return [ranked(one) for one in (self._pixels.means(heat) if is_finer else heat).unbind(1)]

    def after(self, ranks: tuple[Tensor, Tensor], target: int, share: float) -> tuple[Tensor, Tensor]:
        """Return what is left of a target, (N,), without a share of the pixels: the least relevant, and the most.

        Left is its probability in 0..1; of a target that is none, how far its value rose, below 0 where it fell.
        """
        least, most = (self._left(self._pixels.without(rank, share))[:, target] for rank in ranks)
        return least, most

    @cached_property
    def _pixels(self) -> Pixels:
        return Pixels(self.images)

    @property
    def _are_probabilities(self) -> bool:
        return self.wanted.weights is not None and self.batch.task.is_of_classes

    def _left(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            batch = self.ask(images)
            if self._are_probabilities:
                return self._probability(batch)
            return (objective(self.target, batch).values - self.wanted.values).detach().float()

    def _probability(self, batch: Batch) -> Tensor:
        """Each target's probability, (N, T): of several classes their mean, of pixels that of where its class was."""
        rows, one = batch.rows.detach().float(), 3 if batch.task.is_dense else 1
        shares = probabilities(rows[:, None] if rows.dim() == one else rows, batch.task)
        if (pixels := self.batch.scores.pixels) is not None:
            where = or_everywhere(regions(pixels, shares.shape[1]))
            shares = (shares * where).sum((2, 3)) / where.sum((2, 3))
        weights = self.wanted.weights
        assert weights is not None
        return (shares[:, None] * weights).sum(2) / weights.sum(2)


def _by_share(least: Tensor, most: Tensor) -> Tensor:
    both = least.abs() + most.abs()
    return torch.where(both == 0, 0, (least - most) / (2 * both))


def ranked(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Return what pixels, or blocks of them, (N, ...), are removed by: as the least relevant, and as the most.

    That is their heat. Of those as hot, as all that a map leaves at 0, it is the heat around for the most relevant, and
    for the least the heat around in the map that is moved on by half of each side. So a map that says nothing, which
    might as well be elsewhere, has parts of the same shape removed from both sides.
    """
    with torch.autocast(heat.device.type, enabled=False):
        hot = heat.float()
        here = _coarse(hot[:, None])
        there = here.roll([side // 2 for side in here.shape[2:]], list(range(2, here.dim())))
        everywhere = _gathered(torch.ones_like(here[:1]))
        near, opposite = (_enlarged(_gathered(one) / everywhere, hot.shape[1:])[:, 0] for one in (here, there))
        return opposite.mul_(1e-3).sub_(hot), near.mul_(1e-3).add_(hot)


def _lowest(values: Tensor, share: float) -> Tensor:
    """Which of (N, P) values are not the highest share of them: 1 or 0, and at the threshold what is left for each."""
    count = min(round(share * values.shape[1]), values.shape[1] - 1)  # something stays
    if count == 0:
        return torch.ones_like(values)
    threshold = values.topk(count, dim=1, sorted=False).values.amin(1, keepdim=True)
    below, at = values < threshold, values == threshold
    kept = values.shape[1] - count - below.sum(1, keepdim=True)
    return torch.where(at, kept / at.sum(1, keepdim=True), below.to(values.dtype))


def around(images: Tensor, weights: Tensor, sides: torch.Size) -> Tensor:
    """Return the weighted mean of what is around each pixel, (N, C, ...), under a bell an eighth of each side wide.

    Weights nowhere become 0 under it: of pixels far from any that count it is the mean of the nearest. It is made on a
    grid of 32 places a side at most, which such a bell does not need finer, and enlarged.

    Args:
        images: (N, C, ...), of numbers; or means of blocks of pixels.
        weights: (N, 1, ...) or (1, 1, ...), >= 0 and somewhere above.
        sides: of the images.
    """
    return _enlarged(_gathered(_coarse(images * weights)) / _gathered(_coarse(weights)), sides)


_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}  # by how many sides there are
_MEANS = {
    sides: partial(pool, ceil_mode=True, count_include_pad=False)
    for sides, pool in {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}.items()
}


def _enlarged(coarse: Tensor, sides: torch.Size) -> Tensor:
    return coarse if coarse.shape[2:] == sides else F.interpolate(coarse, sides, mode=_LINEAR[len(sides)])


def _coarse(images: Tensor) -> Tensor:
    return _along_sides(images, lambda side: overlaps(min(side, _PLACES), side))


def _gathered(coarse: Tensor) -> Tensor:
    """What lies around each place, summed under the bell."""
    return _along_sides(coarse, _bell)


def _bell(side: int) -> Tensor:
    places = torch.arange(side, dtype=torch.float32)
    return torch.exp(-((places[:, None] - places) / (_BELL * side)).square() / 2)


def _along_sides(images: Tensor, weights: Callable[[int], Tensor]) -> Tensor:
    """Sum images, (N, C, ...), along each side by (places, side) weights."""
    for axis in reversed(range(2, images.dim())):  # the last, whose lines lie together, while there is most of them
        lines = images.movedim(axis, -1)
        of_places = weights(lines.shape[-1]).to(images.device, images.dtype, non_blocking=True)
        summed = lines.reshape(-1, lines.shape[-1]) @ of_places.T
        images = summed.reshape(*lines.shape[:-1], len(of_places)).movedim(-1, axis)
    return images


def is_untrained(model: nn.Module) -> bool:
    """Whether a model's weights are as layers are made: alike throughout, as training does not leave them.

    Told from whatever holds weights: the outputs of each are drawn alike, and vectors, as norms and biases, are
    constant or drawn between torch's own bounds; and from statistics, which are 0. False where nothing tells.
    """
    told = [one for one in map(_is_as_made, model.modules()) if one is not None]
    return bool(told) and all(told)


def _is_as_made(module: nn.Module) -> bool | None:
    """None where a layer does not tell."""
    buffers = {name: one for name, one in module.named_buffers(recurse=False) if name in ("weight", "bias")}
    own = [one.detach() for one in (*module.parameters(recurse=False), *buffers.values()) if _can_tell(one)]
    statistics = getattr(module, "running_mean", None)
    if isinstance(statistics, Tensor) and _can_tell(statistics) and bool(statistics.any()):
        return False
    matrices = [one for one in own if one.dim() > 1]
    vectors = [one for one in own if one.dim() == 1 and len(one) > 1]
    if not vectors and all(len(one) == 1 for one in matrices):
        return None
    bound = max((one[0].numel() ** -0.5 * (1 + 1e-3) for one in matrices), default=0)  # that torch draws biases between
    are_made = all(_is_constant(one) or bool((one.abs() <= bound).all()) for one in vectors)
    return are_made and all(map(_is_drawn_alike, matrices))


def _can_tell(values: Tensor) -> bool:
    return not is_lazy(values) and values.is_floating_point() and not values.is_meta and values.numel() > 0


def _is_constant(values: Tensor) -> bool:
    return bool(values.amax() - values.amin() <= _ALIKE)


def _is_drawn_alike(weight: Tensor) -> bool:
    """Whether all outputs' weights are as large as chance makes those of one distribution, or all alike."""
    rows = weight.flatten(1).float()
    sizes = rows.square().mean(1).sqrt()
    return bool(sizes.std() <= 4 * sizes.mean() * (2 * rows.shape[1]) ** -0.5) if len(sizes) > 1 else True
