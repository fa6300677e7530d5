"""Class activation maps of a lent model: the gradient family on its own device, all others by grad-cam."""

import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.borrowed import borrowed_class, borrowed_heatmaps, check_method_fits, class_targets
from lightning_gradcam.cam.calls import Call, Inputs, cannot_be_called, ways_to_call
from lightning_gradcam.cam.labels import as_numbers, known_of
from lightning_gradcam.cam.layers import Capture, LayerOfModel, TargetLayer, capture, named_layers, resolve_layers
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
from lightning_gradcam.cam.outputs import (
    at,
    candidates,
    check_differentiable,
    maker_of,
    name_of_place,
    one_an_image,
    per_image,
    reaches,
)
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.cam.targets import (
    Batch,
    Objective,
    again,
    check_target_fits,
    objective,
    objects_of,
    read_scores,
    told,
)
from lightning_gradcam.cam.tasks import CLASSES, Task
from lightning_gradcam.cam.telling import Evidence, decide, evidence_of
from lightning_gradcam.cam.trees import Path


class Known(NamedTuple):
    """Labels, and what they say: read once for all images, since what some of them say depends on the others."""

    labels: Tensor | None
    truth: Tensor | None

    def of(self, rows: slice) -> "Known":
        """Return some images'."""
        return Known(*(None if one is None else one[rows] for one in self))


@dataclass(frozen=True)
class Plan:
    """What is done at each look, told by a trial: how the model is called, the layers, the scores, and the task.

    Attributes:
        settings: what was asked for.
        call: how the model is called.
        groups: the layers of each map.
        place: where in the model's output the scores are.
        members: how an ensemble's rows lie, as `outputs.per_image` has it.
        axes: how many the scores have.
        task: how scores and labels are read.
    """

    settings: Settings
    call: Call
    groups: tuple[tuple[TargetLayer, ...], ...]
    place: Path
    members: str
    axes: int
    task: Task

    @property
    def names(self) -> list[str]:
        """A name for each map: its layers' dotted names, joined by "+"."""
        return ["+".join(layer.name for layer in group) for group in self.groups]

    def layers_of(self, model: nn.Module) -> list[list[LayerOfModel]]:
        """Return a model's own layers, group by group."""
        layers, transform = named_layers(model), self.settings.reshape_transform
        return [[layer.in_model(layers, transform) for layer in group] for group in self.groups]

    def known(self, labels: Tensor | None) -> Known:
        """Return labels of all images, (N, ...), with what they say."""
        return Known(labels, self.task.truth(labels))

    def rows_of(self, model: nn.Module, inputs: Inputs) -> tuple[Any, Tensor]:
        """Call a model; return its output and the scores in it, (N, ...)."""
        output = self.call(model, inputs)
        rows = one_an_image(at(output, self.place), len(inputs.images), self.members, self.axes)
        if rows.dim() > 2 and not self.task.is_dense:
            rows = rows.flatten(1)
        if len(rows) != len(inputs.images):
            raise RuntimeError(f"the model returned {len(rows)} rows of scores for {len(inputs.images)} images")
        return output, rows


def make_plan(
    model: nn.Module,
    inputs: Inputs,
    labels: Tensor | None,
    settings: Settings,
    counts: Collection[int] = (),
    named: int = 0,
) -> Plan:
    """Find how the model is called, the layers, the scores and the task, by a trial of two images and all labels.

    Args:
        model: a lent model.
        inputs: N images, on any device, with the batch that they came in.
        labels: (N, ...) or None.
        settings: what to make.
        counts: how many classes there are, as the data tell.
        named: how many classes are given names, which tells where there are as many outputs.

    Raises:
        SettingError: a setting that does not fit the model, with the argument's name.
    """
    settings.check_output(model)
    evidence = evidence_of(model, counts, "")
    few, trial = _tried(model, inputs, labels, settings, evidence)
    scores = one_an_image(trial.scores, len(few.images), trial.members, trial.scores.dim())
    counted = evidence.counts | ({named} & set(scores.shape[1:2]))
    evidence = replace(evidence, maker=maker_of(trial.scores), counts=counted)
    task = decide(scores, few.images, labels, evidence, settings.task)
    task = replace(task, doubt="; ".join(filter(None, (trial.doubt, task.doubt))))
    check_target_fits(settings.target, task, len(inputs.images))
    check_method_fits(settings.method, task.columns)

    def forward(images: Tensor) -> Tensor:
        return at(trial.call(model, few.instead(images)), trial.place)

    transform = settings.reshape_transform
    groups = [resolve_layers(model, forward, few.images, choice, transform) for choice in settings.layer_groups]
    axes = trial.scores.dim()
    return Plan(settings, trial.call, tuple(map(tuple, groups)), trial.place, trial.members, axes, task)


class _Trial(NamedTuple):
    call: Call
    place: Path
    scores: Tensor
    members: str
    doubt: str


def _tried(
    model: nn.Module, inputs: Inputs, labels: Tensor | None, settings: Settings, evidence: Evidence
) -> tuple[Inputs, _Trial]:
    """Try two images, one twice if it is alone: what a head squeezes away shows. Only one, where memory is short."""
    count = len(inputs.images)
    for rows in ([0, min(1, count - 1)], [0]):
        few = inputs.of(rows).on(model)
        try:
            return few, _try(model, few, labels, settings, evidence)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
    raise AssertionError


def _try(model: nn.Module, few: Inputs, labels: Tensor | None, settings: Settings, evidence: Evidence) -> _Trial:
    """Call the model in one way after the other until it gives scores."""
    tried: list[tuple[Call, Exception]] = []
    for call in ways_to_call(model, few, settings.output):
        try:
            return _trial(model, few, call, labels, evidence)
        except torch.OutOfMemoryError:
            raise
        except Exception as fault:
            traceback.clear_frames(fault.__traceback__)
            tried.append((call, fault))
    raise cannot_be_called(model, few, tried) from tried[0][1]


def _trial(model: nn.Module, few: Inputs, call: Call, labels: Tensor | None, evidence: Evidence) -> _Trial:
    images = _traced(few.images)
    output = call(model, few.instead(images))
    place, scores, doubt = _scores_in(output, few.images, labels, evidence)
    check_differentiable(scores)
    members = per_image(scores, images, lambda: at(call(model, few.of([0])), place))
    return _Trial(call, place, scores, members, doubt)


def _traced(images: Tensor) -> Tensor:
    """Images whose way through the model autograd records, where they are such as can have a gradient."""
    own = images.clone() if images.is_inference() else images.detach()
    return own.requires_grad_() if own.is_floating_point() else own


def _scores_in(output: Any, images: Tensor, labels: Tensor | None, evidence: Evidence) -> tuple[Path, Tensor, str]:
    """Tell which of an output's tensors are the scores; say so where another one could be."""
    found = candidates(output)
    if len(found) > 1:
        found = _fitting(found, images, labels, evidence)
    place, scores = found[0]
    others = [one for one, tensor in found[1:] if tensor is not scores]
    if not others:
        return place, scores, ""
    told = f"of several outputs the scores are taken to be {name_of_place(place)}; output=lambda model, images: model"
    return place, scores, f"{told}(images){name_of_place(others[0])} takes another"


def _fitting(
    found: list[tuple[Path, Tensor]], images: Tensor, labels: Tensor | None, evidence: Evidence
) -> list[tuple[Path, Tensor]]:
    """Those that are scores rather than features: of the labels' kind, made last, of as many classes as there are.

    Where no word is of classes, and one is an image as large as the input, that one: it is rebuilt.
    """
    are_maps = labels is not None and labels.dim() >= 3
    of_classes = bool(set(CLASSES[1:]) & set(evidence.words))
    rules: list[Callable[[Tensor], bool]] = [
        lambda one: one.is_floating_point(),
        lambda one: not any(reaches(other, one) for _, other in found),
        lambda one: bool(evidence.words) and not of_classes and one.shape == images.shape,
        lambda one: (one.dim() >= 3) == are_maps or labels is None,
        lambda one: one.dim() >= 2 and one.shape[1] in evidence.counts,
        lambda one: "multiclass" in evidence.words and one.dim() == 2 and _are_classes(labels, one.shape[1]),
    ]
    for fits in rules:
        found = [pair for pair in found if fits(pair[1])] or found
    return found


def _are_classes(labels: Tensor | None, columns: int) -> bool:
    if labels is None or labels.dim() != 1:
        return False
    known = known_of(as_numbers(labels))
    return columns > 1 and not known.is_floating_point() and bool((known < columns).all())


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
    known = finite[:, None, None, None]
    found = method(torch.where(known, activations, 0), torch.where(known, gradients, 0), eigen_smooth).relu()
    return torch.where(finite[:, None, None], found, torch.nan)


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
