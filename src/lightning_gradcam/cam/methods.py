"""The gradient family of class activation maps: what each makes of a layer's activations and gradients."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> Tensor:
    """Half precision as float32: it carries a gradient, but not the sum over 2,048 channels, and NumPy has no bf16."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


@dataclass(frozen=True)
class Method:
    """A method of the gradient family: how a layer's activations are weighted before they are summed over the channels.

    Attributes:
        weights: (activations, gradients), both (N, C, h, w) -> (N, C, h, w), or (N, C, 1, 1) for whole channels.
        project: take the first principal component over the channels in place of their sum.
        keeps_faults: whether a value that is not finite makes the map so, and need not be looked for in what it is made
            of: a product with it is, even by 0.
    """

    weights: Callable[[Tensor, Tensor], Tensor]
    project: bool = False
    keeps_faults: bool = False

    def __call__(self, activations: Tensor, gradients: Tensor, eigen_smooth: bool = False) -> Tensor:
        """Return the map before its negative part is cut off, (N, h, w)."""
        weights = self.weights(activations, gradients)
        if self.project or eigen_smooth:
            return _first_component(weights * activations)
        if weights.shape[2:] == activations.shape[2:]:
            return (weights * activations).sum(1)
        # a product of matrices: of an early layer's activations no weighted copy is made
        return (weights.flatten(1)[:, None] @ activations.flatten(2)).reshape(-1, *activations.shape[2:])


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their mean gradient (Selvaraju et al., arXiv 1610.02391)."""
    return gradients.mean((2, 3), keepdim=True)


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations weighted by their gradients, position by position (Draelos and Carin, arXiv 2011.08891)."""
    return gradients


def gradcam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by positive gradients, higher orders included (eq. 19 of arXiv 1710.11063)."""
    # divided by the squared gradient, which grad-cam guards with 1e-6: more than the square itself in deep networks
    denominator = 2 + activations.sum((2, 3), keepdim=True) * gradients
    return (gradients.relu() / torch.where(denominator == 0, 1, denominator)).sum((2, 3), keepdim=True)


def xgradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by gradients averaged by activation (Fu et al., arXiv 2008.02312)."""
    total = activations.sum((2, 3), keepdim=True)
    return (gradients * activations / (total + 1e-7)).sum((2, 3), keepdim=True)


def layercam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations weighted by their positive gradients (Jiang et al., IEEE 9462463)."""
    return gradients.relu()


def gradcam_elementwise(activations: Tensor, gradients: Tensor) -> Tensor:
    """Positive products of activation and gradient, summed (grad-cam's GradCAMElementWise)."""
    return torch.where(gradients * activations > 0, gradients, 0)


def eigencam(activations: Tensor, gradients: Tensor) -> Tensor:
    """The activations themselves, for their first principal component (arXiv 2008.00299)."""
    return torch.ones_like(activations[:, :, :1, :1])


METHODS = {
    "gradcam": Method(gradcam, keeps_faults=True),
    "hirescam": Method(hirescam, keeps_faults=True),
    "gradcam++": Method(gradcam_plus_plus),
    "xgradcam": Method(xgradcam),
    "layercam": Method(layercam),
    "gradcam_elementwise": Method(gradcam_elementwise),
    "eigencam": Method(eigencam, project=True),
    "eigengradcam": Method(hirescam, project=True),
}


RELEVANCE = "relevance"  # of all blocks' attention, and of no layer


def is_own(method: object) -> bool:
    """Whether a method, None for the one that fits, is computed here, on the training device; others are grad-cam's."""
    return method is None or (isinstance(method, str) and method in (*METHODS, RELEVANCE))


def _first_component(weighted: Tensor) -> Tensor:
    """Project each image's positions, (C,) each, onto their first principal component, (N, h, w).

    A principal component's sign is arbitrary, and libraries' differ; the one here has its largest value positive
    (eq. 13 of Seg-Eigen-CAM, https://doi.org/10.3390/app15137562), on every device.
    """
    positions = weighted.flatten(2).transpose(1, 2).nan_to_num(0, 0, 0)  # which no decomposition takes
    positions = positions - positions.mean(1, keepdim=True)
    _, _, components = torch.linalg.svd(positions, full_matrices=False)
    projection = (positions @ components[:, 0, :, None])[..., 0]
    flipped = projection.amin(1).abs() > projection.amax(1).abs()
    return torch.where(flipped[:, None], -projection, projection).reshape(-1, *weighted.shape[2:])
