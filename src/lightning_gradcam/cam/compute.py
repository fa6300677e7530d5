"""Class activation maps of a lent model: the gradient family on its own device, all others by grad-cam."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.borrowed import borrowed_class, borrowed_heatmaps, class_targets
from lightning_gradcam.cam.layers import (
    Capture,
    LayerChoice,
    LayerOfModel,
    TargetLayer,
    capture,
    named_layers,
    resolve_layers,
)
from lightning_gradcam.cam.maps import Cams, Heatmaps, Maps, averaged, divided, finished, joined
from lightning_gradcam.cam.methods import METHODS, Method, full_precision
from lightning_gradcam.cam.settings import Output, Settings
from lightning_gradcam.cam.targets import (
    NO_CLASS,
    Batch,
    check_target_fits,
    objectives,
    objects_of,
    read_scores,
    target_classes,
    unwrap,
)


@dataclass(frozen=True)
class Plan:
    """Settings that a dry forward has tried out: the layers, one group a map, and how many classes there are."""

    settings: Settings
    groups: tuple[tuple[TargetLayer, ...], ...]
    classes: int

    @property
    def names(self) -> list[str]:
        """A name for each map: its layers' dotted names, joined by "+"."""
        return ["+".join(layer.name for layer in group) for group in self.groups]

    def layers_of(self, model: nn.Module) -> list[list[LayerOfModel]]:
        """Return a model's own layers, group by group."""
        layers, transform = named_layers(model), self.settings.reshape_transform
        return [[layer.in_model(layers, transform) for layer in group] for group in self.groups]


def make_plan(model: nn.Module, images: Tensor, labels: Tensor | None, settings: Settings) -> Plan:
    """Find the layers and try the settings on the first two images.

    Args:
        model: a lent model.
        images: (N, C, H, W), on any device.
        labels: (N, ...) or None.
        settings: what to make.

    Raises:
        SettingError: a setting that does not fit the model, with the argument's name.
    """
    settings.check_output(model)
    chunk, few = _on_device(images[:2], model), None if labels is None else labels[:2]
    groups = [_resolve(model, chunk, choice, settings) for choice in settings.layer_groups]
    scores = read_scores(unwrap(_forward(model, chunk, settings.output)), few)
    check_target_fits(settings.target, scores, labels, len(images))
    return Plan(settings, tuple(groups), scores.values.shape[1])


def compute_cams(
    model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: range | None = None
) -> list[Maps]:
    """Explain each image: one forward, with gradients from the first target layer on, and one backward to it a target.

    Args:
        model: a lent model.
        images: (N, C, H, W), on any device; they are moved `batch_size` at a time, and half that when memory runs out.
        labels: (N, ...) on the CPU, or None.
        plan: what `make_plan` found for this model.
        rows: which of the images; None is all.

    Returns:
        One for each layer (or group of layers to be averaged), on the model's device; none of no images.
    """
    step, rows = plan.settings.batch_size, range(len(images)) if rows is None else rows
    slices = [slice(start, min(start + step, rows.stop)) for start in rows[::step]]
    chunks = [cams for chunk in slices for cams in _chunks(model, images, labels, plan, chunk)]
    return [joined(parts) for parts in zip(*chunks, strict=True)]


def _chunks(
    model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice
) -> Iterator[Sequence[Maps]]:
    out_of_memory = False
    try:
        cams = _explain(model, images, labels, plan, rows)
    except torch.OutOfMemoryError:
        if rows.stop - rows.start == 1:
            raise
        out_of_memory = True  # retried outside of the except clause, which holds on to the failed pass's tensors
    if not out_of_memory:
        yield cams
        return
    middle = (rows.start + rows.stop) // 2
    for half in (slice(rows.start, middle), slice(middle, rows.stop)):
        yield from _chunks(model, images, labels, plan, half)


def _explain(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> Sequence[Maps]:
    chunk, known = _on_device(images[rows], model), None if labels is None else labels[rows]
    if plan.settings.method not in METHODS:
        return _borrowed(model, chunk, known, plan, rows)
    if plan.settings.aug_smooth:
        return _augmented(model, chunk, known, plan, rows)
    return _on_the_device(model, chunk, known, plan, rows)


def _on_the_device(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> list[Cams]:
    settings, groups = plan.settings, plan.layers_of(model)
    with capture({layer.module for group in groups for layer in group}, Capture()) as captured:
        output = _forward(model, images, settings.output)
        scores = read_scores(unwrap(output), labels)
        values, classes = objectives(settings.target, Batch(output, scores, labels, rows))
        gradients = _gradients(values, captured)
    method = METHODS[str(settings.method)]
    with torch.autocast(images.device.type, enabled=False):  # half precision is the model's own, not its maps'
        maps = [
            [_raw(layer, captured, gradients, method, settings.eigen_smooth) for layer in group] for group in groups
        ]
    size = (images.shape[-2], images.shape[-1])
    parts = [divided(raw[0]) if len(raw) == 1 else averaged(raw, size) for raw in maps]
    pairs = zip(parts, plan.names, strict=True)
    return [Cams(part, scores.confidence, scores.classes, classes, name, peaks) for (part, peaks), name in pairs]


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
    maps = [
        method(activations, full_precision(layer.read(gradient)), eigen_smooth) for gradient in gradients[layer.module]
    ]
    return torch.stack(maps, dim=1).relu()


def _augmented(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> list[Maps]:
    """Mean heatmaps over grad-cam's six augmentations: mirrored or not, times 0.9, 1 and 1.1."""
    import ttach  # grad-cam's own

    size = (images.shape[-2], images.shape[-1])
    plain = _on_the_device(model, images, labels, plan, rows)
    heatmaps: list[list[Tensor]] = [[] for _ in plain]
    for transform in ttach.Compose([ttach.HorizontalFlip(), ttach.Multiply(factors=[0.9, 1, 1.1])]):
        augmented = _on_the_device(model, transform.augment_image(images), labels, plan, rows)
        for cams, found in zip(augmented, heatmaps, strict=True):
            found.append(transform.deaugment_mask(cams.heatmaps(size)))
    pairs = zip(plain, (finished(torch.stack(found).mean(0)) for found in heatmaps), strict=True)
    return [
        Heatmaps(maps, cams.scores, cams.predictions, cams.targets, cams.layer, states)
        for cams, (maps, states) in pairs
    ]


def _borrowed(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> list[Maps]:
    """Heatmaps by a class of grad-cam, which is told its targets image by image."""
    settings, cam_class = plan.settings, borrowed_class(plan.settings.method)
    with torch.no_grad():
        output = _forward(model, images, settings.output)
        scores = read_scores(unwrap(output), labels)
    objects = objects_of(settings.target)[rows]
    if objects:
        columns, classes = [objects], torch.full((len(images), 1), NO_CLASS, device=images.device)
    else:
        classes = target_classes(settings.target, Batch(output, scores, labels, rows))
        columns = [class_targets(cam_class, scores.values, column) for column in classes.T.tolist()]

    def forward(inputs: Tensor) -> Tensor:
        given = unwrap(_forward(model, _on_device(inputs, model), settings.output))
        return given if objects else read_scores(given, labels).values

    smoothing = {"eigen_smooth": settings.eigen_smooth} | ({"aug_smooth": True} if settings.aug_smooth else {})
    made = [
        [borrowed_heatmaps(cam_class, model, forward, images, group, targets, **smoothing) for targets in columns]
        for group in plan.layers_of(model)
    ]
    parts = (finished(torch.stack(maps, dim=1).to(images.device)) for maps in made)
    pairs = zip(parts, plan.names, strict=True)
    return [Heatmaps(maps, scores.confidence, scores.classes, classes, name, states) for (maps, states), name in pairs]


def _resolve(
    model: nn.Module, images: Tensor, choice: LayerChoice | Sequence[LayerChoice] | None, settings: Settings
) -> tuple[TargetLayer, ...]:
    def forward(inputs: Tensor) -> Tensor:
        return unwrap(_forward(model, inputs, settings.output))

    return tuple(resolve_layers(model, forward, images, choice, settings.reshape_transform))


def _forward(model: nn.Module, images: Tensor, output: Output | None) -> Any:
    if output is None:
        return model(images)
    return getattr(model, output)(images) if isinstance(output, str) else output(model, images)


def _on_device(images: Tensor, model: nn.Module) -> Tensor:
    """Move a chunk to the model, in the precision of its weights; whole numbers (raw pixels) stay what they are."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is None:
        return images
    return images.to(weight.device, weight.dtype if images.is_floating_point() else images.dtype, non_blocking=True)
