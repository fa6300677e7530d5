"""Class activation maps of a lent model: the gradient family on its own device, all others by grad-cam."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.borrowed import borrowed_class, borrowed_heatmaps, class_targets
from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.layers import Capture, LayerOfModel, capture
from lightning_gradcam.cam.maps import (
    NOT_FINITE,
    Cams,
    Heatmaps,
    Maps,
    as_given,
    averaged,
    channels_first,
    divided,
    finished,
    joined,
    size_of,
)
from lightning_gradcam.cam.methods import METHODS, Method, full_precision
from lightning_gradcam.cam.plan import Known, Plan
from lightning_gradcam.cam.targets import (
    Batch,
    Objective,
    again,
    objective,
    objects_of,
    read_scores,
    told,
)


def compute_cams(model: nn.Module, inputs: Inputs, known: Known, plan: Plan, rows: range | None = None) -> list[Maps]:
    """Explain each image: one forward, with gradients from the first target layer on, and one backward to it a target.

    Args:
        model: a lent model.
        inputs: N images, on any device; they are moved `batch_size` at a time, and half that when memory runs out.
        known: what `plan.known` gives for their labels, on the CPU.
        plan: what `make_plan` found for this model.
        rows: which of the images; None is all.

    Returns:
        One for each layer (or group of layers to be averaged), on the model's device; none of no images.
    """
    step, rows = plan.settings.batch_size, range(len(inputs.images)) if rows is None else rows
    inputs = inputs if plan.call.needs_batch else replace(inputs, batch=None)
    slices = [slice(start, min(start + step, rows.stop)) for start in rows[::step]]
    chunks = [cams for chunk in slices for cams in _chunks(model, inputs, known, plan, chunk)]
    return [joined(parts) for parts in zip(*chunks, strict=True)]


def _chunks(model: nn.Module, inputs: Inputs, known: Known, plan: Plan, rows: slice) -> Iterator[Sequence[Maps]]:
    out_of_memory = False
    try:
        cams = _explain(model, inputs, known, plan, rows)
    except torch.OutOfMemoryError:
        if rows.stop - rows.start == 1:
            raise
        out_of_memory = True  # retried outside of the except clause, which holds on to the failed pass's tensors
    if not out_of_memory:
        yield cams
        return
    middle = (rows.start + rows.stop) // 2
    for half in (slice(rows.start, middle), slice(middle, rows.stop)):
        yield from _chunks(model, inputs, known, plan, half)


def _explain(model: nn.Module, inputs: Inputs, all_known: Known, plan: Plan, rows: slice) -> Sequence[Maps]:
    chunk, known = inputs.of(rows).on(model), all_known.of(rows)
    if plan.settings.method not in METHODS:
        return _borrowed(model, chunk, known, plan, rows)
    if plan.settings.aug_smooth:
        return _augmented(model, chunk, known, plan, rows)
    return _on_the_device(model, chunk, known, plan, rows)[0]


def _on_the_device(
    model: nn.Module, inputs: Inputs, known: Known, plan: Plan, rows: slice, fixed: Objective | None = None
) -> tuple[list[Cams], Objective]:
    """The maps, and what they explain; `fixed` is the objective of the same images before they were augmented."""
    settings, groups = plan.settings, plan.layers_of(model)
    with capture({layer.module for group in groups for layer in group}, Capture()) as captured:
        batch = _batch(model, inputs, known, plan, rows)
        wanted = again(fixed, batch.scores.values) if fixed else objective(settings.target, batch)
        gradients = _gradients(wanted.values, captured)
    method = METHODS[str(settings.method)]
    with torch.autocast(inputs.images.device.type, enabled=False):  # half precision is the model's own, not its maps'
        maps = [
            [_raw(layer, captured, gradients, method, settings.eigen_smooth) for layer in group] for group in groups
        ]
    size = size_of(inputs.images)
    parts = [divided(raw[0]) if len(raw) == 1 else averaged(raw, size) for raw in maps]
    said, classes, predicted = told(batch, wanted.classes), wanted.classes, batch.scores.classes
    pairs = zip(parts, plan.names, strict=True)
    return [Cams(part, said, predicted, classes, name, peaks) for (part, peaks), name in pairs], wanted


def _batch(model: nn.Module, inputs: Inputs, known: Known, plan: Plan, rows: slice) -> Batch:
    output, found = plan.rows_of(model, inputs)
    scores = read_scores(found, plan.task, inputs.images, known.truth)
    return Batch(output, found, scores, plan.task, known.labels, known.truth, rows)


def _gradients(values: Tensor, captured: Capture) -> dict[nn.Module, list[Tensor]]:
    """The gradient of each target's values at each layer's output; zeros where a layer does not reach them."""
    modules, outputs = list(captured.outputs), list(captured.outputs.values())
    if not values.requires_grad:
        raise RuntimeError("the scores do not depend on the target layer by operations that can be differentiated")
    targets = values.shape[1]
    by_target = [
        torch.autograd.grad(
            values[:, t].sum(), outputs, retain_graph=t < targets - 1, allow_unused=True, materialize_grads=True
        )
        for t in range(targets)
    ]
    return {module: [gradients[i] for gradients in by_target] for i, module in enumerate(modules)}


def _raw(
    layer: LayerOfModel, captured: Capture, gradients: dict[nn.Module, list[Tensor]], method: Method, eigen_smooth: bool
) -> Tensor:
    """The layer's maps before dividing by their peaks, (N, T, h, w)."""
    if layer.module not in captured.outputs:
        raise RuntimeError(f"the target layer {layer.name!r} was not called in this forward pass")
    activations = full_precision(layer.read(captured.outputs[layer.module].detach()))
    return torch.stack(
        [_map(activations, full_precision(layer.read(one)), method, eigen_smooth) for one in gradients[layer.module]], 1
    )


def _map(activations: Tensor, gradients: Tensor, method: Method, eigen_smooth: bool) -> Tensor:
    """One target's map, (N, h, w) >= 0; NaN where not all that it is made of is finite, which no method hides."""
    finite = activations.isfinite().flatten(1).all(1) & gradients.isfinite().flatten(1).all(1)
    return torch.where(finite[:, None, None], method(activations, gradients, eigen_smooth).relu(), torch.nan)


def _augmented(model: nn.Module, inputs: Inputs, known: Known, plan: Plan, rows: slice) -> list[Maps]:
    """Mean heatmaps over grad-cam's six augmentations, of what is explained of the images themselves."""
    import ttach  # grad-cam's own

    images, size = inputs.images, size_of(inputs.images)
    plain, wanted = _on_the_device(model, inputs, known, plan, rows)
    fixed = wanted if wanted.weights is not None else None
    heatmaps: list[list[Tensor]] = [[] for _ in plain]
    broken = [cams.states == NOT_FINITE for cams in plain]
    for transform in ttach.Compose([ttach.HorizontalFlip(), ttach.Multiply(factors=[0.9, 1, 1.1])]):
        changed = as_given(transform.augment_image(channels_first(images)), images)
        augmented, _ = _on_the_device(model, inputs.instead(changed), known, plan, rows, fixed)
        broken = [one | (cams.states == NOT_FINITE) for one, cams in zip(broken, augmented, strict=True)]
        for cams, found in zip(augmented, heatmaps, strict=True):
            found.append(transform.deaugment_mask(cams.heatmaps(size)))
    means = (torch.stack(found).mean(0) for found in heatmaps)
    told = (torch.where(one[..., None, None], torch.nan, mean) for one, mean in zip(broken, means, strict=True))
    pairs = zip(plain, map(finished, told), strict=True)
    return [
        Heatmaps(maps, cams.scores, cams.predictions, cams.targets, cams.layer, states)
        for cams, (maps, states) in pairs
    ]


def _borrowed(model: nn.Module, inputs: Inputs, known: Known, plan: Plan, rows: slice) -> Sequence[Maps]:
    """Heatmaps by a class of grad-cam, which is told its targets image by image."""
    count = len(inputs.images)
    is_of_one = inputs.batch is not None or plan.task.rebuilds
    if is_of_one and count > 1:  # grad-cam varies an image, and does not say which
        alone = [slice(row, row + 1) for row in range(count)]
        places = [slice(rows.start + row, rows.start + row + 1) for row in range(count)]
        rows_of = zip(alone, places, strict=True)
        found = [_borrowed(model, inputs.of(row), known.of(row), plan, place) for row, place in rows_of]
        return [joined(parts) for parts in zip(*found, strict=True)]
    settings, images, cam_class = plan.settings, inputs.images, borrowed_class(plan.settings.method)
    with torch.no_grad():
        batch = _batch(model, inputs, known, plan, rows)
        wanted = objective(settings.target, batch)
    objects = objects_of(settings.target)[rows]
    columns = [objects] if objects else class_targets(cam_class, batch.scores.values, wanted)

    def forward(varied: Tensor) -> Tensor:
        given = inputs.instead(as_given(varied, images)).on(model)
        _, found = plan.rows_of(model, given)
        if objects:
            return found
        truth = batch.truth
        if truth is not None and is_of_one:
            truth = truth.expand(len(found), *truth.shape[1:])
        return read_scores(found, plan.task, given.images, truth).values

    first = channels_first(images)  # as grad-cam reads sizes
    smoothing = {"eigen_smooth": settings.eigen_smooth} | ({"aug_smooth": True} if settings.aug_smooth else {})
    made = [
        [borrowed_heatmaps(cam_class, model, forward, first, group, targets, **smoothing) for targets in columns]
        for group in plan.layers_of(model)
    ]
    finite = batch.rows.detach().isfinite().flatten(1).all(1)[:, None, None, None]
    stacked = (torch.stack(maps, dim=1).to(images.device) for maps in made)
    parts = (finished(torch.where(finite, maps, torch.nan)) for maps in stacked)
    said, predicted = told(batch, wanted.classes), batch.scores.classes
    pairs = zip(parts, plan.names, strict=True)
    return [Heatmaps(maps, said, predicted, wanted.classes, name, states) for (maps, states), name in pairs]
