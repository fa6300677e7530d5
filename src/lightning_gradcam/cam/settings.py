"""What a map is to be made of, checked as far as that goes without a model."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from lightning_gradcam.cam.borrowed import CamClass, augments, borrowed_class, borrowed_names, differentiates_twice
from lightning_gradcam.cam.calls import Output
from lightning_gradcam.cam.layers import LayerChoice
from lightning_gradcam.cam.layouts import Reader
from lightning_gradcam.cam.methods import METHODS, RELEVANCE, is_own
from lightning_gradcam.cam.targets import Target, check_target, classes_of
from lightning_gradcam.cam.tasks import check_task
from lightning_gradcam.errors import SettingError, nearest, quoted
from lightning_gradcam.values import plain

_SWITCHES = ("aug_smooth", "eigen_smooth", "trust")

LayerChoices = LayerChoice | Sequence[LayerChoice | Sequence[LayerChoice]]


@dataclass(frozen=True)
class Settings:
    """What a map is to be made of; the arguments that the callback and `explain` share, under the same names."""

    target_layer: LayerChoices | None = None
    target: Target = "label"
    method: str | CamClass | None = None
    batch_size: int | None = None
    output: Output | None = None
    reshape_transform: Reader | None = None
    task: str | None = None
    aug_smooth: bool = False
    eigen_smooth: bool = False
    trust: bool = False

    def __post_init__(self) -> None:
        for name in ("target", "batch_size", *_SWITCHES):
            object.__setattr__(self, name, plain(getattr(self, name)))
        check_target(self.target)
        check_task(self.task)
        _check_layers(self.target_layer)
        _check_batch_size(self.batch_size)
        for name in ("reshape_transform", "output"):
            value = getattr(self, name)
            if not (value is None or callable(value) or (name == "output" and isinstance(value, str))):
                also = ", nor the name of a method" if name == "output" else ""
                raise TypeError(f"{name}={quoted(value)} is not callable{also}")
        _check_takes(self.output)
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}={quoted(getattr(self, name))} is neither True nor False")
        _check_method(self)

    @property
    def layer_groups(self) -> Sequence[LayerChoice | Sequence[LayerChoice] | None]:
        """What each map is of: a layer, several to be averaged, or the layer that is found."""
        given = self.target_layer
        return [given] if given is None or isinstance(given, (str, nn.Module)) else given

    @property
    def column_classes(self) -> list[int]:
        """The classes that several targets are; none where there is one target."""
        return classes_of(self.target) if isinstance(self.target, Sequence) else []

    @property
    def targets(self) -> int:
        """How many targets each image has."""
        return max(1, len(self.column_classes))

    @property
    def has_peaks(self) -> bool:
        """Whether maps have a strength; grad-cam's own methods and augmentation smoothing scale it away."""
        return is_own(self.method) and not self.aug_smooth

    @property
    def method_name(self) -> str:
        """The method as captions and checkpoints name it; "None" before one is chosen."""
        return str(getattr(self.method, "__name__", self.method))

    def check_output(self, model: nn.Module) -> None:
        """Refuse the name of a method that the model does not have.

        Raises:
            SettingError: with the nearest of its methods.
        """
        if isinstance(self.output, str) and not callable(getattr(model, self.output, None)):
            methods = [name for name in dir(type(model)) if not name.startswith("_")]
            near = nearest(self.output, methods)
            raise SettingError(f"output={quoted(self.output)} is no method of {type(model).__name__}{near}")


def check_tensor(images: Tensor) -> None:
    """Refuse a tensor that is not (N, C, H, W).

    Raises:
        SettingError: with its shape.
    """
    if images.dim() != 4 or not images.numel():
        raise SettingError(f"images is a tensor {tuple(images.shape)}; accepted is (N, C, H, W) with N >= 1")


def _check_takes(output: object) -> None:
    """Refuse a callable that cannot be given a model and images, where its signature tells."""
    if not callable(output):
        return
    try:
        signature = inspect.signature(output)
    except (TypeError, ValueError):
        return
    for given in ((0, 0), (0, 0, 0)):
        try:
            signature.bind(*given)
        except TypeError:
            continue
        return
    raise SettingError(
        f"output={quoted(output)} takes {signature}; accepted are (model, images) or (model, images, batch)"
    )


def _check_method(settings: Settings) -> None:
    method = settings.method
    if method == RELEVANCE:
        _check_relevance(settings)
    if method is None or is_own(method):
        return
    if isinstance(method, str) and method not in borrowed_names():
        known = list(dict.fromkeys([*METHODS, RELEVANCE, *borrowed_names()]))
        raise SettingError(f"method={quoted(method)} is unknown{nearest(method, known)}; known are {', '.join(known)}")
    cam_class = borrowed_class(method)
    if settings.aug_smooth and not augments(cam_class):
        raise SettingError(
            f"aug_smooth=True: grad-cam's {quoted(method)} takes none; accepted with it is aug_smooth=False"
        )
    groups = [one for one in settings.layer_groups if not (one is None or isinstance(one, (str, nn.Module)))]
    if any(len(group) > 1 for group in groups) and differentiates_twice(cam_class):
        raise SettingError(
            f"target_layer={quoted(settings.target_layer)}: grad-cam's {quoted(method)} averages no layers; accepted "
            "with it are layers of a map each"
        )
    if callable(settings.target):
        raise SettingError(
            f"target={quoted(settings.target)}: method={quoted(method)} is run by grad-cam, which asks for "
            "targets image by image; pass a list of target objects, one an image, or one of the methods "
            f"{', '.join(METHODS)}"
        )


def _check_relevance(settings: Settings) -> None:
    """Refuse what is of a layer."""
    for name, default in (("target_layer", None), ("reshape_transform", None), ("eigen_smooth", False)):
        value = getattr(settings, name)
        if value != default:
            raise SettingError(
                f"{name}={quoted(value)}: method={RELEVANCE!r} is of the attention of all blocks, and of no layer; "
                f"accepted with it is {name}={default}"
            )


def _check_batch_size(size: int | None) -> None:
    if isinstance(size, bool) or not isinstance(size, int | None):
        raise TypeError(f"batch_size={quoted(size)} is not an int; accepted are images a forward pass, 1 or more")
    if size is not None and size < 1:
        raise SettingError(f"batch_size={size} is less than 1; accepted are images a forward pass")


def _check_layers(choices: object, depth: int = 0) -> None:
    if (choices is None and depth == 0) or isinstance(choices, nn.Module) or (isinstance(choices, str) and choices):
        return
    if depth > 1 or isinstance(choices, (str, bytes)) or not isinstance(choices, Sequence):
        raise TypeError(
            f"target_layer={quoted(choices)}: accepted are a dotted name, a module, a sequence of them, sequences "
            "within it whose maps are averaged, or None"
        )
    if not choices:
        raise SettingError("target_layer=[] names no layer; None finds one")
    for choice in choices:
        _check_layers(choice, depth + 1)
