"""Pictures, decoded and measured."""

import io

import numpy as np
import pytest
from PIL import Image

from lightning_gradcam.cam.states import BLANK, NOT_FINITE, SHOWN
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.pictures.captions import Answer, to_caption
from lightning_gradcam.pictures.grid import GRID_SIDES, Tile, draw_grid
from lightning_gradcam.pictures.looks import Caption
from lightning_gradcam.pictures.render import GAP, HEADER, fitted, overlay, to_jpeg


def tile(size: int = 32, heat: float = 0.5, state: int = SHOWN, caption: str = "true 1", wrong: bool = False) -> Tile:
    original = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    picture = fitted(original, GRID_SIDES)
    heatmaps = np.full((1, *picture.shape[:2]), heat, np.float32)
    return Tile(picture, heatmaps, np.array([state], np.uint8), Caption("", caption, wrong))


@pytest.mark.parametrize("shade", [0, 64, 128, 255])
def test_heat_is_yellow_where_strong_and_the_picture_where_not(shade) -> None:
    """By WCAG's luminance: on a dark picture it only gets brighter, and of any the cold part is as it was."""
    gray = np.full((1, 256, 3), shade, np.uint8)
    row = overlay(gray, np.linspace(0, 1, 256)[None])[0].astype(int)
    hot = row[-1]
    assert min(hot[0], hot[1]) > hot[2] + 100
    assert (row[0] == shade).all()
    linear = np.where(row / 255 <= 0.03928, row / 255 / 12.92, ((row / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert luminance[128:].argmax() == 127 or shade == 255
    if shade == 0:
        assert (np.diff(luminance) > -0.002).all()  # rounded to whole colours


@pytest.mark.parametrize(("size", "side"), [(28, 168), (32, 160), (64, 192), (224, 224), (1024, 256)])
def test_small_images_are_enlarged_and_large_ones_reduced(size, side) -> None:
    """By whole factors, so that each pixel stays a square."""
    grid = draw_grid([tile(size)], "layer4", "epoch 1")
    assert grid.width == 2 * side + 2 * GAP


def test_cells_lie_on_jpegs_raster() -> None:
    """So that a picture's pixels do not depend on its neighbours'."""
    cells = []
    for heat, caption in ((0.1, "true 1"), (0.9, "another")):
        page = draw_grid([tile(28, heat, caption=caption)] * 3, "layer", f"epoch {heat}")
        decoded = np.asarray(Image.open(io.BytesIO(to_jpeg(page))))
        cells.append(decoded[HEADER : HEADER + 168, GAP : GAP + 168])
    assert (cells[0] == cells[1]).all()


@pytest.mark.parametrize("state", [BLANK, NOT_FINITE])
def test_a_blank_or_infinite_map_is_gray_and_says_so(state) -> None:
    """No colour anywhere in its cell."""
    grid = np.asarray(draw_grid([tile(32, 0.5, state)], "layer", "epoch 0")).astype(int)
    cell = grid[HEADER : HEADER + 160, GAP + 160 : GAP + 320]
    assert np.abs(cell[..., 0] - cell[..., 2]).max() == 0
    assert (cell[70:90] < 60).any()  # the words


def test_wrong_predictions_are_marked() -> None:
    """In red, with a sign."""
    caption = to_caption(Task("multiclass", 3), [1], Answer(2, [0.83], 1), ["cat", "dog", "fox"])
    assert caption == Caption("true dog", "predicted fox (83%)", wrong=True)
    assert caption.text == "true dog · predicted fox (83%)"
    right = np.asarray(draw_grid([tile()], "layer", "epoch 0"))
    wrong = np.asarray(draw_grid([tile(wrong=True)], "layer", "epoch 0"))
    below = slice(HEADER + 160, HEADER + 184)
    assert np.abs(right[below, :, 0].astype(int) - right[below, :, 2]).max() == 0
    assert (wrong[below, :, 0].astype(int) - wrong[below, :, 2] > 100).any()


def test_captions() -> None:
    """Numbers where there are no names; several classes; no label."""
    classes, several = Task("multiclass", 5), Task("multilabel", 3)
    assert to_caption(classes, [3], Answer(3, [1.0], 3), None) == Caption("true 3", "predicted 3 (100%)")
    assert to_caption(classes, [], Answer(4, [float("nan")], 4), None) == Caption("", "predicted 4")
    caption = to_caption(several, [0, 2], Answer(2, [0.5], -1), ["a", "b", "c"])
    assert caption == Caption("true a, c", "predicted c (50%)", wrong=True)  # more likely not there
    for truth, told, wrong in (([0, 2], 0.51, False), ([0], 0.9, True), ([], 0.9, True), ([], 0.1, False)):
        assert to_caption(several, truth, Answer(2, [told], -1), None).wrong == wrong
    assert not to_caption(several, [], Answer(2, [0.9], -1), None, labelled=False).wrong


def test_captions_of_values_of_pixels_and_of_neither() -> None:
    """None of these is wrong by itself."""
    values, road = Task("regression", 4), Task("segmentation", 3, is_dense=True)
    caption = to_caption(values, [1.5, 2, -3, 0.25], Answer(0, [1.25, 2.5, -3, 1e6], -1), None)
    assert caption == Caption("true 1.5, 2, …", "predicted 1.25, 2.5, …")
    caption = to_caption(road, [2, 0], Answer(0, [0.834], 2), ["sky", "car", "road"])
    assert caption == Caption("true road, sky", "road: IoU 0.83")
    assert to_caption(road, [], Answer(1, [0.6], 1), None) == Caption("", "predicted mostly 1 (60%)")
    foreground = Task("segmentation", 2, is_dense=True)
    assert to_caption(foreground, [0, 1], Answer(0, [0.5], 1), None) == Caption("", "foreground: IoU 0.50")
    nothing = to_caption(foreground, [0], Answer(0, [float("nan")], 1), ["wall", "crack"])
    assert nothing == Caption("", "crack: none there, none found")
    embedding, rebuilt = Task("none", 128), Task("none", 3, is_dense=True)
    assert to_caption(embedding, [2], Answer(0, [12.34], -1), None) == Caption(
        "true 2", "squared norm of the output 12.3"
    )
    assert to_caption(rebuilt, [], Answer(0, [0.01234], -1), None) == Caption("", "squared error 0.0123")


def test_long_and_hostile_names_stay_within_their_tile() -> None:
    """Shortened; markup is text."""
    page = np.asarray(draw_grid([tile(caption="<b>" + "W" * 500)], "x" * 500, "y" * 500))
    assert (page[HEADER:, -GAP:] == 255).all()
    assert (page[:HEADER, -GAP:] == 255).all()
