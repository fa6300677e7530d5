"""Class activation maps of a lent model: the gradient family on its own device, all others by grad-cam."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gradcam.borrowed import borrowed_class, borrowed_heatmaps, class_targets
from lightning_gradcam.layers import Capture, LayerChoice, TargetLayer, capture, resolve_layers
from lightning_gradcam.methods import METHODS, Method, full_precision
from lightning_gradcam.settings import Output, Settings
from lightning_gradcam.targets import (
    NO_CLASS,
    Batch,
    Scores,
    check_target_fits,
    objectives,
    objects_of,
    read_scores,
    target_classes,
    unwrap,
)


@dataclass(frozen=True)
class Cams:
    """Maps of one layer for N images and T targets, T = 1 unless several classes were asked for.

    Attributes:
        maps: (N, T, h, w) in 0..1, each divided by its peak; all zeros where there is no positive evidence, or none
            that is finite.
        peaks: (N, T) each map's maximum before dividing, >= 0; not finite where the map was not.
        scores: (N,) the prediction's probability in 0..1; for a regression its value.
        predictions: (N,) the predicted class.
        targets: (N, T) the explained class; -1 where the target is no single class.
        layer: dotted name; several averaged into one map are joined by "+".
        finished: whether the maps are heatmaps already, (N, T, H, W) and scaled, as grad-cam's own methods,
            augmentation smoothing and averaged layers give them.
    """

    maps: Tensor
    peaks: Tensor
    scores: Tensor
    predictions: Tensor
    targets: Tensor
    layer: str
    finished: bool = False

    def heatmaps(self, size: tuple[int, int], highest: Tensor | None = None) -> Tensor:
        """Return the maps enlarged bilinearly to (H, W): (N, T, H, W) in 0..1.

        Args:
            size: (H, W).
            highest: (N, T) peaks that the maps are drawn as shares of; without them each is scaled to 0..1 by itself.
        """
        if self.finished and self.maps.shape[2:] == size:
            return self.maps.float()
        if highest is None or self.finished:
            return _scaled(_enlarged(_scaled(self.maps.float()), size))
        shares = (self.peaks / highest).nan_to_num(0, posinf=0)[..., None, None]
        return (_enlarged(self.maps.float(), size) * shares).clamp(0, 1)

    def blank(self) -> Tensor:
        """Return which maps show nothing, (N, T): all zero, or not finite."""
        return ~((self.peaks > 0) & self.peaks.isfinite())

    def copied(self) -> "Callable[[], Cams]":
        """Start copying to the CPU without waiting for the device; the returned function waits and gives the copy."""
        device = self.maps.device
        named = {name: tensor.to("cpu", non_blocking=True) for name, tensor in _tensors(self).items()}
        copy = replace(self, **named)  # type: ignore[arg-type]
        if device.type != "cuda":
            return lambda: copy
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(device))

        def wait() -> Cams:
            done.synchronize()
            return copy

        return wait


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
    groups = [_resolve(model, chunk, choice, settings) for choice in settings.maps]
    scores = read_scores(unwrap(_forward(model, chunk, settings.output)), few)
    check_target_fits(settings.target, scores, labels, len(images))
    return Plan(settings, tuple(groups), scores.values.shape[1])


def compute_cams(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan) -> list[Cams]:
    """Explain each image: one forward, with gradients from the first target layer on, and one backward to it a target.

    Args:
        model: a lent model.
        images: (N, C, H, W), on any device; they are moved `batch_size` at a time, and half that when memory runs out.
        labels: (N, ...) on the CPU, or None.
        plan: what `make_plan` found for this model.

    Returns:
        One for each layer (or group of layers to be averaged), on the model's device.
    """
    step = plan.settings.batch_size
    rows = [slice(start, min(start + step, len(images))) for start in range(0, len(images), step)]
    chunks = [cams for chunk in rows for cams in _chunks(model, images, labels, plan, chunk)]
    return [_join(parts) for parts in zip(*chunks, strict=True)]


def _chunks(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> Iterator[list[Cams]]:
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


def _explain(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> list[Cams]:
    chunk, known = _on_device(images[rows], model), None if labels is None else labels[rows]
    if plan.settings.method not in METHODS:
        return _borrowed(model, chunk, known, plan, rows)
    if plan.settings.aug_smooth:
        return _augmented(model, chunk, known, plan, rows)
    return _on_the_device(model, chunk, known, plan, rows)


def _on_the_device(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> list[Cams]:
    settings, modules = plan.settings, {layer.module for group in plan.groups for layer in group}
    with capture(modules, Capture()) as captured:
        output = _forward(model, images, settings.output)
        scores = read_scores(unwrap(output), labels)
        values, classes = objectives(settings.target, Batch(output, scores, labels, rows))
        gradients = _gradients(values, captured)
    method = METHODS[str(settings.method)]
    with torch.autocast(images.device.type, enabled=False):  # half precision is the model's own, not its maps'
        maps = [
            [_raw(layer, captured, gradients, method, settings.eigen_smooth) for layer in group]
            for group in plan.groups
        ]
    size = (images.shape[-2], images.shape[-1])
    return [
        _cams(raw[0], scores, classes, name) if len(raw) == 1 else _averaged(raw, size, scores, classes, name)
        for raw, name in zip(maps, plan.names, strict=True)
    ]


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
    layer: TargetLayer, captured: Capture, gradients: dict[nn.Module, list[Tensor]], method: Method, eigen_smooth: bool
) -> Tensor:
    """The layer's maps before dividing by their peaks, (N, T, h, w)."""
    if layer.module not in captured.outputs:
        raise RuntimeError(f"the target layer {layer.name!r} was not called in this forward pass")
    activations = full_precision(layer.read(captured.outputs[layer.module].detach()))
    maps = [
        method(activations, full_precision(layer.read(gradient)), eigen_smooth) for gradient in gradients[layer.module]
    ]
    return torch.stack(maps, dim=1).relu()


def _cams(raw: Tensor, scores: Scores, classes: Tensor, layer: str) -> Cams:
    peaks = raw.amax((2, 3))
    drawn = (peaks > 0) & peaks.isfinite()
    maps = torch.where(drawn[..., None, None], raw / peaks[..., None, None], 0)
    return Cams(maps, peaks, scores.confidence, scores.classes, classes, layer)


def _averaged(raws: list[Tensor], size: tuple[int, int], scores: Scores, classes: Tensor, layer: str) -> Cams:
    """Several layers' maps as grad-cam averages them: scaled and enlarged each, then scaled again."""
    mean = torch.stack([_enlarged(_scaled(raw), size) for raw in raws]).mean(0)
    return _finished(_scaled(mean), scores, classes, layer)


def _finished(heatmaps: Tensor, scores: Scores, classes: Tensor, layer: str) -> Cams:
    maps = heatmaps.nan_to_num(0, posinf=0, neginf=0).clamp(0, 1)
    return Cams(maps, heatmaps.amax((2, 3)), scores.confidence, scores.classes, classes, layer, finished=True)


def _scaled(maps: Tensor) -> Tensor:
    """Scale each map to 0..1 by its minimum and maximum, with grad-cam's guard against dividing by zero."""
    lowest = maps.amin((-2, -1), keepdim=True)
    return (maps - lowest) / (1e-7 + maps.amax((-2, -1), keepdim=True) - lowest)


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _augmented(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> list[Cams]:
    """Mean heatmaps over grad-cam's six augmentations: mirrored or not, times 0.9, 1 and 1.1."""
    import ttach  # grad-cam's own

    size = (images.shape[-2], images.shape[-1])
    plain = _on_the_device(model, images, labels, plan, rows)
    heatmaps: list[list[Tensor]] = [[] for _ in plain]
    for transform in ttach.Compose([ttach.HorizontalFlip(), ttach.Multiply(factors=[0.9, 1, 1.1])]):
        augmented = _on_the_device(model, transform.augment_image(images), labels, plan, rows)
        for cams, found in zip(augmented, heatmaps, strict=True):
            found.append(transform.deaugment_mask(cams.heatmaps(size)))
    means = [torch.stack(found).mean(0) for found in heatmaps]
    pairs = zip(plain, means, strict=True)
    return [replace(cams, maps=mean.nan_to_num(0), peaks=mean.amax((2, 3)), finished=True) for cams, mean in pairs]


def _borrowed(model: nn.Module, images: Tensor, labels: Tensor | None, plan: Plan, rows: slice) -> list[Cams]:
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
        for group in plan.groups
    ]
    pairs = zip(made, plan.names, strict=True)
    return [_finished(torch.stack(maps, dim=1).to(images.device), scores, classes, name) for maps, name in pairs]


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


def _tensors(cams: Cams) -> dict[str, Tensor]:
    named = {field.name: getattr(cams, field.name) for field in fields(cams)}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def _join(parts: Sequence[Cams]) -> Cams:
    joined = {name: torch.cat([_tensors(part)[name] for part in parts]) for name in _tensors(parts[0])}
    return replace(parts[0], **joined)  # type: ignore[arg-type]
