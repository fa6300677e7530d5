"""How wrong settings are told: the user's own value, in one line, and never all that a model has."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_gradcam import GradCAMCallback, explain
from lightning_gradcam.errors import quoted

from .conftest import small_cnn


class Odd:
    """Whatever is asked of it fails, but its shape, which is a method."""

    def shape(self) -> None: ...

    def __repr__(self) -> str:
        raise RuntimeError("closed")


class Lines(list):
    def __repr__(self) -> str:
        return "\n".join(self)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3.5, "3.5"),
        (None, "None"),
        ("layer4", "'layer4'"),
        (["cat", 1], "['cat', 1]"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, ...]"),
        (nn.Linear(2, 2), "<Linear>"),
        ([[nn.Linear(2, 2)]], "[[<Linear>]]"),
        ({"a": torch.zeros(3, 4)}, "{'a': <Tensor (3, 4)>}"),
        (np.zeros((2, 2)), "<ndarray (2, 2)>"),
        (nn.ReLU, "ReLU"),
        (small_cnn, "small_cnn"),
        (Odd(), "<Odd>"),
        (Lines(["a\nb"]), "<Lines>"),
        (range(3), "range(0, 3)"),
    ],
)
def test_quoted(value: object, expected: str) -> None:
    assert quoted(value) == expected


CALLBACKS = [name for name in GradCAMCallback.__init__.__kwdefaults__ if name != "reshape_transform"]


@pytest.mark.parametrize("name", ["target_layer", *CALLBACKS])
@pytest.mark.parametrize("nested", [0, 1, 3])
def test_a_model_in_the_wrong_place(name: str, nested: int) -> None:
    """Whatever gets a model, or lists with it, says so in a line."""
    value: object = small_cnn()
    for _ in range(nested):
        value = [value]
    if (name, nested) in {("target_layer", 0), ("target_layer", 1), ("output", 0)}:
        pytest.skip("may be a module")
    if name == "target" and nested < 2:
        pytest.skip("may be callable, or a list of callables")
    with pytest.raises((TypeError, ValueError)) as refused:
        GradCAMCallback(**{name: value})
    told = str(refused.value)
    assert f"{name}=" in told
    assert "\n" not in told
    assert "Conv2d" not in told
    assert len(told) < 700


def test_a_layer_of_another_model() -> None:
    with pytest.raises(ValueError, match=r"target_layer=Sequential\(\.\.\.\) is not a layer of the model$"):
        explain(small_cnn(), torch.rand(2, 3, 8, 8), small_cnn())


@pytest.mark.parametrize("output", [lambda model: 1, lambda: 1, lambda model, images, batch, more: 1])
def test_an_output_that_cannot_be_called_is_refused(output: object) -> None:
    with pytest.raises(ValueError, match=r"output=.* takes \(.*\); accepted are \(model, images\) or"):
        GradCAMCallback(output=output)


def test_a_single_number_for_all_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"output= gave a single number for 2 images; accepted are scores, \(N, ...\)"):
        explain(small_cnn(), torch.rand(2, 3, 8, 8), output=lambda model, images: model(images).mean())
