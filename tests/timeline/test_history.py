"""What is kept of a look, and read back."""

import pytest
import torch
from torch import Tensor

from lightning_gradcam.cam.maps import Cams, Heatmaps
from lightning_gradcam.timeline.history import History, kept_maps


def cams(maps: Tensor, peaks: Tensor | None = None) -> Cams:
    count = len(maps)
    one = torch.ones(count, 1)
    return Cams(maps, torch.ones(count, 1), torch.zeros(count), one.int(), "layer", one if peaks is None else peaks)


@pytest.mark.parametrize(
    ("size", "kept"), [((28, 28), (28, 28)), ((29, 29), (28, 28)), ((56, 28), (28, 14)), ((3, 300), (1, 28))]
)
def test_a_kept_map_has_28_places_along_its_longer_side_at_most(size, kept) -> None:
    """In the image's aspect ratio, and with its maximum at 1 again."""
    maps = torch.zeros(2, 1, *size)
    maps[0, 0, 0, 0] = 1
    found = kept_maps(cams(maps))
    assert found.shape[2:] == kept
    assert found.amax((1, 2, 3)).tolist() == [1, 0]


def test_a_view_has_the_last_look_beside_the_one_before() -> None:
    """In 0..1, as it was found and as it is kept."""
    generator = torch.Generator().manual_seed(0)
    steps = [torch.rand(2, 1, 4, 4, generator=generator) for _ in range(3)]
    history = History("layer")
    for step, maps in enumerate(steps):
        history = history.with_look(step, cams(maps))
        view = history.view(cams(maps), None)
        assert torch.equal(view.maps, maps)
        assert torch.allclose(view.kept, maps, atol=0.5 / 255 + 1e-6)
        assert (view.previous is None) == (step == 0)
        assert step == 0 or torch.allclose(view.previous, steps[step - 1], atol=0.5 / 255 + 1e-6)


def test_the_highest_peak_is_of_finite_ones() -> None:
    """Of a map that had none it is 0."""
    maps = torch.ones(3, 1, 2, 2)
    looks = [torch.tensor([[0.5], [torch.nan], [torch.nan]]), torch.tensor([[torch.inf], [0.25], [torch.inf]])]
    history = History("layer").with_look(0, cams(maps, looks[0])).with_look(1, cams(maps, looks[1]))
    assert history.highest.tolist() == [[0.5], [0.25], [0]]


def test_maps_of_another_kind_begin_anew() -> None:
    """Of another size, or with peaks where the others have none."""
    maps = torch.ones(2, 1, 4, 4)
    first = cams(maps)
    without = Heatmaps(maps, first.scores, first.predictions, first.targets, "layer", torch.zeros(2, 1))
    history = History("layer").with_look(0, first).with_look(1, first)
    for other in (without, cams(torch.ones(2, 1, 2, 2))):
        assert [look.step for look in history.with_look(2, other).looks] == [2]
    assert [look.step for look in history.with_look(2, first).looks] == [0, 1, 2]


def test_a_training_that_goes_on_from_a_step_takes_back_what_came_behind() -> None:
    """An evaluation stands beside all that was seen."""
    found = cams(torch.ones(2, 1, 4, 4))
    history = History("layer").with_look(0, found).with_look(1, found).with_look(2, found)
    assert [look.step for look in history.with_look(1, found).looks] == [0, 1]
    assert [look.step for look in history.with_look(1, found, beside=True).looks] == [0, 1, 2, 1]


def test_the_untrained_network_is_that_of_step_0_alone() -> None:
    """Not the first that was seen of one that was trained before, nor of the look itself."""
    maps = torch.ones(1, 1, 2, 2)
    begun = History("layer").with_look(0, cams(maps))
    assert begun.view(cams(maps), None, from_scratch=True).untrained is None
    assert begun.with_look(1, cams(maps)).view(cams(maps), None).untrained is None
    assert begun.with_look(1, cams(maps)).view(cams(maps), None, from_scratch=True).untrained is not None
    later = History("layer").with_look(3, cams(maps)).with_look(4, cams(maps))
    assert later.view(cams(maps), None, from_scratch=True).untrained is None


@pytest.mark.parametrize(("count", "apart"), [(600, 1), (601, 2), (1200, 2), (1201, 4), (5000, 16)])
def test_of_many_looks_some_are_kept_of_the_images_that_are_drawn(count, apart) -> None:
    """Evenly, never more than 600 and the last; the ends are whole, and no peak is forgotten."""
    history = History("layer", rows=(2, 0))
    for step in range(count):
        maps = torch.rand(3, 1, 2, 2)
        peaks = torch.full((3, 1), 9.0 if step == 3 else 1.0)
        history = history.with_look(step, cams(maps / maps.amax((2, 3), keepdim=True), peaks))
    steps = [look.step for look in history.looks]
    assert steps == sorted({*range(0, count, apart), count - 1})
    assert len(steps) <= 601
    assert history.count == count
    assert history.looks[-1].maps.shape == (2, 1, 2, 2)
    assert torch.equal(history.looks[-1].maps, history.last.maps[[2, 0]])
    assert [one.step for one in (history.first, history.before, history.last)] == [0, count - 2, count - 1]
    assert history.highest.tolist() == [[9], [9]]


def test_a_training_that_goes_back_keeps_the_raster() -> None:
    """Of what stays, and counts on from there; what lies before the next look is not known."""
    history = History("layer")
    for step in range(1000):
        history = history.with_look(step, cams(torch.ones(1, 1, 2, 2), torch.full((1, 1), float(step))))
    again = history.with_look(501, cams(torch.ones(1, 1, 2, 2), torch.ones(1, 1)))
    assert [look.step for look in again.looks] == [*range(0, 501, 2), 501]
    assert again.count == 502
    assert again.before is None
    assert again.highest.tolist() == [[500]]
    assert [look.step for look in again.with_look(502, cams(torch.ones(1, 1, 2, 2))).looks][-2:] == [501, 502]


def test_a_look_is_told_from_those_of_any_other_line() -> None:
    """By all that was seen and by what came before; it names eight of these, the nearest first."""
    maps = torch.rand(10, 1, 1, 2, 2)
    lines = [History("layer"), History("layer")]
    for step, one in enumerate(maps):
        lines = [line.with_look(step, cams(one / one.max())) for line in lines]
    assert [look.id for look in lines[0].looks] == [look.id for look in lines[1].looks]
    ids = [look.id for look in lines[0].looks]
    assert len(set(ids)) == 10
    assert lines[0].looks[-1].before == tuple(reversed(ids[1:9]))
    other = History("layer").with_look(0, cams(maps[1] / maps[1].max()))
    for step, one in enumerate(maps[1:], start=1):
        other = other.with_look(step, cams(one / one.max()))
    assert not set(ids) & {look.id for look in other.looks}  # though all but the first saw the same
    back = lines[0].with_look(5, cams(maps[5] / maps[5].max()))
    assert back.last.id == ids[5]
