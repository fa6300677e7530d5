"""The probe's images as they are shown: drawn with any epoch's maps, in training and by `explain`."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from lightning_gradcam.cam import Cams
from lightning_gradcam.render import (
    Pixels,
    Statistics,
    Tile,
    check_channels,
    draw_grid,
    name_of,
    to_caption,
    to_pictures,
)
from lightning_gradcam.targets import truths


@dataclass(frozen=True)
class Album:
    """Images to draw maps over.

    Attributes:
        pictures: one (H, W, 3) an image, as people see it.
        truths: each image's classes, or its value in a regression.
        class_names: a name for each class, or None.
    """

    pictures: Sequence[Pixels]
    truths: Sequence[list[int] | float]
    class_names: Sequence[str] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.pictures[0].shape[0], self.pictures[0].shape[1]

    def grid(self, cams: Cams, heatmaps: Tensor, subtitle: str, columns: Sequence[int] = ()) -> Image.Image:
        """Draw a layer's heatmaps, (N, T, H, W) in 0..1, over the images; `columns` are the classes of several."""
        names = self.class_names
        rows = zip(self.truths, cams.predictions.tolist(), cams.scores.tolist(), strict=True)
        captions = [to_caption(*row, names) for row in rows]
        parts = zip(self.pictures, heatmaps.numpy(), cams.peaks.numpy(), captions, strict=True)
        return draw_grid([Tile(*part) for part in parts], cams.layer, subtitle, [name_of(c, names) for c in columns])


def make_album(
    images: Tensor,
    labels: Tensor | None,
    mean: Statistics | None,
    std: Statistics | None,
    class_names: Sequence[str] | None = None,
) -> Album:
    """Make the images, (N, C, H, W), what people see again.

    Raises:
        SettingError: mean or std of another length than the images have channels.
    """
    check_channels(mean, std, images.shape[1])
    pixels = images.float() if images.is_floating_point() else images
    return Album(to_pictures(pixels.cpu().numpy(), mean, std), truths(labels, len(images)), class_names)
