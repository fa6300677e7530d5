"""The probe's images as they are shown: drawn with any epoch's maps, in training and by `explain`."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from lightning_gradcam.cam import Cams
from lightning_gradcam.render import (
    GRID_SIDES,
    Caption,
    Pixels,
    Sides,
    Statistics,
    Tile,
    check_channels,
    draw_grid,
    name_of,
    shown,
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
        about: what the pictures are of, for their headers: target, method.
        class_names: a name for each class, or None.
        columns: with several targets, the classes that they are.
    """

    pictures: Sequence[Pixels]
    truths: Sequence[list[int] | float]
    about: str
    class_names: Sequence[str] | None = None
    columns: Sequence[int] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.pictures[0].shape[0], self.pictures[0].shape[1]

    def at(self, sides: Sides) -> list[Pixels]:
        """Return the pictures with their longer side brought between two sizes."""
        return [shown(picture, sides) for picture in self.pictures]

    def grid(self, cams: Cams, when: str = "", highest: Tensor | None = None) -> Image.Image:
        """Draw a layer's maps over the images.

        Args:
            cams: one epoch's.
            when: the epoch, for the header.
            highest: (N, T) peaks that maps are drawn as shares of; without them each is scaled by itself.
        """
        pictures = self.at(GRID_SIDES)
        heatmaps = cams.heatmaps((pictures[0].shape[0], pictures[0].shape[1]), highest)
        parts = zip(pictures, heatmaps.numpy(), cams.peaks.numpy(), self.captions(cams), strict=True)
        subtitle = "  ·  ".join(part for part in (when, self.about) if part)
        return draw_grid([Tile(*part) for part in parts], cams.layer, subtitle, self.column_names)

    def captions(self, cams: Cams) -> list[Caption]:
        """Return each image's truth and prediction."""
        rows = zip(self.truths, cams.predictions.tolist(), cams.scores.tolist(), strict=True)
        return [to_caption(*row, self.class_names) for row in rows]

    @property
    def column_names(self) -> list[str]:
        """A name for each of several targets."""
        return [name_of(one, self.class_names) for one in self.columns]


def make_album(
    images: Tensor,
    labels: Tensor | None,
    mean: Statistics | None,
    std: Statistics | None,
    about: str,
    class_names: Sequence[str] | None = None,
    columns: Sequence[int] = (),
) -> Album:
    """Make the images, (N, C, H, W), what people see again.

    Raises:
        SettingError: mean or std of another length than the images have channels.
    """
    check_channels(mean, std, images.shape[1])
    pixels = images.float() if images.is_floating_point() else images
    pictures = to_pictures(pixels.cpu().numpy(), mean, std)
    return Album(pictures, truths(labels, len(images)), about, class_names, columns)
