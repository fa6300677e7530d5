"""What is done at each look, told once by a trial: the call, where the scores are, their task, and the layers."""

import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.attention import AT_ONCE, ATTENTION, Attentions, tokens_in
from lightning_gradcam.cam.borrowed import check_method_fits
from lightning_gradcam.cam.calls import Call, Inputs
from lightning_gradcam.cam.evidence import Evidence, evidence_of
from lightning_gradcam.cam.finding import last, layouts_in, named, unmixed
from lightning_gradcam.cam.labels import as_numbers, known_of
from lightning_gradcam.cam.layers import Groups, TargetLayer, named_layers
from lightning_gradcam.cam.layouts import Layout
from lightning_gradcam.cam.methods import RELEVANCE, is_own
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
from lightning_gradcam.cam.targets import check_target_fits
from lightning_gradcam.cam.tasks import CLASSES, Task
from lightning_gradcam.cam.telling import decide
from lightning_gradcam.cam.trees import Path
from lightning_gradcam.cam.trust import has_rivals
from lightning_gradcam.cam.ways import cannot_be_called, ways_to_call

# Images in a forward pass where nothing is asked: 32, and of small ones, whose passes are overhead, as many as hold so
# many values, or 128.
_FEWEST, _MOST, _VALUES = 32, 128, 400_000


class Known(NamedTuple):
    """Labels, and what they say: read once for all images, since what some of them say depends on the others."""

    labels: Tensor | None
    truth: Tensor | None

    def of(self, rows: slice) -> "Known":
        """Return some images'."""
        return Known(*(None if one is None else one[rows] for one in self))


UNNAMED = "gradcam", "gradcam_elementwise"  # where no method is named: at layers that suit Grad-CAM, and at others


@dataclass(frozen=True)
class Plan:
    """What is done at each look, told by a trial: how the model is called, the layers, the scores, and the task.

    Attributes:
        settings: what was asked for.
        call: how the model is called.
        method: the one of ours that was asked for or, with None, fits; None where it is grad-cam's.
        groups: the layers of each map; none where it is of attention.
        tokens: how patches lie in the tokens that all blocks attend over, where the map is of their attention.
        place: where in the model's output the scores are.
        members: how an ensemble's rows lie, as `outputs.per_image` has it.
        axes: how many the scores have.
        task: how scores and labels are read.
        has_rivals: whether there are other classes than the target's, whose maps can be compared with its.
    """

    settings: Settings
    call: Call
    method: str | None
    groups: tuple[tuple[TargetLayer, ...], ...]
    tokens: Layout | None
    place: Path
    members: str
    axes: int
    task: Task
    has_rivals: bool

    @property
    def names(self) -> list[str]:
        """A name for each map: its layers' dotted names, joined by "+"; "attention" of all blocks'."""
        return [ATTENTION] if self.tokens else ["+".join(layer.name for layer in group) for group in self.groups]

    @property
    def method_name(self) -> str:
        """The method as captions name it."""
        return self.method or self.settings.method_name

    @property
    def is_unmixed(self) -> bool:
        """Whether, with nothing asked for, the layer is one in front of all attention."""
        settings = self.settings
        is_found = settings.method is None and settings.target_layer is None
        return is_found and any(layer.mixes for group in self.groups for layer in group)

    def at_once(self, images: Tensor) -> int:
        """Images in a forward pass: few where all that lies behind the first attention is kept to go back."""
        if self.settings.batch_size is not None:
            return self.settings.batch_size
        if self.tokens is not None or self.is_unmixed:
            return AT_ONCE
        return min(max(_FEWEST, _VALUES // max(1, images[:1].numel())), _MOST)

    def layers_of(self, model: nn.Module) -> Groups:
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

    method, layers, tokens = _looked_at(model, forward, few.images, settings)
    axes, rivals = trial.scores.dim(), has_rivals(settings.target, task, scores)
    return Plan(settings, trial.call, method, layers, tokens, trial.place, trial.members, axes, task, rivals)


def _looked_at(
    model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, settings: Settings
) -> tuple[str | None, tuple[tuple[TargetLayer, ...], ...], Layout | None]:
    """Find the method of ours, and the layers or the tokens that it is of.

    With none asked for Grad-CAM at layers that suit it, the positive products of activation and gradient at others;
    with no layer asked for either, one that nothing has mixed yet.
    """
    if settings.method == RELEVANCE:
        return RELEVANCE, (), _attended(model, forward, images)
    choices, transform = settings.layer_groups, settings.reshape_transform
    if settings.method is None and settings.target_layer is None and transform is None:
        groups: tuple[tuple[TargetLayer, ...], ...] = ((unmixed(model, forward, images),),)
    else:
        groups = tuple(
            (last(model, forward, images, transform),)
            if choice is None
            else tuple(named(model, forward, images, choice, transform))
            for choice in choices
        )
    if settings.method is not None:
        return str(settings.method) if is_own(settings.method) else None, groups, None
    suits = all(layer.suits_gradcam for group in groups for layer in group)
    return UNNAMED[0 if suits else 1], groups, None


def _attended(model: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor) -> Layout:
    attentions = Attentions()
    layouts, scores = layouts_in(model, forward, images, attentions)
    return tokens_in(attentions, scores, len(images), layouts)


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
