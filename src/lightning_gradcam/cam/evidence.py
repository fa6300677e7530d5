"""What tells tasks apart besides scores and labels: what a module says of itself, by its losses and metrics."""

import types
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from lightning_gradcam.cam.labels import VOID
from lightning_gradcam.cam.tasks import CLASSES
from lightning_gradcam.values import held


@dataclass(frozen=True)
class Evidence:
    """What tells tasks apart besides shapes and labels.

    Attributes:
        words: the tasks that the module's own losses and metrics are for, and by which; "none" of embeddings' losses.
        counts: numbers of classes that its metrics, its data or names of its outputs tell.
        maker: the operation that made the scores.
        ignored: the label that its losses leave out.
        trains: whether the module has a step of its own, whose losses would be known.
    """

    words: dict[str, str]
    counts: frozenset[int] = frozenset()
    maker: str = ""
    ignored: int | None = None
    trains: bool = False

    def says(self, *kinds: str) -> bool:
        """Whether the module's own words are of these kinds, and of no other."""
        return bool(self.words) and set(self.words) <= set(kinds)

    @property
    def is_of_classes(self) -> bool:
        """Whether any of the module's own words is of classes."""
        return bool(set(CLASSES) & set(self.words))

    def reason(self, kind: str) -> str:
        """Say which loss or metric tells a task."""
        return f"its {self.words[kind]}"


_LOSSES = {
    "multiclass": ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "cross_entropy", "nll_loss"),
    "binary": (
        *("BCEWithLogitsLoss", "BCELoss", "MultiLabelSoftMarginLoss"),
        *("binary_cross_entropy_with_logits", "binary_cross_entropy", "multilabel_soft_margin_loss"),
        *("sigmoid_focal_loss",),
    ),
    "none": (
        *("TripletMarginLoss", "TripletMarginWithDistanceLoss", "CosineEmbeddingLoss"),
        *("triplet_margin_loss", "triplet_margin_with_distance_loss", "cosine_embedding_loss"),
    ),
    "regression": (
        *("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "GaussianNLLLoss", "PoissonNLLLoss"),
        *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "poisson_nll_loss"),
    ),
}
_EMBEDDING = ("pytorch_metric_learning.", "lightly.loss")  # packages whose losses are of embeddings
_OF_LOSSES = {name: kind for kind, names in _LOSSES.items() for name in names}
_USUALLY_IGNORED = VOID[1]  # torch's default, which is no word of the module's
_STEPS = ("training_step", "validation_step")


def evidence_of(model: nn.Module, counts: Collection[int], maker: str) -> Evidence:
    """Ask a model for its losses and metrics: what it holds, and the functions that its steps name."""
    words: dict[str, str] = {}
    counts = set(counts)
    losses = [one for one in model.modules() if _of_loss(one)]
    parts = {part for one in losses for part in one.modules() if part is not one}  # of other losses: none of their own
    for one in model.modules():
        kind = None if one in parts else _of_metric(one) or _of_loss(one)
        if kind:
            words.setdefault(kind, type(one).__name__)
        if kind or held(one, "config") is not None:  # transformers' classifiers know their number
            told = (held(one, name) for name in ("num_classes", "num_labels"))
            counts |= {count for count in told if type(count) is int and count > 0}
    for function in (*_functions_held(model), *_functions_named(model)):
        if function in _OF_LOSSES:
            words.setdefault(_OF_LOSSES[function], function)
    ignored = {getattr(one, "ignore_index", None) for one in losses} - {None, _USUALLY_IGNORED}
    trains = any(_steps(model))
    return Evidence(words, frozenset(counts), maker, ignored.pop() if len(ignored) == 1 else None, trains)


def _of_loss(one: nn.Module) -> str | None:
    name, module = type(one).__name__, type(one).__module__
    if module.startswith("torch.nn"):
        return _OF_LOSSES.get(name)
    if module.startswith(_EMBEDDING) and "loss" in name.lower():
        return "none"
    mode = getattr(one, "mode", None)  # as segmentation_models_pytorch's losses have it
    return mode if isinstance(mode, str) and mode in CLASSES and name.endswith("Loss") else None


def _of_metric(one: nn.Module) -> str | None:
    if not type(one).__module__.startswith("torchmetrics."):
        return None
    name, module = type(one).__name__.lower(), type(one).__module__
    if ".regression" in module or ".segmentation" in module:
        return module.split(".")[1]
    return next((kind for kind in CLASSES if name.startswith(kind)), None)


def _functions_held(model: nn.Module) -> Iterator[str]:
    for one in vars(model).values():
        if isinstance(one, types.FunctionType):
            yield one.__name__


def validated_alone(model: nn.Module) -> list[str]:
    """Return the children that validation uses and neither training nor `forward` do, copies of another: averages."""
    said = {step: set(_functions_named(model, (step,))) for step in (*_STEPS, "forward")}
    shapes = {name: [one.shape for one in child.parameters()] for name, child in model.named_children()}
    alone = said["validation_step"] - said["training_step"] - said["forward"]
    return [
        name
        for name, own in shapes.items()
        if name in alone and own and any(own == other for one, other in shapes.items() if one != name)
    ]


def _functions_named(model: nn.Module, steps: Sequence[str] = _STEPS) -> Iterator[str]:
    """The names in its steps, and in the functions of the same package that these call."""
    waiting, seen = list(_steps(model, steps)), set[types.FunctionType]()
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        for name in _names_in(function.__code__):
            yield name
            called = getattr(type(model), name, None) or function.__globals__.get(name)
            if isinstance(called, types.FunctionType) and name != "forward" and _are_together(function, called):
                waiting.append(called)


def _steps(model: nn.Module, steps: Sequence[str] = _STEPS) -> Iterator[types.FunctionType]:
    for step in steps:
        function = getattr(type(model), step, None)
        if isinstance(function, types.FunctionType) and not _is_lightnings(function):
            yield function


def _are_together(*functions: types.FunctionType) -> bool:
    return len({str(one.__module__).partition(".")[0] for one in functions}) == 1


def _is_lightnings(function: types.FunctionType) -> bool:
    return str(function.__module__).startswith(("pytorch_lightning.", "lightning."))


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names_in(inner)
