"""How a layer's output lies in memory, told from its shape."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from torch import Tensor

Reader = Callable[[Tensor], Tensor]  # a layer's output -> (N, C, h, w)

_MOST_PREFIX = 32  # class, distillation and register tokens
_MOST_LOST = 8  # places along a side, by convolutions without padding


@dataclass(frozen=True)
class Layout:
    """How a layer's output lies in memory, and the grid of positions in it.

    Attributes:
        axes: "NCHW", "NHWC", "NLC" (tokens) or "LNC" (tokens, sequence first).
        grid: (h, w), in positions.
        prefix: tokens in front of the grid's: class, distillation, registers. What is behind it is left out too.
    """

    axes: str
    grid: tuple[int, int]
    prefix: int = 0

    @property
    def is_of_tokens(self) -> bool:
        """Whether the output is rows of tokens."""
        return self.axes in ("NLC", "LNC")

    def reads(self, length: int) -> bool:
        """Whether so many tokens may be read by it."""
        places = self.grid[0] * self.grid[1]
        return self.is_of_tokens and self.prefix + places <= length <= places + _MOST_PREFIX

    def __call__(self, output: Tensor) -> Tensor:
        """Read the output as (N, C, h, w)."""
        if self.axes == "NCHW":
            return output
        if self.axes == "NHWC":
            return output.permute(0, 3, 1, 2)
        tokens = output.transpose(0, 1) if self.axes == "LNC" else output
        patches = tokens[:, self.prefix : self.prefix + self.grid[0] * self.grid[1]].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.grid)


def read_layout(
    shape: Sequence[int],
    batch: int,
    image_size: tuple[int, int],
    grids: Iterable[tuple[int, int]] = (),
    axes: str = "NCHW",
) -> Layout | None:
    """Tell from its shape how a layer's output is to be read, or None where it is no map of the image.

    Args:
        shape: the output's shape.
        batch: images in the forward pass.
        image_size: (H, W) of the images; a map has their aspect ratio, but for rounding, and for the places along both
            sides that convolutions without padding lose.
        grids: of the model's maps: tokens are first taken for such a one's, behind their prefix.
        axes: "NCHW" or "NHWC", where the shape may be either.
    """
    if len(shape) == 4 and shape[0] == batch:
        layouts = [Layout("NCHW", (shape[2], shape[3])), Layout("NHWC", (shape[1], shape[2]))]
        for most in (0, _MOST_LOST):
            fitting = [layout for layout in layouts if _misfit(layout.grid, image_size, most) < 1]
            if fitting:
                return next((layout for layout in fitting if layout.axes == axes), fitting[0])
        return None
    if len(shape) == 3 and batch in shape[:2]:
        axes = "NLC" if shape[0] == batch else "LNC"
        length = shape[1] if axes == "NLC" else shape[0]
        grid = _finest(grids, length) or _finest(_grids(image_size), length)
        return Layout(axes, grid, prefix=length - grid[0] * grid[1]) if grid else None
    return None


def _misfit(grid: tuple[int, int], image_size: tuple[int, int], most_lost: int) -> float:
    """By how many positions a side of the grid is off the image's aspect ratio, from the other side."""
    height, width = image_size
    sides = [(grid[0] + lost, grid[1] + lost) for lost in range(most_lost + 1)]
    return min(min(abs(h * width / height - w), abs(w * height / width - h)) for h, w in sides)


def _grids(image_size: tuple[int, int]) -> set[tuple[int, int]]:
    """The grids of patches of any stride."""
    height, width = image_size
    strides = range(1, min(image_size) + 1)
    return {(side(height / s), side(width / s)) for s in strides for side in (int, ceil)}


def _finest(grids: Iterable[tuple[int, int]], length: int) -> tuple[int, int] | None:
    """Return the finest grid that rows are tokens of, but for some prefix tokens: other rows, as anchors, are none."""
    fitting = [(h, w) for h, w in grids if h * w <= length < 2 * h * w and length <= h * w + _MOST_PREFIX]
    return max(fitting, key=lambda grid: grid[0] * grid[1], default=None)
