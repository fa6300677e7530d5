"""`explain`, in one call."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from torch import nn

from lightning_gradcam import Explanation, explain
from lightning_gradcam.errors import SettingError

from .conftest import small_cnn

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return small_cnn()


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pictures_of_any_kind_give_what_grad_cam_gives_of_the_prepared_tensor(model, tmp_path) -> None:
    """Scaled to 0..1, resized, normalised, explained for the highest-scoring class."""
    array = pixels(32, 32)
    Image.fromarray(array).save(tmp_path / "picture.png")
    kinds = [tmp_path / "picture.png", str(tmp_path / "picture.png"), Image.fromarray(array), array, array / 255]
    found = explain(model, kinds, "0", mean=MEAN, std=STD, method="gradcam")
    tensor = (torch.tensor(array).permute(2, 0, 1) / 255 - torch.tensor(MEAN)[:, None, None])[None]
    tensor = tensor / torch.tensor(STD)[:, None, None]
    twin = small_cnn().eval()
    twin.load_state_dict(model.state_dict())
    expected = GradCAM(twin, [twin[0]])(tensor, None)
    assert found.heatmaps.shape == (5, 32, 32)
    assert found.heatmaps.dtype == torch.float32
    assert all(np.abs(heatmap.numpy() - expected[0]).max() < 1e-3 for heatmap in found.heatmaps)


def test_differing_sizes_are_resized(model) -> None:
    """To (height, width)."""
    found = explain(model, [pixels(20, 40), pixels(50, 30, 1)], size=(24, 16))
    assert found.heatmaps.shape == (2, 24, 16)
    assert found.raw.shape == (2, 12, 8)
    assert [overlay.size for overlay in found.overlays()] == [(16, 24)] * 2


def test_what_an_explanation_holds(model, tmp_path) -> None:
    """Maps, peaks, scores, predictions, targets, the layer; and pictures."""
    images = torch.rand(3, 3, 16, 16)
    found = explain(model, images)
    logits = model.eval()(images)
    assert isinstance(found, Explanation)
    assert found.layer == "6"
    assert found.predictions.tolist() == found.targets.tolist() == logits.argmax(1).tolist()
    assert torch.allclose(found.scores, logits.softmax(1).amax(1))
    assert torch.allclose(found.raw.amax((1, 2)), found.peaks)
    found.save(tmp_path / "grid.png")
    assert Image.open(tmp_path / "grid.png").size == found.grid().size


def test_several_classes_have_a_dimension_of_their_own(model) -> None:
    """(N, T, H, W)."""
    found = explain(model, torch.rand(2, 3, 16, 16), target=[0, 2])
    assert found.heatmaps.shape == (2, 2, 16, 16)
    assert found.targets.tolist() == [[0, 2], [0, 2]]
    alone = explain(model, torch.rand(2, 3, 16, 16), target=2)
    assert alone.targets.tolist() == [2, 2]


def test_several_layers_are_averaged(model) -> None:
    """As grad-cam does."""
    assert explain(model, torch.rand(2, 3, 16, 16), ["0", "5"]).layer == "0+5"


def test_the_model_is_left_as_it_was(model) -> None:
    """Flags, gradients, hooks, parameters."""
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    flags = [module.training for module in model.modules()]
    gradients = [parameter.grad for parameter in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for method in ("gradcam", GradCAM):
        explain(model, torch.rand(2, 3, 8, 8), method=method)
    assert [module.training for module in model.modules()] == flags
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert [p.requires_grad for p in model.parameters()][:2] == [False, True]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(model, dtype) -> None:
    """The weights' precision is the images'."""
    images = torch.rand(2, 3, 16, 16)
    expected = explain(model, images).heatmaps
    found = explain(model.to(dtype), images)
    assert found.heatmaps.dtype == torch.float32
    assert float((found.heatmaps - expected).abs().max()) < (1e-4 if dtype == torch.float64 else 0.2)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_under_no_grad_and_inference_mode(model, mode) -> None:
    """Also where the images were made in inference mode."""
    torch.manual_seed(1)
    images = torch.rand(2, 3, 16, 16)
    expected = explain(model, images).heatmaps
    with mode():
        assert torch.equal(explain(model, images + 0).heatmaps, expected)


def test_labels_are_for_captions_and_for_the_target(model) -> None:
    """And of the right length."""
    found = explain(model, torch.rand(2, 3, 16, 16), target="label", labels=[2, 0])
    assert found.targets.tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"labels has the shape \(3,\) for 2 images"):
        explain(model, torch.rand(2, 3, 16, 16), labels=[1, 2, 0])


@pytest.mark.parametrize("labels", [[0, None], ["cat", "dog"], [[0], [1, 2]], object()])
def test_labels_that_are_no_numbers_are_refused(model, labels) -> None:
    """With what was given."""
    with pytest.raises(SettingError, match=r"^labels=.*; accepted are numbers, a label an image, or a tensor") as told:
        explain(model, torch.rand(2, 3, 16, 16), labels=labels)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_knows_the_model_and_a_stored_one_does_not(model, copied) -> None:
    """The same curves; and all that it holds."""
    found = explain(model, torch.rand(2, 3, 16, 16))
    other = copied(found)
    assert torch.equal(other.removal([0.5]).most, found.removal([0.5]).most)
    assert torch.equal(other.heatmaps, found.heatmaps)
    assert (other.heatmaps is found.heatmaps) == (copied is copy.copy)
    assert other.grid().tobytes() == found.grid().tobytes()
    assert found == found
    assert found != other
    with pytest.raises(RuntimeError, match="which is not stored"):
        copied(pickle.loads(pickle.dumps(found))).removal()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "images is empty"),
        (["missing.png"], {}, r"images\[0\]='missing.png' cannot be read"),
        ([pixels(8, 8), Path(__file__)], {}, r"images\[1\]='.*test_explanation.py' cannot be read"),
        ([pixels(8, 8), pixels(8, 8) * 1.0], {}, r"images\[1\] holds floats from .* to 2.*; accepted are 0..1"),
        ([pixels(8, 8).astype(np.int32)], {}, r"images\[0\] holds int32"),
        ([pixels(8, 8), pixels(9, 8)], {}, r"size=None, but images\[0\] and images\[1\] differ: 8x8 and 9x8"),
        ([pixels(8, 8), pixels(8, 8)[..., 0]], {}, r"images\[1\] has 1 channels, images\[0\] has 3"),
        ([3], {}, r"images\[0\] is a int"),
        ("picture.png", {}, "images is a str; accepted are a list"),
        (torch.rand(3, 8, 8), {}, r"images is a tensor \(3, 8, 8\)"),
        (torch.rand(1, 3, 8, 8), {"size": 4}, "size=4 is for pictures"),
        ([pixels(8, 8)], {"size": (0, 4)}, r"size=\(0, 4\)"),
        ([pixels(8, 8)], {"target": 9}, "target=9 is no class of this model, which has 3"),
        ([pixels(8, 8)], {"mean": [0.5] * 2, "std": [1.0] * 3}, "mean has 2 numbers; the images have 3 channels"),
        ([pixels(8, 8)], {"mean": 0.5}, "accepted are both or neither"),
        ([pixels(8, 8)], {"mean": 123.7, "std": 58.4}, "are of images of 0..255; pictures are scaled to 0..1"),
        ([pixels(8, 8)], {"channels": 3}, r"channels=3: the images have no channel 3; they have 3 \(0 to 2\)"),
        ([Image.new("RGB", (8, 8))], {"channels": (3, 2, 1)}, r"images\[0\] has red, green and blue alone"),
        ([pixels(8, 8)], {"channels": (0, 1)}, r"channels=\(0, 1\): accepted are the three"),
        ([pixels(8, 8)], {"method": "gradcamm"}, "method='gradcamm' is unknown; did you mean 'gradcam'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(model, images, options, message) -> None:
    """That names the image or the argument."""
    with pytest.raises((ValueError, TypeError), match=message) as refused:
        explain(model, images, **options)
    assert "\n" not in str(refused.value)


def test_a_model_of_bgr(model, tmp_path) -> None:
    """Files are given to it as it knows them, arrays as they are; both are shown in their own colours."""
    picture = pixels(16, 16)
    Image.fromarray(picture).save(tmp_path / "one.png")
    tensor = torch.tensor(picture[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    expected = explain(model, tensor, channels=(2, 1, 0), mean=0.0, std=1.0)
    for one in (tmp_path / "one.png", Image.fromarray(picture), picture[..., ::-1]):
        found = explain(model, [one], channels=(2, 1, 0))
        assert torch.equal(found.raw, expected.raw)
        assert (found._images.pictures[0] == picture).all()
    assert (expected._images.pictures[0] == picture).all()
    turned = explain(model, [tmp_path / "one.png"], channels=(1, 2, 0))  # its channel 1 is red
    assert torch.equal(turned.raw, explain(model, [np.ascontiguousarray(picture[..., [2, 0, 1]])]).raw)
    assert not torch.equal(expected.raw, explain(model, [tmp_path / "one.png"]).raw)


def test_a_model_of_gray(tmp_path, caplog) -> None:
    """Files and PIL images of any kind become gray for it; `channels` settles it the other way."""
    torch.manual_seed(0)
    model, picture = small_cnn(1), pixels(16, 16)
    gray = np.asarray(Image.fromarray(picture).convert("L"))
    Image.fromarray(picture).save(tmp_path / "colour.png")
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    expected = explain(model, torch.tensor(gray.copy())[None, None] / 255, mean=0.0, std=1.0)
    for one in (tmp_path / "colour.png", tmp_path / "gray.png", tmp_path / "deep.png", Image.fromarray(gray), gray):
        found = explain(model, [one])
        assert torch.allclose(found.raw, expected.raw, atol=1e-6)
        assert np.abs(found._images.pictures[0].astype(int) - gray[..., None]).max() <= 1
    inside = nn.Sequential(ToGray(), *model)
    assert caplog.text.count("pictures are given to it as gray") == 1  # of the file that has colours
    caplog.clear()
    with pytest.raises(AssertionError, match="three channels"):
        explain(inside, [tmp_path / "gray.png", tmp_path / "colour.png"])
    assert "pictures are given to it as gray; channels=(0, 1, 2) gives red, green and blue" in caplog.text
    found = explain(inside, [tmp_path / "colour.png"], channels=(0, 1, 2))
    assert (found._images.pictures[0] == picture).all()
    pair = explain(nn.Sequential(Pair(), *model), [tmp_path / "colour.png"], channels=0)
    assert torch.allclose(pair.raw, expected.raw, atol=1e-6)


class ToGray(nn.Module):
    """A model's own conversion: it is given three channels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1] == 3, "three channels are needed"
        return images.mean(1, keepdim=True)


class Pair(nn.Module):
    """Has a convolution that takes three channels, and is made first."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Conv2d(3, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def test_class_names_are_in_answers_and_captions(model) -> None:
    """In the header too, of a class that is explained."""
    names = ["kind 0", "kind 1", "kind 2"]
    found = explain(model, [pixels(16, 16)], target=1, class_names=names)
    assert found.answers[0].startswith(f"predicted {names[int(found.predictions[0])]} (")
    assert "target: kind 1" in found._images.about
    with pytest.raises(TypeError, match="class_names='cat'; accepted is a sequence of names"):
        explain(model, [pixels(16, 16)], class_names="cat")


@pytest.mark.parametrize("count", [2, 4])
def test_class_names_are_as_many_as_classes(model, count) -> None:
    """Others are refused, as by the callback; of a task without classes they say nothing."""
    names = [f"kind {place}" for place in range(count)]
    with pytest.raises(ValueError, match=rf"^class_names has {count} names; the model has 3 classes; if its outputs"):
        explain(model, torch.rand(2, 3, 16, 16), class_names=names)
    assert explain(model, torch.rand(2, 3, 16, 16), class_names=names, task="none").predictions.tolist() == [0, 0]


def test_many_channels(caplog) -> None:
    """Which are shown, is said."""
    images = torch.rand(2, 5, 16, 16)
    explain(small_cnn(5), images)
    assert "of the images' 5 channels the first three are shown as red, green, blue; channels= names" in caplog.text
    found = explain(small_cnn(5), images, channels=4, mean=0.0, std=1.0)
    assert np.abs(found._images.pictures[0] / 255 - images[0, 4, :, :, None].numpy()).max() < 0.003


def test_pictures_of_16_bits_are_not_cut_off(tmp_path) -> None:
    """Their full range is 0 to 1, as that of 8 bits is."""
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray((ramp // 257).astype(np.uint8)).save(tmp_path / "flat.png")
    found = explain(small_cnn(), [tmp_path / "deep.png", tmp_path / "flat.png"])
    deep, flat = (np.asarray(picture).astype(int) for picture in found._images.pictures)
    assert np.abs(deep - flat).max() <= 1


def shown_of(*pictures: object) -> list[np.ndarray]:
    """The first channel of each as it is shown."""
    return [np.asarray(picture)[..., 0].astype(int) for picture in explain(small_cnn(), pictures)._images.pictures]


def test_pictures_of_floats_are_read_as_arrays_of_floats_are(tmp_path) -> None:
    """In 0..1, of a TIFF and of Pillow's own; others are refused."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "floats.tif")
    for shown in shown_of(tmp_path / "floats.tif", Image.fromarray(ramp)):
        assert np.abs(shown - np.arange(256).reshape(16, 16)).max() <= 1
    model = small_cnn(1)
    assert torch.equal(explain(model, [Image.fromarray(ramp)]).raw, explain(model, [ramp]).raw)
    with pytest.raises(ValueError, match=r"images\[0\] holds floats from 0 to 255; accepted are 0..1, or uint8"):
        explain(small_cnn(), [Image.fromarray(ramp * 255)])


def test_what_is_white_is_told_by_the_mode_and_one_rule_for_all_images(caplog) -> None:
    """Not by what each has: a dark image stays dark."""
    ramp = np.arange(256).reshape(16, 16)
    dark, words = Image.fromarray(ramp.astype(np.uint16)), Image.fromarray((ramp * 257).astype(np.int32))
    assert dark.mode == "I;16"
    assert words.mode == "I"
    assert shown_of(dark)[0].max() <= 1
    low = Image.fromarray(ramp.astype(np.int32))
    first, second = shown_of(low, words)
    assert first.max() <= 1
    assert np.abs(second - ramp).max() <= 1
    assert "8 bits" not in caplog.text
    for shown in shown_of(low, low):
        assert np.abs(shown - ramp).max() <= 1
    assert caplog.text.count("2 images of Pillow's mode 'I' hold no number above 255: they are taken to be of") == 1
    with pytest.raises(ValueError, match=r"images\[0\] holds whole numbers from 0 to 65791; accepted are 0..65535"):
        explain(small_cnn(), [Image.fromarray((ramp * 258 + 1).astype(np.int32).clip(0) - (ramp == 0))])
