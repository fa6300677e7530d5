"""The methods that are grad-cam's own: any of its classes, or a subclass of the user's, run on a lent model."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gradcam.cam.layers import LayerOfModel
from lightning_gradcam.cam.layouts import Layout, Reader
from lightning_gradcam.cam.methods import full_precision, is_own
from lightning_gradcam.cam.targets import Objective
from lightning_gradcam.errors import SettingError, quoted

# grad-cam ships no types, and is imported only when a method of its is asked for: it takes seconds
CamClass = type[Any]
ImageTarget = Callable[[Tensor], Tensor]


@cache
def _classes() -> dict[str, CamClass]:
    import pytorch_grad_cam

    return {
        name.lower().replace("_", ""): member
        for name, member in vars(pytorch_grad_cam).items()
        if inspect.isclass(member) and _is_cam(member)
    }


def _is_cam(member: CamClass) -> bool:
    """Whether a class is built and called as grad-cam's are; FinerCAM and others have no common base."""
    return callable(getattr(member, "forward", None)) and "target_layers" in inspect.signature(member).parameters


def borrowed_names() -> list[str]:
    """Names of grad-cam's methods: its classes' names in lower case, without underscores."""
    return sorted(_classes())


def borrowed_class(method: object) -> CamClass:
    """Return grad-cam's class for a name, or the class itself.

    Raises:
        TypeError: neither a known name nor a class like `pytorch_grad_cam.base_cam.BaseCAM`.
    """
    if isinstance(method, str) and method in _classes():
        return _classes()[method]
    if not (inspect.isclass(method) and _is_cam(method)):
        raise TypeError(
            f"method={quoted(method)}: accepted are a method's name or a subclass of pytorch_grad_cam's BaseCAM"
        )
    return method


def augments(cam_class: CamClass) -> bool:
    """Whether a class of grad-cam takes `aug_smooth`."""
    from pytorch_grad_cam.base_cam import BaseCAM

    return issubclass(cam_class, BaseCAM)


def differentiates_twice(cam_class: CamClass) -> bool:
    """Whether a class of grad-cam takes the gradient of a gradient, which it can do for one layer a map alone."""
    from pytorch_grad_cam import ShapleyCAM

    return issubclass(cam_class, ShapleyCAM)


def check_method_fits(method: str | CamClass | None, columns: int) -> None:
    """Refuse a method that compares classes where there are none.

    Raises:
        SettingError: with one that does not.
    """
    if is_own(method):
        return
    from pytorch_grad_cam import FinerCAM

    if columns < 2 and issubclass(borrowed_class(method), FinerCAM):
        raise SettingError(
            f"method={quoted(method)} tells a class from those that are most like it, and this model has a single "
            "value an image; accepted here is one of the others, as 'gradcam'"
        )


def class_targets(cam_class: CamClass, values: Tensor, wanted: Objective) -> list[list[ImageTarget]]:
    """Return one target an image and column for grad-cam: what is wanted, for Finer-CAM as it differs from the next.

    Args:
        cam_class: grad-cam's class.
        values: (N, K) scores.
        wanted: of these scores: a class's, a sum of several, or where there are no classes their squared norm.
    """
    if wanted.weights is None:
        return [[_squared_norm] * len(values)]
    columns = zip(wanted.classes.T, wanted.weights.transpose(0, 1), strict=True)
    return [
        _of_classes(cam_class, values, classes.tolist()) if bool((classes >= 0).all()) else [*map(_Weighted, weights)]
        for classes, weights in columns
    ]


def _squared_norm(row: Tensor) -> Tensor:
    return row.square().sum()


class _Weighted:
    """A target of several scores."""

    def __init__(self, weights: Tensor) -> None:
        self._weights = weights

    def __call__(self, row: Tensor) -> Tensor:
        return (row * self._weights.to(row)).sum()


def _of_classes(cam_class: CamClass, values: Tensor, classes: Sequence[int]) -> list[ImageTarget]:
    from pytorch_grad_cam import FinerCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget, FinerWeightedTarget

    if not issubclass(cam_class, FinerCAM):
        return [ClassifierOutputTarget(category) for category in classes]
    own = values.gather(1, torch.tensor(classes, device=values.device)[:, None])
    alike = (values - own).abs().argsort(1)[:, 1:4].tolist()
    return [FinerWeightedTarget(category, others, 1) for category, others in zip(classes, alike, strict=True)]


def borrowed_heatmaps(
    cam_class: CamClass,
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    layers: Sequence[LayerOfModel],
    targets: Sequence[ImageTarget],
    **smoothing: bool,
) -> Tensor:
    """Run a class of grad-cam on a lent model.

    Its hooks lie between ours: before them gradients open and half precision becomes float32, which NumPy can read;
    behind them a copy goes on, so that no in-place operation overwrites what they kept.

    Args:
        cam_class: grad-cam's class.
        model: the lent model.
        forward: images -> scores (N, K).
        images: (N, C, H, W) on the model's device.
        layers: the target layers, averaged into one map.
        targets: one an image.
        smoothing: `eigen_smooth`, and `aug_smooth` where the class takes it.

    Returns:
        (N, H, W) float32 in 0..1, on the CPU.
    """
    if differentiates_twice(cam_class):  # behind a layer that acts linearly, only weights give a gradient a graph
        for weight in model.parameters():
            weight.requires_grad_(weight.is_floating_point())
    adapter = _Adapter(model, forward, layers)
    cam = cam_class(
        model=adapter,
        target_layers=[layer.module for layer in layers],
        reshape_transform=None if all(map(_is_channels_first, layers)) else adapter.read,
    )
    with ExitStack() as stack:
        for inner in _inner_cams(cam):
            stack.callback(inner.activations_and_grads.release)
        for module in dict.fromkeys(module for inner in _inner_cams(cam) for module in inner.target_layers):
            stack.callback(module.register_forward_hook(adapter.before_hooks, prepend=True).remove)
            stack.callback(module.register_forward_hook(adapter.behind_hooks).remove)
        heatmaps = cam(images, list(targets), **smoothing)
    return torch.from_numpy(heatmaps).float()


def _inner_cams(cam: Any) -> list[Any]:
    """The CAMs that hold hooks: a method that builds on others has those."""
    return list(getattr(cam, "base_cam_per_layer", [getattr(cam, "base_cam", cam)]))


def _is_channels_first(layer: LayerOfModel) -> bool:
    return isinstance(layer.read, Layout) and layer.read.axes == "NCHW"


class _Adapter(nn.Module):
    """The lent model as grad-cam expects one: called on images, it returns scores that NumPy can read."""

    def __init__(self, model: nn.Module, forward: Callable[[Tensor], Tensor], layers: Sequence[LayerOfModel]) -> None:
        super().__init__()
        self.model = model
        self._forward = forward
        self._differentiated = False
        self._dtypes: dict[int, torch.dtype] = {}  # by the module's id: its own hash may change while it runs
        self._readers = {id(layer.module): layer.read for layer in layers}
        self._readers_by_shape: dict[torch.Size, Reader] = {}

    def forward(self, images: Tensor) -> Tensor:
        self._differentiated = torch.is_grad_enabled()  # not so in the hundreds of passes of a ScoreCAM
        return full_precision(self._forward(images))

    def read(self, output: Tensor) -> Tensor:
        """Read what grad-cam kept of one of the layers, or a gradient of it, which it does not say of which."""
        return self._readers_by_shape[output.shape](output)

    def before_hooks(self, module: nn.Module, inputs: object, output: Any) -> Any:
        if isinstance(output, Tensor) and id(module) in self._readers:
            self._readers_by_shape[output.shape] = self._readers[id(module)]
        if not (self._differentiated and isinstance(output, Tensor) and output.is_floating_point()):
            return None
        torch.set_grad_enabled(True)  # also within a forward that runs its backbone under no_grad
        self._dtypes[id(module)] = output.dtype
        return full_precision(output if output.requires_grad else output.detach().requires_grad_())

    def behind_hooks(self, module: nn.Module, inputs: object, output: Any) -> Any:
        if not (self._differentiated and isinstance(output, Tensor) and id(module) in self._dtypes):
            return None
        return output.to(self._dtypes[id(module)], copy=True)

    def eval(self) -> "_Adapter":
        return self  # lent models are in evaluation mode; a module's own train() may do more than to set the flag
