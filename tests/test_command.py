"""The command says and writes what `read_log`, `explain` and `compare` give; what is wrong is told in a sentence."""

import csv
import importlib
import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset
from torchvision import models
from torchvision.transforms import InterpolationMode

from lightning_gradcam import GradCAMCallback, compare, explain, read_log
from lightning_gradcam.command import main
from lightning_gradcam.commands import explaining, lines
from lightning_gradcam.commands.checkpoints import _misfits
from lightning_gradcam.commands.files import apart, safe, write, write_picture
from lightning_gradcam.commands.naming import class_names
from lightning_gradcam.commands.networks import Network
from lightning_gradcam.errors import SettingError
from lightning_gradcam.logs import schema
from lightning_gradcam.reading import AttentionLog

from .conftest import Classifier, make_pairs, small_cnn
from .dashboard.test_plugin import MAPS, look_record, write_parts, write_run
from .test_reading import event_file, flip, record_starts

NETWORK = "tests.conftest:small_cnn"


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    """Two runs of two layers, with masks and a caution; of three and of two epochs."""
    from pytorch_lightning import Trainer, seed_everything

    folder = tmp_path_factory.mktemp("fits") / "logs"
    images, labels = make_pairs().tensors
    val = DataLoader(TensorDataset(images, labels, (images[:, 0] > 1).long()), batch_size=8)
    for version, epochs in (("version_2", 3), ("version_10", 2)):
        seed_everything(0, verbose=False)
        callback = GradCAMCallback(["network.0", "network.5"], images=4, trust=True, class_names=["cat", "dog", "owl"])
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=TensorBoardLogger(folder, name="", version=version),
            callbacks=[callback],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(Classifier(), DataLoader(TensorDataset(images, labels), batch_size=8), val)
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder of three pictures of noise, and of what is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for place in (1, 2, 10):
        pixels = np.random.default_rng(place).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image{place}.png")
    (folder / "notes.txt").write_text("none")
    return folder


def told(capsys, *args: object) -> list[str]:
    """What the command prints, where it works."""
    capsys.readouterr()
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out.splitlines()


def refused(capsys, *args: object) -> str:
    """What the command says on stderr where it refuses: one line, and nothing on stdout."""
    capsys.readouterr()
    assert main([str(arg) for arg in args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    said = [line for line in err.splitlines() if line.startswith("lightning-gradcam: ")]
    assert said[-1:] == err.splitlines()[-1:]
    return said[-1].removeprefix("lightning-gradcam: ")


def cells_of(printed: list[str], name: str, names: set[str]) -> list[list[str]]:
    """The rows of a number's columns, without the one of chance."""
    [head] = [place for place, line in enumerate(printed) if name in line.split() and set(line.split()) <= names]
    group = printed[head].split().index(name)
    rows = printed[head + 2 :]
    rows = rows[: next(place for place, row in enumerate(rows) if row.startswith("by chance"))]
    return [row.split()[2 + 3 * group :][:3] for row in rows]


def test_the_numbers_shown_are_those_of_the_log(logs, capsys) -> None:
    """Of each run and layer, in natural order, at the first look that has one and at the last."""
    printed, whole = told(capsys, "show", logs), read_log(logs)
    names = set(next(iter(whole)).numbers)
    for name in ("drift", "focus", "border", "peak", "in_mask", "faithfulness", "learned"):
        for cells, log in zip(cells_of(printed, name, names), whole, strict=True):
            means = log.mean(name)[np.isfinite(log.mean(name))]
            expected = [lines.number(means[0]), lines.number(means[-1]), lines.change(means[-1] - means[0])]
            assert cells == expected, name
    rows = [line.split() for line in printed if line.startswith("version_")][:4]
    assert [row[:2] for row in rows] == [[log.run, log.layer] for log in whole]
    assert [row[2:4] for row in rows] == [["multiclass", "epoch"]] * 4
    assert [row[4:] for row in rows] == [["4", "0", "3", "4", "1"]] * 2 + [["3", "0", "2", "4", "1"]] * 2


def test_what_is_shown_fits_and_tells_where_attention_moved(logs, capsys) -> None:
    """In 100 columns, with the cautions, and without notes where all can be read."""
    printed = told(capsys, "show", logs)
    assert max(map(lines.width, printed)) <= 100
    text = " ".join(" ".join(printed).split())
    for log in read_log(logs):
        drift, border, inside = (log.mean(name) for name in ("drift", "border", "in_mask"))
        top = int(np.nanargmax(drift))
        assert (
            f"{log.run}, {log.layer}: it moved most at epoch {log.steps[top]} (drift {drift[top]:.3f}, at the last "
            f"look {drift[-1]:.3f}); its share in the border went from {border[0]:.3f} to {border[-1]:.3f} (0.36 by "
            f"chance); its share on the thing went from {inside[0]:.3f} to {inside[-1]:.3f}"
        ) in text
        assert f"{log.run}, {log.layer}: {log.caution}" in text
    assert "Notes" not in printed
    assert "The images are not the same" not in text


def test_one_run_and_one_layer_can_be_shown_alone(logs, capsys) -> None:
    """Of the others nothing is said."""
    printed = "\n".join(told(capsys, "show", logs, "--run", "version_2", "--layer", "network.5"))
    assert "version_10" not in printed
    assert "network.0" not in printed
    assert "1 run, 1 layer" in printed


def test_json_has_the_means_of_the_log(logs, capsys) -> None:
    """None where there is none, and nothing that JSON does not have."""
    found = json.loads("\n".join(told(capsys, "show", logs, "--json")), parse_constant=pytest.fail)
    whole = read_log(logs)
    assert (found["runs"], found["layers"], found["notes"]) == (list(whole.runs), list(whole.layers), [])
    for one, log in zip(found["logs"], whole, strict=True):
        assert (one["run"], one["layer"], one["steps"]) == (log.run, log.layer, log.steps.tolist())
        assert (one["caution"], one["about"], one["fingerprints"]) == (log.caution, log.about, log.fingerprints)
        assert one["numbers"].keys() == log.numbers.keys()
        for name, number in one["numbers"].items():
            means = [math.nan if mean is None else mean for mean in number["means"]]
            assert means == pytest.approx(log.mean(name).tolist(), nan_ok=True)
            assert number["says"] == log.metrics[name]["says"]
        assert one["numbers"]["drift"]["means"][0] is None
        assert one["numbers"]["drift"]["first"] == pytest.approx(log.mean("drift")[1])


def test_what_cannot_be_read_is_shown_once(tmp_path, capsys) -> None:
    """Among the lines that are asked for; stderr has nothing."""
    write_run(tmp_path / "a", 4)
    write_run(tmp_path / "b", 1, first=5)
    file = event_file(tmp_path / "a")
    flip(file, record_starts(file)[-2] + 1)
    assert main(["show", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    text = " ".join(out.split())
    [note] = read_log(tmp_path).notes
    assert "".join(note.split()) in "".join(out[out.index("Notes") :].split())
    assert "The images are not the same in all of them" in text
    assert "b, network.6: its share in the border" not in text  # of one look


def test_names_that_a_terminal_would_obey_are_shown_as_they_are_written(tmp_path, capsys) -> None:
    """And two long ones that are cut alike are told apart."""
    write_run(tmp_path / "red\x1b[31m\nrun", 1)
    for end in "ab":
        write_run(tmp_path / f"{'long' * 10}{end}{'name' * 10}", 1)
    printed = told(capsys, "show", tmp_path)
    assert "\x1b" not in "".join(printed)
    assert any(line.startswith(r"red\x1b[31m\nrun") for line in printed)
    assert max(map(lines.width, printed)) <= 100
    firsts = [line.split("  ")[0] for line in printed if line.startswith("long") or re.match(r"\d:long", line)]
    assert len(set(firsts)) == 2


def test_arrays_are_read_back_equal(logs, tmp_path, capsys) -> None:
    """Without pickle; a file a run and layer."""
    printed = told(capsys, "export", logs, "--npz", "--out", tmp_path / "new" / "out")
    assert len(printed) == 4
    for path, log in zip(printed, read_log(logs), strict=True):
        assert Path(path) == tmp_path / "new" / "out" / f"{log.run}-{log.layer}.npz"
        with np.load(path) as found:
            names = ("steps", "maps", "states", "scores", "predictions", "wrong", "answers", "targets")
            names += ("fingerprints", "said", "pictures", "truths", "run", "layer", "unit", "task", "about", "columns")
            for name in names:
                assert found[name].tolist() == np.asarray(getattr(log, name)).tolist(), name
            assert found["class_names"].tolist() == (log.class_names or [])
            assert found["indices"].tolist() == log.indices
            assert np.array_equal(found["areas"], log.areas, equal_nan=True)
            for name in ("steps", "maps", "states", "scores", "predictions", "wrong", "targets"):
                assert found[name].dtype == getattr(log, name).dtype, name
            assert set(found) == {*names, "class_names", "indices", "areas", *log.numbers}
            for name, values in log.numbers.items():
                assert np.array_equal(found[name], values, equal_nan=True), name


def test_arrays_have_their_kind_whatever_is_known(tmp_path, capsys) -> None:
    """Shares of things that there are not are no words, and nothing is pickled."""
    write_run(tmp_path / "plain", 1)
    [path] = told(capsys, "export", tmp_path, "--npz", "--out", tmp_path / "out")
    with np.load(path) as found:
        assert found["areas"].dtype == np.float64
        assert found["areas"].shape == found["indices"].shape == (0,)


def test_the_table_is_what_pandas_writes(logs, tmp_path, capsys, monkeypatch) -> None:
    """Byte for byte; and without pandas."""
    pytest.importorskip("pandas")
    expected = read_log(logs).to_frame().to_csv(index=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert told(capsys, "export", logs, "--csv", "--out", tmp_path) == [str(tmp_path / "numbers.csv")]
    assert (tmp_path / "numbers.csv").read_bytes().decode() == expected


def test_looks_and_images_can_be_chosen(logs, tmp_path, capsys) -> None:
    """By their steps, and by their places."""
    told(capsys, "export", logs, "--npz", "--csv", "--out", tmp_path, "--epochs", "2,0", "--images", "3,1")
    log = read_log(logs).of("version_2", "network.5")
    with np.load(tmp_path / "version_2-network.5.npz") as found:
        assert found["steps"].tolist() == [2, 0]
        assert (found["maps"] == log.maps[[2, 0]][:, [3, 1]]).all()
        assert np.array_equal(found["drift"], log.numbers["drift"][[2, 0]][:, [3, 1]], equal_nan=True)
        assert found["fingerprints"].tolist() == [log.fingerprints[3], log.fingerprints[1]]
        assert found["indices"].tolist() == [log.indices[3], log.indices[1]]
        assert np.array_equal(found["areas"], log.areas[[3, 1]], equal_nan=True)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "numbers.csv").read_text())))
    assert {(row["step"], row["image"]) for row in rows} == {(step, image) for step in "02" for image in "13"}
    assert len(rows) == 4 * 4


def test_pictures_are_those_of_the_log(logs, tmp_path, capsys) -> None:
    """A film strip, a time-lapse and a figure a run and layer."""
    alone = ["--run", "version_2", "--layer", "network.5", "--images", "1,0"]
    names = ["filmstrip.png", "timelapse.webp", "figure.pdf"]
    printed = told(capsys, "export", logs, "--film", "--lapse", "--pdf", "--out", tmp_path, *alone, "--epochs", "0,3")
    assert printed == [str(tmp_path / f"version_2-network.5-{name}") for name in names]
    log = read_log(logs).of("version_2", "network.5")
    film = np.asarray(Image.open(printed[0]).convert("RGB"))
    assert (film == np.asarray(log.filmstrip([0, 3], [1, 0]).convert("RGB"))).all()
    assert Path(printed[1]).read_bytes() == log.timelapse([0, 3], [1, 0])
    assert Image.open(printed[1]).n_frames >= 2
    assert Path(printed[2]).read_bytes().startswith(b"%PDF")


def test_files_are_in_the_folder_whatever_runs_are_called(tmp_path, capsys) -> None:
    """No two are the same, also where a file system knows no capitals; and nothing is written elsewhere."""
    source, out = tmp_path / "source", tmp_path / "deep" / "er" / "out"
    for run in ("a/b", "a_b", "A_b", "..evil", "-rf", "x" * 250, "nul\n", "été"):
        write_run(source / run, 1)
    for layer in ("../../escape", "/etc/passwd", "b-c", "..", "", "é" * 300):
        write_parts(source / "a", schema.part_tag(schema.grid_tag(layer), schema.MAPS), look_record())
    printed = told(capsys, "export", source, "--npz", "--out", out)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and source not in path.parents]
    assert sorted(map(str, written)) == sorted(printed)
    assert {path.parent for path in written} == {out}
    assert len({path.name.casefold() for path in written}) == len(read_log(source)) == 14
    assert all(len(path.name.encode()) < 255 and path.name[0] not in ".-" for path in written)
    ends = {path.name.removeprefix("a_b-network.6") for path in written} & {".npz", "-2.npz", "-3.npz"}
    assert ends == {"-2.npz", "-3.npz"}  # the first is A_b's


def test_a_name_is_the_same_file_whichever_are_chosen(tmp_path, capsys) -> None:
    """The number that tells it from another is not the first's once that is left out."""
    for run in ("a/b", "a_b"):
        write_run(tmp_path / "logs" / run, 1)
    every = told(capsys, "export", tmp_path / "logs", "--npz", "--out", tmp_path)
    again = [
        *told(capsys, "export", tmp_path / "logs", "--npz", "--out", tmp_path, "--force", "--run", "a/b"),
        *told(capsys, "export", tmp_path / "logs", "--npz", "--out", tmp_path, "--force", "--run", "a_b"),
    ]
    assert sorted(again) == sorted(every)
    [alone] = told(capsys, "export", tmp_path / "logs" / "a_b", "--npz", "--out", tmp_path / "alone")
    assert Path(alone).name == "a_b-network.6.npz"


def test_safe_names() -> None:
    """Letters and digits of any script stay."""
    assert [safe(name) for name in ("layer4.1", "../x", "a b/c", "", "..", "日本", "a\udcff", "-v")] == [
        *("layer4.1", "_x", "a_b_c", "_", "_", "日本", "a_", "v")
    ]
    assert apart(["a", "A", "a-2", "a"]) == ["a", "A-2", "a-2-2", "a-3"]
    for device in ("aux", "COM1.txt", "nul.-layer"):  # which Windows takes for devices, whatever is behind the dot
        assert safe(device) == f"_{device}"
    assert safe("console-com1") == "console-com1"


def test_what_is_there_is_written_over_by_force_alone(tmp_path, capsys) -> None:
    """Nothing is written where one is there; a link is replaced, and what it leads to stays."""
    write_run(tmp_path / "logs" / "run", 1)
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.write_text("mine")
    (out / "numbers.csv").symlink_to(other)
    options = ["export", tmp_path / "logs", "--npz", "--csv", "--out", out]
    said = refused(capsys, *options)
    assert said == f"{str(out / 'numbers.csv')!r} is there already, and not written over; --force writes over it"
    assert [path.name for path in out.iterdir()] == ["numbers.csv"]
    assert len(told(capsys, *options, "--force")) == 2
    assert other.read_text() == "mine"
    assert not (out / "numbers.csv").is_symlink()
    assert sorted(path.name for path in out.iterdir()) == ["numbers.csv", "run-network.6.npz"]


def test_numbers_named_as_other_arrays_and_images_that_are_unknown(tmp_path, capsys) -> None:
    """Neither is lost, and neither stops the others."""
    head, *rest = look_record(M=4)
    told_of = json.loads(head) | {"metrics": ["maps", "../file", "number_maps", "Maps"]}
    write_parts(tmp_path / "logs", MAPS, [json.dumps(told_of).encode(), *rest])
    [path] = told(capsys, "export", tmp_path / "logs", "--npz", "--out", tmp_path, "--images", "0")
    with np.load(path) as found:
        assert found["maps"].shape == (1, 1, 1, 2, 2)
        names = ["number_maps", "number_.._file", "number_maps-2", "Maps-2"]
        assert [values.shape for values in map(found.get, names)] == [(1, 1, 1)] * 4
        assert found["said"].tolist() == []


def test_pictures_that_cannot_be_drawn_do_not_stop_the_others(tmp_path, capsys) -> None:
    """They are told at the end, and there is no file of them."""
    write_parts(tmp_path / "logs" / "a", MAPS, look_record())
    write_run(tmp_path / "logs" / "b", 2)
    assert main(["export", str(tmp_path / "logs"), "--film", "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "out" / "b-network.6-filmstrip.png")]
    assert err.splitlines()[-1].startswith(
        f"lightning-gradcam: {str(tmp_path / 'out' / 'a-network.6-filmstrip.png')!r} is not written: filmstrip: the "
        "images of 'network.6' in run 'a' cannot be read"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b-network.6-filmstrip.png"]


def test_no_fault_of_one_file_stops_the_others(logs, tmp_path, capsys, monkeypatch) -> None:
    """Whatever it is; it is told at the end by its type."""
    whole = AttentionLog.filmstrip

    def failing(log: AttentionLog, **options: object) -> Image.Image:
        if log.run == "version_10":
            raise MemoryError("no room\nfor it") if log.layer == "network.0" else OSError(28, "No space left")
        return whole(log, **options)

    monkeypatch.setattr(AttentionLog, "filmstrip", failing)
    assert main(["export", str(logs), "--film", "--csv", "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    names = ["version_2-network.0-filmstrip.png", "version_2-network.5-filmstrip.png", "numbers.csv"]
    assert out.splitlines() == [str(tmp_path / name) for name in names]
    first, second = (str(tmp_path / f"version_10-network.{layer}-filmstrip.png") for layer in (0, 5))
    assert err.splitlines()[-2:] == [
        f"lightning-gradcam: {first!r} is not written: MemoryError: no room for it",
        f"lightning-gradcam: {second!r} is not written: OSError: No space left",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_runs_that_have_not_all_that_is_chosen_are_left_out(logs, tmp_path, capsys) -> None:
    """They are told at the end, with the nearest look; the others are written, in the table too."""
    assert main(["export", str(logs), "--npz", "--csv", "--epochs", "0,3", "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    names = ["version_2-network.0.npz", "version_2-network.5.npz", "numbers.csv"]
    assert out.splitlines() == [str(tmp_path / name) for name in names]
    lacking, why = "left out: --epochs 3: run 'version_10'", "has no such look, the nearest is 2; accepted are 0, 1, 2"
    assert err.splitlines()[-2:] == [f"lightning-gradcam: {lacking}, layer 'network.{layer}' {why}" for layer in (0, 5)]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "numbers.csv").read_text())))
    assert {(row["run"], row["step"]) for row in rows} == {("version_2", "0"), ("version_2", "3")}


@pytest.mark.parametrize("which", ["wrong", "moved"])
def test_pictures_may_be_of_the_images_that_are_most(logs, tmp_path, capsys, which) -> None:
    """Wrong, or moved; of arrays and of the table it says nothing."""
    log = read_log(logs).of("version_2", "network.5")
    options = ["--run", log.run, "--layer", log.layer, "--images", which, "--out", tmp_path]
    film, lapse, _ = told(capsys, "export", logs, "--film", "--lapse", "--pdf", *options)
    expected = np.asarray(log.filmstrip(images=which).convert("RGB"))
    assert (np.asarray(Image.open(film).convert("RGB")) == expected).all()
    assert Path(lapse).read_bytes() == log.timelapse(images=which)
    for kind in ("--npz", "--csv"):
        assert refused(capsys, "export", logs, "--film", kind, *options, "--force") == (
            f"--images {which} is for pictures, --film, --lapse and --pdf; with --npz and --csv accepted are places, "
            "as 0,3"
        )


WRONG_LOGS = {  # by the arguments behind the log's folder: what the sentence has
    ("export",): "export is not told what to write; accepted are --npz, --csv, --film, --lapse and --pdf",
    ("show", "--run", "verson_2"): "--run 'verson_2' is not there; did you mean 'version_2'",
    (
        "show",
        "--layer",
        "network",
    ): "--layer 'network' is not there; did you mean 'network.5' or 'network.0'?; there are",
    ("export", "--npz", "--epochs", "0,9"): "--epochs 9: run 'version_2', layer 'network.0' has no such look, the "
    "nearest is 3; accepted are 0, 1, 2, 3",
    ("export", "--npz", "--images", "4"): "--images 4: run 'version_2', layer 'network.0' has 4; accepted are 0 to 3",
    ("export", "--npz", "--epochs", "0;9"): "argument --epochs: '0;9' is not accepted: it takes whole numbers",
    (
        "export",
        "--film",
        "--images",
        "worng",
    ): "argument --images: 'worng' is not accepted: it takes places with",
    ("export", "--npy"): "'--npy' is nothing that lightning-gradcam export takes; did you mean '--npz' or ",
    ("export", "--npz", "--epoch", "1"): "did you mean '--epochs'?",
}


@pytest.mark.parametrize("args", WRONG_LOGS)
def test_what_is_wrong_is_told_in_a_sentence(logs, capsys, args) -> None:
    """With what was given, what is accepted, and the nearest; exit code 2."""
    assert WRONG_LOGS[args] in refused(capsys, args[0], logs, *args[1:])


def test_commands_that_are_none_and_folders_that_are_not_there(tmp_path, capsys) -> None:
    """Also an output folder that is a file."""
    write_run(tmp_path / "logs", 1)
    (tmp_path / "file").write_text("")
    assert (
        refused(capsys, "shwo")
        == "'shwo' is no command; did you mean 'show'?; accepted are show, export, explain, compare"
    )
    assert refused(capsys).startswith("no command is given; accepted are show, ")
    assert "arguments are required: LOGDIR" in refused(capsys, "show")
    assert f"{str(tmp_path / 'logs')!r} is one" in refused(capsys, "show", tmp_path / "lgs")
    assert refused(capsys, "export", tmp_path / "logs", "--csv", "--out", tmp_path / "file").endswith(
        f"cannot be written, for {str(tmp_path / 'file')!r} is a file; accepted is a folder that can be written in"
    )


def test_an_event_file_is_no_folder(logs, capsys) -> None:
    """Its own is named."""
    file = event_file(logs / "version_2")
    for args in (["show", file], ["export", file, "--csv"]):
        said = refused(capsys, *args)
        assert said == f"LOGDIR {str(file)!r} is a file; accepted is a folder, as its own, {str(logs / 'version_2')!r}"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that nobody may write in, as root either")
def test_where_nothing_can_be_written_is_told_before_any_work(logs, images, capsys) -> None:
    """With the path that was given."""
    said = refused(capsys, "explain", "no.such:model", images, "--out", "/proc/grid.png")
    assert said.startswith("'/proc/grid.png' cannot be written in '/proc': ")
    assert said.endswith("; accepted is a folder that can be written in")
    said = refused(capsys, "export", logs, "--npz", "--csv", "--out", "/proc/deep/er")
    assert said.startswith("'/proc/deep/er/numbers.csv' cannot be written in '/proc': ")


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(tmp_path) -> None:
    """Never by that of the part; a format that does not take a picture, too."""

    def failing(file: BinaryIO) -> None:
        raise OSError(28, "No space left on device", file.name)

    with pytest.raises(OSError, match=re.escape(f"[Errno 28] No space left on device: {str(tmp_path / 'a.npz')!r}")):
        write(tmp_path / "a.npz", failing)
    wide = Image.new("RGB", (20000, 1))
    with pytest.raises(SettingError, match=r"wide.webp': a picture of 20000x1 cannot be written as WEBP: "):
        write_picture(tmp_path / "wide.webp", wide)
    assert list(tmp_path.iterdir()) == []


def test_help_is_shown_without_torch_and_says_each_option(tmp_path) -> None:
    """So are show and export; only a model needs it."""
    write_run(tmp_path / "logs", 2)
    code = (
        "import sys; from lightning_gradcam.command import main\n"
        "calls = '--help', 'explain -h', 'show logs', 'export logs --npz --csv'\n"
        "print([main(call.split()) for call in calls], {'torch', 'pandas', 'tensorflow'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout.splitlines()[-1] == "[0, 0, 0, 0] set()"
    assert all(option in ran.stdout for option in ("--weights", "--checkpoint", "--classes", "--trust", "COMMAND"))
    assert ran.stderr == ""


def test_a_closed_pipe_and_a_terminal_of_few_letters_end_quietly(tmp_path) -> None:
    """As `| head` closes it; a run's name that cannot be encoded is escaped."""
    for place in range(20):
        write_run(tmp_path / "logs" / f"été{place}", 1)
    command = [sys.executable, "-m", "lightning_gradcam", "show", "logs"]
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (141, "")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert r"\xe9t\xe919" in ran.stdout


def test_an_interrupt_ends_quietly_and_leaves_no_part_of_a_file(tmp_path, capsys, monkeypatch) -> None:
    """With 130, as a shell has it."""
    write_run(tmp_path / "logs", 1)

    def interrupted(*args: object, **arrays: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    assert main(["export", str(tmp_path / "logs"), "--npz", "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr() == ("", "")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_entry_in_pyproject_is_main() -> None:
    """And `python -m lightning_gradcam` runs it."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    [(room, name)] = re.findall(r'^lightning-gradcam = "([\w.]+):(\w+)"$', text, re.MULTILINE)
    assert getattr(importlib.import_module(room), name) is main


def test_explain_writes_the_grid_and_says_a_line_an_image(images, tmp_path, capsys) -> None:
    """Random weights are said; images are in natural order; the same as `explain` gives of them."""
    out = tmp_path / "grid.png"
    assert main(["explain", "resnet18", str(images), "--size", "32", "--out", str(out), "--classes", "5"]) == 0
    printed, err = capsys.readouterr()
    assert "resnet18 has RANDOM WEIGHTS" in err
    torch.manual_seed(0)
    paths = [images / f"image{place}.png" for place in (1, 2, 10)]
    found = explain(models.resnet18(num_classes=5), paths, size=32)
    said, head, *rows, last = printed.splitlines()
    assert said == f"layer {found.layer}, method {found.method}"
    assert head.split() == ["image", "answer", "class", "score", *found.metrics]
    for place, (row, path) in enumerate(zip(rows, paths, strict=True)):
        numbers = [lines.number(float(values[place])) for values in found.metrics.values()]
        score = float(found.scores[place])
        predicted = f"predicted {found.predictions[place]} ({score:.0%})"
        assert row.split() == [
            *(str(path), *predicted.split(), str(int(found.predictions[place])), lines.number(score), *numbers)
        ]
    assert last == str(out)
    assert (np.asarray(Image.open(out).convert("RGB")) == np.asarray(found.grid().convert("RGB"))).all()


def test_explain_takes_pretrained_weights_with_their_transforms(images, tmp_path, capsys, monkeypatch) -> None:
    """As torchvision's own preset makes them; classes have names."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = models.ResNet18_Weights.DEFAULT
    model = models.resnet18().eval()
    place = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    place.parent.mkdir(parents=True)
    torch.save(model.state_dict(), place)  # where a download would be
    image = images / "image1.png"
    _, head, row, _ = told(capsys, "explain", "resnet18", image, "--weights", "DEFAULT", "--out", tmp_path / "g.png")
    with torch.no_grad():
        scores = model(weights.transforms()(Image.open(image))[None]).softmax(1)[0]
    assert head.split()[:3] == ["image", "answer", "class"]
    assert f"predicted {weights.meta['categories'][int(scores.argmax())]} ({float(scores.max()):.0%})" in row
    assert {str(int(scores.argmax())), lines.number(float(scores.max()))} <= set(row.split())
    options = ["--target", "goldfish", "--weights", "DEFAULT", "--out", tmp_path / "h.png"]
    _, head, row, _ = told(capsys, "explain", "resnet18", image, *options)
    assert head.split()[3] == "target"
    assert re.split("  +", row)[3] == "1"


@pytest.mark.parametrize("kind", ["F", "I", "I;16"])
def test_deep_pictures_are_cut_as_their_weights_have_it_within_their_own_range(kind) -> None:
    """Bicubic resizing swings over at edges, which of floats would be refused."""
    edge = np.kron([[0, 1], [1, 0]], np.ones((20, 20)))
    pixels = {"F": edge.astype(np.float32), "I": (edge * 65535).astype(np.int32), "I;16": edge * 65535}[kind]
    picture = Image.fromarray(pixels.astype(np.uint16) if kind == "I;16" else pixels)
    network = Network(small_cnn(), crop=(64, (48, 48)), interpolation=InterpolationMode.BICUBIC)
    cut = explaining._cut(picture, network)
    assert (cut.mode, cut.size) == ("I" if kind == "I" else "F", (48, 48))
    assert (np.asarray(cut).min(), np.asarray(cut).max()) == (0, 65535 if kind == "I" else 1)


def test_explain_takes_names_of_the_classes(images, tmp_path, capsys) -> None:
    """With commas, or from a file with a line each."""
    (tmp_path / "names.txt").write_text("a cat\na dog\nan owl\n")
    options = ["resnet18", images / "image1.png", "--size", "32", "--classes", "3", "--force"]
    rows = []
    for names in ("a cat, a dog, an owl", tmp_path / "names.txt"):
        *_, row, _ = told(capsys, "explain", *options, "--names", names, "--out", tmp_path / "g.png")
        rows.append(row)
    assert rows[0] == rows[1]
    assert re.search(r"predicted (a cat|a dog|an owl) \(\d+%\) +[0-2] ", rows[0])
    said = refused(capsys, "explain", *options, "--names", tmp_path / "lost.txt", "--out", tmp_path / "g.png")
    assert said.endswith("accepted are names with commas, or a file of them")
    said = refused(capsys, "explain", *options, "--names", "a cat,a dog", "--out", tmp_path / "g.png")
    assert said.startswith("--names has 2 names; the model has 3 classes")


def test_a_target_is_named_and_has_a_column_where_it_is_not_what_is_predicted(images, tmp_path, capsys) -> None:
    """By number or by name, one with a comma in it too."""
    out = ["--out", tmp_path / "g.png", "--force"]
    (tmp_path / "names.txt").write_text("a cat\nbig, bad\nan owl\n")
    torch.manual_seed(0)
    torch.save(small_cnn().state_dict(), tmp_path / "weights.pt")
    options = ["explain", NETWORK, images / "image1.png", "--checkpoint", tmp_path / "weights.pt", *out]
    _, head, row, _ = told(capsys, *options)
    assert "target" not in head.split()
    predicted = int(row.split()[4])
    others = [one for one in range(3) if one != predicted]
    assert "target" not in told(capsys, *options, "--target", predicted)[1].split()
    names = ["--names", tmp_path / "names.txt"]
    for other in others:
        _, head, row, _ = told(capsys, *options, "--target", other)
        assert head.split()[2:5] == ["class", "target", "score"]
        assert row.split()[4:6] == [str(predicted), str(other)]
        named = told(capsys, *options, *names, "--target", ["a cat", "big, bad", "an owl"][other])[2]
        assert named.split()[-7:] == row.split()[-7:]
    _, _, *rows, _ = told(capsys, *options, *names, "--target", "an owl,1, a cat")
    assert [re.split("  +", row)[3] for row in rows] == ["2", "1", "0"]


def test_names_in_a_file_are_a_line_each(tmp_path) -> None:
    """UTF-8 whatever the machine's own; blank lines at the end are none, others would shift all behind them."""
    file = tmp_path / "names.txt"
    file.write_bytes("\ufeffété\r\na, b\r\n日本 \r\n\r\n  \r\n".encode())
    assert class_names(str(file)) == ["été", "a, b", "日本"]
    wrong = {
        "\ncross\ncircle\n": "line 1 is blank; accepted are names with commas, or a file of them, one a class",
        "cross\n \ncircle": "line 2 is blank",
        "\n\n": "has no names",
        b"\xe9t\xe9": "'utf-8' codec can't decode",
    }
    for text, words in wrong.items():
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(SettingError, match=re.escape(words)):
            class_names(str(file))
    for given, words in ((",", "--names ',' has no names"), ("a,,b", "--names 'a,,b': name 2 is blank")):
        with pytest.raises(SettingError, match=words):
            class_names(given)


def test_names_that_come_with_weights_and_do_not_fit_are_left_out(images, tmp_path, capsys, monkeypatch) -> None:
    """As of weights whose head is another; it is said, and numbers are shown."""
    network = Network(small_cnn(), categories=("a cat", "a dog"))
    monkeypatch.setattr(explaining, "find_network", lambda args: network)
    assert main(["explain", "any", str(images / "image1.png"), "--out", str(tmp_path / "g.png")]) == 0
    out, err = capsys.readouterr()
    assert "names of classes are left out: class_names has 2 names; the model has 3 classes" in err
    assert re.search(r"predicted [0-2] \(\d+%\)", out)


def test_weights_that_cannot_be_had_are_told(images, tmp_path, capsys, monkeypatch) -> None:
    """In one sentence, without a network."""
    from torch import hub

    def unreachable(*args: object, **options: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(hub, "urlopen", unreachable)
    said = refused(capsys, "explain", "resnet18", images, "--weights", "DEFAULT", "--out", tmp_path / "g.png")
    assert said.startswith("--weights 'DEFAULT' of resnet18 cannot be had: OSError: Name or service not known")


def test_explain_and_compare_take_the_task(images, tmp_path, capsys) -> None:
    """Of several labels each has a probability of its own."""
    options = [NETWORK, images / "image1.png", "--size", "16", "--force", "--out", tmp_path / "g.png"]
    torch.save(small_cnn().state_dict(), tmp_path / "state.pt")
    options += ["--checkpoint", tmp_path / "state.pt"]
    *_, row, _ = told(capsys, "explain", *options, "--task", "multilabel")
    model = small_cnn()
    model.load_state_dict(torch.load(tmp_path / "state.pt"))
    found = explain(model, [Image.open(images / "image1.png")], size=16, task="multilabel")
    assert found.answers[0] in row
    assert lines.number(float(found.scores[0])) in row.split()
    said = refused(capsys, "explain", *options, "--task", "multi-label")
    assert said.startswith("--task 'multi-label' is unknown; did you mean 'multilabel'")
    printed = told(capsys, "compare", *options, "--task", "multilabel", "--methods", "gradcam", "--layers", "6")
    assert any("gradcam" in line for line in printed)


def test_explain_takes_timm_and_several_targets(images, tmp_path, capsys) -> None:
    """At timm's own size; a line an image and target."""
    pytest.importorskip("timm")
    options = ["--target", "1,2", "--trust", "--classes", "4", "--out", tmp_path / "g.webp"]
    _, head, *rows, last = told(capsys, "explain", "timm/resnet10t", images / "image1.png", *options)
    assert [row.split()[5] for row in rows] == ["1", "2"]
    assert {"faithfulness", "class_sensitivity"} <= set(head.split())
    assert Image.open(last).format == "WEBP"


def test_a_checkpoint_of_a_module_is_loaded_without_its_prefix(make_trainer, loader, images, tmp_path, capsys) -> None:
    """As Lightning saved it, with a callback's own state; and a plain state dict."""
    module = Classifier()
    trainer = make_trainer(GradCAMCallback(images=2), max_epochs=1)
    trainer.fit(module, loader, loader)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    torch.save(module.network.state_dict(), tmp_path / "plain.pt")
    found = explain(module.network, [images / "image2.png"], mean=0.4, std=0.2)
    for file in ("one.ckpt", "plain.pt"):
        options = ["--checkpoint", tmp_path / file, "--mean", "0.4", "--std", "0.2", "--out", tmp_path / f"{file}.png"]
        _, _, row, path = told(capsys, "explain", NETWORK, images / "image2.png", *options)
        assert f"predicted {found.predictions[0]} ({found.scores[0]:.0%})" in row
        assert row.split()[5:] == [
            lines.number(float(value)) for value in (found.scores[0], *(one[0] for one in found.metrics.values()))
        ]
        assert (np.asarray(Image.open(path).convert("RGB")) == np.asarray(found.grid().convert("RGB"))).all()


def test_what_does_not_fit_of_a_checkpoint_is_told_with_its_keys(images, tmp_path, capsys) -> None:
    """Missing, other, and of another shape; with a word where it is the number of classes."""
    state = small_cnn().state_dict()
    more = {f"model.{key}": value for key, value in (state | {"head.x": torch.ones(1)}).items()}
    less = {key: value for key, value in state.items() if key != "9.bias"}
    shapes = "9.weight is (3, 8) there and (4, 8) in the model, 9.bias is (3,) there and (4,) in the model)"
    cases = {
        "missing": (less, [], "1 of 11 keys of the model are not there (9.bias)"),
        "other": (more, [], "behind the prefix 'model.': 1 of 12 keys there are not the model's (head.x)"),
        "shape": (state, ["--classes", "4"], f"{shapes}; is it --classes 3?"),
        "none": ({"epoch": 3}, [], "has a dict of epoch; accepted is a state dict, or one as 'state_dict' in a dict"),
        "unsafe": (small_cnn(), [], "beside weights it holds torch.nn."),
    }
    for name, (saved, options, words) in cases.items():
        torch.save(saved, tmp_path / f"{name}.pt")
        said = refused(capsys, "explain", NETWORK, images, "--checkpoint", tmp_path / f"{name}.pt", *options)
        assert words in said, name
    said = refused(capsys, "explain", NETWORK, images, "--checkpoint", tmp_path / "shpe.pt")
    assert "is not there; did you mean 'shape.pt'" in said
    assert "cannot be read" in refused(capsys, "explain", NETWORK, images, "--checkpoint", images / "notes.txt")


def test_the_number_of_classes_is_named_where_a_heads_alone_differs() -> None:
    """Not of numbers without a dimension, of what is no tensor, of one output, or of layers within."""
    own = small_cnn(classes=4).state_dict() | {"scale": torch.ones(3)}
    head = {"9.weight": torch.ones(7, 8), "9.bias": torch.ones(7)}
    assert _misfits(own | head, own).endswith("; is it --classes 7?")
    assert _misfits(own | {"9.bias": torch.ones(7)}, own).endswith("; is it --classes 7?")
    others = [
        {"scale": torch.tensor(1.0)},
        {"scale": None},
        {"9.weight": torch.ones(1, 8), "9.bias": torch.ones(1)},
        {"9.weight": torch.ones(7, 9), "9.bias": torch.ones(7)},
        {"1.bias": torch.ones(7), "5.bias": torch.ones(7)},
        {"scale": torch.ones(7)} | head,
    ]
    for other in others:
        assert "--classes" not in _misfits(own | other, own)
    assert _misfits(own | {"scale": None}, own) == (
        "1 of 12 keys are of another shape (scale is no tensor there and (3,) in the model)"
    )
    scalar = own | {"scale": torch.tensor(1.0)}
    assert _misfits(own | {"scale": torch.tensor(1)}, own).endswith("(scale is () there and (3,) in the model)")
    assert _misfits(own, scalar).endswith("(scale is (3,) there and () in the model)")
    extra = own | {"_extra_state": None}
    assert _misfits(extra, extra) == ""


def test_of_two_models_in_a_checkpoint_the_first_is_taken_and_said(images, tmp_path, capsys) -> None:
    """As of a student and its teacher."""
    state = {f"{who}.{key}": value for who in ("student", "teacher") for key, value in small_cnn().state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "two.ckpt")
    options = ["--checkpoint", str(tmp_path / "two.ckpt"), "--out", str(tmp_path / "g.png")]
    assert main(["explain", NETWORK, str(images), *options]) == 0
    assert (
        "the weights behind 'student.', 'teacher.' fit alike; those behind 'student.' are taken"
        in capsys.readouterr().err
    )


def failing_model() -> None:
    raise RuntimeError("no such file\nof mine")


WRONG_MODELS = {
    ("resnt18",): "MODEL 'resnt18' is none that is known; did you mean 'resnet18'",
    ("vit_tiny_patch16_224",): "did you mean 'timm/vit_tiny_patch16_224'",
    ("timm/resnet10",): "MODEL 'timm/resnet10' is none that timm knows; did you mean 'timm/resnet10t'",
    ("resnet18", "--weights", "IMAGNET1K_V1"): "did you mean 'IMAGENET1K_V1'?; accepted are IMAGENET1K_V1, DEFAULT",
    ("resnet18", "--weights", "DEFAULT", "--classes", "3"): "--classes 3: pretrained weights have classes of their own",
    ("resnet18", "--classes", "0"): "argument --classes: '0' is not accepted: it takes a number of classes, as 10",
    ("nowhere.there:model",): "MODEL 'nowhere.there:model' cannot be imported: ModuleNotFoundError: No module named",
    ("tests.conftest:smal_cnn",): "tests.conftest has no 'smal_cnn'; did you mean 'small_cnn'",
    ("tests.conftest:",): "MODEL 'tests.conftest:' is no path to what makes a module",
    ("tests.conftest:make_pairs",): "returns a TensorDataset; accepted is a torch module",
    ("tests.test_command:failing_model",): "cannot be had: RuntimeError: no such file of mine (test_command.py:",
    (NETWORK, "--layer", "66"): "--layer '66' is not a layer of the model",
    (NETWORK, "--method", "gradcan"): "--method 'gradcan' is unknown; did you mean 'gradcam'",
    (NETWORK, "--target", "3"): "--target 3 is no class of this model, which has 3 (0 to 2)",
    (NETWORK, "--target", "cat"): "--target 'cat': the classes have no names; accepted are predicted, a class's number",
    (NETWORK, "--target", "-1"): "--target '-1': the classes have no names; accepted are predicted, a class's",
    (NETWORK, "--target", "dg", "--names", "cat,dog,owl"): "--target 'dg' is no class's name; did you mean 'dog'?; acc",
    (NETWORK, "--target", "0,dg", "--names", "cat,dog,owl"): "--target 'dg' is no class's name; did you mean 'dog'?",
    (NETWORK, "--target", "a", "--names", "a,b,a"): "--target 'a' is the name of several classes; accepted is one of "
    "[0, 2]",
    (NETWORK, "--size", "3,4,5"): "argument --size: '3,4,5' is not accepted: it takes a height and a width",
    (NETWORK, "--mean", "0.5"): "--mean 0.5 and --std None: accepted are both or neither",
    (NETWORK, "--size", "1"): f"MODEL '{NETWORK}' cannot be asked of these images: RuntimeError: ",
    (NETWORK, "--out", "grid.pn"): "--out 'grid.pn' does not end as a picture; did you mean",
    (NETWORK, "nothing.png"): "IMAGES 'nothing.png' is not there",
}


@pytest.mark.parametrize("args", WRONG_MODELS)
def test_models_and_settings_that_cannot_work_are_told_in_a_sentence(images, capsys, args, monkeypatch) -> None:
    """With what was given, what is accepted, and the nearest; no picture is written."""
    assert WRONG_MODELS[args] in refused(capsys, "explain", args[0], images, *args[1:])
    assert not Path("grid.png").exists()


def test_images_that_cannot_be_read_are_told_by_name(images, tmp_path, capsys) -> None:
    """Broken, none at all, or in an empty folder."""
    whole = (images / "image1.png").read_bytes()
    (images / "image3.png").write_bytes(whole[:300])
    assert f"image {str(images / 'image3.png')!r} is broken: " in refused(capsys, "explain", NETWORK, images)
    assert "notes.txt' is no picture; accepted are .png, " in refused(capsys, "explain", NETWORK, images / "notes.txt")
    (tmp_path / "empty").mkdir()
    assert "has no picture in it" in refused(capsys, "explain", NETWORK, tmp_path / "empty")
    assert "did you mean 'image1.png'" in refused(capsys, "explain", NETWORK, images / "imag1.png")


def test_images_whose_shape_is_changed_are_told(images, tmp_path, capsys) -> None:
    """Where nobody asked for the size; and folders that are not looked into."""
    folder = tmp_path / "wide"
    (folder / "below").mkdir(parents=True)
    for place, size in enumerate([(600, 100), (100, 90)]):
        Image.new("RGB", size, (90, place, 0)).save(folder / f"{place}.png")
    options = ["explain", "resnet18", folder, "--out", tmp_path / "grid.png", "--force"]
    assert main(list(map(str, options))) == 0
    said = capsys.readouterr().err
    assert (
        "--size is not given: 1 image is brought to 224x224, which is another shape than theirs; --size H,W says which"
        in said
    )
    assert f"IMAGES {str(folder)!r}: 1 folder is in it and not looked into" in said
    assert main(list(map(str, [*options, "--size", "64,64"]))) == 0
    assert "brought to" not in capsys.readouterr().err


def test_what_is_wrong_is_told_in_the_commands_own_options(images, tmp_path, capsys) -> None:
    """Of `compare` in its own, too; a name that a user gave stays as it is."""
    assert "--layers '66' is not a layer" in refused(capsys, "compare", NETWORK, images, "--layers", "66")
    assert "--methods 'gradcan' is unknown" in refused(capsys, "compare", NETWORK, images, "--methods", "gradcan")
    (tmp_path / "lr=1,task=3").mkdir()
    place = str(tmp_path / "lr=1,task=3")
    assert refused(capsys, "show", place).startswith(f"LOGDIR {place!r} has no such data")


def test_a_picture_that_is_there_is_not_written_over(images, tmp_path, capsys) -> None:
    """It is told before the model is asked; --force writes."""
    out = tmp_path / "grid.png"
    out.write_text("mine")
    options = ["explain", NETWORK, images / "image1.png", "--out", out]
    assert refused(capsys, *options).startswith(f"{str(out)!r} is there already")
    assert out.read_text() == "mine"
    told(capsys, *options, "--force")
    assert Image.open(out).format == "PNG"


def test_compare_prints_the_table_and_saves_its_picture(images, tmp_path, capsys) -> None:
    """The rows are `compare`'s, of masks that are named as the images; the timings are of their own."""
    torch.save(small_cnn().state_dict(), tmp_path / "weights.pt")
    masks = tmp_path / "masks"
    masks.mkdir()
    things = np.zeros((3, 20, 24), np.uint8)
    things[:, 5:15, 6:12] = 1
    for thing, place in zip(things, (1, 2, 10), strict=True):
        Image.fromarray(thing).save(masks / f"image{place}.bmp")
    names = ["cat", "dog", "owl"]
    options = ["--checkpoint", tmp_path / "weights.pt", "--methods", "gradcam, layercam", "--layers", "0,6"]
    options += ["--names", ",".join(names), "--target", "dog"]
    options += ["--mean", "0.5", "--std", "0.5", "--masks", masks, "--out", tmp_path / "picture.png"]
    printed = told(capsys, "compare", NETWORK, images, *options)
    model = small_cnn()
    model.load_state_dict(torch.load(tmp_path / "weights.pt"))
    paths = [images / f"image{place}.png" for place in (1, 2, 10)]
    asked = {"masks": things > 0, "mean": 0.5, "std": 0.5, "class_names": names, "target": 1}
    found = compare(model, paths, None, ["0", "6"], ["gradcam", "layercam"], **asked)
    without_cost = [line.rsplit(None, 1)[0].split() for line in str(found).splitlines()]
    assert [line.rsplit(None, 1)[0].split() for line in printed[:-1]] == without_cost
    assert len(printed) == 2 + 4 + 1
    assert (
        np.asarray(Image.open(printed[-1]).convert("RGB"))
        == np.asarray(found.picture(name="image1.png").convert("RGB"))
    ).all()
    (masks / "image2.bmp").unlink()
    said = refused(capsys, "compare", NETWORK, images, *options, "--force")
    assert said == f"--masks {str(masks)!r} has no picture for 'image2.png'; accepted is one, as 'image2.png'"


def test_what_a_model_prints_is_not_among_what_was_asked_for(images, tmp_path, capsys, monkeypatch) -> None:
    """It goes to stderr."""
    (tmp_path / "loud.py").write_text(
        "from tests.conftest import small_cnn\nprint('imported')\n\n"
        "def make():\n    print('made')\n    return small_cnn()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["explain", "loud:make", str(images), "--out", "g.png"]) == 0
    out, err = capsys.readouterr()
    assert "imported" not in out
    assert "made" not in out
    assert {"imported", "made"} <= set(err.splitlines())
