"""Two quantities: maps with a strength, and heatmaps that have none."""

import numpy as np
import pytest
import torch

from lightning_gradcam import GradCAMCallback, explain
from lightning_gradcam.cam.calls import Inputs
from lightning_gradcam.cam.compute import compute_cams
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.maps import Cams, Heatmaps, enlarged
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.pictures.shown import ShownImages

from ..conftest import Classifier, Events, scalars, small_cnn

WITHOUT_PEAKS = [{"aug_smooth": True}, {"method": "scorecam"}]


def shown() -> ShownImages:
    return ShownImages([np.zeros((16, 16, 3), np.uint8)] * 2, Task("multiclass", 3), [[0], [1]], "")


def maps_of(**settings: object):
    torch.manual_seed(0)
    model, images = small_cnn(), torch.rand(2, 3, 16, 16)
    with Lender(model).twin(Settings(**{"target": "predicted", **settings})) as (lent, own):
        plan = make_plan(lent, Inputs(images), None, own)
        return compute_cams(lent, Inputs(images), plan.known(None), plan)[0]


@pytest.mark.parametrize("settings", WITHOUT_PEAKS)
def test_what_is_scaled_on_the_way_has_no_peaks(settings) -> None:
    """And cannot be drawn as shares of any."""
    found = maps_of(target_layer="6", **settings)
    assert isinstance(found, Heatmaps)
    sight = shown().sight(found)
    assert sight.peaks is None
    with pytest.raises(TypeError, match="without peaks"):
        sight.heat((16, 16), np.ones((2, 1)))


def test_a_model_in_double_precision_is_drawn_as_any_other() -> None:
    """In float32: whose pictures they are does not change what they take."""
    torch.manual_seed(0)
    maps, each, one = torch.rand(2, 1, 4, 4), torch.ones(2, 1), torch.ones(2, 1)
    found = (Cams(of, each, one[:, 0], one, "a", one) for of in (maps, maps.double()))
    single, double = (shown().sight(one).heat((8, 8)) for one in found)
    assert double.dtype == np.float32
    assert np.abs(single - double).max() < 1e-6


@pytest.mark.parametrize("size", [(224, 160), (7, 5), (4, 4), (3, 11)])
def test_what_is_drawn_is_enlarged_as_torch_does(size) -> None:
    """By itself, and as a share of a peak."""
    torch.manual_seed(0)
    maps, peaks, one = torch.rand(2, 2, 7, 5), torch.rand(2, 2), torch.ones(2)
    maps = maps / maps.amax((2, 3), keepdim=True)
    found = Cams(maps, one[:, None], one, one[:, None].expand(2, 2), "a", peaks)
    sight = shown().sight(found)
    assert torch.tensor(sight.heat(size)).allclose(found.heatmaps(size), atol=1e-6)
    shares = (enlarged(maps, size) * (peaks / 0.8)[..., None, None]).clamp(0, 1)
    assert torch.tensor(sight.heat(size, np.full((2, 2), 0.8, np.float32))).allclose(shares, atol=1e-6)


def test_averaged_layers_have_the_mean_of_theirs() -> None:
    """Of each image; also by `explain`, whose raw maps have them as their maxima."""
    first, second, both = (maps_of(target_layer=layers, method="gradcam") for layers in ("0", "6", [["0", "6"]]))
    assert isinstance(both, Cams)
    assert torch.allclose(both.peaks, (first.peaks + second.peaks) / 2, rtol=1e-5)
    torch.manual_seed(0)
    found = explain(small_cnn(), torch.rand(2, 3, 16, 16), ["0", "6"], method="gradcam")
    assert torch.allclose(found.peaks, both.peaks[:, 0])
    assert torch.allclose(found.raw.amax((1, 2)), found.peaks, rtol=1e-3)


@pytest.mark.parametrize("settings", WITHOUT_PEAKS)
def test_explain_tells_no_peak_where_there_is_none(settings) -> None:
    """None, instead of a 1 that nobody measured."""
    found = explain(small_cnn(), torch.rand(2, 3, 16, 16), "6", **settings)
    assert found.peaks is None
    assert found.raw is None
    assert found.heatmaps.shape == (2, 16, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aug_smooth": True}, "scale='run' .* aug_smooth=True have none"),
        ({"method": "scorecam"}, "scale='run' .* method='scorecam' have none"),
    ],
)
def test_what_has_no_peaks_cannot_be_scaled_by_them(settings, message) -> None:
    """Refused by name, at once."""
    with pytest.raises(ValueError, match=message):
        GradCAMCallback(scale="run", **settings)


def test_a_peak_that_does_not_exist_is_not_logged(make_trainer, loader, tmp_path) -> None:
    """Nor can it be monitored; all other numbers are there."""
    make_trainer(GradCAMCallback(images=2, aug_smooth=True), max_epochs=1).fit(Classifier(), loader, loader)
    logged = scalars(tmp_path / "run")
    assert "gradcam/network.6/peak" not in logged
    assert len(logged["gradcam/network.6/focus"]) == 2


def test_averaged_layers_are_scaled_by_the_run(make_trainer, loader, tmp_path) -> None:
    """Their peaks are logged, and below the highest the heat is weaker than by itself."""
    pictures = {}
    for scale in ("image", "run"):
        torch.manual_seed(0)
        callback = GradCAMCallback([["network.0", "network.6"]], images=4, scale=scale)
        make_trainer(callback, max_epochs=2).fit(Classifier(), loader, loader)
        pictures[scale] = Events(tmp_path / "run").pictures("gradcam/network.0+network.6")[-1].astype(int)
    peaks = callback._memory.histories["gradcam/network.0+network.6"]
    assert len(scalars(tmp_path / "run")["gradcam/network.0+network.6/peak"]) == 6
    below = [look.peaks < peaks.highest for look in peaks.looks]
    assert any(bool(one.any()) for one in below)
    assert (pictures["image"] != pictures["run"]).any()
