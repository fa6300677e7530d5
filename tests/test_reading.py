"""What was logged is read back as the callback had it, whoever else wrote to the folder and however the run ended."""

import json
import logging
import math
import os
import struct
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DataType
from torch.utils.tensorboard import SummaryWriter

from lightning_gradcam import AttentionLog, GradCAMCallback, read_log
from lightning_gradcam.cam.maps import SHOWN
from lightning_gradcam.errors import SettingError
from lightning_gradcam.logs import schema
from lightning_gradcam.logs.packing import pack_caution
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import METRICS

from .conftest import Classifier, scalars
from .dashboard.test_plugin import LAYER, MAPS, PROBE_SET, look_record, probe_record, write_parts, write_run


def event_file(folder: Path) -> Path:
    [file] = folder.glob("events*")
    return file


def cut_off(folder: Path, count: int) -> None:
    """Take bytes from the end of a run's file."""
    file = event_file(folder)
    file.write_bytes(file.read_bytes()[:-count])


def record_starts(file: Path) -> list[int]:
    """Where each record of an event file begins."""
    content, starts, at = file.read_bytes(), [], 0
    while at < len(content):
        starts.append(at)
        at += struct.unpack_from("<Q", content, at)[0] + 16
    return starts


def flip(file: Path, place: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def write_strings(
    writer: SummaryWriter, tag: str, parts: list[bytes], step: int, metadata: SummaryMetadata | None = None
) -> None:
    tensor = TensorProto(dtype=DataType.DT_STRING, string_val=parts)
    value = Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
    writer._get_file_writer().add_summary(Summary(value=[value]), step)


def is_same(log: AttentionLog, history: History) -> None:
    """The arrays of a log are those of the looks that the callback keeps."""
    looks = history.looks
    assert log.steps.tolist() == [look.step for look in looks]
    assert (log.maps == torch.stack([look.maps for look in looks]).numpy() / np.float32(255)).all()
    for name in ("states", "scores", "predictions", "targets"):
        kept = torch.stack([getattr(look, name) for look in looks]).numpy()
        assert getattr(log, name).dtype == kept.dtype, name
        assert (getattr(log, name) == kept).all(), name
    assert log.peaks is not None
    drawn = log.states == SHOWN
    assert (log.peaks[drawn] == torch.stack([look.peaks for look in looks]).numpy()[drawn]).all()
    assert np.isnan(log.peaks[~drawn]).all()


def test_a_fit_is_read_as_the_callback_saw_it(make_trainer, loader, tmp_path) -> None:
    """Two layers, two targets, names; and the means are those that Lightning logged."""
    callback = GradCAMCallback(
        ["network.0", "network.5"], images=4, target=[0, 2], class_names=["cat", "dog", "owl"], trust=True
    )
    make_trainer(callback, num_sanity_val_steps=0).fit(Classifier(), loader, loader)
    whole = read_log(tmp_path)
    assert (whole.runs, whole.layers, len(whole), whole.notes) == (("run",), ("network.0", "network.5"), 2, ())
    for log, layer in zip(whole, ("network.0", "network.5"), strict=True):
        is_same(log, callback._memory.histories[schema.grid_tag(layer)])
        assert (log.run, log.layer, log.unit, log.task) == ("run", layer, "epoch", "multiclass")
        assert log.maps.shape[:3] == (3, 4, 2)
        assert log.maps.dtype == np.float32
        assert set(log.maps.max((3, 4))[log.states == SHOWN].tolist()) == {1.0}
        logged = scalars(tmp_path / "run")
        for name in ("drift", "focus", "border", "peak"):
            tail = logged[schema.part_tag(schema.grid_tag(layer), name)]
            assert log.mean(name)[-len(tail) :] == pytest.approx(tail, rel=1e-5), name
        assert np.isnan(log.numbers["drift"][0]).all()
        assert np.isnan(log.mean("drift")[0])
        assert log.metrics == {name: metric.words for name, metric in METRICS.items()}
        assert log.columns == ["cat", "owl"]
        assert log.class_names == ["cat", "dog", "owl"]
        assert log.about.startswith("target: cat, owl")
        assert log.caution
    names = ["cat", "dog", "owl"]
    assert [f"true {names[int(truth[0])]}" for truth in log.truths] == log.said
    assert (log.wrong == (log.predictions != np.array(log.truths)[:, 0])).all()
    assert log.answers.shape == (3, 4)
    score, predicted = log.scores[1, 2, 0], names[log.predictions[1, 2]]
    assert log.answers[1, 2] == f"predicted {predicted} ({score:.0%})"
    assert [(picture.shape, picture.dtype) for picture in log.pictures] == [((16, 16, 3), np.uint8)] * 4
    assert len(set(log.fingerprints)) == 4


def test_looks_by_steps_of_a_callback_with_a_name_are_in_its_unit(make_trainer, loader, tmp_path) -> None:
    """The layer is behind the name, and can be asked for so."""
    callback = GradCAMCallback(images=2, every_n_train_steps=2, name="fine")
    make_trainer(callback, max_epochs=1, num_sanity_val_steps=0).fit(Classifier(), loader, loader)
    log = read_log(str(tmp_path / "run"))
    assert (log.unit, log.run, log.layer) == ("step", ".", "fine/network.6")
    is_same(log, callback._memory.histories[schema.grid_tag(LAYER, "fine")])
    assert log.steps.tolist() == [0, 2]
    assert log.of(layer="fine/network.6") is log


def test_a_resumed_run_has_each_step_once(tmp_path) -> None:
    """0 to 5, then from 3 on again in a file of its own, with other peaks: what was left is left out."""
    first = write_run(tmp_path / "run", 6)
    again = write_run(tmp_path / "run", 2, start=3)
    log = read_log(tmp_path)
    assert len(list((tmp_path / "run").glob("events*"))) == 2
    is_same(log, History(LAYER, looks=(*first.looks[:3], *again.looks)))
    assert log.steps.tolist() == [0, 1, 2, 3, 4]
    told = (
        "3 of 8 looks at 'network.6' of run 'run' are of a branch that was left, or of another training, and left out"
    )
    assert log.notes == (told,)


def test_a_fit_that_goes_on_from_a_checkpoint_is_read_as_one(make_trainer, loader, tmp_path) -> None:
    """In the same folder, with the same images."""
    trainer = make_trainer(GradCAMCallback(images=2), max_epochs=2, num_sanity_val_steps=0)
    trainer.fit(Classifier(), loader, loader)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    resumed = GradCAMCallback(images=2)
    make_trainer(resumed, max_epochs=4).fit(Classifier(), loader, loader, ckpt_path=tmp_path / "two.ckpt")
    log = read_log(tmp_path / "run")
    assert log.steps.tolist() == [0, 1, 2, 3, 4]
    is_same(log, resumed._memory.histories[schema.grid_tag(LAYER)])
    assert log.notes == ()


@pytest.mark.parametrize(
    "options",
    [{"method": "layercam"}, {"target": 1}, {"every_n_train_steps": 4}, {"scale": "run"}, {"eigen_smooth": True}],
    ids=str,
)
def test_looks_in_another_way_are_left_out_and_told(make_trainer, loader, tmp_path, options) -> None:
    """All that is said of a log is said of each look: a run that is resumed with other settings is two."""
    first = make_trainer(GradCAMCallback(images=4, target="label"), max_epochs=2)
    first.fit(Classifier(), loader, loader)
    first.save_checkpoint(tmp_path / "two.ckpt")
    resumed = make_trainer(GradCAMCallback(**{"images": 4, "target": "label", **options}), max_epochs=4)
    resumed.fit(Classifier(), loader, loader, ckpt_path=tmp_path / "two.ckpt")
    log = read_log(tmp_path / "run")
    way = "target: label  ·  gradcam  ·  multiclass; counted in epochs"
    assert log.notes == (
        f"3 of 5 looks at {LAYER!r} of run '.' are made in another way than the last ({way}), and left out",
    )
    by_steps = "every_n_train_steps" in options
    assert (log.unit, log.steps.tolist()) == (("step", [8, 12]) if by_steps else ("epoch", [3, 4]))
    assert log.scale == options.get("scale", "image")
    assert options.get("method", "gradcam") in log.about
    assert ("gradcam + eigen_smooth" in log.about) == ("eigen_smooth" in options)
    assert f"target: {options.get('target', 'label')}" in log.about


def test_names_may_come_with_a_resume(make_trainer, loader, tmp_path, caplog) -> None:
    """What classes are called says nothing of how images are looked at, of one class or of several."""
    for target in (1, [0, 2]):
        folder = tmp_path / str(target)
        logger = TensorBoardLogger(folder, name="", version="run")
        first = make_trainer(GradCAMCallback(images=4, target=target), max_epochs=2, logger=logger)
        first.fit(Classifier(), loader, loader)
        first.save_checkpoint(folder / "two.ckpt")
        named = GradCAMCallback(images=4, target=target, class_names=["a", "b", "c"])
        with caplog.at_level(logging.WARNING, logger="lightning_gradcam"):
            resumed = make_trainer(named, max_epochs=3, logger=logger)
            resumed.fit(Classifier(), loader, loader, ckpt_path=folder / "two.ckpt")
        assert not [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        log = read_log(folder)
        caplog.clear()
        told = f"classes of {LAYER!r} of run 'run' were called by their numbers in earlier looks, whose answers have "
        assert (log.steps.tolist(), log.notes) == ([0, 1, 2, 3], (f"{told}those names",))
        assert log.about.startswith("target: b  ·" if target == 1 else "target: a, c  ·")


def test_looks_at_other_images_or_of_other_shapes_are_left_out_and_told(tmp_path) -> None:
    """The last look's are what the arrays are of; so are the pictures."""
    write_run(tmp_path / "images", 3, shade=10)
    last = write_run(tmp_path / "images", 2, start=3, first=7, shade=200)
    write_run(tmp_path / "shapes", 3, side=4)
    write_run(tmp_path / "shapes", 2, side=5, start=3)
    images, shapes = read_log(tmp_path)
    is_same(images, last)
    assert {int(picture.mean()) for picture in images.pictures} == {200, 201, 202}
    assert images.notes == (
        f"3 of 5 looks at {LAYER!r} of run 'images' are of other images than the last, and left out",
    )
    assert shapes.maps.shape == (2, 3, 1, 5, 5)
    assert shapes.notes == (
        f"3 of 5 looks at {LAYER!r} of run 'shapes' are of other shapes than the last, and left out",
    )
    assert read_log(tmp_path).notes == images.notes + shapes.notes


@pytest.mark.parametrize("count", [1, 5, 100])
def test_what_is_cut_off_at_the_end_is_no_fault(tmp_path, count) -> None:
    """A run that goes on, or was killed."""
    history = write_run(tmp_path, 4)
    cut_off(tmp_path, count)
    log = read_log(tmp_path)
    is_same(log, History(LAYER, looks=history.looks[:3]))
    assert log.notes == ()


def test_a_broken_length_ends_its_file_and_is_told_once(tmp_path, caplog) -> None:
    """Of the other file all is read."""
    history = write_run(tmp_path / "a", 4)
    write_run(tmp_path / "b", 4)
    file = event_file(tmp_path / "a")
    start = record_starts(file)[-2]
    flip(file, start + 1)
    with caplog.at_level(logging.WARNING):
        log = read_log(tmp_path)
    is_same(log.of(run="a"), History(LAYER, looks=history.looks[:2]))
    assert log.of("b").steps.tolist() == [0, 1, 2, 3]
    size = file.stat().st_size
    told = f"'{file}' cannot be read to its end: it is broken at byte {start} of {size}, and what comes after that is "
    assert log.notes == log.of("a").notes == (f"{told}lost",)
    assert log.of("b").notes == ()
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}: {told}lost"]


def test_every_bit_of_a_length_and_of_its_check_is_checked(tmp_path) -> None:
    """The CRC-32C is TFRecord's: each file of TensorBoard passes, and none with a bit flipped."""
    write_run(tmp_path, 2)
    file = event_file(tmp_path)
    start = record_starts(file)[-1]
    for place, bit in product(range(12), range(8)):
        flip(file, start + place, bit)
        assert "broken at byte" in read_log(tmp_path).notes[0], (place, bit)
        flip(file, start + place, bit)
    assert read_log(tmp_path).notes == ()


def test_a_flipped_byte_in_a_look_costs_that_look_and_in_maps_only_these(tmp_path) -> None:
    """Where it is not read, it is told of how many."""
    write_run(tmp_path, 4)
    file = event_file(tmp_path)
    content = file.read_bytes()
    last = record_starts(file)[-1]
    [*_, packed] = Event.FromString(content[last + 12 : -4]).summary.value[0].tensor.string_val
    flip(file, content.index(packed, last) + len(packed) - 1)
    log = read_log(tmp_path)
    assert log.notes == (f"the maps of 1 of 4 looks at {LAYER!r} of run '.' cannot be read",)
    assert np.isnan(log.maps[3]).all()
    assert np.isfinite(log.maps[:3]).all()
    assert log.mean("peak").tolist() == [1, 2, 3, 4]
    flip(file, content.index(b'"sizes"', last))
    log = read_log(tmp_path)
    assert log.notes == (f"1 of 4 looks at {LAYER!r} of run '.' cannot be read",)
    assert log.steps.tolist() == [0, 1, 2]


def test_runs_and_layers_are_chosen_alike(tmp_path) -> None:
    """In natural order; what is not there is told with what is."""
    for run in ("v10", "v9", "deep/er"):
        write_run(tmp_path / run, 2)
    tag = schema.part_tag(schema.grid_tag("layer10"), schema.MAPS)
    write_parts(tmp_path / "v9", tag, look_record())
    log = read_log(tmp_path)
    assert log.runs == ("deep/er", "v9", "v10")
    assert log.layers == ("layer10", LAYER)
    assert [(one.run, one.layer) for one in log] == [
        ("deep/er", LAYER),
        ("v9", "layer10"),
        ("v9", LAYER),
        ("v10", LAYER),
    ]
    assert log.of(layer=LAYER).runs == ("deep/er", "v9", "v10")
    assert log.of("v9").layers == ("layer10", LAYER)
    assert log.of("v9").of(layer=LAYER) is log.of("v9", LAYER)
    with pytest.raises(SettingError, match=r"^run='V9' is not there; did you mean 'v9'.*; there are 'deep/er', 'v9', "):
        log.of("V9")
    with pytest.raises(SettingError, match=r"^layer='layer10' is not there; there are 'network.6'$"):
        log.of("v10", "layer10")
    with pytest.raises(SettingError, match=r"^layer=3 is not there"):
        log.of(layer=3)
    with pytest.raises(SettingError, match=r"^run=<ndarray \(3,\)> is not there"):
        log.of(np.array(log.runs))


@pytest.mark.parametrize(
    "name",
    ["run", "maps", "steps", "states", "answers", "numbers", "peaks", "pictures", "truths", "unit", "caution"],
)
def test_arrays_of_a_wider_log_are_refused_with_the_line_to_paste(tmp_path, name) -> None:
    """Which gives that of the first layer."""
    write_run(tmp_path / "a", 2)
    write_run(tmp_path / "b", 2)
    log = read_log(tmp_path)
    with pytest.raises(SettingError) as caught:
        getattr(log, name)
    told = str(caught.value)
    assert told.startswith(f"{name}: this log is of the runs ['a', 'b'] and the layers ['network.6']")
    assert eval(told.split(" as ")[-1]) is log.of("a")


def test_a_number_that_is_not_there_is_refused(tmp_path) -> None:
    """With the nearest."""
    write_run(tmp_path, 2)
    with pytest.raises(SettingError, match=r"^name='focuss' is no number; did you mean 'focus'\?; there are drift, "):
        read_log(tmp_path).mean("focuss")


def test_a_number_that_some_looks_lack_is_nan_there(tmp_path) -> None:
    """And its mean is over what is there."""
    write_parts(tmp_path, MAPS, look_record(), look_record(M=2), look_record(M=1))
    log = read_log(tmp_path)
    assert {name: values.tolist() for name, values in log.numbers.items()} == {
        "m0": [[[pytest.approx(math.nan, nan_ok=True)]], [[0]], [[0]]],
        "m1": [[[pytest.approx(math.nan, nan_ok=True)]], [[0]], [[pytest.approx(math.nan, nan_ok=True)]]],
    }
    assert log.peaks is None
    assert np.isnan(log.mean("m1")).tolist() == [True, False, True]


def test_what_others_write_is_passed_over(tmp_path) -> None:
    """Scalars, pictures, and texts under tags like ours, also where their metadata stand in the first record alone."""
    write_run(tmp_path, 3)
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("gradcam/a/maps", 1.0, 0)
        writer.add_image("gradcam/b/maps", np.zeros((3, 4, 4), np.uint8), 0)
        writer.add_text("gradcam/c/maps", "no look", 0)
        texts = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        write_strings(writer, "gradcam/d/maps", [b"no look"], 0, texts)
        write_strings(writer, "gradcam/d/maps", [b"no look"], 1)
    log = read_log(tmp_path)
    assert (log.layers, log.notes) == ((LAYER,), ())


def test_ours_are_read_where_only_the_first_record_says_whose_they_are(tmp_path) -> None:
    """As some that write event files anew have it."""
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=schema.PLUGIN))
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(3):
            write_strings(writer, MAPS, look_record(), step, None if step else metadata)
    assert read_log(tmp_path).steps.tolist() == [0, 1, 2]


def test_hostile_records_are_told_and_nothing_more(tmp_path) -> None:
    """Headers that lie, an empty tensor, a step below 0, images of another count, a picture that is none."""
    whole = json.loads(look_record()[0])
    bad = [
        [b"no json"],
        [],
        look_record(h=0),
        look_record(h=4096, w=2**15),
        [json.dumps(whole | {"sizes": whole["sizes"] | {"N": 2**62}}).encode(), *look_record()[1:]],
        [b"[" * 100_000],
    ]
    write_parts(tmp_path / "a", MAPS, *bad, look_record())
    write_parts(tmp_path / "a", PROBE_SET, probe_record(2, probe_set=""), probe_record(picture=b"\xff\xd8\xff?"))
    write_parts(tmp_path / "b", MAPS, *bad)
    log = read_log(tmp_path)
    assert (log.runs, log.steps.tolist(), log.pictures, log.truths, log.said) == (("a",), [6], [], [], [])
    assert (log.unit, log.class_names, log.metrics, log.caution) == ("epoch", None, {}, "")
    assert log.notes == (
        f"6 of 6 looks at {LAYER!r} of run 'b' cannot be read",
        f"6 of 7 looks at {LAYER!r} of run 'a' cannot be read",
        f"the images that the looks at {LAYER!r} of run 'a' are of cannot be read",
        f"{LAYER!r} of run 'a' begins at 6: no log below the folder that was read has what was before that",
    )


def test_a_picture_that_ends_early_is_gray(tmp_path, caplog) -> None:
    """The others are as they were."""
    Image.effect_noise((64, 32), 90).save(tmp_path / "noise.jpg")
    write_parts(tmp_path, MAPS, look_record(N=2))
    header, first, second = probe_record(2, probe_set="", picture=(tmp_path / "noise.jpg").read_bytes())
    write_parts(tmp_path, PROBE_SET, [header, first, second[:-500]])
    log = read_log(tmp_path)
    assert log.notes == ()
    assert (log.pictures[0] == np.asarray(Image.open(tmp_path / "noise.jpg").convert("RGB"))).all()
    assert (log.pictures[1] == np.full((32, 64, 3), 128)).all()
    assert "image 1 of run '.' cannot be read" in caplog.text


def test_a_picture_too_large_to_unpack_is_none(tmp_path) -> None:
    """Few bytes may stand for many."""
    Image.new("L", (5000, 8)).save(tmp_path / "wide.jpg")
    write_parts(tmp_path, MAPS, look_record())
    write_parts(tmp_path, PROBE_SET, probe_record(probe_set="", picture=(tmp_path / "wide.jpg").read_bytes()))
    assert read_log(tmp_path).pictures == []


def test_the_last_caution_is_told(tmp_path) -> None:
    """Of a fit that went on."""
    write_parts(tmp_path, MAPS, look_record())
    write_parts(tmp_path, schema.caution_tag(MAPS), pack_caution("first"), pack_caution("then"), [b"broken"])
    assert read_log(tmp_path).caution == "then"
    [damaged] = [part.replace(b"first", b"worst") for part in pack_caution("first")]
    write_parts(tmp_path, schema.caution_tag(MAPS), [damaged])
    assert read_log(tmp_path).caution == "then"


def test_a_folder_without_data_is_refused_with_one_that_has(tmp_path) -> None:
    """In one sentence: a slip of the pen, a folder beside, an event file, a number."""
    write_run(tmp_path / "logs" / "version_3", 1)
    write_parts(tmp_path / "logs" / "version_4", "gradcam/a/other", [b"nothing"])
    (tmp_path / "logs" / "version_3" / "checkpoints").mkdir()
    place = f"{str(tmp_path / 'logs' / 'version_3')!r} is one"
    accepted = "accepted is a folder with event files of GradCAMCallback, of one run or of several below it"
    for name in ("log/version_3", "logs/verson_3"):
        with pytest.raises(SettingError) as caught:
            read_log(tmp_path / name)
        assert str(caught.value) == f"folder={str(tmp_path / name)!r} is no folder that is there; {accepted}; {place}"
    for name in ("logs/version_4", "logs/version_3/checkpoints"):
        with pytest.raises(SettingError) as caught:
            read_log(tmp_path / name)
        assert str(caught.value) == f"folder={str(tmp_path / name)!r} has no such data; {accepted}; {place}"
    file = event_file(tmp_path / "logs" / "version_3")
    with pytest.raises(SettingError) as caught:
        read_log(file)
    assert (
        str(caught.value) == f"folder={str(file)!r} is a file; accepted is a folder, as its own, {str(file.parent)!r}"
    )
    for wrong in (3, ""):
        with pytest.raises(SettingError, match=f"^folder={wrong!r}; accepted is a path$"):
            read_log(wrong)
    with os.scandir(os.fsencode(tmp_path / "logs")) as entries:  # a path of bytes
        assert [read_log(one).runs for one in entries if one.name == b"version_3"] == [(".",)]


def test_a_folder_whose_looks_are_all_broken_says_so(tmp_path) -> None:
    """And does not name itself."""
    write_parts(tmp_path / "alone" / "run", MAPS, [b"broken"])
    with pytest.raises(
        SettingError, match=r"has no such data \(1 of 1 looks at 'network.6' of run '.' cannot be read\)"
    ):
        read_log(tmp_path / "alone" / "run")
    with pytest.raises(SettingError, match=r"several below it$"):
        read_log(tmp_path / "alone")


def test_links_are_followed_and_lead_nowhere_twice(tmp_path) -> None:
    """To runs elsewhere; another name of a run that is there would count it twice, and one may lead back up."""
    write_run(tmp_path / "logs" / "run", 1)
    write_run(tmp_path / "elsewhere", 1)
    os.symlink(tmp_path / "logs" / "run", tmp_path / "logs" / "latest")
    os.symlink(tmp_path / "logs", tmp_path / "logs" / "run" / "up")
    os.symlink(tmp_path / "elsewhere", tmp_path / "logs" / "other")
    os.symlink(tmp_path / "elsewhere", tmp_path / "logs" / "same")
    assert read_log(tmp_path / "logs").runs == ("other", "run")
    os.symlink(tmp_path / "logs", tmp_path / "link")
    assert read_log(tmp_path / "link").runs == ("other", "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_must_not_be_read_is_told(tmp_path) -> None:
    """And the others are read."""
    write_run(tmp_path / "good", 1)
    write_run(tmp_path / "bad", 1)
    (tmp_path / "bad").chmod(0o644)
    try:
        log = read_log(tmp_path)
    finally:
        (tmp_path / "bad").chmod(0o755)
    assert log.runs == ("good",)
    assert any("bad" in note for note in log.notes)


def test_a_table_has_a_row_for_each_map(tmp_path) -> None:
    """Images within looks, and names where there are some; of several runs below each other."""
    pytest.importorskip("pandas")
    write_run(tmp_path / "named", 3, names=[f"class {place}" for place in range(10)])
    write_run(tmp_path / "plain", 1)
    log = read_log(tmp_path)
    frame = log.to_frame()
    assert list(frame)[:13] == [
        *(
            "run",
            "layer",
            "step",
            "image",
            "index",
            "fingerprint",
            "area",
            "true",
            "predicted",
            "explained",
            "wrong",
            "score",
        ),
        "state",
    ]
    assert list(frame)[13:] == list(log.of("named").numbers)
    assert len(frame) == 3 * 3 + 3
    row = frame.iloc[5]
    assert row[["run", "layer", "step", "image"]].tolist() == ["named", LAYER, 1, 2]
    assert row.fingerprint == log.of("named").fingerprints[2]
    assert row[["true", "predicted", "explained"]].tolist() == ["class 2", "class 9", "class 9"]
    assert row[["wrong", "score", "state", "peak", "drift"]].tolist() == [True, 0.5, "shown", 2.0, 1.0]
    assert frame.iloc[-1][["run", "true", "predicted", "explained"]].tolist() == ["plain", 2, 9, 9]
    assert math.isnan(frame.iloc[-1].drift)
    alone = log.of("plain").to_frame()
    assert alone["true"].tolist() == [0, 1, 2]
    assert alone["true"].dtype == np.int64
    assert "drift" not in alone


def test_a_table_of_values_and_of_what_is_unknown(tmp_path) -> None:
    """A regression's first value is what is true and predicted; several classes stand in one cell."""
    pytest.importorskip("pandas")
    for run, header in {
        "values": {"task": "regression", "truths": [[1.5, 7], []]},
        "classes": {"task": "multilabel", "truths": [[0, 2], []], "class_names": ["cat", "dog", "owl"]},
        "open": {"task": "multilabel", "truths": [[0, 2], []], "unknown": [[], None]},
    }.items():
        write_parts(tmp_path / run, MAPS, look_record(N=2, S=2))
        write_parts(tmp_path / run, PROBE_SET, probe_record(2, probe_set="", **header))
    log = read_log(tmp_path)
    values, classes = log.of("values").to_frame(), log.of("classes").to_frame()
    assert values["true"].tolist() == [1.5, pytest.approx(math.nan, nan_ok=True)]
    assert values["predicted"].tolist() == [0.0, 0.0]
    assert classes["true"].tolist() == ["cat, owl", "none"]
    assert classes["predicted"].tolist() == ["none", "none"]
    assert log.of("open").to_frame()["true"].isna().tolist() == [False, True]


def test_without_pandas_a_table_says_what_it_needs(tmp_path, monkeypatch) -> None:
    """In one line."""
    write_run(tmp_path, 1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SettingError, match=r"^to_frame needs pandas: pip install pandas$"):
        read_log(tmp_path).to_frame()


def test_tensors_are_copies_of_the_arrays(tmp_path) -> None:
    """By their names, the numbers beside them."""
    write_run(tmp_path, 2)
    log = read_log(tmp_path)
    tensors = log.to_tensors()
    assert tensors.keys() == {
        *("steps", "maps", "states", "scores", "predictions", "wrong", "targets"),
        *log.numbers,
    }
    assert (tensors["maps"].dtype, tensors["wrong"].dtype, tensors["steps"].dtype) == (
        torch.float32,
        torch.bool,
        torch.int64,
    )
    tensors["maps"] *= 0
    assert log.maps.max() == 1


def test_a_log_says_what_there_is(tmp_path) -> None:
    """A line a layer, then what is not there."""
    write_run(tmp_path / "a", 3)
    write_parts(tmp_path / "b", MAPS, look_record())
    assert repr(read_log(tmp_path)) == (
        "AttentionLog of 2 runs and 1 layer\n"
        "  run 'a', layer 'network.6': 3 looks, epoch 0 to 2; 3 images, 1 target, maps 4x4; "
        "drift, focus, border, peak, blank, not_finite\n"
        "  run 'b', layer 'network.6': 1 look, epoch 0 to 0; 1 image, 1 target, maps 2x2; no numbers\n"
        "  note: the images that the looks at 'network.6' of run 'b' are of cannot be read"
    )


def test_a_log_is_read_without_torch(tmp_path) -> None:
    """All of it, in a process of its own."""
    write_run(tmp_path, 2)
    code = (
        "import sys; from lightning_gradcam import read_log; log = read_log(sys.argv[1]); "
        "log.maps, log.numbers, log.pictures, log.answers, log.mean('peak'), repr(log); "
        "print({'torch', 'pytorch_lightning', 'tensorflow', 'pandas'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert (ran.stdout.strip(), ran.stderr) == ("set()", "")
