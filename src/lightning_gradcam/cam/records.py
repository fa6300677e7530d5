"""What a forward pass leaves to make maps of: a few layers' outputs, or the attention of all blocks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lightning_gradcam.cam.attention import Attentions, relevance
from lightning_gradcam.cam.layers import Capture, Groups, LayerOfModel, capture
from lightning_gradcam.cam.layouts import Layout
from lightning_gradcam.cam.maps import averaged, divided
from lightning_gradcam.cam.methods import METHODS, Method, full_precision
from lightning_gradcam.cam.plan import Plan


class Record(Protocol):
    """What a forward pass left."""

    @property
    def points(self) -> list[Tensor]:
        """What to differentiate by."""

    def maps(self, gradients: Sequence[Sequence[Tensor]], size: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
        """Return the maps of each layer, or group of layers that are averaged.

        Args:
            gradients: of each of T targets, at each of the points.
            size: (H, W) of the images, at which maps are averaged.

        Returns:
            Maps, (N, T, h, w) in 0..1, and their peaks, (N, T).
        """


@contextmanager
def recorded(plan: Plan, groups: Groups) -> Iterator[Record]:
    """Record what a plan's maps are made of, its layers in the model, in the forward passes inside."""
    if plan.tokens:
        with Attentions() as attentions:
            yield _Blocks(attentions, plan.tokens)
        return
    with capture({layer.name: layer.module for group in groups for layer in group}, Capture()) as captured:
        yield _Layers(captured, groups, METHODS[plan.method or ""], plan.settings.eigen_smooth)


@dataclass(frozen=True)
class _Blocks:
    attentions: Attentions
    tokens: Layout

    @property
    def points(self) -> list[Tensor]:
        if not self.attentions.seen:
            raise RuntimeError("no attention was computed in this forward pass")
        return [one.point for one in self.attentions.seen]

    def maps(self, gradients: Sequence[Sequence[Tensor]], size: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
        found = torch.stack([relevance(self.attentions.seen, one, self.tokens) for one in gradients], dim=1)
        return [divided(found.detach())]


@dataclass(frozen=True)
class _Layers:
    captured: Capture
    groups: Groups
    method: Method
    eigen_smooth: bool

    @property
    def points(self) -> list[Tensor]:
        return list(self.captured.outputs.values())

    def maps(self, gradients: Sequence[Sequence[Tensor]], size: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
        raw = [[self._raw(layer, gradients) for layer in group] for group in self.groups]
        return [divided(group[0]) if len(group) == 1 else averaged(group, size) for group in raw]

    def _raw(self, layer: LayerOfModel, gradients: Sequence[Sequence[Tensor]]) -> Tensor:
        """The layer's maps before dividing by their peaks, (N, T, h, w)."""
        outputs = self.captured.outputs
        if layer.name not in outputs:
            raise RuntimeError(f"the target layer {layer.name!r} was not called in this forward pass")
        place = list(outputs).index(layer.name)
        activations = full_precision(layer.read(outputs[layer.name].detach()))
        keeps_faults = self.method.keeps_faults and not self.eigen_smooth
        are_finite = None if keeps_faults else _are_finite(activations)

        def one_targets(gradients: Tensor) -> Tensor:
            """NaN where not all that it is made of is finite, which no method hides."""
            found = self.method(activations, gradients, self.eigen_smooth)
            known = _are_finite(found) if are_finite is None else are_finite & _are_finite(gradients)
            return torch.where(known[:, None, None], found.relu(), torch.nan)

        return torch.stack([one_targets(full_precision(layer.read(one[place]))) for one in gradients], dim=1)


def _are_finite(values: Tensor) -> Tensor:
    """Whether all of an image's values are, (N,) of (N, ...), as their sum tells: one reading, and no copy."""
    return values.sum(tuple(range(1, values.dim()))).isfinite()
