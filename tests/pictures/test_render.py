"""Pictures, decoded and measured."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFont
from sklearn.datasets import load_sample_images

from lightning_gradcam.cam.states import BLANK, NOT_FINITE, SHOWN
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.pictures.captions import NO_PREDICTION, Answer, to_caption
from lightning_gradcam.pictures.film import LAPSE_SIDES, Strip, filmstrip, timelapse
from lightning_gradcam.pictures.grid import GRID_SIDES, SIDES_OF_SEVERAL, Sheet, grid
from lightning_gradcam.pictures.looks import Caption, Scene, Sight
from lightning_gradcam.pictures.page import BETWEEN, CARD, FRAME, MARGIN, NARROWEST
from lightning_gradcam.pictures.render import WRONG, overlay, to_jpeg
from lightning_gradcam.pictures.words import font_of, shortened, wrapped


def scene_of(size: int = 32, images: int = 1, truth: str = "true 1") -> Scene:
    pictures = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype=np.uint8)
    return Scene(list(pictures), [truth] * images, "target: predicted")


def drawn(
    scene: Scene, heat: float = 0.5, state: int = SHOWN, answer: str = "1 (50%)", wrong: bool = False, when: str = ""
) -> Image.Image:
    """A grid whose maps are the same everywhere."""
    images = len(scene.pictures)
    maps = np.full((images, 1, 4, 4), 1, np.float32)
    captions = [Caption(truth, f"predicted {answer}", wrong) for truth in scene.truths]
    sight = Sight(0, maps, np.full((images, 1), state, np.uint8), captions, np.full((images, 1), heat))
    return grid(scene, sight, "layer4", when, np.ones((images, 1)))


def box_of(scene: Scene, image: int = 0, map_: bool = False) -> tuple[slice, slice]:
    """Where an image, or its map, lies in a grid."""
    sheet = Sheet(scene, 1, GRID_SIDES)
    left, top = sheet.corner(image)
    (height, width), left = sheet.pictures[0].shape[:2], left + map_ * sheet.slot
    return slice(top, top + height), slice(left, left + width)


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


@pytest.mark.parametrize(("size", "side"), [(28, 112), (32, 128), (64, 128), (100, 200), (224, 120), (1024, 120)])
def test_small_images_are_enlarged_and_large_ones_reduced(size, side) -> None:
    """By whole factors, so that each pixel stays a square."""
    scene = scene_of(size, 2)
    page = np.asarray(drawn(scene))
    assert page.shape[1] == 2 * (2 * side + BETWEEN + MARGIN) + MARGIN
    if size <= side:
        whole = np.kron(scene.pictures[0], np.ones((side // size, side // size, 1), np.uint8))
        assert (page[box_of(scene)] == whole).all()


@pytest.mark.parametrize(("height", "width"), [(512, 64), (64, 512), (2000, 3), (1, 1)])
def test_slim_images_fit_too(height, width) -> None:
    """Their words as well, which need more room than a tall image takes."""
    pictures = [np.full((height, width, 3), 9, np.uint8)] * 3
    for state in (SHOWN, NOT_FINITE):
        page = np.asarray(drawn(Scene(pictures, ["true " + "W" * 99] * 3, "target"), state=state))
        assert page.shape[1] >= CARD
        assert (page[:, -MARGIN + FRAME :] == 255).all()


def test_cells_lie_on_jpegs_raster() -> None:
    """So that a picture's pixels do not depend on its neighbours', nor on what frames it."""
    scene, cells = scene_of(28, 3), []
    for heat, wrong in ((0.1, False), (0.9, True)):
        page = drawn(scene, heat, answer=f"{heat}", wrong=wrong, when=f"epoch {heat}")
        decoded = np.asarray(Image.open(io.BytesIO(to_jpeg(page))))
        assert all(edge.start % 8 == 0 for image in range(3) for edge in box_of(scene, image, map_=True))
        cells.append(decoded[box_of(scene)])
    assert (cells[0] == cells[1]).all()


@pytest.mark.parametrize("state", [BLANK, NOT_FINITE])
def test_a_blank_or_infinite_map_is_gray_and_says_so(state) -> None:
    """No colour anywhere in its cell."""
    scene = scene_of()
    cell = np.asarray(drawn(scene, state=state)).astype(int)[box_of(scene, map_=True)]
    assert np.abs(cell[..., 0] - cell[..., 2]).max() == 0
    assert (cell[48:80] < 60).any()  # the words


def test_wrong_predictions_are_marked() -> None:
    """In red, with a sign, and with dashes around the images: the heat up to its rim is as it was."""
    caption = to_caption(Task("multiclass", 3), [1], Answer(2, [0.83], 1), ["cat", "dog", "fox"])
    assert caption == Caption("true dog", "predicted fox (83%)", wrong=True)
    assert caption.text == "true dog · predicted fox (83%)"
    scene = scene_of()
    right, wrong = (np.asarray(drawn(scene, wrong=wrong)).astype(int) for wrong in (False, True))
    below = slice(box_of(scene)[0].stop + BETWEEN, None)
    assert np.abs(right[below, :, 0] - right[below, :, 2]).max() == 0
    assert (wrong[below, :, 0] - wrong[below, :, 2] > 100).any()
    for place in (box_of(scene), box_of(scene, map_=True)):
        assert (right[place] == wrong[place]).all()
    top, left = (edge.start for edge in box_of(scene))
    edge = (wrong[top - FRAME // 2] == WRONG).all(-1)
    assert edge[left : left + 8].all()
    assert 0.3 < edge[left:-MARGIN].mean() < 0.7
    assert not (right[top - FRAME // 2] == WRONG).all(-1).any()


def test_captions() -> None:
    """Numbers where there are no names; several classes; no label."""
    classes, several = Task("multiclass", 5), Task("multilabel", 3)
    assert to_caption(classes, [3], Answer(3, [1.0], 3), None) == Caption("true 3", "predicted 3 (100%)")
    assert to_caption(classes, [], Answer(-1, [float("nan")], 4), None) == Caption("", NO_PREDICTION)
    assert to_caption(classes, [0], Answer(-1, [float("nan")], 0), None) == Caption("true 0", NO_PREDICTION, True)
    caption = to_caption(several, [0, 2], Answer(2, [0.5], -1), ["a", "b", "c"])
    assert caption == Caption("true a, c", "predicted none (c 50%)", wrong=True)  # more likely not there
    assert to_caption(several, [], Answer(2, [0.27], -1), None) == Caption("true none", "predicted none (2 27%)")
    for truth, told, wrong in (([0, 2], 0.51, False), ([0], 0.9, True), ([], 0.9, True), ([], 0.1, False)):
        assert to_caption(several, truth, Answer(2, [told], -1), None).wrong == wrong
    assert not to_caption(several, [], Answer(2, [0.9], -1), None, [2]).wrong
    assert to_caption(several, [], Answer(2, [0.9], -1), None, [0, 1, 2]).truth == ""
    assert to_caption(several, [], Answer(2, [0.9], -1), None, [0]) == Caption("", "predicted 2 (90%)", wrong=True)


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


HOSTILE = [
    "<b>" + "W" * 500,
    "שלום עולם חתול" * 9,
    "قطة جميلة جدا في الحديقة" * 4,
    "a\u0300\u0301\u0302" * 60,
    "犬" * 80,
    "",
]


@pytest.mark.parametrize("name", HOSTILE, ids=["markup", "Hebrew", "Arabic", "piled", "no glyphs", "none"])
def test_long_and_hostile_names_stay_within_their_tile(name) -> None:
    """Cut; markup is text. What is around the words of a tile, the space to the next above all, is paper."""
    scene = scene_of(28, 4, f"true {name}")
    page = np.asarray(drawn(scene, answer=f"{name} (87%)", wrong=True, when="y" * 500))
    sheet = Sheet(scene, 1, GRID_SIDES)
    (left, top), right, following = sheet.corner(0), sheet.corner(1)[0], sheet.corner(2)[1]
    words = page[top + sheet.height + FRAME : following - FRAME]
    for edge in (slice(0, left), slice(left + sheet.width, right), slice(-MARGIN, None)):
        assert (words[:, edge] == 255).all()
    assert (words[-MARGIN + FRAME :] == 255).all()
    assert (page[: sheet.header.height - FRAME, -MARGIN:] == 255).all()


def test_names_are_cut_in_their_middle_and_the_probability_never() -> None:
    """Breaking lines between words comes first."""
    font = font_of(16)
    name = "American Staffordshire terrier, pit bull"
    assert wrapped(f"{name} (87%)", font, 500, 1) == (f"{name} (87%)",)
    (line,) = wrapped(f"{name} (87%)", font, 180, 1)
    assert re.fullmatch(r"Amer\w*…[\w ]*bull \(87%\)", line)
    assert font.getlength(line) <= 180
    assert font.getlength(line) > 160
    two = wrapped(f"{name} (87%)", font, 240, 2)
    assert two == ("American Staffordshire", "terrier, pit bull (87%)")
    one, two = wrapped("n02099601_golden_retriever", font, 180, 2)
    assert one + two == "n02099601_golden_retriever"
    assert shortened("9" * 200 + " (1" + "0" * 40 + "%)", font, 90).count("…") == 1


def grid_of_targets(targets: int) -> tuple[Sheet, Image.Image]:
    scene = replace(scene_of(32, 3), columns=[f"American Staffordshire terrier {n}" for n in range(targets)])
    maps = np.random.default_rng(0).random((3, targets, 4, 4), np.float32)
    sight = Sight(0, maps, np.zeros((3, targets), np.uint8), [Caption("true 1", "predicted 1")] * 3)
    return Sheet(scene, targets, SIDES_OF_SEVERAL), grid(scene, sight, "layer4")


@pytest.mark.parametrize("targets", [2, 5, 16, 40])
def test_several_targets_are_a_row(targets) -> None:
    """The image and its maps, whose names stand on top once, each on its own line unless they are too many."""
    sheet, page = grid_of_targets(targets)
    assert page.width == max(NARROWEST, 2 * MARGIN + (1 + targets) * (96 + BETWEEN) - BETWEEN)
    assert [sheet.corner(image)[0] for image in range(3)] == [MARGIN] * 3
    assert sheet.name_lines == (targets if targets <= 16 else 1)
    names = np.asarray(page)[sheet.header.height : sheet.top - BETWEEN - 2, :, 0]
    assert names.min() < 100
    assert (names[:, -MARGIN:] == 255).all()
    assert page.height < 65_500


def cap_height(font: ImageFont.FreeTypeFont) -> float:
    """In pixels, before they are rounded."""
    return font.size * font_of(1000).getbbox("H", anchor="ls")[1] / -1000


PAGES = {
    "grid of one": (GRID_SIDES, 1, 1),
    "grid": (GRID_SIDES, 16, 1),
    "grid of five targets": (SIDES_OF_SEVERAL, 9, 5),
    "time-lapse": (LAPSE_SIDES, 16, 1),
}


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (224, 224), (512, 64), (64, 512), (1080, 1920)])
@pytest.mark.parametrize(("sides", "images", "targets"), PAGES.values(), ids=PAGES)
def test_words_can_be_read_in_a_card(sides, images, targets, size) -> None:
    """Capitals of captions are 12 pixels high in TensorBoard's card of 350, those of headers 10."""
    picture = np.zeros((*size, 3), np.uint8)
    sheet = Sheet(Scene([picture] * images, ["true dog"] * images, "target"), targets, sides)
    shrink = CARD / sheet.empty().width
    assert 11 <= cap_height(sheet.type.caption()) * shrink <= 13
    assert 10 <= cap_height(sheet.type.note()) * shrink <= 12


@pytest.mark.parametrize("looks", [1, 2, 6, 12])
@pytest.mark.parametrize("size", [(28, 28), (224, 224), (512, 64), (64, 512)])
def test_words_of_a_strip_can_be_read_in_a_card(size, looks) -> None:
    """As those of a grid; at most its seven cells are beside each other."""
    scene = Scene([np.zeros((*size, 3), np.uint8)] * 2, ["true dog"] * 2, "target")
    one = Sight(0, np.ones((2, 1, 4, 4), np.float32), np.zeros((2, 1), np.uint8), [Caption("true dog", "")] * 2)
    type_ = Strip(scene, [one] * looks).type
    shrink = CARD / filmstrip(scene, [one] * looks, "layer").width
    assert 11 <= cap_height(type_.caption()) * shrink <= 13
    assert 10 <= cap_height(type_.note()) * shrink <= 12


def test_a_legend_says_what_the_colours_mean() -> None:
    """In grid, strip and time-lapse: from gray, where the image is as it is, to yellow; words stand at both ends."""
    scene = scene_of(32, 2)
    one = Sight(0, np.ones((2, 1, 4, 4), np.float32), np.zeros((2, 1), np.uint8), [Caption("true 1", "1")] * 2)
    frame = Image.open(io.BytesIO(timelapse(scene, [one], "layer"))).convert("RGB")
    for page in (drawn(scene), filmstrip(scene, [one], "layer"), frame):
        head = np.asarray(page).astype(int)[: page.width // 4]
        colour = head.max(-1) - head.min(-1)
        rows = np.flatnonzero((colour > 40).sum(1) > page.width / 8)
        bar, coloured = head[rows], np.flatnonzero((colour[rows] > 40).all(0))
        assert (bar[:, coloured[-1] - 2, 0] > 200).all()
        assert (bar[:, coloured[-1] - 2, 2] < 150).all()
        assert (bar[:, : page.width // 5].max(1) - bar[:, : page.width // 5].min(1) > 100).any()  # letters
        assert (bar[:, -page.width // 3 :].max(1) - bar[:, -page.width // 3 :].min(1) > 100).any()


def test_of_more_images_than_are_read_in_a_card_the_page_is_wider_and_no_side_too_long_for_jpeg() -> None:
    """All that are given are drawn: a user asked for these."""
    scene = scene_of(28, 400)
    sheet, page = Sheet(scene, 1, GRID_SIDES), drawn(scene)
    assert max(page.size) < 65_500
    assert page.width < page.height < 6 * page.width
    assert len({sheet.corner(image) for image in range(400)}) == 400
    shown = np.asarray(page)
    assert (shown[box_of(scene, 399)] == sheet.pictures[399]).all()


def test_a_grid_says_of_how_many_images_it_is() -> None:
    """And a scene of some knows how many there were."""
    scene = scene_of(8, 20)
    assert scene.counted() == "20 images"
    assert scene.of([3]).counted() == "1 of 20 images"
    assert scene.of(range(10)).of([0, 1]).counted() == "2 of 20 images"
    several = replace(scene, columns=list("abc"))
    assert several.of_targets(2).columns == ["a", "b"]
    assert several.of_targets(2).about == "2 of 3 targets are drawn  ·  target: predicted"
    assert several.of_targets(3) == several


def test_photographs_stay_small() -> None:
    """A grid of 12 under 250 KB, of 16 under 400."""
    photos = load_sample_images().images
    crops = [photos[n % 2][20 * n : 20 * n + 64 * 3, 25 * n : 25 * n + 64 * 3] for n in range(12)]
    crops += [photos[n % 2][200:424, 100 * n : 100 * n + 224] for n in range(4)]
    crops = [np.asarray(Image.fromarray(crop).resize((224, 224))) for crop in crops]
    for count, most in ((12, 250_000), (16, 400_000)):
        scene = Scene(crops[:count], ["true dog"] * count, "target: predicted")
        assert len(to_jpeg(drawn(scene, 0.4, answer="dog (99%)"))) < most
