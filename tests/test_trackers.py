"""Real trackers, offline: each one's pictures, read back from its own store (pytest -m clients)."""

import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lightning_gradcam import GradCAMCallback

from .conftest import Classifier, Events

pytestmark = pytest.mark.clients
TAG = "gradcam/network.6"
STEPS = [0, 3, 6, 9]  # optimizer steps after each epoch of three batches


def fitted(make_trainer, loader, logger: Any, **options: Any) -> Classifier:
    module = Classifier()
    options = {"max_epochs": 3, "logger": logger, "log_every_n_steps": 1, **options}
    make_trainer(GradCAMCallback(images=4), **options).fit(module, loader, loader)
    return module


def event_steps(root: Path) -> list[int]:
    """Of the event file that is written whatever the tracker."""
    [file] = root.rglob("*tfevents*")
    return Events(file.parent).steps(TAG)


def records(file: Path) -> Iterator[bytes]:
    """The records of a Weights & Biases run: LevelDB's log format, blocks of 32 kB, behind a header of 7 bytes."""
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_weights_and_biases(make_trainer, loader, tmp_path, monkeypatch) -> None:
    """Pictures at the steps that they are of, with the epoch in their row, and no row behind the training's own."""
    wandb = pytest.importorskip("wandb")
    from pytorch_lightning.loggers import WandbLogger
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_SILENT", "true")
    fitted(make_trainer, loader, WandbLogger(offline=True, save_dir=tmp_path, project="project"))
    wandb.finish()
    rows = []
    [file] = tmp_path.rglob("*.wandb")
    for data in records(file):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            row = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
            media = {key: value for key, value in row.items() if isinstance(value, dict)}
            rows.append(row | {f"{key}/{name}": one for key, value in media.items() for name, one in value.items()})
    steps = [row["trainer/global_step"] for row in rows]
    assert steps == sorted(steps)
    grids = [row for row in rows if f"{TAG}/filenames" in row]
    assert [(row["trainer/global_step"], row["epoch"]) for row in grids] == [(step, step // 3) for step in STEPS]
    for row in grids:
        [name] = row[f"{TAG}/filenames"]
        assert Image.open(next(tmp_path.rglob(Path(name).name))).width > 300
    [lapse] = [row[f"{TAG}/timelapse/path"] for row in rows if f"{TAG}/timelapse/path" in row]
    assert Image.open(next(tmp_path.rglob(Path(lapse).name))).n_frames == len(STEPS)
    assert event_steps(tmp_path) == [0, 1, 2, 3]


def test_mlflow(make_trainer, loader, tmp_path, monkeypatch) -> None:
    """By key and step, which its own page has a slider for."""
    pytest.importorskip("mlflow")
    from pytorch_lightning.loggers import MLFlowLogger

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = MLFlowLogger("experiment", tracking_uri=f"file:{tmp_path}/mlruns")
    fitted(make_trainer, loader, logger)
    found = sorted(one.name for one in tmp_path.rglob("images/*.png"))
    grids = [name.split("+") for name in found if name.startswith("gradcam~network.6+")]
    assert [int(parts[2]) for parts in grids] == STEPS
    assert any(name.startswith("gradcam~network.6~filmstrip+step+9+") for name in found)
    assert event_steps(tmp_path) == [0, 1, 2, 3]


def test_comet(make_trainer, loader, tmp_path, monkeypatch) -> None:
    """An experiment without a network is an archive."""
    monkeypatch.chdir(tmp_path)
    comet_ml = pytest.importorskip("comet_ml")
    from pytorch_lightning.loggers import CometLogger

    logger = CometLogger(online=False, project="project")
    logger._experiment = comet_ml.OfflineExperiment(offline_directory=str(tmp_path), project_name="project")
    fitted(make_trainer, loader, logger)
    logger.experiment.end()
    [file] = tmp_path.glob("*.zip")
    with zipfile.ZipFile(file) as archive:
        lines = [json.loads(line) for line in archive.read("messages.json").decode().splitlines()]
        sent = [one["payload"] for one in lines if one["type"] == "file_upload"]
        grids = [one for one in sent if (one["additional_params"] or {}).get("figName") == TAG]
        assert [one["additional_params"]["step"] for one in grids] == STEPS
        assert all(Image.open(archive.open(one["file_path"])).width > 300 for one in grids)
    assert event_steps(tmp_path) == [0, 1, 2, 3]


def test_swanlab(make_trainer, loader, tmp_path, monkeypatch) -> None:
    """A logger with Weights & Biases' log_image."""
    pytest.importorskip("swanlab")
    from swanlab.integration.pytorch_lightning import SwanLabLogger

    monkeypatch.chdir(tmp_path)
    fitted(make_trainer, loader, SwanLabLogger(mode="offline", logdir=str(tmp_path / "swan")))
    names = sorted(one.name for one in tmp_path.rglob("media/image/*.png"))
    assert sorted({int(name.split("-")[0]) for name in names}) == STEPS
    assert len(names) == len(STEPS) + 1  # and the film strip
    assert event_steps(tmp_path) == [0, 1, 2, 3]


def test_dvclive(make_trainer, loader, tmp_path, monkeypatch) -> None:
    """It has no steps: they stand in the names."""
    pytest.importorskip("dvclive")
    from dvclive.lightning import DVCLiveLogger

    monkeypatch.chdir(tmp_path)
    fitted(make_trainer, loader, DVCLiveLogger(dir=str(tmp_path / "live"), save_dvc_exp=False))
    folder = tmp_path / "live/plots/images" / TAG
    assert sorted(int(one.stem) for one in folder.glob("*.png")) == STEPS
    assert (folder / "filmstrip/9.png").exists()
    assert event_steps(tmp_path) == [0, 1, 2, 3]


def test_training_is_untouched_by_a_tracker(make_trainer, loader, tmp_path, monkeypatch) -> None:
    """The same weights as without the callback."""
    pytest.importorskip("dvclive")
    from dvclive.lightning import DVCLiveLogger

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    plain = Classifier()
    make_trainer(max_epochs=3, logger=False).fit(plain, loader, loader)
    torch.manual_seed(0)
    watched = fitted(make_trainer, loader, DVCLiveLogger(dir=str(tmp_path / "live"), save_dvc_exp=False))
    assert watched.losses == plain.losses
