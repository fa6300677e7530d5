"""Event files read back, whatever became of the clock, of the folder and of their bits."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DataType
from tensorboard.summary.writer.record_writer import RecordWriter

from lightning_gradcam import AttentionLog, read_log
from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.errors import SettingError
from lightning_gradcam.logs import schema
from lightning_gradcam.logs.packing import mark_of_way, pack_images, pack_look, told_of_images
from lightning_gradcam.logs.runs import find_runs, read_layers
from lightning_gradcam.pictures.looks import Caption
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History, Look

GRID = schema.grid_tag("layer")
MAPS, PROBE = schema.part_tag(GRID, schema.MAPS), schema.part_tag(schema.ROOT, schema.PROBE_SET)
KNOWN = ["first", "second"]
SHOWN = ShownImages([np.full((8, 8, 3), 60, np.uint8)] * 2, Task("regression", 1), [[1.5], [7.0]], "about", unit="step")


def trained(peaks: list[float], behind: Sequence[Look] = ()) -> list[Look]:
    """The looks of a training with these peaks, from step 0 on or behind others."""
    history, start = History("layer"), behind[-1].step + 1 if behind else 0
    for look in behind:
        history = history.followed_by(look)
    for place, peak in enumerate(peaks):
        maps = torch.zeros(2, 1, 2, 2)
        maps[:, 0, place % 2, 1] = 1
        one = torch.zeros(2, 1)
        zeros = torch.zeros(2, dtype=torch.long)
        history = history.with_look(start + place, Cams(maps, one, zeros, zeros[:, None], "layer", one + peak))
    return list(history.looks[-len(peaks) :])


def packed(look: Look, shown: ShownImages = SHOWN, values: dict[str, torch.Tensor] | None = None) -> list[bytes]:
    return pack_look(look, values or {}, [Caption("", "predicted 0", False)] * 2, mark_of_way(shown, KNOWN))


def write(folder: Path, records: list[tuple[str, int, list[bytes]]], clock: list[float], name: str = "a") -> Path:
    """Write records, each with what the clock said then."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"events.out.tfevents.{name}"
    with file.open("wb") as stream:
        writer = RecordWriter(stream)
        for (tag, step, parts), now in zip(records, clock, strict=True):
            metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=schema.PLUGIN))
            tensor = TensorProto(dtype=DataType.DT_STRING, string_val=parts)
            value = Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
            writer.write(Event(wall_time=now, step=step, summary=Summary(value=[value])).SerializeToString())
    return file


def write_looks(folder: Path, looks: list[Look], shown: ShownImages = SHOWN, name: str = "a") -> Path:
    records = [(PROBE, 0, pack_images(shown, told_of_images(shown, KNOWN, [30, 12])))]
    records += [(MAPS, look.step, packed(look, shown)) for look in looks]
    return write(folder, records, [float(at) for at in range(len(records))], name)


def peaks(log: AttentionLog) -> list[float]:
    assert log.peaks is not None
    return log.peaks[:, 0, 0].tolist()


@pytest.mark.parametrize("shift", [-0.5, -3600.0])
def test_a_clock_that_goes_back_hides_nothing(tmp_path, shift) -> None:
    """Looks lie in the order in which they were written."""
    looks = trained([1.0, 2.0, 3.0, 4.0])
    records = [(MAPS, look.step, packed(look)) for look in looks]
    write(tmp_path, records, [100.0, 101.0, 101 + shift, 102 + shift])
    log = read_log(tmp_path)
    assert log.steps.tolist() == [0, 1, 2, 3]
    assert peaks(log) == [1, 2, 3, 4]


def test_two_trainings_in_one_folder_are_not_mixed(tmp_path) -> None:
    """The one that has the last look is read, and that there are others is told."""
    one, other = trained([1.0, 2.0, 3.0]), trained([10.0, 20.0])
    written = [one[0], other[0], one[1], other[1], one[2]]
    write_looks(tmp_path, written)
    log = read_log(tmp_path)
    assert peaks(log) == [1, 2, 3]
    told = "2 of 5 looks at 'layer' of run '.' are of a branch that was left, or of another training, and left out"
    assert log.notes == (told,)


def test_a_run_goes_on_from_looks_that_another_training_wrote_over(tmp_path) -> None:
    """They are in the file, and `with_earlier` has them; what no other way or image is part of, has not."""
    first = trained([1.0, 2.0, 3.0])
    second = trained([4.0, 5.0], behind=first[:2])
    write_looks(tmp_path / "a", [*first, *trained([7.0, 8.0])])
    write_looks(tmp_path / "b", second)
    log = read_log(tmp_path)
    assert peaks(log.of("a")) == [7, 8]
    assert log.of("b").notes == (
        "'layer' of run 'b' begins at 2, and goes on from run 'a', at 1; with_earlier() has that too",
    )
    assert peaks(log.of("b").with_earlier()) == [1, 2, 4, 5]
    write_looks(tmp_path / "b", second, replace(SHOWN, about="another"))
    log = read_log(tmp_path).of("b")
    assert log.notes == (
        "'layer' of run 'b' begins at 2: what run 'a' has of before that is of other images, or made in another way",
    )
    write_looks(tmp_path / "c" / "one", first)
    write_looks(tmp_path / "c" / "two", trained([9.0], behind=first))
    assert peaks(read_log(tmp_path / "c").with_earlier()) == [1, 2, 3, 9]  # one line, which is a log of its own
    assert peaks(log.with_earlier()) == [4, 5]


def test_another_layers_looks_are_none_of_a_runs(tmp_path) -> None:
    """Though their maps, and so their ids, are the same: two callbacks that look at one layer."""
    first = trained([1.0, 2.0])
    second = trained([3.0], behind=first)
    other = MAPS.replace("layer", "a/layer")
    images = told_of_images(SHOWN, KNOWN)
    for folder, looks in (("one", first), ("two", second)):
        records = [(tag, look.step, packed(look)) for tag in (other, MAPS) for look in looks]
        probes = [(tag, 0, pack_images(SHOWN, images)) for tag in (PROBE.replace("probe", "a/probe"), PROBE)]
        write(tmp_path / folder, [*probes, *records], [float(at) for at in range(2 + len(records))])
    for log in read_log(tmp_path).of("two"):
        assert log._layer.earlier.layer == log.layer


def test_images_of_several_sizes_are_none(tmp_path) -> None:
    """All are as large in a log that was written by this package."""
    (look,) = trained([1.0])
    small = replace(SHOWN, pictures=[np.full((4, 4, 3), 60, np.uint8)] * 2)
    header, first, _ = pack_images(SHOWN, told_of_images(SHOWN, KNOWN))
    *_, second = pack_images(small, told_of_images(SHOWN, KNOWN))
    told = json.loads(header) | {"pictures": [crc32(first), crc32(second)]}
    del told["check"]
    write(tmp_path, [(PROBE, 0, [json.dumps(told).encode(), first, second]), (MAPS, 0, packed(look))], [1, 2])
    log = read_log(tmp_path)
    assert log.pictures == []
    assert log.notes == ("the images that the looks at 'layer' of run '.' are of cannot be read",)


def test_a_peak_that_is_infinite_darkens_no_other_look(tmp_path) -> None:
    """In pictures whose maps are shares of the highest peak."""
    looks = trained([1.0, np.inf, 2.0])
    write_looks(tmp_path, looks, replace(SHOWN, by_run=True))
    drawing = read_log(tmp_path)._layer.drawing([0, 2], [0, 1])
    assert drawing.highest is not None
    assert drawing.highest.ravel().tolist() == [2, 2]


def test_of_copies_the_one_that_fits_and_has_most_is_gone_on_from(tmp_path) -> None:
    """Whatever they are called: of one that is looked at in another way, and of one without its numbers, neither."""
    first = trained([1.0, 2.0])
    write_looks(tmp_path / "a", first, replace(SHOWN, about="another"))
    write_looks(tmp_path / "b", first)
    values = {"focus": torch.ones(2, 1)}
    images = pack_images(SHOWN, told_of_images(SHOWN, KNOWN))
    records = [(PROBE, 0, images), *((MAPS, look.step, packed(look, values=values)) for look in first)]
    write(tmp_path / "c", records, [1, 2, 3])
    write_looks(tmp_path / "d", trained([5.0], behind=first))
    log = read_log(tmp_path).of("d")
    told = "'layer' of run 'd' begins at 2, and goes on from run 'c', at 1; with_earlier() has that too"
    assert log.notes == (told,)
    assert log.with_earlier().numbers["focus"][:2].tolist() == [[[1], [1]]] * 2


def test_a_look_that_names_itself_or_what_comes_behind_it_is_one_that_begins(tmp_path) -> None:
    """No training goes back: whatever looks say, the last of them ends a line."""
    first, second = trained([1.0, 2.0])
    write_looks(tmp_path, [replace(first, before=(first.id, second.id)), second])
    assert peaks(read_log(tmp_path)) == [1, 2]


def test_no_training_looks_twice_at_one_step(tmp_path) -> None:
    """A look that goes on from one of its own step begins anew."""
    first, second = trained([1.0, 2.0])
    again = replace(second, id="another", before=(second.id, first.id))
    write_looks(tmp_path, [first, second, again])
    log = read_log(tmp_path)
    assert log.steps.tolist() == [1]
    assert log.notes[0].startswith("2 of 3 looks at 'layer' of run '.' are of a branch that was left")


def test_a_file_that_was_copied_is_read_once(tmp_path) -> None:
    """And is no other training."""
    file = write_looks(tmp_path, trained([1.0, 2.0, 3.0]))
    file.with_name(f"{file.name}.copy").write_bytes(file.read_bytes())
    log = read_log(tmp_path)
    assert peaks(log) == [1, 2, 3]
    assert log.notes == ()


def test_a_look_that_is_missing_is_told(tmp_path) -> None:
    """The next one knows that there was one."""
    looks = trained([1.0, 2.0, 3.0, 4.0])
    write_looks(tmp_path, [looks[0], *looks[2:]])
    log = read_log(tmp_path)
    assert log.steps.tolist() == [0, 2, 3]
    assert log.notes == ("looks at 'layer' of run '.' are missing right before 2",)


def test_a_bit_that_changes_changes_no_array_in_silence(tmp_path) -> None:
    """What is read is as it was, or something is said; a last look whose name changes is one that was never written."""
    looks = trained([1.0, 2.0, 3.0])
    file = write_looks(tmp_path, looks)
    whole = file.read_bytes()
    clean = read_log(tmp_path)
    words = (clean.truths, clean.said, clean.unit, clean.task, clean.indices, clean.fingerprints)
    silent = 0
    for place in np.random.default_rng(0).choice(len(whole) * 8, 400, replace=False):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(content)
        try:
            log = read_log(tmp_path)
        except SettingError:
            continue
        if len(log) != 1:  # another layer's name
            silent += not log.notes
            continue
        told = (log.truths, log.said, log.unit, log.task, log.indices, log.fingerprints)
        count = len(log.steps)
        same = log.steps.tolist() == [0, 1, 2][:count] and (log.maps == clean.maps[:count]).all()
        same = same and peaks(log) == [1, 2, 3][:count]
        same = same and told == words and all((a == b).all() for a, b in zip(log.pictures, clean.pictures, strict=True))
        silent += not same and not log.notes
    assert silent == 0


def test_one_image_that_is_broken_costs_itself_alone(tmp_path) -> None:
    """What is known of all of them stays; it is gray."""
    header, first, second = pack_images(SHOWN, told_of_images(SHOWN, KNOWN))
    broken = bytes([first[0] ^ 1]) + first[1:]
    look = trained([1.0])[0]
    write(tmp_path, [(PROBE, 0, [header, broken, second]), (MAPS, 0, packed(look))], [1.0, 2.0])
    log = read_log(tmp_path)
    assert (log.unit, log.task, log.truths) == ("step", "regression", [[1.5], [7.0]])
    assert log.notes == ("1 of the 2 images of 'layer' of run '.' cannot be read",)
    assert [int(picture.mean()) for picture in log.pictures] == [128, 60]


def test_places_in_the_data_set_are_in_the_log_and_the_table(tmp_path) -> None:
    """Of each image, in their order."""
    write_looks(tmp_path, trained([1.0]))
    log = read_log(tmp_path)
    assert log.indices == [30, 12]
    assert log.to_columns()["index"].tolist() == [30, 12]


def test_what_cannot_be_read_is_told_of_the_whole_line_too(tmp_path) -> None:
    """A broken file of another folder, too."""
    write_looks(tmp_path / "run", trained([1.0]))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "events.out.tfevents.1.x").write_bytes(bytes(range(1, 200)))
    log = read_log(tmp_path)
    assert "events.out.tfevents.1.x" in " ".join(log.notes)
    assert log.with_earlier().notes == log.notes


@pytest.mark.parametrize("value", [1, True, None, 1.5, "x", {}, {"a": 1}, [1, 2], [None, None], [[], {}], [10**30, 1]])
def test_a_header_that_says_anything_costs_its_images_alone(tmp_path, value) -> None:
    """Whatever a field of it is: the run beside it is read, and its looks are."""
    write_looks(tmp_path / "good", trained([1.0]))
    header, *pictures = pack_images(SHOWN, told_of_images(SHOWN, KNOWN))
    for name in (fields := json.loads(header)):
        told = fields | {name: value}
        del told["check"]
        record = [json.dumps(told).encode(), *pictures]
        write(tmp_path / "bad", [(PROBE, 0, record), (MAPS, 0, packed(trained([1.0])[0]))], [1.0, 2.0])
        log = read_log(tmp_path)
        assert log.runs == ("bad", "good")
        assert log.of("good").said == ["true 1.5", "true 7"]
        assert np.asarray(log.of("bad").indices or [0]).dtype == np.int64


def test_a_file_that_is_gone_by_now_is_told(tmp_path) -> None:
    """As of a run that is deleted while its folder is read."""
    file = write_looks(tmp_path / "gone", trained([1.0]))
    write_looks(tmp_path / "there", trained([2.0]))
    runs, notes = find_runs(tmp_path, []), []
    file.unlink()
    [layer] = read_layers(runs, notes)
    assert layer.run == "there"
    assert "cannot be read" in " ".join(notes)


def test_a_part_of_a_runs_path_finds_it(tmp_path) -> None:
    """As of folders that each have the same tail."""
    for run in ("one/lightning_logs/version_0", "two/lightning_logs/version_0"):
        write_looks(tmp_path / run, trained([1.0]))
    with pytest.raises(SettingError, match="run='two' is not there; did you mean 'two/lightning_logs/version_0'"):
        read_log(tmp_path).of(run="two")


def test_the_share_of_the_thing_is_in_the_log_and_the_table(tmp_path) -> None:
    """Of an image without a thing none; shares that can be none are not read, nor are images that have them."""
    (look,) = trained([1.0])
    images = pack_images(SHOWN, told_of_images(SHOWN, KNOWN, areas=[0.25, np.nan]))
    write(tmp_path / "a", [(PROBE, 0, images), (MAPS, 0, packed(look))], [1, 2])
    log = read_log(tmp_path / "a")
    assert log.areas.tolist() == pytest.approx([0.25, np.nan], nan_ok=True)
    assert log.to_columns()["area"].tolist() == pytest.approx([0.25, np.nan], nan_ok=True)
    write_looks(tmp_path / "b", [look])
    assert read_log(tmp_path / "b").areas is None
    assert np.isnan(read_log(tmp_path / "b").to_columns()["area"]).all()
    for wrong in ([0.25], [0.25, 1.5], [0.25, -0.5], [0.25, "x"], {"a": 1}):
        header, *pictures = pack_images(SHOWN, told_of_images(SHOWN, KNOWN))
        told = json.loads(header) | {"areas": wrong}
        del told["check"]
        write(tmp_path / "c", [(PROBE, 0, [json.dumps(told).encode(), *pictures]), (MAPS, 0, packed(look))], [1, 2])
        assert (
            read_log(tmp_path / "c").notes[0] == "the images that the looks at 'layer' of run '.' are of cannot be read"
        )


def test_a_resumed_run_is_drawn_as_strong_as_the_run_drew_it(tmp_path) -> None:
    """By the peaks of all looks that it goes on from, in whichever run; and it can be read as one line with them."""
    by_run = replace(SHOWN, by_run=True)
    first = trained([8.0, 8.0, 4.0])
    second = trained([2.0, 1.0], behind=first[:2])
    third = trained([1.0], behind=[*first[:2], *second])
    for run, looks in (("a", first), ("b", second), ("c", third)):
        write_looks(tmp_path / run, looks, by_run)
    log = read_log(tmp_path)
    drawn = log.of(run="c")._drawing("grid", 4, None, 1, until_there=True)
    assert drawn.highest is not None
    assert drawn.highest.max() == 8
    assert log.with_earlier().runs == ("a", "c")  # all of b's looks are c's, one of a's was left
    assert read_log(tmp_path / "b").with_earlier().runs == (".",)
    whole = log.of(run="c").with_earlier()
    assert whole.steps.tolist() == [0, 1, 2, 3, 4]
    assert peaks(whole) == [8, 8, 2, 1, 1]
    assert whole.notes == ()
    assert log.of(run="b").notes == (
        "'layer' of run 'b' begins at 2, and goes on from run 'a', at 1; with_earlier() has that too",
    )


def test_headers_that_do_not_fit_harm_no_picture(tmp_path) -> None:
    """Fewer columns than targets, lines and halves of letters in words; a step below 0 is no look."""
    header, *pictures = pack_images(SHOWN, told_of_images(SHOWN, KNOWN))
    told = json.loads(header) | {"columns": ["a\nb", "c"], "said": ["true a\nb", "\ud800"], "about": "x\ud800\ny"}
    del told["check"]
    look = trained([1.0])[0]
    records = [(PROBE, 0, [json.dumps(told).encode(), *pictures]), (MAPS, 0, packed(look)), (MAPS, -2, packed(look))]
    write(tmp_path, records, [1.0, 2.0, 3.0])
    log = read_log(tmp_path)
    assert log.steps.tolist() == [0]
    assert log.about == "x  y"
    assert log.said == ["true a b", " "]
    for picture in (log.grid(), log.filmstrip()):
        assert picture.width > 0
    log.figure()
    assert log.timelapse()[:4] == b"RIFF"


def test_a_look_that_no_reader_would_take_is_refused() -> None:
    """With what it is, in place of data that nobody can read."""
    images, targets = 300, 300
    maps, ones = torch.zeros(images, targets, 28, 28), torch.ones(images, targets)
    zeros = torch.zeros(images, dtype=torch.long)
    found = Cams(maps, torch.zeros(images, 1), zeros, torch.zeros(images, targets, dtype=torch.long), "layer", ones)
    look = History("layer").with_look(0, found).looks[0]
    with pytest.raises(SettingError, match=r"300 images with 300 targets and maps of 28x28 has \d+ MiB, and 64 are"):
        pack_look(look, {}, [Caption("", "", False)] * images, "set")
