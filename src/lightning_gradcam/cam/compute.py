"""Class activation maps of a lent model: the gradient family on its own device, all others by grad-cam."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.borrowed import ImageTarget, borrowed_class, borrowed_heatmaps, class_targets
from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.layers import Groups, LayerOfModel
from lightning_gradcam.cam.maps import Cams, Heatmaps, Maps, as_given, channels_first, finished, joined, size_of
from lightning_gradcam.cam.plan import Known, Plan
from lightning_gradcam.cam.records import recorded
from lightning_gradcam.cam.states import NOT_FINITE
from lightning_gradcam.cam.targets import Batch, Objective, objective, objects_of, read_scores, told
from lightning_gradcam.cam.trust import Removal, told_from_rivals, with_rivals

T = TypeVar("T")

_BLOCK = 31 * 2**20  # bytes: of more than 32 MiB glibc learns nothing


def compute_cams(model: nn.Module, inputs: Inputs, known: Known, plan: Plan, rows: range | None = None) -> list[Maps]:
    """Explain each image: one forward, with gradients from the first target layer on, and one backward to it a target.

    Args:
        model: a lent model.
        inputs: N images, on any device; they are moved some at a time, and half of these when memory runs out.
        known: what `plan.known` gives for their labels, on the CPU.
        plan: what `make_plan` found for this model.
        rows: which of the images; None is all.

    Returns:
        One for each layer (or group of layers to be averaged), on the model's device; none of no images.
    """
    rows = range(len(inputs.images)) if rows is None else rows
    inputs = inputs if plan.call.needs_batch else replace(inputs, batch=None)
    groups = plan.layers_of(model)
    _let_memory_stay()

    def explained(some: slice) -> Sequence[Maps]:
        return _explain(_chunk(model, inputs, known, plan, some), groups)

    chunks = _in_chunks(explained, rows, plan.at_once(inputs.images))
    return [joined(parts) for parts in zip(*chunks, strict=True)]


def _let_memory_stay() -> None:
    """Free a block that nobody has used, by which glibc learns to keep as much as a pass frees for the next one.

    It keeps up to twice the largest block that was ever freed. What it gives back comes again page by page, zeroed,
    which took a tenth of the passes of small images.
    """
    torch.empty(_BLOCK, dtype=torch.uint8)


def remove(
    model: nn.Module, inputs: Inputs, known: Known, plan: Plan, found: Maps, shares: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return what is left of each target with ever more of the pixels removed, as `trust.Removal.after` has it.

    Args:
        model: a lent model.
        inputs: as for `compute_cams`.
        known: as for `compute_cams`.
        plan: as for `compute_cams`.
        found: its maps of one layer.
        shares: how much is removed, each in 0..1.

    Returns:
        With the least relevant removed, and with the most: (N, T, P) each, on the CPU.
    """

    def removed(rows: slice) -> Tensor:
        chunk = _chunk(model, inputs, known, plan, rows)
        with torch.no_grad():
            batch = chunk.said()
            removal = chunk.removal(batch, objective(plan.settings.target, batch))
        maps = found.of(rows, chunk.inputs.images.device)
        left = [
            torch.stack([torch.stack(removal.after(rank, target, share), dim=-1) for share in shares], dim=1)
            for target, rank in enumerate(removal.ranks(maps))
        ]
        return torch.stack(left, dim=1).cpu()  # (N, T, P, 2)

    sides = torch.cat(_in_chunks(removed, range(len(inputs.images)), plan.at_once(inputs.images)))
    return sides[..., 0], sides[..., 1]


def _in_chunks(work: Callable[[slice], T], rows: range, size: int) -> list[T]:
    """Return what work gives for so many images at a time, and for half as many where memory runs out."""
    slices = [slice(start, min(start + size, rows.stop)) for start in rows[::size]]
    return [found for chunk in slices for found in _halved(work, chunk)]


def _halved(work: Callable[[slice], T], rows: slice) -> Iterator[T]:
    out_of_memory = False
    try:
        found = work(rows)
    except torch.OutOfMemoryError:
        if rows.stop - rows.start == 1:
            raise
        out_of_memory = True  # retried outside of the except clause, which holds on to the failed pass's tensors
    if not out_of_memory:
        yield found
        return
    middle = (rows.start + rows.stop) // 2
    for half in (slice(rows.start, middle), slice(middle, rows.stop)):
        yield from _halved(work, half)


def _explain(chunk: "_Chunk", groups: Groups) -> Sequence[Maps]:
    settings = chunk.plan.settings
    made = _borrowed if chunk.plan.method is None else _augmented if settings.aug_smooth else _on_the_device
    found, batch, wanted = made(chunk, groups)
    if not settings.trust:
        return found
    own, removal = [told_from_rivals(maps, settings.targets) for maps in found], chunk.removal(batch, wanted)
    return [replace(maps, faithfulness=_faithfulness(removal, maps)) for maps in own]


def _faithfulness(removal: Removal, maps: Maps) -> Tensor:
    """NaN where the model fails on damaged images, as one does that checks its inputs: that costs no map."""
    try:
        return removal.faithfulness(maps)
    except torch.OutOfMemoryError:
        raise
    except Exception as fault:
        told = f"trust=True: no faithfulness, the model fails on images of which parts are removed ({fault!r:.200})"
        warnings.warn(told, stacklevel=2)
        return torch.full_like(maps.states, torch.nan, dtype=torch.float32)


class _Chunk(NamedTuple):
    """Images that are explained at once, on the model's device, and what is known of them."""

    model: nn.Module
    inputs: Inputs
    known: Known
    plan: Plan
    rows: slice

    def said(self, images: Tensor | None = None) -> Batch:
        """What the model says of the images, or of damaged ones in their place, of which the same is true."""
        inputs = self.inputs if images is None else self.inputs.instead(images)
        output, found = self.plan.rows_of(self.model, inputs)
        scores = read_scores(found, self.plan.task, self.inputs.images, self.known.truth)
        return Batch(output, found, scores, self.plan.task, self.known.labels, self.known.truth, self.rows)

    def objective(self, batch: Batch) -> Objective:
        """What is explained of what it says, and for `class_sensitivity` what else could be."""
        wanted, settings = objective(self.plan.settings.target, batch), self.plan.settings
        return with_rivals(wanted, batch.scores) if settings.trust and self.plan.has_rivals else wanted

    def removal(self, batch: Batch, wanted: Objective) -> Removal:
        """What becomes of that in images of which parts are removed."""
        settings = self.plan.settings
        return Removal(self.inputs.images, settings.target, batch, wanted.columns(settings.targets), self.said)


def _chunk(model: nn.Module, inputs: Inputs, known: Known, plan: Plan, rows: slice) -> _Chunk:
    return _Chunk(model, inputs.of(rows).on(model), known.of(rows), plan, rows)


_Found = tuple[list[Any], Batch, Objective]  # a layer's maps each, what the model said, and what of it they explain


def _on_the_device(chunk: _Chunk, groups: Groups, fixed: Objective | None = None) -> _Found:
    """By one pass; `fixed` is the objective of the same images before they were augmented."""
    plan, images = chunk.plan, chunk.inputs.images
    with recorded(plan, groups) as record:
        batch = chunk.said()
        wanted = replace(fixed, scores=batch.scores.values) if fixed else chunk.objective(batch)
        gradients = _gradients(wanted, record.points)
    with torch.autocast(images.device.type, enabled=False):  # half precision is the model's own, not its maps'
        parts = record.maps(gradients, size_of(images))
    said, classes, predicted = told(batch, wanted.classes), wanted.classes, batch.scores.predictions
    pairs = zip(parts, plan.names, strict=True)
    found = [Cams(part, said, predicted, classes, name, peaks) for (part, peaks), name in pairs]
    return found, batch, wanted


def _gradients(wanted: Objective, points: list[Tensor]) -> list[Sequence[Tensor]]:
    """The gradient of each target's values at each point; zeros where a point does not reach them."""
    if not wanted.scores.requires_grad:
        raise RuntimeError("the scores do not depend on the target layer by operations that can be differentiated")
    slopes = wanted.slopes
    return [
        torch.autograd.grad(
            wanted.scores, points, slope, retain_graph=t < len(slopes), allow_unused=True, materialize_grads=True
        )
        for t, slope in enumerate(slopes, start=1)
    ]


def _augmented(chunk: _Chunk, groups: Groups) -> _Found:
    """Mean heatmaps over grad-cam's six augmentations, of what is explained of the images themselves."""
    import ttach  # grad-cam's own

    images, size = chunk.inputs.images, size_of(chunk.inputs.images)
    plain, batch, wanted = _on_the_device(chunk, groups)
    fixed = wanted if wanted.weights is not None else None
    heatmaps: list[list[Tensor]] = [[] for _ in plain]
    broken = [cams.states == NOT_FINITE for cams in plain]
    for transform in ttach.Compose([ttach.HorizontalFlip(), ttach.Multiply(factors=[0.9, 1, 1.1])]):
        changed = as_given(transform.augment_image(channels_first(images)), images)
        augmented, _, _ = _on_the_device(chunk._replace(inputs=chunk.inputs.instead(changed)), groups, fixed)
        broken = [one | (cams.states == NOT_FINITE) for one, cams in zip(broken, augmented, strict=True)]
        for cams, found in zip(augmented, heatmaps, strict=True):
            found.append(transform.deaugment_mask(cams.heatmaps(size)))
    means = (torch.stack(found).mean(0) for found in heatmaps)
    told = (torch.where(one[..., None, None], torch.nan, mean) for one, mean in zip(broken, means, strict=True))
    pairs = zip(plain, map(finished, told), strict=True)
    made = [
        Heatmaps(maps, cams.scores, cams.predictions, cams.targets, cams.layer, states)
        for cams, (maps, states) in pairs
    ]
    return made, batch, wanted


def _borrowed(chunk: _Chunk, groups: Groups) -> _Found:
    """Heatmaps by a class of grad-cam, which is told its targets image by image."""
    plan, images, cam_class = chunk.plan, chunk.inputs.images, borrowed_class(chunk.plan.settings.method)
    with torch.no_grad():
        batch = chunk.said()
        wanted = chunk.objective(batch)
    objects = objects_of(plan.settings.target)[chunk.rows]
    columns = [objects] if objects else class_targets(cam_class, batch.scores.values, wanted)
    is_of_one = chunk.inputs.batch is not None or plan.task.rebuilds  # grad-cam varies an image, and does not say which
    places = [slice(place, place + 1) for place in range(len(images))] if is_of_one else [slice(len(images))]

    def made(place: slice, group: Sequence[LayerOfModel], targets: Sequence[ImageTarget]) -> Tensor:
        inputs, truth = chunk.inputs.of(place), None if batch.truth is None else batch.truth[place]

        def forward(varied: Tensor) -> Tensor:
            given = inputs.instead(as_given(varied, inputs.images)).on(chunk.model)
            _, found = plan.rows_of(chunk.model, given)
            if objects:
                return found
            those = truth.expand(len(found), *truth.shape[1:]) if truth is not None and is_of_one else truth
            return read_scores(found, plan.task, given.images, those).values

        first = channels_first(inputs.images)  # as grad-cam reads sizes
        return borrowed_heatmaps(cam_class, chunk.model, forward, first, group, targets[place], **smoothing)

    settings = plan.settings
    smoothing = {"eigen_smooth": settings.eigen_smooth} | ({"aug_smooth": True} if settings.aug_smooth else {})
    found = [
        torch.stack([torch.cat([made(place, group, targets) for place in places]) for targets in columns], dim=1)
        for group in groups
    ]
    finite = batch.rows.detach().reshape(len(images), -1).isfinite().all(1)[:, None, None, None]
    parts = (finished(torch.where(finite, maps.to(images.device), torch.nan)) for maps in found)
    said, predicted = told(batch, wanted.classes), batch.scores.predictions
    pairs = zip(parts, plan.names, strict=True)
    heatmaps = [Heatmaps(maps, said, predicted, wanted.classes, name, states) for (maps, states), name in pairs]
    return heatmaps, batch, wanted
