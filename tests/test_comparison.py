"""Which layer and method: a table whose figures are those of `explain`, read back as text, data and picture."""

import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lightning_gradcam import Comparison, compare, comparison, explain
from lightning_gradcam.cam.methods import METHODS
from lightning_gradcam.errors import SettingError
from lightning_gradcam.pictures.beside import beside

from .cam.test_attention import ViT
from .conftest import small_cnn


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(6, 3, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def masks() -> Tensor:
    return torch.arange(24 * 24).reshape(1, 24, 24).expand(6, -1, -1) < 24 * 12  # the upper half


@pytest.fixture(scope="module")
def of_vit(images: Tensor, masks: Tensor) -> Comparison:
    torch.manual_seed(0)
    return compare(ViT("fused"), images, masks=masks)


def test_figures_are_those_of_explain(of_vit: Comparison, images: Tensor, masks: Tensor) -> None:
    """Of each layer and method, and of relevance, which has none; the share inside by hand."""
    torch.manual_seed(0)
    model = ViT("fused")
    assert {row.method for row in of_vit.rows} == {*METHODS, "relevance"}
    assert {row.layer for row in of_vit.rows if row.method == "relevance"} == {"attention"}
    for row, maps in zip(of_vit.rows, of_vit.maps, strict=True):
        layer = None if row.method == "relevance" else row.layer
        found = explain(model, images, layer, method=row.method, trust=True)
        for name in ("faithfulness", "class_sensitivity"):
            expected = found.metrics[name].nanmean()
            assert torch.allclose(torch.tensor(getattr(row, name)), expected, atol=1e-5, equal_nan=True)
        raw = maps.maps[:, 0]
        inside = raw[:, :2].sum((1, 2)) / raw.sum((1, 2))  # of four rows of patches
        assert row.in_mask == pytest.approx(float(inside.nanmean()), abs=1e-5)
        assert row.forwards > 0


def test_the_best_come_first_and_what_is_blind_to_the_class_last(of_vit: Comparison) -> None:
    """By faithfulness."""
    blind = [row.class_sensitivity < 0.02 for row in of_vit.rows]
    assert blind == sorted(blind)
    assert any(blind)
    for group in (False, True):
        scores = [row.faithfulness for row, one in zip(of_vit.rows, blind, strict=True) if one == group]
        assert scores == sorted(scores, reverse=True)


def test_the_table_is_text_and_data(of_vit: Comparison) -> None:
    """A line a row, in columns; numbers to two digits."""
    head, _, *lines = str(of_vit).splitlines()
    assert head.split("  ")[0] == "layer"
    assert len(lines) == len(of_vit.rows)
    first = of_vit.rows[0]
    assert lines[0].split() == [*first[:2], *(f"{one:.2f}" for one in first[2:])]
    assert of_vit.to_dicts()[0] == first._asdict()
    bare = replace(of_vit, rows=[row._replace(in_mask=math.nan) for row in of_vit.rows[:-1]])
    assert "in mask" in head
    assert "in mask" not in str(bare)
    assert str(bare).splitlines()[2].split() == [*first[:2], *(f"{one:.2f}" for one in (*first[2:4], first[5]))]


def test_the_picture_has_a_cell_each(of_vit: Comparison) -> None:
    """As wide and as high as its cells, each of which has heat; another image is another picture."""
    first, second = of_vit.picture(), of_vit.picture(1)
    assert isinstance(first, Image.Image)
    assert first.size == second.size
    assert first.tobytes() != second.tobytes()
    with pytest.raises(SettingError, match="image=6 is none of the 6; accepted are 0 to 5"):
        of_vit.picture(6)


def test_layers_and_methods_may_be_named(images: Tensor) -> None:
    """Relevance is left out where it does not fit, unless it is asked for."""
    model = small_cnn()
    found = compare(model, images, layers=["0", "3"], methods=["gradcam", "scorecam"])
    assert {(row.layer, row.method) for row in found.rows} == {
        (layer, method) for layer in "03" for method in ("gradcam", "scorecam")
    }
    assert all(row.in_mask != row.in_mask for row in found.rows)
    assert "relevance" not in {row.method for row in compare(model, images).rows}
    with pytest.raises(SettingError, match="method='relevance' propagates the attention"):
        compare(model, images, methods=["relevance"])


def test_layers_that_are_compared() -> None:
    """The last of each size of map; of many tokens' norms eight, the first and the last among them."""
    deep = ViT("fused", blocks=12)
    images = torch.randn(2, 3, 24, 24)
    found = {row.layer for row in compare(deep, images, methods=["gradcam"]).rows}
    assert len(found) == 9  # the embedding too
    assert {"embed", "blocks.0.norm", "blocks.11.norm"} <= found
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 3)
    )
    assert {row.layer for row in compare(net, images, methods=["gradcam"]).rows} == {"1", "3"}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"layers": "blocks"}, "layers='blocks'; accepted is a list of names, or None"),
        ({"methods": []}, "methods=[]; accepted is a list of names, or None"),
        ({"layers": ["blocks.9"]}, "layers='blocks.9' is not a layer of the model"),
        ({"class_names": "cat"}, "class_names='cat'; accepted is a sequence of names"),
        ({"class_names": ["cat"]}, "class_names has 1 names; the model has 5 classes"),
        ({"methods": ["gradcma"]}, "method='gradcma' is unknown; did you mean 'gradcam'"),
        ({"target": [0, 1]}, "target=[0, 1] is several classes an image; accepted here is one"),
        ({"masks": torch.ones(6, 24)}, "masks has the shape (6, 24) for 6 images; accepted is (N, H, W)"),
    ],
)
def test_wrong_settings_are_refused(images: Tensor, wrong: dict, sentence: str) -> None:
    """With the user's own value, and what is accepted."""
    with pytest.raises((SettingError, TypeError)) as told:
        compare(ViT("fused"), images, **wrong)
    assert str(told.value).startswith(sentence)


@pytest.mark.parametrize(("wrong", "sentence"), [("00", "is not a layer of the model"), ("9", "'9'")])
def test_a_wrong_layer_is_told_before_any_is_measured(images: Tensor, monkeypatch, wrong: str, sentence: str) -> None:
    """One that is not there, and one that gives no map."""
    measured: list[object] = []
    monkeypatch.setattr(comparison, "compute_cams", lambda *args: measured.append(args))
    with pytest.raises(SettingError, match=sentence):
        compare(small_cnn(), images, layers=["0", "5", wrong])
    assert measured == []


def test_the_bar_leaves_the_line_to_what_is_printed_next(images: Tensor, capsys) -> None:
    """Also where an error is."""
    compare(small_cnn(), images[:2], layers=["5"], methods=["gradcam"])
    assert capsys.readouterr().err.endswith("\n")


def test_names_are_in_the_picture(images: Tensor, monkeypatch) -> None:
    """Of the classes, and of the image where it has one."""
    headers: list[tuple[str, ...]] = []

    def drawn(picture, caption, cells, title, subtitle) -> Image.Image:
        headers.append((caption, title, subtitle))
        return beside(picture, caption, cells, title, subtitle)

    monkeypatch.setattr(comparison, "beside", drawn)
    names = ["cat", "dog", "owl"]
    found = compare(small_cnn(), images, layers=["5"], methods=["gradcam"], target=1, class_names=names)
    plain, named = found.picture(), found.picture(name="pets.png")
    predicted = names[int(found.maps[0].predictions[0])]
    assert headers[0] == (f"predicted {predicted} ({found.maps[0].scores[0, 0]:.0%})", "image 0", headers[1][2])
    assert headers[1][1] == "pets.png"
    assert headers[0][2] == "target: dog  ·  multiclass"
    assert plain.size == named.size
    assert plain.tobytes() != named.tobytes()
